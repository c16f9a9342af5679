"""The tables of the warehouse: the contract of each, the one module or package that writes it, and what analysts see.

All others read it, or call a function of its owner (tests/house/test_tables.py). A name is layer and grain; most
owners lie in that layer.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pandera.errors
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.classified import AS_WRITTEN, Aendret, Dom, Grundlag, Krav, Linje
from refusion_assets.domain.contract import at_once
from refusion_assets.domain.duration.count import Vindue
from refusion_assets.domain.duration.spells import Forloeb, ForloebTaeller
from refusion_assets.domain.elsewhere import Udeladt
from refusion_assets.domain.faelles.konvertering import (
    Konverteret,
    Konvertering,
    Konverteringsfil,
    Stikproeve,
    Ubehandlet,
)
from refusion_assets.domain.faelles.udrulning import Godkendelse, KommuneUdrulning
from refusion_assets.domain.findings.outcome import Accept, Afsender, Resultat, Tal
from refusion_assets.domain.findings.words import Advis
from refusion_assets.domain.levering import Forsendelse, Kvittering
from refusion_assets.domain.operations.opbevaring import Slettet
from refusion_assets.domain.opfoelgning.views import VIEWS
from refusion_assets.domain.opgoerelse.chain import Kaede
from refusion_assets.domain.opgoerelse.ledger import (
    FilGrundlag,
    Foraeldet,
    Koersel,
    KommuneKoersel,
    Opslagshoved,
    Postering,
    Tilbageholdt,
)
from refusion_assets.domain.raw import (
    Bemaerket,
    Bopael,
    Borger,
    Fil,
    Fleksgrundlag,
    Indberetning,
    KendtFil,
    Laest,
    Register,
    Skrevet,
    Ukendt,
)
from refusion_assets.domain.refusion.fleksbidrag import BorgerMaanedFleksbidrag
from refusion_assets.domain.refusion.maximum import OverLoft
from refusion_assets.domain.refusion.price import AendretUge, AndenBetaler, Beregnet, BorgerUgeYdelse, UdenKommune
from refusion_assets.domain.refusion.split import Placering
from refusion_assets.domain.rules.change import Regelgrundlag

OWNERS: dict[str, dict[str, type[pa.DataFrameModel]]] = {
    "place": {"raw.skrevet": Skrevet},
    "assets.raw": {"raw.fil": Fil, "raw.indberetning": Indberetning},
    "assets.raw.files_read": {"raw.laest": Laest, "kontrol.bemaerket": Bemaerket},
    "assets.raw.let_pass": {"kontrol.accept": Accept},
    "assets.raw.registers": {"raw.register": Register, "raw.bopael": Bopael, "raw.fleksgrundlag": Fleksgrundlag},
    "assets.classified": {
        "identitet.borger": Borger,
        "raw.ukendt": Ukendt,
        "classified.linje": Linje,
        "classified.dom": Dom,
        "classified.udgaaet": Linje,
        "classified.grundlag": Grundlag,
        "classified.krav": Krav,
    },
    "assets.touched": {
        "classified.aendret": Aendret,
        "refusion.aendret": AendretUge,
        "refusion.beregnet": Beregnet,
    },
    "assets.stale": {"refusion.regelgrundlag": Regelgrundlag},
    "assets.refusion": {
        "regler.genoptjening": Vindue,
        "duration.forloeb": Forloeb,
        "duration.forloeb_taeller": ForloebTaeller,
        "refusion.borger_uge_ydelse": BorgerUgeYdelse,
        "refusion.over_loft": OverLoft,
        "refusion.fleksbidrag": BorgerMaanedFleksbidrag,
        "refusion.uden_kommune": UdenKommune,
        "refusion.anden_betaler": AndenBetaler,
        "refusion.placering": Placering,
    },
    "assets.opgoerelse": {
        "opgoerelse.postering": Postering,
        "opgoerelse.foraeldet": Foraeldet,
        "opgoerelse.koersel": Koersel,
        "opgoerelse.kommune": KommuneKoersel,
        "opgoerelse.tilbageholdt": Tilbageholdt,
        "opgoerelse.kendt_fil": KendtFil,
        "opgoerelse.kaede": Kaede,
        "opgoerelse.opslagshoved": Opslagshoved,
    },
    "assets.findings.advise": {"opgoerelse.advis": Advis},
    "assets.outgoing": {"opgoerelse.fil_grundlag": FilGrundlag},
    "assets.levering": {"levering.forsendelse": Forsendelse, "levering.kvittering": Kvittering},
    "assets.opfoelgning": {f"opfoelgning.{name}": model for name, model in VIEWS.items()},
    "assets.faelles.udrulning": {"faelles.udrulning": KommuneUdrulning, "faelles.godkendelse": Godkendelse},
    "assets.faelles.konvertering": {
        "raw.konverteret": Konverteret,
        "faelles.konverteringsfil": Konverteringsfil,
        "faelles.konvertering": Konvertering,
        "faelles.ubehandlet": Ubehandlet,
        "raw.stikproeve": Stikproeve,
    },
    "runs.retention": {"opgoerelse.slettet": Slettet},
    "runs.extract": {"pakke.udeladt": Udeladt},
    "assets.checks.asset": {"kontrol.resultat": Resultat, "kontrol.tal": Tal},
    "assets.checks.quality": {"kontrol.kvalitet": Afsender},
}
TABLES = {table: model for tables in OWNERS.values() for table, model in tables.items()}

ALL = ("*",)
"""No column of the table is for analysts."""

LEFT_OUT: dict[str, tuple[str, ...]] = {
    "raw.fil": ("sti", "filnavn", "enhed", "sha256"),
    "raw.indberetning": ALL,
    "raw.laest": ALL,
    "kontrol.bemaerket": ALL,
    "kontrol.accept": ("genstand", "begrundelse"),
    "raw.register": ("sti", "sha256"),
    "raw.bopael": ALL,
    "raw.fleksgrundlag": ALL,
    "identitet.borger": ALL,
    "raw.skrevet": ALL,
    "raw.ukendt": ALL,
    "classified.linje": AS_WRITTEN,
    "classified.dom": (),
    "classified.udgaaet": AS_WRITTEN,
    "classified.grundlag": (),
    "classified.krav": ("pligt_se",),
    "classified.aendret": (),
    "refusion.aendret": (),
    "refusion.beregnet": (),
    "refusion.regelgrundlag": (),
    "regler.genoptjening": (),
    "duration.forloeb": (),
    "duration.forloeb_taeller": (),
    "refusion.borger_uge_ydelse": (),
    "refusion.over_loft": (),
    "refusion.fleksbidrag": (),
    "refusion.uden_kommune": (),
    "refusion.anden_betaler": (),
    "refusion.placering": (),
    "opgoerelse.postering": (),
    "opgoerelse.foraeldet": (),
    "opgoerelse.koersel": (),
    "opgoerelse.kommune": (),
    "opgoerelse.tilbageholdt": ("begrundelse",),
    "opgoerelse.kendt_fil": ALL,
    "opgoerelse.kaede": (),
    "opgoerelse.opslagshoved": ALL,
    "opgoerelse.slettet": (),
    "opgoerelse.advis": ("noegle", "konto", "indberetning_id", "vaerdi", "fil", "tekst", "handling"),
    "opgoerelse.fil_grundlag": (),
    "levering.forsendelse": ("transfer_id", "fejl"),
    "levering.kvittering": ALL,
    **{f"opfoelgning.{name}": () for name in VIEWS},
    "opfoelgning.haengende": ("afsender", "handling"),
    "faelles.udrulning": (),
    "faelles.godkendelse": ("bruger", "begrundelse"),
    "raw.konverteret": ALL,
    "faelles.konverteringsfil": ("fil", "sha256"),
    "faelles.konvertering": (),
    "faelles.ubehandlet": ("fil",),
    "raw.stikproeve": ALL,
    "pakke.udeladt": (),
    "kontrol.resultat": ("tekst",),
    "kontrol.tal": (),
    "kontrol.kvalitet": (),
}
"""The columns of each table that analysts do not see (docs/adr/0033): people, and all that somebody wrote freely."""

MONTH, RUN, FILE, PEOPLE = "month", "run", "file", "people"
PARTS: dict[str, tuple[str, str]] = {
    "raw.indberetning": (FILE, "fil_id"),
    "classified.linje": (FILE, "fil_id"),
    "classified.dom": (FILE, "fil_id"),
    "raw.bopael": (MONTH, "modtaget_maaned"),
    "raw.fleksgrundlag": (MONTH, "modtaget_maaned"),
    "classified.krav": (MONTH, "periode_start"),
    "identitet.borger": (PEOPLE, "borger_id"),
    "duration.forloeb": (PEOPLE, "borger_id"),
    "duration.forloeb_taeller": (PEOPLE, "borger_id"),
    "refusion.borger_uge_ydelse": (MONTH, "maaned"),
    "refusion.fleksbidrag": (MONTH, "maaned"),
    "refusion.placering": (MONTH, "slut_maaned"),
    "opgoerelse.postering": (RUN, "koersel"),
    "opgoerelse.foraeldet": (RUN, "koersel"),
    "opgoerelse.advis": (RUN, "koersel"),
}
"""The column that cuts a large table into the files of a state; all other tables are one file each."""

PEOPLE_A_FILE = 100_000


@dataclass(frozen=True)
class Cut:
    """How a column cuts a table into parts: in SQL, in a frame, and as the name of a part."""

    of_row: str
    """SQL for the part of a row; `{0}` is the column, or for `FILE` the month of receipt."""
    of_rows: Callable[[pl.Series], pl.Series]
    """The part of each row of a frame, from its column."""
    named: str
    """The format of a part's name."""
    in_sql: str
    """A part's name as the value in SQL."""
    where: str
    """SQL that is true for the rows of a part, by its column and the part as a value, so that DuckDB skips the rest."""


