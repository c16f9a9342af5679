"""Municipalities with own accounts and forms: a run writes, proves, closes and makes again their files as all others.

And what a ledger booked of them is held against the run, from the command line.
"""

import shutil
from pathlib import Path

import pytest

from refusion_assets.assets.gate import withdraw
from refusion_assets.assets.outgoing import filer_er_kladden, write_files
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.rules.posting import BOOKED
from refusion_assets.files.outgoing import copied, not_as_sent
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot, Example
from tests.kit.data_root import RULES
from tests.kit.senders import Senders, adp, kth
from tests.kit.timeline import CPR
from tests.kit.vouchers import INVENTED, own, put, wish
from tests.month.test_histories import few_kommuner

MONTH, RUN = "2024-04", 52
KASSE, OPUS = (
    f"yr-ydelsesrefusion-kasse-860-00{RUN}-2024-05-03.txt",
    f"yr-ydelsesrefusion-opus-169-00{RUN}-2024-05-03.csv",
)


@pytest.fixture(scope="module")
def root(example: Example, tmp_path_factory: pytest.TempPathFactory) -> DataRoot:
    """The example, its last month run again with KMD Opus for 169 and an invented form for 860; only to be copied."""
    folder = tmp_path_factory.mktemp("bilag")
    rules = Path(shutil.copytree(RULES, folder / "rules"))
    artskonto = 'felter = { artskonto = "9510" }'
    mine = own("169", "refusion", "XG-80", more='ydelse_id = "KTH"'), own("860", "mellemregning", "95.1")
    put(rules, INVENTED, wish("169", "opus", more=artskonto), wish("860", "kasse"), *mine)
    root = DataRoot(example.root.copy(folder).path, rules)
    root.run(MONTH)
    publish(root.place.warehouse)
    return root


def text(data: bytes) -> list[str]:
    """The lines of a CSV file but for the version of the rules, which is another."""
    return [line.rpartition(";")[0] for line in data.decode().splitlines()]


def test_only_the_vouchers_of_those_who_asked_are_others_and_they_have_one_more_file(
    example: Example, root: DataRoot
) -> None:
    before, now = example.files[MONTH], root.files(MONTH)
    assert now.keys() - before.keys() == {KASSE, OPUS}
    bogfoering = {name for name in before if f"-{BOOKED}-" in name}
    assert {name.split("-")[3] for name in bogfoering if now[name] != before[name]} == {"860", "169"}
    others = before.keys() - bogfoering - {"SHA256SUMS"}
    assert all(text(now[name]) == text(before[name]) for name in others)
    assert not_as_sent(root.place.outgoing / MONTH) == []
    assert {KASSE, OPUS} <= {line.split()[1] for line in now["SHA256SUMS"].decode().splitlines()}


def test_files_of_a_form_are_used_again_and_follow_into_the_municipality_s_own_folder(
    root: DataRoot, tmp_path: Path
) -> None:
    root = root.copy(tmp_path)
    before = root.files(MONTH)
    withdraw(root.place, month_of(MONTH))
    with root.place.warehouse.open() as session:
        outgoing = write_files(session, root.place, month_of(MONTH))
    assert {KASSE, OPUS} <= outgoing.again.keys()
    outgoing.show()
    assert root.files(MONTH) == before
    folder = copied(root.place, month_of(MONTH), ["169"], tmp_path / "hent", bom=True)["169"]
    assert (folder / OPUS).read_bytes() == before[OPUS], "a ledger gets its own form and no mark before it"


def test_a_form_s_file_that_is_an_oere_off_or_lost_is_found_before_anybody_sees_it(
    root: DataRoot, tmp_path: Path
) -> None:
    root = root.copy(tmp_path)
    with root.place.warehouse.open() as session:
        outgoing = write_files(session, root.place, month_of(MONTH))
        assert filer_er_kladden(session, outgoing, RUN, root.place.rules).bestaaet
        for name, mark in ((KASSE, "."), (OPUS, ","), (OPUS.replace("opus", BOOKED), ",")):
            path = outgoing.ready / name
            good = path.read_bytes()
            digit = good.rindex(mark.encode(), 0, good.rindex(b"Mellemregning")) + 2
            path.write_bytes(good[:digit] + (b"0" if good[digit : digit + 1] != b"0" else b"1") + good[digit + 1 :])
            found = filer_er_kladden(session, outgoing, RUN, root.place.rules)
            assert (found.bestaaet, found.antal) == (False, 1)
            path.unlink()
            assert not filer_er_kladden(session, outgoing, RUN, root.place.rules).bestaaet
            path.write_bytes(good)


