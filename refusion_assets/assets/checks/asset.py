"""Checks: every question of the month as an asset check on the asset it speaks of, with its evidence kept."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from functools import partial

import dagster as dg
import polars as pl

from refusion_assets.assets.checks import calculated
from refusion_assets.assets.checks import received as modtaget
from refusion_assets.assets.checks.calculated import aendring_mod_sidste_maaned, maaneder_er_aktuelle
from refusion_assets.assets.checks.sample import efterregning_enig
from refusion_assets.assets.wiring import Asked, month_asked, stopping
from refusion_assets.domain.findings.verdict import ADVARSEL, FEJL, Outcome, kroner_text
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.place import Place
from refusion_assets.store.session import Session, among

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
    (calculated.raa_er_fordelt, "classified.krav", "Hver modtaget øre er brugt, tilbageført eller i karantæne."),
    (calculated.kontrakter_holder, "classified.krav", "Linjernes domme og kravene overholder deres kontrakter."),
    (
        modtaget.beloeb_er_under_graensen,
        "classified.krav",
        "Ingen ny linje er over sin ydelses grænse (EI-017), uden at det er accepteret.",
    ),
    (calculated.een_udbetaler, "classified.krav", "Nye dobbelte udbetalinger (EI-009) er under grænsen."),
    (
        calculated.uger_talt_een_gang,
        "duration.forloeb",
        "Hver borgeruge er talt een gang, og ingen er sprunget over.",
    ),
    (
        calculated.taeller_stiger_med_een,
        "duration.forloeb",
        "Tælleren stiger med een om ugen og begynder kun forfra efter § 6.",
    ),
    (calculated.noegler_er_unikke, "refusion.borger_uge_ydelse", "Ingen nøgle står to gange i krav, forløb og rækker."),
    (
        calculated.raekker_har_trin,
        "refusion.borger_uge_ydelse",
        "Hver række på en trappe har trin og det beløb, procenten giver.",
    ),
    (calculated.procenter_findes, "refusion.borger_uge_ydelse", "Hver procent er en, reglerne giver ydelsen."),
    (calculated.kravets_dele_er_kravet, "refusion.borger_uge_ydelse", "Hver borgers dele summer til borgerens krav."),
    (
        calculated.brugt_er_fordelt,
        "refusion.borger_uge_ydelse",
        "Hver brugt øre er afregnet, eller det er sagt, hvorfor den ikke er.",
    ),
    (
        efterregning_enig,
        "refusion.borger_uge_ydelse",
        "Den anden beregning er enig i hver række hos månedens stikprøve.",
    ),
    (
        calculated.kladde_er_tilstand,
        "opgoerelse.postering",
        "Alle kørslers kladder summer til tilstanden, nøgle for nøgle.",
    ),
    (calculated.kommuner_er_kladden, "opgoerelse.postering", "Kommunernes summer er kladdens."),
    (calculated.bilag_balancerer, "opgoerelse.postering", "Debet er kredit på hvert bilag."),
)
WARNS: tuple[Asks, ...] = (
    (modtaget.registre_er_laeselige, "raw.register", "Hver linje i nye filer med bopæl og fleksgrundlag kan læses."),
    (calculated.karantaene, "classified.krav", "Ingen linje er i karantæne."),
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
    (
        maaneder_er_aktuelle,
        "refusion.borger_uge_ydelse",
        "Hver ydelsesmåned er beregnet under regler, der giver det samme som dem, der gælder nu.",
    ),
    (calculated.adviseringer, "opgoerelse.postering", "Ingen advisering er åben."),
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


@dataclass(frozen=True)
class Look:
    """One look at a table after a step: the checks that it answers, with what the UI says of each, and the answers."""

    table: str
    after: str
    checks: dict[Check, str]
    answers: Callable[[Asked], dict[str, Outcome]]


def looks(rules: Rulebook) -> Iterator[Look]:
    """Every look of the month: a question each, and a family of rules each."""
    for asks, blocks in ((STOPS, True), (WARNS, False)):
        for question, table, text in asks:
            check = Check(question.__name__, table, FEJL if blocks else ADVARSEL, blocks)
            yield Look(table, table, {check: text}, partial(_asked_alone, question))
    for family in FAMILIES:
        entries = [rules.kontrol(regel) for regel in family.ids]
        checks = {
            Check(name_of(entry.id), family.table, entry.alvor, blocks=False): (
                f"{entry.navn} ({entry.id}, {entry.alvor})."
            )
            for entry in entries
        }
        yield Look(family.table, family.after, checks, partial(_asked_together, family.questions))


def _asked_alone(question: Question, asked: Asked) -> dict[str, Outcome]:
    """The answer of a question, by the name of its check."""
    return {question.__name__: question(asked)}


def _asked_together(questions: Questions, asked: Asked) -> dict[str, Outcome]:
    """The answers of a family, by the names of its checks."""
    return {name_of(regel): outcome for regel, outcome in questions(asked)}


def name_of(regel: str) -> str:
    """The name of a rule's check in the UI, where a name has no hyphen."""
    return regel.replace("-", "_")


