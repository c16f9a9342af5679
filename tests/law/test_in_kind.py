"""A refund of help in kind, units at a price, on a counter of its own: rules alone, and both calculations agree."""

import csv
import io
import shutil
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl
import pytest

from refusion_assets.assets.checks.received import large_lines
from refusion_assets.assets.raw.reports import ingest, lines_of_months
from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.rulebook.load import RuleError, load
from tests.conftest import DataRoot
from tests.kit.data_root import RULES, Row, calculate, write_file, write_register
from tests.kit.other_counters import append, change, entry, staircase
from tests.kit.timeline import delivered, report
from tests.month.test_histories import few_kommuner

PERSON = "6101010001"
PRICES = {"2024-01-01": 25_000, "2024-02-01": 26_001}
CITED = "opdigtet;opdigtet;2026-01-01;opdigtet"
HOME = [{"CPR": PERSON, "Kommunekode": "101", "Bopael_start": "2000-01-01", "Bopael_slut": ""}]
BALANCES = ("raa_er_fordelt", "brugt_er_fordelt", "kravets_dele_er_kravet", "efterregning_enig")
LAST_OLD, FIRST_NEW = date(2024, 1, 31), date(2024, 2, 1)


def price(fra: str, oere: object, ydelse: str = "HJMID") -> str:
    """One price as an entry."""
    return entry("pris", f'ydelse_id = "{ydelse}"\ngaelder_fra = {fra}\npris_oere = {oere}')


def priced(folder: Path, prices: dict[str, int]) -> Path:
    """The rules with prices of the benefit, each from its day on."""
    append(folder, "enhedspriser.toml", "".join(price(fra, oere) for fra, oere in prices.items()))
    return folder


