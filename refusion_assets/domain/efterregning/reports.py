"""Understands reports by hand: raw rows in, claims and quarantine out, one plain rule at a time.

The first part of the independent calculation (input.md, sections 2 to 4); it shares nothing but the rules.
"""

import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from fractions import Fraction
from functools import lru_cache
from typing import NamedTuple, TypeVar

from refusion_assets.domain.rules.entries import Enhedspris, Genoptjening, Konto, Rulebook, Trappe, Ydelse


@lru_cache(maxsize=100_000)
def read_date(text: str) -> date | None:
    """The day written as YYYY-MM-DD; None where there is no such day."""
    try:
        return date.fromisoformat(text) if re.fullmatch("[0-9]{4}-[0-9]{2}-[0-9]{2}", text) else None
    except ValueError:
        return None


def rounded(number: Fraction | int) -> int:
    """The nearest whole number, half away from zero."""
    parts, of = abs(number.numerator), number.denominator
    whole = (2 * parts + of) // (2 * of)
    return whole if number >= 0 else -whole


def has_other_digit(text: str) -> bool:
    """True if the text has a decimal digit of another script than ASCII."""
    return not text.isascii() and any(unicodedata.category(sign) == "Nd" and not "0" <= sign <= "9" for sign in text)


def is_timestamp(text: str) -> bool:
    """True if the text is a moment, YYYY-MM-DDTHH:MM:SS."""
    clock = re.fullmatch("T([01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]", text[10:])
    return clock is not None and read_date(text[:10]) is not None


@lru_cache(maxsize=100_000)
def read_oere(text: str) -> int | None:
    """The amount in øre, from at most ten digits and at most two decimals; None where unreadable."""
    found = re.fullmatch("(-?)([0-9]{1,10})(?:,([0-9]{1,2}))?", text)
    if found is None:
        return None
    sign, kroner, decimals = found.groups()
    return int(sign + kroner + (decimals or "").ljust(2, "0"))


def possible_cpr(cpr: str, received: date) -> bool:
    """True if ten digits can be a person born no later than the receipt; modulus 11 is not asked.

    Hjemmel: none, technical (contract: input.md section 4; the seventh digit gives the century).
    """
    if not re.fullmatch("[0-9]{10}", cpr):
        return False
    day, month, yy, seventh = int(cpr[:2]), int(cpr[2:4]), int(cpr[4:6]), cpr[6]
    if seventh in "0123" or (seventh in "49" and yy > 36):
        century = 1900
    else:
        century = 1800 if seventh in "5678" and yy > 57 else 2000
    try:
        return date(century + yy, month, day - 60 if day > 60 else day) <= received
    except ValueError:
        return False


def month_end(maaned: str) -> date:
    """The last day of a month, YYYY-MM."""
    return (date.fromisoformat(f"{maaned}-01") + timedelta(days=31)).replace(day=1) - timedelta(days=1)


REQUIRED = (
    "Lb_nr",
    "IndberetningsID",
    "Indberetningsart",
    "Pligt_SE",
    "Loenperiode_start",
    "Loenperiode_slut",
    "Dispositionsdato",
    "Indkomsttype",
    "Modtaget_tidspunkt",
)
REPORT_ONLY = ("Loenperiode_start", "Loenperiode_slut", "Dispositionsdato", "Indkomsttype")
DATES = (
    "Loenperiode_start",
    "Loenperiode_slut",
    "Dispositionsdato",
    "Felt0214_start",
    "Felt0214_slut",
    "Felt0215_start",
    "Felt0215_slut",
)
AMOUNTS = ("Felt0014", "Felt0037", "Felt0038", "Felt0046", "Felt0048", "Felt0098")
Key = tuple[str, str, str, str, str, str]
Dated = TypeVar("Dated", Ydelse, Genoptjening, Trappe, Enhedspris)
LARGEST = 10**12 - 1  # øre: ten digits of kroner and two decimals


@dataclass(frozen=True)
class Fil:
    """One accepted raw file: month of receipt, CSV rows as text (empty = null), when the first of all rows came."""

    filnavn: str
    kilde: str
    enhed: str
    maaned: str
    sha256: str
    rows: list[dict[str, str]]
    foerste: str | None = None


