"""A look-up: what may be asked, what is logged, and that what is told is what the warehouse holds."""

import dataclasses
import io
import json
import re
import shlex
import typing
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from unittest import mock

import click
import pytest
from hypothesis import Phase, given

from refusion_assets.domain.calendar import last_day, month_of
from refusion_assets.domain.forklar import model as forklaring
from refusion_assets.domain.forklar.model import Forklaring
from refusion_assets.domain.forklar.rows import counted_weeks
from refusion_assets.domain.rules.entries import LOVENS_TAELLER
from refusion_assets.domain.stop import Stop
from refusion_assets.look_up import inquiry, trace
from refusion_assets.look_up.explanation import look_up
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot, Example
from tests.house.test_house import python
from tests.house.test_ordliste import unknown
from tests.kit.data_root import REPO, RULEBOOK, write_file
from tests.kit.timeline import CPR, PEOPLE, History, examples, files, histories
from tests.month.test_forklar import UKENDT, live, root_of, run
from tests.month.test_forklar_causes import Known
from tests.month.test_histories import deliver, few_kommuner

FORMAAL = "klage over marts, sag 24-1234"


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """One person with five weeks of kontanthjælp in January and February 2024."""
    made = root_of(tmp_path_factory.mktemp("opslag"))
    for fil in files("K5", date(2024, 1, 1), "2024-02"):
        write_file(made.path, fil)
    live(made, "2024-02", (CPR, "169", "2010-01-01"))
    return run(made, "2024-02")


def log_of(root: DataRoot) -> list[dict[str, Any]]:
    """The look-ups that are logged."""
    path = root.path / trace.LOG
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()] if path.exists() else []


def test_a_look_up_is_logged_with_who_when_whom_what_and_why(root: DataRoot) -> None:
    before = len(log_of(root))
    assert root.refusion("forklar", CPR, "2024-01", "--formaal", f"  {FORMAAL}\n").code == 0
    assert root.refusion("forklar", UKENDT, "2024-01", "--formaal", FORMAAL).code == 0
    found, missed = log_of(root)[before:]
    when = found.pop("tidspunkt")
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d\d:\d\d", when)
    assert found == {
        **trace.user(),
        "foer": trace.verify(root.path / trace.LOG).hoveder[before],
        "opslag": "forklar",
        "borger_id": 0,
        "maaned": "2024-01",
        "formaal": FORMAAL,
        "fundet": True,
        "svar": "forklaret",
        "viden_til": "2024-02",
    }
    assert (missed["borger_id"], missed["fundet"], missed["svar"]) == (None, False, "ukendt_borger")
    text = (root.path / trace.LOG).read_text("utf-8")
    assert CPR not in text
    assert UKENDT not in text
    assert (root.path / trace.LOG).stat().st_mode & 0o077 == 0


def test_nothing_is_shown_when_the_look_up_cannot_be_logged(root: DataRoot) -> None:
    with mock.patch.object(trace.os, "fsync", side_effect=OSError(5, "Input/output error")):
        ran = root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    assert (ran.code, ran.out) == (1, "")
    assert (
        ran.err == f"STOPPET: opslaget kan ikke skrives i loggen ({root.path / trace.LOG}: Input/output error), "
        "så intet vises; sig det til driften\n"
    )


def test_a_line_cut_short_does_not_spoil_the_next_one(root: DataRoot) -> None:
    path, head = root.path / trace.LOG, root.path / "lager" / trace.HEAD
    root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    whole, kept = path.read_text("utf-8"), head.read_text("utf-8")
    path.write_text(whole + '{"tidspunkt": "20', encoding="utf-8")
    root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    *_, short, last = path.read_text("utf-8").splitlines()
    assert short == '{"tidspunkt": "20'
    assert json.loads(last)["borger_id"] == 0
    path.write_text(whole, encoding="utf-8")
    head.write_text(kept, encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        ((CPR,), "der skal stå eet personnummer og een måned"),
        ((CPR, "2024-01", CPR), "der skal stå eet personnummer og een måned"),
        (("2024-01", CPR), "det første er ikke et personnummer på ti cifre"),
        (("61105124701", "2024-01"), "det første er ikke et personnummer på ti cifre"),
        (("9913012470", "2024-01"), "personnummeret kan ikke findes"),
        ((CPR, "2024-13"), "det andet er ikke en måned"),
        ((CPR, CPR), "det andet er ikke en måned"),
        ((CPR, "2024-01..2024-02"), "det andet er ikke en måned"),
    ],
)
def test_what_cannot_be_asked_is_refused_in_one_line_that_repeats_nothing(
    root: DataRoot, words: tuple[str, ...], reason: str
) -> None:
    before = log_of(root)
    ran = root.refusion("forklar", *words, "--formaal", FORMAAL)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert ran.err.startswith(f"STOPPET: {reason}")
    assert not re.search(r"\d{10}", ran.err)
    assert log_of(root) == before


