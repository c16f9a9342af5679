"""Understands the proof of a page's rules: worked cases with sources, and named tests."""

import ast
import importlib
import inspect
import re
import tomllib
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from refusion_assets.domain.stop import Stop
from refusion_assets.figures import table
from refusion_assets.law_pages.markdown import Record, heading, value
from refusion_assets.law_pages.topics import Emne
from refusion_assets.place import REPOSITORY

CASES = REPOSITORY / "tests" / "data"
# The keys of a case that hold its result; all others are input.
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
    """True if a text names a paragraph or a part of it; § 60 is no part of § 6."""
    return re.search(rf"{re.escape(paragraf)}(?!\d)", text) is not None


def of_topic(emne: Emne) -> dict[str, list[Record]]:
    """The worked cases of a page: those citing one of its paragraphs, and those it names. Stop on a missing name."""
    known = {case["id"] for cases in worked().values() for case in cases}
    for lost in sorted(set(emne.eksempler) - known):
        raise Stop(f"docs/regler/emner.toml, side {emne.fil}: eksemplet {lost} findes ikke i tests/data/cases.toml")
    mine = {
        name: [c for c in cases if c["id"] in emne.eksempler or any(cites(c["kilde"], p) for p in emne.paragraffer)]
        for name, cases in worked().items()
    }
    return {name: cases for name, cases in mine.items() if cases}


def _said(name: str, content: Any) -> str:
    return f"{heading(name).lower()} {value(content)}"


def case_table(cases: Sequence[Record]) -> str:
    """A table of cases: input, required result, and source."""
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
    tree = ast.parse(path.read_text("utf-8")) if path.exists() else ast.Module([], [])
    return frozenset(node.name for node in tree.body if isinstance(node, ast.FunctionDef))


def proeve_link(reference: str, page: str) -> str:
    """A link to a test written `file::name`; Stop if there is no such test."""
    path, _, name = reference.partition("::")
    if name not in _tests(REPOSITORY / path):
        raise Stop(f"{page}: prøven {reference} findes ikke; ret navnet")
    return f"[`{name}`](../../{path})"


PACKAGE = REPOSITORY / "refusion_assets"
SECOND = "efterregning"
ASKED = {"laesning": "laesning", "graense": "graense", "graense_for": "graense"}


@dataclass(frozen=True)
class Funktion:
    """One function that reads a rule: its place, docstring and paragraphs."""

    navn: str
    sti: str
    ord: str
    hjemmel: str

    @property
    def anden(self) -> bool:
        """True if it belongs to the second, independent calculation."""
        return SECOND in Path(self.sti).parts


def funktion(reference: str) -> Funktion:
    """The function named `module:name`, found by import; Stop if it is missing or has no Hjemmel."""
    module, _, name = reference.partition(":")
    where = f"docs/regler/emner.toml: funktionen {reference}"
    try:
        found = getattr(importlib.import_module(module), name)
    except (ImportError, AttributeError) as error:
        raise Stop(f"{where} findes ikke; ret navnet ({error})") from error
    paragraphs = [" ".join(text.split()) for text in (inspect.getdoc(found) or "").split("\n\n")]
    text = "\n\n".join(paragraphs)
    said = re.search(r"Hjemmel: (.+?)$", text, re.MULTILINE)
    if not said:
        raise Stop(f"{where} siger ikke sin hjemmel; skriv linjen Hjemmel: i dens docstring")
    own = text.replace(said[0], "").strip()
    return Funktion(f"{module.partition('.')[2]}.{name}", f"{module.replace('.', '/')}.py", own, said[1].rstrip("."))


def _asked(path: Path) -> Iterator[tuple[tuple[str, str], str]]:
    """The readings and bounds that a module asks the rules for by name, each with the asking function."""
    module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)

    def inside(node: ast.AST, name: str) -> Iterator[tuple[tuple[str, str], str]]:
        for child in ast.iter_child_nodes(node):
            own = f"{name}.{child.name}" if isinstance(child, ast.FunctionDef | ast.ClassDef) else name
            if isinstance(child, ast.Call) and isinstance(child.func, ast.Attribute) and child.func.attr in ASKED:
                first = child.args[0] if child.args else None
                if isinstance(first, ast.Constant):
                    yield (ASKED[child.func.attr], str(first.value)), own
            yield from inside(child, own)

    yield from inside(ast.parse(path.read_text("utf-8")), module)


@lru_cache(maxsize=1)
def users() -> dict[tuple[str, str], list[str]]:
    """The functions that read each reading (`laesning`, name) and each bound (`graense`, name), sorted."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for asked, by in _asked(path):
            found[asked].add(by)
    return {asked: sorted(by) for asked, by in found.items()}