@dataclass(frozen=True)
class Raekke:
    """One raw row, its line in the file counted from 1, and the account an `I` row names, if there is one."""

    fil: Fil
    lb_nr: int
    felter: dict[str, str]
    konto: Konto | None

    def __getitem__(self, kolonne: str) -> str:
        return self.felter[kolonne]

    @property
    def person(self) -> str:
        """The column of the person whose weeks and money it is about: the triggering one of KontoArt 2, else CPR."""
        return "Felt0216" if self.konto and self.konto.kontoart == 2 else "CPR"

    @property
    def subject(self) -> str:
        """The person whose weeks and money it is about."""
        return self[self.person]

    @property
    def period(self) -> tuple[str, str]:
        """The benefit period as text, both days inclusive: Felt0214 for KontoArt 1, else Felt0215."""
        felt = "Felt0214" if self.konto and self.konto.kontoart == 1 else "Felt0215"
        return self[f"{felt}_start"], self[f"{felt}_slut"]

    @property
    def key(self) -> Key:
        """The key that rows of the same claim share: person, account, period, payer, municipality."""
        konto = self["Felt0114"] or self["Felt0115"]
        return self.subject, konto, *self.period, self["Pligt_SE"], self["Kommunekode"]


@dataclass(frozen=True, order=True)
class Claim:
    """One claim K: what one payer reports to one person on one account for one period, øre in all."""

    cpr: str
    ydelse_id: str
    konto: str
    fra: date
    til: date
    pligt_se: str
    kommunekode: str
    beloeb: int


class Karantaene(NamedTuple):
    """One quarantined row and the first rule it breaks."""

    filnavn: str
    lb_nr: int
    indberetningsid: str
    regel: str


class Dom(NamedTuple):
    """The judgement: every `I` row stands in exactly one list; `T` rows only ever in `karantaene`."""

    brugt: list[Raekke]
    tilbagefoert: list[Raekke]
    karantaene: list[Karantaene]


def _yr(row: Raekke, known: frozenset[str]) -> str | None:
    """YR-001 to YR-008: the account is right, and the fields it asks for are filled."""
    filled = [row[felt] for felt in ("Felt0114", "Felt0115") if row[felt]]
    if any(konto not in known for konto in filled):
        return "YR-001"
    if row.konto is None:
        return "YR-002" if filled else "YR-003"
    art, has_period = row.konto.kontoart, all(row.period)
    checks = (
        ("YR-004", art == 1 and not has_period),
        ("YR-005", art == 2 and not (has_period and row["Felt0216"])),
        ("YR-006", art == 3 and not has_period),
        ("YR-007", not row[f"Felt{row.konto.felt}"]),
        ("YR-008", row.konto.kilde_id != row.fil.kilde),
    )
    return next((regel for regel, broken in checks if broken), None)


def _ei_001(row: Raekke, kommunal: bool) -> str | None:
    """EI-001: everything required is there, and everything that is there can be read as its type."""
    art = row["Indberetningsart"]
    # In the fixed-width form a reversal is a record 4101, which has no place for these.
    excused = REPORT_ONLY if art == "T" and row.fil.filnavn.endswith(".txt") else ()
    complete = (
        all(row[kolonne] for kolonne in REQUIRED if kolonne not in excused)
        and (art == "I" or (art == "T" and row["ReferenceID"] != ""))
        and (row["Kommunekode"] != "" or not kommunal)
    )
    readable = (
        re.fullmatch("[0-9]{1,18}", row["Lb_nr"])
        and is_timestamp(row["Modtaget_tidspunkt"])
        and all(read_date(row[kolonne]) for kolonne in DATES if row[kolonne])
        and all(read_oere(row[kolonne]) is not None for kolonne in AMOUNTS if row[kolonne])
        and (read_oere(row["Felt0098"]) or 0) >= 0
        and not any(has_other_digit(text) for kolonne, text in row.felter.items() if kolonne != row.person)
    )
    return None if complete and readable else "EI-001"


