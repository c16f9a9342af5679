"""Understands the synthetic example: a data root as delivered by the senders, with all its trouble."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import Literal

import polars as pl

from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.example.files import Form, Outbox, month_text, write_bopael, write_fleksgrundlag
from refusion_assets.example.lives import COUNT_MONTH, accounts
from refusion_assets.example.people import People, month_start, population
from refusion_assets.example.profiles import FORLOEB
from refusion_assets.example.reports import World, reports, world_of
from refusion_assets.example.trouble import events
from refusion_assets.progress import patient

DELIVERY = 300_000
"""Events written together before the rest of the month."""

BORGERE = {"mini": 2_000, "midi": 60_000, "fuld": 1_400_000}
"""People per size; mini has three municipalities, the others all."""

LATE_COMERS = {"midi": 24}
"""Months of history of nine people in ten, by size; the tenth has all of it."""


@dataclass(frozen=True)
class ExampleSummary:
    """Counts of the example: people, municipalities, months of receipt, files without manifests, and their rows."""

    borgere: int
    kommuner: int
    maaneder: int
    filer: int
    raekker: int


def tables(rules: Rulebook) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The accounts and the municipalities of the rules in the form of `write_example`: one row each."""
    konti = []
    for konto in rules.konti:
        ydelse = rules.ydelse_on(konto.ydelse_id, konto.gyldig_fra)
        konti.append(
            {
                "ydelse_id": konto.ydelse_id,
                "navn": ydelse.navn,
                "kategori": ydelse.kategori,
                "side": ydelse.side,
                "beloebsfelter": list(ydelse.felter),
                "kontoart": konto.kontoart,
                "felt": konto.felt,
                "konto": konto.konto,
                "kilde": konto.kilde_id,
                "indkomsttype": konto.indkomsttype,
                "indtaegtsart": konto.indtaegtsart,
                "gyldig_fra": konto.gyldig_fra,
                "gyldig_til": konto.gyldig_til,
            }
        )
    kommuner = [(k.kommunekode, k.navn, k.indbyggertal) for k in rules.kommuner]
    schema = ["kommunekode", "navn", "indbyggertal"]
    return pl.DataFrame(konti, infer_schema_length=None), pl.DataFrame(kommuner, schema=schema, orient="row")


def _silent(_: str) -> None:
    """Says nothing."""


def write_example(  # noqa: PLR0913, PLR0917  what an example is made of
    root: Path,
    konti: pl.DataFrame,
    kommuner: pl.DataFrame,
    stoerrelse: Literal["mini", "midi", "fuld"],
    fra: date,
    til: date,
    seed: int,
    progress: Callable[[str], None] = _silent,
    historik: int | None = None,
    form: Form = "csv",
) -> ExampleSummary:
    """Write an example under root/raw, with reports and registers of the months fra..til; counts of it.

    `konti`, one row per account: ydelse_id, kilde, kontoart, felt, konto, beloebsfelter (list), indkomsttype,
    indtaegtsart, gyldig_fra, gyldig_til (null = open). `kommuner`: kommunekode, indbyggertal. `fra`, `til`: first day
    of the first and last month of receipt; the first brings the history since July 2014. `historik`: months of history
    of nine people in ten (default: `LATE_COMERS`, else all). `form`: the form of the reports, with the same rows but
    those that `suited` changes. `progress` gets a line per month, and now and then a bar.
    The same arguments give the same bytes. ValueError if `fra` is before July 2014 or after `til`, or if root has raw
    files. Source: the input contract (input.md).
    """
    first, last = (month.year * 12 + month.month - 1 for month in (fra, til))
    if not COUNT_MONTH <= first <= last:
        raise ValueError(f"fra {fra} must be from July 2014 on and not after til {til}")
    if any((root / "raw").glob("*")):
        raise ValueError(f"{root / 'raw'} is not empty: an example is written to an empty data root")
    if stoerrelse == "mini":
        kommuner = small_middle_big(kommuner)
    people = people_of(kommuner, BORGERE[stoerrelse], seed)
    world = world_of(people, accounts(konti), first, last)
    world = _with_late_comers(world, LATE_COMERS.get(stoerrelse) if historik is None else historik)
    return _write(root, world, progress, form)


