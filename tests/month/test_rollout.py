"""A country rolled out in eight waves, month by month, beside the same country run from the start.

It has 32 municipalities, and all 98 in `make soak`: most of the time goes to reading a file from each.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path
from unittest import mock

import polars as pl
import pytest

from refusion_assets.domain.calendar import month_range
from refusion_assets.domain.opgoerelse.ledger import MONEY, not_taken_back
from refusion_assets.domain.raw import NAMES
from refusion_assets.domain.refusion.split import KEY
from refusion_assets.example import write
from tests.conftest import DataRoot
from tests.kit.country import reversal
from tests.kit.data_root import RULEBOOK, csv_bytes, read_csv, rules_of_few, write_manifest
from tests.kit.rollout import PILOTS, planned_rules
from tests.kit.timeline import TIMES_AS_MANY

FIRST, JOINED, LAST = date(2023, 10, 1), date(2024, 2, 1), date(2024, 9, 1)
PEOPLE = 150
PILOT_KODER = [kode for pilot in PILOTS for kode in pilot]
WAVES = [4, 6, 4, 4, 4, 4, 3, 3] if TIMES_AS_MANY == 1 else [4, 6, 15, 15, 15, 15, 14, 14]
STATE = ["cpr", *(name for name in KEY if name != "borger_id"), *MONEY, "procent"]
PERSON = "JOIN identitet.borger USING (borger_id)"  # the two roots number people in another order
RESULTS = ("refusion.borger_uge_ydelse", "refusion.fleksbidrag", "duration.forloeb")


def months(first: date, last: date) -> Iterator[str]:
    return (f"{month:%Y-%m}" for month in month_range(first, last))


def settled_state(root: DataRoot) -> pl.DataFrame:
    """What the ledger of a root holds as settled, per key."""
    with root.place.warehouse.open() as session:
        ledger = session.frame(f"FROM opgoerelse.postering {PERSON}")
    return not_taken_back(ledger).select(STATE).sort(STATE)


@dataclass(frozen=True)
class Two:
    """The country run from the start, and the same one rolled out; what the roll-out said of each wave."""

    whole: DataRoot
    rolled: DataRoot
    waves: list[list[str]]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Two:
    folder = tmp_path_factory.mktemp("udrulning")
    konti, kommuner = write.tables(RULEBOOK)
    others = [kode for kode in RULEBOOK.koder if kode not in PILOT_KODER]
    koder = [*PILOT_KODER, *others[: sum(WAVES[2:])]]
    kommuner = kommuner.filter(pl.col("kommunekode").is_in(koder))
    whole = DataRoot(folder / "hele", rules_of_few(folder / "alle", koder))
    with mock.patch.dict(write.BORGERE, {"midi": PEOPLE}):
        write.write_example(whole.path, konti, kommuner, "midi", FIRST, LAST, 1, historik=14)
    corrected_late(whole.path / "raw" / "ky")
    rolled = replace(
        whole, path=folder / "boelger", rules=planned_rules(folder, JOINED, koder, graense=f"{max(WAVES[2:])}")
    )
    rolled.path.mkdir()
    (rolled.path / "raw").symlink_to(whole.path / "raw")
    for month in months(FIRST, LAST):
        whole.run(month)
    assert rolled.refusion("udrul", "plan").code == 0
    for month in ("2024-01", "2024-02"):  # the first month may be calculated before anybody is in operation
        rolled.calculate(month)
    waves = []
    for number, month in enumerate(months(JOINED, LAST), 1):
        rows = rolled.rows(f"SELECT kommunekode FROM faelles.udrulning WHERE boelge = {number} ORDER BY 1")
        waves.append([kode for (kode,) in rows])
        join(rolled, whole, waves[-1], month)
        rolled.run(month)
    return Two(whole, rolled, waves)


def corrected_late(folder: Path) -> None:
    """In every month that somebody joins in, a municipality takes back one old report and adds to another.

    Both are about weeks before the first run, so no file of the old system is about them.
    """
    for path in folder.glob(f"{FIRST:%Y-%m}/*.csv"):
        _, _, _, kode, *_ = path.stem.split("-")
        old = [row for row in read_csv(path) if row["Indberetningsart"] == "I" and row["Loenperiode_slut"] < f"{FIRST}"]
        for number, month in enumerate(months(JOINED, LAST)):
            chosen = old[2 * number : 2 * number + 2]
            if len(chosen) < 2:
                break
            wrong, short = chosen
            more = {"IndberetningsID": f"S{kode}{number}", "Modtaget_tidspunkt": f"{month}-20T12:00:00"}
            [now, *_] = folder.glob(f"{month}/*-{kode}-*.csv")
            rows = [*read_csv(now), reversal(wrong, month, f"T{kode}{number}"), short | more]
            numbered = [row | {"Lb_nr": f"{place}"} for place, row in enumerate(rows, 1)]
            now.write_bytes(csv_bytes(numbered, NAMES))
            write_manifest(now, numbered)


def join(rolled: DataRoot, whole: DataRoot, koder: list[str], month: str) -> None:
    """The municipalities of a wave converted from the other root's files before a month, and approved."""
    old = rolled.path.parent / f"gamle-{month}"
    old.mkdir()
    for path in (whole.path / "udgaaende").glob("20*/*-beregning-*"):
        if path.parent.name < month:
            (old / path.name).symlink_to(path)
    chosen = ",".join(koder)
    ran = rolled.refusion("konverter", chosen, "--fra", str(old), "--antal", "3")
    assert (ran.code, ran.err) == (0, ""), ran.err
    assert "Stikprøve (frø 1)" in ran.out
    for step in (["--stikproeve", "--begrundelse", "få borgere, så nogle filer er uden rækker"], ["--drift"]):
        ran = rolled.refusion("udrul", "godkend", chosen, *step)
        assert (ran.code, ran.err) == (0, ""), ran.err


