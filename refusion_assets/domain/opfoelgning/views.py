"""Understands the tables of the follow-up: what each says of a municipality after a run, and how a share is written."""

from collections import defaultdict
from collections.abc import Callable, Mapping
from fractions import Fraction
from statistics import median
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import round_half_away
from refusion_assets.domain.contract import Contract, kinds_of
from refusion_assets.domain.rules.entries import Rulebook

KEY = ["koersel", "maaned", "kommunekode"]
UDENFOR, ANDEN_KOMMUNE = "udenfor", "anden kommune"
SPANDE = ("0", "1-13", "14-26", "27-39", "40-51")
AAR = ("0-1", "1-2", "2-5", "5+")
EGEN, ANDEN, NATIONAL, UDEN = "kommunen selv", "anden kommune", "a-kasse eller Udbetaling Danmark", "ingen kommune"
FEWEST = 5


def smallest_group(rules: Rulebook) -> int:
    """The fewest people of a group that is shown outside the municipality's own report; 5 where the rules say nothing.

    Hjemmel: none, technical (`drift.toml`, graense mindste_celle).
    """
    known = any(entry.id == "mindste_celle" for entry in rules.graenser)
    return rules.graense("mindste_celle") if known else FEWEST


class Trappe(Contract, key=[*KEY, "ydelse_id", "trin"]):
    """One row per run, benefit month, municipality, benefit and step: people, weeks and money as settled so far. Øre.

    The run month and the twelve before it. A benefit outside the staircase has no step.
    """

    koersel: pl.Int64
    maaned: pl.Date
    kommunekode: pl.String
    ydelse_id: pl.String
    trin: pl.Int64 = pa.Field(nullable=True, ge=1)
    borgere: pl.Int64 = pa.Field(ge=0, description="people with a week of the benefit on the step in the month")
    borgere_sidst: pl.Int64 = pa.Field(
        ge=0, description="people whose last week of the month in the municipality is here"
    )
    borgeruger: pl.Int64 = pa.Field(
        ge=0, description="weeks of people; a week cut by the month end counts in both months"
    )
    brutto_oere: pl.Int64 = pa.Field(description="amount, øre")
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    egen_oere: pl.Int64 = pa.Field(
        description="the municipality's own share: medfinansiering, or amount less refusion, øre"
    )
    egen_promille: pl.Int64 = pa.Field(
        nullable=True, description="own share of the amount, per mille; empty without an amount"
    )


class Bevaegelse(Contract, key=[*KEY, "fra", "til"]):
    """One row per run, municipality and pair of steps: people on the one a month ago and the other now. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month; `fra` is of the month before")
    kommunekode: pl.String
    fra: pl.String = pa.Field(description="'trin 1' and up, 'udenfor', or 'anden kommune' for those who moved in")
    til: pl.String = pa.Field(description="'trin 1' and up, 'udenfor', or 'anden kommune' for those who moved out")
    borgere: pl.Int64 = pa.Field(ge=0)
    aendring_oere: pl.Int64 = pa.Field(description="own share this month less that of the month before, øre")


class NaesteTrin(Contract, key=[*KEY, "ydelse_id", "fra", "til", "uger_til"]):
    """One row per run, municipality, benefit, pair of steps and weeks until the next: people who go on as now. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month; people are those on support in its last week")
    kommunekode: pl.String
    ydelse_id: pl.String
    fra: pl.Int64 = pa.Field(ge=1, description="step now")
    til: pl.Int64 = pa.Field(ge=1, description="step after it")
    uger_til: pl.Int64 = pa.Field(ge=1, le=13, description="weeks after the last week until the first on the new step")
    borgere: pl.Int64 = pa.Field(ge=0)
    tab_pr_uge_oere: pl.Int64 = pa.Field(description="more own share in a week on the new step, øre")
    tab_13_uger_oere: pl.Int64 = pa.Field(description="more own share within the next 13 weeks, øre")


