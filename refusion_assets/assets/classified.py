"""Classified: judges every line, and makes the claims of the used lines.

Quarantine is `classified.dom` with status `karantaene`. `judge_reports` and `make_claims` write it, by SQL or by
`domain.classified`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from refusion_assets.assets.gate import asked_months, span, stopping, table_asset
from refusion_assets.assets.raw import files_read
from refusion_assets.assets.touched import mark
from refusion_assets.domain.classified import (
    BRUGT,
    CLAIM,
    KARANTAENE,
    VERDICT,
    Krav,
    Linje,
    claims,
    judge,
    judge_set,
    not_used,
    spoil,
)
from refusion_assets.domain.rules.change import judgement_version
from refusion_assets.domain.wording import plural
from refusion_assets.partitions import Shown, by_month, kroner, names_of_benefits, show
from refusion_assets.place import Place, coded, numbering_secret
from refusion_assets.store.batches import ranges, sql_list
from refusion_assets.store.session import Relation, Session, among

LINES_PER_JUDGEMENT = 200_000
OF_LINES = ("raw.ukendt", "classified.linje", "classified.dom", "classified.grundlag")
BY_EMPLOYER = 2
RENAMED = {
    "art": "Indberetningsart",
    "indberetning_id": "IndberetningsID",
    "reference_id": "ReferenceID",
    "pligt_se": "Pligt_SE",
    "kommunekode_betaler": "Kommunekode",
    "kilde_id": "kilde",
}


def forget_files(session: Session, files: Sequence[int]) -> None:
    """Delete the lines of some files (`fil_id`) and their verdicts; copies the lines to `classified.udgaaet`.

    The next classification finds in the copy the reports and claims to judge again.
    """
    theirs = f"WHERE {among('fil_id', 'files', 'BIGINT')}"
    session.run(f"INSERT INTO classified.udgaaet SELECT * FROM classified.linje {theirs}", files=files)
    for table in OF_LINES:
        session.run(f"DELETE FROM {table} {theirs}", files=files)


def forget_lines(session: Session) -> None:
    """Delete every line and verdict. The claims stay, so that a reload calculates only people with other claims."""
    for table in (*OF_LINES, "classified.udgaaet"):
        session.run(f"DELETE FROM {table}")


def judge_lines(session: Session, place: Place, progress: Callable[[str], None]) -> bool:
    """Judge the lines not yet judged under the rules for lines in force (`classified.linje`), some files at a time.

    True if it judged lines of other rules again: then every verdict must be made anew.
    """
    version = judgement_version(place.rules.emner)
    again = session.value("SELECT count(*) FROM raw.fil WHERE bedoemt_med <> $version", version=version)
    unjudged = "SELECT fil_id FROM raw.fil WHERE bedoemt_med IS DISTINCT FROM $version"
    stale = session.frame(
        f"SELECT fil_id, antal_raekker FROM raw.fil WHERE fil_id IN ({unjudged}) ORDER BY 1", version=version
    )
    for table in ("classified.linje", "raw.ukendt"):
        session.run(f"DELETE FROM {table} WHERE fil_id IN ({unjudged})", version=version)
    ready = 0
    for low, high in ranges(stale["fil_id"], stale["antal_raekker"], LINES_PER_JUDGEMENT):
        # The rows of a file in the fixed-width form have gaps between their lines.
        last = session.integer(
            "SELECT max(linje) FROM raw.indberetning WHERE fil_id BETWEEN $low AND $high", low=low, high=high
        )
        for first in range(0, last + 1, LINES_PER_JUDGEMENT):
            rows = session.frame(
                f"""SELECT i.*, f.kilde, f.enhed FROM raw.indberetning i JOIN raw.fil f USING (fil_id)
                WHERE fil_id BETWEEN $low AND $high AND fil_id IN ({unjudged})
                AND linje BETWEEN $first AND $last""",
                low=low,
                high=high,
                first=first,
                last=first + LINES_PER_JUDGEMENT - 1,
                version=version,
            )
            _judge_rows(session, place, rows)
            ready += rows.height
            progress(f"{ready} af {plural(int(stale['antal_raekker'].sum()), 'linje', 'linjer')} klassificeret")
    files_read.count_as_judged(session, version)
    return bool(again)


def _judge_rows(session: Session, place: Place, rows: pl.DataFrame) -> None:
    """Judge delivered lines (`classified.linje`), and number their persons."""
    judged = judge(rows, place.rules)
    borger = numbered_persons(session, place, judged["subjekt"])
    linjer = judged.join(borger, on="subjekt", how="left", maintain_order="left").with_columns(
        **{name: pl.col(column) for name, column in RENAMED.items()}
    )
    session.insert("classified.linje", coded(session, place, linjer.select(list(Linje.to_schema().columns))))
    session.insert("raw.ukendt", _unknown(linjer))


def _unknown(linjer: pl.DataFrame) -> pl.DataFrame:
    """The number written on each line whose person is unknown (`Ukendt`): the advice must show it."""
    by_employer = (pl.col("Indberetningsart") == "I") & (pl.col("kontoart") == BY_EMPLOYER)
    skrevet = pl.when(by_employer).then("Felt0216").otherwise("CPR")
    told = linjer.filter(pl.col("borger_id").is_null()).select("fil_id", "linje", skrevet=skrevet)
    return told.drop_nulls("skrevet")


def numbered_persons(session: Session, place: Place, subjects: pl.Series) -> pl.DataFrame:
    """The surrogate (`borger_id`) of each person; only the root's secret tells the order of new ones."""
    with session.lending("seen_persons", pl.DataFrame({"cpr": subjects.drop_nulls().unique()})):
        seen = session.frame(
            """SELECT cpr, borger_id, CASE WHEN borger_id IS NULL THEN sha256($secret || cpr) END AS orden
            FROM seen_persons LEFT JOIN identitet.borger USING (cpr)""",
            secret=numbering_secret(place),
        )
    next_id = session.integer("SELECT max(borger_id) + 1 FROM identitet.borger")
    fresh = seen.filter(pl.col("borger_id").is_null()).sort("orden").drop("borger_id")
    fresh = fresh.select("cpr", borger_id=pl.int_range(pl.len(), dtype=pl.Int64) + next_id)
    session.insert("identitet.borger", fresh)
    return pl.concat([seen.drop_nulls("borger_id").select("cpr", "borger_id"), fresh]).rename({"cpr": "subjekt"})


