"""Closed: what a run left, as sums and hashes, so that a later change of it is seen."""

from datetime import date
from hashlib import sha256
from typing import Any

from refusion_assets.assets.gate import LUKKET
from refusion_assets.store.batches import ranges
from refusion_assets.store.session import Session
from refusion_assets.store.tables import TABLES

ROWS_PER_BLOCK = 1_000_000
# The rows of a run, and the opening (Å) of the municipalities that it was the first to settle.
OF_RUN = """(koersel = $n OR (koersel = 0 AND kommunekode IN (
    SELECT kommunekode FROM opgoerelse.kommune GROUP BY 1 HAVING min(koersel) = $n)))"""
# Per municipality: rows and sums of the ledger that are not those the run counted when it settled.
OTHER_SUMS = """
SELECT kommunekode FROM (
    SELECT kommunekode, count(*) AS raekker, sum(refusion_oere)::BIGINT AS refusion,
           sum(medfinansiering_oere)::BIGINT AS medfinansiering
    FROM opgoerelse.postering WHERE koersel = $n GROUP BY 1) p
FULL JOIN (FROM opgoerelse.kommune WHERE koersel = $n) k USING (kommunekode)
WHERE (coalesce(p.raekker, 0), coalesce(refusion, 0), coalesce(medfinansiering, 0))
    IS DISTINCT FROM (k.raekker, k.refusion_oere, k.medfinansiering_oere) ORDER BY 1"""


def other_sums(session: Session, number: int) -> list[str]:
    """The municipalities whose ledger rows of a run no longer have the number and sums that it settled with."""
    return session.frame(OTHER_SUMS, n=number)["kommunekode"].to_list()


def closed_runs(session: Session, after: int = 0, through: int | None = None) -> list[dict[str, Any]]:
    """The closed runs after a number, in order: run, month, rules, sum of the files, and hashes (`Kaede`)."""
    runs = session.frame(
        """SELECT koersel, maaned, regelversion, filsum FROM opgoerelse.koersel
        WHERE status = $s AND koersel > $n AND koersel <= coalesce($to, koersel) ORDER BY 1""",
        s=LUKKET,
        n=after,
        to=through,
    ).rows(named=True)
    return [run | _hashes(session, run["koersel"], run["maaned"]) for run in runs]


def _hashes(session: Session, number: int, month: date) -> dict[str, str]:
    """The hashes of a run's ledger, with the opening of those it settled first, and of its known files."""
    known = session.frame("SELECT sti, sha256 FROM opgoerelse.kendt_fil WHERE maaned = $m ORDER BY 1", m=month)
    told = sha256()
    for table in ("opgoerelse.postering", "opgoerelse.foraeldet"):
        for low, high in _blocks(session, table, number):
            told.update(_rows_hash(session, table, number, low, high).encode())
    counted = session.frame("FROM opgoerelse.kommune WHERE koersel = $n ORDER BY kommunekode", n=number)
    told.update(counted.write_csv().encode())
    return {"kladde": told.hexdigest(), "raafiler": sha256(known.write_csv().encode()).hexdigest()}


def _blocks(session: Session, table: str, number: int) -> list[tuple[int, int]]:
    """The first and last person of each block of a run's rows: a country's opening is larger than the memory."""
    each = f"SELECT borger_id, count(*) AS antal FROM {table} WHERE {OF_RUN} GROUP BY 1 ORDER BY 1"
    people = session.frame(each, n=number)
    return list(ranges(people["borger_id"], people["antal"], ROWS_PER_BLOCK))


def _rows_hash(session: Session, table: str, number: int, low: int, high: int) -> str:
    """The hash of some people's rows of a run, each with the CPR number, as text; the same in every DuckDB and order.

    A surrogate that has come to mean another person changes it.
    """
    row = ", ".join(f"coalesce({name}::VARCHAR, '')" for name in (*TABLES[table].to_schema().columns, "cpr"))
    return str(session.value(
        f"""SELECT sha256(string_agg(h, '' ORDER BY borger_id)) FROM (
            SELECT borger_id, sha256(string_agg(r, chr(10) ORDER BY r)) AS h FROM (
                SELECT borger_id, concat_ws('|', {row}) AS r FROM {table} LEFT JOIN identitet.borger USING (borger_id)
                WHERE {OF_RUN} AND borger_id BETWEEN $low AND $high) GROUP BY 1)""",
        n=number, low=low, high=high,
    ))  # fmt: skip
