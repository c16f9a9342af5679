"""What moved a number from one run to the next: proved by replaying the named weeks on what the run before knew."""

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date, timedelta
from functools import lru_cache
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

from refusion_assets.domain.calendar import last_day, month_of
from refusion_assets.domain.efterregning.reports import Claim, Fil
from refusion_assets.domain.efterregning.reports import claims as plain_claims
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.efterregning.weeks import count, count_own, kinds, monday, own_kinds
from refusion_assets.domain.forklar.history import Flytning, Historie
from refusion_assets.domain.rules.entries import LOVENS_TAELLER, Rulebook, Taeller
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, judge_files, with_reading
from tests.kit.other_counters import WITH
from tests.kit.timeline import CPR, History, examples, histories, row

WEEK = timedelta(days=7)


def historie(files: Sequence[Fil], months: Sequence[str], rules: Mapping[str, Rulebook]) -> dict[str, Historie]:
    """What runs of some months knew of everybody, by person; `rules` by month of run."""
    lines, people = judge_files(files, RULEBOOK)
    received = pl.Series([month_of(fil.maaned) for fil in files], dtype=pl.Date)
    lines = lines.filter(pl.col("fil_orden").is_not_null()).with_columns(kendt_fra=received.gather(lines["fil_id"]))
    runs = pl.DataFrame(
        [(number, month_of(month), rules[month].version) for number, month in enumerate(months, 1)],
        schema=["koersel", "maaned", "regelversion"],
        orient="row",
    )
    by_version = {one.version: one for one in rules.values()}
    whole = pl.col("borger_id").is_null()
    return {
        cpr: Historie(number, lines.filter(whole | (pl.col("borger_id") == number)),
                      lines.filter(pl.col("borger_id") != number), runs, by_version, {})
        for number, cpr in enumerate(people)
    }  # fmt: skip


class Known:
    """What the second calculation says that a run of a month knew of a person."""

    def __init__(self, files: Sequence[Fil], cpr: str, month: str, rules: Rulebook) -> None:
        """The person's claims by the files received up to the month."""
        used = plain_judge([fil for fil in files if fil.maaned <= month], rules).brugt
        self.claims: list[Claim] = [claim for claim in plain_claims(used, rules) if claim.cpr == cpr]
        self.last, self.rules = last_day(month_of(month)), rules

    def kinds(self, taeller_id: str) -> dict[date, str]:
        """The kind of every week by a counter."""
        if taeller_id == LOVENS_TAELLER:
            return kinds(self.claims, self.last, self.rules)
        return own_kinds(self.claims, counter(taeller_id, self.rules), self.last, self.rules)

    def numbers(self, taeller_id: str) -> dict[date, int]:
        """The number of every week by a counter."""
        return numbers(self.kinds(taeller_id), taeller_id, self.rules)


def counter(taeller_id: str, rules: Rulebook) -> Taeller:
    """A counter of its own by its name."""
    return next(one for one in rules.taellere if one.id == taeller_id)


def numbers(kind_of: Mapping[date, str], taeller_id: str, rules: Rulebook) -> dict[date, int]:
    """The number of every week, from its kinds."""
    if taeller_id == LOVENS_TAELLER:
        found = count(kind_of, rules)
    else:
        found = count_own(kind_of, counter(taeller_id, rules), rules)
    return {uge: week.n for uge, week in found.items()}


def number_at_overgang(kind_of: Mapping[date, str], taeller_id: str, rules: Rulebook) -> int:
    """The number that the week of the overgang has or would have, from the kinds before it."""
    start = monday(rules.overgang.gaelder_fra)
    before = {uge: kind for uge, kind in kind_of.items() if uge < start}
    return numbers({**before, start: "A"}, taeller_id, rules)[start]


def replayed(kind_of: Mapping[date, str], weeks: Sequence[Any]) -> dict[date, str]:
    """Kinds of weeks with those that are named as they became."""
    return {**kind_of, **{week.uge: week.art_efter for week in weeks}}


