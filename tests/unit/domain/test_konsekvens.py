"""What a proposal would do, by hand: money by cell, and who stands on another step."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import polars as pl
import pytest

from refusion_assets.domain.calendar import month_of, month_range
from refusion_assets.domain.konsekvens import CELL, MOVE, WHERE, Virkning, effect
from refusion_assets.domain.refusion.shard import Book
from refusion_assets.domain.rules.entries import Rulebook, Trappe, Trin
from refusion_assets.domain.rules.proposal import same_count
from refusion_assets.rulebook.load import load
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, RULES, with_reading

NEW_YEAR = date(2024, 1, 1)  # a Monday
STAYS = {"borger_id": pl.Int64, "kommunekode": pl.String, "bopael_start": pl.Date, "bopael_slut": pl.Date}
BASES = {"borger_id": pl.Int64, "maaned": pl.Date, "beregningsgrundlag_oere": pl.Int64, "loen_oere": pl.Int64}
NET = pl.col("refusion_oere_forslag") - pl.col("refusion_oere_gaeldende")


def with_step(fra_uge: int, procent: int, fra: date | None = None) -> Rulebook:
    """The rules with another percentage on one step of refusion; from a day, or always."""
    one = next(t for t in RULEBOOK.trapper if t.id == "refusion")
    trin = tuple(replace(step, procent=procent) if step.fra_uge == fra_uge else step for step in one.trin)
    changed = replace(one, trin=trin, gaelder_fra=fra or one.gaelder_fra)
    kept: list[Trappe] = [t for t in RULEBOOK.trapper if t is not one or fra]
    return replace(RULEBOOK, trapper=tuple(sorted([*kept, changed], key=lambda t: (t.id, t.gaelder_fra))))


def krav(*timelines: tuple[str, date], fra: date) -> pl.DataFrame:
    """A claim of 1.000,00 kr. for every week of support of each person, as a shard is read."""
    rows = [
        (number, c.ydelse_id, c.kommunekode or None, c.fra, c.til, c.beloeb, fra)
        for number, (text, begin) in enumerate(timelines)
        for c in timeline.claims(text, begin)
    ]
    names = ("borger_id", "ydelse_id", "kommunekode_betaler", "periode_start", "periode_slut", "beloeb_oere", "fra_uge")
    types = (pl.Int64, pl.String, pl.String, pl.Date, pl.Date, pl.Int64, pl.Date)
    return pl.DataFrame(rows, schema=dict(zip(names, types, strict=True)), orient="row")


def what_if(
    forslag: Rulebook,
    first: str,
    last: str,
    *timelines: tuple[str, date],
    stays: Sequence[tuple[Any, ...]] = (),
    own: pl.DataFrame | None = None,
    grundlag: Sequence[tuple[int, date, int, int]] = (),
) -> Virkning:
    """The effect of a proposal on some people, for the months first..last, all of it known.

    `own`: more claims, as `krav` gives them. `grundlag`: bases of fleksbidrag, person, month, basis and wage in øre.
    """
    months = month_range(month_of(first), month_of(last))
    fra = months[0] - timedelta(days=months[0].weekday())
    bopael = pl.DataFrame(list(stays), schema=STAYS, orient="row")
    books = [Book(rules, months[-1]) for rules in (RULEBOOK, forslag)]
    alike = same_count(RULEBOOK, forslag)
    claims = krav(*timelines, fra=fra) if own is None else pl.concat([krav(*timelines, fra=fra), own])
    bases = pl.DataFrame(list(grundlag), schema=BASES, orient="row")
    return effect(books[0], books[1], months, alike, claims.sort("borger_id"), bopael, bases)


def moves(virkning: Virkning, maaned: date | None, kode: str | None) -> list[tuple[int, int, int, int]]:
    """From step, to step, persons and person-weeks of a month and municipality (None = all)."""
    mine = virkning.skift.filter(
        pl.col("maaned").eq_missing(pl.lit(maaned)) & pl.col("kommunekode").eq_missing(pl.lit(kode))
    )
    return mine.select("fra_trin", "til_trin", "borgere", "personuger").rows()


def people(virkning: Virkning, maaned: date | None, kode: str | None) -> list[tuple[int, int]]:
    """Persons whose money is another, and persons on another step, of a month and municipality (None = all)."""
    mine = virkning.beroerte.filter(
        pl.col("maaned").eq_missing(pl.lit(maaned)) & pl.col("kommunekode").eq_missing(pl.lit(kode))
    )
    return mine.select("borgere", "skifter").rows()


def test_one_person_and_one_changed_percentage() -> None:
    """Six weeks of 1.000,00: week 5 gives January 428,57 (three days of seven) and February 571,43, week 6 1.000,00.

    At 40 per cent 171,43 and 228,57 + 400,00; at 35 per cent 150,00 and 200,00 + 350,00.
    """
    found = what_if(with_step(5, 35), "2024-01", "2024-02", ("K6", NEW_YEAR)).celler
    kept = ["personuger_forslag", "borgere_forslag", "beloeb_oere_forslag"]
    money = ["refusion_oere_gaeldende", "refusion_oere_forslag", "medfinansiering_oere_forslag"]
    assert found.select(*CELL, *kept, *money).rows() == [
        (date(2024, 1, 1), "169", "KTH", "refusion", 1, 4, 1, 400_000, 320_000, 320_000, 0),
        (date(2024, 1, 1), "169", "KTH", "refusion", 2, 1, 1, 42_857, 17_143, 15_000, 0),
        (date(2024, 2, 1), "169", "KTH", "refusion", 2, 2, 1, 157_143, 62_857, 55_000, 0),
    ]


def test_a_person_whose_money_is_another_is_counted_once_over_all_months() -> None:
    virkning = what_if(with_step(5, 35), "2024-01", "2024-02", ("K6", NEW_YEAR), ("K4", NEW_YEAR))
    assert people(virkning, NEW_YEAR, "169") == [(1, 0)]
    assert people(virkning, None, None) == [(1, 0)]
    assert moves(virkning, None, None) == []


def test_forty_weeks_instead_of_fifty_two_move_a_person_a_step_down() -> None:
    """Ten weeks, forty-five of self-support, one week: the eleventh (40 per cent) or the first anew (80)."""
    forslag = replace(RULEBOOK, genoptjening=(replace(RULEBOOK.genoptjening[0], uger=40),))
    begin = NEW_YEAR - timedelta(weeks=55)
    virkning = what_if(forslag, "2024-01", "2024-01", ("K10 S45 K1", begin), ("K1", NEW_YEAR))
    assert moves(virkning, NEW_YEAR, "169") == [(2, 1, 1, 1)]
    assert moves(virkning, None, None) == [(2, 1, 1, 1)]
    assert people(virkning, None, None) == [(1, 1)]
    by_step = virkning.celler.select("trin", "borgere_gaeldende", "borgere_forslag", NET.alias("net")).rows()
    assert by_step == [(1, 1, 2, 80_000), (2, 1, 0, -40_000)]


def test_thirty_nine_weeks_of_self_support_move_nobody_where_forty_are_needed() -> None:
    forslag = replace(RULEBOOK, genoptjening=(replace(RULEBOOK.genoptjening[0], uger=40),))
    for free, moved in ((39, []), (40, [(2, 1, 1, 1)])):
        begin = NEW_YEAR - timedelta(weeks=10 + free)
        virkning = what_if(forslag, "2024-01", "2024-01", (f"K10 S{free} K1", begin))
        assert moves(virkning, None, None) == moved


def test_a_proposal_from_july_touches_only_weeks_from_its_first_monday() -> None:
    """1 July 2026 is a Wednesday: its own week keeps 80 per cent, that of 6 July has 75."""
    forslag = with_step(1, 75, date(2026, 7, 1))
    virkning = what_if(forslag, "2026-06", "2026-07", ("K3", date(2026, 6, 22)))
    # June: a week and two days; July: five days at 80, then seven days at 75 instead of 80.
    assert virkning.celler.select("maaned", NET.alias("net")).rows() == [
        (date(2026, 6, 1), 0),
        (date(2026, 7, 1), -5_000),
    ]
    assert people(virkning, date(2026, 6, 1), None) == []
    assert people(virkning, None, None) == [(1, 0)]


def test_the_same_rules_give_nothing() -> None:
    virkning = what_if(load(RULES), "2024-01", "2024-03", ("K10", NEW_YEAR), ("D3 U2 K1", NEW_YEAR))
    assert virkning.celler.height > 0
    for name in ("personuger", "borgere", "beloeb_oere", "refusion_oere", "medfinansiering_oere"):
        assert virkning.celler[f"{name}_gaeldende"].equals(virkning.celler[f"{name}_forslag"])
    assert (virkning.skift.height, virkning.beroerte.height) == (0, 0)


def test_a_benefit_taken_off_the_staircase_leaves_its_step() -> None:
    mine = [replace(y, sats="fast 50") if y.ydelse_id == "KTH" else y for y in RULEBOOK.ydelser]
    virkning = what_if(replace(RULEBOOK, ydelser=tuple(mine)), "2024-01", "2024-01", ("K2", NEW_YEAR))
    assert moves(virkning, None, None) == [(1, 0, 1, 2)]
    assert virkning.celler.select("trin", NET.alias("net")).rows() == [(0, 100_000), (1, -160_000)]


def test_who_finances_moves_money_between_municipalities_but_nobody_a_step() -> None:
    forslag = with_reading(RULEBOOK, "finansieringskommune_refusion", "bopael")
    stays = [(0, "101", date(2020, 1, 1), None)]
    virkning = what_if(forslag, "2024-01", "2024-01", ("K1", NEW_YEAR), stays=stays)
    assert virkning.celler.select("kommunekode", NET.alias("net")).rows() == [("101", 80_000), ("169", -80_000)]
    assert moves(virkning, None, None) == []
    assert people(virkning, None, None) == [(1, 0)]
    assert people(virkning, None, "101") == people(virkning, None, "169") == [(1, 0)]


def test_a_week_cut_by_the_end_of_a_month_moves_in_both_and_is_one_week_over_all() -> None:
    steps = (Trin(fra_uge=1, procent=80, hjemmel="§ 5"), Trin(fra_uge=4, procent=40, hjemmel="§ 5"))
    forslag = replace(RULEBOOK, trapper=tuple(replace(t, trin=(*steps, *(
        s for s in t.trin if s.fra_uge > 5))) if t.id == "refusion" else t for t in RULEBOOK.trapper))  # fmt: skip
    # The fourth week begins on Monday 29 January.
    virkning = what_if(forslag, "2024-01", "2024-02", ("K4", date(2024, 1, 8)))
    assert moves(virkning, date(2024, 1, 1), None) == moves(virkning, date(2024, 2, 1), None) == [(1, 2, 1, 1)]
    assert moves(virkning, None, None) == [(1, 2, 1, 1)]


def test_the_effects_on_different_people_add_up_to_the_effect_on_all() -> None:
    forslag = replace(with_step(5, 35), genoptjening=(replace(RULEBOOK.genoptjening[0], uger=40),))
    begin = NEW_YEAR - timedelta(weeks=55)
    one, two = ("K10 S45 K9", begin), ("K7 S44 D5 K4", begin)
    months = ("2023-11", "2024-02")
    apart = [what_if(forslag, *months, person) for person in (one, two)]
    together = what_if(forslag, *months, one, two)
    both = apart[0].plus(apart[1])
    for mine, ours, key in ((both.celler, together.celler, CELL), (both.skift, together.skift, MOVE),
                            (both.beroerte, together.beroerte, WHERE)):  # fmt: skip
        assert mine.sort(key, nulls_last=True).equals(ours.sort(key, nulls_last=True))
    assert together.skift.height > 0


# --- fleksbidrag ------------------------------------------------------------------------------------------------


def fleks_months(forslag: Rulebook, grundlag: int = 800_000, loen: int = 0) -> Virkning:
    """January 2023 of a person whose week 53 begins on the 9th, with 300 kr. of fleksløntilskud a day."""
    january = date(2023, 1, 1), date(2023, 1, 31)
    own = krav(("K1", date(2022, 12, 26)), fra=date(2022, 12, 26)).with_columns(
        ydelse_id=pl.lit("FLEKS"),
        periode_start=january[0],
        periode_slut=january[1],
        beloeb_oere=pl.lit(930_000, dtype=pl.Int64),
    )
    bases = [(0, january[0], grundlag, loen)]
    return what_if(forslag, "2023-01", "2023-01", ("K50", date(2022, 1, 10)), own=own, grundlag=bases)


def fleksbidrag(virkning: Virkning) -> list[tuple[Any, ...]]:
    """The cells of fleksbidrag: step, person-months and øre under both rule sets."""
    money = ("personuger_gaeldende", "personuger_forslag", "refusion_oere_gaeldende", "refusion_oere_forslag")
    return virkning.celler.filter(pl.col("ydelse_id") == "FLEKSBIDRAG").select("side", "trin", *money).rows()


def test_another_percentage_of_an_earlier_step_changes_the_fleksbidrag_through_its_refusion() -> None:
    """8 days of 300,00 at 30 (or 60) per cent and 23 at 20: refusion 720 + 1.380 = 2.100 (or 1.440 + 1.380 = 2.820).

    30 per cent of (8.000 - 2.100) is 1.770, less than 24 per cent of 8.000; x 23/31 = 1.313,23. With 2.820: 1.152,97.
    """
    virkning = fleks_months(with_step(27, 60))
    assert fleksbidrag(virkning) == [("refusion", 0, 1, 1, 131_300, 115_300)]
    assert virkning.celler.filter(pl.col("ydelse_id") == "FLEKS").select(NET.alias("net")).rows() == [(72_000,), (0,)]
    assert people(virkning, None, None) == [(1, 0)]


def test_a_fleksbidrag_of_another_step_is_that_of_its_days() -> None:
    """8 of 31 days lie on 30 per cent: 1.770 x 8/31 = 456,77."""
    forslag = replace(RULEBOOK, fleksbidrag=(replace(RULEBOOK.fleksbidrag[0], trin_procent=30),))
    assert fleksbidrag(fleks_months(forslag)) == [("refusion", 0, 1, 1, 131_300, 45_700)]
    assert moves(fleks_months(forslag), None, None) == []


def test_a_fleksbidrag_that_is_gone_or_without_a_basis_has_no_row() -> None:
    forslag = replace(RULEBOOK, fleksbidrag=())
    assert fleksbidrag(fleks_months(forslag)) == [("refusion", 0, 1, 0, 131_300, 0)]
    assert fleksbidrag(fleks_months(forslag, loen=900_000)) == []


@pytest.mark.parametrize(("fra", "after"), [(date(2023, 1, 1), 148_400), (date(2023, 1, 2), 131_300)])
def test_a_new_fleksbidrag_holds_for_the_months_that_begin_on_its_day_or_later(fra: date, after: int) -> None:
    """40 per cent of (8.000 - 2.100) = 2.360 is more than 25 per cent of 8.000 = 2.000; x 23/31 = 1.483,87."""
    one = RULEBOOK.fleksbidrag[0]
    later = replace(one, gaelder_fra=fra, forskel_procent=40, beregningsgrundlag_procent=25)
    assert fleksbidrag(fleks_months(replace(RULEBOOK, fleksbidrag=(one, later))))[0][-1] == after
