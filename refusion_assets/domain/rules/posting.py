"""Understands where money is posted: the published accounts, a municipality's own, and the form of its voucher."""

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import Literal

from refusion_assets.domain.rules.cited import Cited

UKENDT = "ukendt"
"""The function of a benefit that has none."""
PUBLISHED_GROUP = re.compile("[0-9]{3}")
# The values of a line of a voucher that a column of a form can show.
Vaerdi = Literal[
    "bilagsnr", "bogfoeringsdato", "linje", "konto", "debet_kredit", "beloeb", "beloeb_med_fortegn", "debetbeloeb",
    "kreditbeloeb", "tekst", "ydelse", "ydelse_id", "side", "procent", "koersel", "kommunekode", "maaned",
]  # fmt: skip
# The columns, of which a form has one set, that say the amount and its side.
AMOUNTS = ({"beloeb", "debet_kredit"}, {"beloeb_med_fortegn"}, {"debetbeloeb", "kreditbeloeb"})
DAYS = {"ÅÅÅÅ-MM-DD": "%Y-%m-%d", "DD-MM-ÅÅÅÅ": "%d-%m-%Y", "DD.MM.ÅÅÅÅ": "%d.%m.%Y", "ÅÅÅÅMMDD": "%Y%m%d"}


@dataclass(frozen=True, kw_only=True)
class Kontering(Cited):
    """Where a side's money is posted in a municipality's books, for a benefit, a function or any (`*`)."""

    ydelse_id: str = ""
    funktion: str
    side: Literal["refusion", "medfinansiering", "mellemregning"]
    procent: int | None = None
    dranst: str
    gruppering: str
    verificeret: bool
    gaelder_fra: date
    note: str = ""

    def konto(self, funktion: str, procent: int) -> str:
        """The account string; `funktion` is the benefit's own, for an entry that fits any function."""
        own = funktion if self.funktion == "*" else self.funktion
        return f"{own}.{self.dranst}.{self.gruppering.format(procent=f'{procent:02d}')}"

    def placeholder(self, funktion: str) -> bool:
        """True if no ledger can know the account: the group is our own, or the benefit has no function."""
        unknown = self.funktion == "*" and funktion == UKENDT
        return unknown or not PUBLISHED_GROUP.fullmatch(self.gruppering)


@dataclass(frozen=True, kw_only=True)
class Kommunekonto(Cited):
    """One municipality's own account for a line of its vouchers, from those that are posted on a day on.

    For a benefit or a function, a percentage or all. Without `konto` the account of the rules stays. `felter`: what
    else its ledger wants of the line, by name.
    """

    kommunekode: str
    side: Literal["refusion", "medfinansiering", "mellemregning"]
    ydelse_id: str = ""
    funktion: str = ""
    procent: int | None = None
    konto: str = ""
    felter: dict[str, str] = field(default_factory=dict)
    gaelder_fra: date
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Kommunebilag(Cited):
    """One municipality's wish for its vouchers, from those that are posted on a day on.

    `bilagsform`: the form of one more file, none if empty. `felter`: the same on each of its lines. With
    `tillad_pladsholder` it takes accounts that nobody has filled in.
    """

    kommunekode: str
    bilagsform: str = ""
    felter: dict[str, str] = field(default_factory=dict)
    tillad_pladsholder: bool = False
    gaelder_fra: date
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Kolonne:
    """One column of a form: its heading, and what it shows: a value of the line, a field of the municipality, a text.

    `kraeves`: a line without it cannot be booked.
    """

    navn: str
    vaerdi: Vaerdi | None = None
    felt: str = ""
    tekst: str = ""
    kraeves: bool = False


@dataclass(frozen=True, kw_only=True)
class Bilagsform(Cited):
    """The form of a voucher as a file: its columns, and how it writes text, amounts, days, debit and credit."""

    id: str
    navn: str
    endelse: Literal["csv", "txt"]
    tegnsaet: Literal["utf-8", "utf-8-sig", "iso-8859-1", "windows-1252"]
    skilletegn: Literal[";", ",", "|", "tab"]
    decimaltegn: Literal[",", "."]
    linjeskift: Literal["lf", "crlf"] = "lf"
    overskrift: bool = True
    datoform: Literal["ÅÅÅÅ-MM-DD", "DD-MM-ÅÅÅÅ", "DD.MM.ÅÅÅÅ", "ÅÅÅÅMMDD"]
    debet: str = "Debet"
    kredit: str = "Kredit"
    kolonner: tuple[Kolonne, ...]
    note: str = ""

    @property
    def skiller(self) -> str:
        """The character between two values."""
        return "\t" if self.skilletegn == "tab" else self.skilletegn

    @property
    def vaerdier(self) -> dict[str, str]:
        """The heading of each value of a line that the form shows; the first where two columns show it."""
        return {k.vaerdi: k.navn for k in reversed(self.kolonner) if k.vaerdi}

    @property
    def felter(self) -> dict[str, str]:
        """The heading of each of the municipality's fields."""
        return {k.felt: k.navn for k in self.kolonner if k.felt}


Sought = tuple[str, str, str, str, int | None]
"""Municipality, side, benefit, function, per cent."""
BOOKED = "bogfoering"
"""The form of the file that every municipality gets."""


class OwnPostings:
    """The municipalities' own accounts and wishes for their vouchers, to be looked up."""

    def __init__(self, konti: Iterable[Kommunekonto], bilag: Sequence[Kommunebilag]) -> None:
        """Entries by what they are for, in order of their days."""
        self._konti: Mapping[Sought, list[Kommunekonto]] = defaultdict(list)
        self._bilag: Mapping[str, list[Kommunebilag]] = defaultdict(list)
        for konto in sorted(konti, key=lambda e: e.gaelder_fra):
            for_what = (konto.kommunekode, konto.side, konto.ydelse_id, konto.funktion, konto.procent)
            self._konti[for_what].append(konto)
        for wish in sorted(bilag, key=lambda e: e.gaelder_fra):
            self._bilag[wish.kommunekode].append(wish)

    def konto(
        self, kommunekode: str, side: str, ydelse_id: str, funktion: str, procent: int | None, day: date
    ) -> Kommunekonto | None:
        """The entry for a line posted on a day: its benefit before its function before any, a percentage before none.

        None where the municipality has said nothing of the line. Entries are not mixed: the closest one holds alone.
        """
        for own in ((ydelse_id, ""), ("", funktion), ("", "")):
            for rate in (procent, None):
                entries = self._konti.get((kommunekode, side, *own, rate), ())
                if found := [entry for entry in entries if entry.gaelder_fra <= day]:
                    return found[-1]
        return None

    def bilag(self, kommunekode: str, day: date) -> Kommunebilag | None:
        """The municipality's wish in force for vouchers posted on a day; None if it has said nothing."""
        found = [entry for entry in self._bilag.get(kommunekode, ()) if entry.gaelder_fra <= day]
        return found[-1] if found else None
