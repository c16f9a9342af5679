"""The limit on corrections: what is too old is listed and not settled, in both calculations."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.efterregning.money import Key, Resultat, ledgers
from refusion_assets.domain.opgoerelse.ledger import (
    AABNING,
    MONEY,
    Foraeldet,
    list_too_old,
    not_taken_back,
    settle,
    too_old,
)
from refusion_assets.domain.refusion.split import KEY
from refusion_assets.domain.rules.entries import Foraeldelse, Rulebook
from refusion_assets.domain.rules.proposal import differences, same_count
from refusion_assets.domain.stop import Stop
from refusion_assets.rulebook.load import RuleError, load
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import RULEBOOK, Row, write_file, write_register
from tests.kit.timeline import examples
from tests.month.test_forklar import told as forklaret
from tests.month.test_histories import few_kommuner

CITED = {"hjemmel": "§ x", "kilde": "x", "kontrolleret": date(2026, 11, 28), "sikkerhed": "x"}
JANUARY = date(2024, 1, 8), date(2024, 1, 14)
POSTED = """SELECT koersel, raekketype, maaned, refusion_oere FROM opgoerelse.postering
    WHERE maaned = '2024-01-01' ORDER BY koersel, raekketype DESC, uge"""
LISTED = """SELECT koersel, raekketype, maaned, refusion_oere, gaelder_fra FROM opgoerelse.foraeldet
    ORDER BY koersel, raekketype DESC, uge"""
ADVICE = "SELECT koersel, status, beloeb_oere, kommunekode FROM opgoerelse.advis WHERE regel = 'FO-001' ORDER BY ALL"
ENTRY = date(2024, 1, 1)


def limit(fra: date, maaneder: int, vej: Any = "begge", regnes: Any = "ydelsesmaaned") -> Foraeldelse:
    return Foraeldelse(gaelder_fra=fra, maaneder=maaneder, regnes_fra=regnes, gaelder=vej, **CITED)  # type: ignore[arg-type]


def write_limit(
    root: DataRoot, length: str, vej: str = "begge", regnes: str = "ydelsesmaaned", fra: date = ENTRY
) -> None:
    said = f"gaelder_fra = {fra}\n{length}\nregnes_fra = '{regnes}'\ngaelder = '{vej}'"
    entry = f"[[foraeldelse]]\n{said}\n{rule_edits.CITED}"
    rule_edits.append(root.rules, "foraeldelse.toml", "\n" + entry)


def deliver(root: DataRoot, month: str, *rows: Row) -> None:
    write_file(root.path, timeline.fil("K", list(rows), month, int(month[-2:])))
    write_register(root.path, "bopael", month, [])


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A data root with one week of 1.000 kr. of kontanthjælp in January 2024, at 80 per cent; run in January."""
    made = few_kommuner(tmp_path)
    deliver(made, "2024-01", timeline.row("K", *JANUARY, 1))
    return made


def more(number: int, kroner: str) -> Row:
    """A supplement to the week of January."""
    return timeline.row("K", *JANUARY, number, kroner)


def statement_lines(root: DataRoot, month: str) -> list[Row]:
    [data] = [data for name, data in root.files(month).items() if "-opgoerelse-169-" in name]
    return list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";"))


@pytest.mark.parametrize(("month", "number", "settled"), [("2024-03", 51, True), ("2024-04", 52, False)])
def test_a_month_at_the_limit_is_corrected_and_one_a_month_older_is_listed_instead(
    root: DataRoot, month: str, number: int, settled: bool
) -> None:
    write_limit(root, "maaneder = 2")
    root.run("2024-01")
    for step in ("2024-02", "2024-03", "2024-04")[: int(month[-2:]) - 1]:
        deliver(root, step, *([more(2, "100,00")] if step == month else []))
        root.run(step)
    corrected = [(number, "T", JANUARY[0].replace(day=1), -80_000), (number, "K", JANUARY[0].replace(day=1), 88_000)]
    listed = [(number, "N", JANUARY[0].replace(day=1), 8_000, ENTRY)]
    assert root.rows(POSTED)[1:] == (corrected if settled else [])
    assert root.rows(LISTED) == ([] if settled else listed)
    assert root.rows(ADVICE) == ([] if settled else [(number, "NY", 8_000, "169")])
    told = [row for row in statement_lines(root, month) if row["Transaktionstype"] == "FORÆLDET"]
    values = [(row["Ydelse"], row["Sats"], row["Rettelser indeværende år"], row["Beløb i alt"]) for row in told]
    assert values == ([] if settled else [("Kontanthjælp", "80,00", "80,00", "0,00")])


