"""Understands rules with counters and maxima of their own, for tests: by chance, and as text."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from hypothesis import strategies as st

from refusion_assets.domain.rules.entries import Loft, Rulebook, Taeller, Trappe, Trin, Ydelse
from tests.kit.data_root import RULEBOOK
from tests.kit.timeline import BASES

CITED = "hjemmel = 'x'\nkilde = 'x'\nkontrolleret = 2026-01-01\nsikkerhed = 'x'\n"
WITH = {"hjemmel": "x", "kilde": "x", "kontrolleret": date(2026, 1, 1), "sikkerhed": "x"}


# --- as text ------------------------------------------------------------------------------------------------


def append(folder: Path, file: str, text: str) -> None:
    """One file of rules with more at its end; a new file where there was none."""
    path = folder / file
    if path.exists():
        path.chmod(0o644)
    with path.open("a", encoding="utf-8") as stream:
        stream.write(text)


def change(folder: Path, file: str, old: str, new: str) -> None:
    """One place of one file of rules changed."""
    path = folder / file
    text = path.read_text("utf-8")
    assert old in text, f"{file} no longer says {old}"
    path.chmod(0o644)
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def entry(topic: str, text: str) -> str:
    """One cited entry of a topic."""
    return f"\n[[{topic}]]\n{text}\n{CITED}"


def staircase(name: str, fra: str, steps: Mapping[int, int], *more: str) -> str:
    """One staircase: percentage by first week."""
    trin = ", ".join(f"{{ fra_uge = {uge}, procent = {procent}, hjemmel = 'x' }}" for uge, procent in steps.items())
    return entry("trappe", "\n".join([f'id = "{name}"', f"gaelder_fra = {fra}", f"trin = [{trin}]", *more]))


# --- by chance ----------------------------------------------------------------------------------------------

NAMES = ("KTH", "ADP", "LED", "SU", "BEFORD", "FLYGT", "FOEP")
starts = st.builds(lambda day, more: day + timedelta(days=more), st.sampled_from(BASES[1:]), st.integers(0, 40))
lists = st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True).map(tuple)


@st.composite
def _counter(draw: st.DrawFn, name: str) -> Taeller:
    """A counter."""
    window = draw(st.one_of(st.none(), st.tuples(st.integers(1, 12), st.integers(1, 3))))
    return Taeller(
        id=name,
        gaelder_fra=draw(st.one_of(st.just(date(2014, 7, 1)), starts)),
        ydelser=draw(lists),
        fri_uge=draw(st.sampled_from(("selvforsoergelse", "uden_ydelserne"))),
        genoptjening_uger=window and window[0],
        vindue_aar=window and window[1],
        **WITH,
    )


@st.composite
def _staircase(draw: st.DrawFn, name: str, taeller: str, fra: date) -> Trappe:
    """A staircase of up to seven steps."""
    weeks = sorted({1, *draw(st.lists(st.integers(2, 60), max_size=6))})
    trin = tuple(Trin(fra_uge=uge, procent=draw(st.integers(0, 100)), hjemmel=f"{name} {uge}") for uge in weeks)
    return Trappe(id=name, gaelder_fra=fra, trin=trin, taeller=taeller, **WITH)


@st.composite
def _maximum(draw: st.DrawFn, name: str, fra: date) -> Loft:
    """A maximum."""
    return Loft(
        id=name,
        gaelder_fra=fra,
        ydelser=draw(st.lists(st.sampled_from([n for n in NAMES if n != "SU"]), min_size=1, unique=True).map(tuple)),
        periode=draw(st.sampled_from(("uge", "maaned"))),
        beloeb_oere=draw(st.sampled_from((0, 1, 7_000, 70_001, 200_000))),
        paa=draw(st.sampled_from(("beloeb", "refusion"))),
        **WITH,
    )


@st.composite
def _benefit(draw: st.DrawFn, name: str, trapper: Sequence[str], rules: Rulebook) -> list[Ydelse]:
    """A benefit that stands on one of the staircases always, or from a day on, and its kategori."""
    old = next(y for y in rules.ydelser if y.ydelse_id == name)
    new = replace(
        old,
        sats=f"trappe {draw(st.sampled_from(trapper))}",
        kategori=draw(st.sampled_from(("A", "B", "-"))),
        side=draw(st.sampled_from(("refusion", "medfinansiering"))),
        finansieres_fra=old.finansieres_fra or date(2016, 1, 4),
    )
    return [old, replace(new, gaelder_fra=draw(starts))] if draw(st.booleans()) else [new]


@st.composite
def own_rules(draw: st.DrawFn) -> Rulebook:
    """The law with one or two counters, staircases climbed by them, benefits on these, and up to three maxima."""
    counters = [draw(_counter(name)) for name in draw(st.sampled_from((("t1",), ("t1", "t2"))))]
    trapper = [
        draw(_staircase(f"s{taeller.id}", taeller.id, fra))
        for taeller in counters
        for fra in sorted({date(2016, 1, 4), draw(starts)})
    ]
    moved = draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True))
    ydelser = [y for name in moved for y in draw(_benefit(name, sorted({t.id for t in trapper}), RULEBOOK))]
    kept = [y for y in RULEBOOK.ydelser if y.ydelse_id not in moved]
    dates = draw(st.lists(starts, max_size=3, unique=True))
    lofter = [draw(_maximum(draw(st.sampled_from(("l1", "l2"))), fra)) for fra in dates]
    return replace(
        RULEBOOK,
        ydelser=tuple(sorted([*kept, *ydelser], key=lambda y: (y.ydelse_id, y.gaelder_fra))),
        trapper=tuple(sorted([*RULEBOOK.trapper, *trapper], key=lambda t: (t.id, t.gaelder_fra))),
        taellere=tuple(counters),
        lofter=tuple(sorted(lofter, key=lambda loft: (loft.id, loft.gaelder_fra))),
    )
