"""A month goes on from the spells that stand: it makes the tables that counting everybody from the start makes."""

from datetime import date
from pathlib import Path

import pytest

from refusion_assets.assets import refusion
from refusion_assets.assets.refusion import Resume
from refusion_assets.assets.touched import People
from refusion_assets.domain.calendar import Grid, month_of, month_range
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.example import write
from refusion_assets.store.session import Session
from tests.conftest import DataRoot
from tests.kit.data_root import RULEBOOK

TABLES = (*refusion.BY_PERSON, *refusion.BY_WEEK, "refusion.anden_betaler", "refusion.fleksbidrag")
FIRST, LAST = date(2026, 6, 1), date(2026, 8, 1)


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DataRoot:
    """People of all courses of life with their history since 2014, and some months of receipt."""
    monkeypatch.setitem(write.BORGERE, "mini", 400)
    konti, kommuner = write.tables(RULEBOOK)
    write.write_example(tmp_path, konti, kommuner, "mini", FIRST, LAST, seed=7)
    return DataRoot(tmp_path)


@pytest.fixture
def resumed(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """Of every calculation: how many people were calculated, and how many of them went on."""
    seen: list[tuple[int, int]] = []
    choose = refusion.choose_resume

    def counted(session: Session, people: People, rules: Rulebook, grid: Grid) -> Resume | None:
        chosen = choose(session, people, rules, grid)
        seen.append((session.count(people.relation), session.count(chosen.people) if chosen else 0))
        return chosen

    monkeypatch.setattr(refusion, "choose_resume", counted)
    return seen


def tables(session: Session) -> dict[str, list[tuple[object, ...]]]:
    return {name: session.frame(f"SELECT * FROM {name} ORDER BY ALL").rows() for name in TABLES}


def test_months_that_go_on_give_the_tables_of_counting_everybody_from_the_start(
    root: DataRoot, resumed: list[tuple[int, int]]
) -> None:
    for month in month_range(FIRST, LAST):
        root.run(f"{month:%Y-%m}")
        everybody, went_on = resumed.pop()
        assert everybody > went_on
        if month > FIRST:
            assert went_on > everybody // 2
        with root.place.warehouse.open() as session:
            found = tables(session)
            session.run("DELETE FROM refusion.beregnet")
            refusion.calculate(session, root.place, month, lambda _: None)
            assert resumed.pop()[1] == 0
            for name, rows in tables(session).items():
                assert found[name] == rows, name


def test_months_done_again_from_a_month_on_go_on_from_what_stands_before_it(
    root: DataRoot, resumed: list[tuple[int, int]]
) -> None:
    root.run("2026-06")
    with root.place.warehouse.open() as session:
        found = tables(session)
        refusion.calculate(session, root.place, month_of("2026-06"), lambda _: None, date(2022, 1, 1))
        everybody, went_on = resumed.pop()
        assert went_on > everybody // 2
        assert tables(session) == found