def test_it_is_listed_once_changed_when_it_changes_and_gone_when_the_difference_is(root: DataRoot) -> None:
    write_limit(root, "maaneder = 1")
    root.run("2024-01")
    back = timeline.row("K", *JANUARY, 3, "", Indberetningsart="T", ReferenceID="K00000002", IndberetningsID="T1")
    back |= dict.fromkeys(("Felt0115", "Felt0214_start", "Felt0214_slut"), "")
    january = JANUARY[0].replace(day=1)
    deliver(root, "2024-02")
    root.run("2024-02")
    rows = {"2024-03": [more(2, "100,00")], "2024-04": [timeline.row("K", date(2024, 4, 1), date(2024, 4, 7), 9)]}
    rows |= {"2024-05": [more(4, "50,00")], "2024-06": [back, more(5, "-50,00")]}
    for month, sent in rows.items():
        deliver(root, month, *sent)
        root.run(month)
    root.run("2024-06")  # a run that is made again lists the same
    assert root.rows(LISTED) == [
        (51, "N", january, 8_000, ENTRY),
        (53, "T", january, -8_000, ENTRY),
        (53, "K", january, 12_000, ENTRY),
        (54, "T", january, -12_000, ENTRY),
    ]
    assert len(root.rows(POSTED)) == 1
    assert root.rows(ADVICE) == [
        (51, "NY", 8_000, "169"),
        (52, "ÅBEN", 8_000, "169"),
        (53, "ÅBEN", 12_000, "169"),
        (54, "LØST", 12_000, "169"),
    ]


@pytest.mark.parametrize(
    ("vej", "kroner", "limited"),
    [
        ("til_kommunen", "100,00", True),
        ("til_kommunen", "-100,00", False),
        ("til_staten", "100,00", False),
        ("til_staten", "-100,00", True),
    ],
)
def test_a_limit_one_way_leaves_differences_the_other_way(root: DataRoot, vej: str, kroner: str, limited: bool) -> None:
    write_limit(root, "maaneder = 1", vej)
    root.run("2024-01")
    for month in ("2024-02", "2024-03"):
        deliver(root, month, *([more(2, kroner)] if month == "2024-03" else []))
        root.run(month)
    assert (len(root.rows(LISTED)), len(root.rows(POSTED))) == ((1, 1) if limited else (0, 3))


@pytest.mark.parametrize(("regnes", "limited"), [("ydelsesmaaned", True), ("modtaget", False)])
def test_modtaget_counts_to_the_receipt_of_a_report_that_only_a_later_run_learns_of(
    root: DataRoot, regnes: str, limited: bool
) -> None:
    write_limit(root, "maaneder = 1", regnes=regnes)
    root.run("2024-01")
    for month in ("2024-02", "2024-03"):
        deliver(root, month)
        if month == "2024-03":  # received in February, but laid in its folder after the run
            write_file(root.path, timeline.fil("K", [more(2, "100,00")], "2024-02", 9))
        root.run(month)
    assert (len(root.rows(LISTED)), len(root.rows(POSTED))) == ((1, 1) if limited else (0, 3))


def test_the_command_passes_its_checks_and_tells_the_rest_by_forklar(root: DataRoot) -> None:
    write_limit(root, "maaneder = 1")
    deliver(root, "2024-02")
    deliver(root, "2024-03", more(2, "100,00"))
    for month in ("2024-01", "2024-02"):
        root.run(month)
    root.koer("2024-03")
    numbers = dict(
        root.rows("SELECT navn, vaerdi FROM kontrol.tal WHERE navn LIKE 'foraeldet%' AND maaned = '2024-03-01'")
    )
    assert numbers["foraeldet_refusion_oere"] == 8_000
    told = " ".join(forklaret(root, timeline.CPR, "2024-01").split())
    assert "forskellen på 80,00 kr. er forældet efter x (foraeldelse.toml) og afregnes ikke" in told


