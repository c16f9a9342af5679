"""Classified: what each line is about, which lines stand, and the claims they make."""

from dataclasses import dataclass
from datetime import date
from typing import Any

import dagster as dg
import polars as pl

from refusion_assets.assets.change import ranges
from refusion_assets.assets.wiring import POOL, run_month, stopping
from refusion_assets.context import Place
from refusion_assets.domain.classified import Linje, judge
from refusion_assets.domain.krav import BRUGT, CLAIM, KARANTAENE, VERDICT, changes, claims, judge_set, spoil
from refusion_assets.metadata import KINDS, OWNER, kroner, of_table
from refusion_assets.warehouse import Session

LINES_PER_JUDGEMENT = 200_000
LINES_PER_BUCKET = 400_000
CLAIMS_PER_RANGE = 250_000
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


@dataclass(frozen=True)
class Sorted:
    """What classification found: claims, quarantined lines and their amount (øre)."""

    krav: int
    karantaene: int
    karantaene_oere: int
    regler: dict[str, int]


@dataclass(frozen=True)
class Scope:
    """What is judged anew: everything, or the reports and claims that new and withdrawn lines can touch."""

    everything: bool
    buckets: int

    def reports(self, bucket: int, column: str) -> str:
        """SQL that is true where the id in `column` belongs to the bucket of reports to judge."""
        if self.everything:
            return f"hash({column}) % {self.buckets} = {bucket}"
        return f"{column} IN (SELECT id FROM beroerte_id WHERE hash(id) % {self.buckets} = {bucket})"

    def claims(self, low: int, high: int) -> str:
        """SQL that is true where the row t belongs to the claims of these people that are made anew."""
        within = f"t.borger_id BETWEEN {low} AND {high}"
        if self.everything:
            return within
        same = " AND ".join(f"t.{name} IS NOT DISTINCT FROM b.{name}" for name in CLAIM)
        return f"{within} AND EXISTS (SELECT 1 FROM beroerte_krav b WHERE {same})"


def classify_through(session: Session, place: Place, month: date) -> Sorted:
    """Every line received through `month` judged, and the claims that stand (`classified.krav`).

    Only what new, changed or withdrawn files can touch is judged again: the reports that share an id with
    them, and the claims of those reports. The result is that of judging everything. Source: input.md 2-4.
    """
    again = _judge_lines(session, place)
    scope = _choose(session, month, again=again)
    _judge_reports(session, scope)
    _make_claims(session, scope)
    session.run("DELETE FROM classified.udgaaet")
    session.run("DELETE FROM classified.grundlag")
    session.run("INSERT INTO classified.grundlag SELECT fil_id FROM maalet")
    return _summary(session)


