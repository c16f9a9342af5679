"""The queries of the findings; after the first run they read only rows that can have changed.

Each fetches a small result before joining it with the tables of all lines. DuckDB would not expect it to be small, and
would build its hash table on the large side.
"""

from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.assets.touched import newest_snapshot, since_change
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.classified import CLAIM, KARANTAENE, VENTER
from refusion_assets.domain.findings.lines import line_findings
from refusion_assets.domain.findings.weeks import double_stretches, fails_modulus_11
from refusion_assets.domain.findings.words import ACCEPTEREDE, OTHER_PERSON, found
from refusion_assets.domain.findings.words import OTHER_PAYER as ANOTHERS
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.place import Place
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Relation, Session, among

LINE_KEY = ["regel", "fil", "linje"]


@dataclass(frozen=True)
class Before:
    """Findings to reuse (`rows`: `FOUND`), and the people calculated since they were made (borger_id, fra_uge).

    The findings in weeks and claims of everybody else are unchanged.
    """

    rows: pl.DataFrame
    people: Relation


# One row per file of reports received through `$month`, in the order of judging. A repeated file takes its money from
# the first delivery.
FILES = """
SELECT f.kilde, f.enhed, f.modtaget_maaned, f.loebenr, f.filnavn, f.sha256, f.antal_raekker, f.dublet, d.beloeb_oere
FROM raw.fil f LEFT JOIN (
    SELECT g.sha256, sum(l.beloeb_oere)::BIGINT AS beloeb_oere FROM raw.fil g JOIN classified.linje l USING (fil_id)
    WHERE NOT g.dublet AND l.art = 'I' AND g.sha256 IN (SELECT sha256 FROM raw.fil WHERE dublet) GROUP BY g.sha256
) d ON f.dublet AND d.sha256 = f.sha256
WHERE f.modtaget_maaned <= $month ORDER BY f.modtaget_maaned, f.foerste_modtaget NULLS FIRST, f.filnavn"""

WITHOUT_BASIS = """SELECT borger_id, maaned, ydelse_id, kommunekode, uge FROM refusion.fleksbidrag
WHERE beregningsgrundlag_oere IS NULL"""

KEYED = "SELECT left(sha256(identitet), 24) AS noegle FROM fundne ORDER BY nr"

# Øre by sender, benefit and month of receipt, of periods that ended at most a month before it. Older periods (late
# reports, the history in a first delivery) predict nothing for the next month.
RECENT = """
SELECT f.kilde, f.enhed, l.ydelse_id, f.modtaget_maaned AS maaned, sum(l.beloeb_oere)::BIGINT AS oere
FROM classified.linje l JOIN raw.fil f USING (fil_id)
WHERE f.modtaget_maaned IN ($before, $month) AND NOT f.dublet AND l.art = 'I' AND l.regel IS NULL
      AND l.periode_slut >= f.modtaget_maaned - INTERVAL 1 MONTH
GROUP BY ALL"""

ACCEPTED = "SELECT genstand, begrundelse FROM kontrol.accept WHERE maaned = $month AND regel = 'FIL-006'"

NOTICED = "SELECT regel, hvad, kilde, vaerdi FROM kontrol.bemaerket WHERE maaned = $month"

# The stops (`ACCEPTEREDE`) that an operator let pass, with sender and amount if the stop is a line.
PASSED = f"""
SELECT a.regel, a.genstand, a.begrundelse, f.kilde, f.enhed, l.beloeb_oere
FROM (SELECT *, split_part(genstand, ':', 1) AS fil, TRY_CAST(split_part(genstand, ':', 2) AS BIGINT) AS linje
    FROM kontrol.accept WHERE maaned = $month AND regel IN {ACCEPTEREDE}) a
LEFT JOIN raw.fil f ON f.filnavn = a.fil
LEFT JOIN classified.linje l ON l.fil_id = f.fil_id AND l.linje = a.linje
    AND l.fil_id IN (SELECT fil_id FROM raw.fil WHERE kendt_fra = $month)
ORDER BY a.regel, a.genstand"""

NOT_USED = "SELECT fil_id, linje, status, regel, trukket FROM classified.dom"

