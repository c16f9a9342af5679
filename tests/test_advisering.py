"""Advice over months, through real files: what is new, what is still open, what is solved, and who gets it."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import polars as pl
import pytest
from hypothesis import HealthCheck, given, settings

from refusion_assets import files
from refusion_assets.assets import classified, fund, raw, refusion
from refusion_assets.context import Place
from refusion_assets.domain.efterregning_raa import Fil
from refusion_assets.domain.fund import AABEN, LOEST, NOBODY, NY, Fund
from refusion_assets.domain.opgoerelse import run_number
from refusion_assets.domain.weeks import month_of
from refusion_assets.rulebook import load
from refusion_assets.warehouse import Session
from tests.support import RULES, Row, write_file, write_register
from tests.timeline import CPR, SOURCES, History, histories, row

OTHER = "7001662194"
BORN_1858 = "010158" + "5019"  # fails modulus 11; nobody born in 1858 has had a CPR number
MONTHS = ("2024-02", "2024-03", "2024-04", "2024-05")
WEEK = date(2024, 2, 5), date(2024, 2, 11)
HEADER = (
    "Kørsel;Regel-id;Alvor;CPR nummer;Uge fra;Uge til;Ydelse;Konto;IndberetningsID;Kilde;Felt;Værdi;Beløb;Tekst;"
    "Handling;Status"
)
ABOUT_FILES = pl.col("regel").str.starts_with("FIL-")


def advice_of(session: Session, place: Place, month: date, koder: Sequence[str] | None = None) -> pl.DataFrame:
    """The advice of a run, made as a run makes it, and proved against a look at everything."""
    raw.ingest(session, place, month)
    raw.ingest_registers(session, place, month)
    classified.classify_through(session, place, month)
    refusion.calculate(session, place, month, lambda _: None)
    number = run_number(month, place.rules)
    advice = fund.advise(session, place, month, number, koder)
    still_open = advice.filter(pl.col("status") != LOEST).drop("koersel", "status").sort("regel", "noegle")
    everything = fund.find(session, place, month)
    assert koder or still_open.equals(everything.select(still_open.columns))
    run = {"koersel": [number], "maaned": [month], "status": ["åben"], "regelversion": [place.rules.version]}
    session.run("DELETE FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    session.insert("opgoerelse.koersel", pl.DataFrame({**run, "filsum": ["x"]}))
    return advice


@dataclass
class Senders:
    """A data root that two senders deliver to, one file each a month: kontanthjælp (K) and dagpenge (D)."""

    root: Path
    sent: int = field(default=0)

    @property
    def place(self) -> Place:
        """The place of the root."""
        return Place(self.root, RULES)

    def deliver(self, month: str, rows: Sequence[tuple[str, Row]] = (), skip: int = 0) -> None:
        """A month's files with the rows of each letter, and both persons living in 169."""
        self.sent += 1 + skip
        for letter in "KD":
            _, _, kilde, enhed, *_ = SOURCES[letter]
            name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{self.sent:04}.csv"
            write_file(self.root, Fil(name, kilde, enhed, month, "", [r for sender, r in rows if sender == letter]))

    def live(self, month: str, *stays: tuple[str, str, str, str]) -> None:
        """The residences as known in a month."""
        names = ("CPR", "Kommunekode", "Bopael_start", "Bopael_slut")
        write_register(self.root, "bopael", month, [dict(zip(names, stay, strict=True)) for stay in stays])

    def run(self, month: str, koder: Sequence[str] | None = None) -> pl.DataFrame:
        """The advice of a run; what it finds of what has changed must be all that there is to find."""
        with self.place.warehouse.open() as session:
            return advice_of(session, self.place, month_of(month), koder)

    def written(self, month: str, advice: pl.DataFrame) -> dict[str, bytes]:
        """The advice files of a run by municipality."""
        koder = [k.kommunekode for k in self.place.rules.kommuner]
        with self.place.warehouse.open() as session:
            table = files.advisering_table(fund.named(session, self.place, advice))
        tables = {files.ADVISERING: ("kommunekode", table)}
        ready = files.stage(self.root / "ud" / month, tables, koder, month_of(month), self.place.rules).ready
        return {path.name.split("-")[3]: path.read_bytes() for path in ready.glob("*.csv")}


