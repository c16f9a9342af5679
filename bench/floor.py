"""The I/O floor: DuckDB reads the month's raw bytes into a table and writes the month's outgoing bytes."""

import sys
from pathlib import Path

import duckdb


def main(root: Path, month: str, work: Path) -> None:
    """The month's raw files of `root` stored under `work`, and its outgoing files written there."""
    raw = [str(path) for path in sorted((root / "raw").glob(f"*/{month}/eindkomst-*.csv"))]
    read = "SELECT * FROM read_csv($files, delim=';', header=true, all_varchar=true)"
    with duckdb.connect(str(work / "floor.duckdb")) as connection:
        connection.execute(f"CREATE TABLE raw AS {read}", {"files": raw})
        for path in sorted((root / "udgaaende" / month).glob("*.csv")):
            target = work / path.name
            connection.execute(
                f"COPY (SELECT * FROM read_csv('{path}', delim=';', header=true, all_varchar=true)) "
                f"TO '{target}' (DELIMITER ';', HEADER)"
            )


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
