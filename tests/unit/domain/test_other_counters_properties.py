"""What must hold under any rules with counters and maxima of their own: the kernel is the plain walk."""

from collections import defaultdict
from dataclasses import replace
from datetime import date

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.duration.count import KIND_A
from refusion_assets.domain.duration.spells import own_spells
from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.refusion.price import KEY
from refusion_assets.domain.rules.entries import Loft, Rulebook, Taeller, in_force
from refusion_assets.rulebook.prove import prove
from refusion_assets.store.tables import validate
from tests.kit.data_root import calculate, with_reading
from tests.kit.other_counters import NAMES, RULEBOOK, WITH, own_rules
from tests.kit.timeline import History, examples, histories

SWITCHES = [(entry.navn, value) for entry in RULEBOOK.laesninger for value in entry.muligheder]
readings = st.lists(st.sampled_from(SWITCHES), max_size=2)


def switched(rules: Rulebook, readings: list[tuple[str, str]]) -> Rulebook:
    """The rules with some readings switched."""
    for navn, vaerdi in readings:
        rules = with_reading(rules, navn, vaerdi)
    return rules


@examples(12)
@given(history=histories(RULEBOOK), rules=own_rules(), readings=readings)
def test_the_kernel_gives_the_rows_of_the_plain_walk(
    history: History, rules: Rulebook, readings: list[tuple[str, str]]
) -> None:
    rules = switched(rules, readings)
    prove(rules)
    made = calculate(history.files, history.bopael, history.last, rules)
    assert made.state == plain_state(history.files, history.bopael, history.last, rules)
    validate("refusion.over_loft", made.priced.over_loft)
    validate("duration.forloeb_taeller", own_spells(made.counted, made.grid, rules))


@examples(5)
@given(history=histories(RULEBOOK), rules=own_rules())
def test_no_week_or_month_has_more_than_its_maximum_and_what_is_above_it_is_told(
    history: History, rules: Rulebook
) -> None:
    made = calculate(history.files, history.bopael, history.last, rules)
    taken: dict[tuple[object, ...], list[int]] = defaultdict(lambda: [0, 0])
    for row in made.priced.over_loft.iter_rows(named=True):
        assert row["beloeb_oere"] + row["refusion_oere"] > 0
        for place, name in enumerate(("beloeb_oere", "refusion_oere")):
            taken[tuple(row[part] for part in KEY)][place] += row[name]
    sums: dict[tuple[object, ...], int] = defaultdict(int)
    for row in made.rows.iter_rows(named=True):
        beloeb, andel = taken[tuple(row[part] for part in KEY)]
        share = row["refusion_oere"] + row["medfinansiering_oere"]
        grundlag = row["beloeb_oere"] - beloeb
        assert share + andel == (2 * grundlag * row["procent"] + 100) // 200
        for name in {loft.id for loft in rules.lofter}:
            for periode in ("uge", "maaned"):
                loft = in_force([one for one in rules.lofter if one.id == name], row[periode])
                if loft is not None and loft.periode == periode and row["ydelse_id"] in loft.ydelser:
                    money = grundlag if loft.paa == "beloeb" else share
                    sums[row["borger_id"], row["ydelse_id"], row[periode], loft] += money
    assert all(total <= key[-1].beloeb_oere for key, total in sums.items())  # type: ignore[attr-defined]


@examples(5)
@given(history=histories(RULEBOOK), rules=own_rules(), readings=readings)
def test_an_own_number_rises_by_one_and_falls_only_by_a_restart(
    history: History, rules: Rulebook, readings: list[tuple[str, str]]
) -> None:
    rules = switched(rules, readings)
    for taeller, own in zip(
        rules.taellere, calculate(history.files, [], history.last, rules).counted.others, strict=True
    ):
        n = own.n.astype(int)
        before = np.vstack([np.zeros((1, n.shape[1]), int), n[:-1]])
        is_a = own.kind == KIND_A
        assert (n[~own.restart] == (before + is_a)[~own.restart]).all()
        assert (n[own.restart] == is_a[own.restart]).all()
        assert taeller.genoptjening_uger is not None or not own.restart.any()


@examples(4)
@given(history=histories(RULEBOOK), rules=own_rules())
def test_a_maximum_that_nobody_reaches_changes_nothing(history: History, rules: Rulebook) -> None:
    without = replace(rules, lofter=())
    lofter = tuple(
        Loft(id=f"{periode}{paa}", gaelder_fra=date(2010, 1, 1), ydelser=NAMES, periode=periode, beloeb_oere=10**12,
             paa=paa, **WITH)  # type: ignore[arg-type]
        for periode in ("uge", "maaned") for paa in ("beloeb", "refusion")
    )  # fmt: skip
    huge, none = (
        calculate(history.files, history.bopael, history.last, law)
        for law in (replace(without, lofter=lofter), without)
    )
    assert huge.rows.equals(none.rows)
    assert huge.priced.over_loft.is_empty()


@examples(5)
@given(history=histories(RULEBOOK), readings=readings)
def test_a_counter_over_the_benefits_of_kategori_a_with_52_weeks_in_3_years_is_the_law_s(
    history: History, readings: list[tuple[str, str]]
) -> None:
    every = tuple(y.ydelse_id for y in RULEBOOK.ydelser if y.kategori == "A")
    own = Taeller(id="t", gaelder_fra=date(2014, 7, 1), ydelser=every, fri_uge="selvforsoergelse",
                  genoptjening_uger=52, vindue_aar=3, **WITH)  # type: ignore[arg-type]  # fmt: skip
    law = switched(RULEBOOK, readings)
    trapper = tuple(replace(trappe, taeller="t") for trappe in law.trapper)
    mine, theirs = (
        calculate(history.files, history.bopael, history.last, rules)
        for rules in (replace(law, taellere=(own,), trapper=trapper), law)
    )
    assert mine.rows.equals(theirs.rows)
    assert (mine.counted.others[0].n == theirs.counted.n).all()
    assert (mine.counted.others[0].kind == theirs.counted.kind).all()
