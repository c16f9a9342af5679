"""Spoiled values: nasty ones in every column of every kind of file, through the real reader to the files sent out."""

import random
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from refusion_assets.assets.checks.calculated import raa_er_fordelt
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.raw import NAMES
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.files.delivered import REGISTER_HEADERS, FileRejected, find, read_register, read_reports
from refusion_assets.rulebook.load import load
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import BOPAEL, FLEKSGRUNDLAG, RULES, csv_bytes, write_manifest
from tests.kit.fixed_width import fixed_width
from tests.kit.odd import as_csv, odd_files, odd_value, person
from tests.trial.kills import UNKNOWN
from tests.trial.program import Program

MONTHS = ("2024-01", "2024-02")
# So many right lines that a register never is of too few people.
GOOD_LINES = 400
LINES_A_FILE, LINES_TORN, SIGNS_TORN = 2_000, 12, 3
SPOILED_SHARE = 0.9
TORN = bytes(range(32, 127)) + "æøå€\r\0".encode()
A_NUMBER = re.compile(rb"(?<![0-9])[0-9]{6}-?[0-9]{4}(?![0-9])")
WHERE_THEY_MAY_BE = ("raw/", "lager/", "udgaaende/", "udgivet/", "regelsaet/", "modtager/")


@dataclass
class Spoiled:
    """How many values and whole files were spoiled, what was said of them, and a line for each thing wrong."""

    values: int = 0
    files: int = 0
    refused: int = 0
    quarantined: int = 0
    received_oere: int = 0
    parted_oere: int = 0
    unknown: int = 0
    persons: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """True if nothing was wrong."""
        return not self.wrong and self.received_oere == self.parted_oere


