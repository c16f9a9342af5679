"""Understands the lives of the example: benefits with first and last day per person."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from refusion_assets.example.people import FAR, Bools, Ints, People, day, draw
from refusion_assets.example.profiles import BESIDES, FOLLOWED_BY, FORLOEB, PROFILER, UNKNOWN, Profil

COUNT_START = day(2014, 7)
COUNT_MONTH = 2014 * 12 + 6
"""First day, and month, that counts (the act, § 30, stk. 1)."""

MOST_SPELLS = 64
"""Numbers for one person's spells; the second benefits in the same weeks get the numbers after them."""


@dataclass(frozen=True)
class Konti:
    """The accounts with their profiles; `frame` has one row per account and its row number in `ydelse`."""

    frame: pl.DataFrame
    ydelser: list[str]
    fra: Ints
    til: Ints
    profiler: list[Profil]

    def of(self, ydelse_id: str) -> list[int]:
        """The row numbers of the accounts of a benefit; none if it is unknown."""
        return [nr for nr, ydelse in enumerate(self.ydelser) if ydelse == ydelse_id]

    def instead(self, first: int, last: int) -> Ints:
        """Per account, the one paid instead in first..last: itself while in force, -1 for none."""
        in_force = (self.fra <= last) & (self.til >= first)
        return np.array([self._instead(nr, in_force) for nr in range(len(self.ydelser))], dtype=np.int64)

    def _instead(self, nr: int, in_force: Bools) -> int:
        names = (self.ydelser[nr], *FOLLOWED_BY.get(self.ydelser[nr], ()))
        candidates = [nr, *(other for name in names for other in self.of(name))]
        return next((candidate for candidate in candidates if in_force[candidate]), -1)


def accounts(konti: pl.DataFrame) -> Konti:
    """The accounts of the rules with their profiles, one row per account; days as days since 1970.

    An account valid from the first counted day has no beginning here, as people got help before.
    """
    ydelser = konti["ydelse_id"].to_list()
    profiler = [PROFILER.get(ydelse, UNKNOWN) for ydelse in ydelser]
    fra = pl.col("gyldig_fra").cast(pl.Int64)
    frame = konti.with_row_index("ydelse").select(
        pl.col("ydelse").cast(pl.Int64),
        *("ydelse_id", "kilde", "kontoart", "felt", "konto", "indkomsttype"),
        indtaegtsart=pl.col("indtaegtsart").replace("", None),
        beloebsfelt=pl.col("beloebsfelter").list.first(),
        fra=pl.when(fra > COUNT_START).then(fra).otherwise(0),
        til=pl.col("gyldig_til").cast(pl.Int64).fill_null(FAR),
        form=pl.Series([profil.form for profil in profiler]),
        lo=pl.Series([profil.kroner[0] for profil in profiler]),
        hi=pl.Series([profil.kroner[1] for profil in profiler]),
    )
    return Konti(frame, ydelser, frame["fra"].to_numpy(), frame["til"].to_numpy(), profiler)


def spells(people: People, konti: Konti, last_day: int, chunk: int = 200_000) -> list[pl.DataFrame]:
    """One row per person and spell up to last_day: person, ydelse, start, slut (inclusive), spell (unique).

    ydelse is the row number of the account, days are days since 1970. One frame per chunk of people.
    """
    tour = _tour(people, konti, last_day)
    tables = _Tables.of(konti)
    return [
        _spells_of(people, konti, tables, tour, np.arange(first, min(first + chunk, people.antal)), last_day)
        for first in range(0, people.antal, chunk)
    ]


@dataclass(frozen=True)
class _Tables:
    """Look-up tables: first and later benefits per course of life, days per account, pauses, companions."""

    foerste: Ints
    siden: Ints
    dage: Ints
    pauser: Ints
    before: Ints
    besides: Ints

    @staticmethod
    def of(konti: Konti) -> "_Tables":
        spans = [np.geomspace(*profil.dage, 256) for profil in konti.profiler]
        return _Tables(
            foerste=np.array([_weighted(konti, forloeb.foerste) for forloeb in FORLOEB]),
            siden=np.array([_weighted(konti, forloeb.siden) for forloeb in FORLOEB]),
            dage=np.rint(np.array(spans)).astype(np.int64),
            pauser=np.cumsum([forloeb.pauser for forloeb in FORLOEB], axis=1),
            before=konti.instead(COUNT_START, COUNT_START),
            besides=np.array([_companions(konti, ydelse) for ydelse in konti.ydelser]),
        )


def _weighted(konti: Konti, weights: dict[str, int]) -> Ints:
    """A table of 1,000 accounts in which each benefit has its share; leaves out accounts unknown to the rules."""
    known = [(konti.of(ydelse), weight) for ydelse, weight in weights.items() if konti.of(ydelse)]
    pool = [accounts_of[turn % len(accounts_of)] for accounts_of, weight in known for turn in range(2 * weight)]
    return np.resize(np.array(pool or [0], dtype=np.int64), 1_000)


