"""Understands the commands that keep the data: inspect what is closed, back it up, restore it, and let it go.

Everything that takes long to load is imported where it is used, as in `cli`.
"""

from datetime import date

import click

from refusion_assets.domain.stop import Stop
from refusion_assets.usage import Command, Months


@click.command(cls=Command)
@click.argument("maaneder", metavar="MÅNEDER", type=Months(), required=False)
@click.option("--hoved", default="", metavar="AFTRYK", help="Kædens hoved, som nogen har skrevet ned; det skal stå i "
              "kæden.")  # fmt: skip
@click.option("--json", "som_json", is_flag=True, help="Eet JSON-objekt; nøglerne står i docs/sikkerhedskopi.md.")
def efterse(maaneder: list[date] | None, hoved: str, *, som_json: bool) -> None:
    """Efterse alt, der er lukket: råfiler, kladder, filer, regler og loggen over opslag. Ændrer intet.

    Enhver, der kan læse dataroden, kan gøre det, også på en kopi. Slutkode 1, hvis noget ikke er, som det blev lukket.
    """
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.inspect import as_json, inspect  # noqa: PLC0415  Dagster takes seconds to load

    reports = []
    for report in inspect(Place.from_environment(), maaneder or [], hoved):
        reports.append(report)
        for line in [] if som_json else report.lines():
            click.echo(line)
    if som_json:
        click.echo(as_json(reports))
    if faults := sum(len(report.fejl) for report in reports):
        raise Stop(f"{faults} fejl i det, der er lukket; docs/sikkerhedskopi.md siger, hvad der gøres")


COMMANDS = (efterse,)
