"""Understands small numbers: the country's sums, and no number of a group of few people outside its municipality."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date

import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opfoelgning.views import KEY, VIEWS

# The column that counts a view's people. A view without a count shows its numbers to the municipality alone.
COUNTED = {
    **dict.fromkeys(["trappe", "bevaegelser", "naeste_trin", "genoptjening", "prognose"], "borgere"),
    **dict.fromkeys(["rettelser", "sene_uger", "potentiale", "langvarige", "andre_kommuner"], "borgere"),
    "haengende": "antal",
    "ugetal": "antal",
}
# `ugetal` tells the sum of a benefit, so no step of one benefit may be hidden alone.
BENEFIT, BY_BENEFIT = ["ydelse_id"], {"trappe", "potentiale"}
# Words about a row, no numbers and no part of its key.
WORDS = {"gruppe", "alvor", "handling", "maal", "ejer", "enhed", "baseline_fra", "baseline_til", "kommuner"}
# Numbers of the group, which everybody may see.
OF_THE_GROUP = ["median_promille", "median_trin4_promille", "median_pr_indbygger_oere"]
TOTAL = "i alt"
Edge = tuple[str, str]


def key_of(contract: type[Contract]) -> list[str]:
    """The columns that tell the rows of a municipality's month apart."""
    return [name for name in contract.to_schema().unique or () if name not in KEY or name == "maaned"]


def numbers_of(contract: type[Contract]) -> list[str]:
    """The columns with numbers of a municipality: all but its key and words."""
    words = {*KEY, *key_of(contract), *WORDS}
    return [name for name in contract.to_schema().columns if name not in words]


