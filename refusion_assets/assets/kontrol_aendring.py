"""Kontrol of the month against the one before: which benefit moved in which municipality, and what moved it."""

from collections.abc import Iterator

import polars as pl

from refusion_assets.assets.wiring import Asked, first_run
from refusion_assets.domain.kontrol import MOST_NAMED, Outcome, causes, kroner_text
from refusion_assets.domain.opgoerelse import run_number
from refusion_assets.domain.skrift import plural
from refusion_assets.domain.weeks import next_month

CAUSES = {
    "flere_borgere": "antal borgere",
    "stoerre_beloeb": "beløb pr. borger",
    "anden_procent": "procenter",
}

# The month's own rows of this run and of the last: corrections of older months say nothing of the month.
MONTHS = """
WITH m AS (
    SELECT kommunekode, ydelse_id, koersel, sum(refusion_oere + medfinansiering_oere)::BIGINT AS oere,
           sum(beloeb_oere)::BIGINT AS beloeb, count(DISTINCT borger_id) AS borgere
    FROM opgoerelse.postering WHERE raekketype = 'N' AND maaned = CASE koersel WHEN $n THEN $month ELSE $before END
         AND koersel IN ($n, $n - 1) AND kommunekode IN (SELECT kommunekode FROM opgoerelse.kommune WHERE koersel = $n)
    GROUP BY 1, 2, 3)
SELECT kommunekode, ydelse_id, coalesce(f.oere, 0) AS foer, coalesce(n.oere, 0) AS nu,
       coalesce(f.borgere, 0) AS borgere_foer, coalesce(n.borgere, 0) AS borgere,
       coalesce(f.beloeb, 0) AS beloeb_foer, coalesce(n.beloeb, 0) AS beloeb
FROM (SELECT * FROM m WHERE koersel = $n) n FULL JOIN (SELECT * FROM m WHERE koersel = $n - 1) f
USING (kommunekode, ydelse_id)
ORDER BY kommunekode, ydelse_id"""


def aendring_mod_sidste_maaned(asked: Asked) -> Outcome:
    """No benefit of a municipality has moved outside the band since last month; else the three biggest causes."""
    rules, number = asked.place.rules, run_number(asked.month, asked.place.rules)
    band, least = rules.graense("aendring_procent"), rules.graense("aendring_mindst_oere")
    if first_run(asked.session, asked.month):
        return Outcome(True, "Første kørsel: der er ingen måned at sammenligne med.")
    rows = asked.session.frame(MONTHS, n=number, month=asked.month, before=next_month(asked.month, -1))
    change = (pl.col("nu") - pl.col("foer")).abs()
    moved = rows.filter((change >= least) & (change * 100 > band * pl.col("foer").abs()))
    tal = {f"{name}_oere": int(rows[name].sum()) for name in ("foer", "nu")}
    if moved.is_empty():
        return Outcome(True, f"Ingen ydelse i nogen kommune har flyttet sig mere end {band} pct.", tal=tal)
    return Outcome(
        False,
        f"{plural(moved.height, 'ydelse i en kommune', 'ydelser i kommuner')} har flyttet sig mere end {band} pct. "
        "De største årsager: "
        f"{'; '.join(_biggest(causes(moved)))}",
        "Spørg kommunen, om tallet er ventet, før måneden lukkes.",
        moved.height,
        int((moved["nu"] - moved["foer"]).sum()),
        tal,
    )


def _biggest(moved: pl.DataFrame) -> Iterator[str]:
    """The biggest causes in words: what, where, how much, and the people before and now."""
    parts = moved.unpivot(
        on=list(CAUSES), index=["kommunekode", "ydelse_id", "borgere_foer", "borgere"],
        variable_name="aarsag", value_name="oere",
    ).with_columns(stoerrelse=pl.col("oere").abs())  # fmt: skip
    order = ["stoerrelse", "kommunekode", "ydelse_id", "aarsag"]
    for row in parts.sort(order, descending=[True, False, False, False]).head(MOST_NAMED).iter_rows(named=True):
        people = f" ({row['borgere_foer']} -> {row['borgere']})" if row["aarsag"] == "flere_borgere" else ""
        where = f"{row['ydelse_id']} i {row['kommunekode']}"
        yield f"{where}: {CAUSES[row['aarsag']]}{people} {kroner_text(row['oere'])}"
