"""Understands the old system's monthly files: its state of a municipality, and how ours differs from it, by cause."""

from collections.abc import Mapping
from datetime import date, timedelta

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import monday
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.opgoerelse.ledger import MONEY, STATE
from refusion_assets.domain.rules.entries import Rulebook

WEEK = ["uge", "cpr", "ydelse_id"]
AMOUNTS = ["beloeb_oere", "refusion_oere", "medfinansiering_oere"]
TEXTS = (
    "uge", "cpr", "ydelse", "kommune", "indberettet", "beloeb", "refusionssats", "refusion", "medfinansieringssats",
    "medfinansiering",
)  # fmt: skip
"""The ten public columns of a calculation file, in our words."""
AARSAGER = ("felter", "uge", "cpr", "ydelse", "kommune", "beloeb", "procent", "dublet")
"""Why a row is not used, by the column at fault. `felter`: it has more or fewer of them than the first line has.
`dublet`: the same ten columns stand in the file before."""
KUN_GAMMEL, KUN_NY, PROCENT, BELOEB, AFRUNDING, INDBERETTET = FORSKELLE = (
    "kun_gammel", "kun_ny", "procent", "beloeb", "afrunding", "indberettet",
)  # fmt: skip
MOST_ROUNDED = 2
"""Øre that rounding can move in a week: one for each half that a month end makes of it."""
NUMBER = r"^-?\d{1,12}(,\d{1,2})?$"
OF_THE_OLD = "konverteret fra det tidligere system"


class Konverteret(Contract, key=["kommunekode", *WEEK]):
    """One row per week, person and benefit that the old system has settled with a municipality, net of all files."""

    kommunekode: pl.String
    uge: pl.Date
    cpr: pl.String
    ydelse_id: pl.String
    indberettet_oere: pl.Int64
    beloeb_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    procent: pl.Int64 = pa.Field(ge=0, le=100)


class Konverteringsfil(Contract, key=["kommunekode", "fil"]):
    """One row per file of the old system that was read: what stands in it, proved against the file itself."""

    kommunekode: pl.String
    fil: pl.String
    sha256: pl.String
    maaned: pl.Date = pa.Field(description="run month of the old system, by the running number of the file")
    raekker: pl.Int64 = pa.Field(ge=0, description="rows of the file")
    ubehandlede: pl.Int64 = pa.Field(ge=0, description="rows that were not used")
    beloeb_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64


class Konvertering(Contract, key=["kommunekode"]):
    """One row per municipality: the files read, the sample drawn, and how much of it differs."""

    kommunekode: pl.String
    fra: pl.Date = pa.Field(description="run month of the first file")
    til: pl.Date = pa.Field(description="run month of the last file")
    noegler: pl.Int64 = pa.Field(ge=0, description="weeks of a person and benefit in the state")
    froe: pl.Int64 = pa.Field(description="seed of the sample")
    beregnet: pl.Boolean = pa.Field(description="the month of the last file was calculated here, so a sample was drawn")
    borgere: pl.Int64 = pa.Field(ge=0, description="people in the sample")
    raekker: pl.Int64 = pa.Field(ge=0, description="weeks of a person and benefit that were compared")
    forskelle: pl.Int64 = pa.Field(ge=0, description="those of them that differ")


class Ubehandlet(Contract, key=["kommunekode", "fil", "linje"]):
    """One row per row of the old system's files that was not used, and why."""

    kommunekode: pl.String
    fil: pl.String
    linje: pl.Int64
    aarsag: pl.String = pa.Field(
        isin=list(AARSAGER), description="column at fault; felter: cut short or too long; dublet: twice"
    )


class Stikproeve(Contract, key=["kommunekode", *WEEK]):
    """One row per week, person and benefit of the sample that the second calculation has otherwise. Øre."""

    kommunekode: pl.String
    uge: pl.Date
    cpr: pl.String
    ydelse_id: pl.String
    aarsag: pl.String = pa.Field(isin=list(FORSKELLE), description="the first thing that differs")
    gammel_beloeb_oere: pl.Int64 = pa.Field(description="amount of the old system, øre")
    gammel_refusion_oere: pl.Int64 = pa.Field(description="refusion of the old system, øre")
    gammel_medfinansiering_oere: pl.Int64 = pa.Field(description="medfinansiering of the old system, øre")
    gammel_procent: pl.Int64 = pa.Field(description="percentage of the old system")
    beloeb_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    procent: pl.Int64


