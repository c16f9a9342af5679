"""Kontrol: the checks during and after the calculation, each a question in SQL that the month must answer."""

import random
import sys
from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from refusion_assets.assets.classified import quarantined
from refusion_assets.assets.findings import queries
from refusion_assets.assets.findings.advise import double_pay
from refusion_assets.assets.gate import Asked, first_run
from refusion_assets.assets.stale import stale
from refusion_assets.assets.touched import latest_people, since_change
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.classified import CLAIM
from refusion_assets.domain.findings.outcome import (
    MOST_NAMED,
    Outcome,
    balance,
    causes,
    judged,
)
from refusion_assets.domain.opgoerelse.ledger import run_number, ydelse_navne
from refusion_assets.domain.opgoerelse.voucher import SIGNED, voucher
from refusion_assets.domain.refusion.split import KEY
from refusion_assets.domain.rules.change import as_ranges
from refusion_assets.domain.wording import kroner_text, plural, without_persons
from refusion_assets.store.session import Relation, Session

SQL_MADE = ("classified.dom", "classified.krav")
ROWS = "refusion.borger_uge_ydelse"
PEOPLE_LOOKED_AT = 200_000
ROW = ", ".join(KEY)
STOP = "Luk ikke måneden; meld fejlen til systemets ejere med kontrollens navn."


def _sums(session: Session, query: str, **values: object) -> dict[str, int]:
    """The single row of a query of counts and sums."""
    row = session.frame(query, **values).row(0, named=True)
    return {name: int(value or 0) for name, value in row.items()}


def none_of(session: Session, what: str, query: str) -> Outcome:
    """Passed if the query finds no person; else how many rows, and three of the persons by surrogate."""
    found = _sums(session, f"SELECT count(*) AS antal FROM ({query})")["antal"]
    some = f"SELECT DISTINCT borger_id FROM ({query}) ORDER BY 1 LIMIT {MOST_NAMED}"
    no = f"{what}: {plural(found, 'række', 'rækker')} afviger."
    people = session.frame(some)["borger_id"] if found else None
    return judged(found, f"{what}: ingen afvigelser.", no, STOP, people=people)


def calculated(asked: Asked, table: str, day: str = "", *, all_of_them: bool = False) -> str:
    """SQL for the rows t of the people calculated in the run, all or from the first week that could change (`day`).

    Above `PEOPLE_LOOKED_AT` people the check takes one run of neighbouring numbers, unless `all_of_them`. The
    month draws its random place; the rows of neighbours lie together.
    """
    people = asked.once("calculated", f"FROM {latest_people(asked.month)}")
    number = asked.session.count(people)
    if number > PEOPLE_LOOKED_AT and not all_of_them:
        begin = random.Random(f"{asked.month:%Y-%m}").randrange(number - PEOPLE_LOOKED_AT)  # noqa: S311
        part = f"FROM {people} ORDER BY borger_id LIMIT {PEOPLE_LOOKED_AT} OFFSET {begin}"
        people = asked.once("calculated_part", part)
    if not day:
        return f"(SELECT t.* FROM {table} t SEMI JOIN {people} a USING (borger_id)) t"
    return since_change(asked.session, table, day, people)


def raa_er_fordelt(asked: Asked) -> Outcome:
    """Every øre received is used, reversed or quarantined, and every line makes a claim or has a verdict."""
    found = _sums(
        asked.session,
        """SELECT * FROM (
            SELECT count(*) AS linjer, sum(beloeb_oere) FILTER (art IS DISTINCT FROM 'T')::BIGINT AS oere
            FROM classified.linje JOIN raw.fil USING (fil_id) WHERE NOT dublet AND modtaget_maaned <= $month
        ), (SELECT sum(antal_raekker)::BIGINT AS brugte, sum(beloeb_oere)::BIGINT AS brugt FROM classified.krav), (
            SELECT count(*) AS andre, sum(beloeb_oere) FILTER (status = 'tilbagefoert')::BIGINT AS tilbagefoert,
            sum(beloeb_oere) FILTER (status = 'karantaene')::BIGINT AS karantaene FROM classified.dom)""",
        month=asked.month,
    )
    if found["brugte"] + found["andre"] != found["linjer"]:
        lines = plural(found["linjer"], "linje", "linjer")
        told = f"{lines} er blevet til {found['brugte']} brugte og {found['andre']} andre."
        return Outcome(False, told, STOP)
    parts = {name: found[name] for name in ("brugt", "tilbagefoert", "karantaene")}
    return balance("Modtaget mod brugt, tilbageført og karantæne", parts, found["oere"])


