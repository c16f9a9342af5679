"""Understands the daily acts as commands; each is a thin wrap around a Dagster job or a kernel call.

Everything that takes long to load is imported where it is used: `refusion --help` must answer at once.
"""

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import click
import setproctitle

from refusion_assets import keeping, sending
from refusion_assets.commands import shared
from refusion_assets.domain.stop import DISK_IS_FULL, Stop, of_the_disk, of_the_system
from refusion_assets.progress import Say, each, saying, tinted
from refusion_assets.usage import Fil, Group, Koder, Mappe, Months, OneMonth, Tal, Valg, misused, wrong

if TYPE_CHECKING:
    from refusion_assets.domain.findings.statement import Oversigt
    from refusion_assets.place import Place

ROOM = 100
Tell = Callable[["Oversigt"], None]


STOPPED, MISUSED = 1, 2
SEEN = (
    "ADVARSEL: personnummeret står i kommandoen og kan ses i ps og i skallens historik; "
    "skriv refusion forklar ÅÅÅÅ-MM, så bliver der spurgt, eller send det ind med --cpr -"
)
IN_THE_WAY = "REGEL:GENSTAND"
quiet = click.option("--stille", is_flag=True, help="Sig kun første linje af opgørelsen, og fejl.")
as_json = click.option("--json", "som_json", is_flag=True, help="Eet JSON-objekt; nøglerne står i docs/drift.md.")


def _versions(ctx: click.Context, _: click.Parameter, asked: bool) -> None:
    """The versions of the program, the rules and what it rests on, said instead of a command."""
    if asked and not ctx.resilient_parsing:
        click.echo(f"refusion {version('refusion-assets')}, regler {_rules_version()}")
        click.echo(", ".join(f"{name} {version(name)}" for name in ("dagster", "duckdb", "polars")))
        ctx.exit()


def _rules_version() -> str:
    """The short version of the rules in force, or that they cannot be read."""
    try:
        return _here().rules.version[:12]
    except Exception as error:  # noqa: BLE001  whatever it is, the other versions can be told
        return f"kan ikke læses ({_reason(error)})"


