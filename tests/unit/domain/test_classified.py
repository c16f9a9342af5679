"""A delivered line by itself: its subject, account, period and amount, and the first rule it breaks."""

from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from refusion_assets.domain.classified import judge
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.raw import typed
from refusion_assets.domain.rules.entries import Rulebook
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, text_lines, with_reading
from tests.kit.timeline import CPR

MONDAY, SUNDAY = date(2024, 1, 1), date(2024, 1, 7)
KTH, ADP = "urn:oio:kommune:konto:557731007", "urn:oio:akasse:konto:adp"
SYG_BORGER, SYG_VIRK = "urn:oio:kommune:konto:557711013", "urn:oio:kommune:konto:557711014"
FLEKS, LTS = "urn:oio:kommune:konto:558811020", "urn:oio:kommune:konto:568941114"
OTHER = "6201912197"

# KontoArt 2 and 3 on a row of kontanthjælp: the account, and the grant period it asks for.
GRANT = {"Felt0214_start": "", "Felt0214_slut": "", "Felt0215_start": "2024-01-01", "Felt0215_slut": "2024-01-07"}
ART_2 = {"Felt0115": LTS, "Felt0216": CPR, **GRANT}
ART_3 = {"Felt0115": FLEKS, **GRANT}


def judged(
    letter: str, changes: dict[str, str], kilde: str | None = None, rules: Rulebook = RULEBOOK
) -> dict[str, Any]:
    """One row of a letter's benefit, changed, as the kernel judges it."""
    fil = timeline.fil(letter, [timeline.row(letter, MONDAY, SUNDAY, 1) | changes], "2024-01")
    fil = replace(fil, kilde=kilde or fil.kilde)
    row = judge(typed(text_lines([fil])), rules).row(0, named=True)
    same = plain_judge([Fil(fil.filnavn, fil.kilde, fil.enhed, fil.maaned, fil.sha256, fil.rows)], rules).karantaene
    assert [found.regel for found in same if found.regel != "EI-010"] == ([row["regel"]] if row["regel"] else [])
    return row


# One way to break each rule, in the order of the contract; a row breaks one rule and no other.
BROKEN: list[tuple[str, str, dict[str, str], str | None]] = [
    ("YR-001", "K", {"Felt0115": "urn:oio:kommune:konto:000000000"}, None),
    ("YR-001", "D", {"Felt0114": "urn:oio:akasse:konto:findes-ikke"}, None),
    ("YR-001", "K", {"Felt0114": "urn:oio:akasse:konto:findes-ikke"}, None),
    ("YR-002", "K", {"Felt0114": ADP}, None),
    ("YR-003", "K", {"Felt0115": ""}, None),
    ("YR-003", "D", {"Felt0114": ""}, None),
    ("YR-004", "K", {"Felt0214_start": ""}, None),
    ("YR-004", "K", {"Felt0214_slut": ""}, None),
    ("YR-005", "K", ART_2 | {"Felt0215_start": ""}, "lts"),
    ("YR-005", "K", ART_2 | {"Felt0215_slut": ""}, "lts"),
    ("YR-005", "K", ART_2 | {"Felt0216": ""}, "lts"),
    ("YR-006", "K", ART_3 | {"Felt0215_start": ""}, None),
    ("YR-006", "K", ART_3 | {"Felt0215_slut": ""}, None),
    ("YR-007", "K", {"Felt0115": "", "Felt0114": KTH}, None),
    ("YR-007", "D", {"Felt0114": "", "Felt0115": ADP}, None),
    ("YR-008", "K", {"Felt0115": SYG_BORGER}, None),
    ("YR-008", "D", {}, "udk"),
    *(
        ("EI-001", "K", {column: ""}, None)
        for column in (
            *("Lb_nr", "IndberetningsID", "Indberetningsart", "Pligt_SE", "Kommunekode", "Loenperiode_start"),
            *("Loenperiode_slut", "Dispositionsdato", "Indkomsttype", "Modtaget_tidspunkt"),
        )
    ),
    ("EI-001", "K", {"Indberetningsart": "X"}, None),
    ("EI-001", "K", {"Indberetningsart": "T"}, None),
    ("EI-001", "K", {"Felt0214_start": "2024-02-30"}, None),
    ("EI-001", "K", {"Felt0215_slut": "2024-02-30"}, None),
    ("EI-001", "K", {"Felt0014": "1.000,00"}, None),
    ("EI-001", "K", {"Felt0048": "1,001"}, None),
    ("EI-001", "K", {"Felt0098": "-0,01"}, None),
    ("EI-002", "K", {"Loenperiode_slut": "2023-12-31"}, None),
    ("EI-002", "K", {"Felt0214_slut": "2023-12-31"}, None),
    ("EI-002", "K", {"Felt0214_slut": "2025-01-01"}, None),
    ("EI-003", "K", {"CPR": "6113512470"}, None),
    ("EI-003", "K", {"CPR": ""}, None),
    ("EI-003", "K", ART_2 | {"Felt0216": "x"}, "lts"),
    ("EI-008", "K", {"Kommunekode": "101"}, None),
    ("EI-008", "K", {"Kommunekode": "999"}, None),
    ("EI-008", "D", {"Kommunekode": "169"}, None),
]
RIGHT: list[tuple[str, dict[str, str], str | None]] = [
    ("K", {}, None),
    ("D", {}, None),
    ("U", {}, None),
    ("K", ART_2, "lts"),
    ("K", ART_2 | {"CPR": ""}, "lts"),
    ("K", ART_3, None),
    ("K", {"Loenperiode_slut": "2024-01-01"}, None),
    ("K", {"Felt0214_slut": "2024-01-01"}, None),
    ("K", {"Felt0214_slut": "2024-12-31"}, None),
    ("K", {"Felt0098": "0"}, None),
    ("K", {"Felt0014": ""}, None),
    ("K", {"Felt0014": "-1,00"}, None),
    ("K", {"Indkomsttype": "99", "Indtaegtsart": "x"}, None),
    ("K", {"CPR": "6110512471"}, None),
]


