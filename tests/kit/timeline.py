"""Understands timelines: "K54 S24 K14" is 54 weeks of kontanthjælp, 24 of self-support, 14 of kontanthjælp.

K = kontanthjælp and D = dagpenge (A-weeks), U = SU (B-weeks), S = self-support (C-weeks). A timeline starts
on a Monday; nothing before the start. A history is what chance makes: people, claims, moves and trouble.
"""

import hashlib
import os
import re
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st

from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.efterregning.reports import Claim, Fil
from refusion_assets.domain.rules.entries import Konto, Rulebook

# `make test` tries each property with a few cases; `make soak` with twenty times as many.
TIMES_AS_MANY = int(os.environ.get("REFUSION_FLERE", "1"))
SOURCES = {  # letter: ydelse_id, konto, kilde, enhed, Felt, Pligt_SE, Kommunekode
    "K": ("KTH", "urn:oio:kommune:konto:557731007", "ky", "169", "Felt0115", "29169000", "169"),
    "D": ("ADP", "urn:oio:akasse:konto:adp", "akasse", "20100001", "Felt0114", "20100001", ""),
    "U": ("SU", "urn:oio:su-styrelsen:konto:su", "su", "34042012", "Felt0114", "34042012", ""),
}
CPR = "6110512470"  # synthetic: day + 60
COLUMNS = (
    "Lb_nr",
    "IndberetningsID",
    "ReferenceID",
    "Indberetningsart",
    "Pligt_SE",
    "Kommunekode",
    "CPR",
    "Person_SE",
    "Loenperiode_start",
    "Loenperiode_slut",
    "Dispositionsdato",
    "Indkomsttype",
    "Indtaegtsart",
    "Felt0014",
    "Felt0037",
    "Felt0038",
    "Felt0046",
    "Felt0048",
    "Felt0098",
    "Felt0114",
    "Felt0115",
    "Felt0214_start",
    "Felt0214_slut",
    "Felt0215_start",
    "Felt0215_slut",
    "Felt0216",
    "Modtaget_tidspunkt",
)


def weeks(timeline: str, fra: date) -> list[tuple[date, str]]:
    """Monday and letter of every week of a timeline."""
    if fra.weekday() != 0 or not re.fullmatch(r"([KDUS]\d+)( [KDUS]\d+)*", timeline):
        raise ValueError(f"not a timeline from a Monday: {timeline}")
    letters = "".join(step[0] * int(step[1:]) for step in timeline.split())
    return [(fra + timedelta(weeks=place), letter) for place, letter in enumerate(letters)]


def last_day(timeline: str, fra: date) -> date:
    """The Sunday that ends a timeline."""
    return weeks(timeline, fra)[-1][0] + timedelta(days=6)


def claims(timeline: str, fra: date, oere: int = 100_000, cpr: str = CPR) -> list[Claim]:
    """One claim of `oere` for every week of support, Monday to Sunday."""
    return [
        Claim(cpr, ydelse_id, konto, week, week + timedelta(days=6), pligt_se, kommunekode, oere)
        for week, letter in weeks(timeline, fra)
        if letter != "S"
        for ydelse_id, konto, _, _, _, pligt_se, kommunekode in [SOURCES[letter]]
    ]


def row(
    letter: str, fra: date, til: date, number: int, kroner: str = "1000,00", cpr: str = CPR, **changes: str
) -> dict[str, str]:
    """One raw `I` row of a letter's benefit and the period, with `changes` to its columns."""
    _, konto, _, _, felt, pligt_se, kommunekode = SOURCES[letter]
    values = dict.fromkeys(COLUMNS, "") | {
        "Lb_nr": str(number),
        "IndberetningsID": f"{letter}{number:08}",
        "Indberetningsart": "I",
        "Pligt_SE": pligt_se,
        "Kommunekode": kommunekode,
        "CPR": cpr,
        "Loenperiode_start": str(fra),
        "Loenperiode_slut": str(til),
        "Dispositionsdato": str(til),
        "Indkomsttype": "06",
        "Felt0014": kroner,
        felt: konto,
        "Felt0214_start": str(fra),
        "Felt0214_slut": str(til),
        "Modtaget_tidspunkt": f"{til}T12:00:00",
    }
    return values | changes


