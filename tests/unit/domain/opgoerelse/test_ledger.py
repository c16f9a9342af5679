"""The settling: what a run takes back and settles anew, and how it is told to a municipality."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.opgoerelse.ledger import (
    LEDGER,
    STATE,
    beregning,
    by_kommune,
    not_taken_back,
    run_number,
    settle,
    statement,
)
from refusion_assets.store.tables import validate
from tests.kit.data_root import RULEBOOK

JAN, FEB, MAR = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)
WEEK, CUT = date(2024, 1, 8), date(2024, 1, 29)  # CUT has three days in January and four in February
NAVNE = pl.DataFrame(
    [("KTH", "Kontanthjælp", "refusion"), ("ADP", "Arbejdsløshedsdagpenge", "medfinansiering")],
    schema=["ydelse_id", "navn", "side"],
    orient="row",
)
TYPES = {
    **dict.fromkeys(("uge", "maaned"), pl.Date),
    **dict.fromkeys(("ydelse_id", "kommunekode", "hjemmel", "regelversion"), pl.String),
}


def row(oere: int = 70_000, procent: int = 80, n: int | None = 1, **changes: Any) -> dict[str, Any]:
    """One result row of kontanthjælp in one week of January."""
    values = {
        "uge": WEEK, "maaned": JAN, "borger_id": 1, "ydelse_id": "KTH", "kommunekode": "169",
        "indberettet_oere": oere, "beloeb_oere": oere, "refusion_oere": oere * procent // 100,
        "medfinansiering_oere": 0, "procent": procent, "ydelsestaeller": n, "genoptjeningstaeller": 0, "trin": 1,
        "hjemmel": "§ 5", "regelversion": "v1",
    }  # fmt: skip
    return values | changes


def state(*rows: dict[str, Any]) -> pl.DataFrame:
    """Result rows as a frame."""
    return pl.DataFrame(list(rows), schema={name: TYPES.get(name, pl.Int64) for name in STATE})


def runs(*states: pl.DataFrame, first: int = 1) -> pl.DataFrame:
    """The ledger of runs that knew these states, one after the other; nothing before them."""
    ledger = state().with_columns(
        raekketype=pl.lit("Å"), koersel=pl.lit(0, pl.Int64), oprindelig_koersel=pl.lit(None, pl.Int64)
    ).select(LEDGER)  # fmt: skip
    for number, known in enumerate(states, first):
        ledger = pl.concat([ledger, settle(known, not_taken_back(ledger), number)])
    return validate("opgoerelse.postering", ledger)


def told(ledger: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Run, type and some columns of every ledger row."""
    return ledger.sort("koersel", "uge", "maaned", "raekketype").select("koersel", "raekketype", *columns).rows()


# --- N, T, K and Å ------------------------------------------------------------------------------------------


def test_a_new_key_is_settled_as_n() -> None:
    assert told(runs(state(row())), "beloeb_oere", "refusion_oere", "oprindelig_koersel") == [
        (1, "N", 70_000, 56_000, None)
    ]


def test_an_unchanged_key_makes_no_row_and_neither_does_a_change_of_counters_alone() -> None:
    assert told(runs(state(row()), state(row()))) == [(1, "N")]
    counters = row(n=2, genoptjeningstaeller=5, trin=2, hjemmel="§ 6", regelversion="v2")
    assert told(runs(state(row()), state(counters)), "ydelsestaeller") == [(1, "N", 1)]


@pytest.mark.parametrize(
    "changes",
    [
        {"oere": 70_001},
        {"procent": 40},
        {"indberettet_oere": 70_001},
        {"refusion_oere": 56_001},
        {"medfinansiering_oere": 1},
    ],
)
def test_a_change_of_any_amount_or_percentage_takes_the_key_back_and_settles_it_anew(changes: dict[str, int]) -> None:
    ledger = runs(state(row()), state(row(**changes)))
    assert told(ledger, "oprindelig_koersel") == [(1, "N", None), (2, "K", None), (2, "T", 1)]
    back = ledger.filter(pl.col("raekketype") == "T").row(0, named=True)
    assert (back["beloeb_oere"], back["refusion_oere"], back["procent"]) == (-70_000, -56_000, 80)
    again = ledger.filter(pl.col("raekketype") == "K").row(0, named=True)
    assert {name: again[name] for name in STATE} == row(**changes)


