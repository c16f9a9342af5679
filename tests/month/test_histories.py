"""Any history through raw files and the warehouse: what is kept from month to month must not show."""

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

from refusion_assets.assets import classified
from refusion_assets.assets.raw import reports
from refusion_assets.domain.efterregning.money import Resultat
from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.opgoerelse.ledger import MONEY
from refusion_assets.domain.stop import Faulty
from refusion_assets.files import separated
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, WEEKS, plain_weeks, rules_of_few, write_file, write_register
from tests.kit.timeline import CPR, KOMMUNER, History, examples, histories


def few_kommuner(folder: Path) -> DataRoot:
    """An empty data root under rules with the few municipalities of the histories; a run writes few files."""
    return DataRoot(folder, rules_of_few(folder / "rules", (*KOMMUNER, "751")))


def deliver(root: Path, history: History, month: str) -> None:
    """What the senders have delivered for a month: every sender a file, an empty one where it has no rows."""
    senders = {(fil.kilde, fil.enhed) for fil in history.files}
    for kilde, enhed in sorted(senders - {(fil.kilde, fil.enhed) for fil in history.files if fil.maaned == month}):
        name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-0000.csv"
        write_file(root, Fil(name, kilde, enhed, month, "", []))
    for fil in history.files:
        if fil.maaned == month:
            write_file(root, fil)
    write_register(root, "bopael", month, history.snapshots[history.months.index(month)])


@contextmanager
def small_lots() -> Iterator[None]:
    """Work in lots of a few lines, as a country is worked on in lots of many."""
    with (
        mock.patch.object(separated, "BLOCK_BYTES", 300),
        mock.patch.object(reports, "LINES_PER_BATCH", 3),
        mock.patch.object(classified, "LINES_PER_JUDGEMENT", 4),
        mock.patch.multiple(classified, LINES_PER_BUCKET=3, IDS_PER_SWEEP=5),
        mock.patch.multiple(classified, CLAIMS_PER_RANGE=3, CLAIMS_PER_SWEEP=5),
    ):
        yield


RESULT = "ydelse_id, kommunekode, indberettet_oere, beloeb_oere, procent, refusion_oere, medfinansiering_oere"
STATE = f"""SELECT uge, strftime(maaned, '%Y-%m'), cpr, {RESULT}, ydelsestaeller, genoptjeningstaeller, trin
    FROM refusion.borger_uge_ydelse JOIN identitet.borger USING (borger_id)"""
LEDGER = f"""SELECT uge, strftime(maaned, '%Y-%m'), cpr, ydelse_id, kommunekode,
    {", ".join(f"sum({name})::BIGINT" for name in MONEY)}
    FROM opgoerelse.postering JOIN identitet.borger USING (borger_id) GROUP BY ALL"""
KARANTAENE = "SELECT filnavn, linje - 1, coalesce(indberetning_id, ''), regel FROM classified.karantaene"


@examples(2, phases=[Phase.generate])
@given(history=histories(RULEBOOK), again=st.booleans())
def test_months_run_one_by_one_give_the_state_the_ledger_and_the_quarantine_of_the_plain_calculation(
    *, history: History, again: bool
) -> None:
    with TemporaryDirectory() as folder, small_lots() if again else nullcontext():
        root = few_kommuner(Path(folder))
        for month, bopael in zip(history.months, history.snapshots, strict=True):
            deliver(root.path, history, month)
            for _ in range(1 + again):
                root.run(month)
            known = [fil for fil in history.files if fil.maaned <= month]
            state = plain_state(known, bopael, month, root.place.rules)
            assert {row[:5]: Resultat(*row[5:]) for row in root.rows(STATE)} == state
            total = {row[:5]: row[5:] for row in root.rows(LEDGER) if any(row[5:])}
            assert total == {key: (r.indberettet, r.beloeb, r.refusion, r.medfinansiering) for key, r in state.items()}
            weeks = {(cpr, uge): tuple(week) for cpr, uge, *week in root.rows(WEEKS)}
            assert weeks == plain_weeks(known, month, root.place.rules)
            bad = [tuple(row) for row in plain_judge(known, root.place.rules).karantaene]
            assert sorted(root.rows(KARANTAENE)) == bad


