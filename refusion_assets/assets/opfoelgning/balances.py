"""Balances of the follow-up: each view sums to the ledger, the state or another view, or agrees with a recount."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import date, timedelta
from fractions import Fraction
from itertools import pairwise
from operator import attrgetter

import polars as pl

from refusion_assets.assets.checks.sample import lines_of
from refusion_assets.assets.opfoelgning.queries import genoptjening, last_whole_week, naeste_trin
from refusion_assets.assets.opfoelgning.settled import MONTHS_SHOWN, WEEKS_AHEAD, Basis, last_week
from refusion_assets.domain.calendar import last_day, next_month
from refusion_assets.domain.efterregning.money import Borger, rate_of
from refusion_assets.domain.efterregning.reports import Claim, claims, judge, rounded
from refusion_assets.domain.efterregning.weeks import count_all, count_weeks, restart
from refusion_assets.domain.findings import words
from refusion_assets.domain.findings.outcome import Outcome, judged
from refusion_assets.domain.opfoelgning.views import SPANDE, UDEN
from refusion_assets.domain.wording import plural
from refusion_assets.store.batches import sql_list
from refusion_assets.store.session import Relation

Views = Mapping[str, pl.DataFrame]
MONEY = ["brutto_oere", "refusion_oere", "medfinansiering_oere"]
ERRORS_OF, MOST_TOLD = "prognose_fejl", 5
ACTION = "Brug ikke opfølgningen for måneden; meld fejlen til systemets ejere. Månedens filer er ikke berørt."


def apart(name: str, ours: pl.DataFrame, theirs: pl.DataFrame, by: list[str]) -> Outcome:
    """Passed if both frames have the same whole numbers for each key `by`; a missing key counts as zeros."""
    numbers = [column for column in ours.columns if column not in by]
    both = ours.join(theirs, on=by, how="full", coalesce=True, suffix="_anden", nulls_equal=True)
    both = both.with_columns(pl.col(pl.Int64).fill_null(0))
    wrong = both.filter(pl.any_horizontal(pl.col(c) != pl.col(f"{c}_anden") for c in numbers))
    money = [(pl.col(c) - pl.col(f"{c}_anden")).abs().sum() for c in numbers if c.endswith("_oere")]
    oere = int(wrong.select(pl.sum_horizontal(money)).item()) if money and wrong.height else 0
    return judged(
        wrong.height,
        f"{name} stemmer i alle {plural(both.height, 'tal', 'tal')}.",
        f"{name} stemmer ikke i {plural(wrong.height, 'tal', 'tal')} af {both.height}.",
        ACTION,
        oere=oere,
        tal={"sammenlignet": both.height},
    )


def _sums(frame: pl.DataFrame, by: list[str], **columns: pl.Expr) -> pl.DataFrame:
    return frame.group_by(by).agg(**columns).with_columns(pl.col(pl.UInt32, pl.UInt64).cast(pl.Int64))


def _sum(*names: str) -> dict[str, pl.Expr]:
    return {name: pl.col(name).sum() for name in names}


def trappe_er_kladden(basis: Basis, views: Views) -> Outcome:
    """Each benefit month of the staircase sums to all ledger rows of the runs so far. Øre."""
    ledger = basis.frame(
        """SELECT maaned, kommunekode, sum(beloeb_oere)::BIGINT AS brutto_oere,
        sum(refusion_oere)::BIGINT AS refusion_oere,
        sum(medfinansiering_oere)::BIGINT AS medfinansiering_oere FROM opgoerelse.postering
        WHERE koersel <= $n AND maaned BETWEEN $fra AND $month GROUP BY ALL""",
        n=basis.number,
        month=basis.month,
        fra=next_month(basis.month, 1 - MONTHS_SHOWN),
    )
    by = ["maaned", "kommunekode"]
    return apart("Trappen mod kladden", _sums(views["trappe"], by, **_sum(*MONEY)), ledger, by)


def bevaegelser_er_trappen(basis: Basis, views: Views) -> Outcome:
    """Rows of the movements are the staircase of the month before, columns that of the month; so is the money. Øre."""
    moves, steps = views["bevaegelser"], views["trappe"]
    before, by = next_month(basis.month, -1), ["maaned", "kommunekode", "sted"]
    sides = [
        _sums(
            moves.filter(pl.col(side).str.starts_with("trin")).with_columns(maaned=pl.lit(month), sted=side),
            by,
            borgere=pl.col("borgere").sum(),
        )
        for side, month in (("fra", before), ("til", basis.month))
    ]
    steps = steps.filter(pl.col("kommunekode").is_in(basis.koder))
    placed = steps.filter((pl.col("maaned") >= before) & (pl.col("borgere_sidst") > 0))
    placed = placed.with_columns(sted=pl.format("trin {}", "trin"))
    margins = apart(
        "Bevægelserne mod trappen", pl.concat(sides), _sums(placed, by, borgere=pl.col("borgere_sidst").sum()), by
    )
    sign = pl.when(pl.col("maaned") == basis.month).then(1).when(pl.col("maaned") == before).then(-1).otherwise(0)
    grown = _sums(steps, ["kommunekode"], aendring_oere=(pl.col("egen_oere") * sign).sum())
    money = apart("Bevægelsernes penge", _sums(moves, ["kommunekode"], **_sum("aendring_oere")), grown, ["kommunekode"])
    return money if margins.bestaaet else margins


def sammenlign_er_trappen(basis: Basis, views: Views) -> Outcome:
    """The own share above or below the median, and the share itself, are those of the staircase's twelve months."""
    year = views["trappe"].filter(pl.col("maaned") > next_month(basis.month, -12))
    sums = _sums(year, ["kommunekode"], **_sum("egen_oere", "brutto_oere"))
    said = views["sammenlign"].join(sums, on="kommunekode")
    wrong = said.filter(
        (pl.col("egen_promille") * pl.col("brutto_oere") - 1000 * pl.col("egen_oere")).abs() * 2 > pl.col("brutto_oere")
    )
    return judged(
        wrong.height,
        f"Egenandelen i alle {plural(said.height, 'kommune', 'kommuner')} er trappens.",
        f"Egenandelen er en anden end trappens i {plural(wrong.height, 'kommune', 'kommuner')}.",
        ACTION,
        tal={"sammenlignet": said.height},
    )


