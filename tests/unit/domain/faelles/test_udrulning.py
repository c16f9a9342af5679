"""The plan of the roll-out: the waves, the plans that are refused and why, and who is in operation when."""

from datetime import date

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.faelles.udrulning import (
    Boelge,
    KommuneUdrulning,
    Udrulning,
    even,
    excused,
    in_operation,
    other_plan,
    plan_faults,
    planned,
    taken,
    waves,
)

KODER = [f"{number:03}" for number in range(101, 199)]
KILDER = {"ky": "kommunal", "ksd": "kommunal", "udk": "national"}
MARCH, JUNE = date(2027, 3, 1), date(2027, 6, 1)


def plan(first: int = 4, second: int = 6, **changes: object) -> Udrulning:
    """A plan whose pilots are the first municipalities of the country."""
    values: dict[str, object] = {
        "kilder": ("ky",), "foerste_maaned": date(2027, 1, 1), "graense": 15,
        "foerste_pilot": tuple(KODER[:first]), "anden_pilot": tuple(KODER[first : first + second]),
        "hjemmel": "ingen", "kilde": "referatet", "kontrolleret": date(2026, 1, 1), "sikkerhed": "besluttet",
    }  # fmt: skip
    return Udrulning(**(values | changes))  # type: ignore[arg-type]


def why(entry: Udrulning) -> str:
    """Why a plan cannot stand; empty if it can."""
    return " | ".join(plan_faults([entry], KODER, KILDER))


def test_98_municipalities_are_two_pilots_and_six_even_waves_a_month_apart() -> None:
    found = waves(plan(), KODER)
    assert [len(kommuner) for kommuner, _ in found] == [4, 6, 15, 15, 15, 15, 14, 14]
    assert [f"{month:%Y-%m}" for _, month in found] == [f"2027-{number:02}" for number in range(1, 9)]


