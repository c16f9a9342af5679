"""A voucher in a form: what a file of it says is what is read from it again, also after a spreadsheet had it."""

import re
import shutil
from datetime import date
from pathlib import Path

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.findings.words import CPR_FORM
from refusion_assets.domain.opgoerelse.form import oere_of, shown
from refusion_assets.domain.opgoerelse.ledger import ydelse_navne
from refusion_assets.domain.opgoerelse.voucher import SIGNED, refused, unfilled, voucher
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import Bilagsform
from refusion_assets.domain.stop import Stop
from refusion_assets.files.booked import lines_of, voucher_bytes
from refusion_assets.rulebook.load import load
from tests.kit.data_root import RULES
from tests.kit.timeline import examples
from tests.kit.vouchers import INVENTED, own, put, wish

MONTH = date(2024, 2, 1)
SCHEMA = {"kommunekode": pl.String, "ydelse_id": pl.String, "procent": pl.Int64, "refusion_oere": pl.Int64,
          "medfinansiering_oere": pl.Int64}  # fmt: skip
KTH, ADP = ("169", "KTH", 80, 50_005, 0), ("169", "ADP", 20, 0, 20_000)
KTH_80 = 'ydelse_id = "KTH"\nprocent = 80\n'


def ledger(*rows: tuple[str, str, int, int, int]) -> pl.DataFrame:
    """Entries of a ledger: municipality, benefit, percentage, refusion, medfinansiering (øre)."""
    return pl.DataFrame(rows, schema=SCHEMA, orient="row")


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rulebook:
    """The rules with KMD Opus for 169, which has an account for KTH, and the invented form for 101."""
    folder = Path(shutil.copytree(RULES, tmp_path_factory.mktemp("bilag") / "rules"))
    opus = wish("169", "opus", more='felter = { artskonto = "9510", profitcenter = "P;1" }')
    mine = own("169", "refusion", "XG-80", more=KTH_80 + 'felter = { psp = "XG-57", artskonto = "2973" }')
    return load(put(folder, INVENTED, opus, wish("101", "kasse"), mine))


def form_of(rules: Rulebook, name: str) -> Bilagsform:
    """A form that is there."""
    found = rules.bilagsform(name)
    assert found is not None
    return found


def lines(rules: Rulebook, *rows: tuple[str, str, int, int, int]) -> pl.DataFrame:
    """The voucher of some entries."""
    return voucher(ledger(*rows), ydelse_navne(rules), MONTH, rules)


def test_opus_has_the_fields_of_the_line_before_those_of_all_lines(rules: Rulebook) -> None:
    table = shown(lines(rules, KTH, ADP), form_of(rules, "opus"), rules)
    looked_at = ("Artskonto", "PSP-element", "Profitcenter", "Debet/kredit", "Beløb", "Referencenøgle")
    assert table.select(looked_at).rows() == [
        ("2973", "XG-57", "P;1", "Kredit", "500,05", "YR-0050-169"),
        ("9510", None, "P;1", "Debet", "200,00", "YR-0050-169"),
        ("9510", None, "P;1", "Debet", "300,05", "YR-0050-169"),
    ]  # fmt: skip
    assert table.width == 25
    assert not any(re.search(CPR_FORM, str(cell)) for row in table.rows() for cell in row)


def test_an_invented_form_is_written_as_its_entry_says_and_no_python_knows_it(rules: Rulebook) -> None:
    content = voucher_bytes(lines(rules, ("101", "FLEKS", 20, 7, 0)), form_of(rules, "kasse"), rules)
    assert content.decode("cp1252") == (
        "Byen\t03-03-2024\t5.58.81.2.X20\t\t0.07\tRefusion 2024-02: Fleksløntilskud, 20 pct. "
        "(konto ikke verificeret)\r\n"
        "Byen\t03-03-2024\t8.25.12.0.X01\t0.07\t\tMellemregning med staten 2024-02 (konto ikke verificeret)\r\n"
    )


entries = st.lists(
    st.one_of(
        st.tuples(st.just("169"), st.sampled_from(["KTH", "FLEKS", "SYG_BORGER"]), st.sampled_from([80, 40, 30, 20]),
                  st.integers(-(10**12), 10**12), st.just(0)),
        st.tuples(st.just("169"), st.sampled_from(["ADP", "FOEP"]), st.sampled_from([20, 60, 70, 80]), st.just(0),
                  st.integers(-(10**12), 10**12)),
    ),
    max_size=12,
)  # fmt: skip


@pytest.mark.parametrize("name", ["bogfoering", "opus", "kasse"])
@examples(15)
@given(entries)
def test_in_every_form_debit_is_credit_and_the_amounts_read_are_those_of_the_voucher(
    rules: Rulebook, name: str, rows: list[tuple[str, str, int, int, int]]
) -> None:
    bilag, form = lines(rules, *rows), form_of(rules, name)
    content = voucher_bytes(bilag, form, rules)
    read = lines_of(content, [form])[1] if content else []
    assert [line.oere for line in read] == bilag.select(SIGNED).to_series().to_list()
    assert sum(line.oere for line in read) == 0
    state = [line.oere for line in read if "mellemregning" in line.tekst.casefold()]
    assert sum(state) == sum(refusion - medfinansiering for *_, refusion, medfinansiering in rows)