# --- what changes within an open month ----------------------------------------------------------------------

DAYS = date(2024, 2, 5), date(2024, 2, 18)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """An empty data root with few municipalities."""
    return few_kommuner(tmp_path)


def live(root: DataRoot, month: str, *kommunekoder: str) -> None:
    """The register of a month: the person of the timelines lives in the first, and from 12 February in the next."""
    starts = ("2010-01-01", "2024-02-12")
    stays = [
        {"CPR": CPR, "Kommunekode": kode, "Bopael_start": start, "Bopael_slut": ""}
        for kode, start in zip(kommunekoder, starts, strict=False)
    ]
    write_register(root.path, "bopael", month, stays)


def homes(root: DataRoot) -> list[tuple[Any, ...]]:
    """Week and municipality of every result row, and of what is settled in the ledger."""
    ledger = "SELECT uge, kommunekode FROM opgoerelse.postering GROUP BY ALL HAVING sum(beloeb_oere) <> 0 ORDER BY ALL"
    state = root.rows("SELECT uge, kommunekode FROM refusion.borger_uge_ydelse ORDER BY ALL")
    assert root.rows(ledger) == state
    return [(f"{uge:%d}", kode) for uge, kode in state]


def test_a_register_delivered_again_in_an_open_month_decides_where_the_money_goes(root: DataRoot) -> None:
    write_file(root.path, timeline.fil("D", [timeline.row("D", *DAYS, 1)], "2024-02"))
    for kommunekoder, expected in (
        (("101",), [("05", "101"), ("12", "101")]),
        (("101", "751"), [("05", "101"), ("12", "751")]),
        (("751",), [("05", "751"), ("12", "751")]),
    ):
        live(root, "2024-02", *kommunekoder)
        root.run("2024-02")
        assert homes(root) == expected
    live(root, "2024-02")
    with pytest.raises(Faulty, match="REG-001"):
        root.run("2024-02")
    assert homes(root) == expected


def test_a_move_that_is_known_a_month_later_is_a_correction(root: DataRoot) -> None:
    for month, number, kommunekoder in (("2024-02", 2, ("101",)), ("2024-03", 3, ("101", "751"))):
        lines = [timeline.row("D", *DAYS, 1)] if number == 2 else []
        write_file(root.path, timeline.fil("D", lines, month, number))
        live(root, month, *kommunekoder)
        root.run(month)
    assert homes(root) == [("05", "101"), ("12", "751")]
    told = "SELECT raekketype, kommunekode, beloeb_oere FROM opgoerelse.postering WHERE koersel = 51 ORDER BY ALL"
    assert root.rows(told) == [("N", "751", 50_000), ("T", "101", -50_000)]


def test_a_file_that_is_withdrawn_or_added_before_the_month_is_closed_is_as_if_it_always_was_so(root: DataRoot) -> None:
    live(root, "2024-02", "101")
    first = timeline.fil("K", [timeline.row("K", *DAYS, 1)], "2024-02", 1)
    second = timeline.fil("K", [timeline.row("K", *DAYS, 2, "-300,00")], "2024-02", 2)
    write_file(root.path, first)
    root.run("2024-02")
    alone = root.money("2024-02")
    added = write_file(root.path, second)
    root.run("2024-02")
    assert root.money("2024-02") != alone
    assert root.rows("SELECT sum(beloeb_oere)::BIGINT FROM opgoerelse.postering") == [(70_000,)]
    added.unlink()
    added.with_suffix(".manifest.json").unlink()
    root.run("2024-02")
    assert root.money("2024-02") == alone


