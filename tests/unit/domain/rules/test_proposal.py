"""What a proposal says otherwise than the rules in force: which entries, from when, and what cannot be estimated."""

from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from refusion_assets.domain.calendar import last_day
from refusion_assets.domain.rules.entries import Rulebook, Trin
from refusion_assets.domain.rules.proposal import Forskel, differences, new_accounts, same_count
from refusion_assets.rulebook.load import load
from tests.kit.data_root import RULEBOOK, RULES, with_reading

STEP = Trin(fra_uge=1, procent=75, hjemmel="§ 5, stk. 2, nr. 1")


def benefit(ydelse_id: str, **changes: Any) -> Rulebook:
    """The rules with one benefit otherwise."""
    mine = [replace(y, **changes) if y.ydelse_id == ydelse_id else y for y in RULEBOOK.ydelser]
    return replace(RULEBOOK, ydelser=tuple(mine))


def staircase(name: str, fra: date, *trin: Trin) -> Rulebook:
    """The rules with a later staircase."""
    one = next(t for t in RULEBOOK.trapper if t.id == name)
    later = replace(one, gaelder_fra=fra, trin=trin)
    return replace(RULEBOOK, trapper=tuple(sorted((*RULEBOOK.trapper, later), key=lambda t: (t.id, t.gaelder_fra))))


def bound(graense_id: str, vaerdi: int) -> Rulebook:
    """The rules with one bound otherwise."""
    mine = [replace(g, vaerdi=vaerdi) if g.id == graense_id else g for g in RULEBOOK.graenser]
    return replace(RULEBOOK, graenser=tuple(mine))


def restart(**changes: Any) -> Rulebook:
    """The rules with another restart."""
    return replace(RULEBOOK, genoptjening=(replace(RULEBOOK.genoptjening[0], **changes),))


def only(forslag: Rulebook) -> Forskel:
    """The one difference of a proposal."""
    [forskel] = differences(RULEBOOK, forslag)
    return forskel


def reached(forskel: Forskel, *months: date) -> list[date]:
    """Which of some months a difference can touch."""
    return [month for month in months if forskel.touches(month, last_day(month))]


def test_the_same_rules_differ_in_nothing_and_count_alike() -> None:
    assert differences(RULEBOOK, load(RULES)) == []
    assert same_count(RULEBOOK, load(RULES))


def test_a_later_staircase_is_held_against_the_one_that_holds_without_it() -> None:
    forskel = only(staircase("refusion", date(2026, 7, 1), STEP))
    assert (forskel.fil, forskel.post, forskel.felt) == ("trapper.toml", "refusion fra 2026-07-01 (ny)", "trin")
    assert forskel.gaeldende == "uge 1: 80 pct., uge 5: 40 pct., uge 27: 30 pct., uge 53: 20 pct."
    assert forskel.forslag == "uge 1: 75 pct."
    assert (forskel.fra, forskel.til, forskel.penge, forskel.indlaes) == (date(2026, 7, 1), None, True, False)


def test_a_rule_touches_the_months_from_its_first_monday_on() -> None:
    june, july = date(2026, 6, 1), date(2026, 7, 1)
    # Wednesday 1 July: the first Monday is 6 July. Monday 29 June: the week lies in both months.
    assert reached(only(staircase("refusion", date(2026, 7, 1), STEP)), june, july) == [july]
    assert reached(only(staircase("refusion", date(2026, 6, 29), STEP)), june, july) == [june, july]
    assert reached(only(staircase("refusion", date(2026, 6, 30), STEP)), june, july) == [july]


def test_a_staircase_touches_nothing_from_the_monday_that_another_takes_over() -> None:
    forskel = only(replace(RULEBOOK, trapper=tuple(replace(t, trin=(STEP,)) if t.id == "refusion" else t
                                                    for t in RULEBOOK.trapper)))  # fmt: skip
    assert (forskel.fra, forskel.til) == (None, None)
    before = staircase("refusion", date(2026, 6, 1), STEP)
    old = [t for t in before.trapper if t.id == "refusion"]
    changed = replace(before, trapper=tuple(replace(t, trin=(STEP,)) if t is old[0] else t for t in before.trapper))
    [forskel] = differences(before, changed)
    assert forskel.til == date(2026, 5, 31)
    assert reached(forskel, date(2026, 5, 1), date(2026, 6, 1)) == [date(2026, 5, 1)]


def test_a_changed_restart_counts_otherwise_from_the_beginning() -> None:
    forslag = restart(uger=40)
    forskel = only(forslag)
    assert (forskel.fil, forskel.felt, forskel.gaeldende, forskel.forslag) == ("optaelling.toml", "uger", "52", "40")
    assert forskel.fra is None
    assert not same_count(RULEBOOK, forslag)


@pytest.mark.parametrize(
    ("forslag", "alike"),
    [
        (staircase("refusion", date(2026, 7, 1), STEP), True),
        (benefit("KTH", sats="fast 50"), True),
        (benefit("KTH", navn="Hjælp", kontrolleret=date(2027, 1, 1)), True),
        (with_reading(RULEBOOK, "fordeling", "hverdage"), True),
        (benefit("SU", kategori="A"), False),
        (with_reading(RULEBOOK, "uge_beroert", "hele_ugen"), False),
        (replace(RULEBOOK, optaelling=replace(RULEBOOK.optaelling, gaelder_fra=date(2015, 1, 1))), False),
        (replace(RULEBOOK, overgang=replace(RULEBOOK.overgang, gaelder_fra=date(2016, 1, 11))), False),
    ],
)
def test_weeks_are_counted_once_only_where_both_rule_sets_count_alike(forslag: Rulebook, *, alike: bool) -> None:
    assert same_count(RULEBOOK, forslag) == alike


