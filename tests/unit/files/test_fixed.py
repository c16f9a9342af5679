"""The fixed-width form: its records give the same rows as the CSV, and a file that is not in the form says why."""

import json
from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.classified import judge
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.raw import BIT, NAMES, typed
from refusion_assets.example.fixed import Writer
from refusion_assets.files import fixed
from refusion_assets.files.delivered import FileRejected, find, read_reports
from refusion_assets.files.fixed import look_through
from refusion_assets.files.separated import Unreadable
from tests.kit.data_root import RULEBOOK, Row, write_manifest
from tests.kit.fixed_width import fixed_width, numbered, put
from tests.kit.timeline import COLUMNS, CPR

MONTH = month_of("2024-02")
NAME = "eindkomst-yr-ky-169-202402-0001.txt"
WEEK = date(2024, 2, 5), date(2024, 2, 11)
# The sample of data_formats.md 2.2, as it stands there.
SAMPLE = """\
0000001100020240311041209112233441122334401                                              KSD7302403000H000512.0T                                E
00000022001                11223344 DKK
00000034101KSD7302403000018KSD7302402000911 J7212754321
00000045000 KSD7302403000019                202402052024021120240213 B00007
00000056000000000007212754321                                                    0103
0000006600100140000002347500000+
000000760040115urn:oio:kommune:konto:557711013
0000008600402142024020520240211
000000999990000009
"""  # noqa: E501  the lines of a record are as long as they are
HEAD = ["100020240201120000", put(39, p8="2001", p28="29169000", p37="DKK")]
REPORT = put(75, p8="5000", p13="A1", p45="20240205", p53="20240211", p61="20240211", p70="B", p74="06")
PERSON = put(95, p8="6000", p20=CPR, p82="0041")
MONEY = "600100140000001000000000+"


def rows_of(data: bytes, folder: Path, kommune: str | None = "169") -> list[Row]:
    """The rows of a file with these bytes, empty for null."""
    path = folder / NAME
    path.write_bytes(data)
    looked = look_through(path, kommune)
    if looked.fault:
        raise Unreadable(looked.fault)
    found = pl.concat(looked.parts)
    return [{name: str(value or "") for name, value in line.items()} for line in found.iter_rows(named=True)]


def only(posts: list[str], folder: Path) -> Row:
    """The one row of a file of these records."""
    [found] = rows_of(numbered(posts), folder)
    return found


def with_posts(*posts: str) -> list[str]:
    """A report of one person with these records under it."""
    return [*HEAD, REPORT, PERSON, *posts]


def text(felt: str, value: str) -> str:
    """A record 6004 as its text is given, blanks and all."""
    return f"6004{felt}{value}"


def test_the_sample_of_the_format_gives_a_reversal_of_one_person_and_his_report_of_half_the_amount(
    tmp_path: Path,
) -> None:
    back, report = rows_of(SAMPLE.encode("latin-1"), tmp_path, "730")
    assert {name: value for name, value in back.items() if value} == {
        "linje": "3",
        "Lb_nr": "1",
        "IndberetningsID": "KSD7302403000018",
        "ReferenceID": "KSD7302402000911",
        "Indberetningsart": "T",
        "Pligt_SE": "11223344",
        "Kommunekode": "730",
        "CPR": "7212754321",
        "Modtaget_tidspunkt": "2024-03-11T04:12:09",
    }
    assert {name: value for name, value in report.items() if value} == {
        "linje": "5",
        "Lb_nr": "2",
        "IndberetningsID": "KSD7302403000019",
        "Indberetningsart": "I",
        "Pligt_SE": "11223344",
        "Kommunekode": "730",
        "CPR": "7212754321",
        "Loenperiode_start": "2024-02-05",
        "Loenperiode_slut": "2024-02-11",
        "Dispositionsdato": "2024-02-13",
        "Indkomsttype": "07",
        "Indtaegtsart": "0103",
        "Felt0014": "2347,50",
        "Felt0115": "urn:oio:kommune:konto:557711013",
        "Felt0214_start": "2024-02-05",
        "Felt0214_slut": "2024-02-11",
        "Modtaget_tidspunkt": "2024-03-11T04:12:09",
    }


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0000002347500000+", "2347,50"),
        ("0000002347500000-", "-2347,50"),
        ("0000000000000000+", "0,00"),
        ("0000000000010000-", "-0,01"),
        ("9999999999990000+", "9999999999,99"),
        ("0000002347501000+", "?"),  # a tenth of an øre
        ("0000002347500001+", "?"),
        ("0000002347500000 ", "?"),
        ("0000002347500000", "?"),
        ("       2347500000+", "?"),
        ("00000023475 0000+", "?"),
        ("000000234750000²+", "?"),
        ("0000002347500000+x", "?"),  # more than its place holds
        ("", "?"),
    ],
)
def test_an_amount_is_read_only_from_ten_digits_whole_oere_and_a_sign(tmp_path: Path, written: str, read: str) -> None:
    assert only(with_posts(f"60010014{written}"), tmp_path)["Felt0014"] == read


