"""The queries of the follow-up views: one function a view, from the settled state of a run to the rows of its table."""

from datetime import date, timedelta

import polars as pl

from refusion_assets.assets.findings.statement import caused
from refusion_assets.assets.opfoelgning.settled import AFREGNET, EGEN_SHARE, MONTHS, MONTHS_SHOWN, WEEKS_AHEAD, Basis
from refusion_assets.domain.calendar import last_day, monday, next_month, years_before
from refusion_assets.domain.findings import words
from refusion_assets.domain.opfoelgning.targets import Measured, deviation, gains, rest_of_year
from refusion_assets.domain.opfoelgning.views import (
    AAR,
    ANDEN,
    ANDEN_KOMMUNE,
    EGEN,
    NATIONAL,
    SPANDE,
    UDEN,
    UDENFOR,
    Gevinst,
    compared,
)
from refusion_assets.domain.opgoerelse.voucher import posted


def half_away(number: str, by: str) -> str:
    """SQL: whole `number` / whole `by` above zero, rounded to the nearest whole; a half goes away from zero."""
    return f"CAST(sign({number}) * ((2 * abs({number}) + {by}) // (2 * {by})) AS BIGINT)"


PROMILLE = f"CASE WHEN sum(brutto) > 0 THEN {half_away('1000 * sum(egen)', 'sum(brutto)')} END"

TRAPPE = f"""
WITH sidst AS (SELECT maaned, kommunekode, ydelse_id, trin, count(*) AS borgere FROM {{place}} GROUP BY ALL)
SELECT maaned, kommunekode, b.ydelse_id, trin, count(DISTINCT borger_id) AS borgere,
       coalesce(any_value(s.borgere), 0) AS borgere_sidst, sum(uger)::BIGINT AS borgeruger,
       sum(brutto)::BIGINT AS brutto_oere, sum(refusion)::BIGINT AS refusion_oere,
       sum(medfinansiering)::BIGINT AS medfinansiering_oere, sum(egen)::BIGINT AS egen_oere,
       {PROMILLE} AS egen_promille
FROM {{by_step}} b LEFT JOIN sidst s USING (maaned, kommunekode, ydelse_id, trin)
WHERE maaned >= $fra GROUP BY ALL"""


def trappe(basis: Basis) -> pl.DataFrame:
    """People, weeks and money by benefit month, municipality, benefit and step (`Trappe`). Øre."""
    return basis.frame(TRAPPE, fra=next_month(basis.month, 1 - MONTHS_SHOWN))


# A person counts in each municipality with money or a place of theirs in one of the two months.
BEVAEGELSER = f"""
WITH penge AS (
    SELECT borger_id, kommunekode, coalesce(sum(egen) FILTER (maaned = $month), 0)
           - coalesce(sum(egen) FILTER (maaned = $before), 0) AS aendring
    FROM {{by_step}} WHERE maaned IN ($month, $before) GROUP BY ALL
), foer AS (SELECT * FROM {{place}} WHERE maaned = $before
), nu AS (SELECT * FROM {{place}} WHERE maaned = $month)
SELECT p.kommunekode,
       CASE WHEN f.trin IS NULL THEN '{UDENFOR}' WHEN f.kommunekode = p.kommunekode THEN 'trin ' || f.trin
            ELSE '{ANDEN_KOMMUNE}' END AS fra,
       CASE WHEN n.trin IS NULL THEN '{UDENFOR}' WHEN n.kommunekode = p.kommunekode THEN 'trin ' || n.trin
            ELSE '{ANDEN_KOMMUNE}' END AS til,
       count(*) AS borgere, sum(aendring)::BIGINT AS aendring_oere
FROM penge p LEFT JOIN foer f USING (borger_id) LEFT JOIN nu n USING (borger_id) GROUP BY ALL"""


def bevaegelser(basis: Basis) -> pl.DataFrame:
    """People by step of the month before and step now (`Bevaegelse`); not where the run holds back. Øre."""
    moves = basis.frame(BEVAEGELSER, month=basis.month, before=next_month(basis.month, -1))
    return moves.filter(pl.col("kommunekode").is_in(basis.koder))


