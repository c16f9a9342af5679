"""What the rules refuse of what can be added to the law, and that nothing starts under rules that cannot stand."""

import re
import shutil
import subprocess
import sys
from datetime import date
from pathlib import Path

import pytest

from refusion_assets.definitions import build_defs
from refusion_assets.domain.rules.entries import LAESNINGER
from refusion_assets.place import Place
from refusion_assets.rulebook.improbable import doubts
from refusion_assets.rulebook.load import RuleError, load
from tests.conftest import DataRoot
from tests.kit.data_root import REPO, RULES
from tests.kit.other_counters import CITED, append, change, entry, staircase
from tests.kit.rule_edits import benefit

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


def stood(folder: Path) -> str | None:
    """Nothing if the rules stand, else why they are refused; any other error is a fault of the program."""
    try:
        load(folder)
    except RuleError as error:
        return str(error)
    return None


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
    # what reads well and cannot be meant
    ("optaelling.toml", "vindue_aar = 3", "vindue_aar = 0", r"genoptjening fra 2014-07-01: vindue_aar = 0; skriv"),
    ("optaelling.toml", "uger = 52", "uger = 160", r"fra 2014-07-01: 160 uger kan aldrig nås .* højst 157"),
    ("optaelling.toml", "uger = 52", "uger = 158", r"158 uger kan aldrig nås inden for 3 år; skriv højst 157"),
    ("taellere.toml", "uger = 26", "uger = 106", r"taeller t: 106 uger kan aldrig nås inden for 2 år; skriv højst 105"),
    ("fleksbidrag.toml", "trin_procent = 20", "trin_procent = 25", r"trin_procent = 25 .*blandt 20, 30, 40, 80"),
    ("fleksbidrag.toml", "trin_procent = 20", "trin_procent = 21", r"trin_procent = 21 er ikke et trin for FLEKS"),
    ("ydelser.csv", ";Uddannelseshjælp;", ";Kontanthjælp;", r"UDDH .*: navnet Kontanthjælp har KTH allerede; skriv"),
    ("ydelser.csv", ";Uddannelseshjælp;", ";KONTANTHJÆLP;", r"UDDH .*: navnet KONTANTHJÆLP har KTH allerede"),
    ("ydelser.csv", ";Løntilskud, privat;", ";Løntilskud,  offentlig;", r"LTS_PRIV .*har LTS_OFF allerede"),
    ("ydelser.csv", ";Uddannelseshjælp;", ";Fleksbidrag fra staten;", r"UDDH .*er bidragets i fleksbidrag\.toml; s"),
    ("ydelser.csv", ";Uddannelseshjælp;", ";fleksbidrag  Fra Staten;", r"UDDH .*er bidragets i fleksbidrag\.toml"),
    ("ydelser.csv", ";Uddannelseshjælp;", ";7;", r"ydelse UDDH .*navn = '7' har ingen bogstaver; skriv"),
    ("ydelser.csv", "UDDH;", "kth;", r"konti\.csv, konto .*: ydelse UDDH findes ikke i ydelser\.csv"),
    ("ydelser.csv", ";8;A;refusion;", ";8;A;medfinansiering;", r"LED har side medfinansiering .* ky er kommunal"),
    ("ydelser.csv", ";11;A;medfinansiering;", ";11;A;refusion;", r"ydelse FOEP har side refusion .* udk er national"),
    ("ydelser.csv", ";ingen;;0014;;;§ 3", ";ingen;;0014;2016-01-01;;§ 3", r"ADP_EU .*finansieres_fra står ved side"),
    ("ydelser.csv", ";trappe;0037;2015", ";trappe;0037,0037;2015", r"SYG_VIRK .*beloebsfelt står to gange"),
    ("ydelser.csv", ";5.57.71;", ";55771;", r"SYG_BORGER .*kontering = '55771'; skriv funktionen som 5\.57\.71"),
    ("ydelser.csv", "fast 100", "fast ²", r"sats = 'fast ²'; skriv trappe, trappe NAVN, fast NN"),
    ("konti.csv", ";06;0041;", ";6;0041;", r"indkomsttype = '6'; skriv 2 cifre"),
    ("konti.csv", ";06;0041;", ";06;41;", r"indtaegtsart = '41'; skriv 4 cifre"),
    ("kommuner.csv", "\n101;", "\n1O1;", r"kommune 1O1: kommunekode skal være tre cifre"),
    ("kommuner.csv", ";671714;", ";0;", r"kommune 101: indbyggertal = 0; skriv mindst 1"),
    ("kommuner.csv", ";671714;", ";٦٧;", r"post 1: indbyggertal = '٦٧': er ikke et helt tal"),
    ("kommuner.csv", ";671714;", ";671.714;", r"post 1: indbyggertal = '671\.714': er ikke et helt tal"),
    ("kommuner.csv", "Frederiksberg", "København", r"kommuner\.csv: navn København ligner København"),
    ("optaelling.toml", "gaelder_fra = 2014-07-01\nnote", "gaelder_fra = 2023-07-01\nnote", r"efter overgangen 2016"),
    ("drift.toml", "vaerdi = 366", "vaerdi = -1", r"graense periode_dage: vaerdi = -1; skriv 1 eller mere"),
    ("drift.toml", "vaerdi = 50\n", "vaerdi = 999999999999999\n", r"vaerdi = 9+: er for stort et tal"),
    ("kontrol.toml", "Filen {fil} svarer", "Filen {fil svarer", r"kontrol\.toml, FIL-001: en plads i teksten"),
    ("kontrol.toml", "Filen {fil} svarer", "Filen {fil:>9} svarer", r"kontrol\.toml, FIL-001: en plads i teksten"),
    ("kontrol.toml", 'id = "ugebeloeb_oere"', 'id = "ugebeloeb"', r"ugebeloeb_oere mangler"),
    ("kontering.toml", 'gruppering = "010"', 'gruppering = "10"', r"5\.57\.71 refusion: gruppering = '10'; en v"),
    # numbers and days as text, and text with what nobody sees
    ("trapper.toml", "procent = 80,", 'procent = "80",', r"trin: nr\. 1: procent = '80': er skrevet som tekst"),
    ("trapper.toml", "procent = 80,", "procent = true,", r"procent = true: er ikke et helt tal"),
    ("trapper.toml", "procent = 80,", "procent = 80.0,", r"procent = 80\.0: er ikke et helt tal"),
    ("trapper.toml", "procent = 80,", "procent = [80],", r"nr\. 1: procent: er ikke et helt tal"),
    ("optaelling.toml", "uger = 52", 'uger = "52"', r"uger = '52': er skrevet som tekst; skriv tallet uden citat"),
    ("lofter.toml", "oere = 1000", 'oere = "1000"', r"beloeb_oere = '1000': er skrevet som tekst"),
    ("taellere.toml", "uger = 26", 'uger = "26"', r"genoptjening_uger = '26': er skrevet som tekst"),
    ("taellere.toml", "uger = 26", 'uger = ""', r"genoptjening_uger = '': er tom; skriv en værdi, eller fjern"),
    ("taellere.toml", '"KTH", "ADP"', '"KTH", 5', r"ydelser: nr\. 2 = 5: er ikke en tekst"),
    ("kontering.toml", "procent = 80", 'procent = "80"', r"procent = '80': er skrevet som tekst"),
    ("drift.toml", "vaerdi = 366", 'vaerdi = "366"', r"vaerdi = '366': er skrevet som tekst"),
    ("optaelling.toml", "= 2016-01-04", '= "2016-01-04"', r"gaelder_fra = '2016-01-04': er skrevet som tekst"),
    ("ydelser.csv", "LED;2014-07-01", "LED;20140701", r"gaelder_fra = '20140701': er ikke en dato; skriv ÅÅÅÅ"),
    ("ydelser.csv", "LED;2014-07-01", "LED;2014-W27-2", r"gaelder_fra = '2014-W27-2': er ikke en dato"),
    ("ydelser.csv", "LED;2014-07-01", "LED;0214-07-01", r"gaelder_fra = '0214-07-01': ligger uden for årene 1900"),
    ("ydelser.csv", ";Ledighedsydelse;", ";Ledighedsydelse ;", r"navn = 'Ledighedsydelse ': begynder eller slutter"),
    ("ydelser.csv", ";Løntilskud, privat;", ";Løntilskud,\u00a0privat;", r"navn = .*har et usynligt tegn"),
    ("ydelser.csv", ";Kontanthjælp;", ";KontanthjÃ¦lp;", r"navn = .*har ødelagte bogstaver"),
    ("trapper.toml", 'hjemmel = "§ 5, stk. 2, nr. 1"', "hjemmel = 2016-01-04", r"hjemmel = 2016-01-04: er ikke"),
    ("fleksbidrag.toml", 'ydelse_id = "FLEKS"', 'ydelse_id = "SU"', r"FLEKSBIDRAG .*SU har ingen refusion at"),
    ("fleksbidrag.toml", 'ydelse_id = "FLEKS"', 'ydelse_id = "ADP"', r"FLEKSBIDRAG .*ADP har ingen refusion at"),
    ("laesninger.toml", '"mandag", "soendag"', '"mandag", "fredag"', r"bopael_paa: fredag kan programmet ikke"),
    ("ydelser.csv", ";8;A;", ";-8;A;", r"LED .*: lov_nr = '-8'; skriv nummeret i § 3, stk\. 1, som 8, eller"),
    ("ydelser.csv", ";1;A;", ";01;A;", r"ADP .*: lov_nr = '01'; skriv nummeret"),
    ("ydelser.csv", ";Ledighedsydelse;", ';"Ledigheds\nydelse";', r"navn = .*: har et linjeskift; skriv"),
    ("kommuner.csv", "\n147;", "\n000;", r"kommune 000: 000 er driftens egen kode"),
    ("kommuner.csv", ";671714;", ";67171400;", r"kommune 101: indbyggertal = 67171400; skriv højst 10000000"),
    ("kilder.toml", 'id = "ky"', 'id = "k-y"', r"kilde ky findes ikke i kilder\.toml"),
    ("konti.csv", "urn:oio:akasse:konto:adp;", "urn:oio:akasse:konto: adp;", r"konto: adp: en konto har"),
    ("kontrol.toml", "vaerdi = 1200000", "vaerdi = 0", r"graense ugebeloeb_oere: vaerdi = 0; skriv 1 eller mere"),
    # files that cannot be read
    ("lofter.toml", "[[loft]]", "[[Loft]]", r"lofter\.toml, Loft: ukendt emne; .*; var loft ment\?"),
    ("ydelser.csv", "ydelse_id;gaelder_fra", "sep=;\nydelse_id;gaelder_fra", r"linje 1: 'sep=' er en linje"),
    ("ydelser.csv", "ydelse_id;gaelder_fra", "\nydelse_id;gaelder_fra", r"linje 1: er ikke overskriften; dér"),
    ("ydelser.csv", "sikkerhed\n", "sikkerhed;\n", r"linje 1: en kolonne i overskriften har intet navn"),
    ("trapper.toml", "gaelder_fra = 2016-01-04", "gaelder_fra = 04-01-2016", r"linje \d+: .*; en dato skrives"),
    ("trapper.toml", 'id = "refusion"', "id = “refusion”", r"linje \d+: .*uden almindelige citationstegn"),
    ("trapper.toml", "[[trappe]]", "[trappe]", r"linje \d+: .*en nøgle eller overskrift står to gange"),
    ("trapper.toml", "procent = 80,", "procent = 80 %,", r"linje \d+: .*efter et tal står andet end cifre"),
    ("ydelser.csv", "ydelse_id;gaelder_fra", "ydelse_id;ydelse_id", r"kolonnen 'ydelse_id' står to gange"),
    ("ydelser.csv", ";set i lovforslaget og på elov.dk\n", "\n", r"post 1: linjen har færre felter end overskriften"),
    ("ydelser.csv", ";Ledighedsydelse;", ';"Ledighedsydelse;', r"ydelser\.csv, linje \d+: kan ikke læses som CSV"),
    ("trapper.toml", "trin = [\n", "trin = [[\n", r"trapper\.toml, linje \d+: kan ikke læses som TOML"),
    ("laesninger.toml", 'vaerdi = "mandag"', 'vaerdi = "fredag"', r"bopael_paa: fredag er ikke en af mandag, "),
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