def rettelser_er_opgoerelsens(basis: Basis, views: Views) -> Outcome:
    """The causes sum to the corrections of the run, municipality by municipality. Øre."""
    settled = basis.frame(
        "SELECT kommunekode, rettelser_oere AS netto_oere FROM opgoerelse.kommune WHERE koersel = $n", n=basis.number
    )
    ours = _sums(views["rettelser"], ["kommunekode"], **_sum("netto_oere"))
    return apart("Årsagerne til rettelserne", ours, settled, ["kommunekode"])


def sene_uger_er_kladden(basis: Basis, views: Views) -> Outcome:
    """The late weeks sum to the run's new ledger rows of earlier months. Øre."""
    ledger = basis.frame(
        """SELECT kommunekode, count(*) AS borgeruger, sum(beloeb_oere)::BIGINT AS beloeb_oere,
        sum(refusion_oere - medfinansiering_oere)::BIGINT AS netto_oere FROM opgoerelse.postering
        WHERE koersel = $n AND raekketype = 'N' AND maaned < $month GROUP BY 1""",
        n=basis.number,
        month=basis.month,
    )
    ours = _sums(views["sene_uger"], ["kommunekode"], **_sum("borgeruger", "beloeb_oere", "netto_oere"))
    return apart("De sene uger", ours, ledger, ["kommunekode"])


def haengende_er_adviseringerne(basis: Basis, views: Views) -> Outcome:
    """The findings that are shown as open are the open advice of the run. Øre."""
    advice = basis.frame(
        """SELECT kommunekode, regel, count(*) AS antal, coalesce(sum(beloeb_oere), 0)::BIGINT AS beloeb_oere
        FROM opgoerelse.advis WHERE koersel = $n AND status <> $solved GROUP BY 1, 2""",
        n=basis.number,
        solved=words.LOEST,
    )
    by = ["kommunekode", "regel"]
    return apart("Det, der hænger,", _sums(views["haengende"], by, **_sum("antal", "beloeb_oere")), advice, by)


