"""Understands why a run settled something else than before: the report, move or rule that was new in that run."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import date, timedelta
from itertools import groupby
from typing import Any

import numpy as np
import polars as pl

from refusion_assets.domain.bopael import residence
from refusion_assets.domain.duration import week_kinds
from refusion_assets.domain.forklar_linjer import Key, Linjer, key, touches
from refusion_assets.domain.forklar_raekke import Navne
from refusion_assets.domain.forklar_tillaeg import basis_causes, subsidy_causes
from refusion_assets.domain.forklaring import Aarsag, Aendring
from refusion_assets.domain.forloeb import KIND_NAMES
from refusion_assets.domain.krav import BRUGT, classify
from refusion_assets.domain.opgoerelse import TILBAGE
from refusion_assets.domain.refusion import NO_KOMMUNE
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import Grid, last_day, make_grid, next_month

Row = dict[str, Any]


@dataclass
class Foer:
    """What earlier runs knew of a person: kinds of weeks and residence, worked out once per run month.

    `linjer`: every line of the person (`Linje`, with EI-013 as regel where that is the verdict), kendt_fra and
    fil_orden. `bopael`: the stays of every snapshot asked for; `bopael_maaneder`: all snapshots there are.
    `grundlag`: the bases of fleksbidrag delivered for the month (`basis_causes`).
    """

    borger_id: int
    linjer: pl.DataFrame
    bopael: pl.DataFrame
    bopael_maaneder: list[date]
    grundlag: pl.DataFrame
    rules: Rulebook
    kinds: dict[tuple[date, date], Any] = field(default_factory=dict)

    def changed_weeks(self, run: date) -> list[tuple[date, str]]:
        """The weeks whose kind is another by what the run knew than by what the run before it knew, and their kind."""
        grid = make_grid(self.rules.optaelling.gaelder_fra, last_day(run))
        now, before = self._kinds(run, grid), self._kinds(next_month(run, -1), grid)
        return [(grid.monday_of(int(w)), KIND_NAMES[int(now[w])]) for w in np.flatnonzero(now != before)]

    def _kinds(self, known: date, grid: Grid) -> Any:
        """The kind of every week of the grid by the lines known in a run month."""
        place = known, grid.monday_of(grid.weeks)
        if place not in self.kinds:
            lines = self.linjer.filter(pl.col("kendt_fra") <= known)
            krav = classify(lines).krav.filter((pl.col("beloeb_oere") > 0) & (pl.col("borger_id") == self.borger_id))
            kinds = week_kinds(krav, np.array([self.borger_id]), grid, self.rules)
            self.kinds[place] = kinds[:, 0]
        return self.kinds[place]

    def home(self, known: date, uge: date) -> str | None:
        """The municipality of residence of a week as a run month knew it; None if unknown."""
        snapshots = [month for month in self.bopael_maaneder if month <= known]
        if not snapshots:
            return None
        grid = make_grid(self.rules.optaelling.gaelder_fra, last_day(known))
        stays = self.bopael.filter(pl.col("modtaget_maaned") == max(snapshots)).drop("modtaget_maaned")
        stays = stays.with_columns(borger_id=pl.lit(self.borger_id, pl.Int64))
        kode = int(residence(stays, np.array([self.borger_id]), grid, self.rules)[grid.week_of(uge), 0])
        return None if kode == NO_KOMMUNE else f"{kode:03}"


@dataclass(frozen=True)
class Skift:
    """What one run changed for one benefit in the days of a week and month: the rows it took back, and settled."""

    uge: date
    maaned: date
    run: date
    koersel: int
    ydelse_id: str
    back: list[Row]
    fresh: list[Row]

    def of(self, rows: list[Row], name: str) -> Any:
        """A value of the rows; None where there are none."""
        return rows[0][name] if rows else None

    def moved(self, *names: str) -> bool:
        """Whether the amounts by municipality differ."""
        sums: dict[tuple[str, str], int] = {}
        for row in (*self.back, *self.fresh):
            for name in names:
                place = row["kommunekode"], name
                sums[place] = sums.get(place, 0) + row[name]
        return any(sums.values())

    @property
    def other_percentage(self) -> bool:
        """Whether the percentage became another."""
        return bool(self.back and self.fresh) and self.of(self.back, "procent") != self.of(self.fresh, "procent")


def _shifts(posteringer: pl.DataFrame, uge: date, maaned: date, koersler: pl.DataFrame) -> Iterator[Skift]:
    """What runs have changed in a week's days of the month; a first settlement in the month's own run is no change."""
    months = dict(koersler.select("koersel", "maaned").iter_rows())
    own = posteringer.filter((pl.col("uge") == uge) & (pl.col("maaned") == maaned) & (pl.col("koersel") > 0))
    by_run: Callable[[Row], tuple[int, str]] = lambda row: (row["koersel"], row["ydelse_id"])  # noqa: E731
    for (koersel, ydelse_id), rows in groupby(sorted(own.iter_rows(named=True), key=by_run), key=by_run):
        listed = list(rows)
        back = [row for row in listed if row["raekketype"] == TILBAGE]
        fresh = [row for row in listed if row["raekketype"] != TILBAGE]
        if koersel in months and (back or months[koersel] > maaned):
            yield Skift(uge, maaned, months[koersel], koersel, ydelse_id, back, fresh)


def changes(
    posteringer: pl.DataFrame, koersler: pl.DataFrame, linjer: Linjer, foer: Foer, uge: date, maaned: date, navne: Navne
) -> list[Aendring]:
    """What later runs changed in a week's days of the month, each with its concrete causes. Øre, per cent."""
    return [
        Aendring(
            koersel=skift.koersel,
            maaned=skift.run,
            ydelse_id=skift.ydelse_id,
            ydelse=navne.ydelse(skift.ydelse_id),
            procent_foer=skift.of(skift.back, "procent"),
            procent_efter=skift.of(skift.fresh, "procent"),
            beloeb_foer_oere=-sum(row["beloeb_oere"] for row in skift.back),
            beloeb_efter_oere=sum(row["beloeb_oere"] for row in skift.fresh),
            refusion_foer_oere=-sum(row["refusion_oere"] for row in skift.back),
            refusion_efter_oere=sum(row["refusion_oere"] for row in skift.fresh),
            kommuner_foer=sorted({navne.kommune(row["kommunekode"]) for row in skift.back}),
            kommuner_efter=sorted({navne.kommune(row["kommunekode"]) for row in skift.fresh}),
            aarsager=_causes(skift, posteringer, linjer, foer, navne),
        )
        for skift in _shifts(posteringer, uge, maaned, koersler)
    ]


