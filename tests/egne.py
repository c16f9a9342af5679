"""Understands rules with counters and maxima of their own, for tests: by chance, as text, and walked week by week."""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

from hypothesis import strategies as st

from refusion_assets.domain.efterregning import Key, Resultat, rate, settled_as
from refusion_assets.domain.efterregning import state as plain_state
from refusion_assets.domain.efterregning_felter import month_end
from refusion_assets.domain.efterregning_raa import Claim, Fil
from refusion_assets.domain.efterregning_raa import claims as plain_claims
from refusion_assets.domain.efterregning_raa import judge as plain_judge
from refusion_assets.domain.efterregning_uger import days, kinds, monday, years_before
from refusion_assets.domain.rules import Rulebook, Trappe, Trin, Ydelse
from refusion_assets.domain.rules_egne import Loft, Taeller
from refusion_assets.rulebook import load
from tests.support import RULES
from tests.timeline import BASES

RULEBOOK = load(RULES)
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
        for fra in {date(2016, 1, 4), draw(starts)}
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


# --- week by week -------------------------------------------------------------------------------------------

Own = dict[date, tuple[str, int, int | None]]  # Monday: kind, number, free weeks in the window


def own_weeks(claims: Sequence[Claim], taeller: Taeller, last: date, rules: Rulebook) -> Own:
    """Every week of one person to one counter."""
    first = taeller.gaelder_fra
    if rules.laesning("foerste_uge") == "taeller_ikke" and first != monday(first):
        first = monday(first) + timedelta(days=7)
    mine = {
        day
        for claim in claims
        if claim.ydelse_id in taeller.ydelser and claim.beloeb > 0
        for day in days(claim.fra, claim.til)
        if first <= day <= last
    }
    enough = 1 if rules.laesning("uge_beroert") == "een_dag" else 7
    kind_of = {}
    for week, law in kinds(claims, last, rules).items():
        own = len(mine.intersection(days(week, week + timedelta(days=6))))
        neutral = own > 0 or (taeller.fri_uge == "selvforsoergelse" and law in ("A", "B"))
        cut = week + timedelta(days=6) > last
        kind_of[week] = "A" if own >= enough else "B" if neutral else "-" if cut else "C"
    return walk(kind_of, taeller, rules)


def walk(kind_of: Mapping[date, str], taeller: Taeller, rules: Rulebook) -> Own:
    """The number and the free weeks of every week, one week after the other."""
    uger, aar = taeller.genoptjening_uger, taeller.vindue_aar
    at_once = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    number, free, found = 0, [], {}
    for week, kind in sorted(kind_of.items()):
        window = [s for s in free if aar and s >= years_before(week, aar)]
        if kind == "A" and uger and not at_once and len(window) >= uger:
            number, free, window = 0, [], []
        if kind == "C" and number > 0:
            free.append(week)
            window = [*window, week] if aar else []
            if uger and at_once and len(window) >= uger:
                number, free, window = 0, [], []
        number += kind == "A"
        found[week] = (kind, number, len(window) if aar else None)
    return found


def own_state(
    files: Sequence[Fil], bopael: Iterable[Mapping[str, str]], month: str, rules: Rulebook
) -> dict[Key, Resultat]:
    """The state of a run, with counters and maxima of their own put on top of the rows that know only the law's."""
    last = month_end(month)
    by_person: dict[str, list[Claim]] = defaultdict(list)
    for claim in plain_claims(plain_judge([fil for fil in files if fil.maaned <= month], rules).brugt, rules):
        by_person[claim.cpr].append(claim)
    bare = replace(rules, taellere=(), lofter=())
    uger = {
        (cpr, one.id): own_weeks(claims, one, last, rules)
        for cpr, claims in by_person.items()
        for one in rules.taellere
    }
    rows = {}
    for key, row in plain_state(files, bopael, month, bare).items():
        ydelse, day = settled_as(key[3], key[0], rules)
        trappe = next((t for t in rules.trapper if t.id == ydelse.trappe), None)
        own = trappe and uger.get((key[2], trappe.taeller))
        rows[key] = _by_own(row, key[0], ydelse, day, own, rules) if own else row
    return under_maxima(rows, rules)


def _by_own(row: Resultat, week: date, ydelse: Ydelse, day: date, own: Own, rules: Rulebook) -> Resultat:
    """A row whose staircase is climbed by a counter of its own."""
    kind, n, free = own.get(week, ("-", 0, None))
    before = [number for monday_, (_, number, _) in own.items() if monday_ < day]
    number = n if week >= day else _would_have(own, day, before)
    procent, trin = rate(ydelse, day, number, rules)
    share = rounded_share(row.beloeb, procent)
    refusion, medfinansiering = (share, 0) if ydelse.side == "refusion" else (0, share)
    shown = free if kind in ("A", "B") else None
    return Resultat(row.indberettet, row.beloeb, procent, refusion, medfinansiering, n, shown, trin)


def _would_have(own: Own, day: date, before: list[int]) -> int:
    """The number the week of the overgang has, or would have if it were counted."""
    return own[day][1] if own[day][0] == "A" else (before[-1] if before else 0) + 1


def rounded_share(beloeb: int, procent: int) -> int:
    """A percentage of an amount in whole øre."""
    return (2 * beloeb * procent + 100) // 200


def under_maxima(rows: Mapping[Key, Resultat], rules: Rulebook) -> dict[Key, Resultat]:
    """The rows after every maximum, one after the other."""
    amount = {key: row.beloeb for key, row in rows.items()}
    share = {key: row.refusion + row.medfinansiering for key, row in rows.items()}
    for paa in ("beloeb", "refusion"):
        of = amount if paa == "beloeb" else share
        for periode in ("uge", "maaned"):
            for name in sorted({loft.id for loft in rules.lofter}):
                used: dict[tuple[object, ...], int] = defaultdict(int)
                for key in sorted(of, key=lambda key: (key[1], key[0], key[4])):
                    day = key[0] if periode == "uge" else date.fromisoformat(f"{key[1]}-01")
                    versions = [m for m in rules.lofter if m.id == name and m.gaelder_fra <= day]
                    if (
                        versions
                        and (versions[-1].paa, versions[-1].periode) == (paa, periode)
                        and key[3] in versions[-1].ydelser
                    ):
                        bucket = (key[2], key[3], day)
                        of[key] = min(of[key], max(0, versions[-1].beloeb_oere - used[bucket]))
                        used[bucket] += of[key]
        if paa == "beloeb":
            share = {key: rounded_share(amount[key], row.procent) for key, row in rows.items()}
    return {
        key: row._replace(
            refusion=share[key] if row.refusion else 0, medfinansiering=share[key] if row.medfinansiering else 0
        )
        for key, row in rows.items()
    }
