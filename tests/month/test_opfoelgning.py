"""The follow-up of a settled run: every view counted again from the ledger, its balances, its files, and its stops."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.assets.opfoelgning.asset import budget_of, figures_of
from refusion_assets.assets.opfoelgning.balances import BALANCES
from refusion_assets.assets.opfoelgning.settled import basis
from refusion_assets.domain.calendar import last_day, month_of, next_month
from refusion_assets.domain.opfoelgning.views import VIEWS
from refusion_assets.domain.rules.entries import Rulebook
from tests.conftest import MONTHS, DataRoot, Example
from tests.kit.data_root import RULES

LAST = MONTHS[-1]
Views = dict[str, pl.DataFrame]


@dataclass(frozen=True)
class Line:
    """A settled row of the ledger."""

    uge: date
    maaned: date
    borger: int
    ydelse: str
    kommune: str
    beloeb: int
    egen: int
    n: int | None
    trin: int | None
    procent: int


def settled(root: DataRoot, month: str, rules: Rulebook) -> list[Line]:
    """The rows of the runs up to a month that no row of them takes back: the ledger read from the first run on."""
    number = root.rows(f"SELECT koersel FROM opgoerelse.koersel WHERE maaned = '{month}-01'")[0][0]
    rows = root.rows(
        f"""SELECT uge, maaned, borger_id, ydelse_id, kommunekode, raekketype, beloeb_oere, refusion_oere,
        medfinansiering_oere, ydelsestaeller, trin, procent FROM opgoerelse.postering WHERE koersel <= {number}
        ORDER BY koersel, raekketype <> 'T'"""
    )
    side = {ydelse.ydelse_id: ydelse.side for ydelse in rules.ydelser}
    state: dict[Any, Line] = {}
    for uge, maaned, borger, ydelse, kommune, kind, beloeb, refusion, medfin, n, trin, procent in rows:
        key = (uge, maaned, borger, ydelse, kommune)
        if kind == "T":
            del state[key]
        else:
            egen = medfin if side.get(ydelse) == "medfinansiering" else beloeb - refusion
            state[key] = Line(uge, maaned, borger, ydelse, kommune, beloeb, egen, n, trin, procent)
    return list(state.values())


@pytest.fixture(scope="module")
def rules(example: Example) -> Rulebook:
    return example.root.place.rules


@pytest.fixture(scope="module", params=MONTHS)
def run(request: pytest.FixtureRequest, example: Example, rules: Rulebook) -> tuple[date, list[Line], Views]:
    """A run, its settled rows, and its views; an earlier run has the views that it had."""
    month = str(request.param)
    return month_of(month), settled(example.root, month, rules), figures_of(example.root.place, month_of(month))[0]


def places(lines: list[Line], month: date) -> dict[int, Line]:
    """Where each person was in the last week on the staircase in a month; of several rows, that of the highest step."""
    last: dict[int, Line] = {}
    for line in lines:
        if line.maaned == month and line.trin is not None:
            there = last.get(line.borger)
            order = [(one.uge, one.trin, one.ydelse, one.kommune) for one in (line, there) if one]
            if there is None or order[0] > order[1]:
                last[line.borger] = line
    return last


def test_the_staircase_is_the_settled_rows_by_month_municipality_benefit_and_step(
    run: tuple[date, list[Line], Views],
) -> None:
    month, lines, views = run
    people, sums = defaultdict(set), defaultdict(lambda: [0, 0, 0])
    last = {m: places(lines, m) for m in (next_month(month, -n) for n in range(13))}
    for line in lines:
        if line.maaned > next_month(month, -13):
            key = (line.maaned, line.kommune, line.ydelse, line.trin)
            people[key].add(line.borger)
            for place, value in enumerate((1, line.beloeb, line.egen)):
                sums[key][place] += value
    at: dict[Any, int] = defaultdict(int)
    for m, mine in last.items():
        for line in mine.values():
            at[m, line.kommune, line.ydelse, line.trin] += 1
    columns = ["borgere", "borgere_sidst", "borgeruger", "brutto_oere", "egen_oere"]
    said = views["trappe"].select("maaned", "kommunekode", "ydelse_id", "trin", *columns).rows()
    assert {row[:4]: row[4:] for row in said} == {key: (len(people[key]), at[key], *sums[key]) for key in sums}
    assert said


def test_the_movements_are_each_person_in_each_municipality_then_and_now(run: tuple[date, list[Line], Views]) -> None:
    month, lines, views = run
    before = next_month(month, -1)
    then, now = places(lines, before), places(lines, month)
    money: dict[tuple[str, int], int] = defaultdict(int)
    for line in lines:
        if line.maaned in (month, before):
            money[line.kommune, line.borger] += line.egen if line.maaned == month else -line.egen

    def named(where: Line | None, kommune: str) -> str:
        if where is None:
            return "udenfor"
        return f"trin {where.trin}" if where.kommune == kommune else "anden kommune"

    found: dict[Any, list[int]] = defaultdict(lambda: [0, 0])
    for (kommune, borger), oere in money.items():
        key = (kommune, named(then.get(borger), kommune), named(now.get(borger), kommune))
        found[key][0] += 1
        found[key][1] += oere
    said = views["bevaegelser"].select("kommunekode", "fra", "til", "borgere", "aendring_oere").rows()
    assert {row[:3]: list(row[3:]) for row in said} == found


def test_the_next_steps_are_those_of_people_who_go_on_week_by_week(
    run: tuple[date, list[Line], Views], rules: Rulebook
) -> None:
    month, lines, views = run
    end = last_day(month)
    week = end - timedelta(days=end.weekday())
    mine: dict[Any, list[Line]] = defaultdict(list)
    for line in lines:
        if line.maaned == month and line.trin is not None:
            mine[line.borger, line.kommune, line.ydelse].append(line)
    found: dict[Any, list[int]] = defaultdict(lambda: [0, 0, 0])
    for (_, kommune, ydelse), own in mine.items():
        last = max(own, key=lambda line: line.uge)
        if last.uge != week:
            continue
        benefit = rules.ydelse_on(ydelse, week)
        dage = sum((min(o.uge + timedelta(days=6), end) - max(o.uge, month)).days + 1 for o in own)
        weekly = Fraction(7 * sum(o.beloeb for o in own), dage)
        for k in range(1, 14):
            steps = rules.trappe_on(str(benefit.trappe), week + timedelta(weeks=k)).trin
            at = [max(i for i, s in enumerate(steps) if s.fra_uge <= max((last.n or 0) + w, 1)) for w in (k - 1, k)]
            if at[0] != at[1]:
                less = steps[at[0]].procent - steps[at[1]].procent
                loss = weekly * (-less if benefit.side == "medfinansiering" else less) / 100
                oere = int(abs(loss) + Fraction(1, 2)) * (1 if loss >= 0 else -1)
                cell = found[kommune, ydelse, at[0] + 1, at[1] + 1, k]
                for place, value in enumerate((1, oere, oere * (14 - k))):
                    cell[place] += value
    names = ["kommunekode", "ydelse_id", "fra", "til", "uger_til", "borgere", "tab_pr_uge_oere", "tab_13_uger_oere"]
    assert {row[:5]: list(row[5:]) for row in views["naeste_trin"].select(names).rows()} == found


def test_the_follow_up_of_the_last_run_sums_to_the_state(example: Example) -> None:
    month = month_of(LAST)
    views, _ = figures_of(example.root.place, month)
    state = example.root.rows(
        f"SELECT sum(beloeb_oere), sum(refusion_oere) FROM refusion.tilstand WHERE maaned = '{month}'"
    )
    now = views["trappe"].filter(pl.col("maaned") == month)
    assert [(now["brutto_oere"].sum(), now["refusion_oere"].sum())] == state
    payers = views["andre_kommuner"].filter(pl.col("kommunekode") != "000")
    assert payers["brutto_oere"].sum() == state[0][0]


def test_the_causes_of_corrections_sum_to_those_of_the_settled_files(example: Example) -> None:
    views, _ = figures_of(example.root.place, month_of(LAST))
    sums: dict[str, int] = defaultdict(int)
    for row in example.rows("opgoerelse", LAST):
        earlier = sum(int(row[name].replace(",", "")) for name in row if name.startswith("Rettelser"))
        sign = -1 if row["Transaktionstype"] == "MEDFINANSIERING" else 1
        sums[row["Kommunekode"]] += sign * earlier
    said = dict(views["rettelser"].group_by("kommunekode").agg(pl.col("netto_oere").sum()).iter_rows())
    assert said == {kode: oere for kode, oere in sums.items() if kode in said}
    assert all(oere == 0 for kode, oere in sums.items() if kode not in said)


@pytest.mark.parametrize("month", MONTHS)
def test_every_balance_holds(example: Example, month: str) -> None:
    _, outcomes = figures_of(example.root.place, month_of(month))
    assert [name for name, outcome in outcomes.items() if not outcome.bestaaet] == []


def broken(name: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a view with one number wrong in the last row."""
    column = {
        "trappe": "medfinansiering_oere",
        "bevaegelser": "aendring_oere",
        "sammenlign": "egen_promille",
        "rettelser": "netto_oere",
        "sene_uger": "netto_oere",
        "haengende": "beloeb_oere",
        "andre_kommuner": "egen_oere",
        "langvarige": "egen_oere",
    }.get(name, "borgere")
    last = pl.int_range(pl.len()) == pl.len() - 1
    return rows.with_columns(pl.when(last).then(pl.col(column) + 7).otherwise(column).alias(column))