def kontrakter_holder(asked: Asked) -> Outcome:
    """The tables that SQL makes keep their contracts; the rest are proved as frames."""
    found = {f"{table}, {what}": n for table in SQL_MADE for what, n in asked.session.breaches(table).items()}
    broken = "; ".join(f"{what} ({n})" for what, n in sorted(found.items())[:MOST_NAMED])
    kept = f"{' og '.join(SQL_MADE)} overholder deres kontrakter."
    return judged(sum(found.values()), kept, f"Kontrakten er brudt: {broken}.", STOP)


def karantaene(asked: Asked) -> Outcome:
    """The number of lines in quarantine, and their money, by rule."""
    rows = quarantined(asked.session)
    lines, oere = int(rows["antal"].sum()), int(rows["oere"].sum())
    most = ", ".join(
        f"{regel}: {antal}"
        for regel, antal, _ in rows.sort("antal", "regel", descending=[True, False]).head(MOST_NAMED).iter_rows()
    )
    return judged(
        lines,
        "Ingen linjer er i karantæne.",
        f"{plural(lines, 'linje', 'linjer')} er i karantæne ({kroner_text(oere)}), flest {most}; resten er regnet med.",
        "Afsenderne retter efter adviseringsfilen; beløbene kommer med i en senere kørsel.",
        oere=oere,
        tal=dict(rows.select("regel", "antal").iter_rows()),
    )


def een_udbetaler(asked: Asked) -> Outcome:
    """EI-009: the money of new claims that two payers pay for the same days, against the month's amount."""
    new, whole = double_pay(asked.session, asked.place, asked.month)
    limit = asked.place.rules.graense("to_udbetalere_promille")
    tal = {"to_udbetalere_oere": new, "maanedens_oere": whole}
    # A month that takes back more than it pays has no amount to take a share of: then any double payment is too much.
    if new * 1000 <= limit * max(whole, 0):
        return Outcome(
            True, f"To udbetalere for samme dage: {kroner_text(new)}, under grænsen.", tal=tal, beloeb_oere=new
        )
    twice = queries.new_stretches(asked.session, asked.place.rules, asked.month)
    pairs = twice.group_by("ydelse_id", "pligt_se", "pligt_se_2").agg(pl.col("beloeb_oere").sum())
    # A payer's number is as the sender wrote it: somebody's own number may stand in its place.
    worst = pairs.sort("beloeb_oere", "pligt_se", "pligt_se_2", descending=[True, False, False]).row(0, named=True)
    return Outcome(
        False,
        f"EI-009: to udbetalere har indberettet {kroner_text(new)} for samme dage, over {limit} promille af "
        f"månedens {kroner_text(max(whole, 0))}; "
        + without_persons(f"mest {worst['ydelse_id']} fra {worst['pligt_se']} og {worst['pligt_se_2']}."),
        "Få den ene afsender til at trække sin fil eller tilbageføre den, og kør måneden igen.",
        twice.height,
        new,
        tal,
        tuple(twice["borger_id"].unique().sort()[:MOST_NAMED]),
    )


def noegler_er_unikke(asked: Asked) -> Outcome:
    """No key twice among the people calculated in the run: claims, spells and rows; the contracts look at shards."""
    keys = [
        ("classified.krav", "periode_slut", ", ".join(CLAIM)),
        ("duration.forloeb", "fra_uge", "borger_id, fra_uge"),
        (ROWS, "uge", ROW),
        ("refusion.fleksbidrag", "uge", "maaned, borger_id, ydelse_id, kommunekode"),
    ]
    keys += [("duration.forloeb_taeller", "fra_uge", "borger_id, taeller_id, fra_uge")] * bool(
        asked.place.rules.taellere
    )
    keys += [("refusion.over_loft", "uge", f"{ROW}, loft_id")] * bool(asked.place.rules.lofter)
    doubled = " UNION ALL ".join(
        f"SELECT borger_id FROM {calculated(asked, table, dag)} GROUP BY {key} HAVING count(*) > 1"
        for table, dag, key in keys
    )
    return none_of(asked.session, "Hver nøgle står een gang i krav, forløb og rækker", doubled)


