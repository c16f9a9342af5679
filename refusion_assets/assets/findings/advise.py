"""Fund: everything a run has found that somebody must look at, who gets it, and what is new since the last run."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from refusion_assets.assets.findings import queries as opslag
from refusion_assets.assets.touched import changed_people, latest_people, settled_before
from refusion_assets.domain.findings.lines import file_findings, folder_findings, passed_findings
from refusion_assets.domain.findings.weeks import (
    amount_findings,
    basis_findings,
    double_findings,
    homeless_findings,
    payer_findings,
    person_findings,
    too_old_findings,
)
from refusion_assets.domain.findings.words import FOUND, LOEST, NOBODY, Advis, Fund, followed, worded
from refusion_assets.domain.opgoerelse import not_taken_back, run_number, ydelse_navne
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.place import Place
from refusion_assets.store.session import Session

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


# The person that a line says it is about, as it is written there.
SUBJECTS = """
SELECT s.fil, s.linje, any_value(u.skrevet) AS skrevet
FROM soegte s JOIN raw.fil f ON f.filnavn = s.fil JOIN raw.ukendt u ON u.fil_id = f.fil_id AND u.linje = s.linje
GROUP BY s.fil, s.linje"""

MONTH_TOTAL = f"""
SELECT coalesce(sum(l.beloeb_oere), 0)::BIGINT FROM classified.linje l JOIN raw.fil f USING (fil_id)
{opslag.ONLY_USED}
WHERE f.kendt_fra = $month"""


def of_files(session: Session, rules: Rulebook, month: date) -> pl.DataFrame:
    """What is odd about the senders' files (`FOUND`): FIL-003 to FIL-008, and what was let pass (EI-017, REG-001)."""
    parts = [
        file_findings(opslag.files(session, month), opslag.expected(session, month), month, rules),
        folder_findings(session.frame(opslag.NOTICED, month=month)),
        passed_findings(session.frame(opslag.PASSED, month=month), month, rules),
    ]
    return pl.concat(parts)


def of_weeks(session: Session, rules: Rulebook, before: pl.DataFrame | None) -> pl.DataFrame:
    """What is odd about people's weeks and months (`FOUND`): EI-016, EI-018, EI-019, FB-001.

    `before` as in `find`.
    """
    parts = [
        amount_findings(opslag.large_weeks(session, rules, before)),
        homeless_findings(session.frame(opslag.HOMELESS)),
        payer_findings(session.frame(opslag.OTHER_PAYER)),
        basis_findings(session.frame(opslag.WITHOUT_BASIS)),
    ]
    return pl.concat(parts)


def find(session: Session, place: Place, month: date, before: pl.DataFrame | None = None) -> pl.DataFrame:
    """The findings that are open as run `month` knows them (`Fund`). Øre; sorted by rule and key.

    Reads what was classified and calculated for the run. `before`: what was open when all was looked at last
    (`foer.listed_before`); then only what can differ is looked at, with the same result. Source: input.md 3 and 4.
    """
    rules = place.rules
    parts = [
        opslag.lines(session, rules, before),
        of_files(session, rules, month),
        person_findings(opslag.odd_numbers(session)),
        double_findings(opslag.stretches(session, rules, month, before)),
        of_weeks(session, rules, before),
        too_old_findings(not_taken_back(session.frame("SELECT * FROM opgoerelse.foraeldet"))),
    ]
    findings = _addressed(session, place, month, worded(pl.concat(parts), rules))
    return (
        findings.with_columns(opslag.keys(session, findings["identitet"]))
        .select(list(Fund.to_schema().columns))
        .sort("regel", "noegle")
    )


def advise(
    session: Session, place: Place, month: date, number: int, koder: Sequence[str] | None = None
) -> pl.DataFrame:
    """The advice of run `number` (`Advis`) to the municipalities `koder` (all if none are named) and to nobody.

    Compares with what the run before listed as open, and replaces the run's own rows. Source: output.md 3.2.
    """
    before = open_before(session, place, month)
    findings = find(session, place, month, listed_before(session, place, month))
    mine = [*(koder or place.rules.koder), NOBODY]
    rows = followed(findings, before, number).filter(pl.col("kommunekode").is_in(mine))
    session.run(
        "DELETE FROM opgoerelse.advis WHERE koersel = $number AND kommunekode IN (SELECT unnest($mine::VARCHAR[]))",
        number=number,
        mine=mine,
    )
    session.insert("opgoerelse.advis", rows)
    return rows


def named(session: Session, place: Place, advice: pl.DataFrame) -> pl.DataFrame:
    """Advice with the names that only the outgoing file may hold: `cpr` and `navn` (of the benefit).

    A line whose person is unknown to us shows what it says itself, as that is what must be put right.
    """
    wanted = advice.filter(pl.col("borger_id").is_null() & pl.col("linje").is_not_null())
    lines = wanted.select("fil", "linje").unique()
    said = opslag.with_frame(session, "soegte", lines, SUBJECTS)
    names = dict(ydelse_navne(place.rules).select("ydelse_id", "navn").iter_rows())
    borger = session.frame("SELECT borger_id, cpr FROM identitet.borger")
    rows = advice.join(borger, on="borger_id", how="left").join(said, on=["fil", "linje"], how="left")
    known = pl.col("ydelse_id").replace_strict(names, default=None, return_dtype=pl.String)
    return rows.with_columns(cpr=pl.coalesce("cpr", "skrevet"), navn=known).drop("skrevet")


def double_pay(session: Session, place: Place, month: date) -> tuple[int, int]:
    """What two payers newly pay for the same days, and the amount of the month that it is measured against. Øre.

    New is a stretch with a claim that has lines first known in run `month`; the month's amount is that of all
    used lines first known in it. Needs only the classified layer. Source: input.md section 4 (EI-009).
    """
    fresh = opslag.new_stretches(session, place.rules, month)["beloeb_oere"].sum()
    return int(fresh), int(session.value(MONTH_TOTAL, month=month))  # type: ignore[call-overload]


def _addressed(session: Session, place: Place, month: date, findings: pl.DataFrame) -> pl.DataFrame:
    """Findings with the municipality that gets them: their own, else the person's residence, else nobody."""
    koder = place.rules.koder
    days = 0 if place.rules.laesning("bopael_paa") == "mandag" else 6
    dated = findings.with_columns(dag=pl.col("uge_fra").dt.offset_by(f"{days}d"))
    lost = dated.filter(pl.col("kommunekode").is_null() & pl.col("borger_id").is_not_null())
    homes = opslag.homes(session, place, month, lost.select("borger_id", "dag").unique())
    housed = dated.join(homes, on=["borger_id", "dag"], how="left", nulls_equal=True)
    kode = pl.coalesce("kommunekode", "hjem")
    mine = pl.when(kode.is_in(koder)).then(kode).otherwise(pl.lit(NOBODY))
    return housed.with_columns(kommunekode=mine).drop("dag", "hjem")
