"""Understands the hand-written part of the law pages: one entry per file of `rules/`."""

import tomllib
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from refusion_assets.domain.stop import Stop
from refusion_assets.place import REPOSITORY

PAGES = REPOSITORY / "docs" / "regler"


@dataclass(frozen=True, kw_only=True)
class Emne:
    """One page: a file of the rules, its subject, and the functions, tests and cases that show its reading.

    `funktioner` have the form `module:name`, `proever` are pairs of `file::test` and a Danish sentence. `laesninger`
    are names of readings. `eksempler` are ids of cases beyond those that cite one of the `paragraffer`.
    `ikke_modelleret` are the paragraphs of entries in `ikke_modelleret.toml`.
    """

    fil: str
    titel: str
    regulerer: str
    paragraffer: list[str]
    datoen: str
    laest: str
    funktioner: list[str] = field(default_factory=list)
    proever: list[tuple[str, str]] = field(default_factory=list)
    laesninger: list[str] = field(default_factory=list)
    eksempler: list[str] = field(default_factory=list)
    tvivl: list[str] = field(default_factory=list)
    ikke_modelleret: list[str] = field(default_factory=list)

    @property
    def side(self) -> str:
        """The name of the page, without its ending."""
        return Path(self.fil).stem


@dataclass(frozen=True, kw_only=True)
class Vej:
    """One line of the front page: a question of the rule owner, and the page with the answer."""

    spoergsmaal: str
    side: str
    vejledning: str = ""


@dataclass(frozen=True)
class Emner:
    """All hand-written parts: the pages, the front page, and the meaning of each table of cases."""

    sider: list[Emne]
    veje: list[Vej]
    forside: str
    tabeller: dict[str, dict[str, str]]

    @cached_property
    def by_file(self) -> dict[str, Emne]:
        """The page of each file of the rules."""
        return {emne.fil: emne for emne in self.sider}

    def of_file(self, fil: str) -> Emne:
        """The page of a file of the rules; Stop if it has none."""
        if fil not in self.by_file:
            raise Stop(f"docs/regler/emner.toml: rules/{fil} har ingen side; tilføj en [[side]] med fil = {fil!r}")
        return self.by_file[fil]


def _page(record: dict[str, Any]) -> Emne:
    """One page as written; Stop on an incomplete entry."""
    try:
        return Emne(**record)
    except TypeError as error:
        raise Stop(f"docs/regler/emner.toml, side {record.get('fil', '?')}: {error}") from error


def read_emner(path: Path = PAGES / "emner.toml") -> Emner:
    """The hand-written part of the law pages. Hjemmel: none, technical."""
    tables = tomllib.loads(path.read_text("utf-8"))
    veje = [Vej(**record) for record in tables["vej"]]
    return Emner(list(map(_page, tables["side"])), veje, tables["forside"].strip(), tables["tabeller"])