@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("optaelling.toml", "uger = 52", "uger = 157"),
        ("taellere.toml", "uger = 26", "uger = 105"),
        ("fleksbidrag.toml", "trin_procent = 20", "trin_procent = 30"),
        ("ydelser.csv", ";Uddannelseshjælp;", ";Kontanthjælp til unge;"),
        ("kommuner.csv", ";671714;", ";1;"),
    ],
)
def test_the_last_value_that_can_be_meant_stands(folder: Path, file: str, old: str, new: str) -> None:
    change(folder, file, old, new)
    load(folder)


def test_a_restart_that_is_tried_at_the_next_benefit_counts_no_week_of_its_own(folder: Path) -> None:
    change(folder, "laesninger.toml", 'vaerdi = "ved_opnaaelse"', 'vaerdi = "ved_naeste_ydelse"')
    change(folder, "optaelling.toml", "uger = 52", "uger = 156")
    load(folder)
    change(folder, "optaelling.toml", "uger = 156", "uger = 157")
    assert "157 uger kan aldrig nås inden for 3 år; skriv højst 156" in refused(folder)


def test_two_validity_rows_of_one_benefit_share_its_name_and_rules_without_fleksbidrag_stand(folder: Path) -> None:
    benefit(folder, "LED", date(2027, 1, 1), sats="fast 30")
    (folder / "fleksbidrag.toml").unlink()
    assert [y.navn for y in load(folder).ydelser if y.ydelse_id == "LED"] == ["Ledighedsydelse"] * 2


