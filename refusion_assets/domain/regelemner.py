"""Understands what a topic of the rules means over time: what names an entry, when it holds, and what reads it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]

TEXTS = ("kilde", "kontrolleret", "note", "sikkerhed")
# What no calculation of a benefit month reads: the calendar of runs, the texts and accounts of the files.
SILENT = frozenset({"koersel", "kontrol", "kontering", "ikke_modelleret", "tilbagevirkning", "foraeldelse"})
# What holds by run month: no benefit month rests on it, but what a run settles does.
OF_RUNS = ("foraeldelse",)


@dataclass(frozen=True)
class View:
    """What is looked at in an entry, and how far a change of it reaches.

    `runs_on`: later weeks follow from it, as a count does. `tal`: it moves numbers, not only the paragraph that a row
    shows. `mondays`: the rule of a week is the one of its Monday.
    """

    value: Callable[[Record], object]
    runs_on: bool = True
    tal: bool = True
    mondays: bool = False


@dataclass(frozen=True)
class Emne:
    """How the entries of a topic hold over time.

    `key` names an entry. `dated` is the key of its first day, None where it holds for all time. `back`: the first
    entry holds before its date too. `by_reference`: a new entry moves nothing until a changed one refers to it.
    """

    key: tuple[str, ...]
    views: tuple[View, ...]
    dated: str | None = "gaelder_fra"
    back: bool = False
    by_reference: bool = False


def _only(*names: str) -> Callable[[Record], object]:
    """Some keys of an entry."""
    return lambda record: [str(record.get(name, "")) for name in names]


def _but(*names: str) -> Callable[[Record], object]:
    """Every key of an entry but its texts, its paragraph and these."""
    left_out = {*TEXTS, "hjemmel", *names}
    return lambda record: {name: value for name, value in record.items() if name not in left_out}


def _steps(record: Record) -> object:
    """A staircase without the paragraphs of its steps."""
    steps = [{name: value for name, value in step.items() if name != "hjemmel"} for step in record.get("trin", ())]
    return [_but("trin", "gaelder_fra")(record), steps]


def _step_paragraphs(record: Record) -> object:
    """The paragraphs of the steps of a staircase."""
    return [step.get("hjemmel") for step in record.get("trin", ())]


def _longest_period(record: Record) -> object:
    """The one bound that decides whether a report is used."""
    return record.get("vaerdi") if record.get("id") == "periode_dage" else None


COUNTED = ("beloebsfelter", "lov_nr", "kategori")
YDELSER = (
    View(_only("kategori"), mondays=True),
    View(_only("beloebsfelter", "lov_nr")),
    View(_but("gaelder_fra", "navn", "kontering", *COUNTED), runs_on=False, mondays=True),
    View(_only("hjemmel"), runs_on=False, tal=False, mondays=True),
)
TRAPPE = (View(_steps, runs_on=False, mondays=True), View(_step_paragraphs, runs_on=False, tal=False, mondays=True))
PARAGRAPH = View(_only("hjemmel"), tal=False)
EMNER: dict[str, Emne] = {
    "ydelser": Emne(("ydelse_id",), YDELSER, back=True, by_reference=True),
    "konti": Emne(("konto",), (View(_only("ydelse_id", "kilde_id", "felt", "kontoart")),), "gyldig_fra", back=True),
    "kommuner": Emne(("kommunekode",), (View(_only("kommunekode")),), dated=None),
    "kilde": Emne(("id",), (View(_only("art")),), dated=None, by_reference=True),
    "trappe": Emne(("id",), TRAPPE, back=True, by_reference=True),
    "taeller": Emne(("id",), (View(_but()), PARAGRAPH), by_reference=True),
    "loft": Emne(("id",), (View(_but(), runs_on=False), View(_only("hjemmel"), runs_on=False, tal=False))),
    "fleksbidrag": Emne(("id",), (View(_but("navn"), runs_on=False), View(_only("hjemmel"), runs_on=False, tal=False))),
    "optaelling": Emne((), (View(_only("gaelder_fra")),), dated=None),
    "overgang": Emne((), (View(_only("gaelder_fra")),), dated=None),
    "genoptjening": Emne((), (View(_but("gaelder_fra"), mondays=True),), back=True),
    "laesning": Emne(("navn",), (View(_only("vaerdi")),), dated=None),
    "graense": Emne((), (View(_longest_period),), dated=None),
}


def emne_of(name: str, records: Iterable[Record]) -> Emne:
    """How a topic holds over time; one we know nothing of by its dates, and for all time where it has none."""
    if name in EMNER:
        return EMNER[name]
    found = list(records)
    key = tuple(sorted({key for record in found for key in record} & {"id", "navn", "ydelse_id"}))
    dated = "gaelder_fra" if found and all(record.get("gaelder_fra") for record in found) else None
    return Emne(key, (View(_but()), PARAGRAPH), dated)


# What the judgement of a delivered line reads of each topic (`domain/classified.py`); a test compares.
JUDGED = {
    "konti": (
        "konto",
        "ydelse_id",
        "kilde_id",
        "felt",
        "kontoart",
        "indkomsttype",
        "indtaegtsart",
        "gyldig_fra",
        "gyldig_til",
    ),
    "kilde": ("id", "art"),
    "kommuner": ("kommunekode",),
    "graense": ("id", "vaerdi"),
    "laesning": ("navn", "vaerdi"),
    "ydelser": ("ydelse_id", "gaelder_fra", "beloebsfelter", "lov_nr"),
}
JUDGED_ENTRIES = {"graense": "periode_dage", "laesning": "beloebsgrundlag"}