LINES_PER_BUCKET = 400_000
IDS_PER_SWEEP = 20_000_000
LINE = (
    "fil_id", "linje", "art", "indberetning_id", "reference_id", "pligt_se",
    "kommunekode_betaler", "borger_id", "ydelse_id", "konto", "kilde_id",
    "periode_start", "periode_slut", "beloeb_oere", "regel",
)  # fmt: skip
COLUMNS = ", ".join(f"l.{name}" for name in LINE)
# The id that decides a line's verdict: of a reversal that of its target, else the line's.
DECIDING = "CASE WHEN l.art = 'T' THEN l.reference_id ELSE l.indberetning_id END"
ALL_LINES, ALL_CLAIMS = Relation("classified.linje"), Relation("classified.krav")
KEY = ", ".join(CLAIM)


def to_judge(lines: Relation, files: Relation) -> Relation:
    """Lines of some files as they are judged: `LINE`, fil_orden, and noegle, the hash of the id that decides them."""
    return Relation(f"""(SELECT {COLUMNS}, m.fil_orden,
        CASE WHEN {DECIDING} IS NOT NULL THEN hash({DECIDING}) END AS noegle
        FROM {lines} l JOIN {files} m USING (fil_id))""")


@dataclass(frozen=True)
class Scope:
    """The lines and claims that are judged anew: all of them, or those that new and withdrawn lines can touch.

    `files` (fil_id, fil_orden): the files of the month, in the order they are judged in. `lines`: the lines to judge
    (as `to_judge`). `among`: every line that can decide one of them. `claims` (`CLAIM`): the claims to make anew; None
    if all are.
    """

    files: Relation
    lines: Relation
    among: Relation = ALL_LINES
    claims: Relation | None = None


def files_through(session: Session, month: date) -> Relation:
    """The files received through a month, in the order they are judged in: fil_id, fil_orden."""
    query = """SELECT fil_id,
            row_number() OVER (ORDER BY modtaget_maaned, foerste_modtaget NULLS FIRST, filnavn) AS fil_orden
        FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month"""
    return session.temp("files", query, month=month)


