"""How numbers are written in Danish, and that every column has a text."""

from pathlib import Path

import pytest

from refusion_assets.domain.opfoelgning.views import VIEWS
from refusion_assets.report.catalogue import freshen, freshened, kr, pct, promille, signed, tal, visninger, words_of
from tests.kit.data_root import REPO, RULEBOOK

GUIDE = REPO / "docs" / "opfoelgning.md"


@pytest.mark.parametrize(
    ("oere", "text"),
    [
        (0, "0 kr."), (-40, "0 kr."), (49, "0 kr."), (50, "1 kr."), (-50, "−1 kr."), (99_949, "999 kr."),
        (99_950, "1.000 kr."), (-99_950, "−1.000 kr."), (123_456_789, "1.234.568 kr."), (None, "–"),
    ],
)  # fmt: skip
def test_kroner_are_whole_rounded_half_away_from_zero_with_points_and_a_real_minus(oere: int, text: str) -> None:
    assert kr(oere).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(
    ("value", "text"),
    [(366, "36,6 %"), (0, "0,0 %"), (-4, "−0,4 %"), (1000, "100,0 %"), (12345, "1.234,5 %"), (None, "–")],
)
def test_per_mille_is_written_as_per_cent_with_a_decimal_comma(value: int, text: str) -> None:
    assert pct(value).replace("\N{NO-BREAK SPACE}", " ") == text


@pytest.mark.parametrize(("text", "said"), [("1 kr.", "+1 kr."), ("−1 kr.", "−1 kr."), ("0 kr.", "0 kr."), ("–", "–")])
def test_a_change_has_its_sign_and_nothing_has_none(text: str, said: str) -> None:
    assert signed(text) == said


def test_a_change_of_a_tenth_per_cent_is_not_taken_for_nothing() -> None:
    assert signed(pct(5)).startswith("+0,5")
    assert signed(pct(0)).startswith("0,0")


@pytest.mark.parametrize(
    ("part", "whole", "is_"), [(1, 2000, 1), (-1, 2000, -1), (1, 3, 333), (1, -3, -333), (1, 0, None)]
)
def test_a_share_is_rounded_half_away_and_there_is_none_of_nothing(part: int, whole: int, is_: int | None) -> None:
    assert promille(part, whole) == is_


def test_a_count_has_points_between_thousands() -> None:
    assert (tal(1234567), tal(-1), tal(None)) == ("1.234.567", "−1", "–")


def test_every_view_is_on_the_page_once_with_every_column_of_its_contract() -> None:
    shown = {visning.id: set(visning.kolonner) for visning in visninger()}
    assert shown == {name: set(contract.to_schema().columns) for name, contract in VIEWS.items()}


def test_every_table_names_columns_of_its_view() -> None:
    for visning in visninger():
        for tabel in visning.tabeller:
            named = {*tabel.efter, *tabel.vis, *tabel.ialt, *filter(None, [tabel.kryds, tabel.sorter])}
            assert named <= set(visning.kolonner), (visning.id, tabel.titel)
            assert {*tabel.ialt} <= {*tabel.vis}, (visning.id, tabel.titel)


def test_ids_become_names_and_an_unknown_one_is_shown_as_it_is() -> None:
    words = words_of(RULEBOOK)
    assert words["ydelse_id"]("KTH") == "Kontanthjælp"
    assert words["ydelse_id"]("X") == "X"
    assert words["aarsag"]("sen") == "Sene indberetninger"
    assert words["regel"]("EI-010") == "EI-010 Ingen krav er under nul"
    assert words["afsender"]("ky-101") == "Kommunernes Ydelsessystem (ky-101)"
    assert words["afsender"]("") == "ingen fil"
    assert words["trin"](None) == "uden for trappen"


def test_the_column_guide_is_the_one_of_the_contracts() -> None:
    page = GUIDE.read_text("utf-8")
    assert freshened(page) == page, "run `make regelsider`"


def test_a_page_whose_column_guide_is_old_is_written_anew(tmp_path: Path) -> None:
    page = tmp_path / "opfoelgning.md"
    assert not freshen(page)
    page.write_text(GUIDE.read_text("utf-8").replace("Egen andel i pct.", "Gammelt"), encoding="utf-8")
    assert freshen(page)
    assert page.read_text("utf-8") == GUIDE.read_text("utf-8")
    assert not freshen(page)