def test_a_wrong_number_in_a_view_breaks_its_balance(example: Example) -> None:
    month, place = month_of(LAST), example.root.place
    views, outcomes = figures_of(place, month)
    with place.warehouse.reading() as session:
        run = basis(session, place.rules, month)
        summed = [
            name for name in outcomes if name not in ("prognose", "budget", "gevinst", "naeste_trin", "genoptjening")
        ]
        assert all(views[name].height for name in summed)
        held = {
            name: BALANCES[name][0](run, {**views, name: broken(name, views[name])}).bestaaet for name in summed
        }  # fmt: skip
        later = replace(
            run, month=month, ahead=session.temp("later", f"SELECT * REPLACE (frem - 1 AS frem) FROM {run.ahead}")
        )
        held["naeste_trin"] = BALANCES["naeste_trin"][0](later, views).bestaaet
        nobody = replace(run, by_step=session.temp("half", f"FROM {run.by_step} WHERE borger_id % 2 = 0"))
        held["trappe og kladden"] = BALANCES["trappe"][0](run, {**views, "trappe": views["trappe"].head(-1)}).bestaaet
        assert BALANCES["genoptjening"][0](nobody, views).bestaaet
    assert held == dict.fromkeys(held, False)


@pytest.fixture(scope="module")
def followed(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A copy of the example with the follow-up of its last run, and a budget with a bad line; only to be looked at."""
    root = example.root.copy(tmp_path_factory.mktemp("fulgt"))
    budget = root.path / "budget" / "budget-2024.csv"
    budget.parent.mkdir()
    kode = root.rows("SELECT min(kommunekode) FROM opgoerelse.postering WHERE koersel > 0")[0][0]
    budget.write_text(f"Kommunekode;Konto;Beløb\n{kode};5.57.73;1.000,00\n{kode};190190-1234;1\n", "iso-8859-1")
    ran = root.refusion("opfoelgning", LAST)
    assert (ran.code, ran.err) == (0, ""), ran.err
    assert ran.out.strip().endswith(".html")
    assert f"Bemærk: Budgettet har 1 fejl: {budget.name} linje 3: kontoen skal skrives som på bilaget" in ran.out
    assert "190190" not in ran.out
    return root


def pages(root: DataRoot, month: str = LAST) -> dict[str, bytes]:
    """The follow-up's files of a month by name."""
    folder = root.place.outgoing / month
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ("opfoelgning" in path.name or "insight" in path.name)
    }