@pytest.fixture
def senders(tmp_path: Path) -> Senders:
    """Two senders, and both persons living in 169."""
    made = Senders(tmp_path)
    made.live("2024-02", (CPR, "169", "2010-01-01", ""), (OTHER, "169", "2010-01-01", ""))
    return made


def kth(nr: str, kroner: str = "1000,00", fra: date = WEEK[0], til: date = WEEK[1], **changes: str) -> tuple[str, Row]:
    """A good report of kontanthjælp for a week."""
    return "K", row("K", fra, til, 1, kroner, **{"IndberetningsID": nr, "Indtaegtsart": "0041", **changes})


def adp(nr: str, kroner: str = "1000,00", **changes: str) -> tuple[str, Row]:
    """A good report of dagpenge for the week."""
    good = {"IndberetningsID": nr, "Indkomsttype": "04", "Indtaegtsart": "0005"}
    return "D", row("D", *WEEK, 1, kroner, **(good | changes))


def back(letter: str, nr: str, of: str) -> tuple[str, Row]:
    """A reversal of a whole report."""
    _, konto, *_ = SOURCES[letter]
    made = row(letter, *WEEK, 1, "", "", IndberetningsID=nr, Indberetningsart="T", ReferenceID=of)
    return letter, made | {name: "" for name in made if made[name] == konto}


def about(advice: pl.DataFrame, regel: str) -> list[dict[str, Any]]:
    """The rows of one rule."""
    return advice.filter(regel=regel).rows(named=True)


def rules_of(advice: pl.DataFrame) -> dict[str, str]:
    """Status by rule, apart from what is said of files."""
    return dict(advice.filter(~ABOUT_FILES).select("regel", "status").rows())


# --- over months --------------------------------------------------------------------------------------------


def test_a_bad_row_is_new_then_open_and_solved_once_when_its_report_is_reversed(senders: Senders) -> None:
    deliveries = [[kth("B1", Felt0115="")], [], [back("K", "T1", "B1")], []]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=True):
        senders.deliver(month, rows)
        seen.append(rules_of(senders.run(month)))
    assert seen == [{"YR-003": NY}, {"YR-003": AABEN}, {"YR-003": LOEST}, {}]


def test_a_reversal_that_waits_is_solved_when_its_report_arrives(senders: Senders) -> None:
    deliveries = [[back("K", "T1", "I1")], [kth("I1")]]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=False):
        senders.deliver(month, rows)
        seen.append(rules_of(senders.run(month)))
    assert seen == [{"EI-014": NY}, {"EI-014": LOEST}]


def test_two_payers_of_a_week_are_solved_by_a_reversal_and_new_when_one_pays_again(senders: Senders) -> None:
    deliveries = [
        [kth("I1", "1000,00"), kth("I2", "600,00", Pligt_SE="29169001")],
        [back("K", "T1", "I1")],
        [kth("I3", "1000,00")],
    ]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=False):
        senders.deliver(month, rows)
        [finding] = about(senders.run(month), "EI-009")
        seen.append((finding["status"], finding["beloeb_oere"], finding["kommunekode"]))
    assert seen == [(NY, 60_000, "169"), (LOEST, 60_000, "169"), (NY, 60_000, "169")]


def test_a_weeks_too_large_amount_is_solved_by_a_supplement_that_lowers_it(senders: Senders) -> None:
    deliveries = [[kth("I1", "12000,01")], [kth("I2", "-0,01")], []]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=False):
        senders.deliver(month, rows)
        seen.append(rules_of(senders.run(month)))
    assert seen == [{"EI-016": NY}, {"EI-016": LOEST}, {}]


