"""Understands a shard: the rows of some people from their claims, stays and bases, wherever they are worked out."""

from dataclasses import dataclass, fields
from datetime import date
from functools import cached_property

import polars as pl

from refusion_assets.domain.calendar import Grid, last_day, make_grid
from refusion_assets.domain.duration.count import Counted, count_on, count_weeks
from refusion_assets.domain.duration.spells import own_spells, spells, standing_before
from refusion_assets.domain.refusion.fleksbidrag import contributions, days_on_step
from refusion_assets.domain.refusion.price import Priced, price
from refusion_assets.domain.refusion.rates import Rates, make_rates
from refusion_assets.domain.refusion.residence import residence
from refusion_assets.domain.rules.entries import Rulebook


@dataclass(frozen=True)
class Book:
    """A rule set laid out for pricing the months through `last`, the last month that is known."""

    rules: Rulebook
    last: date

    @cached_property
    def grid(self) -> Grid:
        """The weeks that count."""
        return make_grid(self.rules.optaelling.gaelder_fra, last_day(self.last))

    @cached_property
    def rates(self) -> Rates:
        """The percentages on them."""
        return make_rates(self.rules, self.grid)


def rows_of_shard(
    book: Book,
    weeks: tuple[int, int] | None,
    krav: pl.DataFrame,
    bopael: pl.DataFrame,
    grundlag: pl.DataFrame,
    *standing: pl.DataFrame,
) -> dict[str, pl.DataFrame]:
    """The rows of a shard for each of the tables that the pass fills, from its claims, stays and bases. Weeks, øre.

    With `weeks` the counts go on: the first week of the windows, and the week to go on from. `standing` then holds the
    people (borger_id) and the spells (`Forloeb`) that stand. No frame has anything of a person but borger_id.
    Hjemmel: § 5, § 6, § 7.
    """
    grid, rules = book.grid, book.rules
    counted, forloeb = _go_on(book, weeks, krav, *standing) if weeks else _from_the_start(book, krav)
    home = residence(bopael, counted.borger_id, grid, rules, counted.first)
    priced = price(krav.filter(pl.col("beloeb_oere") > 0), counted, home, grid, book.rates, rules)
    days = days_on_step(krav, counted, home, grid, book.rates, rules)
    beside = {f"refusion.{part.name}": getattr(priced, part.name) for part in fields(Priced) if part.name != "rows"}
    return {
        "duration.forloeb": forloeb,
        "duration.forloeb_taeller": own_spells(counted, grid, rules),
        "refusion.borger_uge_ydelse": in_order(priced.rows, grid),
        "refusion.fleksbidrag": contributions(days, priced.rows, grundlag, rules),
        **beside,
    }


def _from_the_start(book: Book, krav: pl.DataFrame) -> tuple[Counted, pl.DataFrame]:
    """The counts of some people from the start, and their spells (`Forloeb`)."""
    counted = count_weeks(krav, book.grid, book.rules)
    return counted, spells(counted, book.grid)


def _go_on(
    book: Book, weeks: tuple[int, int], krav: pl.DataFrame, people: pl.DataFrame, forloeb: pl.DataFrame
) -> tuple[Counted, pl.DataFrame]:
    """The counts of some people from where they go on, and the spells (`Forloeb`) from there."""
    borger_id = people["borger_id"].sort().to_numpy()
    stands = standing_before(borger_id, forloeb, *weeks, book.grid)
    counted = count_on(krav, stands, book.grid, book.rules)
    return counted, spells(counted, book.grid, stands)


def in_order(rows: pl.DataFrame, grid: Grid) -> pl.DataFrame:
    """Result rows as they are stored: the weeks before the last month of the grid, then the others; each by person.

    The next month reads the later rows of nearly everybody and the earlier rows of a few. DuckDB leaves whole blocks
    of earlier rows unread.
    """
    begin = grid.monday_of(int(grid.cell_week[grid.cell_month == grid.cell_month[-1]][0]))
    return rows.sort(pl.col("uge") >= begin, "borger_id", "uge", maintain_order=True)
