"""Modtagelse: what must be whole before a month goes on, and what an operator lets pass, knowing why."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.domain.fund import CPR_FORM
from refusion_assets.domain.kontrol import FEJL, kroner_text
from refusion_assets.domain.stop import Fault, Stop, in_one_line
from refusion_assets.warehouse import Session

ACCEPTABLE = ("FIL-006",)
FILE_CHECKS: dict[str, tuple[tuple[str, ...], str]] = {
    "filer_er_hele": (("FIL-001", "FIL-002"), "Hver fil er den, manifestet siger, og har den aftalte form."),
    "afsendere_har_leveret": (("FIL-006",), "Hver afsender, der leverede sidste måned, har leveret."),
}
REGISTER_CHECKS: dict[str, tuple[tuple[str, ...], str]] = {
    "registre_er_hele": (("FIL-001", "FIL-002"), "Bopæl og fleksgrundlag er, hvad manifesterne siger."),
}
Accepted = Sequence[tuple[str, str, str]]
FileChecks = Mapping[str, tuple[tuple[str, ...], str]]


class Knowingly(dg.Config):
    """What the operator lets pass in this run, and why: `FIL-006:ksd-657` and a reason in words."""

    accepter: list[str] = []  # noqa: RUF012  Dagster reads the default
    begrundelse: str = ""


def wanted(config: Knowingly) -> list[tuple[str, str]]:
    """What the operator wants let pass, as rule and sender; Stop if it cannot be, or has no reason that may be kept."""
    found = [accepted.partition(":")[::2] for accepted in config.accepter]
    for regel, genstand in found:
        if regel not in ACCEPTABLE or not genstand:
            raise Stop(f"{regel}:{genstand} kan ikke accepteres; kun {', '.join(ACCEPTABLE)}:<kilde>-<enhed> kan")
        if not config.begrundelse.strip():
            raise Stop(f"{regel}:{genstand} kan kun accepteres med en begrundelse")
        if re.search(CPR_FORM, config.begrundelse):
            raise Stop("begrundelsen må ikke indeholde et personnummer; skriv den uden")
    return found


def let_pass(session: Session, month: date, config: Knowingly) -> None:
    """The operator's decisions kept (`kontrol.accept`); Stop on what cannot be let pass, and without a good reason."""
    for regel, genstand in wanted(config):
        session.run(
            "DELETE FROM kontrol.accept WHERE maaned = $m AND regel = $r AND genstand = $g",
            m=month,
            r=regel,
            g=genstand,
        )
        row = {"maaned": month, "regel": regel, "genstand": genstand, "begrundelse": config.begrundelse.strip()}
        session.insert("kontrol.accept", pl.DataFrame([row]))


def let_passed(session: Session, month: date) -> Accepted:
    """What has been let pass in a month: rule, what it is about, and why."""
    query = "SELECT regel, genstand, begrundelse FROM kontrol.accept WHERE maaned = $m ORDER BY ALL"
    return session.frame(query, m=month).rows()


def check_specs(checks: FileChecks, asset: list[str]) -> list[dg.AssetCheckSpec]:
    """The file checks of an asset, which it answers itself, as it has nothing to show where they fail."""
    return [dg.AssetCheckSpec(name, asset=asset, description=text, blocking=True) for name, (_, text) in checks.items()]


def answers(
    faults: Sequence[Fault],
    checks: FileChecks,
    accepted: Accepted = (),
) -> Iterator[dg.AssetCheckResult]:
    """The answer of every file check, given what is wrong and what has been let pass."""
    for name, (rules, text) in checks.items():
        mine = [fault for fault in faults if fault.regel in rules]
        passed = [f"{regel} {genstand} er accepteret: {why}" for regel, genstand, why in accepted if regel in rules]
        oere = sum(fault.beloeb_oere for fault in mine)
        yield dg.AssetCheckResult(
            check_name=name,
            passed=not mine,
            severity=dg.AssetCheckSeverity.ERROR,
            description=in_one_line(mine) if mine else " ".join([text, *passed]),
            metadata={
                "alvor": FEJL,
                "antal": len(mine),
                "beloeb_oere": oere,
                "beloeb": kroner_text(oere),
                "fejl": dg.MetadataValue.json([str(fault) for fault in mine]),
                "accepteret": dg.MetadataValue.json(passed),
            },
        )
