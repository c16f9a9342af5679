"""The targets: a budget read line by line, a year expected on each account, and gains against a baseline."""

from dataclasses import replace
from datetime import date

import polars as pl
import pytest

from refusion_assets.domain.opfoelgning.targets import (
    Measured,
    deviation,
    gains,
    read_amount,
    read_budget,
    rest_of_year,
)
from refusion_assets.domain.rules.entries import Gevinst, Rulebook
from tests.kit.data_root import RULEBOOK

HEAD = "Kommunekode;Konto;Beløb"
OCTOBER, DECEMBER = date(2026, 10, 1), date(2026, 12, 1)


@pytest.fixture(scope="module")
def rules() -> Rulebook:
    return RULEBOOK


@pytest.mark.parametrize(
    ("text", "oere"),
    [
        ("1250", 125_000),
        ("1.250.000,00", 125_000_000),
        ("1 250 000,5", 125_000_050),
        ("-12,34", -1_234),
        ("−12,34", -1_234),
        ("0,01", 1),
        ("0", 0),
        ("", None),
        ("12.34", None),
        ("1,234", None),
        ("1.25.000", None),
        ("tolv", None),
        ("12-", None),
    ],
)
def test_an_amount_is_read_as_danes_write_it_or_not_at_all(text: str, oere: int | None) -> None:
    assert read_amount(text) == oere


def test_lines_on_an_account_are_added_and_a_line_with_a_fault_is_named_without_its_text(rules: Rulebook) -> None:
    private = "190190-1234"
    lines = [
        f"\ufeff{HEAD}",
        "630;5.57.78.2.010;1.000,00",
        "630;5.57.78.2.010;500",
        "",
        "999;5.57.78;1",
        f"630;{private};1",
        f"630;5.57.78;{private}",
        f"630;5.57.78;1;{private}",
    ]
    found = read_budget("budget-2026.csv", lines, rules)
    assert found.rows.rows() == [("630", "5.57.78.2.010", 150_000)]
    assert [fault.partition(":")[0] for fault in found.faults] == [f"budget-2026.csv linje {n}" for n in (5, 6, 7, 8)]
    assert not [fault for fault in found.faults if private in fault]


@pytest.mark.parametrize("lines", [[], [""], ["Kommune;Konto;Beløb", "630;5.57.78;1"]])
def test_a_file_without_the_heading_has_no_lines_and_says_the_heading(lines: list[str], rules: Rulebook) -> None:
    found = read_budget("budget-2026.csv", lines, rules)
    assert found.rows.is_empty()
    assert found.faults == (f"budget-2026.csv: første linje skal være {HEAD}",)


