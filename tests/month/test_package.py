"""A municipality's package: made of a run, sealed, opened, and looked up in, without the country's data."""

import csv
import fcntl
import hashlib
import io
import os
import re
import shutil
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import pyrage
import pytest

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.forklar.model import Forklaring, as_json
from refusion_assets.domain.forklar.text import LEFT_OUT, as_text
from refusion_assets.domain.stop import Stop
from refusion_assets.levering import sealed
from refusion_assets.levering.sealed import Recipient, recipient
from refusion_assets.look_up.explanation import look_up
from refusion_assets.look_up.trace import LOG
from refusion_assets.report.catalogue import package_guide
from refusion_assets.runs import package as packages
from refusion_assets.runs.extract import CONTENT
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Warehouse
from refusion_assets.store.tables import TABLES
from tests.conftest import DataRoot, Example
from tests.kit.data_root import RULEBOOK

MONTH, KODE = "2024-04", "161"
NAME = f"yr-pakke-{KODE}-0052-2024-05-03.tar.age"
WHY = ("--formaal", "klage, sag 24-1234")
FOREIGN = f"""SELECT cpr FROM identitet.borger WHERE borger_id NOT IN (
    SELECT borger_id FROM opgoerelse.postering WHERE kommunekode = '{KODE}'
    UNION SELECT borger_id FROM refusion.borger_uge_ydelse WHERE kommunekode = '{KODE}'
    UNION SELECT borger_id FROM opgoerelse.advis WHERE kommunekode = '{KODE}' AND borger_id IS NOT NULL)"""

WITH_WORD = Recipient(passphrase="x")  # noqa: S106  nothing is sealed with it


