"""A municipality held back gets no files, the others theirs; together the parts are one run of all, in every order."""

import random
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.outgoing import show, write_files
from refusion_assets.definitions import KRITISK_UGE, OPGOER, build_defs, settle_tags
from refusion_assets.domain.calendar import month_of
from refusion_assets.place import Place
from refusion_assets.runs.month import stretches
from tests.conftest import DataRoot, Example

FIRST, LAST = "2024-02", "2024-04"
WHY = "mangler svar fra kommunen"
TABLES = (
    *("opgoerelse.postering", "opgoerelse.koersel", "opgoerelse.kommune", "opgoerelse.advis", "opgoerelse.kendt_fil"),
    *("opgoerelse.tilbageholdt", "opgoerelse.fil_grundlag", "refusion.aendret", "kontrol.accept"),
)
CHECKED = """SELECT kontrol, bestaaet, antal, beloeb_oere, tekst FROM kontrol.resultat WHERE maaned = '{}-01'
    AND tabel LIKE 'opgoerelse.%' ORDER BY 1"""


def kept(root: DataRoot, month: str) -> dict[str, Any]:
    """What a run leaves: files, tables of the ledger, and what the checks of the ledger said."""
    with root.place.warehouse.open() as session:
        tables = {table: session.frame(f"SELECT * FROM {table} ORDER BY ALL").rows() for table in TABLES}
        checks = session.frame(CHECKED.format(month)).rows()
    return {"files": root.files(month), "checks": checks, **tables}


def named(root: DataRoot, month: str) -> set[str]:
    """The municipalities that have files of a run; 000 is nobody."""
    return {name.split("-")[3] for name in root.files(month) if name.endswith(".csv")}