@click.group(cls=Group, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.option("--version", is_flag=True, expose_value=False, is_eager=True, callback=_versions,
              help="Sig programmets, reglernes og bibliotekernes version.")  # fmt: skip
@click.pass_context
def main(context: click.Context) -> None:
    """Ydelsesrefusion: hvad hver kommune får tilbage fra staten for sine ydelser, måned for måned.

    Dataroden er REFUSION_DATA, reglerne REFUSION_REGLER; i en kopi af repositoriet ellers data/ og rules/.
    En måned skrives YYYY-MM, flere i træk YYYY-MM..YYYY-MM.
    """
    context.obj = context.with_resource(saying())


def run() -> None:
    """The command, with a reason to stop, known or not, as one line on standard error and exit code 1.

    A command that was written wrongly has exit code 2.
    """
    try:
        code = main(prog_name="refusion", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.ctx.get_help(), err=True)
        code = MISUSED
    except click.ClickException as error:
        for line in misused(error):
            click.echo(tinted(line, "stoppet" if line.startswith("FEJL") else ""), err=True)
        code = MISUSED
    except click.Abort:
        click.echo("Afbrudt.", err=True)
        code = STOPPED
    except Exception as error:  # noqa: BLE001  whatever it is, the operator gets one line
        click.echo(tinted(f"STOPPET: {_with_room(_reason(error))}", "stoppet"), err=True)
        code = STOPPED
    if code:
        sys.exit(code)


def _reason(error: Exception) -> str:
    """Why a command stops: the text of a reason that is known; of another only where it arose.

    The text of an error that nobody foresaw may hold a person's number.
    """
    from refusion_assets.place import unforeseen  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.rulebook.load import RuleError  # noqa: PLC0415  the same
    from refusion_assets.store.session import Locked  # noqa: PLC0415  the same

    if isinstance(error, (Stop, RuleError, Locked)):
        return str(error)
    if isinstance(error, OSError):
        return of_the_disk(error) or of_the_system(error)
    return of_the_disk(error) or unforeseen(error)


def _with_room(reason: str) -> str:
    """A reason to stop, with the data root and the room that is left on its disk where that is full."""
    if DISK_IS_FULL not in reason:
        return reason
    try:
        root = _here().root
        left = shutil.disk_usage(root).free
    except (OSError, Stop):
        return reason
    return f"{reason} (der er {left // 10**6} MB tilbage på disken med {root}, og en kvote kan være mindre)"


@contextmanager
def _telling(say: Say, months: Sequence[date], *, stille: bool, som_json: bool) -> Iterator[tuple[Say, Tell]]:
    """What a command of a month says lines with, and what it tells a statement with; JSON is told at the end.

    A month that stops is told in JSON too.
    """
    done: list[Oversigt] = []

    def tell(said: "Oversigt") -> None:
        done.append(said)
        room = max(ROOM, shutil.get_terminal_size().columns) if sys.stdout.isatty() else None
        lines = [said.first()] if stille else said.lines(room)
        for tone, line in [] if som_json else lines:
            say(tinted(line, tone))

    try:
        yield (lambda _: None) if stille or som_json else say, tell
    except Exception as error:
        from refusion_assets.domain.findings import statement  # noqa: PLC0415  Polars takes a while to load

        month = months[min(len(done), len(months) - 1)]
        notes = tuple(getattr(error, "__notes__", ())) if isinstance(error, Stop) else ()
        done.append(statement.Oversigt(f"{month:%Y-%m}", "stoppet", _reason(error), bemaerkninger=notes))
        raise
    finally:
        if som_json:
            click.echo(json.dumps({"koersler": [one.as_json() for one in done]}, ensure_ascii=False, indent=2))


@main.command()
@click.argument("maaneder", metavar="MÅNEDER", type=Months())
@click.option(
    "--accepter",
    multiple=True,
    metavar=IN_THE_WAY,
    help="Lad et stop passere: FIL-006:<kilde>-<enhed> (afsenderen mangler), REG-001:<filnavn> (færre borgere i "
    "bopælsregistret), EI-017:<filnavn>:<linje> (beløb over grænsen), EI-020:<filnavn>:<linje> (en borgers uge "
    "over grænsen), OPG-001:<kommunekode>:<ydelse> (en kommunes måned over grænsen). Kan gentages.",
)
@click.option(
    "--undtagen", type=Koder(), default=[], help="Kommuner, der holdes tilbage, fx 706,630; de får ingen filer."
)
@click.option("--begrundelse", default="", metavar="TEKST", help="Hvorfor stoppet må passere, eller kommunerne vente; "
              "gemmes og vises.")  # fmt: skip
@quiet
@as_json
@click.pass_obj
def koer(
    say: Say,
    maaneder: list[date],
    accepter: tuple[str, ...],
    undtagen: list[str],
    begrundelse: str,
    *,
    stille: bool,
    som_json: bool,
) -> None:
    """Kør den kritiske uge for en måned (eller flere i rækkefølge): fra rådata til kommunernes filer."""
    if begrundelse and not accepter and not undtagen:
        wrong("--begrundelse hører til --accepter eller --undtagen; der er intet at begrunde")
    from refusion_assets.runs.month import NobodyInOperation, critical_week  # noqa: PLC0415  Dagster takes seconds to load

    with _telling(say, maaneder, stille=stille, som_json=som_json) as (line, tell):
        if accepter and len(maaneder) > 1:
            raise Stop("--accepter gælder een måned; kør månederne hver for sig")
        place = _place()
        if undtagen and len(maaneder) > 1:
            raise Stop("kommuner holdes tilbage i en måned ad gangen; den næste kan først køres, når alle er opgjort")
        for month in each(line, maaneder):
            try:
                tell(critical_week(place, month, line, accepter, begrundelse, undtagen))
            except NobodyInOperation as reason:
                line(str(reason))


@main.command()
@click.argument("maaned", metavar="MÅNED", type=OneMonth())
@click.option("--kommuner", type=Koder(), required=True, help="Kommuner, der blev holdt tilbage, fx 706,630.")
@quiet
@as_json
@click.pass_obj
def opgoer(say: Say, maaned: list[date], kommuner: list[str], *, stille: bool, som_json: bool) -> None:
    """Opgør kommuner, der blev holdt tilbage i den sidste kørsel, og skriv deres filer."""
    from refusion_assets.runs.month import settle  # noqa: PLC0415  Dagster takes seconds to load

    with _telling(say, maaned, stille=stille, som_json=som_json) as (line, tell):
        tell(settle(_place(), maaned[0], kommuner, line))


@main.command()
@click.argument("maaned", metavar="MÅNED", type=Months(), required=False)
@click.option("--json", "som_json", is_flag=True, help="Tavlen som JSON.")
def status(maaned: list[date] | None, *, som_json: bool) -> None:
    """Sig, hvem der har leveret for en måned, og hvad der står af de sidste kørsler; ændrer intet.

    Hver fil prøves mod sit manifest. Uden MÅNED siges det for den måned, der skal køres.
    """
    from refusion_assets.domain.wording import visible, visible_json  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.operations import board  # noqa: PLC0415  the same

    place = _here().begun()
    for line in board.status_lines(place, maaned or [], som_json=som_json):
        click.echo(visible_json(line) if som_json else visible(line, lines=True))


@main.command()
@click.argument("maaned", metavar="MÅNED", type=OneMonth())
@click.option("--ja", is_flag=True, help="Luk uden at spørge; i et script spørges der ikke.")
def luk(maaned: list[date], *, ja: bool) -> None:
    """Luk en kørsel: den kan ikke længere ændres. Siger først, hvad der lukkes, og spørger."""
    from refusion_assets.runs.month import close_run, to_be_closed  # noqa: PLC0415  Dagster takes seconds to load

    place = _place()
    for line in to_be_closed(place, maaned[0]):
        click.echo(line)
    # A script has nobody to ask: there the command itself is the answer, as the contract has it.
    if (
        not ja
        and sys.stdin is not None
        and sys.stdin.isatty()
        and click.prompt("Luk den (ja/nej)", default="nej").strip().lower() not in ("ja", "j")
    ):
        click.echo("Intet er ændret.")
        return
    told = close_run(place, maaned[0])
    click.echo(f"Kørsel {maaned[0]:%Y-%m} er lukket. Skriv ned et andet sted: {told}")


@main.command()
@click.argument("maaneder", metavar="MÅNEDER", type=Months(), required=False)
@click.pass_obj
def genberegn(say: Say, maaneder: list[date] | None) -> None:
    """Genberegn ydelsesmåneder efter en regelændring uden at opgøre; viser forskellen for hver kommune.

    Uden MÅNEDER genberegnes netop de måneder, som reglerne har gjort forældede.
    """
    from refusion_assets.runs.month import recalculate  # noqa: PLC0415  Dagster takes seconds to load

    for line in recalculate(_place(), maaneder, say):
        say(line)


@main.command()
@click.argument("maaned", metavar="MÅNED", type=Months())
@click.option("--til", type=Mappe(), help="En tom mappe; ellers genskabt/<måned> i dataroden.")
@click.pass_obj
def genskab(say: Say, maaned: list[date], til: Path | None) -> None:
    """Genskab filerne fra en kørsel af rådata og de regler, den kendte, og sammenlign med det, der blev sendt."""
    from refusion_assets.runs.recreate import recreate  # noqa: PLC0415  Dagster takes seconds to load

    place = _here().begun()
    for month in maaned:
        for line in recreate(place, month, til, say):
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
@click.argument("hvem", nargs=-1, metavar="ÅÅÅÅ-MM")
@click.option("--cpr", metavar="-", help="Med - læses personnummeret fra standard input; ellers bliver der spurgt.")
@click.option("--formaal", metavar="TEKST", help="Hvad opslaget er til; det gemmes. Udelades det, bliver der spurgt.")
@click.option("--alt", is_flag=True, help="Det hele, uge for uge; ellers svaret i fem linjer.")
@click.option("--json", "som_json", is_flag=True, help="Svaret som JSON; nøglerne står i docs/forklar.md.")
@click.option("--pakke", type=click.Path(path_type=Path), metavar="FIL", help="Slå op i en kommunes pakke, "
              "eller i mappen den er pakket ud i; dataroden bruges ikke.")  # fmt: skip
@click.option("--log", type=Mappe(), help="Hvor opslag i en pakke gemmes; ellers i mappen opslag ved siden af pakken.")
def forklar(
    hvem: tuple[str, ...],
    cpr: str | None,
    formaal: str | None,
    pakke: Path | None,
    log: Path | None,
    *,
    alt: bool,
    som_json: bool,
) -> None:
    """Forklar en borgers ydelsesmåned i fem linjer, eller med --alt uge for uge.

    Der spørges efter personnummeret, uden at det vises. Hvert opslag gemmes i opslag/opslag.jsonl.
    """
    from refusion_assets.look_up import explanation, inquiry  # noqa: PLC0415  only this command needs it

    if log and not pakke:
        wrong("--log hører til --pakke; ellers gemmes opslag i dataroden")
    if cpr not in (None, "-"):
        wrong("personnummeret skal ikke stå i kommandoen; skriv --cpr - og send det ind på standard input")
    typed = len(hvem) > 1
    if typed and cpr:
        wrong("--cpr - læser nummeret fra standard input, så det skal ikke også stå i kommandoen")
    if typed:
        setproctitle.setproctitle("refusion forklar")
    asked = inquiry.inquiry_of(hvem, formaal, _purpose, sys.stdin.readline if cpr else _number)
    if pakke:
        click.echo(explanation.in_package(pakke, asked, log, sending.ask_key, som_json=som_json, alt=alt), nl=False)
    else:
        click.echo(explanation.explanation(_here(), asked, som_json=som_json, alt=alt), nl=False)
    if typed:
        click.echo(SEEN, err=True)


def _number() -> str:
    """The personal number as the user types it, unseen; nothing where nobody can answer."""
    try:
        return str(click.prompt("Personnummer", default="", show_default=False, hide_input=True, err=True))
    except click.Abort:
        return ""


def _purpose() -> str:
    """What the user answers to what a look-up is for; nothing where nobody can answer."""
    try:
        return str(click.prompt("Hvad er opslaget til", default="", show_default=False, err=True))
    except click.Abort:
        return ""


@main.command()
@click.argument("maaneder", metavar="MÅNEDER", type=Months())
@click.option("--regler", type=Mappe(), required=True, help="Forslaget: en hel mappe med regler.")
@click.option("--til", type=Mappe(), help="Hvor filerne lægges; ellers konsekvens/ i dataroden.")
@click.pass_obj
def konsekvens(say: Say, maaneder: list[date], regler: Path, til: Path | None) -> None:
    """Anslå, hvad et forslag til regler ville betyde for nogle ydelsesmåneder, uden at afregne noget."""
    from refusion_assets.runs.month import consequence  # noqa: PLC0415  Dagster takes seconds to load

    for line in consequence(_place(), regler, maaneder, til, say):
        say(line)


@main.command()
@click.option("--stoerrelse", type=Valg(["mini", "midi", "fuld"]), default="mini", show_default=True)
@click.option("--maaneder", type=Months(), default="2024-11..2026-10", show_default=True)
@click.option("--seed", type=Tal(), default=1, show_default=True)
@click.option("--historik", type=Tal(), help="Måneder før den første, som ni af ti borgere har; ellers alt siden 2014.")
@click.option("--form", type=Valg(["csv", "fast"]), default="csv", show_default=True, help="Indberetningernes form.")
@click.pass_obj
def eksempel(
    say: Say,
    stoerrelse: Literal["mini", "midi", "fuld"],
    maaneder: list[date],
    seed: int,
    historik: int | None,
    form: Literal["csv", "fast"],
) -> None:
    """Skriv en datarod med opdigtede borgere (dag + 60), som kan køres fra første til sidste måned."""
    from refusion_assets.domain.wording import plural  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.example.write import tables, write_example  # noqa: PLC0415  only this command needs it
    from refusion_assets.place import DATA  # noqa: PLC0415  as above

    place = _here()
    if place.root.exists() and not place.root.is_dir():
        raise Stop(f"dataroden {place.root} er en fil og ikke en mappe; ret {DATA}")
    if place.raw.exists() and any(place.raw.iterdir()):
        raise Stop(f"{place.root} har allerede rådata; vælg en tom datarod med REFUSION_DATA")
    konti, kommuner = tables(place.rules)
    done = write_example(place.root, konti, kommuner, stoerrelse, maaneder[0], maaneder[-1], seed, say, historik, form)
    say(
        f"{plural(done.borgere, 'borger', 'borgere')}, {plural(done.kommuner, 'kommune', 'kommuner')}, "
        f"{plural(done.filer, 'fil', 'filer')}, {plural(done.raekker, 'linje', 'linjer')} i {place.raw}"
    )


@main.command()
@click.option("--port", type=Tal(), default=3000, show_default=True)
@click.option("--ny-bruger", metavar="NAVN", help="Opret en bruger, eller giv en ny rolle og adgangskode; der spørges.")
@click.option("--rolle", type=Valg(["laeser", "drift"]), help="Med --ny-bruger: laeser ser alt, drift kan også køre.")
@click.option("--workspace", type=Fil(), help="Kun brugerfladen; filen nævner kodeserveren, og dæmonen er sin egen.")
def ui(port: int, ny_bruger: str | None, rolle: str | None, workspace: Path | None) -> None:
    """Start Dagsters brugerflade på 127.0.0.1, bag et login, eller opret en bruger til den."""
    from refusion_assets.door import users  # noqa: PLC0415  only this command needs it

    if (ny_bruger is None) != (rolle is None):
        wrong("--ny-bruger NAVN og --rolle hører sammen")
    if ny_bruger is not None and rolle is not None:
        new = users.add(_here().begun().root, ny_bruger, rolle, sending.ask_new_password())
        click.echo(f"{ny_bruger} er {'oprettet' if new else 'ændret'} med rollen {rolle}.")
        return
    from refusion_assets.assets.gate import POOL  # noqa: PLC0415  as above
    from refusion_assets.door.serve import serve  # noqa: PLC0415  Dagster takes a while to load
    from refusion_assets.place import PACKAGE  # noqa: PLC0415  as above
    from refusion_assets.store import events, processes  # noqa: PLC0415  as above

    place = _place()
    home = Path(os.environ["DAGSTER_HOME"])
    with events.readable(home), events.instance(home) as instance:
        processes.living_runs(instance, place.root, POOL, click.echo)
    for name in ("REFUSION_UI", "REFUSION_UI_LOKAL"):
        os.environ.setdefault(name, f"http://127.0.0.1:{port}")
    ours = home / "workspace.yaml"
    services = workspace.resolve() if workspace else None
    if services is None:
        shutil.copyfile(PACKAGE / ours.name, ours)
    os.chdir(home)
    serve(place.root, home, port, services or ours, click.echo, alone=services is not None)


@main.command()
@click.option("--proev", is_flag=True, help="Send en prøve til hver modtager, og sig, om den kom igennem.")
def alarm(*, proev: bool) -> None:
    """Sig, hvem der får besked, når noget går galt, og om hvad; efter alarm.toml i dataroden."""
    from refusion_assets.operations import receivers  # noqa: PLC0415  only this command needs it

    root = _here().root
    lines, failed = receivers.tried(root) if proev else receivers.listed(root)
    for line in lines:
        click.echo(line)
    if failed:
        raise Stop(f"{failed} af modtagerne i {receivers.file_of(root)} kan ikke få besked")


@main.command()
@click.option("--sider", type=Mappe(), help="Skriv lovsiderne i mappen.")
@click.option("--skema", type=Mappe(), help="Skriv TOML-filernes skema i mappen.")
def regler(sider: Path | None, skema: Path | None) -> None:
    """Prøv reglerne: huller, overlap, manglende hjemmel. Siger reglernes version, og hvad de rammer i dataroden."""
    from refusion_assets.assets.stale import touched_in_words  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.domain.wording import plural  # noqa: PLC0415  as above
    from refusion_assets.rulebook.improbable import doubts  # noqa: PLC0415  as above
    from refusion_assets.rulebook.load import prove_aside  # noqa: PLC0415  as above

    place = _here()
    rules = place.rules
    prove_aside(place.rules_folder, rules)
    if sider:
        from refusion_assets.law_pages.page import write  # noqa: PLC0415  only this option needs it
        from refusion_assets.report.catalogue import freshen  # noqa: PLC0415  the same

        click.echo(f"{plural(len(write(place.rules_folder, sider)), 'side', 'sider')} i {sider}")
        if freshen(sider.parent / "opfoelgning.md"):
            click.echo(f"Kolonnerne i {sider.parent / 'opfoelgning.md'} er skrevet om.")
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


def _here() -> "Place":
    """The place that the environment names."""
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load

    return Place.from_environment()


def _place() -> "Place":
    """The place of a command that writes, with Dagster's home made ready in it."""
    from refusion_assets.place import at_work  # noqa: PLC0415  Polars takes a while to load

    return at_work()


for command in (*keeping.COMMANDS, *sending.COMMANDS, *shared.COMMANDS):
    main.add_command(command)
