"""Months that report nothing, or take back more than they pay: every check answers, and the month is settled."""

from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from refusion_assets.assets.checks import calculated
from refusion_assets.assets.checks.asset import ask, looks
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.findings.outcome import Outcome
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import Row, write_file, write_register
from tests.kit.timeline import CPR

OTHER = "7001662194"
WEEK = date(2024, 2, 5), date(2024, 2, 11)
MONTHS = ("2024-02", "2024-03", "2024-04")


def kth(number: int, kroner: str, **changes: str) -> Row:
    """One report of kontanthjælp for the week."""
    return timeline.row("K", *WEEK, number, kroner, Indtaegtsart="0041", **changes)


def deliver(root: DataRoot, month: str, rows: Sequence[Row]) -> None:
    """A month's file of the only sender."""
    write_file(root.path, timeline.fil("K", list(rows), month, MONTHS.index(month) + 1))


@pytest.fixture(scope="module")
def february(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A month of two reports, settled."""
    root = DataRoot(tmp_path_factory.mktemp("summer"))
    stays = [
        {"CPR": cpr, "Kommunekode": "169", "Bopael_start": "2010-01-01", "Bopael_slut": ""} for cpr in (CPR, OTHER)
    ]
    write_register(root.path, "bopael", "2024-02", stays)
    deliver(root, "2024-02", [kth(1, "1000,00"), kth(2, "1000,00", cpr=OTHER)])
    root.run("2024-02")
    return root


@pytest.mark.parametrize(
    "wrong",
    [
        lambda lines: lines.filter(pl.col("procent").is_null() | (pl.col("procent") != 80)),
        lambda lines: lines.with_columns(beloeb_oere=pl.col("beloeb_oere") + 1),
        lambda lines: lines.head(0),
    ],
    ids=["the line of a benefit is gone", "every amount is an øre more", "there is no voucher"],
)
def test_a_voucher_that_balances_must_also_hold_the_amounts_of_the_ledger(
    february: DataRoot, wrong: Callable[[pl.DataFrame], pl.DataFrame], monkeypatch: pytest.MonkeyPatch
) -> None:
    with february.place.warehouse.open() as session:
        asked = Asked(session, february.place, month_of("2024-02"))
        assert calculated.bilag_balancerer(asked).bestaaet
        plain = calculated.voucher
        monkeypatch.setattr(calculated, "voucher", lambda *of: wrong(plain(*of)))
        assert not calculated.bilag_balancerer(asked).bestaaet


def answers(root: DataRoot, month: str) -> dict[str, Outcome]:
    """What every check of the month answers, by name."""
    every = list(looks(root.place.rules))
    names = {check.name for look in every for check in look.checks}
    with root.place.warehouse.open() as session:
        said = {c.name: outcome for c, outcome in ask(Asked(session, root.place, month_of(month)), every, names)}
    assert said.keys() == names
    return said


def said_no(root: DataRoot, month: str) -> list[str]:
    """The blocking checks of a month that say no."""
    blocking = {check.name for look in looks(root.place.rules) for check in look.checks if check.blocks}
    return [name for name, outcome in answers(root, month).items() if name in blocking and not outcome.bestaaet]


def test_a_month_below_zero_is_settled_in_full_after_one_without_money(february: DataRoot, tmp_path: Path) -> None:
    root = february.copy(tmp_path)
    deliver(root, "2024-03", [])
    root.run("2024-03")
    assert said_no(root, "2024-03") == []
    deliver(root, "2024-04", [kth(3, "-500,00")])
    below = root.koer("2024-04")
    assert "1 borger, " in below.out
    assert next(line.split()[3] for line in below.out.splitlines() if "Heraf rettelser" in line) == "-400,00"
    said = root.rows("SELECT tekst FROM kontrol.resultat WHERE kontrol = 'een_udbetaler'")
    assert said == [("To udbetalere for samme dage: 0,00 kr., under grænsen.",)]


@pytest.mark.parametrize("other", ["-500,00", "-100,00"], ids=["below zero", "zero"])
def test_a_double_payment_in_a_month_without_money_is_above_the_bound(
    february: DataRoot, tmp_path: Path, other: str
) -> None:
    root = february.copy(tmp_path)
    deliver(root, "2024-03", [kth(3, other), kth(4, "100,00", cpr=OTHER, Pligt_SE="29169001")])
    root.run("2024-03")
    double = answers(root, "2024-03")["een_udbetaler"]
    words = ("EI-009", "100,00 kr. for samme dage, over 5 promille af månedens 0,00 kr.", "29169000 og 29169001")
    assert (double.bestaaet, [word for word in words if word not in double.tekst]) == (False, [])


def test_a_person_in_the_place_of_a_payer_is_not_named_by_the_stop(february: DataRoot, tmp_path: Path) -> None:
    root = february.copy(tmp_path)
    deliver(root, "2024-03", [kth(3, "-100,00"), kth(4, "100,00", cpr=OTHER, Pligt_SE=OTHER)])
    root.run("2024-03")
    double = answers(root, "2024-03")["een_udbetaler"]
    assert (double.bestaaet, "29169000 og (personnummer)" in double.tekst) == (False, True)


def test_every_check_answers_in_months_of_the_most_and_the_least_that_can_be_written(
    february: DataRoot, tmp_path: Path
) -> None:
    root = february.copy(tmp_path)
    most = [kth(n, "9999999999,99", cpr=cpr) for n, cpr in ((3, CPR), (4, OTHER), (5, OTHER))]
    least = [kth(n, "-9999999999,99", cpr=cpr) for n, cpr in ((6, CPR), (7, OTHER), (8, OTHER))]
    for month, rows in zip(MONTHS[1:3], (most, least), strict=True):
        deliver(root, month, rows)
        root.run(month)
        assert set(said_no(root, month)) <= {"beloeb_er_under_graensen"}  # EI-017: what no operator has let pass
    assert root.rows("SELECT sum(beloeb_oere)::BIGINT FROM refusion.borger_uge_ydelse") == [(2_000_00,)]
