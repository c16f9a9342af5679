"""Makes the package of one municipality and run: its files, guide, follow-up, rules, and copy, sealed in one file."""

import fcntl
import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path

from refusion_assets.domain.opgoerelse.ledger import run_day, run_number
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop
from refusion_assets.files.delivered import fingerprint
from refusion_assets.files.outgoing import (
    ADVIS,
    ADVISERING,
    BEREGNING,
    BEREGNINGSFIL,
    BOGFOERING,
    INSIGHT,
    OPGOERELSE,
    OPGOERELSESFIL,
    SUMS,
    copied,
)
from refusion_assets.levering.sealed import Recipient, is_sealed, seal
from refusion_assets.look_up.trace import LOG, log
from refusion_assets.place import FORMS, Place, archive, kept, program
from refusion_assets.report.catalogue import package_guide
from refusion_assets.report.write import INSIGHT_COLUMNS
from refusion_assets.runs.extract import CONTENT, extract
from refusion_assets.store.session import Session, Warehouse

FILES = {
    BEREGNINGSFIL: BEREGNING,
    ADVISERING: ADVIS,
    OPGOERELSESFIL: OPGOERELSE,
    INSIGHT: INSIGHT_COLUMNS,
}
README, GUIDE, OF_THE_RUN = "LAES-MIG.txt", "KOLONNER.md", "filer"
RECEIVERS = "levering.toml"  # no part of the version of the rules, and no business of the others
HIDDEN = ".yr-pakke-*.klar"
TEXT = """Pakke til {navn} ({kode}) fra kørsel {koersel} ({maaned:%Y-%m})

I pakken ligger
  filer/      kommunens filer af kørslen, byte for byte som de blev sendt, og opfølgningen, hvis den er lavet
  udgivet/    en DuckDB med kommunens egne borgere: uger, rækker, kladde, linjer, krav og fund
  regler/     de regler, kørslerne regnede efter
  KOLONNER.md hvad hver kolonne i filerne og tabellerne betyder, og dens enhed
  SHA256SUMS  kendetegnet af hver fil i pakken

Sådan bruges den
  refusion forklar CPR ÅÅÅÅ-MM --pakke {fil}
  refusion pakud {fil} --til MAPPE
  Nøglen nævnes i REFUSION_PAKKE_NOEGLE, en fil, som kun du kan læse; ellers bliver der spurgt. Uden programmet åbnes
  filen med age -d og pakkes ud med tar.

Pakken viser, hvad kørsel {koersel} vidste. Den har {borgere} borgere: dem, kommunen har rækker, poster eller fund om.
Om andre kommuner står der kun, hvilke uger der er talt; beløb, ydelser, navne og id'er er udeladt. docs/pakke.md siger
mere.

Kørsel       {koersel} ({maaned:%Y-%m})
Regelversion {regler}
Program      {program}
Tabellernes indhold (sha256 af alle tabellers rækker; DuckDB-filen selv kan have andre byte, når den laves igen):
  {indhold}
"""


def package_name(kode: str, month: date, place: Place) -> str:
    """The name of a municipality's package of a run; its date is the run day of the month after."""
    return f"yr-pakke-{kode}-{run_number(month, place.rules):04d}-{run_day(month, place.rules)}.tar.age"


def package(place: Place, month: date, kode: str, target: Path, recipient: Recipient) -> Path:
    """The sealed package of a municipality and run in the folder `target`; it takes the place of the one before.

    Stop if the run is not the last one, is not shown, or has not settled the municipality; nothing is left behind.
    """
    then = _last_run(place, month, kode)
    path = target / package_name(kode, month, then)
    if path.exists() and not is_sealed(path):
        raise Stop(f"{path} findes og er ingen pakke; flyt den, eller vælg en anden mappe med --til")
    for taken in (place.raw, place.outgoing):
        if target.resolve().is_relative_to(taken.resolve()):
            raise Stop(f"{target} ligger i {taken.name}; vælg en anden mappe med --til")
    target.mkdir(parents=True, exist_ok=True)
    with _hidden(target, path.name) as ready:
        inside = ready / "pakke"
        hashes = extract(then, kode, Warehouse(inside))
        _rules(then, inside)
        copied(then, month, [kode], ready)[kode].rename(inside / OF_THE_RUN)
        (inside / GUIDE).write_text(package_guide(columns_of(then.rules), list(hashes)), encoding="utf-8")
        (inside / README).write_text(_readme(then, month, kode, path.name, inside, hashes), encoding="utf-8")
        names = sorted(str(found.relative_to(inside)) for found in inside.rglob("*") if found.is_file())
        sums = "".join(f"{fingerprint(inside / name)}  {name}\n" for name in names)
        (inside / SUMS).write_text(sums, encoding="utf-8")
        plain = ready / "pakke.tar"
        _tar(inside, [*names, SUMS], plain, run_day(month, then.rules))
        # The trace comes first: a package that nobody is known to have made must not lie there.
        log(place.root / LOG, "udlever", kommunekode=kode, maaned=f"{month:%Y-%m}", pakke=path.name)
        seal(plain, path, recipient)
    return path