def test_the_same_run_again_lists_the_same_and_writes_the_same_bytes(senders: Senders) -> None:
    for month in MONTHS[:2]:
        senders.deliver(month, [kth(f"B{month}", Felt0115=""), kth(f"I{month}", "30000,00")])
        first = senders.run(month)
        again = senders.run(month)
        assert first.equals(again)
        assert senders.written(month, first) == senders.written(month, again)
        with senders.place.warehouse.open() as session:
            query = "SELECT * FROM opgoerelse.advis WHERE koersel = $n ORDER BY kommunekode, regel, noegle"
            stored = session.frame(query, n=run_number(month_of(month), senders.place.rules))
        assert stored.select(first.columns).equals(first)


def test_one_municipality_alone_replaces_its_own_rows_and_nobody_s_only(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("B1", Felt0115=""), adp("B2", Felt0114="")])
    whole = senders.run(MONTHS[0])
    assert set(senders.run(MONTHS[0], ["101"])["kommunekode"]) <= {"101", NOBODY}
    with senders.place.warehouse.open() as session:
        stored = session.frame("SELECT * FROM opgoerelse.advis")
    assert stored.height == whole.height


def test_a_finding_about_the_sender_s_files_lasts_its_month(senders: Senders) -> None:
    for month, number in zip(MONTHS[:3], (5, 6, 6), strict=True):
        senders.deliver(
            month, [kth(f"I{month}{n}", fra=date(2024, 1, n + 1)) for n in range(number)], skip=month == "2024-03"
        )
        advice = senders.run(month).filter(ABOUT_FILES & (pl.col("kilde").is_null() | (pl.col("kilde") == "ky")))
    assert rules_of(advice.with_columns(regel=pl.col("regel").str.replace("FIL", "fil"))) == {"fil-005": AABEN}


# --- each finding at its bound ------------------------------------------------------------------------------

CASES: list[tuple[str, tuple[str, Row], bool]] = [
    ("EI-016", kth("I1", "12000,00"), False),
    ("EI-016", kth("I1", "12000,01"), True),
    ("EI-006", kth("I1"), False),
    ("EI-006", kth("I1", Indtaegtsart="0042"), True),
    ("EI-006", kth("I1", Indkomsttype="04"), True),
    ("EI-007", kth("I1", fra=date(2014, 7, 1), til=date(2014, 7, 1)), False),
    ("EI-007", kth("I1", fra=date(2014, 6, 30), til=date(2014, 6, 30)), True),
    ("EI-018", adp("I1"), False),
    ("EI-018", adp("I1", CPR="9112004321"), True),
    ("EI-019", kth("I1"), False),
    ("EI-004", kth("I1"), False),
    ("EI-004", kth("I1", CPR=BORN_1858), True),
    ("EI-004", kth("I1", CPR=BORN_1858, Felt0115=""), False),
    ("EI-010", kth("I1", "0,00"), False),
    ("EI-010", kth("I1", "-0,01"), True),
    ("EI-002", kth("I1", fra=date(2023, 1, 1), til=date(2024, 1, 1)), False),
    ("EI-002", kth("I1", fra=date(2022, 12, 31), til=date(2024, 1, 1)), True),
    ("EI-003", kth("I1", CPR="611051247"), True),
    ("EI-008", kth("I1", Kommunekode="101"), True),
    ("YR-001", kth("I1", Felt0115="urn:oio:kommune:konto:557731099"), True),
]


@pytest.mark.parametrize(
    ("regel", "report", "fires"),
    CASES,
    ids=[f"{regel}-{'fires' if fires else 'does not'}-{n}" for n, (regel, _, fires) in enumerate(CASES)],
)
def test_a_finding_fires_over_its_bound_and_not_at_it(
    senders: Senders, regel: str, report: tuple[str, Row], fires: bool
) -> None:
    senders.deliver(MONTHS[0], [report])
    advice = senders.run(MONTHS[0])
    assert len(about(advice, regel)) == fires
    Fund.validate(advice.drop("koersel", "status"))