def _causes(skift: Skift, posteringer: pl.DataFrame, linjer: Linjer, foer: Foer, navne: Navne) -> list[Aarsag]:
    """The concrete causes of a change, the nearest first; one that says so if none can be seen."""
    causes: list[Aarsag] = []
    followed = {entry.ydelse_id for entry in foer.rules.fleksbidrag if entry.id == skift.ydelse_id}
    if followed:
        causes += basis_causes(foer.grundlag, skift.run)
        causes += subsidy_causes(posteringer, skift.koersel, followed)
    if skift.moved("beloeb_oere", "indberettet_oere"):
        causes += _new_lines(skift, linjer)
        causes += _move(skift, foer, navne)
    if skift.other_percentage:
        causes += _shifted_count(skift, linjer, foer)
    causes += _rules(skift, explained=bool(causes))
    return causes or [Aarsag(slags="uforklaret", indberetninger=[])]


def _arrived(linjer: Linjer, run: date) -> list[Row]:
    """The lines that a run was the first to know."""
    return [row for row in linjer.rows.values() if row["kendt_fra"] == run]


def _new_lines(skift: Skift, linjer: Linjer) -> list[Aarsag]:
    """Reports of the benefit in the week that were new in the run, and reversals of such."""
    # A whole claim that moves to another of its weeks changes this one, though not its amount.
    whole_week = not skift.moved("beloeb_oere")
    first, last = skift.uge, skift.uge + timedelta(days=6)
    days = (first, last) if whole_week else (max(first, skift.maaned), min(last, last_day(skift.maaned)))

    def about(row: Row) -> bool:
        return row["ydelse_id"] == skift.ydelse_id and touches(row, *days)

    reports = [key(row) for row in _arrived(linjer, skift.run) if row["art"] == "I" and about(row)]
    reports = [line for line in reports if linjer.rows[line]["regel"] in (None, "EI-010")]
    backs = {line for row in linjer.rows.values() if about(row) for line in _new_reversals(row, linjer, skift.run)}
    causes = [Aarsag(slags="tilbagefoersel", indberetninger=linjer.nrs(sorted(backs)))] if backs else []
    if reports:
        causes.append(Aarsag(slags="indberetning", indberetninger=linjer.nrs(reports)))
    return causes


