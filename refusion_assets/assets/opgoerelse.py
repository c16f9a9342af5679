"""Opgoerelse: the month settled against everything settled before, and told to the municipalities."""

import hashlib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets import files
from refusion_assets.assets.change import ranges
from refusion_assets.assets.wiring import AABEN, LUKKET, POOL, gate, stopping
from refusion_assets.context import Place
from refusion_assets.domain.opgoerelse import (
    AABNING,
    LEDGER,
    NY,
    STATE,
    beregning,
    by_kommune,
    settle,
    standing,
    statement,
)
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.weeks import month_of
from refusion_assets.metadata import KINDS, OWNER, kroner, of_table
from refusion_assets.partitions import MAANED
from refusion_assets.warehouse import Session

ROWS_PER_BLOCK = 1_000_000


@dataclass(frozen=True)
class Settled:
    """What a run settled: ledger rows by type, and per municipality rows and sums (øre)."""

    koersel: int
    raekker: dict[str, int]
    kommuner: pl.DataFrame
    files: files.Outgoing


def settle_month(session: Session, place: Place, month: date, koder: Sequence[str]) -> Settled:
    """The ledger of run `month` for the municipalities `koder`, replaced, and their files made ready.

    Earlier runs are closed. The first run of a data root takes what lies before it as settled (Å).
    Source: output.md sections 2 and 3.
    """
    number = gate(session, place, month)
    session.run("UPDATE opgoerelse.koersel SET status = $s WHERE maaned < $m", s=LUKKET, m=month)
    first_run = session.value("SELECT count(*) FROM opgoerelse.koersel WHERE maaned < $m", m=month) == 0
    mine = "kommunekode IN (SELECT unnest($koder::VARCHAR[]))"
    session.run(
        f"DELETE FROM opgoerelse.postering WHERE {mine} AND (koersel = $n OR (koersel = 0 AND $first))",
        koder=list(koder),
        n=number,
        first=first_run,
    )
    if first_run:
        _open(session, month, number, koder)
    else:
        _differences(session, month, number, koder)
    ledger = _ledger(session, number, koder)
    outgoing = _files(session, place, month, number, ledger, koder)
    totals = by_kommune(ledger, list(koder), number, month)
    session.run(f"DELETE FROM opgoerelse.kommune WHERE koersel = $n AND {mine}", n=number, koder=list(koder))
    session.insert("opgoerelse.kommune", totals)
    _record(session, place, month, number, outgoing.filsum)
    types = dict(ledger.group_by("raekketype").len().sort("raekketype").iter_rows())
    return Settled(number, types, totals, outgoing)


def _open(session: Session, month: date, number: int, koder: Sequence[str]) -> None:
    """The ledger of the first run: what lies before it as settled already (Å), the month itself as new (N)."""
    names = ", ".join(LEDGER)
    values = {
        "raekketype": "CASE WHEN maaned < $month THEN $opened ELSE $fresh END",
        "koersel": "CASE WHEN maaned < $month THEN 0 ELSE $number END",
        "oprindelig_koersel": "NULL",
    }
    session.run(
        f"""INSERT INTO opgoerelse.postering ({names}) SELECT {", ".join(values.get(n, n) for n in LEDGER)}
        FROM refusion.borger_uge_ydelse WHERE kommunekode IN (SELECT unnest($koder::VARCHAR[]))
        ORDER BY borger_id, uge, maaned, ydelse_id, kommunekode""",
        month=month,
        number=number,
        koder=list(koder),
        opened=AABNING,
        fresh=NY,
    )


def _differences(session: Session, month: date, number: int, koder: Sequence[str]) -> None:
    """The ledger of a later run: the state of whom its calculation has changed, against what is settled."""
    session.run(
        """CREATE OR REPLACE TEMP TABLE at_opgoere AS
        SELECT borger_id, min(fra_uge) AS fra_uge FROM refusion.aendret WHERE maaned = $month GROUP BY 1""",
        month=month,
    )
    weight = "SELECT borger_id, 1 + date_diff('week', fra_uge, $month::DATE) AS antal FROM at_opgoere"
    for low, high in _blocks(session, weight, month=month):
        part = f"""JOIN (SELECT * FROM at_opgoere WHERE borger_id BETWEEN {low} AND {high}) a
            ON t.borger_id = a.borger_id AND t.uge >= a.fra_uge
            WHERE kommunekode IN (SELECT unnest($koder::VARCHAR[]))"""
        state = session.frame(f"SELECT {_columns(STATE)} FROM refusion.borger_uge_ydelse t {part}", koder=list(koder))
        ledger = session.frame(f"SELECT {_columns(LEDGER)} FROM opgoerelse.postering t {part}", koder=list(koder))
        session.insert("opgoerelse.postering", settle(state, standing(ledger), number))


