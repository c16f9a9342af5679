"""Understands særligt fleksbidrag: what the state pays for a month in which fleksløntilskud lies on the lowest step."""

from collections.abc import Callable, Iterator

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, round_half_away
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.duration.count import Counted
from refusion_assets.domain.refusion.price import MOST_KOMMUNER, financing, percentages
from refusion_assets.domain.refusion.rates import Rates
from refusion_assets.domain.refusion.residence import NO_KOMMUNE
from refusion_assets.domain.refusion.split import KEY, split
from refusion_assets.domain.rules.entries import Fleksbidrag, Rulebook, spans

MONTH = ["borger_id", "maaned", "kommunekode"]
FACTS = ["beregningsgrundlag_oere", "loen_oere", "tilskud_refusion_oere", "dage_paa_trin", "dage"]


class BorgerMaanedFleksbidrag(Contract, key=["maaned", "borger_id", "ydelse_id", "kommunekode"]):
    """One row per person, benefit month and municipality with days on the step of fleksbidrag, with what it rests on.

    Amounts in øre. No basis received: both its amounts are empty and there is no contribution (FB-001).
    """

    uge: pl.Date = pa.Field(description="mandag i den sidste uge med en dag på trinnet")
    maaned: pl.Date = pa.Field(description="ydelsesmåned, første dag")
    borger_id: pl.Int64
    ydelse_id: pl.String = pa.Field(description="fleksbidragets id")
    kommunekode: pl.String = pa.Field(str_length={"min_value": 3, "max_value": 3})
    beregningsgrundlag_oere: pl.Int64 = pa.Field(nullable=True)
    loen_oere: pl.Int64 = pa.Field(nullable=True)
    tilskud_refusion_oere: pl.Int64 = pa.Field(ge=0, description="refusion af månedens fleksløntilskud, alle trin")
    dage_paa_trin: pl.Int64 = pa.Field(ge=1, le=31)
    dage: pl.Int64 = pa.Field(ge=1, le=31, description="det, andelen regnes af: månedens dage, eller kravenes")
    refusion_oere: pl.Int64 = pa.Field(ge=0, description="fleksbidraget")
    hjemmel: pl.String
    regelversion: pl.String


def paragraf_7(facts: pl.DataFrame, entry: Fleksbidrag) -> Ints:
    """The contribution of each row (`FACTS`), rounded to the unit of the entry, half away from zero. Øre.

    The days on the step of all `dage`, times the lesser of two amounts less a share of the wage, never below zero. The
    two: a share of the basis beyond the refusion, and a share of the basis. One division, of whole numbers.
    Hjemmel: § 7; share and rounding are readings (rules.md section 7).
    """
    grundlag, loen, refusion, on_step, days = (facts[name].to_numpy() for name in FACTS)
    beyond = entry.forskel_procent * (grundlag - refusion)
    ceiling = np.minimum(beyond, entry.beregningsgrundlag_procent * grundlag)
    hundredths = np.maximum(ceiling - entry.loen_procent * loen, 0)
    return entry.afrunding_oere * round_half_away(on_step * hundredths, 100 * entry.afrunding_oere * days)


FORMLER: dict[str, Callable[[pl.DataFrame, Fleksbidrag], Ints]] = {"paragraf_7": paragraf_7}


