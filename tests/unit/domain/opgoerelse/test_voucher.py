"""The voucher: balanced to the øre for every municipality, on the accounts of the rules, without any person."""

from dataclasses import replace
from datetime import date
from typing import Any

import pandera.errors
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.findings.words import CPR_FORM
from refusion_assets.domain.opgoerelse.form import shown
from refusion_assets.domain.opgoerelse.voucher import DEBET, KREDIT, Bilagslinje, voucher
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import Kommunekonto, Kontering
from tests.kit.data_root import RULEBOOK
from tests.kit.timeline import examples

MONTH = date(2024, 2, 1)
NAVN = {y.ydelse_id: y.navn for y in RULEBOOK.ydelser}
NAVNE = pl.DataFrame({"ydelse_id": NAVN.keys(), "navn": NAVN.values()})
REFUNDED = sorted({y.ydelse_id for y in RULEBOOK.ydelser if y.side == "refusion"})
COFINANCED = sorted({y.ydelse_id for y in RULEBOOK.ydelser if y.side == "medfinansiering"})
BALANCE = "8.25.12.0.X01"
MONEY = ("refusion_oere", "medfinansiering_oere")
Entry = tuple[str, str, int, int, int]


def posted(*entries: Entry) -> pl.DataFrame:
    """The voucher lines of ledger entries: municipality, benefit, percentage, refusion, medfinansiering (øre)."""
    schema = {"kommunekode": pl.String, "ydelse_id": pl.String, "procent": pl.Int64, "refusion_oere": pl.Int64,
              "medfinansiering_oere": pl.Int64}  # fmt: skip
    ledger = pl.DataFrame(entries, schema=schema, orient="row").with_columns(borger_id=pl.lit(1))
    return voucher(ledger, NAVNE, MONTH, RULEBOOK)


def lines(rows: pl.DataFrame) -> list[tuple[Any, ...]]:
    """Account, side and øre of each line."""
    return rows.select("konto", "debet_kredit", "beloeb_oere").rows()


@pytest.mark.parametrize(
    ("entry", "konto"),
    [
        (("101", "SYG_BORGER", 80, 1, 0), "5.57.71.2.010"), (("101", "SYG_BORGER", 40, 1, 0), "5.57.71.2.011"),
        (("101", "SYG_VIRK", 30, 1, 0), "5.57.71.2.012"), (("101", "SYG_VIRK", 20, 1, 0), "5.57.71.2.013"),
        (("101", "ADP", 20, 0, 1), "5.57.78.1.012"), (("101", "ADP", 60, 0, 1), "5.57.78.1.013"),
        (("101", "ADP", 70, 0, 1), "5.57.78.1.014"), (("101", "MAY", 80, 0, 1), "5.57.78.1.015"),
    ],
)  # fmt: skip
def test_the_accounts_that_the_contract_knows_are_used_and_are_verified(entry: Entry, konto: str) -> None:
    row = posted(entry).row(0, named=True)
    assert row["konto"] == konto
    assert "ikke verificeret" not in row["tekst"]


@pytest.mark.parametrize(
    ("entry", "konto"),
    [
        (("101", "KTH", 80, 1, 0), "5.57.73.2.X80"), (("101", "FLYGT", 100, 1, 0), "5.57.74.2.X100"),
        (("101", "INTY", 20, 1, 0), "5.46.61.2.X20"), (("101", "SHO", 80, 1, 0), "5.46.61.2.X80"),
        (("101", "FOEP", 20, 0, 1), "5.48.66.1.X20"), (("101", "BEFORD", 50, 0, 1), "5.57.78.1.005"),
        (("101", "SYG_BORGER", 35, 1, 0), "5.57.71.2.X35"), (("101", "NY", 5, 1, 0), "ukendt.2.X05"),
    ],
)  # fmt: skip
def test_an_account_that_nobody_has_seen_says_so(entry: Entry, konto: str) -> None:
    row = posted(entry).row(0, named=True)
    assert row["konto"] == konto
    assert row["tekst"].endswith("(konto ikke verificeret)")


def test_refusion_is_income_and_medfinansiering_an_expense_against_the_state() -> None:
    rows = posted(("101", "KTH", 80, 500, 0), ("101", "ADP", 20, 0, 200))
    assert lines(rows) == [
        ("5.57.73.2.X80", KREDIT, 500), ("5.57.78.1.012", DEBET, 200), (BALANCE, DEBET, 300)
    ]  # fmt: skip