def test_an_amount_that_stands_twice_under_a_person_is_neither_summed_nor_the_last_one(tmp_path: Path) -> None:
    found = only(with_posts(MONEY, MONEY, "600100460000000010000000+"), tmp_path)
    assert (found["Felt0014"], found["Felt0046"]) == ("?", "10,00")
    lines = pl.DataFrame([found], schema_overrides={"linje": pl.String}).with_columns(pl.all().replace("", None))
    assert typed(lines)["ulaeselig"].item() == BIT["Felt0014"]


def test_two_accounts_under_one_field_are_an_account_that_nobody_has(tmp_path: Path) -> None:
    posts = with_posts(text("0115", "urn:a"), text("0115", "urn:b"), text("0216", CPR), text("0216", CPR))
    found = only(posts, tmp_path)
    assert (found["Felt0115"], found["Felt0216"]) == ("urn:a | urn:b", f"{CPR} | {CPR}")


@pytest.mark.parametrize(
    ("written", "start", "slut"),
    [
        ("2024020520240211", "2024-02-05", "2024-02-11"),
        ("2024020520240211".rjust(58), "2024-02-05", "2024-02-11"),
        ("20240205", "2024-02-05", ""),
        ("20240205" + "0" * 8, "2024-02-05", ""),
        (("20240205" + " " * 8).rjust(58), "2024-02-05", ""),
        (" " * 8 + "20240211", "", "2024-02-11"),
        ("0" * 8 + "20240211", "", "2024-02-11"),
        ("20240211".rjust(58), "", "2024-02-11"),
        ("0" * 16, "", ""),
        ("", "", ""),
        ("2024020520240230", "2024-02-05", "2024-02-30"),
        ("   20240205", "?", "?"),  # which of the two days?
        ("202402052024021", "?", "?"),
        ("20240205202402111", "?", "?"),
        ("20240205-20240211", "?", "?"),
    ],
)
def test_a_period_is_two_days_of_which_one_may_be_missing(tmp_path: Path, written: str, start: str, slut: str) -> None:
    found = only(with_posts(text("0214", written)), tmp_path)
    assert (found["Felt0214_start"], found["Felt0214_slut"]) == (start, slut)


def test_a_period_that_stands_twice_is_unreadable(tmp_path: Path) -> None:
    found = only(with_posts(text("0215", "2024020520240211"), text("0215", "2024020520240211")), tmp_path)
    assert (found["Felt0215_start"], found["Felt0215_slut"]) == ("?", "?")


@pytest.mark.parametrize(
    ("cpr", "se", "read"),
    [
        (CPR, "0" * 8, (CPR, "")),
        ("0" * 10, "29169000", ("", "29169000")),
        ("", "29169000", ("", "29169000")),
        ("0" * 10, "", ("0" * 10, "")),
        ("0" * 10, "0" * 8, ("0" * 10, "0" * 8)),
        (CPR, "29169000", (CPR, "29169000")),
    ],
)
def test_a_number_of_zeros_is_no_number_where_the_other_one_is_given(
    tmp_path: Path, cpr: str, se: str, read: tuple[str, str]
) -> None:
    found = only([*HEAD, REPORT, put(95, p8="6000", p20=cpr, p30=se)], tmp_path)
    assert (found["CPR"], found["Person_SE"]) == read


