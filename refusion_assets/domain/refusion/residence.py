"""Understands the residence: the municipality where each person lives in each week."""

from datetime import date

import numpy as np
import numpy.typing as npt
import polars as pl

from refusion_assets.domain.calendar import Grid, Ints, expand
from refusion_assets.domain.rules.entries import Rulebook

NO_KOMMUNE = -1
Koder = npt.NDArray[np.int16]
STILL_THERE = date(9999, 12, 31)


def residence(bopael: pl.DataFrame, borger_id: Ints, grid: Grid, rules: Rulebook, since: int = 0) -> Koder:
    """Week x person: municipality code of residence, or -1 where none is known.

    `bopael`: borger_id, kommunekode, bopael_start, bopael_slut (null = still there); rows with a code that is no
    municipality are left out. Of several rows on the day the latest start wins, then the latest end, then the highest
    code. Without a row on the day, the first that starts later in the week wins. By the other reading, it is the last
    that ended earlier in the week.
    Hjemmel: BEK 1772/2015 § 1, stk. 2.
    """
    known = rules.koder
    rows = bopael.filter(pl.col("kommunekode").is_in(known) & pl.col("borger_id").is_in(borger_id))
    frame = pl.DataFrame(
        {
            "person": np.searchsorted(borger_id, rows["borger_id"].to_numpy()),
            "start": grid.offsets(rows["bopael_start"]) - 7 * since,
            "end": grid.offsets(rows["bopael_slut"].fill_null(STILL_THERE)) - 7 * since,
            "kommune": rows["kommunekode"].cast(pl.Int16),
        }
    ).filter(pl.col("start") <= pl.col("end"))
    day = 0 if rules.laesning("bopael_paa") == "mandag" else 6
    # The first row is week `since` of the grid.
    home = _on_the_day(frame, (grid.weeks - since, len(borger_id)), day)
    _elsewhere_in_the_week(home, frame, day)
    return home


def _on_the_day(rows: pl.DataFrame, shape: tuple[int, int], day: int) -> Koder:
    """Week x person: each row fills the weeks whose day it covers, the strongest row of a person last."""
    weeks, persons = shape
    ranked = rows.sort("person", "start", "end", "kommune")
    first, last = (ranked["start"].to_numpy() - day + 6) // 7, (ranked["end"].to_numpy() - day) // 7
    # The weeks of a row lie side by side where persons come first.
    by_person = np.full((persons, weeks), NO_KOMMUNE, np.int16)
    begin = ranked["person"].to_numpy() * weeks
    row, place = expand(begin + np.maximum(first, 0), begin + np.minimum(last, weeks - 1))
    by_person.reshape(-1)[place] = ranked["kommune"].to_numpy()[row]
    return np.ascontiguousarray(by_person.T)


def _elsewhere_in_the_week(home: Koder, rows: pl.DataFrame, day: int) -> None:
    """Fill weeks without a row on the day from the nearest row, the nearest filled last."""
    edge, farthest_first = ("start", [True, False, False]) if day == 0 else ("end", [False, False, False])
    order = [edge, "end" if day == 0 else "start", "kommune"]
    near = rows.with_columns(week=pl.col(edge) // 7).filter((pl.col("week") >= 0) & (pl.col("week") < len(home)))
    empty = home[near["week"].to_numpy(), near["person"].to_numpy()] == NO_KOMMUNE
    nearest = near.filter(pl.Series(empty)).sort(order, descending=farthest_first)
    home[nearest["week"].to_numpy(), nearest["person"].to_numpy()] = nearest["kommune"].to_numpy()
