"""Reads a published state: immutable Parquet files named by content, listed by one small file."""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import duckdb

from refusion_assets.domain.stop import Stop
from refusion_assets.store.key import FOOTER_KEY, refusal
from refusion_assets.store.tables import LEFT_OUT, listed, quoted, visible

READING = Path("lager") / "laesning"
ANALYSTS = Path("udgivet") / "tabeller"
STATE, BEFORE = "tilstand.json", "tilstand.forrige.json"
FORM = 1
"""The number of the layout of the files; another number makes every file anew."""


@dataclass(frozen=True)
class Part:
    """One file of a state: its table, the part of it, rows, and the number and hash of the bytes.

    `indhold`: what DuckDB says of the rows in the warehouse (`publish`). `analytiker`: it lies in `udgivet/` and holds
    only what analysts may see.
    """

    tabel: str
    del_: str
    navn: str
    raekker: int
    indhold: str
    stoerrelse: int
    sha256: str
    analytiker: bool

    @property
    def path(self) -> Path:
        """Where the file lies, from the data root."""
        return (ANALYSTS if self.analytiker else READING) / self.tabel / self.navn


@dataclass(frozen=True)
class State:
    """A whole state of the warehouse: its files, and the columns of each table."""

    root: Path
    dele: tuple[Part, ...]
    kolonner: Mapping[str, Mapping[str, str]]
    krypteret: bool = False

    @classmethod
    def read(cls, root: Path, name: str = STATE) -> "State | None":
        """The state that a file lists; None if there is no such file. Stop if it cannot be read."""
        path = root / READING / name
        try:
            said = json.loads(path.read_bytes())
            return cls(root, tuple(Part(**one) for one in said["dele"]), said["kolonner"], said["krypteret"])
        except FileNotFoundError:
            return None
        except (OSError, ValueError, TypeError, KeyError):
            raise Stop(
                f"{path} kan ikke læses; flyt filen et andet sted hen, og kør den sidste måned igen (eller refusion "
                "luk), så laves den forfra"
            ) from None

    @cached_property
    def text(self) -> str:
        """The state as it stands in its file."""
        dele = [vars(part) for part in self.dele]
        return (
            json.dumps(
                {"form": FORM, "krypteret": self.krypteret, "kolonner": self.kolonner, "dele": dele},
                ensure_ascii=False,
                indent=0,
            )
            + "\n"
        )

    @cached_property
    def number(self) -> str:
        """A short hash of the content."""
        return hashlib.sha256(self.text.encode()).hexdigest()[:16]

    def of(self, table: str, *, analysts: bool) -> list[Part]:
        """The files of a table as its readers or the analysts have it, in order of part."""
        alone = analysts or not LEFT_OUT[table]
        return [part for part in self.dele if part.tabel == table and part.analytiker is alone]

    def lost(self, *, hashed: bool = False) -> list[Path]:
        """The files of the state that are gone or of another size; if `hashed`, also those with other bytes."""
        return [part.path for part in self.dele if not is_whole(self.root, part, hashed=hashed)]

    def refuse_lost(self, *, hashed: bool = False) -> None:
        """Stop if a file of the state is missing or damaged, with its name and the remedy."""
        if lost := self.lost(hashed=hashed):
            more = f" (og {len(lost) - 1} til)" if len(lost) > 1 else ""
            raise Stop(
                f"{self.root / lost[0]}{more} mangler eller er beskadiget; flyt den væk, og kør den sidste måned igen "
                "(eller refusion luk), så laves den forfra"
            )

    def views(self, *, analysts: bool = False, root: Path | None = None, database: str = "") -> Iterator[str]:
        """The statements that make each table of the state a view on its files.

        `root`: the folder that the files are named from, else the data root. `database`: an attached database.
        """
        before = f"{database}." if database else ""
        base = self.root if root is None else root
        for schema in dict.fromkeys(table.partition(".")[0] for table in self.kolonner):
            yield f"CREATE SCHEMA IF NOT EXISTS {before}{schema}"
        for table, columns in self.kolonner.items():
            seen = [name for name in columns if name in visible(table)] if analysts else list(columns)
            if not seen:
                continue
            files = [base / part.path for part in self.of(table, analysts=analysts)]
            empty = ", ".join(f'NULL::{columns[name]} AS "{name}"' for name in seen)
            source = (
                f"FROM {of_files(files, encrypted=self.krypteret)}" if files else f"FROM (SELECT {empty}) WHERE false"
            )
            yield f"CREATE OR REPLACE VIEW {before}{table} AS SELECT {listed(seen)} {source}"


def of_files(paths: Sequence[Path], *, encrypted: bool) -> str:
    """Files of a state as a table in SQL: the one form in which they are read."""
    named = ", ".join(quoted(str(path)) for path in paths)
    return f"read_parquet([{named}]{f', encryption_config = {FOOTER_KEY}' if encrypted else ''})"


def is_whole(root: Path, part: Part, *, hashed: bool = False) -> bool:
    """True if the file of a part is there with its size, and if `hashed` with its bytes."""
    path = root / part.path
    try:
        same = os.stat(path).st_size == part.stoerrelse
        return same and (not hashed or sha256_of(path) == part.sha256)
    except OSError:
        return False


def sha256_of(path: Path) -> str:
    """The sha256 of the bytes of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def mended(state: State) -> Iterator[None]:
    """Within the block, a file of the state that DuckDB cannot read becomes a Stop with its name and the remedy."""
    state.refuse_lost()
    try:
        yield
    except duckdb.Error as error:
        if of_the_key := refusal(str(error), state.root / READING):
            raise Stop(of_the_key) from None
        state.refuse_lost(hashed=True)
        raise
