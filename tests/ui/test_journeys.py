"""The main journeys in the user interface, clicked in a real browser, each proved on the warehouse and the files.

They follow each other on one data root: 2024-02 is run by the command line, 2024-03 and 2024-04 by clicking.
"""

from datetime import date
from pathlib import Path

from tests.conftest import Example
from tests.kit import rule_edits
from tests.ui.browser import Operator
from tests.ui.conftest import Served

MARCH, APRIL, HELD = "2024-03", "2024-04", "250"
MONTHS = ("2024-02", MARCH, APRIL)
SENSOR = "opgoer_efter_beregning"
PERCENT = "SELECT DISTINCT procent FROM refusion.borger_uge_ydelse WHERE maaned >= '2024-02-01' ORDER BY 1"


def spoilt(served: Served) -> tuple[Path, bytes]:
    """A file of April that no longer fits its manifest, and what it held."""
    path = next((served.root.path / "raw" / "ky" / APRIL).glob("*.csv"))
    good = path.read_bytes()
    path.write_bytes(good + b"\n")
    return path, good


def test_a_month_launched_by_clicking_is_settled_by_the_sensor_as_the_command_settles_it(
    served: Served, example: Example, clicks: Operator
) -> None:
    run = clicks.launch("kritisk_uge", [MARCH])
    assert clicks.ended(run) == "Success"
    clicks.picture("koersel")
    settling = clicks.followed(run, SENSOR)
    assert clicks.ended(settling) == "Success"
    assert served.root.files(MARCH) == example.files[MARCH]
    assert served.root.rows(f"SELECT status FROM opgoerelse.koersel WHERE maaned = '{MARCH}-01'") == [("åben",)]


def test_the_checks_of_a_month_stand_on_the_page_of_their_table(served: Served, clicks: Operator) -> None:
    said = served.root.rows(
        f"""SELECT kontrol, bestaaet, tekst FROM kontrol.resultat WHERE maaned = '{MARCH}-01'
        AND tabel = 'refusion.borger_uge_ydelse' AND kontrol IN ('brugt_er_fordelt', 'EI_016') ORDER BY 1"""
    )
    assert [(name, passed) for name, passed, _ in said] == [("EI_016", False), ("brugt_er_fordelt", True)]
    for name, passed, text in said:
        clicks.check("refusion.borger_uge_ydelse", name)
        assert clicks.sees("Passed" if passed else "Failed")
        assert clicks.sees(text)
    clicks.picture("kontroller")


def test_a_failed_run_ends_with_its_danish_reason_on_its_page(served: Served, clicks: Operator) -> None:
    path, good = spoilt(served)
    try:
        assert clicks.ended(clicks.launch("kritisk_uge", [APRIL])) == "Failure"
        assert clicks.sees("STOPPET: ")
        assert clicks.sees(f"FIL-001 {path.name}")
        clicks.picture("stoppet")
        assert served.root.files(APRIL) == {}
    finally:
        path.write_bytes(good)


def test_one_municipality_is_held_back_by_clicking_and_settled_later(
    served: Served, example: Example, clicks: Operator
) -> None:
    clicks.switch(SENSOR, on=False)
    assert clicks.ended(clicks.launch("kritisk_uge", [APRIL])) == "Success"
    others = clicks.launch("opgoer", ["alle", HELD], [APRIL])
    assert clicks.ended(others) == "Succeeded"
    named = {name.split("-")[3] for name in served.root.files(APRIL) if name.endswith(".csv")} - {"000"}
    assert named == set(served.root.place.rules.koder) - {HELD}
    assert served.root.rows("SELECT kommunekode FROM opgoerelse.tilbageholdt") == [(HELD,)]
    assert clicks.ended(clicks.launch("opgoer", [HELD], [APRIL])) == "Success"
    clicks.picture("opgjort")
    assert served.root.files(APRIL) == example.files[APRIL]
    clicks.switch(SENSOR, on=True)


def test_three_months_are_calculated_again_by_clicking_after_an_edit_of_the_rules(
    served: Served, clicks: Operator
) -> None:
    files, ledger = served.root.files(APRIL), served.root.ledger()
    rule_edits.staircase(served.root.rules, "refusion", date(2024, 2, 1), 75, 40, 30, 20)
    rule_edits.declare(served.root.rules, "trappe", date(2024, 2, 1))
    backfill = clicks.launch("genberegn", MONTHS)
    assert clicks.ended(backfill) == "Succeeded"
    assert 75 in {percent for (percent,) in served.root.rows(PERCENT)}
    assert (served.root.files(APRIL), served.root.ledger()) == (files, ledger)
    clicks.table("refusion.borger_uge_ydelse")
    assert clicks.sees("Forskel, netto til kommunerne")
    clicks.picture("genberegnet")
