"""Understands the commands for one municipality's own: what it can follow up, book, fetch and explain.

Everything that takes long to load is imported where it is used, as in `cli`.
"""

import sys
from datetime import date
from pathlib import Path

import click

from refusion_assets.domain.stop import Stop
from refusion_assets.progress import Say
from refusion_assets.usage import Command, Fil, Koder, Mappe, Months, OneMonth, wrong


@click.command(cls=Command)
@click.argument("maaned", metavar="MÅNED", type=OneMonth())
@click.option("--bogfoert", type=Fil(), required=True, help="Filen med det, økonomisystemet har bogført.")
@click.option("--kommune", type=Koder(), default=[], help="Kommunens kode, hvis filen ikke nævner bilagsnr, fx 630.")
@click.pass_obj
def afstem(say: Say, maaned: list[date], bogfoert: Path, kommune: list[str]) -> None:
    """Hold det, en kommune har bogført, op mod det, der er opgjort, linje for linje; slutkode 1 ved en forskel."""
    from refusion_assets.domain.opgoerelse.booked import told  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.files.booked import reconcile  # noqa: PLC0415  as above
    from refusion_assets.place import Place  # noqa: PLC0415  as above

    if len(kommune) > 1:
        wrong("een kommunes fil ad gangen; skriv een kode med --kommune")
    result, bilagsnr = reconcile(Place.from_environment(), maaned[0], bogfoert, "".join(kommune))
    for line in told(result, bogfoert.name, bilagsnr):
        say(line)
    if result.forskelle:
        click.get_current_context().exit(1)


@click.command(cls=Command)
@click.argument("maaned", metavar="MÅNED", type=OneMonth(), required=False)
@click.pass_obj
def kvitteringer(say: Say, maaned: list[date] | None) -> None:
    """Læs kvitteringerne for det, der er sendt, og sig for hver kommune, hvad der mangler, og siden hvornår."""
    from refusion_assets.place import at_work  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.month import receive_receipts  # noqa: PLC0415  Dagster takes seconds to load

    receive_receipts(at_work(), maaned[0] if maaned else None, say)


@click.command(cls=Command)
@click.argument("maaned", metavar="MÅNED", type=OneMonth())
@click.option("--kommune", type=Koder(), default=[], help="Kun disse kommuner, fx 730,706; ellers alle modtagere.")
@click.option(
    "--proev", is_flag=True, help="Sig, hvad der ville blive sendt hvorhen, og prøv forbindelsen; send intet."
)
@click.option("--igen", is_flag=True, help="Send også det igen, som kom tilbage afvist.")
@click.option("--til", type=Mappe(), help="Send intet; læg hver kommunes filer i sin egen mappe med SHA256SUMS.")
@click.option("--bom", is_flag=True, help="Med --til: et BOM-mærke forrest i CSV-filerne, så Excel læser æ, ø og å.")
@click.pass_obj
def lever(
    say: Say, maaned: list[date], kommune: list[str], til: Path | None, *, proev: bool, igen: bool, bom: bool
) -> None:
    """Send en vist måneds filer til de modtagere, levering.toml nævner; hver fil een gang."""
    from refusion_assets.place import at_work  # noqa: PLC0415  Polars takes a while to load

    if bom and not til:
        wrong("--bom hører til --til: det, der sendes, er kørslens egne filer byte for byte")
    if til:
        from refusion_assets.files.outgoing import copied  # noqa: PLC0415  Polars takes a while to load
        from refusion_assets.place import Place  # noqa: PLC0415  as above

        if proev or igen:
            wrong("--til sender intet, så --proev og --igen gør ingen forskel")
        place = Place.from_environment().begun()
        for kode, folder in copied(place, maaned[0], kommune, til, bom=bom).items():
            say(f"{kode} {place.rules.kommunenavne.get(kode, '')}: {folder}")
        return
    if proev and igen:
        wrong("--proev sender intet, så --igen gør ingen forskel")
    if proev:
        from refusion_assets.assets.levering.shipments import tried  # noqa: PLC0415  Dagster takes a while to load
        from refusion_assets.place import Place  # noqa: PLC0415  as above

        told = tried(Place.from_environment().begun(), maaned[0], kommune)
        for line in (*told.lines, *told.faults):
            say(line)
        if told.faults:
            raise Stop(f"{len(told.faults)} ting er i vejen for en levering; docs/levering.md siger, hvad der gøres")
        return
    from refusion_assets.runs.month import deliver  # noqa: PLC0415  Dagster takes seconds to load

    deliver(at_work(), maaned[0], kommune, say, igen=igen)


@click.command(cls=Command)
@click.argument("maaned", metavar="MÅNED", type=OneMonth())
@click.option("--kommune", type=Koder(), default=[], help="Sig kun en kommunes side, fx 630; ellers hele landets.")
@click.option("--aabn", is_flag=True, help="Åbn siden i browseren.")
@click.pass_obj
def opfoelgning(say: Say, maaned: list[date], kommune: list[str], *, aabn: bool) -> None:
    """Lav opfølgningen for en opgjort måned: tabeller, og en side og et regneark til hver kommune."""
    from refusion_assets.place import at_work  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.month import follow_up  # noqa: PLC0415  Dagster takes seconds to load

    place = at_work()
    known = {*place.rules.koder, "000"}
    if strange := [kode for kode in kommune if kode not in known]:
        wrong(f"{', '.join(strange)} er ingen kommune; skriv koder som 630, eller 000 for hele landet")
    folder = follow_up(place, maaned[0], say)
    pages = [page for kode in kommune or ["000"] for page in sorted(folder.glob(f"*-opfoelgning-{kode}-*.html"))]
    if not pages:
        say(f"Ingen side: {', '.join(kommune)} er ikke opgjort i {maaned[0]:%Y-%m}.")
    for page in pages:
        say(f"Siden: {page}")
        if aabn:
            click.launch(str(page))


