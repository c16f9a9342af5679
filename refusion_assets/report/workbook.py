"""Understands the workbook of a municipality: a sheet per view with real numbers, the same bytes for the same rows."""

from collections.abc import Callable, Mapping, Sequence
from datetime import date, datetime, time
from io import BytesIO
from typing import Any

import xlsxwriter  # type: ignore[import-untyped]

from refusion_assets.domain.findings.statement import POSTER
from refusion_assets.report.catalogue import KINDS, Kolonne, Visning, visninger
from refusion_assets.report.page import Report, Row

LEFT_OUT = ("koersel", "kommunekode")
# In a file a format is written as in English; Excel shows it by the reader's own country: 1.234,56 and 36,6 %.
FORMATS = {"kr": "#,##0.00", "pct": "0.0%", "tal": "#,##0", "maaned": "mmm yyyy", "tekst": "General", "ja": "General"}
DIVISORS = {"kr": 100, "pct": 1000, "tal": 1}
WIDTHS = {"kr": 16, "pct": 12, "tal": 11, "maaned": 11, "tekst": 26, "ja": 9}
WIDE = {"handling": 80, "regel": 50, "ydelse_id": 42, "aarsag": 50, "maal": 30, "afsender": 40}
MOST_OF_A_NAME = 31
SHEET = "Oversigt"
Words = Mapping[str, Callable[[Any], str]]


def workbook(report: Report, words: Words, day: date) -> bytes:
    """The workbook of a municipality or of the country (000); `day` is written as the time it was made.

    Sheets: the numbers of the first screen, one per view with all its rows, and the meaning of the columns. Kroner are
    numbers with øre as decimals, shares are fractions, months are dates. A hidden number is an empty cell.
    """
    kept = BytesIO()
    options = {"in_memory": True, "default_date_format": FORMATS["maaned"]}
    book = xlsxwriter.Workbook(kept, options)
    made = datetime.combine(day, time())
    book.set_properties({"title": f"Opfølgning på refusion, {report.navn}", "created": made})
    style = {kind: book.add_format({"num_format": text}) for kind, text in FORMATS.items()}
    style["head"] = book.add_format({"bold": True, "bg_color": "#DCE6F1", "text_wrap": True, "valign": "top"})
    style["wrap"] = book.add_format({"text_wrap": True, "valign": "top"})
    style["big"] = book.add_format({"bold": True, "font_size": 14})
    _first(book, report, style)
    for visning in visninger():
        _sheet(book, visning, report.rows[visning.id], words, style)
    _columns(book, style)
    book.close()
    return kept.getvalue()


def shown(visning: Visning) -> list[Kolonne]:
    """The columns of a sheet: all but those that are the same in the whole workbook."""
    return [kolonne for kolonne in visning.kolonner.values() if kolonne.navn not in LEFT_OUT]


def _sheet(book: Any, visning: Visning, rows: Sequence[Row], words: Words, style: Mapping[str, Any]) -> None:
    """One view with all its rows; without rows, the sentence that says why."""
    sheet = book.add_worksheet(visning.titel[:MOST_OF_A_NAME])
    columns = shown(visning)
    for place, kolonne in enumerate(columns):
        sheet.set_column(place, place, WIDE.get(kolonne.navn, WIDTHS.get(kolonne.slags, 12)))
    sheet.freeze_panes(1, 1)
    sheet.set_landscape()
    sheet.set_paper(9)
    sheet.fit_to_pages(1, 0)
    sheet.repeat_rows(0)
    for place, kolonne in enumerate(columns):
        sheet.write_string(0, place, kolonne.titel, style["head"])
    if not rows:
        sheet.write_string(1, 0, visning.tom)
        return
    sheet.autofilter(0, 0, len(rows), len(columns) - 1)
    for line, row in enumerate(rows, start=1):
        for place, kolonne in enumerate(columns):
            value = row[kolonne.navn]
            if kolonne.navn in words and kolonne.navn != "trin":
                sheet.write_string(line, place, words[kolonne.navn](value))
            elif value is not None:
                slags = KINDS[row["enhed"]] if kolonne.slags == "enhed" else kolonne.slags
                _cell(sheet, (line, place), value, slags, style)


