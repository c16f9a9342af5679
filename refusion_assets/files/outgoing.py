"""Understands the outgoing files of a run: names, columns, form, and showing them in one step."""

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, Self

import polars as pl

from refusion_assets.domain import wording
from refusion_assets.domain.opgoerelse.ledger import SIDE, run_day, run_number
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop
from refusion_assets.files.delivered import fingerprint, fingerprint_if_there
from refusion_assets.place import Place
from refusion_assets.store import durable

kroner, procent = wording.kroner, wording.procent
# A municipality's rows as the text of its file: columns in the form of all outgoing files, or the bytes themselves.
Text = Callable[[pl.DataFrame], pl.DataFrame | bytes]

SUMS = "SHA256SUMS"
BEREGNINGSFIL, OPGOERELSESFIL, ADVISERING, BOGFOERING = "beregning", "opgoerelse", "advisering", "bogfoering"
FOR_PEOPLE = (BEREGNINGSFIL, OPGOERELSESFIL, ADVISERING, BOGFOERING)
OPFOELGNING, INSIGHT = "opfoelgning", "insight"
BOM = "\ufeff".encode()
FORM: dict[str, Any] = {"separator": ";", "line_terminator": "\n"}
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


@dataclass(frozen=True)
class Outgoing:
    """The files of one run, written in the hidden folder `ready`; `show` shows them in one step.

    `again`: reused files by name, with their proved sha256. `forms`: the id of the form of its own that a municipality
    has for its voucher.
    """

    folder: Path
    ready: Path
    again: dict[str, str] = field(default_factory=dict)
    forms: Mapping[str, str] = field(default_factory=dict)

    @classmethod
    def begun(cls, folder: Path, forms: Mapping[str, str] | None = None) -> Self:
        """No files yet: a new, empty hidden folder beside `folder`."""
        ready = folder.with_name(f".{folder.name}.klar")
        shutil.rmtree(ready, ignore_errors=True)
        ready.mkdir(parents=True)
        return cls(folder, ready, forms=forms or {})

    def show(self) -> None:
        """Replace the shown folder; a reader sees all the old files or all the new, which are on the disk."""
        durable.flush_all(path for path in self.ready.rglob("*") if path.is_file())
        old = self.folder.with_name(f".{self.folder.name}.gammel")
        shutil.rmtree(old, ignore_errors=True)
        if self.folder.exists():
            os.rename(self.folder, old)
        os.rename(self.ready, self.folder)
        durable.flush(self.folder.parent)
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
        return [path for path in _of_run(self.ready, kind) if path.name not in self.again]

    @property
    def filsum(self) -> str:
        """The sha256 of the run's SHA256SUMS."""
        return fingerprint(self.ready / SUMS)


def file_name(kind: str, kommunekode: str, run_month: date, rules: Rulebook) -> str:
    """The name of one file of a run; its date is the run day of the month after. Source: output.md section 3."""
    number, day = run_number(run_month, rules), run_day(run_month, rules)
    form = rules.bilagsform(kind)
    return f"yr-ydelsesrefusion-{kind}-{kommunekode}-{number:04d}-{day}.{form.endelse if form else 'csv'}"


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

    `rows`: its advice (`Advis`) with cpr and navn. `as_cell` shows a sender's text. The order rests on no surrogate,
    so that another data root, and `genskab`, write the same bytes. Source: output.md section 3.2.
    """
    written = ("cpr", "konto", "indberetning_id", "kilde", "felt", "vaerdi", "tekst", "handling")
    order = ["regel", "cpr", "uge_fra", "konto", "indberetning_id", "fil", "linje"]
    order += sorted(set(rows.columns) - {*order, "noegle", "borger_id"})
    day = {name: pl.col(name).cast(pl.String) for name in ("uge_fra", "uge_til")}
    values: list[str | pl.Expr] = [
        "koersel", "regel", "alvor", "cpr", day["uge_fra"], day["uge_til"], "navn", "konto", "indberetning_id", "kilde",
        "felt", "vaerdi", kroner(pl.col("beloeb_oere")), "tekst", "handling", "status",
    ]  # fmt: skip
    shown = rows.sort(order).with_columns(wording.as_cell(pl.col(name)).alias(name) for name in written)
    return _as_text(shown, values, ADVIS)


def _as_text(rows: pl.DataFrame, values: list[str | pl.Expr], names: Iterable[str]) -> pl.DataFrame:
    """`values` as columns with the headings `names`."""
    columns = [pl.col(value) if isinstance(value, str) else value for value in values]
    return rows.select(*(c.alias(name) for c, name in zip(columns, names, strict=True)))


def not_as_sent(folder: Path) -> list[str]:
    """The names of files in a run's folder that differ from its SHA256SUMS, are not in it, or are missing."""
    return apart(sums_of(folder), said_of(folder / SUMS) if (folder / SUMS).exists() else {})


def departures(folder: Path, filsum: str, *, deleted: bool = False) -> list[str]:
    """A phrase for each way a run's folder differs from what the run made: the file's name, and what is wrong.

    `filsum`: the sha256 of the run's SHA256SUMS. The follow-up may lie beside, and hidden files that systems leave.
    With `deleted`, all files but SHA256SUMS may be gone.
    """
    if not folder.is_dir():
        return [f"mappen {folder.name} mangler"]
    said, found = said_of(folder / SUMS) if (folder / SUMS).is_file() else {}, []
    if fingerprint_if_there(folder / SUMS) != filsum:
        found.append(f"{SUMS} er ændret" if said else f"{SUMS} mangler")
    there = {str(path.relative_to(folder)): path for path in folder.rglob("*") if not path.is_dir()}
    sums = _sums([path for name, path in there.items() if name in said and path.is_file()])
    beside = {name for name in there if Path(name).name[0] == "." or parted(name)[0] in (OPFOELGNING, INSIGHT)}
    for name in sorted(said.keys() | there.keys() - beside - {SUMS}):
        if name not in there:
            if deleted:
                continue
            found.append(f"{name} mangler")
        elif name not in said:
            found.append(f"{name} er ikke en af dem")
        elif sums.get(name) != said[name]:
            found.append(f"{name} er ændret")
    return found


