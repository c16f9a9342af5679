"""The pass over everybody made anew, and what it leaves."""

from collections.abc import Iterable
from typing import Any

from refusion_assets.assets import refusion
from refusion_assets.domain.calendar import month_of
from tests.conftest import DataRoot


def everybody_again(root: DataRoot, month: str) -> list[str]:
    """What the pass says when everybody is calculated anew."""
    said: list[str] = []
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM refusion.beregnet")
        refusion.calculate(session, root.place, month_of(month), said.append)
    return said


def results(root: DataRoot, tables: Iterable[str]) -> dict[str, list[tuple[Any, ...]]]:
    """Every row of some tables."""
    return {table: root.rows(f"SELECT * FROM {table} ORDER BY ALL") for table in tables}
