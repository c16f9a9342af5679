"""The independent calculation: amounts, municipality, readings and fleksbidrag at their edges."""

from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction

import pytest

from refusion_assets.domain.efterregning.money import Bopael, paragraf_7, residence, split, state
from refusion_assets.domain.efterregning.reports import Claim, judge, rounded
from refusion_assets.domain.efterregning.reports import claims as make_claims
from refusion_assets.domain.efterregning.weeks import count_weeks, number_at_transition
from tests.kit import timeline
from tests.kit.data_root import with_reading
from tests.kit.second_calculation import A_RUN, FLEKSBIDRAG, PARAGRAF_7, RULEBOOK, START, last_week

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
    expected = paragraf_7(PARAGRAF_7, 1_755_000, 500_000, refusion, share)
    assert [row.refusion for row in bidrag.values()] == ([expected] if share else [])
    assert [key[0] for key in bidrag] == ([date(2023, 1, 30)] if share else [])
    assert state(files, [], "2023-01", RULEBOOK, fleksbidrag=True).keys().isdisjoint(bidrag)
