"""Classified: what each line is about, which lines stand, and the claims they make."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from refusion_assets.assets.touched import listed, ranges
from refusion_assets.assets.wiring import POOL, span, stopping
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
from refusion_assets.place import Place
from refusion_assets.shown import KINDS, OWNER, kroner, of_table
from refusion_assets.store.session import Session

LINES_PER_JUDGEMENT = 200_000
BY_EMPLOYER = 2
RENAMED = {
    "art": "Indberetningsart",
    "indberetning_id": "IndberetningsID",
    "reference_id": "ReferenceID",
    "pligt_se": "Pligt_SE",
    "kommunekode_betaler": "Kommunekode",
    "kilde_id": "kilde",
}


def judge_lines(session: Session, place: Place, progress: Callable[[str], None]) -> bool:
    """Lines not judged by what these rules say of lines are judged (`classified.linje`), some files at a time.

    True if lines judged otherwise were judged again, so that every verdict must be.
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
        longest = stale.filter(pl.col("fil_id").is_between(low, high))["antal_raekker"].max()
        for first in range(0, int(longest) + 2, LINES_PER_JUDGEMENT):  # type: ignore[arg-type]
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
    session.run("UPDATE raw.fil SET bedoemt_med = $version", version=version)
    return bool(again)


def _judge_rows(session: Session, place: Place, rows: pl.DataFrame) -> None:
    """Some delivered lines judged (`classified.linje`), and their persons given a number."""
    judged = judge(rows, place.rules)
    borger = _numbered_persons(session, judged["subjekt"])
    linjer = judged.join(borger, on="subjekt", how="left", maintain_order="left").with_columns(
        **{name: pl.col(column) for name, column in RENAMED.items()}
    )
    session.insert("classified.linje", linjer.select(list(Linje.to_schema().columns)))
    session.insert("raw.ukendt", _unknown(linjer))


def _unknown(linjer: pl.DataFrame) -> pl.DataFrame:
    """What lines without a person say of one (`Ukendt`): a municipality must be told what it wrote."""
    by_employer = (pl.col("Indberetningsart") == "I") & (pl.col("kontoart") == BY_EMPLOYER)
    skrevet = pl.when(by_employer).then("Felt0216").otherwise("CPR")
    told = linjer.filter(pl.col("borger_id").is_null()).select("fil_id", "linje", skrevet=skrevet)
    return told.drop_nulls("skrevet")


def _numbered_persons(session: Session, subjects: pl.Series) -> pl.DataFrame:
    """The surrogate (`borger_id`) of each person; new ones get theirs in an order that says nothing of the CPR."""
    with session.lending("seen_persons", pl.DataFrame({"cpr": subjects.drop_nulls().unique()})):
        seen = session.frame("""SELECT cpr, borger_id, CASE WHEN borger_id IS NULL THEN md5(cpr) END AS orden
            FROM seen_persons LEFT JOIN identitet.borger USING (cpr)""")
    next_id = int(session.value("SELECT coalesce(max(borger_id) + 1, 0) FROM identitet.borger"))  # type: ignore[call-overload]
    fresh = seen.filter(pl.col("borger_id").is_null()).sort("orden").drop("borger_id")
    fresh = fresh.select("cpr", borger_id=pl.int_range(pl.len(), dtype=pl.Int64) + next_id)
    session.insert("identitet.borger", fresh)
    return pl.concat([seen.drop_nulls("borger_id").select("cpr", "borger_id"), fresh]).rename({"cpr": "subjekt"})


LINES_PER_BUCKET = 400_000
IDS_PER_SWEEP = 20_000_000
LINE = (
    "fil_id",
    "linje",
    "art",
    "indberetning_id",
    "reference_id",
    "pligt_se",
    "kommunekode_betaler",
    "borger_id",
    "ydelse_id",
    "konto",
    "kilde_id",
    "periode_start",
    "periode_slut",
    "beloeb_oere",
    "regel",
)
COLUMNS = ", ".join(f"l.{name}" for name in LINE)
# The id that decides a line's verdict: of a reversal the report it points at, else the line's own.
DECIDING = "CASE WHEN l.art = 'T' THEN l.reference_id ELSE l.indberetning_id END"
TO_JUDGE = f"""SELECT {COLUMNS}, m.fil_orden,
    CASE WHEN {DECIDING} IS NOT NULL THEN hash({DECIDING}) END AS noegle
    FROM {{lines}} l JOIN maalet m USING (fil_id)"""
