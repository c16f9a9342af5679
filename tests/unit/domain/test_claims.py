"""Which lines stand: duplicates, reversals, supplements, and the claims that are left."""

from datetime import date

import polars as pl
import pytest

from refusion_assets.domain.classified import classify
from refusion_assets.domain.efterregning.reports import Fil
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, Row, judge_files
from tests.kit.timeline import CPR

MONDAY, SUNDAY = date(2024, 1, 1), date(2024, 1, 7)
OTHER = "6201912197"
PAYER = "29161000"


def report(report_id: str = "I1", kroner: str = "1000,00", **changes: str) -> Row:
    """One report of kontanthjælp for the first week of 2024."""
    return timeline.row("K", MONDAY, SUNDAY, 1, kroner, IndberetningsID=report_id) | changes


def reversal(reference: str = "I1", report_id: str = "T1", **changes: str) -> Row:
    """A reversal of the report; its amounts must not matter."""
    empty = dict.fromkeys(("Felt0115", "Felt0214_start", "Felt0214_slut"), "")
    return report(report_id, "77,00", Indberetningsart="T", ReferenceID=reference, **empty) | changes


def fil(maaned: str, *rows: Row, number: int = 1) -> Fil:
    """One file of kontanthjælp."""
    return timeline.fil("K", list(rows), maaned, number)


def verdicts(*files: Fil) -> list[str]:
    """The rule of every line, or what became of it where it breaks none; in order of file and line."""
    lines = classify(judge_files(files, RULEBOOK)[0]).linjer
    return lines.select(pl.coalesce("regel", "status")).to_series().to_list()


def claims(*files: Fil) -> list[tuple[str, int, int]]:
    """Person, amount and number of rows of every claim that stands."""
    linjer, cpr = judge_files(files, RULEBOOK)
    found = classify(linjer).krav.select("borger_id", "beloeb_oere", "antal_raekker")
    return [(cpr[person], oere, rows) for person, oere, rows in found.iter_rows()]


# --- claims -------------------------------------------------------------------------------------------------


def test_a_supplement_with_the_same_key_adds_to_the_claim_from_a_later_file_too() -> None:
    assert claims(fil("2024-01", report()), fil("2024-02", report("I2", "-250,50"))) == [(CPR, 74_950, 2)]


@pytest.mark.parametrize(
    "changes",
    [
        {"CPR": OTHER},
        {"Felt0115": "urn:oio:kommune:konto:557731008"},
        {"Felt0214_start": "2024-01-02"},
        {"Felt0214_slut": "2024-01-08"},
        {"Pligt_SE": PAYER},
    ],
)
def test_a_row_with_another_person_account_period_or_payer_is_another_claim(changes: dict[str, str]) -> None:
    found = claims(fil("2024-01", report(), report("I2", "1,00", **changes)))
    assert sorted(oere for _, oere, _ in found) == [100, 100_000]


def test_the_same_benefit_paid_by_two_municipalities_is_two_claims() -> None:
    there = Fil("b.csv", "ky", "101", "2024-01", "b", [report("I2", Kommunekode="101")])
    assert claims(fil("2024-01", report()), there) == [(CPR, 100_000, 1), (CPR, 100_000, 1)]


def test_the_pay_period_and_the_day_of_the_money_are_no_part_of_the_claim() -> None:
    other_pay = report("I2", Loenperiode_start="2023-12-01", Dispositionsdato="2024-02-01", Indkomsttype="04")
    assert claims(fil("2024-01", report(), other_pay)) == [(CPR, 200_000, 2)]


# --- EI-010 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lowered_by", "verdict", "claim"),
    [
        ("-999,99", ["brugt", "brugt"], [(CPR, 1, 2)]),
        ("-1000,00", ["brugt", "brugt"], [(CPR, 0, 2)]),
        ("-1000,01", ["EI-010", "EI-010"], []),
    ],
)
def test_a_claim_of_zero_stands_and_one_of_less_is_quarantined(
    lowered_by: str, verdict: list[str], claim: list[tuple[str, int, int]]
) -> None:
    files = fil("2024-01", report(), report("I2", lowered_by))
    assert verdicts(files) == verdict
    assert claims(files) == claim


def test_a_lowering_supplement_left_alone_by_a_reversal_is_quarantined() -> None:
    files = fil("2024-01", report(), report("I2", "-1,00"), reversal())
    assert verdicts(files) == ["tilbagefoert", "EI-010", "virket"]


def test_a_quarantined_row_takes_no_part_in_the_sum_that_judges_the_others() -> None:
    files = fil("2024-01", report(Dispositionsdato=""), report("I2", "-1,00"))
    assert verdicts(files) == ["EI-001", "EI-010"]


# --- reversals ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "verdict"),
    [
        ({"CPR": ""}, ["tilbagefoert", "tilbagefoert", "virket"]),
        ({"CPR": CPR}, ["tilbagefoert", "brugt", "virket"]),
        ({"CPR": OTHER}, ["brugt", "tilbagefoert", "virket"]),
        ({"CPR": "7001662194"}, ["brugt", "brugt", "venter"]),
        ({"CPR": "", "Pligt_SE": PAYER}, ["brugt", "brugt", "venter"]),
        ({"CPR": CPR, "Pligt_SE": PAYER}, ["brugt", "brugt", "venter"]),
        ({"CPR": "", "ReferenceID": "I9"}, ["brugt", "brugt", "venter"]),
    ],
)
def test_a_reversal_takes_the_rows_of_its_payers_report_all_or_one_persons(
    changes: dict[str, str], verdict: list[str]
) -> None:
    rows = report(), report(CPR=OTHER), reversal(**changes)
    assert verdicts(fil("2024-01", *rows)) == verdict


