"""What analysts can open holds no person's number, however senders wrote it, and in no form that a tool can read."""

import csv
import re
from collections.abc import Iterator
from datetime import date
from io import StringIO
from pathlib import Path

import duckdb
import polars as pl
import pytest

from refusion_assets.assets.opfoelgning.asset import figures_of, store
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.classified import AS_WRITTEN
from refusion_assets.domain.raw import COLUMNS, TEXT
from refusion_assets.report import write as report
from refusion_assets.store.state import SQL_VIEWS
from refusion_assets.store.tables import LEFT_OUT, TABLES
from tests.conftest import DataRoot, Example
from tests.kit.data_root import REPO, write_register
from tests.kit.timeline import PEOPLE, row
from tests.month.test_forklar import deliver as send
from tests.month.test_forklar import live, root_of, run

OWN, *OTHERS = PEOPLE
DAYS = date(2024, 2, 5), date(2024, 2, 11)
MONTH = "2024-02"
FREE = [name for name, kind, _ in COLUMNS if kind == TEXT] + ["Felt0214_start", "Lb_nr", "Modtaget_tidspunkt"]
WANTED = re.compile("|".join(f"{cpr[:6]}[- ]?{cpr[6:]}" for cpr in sorted(PEOPLE)))
FORMS = ("{0}", "{1}-{2}", "x{0}", "{1} {2}")
SENDERS = {"ky": ("K", "169"), "ksd": ("K", "169"), "akasse": ("D", "20100001"), "su": ("U", "34042012")}


def spoiled() -> Iterator[tuple[str, str, list[dict[str, str]]]]:
    """The rows of each sender with another person's number, in each writing, in each column that a sender fills."""
    for kilde, (letter, enhed) in SENDERS.items():
        rows = [row(letter, *DAYS, 1, cpr=OWN)]
        for number, (name, form) in enumerate(((n, f) for n in FREE for f in FORMS), 1):
            other = OTHERS[number % len(OTHERS)]
            written = form.format(other, other[:6], other[6:])
            unique = {"IndberetningsID": f"{kilde}{number}"}
            rows.append(row(letter, *DAYS, number + 1, cpr=OWN, **unique | {name: written}))
            if name == "ReferenceID":
                rows.append(row(letter, *DAYS, 900 + number, "", OWN, Indberetningsart="T", ReferenceID=written))
        yield kilde, enhed, rows


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """A month whose senders wrote numbers in every field, run, published, and followed up."""
    made = root_of(tmp_path_factory.mktemp("analytikere"))
    for kilde, enhed, rows in spoiled():
        send(made, kilde, enhed, MONTH, rows)
    live(made, MONTH, *((cpr, "169", "2010-01-01") for cpr in (OWN, *OTHERS)))
    basis = {"CPR": OWN, "Maaned": MONTH, "Beregningsgrundlag": OTHERS[0], "Loen": OTHERS[0]}
    write_register(made.path, "fleksgrundlag", MONTH, [basis])
    run(made, MONTH)
    views, _ = figures_of(made.place, month_of(MONTH))
    store(made.place, month_of(MONTH), views)
    report.publish(made.place.follow_up, month_of(MONTH), made.place.rules, views)
    return made


def texts(folder: Path) -> Iterator[tuple[str, str]]:
    """Every text that a tool reads in the files of a folder, with the file: unpacked, and as bytes."""
    with duckdb.connect() as asking:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            yield path.name, path.read_bytes().decode("latin-1")
            if path.suffix == ".parquet":
                for found in asking.execute("SELECT COLUMNS(*)::VARCHAR FROM read_parquet($1)", [str(path)]).fetchall():
                    yield str(path.relative_to(folder)), "|".join(filter(None, found))


def test_no_number_of_a_person_stands_in_anything_that_is_published(root: DataRoot) -> None:
    assert {cpr for (cpr,) in root.rows("SELECT cpr FROM identitet.borger")} <= set(PEOPLE)
    assert {name for name, text in texts(root.path / "udgivet") if WANTED.search(text)} == set()
    assert {name for name, text in texts(root.path / "lager" / "laesning") if WANTED.search(text)}


