"""Understands the daily acts as commands; each is a thin wrap around a Dagster job or a kernel call."""

import hashlib
import os
import re
import shutil
import sys
from datetime import date
from pathlib import Path
from typing import Literal

import click

from refusion_assets.domain.calendar import month_of, month_range
from refusion_assets.domain.stop import Stop, of_the_disk, of_the_system
from refusion_assets.place import DATA, PACKAGE, Place, fit, unforeseen
from refusion_assets.progress import Say, each, saying
from refusion_assets.rulebook.improbable import doubts
from refusion_assets.rulebook.load import RuleError
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Locked

STOPPED, MISUSED = 1, 2
# The dagster.yaml of earlier versions of the program: where nobody has changed it, it is replaced by the newest.
FORMER_SETTINGS = {
    "2ac21fccf39b4cfefe236c1b57b45881700c9baf96e35ff00b5bfd65bb5b9e42",
    "acfd626ff3b0fded204d5c6e7660b85dac4e26884fce8e7728ab41eb1a9283d8",
}


class Months(click.ParamType[list[date]]):
    """`YYYY-MM`, or `YYYY-MM..YYYY-MM` for every month between, both included."""

    name = "måned"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> list[date]:
        """The months in order; a usage error if the text is not one of the two forms."""
        try:
            ends = [month_of(part) for part in value.split("..")]
        except ValueError:
            self.fail(f"{value!r} er ikke en måned; skriv YYYY-MM eller YYYY-MM..YYYY-MM", param, ctx)
        months = month_range(ends[0], ends[-1])
        if len(ends) > 2 or not months:
            self.fail(f"{value!r} er ikke et interval; skriv YYYY-MM..YYYY-MM", param, ctx)
        return months


class Koder(click.ParamType[list[str]]):
    """Municipality codes with commas between, in any order: `706,630`."""

    name = "koder"

    def convert(self, value: str | list[str], param: click.Parameter | None, ctx: click.Context | None) -> list[str]:
        """The codes in order, each once; a usage error for what is not three digits."""
        if isinstance(value, list):
            return value
        codes = sorted({part.strip() for part in value.split(",") if part.strip()})
        for code in codes:
            if not re.fullmatch("[0-9]{3}", code):
                self.fail(f"{code!r} er ikke en kommunekode; skriv tre cifre med komma imellem, fx 706,630", param, ctx)
        return codes


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.pass_context
def main(context: click.Context) -> None:
    """Ydelsesrefusion: hvad hver kommune får tilbage fra staten for sine ydelser, måned for måned.

    Dataroden er REFUSION_DATA, reglerne REFUSION_REGLER; i en kopi af repositoriet ellers data/ og rules/.
    """
    context.obj = context.with_resource(saying())


def run() -> None:
    """The command, with a reason to stop, known or not, as one line on standard error and exit code 1."""
    try:
        main()
    except Exception as error:  # noqa: BLE001  whatever it is, the operator gets one line
        click.echo(f"STOPPET: {_reason(error)}", err=True)
        sys.exit(STOPPED)


def _reason(error: Exception) -> str:
    """Why a command stops: the text of a reason that is known; of another only where it arose.

    The text of an error that nobody foresaw may hold a person's number.
    """
    if isinstance(error, (Stop, RuleError, Locked)):
        return str(error)
    if isinstance(error, OSError):
        return of_the_system(error)
    return of_the_disk(error) or unforeseen(error)


@main.command()
@click.argument("maaneder", type=Months())
@click.option("--accepter", multiple=True, metavar="REGEL:GENSTAND", help="Lad et stop passere, fx FIL-006:ksd-657.")
@click.option(
    "--undtagen", type=Koder(), default="", help="Kommuner, der holdes tilbage, fx 706,630; de får ingen filer."
)
@click.option("--begrundelse", default="", help="Hvorfor stoppet må passere, eller kommunerne vente; gemmes og vises.")
@click.pass_obj
def koer(say: Say, maaneder: list[date], accepter: tuple[str, ...], undtagen: list[str], begrundelse: str) -> None:
    """Kør den kritiske uge for en måned (eller flere i rækkefølge): fra rådata til kommunernes filer."""
    from refusion_assets.runs.month import critical_week  # noqa: PLC0415  Dagster takes seconds to load

    if accepter and len(maaneder) > 1:
        raise Stop("--accepter gælder een måned; kør månederne hver for sig")
    place = _place()
    if undtagen and len(maaneder) > 1:
        raise Stop("kommuner holdes tilbage i en måned ad gangen; den næste kan først køres, når alle er opgjort")
    for month in each(say, maaneder):
        for line in critical_week(place, month, say, accepter, begrundelse, undtagen):
            say(line)


