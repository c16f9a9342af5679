"""The forecast: who stays, leaves and enters, the exact percentage of every week, and a known error or no rows."""

from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from refusion_assets.domain.calendar import last_day, monday, next_month
from refusion_assets.domain.opfoelgning.prognose import Forecast, forecast
from refusion_assets.domain.opfoelgning.views import Prognose
from refusion_assets.domain.rules.entries import Rulebook, Trin
from tests.kit.data_root import RULEBOOK

RUN = date(2026, 10, 1)
A_DAY = 30_000
"""Øre; whole percentages of it are whole."""
SCHEMA = {
    "maaned": pl.Date,
    "kommunekode": pl.String,
    "ydelse_id": pl.String,
    **dict.fromkeys(
        ("ydelsestaeller", "borgere", "borgeruger", "brutto_oere", "refusion_oere", "medfinansiering_oere", "afgang"),
        pl.Int64,
    ),
    "tilgang": pl.Int64,
}


def month(after: int) -> date:
    """The month so many after the run month."""
    return next_month(RUN, after)


def row(after: int, kommune: str, ydelse: str, n: int | None, borgere: int, **values: int) -> dict[str, Any]:
    """One row of the history; no money and nobody who comes or goes unless told."""
    money = {"brutto_oere": 0, "refusion_oere": 0, "medfinansiering_oere": 0, "afgang": 0, "tilgang": 0}
    key = {"maaned": month(after), "kommunekode": kommune, "ydelse_id": ydelse, "ydelsestaeller": n}
    return key | {"borgere": borgere, "borgeruger": 4 * borgere} | money | values


def priced(after: int, kommune: str, ydelse: str, n: int | None, borgere: int, **values: int) -> dict[str, Any]:
    """One row with the money of whole months at `A_DAY` (times `promille`), each day at the percentage of its week."""
    a_day = A_DAY * values.pop("promille", 1000) // 1000
    brutto = share = 0
    last = monday(last_day(month(after)))
    day = month(after)
    while day <= last_day(month(after)):
        then = None if n is None else n - (last - monday(day)).days // 7
        if then is None or then >= 1:
            brutto += borgere * a_day
            share += borgere * a_day * percentage(RULEBOOK, ydelse, then, monday(day)) // 100
        day += timedelta(days=1)
    side = RULEBOOK.ydelse_on(ydelse, month(after)).side
    money = {"brutto_oere": brutto, f"{side}_oere": share}
    return row(after, kommune, ydelse, n, borgere, **(money | values))


def percentage(rules: Rulebook, ydelse: str, n: int | None, uge: date) -> int:
    """The percentage of a week by its number, read off the rules."""
    entry = rules.ydelse_on(ydelse, uge)
    if entry.trappe is None or n is None:
        return entry.fast_procent or 0
    return [trin.procent for trin in rules.trappe_on(entry.trappe, uge).trin if trin.fra_uge <= n][-1]


def made(rows: list[dict[str, Any]], rules: Rulebook = RULEBOOK) -> Forecast:
    """The forecast of a history."""
    found = forecast(pl.DataFrame(rows, schema=SCHEMA), rules, RUN)
    Prognose.validate(found.rows.with_columns(koersel=pl.lit(1, pl.Int64)))
    return found


def steady(ydelse: str, n: int | None = None, borgere: int = 10, kommune: str = "101") -> list[dict[str, Any]]:
    """The same people, on and on; their number does not move."""
    return [priced(after, kommune, ydelse, n, borgere) for after in range(-36, 1)]