@pytest.mark.parametrize(
    "formaal",
    ["", "   ", "12", "x" * 301, f"sag om {CPR}", "sag om 611051-2470", "611051 24 70", "se 120364/1234 igen"],
)
def test_a_purpose_must_say_something_and_never_hold_a_personal_number(root: DataRoot, formaal: str) -> None:
    ran = root.refusion("forklar", CPR, "2024-01", "--formaal", formaal)
    assert (ran.code, ran.out, ran.err.count("\n")) == (1, "", 1)
    assert not re.search(r"\d{6}", ran.err)


@pytest.mark.parametrize(
    "formaal",
    [
        "født 11-05-1984, nej 11-05-1984-2470",
        "sag om 71/05/1984 2470",
        "sag om 1984-05-11 2470",
        "sag om seksennulfemottefirenulniento",
        "sag om ennulnulfemtreseks 2470",
        "sag om 六一〇五一二四七〇一",
        "sag om 6ii05i2470",
    ],
)
def test_a_purpose_may_not_hold_a_personal_number_in_another_writing(formaal: str) -> None:
    with pytest.raises(Stop, match="der står et personnummer i formålet"):
        inquiry.purpose(formaal, "6105999999")


@pytest.mark.parametrize(
    "formaal",
    [
        "klage",
        FORMAAL,
        "sag 2024-123456 af 2024-03-01",
        "journal 99991231235",
        "perioden 2024-01-01..2024-03-31",
        "brev af 12-03-2024 kl. 10.30, sag 4711",
        "toogtres uger fra 01-02-2024 til 2025",
    ],
)
def test_a_case_number_is_no_personal_number(formaal: str) -> None:
    assert inquiry.purpose(formaal, CPR) == formaal


def test_the_purpose_is_asked_for_when_it_is_not_typed() -> None:
    assert inquiry.inquiry_of((CPR, "2024-01"), None, lambda: FORMAAL).formaal == FORMAAL
    with pytest.raises(Stop, match="hvad opslaget er til"):
        inquiry.inquiry_of((CPR, "2024-01"), None, lambda: "")


@pytest.mark.parametrize(("formaal", "why"), [("x", "for kort"), ("24-1234", "for kort"), (" ", "tomt"), ("", "tomt")])
def test_a_purpose_that_says_nothing_is_answered_by_what_is_wrong_with_it(formaal: str, why: str) -> None:
    with pytest.raises(Stop, match=f"^formålet er {why}; skriv"):
        inquiry.inquiry_of((CPR, "2024-01"), formaal, lambda: FORMAAL)


def test_nobody_to_answer_is_no_purpose(root: DataRoot) -> None:
    with mock.patch("click.prompt", side_effect=click.Abort):
        ran = root.refusion("forklar", CPR, "2024-01")
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("STOPPET: skriv, hvad opslaget er til, med --formaal")
    with mock.patch("click.prompt", return_value=FORMAAL):
        assert root.refusion("forklar", CPR, "2024-01").code == 0


def test_the_number_is_understood_with_and_without_its_hyphen_and_only_half_shown(root: DataRoot) -> None:
    with_hyphen = root.refusion("forklar", f"{CPR[:6]}-{CPR[6:]}", "2024-01", "--formaal", FORMAAL)
    without = root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    assert with_hyphen == without
    assert CPR[6:] not in without.out
    assert CPR[:6] not in root.refusion("forklar", CPR, "2024-01", "--json", "--formaal", FORMAAL).out


