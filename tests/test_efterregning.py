"""The independent calculation against the contract: its example, its worked cases, the edges of each rule."""

import random
import tomllib
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from typing import Any

import pytest

from refusion_assets.domain.efterregning import (
    FLEKSBIDRAG,
    Bopael,
    Resultat,
    paragraf_7,
    rate,
    residence,
    rounded,
    split,
    state,
)
from refusion_assets.domain.efterregning_raa import Claim, Fil, benefit, judge, possible_cpr, read_oere
from refusion_assets.domain.efterregning_raa import claims as make_claims
from refusion_assets.domain.efterregning_uger import Uge, count_weeks, number_at_transition, years_before
from refusion_assets.domain.rules import Rulebook, Trin
from refusion_assets.rulebook import load
from tests import timeline
from tests.support import DATA, EXAMPLE, RULES, read_csv, read_root, with_reading

RULEBOOK = load(RULES)
CASES: dict[str, list[dict[str, Any]]] = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))
MONTHS = ("2024-02", "2024-03", "2024-04")
START = date(2016, 1, 4)
A_RUN = date(2030, 12, 31)
SYG = "urn:oio:kommune:konto:557711013"


def cases(table: str) -> pytest.MarkDecorator:
    """Every case of one table of cases.toml, named by its id."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES[table]])


def oere(text: str) -> int:
    """An amount of a case in øre."""
    value = read_oere(text)
    assert value is not None
    return value


def last_week(text: str, rules: Rulebook = RULEBOOK, fra: date = START) -> Uge:
    """Kind, number and weeks of self-support in the last week of a timeline."""
    weeks = count_weeks(timeline.claims(text, fra), timeline.last_day(text, fra), rules)
    return weeks[max(weeks)]


def percent(number: int, ydelse_id: str = "KTH", day: date = START, rules: Rulebook = RULEBOOK) -> int:
    return rate(benefit(ydelse_id, day, rules), day, number, rules)[0]


def example_state(month: str, **options: Any) -> dict[Any, Resultat]:
    files, bopael, fleksgrundlag = read_root(EXAMPLE / "data", month)
    return state(files, bopael, month, RULEBOOK, fleksbidrag=True, fleksgrundlag=fleksgrundlag, **options)


def as_expected(result: dict[Any, Resultat]) -> list[tuple[str, ...]]:
    """A state as the lines of the expected files: names for codes, empty for none, in their order."""
    ydelse = {y.ydelse_id: y.navn for y in RULEBOOK.ydelser} | {FLEKSBIDRAG: FLEKSBIDRAG}
    kommune = {k.kommunekode: k.navn for k in RULEBOOK.kommuner}
    return sorted(
        (str(uge), maaned, cpr, ydelse[ydelse_id], kommune[kode], *("" if v is None else str(v) for v in row))
        for (uge, maaned, cpr, ydelse_id, kode), row in result.items()
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
    assert (n, percent(n)) == (case["n"], case["procent"])


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
    assert paragraf_7(grundlag, oere(case["loen"]), refusion, Fraction(1)) == oere(case["fleksbidrag"])


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


# --- amounts ------------------------------------------------------------------------------------------------


def test_halves_are_rounded_away_from_zero() -> None:
    halves = [Fraction(1, 2), Fraction(-1, 2), Fraction(3, 2), Fraction(-3, 2), Fraction(49, 100)]
    assert [rounded(number) for number in halves] == [1, -1, 2, -2, 0]


@pytest.mark.parametrize("beloeb", [1, 2, 99, 100_001, 999_999_999_999])
def test_the_parts_of_a_claim_sum_to_its_amount(beloeb: int) -> None:
    claim = Claim("x", "KTH", "k", date(2023, 1, 1), date(2023, 12, 31), "p", "101", beloeb)
    assert sum(part.beloeb for part in split(claim, RULEBOOK)) == beloeb


def test_a_part_is_cut_where_the_benefit_begins_to_be_settled() -> None:
    claim = Claim("x", "KTH", "k", date(2015, 12, 28), date(2016, 1, 3), "p", "101", 700)
    parts = [(part.maaned, part.finansieres, part.beloeb) for part in split(claim, RULEBOOK)]
    assert parts == [("2015-12", False, 400), ("2016-01", True, 300)]
    later = replace(claim, ydelse_id="ADP", fra=date(2016, 1, 1), til=date(2016, 1, 10), beloeb=1000)
    parts = [(part.maaned, part.finansieres, part.beloeb) for part in split(later, RULEBOOK)]
    assert parts == [("2016-01", False, 300), ("2016-01", True, 700)]


def test_days_after_the_run_month_wait_and_do_not_change_the_cut() -> None:
    row = timeline.row("K", date(2023, 1, 30), date(2023, 2, 5), 1, "700,01")
    files = [timeline.fil("K", [row], "2023-01")]
    january = state(files, [], "2023-01", RULEBOOK)
    both = state(files, [], "2023-02", RULEBOOK)
    assert [row.beloeb for row in january.values()] == [20_000]
    assert [row.beloeb for _, row in sorted(both.items())] == [20_000, 50_001]
    assert [row.indberettet for _, row in sorted(both.items())] == [70_001, 0]


def test_a_claim_of_zero_touches_no_week() -> None:
    rows = [timeline.row("K", START, START, 1), timeline.row("K", START, START, 2, "-1000,00")]
    dom = judge([timeline.fil("K", rows, "2016-01")], RULEBOOK)
    assert (len(dom.brugt), dom.karantaene, list(make_claims(dom.brugt, RULEBOOK))) == (2, [], [])


# --- which municipality -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rows", "monday", "sunday"),
    [
        ([("101", 1, 31)], "101", "101"),
        ([("101", 1, 10), ("147", 11, 31)], "101", "147"),
        ([("101", 1, 31), ("147", 5, 31)], "147", "147"),
        ([("101", 2, 31), ("147", 2, 20)], "101", "101"),
        ([("101", 2, 31), ("147", 2, 31)], "147", "147"),
        ([("101", 11, 31), ("147", 10, 10)], "147", "101"),
        ([("101", 1, 8)], None, None),
    ],
)
def test_residence_is_that_of_monday_or_by_the_other_reading_of_sunday(
    rows: list[tuple[str, int, int]], monday: str | None, sunday: str | None
) -> None:
    lives = [Bopael(code, date(2023, 1, start), date(2023, 1, slut)) for code, start, slut in rows]
    week, other = date(2023, 1, 9), with_reading(RULEBOOK, "bopael_paa", "soendag")
    assert (residence(week, lives, RULEBOOK), residence(week, lives, other)) == (monday, sunday)


def test_national_money_without_residence_is_not_settled_but_its_weeks_count() -> None:
    files = timeline.files("D2 K1", START, "2016-01")
    unknown = [{"CPR": timeline.CPR, "Kommunekode": "999", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]
    rows = state(files, unknown, "2016-01", RULEBOOK)
    assert [(key[3], row.n) for key, row in rows.items()] == [("KTH", 3)]


# --- the readings -------------------------------------------------------------------------------------------


def test_reading_hele_ugen_asks_for_seven_days_and_keeps_the_rest_neutral() -> None:
    rules = with_reading(RULEBOOK, "uge_beroert", "hele_ugen")
    whole = Claim("x", "KTH", "k", START, date(2016, 1, 16), "p", "101", 1)
    weeks = count_weeks([whole], A_RUN, rules)
    assert [weeks[START + timedelta(weeks=w)].kind for w in range(3)] == ["A", "B", "C"]
    sunday = replace(whole, konto="other", fra=date(2016, 1, 17), til=date(2016, 1, 17))
    assert count_weeks([whole, sunday], A_RUN, rules)[date(2016, 1, 11)] == ("A", 2, 0)


def test_reading_foerste_uge_leaves_out_the_week_that_1_july_2014_cuts() -> None:
    claims = timeline.claims("K2", date(2014, 6, 30))
    weeks = count_weeks(claims, A_RUN, with_reading(RULEBOOK, "foerste_uge", "taeller_ikke"))
    assert (min(weeks), weeks[date(2014, 7, 7)]) == (date(2014, 7, 7), ("A", 1, 0))


def test_reading_ved_naeste_ydelse_tries_the_window_when_a_benefit_comes() -> None:
    rules = with_reading(RULEBOOK, "genoptjening_proeves", "ved_naeste_ydelse")
    assert last_week("K4 S52 K1", rules) == ("A", 1, 0)
    assert last_week("K4 S52 U160 K1", rules)[1] == 5
    assert last_week("K4 S60", rules) == ("C", 4, 60)
    first = timeline.claims("K4", date(2014, 6, 30))
    assert number_at_transition(first, A_RUN, rules) == 1


def test_reading_hverdage_spreads_over_weekdays_unless_there_are_none() -> None:
    rules = with_reading(RULEBOOK, "fordeling", "hverdage")
    claim = Claim("x", "KTH", "k", date(2023, 1, 5), date(2023, 1, 10), "p", "101", 400)
    assert [part.beloeb for part in split(claim, rules)] == [200, 200]
    assert [part.beloeb for part in split(claim, RULEBOOK)] == [267, 133]
    weekend = replace(claim, fra=date(2022, 12, 31), til=date(2023, 1, 1))
    assert [part.beloeb for part in split(weekend, rules)] == [200, 200]


def test_reading_foer_atp_takes_atp_from_dagpenge_only() -> None:
    rules = with_reading(RULEBOOK, "beloebsgrundlag", "felt0014_er_foer_atp")
    for letter, after in (("D", 90_000), ("K", 100_000)):
        raw = timeline.row(letter, START, START, 1, Felt0046="100,00")
        used = judge([timeline.fil(letter, [raw], "2016-01")], RULEBOOK).brugt
        assert [claim.beloeb for claim in make_claims(used, RULEBOOK)] == [100_000]
        assert [claim.beloeb for claim in make_claims(used, rules)] == [after]


def test_reading_bopael_moves_municipal_money_to_the_municipality_of_residence() -> None:
    files = timeline.files("K1", START, "2016-01")
    bopael = [{"CPR": timeline.CPR, "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}]
    other = with_reading(RULEBOOK, "finansieringskommune_refusion", "bopael")
    assert [key[4] for key in state(files, bopael, "2016-01", RULEBOOK)] == ["169"]
    assert [key[4] for key in state(files, bopael, "2016-01", other)] == ["101"]
    assert state(files, [], "2016-01", other) == {}


# --- rows, and what is rejected -----------------------------------------------------------------------------


ADP, KTH = "urn:oio:akasse:konto:adp", "urn:oio:kommune:konto:557731007"
VIRK = "urn:oio:kommune:konto:568941114"


@pytest.mark.parametrize(
    ("letter", "changes", "regel"),
    [
        ("K", {}, None),
        ("D", {}, None),
        ("K", {"Felt0115": "urn:unknown"}, "YR-001"),
        ("K", {"Felt0114": "urn:unknown"}, "YR-001"),
        ("K", {"Felt0114": ADP}, "YR-002"),
        ("K", {"Felt0115": "", "CPR": ""}, "YR-003"),
        ("K", {"Felt0214_slut": ""}, "YR-004"),
        ("K", {"Felt0115": VIRK, "Felt0216": timeline.CPR}, "YR-005"),
        ("K", {"Felt0115": VIRK, "Felt0215_start": "x", "Felt0215_slut": "x"}, "YR-005"),
        ("K", {"Felt0115": "urn:oio:kommune:konto:558811020", "Felt0215_start": "2016-01-04"}, "YR-006"),
        ("K", {"Felt0115": "", "Felt0114": KTH}, "YR-007"),
        ("K", {"Felt0115": SYG}, "YR-008"),
        ("K", {"Felt0115": SYG, "CPR": "x", "Dispositionsdato": ""}, "YR-008"),
        ("K", {"Dispositionsdato": ""}, "EI-001"),
        ("K", {"Indberetningsart": "X"}, "EI-001"),
        ("K", {"Kommunekode": ""}, "EI-001"),
        ("K", {"Indberetningsart": "T"}, "EI-001"),
        ("K", {"Felt0214_slut": "2024-02-30"}, "EI-001"),
        ("K", {"Felt0214_slut": "20160110"}, "EI-001"),
        ("K", {"Felt0215_slut": "2016-1-1"}, "EI-001"),
        ("K", {"Felt0014": "12x,00"}, "EI-001"),
        ("K", {"Felt0014": "1.000,00"}, "EI-001"),
        ("K", {"Felt0014": "1000,"}, "EI-001"),
        ("K", {"Felt0014": "12345678901,00"}, "EI-001"),
        ("K", {"Felt0014": "1234567890,5"}, None),
        ("K", {"Felt0098": "-0,01"}, "EI-001"),
        ("K", {"Modtaget_tidspunkt": "2016-01-10 12:00:00"}, "EI-001"),
        ("K", {"Modtaget_tidspunkt": "2016-01-10T24:00:00"}, "EI-001"),
        ("K", {"Loenperiode_slut": "2016-01-03"}, "EI-002"),
        ("K", {"Felt0214_slut": "2016-01-03"}, "EI-002"),
        ("K", {"Felt0214_slut": "2017-01-03"}, None),
        ("K", {"Felt0214_slut": "2017-01-04"}, "EI-002"),
        ("K", {"CPR": "611051247"}, "EI-003"),
        ("K", {"CPR": ""}, "EI-003"),
        ("K", {"CPR": "9102700000", "Kommunekode": "999"}, "EI-003"),
        ("K", {"Kommunekode": "101"}, "EI-008"),
        ("K", {"Kommunekode": "999"}, "EI-008"),
        ("D", {"Kommunekode": "101"}, "EI-008"),
    ],
)
def test_a_row_breaks_the_first_rule_of_the_table(letter: str, changes: dict[str, str], regel: str | None) -> None:
    row = timeline.row(letter, START, START + timedelta(days=6), 1) | changes
    karantaene = judge([timeline.fil(letter, [row], "2016-01")], RULEBOOK).karantaene
    assert [row.regel for row in karantaene] == ([regel] if regel else [])


@pytest.mark.parametrize(
    ("cpr", "possible"),
    [
        ("6110512470", True),
        ("6101000000", True),
        ("6101364000", False),
        ("6101374000", True),
        ("9002504000", False),
        ("6101005000", True),
        ("6101585000", True),
        ("6101164000", True),
        ("7001164000", True),
        ("7101164000", False),
        ("6001504000", False),
        ("0113504000", False),
        ("01015o4000", False),
    ],
)
def test_a_cpr_is_possible_when_its_date_exists_and_is_not_after_the_receipt(cpr: str, possible: bool) -> None:
    assert possible_cpr(cpr, date(2016, 1, 10)) is possible


def reversal(reference: str, **changes: str) -> dict[str, str]:
    """A `T` row on a report of kontanthjælp; amounts on it must not matter."""
    return (
        timeline.row("K", START, START, 90, "77,00")
        | {
            "IndberetningsID": "T1",
            "Indberetningsart": "T",
            "ReferenceID": reference,
            "Felt0115": "",
            "Felt0214_start": "",
            "Felt0214_slut": "",
        }
        | changes
    )


OTHER = "6201912197"


@pytest.mark.parametrize(
    ("changes", "left"),
    [
        ({}, [OTHER]),
        ({"CPR": ""}, []),
        ({"CPR": OTHER}, [timeline.CPR]),
        ({"Pligt_SE": "29161000"}, [timeline.CPR, OTHER]),
        ({"ReferenceID": "unknown"}, [timeline.CPR, OTHER]),
    ],
)
def test_a_reversal_takes_back_the_rows_it_names_even_if_it_came_first(
    changes: dict[str, str], left: list[str]
) -> None:
    report = [timeline.row("K", START, START, 1, cpr=cpr, IndberetningsID="I1") for cpr in (timeline.CPR, OTHER)]
    back = timeline.fil("K", [reversal("I1", **changes)], "2016-01")
    dom = judge([back, timeline.fil("K", report, "2016-02", 2)], RULEBOOK)
    assert ([row.subject for row in dom.brugt], dom.karantaene) == (left, [])


def test_a_lowering_supplement_left_alone_by_a_reversal_is_quarantined() -> None:
    rows = [timeline.row("K", START, START, 1, IndberetningsID="I1"), timeline.row("K", START, START, 2, "-1,00")]
    before = judge([timeline.fil("K", rows, "2016-01")], RULEBOOK).brugt
    assert [claim.beloeb for claim in make_claims(before, RULEBOOK)] == [99_900]
    dom = judge([timeline.fil("K", [*rows, reversal("I1")], "2016-01")], RULEBOOK)
    assert ([row.regel for row in dom.karantaene], dom.brugt, len(dom.tilbagefoert)) == (["EI-010"], [], 1)


def test_a_reversal_of_a_reversal_has_no_effect() -> None:
    rows = [
        timeline.row("K", START, START, 1, IndberetningsID="I1"),
        reversal("I1"),
        reversal("T1", IndberetningsID="T2"),
    ]
    dom = judge([timeline.fil("K", rows, "2016-01")], RULEBOOK)
    assert ([(row.lb_nr, row.regel) for row in dom.karantaene], dom.brugt) == ([(3, "EI-015")], [])


def test_a_report_id_in_a_later_file_is_quarantined_there_even_if_the_first_row_is_rejected() -> None:
    bad = timeline.row("K", START, START, 1, IndberetningsID="I1", Dispositionsdato="")
    good = timeline.row("K", START, START, 1, IndberetningsID="I1")
    files = [timeline.fil("K", [good], "2016-02", 2), timeline.fil("K", [bad], "2016-01", 1)]
    dom = judge(files, RULEBOOK)
    assert ([row.regel for row in dom.karantaene], dom.brugt) == (["EI-001", "EI-013"], [])


def test_a_file_delivered_twice_is_read_once() -> None:
    once = timeline.fil("K", [timeline.row("K", START, START, 1)], "2016-01")
    again = replace(once, filnavn="again", maaned="2016-02")
    dom = judge([again, once], RULEBOOK)
    assert ([row.fil.filnavn for row in dom.brugt], dom.karantaene) == ([once.filnavn], [])


# --- fleksbidrag --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "share"), [(60, Fraction(31, 31)), (50, Fraction(23, 31)), (40, Fraction(0))])
def test_fleksbidrag_follows_the_days_on_the_20_per_cent_step(before: int, share: Fraction) -> None:
    # January 2023 begins on a Sunday: the first day lies in the week of 26 December.
    first = date(2022, 12, 26) - timedelta(weeks=before)
    rows = timeline.files(f"K{before}", first, "2023-01")[0].rows
    flex = timeline.row(
        "K",
        date(2023, 1, 1),
        date(2023, 1, 31),
        99,
        "9000,00",
        Felt0214_start="",
        Felt0214_slut="",
        Felt0115="urn:oio:kommune:konto:558811020",
        Felt0215_start="2023-01-01",
        Felt0215_slut="2023-01-31",
    )
    basis = [
        {"CPR": timeline.CPR, "Maaned": "2023-01", "Beregningsgrundlag": grundlag, "Loen": "5000,00"}
        for grundlag in ("1,00", "17550,00")
    ]
    files = [timeline.fil("K", [*rows, flex], "2023-01")]
    result = state(files, [], "2023-01", RULEBOOK, fleksbidrag=True, fleksgrundlag=basis)
    refusion = sum(row.refusion for key, row in result.items() if key[3] == "FLEKS")
    bidrag = {key: row for key, row in result.items() if key[3] == FLEKSBIDRAG}
    expected = paragraf_7(1_755_000, 500_000, refusion, share)
    assert [row.refusion for row in bidrag.values()] == ([expected] if share else [])
    assert [key[0] for key in bidrag] == ([date(2023, 1, 30)] if share else [])
    assert state(files, [], "2023-01", RULEBOOK, fleksbidrag=True).keys().isdisjoint(bidrag)
