"""Understands the rules over time: what is in force in a benefit month, and which months a change touches."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from typing import Any, get_args, get_origin

import polars as pl

from refusion_assets.domain.calendar import last_day, monday, next_month, unbroken
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.entries import Rulebook

Record = Mapping[str, Any]

FIELDS = {field.name: field for field in fields(Rulebook)}
TEXTS = ("kilde", "kontrolleret", "note", "sikkerhed")
# Topics that apply by run month: they change what a run settles, not what a benefit month is.
OF_RUNS = ("foraeldelse",)


@dataclass(frozen=True)
class View:
    """The fields of an entry to look at, and the reach of a change in them.

    `runs_on`: later weeks follow from it, as a count does. `tal`: it moves numbers, not only the paragraph that a row
    shows. `mondays`: the rule of a week is the one of its Monday.
    """

    value: Callable[[Record], object]
    runs_on: bool = True
    tal: bool = True
    mondays: bool = False


@dataclass(frozen=True)
class Emne:
    """Where a topic stands, what it makes of a `Rulebook`, and how its entries hold over time.

    `fil`: its file in `rules/`; `felt`: its field of the `Rulebook`, which says what an entry is, and if there are
    several or none. No two entries are alike in `unik`; `orden` is what they are put in order by. `key` names an entry.
    `views`: none where no calculation of a benefit month reads the topic. `dated` is the key of an entry's first day,
    None where it holds for all time. `back`: the first entry holds before its date too. `by_reference`: a new entry
    moves nothing until a changed one refers to it.
    """

    fil: str
    felt: str
    key: tuple[str, ...] = ()
    views: tuple[View, ...] = ()
    dated: str | None = "gaelder_fra"
    back: bool = False
    by_reference: bool = False
    unik: tuple[str, ...] = ()
    orden: tuple[str, ...] = ()

    @property
    def once(self) -> bool:
        """True if the topic has exactly one entry."""
        return get_origin(FIELDS[self.felt].type) is not tuple

    @property
    def optional(self) -> bool:
        """True if the topic can have no entry."""
        return FIELDS[self.felt].default == ()

    @property
    def post(self) -> type:
        """The class of an entry."""
        kind: Any = FIELDS[self.felt].type
        return kind if self.once else get_args(kind)[0]  # type: ignore[no-any-return]


def _only(*names: str) -> Callable[[Record], object]:
    return lambda record: [str(record.get(name, "")) for name in names]


def _but(*names: str) -> Callable[[Record], object]:
    """Every key of an entry but its texts, its paragraph and these."""
    left_out = {*TEXTS, "hjemmel", *names}
    return lambda record: {name: value for name, value in record.items() if name not in left_out}


def _steps(record: Record) -> object:
    """A staircase without the paragraphs of its steps."""
    steps = [{name: value for name, value in step.items() if name != "hjemmel"} for step in record.get("trin", ())]
    return [_but("trin", "gaelder_fra")(record), steps]


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
TRAPPE = (
    View(_steps, runs_on=False, mondays=True),
    View(
        lambda record: [step.get("hjemmel") for step in record.get("trin", ())], runs_on=False, tal=False, mondays=True
    ),
)
PARAGRAPH = View(_only("hjemmel"), tal=False)
SAME_WEEK = View(_only("hjemmel"), runs_on=False, tal=False)
NAMED, FROM = ("id",), ("id", "gaelder_fra")
EMNER: dict[str, Emne] = {
    "ydelser": Emne(
        "ydelser.csv", "ydelser", ("ydelse_id",), YDELSER,
        back=True, by_reference=True, unik=("ydelse_id", "gaelder_fra"), orden=("ydelse_id", "gaelder_fra"),
    ),
    "konti": Emne(
        "konti.csv", "konti", ("konto",), (View(_only("ydelse_id", "kilde_id", "felt", "kontoart")),),
        "gyldig_fra", back=True, unik=("konto",),
    ),
    "kommuner": Emne(
        "kommuner.csv", "kommuner", ("kommunekode",), (View(_only("kommunekode")),), None, unik=("kommunekode",)
    ),
    "kilde": Emne("kilder.toml", "kilder", NAMED, (View(_only("art")),), None, by_reference=True, unik=NAMED),
    "trappe": Emne("trapper.toml", "trapper", NAMED, TRAPPE, back=True, by_reference=True, unik=FROM, orden=FROM),
    "taeller": Emne(
        "taellere.toml", "taellere", NAMED, (View(_but()), PARAGRAPH), by_reference=True, unik=NAMED, orden=NAMED
    ),
    "loft": Emne("lofter.toml", "lofter", NAMED, (View(_but(), runs_on=False), SAME_WEEK), unik=FROM, orden=FROM),
    "pris": Emne(
        "enhedspriser.toml", "enhedspriser", ("ydelse_id",), (View(_only("pris_oere")), PARAGRAPH),
        back=True, unik=("ydelse_id", "gaelder_fra"), orden=("ydelse_id", "gaelder_fra"),
    ),
    "optaelling": Emne("optaelling.toml", "optaelling", (), (View(_only("gaelder_fra")),), None),
    "overgang": Emne("optaelling.toml", "overgang", (), (View(_only("gaelder_fra")),), None),
    "genoptjening": Emne(
        "optaelling.toml", "genoptjening", (), (View(_but("gaelder_fra"), mondays=True),),
        back=True, unik=("gaelder_fra",), orden=("gaelder_fra",),
    ),
    "laesning": Emne("laesninger.toml", "laesninger", ("navn",), (View(_only("vaerdi")),), None, unik=("navn",)),
    "koersel": Emne("drift.toml", "koersel"),
    "kritisk_uge": Emne("drift.toml", "kritiske_uger", unik=("gaelder_fra",), orden=("gaelder_fra",)),
    "graense": Emne("drift.toml", "graenser", (), (View(_longest_period),), None, unik=NAMED),
    "kontrol": Emne("kontrol.toml", "kontroller", unik=NAMED, orden=NAMED),
    "kommunekonto": Emne(
        "kontering.toml", "kommunekonti",
        unik=("kommunekode", "side", "ydelse_id", "funktion", "procent", "gaelder_fra"),
    ),
    "kommunebilag": Emne("kontering.toml", "kommunebilag", unik=("kommunekode", "gaelder_fra")),
    "bilagsform": Emne("kontering.toml", "bilagsformer", dated=None, unik=NAMED),
    "kontering": Emne("kontering.toml", "konteringer", unik=("ydelse_id", "funktion", "side", "procent")),
    "ikke_modelleret": Emne("ikke_modelleret.toml", "ikke_modelleret"),
    "fleksbidrag": Emne(
        "fleksbidrag.toml", "fleksbidrag", NAMED, (View(_but("navn"), runs_on=False), SAME_WEEK), orden=("gaelder_fra",)
    ),
    "tilbagevirkning": Emne("tilbagevirkning.toml", "tilbagevirkninger"),
    "foraeldelse": Emne("foraeldelse.toml", "foraeldelse", orden=("gaelder_fra",)),
    "gevinst": Emne("gevinster.toml", "gevinster", unik=NAMED, orden=NAMED),
}  # fmt: skip
# Topics that no calculation of a benefit month reads: the calendar of runs, the texts and accounts of the files.
SILENT = frozenset(name for name, emne in EMNER.items() if not emne.views)


def emne_of(name: str, records: Iterable[Record]) -> Emne:
    """How a topic holds over time; one we know nothing of by its dates, and for all time where it has none."""
    if name in EMNER:
        return EMNER[name]
    found = list(records)
    key = tuple(sorted({key for record in found for key in record} & {"id", "navn", "ydelse_id"}))
    dated = "gaelder_fra" if found and all(record.get("gaelder_fra") for record in found) else None
    return Emne("", "", key, (View(_but()), PARAGRAPH), dated)


# The fields of each topic that the judgement of a delivered line reads (`domain/classified.py`); a test compares.
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
    "pris": ("ydelse_id", "gaelder_fra", "pris_oere"),
}
JUDGED_ENTRIES = {"graense": "periode_dage", "laesning": "beloebsgrundlag"}

Topics = Mapping[str, Sequence[Record]]
Line = list[tuple[date, str]]

ALWAYS = date.min
WEEK = timedelta(days=7)


class Regelgrundlag(Contract, key=["maaned"]):
    """One row per benefit month: the rules that its rows were last calculated under."""

    maaned: pl.Date
    regelversion: pl.String


@dataclass(frozen=True)
class Change:
    """The reach of a change of one entry: days from `fra` until before `til` (None = for good)."""

    emne: str
    post: str
    fra: date
    til: date | None
    tal: bool

    def touches(self, month: date) -> bool:
        """True if a week with a day in the month, named by its first day, can come out otherwise."""
        return self.fra <= last_day(month) and (self.til is None or self.til > monday(month))


def _canonical(value: object) -> str:
    """A value as text that is the same whatever order its keys stand in."""
    return json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)


def _by_key(records: Iterable[Record], emne: Emne) -> dict[str, list[Record]]:
    groups = defaultdict(list)
    for record in records:
        groups[" ".join(str(record.get(name, "")) for name in emne.key)].append(record)
    return dict(groups)


def _line(records: Iterable[Record], emne: Emne, view: View, *, back: bool) -> Line:
    """The values of an entry over time: each with its first day, in order."""
    values = defaultdict(list)
    for record in records:
        value = view.value(record)
        if value is None:
            continue  # an entry without a value for the view, as a bound that no result rests on
        start = _day(record[emne.dated]) if emne.dated else ALWAYS
        if view.mondays and start != ALWAYS:
            start = monday(start + timedelta(days=6))
        values[start].append(_canonical(value))
    line = [(start, _canonical(sorted(found))) for start, found in sorted(values.items())]
    return [(ALWAYS, line[0][1]), *line[1:]] if back and line else line


def _day(value: object) -> date:
    """A date as TOML or CSV writes it."""
    return value if isinstance(value, date) else date.fromisoformat(str(value))


def _at(line: Line, day: date) -> str | None:
    """The value in force on a day; None before the first."""
    return next((value for start, value in reversed(line) if start <= day), None)


def _difference(before: Line, now: Line) -> tuple[date, date | None] | None:
    """From when until when two lines differ at all; None if they never do."""
    bounds = sorted({start for start, _ in (*before, *now)})
    apart = [place for place, day in enumerate(bounds) if _at(before, day) != _at(now, day)]
    if not apart:
        return None
    return bounds[apart[0]], ([*bounds, None])[apart[-1] + 1]


def changes(before: Topics, now: Topics) -> list[Change]:
    """Every entry whose change can give a benefit month another result, with the days it touches; in order of topic.

    Texts, bounds of checks, accounts of the books and the calendar are left out. A change in force in the week of the
    overgang, or earlier, reaches back to the first day. That week decides the percentage of all weeks before it.
    Hjemmel: § 29, stk. 3 (overgang); § 6 (a count is a function of history).
    """

    def days(topic: str, key: str) -> list[date]:
        return [_day(record[key]) for topics in (before, now) for record in topics.get(topic, ()) if record.get(key)]

    # The first days that there is anything to touch, of counting and of money; and the end of the overgang's week.
    count = monday(min(days("optaelling", "gaelder_fra")))
    money = max(count, monday(min(days("ydelser", "finansieres_fra"), default=count)))
    settled_week = monday(max(days("overgang", "gaelder_fra"))) + WEEK
    found = []
    for name in sorted({*before, *now} - SILENT):
        emne = emne_of(name, [*before.get(name, ()), *now.get(name, ())])
        old, new = (_by_key(topics.get(name, ()), emne) for topics in (before, now))
        for post in sorted({*old, *new}):
            both = post in old and post in new
            if old.get(post) == new.get(post) or (not both and emne.by_reference):
                continue
            for view in emne.views:
                lines = [_line(side.get(post, ()), emne, view, back=emne.back and both) for side in (old, new)]
                span = _difference(*lines)
                if span:
                    first = count if view.runs_on else money
                    fra = first if span[0] < settled_week else max(first, span[0])
                    found.append(Change(name, post, fra, None if view.runs_on else span[1], view.tal))
    return [change for change in found if change.til is None or change.til > change.fra]


def run_changes(before: Topics, now: Topics) -> list[Change]:
    """Every entry that holds by run month and says another thing: `fra` is the first run month that it touches.

    No benefit month is calculated again for it; what runs settle from then on is another.
    """
    found = []
    for name in OF_RUNS:
        # The paragraph of an entry stands on what a run lists.
        old, new = (
            {
                _canonical({key: value for key, value in record.items() if key not in TEXTS})
                for record in topics.get(name, ())
            }
            for topics in (before, now)
        )
        found += [Change(name, "", _day(json.loads(text)["gaelder_fra"]), None, tal=True) for text in sorted(old ^ new)]
    return found


def months_touched(found: Iterable[Change], months: Iterable[date]) -> list[date]:
    """The months, in order, that any of the changes touches."""
    known = list(found)
    return [month for month in months if any(change.touches(month) for change in known)]


def topics_of_results(topics: Topics) -> list[str]:
    """The topics that a benefit month's result rests on, in order."""
    return sorted(set(topics) - SILENT)


