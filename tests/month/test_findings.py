"""Advice over months, through real files: what is new, what is still open, what is solved, and who gets it."""

from datetime import date

import polars as pl
import pytest

from refusion_assets.assets.findings import advise
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.findings.words import AABEN, LOEST, NOBODY, NY, Fund
from refusion_assets.domain.opgoerelse.ledger import run_number
from tests.kit.data_root import Row
from tests.kit.senders import ABOUT_FILES, BORN_1858, MONTHS, OTHER, Senders, about, adp, back, kth, rules_of
from tests.kit.timeline import CPR

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


def test_a_reversal_that_waits_says_why_as_it_is_known_now(senders: Senders) -> None:
    def of(person: str, nr: str, report: str) -> tuple[str, Row]:
        return "K", back("K", nr, report)[1] | {"CPR": person}

    deliveries = [
        [back("K", "T1", "I1"), of(CPR, "T2", "I2"), of(OTHER, "T3", "I3"), kth("I3")],
        [kth("I1", Pligt_SE="29169001"), of(OTHER, "T4", "I1")],
        [kth("I2", cpr=OTHER)],
    ]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=False):
        senders.deliver(month, rows)
        told = about(senders.run(month).filter(pl.col("status") != LOEST), "EI-014")
        seen.append({row["indberetning_id"]: (row["felt"], row["tekst"].split(", ", 1)[1]) for row in told})
    end = ", og har derfor endnu ingen virkning."
    away = ("ReferenceID", f"som ikke er modtaget{end}")
    payer = ("ReferenceID og Pligt_SE", f"som er modtaget, men fra en anden udbetaler (Pligt_SE){end}")
    person = ("ReferenceID og CPR", f"som er modtaget, men uden en række om den borger, tilbageførslen nævner{end}")
    assert seen == [
        {"T1": away, "T2": away, "T3": person},
        {"T1": payer, "T2": away, "T3": person, "T4": payer},
        {"T1": payer, "T2": person, "T3": person, "T4": payer},
    ]


def test_a_weeks_too_large_amount_is_told_also_where_nobody_knows_the_residence(senders: Senders) -> None:
    homeless = "7101611234"
    seen = []
    for month, rows in zip(MONTHS, [[adp("D1", "12000,01", CPR=homeless)], [], [back("D", "T1", "D1")]], strict=False):
        senders.deliver(month, rows)
        seen.append([(row["kommunekode"], row["status"]) for row in about(senders.run(month), "EI-016")])
    assert seen == [[(NOBODY, NY)], [(NOBODY, AABEN)], [(NOBODY, LOEST)]]


def test_a_replacement_that_takes_the_id_of_what_it_replaces_is_told_until_it_is_itself_reversed(
    senders: Senders,
) -> None:
    deliveries = [[kth("A1")], [back("K", "T1", "A1"), kth("A1", "2000,00")], [], [back("K", "T2", "A1")]]
    seen = []
    for month, rows in zip(MONTHS, deliveries, strict=True):
        senders.deliver(month, rows)
        seen.append(rules_of(senders.run(month)).get("EI-013"))
    assert seen == [None, NY, AABEN, LOEST]


def test_a_file_that_comes_again_under_its_own_name_is_told_of_as_it_is_now(senders: Senders) -> None:
    told = []
    for written in ("1000,00", "500,00"):
        senders.sent = 0
        senders.deliver("2024-02", [kth("B1", written, Felt0115="")])
        told += [(row["beloeb_oere"], row["status"]) for row in about(senders.run("2024-02"), "YR-003")]
    assert told == [(100_000, NY), (50_000, NY)]


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


def test_what_a_later_file_of_the_open_month_brings_is_told_and_what_it_mends_is_not(senders: Senders) -> None:
    deliveries = [
        [kth("I1"), kth("O1", "1000,00", CPR=OTHER)],
        [kth("I2", "11000,01"), kth("O2", "600,00", CPR=OTHER, Pligt_SE="29169001")],
        [back("K", "T1", "I2"), kth("O3", "5,00", CPR=OTHER)],
        [("K", back("K", "T2", "O2")[1] | {"CPR": OTHER, "Pligt_SE": "29169001"})],
    ]
    seen = []
    for rows in deliveries:
        senders.deliver(MONTHS[0], rows)
        seen.append(rules_of(senders.run(MONTHS[0])))
    both = {"EI-009": NY, "EI-016": NY}
    assert seen == [{}, both, {"EI-009": NY}, {}]


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
            seen.append(advise.double_pay(session, senders.place, month_of(month)))
    assert seen == [(60_000, 160_700), (0, 500), (60_100, 100)]