DOUBTED = """
SELECT fil_id, linje, regel FROM (
    SELECT fil_id, linje, 'EI-006' AS regel FROM classified.linje WHERE uventet_indkomst
    UNION ALL
    SELECT fil_id, linje, 'EI-007' AS regel FROM classified.linje WHERE uden_for_gyldighed)
SEMI JOIN classified.grundlag USING (fil_id)"""

# Joined to lines (fil_id, linje), keeps the used ones: lines of judged files without a row in `classified.dom`.
ONLY_USED = "SEMI JOIN classified.grundlag USING (fil_id) ANTI JOIN classified.dom USING (fil_id, linje)"
USED = f"SELECT * FROM tvivl {ONLY_USED}"

NAMED = "SELECT b.*, f.filnavn AS fil, f.kilde, f.enhed FROM brud b JOIN raw.fil f USING (fil_id)"

LINES = """
SELECT b.regel, b.linje, b.fil, b.kilde, b.enhed, l.art, l.borger_id, l.ydelse_id, l.konto,
       l.indberetning_id, l.reference_id, l.periode_start, l.periode_slut, l.beloeb_oere, i.Kommunekode,
       i.Loenperiode_start, i.Loenperiode_slut, i.Indkomsttype, i.Indtaegtsart, i.Felt0098, i.Felt0114,
       i.Felt0115, i.udfyldt, i.ulaeselig
FROM brud b
JOIN classified.linje l ON l.fil_id = b.fil_id AND l.linje = b.linje AND l.fil_id IN ({filer})
JOIN raw.indberetning i ON i.fil_id = b.fil_id AND i.linje = b.linje AND i.fil_id IN ({filer})"""

AIMS = """
SELECT b.fil, b.linje, l.reference_id, l.pligt_se
FROM brud b JOIN classified.linje l ON l.fil_id = b.fil_id AND l.linje = b.linje AND l.fil_id IN ({filer})"""

# One row per waiting reversal whose report is received; `samme` is true if the same payer sent it.
THERE = """
SELECT v.fil, v.linje, bool_or(l.pligt_se = v.pligt_se) AS samme
FROM venter v JOIN classified.linje l ON l.indberetning_id = v.reference_id
SEMI JOIN classified.grundlag g ON g.fil_id = l.fil_id
WHERE l.art = 'I' GROUP BY v.fil, v.linje"""

ALL_ROWS = "refusion.borger_uge_ydelse t"


def over_bound(rows: str) -> str:
    """SQL: the weeks of a person with more of a benefit than its bound (`graenser`), among `rows` (named t).

    A municipality has at most two rows a week, one per month, so one of them exceeds half the bound. Only a week that
    several municipalities paid has more rows. The query sums the weeks of both kinds.
    """
    return f"""WITH sete AS (SELECT t.borger_id, t.uge, t.ydelse_id, t.kommunekode, t.beloeb_oere FROM {rows}
        ), flyttet AS (
            SELECT borger_id FROM sete GROUP BY borger_id HAVING min(kommunekode) <> max(kommunekode)
        ), kandidat AS (
            SELECT borger_id, uge, ydelse_id FROM sete JOIN graenser USING (ydelse_id)
            WHERE 2 * beloeb_oere > graense_oere
            UNION
            SELECT borger_id, uge, ydelse_id FROM sete SEMI JOIN flyttet USING (borger_id)
            GROUP BY borger_id, uge, ydelse_id HAVING min(kommunekode) <> max(kommunekode)
        ), valgt AS (
            SELECT * FROM sete SEMI JOIN kandidat USING (borger_id, uge, ydelse_id)
        )
        SELECT borger_id, uge, ydelse_id, any_value(graense_oere) AS graense_oere,
               sum(beloeb_oere)::BIGINT AS beloeb_oere, arg_max(kommunekode, (beloeb_oere, kommunekode)) AS kommunekode
        FROM valgt JOIN graenser USING (ydelse_id)
        GROUP BY borger_id, uge, ydelse_id HAVING sum(beloeb_oere) > any_value(graense_oere)"""