# A benefit that the law counts moves one number up a week. The amount of a week is that of the month's days.
NAESTE_TRIN = f"""
WITH skift AS (
    SELECT a.ydelse_id, a.n, a.frem, f.trin AS fra, a.trin AS til, a.procent - f.procent AS flere
    FROM {{ahead}} a JOIN {{ahead}} f ON f.ydelse_id = a.ydelse_id AND f.n = a.n AND f.frem = a.frem - 1
    WHERE a.trin <> f.trin
), hver AS (
    SELECT o.kommunekode, o.ydelse_id, s.fra, s.til, s.frem, CASE y.side WHEN 'medfinansiering' THEN 1 ELSE -1 END
           * {half_away("7 * o.brutto * s.flere", "100 * o.dage")} AS tab
    FROM {{on_step}} o JOIN skift s ON s.ydelse_id = o.ydelse_id AND s.n = least(o.n, $top)
    JOIN {{benefits}} y ON y.ydelse_id = o.ydelse_id
)
SELECT kommunekode, ydelse_id, fra::BIGINT AS fra, til::BIGINT AS til, frem::BIGINT AS uger_til, count(*) AS borgere,
       sum(tab)::BIGINT AS tab_pr_uge_oere, sum(tab * ({WEEKS_AHEAD} + 1 - frem))::BIGINT AS tab_13_uger_oere
FROM hver GROUP BY ALL"""


def naeste_trin(basis: Basis) -> pl.DataFrame:
    """People who reach a new step within 13 weeks if they go on, and the cost (`NaesteTrin`). Øre."""
    return basis.frame(NAESTE_TRIN, top=_top(basis))


def _top(basis: Basis) -> int:
    """The highest number that the weeks ahead tell apart."""
    return basis.session.integer(f"SELECT max(n) FROM {basis.ahead}")


# The municipality of a person's last week; of several there, the one with the highest code. Numbers compare fastest.
PLACE = """lpad(CAST(max(1000 * date_diff('day', DATE '2000-01-01', {uge}) + CAST({kommunekode} AS BIGINT)) % 1000
    AS VARCHAR), 3, '0')"""

