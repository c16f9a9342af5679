"""The rules as data: what the loader refuses, what makes a new version, and that every change of law can be run."""

import dataclasses
import re
import shutil
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.domain.efterregning.money import state as plain_state
from refusion_assets.domain.opfoelgning.views import smallest_group
from refusion_assets.domain.rules.change import changes as changes_of
from refusion_assets.rulebook.load import RuleError, load, prove_aside
from tests.kit.data_root import RULEBOOK, RULES, calculate
from tests.kit.timeline import delivered, report

KTH_ROW = "KTH;2014-07-01;Kontanthjælp;5;A;refusion;trappe;0014;2016-01-01;"
KTH_KONTO = "urn:oio:kommune:konto:557731007;KTH;ky;0115;1;06;0041;2014-07-01;;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the rules to spoil."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


def spoil(folder: Path, file: str, old: str, new: str) -> None:
    """One place of one file changed."""
    text = (folder / file).read_text("utf-8")
    assert old in text, f"{file} no longer says {old}"
    (folder / file).chmod(0o644)
    (folder / file).write_text(text.replace(old, new, 1), encoding="utf-8")


def append(folder: Path, file: str, text: str) -> None:
    """One file with more at its end."""
    (folder / file).chmod(0o644)
    with (folder / file).open("a", encoding="utf-8") as stream:
        stream.write(text)


def refused(folder: Path) -> str:
    """Why the loader refuses the folder, as one line."""
    with pytest.raises(RuleError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


CITED = "hjemmel = 'x'\nkilde = 'x'\nkontrolleret = 2026-01-01\nsikkerhed = 'x'\n"

# file, what stands there, what is put there instead, what the refusal names
SPOILT: list[tuple[str, str, str, str]] = [
    # unknown keys
    ("trapper.toml", 'id = "refusion"', 'id = "refusion"\nprocent = 80', r"trapper.*post 1: ukendt nøgle procent"),
    ("trapper.toml", "{ fra_uge = 1, ", "{ fra_uge = 1, pct = 1, ", r"trapper.*ukendt nøgle pct"),
    ("ydelser.csv", "ydelse_id;gaelder_fra;", "ydelse_id;gaelder_til;gaelder_fra;", r"ydelser\.csv"),
    ("optaelling.toml", "[[overgang]]", "[[overgangen]]", r"overgangen: ukendt emne"),
    # values that cannot be read
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("2014-07-01", "2014-13-01"), r"ydelser\.csv.*gaelder_fra = '2014-13-01'"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("2016-01-01", "1. januar 2016"), r"ydelser\.csv.*finansieres_fra"),
    ("trapper.toml", "gaelder_fra = 2016-01-04", "gaelder_fra = 2016-02-30", r"trapper\.toml"),
    ("trapper.toml", "gaelder_fra = 2016-01-04", 'gaelder_fra = "den fjerde"', r"trapper\.toml.*gaelder_fra"),
    ("trapper.toml", "gaelder_fra = 2016-01-04", "gaelder_fra = 2016-01-04T00:00:00", r"trapper\.toml.*gaelder_fra"),
    ("trapper.toml", "procent = 80,", "procent = 80.5,", r"trapper\.toml.*procent"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace(";A;", ";C;"), r"ydelser\.csv.*kategori = 'C'"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("refusion", "staten"), r"ydelser\.csv.*side = 'staten'"),
    ("konti.csv", KTH_KONTO, KTH_KONTO.replace(";0115;1;", ";0115;4;"), r"konti\.csv.*kontoart = '4'"),
    # steps and percentages
    ("trapper.toml", "fra_uge = 1, procent = 80", "fra_uge = 1, procent = 101", r"trappe refusion .*procent 101"),
    ("trapper.toml", "fra_uge = 1, procent = 80", "fra_uge = 1, procent = -1", r"trappe refusion .*procent -1"),
    ("trapper.toml", "fra_uge = 5, procent = 40", "fra_uge = 27, procent = 40", r"trappe refusion .*rækkefølgen"),
    ("trapper.toml", "fra_uge = 5, procent = 40", "fra_uge = 28, procent = 40", r"trappe refusion .*rækkefølgen"),
    ("trapper.toml", "fra_uge = 1, procent = 80", "fra_uge = 2, procent = 80", r"trappe refusion .*fra_uge = 1"),
    ("ydelser.csv", "fast 100", "fast 101", r"ydelse FLYGT fra 2014-07-01: fast 101"),
    ("ydelser.csv", "fast 100", "fast halv", r"ydelse FLYGT fra 2014-07-01: sats = 'fast halv'"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("trappe", "stige"), r"ydelse KTH fra 2014-07-01: sats = 'stige'"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("trappe", ""), r"ydelse KTH .*passer ikke sammen"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("2016-01-01", ""), r"ydelse KTH .*finansieres_fra"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace(";A;", ";B;"), r"ydelse KTH .*kategori A"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("0014", "0099"), r"ydelse KTH .*beloebsfelt 0099"),
    # references to something that is not there
    ("konti.csv", ";KTH;ky;", ";KTX;ky;", r"konto urn:oio:kommune:konto:557731007: ydelse KTX"),
    ("konti.csv", ";KTH;ky;", ";KTH;kx;", r"konto urn:oio:kommune:konto:557731007: kilde kx"),
    ("ydelser.csv", KTH_ROW, KTH_ROW.replace("trappe", "trappe ny"), r"ydelse KTH .*trappe ny findes ikke"),
    ("laesninger.toml", 'vaerdi = "mandag"', 'vaerdi = "tirsdag"', r"laesninger\.toml, bopael_paa: tirsdag"),
    # gaps
    ("trapper.toml", "gaelder_fra = 2016-01-04", "gaelder_fra = 2016-01-05", r"trappe refusion: hul før 2016-01-05"),
    ("optaelling.toml", "gaelder_fra = 2014-07-01\nuger = 52", "gaelder_fra = 2014-07-02\nuger = 52", r"ning: hul"),
    ("laesninger.toml", 'navn = "bopael_paa"', 'navn = "bopael"', r"laesninger\.toml.*bopael_paa"),
    ("drift.toml", 'id = "periode_dage"', 'id = "dage"', r"drift\.toml.*periode_dage"),
    ("trapper.toml", '[[trappe]]\nid = "medfinansiering"', '[[trappe]]\nid = "anden"', r"trappe medfinansiering"),
    # overlaps: one date, two rules
    ("trapper.toml", 'id = "medfinansiering"', 'id = "refusion"', r"trapper\.toml: .*refusion.* to gange"),
    ("laesninger.toml", 'navn = "bopael_paa"', 'navn = "fordeling"', r"laesninger\.toml: fordeling .*to gange"),
    ("kommuner.csv", "147;Frederiksberg", "101;Frederiksberg", r"kommuner\.csv: 101 .*to gange"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "named"), SPOILT, ids=[f"{file}-{new[:45]}" for file, _, new, _ in SPOILT]
)
def test_a_rule_that_cannot_stand_is_refused_with_file_and_entry(
    folder: Path, file: str, old: str, new: str, named: str
) -> None:
    spoil(folder, file, old, new)
    assert re.search(named, refused(folder))


