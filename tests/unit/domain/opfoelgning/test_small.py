"""Small numbers: hidden with their money outside their municipality, and not to be found from the others."""

from datetime import date

import numpy as np
import polars as pl
from hypothesis import example, given
from hypothesis import strategies as st

from refusion_assets.domain.opfoelgning.small import blanked, bridges, leaving, summed
from refusion_assets.domain.opfoelgning.views import KEY, VIEWS
from tests.kit.timeline import examples

MONTH, BOUND = date(2026, 10, 1), 5
SPANS = ("0-1", "1-2", "2-5", "5+")
LANGVARIGE = VIEWS["langvarige"]
TABLES = st.integers(2, 4).flatmap(
    lambda wide: st.lists(st.lists(st.integers(0, 14), min_size=wide, max_size=wide), min_size=2, max_size=4)
)


def groups(people: list[list[int]], oere: int = 100) -> pl.DataFrame:
    """Rows of `langvarige`: a municipality per list, a range of years per number."""
    rows = [
        {
            "koersel": 82,
            "maaned": MONTH,
            "kommunekode": str(101 + kommune),
            "aar_paa_ydelse": SPANS[span],
            "borgere": count,
            "egen_oere": count * oere,
            "laengste_tiendedel_oere": 0,
        }
        for kommune, counts in enumerate(people)
        for span, count in enumerate(counts)
    ]
    return LANGVARIGE.validate(pl.DataFrame(rows))


def shown(people: list[int]) -> list[int | None]:
    """The counts of one municipality's groups that may leave it."""
    money = ["egen_oere", "laengste_tiendedel_oere"]
    return blanked(groups([people]), "borgere", money, BOUND)["borgere"].to_list()


def test_groups_of_five_are_shown_and_groups_of_four_are_not() -> None:
    assert shown([5, 6, 7]) == [5, 6, 7]
    assert shown([4, 4, 7]) == [None, None, 7]


def test_the_next_smallest_goes_with_a_small_group_that_a_total_would_tell() -> None:
    assert shown([4, 9, 30]) == [None, None, 30]


def test_two_hidden_groups_are_not_enough_when_they_are_few_together() -> None:
    assert shown([1, 2, 30, 40]) == [None, None, None, 40]


def test_an_empty_group_is_shown_and_hides_nobody() -> None:
    assert shown([0, 4, 9, 30]) == [0, None, None, 30]


def test_the_money_of_a_hidden_group_is_hidden_too_and_the_order_is_kept() -> None:
    rows = blanked(groups([[30, 2, 9]]), "borgere", ["egen_oere"], BOUND)
    assert rows["aar_paa_ydelse"].to_list() == ["0-1", "1-2", "2-5"]
    assert rows["egen_oere"].to_list() == [3000, None, None]


def test_a_few_people_within_a_shown_group_are_hidden_with_their_money_and_from_the_country() -> None:
    contract = VIEWS["genoptjening"]
    rows = contract.validate(
        pl.DataFrame(
            {
                "koersel": 82, "maaned": MONTH, "kommunekode": kode, "spand": spand, "borgere": 20, "paa_ydelse": paa,
                "uger_der_falder_ud_13": 7, "vaerdi_13_uger_oere": 100,
            }
            for kode, spand, paa in (("101", "0", 4), ("101", "1-13", 5), ("147", "0", 20), ("147", "1-13", 0))
        )
    )  # fmt: skip
    shown, sums, _ = leaving("genoptjening", contract, rows, BOUND)
    assert shown["paa_ydelse"].to_list() == [None, 5, 20, 0]
    assert shown["vaerdi_13_uger_oere"].to_list() == [None, 100, 100, 100]
    assert shown["borgere"].to_list() == [20] * 4
    assert dict(sums.select("spand", "paa_ydelse").iter_rows()) == {"0": None, "1-13": 5}


