"""Fixed: the fixed-width form of eIndkomst, read as the rows of the contract, and rows written in it.

Records, positions and choices: docs/fast-form.md. Source: input.md section 6; data_formats.md section 2.
"""

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import polars as pl

from refusion_assets.domain.raw import AMOUNTS, NAMES, NOT_IN_4101
from refusion_assets.files.separated import LONGEST, Looked, Unreadable, opened

# Record, field, first position (from 1) and length. The fields in OPEN go on to the end of the line, so that no sign
# too far to the right is cut off in silence.
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
MOST_LINES = 9_999_999
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
    for block in _blocks(path):
        text = block.decode(encoding).replace("\r\n", "\n").removesuffix("\n").split("\n")
        fresh = _numbered(pl.DataFrame({"tekst": text}), lines)
        lines += fresh.height
        frame = pl.concat([kept, fresh])
        _prove(frame)
        # The records of the last person may go on in the next block.
        last = frame.select(pl.col("linje").filter(pl.col("post").is_in(ROW)).max()).item()
        before = pl.lit(value=True) if last is None else pl.col("linje") < last
        part = _as_rows(frame.filter(before), rows, kommune)
        rows += part.height
        yield part
        heads = frame.filter(before, pl.col("post").is_in(HEADS)).group_by("post").last()
        kept = pl.concat([heads.select(frame.columns).sort("linje"), frame.filter(~before)])
        if kept.height > MOST_OF_A_PERSON:
            raise Unreadable(f"linje {last} har over {MOST_OF_A_PERSON} linjer under sig")
    if not kept.height or kept["post"][-1] != "9999":
        raise Unreadable("slutposten 9999 mangler")
    yield _as_rows(kept, rows, kommune)


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


def _prove(frame: pl.DataFrame) -> None:
    """Unreadable with the first line that cannot stand where it does; `frame`: linje, tekst, post."""
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
    first = frame.lazy().select("linje", fault=wrong).filter(pl.col("fault").is_not_null()).head(1).collect()
    for number, fault in first.iter_rows():
        raise Unreadable(f"linje {number} {list(faults)[fault]}")


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
    own = lines.lazy().filter(post.is_in(ROW)).select("raekke", "linje", **_of_heads(kommune))
    amounts = lines.lazy().filter(post == "6001")
    amounts = amounts.select("raekke", felt=_piece("tekst", "6001", "felt"), vaerdi=_amount())
    texts = lines.lazy().filter(post == "6004")
    texts = texts.select(
        "raekke", "tekst", felt=_piece("tekst", "6004", "felt"), vaerdi=_piece("tekst", "6004", "tekst")
    )
    rows, money, said = pl.collect_all([own, amounts, texts])
    for name in AMOUNTS:
        rows = _with(rows, money, name, pl.lit(UNREADABLE))
    for name in TEXTS:
        # Both are shown, so that the account is an unknown one, and the person an impossible one.
        rows = _with(rows, said, name, pl.col("vaerdi").fill_null("").str.join(" | "))
    for name in PERIODS:
        days = said.lazy().filter(pl.col("felt") == name.removeprefix("Felt")).with_columns(vaerdi=_period()).collect()
        rows = _with(rows, days, name, pl.lit(UNREADABLE * 2))
    halves = {
        f"{name}_{end}": pl.when(pl.col(name) == UNREADABLE * 2)
        .then(pl.lit(UNREADABLE))
        .otherwise(_day(pl.col(name).str.slice(place, 8)))
        for name in PERIODS
        for end, place in (("start", 0), ("slut", 8))
    }
    number = pl.int_range(before + 1, before + pl.len() + 1).cast(pl.String)
    return rows.lazy().with_columns(Lb_nr=number, **halves).select("linje", *NAMES).collect()


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
        "CPR": pl.when(back).then(_piece("tekst", "4101", "CPR")).when(~(_zeros(cpr) & _given(se))).then(cpr),
        "Person_SE": pl.when(~back & ~(_zeros(se) & _given(cpr))).then(se),
        **{name: _day(_piece(report, "5000", name)) for name in DAYS},
        "Indkomsttype": _piece(report, "5000", "Indkomsttype"),
        "Indtaegtsart": pl.when(~back & (art != "0000")).then(art),
        "Modtaget_tidspunkt": moment,
    }


def _either(back: pl.Expr, name: str) -> pl.Expr:
    """A field that a reversal has itself, and a report has from the 5000 over it."""
    return pl.when(back).then(_piece("tekst", "4101", name)).otherwise(_piece("5000", "5000", name))


def _zeros(value: pl.Expr) -> pl.Expr:
    return value.str.contains("^0+$").fill_null(value=False)


def _given(value: pl.Expr) -> pl.Expr:
    return value.is_not_null() & ~_zeros(value)


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
    return pl.when(_day(day).is_not_null() | ~(_zeros(clock) | clock.is_null())).then(text)


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


