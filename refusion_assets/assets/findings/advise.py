"""Fund: the findings of a run that somebody must look at, their addressees, and their status since the last run."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from refusion_assets.assets.findings import queries
from refusion_assets.assets.findings.queries import Before
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
from refusion_assets.store.session import Session, among

AS_FOUND = [name for name in FOUND if name in Advis.to_schema().columns]


def open_before(session: Session, place: Place, month: date, *columns: str) -> pl.DataFrame:
    """The findings that the last run before `month` listed as open: these columns of `Advis`, or all."""
    return _open_of(session, _advised_before(session, run_number(month, place.rules)), columns)


def listed_before(session: Session, place: Place, month: date) -> Before | None:
    """The findings that the run listed itself if it was settled before, else those that the previous run listed.

    Also the people calculated since (`Before`): findings in weeks and claims of everybody else are reused. Findings in
    files that run `month` is the first to know are left out: an earlier file of that name may have said something else.
    None if those findings were made under other rules; then all must be looked at.
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
    """The findings that run `number` listed as open: some columns of `Advis`, or all; no rows without a run."""
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
SELECT sum(l.beloeb_oere)::BIGINT FROM classified.linje l JOIN raw.fil f USING (fil_id)
{queries.ONLY_USED}
WHERE f.kendt_fra = $month"""


def of_files(session: Session, rules: Rulebook, month: date) -> pl.DataFrame:
    """Findings in the senders' files (`FOUND`): FIL-003 to FIL-008, and stops that were let pass (EI-017, REG-001)."""
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
        homeless_findings(session.frame(queries.HOMELESS)),
        payer_findings(session.frame(queries.OTHER_PAYER)),
        basis_findings(session.frame(queries.WITHOUT_BASIS)),
    ]
    return pl.concat(parts)


def find(session: Session, place: Place, month: date, before: Before | None = None) -> pl.DataFrame:
    """The findings that are open as run `month` knows them (`Fund`). Øre; sorted by rule and key.

    Reads the layers classified and refusion. `before` (`listed_before`): the findings to reuse; then only the rest is
    looked for, with the same result. Source: input.md 3 and 4.
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
    """The advice of run `number` (`Advis`) to the municipalities `koder` (all if none are named) and to nobody.

    Compares with what the run before listed as open, and replaces the run's own rows. Source: output.md 3.2.
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
    """The advice of run `number` (`opgoerelse.advis`) to all but the municipalities `koder` leaves."""
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
    rows = advice.join(borger, on="borger_id", how="left").join(said, on=["fil", "linje"], how="left")
    known = pl.col("ydelse_id").replace_strict(names, default=None, return_dtype=pl.String)
    return rows.with_columns(cpr=pl.coalesce("cpr", "skrevet"), navn=known).drop("skrevet")


def double_pay(session: Session, place: Place, month: date) -> tuple[int, int]:
    """The amount that two payers newly pay for the same days, and the amount of the month to measure it against. Øre.

    New is a stretch with a claim that has lines first known in run `month`; the month's amount is that of all
    used lines first known in it. Needs only the classified layer. Source: input.md section 4 (EI-009).
    """
    fresh = queries.new_stretches(session, place.rules, month)["beloeb_oere"].sum()
    return int(fresh), session.integer(MONTH_TOTAL, month=month)


def _addressed(session: Session, place: Place, month: date, findings: pl.DataFrame) -> pl.DataFrame:
    """Findings with the municipality that gets them: their own, else the person's residence, else nobody."""
    koder = place.rules.koder
    days = 0 if place.rules.laesning("bopael_paa") == "mandag" else 6
    dated = findings.with_columns(dag=pl.col("uge_fra").dt.offset_by(f"{days}d"))
    lost = dated.filter(pl.col("kommunekode").is_null() & pl.col("borger_id").is_not_null())
    homes = queries.homes(session, place, month, lost.select("borger_id", "dag").unique())
    housed = dated.join(homes, on=["borger_id", "dag"], how="left", nulls_equal=True)
    kode = pl.coalesce("kommunekode", "hjem")
    mine = pl.when(kode.is_in(koder)).then(kode).otherwise(pl.lit(NOBODY))
    return housed.with_columns(kommunekode=mine).drop("dag", "hjem")