def potentiale_er_trappen(basis: Basis, views: Views) -> Outcome:
    """The people of the potential are those of the staircase in the run month."""
    by = ["kommunekode", "ydelse_id", "trin"]
    now = views["trappe"].filter(pl.col("maaned") == basis.month).select(*by, "borgere")
    return apart("Potentialet mod trappen", views["potentiale"].select(*by, "borgere"), now, by)


def langvarige_er_trappen(basis: Basis, views: Views) -> Outcome:
    """The own share by years sums to that of the staircase's steps in the run month. Øre."""
    now = views["trappe"].filter((pl.col("maaned") == basis.month) & pl.col("trin").is_not_null())
    ours, theirs = (_sums(rows, ["kommunekode"], **_sum("egen_oere")) for rows in (views["langvarige"], now))
    return apart("De langvarige mod trappen", ours, theirs, ["kommunekode"])


def andre_kommuner_er_tilstanden(basis: Basis, views: Views) -> Outcome:
    """The money by payer sums to the staircase of the run month, and to the money without municipality. Øre."""
    ours = _sums(views["andre_kommuner"], ["kommunekode"], **_sum("brutto_oere", "egen_oere"))
    now = _sums(
        views["trappe"].filter(pl.col("maaned") == basis.month), ["kommunekode"], **_sum("brutto_oere", "egen_oere")
    )
    homeless = basis.session.integer(
        "SELECT sum(beloeb_oere) FROM refusion.uden_kommune WHERE maaned = $month", month=basis.month
    )
    none = pl.DataFrame({"kommunekode": [words.NOBODY], "brutto_oere": [homeless], "egen_oere": [homeless]})
    theirs = pl.concat([now, none]) if homeless else now
    return apart(f"Betalerne (også {UDEN})", ours, theirs, ["kommunekode"])


