"""How commands are typed: Danish help and errors of use, one form of a month, completion, and an answer at once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from refusion_assets.assets.raw.let_pass import ACCEPTABLE, BY_COMMAND
from refusion_assets.cli import main
from refusion_assets.place import Place
from tests.conftest import DataRoot
from tests.kit.data_root import REPO, RULES

ENGLISH = re.compile(
    r"\b(usage|options?|commands?|arguments?|missing|invalid|value|such|unexpected|extra|got|try|for help|show this|"
    r"message|exit|default|required|integer|directory|path|error|requires|does not|did you mean|text)\b",
    re.IGNORECASE,
)
HEAVY = ("dagster", "duckdb", "polars", "numpy", "pandera", "pydantic", "rich")
WRONG = {
    ("koer",): "MÅNEDER mangler",
    ("koer", "oktober"): "skriv YYYY-MM eller YYYY-MM..YYYY-MM",
    ("koer", "2026-10", "2026-11"): "for mange ord: 2026-11",
    ("koer", "2026-10", "--bla"): "tilvalget --bla findes ikke",
    ("koer", "2026-10", "--undtage", "101"): "tilvalget --undtage findes ikke; mente du --undtagen?",
    ("koer", "2026-10", "--accepter"): "tilvalget --accepter mangler en værdi",
    ("koer", "2026-10", "--stille=3"): "tilvalget --stille tager ingen værdi",
    ("koer", "2026-10", "--begrundelse", "x"): "--begrundelse hører til --accepter eller --undtagen",
    ("koer", "2026-10", "--undtagen", "7"): "'7' er ikke en kommunekode",
    ("koeer",): "kommandoen koeer findes ikke; mente du koer",
    ("opgoer", "2026-10"): "--kommuner mangler",
    ("opgoer", "2026-10", "--kommuner", ""): "skriv mindst een kommune",
    ("opgoer", "2026-09..2026-10", "--kommuner", "101"): "kommandoen tager een ad gangen, fx 2026-10",
    ("luk", "2026-09..2026-10"): "kommandoen tager een ad gangen, fx 2026-10",
    ("luk", "2026-1"): "skriv YYYY-MM; mente du 2026-01?",
    ("eksempel", "--seed", "x"): "--seed: 'x' er ikke et helt tal",
    ("eksempel", "--stoerrelse", "stor"): "'stor' er ikke et af mini, midi, fuld",
    ("regler", "--sider", "README.md"): "'README.md' er ikke en mappe",
}


@pytest.fixture
def root(tmp_path: Path) -> DataRoot:
    """A data root with deliveries of three months and files of one."""
    for folder in ("raw/ky/2026-09", "raw/su/2026-10", "raw/ky/2026-10", "raw/ky/andet", "udgaaende/2026-08"):
        (tmp_path / folder).mkdir(parents=True)
    return DataRoot(tmp_path)


@pytest.mark.parametrize("words", WRONG, ids=" ".join)
def test_a_command_that_is_written_wrongly_says_so_in_danish_with_exit_code_2(
    words: tuple[str, ...], root: DataRoot
) -> None:
    ran = root.refusion(*words)
    assert (ran.code, ran.out) == (2, "")
    assert f"FEJL: {ran.err.partition('FEJL: ')[2]}" == ran.err.splitlines(keepends=True)[-1]
    assert WRONG[words] in ran.err
    assert ran.err.startswith("Brug: refusion ")
    assert ENGLISH.findall(ran.err) == []


def test_the_help_of_every_command_is_danish(root: DataRoot) -> None:
    pages = [root.refusion("--help"), *(root.refusion(name, "-h") for name in main.commands)]
    assert len(pages) > 12
    for page in pages:
        assert (page.code, page.err, "Brug: refusion" in page.out, "Tilvalg:" in page.out) == (0, "", True, True)
        assert ENGLISH.findall(page.out) == []
    assert all(f"\n  {name} " in pages[0].out for name in main.commands)
    alone = root.refusion()
    assert (alone.code, alone.out, alone.err) == (2, "", pages[0].out)


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        *(("202610", "2026-10"), ("2026/10", "2026-10"), ("10-2026", "2026-10"), ("2026-10-31", "2026-10")),
        *(("1.2026", "2026-01"), ("202608..202610", "2026-08..2026-10"), ("2026-13", ""), ("oktober", "")),
    ],
)
def test_another_form_of_a_month_is_never_taken_and_the_right_form_is_shown(
    text: str, meant: str, root: DataRoot
) -> None:
    for command in ("koer", "genberegn", "genskab", "luk"):
        ran = root.refusion(command, text)
        expected = (2, True, bool(meant))
        assert (ran.code, "skriv YYYY-MM" in ran.err, f"mente du {meant}?" in ran.err) == expected


def test_the_help_of_koer_lists_what_may_be_let_pass(root: DataRoot) -> None:
    text = " ".join(root.refusion("koer", "--help").out.split())
    forms = {f"{rule}:{form}" for rule, form in ACCEPTABLE.items() if rule != BY_COMMAND}
    assert {form for form in forms if form not in text} == set()
    assert BY_COMMAND not in text


def test_the_version_names_the_program_the_rules_and_the_libraries(root: DataRoot, tmp_path: Path) -> None:
    ran = root.refusion("--version")
    assert (ran.code, ran.err) == (0, "")
    assert f"refusion 0.1.0, regler {Place(tmp_path, RULES).rules.version[:12]}" in ran.out
    assert re.search(r"^dagster [\d.]+, duckdb [\d.]+, polars [\d.]+$", ran.out, re.MULTILINE)
    without = DataRoot(tmp_path, tmp_path / "ingen").refusion("--version")
    assert (without.code, "regler kan ikke læses (" in without.out) == (0, True)


@pytest.mark.parametrize("words", [["--help"], ["koer", "--help"], [], ["koer", "x", "--bla"]])
def test_help_and_an_unknown_option_are_answered_before_anything_heavy_is_loaded(words: list[str]) -> None:
    code = f"""