OF_MONTH = "DATE '{0}-01'"
CUTS = {
    MONTH: Cut(
        "date_trunc('month', {0})::DATE",
        lambda column: column.dt.truncate("1mo"),
        "%Y-%m",
        OF_MONTH,
        "{0} >= {1} AND {0} < {1} + INTERVAL 1 MONTH",
    ),
    RUN: Cut("{0}", lambda column: column, "04d", "{0}::BIGINT", "{0} = {1}"),
    PEOPLE: Cut(
        f"{{0}} // {PEOPLE_A_FILE}",
        lambda column: column // PEOPLE_A_FILE,
        "05d",
        "{0}::BIGINT",
        f"{{0}} // {PEOPLE_A_FILE} = {{1}}",
    ),
    FILE: Cut(
        "{0}",
        lambda column: column,
        "%Y-%m",
        OF_MONTH,
        "{0} IN (SELECT fil_id FROM raw.fil WHERE modtaget_maaned = {1})",
    ),
}


def cut_of(table: str) -> tuple[str, Cut]:
    """The column that cuts a table, and how."""
    kind, column = PARTS[table]
    return column, CUTS[kind]


def visible(table: str) -> list[str]:
    """The columns of a table that analysts see."""
    left_out = LEFT_OUT[table]
    return [] if left_out == ALL else [name for name in TABLES[table].to_schema().columns if name not in left_out]