class Genoptjening(Contract, key=[*KEY, "spand"]):
    """One row per run, municipality and range of free weeks: people with a count of support at the end of the month."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month; counts are those of its last whole week")
    kommunekode: pl.String = pa.Field(description="municipality of the person's last week of support")
    spand: pl.String = pa.Field(description="weeks of self-support in the window")
    borgere: pl.Int64 = pa.Field(ge=0)
    paa_ydelse: pl.Int64 = pa.Field(ge=0, description="people of them with support in that week")
    uger_der_falder_ud_13: pl.Int64 = pa.Field(ge=0, description="weeks that leave the window in the next 13 weeks")
    vaerdi_13_uger_oere: pl.Int64 = pa.Field(
        description="less own share in 13 weeks, were those with support on the first step, øre"
    )


class Prognose(Contract, key=[*KEY, "ydelse_id", "frem"]):
    """One row per run, municipality, benefit and month ahead: expected people and money, with a band. Øre.

    Only benefits whose error is known.
    """

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    ydelse_id: pl.String
    frem: pl.Int64 = pa.Field(ge=1, le=12, description="months after the run month")
    borgere: pl.Int64 = pa.Field(ge=0, description="expected people in the month, rounded")
    brutto_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    egen_oere: pl.Int64 = pa.Field(description="expected own share, øre")
    lav_oere: pl.Int64 = pa.Field(description="own share with the tenth percentile of the errors a year ago, øre")
    hoej_oere: pl.Int64 = pa.Field(description="own share with the ninetieth percentile of the errors a year ago, øre")
    fejl_promille: pl.Int64 = pa.Field(ge=0, description="mean error of the benefit's own share a year ago, per mille")


class Sammenlign(Contract, key=KEY):
    """One row per run and municipality: its own share of the last twelve months beside its group's median. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month, the last of the twelve")
    kommunekode: pl.String
    gruppe: pl.String = pa.Field(description="region and size; only size, or the country, where the group is too small")
    kommuner: pl.Int64 = pa.Field(ge=1, description="municipalities in the group")
    egen_promille: pl.Int64
    trin4_promille: pl.Int64 = pa.Field(
        description="amount on the fourth step or above of all on the staircase, per mille"
    )
    egen_pr_indbygger_oere: pl.Int64
    median_promille: pl.Int64 = pa.Field(description="the median of the group's own share, per mille")
    median_trin4_promille: pl.Int64
    median_pr_indbygger_oere: pl.Int64
    plads: pl.Int64 = pa.Field(ge=1, description="place in the group; 1 has the smallest own share")
    mer_oere: pl.Int64 = pa.Field(description="own share above the group's median, øre; below zero: under it")


class Rettelse(Contract, key=[*KEY, "aarsag"]):
    """One row per run, municipality and cause: its corrections to earlier months. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    aarsag: pl.String = pa.Field(description="cause, as in the statement of the run")
    borgere: pl.Int64 = pa.Field(ge=0)
    borgeruger: pl.Int64 = pa.Field(ge=0)
    alder_maaneder: pl.Int64 = pa.Field(ge=0, description="mean age of the weeks, whole months")
    netto_oere: pl.Int64 = pa.Field(description="refusion less medfinansiering, øre")


class SeneUger(Contract, key=[*KEY, "kilde", "maaneder_forsinket"]):
    """One row per run, municipality, source and months late: weeks that the run settles for the first time. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    kilde: pl.String = pa.Field(description="source that reports the benefit, as in kilder.toml")
    maaneder_forsinket: pl.Int64 = pa.Field(ge=1)
    borgere: pl.Int64 = pa.Field(ge=0, description="people with such a week")
    borgeruger: pl.Int64 = pa.Field(ge=0)
    beloeb_oere: pl.Int64
    netto_oere: pl.Int64 = pa.Field(description="refusion less medfinansiering, øre")
    oere_maaneder: pl.Int64 = pa.Field(description="net øre times months late: liquidity")


class Haengende(Contract, key=[*KEY, "regel", "afsender"]):
    """One row per run, municipality, rule and sender: money that is not settled, or in doubt, and who must act. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String = pa.Field(description="000: no municipality is known")
    regel: pl.String
    afsender: pl.String = pa.Field(description="source and unit of the file; empty: no file")
    alvor: pl.String
    antal: pl.Int64 = pa.Field(ge=1)
    beloeb_oere: pl.Int64
    aeldste_koersel: pl.Int64 = pa.Field(ge=1, description="the run that listed the oldest of them first")
    handling: pl.String


class Potentiale(Contract, key=[*KEY, "ydelse_id", "trin"]):
    """One row per run, municipality, benefit and step: the own share of a person, and of fewer weeks. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    ydelse_id: pl.String
    trin: pl.Int64 = pa.Field(nullable=True, ge=1)
    borgere: pl.Int64 = pa.Field(ge=0)
    egen_pr_uge_oere: pl.Int64 = pa.Field(description="mean own share of a week of a person, øre")
    egen_13_uger_oere: pl.Int64 = pa.Field(description="thirteen times the mean, øre")
    ved_10_pct_kortere_oere: pl.Int64 = pa.Field(
        description="less own share if a tenth of the people leave 13 weeks earlier, øre"
    )


class Langvarig(Contract, key=[*KEY, "aar_paa_ydelse"]):
    """One row per run, municipality and range of years of support: people on the staircase in the month. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    aar_paa_ydelse: pl.String = pa.Field(description="whole years of 52 weeks by the counter")
    borgere: pl.Int64 = pa.Field(ge=0)
    egen_oere: pl.Int64 = pa.Field(description="own share of the month on the staircase, øre")
    laengste_tiendedel_oere: pl.Int64 = pa.Field(
        description="the part of it that is of the tenth of the municipality's people with the highest counters, øre"
    )


class AndreKommuner(Contract, key=[*KEY, "betaler"]):
    """One row per run, financing municipality and payer: weeks and money of the run month. Øre.

    Money that found no municipality has kommunekode 000.
    """

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    betaler: pl.String
    borgere: pl.Int64 = pa.Field(ge=0)
    borgeruger: pl.Int64 = pa.Field(ge=0)
    brutto_oere: pl.Int64
    egen_oere: pl.Int64


class Budget(Contract, key=[*KEY, "konto"]):
    """One row per run, municipality and account of its budget: settled so far, expected, and the deviation. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month; the budget is of its year")
    kommunekode: pl.String
    konto: pl.String = pa.Field(
        description="account of the budget: funktion, dranst and gruppering as the voucher writes it"
    )
    budget_oere: pl.Int64
    forbrug_oere: pl.Int64 = pa.Field(description="settled on the account in the year so far, debit less credit, øre")
    prognose_rest_oere: pl.Int64 = pa.Field(
        nullable=True, description="expected in the rest of the year; empty: not known"
    )
    helaar_oere: pl.Int64 = pa.Field(nullable=True)
    afvigelse_oere: pl.Int64 = pa.Field(nullable=True, description="the expected year less the budget, øre")


