"""Understands Markdown: values, links and tables for a lawyer, the same bytes every time."""

import re
import tomllib
from collections.abc import Iterable, Sequence
from datetime import date
from functools import lru_cache
from typing import Any

from refusion_assets.figures import table
from refusion_assets.place import REPOSITORY

Record = dict[str, Any]
URL = re.compile(r"https?://[^\s;]+")
CITATION = ("hjemmel", "kilde", "kontrolleret", "sikkerhed")
NEVER_LIFTED = ("gaelder_fra", "gyldig_fra", "id", "navn", "ydelse_id")
SHORT = {"lov_nr": "Nr. i § 3", "beloebsfelter": "Beløbsfelter", "indtaegtsart": "Indtægtsart"}
FEW = 6


def value(content: Any) -> str:
    """One value as a cell: yes and no in Danish, lists with commas, signs of Markdown escaped."""
    if isinstance(content, bool):
        return "ja" if content else "nej"
    if isinstance(content, list | tuple):
        parts = [value(part) for part in content]
        return (" · " if any("," in part for part in parts) else ", ").join(parts)
    text = content.isoformat() if isinstance(content, date) else "" if content is None else str(content)
    return re.sub(r"([|*<])", r"\\\1", " ".join(text.split()))


@lru_cache(maxsize=1)
def _words() -> dict[str, str]:
    """The Danish word of every identifier in the glossary."""
    words = tomllib.loads((REPOSITORY / "docs" / "ordliste.toml").read_text("utf-8"))["ord"]
    small = {"foer": "før", "naeste": "næste", "paa": "på", "foerste": "første"}
    return small | {word["identifikator"]: word["term"] for word in words}


def heading(name: str) -> str:
    """A key of the rules as a heading, in the words of the glossary."""
    text = SHORT.get(name) or " ".join(_words().get(part, part) for part in name.split("_"))
    return text[:1].upper() + text[1:]


def cited(record: Record) -> str:
    """The paragraph of an entry, as a link if its source is one address."""
    address = URL.fullmatch(record["kilde"])
    return f"[{value(record['hjemmel'])}]({record['kilde']})" if address else value(record["hjemmel"])


def source(record: Record) -> str:
    """The source of an entry, if its paragraph does not already link there."""
    return "" if URL.fullmatch(record["kilde"]) else value(record["kilde"])


def _columns(records: Sequence[Record], names: Iterable[str]) -> dict[str, list[str]]:
    """The columns with a value in some entry, as cells by name."""
    columns = {}
    for name in names:
        if name == "hjemmel":
            columns[name] = [cited(record) for record in records]
        elif name == "kilde":
            columns[name] = [source(record) for record in records]
        else:
            columns[name] = [value(record.get(name)) for record in records]
    return {name: cells for name, cells in columns.items() if any(cells)}


def entries(records: Sequence[Record], names: Sequence[str]) -> str:
    """A table with one row per entry; a value common to all entries goes above it."""
    ordered = [name for name in names if name not in CITATION]
    ordered += [name for name in CITATION if name in names]
    columns = _columns(records, ordered)
    same = {
        name: cells[0]
        for name, cells in columns.items()
        if len(records) >= FEW and len(set(cells)) == 1 and name not in NEVER_LIFTED
    }
    kept = {name: cells for name, cells in columns.items() if name not in same}
    rows = zip(*kept.values(), strict=True)
    said = "; ".join(f"{heading(name).lower()} {cell}" for name, cell in same.items())
    above = f"Fælles for alle {len(records)}: {said}.\n\n" if said else ""
    return above + table([heading(name) for name in kept], rows)


def side_by_side(records: Sequence[Record], inner: str) -> str:
    """The inner lists of entries of one name in one table: a row per first value, a column per date."""
    key, *rest = records[0][inner][0]
    dates = [value(record.get("gaelder_fra")) for record in records]
    firsts = sorted({part[key] for record in records for part in record[inner]})
    rows = []
    for first in firsts:
        found = [[part for part in record[inner] if part[key] == first] for record in records]
        cells = [" · ".join(value(parts[0][name]) for name in rest) if parts else "" for parts in found]
        rows.append([value(first), *cells])
    what = " · ".join(heading(name).lower() for name in rest)
    return table([heading(key), *(f"Gælder fra {day}: {what}" for day in dates)], rows)
