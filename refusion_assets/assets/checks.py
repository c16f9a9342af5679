"""Checks: every question of the month as an asset check on the asset it speaks of, with its evidence kept."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets import kontrol
from refusion_assets.assets import kontrol_modtaget as modtaget
from refusion_assets.assets.kontrol_aendring import aendring_mod_sidste_maaned
from refusion_assets.assets.stikproeve import efterregning_enig
from refusion_assets.assets.wiring import Asked, known, month_of_run, stopping
from refusion_assets.context import Place
from refusion_assets.domain.kontrol import ADVARSEL, FEJL, Outcome, kroner_text
from refusion_assets.domain.rules import Rulebook
from refusion_assets.warehouse import Session

Question = Callable[[Asked], Outcome]
Questions = Callable[[Asked], Iterator[tuple[str, Outcome]]]


@dataclass(frozen=True)
class Check:
    """One check: its name, the table it speaks of, how bad a no is, and whether a no stops the month."""

    name: str
    table: str
    alvor: str
    blocks: bool


@dataclass(frozen=True)
class Family:
    """The rules of the contract that one look at a table answers, an asset check each."""

    questions: Questions
    table: str
    ids: tuple[str, ...]
    after: str


Asks = tuple[Question, str, str]
STOPS: tuple[Asks, ...] = (
    (kontrol.raa_er_fordelt, "classified.krav", "Hver modtaget øre er brugt, tilbageført eller i karantæne."),
    (kontrol.een_udbetaler, "classified.krav", "Nye dobbelte udbetalinger (EI-009) er under grænsen."),
    (kontrol.uger_talt_een_gang, "duration.forloeb", "Hver borgeruge er talt een gang, og ingen er sprunget over."),
    (
        kontrol.taeller_stiger_med_een,
        "duration.forloeb",
        "Tælleren stiger med een om ugen og begynder kun forfra efter § 6.",
    ),
    (kontrol.noegler_er_unikke, "refusion.borger_uge_ydelse", "Ingen nøgle står to gange i krav, forløb og rækker."),
    (
        kontrol.raekker_har_trin,
        "refusion.borger_uge_ydelse",
        "Hver række på en trappe har trin og det beløb, procenten giver.",
    ),
    (kontrol.procenter_findes, "refusion.borger_uge_ydelse", "Hver procent er en, reglerne giver ydelsen."),
    (kontrol.kravets_dele_er_kravet, "refusion.borger_uge_ydelse", "Hver borgers dele summer til borgerens krav."),
    (
        kontrol.brugt_er_fordelt,
        "refusion.borger_uge_ydelse",
        "Hver brugt øre er afregnet, eller det er sagt, hvorfor den ikke er.",
    ),
    (
        efterregning_enig,
        "refusion.borger_uge_ydelse",
        "Den anden beregning er enig i hver række hos månedens stikprøve.",
    ),
    (
        kontrol.kladde_er_tilstand,
        "opgoerelse.postering",
        "Alle kørslers kladder summer til tilstanden, nøgle for nøgle.",
    ),
    (kontrol.kommuner_er_kladden, "opgoerelse.postering", "Kommunernes summer er kladdens."),
    (kontrol.bilag_balancerer, "opgoerelse.postering", "Debet er kredit på hvert bilag."),
)
WARNS: tuple[Asks, ...] = (
    (kontrol.karantaene, "classified.krav", "Ingen linje er i karantæne."),
    (
        modtaget.ydelser_er_med,
        "classified.krav",
        "Hver afsender indberetter stadig de ydelser, den indberettede sidste måned.",
    ),
    (
        modtaget.leveret_til_tiden,
        "classified.krav",
        "Kun få af en afsenders linjer er modtaget længe efter deres periode.",
    ),
    (kontrol.adviseringer, "opgoerelse.postering", "Ingen advisering er åben."),
    (
        aendring_mod_sidste_maaned,
        "opgoerelse.postering",
        "Ingen ydelse i nogen kommune har flyttet sig ud over båndet siden sidste måned.",
    ),
)
FAMILIES = (
    Family(modtaget.filregler, "raw.indberetning", modtaget.FILREGLER, "classified.krav"),
    Family(modtaget.linjeregler, "classified.krav", modtaget.LINJEREGLER, "classified.krav"),
    Family(modtaget.ugeregler, "refusion.borger_uge_ydelse", modtaget.UGEREGLER, "refusion.borger_uge_ydelse"),
)


def build(rules: Rulebook) -> list[dg.AssetChecksDefinition]:
    """An asset check for every question and for every rule that lines, files and weeks are tried by."""
    stops = [_asset_check(*asks, blocks=True) for asks in STOPS]
    warns = [_asset_check(*asks, blocks=False) for asks in WARNS]
    return [*stops, *warns, *(_rule_checks(family, rules) for family in FAMILIES)]


def name_of(regel: str) -> str:
    """The name of a rule's check in the UI, where a name has no hyphen."""
    return regel.replace("-", "_")


