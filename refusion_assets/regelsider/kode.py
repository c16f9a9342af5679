"""Understands the code as the law pages show it: functions by name with their docstring, and who uses a switch."""

import ast
import importlib
import inspect
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from refusion_assets.context import REPOSITORY
from refusion_assets.domain.stop import Stop

PACKAGE = REPOSITORY / "refusion_assets"
SECOND = "efterregning"
ASKED = {"laesning": "laesning", "graense": "graense", "graense_for": "graense"}


@dataclass(frozen=True)
class Funktion:
    """One function that reads a rule: where it lies, its own words, and the paragraphs it names."""

    navn: str
    sti: str
    ord: str
    hjemmel: str

    @property
    def anden(self) -> bool:
        """Whether it belongs to the second, independent calculation."""
        return Path(self.sti).stem.startswith(SECOND)


def funktion(reference: str) -> Funktion:
    """The function named `module:name`, found by importing it; Stop where it is gone or names no Hjemmel."""
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
    """Every switch or bound that a module asks the rules for by name, and the function that asks."""
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
    """Who asks for each reading (`laesning`, name) and each bound (`graense`, name): functions, in order of name."""
    found: dict[tuple[str, str], set[str]] = defaultdict(set)
    for path in sorted(PACKAGE.rglob("*.py")):
        for asked, by in _asked(path):
            found[asked].add(by)
    return {asked: sorted(by) for asked, by in found.items()}