def kravets_dele_er_kravet(asked: Asked) -> Outcome:
    """For everybody calculated in the run the parts, settled or not, sum to the claims, person by person."""

    def by_person(table: str, column: str) -> str:
        return f"SELECT t.borger_id, {column} AS oere FROM {calculated(asked, table)}"

    unsettled = "-(foer_finansiering_oere + ikke_forfalden_oere + uden_afregning_oere)"
    query = f"""SELECT borger_id FROM (
        {by_person("classified.krav", "beloeb_oere")} UNION ALL {by_person("refusion.placering", unsettled)}
        UNION ALL {by_person("refusion.borger_uge_ydelse", "-beloeb_oere")}
        UNION ALL {by_person("refusion.uden_kommune", "-beloeb_oere")}
        ) GROUP BY borger_id HAVING sum(oere) <> 0"""
    return none_of(asked.session, "Hver borgers dele summer til kravene", query)


def _odd_rows(asked: Asked) -> Relation:
    """The calculated rows without the step or amount they must have, or with a percentage of no rule.

    Both questions are answered by one look at the rows.
    """
    rules = asked.place.rules
    steps = [(trappe.id, trin.procent) for trappe in rules.trapper for trin in trappe.trin]
    allowed = {(y.ydelse_id, procent) for y in rules.ydelser for trappe, procent in steps if trappe == y.trappe}
    allowed |= {(y.ydelse_id, y.fast_procent) for y in rules.ydelser if y.fast_procent is not None}
    sider = ", ".join(f"('{y.ydelse_id}', {y.trappe is not None})" for y in rules.ydelser)
    procenter = ", ".join(f"('{ydelse_id}', {procent}, true)" for ydelse_id, procent in sorted(allowed))
    rows, paid = calculated(asked, ROWS, "uge", all_of_them=True), "beloeb_oere"
    share = "refusion_oere + medfinansiering_oere"
    if rules.lofter:
        rows += f""" LEFT JOIN (SELECT {ROW}, sum(beloeb_oere) AS over_beloeb, sum(refusion_oere) AS over_andel
            FROM refusion.over_loft GROUP BY ALL) USING ({ROW})"""
        paid, share = f"({paid} - coalesce(over_beloeb, 0))", f"{share} + coalesce(over_andel, 0)"
    query = f"""SELECT * FROM (
        SELECT borger_id, findes IS NULL AS ukendt_procent, {share} <> (2 * {paid} * procent + 100) // 200
           OR (trin IS NULL) <> (ydelsestaeller IS NULL) OR (trin IS NULL AND trappe)
           OR (refusion_oere <> 0 AND medfinansiering_oere <> 0) AS skaev
        FROM {rows}
        LEFT JOIN (SELECT ydelse_id, bool_and(trappe) AS trappe FROM (VALUES {sider}) v(ydelse_id, trappe) GROUP BY 1) y
        USING (ydelse_id)
        LEFT JOIN (VALUES {procenter}) p(ydelse_id, procent, findes) USING (ydelse_id, procent)
        ) WHERE skaev OR ukendt_procent"""
    return asked.once("odd_rows", query)


def raekker_har_trin(asked: Asked) -> Outcome:
    """Every row of a benefit on a staircase has a step, a number and the amount that its percentage gives."""
    query = f"SELECT borger_id FROM {_odd_rows(asked)} WHERE skaev"
    return none_of(asked.session, "Hver række har trin og beløb efter sin procent", query)


def procenter_findes(asked: Asked) -> Outcome:
    """Every percentage is one that the rules give the benefit: refusion stays within its bounds."""
    query = f"SELECT borger_id FROM {_odd_rows(asked)} WHERE ukendt_procent"
    return none_of(asked.session, "Procenterne findes i reglerne", query)


def brugt_er_fordelt(asked: Asked) -> Outcome:
    """Every øre used is settled, not yet due, before financing, without settlement, or without municipality."""
    parts = _sums(
        asked.session,
        """SELECT (SELECT sum(beloeb_oere)::BIGINT FROM refusion.borger_uge_ydelse) AS afregnet,
        (SELECT sum(beloeb_oere)::BIGINT FROM refusion.uden_kommune) AS uden_kommune,
        sum(foer_finansiering_oere)::BIGINT AS foer_finansiering,
        sum(ikke_forfalden_oere)::BIGINT AS ikke_forfalden,
        sum(uden_afregning_oere)::BIGINT AS uden_afregning FROM refusion.placering""",
    )
    old = too_old_sums(asked)
    if old:  # part of the result, but not settled: as known before the run settles, of the runs before it
        parts = {**parts, "afregnet": parts["afregnet"] - old["foraeldet_oere"], "foraeldet": old["foraeldet_oere"]}
    whole = _sums(asked.session, "SELECT sum(beloeb_oere)::BIGINT AS krav FROM classified.krav")["krav"]
    return balance("Brugt mod afregnet", parts, whole)