def _choose(session: Session, month: date, *, again: bool) -> Scope:
    """What must be judged anew, with the files of the month and the ids concerned in temporary tables."""
    session.run(
        """CREATE OR REPLACE TEMP TABLE maalet AS
        SELECT fil_id, row_number() OVER (ORDER BY modtaget_maaned, foerste_modtaget, filnavn) AS fil_orden
        FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month""",
        month=month,
    )
    if again:
        session.run("DELETE FROM classified.grundlag")
    everything = session.value("SELECT count(*) = 0 FROM classified.grundlag")
    session.run(
        """CREATE OR REPLACE TEMP TABLE rullet AS
        SELECT l.* FROM classified.linje l SEMI JOIN (
            SELECT fil_id FROM maalet ANTI JOIN classified.grundlag USING (fil_id)
            UNION ALL SELECT fil_id FROM classified.grundlag ANTI JOIN maalet USING (fil_id)) USING (fil_id)
        WHERE NOT $everything UNION ALL SELECT * FROM classified.udgaaet""",
        everything=everything,
    )
    session.run(
        "DELETE FROM classified.dom WHERE $everything OR fil_id NOT IN (SELECT fil_id FROM maalet)",
        everything=everything,
    )
    session.run("""CREATE OR REPLACE TEMP TABLE beroerte_id AS SELECT id FROM (
            SELECT indberetning_id AS id FROM rullet UNION SELECT reference_id FROM rullet WHERE art = 'T')
        WHERE id IS NOT NULL""")
    key = ", ".join(CLAIM)
    session.run(f"""CREATE OR REPLACE TEMP TABLE beroerte_krav AS SELECT DISTINCT {key} FROM (
            SELECT {key} FROM classified.linje l JOIN beroerte_id b ON l.indberetning_id = b.id
            WHERE l.art = 'I' AND l.regel IS NULL
            UNION ALL SELECT {key} FROM rullet WHERE art = 'I' AND regel IS NULL)""")
    lines = int(session.value(f"SELECT count(*) FROM {'classified.linje' if everything else 'rullet'}"))  # type: ignore[call-overload]
    return Scope(bool(everything), 1 + lines // LINES_PER_BUCKET)


def _judge_reports(session: Session, scope: Scope) -> None:
    """New verdicts (`classified.dom`) on the chosen reports, and on lines that have no id."""
    columns = ", ".join(f"l.{name}" for name in LINE)
    for bucket in range(scope.buckets):
        by_id, by_reference = scope.reports(bucket, "l.indberetning_id"), scope.reports(bucket, "l.reference_id")
        linjer = session.frame(f"""
            SELECT {columns}, m.fil_orden, CASE WHEN l.art = 'T' THEN {by_reference} ELSE {by_id} END AS afgoeres
            FROM classified.linje l JOIN maalet m USING (fil_id)
            WHERE {by_id} OR (l.art = 'T' AND {by_reference})""")
        mine = linjer.filter("afgoeres").select("fil_id", "linje")
        _put_verdicts(session, judge_set(linjer).join(mine, on=["fil_id", "linje"], how="semi"), fresh=scope.everything)
    session.run(f"""INSERT INTO classified.dom
        SELECT fil_id, linje, '{KARANTAENE}', regel, false FROM classified.linje l SEMI JOIN maalet USING (fil_id)
        ANTI JOIN classified.dom USING (fil_id, linje)""")


def _put_verdicts(session: Session, verdicts: pl.DataFrame, *, fresh: bool = False) -> None:
    """Verdicts in place of those the same lines had; `fresh` if they had none."""
    if not fresh:
        session.connection.register("nye_domme", verdicts.select("fil_id", "linje"))
        session.run("DELETE FROM classified.dom d USING nye_domme n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
        session.connection.unregister("nye_domme")
    session.insert("classified.dom", verdicts.select(VERDICT))


def _make_claims(session: Session, scope: Scope) -> None:
    """The chosen claims made anew (`classified.krav`), with EI-010, and whom it changes (`classified.aendret`)."""
    everybody = "(SELECT borger_id FROM classified.linje WHERE art = 'I' AND regel IS NULL)"
    source = everybody if scope.everything else "beroerte_krav"
    people = session.frame(f"SELECT borger_id, count(*) AS antal FROM {source} GROUP BY 1 ORDER BY 1")
    columns = ", ".join(f"t.{name}" for name in LINE)
    for low, high in ranges(people["borger_id"], people["antal"], CLAIMS_PER_RANGE):
        chosen = scope.claims(low, high)
        rows = session.frame(f"""
            SELECT {columns}, d.status, d.regel AS dom_regel, d.trukket FROM classified.linje t
            JOIN classified.dom d ON d.fil_id = t.fil_id AND d.linje = t.linje
            WHERE (d.status = '{BRUGT}' OR d.regel = 'EI-010') AND {chosen}""")
        krav, spoiled = claims(rows)
        _put_verdicts(session, _reconsidered(rows, spoiled))
        before = session.frame(f"SELECT t.* FROM classified.krav t WHERE {chosen}")
        session.insert("classified.aendret", changes(before, krav))
        if before.height:
            session.run(f"DELETE FROM classified.krav t WHERE {chosen}")
        session.insert("classified.krav", krav)


def _reconsidered(rows: pl.DataFrame, spoiled: pl.DataFrame) -> pl.DataFrame:
    """The verdicts among `rows` that EI-010 changes: newly spoiled, or spoiled no longer."""
    was = rows.select("fil_id", "linje", "status", "trukket", regel="dom_regel")
    free = was.with_columns(status=pl.lit(BRUGT), regel=pl.lit(None, dtype=pl.String))
    now = spoil(free, spoiled)
    return now.join(was, on=["fil_id", "linje", "status", "regel"], how="anti", nulls_equal=True)


def _summary(session: Session) -> Sorted:
    """What the classification holds now."""
    bad = session.frame(f"""SELECT d.regel, count(*) AS antal, sum(l.beloeb_oere)::BIGINT AS oere
        FROM classified.dom d JOIN classified.linje l USING (fil_id, linje)
        WHERE d.status = '{KARANTAENE}' GROUP BY 1 ORDER BY 1""")
    krav = int(session.value("SELECT count(*) FROM classified.krav"))  # type: ignore[call-overload]
    return Sorted(krav, int(bad["antal"].sum()), int(bad["oere"].sum()), dict(bad.select("regel", "antal").iter_rows()))


def _judge_lines(session: Session, place: Place) -> bool:
    """Lines not judged under these rules are judged (`classified.linje`), some files at a time.

    True if lines judged under other rules were judged again, so that every verdict must be.
    """
    version = place.rules.version
    again = session.value("SELECT count(*) FROM raw.fil WHERE bedoemt_med <> $version", version=version)
    unjudged = "SELECT fil_id FROM raw.fil WHERE bedoemt_med IS DISTINCT FROM $version"
    stale = session.frame(
        f"SELECT fil_id, antal_raekker FROM raw.fil WHERE fil_id IN ({unjudged}) ORDER BY 1", version=version
    )
    session.run(f"DELETE FROM classified.linje WHERE fil_id IN ({unjudged})", version=version)
    for low, high in ranges(stale["fil_id"], stale["antal_raekker"], LINES_PER_JUDGEMENT):
        longest = stale.filter(pl.col("fil_id").is_between(low, high))["antal_raekker"].max()
        for first in range(0, int(longest) + 2, LINES_PER_JUDGEMENT):  # type: ignore[arg-type]
            rows = session.frame(
                f"""SELECT i.*, f.kilde, f.enhed FROM raw.indberetning i JOIN raw.fil f USING (fil_id)
                WHERE fil_id BETWEEN $low AND $high AND fil_id IN ({unjudged})
                AND linje BETWEEN $first AND $last ORDER BY fil_id, linje""",
                low=low,
                high=high,
                first=first,
                last=first + LINES_PER_JUDGEMENT - 1,
                version=version,
            )
            _judge_rows(session, place, rows)
    session.run("UPDATE raw.fil SET bedoemt_med = $version", version=version)
    return bool(again)


def _judge_rows(session: Session, place: Place, rows: pl.DataFrame) -> None:
    """Some delivered lines judged (`classified.linje`), and their persons given a number."""
    judged = judge(rows, place.rules)
    _number_persons(session, judged["subjekt"])
    borger = session.frame("SELECT cpr AS subjekt, borger_id FROM identitet.borger")
    renamed = {
        "art": "Indberetningsart",
        "indberetning_id": "IndberetningsID",
        "reference_id": "ReferenceID",
        "pligt_se": "Pligt_SE",
        "kommunekode_betaler": "Kommunekode",
        "kilde_id": "kilde",
    }
    linjer = judged.join(borger, on="subjekt", how="left", maintain_order="left").with_columns(
        **{name: pl.col(column) for name, column in renamed.items()}
    )
    session.insert("classified.linje", linjer.select(list(Linje.to_schema().columns)))


def _number_persons(session: Session, subjects: pl.Series) -> None:
    """A surrogate for every person not seen before, in an order that says nothing of the CPR number."""
    seen = pl.DataFrame({"cpr": subjects.drop_nulls().unique()})
    session.connection.register("seen_persons", seen)
    fresh = session.frame("""
        SELECT coalesce((SELECT max(borger_id) + 1 FROM identitet.borger), 0)
               + row_number() OVER (ORDER BY md5(cpr)) - 1 AS borger_id, cpr
        FROM (SELECT cpr FROM seen_persons ANTI JOIN identitet.borger USING (cpr)) ORDER BY borger_id""")
    session.connection.unregister("seen_persons")
    session.insert("identitet.borger", fresh.with_columns(pl.col("borger_id").cast(pl.Int64)))


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
            found = classify_through(session, place, run_month(context))
        metadata: dict[str, Any] = {
            "dagster/row_count": found.krav,
            "karantaene_raekker": found.karantaene,
            "karantaene_kr": kroner(found.karantaene_oere),
            "karantaene_regler": dg.MetadataValue.json(found.regler),
        }
        return dg.MaterializeResult(metadata=metadata)

    return [krav]
