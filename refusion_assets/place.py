"""Understands where a run works: the data root, the rules folder, and the warehouse between them."""

import errno
import fcntl
import hashlib
import os
import re
import secrets
import shlex
import shutil
import stat
import sys
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import date
from functools import cache, cached_property
from pathlib import Path

import polars as pl

from refusion_assets.domain.classified import AS_WRITTEN, may_name_a_person
from refusion_assets.domain.rules.change import Topics
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop, of_a_library
from refusion_assets.domain.wording import CODE_FORM
from refusion_assets.rulebook.load import ASIDE, RuleError, load, read_topics
from refusion_assets.store import durable
from refusion_assets.store.key import key_of
from refusion_assets.store.session import WAREHOUSE, Session, Warehouse

PACKAGE = Path(__file__).resolve().parent
REPOSITORY = PACKAGE.parent
DATA, REGLER = "REFUSION_DATA", "REFUSION_REGLER"
BEGIN = "Begynd med at lægge leverancer i mappen raw, eller skriv opdigtede med refusion eksempel"
# The folder of a restore that has not come to its end.
RESTORING = ".genopret"
UNENCRYPTED = (
    "ADVARSEL: lageret bliver ikke krypteret; nævn en nøgle i REFUSION_NOEGLE_FIL, eller krypter disken (docs/drift.md)"
)
# DuckDB and Dagster's storage read these as something else than a part of a name; the rest is what no name should hold.
ODD = re.compile(r"[?*\[\]%\x00-\x1f\x7f-\x9f\ud800-\udfff]")
# SQLite opens no file with a path of more than 512 bytes, and Dagster adds names of its own below the home.
LONGEST = 400
# The dagster.yaml of earlier versions of the program: where nobody has changed it, it is replaced by the newest.
FORMER_SETTINGS = {
    "2ac21fccf39b4cfefe236c1b57b45881700c9baf96e35ff00b5bfd65bb5b9e42",
    "acfd626ff3b0fded204d5c6e7660b85dac4e26884fce8e7728ab41eb1a9283d8",
}


def unforeseen(error: Exception) -> str:
    """The text of an unforeseen error: the system's refusal that it tells of, else only its place.

    Its own text may hold a person's number.
    """
    if refused := of_a_library(error):
        return refused
    where = traceback.extract_tb(error.__traceback__)[-1]
    said = f"{type(error).__name__} i {Path(where.filename).name}:{where.lineno}"
    return f"uventet fejl, {said}; er der plads på disken, så meld den til systemets ejere"


@cache
def program() -> str:
    """The sha256 of the program that runs, over all its files."""
    every = sorted(path for path in PACKAGE.rglob("*") if path.suffix in {".py", ".sql", ".toml"})
    return hashlib.sha256(b"".join(path.read_bytes() for path in every)).hexdigest()


def _named(variable: str, default: str) -> Path:
    """The folder that a variable names, or the one of the checkout; Stop if there is none."""
    said = os.environ.get(variable)
    if said is None:
        if (REPOSITORY / "pyproject.toml").exists():
            return (REPOSITORY / default).resolve()
        what = "dataroden" if variable == DATA else "mappen med reglerne"
        raise Stop(f"{variable} er ikke sat; sæt den til {what}, fx export {variable}=/srv/refusion/{default}")
    if not said.strip():
        raise Stop(f"{variable} er sat, men tom; sæt den til en mappe, eller fjern den")
    try:
        return Path(said).expanduser().resolve()
    except (OSError, RuntimeError):
        raise Stop(f"{variable} er ikke en mappe, der kan findes: {said!r}") from None


def fit(folder: Path, variable: str) -> None:
    """Stop if a folder cannot hold what DuckDB and Dagster keep, by the characters or the length of its path."""
    odd = ODD.search(str(folder))
    if odd:
        raise Stop(f"{variable} har tegnet {odd[0]!a} i stien {str(folder)!a}; flyt den til en sti uden tegnet")
    if len(os.fsencode(folder)) > LONGEST:
        raise Stop(f"{variable} har en sti på mere end {LONGEST} byte; flyt den til en kortere sti")


# The folders that the program writes in below the data root, and the files it opens there by name.
FOLDERS = (
    "lager",
    "udgivet",
    "udgaaende",
    "oversigt",
    "dagster",
    "regler",
    "opslag",
    "tavle",
    "konsekvens",
    "genskabt",
    "faelles",
    "udrulning",
)
OF_OURS = (".duckdb", ".wal", ".laas", ".jsonl", ".json", ".yaml", ".toml")
STRANGE = {
    stat.S_IFIFO: "et rør (FIFO)",
    stat.S_IFSOCK: "en sokkel",
    stat.S_IFCHR: "en enhed",
    stat.S_IFBLK: "en enhed",
}