def test_the_country_s_own_share_is_right_for_billions_of_kroner() -> None:
    contract = VIEWS["trappe"]
    row = {
        "koersel": 82, "maaned": MONTH, "ydelse_id": "KTH", "trin": 4, "borgere": 90_000, "borgere_sidst": 90_000,
        "borgeruger": 400_000, "brutto_oere": 300_000_000_000, "refusion_oere": 60_000_000_000,
        "medfinansiering_oere": 0, "egen_oere": 240_000_000_000, "egen_promille": 800,
    }  # fmt: skip
    rows = contract.validate(pl.DataFrame([row | {"kommunekode": kode} for kode in ("101", "147")]))
    assert summed("trappe", rows)["egen_promille"].to_list() == [800]


def test_the_longest_tenth_and_those_last_on_a_step_are_told_by_the_municipality_alone() -> None:
    rows, sums, _ = leaving("langvarige", LANGVARIGE, groups([[20, 30], [40, 50]]), BOUND)
    assert rows["borgere"].null_count() == 0
    assert {*rows["laengste_tiendedel_oere"], *sums["laengste_tiendedel_oere"]} == {None}


def test_the_sum_of_the_country_is_hidden_where_one_municipality_alone_is_hidden() -> None:
    rows, sums, _ = leaving("langvarige", LANGVARIGE, groups([[4, 9, 30], [20, 30, 40]]), BOUND)
    assert rows["borgere"].to_list() == [None, None, 30, 20, 30, 40]
    assert sums["borgere"].to_list() == [None, None, 70]


def test_the_sum_of_the_country_is_shown_where_two_municipalities_hide_enough_people() -> None:
    _, sums, _ = leaving("langvarige", LANGVARIGE, groups([[4, 9, 30], [4, 8, 40]]), BOUND)
    assert sums["borgere"].to_list() == [8, 17, 70]


def test_no_more_sums_are_hidden_than_a_circle_of_hidden_numbers_needs() -> None:
    _, sums, _ = leaving("langvarige", LANGVARIGE, groups([[4, 9, 30], [4, 60, 9]]), BOUND)
    assert sums["borgere"].to_list() == [8, None, None]


def test_a_month_has_no_grand_total_where_it_would_tell_a_small_municipality() -> None:
    assert leaving("langvarige", LANGVARIGE, groups([[0, 4], [0, 10]]), BOUND)[2] == set()
    assert leaving("langvarige", LANGVARIGE, groups([[0, 4], [0, 3], [9, 9]]), BOUND)[2] == {MONTH}


def test_a_comparison_leaves_its_municipality_as_the_medians_of_its_group_alone() -> None:
    contract = VIEWS["sammenlign"]
    numbers = {name: 7 for name, c in contract.to_schema().columns.items() if c.dtype.type is pl.Int64}
    row = {**numbers, "koersel": 82, "maaned": MONTH, "kommunekode": "101", "gruppe": "hele landet", "kommuner": 98}
    rows, sums, _ = leaving("sammenlign", contract, contract.validate(pl.DataFrame([row])), BOUND)
    left = {name for name, value in rows.row(0, named=True).items() if value is not None}
    medians = {"median_promille", "median_trin4_promille", "median_pr_indbygger_oere"}
    assert left == {*KEY, "gruppe", "kommuner", *medians}
    assert sums["median_promille"].to_list() == [7]


