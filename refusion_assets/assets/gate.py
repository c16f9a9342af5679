"""The gate of a run: the months that may run, the decorator of an asset with a table, and how a step stops."""

import shutil
import traceback
from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from hashlib import sha256
from pathlib import Path
from typing import Any

import dagster as dg

from refusion_assets.assets.faelles.udrulning import refuse_other_plan, settling
from refusion_assets.assets.stale import refuse_undeclared
from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.stop import Stop, of_the_disk, of_the_system
from refusion_assets.files.delivered import month_named
from refusion_assets.files.outgoing import departures
from refusion_assets.partitions import KINDS, OWNER, of_table, on_board, sender_cell
from refusion_assets.partitions import senders as known_senders
from refusion_assets.place import Place, unforeseen
from refusion_assets.rulebook.load import RuleError
from refusion_assets.store.events import forget, together
from refusion_assets.store.session import Locked, Relation, Session
from refusion_assets.store.tables import ContractError

POOL = "duckdb"
GENBEREGN, GENINDLAES = "genberegn", "genindlaes"
LEVERING = ["levering", "forsendelse"]
FILER, POSTERING, FILES_CHECK = ["opgoerelse", "filer"], ["opgoerelse", "postering"], "filer_er_kladden"
BEFORE_ALL = date.min  # only runs that are closed for good count as closed
OPGJORT, AABEN, LUKKET = "opgjort", "åben", "lukket"


@dataclass(frozen=True)
class Asked:
    """The subject of a check: the open warehouse, the place, and the run month."""

    session: Session
    place: Place
    month: date
    _made: dict[str, Relation] = field(default_factory=dict, repr=False, compare=False)

    def once(self, name: str, query: str) -> Relation:
        """The rows of a query in a temporary table, made for the first check that asks for the name."""
        if name not in self._made:
            self._made[name] = self.session.temp(name, query)
        return self._made[name]


def run_month(context: dg.AssetExecutionContext) -> date:
    """The latest month of the run: the result rests on the knowledge at its end."""
    return asked_months(context)[1]


def asked_months(context: dg.AssetExecutionContext) -> tuple[date, date]:
    """The first and the last month of the run."""
    months = [month_of(key) for key in context.partition_keys]
    return min(months), max(months)


def table_asset(
    table: str, months: dg.PartitionsDefinition[str], shown: Mapping[str, Any] | None = None, **more: Any
) -> Callable[[Callable[..., Any]], dg.AssetsDefinition]:
    """The decorator of an asset that fills a table: its key, group and columns, and one run for several partitions.

    `shown`: metadata beside the columns. `more`: what `dg.asset` takes besides, such as `deps`.
    """
    made: Callable[[Callable[..., Any]], dg.AssetsDefinition] = dg.asset(
        key=table.split("."),
        group_name=table.partition(".")[0],
        metadata=of_table(table) | dict(shown or {}),
        kinds=KINDS,
        owners=[OWNER],
        partitions_def=months,
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        **more,
    )
    return made


@dataclass(frozen=True)
class Span:
    """The task of an asset: the month whose knowledge holds, and the first month to do again, if any is."""

    month: date
    fra: date | None


def last_run(session: Session) -> date | None:
    """The month of the last run; None before the first."""
    return session.day("SELECT max(maaned) FROM opgoerelse.koersel")


def first_run(session: Session, month: date) -> bool:
    """True if no earlier month has been run, so that the files received are the history."""
    return bool(session.value("SELECT count(*) = 0 FROM opgoerelse.koersel WHERE maaned < $m", m=month))


def last_closed(session: Session, month: date) -> date | None:
    """The last run that is closed, or that run `month` closes; None if there is none."""
    query = "SELECT max(maaned) FROM opgoerelse.koersel WHERE status = $closed OR maaned < $m"
    return session.day(query, closed=LUKKET, m=month)


def never_run(month: date) -> Stop:
    """Why a month cannot be done again."""
    return Stop(f"{month:%Y-%m} er ikke kørt endnu; kun måneder til og med den sidste kørsel kan gøres igen")


def span(session: Session, place: Place, context: dg.AssetExecutionContext) -> Span:
    """The task that the months of a run stand for: one month, from the last run on, is a critical week.

    Several months, or one that is settled, are done again with the knowledge of the last run. Stop if a month among
    them has never been run, or if the rules change a closed run without a declaration.
    """
    months = sorted(month_of(key) for key in context.partition_keys)
    last = last_run(session)
    if len(months) == 1 and (last is None or months[0] >= last):
        return Span(months[0], None)
    if last is None or months[-1] > last:
        raise never_run(months[-1])
    refuse_undeclared(session, place, BEFORE_ALL)
    return Span(last, months[0])


