"""Checks: every question of the month as an asset check on the asset it speaks of, with its evidence kept."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets import kontrol
from refusion_assets.assets.stikproeve import efterregning_enig
from refusion_assets.assets.wiring import Asked, month_of_run, stopping
from refusion_assets.context import Place
from refusion_assets.domain.kontrol import Outcome
from refusion_assets.warehouse import Session

Question = Callable[[Asked], Outcome]


@dataclass(frozen=True)
class Check:
    """One question, the table it speaks of, and whether a no stops the month."""

    question: Question
    table: str
    blocks: bool

    @property
    def name(self) -> str:
        """The name in the UI: a claim that reads well when it is green."""
        return self.question.__name__


CHECKS = (
    Check(kontrol.raa_er_fordelt, "classified.krav", True),
    Check(kontrol.een_udbetaler, "classified.krav", True),
    Check(kontrol.karantaene, "classified.krav", False),
    Check(kontrol.uger_talt_een_gang, "duration.forloeb", True),
    Check(kontrol.taeller_stiger_med_een, "duration.forloeb", True),
    Check(kontrol.raekker_har_trin, "refusion.borger_uge_ydelse", True),
    Check(kontrol.procenter_findes, "refusion.borger_uge_ydelse", True),
    Check(kontrol.brugt_er_fordelt, "refusion.borger_uge_ydelse", True),
    Check(efterregning_enig, "refusion.borger_uge_ydelse", True),
    Check(kontrol.bopael_kendt, "refusion.borger_uge_ydelse", False),
    Check(kontrol.kladde_er_tilstand, "opgoerelse.postering", True),
    Check(kontrol.kommuner_er_kladden, "opgoerelse.postering", True),
    Check(kontrol.bilag_balancerer, "opgoerelse.postering", True),
    Check(kontrol.adviseringer, "opgoerelse.postering", False),
    Check(kontrol.aendring_mod_sidste_maaned, "opgoerelse.postering", False),
)


def build() -> list[dg.AssetChecksDefinition]:
    """An asset check for every question."""
    return [_asset_check(check) for check in CHECKS]


def _asset_check(check: Check) -> dg.AssetChecksDefinition:
    """One question as an asset check: its answer in Danish, its numbers as metadata, its evidence in DuckDB."""

    @dg.asset_check(
        asset=dg.AssetKey(check.table.split(".")),
        name=check.name,
        blocking=check.blocks,
        description=check.question.__doc__,
    )
    def asset_check(context: dg.AssetCheckExecutionContext, place: dg.ResourceParam[Place]) -> dg.AssetCheckResult:
        month = month_of_run(context.run.tags)
        with stopping(), place.warehouse.open() as session:
            outcome = check.question(Asked(session, place, month))
            keep(session, check, month, outcome)
        return answer(check, outcome)

    return asset_check


def answer(check: Check, outcome: Outcome) -> dg.AssetCheckResult:
    """What the UI shows of a check: a sentence, what to do, counts, and up to three persons by surrogate."""
    metadata: dict[str, int | str] = {"antal": outcome.antal, "beloeb_oere": outcome.beloeb_oere, **outcome.tal}
    if outcome.handling:
        metadata["handling"] = outcome.handling
    if outcome.eksempler:
        metadata["eksempler_borger_id"] = ", ".join(map(str, outcome.eksempler))
    return dg.AssetCheckResult(
        passed=outcome.bestaaet,
        severity=dg.AssetCheckSeverity.ERROR if check.blocks else dg.AssetCheckSeverity.WARN,
        description=f"{outcome.tekst} {outcome.handling}".strip(),
        metadata=metadata,
    )


def keep(session: Session, check: Check, month: date, outcome: Outcome) -> None:
    """The evidence of a check in `kontrol.resultat`, in place of what the month's earlier attempt left."""
    session.run("DELETE FROM kontrol.resultat WHERE maaned = $m AND kontrol = $k", m=month, k=check.name)
    row = {
        "maaned": month,
        "kontrol": check.name,
        "tabel": check.table,
        "bestaaet": outcome.bestaaet,
        "blokerer": check.blocks,
        "antal": outcome.antal,
        "beloeb_oere": outcome.beloeb_oere,
        "tekst": outcome.tekst,
    }
    session.insert("kontrol.resultat", pl.DataFrame([row]))