SQL_TYPE = {
    pl.Date: "DATE",
    pl.Int64: "BIGINT",
    pl.String: "VARCHAR",
    pl.Boolean: "BOOLEAN",
    pl.Datetime: "TIMESTAMP",
}


@cache
def types_of(table: str) -> dict[str, str]:
    """The columns of a table and their types in SQL, as its contract has them."""
    columns = TABLES[table].to_schema().columns
    return {name: SQL_TYPE[column.dtype.type.base_type()] for name, column in columns.items()}


SQL_OF_VIEWS = Path(__file__).parent / "views.sql"


@cache
def layout() -> tuple[str, ...]:
    """The statements that make every schema, table and view; tables follow their contracts."""
    schemas = dict.fromkeys(table.split(".")[0] for table in TABLES)
    statements = [f"CREATE SCHEMA IF NOT EXISTS {schema}" for schema in schemas]
    statements += [f"CREATE TABLE IF NOT EXISTS {table} ({columns_of(table)})" for table in TABLES]
    return (*statements, *views_of())


def views_of() -> list[str]:
    """The statements that make each view of the tables."""
    return [view for view in SQL_OF_VIEWS.read_text("utf-8").split(";\n") if view.strip()]


def columns_of(table: str) -> str:
    """The columns of a table in SQL, as its contract has them."""
    return ", ".join(f'"{name}" {kind}' for name, kind in types_of(table).items())