@main.command()
@click.argument("maaned", type=Months())
@click.option("--kommuner", type=Koder(), required=True, help="Kommuner, der blev holdt tilbage, fx 706,630.")
@click.pass_obj
def opgoer(say: Say, maaned: list[date], kommuner: list[str]) -> None:
    """Opgør kommuner, der blev holdt tilbage i den sidste kørsel, og skriv deres filer."""
    from refusion_assets.runs.month import settle  # noqa: PLC0415  Dagster takes seconds to load

    place = _place()
    if len(maaned) > 1 or not kommuner:
        raise Stop("skriv een måned og mindst een kommune, fx refusion opgoer 2026-10 --kommuner 706")
    for line in settle(place, maaned[0], kommuner, say):
        say(line)


@main.command()
@click.argument("maaned", type=Months(), required=False)
@click.option("--json", "som_json", is_flag=True, help="Tavlen som JSON.")
def status(maaned: list[date] | None, *, som_json: bool) -> None:
    """Sig, hvem der har leveret for en måned, og hvad der står af de sidste kørsler; ændrer intet.

    Hver fil prøves mod sit manifest. Uden MAANED siges det for den måned, der skal køres.
    """
    from refusion_assets.operations import board  # noqa: PLC0415  Polars takes a while to load

    place = Place.from_environment().begun()
    for line in board.status_lines(place, maaned or [], som_json=som_json):
        click.echo(line)


@main.command()
@click.argument("maaned", type=Months())
def luk(maaned: list[date]) -> None:
    """Luk en kørsel: den kan ikke længere ændres."""
    from refusion_assets.assets.opgoerelse import close  # noqa: PLC0415  Dagster takes seconds to load

    place = _place()
    for month in maaned:
        with place.warehouse.open() as session:
            close(session, place, month)
        publish(place.warehouse)
        click.echo(f"Kørsel {month:%Y-%m} er lukket.")


@main.command()
@click.argument("maaneder", type=Months(), required=False)
@click.pass_obj
def genberegn(say: Say, maaneder: list[date] | None) -> None:
    """Genberegn ydelsesmåneder efter en regelændring uden at opgøre; viser forskellen for hver kommune.

    Uden MAANEDER genberegnes netop de måneder, som reglerne har gjort forældede.
    """
    from refusion_assets.runs.month import recalculate  # noqa: PLC0415  Dagster takes seconds to load

    for line in recalculate(_place(), maaneder, say):
        say(line)


@main.command()
@click.argument("maaned", type=Months())
@click.option("--til", type=click.Path(path_type=Path), help="En tom mappe; ellers genskabt/<måned> i dataroden.")
@click.pass_obj
def genskab(say: Say, maaned: list[date], til: Path | None) -> None:
    """Genskab filerne fra en kørsel af rådata og de regler, den kendte, og sammenlign med det, der blev sendt."""
    from refusion_assets.runs.again import make_again  # noqa: PLC0415  Dagster takes seconds to load

    place = Place.from_environment().begun()
    for month in maaned:
        for line in make_again(place, month, til, say):
            say(line)


@main.command()
@click.option("--accepter", multiple=True, metavar="FIL-008:FILNAVN", help="Læs en fil, der er væk eller en anden nu.")
@click.option("--begrundelse", default="", help="Hvorfor filen må være en anden; gemmes.")
@click.pass_obj
def genindlaes(say: Say, accepter: tuple[str, ...], begrundelse: str) -> None:
    """Læs alt ind igen fra rådata til og med den sidste kørsel, uden at opgøre."""
    from refusion_assets.runs.month import reload  # noqa: PLC0415  Dagster takes seconds to load

    for line in reload(_place(), say, accepter, begrundelse):
        say(line)


