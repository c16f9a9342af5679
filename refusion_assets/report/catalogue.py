"""Understands how a view is shown: its texts, tables and columns, and how a number is written in Danish."""

import re
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from refusion_assets.domain.calendar import round_half_away
from refusion_assets.domain.contract import described
from refusion_assets.domain.findings.statement import AARSAGER
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opfoelgning.views import VIEWS
from refusion_assets.domain.opgoerelse.ledger import ydelse_navne
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import thousands
from refusion_assets.figures import table
from refusion_assets.store.tables import TABLES

TEXTS = Path(__file__).with_name("visninger.toml")
COLUMN_TEXTS = Path(__file__).with_name("kolonner.toml")
MONTHS = ("jan.", "feb.", "marts", "april", "maj", "juni", "juli", "aug.", "sept.", "okt.", "nov.", "dec.")
MINUS, SPACE = "\N{MINUS SIGN}", "\N{NO-BREAK SPACE}"
NOTHING = "\N{EN DASH}"
LAND = "Hele landet"
# The measured columns of a gain have the unit of its row.
OF_A_UNIT = ("baseline", "nu", "forskel", "maalsaetning")
KINDS = {"oere": "kr", "promille": "pct", "antal": "tal"}
GUIDE_BEGINS, GUIDE_ENDS = "<!-- kolonner: lavet af `make regelsider` -->", "<!-- slut -->"


@dataclass(frozen=True)
class Kolonne:
    """A column as people read it: heading, meaning, and kind of value.

    `slags`: kr (øre in the frame), pct (per mille in the frame), tal, tekst, dato, maaned, ja, or enhed.
    """

    navn: str
    titel: str
    betydning: str
    slags: str


@dataclass(frozen=True)
class Tabel:
    """A table of the page: rows grouped by `efter`, sums of `vis`; `kryds` is the second way of a table of two ways.

    Sorted by the size of `sorter`, it shows the first `mest` rows, or all; `lodret`: a single row as a line per column.
    """

    titel: str
    efter: tuple[str, ...]
    vis: tuple[str, ...]
    ialt: tuple[str, ...] = ()
    kryds: str = ""
    maaneder: bool = False
    sorter: str = ""
    mest: int = 0
    lodret: bool = False


@dataclass(frozen=True)
class Visning:
    """A view as people read it: the question it answers, how its numbers are read, its tables and all its columns."""

    id: str
    titel: str
    spoergsmaal: str
    forklaring: str
    laes: tuple[str, ...]
    tom: str
    tabeller: tuple[Tabel, ...]
    kolonner: Mapping[str, Kolonne]


def _kind(name: str, dtype: Any) -> str:
    """The kind of a column by its name and type."""
    if name in OF_A_UNIT:
        return "enhed"
    for ending, kind in (("_oere", "kr"), ("_promille", "pct"), ("oere_maaneder", "kr")):
        if name.endswith(ending):
            return kind
    if dtype == pl.Date:
        return "maaned"
    return {pl.String: "tekst", pl.Boolean: "ja"}.get(dtype, "tal")


def _table(texts: dict[str, Any]) -> Tabel:
    """A table of the texts, its lists made fast."""
    made: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in texts.items()}
    return Tabel(**made)


@cache
def visninger() -> tuple[Visning, ...]:
    """Every view in the order of the page; KeyError if a column of a contract has no text."""
    texts = tomllib.loads(TEXTS.read_text("utf-8"))
    made = []
    for one in texts["visning"]:
        columns = VIEWS[one["id"]].to_schema().columns
        kolonner = {
            name: Kolonne(name, titel, betydning, _kind(name, columns[name].dtype.type))
            for name, (titel, betydning) in ((name, texts["kolonner"][name]) for name in columns)
        }
        tabeller = tuple(_table(tabel) for tabel in one["tabel"])
        words = {key: one[key] for key in ("id", "titel", "spoergsmaal", "forklaring", "tom")}
        made.append(Visning(**words, laes=tuple(one["laes"]), tabeller=tabeller, kolonner=kolonner))
    return tuple(made)


def _rounded(numerator: int, denominator: int) -> int:
    return int(round_half_away(np.asarray(numerator), denominator))


def tal(number: int | None) -> str:
    """A whole number with points between thousands and a real minus; a dash where there is none."""
    return NOTHING if number is None else thousands(number).replace("-", MINUS)


def kr(oere: int | None) -> str:
    """Øre as whole kroner, half away from zero: `1.235 kr.`; never a minus before zero."""
    return NOTHING if oere is None else f"{tal(_rounded(oere, 100))}{SPACE}kr."


def pct(promille: int | None) -> str:
    """Per mille as per cent with one decimal: `36,6 %`."""
    if promille is None:
        return NOTHING
    whole, tenth = divmod(abs(promille), 10)
    return f"{MINUS if promille < 0 else ''}{thousands(whole)},{tenth}{SPACE}%"


def promille(part: int, whole: int) -> int | None:
    """A part of a whole in per mille, half away from zero; None without a whole."""
    return _rounded(1000 * part, abs(whole)) * (1 if whole > 0 else -1) if whole else None


def signed(text: str) -> str:
    """A written number with its sign also when it is above zero."""
    return text if text.startswith((MINUS, NOTHING)) or re.match(r"0(,0)?\D*$", text) else f"+{text}"


