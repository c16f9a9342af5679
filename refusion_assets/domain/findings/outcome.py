"""Understands the outcome of a check: passed or not, rows and money concerned, and what to do."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import kroner_text, plural

FEJL, ADVARSEL, INFO = "FEJL", "ADVARSEL", "INFO"
MOST_NAMED = 3
MOST_OERE = 2**62  # a part that 64 bits cannot hold is cut to this


class Resultat(Contract, key=["maaned", "kontrol"]):
    """One row per run month and check: its outcome, kept also when Dagster's history is deleted."""

    maaned: pl.Date = pa.Field(description="run month")
    kontrol: pl.String
    tabel: pl.String
    alvor: pl.String = pa.Field(isin=[FEJL, ADVARSEL, INFO], description="how bad a no is")
    bestaaet: pl.Boolean
    blokerer: pl.Boolean
    antal: pl.Int64 = pa.Field(ge=0, description="how many rows the check points at")
    beloeb_oere: pl.Int64
    tekst: pl.String


class Tal(Contract, key=["maaned", "kontrol", "navn"]):
    """One row per run month, check and name: a count or a sum of the reconciliation."""

    maaned: pl.Date = pa.Field(description="run month")
    kontrol: pl.String
    navn: pl.String
    vaerdi: pl.Int64 = pa.Field(description="øre where the name ends in _oere, else a count")


class Afsender(Contract, key=["kilde", "enhed", "maaned"]):
    """One row per sender and month of receipt: the quality of its delivery, as that month's run found it."""

    kilde: pl.String
    enhed: pl.String
    maaned: pl.Date = pa.Field(description="month of receipt, first day")
    linjer: pl.Int64 = pa.Field(ge=0)
    karantaene: pl.Int64 = pa.Field(ge=0, description="lines in quarantine")
    sene: pl.Int64 = pa.Field(ge=0, description="lines received long after their period ended")
    rettelser: pl.Int64 = pa.Field(ge=0, description="reversals, and reports that lower")
    karantaene_oere: pl.Int64


class Accept(Contract, key=["maaned", "regel", "genstand"]):
    """One row per stop that an operator let pass: run month, rule, the file, line or sender, and the reason."""

    maaned: pl.Date = pa.Field(description="run month")
    regel: pl.String
    genstand: pl.String
    begrundelse: pl.String = pa.Field(str_length={"min_value": 1})


@dataclass(frozen=True)
class Outcome:
    """The outcome of a check: rows it points at, their money (øre), a Danish sentence, and what to do about it.

    `tal`: counts and sums for the UI. `eksempler`: borger_id of at most three persons, never a CPR number.
    """

    bestaaet: bool
    tekst: str
    handling: str = ""
    antal: int = 0
    beloeb_oere: int = 0
    tal: dict[str, int] = field(default_factory=dict)
    eksempler: tuple[int, ...] = ()


def judged(
    found: int,
    yes: str,
    no: str,
    action: str,
    *,
    oere: int = 0,
    tal: dict[str, int] | None = None,
    people: pl.Series | None = None,
) -> Outcome:
    """Passed with the sentence `yes` if `found` is 0; else the sentence `no`, `action` and at most three persons.

    `found`: number of rows at fault. `oere`: their money. `people`: their borger_id, null where unknown.
    """
    if not found:
        return Outcome(True, yes, tal=tal or {})
    named = () if people is None else tuple(people.drop_nulls().unique().sort()[:MOST_NAMED])
    return Outcome(False, no, action, found, oere, tal or {}, named)


def balance(name: str, parts: dict[str, int], whole: int) -> Outcome:
    """Passed if the sum of `parts` equals `whole` to the øre."""
    gap = whole - sum(parts.values())
    return judged(
        int(gap != 0),
        f"{name} stemmer: {kroner_text(whole)} er fordelt til øren.",
        f"{name} stemmer ikke: {kroner_text(gap)} mangler.",
        "Luk ikke måneden; sammenlign classified.linje med dom og krav, og meld fejlen til systemets ejere.",
        oere=gap,
        tal={f"{name}_oere": value for name, value in {**parts, "i_alt": whole}.items()},
    )


def by_rule(found: pl.DataFrame, ids: Iterable[str], rules: Rulebook) -> Iterator[Outcome]:
    """One outcome per rule id: passed if the run has no new finding, or if the rule is INFO. Øre.

    `found`, one row per finding: regel, borger_id, beloeb_oere (both may be null), `ny` (no earlier run listed it).
    Hjemmel: none, technical (contract: input.md section 4).
    """
    for regel in ids:
        mine = found.filter(regel=regel)
        fresh = mine.filter("ny")
        oere = int(fresh["beloeb_oere"].sum())
        kontrol = rules.kontrol(regel)
        still = f" {plural(mine.height, 'ældre fund er åbent', 'ældre fund er åbne')}." if mine.height else ""
        money = f" ({kroner_text(oere)})" if oere else ""
        more = f", {mine.height} er åbne i alt" if mine.height > fresh.height else ""
        new = plural(fresh.height, "nyt fund", "nye fund")
        outcome = judged(
            fresh.height,
            f"{regel}: {kontrol.navn}.{still}",
            f"{regel} holder ikke ({kontrol.navn}): {new}{money}{more}{_named(fresh)}.",
            kontrol.handling if "{" not in kontrol.handling else "Se adviseringsfilen.",
            oere=oere,
            tal={"nye": fresh.height, "aabne": mine.height, "nye_oere": oere},
            people=fresh["borger_id"],
        )
        yield replace(outcome, bestaaet=True) if kontrol.alvor == INFO else outcome


def _named(findings: pl.DataFrame) -> str:
    """At most three subjects of findings in files: the sender and its row count, or the file name."""
    if "fil" not in findings.columns:
        return ""
    files = findings.filter(pl.col("regel").str.starts_with("FIL-"))
    about = pl.when(pl.col("regel") == "FIL-003").then("vaerdi").otherwise("fil")
    names = files.select(about.drop_nulls().head(MOST_NAMED)).to_series().to_list()
    return f": {'; '.join(names)}" if names else ""


def causes(moved: pl.DataFrame) -> pl.DataFrame:
    """The change of an amount in three parts that sum to it: people, amount per person, percentage. Whole øre.

    `moved`, of this month and the one before: nu and foer (the money), borgere and borgere_foer, beloeb and beloeb_foer
    (the base of the percentages). Adds flere_borgere and stoerre_beloeb, rounded down, and anden_procent, the rest.
    Money without such a base, as fleksbidrag, has no third part. The product of two amounts needs 128 bits.
    """
    wide = moved.with_columns(pl.col(pl.Int64).cast(pl.Int128))
    foer, nu = pl.col("foer"), pl.col("nu")
    people = _share(foer * (pl.col("borgere") - pl.col("borgere_foer")), pl.col("borgere_foer"))
    without_rates = (pl.col("beloeb_foer") == 0) & (foer != 0)
    at_old_rates = pl.when(without_rates).then(nu).otherwise(_share(foer * pl.col("beloeb"), pl.col("beloeb_foer")))
    return wide.with_columns(
        flere_borgere=people, stoerre_beloeb=at_old_rates - foer - people, anden_procent=nu - at_old_rates
    ).with_columns(pl.col(pl.Int128).clip(-MOST_OERE, MOST_OERE).cast(pl.Int64))


def _share(product: pl.Expr, whole: pl.Expr) -> pl.Expr:
    """`product` over `whole`, rounded down to whole øre; 0 if `whole` is 0."""
    return pl.when(whole != 0).then(product // pl.when(whole != 0).then(whole)).otherwise(0)
