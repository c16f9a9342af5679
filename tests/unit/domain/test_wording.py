"""Amounts as people read them."""

import pytest

from refusion_assets.domain.wording import kroner_text


@pytest.mark.parametrize(
    ("oere", "text"), [(0, "0,00 kr."), (-5, "-0,05 kr."), (123_456_789, "1.234.567,89 kr."), (100_000, "1.000,00 kr.")]
)
def test_an_amount_is_written_as_a_dane_would(oere: int, text: str) -> None:
    assert kroner_text(oere) == text