@pytest.mark.parametrize(("regel", "letter", "changes", "kilde"), BROKEN)
def test_a_row_that_breaks_one_rule_is_told_that_rule(
    regel: str, letter: str, changes: dict[str, str], kilde: str | None
) -> None:
    assert judged(letter, changes, kilde)["regel"] == regel


@pytest.mark.parametrize(("letter", "changes", "kilde"), RIGHT)
def test_a_row_just_inside_every_rule_is_good(letter: str, changes: dict[str, str], kilde: str | None) -> None:
    assert judged(letter, changes, kilde)["regel"] is None


# Two rules broken at once, each pair of neighbours: the first in the order of the contract decides.
PAIRS: list[tuple[str, str, dict[str, str], str | None]] = [
    ("YR-001", "YR-002", {"Felt0115": "urn:unknown", "Felt0114": ADP}, None),
    ("YR-001", "YR-004", {"Felt0115": "urn:unknown", "Felt0214_start": ""}, None),
    ("YR-002", "YR-004", {"Felt0114": ADP, "Felt0214_start": ""}, None),
    ("YR-002", "YR-008", {"Felt0114": ADP, "Felt0115": SYG_BORGER}, None),
    ("YR-003", "EI-001", {"Felt0115": "", "Dispositionsdato": ""}, None),
    ("YR-003", "EI-003", {"Felt0115": "", "CPR": ""}, None),
    ("YR-004", "YR-007", {"Felt0115": "", "Felt0114": KTH, "Felt0214_slut": ""}, None),
    ("YR-005", "YR-007", ART_2 | {"Felt0115": "", "Felt0114": LTS, "Felt0216": ""}, "lts"),
    ("YR-005", "YR-008", ART_2 | {"Felt0216": ""}, None),
    ("YR-006", "YR-008", ART_3 | {"Felt0215_slut": ""}, "ksd"),
    ("YR-007", "YR-008", {"Felt0115": "", "Felt0114": SYG_BORGER}, None),
    ("YR-008", "EI-001", {"Felt0115": SYG_BORGER, "Dispositionsdato": ""}, None),
    ("YR-008", "EI-008", {"Felt0115": SYG_BORGER, "Kommunekode": "999"}, None),
    ("EI-001", "EI-002", {"Dispositionsdato": "", "Loenperiode_slut": "2023-12-31"}, None),
    ("EI-001", "EI-003", {"Felt0014": "x", "CPR": ""}, None),
    ("EI-001", "EI-008", {"Felt0098": "-1", "Kommunekode": "101"}, None),
    ("EI-002", "EI-003", {"Felt0214_slut": "2023-12-31", "CPR": "6113512470"}, None),
    ("EI-002", "EI-008", {"Loenperiode_slut": "2023-12-31", "Kommunekode": "101"}, None),
    ("EI-003", "EI-008", {"CPR": "", "Kommunekode": "999"}, None),
]