import sys
from refusion_assets import cli
sys.argv = ["refusion", *{words}]
try:
    cli.run()
except SystemExit:
    pass
print([name for name in {HEAVY} if name in sys.modules])"""
    done = subprocess.run([sys.executable, "-c", code], cwd=REPO, capture_output=True, text=True, check=True)  # noqa: S603
    assert done.stdout.splitlines()[-1] == "[]"


def completed(root: DataRoot, line: str) -> list[str]:
    """What bash is offered for the last word of a line."""
    asked = {"_REFUSION_COMPLETE": "bash_complete", "COMP_WORDS": line, "COMP_CWORD": str(line.count(" "))}
    code = "from refusion_assets import cli; cli.run()"
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", code],
        cwd=REPO,
        env=root.environment | asked,
        capture_output=True,
        text=True,
        check=False,
    )
    return [item.partition(",")[2] for item in done.stdout.split()]


def test_a_shell_is_offered_the_months_of_the_data_root_and_the_codes_of_the_rules(root: DataRoot) -> None:
    assert completed(root, "refusion koer 2026") == ["2026-10", "2026-09", "2026-08"]
    assert completed(root, "refusion koer 2026-08..2026-1") == ["2026-08..2026-10"]
    codes = completed(root, "refusion koer 2026-10 --undtagen 101,15")
    assert codes == [f"101,{kode}" for kode in (151, 153, 155, 157, 159)]
    assert completed(root, "refusion opg") == ["opgoer"]
    assert completed(DataRoot(root.path / "ingen", root.path), "refusion opgoer 2026-10 --kommuner 1") == []


def test_what_interrupts_a_command_is_told_in_danish(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(main, "invoke", interrupted)
    ran = root.refusion("koer", "2026-10")
    assert (ran.code, ran.err.strip()) == (1, "Afbrudt.")