@pytest.mark.parametrize(
    ("file", "line", "named"),
    [
        ("konti.csv", KTH_KONTO, r"konti\.csv: urn:oio:kommune:konto:557731007 står to gange"),
        ("ydelser.csv", KTH_ROW, r"ydelser\.csv: KTH fra 2014-07-01 står to gange"),
    ],
)
def test_the_same_account_or_benefit_and_date_twice_is_refused(folder: Path, file: str, line: str, named: str) -> None:
    whole = next(text for text in (folder / file).read_text("utf-8").splitlines() if text.startswith(line))
    append(folder, file, f"{whole}\n")
    assert re.search(named, refused(folder))


def test_the_same_sender_twice_is_refused(folder: Path) -> None:
    append(
        folder,
        "kilder.toml",
        f"\n[[kilde]]\nid = 'ky'\nnavn = 'x'\nart = 'national'\ngaelder_fra = 2014-07-01\n{CITED}",
    )
    assert re.search(r"kilder\.toml.* ky .*to gange", refused(folder))


@pytest.mark.parametrize("topic", ["optaelling", "overgang", "genoptjening"])
def test_an_entry_that_holds_once_is_refused_the_second_time(folder: Path, topic: str) -> None:
    more = "uger = 40\nvindue_aar = 3\nmetode = 'hele_kalenderuger'\n" if topic == "genoptjening" else ""
    append(folder, "optaelling.toml", f"\n[[{topic}]]\ngaelder_fra = 2014-07-01\n{more}{CITED}")
    assert re.search(rf"optaelling\.toml, {topic}", refused(folder))


@pytest.mark.parametrize("key", ["hjemmel", "kilde", "kontrolleret", "sikkerhed"])
@pytest.mark.parametrize("file", sorted(path.name for path in RULES.glob("*.toml") if "\n[" in path.read_text("utf-8")))
def test_an_entry_without_its_citation_is_refused(folder: Path, file: str, key: str) -> None:
    line = re.search(rf"^{key} = .*\n", (folder / file).read_text("utf-8"), re.MULTILINE)
    assert line
    spoil(folder, file, line[0], "")
    with pytest.raises(RuleError, match=rf"{file}.*mangler {key}"):
        prove_aside(folder, load(folder))