def choose_lines(session: Session, month: date, *, again: bool) -> Scope:
    """The lines and claims to judge anew for run `month`; `again`: all of them.

    Deletes their verdicts, and those of withdrawn files, from `classified.dom`.
    """
    files = files_through(session, month)
    if again:
        session.run("DELETE FROM classified.grundlag")
    if not session.count("classified.grundlag"):
        session.run("DELETE FROM classified.dom")
        return Scope(files, to_judge(ALL_LINES, files))
    session.run(f"DELETE FROM classified.dom WHERE fil_id NOT IN (SELECT fil_id FROM {files})")
    scope = _touched(session, files)
    session.run(f"DELETE FROM classified.dom d USING {scope.lines} n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
    return scope


def _touched(session: Session, files: Relation) -> Scope:
    """The lines and claims that share an id with the lines of new and withdrawn files."""
    moved = session.frame(f"""SELECT fil_id FROM {files} ANTI JOIN classified.grundlag USING (fil_id)
        UNION ALL SELECT fil_id FROM classified.grundlag ANTI JOIN {files} USING (fil_id)""")
    new_and_gone = session.temp(
        "lines_moved",
        f"""SELECT * FROM classified.linje WHERE fil_id IN ({sql_list(moved["fil_id"])})
        UNION ALL SELECT * FROM classified.udgaaet""",
    )
    ids = session.temp(
        "ids",
        f"""SELECT id FROM (SELECT indberetning_id AS id FROM {new_and_gone}
            UNION SELECT reference_id FROM {new_and_gone} WHERE art = 'T')
        WHERE id IS NOT NULL""",
    )
    # The inner query reads only the two columns of ids, which is faster than reading whole rows.
    sharing = session.temp(
        "lines_sharing_ids",
        f"""SELECT * FROM {ALL_LINES} WHERE rowid IN (
            SELECT rowid FROM {ALL_LINES} WHERE indberetning_id IN (FROM {ids})
            UNION ALL SELECT rowid FROM {ALL_LINES} WHERE art = 'T' AND reference_id IN (FROM {ids}))""",
    )
    claims = session.temp(
        "claims",
        f"""SELECT DISTINCT {KEY} FROM (
            SELECT {KEY} FROM {sharing} l JOIN {ids} b ON l.indberetning_id = b.id
            WHERE l.art = 'I' AND l.regel IS NULL
            UNION ALL SELECT {KEY} FROM {new_and_gone} WHERE art = 'I' AND regel IS NULL)""",
    )
    lines = session.temp(
        "lines",
        f"""SELECT * FROM {to_judge(sharing, files)} SEMI JOIN (SELECT hash(id) AS noegle FROM {ids}) USING (noegle)
        UNION ALL SELECT * FROM {to_judge(new_and_gone, files)}
        WHERE noegle IS NULL AND fil_id NOT IN (SELECT fil_id FROM classified.grundlag)""",
    )
    return Scope(files, lines, among=sharing, claims=claims)


def judge_reports(session: Session, scope: Scope) -> None:
    """Insert the verdicts of lines that are not used in `classified.dom`; `make_claims` adds EI-010.

    SQL judges a report in one file only, without a reversal, by its row rule (`classified.linje.regel`). `judge_set`
    judges the others. The rows that SQL inserts have the key of `classified.linje`, which is proved there.
    """
    doubtful = _doubtful_ids(session, scope)
    session.run(f"""INSERT INTO classified.dom
        SELECT fil_id, linje, '{KARANTAENE}', regel, false, CASE WHEN art IS DISTINCT FROM 'T' THEN beloeb_oere END
        FROM {scope.lines} ANTI JOIN {doubtful} USING (noegle) WHERE regel IS NOT NULL""")
    theirs = _doubtful_lines(session, scope, doubtful)
    buckets = 1 + session.count(theirs) // LINES_PER_BUCKET
    for bucket in range(buckets):
        linjer = session.frame(f"""SELECT {COLUMNS}, l.fil_orden, bool_or(l.afgoeres) AS afgoeres
            FROM {theirs} l WHERE l.noegle % {buckets} = {bucket} GROUP BY ALL""")
        mine = linjer.filter("afgoeres").select("fil_id", "linje")
        session.insert("classified.dom", not_used(judge_set(linjer).join(mine, on=["fil_id", "linje"], how="semi")))


def _doubtful_ids(session: Session, scope: Scope) -> Relation:
    """The ids that a reversal points at, or that reports in several files share: noegle (a hash).

    Two ids with the same hash only send a report to `judge_set` without need.
    """
    query = f"SELECT noegle FROM {scope.lines} WHERE art = 'T' AND noegle IS NOT NULL"
    doubtful = session.temp("doubtful_ids", query)
    sweeps = 1 + session.count(scope.lines) // IDS_PER_SWEEP
    for sweep in range(sweeps):
        session.add(
            doubtful,
            f"""SELECT noegle FROM {scope.lines} WHERE art = 'I' AND noegle % {sweeps} = {sweep}
            GROUP BY noegle HAVING min(fil_id) <> max(fil_id)""",
        )
    return doubtful


def _doubtful_lines(session: Session, scope: Scope, doubtful: Relation) -> Relation:
    """The lines of doubtful ids; `afgoeres` is true if the line needs a verdict.

    The others are reversals with a doubtful id, which only decide the verdicts of other lines.
    """
    query = f"""SELECT *, true AS afgoeres FROM {scope.lines} SEMI JOIN {doubtful} USING (noegle)
        UNION ALL
        SELECT {COLUMNS}, m.fil_orden, hash(l.indberetning_id), false
        FROM {scope.among} l JOIN {scope.files} m USING (fil_id)
        SEMI JOIN {doubtful} t ON hash(l.indberetning_id) = t.noegle
        WHERE l.art = 'T' AND l.indberetning_id IS NOT NULL"""
    return session.temp("doubtful_lines", query)


def quarantined(session: Session) -> pl.DataFrame:
    """One row per rule with lines in quarantine: regel, antal, oere; by rule."""
    return session.frame(f"""SELECT regel, count(*) AS antal, coalesce(sum(beloeb_oere), 0)::BIGINT AS oere
        FROM classified.dom WHERE status = '{KARANTAENE}' GROUP BY 1 ORDER BY 1""")


CLAIMS_PER_RANGE = 10_000_000
CLAIMS_PER_SWEEP = 20_000_000


def same(left: str, right: str, names: list[str]) -> str:
    """SQL that is true where the columns are equal on both sides, empty ones too."""
    return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in names)


