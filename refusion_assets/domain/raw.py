"""Understands one delivered row: its columns, their types, and the unreadable values."""

from datetime import date

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.wording import CODE_FORM

TEXT, WHOLE, DAY, AMOUNT, MOMENT, ART = "text", "whole", "day", "amount", "moment", "art"

# Hjemmel: input.md section 2 (eIndkomst record 6000 with the YR fields): column, type, required.
COLUMNS: tuple[tuple[str, str, bool], ...] = (
    ("Lb_nr", WHOLE, True),
    ("IndberetningsID", TEXT, True),
    ("ReferenceID", TEXT, False),
    ("Indberetningsart", ART, True),
    ("Pligt_SE", TEXT, True),
    ("Kommunekode", TEXT, False),
    ("CPR", TEXT, False),
    ("Person_SE", TEXT, False),
    ("Loenperiode_start", DAY, True),
    ("Loenperiode_slut", DAY, True),
    ("Dispositionsdato", DAY, True),
    ("Indkomsttype", TEXT, True),
    ("Indtaegtsart", TEXT, False),
    ("Felt0014", AMOUNT, False),
    ("Felt0037", AMOUNT, False),
    ("Felt0038", AMOUNT, False),
    ("Felt0046", AMOUNT, False),
    ("Felt0048", AMOUNT, False),
    ("Felt0098", AMOUNT, False),
    ("Felt0114", TEXT, False),
    ("Felt0115", TEXT, False),
    ("Felt0214_start", DAY, False),
    ("Felt0214_slut", DAY, False),
    ("Felt0215_start", DAY, False),
    ("Felt0215_slut", DAY, False),
    ("Felt0216", TEXT, False),
    ("Modtaget_tidspunkt", MOMENT, True),
)
NAMES = [name for name, _, _ in COLUMNS]
HEADER = ";".join(NAMES)
AMOUNTS = [name for name, kind, _ in COLUMNS if kind == AMOUNT]
REQUIRED = [name for name, _, required in COLUMNS if required]
POLARS_TYPE = {
    TEXT: pl.String,
    WHOLE: pl.Int64,
    DAY: pl.Date,
    AMOUNT: pl.Int64,
    MOMENT: pl.Datetime("us"),
    ART: pl.String,
}
# The required columns of a row that a reversal in the fixed-width form has no place for.
NOT_IN_4101 = ["Loenperiode_start", "Loenperiode_slut", "Dispositionsdato", "Indkomsttype"]
BIT = {name: 1 << position for position, name in enumerate(NAMES)}

# A digit is one of 0-9: \d would match those of every script (input.md section 1).
WHOLE_FORM = r"^[0-9]{1,18}$"
AMOUNT_FORM = r"^-?[0-9]{1,10}(,[0-9]{1,2})?$"
# Four digits, but not the year 0000, which no calendar has.
_DAY = r"([0-9]{3}[1-9]|[0-9]{2}[1-9][0-9]|[0-9][1-9][0-9]{2}|[1-9][0-9]{3})-[0-9]{2}-[0-9]{2}"
DAY_FORM = rf"^{_DAY}$"
MOMENT_FORM = rf"^{_DAY}T[0-9]{{2}}:[0-5][0-9]:[0-5][0-9]$"
PERSON_FORM = r"^[0-9]{10}$"
KOMMUNE_FORM = r"^[0-9]{3}$"
FIL_LINJE = ["fil_id", "linje"]
OTHER_DIGIT = r"[\p{Nd}&&[^0-9]]"


class Fil(Contract, key=["sti"]):
    """One row per accepted file of reports; `dublet` marks content that was delivered before."""

    fil_id: pl.Int64
    sti: pl.String
    filnavn: pl.String
    kilde: pl.String
    enhed: pl.String
    modtaget_maaned: pl.Date
    loebenr: pl.Int64
    sha256: pl.String
    antal_raekker: pl.Int64 = pa.Field(ge=0)
    foerste_modtaget: pl.Datetime = pa.Field(nullable=True)
    dublet: pl.Boolean
    kendt_fra: pl.Date = pa.Field(description="run month that first knew the file")
    bedoemt_med: pl.String = pa.Field(nullable=True, description="fingerprint of the rules its lines were judged by")


class KendtFil(Contract, key=["maaned", "sti"]):
    """One row per raw file and run in which it was new, changed or gone: its hash, null if gone."""

    maaned: pl.Date = pa.Field(description="run month")
    sti: pl.String
    sha256: pl.String = pa.Field(nullable=True)


class Laest(Contract, key=["sti"]):
    """One row per raw file that a run has read: hash, size and time of change of the file and its manifest."""

    sti: pl.String
    art: pl.String = pa.Field(isin=["indberetning", "bopael", "fleksgrundlag"], description="kind of file")
    kendt_fra: pl.Date = pa.Field(description="run month that first read the file")
    sha256: pl.String
    manifest_sha256: pl.String
    stoerrelse: pl.Int64 = pa.Field(ge=0, description="bytes")
    aendret_ns: pl.Int64 = pa.Field(description="when the disk says it was changed")
    manifest_stoerrelse: pl.Int64 = pa.Field(ge=0)
    manifest_aendret_ns: pl.Int64
    borgere: pl.Int64 = pa.Field(nullable=True, ge=0, description="people in a register")


