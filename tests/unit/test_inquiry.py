"""The purpose of a look-up: a personal number is found in any writing, and what people write otherwise passes."""

from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusion_assets.domain.stop import Stop
from refusion_assets.look_up.inquiry import ONES, inquiry_of, purpose

CPR = "6110512470"
OTHER = "7203641234"
SPOKEN = "enogtres ti enoghalvtreds fireogtyve halvfjerds"


def written(number: str) -> list[str]:
    """One number in the ways that people, and those who hide it, write it."""
    return [
        number,
        f"{number[:6]}-{number[6:]}",
        f"{number[:6]} – {number[6:]}",
        ".".join(number),
        " ".join(number),
        "_".join(number),
        "\u200b".join(number),
        f"{number[:2]}/{number[2:4]}/{number[4:6]}:{number[6:]}",
        "".join(chr(0xFF10 + int(d)) for d in number),
        "".join(chr(0x660 + int(d)) for d in number),
        "".join("⁰¹²³⁴⁵⁶⁷⁸⁹"[int(d)] for d in number),
        "".join(chr(0x1D7CE + int(d)) for d in number),
        number.replace("0", "O").replace("1", "l"),
        number.replace("0", "o").replace("1", "I"),
        number.replace("1", "|"),
        " ".join(ONES[int(d)] for d in number),
        ", ".join(ONES[int(d)].upper() for d in number),
    ]


@pytest.mark.parametrize("text", [*written(CPR), *written(OTHER), SPOKEN])
def test_a_personal_number_in_any_writing_is_refused_and_not_repeated(text: str) -> None:
    with pytest.raises(Stop, match="personnummer i formålet") as stopped:
        purpose(f"klage om {text} igen", CPR)
    assert "klage" not in str(stopped.value)


def test_the_number_that_is_looked_up_is_found_with_words_between() -> None:
    with pytest.raises(Stop, match="personnummer"):
        purpose("først 611051 og derefter 2470", CPR)
    assert purpose("først 611052 og derefter 2470", CPR)


@pytest.mark.parametrize(
    "text",
    [
        "sag 24-12345 af 01.02.2026",
        "sag 24-1234, 01.02.2026",
        "møde 2026-10-01 til 2026-10-31",
        "ring 12 34 56 78",
        "tlf. 12345678 i morgen",
        "klage fra en borger, to sager",
        "journal 99991231235",
        "I har bedt om det, sag 24/12345",
    ],
)
def test_what_people_write_passes(text: str) -> None:
    assert purpose(text, CPR) == text


@settings(max_examples=25)
@given(
    st.integers(20, 29), st.integers(1, 99999), st.dates(date(1990, 1, 1), date(2030, 1, 1)),
    st.integers(20_000_000, 99_999_999),
)  # fmt: skip
def test_case_numbers_dates_and_telephones_pass(year: int, case: int, day: date, phone: int) -> None:
    for said in (f"sag {year}-{case}", f"klage af {day:%d.%m.%Y}", f"møde {day}", f"tlf. {phone} ringer"):
        assert purpose(said, CPR) == said


@settings(max_examples=25)
@given(st.integers(61, 91), st.integers(1, 12), st.integers(0, 999_999), st.text(" .-/,_:;", max_size=5), st.data())
def test_ten_digits_that_begin_as_a_date_are_refused_wherever_they_are_parted(
    day: int, month: int, rest: int, between: str, data: st.DataObject
) -> None:
    number = f"{day:02}{month:02}{rest:06}"
    at = data.draw(st.integers(1, 9))
    with pytest.raises(Stop, match="personnummer"):
        purpose(f"klage {number[:at]}{between}{number[at:]} x", CPR)


def test_the_number_is_asked_for_where_a_month_stands_alone() -> None:
    asked = inquiry_of(("2026-10",), "klage", str, lambda: f" {CPR[:6]}-{CPR[6:]}\n")
    assert (asked.cpr, asked.maaned) == (CPR, date(2026, 10, 1))
    with pytest.raises(Stop, match="intet personnummer"):
        inquiry_of(("2026-10",), "klage", str, str)
    with pytest.raises(Stop, match="eet personnummer"):
        inquiry_of((CPR,), "klage", str, lambda: CPR)