def _last_run(place: Place, month: date, kode: str) -> Place:
    """The place under the rules of run `month`; Stop if a package of it cannot be made now."""
    if kode not in place.rules.koder:
        raise Stop(f"{kode} er ingen kommune i reglerne; skriv en kode som 630")
    with place.warehouse.reading() as session:
        _of_this_program(session)
        run = session.frame("SELECT koersel, regelversion, filsum FROM opgoerelse.koersel WHERE maaned = $m", m=month)
        last, version = session.frame("SELECT maaned, regelversion FROM refusion.beregnet").row(0)
        settled = session.frame("SELECT koersel, kommunekode FROM opgoerelse.kommune").rows()
    if run.is_empty():
        raise Stop(f"{month:%Y-%m} er ikke opgjort; kør måneden først")
    if (last, version) != (month, run["regelversion"][0]):
        raise Stop(
            f"pakken viser, hvad den sidste beregning ved ({last:%Y-%m}, regler {version[:12]}); en pakke for "
            f"{month:%Y-%m} laves kun, mens {month:%Y-%m} er den sidste kørsel"
        )
    if (run["koersel"][0], kode) not in settled:
        raise Stop(
            f"{kode} er ikke opgjort i {month:%Y-%m}; opgør den først: refusion opgoer {month:%Y-%m} --kommuner {kode}"
        )
    sums = place.outgoing / f"{month:%Y-%m}" / SUMS
    if not sums.exists() or fingerprint(sums) != run["filsum"][0]:
        raise Stop(f"filerne for {month:%Y-%m} er ikke dem, kørslen viste; kør måneden igen, eller genskab dem")
    same = version == place.rules.version
    return place if same else Place(place.root, kept(place, version), kept=True)


def _of_this_program(session: Session) -> None:
    """Stop if the published copy has other tables than this program's."""
    session.refuse_other_columns()
    if not all(map(session.has, CONTENT)):
        raise Stop("kopien i udgivet er lavet af en tidligere udgave af programmet; kør den sidste måned igen")


@contextmanager
def _hidden(target: Path, name: str) -> Iterator[Path]:
    """A hidden folder in `target` that only this user can read, gone after the block; left ones are taken away first.

    A folder that a living process builds in is locked.
    """
    for left in target.glob(HIDDEN):
        with _locked(left) as free:
            if free:
                shutil.rmtree(left, ignore_errors=True)
    ready = target / f".{name}.klar"
    try:
        ready.mkdir(mode=0o700)
    except FileExistsError:
        raise Stop(f"{name} er ved at blive lavet af en anden; vent, og kør igen") from None
    with _locked(ready):
        try:
            yield ready
        finally:
            shutil.rmtree(ready, ignore_errors=True)


@contextmanager
def _locked(folder: Path) -> Iterator[bool]:
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(opened)


def _rules(place: Place, inside: Path) -> None:
    """The rules of the runs that the copy knows, each under its hash."""
    with Warehouse(inside).reading() as session:
        versions = {*session.frame("SELECT DISTINCT regelversion FROM opgoerelse.koersel")["regelversion"]}
    for version in sorted(versions):
        source = archive(place) / version
        if version == place.rules.version and not source.exists():
            source = place.rules_folder
        if source.exists():
            folder = inside / archive(place).name / version
            folder.mkdir(parents=True)
            for path in sorted(path for form in FORMS for path in source.glob(form)):
                if path.name != RECEIVERS:
                    shutil.copyfile(path, folder / path.name)


def columns_of(rules: Rulebook) -> dict[str, Sequence[str]]:
    """The columns of each kind of file that every municipality gets, by kind; a form of its own is its own matter."""
    form = rules.bilagsform(BOGFOERING)
    return {**FILES, BOGFOERING: [kolonne.navn for kolonne in form.kolonner] if form else []}


def _readme(place: Place, month: date, kode: str, name: str, inside: Path, hashes: Mapping[str, str]) -> str:
    with Warehouse(inside).reading() as session:
        borgere = session.count("identitet.borger")
    content = "".join(f"{table} {summed}\n" for table, summed in sorted(hashes.items()))
    return TEXT.format(
        navn=place.rules.kommunenavne[kode], kode=kode, koersel=run_number(month, place.rules), maaned=month, fil=name,
        borgere=borgere, regler=place.rules.version, program=program(),
        indhold=hashlib.sha256(content.encode()).hexdigest(),
    )  # fmt: skip


def _tar(folder: Path, names: list[str], plain: Path, day: date) -> None:
    """The files as a tar that is the same whenever it is made: sorted, of the run day, nobody's."""
    moment = int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
    with tarfile.open(plain, "w", format=tarfile.PAX_FORMAT) as tar:
        for name in sorted(names):
            info = tarfile.TarInfo(name)
            info.size, info.mtime, info.mode = (folder / name).stat().st_size, moment, 0o600
            with (folder / name).open("rb") as file:
                tar.addfile(info, file)
