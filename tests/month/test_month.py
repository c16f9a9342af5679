"""Whole months of the example through the command: raw files in, the ledger and the municipalities' files out."""

import csv
import hashlib
import io
import random
import re
import shutil
from collections import Counter, defaultdict
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from refusion_assets.domain.efterregning.reports import judge as plain_judge
from tests.conftest import DataRoot, Example
from tests.kit.data_root import (
    EXAMPLE,
    RULEBOOK,
    WEEKS,
    Row,
    plain_weeks,
    read_csv,
    read_root,
    write_file,
    write_register,
)

MONTHS = ("2024-02", "2024-03", "2024-04")
NUMBERS = {"2024-02": "0050-2024-03-03", "2024-03": "0051-2024-04-03", "2024-04": "0052-2024-05-03"}
FLEKSBIDRAG = "Fleksbidrag fra staten"
AMOUNTS = {
    "indberettet": "Indberetning udbetalingsbeløb",
    "beloeb": "Beregnet udbetalingsbeløb",
    "refusion": "Refusionsbeløb",
    "medfinansiering": "Medfinansieringsbeløb",
}
EMPTY_OR_NOUGHT = (
    *("Indberetning udbetalingsbeløb", "Beregnet udbetalingsbeløb", "Refusionssats", "Medfinansieringssats"),
    *("Medfinansieringsbeløb", "Ydelsestæller", "Genoptjeningstæller", "Trin"),
)
BEREGNING = (
    "Uge;CPR nummer;Ydelse;Finansiering Kommunenavn;Indberetning udbetalingsbeløb;Beregnet udbetalingsbeløb;"
    "Refusionssats;Refusionsbeløb;Medfinansieringssats;Medfinansieringsbeløb;Rækketype;Ydelsestæller;"
    "Genoptjeningstæller;Trin;Kørsel;Oprindelig kørsel;Række-id;Regelversion"
)
OPGOERELSE = (
    "Kørsel;Kommunekode;Kommune;Transaktionstype;Ydelse;Sats;Antal borgere;Antal uger;Beløb løbende måned;"
    "Rettelser indeværende år;Rettelser tidligere år;Beløb i alt"
)


def oere(kroner: str) -> int:
    """An amount of an outgoing file in øre; it must have exactly two decimals."""
    assert re.fullmatch(r"-?\d+,\d\d", kroner)
    return int(kroner.replace(",", ""))


def expected(month: str) -> list[Row]:
    """The expected state of a run."""
    return read_csv(EXAMPLE / "expected" / f"state-{month}.csv")


def sums(rows: list[Row], sign: int = 1) -> Counter[tuple[str, ...]]:
    """Øre of a state by week, person, benefit, municipality and amount."""
    total: Counter[tuple[str, ...]] = Counter()
    for row in rows:
        for name in AMOUNTS:
            total[row["uge"], row["cpr"], row["ydelse"], row["kommune"], name] += sign * int(row[name])
    return total


# --- what the files say -------------------------------------------------------------------------------------


@pytest.mark.parametrize(("before", "month"), [(None, "2024-02"), ("2024-02", "2024-03"), ("2024-03", "2024-04")])
def test_the_files_of_a_run_sum_to_the_change_of_the_expected_state(
    example: Example, before: str | None, month: str
) -> None:
    change = sums(expected(month))
    change.update(
        sums(expected(before), -1) if before else sums([r for r in expected(month) if r["maaned"] < month], -1)
    )
    found: Counter[tuple[str, ...]] = Counter()
    for row in example.rows("beregning", month):
        key = row["Uge"], row["CPR nummer"], row["Ydelse"], row["Finansiering Kommunenavn"]
        for name, column in AMOUNTS.items():
            found[*key, name] += oere(row[column])
    assert {key: value for key, value in found.items() if value} == {
        key: value for key, value in change.items() if value
    }


@pytest.mark.parametrize("month", MONTHS)
def test_a_settled_row_shows_the_expected_percentage_counters_and_step(example: Example, month: str) -> None:
    known: dict[tuple[str, ...], set[tuple[str, ...]]] = defaultdict(set)
    for row in expected(month):
        told = row["procent"], row["n"] if row["trin"] else "", row["genoptjening"], row["trin"]
        known[row["uge"], row["cpr"], row["ydelse"], row["kommune"]].add(told)
    checked = 0
    for row in example.rows("beregning", month):
        if row["Ydelse"] == FLEKSBIDRAG:
            assert [row[name] for name in EMPTY_OR_NOUGHT] == ["0,00"] * 5 + [""] * 3
        elif row["Rækketype"] != "T":
            sats = {row["Refusionssats"], row["Medfinansieringssats"]} - {"0,00"}
            told = sats.pop().removesuffix(",00"), row["Ydelsestæller"], row["Genoptjeningstæller"], row["Trin"]
            key = row["Uge"], row["CPR nummer"], row["Ydelse"], row["Finansiering Kommunenavn"]
            assert (sats, known[key]) == (set(), {told})
            checked += 1
    assert checked > 100