def test_a_day_of_control_that_has_not_come_is_refused_only_of_the_rules_in_force(folder: Path) -> None:
    change(folder, "drift.toml", "kontrolleret = 2026-11-21", "kontrolleret = 2090-01-02")
    load(folder, date(2090, 1, 2))
    with pytest.raises(RuleError, match=r"drift\.toml, koersel, post 1: kontrolleret 2090-01-02 er efter .*2090-01-01"):
        load(folder, date(2090, 1, 1))
    change(folder, "drift.toml", "kontrolleret = 2090-01-02", "kontrolleret = 2099-01-01")
    with pytest.raises(RuleError, match="kontrolleret 2099-01-01 er efter i dag"):
        _ = Place(folder.parent, folder).rules
    assert Place(folder.parent, folder, kept=True).rules.version == load(folder).version


def test_rules_of_an_earlier_run_load_though_they_would_be_refused_today(folder: Path) -> None:
    change(folder, "optaelling.toml", "uger = 52", 'uger = "160"')
    change(folder, "ydelser.csv", ";Uddannelseshjælp;", ";Kontanthjælp ;")
    assert load(folder, kept=True).genoptjening[0].uger == 160


def test_a_table_with_commas_is_told_so(folder: Path) -> None:
    change(folder, "kommuner.csv", (folder / "kommuner.csv").read_text("utf-8"), "kommunekode,navn,region\n101,A,B\n")
    assert refused(folder) == (
        "kommuner.csv: felterne er skilt med komma; gem filen igen med semikolon (;) mellem felterne"
    )