def _too_much(row: Raekke, rules: Rulebook) -> str | None:
    """EI-001 too: the units of a readable report times their price are more than an amount field could say."""
    if row.konto is None or all(entry.ydelse_id != row.konto.ydelse_id for entry in rules.enhedspriser):
        return None
    ydelse = benefit(row.konto.ydelse_id, date.fromisoformat(row.period[0]), rules)
    return "EI-001" if abs(reported(row, ydelse, rules)) > LARGEST else None


def _ei_002(row: Raekke, longest: int) -> str | None:
    """EI-002: no period ends before it starts, and no benefit period is longer than the bound."""
    if row["Loenperiode_slut"] < row["Loenperiode_start"]:
        return "EI-002"
    if row.konto is None:
        return None
    fra, til = (date.fromisoformat(day) for day in row.period)
    return "EI-002" if til < fra or (til - fra).days + 1 > longest else None


def _ei_003(row: Raekke) -> str | None:
    """EI-003: the subject can be a person; a `T` row without CPR means everybody in the report."""
    if row["Indberetningsart"] == "T" and not row["CPR"]:
        return None
    received = date.fromisoformat(row["Modtaget_tidspunkt"][:10])
    return None if possible_cpr(row.subject, received) else "EI-003"


def _ei_008(row: Raekke, kommunal: bool, rules: Rulebook) -> str | None:
    """EI-008: a municipal row names the municipality of its file; a national row names none."""
    kode = row["Kommunekode"]
    if not kommunal:
        return "EI-008" if kode else None
    known = any(kommune.kommunekode == kode for kommune in rules.kommuner)
    return None if known and kode == row.fil.enhed else "EI-008"


@lru_cache(maxsize=100)
def accounts(rules: Rulebook) -> frozenset[str]:
    """The accounts that a report may name."""
    return frozenset(konto.konto for konto in rules.konti)


def row_rule(row: Raekke, rules: Rulebook) -> str | None:
    """The first rule one row breaks by itself, in the order of the contract's table; None for a good row."""
    kommunal = any(kilde.id == row.fil.kilde and kilde.art == "kommunal" for kilde in rules.kilder)
    return (
        (_yr(row, accounts(rules)) if row["Indberetningsart"] == "I" else None)
        or _ei_001(row, kommunal)
        or _too_much(row, rules)
        or _ei_002(row, rules.graense("periode_dage"))
        or _ei_003(row)
        or _ei_008(row, kommunal, rules)
    )


def in_order(files: Iterable[Fil]) -> list[Fil]:
    """The files in order of receipt, without those delivered before (FIL-004)."""

    def place(fil: Fil) -> tuple[str, str, str]:
        times = [row["Modtaget_tidspunkt"] for row in fil.rows if is_timestamp(row["Modtaget_tidspunkt"])]
        return fil.maaned, fil.foerste or min(times, default=""), fil.filnavn

    first: dict[str, Fil] = {}
    return [fil for fil in sorted(files, key=place) if first.setdefault(fil.sha256, fil) is fil or not fil.rows]


def read_rows(files: Iterable[Fil], rules: Rulebook) -> list[Raekke]:
    """Every row of every file that is not a second delivery, in order of receipt."""
    konti = {konto.konto: konto for konto in rules.konti}

    def named(felter: dict[str, str]) -> Konto | None:
        filled = [felter[felt] for felt in ("Felt0114", "Felt0115") if felter[felt]]
        return konti.get(filled[0]) if felter["Indberetningsart"] == "I" and len(filled) == 1 else None

    return [
        Raekke(fil, lb_nr, felter, named(felter)) for fil in in_order(files) for lb_nr, felter in enumerate(fil.rows, 1)
    ]