def _companions(konti: Konti, ydelse: str) -> list[int]:
    found = [nr for name in BESIDES.get(ydelse, ()) for nr in konti.of(name)] or [-1]
    return [found[0], found[-1]]


def _tour(people: People, konti: Konti, last_day: int) -> Ints:
    """The account of each person's first spell, or -1: so somebody gets every benefit in force."""
    possible = np.flatnonzero(np.minimum(konti.til, last_day) >= np.maximum(konti.fra, COUNT_START))
    ydelse = np.full(people.antal, -1, dtype=np.int64)
    places = np.arange(3 * len(possible)) * people.antal // max(1, 3 * len(possible))
    ydelse[places] = np.tile(possible, 3)
    return ydelse


def _spells_of(people: People, konti: Konti, tables: _Tables, tour: Ints, person: Ints, last_day: int) -> pl.DataFrame:
    at, parts = _entry(people, person, last_day), list[pl.DataFrame]()
    at = np.where(tour[person] >= 0, COUNT_START, at)
    for nr in range(MOST_SPELLS):
        person, at = person[at <= last_day], at[at <= last_day]
        key = person * 2 * MOST_SPELLS + nr
        lot = draw(people.seed, "ydelse", key)
        table = tables.foerste if nr == 0 else tables.siden
        ydelse = table[people.forloeb[person], lot % 1_000]
        ydelse = np.where(konti.fra[ydelse] > at, tables.before[ydelse], ydelse)
        slut = at + tables.dage[ydelse, lot // 1_000 % 256] - 1
        if nr == 0:
            ydelse, at, slut = _on_tour(konti, tour[person], last_day, lot, (ydelse, at, slut))
        parts += [_frame(key, ydelse, at, slut), _beside(people.seed, tables, key, ydelse, at, slut)]
        at = slut + 1 + _pause(people.seed, key, tables.pauser[people.forloeb[person]])
    lives = pl.concat(parts).filter(pl.col("slut") >= COUNT_START, pl.col("ydelse") >= 0)
    return lives.with_columns(pl.min_horizontal("slut", pl.lit(last_day, pl.Int32)))


def _entry(people: People, person: Ints, last_day: int) -> Ints:
    """First day of the first spell; for two in three before the first counted day."""
    before = COUNT_START - draw(people.seed, "indgang foer", person) % 900
    after = COUNT_START + draw(people.seed, "indgang", person) % (last_day - COUNT_START + 1)
    at = np.where(draw(people.seed, "i gang", person) % 3 < 2, before, after)
    at = np.where(people.forloeb[person] == 0, before, at)
    return np.maximum(at, people.foedt[person] + 18 * 366)


def _on_tour(
    konti: Konti, wanted: Ints, last_day: int, lot: Ints, else_: tuple[Ints, Ints, Ints]
) -> tuple[Ints, Ints, Ints]:
    """Account, first and last day; for people of `_tour`, those of the benefit wanted within its validity."""
    first, last = np.maximum(konti.fra[wanted], COUNT_START), np.minimum(konti.til[wanted], last_day)
    start = first + lot % np.maximum(1, last - first - 120)
    slut = np.minimum(start + 60 + lot // 1_000 % 300, last)
    ydelse, at, until = else_
    given = wanted >= 0
    return np.where(given, wanted, ydelse), np.where(given, start, at), np.where(given, slut, until)


def _pause(seed: int, key: Ints, upto: Ints) -> Ints:
    """Days without support after a spell: none, up to half a year, about 52 weeks, or up to four years."""
    kind = (draw(seed, "pauseart", key)[:, None] % 100 >= upto).sum(axis=1)
    shortest, spread = np.array([(0, 1), (7, 175), (357, 22), (380, 1_100)]).T
    return np.asarray(shortest[kind] + draw(seed, "pause", key) % spread[kind])


def _beside(seed: int, tables: _Tables, key: Ints, ydelse: Ints, start: Ints, slut: Ints) -> pl.DataFrame:
    """A second benefit in the same weeks, for one spell in eight of those that can have one."""
    lot = draw(seed, "ved siden af", key)
    other = tables.besides[ydelse, lot // 8 % 2]
    hit = (lot % 8 == 0) & (other >= 0)
    key, other, lot = key[hit] + MOST_SPELLS, other[hit], lot[hit] // 16
    at = start[hit] + lot % (slut[hit] - start[hit] + 1)
    return _frame(key, other, at, np.minimum(slut[hit], at + tables.dage[other, lot // 4_096 % 256]))


def _frame(key: Ints, ydelse: Ints, start: Ints, slut: Ints) -> pl.DataFrame:
    person = (key // (2 * MOST_SPELLS)).astype(np.int32)
    days = {"start": start.astype(np.int32), "slut": slut.astype(np.int32)}
    return pl.DataFrame({"person": person, "ydelse": ydelse.astype(np.int16), **days, "spell": key})
