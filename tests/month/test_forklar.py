"""Why a month came out as it did: hand-made histories, told. A week of benefit is 1.000 kr., so the sums are easy."""

import shutil
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta
from pathlib import Path

import pytest

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.forklar.model import Forklaring, Uge
from refusion_assets.domain.forklar.text_money import money
from refusion_assets.domain.forklar.words import few, listed, small, span, weeks
from refusion_assets.look_up.explanation import look_up
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot
from tests.kit import rule_edits, timeline
from tests.kit.data_root import DATA, RULES, Row, write_file, write_register
from tests.kit.timeline import CPR, PEOPLE, row

GOLDEN = DATA / "forklar"
LATE, REVERSED, MOVED, FLYGT = PEOPLE
UKENDT = "7112701234"
KONTO_FLYGT = "urn:oio:kommune:konto:557741007"


def root_of(folder: Path, koder: str = "101 169") -> DataRoot:
    """An empty data root under rules with a few municipalities, so that a run writes few files."""
    rules = Path(shutil.copytree(RULES, folder / "rules"))
    header, *lines = (rules / "kommuner.csv").read_text("utf-8").splitlines(keepends=True)
    (rules / "kommuner.csv").unlink()
    (rules / "kommuner.csv").write_text("".join([header, *(line for line in lines if line[:3] in koder)]), "utf-8")
    return DataRoot(folder, rules)


def deliver(root: DataRoot, kilde: str, enhed: str, month: str, rows: Sequence[Row]) -> None:
    """One file of a sender, its lines numbered and received on the 20th at noon."""
    name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{int(month[5:]):04}.csv"
    own = [r | {"Lb_nr": str(n), "Modtaget_tidspunkt": f"{month}-20T12:00:00"} for n, r in enumerate(rows, 1)]
    write_file(root.path, Fil(name, kilde, enhed, month, "", own))


def live(root: DataRoot, month: str, *stays: tuple[str, str, str]) -> None:
    """The residences as known in a month: person, municipality, first day."""
    names = ("CPR", "Kommunekode", "Bopael_start")
    write_register(root.path, "bopael", month, [dict(zip(names, s, strict=True)) | {"Bopael_slut": ""} for s in stays])


def run(root: DataRoot, *months: str) -> DataRoot:
    """The months run, and the copy for readers published."""
    for month in months:
        root.run(month)
    publish(root.place.warehouse)
    return root


def told(root: DataRoot, cpr: str, month: str, *more: str) -> str:
    """All that the command says, but for the version of the rules and the list of entries at the end."""
    ran = root.forklar(cpr, month, "--formaal", "prøve af forklaring", *(more or ("--alt",)))
    assert (ran.code, ran.err) == (0, "")
    return ran.out.replace(root.place.rules.version[:12], "VERSION").partition("\nREGLERNE\n")[0]


def explained(root: DataRoot, cpr: str, month: str) -> Forklaring:
    """The same as structure."""
    return look_up(root.place, cpr, month_of(month))


def week(root: DataRoot, cpr: str, month: str, monday: str) -> Uge:
    """One week of a month."""
    return next(uge for uge in explained(root, cpr, month).uger if str(uge.uge) == monday)


def approved(name: str, text: str) -> None:
    """The text is the one a reader has approved; it lies in `tests/data/forklar`."""
    assert text == (GOLDEN / f"{name}.txt").read_text("utf-8")