def apart(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """The names of files that differ between two sets (name: sha256), sorted."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def sums_of(folder: Path) -> dict[str, str]:
    """The sha256 of every file of the run in its folder, by name: CSV, and vouchers that are text; no follow-up."""
    return _sums(_of_run(folder))


def _of_run(folder: Path, kind: str = "*") -> list[Path]:
    named = folder.glob("*" if kind == "*" else f"*-{kind}-*")
    return [path for path in named if path.suffix == ".csv" or (path.suffix == ".txt" and parted(path.name)[1])]


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
        kinds = [*OF_THE_LEDGER, *([outgoing.forms[kode]] if kode in outgoing.forms else [])]
        paths = [withdrawn / file_name(kind, kode, run_month, rules) for kind in kinds]
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
        parts, nobody = rows.partition_by("kommunekode", as_dict=True), rows.clear()
        # Files without rows are alike, and a small month has hundreds of them.
        told = text(nobody)
        empty = partial(_same, told if isinstance(told, bytes) else told.write_csv(**FORM).encode())
        for kode in koder[kind]:
            mine = (parts[kode,], text) if (kode,) in parts else (nobody, empty)
            waiting.append((ready / file_name(kind, kode, run_month, rules), *mine))
    with ThreadPoolExecutor(os.cpu_count()) as writers:
        list(writers.map(_write, waiting))
    proved = outgoing.again | _sums(outgoing.made())
    sums = "".join(f"{summed}  {name}\n" for name, summed in sorted(proved.items()))
    (ready / SUMS).write_text(sums, encoding="utf-8")


def _same(told: bytes, _: pl.DataFrame) -> bytes:
    return told


def _write(file: tuple[Path, pl.DataFrame, Text]) -> None:
    path, rows, text = file
    told = text(rows)
    if isinstance(told, bytes):
        path.write_bytes(told)
    else:
        write_table(path, told)


def write_table(path: Path, rows: pl.DataFrame) -> None:
    """Write rows of text and numbers as a CSV file, in the form of all outgoing files."""
    rows.write_csv(path, **FORM)


def copied(place: Place, month: date, koder: Iterable[str], target: Path, *, bom: bool = False) -> dict[str, Path]:
    """The folder `<target>/<kommunekode>/<YYYY-MM>` of each municipality, by code: its files of run `month`, copied.

    Without codes, of every municipality that has files.
    Its files of the run, its follow-up if there, and a SHA256SUMS of its own. A folder from before is replaced in one
    step. With `bom`, the CSV files for people begin with a byte order mark, so that Excel reads their letters right. A
    voucher in a municipality's own form has none. Stop, with nothing replaced for the municipality, if it has no files
    in the run, or one that was changed since it was sent. Source: output.md section 3.
    """
    sent = place.outgoing / f"{month:%Y-%m}"
    if not (sent / SUMS).exists():
        raise Stop(f"kørsel {month:%Y-%m} har ingen filer i udgaaende; kør måneden først")
    if target.resolve().is_relative_to(place.outgoing.resolve()):
        raise Stop(f"{target} ligger i udgaaende, hvor kun kørslerne skriver; vælg en anden mappe")
    said, names = said_of(sent / SUMS), sorted(str(path.relative_to(sent)) for path in sent.rglob("*-*"))
    asked = sorted(koder) or sorted({parted(name)[1] for name in said} & set(place.rules.koder))
    return {kode: _copy(sent, said, names, kode, target / kode / sent.name, bom=bom) for kode in asked}


def _copy(sent: Path, said: Mapping[str, str], names: Iterable[str], kode: str, folder: Path, *, bom: bool) -> Path:
    """One municipality's folder, made whole beside itself and then put in the place of the one before."""
    beside = (OPFOELGNING, INSIGHT)
    mine = [name for name in names if parted(name)[1] == kode and (name in said or parted(name)[0] in beside)]
    if not said.keys() & set(mine):
        raise Stop(f"{kode} har ingen filer i kørsel {sent.name}; er koden rigtig, og er kommunen opgjort?")
    if lost := sorted(name for name in said if parted(name)[1] == kode and name not in mine):
        raise Stop(f"{sent.name}/{lost[0]} mangler i udgaaende; genskab kørslen, før filerne hentes")
    copy = Outgoing.begun(folder)
    sums = []
    for name in mine:
        content = (sent / name).read_bytes()
        if name in said and hashlib.sha256(content).hexdigest() != said[name]:
            raise Stop(f"{sent.name}/{name} er ændret, siden kørslen sendte den; genskab kørslen, før filerne hentes")
        if bom and name.endswith(".csv") and parted(name)[0] in FOR_PEOPLE:
            content = BOM + content
        (copy.ready / name).parent.mkdir(exist_ok=True)
        (copy.ready / name).write_bytes(content)
        sums.append(f"{hashlib.sha256(content).hexdigest()}  {name}\n")
    (copy.ready / SUMS).write_text("".join(sums), encoding="utf-8")
    copy.show()
    return folder


def parted(name: str) -> tuple[str, str]:
    """The kind and the municipality in the name of an outgoing file; both empty if it is none."""
    parts = Path(name).name.split("-")
    return (parts[2], parts[3]) if parts[:2] == ["yr", "ydelsesrefusion"] and len(parts) > 4 else ("", "")
