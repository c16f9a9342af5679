"""Counts that go on from the spells that stand: the same weeks, numbers and spells as counted from the start."""

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.calendar import Grid, last_day, make_grid, next_month
from refusion_assets.domain.duration.count import Counted, Standing, count_on, count_weeks, window_starts
from refusion_assets.domain.duration.spells import spells, standing_before
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.store.tables import validate
from tests.kit.data_root import RULEBOOK, with_reading
from tests.kit.timeline import examples

READINGS = [
    RULEBOOK,
    with_reading(RULEBOOK, "genoptjening_proeves", "ved_naeste_ydelse"),
    with_reading(RULEBOOK, "uge_beroert", "hele_ugen"),
]
BEGIN = date(2017, 1, 2)
SETTLED = date(2024, 1, 1)
COLUMNS = {
    "borger_id": pl.Int64,
    "ydelse_id": pl.String,
    "periode_start": pl.Date,
    "periode_slut": pl.Date,
    "beloeb_oere": pl.Int64,
}
Claims = list[tuple[int, str, date, date, int]]
BENEFITS = {"K": "KTH", "U": "SU"}
Life = list[tuple[str, int, int]]

# Kind, weeks, and days by which a stretch begins late; the lengths lie about the bounds of the act.
lengths = st.one_of(st.integers(1, 9), st.sampled_from([25, 26, 27, 50, 51, 52, 53, 104, 170]))
lives = st.lists(st.tuples(st.sampled_from("KKUSSS"), lengths, st.sampled_from([0, 0, 0, 3])), min_size=1, max_size=14)


def claims_of(person: int, life: Life, begin: date) -> Claims:
    """The claims of a life that begins on a Monday: half a year at a time, as some senders report."""
    found, day = [], begin
    for kind, weeks, late in life:
        until = day + timedelta(weeks=weeks)
        start = day + timedelta(days=late)
        while kind != "S" and start < until:
            end = min(start + timedelta(days=181), until - timedelta(days=1))
            found.append((person, BENEFITS[kind], start, end, 100))
            start = end + timedelta(days=1)
        day = until
    return found


def count(claims: Claims, month: date, rules: Rulebook) -> tuple[Counted, Grid]:
    grid = make_grid(date(2014, 7, 1), last_day(month))
    return count_weeks(pl.DataFrame(claims, schema=COLUMNS, orient="row"), grid, rules), grid


def can_go_on(told: pl.DataFrame, person: int, begin: date, first: date) -> bool:
    """As `assets.resume` chooses: the week before is in a spell that stands, or the person has none before."""
    end = pl.col("fra_uge") + pl.duration(weeks=pl.col("antal_uger"))
    before = told.with_columns(slut=end).filter(pl.col("borger_id") == person, pl.col("fra_uge") < begin)
    if before.is_empty():
        return True
    held = before.sort("fra_uge").row(-1, named=True)
    return held["slut"] >= begin and (held["art"] != "C" or (held["fra_uge"] > first and held["n_foer"] > 0))


def stands(told: pl.DataFrame, people: list[int], begin: int, first: int, grid: Grid) -> Standing:
    end = pl.col("fra_uge") + pl.duration(weeks=pl.col("antal_uger"))
    mine = told.filter(
        pl.col("borger_id").is_in(people), pl.col("fra_uge") < grid.monday_of(begin), end > grid.monday_of(first)
    )
    return standing_before(np.array(people, np.int64), mine, first, begin, grid)


@examples(12)
@given(
    before=st.lists(lives, min_size=6, max_size=12),
    after=st.lists(lives, min_size=12, max_size=12),
    back=st.integers(0, 60),
    months=st.integers(0, 3),
    reading=st.sampled_from(range(len(READINGS))),
)
def test_going_on_gives_the_weeks_numbers_and_spells_of_counting_from_the_start(
    before: list[Life], after: list[Life], back: int, months: int, reading: int
) -> None:
    rules = READINGS[reading]
    known = [claim for person, life in enumerate(before) for claim in claims_of(person, life, BEGIN)]
    old, old_grid = count(known, SETTLED, rules)
    told = spells(old, old_grid)
    begin = old_grid.weeks - 1 - back
    monday = old_grid.monday_of(begin)
    # Whatever begins in the week or later is reported otherwise: taken back, moved, or new.
    kept = [claim for claim in known if claim[2] < monday]
    new = kept + [c for person in range(len(before)) for c in claims_of(person, after[person], monday)]
    whole, grid = count(new, next_month(SETTLED, months), rules)
    ends = [claim for claim in new if claim[3] >= monday.replace(day=1)]
    first = min([*window_starts(rules, grid)[0][begin:], *(grid.week_of(claim[2]) for claim in ends), begin - 1])
    people = [p for p in range(len(before)) if can_go_on(told, p, monday, grid.monday_of(first))]
    mine = pl.DataFrame([c for c in ends if c[0] in people], schema=COLUMNS, orient="row")
    found = stands(told, people, begin, first, grid)
    counted = count_on(mine, found, grid, rules)

    ids = whole.borger_id.tolist()
    known_people = [person for person in people if person in ids]
    columns = [ids.index(person) for person in known_people]
    own = [people.index(person) for person in known_people]
    for name in ("kind", "n", "genoptjening", "restart"):
        theirs, ours = getattr(whole, name)[begin:, columns], getattr(counted, name)[begin - first :, own]
        assert (theirs == ours).all(), name
    all_spells = spells(whole, grid).filter(pl.col("borger_id").is_in(people))
    reach = pl.col("fra_uge") + pl.duration(weeks=pl.col("antal_uger")) >= monday
    standing_spells = told.filter(pl.col("borger_id").is_in(people), ~reach)
    ours_too = validate("duration.forloeb", spells(counted, grid, found))
    together = pl.concat([standing_spells, ours_too]).sort("borger_id", "fra_uge")
    assert together.rows() == all_spells.sort("borger_id", "fra_uge").rows()


@pytest.mark.parametrize("rules", READINGS[:2], ids=["ved_opnaaelse", "ved_naeste_ydelse"])
@pytest.mark.parametrize("weeks", [51, 52, 53])
def test_a_restart_is_seen_though_the_weeks_of_self_support_lie_on_both_sides(weeks: int, rules: Rulebook) -> None:
    life = [("K", 300, 0), ("S", 20, 0), ("U", 1, 0), ("S", weeks - 20, 0), ("K", 8, 0)]
    claims = claims_of(1, life, BEGIN)
    whole, grid = count(claims, SETTLED, rules)
    told = spells(whole, grid)
    begin = grid.week_of(BEGIN) + 322  # two weeks into the second stretch of self-support
    first = min(window_starts(rules, grid)[0][begin:])
    found = stands(told, [1], begin, first, grid)
    mine = pl.DataFrame([c for c in claims if c[3] >= grid.monday_of(begin)], schema=COLUMNS, orient="row")
    counted = count_on(mine, found, grid, rules)
    last_k = grid.week_of(BEGIN) + 301 + weeks + 7
    expected = 8 if weeks >= 52 else 308
    assert int(whole.n[last_k, 0]) == int(counted.n[last_k - first, 0]) == expected
