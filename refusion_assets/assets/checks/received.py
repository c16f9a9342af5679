"""Kontrol of what was received: files, lines and senders, before anything is calculated from them."""

from collections.abc import Iterable, Iterator
from datetime import date

import polars as pl

from refusion_assets.assets.checks.quality import LATE_LINE
from refusion_assets.assets.findings import advise, queries
from refusion_assets.assets.gate import Asked, first_run
from refusion_assets.assets.opgoerelse import known_files
from refusion_assets.assets.raw.let_pass import as_accepted, decided
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.classified import HUNDREDTHS, judge
from refusion_assets.domain.findings.outcome import MOST_NAMED, Outcome, by_rule, judged
from refusion_assets.domain.findings.weeks import person_findings
from refusion_assets.domain.findings.words import FILREGLER, LINJEREGLER, UGEREGLER
from refusion_assets.domain.raw import AMOUNTS
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Fault
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Session

FRESH_MONEY = """
SELECT b.regel, l.borger_id, CASE WHEN l.art = 'T' THEN NULL ELSE l.beloeb_oere END AS beloeb_oere, true AS ny
FROM brud b JOIN classified.linje l ON l.fil_id = b.fil_id AND l.linje = b.linje AND l.fil_id IN ({filer})"""

LATE = f"""
SELECT f.kilde, f.enhed, count(*) AS linjer, count(*) FILTER (sen) AS sene,
       coalesce(sum(beloeb_oere) FILTER (sen), 0)::BIGINT AS oere
FROM (
    SELECT fil_id, l.beloeb_oere, {LATE_LINE} AS sen
    FROM classified.linje l JOIN raw.indberetning i USING (fil_id, linje)
    WHERE fil_id IN (SELECT fil_id FROM raw.fil WHERE kendt_fra = $month AND NOT dublet)
          AND l.art = 'I' AND l.regel IS NULL
) JOIN raw.fil f USING (fil_id)
GROUP BY ALL ORDER BY abs(oere) DESC, f.kilde, f.enhed"""


# If all fields of an amount together are within a bound, the amount is too; units are held against the dearest price.
LARGE = f"""
SELECT i.*, f.kilde, f.enhed, f.filnavn FROM raw.indberetning i JOIN raw.fil f USING (fil_id)
WHERE f.kendt_fra = $month AND NOT f.dublet AND i.Indberetningsart = 'I'
    AND {" + ".join(f"abs(coalesce(i.{name}, 0))" for name in AMOUNTS)} > $least
ORDER BY f.filnavn, i.linje"""


def filregler(asked: Asked) -> Iterator[Outcome]:
    """FIL-003 to FIL-005, FIL-007, FIL-008: row counts, repeats, gaps, unread files, files changed since reading."""
    yield from _since_last(asked, advise.of_files(asked.session, asked.place.rules, asked.month), FILREGLER)


def ugeregler(asked: Asked) -> Iterator[Outcome]:
    """EI-016, EI-018, EI-019 and FB-001: a week's amount, residence and payer, and a month without basis."""
    before = advise.listed_before(asked.session, asked.place, asked.month)
    yield from _since_last(asked, advise.of_weeks(asked.session, asked.place.rules, before), UGEREGLER)


def linjeregler(asked: Asked) -> Iterator[Outcome]:
    """The rules of every line and of the set of lines (YR, EI): lines quarantined, waiting, or with a warning."""
    session, place = asked.session, asked.place
    marked = queries.marked(session)
    open_before = advise.open_before(session, place, asked.month, *queries.LINE_KEY, "borger_id")
    fresh = marked.join(open_before, on=queries.LINE_KEY, how="anti")
    money = queries.with_frame(session, "brud", fresh, FRESH_MONEY.format(filer=sql_list(fresh["fil_id"])))
    known = marked.join(open_before, on=queries.LINE_KEY, how="semi").select(
        "regel",
        borger_id=pl.lit(None, dtype=pl.Int64),
        beloeb_oere=pl.lit(None, dtype=pl.Int64),
        ny=pl.lit(value=False),
    )
    people = person_findings(queries.odd_numbers(session)).select("regel", "borger_id", "beloeb_oere")
    told = open_before.filter(regel="EI-004").select("borger_id", sagt=pl.lit(value=True))
    odd = people.join(told, on="borger_id", how="left").with_columns(ny=pl.col("sagt").is_null()).drop("sagt")
    yield from by_rule(pl.concat([money, known, odd]), LINJEREGLER, place.rules)


