"""What has changed since the last calculation, and how what is calculated is laid for the next one to find."""

from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from refusion_assets.assets import opgoerelse
from refusion_assets.assets.checks import calculated
from refusion_assets.assets.checks.sample import efterregning_enig
from refusion_assets.assets.gate import Asked
from refusion_assets.assets.touched import People, leave_out_unchanged, moved, since_change
from refusion_assets.domain.calendar import last_day, make_grid, month_of
from refusion_assets.domain.refusion.shard import in_order
from refusion_assets.domain.stop import Stop
from refusion_assets.store.session import Relation, Warehouse
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import write_file, write_register

Stay = tuple[str, date, date | None]
BORN, MOVE, LATER = date(2006, 1, 1), date(2026, 11, 4), date(2026, 12, 24)
FEBRUARY, MARCH = (date(2024, 2, 5), date(2024, 2, 18)), (date(2024, 3, 4), date(2024, 3, 17))
OTHERS = ("6201912197", "7001662194")


@pytest.mark.parametrize(
    ("told", "before", "now", "expected"),
    [
        ("nothing", [("101", BORN, None)], [("101", BORN, None)], []),
        ("a stay ends", [("101", BORN, None)], [("101", BORN, MOVE)], [MOVE]),
        ("and another begins", [("101", BORN, None)], [("101", BORN, MOVE), ("147", LATER, None)], [MOVE]),
        ("a stay ends earlier", [("101", BORN, LATER)], [("101", BORN, MOVE)], [MOVE]),
        ("a stay ends later", [("101", BORN, MOVE)], [("101", BORN, LATER)], [MOVE]),
        ("a stay is new", [("101", BORN, None)], [("101", BORN, None), ("147", MOVE, None)], [MOVE]),
        ("a stay is gone", [("101", BORN, None), ("147", MOVE, None)], [("101", BORN, None)], [MOVE]),
        ("another municipality", [("101", BORN, None)], [("147", BORN, None)], [BORN]),
        (
            "two stays of one day, whose order follows their ends",
            [("101", BORN, LATER), ("147", BORN, MOVE)],
            [("101", BORN, None), ("147", BORN, MOVE)],
            [BORN],
        ),
        ("two stays of one day are gone", [("101", BORN, MOVE), ("101", BORN, LATER)], [], [BORN]),
    ],
)
def test_who_moves_is_looked_at_from_the_first_day_that_is_told_otherwise(
    told: str, before: Sequence[Stay], now: Sequence[Stay], expected: list[date], tmp_path: Path
) -> None:
    def rows(stays: Sequence[Stay]) -> pl.DataFrame:
        schema = {"kommunekode": pl.String, "bopael_start": pl.Date, "bopael_slut": pl.Date}
        frame = pl.DataFrame([list(stay) for stay in stays], schema=schema, orient="row")
        return frame.with_columns(cpr=pl.lit("x"), modtaget_maaned=pl.lit(MOVE))

    with Warehouse(tmp_path).open() as session, session.lending("a", rows(before)), session.lending("b", rows(now)):
        assert session.frame(f"SELECT fra FROM {moved(Relation('a'), Relation('b'))}")["fra"].to_list() == expected, (
            told
        )


def test_rows_are_stored_with_the_weeks_before_the_month_first_and_each_part_by_person() -> None:
    grid = make_grid(date(2014, 7, 1), last_day(month_of("2024-03")))
    before, first = date(2024, 2, 19), date(2024, 2, 26)  # 1 March 2024 is a Friday
    rows = [(2, first), (1, first), (2, before), (1, before), (1, date(2016, 1, 4)), (2, date(2024, 3, 25))]
    stored = in_order(pl.DataFrame(rows, schema=["borger_id", "uge"], orient="row"), grid)
    earlier = [(1, date(2016, 1, 4)), (1, before), (2, before)]
    assert stored.rows() == [*earlier, (1, first), (2, first), (2, date(2024, 3, 25))]


