"""The independent calculation against the contract: its example, its worked cases, the edges of each rule."""

import random
from dataclasses import replace
from datetime import date
from fractions import Fraction
from typing import Any

import pytest

from refusion_assets.domain.efterregning.money import paragraf_7, state
from refusion_assets.domain.efterregning.reports import Claim, Fil, benefit, judge, rounded
from refusion_assets.domain.efterregning.weeks import count_weeks, number_at_transition, years_before
from refusion_assets.domain.rules.entries import Trin
from tests.kit import timeline
from tests.kit.data_root import EXAMPLE, read_csv, read_root
from tests.kit.second_calculation import (
    A_RUN,
    MONTHS,
    PARAGRAF_7,
    RULEBOOK,
    START,
    SYG,
    as_expected,
    cases,
    example_state,
    last_week,
    oere,
    percent,
)

# --- the example --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("month", MONTHS)
def test_the_state_of_the_example_is_the_expected_one_in_every_column(month: str) -> None:
    expected = read_csv(EXAMPLE / "expected" / f"state-{month}.csv")
    assert as_expected(example_state(month)) == sorted(tuple(row.values()) for row in expected)


@pytest.mark.parametrize("month", MONTHS)
def test_the_quarantine_of_the_example_is_the_expected_one(month: str) -> None:
    files, _, _ = read_root(EXAMPLE / "data", month)
    found = [tuple(map(str, row)) for row in judge(files, RULEBOOK).karantaene if row.regel != "EI-010"]
    expected = read_csv(EXAMPLE / "expected" / f"quarantine-{month}.csv")
    assert found == sorted((tuple(row.values()) for row in expected), key=lambda row: (row[0], int(row[1])))


def test_shuffled_files_and_rows_give_the_same_state() -> None:
    files, bopael, fleksgrundlag = read_root(EXAMPLE / "data", "2024-04")
    chance = random.Random(994)  # noqa: S311  a shuffle, not a secret
    shuffled = [replace(fil, rows=chance.sample(fil.rows, len(fil.rows))) for fil in files]
    chance.shuffle(shuffled)
    result = state(shuffled, bopael, "2024-04", RULEBOOK, fleksbidrag=True, fleksgrundlag=fleksgrundlag)
    assert result == example_state("2024-04")


def test_a_sample_of_persons_has_the_rows_of_the_whole() -> None:
    whole = example_state("2024-03")
    persons = set(sorted({key[2] for key in whole})[::7])
    assert example_state("2024-03", persons=persons) == {k: v for k, v in whole.items() if k[2] in persons}


def test_files_after_the_run_month_are_not_known_to_the_run() -> None:
    files, _, _ = read_root(EXAMPLE / "data", "2024-04")
    _, bopael, fleksgrundlag = read_root(EXAMPLE / "data", "2024-02")
    result = state(files, bopael, "2024-02", RULEBOOK, fleksbidrag=True, fleksgrundlag=fleksgrundlag)
    assert result == example_state("2024-02")


def test_every_report_of_the_example_is_used_reversed_or_quarantined() -> None:
    files, _, _ = read_root(EXAMPLE / "data", "2024-04")
    dom = judge(files, RULEBOOK)
    distinct = {fil.sha256: fil for fil in files}.values()
    reports = sum(row["Indberetningsart"] == "I" for fil in distinct for row in fil.rows)
    quarantined = sum(not row.indberetningsid.startswith("T") for row in dom.karantaene)
    assert reports == len(dom.brugt) + len(dom.tilbagefoert) + quarantined


# --- the worked cases ---------------------------------------------------------------------------------------


@cases("tidslinje")
def test_a_timeline_ends_on_its_number_and_its_percentage(case: dict[str, Any]) -> None:
    _, n, _ = last_week(case["uger"], fra=case["fra"])
    monday, _ = timeline.weeks(case["uger"], case["fra"])[-1]
    assert (n, percent(n, day=monday)) == (case["n"], case["procent"])


