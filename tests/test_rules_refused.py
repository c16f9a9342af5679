"""What the rules refuse of what can be added to the law, and that nothing starts under rules that cannot stand."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from refusion_assets.context import Place
from refusion_assets.definitions import build_defs
from refusion_assets.rulebook import RuleError, load
from tests.conftest import DataRoot
from tests.egne import CITED, append, change, entry, staircase
from tests.support import REPO, RULES

COUNTER = 'id = "t"\ngaelder_fra = 2024-01-01\nydelser = ["KTH", "ADP"]\nfri_uge = "uden_ydelserne"\n'
RESTART = "genoptjening_uger = 26\nvindue_aar = 2\n"
MAXIMUM = 'id = "l"\ngaelder_fra = 2024-01-01\nydelser = ["KTH"]\nperiode = "uge"\nbeloeb_oere = 1000\npaa = "beloeb"\n'
KTH = "KTH;2014-07-01;Kontanthjælp;5;A;refusion;trappe;"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the rules with a counter, a staircase that it climbs and a maximum; they stand."""
    rules = Path(shutil.copytree(RULES, tmp_path / "rules"))
    append(rules, "taellere.toml", entry("taeller", COUNTER + RESTART))
    append(rules, "trapper.toml", staircase("ny", "2016-01-04", {1: 60, 9: 40}, 'taeller = "t"'))
    append(rules, "lofter.toml", entry("loft", MAXIMUM))
    change(rules, "ydelser.csv", KTH, KTH.replace("A;refusion;trappe", "-;refusion;trappe ny"))
    load(rules)
    return rules


