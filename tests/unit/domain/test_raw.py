"""A delivered row: what can be read as its type, what cannot, and who can be a person."""

from datetime import date, datetime
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.efterregning.reports import is_timestamp, possible_cpr, read_date, read_oere
from refusion_assets.domain.raw import AMOUNTS, BIT, NAMES, bopael_rows, fleks_rows, is_possible_cpr, typed

KIND = {"amount": "Felt0014", "day": "Felt0214_start", "moment": "Modtaget_tidspunkt", "whole": "Lb_nr"}


def read(column: str, text: str | None) -> tuple[Any, bool, bool]:
    """The typed value of one text, whether the column holds something, and whether it is unreadable."""
    line = pl.DataFrame(
        {name: [text if name == column else None] for name in NAMES}, schema_overrides=dict.fromkeys(NAMES, pl.String)
    )
    row = typed(line).row(0, named=True)
    return row[column], bool(row["udfyldt"] & BIT[column]), bool(row["ulaeselig"] & BIT[column])


@pytest.mark.parametrize("column", AMOUNTS)
def test_every_amount_column_is_read_in_oere(column: str) -> None:
    assert read(column, "1194,45") == (119_445, True, False)


@pytest.mark.parametrize(
    ("text", "oere"),
    [
        ("0", 0),
        ("0,00", 0),
        ("-0,00", 0),
        ("1", 100),
        ("1,5", 150),
        ("1,05", 105),
        ("-1,5", -150),
        ("-0,01", -1),
        ("007,10", 710),
        ("9999999999,99", 999_999_999_999),
        ("-9999999999,99", -999_999_999_999),
    ],
)
def test_an_amount_has_at_most_ten_digits_and_two_decimals(text: str, oere: int) -> None:
    assert read("Felt0014", text) == (oere, True, False)
    assert read_oere(text) == oere


@pytest.mark.parametrize(
    "text",
    [
        "1,234",
        "1,",
        ",50",
        "1.000,00",
        "1.50",
        "+1",
        "--1",
        "1 000",
        " 1",
        "1 ",
        "10000000000",
        "1e3",
        "x",
        "-",
        "1,-5",
        "１",
    ],
)
def test_what_is_no_amount_is_unreadable(text: str) -> None:
    assert read("Felt0014", text) == (None, True, True)
    assert read_oere(text) is None


@pytest.mark.parametrize("text", ["2024-02-29", "2000-02-29", "2015-12-31", "1900-01-01"])
def test_a_day_that_exists_is_read(text: str) -> None:
    assert read("Felt0214_start", text) == (date.fromisoformat(text), True, False)


@pytest.mark.parametrize(
    "text",
    [
        *("2023-02-29", "1900-02-29", "2024-02-30", "2024-13-01", "2024-00-10", "2024-01-00", "0000-01-01"),
        *("2024-1-1", "20240101", "01-01-2024", "2024-01-01T00:00:00", "2024-01-01 ", "２０２４-01-01"),
    ],
)
def test_what_is_no_day_is_unreadable(text: str) -> None:
    assert read("Felt0214_start", text) == (None, True, True)
    assert read_date(text) is None


@pytest.mark.parametrize("text", ["2024-02-29T00:00:00", "2024-12-31T23:59:59"])
def test_a_moment_is_read_to_the_second(text: str) -> None:
    assert read("Modtaget_tidspunkt", text) == (datetime.fromisoformat(text), True, False)


@pytest.mark.parametrize(
    "text",
    [
        *("2024-01-01", "2024-01-01 12:00:00", "2024-01-01T12:00", "2024-01-01T12:00:00Z", "2024-01-01T12:00:00.000"),
        *("2023-02-29T12:00:00", "2024-01-01T24:00:00", "2024-01-01T23:60:00", "2024-01-01T23:59:60"),
    ],
)
def test_what_is_no_moment_is_unreadable(text: str) -> None:
    assert read("Modtaget_tidspunkt", text) == (None, True, True)
    assert not is_timestamp(text)


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("0007", 7), ("999999999", 999_999_999)])
def test_a_line_number_is_digits(text: str, number: int) -> None:
    assert read("Lb_nr", text) == (number, True, False)


@pytest.mark.parametrize("text", ["x", "1,0", "-1", "1.0", " 1"])
def test_a_line_number_that_is_not_digits_is_unreadable(text: str) -> None:
    assert read("Lb_nr", text) == (None, True, True)


@pytest.mark.parametrize(("text", "art"), [("I", "I"), ("T", "T"), ("i", None), ("IT", None)])
def test_a_row_is_a_report_or_a_reversal_and_nothing_else(text: str, art: str | None) -> None:
    assert read("Indberetningsart", text) == (art, True, art is None)


