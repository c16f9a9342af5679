"""Understands what shows that a rule is read as the page says: worked cases with sources, and named tests."""

import ast
import re
import tomllib
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any

from refusion_assets.context import REPOSITORY
from refusion_assets.domain.stop import Stop
from refusion_assets.regelsider.emner import Emne
from refusion_assets.regelsider.tabel import Record, heading, table, value

CASES = REPOSITORY / "tests" / "data"
# What a case says must come out; everything else in it goes in.
VENTET = (
    "n",
    "procent",
    "refusion_i_alt",
    "medfinansiering_i_alt",
    "dele",
    "refusion",
    "medfinansiering",
    "fleksbidrag",
)
NAMED = ("id", "navn", "kilde")


@lru_cache(maxsize=1)
def worked() -> dict[str, list[Record]]:
    """The worked cases by table."""
    cases: dict[str, list[Record]] = tomllib.loads((CASES / "cases.toml").read_text("utf-8"))
    return cases


@lru_cache(maxsize=1)
def reading_cases() -> list[Record]:
    """The cases in which the values of a reading differ."""
    cases: list[Record] = tomllib.loads((CASES / "laesninger.toml").read_text("utf-8"))["laesning"]
    return cases


def cites(text: str, paragraf: str) -> bool:
    """Whether a text names a paragraph, or a part of it; § 6 is not § 60."""
    return re.search(rf"{re.escape(paragraf)}(?!\d)", text) is not None


def of_topic(emne: Emne) -> dict[str, list[Record]]:
    """The worked cases of a page: those that cite one of its paragraphs, and those it names. Stop on a lost name."""
    known = {case["id"] for cases in worked().values() for case in cases}
    for lost in sorted(set(emne.eksempler) - known):
        raise Stop(f"docs/regler/emner.toml, side {emne.fil}: eksemplet {lost} findes ikke i tests/data/cases.toml")
    mine = {
        name: [c for c in cases if c["id"] in emne.eksempler or any(cites(c["kilde"], p) for p in emne.paragraffer)]
        for name, cases in worked().items()
    }
    return {name: cases for name, cases in mine.items() if cases}


def _said(name: str, content: Any) -> str:
    """One thing a case says, as `name value`."""
    return f"{heading(name).lower()} {value(content)}"


def case_table(cases: Sequence[Record]) -> str:
    """A table of cases: what goes in, what must come out, and who says so."""
    rows = []
    for case in cases:
        goes_in = [_said(name, case[name]) for name in case if name not in (*VENTET, *NAMED)]
        comes_out = [_said(name, case[name]) for name in VENTET if name in case]
        rows.append(
            [case["id"], value(case.get("navn")), "; ".join(goes_in), "; ".join(comes_out), value(case["kilde"])]
        )
    return table(["Nr.", "Tilfælde", "Ind", "Ud", "Kilde"], rows)


@lru_cache(maxsize=64)
def _tests(path: Path) -> frozenset[str]:
    """The tests a file has."""
    tree = ast.parse(path.read_text("utf-8")) if path.exists() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def proeve_link(reference: str, page: str) -> str:
    """A link to a test written `file::name`; Stop where it is gone."""
    path, _, name = reference.partition("::")
    if name not in _tests(REPOSITORY / path):
        raise Stop(f"{page}: prøven {reference} findes ikke; ret navnet")
    return f"[`{name}`](../../{path})"