@main.command()
@click.argument("hvem", nargs=-1, metavar="CPR ÅÅÅÅ-MM")
@click.option("--formaal", metavar="TEKST", help="Hvad opslaget er til; det gemmes. Udelades det, bliver der spurgt.")
@click.option("--alt", is_flag=True, help="Det hele, uge for uge; ellers svaret i fem linjer.")
@click.option("--json", "som_json", is_flag=True, help="Svaret som JSON; nøglerne står i docs/forklar.md.")
def forklar(hvem: tuple[str, ...], formaal: str | None, *, alt: bool, som_json: bool) -> None:
    """Forklar en borgers ydelsesmåned i fem linjer, eller med --alt uge for uge.

    Hvert opslag gemmes i opslag/opslag.jsonl.
    """
    from refusion_assets import look_up  # noqa: PLC0415  only this command needs it

    inquiry = look_up.inquiry_of(hvem, formaal, _purpose)
    click.echo(look_up.explanation(Place.from_environment(), inquiry, som_json=som_json, alt=alt), nl=False)


def _purpose() -> str:
    """What the user answers to what a look-up is for; nothing where nobody can answer."""
    try:
        return str(click.prompt("Hvad er opslaget til", default="", show_default=False, err=True))
    except click.Abort:
        return ""


@main.command()
@click.argument("maaneder", type=Months())
@click.option("--regler", type=click.Path(path_type=Path), required=True, help="Forslaget: en hel mappe med regler.")
@click.option("--til", type=click.Path(path_type=Path), help="Hvor filerne lægges; ellers konsekvens/ i dataroden.")
@click.pass_obj
def konsekvens(say: Say, maaneder: list[date], regler: Path, til: Path | None) -> None:
    """Anslå, hvad et forslag til regler ville betyde for nogle ydelsesmåneder, uden at afregne noget."""
    from refusion_assets.runs.month import consequence  # noqa: PLC0415  Dagster takes seconds to load

    for line in consequence(_place(), regler, maaneder, til, say):
        say(line)


@main.command()
@click.option("--stoerrelse", type=click.Choice(["mini", "midi", "fuld"]), default="mini", show_default=True)
@click.option("--maaneder", type=Months(), default="2024-11..2026-10", show_default=True)
@click.option("--seed", type=int, default=1, show_default=True)
@click.option("--historik", type=int, help="Måneder før den første, som ni af ti borgere har; ellers alt siden 2014.")
@click.pass_obj
def eksempel(
    say: Say, stoerrelse: Literal["mini", "midi", "fuld"], maaneder: list[date], seed: int, historik: int | None
) -> None:
    """Skriv en datarod med opdigtede borgere (dag + 60), som kan køres fra første til sidste måned."""
    from refusion_assets.domain.wording import plural  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.example.write import tables, write_example  # noqa: PLC0415  only this command needs it

    place = Place.from_environment()
    if place.root.exists() and not place.root.is_dir():
        raise Stop(f"dataroden {place.root} er en fil og ikke en mappe; ret {DATA}")
    if place.raw.exists() and any(place.raw.iterdir()):
        raise Stop(f"{place.root} har allerede rådata; vælg en tom datarod med REFUSION_DATA")
    konti, kommuner = tables(place.rules)
    done = write_example(place.root, konti, kommuner, stoerrelse, maaneder[0], maaneder[-1], seed, say, historik)
    say(
        f"{plural(done.borgere, 'borger', 'borgere')}, {plural(done.kommuner, 'kommune', 'kommuner')}, "
        f"{plural(done.filer, 'fil', 'filer')}, {plural(done.raekker, 'linje', 'linjer')} i {place.raw}"
    )