def test_a_folder_of_rules_that_is_not_there_is_told_with_the_way_to_set_it(folder: Path, tmp_path: Path) -> None:
    ran = DataRoot(tmp_path, tmp_path / "ingen").refusion("regler")
    assert (ran.code, ran.out) == (1, "")
    assert "ingen: mappen med regler findes ikke; sæt REFUSION_REGLER til mappen med reglerne" in ran.err
    with pytest.raises(RuleError, match="er en fil og ikke en mappe; sæt REFUSION_REGLER"):
        load(folder / "konti.csv")


def test_a_folder_that_holds_no_rules_is_told_so_with_the_way_to_set_it(tmp_path: Path) -> None:
    (tmp_path / "pyproject.toml").write_text("[project]\n", encoding="utf-8")
    with pytest.raises(RuleError, match=r"i mappen ligger ingen af reglernes filer .*; sæt REFUSION_REGLER til mappen"):
        load(tmp_path)


@pytest.mark.parametrize(
    ("file", "name", "said"),
    [
        ("trapper.toml", "trapper.toml.txt", "emnet trappe mangler; gem trapper.toml.txt som trapper.toml"),
        ("konti.csv", "konti.xlsx", "emnet konti mangler; gem konti.xlsx som konti.csv"),
        ("konti.csv", "konto.csv", "konto.csv: ukendt fil; de kendte er .*; var konti.csv ment"),
        ("optaelling.toml", "../optaelling.toml", "optaelling.toml: filen findes ikke i .* mangler; læg den i mappen"),
    ],
)  # fmt: skip
def test_a_file_of_another_name_is_told_with_the_name_it_should_have(
    folder: Path, file: str, name: str, said: str
) -> None:
    (folder / file).rename(folder / name)
    assert re.search(said, refused(folder))


