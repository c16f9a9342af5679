"""Every kind of manipulation of what is closed is found and named, and an untouched root is whole."""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import duckdb
import pytest

from refusion_assets.domain.raw import NAMES
from refusion_assets.store.publish import publish
from refusion_assets.store.state import BEFORE, State
from tests.conftest import DataRoot
from tests.kit.data_root import csv_bytes, read_csv, write_manifest

FIRST, SECOND, OPEN = "2024-02", "2024-03", "2024-04"
LOOKED = ("forklar", "--formaal", "klage, sag 24-1234")


def sql(*statements: str) -> Callable[[DataRoot], None]:
    """The statements on the live warehouse, as somebody with DuckDB would write them."""

    def spoil(root: DataRoot) -> None:
        with duckdb.connect(str(root.place.warehouse.path)) as connection:
            for statement in statements:
                connection.execute(statement)

    return spoil


def one(root: DataRoot, form: str) -> Path:
    """The first file of a form; of a published table the newest, which the state of now names."""
    newest = form.startswith(("lager/laesning/", "udgivet/tabeller/"))
    return min(root.path.glob(form), key=lambda path: (-path.stat().st_mtime_ns if newest else 0, path))


def byte(form: str) -> Callable[[DataRoot], None]:
    return lambda root: other_byte(one(root, form))


def other_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def file_of_the_state_before(root: DataRoot) -> None:
    """Another byte in a file that readers may have open, and that the state of now no longer names."""
    now, before = State.read(root.path), State.read(root.path, BEFORE)
    assert now is not None
    assert before is not None
    other_byte(root.path / next(part.path for part in before.dele if part not in now.dele))


def gone(form: str) -> Callable[[DataRoot], None]:
    return lambda root: one(root, form).unlink()


def signed(root: DataRoot) -> None:
    """An amount in an outgoing file made another, and SHA256SUMS made to fit."""
    path = next(
        p for p in sorted(root.path.glob(f"udgaaende/{FIRST}/*-beregning-*")) if p.read_bytes().count(b"\n") > 1
    )
    lines = path.read_text("utf-8").splitlines(keepends=True)
    cells = lines[1].split(";")
    cells[7] = f"9{cells[7]}"
    path.write_text("".join([lines[0], ";".join(cells), *lines[2:]]), "utf-8")
    sums = path.parent / "SHA256SUMS"
    said = {line.split()[1]: line for line in sums.read_text("utf-8").splitlines()}
    said[path.name] = f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}"
    sums.write_text("".join(f"{line}\n" for line in said.values()), "utf-8")


def cut(root: DataRoot) -> None:
    path = root.path / "opslag" / "opslag.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))


def stranger(root: DataRoot) -> None:
    (root.path / "udgaaende" / FIRST / "fremmed.csv").write_text("x\n", "utf-8")


def foreign(name: str) -> Callable[[DataRoot], None]:
    return lambda root: (root.path / name).write_bytes(b"x") and None


def resaid(root: DataRoot) -> None:
    """The rows of a table made others in the list of the state."""
    path = root.path / "lager" / "laesning" / "tilstand.json"
    told = json.loads(path.read_bytes())
    next(part for part in told["dele"] if part["tabel"] == "opgoerelse.koersel")["raekker"] += 1
    path.write_text(json.dumps(told), "utf-8")


def other_ledger(root: DataRoot) -> None:
    """A ledger row moved, published, and moved back in the warehouse alone."""
    sql(f"{MOVED}rowid) FROM opgoerelse.postering WHERE koersel = 50)", "COMMENT ON TABLE lager.skrevet IS ''")(root)
    publish(root.place.warehouse)
    sql(f"{MOVED}rowid) FROM opgoerelse.postering WHERE koersel = 50)".replace("+ 1", "- 1"))(root)


RAW, SUMS = "raw/ky/2024-02/*.csv", f"udgaaende/{FIRST}/SHA256SUMS"
MOVED = "UPDATE opgoerelse.postering SET refusion_oere = refusion_oere + 1 WHERE koersel = 50 AND rowid = (SELECT min("
OTHER_PERSON = """UPDATE identitet.borger SET cpr = '6199999999' WHERE borger_id = (
    SELECT min(borger_id) FROM opgoerelse.postering WHERE koersel = 50)"""
