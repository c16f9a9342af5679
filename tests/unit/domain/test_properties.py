"""What must hold for any history: the kernel is the plain calculation, and no øre is made or lost."""

import random
from dataclasses import dataclass, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

import numpy as np
import polars as pl
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.duration.count import KIND_A
from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.opgoerelse.ledger import MONEY, not_taken_back, settle
from refusion_assets.domain.refusion.split import KEY, split
from refusion_assets.domain.rules.entries import Rulebook, Trin, Ydelse
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, calculate, rates_of, with_reading
from tests.kit.timeline import PEOPLE, History, examples, histories


def changed_law() -> Rulebook:
    """Another law from days in the middle of weeks: new steps, another restart, benefits that become others."""
    begins = date(2019, 12, 18)
    steps = (Trin(fra_uge=1, procent=55, hjemmel="§ 5"), Trin(fra_uge=10, procent=33, hjemmel="§ 5"))
    by_id = {ydelse.ydelse_id: ydelse for ydelse in RULEBOOK.ydelser}
    changes: tuple[Ydelse, ...] = (
        replace(by_id["KTH"], gaelder_fra=date(2023, 11, 22), kategori="B", sats="fast 33"),
        replace(
            by_id["SU"], gaelder_fra=begins, kategori="A", side="medfinansiering", sats="trappe", finansieres_fra=begins
        ),
        replace(by_id["LED"], gaelder_fra=begins, finansieres_fra=date(2023, 11, 30), beloebsfelter="0014,0048"),
        replace(by_id["ADP"], gaelder_fra=date(2015, 12, 30), sats="trappe ny"),
    )
    ny = replace(RULEBOOK.trapper[0], id="ny", trin=steps)
    return replace(
        RULEBOOK,
        trapper=(*RULEBOOK.trapper, *(replace(old, gaelder_fra=begins, trin=steps) for old in RULEBOOK.trapper), ny),
        genoptjening=(
            *RULEBOOK.genoptjening,
            replace(RULEBOOK.genoptjening[0], gaelder_fra=begins, uger=9, vindue_aar=1),
        ),
        ydelser=tuple(sorted((*RULEBOOK.ydelser, *changes), key=lambda y: (y.ydelse_id, y.gaelder_fra))),
    )


LAWS = {"the law": RULEBOOK, "another law": changed_law()}
SWITCHES = [(entry.navn, value) for entry in RULEBOOK.laesninger for value in entry.muligheder]


@dataclass(frozen=True)
class Law:
    """One of the laws with some readings switched; short to print."""

    name: str
    switched: list[tuple[str, str]]

    @property
    def rules(self) -> Rulebook:
        """The rules themselves."""
        rules = LAWS[self.name]
        for navn, vaerdi in self.switched:
            rules = with_reading(rules, navn, vaerdi)
        return rules


laws = st.builds(Law, st.sampled_from(sorted(LAWS)), st.lists(st.sampled_from(SWITCHES), max_size=3))


@examples(12)
@given(history=histories(RULEBOOK), law=laws)
def test_the_kernel_gives_the_rows_and_the_quarantine_of_the_plain_calculation(history: History, law: Law) -> None:
    made = calculate(history.files, history.bopael, history.last, law.rules)
    assert made.karantaene == [tuple(row) for row in plain_judge(history.files, law.rules).karantaene]
    assert made.state == plain_state(history.files, history.bopael, history.last, law.rules)


@examples(4)
@given(history=histories(RULEBOOK), law=laws)
def test_every_oere_of_the_used_rows_is_settled_or_told_why_not(history: History, law: Law) -> None:
    made = calculate(history.files, history.bopael, history.last, law.rules)
    left_out = made.priced.placering.drop("borger_id", "slut_maaned").sum().row(0)
    settled = made.rows["beloeb_oere"].sum() + made.priced.uden_kommune["beloeb_oere"].sum()
    assert settled + sum(left_out) == made.krav["beloeb_oere"].sum()
    assert made.krav["antal_raekker"].sum() == made.linjer.filter(pl.col("status") == "brugt").height


@examples(25)
@given(
    claims=st.lists(
        st.tuples(st.integers(0, 400), st.integers(1, 366), st.integers(1, 10**12)), min_size=1, max_size=30
    ),
    method=st.sampled_from(["kalenderdage", "hverdage"]),
)
def test_the_parts_of_a_claim_sum_to_its_amount(claims: list[tuple[int, int, int]], method: str) -> None:
    days = [date(2022, 1, 1) + timedelta(days=start) for start, _, _ in claims]
    krav = pl.DataFrame(
        {
            "ydelse_nr": [RULEBOOK.ydelse_ids.index("KTH")] * len(claims),
            "periode_start": days,
            "periode_slut": [
                day + timedelta(days=length - 1) for day, (_, length, _) in zip(days, claims, strict=True)
            ],
            "beloeb_oere": [oere for _, _, oere in claims],
            "fra_uge": [date(2014, 6, 30)] * len(claims),
        }
    )
    parts = split(krav, *rates_of(RULEBOOK, date(2024, 12, 31)), with_reading(RULEBOOK, "fordeling", method))
    assert np.bincount(parts.claim, weights=None, minlength=len(claims)).min() >= 1
    sums = [sum(parts.oere[parts.claim == place].tolist()) for place in range(len(claims))]
    assert sums == [oere for _, _, oere in claims]
    assert parts.oere.min() >= 0


