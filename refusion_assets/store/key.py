"""Understands the key of the warehouse: where it is read, and how DuckDB's own encryption is given it."""

import base64
import hashlib
import os
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

import duckdb

from refusion_assets.domain.stop import Stop
from refusion_assets.store import durable
from refusion_assets.store.tables import quoted

NO_FILE = Path(":memory:")
FILE, SAID = "REFUSION_NOEGLE_FIL", "REFUSION_NOEGLE"
SHORTEST = 16
MAKE = "lav en med: (umask 077; openssl rand -base64 32 > FIL)"
PARQUET = "refusion"
FOOTER_KEY = f"{{footer_key: '{PARQUET}'}}"


def key_of(root: Path) -> str | None:
    """The key of a data root, from a file or the environment; None if there is none.

    Stop if both are given, or the key is short or has signs that DuckDB refuses. Stop, too, if others can read its
    file, or it lies in the data root.
    """
    named, said = os.environ.get(FILE), os.environ.get(SAID)
    if named is not None and said is not None:
        raise Stop(f"både {FILE} og {SAID} er sat; brug den ene, helst {FILE}")
    if named is not None:
        said = _read(Path(named).expanduser(), root)
    if said is None:
        return None
    if len(said.strip()) < SHORTEST:
        raise Stop(f"nøglen i {FILE if named is not None else SAID} er på under {SHORTEST} tegn; {MAKE}")
    if not said.isascii() or not said.strip().isprintable() or "\\" in said:
        raise Stop(f"nøglen må kun have bogstaver a-z, cifre og almindelige tegn; {MAKE}")
    return said.strip()


def _read(path: Path, root: Path) -> str:
    """The text of the file with the key."""
    if path.resolve().is_relative_to(root.resolve()):
        raise Stop(f"{FILE}: {path} ligger i dataroden, som nøglen skal låse; læg den et andet sted")
    try:
        if path.stat().st_mode & 0o077:
            raise Stop(f"{FILE}: andre kan læse {path}; skriv chmod 600 {path}")
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise Stop(f"{FILE}: {path} er ikke en tekst; {MAKE}") from None
    except OSError as error:
        raise Stop(f"{FILE}: {path} kan ikke læses ({error.strerror})") from None


def connected(path: Path, key: str | None, *, read_only: bool) -> duckdb.DuckDBPyConnection:
    """A connection on a DuckDB file, encrypted if there is a key; DuckDB's error if it cannot be opened."""
    if key is None:
        return duckdb.connect(str(path), read_only=read_only)
    connection = unlocked(key)
    if path == NO_FILE:
        return connection
    mode = ", READ_ONLY" if read_only else ""
    try:
        connection.execute(f'ATTACH {quoted(str(path))} AS "{path.stem}" (ENCRYPTION_KEY {quoted(key)}{mode})')
        connection.execute(f'USE "{path.stem}"')
    except duckdb.Error:
        connection.close()
        raise
    return connection


def unlocked(key: str) -> duckdb.DuckDBPyConnection:
    """A connection in memory that can read and write what the key locks."""
    connection = duckdb.connect(":memory:")
    unlock(connection, key)
    return connection


def unlock(connection: duckdb.DuckDBPyConnection, key: str) -> None:
    """Let a connection read and write what the key locks: DuckDB files, Parquet files and spill."""
    connection.execute(f"LOAD {quoted(str(_extension()))}")
    connection.execute("SET temp_file_encryption = true")
    for_parquet = base64.b64encode(hashlib.sha256(key.encode()).digest()).decode()
    connection.execute(f"PRAGMA add_parquet_key('{PARQUET}', '{for_parquet}')")


def encrypt(path: Path, key: str) -> None:
    """A DuckDB file made anew, encrypted with a key; it takes the place of the old by rename when it is on the disk.

    A file that has the key already stays; DuckDB's error if it has another.
    """
    fresh = path.with_suffix(".krypteret")
    fresh.unlink(missing_ok=True)
    with closing(unlocked(key)) as connection:
        try:
            connection.execute(f"ATTACH {quoted(str(path))} AS gammelt")
        except duckdb.CatalogException:
            connection.execute(f"ATTACH {quoted(str(path))} AS gammelt (ENCRYPTION_KEY {quoted(key)}, READ_ONLY)")
            return
        connection.execute(f"ATTACH {quoted(str(fresh))} AS nyt (ENCRYPTION_KEY {quoted(key)})")
        connection.execute("COPY FROM DATABASE gammelt TO nyt")
        connection.execute("CHECKPOINT nyt")
        connection.execute("CHECKPOINT gammelt")
        connection.execute("DETACH nyt")
        durable.put(fresh, path)
        connection.execute("DETACH gammelt")
    path.with_name(f"{path.name}.wal").unlink(missing_ok=True)


def _extension() -> Path:
    """DuckDB's extension with OpenSSL, without which it only reads what is encrypted; Stop if it is not installed."""
    found = find_spec("duckdb_extension_httpfs")
    folder = Path(found.origin or "").parent if found else Path()
    path = folder / "extensions" / f"v{duckdb.__version__}" / "httpfs.duckdb_extension"
    if not found or not path.exists():
        raise Stop(
            f"kryptering kræver pakken duckdb-extension-httpfs=={duckdb.__version__}; installér den, eller fjern {FILE}"
        )
    return path


def refusal(said: str, path: Path) -> str | None:
    """Why a key does not open a file, in one Danish line; None if DuckDB's error is another."""
    if "Wrong encryption key" in said or "Computed AES tag differs" in said:
        return f"nøglen passer ikke til {path}; nævn den rigtige i {FILE}"
    if "without a key" in said or "No key with name" in said or "'encryption_config' was not set" in said:
        return f"{path} er krypteret, og der er ingen nøgle; nævn den i {FILE}"
    if "is not encrypted" in said:
        return f"{path} er ikke krypteret, men der er nævnt en nøgle; skriv refusion krypter, eller fjern nøglen"
    return None
