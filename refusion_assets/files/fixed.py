"""Fixed: the fixed-width form of eIndkomst, read as the rows of the contract.

Records, positions and choices: docs/fast-form.md. Source: input.md section 6; data_formats.md section 2.
"""

import hashlib
import re
from collections.abc import Iterator
from functools import cache
from itertools import chain, pairwise
from pathlib import Path

import polars as pl

from refusion_assets.domain.raw import AMOUNTS, NAMES
from refusion_assets.files.separated import LONGEST, Looked, Unreadable, opened

# Record, field, first position (from 1) and length. The fields in OPEN go on to the end of the line: nothing that
# stands too far to the right is cut off in silence.
PLACES = {
    "1000": {"dato": (12, 8), "tid": (20, 6), "version": (106, 3), "art": (109, 1), "register": (142, 1)},
    "2001": {"Pligt_SE": (28, 8), "valuta": (37, 3)},
    "4101": {"IndberetningsID": (12, 16), "ReferenceID": (28, 16), "tilbage": (45, 1), "CPR": (46, 10)},
    "5000": {
        "IndberetningsID": (13, 16),
        "ReferenceID": (29, 16),
        "Loenperiode_start": (45, 8),
        "Loenperiode_slut": (53, 8),
        "Dispositionsdato": (61, 8),
        "bagud": (70, 1),
        "Indkomsttype": (74, 2),
    },
    "6000": {"CPR": (20, 10), "Person_SE": (30, 8), "Indtaegtsart": (82, 4)},
    "6001": {"felt": (12, 4), "kroner": (16, 10), "decimaler": (26, 6), "fortegn": (32, 1)},
    "6004": {"felt": (12, 4), "tekst": (16, 58)},
    "9999": {"antal": (12, 7)},
}
OPEN = {("4101", "CPR"), ("6001", "fortegn"), ("6004", "tekst"), ("9999", "antal")}
ROW = ["6000", "4101"]
OF_PERSON = ["6001", "6002", "6003", "6004", "6005", "6102", "6202", "6111"]
PASSED_OVER = ["2101", "2111", "3101", "8001"]
KNOWN = [*(set(PLACES) - {"6001", "6004"}), *OF_PERSON, *PASSED_OVER]
HEADS = ["1000", "2001", "5000", "9999"]
TEXTS, PERIODS = ("Felt0114", "Felt0115", "Felt0216"), ("Felt0214", "Felt0215")
DAYS = ("Loenperiode_start", "Loenperiode_slut", "Dispositionsdato")
UNREADABLE = "?"
# A 4101 whose mark is neither J nor N: it is counted as a reversal, but cannot be read as one (EI-001).
ODD_REVERSAL = "T?"
BLOCK_BYTES = 16 * 2**20
MOST_OF_A_PERSON = 100_000
BOM = "filen begynder med et BOM-mærke, og den faste form er ISO-8859-1 uden mærke"
SEPARATED = "filen er CSV og skal have endelsen .csv"
CONTROLS = bytes(sorted({*range(32), 127} - {*b"\n\r"}))
UPPER_CONTROLS = bytes(range(128, 160))
NOTHING = pl.lit(None, dtype=pl.String)


def look_through(path: Path, kommune: str | None) -> Looked:
    """A file in the fixed-width form, read once for its hash and its signs; `kommune`: the municipality that sends it.

    The text is ISO-8859-1, or UTF-8 where all of it is. A line ends with LF or CR LF. The faults of records are first
    seen in the parts. Source: input.md section 6 (FIL-002).
    """
    sha256, first, lines, plain, utf8 = hashlib.sha256(), b"", 0, True, True
    control = upper = None
    for block in _blocks(path):
        sha256.update(block)
        first = first or block[:LONGEST].partition(b"\n")[0]
        if not block.isascii():
            plain, utf8 = False, utf8 and _is_utf8(block)
            upper = upper or _line_of(block, UPPER_CONTROLS, lines)
        control = control or _line_of(block, CONTROLS, lines) or _line_of(block, b"\r", lines)
        lines += block.count(b"\n")
    control = control or (upper if not utf8 else None)
    fault = None
    if first.startswith(b"\xef\xbb\xbf"):
        fault = BOM
    elif b";" in first and first[7:11] != b"1000":
        fault = SEPARATED
    elif control:
        fault = f"linje {control} har et styretegn"
    return Looked(sha256.hexdigest(), fault, _rows(path, "utf-8" if utf8 and not plain else "latin-1", kommune))