def genoptjening_er_efterregnet(basis: Basis, views: Views) -> Outcome:
    """The weeks of self-support of a sample agree with the second calculation at the same week."""
    numbers = _drawn(basis, "SELECT DISTINCT borger_id FROM {by_step}", basis.rules.graense("stikproeve_borgere") // 8)
    by, counts = ["spand"], ["borgere", "paa_ydelse", "uger_der_falder_ud_13"]
    ours = _sums(genoptjening(basis, f"borger_id IN ({numbers})"), by, **_sum(*counts))
    kinds = {"spand": pl.String, **dict.fromkeys(counts, pl.Int64)}
    again = pl.DataFrame(list(_restarts_again(basis, numbers)), schema=kinds, orient="row")
    outcome = apart("Genoptjeningen mod efterregningen", ours, _sums(again, by, **_sum(*counts)), by)
    every = f"{plural(int(views['genoptjening']['borgere'].sum()), 'borger har', 'borgere har')} en tæller."
    return replace(outcome, tekst=f"{every} {outcome.tekst}")


def _restarts_again(basis: Basis, numbers: str) -> Iterator[tuple[str, int, int, int]]:
    """Each person with a count at the last whole week, counted again: range, 1, on support, weeks that leave."""
    rules, week = basis.rules, last_whole_week(basis.month)
    known = basis.session.day("SELECT maaned FROM refusion.beregnet") or basis.month
    bounds = [int(spand.split("-")[0]) for spand in SPANDE]
    for own in _claims(basis, numbers, known).values():
        weeks = count_weeks(own, last_day(known), rules)
        now = weeks[week]
        if now.n > 0:
            began = max((day for day, one in weeks.items() if day <= week and one.n == 0), default=date.min)
            free = [day for day, one in weeks.items() if one.kind == "C" and began < day <= week and one.n > 0]
            since, then = (restart(day, rules)[1] for day in (week, week + timedelta(weeks=WEEKS_AHEAD)))
            leaving = sum(since <= day < then for day in free)
            place = sum(bound <= (now.genoptjening or 0) for bound in bounds) - 1
            yield SPANDE[place], 1, int(now.kind != "C"), leaving


def _claims(basis: Basis, numbers: str, known: date) -> dict[str, list[Claim]]:
    """The claims of some people (SQL list), by CPR number: the second calculation of what run `known` knew."""
    found: dict[str, list[Claim]] = defaultdict(list)
    for claim in claims(judge(lines_of(basis.session, known, numbers), basis.rules).brugt, basis.rules):
        found[claim.cpr].append(claim)
    people = basis.frame(f"SELECT cpr FROM identitet.borger WHERE borger_id IN ({numbers}) ORDER BY 1")
    return {cpr: found[cpr] for cpr in people["cpr"]}


def naeste_trin_er_efterregnet(basis: Basis, views: Views) -> Outcome:
    """The next steps of a sample agree with the second calculation, given 13 more weeks of the same benefits. Øre."""
    numbers = _drawn(basis, SOON, basis.rules.graense("stikproeve_borgere") // 8)
    chosen = f"(FROM {basis.on_step} WHERE borger_id IN ({numbers}))"
    by = ["ydelse_id", "fra", "til", "uger_til"]
    money = ["borgere", "tab_pr_uge_oere", "tab_13_uger_oere"]
    ours = _sums(naeste_trin(replace(basis, on_step=Relation(chosen))), by, **_sum(*money))
    people = basis.frame(f"SELECT * FROM {chosen} JOIN identitet.borger USING (borger_id) ORDER BY ALL")
    steps = list(_steps_again(basis, numbers, people))
    kinds = dict.fromkeys(by[1:] + money, pl.Int64)
    again = pl.DataFrame(steps, schema={"ydelse_id": pl.String, **kinds}, orient="row")
    outcome = apart("De næste trin mod efterregningen", ours, _sums(again, by, **_sum(*money)), by)
    every = f"{plural(int(views['naeste_trin']['borgere'].sum()), 'borger når', 'borgere når')} et nyt trin."
    return replace(outcome, tekst=f"{every} {outcome.tekst}")


# The people who reach another step within the weeks ahead.
SOON = """SELECT DISTINCT o.borger_id FROM {on_step} o
JOIN {ahead} a ON a.ydelse_id = o.ydelse_id AND a.n = least(o.n, (SELECT max(n) FROM {ahead})) WHERE a.trin <> o.trin"""


def _drawn(basis: Basis, people: str, size: int) -> str:
    """Some of the people of a query (borger_id), as an SQL list: drawn by a hash, the same ones each time."""
    drawn = basis.frame(f"SELECT borger_id FROM ({people}) ORDER BY hash(borger_id), borger_id LIMIT $size", size=size)
    return sql_list(drawn["borger_id"])


def _steps_again(
    basis: Basis, numbers: str, people: pl.DataFrame
) -> Iterator[tuple[str, int, int, int, int, int, int]]:
    """The next steps of each person and benefit by the second calculation: benefit, steps, weeks until, 1, and øre."""
    rules, claims_of = basis.rules, _claims(basis, numbers, basis.month)
    first = last_week(basis.month)
    weeks = [first + timedelta(weeks=k) for k in range(WEEKS_AHEAD + 1)]
    for (cpr,), mine in people.group_by("cpr", maintain_order=True):
        own = claims_of[str(cpr)]
        for ydelse_id in mine["ydelse_id"]:
            last = max((claim for claim in own if claim.ydelse_id == ydelse_id), key=attrgetter("til"))
            own = own + [replace(last, fra=week, til=week + timedelta(days=6)) for week in weeks]
        borger = Borger(str(cpr), own, [], count_all(own, weeks[-1] + timedelta(days=6), rules))
        for ydelse_id, brutto, dage in mine.select("ydelse_id", "brutto", "dage").iter_rows():
            rates = [rate_of(ydelse_id, week, borger, rules) for week in weeks]
            for k, ((_, foer, fra), (ydelse, efter, til)) in enumerate(pairwise(rates), 1):
                if fra != til:
                    more = efter - foer if ydelse.side == "medfinansiering" else foer - efter
                    oere = rounded(Fraction(7 * brutto * more, 100 * dage))
                    yield ydelse_id, fra or 0, til or 0, k, 1, oere, oere * (WEEKS_AHEAD + 1 - k)


def prognose_er_efterproevet(basis: Basis, views: Views) -> Outcome:
    """The forecast has an error from a year ago, and only benefits with one are forecast. Per mille."""
    errors = views[ERRORS_OF]
    known = errors.drop_nulls("fejl_promille")
    others = views["prognose"].join(known, on="ydelse_id", how="anti").height
    outcome = judged(
        others + int(known.is_empty()),
        f"{plural(known.height, 'ydelse', 'ydelser')} af {errors.height} har en prognose; den samme metode for et år "
        "siden ramte forbi med det, der står ved hver.",
        f"Ingen ydelse har en prognose for {basis.month:%Y-%m}: den kræver 36 måneder før kørslen med afregning.",
        "Vent, til der er måneder nok; resten af opfølgningen er hel.",
    )
    return replace(
        outcome, tal={f"fejl_promille_{y}": fejl for y, fejl in known.select("ydelse_id", "fejl_promille").iter_rows()}
    )


def budget_er_bogfoert(basis: Basis, views: Views) -> Outcome:
    """The accounts of a municipality with a budget sum to its vouchers of the year. Øre, expenses above zero."""
    budgets = views["budget"]
    if budgets.is_empty():
        return Outcome(True, "Ingen kommune har et budget for året.")
    settled = basis.frame(
        """SELECT kommunekode, sum(medfinansiering_oere - refusion_oere)::BIGINT AS forbrug_oere
        FROM opgoerelse.postering p LEFT JOIN opgoerelse.koersel k USING (koersel)
        WHERE k.maaned BETWEEN $fra AND $month OR (p.koersel = 0 AND p.maaned >= $fra) GROUP BY 1""",
        fra=basis.month.replace(month=1),
        month=basis.month,
    ).join(budgets, on="kommunekode", how="semi")
    return apart(
        "Budgettets forbrug", _sums(budgets, ["kommunekode"], **_sum("forbrug_oere")), settled, ["kommunekode"]
    )


def gevinster_holder(_: Basis, views: Views) -> Outcome:
    """No gain has fallen back since the run before; the sentence names those that have, and who owns them."""
    back = views["gevinst"].filter("faldet_tilbage")
    named = back.select(pl.format("{} i {} ({})", "gevinst_id", "kommunekode", "ejer")).to_series().to_list()
    return judged(
        back.height,
        f"{plural(views['gevinst'].height, 'gevinst', 'gevinster')} holder.",
        f"{plural(back.height, 'gevinst', 'gevinster')} er faldet tilbage: {'; '.join(named[:MOST_TOLD])}.",
        "Ejeren ser efter, hvad der har ændret sig, i opfoelgning.gevinst.",
    )


BALANCES: dict[str, tuple[Callable[[Basis, Views], Outcome], str]] = {
    "trappe": (trappe_er_kladden, "Hver ydelsesmåned på trappen summer til kladden, kommune for kommune."),
    "bevaegelser": (bevaegelser_er_trappen, "Rækker og søjler er trappen i de to måneder, og pengene er forskellen."),
    "naeste_trin": (
        naeste_trin_er_efterregnet,
        "Den anden beregning når de samme trin i de samme uger, for en stikprøve.",
    ),
    "genoptjening": (genoptjening_er_efterregnet, "Den anden beregning tæller de samme frie uger, for en stikprøve."),
    "prognose": (prognose_er_efterproevet, "Prognosen er prøvet mod det, der kom, for et år siden."),
    "budget": (budget_er_bogfoert, "Forbruget på budgettets konti er årets bilag, til øren."),
    "gevinst": (gevinster_holder, "Ingen gevinst er faldet tilbage siden sidste kørsel."),
    "sammenlign": (sammenlign_er_trappen, "Egenandelen er trappens seneste tolv måneder."),
    "rettelser": (rettelser_er_opgoerelsens, "Årsagerne summer til opgørelsens rettelser, til øren."),
    "sene_uger": (sene_uger_er_kladden, "De sene uger er kladdens nye rækker i tidligere måneder."),
    "haengende": (haengende_er_adviseringerne, "Det, der hænger, er de åbne adviseringer."),
    "potentiale": (potentiale_er_trappen, "Borgerne er trappens i måneden."),
    "langvarige": (langvarige_er_trappen, "Egenandelen er trappens i måneden, til øren."),
    "andre_kommuner": (andre_kommuner_er_tilstanden, "Pengene efter betaler summer til måneden, til øren."),
}