def _with_late_comers(world: World, months: int | None) -> World:
    """A world in which nine people in ten have no spells earlier than `months` before the first receipt.

    With everybody's whole history, the first month's files would be a hundred times as large as the others.
    """
    if months is None:
        return world
    begin = month_start(world.fra - months)
    begun = pl.when(pl.col("person") % 10 == 0).then(pl.col("start")).otherwise(pl.col("start").clip(begin))
    spells = [
        part.with_columns(begun.cast(part.schema["start"])).filter(pl.col("start") <= pl.col("slut"))
        for part in world.spells
    ]
    return replace(world, spells=spells)


def small_middle_big(kommuner: pl.DataFrame) -> pl.DataFrame:
    """Three municipalities, one row each: at 5, 50 and 95 per cent of the table by population."""
    by_size = kommuner.sort("indbyggertal", "kommunekode")
    places = sorted({by_size.height * percent // 100 for percent in (5, 50, 95)})
    return by_size[places].sort("kommunekode")


def people_of(kommuner: pl.DataFrame, antal: int, seed: int) -> People:
    """The people of an example, one element per person, spread over municipalities by indbyggertal."""
    foedt, andele = [forloeb.foedt for forloeb in FORLOEB], [forloeb.andel for forloeb in FORLOEB]
    return population(seed, kommuner, antal, foedt, andele)


def _write(root: Path, world: World, progress: Callable[[str], None], form: Form) -> ExampleSummary:
    outbox, filer, raekker = Outbox(root, world, form), 0, 0
    for maaned, deliveries in groupby(_deliveries(world, progress), key=lambda delivery: delivery[0]):
        outbox.open(maaned)
        for _, received in deliveries:
            outbox.add(received)
        registers = [write_bopael(root, world, maaned), write_fleksgrundlag(root, world, maaned)]
        files = [*outbox.close(), *registers]
        rows = sum(file.rows for file in files)
        filer, raekker = filer + len(files), raekker + rows
        progress(f"{month_text(maaned)}: {len(files)} filer, {rows} rækker")
    months = world.til - world.fra + 1
    return ExampleSummary(world.people.antal, len(world.people.kommuner), months, filer, raekker)


def _deliveries(world: World, progress: Callable[[str], None]) -> Iterator[tuple[int, pl.DataFrame]]:
    """Month of receipt and events received in it, a piece at a time, in the order of the months.

    Late events wait here, so that no month is calculated twice and none is kept.
    """
    bar = patient(progress)
    waiting: dict[int, list[pl.DataFrame]] = {maaned: [] for maaned in range(world.fra, world.til + 1)}
    for months in _turns(world):
        done, of_all = months.start - COUNT_MONTH, world.til + 1 - COUNT_MONTH
        bar(f"[{'#' * (20 * done // of_all):<20}] {done} af {of_all} måneder")
        now = max(months.start, world.fra)
        for part in range(len(world.spells)):
            sent = events(world, reports(world, part, months), months)
            for (maaned, *_), received in sent.partition_by("modtaget", as_dict=True).items():
                waiting[int(maaned)].append(received)
            if sum(received.height for received in waiting[now]) >= DELIVERY:
                yield now, pl.concat(waiting[now])
                waiting[now].clear()
        if months.start >= world.fra and waiting[now]:
            yield now, pl.concat(waiting.pop(now))


def _turns(world: World) -> Iterator[range]:
    """The months calculated together: in the history as many as few people allow, then one by one."""
    at_a_time = 1 + DELIVERY // world.people.antal
    for first in range(COUNT_MONTH, world.fra, at_a_time):
        yield range(first, min(first + at_a_time, world.fra))
    for maaned in range(world.fra, world.til + 1):
        yield range(maaned, maaned + 1)
