"""Findings about persons and their weeks: each fires over its bound and not at it."""

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.findings.weeks import (
    Dobbelt,
    amount_findings,
    basis_findings,
    double_findings,
    double_stretches,
    fails_modulus_11,
    homeless_findings,
    payer_findings,
    person_findings,
)
from refusion_assets.domain.findings.words import worded
from refusion_assets.domain.rules.entries import Graense, Rulebook
from tests.kit.data_root import RULEBOOK

MONTH = date(2024, 4, 1)
MONDAY = date(2024, 1, 8)
KTH = "urn:oio:kommune:konto:557731007"
BORN_1858 = "010158"  # nobody born in 1858 has had a CPR number


def one(findings: pl.DataFrame) -> dict[str, Any]:
    """The only finding, worded."""
    assert findings.height == 1
    return worded(findings, RULEBOOK).row(0, named=True)


@pytest.mark.parametrize(
    ("cpr", "fails"),
    [(f"{BORN_1858}5018", False), (f"{BORN_1858}5019", True), ("6110512470", False), ("6110512471", False)],
)
def test_modulus_11_is_tested_but_never_on_a_replacement_number(cpr: str, fails: bool) -> None:
    assert pl.DataFrame({"cpr": [cpr]}).select(fails_modulus_11(pl.col("cpr"))).item() is fails


def test_a_person_is_named_once_and_found_again_whatever_the_number() -> None:
    findings = person_findings(pl.DataFrame({"borger_id": [7]}))
    assert one(findings)["alvor"] == "INFO"
    assert findings["identitet"].to_list() == ["EI-004|7"]


@pytest.mark.parametrize(("oere", "fires"), [(1_200_000, False), (1_200_001, True)])
def test_more_than_the_bound_on_a_week_is_pointed_out_and_the_bound_itself_is_not(oere: int, fires: bool) -> None:
    weeks = pl.DataFrame(
        {
            "borger_id": [7], "uge": [MONDAY], "ydelse_id": ["KTH"], "kommunekode": ["169"], "beloeb_oere": [oere],
            "graense_oere": [RULEBOOK.graense_for("ugebeloeb_oere", "KTH")],
        }
    )  # fmt: skip
    findings = amount_findings(weeks)
    assert findings.height == fires
    if fires:
        finding = one(findings)
        assert (finding["uge_fra"], finding["uge_til"], finding["vaerdi"]) == (MONDAY, MONDAY, "12000,00")
        assert finding["tekst"].startswith("Der er placeret 12000,01 kr. af kontanthjælp på ugen fra 2024-01-08")


def test_a_benefit_can_have_a_bound_of_its_own() -> None:
    own = replace(RULEBOOK.graenser[0], id="ugebeloeb_oere:FOEP", vaerdi=1)
    rules = replace(RULEBOOK, graenser=(*RULEBOOK.graenser, own))
    assert isinstance(own, Graense)
    assert [rules.graense_for("ugebeloeb_oere", y) for y in ("FOEP", "KTH")] == [1, 1_200_000]


def test_a_month_without_basis_is_told_to_each_municipality_that_pays_in_it() -> None:
    months = pl.DataFrame(
        {
            "borger_id": [7, 7, 7], "maaned": [MONDAY.replace(day=1)] * 3, "ydelse_id": ["FLEKS"] * 3,
            "kommunekode": ["751", "147", "147"], "uge": [MONDAY, MONDAY, MONDAY + timedelta(days=7)],
        }
    )  # fmt: skip
    findings = basis_findings(months)
    assert findings["identitet"].n_unique() == 2
    assert sorted(findings.select("kommunekode", "uge_fra").rows()) == [
        ("147", MONDAY + timedelta(days=7)),
        ("751", MONDAY),
    ]


def homeless(*rows: tuple[int, str, date, int]) -> pl.DataFrame:
    """Findings of weeks without municipality, in order."""
    schema = {"borger_id": pl.Int64, "ydelse_id": pl.String, "uge": pl.Date, "beloeb_oere": pl.Int64}
    return homeless_findings(pl.DataFrame(rows, schema=schema, orient="row")).sort("identitet")


def test_weeks_without_residence_that_follow_each_other_are_one_finding() -> None:
    findings = homeless((1, "ADP", MONDAY, 5), (1, "ADP", date(2024, 1, 15), 6), (1, "ADP", date(2024, 1, 15), 7))
    finding = one(findings)
    assert (finding["uge_fra"], finding["uge_til"], finding["beloeb_oere"]) == (MONDAY, date(2024, 1, 15), 18)
    assert finding["alvor"] == "FEJL"


def test_a_week_between_another_benefit_and_another_person_each_make_a_finding_of_their_own() -> None:
    later = date(2024, 1, 22)
    findings = homeless((1, "ADP", MONDAY, 5), (1, "ADP", later, 5), (1, "FOEP", MONDAY, 5), (2, "ADP", later, 5))
    assert findings.height == 4


def test_a_run_of_weeks_without_residence_that_goes_on_is_the_same_finding() -> None:
    before, after = homeless((1, "ADP", MONDAY, 5)), homeless((1, "ADP", MONDAY, 5), (1, "ADP", date(2024, 1, 15), 6))
    assert before["identitet"].to_list() == after["identitet"].to_list()