def test_the_municipalities_join_in_eight_waves_that_are_as_even_as_can_be(two: Two) -> None:
    assert [len(koder) for koder in two.waves] == WAVES


def test_the_country_rolled_out_has_the_results_and_the_settled_state_of_one_run_from_the_start(two: Two) -> None:
    for table in RESULTS:
        query = f"SELECT * EXCLUDE borger_id FROM {table} {PERSON} ORDER BY ALL"
        assert two.rolled.rows(query) == two.whole.rows(query), table
    mine, theirs = settled_state(two.rolled), settled_state(two.whole)
    assert mine.height > 1000
    assert mine.equals(theirs)


def test_the_first_run_of_a_municipality_corrects_what_its_month_brought_as_the_country_does(two: Two) -> None:
    """Late reports and reversals alike, also of weeks that no file of the old system is about."""
    old = []
    for koder, month in zip(two.waves, months(JOINED, LAST), strict=True):
        query = f"""SELECT raekketype, {", ".join(STATE)} FROM opgoerelse.postering {PERSON}
            JOIN (SELECT koersel, maaned AS nu FROM opgoerelse.koersel) USING (koersel)
            WHERE nu = DATE '{month}-01' AND kommunekode IN ({str(koder)[1:-1]}) ORDER BY ALL"""
        mine = two.rolled.rows(query)
        assert mine == two.whole.rows(query), month
        old.append({row[0] for row in mine if row[1 + STATE.index("maaned")] < FIRST})
    assert sum(kinds >= {"T", "K"} for kinds in old) >= 4


def test_a_month_has_files_of_those_in_operation_alone(two: Two) -> None:
    for number, month in enumerate(months(JOINED, LAST), 1):
        there = {name.split("-")[3] for name in two.rolled.files(month) if name != "SHA256SUMS"} - {"000"}
        assert there == {kode for koder in two.waves[:number] for kode in koder}, month


def test_the_last_month_of_the_roll_out_says_the_same_money_as_that_of_the_whole_country(two: Two) -> None:
    """All are in: the rows of the month itself are the same in both roots."""
    query = f"""SELECT {", ".join(STATE)} FROM opgoerelse.postering {PERSON}
        JOIN opgoerelse.koersel k USING (koersel, maaned)
        WHERE k.maaned = DATE '{LAST}' ORDER BY ALL"""
    assert two.rolled.rows(query) == two.whole.rows(query)


def test_a_year_of_our_own_files_read_in_an_empty_root_is_the_state_they_came_from(two: Two, tmp_path: Path) -> None:
    empty = DataRoot(tmp_path / "tom")
    (empty.path / "raw").mkdir(parents=True)
    ran = empty.refusion("konverter", ",".join(PILOT_KODER), "--fra", str(two.whole.path / "udgaaende"))
    assert (ran.code, ran.err) == (0, "")
    read = """SELECT kommunekode, uge, cpr, ydelse_id, indberettet_oere, beloeb_oere, refusion_oere,
        medfinansiering_oere, procent FROM raw.konverteret WHERE uge >= DATE '2023-10-02' ORDER BY ALL"""
    state = settled_state(two.whole).filter(
        pl.col("kommunekode").is_in(PILOT_KODER), pl.col("uge") >= date(2023, 10, 2)
    )
    weeks = state.sort("maaned").group_by("kommunekode", "uge", "cpr", "ydelse_id").agg(
        *(pl.col(name).sum() for name in MONEY), pl.col("procent").last()
    )  # fmt: skip
    wanted = sorted(weeks.iter_rows())
    assert len(wanted) > 100
    assert empty.rows(read) == wanted


def test_every_run_of_the_roll_out_can_be_made_again_byte_for_byte(two: Two) -> None:
    for month in ("2024-02", "2024-03"):
        ran = two.rolled.refusion("genskab", month)
        assert (ran.code, ran.err) == (0, "")
        assert "genskabt byte for byte" in ran.out


def test_a_root_that_begins_when_the_first_join_opens_them_as_one_that_was_calculated_before(
    two: Two, tmp_path: Path
) -> None:
    """Its only residences are those of that month."""
    fresh, month = replace(two.rolled, path=tmp_path / "frisk"), f"{JOINED:%Y-%m}"
    for path in (two.whole.path / "raw").rglob("*.*"):
        if path.parent.parent.name != "bopael" or path.parent.name == month:
            placed = fresh.path / path.relative_to(two.whole.path)
            placed.parent.mkdir(parents=True, exist_ok=True)
            placed.symlink_to(path)
    assert fresh.refusion("udrul", "plan").code == 0
    fresh.calculate(month)
    join(fresh, two.whole, two.waves[0], month)
    fresh.run(month)
    opened = f"""SELECT koersel, raekketype, {", ".join(STATE)}, genoptjeningstaeller FROM opgoerelse.postering {PERSON}
        WHERE koersel IN (0, 50) AND kommunekode IN ({str(two.waves[0])[1:-1]}) ORDER BY ALL"""
    assert fresh.rows(opened) == two.rolled.rows(opened) != []


def test_what_is_closed_in_a_roll_out_holds_though_others_have_opened_since(two: Two) -> None:
    ran = two.rolled.refusion("efterse")
    assert (ran.code, ran.err) == (0, ""), ran.out
