"""Understands findings in people and their weeks: CPR number, residence, payers, amounts."""

from collections.abc import Callable
from datetime import timedelta

import numpy as np
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import Ints
from refusion_assets.domain.contract import Contract, kinds_of
from refusion_assets.domain.findings.words import found, week
from refusion_assets.domain.refusion.split import Spread
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import kroner

CPR_WEIGHTS = (4, 3, 2, 7, 6, 5, 4, 3, 2, 1)
REPLACEMENT_DAY = 60
THURSDAY = 3  # 1970-01-01, day number 0, lies three days after a Monday
PAIR = ["borger_id", "ydelse_id", "pligt_se", "pligt_se_2"]
AND = " og "


class Dobbelt(Contract, key=[*PAIR, "fra"]):
    """One row per person, benefit, pair of payers and unbroken run of days that both pay for. Øre."""

    borger_id: pl.Int64
    ydelse_id: pl.String
    pligt_se: pl.String
    pligt_se_2: pl.String
    fra: pl.Date
    til: pl.Date
    kilde: pl.String = pa.Field(description="the senders, in order")
    kommunekode: pl.String = pa.Field(nullable=True, description="the one municipality that pays, if there is one")
    beloeb_oere: pl.Int64 = pa.Field(ge=0, description="what the payer with the least has on the days")
    ny: pl.Boolean = pa.Field(description="one of the claims has lines first known in the run")


def fails_modulus_11(cpr: pl.Expr) -> pl.Expr:
    """True if a CPR number fails modulus 11; false for replacement numbers, which never meet it."""
    digits = [cpr.str.slice(place, 1).cast(pl.Int64) * weight for place, weight in enumerate(CPR_WEIGHTS)]
    tested = cpr.str.slice(0, 2).cast(pl.Int64) <= REPLACEMENT_DAY
    return tested & (pl.sum_horizontal(digits) % 11 != 0)


def person_findings(persons: pl.DataFrame) -> pl.DataFrame:
    """EI-004 once per person (borger_id) whose number fails modulus 11. Source: input.md section 4."""
    return found(persons, "EI-004", ["borger_id"])


def amount_findings(weeks: pl.DataFrame) -> pl.DataFrame:
    """EI-016 per person, week and benefit with an amount over its bound. Øre.

    `weeks`: borger_id, uge, ydelse_id, kommunekode, beloeb_oere, graense_oere. Rows within the bound are dropped.
    """
    over = weeks.filter(pl.col("beloeb_oere") > pl.col("graense_oere"))
    return found(
        over,
        "EI-016",
        ["borger_id", "uge", "ydelse_id"],
        uge_fra=pl.col("uge"),
        uge_til=pl.col("uge"),
        vaerdi=kroner(pl.col("graense_oere")),
    )


def homeless_findings(weeks: pl.DataFrame) -> pl.DataFrame:
    """EI-018 per person, benefit and unbroken run of weeks without residence; its first week identifies it. Øre.

    `weeks`: borger_id, ydelse_id, uge, beloeb_oere; a week cut by the end of a month has two rows.
    """
    key = ["borger_id", "ydelse_id"]
    summed = weeks.group_by(*key, "uge").agg(pl.col("beloeb_oere").sum()).sort(*key, "uge")
    follows = pl.col("uge") - pl.col("uge").shift(1).over(key) == timedelta(days=7)
    numbered = summed.with_columns(forloeb=(~follows.fill_null(value=False)).cast(pl.Int64).cum_sum())
    runs = numbered.group_by(*key, "forloeb", maintain_order=True).agg(
        uge_fra=pl.col("uge").min(), uge_til=pl.col("uge").max(), beloeb_oere=pl.col("beloeb_oere").sum()
    )
    return found(runs, "EI-018", ["borger_id", "ydelse_id", "uge_fra"])


def payer_findings(other: pl.DataFrame) -> pl.DataFrame:
    """EI-019 per person and benefit month, to the municipality that paid first. Øre.

    `other`: the columns of `refusion.anden_betaler`. `ydelse_id` is null if the month has several benefits.
    """
    one = pl.col("ydelse_id").n_unique() == 1
    homes = pl.col("bopael_kommunekode").unique().sort().str.join(AND)
    ordered = other.sort("borger_id", "maaned", "uge_fra", "kommunekode", "ydelse_id", "bopael_kommunekode")
    months = ordered.group_by("borger_id", "maaned", maintain_order=True).agg(
        pl.col("kommunekode").first(),
        pl.when(one).then(pl.col("ydelse_id").first()).alias("ydelse_id"),
        uge_fra=pl.col("uge_fra").min(),
        uge_til=pl.col("uge_til").max(),
        beloeb_oere=pl.col("beloeb_oere").sum(),
        vaerdi=homes,
    )
    return found(months, "EI-019", ["borger_id", "maaned"])


def basis_findings(months: pl.DataFrame) -> pl.DataFrame:
    """FB-001 per person, benefit month and paying municipality without a delivered basis for fleksbidrag.

    `months`: borger_id, maaned, ydelse_id, kommunekode, uge (the last week on the step). Source: rules.md section 7.
    """
    key = ["borger_id", "maaned", "kommunekode"]
    one = months.sort(*key, "uge").group_by(key, maintain_order=True).last()
    week, month = pl.col("uge"), pl.col("maaned").dt.strftime("%Y-%m")
    return found(one, "FB-001", key, uge_fra=week, uge_til=week, vaerdi=month)


