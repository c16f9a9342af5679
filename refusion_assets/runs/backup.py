"""Backs up a data root, encrypted and only what is new, while a run may be going on; and restores it in an empty one.

A backup is a folder of encrypted contents, each named by its hash, and an encrypted list for each time (ADR 0037).
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from threading import get_ident
from typing import Any, BinaryIO

import pyrage

from refusion_assets.assets.gate import LUKKET
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files.delivered import fingerprint, month_named
from refusion_assets.files.outgoing import SUMS, departures, said_of
from refusion_assets.levering.sealed import Recipient, identity
from refusion_assets.look_up.trace import HEAD
from refusion_assets.place import FORMS, NUMBERING, RESTORING, Place, alone
from refusion_assets.runs.inspect import inspect
from refusion_assets.store import durable
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Warehouse
from refusion_assets.store.state import READING, STATE, State

MODTAGER, NOEGLE = "REFUSION_KOPI_MODTAGER", "REFUSION_KOPI_NOEGLE"
FORM = 2
CONTENT, LISTS, OWN_KEY, OPEN_KEYS, NOTE = "indhold", "lister", "noegle.age", "modtager.txt", "LAES-MIG.txt"
LIST, NAMES = ".age", ".indhold"
LOCK, WHOLE = "sikkerhedskopi.laas", ".hel"
RULES_IN_USE = "regler_i_brug"
# Made again by themselves, or of no use elsewhere; of two folders a part is kept.
LEFT_OUT = {"lager", "udgivet", "dagster", "genskabt"}
KEPT_OF = (f"lager/{HEAD}", f"lager/{NUMBERING}", "lager/opfoelgning", "udgivet/opfoelgning")
WRITERS = 16
TOLD = """Sikkerhedskopi fra refusion sikkerhedskopi. Alt er krypteret med age.
Genopret i en tom mappe, med denne mappe som FRA:
  REFUSION_DATA=/sti/til/tom/mappe REFUSION_KOPI_NOEGLE=/sti/til/noeglen refusion genopret FRA
Nøglen ligger ikke her. docs/sikkerhedskopi.md i programmet siger resten.
"""


@dataclass(frozen=True)
class Store:
    """The folder of a backup: what is in it, and the open keys that it is written for."""

    folder: Path
    keys: tuple[Any, ...] = ()

    def lists(self) -> list[Path]:
        """The lists of whole backups, the oldest first."""
        return sorted((self.folder / LISTS).glob(f"*{LIST}"))

    def of(self, summed: str) -> Path:
        """The place of a content."""
        return self.folder / CONTENT / summed[:2] / f"{summed}.age"

    def put(self, source: Path, said: str = "") -> tuple[str, bool]:
        """The hash of a file, and whether it is new; its content is in the store when this returns.

        `said`: the hash that the file must have; it is not read if its content is in the store already.
        """
        for _ in range(1 if said else 3):
            summed = said or fingerprint(source)
            target = self.of(summed)
            if target.exists():
                return summed, False
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with source.open("rb") as plain:
                watched = _Watched(plain)
                _written(
                    target,
                    lambda file, plain=watched: pyrage.encrypt_io(plain, file, list(self.keys)),  # type: ignore[misc]
                    lambda plain=watched, summed=summed: plain.hash.hexdigest() == summed,  # type: ignore[misc]
                )
            if target.exists():
                return summed, True
        what = "er beskadiget; se refusion efterse" if said else "bliver ændret, mens den kopieres; prøv igen"
        raise Stop(f"{source} {what}")

    def forget(self, keep: int) -> int:
        """Delete all but the last `keep` lists, and each content that no list names; the number of contents."""
        for old in self.lists()[:-keep]:
            old.unlink()
        here = {path.stem for path in self.lists()}
        named: set[str] = set()
        for path in (self.folder / LISTS).glob(f"*{NAMES}"):
            if path.stem in here:
                named.update(path.read_text("ascii").split())
            else:
                path.unlink()
        loose = [path for path in (self.folder / CONTENT).glob("*/*.age") if path.stem not in named]
        for path in loose:
            path.unlink()
        return len(loose)


class _Watched:
    """A file that is read, and the hash of what was read."""

    def __init__(self, file: BinaryIO) -> None:
        self.file, self.hash = file, hashlib.sha256()

    def read(self, size: int = -1) -> bytes:
        piece = self.file.read(size)
        self.hash.update(piece)
        return piece


def _written(target: Path, write: Callable[[BinaryIO], object], right: Callable[[], bool] = lambda: True) -> None:
    """Write a file beside its place, on the disk before it is put there; not at all where it is not right."""
    fresh = target.with_name(f".{target.name}.{get_ident()}.ny")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
            write(file)
            file.flush()
            os.fsync(file.fileno())
        if right():
            os.replace(fresh, target)
    finally:
        fresh.unlink(missing_ok=True)


def store(folder: Path, to: Recipient) -> Store:
    """The store in a folder, made ready for a key; Stop if it was made for another.

    For a passphrase the store has a key of its own, which the passphrase opens: a passphrase takes a second each time.
    """
    if to.made or not (to.keys or to.passphrase):
        raise Stop(f"kopien skal have en nøgle: --modtager, {MODTAGER} (offentlig) eller {NOEGLE} (en adgangssætning)")
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    opened, own = folder / OPEN_KEYS, folder / OWN_KEY
    strange = sorted({path.name for path in folder.iterdir()} - {OWN_KEY, NOTE, CONTENT, LISTS})
    if strange and not opened.exists():
        raise Stop(f"{folder} er hverken tom eller en sikkerhedskopi ({strange[0]}); vælg en anden mappe")
    if to.keys:
        lines = [str(key) for key in to.keys]
    elif own.exists():
        _own_key(folder, to.passphrase)
        lines = opened.read_text("ascii").split("\n")[:-1]
    else:
        key = pyrage.x25519.Identity.generate()
        _written(own, lambda file: file.write(pyrage.passphrase.encrypt(str(key).encode(), to.passphrase)))
        lines = [str(key.to_public())]
    if opened.exists() and opened.read_text("ascii").split("\n")[:-1] != lines:
        raise Stop(f"kopien i {folder} er lavet til en anden nøgle; brug den, eller vælg en tom mappe")
    _written(opened, lambda file: file.write("".join(f"{line}\n" for line in lines).encode("ascii")))
    (folder / NOTE).write_text(TOLD, "utf-8")
    for part in (CONTENT, LISTS):
        (folder / part).mkdir(exist_ok=True, mode=0o700)
    for half in [*folder.glob(f"{CONTENT}/*/.*.ny"), *folder.glob(f"{LISTS}/.*.ny")]:
        half.unlink()
    of = [(pyrage.x25519 if line.startswith("age1") else pyrage.ssh).Recipient.from_str(line) for line in lines]
    return Store(folder, tuple(of))


def _own_key(folder: Path, passphrase: str) -> Any:
    """The store's own key; Stop if the passphrase does not open it."""
    try:
        return identity(pyrage.passphrase.decrypt((folder / OWN_KEY).read_bytes(), passphrase))
    except (pyrage.DecryptError, OSError):
        raise Stop(f"adgangssætningen passer ikke til kopien i {folder}") from None