# Manipulations that do not hide each other stand together: a look at a root costs more than all the rest.
TOUCHED = [
    [(byte(RAW), FIRST, "er ændret, siden kørslen læste den"),
     (byte(f"udgaaende/{FIRST}/*-advisering-*"), FIRST, "-advisering-"),
     (gone(f"udgaaende/{FIRST}/*-opgoerelse-*"), FIRST, "-opgoerelse- … mangler"),
     (stranger, FIRST, "fremmed.csv er ikke en af dem"),
     (sql(f"{MOVED}rowid) FROM opgoerelse.postering WHERE koersel = 50)"), FIRST, "deres personnumre er ikke"),
     (byte("regler/*/trapper.toml"), FIRST, "de gemte regler"),
     (cut, "Fælles", "men lukningen af 2024-03 så 2; linjer er slettet"),
     (byte("lager/laesning/identitet.borger/*"), "Fælles", "laesning/identitet.borger/ … er ændret; flyt den væk"),
     (byte("udgivet/tabeller/opgoerelse.koersel/*"), "Fælles", "tabeller/opgoerelse.koersel … er ændret; flyt den væk"),
     (byte("udgivet/ydelsesrefusion.duckdb"), "Fælles", "er ikke tilstandens")],
    [(gone(RAW), FIRST, ".csv mangler"),
     (signed, FIRST, "beregning for"),
     (sql("UPDATE opgoerelse.postering SET hjemmel = 'x' WHERE koersel = 51"), SECOND, "deres personnumre er ikke"),
     (gone("lager/laesning/identitet.borger/*"), "Fælles", "mangler; den næste udgivelse"),
     (foreign("lager/laesning/identitet.borger/x.parquet"), "Fælles", "identitet.borger/x.parquet er ikke en af dem"),
     (foreign("udgivet/tabeller/x.parquet"), "Fælles", "tabeller/x.parquet er ikke en af dem"),
     (file_of_the_state_before, "Fælles", "er ændret; flyt den væk")],
    [(gone("raw/ky/2024-02/*.manifest.json"), FIRST, ".manifest.json mangler"),
     (gone(SUMS), FIRST, "SHA256SUMS mangler"),
     (sql("DELETE FROM opgoerelse.kaede WHERE koersel = 51"), SECOND, "intet led i kæden"),
     (gone("lager/laesning/tilstand.json"), "Fælles", "tilstand.json mangler")],
    [(sql("DELETE FROM opgoerelse.koersel WHERE koersel = 50", "DELETE FROM opgoerelse.kaede WHERE koersel = 50"),
      SECOND, "følger ikke det forrige led")],
    [(sql("DELETE FROM opgoerelse.koersel WHERE koersel = 50"), FIRST, "er væk fra lageret"),
     (sql("DELETE FROM opgoerelse.kendt_fil WHERE maaned = '2024-03-01'"), SECOND, "råfiler, kørslen kendte,")],
    [(byte("raw/ky/2024-02/*.manifest.json"), FIRST, ".manifest.json er ændret"),
     (sql(OTHER_PERSON), FIRST, "deres personnumre er ikke"),
     (sql("UPDATE opgoerelse.kaede SET filsum = 'x' WHERE koersel = 50"), FIRST, "leddet i kæden er ændret")],
    [(sql("DELETE FROM opgoerelse.kaede"), FIRST, "led i kæden er slettet"),
     (resaid, "Fælles", "har ikke de")],
    [(sql("UPDATE opgoerelse.koersel SET filsum = 'x' WHERE koersel = 50"), FIRST, "SHA256SUMS er ændret")],
    [(other_ledger, "Fælles", "kladden i den udgivne tilstand er ikke lagerets")],
]  # fmt: skip


