"""Understands the outgoing files of a run: names, columns, form, and showing them in one step."""

import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Self

import polars as pl

from refusion_assets.domain import wording
from refusion_assets.domain.opgoerelse.ledger import SIDE, run_day, run_number
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.files.delivered import fingerprint

kroner, procent = wording.kroner, wording.procent
Text = Callable[[pl.DataFrame], pl.DataFrame]

SUMS = "SHA256SUMS"
BEREGNINGSFIL, OPGOERELSESFIL, ADVISERING, BOGFOERING = "beregning", "opgoerelse", "advisering", "bogfoering"
OF_THE_LEDGER = (BEREGNINGSFIL, OPGOERELSESFIL, BOGFOERING)
TYPE_ORDER = {"T": 0, "K": 1, "N": 2}

BEREGNING = (
    "Uge", "CPR nummer", "Ydelse", "Finansiering Kommunenavn", "Indberetning udbetalingsbeløb",
    "Beregnet udbetalingsbeløb", "Refusionssats", "Refusionsbeløb", "Medfinansieringssats",
    "Medfinansieringsbeløb", "Rækketype", "Ydelsestæller", "Genoptjeningstæller", "Trin", "Kørsel",
    "Oprindelig kørsel", "Række-id", "Regelversion",
)  # fmt: skip
OPGOERELSE = (
    "Kørsel", "Kommunekode", "Kommune", "Transaktionstype", "Ydelse", "Sats", "Antal borgere", "Antal uger",
    "Beløb løbende måned", "Rettelser indeværende år", "Rettelser tidligere år", "Beløb i alt",
)  # fmt: skip
ADVIS = (
    "Kørsel", "Regel-id", "Alvor", "CPR nummer", "Uge fra", "Uge til", "Ydelse", "Konto", "IndberetningsID", "Kilde",
    "Felt", "Værdi", "Beløb", "Tekst", "Handling", "Status",
)  # fmt: skip
BILAG = (
    "Bilagsnr", "Bogføringsdato", "Linje", "Konto", "Debet/kredit", "Beløb", "Tekst", "Ydelse", "Sats", "Kørsel",
)  # fmt: skip


@dataclass(frozen=True)
class Outgoing:
    """The files of one run, written in the hidden folder `ready`; `show` shows them in one step.

    `again`: reused files by name, with their proved sha256.
    """

    folder: Path
    ready: Path
    again: dict[str, str] = field(default_factory=dict)

    @classmethod
    def begun(cls, folder: Path) -> Self:
        """No files yet: a new, empty hidden folder beside `folder`."""
        ready = folder.with_name(f".{folder.name}.klar")
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir(parents=True)
        return cls(folder, ready)

    def show(self) -> None:
        """Replace the shown folder; a reader sees all the old files or all the new."""
        old = self.folder.with_name(f".{self.folder.name}.gammel")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            os.rename(self.folder, old)
        os.rename(self.ready, self.folder)
        shutil.rmtree(old, ignore_errors=True)

    def take_back(self) -> None:
        """Hide the run's folder again, as before `show`."""
        os.rename(self.folder, self.ready)

    @property
    def koder_again(self) -> set[str]:
        """The municipalities whose ledger files are reused."""
        return {name.split("-")[3] for name in self.again}

    def made(self, kind: str = "*") -> list[Path]:
        """The files in the hidden folder that are not reused, of one kind or all."""
        return [path for path in self.ready.glob(f"*-{kind}-*.csv") if path.name not in self.again]

    @property
    def filsum(self) -> str:
        """The sha256 of the run's SHA256SUMS."""
        return fingerprint(self.ready / SUMS)


def file_name(kind: str, kommunekode: str, run_month: date, rules: Rulebook) -> str:
    """The name of one file of a run; its date is the run day of the month after. Source: output.md section 3."""
    number, day = run_number(run_month, rules), run_day(run_month, rules)
    return f"yr-ydelsesrefusion-{kind}-{kommunekode}-{number:04d}-{day}.csv"


