"""Understands typical benefits and lives: sums, lengths, and the benefits that follow. Numbers only.

Rounded rates of 2015-2025 from the ministry of employment, and shares of the recipients from Statistics Denmark (tables
AUK01 and AUH01).
"""

from dataclasses import dataclass
from typing import Literal

Form = Literal["maaned", "uge", "straek"]


@dataclass(frozen=True)
class Profil:
    """Form of reporting (by month, week or touched stretch), range of kroner a month or week, range of days."""

    form: Form
    kroner: tuple[int, int]
    dage: tuple[int, int]


@dataclass(frozen=True)
class Forloeb:
    """A course of life: share of the people, years of birth, weights of the first and of the later benefits.

    pauser: per cent of spells followed by no pause, a short one, one of about 52 weeks; the rest by a long one.
    """

    andel: int
    foedt: tuple[int, int]
    foerste: dict[str, int]
    siden: dict[str, int]
    pauser: tuple[int, int, int]


UNKNOWN = Profil("maaned", (5_000, 12_000), (60, 400))
"""The profile of a benefit that `PROFILER` lacks."""

PROFILER = {
    "ADP": Profil("straek", (13_000, 20_600), (21, 700)),
    "ADP_EU": Profil("straek", (15_000, 20_000), (28, 90)),
    "MAY": Profil("straek", (11_000, 14_900), (60, 400)),
    "UDD_SAERLIG": Profil("straek", (11_000, 14_900), (60, 300)),
    "KONTANTYD": Profil("maaned", (11_000, 14_900), (60, 400)),
    "KTH": Profil("maaned", (11_000, 16_000), (150, 3_600)),
    "UDDH": Profil("maaned", (6_500, 13_900), (60, 1_800)),
    "SYG_BORGER": Profil("uge", (2_300, 4_690), (14, 300)),
    "SYG_VIRK": Profil("uge", (3_000, 4_690), (30, 150)),
    "LED": Profil("maaned", (14_000, 17_200), (200, 1_800)),
    "REVAL": Profil("maaned", (12_000, 19_300), (200, 900)),
    "RESS": Profil("maaned", (11_700, 15_600), (400, 1_500)),
    "JAF": Profil("maaned", (11_700, 15_600), (400, 1_800)),
    "FOEP": Profil("maaned", (16_400, 19_400), (5_000, 6_000)),
    "FLEKS": Profil("maaned", (4_000, 18_900), (500, 5_000)),
    "LTS_PRIV": Profil("maaned", (9_000, 13_500), (60, 180)),
    "LTS_OFF": Profil("maaned", (9_000, 15_500), (60, 120)),
    "LTS_HANDICAP": Profil("maaned", (5_000, 10_000), (400, 3_000)),
    "INTY": Profil("maaned", (6_000, 12_000), (200, 1_400)),
    "SHO": Profil("maaned", (6_000, 12_000), (200, 1_400)),
    "SENP": Profil("maaned", (18_000, 19_900), (5_000, 6_000)),
    "FLYGT": Profil("maaned", (11_000, 14_500), (100, 365)),
    "FOEP_GL50": Profil("maaned", (16_400, 19_400), (6_000, 7_000)),
    "FOEP_GL65": Profil("maaned", (16_400, 19_400), (6_000, 7_000)),
    "FLEKS_GL": Profil("maaned", (8_000, 15_000), (1_000, 6_000)),
    "SKAANE": Profil("maaned", (2_500, 6_000), (400, 4_000)),
    "BEFORD": Profil("maaned", (300, 2_000), (30, 150)),
    "SU": Profil("maaned", (3_400, 6_800), (300, 1_600)),
    "EFTL": Profil("maaned", (16_000, 19_700), (400, 1_500)),
    "FLEKSYD": Profil("maaned", (16_000, 18_900), (400, 1_500)),
    "BARSEL": Profil("maaned", (14_000, 19_300), (60, 330)),
    "FOLKEP": Profil("maaned", (6_400, 14_300), (5_000, 6_000)),
    "TIDLP": Profil("maaned", (13_500, 14_500), (400, 1_200)),
    "FERIEDP": Profil("maaned", (15_000, 20_000), (5, 25)),
}

