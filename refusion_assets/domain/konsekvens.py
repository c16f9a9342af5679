"""Understands the effect of a proposal: money by month, municipality, benefit and step, and changes of step."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.domain.calendar import Grid, monday
from refusion_assets.domain.duration.count import Counted, count_weeks
from refusion_assets.domain.refusion.fleksbidrag import as_rows, contributions, days_on_step
from refusion_assets.domain.refusion.price import price
from refusion_assets.domain.refusion.residence import Koder, residence
from refusion_assets.domain.refusion.shard import Book
from refusion_assets.domain.rules.entries import Rulebook

UDEN_TRIN = 0
CELL = ["maaned", "kommunekode", "ydelse_id", "side", "trin"]
MOVE = ["maaned", "kommunekode", "fra_trin", "til_trin"]
WHERE = ["maaned", "kommunekode"]
COUNTS = ["personuger", "borgere"]
MONEY = ["beloeb_oere", "refusion_oere", "medfinansiering_oere"]
GAELDENDE, FORSLAG = "gaeldende", "forslag"
MEASURES = [f"{name}_{book}" for name in (*COUNTS, *MONEY) for book in (GAELDENDE, FORSLAG)]


@dataclass(frozen=True)
class Virkning:
    """The effect of a proposal on some people, as three small tables that add up over people. Øre, persons, weeks.

    `celler`: CELL and for both rule sets person-weeks, persons, amount, refusion and medfinansiering; step 0 is a
    benefit outside the staircases. `skift`: MOVE, persons with a week on another step, person-weeks. `beroerte`: WHERE,
    persons whose money is another (`borgere`), and who change step (`skifter`). Where `maaned` or `kommunekode` is
    null, persons are counted once over all.
    """

    celler: pl.DataFrame
    skift: pl.DataFrame
    beroerte: pl.DataFrame

    def plus(self, other: "Virkning") -> "Virkning":
        """The two together; they must be about different people."""
        return Virkning(
            _added(self.celler, other.celler, CELL),
            _added(self.skift, other.skift, MOVE),
            _added(self.beroerte, other.beroerte, WHERE),
        )


def _added(one: pl.DataFrame, two: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    return pl.concat([one, two]).group_by(key).sum().sort(key, nulls_last=True)


def effect(
    gaeldende: Book,
    forslag: Book,
    months: Sequence[date],
    alike: bool,
    krav: pl.DataFrame,
    bopael: pl.DataFrame,
    grundlag: pl.DataFrame,
) -> Virkning:
    """The effect on the people of a shard; weeks are counted once where both rule sets count alike.

    `krav`, `bopael` and `grundlag`: their claims, stays and bases of fleksbidrag. They hold nothing of a person but
    borger_id.
    """
    ground = _ground(gaeldende, krav, bopael)
    other = ground if alike else _ground(forslag, krav, bopael)
    ends = pl.col("periode_slut") >= pl.col("fra_uge").dt.month_start()
    recent = krav.filter(ends & (pl.col("beloeb_oere") > 0))
    return compare(_rows(gaeldende, recent, ground, grundlag, months), _rows(forslag, recent, other, grundlag, months))


def _ground(book: Book, krav: pl.DataFrame, bopael: pl.DataFrame) -> tuple[Counted, Koder]:
    """The counters of a shard's people, and where they live."""
    counted = count_weeks(krav, book.grid, book.rules)
    return counted, residence(bopael, counted.borger_id, book.grid, book.rules)


def _rows(
    book: Book, krav: pl.DataFrame, ground: tuple[Counted, Koder], grundlag: pl.DataFrame, months: Sequence[date]
) -> pl.DataFrame:
    """The rows of the state of some months, fleksbidrag among them, with the side of each."""
    priced = price(krav, *ground, book.grid, book.rates, book.rules).rows
    days = days_on_step(krav, *ground, book.grid, book.rates, book.rules)
    fleksbidrag = as_rows(contributions(days, priced, grundlag, book.rules))
    known = sides(book.rules, book.grid, monday(months[0]))
    state = pl.concat([priced.select(fleksbidrag.columns), fleksbidrag])
    asked = state.filter(pl.col("maaned").is_between(months[0], months[-1]))
    return asked.join(known, on=["ydelse_id", "uge"], how="left").with_columns(pl.col("side").fill_null("refusion"))