def _blocks(path: Path) -> Iterator[bytes]:
    """The bytes of a file: whole lines, so many at a time that memory is bounded."""
    rest = b""
    with opened(path) as file:
        while block := file.read(BLOCK_BYTES):
            whole, end, rest = (rest + block).rpartition(b"\n")
            if end:
                yield whole + end
            if len(rest) > LONGEST:
                raise Unreadable(f"en linje er længere end {LONGEST} tegn")
    if rest:
        yield rest


def _is_utf8(block: bytes) -> bool:
    try:
        return bool(block.decode("utf-8"))
    except UnicodeDecodeError:
        return False


def _line_of(block: bytes, signs: bytes, before: int) -> int | None:
    """The line of the first of some signs in a block that follows so many lines; CR counts if no LF comes after it."""
    if signs == b"\r":
        block = block.replace(b"\r\n", b"\n") if b"\r" in block else b""
    if len(block.translate(None, delete=signs)) == len(block):
        return None
    found = re.search(b"[" + re.escape(signs) + b"]", block)
    return None if found is None else before + 1 + block.count(b"\n", 0, found.start())


def _rows(path: Path, encoding: str, kommune: str | None) -> Iterator[pl.DataFrame]:
    """The rows of a file as text, some at a time: the columns of the contract, and `linje`, the line of its record.

    Unreadable on a record that is unknown, out of order, or not numbered as its line, or without the trailer 9999.
    """
    kept = pl.DataFrame(schema={"linje": pl.Int64, "tekst": pl.String, "post": pl.String})
    lines = rows = 0
    for block, following in pairwise(chain(_blocks(path), [None])):
        text = (block or b"").decode(encoding).replace("\r\n", "\n").removesuffix("\n").split("\n")
        fresh = _numbered(pl.DataFrame({"tekst": text}), lines)
        frame = pl.concat([kept, fresh])
        _prove(frame, lines)
        lines += fresh.height
        whole, kept = (frame, kept.clear()) if following is None else _cut(frame)
        if following is not None or frame["post"][-1] == "9999":
            part = _as_rows(whole, rows, kommune)
            rows += part.height
            yield part
    if not lines or frame["post"][-1] != "9999":
        raise Unreadable("slutposten 9999 mangler")