def _period() -> pl.Expr:
    """The two days of a 6004 as sixteen signs, zeros for a day that is not there; `??` if the text is not so.

    One day alone is the first or the last by its place, in a text written from the left or up to the right edge.
    """
    first, length = PLACES["6004"]["tekst"]
    raw = pl.col("tekst").str.slice(first - 1)
    text, blanks = pl.col("vaerdi"), raw.str.len_chars() - raw.str.strip_chars_start(" ").str.len_chars()
    none = pl.lit("0" * 8)
    alone = text.str.len_chars() == 8
    return (
        pl.when(text.str.len_chars() == 16)
        .then(text)
        .when(alone & blanks.is_in([0, length - 16]))
        .then(pl.concat_str(text, none))
        .when(alone & blanks.is_in([8, length - 8]))
        .then(pl.concat_str(none, text))
        .when(text.is_not_null())
        .then(pl.lit(UNREADABLE * 2))
    )


def _with(rows: pl.DataFrame, values: pl.DataFrame, name: str, twice: pl.Expr) -> pl.DataFrame:
    """The rows with a field as a column; `twice`: its value where it stands more than once under a person."""
    mine = values.filter(pl.col("felt") == name.removeprefix("Felt")).select("raekke", "vaerdi")
    if mine["raekke"].is_duplicated().any():
        once = pl.when(pl.len() == 1).then(pl.col("vaerdi").first())
        mine = mine.group_by("raekke").agg(vaerdi=once.otherwise(twice))
    return rows.join(mine.rename({"vaerdi": name}), on="raekke", how="left", maintain_order="left")


# --- written ------------------------------------------------------------------------------------------------

WIDTHS = {
    name: length
    for post in ("2001", "5000", "6000")
    for name, (_, length) in PLACES[post].items()
    if name in NAMES and name not in DAYS
} | dict.fromkeys(TEXTS, PLACES["6004"]["tekst"][1])
WRITTEN_DAYS = [*DAYS, *(f"{name}_{end}" for name in PERIODS for end in ("start", "slut"))]
# An amount with up to six decimals has a place; one that is not whole øre is read as unreadable.
WRITTEN_AMOUNT = "^-?[0-9]{1,10}(,[0-9]{1,6})?$"
ONLY_REPORTS = ["Person_SE", "Indtaegtsart", *AMOUNTS, *TEXTS, *WRITTEN_DAYS[len(DAYS) :]]


class Writer:
    """The text of a file in the fixed-width form, some rows at a time, and at last its trailer."""

    def __init__(self, kommune: str | None) -> None:
        """Begins with no line; `kommune`: the municipality of a municipal sender."""
        self.kommune, self.lines = kommune, 0

    def written(self, rows: pl.DataFrame) -> bytes:
        """The records of some rows, with new records 1000, 2001 and 5000 where their content changes.

        `rows`: the columns of the contract as text (`Lb_nr` is not read). ValueError with column and row, never the
        value, where it has no place in the form.
        """
        _refuse(rows, self.kommune)
        back = pl.col("Indberetningsart") == "T"
        moment, payer = _changed("Modtaget_tidspunkt"), _changed("Modtaget_tidspunkt", "Pligt_SE")
        report = payer | _changed("IndberetningsID", "ReferenceID", *DAYS, "Indkomsttype", "Indberetningsart") | back
        made = rows.with_columns(pl.col(AMOUNTS).cast(pl.String)).select(
            posts=pl.concat_list(
                pl.when(moment).then(_head()),
                pl.when(payer).then(_post("2001", {"Pligt_SE": pl.col("Pligt_SE"), "valuta": pl.lit("DKK")})),
                pl.when(back).then(_post("4101", {**_ids(), "tilbage": pl.lit("J"), "CPR": pl.col("CPR")})),
                pl.when(report).then(_report(back)),
                pl.when(~back).then(_post("6000", {name: pl.col(name) for name in PLACES["6000"]})),
                *(pl.when(pl.col(name).is_not_null()).then(_written_amount(name)) for name in AMOUNTS),
                *(pl.when(pl.col(name).is_not_null()).then(_written_text(name, pl.col(name))) for name in TEXTS),
                *(_written_period(name) for name in PERIODS),
            )
        )
        return self._numbered(made["posts"].explode().drop_nulls())

    def trailer(self) -> bytes:
        """The record 9999, which counts the lines; it counts itself."""
        if not self.lines:
            nobody = {"Pligt_SE": pl.lit("0" * 8), "valuta": pl.lit("DKK")}
            empty = pl.select(pl.concat_list(_post("1000", {}), _post("2001", nobody))).to_series().explode()
            return self._numbered(empty) + self.trailer()
        return self._numbered(pl.Series([f"9999{self.lines + 1:07}"]))

    def _numbered(self, posts: pl.Series) -> bytes:
        first = self.lines + 1
        self.lines += posts.len()
        if self.lines > MOST_LINES:
            raise ValueError(f"a file in the fixed-width form holds at most {MOST_LINES} lines")
        lines = zip(range(first, self.lines + 1), posts.to_list(), strict=True)
        return "".join(f"{number:07}{post}\n" for number, post in lines).encode("latin-1")