def test_a_month_settled_again_after_one_more_file_settles_only_whom_it_concerns(tmp_path: Path) -> None:
    other, march = "6201912197", (date(2024, 3, 4), date(2024, 3, 17))
    files = {
        "2024-02": [
            timeline.fil("K", [timeline.row("K", *DAYS, 1), timeline.row("K", *DAYS, 2, cpr=other)], "2024-02", 1)
        ],
        "2024-03": [
            timeline.fil("K", [timeline.row("K", *march, 3), timeline.row("K", *march, 4, cpr=other)], "2024-03", 1)
        ],
    }
    late = timeline.fil("K", [timeline.row("K", *DAYS, 5, "-300,00")], "2024-03", 2)
    found = []
    for name, known in (("later", []), ("at once", [late])):
        root = few_kommuner(tmp_path / name)
        for month, delivered in files.items():
            live(root, month, "101")
            for fil in [*delivered, *(known if month == "2024-03" else [])]:
                write_file(root.path, fil)
            root.run(month)
        if not known:
            alone = root.money("2024-03")
            write_file(root.path, late)
            root.run("2024-03")
            assert root.money("2024-03") != alone
            times = """SELECT cpr, list(opgjort ORDER BY opgjort) FROM refusion.aendret
                JOIN identitet.borger USING (borger_id) WHERE maaned = '2024-03-01' GROUP BY cpr ORDER BY cpr"""
            assert root.rows(times) == sorted([(CPR, [1, 2]), (other, [1])])
        found.append((root.money("2024-03"), root.rows(LEDGER + " ORDER BY ALL")))
    assert found[0] == found[1]


def test_a_report_of_days_to_come_alone_leaves_the_month_as_it_was(root: DataRoot) -> None:
    live(root, "2024-02", "101")
    write_file(root.path, timeline.fil("K", [timeline.row("K", *DAYS, 1)], "2024-02", 1))
    root.run("2024-02")
    before = root.money("2024-02"), sorted(root.rows(WEEKS))
    coming = timeline.row("K", date(2024, 6, 3), date(2024, 6, 9), 2, cpr="6201912197")
    write_file(root.path, timeline.fil("K", [coming], "2024-02", 2))
    root.run("2024-02")
    assert (root.money("2024-02"), sorted(root.rows(WEEKS))) == before
    assert root.rows("SELECT sum(ikke_forfalden_oere) > 0 FROM refusion.placering") == [(True,)]


def test_a_reversal_before_its_report_gives_the_same_bytes_as_after_it(tmp_path: Path) -> None:
    report = timeline.row("K", *DAYS, 1, IndberetningsID="I1")
    other = timeline.row("K", *DAYS, 2, "500,00", cpr="6201912197", IndberetningsID="I1")
    empty = dict.fromkeys(("Felt0115", "Felt0214_start", "Felt0214_slut"), "")
    back = report | {"IndberetningsID": "T1", "Indberetningsart": "T", "ReferenceID": "I1"} | empty
    found = []
    for name, january, february in (("before", [back], [report, other]), ("after", [report, other], [back])):
        root = few_kommuner(tmp_path / name)
        for month, number, lines in (("2024-01", 1, january), ("2024-02", 2, february)):
            own = {"Modtaget_tidspunkt": f"{month}-28T12:00:00"}
            write_file(root.path, timeline.fil("K", [row | own for row in lines], month, number))
        root.run("2024-02")
        found.append(root.money("2024-02"))
    assert found[0] == found[1]
    rows = b"".join(data for name, data in found[0].items() if "-beregning-169-" in name)
    assert (rows.count(b"6201912197"), rows.count(timeline.CPR.encode())) == (2, 0)


def test_a_month_that_only_touches_people_without_weeks_of_support_runs(root: DataRoot) -> None:
    travel = {"Felt0114": "urn:oio:akasse:konto:befordring", "Felt0048": "10,00"}
    write_file(root.path, timeline.fil("D", [timeline.row("D", *DAYS, 1, **travel)], "2024-02"))
    live(root, "2024-02", "101")
    root.run("2024-02")
    assert homes(root) == [("05", "101"), ("12", "101")]
