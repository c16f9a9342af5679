"""Fund: the findings of a run, the municipality that gets each, and its status since the last run."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from refusion_assets.assets.findings import queries
from refusion_assets.assets.findings.queries import Before
from refusion_assets.assets.touched import changed_people, latest_people, settled_before
from refusion_assets.domain.findings.lines import file_findings, folder_findings, passed_findings
from refusion_assets.domain.findings.weeks import (
    OF_TABLES,
    amount_findings,
    basis_findings,
    double_findings,
    person_findings,
    too_old_findings,
)
from refusion_assets.domain.findings.words import FOUND, LOEST, NOBODY, Advis, Fund, followed, worded
from refusion_assets.domain.opgoerelse.ledger import not_taken_back, run_number, ydelse_navne
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.place import Place, as_written
from refusion_assets.store.session import Session, among

AS_FOUND = [name for name in FOUND if name in Advis.to_schema().columns]


def open_before(session: Session, place: Place, month: date, *columns: str) -> pl.DataFrame:
    """The rows of `opgoerelse.advis` that the last run before `month` left open; these columns, or all."""
    return _open_of(session, _advised_before(session, run_number(month, place.rules)), columns)


def listed_before(session: Session, place: Place, month: date) -> Before | None:
    """The findings to reuse and the people to look at again (`Before`); None if everybody must be looked at.

    Takes the run's list if it was settled before, else the previous run's. The people calculated since that list are
    looked at again. Findings in files that are new to this run are left out, as an earlier file may have had the same
    name. None if the list was made under other rules.
    """
    number, rules = run_number(month, place.rules), place.rules.version
    ruled = session.pairs("SELECT koersel, regelversion FROM opgoerelse.koersel")
    again = settled_before(session, month) and ruled.get(number) == rules
    if not again and (_advised_before(session, number) != number - 1 or ruled.get(number - 1) != rules):
        return None
    people = session.temp("to_look_at", f"FROM {latest_people(month) if again else changed_people(month)}")
    fresh = session.frame("SELECT filnavn AS fil FROM raw.fil WHERE kendt_fra = $month", month=month)
    rows = _open_of(session, number if again else number - 1, AS_FOUND).join(fresh, on="fil", how="anti")
    return Before(rows, people)


def _open_of(session: Session, number: object, columns: Sequence[str]) -> pl.DataFrame:
    """The rows of `opgoerelse.advis` that run `number` left open; these columns, or all. Empty without that run."""
    names = ", ".join(columns or Advis.to_schema().columns)
    query = f"SELECT {names} FROM opgoerelse.advis WHERE koersel = $number AND status <> $solved"
    return session.frame(query, number=number, solved=LOEST)


def _advised_before(session: Session, number: int) -> object:
    """The number of the last run before `number` with advice; None if there is none."""
    return session.value("SELECT max(koersel) FROM opgoerelse.advis WHERE koersel < $number", number=number)


# The number written on a line whose person is unknown (`raw.ukendt`).
SUBJECTS = """
SELECT s.fil, s.linje, any_value(u.skrevet) AS skrevet
FROM soegte s JOIN raw.fil f ON f.filnavn = s.fil JOIN raw.ukendt u ON u.fil_id = f.fil_id AND u.linje = s.linje
GROUP BY s.fil, s.linje"""

MONTH_TOTAL = f"""
SELECT sum(l.beloeb_oere)::BIGINT FROM classified.linje l JOIN raw.fil f USING (fil_id)
{queries.ONLY_USED}
WHERE f.kendt_fra = $month"""


def of_files(session: Session, rules: Rulebook, month: date) -> pl.DataFrame:
    """Findings in files (`FOUND`): FIL-003 to FIL-008, and the stops that an operator let pass."""
    parts = [
        file_findings(session.frame(queries.FILES, month=month), queries.expected(session, month), month, rules),
        folder_findings(session.frame(queries.NOTICED, month=month)),
        passed_findings(session.frame(queries.PASSED, month=month), month, rules),
    ]
    return pl.concat(parts)


def of_weeks(session: Session, rules: Rulebook, before: Before | None) -> pl.DataFrame:
    """Findings in people's weeks and months (`FOUND`): EI-016, EI-018, EI-019, FB-001.

    `before` as in `find`.
    """
    parts = [
        amount_findings(queries.large_weeks(session, rules, before)),
        *(finds(session.frame(f"SELECT * FROM {table}")) for table, finds in OF_TABLES.items()),
        basis_findings(session.frame(queries.WITHOUT_BASIS)),
    ]
    return pl.concat(parts)


def find(session: Session, place: Place, month: date, before: Before | None = None) -> pl.DataFrame:
    """The open findings of run `month` (`Fund`), sorted by rule and key. Øre.

    Reads the layers raw, classified and refusion. `before` (`listed_before`): findings to reuse; without it the
    function looks at everybody, with the same result. Source: input.md sections 3 and 4.
    """
    rules = place.rules
    parts = [
        queries.lines(session, rules, before.rows if before else None),
        of_files(session, rules, month),
        person_findings(queries.odd_numbers(session)),
        double_findings(queries.stretches(session, rules, month, before)),
        of_weeks(session, rules, before),
        too_old_findings(not_taken_back(session.frame("SELECT * FROM opgoerelse.foraeldet"))),
    ]
    findings = _addressed(session, place, month, worded(pl.concat(parts), rules))
    return (
        findings.with_columns(queries.keys(session, findings["identitet"]))
        .select(list(Fund.to_schema().columns))
        .sort("regel", "noegle")
    )


def advise(
    session: Session, place: Place, month: date, number: int, koder: Sequence[str] | None = None
) -> pl.DataFrame:
    """The advice of run `number` (`Advis`) to the municipalities `koder` (default: all) and to nobody (000).

    Compares the findings with the open ones of the previous run. Replaces the run's rows in `opgoerelse.advis`.
    Source: output.md section 3.2.
    """
    before = open_before(session, place, month)
    findings = find(session, place, month, listed_before(session, place, month))
    mine = [*(koder or place.rules.koder), NOBODY]
    rows = followed(findings, before, number).filter(pl.col("kommunekode").is_in(mine))
    session.run(
        f"DELETE FROM opgoerelse.advis WHERE koersel = $number AND {among('kommunekode', 'mine')}",
        number=number,
        mine=mine,
    )
    session.insert("opgoerelse.advis", rows)
    return rows


def forget_advice(session: Session, number: int, koder: Sequence[str]) -> None:
    """Delete the advice of run `number` (`opgoerelse.advis`) to all but the municipalities `koder`."""
    query = f"DELETE FROM opgoerelse.advis WHERE koersel = $n AND NOT {among('kommunekode', 'koder')}"
    session.run(query, n=number, koder=koder)


def with_names(session: Session, place: Place, advice: pl.DataFrame) -> pl.DataFrame:
    """Advice with two columns that only the outgoing file may hold: `cpr`, and `navn` of the benefit.

    A line whose person is unknown shows the number written on it, as the municipality must correct that number.
    """
    wanted = advice.filter(pl.col("borger_id").is_null() & pl.col("linje").is_not_null())
    lines = wanted.select("fil", "linje").unique()
    said = queries.with_frame(session, "soegte", lines, SUBJECTS)
    names = dict(ydelse_navne(place.rules).select("ydelse_id", "navn").iter_rows())
    borger = session.frame("SELECT borger_id, cpr FROM identitet.borger")
    written = as_written(session, advice)
    rows = written.join(borger, on="borger_id", how="left").join(said, on=["fil", "linje"], how="left")
    known = pl.col("ydelse_id").replace_strict(names, default=None, return_dtype=pl.String)
    return rows.with_columns(cpr=pl.coalesce("cpr", "skrevet"), navn=known).drop("skrevet")


def double_pay(session: Session, place: Place, month: date) -> tuple[int, int]:
    """Two amounts in øre: newly paid by two payers for the same days, and all used lines first known in run `month`.

    A run of days is new if one of its claims has a line first known in run `month`. Reads only raw and classified.
    Source: input.md section 4 (EI-009).
    """
    fresh = queries.new_stretches(session, place.rules, month)["beloeb_oere"].sum()
    return int(fresh), session.integer(MONTH_TOTAL, month=month)


def _addressed(session: Session, place: Place, month: date, findings: pl.DataFrame) -> pl.DataFrame:
    """Findings with `kommunekode`: their own, else that of the person's residence, else nobody (000)."""
    koder = place.rules.koder
    days = 0 if place.rules.laesning("bopael_paa") == "mandag" else 6
    dated = findings.with_columns(dag=pl.col("uge_fra").dt.offset_by(f"{days}d"))
    lost = dated.filter(pl.col("kommunekode").is_null() & pl.col("borger_id").is_not_null())
    homes = queries.homes(session, place, month, lost.select("borger_id", "dag").unique())
    housed = dated.join(homes, on=["borger_id", "dag"], how="left", nulls_equal=True)
    kode = pl.coalesce("kommunekode", "hjem")
    mine = pl.when(kode.is_in(koder)).then(kode).otherwise(pl.lit(NOBODY))
    return housed.with_columns(kommunekode=mine).drop("dag", "hjem")
