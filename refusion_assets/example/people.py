"""Understands the people of the example: CPR numbers, residences and paying municipalities.

No number belongs to a living person: its day is raised by 60, as in no register of the living. Every property is a pure
function of the seed and the person's number, so the order of work changes nothing.
"""

import zlib
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]

FAR = 99_999
"""A day that never comes (in the year 2243): a move that is not made, a validity that does not end."""

STEPS = (0x9E3779B97F4A7C15, 0xBF58476D1CE4E5B9, 0x94D049BB133111EB)
CPR_WEIGHTS = (4, 3, 2, 7, 6, 5)
CENTURY = 2000
"""First year of birth with digit 7 in 4-9; before it, 0-3."""

MOVES = (2,) + (1,) * 2 + (0,) * 9
ABROAD = (1,) + (0,) * 49
PAID_ON = tuple(14 * weeks for weeks in range(1, 6)) * 3 + (0,) * 35
"""Values to draw among: number of moves, abroad before a move, days that the old municipality pays on."""


def draw(seed: int, purpose: str, *keys: Ints) -> Ints:
    """A number from 0 to 2**62 - 1 per row of the keys, the same for the same seed, purpose and keys.

    The keys have one length. A draw changes no state, so chunks, months and sizes do not affect each other.
    Source: the mixing steps of SplitMix64 (Steele, Lea and Flood, 2014).
    """
    start = (seed * STEPS[0] + zlib.crc32(purpose.encode())) % 2**64
    mixed = np.full(len(keys[0]), start, dtype=np.uint64)
    for key in keys:
        mixed += key.astype(np.uint64) * np.uint64(STEPS[0]) + np.uint64(STEPS[0])
        mixed ^= mixed >> np.uint64(30)
        mixed *= np.uint64(STEPS[1])
        mixed ^= mixed >> np.uint64(27)
        mixed *= np.uint64(STEPS[2])
        mixed ^= mixed >> np.uint64(31)
    return (mixed >> np.uint64(2)).astype(np.int64)


def _pick(seed: int, purpose: str, key: Ints, values: tuple[int, ...]) -> Ints:
    return np.array(values, dtype=np.int64)[draw(seed, purpose, key) % len(values)]


def day(year: int, month: int = 1, dag: int = 1) -> int:
    """The day as the number of days since 1 January 1970."""
    return int(np.datetime64(f"{year:04}-{month:02}-{dag:02}", "D").astype(np.int64))


