"""The failures that really happened, replayed through real files: the rule, the level and the money are told.

Sources: the reference notes on the real system (law.md section 12, data_formats.md section 6).
"""

import re
import shutil
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.assets.checks.asset import looks
from refusion_assets.domain.findings.words import REGLER
from tests.conftest import DataRoot, Ran
from tests.kit.country import (
    AKASSE,
    HOMELESS,
    KRONER,
    MONTHS,
    PEOPLE,
    SPOILED,
    Land,
    Rows,
    late,
    person,
    ready,
    report,
    reversal,
)
from tests.kit.data_root import read_csv, write_manifest, write_register

OERE = KRONER * 100
ALL = PEOPLE * OERE  # what a sender reports in a month
KY, KSD = "ky", "ksd"
UNREADABLE_STAYS = ({"Bopael_start": "2020-13-01"}, {"Bopael_slut": "2024-02-30"})
FEJL, ADVARSEL, INFO = "FEJL", "ADVARSEL", "INFO"


def swapped(rows: Rows) -> Rows:
    """The two accounts of a sender exchanged; all else says what the row really is."""
    kontant, uddannelse = (report((KY, "153"), y, SPOILED, 0)["Felt0115"] for y in ("KTH", "UDDH"))
    other = {kontant: uddannelse, uddannelse: kontant}
    return [row | {"Felt0115": other[row["Felt0115"]]} for row in rows]


def put_right(rows: Rows, land: Land) -> Rows:
    """The month's own rows, and for the months before a reversal and a right report of each."""
    old = [row for month in MONTHS[:2] for row in land.rows[(KY, "153"), month]]
    backed = [reversal(row, SPOILED, f"T{row['IndberetningsID']}"[:16]) for row in old]
    received = backed[0]["Modtaget_tidspunkt"]
    again = [
        row | {"IndberetningsID": f"R{row['IndberetningsID']}"[:16], "Modtaget_tidspunkt": received}
        for row in swapped(old)
    ]
    return [*rows, *backed, *again]


def some_late(rows: Rows) -> Rows:
    """A fifth of a month's sickness is of the month before, at 30.000 kr. each."""
    return [late(row, 31) | {"Felt0014": "30000,00"} if n < 4 else row for n, row in enumerate(rows)]


def spoiled(root: Path) -> Land:
    """The country with everything wrong that a month can go on with, each thing at its own sender."""
    land = Land.made(root)
    land.spoil((KY, "151"), lambda rows: [row for row in rows if not row["Felt0115"].endswith("31007")])
    land.spoil((KY, "153"), swapped, *MONTHS[:2])
    land.spoil((KY, "153"), lambda rows: put_right(rows, land))
    land.spoil((KSD, "157"), some_late)
    land.spoil((KY, "161"), lambda rows: [row | {"Felt0014": f"{OERE},00"} for row in rows])
    land.spoil((KY, "163"), lambda rows: [late(row, 366) for row in rows])
    land.spoil((KY, "165"), lambda rows: [row | {"CPR": row["CPR"][1:]} for row in rows])
    taken = reversal(land.rows[(KY, "167"), MONTHS[1]][0], SPOILED, "TILBAGE")
    land.spoil((KY, "167"), lambda rows: [*rows, taken, reversal(taken, SPOILED, "TILBAGETILBAGE")])
    land.spoil((KY, "169"), lambda rows: [row | {"Kommunekode": "999"} if n < 3 else row for n, row in enumerate(rows)])
    homeless = report(("akasse", AKASSE), "ADP", SPOILED, PEOPLE)
    land.spoil(("akasse", AKASSE), lambda rows: [*rows, homeless])
    land.deliver()
    [first] = (root / "raw" / "bopael").rglob("*.csv")
    stays = read_csv(first)
    write_register(root, "bopael", SPOILED, [*stays, *(stays[0] | said for said in UNREADABLE_STAYS)])
    again = land.path((KY, "159"), SPOILED)
    twin = land.path((KY, "159"), SPOILED, 4)
    shutil.copyfile(again, twin)
    write_manifest(twin, read_csv(twin))
    return land


@dataclass(frozen=True)
class April:
    """The spoiled month after its run."""

    root: DataRoot
    ran: Ran

    def advice(self, regel: str, kommune: str) -> list[tuple[Any, ...]]:
        """Level, amount (øre) and status of the advice of a rule to a municipality."""
        return self.root.rows(
            f"""SELECT alvor, beloeb_oere, advis.status FROM opgoerelse.advis JOIN opgoerelse.koersel USING (koersel)
            WHERE maaned = '{SPOILED}-01' AND regel = '{regel}' AND kommunekode = '{kommune}' ORDER BY ALL"""
        )

    def check(self, name: str) -> tuple[Any, ...]:
        """Level, verdict, count and amount (øre) of a check of the month."""
        [row] = self.root.rows(
            f"""SELECT alvor, bestaaet, antal, beloeb_oere FROM kontrol.resultat
            WHERE maaned = '{SPOILED}-01' AND kontrol = '{name}'"""
        )
        return row

    def says(self, name: str) -> str:
        """The sentence of a check of the month."""
        [(text,)] = self.root.rows(
            f"SELECT tekst FROM kontrol.resultat WHERE maaned = '{SPOILED}-01' AND kontrol = '{name}'"
        )
        return str(text)


