"""Modtagelse: what must be whole before a month goes on, and what an operator lets pass, knowing why."""

from collections.abc import Iterator, Sequence
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.domain.stop import Fault, Stop
from refusion_assets.warehouse import Session

ACCEPTABLE = ("FIL-006",)
FILE_CHECKS = {
    "filer_er_hele": (("FIL-001", "FIL-002"), "Hver fil er den, manifestet siger, og har den aftalte form."),
    "afsendere_har_leveret": (("FIL-006",), "Hver afsender, der leverede sidste måned, har leveret."),
}


class Knowingly(dg.Config):
    """What the operator lets pass in this run, and why: `FIL-006:ksd-657` and a reason in words."""

    accepter: list[str] = []  # noqa: RUF012  Dagster reads the default
    begrundelse: str = ""


def let_pass(session: Session, month: date, config: Knowingly) -> None:
    """The operator's decisions kept (`kontrol.accept`); Stop without a reason, or on what cannot be let pass."""
    for accepted in config.accepter:
        regel, _, genstand = accepted.partition(":")
        if regel not in ACCEPTABLE or not genstand:
            raise Stop(f"{accepted} kan ikke accepteres; kun {', '.join(ACCEPTABLE)}:<kilde>-<enhed> kan")
        if not config.begrundelse.strip():
            raise Stop(f"{accepted} kan kun accepteres med en begrundelse")
        session.run(
            "DELETE FROM kontrol.accept WHERE maaned = $m AND regel = $r AND genstand = $g",
            m=month,
            r=regel,
            g=genstand,
        )
        row = {"maaned": month, "regel": regel, "genstand": genstand, "begrundelse": config.begrundelse.strip()}
        session.insert("kontrol.accept", pl.DataFrame([row]))


def answers(faults: Sequence[Fault]) -> Iterator[dg.AssetCheckResult]:
    """The answer of every file check, given what is wrong."""
    for name, (rules, text) in FILE_CHECKS.items():
        mine = [fault for fault in faults if fault.regel in rules]
        more = f" (og {len(mine) - 1} mere)" if len(mine) > 1 else ""
        yield dg.AssetCheckResult(
            check_name=name,
            passed=not mine,
            severity=dg.AssetCheckSeverity.ERROR,
            description=f"{mine[0]}{more}" if mine else text,
            metadata={"antal": len(mine), "fejl": dg.MetadataValue.json([str(fault) for fault in mine[:20]])},
        )