def make_claims(session: Session, scope: Scope, progress: Callable[[str], None]) -> None:
    """Make the claims of the scope anew (`classified.krav`), with EI-010, and `mark` people with other claims.

    SQL copies a line that is alone in its claim and not below zero (`_put_single`). `claims` in `domain.classified`
    sums the lines of all other claims (`_put_summed`). Each claim is made in one of these ways, so the table keeps its
    key.
    """
    lines, claims_before = ALL_LINES, ALL_CLAIMS
    if scope.claims:
        lines, claims_before = (_of_claims(session, table, scope.claims) for table in (ALL_LINES, ALL_CLAIMS))
    fallen = session.temp(
        "lines_fallen", "SELECT fil_id, linje, coalesce(regel = 'EI-010', false) AS under FROM classified.dom"
    )
    standing = _standing(lines, scope.files, fallen)
    shared = _shared_claims(session, standing, session.count(lines))
    several = session.temp("lines_of_shared", f"SELECT t.* FROM {standing} t SEMI JOIN {shared} USING (noegle)")
    everybody = f"""(SELECT borger_id FROM {lines} WHERE art = 'I' AND regel IS NULL
        UNION ALL SELECT borger_id FROM {claims_before})"""
    people = session.frame(f"SELECT borger_id, count(*) AS antal FROM {everybody} GROUP BY 1 ORDER BY 1")
    ready = 0
    for low, high in ranges(people["borger_id"], people["antal"], CLAIMS_PER_RANGE):
        mine = f"borger_id BETWEEN {low} AND {high}"
        number = "t.*" if scope.claims else "t.rowid AS nr, t.*"
        before = session.temp("claims_before", f"SELECT {number} FROM {claims_before} t WHERE {mine}")
        session.run(f"DELETE FROM classified.krav WHERE rowid IN (SELECT nr FROM {before})")
        # After the deletion, which may number the rows anew.
        last = session.value("SELECT coalesce(max(rowid), -1) FROM classified.krav")
        _put_single(session, _standing(lines, scope.files, fallen, mine), shared)
        _put_summed(session, session.frame(f"SELECT * FROM {several} WHERE {mine}"))
        _tell_changes(session, before, Relation(f"(SELECT * FROM classified.krav WHERE rowid > {last})"))
        ready += people.filter(pl.col("borger_id").is_between(low, high)).height
        progress(f"krav gjort op for {ready} af {plural(people.height, 'borger', 'borgere')}")