def refuse_odd(root: Path) -> None:
    """Stop that names the first thing in a data root that is in the way of our own files and folders.

    A pipe, a socket, a device, a link to nothing or to itself, a file for a folder, a folder for a file. To open a pipe
    would wait for ever, so nothing is opened here. Looks no deeper than the folders that the program makes itself.
    """
    expected: list[tuple[Path, bool | None]] = [(root / name, True) for name in FOLDERS]
    expected.append((root / "alarm.toml", False))
    for name in FOLDERS:
        folder = root / name
        if folder.is_dir() and name != "dagster":
            expected += [(path, False if path.name.endswith(OF_OURS) else None) for path in sorted(folder.iterdir())]
            # A month's files are listed in one that every command reads.
            expected += [(path / "SHA256SUMS", False) for path in sorted(folder.iterdir()) if path.is_dir()]
    for path, folder_wanted in expected:
        if odd := _odd(path, folder=folder_wanted):
            raise Stop(f"{path} {odd}; flyt det væk, og kør igen")


def _odd(path: Path, *, folder: bool | None) -> str:
    """Why a path is in the way of a folder, of a file, or (None) of either; empty if it is not, or not there."""
    try:
        kind = stat.S_IFMT(path.stat().st_mode)
    except FileNotFoundError:
        return "er et link, der ikke peger på noget" if path.is_symlink() else ""
    except NotADirectoryError:
        return ""  # the folder above is told
    except PermissionError as error:
        raise PermissionError(error.errno, error.strerror, str(path.parent)) from None
    except OSError as error:
        loops = error.errno == errno.ELOOP
        return "er et link, der peger på sig selv" if loops else f"kan ikke ses ({error.strerror})"
    if kind not in (stat.S_IFREG, stat.S_IFDIR):
        return f"er {STRANGE.get(kind, 'noget andet')} og ikke en {'mappe' if folder else 'fil'}"
    if folder is not None and folder != (kind == stat.S_IFDIR):
        return "er en fil og ikke en mappe" if folder else "er en mappe og ikke en fil"
    return ""


@dataclass(frozen=True)
class Place:
    """A data root and the rules that hold there; `tell` receives lines of progress, besides the log.

    `kept`: the rules are those of an earlier run, unchanged.
    """

    root: Path
    rules_folder: Path
    tell: Callable[[str], None] | None = field(default=None, compare=False, repr=False)
    kept: bool = False

    @classmethod
    def from_environment(cls) -> "Place":
        """The place named by REFUSION_DATA and REFUSION_REGLER; `data/` and `rules/` in a checkout of the repository.

        Nothing is made. Stop if one is not named in an installed program, is empty, or cannot name a folder.
        """
        root, rules = _named(DATA, "data"), _named(REGLER, "rules")
        fit(root, DATA)
        refuse_odd(root)
        return cls(root, rules)

    def begun(self) -> "Place":
        """The place, if deliveries lie in its data root; Stop that says how to begin if not. Nothing is made."""
        if self.root.exists() and not self.root.is_dir():
            raise Stop(f"dataroden {self.root} er en fil og ikke en mappe; ret {DATA}")
        if not self.raw.is_dir():
            if (self.root / RESTORING).exists():
                raise Stop(
                    f"genopretningen i {self.root} er ikke færdig; blev den afbrudt, så skriv den samme kommando igen"
                )
            what = "findes ikke" if not self.root.exists() else "har ingen mappe raw"
            raise Stop(f"dataroden {self.root} {what}, så der er ingen leverancer; er {DATA} rigtig? {BEGIN}")
        return self

    def reread(self) -> "Place":
        """The same place, with the rules to be read anew: a code location may have read them long ago."""
        return Place(self.root, self.rules_folder)

    @cached_property
    def rules(self) -> Rulebook:
        """The rules, read and proved once."""
        return load(self.rules_folder, kept=True) if self.kept else load(self.rules_folder, date.today())  # noqa: DTZ011

    def telling(self, log: Callable[[str], None]) -> Callable[[str], None]:
        """The function that long work calls with a line of progress: the log, and `tell` if given."""

        def say(line: str) -> None:
            log(line)
            if self.tell:
                self.tell(line)

        return say

    @property
    def warehouse(self) -> Warehouse:
        """The warehouse of the data root."""
        return Warehouse(self.root)

    @property
    def raw(self) -> Path:
        """The folder of deliveries."""
        return self.root / "raw"

    @property
    def outgoing(self) -> Path:
        """The folder of the municipalities' files."""
        return self.root / "udgaaende"

    @property
    def statements(self) -> Path:
        """The folder of the runs' statements for their operator."""
        return self.root / "oversigt"

    @property
    def follow_up(self) -> Path:
        """The folder of the follow-up for other systems: a folder for each view, a Parquet file for each month."""
        return self.warehouse.published.parent / "opfoelgning"

    @property
    def withdrawn(self) -> Path:
        """The folder of withdrawn files: those of the month that is run again, until its new ones are shown."""
        return self.warehouse.path.parent / "tilbagetrukket"


