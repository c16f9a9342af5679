"""Understands the verdict of a check: did it pass, how much does it concern, and what must be done."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import plural

FEJL, ADVARSEL, INFO = "FEJL", "ADVARSEL", "INFO"
MOST_NAMED = 3
MOST_OERE = 2**62  # a cause beyond what 64 bits hold is told as this


class Resultat(Contract, key=["maaned", "kontrol"]):
    """One row per run month and check: the evidence that stays when the UI has forgotten."""

    maaned: pl.Date
    kontrol: pl.String
    tabel: pl.String
    alvor: pl.String = pa.Field(isin=[FEJL, ADVARSEL, INFO], description="how bad a no is")
    bestaaet: pl.Boolean
    blokerer: pl.Boolean
    antal: pl.Int64 = pa.Field(ge=0, description="how many rows the check points at")
    beloeb_oere: pl.Int64
    tekst: pl.String


class Tal(Contract, key=["maaned", "kontrol", "navn"]):
    """One row per run month, check and number that it counted or summed: the reconciliation, post by post."""

    maaned: pl.Date
    kontrol: pl.String
    navn: pl.String
    vaerdi: pl.Int64 = pa.Field(description="øre where the name ends in _oere, else a count")


class Afsender(Contract, key=["kilde", "enhed", "maaned"]):
    """One row per sender and month of receipt, as the run of that month saw it: how well it delivered."""

    kilde: pl.String
    enhed: pl.String
    maaned: pl.Date
    linjer: pl.Int64 = pa.Field(ge=0)
    karantaene: pl.Int64 = pa.Field(ge=0, description="lines in quarantine")
    sene: pl.Int64 = pa.Field(ge=0, description="lines received long after their period ended")
    rettelser: pl.Int64 = pa.Field(ge=0, description="reversals, and reports that lower")
    karantaene_oere: pl.Int64


class Accept(Contract, key=["maaned", "regel", "genstand"]):
    """One row per stop that an operator has let pass, knowing why: run month, rule and what it is about."""

    maaned: pl.Date
    regel: pl.String
    genstand: pl.String
    begrundelse: pl.String = pa.Field(str_length={"min_value": 1})


@dataclass(frozen=True)
class Outcome:
    """What a check found: rows it points at, their money (øre), a Danish sentence, and what to do about it.

    `tal` are counts and sums for the UI; `eksempler` at most three persons by surrogate, never by CPR.
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
    """Passed with the sentence `yes` if nothing is found; else `no`, what to do, and three of the persons at most.

    `found`: rows that the check points at; `oere`: their money; `people`: surrogates, null where nobody is named.
    """
    if not found:
        return Outcome(True, yes, tal=tal or {})
    named = () if people is None else tuple(people.drop_nulls().unique().sort()[:MOST_NAMED])
    return Outcome(False, no, action, found, oere, tal or {}, named)


def kroner_text(oere: int) -> str:
    """Øre as a Danish amount for a sentence: `-1.234,50 kr.`."""
    whole, rest = divmod(abs(oere), 100)
    sign = "-" if oere < 0 else ""
    return f"{sign}{whole:,}".replace(",", ".") + f",{rest:02d} kr."


def balance(name: str, parts: dict[str, int], whole: int) -> Outcome:
    """Whether the parts sum to the whole, to the øre."""
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
    """One outcome per rule id: passed if the month brings nothing new, or if the rule is only told. Øre.

    `found`: one row per finding with regel, borger_id, beloeb_oere (both may be null) and `ny`, true where no
    earlier run has listed it. Hjemmel: none, technical (contract: input.md section 4).
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
    """The subjects of findings of files, three at most: the sender and its count, or the file."""
    if "fil" not in findings.columns:
        return ""
    files = findings.filter(pl.col("regel").str.starts_with("FIL-"))
    about = pl.when(pl.col("regel") == "FIL-003").then("vaerdi").otherwise("fil")
    names = files.select(about.drop_nulls().head(MOST_NAMED)).to_series().to_list()
    return f": {'; '.join(names)}" if names else ""


def causes(moved: pl.DataFrame) -> pl.DataFrame:
    """What has moved an amount, in three parts that sum to the change: people, amount a person, percentage. Øre.

    `moved`: foer, nu (the money), borgere_foer, borgere, beloeb_foer, beloeb (what the percentages are taken of)
    of this month and the one before; the product of two amounts needs 128 bits. Adds flere_borgere,
    stoerre_beloeb and anden_procent, whole øre cut downwards; the percentage takes what the other two leave. Money
    that is a percentage of nothing, as fleksbidrag, has no third part.
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
    """A product over a whole, in whole øre; nothing where the whole is nothing."""
    return pl.when(whole != 0).then(product // pl.when(whole != 0).then(whole)).otherwise(0)