def _cut(frame: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The lines of whole persons, and those that the next block goes on from: the last heads and the last person."""
    last = frame.select(pl.col("linje").filter(pl.col("post").is_in(ROW)).max()).item()
    whole = frame if last is None else frame.filter(pl.col("linje") < last)
    rest = frame.clear() if last is None else frame.filter(pl.col("linje") >= last)
    if rest.height > MOST_OF_A_PERSON:
        raise Unreadable(f"linje {last} har over {MOST_OF_A_PERSON} linjer under sig")
    heads = whole.filter(pl.col("post").is_in(HEADS)).group_by("post").last().select(frame.columns).sort("linje")
    return whole, pl.concat([heads, rest])


def _numbered(fresh: pl.DataFrame, before: int) -> pl.DataFrame:
    """Lines with their number in the file and their record."""
    number = pl.int_range(before + 1, before + pl.len() + 1, dtype=pl.Int64)
    return fresh.select(linje=number, tekst="tekst", post=pl.col("tekst").str.slice(7, 4))


def _piece(line: str | pl.Expr, post: str, felt: str) -> pl.Expr:
    """A field of a record without blanks around it; null if there is nothing else."""
    first, length = PLACES[post][felt]
    text = pl.col(line) if isinstance(line, str) else line
    text = text.str.slice(first - 1, None if (post, felt) in OPEN else length).str.strip_chars(" ")
    return pl.when(text != "").then(text)


def _prove(frame: pl.DataFrame, proved: int) -> None:
    """Unreadable with the first line that cannot stand where it does, of those after the number `proved`."""
    wrong, said = _wrong()
    found = frame.lazy().select("linje", fault=wrong).filter(pl.col("linje") > proved, pl.col("fault").is_not_null())
    for number, fault in found.head(1).collect().iter_rows():
        raise Unreadable(f"linje {number} {said[fault]}")


# Said once and kept: Polars takes longer to be told what to cut out of a small file than to cut it.
@cache
def _wrong() -> tuple[pl.Expr, list[str]]:
    """The place of a line's first fault in the list of the faults' texts, or null; and that list."""
    post, linje, text = pl.col("post"), pl.col("linje"), pl.col("tekst")
    above = pl.when(post.is_in([*ROW, "1000", "2001", "5000"])).then(post).forward_fill().shift(1)
    report = pl.when(post.is_in(["2001", "5000"])).then(post).forward_fill()
    payer = pl.when(post == "2001").then(post).forward_fill()
    ended = pl.when(post == "9999").then(post).forward_fill().shift(1)
    count = _piece("tekst", "9999", "antal")
    counted = pl.when(count.str.contains("^[0-9]{1,7}$")).then(count).cast(pl.Int64, strict=False)
    faults = {
        "står efter slutposten 9999": ended.is_not_null(),
        "er for kort til et linjenummer og en posttype": text.str.len_bytes() < 11,
        "har ikke sit eget nummer i de første syv tegn": text.str.slice(0, 7) != linje.cast(pl.String).str.zfill(7),
        "har en ukendt posttype": ~post.is_in(KNOWN),
        "er den første og er ikke post 1000": (linje == 1) & (post != "1000"),
        "har ingen post 2001 over sig": post.is_in(["4101", "5000"]) & payer.is_null(),
        "har ingen post 5000 over sig": (post == "6000") & report.ne_missing("5000"),
        "hører til en person, men står ikke under en post 6000": post.is_in(OF_PERSON) & above.ne_missing("6000"),
        "er slutposten 9999, men tæller ikke filens linjer": (post == "9999") & counted.ne_missing(linje),
        f"er længere end {LONGEST} tegn": text.str.len_bytes() > LONGEST,
    }
    wrong = pl.lit(None, dtype=pl.Int8)
    for number, broken in reversed(list(enumerate(faults.values()))):
        wrong = pl.when(broken).then(pl.lit(number, dtype=pl.Int8)).otherwise(wrong)
    return wrong, list(faults)


def _as_rows(frame: pl.DataFrame, before: int, kommune: str | None) -> pl.DataFrame:
    """The rows of whole persons and reversals among some lines, numbered after so many rows; heads alone give none."""
    post = pl.col("post")
    # Each line with the records over it. A 5000 just under a reversal of the same id is the reversal's own.
    lines = frame.with_columns(
        *(pl.when(post == head).then("tekst").forward_fill().alias(head) for head in ("1000", "2001", "5000")),
        under=pl.when(post.shift(-1) == "5000").then(pl.col("tekst").shift(-1)),
        raekke=post.is_in(ROW).cum_sum(),
    )
    # Lazy, so that Polars cuts no field out twice.
    rows = lines.lazy().filter(post.is_in(ROW)).select("raekke", "linje", **_of_heads(kommune)).collect()
    amounts = lines.lazy().filter(post == "6001")
    money = _fields(amounts.select("raekke", felt=_piece("tekst", "6001", "felt"), vaerdi=_amount()))
    texts = lines.lazy().filter(post == "6004").with_columns(felt=_piece("tekst", "6004", "felt"))
    said = _fields(texts.select("raekke", "felt", vaerdi=_text()))
    for name in AMOUNTS:
        rows = _with(rows, money, name, pl.lit(UNREADABLE))
    for name in TEXTS:
        # Both are shown, so that the account is an unknown one, and the person an impossible one.
        rows = _with(rows, said, name, pl.col("vaerdi").fill_null("").str.join(" | "))
    for name in PERIODS:
        rows = _with(rows, said, name, pl.lit(UNREADABLE * 2))
    number = pl.int_range(before + 1, before + pl.len() + 1).cast(pl.String)
    return rows.lazy().with_columns(Lb_nr=number, **_days_of_periods()).select("linje", *NAMES).collect()


@cache
def _days_of_periods() -> dict[str, pl.Expr]:
    """The columns of the first and the last day of each period."""
    return {
        f"{name}_{end}": pl.when(pl.col(name) == UNREADABLE * 2)
        .then(pl.lit(UNREADABLE))
        .otherwise(_day(pl.col(name).str.slice(place, 8)))
        for name in PERIODS
        for end, place in (("start", 0), ("slut", 8))
    }


@cache
def _of_heads(kommune: str | None) -> dict[str, pl.Expr]:
    """The columns of a row that its own record and the records over it hold."""
    back = pl.col("post") == "4101"
    same_id = _piece("under", "5000", "IndberetningsID").eq_missing(_piece("tekst", "4101", "IndberetningsID"))
    report = pl.when(~back).then("5000").when(same_id).then("under")
    cpr, se = _piece("tekst", "6000", "CPR"), _piece("tekst", "6000", "Person_SE")
    mark = _piece("tekst", "4101", "tilbage")
    art = _piece("tekst", "6000", "Indtaegtsart")
    moment = _moment(_piece("1000", "1000", "dato"), _piece("1000", "1000", "tid"))
    return {
        "IndberetningsID": _either(back, "IndberetningsID"),
        "ReferenceID": _either(back, "ReferenceID"),
        "Indberetningsart": pl.when(~back)
        .then(pl.lit("I"))
        .when(mark.is_in(["J", "N"]))
        .then(pl.lit("T"))
        .otherwise(pl.lit(ODD_REVERSAL)),
        "Pligt_SE": _piece("2001", "2001", "Pligt_SE"),
        "Kommunekode": pl.lit(kommune, dtype=pl.String),
        "CPR": pl.when(back).then(_piece("tekst", "4101", "CPR")).when(~(zeros(cpr) & given(se))).then(cpr),
        "Person_SE": pl.when(~back & ~(zeros(se) & given(cpr))).then(se),
        **{name: _day(_piece(report, "5000", name)) for name in DAYS},
        "Indkomsttype": _piece(report, "5000", "Indkomsttype"),
        "Indtaegtsart": pl.when(~back & (art != "0000")).then(art),
        "Modtaget_tidspunkt": moment,
    }


def _either(back: pl.Expr, name: str) -> pl.Expr:
    """A field that a reversal has itself, and a report has from the 5000 over it."""
    return pl.when(back).then(_piece("tekst", "4101", name)).otherwise(_piece("5000", "5000", name))


def zeros(value: pl.Expr) -> pl.Expr:
    """True if a number is nothing but zeros."""
    return value.str.contains("^0+$").fill_null(value=False)


def given(value: pl.Expr) -> pl.Expr:
    """True if a number is there, and is not nothing but zeros."""
    return value.is_not_null() & ~zeros(value)


def _day(value: pl.Expr) -> pl.Expr:
    """Eight signs as YYYY-MM-DD; null if there are only zeros or blanks; else as it is, which is no day."""
    text = value.str.strip_chars(" ")
    parts = [text.str.slice(0, 4), text.str.slice(4, 2), text.str.slice(6, 2)]
    shaped = pl.when(text.str.len_chars() == 8).then(pl.concat_str(parts, separator="-")).otherwise(text)
    return pl.when(~text.str.contains("^0*$")).then(shaped)


def _moment(day: pl.Expr, clock: pl.Expr) -> pl.Expr:
    """The moment of a 1000 as YYYY-MM-DDTHH:MM:SS; null without day and time."""
    parts = [clock.str.slice(0, 2), clock.str.slice(2, 2), clock.str.slice(4, 2)]
    shaped = pl.when(clock.str.len_chars() == 6).then(pl.concat_str(parts, separator=":")).otherwise(clock)
    text = pl.concat_str(_day(day).fill_null(UNREADABLE), shaped.fill_null(UNREADABLE), separator="T")
    return pl.when(_day(day).is_not_null() | ~(zeros(clock) | clock.is_null())).then(text)


@cache
def _amount() -> pl.Expr:
    """The amount of a 6001 with a decimal comma; unreadable unless it is all digits, a sign, and whole øre."""
    kroner, decimals, sign = (pl.col("tekst").str.slice(first - 1, n) for first, n in list(PLACES["6001"].values())[1:])
    tail = pl.col("tekst").str.slice(PLACES["6001"]["fortegn"][0] - 1).str.strip_chars_end(" ")
    whole = kroner.str.contains("^[0-9]{10}$") & decimals.str.contains("^[0-9]{2}0000$") & tail.is_in(["+", "-"])
    number = kroner.str.strip_chars_start("0")
    minus = pl.when(sign == "-").then(pl.lit("-")).otherwise(pl.lit(""))
    units = pl.when(number == "").then(pl.lit("0")).otherwise(number)
    return (
        pl.when(whole)
        .then(pl.concat_str(minus, units, pl.lit(","), decimals.str.slice(0, 2)))
        .otherwise(pl.lit(UNREADABLE))
    )


@cache
def _text() -> pl.Expr:
    """The text of a 6004. Of a period: two days as sixteen signs, zeros for a day that is not there; else `??`.

    One day alone is the first or the last by its place, in a text written from the left or up to the right edge.
    """
    text, periods = _piece("tekst", "6004", "tekst"), [name.removeprefix("Felt") for name in PERIODS]
    first, length = PLACES["6004"]["tekst"]
    raw = pl.col("tekst").str.slice(first - 1)
    blanks = raw.str.len_chars() - raw.str.strip_chars_start(" ").str.len_chars()
    none = pl.lit("0" * 8)
    alone = text.str.len_chars() == 8
    return (
        pl.when(~pl.col("felt").is_in(periods) | (text.str.len_chars() == 16))
        .then(text)
        .when(alone & blanks.is_in([0, length - 16]))
        .then(pl.concat_str(text, none))
        .when(alone & blanks.is_in([8, length - 8]))
        .then(pl.concat_str(none, text))
        .when(text.is_not_null())
        .then(pl.lit(UNREADABLE * 2))
    )


Fields = dict[str, pl.DataFrame]


def _fields(lines: pl.LazyFrame) -> Fields:
    """The values of records by their field: row and value."""
    found = lines.collect().partition_by("felt", as_dict=True, include_key=False)
    return {f"Felt{felt}": values for (felt,), values in found.items()}


def _with(rows: pl.DataFrame, fields: Fields, name: str, twice: pl.Expr) -> pl.DataFrame:
    """The rows with a field as a column; `twice`: its value where it stands more than once under a person."""
    if name not in fields:
        return rows.with_columns(NOTHING.alias(name))
    mine = fields[name]
    if mine["raekke"].is_duplicated().any():
        once = pl.when(pl.len() == 1).then(pl.col("vaerdi").first())
        mine = mine.group_by("raekke").agg(vaerdi=once.otherwise(twice))
    return rows.join(mine.rename({"vaerdi": name}), on="raekke", how="left", maintain_order="left")
