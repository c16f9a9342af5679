"""Fleksbidrag from delivered bases to ledger and files: corrections, advice, rules, and any life in fleksjob."""

import csv
import io
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import Phase, given

from refusion_assets.assets.checks.received import registre_er_laeselige
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.money import Resultat, state
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.rulebook.load import RuleError, load
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import RULEBOOK, Row, write_file, write_register
from tests.kit.fleks import basis, flex, kth, lives
from tests.kit.timeline import examples
from tests.law.test_rules import spoil
from tests.month.test_histories import LEDGER, STATE, few_kommuner

MONTHS = ("2023-01", "2023-02", "2023-03")
TILSTAND = STATE.replace("refusion.borger_uge_ydelse", "refusion.tilstand")
FLEKS_LEDGER = """SELECT koersel, raekketype, maaned, uge, refusion_oere, oprindelig_koersel FROM opgoerelse.postering
    WHERE ydelse_id = 'FLEKSBIDRAG' ORDER BY koersel, maaned, raekketype DESC"""
ADVICE = """SELECT koersel, status, kommunekode, ydelse_id, uge_fra, vaerdi FROM opgoerelse.advis
    WHERE regel = 'FB-001' ORDER BY koersel, vaerdi"""
JANUARY, LAST_WEEK = date(2023, 1, 1), date(2023, 1, 30)


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A data root with one person, on the last step, and fleksløntilskud in January."""
    made = few_kommuner(tmp_path)
    rows = [*kth(60, JANUARY), flex(JANUARY, date(2023, 1, 31), 1, "3100,00")]
    for month in MONTHS:
        write_file(made.path, timeline.fil("K", rows if month == MONTHS[0] else [], month, int(month[-2:])))
        write_register(made.path, "bopael", month, [])
    return made


def give(root: DataRoot, month: str, *bases: Row) -> None:
    """A snapshot of bases received in a month."""
    write_register(root.path, "fleksgrundlag", month, bases)


def file_rows(root: DataRoot, kind: str, month: str) -> list[Row]:
    """The rows of municipality 169's file of a kind."""
    [data] = [data for name, data in root.files(month).items() if f"-{kind}-169-" in name]
    return list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";"))


def test_a_basis_that_comes_late_is_advised_of_until_then_and_settled_as_new(root: DataRoot) -> None:
    root.run("2023-01")
    assert (root.rows(FLEKS_LEDGER), root.rows(ADVICE)) == (
        [],
        [(37, "NY", "169", "FLEKSBIDRAG", LAST_WEEK, "2023-01")],
    )
    [told] = [row for row in file_rows(root, "advisering", "2023-01") if row["Regel-id"] == "FB-001"]
    assert (told["Alvor"], told["Ydelse"], told["CPR nummer"]) == ("ADVARSEL", "Fleksbidrag fra staten", timeline.CPR)
    give(root, "2023-02", basis("2023-01", "17550,00"))
    root.run("2023-02")
    assert root.rows(FLEKS_LEDGER) == [(38, "N", JANUARY, LAST_WEEK, 421_200, None)]
    assert [row[:2] for row in root.rows(ADVICE)] == [(37, "NY"), (38, "LØST")]


def test_a_changed_basis_takes_the_contribution_back_and_settles_it_anew_in_every_file(root: DataRoot) -> None:
    give(root, "2023-01", basis("2023-01", "17550,00"))
    root.run("2023-01")
    root.run("2023-02")
    give(root, "2023-03", basis("2023-01", "17550,00", "10000,00"))
    root.run("2023-03")
    assert root.rows(FLEKS_LEDGER) == [
        (37, "N", JANUARY, LAST_WEEK, 421_200, None),
        (39, "T", JANUARY, LAST_WEEK, -421_200, 37),
        (39, "K", JANUARY, LAST_WEEK, 221_200, None),
    ]
    beregning = file_rows(root, "beregning", "2023-03")
    assert [(row["Ydelse"], row["Rækketype"], row["Refusionsbeløb"], row["Refusionssats"]) for row in beregning] == [
        ("Fleksbidrag fra staten", "T", "-4212,00", "0,00"),
        ("Fleksbidrag fra staten", "K", "2212,00", "0,00"),
    ]
    [line] = file_rows(root, "opgoerelse", "2023-03")
    assert (line["Transaktionstype"], line["Ydelse"], line["Rettelser indeværende år"], line["Antal uger"]) == (
        *("FLEKSBIDRAG", "Fleksbidrag fra staten"),
        *("-2000,00", "1"),
    )
    first, *_ = file_rows(root, "bogfoering", "2023-03")
    assert (first["Konto"], first["Debet/kredit"], first["Beløb"]) == ("5.58.81.2.X07", "Debet", "2000,00")


