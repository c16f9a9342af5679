"""Understands the data of each run about a person, and the weeks that moved a number from one run to the next.

The data of a run (`Viden`) is made again from the lines received up to it, under its own rules. The weeks that move a
number are those with another kind in the later run, less those without effect on the number.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import numpy as np
import polars as pl

from refusion_assets.domain.calendar import Grid, last_day, make_grid, monday
from refusion_assets.domain.classified import BRUGT, CLAIM, KARANTAENE, classify
from refusion_assets.domain.duration.count import Counted, own_kinds, own_window, walk, week_kinds, window_starts
from refusion_assets.domain.duration.spells import KIND_NAMES
from refusion_assets.domain.forklar.rows import Key, Row, key, reversals
from refusion_assets.domain.rules.entries import LOVENS_TAELLER, Rulebook

Claim = tuple[Any, ...]
WEEK = timedelta(days=7)
BELOW_ZERO = "EI-010"
JUDGEMENT = ("borger_id", "ydelse_id", "konto", "periode_start", "periode_slut", "beloeb_oere", "regel")


@dataclass(frozen=True)
class PersonFacts:
    """The warehouse's rows about one person around a month, as of the last calculation.

    `viden`, `regelversion`: run month and rules of that calculation. `koersler`: koersel, maaned, status, regelversion.
    `forloeb`: `Forloeb`. `krav`: `Krav` of the classification. Of the benefit month: `raekker` and `uden_kommune`
    (result), `over_loft` (øre that maxima took), `fleksbidrag` (contributions), `grundlag` (delivered bases),
    `posteringer` (ledger), `foraeldet` (differences too old to settle). `linjer`: every line of the person and every
    reversal that points at one (`Linje` with verdict and file). There, `regel` is the verdict's and `egen_regel` the
    line's own. `andre`, `regler` and `bedoemt`: as in `Historie`. `raa`: the raw columns of the lines that are shown.
    `bopael`: stays by snapshot (`modtaget_maaned`), `bopael_maaned` the one in use, `bopael_maaneder` all there are.
    `udeladt`: money of the month is left out, as it is another municipality's (a package).
    """

    borger_id: int
    viden: date
    regelversion: str
    bopael_maaned: date | None
    koersler: pl.DataFrame
    forloeb: pl.DataFrame
    krav: pl.DataFrame
    raekker: pl.DataFrame
    over_loft: pl.DataFrame
    fleksbidrag: pl.DataFrame
    grundlag: pl.DataFrame
    uden_kommune: pl.DataFrame
    posteringer: pl.DataFrame
    foraeldet: pl.DataFrame
    linjer: pl.DataFrame
    andre: pl.DataFrame
    regler: Mapping[str, Rulebook]
    bedoemt: Mapping[str, pl.DataFrame]
    raa: pl.DataFrame
    bopael: pl.DataFrame
    bopael_maaneder: list[date]
    udeladt: bool = False


@dataclass(frozen=True)
class Viden:
    """The data of one run about a person: the verdict on each line, the claims with an amount, and the counted weeks.

    `taellinger`: the law's counter (`LOVENS_TAELLER`) and those of its own by id, each with one person.
    """

    koersel: int
    maaned: date
    rules: Rulebook
    grid: Grid
    linjer: dict[Key, Row]
    krav: dict[Claim, Row]
    taellinger: dict[str, Counted]

    def number(self, taeller_id: str, uge: date) -> int | None:
        """The number of a week after it; None if the run has no such week or counter."""
        counted, week = self.taellinger.get(taeller_id), self.grid.week_of(uge)
        return int(counted.n[week, 0]) if counted and 0 <= week < self.grid.weeks else None

    def settles(self, taeller_id: str, uge: date) -> bool:
        """True if the kind of a week was decided; a week cut by the month's end is, with a day on support."""
        week = self.grid.week_of(uge)
        return week < self.grid.whole_weeks or bool(self.taellinger[taeller_id].kind[week, 0])

    def status(self, line: Key) -> str | None:
        """The verdict on a line; None if the run had not received it."""
        row = self.linjer.get(line)
        return None if row is None else row["status"]

    def restart_before(self, taeller_id: str, week: int) -> date | None:
        """The last week, no later than a week of the grid, that reached a restart."""
        reached = np.flatnonzero(self.taellinger[taeller_id].restart[: week + 1, 0])
        return self.grid.monday_of(int(reached[-1])) if len(reached) else None


