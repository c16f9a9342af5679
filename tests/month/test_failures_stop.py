"""The failures that must stop the month, replayed through real files; and the one that can be let pass, knowing why.

Sources: the reference notes on the real system (law.md section 12, data_formats.md section 6).
"""

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import DataRoot
from tests.kit.country import PEOPLE, SPOILED, Land, Rows, person, ready, report
from tests.kit.data_root import read_csv, write_manifest

KY, KSD = "ky", "ksd"


def by_two_routes(rows: Rows) -> Rows:
    """147 reports the sickness benefit of the people of 101 too."""
    return rows + [
        report((KSD, "147"), "SYG_BORGER", SPOILED, n, CPR=person((KSD, "101"), n), IndberetningsID=f"dobbelt{n}")
        for n in range(PEOPLE)
    ]


@pytest.fixture(scope="module")
def march(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The country after two good months, with a good third one delivered; only to be copied."""
    path = tmp_path_factory.mktemp("marts")
    land = Land.made(path)
    land.deliver()
    return ready(path, land)


def cut_off(path: Path) -> None:
    """Half of the file is gone; the manifest is the one that was sent with all of it."""
    data = path.read_bytes()
    path.write_bytes(data[: len(data) // 2])


def lied(path: Path) -> None:
    """The manifest claims an øre more than the file has."""
    write_manifest(path, read_csv(path), sum_felt0014="200000.01")


def routed_twice(path: Path) -> None:
    """The sickness benefit of 101 comes from 147 too."""
    rows = [row | {"Lb_nr": str(n)} for n, row in enumerate(by_two_routes(read_csv(path)), 1)]
    names = list(rows[0])
    path.write_text("\n".join([";".join(names), *(";".join(row[n] for n in names) for row in rows)]) + "\n", "utf-8")
    write_manifest(path, rows)


def gone(path: Path) -> None:
    """The sender has delivered nothing."""
    path.unlink()
    path.with_suffix(".manifest.json").unlink()


STOPPED: list[tuple[str, tuple[str, str], Callable[[Path], None], list[str]]] = [
    ("a file is cut off in the middle", (KY, "101"), cut_off, ["FIL-001", "antal_raekker er", "manifestet siger 20"]),
    ("a manifest lies", (KY, "101"), lied, ["FIL-001", "er 200.000,00 kr., manifestet siger 200.000,01 kr."]),
    ("a municipality's month is missing", (KSD, "155"), gone, ["FIL-006 ksd-155", "200.000,00 kr."]),
    (
        "sickness comes by two routes",
        (KSD, "147"),
        routed_twice,
        ["EI-009", "200.000,00 kr.", "SYG_BORGER fra 29101000 og 29147000"],
    ),
]


@pytest.mark.parametrize(
    ("sender", "harm", "words"), [case[1:] for case in STOPPED], ids=[case[0].replace(" ", "_") for case in STOPPED]
)
def test_the_month_stops_in_one_line_with_the_money_and_leaves_no_file(
    march: DataRoot, tmp_path: Path, sender: tuple[str, str], harm: Callable[[Path], None], words: list[str]
) -> None:
    root = march.copy(tmp_path)
    harm(Land(root.path).path(sender, SPOILED))
    ran = root.refusion("koer", SPOILED)
    assert (ran.code, ran.err.count("\n")) == (1, 1)
    assert [word for word in words if word not in ran.err] == []
    assert root.files(SPOILED) == {}
    assert root.rows("SELECT max(koersel) FROM opgoerelse.koersel") == [(51,)]


def test_a_sender_that_is_missing_can_be_let_pass_with_a_reason_that_is_kept_and_told(
    march: DataRoot, tmp_path: Path
) -> None:
    root = march.copy(tmp_path)
    gone(Land(root.path).path((KSD, "155"), SPOILED))
    accept = ("koer", SPOILED, "--accepter", "FIL-006:ksd-155")
    for reason in ("", "  ", "det er 610451" + "2470"):
        refused = root.refusion(*accept, "--begrundelse", reason)
        assert (refused.code, refused.err.count("\n"), "begrundelse" in refused.err) == (1, 1, True)
    assert root.refusion("koer", SPOILED, "--accepter", "EI-009:ksd-155", "--begrundelse", "nej").code == 1
    ran = root.refusion(*accept, "--begrundelse", "Kommunen leverer i maj")
    assert (ran.code, ran.err) == (0, "")
    assert "Accepteret: FIL-006 ksd-155: Kommunen leverer i maj" in ran.out
    kept = root.rows("SELECT regel, genstand, begrundelse FROM kontrol.accept")
    assert kept == [("FIL-006", "ksd-155", "Kommunen leverer i maj")]
    advice = [data.decode() for name, data in root.files(SPOILED).items() if "-advisering-155-" in name]
    assert "ksd-155 (accepteret: Kommunen leverer i maj)" in advice[0]
    assert ";200000,00;" in advice[0]
