"""What is said of a fleksbidrag and of what lies above a maximum: how it came about, and why a run changed it."""

import json
from datetime import date
from pathlib import Path

import pytest

from refusion_assets.domain.forklar.cause import contribution_row
from refusion_assets.domain.forklar.rows import Navne
from refusion_assets.domain.forklar.text_money import contribution
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import RULEBOOK, write_file, write_register
from tests.kit.fleks import basis, flex, kth
from tests.kit.other_counters import entry
from tests.kit.timeline import CPR, row
from tests.month.test_forklar import approved, deliver, live, root_of, run, told, week

JANUARY = date(2023, 1, 1), date(2023, 1, 31)


@pytest.fixture
def fleks(tmp_path: Path) -> DataRoot:
    """300 kr. of fleksløntilskud a day in January 2023, in which week 53 begins on the 9th; bases that come later.

    Run 2023-01 is to know no basis, run 2023-02 one of 8.000 kr., run 2023-03 another wage, and run 2023-04 more money.
    """
    root = root_of(tmp_path)
    first = [*kth(50, JANUARY[0]), flex(*JANUARY, 1, "9300,00")]
    for number, month in enumerate(("2023-01", "2023-02", "2023-03", "2023-04"), 1):
        rows = {1: first, 4: [flex(*JANUARY, 2, "3100,00")]}.get(number, [])
        write_file(root.path, timeline.fil("K", rows, month, number))
        live(root, month, (CPR, "169", "2010-01-01"))
    write_register(root.path, "fleksgrundlag", "2023-02", [basis("2023-01", "8000,00")])
    write_register(root.path, "fleksgrundlag", "2023-03", [basis("2023-01", "8000,00", "1000,00")])
    return root


def test_fleksbidrag_is_told_from_the_missing_basis_to_each_change_of_it(fleks: DataRoot) -> None:
    """8 days at 30 per cent and 23 at 20 of 300 kr.: refusion 720 + 1.380 = 2.100.

    30 per cent of 5.900 = 1.770; x 23/31 = 1.313,23. Less 20 per cent of 1.000: 1.570 x 23/31 = 1.164,84.
    With 400 kr. a day: refusion 2.800; 30 per cent of 5.200 = 1.560, less 200 = 1.360 x 23/31 = 1.009,03.
    """
    run(fleks, "2023-01")
    (before,) = week(fleks, CPR, "2023-01", "2023-01-30").fleksbidrag
    assert (before.beregningsgrundlag_oere, before.refusion_oere, before.regel) == (None, 0, "FB-001")
    approved("fleksbidrag_uden_grundlag", of_the_week(fleks))
    run(fleks, "2023-02")
    (bidrag,) = week(fleks, CPR, "2023-01", "2023-01-30").fleksbidrag
    assert (bidrag.beregningsgrundlag_oere, bidrag.loen_oere, bidrag.tilskud_refusion_oere) == (800_000, 0, 210_000)
    assert (bidrag.dage_paa_trin, bidrag.dage, bidrag.refusion_oere, bidrag.regel) == (23, 31, 131_300, None)
    assert bidrag.post is not None
    assert (bidrag.post.fil, bidrag.post.id) == ("fleksbidrag.toml", "FLEKSBIDRAG")
    assert "fleksbidrag fra staten, Høje-Taastrup: 1.313,00 kr. for 2023-01" in " ".join(
        told(fleks, CPR, "2023-01").split()
    )
    run(fleks, "2023-03")
    run(fleks, "2023-04")
    changes = [c for c in week(fleks, CPR, "2023-01", "2023-01-30").aendringer if c.ydelse_id == "FLEKSBIDRAG"]
    assert [(c.refusion_foer_oere, c.refusion_efter_oere, c.aarsager[0].slags) for c in changes] == [
        (0, 131_300, "grundlag"),
        (131_300, 116_500, "grundlag"),
        (116_500, 100_900, "tilskud"),
    ]
    approved("fleksbidrag", of_the_week(fleks))