def kladde_er_tilstand(asked: Asked) -> Outcome:
    """For everybody calculated in the run, from the first week that could change, the ledgers sum to the state.

    Municipalities that the run holds back are left out: the ledger has no rows of them yet.
    """
    number = run_number(asked.month, asked.place.rules)
    here = f"WHERE kommunekode IN (SELECT kommunekode FROM opgoerelse.kommune WHERE koersel = {number})"
    keys = "uge, maaned, borger_id, ydelse_id, kommunekode"
    money = ("indberettet_oere", "beloeb_oere", "refusion_oere", "medfinansiering_oere")
    added = ", ".join(f"sum({name})::BIGINT AS {name}" for name in money)
    nonzero = " OR ".join(f"sum({name}) <> 0" for name in money)
    told = ", ".join((keys, *money))
    settled = f"SELECT {told} FROM {calculated(asked, 'opgoerelse.postering', 'uge')} {here}"
    old = too_old_sums(asked)
    if old:
        settled += f" UNION ALL SELECT {told} FROM {calculated(asked, 'opgoerelse.foraeldet', 'uge')} {here}"
    query = f"""SELECT borger_id FROM (
        SELECT {keys}, {added} FROM ({settled}) GROUP BY ALL HAVING {nonzero}
        ) k FULL JOIN (
        SELECT {keys}, {", ".join(money)} FROM {calculated(asked, "refusion.tilstand", "uge")}
        {here}) t USING ({keys})
        WHERE {" OR ".join(f"k.{name} IS DISTINCT FROM t.{name}" for name in money)}"""
    named = " og det forældede" if old else ""
    return replace(none_of(asked.session, f"Kladderne{named} summer til tilstanden", query), tal=old)


def too_old_sums(asked: Asked) -> dict[str, int]:
    """The sums of `opgoerelse.foraeldet` over all runs: amount, refusion and medfinansiering; none if nothing."""
    found = _sums(
        asked.session,
        """SELECT sum(beloeb_oere)::BIGINT AS foraeldet_oere, sum(refusion_oere)::BIGINT AS foraeldet_refusion_oere,
        sum(medfinansiering_oere)::BIGINT AS foraeldet_medfinansiering_oere, count(*) AS raekker
        FROM opgoerelse.foraeldet""",
    )
    return found if found.pop("raekker") else {}


def kommuner_er_kladden(asked: Asked) -> Outcome:
    """The totals sent to the municipalities are those of the run's ledger."""
    number = run_number(asked.month, asked.place.rules)
    parts = _sums(
        asked.session,
        """SELECT sum(refusion_oere)::BIGINT AS refusion, sum(medfinansiering_oere)::BIGINT AS medfinansiering
        FROM opgoerelse.kommune WHERE koersel = $n""",
        n=number,
    )
    whole = _sums(
        asked.session,
        """SELECT sum(refusion_oere + medfinansiering_oere)::BIGINT AS i_alt
        FROM opgoerelse.postering WHERE koersel = $n""",
        n=number,
    )
    return balance("Kommunernes opgørelser mod kladden", parts, whole["i_alt"])


def bilag_balancerer(asked: Asked) -> Outcome:
    """Debit is credit on every municipality's voucher, and its lines are the amounts of the ledger."""
    number = run_number(asked.month, asked.place.rules)
    ledger = asked.session.frame(
        """SELECT kommunekode, ydelse_id, procent, refusion_oere, medfinansiering_oere
        FROM opgoerelse.postering WHERE koersel = $n""",
        n=number,
    )
    lines = voucher(ledger, ydelse_navne(asked.place.rules), asked.month, asked.place.rules)
    of_benefits = SIGNED.filter(pl.col("procent").is_not_null()).sum()
    vouchers = lines.group_by("kommunekode").agg(rest=SIGNED.sum(), lines_oere=of_benefits)
    owed = ledger.group_by("kommunekode").agg(
        owed_oere=pl.col("medfinansiering_oere").sum() - pl.col("refusion_oere").sum()
    )
    both = vouchers.join(owed, on="kommunekode", how="full", coalesce=True).fill_null(0)
    both = both.with_columns(off=pl.col("rest").abs() + (pl.col("lines_oere") - pl.col("owed_oere")).abs())
    uneven = both.filter(pl.col("off") != 0)
    yes, no = f"Alle bilag balancerer ({lines['bilagsnr'].n_unique()}).", f"{uneven.height} bilag balancerer ikke."
    outcome = judged(uneven.height, yes, no, STOP, oere=int(uneven["off"].sum()))
    return outcome if uneven.height else replace(outcome, tal={"linjer": lines.height})


