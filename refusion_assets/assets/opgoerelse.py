"""Opgoerelse: the month settled against everything settled before, and told to the municipalities."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets.findings.advise import advise
from refusion_assets.assets.raw.accept import refuse_number
from refusion_assets.assets.stale import refuse_other_rules
from refusion_assets.assets.touched import STATES, changed_people, lately, ranges, refuse_other_month, since_change
from refusion_assets.assets.wiring import (
    LUKKET,
    OPGJORT,
    POOL,
    chosen_cells,
    everybody,
    first_run,
    gate,
    held_back,
    refuse_held_back,
    settled,
    stopping,
    take_back,
)
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opgoerelse import (
    AABNING,
    LEDGER,
    MONEY,
    NY,
    STATE,
    TILBAGE,
    by_kommune,
    limits,
    list_too_old,
    not_taken_back,
    run_number,
    settle,
    too_old,
)
from refusion_assets.domain.refusion.split import KEY
from refusion_assets.domain.stop import Stop
from refusion_assets.files import outgoing
from refusion_assets.files.delivered import fingerprint
from refusion_assets.place import Place, keep
from refusion_assets.shown import KINDS, MAANED, OWNER, kroner, of_table
from refusion_assets.store.session import Session

# The files a run rests on, as it read them, less those that an earlier run knew the same way.
NEW_TO_THE_RUN = """
INSERT INTO opgoerelse.kendt_fil (maaned, sti, sha256)
SELECT $month, sti, nu.sha256 FROM (
    SELECT sti, sha256 FROM raw.fil WHERE modtaget_maaned <= $month
    UNION ALL SELECT sti, sha256 FROM raw.register WHERE modtaget_maaned <= $month) nu
FULL JOIN (FROM opgoerelse.kendt_fil WHERE maaned < $month
    QUALIFY row_number() OVER (PARTITION BY sti ORDER BY maaned DESC) = 1) foer USING (sti)
WHERE nu.sha256 IS DISTINCT FROM foer.sha256"""
KNOWN = """
SELECT sti, sha256 FROM (FROM opgoerelse.kendt_fil WHERE maaned <= $month
    QUALIFY row_number() OVER (PARTITION BY sti ORDER BY maaned DESC) = 1)