def test_a_net_amount_below_zero_changes_side_and_stays_positive() -> None:
    rows = posted(("101", "KTH", 80, 500, 0), ("101", "KTH", 80, -700, 0), ("101", "ADP", 20, 0, -50))
    assert lines(rows) == [("5.57.73.2.X80", DEBET, 200), ("5.57.78.1.012", KREDIT, 50), (BALANCE, KREDIT, 150)]


def test_nothing_net_makes_no_line_and_a_voucher_that_balances_by_itself_needs_no_more() -> None:
    assert posted(("101", "KTH", 80, 500, 0), ("101", "KTH", 80, -500, 0)).is_empty()
    assert lines(posted(("101", "KTH", 80, 500, 0), ("101", "ADP", 20, 0, 500))) == [
        ("5.57.73.2.X80", KREDIT, 500), ("5.57.78.1.012", DEBET, 500)
    ]  # fmt: skip


def test_a_voucher_is_numbered_by_run_and_municipality_and_dated_the_run_day() -> None:
    rows = posted(("169", "KTH", 80, 1, 0), ("101", "KTH", 80, 1, 0))
    assert rows.select("bilagsnr", "linje").rows() == [
        ("YR-0050-101", 1), ("YR-0050-101", 2), ("YR-0050-169", 1), ("YR-0050-169", 2)
    ]  # fmt: skip
    assert rows["bogfoeringsdato"].unique().to_list() == [date(2024, 3, 3)]


def test_benefits_and_percentages_have_lines_of_their_own() -> None:
    rows = posted(("101", "KTH", 20, 1, 0), ("101", "KTH", 80, 2, 0), ("101", "UDDH", 80, 4, 0))
    assert rows.select("navn", "procent", "beloeb_oere").rows() == [
        ("Kontanthjælp", 80, 2), ("Kontanthjælp", 20, 1), ("Uddannelseshjælp", 80, 4), (None, None, 7)
    ]  # fmt: skip


entries = st.lists(
    st.one_of(
        st.tuples(st.sampled_from(["101", "169", "851"]), st.sampled_from(REFUNDED), st.integers(0, 100),
                  st.integers(-(10**12), 10**12), st.just(0)),
        st.tuples(st.sampled_from(["101", "169", "851"]), st.sampled_from(COFINANCED), st.integers(0, 100), st.just(0),
                  st.integers(-(10**12), 10**12)),
    ),
    max_size=30,
)  # fmt: skip


@examples(25)
@given(entries)
def test_debit_is_credit_to_the_oere_in_every_voucher_and_the_state_s_line_is_the_net(ledger: list[Entry]) -> None:
    rows = posted(*ledger)
    for kode in {entry[0] for entry in ledger}:
        mine = rows.filter(kommunekode=kode)
        debit, credit = (mine.filter(debet_kredit=side)["beloeb_oere"].sum() for side in (DEBET, KREDIT))
        assert debit == credit
        owed = sum(refusion - medfinansiering for k, _, _, refusion, medfinansiering in ledger if k == kode)
        state = mine.filter(konto=BALANCE)
        signed = state.select(
            pl.when(pl.col("debet_kredit") == DEBET).then("beloeb_oere").otherwise(-pl.col("beloeb_oere"))
        )
        assert signed.to_series().sum() == owed


def test_the_contract_refuses_a_voucher_that_is_an_oere_off() -> None:
    rows = posted(("101", "KTH", 80, 500, 0))
    with pytest.raises(pandera.errors.SchemaError, match="balances"):
        Bilagslinje.validate(rows.with_columns(beloeb_oere=pl.Series([500, 501])))


def test_the_file_has_the_columns_of_the_contract_and_no_person() -> None:
    form = RULEBOOK.bilagsform("bogfoering")
    assert form is not None
    table = shown(posted(("101", "KTH", 80, 50_005, 0), ("101", "ADP", 20, 0, 5)), form, RULEBOOK)
    assert dict(zip(table.columns, table.row(0), strict=True)) == {
        "Bilagsnr": "YR-0050-101", "Bogføringsdato": "2024-03-03", "Linje": "1", "Konto": "5.57.73.2.X80",
        "Debet/kredit": "Kredit", "Beløb": "500,05",
        "Tekst": "Refusion 2024-02: Kontanthjælp, 80 pct. (konto ikke verificeret)", "Ydelse": "Kontanthjælp",
        "Sats": "80,00", "Kørsel": "50",
    }  # fmt: skip
    text = pl.Series([value for row in table.rows() for value in map(str, row)])
    assert not text.str.contains(CPR_FORM).any()