@pytest.mark.parametrize("month", MONTHS)
def test_a_week_of_a_person_and_benefit_has_at_most_one_row_of_each_sign(example: Example, month: str) -> None:
    types: dict[tuple[str, ...], str] = defaultdict(str)
    for row in example.rows("beregning", month):
        key = row["Uge"], row["CPR nummer"], row["Ydelse"], row["Finansiering Kommunenavn"]
        types[key] += row["Rækketype"]
        assert (row["Rækketype"] == "T") == bool(row["Oprindelig kørsel"])
        assert row["Kørsel"] == str(int(NUMBERS[month][:4]))
    assert set(types.values()) <= {"N", "T", "TK"}


def test_a_row_id_is_given_once_over_all_runs_and_every_row_carries_the_version_of_the_rules(example: Example) -> None:
    rows = [row for month in MONTHS for row in example.rows("beregning", month)]
    assert len({row["Række-id"] for row in rows}) == len(rows) > 400
    assert {row["Regelversion"] for row in rows} == {RULEBOOK.version[:12]}


@pytest.mark.parametrize("month", MONTHS)
def test_the_rows_lie_in_the_files_of_their_municipality_and_in_order(example: Example, month: str) -> None:
    order = {"T": 0, "K": 1, "N": 2}
    for kommune in RULEBOOK.kommuner:
        data = example.files[month][f"yr-ydelsesrefusion-beregning-{kommune.kommunekode}-{NUMBERS[month]}.csv"]
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";"))
        assert {row["Finansiering Kommunenavn"] for row in rows} <= {kommune.navn}
        places = [(row["Uge"], row["CPR nummer"], row["Ydelse"], order[row["Rækketype"]]) for row in rows]
        assert places == sorted(places)


@pytest.mark.parametrize("month", MONTHS)
def test_the_statement_sums_to_the_calculation_files(example: Example, month: str) -> None:
    found: Counter[tuple[str, str]] = Counter()
    for row in example.rows("opgoerelse", month):
        parts = [oere(row[c]) for c in ("Beløb løbende måned", "Rettelser indeværende år", "Rettelser tidligere år")]
        assert sum(parts) == oere(row["Beløb i alt"])
        assert row["Kørsel"] == str(int(NUMBERS[month][:4]))
        found[row["Kommune"], row["Transaktionstype"]] += sum(parts)
    told: Counter[tuple[str, str]] = Counter()
    for row in example.rows("beregning", month):
        refunded = "FLEKSBIDRAG" if row["Ydelse"] == FLEKSBIDRAG else "REFUSION"
        told[row["Finansiering Kommunenavn"], refunded] += oere(row["Refusionsbeløb"])
        told[row["Finansiering Kommunenavn"], "MEDFINANSIERING"] += oere(row["Medfinansieringsbeløb"])
    assert {key: value for key, value in found.items() if value} == {key: value for key, value in told.items() if value}


# --- the form of the files ----------------------------------------------------------------------------------


@pytest.mark.parametrize("month", MONTHS)
@pytest.mark.parametrize(("kind", "header"), [("beregning", BEREGNING), ("opgoerelse", OPGOERELSE)])
def test_all_98_municipalities_get_a_file_with_the_agreed_name_and_columns(
    example: Example, month: str, kind: str, header: str
) -> None:
    names = {f"yr-ydelsesrefusion-{kind}-{k.kommunekode}-{NUMBERS[month]}.csv" for k in RULEBOOK.kommuner}
    found = {name: data for name, data in example.files[month].items() if f"-{kind}-" in name}
    assert (len(names), set(found)) == (98, names)
    for data in found.values():
        text = data.decode("utf-8")
        assert text.split("\n", 1)[0] == header
        assert text.endswith("\n")
        assert not re.search(r'[\r"\ufeff]', text)


@pytest.mark.parametrize("month", MONTHS)
def test_the_sums_agree_with_the_files_and_nothing_else_lies_in_the_folder(example: Example, month: str) -> None:
    files = dict(example.files[month])
    lines = files.pop("SHA256SUMS").decode("utf-8").splitlines()
    assert lines == [f"{hashlib.sha256(data).hexdigest()}  {name}" for name, data in sorted(files.items())]
    assert {path.name for path in (example.root.path / "udgaaende").iterdir()} == set(MONTHS)


# --- the ledger and the tables ------------------------------------------------------------------------------


