"""The order in which files and rows come must not matter: not one byte of what goes out changes."""

import random
import re
from dataclasses import replace
from pathlib import Path

from tests.conftest import DataRoot, Example
from tests.support import EXAMPLE, Row, read_csv, read_root, write_file, write_register

SETTLED = re.compile("-(beregning|opgoerelse|bogfoering)-")


def settled(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files about money; those of advice name the file and line of a row, which a shuffle changes."""
    return {name: data for name, data in files.items() if SETTLED.search(name)}


def test_shuffled_files_and_rows_give_the_same_bytes(example: Example, tmp_path: Path) -> None:
    root, chance = DataRoot(tmp_path), random.Random(994)  # noqa: S311  a shuffle, not a secret
    files, _, _ = read_root(EXAMPLE / "data", "2024-04")
    chance.shuffle(files)
    mixed: dict[str, list[Row]] = {}  # what was delivered twice is shuffled once
    for fil in files:
        rows = mixed.setdefault(fil.sha256, chance.sample(fil.rows, len(fil.rows)))
        write_file(root.path, replace(fil, rows=rows))
    for path in sorted((EXAMPLE / "data" / "raw" / "bopael").glob("*/*.csv")):
        rows = read_csv(path)
        write_register(root.path, "bopael", path.parent.name, chance.sample(rows, len(rows)))
    for month in ("2024-02", "2024-03"):
        root.koer(month)
        assert settled(root.files(month)) == settled(example.files[month])
