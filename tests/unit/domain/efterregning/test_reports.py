"""The independent calculation: the rows, and what is rejected."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from refusion_assets.domain.efterregning.reports import claims as make_claims
from refusion_assets.domain.efterregning.reports import judge, possible_cpr
from tests.kit import timeline
from tests.kit.second_calculation import RULEBOOK, START, SYG

# --- rows, and what is rejected -----------------------------------------------------------------------------


ADP, KTH = "urn:oio:akasse:konto:adp", "urn:oio:kommune:konto:557731007"
VIRK = "urn:oio:kommune:konto:568941114"


@pytest.mark.parametrize(
    ("letter", "changes", "regel"),
    [
        ("K", {}, None),
        ("D", {}, None),
        ("K", {"Felt0115": "urn:unknown"}, "YR-001"),
        ("K", {"Felt0114": "urn:unknown"}, "YR-001"),
        ("K", {"Felt0114": ADP}, "YR-002"),
        ("K", {"Felt0115": "", "CPR": ""}, "YR-003"),
        ("K", {"Felt0214_slut": ""}, "YR-004"),
        ("K", {"Felt0115": VIRK, "Felt0216": timeline.CPR}, "YR-005"),
        ("K", {"Felt0115": VIRK, "Felt0215_start": "x", "Felt0215_slut": "x"}, "YR-005"),
        ("K", {"Felt0115": "urn:oio:kommune:konto:558811020", "Felt0215_start": "2016-01-04"}, "YR-006"),
        ("K", {"Felt0115": "", "Felt0114": KTH}, "YR-007"),
        ("K", {"Felt0115": SYG}, "YR-008"),
        ("K", {"Felt0115": SYG, "CPR": "x", "Dispositionsdato": ""}, "YR-008"),
        ("K", {"Dispositionsdato": ""}, "EI-001"),
        ("K", {"Indberetningsart": "X"}, "EI-001"),
        ("K", {"Kommunekode": ""}, "EI-001"),
        ("K", {"Indberetningsart": "T"}, "EI-001"),
        ("K", {"Felt0214_slut": "2024-02-30"}, "EI-001"),
        ("K", {"Felt0214_slut": "20160110"}, "EI-001"),
        ("K", {"Felt0215_slut": "2016-1-1"}, "EI-001"),
        ("K", {"Felt0014": "12x,00"}, "EI-001"),
        ("K", {"Felt0014": "1.000,00"}, "EI-001"),
        ("K", {"Felt0014": "1000,"}, "EI-001"),
        ("K", {"Felt0014": "12345678901,00"}, "EI-001"),
        ("K", {"Felt0014": "1234567890,5"}, None),
        ("K", {"Felt0098": "-0,01"}, "EI-001"),
        ("K", {"Modtaget_tidspunkt": "2016-01-10 12:00:00"}, "EI-001"),
        ("K", {"Modtaget_tidspunkt": "2016-01-10T24:00:00"}, "EI-001"),
        ("K", {"Loenperiode_slut": "2016-01-03"}, "EI-002"),
        ("K", {"Felt0214_slut": "2016-01-03"}, "EI-002"),
        ("K", {"Felt0214_slut": "2017-01-03"}, None),
        ("K", {"Felt0214_slut": "2017-01-04"}, "EI-002"),
        ("K", {"CPR": "611051247"}, "EI-003"),
        ("K", {"CPR": ""}, "EI-003"),
        ("K", {"CPR": "9102700000", "Kommunekode": "999"}, "EI-003"),
        ("K", {"Kommunekode": "101"}, "EI-008"),
        ("K", {"Kommunekode": "999"}, "EI-008"),
        ("D", {"Kommunekode": "101"}, "EI-008"),
    ],
)
def test_a_row_breaks_the_first_rule_of_the_table(letter: str, changes: dict[str, str], regel: str | None) -> None:
    row = timeline.row(letter, START, START + timedelta(days=6), 1) | changes
    karantaene = judge([timeline.fil(letter, [row], "2016-01")], RULEBOOK).karantaene
    assert [row.regel for row in karantaene] == ([regel] if regel else [])


@pytest.mark.parametrize(
    ("cpr", "possible"),
    [
        ("6110512470", True),
        ("6101000000", True),
        ("6101364000", False),
        ("6101374000", True),
        ("9002504000", False),
        ("6101005000", True),
        ("6101585000", True),
        ("6101164000", True),
        ("7001164000", True),
        ("7101164000", False),
        ("6001504000", False),
        ("0113504000", False),
        ("01015o4000", False),
    ],
)
def test_a_cpr_is_possible_when_its_date_exists_and_is_not_after_the_receipt(cpr: str, possible: bool) -> None:
    assert possible_cpr(cpr, date(2016, 1, 10)) is possible


def reversal(reference: str, **changes: str) -> dict[str, str]:
    """A `T` row on a report of kontanthjælp; amounts on it must not matter."""
    return (
        timeline.row("K", START, START, 90, "77,00")
        | {
            "IndberetningsID": "T1",
            "Indberetningsart": "T",
            "ReferenceID": reference,
            "Felt0115": "",
            "Felt0214_start": "",
            "Felt0214_slut": "",
        }
        | changes
    )


OTHER = "6201912197"


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, [OTHER]),
        ({"CPR": ""}, []),
        ({"CPR": OTHER}, [timeline.CPR]),
        ({"Pligt_SE": "29161000"}, [timeline.CPR, OTHER]),
        ({"ReferenceID": "unknown"}, [timeline.CPR, OTHER]),
    ],
)
def test_a_reversal_takes_back_the_rows_it_names_even_if_it_came_first(
    changes: dict[str, str], left: list[str]
) -> None:
    report = [timeline.row("K", START, START, 1, cpr=cpr, IndberetningsID="I1") for cpr in (timeline.CPR, OTHER)]
    back = timeline.fil("K", [reversal("I1", **changes)], "2016-01")
    dom = judge([back, timeline.fil("K", report, "2016-02", 2)], RULEBOOK)
    assert ([row.subject for row in dom.brugt], dom.karantaene) == (left, [])


def test_a_lowering_supplement_left_alone_by_a_reversal_is_quarantined() -> None:
    rows = [timeline.row("K", START, START, 1, IndberetningsID="I1"), timeline.row("K", START, START, 2, "-1,00")]
    before = judge([timeline.fil("K", rows, "2016-01")], RULEBOOK).brugt
    assert [claim.beloeb for claim in make_claims(before, RULEBOOK)] == [99_900]
    dom = judge([timeline.fil("K", [*rows, reversal("I1")], "2016-01")], RULEBOOK)
    assert ([row.regel for row in dom.karantaene], dom.brugt, len(dom.tilbagefoert)) == (["EI-010"], [], 1)


def test_a_reversal_of_a_reversal_has_no_effect() -> None:
    rows = [
        timeline.row("K", START, START, 1, IndberetningsID="I1"),
        reversal("I1"),
        reversal("T1", IndberetningsID="T2"),
    ]
    dom = judge([timeline.fil("K", rows, "2016-01")], RULEBOOK)
    assert ([(row.lb_nr, row.regel) for row in dom.karantaene], dom.brugt) == ([(3, "EI-015")], [])


def test_a_report_id_in_a_later_file_is_quarantined_there_even_if_the_first_row_is_rejected() -> None:
    bad = timeline.row("K", START, START, 1, IndberetningsID="I1", Dispositionsdato="")
    good = timeline.row("K", START, START, 1, IndberetningsID="I1")
    files = [timeline.fil("K", [good], "2016-02", 2), timeline.fil("K", [bad], "2016-01", 1)]
    dom = judge(files, RULEBOOK)
    assert ([row.regel for row in dom.karantaene], dom.brugt) == (["EI-001", "EI-013"], [])


@pytest.mark.parametrize(
    ("first", "second", "taken"),
    [
        ("x", "2016-01-01T00:00:00", 1),
        ("2016-01-02T00:00:00", "2016-01-01T23:59:59", 2),
        ("x", "x", 1),
        ("", "0000-01-01T00:00:00", 1),
    ],
)
def test_a_file_without_a_readable_moment_of_receipt_counts_as_first(first: str, second: str, taken: int) -> None:
    reports = [timeline.row("K", START, START, 1, IndberetningsID="I1", Modtaget_tidspunkt=m) for m in (first, second)]
    files = [timeline.fil("K", [report], "2016-01", number) for number, report in enumerate(reports, 1)]
    dom = judge(files, RULEBOOK)
    later = files[2 - taken].filnavn
    assert {row.filnavn for row in dom.karantaene if row.regel == "EI-013"} <= {later}
    assert files[taken - 1].filnavn not in {row.filnavn for row in dom.karantaene if row.regel == "EI-013"}


def test_a_file_delivered_twice_is_read_once() -> None:
    once = timeline.fil("K", [timeline.row("K", START, START, 1)], "2016-01")
    again = replace(once, filnavn="again", maaned="2016-02")
    dom = judge([again, once], RULEBOOK)
    assert ([row.fil.filnavn for row in dom.brugt], dom.karantaene) == ([once.filnavn], [])