@pytest.fixture(scope="module")
def april(tmp_path_factory: pytest.TempPathFactory) -> April:
    """The country after the month in which everything went wrong that a month can go on with."""
    path = tmp_path_factory.mktemp("april")
    root = ready(path, spoiled(path))
    return April(root, root.koer(SPOILED))


# --- the month goes on, and tells ---------------------------------------------------------------------------


def test_a_source_that_stops_reporting_one_benefit_is_told_with_what_it_was(april: April) -> None:
    assert april.check("ydelser_er_med") == (ADVARSEL, False, 1, ALL)
    assert "KTH fra ky (1 afsender, 200.000,00 kr.)" in april.says("ydelser_er_med")
    assert april.advice("FIL-003", "151") == [(ADVARSEL, None, "NY")]


def test_two_swapped_accounts_are_told_while_they_are_swapped_and_solved_when_put_right(april: April) -> None:
    assert april.advice("EI-006", "153") == [(ADVARSEL, OERE, "LØST")] * (2 * 2 * PEOPLE)
    before = april.root.rows(
        "SELECT count(*), sum(beloeb_oere)::BIGINT FROM opgoerelse.advis WHERE koersel = 51 AND regel = 'EI-006'"
    )
    assert before == [(2 * 2 * PEOPLE, 2 * 2 * ALL)]


def test_two_swapped_accounts_put_right_leave_the_money_of_reports_that_were_right_all_the_time(april: April) -> None:
    settled = april.root.rows("""SELECT ydelse_id, count(DISTINCT borger_id), sum(beloeb_oere)::BIGINT
        FROM opgoerelse.postering WHERE kommunekode = '153' AND ydelse_id IN ('KTH', 'UDDH')
        GROUP BY ydelse_id HAVING sum(beloeb_oere) <> 0 ORDER BY 1""")
    assert [(ydelse, oere) for ydelse, _, oere in settled] == [("KTH", 3 * ALL), ("UDDH", 3 * ALL)]
    kontant = ", ".join(f"'{person((KY, '153'), n)}'" for n in range(PEOPLE))
    wrong = april.root.rows(f"""SELECT count(*) FROM (SELECT borger_id FROM opgoerelse.postering
        JOIN identitet.borger USING (borger_id) WHERE kommunekode = '153' AND ydelse_id = 'UDDH' AND cpr IN ({kontant})
        GROUP BY ALL HAVING sum(beloeb_oere) <> 0)""")
    assert wrong == [(0,)]


def test_sickness_reported_weeks_late_is_told_with_share_and_money(april: April) -> None:
    assert "ksd-157: 4 af 20 linjer (120.000,00 kr.)" in april.says("leveret_til_tiden")


def test_a_file_delivered_twice_counts_once_and_says_what_it_would_have_doubled(april: April) -> None:
    assert april.check("FIL_004") == (INFO, True, 1, ALL)
    assert april.advice("FIL-004", "159") == [(INFO, ALL, "NY")]
    paid = april.root.rows(
        """SELECT sum(beloeb_oere)::BIGINT FROM opgoerelse.postering
        WHERE kommunekode = '159' AND ydelse_id = 'KTH' AND koersel = 52"""
    )
    assert paid == [(ALL,)]


def test_amounts_in_oere_are_told_week_by_week_with_all_of_the_money(april: April) -> None:
    weeks = len({date(2024, 4, day).isocalendar().week for day in range(1, 31)})
    found = april.advice("EI-016", "161")
    assert {(alvor, status) for alvor, _, status in found} == {(ADVARSEL, "NY")}
    assert (len(found), sum(oere for _, oere, _ in found)) == (PEOPLE * weeks, 100 * ALL)
    assert april.check("EI_016") == (ADVARSEL, False, PEOPLE * weeks, 100 * ALL)
    assert "KTH i 161: beløb pr. borger" in april.says("aendring_mod_sidste_maaned")