def maaned(day: date | None) -> str:
    """A month as `okt. 2026`."""
    return f"{MONTHS[day.month - 1]} {day.year}" if day else NOTHING


def _ja(value: bool | None) -> str:
    return "ja" if value else "nej"


WRITTEN: dict[str, Callable[[Any], str]] = {"kr": kr, "pct": pct, "tal": tal, "maaned": maaned, "ja": _ja}


def words_of(rules: Rulebook) -> dict[str, Callable[[Any], str]]:
    """How the words of a column are shown, by its name: ids become names. An unknown id is shown as it is."""
    ydelser = dict(ydelse_navne(rules).select("ydelse_id", "navn").rows())
    kilder = {kilde.id: kilde.navn for kilde in rules.kilder}
    regler = {kontrol.id: f"{kontrol.id} {kontrol.navn}" for kontrol in rules.kontroller}
    kommuner = {**rules.kommunenavne, NOBODY: LAND}

    def sender(name: str) -> str:
        kilde, _, enhed = name.partition("-")
        return f"{kilder.get(kilde, kilde)} ({name})" if enhed else kilder.get(name, name) or "ingen fil"

    return {
        "ydelse_id": lambda name: ydelser.get(name, name),
        "aarsag": lambda name: AARSAGER.get(name, name),
        "regel": lambda name: regler.get(name, name),
        "kilde": lambda name: kilder.get(name, name),
        "afsender": sender,
        "kommunekode": lambda name: kommuner.get(name, name),
        "trin": lambda trin: "uden for trappen" if trin is None else str(trin),
    }


def guide() -> str:
    """The column guide of the views in Markdown, made of their contracts; headings as in the workbook."""
    parts = []
    for visning in visninger():
        contract = VIEWS[visning.id]
        rows = [
            (f"`{name}`", visning.kolonner[name].titel, _unit(visning.kolonner[name]), text)
            for name, text in described(contract).items()
        ]
        grain = " ".join((contract.__doc__ or "").split())
        key = ", ".join(f"`{name}`" for name in contract.to_schema().unique or ())
        head = ["Kolonne", "Overskrift", "Enhed", "Betydning"]
        parts.append(f"### `opfoelgning.{visning.id}`\n\n{grain}\n\nNøgle: {key}.\n\n{table(head, rows)}")
    return "\n\n".join(parts)


def package_guide(files: Mapping[str, Sequence[str]], tables: Sequence[str]) -> str:
    """The column guide of a package in Danish Markdown: of its files by kind, and of its tables as their contracts are.

    KeyError if a file, table or column has no text.
    """
    texts = tomllib.loads(COLUMN_TEXTS.read_text("utf-8"))
    means = texts["kolonner"]
    parts = ["# Kolonnerne i pakken", "## Filerne"]
    for kind, columns in files.items():
        rows = [(f"`{name}`", _unit_of_file(name), means[name]) for name in columns]
        parts += [f"### `{kind}`\n\n{texts['filer'][kind]}", table(["Kolonne", "Enhed", "Betydning"], rows)]
    parts.append("## Tabellerne i `udgivet/ydelsesrefusion.duckdb`")
    for name in tables:
        contract = TABLES[name].to_schema()
        rows = [
            (f"`{column}`", _unit_of_table(column, kept.dtype.type), means[column])
            for column, kept in contract.columns.items()
        ]
        key = f" Nøgle: {', '.join(f'`{column}`' for column in contract.unique)}." if contract.unique else ""
        parts += [f"### `{name}`\n\n{texts['tabeller'][name]}{key}", table(["Kolonne", "Enhed", "Betydning"], rows)]
    return "\n\n".join(parts) + "\n"


def _unit_of_file(heading: str) -> str:
    """The unit of a column of a file by its heading."""
    if re.search(r"[Bb]eløb|Rettelser|^(Total|Refusion|Medfinansiering)$", heading):
        return "kr."
    if heading in ("Uge", "Uge fra", "Uge til", "Bogføringsdato"):
        return "dato"
    return "procent" if "ats" in heading else "antal" if heading.startswith("Antal") else "tekst"


def _unit_of_table(column: str, dtype: Any) -> str:
    """The unit of a column of a table by its name and type."""
    if column.endswith("_oere") or re.fullmatch(r"Felt00\d\d", column):
        return "øre"
    if column == "procent":
        return "procent"
    kinds = {pl.Date: "dato", pl.Datetime: "tidspunkt", pl.Boolean: "ja/nej", pl.Int64: "tal"}
    return kinds.get(dtype, "tekst")


def _unit(kolonne: Kolonne) -> str:
    units = {"kr": "øre", "pct": "promille", "tal": "antal", "maaned": "dato", "ja": "ja/nej", "enhed": "som `enhed`"}
    return units.get(kolonne.slags, "tekst")


def freshened(page: str) -> str:
    """The text of docs/opfoelgning.md with the column guide of today's contracts between its two marks."""
    before, rest = page.split(GUIDE_BEGINS)
    return f"{before}{GUIDE_BEGINS}\n\n{guide()}\n\n{GUIDE_ENDS}{rest.split(GUIDE_ENDS)[1]}"


def freshen(path: Path) -> bool:
    """Rewrite the column guide of a page on the disk; True if it changed. A page that is not there is left so."""
    if not path.exists():
        return False
    before = path.read_text("utf-8")
    path.write_text(freshened(before), encoding="utf-8")
    return freshened(before) != before
