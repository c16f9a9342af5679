"""Understands the trace that a look at a person leaves: a chained line in a log, on the disk before anything is shown.

The hash of a line is sha256 over the hash of the line before and the line's bytes. Each line holds the hash of the line
before as `foer`. The head (number of lines, last hash) is kept apart from the log, so that a deleted end is noticed.
"""

import fcntl
import hashlib
import json
import os
import pwd
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any

from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.place import Place
from refusion_assets.store import durable

LOG = Path("opslag") / "opslag.jsonl"
HEAD = "opslag.hoved"
BEGINNING = "0" * 64
LOGIN = Path("/proc/self/loginuid")
NOBODY_LOGGED_IN = 2**32 - 1
RECEIPT = re.compile(r"(\d+):((?:[0-9a-f] ?){64})")


@dataclass(frozen=True)
class Head:
    """How far a log reached: its number of lines and the hash of the last."""

    linjer: int
    hoved: str


@dataclass(frozen=True)
class Chain:
    """A log as it is: the hash after each line, the first of them before line 1, and what is wrong with it.

    `brudt`: the first line whose hash of the line before is another, or that tells of such a break; None if there is
    none. `afbrudte`: lines that a crash cut short. `gamle`: lines from before the chain.
    """

    hoveder: tuple[str, ...]
    brudt: int | None
    afbrudte: int
    gamle: int
    opslag: tuple[dict[str, Any], ...]

    @property
    def linjer(self) -> int:
        """The number of lines."""
        return len(self.hoveder) - 1

    @property
    def hoved(self) -> str:
        """The hash of the last line."""
        return self.hoveder[-1]


def verify(path: Path) -> Chain:
    """The chain of a log, read from its first line; an empty one if there is no log."""
    hoveder, entries = [BEGINNING], list[dict[str, Any]]()
    brudt, afbrudte, gamle = None, 0, 0
    for number, line in enumerate(_lines(path.read_bytes() if path.exists() else b""), 1):
        entry = _entry(line)
        if entry is None:
            afbrudte += 1
        elif "foer" not in entry and gamle == len(entries):
            gamle += 1
        elif entry.get("foer") != hoveder[-1] or "brud" in entry:
            brudt = brudt or number
        if entry is not None:
            entries.append(entry)
        hoveder.append(_after(hoveder[-1], line))
    return Chain(tuple(hoveder), brudt, afbrudte, gamle, tuple(entries))


def faults(path: Path, recorded: Iterable[tuple[str, int, str]] = (), *, chain: Chain | None = None) -> list[str]:
    """The faults of a log, a Danish sentence each; none if it holds.

    `recorded`: heads kept elsewhere, each with who kept it. The head beside the warehouse is compared too. `chain`: the
    log, if it is read already.
    """
    chain, head = chain or verify(path), head_of(path)
    found = []
    if chain.brudt:
        found.append(f"linje {chain.brudt} i {path} følger ikke linjen før; loggen er ændret der eller før")
    if head is None and chain.linjer > chain.gamle:
        found.append(f"hovedet {_head_file(path)} mangler, så en slettet sidste linje ses kun af de gemte hoveder")
    heads = [("hovedet i lageret", head.linjer, head.hoved)] if head else []
    for who, linjer, hoved in [*heads, *recorded]:
        if linjer > chain.linjer:
            found.append(
                f"{path} har {plural(chain.linjer, 'linje', 'linjer')}, men {who} så {linjer}; linjer er slettet"
            )
        elif chain.hoveder[linjer] != hoved:
            found.append(f"de første {linjer} linjer i {path} er ikke dem, {who} så; loggen er skrevet om")
    return found


def kept_heads(place: Place) -> list[tuple[str, int, str]]:
    """The heads of the log of look-ups that the runs stored: which run, lines, hash; none before the first run."""
    if not place.warehouse.published.exists():
        return []
    with place.warehouse.reading() as session:
        if not session.has("opgoerelse.opslagshoved"):
            return []
        rows = session.frame("SELECT koersel, linjer, hoved FROM opgoerelse.opslagshoved ORDER BY 1").rows()
    return [(f"kørsel {koersel}", linjer, hoved) for koersel, linjer, hoved in rows]


def receipt(text: str) -> tuple[str, int, str]:
    """A head from paper, `LINJER:HOVED`, as one kept elsewhere; Stop if it is none."""
    said = RECEIPT.fullmatch(text.strip().lower())
    if not said:
        raise Stop("kvitteringen er ikke på formen LINJER:HOVED, fx 12:ab34...; skriv den, som den står på papiret")
    return "kvitteringen", int(said[1]), said[2].replace(" ", "")


def head_of(path: Path) -> Head | None:
    """The head kept for a log; None if there is none, or it cannot be read."""
    try:
        said = json.loads(_head_file(path).read_text("utf-8"))
        return Head(int(said["linjer"]), str(said["hoved"]))
    except (FileNotFoundError, ValueError, KeyError, TypeError):
        return None


