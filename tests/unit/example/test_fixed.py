"""Rows written in the fixed-width form: they are read as the same rows, and a value without a place is refused."""

from datetime import date
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.raw import NAMES, NOT_IN_4101, typed
from refusion_assets.example import fixed as written
from refusion_assets.example.fixed import Writer
from refusion_assets.files import fixed
from tests.kit.data_root import Row
from tests.kit.fixed_width import fixed_width
from tests.kit.timeline import COLUMNS, CPR, examples, row
from tests.unit.files.test_fixed import rows_of

WEEK = date(2024, 2, 5), date(2024, 2, 11)
LETTERS = st.sampled_from("aAzZ09:-/_.æøåÆØÅé;\"' ")
IDS = st.text(LETTERS, max_size=16).map(str.strip)
SHORT = st.text(st.sampled_from("019"), max_size=4)
DAYS = st.sampled_from(["", "2024-02-05", "2024-02-29", "2024-02-30", "0001-01-01", "9999-99-99", "20x4-0a-!!"])
OERE = st.one_of(
    st.sampled_from(["", "0,00", "-0,01", "-5", "7,5", "9999999999,99", "-9999999999,99", "1,125", "7,0001"]),
    st.integers(0, 10**9).map(lambda oere: f"-{oere // 100},{oere % 100:02}"),
)
TEXT = st.text(LETTERS, max_size=58).map(str.strip)
MOMENTS = st.sampled_from(["", "2024-02-01T00:00:00", "2024-02-01T23:59:59", "2024-02-30T99:99:99"])


@st.composite
def odd_rows(draw: st.DrawFn) -> list[Row]:
    """Rows with odd values that the form has a place for: ids shared or not, unreadable days and amounts."""
    found: list[Row] = []
    for number in range(draw(st.integers(0, 5))):
        back = draw(st.booleans())
        values = dict.fromkeys(COLUMNS, "") | {
            "Lb_nr": str(number + 1),
            "IndberetningsID": draw(st.one_of(IDS, st.sampled_from(["A1", "A2"]))),
            "ReferenceID": draw(IDS),
            "Indberetningsart": "T" if back else "I",
            "Pligt_SE": draw(st.sampled_from(["", "29169000", "29101000", "1"])),
            "Kommunekode": "169",
            "CPR": draw(st.sampled_from(["", CPR, "0000000000", "61", "æ"])),
            "Modtaget_tidspunkt": draw(MOMENTS),
        }
        for name in ("Loenperiode_start", "Loenperiode_slut", "Dispositionsdato"):
            values[name] = draw(DAYS.filter(bool) if back else DAYS)
        values["Indkomsttype"] = draw(st.sampled_from(["06", "0", "xx"] if back else ["", "06", "0", "xx"]))
        if not back:
            se = st.sampled_from(["", "29169000", "0"] if values["CPR"] in {"", "0000000000"} else ["", "29169000"])
            values["Person_SE"] = "" if values["CPR"] == "0000000000" else draw(se)
            values["Indtaegtsart"] = draw(SHORT.filter(lambda art: art != "0000"))
            values |= {name: draw(OERE) for name in COLUMNS if name in written.AMOUNTS}
            values |= {name: draw(TEXT) for name in fixed.TEXTS}
            values |= {name: draw(DAYS) for name in written.WRITTEN_DAYS[3:]}
        found.append(values)
    return found


def typed_rows(lines: list[Row]) -> list[tuple[Any, ...]]:
    """The typed values of rows, with their two masks."""
    schema = dict.fromkeys(NAMES, pl.String)
    read = typed(pl.DataFrame([[line[name] or None for name in NAMES] for line in lines], schema=schema, orient="row"))
    return read.select(*NAMES, "udfyldt", "ulaeselig").rows()


@examples(15)
@given(rows=odd_rows(), block=st.sampled_from([200, 900, 2**20]), at_once=st.integers(1, 3))
def test_rows_written_in_the_form_are_read_as_the_same_rows_however_the_file_is_cut(
    tmp_path_factory: pytest.TempPathFactory, *, rows: list[Row], block: int, at_once: int
) -> None:
    writer, schema = Writer("169"), dict.fromkeys(NAMES, pl.String)
    frame = pl.DataFrame([[line[name] or None for name in NAMES] for line in rows], schema=schema, orient="row")
    data = b"".join(writer.written(part) for part in frame.iter_slices(at_once)) + writer.trailer()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fixed, "BLOCK_BYTES", block)
        found = rows_of(data, tmp_path_factory.getbasetemp())
    assert typed_rows(found) == typed_rows(rows)
    lines = data.decode("latin-1").splitlines()
    assert [lines[int(line["linje"]) - 1][7:11] for line in found] == [
        "4101" if line["Indberetningsart"] == "T" else "6000" for line in rows
    ]


@examples(15)
@given(rows=odd_rows())
def test_rows_written_by_the_table_of_positions_alone_are_read_as_the_same_rows(
    tmp_path_factory: pytest.TempPathFactory, *, rows: list[Row]
) -> None:
    for line in rows:
        line["Modtaget_tidspunkt"] = line["Modtaget_tidspunkt"] or "2024-02-01T00:00:00"
        if line["Indberetningsart"] == "T":
            line.update(dict.fromkeys(NOT_IN_4101, ""))
    found = rows_of(fixed_width(rows), tmp_path_factory.getbasetemp())
    assert typed_rows(found) == typed_rows(rows)


NO_PLACE = [
    ("Indberetningsart", "X"),
    ("Kommunekode", "101"),
    ("Kommunekode", ""),
    ("IndberetningsID", "x" * 17),
    ("IndberetningsID", " x"),
    ("IndberetningsID", "Ω"),
    ("IndberetningsID", "a\tb"),
    ("Pligt_SE", "x" * 9),
    ("CPR", "x" * 11),
    ("CPR", "0" * 10),
    ("Loenperiode_start", "2024-2-5"),
    ("Loenperiode_start", "0000-00-00"),
    ("Indkomsttype", "066"),
    ("Indtaegtsart", "0000"),
    ("Felt0014", "1.234,50"),
    ("Felt0014", "12345678901,00"),
    ("Felt0014", "1,1234567"),
    ("Felt0014", "+1,00"),
    ("Felt0115", "x" * 59),
    ("Felt0214_slut", "20240211"),
    ("Modtaget_tidspunkt", "2024-02-01"),
]


@pytest.mark.parametrize(("column", "value"), NO_PLACE)
def test_a_value_without_a_place_in_the_form_is_refused_by_its_column_and_never_shown(column: str, value: str) -> None:
    good = row("K", *WEEK, 1, Person_SE="29169000" if column == "CPR" else "")
    frame = pl.DataFrame([good, good | {column: value}]).with_columns(pl.all().replace("", None))
    assert Writer("169").written(frame.head(1))
    with pytest.raises(ValueError, match=f"^{column} of row 2 has no place in the fixed-width form$"):
        Writer("169").written(frame)


def test_a_file_in_the_form_has_at_most_so_many_lines_as_seven_digits_count(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = pl.DataFrame([row("K", *WEEK, 1)]).with_columns(pl.all().replace("", None))
    lines = Writer("169").written(rows).count(b"\n")
    monkeypatch.setattr(written, "MOST_LINES", lines)
    writer = Writer("169")
    writer.written(rows)
    with pytest.raises(ValueError, match=f"at most {lines} lines"):
        writer.trailer()
