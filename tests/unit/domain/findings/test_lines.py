"""Findings about lines: which column to look at, what stands there, and never a person."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.findings.lines import line_findings
from refusion_assets.domain.findings.words import worded
from refusion_assets.domain.raw import BIT, REQUIRED, bits
from tests.kit.data_root import RULEBOOK

MONDAY = date(2024, 1, 8)
KTH = "urn:oio:kommune:konto:557731007"
VIRK = "urn:oio:kommune:konto:557711014"


def one(findings: pl.DataFrame) -> dict[str, Any]:
    """The only finding, worded."""
    assert findings.height == 1
    return worded(findings, RULEBOOK).row(0, named=True)


GOOD = {
    "regel": "EI-001", "fil": "f.csv", "linje": 2, "kilde": "ky", "enhed": "169", "art": "I", "borger_id": 1,
    "ydelse_id": "KTH", "konto": KTH, "indberetning_id": "I1", "reference_id": None,
    "periode_start": date(2024, 1, 10), "periode_slut": date(2024, 1, 31), "beloeb_oere": 100, "Kommunekode": "169",
    "Loenperiode_start": date(2024, 1, 1), "Loenperiode_slut": date(2024, 1, 31), "Indkomsttype": "06",
    "Indtaegtsart": None, "Felt0098": None, "Felt0114": None, "Felt0115": KTH,
    "udfyldt": bits([*REQUIRED, "Kommunekode", "ReferenceID"]), "ulaeselig": 0,
}  # fmt: skip
TYPES: dict[str, Any] = {
    "reference_id": pl.String, "Indtaegtsart": pl.String, "Felt0098": pl.Int64, "Felt0114": pl.String,
    "borger_id": pl.Int64, "konto": pl.String, "Kommunekode": pl.String, "ydelse_id": pl.String, "art": pl.String,
}  # fmt: skip


def of_line(**changes: Any) -> dict[str, Any]:
    """The finding of one line, worded."""
    frame = pl.DataFrame([{**GOOD, **changes}], schema_overrides=TYPES)
    return one(line_findings(frame, RULEBOOK))


def missing(*columns: str) -> int:
    """The mask of what is filled when some columns are not."""
    return GOOD["udfyldt"] & ~bits(list(columns))  # type: ignore[operator]


@pytest.mark.parametrize(
    ("changes", "felt", "vaerdi"),
    [
        ({"udfyldt": missing("Dispositionsdato")}, "Dispositionsdato", None),
        ({"udfyldt": missing("IndberetningsID", "Kommunekode")}, "IndberetningsID, Kommunekode", None),
        ({"udfyldt": missing("Indkomsttype", "Kommunekode"), "kilde": "su"}, "Indkomsttype", None),
        ({"udfyldt": missing("ReferenceID", "Indkomsttype")}, "Indkomsttype", None),
        ({"udfyldt": missing("ReferenceID"), "art": "T"}, "ReferenceID", None),
        ({"ulaeselig": BIT["Felt0014"] | BIT["Felt0214_slut"]}, "Felt0014, Felt0214_slut", None),
        ({"Felt0098": -5}, "Felt0098", "-0,05"),
        ({"regel": "EI-002", "periode_slut": date(2024, 1, 9)}, "Ydelsesperiode", "2024-01-10 til 2024-01-09"),
        ({"regel": "EI-002", "Loenperiode_slut": date(2023, 1, 1)}, "Loenperiode", "2024-01-01 til 2023-01-01"),
        ({"regel": "EI-003", "borger_id": None}, "CPR", None),
        ({"regel": "EI-003", "konto": VIRK}, "Felt0216", None),
        ({"regel": "EI-003", "konto": VIRK, "art": "T"}, "CPR", None),
        ({"regel": "EI-006"}, "Indkomsttype og Indtaegtsart", "06/tom"),
        ({"regel": "EI-007"}, "Ydelsesperiode", "2024-01-10 til 2024-01-31"),
        ({"regel": "EI-008", "Kommunekode": "999"}, "Kommunekode", "999"),
        ({"regel": "EI-010"}, "Beløb", None),
        ({"regel": "EI-013"}, "IndberetningsID", "I1"),
        ({"regel": "EI-014", "art": "T", "reference_id": "I9"}, "ReferenceID", "I9"),
        ({"regel": "EI-015", "art": "T", "reference_id": "T9"}, "ReferenceID", "T9"),
        ({"regel": "YR-001", "Felt0115": "urn:x"}, "Felt0115", "urn:x"),
        ({"regel": "YR-001", "Felt0114": "urn:y"}, "Felt0114", "urn:y"),
        ({"regel": "YR-001", "Felt0114": KTH, "Felt0115": "urn:x"}, "Felt0115", "urn:x"),
        ({"regel": "YR-002", "Felt0114": KTH}, "Felt0114 og Felt0115", None),
        ({"regel": "YR-007", "Felt0114": KTH, "Felt0115": None}, "Felt0114", KTH),
        ({"regel": "YR-008"}, "Felt0115", KTH),
    ],
)  # fmt: skip
def test_a_line_says_which_column_to_look_at_and_what_stands_there(
    changes: dict[str, Any], felt: str, vaerdi: str | None
) -> None:
    finding = of_line(**changes)
    assert (finding["felt"], finding["vaerdi"]) == (felt, vaerdi)


def test_a_municipal_line_goes_to_its_sender_and_a_national_one_has_no_address_yet() -> None:
    assert [of_line(kilde=kilde)["kommunekode"] for kilde in ("ky", "su")] == ["169", None]


def test_a_line_is_of_the_weeks_its_period_touches_and_a_reversal_has_no_amount() -> None:
    line, reversal = of_line(), of_line(art="T", regel="EI-014")
    assert (line["uge_fra"], line["uge_til"], line["beloeb_oere"]) == (MONDAY, date(2024, 1, 29), 100)
    assert reversal["beloeb_oere"] is None


def test_a_line_is_found_again_by_rule_file_and_line_and_not_by_its_amount() -> None:
    identities = {of_line(**changes)["identitet"] for changes in ({}, {"beloeb_oere": 9}, {"linje": 3}, {"fil": "g"})}
    assert len(identities) == 3


@pytest.mark.parametrize(
    "text", ["6110512470", "611051-2470", "611051 2470", "urn:oio:6110512470", "6110512470 og 20100001"]
)
def test_a_value_that_may_be_a_person_is_not_shown(text: str) -> None:
    finding = of_line(regel="YR-001", Felt0115=text, konto=text)
    assert (finding["vaerdi"], finding["konto"]) == (None, None)
    assert text not in finding["tekst"]
