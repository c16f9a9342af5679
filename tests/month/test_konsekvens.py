"""The estimate of a proposal on a data root is right to the øre, whatever the proposal."""

from collections import defaultdict
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

from refusion_assets.assets import refusion
from refusion_assets.assets.konsekvens import estimate
from refusion_assets.domain.calendar import last_day, month_of, month_range
from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.rules.entries import Rulebook, Trin
from refusion_assets.files.estimate import EFFEKT
from refusion_assets.rulebook.load import load
from tests.conftest import DataRoot, Example
from tests.kit import rule_edits as edits_of_rules
from tests.kit.data_root import EXAMPLE, RULEBOOK, read_root, with_reading
from tests.kit.rule_edits import BOOKS, EVERY_MONTH, asked, by_estimate, oere, proposal, rows
from tests.kit.timeline import examples


@pytest.fixture
def root(example: Example, tmp_path: Path) -> DataRoot:
    """A copy of the example after its three runs."""
    return example.root.copy(tmp_path)


# --- the same as calculating everything anew --------------------------------------------------------------------


@cache
def by_hand(rules: Rulebook) -> dict[tuple[str, str, str], tuple[int, ...]]:
    """Month, municipality and benefit: amount, refusion and medfinansiering by the plain calculation of everything."""
    files, bopael, bases = read_root(EXAMPLE / "data", "2024-04")
    every = plain_state(files, bopael, "2024-04", rules, fleksbidrag=True, fleksgrundlag=bases)
    sums: dict[tuple[str, str, str], tuple[int, ...]] = defaultdict(lambda: (0, 0, 0))
    for (_, maaned, _, ydelse, kode), row in every.items():
        money = row.beloeb, row.refusion, row.medfinansiering
        sums[maaned, kode, ydelse] = tuple(a + b for a, b in zip(sums[maaned, kode, ydelse], money, strict=True))
    return {key: sum_ for key, sum_ in sums.items() if any(sum_)}


@st.composite
def edits(draw: st.DrawFn) -> Rulebook:
    """The rules with one to three things written otherwise, of those that need no new load."""
    rules = RULEBOOK
    for edit in draw(st.lists(st.sampled_from(EDITS), min_size=1, max_size=3, unique=True)):
        rules = edit(draw, rules)
    return rules


def _staircase(draw: st.DrawFn, rules: Rulebook) -> Rulebook:
    """Other steps on one of the staircases, from a day or always."""
    one = draw(st.sampled_from(rules.trapper))
    weeks = [1, *sorted(draw(st.sets(st.integers(2, 80), min_size=1, max_size=4)))]
    trin = tuple(Trin(fra_uge=week, procent=draw(st.integers(0, 100)), hjemmel="forslag") for week in weeks)
    fra = draw(st.one_of(st.none(), st.dates(month_of("2021-01"), last_day(month_of("2024-04")))))
    later = [replace(one, trin=trin, gaelder_fra=fra or one.gaelder_fra)]
    kept = [t for t in rules.trapper if t is not one or fra]
    return replace(rules, trapper=tuple(sorted([*kept, *later], key=lambda t: (t.id, t.gaelder_fra))))


def _restart(draw: st.DrawFn, rules: Rulebook) -> Rulebook:
    """Another number of weeks or years for a restart."""
    uger, aar = draw(st.integers(10, 60)), draw(st.integers(1, 4))
    return replace(rules, genoptjening=(replace(rules.genoptjening[0], uger=uger, vindue_aar=aar),))


def _benefit(draw: st.DrawFn, rules: Rulebook) -> Rulebook:
    """A benefit with a fixed rate, of another category, or on the other side."""
    one = draw(st.sampled_from([y for y in rules.ydelser if y.ydelse_id in ("KTH", "SYG_BORGER", "ADP", "UDDH")]))
    changes: dict[str, Any] = draw(
        st.sampled_from(
            [
                {"sats": "fast 50"},
                {"sats": "fast 37", "kategori": "B"},
                {"side": "medfinansiering"},
                {"side": "ingen", "sats": "", "finansieres_fra": None},
            ]
        )
    )
    return replace(rules, ydelser=tuple(replace(y, **changes) if y is one else y for y in rules.ydelser))


