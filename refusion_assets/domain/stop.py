"""Understands a reason to stop: one line with the rule, the subject and what to do."""

import errno
import re
from collections.abc import Sequence
from dataclasses import dataclass


class Stop(RuntimeError):
    """The month cannot go on; the text is one Danish line without any CPR number."""


class Refused(Stop):
    """An operator's decision to let something pass is refused; nothing has been touched."""


REMEDIES = {
    errno.EACCES: "giv brugeren, der kører programmet, adgang til stien",
    errno.EPERM: "giv brugeren, der kører programmet, adgang til stien",
    errno.EROFS: "disken kan kun læses; gør den skrivbar, eller vælg en anden",
    errno.EIO: "disken svarer med fejl; få den undersøgt",
    errno.EMFILE: "hæv grænsen for åbne filer (ulimit -n)",
    errno.ENFILE: "hæv systemets grænse for åbne filer",
    errno.EEXIST: "flyt det væk, der ligger i vejen",
    errno.ENOTDIR: "flyt det væk, der ligger i vejen",
    errno.EISDIR: "flyt det væk, der ligger i vejen",
    errno.ELOOP: "fjern linket, der peger på sig selv",
    errno.ENOENT: "vælg en sti, der findes, og hvor der kan skrives",
}


def of_the_system(error: OSError) -> str:
    """The refusal of the system in one line: its own words, and the path."""
    path = error.filename or "ukendt sti"
    if error.errno == errno.ENOENT:
        return f"{path} findes ikke og kan ikke laves dér; {REMEDIES[errno.ENOENT]}, og kør igen"
    said = f"{error.strerror or type(error).__name__}: {path}"
    return f"systemet siger {said}; {REMEDIES.get(error.errno or 0, 'ret det')}, og kør igen"


SAID = re.compile(r'(?:"(?P<path>[^"]+)": )?(?P<said>Permission denied|Read-only file system|Input/output error)')
NUMBERS = {"Permission denied": errno.EACCES, "Read-only file system": errno.EROFS, "Input/output error": errno.EIO}


MEMORY = re.compile(r"out of memory|cannot allocate memory|failed to allocate|could not allocate", re.IGNORECASE)
NO_MEMORY = "hukommelsen slap op; luk andre programmer, og kør igen, eller brug en større maskine (docs/stoerrelse.md)"


def of_a_library(error: BaseException) -> str:
    """The refusal of the system that a library tells in an error of its own, in one line; empty if it tells none."""
    from refusion_assets.domain.wording import without_persons  # noqa: PLC0415  Polars takes a while to load

    if isinstance(error, MemoryError) or MEMORY.search(str(error)):
        return NO_MEMORY
    found = SAID.search(str(error))
    if isinstance(error, OSError) or not found:
        return ""
    return of_the_system(OSError(NUMBERS[found["said"]], found["said"], without_persons(found["path"] or "ukendt sti")))


DISK_IS_FULL = "disken er fuld; gør plads"
DISK_FULL = ("no space left", "disk is full", "disk full", "os error 28", "file too large", "os error 27", "disk quota",
             "max_temp_directory_size")  # fmt: skip


def of_the_disk(error: BaseException | None) -> str:
    """The text of a full disk, if an error or its cause reports one; else empty.

    DuckDB, SQLite, Polars and the system each raise a class of their own.
    """
    while error is not None:
        if any(words in str(error).lower() for words in DISK_FULL):
            return DISK_IS_FULL
        error = error.__cause__ or error.__context__
    return ""


@dataclass(frozen=True)
class Fault:
    """A fault of a whole file or sender: rule id, its subject, a Danish text, and its money (øre)."""

    regel: str
    genstand: str
    tekst: str
    beloeb_oere: int = 0

    def __str__(self) -> str:
        """The fault as one line that any terminal can show, also where a file's name is no text."""
        line = f"{self.regel} {self.genstand}: {self.tekst}"
        return "".join(sign if sign.isprintable() else "?" for sign in line)


class Faulty(Stop):
    """Deliveries that cannot be taken in; carries every fault, and the text names them all."""

    def __init__(self, faults: list[Fault]) -> None:
        """Keep the faults for the checks that report them."""
        super().__init__(in_one_line(faults))
        self.faults = tuple(faults)


def in_one_line(faults: Sequence[object]) -> str:
    """All that is wrong in one line: the first fault, how many more there are, and then those."""
    more = f" (og {len(faults) - 1} mere): {' | '.join(map(str, faults[1:]))}" if len(faults) > 1 else ""
    return f"{faults[0]}{more}"