def test_the_number_is_asked_for_unseen_or_read_from_standard_input_and_the_old_form_warns(root: DataRoot) -> None:
    old = root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    assert old.err.startswith("ADVARSEL: personnummeret står i kommandoen")
    with mock.patch("click.prompt", return_value=CPR) as prompt:
        asked = root.refusion("forklar", "2024-01", "--formaal", FORMAAL)
    assert prompt.call_args.kwargs["hide_input"]
    with mock.patch("sys.stdin", io.StringIO(f"{CPR}\n")):
        piped = root.refusion("forklar", "2024-01", "--cpr", "-", "--formaal", FORMAAL)
    assert (asked.out, asked.err) == (piped.out, piped.err) == (old.out, "")
    assert root.refusion("forklar", CPR, "2024-01", "--cpr", "-").code == 2
    assert root.refusion("forklar", "2024-01", "--cpr", CPR).code == 2
    assert CPR not in root.refusion("forklar", "2024-01", "--cpr", CPR).err


def test_the_arguments_of_a_running_look_up_hold_no_number(root: DataRoot) -> None:
    code = f"""import sys; sys.argv = ["refusion", "forklar", "{UKENDT}", "2024-01", "--formaal", "klage"]
from refusion_assets import cli; cli.main.main(standalone_mode=False)
print(open("/proc/self/cmdline", "rb").read().replace(b"\\0", b" ").decode())"""
    assert UKENDT not in python(code, root.environment).splitlines()[-1]


def test_the_command_about_the_log_tells_if_it_holds_and_shows_look_ups_without_a_number(root: DataRoot) -> None:
    root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    this_month = f"{date.today():%Y-%m}"  # noqa: DTZ011  as the log has it
    ran = root.refusion("opslag", this_month, "--kvittering")
    assert (ran.code, ran.err) == (0, "")
    assert f"borger_id 0 maaned 2024-01 {FORMAAL}" in ran.out
    assert ran.out.endswith("Kæden holder.\n")
    assert CPR not in ran.out
    receipt = ran.out.partition("--mod ")[2].split()[0]
    assert root.refusion("opslag", "--mod", receipt).code == 0
    path = root.path / trace.LOG
    whole = path.read_text("utf-8")
    path.write_text("".join(whole.splitlines(keepends=True)[:-1]), encoding="utf-8")
    cut = root.refusion("opslag", "--mod", receipt)
    assert (cut.code, cut.err.count("\n")) == (1, 1)
    assert "hovedet i lageret så" in cut.err
    assert "kvitteringen så" in cut.err
    path.write_text(whole, encoding="utf-8")


def test_a_data_root_without_a_run_says_so(tmp_path: Path) -> None:
    ran = DataRoot(tmp_path).refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL)
    assert (ran.code, ran.out) == (1, "")
    assert ran.err.startswith("STOPPET: der er ingen udgivet kørsel i ")


