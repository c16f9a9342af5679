"""Understands the counters beside the law's own: their weeks for the analyst, and the numbers that a row shows."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from refusion_assets.domain.duration import KIND_A, KIND_C, Counted, Counts, Flags
from refusion_assets.domain.forloeb import Forloeb, spells
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.weeks import Grid, Ints


class ForloebTaeller(Forloeb):
    """One row per person, counter beside the law's own and spell: consecutive weeks of one kind within one count.

    A are the weeks that the counter counts, C those that are free to it, B the rest.
    """

    taeller_id: pl.String

    class Config:
        """Exactly these columns; one spell per person, counter and first week."""

        strict = True
        unique = ["borger_id", "taeller_id", "fra_uge"]  # noqa: RUF012  pandera reads the list


def own_spells(counted: Counted, grid: Grid, rules: Rulebook) -> pl.DataFrame:
    """One row per person, counter and spell (`ForloebTaeller`); of people whom the counter counts a week of. Weeks.

    Hjemmel: none of its own; the act that brings the counter, as its entry says. Source: rules.md section 8, point 4.
    """
    found = [
        spells(_only_counted(own), grid).with_columns(taeller_id=pl.lit(taeller.id))
        for taeller, own in zip(rules.taellere, counted.egne, strict=True)
    ]
    return pl.concat([ForloebTaeller.empty(), *found])


def _only_counted(own: Counted) -> Counted:
    """The same of only those people whom the counter counts a week of."""
    mine = (own.kind == KIND_A).any(axis=0)
    of_weeks = (own.kind[:, mine], own.n[:, mine], own.genoptjening[:, mine], own.restart[:, mine])
    return Counted(own.borger_id[mine], *of_weeks, own.n_overgang[mine])


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
    for number, (one, entry) in enumerate(zip(counted.egne, rules.taellere, strict=True), 1):
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