def test_a_sender_whose_id_no_file_name_can_hold_is_refused(folder: Path) -> None:
    append(folder, "kilder.toml", entry("kilde", 'id = "k-y"\nnavn = "X"\nart = "national"\ngaelder_fra = 2026-01-01'))
    assert "kilder.toml, kilde k-y: id står i filnavnene" in refused(folder)


def test_the_answers_to_a_reading_are_those_that_the_rules_offer() -> None:
    offered = {reading.navn: set(reading.muligheder) for reading in load(RULES).laesninger}
    assert offered == LAESNINGER


def test_fleksbidrag_of_any_benefit_stands_or_is_refused_also_of_one_that_stops_being_settled(folder: Path) -> None:
    benefit(folder, "FLEKS", date(2027, 1, 1), side="ingen", sats="", finansieres_fra="")
    stands = set()
    for ydelse_id in load(folder).ydelse_ids:
        change(folder, "fleksbidrag.toml", 'ydelse_id = "FLEKS"', f'ydelse_id = "{ydelse_id}"')
        if (why := stood(folder)) is None:
            stands.add(ydelse_id)
        assert why is None or "har ingen refusion at lægge bidraget til" in why
        change(folder, "fleksbidrag.toml", f'ydelse_id = "{ydelse_id}"', 'ydelse_id = "FLEKS"')
    assert stands == {y.ydelse_id for y in load(folder).ydelser if y.side == "refusion"}


@pytest.mark.parametrize("value", ["-5", "[1]", '{ a = "x" }', "", "9999-12-31"])
def test_any_value_of_the_wrong_form_stands_or_is_refused_in_danish(folder: Path, value: str) -> None:
    seen = set()
    for path in sorted(folder.glob("*.toml")):
        text = path.read_text("utf-8")
        for found in re.finditer(r"(?m)^(\w+) = .*[^\[]$", text):
            if (path.name, found[1]) in seen:
                continue
            seen.add((path.name, found[1]))
            path.write_text(f"{text[: found.start()]}{found[1]} = {value}{text[found.end() :]}", encoding="utf-8")
            why = stood(folder) or "x.toml"
            assert re.match(r"[a-z_]+\.(toml|csv)\b", why), why
            assert not re.search(r"\n|\bNone\b|True|False|datetime|\[[^ ]|\('", why), why
            path.write_text(text, encoding="utf-8")
    assert len(seen) > 60


def test_what_is_no_file_of_rules_is_refused_by_name(folder: Path) -> None:
    (folder / "mere.toml").mkdir()
    assert refused(folder) == "mere.toml: er en mappe og ikke en fil; flyt den ud af mappen med regler"
    (folder / "mere.toml").rmdir()
    (folder / "mere.toml").symlink_to(folder / "ingen.toml")
    assert refused(folder).startswith("mere.toml: findes ikke dér, hvor henvisningen peger hen")
    (folder / "mere.toml").unlink()
    (folder / "lofter.toml").rename(folder / "lofter.TOML")
    assert refused(folder) == "lofter.TOML: endelsen er .TOML; skriv den med små bogstaver"