@pytest.mark.parametrize("person", ["", CPR])
def test_a_reversal_before_its_report_waits_and_then_takes_it(person: str) -> None:
    first, later = fil("2024-01", reversal(CPR=person)), fil("2024-02", report(), number=2)
    assert verdicts(first) == ["venter"]
    assert verdicts(first, later) == ["virket", "tilbagefoert"]
    assert claims(first, later) == []


def test_a_reversal_works_on_the_subject_of_kontoart_2_not_on_the_employer_row() -> None:
    grant = {"Felt0115": "urn:oio:kommune:konto:568941114", "Felt0216": CPR, "CPR": OTHER}
    days = {"Felt0215_start": "2024-01-01", "Felt0215_slut": "2024-01-07"}
    rows = [report("I1", **grant, **days), reversal(CPR=CPR), reversal(report_id="T2", CPR=OTHER)]
    assert verdicts(Fil("lts.csv", "lts", "169", "2024-01", "lts", rows)) == ["tilbagefoert", "virket", "venter"]


def test_a_replacement_is_a_reversal_and_a_new_report() -> None:
    files = fil("2024-01", report()), fil("2024-02", reversal(), report("I2", "900,00"))
    assert verdicts(*files) == ["tilbagefoert", "virket", "brugt"]
    assert claims(*files) == [(CPR, 90_000, 1)]


def test_two_reversals_of_one_report_take_it_once() -> None:
    assert verdicts(fil("2024-01", report(), reversal(), reversal(report_id="T2"))) == [
        "tilbagefoert",
        "virket",
        "virket",
    ]


def test_a_broken_reversal_has_no_effect() -> None:
    assert verdicts(fil("2024-01", report(), reversal(Felt0014="x"))) == ["brugt", "EI-001"]


def test_a_reversed_report_does_not_lower_the_rest_of_its_claim() -> None:
    assert claims(fil("2024-01", report(), report("I2", "50,00"), reversal())) == [(CPR, 5_000, 1)]


# --- EI-015 -------------------------------------------------------------------------------------------------


def test_a_reversal_of_a_reversal_is_quarantined_and_the_first_one_stands() -> None:
    files = fil("2024-01", report(), reversal(), reversal("T1", "T2"))
    assert verdicts(files) == ["tilbagefoert", "virket", "EI-015"]


def test_a_reversal_of_an_id_that_is_both_report_and_reversal_is_good() -> None:
    files = fil("2024-01", report("A1"), reversal("I9", "A1"), reversal("A1", "T2", CPR=""))
    assert verdicts(files) == ["tilbagefoert", "venter", "virket"]


def test_a_reversal_of_itself_is_a_reversal_of_a_reversal() -> None:
    assert verdicts(fil("2024-01", reversal("T1"))) == ["EI-015"]


# --- EI-013 and FIL-004 -------------------------------------------------------------------------------------


def test_rows_of_one_file_may_share_a_report_id() -> None:
    assert verdicts(fil("2024-01", report(), report(CPR=OTHER))) == ["brugt", "brugt"]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_report_id_in_a_later_month_is_quarantined_there_whatever_order_the_files_are_read_in(
    order: tuple[int, int],
) -> None:
    files = fil("2024-01", report(), number=9), fil("2024-02", report("I1", "5,00"), number=1)
    expected = ["brugt", "EI-013"]
    assert verdicts(*(files[place] for place in order)) == [expected[place] for place in order]


def test_in_one_month_the_file_with_the_earliest_receipt_comes_first_and_then_the_name() -> None:
    late = fil("2024-01", report(Modtaget_tidspunkt="2024-01-20T12:00:00"), number=1)
    early_row = report("I2", CPR=OTHER, Modtaget_tidspunkt="2024-01-10T12:00:00")
    early = fil("2024-01", report(Modtaget_tidspunkt="2024-01-31T12:00:00"), early_row, number=2)
    assert verdicts(late, early) == ["EI-013", "brugt", "brugt"]
    same = fil("2024-01", report(Modtaget_tidspunkt="2024-01-20T12:00:00"), report("I3", CPR=OTHER), number=2)
    assert verdicts(late, same) == ["EI-013", "brugt", "brugt"]
    named = fil("2024-01", report(Modtaget_tidspunkt="2024-01-20T12:00:00"), number=3)
    assert verdicts(named, late) == ["EI-013", "brugt"]


def test_a_file_without_a_readable_receipt_comes_first_in_its_month() -> None:
    unread = fil("2024-01", report(Modtaget_tidspunkt="x"), report(CPR=OTHER, Modtaget_tidspunkt="y"), number=2)
    assert verdicts(fil("2024-01", report(), number=1), unread) == ["EI-013", "EI-001", "EI-001"]


def test_a_rejected_row_still_takes_the_id_for_its_file() -> None:
    files = fil("2024-01", report(Dispositionsdato="")), fil("2024-02", report())
    assert verdicts(*files) == ["EI-001", "EI-013"]


def test_a_row_with_its_own_fault_keeps_that_rule_although_its_id_is_used_before() -> None:
    files = fil("2024-01", report()), fil("2024-02", report(Dispositionsdato=""))
    assert verdicts(*files) == ["brugt", "EI-001"]


def test_the_id_of_a_reversal_does_not_take_it_from_a_report() -> None:
    assert verdicts(fil("2024-01", reversal("I9", "A1")), fil("2024-02", report("A1"))) == ["venter", "brugt"]


def test_a_quarantined_duplicate_is_not_reversed_and_the_first_one_is() -> None:
    files = fil("2024-01", report()), fil("2024-02", report("I1", "5,00"), reversal())
    assert verdicts(*files) == ["tilbagefoert", "EI-013", "virket"]
