"""A data root is backed up while it is in use, deleted, and restored as it was; the next month is the same."""

import itertools
import os
import pkgutil
import re
import shutil
from pathlib import Path
from typing import Any
from unittest import mock

import pyrage
import pytest

from refusion_assets.files.delivered import fingerprint
from refusion_assets.runs import backup
from refusion_assets.store import key as keys
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot, Ran
from tests.kit.data_root import read_csv, write_manifest

MONTH, NEXT = "2024-04", "2024-05"
PHRASE = "syv-grønne-æbler-på-et-træ"
CPR = re.compile(rb"(?<!\d)(6[1-9]|[789]\d)(0[1-9]|1[0-2])\d{6}(?!\d)")


LOCK = "en lang laas til en proeve"


def plain(root: Path, citizens: list[tuple[str]]) -> list[str]:
    """The files that hold a CPR number or unencrypted Parquet, but for those that others deliver, or are to read."""
    ours = [path for path in root.rglob("*") if path.relative_to(root).parts[0] not in ("raw", "udgaaende")]
    every = [(path.name, path.read_bytes()) for path in ours if path.is_file()]
    numbers = [number.encode() for (number,) in citizens]
    return [name for name, said in every if said[:4] == b"PAR1" or any(number in said for number in numbers)]


@pytest.fixture
def root(small_example: DataRoot, tmp_path: Path) -> DataRoot:
    return small_example.copy(tmp_path)