ALL_LINES, TOUCHED_LINES = "classified.linje", "roert_linje"


@dataclass(frozen=True)
class Scope:
    """What is judged anew: everything, or what new and withdrawn lines can touch.

    `lines` is its SQL relation, and `among` the table that holds every line that can decide it.
    """

    everything: bool
    lines: str
    among: str


def choose(session: Session, month: date, *, again: bool) -> Scope:
    """What must be judged anew, with the files of the month and the ids concerned in temporary tables."""
    session.run(
        """CREATE OR REPLACE TEMP TABLE maalet AS
        SELECT fil_id, row_number() OVER (ORDER BY modtaget_maaned, foerste_modtaget NULLS FIRST, filnavn) AS fil_orden
        FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month""",
        month=month,
    )
    if again:
        session.run("DELETE FROM classified.grundlag")
    if session.value("SELECT count(*) = 0 FROM classified.grundlag"):
        session.run("DELETE FROM classified.dom")
        return Scope(everything=True, lines=f"({TO_JUDGE.format(lines=ALL_LINES)})", among=ALL_LINES)
    session.run("DELETE FROM classified.dom WHERE fil_id NOT IN (SELECT fil_id FROM maalet)")
    _touch(session)
    session.run(f"""CREATE OR REPLACE TEMP TABLE doemmes AS
        SELECT * FROM ({TO_JUDGE.format(lines=TOUCHED_LINES)})
        SEMI JOIN (SELECT hash(id) AS noegle FROM beroerte_id) USING (noegle)
        UNION ALL SELECT * FROM ({TO_JUDGE.format(lines="rullet")})
        WHERE noegle IS NULL AND fil_id NOT IN (SELECT fil_id FROM classified.grundlag)""")
    session.run("DELETE FROM classified.dom d USING doemmes n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
    return Scope(everything=False, lines="doemmes", among=TOUCHED_LINES)


def _touch(session: Session) -> None:
    """The ids (`beroerte_id`), lines (`roert_linje`) and claims (`beroerte_krav`) that new and gone lines touch."""
    files = session.frame("""SELECT fil_id FROM maalet ANTI JOIN classified.grundlag USING (fil_id)
        UNION ALL SELECT fil_id FROM classified.grundlag ANTI JOIN maalet USING (fil_id)""")
    session.run(f"""CREATE OR REPLACE TEMP TABLE rullet AS
        SELECT * FROM classified.linje WHERE fil_id IN ({listed(files["fil_id"])})
        UNION ALL SELECT * FROM classified.udgaaet""")
    session.run("""CREATE OR REPLACE TEMP TABLE beroerte_id AS SELECT id FROM (
            SELECT indberetning_id AS id FROM rullet UNION SELECT reference_id FROM rullet WHERE art = 'T')
        WHERE id IS NOT NULL""")
    # Found by the ids alone, and only then fetched whole: the two columns of text are read faster without the others.
    session.run(f"""CREATE OR REPLACE TEMP TABLE {TOUCHED_LINES} AS SELECT * FROM {ALL_LINES} WHERE rowid IN (
            SELECT rowid FROM {ALL_LINES} WHERE indberetning_id IN (FROM beroerte_id)
            UNION ALL SELECT rowid FROM {ALL_LINES} WHERE art = 'T' AND reference_id IN (FROM beroerte_id))""")
    key = ", ".join(CLAIM)
    session.run(f"""CREATE OR REPLACE TEMP TABLE beroerte_krav AS SELECT DISTINCT {key} FROM (
            SELECT {key} FROM {TOUCHED_LINES} l JOIN beroerte_id b ON l.indberetning_id = b.id
            WHERE l.art = 'I' AND l.regel IS NULL
            UNION ALL SELECT {key} FROM rullet WHERE art = 'I' AND regel IS NULL)""")


def judge_reports(session: Session, scope: Scope) -> None:
    """New verdicts (`classified.dom`) on those of the chosen lines that are not used, but for EI-010.

    A report that no reversal points at and that lies in one file is judged by its own row rule; only the rest
    is handed to the kernel. The rows put in here have the key of `classified.linje`, so it is proved there.
    """
    _find_doubtful(session, scope)
    session.run(f"""INSERT INTO classified.dom
        SELECT fil_id, linje, '{KARANTAENE}', regel, false, CASE WHEN art IS DISTINCT FROM 'T' THEN beloeb_oere END
        FROM {scope.lines} ANTI JOIN tvivl_id USING (noegle) WHERE regel IS NOT NULL""")
    for bucket, buckets in _doubtful_lines(session, scope):
        linjer = session.frame(f"""SELECT {COLUMNS}, l.fil_orden, bool_or(l.afgoeres) AS afgoeres
            FROM tvivl_linje l WHERE l.noegle % {buckets} = {bucket} GROUP BY ALL""")
        mine = linjer.filter("afgoeres").select("fil_id", "linje")
        session.insert("classified.dom", not_used(judge_set(linjer).join(mine, on=["fil_id", "linje"], how="semi")))


def _find_doubtful(session: Session, scope: Scope) -> None:
    """The ids (`tvivl_id`, as hashes) that a reversal points at, or that reports in several files share.

    Two ids with the same hash only send a report to the kernel that need not have been there.
    """
    session.run(f"""CREATE OR REPLACE TEMP TABLE tvivl_id AS
        SELECT noegle FROM {scope.lines} WHERE art = 'T' AND noegle IS NOT NULL""")
    lines = int(session.value(f"SELECT count(*) FROM {scope.lines}"))  # type: ignore[call-overload]
    sweeps = 1 + lines // IDS_PER_SWEEP
    for sweep in range(sweeps):
        session.run(f"""INSERT INTO tvivl_id SELECT noegle FROM {scope.lines}
            WHERE art = 'I' AND noegle % {sweeps} = {sweep} GROUP BY noegle HAVING min(fil_id) <> max(fil_id)""")


def _doubtful_lines(session: Session, scope: Scope) -> list[tuple[int, int]]:
    """The lines of doubtful ids (`tvivl_linje`), and the buckets of them: number, and how many there are.

    Reversals that bear such an id are needed to judge by, even where their own verdict is not asked for.
    """
    session.run(f"""CREATE OR REPLACE TEMP TABLE tvivl_linje AS
        SELECT *, true AS afgoeres FROM {scope.lines} SEMI JOIN tvivl_id USING (noegle)
        UNION ALL
        SELECT {COLUMNS}, m.fil_orden, hash(l.indberetning_id), false
        FROM {scope.among} l JOIN maalet m USING (fil_id)
        SEMI JOIN tvivl_id t ON hash(l.indberetning_id) = t.noegle
        WHERE l.art = 'T' AND l.indberetning_id IS NOT NULL""")
    lines = int(session.value("SELECT count(*) FROM tvivl_linje"))  # type: ignore[call-overload]
    buckets = 1 + lines // LINES_PER_BUCKET
    return [(bucket, buckets) for bucket in range(buckets)]


def quarantined(session: Session) -> pl.DataFrame:
    """One row per rule that has lines in quarantine: regel, antal, oere; by rule."""
    return session.frame(f"""SELECT regel, count(*) AS antal, coalesce(sum(beloeb_oere), 0)::BIGINT AS oere
        FROM classified.dom WHERE status = '{KARANTAENE}' GROUP BY 1 ORDER BY 1""")


def put_verdicts(session: Session, verdicts: pl.DataFrame) -> None:
    """Verdicts in place of those the same lines had."""
    with session.lending("nye_domme", verdicts.select("fil_id", "linje")):
        session.run("DELETE FROM classified.dom d USING nye_domme n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
    session.insert("classified.dom", not_used(verdicts.select(VERDICT)))


CLAIMS_PER_RANGE = 10_000_000
CLAIMS_PER_SWEEP = 20_000_000
KEY = ", ".join(CLAIM)


def same(left: str, right: str, names: list[str]) -> str:
    """SQL that is true where the columns are alike in both, empty ones too."""
    return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in names)


def make_claims(session: Session, scope: Scope, progress: Callable[[str], None]) -> None:
    """The chosen claims made anew (`classified.krav`), with EI-010, and whom it changes (`classified.aendret`).

    A line that is alone in its claim, and not below zero, is the claim; the lines of the others are summed by
    the kernel. Both keep the key of the contract, as every line belongs to one or to the other by its claim.
    """
    lines, claims_before = "classified.linje", "classified.krav"
    if not scope.everything:
        lines, claims_before = _fetched(session, lines, "linje_valgt"), _fetched(session, claims_before, "krav_valgt")
    _find_shared(session, lines)
    everybody = f"""(SELECT borger_id FROM {lines} WHERE art = 'I' AND regel IS NULL
        UNION ALL SELECT borger_id FROM {claims_before})"""
    people = session.frame(f"SELECT borger_id, count(*) AS antal FROM {everybody} GROUP BY 1 ORDER BY 1")
    ready = 0
    for low, high in ranges(people["borger_id"], people["antal"], CLAIMS_PER_RANGE):
        mine = f"t.borger_id BETWEEN {low} AND {high}"
        number = "t.rowid AS nr, t.*" if scope.everything else "t.*"
        session.run(f"CREATE OR REPLACE TEMP TABLE krav_foer AS SELECT {number} FROM {claims_before} t WHERE {mine}")
        last = session.value("SELECT coalesce(max(rowid), -1) FROM classified.krav")
        session.run("DELETE FROM classified.krav WHERE rowid IN (SELECT nr FROM krav_foer)")
        _sum_up(session, f"{lines} t WHERE {mine}", low, high)
        _tell_changes(session, f"(SELECT * FROM classified.krav WHERE rowid > {last})")
        ready += people.filter(pl.col("borger_id").is_between(low, high)).height
        progress(f"krav gjort op for {ready} af {plural(people.height, 'borger', 'borgere')}")


def _fetched(session: Session, table: str, name: str) -> str:
    """The rows of a table that belong to the touched claims, with their row number `nr`, as a temporary table.

    Those of the same person and period are found first: a join on columns that are never empty is many times faster.
    """
    near = "SEMI JOIN beroerte_krav USING (borger_id, periode_start, periode_slut)"
    session.run(f"""CREATE OR REPLACE TEMP TABLE {name} AS
        SELECT * FROM (SELECT t.rowid AS nr, t.* FROM {table} t {near}) t
        SEMI JOIN beroerte_krav b ON {same("t", "b", CLAIM)}""")
    return name


def _standing(chosen: str) -> str:
    """SQL for the report lines that no rule and no reversal has taken: whether EI-010 has, and their claim's hash."""
    return f"""(SELECT {COLUMNS.replace("l.", "t.")}, f.under IS NOT NULL AS under, hash({KEY}) AS noegle
        FROM (SELECT t.* FROM {chosen} AND t.art = 'I' AND t.regel IS NULL) t
        SEMI JOIN maalet USING (fil_id) LEFT JOIN linje_faldet f ON f.fil_id = t.fil_id AND f.linje = t.linje
        WHERE f.under IS NOT false)"""


def _find_shared(session: Session, table: str) -> None:
    """The claims (`krav_samlet`, as hashes) that are no single line, and the lines of them (`krav_linje`).

    Two claims with the same hash only send lines to the kernel that need not have been there.
    """
    session.run("""CREATE OR REPLACE TEMP TABLE linje_faldet AS
        SELECT fil_id, linje, coalesce(regel = 'EI-010', false) AS under FROM classified.dom""")
    standing = _standing(f"{table} t WHERE true")
    lines = int(session.value(f"SELECT count(*) FROM {table}"))  # type: ignore[call-overload]
    sweeps = 1 + lines // CLAIMS_PER_SWEEP
    session.run("CREATE OR REPLACE TEMP TABLE krav_samlet (noegle UBIGINT)")
    for sweep in range(sweeps):
        session.run(f"""INSERT INTO krav_samlet SELECT noegle FROM {standing} WHERE noegle % {sweeps} = {sweep}
            GROUP BY noegle HAVING count(*) > 1 OR min(beloeb_oere) < 0 OR bool_or(under)""")
    session.run(
        f"CREATE OR REPLACE TEMP TABLE krav_linje AS SELECT t.* FROM {standing} t SEMI JOIN krav_samlet USING (noegle)"
    )


def _sum_up(session: Session, chosen: str, low: int, high: int) -> None:
    """The claims of some people, in order of the person so that a shard of people lies together."""
    names = list(Krav.to_schema().columns)
    alone = ", ".join("1 AS antal_raekker" if name == "antal_raekker" else name for name in names)
    session.run(f"""INSERT INTO classified.krav ({", ".join(names)})
        SELECT {alone} FROM {_standing(chosen)} ANTI JOIN krav_samlet USING (noegle)
        ORDER BY borger_id, periode_start, noegle""")
    rows = session.frame(f"SELECT * FROM krav_linje WHERE borger_id BETWEEN {low} AND {high}")
    krav, spoiled = claims(rows)
    put_verdicts(session, _reconsidered(rows, spoiled))
    session.insert("classified.krav", krav)


def _reconsidered(rows: pl.DataFrame, spoiled: pl.DataFrame) -> pl.DataFrame:
    """The verdicts among `rows` that EI-010 changes: newly spoiled, or spoiled no longer."""
    free = rows.select(
        *("fil_id", "linje", "under", "beloeb_oere"),
        status=pl.lit(BRUGT),
        regel=pl.lit(None, dtype=pl.String),
        trukket=pl.lit(value=False),  # a line that a reversal points at makes no claim
    )
    return spoil(free, spoiled).filter(pl.col("regel").is_not_null() != pl.col("under"))


def _tell_changes(session: Session, now: str) -> None:
    """The persons whose claims differ, and the first day of a claim that does (`classified.aendret`)."""
    alike = same("t", "a", [*CLAIM, "ydelse_id", "beloeb_oere"])
    session.run(f"""INSERT INTO classified.aendret SELECT borger_id, min(periode_start) FROM (
            SELECT t.borger_id, t.periode_start FROM krav_foer t ANTI JOIN {now} a ON {alike}
            UNION ALL SELECT t.borger_id, t.periode_start FROM {now} t ANTI JOIN krav_foer a ON {alike})
        GROUP BY borger_id""")


@dataclass(frozen=True)
class Sorted:
    """What classification found: claims, quarantined lines and their amount (øre)."""

    krav: int
    karantaene: int
    karantaene_oere: int
    regler: dict[str, int]


def classify_through(
    session: Session, place: Place, month: date, progress: Callable[[str], None] = lambda _: None
) -> Sorted:
    """Every line received through `month` judged, and the claims that stand (`classified.krav`).

    Only what new, changed or withdrawn files can touch is judged again: the reports that share an id with
    them, and the claims of those reports. The result is that of judging everything. Source: input.md 2-4.
    """
    again = judge_lines(session, place, progress)
    scope = choose(session, month, again=again)
    judge_reports(session, scope)
    make_claims(session, scope, progress)
    session.run("DELETE FROM classified.udgaaet")
    session.run("DELETE FROM classified.grundlag")
    session.run("INSERT INTO classified.grundlag SELECT fil_id FROM maalet")
    return _summary(session)


def _summary(session: Session) -> Sorted:
    """What the classification holds now."""
    bad = quarantined(session)
    krav = int(session.value("SELECT count(*) FROM classified.krav"))  # type: ignore[call-overload]
    return Sorted(krav, int(bad["antal"].sum()), int(bad["oere"].sum()), dict(bad.select("regel", "antal").iter_rows()))


def build(months: dg.PartitionsDefinition[str]) -> list[dg.AssetsDefinition]:
    """The classified asset, cut by month of receipt."""

    @dg.asset(
        key=["classified", "krav"],
        deps=[["raw", "indberetning"]],
        partitions_def=months,
        group_name="classified",
        kinds=KINDS,
        owners=[OWNER],
        metadata=of_table("classified.krav"),
        backfill_policy=dg.BackfillPolicy.single_run(),
        pool=POOL,
    )
    def krav(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """One row per claim: person, account, period and payer, with the sum of the rows that stand.

        Reads every line received through the month; reversals, duplicates and bad rows are judged here.
        """
        with stopping(), place.warehouse.open() as session:
            asked = span(session, place, context)
            found = classify_through(session, place, asked.month, place.telling(context.log.info))
        metadata: dict[str, Any] = {
            "dagster/row_count": found.krav,
            "karantaene_raekker": found.karantaene,
            "karantaene_kr": kroner(found.karantaene_oere),
            "karantaene_regler": dg.MetadataValue.json(found.regler),
        }
        return dg.MaterializeResult(metadata=metadata)

    return [krav]