def test_a_share_of_the_country_is_made_again_of_its_sums() -> None:
    columns = VIEWS["trappe"].to_schema().columns
    rows = [
        {"kommunekode": kode, "ydelse_id": "KTH", "trin": 1, "koersel": 82, "maaned": MONTH, "borgere": 9}
        | {"borgere_sidst": 9, "borgeruger": 9, "brutto_oere": brutto, "refusion_oere": 0, "medfinansiering_oere": 0}
        | {"egen_oere": egen, "egen_promille": 1000 * egen // brutto}
        for kode, brutto, egen in (("101", 1000, 200), ("147", 3000, 2401))
    ]
    whole = summed("trappe", pl.DataFrame(rows, schema={n: c.dtype.type for n, c in columns.items()}))
    assert whole.select("kommunekode", "borgere", "brutto_oere", "egen_promille").rows() == [("000", 18, 4000, 650)]


def test_a_step_is_not_hidden_alone_in_its_benefit_as_the_weeks_tell_the_sum_of_a_benefit() -> None:
    columns = VIEWS["potentiale"].to_schema().columns
    rows = [
        {"koersel": 82, "maaned": MONTH, "kommunekode": "101", "ydelse_id": ydelse, "trin": trin, "borgere": borgere}
        | {name: 100 for name in columns if name.endswith("_oere")}
        for ydelse, trin, borgere in (("KTH", 1, 4), ("KTH", 4, 90), ("LED", 1, 6), ("LED", 4, 70))
    ]
    frame = pl.DataFrame(rows, schema={name: column.dtype.type for name, column in columns.items()})
    assert leaving("potentiale", VIEWS["potentiale"], frame, BOUND)[0]["borgere"].to_list() == [None, None, 6, 70]


def test_a_bridge_is_a_line_without_a_circle() -> None:
    circle = [("a", "x"), ("a", "y"), ("b", "x"), ("b", "y")]
    assert bridges(circle) == set()
    assert bridges([*circle, ("b", "z")]) == {("b", "z")}
    assert bridges([("a", "x"), ("a", "x")]) == set()
    two = [*circle, ("c", "z"), ("c", "w"), ("d", "z"), ("d", "w"), ("b", "z")]
    assert bridges(two) == {("b", "z")}, "two circles joined by one line"


def told(people: list[list[int]], rows: pl.DataFrame, sums: pl.DataFrame, *, grand: bool) -> list[str]:
    """The hidden numbers that follow from those shown, and from the totals that a reader may know.

    A sum of many people may follow: it is no small group, and it is hidden to hide another. Linear algebra alone,
    without the graph: a number follows if its unit vector is in the span of the totals.
    """
    spans = sorted(set(rows["aar_paa_ydelse"]))
    groups_of = [*rows.select("kommunekode", "aar_paa_ydelse", "borgere").rows()]
    groups_of += [("000", span, count) for span, count in sums.select("aar_paa_ydelse", "borgere").rows()]
    order = {cell: place for place, cell in enumerate((k, s) for k, s, count in groups_of if count is None)}
    if not order:
        return []
    kommuner = [str(101 + k) for k in range(len(people))]
    totals = [[(cell[1] == s) * (-1 if cell[0] == "000" else 1) for cell in order] for s in spans]
    known = [k for k, counts in zip(kommuner, people, strict=True) if sum(counts) >= BOUND]
    totals += [[int(cell[0] == k) for cell in order] for k in [*known, *(["000"] if grand else [])]]
    matrix = np.array(totals)
    rank = np.linalg.matrix_rank(matrix)
    one = np.eye(len(order))
    found = [cell for cell, at in order.items() if np.linalg.matrix_rank(np.vstack([matrix, one[at]])) == rank]
    many = {span for place, span in enumerate(SPANS) if sum(c[place] for c in people if place < len(c)) >= BOUND}
    return [f"{k} {span}" for k, span in found if k != "000" or span not in many]


@examples(100)
@given(TABLES)
@example([[4, 9, 30], [20, 30, 40]])
@example([[0, 4], [0, 10]])
@example([[4, 9, 0, 0], [0, 0, 4, 9], [4, 0, 9, 0], [0, 0, 0, 30]])
def test_no_hidden_number_follows_from_the_shown_ones_and_the_totals(people: list[list[int]]) -> None:
    true = groups(people)
    rows, sums, months = leaving("langvarige", LANGVARIGE, true, BOUND)
    assert not rows.filter((pl.col("borgere") > 0) & (pl.col("borgere") < BOUND)).height
    assert (rows["borgere"].is_null() == rows["egen_oere"].is_null()).all()
    columns = [name for name in rows.columns if name != "laengste_tiendedel_oere"]
    shown_true = rows.drop_nulls("borgere").join(true, on=columns, how="semi").height
    assert shown_true == rows.height - rows["borgere"].null_count(), "a shown number is the true one"
    assert told(people, rows, sums, grand=MONTH in months) == []


@given(st.lists(st.integers(0, 14), min_size=1, max_size=4))
def test_the_hidden_groups_of_a_municipality_are_never_few_people_together(people: list[int]) -> None:
    hidden = [count for count, seen in zip(people, shown(people), strict=True) if seen is None]
    assert not hidden or sum(hidden) >= min(BOUND, sum(people))
    assert len(hidden) != 1 or sum(people) == hidden[0]
