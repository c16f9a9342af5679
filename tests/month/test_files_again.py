"""Files that were withdrawn when a month was run again are used again where they would come out the same, else not."""

from collections.abc import Callable
from pathlib import Path

import pytest

from refusion_assets.assets.gate import gate, withdraw
from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.outgoing import _written, filer_er_kladden, show, write_files
from refusion_assets.domain.calendar import month_of, next_month
from refusion_assets.domain.findings.outcome import Outcome
from refusion_assets.domain.stop import Stop
from refusion_assets.files import outgoing as files
from tests.conftest import DataRoot, Example
from tests.kit.senders import Senders, adp, kth
from tests.kit.timeline import CPR
from tests.month.test_histories import few_kommuner

MONTH = "2024-04"
CHANGE_OF_169 = """UPDATE opgoerelse.postering SET genoptjeningstaeller = 51 WHERE rowid = (SELECT min(rowid)
    FROM opgoerelse.postering WHERE koersel = 52 AND kommunekode = '169' AND trin IS NOT NULL)"""
Made = Callable[[DataRoot], set[str]]


@pytest.fixture
def root(example: Example, tmp_path: Path) -> DataRoot:
    """The example, run, and its last month's files withdrawn."""
    root = example.root.copy(tmp_path)
    withdraw(root.place, month_of(MONTH))
    assert root.files(MONTH) == {}
    return root


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A root of few municipalities, run; only to be copied."""
    root = few_kommuner(tmp_path_factory.mktemp("faa"))
    senders = Senders(root.path)
    senders.deliver(MONTH, [kth("a"), adp("b")])
    senders.live(MONTH, (CPR, "169", "2010-01-01", ""))
    root.run(MONTH)
    return root


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    """Writes the month's files, and gives the names of those of the ledger that were made anew."""
    written: list[str] = []

    def write(file: tuple[Path, object, object]) -> None:
        written.append(file[0].name)
        plain(file)  # type: ignore[arg-type]

    plain = files._write
    monkeypatch.setattr(files, "_write", write)

    def make(root: DataRoot) -> set[str]:
        written.clear()
        with root.place.warehouse.open() as session:
            outgoing = write_files(session, root.place, month_of(MONTH))
        show(root.place, month_of(MONTH), outgoing)
        return {name for name in written if f"-{files.ADVISERING}-" not in name}

    return make


def of(root: DataRoot, *koder: str) -> set[str]:
    """The names of the files of the ledger of some municipalities."""
    kinds = files.OF_THE_LEDGER
    return {files.file_name(kind, kode, month_of(MONTH), root.place.rules) for kind in kinds for kode in koder}


def test_where_nothing_has_changed_no_file_of_the_ledger_is_made_again(
    example: Example, root: DataRoot, made: Made
) -> None:
    assert made(root) == set()
    assert root.files(MONTH) == example.files[MONTH]


def test_only_the_municipalities_whose_ledger_has_changed_get_new_files(
    example: Example, root: DataRoot, made: Made
) -> None:
    with root.place.warehouse.open() as session:
        session.run(CHANGE_OF_169)
    assert made(root) == of(root, "169")
    before, now = example.files[MONTH], root.files(MONTH)
    told = files.file_name("beregning", "169", month_of(MONTH), root.place.rules)
    assert {name for name in now if now[name] != before[name]} == {files.SUMS, told}


