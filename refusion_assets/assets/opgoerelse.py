"""Opgoerelse: settles a month against the ledger of all earlier runs, for the chosen municipalities.

`_enter` copies the new rows (N) of the run month from the result tables to `opgoerelse.postering` by SQL. Only the
differences of earlier months (T, K, N) pass `ledger.settle`, and only for people whom `_leave_out_settled`
keeps. A line in quarantine never comes here: `assets.classified` lists it in `classified.dom`, and `advise` tells the
municipality of it.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets import figures
from refusion_assets.assets.checks.closed import closed_runs, other_sums
from refusion_assets.assets.faelles.aabning import joined, known_before, opening_of, touched_since
from refusion_assets.assets.faelles.udrulning import settling
from refusion_assets.assets.findings.advise import advise, forget_advice
from refusion_assets.assets.gate import (
    LUKKET,
    OPGJORT,
    chosen_cells,
    deleted,
    gate,
    head,
    held_back,
    refuse_held_back,
    refuse_touched,
    settled,
    stopping,
    table_asset,
    take_back,
)
from refusion_assets.assets.opfoelgning.settled import forget
from refusion_assets.assets.raw.let_pass import refuse_number
from refusion_assets.assets.raw.registers import take_in_unjudged
from refusion_assets.assets.stale import refuse_other_rules
from refusion_assets.assets.touched import (
    FLEKS_SINCE,
    STATES,
    changed_people,
    count_as_settled,
    refuse_other_month,
    since_change,
    week_of_most,
)
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opgoerelse.chain import linked
from refusion_assets.domain.opgoerelse.ledger import (
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
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop
from refusion_assets.look_up import trace
from refusion_assets.partitions import MAANED, kroner, names_of_benefits
from refusion_assets.place import Place, keep_rules
from refusion_assets.store.batches import ranges
from refusion_assets.store.session import Relation, Session, among

# The files of a run with a hash that the last earlier run with the file did not have.
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
    """Store the raw files that are new or changed since earlier runs in `opgoerelse.kendt_fil`."""
    session.run("DELETE FROM opgoerelse.kendt_fil WHERE maaned = $month", month=month)
    session.run(NEW_TO_THE_RUN, month=month)


def known_files(session: Session, month: date) -> dict[str, str]:
    """The raw files known to run `month`: path under `raw/`, and sha256."""
    return session.pairs(KNOWN, month=month)


def keep_head(session: Session, place: Place, number: int) -> None:
    """Store how far the log of look-ups reaches (`opgoerelse.opslagshoved`) with a run.

    A head that the log no longer holds stays: it proves that lines are gone.
    """
    chain = trace.verify(place.root / trace.LOG)
    kept = session.frame("SELECT linjer, hoved FROM opgoerelse.opslagshoved WHERE koersel = $n", n=number).rows()
    if any(linjer > chain.linjer or chain.hoveder[linjer] != hoved for linjer, hoved in kept):
        return
    session.run("DELETE FROM opgoerelse.opslagshoved WHERE koersel = $n", n=number)
    row = {"koersel": [number], "linjer": [chain.linjer], "hoved": [chain.hoved]}
    session.insert("opgoerelse.opslagshoved", pl.DataFrame(row))


AMONG = among("kommunekode", "koder")
# The rows of a run, and the opening of the municipalities that no earlier run has settled.
OF_FIRST_RUN = """(koersel = $n OR (koersel = 0 AND kommunekode NOT IN (
    SELECT kommunekode FROM opgoerelse.kommune WHERE koersel < $n)))"""
ROWS_PER_BLOCK = 1_000_000
TAKEN_BACK = f"CASE raekketype WHEN '{TILBAGE}' THEN -1 ELSE 1 END"
TOLD = ("kommunekode", "maaned", "borger_id", "raekketype", "refusion_oere", "medfinansiering_oere")
# Per person, the month of receipt of the newest report that is new to the run.
RECEIVED = """SELECT l.borger_id, max(f.modtaget_maaned) AS modtaget
    FROM classified.linje l JOIN raw.fil f USING (fil_id)
    WHERE f.kendt_fra = $month AND NOT f.dublet AND l.borger_id IS NOT NULL GROUP BY 1"""
MADE = ("refusion.borger_uge_ydelse", "refusion.fleksbidrag")


class HoldingBack(dg.Config):
    """The reason for holding back the municipalities without a chosen cell; kept, and shown in the UI."""

    begrundelse: str = ""


@dataclass(frozen=True)
class Settled:
    """The ledger rows of a run by type, and per municipality rows and sums (øre)."""

    koersel: int
    raekker: dict[str, int]
    kommuner: pl.DataFrame


def settle_month(session: Session, place: Place, month: date, koder: Sequence[str]) -> Settled:
    """Replace the ledger of run `month` for the municipalities `koder` and those it settled before.

    So the ledger depends on the settled municipalities, not on their order (ADR 0019). It holds no rows of the others,
    which the run holds back or which are not yet in operation (ADR 0041). Closes earlier runs. The first run of a
    municipality takes its earlier months as settled (Å). Stores rules and raw files of the run, so that it can be
    repeated. Stop if the result rows are of other rules or another month, or if nobody of `koder` is in operation.
    Source: output.md sections 2 and 3.
    """
    number = gate(session, place, month)
    ready = settling(session, place, month)
    koder = sorted({*koder, *settled(session, number)} & set(ready))
    if not koder:
        raise Stop(f"ingen af kommunerne er i drift i {month:%Y-%m}; måneden er beregnet, men ikke opgjort")
    refuse_other_rules(session, place, month)
    refuse_other_month(session, month)
    _close(session, place, "maaned < $m AND status <> $s", month)
    whole = set(koder) >= set(ready)
    if not whole:
        _leave_out(session, month, number, koder)
    known = session.pairs("SELECT DISTINCT kommunekode, true FROM opgoerelse.kommune WHERE koersel < $n", n=number)
    if others := [kode for kode in koder if kode in known]:
        _settle_changed(session, place, month, number, others, whole=whole)
    _begin(session, place, month, number, [kode for kode in koder if kode not in known])
    forget(session, number)
    ledger = ledger_of(session, number, koder, TOLD)
    totals = by_kommune(ledger, list(koder), number, month)
    session.run(f"DELETE FROM opgoerelse.kommune WHERE koersel = $n AND {AMONG}", n=number, koder=list(koder))
    session.insert("opgoerelse.kommune", totals)
    record(session, place, month, OPGJORT, "")
    record_known(session, month)
    keep_head(session, place, number)
    keep_rules(place)
    advise(session, place, month, number, koder)
    types = dict(ledger.group_by("raekketype").len().sort("raekketype").iter_rows())
    return Settled(number, types, totals)


def _begin(session: Session, place: Place, month: date, number: int, koder: Sequence[str]) -> None:
    """Write the first ledger of municipalities: months before as opening (Å, run 0), run `month` as new (N).

    A municipality that joins opens as known before the month, and a week that the old system has settled otherwise as
    it was settled. All that we have otherwise now is a correction of the run.
    """
    if not koder:
        return
    session.run(f"DELETE FROM opgoerelse.postering WHERE {AMONG} AND koersel IN (0, $n)", koder=list(koder), n=number)
    _enter(session, "maaned < $month", AABNING, 0, koder, month)
    _enter(session, "maaned = $month", NY, number, koder, month)
    if not (joining := joined(session, koder)):
        return
    take_in_unjudged(session, place, next_month(month, -1), month)
    people = touched_since(session, month, joining)
    # With other rows beside it, a deletion of very many rows has no room for a query in its condition (`Changes`).
    session.run(
        f"""DELETE FROM opgoerelse.postering p USING {people} b
        WHERE p.koersel = 0 AND list_contains($koder::VARCHAR[], p.kommunekode) AND p.borger_id = b.borger_id
        AND CASE WHEN list_contains($bidrag::VARCHAR[], p.ydelse_id) THEN p.maaned >= {FLEKS_SINCE}
            ELSE p.uge >= b.fra_uge END""",
        koder=joining,
        bidrag=[entry.id for entry in place.rules.fleksbidrag],
    )
    for rows in known_before(session, place, month, joining, people):
        _open(session, rows)
    for kode in joining:
        if found := opening_of(session, place, kode, month):
            ours, theirs = found
            with session.lending("vores", ours.select(KEY)):
                session.run(f"""DELETE FROM opgoerelse.postering WHERE koersel = 0
                    AND ({", ".join(KEY)}) IN (SELECT ({", ".join(KEY)}) FROM vores)""")
            _open(session, theirs)
            for rows in found:
                with session.lending("andre", rows.select("borger_id", "uge")):
                    session.add(people, "FROM andre")
    every = session.temp("otherwise", f"SELECT borger_id, min(fra_uge) AS fra_uge FROM {people} GROUP BY 1")
    _differences(session, place, month, number, joining, every)


def _open(session: Session, rows: pl.DataFrame) -> None:
    """Write rows of a state (`STATE`) as opening: Å of run 0."""
    none = pl.lit(None, pl.Int64).alias("oprindelig_koersel")
    opened = rows.with_columns(none, raekketype=pl.lit(AABNING), koersel=pl.lit(0, pl.Int64))
    session.insert("opgoerelse.postering", opened.select(LEDGER))


def _leave_out(session: Session, month: date, number: int, koder: Sequence[str]) -> None:
    """Delete the ledger and advice of run `month`, and what it opened, for all municipalities but `koder`.

    Marks everybody calculated for the month as not settled, so that settling the last municipality compares them again.
    """
    session.run(f"DELETE FROM opgoerelse.postering WHERE NOT {AMONG} AND {OF_FIRST_RUN}", koder=koder, n=number)
    session.run(f"DELETE FROM opgoerelse.foraeldet WHERE NOT {AMONG} AND koersel = $n", koder=koder, n=number)
    forget_advice(session, number, [*koder, NOBODY])
    count_as_settled(session, month, None)


def hold_back(session: Session, place: Place, month: date, begrundelse: str) -> None:
    """Store the municipalities that run `month` holds back (`opgoerelse.tilbageholdt`), and the reason."""
    refuse_number(begrundelse)
    held = held_back(session, place, month)
    said = "SELECT kommunekode, begrundelse FROM opgoerelse.tilbageholdt WHERE maaned = $m"
    before = session.pairs(said, m=month)
    session.run("DELETE FROM opgoerelse.tilbageholdt WHERE maaned = $m", m=month)
    rows = [(month, kode, begrundelse.strip() or before.get(kode, "")) for kode in held]
    schema = {"maaned": pl.Date, "kommunekode": pl.String, "begrundelse": pl.String}
    session.insert("opgoerelse.tilbageholdt", pl.DataFrame(rows, schema=schema, orient="row"))


def _enter(session: Session, which: str, kind: str, koersel: int, koder: Sequence[str], month: date) -> None:
    """Copy result rows of some municipalities to the ledger by SQL, all as one row type (N or Å)."""
    said = {"raekketype": f"'{kind}'", "koersel": str(koersel), "oprindelig_koersel": "NULL"}
    names = ", ".join(LEDGER)
    for table in STATES:
        session.run(
            f"""INSERT INTO opgoerelse.postering ({names}) SELECT {", ".join(said.get(n, n) for n in LEDGER)}
            FROM {table} t WHERE {which} AND {AMONG}""",
            koder=list(koder),
            month=month,
        )


def _settle_changed(
    session: Session, place: Place, month: date, number: int, koder: Sequence[str], *, whole: bool
) -> None:
    """Write the ledger of a later run; when it is settled again, only for the people calculated since.

    A person's rows depend on nobody else's, so those of everybody else stay, unless the rules have changed. `whole`:
    the run settles everybody that it shall.
    """
    before = "SELECT max(opgjort) FROM refusion.aendret WHERE maaned = $month"
    times = session.integer(before, month=month)
    ruled = session.value("SELECT regelversion FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    again = whole and times > 0 and ruled == place.rules.version
    unsettled = f"(SELECT borger_id FROM refusion.aendret WHERE maaned = '{month}' AND opgjort IS NULL)"
    since = f"SEMI JOIN {unsettled} USING (borger_id)" if again else ""
    people = session.temp("to_settle", f"FROM {changed_people(month)} {since}")
    whose = f"borger_id IN (SELECT borger_id FROM {people})" if again else "true"
    for table in ("opgoerelse.postering", "opgoerelse.foraeldet"):
        session.run(f"DELETE FROM {table} WHERE koersel = $n AND {whose} AND {AMONG}", n=number, koder=list(koder))
    _enter(session, f"maaned = $month AND {whose}", NY, number, koder, month)
    _differences(session, place, month, number, koder, people)
    if whole:
        count_as_settled(session, month, times + 1, "opgjort IS NULL" if again else "true")


def _differences(
    session: Session, place: Place, month: date, number: int, koder: Sequence[str], people: Relation
) -> None:
    """Write the ledger rows of earlier months: the state of `people` (borger_id, fra_uge) against the ledger.

    No earlier run has settled the run month, so its rows are new and not compared. A difference too old to settle goes
    to `opgoerelse.foraeldet` instead.
    """
    compared = _leave_out_settled(session, month, koder, people)
    # Rows from an earlier run under a limit may need taking back, even if there is no limit now.
    limited = any(limits(month, place.rules)) or session.count("opgoerelse.foraeldet") > 0
    weight = f"SELECT borger_id, 1 + date_diff('week', fra_uge, $month::DATE) AS antal FROM {compared} ORDER BY 1"
    weighed = session.frame(weight, month=month)
    mine = _before(month, koder)
    for low, high in ranges(weighed["borger_id"], weighed["antal"], ROWS_PER_BLOCK):
        block = Relation(f"(FROM {compared} WHERE borger_id BETWEEN {low} AND {high})")
        known = [(table, STATE) for table in STATES] + [("opgoerelse.postering", LEDGER)]
        *parts, ledger = (
            session.frame(
                f"SELECT {', '.join(f't.{name}' for name in names)} "
                f"FROM {since_change(session, table, 'uge', block)} WHERE {mine}"
            )
            for table, names in known
        )
        state, settled = pl.concat(parts), not_taken_back(ledger)
        if limited:
            theirs = since_change(session, "opgoerelse.foraeldet", "uge", block)
            listed = not_taken_back(session.frame(f"SELECT t.* FROM {theirs} WHERE {mine}"))
            found = too_old(state, settled, listed, month, session.frame(RECEIVED, month=month), place.rules)
            session.insert("opgoerelse.foraeldet", list_too_old(found, listed, number))
            state, settled = (rows.join(found, on=KEY, how="anti") for rows in (state, settled))
        session.insert("opgoerelse.postering", settle(state, settled, number))


def _before(month: date, koder: Sequence[str]) -> str:
    """SQL: the rows of months before the run month, of some municipalities."""
    return f"maaned < DATE '{month}' AND kommunekode IN ({str(list(koder))[1:-1]})"


def _leave_out_settled(session: Session, month: date, koder: Sequence[str], people: Relation) -> Relation:
    """The people (borger_id, fra_uge) to compare row by row: those whose state may differ from the ledger.

    XORs the row hashes of state and ledger per person; a T row has the hash of the row it takes back. Zero: nothing
    differs. The tenth of the people with changes before `week_of_most` stay in, as their hashes cost more than the
    comparison. So do people in `opgoerelse.foraeldet`: a T row may be due without a difference.
    """
    begin, rows = week_of_most(session, people), []
    for table, sign in (*((state, "1") for state in STATES), ("opgoerelse.postering", TAKEN_BACK)):
        said = [*KEY, *(f"{sign} * {name}" for name in MONEY), "procent"]
        rows.append(f"""SELECT t.borger_id, hash({", ".join(said)}) AS h FROM {table} t
            SEMI JOIN {people} a ON t.borger_id = a.borger_id AND t.uge >= a.fra_uge
            WHERE t.uge >= DATE '{begin}' AND {_before(month, koder)}""")
    query = f"""FROM {people} WHERE NOT (fra_uge >= DATE '{begin}' AND borger_id NOT IN (
        SELECT borger_id FROM ({" UNION ALL ".join(rows)}) GROUP BY borger_id HAVING bit_xor(h) <> 0)
        AND borger_id NOT IN (SELECT borger_id FROM opgoerelse.foraeldet))"""
    return session.temp("to_compare", query)


def ledger_of(
    session: Session, number: int, koder: Sequence[str], columns: Sequence[str] = tuple(LEDGER)
) -> pl.DataFrame:
    """The ledger rows of a run for some municipalities, unsorted."""
    return session.frame(
        f"""SELECT {", ".join(columns)} FROM opgoerelse.postering
        WHERE koersel = $n AND {AMONG}""",
        n=number,
        koder=list(koder),
    )


def record(session: Session, place: Place, month: date, status: str, filsum: str) -> None:
    """Store the run in `opgoerelse.koersel`, with status and hash of its files."""
    number = run_number(month, place.rules)
    session.run("DELETE FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    row = {"koersel": [number], "maaned": [month], "status": [status], "regelversion": [place.rules.version]}
    session.insert("opgoerelse.koersel", pl.DataFrame({**row, "filsum": [filsum]}))


def reopen(session: Session, place: Place, month: date) -> None:
    """Mark run `month` as being made again: no files, no settled municipality, so that no later month can follow it.

    Its ledger stays until the run settles again, as most rows stay the same.
    """
    session.run("UPDATE opgoerelse.koersel SET status = $s WHERE maaned = $m", s=OPGJORT, m=month)
    session.run("DELETE FROM opgoerelse.kommune WHERE koersel = $n", n=run_number(month, place.rules))
    session.run("DELETE FROM opgoerelse.tilbageholdt WHERE maaned = $m", m=month)


def close(session: Session, place: Place, month: date) -> None:
    """Close run `month` for good; Stop if it cannot be closed (`refuse_to_close`)."""
    refuse_to_close(session, place, month)
    keep_head(session, place, run_number(month, place.rules))
    _close(session, place, "maaned = $m AND status <> $s", month)


def refuse_to_close(session: Session, place: Place, month: date) -> None:
    """Stop if run `month` is not there, is closed, holds somebody back, or its files are not those it made."""
    row = session.frame("SELECT status, filsum FROM opgoerelse.koersel WHERE maaned = $m", m=month)
    if row.is_empty():
        raise Stop(f"der er ingen kørsel {month:%Y-%m} at lukke")
    if row["status"][0] == LUKKET:
        raise Stop(f"kørsel {month:%Y-%m} er allerede lukket")
    refuse_held_back(session, place, month, "før kørslen kan lukkes")
    refuse_touched(place, month, row["filsum"][0])
    _refuse_other_sums(session, month)


def _refuse_other_sums(session: Session, month: date) -> None:
    """Stop if the ledger of run `month` is not what its files were proved against (`filer_er_kladden`)."""
    number = session.integer("SELECT koersel FROM opgoerelse.koersel WHERE maaned = $m", m=month)
    if wrong := other_sums(session, number):
        raise Stop(
            f"kladden for kørsel {month:%Y-%m} er ændret, siden filerne blev skrevet ({', '.join(wrong)}); den lukkes "
            f"ikke. Skriv refusion koer {month:%Y-%m}, så den opgøres igen"
        )


def _close(session: Session, place: Place, which: str, month: date) -> None:
    """Close the runs of a condition, and give every closed run without a link its link in `opgoerelse.kaede`."""
    closing = session.frame(f"SELECT maaned FROM opgoerelse.koersel WHERE {which}", m=month, s=LUKKET)["maaned"]
    for one in closing:
        _refuse_other_sums(session, one)
    session.run(f"UPDATE opgoerelse.koersel SET status = $s WHERE {which}", m=month, s=LUKKET)
    before = next(iter(session.frame("FROM opgoerelse.kaede ORDER BY koersel DESC LIMIT 1").rows(named=True)), None)
    log = trace.verify(place.root / trace.LOG)
    for said in closed_runs(session, before["koersel"] if before else 0):
        row = {
            **said,
            "opslag": f"{log.linjer}:{log.hoved}",
            "slettet": deleted(session),
            "eftertid": said["maaned"] not in closing,
        }
        before = linked(before, row)
        session.insert("opgoerelse.kaede", pl.DataFrame([before]))


BY_BENEFIT = """
SELECT kommunekode, ydelse_id, count(DISTINCT borger_id) AS borgere, count(*) AS raekker,
       sum(refusion_oere)::BIGINT AS refusion_oere, sum(medfinansiering_oere)::BIGINT AS medfinansiering_oere
