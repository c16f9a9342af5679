"""levering.toml: who gets what and how; what is wrong in it is named, and it is no part of the law's version."""

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from refusion_assets.domain.levering import Modtager
from refusion_assets.place import Place, keep_rules
from refusion_assets.rulebook.load import RuleError, delivery, load
from tests.conftest import Example
from tests.kit.data_root import RULES
from tests.levering.conftest import rules_in

SENDER = """[[afsender]]
vaert = "sftp.example.dk"
bruger = "os"
"""
ONE = """[[modtager]]
kommunekode = "730"
cvr = "29189668"
kanal = "sp-simpel"
modtager = "K730"
filer = ["beregning"]
"""


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    return rules_in(tmp_path)


def write(rules: Path, text: str) -> None:
    (rules / "levering.toml").write_text(text, "utf-8")


def test_as_shipped_nobody_receives_anything() -> None:
    assert delivery(RULES, load(RULES)).modtagere == {}


def test_a_receiver_takes_from_the_sender_what_it_does_not_say(rules: Path) -> None:
    write(rules, SENDER + ONE + ONE.replace("730", "101") + 'port = 2222\nud = "TIL/OS"\n')
    found = delivery(rules, load(rules)).modtagere
    assert found["730"] == Modtager(
        kommunekode="730", cvr="29189668", kanal="sp-simpel", filer=("beregning",), modtager="K730",
        vaert="sftp.example.dk", port=22, bruger="os", ud="OUT", ind="IN", kvittering="teknisk",
    )  # fmt: skip
    assert (found["101"].port, found["101"].ud, found["101"].ind) == (2222, "TIL/OS", "IN")


WRONG = {
    "unknown municipality": (ONE.replace('"730"', '"999"', 1), "post 1: kommunekode = '999': findes ikke"),
    "the same twice": (ONE + ONE, "post 2: kommunekode = '730': står to gange"),
    "an unknown kind": (ONE.replace('"beregning"', '"regneark"'), "filer: 'regneark' er ingen slags fil"),
    "the same kind twice": (ONE.replace('"beregning"', '"beregning", "beregning"'), "'beregning' står to gange"),
    "no kind": (ONE.replace('["beregning"]', "[]"), "filer: er tom"),
    "no cvr": (ONE.replace('cvr = "29189668"\n', ""), "mangler cvr"),
    "a cvr of seven digits": (ONE.replace("29189668", "2918966"), "cvr = '2918966': er ikke otte cifre"),
    "an unknown way": (ONE.replace("sp-simpel", "ftp"), "er ikke en af sp-simpel, sp-rute, mappe"),
    "a relative folder": (ONE.replace("sp-simpel", "mappe") + 'ud = "kommuner/730"', "skrives med hele sin sti"),
    "a folder with a way up": (ONE.replace("sp-simpel", "mappe") + 'ud = "/mnt/../etc"', "skrives med hele sin sti"),
    "no folder": (ONE.replace("sp-simpel", "mappe"), "ud = ''"),
    "a way up on the server": (ONE + 'ud = "../andre"', "uden .. og uden /"),
    "no receiver of a simple transfer": (ONE.replace('modtager = "K730"\n', ""), "modtager mangler"),
    "no specification of a routed one": (ONE.replace("sp-simpel", "sp-rute"), "infref mangler"),
    "no system of the sender": (
        ONE.replace("sp-simpel", "sp-rute") + 'infref = "YR"', "[[afsender]] cvr mangler; dynamisk rutning kræver den",
    ),
    "a port that is none": (ONE + "port = 70000", "port = 70000"),
    "an unknown key": (ONE + 'kode = "x"', "ukendt nøgle kode"),
    "an unknown topic": ("[[modtagere]]\n", "levering.toml, modtagere: ukendt emne"),
    "two senders": (SENDER + ONE, "afsender: står 2 gange"),
    "no attempts": ("", "forsoeg = 0"),
}  # fmt: skip


@pytest.mark.parametrize(("text", "said"), WRONG.values(), ids=WRONG)
def test_what_is_wrong_is_named_with_its_entry(rules: Path, text: str, said: str) -> None:
    write(rules, f"{SENDER}{'forsoeg = 0' if not text else ''}\n{text}")
    with pytest.raises(RuleError) as caught:
        delivery(rules, load(rules))
    assert said in str(caught.value)
    assert str(caught.value).startswith("levering.toml, ")


def test_no_host_is_named_when_nobody_says_one(rules: Path) -> None:
    write(rules, ONE)
    with pytest.raises(RuleError, match="vaert mangler; skriv den her eller i"):
        delivery(rules, load(rules))


def test_a_fault_in_it_is_told_by_regler_and_status_and_stops_no_month(example: Example, tmp_path: Path) -> None:
    root = replace(example.root, rules=rules_in(tmp_path))
    write(root.rules, ONE)
    assert "vaert mangler" in root.refusion("regler").err
    told = root.refusion("status")
    assert (told.code, "levering: levering.toml, modtager, post 1: vaert mangler" in told.out) == (0, True), told
    assert root.place.rules.version == load(RULES).version


def test_a_new_receiver_is_no_new_law_and_is_not_kept_with_it(rules: Path, tmp_path: Path) -> None:
    before = load(rules).version
    write(rules, SENDER + ONE)
    assert load(rules).version == before == load(RULES).version
    place = Place(tmp_path / "data", rules)
    (tmp_path / "data").mkdir()
    keep_rules(place)
    assert not (tmp_path / "data" / "regler" / before / "levering.toml").exists()
    # The rules of an earlier run are read whatever lies beside them.
    shutil.copyfile(rules / "kommuner.csv", rules / "kommuner.csv.gemt")
    write(rules, "nej")
    assert load(rules, kept=True).version == before