def test_no_number_of_a_person_stands_in_the_warehouse_but_in_the_raw_layer_and_the_key(root: DataRoot) -> None:
    found = set()
    for table, model in TABLES.items():
        texts = [name for name, column in model.to_schema().columns.items() if column.dtype.type == pl.String]
        rows = root.rows(f"SELECT {', '.join(texts)} FROM {table}") if texts else []
        if any(WANTED.search(text) for row in rows for text in row if text):
            found.add(table)
    assert found == {"raw.indberetning", "raw.bopael", "raw.fleksgrundlag", "raw.ukendt"} | {
        "identitet.borger", "raw.skrevet"
    }  # fmt: skip


def test_every_column_that_a_sender_wrote_has_codes_in_the_place_of_numbers(root: DataRoot) -> None:
    for column in AS_WRITTEN:
        query = f"SELECT count(*) FROM classified.linje SEMI JOIN raw.skrevet ON {column} = kode"
        assert root.rows(query) > [(0,)]
    advice = "SELECT count(*) FROM opgoerelse.advis SEMI JOIN raw.skrevet ON indberetning_id = kode"
    assert root.rows(advice) > [(0,)]


def test_the_municipality_reads_the_id_that_it_wrote(root: DataRoot) -> None:
    files = {name: content.decode("utf-8") for name, content in root.files(MONTH).items()}
    (advice,) = (text for name, text in files.items() if "advisering-169" in name)
    assert {cells["IndberetningsID"] for cells in csv.DictReader(StringIO(advice), delimiter=";")} & set(PEOPLE)
    assert not any("skjult-" in text for text in files.values())


def test_every_table_has_a_decision_of_what_analysts_see() -> None:
    assert LEFT_OUT.keys() == TABLES.keys()
    columns = {table: {"*", *model.to_schema().columns} for table, model in TABLES.items()}
    assert {table for table, left in LEFT_OUT.items() if set(left) - columns[table]} == set()
    named = re.compile("cpr|skrevet|sti|begrundelse|_se$|indberetning_id|reference_id|vaerdi$")
    seen = {
        f"{table}.{name}"
        for table, left in LEFT_OUT.items()
        if left != ("*",)
        for name in TABLES[table].to_schema().columns
        if name not in left and named.search(name)
    }
    assert seen == {"kontrol.tal.vaerdi"}


def questions() -> list[str]:
    """The questions of docs/resultater.md."""
    return re.findall(r"```sql\n(.*?)```", (REPO / "docs" / "resultater.md").read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("question", questions(), ids=range(len(questions())))
def test_the_questions_of_the_documents_can_be_asked_of_the_published_database(root: DataRoot, question: str) -> None:
    with duckdb.connect(str(root.place.warehouse.published), read_only=True) as asking:
        asking.execute(question).fetchall()


@pytest.mark.parametrize(
    ("cpr", "table"),
    [
        ("7602922089", "duration.borger_uge"),
        ("7602922089", "refusion.borger_uge_ydelse"),
        ("6809552428", "opgoerelse.postering"),
        ("8011036204", "refusion.fleksbidrag"),
    ],
)
def test_the_citizens_that_the_documents_name_have_the_rows_they_are_named_for(
    example: Example, cpr: str, table: str
) -> None:
    assert cpr in (REPO / "docs" / "resultater.md").read_text("utf-8")
    [question] = [one for one in questions() if f"FROM {table}" in one]
    [(number,)] = example.root.rows(f"SELECT borger_id FROM identitet.borger WHERE cpr = '{cpr}'")
    with duckdb.connect(str(example.root.place.warehouse.published), read_only=True) as asking:
        asking.execute(f"SET VARIABLE borger = {number}")
        assert asking.execute(question).fetchall()


def test_the_views_as_text_read_the_files_from_where_the_folder_was_moved_to(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    copy = root.copy(tmp_path)
    (copy.path / "udgivet").rename(tmp_path / "andetsteds")
    monkeypatch.chdir(tmp_path / "andetsteds")
    rows = "SELECT count(*) FROM classified.karantaene"
    with duckdb.connect() as asking:
        asking.execute(Path(SQL_VIEWS).read_text("utf-8"))
        assert asking.sql(rows).fetchall() == root.rows(rows)