@dataclass(frozen=True)
class Skift:
    """One week that changed kind from one run to the next, and the lines that caused it.

    No lines: the rules caused it.
    """

    uge: date
    art_foer: str
    art_efter: str
    linjer: tuple[Key, ...]


@dataclass(frozen=True)
class Flytning:
    """A number that changed from one run to the next: the weeks that moved it, and whether rules did.

    Replaying the weeks on the earlier run's data, by the later run's counting, gives the later number; without
    any one of them it does not. `forfra_foer` and `forfra_efter`: the last week that reached a restart. Weeks.
    """

    taeller_id: str
    uge: date
    foer: int
    efter: int
    uger: tuple[Skift, ...]
    regler: bool
    forfra_foer: date | None
    forfra_efter: date | None


@dataclass
class Historie:
    """The knowledge of each run about a person (`Viden`), computed at first use.

    `linjer`: every line of the person and every reversal that points at one, with kendt_fra and fil_orden. They are
    `Linje`, each by its own row rule. `andre`: lines of others that share an id with them (EI-013). `koersler`:
    koersel, maaned, regelversion. `regler`: the rules by version. `bedoemt`: for the versions that judge lines
    otherwise than the rules in force, the lines as those judge them (`JUDGEMENT` by fil_id and linje).
    """

    borger_id: int
    linjer: pl.DataFrame
    andre: pl.DataFrame
    koersler: pl.DataFrame
    regler: Mapping[str, Rulebook]
    bedoemt: Mapping[str, pl.DataFrame]
    known: dict[int, Viden] = field(default_factory=dict)

    @cached_property
    def maaneder(self) -> dict[int, date]:
        """The month of every run, in order."""
        return dict(self.koersler.sort("koersel").select("koersel", "maaned").iter_rows())

    def before(self, koersel: int) -> int | None:
        """The run before a run; None before the first."""
        return max((number for number in self.maaneder if number < koersel), default=None)

    def version(self, koersel: int) -> str:
        """The rules of a run by the version in the ledger."""
        return str(self.koersler.filter(pl.col("koersel") == koersel)["regelversion"].item())[:12]

    def at(self, koersel: int) -> Viden:
        """The data of a run."""
        if koersel not in self.known:
            self.known[koersel] = self._make(koersel)
        return self.known[koersel]

    def _make(self, koersel: int) -> Viden:
        """The data of a run, made from its lines and rules."""
        maaned = self.maaneder[koersel]
        version = self.koersler.filter(pl.col("koersel") == koersel)["regelversion"].item()
        rules = self.regler[version]
        mine = self.linjer.filter(pl.col("kendt_fra") <= maaned)
        if version in self.bedoemt:
            mine = mine.drop(list(JUDGEMENT)).join(self.bedoemt[version], on=["fil_id", "linje"], how="left")
        others = self.andre.filter(pl.col("kendt_fra") <= maaned)
        lines = pl.concat([mine.select(others.columns), others]) if others.height else mine
        found = classify(lines)
        judged = mine.drop("regel", "status", "trukket", strict=False).join(
            found.linjer.select("fil_id", "linje", "regel", "status", "trukket"), on=["fil_id", "linje"]
        )
        krav = found.krav.filter((pl.col("beloeb_oere") > 0) & (pl.col("borger_id") == self.borger_id))
        first = min(one.optaelling.gaelder_fra for one in self.regler.values())
        grid = make_grid(first, last_day(maaned))
        return Viden(
            koersel,
            maaned,
            rules,
            grid,
            {key(row): row for row in judged.iter_rows(named=True)},
            {tuple(row[name] for name in CLAIM): row for row in krav.iter_rows(named=True)},
            _counts(krav, self.borger_id, grid, rules),
        )

    def moved(self, koersel: int, taeller_id: str, uge: date) -> Flytning | None:
        """Why the number of a week changed in a run; None if it did not, or was not settled before. Weeks."""
        earlier = self.before(koersel)
        if earlier is None:
            return None
        old, new = self.at(earlier), self.at(koersel)
        foer, efter = old.number(taeller_id, uge), new.number(taeller_id, uge)
        if foer is None or efter is None or foer == efter or not old.settles(taeller_id, uge):
            return None
        return _flytning(old, new, taeller_id, old.grid.week_of(uge), (foer, efter), at_overgang=False)

    def moved_overgang(self, koersel: int, taeller_id: str) -> Flytning | None:
        """Why the number of the week of the overgang, real or supposed, changed in a run. § 29, stk. 3."""
        earlier = self.before(koersel)
        if earlier is None:
            return None
        old, new = self.at(earlier), self.at(koersel)
        if not (taeller_id in old.taellinger and taeller_id in new.taellinger):
            return None
        foer, efter = (int(one.taellinger[taeller_id].n_overgang[0]) for one in (old, new))
        week = old.grid.week_of(monday(new.rules.overgang.gaelder_fra))
        if foer == efter or not 0 <= week < old.grid.weeks:
            return None
        return _flytning(old, new, taeller_id, week, (foer, efter), at_overgang=True)