def beregning_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of a municipality's calculation file as text, sorted.

    `rows`: rows of `domain.opgoerelse.ledger.beregning` with cpr, navn, kommune, side. Source: output.md section 3.1.
    """
    refunded = SIDE == "refusion"
    sats, nul = pl.col("procent"), pl.lit(0)
    ordered = rows.with_columns(orden=pl.col("raekketype").replace_strict(TYPE_ORDER, return_dtype=pl.Int64)).sort(
        "uge", "cpr", "navn", "orden"
    )
    number = pl.int_range(1, pl.len() + 1).cast(pl.String).str.zfill(6)
    return ordered.select(
        pl.col("uge").cast(pl.String).alias(BEREGNING[0]),
        pl.col("cpr").alias(BEREGNING[1]),
        pl.col("navn").alias(BEREGNING[2]),
        pl.col("kommune").alias(BEREGNING[3]),
        kroner(pl.col("indberettet_oere")).alias(BEREGNING[4]),
        kroner(pl.col("beloeb_oere")).alias(BEREGNING[5]),
        procent(pl.when(refunded).then(sats).otherwise(nul)).alias(BEREGNING[6]),
        kroner(pl.col("refusion_oere")).alias(BEREGNING[7]),
        procent(pl.when(refunded).then(nul).otherwise(sats)).alias(BEREGNING[8]),
        kroner(pl.col("medfinansiering_oere")).alias(BEREGNING[9]),
        pl.col("raekketype").alias(BEREGNING[10]),
        pl.col("ydelsestaeller").alias(BEREGNING[11]),
        pl.col("genoptjeningstaeller").alias(BEREGNING[12]),
        pl.col("trin").alias(BEREGNING[13]),
        pl.col("koersel").alias(BEREGNING[14]),
        pl.col("oprindelig_koersel").alias(BEREGNING[15]),
        pl.format("{}-{}-{}", pl.col("koersel").cast(pl.String).str.zfill(4), "kommunekode", number).alias(
            BEREGNING[16]
        ),
        pl.col("regelversion").alias(BEREGNING[17]),
    )


def opgoerelse_table(rows: pl.DataFrame, koersel: int) -> pl.DataFrame:
    """The rows of a municipality's statement as text. Source: output.md section 3.3."""
    values = [
        pl.lit(koersel).cast(pl.String), pl.col("kommunekode"), pl.col("kommune"), pl.col("transaktionstype"),
        pl.col("navn"), procent(pl.col("procent")), pl.col("antal_borgere"), pl.col("antal_uger"),
        *(kroner(pl.col(c)) for c in ("loebende", "indevaerende_aar", "tidligere_aar", "i_alt")),
    ]  # fmt: skip
    named = [value.alias(name) for value, name in zip(values, OPGOERELSE, strict=True)]
    return rows.sort("transaktionstype", "navn", "procent").select(*named)


def advisering_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows of the advice file of a municipality, or of nobody (000), as text.

    `rows`: its advice (`Advis`) with cpr and navn. Source: output.md section 3.2.
    """
    order = ["regel", "cpr", "uge_fra", "konto", "indberetning_id", "fil", "linje", "noegle"]
    day = {name: pl.col(name).cast(pl.String) for name in ("uge_fra", "uge_til")}
    values: list[str | pl.Expr] = [
        "koersel", "regel", "alvor", "cpr", day["uge_fra"], day["uge_til"], "navn", "konto", "indberetning_id", "kilde",
        "felt", "vaerdi", kroner(pl.col("beloeb_oere")), "tekst", "handling", "status",
    ]  # fmt: skip
    return _as_text(rows.sort(order), values, ADVIS)


def bogfoering_table(rows: pl.DataFrame) -> pl.DataFrame:
    """The lines of a municipality's voucher as text.

    `rows`: rows of `domain.opgoerelse.voucher`. Source: output.md section 3.4.
    """
    values: list[str | pl.Expr] = [
        "bilagsnr", pl.col("bogfoeringsdato").cast(pl.String), "linje", "konto", "debet_kredit",
        kroner(pl.col("beloeb_oere")), "tekst", "navn", procent(pl.col("procent")), "koersel",
    ]  # fmt: skip
    return _as_text(rows.sort("linje"), values, BILAG)


def _as_text(rows: pl.DataFrame, values: list[str | pl.Expr], names: Iterable[str]) -> pl.DataFrame:
    """`values` as columns with the headings `names`."""
    columns = [pl.col(value) if isinstance(value, str) else value for value in values]
    return rows.select(*(c.alias(name) for c, name in zip(columns, names, strict=True)))


def not_as_sent(folder: Path) -> list[str]:
    """The names of files in a run's folder that differ from its SHA256SUMS, are not in it, or are missing."""
    return apart(sums_of(folder), said_of(folder / SUMS) if (folder / SUMS).exists() else {})