@pytest.mark.parametrize("most", [0, 1, 100])
def test_the_rows_since_a_change_are_the_same_however_few_people_a_list_may_hold(
    most: int, example_root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("refusion_assets.assets.touched.MOST_LISTED", most)
    fra_uge = "DATE '2023-01-02' + CAST(7 * borger_id AS INTEGER)"
    people = Relation(f"(SELECT borger_id, {fra_uge} AS fra_uge FROM identitet.borger)")
    rows = "refusion.borger_uge_ydelse"
    with example_root.place.warehouse.open() as session:
        found = session.frame(f"SELECT t.* FROM {since_change(session, rows, 'uge', people)} ORDER BY ALL")
        plainly = session.frame(f"""SELECT t.* FROM {rows} t JOIN {people} p
            ON p.borger_id = t.borger_id AND t.uge >= p.fra_uge ORDER BY ALL""")
    assert found.height > 0
    assert found.equals(plainly)


def test_whose_claims_are_others_is_looked_at_though_the_rows_came_out_the_same(tmp_path: Path) -> None:
    with Warehouse(tmp_path).open() as session:
        people = People(session.temp("people", "SELECT unnest([1, 2, 3]) AS borger_id"), snapshot=None)
        before = session.temp("sums", f"SELECT borger_id, 7 AS h FROM {people}")
        now = session.temp("sums", f"SELECT borger_id, CASE borger_id WHEN 3 THEN 8 ELSE 7 END AS h FROM {before}")
        session.run("INSERT INTO classified.aendret VALUES (2, DATE '2024-03-04')")
        left = leave_out_unchanged(session, people, before, now)
        assert session.frame(f"SELECT borger_id FROM {left} ORDER BY 1")["borger_id"].to_list() == [2, 3]
        assert session.count(people.relation) == 3


@pytest.fixture(scope="module")
def three_people(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Three people with kontanthjælp in February and March, and both months run."""
    root = DataRoot(tmp_path_factory.mktemp("tre"))
    for month, days in (("2024-02", FEBRUARY), ("2024-03", MARCH)):
        everybody = [timeline.row("K", *days, n, cpr=cpr) for n, cpr in enumerate((timeline.CPR, *OTHERS), 1)]
        lines = [row | {"IndberetningsID": f"I{month}{n}"} for n, row in enumerate(everybody)]
        write_file(root.path, timeline.fil("K", lines, month, int(month[-2:])))
        stay = {"CPR": OTHERS[0], "Kommunekode": "101", "Bopael_start": "2010-01-01", "Bopael_slut": ""}
        write_register(root.path, "bopael", month, [stay])
        root.run(month)
    return root


@pytest.fixture
def example_root(three_people: DataRoot, tmp_path: Path) -> DataRoot:
    """A copy of theirs."""
    return three_people.copy(tmp_path)


def test_only_whose_earlier_rows_are_others_than_what_is_settled_are_compared_row_by_row(
    example_root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    compared: list[set[int]] = []
    settle = opgoerelse.settle

    def seen(state: pl.DataFrame, settled: pl.DataFrame, koersel: int) -> pl.DataFrame:
        compared.append(set(state["borger_id"]) | set(settled["borger_id"]))
        return settle(state, settled, koersel)

    monkeypatch.setattr(opgoerelse, "settle", seen)
    monkeypatch.setattr("refusion_assets.assets.touched.FEW", 0)
    late = timeline.row("K", *FEBRUARY, 9, "-300,00") | {"IndberetningsID": "RET"}
    write_file(example_root.path, timeline.fil("K", [late], "2024-04", 9))
    april = [timeline.row("K", *FEBRUARY, n, cpr=cpr, IndberetningsID=f"NUL{n}") for n, cpr in enumerate(OTHERS)]
    back = [row | {"Indberetningsart": "T", "ReferenceID": "UKENDT"} for row in april]
    write_file(example_root.path, timeline.fil("K", back, "2024-04", 10))
    example_root.run("2024-04")
    (corrected,) = example_root.rows(f"SELECT borger_id FROM identitet.borger WHERE cpr = '{timeline.CPR}'")
    assert compared == [{*corrected}]
    kinds = "SELECT DISTINCT borger_id FROM opgoerelse.postering WHERE raekketype IN ('T', 'K')"
    assert example_root.rows(kinds) == [corrected]


def test_a_month_settled_again_is_calculated_a_second_time_for_those_it_concerns(example_root: DataRoot) -> None:
    wrong = """UPDATE refusion.borger_uge_ydelse SET refusion_oere = refusion_oere + 1 WHERE borger_id IN (
        SELECT borger_id FROM refusion.aendret WHERE maaned = '2024-03-01' AND opgjort = 2)"""
    late = timeline.row("K", *MARCH, 9, "-300,00") | {"IndberetningsID": "RET"}
    with example_root.place.warehouse.open() as session:
        asked = Asked(session, example_root.place, month_of("2024-03"))
        assert efterregning_enig(asked).tal["borgere"] == 3
    write_file(example_root.path, timeline.fil("K", [late], "2024-03", 9))
    example_root.run("2024-03")
    with example_root.place.warehouse.open() as session:
        asked = Asked(session, example_root.place, month_of("2024-03"))
        first = efterregning_enig(asked)
        assert (first.bestaaet, first.tal["borgere"]) == (True, 1)
        session.run(wrong)
        assert not efterregning_enig(asked).bestaaet
        assert not calculated.raekker_har_trin(asked).bestaaet


def test_a_file_that_is_first_by_a_line_of_somebody_else_is_first_in_the_second_calculation_too(
    example_root: DataRoot,
) -> None:
    """Two senders' reports share an id; whose stands is decided by the first line of the whole file."""
    days = {"Modtaget_tidspunkt": "2024-03-20T12:00:00", "IndberetningsID": "DELT"}
    early = timeline.row("D", *MARCH, 1, cpr=OTHERS[1]) | {"Modtaget_tidspunkt": "2024-03-01T12:00:00"}
    write_file(
        example_root.path, timeline.fil("D", [timeline.row("D", *MARCH, 2, cpr=OTHERS[0]) | days, early], "2024-03")
    )
    shared = timeline.row("K", *FEBRUARY, 9) | days | {"Modtaget_tidspunkt": "2024-03-10T12:00:00"}
    write_file(example_root.path, timeline.fil("K", [shared], "2024-03", 9))
    example_root.run("2024-03")
    assert example_root.rows("SELECT count(*) FROM classified.dom WHERE regel = 'EI-013'") == [(1,)]
    once_more = timeline.row("K", *MARCH, 10, "-100,00") | {"IndberetningsID": "RET"}
    write_file(example_root.path, timeline.fil("K", [once_more], "2024-03", 10))
    example_root.run("2024-03")
    with example_root.place.warehouse.open() as session:
        outcome = efterregning_enig(Asked(session, example_root.place, month_of("2024-03")))
    assert (outcome.bestaaet, outcome.tal["borgere"]) == (True, 1)


def test_a_warehouse_of_an_earlier_version_is_refused_with_what_to_do(example_root: DataRoot) -> None:
    with example_root.place.warehouse.open() as session:
        session.connection.execute("ALTER TABLE classified.dom RENAME COLUMN trukket TO tilbage")
        session.connection.execute("COMMENT ON TABLE identitet.borger IS 'en anden'")
    told = r"tidligere udgave af programmet \(classified\.dom\); flyt mappen lager"
    with pytest.raises(Stop, match=told), example_root.place.warehouse.open():
        pass