@pytest.mark.parametrize(
    ("head", "read"),
    [
        ("20240201120000", "2024-02-01T12:00:00"),
        ("20240201000000", "2024-02-01T00:00:00"),
        ("00000000000000", ""),
        ("", ""),
        ("20240201", "2024-02-01T?"),
        ("        120000", "?T12:00:00"),
        ("20240230250000", "2024-02-30T25:00:00"),
    ],
)
def test_the_moment_of_receipt_is_that_of_the_1000_above(tmp_path: Path, head: str, read: str) -> None:
    found = only([f"1000{head}", HEAD[1], REPORT, PERSON], tmp_path)
    assert found["Modtaget_tidspunkt"] == read


def test_a_row_takes_the_last_1000_2001_and_5000_above_it(tmp_path: Path) -> None:
    other = [put(39, p8="2001", p28="29101000"), put(75, p8="5000", p13="B1", p29="A0", p45="20240101")]
    posts = [*HEAD, REPORT, PERSON, PERSON, "100020240202120000", PERSON, *other, PERSON]
    found = rows_of(numbered(posts), tmp_path)
    assert [(line["linje"], line["Lb_nr"], line["IndberetningsID"], line["ReferenceID"]) for line in found] == [
        ("4", "1", "A1", ""),
        ("5", "2", "A1", ""),
        ("7", "3", "A1", ""),
        ("10", "4", "B1", "A0"),
    ]
    assert [line["Pligt_SE"] for line in found] == ["29169000"] * 3 + ["29101000"]
    assert [line["Modtaget_tidspunkt"][8:10] for line in found] == ["01", "01", "02", "02"]


@pytest.mark.parametrize(("mark", "art"), [("J", "T"), ("N", "T"), (" ", "T?"), ("X", "T?")])
def test_j_and_n_are_reversals_and_another_mark_cannot_be_read_but_is_counted(
    tmp_path: Path, mark: str, art: str
) -> None:
    found = only([*HEAD, put(55, p8="4101", p12="T1", p28="A1", p45=mark)], tmp_path)
    assert (found["Indberetningsart"], found["CPR"]) == (art, "")


def test_a_reversal_has_the_days_of_the_5000_just_under_it_only_if_that_has_its_own_id(tmp_path: Path) -> None:
    back = put(55, p8="4101", p12="A1", p28="A0", p45="J", p46=CPR)
    other = REPORT.replace("A1", "A2")
    own, bare = rows_of(numbered([*HEAD, back, REPORT, back, other, PERSON]), tmp_path)[:2]
    assert (own["Loenperiode_start"], own["Dispositionsdato"], own["Indkomsttype"]) == (
        "2024-02-05",
        "2024-02-11",
        "06",
    )
    assert (bare["Loenperiode_start"], bare["Dispositionsdato"], bare["Indkomsttype"]) == ("", "", "")


def test_nobody_asks_a_reversal_for_what_its_record_has_no_place_for_but_for_its_reference(tmp_path: Path) -> None:
    posts = [*HEAD, *(put(55, p8="4101", p12=own, p28=of, p45="J") for own, of in (("T1", "A1"), ("T2", "")))]
    rows = rows_of(numbered(posts), tmp_path)
    lines = pl.DataFrame(rows).with_columns(pl.all().replace("", None)).cast({"linje": pl.Int64})
    about = {"fil_id": pl.lit(1, pl.Int64), "kilde": pl.lit("ky"), "enhed": pl.lit("169")}
    for fast, rules in ((True, [None, "EI-001"]), (False, ["EI-001", "EI-001"])):
        judged = judge(typed(lines.with_columns(**about, fast_form=pl.lit(fast))), RULEBOOK)
        assert judged["regel"].to_list() == rules
        ending = "txt" if fast else "csv"
        fil = Fil(f"x.{ending}", "ky", "169", "2024-02", "", [{name: line[name] for name in NAMES} for line in rows])
        assert [found.regel for found in plain_judge([fil], RULEBOOK).karantaene] == list(filter(None, rules))