def too_open(root: Path, *, whole: bool = False) -> list[Path]:
    """What others than the account can read or write of what the program makes in a data root.

    The folders and what lies in `lager/` and `opslag/`; `whole`: all there is, a walk over every file. A folder with
    setgid was opened to its group on purpose, with what lies in it.
    """
    found: list[Path] = []
    for top in (root / name for name in (*FOLDERS, "alarm.toml")):
        if not top.exists() or top.is_symlink():
            continue
        opened = 0o070 if top.stat().st_mode & stat.S_ISGID else 0
        below = top.rglob("*") if whole else top.iterdir() if top.name in (WAREHOUSE, "opslag") else ()
        for path in (top, *(below if top.is_dir() else ())):
            with suppress(FileNotFoundError):
                if path.lstat().st_mode & 0o077 & ~opened and not path.is_symlink():
                    found.append(path)
    return found


def mending(root: Path, *, whole: bool = False) -> str:
    """One line that says what others can read in a data root, with the command that mends it; empty if nothing is."""
    found = too_open(root, whole=whole)
    tops = sorted({root / path.relative_to(root).parts[0] for path in found})
    if not tops:
        return ""
    named = " ".join(shlex.quote(str(top)) for top in tops)
    return f"ADVARSEL: andre brugere kan læse eller ændre noget i dataroden; skriv chmod -R u=rwX,go= {named}"


NUMBERING = "borgernumre.noegle"


def numbering_secret(place: Place) -> str:
    """The secret that the order of new surrogates rests on, made at the first use; it never leaves `lager/`.

    Without it nobody can work out where in a run of numbers a known CPR number lies. If it is lost, a new one serves:
    numbers that are given stay.
    """
    path = place.warehouse.path.parent / NUMBERING
    if not path.exists():
        durable.write(path, secrets.token_hex(32))
    return path.read_text("ascii")


def coded(session: Session, place: Place, lines: pl.DataFrame) -> pl.DataFrame:
    """Judged lines with a code for each written text that may hold a CPR number; adds to `raw.skrevet`.

    The code of a text is the same in every month. Only the root's secret tells which text a code stands for.
    """
    holding = lines.select(may_name_a_person(name).any().alias(name) for name in AS_WRITTEN).row(0, named=True)
    names = [name for name, holds in holding.items() if holds]
    if not names:
        return lines
    written = pl.concat([lines.filter(may_name_a_person(name))[name].unique().alias("skrevet") for name in names])
    texts = written.unique().to_frame()
    with session.lending("skrevne", texts):
        codes = session.frame(
            "SELECT 'skjult-' || left(sha256($secret || skrevet), 32) AS kode, skrevet FROM skrevne ORDER BY kode",
            secret=numbering_secret(place),
        )
    with session.lending("koder", codes):
        session.insert("raw.skrevet", session.frame("FROM koder ANTI JOIN raw.skrevet USING (kode)"))
    return lines.with_columns(
        pl.when(may_name_a_person(name)).then(_other(name, codes["skrevet"], codes["kode"])).otherwise(name).alias(name)
        for name in names
    )


def as_written(session: Session, rows: pl.DataFrame) -> pl.DataFrame:
    """Rows with the text that was written for each code (`coded`); for outgoing files and explanations only."""
    names = [name for name in AS_WRITTEN if name in rows.columns]
    texts = pl.concat([rows[name] for name in names]).unique().alias("kode")
    texts = texts.filter(texts.str.contains(f"^{CODE_FORM}$"))
    # A package has the texts, and a copy of an earlier program has no codes.
    if not texts.len() or not session.has("raw.skrevet"):
        return rows
    with session.lending("koder", texts.to_frame()):
        codes = session.frame("SELECT * FROM raw.skrevet SEMI JOIN koder USING (kode)")
    return rows.with_columns(_other(name, codes["kode"], codes["skrevet"]) for name in names)


def _other(name: str, old: pl.Series, new: pl.Series) -> pl.Expr:
    return pl.col(name).replace_strict(old, new, default=pl.col(name))


