"""Rules that change: only what they touch is calculated again, and the result is that of calculating everything."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given
from hypothesis import strategies as st

from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.raw.registers import ingest_registers
from refusion_assets.assets.raw.reports import ingest
from refusion_assets.assets.refusion import Calculated, calculate
from refusion_assets.assets.stale import stale
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.rules.change import as_ranges
from refusion_assets.domain.stop import Stop
from refusion_assets.rulebook.load import load
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import RULEBOOK, write_file, write_register
from tests.kit.timeline import CPR, History, examples, histories
from tests.month.test_histories import deliver, few_kommuner

Edit = Callable[[Path], None]
DAYS = [date(2014, 8, 4), date(2015, 11, 30), date(2016, 1, 4), date(2019, 12, 16), date(2020, 1, 29)]
DAYS += [date(2023, 12, 6), date(2024, 1, 1), date(2025, 6, 3)]
days = st.sampled_from(DAYS)
benefits = st.sampled_from(["KTH", "ADP", "SYG_BORGER", "SU", "FLEKS"])
OTHERWISE: tuple[dict[str, str], ...] = (
    {"kategori": "B", "side": "ingen", "sats": "", "finansieres_fra": ""},
    {"kategori": "-", "side": "ingen", "sats": "", "finansieres_fra": ""},
    {"kategori": "A", "side": "refusion", "sats": "fast 33", "finansieres_fra": "2020-01-15"},
    {"kategori": "A", "side": "medfinansiering", "sats": "trappe", "finansieres_fra": "2015-12-28"},
    {"hjemmel": "§ 99"},
    {"navn": "Et andet navn", "kontrolleret": "2026-11-24"},
    {"beloebsfelter": "0014,0048"},
)


@st.composite
def changes_of_law(draw: st.DrawFn) -> tuple[str, Edit]:
    """An edit of the rules by chance, and what it is called."""
    day, ydelse_id, otherwise = draw(days), draw(benefits), draw(st.sampled_from(OTHERWISE))
    side = draw(st.sampled_from(["refusion", "medfinansiering"]))
    steps = draw(st.permutations((75, 45, 35, 5)))
    reading, old, new = draw(
        st.sampled_from([("uge_beroert", "een_dag", "hele_ugen"), ("bopael_paa", "mandag", "soendag")])
    )
    all_edits: list[tuple[str, Edit]] = [
        (f"trappe {side} {day} {steps}", lambda folder: rule_edits.staircase(folder, side, day, *steps)),
        (
            f"ydelse {ydelse_id} {day} {otherwise}",
            lambda folder: rule_edits.benefit(folder, ydelse_id, day, **otherwise),
        ),
        (f"genoptjening {day}", lambda folder: rule_edits.restart(folder, day, steps[3] % 7 + 1, 1)),
        (
            f"laesning {reading}",
            lambda folder: rule_edits.put(folder, "laesninger.toml", f'vaerdi = "{old}"', f'vaerdi = "{new}"'),
        ),
        ("tekst", lambda folder: rule_edits.append(folder, "trapper.toml", "# en bemærkning\n")),
    ]
    return draw(st.sampled_from(all_edits[:2] + all_edits))


def done(root: DataRoot, month: str) -> Calculated:
    """What is known of a month taken in, classified and calculated under the rules as they are now."""
    place, first = root.place, month_of(month)
    with place.warehouse.open() as session:
        ingest(session, place, first)
        ingest_registers(session, place, first)
        classify_through(session, place, first)
        return calculate(session, place, first, lambda _: None)


RESULTS = {
    "classified.krav": "*",
    "duration.forloeb": "*",
    "refusion.borger_uge_ydelse": "* EXCLUDE regelversion",
    "refusion.uden_kommune": "*",
    "refusion.anden_betaler": "*",
    "refusion.placering": "*",
}


def results(root: DataRoot) -> dict[str, list[tuple[object, ...]]]:
    """Every table of the calculation, without the version of the rules."""
    return {table: root.rows(f"SELECT {what} FROM {table} ORDER BY ALL") for table, what in RESULTS.items()}


def forget(root: DataRoot) -> None:
    """The warehouse no longer knows what it was made of, so that everything must be made again."""
    with root.place.warehouse.open() as session:
        session.run("UPDATE raw.fil SET bedoemt_med = NULL")
        session.run("DELETE FROM classified.grundlag")
        session.run("DELETE FROM refusion.beregnet")
        session.run("DELETE FROM refusion.regelgrundlag")


@examples(3, phases=[Phase.generate])
@given(
    history=histories(RULEBOOK),
    laws=st.lists(changes_of_law(), min_size=1, max_size=3, unique_by=lambda law: law[0].split()[0]),
    later=st.booleans(),
)
def test_after_any_edits_what_is_calculated_again_gives_what_calculating_everything_gives(
    *, history: History, laws: list[tuple[str, Edit]], later: bool
) -> None:
    with TemporaryDirectory() as folder:
        root = few_kommuner(Path(folder))
        for month in history.months:
            deliver(root.path, history, month)
        month = history.months[0] if later else history.last
        done(root, month)
        for name, edit in laws:
            edit(root.rules)
            month = history.last
            done(root, month)
            assert load(root.rules), name
        incremental = results(root)
        forget(root)
        done(root, month)
        everything = results(root)
        assert {table for table, rows in everything.items() if rows != incremental[table]} == set()


# --- one person, seven weeks of kontanthjælp in January and February 2024 ------------------------------------


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A person with kontanthjælp from Monday 1 January to Sunday 18 February 2024, known in 2024-02."""
    made = few_kommuner(tmp_path)
    for month, number in (("2024-02", 1), ("2024-03", 2), ("2024-04", 3)):
        rows = [timeline.row("K", date(2024, 1, 1), date(2024, 2, 18), 1)] if number == 1 else []
        write_file(made.path, timeline.fil("K", rows, month, number))
    home = {"CPR": CPR, "Kommunekode": "169", "Bopael_start": "2010-01-01", "Bopael_slut": ""}
    write_register(made.path, "bopael", "2024-02", [home])
    return made


