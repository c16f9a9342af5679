"""Plausible: a person's week or a municipality's month that is beyond any doubt too large, until it is let pass."""

from collections.abc import Sequence
from datetime import date

import polars as pl

from refusion_assets.assets.checks.received import large_lines_used, line_bounds
from refusion_assets.assets.findings import queries
from refusion_assets.assets.gate import Asked
from refusion_assets.assets.raw.let_pass import BY_MONTH, BY_WEEK, as_accepted, decided
from refusion_assets.domain.findings.outcome import MOST_NAMED, Outcome, judged
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Fault
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.place import Place
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Session, among

MONTH_BOUNDS = ("kommuneydelse_oere_pr_indbygger", "kommune_oere_pr_indbygger", "kommune_gange_middel")
WHOLE = "alle"
RUNS_LOOKED_AT = 12
# A week of a benefit has two rows for each municipality that pays it: more than two municipalities never pay one.
MOST_ROWS = 4

# DuckDB knows the largest amount of each part of the table, and so reads none of the parts without a candidate.
CANDIDATES = "SELECT DISTINCT borger_id FROM refusion.borger_uge_ydelse WHERE beloeb_oere > $least"
WEEKS = """
SELECT borger_id, uge, ydelse_id, any_value(graense_oere) AS graense_oere, sum(beloeb_oere)::BIGINT AS beloeb_oere
FROM refusion.borger_uge_ydelse JOIN graenser USING (ydelse_id)
WHERE borger_id IN ({borgere}) GROUP BY ALL HAVING sum(beloeb_oere) > any_value(graense_oere)"""

# The used lines of a week above its bound; `stor`: the line is above the bound of a line, and EI-017 asks about it.
OF_WEEKS = f"""
SELECT u.*, f.filnavn, l.linje, l.beloeb_oere AS linje_oere, f.kendt_fra = $month AS ny,
       l.beloeb_oere > g.linje_graense_oere AS stor
FROM uger u JOIN classified.linje l ON l.borger_id = u.borger_id AND l.ydelse_id = u.ydelse_id
    AND l.periode_start < u.uge + 7 AND l.periode_slut >= u.uge
JOIN raw.fil f USING (fil_id) JOIN linjegraenser g ON g.ydelse_id = u.ydelse_id {queries.ONLY_USED}
WHERE l.art = 'I'"""

# The net of a run by municipality and benefit. Corrections take back as much as they give, so only their net is here.
SETTLED = f"""
SELECT kommunekode, ydelse_id, sum(refusion_oere + medfinansiering_oere)::BIGINT AS oere
FROM opgoerelse.postering WHERE koersel = $number AND {among("kommunekode", "koder")} GROUP BY ALL"""
EARLIER = f"""
SELECT kommunekode, ydelse_id, sum(abs(oere))::BIGINT AS foer FROM (
    SELECT kommunekode, ydelse_id, koersel, sum(refusion_oere + medfinansiering_oere)::BIGINT AS oere
    FROM opgoerelse.postering WHERE koersel BETWEEN $first AND $last AND {among("kommunekode", "koder")} GROUP BY ALL
) GROUP BY ALL"""
RUNS = f"""
SELECT kommunekode, count(*) AS koersler FROM opgoerelse.kommune
WHERE koersel BETWEEN $first AND $last AND {among("kommunekode", "koder")} GROUP BY ALL"""


