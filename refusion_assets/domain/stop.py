"""Understands a reason to stop: one line that says which rule, what, and what to do."""

from dataclasses import dataclass


class Stop(RuntimeError):
    """The month cannot go on; the text is one Danish line without any CPR number."""


def of_the_system(error: OSError) -> str:
    """What the system refused, in one line: its own words, and the path."""
    said = f"{error.strerror or type(error).__name__}: {error.filename or 'ukendt sti'}"
    return f"systemet siger {said}; ret det, og kør igen"


DISK_FULL = ("no space left", "disk is full", "disk full", "os error 28", "file too large", "os error 27", "disk quota")


def of_the_disk(error: BaseException | None) -> str:
    """That the disk is full, where an error or one that caused it says so in its own words; else nothing.

    DuckDB, SQLite, Polars and the system each say it in a class of their own.
    """
    while error is not None:
        if any(words in str(error).lower() for words in DISK_FULL):
            return "disken er fuld; gør plads, og kør igen"
        error = error.__cause__ or error.__context__
    return ""


@dataclass(frozen=True)
class Fault:
    """What is wrong with a whole file or sender: rule id, what it is about, a Danish text, and its money (øre)."""

    regel: str
    genstand: str
    tekst: str
    beloeb_oere: int = 0

    def __str__(self) -> str:
        """The fault as one line."""
        return f"{self.regel} {self.genstand}: {self.tekst}"


class Faulty(Stop):
    """Deliveries that cannot be taken in; carries every fault, the text names the first."""

    def __init__(self, faults: list[Fault]) -> None:
        """Keep the faults for the checks that tell of them."""
        more = f" (og {len(faults) - 1} fejl mere)" if len(faults) > 1 else ""
        super().__init__(f"{faults[0]}{more}")
        self.faults = tuple(faults)