@given(st.integers(0, 98), st.integers(1, 98))
def test_even_waves_hold_everybody_once_in_as_few_waves_as_the_limit_allows(size: int, most: int) -> None:
    parts = even(KODER[:size], most)
    assert [kode for part in parts for kode in part] == KODER[:size]
    assert len(parts) == -(-size // most)
    sizes = [len(part) for part in parts]
    assert max(sizes, default=0) - min(sizes, default=0) <= 1
    assert max(sizes, default=0) <= most


@pytest.mark.parametrize("first", [1, 4])
@pytest.mark.parametrize("second", [5, 6])
def test_pilots_of_one_to_four_and_five_or_six_stand(first: int, second: int) -> None:
    assert why(plan(first, second)) == ""


@pytest.mark.parametrize("first", [0, 5])
def test_a_first_pilot_of_none_or_five_is_refused(first: int) -> None:
    assert why(plan(first)).endswith(f"foerste_pilot har {first} kommuner; den skal have mindst 1 og højst 4")


@pytest.mark.parametrize("second", [4, 7])
def test_a_second_pilot_of_four_or_seven_is_refused(second: int) -> None:
    assert why(plan(4, second)).endswith(f"anden_pilot har {second} kommuner; den skal have mindst 5 og højst 6")


def test_two_months_between_source_systems_are_refused_and_three_stand() -> None:
    two, three = (plan(kilder=("ky", "ksd"), maaneder_mellem_kilder=gap) for gap in (2, 3))
    assert "maaneder_mellem_kilder er 2 mellem ky og ksd" in why(two)
    assert why(three) == ""
    months = {(one.kommunekode, one.kilde): one.maaned for one in planned(three, KODER)}
    assert (months["101", "ky"], months["101", "ksd"]) == (date(2027, 1, 1), date(2027, 4, 1))
    assert len(months) == 2 * 98


def listed(*parts: list[str], maaned: date | None = None) -> Udrulning:
    """A plan with listed waves under a limit of 50."""
    return plan(graense=50, boelger=tuple(Boelge(kommuner=tuple(part), maaned=maaned) for part in parts))


def test_listed_waves_that_hold_everybody_once_stand() -> None:
    assert why(listed(KODER[10:60], KODER[60:])) == ""


REFUSED = {
    "kommune 160 står 2 gange": listed(KODER[10:60], KODER[59:]),
    "kommune 198 mangler": listed(KODER[10:60], KODER[60:-1]),
    "bølge 3 har 51 kommuner; graense er 50": listed(KODER[10:61], KODER[61:]),
    "bølge 5 har ingen kommuner": listed(KODER[10:60], KODER[60:], []),
    "999 er ingen kommune": listed(KODER[10:60], [*KODER[60:], "999"]),
    "bølge 3 ligger i 2026-12, før bølgen foran den": listed(KODER[10:60], KODER[60:], maaned=date(2026, 12, 1)),
    "2027-03-02 er ikke den første i en måned": listed(KODER[10:60], KODER[60:], maaned=date(2027, 3, 2)),
    "kommune 104 står 2 gange": plan(4, anden_pilot=tuple(KODER[3:9])),
    "kilden udk er ingen kommunal kilde": plan(kilder=("udk",)),
    "kilden ky står 2 gange": plan(kilder=("ky", "ky"), maaneder_mellem_kilder=3),
    "kilder er tom": plan(kilder=()),
    "graense er 0": plan(graense=0),
    "maaneder_mellem_boelger er 0": plan(maaneder_mellem_boelger=0),
}


@pytest.mark.parametrize("said", REFUSED)
def test_a_plan_that_cannot_stand_is_refused_and_says_why(said: str) -> None:
    assert said in why(REFUSED[said])


def test_two_plans_are_refused() -> None:
    assert next(plan_faults([plan(), plan()], KODER, KILDER)).startswith("udrulning.toml: udrulning står 2 gange")


def rows(*said: tuple[str, str, date, str]) -> pl.DataFrame:
    """Rows of the roll-out, all of wave 1."""
    schema = kinds_of(KommuneUdrulning)
    data = [(kode, kilde, 1, maaned, tilstand) for kode, kilde, maaned, tilstand in said]
    return pl.DataFrame(data, schema=schema, orient="row")


def test_a_municipality_is_settled_from_the_month_its_last_source_system_is_in_operation() -> None:
    both = rows(("101", "ky", MARCH, "i_drift"), ("101", "ksd", JUNE, "i_drift"))
    assert (in_operation(both, date(2027, 5, 1)), in_operation(both, JUNE)) == (set(), {"101"})
    half = rows(("101", "ky", MARCH, "gammel_lukket"), ("101", "ksd", JUNE, "stikproeve_ok"))
    assert in_operation(half, JUNE) == set()


def test_a_source_system_is_waited_for_from_its_own_month_and_others_from_that_of_the_municipality() -> None:
    both = rows(("101", "ky", MARCH, "i_drift"), ("101", "ksd", JUNE, "i_drift"))
    senders = [("ky", "101"), ("ksd", "101"), ("lts", "101"), ("akasse", "20100001"), ("ky", "102")]
    assert excused(both, date(2027, 2, 1), senders) == {("ky", "101"), ("ksd", "101"), ("lts", "101")}
    assert excused(both, MARCH, senders) == {("ksd", "101"), ("lts", "101")}
    assert excused(both, JUNE, senders) == set()


def test_another_plan_is_seen_and_a_later_month_of_a_municipality_in_operation_is_none() -> None:
    first = planned(plan(), KODER)
    found, faults = taken(KommuneUdrulning.empty(), first)
    assert faults == []
    table = rows(*((kode, kilde, maaned, tilstand) for kode, kilde, _, maaned, tilstand in found)).with_columns(
        boelge=pl.Series([row[2] for row in found], dtype=pl.Int64)
    )
    assert other_plan(table, first) == []
    began = pl.col("kommunekode") == "101"
    begun = table.with_columns(
        tilstand=pl.when(began).then(pl.lit("i_drift")).otherwise("tilstand"),
        maaned=pl.when(began).then(JUNE).otherwise("maaned"),
    )
    assert other_plan(begun, first) == []
    moved = planned(plan(3), KODER)
    assert other_plan(begun, moved)[0] == "104"
    kept = {(row[0], row[1]): row[3:] for row in taken(begun, moved)[0]}
    assert kept["101", "ky"] == (JUNE, "i_drift")
    swapped = planned(plan(foerste_pilot=tuple(KODER[1:5]), anden_pilot=("101", *KODER[5:10])), KODER)
    assert taken(begun, swapped)[1] == ["101 er i drift med ky i bølge 1 og kan ikke flyttes"]
    assert other_plan(begun, []) == KODER
    assert taken(begun, [])[1] == ["101 er i drift og mangler i planen"]