def back_up(place: Place, til: Path, to: Recipient, behold: int | None, say: Callable[[str], None]) -> Iterator[str]:
    """A backup of the last complete state and of all files, as one more list in the store; lines of what was done.

    A run may be going on: its month is backed up as the published copy knows it. Stop if nothing is published.
    """
    if til.resolve().is_relative_to(place.root.resolve()):
        raise Stop(f"{til} ligger i dataroden; læg kopien et andet sted, helst på en anden maskine")
    with alone(place, say, LOCK):
        kept = store(til, to)
        before = kept.lists()
        number = int(before[-1].name.split("-")[0]) + 1 if before else 1
        state, runs, parts, fresh = _published(place, kept)
        files, remarks, more = _files(place, kept, runs)
        files |= parts
        now = datetime.now().astimezone()
        told = {
            "form": FORM, "nr": number, "tidspunkt": now.isoformat(timespec="seconds"),
            "forrige": fingerprint(before[-1]) if before else "", "koersler": runs,
            "tilstand": state.text, "filer": files,
        }  # fmt: skip
        name = f"{number:06d}-{now:%Y%m%dT%H%M%S}"
        folder = kept.folder / LISTS
        for part in (kept.folder / CONTENT).iterdir():
            durable.flush(part)
        _written(
            folder / f"{name}{NAMES}", lambda file: file.write("\n".join(sorted({*files.values()})).encode("ascii"))
        )
        sealed = pyrage.encrypt(json.dumps(told, ensure_ascii=False).encode(), list(kept.keys))
        _written(folder / f"{name}{LIST}", lambda file: file.write(sealed))
        durable.flush(folder)
        told_files = f"{plural(len(files), 'fil', 'filer')}, heraf {plural(len(parts), 'tabeldel', 'tabeldele')}"
        yield f"Sikkerhedskopi {number} i {til}: {told_files}, {fresh + more} nye."
        yield from remarks
        yield f"  Skriv ned et andet sted: listen er {hashlib.sha256(sealed).hexdigest()}"
        if behold:
            gone = kept.forget(behold)
            yield f"  Beholder de sidste {min(behold, number)}; {gone} gamle dele er slettet."