# In a week without residence, all money of a benefit is in `refusion.uden_kommune`.
OVER_BOUND_HOMELESS = """
SELECT borger_id, uge, ydelse_id, any_value(graense_oere) AS graense_oere, sum(beloeb_oere)::BIGINT AS beloeb_oere,
       NULL::VARCHAR AS kommunekode
FROM refusion.uden_kommune JOIN graenser USING (ydelse_id)
GROUP BY borger_id, uge, ydelse_id HAVING sum(beloeb_oere) > any_value(graense_oere)"""

SEVERAL_PAYERS = """
SELECT borger_id, ydelse_id FROM classified.krav WHERE beloeb_oere > 0
GROUP BY borger_id, ydelse_id HAVING min(pligt_se) <> max(pligt_se)"""

# Two claims that share days both end on or after the first shared day. So every new pair is among the claims that end
# on or after the first day of a change.
RECENTLY_SEVERAL = """
SELECT borger_id, ydelse_id FROM {claims} WHERE beloeb_oere > 0
GROUP BY borger_id, ydelse_id HAVING min(pligt_se) <> max(pligt_se)"""

FRESHLY_SEVERAL = """
WITH frisk AS (
    SELECT l.borger_id, l.ydelse_id, min(l.periode_start) AS fra FROM classified.linje l
    JOIN raw.fil f ON f.fil_id = l.fil_id AND f.kendt_fra = $month
    WHERE l.art = 'I' AND l.regel IS NULL GROUP BY l.borger_id, l.ydelse_id
)
SELECT k.borger_id, k.ydelse_id FROM classified.krav k
JOIN frisk a ON k.borger_id = a.borger_id AND k.ydelse_id = a.ydelse_id AND k.periode_slut >= a.fra
WHERE k.beloeb_oere > 0 AND k.periode_slut >= (SELECT min(fra) FROM frisk)
GROUP BY k.borger_id, k.ydelse_id HAVING min(k.pligt_se) <> max(k.pligt_se)"""

# A clump: claims of a person and benefit chained by shared days, whoever pays. Gives the claims of clumps with two
# payers.
CLUMPS = """
WITH ordnet AS (
    SELECT *, row_number() OVER orden AS nr, max(periode_slut) OVER (
        orden ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS naaet
    FROM classified.krav SEMI JOIN kandidat USING (borger_id, ydelse_id) WHERE beloeb_oere > 0
    WINDOW orden AS (PARTITION BY borger_id, ydelse_id
        ORDER BY periode_start, periode_slut, pligt_se, konto, kommunekode_betaler)
), klumpet AS (
    SELECT *, count(*) FILTER (naaet IS NULL OR periode_start > naaet) OVER (
        PARTITION BY borger_id, ydelse_id ORDER BY nr ROWS UNBOUNDED PRECEDING) AS klump
    FROM ordnet
)
SELECT * EXCLUDE (nr, naaet, antal_raekker) FROM klumpet
QUALIFY min(pligt_se) OVER (PARTITION BY borger_id, ydelse_id, klump)
     <> max(pligt_se) OVER (PARTITION BY borger_id, ydelse_id, klump)
ORDER BY ALL"""

# The lines about the persons in `klumper` that run `$month` is the first to know.
FRESH = f"""
SELECT l.fil_id, l.linje, {", ".join(f"l.{name}" for name in CLAIM)} FROM classified.linje l
JOIN raw.fil f ON f.fil_id = l.fil_id AND f.kendt_fra = $month
SEMI JOIN klumper k ON k.borger_id = l.borger_id"""

# The residence on a day: the stay with the latest start among those that cover the day, else among all stays.
HOMES = f"""
SELECT s.borger_id, s.dag, arg_max(r.kommunekode, (
    coalesce(s.dag BETWEEN r.bopael_start AND coalesce(r.bopael_slut, DATE '9999-12-31'), false), r.bopael_start,
    coalesce(r.bopael_slut, DATE '9999-12-31'), r.kommunekode)) AS hjem
FROM soegte s JOIN identitet.borger b USING (borger_id) JOIN raw.bopael r ON r.cpr = b.cpr
WHERE r.modtaget_maaned = $snapshot AND {among("r.kommunekode", "koder")}
GROUP BY s.borger_id, s.dag"""


