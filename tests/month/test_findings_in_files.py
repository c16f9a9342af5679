"""Advice and its files: who gets it, what a row says, and that nothing is overlooked in any history."""

import csv
import io
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import polars as pl
from hypothesis import given

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.findings.words import LOEST, NOBODY, NY
from refusion_assets.place import Place
from tests.kit.data_root import RULEBOOK, RULES, Row, write_file, write_register
from tests.kit.senders import HEADER, MONTHS, OTHER, WEEK, Senders, about, adp, advice_of, back, kth
from tests.kit.timeline import CPR, History, examples, histories

# --- who gets it --------------------------------------------------------------------------------------------


def test_a_national_line_goes_to_the_residence_of_its_week_else_the_last_known_else_nobody(senders: Senders) -> None:
    senders.live(
        "2024-02",
        (CPR, "101", "2010-01-01", "2024-02-06"),
        (CPR, "147", "2024-02-07", ""),
        (OTHER, "151", "2010-01-01", "2015-01-01"),
        ("9112004321", "999", "2010-01-01", ""),
    )
    people = (CPR, OTHER, "9112004321")
    senders.deliver(MONTHS[0], [adp(f"B{n}", CPR=cpr, Pligt_SE="") for n, cpr in enumerate(people)])
    found = about(senders.run(MONTHS[0]), "EI-001")
    assert {f["indberetning_id"]: f["kommunekode"] for f in found} == {"B0": "101", "B1": "151", "B2": NOBODY}


def test_a_finding_moves_with_a_residence_that_is_put_right(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [adp("B1", Pligt_SE="")])
    senders.run(MONTHS[0])
    senders.deliver(MONTHS[1])
    senders.live(MONTHS[1], (CPR, "101", "2010-01-01", ""), (OTHER, "169", "2010-01-01", ""))
    found = about(senders.run(MONTHS[1]), "EI-001")
    assert [(f["kommunekode"], f["status"]) for f in found] == [("101", NY), ("169", LOEST)]


# --- the files ----------------------------------------------------------------------------------------------


def lines(data: bytes) -> list[Row]:
    """The rows of an advice file."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";"))


def test_every_municipality_and_nobody_has_a_file_and_most_have_only_the_header(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("B1", Felt0115="")])
    written = senders.written(MONTHS[0], senders.run(MONTHS[0]))
    assert len(written) == 99
    assert NOBODY in written
    assert written["101"] == f"{HEADER}\n".encode()
    assert all(data.startswith(f"{HEADER}\n".encode()) for data in written.values())


def test_a_row_says_all_that_a_caseworker_needs(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("I1", "12000,01")])
    [found] = lines(senders.written(MONTHS[0], senders.run(MONTHS[0]))["169"])
    assert found == {
        "Kørsel": "50", "Regel-id": "EI-016", "Alvor": "ADVARSEL", "CPR nummer": CPR, "Uge fra": "2024-02-05",
        "Uge til": "2024-02-05", "Ydelse": "Kontanthjælp", "Konto": "", "IndberetningsID": "", "Kilde": "",
        "Felt": "Beløb", "Værdi": "12000,00", "Beløb": "12000,01",
        "Tekst": "Der er placeret 12000,01 kr. af kontanthjælp på ugen fra 2024-02-05, hvilket er mere end grænsen"
                 " på 12000,00 kr.",
        "Handling": "Sagsbehandleren undersøger, om beløb og periode er rigtige, og om der er skrevet øre for kroner.",
        "Status": "NY",
    }  # fmt: skip


def test_an_impossible_number_is_shown_as_it_was_written_and_only_in_its_own_column(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("I1", CPR="611051247"), kth("I2", CPR="6113512470")])
    advice = senders.run(MONTHS[0])
    found = lines(senders.written(MONTHS[0], advice)["169"])
    assert [f["CPR nummer"] for f in found] == ["611051247", "6113512470"]
    shown = [value for f in found for name, value in f.items() if name != "CPR nummer"]
    assert not any("611" in value for value in shown)
    assert "cpr" not in advice.columns


def test_no_person_is_named_in_the_table_nor_outside_the_column_of_the_file(senders: Senders) -> None:
    rows = [
        kth("I1", "30000,00"),
        kth("B1", Felt0115=CPR),
        kth("B2", CPR="6113512470"),
        adp("I3"),
        adp("I4", Pligt_SE=CPR),
    ]
    senders.deliver(MONTHS[0], [*rows, back("K", "T1", CPR)])
    advice = senders.run(MONTHS[0])
    hidden = advice.drop("indberetning_id", "noegle").cast(pl.String)
    for person in (CPR, "6113512470"):
        assert not any(hidden[name].str.contains(person).any() for name in hidden.columns)
    assert {"EI-003", "EI-009", "EI-014", "EI-016", "YR-001"} <= set(advice["regel"])


def test_the_rows_of_a_file_stand_in_order_of_rule_person_and_week(senders: Senders) -> None:
    days = [(date(2024, 2, 12), date(2024, 2, 18)), WEEK]
    rows = [
        kth(f"B{n}{cpr}{felt}", cpr=cpr, fra=fra, til=til, **{felt: ""})
        for n, (fra, til) in enumerate(days)
        for cpr in (OTHER, CPR)
        for felt in ("Indkomsttype", "Felt0115")
    ]
    senders.deliver(MONTHS[0], [("K", r | {"IndberetningsID": r["IndberetningsID"][:16]}) for _, r in rows])
    found = lines(senders.written(MONTHS[0], senders.run(MONTHS[0]))["169"])
    keys = [(f["Regel-id"], f["CPR nummer"], f["Uge fra"]) for f in found]
    assert len(keys) == 8
    assert keys == sorted(keys)


# --- any history --------------------------------------------------------------------------------------------


def deliver(root: Path, history: History, month: str, part: int) -> None:
    """Every second file of a month; with the first part an empty one from every sender, and the residences."""
    if part == 0:
        for kilde, enhed in sorted({(f.kilde, f.enhed) for f in history.files}):
            name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{8000 + int(month[5:])}.csv"
            write_file(root, Fil(name, kilde, enhed, month, "", []))
        write_register(root, "bopael", month, history.snapshots[history.months.index(month)])
    for fil in [fil for fil in history.files if fil.maaned == month][part::2]:
        write_file(root, fil)


@examples(2)
@given(histories(RULEBOOK))
def test_looking_at_what_has_changed_finds_all_there_is_in_any_history(history: History) -> None:
    with TemporaryDirectory() as folder:
        place = Place(Path(folder), RULES)
        for month in history.months:
            for part in (0, 1):
                deliver(place.root, history, month, part)
                with place.warehouse.open() as session:
                    last = advice_of(session, place, month_of(month))
        with place.warehouse.open() as session:
            assert advice_of(session, place, month_of(history.last)).equals(last)