def month_asked(session: Session, tags: Mapping[str, str]) -> date:
    """The month that checks are asked about: the run's one cell or last cell, but none before the last run.

    The last run, if checks are asked alone; Stop if there is none.
    """
    key = tags.get("dagster/partition") or tags.get("dagster/asset_partition_range_end")
    months = [month_of(key.split("|")[-1])] if key else []
    last = last_run(session)
    if last is None and not months:
        raise Stop("der er ingen kørsel at kontrollere endnu")
    return max([*months, last] if last else months)


def chosen_cells(context: dg.AssetExecutionContext) -> dict[date, list[str]]:
    """The municipalities to settle in each run month of the run, in order."""
    cells: dict[date, list[str]] = defaultdict(list)
    for kode, maaned in sorted(key.split("|") for key in context.partition_keys):
        cells[month_of(maaned)].append(kode)
    return dict(sorted(cells.items()))


def settled(session: Session, number: int) -> list[str]:
    """The municipalities that run `number` has settled, in order of code."""
    query = "SELECT kommunekode FROM opgoerelse.kommune WHERE koersel = $n ORDER BY 1"
    return session.frame(query, n=number)["kommunekode"].to_list()


def held_back(session: Session, place: Place, month: date) -> list[str]:
    """The municipalities in operation that run `month` has not settled, in order of code; none without such a run."""
    if not session.value("SELECT count(*) FROM opgoerelse.koersel WHERE maaned = $m", m=month):
        return []
    done = set(settled(session, run_number(month, place.rules)))
    return [kode for kode in settling(session, place, month) if kode not in done]


def settle_command(month: date, koder: Collection[str]) -> str:
    """The command that settles what was held back."""
    return f"refusion opgoer {month:%Y-%m} --kommuner {','.join(sorted(koder))}"


def withdraw(place: Place, month: date) -> None:
    """A month's files, follow-up and statement taken out of sight: a month that stops must leave no file behind.

    The files are laid aside, as most may come out the same.
    """
    follow_up = place.follow_up.glob(f"*/{month:%Y-%m}.parquet")
    for path in (*place.statements.glob(f"{month:%Y-%m}.*"), *follow_up):
        path.unlink(missing_ok=True)
    folder = place.outgoing / f"{month:%Y-%m}"
    if folder.exists():
        if place.withdrawn.exists():
            shutil.rmtree(place.withdrawn)
        place.withdrawn.mkdir(parents=True)
        shutil.move(folder, place.withdrawn)


@contextmanager
def stopping() -> Iterator[None]:
    """Any error becomes a failed step whose description is one Danish line.

    Of an error that nobody foresaw it says where it arose, as its own text may hold a person's number.
    """
    try:
        yield
    except (dg.Failure, dg.RetryRequested):
        raise
    except (Stop, ContractError, RuleError, Locked) as reason:
        raise dg.Failure(description=str(reason), allow_retries=False) from None
    except OSError as error:
        raise dg.Failure(description=of_the_disk(error) or of_the_system(error), allow_retries=False) from None
    except Exception as error:  # noqa: BLE001  whatever it is, the operator gets one line
        said = of_the_disk(error) or unforeseen(error)
        raise dg.Failure(description=said, metadata=_where(error), allow_retries=False) from None


def _where(error: Exception) -> dict[str, str]:
    """The way to an error through the program, for whoever mends it; places and no values."""
    frames = traceback.extract_tb(error.__traceback__)
    return {"vej": " > ".join(f"{Path(frame.filename).name}:{frame.lineno} {frame.name}" for frame in frames)}


def take_back(context: dg.AssetExecutionContext, place: Place, month: date, *, anew: bool = False) -> None:
    """A month's outgoing files taken back, and their cells no longer shown as made.

    Where the month begins `anew`, its ledger is not made either, and the check of its files is open.
    """
    gone = (place.outgoing / f"{month:%Y-%m}").exists()
    withdraw(place, month)
    cells = [f"{kode}|{month:%Y-%m}" for kode in place.rules.koder]
    for key in [FILER, LEVERING, POSTERING] if anew else [FILER, LEVERING]:
        forget(context.instance, key, cells)
    if gone and anew:
        text = f"Filerne for {month:%Y-%m} er trukket tilbage, mens måneden køres igen."
        place.telling(context.log.info)(f"{month:%Y-%m}: filerne er trukket tilbage, mens måneden køres igen ...")
        warn = dg.AssetCheckSeverity.WARN
        context.log_event(
            dg.AssetCheckEvaluation(
                asset_key=dg.AssetKey(FILER),
                check_name=FILES_CHECK,
                passed=False,
                severity=warn,
                description=text,
                metadata={},
            )
        )


