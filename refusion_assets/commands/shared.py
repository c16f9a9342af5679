"""Understands the commands of the shared solution itself: its economy, its roll-out, and how municipalities begin.

Everything that takes long to load is imported where it is used, as in `cli`.
"""

from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refusion_assets.domain.stop import Stop
from refusion_assets.progress import Say
from refusion_assets.usage import Command, Group, Koder, Mappe, Months, Tal, wrong

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


@click.group(cls=Group)
def udrul() -> None:
    """Indfør løsningen kommune for kommune efter planen i udrulning.toml; docs/faelles/udrulning.md siger hvordan."""


@udrul.command(cls=Command)
@click.option("--proev", is_flag=True, help="Vis planen, og tag den ikke i brug.")
@click.pass_obj
def plan(say: Say, *, proev: bool) -> None:
    """Vis planens bølger, og tag den i brug; en kommune i drift bliver, hvor den er."""
    from refusion_assets.assets.faelles.udrulning import plan_lines  # noqa: PLC0415  Dagster takes seconds to load
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load

    place = Place.from_environment().begun()
    with place.warehouse.open() as session:
        lines = list(plan_lines(session, place, take=not proev))
    for line in lines:
        say(line)


@udrul.command(cls=Command)
@click.pass_obj
def status(say: Say) -> None:
    """Sig, hvor langt udrulningen er, og hvem der venter på en godkendelse; ændrer intet."""
    from refusion_assets.assets.faelles.udrulning import standing  # noqa: PLC0415  Dagster takes seconds to load
    from refusion_assets.operations.board import known  # noqa: PLC0415  the same
    from refusion_assets.place import Place  # noqa: PLC0415  as above

    place = Place.from_environment().begun()
    for line in known(place, lambda session: list(standing(session, place)), ["Ingen plan er i brug."]):
        say(line)


@udrul.command(cls=Command)
@click.argument("kommuner", metavar="KOMMUNER", type=Koder())
@click.option(
    "--kilde", default="", metavar="KILDE", help="Kildesystemet, fx ky; kan udelades, når planen kun har eet."
)
@click.option("--stikproeve", is_flag=True, help="Sagsbehandlerne har godkendt stikprøven af konverteringen.")
@click.option("--drift", is_flag=True, help="Kommunen går i drift i sin planlagte måned, eller så snart den kan.")
@click.option("--lukket", is_flag=True, help="Læseadgangen til det gamle system er lukket.")
@click.option("--begrundelse", default="", metavar="TEKST", help="Hvorfor forskelle kan godkendes, eller hvem der har "
              "lukket adgangen; gemmes.")  # fmt: skip
@click.pass_obj
def godkend(
    say: Say, kommuner: list[str], kilde: str, begrundelse: str, *, stikproeve: bool, drift: bool, lukket: bool
) -> None:
    """Godkend næste skridt for nogle kommuner, fx 706,630; hvert skridt gemmes med tid og bruger."""
    from refusion_assets.assets.faelles.udrulning import approve  # noqa: PLC0415  Dagster takes seconds to load
    from refusion_assets.domain.faelles.udrulning import (  # noqa: PLC0415  Polars takes a while to load
        GAMMEL_LUKKET,
        I_DRIFT,
        STIKPROEVE_OK,
    )
    from refusion_assets.place import Place  # noqa: PLC0415  as above

    chosen = [
        state for state, asked in ((STIKPROEVE_OK, stikproeve), (I_DRIFT, drift), (GAMMEL_LUKKET, lukket)) if asked
    ]
    if len(chosen) != 1:
        wrong("skriv eet af --stikproeve, --drift og --lukket")
    place = Place.from_environment().begun()
    with place.warehouse.open() as session:
        lines = list(approve(session, place, kommuner, kilde, chosen[0], begrundelse))
    for line in lines:
        say(line)


@click.command(cls=Command)
@click.argument("kommuner", metavar="KOMMUNER", type=Koder())
@click.option("--fra", type=Mappe(), required=True, help="Mappen med det gamle systems beregningsfiler.")
@click.option("--antal", type=Tal(), default=20, show_default=True, help="Borgere i stikprøven.")
@click.option("--froe", type=Tal(), default=1, show_default=True, help="Stikprøvens frø; samme frø, samme borgere.")
@click.pass_obj
def konverter(say: Say, kommuner: list[str], fra: Path, antal: int, froe: int) -> None:
    """Læs det gamle systems filer for nogle kommuner som deres begyndelse, bevis dem, og træk en stikprøve."""
    from refusion_assets.assets.faelles.konvertering import convert  # noqa: PLC0415  Dagster takes seconds to load
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load

    if antal < 1:
        wrong("--antal skal være mindst 1")
    place = Place.from_environment().begun()
    if strange := sorted(set(kommuner) - set(place.rules.koder)):
        raise Stop(f"{', '.join(strange)} er ingen kommune i kommuner.csv")
    for kode in kommuner:
        with place.warehouse.open() as session:
            lines = list(convert(session, place, kode, fra, antal, froe))
        for line in lines:
            say(line)


COMMANDS = (deling, driftspris, konverter, udrul)
