"""The money of a week: the worked cases, paragraph 29, who finances, and what is told of each row."""

import tomllib
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.efterregning.reports import Fil, read_oere
from refusion_assets.domain.rules.entries import Rulebook
from tests.kit import timeline
from tests.kit.data_root import DATA, RULEBOOK, Row, Run, calculate, with_reading
from tests.kit.timeline import CPR

CASES: dict[str, list[dict[str, Any]]] = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))
START = date(2016, 1, 4)
SYG_BORGER, FLYGT = "urn:oio:kommune:konto:557711013", "urn:oio:kommune:konto:557741007"
HOME = [{"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]


def cases(table: str) -> pytest.MarkDecorator:
    """Every case of one table of cases.toml, named by its id."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES[table]])


def run(
    rows: list[Row],
    month: str,
    letter: str = "K",
    *,
    bopael: list[Row] | None = None,
    rules: Rulebook = RULEBOOK,
    **fil: str,
) -> Run:
    """A run over one file of a letter's sender."""
    source = timeline.fil(letter, rows, month)
    source = Fil(source.filnavn, fil.get("kilde", source.kilde), source.enhed, month, source.sha256, rows)
    return calculate([source], HOME if bopael is None else bopael, month, rules)


def week(letter: str, monday: date, kroner: str = "700,00", days: int = 7, **changes: str) -> Row:
    """One report of a letter's benefit for so many days from a Monday."""
    return timeline.row(letter, monday, monday + timedelta(days=days - 1), monday.toordinal(), kroner, **changes)


# --- the worked cases ---------------------------------------------------------------------------------------


@cases("beloeb")
def test_weeks_of_one_amount_give_the_total_of_the_case(case: dict[str, Any]) -> None:
    side = "refusion" if "refusion_i_alt" in case else "medfinansiering"
    text = f"{'K' if side == 'refusion' else 'D'}{case['uger']}"
    rows = calculate(timeline.files(text, START, "2018-01", case["ugentligt"]), HOME, "2018-01", RULEBOOK).rows
    assert rows[f"{side}_oere"].sum() == read_oere(case[f"{side}_i_alt"])


@cases("periode")
def test_a_month_is_cut_into_the_parts_of_the_case(case: dict[str, Any]) -> None:
    before = timeline.files(f"K{case['foerste_n'] - 1}", date(2023, 2, 13), "2023-03")[0].rows
    march = timeline.row("K", case["fra"], case["til"], 9, case["beloeb"])
    rows = run([*before, march], "2023-03").rows.filter(pl.col("maaned") == date(2023, 3, 1)).sort("uge")
    assert rows["beloeb_oere"].to_list() == [read_oere(text) for text in case["dele"]]
    assert rows["refusion_oere"].to_list() == [read_oere(text) for text in case["refusion"]]
    assert rows["indberettet_oere"].to_list() == [read_oere(case["beloeb"]), 0, 0, 0, 0]
    assert rows["ydelsestaeller"].to_list() == [3, 4, 5, 6, 7]


@pytest.mark.parametrize(
    ("first", "kroner", "refusion"),
    [
        # STAR's konteringsvejledning 5.57.71: 17.420 kr. in weeks 5-26 gives 6.968 kr.
        (5, "17420,00", 696_800),
        (23, "17420,00", 696_800),
        # Cabi, business cases: 7.552 kr. on the last step leaves the municipality 6.042 kr. in whole kroner.
        (53, "7552,00", 151_040),
    ],
)
def test_published_examples_of_four_weeks_come_out_as_printed(first: int, kroner: str, refusion: int) -> None:
    begin = START + timedelta(weeks=first - 1)
    before = timeline.files(f"K{first - 1}", START, "2018-01")[0].rows
    rows = run([*before, timeline.row("K", begin, begin + timedelta(days=27), 999, kroner)], "2018-01").rows
    found = rows.filter(pl.col("uge") >= begin)
    assert found["refusion_oere"].sum() == refusion


@pytest.mark.parametrize(
    ("fra", "til", "left"),
    [
        # Cabi, business cases: 7.552 kr. on the last step leaves 6.042 kr.; cut into weeks, 31 days leave an øre less.
        (date(2018, 1, 1), date(2018, 1, 31), 604_159),
        (date(2018, 2, 1), date(2018, 2, 28), 604_160),
    ],
)
def test_a_published_month_on_the_last_step_leaves_what_is_printed(fra: date, til: date, left: int) -> None:
    before = timeline.files("K60", START, "2018-03")[0].rows
    rows = run([*before, timeline.row("K", fra, til, 999, "7552,00")], "2018-03").rows.filter(pl.col("maaned") == fra)
    assert set(rows["procent"]) == {20}
    assert 755_200 - rows["refusion_oere"].sum() == left


def test_a_result_of_half_an_oere_is_rounded_up() -> None:
    found = run([week("K", START, "0,02"), week("K", START + timedelta(weeks=1), "0,03")], "2016-01").rows
    assert found["refusion_oere"].to_list() == [2, 2]
    fifth = timeline.files("K26", START, "2016-07", "0,05")[0].rows
    assert run([*fifth, week("K", START + timedelta(weeks=26), "0,05")], "2016-07").rows["refusion_oere"][-1] == 2


# --- § 29, stk. 3 -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("before", "procent", "trin"),
    [(0, 80, 1), (2, 80, 1), (3, 40, 2), (24, 40, 2), (25, 30, 3), (50, 30, 3), (51, 20, 4)],
)
def test_a_week_before_4_january_2016_has_the_percentage_of_that_week_and_its_own_number(
    before: int, procent: int, trin: int
) -> None:
    monday = date(2015, 12, 28)
    rows = timeline.files(f"K{before}", monday - timedelta(weeks=before), "2016-01")[0].rows if before else []
    sick = [Fil("ksd.csv", "ksd", "169", "2016-01", "ksd", [week("K", monday, Felt0115=SYG_BORGER)])]
    state = calculate([*sick, timeline.fil("K", rows, "2016-01")], [], "2016-01", RULEBOOK).state
    found = {
        (key[0], key[1], row.beloeb, row.procent, row.n, row.trin)
        for key, row in state.items()
        if key[3] == "SYG_BORGER"
    }
    n = before + 1
    assert found == {(monday, "2015-12", 40_000, procent, n, trin), (monday, "2016-01", 30_000, procent, n, trin)}


def test_the_week_of_4_january_need_not_have_a_benefit() -> None:
    rows = [Fil("ksd.csv", "ksd", "169", "2016-01", "ksd", [week("K", date(2015, 12, 28), Felt0115=SYG_BORGER)])]
    gap = calculate(rows, [], "2016-01", RULEBOOK).state
    more = calculate([*rows, timeline.fil("K", [week("K", START)], "2016-01")], [], "2016-01", RULEBOOK).state
    assert [row.procent for row in gap.values()] == [80, 80]
    assert {key: row for key, row in more.items() if key[3] == "SYG_BORGER"} == gap


@pytest.mark.parametrize(
    ("letter", "konto", "first_day"),
    [("K", SYG_BORGER, "2015-12-28"), ("K", None, "2016-01-01"), ("D", None, "2016-01-04")],
)
def test_days_before_a_benefit_is_settled_count_as_weeks_but_make_no_row(
    letter: str, konto: str | None, first_day: str
) -> None:
    day = date.fromisoformat(first_day)
    kilde = {"kilde": "ksd"} if konto else {}
    for on, rows in ((day - timedelta(days=1), 0), (day, 1)):
        row = timeline.row(letter, on, on, 1) | ({"Felt0115": konto} if konto else {})
        made = run([row], "2016-01", letter, **kilde)
        assert (made.rows.height, int(made.counted.n[-1, 0])) == (rows, 1)


# --- who finances -------------------------------------------------------------------------------------------

MOVES = [
    {"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": "2024-01-09"},
    {"CPR": CPR, "Kommunekode": "147", "Bopael_start": "2024-01-10", "Bopael_slut": ""},
]


def test_a_national_benefit_is_financed_where_the_person_lives_on_monday() -> None:
    rows = [timeline.row("D", date(2024, 1, 1), date(2024, 1, 21), 1, "2100,00")]
    found = run(rows, "2024-01", "D", bopael=MOVES).rows
    assert found.select("uge", "kommunekode").rows() == [
        (date(2024, 1, 1), "101"),
        (date(2024, 1, 8), "101"),
        (date(2024, 1, 15), "147"),
    ]


def test_a_municipal_benefit_is_financed_by_its_payer_and_by_the_other_reading_by_the_residence() -> None:
    rows = [week("K", date(2024, 1, 1)), week("K", date(2024, 1, 15))]
    other = with_reading(RULEBOOK, "finansieringskommune_refusion", "bopael")
    assert run(rows, "2024-01", bopael=MOVES).rows["kommunekode"].to_list() == ["169", "169"]
    assert run(rows, "2024-01", bopael=MOVES, rules=other).rows["kommunekode"].to_list() == ["101", "147"]
    assert run(rows, "2024-01", bopael=[], rules=other).rows.is_empty()


def test_the_payer_that_is_not_the_residence_is_told_once_per_person_and_month() -> None:
    rows = [week("K", date(2024, 1, 1)), week("K", date(2024, 1, 8)), week("K", date(2024, 1, 29))]
    found = run(rows, "2024-02", bopael=MOVES).priced.anden_betaler.drop("borger_id", "ydelse_id")
    assert found.rows() == [
        (date(2024, 1, 1), "169", "101", date(2024, 1, 1), date(2024, 1, 8), 140_000),
        (date(2024, 1, 1), "169", "147", date(2024, 1, 29), date(2024, 1, 29), 30_000),
        (date(2024, 2, 1), "169", "147", date(2024, 1, 29), date(2024, 1, 29), 40_000),
    ]
    own = [MOVES[0] | {"Kommunekode": "169", "Bopael_slut": ""}]
    assert run(rows, "2024-02", bopael=own).priced.anden_betaler.is_empty()


def test_money_without_a_municipality_is_told_and_its_weeks_count() -> None:
    stay = [MOVES[1] | {"Bopael_start": "2024-01-15"}]
    rows = [timeline.row("D", date(2024, 1, 1), date(2024, 1, 28), 1, "2800,00")]
    made = run(rows, "2024-01", "D", bopael=stay)
    assert made.priced.uden_kommune["beloeb_oere"].to_list() == [70_000, 70_000]
    assert made.rows.select("indberettet_oere", "beloeb_oere", "ydelsestaeller").rows() == [
        (280_000, 70_000, 3),
        (0, 70_000, 4),
    ]


# --- what a row tells ---------------------------------------------------------------------------------------


def test_the_whole_amount_is_reported_on_the_first_settled_part_that_is_not_zero() -> None:
    rows = [timeline.row("K", date(2024, 1, 2), date(2024, 1, 14), 1, "0,01")]
    assert run(rows, "2024-01").rows.select("uge", "indberettet_oere", "beloeb_oere").rows() == [
        (date(2024, 1, 8), 1, 1)
    ]
    over = [timeline.row("K", date(2015, 12, 28), date(2016, 1, 10), 1, "1400,00")]
    assert run(over, "2016-01").rows["indberettet_oere"].to_list() == [140_000, 0]


def test_claims_of_one_benefit_in_one_week_are_one_row_with_one_rounding() -> None:
    rows = [week("K", START, "0,01"), week("K", START, "0,01", Pligt_SE="29161000"), week("K", START, "0,01", days=2)]
    found = run(rows, "2016-01").rows.select("indberettet_oere", "beloeb_oere", "refusion_oere").rows()
    assert found == [(3, 3, 2)]


def test_all_benefits_of_a_week_stand_on_the_same_step_and_a_fixed_rate_on_none() -> None:
    rows = [
        *timeline.files("K4", START, "2016-02")[0].rows,
        week("K", date(2016, 2, 1)),
        week("K", date(2016, 2, 1), Felt0115=FLYGT),
    ]
    files = [timeline.fil("K", rows, "2016-02"), timeline.fil("D", [week("D", date(2016, 2, 1))], "2016-02")]
    state = calculate(files, HOME, "2016-02", RULEBOOK).state
    last = {key[3]: (row.procent, row.refusion, row.medfinansiering, row.n, row.genoptjening, row.trin)
            for key, row in state.items() if key[0] == date(2016, 2, 1)}  # fmt: skip
    assert last == {
        "KTH": (40, 28_000, 0, 5, 0, 2),
        "ADP": (60, 0, 42_000, 5, 0, 2),
        "FLYGT": (100, 70_000, 0, None, 0, None),
    }


def test_a_benefit_that_says_nothing_of_the_week_shows_no_counters() -> None:
    travel = {"Felt0114": "urn:oio:akasse:konto:befordring", "Felt0048": "10,00"}
    alone = run([week("D", START, **travel)], "2016-01", "D").state
    assert [(row.n, row.genoptjening, row.trin, row.medfinansiering) for row in alone.values()] == [
        (None, None, None, 500)
    ]
    beside = run([week("D", START, **travel), week("D", START)], "2016-01", "D").state
    assert [(key[3], row.n, row.genoptjening) for key, row in sorted(beside.items())] == [
        ("ADP", 1, 0),
        ("BEFORD", None, 0),
    ]


def test_every_row_carries_its_paragraph_and_the_version_of_the_rules() -> None:
    found = run([week("K", START)], "2016-01").rows.select("hjemmel", "regelversion").row(0)
    assert found == ("§ 5, stk. 2, nr. 1", RULEBOOK.version[:12])
