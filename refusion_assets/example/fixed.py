"""Understands rows written in the fixed-width form of eIndkomst; `files.fixed` reads them, and holds the positions."""

import polars as pl

from refusion_assets.domain.raw import AMOUNTS, NAMES, NOT_IN_4101
from refusion_assets.files.fixed import DAYS, PERIODS, PLACES, TEXTS, given, zeros

MOST_LINES, LINES_OF_A_ROW = 9_999_999, 17
NO_AMOUNT, NO_AMOUNT_HERE = "1.234,50", "1234,505"
"""An amount that cannot be read in CSV, and one that cannot be read in either form."""
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


def suited(rows: pl.DataFrame, kommune: str | None) -> pl.DataFrame:
    """The rows of the example as the form can hold them: no other municipality than the sender's (EI-008).

    The amount that cannot be read is another one, as the digits of a 6001 have no thousands mark.
    """
    amounts = [pl.when(pl.col(n) == NO_AMOUNT).then(pl.lit(NO_AMOUNT_HERE)).otherwise(n).alias(n) for n in AMOUNTS]
    return rows.with_columns(*amounts, Kommunekode=pl.lit(kommune, dtype=pl.String))


class Writer:
    """The text of a file in the fixed-width form, some rows at a time, and at last its trailer."""

    def __init__(self, kommune: str | None) -> None:
        """Begins with no line; `kommune`: the municipality of a municipal sender."""
        self.kommune, self.lines = kommune, 0

    def has_room(self, rows: int) -> bool:
        """True if so many more rows, and the trailer, can be numbered in the file whatever they hold."""
        return self.lines + LINES_OF_A_ROW * rows < MOST_LINES

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
        ("CPR", zeros(cpr) & given(se)),
        ("Person_SE", zeros(se) & given(cpr)),
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