@pytest.fixture(scope="module")
def beginning(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The example with its first two runs made: 2024-04 has corrections of months before."""
    root = DataRoot(tmp_path_factory.mktemp("begyndt"))
    shutil.copytree(example.root.path / "raw", root.path / "raw")
    for month in (FIRST, "2024-03"):
        root.run(month)
    return root


@pytest.fixture(scope="module")
def whole(beginning: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Those with 2024-04 run for everybody by the command."""
    root = beginning.copy(tmp_path_factory.mktemp("hele"))
    root.koer(LAST)
    return root


@pytest.fixture(scope="module")
def held(beginning: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Those with 2024-04 run by the command, without 169 and 860."""
    root = beginning.copy(tmp_path_factory.mktemp("tilbage"))
    ran = root.refusion("koer", LAST, "--undtagen", "860, 169", "--begrundelse", WHY)
    assert (ran.code, ran.err) == (0, ""), ran.err
    for kode in ("169", "860"):
        line = next(line for line in ran.out.splitlines() if f"Holdt tilbage: {kode}" in line)
        assert WHY in line
        assert f"refusion opgoer {LAST} --kommuner {kode}" in line
    assert "96 kommuner" in ran.out
    return root


def test_the_command_holds_municipalities_back_and_the_others_get_what_a_run_of_all_gives_them(
    held: DataRoot, whole: DataRoot
) -> None:
    assert named(held, LAST) == {*held.place.rules.koder, "000"} - {"169", "860"}
    theirs, all_of_them = held.files(LAST), whole.files(LAST)
    assert {name: all_of_them[name] for name in theirs if name != "SHA256SUMS"} == {
        name: data for name, data in theirs.items() if name != "SHA256SUMS"
    }
    assert theirs["SHA256SUMS"].count(b"\n") == len(theirs) - 1
    assert held.rows("SELECT count(*) FROM opgoerelse.postering WHERE koersel = 52 AND kommunekode = '169'") == [(0,)]
    assert held.rows("SELECT bool_and(bestaaet) FROM kontrol.resultat WHERE maaned = '2024-04-01' AND blokerer") == [
        (True,)
    ]


def test_settling_the_last_one_by_the_command_gives_byte_for_byte_what_one_run_of_all_gives(
    held: DataRoot, whole: DataRoot, tmp_path: Path
) -> None:
    root = held.copy(tmp_path)
    for kode, left in (("860", "169"), ("169", None)):
        ran = root.refusion("opgoer", LAST, "--kommuner", kode)
        assert (ran.code, ran.err) == (0, ""), ran.err
        assert ("Holdt tilbage" in ran.out, f"Holdt tilbage: {left}" in ran.out) == (left is not None,) * 2
    assert kept(root, LAST) == kept(whole, LAST)
    again = root.refusion("opgoer", LAST, "--kommuner", "169")
    assert (again.code, "allerede opgjort" in again.out) == (0, True)
    assert root.refusion("luk", LAST, "--ja").code == 0


def test_a_run_of_all_after_some_were_held_back_is_as_if_they_never_were(
    held: DataRoot, whole: DataRoot, tmp_path: Path
) -> None:
    root = held.copy(tmp_path)
    root.koer(LAST)
    assert kept(root, LAST) == kept(whole, LAST)


def test_a_settled_month_run_again_without_one_takes_its_files_and_rows_away(
    held: DataRoot, whole: DataRoot, tmp_path: Path
) -> None:
    root = whole.copy(tmp_path)
    ran = root.refusion("koer", LAST, "--undtagen", "169,860", "--begrundelse", WHY)
    assert (ran.code, ran.err) == (0, "")
    assert kept(root, LAST) == kept(held, LAST)


def test_the_next_month_and_closing_say_who_is_missing_and_which_command_settles_them(held: DataRoot) -> None:
    for command in (("koer", "2024-05"), ("luk", LAST)):
        ran = held.refusion(*command)
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert f"{LAST} mangler at blive opgjort for 169, 860" in ran.err
        assert f"refusion opgoer {LAST} --kommuner 169,860" in ran.err


def test_a_run_with_somebody_held_back_is_made_again_as_it_was_sent(held: DataRoot, tmp_path: Path) -> None:
    ran = held.copy(tmp_path).refusion("genskab", LAST)
    assert (ran.code, ran.err) == (0, "")
    assert "byte for byte" in ran.out


@pytest.mark.parametrize(
    ("command", "why"),
    [
        (("koer", LAST, "--undtagen", "169"), "begrundelse"),
        (("koer", LAST, "--undtagen", "169", "--begrundelse", "ring til 610190-1111"), "personnummer"),
        (("koer", LAST, "--undtagen", "999", "--begrundelse", WHY), "999 er ikke en kommunekode"),
        (("koer", LAST, "--undtagen", "1O1", "--begrundelse", WHY), "er ikke en kommunekode"),
        (("koer", f"2024-03..{LAST}", "--undtagen", "169", "--begrundelse", WHY), "en måned ad gangen"),
        (("opgoer", "2024-03", "--kommuner", "169"), "ikke den sidste kørsel"),
        (("opgoer", LAST, "--kommuner", "999"), "999 er ikke en kommunekode"),
        (("opgoer", LAST, "--kommuner", ""), "mindst een kommune"),
    ],
)
def test_what_cannot_be_held_back_or_settled_is_refused_before_anything_is_done(
    held: DataRoot, command: tuple[str, ...], why: str
) -> None:
    before = kept(held, LAST)
    ran = held.refusion(*command)
    assert ran.code in (1, 2)
    assert why in ran.err
    assert "6101901111" not in ran.err.replace("-", "")
    assert kept(held, LAST) == before


def in_parts(root: DataRoot, month: str, parts: Sequence[Sequence[str]]) -> None:
    """A calculated month settled and shown part by part."""
    for part in parts:
        with root.place.warehouse.open() as session:
            settle_month(session, root.place, month_of(month), part)
            outgoing = write_files(session, root.place, month_of(month))
        show(root.place, month_of(month), outgoing)


@pytest.mark.parametrize("seed", [1, 2])
def test_municipalities_settled_in_any_parts_and_order_are_one_run_of_all(
    seed: int, whole: DataRoot, beginning: DataRoot, tmp_path: Path
) -> None:
    chance = random.Random(seed)  # noqa: S311
    root = (whole if seed % 2 else beginning).copy(tmp_path)
    koder = root.place.rules.koder.copy()
    chance.shuffle(koder)
    cuts = sorted(chance.sample(range(1, len(koder)), 1 + seed))
    root.calculate(LAST)
    in_parts(root, LAST, [koder[a:b] for a, b in zip([0, *cuts], [*cuts, len(koder)], strict=True)])
    ours, theirs = kept(root, LAST), kept(whole, LAST)
    assert {name: ours[name] for name in ours if name != "checks"} == {
        name: theirs[name] for name in theirs if name != "checks"
    }


def launched(place: Place, instance: dg.DagsterInstance, job: str, *parts: Sequence[str], month: str) -> None:
    """A job of the user interface over some stretches of cells of a month, a run each; an error if one fails."""
    defs = build_defs(place)
    for part in parts or ([],):
        tags = settle_tags(list(part), month) if part else {}
        done = defs.resolve_job_def(job).execute_in_process(
            instance=instance, tags=tags, partition_key=None if part else month, raise_on_error=False
        )
        failed = [event.message for event in done.all_events if event.is_failure]
        said = [f"{a.check_name}: {a.description}" for a in done.get_asset_check_evaluations() if not a.passed]
        assert done.success, (failed, said)


@pytest.fixture(scope="module")
def calculated(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The example with its first month calculated by the job of the user interface, and nobody settled."""
    root = DataRoot(tmp_path_factory.mktemp("beregnet"))
    shutil.copytree(example.root.path / "raw", root.path / "raw")
    with dg.DagsterInstance.ephemeral() as instance:
        launched(root.place, instance, KRITISK_UGE, month=FIRST)
    return root


@pytest.mark.parametrize("first", [["101", "147"], None], ids=["two cells", "all but one"])
def test_cells_chosen_in_the_user_interface_of_a_fresh_root_are_settled_alone_and_later_all(
    first: list[str] | None, example: Example, calculated: DataRoot, tmp_path: Path
) -> None:
    root = calculated.copy(tmp_path)
    koder = root.place.rules.koder
    parts = [first] if first else stretches(koder, [kode for kode in koder if kode != "706"])
    with dg.DagsterInstance.ephemeral() as instance:
        launched(root.place, instance, OPGOER, *parts, month=FIRST)
        chosen = [kode for part in parts for kode in part]
        assert named(root, FIRST) == {*chosen, "000"}
        rest = stretches(koder, [kode for kode in koder if kode not in chosen])
        launched(root.place, instance, OPGOER, *rest, month=FIRST)
        assert root.files(FIRST) == example.files[FIRST]
        launched(root.place, instance, OPGOER, ["706"], month=FIRST)  # a cell of a settled month
        assert root.files(FIRST) == example.files[FIRST]
