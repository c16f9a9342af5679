"""The old system's rows: what is read, what is listed and why, the state they leave, and how ours differs."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.faelles.konvertering import (
    TEXTS,
    WEEK,
    differences,
    first_week,
    opening,
    read,
    state,
)
from refusion_assets.domain.opgoerelse.ledger import MONEY, STATE
from refusion_assets.files.outgoing import BEREGNING
from tests.kit.timeline import CPR

NAMES = {"Kontanthjælp": "KTH", "Arbejdsløshedsdagpenge": "ADP"}
GOOD = ("2024-01-08", CPR, "Kontanthjælp", "Aarhus", "1000,00", "1000,00", "80,00", "800,00", "0,00", "0,00")


def lines(*rows: tuple[str, ...], nr: int = 1, fil: str = "a") -> pl.DataFrame:
    data = [dict(zip(TEXTS, row, strict=True)) | {"fil": fil, "nr": nr, "linje": n} for n, row in enumerate(rows, 2)]
    return pl.DataFrame(data).with_columns(hel=pl.lit(value=True))


def but(**changes: str) -> tuple[str, ...]:
    return tuple(changes.get(name, value) for name, value in zip(TEXTS, GOOD, strict=True))


def said(*rows: tuple[str, ...]) -> list[str | None]:
    return read(lines(*rows), "Aarhus", NAMES)["aarsag"].to_list()


def test_the_ten_public_columns_are_those_our_own_files_begin_with() -> None:
    assert len(TEXTS) == 10
    assert BEREGNING[:10] == (
        "Uge", "CPR nummer", "Ydelse", "Finansiering Kommunenavn", "Indberetning udbetalingsbeløb",
        "Beregnet udbetalingsbeløb", "Refusionssats", "Refusionsbeløb", "Medfinansieringssats", "Medfinansieringsbeløb",
    )  # fmt: skip


def test_a_row_is_read_in_oere_and_whole_per_cent() -> None:
    [row] = read(lines(GOOD), "Aarhus", NAMES).rows(named=True)
    assert (row["uge"], row["cpr"], row["ydelse_id"]) == (date(2024, 1, 8), CPR, "KTH")
    assert (row["beloeb_oere"], row["refusion_oere"], row["procent"], row["aarsag"]) == (100_000, 80_000, 80, None)


def test_zeros_that_a_spreadsheet_took_from_the_number_of_a_person_are_put_back() -> None:
    assert read(lines(but(cpr="123")), "Aarhus", NAMES)["cpr"].to_list() == ["0000000123"]


@pytest.mark.parametrize(("text", "oere"), [("-0,05", -5), ("7", 700), ("7,5", 750), ("-1234,50", -123_450)])
def test_an_amount_has_a_decimal_comma_and_two_decimals_at_most(text: str, oere: int) -> None:
    assert read(lines(but(beloeb=text)), "Aarhus", NAMES)["beloeb_oere"].to_list() == [oere]


WRONG = {
    "uge": but(uge="2024-01-09"),
    "cpr": but(cpr="123456789012"),
    "ydelse": but(ydelse="Ukendt ydelse"),
    "kommune": but(kommune="Odense"),
    "beloeb": but(refusion="1.234,00"),
    "procent": but(refusionssats="80,50"),
}


@pytest.mark.parametrize("aarsag", WRONG)
def test_a_row_that_cannot_be_used_is_listed_by_the_column_at_fault(aarsag: str) -> None:
    assert said(WRONG[aarsag], but(uge="2024-01-15")) == [aarsag, None]


def test_a_row_twice_in_a_file_counts_once_and_in_two_files_twice() -> None:
    assert said(GOOD, GOOD) == [None, "dublet"]
    both = read(pl.concat([lines(GOOD), lines(GOOD, nr=2, fil="b")]), "Aarhus", NAMES)
    assert both["aarsag"].to_list() == [None, None]
    assert state(both, "751")["beloeb_oere"].to_list() == [200_000]


def test_an_empty_name_of_the_municipality_is_that_of_the_file() -> None:
    assert said(but(kommune="")) == [None]


def test_rates_as_parts_of_one_are_per_cent_where_no_rate_of_the_file_is_higher() -> None:
    parts = [but(refusionssats="0,8"), but(refusionssats="0,00", medfinansieringssats="1,00", uge="2024-01-15")]
    assert read(lines(*parts), "Aarhus", NAMES)["procent"].to_list() == [80, 100]
    assert read(lines(GOOD, but(refusionssats="1,00", uge="2024-01-15")), "Aarhus", NAMES)["procent"].to_list() == [
        80,
        1,
    ]


def minus(row: tuple[str, ...]) -> tuple[str, ...]:
    money = {4, 5, 7, 9}
    return tuple(f"-{value}" if n in money and value != "0,00" else value for n, value in enumerate(row))


def test_a_row_taken_back_and_settled_anew_leaves_the_new_one() -> None:
    new = but(refusionssats="40,00", refusion="400,00")
    rows = read(pl.concat([lines(GOOD), lines(minus(GOOD), new, nr=2, fil="b")]), "Aarhus", NAMES)
    [left] = state(rows, "751").rows(named=True)
    assert (left["beloeb_oere"], left["refusion_oere"], left["procent"]) == (100_000, 40_000, 40)


def test_a_key_that_sums_to_nothing_is_no_state() -> None:
    assert state(read(lines(GOOD, minus(GOOD)), "Aarhus", NAMES), "751").is_empty()


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(-99_999, 99_999)), max_size=20))
def test_the_state_has_the_sum_of_all_rows_used(rows: list[tuple[int, int]]) -> None:
    made = [
        but(uge=f"2024-01-{1 + 7 * (n % 4):02}", beloeb=f"{'-' if o < 0 else ''}{abs(o) // 100},{abs(o) % 100:02}")
        for n, o in rows
    ]
    typed = read(lines(*made) if made else lines(GOOD).clear(), "Aarhus", NAMES)
    used = typed.filter(pl.col("aarsag").is_null())
    assert state(typed, "751")["beloeb_oere"].sum() == used["beloeb_oere"].sum()


def test_the_first_whole_week_begins_in_the_month_of_the_first_file() -> None:
    assert (first_week(date(2024, 1, 1)), first_week(date(2024, 2, 1))) == (date(2024, 1, 1), date(2024, 2, 5))


def week(uge: date, refusion: int, procent: int = 80, **more: object) -> dict[str, object]:
    money = {"indberettet_oere": 1000, "beloeb_oere": 1000, "refusion_oere": refusion, "medfinansiering_oere": 0}
    return {"uge": uge, "ydelse_id": "KTH", **money, "procent": procent, **more}


def ours(uge: date, maaned: date, refusion: int) -> dict[str, object]:
    nothing = dict.fromkeys(("ydelsestaeller", "genoptjeningstaeller", "trin"), 1)
    row = week(uge, refusion, maaned=maaned, borger_id=7, kommunekode="751", hjemmel="§ 5", regelversion="x", **nothing)
    return {name: row[name] for name in STATE}


def test_only_weeks_that_the_old_system_settled_otherwise_open_as_it_settled_them() -> None:
    early, same, other = date(2024, 1, 29), date(2024, 2, 5), date(2024, 2, 26)
    own = pl.DataFrame([
        ours(early, date(2024, 1, 1), 1), ours(same, date(2024, 2, 1), 800),
        ours(other, date(2024, 2, 1), 500), ours(other, date(2024, 3, 1), 300),
    ])  # fmt: skip
    twice = dict.fromkeys(("indberettet_oere", "beloeb_oere"), 2000)
    old = pl.DataFrame([
        week(same, 800, borger_id=7, kommunekode="751"),
        week(other, 790, borger_id=7, kommunekode="751") | twice,
        week(date(2024, 3, 4), 5, borger_id=7, kommunekode="751"),
    ])  # fmt: skip
    mine, theirs = opening(own, old, date(2024, 2, 1))
    assert mine.select("uge", "maaned").rows() == [(other, date(2024, 2, 1)), (other, date(2024, 3, 1))]
    found = theirs.sort("uge").select("uge", "maaned", "refusion_oere").rows()
    assert found == [(other, date(2024, 2, 1), 790), (date(2024, 3, 4), date(2024, 3, 1), 5)]


CAUSES = {
    "procent": week(date(2024, 1, 8), 400, 40),
    "beloeb": week(date(2024, 1, 8), 797),
    "afrunding": week(date(2024, 1, 8), 798),
    "indberettet": week(date(2024, 1, 8), 800) | {"indberettet_oere": 999},
}


@pytest.mark.parametrize("aarsag", CAUSES)
def test_a_difference_has_the_first_thing_that_differs_as_its_cause(aarsag: str) -> None:
    old, new = (
        pl.DataFrame([row | {"cpr": CPR}]).select(*WEEK, *MONEY, "procent")
        for row in (week(date(2024, 1, 8), 800), CAUSES[aarsag])
    )
    assert differences(old, new, "751")["aarsag"].to_list() == [aarsag]
    assert differences(old, old, "751").is_empty()
    assert differences(old, old.clear(), "751")["aarsag"].to_list() == ["kun_gammel"]
    assert differences(old.clear(), old, "751")["aarsag"].to_list() == ["kun_ny"]