class Gevinst(Contract, key=[*KEY, "gevinst_id"]):
    """One row per run, municipality and measure of gain: the baseline under today's rules, and now."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    gevinst_id: pl.String
    maal: pl.String = pa.Field(description="view and column")
    ejer: pl.String
    enhed: pl.String = pa.Field(isin=["oere", "antal", "promille"])
    baseline_fra: pl.Date
    baseline_til: pl.Date
    baseline: pl.Int64 = pa.Field(description="mean of a month of the baseline, under the rules of the run month")
    nu: pl.Int64 = pa.Field(description="the run month")
    forskel: pl.Int64
    maalsaetning: pl.Int64 = pa.Field(nullable=True, description="the difference aimed at")
    faldet_tilbage: pl.Boolean = pa.Field(description="the gain of the run before is smaller now")


class Ugetal(Contract, key=[*KEY, "uge", "ydelse_id"]):
    """One row per run, municipality, week and benefit: people and money of 24 months as settled so far. Øre."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="the run month")
    kommunekode: pl.String
    uge: pl.Date
    ydelse_id: pl.String
    antal: pl.Int64 = pa.Field(ge=0, description="people")
    brutto_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64


VIEWS: dict[str, type[Contract]] = {
    "trappe": Trappe,
    "bevaegelser": Bevaegelse,
    "naeste_trin": NaesteTrin,
    "genoptjening": Genoptjening,
    "prognose": Prognose,
    "sammenlign": Sammenlign,
    "rettelser": Rettelse,
    "sene_uger": SeneUger,
    "haengende": Haengende,
    "potentiale": Potentiale,
    "langvarige": Langvarig,
    "andre_kommuner": AndreKommuner,
    "budget": Budget,
    "gevinst": Gevinst,
}

SIZES = ((60_000, "60.000 indbyggere og flere"), (30_000, "30.000-59.999 indbyggere"), (0, "under 30.000 indbyggere"))
LEAST_ALIKE = 5
LANDET = "hele landet"


def compared(sums: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """The own share of each municipality beside the median of municipalities alike (`Sammenlign`). Per mille, øre.

    `sums`: kommunekode and the øre of twelve months: brutto, egen, trin4, paa (all steps). Alike are those of a region
    and size; of the size, or all, where fewer than five would be. Medians and places are of exact shares.
    """
    known = [
        (k.kommunekode, k.region, next(name for least, name in SIZES if k.indbyggertal >= least), k.indbyggertal)
        for k in rules.kommuner
    ]
    homes = pl.DataFrame(known, schema=["kommunekode", "region", "stoerrelse", "indbyggere"], orient="row")
    rows = sums.join(homes, on="kommunekode").with_columns(naer=pl.format("{}, {}", "region", "stoerrelse"))
    groups: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for row in rows.sort("kommunekode").iter_rows(named=True):
        for name in (row["naer"], row["stoerrelse"], LANDET):
            groups[name].append(row)
    made = []
    for row in rows.iter_rows(named=True):
        near = next((g for g in (row["naer"], row["stoerrelse"]) if len(groups[g]) >= LEAST_ALIKE), LANDET)
        alike = groups[near]
        middle = [median(share(one) for one in alike) for share in SHARES]
        order = sorted(alike, key=lambda one: (SHARES[0](one), one["kommunekode"]))
        made.append(
            (
                *(row["kommunekode"], near, len(alike)),
                *(_whole(share(row)) for share in SHARES),
                *map(_whole, middle),
                order.index(row) + 1,
                row["egen"] - _whole(middle[0] * row["brutto"] / THOUSAND),
            )
        )
    kinds = {name: kind for name, kind in kinds_of(Sammenlign).items() if name not in KEY[:2]}
    return pl.DataFrame(made, schema=kinds, orient="row")


THOUSAND = 1000
# Own share and fourth step in per mille, and own share per inhabitant in øre, of a municipality's sums.
SHARES: tuple[Callable[[Mapping[str, Any]], Fraction], ...] = (
    lambda row: Fraction(THOUSAND * row["egen"], row["brutto"]),
    lambda row: Fraction(THOUSAND * row["trin4"], max(row["paa"], 1)),
    lambda row: Fraction(row["egen"], row["indbyggere"]),
)


def _whole(number: Fraction) -> int:
    """A fraction as a whole number, rounded as money is. Its parts may need more than 64 bits."""
    parts = (np.array([part], object) for part in (number.numerator, number.denominator))
    return int(round_half_away(*parts)[0])
