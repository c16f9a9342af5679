"""Understands the roll-out: its plan by `udrulning.toml`, and how far each municipality has come."""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import chain, pairwise
from typing import NamedTuple

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.cited import Cited

FILE, EMNE = "udrulning.toml", "udrulning"
FORBEREDT, KONVERTERET, STIKPROEVE_OK, I_DRIFT, GAMMEL_LUKKET = TILSTANDE = (
    "forberedt", "konverteret", "stikproeve_ok", "i_drift", "gammel_lukket",
)  # fmt: skip
SETTLING = (I_DRIFT, GAMMEL_LUKKET)
FIRST_PILOT, SECOND_PILOT = (1, 4), (5, 6)
LEAST_GAP = 3
"""Months between two source systems in one municipality."""


@dataclass(frozen=True, kw_only=True)
class Boelge:
    """A wave that the plan lists: its municipalities, and its month if it does not follow the wave before."""

    kommuner: tuple[str, ...]
    maaned: date | None = None


@dataclass(frozen=True, kw_only=True)
class Udrulning(Cited):
    """An entry `[[udrulning]]`: the plan of the country. Without `boelger` they are made, as even as can be.

    `kilder` in the order in which a municipality gets them. `graense`: municipalities in a wave at most.
    """

    kilder: tuple[str, ...]
    foerste_maaned: date
    foerste_pilot: tuple[str, ...]
    anden_pilot: tuple[str, ...]
    graense: int
    maaneder_mellem_boelger: int = 1
    maaneder_mellem_kilder: int | None = None
    boelger: tuple[Boelge, ...] = ()
    note: str = ""


class KommuneUdrulning(Contract, key=["kommunekode", "kilde"]):
    """One row per municipality and source system of the plan: its wave, the month it begins in, and how far it is."""

    kommunekode: pl.String = pa.Field(description="municipality")
    kilde: pl.String
    boelge: pl.Int64 = pa.Field(ge=1, description="number of the wave; 1 and 2 are the pilots")
    maaned: pl.Date = pa.Field(description="first run month in operation: planned, and then the real one")
    tilstand: pl.String = pa.Field(isin=list(TILSTANDE), description="how far the municipality has come")


class Godkendelse(Contract, key=["nr"]):
    """One row per step that somebody took in the roll-out. Never changed."""

    nr: pl.Int64 = pa.Field(ge=1, description="number of the step, from 1")
    kommunekode: pl.String = pa.Field(description="municipality")
    kilde: pl.String
    tilstand: pl.String = pa.Field(isin=list(TILSTANDE), description="what it came to")
    tidspunkt: pl.Datetime = pa.Field(description="when, UTC")
    bruger: pl.String = pa.Field(description="account of whoever gave the command")
    begrundelse: pl.String = pa.Field(description="what was said; empty where nothing must be")


class Planned(NamedTuple):
    """A municipality's place in the plan with one source system."""

    kommunekode: str
    kilde: str
    boelge: int
    maaned: date