@pytest.mark.parametrize("column", NAMES)
def test_an_empty_value_is_neither_filled_nor_unreadable(column: str) -> None:
    assert read(column, None) == (None, False, False)


@pytest.mark.parametrize("column", ["Pligt_SE", "Kommunekode", "CPR", "Felt0115", "Felt0216"])
def test_codes_are_text_and_keep_their_leading_zeros(column: str) -> None:
    assert read(column, "0012") == ("0012", True, False)


RECEIVED = date(2024, 3, 10)


@pytest.mark.parametrize(
    ("cpr", "possible"),
    [
        # Digit seven 0-3: always 19YY.
        ("6101000000", True),
        ("6101993999", True),
        # 4 and 9: to 36 it is 20YY, from 37 it is 19YY.
        ("7003244000", True),
        ("7103244000", False),
        ("7003249000", True),
        ("7103249000", False),
        ("6101364000", False),
        ("6101374000", True),
        ("6101369000", False),
        ("6101379000", True),
        # 5-8: to 57 it is 20YY, from 58 it is 18YY.
        ("6101245000", True),
        ("6101575000", False),
        ("6101585000", True),
        ("6101578000", False),
        ("6101588000", True),
        # The date exists: leap days by century, months, days with and without 60.
        ("8902004000", True),
        ("8902000000", False),
        ("8902960000", True),
        ("8902970000", False),
        ("8902835000", False),
        ("8902845000", True),
        ("9004500000", True),
        ("9104500000", False),
        ("9112500000", True),
        ("9212500000", False),
        ("6100500000", False),
        ("6112500000", True),
        ("6113500000", False),
        ("6001500000", False),
        ("9901500000", False),
        # Not modulus 11, but ten digits.
        ("6110512470", True),
        ("6110512471", True),
        ("611051247", False),
        ("61105124700", False),
        ("61105x2470", False),
        ("611051-2470", False),
        ("６110512470", False),
        ("", False),
    ],
)
def test_a_cpr_number_is_possible_when_its_date_exists_and_is_not_after_the_receipt(
    cpr: str, *, possible: bool
) -> None:
    frame = pl.DataFrame({"cpr": [cpr], "received": [RECEIVED]})
    assert frame.select(is_possible_cpr(pl.col("cpr"), pl.col("received"))).item() is possible
    assert possible_cpr(cpr, RECEIVED) is possible


def test_no_cpr_number_or_no_receipt_is_not_possible() -> None:
    frame = pl.DataFrame(
        {"cpr": [None, "6110512470"], "received": [RECEIVED, None]}, schema={"cpr": pl.String, "received": pl.Date}
    )
    assert frame.select(found=is_possible_cpr(pl.col("cpr"), pl.col("received")))["found"].to_list() == [False, False]


def test_a_stay_needs_person_code_and_start_and_may_last() -> None:
    names = ["CPR", "Kommunekode", "Bopael_start", "Bopael_slut"]
    lines = pl.DataFrame(
        [
            ("6110512470", "101", "2020-01-01", None),
            ("6110512470", "101", "2020-01-01", "2020-01-31"),
            (None, "101", "2020-01-01", None),
            ("6110512470", None, "2020-01-01", None),
            ("6110512470", "101", None, None),
            ("6110512470", "101", "2020-13-01", None),
            ("6110512470", "101", "2020-01-01", "2020-02-30"),
            ("61105124７0", "101", "2020-01-01", None),
            ("611051247", "101", "2020-01-01", None),
            ("6110512470", "1０1", "2020-01-01", None),
            ("6110512470", "101", "２020-01-01", None),
        ],
        schema=dict.fromkeys(names, pl.String),
        orient="row",
    )
    stays = bopael_rows(lines, RECEIVED).select("bopael_start", "bopael_slut").rows()
    assert stays == [(date(2020, 1, 1), None), (date(2020, 1, 1), date(2020, 1, 31))]


def test_a_basis_for_fleksbidrag_needs_all_its_values() -> None:
    names = ["CPR", "Maaned", "Beregningsgrundlag", "Loen"]
    rows = [
        ("6110512470", "2024-02", "17550,00", "0"),
        ("6110512470", "2024-13", "17550,00", "0"),
        ("6110512470", "2024-02", "x", "0"),
        ("6110512470", "2024-02", "17550,00", None),
        ("61105124٧0", "2024-02", "17550,00", "0"),
        ("6110512470", "202４-02", "17550,00", "0"),
        ("6110512470", "2024-02", "1755०,00", "0"),
        ("6110512470", "0000-02", "17550,00", "0"),
    ]
    lines = pl.DataFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row").with_row_index("linje", 2)
    kept = fleks_rows(lines, RECEIVED).select("raekke", "maaned", "beregningsgrundlag_oere", "loen_oere").rows()
    assert kept == [(2, date(2024, 2, 1), 1_755_000, 0)]