def test_records_and_fields_that_a_row_does_not_have_are_passed_over(tmp_path: Path) -> None:
    more = [f"{post}0200X" for post in ("6002", "6003", "6005", "6102", "6202", "6111")]
    posts = [*HEAD, "2101x", "2111x", "3101x", REPORT, PERSON, *more, "600100130000001000000000+", "60040200x", MONEY]
    found = only([*posts, "8001x"], tmp_path)
    assert {name for name, value in found.items() if value and name.startswith("Felt")} == {"Felt0014"}


GOOD = [*HEAD, REPORT, PERSON, MONEY]
WRONG: list[tuple[str, str, Callable[[bytes], bytes]]] = [
    ("nothing", "slutposten 9999 mangler", lambda _: b""),
    ("no trailer", "slutposten 9999 mangler", lambda data: data[: data.index(b"00000069999")]),
    ("no trailer and no rows", "slutposten 9999 mangler", lambda data: data[: data.index(b"0000003")]),
    ("a count too low", "linje 6 er slutposten 9999, men tæller ikke", lambda data: data[:-2] + b"5\n"),
    ("no count", "linje 6 er slutposten 9999, men tæller ikke", lambda data: data[:-8] + b"\n"),
    ("a count in letters", "linje 6 er slutposten 9999, men tæller ikke", lambda data: data[:-8] + b"seks\n"),
    ("a line after the trailer", "linje 7 står efter slutposten 9999", lambda data: data + b"00000076000\n"),
    ("an empty line at the end", "linje 7 står efter slutposten 9999", lambda data: data + b"\n"),
    ("an empty line", "linje 2 er for kort", lambda data: data.replace(b"0000002", b"\n0000002")),
    ("a line of a number alone", "linje 2 er for kort", lambda data: data.replace(b"0000002", b"0000002\n0000002", 1)),
    ("a number twice", "linje 4 har ikke sit eget nummer", lambda data: data.replace(b"0000004", b"0000003")),
    ("a number in blanks", "linje 4 har ikke sit eget nummer", lambda data: data.replace(b"0000004", b"      4")),
    ("an unknown record", "linje 5 har en ukendt posttype", lambda data: data.replace(b"00000056001", b"00000057001")),
    ("another first record", "linje 1 er den første og er ikke post 1000", lambda _: numbered(HEAD[1:])),
    ("a report without payer", "linje 2 har ingen post 2001 over sig", lambda _: numbered([HEAD[0], REPORT])),
    ("a reversal without payer", "linje 2 har ingen post 2001", lambda _: numbered([HEAD[0], "4101T1"])),
    ("a person without report", "linje 3 har ingen post 5000 over sig", lambda _: numbered([*HEAD, PERSON])),
    (
        "a person under a new payer",
        "linje 6 har ingen post 5000 over sig",
        lambda _: numbered([*HEAD, REPORT, PERSON, HEAD[1], PERSON]),
    ),
    ("an amount without person", "linje 4 hører til en person", lambda _: numbered([*HEAD, REPORT, MONEY])),
    (
        "an amount under a reversal",
        "linje 4 hører til en person",
        lambda _: numbered([*HEAD, put(55, p8="4101", p12="T", p45="J"), MONEY]),
    ),
    ("a NUL", "linje 4 har et styretegn", lambda data: data.replace(b"0041", b"00\x001")),
    ("a tabulator", "linje 4 har et styretegn", lambda data: data.replace(b"0041", b"00\t1")),
    ("a lone CR", "linje 4 har et styretegn", lambda data: data.replace(b"0041", b"00\r1")),
    ("a control of ISO-8859-1", "linje 4 har et styretegn", lambda data: data.replace(b"0041", b"00\x851")),
    ("UTF-16", "linje 1 har et styretegn", lambda data: data.decode().encode("utf-16-le")),
    ("a BOM", "filen begynder med et BOM-mærke", lambda data: b"\xef\xbb\xbf" + data),
    ("a CSV", "filen er CSV og skal have endelsen .csv", lambda _: (";".join(COLUMNS) + "\n").encode()),
    ("a line without end", "længere end 100000 tegn", lambda data: data[:-1] + b" " * 200_000),
    ("a line too long", "længere end 100000 tegn", lambda data: data.replace(b"0041", b"0041" + b" " * 100_000)),
]  # fmt: skip