@examples(4)
@given(history=histories(RULEBOOK), seed=st.integers(0, 99))
def test_shuffled_files_and_rows_change_nothing(history: History, seed: int) -> None:
    chance = random.Random(seed)  # noqa: S311  a shuffle, not a secret
    shuffled = [replace(fil, rows=chance.sample(fil.rows, len(fil.rows))) for fil in history.files]
    chance.shuffle(shuffled)
    before = calculate(history.files, history.bopael, history.last, RULEBOOK)
    after = calculate(shuffled, chance.sample(history.bopael, len(history.bopael)), history.last, RULEBOOK)
    assert after.state == before.state
    assert after.rows.equals(before.rows)
    without_line = [sorted((row[0], *row[2:]) for row in run.karantaene) for run in (before, after)]
    assert without_line[0] == without_line[1]


@examples(4)
@given(mine=histories(RULEBOOK, PEOPLE[:2]), others=histories(RULEBOOK, PEOPLE[2:]))
def test_other_people_change_nothing(mine: History, others: History) -> None:
    theirs = [
        replace(
            fil,
            filnavn=f"x-{fil.filnavn}",
            rows=[
                row | {name: f"X{row[name]}" for name in ("IndberetningsID", "ReferenceID") if row[name]}
                for row in fil.rows
            ],
        )
        for fil in others.files
    ]
    alone = calculate(mine.files, mine.bopael, mine.last, RULEBOOK)
    among = calculate([*theirs, *mine.files], [*others.bopael, *mine.bopael], mine.last, RULEBOOK)
    assert {key: row for key, row in among.state.items() if key[2] in PEOPLE[:2]} == alone.state


@examples(4)
@given(history=histories(RULEBOOK), law=laws)
def test_the_number_rises_by_one_in_an_a_week_and_falls_only_by_a_restart(history: History, law: Law) -> None:
    counted = calculate(history.files, [], history.last, law.rules).counted
    n = counted.n.astype(int)
    before = np.vstack([np.zeros((1, n.shape[1]), int), n[:-1]])
    is_a = counted.kind == KIND_A
    assert (n[~counted.restart] == (before + is_a)[~counted.restart]).all()
    assert (n[counted.restart] == is_a[counted.restart]).all()


@examples(4)
@given(history=histories(RULEBOOK), law=laws)
def test_the_states_share_and_the_municipalitys_share_make_the_amount(history: History, law: Law) -> None:
    for row in calculate(history.files, history.bopael, history.last, law.rules).state.values():
        share = int((Decimal(row.beloeb) * row.procent / 100).quantize(Decimal(1), ROUND_HALF_UP))
        assert sorted((row.refusion, row.medfinansiering)) == [0, share]
        assert 0 <= share <= row.beloeb


@examples(4)
@given(history=histories(RULEBOOK), law=laws, person=st.sampled_from(PEOPLE), weeks=st.integers(0, 520))
def test_one_more_week_of_benefit_never_changes_an_earlier_row(
    history: History, law: Law, person: str, weeks: int
) -> None:
    week = date(2016, 1, 4) + timedelta(weeks=weeks)
    row = timeline.row("K", week, week + timedelta(days=6), 1, cpr=person, IndberetningsID="NEW")
    appended = timeline.fil("K", [row | {"Modtaget_tidspunkt": f"{history.last}-28T12:00:00"}], history.last, 8000)
    before = calculate(history.files, history.bopael, history.last, law.rules).state
    after = calculate([*history.files, appended], history.bopael, history.last, law.rules).state
    assert {k: v for k, v in after.items() if k[0] < week} == {k: v for k, v in before.items() if k[0] < week}


@examples(4)
@given(history=histories(RULEBOOK), law=laws)
def test_a_later_run_with_no_more_files_keeps_the_rows_of_whole_weeks(history: History, law: Law) -> None:
    known = [fil for fil in history.files if fil.maaned == history.months[0]]
    whole = next_month(month_of(history.months[0])) - timedelta(days=7)
    first, later = (
        calculate(known, history.bopael, month, law.rules).state for month in (history.months[0], history.last)
    )
    assert {k: v for k, v in first.items() if k[0] <= whole} == {k: v for k, v in later.items() if k[0] <= whole}


def numbered(history: History, month: str, rules: Rulebook) -> pl.DataFrame:
    """The result rows of a run, with persons numbered the same in all runs."""
    run = calculate(history.files, history.bopael, month, rules)
    place = {number: PEOPLE.index(cpr) for number, cpr in enumerate(run.cpr) if cpr in PEOPLE}
    return run.rows.with_columns(pl.col("borger_id").replace_strict(place, return_dtype=pl.Int64))


@examples(4)
@given(history=histories(RULEBOOK), law=laws)
def test_settling_month_by_month_sums_to_the_state_of_the_last_run(history: History, law: Law) -> None:
    state = numbered(history, history.months[0], law.rules)
    ledger = settle(state, state.clear().with_columns(koersel=pl.lit(0, pl.Int64)), 0)
    for number, month in enumerate(history.months, 1):
        state = numbered(history, month, law.rules)
        ledger = pl.concat([ledger, settle(state, not_taken_back(ledger), number)])
    total = ledger.group_by(KEY).agg(pl.col(MONEY).sum()).filter(pl.any_horizontal(pl.col(MONEY) != 0))
    assert total.sort(KEY).equals(state.select(*KEY, *MONEY).sort(KEY))
    assert not_taken_back(ledger).select(*KEY, "procent").sort(KEY).equals(state.select(*KEY, "procent").sort(KEY))
    counts = ledger.group_by(*KEY, "koersel").agg(types=pl.col("raekketype").sort().str.join(""))
    assert set(counts["types"]) <= {"N", "T", "KT"}