@pytest.fixture(scope="module")
def root(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The contract's example after its three runs, with its copy."""
    made = example.root.copy(tmp_path_factory.mktemp("pakke"))
    publish(made.place.warehouse)
    return made


@pytest.fixture(scope="module")
def key(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A municipality's own key: the file with the secret one, and the public one."""
    identity = pyrage.x25519.Identity.generate()
    path = tmp_path_factory.mktemp("noegle") / "kommune.txt"
    path.write_text(f"# en kommunes nøgle\n{identity}\n", encoding="utf-8")
    path.chmod(0o600)
    return path, str(identity.to_public())


@pytest.fixture(scope="module")
def made(root: DataRoot, key: tuple[Path, str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package of one municipality of the last run, sealed for its own key."""
    folder = tmp_path_factory.mktemp("udleveret")
    ran = root.refusion("udlever", KODE, MONTH, "--til", str(folder), "--modtager", key[1])
    assert (ran.code, ran.err, ran.out) == (0, "", f"Pakken: {folder / NAME}\n")
    return folder / NAME


@pytest.fixture
def opener(key: tuple[Path, str]) -> Iterator[None]:
    """The secret key named in the environment, as a caseworker has it."""
    with mock.patch.dict(os.environ, {sealed.NOEGLE: str(key[0])}):
        yield


@pytest.fixture
def unpacked(made: Path, opener: None, tmp_path: Path) -> Path:  # noqa: ARG001
    """The package unpacked by the command, in a place without a data root."""
    folder = tmp_path / "ud"
    ran = DataRoot(tmp_path / "ingen").refusion("pakud", str(made), "--til", str(folder))
    assert (ran.code, ran.err) == (0, "")
    return folder


def test_every_byte_and_every_table_of_a_package_is_free_of_other_peoples_numbers_and_other_municipalities_money(
    root: DataRoot, unpacked: Path
) -> None:
    foreign = [cpr for (cpr,) in root.rows(FOREIGN)]
    assert len(foreign) > 20
    for path in unpacked.rglob("*"):
        data = path.read_bytes() if path.is_file() else b""
        assert not any(cpr.encode() in data for cpr in foreign), path.name
    with Warehouse(unpacked).reading() as session:
        for table in TABLES:
            text = session.frame(f"SELECT coalesce(string_agg(t::VARCHAR, ' '), '') AS t FROM {table} t")["t"][0]
            assert not any(cpr in text for cpr in foreign), table
            if "kommunekode" in TABLES[table].to_schema().columns and table != "raw.bopael":
                assert set(session.frame(f"SELECT DISTINCT kommunekode FROM {table}")["kommunekode"]) <= {KODE}
        assert session.count("classified.linje WHERE kilde_id = 'andre' AND beloeb_oere > 1") == 0
        assert session.count("classified.linje WHERE kilde_id = 'andre' AND ydelse_id LIKE 'andre-%'") > 0
        assert session.count(f"classified.linje WHERE kommunekode_betaler <> '{KODE}'") == 0
        assert set(session.frame("SELECT DISTINCT kommunekode FROM raw.bopael")["kommunekode"]) == {KODE, "999"}


def test_a_package_holds_the_files_as_sent_its_sums_and_a_guide_of_every_column(root: DataRoot, unpacked: Path) -> None:
    sent = {name: data for name, data in root.files(MONTH).items() if f"-{KODE}-" in name}
    assert {path.name: path.read_bytes() for path in (unpacked / "filer").glob("*.csv")} == sent
    said = dict(line.split("  ")[::-1] for line in (unpacked / "SHA256SUMS").read_text("utf-8").splitlines())
    there = {str(path.relative_to(unpacked)) for path in unpacked.rglob("*") if path.is_file()} - {"SHA256SUMS"}
    assert said.keys() == there
    assert all(hashlib.sha256((unpacked / name).read_bytes()).hexdigest() == said[name] for name in there)
    guide = (unpacked / "KOLONNER.md").read_text("utf-8")
    for data in sent.values():
        heads = next(csv.reader(io.StringIO(data.decode("utf-8")), delimiter=";"))
        assert all(f"| `{head}` |" in guide for head in heads)
    readme = (unpacked / "LAES-MIG.txt").read_text("utf-8")
    assert f"Glostrup ({KODE}) fra kørsel 52 ({MONTH})" in readme
    assert root.place.rules.version in readme
    assert all(path.stat().st_mode & 0o077 == 0 for path in unpacked.rglob("*") if path.is_file())


@pytest.mark.usefixtures("opener")
def test_forklar_on_the_package_alone_says_what_the_country_says(root: DataRoot, made: Path) -> None:
    asked = root.rows(f"""SELECT cpr, max(maaned) FROM opgoerelse.postering
        JOIN identitet.borger USING (borger_id) WHERE kommunekode = '{KODE}' GROUP BY cpr ORDER BY ALL""")
    assert len(asked) > 10
    same = 0
    with sealed.opened(made, str) as place:
        for cpr, maaned in asked:
            own, whole = look_up(place, cpr, maaned), look_up(root.place, cpr, maaned)
            forms: list[Callable[[Forklaring], str]] = [
                as_json, lambda told: as_text(told, "hvem"), lambda told: as_text(told, "hvem", alt=True)
            ]  # fmt: skip
            for form in forms:
                left_out = LEFT_OUT in form(own) or '"udeladt": ' in form(own)
                assert left_out == (form(own) != form(whole))
                same += not left_out
    assert same > 2 * len(asked)


@pytest.mark.usefixtures("opener")
def test_a_look_up_needs_no_data_root_is_logged_beside_the_package_and_leaves_nothing_behind(
    root: DataRoot, made: Path, tmp_path: Path
) -> None:
    away = DataRoot(tmp_path / "ingen data", tmp_path / "ingen regler")
    ((cpr,), *_) = root.rows(f"""SELECT min(cpr) FROM opgoerelse.postering JOIN identitet.borger USING (borger_id)
        WHERE kommunekode = '{KODE}' AND maaned = '{MONTH}-01'""")
    with mock.patch.object(sealed.tempfile, "tempdir", str(tmp_path)):
        own = away.forklar(cpr, MONTH, *WHY, "--pakke", str(made))
    assert (own.code, own.err) == (0, "")
    assert own.out.startswith(root.forklar(cpr, MONTH, *WHY).out)
    log = (made.parent / LOG).read_text("utf-8")
    assert log.count(NAME) == 1
    assert cpr not in log
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("opener")
def test_a_number_that_is_not_in_the_package_gets_an_answer_of_its_own_and_a_chosen_log(
    root: DataRoot, made: Path, tmp_path: Path
) -> None:
    ((cpr,), *_) = root.rows(FOREIGN)
    ran = root.forklar(cpr, MONTH, *WHY, "--pakke", str(made), "--log", str(tmp_path / "log"))
    assert ran.out == f"Personnummeret er ikke i pakken; den har kun kommunens egne borgere til og med {MONTH}.\n"
    assert '"fundet": false' in (tmp_path / "log" / LOG.name).read_text("utf-8")
    with mock.patch("refusion_assets.look_up.trace.os.fsync", side_effect=OSError(5, "Input/output error")):
        ran = root.forklar(cpr, MONTH, *WHY, "--pakke", str(made))
    assert (ran.code, ran.out) == (1, "")


@pytest.mark.usefixtures("opener")
def test_the_same_package_again_takes_the_place_of_the_one_before_and_its_tables_are_the_same(
    root: DataRoot, made: Path, tmp_path: Path
) -> None:
    def content(path: Path) -> dict[str, bytes]:
        with sealed._decrypted(path, str) as plain, tarfile.open(fileobj=plain) as tar:
            return {m.name: tar.extractfile(m).read() for m in tar if "duckdb" not in m.name and m.name != "SHA256SUMS"}  # type: ignore[union-attr]

    left = made.parent / f".{NAME}.klar"
    left.mkdir()
    (left / "data").touch()
    before = content(made)
    public = pyrage.x25519.Identity.from_str(
        Path(os.environ[sealed.NOEGLE]).read_text("utf-8").split("\n")[1]
    ).to_public()
    packages.package(root.place, month_of(MONTH), KODE, made.parent, Recipient(keys=(public,)))
    assert content(made) == before
    assert sorted(path.name for path in made.parent.iterdir() if path.name != "opslag") == [NAME]
    del tmp_path


def test_two_at_a_time_do_not_take_each_others_folder(root: DataRoot, tmp_path: Path) -> None:
    left = tmp_path / f".{NAME}.klar"
    left.mkdir()
    held = os.open(left, os.O_RDONLY)
    fcntl.flock(held, fcntl.LOCK_EX)
    with pytest.raises(Stop, match="er ved at blive lavet af en anden"):
        packages.package(root.place, month_of(MONTH), KODE, tmp_path, WITH_WORD)
    os.close(held)


def test_a_passphrase_is_made_where_none_is_given_told_once_and_stands_nowhere(tmp_path: Path) -> None:
    to = recipient(None, tmp_path, tmp_path)
    assert to.made
    assert re.fullmatch(r"([a-z2-9]{5}-){5}[a-z2-9]{5}", to.passphrase)
    plain, path = tmp_path / "plain", tmp_path / "pakke.age"
    plain.write_bytes(b"indhold")
    sealed.seal(plain, path, to)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pakke.age", "plain"]
    with sealed._decrypted(path, lambda: to.passphrase) as found:
        assert found.read() == b"indhold"
    with pytest.raises(Stop, match="kan ikke åbnes: nøglen passer ikke"), sealed._decrypted(path, lambda: "en anden"):
        pass


@pytest.mark.parametrize(
    ("month", "kode", "reason"),
    [
        ("2024-03", KODE, "laves kun, mens 2024-03 er den sidste kørsel"),
        ("2024-05", KODE, "2024-05 er ikke opgjort; kør måneden først"),
        (MONTH, "999", "999 er ingen kommune i reglerne"),
    ],
)
def test_a_package_that_cannot_be_made_is_refused_in_one_line(
    root: DataRoot, tmp_path: Path, month: str, kode: str, reason: str
) -> None:
    ran = root.refusion("udlever", kode, month, "--til", str(tmp_path / "til"))
    assert ran.code == 1
    assert reason in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "til").exists()


def test_files_that_are_not_as_sent_and_a_file_in_the_way_stop_it(root: DataRoot, tmp_path: Path) -> None:
    month, to = month_of(MONTH), WITH_WORD
    (tmp_path / NAME).write_text("noget andet", encoding="utf-8")
    with pytest.raises(Stop, match="findes og er ingen pakke"):
        packages.package(root.place, month, KODE, tmp_path, to)
    with pytest.raises(Stop, match="ligger i udgaaende"):
        packages.package(root.place, month, KODE, root.path / "udgaaende" / "x", to)
    sent = root.path / "udgaaende" / MONTH
    path = next(sent.glob(f"*-beregning-{KODE}-*"))
    whole = path.read_bytes()
    path.write_bytes(whole + b"\n")
    with pytest.raises(Stop, match="er ændret, siden kørslen sendte den"):
        packages.package(root.place, month, KODE, tmp_path / "ny", to)
    path.write_bytes(whole)
    shutil.move(sent / "SHA256SUMS", tmp_path / "SUMS")
    with pytest.raises(Stop, match="er ikke dem, kørslen viste"):
        packages.package(root.place, month, KODE, tmp_path / "ny", to)
    shutil.move(tmp_path / "SUMS", sent / "SHA256SUMS")
    assert not any((tmp_path / "ny").iterdir())


def test_a_full_disk_leaves_the_package_before_and_nothing_else(tmp_path: Path) -> None:
    plain, path = tmp_path / "plain", tmp_path / "pakke.age"
    plain.write_bytes(b"nyt")
    path.write_bytes(b"gammelt")
    with (
        mock.patch.object(sealed.os, "fsync", side_effect=OSError(28, "No space left on device")),
        pytest.raises(OSError, match="No space"),
    ):
        sealed.seal(plain, path, Recipient(keys=(pyrage.x25519.Identity.generate().to_public(),)))
    assert path.read_bytes() == b"gammelt"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["pakke.age", "plain"]


@pytest.mark.usefixtures("opener")
def test_a_wrong_key_a_damaged_package_and_a_folder_in_use_are_one_line_each(made: Path, tmp_path: Path) -> None:
    root = DataRoot(tmp_path / "ingen")

    def said(path: Path, til: str = "ud") -> str:
        ran = root.refusion("pakud", str(path), "--til", str(tmp_path / til))
        assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
        assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
        return ran.err

    damaged, other = tmp_path / "skadet.age", tmp_path / "anden.txt"
    data = bytearray(made.read_bytes())
    data[-100] ^= 1
    damaged.write_bytes(data)
    assert "filen er beskadiget" in said(damaged)
    (tmp_path / "tom.age").write_bytes(b"ikke age")
    assert "er ingen krypteret pakke" in said(tmp_path / "tom.age")
    (tmp_path / "fuld").mkdir()
    (tmp_path / "fuld" / "x").touch()
    assert "er ikke tom" in said(made, "fuld")
    other.write_text(str(pyrage.x25519.Identity.generate()), encoding="utf-8")
    other.chmod(0o644)
    with mock.patch.dict(os.environ, {sealed.NOEGLE: str(other)}):
        assert "andre kan læse" in said(made)
        other.chmod(0o600)
        assert "nøglen passer ikke" in said(made)
        beside = shutil.copy(made, tmp_path / "ved.age")
        assert "må aldrig ligge ved pakken" in said(Path(beside))
    assert "findes ikke" in said(tmp_path / "ingen.age")


def test_a_package_is_unpacked_into_the_folder_that_is_there_and_the_user_stands_in(
    made: Path,
    opener: None,  # noqa: ARG001
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    folder = tmp_path / "her"
    (folder / ".klar").mkdir(parents=True)  # left by one that was killed
    monkeypatch.chdir(folder)
    same = folder.stat().st_ino
    names = sealed.unpack(made, Path(), str)
    assert (folder.stat().st_ino, folder.stat().st_mode & 0o777) == (same, 0o700)
    assert all((folder / name).is_file() for name in names)
    assert not (folder / ".klar").exists()


@pytest.mark.parametrize(("signs", "short"), [(11, True), (12, False)])
def test_a_passphrase_that_is_soon_guessed_is_refused(tmp_path: Path, signs: int, short: bool) -> None:
    word = tmp_path / "saetning.txt"
    word.write_text("x" * signs, encoding="utf-8")
    word.chmod(0o600)
    folder = tmp_path / "pakker"
    with mock.patch.dict(os.environ, {sealed.NOEGLE: str(word)}):
        if not short:
            assert recipient(None, folder, folder).passphrase == "x" * signs
            return
        with pytest.raises(Stop, match="mindst 12 tegn"):
            recipient(None, folder, folder)


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ("AGE-SECRET-KEY-1QQ", "er hemmelig; bed om den offentlige"),
        ("ssh-ed25519 AAAA", "er ingen offentlig nøgle"),
        ("age1xyz", "er ingen offentlig nøgle"),
    ],
)
def test_a_recipient_that_is_no_public_key_is_refused(tmp_path: Path, said: str, reason: str) -> None:
    with pytest.raises(Stop, match=reason):
        recipient(said, tmp_path, tmp_path)


def test_an_ssh_key_opens_what_is_sealed_for_it(tmp_path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415

    private = Ed25519PrivateKey.generate()
    public = private.public_key().public_bytes(form.Encoding.OpenSSH, form.PublicFormat.OpenSSH)
    (tmp_path / "id.pub").write_bytes(public + b" kommune\n")
    (tmp_path / "id").write_bytes(
        private.private_bytes(form.Encoding.PEM, form.PrivateFormat.OpenSSH, form.NoEncryption())
    )
    (tmp_path / "id").chmod(0o600)
    folder = tmp_path / "pakker"
    folder.mkdir()
    (tmp_path / "plain").write_bytes(b"indhold")
    sealed.seal(tmp_path / "plain", folder / "p.age", recipient(str(tmp_path / "id.pub"), folder, folder))
    with (
        mock.patch.dict(os.environ, {sealed.NOEGLE: str(tmp_path / "id")}),
        sealed._decrypted(folder / "p.age", str) as found,
    ):
        assert found.read() == b"indhold"


def test_every_column_of_a_packages_tables_has_been_judged_and_has_a_text() -> None:
    judged = {table: _names(columns) for table, (columns, _) in CONTENT.items()}
    assert judged == {table: set(TABLES[table].to_schema().columns) for table in judged}
    package_guide(packages.columns_of(RULEBOOK), list(judged))


def _names(columns: str) -> set[Any]:
    return {name.strip() for name in columns.split(",")}