def trial(program: Program, root: DataRoot, values: int, torn: int, dice: random.Random) -> Spoiled:
    """The figures of so many spoiled values of lines and registers, and of whole files with torn bytes."""
    found, began, rules = Spoiled(), time.monotonic(), load(RULES)
    for month in MONTHS:
        found.values += _registers(root, month, values // 50, dice)
    files = odd_files(
        rules,
        [month_of(month) for month in MONTHS],
        round((values - found.values) / SPOILED_SHARE) + 1,
        dice.randrange(2**32),
        LINES_A_FILE,
    )
    for number, fil in enumerate(files):
        path = _folder(root, fil) / fil.filnavn.replace(
            f"-{fil.filnavn.split('-')[-1]}", f"-{number % 9999 + 1:04}.csv"
        )
        path.write_bytes(as_csv(fil.rows, NAMES))
        write_manifest(path, fil.rows)
        found.values += round(len(fil.rows) * SPOILED_SHARE)
    try:
        for month in MONTHS:
            root.run(month)
        _accounted(found, root)
    except Exception as error:  # noqa: BLE001  any error is what the trial looks for
        found.unknown += 1
        found.wrong.append(f"måneden fejlede: {type(error).__name__}: {str(error)[:300]}")
    _commands(found, program, root)
    read_torn(found, root.path.with_name("revet"), torn, dice)
    found.seconds = time.monotonic() - began
    return found


def _folder(root: DataRoot, fil: Fil) -> Path:
    path = root.path / "raw" / fil.kilde / fil.maaned
    path.mkdir(parents=True, exist_ok=True)
    return path


def _registers(root: DataRoot, month: str, lines: int, dice: random.Random) -> int:
    """The registers of a month with an odd value in each of `lines` lines; how many values."""
    stays, bases = [], []
    for number in range(lines + GOOD_LINES):
        stay = {"CPR": person(number), "Kommunekode": "169", "Bopael_start": "2010-01-01", "Bopael_slut": ""}
        basis = {"CPR": person(number), "Maaned": month, "Beregningsgrundlag": "20000,00", "Loen": "1000,00"}
        for row, rows, names in ((stay, stays, BOPAEL), (basis, bases, FLEKSGRUNDLAG)):
            if number < lines:
                name = dice.choice(names)
                row[name] = odd_value(row[name], dice)
            rows.append(row)
    for art, rows, names in (("bopael", stays, BOPAEL), ("fleksgrundlag", bases, FLEKSGRUNDLAG)):
        path = root.path / "raw" / art / month / f"{art}-{month.replace('-', '')}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_csv(rows, list(names)))
        write_manifest(path, rows)
    return 2 * lines


def _accounted(found: Spoiled, root: DataRoot) -> None:
    """Every line and øre received is used, reversed or in quarantine."""
    with root.place.warehouse.open() as session:
        told = raa_er_fordelt(Asked(session, root.place, month_of(MONTHS[-1])))
        found.quarantined = session.count("classified.karantaene")
        received = "SELECT sum(beloeb_oere) FILTER (art IS DISTINCT FROM 'T') FROM classified.linje"
        found.received_oere = session.integer(f"{received} JOIN raw.fil USING (fil_id) WHERE NOT dublet")
        found.parted_oere = session.integer(
            """SELECT (SELECT sum(beloeb_oere) FROM classified.krav) + (SELECT coalesce(sum(beloeb_oere), 0)
            FROM classified.dom WHERE status IN ('tilbagefoert', 'karantaene'))"""
        )
    if not told.bestaaet:
        found.wrong.append(f"regnskabet går ikke op: {told.tekst}")


def _commands(found: Spoiled, program: Program, root: DataRoot) -> None:
    """What the commands say of the same root: no error that nobody foresaw, and no person's number anywhere."""
    numbers = {person(n).encode() for n in range(found.values + 2 * LINES_A_FILE)}
    environment = root.environment | {"POLARS_MAX_THREADS": "1"}
    for arguments in (["koer", MONTHS[-1]], ["status"], ["genindlaes"]):
        ended = program.run(environment, arguments)
        said = ended.out + ended.err
        if ended.signal or UNKNOWN in said or "Traceback" in said:
            found.unknown += 1
            found.wrong.append(f"refusion {arguments[0]}: signal {ended.signal}: {said.strip()[-300:]}")
        _without_persons(found, f"refusion {arguments[0]}", said.encode(), numbers)
    for path in sorted(root.path.rglob("*")):
        name = str(path.relative_to(root.path))
        if path.is_file() and not name.startswith(WHERE_THEY_MAY_BE):
            _without_persons(found, name, path.read_bytes(), numbers)


def _without_persons(found: Spoiled, where: str, said: bytes, numbers: set[bytes]) -> None:
    """Count the numbers of made-up persons in what was said or kept."""
    seen = {match.replace(b"-", b"") for match in A_NUMBER.findall(said)} & numbers
    found.persons += len(seen)
    if seen:
        found.wrong.append(f"{where} indeholder {len(seen)} personnumre")


def read_torn(found: Spoiled, folder: Path, many: int, dice: random.Random) -> None:
    """Count what the reader says of so many files with torn bytes."""
    rules = load(RULES)
    for number, path in enumerate(_torn(folder, many, dice)):
        found.files += 1
        _read(found, path, number, rules)


def _torn(folder: Path, many: int, dice: random.Random) -> Iterator[Path]:
    """Files of every kind with some bytes replaced and a right manifest; of some the manifest is torn instead."""
    month = MONTHS[0]
    first, last = month_of(month), month_of(month).replace(day=28)
    good = [timeline.row("K", first, last, n + 1, cpr=person(n)) for n in range(LINES_TORN)]
    report = timeline.fil("K", good, month)
    stays = [dict(zip(BOPAEL, (person(n), "169", "2010-01-01", ""), strict=True)) for n in range(LINES_TORN)]
    bases = [dict(zip(FLEKSGRUNDLAG, (person(n), month, "2000,00", "0,00"), strict=True)) for n in range(LINES_TORN)]
    kinds = {
        "ky": (report.filnavn, good, as_csv(good, NAMES)),
        "fast": (report.filnavn.replace(".csv", ".txt"), good, fixed_width(good)),
        "bopael": (f"bopael-{month.replace('-', '')}.csv", stays, csv_bytes(stays, BOPAEL)),
        "fleksgrundlag": (f"fleksgrundlag-{month.replace('-', '')}.csv", bases, csv_bytes(bases, FLEKSGRUNDLAG)),
    }
    for number in range(many):
        kind = sorted(kinds)[number % len(kinds)]
        name, rows, data = kinds[kind]
        path = folder / f"{number}" / ("ky" if kind == "fast" else kind) / month / name
        path.parent.mkdir(parents=True)
        spoil_manifest = dice.random() < 0.2
        path.write_bytes(data if spoil_manifest else _bytes_torn(data, dice))
        write_manifest(path, rows)
        if spoil_manifest:
            beside = path.with_suffix(".manifest.json")
            beside.write_bytes(_bytes_torn(beside.read_bytes(), dice))
        yield path


def _bytes_torn(data: bytes, dice: random.Random) -> bytes:
    """The bytes with a few replaced, left out or put in; now and then cut off."""
    torn = bytearray(data)
    for _ in range(dice.randint(1, SIGNS_TORN)):
        at = dice.randrange(len(torn))
        torn[at : at + dice.choice([0, 1, 1, 1])] = bytes([dice.choice(TORN)] * dice.choice([0, 1, 1, 1]))
    return bytes(torn[: dice.randrange(1, len(torn))] if dice.random() < 0.1 else torn)


def _read(found: Spoiled, path: Path, number: int, rules: Rulebook) -> None:
    """A file read as a run reads it: whole, or refused with its reason, which holds no number of a person."""
    kind = path.parent.parent.name
    try:
        if kind in REGISTER_HEADERS:
            read_register(path, REGISTER_HEADERS[kind])
        else:
            [delivery] = find(path.parents[2], month_of(MONTHS[0]), rules)
            for _ in read_reports(delivery).parts:
                pass
    except FileRejected as refused:
        found.refused += 1
        _without_persons(found, path.name, str(refused).encode(), {person(n).encode() for n in range(LINES_TORN)})
    except Exception as error:  # noqa: BLE001  any other error is what the trial looks for
        found.unknown += 1
        found.wrong.append(f"{path.name} nr. {number}: {type(error).__name__}")