def test_a_first_run_takes_the_contribution_of_earlier_months_as_settled(root: DataRoot) -> None:
    give(root, "2023-01", basis("2023-01", "17550,00"))
    root.run("2023-02")
    assert root.rows(FLEKS_LEDGER) == [(0, "Å", JANUARY, LAST_WEEK, 421_200, None)]


def test_a_snapshot_that_says_the_same_again_calculates_nobody(root: DataRoot) -> None:
    give(root, "2023-01", basis("2023-01", "17550,00"))
    root.run("2023-01")
    root.run("2023-02")
    give(root, "2023-03", basis("2023-01", "17550,00"))
    root.run("2023-03")
    assert root.rows("SELECT * FROM refusion.aendret WHERE maaned = DATE '2023-03-01'") == []
    assert len(root.rows(FLEKS_LEDGER)) == 1


def test_a_basis_given_again_or_taken_away_within_the_open_month_is_seen(root: DataRoot) -> None:
    for rows, oere in ([basis("2023-01", "17550,00")], [421_200]), ([basis("2023-01", "8000,00")], [192_000]), ([], []):
        give(root, "2023-01", *rows)
        root.run("2023-01")
        assert [row[4] for row in root.rows(FLEKS_LEDGER)] == oere


def test_bases_that_cannot_be_read_are_told_by_the_run_that_first_knows_the_file_however_old_it_is(
    root: DataRoot,
) -> None:
    odd = basis("2023-01", "17550,00") | {"Loen": "?"}
    give(root, "2023-01", basis("2023-01", "17550,00"), odd)
    said = []
    for month in MONTHS:
        root.run(month)
        with root.place.warehouse.open() as session:
            told = registre_er_laeselige(Asked(session, root.place, month_of(month)))
        said.append((told.bestaaet, told.antal))
        give(root, "2023-01", basis("2023-01", "17550,00"), *[odd] * len(said))
    assert said == [(False, 1), (True, 0), (False, 2)]


def test_a_reload_without_the_snapshot_takes_its_contribution_away(root: DataRoot) -> None:
    give(root, "2023-01", basis("2023-01", "17550,00"))
    root.koer("2023-01")
    assert root.rows("SELECT refusion_oere FROM refusion.fleksbidrag") == [(421_200,)]
    (root.path / "raw" / "fleksgrundlag" / "2023-01" / "fleksgrundlag-202301.csv").unlink()
    assert "FIL-008 fleksgrundlag-202301.csv" in root.refusion("genindlaes").err
    told = root.refusion("genindlaes", "--accepter", "FIL-008:fleksgrundlag-202301.csv", "--begrundelse", "trukket")
    assert (told.code, "-4.212,00 kr." in told.out) == (0, True), told.err
    assert root.rows("SELECT refusion_oere, beregningsgrundlag_oere FROM refusion.fleksbidrag") == [(0, None)]


def test_money_that_leaves_the_last_days_of_a_month_moves_the_contribution_to_an_earlier_week(root: DataRoot) -> None:
    give(root, "2023-01", basis("2023-01", "17550,00"))
    root.run("2023-01")
    back = timeline.row("K", JANUARY, date(2023, 1, 31), 1, Indberetningsart="T", ReferenceID="K00000001")
    shorter = flex(JANUARY, date(2023, 1, 10), 3, "1000,00")
    own = {"IndberetningsID": "T00000001", "Felt0014": "", "Felt0115": "", "Felt0214_start": "", "Felt0214_slut": ""}
    write_file(root.path, timeline.fil("K", [back | own, shorter], "2023-02", 2))
    root.run("2023-02")
    # Ten of 31 days: 4.212 * 10/31 = 1.358,71.
    assert root.rows(FLEKS_LEDGER)[1:] == [
        (38, "T", JANUARY, LAST_WEEK, -421_200, 37),
        (38, "N", JANUARY, date(2023, 1, 9), 135_900, None),
    ]


