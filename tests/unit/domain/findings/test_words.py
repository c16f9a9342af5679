"""What a finding says, and what became of it since the last run."""

import polars as pl
import pytest

from refusion_assets.domain.findings.words import (
    AABEN,
    CPR_FORM,
    FOUND,
    LOEST,
    NOBODY,
    NY,
    REGLER,
    Advis,
    Fund,
    followed,
    found,
    worded,
)
from tests.kit.data_root import RULEBOOK


def test_every_rule_has_one_sentence_and_one_action_without_semicolon_or_digits_of_a_person() -> None:
    assert {kontrol.id for kontrol in RULEBOOK.kontroller} == REGLER
    for kontrol in RULEBOOK.kontroller:
        for text in (kontrol.tekst, kontrol.handling):
            assert text[0].isupper()
            assert text.endswith(".")
            assert ";" not in text
            assert pl.Series([text]).str.contains(CPR_FORM).sum() == 0


def test_every_rule_can_be_worded_when_nothing_is_known() -> None:
    nothing = pl.DataFrame({"regel": sorted(REGLER)}).with_columns(
        pl.lit(None, dtype=kind).alias(name) for name, kind in FOUND.items() if name != "regel"
    )
    rows = worded(nothing, RULEBOOK)
    assert rows.height == len(REGLER)
    assert rows.select("alvor", "felt", "tekst", "handling").null_count().row(0) == (0, 0, 0, 0)
    assert not rows["tekst"].str.contains("[{}]").any()


def test_no_findings_are_no_rows_with_all_columns() -> None:
    rows = worded(pl.DataFrame(schema=FOUND), RULEBOOK)
    assert rows.is_empty()
    assert {"alvor", "tekst", "handling", "felt"} <= set(rows.columns)


def test_a_rule_that_nobody_has_written_down_is_refused() -> None:
    with pytest.raises(KeyError, match="EI-099"):
        worded(found(pl.DataFrame({"borger_id": [1]}), "EI-099", ["borger_id"]), RULEBOOK)


def listed(*keys: str, kommunekode: str = "169") -> pl.DataFrame:
    """Findings with some keys (single letters)."""
    findings = worded(found(pl.DataFrame({"borger_id": range(len(keys))}), "EI-004", ["borger_id"]), RULEBOOK)
    keyed = findings.with_columns(
        noegle=pl.Series([key * 24 for key in keys], dtype=pl.String), kommunekode=pl.lit(kommunekode)
    )
    return Fund.validate(keyed.select(list(Fund.to_schema().columns)))


def still_open(rows: pl.DataFrame) -> pl.DataFrame:
    """What the next run compares with."""
    return rows.filter(pl.col("status") != LOEST)


def statuses(rows: pl.DataFrame) -> dict[str, str]:
    """Status by letter."""
    Advis.validate(rows)
    return {key[0]: status for key, status in rows.select("noegle", "status").iter_rows()}


NONE_BEFORE = pl.DataFrame(schema={name: c.dtype.type for name, c in Advis.to_schema().columns.items()})


def test_a_finding_is_new_then_open_then_solved_once_and_new_again_when_it_returns() -> None:
    rows, seen = NONE_BEFORE, []
    for koersel, keys in enumerate(("ab", "ac", "c", "bc"), 1):
        rows = followed(listed(*keys), still_open(rows), koersel)
        seen.append(statuses(rows))
        assert rows["koersel"].unique().to_list() == [koersel]
    assert seen == [
        {"a": NY, "b": NY},
        {"a": AABEN, "b": LOEST, "c": NY},
        {"a": LOEST, "c": AABEN},
        {"b": NY, "c": AABEN},
    ]


def test_a_finding_that_another_municipality_gets_is_solved_where_it_was_and_new_where_it_is() -> None:
    before = followed(listed("a", kommunekode="169"), NONE_BEFORE, 1)
    after = followed(listed("a", kommunekode=NOBODY), before, 2)
    assert after.select("kommunekode", "status").rows() == [(NOBODY, NY), ("169", LOEST)]