def _rule_checks(family: Family, rules: Rulebook) -> dg.AssetChecksDefinition:
    """The rules of a family as asset checks that come of one look at the table."""
    table, after = (dg.AssetKey(name.split(".")) for name in (family.table, family.after))
    specs = [
        dg.AssetCheckSpec(
            name_of(regel),
            asset=table,
            description=f"{rules.kontrol(regel).navn} ({regel}, {rules.kontrol(regel).alvor}).",
            additional_deps=[] if after == table else [after],
        )
        for regel in family.ids
    ]

    @dg.multi_asset_check(name=family.questions.__name__, specs=specs)
    def rule_checks(
        context: dg.AssetCheckExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.AssetCheckResult]:
        with stopping(), place.warehouse.open() as session:
            month = known(session, month_of_run(context.run.tags))
            outcomes = dict(family.questions(Asked(session, place, month)))
            for regel, outcome in outcomes.items():
                check = Check(name_of(regel), family.table, place.rules.kontrol(regel).alvor, blocks=False)
                keep(session, check, month, outcome)
        for regel, outcome in outcomes.items():
            check = Check(name_of(regel), family.table, place.rules.kontrol(regel).alvor, blocks=False)
            yield answer(check, outcome)

    return rule_checks


def _asset_check(question: Question, table: str, text: str, *, blocks: bool) -> dg.AssetChecksDefinition:
    """One question as an asset check: its answer in Danish, its numbers as metadata, its evidence in DuckDB."""
    check = Check(question.__name__, table, FEJL if blocks else ADVARSEL, blocks)

    @dg.asset_check(
        asset=dg.AssetKey(check.table.split(".")),
        name=check.name,
        blocking=check.blocks,
        description=text,
    )
    def asset_check(context: dg.AssetCheckExecutionContext, place: dg.ResourceParam[Place]) -> dg.AssetCheckResult:
        with stopping(), place.warehouse.open() as session:
            month = known(session, month_of_run(context.run.tags))
            outcome = question(Asked(session, place, month))
            keep(session, check, month, outcome)
        return answer(check, outcome)

    return asset_check


def answer(check: Check, outcome: Outcome) -> dg.AssetCheckResult:
    """What the UI shows of a check: a sentence, what to do, counts, and up to three persons by surrogate."""
    metadata: dict[str, int | str] = {"alvor": check.alvor, "antal": outcome.antal, "beloeb_oere": outcome.beloeb_oere}
    metadata |= {"beloeb": kroner_text(outcome.beloeb_oere), **outcome.tal}
    if outcome.handling:
        metadata["handling"] = outcome.handling
    if outcome.eksempler:
        metadata["eksempler_borger_id"] = ", ".join(map(str, outcome.eksempler))
    return dg.AssetCheckResult(
        asset_key=check.table.split("."),
        check_name=check.name,
        passed=outcome.bestaaet,
        severity=dg.AssetCheckSeverity.ERROR if check.blocks else dg.AssetCheckSeverity.WARN,
        description=f"{outcome.tekst} {outcome.handling}".strip(),
        metadata=metadata,
    )


def keep(session: Session, check: Check, month: date, outcome: Outcome) -> None:
    """The evidence of a check (`kontrol.resultat`, `kontrol.tal`), in place of what an earlier attempt left."""
    for table in ("kontrol.resultat", "kontrol.tal"):
        session.run(f"DELETE FROM {table} WHERE maaned = $m AND kontrol = $k", m=month, k=check.name)
    row = {
        "maaned": month,
        "kontrol": check.name,
        "tabel": check.table,
        "alvor": check.alvor,
        "bestaaet": outcome.bestaaet,
        "blokerer": check.blocks,
        "antal": outcome.antal,
        "beloeb_oere": outcome.beloeb_oere,
        "tekst": outcome.tekst,
    }
    session.insert("kontrol.resultat", pl.DataFrame([row]))
    session.insert("kontrol.tal", _numbers(check, month, outcome.tal))


def _numbers(check: Check, month: date, tal: Mapping[str, int]) -> pl.DataFrame:
    """What a check counted and summed, a row each (`kontrol.tal`)."""
    rows = [(month, check.name, navn, vaerdi) for navn, vaerdi in tal.items()]
    schema = {"maaned": pl.Date, "kontrol": pl.String, "navn": pl.String, "vaerdi": pl.Int64}
    return pl.DataFrame(rows, schema=schema, orient="row")
