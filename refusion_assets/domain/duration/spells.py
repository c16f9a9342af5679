"""Understands spells: consecutive weeks of one kind, and how a count goes on from the stored ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, expand
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.duration.count import KIND_A, KIND_C, KIND_OF, Counted, Counts, Flags, Standing
from refusion_assets.domain.rules.entries import Rulebook

KIND_NAMES = pl.Series(["C", "B", "A"])


class Forloeb(Contract, key=["borger_id", "fra_uge"]):
    """One row per person and spell: consecutive weeks of one kind within one count."""

    borger_id: pl.Int64
    fra_uge: pl.Date
    antal_uger: pl.Int64 = pa.Field(ge=1)
    art: pl.String = pa.Field(
        isin=["A", "B", "C"], description="A = support that counts, B = other support, C = self-support"
    )
    taelling: pl.Int64 = pa.Field(ge=1, description="which count of the person, 1 and up")
    n_foer: pl.Int64 = pa.Field(ge=0, description="ydelsestæller before the first week of the spell")
    taeller: pl.Boolean = pa.Field(description="C-weeks that count towards a restart")
    genoptjent: pl.Boolean = pa.Field(description="the last week of the spell is the restart")


def spells(counted: Counted, grid: Grid, standing: Standing | None = None) -> pl.DataFrame:
    """One row per person and spell (`Forloeb`), from the first A- or B-week to the last. Units: weeks, dates.

    A spell ends where the kind changes and at a restart, so that n rises by one a week within an A-spell.
    With `standing` only those that reach its week `begin`, or end right before it.
    """
    person, week, until = _begins(counted)
    kind, restart, n = counted.kind[week, person], counted.restart[week, person], counted.n
    on_c = kind == KIND_C
    n_before = np.where(week > 0, n[week - 1, person], 0)
    # A restart by a C-week ends its spell and belongs to the count before; one by an A-week begins a new count.
    restarts = np.flatnonzero(counted.restart.T)
    begin = person * len(counted.kind)
    done = np.searchsorted(restarts, begin + week + ~on_c) - np.searchsorted(restarts, begin)
    told: dict[str, npt.NDArray[Any]] = {
        "fra_uge": counted.first + week,
        "taelling": 1 + done,
        "n_foer": np.where(restart & ~on_c, 0, n_before).astype(np.int64),
        "taeller": on_c & (n_before > 0),
    }
    if standing:
        told["taelling"] = standing.taelling[person] + done
        began = week < standing.begin - standing.first
        theirs: dict[str, npt.NDArray[Any]] = {"fra_uge": standing.fra, "taelling": standing.taelling}
        theirs |= {"n_foer": standing.n_foer, "taeller": standing.taeller}
        told = {name: np.where(began, theirs[name][person], values) for name, values in told.items()}
    frame = pl.DataFrame(
        {
            "borger_id": counted.borger_id[person],
            "fra_uge": grid.origin + 7 * told["fra_uge"],
            "antal_uger": counted.first + until - told["fra_uge"],
            "art": KIND_NAMES.gather(kind),
            "taelling": told["taelling"],
            "n_foer": told["n_foer"],
            "taeller": told["taeller"],
            "genoptjent": counted.restart[until - 1, person] & on_c,
        }
    )
    named = frame.with_columns(pl.col("fra_uge").cast(pl.Int32).cast(pl.Date))
    return named.filter(pl.Series(counted.first + until >= standing.begin)) if standing else named


def _begins(counted: Counted) -> tuple[Ints, Ints, Ints]:
    """Person, first week and week after the last of every spell from the first A- or B-week of a person to the last."""
    kind, restart = counted.kind, counted.restart
    weeks, persons = kind.shape
    begins = np.ones(kind.shape, np.bool_)
    begins[1:] = kind[1:] != kind[:-1]
    begins[1:] |= np.where(kind[1:] == KIND_C, restart[:-1], restart[1:])
    person, week = np.divmod(np.flatnonzero(begins.T), weeks)
    until = np.append(week[1:], 0)
    until[until == 0] = weeks
    # Weeks before a person's first week of support, or after the last one, are no spell.
    supported = np.flatnonzero(kind[week, person] != KIND_C)
    first, last = np.full(persons, len(week)), np.full(persons, -1)
    first[person[supported[::-1]]] = supported[::-1]
    last[person[supported]] = supported
    place = np.arange(len(week))
    kept = (first[person] <= place) & (place <= last[person])
    return person[kept], week[kept], until[kept]


def standing_before(borger_id: Ints, forloeb: pl.DataFrame, first: int, begin: int, grid: Grid) -> Standing:
    """The `Standing` of some people (sorted) before week `begin` of the grid, from week `first` on. Weeks.

    `forloeb`: their spells (`Forloeb`) that end after `first` and begin before `begin`. Each person with spells needs
    one over the week before `begin`, and a week of support after `first` in it or before it.
    """
    weeks, persons = begin - first, len(borger_id)
    rows = forloeb.sort("borger_id", "fra_uge")
    person = np.searchsorted(borger_id, rows["borger_id"].to_numpy())
    fra = grid.offsets(rows["fra_uge"]) // 7
    until = fra + rows["antal_uger"].to_numpy()
    kinds = rows["art"].replace_strict({"C": KIND_C, **KIND_OF}, return_dtype=pl.UInt8).to_numpy()
    kind, free = np.zeros((persons, weeks), np.uint8), np.zeros((persons, weeks), np.bool_)
    begins = person * weeks - first
    row, place = expand(begins + np.maximum(fra, first), begins + np.minimum(until, begin) - 1)
    kind.reshape(-1)[place], free.reshape(-1)[place] = kinds[row], rows["taeller"].to_numpy()[row]
    last = np.flatnonzero(np.diff(person, append=-1))
    held = {name: rows[name].to_numpy()[last] for name in ("n_foer", "taelling", "taeller", "genoptjent")}
    ended = held["genoptjent"] & (until[last] == begin)
    n = np.where(ended, 0, held["n_foer"] + np.where(kinds[last] == KIND_A, begin - fra[last], 0))
    of_all = {"n": n.astype(np.int16), "ended": ended, "fra": fra[last], **held}
    told = {name: np.zeros(persons, values.dtype) for name, values in of_all.items()}  # zero without a spell
    for name, values in of_all.items():
        told[name][person[last]] = values
    running = np.flatnonzero(rows["taelling"].to_numpy() == told["taelling"][person])
    began = np.full(persons, begin, np.int64)
    np.minimum.at(began, person[running], np.maximum(fra[running], first))
    began[told["ended"]] = begin
    so_far = np.zeros((persons, weeks + 1), np.int16)
    so_far[:, 1:] = free.cumsum(axis=1)
    return Standing(
        borger_id,
        first,
        begin,
        kind=np.ascontiguousarray(kind.T),
        free=np.ascontiguousarray(free.T),
        begun=so_far[np.arange(persons), began - first],
        taelling=np.maximum(told["taelling"], 1),
        **{name: told[name] for name in ("n", "ended", "fra", "n_foer", "taeller")},
    )


class ForloebTaeller(Forloeb, key=["borger_id", "taeller_id", "fra_uge"]):
    """One row per person, counter beside the law's own and spell: consecutive weeks of one kind within one count.

    A are the weeks that the counter counts, C those that are free to it, B the rest.
    """

    taeller_id: pl.String


def own_spells(counted: Counted, grid: Grid, rules: Rulebook) -> pl.DataFrame:
    """One row per person, counter and spell (`ForloebTaeller`); of people whom the counter counts a week of. Weeks.

    Hjemmel: none of its own; the act that brings the counter, as its entry says. Source: rules.md section 8, point 4.
    """
    found: list[pl.DataFrame] = [ForloebTaeller.empty()]
    for taeller, own in zip(rules.taellere, counted.others, strict=True):
        mine = (own.kind == KIND_A).any(axis=0)
        of_weeks = (own.kind[:, mine], own.n[:, mine], own.genoptjening[:, mine], own.restart[:, mine])
        some = Counted(own.borger_id[mine], *of_weeks, own.n_overgang[mine])
        found.append(spells(some, grid).with_columns(taeller_id=pl.lit(taeller.id)))
    return pl.concat(found)


@dataclass(frozen=True)
class Numre:
    """Per row: its number n, the number the overgang has or would have, free weeks, and if these are to be shown."""

    n: Counts
    n_overgang: Counts
    genoptjening: Counts
    known: Flags


def numbers(counted: Counted, slot: Ints, person: Ints, taeller: npt.NDArray[np.int8] | None, rules: Rulebook) -> Numre:
    """The numbers of rows, each by its own counter (0 the law's, as all where `taeller` is None). Weeks.

    `slot` is the place of the row's week and person in the matrices, `person` the column of the person.
    """
    own = _looked_up(counted, slot, person)
    for number, (one, entry) in enumerate(zip(counted.others, rules.taellere, strict=True), 1):
        mine = np.flatnonzero(taeller == number)
        other = _looked_up(one, slot[mine], person[mine])
        own.n[mine], own.n_overgang[mine], own.genoptjening[mine] = other.n, other.n_overgang, other.genoptjening
        own.known[mine] = other.known & (entry.genoptjening_uger is not None)
    return own


def _looked_up(counted: Counted, slot: Ints, person: Ints) -> Numre:
    """The numbers of one counter; free weeks are shown in weeks that are not free themselves."""
    return Numre(
        n=counted.n.reshape(-1)[slot],
        n_overgang=counted.n_overgang[person],
        genoptjening=counted.genoptjening.reshape(-1)[slot],
        known=counted.kind.reshape(-1)[slot] != KIND_C,
    )