@pytest.mark.parametrize("key", ["hjemmel", "kilde", "kontrolleret", "sikkerhed"])
@pytest.mark.parametrize("file", ["ydelser.csv", "konti.csv"])
def test_a_row_without_its_citation_is_refused(folder: Path, file: str, key: str) -> None:
    header, first = (folder / file).read_text("utf-8").splitlines()[:2]
    values = first.split(";")
    values[header.split(";").index(key)] = ""
    spoil(folder, file, first, ";".join(values))
    assert re.search(rf"{file}.*post 1: mangler {key}", refused(folder))


OPTIONAL = (
    *("deling.toml", "driftspris.toml", "fleksbidrag.toml", "foraeldelse.toml", "gevinster.toml"),
    *("levering.toml", "opbevaring.toml", "udrulning.toml"),
)


@pytest.mark.parametrize(
    "file", sorted(path.name for path in RULES.iterdir() if path.suffix != ".md" and path.name not in OPTIONAL)
)
def test_a_missing_file_of_rules_is_refused_by_name(folder: Path, file: str) -> None:
    (folder / file).unlink()
    assert re.search(rf"{file}.*mangler", refused(folder))


def test_the_shipped_rules_stand() -> None:
    assert (len(RULEBOOK.ydelse_ids), len(RULEBOOK.konti), len(RULEBOOK.kommuner)) == (34, 36, 98)
    assert re.fullmatch("[0-9a-f]{64}", RULEBOOK.version)


@pytest.mark.parametrize("konto", ["557731009", "557731011"])
def test_special_support_and_forrevalidering_count_as_kontanthjaelp(konto: str) -> None:
    [found] = [entry for entry in RULEBOOK.konti if entry.konto == f"urn:oio:kommune:konto:{konto}"]
    assert found.ydelse_id == "KTH"
    assert "læsning" in found.sikkerhed


def test_comments_and_layout_make_no_new_version_and_any_value_does(folder: Path) -> None:
    append(folder, "trapper.toml", "\n\n# En bemærkning.\n")
    spoil(folder, "optaelling.toml", "uger = 52", "uger    =    52   # § 6")
    assert load(folder).version == RULEBOOK.version
    spoil(folder, "optaelling.toml", "uger    =    52", "uger = 51")
    fewer = load(folder)
    assert (fewer.genoptjening[0].uger, fewer.version == RULEBOOK.version) == (51, False)
    spoil(folder, "optaelling.toml", "uger = 51", "uger = 52")
    assert load(folder).version == RULEBOOK.version
    spoil(folder, "kommuner.csv", "Frederiksberg", "Frederiksbjerg")
    assert load(folder).version != RULEBOOK.version


def changes(entry: Any) -> Iterator[date]:
    """Every date on which something in an entry begins, and the day after something ends."""
    for field in dataclasses.fields(entry):
        value = getattr(entry, field.name)
        if isinstance(value, tuple):
            yield from (day for part in value if dataclasses.is_dataclass(part) for day in changes(part))
        elif dataclasses.is_dataclass(value):
            yield from changes(value)
        elif isinstance(value, date) and field.name != "kontrolleret":
            yield value + timedelta(days=field.name.endswith("_til"))


DATES = sorted(set(changes(RULEBOOK)))


FIRST_RUN = "2020-01"


def test_the_dates_of_the_law_are_those_we_know() -> None:
    assert {"2014-07-01", "2015-12-28", "2016-01-01", "2016-01-04", "2020-01-01"} <= set(map(str, DATES))