def out_of_date(root: DataRoot) -> str:
    """The months that the rules make out of date."""
    place = root.place
    with place.warehouse.open() as session:
        return as_ranges(stale(session, place).maaneder)


def test_a_change_that_touches_no_number_recalculates_nobody_and_judges_no_line_again(root: DataRoot) -> None:
    assert done(root, "2024-02").beregnede == 1
    rule_edits.put(
        root.rules, "trapper.toml", "kontrolleret = 2026-11-21", "kontrolleret = 2026-11-24\nnote = 'x'"[:26]
    )
    rule_edits.put(root.rules, "kontrol.toml", "Filen {fil} svarer ikke", "{fil} svarer ikke")
    before = root.rows("SELECT DISTINCT bedoemt_med FROM raw.fil")
    assert (out_of_date(root), done(root, "2024-02").beregnede) == ("", 0)
    assert root.rows("SELECT DISTINCT bedoemt_med FROM raw.fil") == before
    versions = root.rows("SELECT regelversion FROM refusion.beregnet")
    assert versions == [(root.place.rules.version,)]


def test_a_staircase_from_february_recalculates_the_rows_of_its_first_monday_and_later(root: DataRoot) -> None:
    done(root, "2024-02")
    old = root.place.rules.version
    rule_edits.staircase(
        root.rules, "refusion", date(2024, 2, 1), 10, 10
    )  # a Thursday: first the week of Monday the 5th
    assert out_of_date(root) == "2024-02"
    assert done(root, "2024-02").beregnede == 1
    new = root.place.rules.version
    rows = root.rows("SELECT uge, procent, regelversion FROM refusion.borger_uge_ydelse ORDER BY uge, maaned")
    weeks = [(f"{uge:%m-%d}", procent, "ny" if v == new[:12] else v == old[:12]) for uge, procent, v in rows]
    assert weeks == [
        ("01-01", 80, True), ("01-08", 80, True), ("01-15", 80, True), ("01-22", 80, True), ("01-29", 40, True),
        ("01-29", 40, True), ("02-05", 10, "ny"), ("02-12", 10, "ny"),
    ]  # fmt: skip
    assert out_of_date(root) == ""
    basis = root.rows(
        "SELECT strftime(maaned, '%Y-%m'), regelversion FROM refusion.regelgrundlag ORDER BY 1 DESC LIMIT 2"
    )
    assert basis == [("2024-02", new), ("2024-01", old)]


def test_a_staircase_that_comes_after_everybodys_last_day_recalculates_nobody(root: DataRoot) -> None:
    done(root, "2024-02")
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 19), 10, 10)
    assert (out_of_date(root), done(root, "2024-02").beregnede, out_of_date(root)) == ("2024-02", 0, "")