def registre_er_laeselige(asked: Asked) -> Outcome:
    """Every line of the registers that are new in the month can be read."""
    rows = asked.session.frame(
        """SELECT sti, sha256, antal_ulaeselige AS antal, foerste_ulaeselige AS linje FROM raw.register
        WHERE antal_ulaeselige > 0 AND modtaget_maaned <= $month ORDER BY antal DESC, sti""",
        month=asked.month,
    )
    told = known_files(asked.session, next_month(asked.month, -1)) if rows.height else {}
    fresh = [row for row in rows.iter_rows(named=True) if told.get(row["sti"]) != row["sha256"]]
    names = "; ".join(
        f"{row['sti'].rpartition('/')[2]}: {plural(row['antal'], 'linje', 'linjer')}, "
        f"den første er linje {row['linje']}"
        for row in fresh[:MOST_NAMED]
    )
    antal = sum(row["antal"] for row in fresh)
    return judged(
        antal,
        "Hver linje i de nye registre kan læses.",
        f"{plural(antal, 'linje', 'linjer')} i registrene kan ikke læses og er ikke brugt: {names}.",
        "Bed registrets afsender om filen igen; uden linjerne kan bopæl og grundlag være forkerte eller mangle.",
    )


def _since_last(asked: Asked, found: pl.DataFrame, ids: Iterable[str]) -> Iterator[Outcome]:
    """An outcome per rule from all open findings: a finding is new if the run before did not list it."""
    told = advise.open_before(asked.session, asked.place, asked.month, "noegle")["noegle"]
    named = found.with_columns(queries.keys(asked.session, found["identitet"]))
    yield from by_rule(named.with_columns(ny=~pl.col("noegle").is_in(told.implode())), ids, asked.place.rules)


def ydelser_er_med(asked: Asked) -> Outcome:
    """Every benefit that a sender reported last month is reported by it this month too."""
    gone = missing_benefits(asked)
    oere = int(gone["oere"].sum())
    names = "; ".join(
        f"{row['ydelse_id']} fra {row['kilde']} ({plural(row['afsendere'], 'afsender', 'afsendere')}, "
        f"{kroner_text(row['oere'])})"
        for row in gone.head(MOST_NAMED).iter_rows(named=True)
    )
    return judged(
        gone.height,
        "Hver afsender har indberettet de ydelser, den indberettede sidste måned.",
        f"{plural(gone.height, 'ydelse', 'ydelser')} fra sidste måned ({kroner_text(oere)}) mangler hos afsendere, "
        f"der har leveret: {names}.",
        "Spørg afsenderen, om ydelsen er faldet ud af udtrækket, før måneden lukkes.",
        oere=oere,
    )


def missing_benefits(asked: Asked) -> pl.DataFrame:
    """One row per source and benefit that senders reported last month and not at all this month; last month's øre.

    A sender without any delivery is FIL-006, and not repeated here. Sums below the bound are left out.
    """
    rows = queries.recent(asked.session, asked.month)
    now, then = rows.filter(maaned=asked.month), rows.filter(pl.col("maaned") < asked.month)
    gone = then.join(now, on=["kilde", "enhed", "ydelse_id"], how="anti").join(now, on=["kilde", "enhed"], how="semi")
    bound = asked.place.rules.graense("aendring_mindst_oere")
    by_benefit = gone.group_by("kilde", "ydelse_id").agg(pl.col("oere").sum(), afsendere=pl.len())
    return by_benefit.filter(pl.col("oere") >= bound).sort(
        "oere", "kilde", "ydelse_id", descending=[True, False, False]
    )


def leveret_til_tiden(asked: Asked) -> Outcome:
    """At most the bound's share of a sender's new reports came long after their period."""
    if first_run(asked.session, asked.month):
        return Outcome(True, "Første kørsel: historikken er ikke forsinket.")
    rules = asked.place.rules
    days, most = rules.graense("forsinket_dage"), rules.graense("forsinket_procent")
    rows = asked.session.frame(LATE, month=asked.month, days=days)
    late = rows.filter(
        (pl.col("sene") * 100 > most * pl.col("linjer"))
        & (pl.col("oere").abs() >= rules.graense("aendring_mindst_oere"))
    )
    tal = {"linjer": int(rows["linjer"].sum()), "sene": int(rows["sene"].sum()), "sene_oere": int(rows["oere"].sum())}
    names = "; ".join(
        f"{row['kilde']}-{row['enhed']}: {row['sene']} af {plural(row['linjer'], 'linje', 'linjer')} "
        f"({kroner_text(row['oere'])})"
        for row in late.head(MOST_NAMED).iter_rows(named=True)
    )
    return judged(
        int(late["sene"].sum()),
        f"Ingen afsender har mere end {most} pct. sene linjer.",
        f"{plural(late.height, 'afsender', 'afsendere')} har over {most} pct. linjer modtaget mere end "
        f"{plural(days, 'dag', 'dage')} efter perioden: {names}.",
        "Spørg afsenderen, om perioderne er rigtige; er de det, afregnes de som rettelser af tidligere måneder.",
        oere=int(late["oere"].sum()),
        tal=tal,
    )