WHERE sha256 IS NOT NULL ORDER BY sti"""


def record_known(session: Session, month: date) -> None:
    """What run `month` knows otherwise than the runs before it (`opgoerelse.kendt_fil`), in place of an earlier try."""
    session.run("DELETE FROM opgoerelse.kendt_fil WHERE maaned = $month", month=month)
    session.run(NEW_TO_THE_RUN, month=month)


def known_files(session: Session, month: date) -> dict[str, str]:
    """The raw files that run `month` knew: path under `raw/`, and sha256."""
    return dict(session.frame(KNOWN, month=month).iter_rows())


ROWS_PER_BLOCK = 1_000_000
TAKEN_BACK = f"CASE raekketype WHEN '{TILBAGE}' THEN -1 ELSE 1 END"
TOLD = ("kommunekode", "maaned", "borger_id", "raekketype", "refusion_oere", "medfinansiering_oere")
# The month in which the newest report about a person was received that the run is the first to know.
RECEIVED = """SELECT l.borger_id, max(f.modtaget_maaned) AS modtaget
    FROM classified.linje l JOIN raw.fil f USING (fil_id)
    WHERE f.kendt_fra = $month AND NOT f.dublet AND l.borger_id IS NOT NULL GROUP BY 1"""
MADE = ("refusion.borger_uge_ydelse", "refusion.fleksbidrag")


class HoldingBack(dg.Config):
    """Why the municipalities without a chosen cell are held back, in words; it is kept and shown."""

    begrundelse: str = ""


@dataclass(frozen=True)
class Settled:
    """What a run settled: ledger rows by type, and per municipality rows and sums (øre)."""

    koersel: int
    raekker: dict[str, int]
    kommuner: pl.DataFrame


def settle_month(session: Session, place: Place, month: date, koder: Sequence[str]) -> Settled:
    """The ledger of run `month` for the municipalities `koder` and those it has settled already, replaced.

    So the ledger follows from who is settled, not from the order they came in (ADR 0019). It holds nothing of the
    others: they are held back. Earlier runs are closed. The first run of a data root takes what lies before it as
    settled (Å). The rules and the raw files of the run are remembered, so that it can be made again. Stop if the rows
    are those of other rules, or are not as known in the month.
    Source: output.md sections 2 and 3.
    """
    number = gate(session, place, month)
    koder = sorted({*koder, *settled(session, number)})
    refuse_other_rules(session, place, month)
    refuse_other_month(session, month)
    session.run("UPDATE opgoerelse.koersel SET status = $s WHERE maaned < $m", s=LUKKET, m=month)
    mine = "kommunekode IN (SELECT unnest($koder::VARCHAR[]))"
    if not everybody(place, koder):
        _leave_out(session, month, number, koder)
    if first_run(session, month):
        session.run(
            f"DELETE FROM opgoerelse.postering WHERE {mine} AND koersel IN (0, $n)", koder=list(koder), n=number
        )
        _open(session, month, number, koder)
    else:
        _settle_changed(session, place, month, number, koder)
    ledger = ledger_of(session, number, koder, TOLD)
    totals = by_kommune(ledger, list(koder), number, month)
    session.run(f"DELETE FROM opgoerelse.kommune WHERE koersel = $n AND {mine}", n=number, koder=list(koder))
    session.insert("opgoerelse.kommune", totals)
    record(session, place, month, OPGJORT, "")
    record_known(session, month)
    keep(place)
    advise(session, place, month, number, koder)
    types = dict(ledger.group_by("raekketype").len().sort("raekketype").iter_rows())
    return Settled(number, types, totals)


def _leave_out(session: Session, month: date, number: int, koder: Sequence[str]) -> None:
    """The ledger and advice of run `month` without the municipalities that are held back: all but `koder`.

    Whoever was calculated for the month counts as not settled, so that settling the last one compares everybody anew.
    """
    theirs = "kommunekode NOT IN (SELECT unnest($koder::VARCHAR[]))"
    runs = (0, number) if first_run(session, month) else (number, number)
    session.run(
        f"DELETE FROM opgoerelse.postering WHERE {theirs} AND koersel IN ($o, $n)", koder=koder, o=runs[0], n=runs[1]
    )
    session.run(f"DELETE FROM opgoerelse.foraeldet WHERE {theirs} AND koersel = $n", koder=koder, n=number)
    session.run(f"DELETE FROM opgoerelse.advis WHERE {theirs} AND koersel = $n", koder=[*koder, NOBODY], n=number)
    session.run("UPDATE refusion.aendret SET opgjort = NULL WHERE maaned = $month", month=month)


def hold_back(session: Session, place: Place, month: date, begrundelse: str) -> None:
    """Who run `month` holds back (`opgoerelse.tilbageholdt`), and why; a reason given before stands."""
    refuse_number(begrundelse)
    held = held_back(session, place, month)
    before = dict(
        session.frame(
            "SELECT kommunekode, begrundelse FROM opgoerelse.tilbageholdt WHERE maaned = $m", m=month
        ).iter_rows()
    )
    session.run("DELETE FROM opgoerelse.tilbageholdt WHERE maaned = $m", m=month)
    rows = [(month, kode, begrundelse.strip() or before.get(kode, "")) for kode in held]
    schema = {"maaned": pl.Date, "kommunekode": pl.String, "begrundelse": pl.String}
    session.insert("opgoerelse.tilbageholdt", pl.DataFrame(rows, schema=schema, orient="row"))


def _open(session: Session, month: date, number: int, koder: Sequence[str]) -> None:
    """The ledger of the first run: what lies before it as settled already (Å), the month itself as new (N)."""
    _enter(session, "maaned < $month", AABNING, 0, koder, month)
    _enter(session, "maaned = $month", NY, number, koder, month)


def _enter(session: Session, which: str, kind: str, koersel: int, koder: Sequence[str], month: date) -> None:
    """Rows of the state as they stand in the ledger, all of one kind (N or Å), for some municipalities, in order."""
    said = {"raekketype": f"'{kind}'", "koersel": str(koersel), "oprindelig_koersel": "NULL"}
    names = ", ".join(LEDGER)
    for table in STATES:
        session.run(
            f"""INSERT INTO opgoerelse.postering ({names}) SELECT {", ".join(said.get(n, n) for n in LEDGER)}
            FROM {table} t WHERE {which} AND kommunekode IN (SELECT unnest($koder::VARCHAR[]))""",
            koder=list(koder),
            month=month,
        )


def _settle_changed(session: Session, place: Place, month: date, number: int, koder: Sequence[str]) -> None:
    """The ledger of a later run. Where all of it is settled already, only that of the people calculated since is made.

    The rows of a person rest on nobody else's, so those of all others stand, unless the rules are other ones.
    """
    whole = everybody(place, koder)
    before = "SELECT coalesce(max(opgjort), 0) FROM refusion.aendret WHERE maaned = $month"
    times = int(session.value(before, month=month))  # type: ignore[call-overload]
    ruled = session.value("SELECT regelversion FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    again = whole and times > 0 and ruled == place.rules.version
    unsettled = f"(SELECT borger_id FROM refusion.aendret WHERE maaned = '{month}' AND opgjort IS NULL)"
    since = f"SEMI JOIN {unsettled} USING (borger_id)" if again else ""
    session.run(f"CREATE OR REPLACE TEMP TABLE at_opgoere AS FROM {changed_people(month)} {since}")
    whose = "borger_id IN (SELECT borger_id FROM at_opgoere)" if again else "true"
    session.run(
        f"""DELETE FROM opgoerelse.postering WHERE koersel = $n AND {whose}
        AND kommunekode IN (SELECT unnest($koder::VARCHAR[]))""",
        n=number,
        koder=list(koder),
    )
    session.run(
        f"""DELETE FROM opgoerelse.foraeldet WHERE koersel = $n AND {whose}
        AND kommunekode IN (SELECT unnest($koder::VARCHAR[]))""",
        n=number,
        koder=list(koder),
    )
    _enter(session, f"maaned = $month AND {whose}", NY, number, koder, month)
    _differences(session, place, month, number, koder)
    if whole:
        which = "AND opgjort IS NULL" if again else ""
        session.run(
            f"UPDATE refusion.aendret SET opgjort = $now WHERE maaned = $month {which}", now=times + 1, month=month
        )


def _differences(session: Session, place: Place, month: date, number: int, koder: Sequence[str]) -> None:
    """The ledger rows of earlier months: the state of the people of `at_opgoere` against what is settled.

    No earlier run has settled the benefit month itself, so its rows are new and only the others are compared. What is
    too old is listed (`opgoerelse.foraeldet`) and not settled.
    """
    _leave_out_settled(session, month, koder)
    limited = _limited(session, place, month)
    weight = "SELECT borger_id, 1 + date_diff('week', fra_uge, $month::DATE) AS antal FROM at_opgoere"
    mine = _before(month, koder)
    for low, high in _blocks(session, weight, month=month):
        people = f"(FROM at_opgoere WHERE borger_id BETWEEN {low} AND {high})"
        known = [(table, STATE) for table in STATES] + [("opgoerelse.postering", LEDGER)]
        *parts, ledger = (
            session.frame(f"SELECT {_columns(names)} FROM {since_change(session, table, 'uge', people)} WHERE {mine}")
            for table, names in known
        )
        state, settled = pl.concat(parts), not_taken_back(ledger)
        if limited:
            theirs = since_change(session, "opgoerelse.foraeldet", "uge", people)
            listed = not_taken_back(session.frame(f"SELECT t.* FROM {theirs} WHERE {mine}"))
            found = too_old(state, settled, listed, month, session.frame(RECEIVED, month=month), place.rules)
            session.insert("opgoerelse.foraeldet", list_too_old(found, listed, number))
            state, settled = (rows.join(found, on=KEY, how="anti") for rows in (state, settled))
        session.insert("opgoerelse.postering", settle(state, settled, number))


def _limited(session: Session, place: Place, month: date) -> bool:
    """Whether the run has a limit on corrections, or an earlier one had and listed something."""
    here = any(limits(month, place.rules))
    return here or bool(session.value("SELECT count(*) > 0 FROM opgoerelse.foraeldet"))


def _before(month: date, koder: Sequence[str]) -> str:
    """SQL for the rows of months before the run's, of some municipalities."""
    return f"maaned < DATE '{month}' AND kommunekode IN ({str(list(koder))[1:-1]})"