def in_kind(folder: Path) -> Path:
    """The rules of a folder with a benefit in kind, paid half in two weeks with help, a fourth from the third."""
    append(
        folder, "ydelser.csv", f"HJMID;2024-01-01;Hjælpemidler;;-;refusion;trappe hj;0014;2024-01-01;5.57.73;{CITED}\n"
    )
    append(folder, "konti.csv", f"urn:oio:kommune:konto:557731099;HJMID;ky;0115;1;06;0041;2024-01-01;;{CITED}\n")
    text = 'id = "hj"\ngaelder_fra = 2024-01-01\nydelser = ["HJMID"]\nfri_uge = "uden_ydelserne"'
    append(folder, "taellere.toml", entry("taeller", text))
    append(folder, "trapper.toml", staircase("hj", "2024-01-01", {1: 50, 3: 25}, 'taeller = "hj"'))
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The rules with the benefit and no price of it."""
    return in_kind(Path(shutil.copytree(RULES, tmp_path / "regler")))


def line(rules: Rulebook, number: str, day: date, written: int, **changes: str) -> Row:
    """One report of a day; `written` in hundredths, of a krone or of a unit."""
    [konto] = [one for one in rules.konti if one.ydelse_id == "HJMID"]
    return report(konto, "0014", PERSON, day, day, written, enhed="101") | {"IndberetningsID": number} | changes


def back(rules: Rulebook, number: str, of: str) -> Row:
    """A reversal of a whole report."""
    empty = {"Felt0014": "", "Felt0115": "", "Felt0214_start": "", "Felt0214_slut": "", "CPR": ""}
    return line(rules, number, LAST_OLD, 0, Indberetningsart="T", ReferenceID=of, **empty)


def weeks(files: list[Fil], rules: Rulebook) -> dict[tuple[date, str], tuple[int, int, int, int]]:
    """Amount, percentage, refusion and number of each week by month, on which both calculations agree."""
    run = calculate(files, HOME, "2024-02", rules)
    assert run.state == plain_state(files, HOME, "2024-02", rules)
    assert [bad.regel for bad in plain_judge(files, rules).karantaene] == [regel for *_, regel in run.karantaene]
    return {(uge, maaned): (r.beloeb, r.procent, r.refusion, r.n) for (uge, maaned, *_), r in run.state.items()}


def test_units_at_a_price_are_refunded_by_a_counter_of_their_own_without_any_python(folder: Path) -> None:
    """Half of the first two weeks with help, a fourth from the third; the sender reports units times price.

    Expected by hand: 3 x 250 and 1 x 250 kr. at 50 per cent, 2 x 250 kr. at 25 per cent.
    """
    rules = load(folder)
    units = {date(2024, 1, 8): 3, date(2024, 1, 15): 1, date(2024, 2, 5): 2}
    rows = [line(rules, f"I{number}", day, many * 25_000) for number, (day, many) in enumerate(units.items())]
    assert weeks(delivered(rows, "2024-02"), rules) == {
        (date(2024, 1, 8), "2024-01"): (75_000, 50, 37_500, 1),
        (date(2024, 1, 15), "2024-01"): (25_000, 50, 12_500, 2),
        (date(2024, 2, 5), "2024-02"): (50_000, 25, 12_500, 3),
    }


def rows_of_units(rules: Rulebook) -> list[Row]:
    """Three units in January, one and a half on each side of the new price, half a unit after it."""
    written = {date(2024, 1, 8): 300, LAST_OLD: 150, FIRST_NEW: 150, date(2024, 2, 5): 50}
    return [line(rules, f"I{number}", day, many) for number, (day, many) in enumerate(written.items())]


# By hand: 3 x 250,00; 1,5 x 250,00; 1,5 x 260,01 = 390,015; 0,5 x 260,01 = 130,005; the third week is paid a fourth.
PRICED = {
    (date(2024, 1, 8), "2024-01"): (75_000, 50, 37_500, 1),
    (date(2024, 1, 29), "2024-01"): (37_500, 50, 18_750, 2),
    (date(2024, 1, 29), "2024-02"): (39_002, 50, 19_501, 2),
    (date(2024, 2, 5), "2024-02"): (13_001, 25, 3_250, 3),
}


def test_reported_units_get_the_price_of_the_first_day_of_their_period_and_half_an_oere_is_rounded_up(
    folder: Path,
) -> None:
    rules = load(priced(folder, PRICES))
    assert weeks(delivered(rows_of_units(rules), "2024-02"), rules) == PRICED


def test_a_period_across_a_new_price_has_the_price_of_its_first_day_in_both_months(folder: Path) -> None:
    rules = load(priced(folder, PRICES))
    rows = [line(rules, "I1", LAST_OLD, 150, Felt0214_slut=str(FIRST_NEW))]
    assert weeks(delivered(rows, "2024-02"), rules) == {
        (date(2024, 1, 29), "2024-01"): (18_750, 50, 9_375, 1),
        (date(2024, 1, 29), "2024-02"): (18_750, 50, 9_375, 1),
    }


def test_a_reversal_and_a_report_below_zero_take_back_every_oere_of_the_units(folder: Path) -> None:
    rules = load(priced(folder, PRICES))
    day = date(2024, 2, 12)
    rows = [
        *rows_of_units(rules),
        *(line(rules, "I7", day, 50), back(rules, "T7", "I7")),
        *(line(rules, "I8", day, 50), line(rules, "I9", day, -50)),
    ]
    assert weeks(delivered(rows, "2024-02"), rules) == PRICED


def test_repaid_help_is_kroner_and_not_units(folder: Path) -> None:
    rules = load(priced(folder, PRICES))
    rows = [line(rules, "I1", date(2024, 2, 5), 200, Felt0098="20,02")]
    assert weeks(delivered(rows, "2024-02"), rules) == {(date(2024, 2, 5), "2024-02"): (50_000, 50, 25_000, 1)}


@pytest.mark.parametrize(("units", "found"), [("39999999,99", [999_999_999_750]), ("40000000", [])])
def test_units_worth_more_than_ten_digits_of_kroner_are_quarantined(folder: Path, units: str, found: list[int]) -> None:
    rules = load(priced(folder, PRICES))
    files = delivered([line(rules, "I1", date(2024, 1, 8), 0, Felt0014=units)], "2024-02")
    assert [amount for amount, *_ in weeks(files, rules).values()] == found
    assert [bad.regel for bad in plain_judge(files, rules).karantaene] == ([] if found else ["EI-001"])


@pytest.mark.parametrize(
    ("text", "refused"),
    [
        (price("2024-01-02", 100), r"HJMID fra 2024-01-02: hul; ydelsen gælder fra 2024-01-01"),
        (price("2024-01-01", 100, "UKENDT"), r"UKENDT fra 2024-01-01: ydelse UKENDT findes ikke i ydelser\.csv"),
        (price("2024-01-01", 0), r"HJMID fra 2024-01-01: pris_oere = 0; skriv 1 eller mere"),
        (price("2024-01-01", -1), r"HJMID fra 2024-01-01: pris_oere = -1; skriv 1 eller mere"),
        (price("2024-01-01", 100.5), r"pris, post 1: pris_oere = 100\.5: er ikke et helt tal"),
        (price("2024-01-01", 100) * 2, r"HJMID fra 2024-01-01 står to gange; behold een post"),
    ],
    ids=["a gap", "an unknown benefit", "nothing", "below zero", "a decimal", "two on a day"],
)
def test_a_price_that_cannot_stand_is_refused_by_file_entry_and_reason(folder: Path, text: str, refused: str) -> None:
    append(folder, "enhedspriser.toml", text)
    with pytest.raises(RuleError, match=rf"enhedspriser\.toml.*{refused}"):
        load(folder)


def test_a_price_from_the_first_day_of_the_benefit_or_earlier_can_stand(folder: Path) -> None:
    prices = load(priced(folder, {"2024-02-01": 2, "2023-12-31": 1})).enhedspriser
    assert [one.pris_oere for one in prices] == [1, 2]


# --- through real files ---------------------------------------------------------------------------------------


def deliver(root: DataRoot, month: str, rows: list[Row]) -> None:
    """A month's file of the one sender, and the residences."""
    for fil in delivered(rows, month):
        write_file(root.path, fil)
    write_register(root.path, "bopael", month, HOME)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """An empty data root under rules with the benefit and its prices."""
    made = few_kommuner(tmp_path)
    priced(in_kind(made.rules), PRICES)
    return made


