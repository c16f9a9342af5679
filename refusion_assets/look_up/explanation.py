"""Understands how one person is looked up in the published copy: a few queries by person, never a whole table."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path

import polars as pl

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.classified import judge
from refusion_assets.domain.elsewhere import ANDRE, is_elsewhere, with_elsewhere
from refusion_assets.domain.forklar.explain import explain, unknown, weeks_of
from refusion_assets.domain.forklar.history import JUDGEMENT, PersonFacts
from refusion_assets.domain.forklar.model import Forklaring, as_json
from refusion_assets.domain.forklar.text import as_text
from refusion_assets.domain.opgoerelse.ledger import Foraeldet, not_taken_back
from refusion_assets.domain.rules.change import judgement_version
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import visible, visible_json
from refusion_assets.levering.sealed import opened
from refusion_assets.look_up.inquiry import Inquiry
from refusion_assets.look_up.trace import LOG, log
from refusion_assets.place import Place, as_written, rules_of_runs
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Session

# The line, its verdict and its file. A reversal of a whole report names no person, and is read only if it took a report
# back. Raw lines are read by a list of their files, so that DuckDB leaves the rest unread.
FILES = """SELECT * EXCLUDE (kendt_fra),
    min(kendt_fra) OVER (PARTITION BY CASE WHEN antal_raekker > 0 THEN sha256 ELSE sti END) AS kendt_fra,
    row_number() OVER (ORDER BY dublet, modtaget_maaned, foerste_modtaget NULLS FIRST, filnavn) AS fil_orden
    FROM raw.fil QUALIFY NOT dublet"""
CLAIMS = "SELECT * FROM classified.krav WHERE borger_id = $borger"
MINE = "SELECT * FROM classified.linje WHERE borger_id = $borger"
POINTING = """SELECT * FROM classified.linje
    WHERE art = 'T' AND reference_id IN (SELECT unnest($ids::VARCHAR[])) AND borger_id IS NULL"""
JUDGED = f"""SELECT m.* EXCLUDE (regel), coalesce(d.status, 'brugt') AS status,
    coalesce(d.trukket, false) AS trukket, d.regel,
    m.regel AS egen_regel, f.filnavn, f.enhed, f.modtaget_maaned, f.kendt_fra, f.fil_orden
    FROM mine m SEMI JOIN classified.grundlag USING (fil_id)
    LEFT JOIN classified.dom d ON d.fil_id = m.fil_id AND d.linje = m.linje
    JOIN ({FILES}) f ON f.fil_id = m.fil_id"""
# A report with a repeated id is judged by every file with the id, also by lines about other persons.
OTHERS = f"""SELECT l.*, f.kendt_fra, f.fil_orden FROM (
        SELECT indberetning_id, fil_id, min(linje) AS linje FROM classified.linje
        WHERE art = 'I' AND indberetning_id IN (SELECT unnest($ids::VARCHAR[])) GROUP BY ALL) o
    JOIN classified.linje l ON l.fil_id = o.fil_id AND l.linje = o.linje
    JOIN ({FILES}) f ON f.fil_id = l.fil_id WHERE l.borger_id IS DISTINCT FROM $borger"""
AS_RECEIVED = """SELECT i.*, f.kilde, f.enhed FROM raw.indberetning i JOIN raw.fil f ON f.fil_id = i.fil_id
    SEMI JOIN vist v ON i.fil_id = v.fil_id AND i.linje = v.linje AND i.fil_id IN ({filer})"""
RAW = """SELECT i.fil_id, i.linje, i.Loenperiode_start, i.Loenperiode_slut, i.Modtaget_tidspunkt, i.Kommunekode,
    i.Indkomsttype, i.Indtaegtsart, i.Felt0098, i.Felt0114, i.Felt0115, i.udfyldt, i.ulaeselig
    FROM raw.indberetning i JOIN vist v ON i.fil_id = v.fil_id AND i.linje = v.linje AND i.fil_id IN ({filer})"""
ROWS = "SELECT * FROM {table} WHERE borger_id = $borger AND maaned = $maaned ORDER BY ALL"
LEDGER = """SELECT * FROM opgoerelse.postering WHERE borger_id = $borger AND maaned = $maaned
    ORDER BY uge, koersel, raekketype DESC, ydelse_id, kommunekode"""
TOO_OLD = """SELECT * FROM opgoerelse.foraeldet WHERE borger_id = $borger AND maaned = $maaned
    ORDER BY uge, koersel, ydelse_id, kommunekode"""
BASES = """SELECT modtaget_maaned, raekke, beregningsgrundlag_oere, loen_oere FROM raw.fleksgrundlag
    WHERE cpr = $cpr AND maaned = $maaned ORDER BY ALL"""
LEFT_OUT = "SELECT count(*) FROM pakke.udeladt WHERE borger_id = $borger AND maaned = $maaned"
STAYS = """SELECT modtaget_maaned, kommunekode, bopael_start, bopael_slut FROM raw.bopael
    WHERE cpr = $cpr AND modtaget_maaned IN (SELECT unnest($maaneder::DATE[])) ORDER BY ALL"""


def look_up(place: Place, cpr: str, maaned: date) -> Forklaring:
    """The explanation of a person's benefit month as of the last run; Stop if nothing is published yet."""
    with place.warehouse.reading() as session:
        beregnet = session.frame("SELECT * FROM refusion.beregnet").rows(named=True)
        if not beregnet:
            raise Stop("der er ingen kørsel at forklare endnu; kør en måned først")
        borger = session.value("SELECT borger_id FROM identitet.borger WHERE cpr = $cpr", cpr=cpr)
        if not isinstance(borger, int):
            return unknown(maaned, beregnet[0]["maaned"], beregnet[0]["regelversion"], place.rules)
        facts = person_facts(session, place, borger, cpr, maaned)
    # A package tells of weeks in other municipalities in benefits of its own.
    more = tuple(sorted({one for part in (facts.krav, facts.linjer) for one in part["ydelse_id"] if is_elsewhere(one)}))
    regler = {version: with_elsewhere(rules, more) for version, rules in facts.regler.items()}
    return explain(replace(facts, regler=regler), maaned, with_elsewhere(place.rules, more))


