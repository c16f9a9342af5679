"""Understands the commands of the roll-out: its plan and its steps, and the old system's files read as a beginning.

Everything that takes long to load is imported where it is used, as in `cli`.
"""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from refusion_assets.domain.stop import Stop
from refusion_assets.progress import Say
from refusion_assets.usage import Command, Group, Koder, Mappe, Tal, wrong

if TYPE_CHECKING:
    from refusion_assets.place import Place
    from refusion_assets.store.session import Session


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
    from refusion_assets.operations.board import known  # noqa: PLC0415  Dagster takes seconds to load
    from refusion_assets.place import Place  # noqa: PLC0415  as above

    place = Place.from_environment().begun()
    for line in known(place, lambda session: list(_standing(session, place)), ["Ingen plan er i brug."]):
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
    place = Place.from_environment()
    if strange := sorted(set(kommuner) - set(place.rules.koder)):
        raise Stop(f"{', '.join(strange)} er ingen kommune i kommuner.csv")
    for kode in kommuner:
        with place.warehouse.open() as session:
            lines = list(convert(session, place, kode, fra, antal, froe))
        for line in lines:
            say(line)


def _standing(session: "Session", place: "Place") -> Iterator[str]:
    """How far the roll-out has come: a line per wave and source system, and one per municipality that waits for us."""
    import polars as pl  # noqa: PLC0415  Polars takes a while to load

    from refusion_assets.assets.faelles.udrulning import OPTION, SAID, state_of  # noqa: PLC0415  as above
    from refusion_assets.domain.faelles.udrulning import (  # noqa: PLC0415  as above
        I_DRIFT,
        KONVERTERET,
        STIKPROEVE_OK,
        TILSTANDE,
    )
    from refusion_assets.domain.wording import plural  # noqa: PLC0415  as above

    rows = state_of(session)
    if rows.is_empty():
        yield "Ingen plan er i brug: alle kommuner er i drift."
        return
    for (kilde, boelge), part in rows.sort("kilde", "boelge").group_by("kilde", "boelge", maintain_order=True):
        counts = Counter(part["tilstand"].to_list())
        told = ", ".join(f"{counts[one]} {SAID[one]}" for one in TILSTANDE if counts[one])
        first = min(part["maaned"].to_list())
        yield f"{kilde} bølge {boelge}, {first:%Y-%m}: {plural(part.height, 'kommune', 'kommuner')}: {told}"
    navne, after = place.rules.kommunenavne, {KONVERTERET: STIKPROEVE_OK, STIKPROEVE_OK: I_DRIFT}
    for kode, kilde, _, maaned, tilstand in rows.filter(pl.col("tilstand").is_in(list(after))).iter_rows():
        command = f"refusion udrul godkend {kode} --kilde {kilde} {OPTION[after[tilstand]]}"
        yield f"  {kode} {navne.get(kode, kode)}, {kilde}, {maaned:%Y-%m} er {SAID[tilstand]}; næste skridt: {command}"


COMMANDS = (konverter, udrul)
