"""Krav: the claims that the standing lines make, and whom they change."""

from collections.abc import Callable

import polars as pl

from refusion_assets.assets.change import ranges
from refusion_assets.assets.dom import COLUMNS, Scope, put_verdicts
from refusion_assets.domain.krav import BRUGT, CLAIM, Krav, claims, spoil
from refusion_assets.domain.skrift import plural
from refusion_assets.warehouse import Session

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