@pytest.fixture(scope="module")
def closed(small_example: DataRoot, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Two closed months and an open one; somebody was looked up before the second was closed."""
    root = small_example.copy(tmp_path_factory.mktemp("efterset"))
    (root.path / "opslag").mkdir()
    (root.path / "opslag" / "opslag.jsonl").write_text('{"opslag": "forklar"}\n' * 2, "utf-8")
    # The last month is made anew, so that its run closes the second with the log in its link.
    sql("DELETE FROM opgoerelse.kaede WHERE koersel = 51",
        "UPDATE opgoerelse.koersel SET status = 'åben' WHERE koersel = 51")(root)  # fmt: skip
    root.run(OPEN)
    return root


@pytest.fixture
def kept(closed: DataRoot) -> Iterator[DataRoot]:
    """The closed root, put back after the test."""
    aside = closed.path.with_name("til side")
    shutil.copytree(closed.path, aside, symlinks=True)
    yield closed
    shutil.rmtree(closed.path)
    os.rename(aside, closed.path)


def test_an_untouched_root_is_whole_and_says_its_head(closed: DataRoot) -> None:
    ran = closed.refusion("efterse")
    assert (ran.code, ran.err) == (0, "")
    lines = ran.out.splitlines()
    assert [line[:7] for line in lines] == [FIRST, SECOND, OPEN, "Fælles "]
    assert all("i orden" in line for line in lines)
    [(head,)] = closed.rows("SELECT aftryk FROM opgoerelse.kaede ORDER BY koersel DESC LIMIT 1")
    assert head in lines[-1]
    assert closed.refusion("efterse", SECOND, "--hoved", head).code == 0
    assert closed.refusion("efterse", "--hoved", "0" * 64).code == 1
    assert head in closed.refusion("status").out


@pytest.mark.parametrize("spoiled", TOUCHED)
def test_each_kind_of_manipulation_is_named_with_its_month(
    kept: DataRoot, spoiled: list[tuple[Callable[[DataRoot], None], str, str]]
) -> None:
    for spoil, *_ in spoiled:
        spoil(kept)
    ran = kept.refusion("efterse", "--json")
    found = {one["maaned"] or "Fælles": one["fejl"] for one in json.loads(ran.out)["efterset"]}
    assert ran.code == 1
    for _, named, told in spoiled:
        assert any(all(words in fault for words in told.split(" … ")) for fault in found[named]), (told, found)


def test_a_file_that_a_reload_took_in_otherwise_is_remarked_and_one_changed_after_it_is_a_fault(
    kept: DataRoot,
) -> None:
    report = one(kept, "raw/ky/2024-02/*.csv")
    rows = read_csv(report)[:-1]
    report.write_bytes(csv_bytes(rows, NAMES))
    write_manifest(report, rows)
    assert kept.refusion("efterse").code == 1
    assert kept.refusion("genindlaes", "--accepter", f"FIL-008:{report.name}", "--begrundelse", "ny fil").code == 0
    ran = kept.refusion("efterse")
    assert (ran.code, ran.out.count("1 råfil er siden læst som en anden eller som væk")) == (0, 1)
    other_byte(report)
    assert f"{report.name} er ændret" in kept.refusion("efterse").out
    report.unlink()
    assert f"{report.name} mangler" in kept.refusion("efterse").out


def test_what_is_published_is_proved_against_the_whole_warehouse(kept: DataRoot) -> None:
    ran = kept.refusion("efterproev")
    assert (ran.code, ran.err, ran.out[:8]) == (0, "", "I orden:")
    sql(f"{MOVED}rowid) FROM opgoerelse.postering WHERE koersel = 50)")(kept)
    ran = kept.refusion("efterproev")
    assert (ran.code, ran.out.count("FEJL  opgoerelse.postering, del alt:"), ran.out.count("\n")) == (1, 1, 1)
    assert ran.err.startswith("STOPPET: 1 del af tilstanden er ikke lagerets")


@pytest.mark.parametrize("spoil", [Path.unlink, other_byte, lambda path: os.truncate(path, 100)])
def test_a_published_file_that_is_gone_or_has_other_bytes_is_named(
    kept: DataRoot, spoil: Callable[[Path], None]
) -> None:
    path = one(kept, "udgivet/tabeller/*/*.parquet")
    spoil(path)
    ran = kept.refusion("efterproev")
    assert (ran.code, ran.out) == (1, f"FEJL  {path.relative_to(kept.path)} mangler eller er beskadiget\n")


def test_a_root_on_a_disk_that_only_reads_can_be_inspected(kept: DataRoot) -> None:
    for path in [kept.path, *kept.path.rglob("*")]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    before = {path: path.stat().st_mtime_ns for path in kept.path.rglob("*")}
    try:
        assert kept.refusion("efterse").code == 0
        assert {path: path.stat().st_mtime_ns for path in kept.path.rglob("*")} == before
    finally:
        for path in [kept.path, *kept.path.rglob("*")]:
            path.chmod(0o755 if path.is_dir() else 0o644)


def test_runs_closed_by_an_earlier_version_get_their_link_at_the_next_closing(kept: DataRoot) -> None:
    sql(
        "DROP TABLE opgoerelse.kaede",
        "DROP TABLE opgoerelse.opslagshoved",
        "COMMENT ON TABLE identitet.borger IS 'en tidligere'",
    )(kept)
    ran = kept.refusion("efterse")
    assert (ran.code, ran.out.count("en senere lukning skriver leddet")) == (0, 2)
    assert kept.refusion("luk", OPEN, "--ja").code == 0
    assert [row[0] for row in kept.rows("SELECT eftertid FROM opgoerelse.kaede ORDER BY koersel")] == [
        True,
        True,
        False,
    ]
    assert kept.refusion("efterse").code == 0


@pytest.mark.parametrize("spoil", [byte(f"udgaaende/{OPEN}/*-advisering-*"), gone(f"udgaaende/{OPEN}/*-bogfoering-*")])
def test_the_next_month_does_not_close_one_with_other_files_and_names_the_file(
    kept: DataRoot, spoil: Callable[[DataRoot], None]
) -> None:
    spoil(kept)
    for command in (("koer", "2024-05"), ("luk", OPEN, "--ja")):
        ran = kept.refusion(*command)
        assert ran.code == 1
        assert f"udgaaende/{OPEN}" in ran.err
        assert f"refusion koer {OPEN}" in ran.err
    assert kept.rows("SELECT status FROM opgoerelse.koersel ORDER BY koersel")[-1] == ("åben",)
    kept.run(OPEN)
    assert kept.refusion("luk", OPEN, "--ja").code == 0


def test_a_ledger_that_was_changed_is_not_closed(kept: DataRoot) -> None:
    sql("DELETE FROM opgoerelse.postering WHERE koersel = 52")(kept)
    ran = kept.refusion("luk", OPEN, "--ja")
    assert (ran.code, "kladden for kørsel 2024-04 er ændret" in ran.err) == (1, True)
