"""Understands the difference between a proposal and the rules in force: entries, days, and if it can be estimated."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, is_dataclass, replace
from datetime import date, timedelta
from typing import Any

from refusion_assets.domain.calendar import last_day, monday
from refusion_assets.domain.rules.change import EMNER, SILENT
from refusion_assets.domain.rules.entries import Rulebook, Trin

FORAELDELSE = EMNER["foraeldelse"].fil
NOWHERE = "(intet)"
HELE = "hele posten"
# Fields about an entry; another value changes no law.
SAID_OF = {"hjemmel", "kilde", "kontrolleret", "sikkerhed", "note"}
NAMES = ("konto", "ydelse_id", "kommunekode", "id", "navn", "hvad", "funktion", "side", "procent", "gaelder")
# Fields that a name stands in, but the name of another entry.
POINTS = {("fleksbidrag", "ydelse_id")}
FILES = {emne.felt: emne.fil for emne in EMNER.values()}
NO_TOPIC = {"version", "emner", "tilbagevirkninger"}
# Topics and fields of entries without effect on the money of a claim.
WITHOUT_MONEY = {EMNER[name].felt for name in SILENT} | {"graenser"}
WORDS_ONLY = {
    "ydelser": {"navn", "kontering"},
    "konti": {"indkomsttype", "indtaegtsart", "gyldig_fra", "gyldig_til"},
    "kommuner": {"navn", "region", "indbyggertal", "aar"},
    "kilder": {"navn", "gaelder_fra"},
    "laesninger": {"muligheder", "gaelder_fra"},
    "fleksbidrag": {"navn"},
}
# Topics behind the stored claims: another value shows only after the reports are loaded again.
LOADED = {"konti", "kommuner", "kilder", "enhedspriser"}
WITHOUT_COUNT = WITHOUT_MONEY | NO_TOPIC | LOADED | {"trapper", "lofter", "fleksbidrag"}
UNCOUNTED: dict[str, Any] = {
    "navn": "", "lov_nr": "", "side": "ingen", "sats": "", "beloebsfelter": "", "finansieres_fra": None,
    "kontering": "",
}  # fmt: skip
READINGS_OF_MONEY = ("fordeling", "finansieringskommune_refusion", "bopael_paa", "beloebsgrundlag")
LOADED_FIELDS = {"beloebsfelter", "lov_nr"}
AFTER_ATP = "felt0014_er_efter_atp"
LOADED_ENTRIES = {"laesninger": {"beloebsgrundlag"}, "graenser": {"periode_dage"}}
ALWAYS = {"laesninger", "optaelling", "overgang", "kilder", "konti", "kommuner"}
FOR_A_TIME = {"trapper"}
# Topics that apply to whole months by their first day, and to no month before their first entry.
BY_MONTH = {"fleksbidrag"}


@dataclass(frozen=True)
class Forskel:
    """One changed field of one entry of the proposal: its place, old and new value in words.

    `fra` and `til`: the first and last day whose weeks (by their Monday) it can touch; None = without bound.
    `penge` is false if no amount depends on it, `indlaes` true if the claims do.
    """

    fil: str
    post: str
    felt: str
    gaeldende: str
    forslag: str
    fra: date | None
    til: date | None
    penge: bool
    indlaes: bool

    def touches(self, month: date, last: date) -> bool:
        """True if a week with days in a month (of which `last` is the last day) can become different."""
        begins = self.fra is None or monday(self.fra + timedelta(days=6)) <= last
        return self.penge and begins and (self.til is None or monday(month) <= self.til)


def differences(gaeldende: Rulebook, forslag: Rulebook) -> list[Forskel]:
    """Every field that differs between the proposal and the rules in force, topic by topic; none of words alone.

    A new entry and a removed entry are one difference each.
    """
    found = []
    for field in fields(Rulebook):
        if field.name not in NO_TOPIC:
            found += list(_of_topic(field.name, getattr(gaeldende, field.name), getattr(forslag, field.name)))
    # The number in the act decides an amount only where ATP is taken from it.
    if gaeldende.laesning("beloebsgrundlag") != AFTER_ATP:
        return found
    return [replace(f, penge=False, indlaes=False) if f.felt == "lov_nr" else f for f in found]


def same_count(gaeldende: Rulebook, forslag: Rulebook) -> bool:
    """True if both rule sets count all weeks alike, so that counting once is enough."""
    return _counting(gaeldende) == _counting(forslag)


def new_accounts(gaeldende: Rulebook, forslag: Rulebook) -> list[str]:
    """The accounts of the proposal only: nobody has reported on them, so they give no money."""
    known = {konto.konto for konto in gaeldende.konti}
    return sorted(konto.konto for konto in forslag.konti if konto.konto not in known)


def _counting(rules: Rulebook) -> dict[str, Any]:
    """The rules without the keys listed as harmless to counters; every other key is kept."""
    kept = {f.name: getattr(rules, f.name) for f in fields(Rulebook) if f.name not in WITHOUT_COUNT}
    kept["ydelser"] = tuple(replace(ydelse, **UNCOUNTED) for ydelse in rules.ydelser)
    kept["laesninger"] = tuple((e.navn, e.vaerdi) for e in rules.laesninger if e.navn not in READINGS_OF_MONEY)
    return {name: _silent(value) for name, value in kept.items()}


def _silent(value: Any) -> Any:
    """Entries as their values, without what is said of them."""
    if is_dataclass(value):
        return tuple((f.name, _silent(getattr(value, f.name))) for f in fields(value) if f.name not in SAID_OF)
    return tuple(map(_silent, value)) if isinstance(value, tuple) else value


def _of_topic(topic: str, gaeldende: Any, forslag: Any) -> Iterator[Forskel]:
    """The differences of one topic, by entry; one that is new or gone is held against the one that holds without it."""
    old, new = _by_name(topic, gaeldende), _by_name(topic, forslag)
    for name in sorted(old.keys() | new.keys(), key=str):
        before, after = old.get(name, _earlier(name, old)), new.get(name, _earlier(name, new))
        post = _post(name) + (" (ny)" if name not in old else " (udgår)" if name not in new else "")
        for felt, said in _values(before, after, dated=isinstance(name[-1], date)).items():
            words = felt in WORDS_ONLY.get(topic, ())
            new_account = topic == "konti" and name not in old
            loads = not words and not new_account and _loads(topic, name, felt, (*old.values(), *new.values()))
            money = loads or (not words and topic not in WITHOUT_MONEY)
            yield Forskel(FILES[topic], post, felt, *said, *_days(topic, name, old, new), money, loads)


def _earlier(name: tuple[Any, ...], entries: dict[tuple[Any, ...], Any]) -> Any:
    """The entry of a name that holds until the day of another one; None if there is none."""
    if not isinstance(name[-1], date):
        return None
    before = [other for other in entries if other[:-1] == name[:-1] and other[-1] < name[-1]]
    return entries[max(before, key=lambda other: other[-1])] if before else None


def _values(before: Any, after: Any, *, dated: bool) -> dict[str, tuple[str, str]]:
    """The differences of an entry, by field, as words; the whole entry if only one set has it."""
    if before is None:
        return {HELE: (NOWHERE, _whole(after))}
    if after is None:
        return {HELE: (_whole(before), NOWHERE)}
    values = {f.name: (getattr(before, f.name), getattr(after, f.name)) for f in fields(before)}
    unsaid = SAID_OF | ({"gaelder_fra"} if dated else set())
    return {
        name: (_said(old), _said(new))
        for name, (old, new) in values.items()
        if name not in unsaid and _silent(old) != _silent(new)
    }


def _loads(topic: str, name: tuple[Any, ...], felt: str, entries: Sequence[Any]) -> bool:
    """True if a difference decides which lines are used, or what they amount to.

    A benefit that gets an earlier first version does if its amount fields are others.
    """
    if topic == "ydelser" and felt == HELE:
        return len({entry.beloebsfelter for entry in entries if entry.ydelse_id == name[0]}) > 1
    return topic in LOADED or felt in LOADED_FIELDS or name[0] in LOADED_ENTRIES.get(topic, ())


def _by_name(topic: str, entries: Any) -> dict[tuple[Any, ...], Any]:
    """The entries of a topic by what they are called and, where a later one takes over, from when.

    None is lost where a name stands more than once: the second is called by a number too.
    """
    named: dict[tuple[Any, ...], Any] = {}
    for entry in entries if isinstance(entries, tuple) else (entries,):
        name, number = _name(topic, entry), 2
        while name in named:
            name, number = (number, *_name(topic, entry)), number + 1
        named[name] = entry
    return named


def _name(topic: str, entry: Any) -> tuple[Any, ...]:
    """The name of an entry, with its first day if later entries of the name may follow."""
    if topic in ("optaelling", "overgang", "koersel"):
        return (topic,)
    own = {field.name for field in fields(entry)}
    known = [name for name in NAMES if name in own and (topic, name) not in POINTS]
    if topic in ("konteringer", "kommunekonti", "kommunebilag"):
        return tuple(getattr(entry, name) for name in known)
    called = (getattr(entry, known[0]),) if known else (topic,)
    dated = "gaelder_fra" in own and topic not in ALWAYS | WITHOUT_MONEY
    return (*called, entry.gaelder_fra) if dated else called


def _days(topic: str, name: tuple[Any, ...], *books: dict[tuple[Any, ...], Any]) -> tuple[date | None, date | None]:
    """The first and last day that an entry can touch: the first entry of a name holds before its date too."""
    begins = name[-1]
    if topic in ALWAYS or not isinstance(begins, date):
        return None, None
    if topic in BY_MONTH:
        return (begins if begins.day == 1 else last_day(begins) + timedelta(days=1)), None
    later = [[n[-1] for n in book if n[:-1] == name[:-1] and n[-1] > begins] for book in books]
    til = max(map(min, later)) - timedelta(days=1) if topic in FOR_A_TIME and all(later) else None
    first = all(begins <= min((n[-1] for n in book if n[:-1] == name[:-1]), default=begins) for book in books)
    return (None if first else begins), til


def _post(name: Sequence[Any]) -> str:
    """An entry as a reader names it: `refusion fra 2026-07-01`."""
    *called, last = [part for part in name if part not in ("", None)]
    return f"{' '.join(map(str, called))} fra {last}" if isinstance(last, date) else " ".join(map(str, [*called, last]))


def _said(value: Any) -> str:
    """A value as one reads it; a staircase by the first week of its steps."""
    if isinstance(value, tuple):
        return ", ".join(map(_said, value)) or NOWHERE
    if isinstance(value, Trin):
        return f"uge {value.fra_uge}: {value.procent} pct."
    if is_dataclass(value):
        return _whole(value)
    return NOWHERE if value in ("", None) else str(value)


def _whole(entry: Any) -> str:
    """The fields of a whole entry, without its citation and empty ones."""
    values = [(f.name, getattr(entry, f.name)) for f in fields(entry) if f.name not in SAID_OF | {"gaelder_fra"}]
    return "; ".join(f"{name} = {_said(value)}" for name, value in values if value not in ("", None, ()))