def apart(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of files that differ between two sets (name: sha256), sorted."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def sums_of(folder: Path) -> dict[str, str]:
    """The sha256 of every CSV file in a folder, by name."""
    return _sums(list(folder.glob("*.csv")))


def _sums(paths: Sequence[Path]) -> dict[str, str]:
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        return {path.name: summed for path, summed in zip(paths, readers.map(fingerprint, paths), strict=True)}


def said_of(sums: Path) -> dict[str, str]:
    """The sha256 of each file by name, as listed in a SHA256SUMS."""
    lines = (line.split() for line in sums.read_text("utf-8", errors="replace").splitlines())
    return {line[-1]: line[0] for line in lines if line}


def use_again(
    withdrawn: Path, outgoing: Outgoing, koder: Iterable[str], filsum: str, run_month: date, rules: Rulebook
) -> None:
    """Move the ledger files of the municipalities `koder` from the withdrawn folder to the hidden one.

    `filsum`: the sha256 of the SHA256SUMS sent with them. Leaves out missing and changed files.
    """
    sums = withdrawn / SUMS
    if not sums.exists() or fingerprint(sums) != filsum:
        return
    said = said_of(sums)

    def move(kode: str) -> None:
        paths = [withdrawn / file_name(kind, kode, run_month, rules) for kind in OF_THE_LEDGER]
        if all(path.exists() and fingerprint(path) == said.get(path.name) for path in paths):
            for path in paths:
                os.replace(path, outgoing.ready / path.name)
                outgoing.again[path.name] = said[path.name]

    with ThreadPoolExecutor(os.cpu_count()) as readers:
        list(readers.map(move, koder))


def stage(
    outgoing: Outgoing,
    tables: dict[str, tuple[pl.DataFrame, Text]],
    koder: Mapping[str, Sequence[str]],
    run_month: date,
    rules: Rulebook,
) -> None:
    """Write files of a run beside its others in the hidden folder, and SHA256SUMS last.

    `tables`: by kind, rows with `kommunekode` and the function that makes one municipality's rows text. `koder`: by
    kind, the municipalities that get a file.
    """
    ready = outgoing.ready
    waiting: list[tuple[Path, pl.DataFrame, Text]] = []
    for kind, (rows, text) in tables.items():
        parts = rows.partition_by("kommunekode", as_dict=True)
        paths = [ready / file_name(kind, kode, run_month, rules) for kode in koder[kind]]
        waiting += [
            (path, parts.get((kode,), rows.clear()), text) for path, kode in zip(paths, koder[kind], strict=True)
        ]
    with ThreadPoolExecutor(os.cpu_count()) as writers:
        list(writers.map(_write, waiting))
    proved = outgoing.again | _sums(outgoing.made())
    sums = "".join(f"{summed}  {name}\n" for name, summed in sorted(proved.items()))
    (ready / SUMS).write_text(sums, encoding="utf-8")


def _write(file: tuple[Path, pl.DataFrame, Text]) -> None:
    path, rows, text = file
    write_table(path, text(rows))


def write_table(path: Path, rows: pl.DataFrame) -> None:
    """Write rows of text and numbers as a CSV file, in the form of all outgoing files."""
    rows.write_csv(path, separator=";", line_terminator="\n")
