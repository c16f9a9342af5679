"""Understands the chain of closed runs: each link covers what a run left, and the link before it."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract

Link = Mapping[str, Any]
COVERED = (
    "koersel",
    "maaned",
    "forrige",
    "kladde",
    "raafiler",
    "regelversion",
    "filsum",
    "opslag",
    "slettet",
    "eftertid",
)
# The words for a column of a link that no longer holds.
SAID = {
    "maaned": "kørslens måned",
    "kladde": "kladdens rækker eller deres personnumre",
    "raafiler": "de råfiler, kørslen kendte,",
    "regelversion": "reglernes version",
    "filsum": "filernes kontrolsum",
}


class Kaede(Contract, key=["koersel"]):
    """One row per closed run: hashes of what it left, and of the row before it. Written when the run is closed."""

    koersel: pl.Int64 = pa.Field(ge=1)
    maaned: pl.Date = pa.Field(description="run month")
    forrige: pl.String = pa.Field(description="aftryk of the link before; empty in the first")
    kladde: pl.String = pa.Field(
        description="sha256 of the run's rows in postering and foraeldet with their CPR numbers, and in kommune"
    )
    raafiler: pl.String = pa.Field(description="sha256 of the run's rows in kendt_fil")
    regelversion: pl.String
    filsum: pl.String = pa.Field(description="sha256 of the run's SHA256SUMS")
    opslag: pl.String = pa.Field(description="lines of the log of look-ups at the closing, and its head")
    slettet: pl.String = pa.Field(
        description="rows of opgoerelse.slettet at the closing, and their sha256; empty if none"
    )
    eftertid: pl.Boolean = pa.Field(description="an earlier version of the program closed the run, without a link")
    aftryk: pl.String = pa.Field(description="sha256 of the other columns: the head of the chain up to the run")


def linked(forrige: Link | None, said: Link) -> dict[str, Any]:
    """The link (`Kaede`) that follows `forrige`, or begins the chain; `said` has the other columns."""
    link = {**said, "forrige": forrige["aftryk"] if forrige else ""}
    return {**link, "aftryk": aftryk(link)}


def aftryk(link: Link) -> str:
    """The sha256 of what a link covers."""
    return hashlib.sha256("\n".join(f"{name}={link[name]}" for name in COVERED).encode()).hexdigest()


def broken(chain: Sequence[Link], runs: Mapping[int, Link]) -> Iterator[tuple[int, str]]:
    """The faults of a chain in order of run: run number, and a Danish sentence.

    `runs`: what the warehouse says now of each closed run, as `linked` takes it. The first link of a chain may be of a
    later run than the first, as nothing is known of the runs before.
    """
    before: Link | None = None
    for link in chain:
        number = link["koersel"]
        if before and number != before["koersel"] + 1:
            yield number, f"kæden mangler led mellem kørsel {before['koersel']} og {number}"
        if link["forrige"] != (before["aftryk"] if before else ""):
            yield number, "leddet i kæden følger ikke det forrige led"
        if link["aftryk"] != aftryk(link):
            yield number, "leddet i kæden er ændret"
        now = runs.get(number)
        if now is None:
            yield number, "kørslen står i kæden, men er væk fra lageret"
        else:
            wrong = [SAID[name] for name in SAID if now[name] != link[name]]
            yield from ((number, f"{what} er ikke, hvad de var, da kørslen blev lukket") for what in wrong)
        before = link
    linked_runs = {link["koersel"] for link in chain}
    yield from ((number, "den lukkede kørsel har intet led i kæden") for number in runs if number not in linked_runs)