def told(root: DataRoot, month: str) -> list[tuple[str, ...]]:
    """Week, reported, paid, percentage, refusion and type of each row of the calculation file."""
    [data] = [data for name, data in root.files(month).items() if "-beregning-101-" in name]
    names = ("Uge", "Indberetning udbetalingsbeløb", "Beregnet udbetalingsbeløb", "Refusionssats", "Refusionsbeløb")
    rows = csv.DictReader(io.StringIO(data.decode("utf-8-sig")), delimiter=";")
    return [tuple(row[name] for name in (*names, "Rækketype")) for row in rows]


def test_months_of_units_are_settled_in_kroner_and_their_checks_hold_to_the_oere(root: DataRoot) -> None:
    rules = root.place.rules
    nobody, too_much = {"CPR": "9999999999"}, {"Felt0014": "40000000"}
    bad = [line(rules, "I8", FIRST_NEW, 150, **nobody), line(rules, "I9", FIRST_NEW, 0, **too_much)]
    deliver(root, "2024-02", [*rows_of_units(rules), *bad])
    root.koer("2024-02")
    assert told(root, "2024-02") == [
        ("2024-01-29", "390,02", "390,02", "50,00", "195,01", "N"),
        ("2024-02-05", "130,01", "130,01", "25,00", "32,50", "N"),
    ]
    faults = "SELECT regel, felt FROM opgoerelse.advis WHERE regel IN ('EI-001', 'EI-003') ORDER BY ALL"
    assert root.rows(faults) == [("EI-001", "Felt0014"), ("EI-003", "CPR")]
    deliver(root, "2024-03", [back(rules, "T3", "I3")])
    root.koer("2024-03")
    assert told(root, "2024-03") == [("2024-02-05", "-130,01", "-130,01", "25,00", "-32,50", "T")]
    held = root.rows("SELECT kontrol, count(*) FROM kontrol.resultat WHERE bestaaet GROUP BY ALL")
    assert {(name, 2) for name in BALANCES} <= set(held)


@pytest.mark.parametrize(("units", "stops"), [(400_000, False), (400_001, True)])
def test_the_bound_of_a_line_is_held_against_the_money_of_its_units(root: DataRoot, units: int, *, stops: bool) -> None:
    """A line may be 1.000.000,00 kr., which 4.000 units are."""
    deliver(root, "2024-02", [line(root.place.rules, "I1", LAST_OLD, units)])
    with root.place.warehouse.open() as session:
        ingest(session, root.place, date(2024, 2, 1))
        large = large_lines(session, root.place.rules, date(2024, 2, 1))
    assert [(fault.regel, fault.beloeb_oere) for fault in large] == ([("EI-017", 100_000_250)] if stops else [])


def test_the_cell_of_received_lines_counts_units_as_lines_and_not_as_kroner(root: DataRoot) -> None:
    rules, month = root.place.rules, date(2024, 2, 1)
    kth = next(konto for konto in rules.konti if konto.ydelse_id == "KTH")
    paid = report(kth, "0014", PERSON, FIRST_NEW, FIRST_NEW, 100_000, enhed="101") | {"IndberetningsID": "I5"}
    deliver(root, "2024-02", [*rows_of_units(rules), paid])
    with root.place.warehouse.open() as session:
        ingest(session, root.place, month)
        found = {
            told: lines_of_months(session, told, month, month).filter(pl.col("gruppe").is_null()).rows()
            for told in (rules, replace(rules, enhedspriser=()))
        }
    assert list(found.values()) == [[(month, None, 1, 5, 100_000)], [(month, None, 1, 5, 100_650)]]


def test_another_price_judges_the_lines_again(root: DataRoot) -> None:
    amounts = "SELECT beloeb_oere FROM classified.krav ORDER BY periode_start"
    deliver(root, "2024-02", rows_of_units(root.place.rules))
    root.classify("2024-02")
    assert root.rows(amounts) == [(75_000,), (37_500,), (39_002,), (13_001,)]
    change(root.rules, "enhedspriser.toml", "26001", "30000")
    root.classify("2024-02")
    assert root.rows(amounts) == [(75_000,), (37_500,), (45_000,), (15_000,)]