def build(rules: Rulebook) -> list[dg.AssetChecksDefinition]:
    """An asset check for every question and for every rule that lines, files and weeks are tried by.

    All checks of a table are one step: a step of its own for each would cost more than most of the questions.
    """
    places: dict[tuple[str, str], list[Look]] = defaultdict(list)
    for look in looks(rules):
        places[look.table, look.after].append(look)
    return [_checks_of(table, after, mine) for (table, after), mine in places.items()]


def ask(asked: Asked, looks: Iterable[Look], chosen: Collection[str]) -> Iterator[tuple[Check, Outcome]]:
    """The chosen checks, by name, with their answers; a look that answers none of them is not taken."""
    for look in looks:
        wanted = [check for check in look.checks if check.name in chosen]
        answers = look.answers(asked) if wanted else {}
        yield from ((check, answers[check.name]) for check in wanted)


def _checks_of(table: str, after: str, looks: list[Look]) -> dg.AssetChecksDefinition:
    """The checks of a table: answers in Danish, numbers as metadata, and their evidence in DuckDB."""
    key, deps = dg.AssetKey(table.split(".")), [] if after == table else [dg.AssetKey(after.split("."))]
    specs = [
        dg.AssetCheckSpec(check.name, asset=key, description=text, blocking=check.blocks, additional_deps=deps)
        for look in looks
        for check, text in look.checks.items()
    ]

    @dg.multi_asset_check(name=f"kontrol_af_{table.replace('.', '_')}", specs=specs, can_subset=True)
    def table_checks(
        context: dg.AssetCheckExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.AssetCheckResult]:
        chosen = {key.name for key in context.selected_asset_check_keys}
        with stopping(), place.warehouse.open() as session:
            month = month_asked(session, context.run.tags)
            answers = list(ask(Asked(session, place, month), looks, chosen))
            keep_evidence(session, month, answers)
        for check, outcome in answers:
            yield answer(check, outcome)

    return table_checks


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


def keep_evidence(session: Session, month: date, answers: Sequence[tuple[Check, Outcome]]) -> None:
    """The evidence of some checks (`kontrol.resultat`, `kontrol.tal`), in place of what an earlier attempt left."""
    names = [check.name for check, _ in answers]
    for table in ("kontrol.resultat", "kontrol.tal"):
        session.run(f"DELETE FROM {table} WHERE maaned = $m AND {among('kontrol', 'k')}", m=month, k=names)
    rows = [
        {
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
        for check, outcome in answers
    ]
    session.insert("kontrol.resultat", pl.DataFrame(rows))
    # What a check counted and summed, a row each.
    tal = [(month, check.name, *number) for check, outcome in answers for number in outcome.tal.items()]
    schema = {"maaned": pl.Date, "kontrol": pl.String, "navn": pl.String, "vaerdi": pl.Int64}
    session.insert("kontrol.tal", pl.DataFrame(tal, schema=schema, orient="row"))