# The restart of § 6, without a row per week: the spells of the count that stands in the week `$uge`, cut to the window.
# After the last spell a person supports themselves. The window reaches from the same date `aar` years before.
GENOPTJENING = f"""
WITH regel AS (SELECT * FROM regler.genoptjening WHERE gaelder_fra_uge <= $uge ORDER BY gaelder_fra_uge DESC LIMIT 1
), forloeb AS (
    SELECT borger_id, fra_uge, CAST(fra_uge + CAST(7 * antal_uger AS INTEGER) AS DATE) AS slut, art, taelling, taeller,
           n_foer, genoptjent
    FROM duration.forloeb WHERE fra_uge <= $uge AND {{whose}}
), staar AS (
    SELECT borger_id, max(slut) AS slut, arg_max(taelling, fra_uge) AS taelling, max(fra_uge) AS fra_uge,
           arg_max(CASE WHEN genoptjent AND slut <= $efter THEN 0 WHEN art = 'A'
               THEN n_foer + date_diff('day', fra_uge, least(slut, $efter)) // 7 ELSE n_foer END, fra_uge) AS n,
           arg_max(art, fra_uge) = 'C' AS fri
    FROM forloeb GROUP BY borger_id
), bor AS (
    SELECT borger_id, {PLACE.format(uge="max_uge", kommunekode="kommunekode")} AS kommunekode FROM (
        SELECT borger_id, kommunekode, max(uge) AS max_uge FROM {{{{by_step}}}} WHERE {{whose}} GROUP BY ALL)
    GROUP BY borger_id
), foer AS (
    SELECT borger_id, {PLACE.format(uge="uge", kommunekode="kommunekode")} AS kommunekode
    FROM (SELECT * FROM {AFREGNET} SEMI JOIN (SELECT borger_id FROM staar ANTI JOIN bor USING (borger_id) WHERE n > 0)
        USING (borger_id)) GROUP BY borger_id
), alle AS (FROM bor UNION ALL FROM foer
), fri AS (
    SELECT f.borger_id, f.fra_uge, least(f.slut, $efter) AS slut FROM forloeb f
    JOIN staar s ON s.borger_id = f.borger_id AND s.taelling = f.taelling WHERE f.taeller
    UNION ALL SELECT borger_id, slut, $efter FROM staar WHERE slut < $efter AND n > 0
), talt AS (
    SELECT borger_id, sum(greatest(date_diff('day', greatest(fra_uge, $vindue), slut) // 7, 0))::BIGINT AS g,
           sum(greatest(date_diff('day', greatest(fra_uge, $vindue), least(slut, $ud)) // 7, 0))::BIGINT AS ud
    FROM fri GROUP BY borger_id
), hver AS (
    SELECT b.kommunekode, b.borger_id, coalesce(t.g, 0) AS g, coalesce(t.ud, 0) AS ud,
           s.slut >= $efter AND NOT s.fri AS paa
    FROM staar s JOIN alle b USING (borger_id) LEFT JOIN talt t USING (borger_id), regel r
    WHERE s.n > 0 AND NOT (r.ved_opnaaelse AND coalesce(t.g, 0) >= r.uger)
), vaerdi AS (
    SELECT o.borger_id, sum({WEEKS_AHEAD} * CASE y.side WHEN 'medfinansiering' THEN 1 ELSE -1 END
           * {half_away("7 * o.brutto * (o.procent - a.procent)", "100 * o.dage")}) AS oere
    FROM {{{{on_step}}}} o JOIN {{{{ahead}}}} a ON a.ydelse_id = o.ydelse_id AND a.n = 1 AND a.frem = 0
    JOIN {{{{benefits}}}} y ON y.ydelse_id = o.ydelse_id GROUP BY 1
)
SELECT kommunekode, CASE WHEN g = 0 THEN '{SPANDE[0]}' WHEN g < 14 THEN '{SPANDE[1]}' WHEN g < 27 THEN '{SPANDE[2]}'
           WHEN g < 40 THEN '{SPANDE[3]}' ELSE '{SPANDE[4]}' END AS spand,
       count(*) AS borgere, count(*) FILTER (paa) AS paa_ydelse, sum(ud)::BIGINT AS uger_der_falder_ud_13,
       coalesce(sum(v.oere), 0)::BIGINT AS vaerdi_13_uger_oere
FROM hver LEFT JOIN vaerdi v USING (borger_id) GROUP BY ALL"""


def genoptjening(basis: Basis, whose: str = "true") -> pl.DataFrame:
    """People by their weeks of self-support in the window, at the last whole week (`Genoptjening`). Weeks, øre.

    `whose`: a condition on borger_id, for a part of the people. Of two municipalities in a person's last week, the one
    with the highest code is named. The counts are those of the last calculation, also for an earlier run.
    Hjemmel: § 6, stk. 1.
    """
    uge = last_whole_week(basis.month)
    years = basis.session.integer(
        "SELECT arg_max(vindue_aar, gaelder_fra_uge) FROM regler.genoptjening WHERE gaelder_fra_uge <= $uge", uge=uge
    )
    vindue, ud = (_first_week(week, years) for week in (uge, uge + timedelta(weeks=WEEKS_AHEAD)))
    days = {"uge": uge, "efter": uge + timedelta(weeks=1), "vindue": vindue, "ud": ud}
    ledger = {"n": basis.number, "fra": next_month(basis.month, 1 - MONTHS), "month": basis.month}
    return basis.frame(GENOPTJENING.format(whose=whose), **days, **ledger)


def last_whole_week(month: date) -> date:
    """The Monday of the last week that ends within a month."""
    return monday(last_day(month) + timedelta(days=1)) - timedelta(weeks=1)


def _first_week(week: date, years: int) -> date:
    """The first Monday of the window that ends in a week."""
    first = years_before(week, years)
    return first + timedelta(days=-first.weekday() % 7)


SAMMENLIGN = """
SELECT kommunekode, sum(brutto)::BIGINT AS brutto, sum(egen)::BIGINT AS egen,
       coalesce(sum(brutto) FILTER (trin >= 4), 0)::BIGINT AS trin4,
       coalesce(sum(brutto) FILTER (trin >= 1), 0)::BIGINT AS paa
FROM {by_step} WHERE maaned >= $fra GROUP BY 1 HAVING sum(brutto) > 0"""


