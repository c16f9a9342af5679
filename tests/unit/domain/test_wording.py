"""Amounts as people read them, and what a sender wrote as text that no program works out and that hides no sign."""

import json
import re
import unicodedata

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.findings.words import Advis
from refusion_assets.domain.wording import FORMULA, PLAIN_NUMBER, as_cell, kroner_text, visible, visible_json
from refusion_assets.files.outgoing import ADVIS, advisering_table


@pytest.mark.parametrize(
    ("oere", "text"), [(0, "0,00 kr."), (-5, "-0,05 kr."), (123_456_789, "1.234.567,89 kr."), (100_000, "1.000,00 kr.")]
)
def test_an_amount_is_written_as_a_dane_would(oere: int, text: str) -> None:
    assert kroner_text(oere) == text


def cells(*texts: str) -> list[str]:
    """Some texts of a sender as cells."""
    return pl.DataFrame({"t": texts}, schema={"t": pl.String}).select(as_cell(pl.col("t"))).to_series().to_list()


HARMLESS = [
    *("-100,00", "+4", "-1.234,50", "12", "K0001", "urn:oio:kommune:konto:557731007", "tom til 2024-02-01", "a=b", ""),
    *("0041", "6110512470", "'citeret'", "æøå", "raw/x.csv (accepteret: det er rigtigt)"),
]


@pytest.mark.parametrize("text", HARMLESS)
def test_a_text_that_no_spreadsheet_works_out_stays_as_it_is(text: str) -> None:
    assert cells(text) == [text]


@pytest.mark.parametrize(
    ("text", "cell"),
    [
        ("=1+1", "'=1+1"),
        ("+1+1", "'+1+1"),
        ("-1+cmd|' /C calc'!A0", "'-1+cmd|' /C calc'!A0"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1", "'  =1"),
        ("\N{NO-BREAK SPACE}=1", "'\N{NO-BREAK SPACE}=1"),
        ("'=1", "''=1"),
        ('"=1', "'\"=1"),
        ("\uff1d1", "'\uff1d1"),
        ("\uff0b1", "'\uff0b1"),
        ("\uff20x", "'\uff20x"),
        ("-", "'-"),
        ("-100,00x", "'-100,00x"),
        ("\t=1", "␉=1"),
        ("\r=1\n=2", "␍=1␊=2"),
        ("a\x00b\x1b[2Jc\x7f", "a␀b␛[2Jc␡"),
        ("\u202eabc\u2066d\u200b\x9be\ufeff\u2028", "<U+202E>abc<U+2066>d<U+200B><U+009B>e<U+FEFF><U+2028>"),
        ("\u200b=1", "<U+200B>=1"),
    ],
)
def test_a_text_that_would_be_worked_out_or_hides_a_sign_is_shown_as_it_was_written(text: str, cell: str) -> None:
    assert cells(text) == [cell]


@settings(max_examples=100)
@given(st.text(st.characters(exclude_categories=["Cs"]) | st.sampled_from("=+-@'\" \t0,"), max_size=8))
def test_whatever_a_sender_writes_can_be_read_back_and_hides_nothing(text: str) -> None:
    (cell,) = cells(text)
    assert not [sign for sign in cell if unicodedata.category(sign) in ("Cc", "Cf", "Zl", "Zp")]

    def runs(one: str) -> bool:
        formula = re.sub(r"\\x\{(....)\}", r"\\u\1", FORMULA)
        return bool(re.search(formula, one)) and not re.fullmatch(PLAIN_NUMBER[1:-1], one)

    assert not runs(cell) or cell.startswith("'")
    assert (cell[1:] if runs(cell) else cell) == visible(text)
    assert json.loads(visible_json(json.dumps(text, ensure_ascii=False))) == text


def test_every_column_of_the_advice_that_a_sender_writes_in_is_made_harmless_and_the_amount_is_not() -> None:
    schema = kinds_of(Advis)
    texts = dict.fromkeys([name for name, kind in schema.items() if kind == pl.String], "=1")
    rows = pl.DataFrame({name: [texts.get(name)] for name in schema}, schema=schema)
    row = advisering_table(
        rows.with_columns(cpr=pl.lit("@1"), navn=pl.lit("Sygedagpenge"), beloeb_oere=pl.lit(-100, pl.Int64))
    ).row(0, named=True)
    written = ("CPR nummer", "Konto", "IndberetningsID", "Kilde", "Felt", "Værdi", "Tekst", "Handling")
    assert {name: row[name] for name in written} == dict.fromkeys(written, "'=1") | {"CPR nummer": "'@1"}
    assert (row["Beløb"], row["Ydelse"], tuple(row)) == ("-1,00", "Sygedagpenge", ADVIS)