def rule_faults(rules: Rulebook) -> Iterator[str]:
    """The faults of an entry of fleksbidrag, in Danish, with file, entry and remedy."""
    benefits = set(rules.ydelse_ids)
    seen = set()
    for entry in rules.fleksbidrag:
        where = f"fleksbidrag.toml, {entry.id} fra {entry.gaelder_fra}"
        if entry.gaelder_fra in seen:
            yield f"{where}: datoen står to gange; behold een post"
        seen.add(entry.gaelder_fra)
        if entry.id in benefits:
            yield f"{where}: id er en ydelse i ydelser.csv; vælg et andet"
        if entry.ydelse_id not in benefits:
            yield f"{where}: ydelse {entry.ydelse_id} findes ikke i ydelser.csv"
        if entry.formel not in FORMLER:
            yield f"{where}: formel {entry.formel} kendes ikke; vælg blandt {', '.join(sorted(FORMLER))}"
        for name in ("trin_procent", "forskel_procent", "beregningsgrundlag_procent", "loen_procent"):
            if not 0 <= getattr(entry, name) <= 100:
                yield f"{where}: {name} {getattr(entry, name)} ligger ikke mellem 0 og 100"
        if entry.afrunding_oere < 1:
            yield f"{where}: afrunding_oere skal være mindst 1"


def days_on_step(
    krav: pl.DataFrame, counted: Counted, home: npt.NDArray[np.int16], grid: Grid, rates: Rates, rules: Rulebook
) -> pl.DataFrame:
    """One row per person, benefit month and municipality with days on the step: `dage_paa_trin`, `dage` and `uge`.

    Distinct days of the claims with a positive amount, from `finansieres_fra` to the last known one; the percentage of
    the week gives the step. `dage` are those of the month, or by the other reading those of the claims.
    `krav` as for `refusion.price`; with `fra_uge` only months from that week's Sunday on. Hjemmel: § 7.
    """
    by_month = rules.laesning("fleksbidrag_andel") == "maanedens_dage"
    whole = pl.col("maaned").first().dt.month_end().dt.day().cast(pl.Int64) if by_month else pl.col("dage").sum()
    found = []
    for entry, since, until in spans(rules.fleksbidrag):
        claims = krav.filter(pl.col("beloeb_oere") > 0, pl.col("ydelse_id") == entry.ydelse_id)
        cells = _cells(claims, counted, home, grid, rates, rules)
        mine = cells.filter(pl.col("maaned") >= since, pl.col("maaned") < until)
        on_step = pl.col("procent") == entry.trin_procent
        months = mine.group_by(MONTH).agg(
            uge=pl.col("uge").filter(on_step).max(), dage_paa_trin=pl.col("dage").filter(on_step).sum(), dage=whole
        )
        found.append(months.filter(pl.col("dage_paa_trin") > 0))
    return pl.concat(found) if found else pl.DataFrame(schema=_DAYS)


_DAYS = {
    "borger_id": pl.Int64, "maaned": pl.Date, "kommunekode": pl.String,
    "uge": pl.Date, "dage_paa_trin": pl.Int64, "dage": pl.Int64,
}  # fmt: skip


def _cells(
    krav: pl.DataFrame, counted: Counted, home: npt.NDArray[np.int16], grid: Grid, rates: Rates, rules: Rulebook
) -> pl.DataFrame:
    """One row per person, week x month and municipality that a benefit is settled in: percentage, and distinct days.

    The days of a claim in a cell are seven bits, so that days shared by several claims count once.
    """
    number = pl.col("ydelse_id").cast(pl.Enum(rates.ydelse_ids)).to_physical().cast(pl.Int64)
    claims = krav.with_columns(ydelse_nr=number)
    if "fra_uge" not in claims.columns:
        claims = claims.with_columns(fra_uge=pl.lit(grid.monday_of(0)))
    parts = split(claims, grid, rates, rules)
    claim, cell = parts.claim, parts.cell
    week, ydelse = grid.cell_week[cell], claims["ydelse_nr"].to_numpy()[claim]
    begins = np.maximum(rates.financed_from[ydelse, week], grid.cell_first[cell])
    first = np.maximum(grid.offsets(claims["periode_start"])[claim], begins)
    last = np.minimum(grid.offsets(claims["periode_slut"])[claim], grid.cell_last[cell])
    person = np.searchsorted(counted.borger_id, claims["borger_id"].to_numpy())[claim]
    slot = counted.slots(week, person)
    betaler = claims["kommunekode_betaler"].cast(pl.Int64).fill_null(NO_KOMMUNE).to_numpy()[claim]
    kommune = financing(betaler, home.reshape(-1)[slot].astype(np.int64), rules)
    # The first day of the month that the Sunday of `fra_uge` lies in, as a day number.
    begins_in = claims["fra_uge"].dt.offset_by("6d").dt.month_start().cast(pl.Int32).to_numpy().astype(np.int64)
    wanted = grid.cell_month[cell] >= begins_in[claim]
    kept = np.flatnonzero(wanted & (kommune != NO_KOMMUNE))
    key = ((person * len(grid.cell_week) + cell) * MOST_KOMMUNER + kommune)[kept]
    # Claims are ordered by person, account and day, so there is little to sort.
    order = np.argsort(key, kind="stable")
    begin = np.flatnonzero(np.diff(key[order], prepend=-1))
    bits = ((1 << (last % 7 + 1)) - (1 << (first % 7)))[kept][order]
    one = kept[order[begin]]
    columns = {"person": person, "ydelse_nr": ydelse, "cell": cell, "kommune": kommune, "slot": slot}
    cells = pl.DataFrame({name: values[one] for name, values in columns.items()})
    days = pl.Series(np.bitwise_or.reduceat(bits, begin)).bitwise_count_ones().cast(pl.Int64)
    return percentages(cells, counted, grid, rates, rules).with_columns(dage=days)