def with_frame(session: Session, name: str, frame: pl.DataFrame, query: str, **parameters: object) -> pl.DataFrame:
    """The rows of a query that also reads `frame` under the name `name`."""
    with session.lending(name, frame):
        return session.frame(query, **parameters)


def keys(session: Session, identities: pl.Series) -> pl.DataFrame:
    """The key of each finding (`noegle`), the same in every run that finds it, in their order."""
    return with_frame(session, "fundne", identities.alias("identitet").to_frame().with_row_index("nr"), KEYED)


def recent(session: Session, month: date) -> pl.DataFrame:
    """One row per sender, benefit and month (`month` and the one before): øre of periods then recent (`RECENT`)."""
    return session.frame(RECENT, month=month, before=next_month(month, -1))


def expected(session: Session, month: date) -> pl.DataFrame:
    """One row per sender of the month before: øre of recent periods, and the reason if its absence is accepted."""
    then = recent(session, month).filter(pl.col("maaned") < month).group_by("kilde", "enhed").agg(pl.col("oere").sum())
    accepted = session.frame(ACCEPTED, month=month)
    sender = pl.concat_str("kilde", "enhed", separator="-")
    return then.with_columns(genstand=sender).join(accepted, on="genstand", how="left").drop("genstand")


def marked(session: Session) -> pl.DataFrame:
    """One row per line and rule that it breaks or that warns of it: fil_id, linje, regel, fil, kilde, enhed."""
    others = session.frame(NOT_USED)
    waits = pl.col("status") == VENTER
    broken = others.filter(waits | ((pl.col("status") == KARANTAENE) & ~pl.col("trukket"))).select(
        "fil_id", "linje", regel=pl.when(waits).then(pl.lit("EI-014")).otherwise("regel")
    )
    doubted = session.frame(DOUBTED).join(others, on=["fil_id", "linje"], how="anti")
    return with_frame(session, "brud", pl.concat([broken, doubted]), NAMED)


def lines(session: Session, rules: Rulebook, before: pl.DataFrame | None) -> pl.DataFrame:
    """One finding (`FOUND`) per row of `marked`; those in `before` are reused without reading their lines. Øre."""
    broken = marked(session)
    waiting = _waiting(session, broken)
    told = [] if before is None else [_told_before(broken, before, waiting, rules)]
    fresh = broken if before is None else broken.join(before, on=LINE_KEY, how="anti")
    read = with_frame(session, "brud", fresh, LINES.format(filer=sql_list(fresh["fil_id"])))
    return pl.concat([line_findings(read.join(waiting, on=LINE_KEY, how="left"), rules), *told])


def _waiting(session: Session, broken: pl.DataFrame) -> pl.DataFrame:
    """The waiting reversals whose report is received: regel, fil, linje, and the columns that differ (`mangler`)."""
    mine = broken.filter(regel="EI-014")
    aims = with_frame(session, "brud", mine, AIMS.format(filer=sql_list(mine["fil_id"])))
    there = with_frame(session, "venter", aims, THERE)
    told = pl.when("samme").then(pl.lit(OTHER_PERSON)).otherwise(pl.lit(ANOTHERS))
    return there.select("fil", "linje", regel=pl.lit("EI-014"), mangler=told)