def test_a_look_up_neither_waits_for_a_run_nor_stops_one(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        assert root.refusion("forklar", CPR, "2024-01", "--formaal", FORMAAL).code == 0
        session.value("SELECT count(*) FROM identitet.borger")


def test_a_look_up_loads_no_dagster() -> None:
    assert python("import sys, refusion_assets.look_up.explanation; print('dagster' in sys.modules)") == "False"


def keys_of(model: type) -> set[str]:
    """The keys of a part of the explanation and of the parts within it."""
    names = set()
    for field in dataclasses.fields(model):
        names.add(field.name)
        kind = typing.get_type_hints(model)[field.name]
        for inner in (kind, *typing.get_args(kind)):
            if dataclasses.is_dataclass(inner) and isinstance(inner, type):
                names |= keys_of(inner)
    return names


def test_every_key_of_the_json_is_in_the_glossary_and_in_the_page_about_it() -> None:
    keys = keys_of(Forklaring)
    assert {"aarsager", "raekker", "refusion_oere", "taelling_fra_uge"} <= keys
    assert unknown(keys) == set()
    page = (REPO / "docs" / "forklar.md").read_text("utf-8")
    assert {key for key in keys if f"`{key}`" not in page} == set()
    words = {word for hint in (forklaring.Svar, forklaring.Slags) for word in typing.get_args(hint)}
    assert {word for word in words if f"`{word}`" not in page} == set()


def test_the_examples_of_the_page_are_what_the_command_says(example: Example) -> None:
    page = (REPO / "docs" / "forklar.md").read_text("utf-8")
    command, kort, alt = re.findall(r"```\n(.*?)```", page, re.DOTALL)[:3]
    arguments = shlex.split(command)[1:]
    assert example.root.refusion(*arguments).out == kort
    said = example.root.refusion(*arguments, "--alt").out
    for part in alt.split("  ...\n"):
        assert part in said


def test_the_json_has_dates_as_text_and_money_as_whole_oere(root: DataRoot) -> None:
    ran = root.refusion("forklar", CPR, "2024-01", "--json", "--formaal", FORMAAL)
    told = json.loads(ran.out)
    assert (told["svar"], told["maaned"], len(told["uger"])) == ("forklaret", "2024-01-01", 5)
    (row,) = told["uger"][3]["raekker"]
    assert (row["beloeb_oere"], row["procent"], row["refusion_oere"]) == (100_000, 80, 80_000)
    (cut,) = told["uger"][4]["raekker"]  # three of seven days, week 5
    assert (cut["beloeb_oere"], cut["procent"], cut["refusion_oere"]) == (42_857, 40, 17_143)
    assert not re.search(r"\d\.\d", re.sub(r'"[^"]*"', "", ran.out))


SHOWN = ("beloeb_oere", "procent", "refusion_oere", "medfinansiering_oere", "ydelsestaeller", "trin", "hjemmel")
ROWS = f"""SELECT uge, ydelse_id, kommunekode, {", ".join(SHOWN)}
    FROM refusion.borger_uge_ydelse JOIN identitet.borger USING (borger_id)
    WHERE cpr = '{{cpr}}' AND maaned = DATE '{{maaned}}' ORDER BY ALL"""
WEEKS = """SELECT borger_id, uge, art, taelling, ydelsestaeller, genoptjeningstaeller, genoptjent
    FROM duration.borger_uge"""
MONTHS = """SELECT DISTINCT cpr, maaned FROM (SELECT borger_id, maaned FROM refusion.borger_uge_ydelse
    UNION SELECT borger_id, maaned FROM opgoerelse.postering) JOIN identitet.borger USING (borger_id) ORDER BY ALL"""


def told_weeks(root: DataRoot, last: str) -> dict[tuple[int, date], tuple[Any, ...]]:
    """Every week of everybody, from the spells: kind, count, n, free weeks in the window, restart."""
    with root.place.warehouse.reading() as session:
        spells = session.frame("SELECT * FROM duration.forloeb").partition_by("borger_id", as_dict=True)
    return {
        (borger, uge): (w.art, w.taelling, w.n, w.antal, w.genoptjent)
        for (borger,), forloeb in spells.items()
        for uge, w in counted_weeks(forloeb, last_day(month_of(last)), root.place.rules).items()
    }


@examples(2, phases=[Phase.generate])
@given(history=histories(RULEBOOK))
def test_whatever_happened_the_explanation_holds_the_rows_and_the_weeks_and_a_cause_for_every_change(
    history: History,
) -> None:
    with TemporaryDirectory() as folder:
        root = few_kommuner(Path(folder))
        for month in history.months:
            deliver(root.path, history, month)
            root.run(month)
        publish(root.place.warehouse)
        assert told_weeks(root, history.last) == {row[:2]: row[2:] for row in root.rows(WEEKS)}
        for cpr, maaned in root.rows(MONTHS):
            told = look_up(root.place, cpr, maaned)
            rows = [
                (u.uge, r.ydelse_id, r.finansiering.kommunekode, *(getattr(r, name) for name in SHOWN))
                for u in told.uger
                for r in u.raekker
            ]
            assert sorted(rows, key=str) == sorted(root.rows(ROWS.format(cpr=cpr, maaned=maaned)), key=str)
            assert all(r.post for u in told.uger for r in u.raekker)
            assert all(r.finansiering.grundlag != "ukendt" for u in told.uger for r in u.raekker)
            causes = [c.slags for u in told.uger for a in u.aendringer for c in a.aarsager]
            assert "uforklaret" not in causes
            for uge, change, cause in ((u.uge, a, c) for u in told.uger for a in u.aendringer for c in a.aarsager):
                if cause.slags == "taeller":
                    run = history.months.index(f"{change.maaned:%Y-%m}")
                    before, after = (
                        Known(history.files, cpr, month, root.place.rules).numbers(LOVENS_TAELLER)[uge]
                        for month in history.months[run - 1 : run + 1]
                    )
                    assert (cause.ydelsestaeller_foer, cause.ydelsestaeller_efter) == (before, after)
        for cpr, maaned in root.rows(MONTHS)[::4]:
            assert root.refusion("forklar", cpr, f"{maaned:%Y-%m}", "--formaal", FORMAAL).code == 0
        log = root.path / trace.LOG
        written = log.read_text("utf-8") if log.exists() else ""
        assert not any(cpr in written for cpr in PEOPLE)