def test_what_has_no_effect_yet_is_a_warning_and_no_stop(folder: Path, tmp_path: Path) -> None:
    text = (folder / "konti.csv").read_text("utf-8")
    change(folder, "konti.csv", next(line for line in text.splitlines(keepends=True) if ";LED;" in line), "")
    change(folder, "trapper.toml", 'taeller = "t"', "")
    change(folder, "ydelser.csv", KTH.replace("A;refusion;trappe", "-;refusion;trappe ny"), KTH)
    append(folder, "kilder.toml", entry("kilde", 'id = "x"\nnavn = "X"\nart = "national"\ngaelder_fra = 2026-01-01'))
    change(folder, "fleksbidrag.toml", "trin_procent = 20", "trin_procent = 60")
    benefit(folder, "REVAL", date(2027, 1, 1), side="medfinansiering")
    ran = DataRoot(tmp_path, folder).refusion("regler")
    assert ran.code == 0
    assert [line for line in ran.out.splitlines() if line.startswith("ADVARSEL: ")] == [
        (
            "ADVARSEL: konti.csv, konto urn:oio:kommune:konto:558801014: ydelse REVAL har side medfinansiering fra "
            "2027-01-01, men kilde ky er kommunal; side refusion har kommunale kilder, "
            "og side medfinansiering nationale"
        ),
        (
            "ADVARSEL: fleksbidrag.toml, FLEKSBIDRAG fra 2016-01-01: trin_procent = 60 er ikke et trin for FLEKS; "
            "vælg blandt 20, 30, 40, 80"
        ),
        "ADVARSEL: ydelser.csv, ydelse LED: ingen konto i konti.csv fører til den",
        "ADVARSEL: kilder.toml, kilde x: ingen konto i konti.csv har den",
        "ADVARSEL: taellere.toml, taeller t: ingen trappe følger den",
    ]


@pytest.mark.parametrize(
    ("file", "old", "new", "said"),
    [
        ("trapper.toml", "procent = 40", "procent = 90", "trappe refusion fra .*: procenten både stiger og falder"),
        ("trapper.toml", "procent = 40", "procent = 30", "to trin efter hinanden har samme procent"),
        ("kontering.toml", "procent = 80", "procent = 79", "5.57.71 refusion: procent = 79 er ikke et trin"),
        ("kontering.toml", '"5.57.71"', '"5.57.99"', "5.57.99 refusion: ingen ydelse i ydelser.csv har den kontering"),
        ("ydelser.csv", ";8;A;refusion;trappe;", ";8;A;refusion;trappe medfinansiering;", "LED .*er trappen for"),
        ("ydelser.csv", "LED;2014-07-01", "LED;2094-07-01", "post 10: gaelder_fra 2094-07-01 ligger over 10 år"),
        ("konti.csv", ";2014-07-01;2018-12-31;", ";2018-07-01;2018-12-31;", None),
    ],
)  # fmt: skip
def test_what_looks_odd_is_told_and_no_more(tmp_path: Path, file: str, old: str, new: str, said: str | None) -> None:
    rules = Path(shutil.copytree(RULES, tmp_path / "rules"))
    change(rules, file, old, new)
    told = doubts(load(rules), date(2026, 11, 28))
    assert bool(told) == (said is not None)
    assert said is None or any(re.search(said, doubt) for doubt in told)


def test_the_shipped_rules_leave_no_doubt() -> None:
    assert doubts(load(RULES)) == []


@pytest.mark.parametrize("file", ["ydelser.csv", "lofter.toml"])
def test_a_file_that_is_not_utf_8_is_refused(folder: Path, file: str) -> None:
    append(folder, file, "# æ")
    (folder / file).write_bytes((folder / file).read_text("utf-8").encode("latin-1"))
    assert refused(folder) == f"{file}: er ikke skrevet i UTF-8; gem filen igen som UTF-8"


@pytest.mark.parametrize("file", ["konti.csv", "trapper.toml"])
def test_a_file_saved_with_a_byte_order_mark_is_the_same_rules(folder: Path, file: str) -> None:
    version = load(folder).version
    path = folder / file
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
    command = [sys.executable, "-c", "from refusion_assets.definitions import defs; defs()"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)  # noqa: S603
    assert done.returncode != 0
    assert "taellere.toml: t står to gange; behold een post" in done.stderr


def test_the_code_asks_a_reading_only_for_answers_that_it_can_give() -> None:
    asked = re.compile(r'laesning\("(\w+)"\) (?:==|!=) "(\w+)"')
    found = {hit for path in (REPO / "refusion_assets").rglob("*.py") for hit in asked.findall(path.read_text("utf-8"))}
    assert {name for name, _ in found} >= LAESNINGER.keys() - {"fordeling"}  # the answer is handed on
    assert [(name, answer) for name, answer in found if answer not in LAESNINGER[name]] == []