def adviseringer(asked: Asked) -> Outcome:
    """How many findings the run lists, by rule; those solved since last are not counted."""
    rows = asked.session.frame(
        """SELECT regel, count(*) AS antal FROM opgoerelse.advis WHERE koersel = $n AND status <> 'LØST'
        GROUP BY 1 ORDER BY 1""",
        n=run_number(asked.month, asked.place.rules),
    )
    counts = dict(rows.iter_rows())
    total = sum(counts.values())
    no = f"{plural(total, 'advisering er åben', 'adviseringer er åbne')}."
    return judged(total, "Ingen adviseringer er åbne.", no, "Kommunerne følger adviseringsfilen.", tal=counts)


CAUSES = {"flere_borgere": "antal borgere", "stoerre_beloeb": "beløb pr. borger", "anden_procent": "procenter"}

# The month's own rows of this run and of the last: corrections of older months are no measure of the month.
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
    return judged(
        moved.height,
        f"Ingen ydelse i nogen kommune har flyttet sig mere end {band} pct.",
        f"{plural(moved.height, 'ydelse i en kommune', 'ydelser i kommuner')} har flyttet sig mere end {band} pct. "
        "De største årsager: "
        f"{'; '.join(_biggest(causes(moved)))}",
        "Spørg kommunen, om tallet er ventet, før måneden lukkes.",
        oere=int((moved["nu"] - moved["foer"]).sum()),
        tal=tal,
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


def maaneder_er_aktuelle(asked: Asked) -> Outcome:
    """The rules in force give every calculated benefit month the result it has; else which months are out of date."""
    old = stale(asked.session, asked.place).maaneder
    return judged(
        len(old),
        "Alle ydelsesmåneder er beregnet med det, reglerne siger nu.",
        f"{plural(len(old), 'ydelsesmåned er forældet', 'ydelsesmåneder er forældede')} "
        f"efter en ændring af reglerne: {as_ranges(old)}.",
        "Start jobbet genberegn_foraeldede, eller skriv refusion genberegn; ellers regnes de om i næste kørsel.",
    )


def _counters(asked: Asked) -> Iterator[tuple[str, int]]:
    """SQL for the spells of each counter of people calculated in the run, and the fewest free weeks to start over."""
    yield calculated(asked, "duration.forloeb"), min(entry.uger for entry in asked.place.rules.genoptjening)
    for own in asked.place.rules.taellere:
        name = own.id.replace("'", "''")
        spells = calculated(asked, "duration.forloeb_taeller")
        yield f"(FROM {spells} WHERE taeller_id = '{name}')", own.genoptjening_uger or sys.maxsize


def uger_talt_een_gang(asked: Asked) -> Outcome:
    """No person-week counted twice, none left out between the first and the last week with support."""
    queries = [
        f"""SELECT borger_id FROM (SELECT borger_id, fra_uge,
        lag(fra_uge + CAST(7 * antal_uger AS INTEGER)) OVER (PARTITION BY borger_id ORDER BY fra_uge) AS forrige_slut
        FROM {spells}) WHERE forrige_slut IS NOT NULL AND fra_uge <> forrige_slut"""
        for spells, _ in _counters(asked)
    ]
    return none_of(asked.session, "Hver borgeruge er talt een gang", " UNION ALL ".join(queries))


def taeller_stiger_med_een(asked: Asked) -> Outcome:
    """The number n rises by one a week of benefit, and begins again only when enough free weeks are reached."""
    queries = [
        f"""SELECT borger_id FROM (
        SELECT *, lag(n_foer + CASE WHEN art = 'A' THEN antal_uger ELSE 0 END) OVER w AS ventet,
               lag(genoptjent) OVER w AS efter_genoptjening,
               sum(CASE WHEN taeller THEN antal_uger ELSE 0 END) OVER (
                   PARTITION BY borger_id, taelling ORDER BY fra_uge) AS frie
        FROM {spells} WINDOW w AS (PARTITION BY borger_id ORDER BY fra_uge))
        WHERE (genoptjent AND frie < {uger})
           OR (n_foer <> CASE WHEN efter_genoptjening THEN 0 ELSE coalesce(ventet, 0) END
               AND NOT (n_foer = 0 AND art = 'A'))"""
        for spells, uger in _counters(asked)
    ]
    return none_of(asked.session, "Ydelsestælleren stiger med een om ugen", " UNION ALL ".join(queries))