def _reading(draw: st.DrawFn, rules: Rulebook) -> Rulebook:
    """Another reading, of those that the claims do not rest on."""
    entry = draw(st.sampled_from([entry for entry in rules.laesninger if entry.navn != "beloebsgrundlag"]))
    return with_reading(rules, entry.navn, draw(st.sampled_from(entry.muligheder)))


def _fleksbidrag(draw: st.DrawFn, rules: Rulebook) -> Rulebook:
    """Another number in the formula of fleksbidrag, another step for it, from a day or always, or none at all."""
    [one] = rules.fleksbidrag
    name = draw(st.sampled_from(("trin_procent", "forskel_procent", "beregningsgrundlag_procent", "loen_procent")))
    value = draw(st.sampled_from((20, 30, 40))) if name == "trin_procent" else draw(st.integers(0, 100))
    fra = draw(st.one_of(st.none(), st.dates(month_of("2021-01"), last_day(month_of("2024-04")))))
    changed = replace(one, gaelder_fra=fra or one.gaelder_fra, **{name: value})
    return replace(rules, fleksbidrag=draw(st.sampled_from(((changed,), (one, changed) if fra else (), ()))))


EDITS: tuple[Callable[[st.DrawFn, Rulebook], Rulebook], ...] = (
    _staircase, _restart, _benefit, _reading, _fleksbidrag,
)  # fmt: skip


@examples(5, phases=[Phase.generate])
@given(forslag=edits())
def test_any_proposal_has_the_effect_of_calculating_everything_twice_by_hand(
    example: Example, forslag: Rulebook
) -> None:
    result = asked(example.root, replace(forslag, version="forslag"))
    for book, rules in zip(BOOKS, (RULEBOOK, forslag), strict=True):
        assert by_estimate(result, book) == by_hand(rules)


def test_shards_of_one_person_give_the_effect_of_one_shard_of_all(
    example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    forslag = replace(RULEBOOK, genoptjening=(replace(RULEBOOK.genoptjening[0], uger=30),))
    whole = asked(example.root, forslag).virkning
    monkeypatch.setattr(refusion, "CLAIMS_PER_SHARD", 1)
    apart = asked(example.root, forslag).virkning
    assert whole.skift.height > 0
    assert (apart.celler.rows(), apart.skift.rows(), apart.beroerte.rows()) == (
        whole.celler.rows(), whole.skift.rows(), whole.beroerte.rows(),
    )  # fmt: skip


def test_some_months_have_the_effect_they_have_among_all(example: Example) -> None:
    forslag = replace(RULEBOOK, genoptjening=(replace(RULEBOOK.genoptjening[0], uger=30),))
    some = month_range(month_of("2023-03"), month_of("2023-08"))
    with example.root.place.warehouse.reading() as session:
        few = estimate(session, RULEBOOK, forslag, some, lambda _: None).virkning
    among = asked(example.root, forslag).virkning
    assert few.celler.rows() == among.celler.filter(pl.col("maaned").is_between(some[0], some[-1])).rows()


def test_the_effect_is_what_a_run_under_the_proposal_settles_otherwise(root: DataRoot, tmp_path: Path) -> None:
    """Of all months through the run: the run's ledger is the difference to what was settled before."""
    forslag = proposal(tmp_path / "forslag")
    edits_of_rules.declare(forslag, "trappe", date(2015, 12, 1))
    ran = root.refusion("konsekvens", "--regler", str(forslag), EVERY_MONTH)
    assert (ran.code, ran.err) == (0, "")
    query = """SELECT kommunekode, sum(refusion_oere - medfinansiering_oere)::BIGINT FROM opgoerelse.postering
        WHERE koersel = (SELECT koersel FROM opgoerelse.koersel WHERE maaned = '2024-04-01') GROUP BY 1 ORDER BY 1"""
    before = dict(root.rows(query))
    DataRoot(root.path, forslag).koer("2024-04")
    after = dict(root.rows(query))
    told: dict[str, int] = defaultdict(int)
    for row in rows(root.path / "konsekvens" / load(forslag).version[:12] / EFFEKT):
        told[row["Kommunekode"]] += oere(row["Forskel netto til kommunen"])
    changed = {kode: after.get(kode, 0) - before.get(kode, 0) for kode in before.keys() | after.keys()}
    assert {kode: sum_ for kode, sum_ in told.items() if sum_} == {kode: sum_ for kode, sum_ in changed.items() if sum_}
    assert sum(told.values()) < 0