@cases("tidslinje")
def test_a_timeline_of_raw_rows_is_settled_on_its_number_and_its_percentage(case: dict[str, Any]) -> None:
    month = timeline.last_day(case["uger"], case["fra"]).isoformat()[:7]
    files = timeline.files(case["uger"], case["fra"], month)
    rows = state(files, [], month, RULEBOOK)
    last = rows[max(rows)]
    assert (last.n, last.procent) == (case["n"], case["procent"])


@cases("beloeb")
def test_weeks_of_one_amount_give_the_total_of_the_case(case: dict[str, Any]) -> None:
    side = "refusion" if "refusion_i_alt" in case else "medfinansiering"
    text = f"{'K' if side == 'refusion' else 'D'}{case['uger']}"
    bopael = [{"CPR": timeline.CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]
    rows = state(timeline.files(text, START, "2018-01", case["ugentligt"]), bopael, "2018-01", RULEBOOK)
    assert sum(getattr(row, side) for row in rows.values()) == oere(case[f"{side}_i_alt"])


@cases("periode")
def test_a_month_is_cut_into_the_parts_of_the_case(case: dict[str, Any]) -> None:
    before = timeline.files(f"K{case['foerste_n'] - 1}", date(2023, 2, 13), "2023-03")[0].rows
    month = timeline.row("K", case["fra"], case["til"], 9, case["beloeb"])
    rows = state([timeline.fil("K", [*before, month], "2023-03")], [], "2023-03", RULEBOOK)
    march = [row for key, row in sorted(rows.items()) if key[1] == "2023-03"]
    assert [row.beloeb for row in march] == [oere(text) for text in case["dele"]]
    assert [row.refusion for row in march] == [oere(text) for text in case["refusion"]]
    assert [row.indberettet for row in march] == [oere(case["beloeb"]), 0, 0, 0, 0]
    assert [row.n for row in march] == [3, 4, 5, 6, 7]


@cases("fleksbidrag")
def test_fleksbidrag_is_that_of_the_case(case: dict[str, Any]) -> None:
    grundlag = oere(case["beregningsgrundlag"])
    refusion = rounded(Fraction(20 * grundlag, 100))
    assert paragraf_7(PARAGRAF_7, grundlag, oere(case["loen"]), refusion, Fraction(1)) == oere(case["fleksbidrag"])


# --- the steps and the count --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("weeks", "refusion", "medfinansiering"),
    [(1, 80, 20), (4, 80, 20), (5, 40, 60), (26, 40, 60), (27, 30, 70), (52, 30, 70), (53, 20, 80), (500, 20, 80)],
)
def test_the_percentage_changes_after_week_4_26_and_52(weeks: int, refusion: int, medfinansiering: int) -> None:
    _, n, _ = last_week(f"K{weeks}")
    assert (n, percent(n), percent(n, "ADP")) == (weeks, refusion, medfinansiering)


@pytest.mark.parametrize(("free", "number"), [(51, 2), (52, 1)])
def test_52_weeks_of_self_support_start_the_count_over_and_51_do_not(free: int, number: int) -> None:
    assert last_week(f"K1 S{free} K1")[1] == number


def test_the_count_of_self_support_shows_up_to_51_and_is_0_after_the_restart() -> None:
    assert last_week("K1 S51") == ("C", 1, 51)
    assert last_week("K1 S52") == ("C", 0, 0)


def test_29_february_three_years_back_is_28_february() -> None:
    assert years_before(date(2024, 2, 29), 3) == date(2021, 2, 28)
    assert years_before(date(2024, 2, 29), 4) == date(2020, 2, 29)
    assert years_before(date(2024, 3, 1), 3) == date(2021, 3, 1)