def _of_claims(session: Session, table: Relation, claims: Relation) -> Relation:
    """The rows of a table that belong to some claims (`CLAIM`), with their row number `nr`.

    The inner join is on person and period: a join on columns that are never empty is many times faster.
    """
    near = f"SEMI JOIN {claims} USING (borger_id, periode_start, periode_slut)"
    query = f"""SELECT * FROM (SELECT t.rowid AS nr, t.* FROM {table} t {near}) t
        SEMI JOIN {claims} b ON {same("t", "b", CLAIM)}"""
    return session.temp("of_claims", query)


def _standing(lines: Relation, files: Relation, fallen: Relation, which: str = "true") -> Relation:
    """The report lines without a broken rule or reversal: `LINE`, under (EI-010), noegle (hash of `CLAIM`).

    `fallen`: the lines with a verdict, and whether it is EI-010 (`under`).
    """
    return Relation(f"""(SELECT {COLUMNS.replace("l.", "t.")}, f.under IS NOT NULL AS under, hash({KEY}) AS noegle
        FROM (SELECT t.* FROM {lines} t WHERE {which} AND t.art = 'I' AND t.regel IS NULL) t
        SEMI JOIN {files} USING (fil_id) LEFT JOIN {fallen} f ON f.fil_id = t.fil_id AND f.linje = t.linje
        WHERE f.under IS NOT false)""")


def _shared_claims(session: Session, standing: Relation, lines: int) -> Relation:
    """The claims of several lines or below zero: noegle (a hash). `lines`: the number of lines to read.

    Two claims with the same hash only send lines to `claims` without need.
    """
    shared = session.temp("shared_claims", "SELECT 0::UBIGINT AS noegle WHERE false")
    sweeps = 1 + lines // CLAIMS_PER_SWEEP
    for sweep in range(sweeps):
        session.add(
            shared,
            f"""SELECT noegle FROM {standing} WHERE noegle % {sweeps} = {sweep}
            GROUP BY noegle HAVING count(*) > 1 OR min(beloeb_oere) < 0 OR bool_or(under)""",
        )
    return shared


def _put_single(session: Session, standing: Relation, shared: Relation) -> None:
    """Insert the claims of a single line, by person, so that a shard of people lies together."""
    names = list(Krav.to_schema().columns)
    alone = ", ".join("1 AS antal_raekker" if name == "antal_raekker" else name for name in names)
    session.run(f"""INSERT INTO classified.krav ({", ".join(names)})
        SELECT {alone} FROM {standing} ANTI JOIN {shared} USING (noegle)
        ORDER BY borger_id, periode_start, noegle""")


