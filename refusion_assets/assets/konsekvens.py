"""Konsekvens: the same benefit months under a proposal beside the rules in force; settled rows do not change."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

import dagster as dg
import polars as pl
from pydantic import Field

from refusion_assets.assets.gate import stopping
from refusion_assets.assets.refusion import choose_stays, claims_of, read_shard, shards_of
from refusion_assets.assets.touched import (
    People,
    may_have_fleksbidrag,
    newest_bases,
    newest_snapshot,
    widen_for_fleksbidrag,
)
from refusion_assets.cluster.workers import worked
from refusion_assets.domain.calendar import last_day, monday, month_of, month_range
from refusion_assets.domain.konsekvens import Virkning, compare, effect
from refusion_assets.domain.refusion.shard import Book
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.proposal import Forskel, differences, new_accounts, same_count
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.figures import image
from refusion_assets.files import estimate as told
from refusion_assets.files.estimate import Konsekvens
from refusion_assets.partitions import OWNER, kroner
from refusion_assets.place import Place
from refusion_assets.rulebook.load import load
from refusion_assets.store.session import Session

VIRKNING = dg.AssetKey(["konsekvens", "virkning"])
JOB, STEP = "konsekvens", "konsekvens__virkning"
STORED = """
SELECT maaned, kommunekode, ydelse_id, sum(refusion_oere - medfinansiering_oere)::BIGINT AS oere
FROM refusion.tilstand WHERE maaned BETWEEN $first AND $last GROUP BY ALL"""


def estimate(
    session: Session, gaeldende: Rulebook, forslag: Rulebook, months: Sequence[date], progress: Callable[[str], None]
) -> Konsekvens:
    """The effect of a proposal on some benefit months, with the claims of the last run, beside the rules in force.

    One pass over the people with claims in the months calculates both rule sets, so the two differ by the rules alone.
    Months that the warehouse holds under the rules in force must give the same money.
    Stop if a month has not been run, or if the proposal changes what the claims were made by.
    """
    known = session.frame("SELECT maaned, regelversion FROM refusion.beregnet")
    if known.is_empty() or months[-1] > known["maaned"][0]:
        raise Stop(f"{months[-1]:%Y-%m} er ikke kørt endnu; kun måneder til og med den sidste kørsel kan anslås")
    found = differences(gaeldende, forslag)
    _refuse(found)
    last: date = known["maaned"][0]
    virkning = _over_people(session, Book(gaeldende, last), Book(forslag, last), months, progress)
    result = Konsekvens(
        gaeldende=gaeldende,
        forslag=forslag,
        maaneder=tuple(months),
        kendt=last,
        forskelle=tuple(found),
        nye_konti=tuple(new_accounts(gaeldende, forslag)),
        virkning=virkning,
        beregnet=known["regelversion"][0] == gaeldende.version,
    )
    if result.beregnet:
        _must_be_stored(session, virkning, months)
    return result


def _refuse(found: Sequence[Forskel]) -> None:
    """Stop if the proposal would change the claims: the rules in force at loading made them."""
    loaded = [forskel for forskel in found if forskel.indlaes]
    if loaded:
        first, more = loaded[0], f" (og {len(loaded) - 1} mere)" if len(loaded) > 1 else ""
        raise Stop(
            f"{first.fil}, {first.post}: {first.felt} ({first.gaeldende} -> {first.forslag}){more} ændrer, hvordan "
            "indberetningerne læses; det kan ikke anslås uden at indlæse igen. Prøv det i en kopi af dataroden med "
            "refusion genindlaes"
        )


def _over_people(
    session: Session, gaeldende: Book, forslag: Book, months: Sequence[date], progress: Callable[[str], None]
) -> Virkning:
    """The effect on everybody with a claim in the months, shard by shard; only sums are kept."""
    with_claims = session.temp(
        "people",
        """SELECT borger_id, $fra::DATE AS fra_uge FROM classified.krav
        WHERE beloeb_oere > 0 AND periode_start <= $last AND periode_slut >= $first GROUP BY 1 ORDER BY 1""",
        fra=monday(months[0]),
        first=months[0],
        last=last_day(months[-1]),
    )
    rules = replace(
        gaeldende.rules, fleksbidrag=tuple(entry for book in (gaeldende, forslag) for entry in book.rules.fleksbidrag)
    )
    chosen = People(with_claims, newest_snapshot(session, gaeldende.last))
    fleks = may_have_fleksbidrag(session, rules)
    people = widen_for_fleksbidrag(session, chosen, fleks, rules)
    stays, bases = choose_stays(session, people), newest_bases(session, people, fleks, gaeldende.last)
    readings = [book.rules.laesning("bopael_paa") for book in (gaeldende, forslag)]
    alike = same_count(gaeldende.rules, forslag.rules) and readings[0] == readings[1]
    shards = shards_of(session, people.relation)
    everybody, done = sum(shard.borgere for shard in shards), 0
    empty = pl.DataFrame(schema=EMPTY)
    total = compare(empty, empty)
    books = partial(effect, gaeldende, forslag, tuple(months), alike)
    claims = claims_of(people.relation)
    work = (partial(books, *read_shard(session, shard, claims, stays, bases)) for shard in shards)
    for shard, virkning in zip(shards, worked(work), strict=True):
        total, done = total.plus(virkning), done + shard.borgere
        progress(f"{done} af {plural(everybody, 'borger', 'borgere')} beregnet efter begge regelsæt")
    return total


EMPTY = {
    "uge": pl.Date, "maaned": pl.Date, "borger_id": pl.Int64, "ydelse_id": pl.String, "kommunekode": pl.String,
    "side": pl.String, "trin": pl.Int64, "beloeb_oere": pl.Int64, "refusion_oere": pl.Int64,
    "medfinansiering_oere": pl.Int64,
}  # fmt: skip


def _must_be_stored(session: Session, virkning: Virkning, months: Sequence[date]) -> None:
    """Stop if the months under the rules in force are not, to the øre, those that the warehouse holds."""
    key = ["maaned", "kommunekode", "ydelse_id"]
    net = pl.col("refusion_oere_gaeldende") - pl.col("medfinansiering_oere_gaeldende")
    here = virkning.celler.group_by(key).agg(her=net.sum())
    stored = session.frame(STORED, first=months[0], last=months[-1])
    both = here.join(stored, on=key, how="full", coalesce=True).fill_null(0)
    off = both.filter(pl.col("her") != pl.col("oere")).select((pl.col("her") - pl.col("oere")).abs())
    if off.height:
        raise Stop(
            f"anslaget stemmer ikke: de gældende regler giver {kroner_text(int(off['her'].sum()))} andet her end i "
            "lageret; meld fejlen til systemets ejere"
        )


class Forslag(dg.Config):
    """Hvilket forslag der anslås, og for hvilke ydelsesmåneder."""

    regler: str = Field(
        description="Mappen med forslaget: en hel kopi af rules/ med rettelserne i. En sti, der ikke begynder med /, "
        "er regnet fra dataroden."
    )
    fra: str = Field(description="Den første ydelsesmåned, YYYY-MM. Fx 2026-01.")
    til: str = Field(description="Den sidste ydelsesmåned, YYYY-MM. Den skal være kørt. Fx 2026-10.")
    mappe: str = Field(default="", description="Hvor filerne lægges. Tom: konsekvens/<forslagets version> i dataroden.")

    @property
    def maaneder(self) -> list[date]:
        """The months asked for; Stop if they are none."""
        try:
            months = month_range(month_of(self.fra), month_of(self.til))
        except ValueError:
            raise Stop(f"{self.fra}..{self.til} er ikke måneder; skriv YYYY-MM i både fra og til") from None
        if not months:
            raise Stop(f"{self.fra}..{self.til} er ingen måneder; fra skal ligge før til")
        return months


def estimated(place: Place, asked: Forslag, progress: Callable[[str], None]) -> tuple[Konsekvens, Path]:
    """The estimate and the folder its files are in.

    The published copy is read, so no run waits for it, and it waits for none.
    """
    folder = place.root / asked.regler
    if not folder.is_dir():
        raise Stop(f"{asked.regler} er ikke en mappe; forslaget er en hel kopi af rules/ med rettelserne i")
    forslag = load(folder)
    with place.warehouse.reading() as session:
        result = estimate(session, place.rules, forslag, asked.maaneder, progress)
    out = place.root / asked.mappe if asked.mappe else told.folder_of(place.root, forslag)
    told.write(result, out)
    return result, out


def build() -> list[dg.AssetsDefinition]:
    """The estimate of a proposal; asked for, never part of a critical week."""

    @dg.asset(
        key=VIRKNING,
        deps=[["classified", "krav"], ["raw", "register"]],
        group_name="konsekvens",
        kinds={"csv"},
        owners=[OWNER],
    )
    def virkning(
        context: dg.AssetExecutionContext, config: Forslag, place: dg.ResourceParam[Place]
    ) -> dg.MaterializeResult[None]:
        """Hvad et forslag til regler ville betyde: samme ydelsesmåneder efter forslaget og efter de gældende regler.

        Virkning for hver kommune, ydelse og trin, og hvor mange borgere der skifter trin. Læser den udgivne kopi;
        hverken kladden eller resultaterne røres. Se docs/konsekvens.md.
        """
        with stopping():
            result, out = estimated(place, config, place.telling(context.log.info))
        return dg.MaterializeResult(
            metadata={
                "forslag": dg.MetadataValue.md("\n".join(f"- {line.strip()}" for line in told.proposal(result))),
                **{name: dg.MetadataValue.md(tabel.markdown()) for name, tabel in told.tables(result).items()},
                "plot": dg.MetadataValue.md(image("kommuner", told.plot(result))),
                "forskel_kr": kroner(told.net_difference(result)),
                "mappe": dg.MetadataValue.path(str(out)),
            }
        )

    return [virkning]


def job() -> Any:
    """The job that estimates a proposal; its launchpad is filled in with an example."""
    example = {"regler": "forslag", "fra": "2026-01", "til": "2026-10"}
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.assets(VIRKNING),
        description="Hvad et forslag til regler ville betyde: skriv i Launchpad, hvor forslaget ligger, og hvilke "
        "ydelsesmåneder der spørges om. Intet afregnes, og intet resultat ændres.",
        config={"ops": {STEP: {"config": example}}},
    )
