"""Understands the second calculation for its tests: the cases of the contract, and the example as expected."""

import tomllib
from datetime import date
from typing import Any

import pytest

from refusion_assets.domain.efterregning.money import Resultat, rate, state
from refusion_assets.domain.efterregning.reports import benefit, read_oere
from refusion_assets.domain.efterregning.weeks import Uge, count_weeks
from refusion_assets.domain.rules.entries import Rulebook
from tests.kit import timeline
from tests.kit.data_root import DATA, EXAMPLE, RULEBOOK, read_root

CASES: dict[str, list[dict[str, Any]]] = tomllib.loads((DATA / "cases.toml").read_text("utf-8"))
MONTHS = ("2024-02", "2024-03", "2024-04")
START = date(2016, 1, 4)
A_RUN = date(2030, 12, 31)
FLEKSBIDRAG = "FLEKSBIDRAG"
PARAGRAF_7 = RULEBOOK.fleksbidrag[0]
SYG = "urn:oio:kommune:konto:557711013"


def cases(table: str) -> pytest.MarkDecorator:
    """Every case of one table of cases.toml, named by its id."""
    return pytest.mark.parametrize("case", [pytest.param(case, id=case["id"]) for case in CASES[table]])


def oere(text: str) -> int:
    """An amount of a case in øre."""
    value = read_oere(text)
    assert value is not None
    return value


def last_week(text: str, rules: Rulebook = RULEBOOK, fra: date = START) -> Uge:
    """Kind, number and weeks of self-support in the last week of a timeline."""
    weeks = count_weeks(timeline.claims(text, fra), timeline.last_day(text, fra), rules)
    return weeks[max(weeks)]


def percent(number: int, ydelse_id: str = "KTH", day: date = START, rules: Rulebook = RULEBOOK) -> int:
    return rate(benefit(ydelse_id, day, rules), day, number, rules)[0]


def example_state(month: str, **options: Any) -> dict[Any, Resultat]:
    files, bopael, fleksgrundlag = read_root(EXAMPLE / "data", month)
    return state(files, bopael, month, RULEBOOK, fleksbidrag=True, fleksgrundlag=fleksgrundlag, **options)


def as_expected(result: dict[Any, Resultat]) -> list[tuple[str, ...]]:
    """A state as the lines of the expected files: names for codes, empty for none, in their order."""
    ydelse = {y.ydelse_id: y.navn for y in RULEBOOK.ydelser} | {FLEKSBIDRAG: "Fleksbidrag fra staten"}
    kommune = {k.kommunekode: k.navn for k in RULEBOOK.kommuner}
    return sorted(
        (str(uge), maaned, cpr, ydelse[ydelse_id], kommune[kode], *("" if v is None else str(v) for v in row))
        for (uge, maaned, cpr, ydelse_id, kode), row in result.items()
    )
