"""A delivery on disk: a file is taken in only when name, manifest, header and every line are as agreed."""

import hashlib
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.calendar import month_of
from refusion_assets.files import separated
from refusion_assets.files.delivered import (
    REGISTER_HEADERS,
    REGISTER_KEYS,
    REPORT_KEYS,
    FileRejected,
    find,
    read_register,
    read_reports,
)
from tests.kit import timeline
from tests.kit.data_root import (
    NAMES,
    RULEBOOK,
    Row,
    read_csv,
    rewrite,
    write_file,
    write_manifest,
    write_register,
)
from tests.kit.timeline import CPR

MONTH = month_of("2024-02")
KY, BOPAEL = "eindkomst-yr-ky-169-202402-0002.csv", "bopael-202402.csv"


def week(number: int, **changes: str) -> Row:
    """One report of kontanthjælp for one day of February."""
    day = MONTH.replace(day=number)
    return timeline.row("K", day, day, number, **changes)


@pytest.fixture
def reports(tmp_path: Path) -> Path:
    """A good file of one report."""
    return write_file(tmp_path, timeline.fil("K", [week(1)], "2024-02", 2))


@pytest.fixture
def register(tmp_path: Path) -> Path:
    """A good register of one residence."""
    stay = {"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}
    return write_register(tmp_path, "bopael", "2024-02", [stay])


def read(raw: Path) -> list[dict[str, Any]]:
    """The lines of the only file of reports under a data root."""
    (delivery,) = find(raw / "raw", MONTH, RULEBOOK)
    return pl.concat(read_reports(delivery).parts).to_dicts()


def lie(**lies: object) -> Callable[[Path], Any]:
    """A manifest that says something else than the file."""
    return lambda path: write_manifest(path, read_csv(path), **lies)


def say(text: str) -> Callable[[Path], Any]:
    """A manifest that says just this."""
    return lambda path: path.with_suffix(".manifest.json").write_text(text, encoding="utf-8")


def beside(path: Path) -> Path:
    """The manifest of a file."""
    return path.with_suffix(".manifest.json")


def in_manifest(old: str, new: str) -> Callable[[Path], Any]:
    """A manifest with other letters somewhere; they must be there."""

    def spoil(path: Path) -> None:
        text = beside(path).read_text("utf-8")
        assert old in text
        beside(path).write_text(text.replace(old, new, 1), encoding="utf-8")

    return spoil


def without(key: str) -> Callable[[Path], Any]:
    """A manifest without a key."""

    def spoil(path: Path) -> None:
        manifest = json.loads(beside(path).read_text("utf-8"))
        del manifest[key]
        beside(path).write_text(json.dumps(manifest), encoding="utf-8")

    return spoil


def as_it_is(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """The file's bytes changed, with the right hash and the counts of the file as it was."""

    def spoil(path: Path) -> None:
        rows = read_csv(path)
        path.write_bytes(change(path.read_bytes()))
        write_manifest(path, rows)

    return spoil


SPOILT: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("the manifest is missing", "FIL-001", lambda path: path.with_suffix(".manifest.json").unlink()),
    ("the manifest is no JSON", "FIL-001", say("{")),
    ("the manifest is a list", "FIL-001", say("[]")),
    ("the manifest is empty", "FIL-001", say("{}")),
    ("the hash is another", "FIL-001", lie(sha256="0" * 64)),
    ("a byte is another than was hashed", "FIL-001", lambda path: path.write_bytes(path.read_bytes() + b"\n")),
    ("the number of rows lies", "FIL-001", lie(antal_raekker=2)),
    ("the number of reversals lies", "FIL-001", lie(antal_T=1)),
    ("the sum of 0014 lies by an øre", "FIL-001", lie(sum_felt0014="1000.01")),
    ("the sum of 0014 lies by half an øre", "FIL-001", lie(sum_felt0014="1000.005")),
    ("the sum of 0037 lies", "FIL-001", lie(sum_felt0037="-0.01")),
    ("the sum is no number", "FIL-001", lie(sum_felt0014="Infinity")),
    ("the header is in another order", "FIL-002", rewrite(lambda data: data.replace(b"CPR;Person", b"Person;CPR"))),
    ("the header has a column less", "FIL-002", rewrite(lambda data: data.replace(b"Felt0216;", b"", 1))),
    ("a row has a column more", "FIL-002", rewrite(lambda data: data[:-1] + b";x\n")),
    ("a row has a column less", "FIL-002", rewrite(lambda data: data.replace(b";;;", b";;", 1))),
    ("an empty line", "FIL-002", rewrite(lambda data: data + b"\n")),
    ("the text is latin-1", "FIL-002", rewrite(lambda data: data.replace(b";06;", ";ø6;".encode("latin-1")))),
    ("the text begins with a BOM", "FIL-002", rewrite(lambda data: b"\xef\xbb\xbf" + data)),
    ("the lines end with CR LF", "FIL-002", rewrite(lambda data: data.replace(b"\n", b"\r\n"))),
    ("the separator is a comma", "FIL-002", rewrite(lambda data: data.replace(b";", b","))),
    ("the file has no bytes", "FIL-002", rewrite(lambda _: b"")),
    ("the manifest is another file's", "FIL-001", lie(filnavn="eindkomst-yr-ky-169-202402-0001.csv")),
    ("the manifest is another source's", "FIL-001", lie(kilde="ksd")),
    ("the manifest is another municipality's", "FIL-001", lie(enhed="101")),
    ("the manifest has the municipality as a number", "FIL-001", lie(enhed=169)),
    ("the manifest is another month's", "FIL-001", lie(modtaget_maaned="2024-03")),
    ("the number of rows is true", "FIL-001", lie(antal_raekker=True)),
    ("the number of rows has decimals", "FIL-001", lie(antal_raekker=1.0)),
    ("the number of rows is text", "FIL-001", lie(antal_raekker="1")),
    ("the number of rows is a person's number", "FIL-001", lie(antal_raekker=int(CPR))),
    ("the number of reversals is false", "FIL-001", lie(antal_T=False)),
    ("the hash is no text", "FIL-001", lie(sha256=[1])),
    ("the file's name is half a character", "FIL-001", lie(filnavn="\ud800")),
    ("the file's name is a person's number", "FIL-001", lie(filnavn=CPR)),
    ("the sum has digits of another script", "FIL-001", lie(sum_felt0014="١٠٠٠.00")),
    ("the sum has an endless exponent", "FIL-001", lie(sum_felt0014="1e999999999")),
    ("the sum has a decimal comma", "FIL-001", lie(sum_felt0014="1000,00")),
    *((f"the manifest lacks {key}", "FIL-001", without(key)) for key in REPORT_KEYS),
    (
        "a number of the manifest has thousands of digits",
        "FIL-001",
        in_manifest('"antal_raekker": 1', f'"antal_raekker": {"9" * 5000}'),
    ),
    ("a number of the manifest has an endless exponent", "FIL-001", in_manifest('"1000.00"', "1e999999999")),
    ("a number of the manifest is no number", "FIL-001", in_manifest('"1000.00"', "NaN")),
    ("the manifest says a thing twice", "FIL-001", in_manifest('"antal_T": 0', '"antal_T": 1, "antal_T": 0')),
    ("the manifest is a thousand deep", "FIL-001", say("[" * 1_000 + "]" * 1_000)),
    ("the manifest is a hundred thousand deep", "FIL-001", say('{"a":' * 100_000)),
    ("the manifest is longer than any is", "FIL-001", in_manifest("{", "{" + " " * 2**21)),
    (
        "the manifest is not UTF-8",
        "FIL-001",
        lambda path: beside(path).write_bytes(beside(path).read_bytes() + b"\xff"),
    ),
    ("the manifest is UTF-16", "FIL-001", lambda path: beside(path).write_text(beside(path).read_text(), "utf-16")),
    (
        "the manifest begins with a BOM",
        "FIL-001",
        lambda path: beside(path).write_text(beside(path).read_text(), "utf-8-sig"),
    ),
    ("the manifest is a folder", "FIL-001", lambda path: (beside(path).unlink(), beside(path).mkdir())),
    (
        "the manifest is a link to nothing",
        "FIL-001",
        lambda path: (beside(path).unlink(), beside(path).symlink_to("intet")),
    ),
    ("the file is a folder", "FIL-002", lambda path: (path.unlink(), path.mkdir())),
    ("the file waits for a writer", "FIL-002", lambda path: (path.unlink(), os.mkfifo(path))),
    ("the text is UTF-16", "FIL-002", as_it_is(lambda data: data.decode().encode("utf-16"))),
    ("the lines end with CR alone", "FIL-002", as_it_is(lambda data: data.replace(b"\n", b"\r"))),
    ("all lines but the header end with CR LF", "FIL-002", as_it_is(lambda data: data[:-1] + b"\r\n")),
    ("a value has a lone CR", "FIL-002", as_it_is(lambda data: data.replace(b";06;", b";0\r6;"))),
    (
        "a value has a lone CR in a file with quotes",
        "FIL-002",
        as_it_is(lambda data: data.replace(b";06;", b';0\r6;"";', 1)),
    ),
    (
        "a line with quotes ends with CR LF",
        "FIL-002",
        as_it_is(lambda data: data.replace(b";06;", b';"06";')[:-1] + b"\r\n"),
    ),
    ("a quote never closes", "FIL-002", as_it_is(lambda data: data.replace(b";06;", b';"06;'))),
    (
        "a quote never closes in a long file",
        "FIL-002",
        as_it_is(lambda data: data.replace(b";06;", b';"06;') + b";" * 26 + b"\n" * 300_000),
    ),
    ("the last value opens a quote", "FIL-002", as_it_is(lambda data: data[:-20] + b'"' + data[-20:])),
    ("a value goes on after its quote", "FIL-002", as_it_is(lambda data: data.replace(b";06;", b';"06"6;'))),
    (
        "a value is beyond the reader's limit",
        "FIL-002",
        as_it_is(lambda data: data.replace(b";06;", b";" + b"6" * 140_000 + b";")),
    ),
    (
        "a value in quotes is beyond the reader's limit",
        "FIL-002",
        as_it_is(lambda data: data.replace(b";06;", b';"' + b"6" * 140_000 + b'";')),
    ),
]


@pytest.mark.parametrize(("regel", "spoil"), [case[1:] for case in SPOILT], ids=[case[0] for case in SPOILT])
def test_a_file_of_reports_that_is_not_as_agreed_is_rejected(
    tmp_path: Path, reports: Path, regel: str, spoil: Callable[[Path], Any]
) -> None:
    spoil(reports)
    with pytest.raises(FileRejected) as rejected:
        read(tmp_path)
    assert str(rejected.value).startswith(f"{regel} {KY}: ")
    assert CPR not in str(rejected.value)


def test_a_file_that_is_a_link_to_nothing_is_rejected(tmp_path: Path, reports: Path) -> None:
    reports.rename(reports.with_suffix(".gone"))
    reports.symlink_to("intet")
    (delivery,) = find(tmp_path / "raw", MONTH, RULEBOOK)
    with pytest.raises(FileRejected, match=f"FIL-002 {KY}: filen kan ikke åbnes"):
        read_reports(delivery)


@pytest.mark.parametrize(
    ("regel", "spoil"),
    [
        ("FIL-001", lambda path: path.with_suffix(".manifest.json").unlink()),
        ("FIL-001", lie(sha256="0" * 64)),
        ("FIL-001", lie(antal_raekker=2)),
        ("FIL-002", rewrite(lambda data: data.replace(b"CPR", b"Cpr"))),
        ("FIL-002", rewrite(lambda data: data[:-1] + b";x\n")),
        ("FIL-002", rewrite(lambda data: data.replace(b"101", "å01".encode("latin-1")))),
        ("FIL-001", lie(filnavn="bopael-202401.csv")),
        ("FIL-001", lie(modtaget_maaned="2024-01")),
        ("FIL-001", lie(antal_raekker=True)),
        ("FIL-001", say("[" * 1_000)),
        *(("FIL-001", without(key)) for key in REGISTER_KEYS),
        ("FIL-002", as_it_is(lambda data: data.replace(b";101;", b';"101;'))),
        ("FIL-002", as_it_is(lambda data: data.replace(b";101;", b";1\r01;"))),
        ("FIL-002", as_it_is(lambda data: data.replace(b";101;", b';"' + b"1" * 140_000 + b'";'))),
        ("FIL-002", lambda path: (path.unlink(), path.mkdir())),
    ],
)
def test_a_register_that_is_not_as_agreed_is_rejected(register: Path, regel: str, spoil: Callable[[Path], Any]) -> None:
    spoil(register)
    with pytest.raises(FileRejected) as rejected:
        read_register(register, REGISTER_HEADERS["bopael"])
    assert str(rejected.value).startswith(f"{regel} {BOPAEL}: ")


def test_a_good_file_gives_its_lines_as_text_numbered_as_in_the_file(tmp_path: Path) -> None:
    rows = [week(1, Felt0014="x"), week(2, Felt0037="-7,5"), week(3, Indberetningsart="T", ReferenceID="I1")]
    write_file(tmp_path, timeline.fil("K", rows, "2024-02", 2))
    found = read(tmp_path)
    assert [line.pop("linje") for line in found] == [2, 3, 4]
    assert found == [{name: row[name] or None for name in NAMES} for row in rows]


def test_a_file_without_rows_is_a_delivery(tmp_path: Path) -> None:
    write_file(tmp_path, timeline.fil("K", [], "2024-02", 2))
    assert read(tmp_path) == []


def test_sums_are_compared_as_numbers_and_unreadable_amounts_count_as_0(tmp_path: Path) -> None:
    rows = [week(1, Felt0014="-2,5"), week(2, Felt0014="1.000,00"), week(3, Felt0014=""), week(4, Felt0014="1")]
    path = write_file(tmp_path, timeline.fil("K", rows, "2024-02", 2))
    for text in ("-1.50", "-1.5", "-1.500"):
        write_manifest(path, rows, sum_felt0014=text)
        assert len(read(tmp_path)) == 4


def test_what_a_manifest_says_besides_where_the_file_lies_and_what_is_in_it_is_not_compared(
    tmp_path: Path, reports: Path
) -> None:
    sha256 = hashlib.sha256(reports.read_bytes()).hexdigest().upper()
    write_manifest(reports, [week(1)], sha256=sha256, loebenr=7, oprettet="i går", skemaversion=2, mere={"a": [1.5]})
    assert len(read(tmp_path)) == 1


def test_a_sum_may_be_a_number(tmp_path: Path, reports: Path) -> None:
    write_manifest(reports, [week(1)], sum_felt0014=1000, sum_felt0037=0.0)
    assert len(read(tmp_path)) == 1


def test_a_line_end_in_quotes_is_text_however_it_is_written(tmp_path: Path, reports: Path) -> None:
    as_it_is(lambda data: data.replace(b";06;", b';"0\r6";').replace(b"K00000001", b'"K\r\n\n\x001"'))(reports)
    (line,) = read(tmp_path)
    assert (line["Indkomsttype"], line["IndberetningsID"], line["linje"]) == ("0\r6", "K\r\n\n\x001", 2)


def test_values_in_quotes_are_the_same_values(tmp_path: Path, reports: Path) -> None:
    plain = read(tmp_path)
    rewrite(lambda data: data.replace(b";06;", b';"06";').replace(b";;;", b';"";;', 1))(reports)
    assert read(tmp_path) == plain


def test_a_quote_within_a_value_is_text(tmp_path: Path, reports: Path) -> None:
    rewrite(lambda data: data.replace(b"K00000001", b'K0"0000001'))(reports)
    write_manifest(reports, [week(1)])
    assert [line["IndberetningsID"] for line in read(tmp_path)] == ['K0"0000001']


@pytest.mark.parametrize("size", [1, 200, 10_000])
@pytest.mark.parametrize("text", [b"06", b'"06"', b'"0\n6"'], ids=["plain", "quoted", "quoted over two lines"])
def test_a_file_read_in_blocks_of_any_size_gives_the_same_lines(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, size: int, text: bytes
) -> None:
    reports = write_file(tmp_path, timeline.fil("K", [week(n, Felt0014=f"{n},5") for n in range(1, 8)], "2024-02", 2))
    rewrite(lambda data: data.replace(b";06;", b";" + text + b";", 1))(reports)
    whole = read(tmp_path)
    assert [line["linje"] for line in whole] == list(range(2, 9))
    monkeypatch.setattr(separated, "BLOCK_BYTES", size)
    assert read(tmp_path) == whole
    reports.write_bytes(reports.read_bytes()[:-1])
    write_manifest(reports, read_csv(reports))
    assert read(tmp_path) == whole
    write_manifest(reports, read_csv(reports), sum_felt0014="28.50")
    with pytest.raises(FileRejected, match="FIL-001"):
        read(tmp_path)


def test_a_row_of_nothing_but_separators_is_a_row(tmp_path: Path, reports: Path) -> None:
    data = reports.read_bytes() + b";" * 26 + b"\n"
    reports.write_bytes(data)
    write_manifest(reports, read_csv(reports))
    assert [line["CPR"] for line in read(tmp_path)] == [CPR, None]


def test_a_run_sees_the_files_received_through_its_month_and_no_other(tmp_path: Path, reports: Path) -> None:
    for month, number in (("2023-12", 9), ("2024-03", 3)):
        write_file(tmp_path, timeline.fil("K", [week(1)], month, number))
    (reports.parent / ".eindkomst.swp").write_bytes(b"")
    (tmp_path / "raw" / "ky" / "2024-xx").mkdir()
    assert [(d.kilde, d.enhed, d.maaned, d.loebenr) for d in find(tmp_path / "raw", MONTH, RULEBOOK)] == [
        ("ky", "169", month_of("2023-12"), 9),
        ("ky", "169", MONTH, 2),
    ]