def sammenlign(basis: Basis) -> pl.DataFrame:
    """The own share of twelve months beside the median of municipalities alike (`Sammenlign`). Øre, per mille."""
    sums = basis.frame(SAMMENLIGN, fra=next_month(basis.month, -11))
    return compared(sums.filter(pl.col("kommunekode").is_in(basis.koder)), basis.rules)


# The age of a correction in whole months is rounded as money is.
RETTELSER = f"""
SELECT kommunekode, aarsag, count(DISTINCT borger_id) AS borgere, count(*) AS borgeruger,
       {half_away("sum(date_diff('month', maaned, $month))", "count(*)")} AS alder_maaneder,
       sum(oere)::BIGINT AS netto_oere
FROM ({{rows}}) GROUP BY 1, 2"""


def rettelser(basis: Basis) -> pl.DataFrame:
    """The corrections of the run by municipality and cause, as the statement names the causes (`Rettelse`). Øre."""
    return caused(basis.session, basis.rules, basis.month, RETTELSER)


SENE_UGER = """
SELECT kommunekode, y.kilde, date_diff('month', maaned, $month) AS maaneder_forsinket,
       count(DISTINCT borger_id) AS borgere, count(*) AS borgeruger,
       sum(beloeb_oere)::BIGINT AS beloeb_oere, sum(refusion_oere - medfinansiering_oere)::BIGINT AS netto_oere,
       (sum(refusion_oere - medfinansiering_oere) * date_diff('month', maaned, $month))::BIGINT AS oere_maaneder
FROM opgoerelse.postering p JOIN {benefits} y ON y.ydelse_id = p.ydelse_id
WHERE koersel = $n AND raekketype = 'N' AND maaned < $month GROUP BY 1, 2, 3"""


def sene_uger(basis: Basis) -> pl.DataFrame:
    """The weeks of earlier months that the run settles for the first time (`SeneUger`). Øre, months."""
    return basis.frame(SENE_UGER, n=basis.number, month=basis.month)


HAENGENDE = """
WITH foerst AS (SELECT noegle, min(koersel) AS koersel FROM opgoerelse.advis WHERE koersel <= $n GROUP BY 1)
SELECT a.kommunekode, a.regel, coalesce(f.kilde || '-' || f.enhed, '') AS afsender, any_value(a.alvor) AS alvor,
       count(*) AS antal, coalesce(sum(a.beloeb_oere), 0)::BIGINT AS beloeb_oere, min(s.koersel) AS aeldste_koersel
FROM opgoerelse.advis a JOIN foerst s USING (noegle) LEFT JOIN raw.fil f ON f.filnavn = a.fil AND NOT f.dublet
WHERE a.koersel = $n AND a.status <> $solved GROUP BY 1, 2, 3"""


def haengende(basis: Basis) -> pl.DataFrame:
    """The open findings by municipality, rule and sender, with the act that the rule asks for (`Haengende`). Øre."""
    found = basis.frame(HAENGENDE, n=basis.number, solved=words.LOEST)
    acts = {regel: basis.rules.kontrol(regel).handling for regel in found["regel"].unique()}
    return found.with_columns(handling=pl.col("regel").replace_strict(acts, default="", return_dtype=pl.String))


POTENTIALE = f"""
WITH sum AS (
    SELECT kommunekode, ydelse_id, trin, count(DISTINCT borger_id) AS borgere, sum(egen) AS egen, sum(dage) AS dage
    FROM {{by_step}} WHERE maaned = $month GROUP BY ALL)
SELECT kommunekode, ydelse_id, trin, borgere, {half_away("7 * egen", "dage")} AS egen_pr_uge_oere,
       {half_away(f"7 * {WEEKS_AHEAD} * egen", "dage")} AS egen_13_uger_oere,
       {half_away(f"7 * {WEEKS_AHEAD} * egen * borgere", "10 * dage")} AS ved_10_pct_kortere_oere
FROM sum"""


def potentiale(basis: Basis) -> pl.DataFrame:
    """The own share of a week, and of a tenth of the people leaving 13 weeks earlier (`Potentiale`). Øre."""
    return basis.frame(POTENTIALE, month=basis.month)