def _leave_out_settled(session: Session, month: date, koder: Sequence[str]) -> None:
    """In `at_opgoere` those are left whose state may differ from what is settled: nearly nobody has changed long ago.

    A row taken back has the sum of the row itself, so the sums of what stands and of what is settled leave nothing
    where they are alike. Those who have changed earlier than most are not asked about: it would cost more; nor are
    those of whom something is listed as too old, as it is taken back when there is no difference any more.
    """
    begin, rows = lately(session, "at_opgoere"), []
    for table, sign in (*((state, "1") for state in STATES), ("opgoerelse.postering", TAKEN_BACK)):
        said = [*KEY, *(f"{sign} * {name}" for name in MONEY), "procent"]
        rows.append(f"""SELECT t.borger_id, hash({", ".join(said)}) AS h FROM {table} t
            SEMI JOIN at_opgoere a ON t.borger_id = a.borger_id AND t.uge >= a.fra_uge
            WHERE t.uge >= DATE '{begin}' AND {_before(month, koder)}""")
    session.run(f"""DELETE FROM at_opgoere WHERE fra_uge >= DATE '{begin}' AND borger_id NOT IN (
        SELECT borger_id FROM ({" UNION ALL ".join(rows)}) GROUP BY borger_id HAVING bit_xor(h) <> 0)
        AND borger_id NOT IN (SELECT borger_id FROM opgoerelse.foraeldet)""")


