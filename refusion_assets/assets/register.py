"""Register: the supporting registers as delivered - residences, and the basis for fleksbidrag."""

from collections.abc import Iterator
from datetime import date
from pathlib import Path

import dagster as dg
import polars as pl

from refusion_assets import leverance
from refusion_assets.assets.change import moved
from refusion_assets.assets.fleksbidrag import keep_bases, tell_bases, withdraw_bases
from refusion_assets.assets.modtagelse import REGISTER_CHECKS, answers, check_specs
from refusion_assets.assets.wiring import POOL, span, stopping
from refusion_assets.context import Place
from refusion_assets.domain.raw import READABLE, bopael_rows, fleks_rows
from refusion_assets.domain.stop import Faulty
from refusion_assets.leverance import FileRejected
from refusion_assets.metadata import KINDS, OWNER, of_table
from refusion_assets.warehouse import Session

REGISTERS = {"bopael": leverance.BOPAEL_HEADER, "fleksgrundlag": leverance.FLEKS_HEADER}


def ingest_registers(session: Session, place: Place, month: date) -> int:
    """The newest residence snapshot and every basis for fleksbidrag through `month`; the number of lines new."""
    lines = 0
    for art, header in REGISTERS.items():
        folders = list(leverance.months_on_disk(place.raw, art, month))
        for received, folder in folders[-1:] if art == "bopael" else folders:
            for path in sorted(folder.glob(f"{art}-*.csv")):
                lines += _store_register(session, place, path, art, header, received)
    return lines


def _store_register(session: Session, place: Place, path: Path, art: str, header: str, month: date) -> int:
    """One register file in the warehouse, unless it is there already; Stop if it is bad."""
    sti = str(path.relative_to(place.raw))
    before = session.value("SELECT sha256 FROM raw.register WHERE sti = $sti", sti=sti)
    if before == leverance.fingerprint(path):
        return 0
    try:
        sha256, lines = leverance.read_register(path, header)
    except FileRejected as rejected:
        raise Faulty([rejected.fault]) from None
    session.run("DELETE FROM raw.register WHERE sti = $sti", sti=sti)
    again = art == "bopael" and before is not None
    if again:
        _keep_stays(session, month)
    if art == "fleksgrundlag":
        keep_bases(session, month)
    session.run(f"DELETE FROM raw.{art} WHERE modtaget_maaned = $month", month=month)
    rows = bopael_rows(lines, month) if art == "bopael" else fleks_rows(lines, month)
    odd = lines.filter(~READABLE[art])["linje"]
    entry = {"sti": sti, "art": art, "modtaget_maaned": month, "sha256": sha256, "antal_raekker": lines.height}
    entry |= {"antal_ulaeselige": odd.len(), "foerste_ulaeselige": odd.min()}
    session.insert("raw.register", pl.DataFrame([entry], schema_overrides={"foerste_ulaeselige": pl.Int64}))
    added = session.insert(f"raw.{art}", rows)
    if again:
        _tell_moves(session)
    if art == "fleksgrundlag":
        tell_bases(session, month)
    return added


def _keep_stays(session: Session, month: object) -> None:
    """The stays of a snapshot, kept as they are before it is read anew (`bopael_foer`)."""
    session.run("CREATE OR REPLACE TEMP TABLE bopael_foer AS FROM raw.bopael WHERE modtaget_maaned = $m", m=month)


def _tell_moves(session: Session) -> None:
    """Whom the newest snapshot, read anew, moves: they are calculated anew (`classified.aendret`)."""
    newest = "(FROM raw.bopael WHERE modtaget_maaned = (SELECT max(modtaget_maaned) FROM raw.bopael))"
    whose = moved("bopael_foer", newest)
    session.run(f"INSERT INTO classified.aendret SELECT borger_id, fra FROM {whose} JOIN identitet.borger USING (cpr)")


def _take_in(place: Place, context: dg.AssetExecutionContext) -> int | Faulty:
    """How many lines of the registers are new, or what is wrong with a file; all of them if it is done again."""
    try:
        with place.warehouse.open() as session:
            asked = span(session, place, context)
            if asked.fra is None:
                return ingest_registers(session, place, asked.month)
            _keep_stays(session, session.value("SELECT max(bopael_maaned) FROM refusion.beregnet"))
            for table in ("register", "bopael"):
                session.run(f"DELETE FROM raw.{table}")
            lines = ingest_registers(session, place, asked.month)
            _tell_moves(session)
            withdraw_bases(session)
            return lines
    except Faulty as stop:
        return stop


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The supporting registers, cut by month of receipt."""

    @dg.asset(
        key=["raw", "register"],
        partitions_def=months,
        group_name="raw",
        kinds=KINDS,
        owners=[OWNER],
        metadata=of_table("raw.register"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
        output_required=False,
        check_specs=check_specs(REGISTER_CHECKS, ["raw", "register"]),
    )
    def register(
        context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """One row per supporting register taken in: residence, and the basis for fleksbidrag.

        Reads the newest residence snapshot and every basis received through the month. Stops on FIL-001, FIL-002.
        """
        with stopping():
            taken = _take_in(place, context)
        if isinstance(taken, Faulty):
            yield from answers(taken.faults, REGISTER_CHECKS)
            return
        with place.warehouse.open() as session:
            held = dict(
                session.frame("SELECT art, sum(antal_raekker)::BIGINT FROM raw.register GROUP BY 1").iter_rows()
            )
            files = session.value("SELECT count(*) FROM raw.register")
        yield dg.MaterializeResult(
            metadata={
                "dagster/row_count": int(files),  # type: ignore[call-overload]
                **{f"{art}_linjer": held.get(art, 0) for art in REGISTERS},
                "nye_linjer": taken,
            }
        )
        yield from answers([], REGISTER_CHECKS)

    return [register]