def data_versions(topics: Topics, name: str, months: Iterable[date]) -> list[str]:
    """The fingerprint of a topic's values in force in each of some benefit months: 16 hex digits.

    Entries in force on any day of the month's weeks; before the overgang, in its week. A value that holds for all
    time is in force in every month.
    """
    emne = emne_of(name, topics.get(name, ()))
    overgang = max((_day(record["gaelder_fra"]) for record in topics.get("overgang", ())), default=ALWAYS)
    lines = [
        (post, number, _line(records, emne, view, back=False))
        for post, records in sorted(_by_key(topics.get(name, ()), emne).items())
        for number, view in enumerate(emne.views)
    ]

    def version(month: date) -> str:
        first, last = monday(month), max(last_day(month), overgang)
        held = [(post, number, value) for post, number, line in lines for value in _in_force(line, first, last)]
        return hashlib.sha256(_canonical(held).encode()).hexdigest()[:16]

    return [version(month) for month in months]


def _in_force(line: Line, first: date, last: date) -> list[str]:
    """The values in force on any of the days first..last."""
    ends = [start for start, _ in line[1:]] + [date.max]
    return [value for (start, value), end in zip(line, ends, strict=True) if start <= last and end > first]


def undeclared(found: Iterable[Change], closed: date, before: Topics, now: Topics) -> list[Change]:
    """The changes of numbers that touch a month through `closed`, and that no new `tilbagevirkning` declares.

    A declaration speaks for its topic, from its first month. One that stood in the earlier rules has been used.
    """
    used = {_said(entry) for entry in before.get("tilbagevirkning", ())}
    fresh = [entry for entry in now.get("tilbagevirkning", ()) if _said(entry) not in used]
    return [
        change
        for change in found
        if change.tal
        and first_month(change) <= closed
        and not any(
            entry["emne"] == change.emne and _day(entry["fra"]).replace(day=1) <= first_month(change) for entry in fresh
        )
    ]


def _said(entry: Record) -> str:
    """Topic, first day and reason of a declaration, in one text."""
    return _canonical([entry.get(name) for name in ("emne", "fra", "begrundelse")])


def first_month(change: Change) -> date:
    """The first benefit month that a change touches."""
    return change.fra.replace(day=1)


def as_ranges(months: Sequence[date]) -> str:
    """Months in order as text: `2016-01..2016-03, 2017-05`."""
    runs = unbroken(months, next_month)
    return ", ".join(f"{first:%Y-%m}" if first == last else f"{first:%Y-%m}..{last:%Y-%m}" for first, last in runs)


def judgement_version(topics: Topics) -> str:
    """The fingerprint of what the judgement of delivered lines reads of the rules; 64 hex digits."""
    read = {
        name: [
            [str(record.get(key, "")) for key in keys]
            for record in topics.get(name, ())
            if JUDGED_ENTRIES.get(name) in (None, record.get(keys[0]))
        ]
        for name, keys in JUDGED.items()
        if topics.get(name)  # so that lines keep their judgement when the program learns an optional topic
    }
    return hashlib.sha256(_canonical(read).encode()).hexdigest()
