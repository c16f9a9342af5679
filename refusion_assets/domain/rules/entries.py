"""Understands the shape of a rule: frozen entries as the kernel reads them, with their citations."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from typing import Any, Literal, TypeVar

from refusion_assets.domain.rules.cited import Cited
from refusion_assets.domain.rules.posting import (
    Bilagsform,
    Kommunebilag,
    Kommunekonto,
    Kontering,
    OwnPostings,
)


@dataclass(frozen=True, kw_only=True)
class Taeller(Cited):
    """A counter beside the law's own: weeks of some benefits only, whatever their kategori.

    A week that a day from `gaelder_fra` in a claim of one of `ydelser` touches is counted. Free weeks are the law's
    whole weeks of self-support that no such claim touches (`selvforsoergelse`), or all whole weeks that no such claim
    touches (`uden_ydelserne`). `genoptjening_uger` free weeks within `vindue_aar` years start the count over; it never
    starts over where both are missing, and then the weeks have no genoptjeningstaeller. Else as the law's own counter.
    """

    id: str
    gaelder_fra: date
    ydelser: tuple[str, ...]
    fri_uge: Literal["selvforsoergelse", "uden_ydelserne"]
    genoptjening_uger: int | None = None
    vindue_aar: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Loft(Cited):
    """A maximum from a date on, of one person's money of each of some benefits in a week or calendar month. Øre.

    Of the amount that the percentage is taken of (`beloeb`), or of the refusion or medfinansiering (`refusion`).
    The one in force on the week's Monday or on the first of the month holds; before the first there is none.
    """

    id: str
    gaelder_fra: date
    ydelser: tuple[str, ...]
    periode: Literal["uge", "maaned"]
    beloeb_oere: int
    paa: Literal["beloeb", "refusion"]
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Enhedspris(Cited):
    """The price of one unit of a benefit whose amount fields hold a number of units, from a date on. Whole øre.

    The one in force on the first day of a claim's period holds; the first holds before its date too.
    """

    ydelse_id: str
    gaelder_fra: date
    pris_oere: int
    note: str = ""


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


LOVENS_TAELLER = "ydelser"


@dataclass(frozen=True, kw_only=True)
class Ydelse(Cited):
    """One benefit from a date on: how its weeks count and which percentage its money gets."""

    ydelse_id: str
    gaelder_fra: date
    navn: str
    lov_nr: str = ""
    kategori: Literal["A", "B", "-"]
    side: Literal["refusion", "medfinansiering", "ingen"]
    sats: str = ""
    beloebsfelter: str
    finansieres_fra: date | None = None
    kontering: str = ""

    @property
    def felter(self) -> tuple[str, ...]:
        """The amount fields that are summed, as four-digit field numbers."""
        return tuple(self.beloebsfelter.split(","))

    @property
    def trappe(self) -> str | None:
        """The staircase this benefit stands on: the one of its side, or one named in `sats`."""
        kind, _, name = self.sats.partition(" ")
        return (name or self.side) if kind == "trappe" else None

    @property
    def fast_procent(self) -> int | None:
        """The fixed percentage outside the staircase, whole per cent."""
        kind, _, number = self.sats.partition(" ")
        return int(number) if kind == "fast" else None


@dataclass(frozen=True, kw_only=True)
class Konto(Cited):
    """One YR account: the benefit it means and the form a report on it must have."""

    konto: str
    ydelse_id: str
    kilde_id: str
    felt: Literal["0114", "0115"]
    kontoart: Literal[1, 2, 3]
    indkomsttype: str
    indtaegtsart: str = ""
    gyldig_fra: date
    gyldig_til: date | None = None


@dataclass(frozen=True, kw_only=True)
class Kilde(Cited):
    """One sender of raw files."""

    id: str
    navn: str
    art: Literal["kommunal", "national"]
    gaelder_fra: date


@dataclass(frozen=True, kw_only=True)
class Trin:
    """One step: the first week number it covers and its whole per cent."""

    fra_uge: int
    procent: int
    hjemmel: str


@dataclass(frozen=True, kw_only=True)
class Trappe(Cited):
    """One staircase from a date on, and the counter whose number it is climbed by."""

    id: str
    gaelder_fra: date
    trin: tuple[Trin, ...]
    taeller: str = LOVENS_TAELLER
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Skaering(Cited):
    """A date the count or the percentages turn on (`optaelling`, `overgang`)."""

    gaelder_fra: date
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Genoptjening(Cited):
    """The requirement for a restart: so many whole weeks within so many years."""

    gaelder_fra: date
    uger: int
    vindue_aar: int
    metode: Literal["hele_kalenderuger"]


@dataclass(frozen=True, kw_only=True)
class Laesning(Cited):
    """A named switch where the text can be read in more than one way."""

    navn: str
    vaerdi: str
    muligheder: tuple[str, ...]
    gaelder_fra: date
    spoergsmaal: str = ""
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Koersel(Cited):
    """The calendar of the runs: the first run month and the day of the month after."""

    gaelder_fra: date
    koerselsdag: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class KritiskUge(Cited):
    """When the month starts by itself, and when the operators are told; bank days of the month after the run month.

    `ved_frist`: at the deadline with a sender missing, wait for a person, or run on with FIL-006 accepted.
    """

    gaelder_fra: date
    aabner_bankdag: int
    aabner_kl: str
    frist_bankdag: int
    frist_kl: str
    ved_frist: Literal["vent", "fortsaet"]
    begrundelse: str = ""
    sen_bankdag: int
    opgjort_bankdag: int
    plads_til_koersler: int
    note: str = ""


MAAL = Literal["trappe.borgere", "trappe.brutto_oere", "trappe.egen_oere", "trappe.egen_promille"]


@dataclass(frozen=True, kw_only=True)
class Gevinst(Cited):
    """A gain that somebody owns: a measure of every municipality, or of one, against the mean month of a baseline.

    `maal`: view and column. `ydelse_id`, `trin`, `kommunekode`: only these. `maalsaetning`: the difference aimed at, in
    the unit of the measure; below zero where less is better, as it is without a `maalsaetning`.
    """

    id: str
    maal: MAAL
    ydelse_id: str = ""
    trin: int | None = None
    kommunekode: str = ""
    ejer: str
    baseline_fra: date
    baseline_til: date
    maalsaetning: int | None = None
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Graense(Cited):
    """One bound that reports are tested against."""

    id: str
    vaerdi: int
    gaelder_fra: date
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Kontrol(Cited):
    """One rule that deliveries are checked by: how bad a breach is, what a caseworker reads, and who acts."""

    id: str
    navn: str
    alvor: Literal["FEJL", "ADVARSEL", "INFO"]
    felt: str
    tekst: str
    handling: str
    gaelder_fra: date
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class IkkeModelleret(Cited):
    """A paragraph we knowingly leave out, and what that means."""

    hvad: str
    konsekvens: str


@dataclass(frozen=True, kw_only=True)
class Tilbagevirkning(Cited):
    """That a change of a topic is meant to reach back into settled benefit months, from one on, and why."""

    emne: str
    fra: date
    begrundelse: str
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Foraeldelse(Cited):
    """The greatest age of a benefit month that a run corrects, from a run month on.

    `aar` or `maaneder`. `regnes_fra`: the age counts to the run month, or to receipt of the change. `gaelder`: the
    direction.
    """

    gaelder_fra: date
    aar: int | None = None
    maaneder: int | None = None
    regnes_fra: Literal["ydelsesmaaned", "modtaget"]
    gaelder: Literal["begge", "til_kommunen", "til_staten"]
    note: str = ""

    @property
    def graense(self) -> int:
        """The limit in months."""
        return 12 * (self.aar or 0) + (self.maaneder or 0)


@dataclass(frozen=True, kw_only=True)
class Kommune:
    """One of the municipalities."""

    kommunekode: str
    navn: str
    region: str
    indbyggertal: int
    aar: int


E = TypeVar("E", bound=Any)
# Every reading that both calculations know, and its answers.
LAESNINGER = {
    "uge_beroert": {"een_dag", "hele_ugen"},
    "foerste_uge": {"taeller", "taeller_ikke"},
    "genoptjening_proeves": {"ved_opnaaelse", "ved_naeste_ydelse"},
    "fordeling": {"kalenderdage", "hverdage"},
    "beloebsgrundlag": {"felt0014_er_efter_atp", "felt0014_er_foer_atp"},
    "finansieringskommune_refusion": {"betaler", "bopael"},
    "bopael_paa": {"mandag", "soendag"},
    "fleksbidrag_andel": {"maanedens_dage", "kravets_dage"},
}


def in_force(entries: Sequence[E], day: date) -> E | None:
    """The entry in force on a day, of entries in order of `gaelder_fra`; None before the first."""
    return next((entry for entry in reversed(entries) if entry.gaelder_fra <= day), None)


def spans(entries: Sequence[E], *, back: bool = False) -> Iterator[tuple[E, date, date]]:
    """Each entry, in order of `gaelder_fra`, with the days it is in force: from, to before (`date.max` = for good).

    With `back`, the first holds from `date.min`.
    """
    days = [entry.gaelder_fra for entry in entries]
    starts = [date.min, *days[1:]] if back else days
    yield from zip(entries, starts, [*days[1:], date.max], strict=False)  # without an entry there is an end too many


@dataclass(frozen=True, kw_only=True, eq=False)  # known by identity, so that what is found in it can be remembered
class Rulebook:
    """All rules, frozen; `version` is the hash of their content (`emner`), comments and layout apart."""

    ydelser: tuple[Ydelse, ...]
    konti: tuple[Konto, ...]
    kilder: tuple[Kilde, ...]
    trapper: tuple[Trappe, ...]
    optaelling: Skaering
    overgang: Skaering
    genoptjening: tuple[Genoptjening, ...]
    laesninger: tuple[Laesning, ...]
    koersel: Koersel
    graenser: tuple[Graense, ...]
    kontroller: tuple[Kontrol, ...]
    konteringer: tuple[Kontering, ...]
    ikke_modelleret: tuple[IkkeModelleret, ...]
    kommuner: tuple[Kommune, ...]
    taellere: tuple[Taeller, ...] = ()
    lofter: tuple[Loft, ...] = ()
    enhedspriser: tuple[Enhedspris, ...] = ()
    fleksbidrag: tuple[Fleksbidrag, ...] = ()
    tilbagevirkninger: tuple[Tilbagevirkning, ...] = ()
    foraeldelse: tuple[Foraeldelse, ...] = ()
    kritiske_uger: tuple[KritiskUge, ...] = ()
    gevinster: tuple[Gevinst, ...] = ()
    kommunekonti: tuple[Kommunekonto, ...] = ()
    kommunebilag: tuple[Kommunebilag, ...] = ()
    bilagsformer: tuple[Bilagsform, ...] = ()
    version: str
    emner: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict, compare=False, repr=False)

    def ydelse_on(self, ydelse_id: str, day: date) -> Ydelse:
        """The version of a benefit in force on a day; before its first date, the first version."""
        mine = [y for y in self.ydelser if y.ydelse_id == ydelse_id]
        return in_force(mine, day) or mine[0]

    def trappe_on(self, trappe_id: str, day: date) -> Trappe:
        """The staircase in force on a day; before its first date, the first one."""
        mine = [t for t in self.trapper if t.id == trappe_id]
        return in_force(mine, day) or mine[0]

    def genoptjening_on(self, day: date) -> Genoptjening:
        """The requirement for a restart on a day; before its first date, the first entry."""
        return in_force(self.genoptjening, day) or self.genoptjening[0]

    def kritisk_uge_on(self, day: date) -> KritiskUge | None:
        """The entry on the critical week in force on a day; None before the first, or where the rules have none."""
        return in_force(self.kritiske_uger, day)

    @property
    def ydelse_ids(self) -> list[str]:
        """Every benefit once, in code point order; the position is the benefit's number in the kernel."""
        return sorted({y.ydelse_id for y in self.ydelser})

    @property
    def koder(self) -> list[str]:
        """The code of every municipality, in the order of the rules."""
        return [kommune.kommunekode for kommune in self.kommuner]

    @property
    def kommunenavne(self) -> dict[str, str]:
        """The name of every municipality by its code."""
        return {kommune.kommunekode: kommune.navn for kommune in self.kommuner}

    def laesning(self, navn: str) -> str:
        """The value of one reading."""
        return next(entry.vaerdi for entry in self.laesninger if entry.navn == navn)

    def graense(self, graense_id: str) -> int:
        """The value of one bound."""
        return next(entry.vaerdi for entry in self.graenser if entry.id == graense_id)

    def has_bounds(self, *ids: str) -> bool:
        """True if the rules have all these bounds; rules of before a bound lack it."""
        return set(ids) <= {entry.id for entry in self.graenser}

    def graense_for(self, graense_id: str, ydelse_id: str) -> int:
        """The value of a bound for one benefit: its own entry (`id:YDELSE`) if it has one, else the common one."""
        own = (entry.vaerdi for entry in self.graenser if entry.id == f"{graense_id}:{ydelse_id}")
        return next(own, self.graense(graense_id))

    def kontrol(self, regel: str) -> Kontrol:
        """The entry of one rule id; KeyError if the rules do not know it."""
        found = next((entry for entry in self.kontroller if entry.id == regel), None)
        if found is None:
            raise KeyError(regel)
        return found

    @cached_property
    def own_postings(self) -> OwnPostings:
        """The municipalities' own accounts and wishes for their vouchers."""
        return OwnPostings(self.kommunekonti, self.kommunebilag)

    def bilagsform(self, form_id: str) -> Bilagsform | None:
        """The form of a voucher with an id; None if there is none."""
        return next((form for form in self.bilagsformer if form.id == form_id), None)

    def kontering(self, ydelse_id: str, side: str, procent: int | None = None) -> Kontering:
        """The posting that fits a benefit's money best: its own entry before its function's, with a percentage first.

        KeyError if none fits; the loader sees to it that one always does.
        """
        funktion = next((y.kontering for y in reversed(self.ydelser) if y.ydelse_id == ydelse_id), "")
        fits = [
            entry
            for entry in self.konteringer
            if entry.side == side
            and entry.ydelse_id in ("", ydelse_id)
            and (entry.ydelse_id or entry.funktion in ("*", funktion) or side == "mellemregning")
            and entry.procent in (None, procent)
        ]
        if not fits:
            raise KeyError(ydelse_id)
        return max(fits, key=lambda e: (e.ydelse_id != "", e.funktion != "*", e.procent is not None))