def ask_new_password() -> str:
    """A new password as the user types it twice, unseen, or as a script writes it: one line. Stop if they differ."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    first, second = (
        str(click.prompt(text, default="", show_default=False, hide_input=True, err=True))
        for text in ("Adgangskode", "Skriv den igen")
    )
    if first != second:
        raise Stop("de to adgangskoder er ikke ens; intet er ændret")
    return first


def ask_key(what: str = "Nøglen til pakken") -> str:
    """The key of a package, or of something else, as the user types it, unseen; nothing where nobody can answer."""
    try:
        return str(click.prompt(what, default="", show_default=False, hide_input=True, err=True))
    except click.Abort:
        return ""


@click.command(cls=Command)
@click.argument("fil", metavar="FIL", type=click.Path(path_type=Path))
@click.option("--til", type=Mappe(), required=True, help="En tom mappe, som kun du kan læse.")
def pakud(fil: Path, til: Path) -> None:
    """Pak en kommunes pakke ud. Nøglen nævnes i REFUSION_PAKKE_NOEGLE; ellers bliver der spurgt."""
    from refusion_assets.levering.sealed import unpack  # noqa: PLC0415  only this command needs it

    names = unpack(fil, til, ask_key)
    click.echo(f"{len(names)} filer i {til}; begynd med LAES-MIG.txt")


@click.command(cls=Command)
@click.argument("kommune", metavar="KOMMUNE", type=Koder())
@click.argument("maaned", metavar="MÅNED", type=OneMonth())
@click.option("--til", type=Mappe(), required=True, help="Mappen, pakken lægges i.")
@click.option("--modtager", metavar="NØGLE", help="Modtagerens offentlige nøgle (age1..., ssh-ed25519, ssh-rsa), eller "
              "en fil med den; ellers REFUSION_PAKKE_MODTAGER.")  # fmt: skip
def udlever(kommune: list[str], maaned: list[date], til: Path, modtager: str | None) -> None:
    """Lav en kommunes krypterede pakke af den sidste kørsel: dens filer, kolonneguide og egne borgere.

    Uden offentlig nøgle bruges adgangssætningen i filen REFUSION_PAKKE_NOEGLE. Uden den laves en ny, som kun står her.
    """
    from refusion_assets.levering.sealed import recipient  # noqa: PLC0415  only this command needs it
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.runs.package import package  # noqa: PLC0415  the same

    place = Place.from_environment()
    for kode in kommune:
        to = recipient(modtager, til, place.root)
        click.echo(f"Pakken: {package(place, maaned[0], kode, til, to)}")
        if to.made:
            click.echo(f"Nøglen til pakken står kun her og gemmes ikke: {to.passphrase}")


@click.command(cls=Command)
@click.argument("maaneder", metavar="MÅNEDER", type=Months(), required=False)
@click.option("--kvittering", is_flag=True, help="Skriv logbogens hoved, så det kan gemmes på papir.")
@click.option("--mod", metavar="LINJER:HOVED", help="Hold loggen op mod en kvittering.")
@click.option("--log", type=Mappe(), help="Mappen med loggen over opslag i en pakke; ellers datarodens.")
def opslag(maaneder: list[date] | None, mod: str | None, log: Path | None, *, kvittering: bool) -> None:
    """Sig, om loggen over opslag er hel, og vis opslagene i nogle måneder; aldrig et personnummer.

    Slutkode 1, hvis en linje eller hele loggen er ændret eller slettet.
    """
    from refusion_assets.look_up import trace  # noqa: PLC0415  only this command needs it
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load

    place = None if log else Place.from_environment().begun()
    path = log / trace.LOG.name if log else Place.from_environment().root / trace.LOG
    recorded = [*(trace.kept_heads(place) if place else ()), *([trace.receipt(mod)] if mod else ())]
    chain = trace.verify(path)
    for line in trace.within(chain, maaneder or []):
        click.echo(line)
    click.echo(f"{path}: {chain.linjer} linjer, hoved {chain.linjer}:{chain.hoved}")
    if chain.afbrudte:
        click.echo(f"{chain.afbrudte} af linjerne er skåret over af et nedbrud; de er med i kæden.")
    if kvittering:
        for line in trace.on_paper(path, chain):
            click.echo(line)
    if found := trace.faults(path, recorded, chain=chain):
        raise Stop("; ".join(found))
    click.echo("Kæden holder.")


@click.command(cls=Command)
def krypter() -> None:
    """Krypter lageret, der ligger ukrypteret, med nøglen i REFUSION_NOEGLE_FIL, og lav kopien i udgivet igen."""
    from refusion_assets.place import Place  # noqa: PLC0415  Polars takes a while to load
    from refusion_assets.store.publish import publish  # noqa: PLC0415  the same

    place = Place.from_environment().begun()
    if not place.warehouse.path.exists():
        raise Stop(f"der er intet lager i {place.root} at kryptere; det bliver krypteret fra den første kørsel")
    place.warehouse.encrypt()
    publish(place.warehouse)
    click.echo(f"{place.warehouse.path} er krypteret. Gem nøglen et andet sted også: uden den kan intet læses.")


COMMANDS = (afstem, krypter, kvitteringer, lever, opfoelgning, opslag, pakud, udlever)