def proved(moved: Flytning, old: Known, new: Known) -> None:
    """The named weeks, and no fewer, give the new number on the old kinds; they changed as it says, before the week."""
    kind_of, then = old.kinds(moved.taeller_id), new.kinds(moved.taeller_id)
    for week in moved.uger:
        assert week.uge <= moved.uge
        assert (kind_of[week.uge].replace("-", "C"), then[week.uge]) == (week.art_foer, week.art_efter)

    def number(weeks: Sequence[Any]) -> int:
        return numbers(replayed(kind_of, weeks), moved.taeller_id, new.rules)[moved.uge]

    assert number(moved.uger) == moved.efter
    for week in moved.uger:
        assert number([other for other in moved.uger if other is not week]) != moved.efter
    assert moved.regler == (number([]) != moved.foer)


def all_moved(
    found: Historie, knowns: Mapping[str, Known], months: Sequence[str], taeller_id: str
) -> Iterator[tuple[Known, Known, Flytning]]:
    """The numbers that moved between two runs, as told: the first, the last and one between of those that moved alike.

    The number of every week is compared with the second calculation; none is told of where it has none moved.
    """
    for place, (before, after) in enumerate(itertools.pairwise(months), 2):
        old, new = knowns[before].numbers(taeller_id), knowns[after].numbers(taeller_id)
        assert {uge: found.at(place).number(taeller_id, uge) for uge in new} == new
        whole = {uge for uge, kind in knowns[before].kinds(taeller_id).items() if kind != "-"}
        apart = [uge for uge, n in old.items() if n != new[uge] and uge in whole]
        same = next((uge for uge, n in old.items() if n == new[uge] > 0), None)
        assert same is None or found.moved(place, taeller_id, same) is None
        for uge in sorted({*apart[:1], *apart[len(apart) // 2 :][:1], *apart[-1:]}):
            moved = found.moved(place, taeller_id, uge)
            assert moved is not None
            assert (moved.foer, moved.efter) == (old[uge], new[uge])
            yield knowns[before], knowns[after], moved


def without(files: Sequence[Fil], lines: Sequence[tuple[int, int]]) -> list[Fil]:
    """The files less some of their lines."""
    return [
        replace(fil, rows=[r for place, r in enumerate(fil.rows, 1) if (number, place) not in lines])
        for number, fil in enumerate(files)
    ]


def caused(moved: Flytning, files: Sequence[Fil], cpr: str, months: tuple[str, str], rules: Rulebook) -> None:
    """Each week's lines were new to the run, and without them the week is what it was before."""
    for lines in {week.linjer for week in moved.uger}:
        assert lines
        assert all(months[0] < files[number].maaned <= months[1] for number, _ in lines)
        less = Known(without(files, lines), cpr, months[1], rules).kinds(moved.taeller_id)
        for week in moved.uger:
            if week.linjer == lines:
                assert less[week.uge].replace("-", "C") == week.art_foer


# --- any history --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("proeves", ["ved_opnaaelse", "ved_naeste_ydelse"])
@examples(6, phases=[Phase.generate])
@given(history=histories(RULEBOOK))
def test_whatever_is_delivered_the_named_weeks_replayed_give_the_new_number(proeves: str, history: History) -> None:
    rules = reading(proeves)
    for cpr, found in historie(history.files, history.months, dict.fromkeys(history.months, rules)).items():
        knowns = {month: Known(history.files, cpr, month, rules) for month in history.months}
        for old, new, moved in all_moved(found, knowns, history.months, LOVENS_TAELLER):
            proved(moved, old, new)


@lru_cache
def reading(proeves: str) -> Rulebook:
    """The rules with one reading of when a restart is tried."""
    return replace(with_reading(RULEBOOK, "genoptjening_proeves", proeves), version=proeves)


MONTHS = ("2024-01", "2024-02", "2024-03", "2024-04")
FIRST = date(2020, 12, 28)


@st.composite
def lives(draw: st.DrawFn) -> list[Fil]:
    """Years of weekly claims in stretches, each week known at once or late, and some taken back in a later run.

    Stretches of self-support lie around 52 weeks, so that a restart hangs on a few late weeks.
    """
    rows: dict[str, list[dict[str, str]]] = {month: [] for month in MONTHS}
    uge, number = FIRST, 0
    for _ in range(draw(st.integers(2, 5))):
        letter = draw(st.sampled_from("KKDU"))
        late = draw(st.sampled_from([0, 0, 3, 8]))
        gap = draw(st.sampled_from([0, 1, 3, 50, 51, 52, 53, 54]))
        for _ in range(draw(st.sampled_from([1, 2, 4, 5, 10, 26, 53]))):
            number += 1
            month = draw(st.sampled_from(MONTHS[1:])) if draw(st.integers(0, 9)) < late else MONTHS[0]
            rows[month].append(week_of(letter, uge, number))
            if draw(st.integers(0, 9)) == 0:
                back = draw(st.sampled_from([later for later in MONTHS if later >= month]))
                rows[back].append(taken_back(letter, uge, number))
            uge += WEEK
        for place in draw(st.lists(st.integers(0, max(gap - 1, 0)), max_size=3, unique=True)) if gap else []:
            number += 1
            rows[draw(st.sampled_from(MONTHS))].append(week_of(draw(st.sampled_from("KU")), uge + place * WEEK, number))
        uge += gap * WEEK
    return [fil for month, lines in rows.items() for fil in senders(lines, month)]


def week_of(letter: str, uge: date, number: int) -> dict[str, str]:
    """A report of one week of benefit."""
    return row(letter, uge, uge + timedelta(days=6), number, IndberetningsID=f"I{number}") | {"kilde": letter}


def taken_back(letter: str, uge: date, number: int) -> dict[str, str]:
    """The reversal of it."""
    empty = dict.fromkeys(("Felt0014", "Felt0114", "Felt0115", "Felt0214_start", "Felt0214_slut"), "")
    names = {"IndberetningsID": f"T{number}", "ReferenceID": f"I{number}", "Indberetningsart": "T"}
    return week_of(letter, uge, number) | empty | names


def senders(lines: Sequence[dict[str, str]], month: str) -> Iterator[Fil]:
    """Rows as one file for each sender."""
    for letter in sorted({line["kilde"] for line in lines}):
        mine = [{k: v for k, v in line.items() if k != "kilde"} for line in lines if line["kilde"] == letter]
        numbered = [line | {"Lb_nr": str(place), "Modtaget_tidspunkt": f"{month}-20T12:00:00"}
                    for place, line in enumerate(mine, 1)]  # fmt: skip
        yield timeline.fil(letter, numbered, month, int(month[5:]))


OWN = replace(
    RULEBOOK,
    version="egen",
    taellere=(
        Taeller(id="EGEN", gaelder_fra=date(2014, 7, 1), ydelser=("KTH",), fri_uge="uden_ydelserne",
                genoptjening_uger=10, vindue_aar=1, **WITH),
    ),
)  # fmt: skip


@examples(20, phases=[Phase.generate])
@given(files=lives(), proeves=st.sampled_from(["ved_opnaaelse", "ved_naeste_ydelse", "egen"]))
def test_in_any_life_of_four_runs_every_named_week_moved_the_number_and_its_reports_made_it_so(
    files: list[Fil], proeves: str
) -> None:
    rules = OWN if proeves == "egen" else reading(proeves)
    taeller_id = "EGEN" if proeves == "egen" else LOVENS_TAELLER
    found = historie(files, MONTHS, dict.fromkeys(MONTHS, rules)).get(CPR)
    assert found is not None
    knowns = {month: Known(files, CPR, month, rules) for month in MONTHS}
    for old, new, moved in all_moved(found, knowns, MONTHS, taeller_id):
        proved(moved, old, new)
        caused(moved, files, CPR, (f"{old.last:%Y-%m}", f"{new.last:%Y-%m}"), rules)