def test_the_ledger_sums_to_the_state_of_the_last_run_with_the_opening_rows(example: Example) -> None:
    key = "uge, maaned, borger_id, ydelse_id, kommunekode"
    money = ("indberettet_oere", "beloeb_oere", "refusion_oere", "medfinansiering_oere")
    added = ", ".join(f"sum({column})::BIGINT" for column in money)
    ledger = example.root.rows(f"SELECT {key}, {added} FROM opgoerelse.postering GROUP BY ALL ORDER BY ALL")
    state = example.root.rows(f"SELECT {key}, {', '.join(money)} FROM refusion.tilstand ORDER BY ALL")
    assert [row for row in ledger if any(row[5:])] == state
    opened = example.root.rows("SELECT max(maaned), min(koersel) FROM opgoerelse.postering WHERE raekketype = 'Å'")
    assert opened == [(date(2024, 1, 1), 0)]


@pytest.mark.parametrize("month", MONTHS)
def test_each_run_knew_what_was_received_through_its_month_and_starting_the_next_closed_it(
    example: Example, month: str
) -> None:
    number = int(NUMBERS[month][:4])
    status = example.root.rows(f"SELECT status FROM opgoerelse.koersel WHERE koersel = {number}")
    assert status == [("åben" if month == "2024-04" else "lukket",)]
    if month != "2024-04":
        before = example.root.ledger()
        again = example.root.refusion("koer", month)
        assert (again.code, again.err.count("\n"), month in again.err) == (1, 1, True)
        assert example.root.ledger() == before
        assert example.root.files(month) == example.files[month]


def test_the_quarantine_is_the_expected_one_with_file_line_and_rule(example: Example) -> None:
    found = example.root.rows("SELECT filnavn, linje - 1, indberetning_id, regel FROM classified.karantaene")
    rows = read_csv(EXAMPLE / "expected" / "quarantine-2024-04.csv")
    assert sorted((name, str(nr), own or "", rule) for name, nr, own, rule in found if rule != "EI-010") == sorted(
        tuple(row.values()) for row in rows
    )
    files, _, _ = read_root(EXAMPLE / "data", "2024-04")
    below = [tuple(row) for row in plain_judge(files, RULEBOOK).karantaene if row.regel == "EI-010"]
    assert sorted(row for row in found if row[3] == "EI-010") == below


def test_analysts_find_every_whole_week_of_a_person_with_kind_and_both_counters(example: Example) -> None:
    files, _, _ = read_root(EXAMPLE / "data", "2024-04")
    weeks = example.root.rows(WEEKS)
    assert {(cpr, uge): week for cpr, uge, *week in weeks} == {
        key: list(week) for key, week in plain_weeks(files, "2024-04", RULEBOOK).items()
    }
    assert len(weeks) > 8000


def test_no_cpr_number_stands_in_dagsters_files_or_in_what_the_command_says(example: Example) -> None:
    files, bopael, _ = read_root(EXAMPLE / "data", "2024-04")
    numbers = {row[name] for fil in files for row in fil.rows for name in ("CPR", "Felt0216")}
    numbers |= {row["CPR"] for row in bopael}
    numbers = {number for number in numbers if re.fullmatch(r"\d{10}", number)}
    assert len(numbers) > 50
    pattern = re.compile("|".join(sorted(numbers)).encode())
    homes = [path for path in (example.root.path / "dagster").rglob("*") if path.is_file()]
    assert any(path.suffix == ".db" and path.stat().st_size > 100_000 for path in homes)
    assert [path.name for path in homes if pattern.search(path.read_bytes())] == []
    assert not any(pattern.search((ran.out + ran.err).encode()) for ran in example.said.values())


def test_shuffled_files_and_rows_give_the_same_bytes(example: Example, tmp_path: Path) -> None:
    root, chance = DataRoot(tmp_path), random.Random(994)  # noqa: S311  a shuffle, not a secret
    files, _, _ = read_root(EXAMPLE / "data", "2024-04")
    chance.shuffle(files)
    mixed: dict[str, list[Row]] = {}  # what was delivered twice is shuffled once
    for fil in files:
        rows = mixed.setdefault(fil.sha256, chance.sample(fil.rows, len(fil.rows)))
        write_file(root.path, replace(fil, rows=rows))
    for path in sorted((EXAMPLE / "data" / "raw" / "bopael").glob("*/*.csv")):
        rows = read_csv(path)
        write_register(root.path, "bopael", path.parent.name, chance.sample(rows, len(rows)))
    shutil.copytree(EXAMPLE / "data" / "raw" / "fleksgrundlag", root.path / "raw" / "fleksgrundlag")
    for month in ("2024-02", "2024-03"):
        root.run(month)
        assert root.money(month) == {name: example.files[month][name] for name in root.money(month)}