def month_start(maaned: int) -> int:
    """The first day of a month that is given as year * 12 + month - 1."""
    return day(maaned // 12, maaned % 12 + 1)


@dataclass(frozen=True)
class People:
    """The people of one example, one element (or row of three) per person; days as days since 1970.

    kommune, bopael, betaler: up to three residences, as index into kommuner, first day there, first day that the
    municipality pays. FAR if the person moves less often. huller: days abroad before a move.
    """

    seed: int
    kommuner: list[str]
    cpr: pl.Series
    forloeb: Ints
    foedt: Ints
    kommune: Ints
    bopael: Ints
    betaler: Ints
    huller: Ints
    uden_bopael: Bools

    @property
    def antal(self) -> int:
        """The number of people."""
        return len(self.cpr)


def population(
    seed: int, kommuner: pl.DataFrame, antal: int, foedt: list[tuple[int, int]], andele: list[int]
) -> People:
    """One person per element: course of life, birthday, CPR number and residences.

    kommuner: kommunekode, indbyggertal. foedt, andele: per course of life the first and last year of birth and
    its share of the people. The people of the first residence are proportional to indbyggertal.
    """
    person = np.arange(antal)
    forloeb = np.searchsorted(np.cumsum(andele), draw(seed, "forloeb", person) % sum(andele), side="right")
    first, last = (np.array([day(aar) for aar in aarene]) for aarene in zip(*foedt, strict=True))
    span = last[forloeb] - first[forloeb]
    birthday = first[forloeb] + draw(seed, "foedt", person) % span
    kommune, bopael = _residences(seed, kommuner["indbyggertal"].to_numpy().astype(np.int64), person)
    # Some early pensioners have no residence, so that EI-018 occurs.
    uden_bopael = np.zeros(antal, dtype=np.bool_)
    uden_bopael[np.flatnonzero(forloeb == 0)[7::60]] = True
    return People(
        seed=seed,
        kommuner=kommuner["kommunekode"].to_list(),
        cpr=cpr_numbers(seed, birthday),
        forloeb=forloeb.astype(np.int64),
        foedt=birthday,
        kommune=kommune,
        bopael=bopael,
        betaler=_payers(seed, bopael),
        huller=_pick(seed, "hul", person, ABROAD) * (10 + draw(seed, "huldage", person) % 200),
        uden_bopael=uden_bopael,
    )


def _residences(seed: int, indbyggere: Ints, person: Ints) -> tuple[Ints, Ints]:
    """Municipality and first day of three residences per person; one in four moves, one in twelve moves twice."""
    upto = np.cumsum(indbyggere)
    drawn = [(2 * person + 1) * upto[-1] // (2 * len(person))]
    drawn += [draw(seed, f"flytter til {nr}", person) % upto[-1] for nr in (1, 2)]
    kommune = np.stack([np.searchsorted(upto, point, side="right") for point in drawn], axis=1)
    window = day(2026) - day(2013)
    dates = np.sort(np.stack([day(2013) + draw(seed, f"flytning {nr}", person) % window for nr in (1, 2)], 1), axis=1)
    moves = _pick(seed, "flytter", person, MOVES)
    dates = np.where(np.arange(2) < moves[:, None], dates, FAR)
    # Two moves on one day would leave a residence that ends before it starts.
    dates[(dates[:, 0] == dates[:, 1]), 1] = FAR
    return kommune, np.column_stack([np.full(len(person), day(2006)), dates])


def _payers(seed: int, bopael: Ints) -> Ints:
    """First day of payment per residence: three in ten pay on for some weeks after the move."""
    paid = bopael.copy()
    person = np.arange(len(bopael))
    for nr in (1, 2):
        late = bopael[:, nr] + _pick(seed, f"sen betaler {nr}", person, PAID_ON)
        paid[:, nr] = np.where(bopael[:, nr] == FAR, FAR, late)
    # The second payer never takes over before the first, even if both moves were close.
    paid[:, 2] = np.maximum(paid[:, 1], paid[:, 2])
    return paid


def cpr_numbers(seed: int, birthday: Ints) -> pl.Series:
    """A CPR number of ten digits per birthday: unique, possible, day + 60, nine in ten with modulus 11.

    ValueError with more people than numbers on a birthday. Source: input.md section 4 (digit 7); born 1940 to 2036.
    """
    order = np.argsort(birthday, kind="stable")
    ordered = birthday[order]
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order)) - np.searchsorted(ordered, ordered)
    months = birthday.astype("datetime64[D]").astype("datetime64[M]")
    dag = birthday - months.astype("datetime64[D]").astype(np.int64) + 61
    maaned = months.astype(np.int64) % 12 + 1
    aar = months.astype(np.int64) // 12 + 1970
    lowest, size = np.where(aar >= CENTURY, 400, 0), np.where(aar >= CENTURY, 600, 400)
    start = draw(seed, "loebenummer", birthday)
    serial = lowest + (rank * 37 + start) % size
    used = rank // size
    head = dag * 10_000 + maaned * 100 + aar % 100
    weighted = sum(head // 10 ** (5 - nr) % 10 * weight for nr, weight in enumerate(CPR_WEIGHTS))
    weighted += serial // 100 * 4 + serial // 10 % 10 * 3 + serial % 10 * 2
    last_digits = 10
    last = ((11 - weighted % 11) % 11 + used) % last_digits
    if used.max(initial=0) >= last_digits:
        raise ValueError("more people than CPR numbers on one day of birth")
    number = head * 10_000 + serial * 10 + last
    return pl.Series("cpr", number).cast(pl.String)