def test_a_key_that_is_gone_is_taken_back_and_comes_again_as_new() -> None:
    ledger = runs(state(row()), state(), state(row()), state(row()))
    assert told(ledger, "beloeb_oere", "oprindelig_koersel") == [
        (1, "N", 70_000, None),
        (2, "T", -70_000, 1),
        (3, "N", 70_000, None),
    ]


def test_a_row_is_taken_back_as_the_last_run_settled_it() -> None:
    ledger = runs(state(row()), state(row(50_000)), state(row(40_000)))
    back = ledger.filter(pl.col("raekketype") == "T").sort("koersel").select("beloeb_oere", "oprindelig_koersel").rows()
    assert back == [(-70_000, 1), (-50_000, 2)]


@pytest.mark.parametrize(
    "other", [{"kommunekode": "101"}, {"borger_id": 2}, {"ydelse_id": "LED"}, {"uge": CUT}, {"maaned": FEB}]
)
def test_a_row_of_another_key_is_no_correction(other: dict[str, Any]) -> None:
    ledger = runs(state(row()), state(row(), row(**other)))
    assert told(ledger) == [(1, "N"), (2, "N")]


def test_a_person_who_moves_is_taken_back_in_one_municipality_and_new_in_the_other() -> None:
    ledger = runs(state(row()), state(row(kommunekode="101")))
    assert sorted(told(ledger, "kommunekode")) == [(1, "N", "169"), (2, "N", "101"), (2, "T", "169")]


def test_a_week_cut_by_the_month_end_is_settled_in_two_halves_each_by_its_own_run() -> None:
    january, february = row(30_000, uge=CUT), row(40_000, uge=CUT, maaned=FEB)
    ledger = runs(state(january), state(january, february))
    assert told(ledger, "maaned", "beloeb_oere") == [(1, "N", JAN, 30_000), (2, "N", FEB, 40_000)]


def test_an_opening_row_is_taken_back_as_run_0() -> None:
    opened = runs(state(row())).with_columns(raekketype=pl.lit("Å"), koersel=pl.lit(0, pl.Int64))
    assert told(settle(state(row()), not_taken_back(opened), 50)) == []
    later = settle(state(row(60_000)), not_taken_back(opened), 50)
    assert told(later, "beloeb_oere", "oprindelig_koersel") == [(50, "K", 60_000, None), (50, "T", -70_000, 0)]


# --- run numbers --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("month", "number"),
    [(date(2019, 12, 1), 0), (date(2020, 1, 1), 1), (date(2020, 12, 1), 12), (date(2021, 1, 1), 13), (FEB, 50)],
)
def test_run_1_is_january_2020_and_then_one_a_month(month: date, number: int) -> None:
    assert run_number(month, RULEBOOK) == number


# --- the calculation file -----------------------------------------------------------------------------------


def merged(ledger: pl.DataFrame, *columns: str) -> list[tuple[Any, ...]]:
    """Type and some columns of the rows of the calculation file."""
    return beregning(ledger).select("raekketype", *columns).rows()


def test_the_halves_of_a_week_are_added_and_the_later_half_gives_the_counters() -> None:
    january = row(30_001, uge=CUT, refusion_oere=24_001)
    february = row(40_001, uge=CUT, maaned=FEB, refusion_oere=32_001, ydelsestaeller=5, genoptjeningstaeller=3, trin=2)
    columns = ("beloeb_oere", "refusion_oere", "ydelsestaeller", "genoptjeningstaeller", "trin")
    assert merged(runs(state(february, january)), *columns) == [("N", 70_002, 56_002, 5, 3, 2)]