def gate(session: Session, place: Place, month: date) -> int:
    """The run number of a month that may be run; Stop if it is closed, out of order or before the first.

    Stop too if the rules change a run that is closed, or is closed by this one, without saying so. Stop if the files
    of a run that this one closes are not those it made. Stop if the plan on the disk is not the one in use.
    Source: output.md section 2.
    """
    number = run_number(month, place.rules)
    refuse_other_plan(session, place)
    if number < 1:
        raise Stop(f"kørsler før {place.rules.koersel.gaelder_fra:%Y-%m} afvises")
    runs = session.pairs("SELECT maaned, status FROM opgoerelse.koersel")
    filsum = session.pairs("SELECT maaned, filsum FROM opgoerelse.koersel")
    if runs.get(month) == LUKKET:
        raise Stop(f"kørsel {month:%Y-%m} er lukket og ændres ikke; en senere indsigt kommer med i næste kørsel")
    if not runs:
        _refuse_lost(place, month)
    before = runs.get(next_month(month, -1))
    if before == OPGJORT:
        raise Stop(f"kørsel {next_month(month, -1):%Y-%m} blev standset, før filerne var skrevet; kør den igen først")
    if runs and month not in (max(runs), next_month(max(runs))):
        raise Stop(f"{month:%Y-%m} er ikke næste kørsel; den næste er {next_month(max(runs)):%Y-%m}")
    refuse_held_back(session, place, next_month(month, -1), f"før {month:%Y-%m} kan køres")
    if before == AABEN:
        before_month = next_month(month, -1)
        refuse_touched(place, before_month, filsum[before_month])
    refuse_undeclared(session, place, month)
    return number


def head(session: Session) -> str:
    """The head of the chain in words, to be written down elsewhere: month and hash; empty before the first closing."""
    rows = session.frame("SELECT maaned, aftryk FROM opgoerelse.kaede ORDER BY koersel DESC LIMIT 1").rows()
    return f"kædens hoved efter {rows[0][0]:%Y-%m} er {rows[0][1]}" if rows else ""


def deleted(session: Session, first: int | None = None) -> str:
    """The number of the `first` deletions by the rules, or of all, and the sha256 of their rows; empty if none."""
    rows = session.frame("FROM opgoerelse.slettet WHERE nr <= coalesce($n, nr) ORDER BY nr", n=first)
    return f"{rows.height} {sha256(rows.write_csv().encode()).hexdigest()}" if rows.height else ""


def refuse_touched(place: Place, month: date, filsum: str) -> None:
    """Stop if the shown files of run `month` are not those it made, by name, with the command that makes them again.

    Proved by hash alone: the check `filer_er_kladden` proved the files against the ledger before they had the sum.
    """
    folder = place.outgoing / f"{month:%Y-%m}"
    if wrong := departures(folder, filsum):
        more = f" (og {len(wrong) - 1} mere)" if len(wrong) > 1 else ""
        raise Stop(
            f"filerne i {place.outgoing.name}/{folder.name} er ikke kørslens: {wrong[0]}{more}; kør den igen med "
            f"refusion koer {folder.name}, eller læg de rigtige tilbage (refusion genskab {folder.name})"
        )


def _refuse_lost(place: Place, month: date) -> None:
    """Stop if earlier months have files though the warehouse knows no run: a first run corrects nothing."""
    there = sorted(filter(None, (month_named(folder.name) for folder in place.outgoing.glob("*"))))
    if there and there[0] < month:
        raise Stop(
            f"lageret kender ingen kørsel, men i {place.outgoing.name} ligger filer for {there[-1]:%Y-%m}; læg "
            "mappen lager/laesning tilbage, slet den nye lager/ydelsesrefusion.duckdb, og kør det samme igen, eller "
            f"kør månederne igen fra {there[0]:%Y-%m}"
        )


def refuse_held_back(session: Session, place: Place, month: date, what: str) -> None:
    """Stop if run `month` holds a municipality back, with the command that settles it."""
    if held := held_back(session, place, month):
        command = settle_command(month, held)
        raise Stop(f"{month:%Y-%m} mangler at blive opgjort for {', '.join(held)}, {what}; skriv {command}")


def report_deliveries(
    context: dg.AssetExecutionContext, place: Place, senders: Mapping[tuple[str, str], int], month: date
) -> None:
    """Each sender of the month, with its number of files, marked on the operator's board (`leverance`).

    A sender is a source and a unit: one that is missing has its own cell unmarked, marked before or not. The board has
    no cells for months of long ago.
    """
    if not on_board(place.root, place.rules, month):
        return
    there = {f"{kilde}-{enhed}" for kilde, enhed in senders}
    missing = [sender for sender in known_senders(place.root, place.rules) if sender not in there]
    forget(context.instance, ["leverance"], [f"{sender}|{month:%Y-%m}" for sender in missing])
    with together(context.instance, context.run.run_id):
        for (kilde, enhed), files in sorted(senders.items()):
            cell = sender_cell(kilde, enhed, month)
            context.log_event(dg.AssetMaterialization("leverance", partition=cell, metadata={"filer": files}))