def refused(folder: Path) -> str:
    """Why the loader refuses the folder, as one line."""
    with pytest.raises(RuleError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# file, what stands there, what is put there instead, what the refusal says
SPOILT: list[tuple[str, str, str, str]] = [
    # counters
    ("taellere.toml", RESTART, "genoptjening_uger = 26\n", r"taeller t: .* hører sammen; skriv begge eller ingen"),
    ("taellere.toml", RESTART, "vindue_aar = 2\n", r"taeller t: .* hører sammen; skriv begge eller ingen"),
    ("taellere.toml", "uger = 26", "uger = 0", r"taeller t: så få uger .*skriv mindst 1"),
    ("taellere.toml", "vindue_aar = 2", "vindue_aar = 0", r"taeller t: vindue_aar = 0; skriv et helt tal"),
    ("taellere.toml", "vindue_aar = 2", "vindue_aar = 101", r"taeller t: vindue_aar = 101; skriv"),
    ("taellere.toml", '"KTH", "ADP"', '"KTX"', r"taeller t: ydelse KTX findes ikke i ydelser\.csv; ret navnet"),
    ("taellere.toml", '"KTH", "ADP"', '"KTH", "KTH"', r"taeller t: ydelser: KTH står to gange; behold een"),
    ("taellere.toml", '"KTH", "ADP"', "", r"taeller t: ydelser er tom; skriv mindst een"),
    ("taellere.toml", '["KTH", "ADP"]', '"KTH"', r"post 1: ydelser = 'KTH': er ikke en liste; skriv"),
    ("taellere.toml", "2024-01-01", "2014-06-30", r"taeller t: gaelder_fra er før .*skriv 2014-07-01 eller senere"),
    ("taellere.toml", "2024-01-01", '"i går"', r"post 1: gaelder_fra = 'i går': er ikke en dato; skriv ÅÅÅÅ-MM-DD"),
    ("taellere.toml", "uden_ydelserne", "aldrig", r"post 1: fri_uge = 'aldrig': er ikke en af selvforsoergelse, uden_"),
    ("taellere.toml", 'id = "t"', 'id = "ydelser"', r"taeller ydelser: navnet er lovens egen tællers; vælg et andet"),
    ("taellere.toml", 'id = "t"', 'id = "x"', r"trappe ny .*: taeller t findes ikke i taellere\.toml; ret navnet"),
    ("taellere.toml", 'id = "t"', 'navn = "t"', r"taellere\.toml, taeller, post 1: ukendt nøgle navn; ret"),
    ("trapper.toml", 'taeller = "t"', 'taeller = "x"', r"trappe ny fra 2016-01-04: taeller x findes ikke"),
    ("trapper.toml", 'taeller = "t"', "taeller = 1", r"taeller = 1: er ikke en tekst; skriv den i citationstegn"),
    ("trapper.toml", 'taeller = "t"', "", r"ydelse KTH fra 2014-07-01: .*uden egen tæller skal have kategori A"),
    # maxima
    ("lofter.toml", "oere = 1000", "oere = -1", r"loft l fra 2024-01-01: beloeb_oere = -1 er under 0; skriv 0"),
    ("lofter.toml", "oere = 1000", "oere = 10.5", r"post 1: beloeb_oere = 10\.5: er ikke et helt tal"),
    ("lofter.toml", "oere = 1000", "oere = true", r"post 1: beloeb_oere = true: er ikke et helt tal"),
    ("lofter.toml", '["KTH"]', '["KTX"]', r"loft l fra 2024-01-01: ydelse KTX findes ikke i ydelser\.csv; ret"),
    ("lofter.toml", '["KTH"]', '["SU"]', r"loft l fra 2024-01-01: ydelse SU afregnes aldrig .*; fjern den"),
    ("lofter.toml", '["KTH"]', "[]", r"loft l fra 2024-01-01: ydelser er tom; skriv mindst een"),
    ("lofter.toml", 'periode = "uge"', 'periode = "aar"', r"post 1: periode = 'aar': er ikke en af uge, maaned"),
    ("lofter.toml", 'paa = "beloeb"', 'paa = "alt"', r"post 1: paa = 'alt': er ikke en af beloeb, refusion"),
    ("lofter.toml", 'id = "l"\n', "", r"lofter\.toml, loft, post 1: mangler id; skriv den i posten"),
    ("lofter.toml", "sikkerhed = 'x'\n", "", r"lofter\.toml, loft, post 1: mangler sikkerhed; skriv den i posten"),
    ("lofter.toml", "[[loft]]", "[[maksimum]]", r"maksimum: ukendt emne; de kendte er"),
    # staircases
    ("trapper.toml", "fra_uge = 9, procent = 40", "fra_uge = 9, procent = 101", r"trappe ny .*procent 101 ligger ikke"),
    ("trapper.toml", "fra_uge = 9, procent = 40", "fra_uge = 1, procent = 40", r"trappe ny .*skal stige .*ret"),
    ("trapper.toml", "fra_uge = 9, procent = 40", "fra_uge = 9", r"trapper\.toml, trappe, post 3: .*mangler procent"),
    ("trapper.toml", '"ny"\ngaelder_fra = 2016-01-04', '"ny"\ngaelder_fra = 2018-01-01', r"KTH .*hul; trappe ny"),
    ("trapper.toml", "trin = [{ fra_uge = 1, procent = 60", "trin = [7, { fra_uge = 1, procent = 60", r"7 er ikke"),
    ("ydelser.csv", "trappe ny", "trappe nyt", r"ydelse KTH .*trappe nyt findes ikke i trapper\.toml"),
    # the rest
    ("optaelling.toml", "uger = 52", "uger = 0", r"genoptjening fra 2014-07-01: så få uger .*skriv mindst 1"),
    ("optaelling.toml", "2016-01-04", "2016-01-05", r"overgang: 2016-01-05 er ikke en mandag; skriv ugens mandag"),
    ("optaelling.toml", "uger = 52", "uger = 52\nuger = 53", r"optaelling\.toml, linje \d+: kan ikke læses som TOML"),
    ("drift.toml", "koerselsdag = 3", "koerselsdag = 29", r"drift\.toml, koersel: koerselsdag = 29; skriv en dag"),
    ("konti.csv", ";KTH;ky;0115;", ";KTH;su;0115;", r"557731007: felt 0115 passer ikke til kilden; skriv 0115"),
    ("konti.csv", ";2014-07-01;2018-12-31;", ";2019-07-01;2018-12-31;", r"konto:may: gyldig_til 2018-12-31 er før"),
    ("konti.csv", ";KTH;ky;0115;1;", ";KTH;ky;0115;een;", r"kontoart = 'een': er ikke et helt tal"),
    ("konti.csv", ";KTH;ky;", ";KTH;;ky;", r"konti\.csv, konti, post \d+: linjen har flere felter end overskriften"),
    ("ydelser.csv", KTH[:14], "KTH;2014-02-30", r"gaelder_fra = '2014-02-30': er ikke en dato; skriv ÅÅÅÅ-MM-DD"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("file", "old", "new", "said"), SPOILT, ids=[f"{file}-{new.strip()[:40]}" for file, _, new, _ in SPOILT]
)
def test_a_wrong_edit_is_refused_with_file_entry_and_what_to_do(
    folder: Path, file: str, old: str, new: str, said: str
) -> None:
    change(folder, file, old, new)
    assert re.search(said, refused(folder))


@pytest.mark.parametrize(
    ("file", "text", "said"),
    [
        ("taellere.toml", entry("taeller", COUNTER), r"taellere\.toml: t står to gange; behold een post"),
        ("lofter.toml", entry("loft", MAXIMUM), r"lofter\.toml: l fra 2024-01-01 står to gange; behold een post"),
        ("trapper.toml", staircase("ny", "2026-01-01", {1: 1}), r"ny fra 2026-01-01: taeller er ydelser, men var t"),
        ("trapper.toml", staircase("refusion", "2026-01-01", {1: 1}, 'taeller = "t"'), r"er t, men var ydelser; skriv"),
    ],
    ids=["taeller", "loft", "trappe uden tæller", "trappe med tæller"],
)  # fmt: skip
def test_one_entry_more_that_contradicts_another_is_refused(folder: Path, file: str, text: str, said: str) -> None:
    append(folder, file, text)
    assert re.search(said, refused(folder))


@pytest.mark.parametrize("file", ["ydelser.csv", "lofter.toml"])
def test_a_file_that_is_not_utf_8_is_refused(folder: Path, file: str) -> None:
    append(folder, file, "# æ")
    (folder / file).write_bytes((folder / file).read_text("utf-8").encode("latin-1"))
    assert refused(folder) == f"{file}: er ikke skrevet i UTF-8; gem filen igen som UTF-8"


def test_a_table_saved_by_a_spreadsheet_with_a_byte_order_mark_is_the_same_rules(folder: Path) -> None:
    version = load(folder).version
    path = folder / "konti.csv"
    path.chmod(0o644)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load(folder).version == version


def test_rules_without_counters_and_maxima_stand_and_an_empty_topic_is_none() -> None:
    bare = load(RULES)
    assert (bare.taellere, bare.lofter) == ((), ())


def test_an_empty_list_of_counters_stands(folder: Path) -> None:
    for file, topic in (("taellere.toml", "taeller"), ("lofter.toml", "loft")):
        (folder / file).write_text(f"{topic} = []\n", encoding="utf-8")
    change(folder, "trapper.toml", 'taeller = "t"', "")
    change(folder, "ydelser.csv", KTH.replace("A;refusion;trappe", "-;refusion;trappe ny"), KTH)
    assert load(folder).taellere == ()


def test_the_command_refuses_rules_that_cannot_stand(folder: Path, tmp_path: Path) -> None:
    append(folder, "lofter.toml", entry("loft", MAXIMUM.replace("1000", "-5").replace('"l"', '"m"')))
    ran = DataRoot(tmp_path, folder).refusion("regler")
    assert (ran.code, ran.out) == (1, "")
    assert "lofter.toml, loft m fra 2024-01-01: beloeb_oere = -5 er under 0" in ran.err


def test_the_code_location_refuses_rules_that_cannot_stand(folder: Path, tmp_path: Path) -> None:
    append(folder, "taellere.toml", f"[[taeller]]\n{COUNTER}{CITED}")
    with pytest.raises(RuleError, match="t står to gange"):
        build_defs(Place(tmp_path, folder))
    environment = DataRoot(tmp_path, folder).environment | {"DAGSTER_DISABLE_TELEMETRY": "1", "PYTHONPATH": str(REPO)}
    command = [sys.executable, "-c", "import refusion_assets.definitions"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode != 0
    assert "taellere.toml: t står to gange; behold een post" in done.stderr