@pytest.mark.parametrize(
    ("forslag", "felt"),
    [
        (benefit("KTH", beloebsfelter="0014,0048"), "beloebsfelter"),
        (with_reading(RULEBOOK, "beloebsgrundlag", "felt0014_er_foer_atp"), "vaerdi"),
        (bound("periode_dage", 300), "vaerdi"),
        (replace(RULEBOOK, konti=(replace(RULEBOOK.konti[0], ydelse_id="KTH"), *RULEBOOK.konti[1:])), "ydelse_id"),
        (replace(RULEBOOK, konti=RULEBOOK.konti[1:]), "hele posten"),
        (replace(RULEBOOK, kommuner=RULEBOOK.kommuner[1:]), "hele posten"),
        (replace(RULEBOOK, kilder=tuple(replace(k, art="national") for k in RULEBOOK.kilder)), "art"),
    ],
)
def test_what_the_claims_were_made_by_takes_a_new_load(forslag: Rulebook, felt: str) -> None:
    found = differences(RULEBOOK, forslag)
    assert found
    assert {(forskel.felt, forskel.indlaes) for forskel in found} == {(felt, True)}


def test_a_later_version_of_a_benefit_takes_a_new_load_only_if_its_amount_is_of_other_fields() -> None:
    kth = next(y for y in RULEBOOK.ydelser if y.ydelse_id == "KTH")
    made: Callable[..., Rulebook] = lambda **changes: replace(  # noqa: E731
        RULEBOOK, ydelser=(*RULEBOOK.ydelser, replace(kth, gaelder_fra=date(2026, 7, 1), **changes))
    )
    assert [f.indlaes for f in differences(RULEBOOK, made(sats="fast 50"))] == [False]
    assert [f.indlaes for f in differences(RULEBOOK, made(beloebsfelter="0048"))] == [True]


def test_the_number_in_the_act_takes_a_new_load_only_where_atp_is_taken_by_it() -> None:
    assert [f.indlaes for f in differences(RULEBOOK, benefit("KTH", lov_nr="2"))] == [False]
    before = [with_reading(rules, "beloebsgrundlag", "felt0014_er_foer_atp")
              for rules in (RULEBOOK, benefit("KTH", lov_nr="2"))]  # fmt: skip
    assert [f.indlaes for f in differences(*before)] == [True]


@pytest.mark.parametrize(
    "forslag",
    [
        bound("stikproeve_borgere", 100),
        benefit("KTH", navn="Hjælp"),
        replace(RULEBOOK, konteringer=tuple(replace(k, dranst="9") for k in RULEBOOK.konteringer)),
        replace(RULEBOOK, kommuner=tuple(replace(k, indbyggertal=1) for k in RULEBOOK.kommuner)),
        replace(RULEBOOK, konti=tuple(replace(k, gyldig_til=date(2020, 1, 1)) for k in RULEBOOK.konti)),
    ],
)
def test_what_no_amount_rests_on_is_told_but_touches_no_month(forslag: Rulebook) -> None:
    found = differences(RULEBOOK, forslag)
    assert found
    assert not any(forskel.penge or forskel.indlaes or reached(forskel, date(2026, 7, 1)) for forskel in found)


def test_a_citation_alone_is_no_difference() -> None:
    assert differences(RULEBOOK, benefit("KTH", kontrolleret=date(2027, 1, 1), kilde="en anden")) == []


def test_an_account_that_nobody_reports_on_yet_is_named_and_needs_no_load() -> None:
    konto = replace(RULEBOOK.konti[0], konto="urn:oio:kommune:konto:ny")
    forslag = replace(RULEBOOK, konti=(*RULEBOOK.konti, konto))
    assert new_accounts(RULEBOOK, forslag) == ["urn:oio:kommune:konto:ny"]
    assert [forskel.indlaes for forskel in differences(RULEBOOK, forslag)] == [False]
    assert new_accounts(forslag, RULEBOOK) == []


def test_a_rule_of_fleksbidrag_is_named_by_its_own_id_and_touches_the_months_that_begin_on_its_day_or_later() -> None:
    one = RULEBOOK.fleksbidrag[0]
    for fra, first in ((date(2024, 3, 1), 3), (date(2024, 3, 2), 4)):
        later = replace(one, gaelder_fra=fra, loen_procent=10)
        forskel = only(replace(RULEBOOK, fleksbidrag=(one, later)))
        said = (forskel.fil, forskel.post, forskel.felt, forskel.gaeldende, forskel.forslag)
        assert said == ("fleksbidrag.toml", f"FLEKSBIDRAG fra {fra} (ny)", "loen_procent", "20", "10")
        assert reached(forskel, date(2024, 2, 1), date(2024, 3, 1), date(2024, 4, 1)) == [
            date(2024, month, 1) for month in (3, 4) if month >= first
        ]
        assert same_count(RULEBOOK, replace(RULEBOOK, fleksbidrag=(one, later)))


def test_another_name_of_fleksbidrag_moves_no_money() -> None:
    assert not only(replace(RULEBOOK, fleksbidrag=(replace(RULEBOOK.fleksbidrag[0], navn="Bidrag"),))).penge
