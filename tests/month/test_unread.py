"""What lies under raw/: what nobody reads is told, what has changed is told, and a reload waits for an answer."""

import os
import shutil
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.assets.raw import reports
from refusion_assets.assets.raw.let_pass import Knowingly
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Faulty, Refused
from refusion_assets.files.delivered import find, fingerprint
from refusion_assets.files.unread import unread
from tests.kit.data_root import RULEBOOK, read_csv, rewrite, write_manifest
from tests.kit.senders import MONTHS, Senders, about, adp, kth

FIRST, SECOND, THIRD, _ = MONTHS
KY, OF_KY = "raw/ky/2024-02", "eindkomst-yr-ky-169-202402-0001"
REASON = "aftalt med afsenderen"


def touch(path: Path) -> None:
    """An empty file, with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()


def listening(path: Path) -> None:
    """A socket at a path."""
    here = Path.cwd()
    os.chdir(path.parent)
    try:
        socket.socket(socket.AF_UNIX).bind(path.name)
    finally:
        os.chdir(here)


LIES: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("another letter case", f"{KY}/Eindkomst-yr-ky-169-202402-0009.csv", touch),
    ("an ending in capitals", f"{KY}/eindkomst-yr-ky-169-202402-0009.CSV", touch),
    ("another month in the name", f"{KY}/eindkomst-yr-ky-169-202403-0009.csv", touch),
    ("another source in the name", f"{KY}/eindkomst-yr-ksd-169-202402-0009.csv", touch),
    ("a number too short", f"{KY}/eindkomst-yr-ky-169-202402-9.csv", touch),
    ("a unit that is no municipality", f"{KY}/eindkomst-yr-ky-20100001-202402-0009.csv", touch),
    ("a unit that is no SE number", "raw/akasse/2024-02/eindkomst-yr-akasse-169-202402-0009.csv", touch),
    ("digits of another script", f"{KY}/eindkomst-yr-ky-169-202402-000\N{ARABIC-INDIC DIGIT NINE}.csv", touch),
    ("a manifest without its file", f"{KY}/eindkomst-yr-ky-169-202402-0009.manifest.json", touch),
    ("a document", f"{KY}/vejledning.docx", touch),
    ("a hidden file", f"{KY}/.DS_Store", touch),
    ("a month that is none", "raw/ky/2024-13/eindkomst-yr-ky-169-202413-0009.csv", touch),
    ("a month folder written otherwise", "raw/ky/202402/eindkomst-yr-ky-169-202402-0009.csv", touch),
    ("no month folder", "raw/ky/eindkomst-yr-ky-169-202402-0009.csv", touch),
    ("a folder too deep", f"{KY}/ny/eindkomst-yr-ky-169-202402-0009.csv", touch),
    ("a source in capitals", "raw/KY/2024-02/eindkomst-yr-ky-169-202402-0009.csv", touch),
    ("an unknown source", "raw/barsel/2024-02/eindkomst-yr-barsel-169-202402-0009.csv", touch),
    ("a register's name misspelt", "raw/bopael/2024-02/bopæl-202402.csv", touch),
    ("a register of another month", "raw/bopael/2024-02/bopael-202403.csv", touch),
    ("the fixed-width form of a register", "raw/bopael/2024-02/bopael-202402.txt", touch),
    ("a file that is a month", "raw/ky/2024-03", touch),
    ("a file that is a source", "raw/su", touch),
    (
        "a link that leads nowhere, not named as a file",
        f"{KY}/eindkomst-yr-ky-169-202402.csv",
        lambda path: path.symlink_to("/nowhere"),
    ),
    ("a link that leads in a circle", "raw/ny", lambda path: path.symlink_to(path.parent)),
    ("a pipe, not named as a file", f"{KY}/eindkomst-yr-ky-169-202402.csv", os.mkfifo),
    ("a socket, not named as a file", f"{KY}/eindkomst-yr-ky-169-202402.csv", listening),
    ("an empty month", "raw/bopael/2024-05/", lambda path: path.mkdir(parents=True)),
    ("an empty folder", "raw/ky/2024-02/ny/", lambda path: path.mkdir(parents=True)),
    ("a folder named as a file", f"{KY}/{OF_KY}9.csv/", lambda path: path.mkdir(parents=True)),
]


@pytest.fixture
def delivered(senders: Senders) -> Senders:
    """The first month's files, which all fit."""
    senders.deliver(FIRST, [kth("A"), adp("B")])
    assert unread(senders.root / "raw", RULEBOOK) == []
    return senders