def test_a_week_has_at_most_one_negative_and_one_positive_row() -> None:
    january, february = row(30_000, uge=CUT), row(40_000, uge=CUT, maaned=FEB)
    ledger = runs(state(january, february), state(row(31_000, uge=CUT), row(41_000, uge=CUT, maaned=FEB)))
    second = ledger.filter(pl.col("koersel") == 2)
    assert sorted(merged(second, "beloeb_oere", "oprindelig_koersel")) == [("K", 72_000, None), ("T", -70_000, 1)]


def test_a_k_row_may_hold_a_half_that_is_new() -> None:
    january = row(30_000, uge=CUT)
    ledger = runs(state(january), state(row(31_000, uge=CUT), row(40_000, uge=CUT, maaned=FEB)))
    second = ledger.filter(pl.col("koersel") == 2)
    assert sorted(merged(second, "beloeb_oere")) == [("K", 71_000), ("T", -30_000)]


def test_the_original_run_of_a_merged_row_is_the_latest() -> None:
    january, february = row(30_000, uge=CUT), row(40_000, uge=CUT, maaned=FEB)
    ledger = runs(state(january), state(january, february), state())
    third = ledger.filter(pl.col("koersel") == 3)
    assert merged(third, "beloeb_oere", "oprindelig_koersel") == [("T", -70_000, 2)]


def test_rows_of_two_people_benefits_or_municipalities_are_never_added() -> None:
    rows = [row(), row(borger_id=2), row(ydelse_id="LED"), row(kommunekode="101"), row(uge=CUT)]
    assert merged(runs(state(*rows)), "beloeb_oere") == [("N", 70_000)] * 5


# --- the statement ------------------------------------------------------------------------------------------


def test_the_statement_parts_the_month_from_corrections_of_this_year_and_of_earlier_years() -> None:
    rows = [
        row(100, 80, maaned=MAR, uge=date(2024, 3, 4)),
        row(1_000, 80),
        row(10_000, 80, maaned=date(2023, 12, 1), uge=date(2023, 12, 4)),
        row(5_000, 40, borger_id=2),
        row(3_000, 60, ydelse_id="ADP", refusion_oere=0, medfinansiering_oere=1_800),
    ]
    found = statement(runs(state(*rows)), MAR, NAVNE)
    assert found.rows() == [
        ("169", "MEDFINANSIERING", "Arbejdsløshedsdagpenge", 60, 1, 1, 0, 1_800, 0, 1_800),
        ("169", "REFUSION", "Kontanthjælp", 40, 1, 1, 0, 2_000, 0, 2_000),
        ("169", "REFUSION", "Kontanthjælp", 80, 1, 3, 80, 800, 8_000, 8_880),
    ]


def test_a_person_week_counts_once_also_when_it_is_cut_or_corrected() -> None:
    january, february = row(30_000, uge=CUT), row(40_000, uge=CUT, maaned=FEB)
    ledger = runs(state(january), state(row(31_000, uge=CUT), february))
    second = statement(ledger.filter(pl.col("koersel") == 2), FEB, NAVNE).row(0, named=True)
    assert (second["antal_borgere"], second["antal_uger"]) == (1, 1)
    assert (second["loebende"], second["indevaerende_aar"], second["i_alt"]) == (32_000, 800, 32_800)


def test_every_municipality_gets_its_sums_also_the_one_without_rows() -> None:
    rows = [
        row(),
        row(10_000, maaned=FEB, borger_id=2),
        row(500, ydelse_id="ADP", refusion_oere=0, medfinansiering_oere=100),
    ]
    sums = by_kommune(runs(state(*rows)), ["101", "169"], 50, FEB)
    assert validate("opgoerelse.kommune", sums).rows() == [
        (50, "101", 0, 0, 0, 0, 0),
        (50, "169", 3, 2, 64_000, 100, 55_900),
    ]