def test_a_file_with_last_year_s_dates_is_told_and_the_month_it_should_have_been_is_missed(april: April) -> None:
    assert f"ky-163: {PEOPLE} af {PEOPLE} linjer (200.000,00 kr.)" in april.says("leveret_til_tiden")
    alvor, passed, _, oere = april.check("leveret_til_tiden")
    corrections = 2 * 2 * ALL  # 153 put right two months of two benefits, long after
    assert (alvor, passed, oere) == (ADVARSEL, False, 4 * 3 * OERE + ALL + corrections)


def test_cpr_numbers_without_their_first_digit_are_quarantined_with_their_money(april: April) -> None:
    assert april.check("EI_003") == (FEJL, False, PEOPLE, ALL)
    assert april.advice("EI-003", "165") == [(FEJL, OERE, "NY")] * PEOPLE


def test_a_reversal_of_a_reversal_has_no_effect_and_is_told(april: April) -> None:
    assert april.check("EI_015") == (FEJL, False, 1, 0)
    assert april.advice("EI-015", "167") == [(FEJL, None, "NY")]
    back = april.root.rows(
        f"""SELECT sum(beloeb_oere)::BIGINT FROM opgoerelse.postering
        WHERE kommunekode = '167' AND koersel = 52 AND maaned < '{SPOILED}-01'"""
    )
    assert back == [(-OERE,)]


def test_a_person_with_no_residence_is_told_and_settled_with_nobody(april: April) -> None:
    assert april.check("EI_018") == (FEJL, False, 1, OERE)
    assert april.advice("EI-018", "000") == [(FEJL, OERE, "NY")]
    rows = april.root.rows(
        f"SELECT count(*) FROM opgoerelse.postering JOIN identitet.borger USING (borger_id) WHERE cpr = '{HOMELESS}'"
    )
    assert rows == [(0,)]


def test_lines_of_a_register_that_cannot_be_read_are_told_with_file_and_line(april: April) -> None:
    assert april.check("registre_er_laeselige") == (ADVARSEL, False, len(UNREADABLE_STAYS), 0)
    [(lines,)] = april.root.rows("SELECT antal_raekker FROM raw.register WHERE antal_ulaeselige > 0")
    first = 1 + lines - len(UNREADABLE_STAYS) + 1
    assert f"bopael-202404.csv: 2 linjer, den første er linje {first}" in april.says("registre_er_laeselige")


def test_a_municipality_code_that_does_not_exist_is_quarantined_with_its_money(april: April) -> None:
    assert april.check("EI_008") == (FEJL, False, 3, 3 * OERE)
    assert april.advice("EI-008", "169") == [(FEJL, OERE, "NY")] * 3


def test_every_oere_of_the_spoiled_month_is_accounted_for(april: April) -> None:
    posts = dict(
        april.root.rows(f"""SELECT kontrol || '.' || post, beloeb_oere FROM kontrol.afstemning
        WHERE maaned = '{SPOILED}-01'""")
    )
    raw = april.root.rows(
        """SELECT sum(beloeb_oere)::BIGINT FROM classified.linje JOIN raw.fil USING (fil_id)
        WHERE art = 'I' AND NOT dublet"""
    )
    assert posts["raa_er_fordelt.i_alt_oere"] == raw[0][0]
    assert posts["raa_er_fordelt.karantaene_oere"] == ALL + 3 * OERE
    assert posts["raa_er_fordelt.tilbagefoert_oere"] == 2 * 2 * ALL + OERE
    assert posts["brugt_er_fordelt.uden_kommune_oere"] == OERE
    assert posts["brugt_er_fordelt.i_alt_oere"] == posts["raa_er_fordelt.brugt_oere"]


def test_every_check_has_answered_and_the_statement_says_each_doubt(april: April) -> None:
    names = {check.name for look in looks(april.root.place.rules) for check in look.checks} | {"filer_er_kladden"}
    answered = april.root.rows(
        f"SELECT kontrol, alvor, bestaaet, tekst FROM kontrol.resultat WHERE maaned = '{SPOILED}-01'"
    )
    assert {name for name, *_ in answered} == names
    quarantined = {"EI_003", "EI_008", "EI_015"}
    doubts = {name: text for name, _, passed, text in answered if not passed and name not in quarantined}
    assert set(doubts) > {"karantaene", "ydelser_er_med", "leveret_til_tiden", "aendring_mod_sidste_maaned", "EI_016"}
    assert doubts.pop("adviseringer").split()[0] + " er åbne i alt" in april.ran.out
    of_rules = {name.replace("_", "-") for name in doubts if name.replace("_", "-") in REGLER}
    assert {rule for rule in of_rules if not re.search(f"^    {rule}.*: [1-9]", april.ran.out, re.MULTILINE)} == set()
    others = {text for name, text in doubts.items() if name.replace("_", "-") not in of_rules}
    assert {text for text in others if f"Bemærk: {text}" not in april.ran.out} == set()
