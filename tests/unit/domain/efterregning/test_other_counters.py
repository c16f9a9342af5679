"""The second calculation by counters of their own and under maxima: results worked out by hand."""

from dataclasses import replace
from datetime import date, timedelta

import pytest

from refusion_assets.domain.efterregning.money import Resultat, state
from refusion_assets.domain.efterregning.weeks import Uge, count_all, shares
from refusion_assets.domain.rules.entries import Loft, Rulebook, Taeller, Trappe, Trin
from tests.kit import timeline
from tests.kit.data_root import with_reading
from tests.kit.other_counters import RULEBOOK, WITH
from tests.kit.timeline import CPR

START = date(2024, 1, 1)  # a Monday
HOME = [{"CPR": CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]
PLAIN = Taeller(id="t", gaelder_fra=date(2014, 7, 1), ydelser=("KTH",), fri_uge="uden_ydelserne", **WITH)  # type: ignore[arg-type]
LIKE_LAW = replace(PLAIN, fri_uge="selvforsoergelse")
TWO_WEEKS = {"genoptjening_uger": 2, "vindue_aar": 1}


def law(taeller: Taeller = PLAIN, *lofter: Loft) -> Rulebook:
    """The law with kontanthjælp on a staircase of 90, 50 (from week 3) and 10 (from week 5), climbed by a counter."""
    trin = tuple(Trin(fra_uge=uge, procent=procent, hjemmel="x") for uge, procent in ((1, 90), (3, 50), (5, 10)))
    trappe = Trappe(id="ny", gaelder_fra=date(2016, 1, 4), trin=trin, taeller="t", **WITH)  # type: ignore[arg-type]
    ydelser = tuple(replace(y, sats="trappe ny") if y.ydelse_id == "KTH" else y for y in RULEBOOK.ydelser)
    trapper = (*RULEBOOK.trapper, trappe)
    return replace(RULEBOOK, ydelser=ydelser, trapper=trapper, taellere=(taeller,), lofter=lofter)


def weeks(text: str, rules: Rulebook, fra: date = START, last: date | None = None) -> list[Uge]:
    """The weeks of a timeline by the counter `t`."""
    counted = count_all(timeline.claims(text, fra), last or timeline.last_day(text, fra), rules)["t"].uger
    return [uge for week, uge in sorted(counted.items()) if week >= fra]


def rows(text: str, rules: Rulebook, fra: date = START) -> list[Resultat]:
    """The rows of a run that ends with the timeline, 1.000,00 a week, in order."""
    month = f"{timeline.last_day(text, fra):%Y-%m}"
    found = state(timeline.files(text, fra, month), HOME, month, rules)
    return [row for _, row in sorted(found.items(), key=lambda pair: (pair[0][1], pair[0]))]


def loft(name: str, periode: str, paa: str, oere: int, fra: str = "2014-07-01") -> Loft:
    """A maximum on kontanthjælp and dagpenge."""
    return Loft(
        id=name,
        gaelder_fra=date.fromisoformat(fra),
        ydelser=("KTH", "ADP"),
        periode=periode,  # type: ignore[arg-type]
        beloeb_oere=oere,
        paa=paa,  # type: ignore[arg-type]
        **WITH,  # type: ignore[arg-type]
    )


def test_weeks_of_other_support_are_free_to_a_counter_that_asks_for_none_of_its_own_benefits() -> None:
    assert weeks("K2 D2 K1", law(replace(PLAIN, **TWO_WEEKS))) == [
        ("A", 1, 0), ("A", 2, 0), ("C", 2, 1), ("C", 0, 0), ("A", 1, 0),
    ]  # fmt: skip


def test_weeks_of_other_support_are_neutral_to_a_counter_that_asks_for_self_support() -> None:
    assert weeks("K1 D1 U1 S1 K1 S1", law(replace(LIKE_LAW, **TWO_WEEKS))) == [
        ("A", 1, 0), ("B", 1, 0), ("B", 1, 0), ("C", 1, 1), ("A", 2, 1), ("C", 0, 0),
    ]  # fmt: skip


def test_a_counter_without_restart_counts_on_and_has_no_free_weeks_to_show() -> None:
    found = weeks("K1 S200 K1", law())
    assert (found[0], found[1], found[-1]) == (("A", 1, None), ("C", 1, None), ("A", 2, None))


def test_free_weeks_leave_the_window_on_the_same_date_a_year_later() -> None:
    # the free week of 8 January 2024 is in the window of 6 January 2025, not in that of 13 January
    restart = replace(PLAIN, **TWO_WEEKS)
    assert weeks("K1 S1 K51 S1", law(restart))[-1] == ("C", 0, 0)
    assert weeks("K1 S1 K52 S1", law(restart))[-1] == ("C", 53, 1)


def test_the_reading_tries_a_restart_when_the_next_benefit_comes() -> None:
    rules = law(replace(PLAIN, **TWO_WEEKS))
    waiting = with_reading(rules, "genoptjening_proeves", "ved_naeste_ydelse")
    assert weeks("K3 S2 K1", rules)[-2:] == [("C", 0, 0), ("A", 1, 0)]
    assert weeks("K3 S2 K1", waiting)[-2:] == [("C", 3, 2), ("A", 1, 0)]


@pytest.mark.parametrize(
    ("fra", "reading", "numbers"),
    [
        ("2024-01-09", "taeller", [0, 1, 2]),
        ("2024-01-09", "taeller_ikke", [0, 0, 1]),
        ("2024-01-08", "taeller_ikke", [0, 1, 2]),
    ],
)
def test_the_first_day_of_a_counter_cuts_a_week(fra: str, reading: str, numbers: list[int]) -> None:
    rules = with_reading(law(replace(PLAIN, gaelder_fra=date.fromisoformat(fra))), "foerste_uge", reading)
    assert [uge.n for uge in weeks("K3", rules)] == numbers
    assert [(row.trin, row.procent) for row in rows("K3", rules)[:2]] == [(1, 90), (1, 90)]


def test_a_week_half_covered_is_neither_counted_nor_free_where_the_whole_week_is_asked_for() -> None:
    rules = with_reading(law(replace(PLAIN, **TWO_WEEKS)), "uge_beroert", "hele_ugen")
    claims = [replace(claim, til=START + timedelta(days=16)) for claim in timeline.claims("K1", START)]
    counted = count_all(claims, START + timedelta(days=27), rules)["t"].uger
    assert [counted[START + timedelta(weeks=week)] for week in range(4)] == [
        ("A", 1, 0), ("A", 2, 0), ("B", 2, 0), ("C", 2, 1),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("taeller", "text", "cut"),
    [
        (PLAIN, "S1", "-"),
        (PLAIN, "D1", "-"),
        (PLAIN, "K1", "A"),
        (LIKE_LAW, "S1", "-"),
        (LIKE_LAW, "D1", "B"),
        (LIKE_LAW, "U1", "B"),
    ],
)
def test_a_week_that_the_run_cuts_is_never_free_and_may_already_be_spoken_for(
    taeller: Taeller, text: str, cut: str
) -> None:
    last = START + timedelta(days=9)
    assert [uge.kind for uge in weeks(f"K1 {text}", law(taeller), last=last)] == ["A", cut]


def test_free_weeks_are_shown_in_a_week_of_no_kind_only_where_it_cannot_become_free() -> None:
    # kontanthjælp counts for nothing here, dagpenge is what the counter is about
    for fri_uge, shown in (("uden_ydelserne", None), ("selvforsoergelse", 0)):
        taeller = replace(PLAIN, ydelser=("ADP",), fri_uge=fri_uge, **TWO_WEEKS)
        first, second = rows("D1 K1", law(taeller))
        assert (first.n, first.trin, first.genoptjening) == (1, 1, 0), "dagpenge stands on the law's own staircase"
        assert (second.n, second.trin, second.genoptjening) == (1, 1, shown)


def test_a_counter_that_begins_later_stands_on_its_first_step_before_it() -> None:
    rules = law(replace(PLAIN, gaelder_fra=date(2024, 1, 22)))
    assert [(row.n, row.procent) for row in rows("K4", rules)] == [(0, 90), (0, 90), (0, 90), (1, 90)]


def test_weeks_before_the_staircases_have_the_step_that_their_first_week_would_have() -> None:
    found = rows("K4", law(), date(2015, 12, 14))
    # 14 and 21 December carry no money; the halves of 28 December and then weeks 4 and 5 would be 50 and 10
    assert [(row.n, row.trin, row.procent) for row in found] == [(3, 2, 50), (4, 2, 50)]
    counted = count_all(timeline.claims("K2", date(2015, 12, 14)), date(2016, 1, 31), law())
    assert counted["t"].overgang == 3


KEY = tuple[date, str, str, str, str]


def key(day: int, maaned: str = "2024-01", kommune: str = "101", ydelse: str = "KTH") -> KEY:
    """A row of the week that begins on a day of January 2024."""
    return date(2024, 1, day), maaned, CPR, ydelse, kommune


def test_maxima_are_taken_on_the_amount_then_on_the_refusion_and_a_week_before_a_month() -> None:
    rules = law(
        PLAIN,
        loft("a", "maaned", "beloeb", 110_000),
        loft("b", "uge", "beloeb", 60_000),
        loft("c", "maaned", "refusion", 70_000),
        loft("d", "uge", "refusion", 40_000),
    )
    # a week: 60.000 of 100.000; the month: 60.000 and 50.000. 80 %: 48.000 and 40.000
    # a week: 40.000 and 40.000; the month: 40.000 and 30.000
    money = {key(1): (100_000, 80), key(8): (100_000, 80), key(15): (100_000, 80)}
    assert shares(money, rules) == {key(1): 40_000, key(8): 30_000, key(15): 0}


def test_two_maxima_of_the_same_kind_are_taken_by_name() -> None:
    first = loft("a", "maaned", "beloeb", 50_000)
    money = {key(1): (40_000, 100), key(1, ydelse="ADP"): (40_000, 100)}
    assert shares(money, law(PLAIN, first)) == {key(1): 40_000, key(1, ydelse="ADP"): 40_000}, "each for itself"
    assert shares(
        {key(1): (40_000, 100), key(8): (40_000, 100)}, law(PLAIN, first, loft("b", "maaned", "beloeb", 45_000))
    ) == {
        key(1): 40_000,
        key(8): 5_000,
    }


def test_rows_use_a_maximum_in_the_order_of_month_week_and_municipality() -> None:
    rules = law(PLAIN, loft("a", "uge", "beloeb", 10_000))
    money = {
        key(29, "2024-02", "101"): (9_000, 50),
        key(29, "2024-01", "169"): (3_000, 50),
        key(29, "2024-01"): (5_000, 50),
    }
    assert shares(money, rules) == {key(29): 2_500, key(29, "2024-01", "169"): 1_500, key(29, "2024-02"): 1_000}


def test_a_later_version_may_change_what_a_maximum_is_on_and_holds_from_its_own_day() -> None:
    rules = law(
        PLAIN,
        loft("a", "uge", "beloeb", 10_000),
        loft("a", "maaned", "refusion", 7_000, "2024-01-15"),
    )
    money = {key(8): (20_000, 50), key(15): (20_000, 50), key(29, "2024-02"): (20_000, 50)}
    # the week of the 8th: 10.000; that of the 15th has none of a week, and January begins before the 15th: no maximum
    assert shares(money, rules) == {key(8): 5_000, key(15): 10_000, key(29, "2024-02"): 7_000}


def test_halves_are_rounded_after_the_amount_is_limited() -> None:
    assert shares({key(1): (999, 50)}, law(PLAIN, loft("a", "uge", "beloeb", 333))) == {key(1): 167}


def test_the_amount_of_a_row_stays_and_its_money_is_on_its_own_side() -> None:
    found = rows("K1 D1", law(PLAIN, loft("a", "uge", "beloeb", 60_000)))
    assert [(row.beloeb, row.refusion, row.medfinansiering) for row in found] == [
        (100_000, 54_000, 0),
        (100_000, 0, 12_000),
    ]


def test_money_without_a_municipality_uses_nothing_of_a_maximum() -> None:
    late = [HOME[0] | {"Bopael_start": "2024-01-08"}]
    rules = law(PLAIN, loft("a", "maaned", "beloeb", 100_000))
    found = state(timeline.files("D2", START, "2024-01"), late, "2024-01", rules)
    assert [row.medfinansiering for row in found.values()] == [20_000]