def test_the_other_payer_than_the_residence_is_told_once_a_month(senders: Senders) -> None:
    senders.live("2024-02", (CPR, "101", "2010-01-01", ""))
    senders.deliver(MONTHS[0], [kth("I1"), kth("I2", fra=date(2024, 2, 12), til=date(2024, 2, 18))])
    [finding] = about(senders.run(MONTHS[0]), "EI-019")
    assert (finding["kommunekode"], finding["vaerdi"], finding["beloeb_oere"]) == ("169", "101", 200_000)


def test_days_that_two_payers_do_not_share_are_nothing_to_tell(senders: Senders) -> None:
    apart = kth("I2", fra=date(2024, 2, 12), til=date(2024, 2, 18), Pligt_SE="29169001")
    senders.deliver(MONTHS[0], [kth("I1"), apart])
    assert about(senders.run(MONTHS[0]), "EI-009") == []


def test_the_alarm_counts_what_two_payers_newly_pay_and_the_month_s_used_lines(senders: Senders) -> None:
    deliveries = [
        [
            kth("I1"),
            kth("I2", "600,00", Pligt_SE="29169001"),
            kth("B1", "50,00", Felt0115=""),
            kth("I3", "7,00", CPR=OTHER),
        ],
        [kth("I4", "5,00", CPR=OTHER, fra=date(2024, 2, 12), til=date(2024, 2, 12))],
        [kth("I5", "1,00", Pligt_SE="29169001")],
    ]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=False):
        senders.deliver(month, rows)
        senders.run(month)
        with senders.place.warehouse.open() as session:
            seen.append(fund.double_pay(session, senders.place, month_of(month)))
    assert seen == [(60_000, 160_700), (0, 500), (60_100, 100)]


# --- who gets it --------------------------------------------------------------------------------------------


def test_a_national_line_goes_to_the_residence_of_its_week_else_the_last_known_else_nobody(senders: Senders) -> None:
    senders.live(
        "2024-02",
        (CPR, "101", "2010-01-01", "2024-02-06"),
        (CPR, "147", "2024-02-07", ""),
        (OTHER, "151", "2010-01-01", "2015-01-01"),
        ("9112004321", "999", "2010-01-01", ""),
    )
    people = (CPR, OTHER, "9112004321")
    senders.deliver(MONTHS[0], [adp(f"B{n}", CPR=cpr, Pligt_SE="") for n, cpr in enumerate(people)])
    found = about(senders.run(MONTHS[0]), "EI-001")
    assert {f["indberetning_id"]: f["kommunekode"] for f in found} == {"B0": "101", "B1": "151", "B2": NOBODY}


def test_a_finding_moves_with_a_residence_that_is_put_right(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [adp("B1", Pligt_SE="")])
    senders.run(MONTHS[0])
    senders.deliver(MONTHS[1])
    senders.live(MONTHS[1], (CPR, "101", "2010-01-01", ""))
    found = about(senders.run(MONTHS[1]), "EI-001")
    assert [(f["kommunekode"], f["status"]) for f in found] == [("101", NY), ("169", LOEST)]


# --- the files ----------------------------------------------------------------------------------------------


def lines(data: bytes) -> list[Row]:
    """The rows of an advice file."""
    return list(csv.DictReader(io.StringIO(data.decode("utf-8")), delimiter=";"))


def test_every_municipality_and_nobody_has_a_file_and_most_have_only_the_header(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("B1", Felt0115="")])
    written = senders.written(MONTHS[0], senders.run(MONTHS[0]))
    assert len(written) == 99
    assert NOBODY in written
    assert written["101"] == f"{HEADER}\n".encode()
    assert all(data.startswith(f"{HEADER}\n".encode()) for data in written.values())