FROM opgoerelse.postering WHERE koersel = $n GROUP BY ALL ORDER BY ALL"""


def _show(
    context: dg.AssetExecutionContext, place: Place, done: Settled, by_benefit: pl.DataFrame, month: date
) -> None:
    """Show rows, people and sums of the run on the cell of every chosen municipality, and the same by benefit."""
    chosen = set(context.partition_keys)
    names = names_of_benefits(place.rules)
    navne = place.rules.kommunenavne
    groups = by_benefit.with_columns(pl.col("ydelse_id").replace(names)).partition_by(
        "kommunekode", as_dict=True, include_key=False
    )
    for row in done.kommuner.iter_rows(named=True):
        kode = row["kommunekode"]
        if f"{kode}|{month:%Y-%m}" not in chosen:
            continue
        mine = groups.get((kode,))
        shown = {"oversigt": dg.MetadataValue.md(figures.groups("Ydelse", mine))} if mine is not None else {}
        context.add_asset_metadata(
            partition_key=f"{kode}|{month:%Y-%m}",
            metadata={
                "dagster/partition_row_count": row["raekker"],
                "kommune": navne[kode],
                "borgere": row["borgere"],
                "refusion_kr": kroner(row["refusion_oere"]),
                "medfinansiering_kr": kroner(row["medfinansiering_oere"]),
                "rettelser_kr": kroner(row["rettelser_oere"]),
                **shown,
            },
        )


def build(cells: dg.MultiPartitionsDefinition, rules: Rulebook) -> list[dg.AssetsDefinition]:
    """The ledger, cut by run month x municipality; one run settles all the cells of a month."""
    by_month = dg.MultiToSingleDimensionPartitionMapping(MAANED)
    rows = [dg.AssetDep(table.split("."), partition_mapping=by_month) for table in MADE]

    kommuner = figures.table(["Kode", "Kommune"], [(k.kommunekode, k.navn) for k in rules.kommuner])

    @table_asset("opgoerelse.postering", cells, {"kommuner": dg.MetadataValue.md(kommuner)}, deps=rows)
    def postering(context: dg.AssetExecutionContext, config: HoldingBack, place: dg.ResourceParam[Place]) -> None:
        """One row per ledger entry of the run: the month itself, and every difference to earlier runs.

        Municipalities of whom no cell of the month has been made are held back. Reads the result rows and the ledger.
        The files are written when the checks have passed. Source: output.md section 2.
        """
        for month, koder in chosen_cells(context).items():
            with stopping(), place.warehouse.open() as session:
                before = head(session)
                done = settle_month(session, place, month, koder)
                if (now := head(session)) != before:
                    place.telling(context.log.info)(f"{month:%Y-%m}: den forrige kørsel er lukket; {now}")
                hold_back(session, place, month, config.begrundelse)
                by_benefit = session.frame(BY_BENEFIT, n=done.koersel)
            take_back(context, place, month)
            _show(context, place, done, by_benefit, month)

    return [postering]