def test_files_that_are_made_are_read_back_and_one_that_is_not_there_is_found(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        session.run(CHANGE_OF_169)
        outgoing = write_files(session, root.place, month_of(MONTH))
        assert filer_er_kladden(session, outgoing, 52, root.place.rules).bestaaet
        for kind, rest in ((files.BEREGNINGSFIL, 1), (files.OPGOERELSESFIL, 2)):
            (outgoing.ready / files.file_name(kind, "169", month_of(MONTH), root.place.rules)).unlink()
            found = filer_er_kladden(session, outgoing, 52, root.place.rules)
            assert (found.bestaaet, found.antal) == (False, rest)
            assert "for 169 er" in found.tekst


def test_files_that_are_found_wrong_are_not_used_again(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    kept = "SELECT count(*) > 0 FROM opgoerelse.fil_grundlag"
    assert root.rows(kept) == [(True,)]
    wrong = Outcome(bestaaet=False, tekst="forkert")
    monkeypatch.setattr("refusion_assets.assets.outgoing.filer_er_kladden", lambda *_: wrong)
    _written(root.place, month_of(MONTH), root.place.rules.koder)
    assert root.rows(kept) == [(False,)]


def test_what_was_changed_or_lost_since_it_was_sent_is_made_again(example: Example, root: DataRoot, made: Made) -> None:
    aside = root.place.withdrawn / MONTH
    changed, lost = (min(of(root, kode)) for kode in ("101", "147"))
    (aside / changed).write_bytes((aside / changed).read_bytes() + b"\n")
    (aside / lost).unlink()
    assert made(root) == of(root, "101", "147")
    assert root.files(MONTH) == example.files[MONTH]


@pytest.mark.parametrize("other", ["the sums are others", "the program is another", "the rules are others"])
def test_files_made_in_another_way_are_all_made_again(
    other: str, small: DataRoot, tmp_path: Path, made: Made, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = small.copy(tmp_path)
    withdraw(root.place, month_of(MONTH))
    if other == "the sums are others":
        sums = root.place.withdrawn / MONTH / files.SUMS
        sums.write_text(sums.read_text("utf-8") + "\n", "utf-8")
    elif other == "the program is another":
        monkeypatch.setattr("refusion_assets.assets.outgoing.program", lambda: "another")
    else:
        with root.place.warehouse.open() as session:
            session.run(
                "UPDATE opgoerelse.fil_grundlag SET grundlag = replace(grundlag, $rules, 'andre')",
                rules=root.place.rules.version,
            )
    assert made(root) == of(root, *root.place.rules.koder)
    assert root.files(MONTH) == small.files(MONTH)


def test_where_few_municipalities_have_not_changed_no_file_is_made_again(
    small: DataRoot, tmp_path: Path, made: Made
) -> None:
    root = small.copy(tmp_path)
    withdraw(root.place, month_of(MONTH))
    assert made(root) == set()
    assert root.files(MONTH) == small.files(MONTH) != {}


def test_a_month_run_again_by_the_command_shows_the_same_files_and_leaves_none_aside(
    example: Example, root: DataRoot
) -> None:
    root.koer(MONTH)
    assert root.files(MONTH) == example.files[MONTH]
    assert not root.place.withdrawn.exists()


def test_a_run_whose_files_were_touched_is_not_closed_and_no_part_of_it_is_signed_again(
    example: Example, tmp_path: Path
) -> None:
    root = example.root.copy(tmp_path)
    folder = root.path / "udgaaende" / MONTH
    changed, gone, stranger = (folder / name for name in (*sorted(of(root, "101"))[:2], "fremmed.csv"))
    for path, spoil in (
        (changed, lambda: changed.write_text("intet\n")),
        (gone, gone.unlink),
        (stranger, lambda: stranger.write_text("intet\n")),
    ):
        before = path.read_bytes() if path.exists() else None
        spoil()
        ran = root.refusion("luk", MONTH, "--ja")
        assert (ran.code, "er ikke kørslens" in ran.err) == (1, True)
        path.write_bytes(before) if before is not None else path.unlink()
    assert root.refusion("luk", MONTH, "--ja").code == 0


def test_a_run_that_was_killed_when_its_files_were_put_in_sight_must_be_run_again(root: DataRoot) -> None:
    first, koder = month_of(MONTH), root.place.rules.koder
    with root.place.warehouse.open() as session:
        settle_month(session, root.place, first, koder)
        outgoing = write_files(session, root.place, first)
    outgoing.show()
    with root.place.warehouse.open() as session, pytest.raises(Stop, match="blev standset"):
        gate(session, root.place, next_month(first))