def quoted(value: object) -> str:
    """A value as SQL."""
    return str(value) if isinstance(value, int) else "'" + str(value).replace("'", "''") + "'"


def listed(columns: Iterator[str] | list[str] | Mapping[str, str]) -> str:
    """Names of columns as SQL."""
    return ", ".join(f'"{name}"' for name in columns)


# Each pandera check as SQL that is true where a value breaks it; a missing value has its own condition.
BROKEN: dict[str, Callable[[str, dict[str, Any]], str]] = {
    "isin": lambda name, said: f"{name} NOT IN ({', '.join(map(quoted, said['allowed_values']))})",
    "greater_than": lambda name, said: f"{name} <= {quoted(said['min_value'])}",
    "greater_than_or_equal_to": lambda name, said: f"{name} < {quoted(said['min_value'])}",
    "less_than_or_equal_to": lambda name, said: f"{name} > {quoted(said['max_value'])}",
    "str_matches": lambda name, said: f"NOT regexp_matches({name}, {quoted(said['pattern'])})",
    "str_length": lambda name, said: (
        f"length({name}) NOT BETWEEN {said['min_value'] or 0} AND {said['max_value'] or 2**31}"
    ),
}


def _conditions(name: str, column: Any) -> Iterator[tuple[str, str]]:
    """The conditions of a column's contract: a word, and the SQL that is true where a row breaks it."""
    if not column.nullable:
        yield "not_nullable", f'"{name}" IS NULL'
    for check in column.checks:
        yield check.name, BROKEN[check.name](f'"{name}"', check.statistics)


def breaks(table: str) -> dict[str, str]:
    """SQL for how many rows break each part of a table's contract, by a word. KeyError on a check without SQL."""
    return {
        f"{name}: {what}": _how_many(table, name, what, condition)
        for name, column in TABLES[table].to_schema().columns.items()
        for what, condition in _conditions(name, column)
    }


def _how_many(table: str, name: str, what: str, condition: str) -> str:
    """SQL for how many rows of a table break one condition of a column.

    DuckDB's statistics rule out most rows unread. A list of values would be compared with every row, so each distinct
    value is compared once. Its count is an aggregate, as a second key would be compared with every row too.
    """
    if what != "isin":
        return f"SELECT count(*) FROM {table} WHERE {condition}"
    each = f'SELECT any_value("{name}") AS "{name}", count(*) AS antal FROM {table} GROUP BY "{name}"'
    return f"SELECT coalesce(sum(antal), 0)::BIGINT FROM ({each}) WHERE {condition}"


class ContractError(ValueError):
    """A table that breaks its contract; the text holds check names and counts, never values."""


def validate(table: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame, proved against its table's contract; ContractError without any cell value.

    pandera checks data only in collected frames, so lazy frames are not accepted.
    """
    schema, whole = TABLES[table].to_schema(), at_once(TABLES[table])
    if schema.unique and set(schema.unique) <= set(frame.columns) and not _distinct(frame.select(schema.unique)):
        whole = schema
    with suppress(pandera.errors.SchemaErrors):
        return whole.validate(frame, lazy=True)
    try:
        return schema.validate(frame, lazy=True)
    except pandera.errors.SchemaErrors as error:
        cases = error.failure_cases.group_by("column", "check").len().sort("column", "check")
        found = "; ".join(f"{column}: {check} ({count})" for column, check, count in cases.iter_rows())
    raise ContractError(f"{table} bryder sin kontrakt: {found}")


def _distinct(keys: pl.DataFrame) -> bool:
    """True if all keys are distinct, proved by their hashes: distinct hashes have distinct keys.

    Many times faster than comparing the keys. False proves nothing: then the contract compares the keys.
    """
    return keys.hash_rows().n_unique() == keys.height
