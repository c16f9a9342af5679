"""The page and the workbook of a municipality: the same numbers, the same bytes, and nothing that is not its own."""

import re
from datetime import date, datetime
from functools import partial
from html.parser import HTMLParser
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from openpyxl import load_workbook

from refusion_assets.files.outgoing import sums_of
from refusion_assets.report.catalogue import kr, pct, tal, visninger, words_of
from refusion_assets.report.page import Report, page
from refusion_assets.report.workbook import shown, workbook
from refusion_assets.report.write import INSIGHT_COLUMNS, publish, reports, write
from tests.kit.data_root import RULEBOOK
from tests.kit.opfoelgning import MONTH, statement_of, views_of

WORDS = words_of(RULEBOOK)
KODER = ["101", "630", "751"]
VIEWS_OF = views_of(KODER, RULEBOOK)
DAY = date(2026, 11, 3)


def report_of(kode: str, views: dict[str, pl.DataFrame] = VIEWS_OF) -> Report:
    made = reports(MONTH, RULEBOOK, views, [kode] if kode != "000" else KODER, statement_of(KODER))
    return next(report for report in made if report.kommunekode == kode)


class Tables(HTMLParser):
    """The tables of a page: view, columns they are grouped by, heads, rows and foot, all as text."""

    def __init__(self, text: str) -> None:
        """Read a page."""
        super().__init__()
        self.tables: list[dict[str, Any]] = []
        self.part, self.cell = "", False
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "table":
            self.tables.append({**given, "caption": "", "thead": [], "tbody": [], "tfoot": []})
        elif tag in ("thead", "tbody", "tfoot", "caption"):
            self.part = tag
        elif tag == "tr":
            self.tables[-1][self.part].append([])
        elif tag in ("td", "th"):
            self.tables[-1][self.part][-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        if tag in ("td", "th"):
            self.cell = False
        elif tag in ("caption", "tfoot", "table"):
            self.part = ""

    def handle_data(self, data: str) -> None:
        if self.part == "caption":
            self.tables[-1]["caption"] += data
        elif self.cell:
            self.tables[-1][self.part][-1][-1] += data


def sheets(report: Report) -> dict[str, list[dict[str, Any]]]:
    """The rows of every sheet, as another library reads them."""
    book = load_workbook(BytesIO(workbook(report, WORDS, DAY)), read_only=True)
    found = {}
    for sheet in book.worksheets:
        head, *rows = sheet.iter_rows(values_only=True)
        found[sheet.title] = [dict(zip(head, row, strict=False)) for row in rows]
    return found


@pytest.fixture(scope="module")
def own() -> Report:
    return report_of("630")


def test_the_same_rows_give_the_same_bytes(own: Report) -> None:
    again = report_of("630", views_of(KODER, RULEBOOK))
    assert page(again, WORDS) == page(own, WORDS)
    assert workbook(again, WORDS, DAY) == workbook(own, WORDS, DAY)


def test_the_order_of_the_rows_changes_nothing(own: Report) -> None:
    shuffled = {name: frame.sample(fraction=1, shuffle=True, seed=3) for name, frame in VIEWS_OF.items()}
    again = report_of("630", shuffled)
    assert page(again, WORDS) == page(own, WORDS)
    assert workbook(again, WORDS, DAY) == workbook(own, WORDS, DAY)


def test_the_workbook_has_every_row_and_number_of_the_views(own: Report) -> None:
    book = sheets(own)
    for visning in visninger():
        mine = VIEWS_OF[visning.id].filter(kommunekode="630")
        rows = book[visning.titel[:31]]
        assert len(rows) == mine.height, visning.id
        for kolonne in shown(visning):
            values = [row[kolonne.titel] for row in rows]
            if kolonne.slags in ("kr", "pct", "tal") and kolonne.navn != "trin":
                by = {"kr": 100, "pct": 1000, "tal": 1}[kolonne.slags]
                assert sum(round(value * by) for value in values if value is not None) == mine[kolonne.navn].sum()
            assert all(not isinstance(value, str) for value in values) or kolonne.slags not in ("kr", "pct")


def test_every_number_of_the_pages_tables_is_the_sum_of_rows_of_the_workbook(own: Report) -> None:
    book, tables = sheets(own), Tables(page(own, WORDS)).tables
    asked = 0
    for visning in visninger():
        for tabel in visning.tabeller:
            if tabel.kryds or tabel.lodret:
                continue
            found = next(t for t in tables if t["data-visning"] == visning.id and t["caption"] == tabel.titel)
            heads = [visning.kolonner[name] for name in tabel.efter]
            rows = book[visning.titel[:31]]
            if not tabel.maaneder:
                rows = [row for row in rows if row["Måned"] == datetime(MONTH.year, MONTH.month, 1)]  # noqa: DTZ001
            for name in tabel.vis:
                kolonne = visning.kolonner[name]
                place = found["thead"][0].index(kolonne.titel)
                if kolonne.slags != "kr":
                    continue
                for line in found["tbody"]:
                    key = line[: len(heads)]
                    part = [row for row in rows if [_said(h, row[h.titel]) for h in heads] == key]
                    known = [row[kolonne.titel] for row in part]
                    wanted = "–" if None in known else kr(sum(round(value * 100) for value in known))
                    assert part, (visning.id, key)
                    assert line[place] == wanted, (visning.id, key, name)
                    asked += 1
                if name in tabel.ialt and found["tfoot"]:
                    whole = [row[kolonne.titel] for row in rows]
                    wanted = "" if None in whole else kr(sum(round(value * 100) for value in whole))
                    assert found["tfoot"][0][place] == wanted, (visning.id, name)
    assert asked > 200, "the tables of the page were not found"


def _said(kolonne: Any, value: Any) -> str:
    """A cell of the workbook as the page writes it."""
    if kolonne.slags == "maaned":
        months = ("jan.", "feb.", "marts", "april", "maj", "juni", "juli", "aug.", "sept.", "okt.", "nov.", "dec.")
        return f"{months[value.month - 1]} {value.year}"
    if kolonne.slags == "kr":
        return kr(round(value * 100))
    if kolonne.slags == "pct":
        return pct(round(value * 1000))
    if kolonne.navn == "trin":
        return "uden for trappen" if value is None else str(value)
    return tal(value) if isinstance(value, int) else str(value)


def test_a_crossed_table_sums_to_its_view_in_both_ways(own: Report) -> None:
    table = next(t for t in Tables(page(own, WORDS)).tables if t["data-efter"] == "fra til")
    mine = VIEWS_OF["bevaegelser"].filter(kommunekode="630")
    by_place = dict(mine.group_by("til").agg(pl.col("borgere").sum()).rows())
    for head, foot in zip(table["thead"][0][1:-1], table["tfoot"][0][1:-1], strict=True):
        assert foot == tal(by_place[head.removeprefix("til ")])
    assert table["tfoot"][0][-1] == tal(mine["borgere"].sum())
    assert [row[-1] for row in table["tbody"]] == [
        tal(mine.filter(fra=row[0])["borgere"].sum()) for row in table["tbody"]
    ]


def test_the_first_screen_says_the_month_and_its_change_since_the_month_before(own: Report) -> None:
    mine = VIEWS_OF["trappe"].filter(kommunekode="630")
    now, then = (mine.filter(maaned=m)["egen_oere"].sum() for m in (MONTH, date(2026, 9, 1)))
    text = page(own, WORDS)
    assert f'<p class="big">{kr(now)}</p>' in text
    change = kr(now - then)
    assert f"<dd>{change if now < then else '+' + change}" in text


def test_the_reasons_of_a_change_sum_to_it(own: Report) -> None:
    text = page(own, WORDS)
    card = text.split("Hvorfor flyttede egen andel sig?")[1].split("</div>")[0]
    whole, *parts = (int(re.sub(r"[^\d−]", "", n).replace("−", "-")) for n in re.findall(r"[+−]?[\d.]+\xa0kr\.", card))
    assert abs(whole - sum(parts)) <= len(parts), "each is rounded by itself"


@pytest.mark.parametrize(
    ("name", "movements"),
    [
        ("Nye på trappen", [("udenfor", f"trin {n}") for n in range(1, 5)]),
        ("Gået fra trappen", [(f"trin {n}", "udenfor") for n in range(1, 5)]),
        ("Rykket til et dyrere trin", [(f"trin {a}", f"trin {b}") for a in range(1, 5) for b in range(a + 1, 5)]),
        ("Rykket til et billigere trin", [(f"trin {a}", f"trin {b}") for b in range(1, 5) for a in range(b + 1, 5)]),
        ("Samme trin som før", [(f"trin {n}", f"trin {n}") for n in range(1, 5)]),
        ("Ydelser uden for trappen", [("udenfor", "udenfor")]),
    ],
)
def test_each_reason_of_a_change_has_the_movements_of_its_name(
    own: Report, name: str, movements: list[tuple[str, str]]
) -> None:
    mine = {(row["fra"], row["til"]): row for row in own.rows["bevaegelser"]}
    chosen = [mine[pair] for pair in movements if pair in mine]
    people, oere = sum(row["borgere"] for row in chosen), sum(row["aendring_oere"] for row in chosen)
    amount = kr(oere) if oere <= 0 else f"+{kr(oere)}"
    assert chosen
    assert f'<span>{name}, {tal(people)} borgere</span><span class="kr">{amount}</span>' in page(own, WORDS)


def test_the_first_screen_shows_what_somebody_must_act_on_before_what_is_only_told() -> None:
    rows = VIEWS_OF["haengende"].with_columns(
        alvor=pl.when(pl.col("regel") == "FIL-003").then(pl.lit("INFO")).otherwise("alvor"),
        beloeb_oere=pl.when(pl.col("regel") == "FIL-003").then(10**9).otherwise("beloeb_oere"),
    )
    text = page(report_of("630", {**VIEWS_OF, "haengende": rows}), WORDS)
    card = text.split("Hvad hænger, og hvem skal handle?")[1].split("Se alle")[0]
    assert re.findall(r"(EI|FIL)-0", card) == ["EI", "EI", "FIL"]


def test_texts_of_strangers_are_escaped() -> None:
    bad = "<script>alert('x')</script>"
    views = {**VIEWS_OF, "haengende": VIEWS_OF["haengende"].with_columns(handling=pl.lit(bad), afsender=pl.lit(bad))}
    views["haengende"] = views["haengende"].unique(["kommunekode", "regel"], keep="first", maintain_order=True)
    text = page(report_of("630", views), WORDS)
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_the_page_asks_for_nothing_outside_itself(own: Report) -> None:
    text = page(own, WORDS)
    assert not re.findall(r"""(?:src|href)=["'](?!#)|url\(|@import|<script|<link|http""", text)
    names = re.findall(r'id="([^"]+)"', text)
    assert len(names) == len(set(names)), "an id is there twice"
    assert set(re.findall(r'href="#([^"]+)"', text)) <= set(names)


def test_headings_are_in_order_and_every_table_has_a_caption_and_row_heads(own: Report) -> None:
    text = page(own, WORDS)
    levels = [int(level) for level in re.findall(r"<h([1-6])", text)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after <= before + 1 for before, after in pairwise(levels))
    assert text.count("<table") == text.count("<caption") == len(Tables(text).tables)
    assert all(f'<desc id="{name}-d">' in text for name in ("trappe", "naeste", "prognose"))


@pytest.mark.parametrize("visning", visninger(), ids=lambda visning: visning.id)
def test_an_empty_view_says_why_in_one_sentence(visning: Any) -> None:
    text = page(report_of("630", {}), WORDS)
    assert f"<p>{visning.tom}</p>" in text
    assert visning.forklaring not in text
    assert sheets(report_of("630", {}))[visning.titel[:31]][0][shown(visning)[0].titel] == visning.tom


def test_the_country_shows_no_group_of_few_people_and_only_medians_of_municipalities() -> None:
    views = views_of(KODER, RULEBOOK, most=7)
    whole = report_of("000", views)
    for name, count in (("trappe", "borgere"), ("naeste_trin", "borgere"), ("rettelser", "borgere")):
        counts = [row[count] for row in whole.rows[name]]
        assert None in counts, name
        assert all(n is None or n == 0 or n >= 5 for n in counts), name
    text = page(whole, WORDS)
    assert "skjult" in text
    assert [row["egen_promille"] for row in whole.rows["sammenlign"]] == [None]
    assert [row["median_promille"] for row in whole.rows["sammenlign"]] == [671]


def test_the_months_of_the_country_are_the_sums_of_the_municipalities() -> None:
    whole = report_of("000")
    for row in whole.grouped["trappe"][0]:
        true = VIEWS_OF["trappe"].filter(maaned=row["maaned"])
        assert row["egen_oere"] == true["egen_oere"].sum()


def test_all_files_are_written_and_nothing_is_left_beside_them(tmp_path: Path) -> None:
    folder = tmp_path / "udgaaende" / "2026-10"
    folder.mkdir(parents=True)
    again = partial(write, folder, MONTH, RULEBOOK, VIEWS_OF, poster=statement_of(KODER), koder=KODER)
    names = again()
    first = {name: (folder / name).read_bytes() for name in names}
    assert {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()} == set(names)
    assert [p.name for p in folder.parent.iterdir()] == ["2026-10"]
    base = "yr-ydelsesrefusion-opfoelgning-{}-0082-2026-11-03.{}"
    assert {base.format(kode, end) for kode in [*KODER, "000"] for end in ("html", "xlsx")} <= set(names)
    assert sums_of(folder) == {}, "a CSV file in the folder itself would have to be in SHA256SUMS"
    assert again() == names
    assert {name: (folder / name).read_bytes() for name in names} == first


def test_the_table_of_kmd_insight_has_its_six_columns_and_the_sums_of_the_weeks(tmp_path: Path) -> None:
    names = write(tmp_path / "m", MONTH, RULEBOOK, VIEWS_OF, koder=["630"])
    (name,) = [name for name in names if name.startswith("insight/")]
    assert name == "insight/yr-ydelsesrefusion-insight-630-0082-2026-11-03.csv"
    text = (tmp_path / "m" / name).read_text("utf-8")
    assert text.splitlines()[0] == "Uge;Antal;Total;Refusion;Medfinansiering;Ydelse"
    read = pl.read_csv(text.encode(), separator=";", decimal_comma=True, try_parse_dates=True)
    mine = VIEWS_OF["ugetal"].filter(kommunekode="630")
    assert tuple(read.columns) == INSIGHT_COLUMNS
    assert read.height == mine.height
    assert read["Antal"].sum() == mine["antal"].sum()
    assert round(read["Total"].sum() * 100) == mine["brutto_oere"].sum()
    assert set(read["Uge"]) == set(mine["uge"])
    assert "Kontanthjælp" in set(read["Ydelse"])


def test_parquet_has_names_and_no_group_of_few_people(tmp_path: Path) -> None:
    views = views_of(KODER, RULEBOOK, most=7)
    names = publish(tmp_path, MONTH, RULEBOOK, views)
    assert names == sorted(f"{view}/2026-10.parquet" for view in views)
    rows = pl.read_parquet(tmp_path / "trappe/2026-10.parquet")
    assert set(rows["kommune"]) == {RULEBOOK.kommunenavne[kode] for kode in KODER}
    assert "Kontanthjælp" in set(rows["ydelse"])
    few = rows.filter((pl.col("borgere") > 0) & (pl.col("borgere") < 5))
    assert few.is_empty()
    assert rows["brutto_oere"].null_count() == rows["borgere"].null_count() > 0
    gevinst = pl.read_parquet(tmp_path / "gevinst/2026-10.parquet")
    assert gevinst["nu"].null_count() == gevinst.height, "it counts nobody, so it stays at home"