def of_the_week(root: DataRoot) -> str:
    """What is said in short, and of the week that the contribution is told in."""
    text = told(root, CPR, "2023-01")
    short = text.partition("SÅDAN ER UGERNE TALT")[0].partition("KORT FORTALT")[2]
    return f"KORT FORTALT{short}UGEN 2023-01-30{text.partition('UGEN 2023-01-30')[2]}"


def test_under_other_rules_than_the_run_had_no_entry_of_fleksbidrag_is_shown(fleks: DataRoot) -> None:
    run(fleks, "2023-01", "2023-02")
    rule_edits.put(fleks.rules, "fleksbidrag.toml", "forskel_procent = 30", "forskel_procent = 29")
    (bidrag,) = week(fleks, CPR, "2023-01", "2023-01-30").fleksbidrag
    assert (bidrag.post, bidrag.formel, bidrag.refusion_oere) == (None, None, 131_300)
    text = told(fleks, CPR, "2023-01")
    assert "posten, der gjaldt ved beregningen, vises ikke" in " ".join(text.split())
    assert "23 af månedens 31 dage er dage med tilskuddet på trinnet." in text


@pytest.mark.parametrize(
    ("loen", "bidrag", "said"),
    [
        (2_105_500, 100, "(4.211,00 kr.) = 1,00 kr.; x 31/31 = 1,00 kr., afrundet til 1,00 kr. (nærmeste 1,00 kr.)."),
        (2_106_000, 0, "(4.212,00 kr.) = 0,00 kr., så der er intet bidrag."),
    ],
)
def test_a_wage_that_takes_the_whole_contribution_is_told(loen: int, bidrag: int, said: str) -> None:
    """24 per cent of 17.550,00 is 4.212,00, which is 20 per cent of 21.060,00."""
    amounts = {"beregningsgrundlag_oere": 1_755_000, "loen_oere": loen, "tilskud_refusion_oere": 351_000}
    days = {"dage_paa_trin": 31, "dage": 31, "uge": date(2023, 1, 30), "maaned": JANUARY[0]}
    who = {"ydelse_id": "FLEKSBIDRAG", "kommunekode": "169", "hjemmel": RULEBOOK.fleksbidrag[0].hjemmel}
    row_ = contribution_row(amounts | days | who | {"refusion_oere": bidrag}, Navne.of(RULEBOOK), RULEBOOK)
    assert row_.formel is not None
    lines = list(contribution(row_, JANUARY[0]))
    assert f"    4.212,00 kr. - 20 procent af lønnen {said}" in lines


def test_what_lies_above_a_maximum_is_told_on_its_row(tmp_path: Path) -> None:
    """1.000 kr. at 80 per cent; at most 600 kr. of the amount gives 480, and at most 400 of that is refunded."""
    root = root_of(tmp_path)
    for name, paa, oere in (("UGELOFT", "beloeb", 60_000), ("MAX", "refusion", 40_000)):
        text = f'id = "{name}"\ngaelder_fra = 2016-01-01\nydelser = ["KTH"]\nperiode = "uge"\nbeloeb_oere = {oere}\n'
        rule_edits.append(root.rules, "lofter.toml", entry("loft", f'{text}paa = "{paa}"'))
    deliver(root, "ky", "169", "2024-02", [row("K", date(2024, 2, 5), date(2024, 2, 11), 1, Indtaegtsart="0041")])
    live(root, "2024-02", (CPR, "169", "2010-01-01"))
    run(root, "2024-02")
    (row_,) = week(root, CPR, "2024-02", "2024-02-05").raekker
    assert [(o.loft_id, o.loft_oere, o.beloeb_oere, o.refusion_oere) for o in row_.over_loft] == [
        ("UGELOFT", 60_000, 40_000, 0),
        ("MAX", 40_000, 0, 8_000),
    ]
    text = told(root, CPR, "2024-02")
    approved("over_loft", text[text.index("UGEN 2024-02-05") : text.index("UGERNE 2024-02-12")])
    ran = root.forklar(CPR, "2024-02", "--formaal", "prøve af forklaring", "--json")
    over = json.loads(ran.out)["uger"][1]["raekker"][0]["over_loft"]
    assert set(over[0]) == {"loft_id", "periode", "loft_oere", "beloeb_oere", "refusion_oere", "hjemmel", "post"}