@pytest.mark.parametrize("block", [100, 2**20])
@pytest.mark.parametrize(("said", "spoil"), [case[1:] for case in WRONG], ids=[case[0] for case in WRONG])
def test_a_file_that_is_not_in_the_form_is_refused_in_words_that_name_the_line_and_nobody(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: str, spoil: Callable[[bytes], bytes], block: int
) -> None:
    monkeypatch.setattr(fixed, "BLOCK_BYTES", block)
    data = numbered(GOOD)
    assert spoil(data) != data
    path = tmp_path / "raw" / "ky" / "2024-02" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(spoil(data))
    write_manifest(path, [], antal_raekker=1, sum_felt0014="1000.00")
    (delivery,) = find(tmp_path / "raw", MONTH, RULEBOOK)
    with pytest.raises(FileRejected) as rejected:
        list(read_reports(delivery).parts)
    assert str(rejected.value).startswith(f"FIL-002 {NAME}: ")
    assert said in str(rejected.value)
    assert CPR not in str(rejected.value)


def test_a_person_may_have_100_000_lines_and_no_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fixed, "MOST_OF_A_PERSON", 8)
    monkeypatch.setattr(fixed, "BLOCK_BYTES", 16)
    assert rows_of(numbered(with_posts(*["60029999"] * 7)), tmp_path)
    with pytest.raises(Unreadable, match="linje 4 har over 8 linjer under sig"):
        rows_of(numbered(with_posts(*["60029999"] * 8)), tmp_path)


@pytest.mark.parametrize(
    ("regel", "lies"),
    [
        ("FIL-001", {"sha256": "0" * 64}),
        ("FIL-001", {"antal_raekker": 3}),
        ("FIL-001", {"antal_T": 0}),
        ("FIL-001", {"sum_felt0014": "999.00"}),
        ("FIL-001", {"filnavn": NAME.replace("txt", "csv")}),
        (None, {}),
    ],
)
def test_the_manifest_of_a_file_in_the_form_is_proved_as_that_of_a_csv(
    tmp_path: Path, regel: str | None, lies: dict[str, Any]
) -> None:
    path = tmp_path / "raw" / "ky" / "2024-02" / NAME
    path.parent.mkdir(parents=True)
    path.write_bytes(numbered([*GOOD, put(55, p8="4101", p12="T1", p28="A0", p45="X")]))
    write_manifest(path, [], **({"antal_raekker": 2, "antal_T": 1, "sum_felt0014": "1000.00"} | lies))
    (delivery,) = find(tmp_path / "raw", MONTH, RULEBOOK)
    if regel is None:
        assert sum(part.height for part in read_reports(delivery).parts) == 2
        return
    with pytest.raises(FileRejected, match=regel) as rejected:
        list(read_reports(delivery).parts)
    if "sha256" in lies:
        path.with_suffix(".manifest.json").write_text(json.dumps({}))
    assert next(iter(lies)) in str(rejected.value)


def test_a_file_of_heads_alone_is_a_delivery_of_no_rows(tmp_path: Path) -> None:
    assert rows_of(numbered(HEAD), tmp_path) == []
    assert rows_of(Writer("169").trailer(), tmp_path) == []
    assert rows_of(fixed_width([]), tmp_path) == []


def test_lines_may_end_with_cr_lf_and_the_last_one_with_nothing(tmp_path: Path) -> None:
    data = numbered(GOOD)
    for other in (data.replace(b"\n", b"\r\n"), data[:-1], data.replace(b"\n", b"\r\n")[:-2]):
        assert rows_of(other, tmp_path) == rows_of(data, tmp_path)


def test_letters_are_those_of_iso_8859_1_or_of_utf_8_where_the_whole_file_is(tmp_path: Path) -> None:
    posts = [*HEAD, REPORT, PERSON[:37] + "Ærø" + PERSON[40:], text("0115", "urn:å")]
    data = numbered(posts)
    for encoded in (data, data.decode("latin-1").encode("utf-8")):
        [found] = rows_of(encoded, tmp_path)
        assert (found["Felt0115"], found["Indtaegtsart"]) == ("urn:å", "0041")