@pytest.mark.parametrize(("lies", "make"), [case[1:] for case in LIES], ids=[case[0] for case in LIES])
def test_what_fits_nowhere_is_named_by_its_path_and_is_no_delivery(
    delivered: Senders, lies: str, make: Callable[[Path], Any]
) -> None:
    before = find(delivered.root / "raw", month_of(FIRST), RULEBOOK)
    make(delivered.root / lies)
    assert unread(delivered.root / "raw", RULEBOOK) == [lies]
    assert find(delivered.root / "raw", month_of(FIRST), RULEBOOK) == before


@pytest.mark.parametrize("number", ["010151-1234", "6101511234", "010151_1234", "010119511234"])
def test_a_name_that_may_hold_a_persons_number_is_told_without_it(delivered: Senders, number: str) -> None:
    (delivered.root / KY / f"brev om {number}.pdf").touch()
    (told,) = unread(delivered.root / "raw", RULEBOOK)
    assert told == f"{KY}/brev om (personnummer).pdf"


def test_a_name_in_no_alphabet_is_told_on_one_line(delivered: Senders) -> None:
    (Path(os.fsdecode(os.fsencode(delivered.root / KY) + b"/\xff\n;.csv"))).touch()
    (told,) = unread(delivered.root / "raw", RULEBOOK)
    assert told == f"{KY}/\N{REPLACEMENT CHARACTER}?;.csv"


def test_a_file_in_the_fixed_width_form_is_a_delivery_with_its_manifest(delivered: Senders) -> None:
    here = delivered.root / KY
    for name in ("eindkomst-yr-ky-169-202402-0009.txt", "eindkomst-yr-ky-169-202402-0009.manifest.json"):
        (here / name).touch()
    found = find(delivered.root / "raw", month_of(FIRST), RULEBOOK)
    assert [delivery.loebenr for delivery in found if delivery.fixed] == [9]
    assert unread(delivered.root / "raw", RULEBOOK) == []


def test_what_nobody_reads_is_new_once_then_open_while_it_lies_there_and_then_solved(senders: Senders) -> None:
    told = []
    stray = senders.root / "raw" / "ky" / "liste.xlsx"
    for month in (FIRST, SECOND, THIRD):
        senders.deliver(month, [kth(f"A{month}"), adp(f"B{month}")])
        stray.unlink(missing_ok=True) if month == THIRD else touch(stray)
        told += about(senders.run(month), "FIL-007")
    assert [(row["status"], row["kommunekode"], row["vaerdi"]) for row in told] == [
        (status, "000", "raw/ky/liste.xlsx") for status in ("NY", "ÅBEN", "LØST")
    ]
    assert told[0]["tekst"].startswith("Under dataroden ligger raw/ky/liste.xlsx, som ikke passer")


GONE: list[tuple[str, str, Callable[[Path], Any]]] = [
    ("the file is gone", "er væk", lambda path: path.unlink()),
    ("the folder is gone", "er væk", lambda path: shutil.rmtree(path.parent)),
    ("its bytes are others", "har fået et andet indhold", rewrite(lambda data: data.replace(b"1000,00", b"1001,00"))),
    ("the manifest is gone", "mangler sit manifest", lambda path: path.with_suffix(".manifest.json").unlink()),
    (
        "the manifest is another",
        "har et andet manifest",
        lambda path: write_manifest(path, read_csv(path), oprettet="2024-02-29T00:00:00"),
    ),
]