@pytest.mark.parametrize("change", [("trin_procent = 20", "trin_procent = 30"), ("2016-01-01", "2023-02-01")])
def test_a_change_of_the_rules_is_settled_by_the_next_run(root: DataRoot, change: tuple[str, str]) -> None:
    give(root, "2023-01", basis("2023-01", "17550,00"))
    root.run("2023-01")
    spoil(root.rules, "fleksbidrag.toml", *change)
    rule_edits.declare(root.rules, "fleksbidrag", date(2015, 12, 1))
    root.run("2023-02")
    assert [row[1] for row in root.rows(FLEKS_LEDGER)] == ["N", "T"]
    assert root.rows("SELECT * FROM refusion.fleksbidrag") == []


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('formel = "paragraf_7"', 'formel = "paragraf_8"', "formel paragraf_8 kendes ikke; vælg blandt paragraf_7"),
        ('ydelse_id = "FLEKS"', 'ydelse_id = "FLEX"', "ydelse FLEX findes ikke i ydelser.csv"),
        ('id = "FLEKSBIDRAG"', 'id = "FLEKS"', "id er en ydelse"),
        ("loen_procent = 20", "loen_procent = 120", "loen_procent 120 ligger ikke mellem 0 og 100"),
        ("afrunding_oere = 100", "afrunding_oere = 0", "afrunding_oere skal være mindst 1"),
        ("loen_procent = 20\n", "", "post 1: mangler loen_procent"),
        ("loen_procent = 20", "loen_pct = 20", "post 1: ukendt nøgle loen_pct"),
    ],
)
def test_a_rule_of_fleksbidrag_that_cannot_stand_is_refused(root: DataRoot, old: str, new: str, named: str) -> None:
    spoil(root.rules, "fleksbidrag.toml", old, new)
    with pytest.raises(RuleError, match=rf"fleksbidrag\.toml.*{named}"):
        load(root.rules)


def test_two_rules_of_fleksbidrag_on_one_date_are_refused(root: DataRoot) -> None:
    path = root.rules / "fleksbidrag.toml"
    text = path.read_text("utf-8")
    path.chmod(0o644)
    path.write_text(f"{text}\n{text[text.index('[[fleksbidrag]]') :]}", encoding="utf-8")
    with pytest.raises(RuleError, match=r"2016-01-01: datoen står to gange"):
        load(root.rules)


@examples(2, phases=[Phase.generate])
@given(life=lives(RULEBOOK, MONTHS))
def test_months_run_one_by_one_give_the_state_and_the_ledger_of_the_second_calculation(
    life: list[tuple[list[Fil], list[Row]]],
) -> None:
    senders = {(fil.kilde, fil.enhed) for files, _ in life for fil in files}
    with TemporaryDirectory() as folder:
        root, known, bases = few_kommuner(Path(folder)), [], []
        for month, (files, rows) in zip(MONTHS, life, strict=True):
            for kilde, enhed in sorted(senders - {(fil.kilde, fil.enhed) for fil in files}):
                name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-0000.csv"
                write_file(root.path, Fil(name, kilde, enhed, month, "", []))
            for fil in files:
                write_file(root.path, fil)
            write_register(root.path, "bopael", month, [])
            give(root, month, *rows)
            root.run(month)
            known, bases = known + files, bases + rows
            wanted = state(known, [], month, root.place.rules, fleksbidrag=True, fleksgrundlag=bases)
            assert {row[:5]: Resultat(*row[5:]) for row in root.rows(TILSTAND)} == wanted
            total = {row[:5]: row[5:] for row in root.rows(LEDGER) if any(row[5:])}
            assert total == {key: (r.indberettet, r.beloeb, r.refusion, r.medfinansiering) for key, r in wanted.items()}