def _columns(names: Sequence[str]) -> str:
    """Column names of the table t."""
    return ", ".join(f"t.{name}" for name in names)


def _blocks(session: Session, weights: str, **values: object) -> Iterator[tuple[int, int]]:
    """Ranges of borger_id whose rows are few enough to compare at once."""
    people = session.frame(f"SELECT borger_id, antal FROM ({weights}) ORDER BY 1", **values)
    yield from ranges(people["borger_id"], people["antal"], ROWS_PER_BLOCK)


def _names(place: Place) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The names a municipality reads: benefits with their side, and municipalities."""
    latest = {y.ydelse_id: (y.navn, y.side) for y in place.rules.ydelser}
    navne = pl.DataFrame([(k, *v) for k, v in latest.items()], schema=["ydelse_id", "navn", "side"], orient="row")
    koder = [(k.kommunekode, k.navn) for k in place.rules.kommuner]
    return navne, pl.DataFrame(koder, schema=["kommunekode", "kommune"], orient="row")


def _ledger(session: Session, number: int, koder: Sequence[str]) -> pl.DataFrame:
    """The ledger rows of a run for some municipalities."""
    return session.frame(
        f"""SELECT {", ".join(LEDGER)} FROM opgoerelse.postering
        WHERE koersel = $n AND kommunekode IN (SELECT unnest($koder::VARCHAR[])) ORDER BY ALL""",
        n=number,
        koder=list(koder),
    )


def _files(
    session: Session, place: Place, month: date, number: int, ledger: pl.DataFrame, koder: Sequence[str]
) -> files.Outgoing:
    """The run's files for some municipalities, made ready from the ledger."""
    navne, kommuner = _names(place)
    borger = session.frame("SELECT borger_id, cpr FROM identitet.borger")
    merged = beregning(ledger).join(borger, on="borger_id").join(navne, on="ydelse_id").join(kommuner, on="kommunekode")
    totals = statement(ledger, month, navne).join(kommuner, on="kommunekode")
    tables = {
        "beregning": ("kommunekode", files.beregning_table(merged)),
        "opgoerelse": ("Kommunekode", files.opgoerelse_table(totals, number)),
    }
    return files.stage(place.outgoing / f"{month:%Y-%m}", tables, koder, month, place.rules)


def _record(session: Session, place: Place, month: date, number: int, filsum: str) -> None:
    """The run itself, open until somebody closes it or the next one starts."""
    session.run("DELETE FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    row = {"koersel": [number], "maaned": [month], "status": [AABEN], "regelversion": [place.rules.version]}
    session.insert("opgoerelse.koersel", pl.DataFrame({**row, "filsum": [filsum]}))


def close(session: Session, place: Place, month: date) -> None:
    """Run `month` closed for good; Stop if it is not there, or its files are not those it made."""
    row = session.frame("SELECT status, filsum FROM opgoerelse.koersel WHERE maaned = $m", m=month)
    if row.is_empty():
        raise Stop(f"der er ingen kørsel {month:%Y-%m} at lukke")
    if row["status"][0] == LUKKET:
        raise Stop(f"kørsel {month:%Y-%m} er allerede lukket")
    sums = place.outgoing / f"{month:%Y-%m}" / files.SUMS
    if not sums.exists() or hashlib.sha256(sums.read_bytes()).hexdigest() != row["filsum"][0]:
        raise Stop(f"filerne for {month:%Y-%m} mangler eller er ikke kørslens; kør måneden igen, og luk så")
    session.run("UPDATE opgoerelse.koersel SET status = $s WHERE maaned = $m", s=LUKKET, m=month)


def build(cells: dg.MultiPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The ledger, cut by run month x municipality; one run settles all the cells of a month."""

    @dg.asset(
        key=["opgoerelse", "postering"],
        deps=[
            dg.AssetDep(
                ["refusion", "borger_uge_ydelse"], partition_mapping=dg.MultiToSingleDimensionPartitionMapping(MAANED)
            )
        ],
        partitions_def=cells,
        group_name="opgoerelse",
        kinds={*KINDS, "csv"},
        owners=[OWNER],
        metadata=of_table("opgoerelse.postering"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def postering(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> None:
        """One row per ledger entry of the run: what the month settles, and every difference to earlier runs.

        Reads the result rows and the ledger; writes the municipalities' files. Source: output.md 2-3.
        """
        chosen = defaultdict(list)
        for kode, maaned in sorted(key.split("|") for key in context.partition_keys):
            chosen[month_of(maaned)].append(kode)
        for month, koder in sorted(chosen.items()):
            with stopping(), place.warehouse.open() as session:
                done = settle_month(session, place, month, koder)
            done.files.publish()
            for row in done.kommuner.iter_rows(named=True):
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
        place.warehouse.publish()

    return [postering]
