"""The files that a municipality fetches: a folder of its own, that people and other programs can read as they are."""

import csv
import hashlib
import io
from pathlib import Path

import pytest

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Stop
from refusion_assets.files.outgoing import BOM, SUMS, copied
from tests.conftest import DataRoot, Example

MONTH = "2024-04"
KOM = "169"


@pytest.fixture(scope="module")
def run(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The example with a follow-up for one municipality beside its last run."""
    root = example.root.copy(tmp_path_factory.mktemp("hentet"))
    folder = root.path / "udgaaende" / MONTH
    (folder / "insight").mkdir()
    for name in (
        f"yr-ydelsesrefusion-opfoelgning-{KOM}-0052-x.html",
        f"insight/yr-ydelsesrefusion-insight-{KOM}-x.csv",
    ):
        (folder / name).write_text("æøå", encoding="utf-8")
    return root


def own(root: DataRoot) -> dict[str, bytes]:
    """The files of the run of one municipality, by name."""
    return {name: data for name, data in root.files(MONTH).items() if name.split("-")[3:4] == [KOM]}


def test_a_municipality_gets_a_folder_of_its_own_with_the_bytes_that_were_sent(run: DataRoot, tmp_path: Path) -> None:
    folders = copied(run.place, month_of(MONTH), [KOM, "101"], tmp_path)
    assert folders == {kode: tmp_path / kode / MONTH for kode in (KOM, "101")}
    names = {path.name for path in folders[KOM].iterdir()}
    assert names == {*own(run), f"yr-ydelsesrefusion-opfoelgning-{KOM}-0052-x.html", "insight", SUMS}
    assert {name: (folders[KOM] / name).read_bytes() for name in own(run)} == own(run)
    assert sorted(path.name for path in tmp_path.rglob(".*")) == []


@pytest.mark.parametrize("bom", [False, True])
def test_the_folder_s_own_sums_are_those_of_its_files(run: DataRoot, tmp_path: Path, bom: bool) -> None:
    folder = copied(run.place, month_of(MONTH), [KOM], tmp_path, bom=bom)[KOM]
    lines = [line.split("  ") for line in (folder / SUMS).read_text("utf-8").splitlines()]
    assert len(lines) == len(own(run)) + 2
    assert all(hashlib.sha256((folder / name).read_bytes()).hexdigest() == summed for summed, name in lines)


def test_a_byte_order_mark_is_put_before_the_files_and_changes_nothing_else(run: DataRoot, tmp_path: Path) -> None:
    folder = copied(run.place, month_of(MONTH), [KOM], tmp_path, bom=True)[KOM]
    for name, data in own(run).items():
        marked = (folder / name).read_bytes()
        assert marked == BOM + data
        plain, read = (list(csv.reader(io.StringIO(b.decode("utf-8-sig")), delimiter=";")) for b in (data, marked))
        assert read == plain


def test_a_folder_from_before_is_replaced_whole(run: DataRoot, tmp_path: Path) -> None:
    folder = copied(run.place, month_of(MONTH), [KOM], tmp_path)[KOM]
    (folder / "gammel.csv").write_text("x")
    copied(run.place, month_of(MONTH), [KOM], tmp_path)
    assert not (folder / "gammel.csv").exists()


def test_a_file_that_was_changed_or_lost_since_it_was_sent_is_refused_and_the_folder_from_before_stands(
    run: DataRoot, tmp_path: Path
) -> None:
    root = run.copy(tmp_path)
    target = tmp_path / "hent"
    before = copied(root.place, month_of(MONTH), [KOM], target)[KOM]
    path = root.path / "udgaaende" / MONTH / next(iter(own(root)))
    path.write_bytes(path.read_bytes() + b"\n")
    with pytest.raises(Stop, match="er ændret, siden kørslen sendte den"):
        copied(root.place, month_of(MONTH), [KOM], target)
    path.unlink()
    with pytest.raises(Stop, match="mangler i udgaaende"):
        copied(root.place, month_of(MONTH), [KOM], target)
    assert (before / SUMS).exists()


def test_a_municipality_or_a_run_without_files_and_a_folder_among_the_runs_are_refused(
    run: DataRoot, tmp_path: Path
) -> None:
    with pytest.raises(Stop, match="999 har ingen filer i kørsel 2024-04"):
        copied(run.place, month_of(MONTH), ["999"], tmp_path)
    with pytest.raises(Stop, match="kørsel 2030-01 har ingen filer"):
        copied(run.place, month_of("2030-01"), [KOM], tmp_path)
    with pytest.raises(Stop, match="vælg en anden mappe"):
        copied(run.place, month_of(MONTH), [KOM], run.place.outgoing / "x")


def test_the_reader_of_a_municipality_takes_a_folder_of_its_own_as_it_takes_the_real_one(
    run: DataRoot, tmp_path: Path
) -> None:
    """Randers lists the folder, reads ten columns of each calculation file, drops equal rows, and sums."""
    kroner = ("Indberetning udbetalingsbeløb", "Beregnet udbetalingsbeløb", "Refusionsbeløb", "Medfinansieringsbeløb")
    taken = (
        "Uge", "CPR nummer", "Ydelse", "Finansiering Kommunenavn", "Refusionssats", "Medfinansieringssats", *kroner
    )  # fmt: skip
    koder = [kode for (kode,) in run.rows("SELECT DISTINCT kommunekode FROM opgoerelse.postering WHERE koersel = 52")]
    folders = copied(run.place, month_of(MONTH), koder, tmp_path)
    sums = {}
    for kode, folder in folders.items():
        rows = set()
        for path in folder.glob("*.csv"):
            if "beregning" in path.name:
                with path.open(encoding="utf-8", newline="") as file:
                    rows |= {tuple(row[name] for name in taken) for row in csv.DictReader(file, delimiter=";")}
        money = [[int(row[taken.index(name)].replace(",", "")) for row in rows] for name in kroner[2:]]
        sums[kode] = tuple(map(sum, money))
    assert sums == {
        kode: oere
        for kode, *oere_ in run.rows(
            """SELECT kommunekode, sum(refusion_oere)::BIGINT, sum(medfinansiering_oere)::BIGINT
            FROM opgoerelse.postering WHERE koersel = 52 GROUP BY 1"""
        )
        for oere in [tuple(oere_)]
    }


def test_the_command_gives_every_municipality_with_files_a_folder_and_sends_nothing(
    run: DataRoot, tmp_path: Path
) -> None:
    ran = run.refusion("lever", MONTH, "--til", str(tmp_path), "--bom")
    assert (ran.code, ran.err) == (0, "")
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(run.place.rules.koder)
    [booked] = (tmp_path / KOM / MONTH).glob("*-bogfoering-*")
    assert booked.read_bytes().startswith(BOM)
    assert run.refusion("lever", MONTH, "--bom").code == 2
    assert run.rows("SELECT count(*) FROM levering.forsendelse") == [(0,)]
