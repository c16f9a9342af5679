"""Understands how long each kind of data is kept, by `opbevaring.toml`, and what may never be deleted."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Literal

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.rules.cited import Cited

FILE, EMNE = "opbevaring.toml", "opbevaring"
UDGAAENDE, OVERSIGTER = "udgaaende", "oversigter"
Slag = Literal["raalinjer", "identiteter", "kladder", "opslag", "dagster", "udgaaende", "oversigter"]
LEAST_YEARS = 5
# A correction can reach back to any counted week, so these can change a result that can still be settled.
FOR_EVER = {
    "raalinjer": "en rettelse når tilbage til enhver talt uge, og alt kan læses ind igen; en frist ændrede resultater",
    "identiteter": "tælleren hviler på hele historien siden 2014; uden nummeret følger en ny linje ikke borgeren",
    "kladder": "hver kørsel afregnes mod alle tidligere; en frist ændrede, hvad der mangler at blive afregnet",
    "opslag": "loggen er kædet sammen; uden de gamle linjer kan den ikke efterses",
    "dagster": "det er Dagsters egen hukommelse; den tømmes med Dagsters egne kommandoer",
}


@dataclass(frozen=True, kw_only=True)
class Opbevaring(Cited):
    """An entry `[[opbevaring]]`: a kind of data, and the years it is kept from the end of the run's year; 0: always."""

    slag: Slag
    aar: int = 0
    note: str = ""


class Slettet(Contract, key=["nr"]):
    """One row per kind of data and run month that was deleted by the rules. Never changed."""

    nr: pl.Int64 = pa.Field(ge=1, description="number of the deletion, from 1")
    slag: pl.String = pa.Field(isin=[UDGAAENDE, OVERSIGTER], description="kind of data, as in opbevaring.toml")
    maaned: pl.Date = pa.Field(description="run month")
    dato: pl.Date = pa.Field(description="day of the deletion")
    filer: pl.Int64 = pa.Field(ge=0, description="files deleted")
    aar: pl.Int64 = pa.Field(ge=1, description="years that the rules kept them")


def retention_faults(entries: Sequence[Opbevaring]) -> Iterator[str]:
    """A sentence for each entry that cannot stand: twice the same kind, or a period that it may not have."""
    for number, entry in enumerate(entries):
        where = f"{FILE}, {entry.slag}"
        if entry.slag in {other.slag for other in entries[:number]}:
            yield f"{where}: står to gange; skriv een post for hvert slag"
        if entry.aar and entry.slag in FOR_EVER:
            yield f"{where}: kan ikke have en frist: {FOR_EVER[entry.slag]}; skriv aar = 0"
        elif entry.aar and not LEAST_YEARS <= entry.aar <= 100:
            yield f"{where}: aar skal være 0 (slettes ikke) eller fra {LEAST_YEARS} til 100 efter kørslens år"


def is_due(month: date, aar: int, today: date) -> bool:
    """True if the years have gone since the end of the year of run `month`; never with 0 years."""
    return aar > 0 and today > date(month.year + aar, 12, 31)