def _counts(krav: pl.DataFrame, borger_id: int, grid: Grid, rules: Rulebook) -> dict[str, Counted]:
    who = np.array([borger_id])
    kinds = week_kinds(krav, who, grid, rules)
    found = {LOVENS_TAELLER: walk(who, kinds, grid, rules, window_starts(rules, grid))}
    for one in rules.taellere:
        own = own_kinds(krav, kinds, who, grid, rules, one)
        found[one.id] = walk(who, own, grid, rules, own_window(one, grid))
    return found


def _flytning(
    old: Viden, new: Viden, taeller_id: str, week: int, numbers: tuple[int, int], *, at_overgang: bool
) -> Flytning:
    """The weeks that moved a number between two runs, and the lines of each."""
    foer, efter = numbers
    before, after = (one.taellinger[taeller_id].kind[: week + 1, 0] for one in (old, new))
    # Weeks before the first week of support count nothing.
    first = int(np.flatnonzero(np.append(before | after, 1))[0])
    before, after = before[first:], after[first:]
    until = min(old.grid.monday_of(week) + timedelta(days=6), last_day(old.maaned))
    grid = make_grid(old.grid.monday_of(first), until)
    own = next((one for one in new.rules.taellere if one.id == taeller_id), None)
    windows = own_window(own, grid) if own else window_starts(new.rules, grid)
    replay = _Replay(grid, new.rules, windows, at_overgang)
    changed = [int(place) for place in np.flatnonzero(before != after)]
    if at_overgang:
        changed = [place for place in changed if place < week - first]
    weeks = _needed(before, after, changed, replay, efter)
    return Flytning(
        taeller_id,
        old.grid.monday_of(week),
        foer,
        efter,
        tuple(
            Skift(
                grid.monday_of(place),
                KIND_NAMES[int(before[place])],
                KIND_NAMES[int(after[place])],
                tuple(responsible(old, new, taeller_id, grid.monday_of(place))),
            )
            for place in weeks
        ),
        regler=int(replay.numbers(before[:, None])[0]) != foer,
        forfra_foer=old.restart_before(taeller_id, week),
        forfra_efter=new.restart_before(taeller_id, week),
    )


@dataclass(frozen=True)
class _Replay:
    """The count of the last week of a grid, or of the overgang there, over kinds of weeks as they might have been."""

    grid: Grid
    rules: Rulebook
    windows: tuple[list[int], list[int]]
    at_overgang: bool

    def numbers(self, kinds: Any) -> Any:
        """The number by each column of week x trial."""
        counted = walk(np.arange(kinds.shape[1]), kinds, self.grid, self.rules, self.windows)
        return counted.n_overgang if self.at_overgang else counted.n[-1]