def large_weeks(session: Session, rules: Rulebook, month: date) -> list[Fault]:
    """EI-020 of each line that is new in run `month` in a week of a person above its benefit's bound. Øre.

    One fault per person, benefit and week names the largest new line. A week with a line above the bound of a line is
    left out, as EI-017 asks about it; so is one without settlement. No bound in the rules, no fault.
    """
    if not rules.has_bounds("ugestop_oere"):
        return []
    rows = [(ydelse, rules.graense_for("ugestop_oere", ydelse)) for ydelse in rules.ydelse_ids]
    graenser = pl.DataFrame(rows, schema={"ydelse_id": pl.String, "graense_oere": pl.Int64}, orient="row")
    least = min(graense for _, graense in rows) // MOST_ROWS
    people = session.frame(CANDIDATES, least=least)["borger_id"]
    if people.is_empty():
        return []
    uger = queries.with_frame(session, "graenser", graenser, WEEKS.format(borgere=sql_list(people)))
    if uger.is_empty():
        return []
    of_lines = line_bounds(rules).rename({"graense_oere": "linje_graense_oere"})
    with session.lending("linjegraenser", of_lines):
        lines = queries.with_frame(session, "uger", uger, OF_WEEKS, month=month)
    week = ["borger_id", "ydelse_id", "uge"]
    asked = lines.filter(~pl.col("stor").any().over(week)).filter("ny")
    largest = asked.sort("linje_oere", "filnavn", "linje", descending=[True, False, False]).unique(week, keep="first")
    once = largest.sort("beloeb_oere", "uge", descending=[True, False]).unique(["filnavn", "linje"], keep="first")
    return [
        Fault(
            BY_WEEK,
            f"{row['filnavn']}:{row['linje']}",
            f"{row['ydelse_id']} er {kroner_text(row['beloeb_oere'])} for een borger i ugen fra {row['uge']}, over "
            f"grænsen på {kroner_text(row['graense_oere'])}, og linjen er den største nye i ugen",
            row["beloeb_oere"],
        )
        for row in once.sort("filnavn", "linje").iter_rows(named=True)
    ]


def large_months(session: Session, place: Place, month: date) -> list[Fault]:
    """OPG-001 of each municipality whose month, or one of its benefits, is above its bounds. Net of the run, øre.

    Above means more for each inhabitant than the bound, and more than so many times the mean of its runs of the year
    before; a municipality without them has only the first. A month far below zero is judged alike. Lines above the
    bound of a line raise the bounds, as EI-017 asks about them. No bounds in the rules, no fault.
    """
    rules = place.rules
    if not rules.has_bounds(*MONTH_BOUNDS):
        return []
    number = run_number(month, rules)
    rows = session.frame(SETTLED, number=number, koder=rules.koder)
    people = pl.DataFrame([(k.kommunekode, k.indbyggertal) for k in rules.kommuner],
                          schema={"kommunekode": pl.String, "indbyggere": pl.Int64}, orient="row")  # fmt: skip
    bound = pl.when(pl.col("ydelse_id") == WHOLE).then(rules.graense("kommune_oere_pr_indbygger")).otherwise(
        rules.graense("kommuneydelse_oere_pr_indbygger")
    )  # fmt: skip
    over = (
        _with_whole(rows, "oere").join(people, on="kommunekode").with_columns(graense_oere=bound * pl.col("indbyggere"))
    )
    over = over.filter(pl.col("oere").abs() > pl.col("graense_oere"))
    if over.is_empty():
        return []
    asked_of_lines = sum(fault.beloeb_oere for fault in large_lines_used(session, rules, month))
    over = over.with_columns(pl.col("graense_oere") + asked_of_lines).filter(
        pl.col("oere").abs() > pl.col("graense_oere")
    )
    span = {
        "first": max(1, number - RUNS_LOOKED_AT),
        "last": number - 1,
        "koder": over["kommunekode"].unique().to_list(),
    }
    before, runs = _with_whole(session.frame(EARLIER, **span), "foer"), session.frame(RUNS, **span)
    known = over.join(before, on=["kommunekode", "ydelse_id"], how="left").join(runs, on="kommunekode", how="left")
    known = known.with_columns(pl.col("foer", "koersler").fill_null(0))
    far = pl.col("oere").abs() * pl.col("koersler") > rules.graense("kommune_gange_middel") * pl.col("foer")
    found = known.filter((pl.col("koersler") == 0) | far)
    by_benefit = found.filter(pl.col("ydelse_id") != WHOLE)
    whole = found.filter(pl.col("ydelse_id") == WHOLE).join(by_benefit, on="kommunekode", how="anti")
    rows = pl.concat([by_benefit, whole]).sort("kommunekode", "ydelse_id")
    return [_month_fault(row, rules) for row in rows.iter_rows(named=True)]