def within(chain: Chain, months: Iterable[date]) -> Iterator[str]:
    """The look-ups of some months, a line each; a person is told by surrogate only."""
    wanted = {f"{month:%Y-%m}" for month in months}
    for entry in chain.opslag:
        if str(entry.get("tidspunkt", ""))[:7] in wanted:
            told = [str(entry.get(key, "")) for key in ("tidspunkt", "bruger", "opslag")]
            who = [f"{key} {entry[key]}" for key in ("borger_id", "kommunekode", "maaned", "pakke") if key in entry]
            yield " ".join([*told, *who, str(entry.get("formaal", ""))]).strip()


def on_paper(path: Path, chain: Chain) -> Iterator[str]:
    """The lines of a receipt: which log, when, and its head in groups that can be typed again."""
    yield f"Kvittering for loggen over opslag, {datetime.now().astimezone():%Y-%m-%d %H:%M}"
    yield f"  Log:    {path}"
    yield f"  Linjer: {chain.linjer}"
    yield f"  Hoved:  {' '.join(chain.hoved[at : at + 8] for at in range(0, 64, 8))}"
    yield f"Prøv den senere med: refusion opslag --mod {chain.linjer}:{chain.hoved}"


def log(path: Path, opslag: str, **fields: object) -> None:
    """Add a line to the log of look-ups, on the disk when this returns; Stop if it cannot be written.

    `opslag`: the kind of look. Never a CPR number in `fields`: the person is the surrogate, or nobody. The line comes
    first and the head after it. So a kill between them leaves a line more than the head has, which the next look-up
    takes in.
    """
    entry = {
        "tidspunkt": datetime.now().astimezone().isoformat(timespec="seconds"),
        **user(),
        "opslag": opslag,
        **fields,
    }
    try:
        _append(path, entry)
    except OSError as error:
        where = error.filename2 or error.filename or path
        raise Stop(
            f"opslaget kan ikke skrives i loggen ({where}: {error.strerror}), så intet vises; sig det til driften"
        ) from None


def user() -> dict[str, str]:
    """The user by the operating system, not by the environment: who logged in, and the account if it is another."""
    try:
        login = int(LOGIN.read_text("ascii"))
    except (OSError, ValueError):
        login = NOBODY_LOGGED_IN
    account = os.geteuid()
    if login in (NOBODY_LOGGED_IN, account):
        return {"bruger": _name(account)}
    return {"bruger": _name(login), "konto": _name(account)}


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"uid {uid}"


def _lines(data: bytes) -> list[bytes]:
    """The lines of a log without their ends; the last may be cut short."""
    return data.removesuffix(b"\n").split(b"\n") if data else []


def _entry(line: bytes) -> dict[str, Any] | None:
    """The look-up of a line; None if it was cut short."""
    try:
        said = json.loads(line)
    except ValueError:
        return None
    return said if isinstance(said, dict) else None


def _after(before: str, line: bytes) -> str:
    return hashlib.sha256(before.encode() + b"\n" + line).hexdigest()


def _head_file(path: Path) -> Path:
    """Where the head of a log lies: beside the warehouse of its data root, or beside the log of a package."""
    warehouse = path.parent.parent / "lager"
    return (warehouse if warehouse.is_dir() else path.parent) / HEAD


@contextmanager
def _alone(path: Path) -> Iterator[int]:
    """Within the block, nobody else writes in the log; its file descriptor."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield file
    finally:
        os.close(file)


def _append(path: Path, entry: dict[str, object]) -> None:
    """Append a look-up, then its head; a line cut short by an earlier crash is ended first.

    If the log does not hold what the head says, the new line tells so (`brud`). So the chain goes on, and the break is
    seen for good.
    """
    with _alone(path) as file:
        data = _read(file)
        before, kept = _known(data, head_of(path))
        if kept:
            entry = {**entry, "brud": f"hovedet så {kept.linjer} linjer, den sidste {kept.hoved}"}
        line = json.dumps({**entry, "foer": before.hoved}, ensure_ascii=False).encode()
        added = (b"\n" if data and not data.endswith(b"\n") else b"") + line + b"\n"
        if os.write(file, added) != len(added):
            raise OSError(0, "disken er fuld")
        os.fsync(file)
        durable.flush(path.parent)
        head = {"linjer": before.linjer + 1, "hoved": _after(before.hoved, line)}
        durable.write(_head_file(path), f"{json.dumps(head)}\n")


def _read(file: int) -> bytes:
    size = os.fstat(file).st_size
    return os.pread(file, size, 0) if size else b""


def _known(data: bytes, kept: Head | None) -> tuple[Head, Head | None]:
    """The head of what a log holds, and the head that was kept if the log does not hold it."""
    hoveder = [BEGINNING]
    for line in _lines(data):
        hoveder.append(_after(hoveder[-1], line))
    now = Head(len(hoveder) - 1, hoveder[-1])
    if kept is None or (kept.linjer <= now.linjer and hoveder[kept.linjer] == kept.hoved):
        return now, None
    return now, kept
