"""Understands the targets of a municipality: its budget of the year, and the gains that the rules name."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.domain.calendar import month_range, next_month, round_half_away
from refusion_assets.domain.opfoelgning.views import Budget
from refusion_assets.domain.opfoelgning.views import Gevinst as Gains
from refusion_assets.domain.rules.entries import Gevinst, Rulebook

HEAD = ("Kommunekode", "Konto", "Beløb")
AMOUNT = re.compile(r"([-−]?)(\d{1,3}(?:\.\d{3})+|\d{1,13})(?:,(\d{1,2}))?")
ACCOUNT = re.compile(r"\d\.\d\d\.\d\d(\.\d(\.\w{1,6})?)?")
PROMILLE, ANTAL, OERE = "promille", "antal", "oere"


BUDGET = {"kommunekode": pl.String, "konto": pl.String, "budget_oere": pl.Int64}
NO_BUDGET = pl.DataFrame(schema=BUDGET)


@dataclass(frozen=True)
class BudgetFile:
    """The lines of a budget (kommunekode, konto, budget_oere; one row per account), and a Danish sentence per fault."""

    rows: pl.DataFrame
    faults: tuple[str, ...]


def read_budget(name: str, lines: Sequence[str], rules: Rulebook) -> BudgetFile:
    """The lines of a budget file; a line with a fault is left out and named by its number. Øre, expenses above zero.

    Accounts are written as those of the voucher, or shorter: `5.57.78`, `5.57.78.2` or `5.57.78.2.010`. Several lines
    on an account are added. A sentence repeats nothing from the file.
    """
    head, *rest = [line.rstrip("\r\n") for line in lines] or [""]
    if tuple(part.strip() for part in head.lstrip("\ufeff").split(";")) != HEAD:
        said = f"{name}: første linje skal være {';'.join(HEAD)}"
        return BudgetFile(_budget_frame([]), (said,))
    rows, faults = [], []
    for number, line in enumerate(rest, 2):
        if not line.strip():
            continue
        parts = [part.strip() for part in line.split(";")]
        fault = _fault(parts, rules)
        if fault:
            faults.append(f"{name} linje {number}: {fault}")
        else:
            rows.append((parts[0], parts[1], read_amount(parts[2]) or 0))
    return BudgetFile(_budget_frame(rows), tuple(faults))


def _budget_frame(rows: Sequence[tuple[str, str, int]]) -> pl.DataFrame:
    frame = pl.DataFrame(rows, schema=BUDGET, orient="row")
    return frame.group_by("kommunekode", "konto").agg(pl.col("budget_oere").sum()).sort("kommunekode", "konto")


def _fault(parts: Sequence[str], rules: Rulebook) -> str:
    """Why a line cannot be used; empty if it can."""
    if len(parts) != len(HEAD):
        return f"der skal være {len(HEAD)} felter"
    if parts[0] not in rules.kommunenavne:
        return "kommunekoden er ingen kommune"
    if not ACCOUNT.fullmatch(parts[1]):
        return "kontoen skal skrives som på bilaget, fx 5.57.78 eller 5.57.78.2.010"
    return "" if read_amount(parts[2]) is not None else "beløbet kan ikke læses; skriv fx 1.250.000,00 eller -1250000"


def read_amount(text: str) -> int | None:
    """A Danish amount in øre; spaces and dots may part the thousands. None if it is none."""
    found = AMOUNT.fullmatch(re.sub(r"[ \u00a0\u202f]", "", text))
    if not found:
        return None
    sign, whole, rest = found.groups()
    oere = int(whole.replace(".", "")) * 100 + int((rest or "").ljust(2, "0"))
    return -oere if sign else oere


def deviation(budget: pl.DataFrame, booked: pl.DataFrame, ahead: pl.DataFrame, month: date) -> pl.DataFrame:
    """Each account of a budget with what is booked and expected in the year (`Budget`). Øre, expenses above zero.

    `budget`: from `read_budget`. `booked`, `ahead`: kommunekode, ydelse_id, konto, debet_oere of the year's vouchers so
    far, and of the forecast of its other months. Each counts on the longest account of the budget that it begins with,
    else on its own. Only municipalities with a budget have rows. The rest of the year is not known of an account that
    neither has money, or that a benefit without a forecast is booked on. In December it is 0.
    """
    mine = {kode: set(rows["konto"]) for (kode,), rows in budget.group_by("kommunekode")}
    sums = [
        _on_budget(rows, mine).group_by("kommunekode", "konto").agg(pl.col("debet_oere").sum().alias(name))
        for rows, name in ((booked, "forbrug_oere"), (ahead, "prognose_rest_oere"))
    ]
    key = ["kommunekode", "konto"]
    rows = budget.join(sums[0], on=key, how="full", coalesce=True).join(sums[1], on=key, how="full", coalesce=True)
    rest, told = pl.col("prognose_rest_oere"), pl.col("ydelse_id").is_in(ahead["ydelse_id"].unique().to_list())
    known = _on_budget(booked, mine).group_by("kommunekode", "konto").agg(alle=told.all())
    rows = rows.join(known, on=key, how="left").with_columns(pl.col("budget_oere", "forbrug_oere").fill_null(0))
    # A benefit with a forecast, of which a municipality expects nobody, has no row: its rest is 0.
    rest = pl.when(pl.col("alle")).then(rest.fill_null(0)).when(pl.col("alle").is_null()).then(rest)
    rows = rows.with_columns(prognose_rest_oere=pl.lit(0, pl.Int64) if month.month == 12 else rest)
    rows = rows.with_columns(helaar_oere=pl.col("forbrug_oere") + pl.col("prognose_rest_oere"), maaned=pl.lit(month))
    names = [name for name in Budget.to_schema().columns if name != "koersel"]
    return rows.with_columns(afvigelse_oere=pl.col("helaar_oere") - pl.col("budget_oere")).select(names).sort(key)


def _on_budget(rows: pl.DataFrame, mine: Mapping[object, set[str]]) -> pl.DataFrame:
    """The rows of municipalities with a budget, each on the account of it that it counts on."""
    pairs = rows.select("kommunekode", "konto").unique().filter(pl.col("kommunekode").is_in(list(mine)))
    places = [(kode, konto, _longest(konto, mine[kode])) for kode, konto in pairs.iter_rows()]
    placed = pl.DataFrame(places, schema=["kommunekode", "konto", "sted"], orient="row", strict=False)
    placed = placed.cast(dict.fromkeys(placed.columns, pl.String))
    return rows.join(placed, on=["kommunekode", "konto"]).with_columns(konto="sted").drop("sted")


def _longest(konto: str, accounts: set[str]) -> str:
    """The longest of some accounts that an account begins with; itself if there is none."""
    parts = konto.split(".")
    shorter = (".".join(parts[:length]) for length in range(len(parts), 0, -1))
    return next((one for one in shorter if one in accounts), konto)


@dataclass(frozen=True)
class Measured:
    """A gain of the rules with the months of its measure: maaned, kommunekode, borgere, brutto_oere and egen_oere."""

    entry: Gevinst
    rows: pl.DataFrame


def gains(measured: Iterable[Measured], before: pl.DataFrame, month: date) -> pl.DataFrame:
    """Each gain and municipality: the mean month of the baseline, run month `month`, and if it has fallen back.

    Columns of `Gevinst` but koersel. `measured`: amounts under today's rules. `before`: the rows of the run before. A
    gain is a smaller number, unless `maalsaetning` is above zero. It has fallen back if there
    was one a run ago, and it is smaller now.
    Hjemmel: none, technical (`gevinster.toml`).
    """
    parts = [_gain(one, month) for one in measured]
    if not parts:
        return Gains.empty().drop("koersel")
    rows = pl.concat(parts).join(
        before.select("gevinst_id", "kommunekode", foer="forskel"), on=["gevinst_id", "kommunekode"], how="left"
    )
    better = pl.when(pl.col("maalsaetning").fill_null(-1) > 0).then(1).otherwise(-1)
    then = pl.col("foer") * better
    worse = (then > 0) & (pl.col("forskel") * better < then)
    return rows.with_columns(faldet_tilbage=worse.fill_null(value=False)).drop("foer")


def _gain(one: Measured, month: date) -> pl.DataFrame:
    """One gain by municipality, those too that have rows on one side only."""
    entry = one.entry
    months = len(month_range(entry.baseline_fra, entry.baseline_til))
    sides = {
        "nu": (pl.col("maaned") == month, 1),
        "baseline": (pl.col("maaned").is_between(entry.baseline_fra, entry.baseline_til), months),
    }
    column = entry.maal.partition(".")[2]
    numbers = ["borgere", "brutto_oere", "egen_oere"]
    rows = one.rows.select(pl.col("kommunekode").unique().sort())
    for side, (which, count) in sides.items():
        sums = one.rows.filter(which).group_by("kommunekode").agg(pl.col(numbers).sum())
        both = rows.join(sums, on="kommunekode", how="left", maintain_order="left").fill_null(0)
        if column == "egen_promille":
            top, by = 1000 * both["egen_oere"].to_numpy(), both["brutto_oere"].clip(1).to_numpy()
            value = round_half_away(top, by)
        else:
            value = round_half_away(both[column].to_numpy(), count)
        rows = rows.with_columns(pl.Series(side, value))
    unit = PROMILLE if column == "egen_promille" else OERE if column.endswith("_oere") else ANTAL
    return rows.with_columns(
        maaned=pl.lit(month),
        gevinst_id=pl.lit(entry.id),
        maal=pl.lit(entry.maal),
        ejer=pl.lit(entry.ejer),
        enhed=pl.lit(unit),
        baseline_fra=pl.lit(entry.baseline_fra),
        baseline_til=pl.lit(entry.baseline_til),
        forskel=pl.col("nu") - pl.col("baseline"),
        maalsaetning=pl.lit(entry.maalsaetning, pl.Int64),
    )


def rest_of_year(by_percentage: pl.DataFrame, month: date) -> pl.DataFrame:
    """The months of a forecast that lie in the year of the run month."""
    ahead = [n for n in range(1, 13) if next_month(month, n).year == month.year]
    return by_percentage.filter(pl.col("frem").is_in(ahead))
