"""Weeks elsewhere: which weeks a run knew, what they count as, and when it no longer knew them."""

from dataclasses import replace
from datetime import date, timedelta

import polars as pl

from refusion_assets.domain.classified import CLAIM, classify
from refusion_assets.domain.elsewhere import Known, as_reports, is_elsewhere, weeks_elsewhere, with_elsewhere
from refusion_assets.domain.rules.entries import Rulebook, Taeller
from tests.kit.data_root import RULEBOOK, with_reading
from tests.kit.other_counters import WITH

JAN, FEB, MARCH = date(2024, 1, 1), date(2024, 2, 1), date(2024, 3, 1)
MONDAY = date(2024, 1, 8)


def known(month: date, *claims: tuple[str, date, date, bool], rules: Rulebook = RULEBOOK) -> Known:
    """A run that knew claims of one person: benefit, first and last day, and whether it is the municipality's own."""
    schema = {"ydelse_id": pl.String, "periode_start": pl.Date, "periode_slut": pl.Date, "egen": pl.Boolean}
    krav = pl.DataFrame(list(claims), schema=schema, orient="row").with_columns(borger_id=pl.lit(7, pl.Int64))
    return Known(month.month, month, rules, krav)


def told(*runs: Known) -> list[tuple[object, ...]]:
    """The rows: benefit, Monday, Sunday, first run that knew them, first that did not."""
    return weeks_elsewhere(runs).drop("borger_id").rows()


def test_days_in_two_weeks_are_two_whole_weeks_and_a_benefit_that_does_not_count_is_another() -> None:
    claims = [("KTH", MONDAY + timedelta(days=6), MONDAY + timedelta(days=7), False), ("SU", FEB, FEB, False)]
    assert told(known(FEB, *claims)) == [
        ("andre-A", MONDAY, MONDAY + timedelta(days=13), 0, None),
        ("andre-B", date(2024, 1, 29), date(2024, 2, 4), 0, None),
    ]
    assert told(known(FEB, ("KTH", MONDAY, MONDAY, True))) == []


def test_weeks_that_come_go_and_come_again_are_told_with_the_runs() -> None:
    claim = ("KTH", MONDAY, MONDAY + timedelta(days=6), False)
    week = ("andre-A", MONDAY, MONDAY + timedelta(days=6))
    assert told(known(JAN, claim), known(FEB), known(MARCH, claim)) == [(*week, 0, 1), (*week, 2, None)]


def test_a_week_cut_by_the_end_of_the_month_is_known_by_the_run_that_knows_a_day_of_it() -> None:
    cut = date(2024, 1, 29)  # Wednesday is the last of January
    for day, first in ((date(2024, 1, 31), 0), (date(2024, 2, 1), 1)):
        claim = ("KTH", day, date(2024, 2, 2), False)
        assert told(known(JAN, claim), known(FEB, claim)) == [("andre-A", cut, cut + timedelta(days=6), first, None)]


def test_a_week_that_only_own_and_other_days_fill_together_counts_as_it_does_for_the_country() -> None:
    middle, sunday = MONDAY + timedelta(days=3), MONDAY + timedelta(days=6)
    halves = [("KTH", MONDAY, MONDAY + timedelta(days=2), True), ("KTH", middle, sunday, False)]
    whole_week = with_reading(RULEBOOK, "uge_beroert", "hele_ugen")
    assert [row[0] for row in told(known(FEB, *halves, rules=whole_week))] == ["andre-A"]
    assert [row[0] for row in told(known(FEB, halves[1], rules=whole_week))] == ["andre-B"]


def test_a_counter_of_the_rules_own_counts_weeks_elsewhere_by_its_benefits_and_not_by_the_law() -> None:
    counter = Taeller(id="t", gaelder_fra=JAN, ydelser=("SU",), fri_uge="uden_ydelserne", **WITH)  # type: ignore[arg-type]
    rules = replace(RULEBOOK, taellere=(counter,))
    names = [row[0] for row in told(known(FEB, ("SU", MONDAY, MONDAY, False), ("KTH", FEB, FEB, False), rules=rules))]
    assert names == ["andre-B+t", "andre-A"]
    wider = with_elsewhere(rules, tuple(map(str, names)))
    assert [one.ydelser for one in wider.taellere] == [("SU", "andre-B+t")]
    assert [wider.ydelse_on(str(name), FEB).kategori for name in names] == ["B", "A"]
    assert wider.version == rules.version
    assert [is_elsewhere(name) for name in ("andre-A", "KTH", None)] == [True, False, False]


def test_as_reports_they_stand_in_a_run_as_they_stood_there() -> None:
    claim = ("KTH", MONDAY, MONDAY + timedelta(days=6), False)
    runs = [known(JAN, claim), known(FEB), known(MARCH, claim)]
    frames = as_reports(weeks_elsewhere(runs), runs)
    order = frames["fil"].select("fil_id", "kendt_fra", fil_orden=pl.col("fil_id").rank("ordinal").cast(pl.Int64))
    lines = frames["linje"].join(order, on="fil_id")
    for run, standing in zip(runs, (1, 0, 1), strict=True):
        krav = classify(lines.filter(pl.col("kendt_fra") <= run.maaned)).krav
        assert krav["beloeb_oere"].to_list() == [1] * standing
    assert frames["krav"].select(CLAIM).rows() == krav.select(CLAIM).rows()
    assert sorted(frames["dom"]["status"]) == ["tilbagefoert", "virket"]