def _published(place: Place, kept: Store) -> tuple[State, dict[str, list[str]], dict[str, str], int]:
    """The published state put in the store; its runs (month, status and filsum), its files by path, the new ones.

    If a publishing removes a file of the state meanwhile, the state after it is taken instead.
    """
    while True:
        state = State.read(place.root)
        if state is None:
            raise Stop(f"der er ingen udgivet kørsel i {place.root} endnu; kør den sidste måned igen")
        try:
            with place.warehouse.reading(state) as session:
                runs = session.frame("SELECT maaned, status, filsum FROM opgoerelse.koersel ORDER BY 1").rows()
            fresh = sum(kept.put(place.root / part.path, part.sha256)[1] for part in state.dele)
        except (Stop, FileNotFoundError):
            if State.read(place.root) != state:
                continue
            state.refuse_lost()
            raise
        files = {str(part.path): part.sha256 for part in state.dele}
        return state, {f"{month:%Y-%m}": [status, filsum] for month, status, filsum in runs}, files, fresh


def _files(place: Place, kept: Store, state: Mapping[str, list[str]]) -> tuple[dict[str, str], list[str], int]:
    """The hash of each file by its path in the root, put in the store; remarks; and the number of new ones."""
    files: dict[str, str] = {}
    remarks, fresh = [], 0

    def put(one: tuple[str, Path]) -> tuple[str, str, bool] | None:
        try:
            return (one[0], *kept.put(one[1]))
        except FileNotFoundError:  # taken back by a run that is going on
            return None

    # A thread that waits for the disk leaves its core to another.
    with ThreadPoolExecutor(WRITERS) as writers:
        first, *rest = _to_keep(place)
        for name, summed, new in filter(None, (put(first), *writers.map(put, rest))):
            files[name] = summed
            fresh += new
    months = {path.name for path in place.outgoing.glob("*") if month_named(path.name)}
    for folder in (place.outgoing / month for month in sorted({*months, *state})):
        status, filsum = state.get(folder.name, ["", ""])
        mine = {
            name: summed for name, summed in files.items() if Path(name).parts[:2] == (folder.parent.name, folder.name)
        }
        begun = f"{folder.parent.name}/{folder.name}/"
        said = said_of(folder / SUMS) if (folder / SUMS).is_file() else {}
        if filsum and not departures(folder, filsum) and all(mine.get(begun + n) == h for n, h in said.items()):
            continue
        if status == LUKKET:
            remarks.append(
                f"  Bemærk: filerne for {folder.name} er ikke kørslens; de er kopieret, som de er (refusion efterse)"
            )
        else:
            files = {name: summed for name, summed in files.items() if name not in mine}
            remarks.append(
                f"  Bemærk: {folder.name} er i arbejde, så dens filer er ikke med; efter en genopretning køres den igen"
            )
    return files, remarks, fresh


def _to_keep(place: Place) -> Iterator[tuple[str, Path]]:
    """Each file of the root to keep, with its path there; the rules in force come under a name of their own."""
    tops = [path for path in sorted(place.root.iterdir()) if path.name not in LEFT_OUT and path.name[0] != "."]
    # The head of the log comes before the log, which may be a line ahead of it, but not behind.
    for top in (*(place.root / part for part in KEPT_OF), *tops):
        for path in [top] if top.is_file() else sorted(top.rglob("*")):
            if path.is_file() and not any(part[0] == "." for part in path.relative_to(place.root).parts):
                yield str(path.relative_to(place.root)), path
    for form in FORMS:
        yield from ((f"{RULES_IN_USE}/{path.name}", path) for path in sorted(place.rules_folder.glob(form)))


