"""Understands the commands that keep the data: inspect what is closed, back it up, restore it, and let it go.

Everything that takes long to load is imported where it is used, as in `cli`.
"""

import os
import sys
from datetime import date
from pathlib import Path

import click

from refusion_assets.domain.stop import Stop
from refusion_assets.progress import Say
from refusion_assets.sending import ask_key
from refusion_assets.usage import Command, Mappe, Months, Tal, wrong


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


@click.command(cls=Command)
def efterproev() -> None:
    """Læs hele lageret, og prøv hver række mod den udgivne tilstand. Ændrer intet; en kørsel må vente imens.

    Udgivelsen prøver kun det, kørslen skrev. Kør derfor efterproev een gang om måneden, uden for den kritiske uge.
    """
    from refusion_assets.domain.wording import plural  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.place import Place  # noqa: PLC0415  the same
    from refusion_assets.store.publish import prove  # noqa: PLC0415  the same

    state, faults = prove(Place.from_environment().begun().warehouse)
    for fault in faults:
        click.echo(f"FEJL  {fault}")
    if faults:
        raise Stop(
            f"{plural(len(faults), 'del', 'dele')} af tilstanden er ikke lagerets: lageret eller en fil er ændret uden "
            "om programmet; docs/sikkerhedskopi.md siger, hvad der gøres"
        )
    rows = sum(part.raekker for table in state.kolonner for part in state.of(table, analysts=False))
    click.echo(f"I orden: {rows} rækker i {len(state.dele)} filer er lagerets, tilstand {state.number}.")


@click.command(cls=Command)
@click.argument("til", metavar="TIL", type=Mappe())
@click.option("--modtager", metavar="NØGLE", help="Offentlig nøgle (age1..., ssh-ed25519, ssh-rsa), eller en fil med "
              "den; ellers REFUSION_KOPI_MODTAGER.")  # fmt: skip
@click.option("--behold", type=Tal(), metavar="ANTAL", help="Slet alle kopier i TIL undtagen de sidste ANTAL.")
@click.pass_obj
def sikkerhedskopi(say: Say, til: Path, modtager: str | None, behold: int | None) -> None:
    """Tag en krypteret sikkerhedskopi af dataroden i TIL; kun det, der er nyt, skrives. En kørsel må være i gang.

    Uden offentlig nøgle bruges adgangssætningen i filen, som REFUSION_KOPI_NOEGLE nævner.
    """
    from refusion_assets.levering.sealed import recipient  # noqa: PLC0415  only this command needs it
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.backup import MODTAGER, NOEGLE, back_up  # noqa: PLC0415  the same

    if behold is not None and behold < 1:
        wrong("--behold skal være mindst 1")
    place = Place.from_environment().begun()
    for line in back_up(place, til, recipient(modtager, til, place.root, (MODTAGER, NOEGLE)), behold, say):
        click.echo(line)


@click.command(cls=Command)
@click.argument("fra", metavar="FRA", type=Mappe())
@click.option("--nr", type=Tal(), metavar="NR", help="En tidligere kopi end den sidste.")
@click.pass_obj
def genopret(say: Say, fra: Path, nr: int | None) -> None:
    """Genopret en datarod fra en sikkerhedskopi i den tomme mappe, REFUSION_DATA nævner, og efterse den.

    REFUSION_KOPI_NOEGLE nævner filen med den hemmelige nøgle eller adgangssætningen; ellers bliver der spurgt.
    """
    from refusion_assets.levering.sealed import secret  # noqa: PLC0415  only this command needs it
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.backup import NOEGLE, restore  # noqa: PLC0415  the same

    root = Place.from_environment().root
    key = secret((fra, root), NOEGLE) if os.environ.get(NOEGLE) else ask_key("Nøglen til kopien").encode()
    if not key.strip():
        raise Stop(f"der skal en nøgle til at genoprette; sæt {NOEGLE} til en fil med den")
    for line in restore(fra, root, key, nr, say):
        click.echo(line)


@click.command(cls=Command)
@click.option("--cpr", metavar="-", default="", help="Skriv -, så læses personnummeret fra standard ind; ellers bliver "
              "der spurgt.")  # fmt: skip
@click.option("--formaal", metavar="TEKST", required=True, help="Hvad indsigten er til, fx sagens nummer; det gemmes.")
@click.option("--til", type=Mappe(), required=True, help="En tom mappe, som kun du kan læse.")
def indsigt(cpr: str, formaal: str, til: Path) -> None:
    """Giv alt, hvad der vides om een borger, i en mappe: linjer, uger, kladder, adviser og opslag. Det logges."""
    from refusion_assets.look_up.access import give_access, last_month  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.look_up.inquiry import inquiry_of  # noqa: PLC0415  the same
    from refusion_assets.place import Place  # noqa: PLC0415  the same

    if cpr not in ("", "-"):
        wrong("skriv ikke personnummeret i kommandoen, hvor andre kan se det; skriv --cpr -, eller svar på spørgsmålet")
    said = sys.stdin.readline().strip() if cpr else ask_key("Personnummeret")
    place = Place.from_environment()
    for line in give_access(place, inquiry_of((said, f"{last_month(place):%Y-%m}"), formaal, lambda: ""), til):
        click.echo(line)


@click.command(cls=Command)
@click.option("--efter-reglerne", is_flag=True, required=True, help="Kun det, opbevaring.toml siger er gemt længe nok.")
@click.option("--proev", is_flag=True, help="Sig, hvad der ville blive slettet; slet intet.")
@click.option("--ja", is_flag=True, help="Slet uden at spørge; i et script skal det stå der.")
@click.pass_obj
def slet(say: Say, *, efter_reglerne: bool, proev: bool, ja: bool) -> None:
    """Slet det, reglerne siger er gemt længe nok. Kladder, summer og kæden står, så efterse stadig kan prøve dem."""
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.retention import delete, told  # noqa: PLC0415  Dagster takes seconds to load

    if not efter_reglerne:
        wrong("skriv --efter-reglerne; intet andet kan slettes herfra")
    today = date.today()  # noqa: DTZ011  the day here
    place = Place.from_environment().begun()
    lines, files = told(place, today)
    for line in lines:
        click.echo(line)
    if proev or not files:
        click.echo(f"{files} filer ville blive slettet; intet er slettet.")
        return
    if not ja and not (
        sys.stdin is not None
        and sys.stdin.isatty()
        and click.prompt(f"Slet {files} filer (ja/nej)", default="nej").strip().lower() in ("ja", "j")
    ):
        click.echo("Intet er slettet; skriv --ja, hvor ingen kan svare.")
        return
    for line in delete(place, today, say):
        click.echo(line)


COMMANDS = (efterproev, efterse, genopret, indsigt, sikkerhedskopi, slet)
