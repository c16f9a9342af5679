"""Krav: the claims that the standing lines make, and whom they change."""

import polars as pl

from refusion_assets.assets.change import ranges
from refusion_assets.assets.dom import COLUMNS, Scope, put_verdicts
from refusion_assets.domain.krav import BRUGT, CLAIM, Krav, claims, spoil
from refusion_assets.warehouse import Session

CLAIMS_PER_RANGE = 4_000_000
KEY = ", ".join(CLAIM)


def same(left: str, right: str, names: list[str]) -> str:
    """SQL that is true where the columns are alike in both, empty ones too."""
    return " AND ".join(f"{left}.{name} IS NOT DISTINCT FROM {right}.{name}" for name in names)


def make_claims(session: Session, scope: Scope) -> None:
    """The chosen claims made anew (`classified.krav`), with EI-010, and whom it changes (`classified.aendret`)."""
    session.run(f"""CREATE OR REPLACE TEMP TABLE linje_faldet AS
        SELECT fil_id, linje, coalesce(regel = 'EI-010', false) AS under
        FROM classified.dom WHERE status <> '{BRUGT}'""")
    everybody = """(SELECT borger_id FROM classified.linje WHERE art = 'I' AND regel IS NULL
        UNION ALL SELECT borger_id FROM classified.krav)"""
    source = everybody if scope.everything else "beroerte_krav"
    people = session.frame(f"SELECT borger_id, count(*) AS antal FROM {source} GROUP BY 1 ORDER BY 1")
    for low, high in ranges(people["borger_id"], people["antal"], CLAIMS_PER_RANGE):
        chosen = f"WHERE t.borger_id BETWEEN {low} AND {high}"
        if not scope.everything:
            chosen = f"SEMI JOIN beroerte_krav b ON {same('t', 'b', CLAIM)} {chosen}"
        session.run(f"CREATE OR REPLACE TEMP TABLE krav_foer AS SELECT t.* FROM classified.krav t {chosen}")
        session.run(f"DELETE FROM classified.krav t USING krav_foer f WHERE {same('t', 'f', CLAIM)}")
        _sum_up(session, chosen)
        _tell_changes(session, f"(SELECT t.* FROM classified.krav t {chosen})")


def _sum_up(session: Session, chosen: str) -> None:
    """The claims of some people.

    A line that is alone in its claim, and not below zero, is the claim; the lines of the others are summed by
    the kernel, so no claim is made twice. Claims are told apart by hash: two with the same go to the kernel.
    """
    standing = f"""(SELECT {COLUMNS.replace("l.", "t.")}, coalesce(f.under, false) AS under, hash({KEY}) AS noegle
        FROM (SELECT t.* FROM classified.linje t {chosen} AND t.art = 'I' AND t.regel IS NULL) t
        SEMI JOIN maalet USING (fil_id) LEFT JOIN linje_faldet f ON f.fil_id = t.fil_id AND f.linje = t.linje
        WHERE f.under IS NOT false)"""
    session.run(f"""CREATE OR REPLACE TEMP TABLE krav_samlet AS SELECT noegle FROM {standing}
        GROUP BY noegle HAVING count(*) > 1 OR min(beloeb_oere) < 0 OR bool_or(under)""")
    names = list(Krav.to_schema().columns)
    alone = ", ".join("1 AS antal_raekker" if name == "antal_raekker" else name for name in names)
    session.run(f"""INSERT INTO classified.krav ({", ".join(names)})
        SELECT {alone} FROM {standing} ANTI JOIN krav_samlet USING (noegle) ORDER BY {KEY}""")
    rows = session.frame(f"""SELECT t.*, d.status, d.regel AS dom_regel, d.trukket
        FROM {standing} t SEMI JOIN krav_samlet USING (noegle)
        JOIN classified.dom d ON d.fil_id = t.fil_id AND d.linje = t.linje""")
    krav, spoiled = claims(rows)
    put_verdicts(session, _reconsidered(rows, spoiled))
    session.insert("classified.krav", krav)


def _reconsidered(rows: pl.DataFrame, spoiled: pl.DataFrame) -> pl.DataFrame:
    """The verdicts among `rows` that EI-010 changes: newly spoiled, or spoiled no longer."""
    was = rows.select("fil_id", "linje", "status", "trukket", regel="dom_regel")
    free = was.with_columns(status=pl.lit(BRUGT), regel=pl.lit(None, dtype=pl.String))
    now = spoil(free, spoiled)
    return now.join(was, on=["fil_id", "linje", "status", "regel"], how="anti", nulls_equal=True)


def _tell_changes(session: Session, now: str) -> None:
    """The persons whose claims differ, and the first day of a claim that does (`classified.aendret`)."""
    alike = same("t", "a", [*CLAIM, "ydelse_id", "beloeb_oere"])
    session.run(f"""INSERT INTO classified.aendret SELECT borger_id, min(periode_start) FROM (
            SELECT t.borger_id, t.periode_start FROM krav_foer t ANTI JOIN {now} a ON {alike}
            UNION ALL SELECT t.borger_id, t.periode_start FROM {now} t ANTI JOIN krav_foer a ON {alike})
        GROUP BY borger_id""")