def line_bounds(rules: Rulebook) -> pl.DataFrame:
    """The most that a line of each benefit may amount to: ydelse_id, graense_oere."""
    rows = [(ydelse, rules.graense_for("linjebeloeb_oere", ydelse)) for ydelse in rules.ydelse_ids]
    return pl.DataFrame(rows, schema={"ydelse_id": pl.String, "graense_oere": pl.Int64}, orient="row")


def large_lines(session: Session, rules: Rulebook, month: date) -> list[Fault]:
    """EI-017 of each good line that is new in run `month`, with an amount above its benefit's bound.

    Reads the delivered lines, before reversals and other lines are applied. Øre.
    """
    graenser = line_bounds(rules)
    dearest = max((entry.pris_oere for entry in rules.enhedspriser), default=0)
    bound = int(graenser["graense_oere"].min())  # type: ignore[arg-type]
    least = bound if dearest <= HUNDREDTHS else bound * HUNDREDTHS // dearest - 1
    rows = session.frame(LARGE, month=month, least=least)
    if rows.is_empty():
        return []
    good = judge(rows, rules).filter(pl.col("regel").is_null()).join(graenser, on="ydelse_id")
    return _faults(good.filter(pl.col("beloeb_oere") > pl.col("graense_oere")).sort("filnavn", "linje"))


def large_lines_used(session: Session, rules: Rulebook, month: date) -> list[Fault]:
    """EI-017 of each line that is new in run `month`, is used, and has not been let pass. Øre."""
    with session.lending("graenser", line_bounds(rules)):
        rows = session.frame(
            f"""SELECT f.filnavn, l.linje, l.ydelse_id, l.beloeb_oere, g.graense_oere FROM classified.linje l
            JOIN raw.fil f USING (fil_id) JOIN graenser g USING (ydelse_id) {queries.ONLY_USED}
            WHERE f.kendt_fra = $month AND l.art = 'I' AND l.beloeb_oere > g.graense_oere
            ORDER BY f.filnavn, l.linje""",
            month=month,
        )
    return _faults(rows)


def _faults(rows: pl.DataFrame) -> list[Fault]:
    """A fault for each line: filnavn, linje, beloeb_oere, graense_oere."""
    return [
        Fault(
            "EI-017",
            f"{row['filnavn']}:{row['linje']}",
            f"{kroner_text(row['beloeb_oere'])} på een linje er over grænsen på {kroner_text(row['graense_oere'])}",
            row["beloeb_oere"],
        )
        for row in rows.iter_rows(named=True)
    ]


def beloeb_er_under_graensen(asked: Asked) -> Outcome:
    """EI-017: no line that the month uses for the first time is above its benefit's bound, unless it is let pass."""
    passed = decided(asked.session, asked.month)
    found = large_lines_used(asked.session, asked.place.rules, asked.month)
    standing = [fault for fault in found if (fault.regel, fault.genstand) not in passed]
    accepted = f" {len(found)} er accepteret." if found else ""
    largest = "; ".join(map(str, standing[:MOST_NAMED]))
    more = f" (og {len(standing) - MOST_NAMED} mere)" if len(standing) > MOST_NAMED else ""
    options = " ".join(f"--accepter {as_accepted(fault)}" for fault in standing[:MOST_NAMED])
    return judged(
        len(standing),
        f"Ingen ny linje er over sin ydelses grænse.{accepted}",
        f"{largest}{more}.",
        "Få afsenderen til at tilbageføre linjen eller rette filen; er beløbet rigtigt, så kør refusion koer "
        f'{asked.month:%Y-%m} {options} --begrundelse "..."',
        oere=sum(fault.beloeb_oere for fault in standing),
        tal={"accepteret": len(found) - len(standing)},
    )