def even(names: Sequence[str], most: int) -> list[list[str]]:
    """The names in order, in as few parts as the limit allows, whose sizes differ by one at most; larger first."""
    parts = -(-len(names) // most)
    cuts = [(len(names) // parts) * nr + min(nr, len(names) % parts) for nr in range(parts + 1)] if parts else [0]
    return [list(names[low:high]) for low, high in pairwise(cuts)]


def waves(entry: Udrulning, koder: Sequence[str]) -> list[tuple[Sequence[str], date]]:
    """The waves of a plan in order: municipalities, and the month of the first source system."""
    pilots = [entry.foerste_pilot, entry.anden_pilot]
    rest = [kode for kode in koder if kode not in {*pilots[0], *pilots[1]}]
    listed = entry.boelger or tuple(Boelge(kommuner=tuple(part)) for part in even(rest, entry.graense))
    found: list[tuple[Sequence[str], date]] = []
    for kommuner, maaned in [*((pilot, None) for pilot in pilots), *((one.kommuner, one.maaned) for one in listed)]:
        after = next_month(found[-1][1], entry.maaneder_mellem_boelger) if found else entry.foerste_maaned
        found.append((kommuner, maaned or after))
    return found


def planned(entry: Udrulning, koder: Sequence[str]) -> list[Planned]:
    """The places of all municipalities in a plan that can stand (`plan_faults`), by source system, wave and code."""
    gap = entry.maaneder_mellem_kilder or 0
    return [
        Planned(kode, kilde, number, next_month(month, place * gap))
        for place, kilde in enumerate(entry.kilder)
        for number, (kommuner, month) in enumerate(waves(entry, koder), 1)
        for kode in sorted(kommuner)
    ]


def plan_faults(entries: Sequence[Udrulning], koder: Sequence[str], kilder: Mapping[str, str]) -> Iterator[str]:
    """A sentence for each thing that a plan cannot have. `kilder`: the kind (`art`) of each source."""
    if len(entries) > 1:
        yield f"{FILE}: {EMNE} står {len(entries)} gange; skriv een plan for hele landet"
    for entry in entries:
        where = f"{FILE}, {EMNE}"
        found = (
            _faults_of_sources(entry, kilder),
            _faults_of_months(entry),
            _faults_of_sizes(entry),
            _faults_of_people(entry, koder),
        )
        yield from (f"{where}: {fault}" for fault in chain(*found))


def _faults_of_sources(entry: Udrulning, kilder: Mapping[str, str]) -> Iterator[str]:
    """The faults of the source systems and the months between them."""
    if not entry.kilder:
        yield "kilder er tom; skriv mindst een kilde"
    for kilde, times in Counter(entry.kilder).items():
        if times > 1:
            yield f"kilden {kilde} står {times} gange; behold den ene"
        elif kilder.get(kilde) != "kommunal":
            yield f"kilden {kilde} er ingen kommunal kilde i kilder.toml; kun dem indføres kommune for kommune"
    if len(entry.kilder) > 1 and (entry.maaneder_mellem_kilder or 0) < LEAST_GAP:
        between = f"{entry.maaneder_mellem_kilder or 0} mellem {' og '.join(entry.kilder)}"
        yield f"maaneder_mellem_kilder er {between}; en kommune skal have mindst {LEAST_GAP} måneder mellem to kilder"


def _faults_of_months(entry: Udrulning) -> Iterator[str]:
    """The faults of the months of the waves."""
    written = [entry.foerste_maaned, *(one.maaned for one in entry.boelger if one.maaned)]
    yield from (f"{day} er ikke den første i en måned; skriv ÅÅÅÅ-MM-01" for day in written if day.day != 1)
    months = [month for _, month in waves(entry, ())] if entry.boelger else []
    if late := next((nr for nr, (a, b) in enumerate(pairwise(months), 2) if b < a), None):
        yield f"bølge {late} ligger i {months[late - 1]:%Y-%m}, før bølgen foran den; ret måneden"
    if entry.maaneder_mellem_boelger < 1:
        yield f"maaneder_mellem_boelger er {entry.maaneder_mellem_boelger}; skriv 1 eller mere"


def _faults_of_sizes(entry: Udrulning) -> Iterator[str]:
    """The faults of the limit and the sizes of the pilots and the listed waves."""
    if entry.graense < 1:
        yield f"graense er {entry.graense}; skriv, hvor mange kommuner en bølge højst må have, 1 eller mere"
    pilots = (("foerste_pilot", entry.foerste_pilot, FIRST_PILOT), ("anden_pilot", entry.anden_pilot, SECOND_PILOT))
    for name, pilot, (least, most) in pilots:
        if not least <= len(pilot) <= most:
            yield f"{name} har {len(pilot)} kommuner; den skal have mindst {least} og højst {most}"
    for number, one in enumerate(entry.boelger, 3):
        if not one.kommuner:
            yield f"bølge {number} har ingen kommuner; skriv dem, eller fjern bølgen"
        elif len(one.kommuner) > entry.graense:
            yield f"bølge {number} har {len(one.kommuner)} kommuner; graense er {entry.graense}"


def _faults_of_people(entry: Udrulning, koder: Sequence[str]) -> Iterator[str]:
    """The municipalities that are none, that stand twice, or that the plan lacks."""
    every = [*entry.foerste_pilot, *entry.anden_pilot, *(kode for one in entry.boelger for kode in one.kommuner)]
    if strange := sorted(set(every) - set(koder)):
        yield f"{', '.join(strange)} er ingen kommune i kommuner.csv; skriv tre cifre, fx 706"
    for kode, times in sorted(Counter(every).items()):
        if times > 1:
            yield f"kommune {kode} står {times} gange; hver kommune står i een bølge"
    if entry.boelger and (missing := [kode for kode in koder if kode not in every]):
        yield f"kommune {', '.join(missing)} mangler; hver kommune skal stå i en bølge"


def in_operation(rows: pl.DataFrame, month: date) -> set[str]:
    """The municipalities (`KommuneUdrulning`) that run `month` settles: all their source systems are in operation."""
    begun = pl.col("tilstand").is_in(SETTLING) & (pl.col("maaned") <= month)
    ready = rows.group_by("kommunekode").agg(begun.all())
    return set(ready.filter(pl.col("tilstand"))["kommunekode"])


def by_wave(rows: pl.DataFrame) -> Iterator[tuple[str, int, date, Counter[str]]]:
    """The roll-out (`KommuneUdrulning`) by source system and wave: its first month, and municipalities by state."""
    for (kilde, boelge), part in rows.sort("kilde", "boelge").group_by("kilde", "boelge", maintain_order=True):
        yield str(kilde), int(str(boelge)), min(part["maaned"].to_list()), Counter(part["tilstand"].to_list())


def excused(rows: pl.DataFrame, month: date, senders: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The senders (source, unit) that nobody waits for in a month: of municipalities that are not yet in operation.

    A source system of the plan is waited for from its own month. Another source of a municipality is waited for from
    the month that the municipality is settled in.
    """
    settled = in_operation(rows, month)
    known = {(kode, kilde): (maaned, tilstand) for kode, kilde, _, maaned, tilstand in rows.iter_rows()}
    koder = {kode for kode, _ in known}

    def waits(kilde: str, enhed: str) -> bool:
        if enhed not in koder or enhed in settled:
            return True
        maaned, tilstand = known.get((enhed, kilde), (date.max, FORBEREDT))
        return tilstand in SETTLING and maaned <= month

    return {sender for sender in senders if not waits(*sender)}


def other_plan(rows: pl.DataFrame, plan: Collection[Planned]) -> list[str]:
    """The municipalities whose places in the table are not those of the plan; of those in operation the month may be.

    Somebody has edited the file since the plan was taken.
    """
    fixed = {(kode, kilde): maaned for kode, kilde, _, maaned, tilstand in rows.iter_rows() if tilstand in SETTLING}
    theirs = {
        (one.kommunekode, one.kilde, one.boelge, fixed.get((one.kommunekode, one.kilde), one.maaned)) for one in plan
    }
    mine = set(rows.select("kommunekode", "kilde", "boelge", "maaned").iter_rows())
    return sorted({kode for kode, *_ in mine ^ theirs})


def taken(rows: pl.DataFrame, plan: Collection[Planned]) -> tuple[list[tuple[str, str, int, date, str]], list[str]]:
    """The rows of the table (`KommuneUdrulning`) under a plan, and why it cannot be taken.

    A municipality in operation keeps its month, and its other source systems follow at least `LEAST_GAP` months after.
    """
    known = {(kode, kilde): (boelge, maaned, tilstand) for kode, kilde, boelge, maaned, tilstand in rows.iter_rows()}
    lost = sorted({kode for kode, kilde in known.keys() - {(one.kommunekode, one.kilde) for one in plan}
                   if known[kode, kilde][2] in SETTLING})  # fmt: skip
    faults = [f"{', '.join(lost)} er i drift og mangler i planen"] if lost else []
    found = []
    for one in plan:
        boelge, maaned, tilstand = known.get((one.kommunekode, one.kilde), (one.boelge, one.maaned, FORBEREDT))
        if tilstand not in SETTLING:
            maaned = one.maaned
        elif boelge != one.boelge:
            faults.append(f"{one.kommunekode} er i drift med {one.kilde} i bølge {boelge} og kan ikke flyttes")
        found.append((one.kommunekode, one.kilde, one.boelge, maaned, tilstand))
    return found, faults