@pytest.fixture(scope="module")
def talt(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """54 weeks of kontanthjælp from 3 January 2022, 52 of self-support, two of kontanthjælp; run 2024-02."""
    root = root_of(tmp_path_factory.mktemp("talt"))
    for fil in timeline.files("K54 S52 K2", date(2022, 1, 3), "2024-02"):
        write_file(root.path, fil)
    live(root, "2024-02", (CPR, "169", "2010-01-01"))
    return run(root, "2024-02")


@pytest.mark.parametrize(
    ("month", "monday", "nummer", "procent", "trin", "refusion_oere"),
    [
        ("2022-01", "2022-01-24", 4, 80, 1, 80_000),
        ("2022-02", "2022-02-07", 6, 40, 2, 40_000),
        ("2022-06", "2022-06-20", 25, 40, 2, 40_000),
        ("2022-07", "2022-07-04", 27, 30, 3, 30_000),
        ("2022-12", "2022-12-19", 51, 30, 3, 30_000),
        ("2023-01", "2023-01-02", 53, 20, 4, 20_000),
        ("2024-01", "2024-01-15", 1, 80, 1, 80_000),
    ],
)
def test_each_side_of_a_step_is_told_with_number_percentage_and_amount(
    talt: DataRoot, month: str, monday: str, nummer: int, procent: int, trin: int, refusion_oere: int
) -> None:
    uge = week(talt, CPR, month, monday)
    (row_,) = uge.raekker
    assert (uge.ydelsestaeller, row_.procent, row_.trin, row_.refusion_oere) == (nummer, procent, trin, refusion_oere)
    assert row_.post is not None
    assert (row_.post.fil, row_.post.id) == ("trapper.toml", "refusion")


@pytest.mark.parametrize(
    ("month", "last", "first"),
    [
        ("2022-06", "Uge 26 af støtte", "40 procent: trin 2 (uge 5-26), § 5, stk. 2, nr. 2"),
        ("2022-07", "Uge 27 af støtte", "30 procent: trin 3 (uge 27-52), § 5, stk. 2, nr. 3"),
        ("2022-12", "Uge 52 af støtte", "30 procent: trin 3 (uge 27-52), § 5, stk. 2, nr. 3"),
        ("2023-01", "Uge 53 af støtte", "20 procent: trin 4 (fra uge 53), § 5, stk. 2, nr. 4"),
    ],
)
def test_the_text_names_the_week_of_support_and_the_paragraph_of_its_step(
    talt: DataRoot, month: str, last: str, first: str
) -> None:
    text = told(talt, CPR, month)
    assert f"  {last}, talt siden ugen 2022-01-03.\n" in text
    assert f"    {first}; trapper.toml, refusion fra 2016-01-04.\n" in text


def test_a_week_cut_by_the_end_of_the_month_is_told_with_its_days_only(talt: DataRoot) -> None:
    uge = week(talt, CPR, "2022-01", "2022-01-31")  # week 5; Monday 31 January is a seventh of 1.000 kr.
    assert (uge.dage_fra, uge.dage_til) == (date(2022, 1, 31), date(2022, 1, 31))
    assert [(r.beloeb_oere, r.procent, r.refusion_oere) for r in uge.raekker] == [(14_286, 40, 5_714)]
    assert week(talt, CPR, "2022-02", "2022-01-31").raekker[0].beloeb_oere == 85_714
    assert "Kun dagen 2022-01-31 hører til ydelsesmåneden 2022-01." in told(talt, CPR, "2022-01")


def test_a_restart_after_52_free_weeks_is_told_with_its_weeks(talt: DataRoot) -> None:
    before, reached = (week(talt, CPR, "2024-01", monday) for monday in ("2024-01-01", "2024-01-08"))
    assert before.genoptjening is not None
    assert reached.genoptjening is not None
    assert (before.genoptjening.antal, before.genoptjening.naaet, before.ydelsestaeller) == (51, False, 54)
    assert (reached.genoptjening.naaet, reached.ydelsestaeller) == (True, 0)
    approved("genoptjening", told(talt, CPR, "2024-01"))
    assert "Optællingen begyndte forfra med ugen 2024-01-08, da 52" in told(talt, CPR, "2024-02")


def test_a_month_without_weeks_says_how_far_the_restart_is(talt: DataRoot) -> None:
    assert explained(talt, CPR, "2023-06").svar == "ingen_uger"
    approved("ingen_uger", told(talt, CPR, "2023-06"))
    assert "ligger før borgerens første uge med ydelse" in told(talt, CPR, "2021-06")


def test_a_month_that_is_not_run_yet_says_so(talt: DataRoot) -> None:
    assert explained(talt, CPR, "2024-03").svar == "ikke_beregnet"
    assert "2024-03 er ikke kørt endnu." in told(talt, CPR, "2024-03")


def test_a_person_nobody_has_reported_about_gets_an_answer_of_its_own(talt: DataRoot) -> None:
    approved("ukendt", told(talt, UKENDT, "2024-01"))


@pytest.fixture(scope="module")
def rettet(tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """Run 2024-02 settles a week or four of four people; what run 2024-03 then learns is another thing for each."""
    root = root_of(tmp_path_factory.mktemp("rettet"))
    feb, uge = (date(2024, 2, 5), date(2024, 3, 3)), (date(2024, 2, 5), date(2024, 2, 11))
    good = {"Indtaegtsart": "0041"}
    deliver(root, "ky", "169", "2024-02", [
        row("K", *feb, 1, "4000,00", LATE, **good),
        row("K", *uge, 2, "1000,00", REVERSED, **good),
        row("K", *uge, 3, "1000,00", FLYGT, Felt0115=KONTO_FLYGT),
        row("K", *uge, 4, "500,00", FLYGT, Felt0115="urn:ukendt"),
    ])  # fmt: skip
    dagpenge = row("D", *uge, 1, "1000,00", MOVED, Indkomsttype="04", Indtaegtsart="0005")
    deliver(root, "akasse", "20100001", "2024-02", [dagpenge])
    live(root, "2024-02", *((cpr, "169", "2010-01-01") for cpr in PEOPLE))
    tilbage = row(
        "K", *uge, 1, "", "", IndberetningsID="T1", Indberetningsart="T", ReferenceID="K00000002", Felt0115=""
    )
    deliver(root, "ky", "169", "2024-03", [tilbage])
    deliver(root, "akasse", "20100001", "2024-03", [])
    jan = date(2024, 1, 1), date(2024, 1, 28)
    deliver(root, "ky", "101", "2024-03", [
        row("K", *jan, 1, "4000,00", LATE, **good, Kommunekode="101", Pligt_SE="29101000", IndberetningsID="KBH1"),
    ])  # fmt: skip
    live(root, "2024-03", *((cpr, "169", "2010-01-01") for cpr in PEOPLE), (MOVED, "101", "2024-02-01"))
    return run(root, "2024-02", "2024-03")


def test_a_late_report_in_another_municipality_is_named_as_what_moved_the_step(rettet: DataRoot) -> None:
    (change,) = week(rettet, LATE, "2024-02", "2024-02-05").aendringer
    assert (change.koersel, change.procent_foer, change.procent_efter) == (51, 80, 40)
    (cause,) = change.aarsager
    assert (cause.slags, cause.antal_uger, cause.art_efter) == ("taeller", 4, "A")
    assert (cause.ydelsestaeller_foer, cause.ydelsestaeller_efter) == (1, 5)
    reports = {i.nr: i for i in explained(rettet, LATE, "2024-02").indberetninger}
    assert [reports[nr].indberetning_id for nr in cause.indberetninger] == ["KBH1"]
    approved("sen_indberetning", told(rettet, LATE, "2024-02"))


def test_a_reversal_is_named_as_what_took_the_money_back(rettet: DataRoot) -> None:
    (change,) = week(rettet, REVERSED, "2024-02", "2024-02-05").aendringer
    assert (change.beloeb_foer_oere, change.beloeb_efter_oere) == (100_000, 0)
    assert [cause.slags for cause in change.aarsager] == ["tilbagefoersel"]
    approved("tilbagefoersel", told(rettet, REVERSED, "2024-02"))


def test_a_moved_residence_is_named_as_what_moved_the_money_to_another_municipality(rettet: DataRoot) -> None:
    uge = week(rettet, MOVED, "2024-02", "2024-02-05")
    assert [(r.finansiering.kommune, r.finansiering.grundlag) for r in uge.raekker] == [("København", "bopael")]
    assert [(r.procent, r.refusion_oere, r.medfinansiering_oere) for r in uge.raekker] == [(20, 0, 20_000)]
    (change,) = uge.aendringer
    (cause,) = change.aarsager
    assert (cause.slags, cause.kommune_foer, cause.kommune_efter) == ("bopael", "Høje-Taastrup", "København")
    approved("flytning", told(rettet, MOVED, "2024-02"))


def test_a_benefit_outside_the_staircase_has_its_own_text_and_a_quarantined_line_its_rules_sentence(
    rettet: DataRoot,
) -> None:
    uge = week(rettet, FLYGT, "2024-02", "2024-02-05")
    assert [(r.procent, r.trin, r.refusion_oere) for r in uge.raekker] == [(100, None, 100_000)]
    text = told(rettet, FLYGT, "2024-02")
    assert "Kontoen urn:ukendt i Felt0115 findes ikke i klassifikationen" in text
    approved("fast_procent", text)


def test_changed_rules_are_named_as_what_changed_the_percentage(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    uge = date(2024, 2, 5), date(2024, 2, 11)
    deliver(root, "ky", "169", "2024-02", [row("K", *uge, 1, Indtaegtsart="0041")])
    deliver(root, "ky", "169", "2024-03", [])
    live(root, "2024-02", (CPR, "169", "2010-01-01"))
    run(root, "2024-02")
    before = root.place.rules.version[:12]
    path = root.rules / "trapper.toml"
    path.write_text(path.read_text("utf-8").replace("fra_uge = 1, procent = 80", "fra_uge = 1, procent = 75"), "utf-8")
    rule_edits.declare(root.rules, "trappe", date(2015, 12, 1))
    assert "Reglerne er ændret siden" in told(root, CPR, "2024-02", "--formaal", "en anden prøve")
    assert week(root, CPR, "2024-02", "2024-02-05").raekker[0].post is None
    run(root, "2024-03")
    (change,) = week(root, CPR, "2024-02", "2024-02-05").aendringer
    (cause,) = change.aarsager
    assert (change.procent_foer, change.procent_efter, cause.slags) == (80, 75, "regler")
    assert (cause.regelversion_foer, cause.regelversion_efter) == (before, root.place.rules.version[:12])
    assert f"reglerne var ændret fra version {before} til VERSION" in " ".join(told(root, CPR, "2024-02").split())


def test_weeks_before_2016_take_the_percentage_of_the_first_week_of_2016_and_no_municipality_is_told(
    tmp_path: Path,
) -> None:
    root = root_of(tmp_path)
    # Sygedagpenge are settled from 28 December 2015; the fifth week of benefit is that of 4 January 2016.
    sick = {"Felt0115": "urn:oio:kommune:konto:557711013", "Indkomsttype": "07", "Indtaegtsart": "0103"}
    weeks = [date(2015, 12, 7) + step * timedelta(days=7) for step in range(4)]
    deliver(root, "ksd", "169", "2024-02", [
        row("K", uge, uge + timedelta(days=6), n, **sick) for n, uge in enumerate(weeks, 1)
    ])  # fmt: skip
    jan = date(2024, 1, 1), date(2024, 1, 7)
    deliver(root, "akasse", "20100001", "2024-02", [row("D", *jan, 9, Indkomsttype="04", Indtaegtsart="0005")])
    write_register(root.path, "bopael", "2024-02", [])
    run(root, "2024-02")
    uge = week(root, CPR, "2015-12", "2015-12-28")
    assert (uge.ydelsestaeller, uge.raekker[0].procent, uge.raekker[0].trin) == (4, 40, 2)
    assert uge.raekker[0].overgang is not None
    assert uge.raekker[0].overgang.hjemmel.startswith("§ 29, stk. 3")
    text = " ".join(told(root, CPR, "2015-12").split())
    assert "Ugen får den procent, som ugen 2016-01-04 har eller ville have (§ 29, stk. 3" in text
    homeless = week(root, CPR, "2024-01", "2024-01-01")
    assert [(u.regel, u.beloeb_oere) for u in homeless.uden_kommune] == [("EI-018", 100_000)]
    assert "noget er ikke afregnet, fordi ingen kommune kendes (EI-018)" in " ".join(told(root, CPR, "2024-01").split())


def test_a_staircase_with_a_counter_of_its_own_is_told_by_its_own_number(talt: DataRoot) -> None:
    (row_,) = week(talt, CPR, "2022-07", "2022-07-04").raekker
    assert "anden tæller" not in "".join(money(row_, 27))
    assert "    Trappen følger en anden tæller; på den er ugen uge 3." in money(replace(row_, ydelsestaeller=3), 27)


@pytest.mark.parametrize(
    ("first", "last", "said"),
    [
        (date(2024, 3, 4), date(2024, 3, 4), "2024-03-04"),
        (date(2024, 3, 4), date(2024, 3, 10), "2024-03-04 - 2024-03-10"),
        (date(2024, 12, 30), date(2025, 1, 5), "2024-12-30 - 2025-01-05"),
    ],
)
def test_days_are_said_in_one_form(first: date, last: date, said: str) -> None:
    assert span(first, last) == said


def test_weeks_that_follow_each_other_are_said_by_the_first_and_the_last() -> None:
    mondays = [date(2024, 1, 1), date(2024, 1, 8), date(2024, 1, 15), date(2024, 2, 5)]
    assert weeks(mondays) == ["2024-01-01 - 2024-01-15", "2024-02-05"]


def test_of_a_long_list_the_first_three_are_said_and_how_many_more_there_are() -> None:
    assert [few(["a", "b", "c"]), few(["a", "b", "c", "d", "e"])] == ["a, b og c", "a, b, c og 2 mere"]


def test_a_list_is_said_with_commas_and_og() -> None:
    assert [listed([]), listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"])] == ["", "a", "a og b", "a, b og c"]


def test_a_name_keeps_its_capitals_where_it_is_an_abbreviation() -> None:
    assert (small("Kontanthjælp"), small("SU")) == ("kontanthjælp", "SU")