LANGVARIGE = f"""
WITH penge AS (
    SELECT borger_id, kommunekode, sum(egen) AS egen, arg_max(n, (uge, trin, ydelse_id)) AS n FROM {{by_step}}
    WHERE maaned = $month AND trin IS NOT NULL GROUP BY ALL
), hver AS (
    SELECT *, count(*) OVER (PARTITION BY kommunekode) AS alle,
           row_number() OVER (PARTITION BY kommunekode ORDER BY n DESC, borger_id) AS plads
    FROM penge
)
SELECT kommunekode, CASE WHEN n < 52 THEN '{AAR[0]}' WHEN n < 104 THEN '{AAR[1]}' WHEN n < 260 THEN '{AAR[2]}'
           ELSE '{AAR[3]}' END AS aar_paa_ydelse, count(*) AS borgere, sum(egen)::BIGINT AS egen_oere,
       coalesce(sum(egen) FILTER (10 * (plads - 1) < alle), 0)::BIGINT AS laengste_tiendedel_oere
FROM hver GROUP BY 1, 2"""


def langvarige(basis: Basis) -> pl.DataFrame:
    """People and money by years of support; the part of the tenth that is longest on it (`Langvarig`). Øre."""
    return basis.frame(LANGVARIGE, month=basis.month)


# The weeks of the run month by payer. EI-019 has the weeks in which payer and residence are two municipalities.
ANDRE_KOMMUNER = f"""
WITH anden AS (
    SELECT DISTINCT borger_id, ydelse_id,
           unnest(generate_series(date_trunc('week', uge_fra), uge_til, INTERVAL 7 DAY))::DATE AS uge
    FROM refusion.anden_betaler WHERE maaned = $month
), hver AS (
    SELECT a.kommunekode, a.borger_id, a.beloeb_oere, {EGEN_SHARE} AS egen,
           CASE WHEN y.kilde IN (SELECT unnest($national)) THEN '{NATIONAL}' WHEN d.uge IS NULL THEN '{EGEN}'
               ELSE '{ANDEN}' END AS betaler
    FROM {AFREGNET} a JOIN {{benefits}} y ON y.ydelse_id = a.ydelse_id
    LEFT JOIN anden d ON d.borger_id = a.borger_id AND d.ydelse_id = a.ydelse_id AND d.uge = a.uge
    UNION ALL
    SELECT '{words.NOBODY}', borger_id, beloeb_oere, beloeb_oere, '{UDEN}' FROM refusion.uden_kommune
    WHERE maaned = $month
)
SELECT kommunekode, betaler, count(DISTINCT borger_id) AS borgere, count(*) AS borgeruger,
       sum(beloeb_oere)::BIGINT AS brutto_oere, sum(egen)::BIGINT AS egen_oere
FROM hver GROUP BY 1, 2"""


def andre_kommuner(basis: Basis) -> pl.DataFrame:
    """The weeks and money of the run month by who paid the person (`AndreKommuner`). Øre."""
    national = [kilde.id for kilde in basis.rules.kilder if kilde.art == "national"]
    return basis.frame(ANDRE_KOMMUNER, n=basis.number, fra=basis.month, month=basis.month, national=national)


# A T row takes one row back, so all rows of the ledger sum to those that stand, and need not be told apart. A week
# within a month has one standing row a person. Only in a week cut by a month end people must be counted by themselves.
UGETAL = """
WITH rk AS (
    SELECT kommunekode, uge, ydelse_id, borger_id, CASE raekketype WHEN 'T' THEN -1 ELSE 1 END AS antal, beloeb_oere,
           refusion_oere, medfinansiering_oere
    FROM opgoerelse.postering WHERE koersel <= $n AND maaned BETWEEN $fra AND $month
), helt AS (
    SELECT kommunekode, uge, ydelse_id, sum(antal)::BIGINT AS antal, sum(beloeb_oere)::BIGINT AS brutto_oere,
           sum(refusion_oere)::BIGINT AS refusion_oere, sum(medfinansiering_oere)::BIGINT AS medfinansiering_oere
    FROM rk GROUP BY ALL HAVING sum(antal) > 0
), delt AS (
    SELECT kommunekode, uge, ydelse_id, count(*) AS antal FROM (
        SELECT kommunekode, uge, ydelse_id, borger_id FROM rk WHERE month(uge) <> month(uge + 6)
        GROUP BY ALL HAVING sum(antal) > 0)
    GROUP BY ALL
)
SELECT h.* REPLACE (coalesce(d.antal, h.antal) AS antal)
FROM helt h LEFT JOIN delt d USING (kommunekode, uge, ydelse_id)"""


