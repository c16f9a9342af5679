"""The statement of a month: at most a screen, and the same in every form."""

import json
from dataclasses import replace
from datetime import date
from typing import Any

import pytest

from refusion_assets.domain.findings.statement import (
    WIDTH,
    Aarsag,
    Nyt,
    Oversigt,
    Post,
    compared,
    percent,
    some_of,
    wrapped,
)

NOW, BEFORE, YEAR = 345_678_901_234, 323_456_789_012, 0
POST = Post("Medfinansiering fra kommunerne", NOW, compared(date(2026, 9, 1), BEFORE, NOW), None)
NYT = Nyt("EI-006", "Indkomsttype og indtægtsart er dem, kontoen venter", 12, 0, "afsenderen", "", ("ky-101",), ())
RIGHT = Oversigt(
    maaned="2026-10",
    tilstand="rigtig",
    kommuner=98,
    borgere=1,
    raekker=2,
    poster=(POST,) * 3,
    aarsager=tuple(Aarsag("sen", "Sene indberetninger", -oere, 1) for oere in (40, 30, 20, 10)),
    nyt=(NYT,) * 9,
    aabne=108,
    karantaene="Een linje er i karantæne.",
    bemaerkninger=("lang " * 60,) * 4,
    filer="/srv/" + "m" * 200,
)


def said(statement: Oversigt, room: int | None = None) -> list[str]:
    """The lines without their tones."""
    return [line for _, line in statement.lines(room)]


def test_a_full_statement_fits_a_screen_and_every_line_but_the_path_has_a_hundred_characters() -> None:
    lines = said(RIGHT, WIDTH)
    assert len(lines) <= 22
    assert [line for line in lines if len(line) > WIDTH] == [f"  Filer: {RIGHT.filer}"]
    assert "    4 andre regler: 48 nye fund" in lines
    assert "    1 anden årsag: -0,10 kr." in lines
    assert lines[-1] == "  Det hele: oversigt/2026-10.txt i dataroden"
    assert "oversigt" not in said(replace(RIGHT, nyt=(), bemaerkninger=()), WIDTH)[-1]


def test_the_file_names_everything_and_breaks_long_lines_at_words() -> None:
    lines = said(RIGHT)
    assert sum(line.startswith("    EI-006") for line in lines) == len(RIGHT.nyt)
    parts = wrapped(f"  Bemærk: {RIGHT.bemaerkninger[0]}")
    assert max(map(len, parts)) <= WIDTH
    assert " ".join(part.strip() for part in parts) == f"Bemærk: {RIGHT.bemaerkninger[0]}".strip()
    assert parts[0].startswith("  Bemærk")
    assert parts[1].startswith("    lang")
    assert wrapped(f"  Filer: {RIGHT.filer}") == [f"  Filer: {RIGHT.filer}"]


@pytest.mark.parametrize(
    ("changes", "tone", "line"),
    [
        ({}, "rigtig", "Kørsel 2026-10 er rigtig og opgjort: 98 kommuner, 1 borger, 2 rækker"),
        (
            {"holdt_tilbage": ("706",)},
            "rigtig",
            "Kørsel 2026-10 er rigtig og opgjort: 98 kommuner, 1 borger, 2 rækker; 1 kommune er holdt tilbage",
        ),
        (
            {"tilstand": "stoppet", "grund": "FIL-001 a.csv: manifestet mangler"},
            "stoppet",
            "Kørsel 2026-10 er STOPPET: FIL-001 a.csv: manifestet mangler",
        ),
    ],
)
def test_the_first_line_says_right_or_stopped_and_why(changes: dict[str, Any], tone: str, line: str) -> None:
    statement = replace(RIGHT, **changes)
    assert statement.first() == (tone, line)
    only_remarks = said(statement)[1:] == [f"  Bemærk: {remark}" for remark in RIGHT.bemaerkninger]
    assert only_remarks == (tone == "stoppet")


@pytest.mark.parametrize(
    ("before", "now", "text"),
    [
        (1000, 1123, "+12,3 %"),
        (1000, 877, "-12,3 %"),
        (-1000, -1500, "-50,0 %"),
        (3, 4, "+33,3 %"),
        (2000, 2001, "+0,1 %"),
        (1000, 1000, "+0,0 %"),
        (0, 5, ""),
        (1, 10**6, "+999 % +"),
        (10**30, 2 * 10**30, "+100,0 %"),
    ],
)
def test_a_change_in_per_cent_is_rounded_to_one_decimal_and_none_is_told_of_nothing(
    before: int, now: int, text: str
) -> None:
    side = compared(date(2026, 9, 1), before, now)
    assert (side.aendring_oere, percent(side)) == (now - before, text)


def test_amounts_stand_beside_those_of_last_month_and_none_where_there_is_no_run() -> None:
    head, line = said(RIGHT)[1:3]
    assert head.split() == ["kr.", "mod", "2026-09", "mod", "sidste", "år"]
    assert line.split()[-5:] == ["3.456.789.012,34", "+222.221.122,22", "+6,9", "%", "ingen"]


def test_senders_are_named_three_at_most_and_fewer_where_there_is_no_room() -> None:
    assert [some_of([f"ky-{n}" for n in range(many)]) for many in (0, 1, 2, 3, 4, 7)] == [
        *("", "ky-0", "ky-0 og ky-1", "ky-0, ky-1 og ky-2"),
        "ky-0, ky-1, ky-2 og 1 anden",
        "ky-0, ky-1, ky-2 og 4 andre",
    ]
    many = replace(NYT, afsendere=tuple(f"akasse-2010000{n}" for n in range(7)))
    assert many.line() == "    EI-006: 12, afsenderen (akasse-20100000, akasse-20100001, akasse-20100002 og 4 andre)"
    told = replace(NYT, navn="Bopælen", afsendere=(), kommuner=("101", "161"), beloeb_oere=100)
    assert told.line() == "    EI-006 Bopælen: 12 (1,00 kr.), afsenderen (kommunerne 101 og 161)"


def test_nothing_new_is_said_in_one_line() -> None:
    assert "  Nyt at se på: intet; 1 er åben i alt" in said(replace(RIGHT, nyt=(), aabne=1))
    assert "  Nyt at se på: intet" in said(replace(RIGHT, nyt=(), aabne=0))


def test_all_of_it_goes_into_json() -> None:
    told = json.loads(json.dumps(RIGHT.as_json()))
    assert (told["poster"][0]["sidste_maaned"]["oere"], told["poster"][0]["sidste_aar"]) == (BEFORE, None)
    assert told["nyt"][0]["regel"] == "EI-006"