class Bemaerket(Contract, key=["maaned", "regel", "hvad"]):
    """One row per run month, rule and path under raw/: a file that no run reads, or that changed after it was read."""

    maaned: pl.Date = pa.Field(description="run month")
    regel: pl.String
    hvad: pl.String = pa.Field(description="its path from the data root; never a CPR number")
    kilde: pl.String = pa.Field(nullable=True, description="what it is a file of, if it was read")
    vaerdi: pl.String = pa.Field(description="what is noticed of it")


class Register(Contract, key=["sti"]):
    """One row per loaded file of a supporting register (bopael, fleksgrundlag)."""

    sti: pl.String
    art: pl.String = pa.Field(isin=["bopael", "fleksgrundlag"], description="kind of register")
    modtaget_maaned: pl.Date
    sha256: pl.String
    antal_raekker: pl.Int64
    antal_ulaeselige: pl.Int64 = pa.Field(ge=0, description="lines that say nothing that can be used")
    foerste_ulaeselige: pl.Int64 = pa.Field(nullable=True, description="the first of them; the header is line 1")


class Borger(Contract, key=["cpr"]):
    """One row per person: the surrogate (borger_id) and the CPR number."""

    borger_id: pl.Int64
    cpr: pl.String = pa.Field(str_matches=PERSON_FORM)


class Bopael(Contract):
    """One row per person and stay in the snapshot of a month; both dates included."""

    modtaget_maaned: pl.Date
    cpr: pl.String
    kommunekode: pl.String = pa.Field(description="municipality of residence")
    bopael_start: pl.Date
    bopael_slut: pl.Date = pa.Field(nullable=True)


class Fleksgrundlag(Contract):
    """One row per delivered basis for fleksbidrag: person, benefit month and line in the snapshot. Øre."""

    modtaget_maaned: pl.Date
    raekke: pl.Int64
    cpr: pl.String
    maaned: pl.Date
    beregningsgrundlag_oere: pl.Int64
    loen_oere: pl.Int64


class Skrevet(Contract, key=["kode"]):
    """One row per text of a sender that may hold a CPR number, with the code that later layers have of it."""

    kode: pl.String = pa.Field(str_matches=f"^{CODE_FORM}$", description="the code in `classified`")
    skrevet: pl.String


class Ukendt(Contract, key=FIL_LINJE):
    """One row per delivered line without a known person: the person's number as written on the line."""

    fil_id: pl.Int64
    linje: pl.Int64
    skrevet: pl.String = pa.Field(description="number of the person as the line has it")


def _indberetning() -> type[Contract]:
    """The contract of `raw.indberetning`: the columns of the delivered row, typed, with file and line."""
    columns = {name: POLARS_TYPE[kind] for name, kind, _ in COLUMNS}
    annotations = {"fil_id": pl.Int64, "linje": pl.Int64, **columns, "udfyldt": pl.Int64, "ulaeselig": pl.Int64}
    body = {name: pa.Field(nullable=name in NAMES) for name in annotations}
    doc = "One row per delivered line: typed values, null where empty or unreadable. Amounts in øre."
    return type("Indberetning", (Contract,), {"__annotations__": annotations, "__doc__": doc, **body}, key=FIL_LINJE)


def bits(names: list[str]) -> int:
    """The bit mask of a set of columns."""
    return sum(BIT[name] for name in names)


def oere(column: pl.Expr) -> pl.Expr:
    """An amount written with decimal comma as whole øre; null if unreadable (input.md, EI-001)."""
    readable = pl.when(column.str.contains(AMOUNT_FORM)).then(column)
    comma = readable.str.find(",", literal=True)
    decimals = pl.when(comma.is_null()).then(0).otherwise(readable.str.len_bytes() - comma - 1)
    digits = readable.str.replace(",", "", literal=True).cast(pl.Int64, strict=False)
    return digits * pl.when(decimals == 0).then(100).when(decimals == 1).then(10).otherwise(1)


def _day(column: pl.Expr) -> pl.Expr:
    return pl.when(column.str.contains(DAY_FORM)).then(column).str.to_date("%Y-%m-%d", strict=False)


def _moment(column: pl.Expr) -> pl.Expr:
    shaped = pl.when(column.str.contains(MOMENT_FORM)).then(column)
    return shaped.str.to_datetime("%Y-%m-%dT%H:%M:%S", strict=False, time_unit="us")


def _whole(column: pl.Expr) -> pl.Expr:
    return pl.when(column.str.contains(WHOLE_FORM)).then(column).cast(pl.Int64, strict=False)


def _art(column: pl.Expr) -> pl.Expr:
    return pl.when(column.is_in(["I", "T"])).then(column)


READ = {TEXT: lambda column: column, WHOLE: _whole, DAY: _day, AMOUNT: oere, MOMENT: _moment, ART: _art}


Indberetning = _indberetning()


