"""Understands what is wrong with a delivered line, and which of its columns shows it."""

import polars as pl

from refusion_assets.domain.fund import found, week
from refusion_assets.domain.raw import BIT, NAMES, REQUIRED
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.skrift import kroner

BETWEEN = " til "


def line_findings(lines: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """One finding (`FOUND`) per line and rule that it breaks. Øre; none on a reversal, whose amounts are ignored.

    `lines`: regel, fil, linje, kilde, enhed, art, borger_id, ydelse_id, konto, indberetning_id, reference_id,
    periode_start, periode_slut, beloeb_oere of the line, and from the raw row Kommunekode, Loenperiode_start,
    Loenperiode_slut, Indkomsttype, Indtaegtsart, Felt0098, Felt0114, Felt0115, udfyldt, ulaeselig; and `mangler`, the
    columns by which a waiting reversal found nothing, where that is asked for (EI-014). A municipal
    sender's lines are its own; a national one's have no kommunekode yet. Source: input.md sections 3 and 4.
    """
    municipal = pl.col("kilde").is_in([k.id for k in rules.kilder if k.art == "kommunal"])
    if "mangler" not in lines.columns:
        lines = lines.with_columns(mangler=pl.lit(None, dtype=pl.String))
    return found(
        lines,
        pl.col("regel"),
        ["fil", "linje"],
        kommunekode=pl.when(municipal).then(pl.col("enhed")),
        uge_fra=week("periode_start"),
        uge_til=week("periode_slut"),
        felt=_column(municipal, rules),
        vaerdi=_value(rules),
        beloeb_oere=pl.when(pl.col("art").fill_null("I") == "I").then(pl.col("beloeb_oere")),
    )


def _column(municipal: pl.Expr, rules: Rulebook) -> pl.Expr:
    """The column to look at where the line says more than the rule does; else null."""
    account = pl.when(_account_is_in_0114(rules)).then(pl.lit("Felt0114")).otherwise(pl.lit("Felt0115"))
    by_employer = pl.col("konto").is_in([k.konto for k in rules.konti if k.kontoart == 2])
    person = pl.when((pl.col("art") == "I") & by_employer).then(pl.lit("Felt0216")).otherwise(pl.lit("CPR"))
    period = pl.when(_pay_period_is_wrong()).then(pl.lit("Loenperiode")).otherwise(pl.lit("Ydelsesperiode"))
    regel = pl.col("regel")
    return (
        pl.when(regel.is_in(["YR-001", "YR-007", "YR-008"]))
        .then(account)
        .when(regel == "EI-001")
        .then(_empty_or_unreadable(municipal))
        .when(regel == "EI-002")
        .then(period)
        .when(regel == "EI-003")
        .then(person)
        .when(regel == "EI-014")
        .then(pl.col("mangler"))
    )


def _account_is_in_0114(rules: Rulebook) -> pl.Expr:
    """Whether the account that the rule is about stands in Felt0114: the unknown one, else the only one."""
    known = [k.konto for k in rules.konti]
    unknown = pl.col("Felt0114").is_not_null() & ~pl.col("Felt0114").is_in(known)
    filled = pl.col("Felt0114").is_not_null() & pl.col("Felt0115").is_null()
    return pl.when(pl.col("regel") == "YR-001").then(unknown).otherwise(filled)


def _value(rules: Rulebook) -> pl.Expr:
    """What stands there, as text; null where the column itself says it, or a person would be named."""
    account = pl.when(_account_is_in_0114(rules)).then(pl.col("Felt0114")).otherwise(pl.col("Felt0115"))
    pay = _span("Loenperiode_start", "Loenperiode_slut")
    benefit = _span("periode_start", "periode_slut")
    income = pl.concat_str([pl.col("Indkomsttype"), pl.col("Indtaegtsart").fill_null("tom")], separator="/")
    negative = pl.when(pl.col("Felt0098") < 0).then(kroner(pl.col("Felt0098")))
    regel = pl.col("regel")
    return (
        pl.when(regel.is_in(["YR-001", "YR-007", "YR-008"]))
        .then(account)
        .when(regel == "EI-001")
        .then(negative)
        .when(regel == "EI-002")
        .then(pl.when(_pay_period_is_wrong()).then(pay).otherwise(benefit))
        .when(regel == "EI-006")
        .then(income)
        .when(regel == "EI-007")
        .then(benefit)
        .when(regel == "EI-008")
        .then(pl.col("Kommunekode"))
        .when(regel == "EI-013")
        .then(pl.col("indberetning_id"))
        .when(regel.is_in(["EI-014", "EI-015"]))
        .then(pl.col("reference_id"))
    )


def _pay_period_is_wrong() -> pl.Expr:
    return (pl.col("Loenperiode_slut") < pl.col("Loenperiode_start")).fill_null(value=False)


def _span(first: str, last: str) -> pl.Expr:
    """Two dates as one text; an empty one is said to be."""
    ends = [pl.col(name).cast(pl.String).fill_null("tom") for name in (first, last)]
    return pl.concat_str(ends, separator=BETWEEN)


def _empty_or_unreadable(municipal: pl.Expr) -> pl.Expr:
    """The names of the columns that break EI-001: empty though required, unreadable, or negative. In order."""
    reversal = pl.col("art") == "T"
    required = {name: pl.lit(value=True) for name in REQUIRED} | {"ReferenceID": reversal, "Kommunekode": municipal}
    names = []
    for name in NAMES:
        empty = (pl.col("udfyldt") & BIT[name]) == 0
        wrong = (pl.col("ulaeselig") & BIT[name]) != 0
        if name in required:
            wrong |= empty & required[name].fill_null(value=False)
        if name == "Felt0098":
            wrong |= (pl.col(name) < 0).fill_null(value=False)
        names.append(pl.when(wrong).then(pl.lit(name)))
    listed = pl.concat_str(names, separator=", ", ignore_nulls=True)
    return pl.when(listed != "").then(listed)
