"""Understands the money: the rows of a week, who finances them, and the percentage each week gives."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, round_half_away
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.duration.count import Counted
from refusion_assets.domain.duration.spells import numbers
from refusion_assets.domain.refusion.maximum import OverLoft, limit
from refusion_assets.domain.refusion.rates import SIDE_REFUSION, Rates
from refusion_assets.domain.refusion.residence import NO_KOMMUNE
from refusion_assets.domain.refusion.split import KEY, Parts, placements, split
from refusion_assets.domain.rules.entries import Rulebook

MOST_KOMMUNER = 1000


class BorgerUgeYdelse(Contract, key=KEY):
    """One row per person, week, benefit month, benefit and financing municipality. Amounts in øre."""

    uge: pl.Date = pa.Field(description="mandag")
    maaned: pl.Date = pa.Field(description="ydelsesmåned, første dag")
    borger_id: pl.Int64
    ydelse_id: pl.String
    kommunekode: pl.String = pa.Field(str_length={"min_value": 3, "max_value": 3})
    indberettet_oere: pl.Int64 = pa.Field(ge=0)
    beloeb_oere: pl.Int64 = pa.Field(gt=0)
    procent: pl.Int64 = pa.Field(ge=0, le=100)
    refusion_oere: pl.Int64 = pa.Field(ge=0)
    medfinansiering_oere: pl.Int64 = pa.Field(ge=0)
    ydelsestaeller: pl.Int64 = pa.Field(nullable=True, ge=0)
    genoptjeningstaeller: pl.Int64 = pa.Field(nullable=True, ge=0)
    trin: pl.Int64 = pa.Field(nullable=True, ge=1)
    hjemmel: pl.String
    regelversion: pl.String


class UdenKommune(Contract, key=["uge", "maaned", "borger_id", "ydelse_id"]):
    """One row per person, week, benefit month and benefit whose money found no municipality (EI-018). Øre."""

    uge: pl.Date
    maaned: pl.Date
    borger_id: pl.Int64
    ydelse_id: pl.String
    beloeb_oere: pl.Int64 = pa.Field(gt=0)


class AndenBetaler(Contract):
    """One row per person, benefit month, benefit, payer and residence where the two differ (EI-019). Øre."""

    borger_id: pl.Int64
    maaned: pl.Date
    ydelse_id: pl.String
    kommunekode: pl.String = pa.Field(description="the municipality that paid")
    bopael_kommunekode: pl.String
    uge_fra: pl.Date
    uge_til: pl.Date
    beloeb_oere: pl.Int64


@dataclass(frozen=True)
class Priced:
    """The result rows of a shard, and its other rows by the table of `refusion` that they go into. Øre."""

    rows: pl.DataFrame
    over_loft: pl.DataFrame
    uden_kommune: pl.DataFrame
    anden_betaler: pl.DataFrame
    placering: pl.DataFrame


def price(
    krav: pl.DataFrame, counted: Counted, home: npt.NDArray[np.int16], grid: Grid, rates: Rates, rules: Rulebook
) -> Priced:
    """The result rows of a shard (`BorgerUgeYdelse`), and the money outside them. Øre, whole per cent.

    `krav`: one row per claim with positive amount (borger_id, ydelse_id, kommunekode_betaler or null, periode_start,
    periode_slut, beloeb_oere). It drops rows of weeks before the person's `fra_uge`, an optional column. `home[week,
    person]`: municipality of residence or -1.
    Hjemmel: § 5, stk. 2-3; rules.md sections 5-6.
    """
    number = pl.col("ydelse_id").cast(pl.Enum(rates.ydelse_ids)).to_physical().cast(pl.Int64)
    claims = krav.with_columns(ydelse_nr=number)
    if "fra_uge" not in claims.columns:
        claims = claims.with_columns(fra_uge=pl.lit(grid.monday_of(0)))
    parts = split(claims, grid, rates, rules)
    placed = _placed(claims, parts, counted, home, grid, rules)
    wanted = _where(placed, placed["ny_uge"].to_numpy())
    homed = wanted["kommune"].to_numpy() != NO_KOMMUNE
    if rules.lofter:
        rows, over_loft = _limited(placed, claims, counted, grid, rates, rules)
    else:
        rows, over_loft = _with_percentages(_rows(_where(wanted, homed)), counted, grid, rates, rules), OverLoft.empty()
    return Priced(
        rows=rows,
        over_loft=over_loft,
        uden_kommune=_homeless(_where(wanted, ~homed), counted, grid, rates),
        anden_betaler=_other_payer(placed, counted, grid, rates),
        placering=placements(claims, parts),
    )


def _limited(
    placed: pl.DataFrame, claims: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates, rules: Rulebook
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The rows under their maxima, and the øre that these took.

    A maximum counts the earlier weeks of its month. So rows of whole months are made, and those before the first week
    asked for are dropped.
    """
    homed = (placed["kommune"].to_numpy() != NO_KOMMUNE) & placed["ny_maaned"].to_numpy()
    rows, over = limit(_with_percentages(_rows(_where(placed, homed)), counted, grid, rates, rules), rules)
    if placed["ny_uge"].all():
        return rows, over
    begins = claims.group_by("borger_id").agg(pl.col("fra_uge").min())
    new = pl.col("uge") >= pl.col("fra_uge")
    kept = [frame.join(begins, on="borger_id", maintain_order="left").filter(new) for frame in (rows, over)]
    return kept[0].drop("fra_uge"), kept[1].drop("fra_uge")


def _placed(
    claims: pl.DataFrame, parts: Parts, counted: Counted, home: npt.NDArray[np.int16], grid: Grid, rules: Rulebook
) -> pl.DataFrame:
    """One row per part that carries money: person, cell, payer, financing municipality, and if it is wanted.

    `slot` is the place of the week and the person in the matrices. `indberettet` is the whole claim, on its first
    part with a municipality.
    """
    carries = parts.oere != 0
    claim, cell, oere = parts.claim[carries], parts.cell[carries], parts.oere[carries]
    person = np.searchsorted(counted.borger_id, claims["borger_id"].to_numpy())[claim]
    slot = counted.slots(grid.cell_week[cell], person)
    betaler = claims["kommunekode_betaler"].cast(pl.Int64).fill_null(NO_KOMMUNE).to_numpy()[claim]
    bopael = home.reshape(-1)[slot].astype(np.int64)
    kommune = financing(betaler, bopael, rules)
    homed = np.flatnonzero(kommune != NO_KOMMUNE)
    begins = homed[np.diff(claim[homed], prepend=-1) != 0]
    indberettet = np.zeros_like(oere)
    indberettet[begins] = claims["beloeb_oere"].to_numpy()[claim[begins]]
    fra_uge = claims["fra_uge"]
    return pl.DataFrame(
        {
            "person": person,
            "ydelse_nr": claims["ydelse_nr"].to_numpy()[claim],
            "cell": cell,
            "slot": slot,
            "kommune": kommune,
            "betaler": betaler,
            "bopael": bopael,
            "oere": oere,
            "indberettet": indberettet,
            "ny_uge": cell >= _cell_on(fra_uge, grid)[claim],
            "ny_maaned": cell >= _cell_on(fra_uge.dt.month_start(), grid)[claim],
        }
    )


def financing(betaler: Ints, bopael: Ints, rules: Rulebook) -> Ints:
    """The municipality that finances each part, by payer and residence; either may be unknown. Hjemmel: § 2."""
    by_payer = rules.laesning("finansieringskommune_refusion") == "betaler"
    return np.where(betaler != NO_KOMMUNE, betaler, bopael) if by_payer else bopael


def _where(frame: pl.DataFrame, wanted: npt.NDArray[np.bool_]) -> pl.DataFrame:
    """The rows of a mask; no copy if the mask has all of them, as when everybody is calculated."""
    return frame if wanted.all() else frame.filter(pl.Series(wanted))


def _cell_on(days: pl.Series, grid: Grid) -> Ints:
    """The cell of each day: the first for days before the grid, one more than there are for days after it."""
    cells = np.append(grid.cell_of_day, len(grid.cell_week))
    return cells[np.clip(grid.offsets(days), 0, grid.days)]


def _rows(homed: pl.DataFrame) -> pl.DataFrame:
    """Parts added to rows (person, benefit, cell, municipality), in that order, with the slot of each."""
    names = ["person", "ydelse_nr", "cell", "kommune"]
    key = np.zeros(homed.height, np.int64)
    for name in names:
        numbers = homed[name].to_numpy()
        key = key * (numbers.max(initial=0) + 1) + numbers
    # Claims are ordered by person, account and day, so there is little to sort.
    order = np.argsort(key, kind="stable")
    first = np.flatnonzero(np.diff(key[order], prepend=-1))
    sums = [pl.Series(name, np.add.reduceat(homed[name].to_numpy()[order], first)) for name in ("oere", "indberettet")]
    return homed.select(*names, "slot")[order[first]].with_columns(sums)


def _named(frame: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates) -> pl.DataFrame:
    """A frame of person, cell and ydelse_nr with the names of the tables: borger_id, uge, maaned, ydelse_id."""
    cell = frame["cell"].to_numpy()
    return frame.with_columns(
        uge=_dates(grid.origin + 7 * grid.cell_week[cell]),
        maaned=_dates(grid.cell_month[cell]),
        borger_id=pl.Series(counted.borger_id[frame["person"].to_numpy()]),
        ydelse_id=_names(rates.ydelse_ids, frame["ydelse_nr"].to_numpy()),
    )


def _names(names: list[str], numbers: npt.NDArray[np.integer]) -> pl.Series:
    return pl.Series(names, dtype=pl.String).gather(pl.Series(numbers))


def _koder(numbers: pl.Series) -> pl.Series:
    return _names([f"{number:03}" for number in range(MOST_KOMMUNER)], numbers.to_numpy())


def _homeless(homeless: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates) -> pl.DataFrame:
    """One row per key without municipality (`UdenKommune`). Øre."""
    key = ["uge", "maaned", "borger_id", "ydelse_id"]
    named = _named(homeless, counted, grid, rates)
    return named.group_by(key).agg(beloeb_oere=pl.col("oere").sum()).sort(key)


def _other_payer(placed: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates) -> pl.DataFrame:
    """One row per person, month, benefit and pair of municipalities that differ (`AndenBetaler`). Øre."""
    known = pl.col("ny_maaned") & (pl.col("betaler") != NO_KOMMUNE) & (pl.col("bopael") != NO_KOMMUNE)
    named = _named(placed.filter(known & (pl.col("betaler") != pl.col("bopael"))), counted, grid, rates)
    key = ["borger_id", "maaned", "ydelse_id", "kommunekode", "bopael_kommunekode"]
    pairs = named.with_columns(kommunekode=_koder(named["betaler"]), bopael_kommunekode=_koder(named["bopael"]))
    return (
        pairs.group_by(key)
        .agg(uge_fra=pl.col("uge").min(), uge_til=pl.col("uge").max(), beloeb_oere=pl.col("oere").sum())
        .sort(key)
    )


def _with_percentages(rows: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates, rules: Rulebook) -> pl.DataFrame:
    """Rows with percentage, step, paragraph and the two results. Whole per cent, øre.

    A week before the overgang takes the step of the first week after it. Hjemmel: § 29, stk. 3.
    """
    person, slot, ydelse, amount = (rows[c].to_numpy() for c in ("person", "slot", "ydelse_nr", "oere"))
    week = grid.cell_week[rows["cell"].to_numpy()]
    place = ydelse * grid.weeks + week
    found = numbers(counted, slot, person, rates.taeller.reshape(-1)[place] if counted.others else None, rules)
    before = week < grid.week_of(rules.overgang.gaelder_fra)
    number = np.minimum(np.where(before, found.n_overgang, found.n), rates.top)
    step = place * (rates.top + 1) + number
    procent = rates.procent.reshape(-1)[step].astype(np.int64)
    result = round_half_away(amount * procent, 100)
    refunded = rates.side.reshape(-1)[place] == SIDE_REFUSION
    stepped = pl.Series(rates.on_staircase.reshape(-1)[place])
    return _named(rows, counted, grid, rates).select(
        "uge",
        "maaned",
        "borger_id",
        "ydelse_id",
        kommunekode=_koder(rows["kommune"]),
        indberettet_oere="indberettet",
        beloeb_oere="oere",
        procent=pl.Series(procent),
        refusion_oere=pl.Series(np.where(refunded, result, 0)),
        medfinansiering_oere=pl.Series(np.where(refunded, 0, result)),
        ydelsestaeller=pl.when(stepped).then(pl.Series(found.n.astype(np.int64))),
        genoptjeningstaeller=pl.when(pl.Series(found.known)).then(pl.Series(found.genoptjening.astype(np.int64))),
        trin=pl.when(stepped).then(pl.Series(rates.trin.reshape(-1)[step].astype(np.int64))),
        hjemmel=_names(rates.texts, rates.hjemmel.reshape(-1)[step]),
        regelversion=pl.lit(rules.version[:12]),
    )


def percentages(cells: pl.DataFrame, counted: Counted, grid: Grid, rates: Rates, rules: Rulebook) -> pl.DataFrame:
    """The percentage for money of each row, in their order: uge, maaned, borger_id, kommunekode, procent.

    `cells`: person, ydelse_nr, cell, kommune, slot, as the parts of claims have them. Hjemmel: § 5, stk. 2-3.
    """
    nothing = {name: pl.lit(0, dtype=pl.Int64) for name in ("oere", "indberettet")}
    priced = _with_percentages(cells.with_columns(**nothing), counted, grid, rates, rules)
    return priced.select("uge", "maaned", "borger_id", "kommunekode", "procent")


def _dates(days: Ints) -> pl.Series:
    return pl.Series(days.astype(np.int32)).cast(pl.Date)


class Beregnet(Contract):
    """One row: what the result rows were last calculated from."""

    maaned: pl.Date = pa.Field(description="the run month whose knowledge the rows show")
    regelversion: pl.String
    bopael_maaned: pl.Date = pa.Field(nullable=True, description="the snapshot of residences that was used")


class AendretUge(Contract):
    """One row per person, run month and calculation that can have changed rows: the first week that can differ."""

    maaned: pl.Date = pa.Field(description="run month")
    borger_id: pl.Int64
    fra_uge: pl.Date = pa.Field(description="Monday of the first week that can differ")
    opgjort: pl.Int64 = pa.Field(
        nullable=True, ge=1, description="which settling of the run took it in; none yet: empty"
    )