def sides(rules: Rulebook, grid: Grid, fra: date) -> pl.DataFrame:
    """The side of each benefit and week of the grid from `fra` on: ydelse_id, uge, side."""
    weeks = [grid.monday_of(week) for week in range(max(grid.week_of(fra), 0), grid.weeks)]
    rows = [(name, uge, rules.ydelse_on(name, max(uge, rules.overgang.gaelder_fra)).side)
            for name in rules.ydelse_ids for uge in weeks]  # fmt: skip
    schema = {"ydelse_id": pl.String, "uge": pl.Date, "side": pl.String}
    return pl.DataFrame(rows, schema=schema, orient="row")


def compare(gaeldende: pl.DataFrame, forslag: pl.DataFrame) -> Virkning:
    """The difference between the rows of the same people under two rule sets.

    Both: the rows (`BorgerUgeYdelse`) of the months asked for, with `side`. A person changes step in a week if a
    benefit's step differs between the two rule sets in any municipality.
    Hjemmel: none, technical.
    """
    both = [rows.with_columns(pl.col("trin").fill_null(UDEN_TRIN)) for rows in (gaeldende, forslag)]
    moved = _moved(*both)
    weeks = pl.struct("borger_id", "uge").n_unique().cast(pl.Int64).alias("personuger")
    moves = _with_totals(moved, [_persons("borgere"), weeks], MOVE)
    who = [_with_totals(_richer(*both), [_persons("borgere")], WHERE)]
    who.append(_with_totals(moved, [_persons("skifter")], WHERE))
    touched = who[0].join(who[1], on=WHERE, how="full", coalesce=True, nulls_equal=True)
    return Virkning(_cells(*both), moves, touched.with_columns(pl.col("borgere", "skifter").fill_null(0)))


def _cells(gaeldende: pl.DataFrame, forslag: pl.DataFrame) -> pl.DataFrame:
    """One row per CELL that either rule set has: person-weeks, persons and øre under each; zero where it has none."""
    summed = [
        rows.group_by(CELL).agg(
            pl.len().cast(pl.Int64).alias(f"personuger_{name}"),
            _persons(f"borgere_{name}"),
            *(pl.col(column).sum().alias(f"{column}_{name}") for column in MONEY),
        )
        for name, rows in ((GAELDENDE, gaeldende), (FORSLAG, forslag))
    ]
    joined = summed[0].join(summed[1], on=CELL, how="full", coalesce=True)
    return joined.select(*CELL, pl.col(MEASURES).fill_null(0)).sort(CELL)


def _moved(gaeldende: pl.DataFrame, forslag: pl.DataFrame) -> pl.DataFrame:
    """One row per row of the rules in force whose week stands on another step by the proposal: fra_trin, til_trin."""
    week = ["borger_id", "uge", "ydelse_id", "maaned"]
    after = forslag.select(*week, til_trin="trin").unique(week)
    pairs = gaeldende.select(*week, "kommunekode", fra_trin="trin").join(after, on=week)
    return pairs.filter(pl.col("fra_trin") != pl.col("til_trin"))


def _richer(gaeldende: pl.DataFrame, forslag: pl.DataFrame) -> pl.DataFrame:
    """One row per person and WHERE whose refusion or medfinansiering of the month there is another."""
    money = MONEY[1:]
    own = ["borger_id", *WHERE]
    taken = gaeldende.select(*own, *(-pl.col(name) for name in money))
    moved = pl.concat([taken, forslag.select(*own, *money)]).group_by(own).sum()
    return moved.filter(pl.any_horizontal(pl.col(name) != 0 for name in money))


def _persons(name: str) -> pl.Expr:
    return pl.col("borger_id").n_unique().cast(pl.Int64).alias(name)


def _with_totals(rows: pl.DataFrame, counts: list[pl.Expr], by: list[str]) -> pl.DataFrame:
    """Counts by `by`; and again with all months (null), all municipalities (null), or both as one."""
    month, kode = pl.lit(None, dtype=pl.Date).alias("maaned"), pl.lit(None, dtype=pl.String).alias("kommunekode")
    wholes = (rows, rows.with_columns(month), rows.with_columns(kode), rows.with_columns(month, kode))
    return pl.concat([whole.group_by(by).agg(counts) for whole in wholes]).sort(by, nulls_last=True)
