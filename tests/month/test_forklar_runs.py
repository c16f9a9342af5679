"""What moved a person's weeks from run to run, told from data roots that are run: numbers, weeks, reports, restarts."""

import json
import re
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from refusion_assets.domain.forklar.model import Aarsag
from refusion_assets.domain.forklar.short import short
from tests.conftest import DataRoot
from tests.kit import rule_edits
from tests.kit.timeline import CPR, PEOPLE, row
from tests.month.test_forklar import deliver, explained, live, root_of, run, told, week

TALT, FORFRA, _, _ = PEOPLE
MONTHS = ("2024-01", "2024-02", "2024-03")
GOOD = {"Indtaegtsart": "0041"}


def weeks(letter: str, fra: date, many: int, number: int, cpr: str) -> list[dict[str, str]]:
    """A report for each of some weeks that follow each other."""
    days = [fra + timedelta(weeks=step) for step in range(many)]
    return [row(letter, uge, uge + timedelta(days=6), number + n, cpr=cpr, **GOOD) for n, uge in enumerate(days)]


@pytest.fixture(scope="module")
def flyttet(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Two people whose January 2024 is settled by run 2024-01; what the next runs learn moves its numbers.

    One has a week of benefit in December 2023 that run 2024-02 learns of, beside neutral ones and an old one taken
    back at once, and one in November by run 2024-03. The other had started over after 52 weeks;
    run 2024-03 learns that one of them was of benefit.
    """
    root = root_of(tmp_path_factory.mktemp("flyttet"))
    first = [
        *weeks("K", date(2024, 1, 1), 3, 1, TALT),
        *weeks("K", date(2022, 12, 5), 4, 10, FORFRA),
        *weeks("K", date(2024, 1, 1), 2, 20, FORFRA),
    ]
    second = [
        *weeks("K", date(2023, 12, 11), 1, 31, TALT),
        *weeks("K", date(2022, 5, 2), 1, 32, TALT),
        row("K", date(2022, 5, 2), date(2022, 5, 8), 33, cpr=TALT, Indberetningsart="T", ReferenceID="K00000032",
            IndberetningsID="T33", Felt0115="", Felt0014=""),
    ]  # fmt: skip
    third = [*weeks("K", date(2023, 11, 20), 1, 41, TALT), *weeks("K", date(2023, 6, 5), 1, 50, FORFRA)]
    for month, rows in zip(MONTHS, (first, second, third), strict=True):
        deliver(root, "ky", "169", month, rows)
        neutral = weeks("U", date(2023, 12, 4), 1, 61, TALT) if month == "2024-02" else []
        deliver(root, "su", "34042012", month, neutral)
        live(root, month, (TALT, "169", "2010-01-01"), (FORFRA, "169", "2010-01-01"))
    return run(root, *MONTHS)


def moves(root: DataRoot, cpr: str, monday: str) -> list[Aarsag]:
    """What moved the number of a week, in order of run."""
    changes = week(root, cpr, monday[:7], monday).aendringer
    return [cause for change in changes for cause in change.aarsager if cause.slags == "taeller"]


def test_each_run_is_told_from_the_number_that_the_run_before_knew_though_the_percentage_is_the_same(
    flyttet: DataRoot,
) -> None:
    found = moves(flyttet, TALT, "2024-01-08")
    assert [(c.ydelsestaeller_foer, c.ydelsestaeller_efter) for c in found] == [(2, 3), (3, 4)]
    changes = week(flyttet, TALT, "2024-01", "2024-01-08").aendringer
    assert [(c.koersel, c.procent_foer, c.procent_efter) for c in changes] == [(50, 80, 80), (51, 80, 80)]


def test_only_the_weeks_that_moved_the_number_are_named_with_the_reports_that_made_them_so(flyttet: DataRoot) -> None:
    first, second = moves(flyttet, TALT, "2024-01-15")
    assert [(str(w.uge), w.art_foer, w.art_efter) for w in first.skiftede_uger] == [("2023-12-11", "C", "A")]
    assert [str(w.uge) for w in second.skiftede_uger] == ["2023-11-20"]
    text = " ".join(told(flyttet, TALT, "2024-01").split())
    assert "uge 3 blev uge 4, da 1 uge skiftede: 2023-12-11 (selvforsørgelse blev ydelse), ved [" in text
    assert "2023-12-04" not in text.partition("UGEN 2024-01-01")[2]
    assert "2022-05-02" not in text.partition("UGEN 2024-01-01")[2]


def test_a_restart_that_falls_away_is_told_with_the_week_that_took_it(flyttet: DataRoot) -> None:
    """52 free weeks were reached in that of 25 December 2023; one of them became the fifth week of benefit."""
    (cause,) = moves(flyttet, FORFRA, "2024-01-01")
    assert (cause.ydelsestaeller_foer, cause.ydelsestaeller_efter) == (1, 6)
    assert (cause.forfra_foer, cause.forfra_efter) == (date(2023, 12, 25), None)
    assert [str(w.uge) for w in cause.skiftede_uger] == ["2023-06-05"]
    text = " ".join(told(flyttet, FORFRA, "2024-01").split())
    assert "; optællingen begynder ikke længere forfra med ugen 2023-12-25." in text


def test_the_answer_is_five_lines_and_the_rest_comes_on_demand(flyttet: DataRoot) -> None:
    kort = told(flyttet, TALT, "2024-01", "--formaal", "en anden prøve")
    assert kort.count("\n") == 5
    assert [line.partition(":")[0] for line in kort.splitlines()[1:]] == ["Procent", "Uger", "Beløb", "Rettet"]
    assert "kørsel 50 (2024-02) og kørsel 51 (2024-03); sidst i kørsel 51 (2024-03)" in kort
    assert kort.endswith("Uge for uge: --alt.\n")
    assert told(flyttet, TALT, "2024-01").count("\n") > 50


def test_weeks_that_are_only_counted_otherwise_are_told_as_no_correction(flyttet: DataRoot) -> None:
    sag = explained(flyttet, TALT, "2024-01")
    counted = [
        replace(uge, aendringer=tuple(c for c in uge.aendringer if c.procent_foer == c.procent_efter))
        for uge in sag.uger
    ]
    *_, rettet = short(replace(sag, uger=tuple(counted)), "borger 1")
    runs = "kørsel 50 (2024-02) og kørsel 51 (2024-03); sidst i kørsel 51 (2024-03)"
    assert rettet.startswith(f"Rettet: nej, men uger er talt anderledes i {runs}, ugen 2024-01-")
    assert ": stadig 80 procent, men uge 2 blev uge 3, da 1 uge skiftede: 2023-11-20 " in rettet


def test_every_date_and_month_has_one_form_in_text(flyttet: DataRoot) -> None:
    for month in ("2024-01", "2023-12"):
        text = told(flyttet, TALT, month)
        assert not re.search(r"\d\. ?(januar|februar|marts|november|december)|(januar|marts|december) \d", text)
        assert all(re.fullmatch(r"-?\d{1,3}(\.\d{3})*,\d\d kr\.", a) for a in re.findall(r"-?[\d.,]+ kr\.", text))


def test_a_line_that_changed_rules_let_out_of_quarantine_is_named_as_what_moved_the_number(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    other = "urn:oio:kommune:konto:557731008"
    late = [line | {"Felt0115": other} for line in weeks("K", date(2023, 12, 4), 2, 1, CPR)]
    deliver(root, "ky", "169", "2024-01", [*late, *weeks("K", date(2024, 1, 1), 3, 11, CPR)])
    deliver(root, "ky", "169", "2024-02", [])
    live(root, "2024-01", (CPR, "169", "2010-01-01"))
    accounts = root.rules / "konti.csv"
    text = accounts.read_text("utf-8")
    accounts.unlink()
    accounts.write_text("".join(line for line in text.splitlines(keepends=True) if other not in line), "utf-8")
    run(root, "2024-01")
    accounts.write_text(text, "utf-8")
    rule_edits.declare(root.rules, "konti", date(2014, 6, 1))
    run(root, "2024-02")
    (cause,) = moves(root, CPR, "2024-01-15")
    assert (cause.ydelsestaeller_foer, cause.ydelsestaeller_efter) == (3, 5)
    assert [str(w.uge) for w in cause.skiftede_uger] == ["2023-12-04", "2023-12-11"]
    ran = root.forklar(CPR, "2024-01", "--json", "--formaal", "prøve af forklaring")
    reports = {i["nr"]: i["indberetning_id"] for i in json.loads(ran.out)["indberetninger"]}
    assert [reports[nr] for nr in cause.indberetninger] == ["K00000001", "K00000002"]