def person_facts(session: Session, place: Place, borger: int, cpr: str, maaned: date) -> PersonFacts:
    """The warehouse's rows about one person around a month (`PersonFacts`)."""
    beregnet = session.frame("SELECT * FROM refusion.beregnet").row(0, named=True)
    koersler = session.frame("SELECT koersel, maaned, status, regelversion FROM opgoerelse.koersel ORDER BY 1")
    linjer = _lines(session, borger)
    posteringer = session.frame(LEDGER, borger=borger, maaned=maaned)
    regler = rules_of_runs(place, koersler["regelversion"].unique().to_list())
    snapshots = session.frame("SELECT DISTINCT modtaget_maaned FROM raw.register WHERE art = 'bopael' ORDER BY 1")
    maaneder = snapshots["modtaget_maaned"].to_list()
    # A line of each file that shares an id with a report of the person that came second.
    second = linjer.filter(pl.col("regel") == "EI-013")["indberetning_id"].unique().to_list()
    # A copy that an earlier program published has no such table.
    too_old = session.frame(TOO_OLD, borger=borger, maaned=maaned) if session.has("opgoerelse.foraeldet") else None
    return PersonFacts(
        borger_id=borger,
        viden=beregnet["maaned"],
        regelversion=beregnet["regelversion"],
        bopael_maaned=beregnet["bopael_maaned"],
        koersler=koersler,
        forloeb=session.frame("SELECT * FROM duration.forloeb WHERE borger_id = $borger", borger=borger),
        krav=as_written(session, session.frame(CLAIMS, borger=borger)),
        raekker=session.frame(ROWS.format(table="refusion.borger_uge_ydelse"), borger=borger, maaned=maaned),
        over_loft=session.frame(ROWS.format(table="refusion.over_loft"), borger=borger, maaned=maaned),
        fleksbidrag=session.frame(ROWS.format(table="refusion.fleksbidrag"), borger=borger, maaned=maaned),
        grundlag=session.frame(BASES, cpr=cpr, maaned=maaned),
        uden_kommune=session.frame(ROWS.format(table="refusion.uden_kommune"), borger=borger, maaned=maaned),
        posteringer=posteringer,
        foraeldet=Foraeldet.empty() if too_old is None else not_taken_back(too_old),
        linjer=as_written(session, linjer),
        andre=as_written(session, session.frame(OTHERS, ids=second, borger=borger)),
        regler=regler,
        bedoemt=_judged_then(session, place, borger, cpr, linjer, regler),
        raa=_raw(session, linjer, maaned, koersler),
        bopael=_stays(session, cpr, posteringer, koersler, [beregnet["bopael_maaned"], *maaneder]),
        bopael_maaneder=maaneder,
        udeladt=session.has("pakke.udeladt") and bool(session.value(LEFT_OUT, borger=borger, maaned=maaned)),
    )


def _lines(session: Session, borger: int) -> pl.DataFrame:
    mine = _judged(session, session.frame(MINE, borger=borger))
    ids = mine.filter(pl.col("trukket") | (pl.col("regel") == "EI-013"))["indberetning_id"].unique().to_list()
    if not ids:
        return mine
    return pl.concat([mine, _judged(session, session.frame(POINTING, ids=ids))])


