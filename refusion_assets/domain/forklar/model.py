"""Understands the content of an explanation: one person and benefit month, for the text and `--json` alike.

The names of the fields are the keys of `--json` and do not change (docs/forklar.md). Amounts are whole øre, percentages
whole per cent, `uge` is a Monday, months are first days, and nothing here can hold a CPR number.
"""

import dataclasses
import json
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Literal


@dataclass(frozen=True, kw_only=True)
class Post:
    """The entry of `rules/` that something rests on."""

    fil: str
    id: str
    gaelder_fra: date
    hjemmel: str
    kilde: str
    kontrolleret: date
    sikkerhed: str


def entry(cited: Any, fil: str, name: str) -> Post:
    """An entry of the rules (`Cited`, with `gaelder_fra`) by file and name."""
    kept = [f.name for f in dataclasses.fields(Post) if f.name not in ("fil", "id")]
    return Post(fil=fil, id=name, **{name: getattr(cited, name) for name in kept})


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
class FleksbidragTold:
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
class OverLoftTold:
    """The øre that one maximum took of a row: of the amount, or of the refusion or medfinansiering.

    The maximum itself is null where the rules, as they are now, say otherwise.
    """

    loft_id: str
    periode: Literal["uge", "maaned"] | None
    loft_oere: int | None
    beloeb_oere: int
    refusion_oere: int
    hjemmel: str
    post: Post | None


Svar = Literal["forklaret", "ukendt_borger", "ingen_uger", "ikke_beregnet"]
Slags = Literal[
    "indberetning",
    "tilbagefoersel",
    "karantaene",
    "taeller",
    "overgang",
    "bopael",
    "regler",
    "grundlag",
    "tilskud",
    "uforklaret",
]


@dataclass(frozen=True, kw_only=True)
class IndberetningTold:
    """One delivered line about the person; weeks and causes refer to it by `nr`."""

    nr: int
    art: Literal["indberetning", "tilbagefoersel", "ukendt"]
    kilde: str
    kilde_navn: str
    afsender: str
    ydelse_id: str | None
    ydelse: str
    periode_start: date | None
    periode_slut: date | None
    beloeb_oere: int
    indberetning_id: str | None
    reference_id: str | None
    fil: str
    linje: int
    modtaget_maaned: date
    modtaget_tidspunkt: datetime | None
    status: Literal["brugt", "tilbagefoert", "karantaene", "virket", "venter"]
    regel: str | None
    regel_tekst: str | None
    handling: str | None
    tilbagefoert_af: list[int]


@dataclass(frozen=True, kw_only=True)
class Beroering:
    """One claim that has days in the week: the first and last of them, and how the benefit counts."""

    ydelse_id: str
    ydelse: str
    afsender: str
    kategori: str
    fra_dag: date
    til_dag: date
    krav_start: date
    krav_slut: date
    krav_oere: int
    indberetninger: list[int]


@dataclass(frozen=True, kw_only=True)
class GenoptjeningTold:
    """The weeks of self-support in the window, and the number that a restart requires."""

    antal: int
    kraevet: int
    vindue_fra: date
    foerste_uge: date | None
    naaet: bool
    post: Post


@dataclass(frozen=True, kw_only=True)
class Forfra:
    """The restart that began the count in the first week of the history, and its requirement."""

    uge: date
    kraevet: int
    vindue_aar: int
    post: Post


@dataclass(frozen=True, kw_only=True)
class Finansiering:
    """The municipality of a row, and why: it paid, or the person lived there."""

    kommunekode: str
    kommune: str
    grundlag: Literal["betaler", "bopael", "ukendt"]
    dag: date | None
    bopael_start: date | None
    bopael_slut: date | None


@dataclass(frozen=True, kw_only=True)
class Raekke:
    """One row of the result: percentage and amounts of a benefit in the week's days of the month. Øre, per cent."""

    ydelse_id: str
    ydelse: str
    side: str
    indberettet_oere: int
    beloeb_oere: int
    procent: int
    refusion_oere: int
    medfinansiering_oere: int
    ydelsestaeller: int | None
    trin: int | None
    trin_fra_uge: int | None
    trin_til_uge: int | None
    hjemmel: str
    post: Post | None
    overgang: Post | None
    over_loft: list[OverLoftTold]
    finansiering: Finansiering


@dataclass(frozen=True, kw_only=True)
class PosteringTold:
    """One ledger row of a run for the week's days of the month. Øre, negative where taken back."""

    koersel: int
    maaned: date | None
    raekketype: str
    oprindelig_koersel: int | None
    ydelse_id: str
    ydelse: str
    kommune: str
    procent: int
    beloeb_oere: int
    refusion_oere: int
    medfinansiering_oere: int
    ydelsestaeller: int | None
    regelversion: str


