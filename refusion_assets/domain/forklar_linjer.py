"""Understands the delivered lines of one person: which touch a week, what became of each, and what each is called."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, timedelta
from functools import cached_property
from typing import Any

import polars as pl

from refusion_assets.domain.forklar_raekke import Navne
from refusion_assets.domain.forklaring import Indberetning
from refusion_assets.domain.fund import told
from refusion_assets.domain.fund_linjer import line_findings
from refusion_assets.domain.krav import BRUGT, CLAIM, KARANTAENE, TILBAGEFOERT, VIRKET
from refusion_assets.domain.rules import Rulebook

Key = tuple[int, int]
ARTER = {"I": "indberetning", "T": "tilbagefoersel"}


def key(row: dict[str, Any]) -> Key:
    """What names a line: its file and place."""
    return row["fil_id"], row["linje"]


@dataclass
class Linjer:
    """The lines of a person by key; a line gets its number (`nr`) when it is first mentioned."""

    rows: dict[Key, dict[str, Any]]
    texts: dict[Key, tuple[str, str]]
    navne: Navne
    mentioned: list[Key] = field(default_factory=list)

    def nr(self, line: Key) -> int:
        """The number of a line."""
        if line not in self.mentioned:
            self.mentioned.append(line)
        return self.mentioned.index(line) + 1

    def nrs(self, lines: Iterable[Key]) -> list[int]:
        """The numbers of some lines, ascending."""
        return sorted({self.nr(line) for line in lines})

    def of_claim(self, krav: dict[str, Any]) -> tuple[Key, ...]:
        """The standing lines that make a claim."""
        return self._of_claims.get(tuple(krav[name] for name in CLAIM), ())

    @cached_property
    def _of_claims(self) -> dict[tuple[Any, ...], tuple[Key, ...]]:
        """The standing lines by the claim they belong to."""
        found: dict[tuple[Any, ...], tuple[Key, ...]] = {}
        for line, row in self.rows.items():
            if row["status"] == BRUGT:
                claim = tuple(row[name] for name in CLAIM)
                found[claim] = (*found.get(claim, ()), line)
        return found

    def touching(self, uge: date) -> list[int]:
        """The lines about days of a week, in order: reports, and reversals that have had no effect."""
        return [
            self.nr(line)
            for line, row in self.rows.items()
            if touches(row, uge, uge + timedelta(days=6)) and (row["art"] != "T" or row["status"] != VIRKET)
        ]

    def reversals(self, row: dict[str, Any]) -> list[Key]:
        """The reversals that took a report back."""
        if row["art"] != "I" or not row["trukket"]:
            return []
        return [
            line
            for line, other in self.rows.items()
            if other["status"] == VIRKET
            and (other["reference_id"], other["pligt_se"]) == (row["indberetning_id"], row["pligt_se"])
            and other["borger_id"] in (None, row["borger_id"])
        ]

    def shown(self) -> list[Indberetning]:
        """The lines that are mentioned, and the reversals that took some of them back, by number."""
        told_of, place = [], 0
        while place < len(self.mentioned):
            told_of.append(self._told(self.mentioned[place]))
            place += 1
        return told_of

    def _told(self, line: Key) -> Indberetning:
        """One line as it is shown."""
        row, (tekst, handling) = self.rows[line], self.texts.get(line, ("", ""))
        return Indberetning(
            nr=self.nr(line),
            art=ARTER.get(row["art"], "ukendt"),  # type: ignore[arg-type]
            kilde=row["kilde_id"],
            kilde_navn=self.navne.kilde(row["kilde_id"]),
            afsender=self.navne.afsender(row["kilde_id"], row["kommunekode_betaler"], row["pligt_se"]),
            ydelse_id=row["ydelse_id"],
            ydelse=self.navne.ydelse(row["ydelse_id"]),
            periode_start=row["periode_start"],
            periode_slut=row["periode_slut"],
            beloeb_oere=0 if row["art"] == "T" else row["beloeb_oere"],
            indberetning_id=row["indberetning_id"],
            reference_id=row["reference_id"],
            fil=row["filnavn"],
            linje=row["linje"],
            modtaget_maaned=row["modtaget_maaned"],
            modtaget_tidspunkt=row["Modtaget_tidspunkt"],
            status=row["status"],
            regel=row["regel"] if row["status"] == KARANTAENE else None,
            regel_tekst=tekst or None,
            handling=handling or None,
            tilbagefoert_af=self.nrs(self.reversals(row)) if row["status"] == TILBAGEFOERT else [],
        )


def touches(row: dict[str, Any], fra: date, til: date) -> bool:
    """Whether a line is about some of the days; one without a benefit period is about its pay period."""
    start, end = row["periode_start"], row["periode_slut"]
    if start is None or end is None:
        start, end = row["Loenperiode_start"], row["Loenperiode_slut"]
    return start is not None and end is not None and bool(start <= til and end >= fra)


def read_lines(linjer: pl.DataFrame, raa: pl.DataFrame, navne: Navne, rules: Rulebook) -> Linjer:
    """The lines of a person with their raw columns, in order of period and receipt, and what quarantine says of them.

    `linjer`: `Linje` with status, trukket and the regel of the verdict, filnavn, enhed, modtaget_maaned; `raa`: the
    raw columns of those that are shown.
    """
    order = ["periode_start", "periode_slut", "modtaget_maaned", "filnavn", "linje"]
    both = linjer.join(raa, on=["fil_id", "linje"], how="left").sort(order, nulls_last=True)
    bad = both.filter((pl.col("status") == KARANTAENE) & pl.col("udfyldt").is_not_null())
    found = told(line_findings(bad.rename({"kilde_id": "kilde", "filnavn": "fil"}), rules), rules)
    place = {(row["filnavn"], row["linje"]): key(row) for row in bad.iter_rows(named=True)}
    texts = {place[row["fil"], row["linje"]]: (row["tekst"], row["handling"]) for row in found.iter_rows(named=True)}
    return Linjer({key(row): row for row in both.iter_rows(named=True)}, texts, navne)