OF_TABLES: dict[str, Callable[[pl.DataFrame], pl.DataFrame]] = {
    "refusion.uden_kommune": homeless_findings,
    "refusion.anden_betaler": payer_findings,
}
"""The tables whose rows are looked at whole, each with the function that makes its findings."""


def too_old_findings(listed: pl.DataFrame) -> pl.DataFrame:
    """FO-001 per key with a difference that is too old to settle. Øre, net to the municipality.

    `listed`: the rows of `opgoerelse.foraeldet` that no later row takes back. Source: rules.md section 7a.
    """
    key = ["uge", "maaned", "borger_id", "ydelse_id", "kommunekode"]
    entry = pl.format(
        "{} ({}, fra kørsel {})",
        pl.col("maaned").dt.strftime("%Y-%m"),
        pl.col("hjemmel"),
        pl.col("gaelder_fra").dt.strftime("%Y-%m"),
    )
    net = pl.col("refusion_oere") - pl.col("medfinansiering_oere")
    week = pl.col("uge")
    return found(listed, "FO-001", key, uge_fra=week, uge_til=week, vaerdi=entry, beloeb_oere=net)


def double_findings(stretches: pl.DataFrame) -> pl.DataFrame:
    """EI-009 per run of days that two payers pay for (`Dobbelt`); its first day identifies it. Øre."""
    return found(
        stretches,
        "EI-009",
        [*PAIR, "fra"],
        uge_fra=week("fra"),
        uge_til=week("til"),
        vaerdi=pl.concat_str("pligt_se", "pligt_se_2", separator=AND),
    )


def double_stretches(krav: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """One row per run of days for which two payers have the same benefit for the same person (`Dobbelt`). Øre.

    `krav`, claims above zero: borger_id, ydelse_id, klump, pligt_se, kilde_id, kommunekode_betaler, periode_start,
    periode_slut, beloeb_oere, ny. Claims of different `klump` share no day. Source: input.md section 4.
    """
    claims = krav.with_row_index("nr").with_columns(pl.col("nr").cast(pl.Int64))
    pairs = _pairs(claims)
    if pairs.is_empty():
        return pl.DataFrame(schema=kinds_of(Dobbelt))
    stretches = pairs.group_by(*PAIR, "straekning", maintain_order=True).agg(
        pl.col("fra").min(),
        pl.col("til").max(),
        kilde=pl.col("kilde_id").append(pl.col("kilde_id_2")).unique().sort().str.join(AND),
        kommuner=pl.col("kommunekode_betaler").append(pl.col("kommunekode_betaler_2")).unique(),
        ny=(pl.col("ny") | pl.col("ny_2")).any(),
    )
    first, second = (
        _money(pairs, stretches, claims, rules, nr).rename({"oere": name})
        for nr, name in (("nr", "oere_1"), ("nr_2", "oere_2"))
    )
    only = pl.when(pl.col("kommuner").list.len() == 1).then(pl.col("kommuner").list.first())
    done = stretches.join(first, on="straekning").join(second, on="straekning")
    done = done.with_columns(beloeb_oere=pl.min_horizontal("oere_1", "oere_2"), kommunekode=only)
    return done.select(list(Dobbelt.to_schema().columns)).sort([*PAIR, "fra"])


def _pairs(claims: pl.DataFrame) -> pl.DataFrame:
    """Pairs of claims of two payers that share the days fra..til, numbered by unbroken run of days."""
    pairs = claims.join(claims, on=["borger_id", "ydelse_id", "klump"], suffix="_2").filter(
        (pl.col("pligt_se") < pl.col("pligt_se_2"))
        & (pl.col("periode_start") <= pl.col("periode_slut_2"))
        & (pl.col("periode_start_2") <= pl.col("periode_slut"))
    )
    shared = pairs.with_columns(
        fra=pl.max_horizontal("periode_start", "periode_start_2"),
        til=pl.min_horizontal("periode_slut", "periode_slut_2"),
    ).sort([*PAIR, "fra", "til", "nr", "nr_2"])
    reached = pl.col("til").cum_max().shift(1).over(PAIR)
    broken = (pl.col("fra") > reached + timedelta(days=1)).fill_null(value=True)
    return shared.with_columns(straekning=broken.cast(pl.Int64).cum_sum())


def _money(
    pairs: pl.DataFrame, stretches: pl.DataFrame, claims: pl.DataFrame, rules: Rulebook, nr: str
) -> pl.DataFrame:
    """One payer's øre on the days of each run, by the reading `fordeling`. Source: rules.md section 5."""
    mine = pairs.select("straekning", nr=pl.col(nr)).unique().sort("straekning", "nr")
    rows = mine.join(stretches.select("straekning", "fra", "til"), on="straekning").join(claims, on="nr")
    start, end, first, last = (_days(rows[c]) for c in ("periode_start", "periode_slut", "fra", "til"))
    spread = Spread(start, end, rows["beloeb_oere"].to_numpy(), rules.laesning("fordeling"))
    oere = spread.placed(np.arange(rows.height), np.maximum(start, first), np.minimum(end, last))
    return (
        rows.select("straekning", oere=pl.Series(oere, dtype=pl.Int64)).group_by("straekning").agg(pl.col("oere").sum())
    )


def _days(days: pl.Series) -> Ints:
    return days.cast(pl.Int32).to_numpy().astype(np.int64) + THURSDAY
