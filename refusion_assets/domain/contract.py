"""Understands the contract of a table: exactly its columns, of their types, and one row per key."""

from collections.abc import Sequence
from typing import Any

import pandera.polars as pa


class Contract(pa.DataFrameModel):
    """A frame or table with exactly these columns; `class Krav(Contract, key=[...])` has one row per key.

    Nothing is coerced. A column is never null and its place does not matter, unless its field says so.
    """

    class Config:
        """Settings of every contract."""

        strict = True

    def __init_subclass__(cls, *, key: Sequence[str] = (), **kwargs: Any) -> None:
        """Give the columns of the key to pandera; without a key of its own, a contract has that of its base."""
        if key:
            cls.Config = type("Config", (cls.Config,), {"unique": list(key), "name": cls.__name__})  # type: ignore[assignment, misc]
        super().__init_subclass__(**kwargs)  # type: ignore[no-untyped-call]