def restore(fra: Path, root: Path, said: bytes, nr: int | None, say: Callable[[str], None]) -> Iterator[str]:
    """A data root made again from a backup in an empty folder, and proved by `inspect`; lines of what was done.

    `said`: the private key, or the passphrase. `nr`: an earlier backup than the last. Stop, with the folder still
    without a data root, if a key does not fit or a content is damaged. One that was killed goes on where it was.
    """
    ready = root / RESTORING
    begun = root.is_dir() and {path.name for path in root.iterdir()} - {RESTORING}
    if (root.exists() and not root.is_dir()) or (begun and not (ready / WHOLE).exists()):
        raise Stop(f"{root} er ikke tom; genopret kun i en tom mappe, som REFUSION_DATA nævner")
    key = identity(said)
    text = said.decode("utf-8", "replace").strip()
    key = key or (_own_key(fra, text) if (fra / OWN_KEY).exists() else None)
    if key is None:
        raise Stop(f"{fra} er ingen sikkerhedskopi, eller nøglen er ikke dens")
    told, summed = _list(Store(fra), key, nr)
    say(f"sikkerhedskopi {told['nr']} fra {told['tidspunkt']} genoprettes ...")
    if not (ready / WHOLE).exists() or (ready / WHOLE).read_text("ascii") != summed:
        if begun:
            raise Stop(f"en anden kopi er ved at blive genoprettet i {root}; tøm mappen, eller vælg kopien med --nr")
        _make_ready(Store(fra), told, ready, key, say)
        durable.write(ready / WHOLE, summed)
    for part in sorted(ready.iterdir()):
        if part.name not in ("raw", WHOLE):
            os.rename(part, root / part.name)
    # The analysts' views name the files from the root.
    publish(Warehouse(root))
    # The raw files come last: without them no command takes the folder for a data root.
    if (ready / "raw").exists():
        os.rename(ready / "raw", root / "raw")
    yield f"Genoprettet i {root}: {plural(len(told['filer']), 'fil', 'filer')}, som de var {told['tidspunkt']}."
    faults = 0
    for report in inspect(Place(root, root / RULES_IN_USE), []) if told["koersler"] else []:
        faults += len(report.fejl)
        yield from report.lines()
    shutil.rmtree(ready)
    yield f"  Reglerne, der var i brug, ligger i {root / RULES_IN_USE}; er de andre væk, så sæt REFUSION_REGLER dertil."
    yield "  Dagsters historik er ikke med; kommandoerne og brugerfladen begynder en ny."
    if faults:
        raise Stop(f"{faults} fejl i det genoprettede; var de der, da kopien blev taget, så se den gamle efterse")


def _make_ready(kept: Store, told: Mapping[str, Any], ready: Path, key: Any, say: Callable[[str], None]) -> None:
    """Every file of a backup, and the live file made of the state, in a folder beside the data root to come."""
    shutil.rmtree(ready, ignore_errors=True)
    (ready / "raw").mkdir(parents=True, mode=0o700)
    lager, files = Warehouse(ready), told["filer"]
    (ready / READING).mkdir(parents=True)
    (ready / READING / STATE).write_text(told["tilstand"], "utf-8")
    # The smallest file is opened first: a wrong key of the warehouse is told before the rest is fetched.
    if (state := State.read(ready)) and state.dele:
        read = [part for part in state.dele if part in state.of(part.tabel, analysts=False)]
        part = min(read, key=lambda part: part.stoerrelse)
        _out(kept, part.sha256, ready / part.path, key)
        with lager.reading(replace(state, dele=(part,))) as session:
            session.fill_in()
            session.count(part.tabel)
        (ready / part.path).unlink()
    for name, summed in files.items():
        _out(kept, summed, ready / name, key)
    say("lageret bygges op ...")
    with lager.open():
        pass
    durable.flush_all(path for path in ready.rglob("*") if path.is_file())


def _list(kept: Store, key: Any, nr: int | None) -> tuple[dict[str, Any], str]:
    """The list of a backup, and its hash; Stop if it is not there, cannot be opened, or follows not the one before."""
    every = {int(path.name.split("-")[0]): path for path in kept.lists()}
    if not every or (nr and nr not in every):
        what = f"ingen sikkerhedskopi {nr}" if nr else "ingen hel sikkerhedskopi"
        raise Stop(f"der er {what} i {kept.folder}; der er {', '.join(map(str, every)) or 'ingen'}")
    number = nr or max(every)
    told: dict[str, Any] = json.loads(_opened(every[number], key))
    if number - 1 in every and fingerprint(every[number - 1]) != told["forrige"]:
        raise Stop(f"liste {number} følger ikke liste {number - 1}; nogen har ændret kopien")
    if told["form"] != FORM:
        raise Stop(f"sikkerhedskopi {number} er skrevet af en anden udgave af programmet; brug den udgave")
    return told, fingerprint(every[number])


def _opened(path: Path, key: Any) -> bytes:
    try:
        return bytes(pyrage.decrypt(path.read_bytes(), [key]))
    except (pyrage.DecryptError, OSError):
        raise Stop(f"{path.name} kan ikke åbnes: nøglen passer ikke, eller filen er beskadiget") from None


def _out(kept: Store, summed: str, target: Path, key: Any) -> None:
    """A content decrypted to a file that only the owner can read; Stop if it is missing or damaged."""
    target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    try:
        with kept.of(summed).open("rb") as sealed, os.fdopen(
            os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb"
        ) as plain:  # fmt: skip
            pyrage.decrypt_io(sealed, plain, [key])
        whole = fingerprint(target) == summed
    except (pyrage.DecryptError, FileNotFoundError, ValueError):
        whole = False
    except OSError as error:
        if error.errno:  # the disk, and not the content
            raise
        whole = False
    if not whole:
        raise Stop(f"{target.name} i kopien mangler eller er beskadiget ({summed[:12]}); prøv en tidligere med --nr")