def typed(lines: pl.DataFrame) -> pl.DataFrame:
    """One row per delivered line with typed columns; unreadable values are null and marked.

    Amounts in øre. Adds two bit masks of columns: `udfyldt` marks those with a value, `ulaeselig` those that cannot
    be read as their type. A text with digits of another script counts as unreadable, and is kept. Other columns of
    `lines` are kept. Where `fast_form` is true, a reversal counts as filled in the columns that record 4101 cannot
    hold: nobody can ask for them. Source: input.md 1, 2 and 6.
    """
    kinds = {name: kind for name, kind, _ in COLUMNS if kind != TEXT}
    foreign = _other_digits(lines)
    filled = pl.sum_horizontal(pl.when(pl.col(n).is_not_null()).then(BIT[n]).otherwise(0) for n in NAMES)
    if "fast_form" in lines.columns:
        reversal = pl.col("fast_form") & pl.col("Indberetningsart").eq_missing("T")
        filled |= pl.when(reversal).then(bits(NOT_IN_4101)).otherwise(0)
    broken = pl.sum_horizontal(
        pl.when(pl.col(name).is_not_null() & pl.col(f"{name}__read").is_null()).then(BIT[name]).otherwise(0)
        for name in kinds
    )
    if foreign:
        broken += pl.sum_horizontal(
            pl.when(pl.col(n).str.contains(OTHER_DIGIT)).then(BIT[n]).otherwise(0) for n in foreign
        )
    # Lazy, so that Polars stores no column between the steps.
    read = (
        lines.lazy()
        .with_columns(READ[kind](pl.col(name)).alias(f"{name}__read") for name, kind in kinds.items())
        .with_columns(udfyldt=filled.cast(pl.Int64), ulaeselig=broken.cast(pl.Int64))
        .drop(kinds)
        .rename({f"{name}__read": name for name in kinds})
    )
    return read.collect()


def _other_digits(lines: pl.DataFrame) -> list[str]:
    """The text columns with a character outside ASCII: only these can hold a digit of another script."""
    names = [name for name, kind, _ in COLUMNS if kind == TEXT]
    wider = lines.lazy().select((pl.col(n).str.len_bytes() != pl.col(n).str.len_chars()).any() for n in names)
    return [name for name, found in zip(names, wider.collect().row(0), strict=True) if found]


def is_possible_cpr(cpr: pl.Expr, received: pl.Expr) -> pl.Expr:
    """True if a text is a possible CPR number born no later than `received`; does not test modulus 11.

    A day over 60 is a replacement number; digit seven and the year give the century. Source: input.md, section 4 (CPR).
    """
    shaped = pl.when(cpr.str.contains(PERSON_FORM)).then(cpr)
    places = ((0, 2), (2, 2), (4, 2), (6, 1))
    day, month, year, seventh = (shaped.str.slice(*place).cast(pl.Int64, strict=False) for place in places)
    day = pl.when(day > 60).then(day - 60).otherwise(day)
    century = (
        pl.when(seventh <= 3)
        .then(1900)
        .when(seventh.is_in([4, 9]))
        .then(pl.when(year <= 36).then(2000).otherwise(1900))
        .otherwise(pl.when(year <= 57).then(2000).otherwise(1800))
    )
    text = pl.format("{}-{}-{}", century + year, month.cast(pl.String).str.zfill(2), day.cast(pl.String).str.zfill(2))
    born = text.str.to_date("%Y-%m-%d", strict=False)
    return (born <= received).fill_null(value=False)


def _shaped(column: str, form: str) -> pl.Expr:
    return pl.when(pl.col(column).str.contains(form)).then(pl.col(column))


STAY = {
    "cpr": _shaped("CPR", PERSON_FORM),
    "kommunekode": _shaped("Kommunekode", KOMMUNE_FORM),
    "bopael_start": _day(pl.col("Bopael_start")),
}
STAY_END = _day(pl.col("Bopael_slut"))
BASIS = {
    "cpr": _shaped("CPR", PERSON_FORM),
    "maaned": _day(pl.col("Maaned") + "-01"),
    "beregningsgrundlag_oere": oere(pl.col("Beregningsgrundlag")),
    "loen_oere": oere(pl.col("Loen")),
}
# True if a line of a register is readable: required values are there; numbers, codes, days and amounts have their form.
READABLE = {
    "bopael": pl.all_horizontal(
        STAY_END.is_not_null() | pl.col("Bopael_slut").is_null(), *(value.is_not_null() for value in STAY.values())
    ),
    "fleksgrundlag": pl.all_horizontal(value.is_not_null() for value in BASIS.values()),
}


def bopael_rows(lines: pl.DataFrame, month: date) -> pl.DataFrame:
    """One row per stay (`Bopael`) in a snapshot; lines that cannot be read are left out."""
    return lines.filter(READABLE["bopael"]).select(modtaget_maaned=pl.lit(month), **STAY, bopael_slut=STAY_END)


def fleks_rows(lines: pl.DataFrame, month: date) -> pl.DataFrame:
    """One row per delivered basis (`Fleksgrundlag`); lines that cannot be read are left out. Øre."""
    return lines.filter(READABLE["fleksgrundlag"]).select(modtaget_maaned=pl.lit(month), raekke="linje", **BASIS)