def _put_summed(session: Session, rows: pl.DataFrame) -> None:
    """Insert the claims that `claims` sums of the lines `rows`, and the verdicts that EI-010 changes."""
    krav, spoiled = claims(rows)
    verdicts = _reconsidered(rows, spoiled)
    with session.lending("nye_domme", verdicts.select("fil_id", "linje")):
        session.run("DELETE FROM classified.dom d USING nye_domme n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
    session.insert("classified.dom", not_used(verdicts.select(VERDICT)))
    session.insert("classified.krav", krav)


def _reconsidered(rows: pl.DataFrame, spoiled: pl.DataFrame) -> pl.DataFrame:
    """The verdicts among `rows` that EI-010 changes: new ones, and those that end."""
    free = rows.select(
        *("fil_id", "linje", "under", "beloeb_oere"),
        status=pl.lit(BRUGT),
        regel=pl.lit(None, dtype=pl.String),
        trukket=pl.lit(value=False),  # a line that a reversal points at makes no claim
    )
    return spoil(free, spoiled).filter(pl.col("regel").is_not_null() != pl.col("under"))


def _tell_changes(session: Session, before: Relation, now: Relation) -> None:
    """Mark people with other claims than before, from the first day of a claim that differs."""
    alike = same("t", "a", [*CLAIM, "ydelse_id", "beloeb_oere"])
    query = f"""SELECT borger_id, min(periode_start) FROM (
            SELECT t.borger_id, t.periode_start FROM {before} t ANTI JOIN {now} a ON {alike}
            UNION ALL SELECT t.borger_id, t.periode_start FROM {now} t ANTI JOIN {before} a ON {alike})
        GROUP BY borger_id"""
    mark(session, query)


@dataclass(frozen=True)
class Sorted:
    """The numbers of claims and of quarantined lines, their amount (øre), and lines by rule."""

    krav: int
    karantaene: int
    karantaene_oere: int
    regler: dict[str, int]


def classify_through(
    session: Session, place: Place, month: date, progress: Callable[[str], None] = lambda _: None
) -> Sorted:
    """Judge every line received through `month`, and make the claims of the used lines (`classified.krav`).

    Judges only lines that share an id with new, changed or withdrawn ones, and makes only their claims. The result is
    that of judging everything. Source: input.md 2-4.
    """
    again = judge_lines(session, place, progress)
    scope = choose_lines(session, month, again=again)
    judge_reports(session, scope)
    make_claims(session, scope, progress)
    session.run("DELETE FROM classified.udgaaet")
    session.run("DELETE FROM classified.grundlag")
    session.run(f"INSERT INTO classified.grundlag SELECT fil_id FROM {scope.files}")
    return _summary(session)


def _summary(session: Session) -> Sorted:
    """The numbers of the tables as they are now."""
    bad = quarantined(session)
    krav = session.count("classified.krav")
    return Sorted(krav, int(bad["antal"].sum()), int(bad["oere"].sum()), dict(bad.select("regel", "antal").iter_rows()))


# The claims that end in a month, and the lines of its files that are in quarantine.
OF_MONTHS = """
WITH krav AS (SELECT *, date_trunc('month', periode_slut)::DATE AS maaned FROM classified.krav
    WHERE periode_slut BETWEEN $first AND last_day($last::DATE))
SELECT maaned, ydelse_id AS gruppe, count(DISTINCT borger_id) AS borgere, count(*) AS krav,
       sum(beloeb_oere)::BIGINT AS beloeb_oere
FROM krav GROUP BY GROUPING SETS ((maaned), (maaned, ydelse_id))"""
BAD = f"""
SELECT strftime(modtaget_maaned, '%Y-%m') AS maaned, count(d.fil_id) AS linjer,
       coalesce(sum(d.beloeb_oere), 0)::BIGINT AS oere
FROM raw.fil f LEFT JOIN classified.dom d ON d.fil_id = f.fil_id AND d.status = '{KARANTAENE}'
WHERE f.modtaget_maaned BETWEEN $first AND $last GROUP BY 1"""


def shown(session: Session, place: Place, first: date, last: date) -> Shown:
    """The claims of each month as its cell shows them, and the quarantine of the files received in it."""
    claims = by_month(session.frame(OF_MONTHS, first=first, last=last), "Ydelse", names_of_benefits(place.rules))
    for key, lines, oere in session.frame(BAD, first=first, last=last).iter_rows():
        bad = {"maanedens_karantaene_linjer": lines, "maanedens_karantaene_kr": kroner(oere)}
        claims[key] = claims.get(key, {}) | bad
    return claims


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The classified asset, cut by month of receipt."""

    @table_asset("classified.krav", months, deps=[["raw", "indberetning"]])
    def krav(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """One row per claim: person, account, period and payer, with the sum of the rows that stand.

        Reads every line received through the month; reversals, duplicates and bad rows are judged here.
        """
        with stopping(), place.warehouse.open() as session:
            asked = span(session, place, context)
            found = classify_through(session, place, asked.month, place.telling(context.log.info))
            of_months = shown(session, place, *asked_months(context))
        show(context, of_months)
        metadata: dict[str, Any] = {
            "dagster/row_count": found.krav,
            "karantaene_raekker": found.karantaene,
            "karantaene_kr": kroner(found.karantaene_oere),
            "karantaene_regler": dg.MetadataValue.json(found.regler),
        }
        return dg.MaterializeResult(metadata=metadata)

    return [krav]
