"""The glossary: every word in a table, a column, a rule key or a status is explained once, with a source."""

import csv
import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any

from refusion_assets.store.tables import TABLES
from tests.kit.data_root import REPO, RULES

GLOSSARY: dict[str, Any] = tomllib.loads((REPO / "docs" / "ordliste.toml").read_text("utf-8"))
WORDS: list[dict[str, Any]] = GLOSSARY["ord"]
PLAIN = {*GLOSSARY["engelsk"]["ord"], *GLOSSARY["smaaord"]["ord"]}
ASCII = str.maketrans({"æ": "ae", "ø": "oe", "å": "aa"})


def identifiers() -> list[str]:
    """Every form of every term, as it is written in code."""
    return [form for word in WORDS for form in (word["identifikator"], *word.get("former", []))]


def unknown(names: Iterable[str]) -> set[str]:
    """The names with a part that the glossary does not know."""
    known = {*identifiers(), *PLAIN}
    return {name for name in names if not {part.lower() for part in re.split(r"[._:]", name) if part} <= known}


def rule_names(record: dict[str, Any]) -> Iterator[str]:
    """The keys of an entry and of the entries within it."""
    for key, value in record.items():
        yield key
        for inner in value if isinstance(value, list) else []:
            if isinstance(inner, dict):
                yield from rule_names(inner)


def test_every_part_of_a_table_or_column_name_is_in_the_glossary() -> None:
    columns = {name for model in TABLES.values() for name in model.to_schema().columns}
    assert unknown([*TABLES, *columns]) == set()


def test_every_part_of_a_rule_key_a_reading_and_a_bound_is_in_the_glossary() -> None:
    names: set[str] = set()
    for path in RULES.glob("*.toml"):
        for topic, records in tomllib.loads(path.read_text("utf-8")).items():
            names |= {topic, *(key for record in records for key in rule_names(record))}
            if topic == "laesning":
                names |= {text for entry in records for text in (entry["navn"], entry["vaerdi"], *entry["muligheder"])}
            if topic == "graense":
                names |= {entry["id"].partition(":")[0] for entry in records}
    for path in RULES.glob("*.csv"):
        with path.open(encoding="utf-8", newline="") as file:
            names |= set(next(csv.reader(file, delimiter=";")))
    assert unknown(names) == set()


def test_every_status_word_of_a_contract_is_in_the_glossary() -> None:
    words = set()
    for model in TABLES.values():
        for column in model.to_schema().columns.values():
            for check in column.checks:
                words |= {word for word in (check.statistics or {}).get("allowed_values", []) if len(word) > 1}
    assert "karantaene" in words, "pandera no longer says which values a column may have"
    assert unknown(word.lower().translate(ASCII) for word in words) == set()


def test_no_two_terms_share_an_identifier() -> None:
    assert [name for name, count in Counter([*identifiers(), *PLAIN]).items() if count > 1] == []


def test_every_term_has_one_sentence_and_a_source() -> None:
    for word in WORDS:
        assert set(word) <= {"term", "identifikator", "former", "betydning", "kilde", "ikke"}, word["term"]
        assert word["kilde"].strip(), word["term"]
        assert word["betydning"].endswith("."), word["term"]
        assert not re.search(r"\. [A-ZÆØÅ]", word["betydning"]), word["term"]


def test_danish_letters_are_written_ae_oe_aa_in_identifiers() -> None:
    for word in WORDS:
        assert word["identifikator"] == word["term"].lower().translate(ASCII), word["term"]
    assert all(re.fullmatch(r"[a-z0-9]+", name) for name in identifiers())
