"""What the rules say of vouchers: entries that cannot be meant are refused with file and entry."""

import re
import shutil
from pathlib import Path

import pytest

from refusion_assets.domain.rules.change import changes
from refusion_assets.rulebook.load import RuleError, load
from tests.kit.data_root import REPO, RULES
from tests.kit.vouchers import INVENTED, own, put, wish

FUNKTION, KTH_80 = 'funktion = "5.57.73"', 'ydelse_id = "KTH"\nprocent = 80'
MANY = "".join(
    own("169", "refusion", str(rate), more=f'ydelse_id = "KTH"\nprocent = {rate}') for rate in (80, 40, 30, 20)
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A copy of the rules to edit."""
    return Path(shutil.copytree(RULES, tmp_path / "rules"))


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        (own("999", "refusion", "1"), "kommunekonto 999 refusion fra 2020-01-01: kommune 999 findes ikke"),
        (wish("999"), "kommunebilag 999 fra 2020-01-01: kommune 999 findes ikke"),
        (own("169", "refusion", "1") * 2, "169, refusion, 2020-01-01 står to gange"),
        (wish("169") * 2, "169 fra 2020-01-01 står to gange"),
        (own("169", "refusion", "1", more=f"{KTH_80}\n{FUNKTION}"), "har både ydelse_id og funktion"),
        (own("169", "refusion", "1", more='ydelse_id = "KTX"'), "ydelse KTX findes ikke i ydelser.csv"),
        (own("169", "mellemregning", "1", more="procent = 80"), "mellemregningen er een linje"),
        (own("169", "medfinansiering", "1", more=KTH_80), "KTH 80 pct. .*bruges aldrig, for intet bilag"),
        (own("169", "refusion", "1", more='funktion = "5.57.99"'), "5.57.99 .*bruges aldrig, for intet bilag"),
        (own("169", "refusion", "1", more='ydelse_id = "KTH"\nprocent = 79'), "KTH 79 pct. .*bruges aldrig"),
        (MANY + own("169", "refusion", "5", more='ydelse_id = "KTH"'), "KTH fra .*mere præcise poster har alle"),
        (wish("169", "prisme"), "bilagsform prisme findes ikke; vælg blandt opus, eller tilføj den"),
        (wish("169", "bogfoering"), "bilagsform bogfoering får alle kommuner"),
        (own("169", "refusion", "1", more='felter = { psp = "X" }'), "feltet psp bruges ikke, for kommunen har ingen"),
        (wish("169", "opus", more='felter = { pps = "X" }'), "feltet pps findes ikke i bilagsform opus, der har arts"),
        (wish("169", "opus", more="felter = { psp = 5 }"), "felter: psp = 5: er ikke en tekst"),
        (wish("169", "opus", more='felter = "psp"'), "felter = 'psp': er ikke navne med værdier"),
        (wish("169", "opus", more='tillad_pladsholder = "ja"'), "tillad_pladsholder = 'ja': er ikke true eller false"),
        (INVENTED + wish("169", "kasse") + own("169", "refusion", "Ω1", more=KTH_80), "Ω kan ikke skrives i windows"),
        (INVENTED * 2, "kasse står to gange"),
        (INVENTED.replace('"kasse"', '"opus"'), "opus står to gange"),
        (INVENTED.replace('"kasse"', '"ny-form"'), "ny-form: id bliver en del af filens navn"),
        (INVENTED.replace('"kasse"', '"advisering"'), "advisering: id bliver en del af filens navn"),
        (INVENTED.replace('"tab"', '"."'), r"skilletegn = '\.': er ikke en af ;, ,, \|, tab"),
        (INVENTED.replace('"tab"', '","').replace('decimaltegn = "."', 'decimaltegn = ","'), "decimaltegn er ens"),
        (INVENTED.replace('"Dag"', '"Konto"'), "kolonnen Konto står to gange"),
        (INVENTED.replace('tekst = "Byen"', 'tekst = "B", felt = "b"'), "kolonne Selskab: skriv kun een af"),
        (INVENTED.replace('"kreditbeloeb"', '"linje"'), "kasse: skal vise beløbet på een måde"),
        (INVENTED.replace('"kreditbeloeb"', '"beloebet"'), "vaerdi = 'beloebet': er ikke en af"),
        (INVENTED.replace('vaerdi = "konto"', 'vaerdi = "side"'), "kasse: viser ingen konto"),
        (INVENTED.replace('"Byen"', '"Ω"'), "kasse: tegnet Ω kan ikke skrives i windows-1252"),
        (INVENTED.replace("overskrift = false", 'debet = "x"\nkredit = "X"'), "debet og kredit skal være to"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_of_a_voucher_is_refused_with_its_entry(folder: Path, entries: str, said: str) -> None:
    with pytest.raises(RuleError, match=rf"kontering\.toml.*{said}"):
        load(put(folder, entries))


def test_a_less_precise_account_beside_most_of_the_precise_ones_still_has_a_line(folder: Path) -> None:
    three = "".join(f"\n[[{part}" for part in MANY.split("\n[[")[1:] if "procent = 20" not in part)
    assert len(load(put(folder, three, own("169", "refusion", "5", more='ydelse_id = "KTH"'))).kommunekonti) == 4


def test_what_a_municipality_says_of_its_vouchers_touches_no_month_and_makes_a_new_version(folder: Path) -> None:
    before = load(folder)
    after = load(put(folder, INVENTED, wish("169", "kasse"), own("169", "refusion", "1")))
    assert changes(before.emner, after.emner) == []
    assert after.version != before.version


def test_the_forms_that_come_with_the_program_are_no_entries_of_the_rules(folder: Path) -> None:
    rules = load(folder)
    assert [form.id for form in rules.bilagsformer] == ["bogfoering", "opus"]
    assert "bilagsform" not in rules.emner


def test_kmd_opus_has_its_25_headings_in_order(folder: Path) -> None:
    opus = load(folder).bilagsform("opus")
    assert opus is not None
    assert [kolonne.navn for kolonne in opus.kolonner] == [
        "Artskonto", "Omkostningssted", "PSP-element", "Profitcenter", "Ordre", "Debet/kredit", "Beløb", "Næste agent",
        "Tekst", "Betalingsart", "Påligningsår", "Betalingsmodtagernr.", "Betalingsmodtagernr.kode",
        "Ydelsesmodtagernr.", "Ydelsesmodtagernr.kode", "Ydelsesperiode fra", "Ydelsesperiode til",
        "Oplysningspligtnr.", "Oplysningspligtmodtagernr.kode", "Oplysningspligtkode", "Netværk", "Operation",
        "Mængde", "Mængdeenhed", "Referencenøgle",
    ]  # fmt: skip


def test_the_entries_of_the_guide_can_be_put_into_the_rules_as_they_stand(folder: Path) -> None:
    blocks = re.findall(r"```toml\n(.*?)```", (REPO / "docs" / "bogfoering.md").read_text("utf-8"), re.DOTALL)
    assert len(blocks) == 3
    (folder / "kommune-730.toml").write_text("\n".join(blocks), "utf-8")
    rules = load(folder)
    assert (len(rules.kommunekonti), [form.id for form in rules.bilagsformer]) == (3, ["bogfoering", "opus", "kasse"])
