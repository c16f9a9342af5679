"""Understands timelines: "K54 S24 K14" is 54 weeks of kontanthjælp, 24 of self-support, 14 of kontanthjælp.

K = kontanthjælp and D = dagpenge (A-weeks), U = SU (B-weeks), S = self-support (C-weeks). A timeline starts
on a Monday; nothing before the start.
"""

import re
from datetime import date, timedelta

from refusion_assets.domain.efterregning_raa import Claim, Fil

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