def names_of(rules: Rulebook) -> dict[str, str]:
    """The benefit (`ydelse_id`) of each name that a calculation file may have, now or earlier."""
    return {one.navn: one.ydelse_id for one in rules.ydelser} | {one.navn: one.id for one in rules.fleksbidrag}


def read(lines: pl.DataFrame, kommune: str, names: Mapping[str, str]) -> pl.DataFrame:
    """The rows of calculation files, typed: fil, nr, linje, uge, cpr, ydelse_id, `MONEY`, procent, aarsag. Øre.

    `lines`: `TEXTS` with fil, nr (the running number), linje, and `hel` where the row has all the columns of its file.
    `aarsag` is null where the row can be used. The leading zeros of a person's number may be lost. A file whose highest
    rate is 1 has rates as parts of 1.
    """
    text = [pl.col(name).fill_null("").str.strip_chars().alias(name) for name in TEXTS]
    rates = ("refusionssats", "medfinansieringssats")
    rows = lines.with_columns(text).with_columns(
        uge=pl.col("uge").str.to_date("%Y-%m-%d", strict=False),
        cpr=pl.col("cpr").str.zfill(10),
        ydelse_id=pl.col("ydelse").replace_strict(names, default=None, return_dtype=pl.String),
        dublet=pl.struct("fil", *TEXTS).is_first_distinct().not_(),
        **{f"{name}_oere": _hundredths(name) for name in ("indberettet", "beloeb", "refusion", "medfinansiering")},
        **{name: _hundredths(name) for name in rates},
    )
    rate = pl.max_horizontal(*rates)
    parts = rate.max().over("fil").is_between(1, 100)
    rows = rows.with_columns(hundrededele=pl.when(parts).then(100 * rate).otherwise(rate))
    wrong = {
        "felter": ~pl.col("hel"),
        "uge": pl.col("uge").is_null() | (pl.col("uge").dt.weekday() != 1),
        "cpr": ~pl.col("cpr").str.contains(r"^\d{10}$"),
        "ydelse": pl.col("ydelse_id").is_null(),
        "kommune": ~pl.col("kommune").is_in(["", kommune]),
        "beloeb": pl.any_horizontal(pl.col(name).is_null() for name in MONEY),
        "procent": pl.any_horizontal(pl.col(name).is_null() for name in rates)
        | (pl.col("hundrededele") % 100 != 0)
        | ~pl.col("hundrededele").is_between(0, 10_000),
        "dublet": pl.col("dublet"),
    }
    aarsag = pl.coalesce(pl.when(fault).then(pl.lit(word)) for word, fault in wrong.items())
    return rows.select(
        "fil", "nr", "linje", *WEEK, *MONEY, procent=pl.col("hundrededele") // 100, aarsag=aarsag.cast(pl.String)
    )


def _hundredths(name: str) -> pl.Expr:
    """A number with decimal comma as whole hundredths; null if it is none."""
    value = pl.when(pl.col(name).str.contains(NUMBER)).then(pl.col(name))
    whole = value.str.extract(r"^-?(\d+)").cast(pl.Int64)
    rest = value.str.extract(r",(\d+)$").fill_null("").str.pad_end(2, "0").cast(pl.Int64)
    return pl.when(value.str.starts_with("-")).then(-(100 * whole + rest)).otherwise(100 * whole + rest)


def state(rows: pl.DataFrame, kommunekode: str) -> pl.DataFrame:
    """The state that some files leave (`Konverteret`): all their used rows summed, without keys that sum to nothing.

    The percentage is that of the last row in favour of the key. Source: data_formats.md section 5.2, the ledger of
    differences.
    """
    used = rows.filter(pl.col("aarsag").is_null()).sort("nr", "linje")
    given = pl.any_horizontal(pl.col(name) > 0 for name in AMOUNTS)
    sums = used.group_by(WEEK).agg(
        *(pl.col(name).sum() for name in MONEY),
        procent=pl.coalesce(pl.col("procent").filter(given).last(), pl.col("procent").last()),
    )
    left = sums.filter(pl.any_horizontal(pl.col(name) != 0 for name in AMOUNTS))
    names = list(Konverteret.to_schema().columns)
    return left.with_columns(kommunekode=pl.lit(kommunekode)).select(names).sort(WEEK)


