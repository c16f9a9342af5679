"""`refusion status` tells who has delivered and what stands of the last runs, and changes nothing."""

import shutil
from pathlib import Path

import pytest

from tests.conftest import DataRoot, Example, Ran


def bytes_of(folder: Path) -> dict[str, bytes | None]:
    """Everything in a folder: the bytes of files, nothing for folders."""
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


@pytest.fixture
def root(example: Example, tmp_path: Path) -> DataRoot:
    """The example after its three runs, 169 held back in the last, and one of its months delivered in part."""
    root = example.root.copy(tmp_path)
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM opgoerelse.kommune WHERE koersel = 52 AND kommunekode = '169'")
        session.run("INSERT INTO opgoerelse.tilbageholdt VALUES (DATE '2024-04-01', '169', 'mangler svar')")
    shutil.rmtree(root.path / "raw" / "akasse" / "2024-04")
    (root.path / "raw" / "bopael" / "2024-05").mkdir()
    (root.path / "raw" / "bopael" / "2024-05" / "bopael-2024.csv").touch()
    return root


def test_it_tells_each_sender_the_newest_register_that_fits_and_who_is_held_back(root: DataRoot) -> None:
    ran = root.refusion("status", "2024-04")
    lines = [line.strip() for line in ran.out.splitlines()]
    assert (ran.code, ran.err) == (0, "")
    assert lines[0] == "Leverancer for 2024-04: 16 af 18 afsendere har leveret, 2 mangler stadig."
    for line, sender in zip(lines[1:3], ("akasse-20100001", "akasse-20100002"), strict=True):
        assert line.startswith(f"sen      {sender}: plejer ")
    assert any(line.startswith("leveret  ky-169: 1 fil, ") and " kr." in line for line in lines)
    assert "bopael: seneste er 2024-04" in lines
    assert any(line.startswith("Kørsel 2024-04: åben, 97 kommuner opgjort") for line in lines)
    [held] = [line for line in lines if line.startswith("Holdt tilbage")]
    for words in ("169 Høje-Taastrup", "mangler svar", "refusion opgoer 2024-04 --kommuner 169"):
        assert words in held


def test_a_misnamed_register_is_not_told_as_the_newest(root: DataRoot) -> None:
    assert "bopael: seneste er 2024-04" in root.refusion("status", "2024-05").out


def test_it_changes_no_byte_and_makes_no_folder(root: DataRoot, tmp_path: Path) -> None:
    before = bytes_of(root.path)
    assert root.refusion("status").code == 0
    assert bytes_of(root.path) == before
    nowhere = DataRoot(tmp_path / "findes ikke")
    ran = nowhere.refusion("status", "2024-02")
    assert (ran.code, ran.out) == (1, "")
    assert f"dataroden {nowhere.path} findes ikke" in ran.err
    assert not nowhere.path.exists()


def test_a_warehouse_of_an_earlier_program_is_told_with_the_remedy(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        session.connection.execute("ALTER TABLE opgoerelse.kommune DROP raekker")
    ran = root.refusion("status")
    assert ran.code == 1
    assert "tidligere udgave af programmet (opgoerelse.kommune); flyt mappen lager" in ran.err


def test_status_of_no_delivery_is_no_line_of_json_and_of_no_month_a_reason(root: DataRoot) -> None:
    for folder in ("lager", "raw"):
        shutil.rmtree(root.path / folder)
    (root.path / "raw").mkdir()
    assert root.refusion("status", "--json") == Ran(0, "", "")
    for month in ("0001-01", "9999-11", "2024-01..2199-01"):
        ran = root.refusion("status", month)
        assert (ran.code, "er måneden rigtig?" in ran.err) == (1, True)