def fil(letter: str, rows: list[dict[str, str]], maaned: str, number: int = 1) -> Fil:
    """One raw file of a letter's sender."""
    _, _, kilde, enhed, _, _, _ = SOURCES[letter]
    name = f"eindkomst-yr-{kilde}-{enhed}-{maaned.replace('-', '')}-{number:04}.csv"
    return Fil(name, kilde, enhed, maaned, f"sha of {name}", rows)


def files(timeline: str, fra: date, maaned: str, kroner: str = "1000,00", cpr: str = CPR) -> list[Fil]:
    """The raw files of a timeline, one per sender, all received in `maaned`; one row per week of support."""
    by_letter: dict[str, list[dict[str, str]]] = {}
    for week, letter in weeks(timeline, fra):
        if letter != "S":
            rows = by_letter.setdefault(letter, [])
            rows.append(row(letter, week, week + timedelta(days=6), len(rows) + 1, kroner, cpr))
    return [fil(letter, rows, maaned) for letter, rows in by_letter.items()]


# --- histories ----------------------------------------------------------------------------------------------

PEOPLE = (CPR, "6201912197", "7001662194", "9112004321")  # synthetic: day + 60
PAYERS = ("29169000", "20100001")
KOMMUNER = ("169", "101")
LENGTHS = (1, 2, 5, 7, 10, 14, 28, 30, 31, 40, 60, 180, 364, 365, 366, 366, 367)
LATER = "?"  # a value that the file gives
BASES = (date(2014, 6, 16), date(2015, 12, 7), date(2019, 12, 2), date(2023, 11, 13), date(2025, 5, 26))
TROUBLE: tuple[dict[str, str], ...] = (
    {"Felt0115": "urn:unknown"},
    {"Felt0114": "urn:oio:akasse:konto:adp"},
    {"Felt0114": "", "Felt0115": ""},
    {"Felt0115": "", "Felt0114": "urn:oio:kommune:konto:557731007"},
    {"Felt0214_start": "", "Felt0215_start": ""},
    {"Felt0216": ""},
    {"Dispositionsdato": ""},
    {"Indberetningsart": "X"},
    {"Indberetningsart": ""},
    {"IndberetningsID": ""},
    {"Pligt_SE": ""},
    {"Lb_nr": "x"},
    {"Felt0014": "1.000,00"},
    {"Felt0046": "1,234"},
    {"Felt0098": "-1,00"},
    {"Felt0098": "100,5"},
    {"Loenperiode_slut": "2001-01-01"},
    {"Felt0214_slut": "2010-01-01", "Felt0215_slut": "2010-01-01"},
    {"Felt0214_slut": "2023-02-29", "Felt0215_slut": "2023-02-29"},
    {"CPR": "9102700000", "Felt0216": "9102700000"},
    {"CPR": "", "Felt0216": ""},
    {"Kommunekode": "999"},
    {"Kommunekode": "101"},
    {"Kommunekode": ""},
    {"Modtaget_tidspunkt": ""},
    {"Modtaget_tidspunkt": "2024-01-10 12:00:00"},
)


@dataclass(frozen=True)
class History:
    """Raw files of three months of receipt, those months in order, and residences as each of them knows them."""

    files: list[Fil]
    months: list[str]
    snapshots: list[list[dict[str, str]]]

    @property
    def last(self) -> str:
        """The last run month."""
        return self.months[-1]

    @property
    def bopael(self) -> list[dict[str, str]]:
        """Residences as the last month knows them."""
        return self.snapshots[-1]