def _changed(*names: str) -> pl.Expr:
    """True on the first row, and where a column differs from the row before."""
    return (pl.int_range(pl.len()) == 0) | pl.any_horizontal(pl.col(n).ne_missing(pl.col(n).shift(1)) for n in names)


def _post(post: str, values: dict[str, pl.Expr]) -> pl.Expr:
    """A record without its line number: each value from the left in its place, blanks between and none at the end."""
    parts, at = [pl.lit(post)], 12
    for name, value in values.items():
        first, length = PLACES[post][name]
        parts += [pl.lit(" " * (first - at)), value.fill_null("").str.pad_end(length)]
        at = first + length
    return pl.concat_str(parts).str.strip_chars_end(" ")


def _head() -> pl.Expr:
    moment = pl.col("Modtaget_tidspunkt").str.replace_all("[-:T]", "")
    marks = {"version": pl.lit("2.0"), "art": pl.lit("P"), "register": pl.lit("E")}
    return _post("1000", {"dato": moment.str.slice(0, 8), "tid": moment.str.slice(8, 6), **marks})


def _ids() -> dict[str, pl.Expr]:
    return {name: pl.col(name) for name in ("IndberetningsID", "ReferenceID")}


def _report(back: pl.Expr) -> pl.Expr:
    """A record 5000; under a reversal it repeats its id alone, and holds the columns that a 4101 has no place for."""
    ids = _ids() | {"ReferenceID": pl.when(~back).then("ReferenceID")}
    days = {name: pl.col(name).str.replace_all("-", "") for name in DAYS}
    return _post("5000", {**ids, **days, "bagud": pl.lit("B"), "Indkomsttype": pl.col("Indkomsttype")})


def _written_amount(name: str) -> pl.Expr:
    amount = pl.col(name)
    fields = {
        "felt": pl.lit(name.removeprefix("Felt")),
        "kroner": amount.str.extract("^-?([0-9]+)").str.zfill(10),
        "decimaler": amount.str.extract(",([0-9]+)").fill_null("").str.pad_end(6, "0"),
        "fortegn": pl.when(amount.str.starts_with("-")).then(pl.lit("-")).otherwise(pl.lit("+")),
    }
    return _post("6001", fields)


def _written_text(name: str, text: pl.Expr) -> pl.Expr:
    return _post("6004", {"felt": pl.lit(name.removeprefix("Felt")), "tekst": text})


def _written_period(name: str) -> pl.Expr:
    """A record 6004 with two days, zeros for the one that is not there; null without any."""
    start, slut = (pl.col(f"{name}_{end}") for end in ("start", "slut"))
    text = pl.concat_str([day.str.replace_all("-", "").fill_null("0" * 8) for day in (start, slut)])
    return pl.when(start.is_not_null() | slut.is_not_null()).then(_written_text(name, text))


def _refuse(rows: pl.DataFrame, kommune: str | None) -> None:
    """ValueError with the first column and row (from 1) whose value has no place in the form."""
    back, cpr, se = pl.col("Indberetningsart") == "T", pl.col("CPR"), pl.col("Person_SE")
    sign = "[!-~]"
    day = f"^{sign}{{4}}-{sign}{{2}}-{sign}{{2}}$"
    moment = f"{day[:-1]}T{sign}{{2}}:{sign}{{2}}:{sign}{{2}}$"
    faults: list[tuple[str, pl.Expr]] = [
        ("Indberetningsart", ~pl.col("Indberetningsart").is_in(["I", "T"]).fill_null(value=False)),
        ("Kommunekode", pl.col("Kommunekode").ne_missing(pl.lit(kommune, dtype=pl.String))),
        *((name, _no_place(pl.col(name), width)) for name, width in WIDTHS.items()),
        *((name, ~pl.col(name).str.contains(day) | pl.col(name).str.contains("^0{4}-00-00")) for name in WRITTEN_DAYS),
        ("Modtaget_tidspunkt", ~pl.col("Modtaget_tidspunkt").str.contains(moment)),
        ("Modtaget_tidspunkt", pl.col("Modtaget_tidspunkt").str.contains("^0{4}-00-00")),
        *((name, ~pl.col(name).str.contains(WRITTEN_AMOUNT)) for name in AMOUNTS),
        ("Indtaegtsart", pl.col("Indtaegtsart") == "0000"),
        ("CPR", _zeros(cpr) & _given(se)),
        ("Person_SE", _zeros(se) & _given(cpr)),
        *((name, back & pl.col(name).is_not_null()) for name in ONLY_REPORTS),
        *((name, back & pl.col(name).is_null()) for name in NOT_IN_4101),
    ]
    for name, wrong in faults:
        found = rows.select(wrong.fill_null(value=False).arg_true()).to_series()
        if found.len():
            raise ValueError(f"{name} of row {found[0] + 1} has no place in the fixed-width form")


def _no_place(text: pl.Expr, width: int) -> pl.Expr:
    """True if a text is empty or too long, has blanks around it, or a sign outside ISO-8859-1."""
    return ~text.str.contains(f"^[!-~\u00a1-\u00ff]([ -~\u00a0-\u00ff]{{0,{width - 2}}}[!-~\u00a1-\u00ff])?$")
