"""The schema of the rules' TOML files, by which an editor completes and checks them."""

import json
import re
import tomllib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.law_pages.page import SCHEMA, schema
from refusion_assets.rulebook.load import DELIVERY, ECONOMY, RETENTION, ROLLOUT, TOPICS, load
from tests.kit.data_root import REPO, RULES

FILES = sorted(RULES.glob("*.toml"))
FORM = json.loads(schema())
KINDS = {"object": dict, "array": list, "string": (str, date), "integer": int, "boolean": bool}
HOLDS: dict[str, Callable[[Any, Any], bool]] = {
    "const": lambda content, said: content == said,
    "enum": lambda content, said: content in said,
    "format": lambda content, _: isinstance(content, date),
    "minLength": lambda content, said: len(str(content)) >= said,
}
OTHER = {"$ref", "$defs", "$schema", "title", "description", "default", "type"}
OF_PARTS = {"items", "properties", "required", "additionalProperties"}


def faults(content: Any, form: dict[str, Any], where: str = "") -> Iterator[str]:
    """Where TOML is not what a schema says; by the words of JSON Schema that ours uses, and no others."""
    if "$ref" in form:
        form = form | FORM["$defs"][form["$ref"].removeprefix("#/$defs/")]
    assert set(form) <= HOLDS.keys() | OTHER | OF_PARTS
    if not isinstance(content, KINDS[form["type"]]) or (isinstance(content, bool) and form["type"] == "integer"):
        yield f"{where}: not {form['type']}"
        return
    yield from (
        f"{where}: {word} {form[word]}"
        for word, holds in HOLDS.items()
        if word in form and not holds(content, form[word])
    )
    if form["type"] == "array":
        for part in content:
            yield from faults(part, form["items"], where)
    if form["type"] == "object":
        assert form["additionalProperties"] is False
        yield from (f"{where}: no {key}" for key in form.get("required", ()) if key not in content)
        for key, part in content.items():
            known = form["properties"].get(key)
            yield from faults(part, known, f"{where}.{key}") if known else [f"{where}: unknown {key}"]


def test_the_schema_beside_the_rules_is_what_the_program_reads() -> None:
    stands = (REPO / "docs" / "skema" / SCHEMA).read_text("utf-8")
    assert stands == schema(), "kør `make regelsider`"
    assert set(FORM["properties"]) == {topic for topic, (file, _) in TOPICS.items() if file.endswith(".toml")} | {
        *DELIVERY,
        *RETENTION,
        *ECONOMY,
        *ROLLOUT,
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_every_file_names_the_schema_and_holds_it(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.startswith(f"#:schema ../docs/skema/{SCHEMA}\n")
    assert list(faults(tomllib.loads(text), FORM)) == []


WRONG = {
    "a key is spelt wrong": ("procent = 80", "prcent = 80"),
    "a key is missing": ('id = "refusion"\n', ""),
    "an inner key is missing": ("fra_uge = 1, ", ""),
    "a topic is unknown": ("[[trappe]]", "[[trapper]]"),
    "a number is text": ("procent = 80", 'procent = "80"'),
    "a date is text": ("gaelder_fra = 2016-01-04", 'gaelder_fra = "4. januar"'),
    "a text is empty": ('id = "refusion"', 'id = ""'),
    "an entry is no list": ("[[trappe]]", "[trappe]"),
}


@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG)
def test_a_file_that_is_wrong_does_not_hold_it(old: str, new: str) -> None:
    text = (
        (RULES / "trapper.toml").read_text("utf-8").partition('id = "medfinansiering"')[0].rpartition("[[trappe]]")[0]
    )
    assert old in text
    assert list(faults(tomllib.loads(re.sub(re.escape(old), new, text, count=1)), FORM))


def test_a_word_that_is_no_choice_does_not_hold_it() -> None:
    text = (RULES / "kontrol.toml").read_text("utf-8").replace('alvor = "FEJL"', 'alvor = "SLEM"', 1)
    assert list(faults(tomllib.loads(text), FORM)) == [".kontrol.alvor: enum ['FEJL', 'ADVARSEL', 'INFO']"]


def test_neither_schema_nor_the_line_that_names_it_is_a_rule(tmp_path: Path) -> None:
    for path in RULES.iterdir():
        if path.is_file():
            text = path.read_text("utf-8").removeprefix(f"#:schema ../docs/skema/{SCHEMA}\n")
            (tmp_path / path.name).write_text(text, encoding="utf-8")
    assert load(tmp_path).version == load(RULES).version