def summed(view: str, rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a view as sums over all municipalities, with kommunekode 000. Øre.

    A mean is made again of its parts. A band, an error and a place have no sum: null. Senders are together.
    Of a comparison there is one row per group, with its medians; of the gains, those in kroner or numbers.
    """
    contract = VIEWS[view]
    if view == "sammenlign":
        own = [name for name in numbers_of(contract) if name not in OF_THE_GROUP]
        groups = rows.unique("gruppe", maintain_order=True).sort("gruppe")
        return groups.with_columns(pl.lit(None, pl.Int64).alias(name) for name in own).with_columns(
            kommunekode=pl.lit(NOBODY)
        )
    if view == "gevinst":
        rows = rows.filter(pl.col("enhed") != "promille")
    by = ["koersel", *(name for name in key_of(contract) if name != "afsender")]
    means = {
        "egen_promille": ("egen_oere", "brutto_oere", 1000),
        "alder_maaneder": ("alder_x", "borgeruger", 1),
        "egen_pr_uge_oere": ("egen_pr_uge_x", "borgere", 1),
    }
    rows = rows.with_columns(
        **({"alder_x": pl.col("alder_maaneder") * pl.col("borgeruger")} if "alder_maaneder" in rows.columns else {}),
        **({"egen_pr_uge_x": pl.col("egen_pr_uge_oere") * pl.col("borgere")} if view == "potentiale" else {}),
    )
    unsummed = {*means, "lav_oere", "hoej_oere", "fejl_promille"}
    adds = [pl.col(name).sum() for name in rows.columns if name.endswith("_x")]
    for name in contract.to_schema().columns:
        if name in {*by, "kommunekode"} or name in unsummed:
            continue
        column = pl.col(name)
        if name == "aeldste_koersel":
            adds.append(column.min())
        elif name == "faldet_tilbage":
            adds.append(column.any())
        elif name in WORDS or name == "afsender":
            adds.append(column.first() if name != "afsender" else pl.lit("").first().alias(name))
        else:
            adds.append(pl.when(column.null_count() == 0).then(column.sum()))
    whole = rows.group_by(by).agg(adds).with_columns(kommunekode=pl.lit(NOBODY)).sort(by)
    made = [
        _share(pl.col(part) * times, pl.col(of)).alias(name)
        for name, (part, of, times) in means.items()
        if name in contract.to_schema().columns and {part, of} <= set(whole.columns)
    ]
    whole = whole.with_columns(made)
    if view == "potentiale":
        whole = whole.with_columns(egen_13_uger_oere=13 * pl.col("egen_pr_uge_oere"))
    return whole.select(
        pl.col(name) if name in whole.columns else pl.lit(None, dtype=pl.Int64).alias(name)
        for name in contract.to_schema().columns
    )


def municipalities(rows: pl.DataFrame, month: date, bound: int) -> pl.DataFrame:
    """The money of a month per municipality, of rows of `trappe`: kommunekode, borgere, and amounts in øre.

    People are those of their last week. Null where they are fewer than `bound`, and in the next smallest municipality.
    """
    money = ["brutto_oere", "refusion_oere", "medfinansiering_oere", "egen_oere"]
    of = rows.filter(pl.col("maaned") == month).group_by("maaned", "kommunekode")
    sums = of.agg(pl.col("borgere_sidst").sum().alias("borgere"), pl.col(money).sum()).sort("kommunekode")
    return blanked(sums, "borgere", money, bound, ["maaned"]).drop("maaned")


def _share(part: pl.Expr, of: pl.Expr) -> pl.Expr:
    """`part` over `of`, half away from zero; null without a whole."""
    whole = pl.when(of != 0).then(of.abs())
    return part.sign() * of.sign() * ((2 * part.abs() + whole) // (2 * whole))


def blanked(
    rows: pl.DataFrame, count: str, money: Sequence[str], bound: int, within: Sequence[str] = KEY
) -> pl.DataFrame:
    """Rows whose numbers may leave the municipality: count and money are null in groups of fewer people than `bound`.

    `within`: the columns whose rows have a total that a reader may know. The smallest of the other groups are hidden
    too, until two or more groups with `bound` people together are hidden. So no difference between the total and the
    shown rows tells a small group. Order of the rows is kept.
    """
    return _without(_marked(rows, count, money, bound, within), [count, *money])


def _marked(
    rows: pl.DataFrame, count: str, money: Sequence[str], bound: int, within: Sequence[str], forced: str = ""
) -> pl.DataFrame:
    """The rows with `_skjult`: whether their numbers are hidden. `forced` names a column that hides rows beforehand."""
    people = pl.col(count)
    other = [name for name in rows.columns if name not in {count, *money, *within}]
    has = (people != 0) | pl.any_horizontal(pl.col(name).fill_null(0) != 0 for name in money)
    first = has & ((people < bound) | (pl.col(forced) if forced else pl.lit(value=False)))
    placed = rows.with_row_index("_plads").with_columns(_har=has, _foerst=first)
    ordered = placed.sort("_foerst", "_har", count, *other, descending=[True, True, *[False] * (len(other) + 1)])
    group = list(within)
    hidden, hidden_people = pl.col("_foerst").sum().over(group), people.filter(pl.col("_foerst")).sum().over(group)
    number = pl.int_range(pl.len()).over(group)
    before = people.cum_sum().over(group) - people
    too_little = (number < 2) | (before < bound)
    more = pl.col("_har") & (hidden > 0) & ((hidden < 2) | (hidden_people < bound)) & too_little
    return ordered.with_columns(_skjult=pl.col("_foerst") | more).sort("_plads").drop("_plads", "_har", "_foerst")


def _without(marked: pl.DataFrame, numbers: Sequence[str]) -> pl.DataFrame:
    """The rows with null for the numbers that are hidden."""
    shown = [pl.when(~pl.col("_skjult")).then(pl.col(name)).alias(name) for name in numbers]
    return marked.with_columns(shown).drop("_skjult")


def leaving(
    view: str, contract: type[Contract], rows: pl.DataFrame, bound: int
) -> tuple[pl.DataFrame, pl.DataFrame, set[date]]:
    """The rows of a view that may leave the municipalities, the country's sums, and the months with a grand total.

    A sum is null where it would tell a hidden number by the rows beside it; `ugetal` has none. The grand total of a
    month is told only if no hidden number follows from it. Of a comparison only the group's medians are left. A view
    that counts nobody has no numbers left in its rows; its sums are of all municipalities.
    """
    numbers = numbers_of(contract)
    whole = summed(view, rows) if view in VIEWS else rows.clear()
    months = set(rows["maaned"])
    if view not in COUNTED:
        kept = OF_THE_GROUP if view == "sammenlign" else []
        own = [name for name in numbers if name not in kept]
        if view != "sammenlign":
            by = key_of(contract)
            many = rows.group_by(by).len().filter(pl.col("len") >= bound)
            whole = whole.join(many, on=by, how="semi", maintain_order="left")
        blank = [pl.lit(None).cast(rows.schema[name]).alias(name) for name in own]
        return rows.with_columns(blank), whole, months
    count = COUNTED[view]
    money = [name for name in numbers if name != count]
    table = ["koersel", "maaned"]
    marked = _marked(rows, count, money, bound, [*KEY, *BENEFIT] if view in BY_BENEFIT else KEY)
    if view in BY_BENEFIT:
        marked = _marked(marked, count, money, bound, KEY, "_skjult")
    if whole.is_empty():
        return _of_fewer(_without(marked, numbers), bound), whole, set()
    cells = [name for name in key_of(contract) if name not in {"maaned", "afsender"}]
    held = marked.filter("_skjult").group_by(*table, *cells).agg(_celler=pl.len(), _folk=pl.col(count).sum())
    beside = whole.join(held, on=[*table, *cells], how="left", nulls_equal=True, maintain_order="left")
    risky = beside.with_columns(
        _udsat=((pl.col("_celler") == 1) | (pl.col("_folk") < bound)).fill_null(value=False)
    ).drop("_celler", "_folk")
    sums = _marked(risky, count, money, bound, table, "_udsat").drop("_udsat")
    few = marked.group_by(KEY).agg(pl.col(count).sum()).filter(pl.col(count).is_between(1, bound - 1))
    for month in sorted(months):
        small = few.filter(maaned=month)
        told = small.is_empty() or (small.height > 1 and small[count].sum() >= bound)
        tiny = (pl.col("maaned") == month) & (pl.col(count) > 0) & (pl.col(count) < bound)
        sums = sums.with_columns(_lille=tiny)
        sums = _unfound(marked.filter(maaned=month), sums, set(small["kommunekode"]), cells, told=told)
        months -= set() if told else {month}
    shown = _of_fewer(_without(marked, numbers), bound)
    return shown, _of_fewer(_without(sums.drop("_lille"), numbers), bound, shown), months


def _of_fewer(rows: pl.DataFrame, bound: int, beside: pl.DataFrame | None = None) -> pl.DataFrame:
    """The rows without numbers of a few of a shown group: null where they are under the bound, or told by such a row.

    The people last on a step are never told outside, as they sum to the movements. Nor is the money of a municipality's
    longest tenth, who may be few in any group.
    """
    never = [name for name in ("borgere_sidst", "laengste_tiendedel_oere") if name in rows.columns]
    if never:
        return rows.with_columns(pl.lit(None, pl.Int64).alias(name) for name in never)
    if "paa_ydelse" not in rows.columns:
        return rows
    few = pl.col("paa_ydelse").is_between(1, bound - 1)
    if beside is not None:
        few |= pl.col("spand").is_in(beside.filter(pl.col("paa_ydelse").is_null())["spand"].unique().to_list())
    parts = ("paa_ydelse", "vaerdi_13_uger_oere")
    return rows.with_columns(pl.when(~few).then(pl.col(name)).alias(name) for name in parts)


def _unfound(
    rows: pl.DataFrame, sums: pl.DataFrame, small: set[str], cells: Sequence[str], *, told: bool
) -> pl.DataFrame:
    """The sums of a month with more of them hidden, until no hidden number follows from all the totals together.

    `small`: municipalities whose whole month is hidden. `told`: True if the grand total is shown.
    Municipalities and groups are the points of a graph, and hidden numbers its lines. The totals tell a hidden number
    if its line is a bridge, and only then. A line on a circle can give to the next one on it. A sum of many people
    (not `_lille`) may follow.
    """
    month = pl.col("maaned") == rows["maaned"][0]
    name = pl.concat_str([pl.col(cell).cast(pl.String).fill_null("-") for cell in cells], separator="|")
    lines = rows.filter("_skjult").select(pl.concat_str(pl.lit("k"), "kommunekode"), name.alias("celle")).rows()
    own: dict[str, set[str]] = defaultdict(set)
    for kommune, cell in lines:
        own[kommune].add(cell)
    lines += [(f"k{kode}", TOTAL) for kode in sorted(small)]
    tiny = set(sums.filter("_lille").select(name).to_series())
    while True:
        hidden = set(sums.filter(month & pl.col("_skjult")).select(name).to_series())
        whole = [(NOBODY, cell) for cell in sorted(hidden)] + ([] if told else [(NOBODY, TOTAL)])
        found = {(one, cell) for one, cell in bridges([*lines, *whole]) if one != NOBODY or cell in tiny}
        beside = {kommune for kommune, cell in lines if (NOBODY, cell) in found or (kommune, cell) in found}
        more = {cell for kommune in beside for cell in own[kommune]}
        if more <= hidden:
            return sums
        sums = sums.with_columns(_skjult=pl.col("_skjult") | (month & name.is_in(list(more))))


def bridges(lines: Sequence[Edge]) -> set[Edge]:
    """The lines of a graph that lie on no circle; two lines between the same points are a circle."""
    at: Mapping[str, list[tuple[str, int]]] = defaultdict(list)
    for number, (one, other) in enumerate(lines):
        at[one].append((other, number))
        at[other].append((one, number))
    seen: dict[str, int] = {}
    low: dict[str, int] = {}
    found: set[Edge] = set()
    for start in at:
        if start in seen:
            continue
        seen[start] = low[start] = len(seen)
        path = [(start, -1, iter(at[start]))]
        while path:
            point, came, rest = path[-1]
            step = next(((there, number) for there, number in rest if number != came), None)
            if step is None:
                path.pop()
                if path:
                    before = path[-1][0]
                    low[before] = min(low[before], low[point])
                    if low[point] > seen[before]:
                        found.add(lines[came])
            elif step[0] in seen:
                low[point] = min(low[point], seen[step[0]])
            else:
                seen[step[0]] = low[step[0]] = len(seen)
                path.append((step[0], step[1], iter(at[step[0]])))
    return found