@pytest.mark.parametrize(("first", "second", "changes", "kilde"), PAIRS)
def test_of_two_broken_rules_the_first_of_the_contract_decides(
    first: str, second: str, changes: dict[str, str], kilde: str | None
) -> None:
    assert first < second or (first.startswith("YR") and second.startswith("EI"))
    assert judged("K", changes, kilde)["regel"] == first


REVERSAL = {
    "Indberetningsart": "T",
    "IndberetningsID": "T1",
    "ReferenceID": "I1",
    "Felt0115": "",
    **dict.fromkeys(GRANT, ""),
}


@pytest.mark.parametrize(
    ("changes", "regel"),
    [
        ({}, None),
        ({"CPR": ""}, None),
        ({"Felt0115": "urn:unknown", "Felt0114": "urn:unknown"}, None),
        ({"Felt0115": LTS, "Felt0216": "x"}, None),
        ({"Felt0215_start": "2024-01-07", "Felt0215_slut": "2024-01-01"}, None),
        ({"Felt0014": "x"}, "EI-001"),
        ({"ReferenceID": ""}, "EI-001"),
        ({"Kommunekode": ""}, "EI-001"),
        ({"Loenperiode_slut": "2023-12-31"}, "EI-002"),
        ({"CPR": "6113512470"}, "EI-003"),
        ({"Kommunekode": "101"}, "EI-008"),
    ],
)
def test_a_reversal_is_asked_only_what_a_reversal_needs(changes: dict[str, str], regel: str | None) -> None:
    assert judged("K", REVERSAL | changes)["regel"] == regel


def test_the_subject_of_kontoart_2_is_the_triggering_person_and_else_the_cpr() -> None:
    assert judged("K", ART_2 | {"CPR": OTHER}, "lts")["subjekt"] == CPR
    assert judged("K", ART_3 | {"Felt0216": OTHER})["subjekt"] == CPR
    assert judged("K", {"Felt0216": OTHER})["subjekt"] == CPR


def test_the_period_is_field_0214_for_kontoart_1_and_else_0215() -> None:
    both = {"Felt0215_start": "2024-02-01", "Felt0215_slut": "2024-02-02"}
    assert [judged("K", both)[f"periode_{end}"] for end in ("start", "slut")] == [MONDAY, SUNDAY]
    for changes, kilde in ((ART_2, "lts"), (ART_3, None)):
        row = judged("K", {**changes, "Felt0214_start": "2024-03-01", "Felt0214_slut": "2024-03-02"}, kilde)
        assert [row[f"periode_{end}"] for end in ("start", "slut")] == [MONDAY, SUNDAY]


@pytest.mark.parametrize(
    ("letter", "changes", "kilde", "oere"),
    [
        ("K", {}, None, 100_000),
        ("K", {"Felt0098": "12,34"}, None, 98_766),
        ("K", {"Felt0014": "-5,00", "Felt0098": "1"}, None, -600),
        ("K", {"Felt0014": ""}, None, 0),
        ("K", {"Felt0037": "1,00", "Felt0038": "2,00", "Felt0046": "3,00", "Felt0048": "4,00"}, None, 100_000),
        ("K", ART_2 | {"Felt0037": "77,00"}, "lts", 7_700),
        ("D", {"Felt0046": "90,00"}, None, 100_000),
        ("D", {"Felt0114": "urn:oio:akasse:konto:befordring", "Felt0048": "55,00"}, None, 5_500),
    ],
)
def test_the_amount_is_the_benefits_fields_less_repaid_help(
    letter: str, changes: dict[str, str], kilde: str | None, oere: int
) -> None:
    assert judged(letter, changes, kilde)["beloeb_oere"] == oere


@pytest.mark.parametrize(("letter", "changes", "oere"), [("D", {}, 91_000), ("K", {}, 100_000), ("U", {}, 100_000)])
def test_reading_foer_atp_takes_atp_from_benefits_no_1_and_2_only(
    letter: str, changes: dict[str, str], oere: int
) -> None:
    rules = with_reading(RULEBOOK, "beloebsgrundlag", "felt0014_er_foer_atp")
    assert judged(letter, changes | {"Felt0046": "90,00"}, rules=rules)["beloeb_oere"] == oere


@pytest.mark.parametrize(("slut", "outside"), [("2014-06-30", True), ("2014-07-01", False)])
def test_a_period_wholly_outside_the_accounts_validity_is_used_and_pointed_out(slut: str, *, outside: bool) -> None:
    row = judged("K", {"Felt0214_start": "2014-06-01", "Felt0214_slut": slut})
    assert (row["regel"], row["ydelse_id"], row["uden_for_gyldighed"]) == (None, "KTH", outside)