def first_week(fra: date) -> date:
    """The first week that files from a month on hold whole: later than a week that an earlier file has a half of."""
    return monday(fra + timedelta(days=6))


def weekly(rows: pl.DataFrame, person: str = "cpr") -> pl.DataFrame:
    """Rows of months (`MONEY`, procent, maaned) as the files have them: a row per week, person and benefit."""
    return (
        rows.sort("maaned")
        .group_by("uge", person, "ydelse_id")
        .agg(*(pl.col(name).sum() for name in MONEY), pl.col("procent").last())
    )


def opening(own: pl.DataFrame, old: pl.DataFrame, fra: date) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The weeks that our state (`STATE`) and the old one have otherwise: our rows, and the old system's. Øre.

    `old`: `Konverteret` with borger_id, of the same municipality. Weeks before `first_week(fra)` are not compared, as
    the files do not hold them whole. A week of the old system stands in the month of its Monday.
    """
    week = ["uge", "borger_id", "ydelse_id"]
    mine = weekly(own.filter(pl.col("uge") >= first_week(fra)), "borger_id")
    theirs = old.filter(pl.col("uge") >= first_week(fra)).select(*week, "kommunekode", *MONEY, "procent")
    both = mine.join(theirs, on=week, how="full", coalesce=True, suffix="_gammel")
    apart = both.filter(pl.any_horizontal(pl.col(n).ne_missing(pl.col(f"{n}_gammel")) for n in (*MONEY, "procent")))
    rows = theirs.join(apart.select(week), on=week, how="semi").with_columns(
        maaned=pl.col("uge").dt.month_start(),
        hjemmel=pl.lit(OF_THE_OLD),
        regelversion=pl.lit(""),
        **{name: pl.lit(None, pl.Int64) for name in ("ydelsestaeller", "genoptjeningstaeller", "trin")},
    )
    return own.join(apart.select(week), on=week, how="semi").select(STATE), rows.select(STATE)


def differences(old: pl.DataFrame, new: pl.DataFrame, kommunekode: str) -> pl.DataFrame:
    """The weeks that two states (`WEEK`, `MONEY`, procent) have otherwise (`Stikproeve`), each with its cause. Øre."""
    both = old.with_columns(gammel=pl.lit(1)).join(
        new.with_columns(ny=pl.lit(1)), on=WEEK, how="full", coalesce=True, suffix="_ny"
    )
    less = {name: (pl.col(name).fill_null(0) - pl.col(f"{name}_ny").fill_null(0)).abs() for name in (*MONEY, "procent")}
    money = less["refusion_oere"] + less["medfinansiering_oere"]
    cause = (
        pl.when(pl.col("ny").is_null()).then(pl.lit(KUN_GAMMEL))
        .when(pl.col("gammel").is_null()).then(pl.lit(KUN_NY))
        .when(less["procent"] > 0).then(pl.lit(PROCENT))
        .when((less["beloeb_oere"] > 0) | (money > MOST_ROUNDED)).then(pl.lit(BELOEB))
        .when(money > 0).then(pl.lit(AFRUNDING))
        .when(less["indberettet_oere"] > 0).then(pl.lit(INDBERETTET))
    )  # fmt: skip
    values = [*AMOUNTS, "procent"]
    found = both.with_columns(
        pl.lit(kommunekode).alias("kommunekode"),
        cause.alias("aarsag"),
        *(pl.col(name).fill_null(0).alias(f"gammel_{name}") for name in values),
    ).with_columns(pl.col(f"{name}_ny").fill_null(0).alias(name) for name in values)
    names = list(Stikproeve.to_schema().columns)
    return found.filter(pl.col("aarsag").is_not_null()).select(names).sort(WEEK)
