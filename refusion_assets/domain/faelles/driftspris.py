"""Understands the price of operations: a flat rate, a supplement for the critical week, and each function's part."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from itertools import pairwise
from typing import Literal

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract, kinds_of
from refusion_assets.domain.faelles.aftale import units
from refusion_assets.domain.faelles.deling import largest_remainder
from refusion_assets.domain.operations.bankdays import Window
from refusion_assets.domain.rules.cited import Cited
from refusion_assets.domain.wording import thousands

FILE, EMNE = "driftspris.toml", "driftspris"
KOMMANDOER = ("forklar", "indsigt")
"""The commands whose use is logged; other commands are measured by the steps that they start."""
BEREDSKAB, UDEN = "Beredskab (intet er kørt)", "Uden funktion i driftspris.toml"


@dataclass(frozen=True, kw_only=True)
class Maengdetrin:
    """A month's price from a volume on: the flat rate, and the supplement for the critical week. Kroner as text."""

    fra: int
    fast: str
    kritisk: str


@dataclass(frozen=True, kw_only=True)
class Funktion:
    """A function of the solution: groups of assets and commands, and whether the law asks for it.

    `sekunder_pr_opslag`: what one use of a command counts as, as it is logged without a time.
    """

    navn: str
    lovpligtig: bool
    grupper: tuple[str, ...] = ()
    kommandoer: tuple[str, ...] = ()
    sekunder_pr_opslag: int = 0


@dataclass(frozen=True, kw_only=True)
class Driftspris(Cited):
    """An entry `[[driftspris]]`, in force from a calendar month on: prices by volume, and the functions."""

    gaelder_fra: date
    maal: Literal["raekker", "borgere"]
    trin: tuple[Maengdetrin, ...]
    funktioner: tuple[Funktion, ...]
    note: str = ""

    def step_of(self, volume: int) -> Maengdetrin:
        """The step that a volume has reached; it holds for the whole month."""
        return [step for step in self.trin if step.fra <= volume][-1]

    def function_of(self, name: str) -> str:
        """The function of a group of assets or a command; a name of its own for what has none."""
        return next((one.navn for one in self.funktioner if name in (*one.grupper, *one.kommandoer)), UDEN)


@dataclass(frozen=True)
class Brug:
    """One use of the instance: a step of a group of assets, or a logged command, when it began, and how long. ms."""

    navn: str
    begyndt: datetime
    ms: int


class Driftslinje(Contract, key=["maaned", "funktion"]):
    """One row per calendar month and function: its measured time, and its part of the month's price. Øre."""

    maaned: pl.Date = pa.Field(description="calendar month that is paid for, first day")
    funktion: pl.String = pa.Field(description="function, as in driftspris.toml")
    lovpligtig: pl.Boolean = pa.Field(description="the law asks for the function; others are settled apart")
    ms: pl.Int64 = pa.Field(ge=0, description="measured time outside the critical week, milliseconds")
    ms_kritisk: pl.Int64 = pa.Field(ge=0, description="measured time within the critical week, milliseconds")
    fast_oere: pl.Int64 = pa.Field(ge=0, description="part of the flat rate, øre")
    kritisk_oere: pl.Int64 = pa.Field(ge=0, description="part of the supplement for the critical week, øre")


@dataclass(frozen=True)
class Maanedspris:
    """The price of a calendar month: its volume, the step that it has reached, and a row for each function."""

    maaned: date
    maal: str
    maengde: int
    trin: Maengdetrin
    rows: pl.DataFrame

    def oere(self, *, lovpligtig: bool) -> int:
        """The price of the functions that the law asks for, or of the others. Øre."""
        mine = self.rows.filter(pl.col("lovpligtig") == lovpligtig)
        return int(mine.select((pl.col("fast_oere") + pl.col("kritisk_oere")).sum()).item())