def _with_whole(rows: pl.DataFrame, money: str) -> pl.DataFrame:
    """The rows by municipality and benefit, and one of all benefits (`alle`) with the sum of their sizes."""
    whole = rows.group_by("kommunekode").agg(pl.col(money).abs().sum()).with_columns(ydelse_id=pl.lit(WHOLE))
    return pl.concat([rows, whole.select(rows.columns)])


def _month_fault(row: dict[str, object], rules: Rulebook) -> Fault:
    """The fault of a municipality's month: kommunekode, ydelse_id, oere, graense_oere, foer, koersler."""
    oere, runs, ydelse_id = int(str(row["oere"])), int(str(row["koersler"])), str(row["ydelse_id"])
    navn = rules.kommunenavne[str(row["kommunekode"])]
    what = "i alt" if ydelse_id == WHOLE else ydelse_id
    mean = (
        f" og over {rules.graense('kommune_gange_middel')} gange middel af {plural(runs, 'kørsel', 'kørsler')} før"
        if runs
        else ""
    )
    return Fault(
        BY_MONTH,
        f"{row['kommunekode']}:{ydelse_id}",
        f"{navn} får {kroner_text(oere)} {what} i måneden, over grænsen på "
        f"{kroner_text(int(str(row['graense_oere'])))}{mean}",
        oere,
    )


def stood_before(session: Session, place: Place, month: date) -> list[Fault]:
    """The faults of weeks and months in the last attempt at run `month`, which the next one is asked to let pass."""
    return [*large_weeks(session, place.rules, month), *large_months(session, place, month)]


def uger_er_under_graensen(asked: Asked) -> Outcome:
    """EI-020: no person's week of a benefit is above its bound because of a new line, unless the line is let pass."""
    return _judged(
        asked,
        large_weeks(asked.session, asked.place.rules, asked.month),
        "Ingen borgers uge er over sin ydelses stopgrænse.",
        "Få afsenderen til at tilbageføre linjen eller rette filen",
    )


def kommuner_er_under_graensen(asked: Asked) -> Outcome:
    """OPG-001: no municipality's month, in all or of a benefit, is above its bounds, unless it is let pass."""
    return _judged(
        asked,
        large_months(asked.session, asked.place, asked.month),
        "Ingen kommunes måned er over grænserne.",
        "Find årsagen i månedens nye linjer, og få afsenderen til at rette den, eller hold kommunen tilbage med "
        "--undtagen",
    )


def _judged(asked: Asked, found: Sequence[Fault], yes: str, action: str) -> Outcome:
    """Passed if every fault is let pass; else the largest, and how to mend them or let them pass."""
    passed = decided(asked.session, asked.month)
    standing = [fault for fault in found if (fault.regel, fault.genstand) not in passed]
    standing.sort(key=lambda fault: -abs(fault.beloeb_oere))
    accepted = f" {len(found)} er accepteret." if found else ""
    more = f" (og {len(standing) - MOST_NAMED} mere)" if len(standing) > MOST_NAMED else ""
    options = " ".join(f"--accepter {as_accepted(fault)}" for fault in standing[:MOST_NAMED])
    return judged(
        len(standing),
        f"{yes}{accepted}",
        f"{'; '.join(map(str, standing[:MOST_NAMED]))}{more}.",
        f'{action}; er beløbet rigtigt, så kør refusion koer {asked.month:%Y-%m} {options} --begrundelse "..."',
        oere=sum(fault.beloeb_oere for fault in standing),
        tal={"accepteret": len(found) - len(standing)},
    )