@pytest.fixture
def key(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A private key in a file that the environment names; its public one."""
    made = pyrage.x25519.Identity.generate()
    path = tmp_path / "noegle"
    path.write_text(f"# kopiens egen\n{made}\n", "ascii")
    path.chmod(0o600)
    monkeypatch.setenv("REFUSION_KOPI_NOEGLE", str(path))
    return str(made.to_public())


def next_month(root: DataRoot) -> None:
    """The last month delivered once more, as the next one."""
    for path in sorted(root.path.glob(f"raw/*/{MONTH}/*.csv")):
        fresh = path.parent.with_name(NEXT) / path.name.replace("202404", "202405").replace("-0004.", "-0005.")
        fresh.parent.mkdir(exist_ok=True)
        fresh.write_text(path.read_text("utf-8").replace(MONTH, NEXT), "utf-8")
        write_manifest(fresh, read_csv(fresh))


def copied(root: DataRoot, til: Path, key: str, *more: str) -> str:
    ran = root.refusion("sikkerhedskopi", str(til), "--modtager", key, *more)
    assert (ran.code, ran.err) == (0, ""), ran.err
    return ran.out


def restored(root: DataRoot, fra: Path, place: Path, *more: str) -> tuple[DataRoot, Ran]:
    made = DataRoot(place, root.rules)
    return made, made.refusion("genopret", str(fra), *more)


def test_a_deleted_root_comes_back_whole_and_its_next_month_is_that_of_an_undisturbed_twin(
    root: DataRoot, tmp_path: Path, key: str
) -> None:
    (root.path / "opslag").mkdir()
    (root.path / "opslag" / "opslag.jsonl").write_text('{"opslag": "forklar"}\n', "utf-8")
    (root.path / "alarm.toml").write_text("# ingen\n", "utf-8")
    twin = DataRoot(Path(shutil.copytree(root.path, tmp_path / "tvilling", symlinks=True)), root.rules)
    copied(root, tmp_path / "kopi", key)
    shutil.rmtree(root.path)
    made, ran = restored(root, tmp_path / "kopi", root.path)
    assert ran.code == 0, ran.err
    assert ran.out.count("i orden") == 4
    for folder in ("raw", "udgaaende", "oversigt", "opslag", "regler"):
        theirs = {p.relative_to(twin.path): p.read_bytes() for p in twin.path.glob(f"{folder}/**/*") if p.is_file()}
        mine = {p.relative_to(made.path): p.read_bytes() for p in made.path.glob(f"{folder}/**/*") if p.is_file()}
        assert mine == theirs, folder
    assert (made.path / "alarm.toml").exists()
    assert made.ledger() == twin.ledger()
    kept = [path for folder in ("raw", "udgaaende", "regler") for path in (made.path / folder).rglob("*")]
    assert {path.stat().st_mode & 0o077 for path in kept} == {0}
    for one in (made, twin):
        next_month(one)
        one.run(NEXT)
    assert made.files(NEXT) == twin.files(NEXT) != {}
    assert made.refusion("efterse").code == 0


def test_a_backup_holds_nothing_plain_and_the_next_one_writes_only_what_is_new(
    root: DataRoot, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    til, read = tmp_path / "kopi", []
    copied(root, til, key)
    every = [path for path in til.rglob("*") if path.is_file()]
    assert [path for path in every if CPR.search(path.read_bytes()) and path.suffix != ".indhold"] == []
    assert {path.stat().st_mode & 0o077 for path in every if path.suffix == ".age"} == {0}
    assert ", 0 nye" in copied(root, til, key)
    (root.path / "raw" / "ny.txt").write_text("ny\n", "utf-8")
    assert ", 1 nye" in copied(root, til, key)
    with monkeypatch.context() as patched:
        patched.setattr(backup, "fingerprint", lambda path: read.append(path) or fingerprint(path))
        copied(root, til, key)
    assert [path for path in read if path.suffix == ".parquet"] == []


def test_only_the_last_backups_are_kept_and_an_earlier_one_can_be_restored(
    root: DataRoot, tmp_path: Path, key: str
) -> None:
    til, extra = tmp_path / "kopi", root.path / "raw" / "ny.txt"
    for text in ("en", "to", "tre"):
        extra.write_text(f"{text}\n", "utf-8")
        copied(root, til, key)
    made, ran = restored(root, til, tmp_path / "to", "--nr", "2")
    assert (ran.code, (made.path / "raw" / "ny.txt").read_text("utf-8")) == (0, "to\n")
    assert "1 gamle dele" not in copied(root, til, key, "--behold", "4")
    assert "Beholder de sidste 1; 2 gamle dele er slettet" in copied(root, til, key, "--behold", "1")
    made, ran = restored(root, til, tmp_path / "sidst")
    assert (ran.code, (made.path / "raw" / "ny.txt").read_text("utf-8")) == (0, "tre\n")
    assert "der er 5" in restored(root, til, tmp_path / "foer", "--nr", "2")[1].err


def test_a_backup_that_is_killed_is_not_listed_and_the_next_one_goes_on(
    root: DataRoot, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    til, seen, put = tmp_path / "kopi", [], backup.Store.put

    def killed(self: backup.Store, source: Path, said: str = "") -> tuple[str, bool]:
        seen.append(source)
        if len(seen) == 60:
            raise KeyboardInterrupt
        return put(self, source, said)

    with monkeypatch.context() as patched:
        patched.setattr(backup.Store, "put", killed)
        assert root.refusion("sikkerhedskopi", str(til), "--modtager", key).code == 1
    assert "der er ingen hel sikkerhedskopi" in restored(root, til, tmp_path / "ny")[1].err
    half = til / "indhold" / "00" / ".x.ny"
    half.parent.mkdir(exist_ok=True)
    half.write_bytes(b"x")
    copied(root, til, key)
    assert not half.exists()
    assert restored(root, til, tmp_path / "ny")[1].code == 0


def test_a_backup_is_taken_while_a_run_is_going_on_and_has_the_state_before_it(
    root: DataRoot, tmp_path: Path, key: str
) -> None:
    shutil.move(root.path / "udgaaende" / MONTH, tmp_path / "tilbagetrukket")
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM opgoerelse.postering")
        out = copied(root, tmp_path / "kopi", key)
    assert f"{MONTH} er i arbejde" in out
    made, ran = restored(root, tmp_path / "kopi", tmp_path / "ny")
    assert ran.code == 0, ran.err
    made.run(MONTH)
    assert made.files(MONTH) == {
        path.name: path.read_bytes() for path in (tmp_path / "tilbagetrukket").glob("*") if path.is_file()
    }


def test_a_publishing_that_removes_files_meanwhile_gives_a_backup_of_the_whole_state_after_it(
    root: DataRoot, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    put, told = backup.Store.put, []

    def swept(self: backup.Store, source: Path, said: str = "") -> tuple[str, bool]:
        if not told and "kontrol.accept" in source.parts:
            for text in ("en", "to"):
                with root.place.warehouse.open() as session:
                    session.run(f"UPDATE kontrol.accept SET begrundelse = '{text}'")
                publish(root.place.warehouse)
            told.append(source)
        return put(self, source, said)

    with root.place.warehouse.open() as session:
        session.run("INSERT INTO kontrol.accept VALUES ('2024-02-01', 'FIL-006', 'ky-169', 'nul')")
    publish(root.place.warehouse)
    monkeypatch.setattr(backup.Store, "put", swept)
    copied(root, tmp_path / "kopi", key)
    assert not told[0].exists()
    made, ran = restored(root, tmp_path / "kopi", tmp_path / "ny")
    assert ran.code == 0, ran.err
    assert [row[0] for row in made.rows("SELECT begrundelse FROM kontrol.accept")] == ["to"]


KILLED = [("_out", 40), ("os.rename", 3), ("publish", 1), ("inspect", 1)]


def test_a_restore_that_is_killed_at_any_point_is_whole_when_it_is_given_again(
    root: DataRoot, tmp_path: Path, key: str
) -> None:
    til = tmp_path / "kopi"
    copied(root, til, key)
    inspected = root.refusion("efterse").out
    for number, (name, nth) in enumerate(KILLED):
        place, seen = tmp_path / f"ny{number}", itertools.count(1)
        target = f"refusion_assets.runs.backup.{name}"
        real = pkgutil.resolve_name(target)

        def killed(*given: object, real: Any = real, seen: Any = seen, nth: int = nth) -> object:
            if next(seen) == nth:
                raise KeyboardInterrupt
            return real(*given)

        with mock.patch(target, killed):
            assert restored(root, til, place)[1].code == 1
        assert (place / "raw").exists() == (name == "inspect")
        if (place / ".genopret").exists() and name != "inspect":
            assert (
                "er ikke færdig; blev den afbrudt, så skriv den samme kommando igen"
                in DataRoot(place).refusion("koer", MONTH).err
            )
        made, ran = restored(root, til, place)
        assert ran.code == 0, (name, nth, ran.err)
        assert {path.name for path in place.iterdir()} == {path.name for path in (tmp_path / "ny0").iterdir()}
        assert inspected in ran.out, (name, nth)
        assert made.ledger() == root.ledger()


def test_what_is_encrypted_by_a_key_leaves_nothing_plain_and_is_restored_with_that_key_alone(
    root: DataRoot, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    til, lager = tmp_path / "kopi", root.path / "lager" / "ydelsesrefusion.duckdb"
    citizens = root.rows("SELECT cpr FROM identitet.borger")
    lager.with_name(f"{lager.name}.wal.beskadiget").write_text(citizens[0][0])
    assert plain(root.path, citizens)
    monkeypatch.setenv(keys.SAID, LOCK)
    for _ in range(2):  # also where one was killed before it had published
        assert root.refusion("krypter").code == 0
        assert plain(root.path, citizens) == []
    inspected = root.refusion("efterse")
    assert inspected.code == 0, inspected.out
    copied(root, til, key)
    for wrong, told in ((None, "der er ingen nøgle"), ("en helt anden noegle", "nøglen passer ikke")):
        with monkeypatch.context() as patched:
            patched.delenv(keys.SAID) if wrong is None else patched.setenv(keys.SAID, wrong)
            made, ran = restored(root, til, tmp_path / "ny")
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert told in ran.err
        assert [path.name for path in made.path.iterdir()] == [".genopret"]
        assert list(made.path.rglob("*.csv")) == []
    made, ran = restored(root, til, tmp_path / "ny")
    assert ran.code == 0, ran.err
    assert plain(made.path, citizens) == []
    assert inspected.out in ran.out


def test_a_plain_backup_restored_under_a_key_is_encrypted(
    root: DataRoot, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    citizens = root.rows("SELECT cpr FROM identitet.borger")
    copied(root, tmp_path / "kopi", key)
    monkeypatch.setenv(keys.SAID, LOCK)
    made, ran = restored(root, tmp_path / "kopi", tmp_path / "ny")
    assert ran.code == 0, ran.err
    assert plain(made.path, citizens) == []


def test_a_passphrase_opens_the_stores_own_key(root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    phrase, til = tmp_path / "saetning", tmp_path / "kopi"
    phrase.write_text(f"{PHRASE}\n", "utf-8")
    phrase.chmod(0o600)
    monkeypatch.setenv("REFUSION_KOPI_NOEGLE", str(phrase))
    assert root.refusion("sikkerhedskopi", str(til)).code == 0
    assert restored(root, til, tmp_path / "ny")[1].code == 0


def test_what_cannot_be_backed_up_or_restored_is_told_in_a_line(
    root: DataRoot, tmp_path: Path, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    til = tmp_path / "kopi"
    assert "ligger i dataroden" in root.refusion("sikkerhedskopi", str(root.path / "k"), "--modtager", key).err
    assert "hverken tom" in root.refusion("sikkerhedskopi", str(tmp_path), "--modtager", key).err
    copied(root, til, key)
    other = pyrage.x25519.Identity.generate()
    assert "en anden nøgle" in root.refusion("sikkerhedskopi", str(til), "--modtager", str(other.to_public())).err
    assert "er ikke tom" in restored(root, til, root.path)[1].err
    damaged = max((til / "indhold").rglob("*.age"), key=lambda path: path.stat().st_size)
    content = damaged.read_bytes()
    damaged.write_bytes(content[:-1])
    made, ran = restored(root, til, tmp_path / "ny")
    assert "mangler eller er beskadiget" in ran.err
    assert not (made.path / "raw").exists()
    damaged.write_bytes(content)
    assert restored(root, til, tmp_path / "ny")[1].code == 0
    monkeypatch.delenv("REFUSION_KOPI_NOEGLE")
    assert "skal have en nøgle" in root.refusion("sikkerhedskopi", str(tmp_path / "k2")).err
    wrong = tmp_path / "forkert"
    wrong.write_text(f"{other}\n", "ascii")
    wrong.chmod(0o600)
    monkeypatch.setenv("REFUSION_KOPI_NOEGLE", str(wrong))
    assert "kan ikke åbnes" in restored(root, til, tmp_path / "nyest")[1].err
    os.environ.pop("REFUSION_KOPI_NOEGLE", None)