@pytest.mark.parametrize(
    "kind", ["as it was", "bom", "crlf", "ansi", "utf-16", "tab", "quoted", "lines above", "below"]
)
def test_a_file_that_a_spreadsheet_has_had_says_the_same(rules: Rulebook, kind: str) -> None:
    content = voucher_bytes(lines(rules, KTH, ADP), form_of(rules, "bogfoering"), rules)
    text = content.decode()
    had = {
        "as it was": content,
        "bom": b"\xef\xbb\xbf" + content,
        "crlf": text.replace("\n", "\r\n").encode(),
        "ansi": text.encode("cp1252"),
        "utf-16": text.encode("utf-16"),
        "tab": text.replace(";", "\t").encode(),
        "quoted": "\n".join(";".join(f'"{cell}"' for cell in line.split(";")) for line in text.splitlines()).encode(),
        "lines above": f"Udskrift fra kassen;;\n\n{text}".encode(),
        "below": f"{text}\n;;;;\n \n".encode(),
    }[kind]
    form, read = lines_of(had, rules.bilagsformer)
    above = 2 if kind == "lines above" else 0
    assert form.id == "bogfoering"
    assert [(line.linje - above, line.konto, line.oere, line.ydelse, line.procent) for line in read] == [
        (2, ("XG-80",), -50_005, "Kontanthjælp", "80,00"),
        (3, ("5.57.78.1.012",), 20_000, "Arbejdsløshedsdagpenge", "20,00"),
        (4, ("8.25.12.0.X01",), 30_005, "", ""),
    ]


@pytest.mark.parametrize(
    ("text", "oere"),
    [
        ("1234,50", 123_450), ("1.234,50", 123_450), ("1234.50", 123_450), ("1 234,5", 123_450), ("1234,50-", -123_450),
        ("-1.234,50 kr.", -123_450), ("−7", -700), ("0,07", 7), ("1.234", 123_400), ("1.234.567", 123_456_700),
        ("12\u00a0345,60", 1_234_560), ("", None), ("1,23E+06", None), ("12.34.56", None), ("1,234", 123_400),
        ("1,2345", None), ("abc", None), ("--5", None), ("5-5", None),
    ],
)  # fmt: skip
def test_an_amount_is_read_as_people_ledgers_and_spreadsheets_write_it(text: str, oere: int | None) -> None:
    assert oere_of(text, ",") == oere


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("500,05", "mange"), "linje 2, kolonnen Beløb: kan ikke læses som et beløb"),
        (("Kredit", "Udgift"), "linje 2, kolonnen Debet/kredit: er hverken Debet eller Kredit"),
        (("XG-80", ""), "linje 2: kontoen mangler"),
        (("Konto", "Kontonummer"), "ligner ingen bilagsform; overskrifterne skal være med"),
        (("Bilagsnr", '"Bilagsnr\x00'), "ligner ingen bilagsform|kan ikke læses som CSV"),
    ],
)
def test_what_cannot_be_read_is_said_with_line_and_column_and_without_the_value(
    rules: Rulebook, change: tuple[str, str], said: str
) -> None:
    text = voucher_bytes(lines(rules, KTH, ADP), form_of(rules, "bogfoering"), rules).decode()
    with pytest.raises(Stop, match=said) as caught:
        lines_of(text.replace(*change, 1).encode(), rules.bilagsformer)
    assert "mange" not in str(caught.value)


def test_a_voucher_with_a_line_that_nobody_has_filled_in_is_refused_in_words_that_say_what_to_do(
    rules: Rulebook, tmp_path: Path
) -> None:
    rows = ledger(KTH, ("101", "FLEKS", 20, 1, 0), ("851", "SYG_BORGER", 80, 1, 0), ("147", "NY", 5, 1, 0))
    found = refused(rows, MONTH, rules)
    assert sorted(found) == ["101", "147", "169", "851"]
    assert found["101"] == (
        "bilaget YR-0050-101 sendes ikke: refusion, Fleksløntilskud, 20 pct., har kun pladsholderen 5.58.81.2.X20 (og "
        "1 linje til); skriv konto i en [[kommunekonto]] for 101 i kontering.toml, eller tillad_pladsholder = true i "
        "dens [[kommunebilag]]"
    )
    assert "refusion, NY, 5 pct., har kun pladsholderen ukendt.2.X05" in found["147"]
    for kode in ("169", "851"):  # every other line of theirs has an account
        assert "linjen mellemregning med staten har kun pladsholderen 8.25.12.0.X01;" in found[kode]
    folder = Path(shutil.copytree(RULES, tmp_path / "rules"))
    more = wish("101", more="tillad_pladsholder = true"), own("851", "mellemregning", "95")
    assert sorted(refused(rows, MONTH, load(put(folder, *more)))) == ["147", "169"]


def test_a_line_without_a_field_that_its_form_requires_is_refused(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(RULES, tmp_path / "rules"))
    artskonto = 'felter = { artskonto = "1" }'
    mine = own("169", "refusion", "1", more=KTH_80 + artskonto), own("169", "mellemregning", "2")
    bare = load(put(folder, wish("169", "opus"), *mine))
    assert unfilled(lines(bare, KTH), bare)["mangler"].to_list() == ["artskonto"]
    assert refused(ledger(KTH), MONTH, bare) == {
        "169": "bilaget YR-0050-169 sendes ikke: linjen mellemregning med staten mangler artskonto; skriv felter i en "
        "[[kommunekonto]] eller [[kommunebilag]] for 169 i kontering.toml"
    }
    assert refused(ledger(KTH), MONTH, load(put(folder, wish("169", "opus", "2024-01-01", artskonto)))) == {}
