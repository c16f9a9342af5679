"""Findings about a sender's files: too many or few rows, repeats, gaps, absence."""

from datetime import date
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.findings.lines import file_findings
from refusion_assets.domain.findings.words import worded
from tests.kit.data_root import RULEBOOK

MONTH = date(2024, 4, 1)
REPEATED = 50_000
VENTET = pl.DataFrame(
    {"kilde": ["ksd"], "enhed": ["169"], "oere": [123_456_789], "begrundelse": ["filen kommer i maj"]}
)


def one(findings: pl.DataFrame) -> dict[str, Any]:
    """The only finding, worded."""
    assert findings.height == 1
    return worded(findings, RULEBOOK).row(0, named=True)


Delivered = tuple[str, str, str, int, int, str]


def name_of(kilde: str, enhed: str, number: int) -> str:
    """A file name as it is agreed."""
    return f"eindkomst-yr-{kilde}-{enhed}-202403-{number:04}.csv"


def of_files(*files: Delivered) -> pl.DataFrame:
    """The findings of some files: sender, unit, month, number, rows, repeated; in order of rule and key."""
    rows = [
        (*sender, date.fromisoformat(f"{maaned}-01"), nr, name_of(*sender, nr), sha256, antal, sha256 == "again")
        for *sender, maaned, nr, antal, sha256 in files
    ]
    schema = {"kilde": pl.String, "enhed": pl.String, "modtaget_maaned": pl.Date, "loebenr": pl.Int64,
              "filnavn": pl.String, "sha256": pl.String, "antal_raekker": pl.Int64, "dublet": pl.Boolean}  # fmt: skip
    again = pl.when("dublet").then(REPEATED)
    frame = pl.DataFrame(rows, schema=schema, orient="row").with_columns(
        pl.col("sha256").replace("again", "first"), beloeb_oere=again
    )
    return file_findings(frame, VENTET, MONTH, RULEBOOK).sort("identitet")


def ky(*counts: int, first: int = 1) -> list[Delivered]:
    """One file a month of a municipal sender, the last in the run month."""
    months = ("2023-12", "2024-01", "2024-02", "2024-03", "2024-04")[-len(counts) :]
    return [
        ("ky", "169", month, nr, rows, False)
        for nr, (month, rows) in enumerate(zip(months, counts, strict=True), first)
    ]


@pytest.mark.parametrize(
    ("counts", "fires"),
    [
        ((100, 130), False), ((100, 131), True), ((100, 70), False), ((100, 69), True), ((131,), False),
        ((90, 100, 110, 130), False), ((90, 100, 110, 131), True), ((1000, 100, 100, 100, 130), False),
        ((1000, 100, 100, 100, 131), True), ((1, 1, 2, 1), False), ((0, 1), True), ((0, 0), False),
    ],
)  # fmt: skip
def test_a_row_count_off_by_more_than_30_per_cent_of_three_months_is_pointed_out(
    counts: tuple[int, ...], fires: bool
) -> None:
    rules = of_files(*ky(*counts))["regel"].to_list()
    assert rules == ["FIL-003"] * fires


def test_a_row_count_says_what_was_expected_and_goes_to_the_sender_s_municipality() -> None:
    finding = one(of_files(*ky(90, 100, 110, 131)))
    assert (finding["kommunekode"], finding["vaerdi"]) == ("169", "ky-169: 131 rækker mod 100 i gennemsnit")
    national = of_files(("su", "34042012", "2024-03", 1, 1, "a"), ("su", "34042012", "2024-04", 2, 5, "b"))
    assert one(national)["kommunekode"] is None


@pytest.mark.parametrize(
    ("counts", "said"),
    [
        ((0, 0, 1, 0), "ky-169: 0 rækker mod 0,3 i gennemsnit"),
        ((0, 1, 1, 0), "ky-169: 0 rækker mod 0,7 i gennemsnit"),
        ((0, 0, 0, 1), "ky-169: 1 række mod 0 i gennemsnit"),
        ((10, 5, 5, 1), "ky-169: 1 række mod 6,7 i gennemsnit"),
        ((3, 3, 3, 1), "ky-169: 1 række mod 3 i gennemsnit"),
    ],
)
def test_a_row_count_names_its_sender_and_a_mean_that_is_not_whole(counts: tuple[int, ...], said: str) -> None:
    finding = one(of_files(*ky(*counts)))
    assert finding["vaerdi"] == said
    assert f"seneste måneder, {said} (" in finding["tekst"]


def test_a_file_delivered_again_is_told_with_the_first_one_and_has_no_rows_of_its_own() -> None:
    rows = [("ky", "169", "2024-03", 1, 10, "first"), ("ky", "169", "2024-04", 2, 10, "again")]
    findings = worded(of_files(*rows), RULEBOOK)
    assert findings.select("regel", "fil", "vaerdi", "beloeb_oere").rows() == [
        ("FIL-003", name_of("ky", "169", 2), "ky-169: 0 rækker mod 10 i gennemsnit", None),
        ("FIL-004", name_of("ky", "169", 2), name_of("ky", "169", 1), REPEATED),
    ]


@pytest.mark.parametrize(
    ("numbers", "gaps"),
    [([1, 2, 3], []), ([1, 3], ["0002"]), ([1, 2, 6], ["0003-0005"]), ([3, 5], ["0001-0002", "0004"]), ([2, 1], [])],
)
def test_numbers_that_no_file_has_are_pointed_out(numbers: list[int], gaps: list[str]) -> None:
    months = ("2024-02", "2024-03", "2024-04")
    files = [("ky", "169", month, nr, 0, f"sha {nr}") for month, nr in zip(months, numbers, strict=False)]
    findings = of_files(*files).filter(pl.col("regel") == "FIL-005")
    assert findings["vaerdi"].to_list() == gaps


def test_a_sender_that_is_accepted_as_missing_is_told() -> None:
    others = [("ky", "169", "2024-03", 1, 0, "a"), ("ky", "169", "2024-04", 2, 0, "b")]
    finding = one(of_files(*others, ("ksd", "169", "2024-03", 1, 0, "c")))
    assert (finding["regel"], finding["kommunekode"]) == ("FIL-006", "169")
    assert finding["vaerdi"] == "ksd-169 (accepteret: filen kommer i maj)"
    assert finding["beloeb_oere"] == 123_456_789
