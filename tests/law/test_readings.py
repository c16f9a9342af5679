"""Every reading is a switch that works: each value of it changes a result, in both calculations, as worked by hand."""

import tomllib
from typing import Any

import pytest

from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.law_pages.proof import SECOND, users
from tests.kit import fleks, timeline
from tests.kit.data_root import DATA, RULEBOOK, Row, calculate, with_reading
from tests.kit.second_calculation import oere

CONTRACT = {  # every [reading] of rules.md sections 2 to 7 that is named, in the order they stand there
    "uge_beroert",
    "foerste_uge",
    "genoptjening_proeves",
    "fordeling",
    "beloebsgrundlag",
    "finansieringskommune_refusion",
    "bopael_paa",
    "fleksbidrag_andel",
}
CASES: list[dict[str, Any]] = tomllib.loads((DATA / "laesninger.toml").read_text("utf-8"))["laesning"]
BY_VALUE = [(case, vaerdi) for case in CASES if "raekker" in case for vaerdi in case["ud"]]
KEYS = ("kommune", "ydelsestaeller", "procent", "beloeb", "refusion", "medfinansiering")

Outcome = list[tuple[Any, ...]]


def delivered(case: dict[str, Any]) -> list[Fil]:
    """The reports of a case as one file for each sender."""
    rows: dict[str, list[Row]] = {}
    for report in case["raekker"]:
        mine = rows.setdefault(report["art"], [])
        felter = {name: text for name, text in report.items() if name.startswith("Felt")}
        mine.append(
            timeline.row(report["art"], report["fra"], report["til"], len(mine) + 1, report["beloeb"], **felter)
        )
    return [timeline.fil(art, lines, case["koersel"]) for art, lines in rows.items()]


def lived(case: dict[str, Any]) -> list[Row]:
    """The residences of a case."""
    return [
        {
            "CPR": timeline.CPR,
            "Kommunekode": stay["kommune"],
            "Bopael_start": str(stay["fra"]),
            "Bopael_slut": str(stay.get("til", "")),
        }
        for stay in case.get("bopael", [])
    ]


def expected(case: dict[str, Any], vaerdi: str) -> Outcome:
    """What the case says of a value: week, municipality, number, percentage, amount and results in øre."""
    return sorted(
        (row["uge"], row["kommune"], row.get("ydelsestaeller"), row.get("procent", 0), oere(row.get("beloeb", "0,00")),
         oere(row.get("refusion", "0,00")), oere(row.get("medfinansiering", "0,00")))
        for row in case["ud"][vaerdi]
    )  # fmt: skip


def found(case: dict[str, Any], state: dict[Any, Any]) -> Outcome:
    """What a calculation says of the weeks that the case looks at, under any of its values."""
    weeks = {row["uge"] for rows in case["ud"].values() for row in rows}
    return sorted(
        (key[0], key[4], row.n, row.procent, row.beloeb, row.refusion, row.medfinansiering)
        for key, row in state.items()
        if key[0] in weeks
    )


def test_every_reading_of_the_contract_is_a_switch_of_the_rules() -> None:
    assert {entry.navn for entry in RULEBOOK.laesninger} >= CONTRACT
    assert all(len(set(entry.muligheder)) > 1 for entry in RULEBOOK.laesninger)


@pytest.mark.parametrize("entry", RULEBOOK.laesninger, ids=lambda entry: entry.navn)
def test_a_reading_has_a_case_that_says_what_each_of_its_values_gives(entry: Any) -> None:
    mine = [case for case in CASES if case["laesning"] == entry.navn]
    told = {vaerdi for case in mine for vaerdi in case["ud"]} if all("ud" in case for case in mine) else None
    assert mine, f"skriv et eksempel i tests/data/laesninger.toml for læsningen {entry.navn}"
    assert told is None or told == set(entry.muligheder)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_no_two_values_of_a_reading_give_the_same_result(case: dict[str, Any]) -> None:
    outcomes = [expected(case, vaerdi) for vaerdi in case.get("ud", {})]
    assert all(a != b for place, a in enumerate(outcomes) for b in outcomes[:place])


@pytest.mark.parametrize(("case", "vaerdi"), BY_VALUE, ids=[f"{case['id']}-{vaerdi}" for case, vaerdi in BY_VALUE])
def test_both_calculations_give_what_the_case_says_of_the_value(case: dict[str, Any], vaerdi: str) -> None:
    rules = with_reading(RULEBOOK, case["laesning"], vaerdi)
    files, bopael, month = delivered(case), lived(case), case["koersel"]
    if "grundlag" in case:  # what is looked at is the fleksbidrag
        bases = [fleks.basis(row["maaned"], row["beregningsgrundlag"], row["loen"]) for row in case["grundlag"]]
        assert found(case, fleks.kernel(files, bases, month, rules)) == expected(case, vaerdi)
        assert found(case, fleks.plain(files, bases, month, rules)) == expected(case, vaerdi)
        return
    run = calculate(files, bopael, month, rules)
    assert run.karantaene == []
    assert found(case, run.state) == expected(case, vaerdi)
    assert found(case, plain_state(files, bopael, month, rules)) == expected(case, vaerdi)


@pytest.mark.parametrize("entry", RULEBOOK.laesninger, ids=lambda entry: entry.navn)
def test_both_calculations_ask_for_every_reading(entry: Any) -> None:
    asking = [by for by in users().get(("laesning", entry.navn), []) if by.startswith("domain.")]
    assert {SECOND in by for by in asking} == {True, False}