@dataclass(frozen=True, kw_only=True)
class SkiftetUge:
    """A week that moved a number: its kind to the run before and to this one, and the lines that made it so.

    No lines: changed rules made it so.
    """

    uge: date
    art_foer: str
    art_efter: str
    indberetninger: list[int]


@dataclass(frozen=True, kw_only=True)
class Aarsag:
    """One concrete reason why a run settled something else than the runs before it."""

    slags: Slags
    indberetninger: list[int]
    uge_fra: date | None = None
    uge_til: date | None = None
    antal_uger: int | None = None
    ydelsestaeller_foer: int | None = None
    ydelsestaeller_efter: int | None = None
    art_efter: str | None = None
    taeller_id: str | None = None
    maalt_uge: date | None = None
    skiftede_uger: list[SkiftetUge] = field(default_factory=list)
    forfra_foer: date | None = None
    forfra_efter: date | None = None
    kommune_foer: str | None = None
    kommune_efter: str | None = None
    regelversion_foer: str | None = None
    regelversion_efter: str | None = None
    hjemmel_foer: str | None = None
    hjemmel_efter: str | None = None
    grundlag_foer_oere: int | None = None
    grundlag_efter_oere: int | None = None
    loen_foer_oere: int | None = None
    loen_efter_oere: int | None = None


@dataclass(frozen=True, kw_only=True)
class Aendring:
    """The change that a run made for a benefit in the week, and its causes."""

    koersel: int
    maaned: date
    ydelse_id: str
    ydelse: str
    procent_foer: int | None
    procent_efter: int | None
    beloeb_foer_oere: int
    beloeb_efter_oere: int
    refusion_foer_oere: int
    refusion_efter_oere: int
    kommuner_foer: list[str]
    kommuner_efter: list[str]
    aarsager: list[Aarsag]


@dataclass(frozen=True, kw_only=True)
class UdenKommuneTold:
    """Money of the week that found no municipality (EI-018). Øre."""

    ydelse_id: str
    ydelse: str
    beloeb_oere: int
    regel: str
    regel_tekst: str


@dataclass(frozen=True, kw_only=True)
class Uge:
    """One week that touches the month. `art` is null for a week that is not over, or lies outside the count."""

    uge: date
    til: date
    dage_fra: date
    dage_til: date
    art: Literal["A", "B", "C"] | None
    art_navn: str
    taelling: int | None
    ydelsestaeller: int | None
    taelling_fra_uge: date | None
    genoptjening: GenoptjeningTold | None
    beroeringer: list[Beroering]
    indberetninger: list[int]
    raekker: list[Raekke]
    fleksbidrag: list[FleksbidragTold]
    uden_kommune: list[UdenKommuneTold]
    posteringer: list[PosteringTold]
    aendringer: list[Aendring]


@dataclass(frozen=True, kw_only=True)
class Stykke:
    """Consecutive weeks of one kind and one set of benefits in the history. Weeks."""

    fra_uge: date
    til_uge: date
    antal_uger: int
    art: str
    ydelser: list[str]
    ydelsestaeller_fra: int | None
    ydelsestaeller_til: int | None
    taelling: int
    genoptjent: bool


@dataclass(frozen=True, kw_only=True)
class ForaeldetTold:
    """A difference in the month too old for a run to settle: net to the municipality, and its entry. Øre."""

    koersel: int
    ydelse_id: str
    ydelse: str
    kommunekode: str
    kommune: str
    netto_oere: int
    gaelder_fra: date
    hjemmel: str


@dataclass(frozen=True, kw_only=True)
class Forklaring:
    """The explanation of a person and a benefit month.

    `udeladt`: in a package, that others' amounts are left out of the month, or only weeks of others out of the count.
    """

    svar: Svar
    borger_id: int | None
    maaned: date
    viden_til: date
    koersel: int | None
    koersel_status: str | None
    regelversion: str
    regler_nu: str
    optaelling: Post
    forfra: Forfra | None
    forloeb: list[Stykke]
    indberetninger: list[IndberetningTold]
    uger: list[Uge]
    foraeldet: list[ForaeldetTold]
    udeladt: Literal["maaned", "optaelling"] | None = None


def as_json(forklaring: Forklaring) -> str:
    """The explanation as JSON text: the fields by name, dates as `YYYY-MM-DD`, øre as integers.

    The field `udeladt` is left out where nothing is.
    """
    fields = dataclasses.asdict(forklaring)
    if forklaring.udeladt is None:
        del fields["udeladt"]
    return json.dumps(fields, default=lambda day: day.isoformat(), ensure_ascii=False, indent=2)
