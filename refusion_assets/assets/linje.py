"""Linje: every delivered line judged by itself, and its person given a number."""

from collections.abc import Callable

import polars as pl

from refusion_assets.assets.change import ranges
from refusion_assets.context import Place
from refusion_assets.domain.classified import Linje, judge
from refusion_assets.domain.regeltid import judgement_version
from refusion_assets.domain.skrift import plural
from refusion_assets.warehouse import Session

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