@pytest.mark.parametrize("day", DATES, ids=str)
def test_the_whole_kernel_runs_over_the_day_before_and_the_day_of_every_change(day: date) -> None:
    spans = [(-30, -1), (-1, -1), (0, 0), (0, 30), (-10, 10)]
    rows = []
    for number, konto in enumerate(RULEBOOK.konti):
        felt = next(y for y in RULEBOOK.ydelser if y.ydelse_id == konto.ydelse_id).felter[0]
        for fra, til in spans:
            period = day + timedelta(days=fra), day + timedelta(days=til)
            row = report(konto, felt, f"6101{number:02}0001", *period, 10_000 * (til - fra + 1) + 1)
            rows.append(row | {"IndberetningsID": f"I{number}"})
    people = sorted({row["CPR"] or row["Felt0216"] for row in rows})
    bopael = [{"CPR": cpr, "Kommunekode": "101", "Bopael_start": "2000-01-01", "Bopael_slut": ""} for cpr in people]
    for known in (day - timedelta(days=1), day + timedelta(days=31)):
        month = max(f"{known:%Y-%m}", FIRST_RUN)
        files = delivered(rows, month)
        run = calculate(files, bopael, month, RULEBOOK)
        assert run.state == plain_state(files, bopael, month, RULEBOOK)
        assert run.karantaene == []


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("aabner_bankdag = 1", "aabner_bankdag = 0", r"aabner_bankdag = 0; skriv et tal fra 1 til 16"),
        ("opgjort_bankdag = 4", "opgjort_bankdag = 17", r"opgjort_bankdag = 17; skriv"),
        ('frist_kl = "12:00"', 'frist_kl = "24:00"', r"frist_kl = '24:00'; skriv et klokkeslæt som"),
        ("frist_bankdag = 3", "frist_bankdag = 1\nnote_ = 1", r"ukendt nøgle note_"),
        (
            'frist_bankdag = 3\nfrist_kl = "12:00"',
            'frist_bankdag = 1\nfrist_kl = "06:00"',
            r"fristen ligger ikke efter",
        ),
        ("plads_til_koersler = 3", "plads_til_koersler = 0", r"plads_til_koersler = 0; skriv 1 eller mere"),
        ('ved_frist = "vent"', 'ved_frist = "fortsaet"', r"fra 2020-01-01: begrundelse mangler"),
        ('ved_frist = "vent"', 'ved_frist = "stop"', r"ved_frist = 'stop': er ikke en af vent, fortsaet"),
    ],
)
def test_a_critical_week_that_cannot_be_meant_is_refused(folder: Path, old: str, new: str, said: str) -> None:
    spoil(folder, "drift.toml", old, new)
    with pytest.raises(RuleError, match=r"drift\.toml, kritisk_uge.*" + said):
        load(folder)


def test_rules_without_a_critical_week_can_stand_and_start_nothing_by_themselves(folder: Path) -> None:
    text = (folder / "drift.toml").read_text("utf-8")
    (folder / "drift.toml").write_text(text.partition("[[kritisk_uge]]")[0], "utf-8")
    assert load(folder).kritisk_uge_on(date(2026, 11, 1)) is None


GAIN = """
[[gevinst]]
id = "kth-trin-4"
maal = "trappe.egen_oere"
ydelse_id = "KTH"
trin = 4
kommunekode = "630"
ejer = "Jobcenterchefen"
baseline_fra = 2025-01-01
baseline_til = 2025-12-01
maalsaetning = -50000000
hjemmel = "ingen: teknisk"
kilde = "Vores eget valg"
kontrolleret = 2026-11-28
sikkerhed = "vores eget valg"
"""


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("2025-01-01", "2025-01-02", r"baseline_fra er en måned; skriv den første i måneden"),
        ("2025-12-01", "2024-12-01", r"baseline_til 2024-12-01 er før baseline_fra"),
        ('"KTH"', '"KHT"', r"ydelse KHT findes ikke i ydelser\.csv"),
        ('"630"', '"999"', r"kommune 999 findes ikke"),
        ("trin = 4", "trin = 0", r"trin = 0; skriv 1 eller mere"),
        ('"trappe.egen_oere"', '"trappe.egen"', r"maal = 'trappe\.egen': er ikke en af trappe\.borgere"),
        ('ejer = "Jobcenterchefen"\n', "", r"mangler ejer"),
    ],
)
def test_a_gain_that_cannot_be_meant_is_refused(folder: Path, old: str, new: str, said: str) -> None:
    assert old in GAIN
    append(folder, "gevinster.toml", GAIN.replace(old, new))
    with pytest.raises(RuleError, match=r"gevinster\.toml, gevinst.*" + said):
        load(folder)


def test_a_gain_touches_no_month(folder: Path) -> None:
    append(folder, "gevinster.toml", GAIN)
    rules = load(folder)
    assert [entry.maalsaetning for entry in rules.gevinster] == [-50_000_000]
    assert changes_of(RULEBOOK.emner, rules.emner) == []


def test_rules_of_before_the_bound_of_small_groups_stand_and_have_the_common_one(folder: Path) -> None:
    spoil(folder, "drift.toml", "vaerdi = 5\n", "vaerdi = 8\n")
    assert smallest_group(load(folder)) == 8
    text = (folder / "drift.toml").read_text("utf-8")
    entry = text.index('[[graense]]\nid = "mindste_celle"')
    (folder / "drift.toml").write_text(text[:entry] + text[text.index("[[kritisk_uge]]") :], "utf-8")
    assert smallest_group(load(folder)) == 5
