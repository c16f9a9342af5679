"""Understands the raw files of the example: reports with their manifests, and the two registers.

They have the form of the input contract (input.md sections 1, 5 and 6). A file grows by pieces, so that no month must
fit in memory.
"""

import hashlib
import json
import shutil
from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from refusion_assets.example.fixed import Writer, suited
from refusion_assets.example.lives import COUNT_MONTH
from refusion_assets.example.people import FAR, draw, month_start
from refusion_assets.example.reports import World
from refusion_assets.example.rows import COLUMNS, date_text, kroner, raw_rows

PIECE = 150_000
"""Rows converted to text at a time."""

COMES = (True,) * 49 + (False,)
WRONG = (True,) * 3 + (False,) * 47
"""People in fifty with a basis of fleksbidrag, and with a corrected wage the month after."""

Form = Literal["csv", "fast"]

TWICE_EVERY = 11
"""One month in so many, beginning with the third, a sender delivers the same content twice (FIL-004)."""


def month_text(maaned: int) -> str:
    """The month (year * 12 + month - 1) as YYYY-MM."""
    return f"{maaned // 12:04}-{maaned % 12 + 1:02}"


@dataclass
class File:
    """A growing raw file, and the content of its manifest; sums in øre, None for a register.

    `writer` is None for a file in CSV.
    """

    path: Path
    maaned: int
    kilde: str | None = None
    enhed: str | None = None
    loebenr: int | None = None
    rows: int = 0
    sum0014: int | None = None
    sum0037: int | None = None
    reversals: int | None = None
    writer: Writer | None = None

    def begin(self, columns: Sequence[str]) -> None:
        """Write the file with only its header; the fixed-width form has none."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        header = "" if self.writer else ";".join(columns) + "\n"
        self.path.write_text(header, encoding="utf-8", newline="\n")

    def append(self, frame: pl.DataFrame) -> None:
        """Add rows at the end of the file."""
        with self.path.open("ab") as file:
            if self.writer:
                file.write(self.writer.written(suited(frame, self.writer.kommune)))
            else:
                frame.write_csv(file, separator=";", include_header=False)
        self.rows += frame.height

    def close(self) -> None:
        """Write the trailer, if the form has one, and the manifest, its keys in the order of the contract."""
        if self.writer:
            with self.path.open("ab") as file:
                file.write(self.writer.trailer())
        with self.path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        manifest = {
            "filnavn": self.path.name,
            "kilde": self.kilde,
            "enhed": self.enhed,
            "modtaget_maaned": month_text(self.maaned),
            "loebenr": self.loebenr,
            "oprettet": f"{month_text(self.maaned)}-28T23:00:00",
            "antal_raekker": self.rows,
            "sum_felt0014": _decimal(self.sum0014),
            "sum_felt0037": _decimal(self.sum0037),
            "antal_T": self.reversals,
            "sha256": sha256,
            "skemaversion": "1",
        }
        said = {name: value for name, value in manifest.items() if value is not None}
        self.path.with_suffix(".manifest.json").write_text(json.dumps(said), encoding="utf-8", newline="\n")


def _decimal(oere: int | None) -> str | None:
    if oere is None:
        return None
    return f"{'-' if oere < 0 else ''}{abs(oere) // 100}.{abs(oere) % 100:02}"


class Outbox:
    """All senders' files, one month of receipt after another; no file number is used twice."""

    def __init__(self, root: Path, world: World, form: Form) -> None:
        """Writes nothing before `open`."""
        self.root, self.world, self.form = root / "raw", world, form
        self.numbers = [0] * world.senders.height
        self.files: list[File] = []
        self.full: list[File] = []
        self.maaned = 0

    def open(self, maaned: int) -> None:
        """Begin a file with only a header for every sender."""
        self.maaned = maaned
        self.files, self.full = [self._next(sender) for sender in range(len(self.numbers))], []
        for file in self.files:
            file.begin(("Lb_nr", *COLUMNS))

    def _next(self, sender: int) -> File:
        self.numbers[sender] += 1
        number, kilde, enhed = self.numbers[sender], *self.world.senders.select("kilde", "enhed").row(sender)
        month = month_text(self.maaned)
        ending, writer = "csv", None
        if self.form == "fast":
            ending, writer = "txt", Writer(self.world.senders["Kommunekode"][sender])
        name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{number:04}.{ending}"
        return File(self.root / kilde / month / name, self.maaned, kilde, enhed, number, 0, 0, 0, 0, writer)

    def add(self, events: pl.DataFrame) -> None:
        """Write the events received in the open month, one row each, in the file of their sender."""
        sender = events["afsender"].to_numpy()
        upto = np.cumsum(np.bincount(sender, minlength=len(self.numbers)))
        # Whole senders at a time: each file gets one piece, and only one piece of text is in memory.
        for piece in events.with_columns(piece=upto[sender] // PIECE).partition_by("piece", include_key=False):
            raw = raw_rows(self.world, piece, self.maaned)
            for (number, *_), rows in raw.partition_by("afsender", as_dict=True, maintain_order=True).items():
                self._append(int(number), rows)

    def _append(self, sender: int, rows: pl.DataFrame) -> None:
        file = self.files[sender]
        if file.writer and not file.writer.has_room(rows.height):
            self.full.append(file)
            file = self.files[sender] = self._next(sender)
            file.begin(())
        sums = rows.select(pl.col("er_T", "sum0014", "sum0037").sum()).row(0)
        file.reversals = (file.reversals or 0) + sums[0]
        file.sum0014 = (file.sum0014 or 0) + sums[1]
        file.sum0037 = (file.sum0037 or 0) + sums[2]
        file.append(rows.select(COLUMNS).with_row_index("Lb_nr", offset=file.rows + 1))

    def close(self) -> list[File]:
        """Close the files of the month; one month in `TWICE_EVERY`, a sender delivers one content twice."""
        files = [*self.full, *self.files, *self._twice()]
        for file in files:
            file.close()
        return files

    def _twice(self) -> list[File]:
        if (self.maaned - self.world.fra) % TWICE_EVERY != TWICE_EVERY // 5:
            return []
        kommuner = self.world.senders["Kommunekode"]
        municipal = [nr for nr, file in enumerate(self.files) if file.rows and kommuner[nr]]
        lot = int(draw(self.world.people.seed, "leveret to gange", np.array([self.maaned]))[0])
        return [self._copy(nr) for nr in municipal[lot % max(1, len(municipal)) :][:1]]

    def _copy(self, sender: int) -> File:
        first, again = self.files[sender], self._next(sender)
        shutil.copyfile(first.path, again.path)
        return replace(first, path=again.path, loebenr=again.loebenr, writer=copy(first.writer))


def write_bopael(root: Path, world: World, maaned: int) -> File:
    """Write the residences known in a month: one row per person and residence, none for people without one.

    Leaves out future moves. Days abroad before a move are no row.
    """
    people, last_day = world.people, month_start(maaned + 1) - 1
    starts = np.column_stack([np.where(people.bopael > last_day, FAR, people.bopael), np.full(people.antal, FAR)])
    slut = np.where(starts[:, 1:] == FAR, FAR, starts[:, 1:] - 1)
    slut[:, 0] -= np.where(slut[:, 0] == FAR, 0, people.huller)
    person, nr = np.nonzero((starts[:, :3] < FAR) & ~people.uden_bopael[:, None])
    frame = pl.DataFrame({"person": person, "kommune": people.kommune[person, nr]}).select(
        CPR=pl.lit(people.cpr).gather(pl.col("person")),
        Kommunekode=pl.lit(pl.Series(people.kommuner)).gather(pl.col("kommune")),
        Bopael_start=date_text(pl.lit(pl.Series(starts[person, nr]))),
        Bopael_slut=date_text(pl.lit(pl.Series(slut[person, nr]).replace(FAR, None))),
    )
    return _register(root, "bopael", maaned, [frame])


def write_fleksgrundlag(root: Path, world: World, maaned: int) -> File:
    """Write the basis of fleksbidrag received in a month: one row per person with FLEKS and benefit month.

    The first month of receipt brings all benefit months since the count began. Later ones bring their own month and
    corrected wages of the month before. Two in a hundred never get a basis (FB-001).
    """
    first = maaned == world.fra
    paid = pl.col("ydelse").is_in(world.konti.of("FLEKS"))
    spells = pl.concat([part.filter(paid) for part in world.spells])
    benefits = range(COUNT_MONTH if first else maaned - 1, maaned + 1)
    frames = [
        _fleks(world, spells, benefit, maaned - benefit, WRONG if benefit < maaned and not first else COMES)
        for benefit in benefits
    ]
    return _register(root, "fleksgrundlag", maaned, frames)


def _fleks(world: World, spells: pl.DataFrame, benefit: int, later: int, comes: tuple[bool, ...]) -> pl.DataFrame:
    """The basis of one benefit month for the people drawn; a wage received later differs."""
    a, b = month_start(benefit), month_start(benefit + 1) - 1
    paid = spells.filter(pl.col("start") <= b, pl.col("slut") >= a)["person"].unique().sort().to_numpy()
    person, seed = paid.astype(np.int64), world.people.seed
    lot = draw(seed, "fleksgrundlag", person, np.full(len(person), benefit))
    given = np.array(comes)[lot % len(comes)]
    person, lot = person[given], lot[given] // len(comes)
    basis = 1_755_000 + draw(seed, "beregningsgrundlag", person) % 9_000 * 100
    wage = np.where(lot % 4 == 0, 0, (lot // 4 + 77_777 * later) % 2_200_000)
    return pl.DataFrame({"person": person, "basis": basis, "wage": wage}).select(
        CPR=pl.lit(world.people.cpr).gather(pl.col("person")),
        Maaned=pl.lit(month_text(benefit)),
        Beregningsgrundlag=kroner(pl.col("basis")),
        Loen=kroner(pl.col("wage")),
    )


def _register(root: Path, name: str, maaned: int, frames: list[pl.DataFrame]) -> File:
    month = month_text(maaned)
    file = File(root / "raw" / name / month / f"{name}-{month.replace('-', '')}.csv", maaned)
    file.begin(frames[0].columns)
    for frame in frames:
        file.append(frame)
    file.close()
    return file