def _new_reversals(row: Row, linjer: Linjer, run: date) -> list[Key]:
    """The reversals of a report that have an effect and that a run was the first to know, or whose report it was."""
    return [line for line in linjer.reversals(row) if linjer.rows[line]["kendt_fra"] == run]


def _move(skift: Skift, foer: Foer, navne: Navne) -> list[Aarsag]:
    """Another residence in the week than the run before knew."""
    before, after = foer.home(next_month(skift.run, -1), skift.uge), foer.home(skift.run, skift.uge)
    if before == after:
        return []
    return [
        Aarsag(
            slags="bopael",
            indberetninger=[],
            uge_fra=skift.uge,
            uge_til=skift.uge,
            kommune_foer=navne.kommune(before) if before else None,
            kommune_efter=navne.kommune(after) if after else None,
        )
    ]


def _shifted_count(skift: Skift, linjer: Linjer, foer: Foer) -> list[Aarsag]:
    """Weeks, no later than this one, that became of another kind by lines new in the run, and those lines."""
    changed = [(week, art) for week, art in foer.changed_weeks(skift.run) if week <= skift.uge]
    if not changed:
        return []
    weeks, kinds = [week for week, _ in changed], {art for _, art in changed}
    lines = set()
    for row in linjer.rows.values():
        if not any(touches(row, week, week + timedelta(days=6)) for week in weeks):
            continue
        if row["kendt_fra"] == skift.run and row["art"] == "I" and row["status"] == BRUGT:
            lines.add(key(row))
        lines |= set(_new_reversals(row, linjer, skift.run))
    return [
        Aarsag(
            slags="taeller",
            indberetninger=linjer.nrs(sorted(lines)),
            uge_fra=weeks[0],
            uge_til=weeks[-1],
            antal_uger=len(weeks),
            ydelsestaeller_foer=skift.of(skift.back, "ydelsestaeller"),
            ydelsestaeller_efter=skift.of(skift.fresh, "ydelsestaeller"),
            art_efter=kinds.pop() if len(kinds) == 1 else None,
        )
    ]


def _rules(skift: Skift, *, explained: bool) -> list[Aarsag]:
    """Other rules than those the taken back row was settled under, where they can have made the difference."""
    if not skift.back or not skift.fresh:
        return []
    old, new = skift.back[0], skift.fresh[0]
    same_number = old["ydelsestaeller"] == new["ydelsestaeller"] and skift.other_percentage
    if old["regelversion"] == new["regelversion"] or (explained and not same_number):
        return []
    return [
        Aarsag(
            slags="regler",
            indberetninger=[],
            regelversion_foer=old["regelversion"],
            regelversion_efter=new["regelversion"],
            hjemmel_foer=old["hjemmel"],
            hjemmel_efter=new["hjemmel"],
        )
    ]
