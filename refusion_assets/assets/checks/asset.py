"""Checks: every question of the month as an asset check on the asset it speaks of, with its evidence kept."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets.checks import calculated, plausible, received, sample
from refusion_assets.assets.gate import Asked, month_asked, stopping
from refusion_assets.domain.findings import words
from refusion_assets.domain.findings.outcome import ADVARSEL, FEJL, Outcome
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import kroner_text
from refusion_assets.place import Place
from refusion_assets.store.session import Session, among

Questions = Callable[[Asked], Iterable[Outcome]]

# Checks that stop the month, and checks that only warn: table, question (it names the check), and text in the UI.
Asks = dict[str, dict[Callable[[Asked], Outcome], str]]
STOPS: Asks = {
    "classified.krav": {
        calculated.raa_er_fordelt: "Hver modtaget øre er brugt, tilbageført eller i karantæne.",
        calculated.kontrakter_holder: "Linjernes domme og kravene overholder deres kontrakter.",
        received.beloeb_er_under_graensen: (
            "Ingen ny linje er over sin ydelses grænse (EI-017), uden at det er accepteret."
        ),
        calculated.een_udbetaler: "Nye dobbelte udbetalinger (EI-009) er under grænsen.",
    },
    "duration.forloeb": {
        calculated.uger_talt_een_gang: "Hver borgeruge er talt een gang, og ingen er sprunget over.",
        calculated.taeller_stiger_med_een: "Tælleren stiger med een om ugen og begynder kun forfra efter § 6.",
    },
    "refusion.borger_uge_ydelse": {
        calculated.noegler_er_unikke: "Ingen nøgle står to gange i krav, forløb og rækker.",
        calculated.raekker_har_trin: "Hver række på en trappe har trin og det beløb, procenten giver.",
        calculated.procenter_findes: "Hver procent er en, reglerne giver ydelsen.",
        calculated.kravets_dele_er_kravet: "Hver borgers dele summer til borgerens krav.",
        calculated.brugt_er_fordelt: "Hver brugt øre er afregnet, eller det er sagt, hvorfor den ikke er.",
        plausible.uger_er_under_graensen: (
            "Ingen borgers uge er over sin ydelses stopgrænse (EI-020), uden at det er accepteret."
        ),
        sample.efterregning_enig: "Den anden beregning er enig i hver række hos månedens stikprøve.",
    },
    "opgoerelse.postering": {
        calculated.kladde_er_tilstand: "Alle kørslers kladder summer til tilstanden, nøgle for nøgle.",
        calculated.kommuner_er_kladden: "Kommunernes summer er kladdens.",
        calculated.bilag_balancerer: "Debet er kredit på hvert bilag.",
        plausible.kommuner_er_under_graensen: (
            "Ingen kommunes måned er over grænserne (OPG-001), uden at det er accepteret."
        ),
    },
}
WARNS: Asks = {
    "raw.register": {received.registre_er_laeselige: "Hver linje i nye filer med bopæl og fleksgrundlag kan læses."},
    "classified.krav": {
        calculated.karantaene: "Ingen linje er i karantæne.",
        received.ydelser_er_med: "Hver afsender indberetter stadig de ydelser, den indberettede sidste måned.",
        received.leveret_til_tiden: "Kun få af en afsenders linjer er modtaget længe efter deres periode.",
    },
    "refusion.borger_uge_ydelse": {
        calculated.maaneder_er_aktuelle: (
            "Hver ydelsesmåned er beregnet under regler, der giver det samme som dem, der gælder nu."
        )
    },
    "opgoerelse.postering": {
        calculated.adviseringer: "Ingen advisering er åben.",
        calculated.aendring_mod_sidste_maaned: (
            "Ingen ydelse i nogen kommune har flyttet sig ud over båndet siden sidste måned."
        ),
    },
}
# Table, step to wait for, rule ids of the contract, and the one query of the table that answers them all in that order.
FAMILIES: tuple[tuple[str, str, tuple[str, ...], Questions], ...] = (
    ("raw.indberetning", "classified.krav", words.FILREGLER, received.filregler),
    ("classified.krav", "classified.krav", words.LINJEREGLER, received.linjeregler),
    ("refusion.borger_uge_ydelse", "refusion.borger_uge_ydelse", words.UGEREGLER, received.ugeregler),
)


@dataclass(frozen=True)
class Check:
    """One check: its name, its table, the severity of a failure, if that stops the month, its text in the UI."""

    name: str
    table: str
    alvor: str
    blocks: bool
    text: str = ""


@dataclass(frozen=True)
class Look:
    """One look at a table after a step: the checks that it answers, and the answers in the same order."""

    checks: tuple[Check, ...]
    after: str
    answers: Questions


def looks(rules: Rulebook) -> Iterator[Look]:
    """Every look of the month: one for a question, one for a family of rules."""

    def alone(question: Callable[[Asked], Outcome]) -> Questions:
        return lambda asked: [question(asked)]

    for asks, alvor in ((STOPS, FEJL), (WARNS, ADVARSEL)):
        for table, questions in asks.items():
            for question, text in questions.items():
                check = Check(question.__name__, table, alvor, alvor == FEJL, text)
                yield Look((check,), table, alone(question))
    for table, after, ids, answers in FAMILIES:
        entries = [rules.kontrol(regel) for regel in ids]
        named = [(e.id.replace("-", "_"), table, e.alvor, False, f"{e.navn} ({e.id}, {e.alvor}).") for e in entries]
        yield Look(tuple(Check(*one) for one in named), after, answers)


def build(rules: Rulebook) -> list[dg.AssetChecksDefinition]:
    """An asset check for every question and for every rule of lines, files and weeks.

    All checks of a table are one step: a step of its own for each would cost more than most of the questions.
    """
    places: dict[tuple[str, str], list[Look]] = defaultdict(list)
    for look in looks(rules):
        places[look.checks[0].table, look.after].append(look)
    return [_checks_of(table, after, mine) for (table, after), mine in places.items()]


def ask(asked: Asked, looks: Iterable[Look], chosen: Collection[str]) -> Iterator[tuple[Check, Outcome]]:
    """The chosen checks, by name, with their answers; a look that answers none of them is not taken."""
    for look in looks:
        if any(check.name in chosen for check in look.checks):
            both = zip(look.checks, look.answers(asked), strict=True)
            yield from ((check, outcome) for check, outcome in both if check.name in chosen)


def _checks_of(table: str, after: str, looks: list[Look]) -> dg.AssetChecksDefinition:
    """The checks of a table: answers in Danish, numbers as metadata, and their evidence in DuckDB."""
    key, deps = dg.AssetKey(table.split(".")), [] if after == table else [dg.AssetKey(after.split("."))]
    specs = [
        dg.AssetCheckSpec(check.name, asset=key, description=check.text, blocking=check.blocks, additional_deps=deps)
        for look in looks
        for check in look.checks
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
    """The UI's view of a check: a sentence, the remedy, counts, and up to three persons by surrogate."""
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
    """The evidence of some checks (`kontrol.resultat`, `kontrol.tal`), in place of an earlier attempt's rows."""
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
    # The counts and sums of a check, a row each.
    tal = [(month, check.name, *number) for check, outcome in answers for number in outcome.tal.items()]
    schema = {"maaned": pl.Date, "kontrol": pl.String, "navn": pl.String, "vaerdi": pl.Int64}
    session.insert("kontrol.tal", pl.DataFrame(tal, schema=schema, orient="row"))
