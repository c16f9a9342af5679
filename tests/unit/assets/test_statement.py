"""The causes of corrections: each row of a run has one, and together they are the corrections to the øre.

The statement of a month that has stopped is kept, and says so if the month had files.
"""

from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.assets.findings.statement import WITHDRAWN, causes, stopped, stops
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.findings.statement import AARSAGER
from refusion_assets.place import Place
from refusion_assets.store.session import Session
from refusion_assets.store.tables import TABLES
from tests.kit.data_root import RULEBOOK, RULES

FLEKS = RULEBOOK.fleksbidrag[0].id
RUN, MONTH, NUMBER = date(2024, 3, 1), date(2024, 1, 1), 51
WEEK = date(2024, 1, 15)
ROW = {
    "uge": WEEK, "maaned": MONTH, "borger_id": 1, "ydelse_id": "KTH", "kommunekode": "169", "raekketype": "K",
    "indberettet_oere": 1000, "beloeb_oere": 1000, "refusion_oere": 400, "medfinansiering_oere": 0, "procent": 40,
    "ydelsestaeller": 10, "genoptjeningstaeller": 0, "trin": 2, "koersel": NUMBER, "oprindelig_koersel": None,
    "hjemmel": "§ 3", "regelversion": "ny",
}  # fmt: skip
MONEY = ("indberettet_oere", "beloeb_oere", "refusion_oere", "medfinansiering_oere")
FIL = {
    "fil_id": 1, "sti": "ky/2024-03/a.csv", "filnavn": "a.csv", "kilde": "ky", "enhed": "169", "modtaget_maaned": RUN,
    "loebenr": 1, "sha256": "0", "antal_raekker": 1, "foerste_modtaget": datetime(2024, 3, 2), "dublet": False,  # noqa: DTZ001
    "kendt_fra": RUN, "bedoemt_med": None,
}  # fmt: skip
LINE = {
    "fil_id": 1, "linje": 1, "art": "I", "indberetning_id": "a", "reference_id": None, "pligt_se": "29169000",
    "kommunekode_betaler": "169", "borger_id": 1, "ydelse_id": "KTH", "konto": "k", "kilde_id": "ky",
    "periode_start": WEEK, "periode_slut": WEEK, "beloeb_oere": 1000, "regel": None, "uventet_indkomst": False,
    "uden_for_gyldighed": False,
}  # fmt: skip
AFTER = {"periode_start": date(2024, 1, 22), "periode_slut": date(2024, 1, 22)}
OTHER = {"kommunekode_betaler": None, "kilde_id": "akasse"}


def back(**changes: Any) -> dict[str, Any]:
    """The row that takes `ROW` back, with some changes."""
    row = ROW | changes
    return row | {name: -row[name] for name in MONEY} | {"raekketype": "T", "oprindelig_koersel": NUMBER - 1}


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    """An empty warehouse."""
    with Place(tmp_path, RULES).warehouse.open() as opened:
        yield opened


def stored(session: Session, table: str, *rows: dict[str, Any]) -> None:
    """Rows of a table in the warehouse."""
    schema: Any = kinds_of(TABLES[table])
    session.insert(table, pl.DataFrame([{name: row[name] for name in schema} for row in rows], schema=schema))


SEVENTY, HALF = {"procent": 70, "refusion_oere": 700}, {name: ROW[name] // 2 for name in MONEY}  # type: ignore[operator]
NEW = {"raekketype": "N"}
FOUND = {
    "a late report": ([ROW | NEW], [LINE], False, "sen"),
    "another amount": ([back(), ROW | HALF], [LINE], False, "aendret"),
    "a report taken back": ([back()], [LINE], False, "aendret"),
    "a reversal without a period": ([back()], [LINE | {"periode_start": None, "periode_slut": None}], False, "aendret"),
    "another percentage after an own report": ([back(), ROW | SEVENTY], [LINE], False, "taeller_egen"),
    "another percentage after another's report": ([back(), ROW | SEVENTY], [LINE | OTHER], False, "taeller_anden"),
    "less under a maximum": ([back(), ROW | {"refusion_oere": 300}], [LINE], False, "loft"),
    "a move": ([back(), ROW | NEW | {"kommunekode": "101"}], [LINE | AFTER], False, "bopael"),
    "a move and a report of the week": ([back(), ROW | NEW | {"kommunekode": "101"}], [LINE], False, "bopael"),
    "a residence found": ([ROW | NEW], [LINE | AFTER], False, "bopael"),
    "rules": ([back(), ROW | SEVENTY], [LINE | AFTER], True, "regler"),
    "rules that count anew": ([ROW | NEW], [], True, "regler"),
    "rules, and a late report of somebody else": ([back(), ROW | SEVENTY], [LINE | {"borger_id": 2}], True, "regler"),
    "a basis": ([back(ydelse_id=FLEKS), ROW | HALF | {"ydelse_id": FLEKS}], [LINE], True, "fleksbidrag"),
    "nothing that is known": ([back(), ROW | SEVENTY], [], False, "uforklaret"),
}  # fmt: skip


@pytest.mark.parametrize("what", FOUND)
def test_a_correction_has_the_cause_that_its_rows_and_the_new_lines_show(session: Session, what: str) -> None:
    rows, lines, new_rules, cause = FOUND[what]
    own = ROW | {"maaned": RUN, "uge": date(2024, 3, 4), "raekketype": "N"}
    stored(session, "opgoerelse.postering", *rows, own)
    stored(session, "raw.fil", FIL)
    if lines:
        stored(session, "classified.linje", *lines)
    runs = [("gammel" if new_rules else "ny", NUMBER - 1, date(2024, 2, 1)), ("ny", NUMBER, RUN)]
    names = ("regelversion", "koersel", "maaned")
    stored(
        session,
        "opgoerelse.koersel",
        *({**dict(zip(names, run, strict=True)), "status": "åben", "filsum": ""} for run in runs),
    )
    [found] = causes(session, RULEBOOK, RUN)
    assert (found.aarsag, found.navn, found.borgere) == (cause, AARSAGER[cause], 1)
    assert found.oere == sum(row["refusion_oere"] for row in rows)


def test_a_stop_says_that_the_files_were_taken_back_only_where_there_were_some(tmp_path: Path) -> None:
    place = Place(tmp_path, RULES)
    assert stopped(place, RUN, "FIL-001").bemaerkninger == ()
    (place.withdrawn / "2024-02").mkdir(parents=True)
    assert stopped(place, RUN, "FIL-001").bemaerkninger == ()
    (place.withdrawn / "2024-03").mkdir()
    assert stopped(place, RUN, "FIL-001").bemaerkninger == (WITHDRAWN,)
    assert [(said.maaned, said.grund) for said in stops(place)] == [("2024-03", "FIL-001")]
    (place.outgoing / "2024-03").mkdir(parents=True)
    assert stopped(place, RUN, "FIL-002").bemaerkninger == ()
    assert [said.grund for said in stops(place)] == ["FIL-001"]
    (place.statements / "2024-03.json").write_text("[", "utf-8")
    assert stops(place) == []