def test_without_a_limit_in_force_not_a_byte_changes(tmp_path: Path) -> None:
    found = []
    for name in ("none", "empty", "later"):
        made = few_kommuner(tmp_path / name)
        if name == "none":
            (made.rules / "foraeldelse.toml").unlink()
        if name == "later":
            write_limit(made, "maaneder = 1", fra=date(2024, 4, 1))
        deliver(made, "2024-01", timeline.row("K", *JANUARY, 1))
        deliver(made, "2024-02")
        deliver(made, "2024-03", more(2, "100,00"))
        for month in ("2024-01", "2024-02", "2024-03"):
            made.run(month)
        version = made.place.rules.version[:12].encode()
        files = {n: d.replace(version, b"v") for month in ("2024-01", "2024-03") for n, d in made.files(month).items()}
        del files["SHA256SUMS"]  # the version of the rules stands in the files
        found.append((files, made.rows(POSTED), made.rows(LISTED), name != "later" and version))
    assert found[0] == found[1]
    assert found[0][:3] == found[2][:3]
    assert found[0][2] == []


# --- rules ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("maaneder = 1\naar = 1", "enten aar eller maaneder"),
        ("", "enten aar eller maaneder"),
        ("maaneder = 0", "under 1 måned"),
        ("aar = -1", "under 1 måned"),
    ],
)
def test_a_limit_that_cannot_stand_is_refused(root: DataRoot, text: str, named: str) -> None:
    write_limit(root, text)
    with pytest.raises(RuleError, match=rf"foraeldelse\.toml.*{named}"):
        load(root.rules)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("hjemmel = 'x'\n", "", "mangler hjemmel"),
        ("kontrolleret = 2026-01-01\n", "", "mangler kontrolleret"),
        ("regnes_fra = 'modtaget'", "regnes_fra = 'udbetalt'", "regnes_fra"),
        ("gaelder = 'begge'", "gaelder = 'ingen'", "gaelder"),
        ("aar = 3\nregnes", "aar = '3 år'\nregnes", "helt tal"),
    ],
)
def test_a_limit_without_citation_or_with_an_unknown_word_is_refused(
    root: DataRoot, old: str, new: str, named: str
) -> None:
    write_limit(root, "aar = 3", regnes="modtaget")
    assert load(root.rules).foraeldelse[0].graense == 36
    rule_edits.put(root.rules, "foraeldelse.toml", old, new)
    with pytest.raises(RuleError, match=rf"foraeldelse\.toml.*{named}"):
        load(root.rules)


@pytest.mark.parametrize(("first", "second"), [("begge", "til_staten"), ("til_staten", "til_staten")])
def test_two_limits_one_way_from_one_month_are_refused(root: DataRoot, first: str, second: str) -> None:
    for vej in (first, second):
        write_limit(root, "aar = 3", vej)
    with pytest.raises(RuleError, match=r"foraeldelse\.toml.*to gange for samme retning"):
        load(root.rules)


def test_a_limit_from_a_day_within_a_month_is_refused_and_one_for_each_way_stands(root: DataRoot) -> None:
    write_limit(root, "aar = 3", "til_staten")
    write_limit(root, "aar = 2", "til_kommunen")
    assert len(load(root.rules).foraeldelse) == 2
    write_limit(root, "aar = 3", fra=date(2025, 1, 2))
    with pytest.raises(RuleError, match="den første i måneden"):
        load(root.rules)


def test_a_limit_makes_no_month_old_but_may_not_begin_with_a_closed_run(root: DataRoot) -> None:
    root.run("2024-01")
    write_limit(root, "maaneder = 1", fra=date(2024, 2, 1))
    assert "Ingen beregnet ydelsesmåned rammes af reglerne" in root.refusion("regler").out
    deliver(root, "2024-02")
    root.run("2024-02")
    rule_edits.put(root.rules, "foraeldelse.toml", "maaneder = 1\n", "maaneder = 9\n")
    deliver(root, "2024-03")
    with pytest.raises(Stop, match=r"foraeldelse\.toml.*rører kørsler fra 2024-02.*lukket"):
        root.run("2024-03")