def kroner(oere: int) -> str:
    """An amount as a sender may write it: with two decimals, one or none."""
    text = f"{'-' if oere < 0 else ''}{abs(oere) // 100},{abs(oere) % 100:02}"
    return text.removesuffix("0").removesuffix(",0") if oere % 4 else text


def report(konto: Konto, felt: str, cpr: str, fra: date, til: date, oere: int, enhed: str = "169") -> dict[str, str]:
    """One `I` row on any account, with `kilde` and `enhed` of the file it belongs in; `felt` holds the amount."""
    kommunal = konto.felt == "0115"
    period = "Felt0214" if konto.kontoart == 1 else "Felt0215"
    return dict.fromkeys(COLUMNS, "") | {
        "kilde": konto.kilde_id,
        "enhed": enhed if kommunal else PAYERS[1],
        "Lb_nr": LATER,
        "IndberetningsID": "I1",
        "Indberetningsart": "I",
        "Pligt_SE": PAYERS[0],
        "Kommunekode": enhed if kommunal else "",
        "CPR": "" if konto.kontoart == 2 else cpr,
        "Felt0216": cpr if konto.kontoart == 2 else "",
        "Loenperiode_start": str(fra),
        "Loenperiode_slut": str(til),
        "Dispositionsdato": str(til),
        "Indkomsttype": konto.indkomsttype,
        "Modtaget_tidspunkt": LATER,
        f"Felt{felt}": kroner(oere),
        f"Felt{konto.felt}": konto.konto,
        f"{period}_start": str(fra),
        f"{period}_slut": str(til),
    }


def delivered(rows: list[dict[str, str]], maaned: str) -> list[Fil]:
    """Rows as the files of their senders, all received in one month."""
    placed: dict[tuple[str, str], list[dict[str, str]]] = {}
    for row in rows:
        lines = placed.setdefault((row["kilde"], row["enhed"]), [])
        own = {"Lb_nr": str(len(lines) + 1), "Modtaget_tidspunkt": f"{maaned}-28T12:00:00"}
        lines.append({name: own[name] if row[name] == LATER else row[name] for name in COLUMNS})
    return [_fil(kilde, enhed, maaned, 1, lines) for (kilde, enhed), lines in placed.items()]


@st.composite
def _report(draw: st.DrawFn, rules: Rulebook, people: tuple[str, ...], last: date) -> dict[str, str]:
    """A report by chance: account, person, period, amount, payer."""
    konto = draw(st.sampled_from(rules.konti))
    felt = next(y for y in rules.ydelser if y.ydelse_id == konto.ydelse_id).felter[0]
    fra = draw(st.sampled_from([day for day in BASES if day <= last])) + timedelta(days=draw(st.integers(0, 75)))
    til = fra + timedelta(days=draw(st.sampled_from(LENGTHS)) - 1)
    oere = draw(st.sampled_from((1, 99, 350_000, 455_000, 1_194_400, -50_000))) + draw(st.integers(0, 99))
    row = report(konto, felt, draw(st.sampled_from(people)), fra, til, oere, draw(st.sampled_from(KOMMUNER)))
    row |= {"IndberetningsID": f"I{draw(st.integers(1, 60))}", "Pligt_SE": draw(st.sampled_from(PAYERS))}
    return row | ({"CPR": draw(st.sampled_from(("", *people)))} if konto.kontoart == 2 else {})