@main.command()
@click.option("--port", type=int, default=3000, show_default=True)
def ui(port: int) -> None:
    """Start Dagsters brugerflade på 127.0.0.1."""
    from refusion_assets.assets.wiring import POOL  # noqa: PLC0415  as above
    from refusion_assets.store import events  # noqa: PLC0415  Dagster takes a while to load

    _place()
    home = Path(os.environ["DAGSTER_HOME"])
    with events.readable(home), events.instance(home) as instance:
        events.living_runs(instance, POOL)
    workspace = home / "workspace.yaml"
    shutil.copyfile(PACKAGE / workspace.name, workspace)
    command = [sys.executable, "-m", "dagster", "dev", "-h", "127.0.0.1", "-p", str(port), "-w", str(workspace)]
    os.chdir(workspace.parent)
    os.execv(command[0], command)  # noqa: S606  a fixed command of this venv


@main.command()
@click.option("--proev", is_flag=True, help="Send en prøve til hver modtager, og sig, om den kom igennem.")
def alarm(*, proev: bool) -> None:
    """Sig, hvem der får besked, når noget går galt, og om hvad; efter alarm.toml i dataroden."""
    from refusion_assets.operations import receivers  # noqa: PLC0415  only this command needs it

    root = Place.from_environment().root
    lines, failed = receivers.tried(root) if proev else receivers.listed(root)
    for line in lines:
        click.echo(line)
    if failed:
        raise Stop(f"{failed} af modtagerne i {receivers.file_of(root)} kan ikke få besked")


@main.command()
@click.option("--sider", type=click.Path(path_type=Path, file_okay=False), help="Skriv lovsiderne i mappen.")
@click.option("--skema", type=click.Path(path_type=Path, file_okay=False), help="Skriv TOML-filernes skema i mappen.")
def regler(sider: Path | None, skema: Path | None) -> None:
    """Prøv reglerne: huller, overlap, manglende hjemmel. Siger reglernes version, og hvad de rammer i dataroden."""
    from refusion_assets.assets.stale import touched_in_words  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.domain.wording import plural  # noqa: PLC0415  as above

    place = Place.from_environment()
    rules = place.rules
    if sider:
        from refusion_assets.law_pages.page import write  # noqa: PLC0415  only this option needs it

        click.echo(f"{plural(len(write(place.rules_folder, sider)), 'side', 'sider')} i {sider}")
    if skema:
        from refusion_assets.law_pages.page import write_schema  # noqa: PLC0415  the same

        click.echo(f"Skema: {write_schema(skema)}")
    if not place.root.exists():
        click.echo(f"Dataroden {place.root} findes ikke, så det siges ikke, hvad reglerne rammer.")
    click.echo(f"Reglerne kan stå: {plural(len(rules.ydelse_ids), 'ydelse', 'ydelser')}, version {rules.version[:12]}.")
    today = date.today()  # noqa: DTZ011  the day here
    for doubt in doubts(rules, today):
        click.echo(f"ADVARSEL: {doubt}")
    lines, refused = touched_in_words(place)
    for line in lines:
        click.echo(line)
    if refused:
        raise Stop("; ".join(refused))


def _place() -> Place:
    """The place of a command that writes, with Dagster's home made ready in it; Stop if it is no data root."""
    place = Place.from_environment().begun()
    os.environ.update(environment(place))
    return place


def environment(place: Place) -> dict[str, str]:
    """What Dagster must find in the environment; its home lies in the data root unless it is set."""
    elsewhere = os.environ.get("DAGSTER_HOME")
    home = (Path(elsewhere).expanduser() if elsewhere else place.root / "dagster").resolve()
    fit(home, "DAGSTER_HOME" if elsewhere else DATA)
    home.mkdir(parents=True, exist_ok=True)
    settings = home / "dagster.yaml"
    if not settings.exists() or hashlib.sha256(settings.read_bytes()).hexdigest() in FORMER_SETTINGS:
        shutil.copyfile(PACKAGE / settings.name, settings)
    return {
        "DAGSTER_HOME": str(home),
        "REFUSION_DATA": str(place.root),
        "REFUSION_REGLER": str(place.rules_folder),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
    }