def test_another_payer_than_the_residence_is_pointed_out_once_a_person_and_month() -> None:
    rows = [
        (1, MONTH, "KTH", "169", "101", date(2024, 4, 8), date(2024, 4, 15), 5),
        (1, MONTH, "LED", "147", "101", date(2024, 4, 1), date(2024, 4, 8), 6),
        (1, date(2024, 5, 1), "KTH", "169", "101", date(2024, 5, 6), date(2024, 5, 6), 7),
    ]
    names = ["borger_id", "maaned", "ydelse_id", "kommunekode", "bopael_kommunekode", "uge_fra", "uge_til",
             "beloeb_oere"]  # fmt: skip
    findings = payer_findings(pl.DataFrame(rows, schema=names, orient="row")).sort("uge_fra")
    columns = ["kommunekode", "ydelse_id", "vaerdi", "uge_fra", "uge_til", "beloeb_oere"]
    assert findings.select(columns).rows() == [
        ("147", None, "101", date(2024, 4, 1), date(2024, 4, 15), 11),
        ("169", "KTH", "101", date(2024, 5, 6), date(2024, 5, 6), 7),
    ]


Claim = tuple[str, str | None, str, str, int, bool]
JAN = ("2024-01-01", "2024-01-31")


def doubles(*claims: Claim, ydelse_id: str = "SYG_BORGER", rules: Rulebook = RULEBOOK) -> pl.DataFrame:
    """The stretches of one person's claims: payer, municipality, first and last day, øre, new."""
    rows = [(1, ydelse_id, 1, se, "ksd", kode, date.fromisoformat(fra), date.fromisoformat(til), oere, ny)
            for se, kode, fra, til, oere, ny in claims]  # fmt: skip
    schema = {
        "borger_id": pl.Int64, "ydelse_id": pl.String, "klump": pl.Int64, "pligt_se": pl.String,
        "kilde_id": pl.String, "kommunekode_betaler": pl.String, "periode_start": pl.Date,
        "periode_slut": pl.Date, "beloeb_oere": pl.Int64, "ny": pl.Boolean,
    }  # fmt: skip
    return Dobbelt.validate(double_stretches(pl.DataFrame(rows, schema=schema, orient="row"), rules))


def test_two_payers_of_the_same_days_are_found_with_the_money_of_the_smaller() -> None:
    found_ = doubles(("A", "169", *JAN, 310_000, False), ("B", "169", "2024-01-11", "2024-01-20", 90_000, True))
    assert found_.select("fra", "til", "beloeb_oere", "kommunekode", "ny").rows() == [
        (date(2024, 1, 11), date(2024, 1, 20), 90_000, "169", True)
    ]
    finding = one(double_findings(found_))
    assert (finding["uge_fra"], finding["uge_til"], finding["vaerdi"]) == (MONDAY, date(2024, 1, 15), "A og B")


def test_only_the_money_of_the_shared_days_counts_by_cumulative_rounding() -> None:
    found_ = doubles(("A", None, *JAN, 100_000, False), ("B", None, "2024-01-31", "2024-02-29", 1_000_000, False))
    assert found_["beloeb_oere"].to_list() == [100_000 - 96_774]  # the last of 31 days: 100000 - R(100000 * 30 / 31)


def test_payers_that_meet_but_share_no_day_are_not_found() -> None:
    assert doubles(("A", None, *JAN, 1, False), ("B", None, "2024-02-01", "2024-02-29", 1, False)).is_empty()


def test_the_same_payer_twice_is_not_found() -> None:
    assert doubles(("A", None, *JAN, 1, False), ("A", None, *JAN, 2, False)).is_empty()


def test_shared_days_that_follow_each_other_are_one_stretch_and_a_day_between_makes_two() -> None:
    feb, both = ("2024-02-01", "2024-02-29"), ("2024-01-01", "2024-02-29")
    whole = doubles(("A", "169", *JAN, 310, False), ("A", "169", *feb, 290, False), ("B", "101", *both, 60, True))
    assert whole.select("fra", "til", "beloeb_oere", "kommunekode", "ny").rows() == [
        (date(2024, 1, 1), date(2024, 2, 29), 60, None, True)
    ]
    late = ("2024-02-02", "2024-02-29")
    parted = doubles(("A", None, *JAN, 310, True), ("A", None, *late, 280, False), ("B", None, *both, 60, False))
    assert parted.select("fra", "beloeb_oere", "ny").rows() == [
        (date(2024, 1, 1), 31, True), (date(2024, 2, 2), 28, False)
    ]  # fmt: skip


def test_three_payers_make_three_pairs() -> None:
    found_ = doubles(*((se, None, *JAN, oere, False) for se, oere in (("A", 3), ("B", 2), ("C", 1))))
    assert found_.select("pligt_se", "pligt_se_2", "beloeb_oere").rows() == [
        ("A", "B", 2),
        ("A", "C", 1),
        ("B", "C", 1),
    ]