def money(*rows: tuple[str, str, int], ydelse: str = "ADP") -> pl.DataFrame:
    schema = {"kommunekode": pl.String, "konto": pl.String, "debet_oere": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row").with_columns(ydelse_id=pl.lit(ydelse))


def budget(*rows: tuple[str, str, int]) -> pl.DataFrame:
    return money(*rows).select("kommunekode", "konto", budget_oere="debet_oere")


def shown(rows: pl.DataFrame) -> dict[tuple[str, str], tuple[int | None, ...]]:
    numbers = ["budget_oere", "forbrug_oere", "prognose_rest_oere", "helaar_oere", "afvigelse_oere"]
    return {(row["kommunekode"], row["konto"]): tuple(row[n] for n in numbers) for row in rows.iter_rows(named=True)}


def test_money_counts_on_the_longest_account_of_the_budget_that_it_begins_with() -> None:
    lines = budget(("630", "5.57.78", 1000), ("630", "5.57.78.2", 600), ("630", "5.57.7", 9))
    booked = money(("630", "5.57.78.2.010", 50), ("630", "5.57.78.1.010", 7), ("630", "5.57.71.2.010", 3))
    found = shown(deviation(lines, booked, money(("630", "5.57.78.2.011", 5)), OCTOBER))
    assert found == {
        ("630", "5.57.78"): (1000, 7, 0, 7, -993),
        ("630", "5.57.78.2"): (600, 50, 5, 55, -545),
        ("630", "5.57.7"): (9, 0, None, None, None),
        ("630", "5.57.71.2.010"): (0, 3, 0, 3, 3),
    }


def test_the_rest_of_the_year_is_not_known_where_a_benefit_on_the_account_has_no_forecast() -> None:
    lines, booked = budget(("630", "5.57.78", 100)), money(("630", "5.57.78.1.012", 70))
    other = money(("630", "5.57.78.1.005", 5), ydelse="BEFORD")
    ahead, elsewhere = (money((kode, "5.57.78.1.012", 45)) for kode in ("630", "706"))
    told = [(booked, ahead), (pl.concat([booked, other]), ahead), (booked, elsewhere)]
    assert [shown(deviation(lines, one, rest, OCTOBER))["630", "5.57.78"] for one, rest in told] == [
        (100, 70, 45, 115, 15),
        (100, 75, None, None, None),
        (100, 70, 0, 70, -30),  # the benefit has a forecast; nobody is expected here
    ]


def test_a_municipality_without_a_budget_has_no_rows_and_december_needs_no_forecast() -> None:
    lines = budget(("630", "5.57.78", 1000))
    booked = money(("630", "5.57.78.2.010", 900), ("706", "5.57.78.2.010", 1))
    assert shown(deviation(lines, booked, money(), DECEMBER)) == {("630", "5.57.78"): (1000, 900, 0, 900, -100)}
    assert deviation(budget(), booked, money(), DECEMBER).is_empty()


@pytest.mark.parametrize(("month", "ahead"), [(OCTOBER, [1, 2]), (date(2026, 11, 1), [1]), (DECEMBER, [])])
def test_the_rest_of_the_year_ends_with_december(month: date, ahead: list[int]) -> None:
    rows = pl.DataFrame({"frem": range(1, 13)}, schema={"frem": pl.Int64})
    assert rest_of_year(rows, month)["frem"].to_list() == ahead


GAIN = Gevinst(
    id="kth-4",
    maal="trappe.egen_oere",
    ejer="Jobcenterchefen",
    baseline_fra=date(2025, 1, 1),
    baseline_til=date(2025, 2, 1),
    hjemmel="ingen: teknisk",
    kilde="prøve",
    kontrolleret=date(2026, 11, 28),
    sikkerhed="vores eget valg",
)


def measured(entry: Gevinst, *rows: tuple[date, str, int, int, int]) -> Measured:
    schema = ["maaned", "kommunekode", "borgere", "brutto_oere", "egen_oere"]
    return Measured(entry, pl.DataFrame(rows, schema=schema, orient="row"))


def before(forskel: int | None) -> pl.DataFrame:
    rows = [] if forskel is None else [("kth-4", "630", forskel)]
    kinds = {"gevinst_id": pl.String, "kommunekode": pl.String, "forskel": pl.Int64}
    return pl.DataFrame(rows, schema=kinds, orient="row")


@pytest.mark.parametrize(
    ("maal", "baseline", "nu", "enhed"),
    [
        ("trappe.egen_oere", 651, 500, "oere"),  # 1301 over two months, a half away from zero
        ("trappe.borgere", 7, 4, "antal"),
        ("trappe.brutto_oere", 1000, 900, "oere"),
        ("trappe.egen_promille", 651, 556, "promille"),  # 1301 of 2000; 500 of 900
    ],
)
def test_a_gain_is_the_run_month_against_the_mean_month_of_its_baseline(
    maal: str, baseline: int, nu: int, enhed: str
) -> None:
    entry = replace(GAIN, maal=maal)
    rows = [(date(2025, 1, 1), "630", 8, 1200, 801), (date(2025, 2, 1), "630", 6, 800, 500)]
    outside = [(date(2024, 12, 1), "630", 99, 9999, 9999), (date(2025, 3, 1), "630", 99, 9999, 9999)]
    found = gains([measured(entry, *rows, *outside, (OCTOBER, "630", 4, 900, 500))], before(None), OCTOBER)
    said = found.row(0, named=True)
    assert (said["baseline"], said["nu"], said["forskel"], said["enhed"]) == (baseline, nu, nu - baseline, enhed)
    assert said["faldet_tilbage"] is False


@pytest.mark.parametrize(
    ("aim", "then", "fallen"),
    [
        (None, -151, False),
        (None, -152, True),
        (-10, -150, False),
        (-10, 5, False),
        (10, -150, False),
        (10, 7, True),
    ],
)
def test_a_gain_has_fallen_back_when_there_was_one_and_it_is_smaller_now(
    aim: int | None, then: int, fallen: bool
) -> None:
    entry = replace(GAIN, maalsaetning=aim)
    rows = [(date(2025, 1, 1), "630", 1, 1, 1302), (OCTOBER, "630", 1, 1, 500)]
    found = gains([measured(entry, *rows)], before(then), OCTOBER)
    assert (found["forskel"].item(), found["faldet_tilbage"].item()) == (-151, fallen)


def test_no_gains_are_no_rows() -> None:
    assert gains([], before(None), OCTOBER).is_empty()