def test_a_row_says_all_that_a_caseworker_needs(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("I1", "12000,01")])
    [found] = lines(senders.written(MONTHS[0], senders.run(MONTHS[0]))["169"])
    assert found == {
        "Kørsel": "50", "Regel-id": "EI-016", "Alvor": "ADVARSEL", "CPR nummer": CPR, "Uge fra": "2024-02-05",
        "Uge til": "2024-02-05", "Ydelse": "Kontanthjælp", "Konto": "", "IndberetningsID": "", "Kilde": "",
        "Felt": "Beløb", "Værdi": "12000,00", "Beløb": "12000,01",
        "Tekst": "Der er placeret 12000,01 kr. af kontanthjælp på ugen fra 2024-02-05, hvilket er mere end grænsen"
                 " på 12000,00 kr.",
        "Handling": "Sagsbehandleren undersøger, om beløb og periode er rigtige, og om der er skrevet øre for kroner.",
        "Status": "NY",
    }  # fmt: skip


def test_an_impossible_number_is_shown_as_it_was_written_and_only_in_its_own_column(senders: Senders) -> None:
    senders.deliver(MONTHS[0], [kth("I1", CPR="611051247"), kth("I2", CPR="6113512470")])
    advice = senders.run(MONTHS[0])
    found = lines(senders.written(MONTHS[0], advice)["169"])
    assert [f["CPR nummer"] for f in found] == ["611051247", "6113512470"]
    shown = [value for f in found for name, value in f.items() if name != "CPR nummer"]
    assert not any("611" in value for value in shown)
    assert "cpr" not in advice.columns


def test_no_person_is_named_in_the_table_nor_outside_the_column_of_the_file(senders: Senders) -> None:
    rows = [
        kth("I1", "30000,00"),
        kth("B1", Felt0115=CPR),
        kth("B2", CPR="6113512470"),
        adp("I3"),
        adp("I4", Pligt_SE=CPR),
    ]
    senders.deliver(MONTHS[0], [*rows, back("K", "T1", CPR)])
    advice = senders.run(MONTHS[0])
    hidden = advice.drop("indberetning_id", "noegle").cast(pl.String)
    for person in (CPR, "6113512470"):
        assert not any(hidden[name].str.contains(person).any() for name in hidden.columns)
    assert {"EI-003", "EI-009", "EI-014", "EI-016", "YR-001"} <= set(advice["regel"])


def test_the_rows_of_a_file_stand_in_order_of_rule_person_and_week(senders: Senders) -> None:
    days = [(date(2024, 2, 12), date(2024, 2, 18)), WEEK]
    rows = [
        kth(f"B{n}{cpr}{felt}", cpr=cpr, fra=fra, til=til, **{felt: ""})
        for n, (fra, til) in enumerate(days)
        for cpr in (OTHER, CPR)
        for felt in ("Indkomsttype", "Felt0115")
    ]
    senders.deliver(MONTHS[0], [("K", r | {"IndberetningsID": r["IndberetningsID"][:16]}) for _, r in rows])
    found = lines(senders.written(MONTHS[0], senders.run(MONTHS[0]))["169"])
    keys = [(f["Regel-id"], f["CPR nummer"], f["Uge fra"]) for f in found]
    assert len(keys) == 8
    assert keys == sorted(keys)


# --- any history --------------------------------------------------------------------------------------------


def deliver(root: Path, history: History) -> None:
    """The files of a history, with an empty one from every sender in every month, and the residences of each month."""
    senders = sorted({(f.kilde, f.enhed) for f in history.files})
    for month, stays in zip(history.months, history.snapshots, strict=True):
        for kilde, enhed in senders:
            name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{8000 + int(month[5:])}.csv"
            write_file(root, Fil(name, kilde, enhed, month, "", []))
        write_register(root, "bopael", month, stays)
    for fil in history.files:
        write_file(root, fil)


@settings(max_examples=6, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
@given(histories(load(RULES)))
def test_looking_at_what_has_changed_finds_all_there_is_in_any_history(history: History) -> None:
    with TemporaryDirectory() as folder:
        place = Place(Path(folder), RULES)
        deliver(place.root, history)
        for month in history.months:
            with place.warehouse.open() as session:
                first = advice_of(session, place, month_of(month))
        with place.warehouse.open() as session:
            assert advice_of(session, place, month_of(history.last)).equals(first)
