"""Fund foer: what was listed as open before, and of whom it must be looked at again."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from refusion_assets.assets.change import changed_people, latest_people, settled_before
from refusion_assets.context import Place
from refusion_assets.domain.fund import FOUND, LOEST, Advis
from refusion_assets.domain.opgoerelse import run_number
from refusion_assets.warehouse import Session

AS_FOUND = [name for name in FOUND if name in Advis.to_schema().columns]


def open_before(session: Session, place: Place, month: date, *columns: str) -> pl.DataFrame:
    """What the last run before `month` listed as open: these columns of `Advis`, or all; no rows if there is none."""
    return _open_of(session, _advised_before(session, run_number(month, place.rules)), columns)


def listed_before(session: Session, place: Place, month: date) -> pl.DataFrame | None:
    """What was open when all was looked at last (`FOUND`), if that was under the same rules; None else.

    That is what the run itself listed if it has been settled before, else what the run before did. Who was calculated
    since stands in `at_se`: of all others, what is found in weeks and claims is as it was. What was found in files that
    run `month` is the first to know is left out: one of the same name may have said something else. With None all must
    be looked at.
    """
    number, rules = run_number(month, place.rules), place.rules.version
    ruled = dict(session.frame("SELECT koersel, regelversion FROM opgoerelse.koersel").iter_rows())
    again = settled_before(session, month) and ruled.get(number) == rules
    if not again and (_advised_before(session, number) != number - 1 or ruled.get(number - 1) != rules):
        return None
    since = latest_people(month) if again else changed_people(month)
    session.run(f"CREATE OR REPLACE TEMP TABLE at_se AS FROM {since}")
    fresh = session.frame("SELECT filnavn AS fil FROM raw.fil WHERE kendt_fra = $month", month=month)
    return _open_of(session, number if again else number - 1, AS_FOUND).join(fresh, on="fil", how="anti")


def _open_of(session: Session, number: object, columns: Sequence[str]) -> pl.DataFrame:
    """What run `number` listed as open: some columns of `Advis`, or all; no rows if there is no such run."""
    names = ", ".join(columns or Advis.to_schema().columns)
    query = f"SELECT {names} FROM opgoerelse.advis WHERE koersel = $number AND status <> $solved"
    return session.frame(query, number=number, solved=LOEST)


def _advised_before(session: Session, number: int) -> object:
    """The number of the last run before `number` that listed anything; None if none has."""
    return session.value("SELECT max(koersel) FROM opgoerelse.advis WHERE koersel < $number", number=number)
