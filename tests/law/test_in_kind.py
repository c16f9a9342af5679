"""A refund of help in kind, units at a price, on a counter of its own: rules alone, and both calculations agree."""

import shutil
from datetime import date
from pathlib import Path

from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.rulebook.load import load
from tests.kit.data_root import RULES, calculate
from tests.kit.other_counters import append, entry, staircase
from tests.kit.timeline import delivered, report

PERSON = "6101010001"
PRICE, UNITS = 25_000, {date(2024, 1, 8): 3, date(2024, 1, 15): 1, date(2024, 2, 5): 2}
CITED = "opdigtet;opdigtet;2026-01-01;opdigtet"


def test_units_at_a_price_are_refunded_by_a_counter_of_their_own_without_any_python(tmp_path: Path) -> None:
    """Half of the first two weeks with help, a fourth from the third; the sender reports units times price.

    Expected by hand: 3 x 250 and 1 x 250 kr. at 50 per cent, 2 x 250 kr. at 25 per cent.
    """
    folder = Path(shutil.copytree(RULES, tmp_path / "regler"))
    append(
        folder, "ydelser.csv", f"HJMID;2024-01-01;Hjælpemidler;;-;refusion;trappe hj;0014;2024-01-01;5.57.73;{CITED}\n"
    )
    append(folder, "konti.csv", f"urn:oio:kommune:konto:557731099;HJMID;ky;0115;1;06;0041;2024-01-01;;{CITED}\n")
    text = 'id = "hj"\ngaelder_fra = 2024-01-01\nydelser = ["HJMID"]\nfri_uge = "uden_ydelserne"'
    append(folder, "taellere.toml", entry("taeller", text))
    append(folder, "trapper.toml", staircase("hj", "2024-01-01", {1: 50, 3: 25}, 'taeller = "hj"'))
    rules = load(folder)
    [konto] = [one for one in rules.konti if one.ydelse_id == "HJMID"]
    rows = [
        report(konto, "0014", PERSON, day, day, units * PRICE) | {"IndberetningsID": f"I{number}"}
        for number, (day, units) in enumerate(UNITS.items())
    ]
    bopael = [{"CPR": PERSON, "Kommunekode": "101", "Bopael_start": "2000-01-01", "Bopael_slut": ""}]
    files = delivered(rows, "2024-02")
    run = calculate(files, bopael, "2024-02", rules)
    found = {uge: (r.beloeb, r.procent, r.refusion, r.n) for (uge, *_), r in run.state.items()}
    assert found == {
        date(2024, 1, 8): (75_000, 50, 37_500, 1),
        date(2024, 1, 15): (25_000, 50, 12_500, 2),
        date(2024, 2, 5): (50_000, 25, 12_500, 3),
    }
    assert run.state == plain_state(files, bopael, "2024-02", rules)