FORLOEB = (
    Forloeb(60, (1955, 1990), {"FOEP_GL50": 6, "FOEP_GL65": 4}, {"FOLKEP": 1}, (0, 0, 0)),
    Forloeb(
        85,
        (1957, 1995),
        {"KTH": 3, "SYG_BORGER": 3, "RESS": 3, "JAF": 2, "ADP": 1, "FLEKS": 1},
        {"FOEP": 6, "SENP": 4, "JAF": 2, "KTH": 2, "SYG_BORGER": 3},
        (60, 20, 5),
    ),
    Forloeb(
        85,
        (1957, 1990),
        {"SYG_BORGER": 3, "JAF": 2, "FLEKS": 5, "FLEKS_GL": 4, "SKAANE": 1, "LTS_HANDICAP": 1},
        {"FLEKS": 7, "LED": 9, "SYG_BORGER": 3, "FLEKSYD": 1},
        (70, 15, 5),
    ),
    Forloeb(100, (1989, 2004), {"SU": 1}, {"SU": 5, "UDDH": 2, "ADP": 2, "BARSEL": 1}, (30, 30, 10)),
    Forloeb(
        200,
        (1956, 1996),
        {"ADP": 12, "ADP_EU": 1, "MAY": 2, "UDD_SAERLIG": 1},
        {"ADP": 12, "SYG_BORGER": 6, "BARSEL": 2, "FERIEDP": 1, "KTH": 1, "LTS_PRIV": 1, "LTS_OFF": 1, "EFTL": 1},
        (20, 30, 12),
    ),
    Forloeb(
        130,
        (1957, 1994),
        {"KTH": 8, "KONTANTYD": 1, "SYG_BORGER": 2},
        {"KTH": 8, "SYG_BORGER": 4, "REVAL": 1, "RESS": 2, "JAF": 1, "LTS_PRIV": 1, "LTS_OFF": 1, "KONTANTYD": 1},
        (30, 30, 12),
    ),
    Forloeb(50, (1989, 2003), {"UDDH": 1}, {"UDDH": 5, "KTH": 2, "SU": 3, "SYG_BORGER": 1}, (30, 35, 10)),
    Forloeb(50, (1960, 1997), {"INTY": 4, "SHO": 4, "FLYGT": 1}, {"SHO": 4, "KTH": 3, "ADP": 2}, (40, 30, 8)),
    Forloeb(
        210,
        (1957, 1996),
        {"SYG_VIRK": 4, "SYG_BORGER": 4, "BARSEL": 2},
        {"SYG_VIRK": 4, "SYG_BORGER": 5, "BARSEL": 2, "JAF": 1, "ADP": 1},
        (5, 15, 15),
    ),
    Forloeb(30, (1943, 1961), {"EFTL": 5, "FOLKEP": 1, "TIDLP": 3, "FLEKSYD": 1}, {"FOLKEP": 1}, (80, 5, 5)),
)

BESIDES = {"ADP": ("BEFORD", "FERIEDP"), "KTH": ("LTS_PRIV", "LTS_OFF"), "FLEKS": ("SYG_VIRK",), "SU": ("SYG_BORGER",)}
"""Benefits paid in the same weeks: one spell in eight of the key has one of the values beside it."""

FOLLOWED_BY = {
    "UDDH": ("KTH",),
    "SHO": ("INTY", "KTH"),
    "INTY": ("SHO", "KTH"),
    "KONTANTYD": ("KTH",),
    "MAY": ("ADP",),
    "UDD_SAERLIG": ("ADP",),
    "SENP": ("FOEP",),
    "TIDLP": ("EFTL",),
}
"""Benefits paid instead of one that is not in force, best first."""