def test_a_proposal_with_a_limit_moves_no_amount_of_a_benefit_month_and_counts_alike() -> None:
    forslag = replace(RULEBOOK, foraeldelse=(limit(date(2027, 1, 1), 36),))
    [forskel] = differences(RULEBOOK, forslag)
    assert (forskel.fil, forskel.penge, forskel.indlaes) == ("foraeldelse.toml", False, False)
    assert same_count(RULEBOOK, forslag)


# --- both calculations ---------------------------------------------------------------------------------------

MONTHS = [next_month(date(2024, 1, 1), step) for step in range(7)]
PEOPLE = {1: "6110512470", 2: "6201912197"}
States = list[dict[tuple[int, int], tuple[int, int, int, int]]]


@st.composite
def lives(draw: st.DrawFn) -> tuple[States, tuple[Foraeldelse, ...], dict[tuple[date, int], date]]:
    """Some runs' states of some keys (person, month -> amount, percentage, refusion, medfinansiering), and limits."""
    amounts = st.sampled_from((0, 1, 100, 250))
    values = st.tuples(amounts, st.sampled_from((20, 80)), amounts, amounts).filter(lambda v: any((v[0], *v[2:])))
    states: States = []
    for run in range(len(MONTHS)):
        state = dict(states[-1]) if states else {}
        for key in draw(st.lists(st.tuples(st.sampled_from((1, 2)), st.integers(0, run)), max_size=3)):
            state.pop(key, None)
            if draw(st.booleans()):
                state[key] = draw(values)
        states.append(state)
    entries = st.builds(
        limit,
        st.sampled_from(MONTHS),
        st.integers(1, 5),
        st.sampled_from(("begge", "til_kommunen", "til_staten")),
        st.sampled_from(("ydelsesmaaned", "modtaget")),
    )
    limits = draw(st.lists(entries, max_size=3, unique_by=lambda entry: entry.gaelder_fra))
    received = {
        (month, person): MONTHS[draw(st.integers(0, run))]
        for run, month in enumerate(MONTHS)
        for person in PEOPLE
        if draw(st.booleans())
    }
    return states, tuple(sorted(limits, key=lambda entry: entry.gaelder_fra)), received


def frame_of(
    state: Mapping[tuple[int, int], tuple[int, int, int, int]], before: bool | None, run: date
) -> pl.DataFrame:
    """A state as rows of the kernel: those of months before the run, of the run month, or all (None)."""
    rows = [
        (MONTHS[nr], MONTHS[nr], person, "KTH", "169", a, a, r, m, p, 1, 0, 1, "x", "x")
        for (person, nr), (a, p, r, m) in state.items()
        if before is None or (MONTHS[nr] < run) == before
    ]
    names = [*KEY, *MONEY, "procent", "ydelsestaeller", "genoptjeningstaeller", "trin", "hjemmel", "regelversion"]
    return pl.DataFrame(rows, schema=dict(zip(names, _kinds(), strict=True)), orient="row")


def _kinds() -> list[Any]:
    return [pl.Date, pl.Date, pl.Int64, pl.String, pl.String, *[pl.Int64] * 8, pl.String, pl.String]


