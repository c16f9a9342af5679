"""The pass over the people in shards: the same rows whatever their size, and what it says on the way."""

import shutil
from pathlib import Path

import polars as pl
import pytest

from refusion_assets.assets import refusion
from refusion_assets.assets.checks import calculated
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.store import state
from refusion_assets.store.state import Changes
from refusion_assets.store.tables import TABLES, ContractError, validate
from tests.conftest import DataRoot
from tests.kit.data_root import EXAMPLE
from tests.kit.whole_pass import everybody_again, results

RESULTS = (*refusion.BY_PERSON, *refusion.BY_WEEK, "refusion.anden_betaler")
MONTH, NEXT = "2024-02", "2024-03"


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """The contract's example, run through a month."""
    shutil.copytree(EXAMPLE / "data", tmp_path, dirs_exist_ok=True)
    root = DataRoot(tmp_path)
    root.run(MONTH)
    return root


def test_a_shard_of_one_person_gives_the_rows_of_one_shard_of_all(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = results(root, RESULTS)
    monkeypatch.setattr(refusion, "CLAIMS_PER_SHARD", 1)
    said = everybody_again(root, MONTH)
    (people,) = root.rows("SELECT count(DISTINCT borger_id) FROM classified.krav")[0]
    assert results(root, RESULTS) == before
    assert len(said) == people > 1
    assert said[0].startswith(f"skive 1 af {people}: 1 af {people} borgere beregnet")
    assert said[-1].endswith(f"{len(before['refusion.borger_uge_ydelse'])} rækker, 0 borgere mangler")


def test_a_table_of_which_very_many_rows_go_is_made_anew_with_the_rows_that_stay(
    root: DataRoot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = root.copy(tmp_path / "anew")
    root.run(NEXT)
    made_anew, plain = set(), Changes._make_anew
    monkeypatch.setattr(state, "MOST_DELETED", 0)
    monkeypatch.setattr(Changes, "_make_anew", lambda *args: (made_anew.add(args[1]), plain(*args)))
    other.run(NEXT)
    assert results(other, refusion.MADE) == results(root, refusion.MADE)
    assert {"refusion.borger_uge_ydelse", "duration.forloeb"} <= made_anew
    everybody_again(other, NEXT)
    assert results(other, refusion.MADE) == results(root, refusion.MADE)


def test_of_very_many_people_the_checks_look_at_a_part_the_same_in_every_question(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calculated, "PEOPLE_LOOKED_AT", 7)
    with root.place.warehouse.open() as session:
        asked = Asked(session, root.place, month_of(MONTH))
        for question in (
            calculated.noegler_er_unikke,
            calculated.kravets_dele_er_kravet,
            calculated.kladde_er_tilstand,
        ):
            assert question(asked).bestaaet
        session.run("UPDATE classified.krav SET beloeb_oere = beloeb_oere + 1")
        found = calculated.kravets_dele_er_kravet(asked)
        assert (found.bestaaet, found.antal) == (False, 7)


def test_a_key_that_stands_twice_breaks_the_contract(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        rows = session.frame("SELECT * FROM refusion.borger_uge_ydelse")
    assert validate("refusion.borger_uge_ydelse", rows).height == rows.height
    with pytest.raises(ContractError, match="multiple_fields_uniqueness"):
        validate("refusion.borger_uge_ydelse", pl.concat([rows, rows[-1:]]))
    assert TABLES["refusion.borger_uge_ydelse"].to_schema().unique