@pytest.fixture
def closed(senders: Senders) -> Senders:
    """A month run, and the files of the next one, which closes it."""
    senders.deliver(FIRST, [kth("A"), adp("B")])
    senders.run(FIRST)
    senders.deliver(SECOND, [kth("C"), adp("D")])
    return senders


@pytest.mark.parametrize(("said", "change"), [case[1:] for case in GONE], ids=[case[0] for case in GONE])
def test_a_file_that_a_closed_run_has_read_and_is_no_longer_so_is_told_and_the_run_goes_on_with_what_was_read(
    closed: Senders, said: str, change: Callable[[Path], Any]
) -> None:
    change(closed.root / KY / f"{OF_KY}.csv")
    (row,) = about(closed.run(SECOND), "FIL-008")
    assert (row["status"], row["kommunekode"], row["fil"], row["vaerdi"]) == ("NY", "000", f"{OF_KY}.csv", said)
    with closed.place.warehouse.open() as session:
        assert session.value("SELECT sum(beloeb_oere)::BIGINT FROM classified.krav") == 400_000


def test_a_file_of_the_open_month_whose_manifest_is_gone_stops_the_rerun(senders: Senders) -> None:
    senders.deliver(FIRST, [kth("A"), adp("B")])
    senders.run(FIRST)
    (senders.root / KY / f"{OF_KY}.manifest.json").unlink()
    with pytest.raises(Faulty, match=f"FIL-001 {OF_KY}.csv: manifestet mangler"):
        senders.run(FIRST)


def test_files_that_are_copied_elsewhere_are_as_they_were_and_read_only_once(
    closed: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (closed.root / "raw").rglob("*"):
        os.utime(path, ns=(1, 1))
    seen: list[Path] = []
    monkeypatch.setattr("refusion_assets.files.prints.fingerprint", lambda path: seen.append(path) or fingerprint(path))
    assert about(closed.run(SECOND), "FIL-008") == []
    read, seen[:] = len(seen), []
    assert read == 6
    assert about(closed.run(SECOND), "FIL-008") == []
    assert seen == []


def test_a_reload_names_the_files_that_are_others_until_they_are_let_pass_and_then_reads_them(closed: Senders) -> None:
    closed.run(SECOND)
    file = closed.root / KY / f"{OF_KY}.csv"
    rows = [row | {"Felt0014": "1001,00"} for row in read_csv(file)]
    rewrite(lambda data: data.replace(b"1000,00", b"1001,00"))(file)
    write_manifest(file, rows)
    month = month_of(SECOND)

    def reload(*accepter: str) -> None:
        with closed.place.warehouse.open() as session:
            config = Knowingly(accepter=list(accepter), begrundelse=REASON)
            reports.reload(session, closed.place, month, lambda _: None, config)

    with pytest.raises(Faulty, match=f"FIL-008 {OF_KY}.csv: filen har fået et andet indhold"):
        reload()
    with pytest.raises(Refused, match=r"FIL-008:eindkomst-yr-ky-169-202402-0009\.csv standser ikke"):
        reload("FIL-008:eindkomst-yr-ky-169-202402-0009.csv")
    reload(f"FIL-008:{file.name}")
    with pytest.raises(Refused, match="standser ikke"):
        reload(f"FIL-008:{file.name}")
    reload()
    assert about(closed.run(SECOND), "FIL-008") == []


def test_the_advice_of_a_run_holds_what_it_noticed_by_a_rule_of_the_contract(closed: Senders) -> None:
    touch(closed.root / "raw" / "brev.pdf")
    (closed.root / KY / f"{OF_KY}.csv").unlink()
    advice = closed.run(SECOND).filter(pl.col("regel").is_in(["FIL-007", "FIL-008"])).sort("regel")
    assert advice["alvor"].to_list() == ["ADVARSEL", "ADVARSEL", "ADVARSEL"]
    assert advice["regel"].to_list() == ["FIL-007", "FIL-007", "FIL-008"]  # its manifest lies there without it
