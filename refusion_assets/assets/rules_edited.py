"""Rules edited: the law as assets to observe, with a data version per topic and benefit month; jobs after an edit."""

from collections.abc import Iterator
from datetime import date
from typing import Any

import dagster as dg

from refusion_assets.assets import classified
from refusion_assets.assets.gate import BEFORE_ALL, POOL, last_run, stopping
from refusion_assets.assets.refusion import FLEKSBIDRAG, FORLOEB, KRAV, RAEKKE, calculate, shown
from refusion_assets.assets.stale import as_metadata, difference, moved_money, refuse_undeclared, stale, sums
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.rules.change import as_ranges, data_versions, topics_of_results
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.partitions import OWNER
from refusion_assets.place import Place
from refusion_assets.rulebook.load import TOPICS, RuleError, load
from refusion_assets.store.events import VERSION_TAG, observed_versions, together

SE_REGLER, GENBEREGN_FORAELDEDE = "se_regler", "genberegn_foraeldede"
CHECK = dg.AssetCheckKey(RAEKKE, "maaneder_er_aktuelle")
SECONDS_BETWEEN_LOOKS = 30


def topic_keys(rules: Rulebook) -> list[dg.AssetKey]:
    """The assets of the topics that a benefit month rests on."""
    return [dg.AssetKey(["regler", name]) for name in topics_of_results(rules.emner)]


def build(rules: Rulebook, months: dg.PartitionsDefinition[str]) -> list[dg.SourceAsset]:
    """An asset for each topic that a benefit month rests on, cut by benefit month."""
    return [_topic(name, months) for name in topics_of_results(rules.emner)]


def _topic(name: str, months: dg.PartitionsDefinition[str]) -> dg.SourceAsset:
    """One topic of the rules: observed, it says for each benefit month which values are in force in it."""
    file = TOPICS[name][0] if name in TOPICS else "rules/"

    @dg.observable_source_asset(
        key=["regler", name],
        group_name="regler",
        partitions_def=months,
        description=(
            f"Emnet {name} i {file}. Dataversionen af en måned er et fingeraftryk af de værdier, der gælder i den; "
            "tekster, noter og datoen for kontrol er ikke med."
        ),
        metadata={"fil": file, "ejer": OWNER},
    )
    def observed(context: dg.OpExecutionContext, place: dg.ResourceParam[Place]) -> dg.DataVersionsByPartition:
        """The data version of the topic in every month whose version has changed since it was last observed."""
        emner, key = place.rules.emner, dg.AssetKey(["regler", name])
        keys = months.get_partition_keys()
        now = dict(zip(keys, data_versions(emner, name, map(month_of, keys)), strict=True))
        before = observed_versions(context.instance, key)
        fresh = {month: version for month, version in now.items() if before.get(month) != version}
        # Dagster stores what the function returns one by one; a batch costs a twentieth.
        with together(context.instance, context.run_id):
            for month, version in fresh.items():
                tags = {VERSION_TAG: version}
                context.log_event(dg.AssetObservation(key, partition=month, tags=tags))
        return dg.DataVersionsByPartition({})

    return observed


def jobs(rules: Rulebook) -> list[Any]:
    """The jobs after an edit: see what it touches, and calculate exactly that again."""
    look = dg.define_asset_job(
        SE_REGLER,
        selection=dg.AssetSelection.keys(*topic_keys(rules)) | dg.AssetSelection.checks(CHECK),
        description=(
            "Se, hvilke ydelsesmåneder en ændring af reglerne har gjort forældede. Sensoren regler_aendret starter det "
            "selv; brug det, når du vil se efter. Intet beregnes."
        ),
    )
    return [look, _recalculate_stale()]


def _recalculate_stale() -> dg.JobDefinition:
    """The job that calculates the benefit months that are out of date, and no others."""

    @dg.op(pool=POOL)
    def genberegn_maaneder(context: dg.OpExecutionContext, place: dg.ResourceParam[Place]) -> None:
        """The months that the rules have made old, as the last run knows them, without settling."""
        with stopping(), place.warehouse.open() as session:
            refuse_undeclared(session, place, BEFORE_ALL)
            old, last = stale(session, place).maaneder, last_run(session)
            if not old or last is None:
                context.log.info("Ingen ydelsesmåneder er forældede.")
                return
            context.log.info("Genberegner %s", as_ranges(old))
            before = sums(session, old[0], old[-1])
            classified.classify_through(session, place, last, place.telling(context.log.info))
            calculate(session, place, last, place.telling(context.log.info))
            change = moved_money(before, sums(session, old[0], old[-1]))
            numbers = {KRAV: classified.shown(session, place, old[0], old[-1])}
            numbers |= shown(session, place, old[0], old[-1])
        context.log.info("\n".join(difference(change, place.rules)))
        told = as_metadata(change, place.rules)
        context.add_output_metadata({"forældede måneder": as_ranges(old), **told})
        for key in (KRAV, FORLOEB, RAEKKE, FLEKSBIDRAG):
            for month in old:
                cell = f"{month:%Y-%m}"
                # The table is large: it stands on the run and on the last month alone.
                mine = told if month == old[-1] else {"forskel": told["forskel"]}
                said = mine if key == RAEKKE else {}
                metadata = numbers.get(key, {}).get(cell, {}) | said
                context.log_event(dg.AssetMaterialization(key, partition=cell, metadata=metadata))

    @dg.job(
        name=GENBEREGN_FORAELDEDE,
        description=(
            "Genberegn netop de ydelsesmåneder, en ændring af reglerne har gjort forældede, uden at opgøre. Brug det, "
            "når se_regler viser forældede måneder; kørslen viser forskellen for hver kommune og ydelse."
        ),
    )
    def genberegn_foraeldede() -> None:
        genberegn_maaneder()

    return genberegn_foraeldede


def sensor(place: Place) -> dg.SensorDefinition:
    """The sensor that looks at the rules again when their files have changed."""

    @dg.sensor(
        name="regler_aendret",
        job_name=SE_REGLER,
        description=(
            "Ser efter, om filerne i reglerne er ændret, og starter så se_regler. Den beregner intet; lad den være til."
        ),
        minimum_interval_seconds=SECONDS_BETWEEN_LOOKS,
        default_status=dg.DefaultSensorStatus.RUNNING,
    )
    def regler_aendret(context: dg.SensorEvaluationContext) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Starts `se_regler` when the rules are others than last and can stand; not before anything is calculated."""
        try:
            version = load(place.rules_folder, date.today()).version  # noqa: DTZ011  the day here
        except RuleError as error:
            yield dg.SkipReason(f"reglerne kan ikke stå: {error}")
            return
        if version == context.cursor or not place.warehouse.path.exists():
            yield dg.SkipReason("reglerne er de samme" if context.cursor else "der er ikke beregnet noget endnu")
            return
        context.update_cursor(version)
        yield dg.RunRequest()

    return regler_aendret
