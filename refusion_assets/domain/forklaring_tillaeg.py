"""Understands what an explanation says beside the percentage of a week: fleksbidrag, and what lies above a maximum.

As in `forklaring`, the names of the fields are the keys of `--json` and do not change (docs/forklar.md).
"""

from dataclasses import dataclass
from typing import Literal

from refusion_assets.domain.forklar_post import Post


@dataclass(frozen=True, kw_only=True)
class Formel:
    """The numbers of the formula that a fleksbidrag comes from. Whole per cent, øre."""

    navn: str
    tilskud: str
    trin_procent: int
    forskel_procent: int
    beregningsgrundlag_procent: int
    loen_procent: int
    afrunding_oere: int


@dataclass(frozen=True, kw_only=True)
class Fleksbidrag:
    """The fleksbidrag of the month in one municipality, told in the last week with a day on the step. Øre, days.

    No basis received: its amounts are null, and `regel` says so. `post` and `formel` are null where the rules, as
    they are now, give another contribution.
    """

    ydelse_id: str
    ydelse: str
    kommunekode: str
    kommune: str
    beregningsgrundlag_oere: int | None
    loen_oere: int | None
    tilskud_refusion_oere: int
    dage_paa_trin: int
    dage: int
    refusion_oere: int
    formel: Formel | None
    regel: str | None
    regel_tekst: str | None
    hjemmel: str
    post: Post | None


@dataclass(frozen=True, kw_only=True)
class OverLoft:
    """What one maximum took of a row: of the amount, or of the refusion or medfinansiering. Øre.

    The maximum itself is null where the rules, as they are now, say otherwise.
    """

    loft_id: str
    periode: Literal["uge", "maaned"] | None
    loft_oere: int | None
    beloeb_oere: int
    refusion_oere: int
    hjemmel: str
    post: Post | None