def _cell(sheet: Any, at: tuple[int, int], value: Any, slags: str, style: Mapping[str, Any]) -> None:
    """A value in its cell, in the unit that people read: kroner, a fraction, a date."""
    if slags in DIVISORS:
        sheet.write_number(*at, value / DIVISORS[slags], style[slags])
    elif slags == "maaned":
        sheet.write_datetime(*at, value, style[slags])
    else:
        sheet.write_string(*at, ("nej", "ja")[value] if slags == "ja" else value)


def _first(book: Any, report: Report, style: Mapping[str, Any]) -> None:
    """The numbers of the first screen."""
    sheet = book.add_worksheet(SHEET)
    sheet.set_column(0, 0, 46)
    sheet.set_column(1, 5, 18)
    sheet.write_string(0, 0, f"{report.navn}: opfølgning på refusion", style["big"])
    sheet.write_string(1, 0, f"Kørsel nr. {report.koersel}, ydelsesmåned")
    sheet.write_datetime(1, 1, report.month, style["maaned"])
    if not report.own:
        sheet.write_string(2, 0, f"Grupper med færre end {report.bound} borgere er skjult: tomme celler.")
    heads = ("Måned", "Ydelser i alt", "Refusion", "Medfinansiering", "Egen andel", "Egen andel i pct.")
    names = ("maaned", "brutto_oere", "refusion_oere", "medfinansiering_oere", "egen_oere", "egen_promille")
    kinds = ("maaned", "kr", "kr", "kr", "kr", "pct")
    line = _lines(sheet, 4, heads, [[row[name] for name in names] for row in report.grouped["trappe"][0]], kinds, style)
    if report.settled:
        rows = [[month, *three] for month, three in sorted(report.settled.items())]
        line = _lines(sheet, line, ("Kørslens afregning", *POSTER.values()), rows, kinds[:4], style)
    sums = []
    for title, view, count, money in (
        ("Nyt trin i de næste 13 uger: tab", "naeste_trin", "borgere", "tab_13_uger_oere"),
        ("Rettelser til tidligere måneder, netto", "rettelser", "borgeruger", "netto_oere"),
        ("Hængende sager", "haengende", "antal", "beloeb_oere"),
    ):
        mine = report.rows[view]
        known = [[row[name] for row in mine if row[name] is not None] for name in (money, count)]
        hidden = "" if report.own or not mine else " (de viste grupper)"
        sums.append([title + hidden, *(sum(values) if values or not mine else None for values in known)])
    _lines(sheet, line, ("I kørslen", "Beløb", "Borgere, borgeruger eller fund"), sums, ("tekst", "kr", "tal"), style)


def _lines(
    sheet: Any,
    line: int,
    heads: Sequence[str],
    rows: Sequence[Sequence[Any]],
    kinds: Sequence[str],
    style: Mapping[str, Any],
) -> int:
    """Write a small table from a line on; the line after it and an empty one."""
    for place, text in enumerate(heads):
        sheet.write_string(line, place, text, style["head"])
    for down, row in enumerate(rows, start=line + 1):
        for place, value in enumerate(row):
            if value is not None:
                _cell(sheet, (down, place), value, kinds[place], style)
    return line + len(rows) + 2


def _columns(book: Any, style: Mapping[str, Any]) -> None:
    """The meaning of every column."""
    sheet = book.add_worksheet("Kolonner")
    sheet.set_column(0, 0, 30)
    sheet.set_column(1, 1, 30)
    sheet.set_column(2, 2, 100)
    sheet.freeze_panes(1, 0)
    for place, text in enumerate(("Ark", "Kolonne", "Betydning")):
        sheet.write_string(0, place, text, style["head"])
    line = 1
    for visning in visninger():
        for kolonne in shown(visning):
            for place, text in enumerate((visning.titel, kolonne.titel, kolonne.betydning)):
                sheet.write_string(line, place, text, style["wrap"])
            line += 1