def month_price(
    entry: Driftspris, month: date, volume: int, used: Sequence[Brug], critical: Window | None
) -> Maanedspris:
    """The price of a calendar month, shared by measured time.

    The flat rate is shared by the time outside the critical week, the supplement by the time within it. Where nothing
    was measured in one of them, the other one's time shares both. Where nothing was measured at all, all is readiness,
    which the law asks for. Together the rows are the price to the øre.
    """
    step = entry.step_of(volume)
    outside, within = _times(entry, used, critical)
    law = {one.navn: one.lovpligtig for one in entry.funktioner} | {UDEN: False, BEREDSKAB: True}
    names = [name for name in law if outside.get(name, 0) or within.get(name, 0)] or [BEREDSKAB]
    fast, kritisk = (units(text, "kroner") or 0 for text in (step.fast, step.kritisk))
    flat = _parts(fast, names, outside, within)
    extra = _parts(kritisk, names, within, outside)
    cells = [
        (month, name, law[name], outside.get(name, 0), within.get(name, 0), flat[i], extra[i])
        for i, name in enumerate(names)
    ]
    schema = kinds_of(Driftslinje)
    rows = Driftslinje.validate(pl.DataFrame(cells, schema=schema, orient="row"))
    return Maanedspris(month, entry.maal, volume, step, rows)


def _times(entry: Driftspris, used: Sequence[Brug], critical: Window | None) -> tuple[dict[str, int], dict[str, int]]:
    """The time of each function outside the critical week and within it, by where its use began. ms."""
    outside, within = dict[str, int](), dict[str, int]()
    for one in used:
        inside = critical is not None and critical.opens <= one.begyndt < critical.overdue
        times, name = within if inside else outside, entry.function_of(one.navn)
        times[name] = times.get(name, 0) + one.ms
    return outside, within


def _parts(oere: int, names: Sequence[str], own: Mapping[str, int], other: Mapping[str, int]) -> list[int]:
    weights = [own.get(name, 0) for name in names]
    if not any(weights):
        weights = [other.get(name, 0) for name in names]
    return largest_remainder(oere, weights if any(weights) else [1] * len(names))


def price_faults(entries: Sequence[Driftspris]) -> Iterator[str]:
    """A sentence in Danish, with entry and remedy, for each thing that makes the price of operations impossible."""
    for number, entry in enumerate(entries):
        where = f"{FILE}, {entry.gaelder_fra}"
        if entry.gaelder_fra.day != 1:
            yield f"{where}: gaelder_fra er ikke den første i en måned; prisen gælder hele måneder"
        if entry.gaelder_fra in {other.gaelder_fra for other in entries[:number]}:
            yield f"{where}: står to gange; behold den ene"
        yield from (f"{where}: {fault}" for fault in (*_of_steps(entry.trin), *_of_functions(entry.funktioner)))


def _of_steps(steps: Sequence[Maengdetrin]) -> Iterator[str]:
    starts = [step.fra for step in steps]
    if not starts or starts[0] != 0:
        yield "det første trin skal have fra = 0, så enhver mængde har en pris"
    for before, after in pairwise(starts):
        if after <= before:
            yield f"trin: fra = {thousands(after)} står efter {thousands(before)}; skriv trinnene stigende"
    for number, step in enumerate(steps, 1):
        for name in ("fast", "kritisk"):
            text = getattr(step, name)
            amount = units(text, "kroner")
            if amount is None:
                yield f"trin nr. {number}, {name} = '{text}': er ikke et beløb; skriv kroner som 250.000,00"
            elif amount < 0:
                yield f"trin nr. {number}, {name} = '{text}': er under nul"


def _of_functions(functions: Sequence[Funktion]) -> Iterator[str]:
    if not functions:
        yield "funktioner er tom; skriv mindst een"
    seen = set[str]()
    for one in functions:
        if not one.grupper and not one.kommandoer:
            yield f"funktionen {one.navn}: skriv grupper (af assets) eller kommandoer"
        if strange := [name for name in one.kommandoer if name not in KOMMANDOER]:
            known = ", ".join(KOMMANDOER)
            yield f"funktionen {one.navn}: '{strange[0]}' bliver ikke talt; de kommandoer, der gør, er {known}"
        if bool(one.kommandoer) != (one.sekunder_pr_opslag > 0):
            yield f"funktionen {one.navn}: kommandoer og sekunder_pr_opslag (over nul) hører sammen"
        for name in (one.navn, *one.grupper, *one.kommandoer):
            if name in seen:
                yield f"funktionen {one.navn}: '{name}' står to gange; en gruppe hører til een funktion"
            seen.add(name)
