"""Where a person lives in a week: on its Monday, else the first that comes later in it."""

from datetime import date

import numpy as np
import polars as pl
import pytest

from refusion_assets.domain.calendar import make_grid
from refusion_assets.domain.efterregning.money import Bopael
from refusion_assets.domain.efterregning.money import residence as plain_residence
from refusion_assets.domain.refusion.residence import residence
from tests.kit.data_root import RULEBOOK, with_reading

SUNDAY = with_reading(RULEBOOK, "bopael_paa", "soendag")
WEEK = date(2024, 1, 8)  # a Monday
Stay = tuple[str, str, str | None]

FOREVER = ("101", "2000-01-01", None)
CASES: list[tuple[str, list[Stay], int, int]] = [  # what, stays, municipality by Monday, by Sunday
    ("nobody knows", [], -1, -1),
    ("lives there", [FOREVER], 101, 101),
    ("moves in on Monday", [("147", "2024-01-08", None)], 147, 147),
    ("moves in on Tuesday", [("147", "2024-01-09", None)], 147, 147),
    ("moves in on Sunday", [("147", "2024-01-14", None)], 147, 147),
    ("moves in the Monday after", [("147", "2024-01-15", None)], -1, -1),
    ("moved out on Sunday before", [("147", "2020-01-01", "2024-01-07")], -1, -1),
    ("moves out on Monday", [("147", "2020-01-01", "2024-01-08")], 147, 147),
    ("moves within the week", [("147", "2020-01-01", "2024-01-10"), ("151", "2024-01-11", None)], 147, 151),
    ("moves on Monday", [("147", "2020-01-01", "2024-01-07"), ("151", "2024-01-08", None)], 151, 151),
    ("a gap over Monday", [("147", "2020-01-01", "2024-01-07"), ("151", "2024-01-10", None)], 151, 151),
    (
        "two short stays after Monday",
        [("147", "2024-01-09", "2024-01-10"), ("151", "2024-01-11", "2024-01-12")],
        147,
        151,
    ),
    ("the one that started last", [FOREVER, ("147", "2023-01-01", None)], 147, 147),
    ("then the one that ends last", [("147", "2023-01-01", None), ("151", "2023-01-01", "2025-01-01")], 147, 147),
    ("then the highest code", [("147", "2023-01-01", None), ("151", "2023-01-01", None)], 151, 151),
    ("later in the week, same day", [("151", "2024-01-09", "2024-01-10"), ("147", "2024-01-09", None)], 147, 147),
    ("a short stay on top of a long one", [FOREVER, ("147", "2024-01-08", "2024-01-08")], 147, 101),
    ("ended before it began", [FOREVER, ("147", "2024-01-08", "2024-01-07")], 101, 101),
    ("a code nobody knows", [FOREVER, ("999", "2024-01-01", None)], 101, 101),
]


def lives(stays: list[Stay], rules: object) -> int:
    """The municipality of the week, for a person between two others."""
    people = [(7, stays), (3, [("851", "2000-01-01", None)]), (9, [("860", "2000-01-01", None)])]
    rows = [(person, *stay) for person, own in people for stay in own]
    names = ["borger_id", "kommunekode", "bopael_start", "bopael_slut"]
    frame = pl.DataFrame(rows, schema=names, orient="row", schema_overrides={"bopael_slut": pl.String}).with_columns(
        pl.col("bopael_start", "bopael_slut").str.to_date("%Y-%m-%d")
    )
    grid = make_grid(date(2014, 7, 1), date(2024, 1, 31))
    return int(residence(frame, np.array([3, 7, 9]), grid, rules)[grid.week_of(WEEK), 1])  # type: ignore[arg-type]


@pytest.mark.parametrize(("what", "stays", "monday", "sunday"), CASES, ids=[case[0] for case in CASES])
def test_the_municipality_of_residence_of_a_week(what: str, stays: list[Stay], monday: int, sunday: int) -> None:
    assert (lives(stays, RULEBOOK), lives(stays, SUNDAY)) == (monday, sunday), what
    own = [
        Bopael(kode, date.fromisoformat(start), date.fromisoformat(slut) if slut else date.max)
        for kode, start, slut in stays
        if kode != "999"
    ]
    plain = [plain_residence(WEEK, own, rules) for rules in (RULEBOOK, SUNDAY)]
    assert [int(kode or -1) for kode in plain] == [monday, sunday]


def test_a_person_without_claims_is_left_out() -> None:
    grid = make_grid(date(2014, 7, 1), date(2014, 7, 31))
    stay = {"borger_id": [8], "kommunekode": ["101"], "bopael_start": [date(2000, 1, 1)], "bopael_slut": [None]}
    frame = pl.DataFrame(stay, schema_overrides={"bopael_slut": pl.Date})
    assert residence(frame, np.array([3]), grid, RULEBOOK).tolist() == [[-1]] * 5