def test_an_entry_of_the_benefit_comes_before_its_function_s_and_a_percentage_before_none() -> None:
    def entry(ydelse_id: str, funktion: str, procent: int | None, gruppering: str) -> Kontering:
        found = replace(RULEBOOK.konteringer[0], ydelse_id=ydelse_id, funktion=funktion, side="refusion")
        return replace(found, procent=procent, gruppering=gruppering)

    ranked = [entry("KTH", "5.57.73", 80, "a"), entry("KTH", "5.57.73", None, "b"), entry("", "5.57.73", 80, "c"),
              entry("", "5.57.73", None, "d"), entry("", "*", 80, "e"), entry("", "*", None, "f")]  # fmt: skip
    for place in range(len(ranked)):
        rules = replace(RULEBOOK, konteringer=tuple(reversed(ranked[place:])))
        assert rules.kontering("KTH", "refusion", 80).gruppering == "abcdef"[place]


def own(kode: str, konto: str, fra: date = date(2020, 1, 1), **said: Any) -> Kommunekonto:
    """A municipality's own account for some lines of refusion."""
    cited = {"hjemmel": "x", "kilde": "x", "kontrolleret": fra, "sikkerhed": "x"}
    return Kommunekonto(kommunekode=kode, konto=konto, gaelder_fra=fra, **({"side": "refusion"} | cited | said))


def test_an_own_account_of_the_benefit_comes_before_its_function_s_and_a_percentage_before_none() -> None:
    kth, funktion, alle = {"ydelse_id": "KTH"}, {"funktion": "5.57.73"}, dict[str, Any]()
    ranked = [own("101", name, **what, **rate) for name, what, rate in zip(
        "abcdef", [kth, kth, funktion, funktion, alle, alle], [{"procent": 80}, {}] * 3, strict=True)]  # fmt: skip
    for place in range(len(ranked)):
        rules = replace(RULEBOOK, kommunekonti=tuple(reversed(ranked[place:])))
        ledger = [("101", "KTH", 80, 500, 0), ("169", "KTH", 80, 500, 0)]
        assert konti(rules, ledger) == {"101": ["abcdef"[place], BALANCE], "169": ["5.57.73.2.X80", BALANCE]}


def konti(rules: Rulebook, ledger: list[Entry], month: date = MONTH) -> dict[str, list[str]]:
    """The accounts of the voucher of each municipality, in order of line."""
    frame = pl.DataFrame(ledger, schema=["kommunekode", "ydelse_id", "procent", *MONEY], orient="row")
    lines = voucher(frame, NAVNE, month, rules)
    return {
        str(kode): rows["konto"].to_list() for (kode,), rows in lines.partition_by("kommunekode", as_dict=True).items()
    }


def test_an_own_account_holds_from_the_day_the_voucher_is_posted_and_a_later_one_takes_over() -> None:
    """Run 2024-02 is posted on 3 March 2024."""
    ledger: list[Entry] = [("101", "KTH", 80, 500, 0)]
    for day, expected in ((date(2024, 3, 3), "ny"), (date(2024, 3, 4), "gammel")):
        entries = own("101", "ny", day, ydelse_id="KTH"), own("101", "gammel", ydelse_id="KTH")
        assert konti(replace(RULEBOOK, kommunekonti=entries), ledger) == {"101": [expected, BALANCE]}
    back = own("101", "", date(2024, 3, 3), ydelse_id="KTH"), own("101", "gammel", ydelse_id="KTH")
    assert konti(replace(RULEBOOK, kommunekonti=back), ledger) == {"101": ["5.57.73.2.X80", BALANCE]}


def test_an_own_account_is_in_no_doubt_and_the_line_that_balances_can_have_one() -> None:
    entries = own("101", "1", ydelse_id="KTH"), own("101", "95", side="mellemregning")
    frame = pl.DataFrame(
        [("101", "KTH", 80, 500, 0)], schema=["kommunekode", "ydelse_id", "procent", *MONEY], orient="row"
    )
    lines = voucher(frame, NAVNE, MONTH, replace(RULEBOOK, kommunekonti=entries))
    assert lines.select("konto", "tekst", "pladsholder").rows() == [
        ("1", "Refusion 2024-02: Kontanthjælp, 80 pct.", False), ("95", "Mellemregning med staten 2024-02", False)
    ]  # fmt: skip