def contributions(days: pl.DataFrame, rows: pl.DataFrame, grundlag: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """The fleksbidrag of each person, month and municipality (`BorgerMaanedFleksbidrag`). Øre.

    A month and municipality in which no øre of the benefit is settled has none, and no row. `days`: from
    `days_on_step`. `rows`: the result rows of all weeks of those months. `grundlag`: one row per person and month, with
    borger_id, maaned, beregningsgrundlag_oere, loen_oere.
    Hjemmel: § 7.
    """
    names = list(BorgerMaanedFleksbidrag.to_schema().columns)
    found = []
    for entry, since, until in spans(rules.fleksbidrag):
        mine = days.filter(pl.col("maaned") >= since, pl.col("maaned") < until)
        paid = rows.filter(pl.col("ydelse_id") == entry.ydelse_id, pl.col("beloeb_oere") != 0).group_by(MONTH)
        refunded = paid.agg(tilskud_refusion_oere=pl.col("refusion_oere").sum())
        facts = mine.join(refunded, on=MONTH).join(grundlag, on=["borger_id", "maaned"], how="left")
        given = facts.select(pl.col(FACTS).fill_null(0))
        formula = pl.Series(FORMLER[entry.formel](given, entry), dtype=pl.Int64)
        known = pl.col("beregningsgrundlag_oere").is_not_null()
        rows_of_entry = facts.with_columns(
            ydelse_id=pl.lit(entry.id),
            refusion_oere=pl.when(known).then(formula).otherwise(0),
            hjemmel=pl.lit(entry.hjemmel),
            regelversion=pl.lit(rules.version[:12]),
        )
        found.append(rows_of_entry.select(names).sort(KEY))
    return pl.concat(found) if found else BorgerMaanedFleksbidrag.empty()


def as_rows(fleksbidrag: pl.DataFrame) -> pl.DataFrame:
    """The contributions (`BorgerMaanedFleksbidrag`) that are settled, as rows of the state: outside every step. Øre.

    As in the view `refusion.fleksbidrag_raekke`: no amount but the refusion, and none of zero.
    """
    nothing = pl.lit(0, dtype=pl.Int64)
    settled = fleksbidrag.filter(pl.col("refusion_oere") != 0)
    return settled.select(
        "uge",
        "maaned",
        "borger_id",
        "ydelse_id",
        "kommunekode",
        "refusion_oere",
        beloeb_oere=nothing,
        medfinansiering_oere=nothing,
        trin=pl.lit(None, dtype=pl.Int64),
    )