def test_the_tables_hold_what_was_counted_and_the_copy_for_analysts_has_them(followed: DataRoot) -> None:
    views, _ = figures_of(followed.place, month_of(LAST))
    with followed.place.warehouse.reading() as session:
        for name in VIEWS:
            stored = session.frame(f"FROM opfoelgning.{name}")
            assert stored.sort(pl.all()).equals(views[name].select(stored.columns).sort(pl.all())), name
        assert session.value("SELECT count(*) FROM opfoelgning.budget") not in (0, None)


def test_each_settled_municipality_and_the_country_has_a_page_a_workbook_and_the_rest(followed: DataRoot) -> None:
    made = pages(followed)
    assert len([name for name in made if name.endswith(".html")]) == 99
    assert len([name for name in made if name.endswith(".xlsx")]) == 99
    assert [name for name in made if name.startswith("insight/")]
    parquet = {path.parent.name for path in (followed.path / "udgivet" / "opfoelgning").rglob("*.parquet")}
    assert parquet == {*VIEWS, "ugetal"}


def test_made_again_the_files_are_the_same_byte_for_byte_and_the_month_can_be_closed(
    followed: DataRoot, tmp_path: Path
) -> None:
    root = followed.copy(tmp_path)
    before = pages(root)
    root.koer(LAST)
    assert pages(root) == {}
    assert list((root.path / "udgivet" / "opfoelgning").rglob("*.parquet")) == []
    assert root.rows("SELECT count(*) FROM opfoelgning.trappe") == [(0,)]
    assert root.refusion("opfoelgning", LAST).code == 0
    assert pages(root) == before
    closed = root.refusion("luk", LAST)
    assert (closed.code, closed.err) == (0, "")