def _judged_then(
    session: Session, place: Place, borger: int, cpr: str, linjer: pl.DataFrame, regler: Mapping[str, Rulebook]
) -> dict[str, pl.DataFrame]:
    """The person's lines under each version of the rules that judges lines differently from those in force."""
    now = judgement_version(place.rules.emner)
    other = {version: rules for version, rules in regler.items() if judgement_version(rules.emner) != now}
    if not other:
        return {}
    with session.lending("vist", linjer.select("fil_id", "linje")):
        rows = session.frame(AS_RECEIVED.format(filer=sql_list(linjer["fil_id"])))
    mine = pl.when(pl.col("subjekt") == cpr).then(pl.lit(borger, pl.Int64)).alias("borger_id")
    columns = ["fil_id", "linje", *JUDGEMENT]
    weeks = linjer.filter(pl.col("kilde_id") == ANDRE).select(columns)
    return {
        version: pl.concat([judge(rows, rules).with_columns(mine).select(columns), weeks], how="vertical_relaxed")
        for version, rules in other.items()
    }


def _judged(session: Session, lines: pl.DataFrame) -> pl.DataFrame:
    with session.lending("mine", lines):
        return session.frame(JUDGED)


def _raw(session: Session, linjer: pl.DataFrame, maaned: date, koersler: pl.DataFrame) -> pl.DataFrame:
    """The raw columns of the lines that can be shown: about the month's weeks, without a period, or news to a run."""
    weeks = weeks_of(maaned)
    until = next_month(maaned).replace(day=7)
    about = (pl.col("periode_start") <= until) & (pl.col("periode_slut") >= weeks[0])
    news = pl.col("kendt_fra") > koersler["maaned"].min() if koersler.height else pl.lit(value=True)
    shown = linjer.filter((about | news).fill_null(value=True)).select("fil_id", "linje")
    with session.lending("vist", shown):
        return session.frame(RAW.format(filer=sql_list(shown["fil_id"])))


def _stays(
    session: Session, cpr: str, posteringer: pl.DataFrame, koersler: pl.DataFrame, snapshots: list[date | None]
) -> pl.DataFrame:
    """The person's stays in the snapshot in use, and in those of each run that settled the month and the run before."""
    months = dict(koersler.select("koersel", "maaned").iter_rows())
    runs = [months[number] for number in posteringer["koersel"].unique() if number in months]
    wanted = set(snapshots[:1])
    for run in runs:
        for known_to in (run, next_month(run, -1)):
            wanted.add(max((s for s in snapshots[1:] if s is not None and s <= known_to), default=None))
    return session.frame(STAYS, cpr=cpr, maaneder=sorted(filter(None, wanted)))


def explanation(place: Place, inquiry: Inquiry, *, som_json: bool, alt: bool = False) -> str:
    """The explanation as JSON or as text, in short or with `alt` whole.

    The look-up is logged first; Stop if that fails.
    """
    found = look_up(place, inquiry.cpr, inquiry.maaned)
    _log(place.root / LOG, inquiry, found)
    return _told(found, inquiry, som_json=som_json, alt=alt)


def in_package(
    path: Path, inquiry: Inquiry, keep: Path | None, ask: Callable[[], str], *, som_json: bool, alt: bool = False
) -> str:
    """The explanation from a municipality's package, as from the country's copy but for other municipalities' money.

    `keep`: the folder of the log, else `opslag` beside the package. `ask` asks for the key if none is named.
    """
    with opened(path, ask) as place:
        found = look_up(place, inquiry.cpr, inquiry.maaned)
    _log(keep / LOG.name if keep else path.resolve().parent / LOG, inquiry, found, path.name)
    if found.svar == "ukendt_borger" and not som_json:
        known = f"{found.viden_til:%Y-%m}"
        return f"Personnummeret er ikke i pakken; den har kun kommunens egne borgere til og med {known}.\n"
    return _told(found, inquiry, som_json=som_json, alt=alt)


def _log(path: Path, inquiry: Inquiry, found: Forklaring, pakke: str = "") -> None:
    """Log a look-up: the person as the surrogate, or nobody where the number is unknown."""
    more = {"pakke": pakke} if pakke else {}
    log(
        path,
        "forklar",
        borger_id=found.borger_id,
        maaned=f"{inquiry.maaned:%Y-%m}",
        formaal=inquiry.formaal,
        fundet=found.borger_id is not None,
        svar=found.svar,
        viden_til=f"{found.viden_til:%Y-%m}",
        **more,
    )


def _told(found: Forklaring, inquiry: Inquiry, *, som_json: bool, alt: bool) -> str:
    hvem = f"borger {found.borger_id} ({inquiry.cpr[:6]}-xxxx)" if found.borger_id is not None else "en ukendt borger"
    return visible_json(as_json(found)) + "\n" if som_json else visible(as_text(found, hvem, alt=alt), lines=True)