def _told_before(broken: pl.DataFrame, before: pl.DataFrame, waiting: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """The findings of lines to reuse from `before`; a national one without its municipality (`_addressed`).

    `felt` of EI-014 is set anew: since then another payer may have sent the report.
    """
    again = before.join(broken.select(LINE_KEY), on=LINE_KEY, how="semi").join(waiting, on=LINE_KEY, how="left")
    again = again.with_columns(felt=pl.when(regel="EI-014").then("mangler").otherwise("felt"))
    municipal = pl.col("kilde").is_in([k.id for k in rules.kilder if k.art == "kommunal"])
    return found(again, pl.col("regel"), ["fil", "linje"], kommunekode=pl.when(municipal).then(pl.col("kommunekode")))


def odd_numbers(session: Session) -> pl.DataFrame:
    """One row per person (borger_id) with a claim in `classified.krav` and a CPR number that fails modulus 11."""
    borger = session.frame("SELECT borger_id, cpr FROM identitet.borger")
    odd = borger.filter(fails_modulus_11(pl.col("cpr"))).select("borger_id")
    return with_frame(session, "soegte", odd, "SELECT * FROM soegte SEMI JOIN classified.krav USING (borger_id)")


def large_weeks(session: Session, rules: Rulebook, before: Before | None) -> pl.DataFrame:
    """Weeks of a person with more of a benefit than its bound: borger_id, uge, ydelse_id, kommunekode, øre, bound.

    `kommunekode` is the municipality that pays; null in a week without residence.
    """
    bounds = [(y, rules.graense_for("ugebeloeb_oere", y)) for y in rules.ydelse_ids]
    graenser = pl.DataFrame(bounds, schema={"ydelse_id": pl.String, "graense_oere": pl.Int64}, orient="row")
    homeless = with_frame(session, "graenser", graenser, OVER_BOUND_HOMELESS)
    if before is None:
        paid = with_frame(session, "graenser", graenser, over_bound(ALL_ROWS))
        return pl.concat([paid, homeless])
    rows = since_change(session, "refusion.borger_uge_ydelse", "uge", before.people)
    recent = with_frame(session, "graenser", graenser, over_bound(rows))
    known = before.rows.filter(regel="EI-016").select(
        "borger_id", "ydelse_id", "kommunekode", "beloeb_oere", uge=pl.col("uge_fra")
    )
    week = ["borger_id", "uge", "ydelse_id"]
    unchanged = f"""SELECT f.* FROM foer f LEFT JOIN {before.people} a USING (borger_id)
        WHERE a.fra_uge IS NULL OR f.uge < a.fra_uge"""
    kept = with_frame(session, "foer", known, unchanged).join(graenser, on="ydelse_id").join(homeless, week, how="anti")
    return pl.concat([recent, kept.select(recent.columns), homeless])


def stretches(session: Session, rules: Rulebook, month: date, before: Before | None) -> pl.DataFrame:
    """One row per run of days that two payers pay the same benefit for (`Dobbelt`). Øre."""
    if before is None:
        return _examined(session, rules, month, session.frame(SEVERAL_PAYERS))
    key = ["borger_id", "ydelse_id"]
    known = before.rows.filter(regel="EI-009").select(key)
    claims = since_change(session, "classified.krav", "periode_slut", before.people)
    return _examined(
        session, rules, month, pl.concat([session.frame(RECENTLY_SEVERAL.format(claims=claims)), known]).unique()
    )


def new_stretches(session: Session, rules: Rulebook, month: date) -> pl.DataFrame:
    """The runs of days (`Dobbelt`) in which a claim has lines first known in run `month`. Øre."""
    return _examined(session, rules, month, session.frame(FRESHLY_SEVERAL, month=month)).filter("ny")


def _examined(session: Session, rules: Rulebook, month: date, candidates: pl.DataFrame) -> pl.DataFrame:
    """The runs of days that two payers pay for among `candidates` (borger_id, ydelse_id). Øre."""
    claims = with_frame(session, "kandidat", candidates, CLUMPS)
    fresh = with_frame(session, "klumper", claims.select("borger_id").unique(), FRESH, month=month)
    used = with_frame(session, "tvivl", fresh, USED).select(CLAIM).unique().with_columns(ny=pl.lit(value=True))
    marked = claims.join(used, on=CLAIM, how="left", nulls_equal=True, maintain_order="left")
    return double_stretches(marked.with_columns(pl.col("ny").fill_null(value=False)), rules)


def homes(session: Session, place: Place, month: date, wanted: pl.DataFrame) -> pl.DataFrame:
    """One row per wanted person and day (null: any day) with a known residence: borger_id, dag, hjem (kommunekode)."""
    snapshot = newest_snapshot(session, month)
    return with_frame(session, "soegte", wanted, HOMES, snapshot=snapshot, koder=place.rules.koder)