def test_one_day_makes_a_week_and_the_last_week_of_a_run_is_never_self_support() -> None:
    sunday = [Claim("x", "KTH", "k", date(2023, 1, 8), date(2023, 1, 8), "p", "101", 1)]
    weeks = count_weeks(sunday, date(2023, 1, 17), RULEBOOK)
    assert [weeks[date(2023, 1, day)].kind for day in (2, 9, 16)] == ["A", "C", "-"]
    assert count_weeks(sunday, date(2023, 1, 7), RULEBOOK)[date(2023, 1, 2)].kind == "-"


def test_a_week_of_both_is_an_a_week() -> None:
    both = timeline.claims("U1", START) + timeline.claims("K1", START)
    assert count_weeks(both, A_RUN, RULEBOOK)[START].kind == "A"


def test_a_benefit_without_category_says_nothing_about_the_week() -> None:
    travel = [Claim("x", "BEFORD", "k", START, START, "p", "", 100)]
    assert count_weeks(travel, A_RUN, RULEBOOK)[START].kind == "C"


def test_days_before_1_july_2014_do_not_count() -> None:
    june = Claim("x", "KTH", "k", date(2014, 6, 1), date(2014, 6, 30), "p", "101", 1)
    first = date(2014, 6, 30)
    assert count_weeks([june], A_RUN, RULEBOOK)[first].kind == "C"
    assert count_weeks([replace(june, til=date(2014, 7, 1))], A_RUN, RULEBOOK)[first] == ("A", 1, 0)


def test_weeks_before_the_staircases_are_settled_as_their_first_week_and_keep_their_number() -> None:
    before = timeline.files("K3", date(2015, 12, 7), "2016-01")
    sick = timeline.row("K", date(2015, 12, 28), date(2016, 1, 10), 9, "1400,00", Felt0115=SYG)
    files = [*before, Fil("ksd", "ksd", "169", "2016-01", "another", [sick])]
    rows = state(files, [], "2016-01", RULEBOOK)
    found = [(str(key[0]), row.beloeb, row.procent, row.n, row.trin) for key, row in sorted(rows.items())]
    assert found == [
        ("2015-12-28", 40_000, 40, 4, 2),
        ("2015-12-28", 30_000, 40, 4, 2),
        ("2016-01-04", 70_000, 40, 5, 2),
    ]
    assert number_at_transition([], A_RUN, RULEBOOK) == 1


def test_a_new_staircase_holds_from_its_monday_and_the_count_goes_on() -> None:
    old = next(trappe for trappe in RULEBOOK.trapper if trappe.id == "refusion")
    new = replace(old, gaelder_fra=date(2026, 7, 1), trin=(Trin(fra_uge=1, procent=50, hjemmel="§ 5"),))
    rules = replace(RULEBOOK, trapper=(*RULEBOOK.trapper, new))
    assert percent(53, day=date(2026, 6, 29), rules=rules) == 20
    assert percent(53, day=date(2026, 7, 6), rules=rules) == 50


def test_a_new_benefit_on_a_new_staircase_is_settled_in_the_week_that_its_first_day_cuts() -> None:
    begins = date(2026, 7, 1)
    trappe = replace(
        RULEBOOK.trapper[0], id="ny", gaelder_fra=begins, trin=(Trin(fra_uge=1, procent=50, hjemmel="§ 5"),)
    )
    ydelse = replace(
        benefit("KTH", START, RULEBOOK), ydelse_id="NY", gaelder_fra=begins, sats="trappe ny", finansieres_fra=begins
    )
    konti = tuple(replace(konto, ydelse_id="NY") if konto.ydelse_id == "KTH" else konto for konto in RULEBOOK.konti)
    rules = replace(RULEBOOK, trapper=(*RULEBOOK.trapper, trappe), ydelser=(*RULEBOOK.ydelser, ydelse), konti=konti)
    files = timeline.files("K1", date(2026, 6, 29), "2026-07", "700,00")
    rows = state(files, [], "2026-07", rules)
    assert [(key[3], row.beloeb, row.procent, row.n) for key, row in rows.items()] == [("NY", 50_000, 50, 1)]
