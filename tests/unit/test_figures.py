"""Figures for people: tables and plots, the same bytes every time, and loaded only when one is drawn."""

import os
import re
import subprocess
import sys
from datetime import date
from pathlib import Path
from xml.etree import ElementTree as ET

import polars as pl
import pytest

from refusion_assets.assets.checks.quality import MEASURES, plot
from refusion_assets.assets.refusion import plot_steps
from refusion_assets.figures import groups, image, table
from tests.kit.data_root import REPO

COLUMNS = ["kilde", "maaned", "linjer", "karantaene", "sene", "rettelser"]
MONTHS = [
    ("ky", date(2024, 1, 1), 200, 3, 0, 1),
    ("atp", date(2024, 1, 1), 10, 0, 0, 0),
    ("ky", date(2024, 2, 1), 100, 9, 2, 1),
]
ROWS = pl.DataFrame(MONTHS, schema=COLUMNS, orient="row")


def words(svg: str) -> list[str]:
    """What a reader can read in a plot."""
    return ["".join(node.itertext()).strip() for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]  # noqa: S314


def test_numbers_stand_to_the_right_of_the_words() -> None:
    assert table(["Kilde", "Linjer"], [("ky", 3)], 1) == "| Kilde | Linjer |\n| --- | ---: |\n| ky | 3 |"
    assert table(["Kilde", "Navn"], [("ky", "KY")]) == "| Kilde | Navn |\n| --- | --- |\n| ky | KY |"


def test_a_plot_says_months_sources_and_per_cent_in_danish() -> None:
    said = words(plot(ROWS))
    assert {*MEASURES.values(), "2024-01", "2024-02", "atp", "ky", "0,5"} <= set(said)
    assert "Linjer i karantæne, pct." in said


@pytest.mark.parametrize("rows", [ROWS, ROWS.clear(), ROWS[:2]], ids=["two months", "none", "one month"])
def test_a_plot_is_the_same_bytes_each_time(rows: pl.DataFrame) -> None:
    assert plot(rows) == plot(rows)
    assert "date" not in plot(rows)
    assert image("kvalitet", plot(rows)).startswith("![kvalitet](data:image/svg+xml;base64,")


def test_no_module_loads_what_draws_when_it_is_loaded_itself() -> None:
    loads = re.compile(r"^(?:from|import) matplotlib\b", re.MULTILINE)
    modules = sorted((REPO / "refusion_assets").rglob("*.py"))
    assert modules
    assert [path.name for path in modules if loads.search(path.read_text("utf-8"))] == []


def test_what_draws_is_loaded_only_for_a_plot_brings_no_pandas_and_needs_no_home(tmp_path: Path) -> None:
    code = """
import sys, refusion_assets.figures as f
print("matplotlib" in sys.modules, len(f.plot(lambda figure: None, 1, 1)) > 0, "matplotlib" in sys.modules)
print("matplotlib.pyplot" in sys.modules, "pandas" in sys.modules)"""
    command, own = [sys.executable, "-c", code], {"HOME": "/dev/null", "DAGSTER_HOME": str(tmp_path)}
    left_out = ("MPLCONFIGDIR", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    environment = {name: value for name, value in os.environ.items() if name not in left_out} | own
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=True, timeout=90)  # noqa: S603
    assert (done.stdout.split(), done.stderr) == (["False", "True", "True", "False", "False"], "")
    assert [path.name.split("-")[0] for path in (tmp_path / "matplotlib").iterdir()] == ["fontlist"]


def people(**borgere: int) -> pl.DataFrame:
    """Groups of so many people, with an amount of a krone for each."""
    rows = [(name, number, 100 * number) for name, number in borgere.items()]
    return pl.DataFrame(rows, schema=["navn", "borgere", "beloeb_oere"], orient="row")


def test_groups_stand_by_size_with_their_amounts_in_kroner() -> None:
    assert groups("Ydelse", people(a=5, b=1200)).splitlines() == [
        "| Ydelse | Borgere | Beløb |",
        "| --- | ---: | ---: |",
        "| b | 1200 | 1.200,00 kr. |",
        "| a | 5 | 5,00 kr. |",
    ]


def test_groups_of_under_five_people_show_no_numbers_and_not_their_order() -> None:
    lines = groups("Ydelse", people(b=4, a=1, c=9)).splitlines()
    assert lines[2:] == [
        "| c | 9 | 9,00 kr. |",
        "| a | under\N{NO-BREAK SPACE}5 |  |",
        "| b | under\N{NO-BREAK SPACE}5 |  |",
    ]


def test_one_small_group_hides_the_next_smallest_as_a_total_would_tell_it() -> None:
    lines = groups("Ydelse", people(a=4, b=9, c=10)).splitlines()
    assert lines[2:] == [
        "| c | 10 | 10,00 kr. |",
        "| a | under\N{NO-BREAK SPACE}5 |  |",
        "| b | under\N{NO-BREAK SPACE}5 |  |",
    ]


def test_a_plot_of_steps_names_months_and_steps_but_none_of_under_five_people() -> None:
    months = (date(2024, 1, 1), date(2024, 2, 1))
    rows = [(month, trin, 4 if trin == 3 else 5, 10**8, 0) for month in months for trin in (1, 3)]
    names = ["maaned", "trin", "borgere", "refusion_oere", "medfinansiering_oere"]
    said = words(plot_steps(pl.DataFrame(rows, schema=names, orient="row")))
    assert {"Trin 1", "2024-01", "2024-02", "0,2"} <= set(said)
    assert "Trin 3" not in said