@pytest.mark.parametrize(
    ("month", "said"),
    [
        ("2024-05", "2024-05 er ikke opgjort og udgivet"),
        ("2019-01", "2019-01 er ikke opgjort og udgivet"),
        ("2031-01", "2031-01 er ikke opgjort og udgivet"),
    ],
)
def test_a_month_that_is_not_settled_stops_with_one_line(followed: DataRoot, month: str, said: str) -> None:
    ran = followed.refusion("opfoelgning", month)
    assert ran.code == 1
    assert said in ran.err
    assert ran.err.count("\n") == 1


def test_a_municipality_that_a_run_holds_back_has_no_movements_and_no_place(example: Example, tmp_path: Path) -> None:
    root = example.root.copy(tmp_path)
    kode = root.rows("SELECT min(kommunekode) FROM opgoerelse.postering WHERE koersel > 0")[0][0]
    assert root.refusion("koer", LAST, "--undtagen", kode, "--begrundelse", "venter").code == 0
    views, outcomes = figures_of(root.place, month_of(LAST))
    assert [name for name, outcome in outcomes.items() if not outcome.bestaaet] == []
    before = views["trappe"].filter(pl.col("maaned") < month_of(LAST))["kommunekode"]
    assert kode in before
    assert kode not in {*views["bevaegelser"]["kommunekode"], *views["sammenlign"]["kommunekode"]}


def test_a_code_that_is_no_municipality_is_refused_before_anything_is_made(followed: DataRoot) -> None:
    ran = followed.refusion("opfoelgning", LAST, "--kommune", "999,630")
    assert (ran.code, ran.out) == (2, "")
    assert "999 er ingen kommune" in ran.err


def test_a_budget_that_cannot_be_read_is_a_remark_and_no_stop(followed: DataRoot, tmp_path: Path) -> None:
    root = replace(followed, path=tmp_path)
    (tmp_path / "budget" / "budget-2024.csv").mkdir(parents=True)
    found = budget_of(root.place, month_of(LAST))
    assert found.rows.is_empty()
    assert found.faults[0].startswith("budget-2024.csv kan ikke læses")


def gained(rules: Path) -> None:
    """Rules with two gains added: one of everybody, one of a benefit and step."""
    entry = """
[[gevinst]]
id = "{}"
maal = "trappe.egen_oere"
{}ejer = "Jobcenterchefen"
baseline_fra = 2024-02-01
baseline_til = 2024-03-01
hjemmel = "ingen: teknisk"
kilde = "prøve"
kontrolleret = 2026-11-28
sikkerhed = "vores eget valg"
"""
    with (rules / "gevinster.toml").open("a", encoding="utf-8") as file:
        file.write(entry.format("alle", "") + entry.format("kth-4", 'ydelse_id = "KTH"\ntrin = 4\n'))


def test_a_gain_under_unchanged_rules_is_the_staircase_now_against_its_baseline(
    example: Example, tmp_path: Path
) -> None:
    folder = tmp_path / "rules"
    folder.mkdir()
    for path in sorted(RULES.iterdir()):
        (folder / path.name).write_bytes(path.read_bytes())
    gained(folder)
    place = replace(example.root, rules=folder).place
    views, _ = figures_of(place, month_of(LAST))

    def own(month: str, *which: pl.Expr) -> Iterator[tuple[str, int]]:
        mine = views["trappe"].filter(pl.col("maaned") == month_of(month), *which)
        yield from mine.group_by("kommunekode").agg(pl.col("egen_oere").sum()).iter_rows()

    for gain, which in (("alle", ()), ("kth-4", (pl.col("ydelse_id") == "KTH", pl.col("trin") == 4))):
        said = {row["kommunekode"]: row for row in views["gevinst"].filter(gevinst_id=gain).iter_rows(named=True)}
        now = dict(own(LAST, *which))
        assert {kode: row["nu"] for kode, row in said.items() if row["nu"]} == {k: v for k, v in now.items() if v}
        base: dict[str, int] = defaultdict(int)
        for month in MONTHS[:2]:
            for kode, oere in own(month, *which):
                base[kode] += oere
        assert {kode: row["baseline"] for kode, row in said.items()} == {
            kode: (1 if base[kode] >= 0 else -1) * ((abs(base[kode]) + 1) // 2) for kode in said
        }