def test_rules_that_were_not_kept_make_every_month_out_of_date(root: DataRoot) -> None:
    done(root, "2024-02")
    (kept,) = (root.path / "regler").iterdir()
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 1), 10, 10)
    for path in kept.iterdir():
        path.unlink()
    kept.rmdir()
    assert out_of_date(root) == "2014-07..2024-02"
    assert done(root, "2024-02").beregnede == 1


# --- what a closed run has said --------------------------------------------------------------------------------


def refused(root: DataRoot, month: str) -> str:
    """Why a run does not start; nothing is calculated by it."""
    before = root.rows("SELECT * FROM refusion.beregnet")
    with pytest.raises(Stop) as caught:
        root.run(month)
    assert root.rows("SELECT * FROM refusion.beregnet") == before
    return str(caught.value)


def test_a_date_in_a_closed_run_is_refused_until_it_is_declared_and_then_used_up(root: DataRoot) -> None:
    root.run("2024-02")
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 5), 75, 35)
    text = refused(root, "2024-03")
    assert text.startswith("trapper.toml, trappe refusion er ændret og rører ydelsesmåneder fra 2024-02, men kørsler")
    assert 'emne = "trappe", fra = 2024-02-01' in text
    assert "lad ændringen gælde fra 2024-03-01" in text
    rule_edits.declare(root.rules, "trappe", date(2024, 3, 1))
    refused(root, "2024-03")
    rule_edits.declare(root.rules, "trappe", date(2024, 2, 1), "en dom")
    root.run("2024-03")
    corrections = "SELECT count(*) FROM opgoerelse.postering WHERE koersel = 51 AND raekketype = 'K'"
    assert root.rows(corrections) == [(2,)]  # the weeks of 5 and 12 February
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 12), 70, 30)
    assert "trappe refusion" in refused(root, "2024-04")


def test_a_date_after_the_closed_runs_needs_no_declaration(root: DataRoot) -> None:
    root.run("2024-02")
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 27), 75, 35)  # a Tuesday: first Monday 4 March
    root.run("2024-03")


def test_an_open_run_can_be_made_again_under_other_rules_as_it_is_not_closed(root: DataRoot) -> None:
    root.run("2024-02")
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 5), 75, 35)
    root.run("2024-02")
    assert root.rows("SELECT max(regelversion) FROM opgoerelse.koersel") == [(root.place.rules.version,)]


def test_a_run_is_not_settled_from_rows_of_other_rules(root: DataRoot) -> None:
    root.run("2024-02")
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 5), 75, 35)
    place = root.place
    with pytest.raises(Stop, match=r"forældet: 2024-02"), place.warehouse.open() as session:
        settle_month(session, place, month_of("2024-02"), place.rules.koder)


def test_a_part_settled_under_other_rules_settles_all_that_is_settled_anew_under_them(root: DataRoot) -> None:
    root.run("2024-02")
    rule_edits.put(root.rules, "kontrol.toml", "Filen {fil} svarer ikke", "{fil} svarer ikke")
    done(root, "2024-02")
    place = root.place
    with place.warehouse.open() as session:
        done_again = settle_month(session, place, month_of("2024-02"), ["101"])
    assert done_again.kommuner["kommunekode"].to_list() == place.rules.koder
    assert root.rows("SELECT DISTINCT regelversion FROM opgoerelse.koersel WHERE koersel = 50") == [
        (place.rules.version,)
    ]


def test_the_command_says_what_the_rules_touch_and_why_they_are_refused(root: DataRoot) -> None:
    said = [line for line in root.refusion("regler").out.splitlines() if not line.startswith("ADVARSEL")]
    assert len(said) == 1
    root.run("2024-02")
    assert "Ingen beregnet ydelsesmåned rammes" in root.refusion("regler").out
    rule_edits.staircase(root.rules, "refusion", date(2024, 2, 5), 75, 35)
    open_run = root.refusion("regler")
    assert (open_run.code, "Forældede ydelsesmåneder: 2024-02\n" in open_run.out) == (0, True)
    assert "  trapper.toml, trappe refusion: fra 2024-02-05\n" in open_run.out
    with root.place.warehouse.open() as session:
        session.run("UPDATE opgoerelse.koersel SET status = 'lukket'")
    closed = root.refusion("regler")
    assert (closed.code, closed.err.startswith("STOPPET: trapper.toml, trappe refusion er ændret")) == (1, True)