def climbing(ydelse: str, n: int, kommune: str, through: int) -> list[dict[str, Any]]:
    """A thousand people from a year before the run month to `through` after it; `n`: their number in its last week."""
    now = monday(last_day(RUN))
    weeks = [(after, n + (monday(last_day(month(after))) - now).days // 7) for after in range(-12, through + 1)]
    return [priced(after, kommune, ydelse, number, 1000) for after, number in weeks if number >= 1]


def test_a_steady_state_is_forecast_as_itself_without_error() -> None:
    found = made(steady("FOEP_GL50"))
    days = [last_day(month(after)).day for after in range(1, 13)]
    rows = found.rows.sort("frem")
    assert rows["borgere"].to_list() == [10] * 12
    assert rows["brutto_oere"].to_list() == [10 * A_DAY * count for count in days]
    for name in ("medfinansiering_oere", "egen_oere", "lav_oere", "hoej_oere"):
        assert rows[name].to_list() == [10 * A_DAY * count // 2 for count in days]
    assert found.errors.rows() == [("FOEP_GL50", 0, 1000, 1000)]


@pytest.mark.parametrize("ydelse", ["KTH", "ADP"])
@pytest.mark.parametrize("n", [3, 4, 25, 26, 51, 52, 60])
def test_each_week_of_a_cohort_has_the_exact_percentage_of_its_number(ydelse: str, n: int) -> None:
    found = made([*steady(ydelse, 200), *climbing(ydelse, n, "630", 0)]).rows.filter(pl.col("kommunekode") == "630")
    came = pl.DataFrame(climbing(ydelse, n, "630", 12), schema=SCHEMA).filter(pl.col("maaned") > RUN)
    money = ["brutto_oere", "refusion_oere", "medfinansiering_oere"]
    assert found.select("borgere", *money).rows() == came.sort("maaned").select("borgere", *money).rows()


def test_a_staircase_that_begins_in_the_year_ahead_holds_from_its_monday() -> None:
    old = RULEBOOK.trappe_on("refusion", RUN)
    new = replace(old, gaelder_fra=date(2027, 1, 4), trin=(Trin(fra_uge=1, procent=10, hjemmel="x"),))
    found = made(steady("KTH", 200), replace(RULEBOOK, trapper=(*RULEBOOK.trapper, new))).rows.sort("frem")
    shares = [refusion * 100 // brutto for refusion, brutto in found.select("refusion_oere", "brutto_oere").rows()]
    assert shares == [20, 20, 10, *[10] * 9]  # 1 to 3 January is the week of 28 December
    assert found["refusion_oere"][2] == 10 * A_DAY * (3 * 20 + 28 * 10) // 100


def test_nobody_in_gives_nothing_out() -> None:
    for rows in ([], steady("KTH", 30, 0)):
        found = made(rows)
        assert (found.rows.height, found.by_percentage.height) == (0, 0)


def test_without_36_months_before_the_run_month_the_error_is_not_known_and_there_is_no_forecast() -> None:
    rows = steady("KTH", 30)
    assert made(rows).rows.height == 12
    short = made([one for one in rows if one["maaned"] > month(-36)])
    assert short.rows.height == 0
    assert short.by_percentage.height == 0
    assert short.errors.rows() == [("KTH", None, None, None)]


def test_a_benefit_that_nothing_came_of_or_nothing_was_expected_of_has_no_forecast() -> None:
    gone = [one for one in steady("INTY", 30) if one["maaned"] <= month(-12)]
    new = [one for one in steady("SHO", 30) if one["maaned"] > month(-12)]
    found = made([*steady("KTH", 30), *gone, *new])
    assert found.errors.filter(pl.col("fejl_promille").is_null())["ydelse_id"].to_list() == ["INTY", "SHO"]
    assert found.rows["ydelse_id"].unique().to_list() == ["KTH"]


def test_people_leave_by_the_share_of_their_band_and_by_that_of_the_benefit_where_nobody_was_in_it() -> None:
    taught = [
        priced(after, "101", "KTH", n, 100, afgang=left) for after in range(-36, 1) for n, left in ((4, 50), (53, 10))
    ]
    found = made([*taught, priced(0, "630", "KTH", 2, 1000), priced(0, "751", "KTH", 47, 1000)]).rows
    people = {kode: found.filter(pl.col("kommunekode") == kode)["borgere"].to_list() for kode in ("630", "751")}
    # 630: half leave at 2, then 30 of a hundred, the whole benefit's share, at 7 (five weeks on), 11 and so on.
    assert people["630"][:3] == [500, 350, 245]
    # 751: nobody was in the band of 47; five weeks on, 52 is in it too; then a tenth leave at 56.
    assert people["751"][:3] == [700, 490, 441]


def test_as_many_enter_as_on_average_in_the_same_month_of_two_years_at_their_number() -> None:
    enter = [priced(-11, "630", "KTH", 3, 4, tilgang=4), priced(-23, "630", "KTH", 9, 2, tilgang=2)]
    before = [priced(-24, "630", "KTH", 3, 100, tilgang=100), priced(-35, "630", "KTH", 3, 100, tilgang=100)]
    found = made([*steady("KTH", 200), *enter, *before])
    mine = found.rows.filter(pl.col("kommunekode") == "630")
    assert mine["borgere"].to_list() == [3] * 12
    # November 2026 has six weeks; at 3 in the last, the last three are begun (15 days), at 9 all (30 days).
    assert mine["brutto_oere"][0] == A_DAY * (2 * 15 + 1 * 30)
    first = found.by_percentage.filter(pl.col("kommunekode") == "630", pl.col("frem") == 1)
    assert first["procent"].to_list() == [40, 80]


def test_a_municipality_without_money_of_three_months_pays_the_country_s_mean() -> None:
    cost = {after: 2000 if after < -2 else 1000 for after in range(-36, 1)}
    paid = [priced(after, "101", "SKAANE", None, 10, promille=promille) for after, promille in cost.items()]
    found = made([*paid, priced(-11, "630", "SKAANE", None, 2, tilgang=2, promille=5000)]).rows
    assert found.filter(pl.col("kommunekode") == "630")["brutto_oere"][0] == A_DAY * 30


def test_a_benefit_that_is_refunded_whole_has_no_own_share_and_so_no_known_error() -> None:
    assert made(steady("FLYGT")).errors.rows() == [("FLYGT", None, None, None)]


def test_the_band_is_what_came_of_what_was_expected_a_year_ago() -> None:
    koder = RULEBOOK.koder[:10]
    rows = [
        priced(after, kode, "FOEP_GL50", None, 10, promille=1000 if after <= -12 else 910 + 10 * place)
        for place, kode in enumerate(koder)
        for after in range(-36, 1)
    ]
    found = made(rows)
    # Of 120 points the 12th and the 108th; the errors 0,09 to 0 add to 0,45 of 9,55.
    assert found.errors.rows() == [("FOEP_GL50", 47, 910, 990)]
    for own, low, high in found.rows.select("egen_oere", "lav_oere", "hoej_oere").rows():
        assert (low, high) == (own * 91 // 100, own * 99 // 100)


def test_fleksbidrag_is_the_mean_refusion_of_a_day_and_lowers_the_own_share() -> None:
    rows = [
        row(after, "101", "FLEKSBIDRAG", None, 5, refusion_oere=5 * 700 * last_day(month(after)).day)
        for after in range(-36, 1)
    ]
    found = made(rows)
    assert found.rows["brutto_oere"].to_list() == [0] * 12
    assert found.rows["refusion_oere"][0] == 5 * 700 * 30
    assert found.rows["egen_oere"].to_list() == [-own for own in found.rows["refusion_oere"]]
    assert found.by_percentage["procent"].unique().to_list() == [0]


@st.composite
def histories(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A few people of a few benefits, now and then, with comings and goings that need not fit."""
    places = st.tuples(
        st.integers(-36, 0),
        st.sampled_from(["101", "630"]),
        st.sampled_from(["KTH", "ADP", "FOEP_GL50", "FLEKSBIDRAG"]),
        st.one_of(st.none(), st.integers(1, 120)),
    )  # fmt: skip
    keys = draw(st.lists(places, unique=True, min_size=1, max_size=40))
    rows = []
    for after, kode, ydelse, n in [(-36, "101", "KTH", 9), *keys]:
        people = draw(st.integers(1, 50))
        moved = {name: draw(st.integers(0, people)) for name in ("afgang", "tilgang")}
        if ydelse == "FLEKSBIDRAG":
            rows.append(row(after, kode, ydelse, None, people, refusion_oere=people * 9_999, **moved))
        else:
            rows.append(priced(after, kode, ydelse, n, people, promille=draw(st.integers(1, 2000)), **moved))
    return list({tuple(list(one.values())[:4]): one for one in rows}.values())


@settings(max_examples=25, deadline=None)
@given(rows=histories(), seed=st.randoms(use_true_random=False))
def test_any_history_gives_the_same_in_any_order_and_sums_that_agree(rows: list[dict[str, Any]], seed: Any) -> None:
    found = made(rows)
    shuffled = rows.copy()
    seed.shuffle(shuffled)
    again = made(shuffled)
    for name in ("rows", "by_percentage", "errors"):
        assert_frame_equal(getattr(found, name), getattr(again, name))
    key, sums = ["kommunekode", "ydelse_id", "frem"], Counter[tuple[Any, ...]]()
    for kode, ydelse, frem, refusion, medfinansiering in found.by_percentage.drop("procent").rows():
        sums[kode, ydelse, frem] += refusion + medfinansiering
    money = pl.col("refusion_oere") + pl.col("medfinansiering_oere")
    assert {one[:3]: one[3] for one in found.rows.select(*key, money).rows() if one[3]} == {
        one: oere for one, oere in sums.items() if oere
    }
    for one in found.rows.iter_rows(named=True):
        other = one["brutto_oere"] - one["refusion_oere"]
        assert one["egen_oere"] == (one["medfinansiering_oere"] if one["ydelse_id"] in ("ADP", "FOEP_GL50") else other)
        assert one["lav_oere"] <= one["hoej_oere"]