def ugetal(basis: Basis) -> pl.DataFrame:
    """People and money by week and benefit of the last 24 months (`Ugetal`). Øre."""
    return basis.frame(UGETAL, n=basis.number, fra=next_month(basis.month, -23), month=basis.month)


# The weeks of a gain's measure, with the percentage and step that the run month's rules give their number.
GEVINST = f"""
WITH hver AS (
    SELECT a.maaned, a.kommunekode, a.borger_id, a.beloeb_oere AS brutto, CASE
               WHEN t.trin IS NULL THEN {EGEN_SHARE}
               WHEN y.side = 'medfinansiering' THEN {half_away("a.beloeb_oere * t.procent", "100")}
               ELSE a.beloeb_oere - {half_away("a.beloeb_oere * t.procent", "100")} END AS egen
    FROM {AFREGNET} a JOIN {{benefits}} y ON y.ydelse_id = a.ydelse_id
    LEFT JOIN {{ahead}} t ON a.trin IS NOT NULL AND t.ydelse_id = a.ydelse_id AND t.frem = 0
        AND t.n = least(a.ydelsestaeller, $top)
    WHERE (a.maaned = $month OR a.maaned BETWEEN $fra AND $til) AND ($ydelse = '' OR a.ydelse_id = $ydelse)
        AND ($kommune = '' OR a.kommunekode = $kommune) AND ($trin IS NULL OR coalesce(t.trin, a.trin) = $trin)
)
SELECT maaned, kommunekode, count(DISTINCT borger_id) AS borgere, sum(brutto)::BIGINT AS brutto_oere,
       sum(egen)::BIGINT AS egen_oere
FROM hver GROUP BY 1, 2"""
GAINS_BEFORE = "SELECT gevinst_id, kommunekode, forskel FROM opfoelgning.gevinst WHERE koersel = $n"


def gevinst(basis: Basis) -> pl.DataFrame:
    """The gains that the rules name, each against its baseline under today's rules (`Gevinst`)."""
    top = _top(basis)
    measured = [
        Measured(
            entry,
            basis.frame(
                GEVINST,
                n=basis.number,
                month=basis.month,
                fra=entry.baseline_fra,
                til=entry.baseline_til,
                ydelse=entry.ydelse_id,
                kommune=entry.kommunekode,
                trin=entry.trin,
                top=top,
            ),
        )
        for entry in basis.rules.gevinster
    ]
    known = basis.session.has("opfoelgning.gevinst")
    before = basis.frame(GAINS_BEFORE, n=basis.number - 1) if known else Gevinst.empty()
    return gains(measured, before, basis.month)


# The ledger of the runs of the year, as its vouchers post it. The months before the first run are opening rows.
OF_THE_YEAR = """
SELECT kommunekode, ydelse_id, procent, sum(refusion_oere)::BIGINT AS refusion_oere,
       sum(medfinansiering_oere)::BIGINT AS medfinansiering_oere
FROM opgoerelse.postering p LEFT JOIN opgoerelse.koersel k USING (koersel)
WHERE k.maaned BETWEEN $fra AND $month OR (p.koersel = 0 AND p.maaned >= $fra) GROUP BY ALL"""


def budget(basis: Basis, lines: pl.DataFrame, ahead: pl.DataFrame) -> pl.DataFrame:
    """The accounts of the budgets with the vouchers of the year and the forecast of its rest (`Budget`). Øre.

    `lines`: the budgets (kommunekode, konto, budget_oere). `ahead`: the forecast by percentage.
    """
    settled = basis.frame(OF_THE_YEAR, fra=basis.month.replace(month=1), month=basis.month)
    booked, expected = (posted(rows, basis.rules) for rows in (settled, rest_of_year(ahead, basis.month)))
    return deviation(lines, booked, expected, basis.month)