def test_a_run_with_own_forms_is_made_again_byte_for_byte(tmp_path: Path) -> None:
    month = "2024-02"
    root = few_kommuner(tmp_path)
    put(root.rules, INVENTED, wish("169", "kasse"), own("169", "refusion", "XG-80", more='ydelse_id = "KTH"'))
    senders = Senders(root.path)
    senders.deliver(month, [kth("a"), adp("b")])
    senders.live(month, (CPR, "169", "2010-01-01", ""))
    root.run(month)
    ran = root.refusion("genskab", month, "--til", str(tmp_path / "igen"))
    assert (ran.code, ran.err) == (0, "")
    [path] = (tmp_path / "igen").glob("*-kasse-169-*.txt")
    assert path.read_bytes() == root.files(month)[path.name]
    assert b"XG-80" in path.read_bytes()


@pytest.mark.parametrize("name", [OPUS, OPUS.replace("opus", BOOKED), KASSE])
def test_a_ledger_that_booked_the_voucher_agrees_in_one_line(root: DataRoot, tmp_path: Path, name: str) -> None:
    path = tmp_path / "kasse.csv"
    path.write_bytes(b"\xef\xbb\xbf" * (name != KASSE) + root.files(MONTH)[name].replace(b"\n", b"\r\n") + b"\r\n")
    kommune = ("--kommune", "860") if name == KASSE else ()
    ran = root.refusion("afstem", "--bogfoert", str(path), MONTH, *kommune)
    assert (ran.code, ran.err, ran.out.count("\n")) == (0, "", 1), ran
    assert ran.out.startswith(f"YR-0052-{name.split('-')[3]} stemmer med kasse.csv: ")


def test_a_difference_is_listed_and_the_exit_code_is_1(root: DataRoot, tmp_path: Path) -> None:
    path = tmp_path / "kasse.csv"
    lines = root.files(MONTH)[OPUS.replace("opus", BOOKED)].decode().splitlines()
    path.write_text("\n".join([*lines[:-1], lines[1]]), encoding="cp1252")
    ran = root.refusion("afstem", "--bogfoert", str(path), MONTH)
    assert (ran.code, ran.err) == (1, "")
    said = ran.out.splitlines()
    assert said[0] == "YR-0052-169 stemmer ikke med kasse.csv; antal forskelle: 2."
    assert said[1].startswith(f"  Bogført 2 gange: {lines[1].split(';')[3]}; ")
    assert said[2].startswith("  Opgjort, ikke bogført: 8.25.12.0.X01; Mellemregning med staten 2024-04")


@pytest.mark.parametrize(
    ("content", "more", "code", "said"),
    [
        (None, (), 2, "er ikke en fil, der kan læses"),
        ("", ("--kommune", "169"), 1, "kasse.csv: er tom"),
        ("x;y\n1;2\n", ("--kommune", "169"), 1, "kasse.csv: ligner ingen bilagsform"),
        (
            "Konto;Debet/kredit;Beløb\n1;Debet;1,00\n",
            (),
            1,
            "nævner intet bilagsnr; skriv kommunens kode med --kommune",
        ),
        ("Konto;Debet/kredit;Beløb\n1;Debet;1,00\n", ("--kommune", "999"), 1, "999 er ingen kommune"),
        ("Konto;Debet/kredit;Beløb\n1;Debet;1,00\n", ("--kommune", "169,860"), 2, "een kommunes fil ad gangen"),
        ("Bilagsnr;Konto;Debet/kredit;Beløb\nYR-0051-169;1;Debet;1,00\n", ("--kommune", "169"), 1, "ingen linje hører"),
    ],
)
def test_a_file_that_cannot_be_held_against_the_run_is_refused_in_one_line(
    root: DataRoot, tmp_path: Path, content: str | None, more: tuple[str, ...], code: int, said: str
) -> None:
    path = tmp_path / "kasse.csv"
    if content is not None:
        path.write_text(content, "utf-8")
    ran = root.refusion("afstem", "--bogfoert", str(path), MONTH, *more)
    assert ran.code == code
    assert said in ran.err
    assert "uventet" not in ran.err


def test_a_run_is_held_against_its_own_rules_also_after_they_were_changed(root: DataRoot, tmp_path: Path) -> None:
    path = tmp_path / "kasse.csv"
    path.write_bytes(root.files(MONTH)[OPUS.replace("opus", BOOKED)])
    ran = DataRoot(root.path).refusion("afstem", "--bogfoert", str(path), MONTH)
    assert (ran.code, ran.err) == (0, "")
    assert DataRoot(root.path).refusion("afstem", "--bogfoert", str(path), "2030-01").err.count("\n") == 1