def _columns(names: Sequence[str]) -> str:
    """Column names of the table t."""
    return ", ".join(f"t.{name}" for name in names)


def _blocks(session: Session, weights: str, **values: object) -> Iterator[tuple[int, int]]:
    """Ranges of borger_id whose rows are few enough to compare at once."""
    people = session.frame(f"SELECT borger_id, antal FROM ({weights}) ORDER BY 1", **values)
    yield from ranges(people["borger_id"], people["antal"], ROWS_PER_BLOCK)


def ledger_of(
    session: Session, number: int, koder: Sequence[str], columns: Sequence[str] = tuple(LEDGER)
) -> pl.DataFrame:
    """The ledger rows of a run for some municipalities, in no order."""
    return session.frame(
        f"""SELECT {", ".join(columns)} FROM opgoerelse.postering
        WHERE koersel = $n AND kommunekode IN (SELECT unnest($koder::VARCHAR[]))""",
        n=number,
        koder=list(koder),
    )


def record(session: Session, place: Place, month: date, status: str, filsum: str) -> None:
    """The run itself: settled, then open until somebody closes it or the next one settles."""
    number = run_number(month, place.rules)
    session.run("DELETE FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    row = {"koersel": [number], "maaned": [month], "status": [status], "regelversion": [place.rules.version]}
    session.insert("opgoerelse.koersel", pl.DataFrame({**row, "filsum": [filsum]}))


def close(session: Session, place: Place, month: date) -> None:
    """Run `month` closed for good; Stop if it is not there, or its files are not those it made."""
    row = session.frame("SELECT status, filsum FROM opgoerelse.koersel WHERE maaned = $m", m=month)
    if row.is_empty():
        raise Stop(f"der er ingen kørsel {month:%Y-%m} at lukke")
    if row["status"][0] == LUKKET:
        raise Stop(f"kørsel {month:%Y-%m} er allerede lukket")
    refuse_held_back(session, place, month, "før kørslen kan lukkes")
    folder = place.outgoing / f"{month:%Y-%m}"
    sums = folder / outgoing.SUMS
    if not sums.exists() or fingerprint(sums) != row["filsum"][0] or outgoing.not_as_sent(folder):
        raise Stop(f"filerne for {month:%Y-%m} mangler eller er ikke kørslens; kør måneden igen, og luk så")
    session.run("UPDATE opgoerelse.koersel SET status = $s WHERE maaned = $m", s=LUKKET, m=month)


def _show(context: dg.AssetExecutionContext, done: Settled, month: date) -> None:
    """What the cell of every chosen municipality shows: rows, people and sums of the run."""
    chosen = set(context.partition_keys)
    for row in done.kommuner.iter_rows(named=True):
        if f"{row['kommunekode']}|{month:%Y-%m}" not in chosen:
            continue
        context.add_asset_metadata(
            partition_key=f"{row['kommunekode']}|{month:%Y-%m}",
            metadata={
                "dagster/partition_row_count": row["raekker"],
                "borgere": row["borgere"],
                "refusion_kr": kroner(row["refusion_oere"]),
                "medfinansiering_kr": kroner(row["medfinansiering_oere"]),
                "rettelser_kr": kroner(row["rettelser_oere"]),
            },
        )


def build(cells: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The ledger, cut by run month x municipality; one run settles all the cells of a month."""
    by_month = dg.MultiToSingleDimensionPartitionMapping(MAANED)
    rows = [dg.AssetDep(table.split("."), partition_mapping=by_month) for table in MADE]

    @dg.asset(
        key=["opgoerelse", "postering"],
        deps=rows,
        kinds=KINDS,
        metadata=of_table("opgoerelse.postering"),
        partitions_def=cells,
        group_name="opgoerelse",
        owners=[OWNER],
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def postering(context: dg.AssetExecutionContext, config: HoldingBack, place: dg.ResourceParam[Place]) -> None:
        """One row per ledger entry of the run: what the month settles, and every difference to earlier runs.

        Municipalities of whom no cell of the month has been made are held back. Reads the result rows and the ledger.
        The files are written when the checks have passed. Source: output.md section 2.
        """
        for month, koder in chosen_cells(context).items():
            with stopping(), place.warehouse.open() as session:
                done = settle_month(session, place, month, koder)
                hold_back(session, place, month, config.begrundelse)
            take_back(context, place, month)
            _show(context, done, month)

    return [postering]
