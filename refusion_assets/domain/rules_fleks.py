"""Understands the shape of the rule of fleksbidrag: the first one that needs a formula of its own."""

from dataclasses import dataclass
from datetime import date

from refusion_assets.domain.rules_cited import Cited


@dataclass(frozen=True, kw_only=True)
class Fleksbidrag(Cited):
    """The state's contribution for the benefit `ydelse_id` on one step, from a date on; the numbers of its formula.

    The entry in force on the first of a month holds for the month; before the first entry there is none. Whole per
    cent; `afrunding_oere` is the unit that the contribution is rounded to; `formel` names a function.
    """

    id: str
    navn: str
    ydelse_id: str
    gaelder_fra: date
    trin_procent: int
    forskel_procent: int
    beregningsgrundlag_procent: int
    loen_procent: int
    afrunding_oere: int
    formel: str
    note: str = ""