def _needed(before: Any, after: Any, changed: Sequence[int], replay: _Replay, target: int) -> list[int]:
    """The changed weeks that the number depends on.

    The latest of those that can be spared go first, as the week that reached a restart is the earlier one.
    """
    kept = list(changed)
    while kept:
        spare = _spared(before, after, kept, [[week] for week in kept], replay) == target
        free = [week for week, can in zip(kept, spare, strict=True) if can]
        if not free:
            break
        many = [free[-count:] for count in range(1, len(free) + 1)]
        most = int(np.flatnonzero(_spared(before, after, kept, many, replay) == target)[-1])
        kept = [week for week in kept if week not in many[most]]
    return kept


def _spared(before: Any, after: Any, kept: Sequence[int], without: Sequence[Sequence[int]], replay: _Replay) -> Any:
    """The number with the kept weeks changed, for each of some sets of weeks left out."""
    kinds = np.repeat(before[:, None], len(without), axis=1)
    kinds[kept, :] = after[kept][:, None]
    for column, weeks in enumerate(without):
        kinds[list(weeks), column] = before[list(weeks)]
    return replay.numbers(kinds)


def responsible(old: Viden, new: Viden, taeller_id: str, uge: date) -> list[Key]:
    """The lines that changed the kind of a week in a later run; none if the rules did."""
    benefit_foer, other_foer = _deciding(old, taeller_id, uge)
    benefit, other = _deciding(new, taeller_id, uge)
    place = new.grid.week_of(uge)
    foer, efter = (KIND_NAMES[int(one.taellinger[taeller_id].kind[place, 0])] for one in (old, new))
    came = benefit - benefit_foer if efter == "A" or foer == "C" else set[Claim]()
    gone = benefit_foer - benefit if efter != "A" else set[Claim]()
    if efter == "B" and not other & other_foer:
        came |= other - other_foer
    if efter == "C":
        gone |= other_foer - other
    lines = [line for claim in sorted(came, key=str) for line in lines_of(old, new, claim, 1)]
    return [*lines, *(line for claim in sorted(gone, key=str) for line in lines_of(old, new, claim, -1))]


def _deciding(viden: Viden, taeller_id: str, uge: date) -> tuple[set[Claim], set[Claim]]:
    """The claims with days in a week that make it A (benefit), and those that otherwise make it B."""
    own = next((one.ydelser for one in viden.rules.taellere if one.id == taeller_id), ())
    sunday = min(uge + timedelta(days=6), last_day(viden.maaned))
    benefit, other = set[Claim](), set[Claim]()
    for claim, row in viden.krav.items():
        if row["periode_start"] > sunday or row["periode_slut"] < uge:
            continue
        kategori = viden.rules.ydelse_on(row["ydelse_id"], uge).kategori
        if row["ydelse_id"] in own if taeller_id != LOVENS_TAELLER else kategori == "A":
            benefit.add(claim)
        elif kategori in ("A", "B"):
            other.add(claim)
    return benefit, other


def lines_of(old: Viden, new: Viden, claim: Claim, sign: int) -> list[Key]:
    """The lines that made a claim come (sign 1) or go (-1) between two runs: reports, reversals, lines quarantined."""
    mine = {
        line: row for line, row in new.linjer.items() if row["art"] == "I" and tuple(row[n] for n in CLAIM) == claim
    }
    found = dict[Key, None]()
    for line, row in mine.items():
        was, now = counts(old, line), counts(new, line)
        if was == now or (row["beloeb_oere"] > 0) != ((sign > 0) == now):
            continue
        fresh = [reversal for reversal in reversals(new.linjer, row) if old.status(reversal) is None] if was else []
        found |= dict.fromkeys(fresh or [line])
    return list(found)


def counts(viden: Viden, line: Key) -> bool:
    """True if a line is part of the sum of its claim: it is used, or its claim is below zero."""
    row = viden.linjer.get(line)
    return row is not None and (row["status"] == BRUGT or (row["status"] == KARANTAENE and row["regel"] == BELOW_ZERO))
