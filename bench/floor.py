"""The I/O floor: DuckDB reads the raw bytes into tables and writes the bytes that come of them, and nothing else."""

import sys
from pathlib import Path

import duckdb

READ = "SELECT * FROM read_csv($files, delim=';', header=true, all_varchar=true)"
EVERYTHING = "alt"
KINDS = ("eindkomst", "bopael", "fleksgrundlag")
CLASSIFIED = ("linje", "dom", "krav")


def month(root: Path, month: str, work: Path) -> None:
    """The reports of a month of `root` stored under `work`, and its outgoing files written there."""
    raw = [str(path) for path in sorted((root / "raw").glob(f"*/{month}/eindkomst-*.csv"))]
    with duckdb.connect(str(work / "floor.duckdb")) as connection:
        connection.execute(f"CREATE TABLE raw AS {READ}", {"files": raw})
        for path in sorted((root / "udgaaende" / month).glob("*.csv")):
            target = work / path.name
            connection.execute(
                f"COPY (SELECT * FROM read_csv('{path}', delim=';', header=true, all_varchar=true)) "
                f"TO '{target}' (DELIMITER ';', HEADER)"
            )


def everything(root: Path, work: Path) -> None:
    """All raw files of `root` stored under `work`, and the classified tables of its last run written there."""
    with duckdb.connect(str(work / "floor.duckdb")) as connection:
        for kind in KINDS:
            raw = [str(path) for path in sorted((root / "raw").glob(f"*/*/{kind}-*.csv"))]
            connection.execute(f"CREATE TABLE {kind} AS {READ}", {"files": raw})
        connection.execute(f"ATTACH '{root}/lager/ydelsesrefusion.duckdb' AS run (READ_ONLY)")
        for table in CLASSIFIED:
            connection.execute(f"CREATE TABLE {table} AS FROM run.classified.{table}")


if __name__ == "__main__":
    folder, what, into = Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3])
    if what == EVERYTHING:
        everything(folder, into)
    else:
        month(folder, what, into)