def kernel(states: States, rules: Rulebook, received: Mapping[tuple[date, int], date]) -> Sequence[tuple[Any, Any]]:
    """What stands after each run by the kernel: the settled rows, and the differences that are too old."""
    found = []
    parts: list[pl.DataFrame] = []
    lists: list[pl.DataFrame] = [
        pl.DataFrame(schema={n: Foraeldet.to_schema().columns[n].dtype.type for n in Foraeldet.to_schema().columns})
    ]
    for number, (run, state) in enumerate(zip(MONTHS, states, strict=True), 1):
        now = frame_of(state, None, run)
        if number == 1:
            opening = settle(now, now.clear().with_columns(koersel=pl.lit(0, pl.Int64)), 1)
            parts.append(opening.with_columns(raekketype=pl.lit(AABNING), koersel=pl.lit(1, pl.Int64)))
        else:
            old, new = frame_of(state, True, run), frame_of(state, False, run)
            settled, listed = not_taken_back(pl.concat(parts)), not_taken_back(pl.concat(lists))
            months = [(person, month) for (at, person), month in received.items() if at == run]
            known = pl.DataFrame(months, schema={"borger_id": pl.Int64, "modtaget": pl.Date}, orient="row")
            gone = too_old(old, settled, listed, run, known, rules)
            lists.append(list_too_old(gone, listed, number))
            rest = (old.join(gone, on=KEY, how="anti"), settled.join(gone, on=KEY, how="anti"))
            parts += [settle(*rest, number), settle(new, settled.clear(), number)]
        stands, listed = not_taken_back(pl.concat(parts)), not_taken_back(pl.concat(lists))
        found.append(
            (
                {(r[1], r[0]): r[2:] for r in stands.select("maaned", "borger_id", *MONEY, "procent").rows()},
                {(r[1], r[0]): r[2:] for r in listed.select("maaned", "borger_id", *MONEY, "procent").rows()},
            )
        )
        Foraeldet.validate(pl.concat(lists))
    return found


def plain(states: States, rules: Rulebook, received: Mapping[tuple[date, int], date]) -> Sequence[tuple[Any, Any]]:
    """The same by the independent calculation."""
    told: list[tuple[str, dict[Key, Resultat]]] = [
        (
            f"{run:%Y-%m}",
            {
                (MONTHS[nr], f"{MONTHS[nr]:%Y-%m}", PEOPLE[person], "KTH", "169"): Resultat(a, a, p, r, m, 1, 0, 1)
                for (person, nr), (a, p, r, m) in state.items()
            },
        )
        for run, state in zip(MONTHS, states, strict=True)
    ]
    months = {(f"{run:%Y-%m}", PEOPLE[person]): f"{month:%Y-%m}" for (run, person), month in received.items()}
    number = {cpr: person for person, cpr in PEOPLE.items()}
    return [
        (
            {
                (number[key[2]], month_of(key[1])): (
                    row.indberettet,
                    row.beloeb,
                    row.refusion,
                    row.medfinansiering,
                    row.procent,
                )
                for key, row in stands.afregnet.items()
            },
            {(number[key[2]], month_of(key[1])): tuple(row) for key, row in stands.foraeldet.items()},
        )
        for stands in ledgers(told, rules, months)
    ]


@examples(12)
@given(life=lives())
def test_both_calculations_settle_and_list_the_same_under_any_limits(
    life: tuple[States, tuple[Foraeldelse, ...], dict[tuple[date, int], date]],
) -> None:
    states, limits, received = life
    rules = replace(RULEBOOK, foraeldelse=limits)
    found = kernel(states, rules, received)
    assert found == plain(states, rules, received)
    for state, (settled, listed) in zip(states, found, strict=True):  # the balance: state = settled + too old
        money = {(p, MONTHS[nr]): (a, a, r, m) for (p, nr), (a, _, r, m) in state.items()}
        keys = {*money, *settled, *listed}
        nothing = (0, 0, 0, 0)
        for key in keys:
            both = zip(settled.get(key, nothing)[:4], listed.get(key, nothing)[:4], strict=True)
            assert tuple(a + b for a, b in both) == money.get(key, nothing)


def test_a_correction_within_the_limit_of_a_key_of_one_way_settles_what_was_listed() -> None:
    """Settled 100; +150 too old to the municipality; then the state falls to 1: all of the new difference goes."""
    states: States = (
        [{(1, 0): (100, 80, 100, 0)}] * 2 + [{(1, 0): (250, 80, 250, 0)}] * 2 + [{(1, 0): (1, 80, 1, 0)}] * 3
    )
    rules = replace(RULEBOOK, foraeldelse=(limit(MONTHS[0], 1, "til_kommunen"),))
    found = kernel(states, rules, {})
    key = (1, MONTHS[0])
    assert [(settled[key][2], listed.get(key, (0, 0, 0))[2]) for settled, listed in found] == [
        (100, 0), (100, 0), (100, 150), (100, 150), (1, 0), (1, 0), (1, 0),
    ]  # fmt: skip
