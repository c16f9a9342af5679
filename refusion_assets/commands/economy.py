"""Understands the commands for the shared solution's own economy: what each party pays, and what operations cost.

Everything that takes long to load is imported where it is used, as in `cli`.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refusion_assets.domain.stop import Stop
from refusion_assets.progress import Say
from refusion_assets.usage import Command, Koder, Mappe, Months, wrong

if TYPE_CHECKING:
    from refusion_assets.domain.faelles.aftale import Aftale
    from refusion_assets.place import Place

extract = click.option(
    "--udtraek", is_flag=True, help="Skriv også regningerne som filer, i mappen faelles i dataroden."
)
into = click.option("--til", type=Mappe(), help="Med --udtraek: en anden mappe.")


@click.command(cls=Command)
@click.argument("aftale", metavar="AFTALE", default="")
@click.option(
    "--med", type=Koder(), default=[], help="Hvad hver betaler, hvis netop disse kommuner er med, fx 101,147."
)
@click.option("--ogsaa", type=Koder(), default=[], help="Hvad hver betaler, hvis disse kommuner kommer til.")
@click.option("--uden", type=Koder(), default=[], help="Hvad hver betaler, hvis disse kommuner går ud.")
@extract
@into
@click.pass_obj
def deling(
    say: Say, aftale: str, med: list[str], ogsaa: list[str], uden: list[str], til: Path | None, *, udtraek: bool
) -> None:
    """Del en udgift efter en aftale i deling.toml: hvad hver part betaler, så regningerne giver totalen.

    Uden AFTALE den første i filen: fællesløsningens egen pris, delt af kommunerne.
    """
    from refusion_assets.assets.faelles import deling as sharing  # noqa: PLC0415  Dagster takes seconds to load
    from refusion_assets.domain.faelles.aftale import participants  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.domain.faelles.deling import compared, with_others  # noqa: PLC0415  the same
    from refusion_assets.report import economy  # noqa: PLC0415  the same
    from refusion_assets.rulebook.load import agreements  # noqa: PLC0415  the same

    place, folder = _where(til, udtraek=udtraek)
    if med and (ogsaa or uden):
        wrong("--med nævner alle, der er med, så --ogsaa og --uden gør ingen forskel")
    every = agreements(place.rules_folder, place.rules)
    found = _chosen(every, aftale)
    if not (med or ogsaa or uden):
        shared = sharing.share_out(place, found)
        files = economy.write_sharing(shared, folder) if folder else []
        tables = economy.sharing_tables(shared)
    else:
        mine = [one.id for one in participants(found, place.rules.kommuner) if one.kommune]
        _refuse_idle(found.id, mine, ogsaa, uden)
        there = with_others(found, med or sorted({*mine, *ogsaa} - {*uden}), place.rules.kommuner)
        shared = sharing.share_out(place, there)
        changes = compared(sharing.share_out(place, found), shared)
        files = [economy.write_change(found, changes, folder)] if folder else []
        tables = [economy.change_table(changes, found.enhed)]
    say(economy.heading(shared))
    for table in tables:
        for line in table.lines():
            say(line)
    for path in files:
        say(f"Fil: {path}")
    if not aftale:
        for line in economy.others(every, found.id):
            say(line)


def _refuse_idle(aftale: str, mine: Sequence[str], ogsaa: Sequence[str], uden: Sequence[str]) -> None:
    """Stop if somebody who is in comes in, or somebody who is not goes out: the answer would hide it."""
    if strange := [kode for kode in uden if kode not in mine]:
        raise Stop(f"{', '.join(strange)} er ikke med i aftalen {aftale}, så ingen går ud; ret --uden")
    if known := [kode for kode in ogsaa if kode in mine]:
        raise Stop(f"{', '.join(known)} er allerede med i aftalen {aftale}, så ingen kommer til; ret --ogsaa")


def _chosen(every: "Sequence[Aftale]", name: str) -> "Aftale":
    """The agreement with an id, or the first one without; Stop if there is none."""
    if not every:
        raise Stop("deling.toml har ingen aftaler; docs/faelles/deling.md viser, hvordan en skrives")
    found = next((one for one in every if name in ("", one.id)), None)
    if found is None:
        raise Stop(f"der er ingen aftale med id {name!r} i deling.toml; de kendte er {', '.join(a.id for a in every)}")
    return found


@click.command(cls=Command)
@click.argument("maaneder", metavar="MÅNEDER", type=Months(), required=False)
@extract
@into
@click.pass_obj
def driftspris(say: Say, maaneder: list[date] | None, til: Path | None, *, udtraek: bool) -> None:
    """Sig prisen for driften i nogle kalendermåneder, delt på funktioner; det, loven ikke kræver, for sig.

    Målt på kørslerne og loggen over opslag, med priserne i driftspris.toml. Uden MÅNEDER de måneder, noget er kørt i.
    """
    from refusion_assets.assets.faelles.driftspris import month_prices, months_run  # noqa: PLC0415  Dagster takes a while
    from refusion_assets.place import home_of  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.report import economy  # noqa: PLC0415  the same
    from refusion_assets.store import events  # noqa: PLC0415  the same

    place, folder = _where(til, udtraek=udtraek)
    home = home_of(place.begun())
    if not home.is_dir():
        raise Stop(f"intet er kørt i dataroden {place.root}, så ingen driftspris kan måles")
    with events.readable(home), events.instance(home) as instance:
        prices, run = month_prices(place, instance, maaneder), months_run(instance)
    for price in prices:
        for table in economy.price_tables(price):
            for line in table.lines():
                say(line)
    if not {price.maaned for price in prices} & {*run}:
        known = ", ".join(f"{month:%Y-%m}" for month in run[-3:]) or "ingen måned endnu"
        say(f"En måned er kalendermåneden, der er kørt i, ikke kørslens måned; der er kørt i {known}.")
    if folder:
        say(f"Fil: {economy.write_prices(prices, folder)}")


def _where(til: Path | None, *, udtraek: bool) -> "tuple[Place, Path | None]":
    """The place, and the folder of the files that are asked for; the data root must be there if they go in it."""
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load

    if til and not udtraek:
        wrong("--til hører til --udtraek")
    place = Place.from_environment()
    if not udtraek:
        return place, None
    return place, til or place.begun().root / "faelles"


COMMANDS = (deling, driftspris)
