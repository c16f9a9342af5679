"""Thousands of spoiled rows through real files: the quarantine is the expected one, and no øre is lost."""

import random
from collections import Counter
from dataclasses import replace
from datetime import date
from pathlib import Path

import pytest

from refusion_assets.assets.checks.calculated import raa_er_fordelt
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Dom, claims, judge
from refusion_assets.example import write
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, Row, read_root, write_file
from tests.kit.timeline import TROUBLE

MONTHS = ("2014-10", "2014-11", "2014-12", "2015-01")
SPOILED_OF_TEN = 5


def spoil(row: Row, others: list[Row], chance: random.Random) -> Row:
    """The row gone wrong in one of all the ways we know, or as a reversal or a repeat of another."""
    kind = chance.random()
    if kind < 0.6:
        return row | chance.choice(TROUBLE)
    other = chance.choice(others)
    if kind < 0.75:
        return row | {"IndberetningsID": other["IndberetningsID"]}
    reference = other["ReferenceID"] if kind > 0.9 and other["ReferenceID"] else other["IndberetningsID"]
    empty = dict.fromkeys(("Felt0114", "Felt0115", "Felt0216"), "")
    taken = {"Indberetningsart": "T", "ReferenceID": reference, "Pligt_SE": other["Pligt_SE"]}
    return row | empty | taken | {"CPR": chance.choice(["", other["CPR"]])}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Four months of receipt of 2,000 people of whose rows half are spoiled, classified month by month."""
    path: Path = tmp_path_factory.mktemp("karantaene")
    konti, kommuner = write.tables(RULEBOOK)
    write.write_example(path, konti, kommuner, "mini", month_of(MONTHS[0]), month_of(MONTHS[-1]), 7)
    chance = random.Random(994)  # noqa: S311  a choice of rows, not a secret
    files, _, _ = read_root(path, MONTHS[-1])
    everything = [row for fil in files for row in fil.rows]
    for fil in files:
        rows = [spoil(r, everything, chance) if chance.randrange(10) < SPOILED_OF_TEN else r for r in fil.rows]
        write_file(path, replace(fil, rows=rows))
    return DataRoot(path)


@pytest.fixture(scope="module")
def plain(root: DataRoot) -> Dom:
    """The verdicts of the second calculation."""
    files, _, _ = read_root(root.path, MONTHS[-1])
    return judge(files, RULEBOOK)


def test_the_quarantine_of_thousands_of_spoiled_rows_is_exactly_the_expected(root: DataRoot, plain: Dom) -> None:
    for month in MONTHS:
        root.classify(month)
    found = root.rows("SELECT filnavn, linje - 1, coalesce(indberetning_id, ''), regel FROM classified.karantaene")
    expected = sorted(tuple(row) for row in plain.karantaene)
    assert sorted(found) == expected
    by_rule = Counter(regel for *_, regel in expected)
    assert by_rule.total() > 3_000
    assert set(by_rule) >= {"YR-001", "YR-002", "YR-003", "YR-004", "YR-007", "EI-001", "EI-002", "EI-003", "EI-008"}
    assert set(by_rule) >= {"EI-010", "EI-013", "EI-015"}


@pytest.mark.parametrize(
    "moments",
    [
        ("2024-02-01T12:00:00", "x"),
        ("x", "2024-02-01T12:00:00"),
        ("x", ""),
        ("9999-01-01T00:00:00", "0001-01-01T00:00:00"),
    ],
)
def test_files_are_in_order_of_their_first_readable_moment_and_those_without_one_come_first(
    tmp_path: Path, moments: tuple[str, str]
) -> None:
    root, day = DataRoot(tmp_path), date(2024, 2, 5)
    for number, moment in enumerate(moments, 1):
        rows = [timeline.row("K", day, day, n, IndberetningsID=f"I{n}", Modtaget_tidspunkt=moment) for n in (1, 2)]
        again = rows[1] | {"IndberetningsID": f"N{number}"}
        write_file(tmp_path, timeline.fil("K", [rows[0], again], "2024-02", number))
    root.classify("2024-02")
    files, _, _ = read_root(tmp_path, "2024-02")
    expected = sorted(tuple(row) for row in judge(files, RULEBOOK).karantaene)
    found = root.rows("SELECT filnavn, linje - 1, coalesce(indberetning_id, ''), regel FROM classified.karantaene")
    assert sorted(found) == expected
    order = root.rows("SELECT loebenr FROM raw.fil ORDER BY foerste_modtaget NULLS FIRST, filnavn")
    assert order == [(1,), (2,)] if moments[0] in ("x", "") else order == [(2,), (1,)]


def test_what_was_received_is_used_reversed_or_quarantined_to_the_oere(root: DataRoot, plain: Dom) -> None:
    with root.place.warehouse.open() as session:
        outcome = raa_er_fordelt(Asked(session, root.place, month_of(MONTHS[-1])))
    assert outcome.bestaaet, outcome.tekst
    used = sum(claim.beloeb for claim in claims(plain.brugt, RULEBOOK))
    assert outcome.tal["brugt_oere"] == used
    assert all(outcome.tal[name] for name in ("tilbagefoert_oere", "karantaene_oere"))