def judge(files: Iterable[Fil], rules: Rulebook) -> Dom:
    """Every row of the files judged once: used, reversed or quarantined; the same for any order of rows.

    Hjemmel: none, technical (contract: input.md sections 3 and 4).
    """
    rows = read_rows(files, rules)
    first_file: dict[str, Fil] = {}
    for row in rows:
        if row["Indberetningsart"] == "I":
            first_file.setdefault(row["IndberetningsID"], row.fil)
    reversal_ids = {row["IndberetningsID"] for row in rows if row["Indberetningsart"] == "T"}

    def set_rule(row: Raekke) -> str | None:
        if row["Indberetningsart"] == "I":
            return "EI-013" if first_file[row["IndberetningsID"]] is not row.fil else None
        reference = row["ReferenceID"]
        return "EI-015" if reference in reversal_ids and reference not in first_file else None

    judged = [(row, row_rule(row, rules) or set_rule(row)) for row in rows]
    good = [row for row, regel in judged if regel is None]
    # A reversal works on the set of rows, so it may have come before the report it reverses.
    back = {(row["ReferenceID"], row["Pligt_SE"], row["CPR"]) for row in good if row["Indberetningsart"] == "T"}
    active, tilbagefoert = list[Raekke](), list[Raekke]()
    for row in (row for row in good if row["Indberetningsart"] == "I"):
        report = row["IndberetningsID"], row["Pligt_SE"]
        is_reversed = (*report, "") in back or (*report, row.subject) in back
        (tilbagefoert if is_reversed else active).append(row)
    below = {key for key, beloeb in add_up(active, rules).items() if beloeb < 0}
    judged += [(row, "EI-010") for row in active if row.key in below]
    karantaene = sorted(
        Karantaene(row.fil.filnavn, row.lb_nr, row["IndberetningsID"], regel) for row, regel in judged if regel
    )
    return Dom([row for row in active if row.key not in below], tilbagefoert, karantaene)


def in_force(entries: Iterable[Dated], day: date) -> Dated:
    """The newest entry of the law on a day; the first one where the day is earlier than all."""
    ordered = sorted(entries, key=lambda entry: entry.gaelder_fra)
    return ([entry for entry in ordered if entry.gaelder_fra <= day] or ordered[:1])[-1]


@lru_cache(maxsize=100_000)
def benefit(ydelse_id: str, day: date, rules: Rulebook) -> Ydelse:
    """The benefit as it stands on a day."""
    return in_force([ydelse for ydelse in rules.ydelser if ydelse.ydelse_id == ydelse_id], day)


def price(ydelse_id: str, day: date, rules: Rulebook) -> int | None:
    """The øre of one unit of a benefit on a day; None for a benefit that is reported in kroner."""
    prices = [entry for entry in rules.enhedspriser if entry.ydelse_id == ydelse_id]
    return in_force(prices, day).pris_oere if prices else None


def reported(row: Raekke, ydelse: Ydelse, rules: Rulebook) -> Fraction:
    """The øre that the benefit's amount fields say, not yet rounded: as they stand, or as units at a price."""
    total = sum(read_oere(row[f"Felt{felt}"]) or 0 for felt in ydelse.felter)
    each = price(ydelse.ydelse_id, date.fromisoformat(row.period[0]), rules)
    return Fraction(total) if each is None else Fraction(total, 100) * each


def amount(row: Raekke, ydelse: Ydelse, rules: Rulebook) -> int:
    """The øre one row adds to its claim: what the benefit's amount fields say less repaid help; may be negative.

    Hjemmel: § 5, stk. 4 (nr. 1 and 2: before tax and after ATP).
    """
    total = rounded(reported(row, ydelse, rules)) - (read_oere(row["Felt0098"]) or 0)
    if rules.laesning("beloebsgrundlag") == "felt0014_er_foer_atp" and ydelse.lov_nr in ("1", "2"):
        total -= read_oere(row["Felt0046"]) or 0
    return total


def add_up(rows: Sequence[Raekke], rules: Rulebook) -> dict[Key, int]:
    """The øre of each claim key: the sum of its active rows."""
    total: dict[Key, int] = defaultdict(int)
    for row in rows:
        if row.konto:
            begins = date.fromisoformat(row.period[0])
            total[row.key] += amount(row, benefit(row.konto.ydelse_id, begins, rules), rules)
    return total


def claims(rows: Sequence[Raekke], rules: Rulebook) -> Iterator[Claim]:
    """The claims the used rows make; one that sums to zero touches no week and is left out."""
    ydelse_id = {konto.konto: konto.ydelse_id for konto in rules.konti}
    for (cpr, konto, fra, til, pligt_se, kommune), beloeb in sorted(add_up(rows, rules).items()):
        if beloeb > 0:
            yield Claim(
                cpr,
                ydelse_id[konto],
                konto,
                date.fromisoformat(fra),
                date.fromisoformat(til),
                pligt_se,
                kommune,
                beloeb,
            )