def at_work() -> Place:
    """The place of a command that writes, with Dagster's home made ready in it; Stop if it is no data root.

    Says on standard error what others can read, and at a terminal, in a new data root, that nothing is encrypted.
    """
    place = Place.from_environment().begun()
    if line := mending(place.root):
        sys.stderr.write(f"{line}\n")
    if not place.warehouse.path.exists() and key_of(place.root) is None and sys.stderr.isatty():
        sys.stderr.write(f"{UNENCRYPTED}\n")
    os.environ.update(environment(place))
    return place


def home_of(place: Place) -> Path:
    """Dagster's home: the folder that the environment names, or the one in the data root. Nothing is made."""
    elsewhere = os.environ.get("DAGSTER_HOME")
    return (Path(elsewhere).expanduser() if elsewhere else place.root / "dagster").resolve()


def environment(place: Place) -> dict[str, str]:
    """What Dagster must find in the environment; its home lies in the data root unless it is set."""
    home = home_of(place)
    fit(home, "DAGSTER_HOME" if os.environ.get("DAGSTER_HOME") else DATA)
    settings = home / "dagster.yaml"
    for path, folder in ((home, True), (settings, False)):
        if odd := _odd(path, folder=folder):
            raise Stop(f"{path} {odd}; flyt det væk, og kør igen")
    home.mkdir(parents=True, exist_ok=True)
    if not settings.exists() or hashlib.sha256(settings.read_bytes()).hexdigest() in FORMER_SETTINGS:
        shutil.copyfile(PACKAGE / settings.name, settings)
    return {
        "DAGSTER_HOME": str(home),
        "REFUSION_DATA": str(place.root),
        "REFUSION_REGLER": str(place.rules_folder),
        "DAGSTER_DISABLE_TELEMETRY": "1",
        "DAGSTER_EVENT_BATCH_SIZE": "1000",
    }


@contextmanager
def alone(place: Place, say: Callable[[str], None], name: str) -> Iterator[None]:
    """Within the block, no other command with the same lock works on the data root; it waits for a running one.

    Mixed steps of two commands would settle or send each other's work. The system releases the lock however the command
    ends.
    """
    place.warehouse.path.parent.mkdir(parents=True, exist_ok=True)
    refuse_odd(place.root)
    with (place.warehouse.path.parent / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("venter på en anden kommando, som er i gang ...")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def at_work_now(place: Place, name: str) -> bool:
    """True if a command holds the lock `name` of a data root. Nothing is made; false where the lock cannot be read."""
    try:
        with (place.warehouse.path.parent / name).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


FORMS = ("*.toml", "*.csv")


def archive(place: Place) -> Path:
    """The folder of the rules of earlier calculations and runs: a folder for each hash."""
    return place.root / "regler"


def keep_rules(place: Place) -> None:
    """Keep the files of the rules in force under their hash; Stop if the disk holds others by now."""
    folder = archive(place) / place.rules.version
    if folder.exists():
        return
    ready = folder.with_name(f".{folder.name}")
    shutil.rmtree(ready, ignore_errors=True)
    ready.mkdir(parents=True)
    for path in sorted(path for form in FORMS for path in place.rules_folder.glob(form) if path.name not in ASIDE):
        shutil.copyfile(path, ready / path.name)
    if load(ready, kept=True).version != place.rules.version:
        shutil.rmtree(ready)
        raise Stop("reglerne på disken er ændret, siden de blev læst; start kommandoen (eller kørslen) igen")
    os.rename(ready, folder)


def kept(place: Place, version: str) -> Path:
    """The folder of the rules with a hash; Stop if they were not kept, or have changed."""
    folder = archive(place) / version
    short = version[:12]
    if not folder.exists():
        raise Stop(f"reglerne {short} er ikke gemt; læg deres filer tilbage i {folder.parent.name}/{version}")
    try:
        found = load(folder, kept=True).version
    except RuleError as error:
        raise Stop(f"de gemte regler {short} kan ikke læses: {error}") from None
    if found != version:
        raise Stop(f"de gemte regler {short} er ændret: indholdet er nu {found[:12]}; læg de rigtige filer tilbage")
    return folder


def topics_of(place: Place, version: str) -> Topics | None:
    """The content of the files of the rules with a hash; None if they were not kept."""
    if version == place.rules.version:
        return place.rules.emner
    folder = archive(place) / version
    return read_topics(folder) if folder.exists() else None


def rules_of_runs(place: Place, versions: Sequence[str]) -> dict[str, Rulebook]:
    """The rules of some runs by version; those in force where a run's were not kept."""
    found = dict.fromkeys(versions, place.rules)
    for version in versions:
        if version != place.rules.version and (archive(place) / version).exists():
            found[version] = load(kept(place, version))
    return found