@st.composite
def _change(draw: st.DrawFn, rows: list[dict[str, str]], people: tuple[str, ...]) -> dict[str, str]:
    """One row that follows another: a supplement to its claim, a reversal of its report, or the row gone wrong."""
    row = draw(st.sampled_from(rows))
    kind = draw(st.sampled_from(["supplement", "reversal", "trouble", "extra"]))
    number = draw(st.integers(1, 60))
    if kind == "reversal":
        reference = draw(st.sampled_from([row["IndberetningsID"]] * 4 + ["T1", "I99"]))
        return row | {
            "IndberetningsID": f"T{number % 3}",
            "ReferenceID": reference,
            "Indberetningsart": "T",
            "CPR": draw(st.sampled_from(("", "", *people, "9102700000"))),
            "Pligt_SE": draw(st.sampled_from([row["Pligt_SE"]] * 4 + list(PAYERS))),
        }
    if kind == "trouble":
        return row | draw(st.sampled_from(TROUBLE))
    felt = next((felt for felt in ("Felt0014", "Felt0037", "Felt0048") if row[felt]), "Felt0014")
    changed = row | {"IndberetningsID": f"I{number}", felt: kroner(draw(st.integers(-60_000, 50_000)))}
    return changed if kind == "supplement" else changed | {"Felt0046": "90,00", "Felt0098": "12,34"}


@st.composite
def histories(draw: st.DrawFn, rules: Rulebook, people: tuple[str, ...] = PEOPLE) -> History:
    """Any history: reports on all accounts, supplements, reversals, moves, duplicates and broken rows."""
    first = month_of(draw(st.sampled_from(["2020-01", "2023-12", "2025-06"])))
    months = [f"{next_month(first, step):%Y-%m}" for step in range(3)]
    last = next_month(first, 2)
    rows = draw(st.lists(_report(rules, people, last), min_size=3, max_size=10))
    rows += draw(st.lists(_change(rows, people), max_size=6))
    placed: dict[tuple[str, str, str, int], list[dict[str, str]]] = {}
    for row in rows:
        maaned = draw(st.sampled_from(months))
        lines = placed.setdefault((row["kilde"], row["enhed"], maaned, draw(st.integers(0, 1))), [])
        when = f"{maaned}-{draw(st.integers(10, 28))}T12:00:00"
        own = {"Lb_nr": str(len(lines) + 1), "Modtaget_tidspunkt": when}
        lines.append({name: own[name] if row[name] == LATER else row[name] for name in COLUMNS})
    files = [_fil(kilde, enhed, maaned, half, lines) for (kilde, enhed, maaned, half), lines in placed.items()]
    if draw(st.booleans()):
        again = draw(st.sampled_from(files))
        name = f"eindkomst-yr-{again.kilde}-{again.enhed}-{months[-1].replace('-', '')}-9000.csv"
        files.append(replace(again, maaned=months[-1], filnavn=name))
    stays = draw(_bopael(people))
    earlier = draw(st.lists(st.sampled_from(stays), unique_by=id)) if stays else []
    return History(files, months, [earlier, earlier, stays])


def _fil(kilde: str, enhed: str, maaned: str, half: int, rows: list[dict[str, str]]) -> Fil:
    """One raw file, with a hash of its rows."""
    name = f"eindkomst-yr-{kilde}-{enhed}-{maaned.replace('-', '')}-{2 * int(maaned[5:]) + half:04}.csv"
    return Fil(name, kilde, enhed, maaned, hashlib.sha256(str(rows).encode()).hexdigest(), rows)


@st.composite
def _bopael(draw: st.DrawFn, people: tuple[str, ...]) -> list[dict[str, str]]:
    """Residences of some people: moves in the middle of weeks, gaps, overlaps, codes nobody knows."""
    stays = []
    for cpr in people:
        for _ in range(draw(st.integers(0, 3))):
            start = draw(st.sampled_from([date(2000, 1, 1), *BASES])) + timedelta(days=draw(st.integers(0, 60)))
            days = draw(st.one_of(st.none(), st.integers(-3, 60), st.just(3000)))
            slut = "" if days is None else str(start + timedelta(days=days))
            kode = draw(st.sampled_from([*KOMMUNER, "751", "999"]))
            stays.append({"CPR": cpr, "Kommunekode": kode, "Bopael_start": str(start), "Bopael_slut": slut})
    return stays


def examples(few: int, **other: Any) -> settings:
    """The settings of a property that is tried with a few cases, or with more where that is asked for."""
    return settings(max_examples=few * TIMES_AS_MANY, **other)
