"""Understands a data root on disk and the fast kernel in memory, for tests."""

import csv
import hashlib
import io
import json
import shutil
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime
from functools import lru_cache
from pathlib import Path

import polars as pl

from refusion_assets.domain.calendar import Grid, last_day, make_grid, month_of
from refusion_assets.domain.classified import Linje, classify, judge, not_used
from refusion_assets.domain.duration.count import Counted, count_weeks
from refusion_assets.domain.efterregning.money import Key, Resultat
from refusion_assets.domain.efterregning.reports import Claim, Fil, read_oere
from refusion_assets.domain.efterregning.reports import claims as plain_claims
from refusion_assets.domain.efterregning.reports import judge as plain_judge
from refusion_assets.domain.efterregning.weeks import Uge
from refusion_assets.domain.efterregning.weeks import count_weeks as plain_count
from refusion_assets.domain.raw import NAMES, bopael_rows, typed
from refusion_assets.domain.refusion.price import Priced, price
from refusion_assets.domain.refusion.rates import Rates, make_rates
from refusion_assets.domain.refusion.residence import residence
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.files.delivered import REPORT_NAME
from refusion_assets.rulebook.load import load
from refusion_assets.store.tables import validate

REPO = Path(__file__).resolve().parent.parent.parent
RULES = REPO / "rules"
DATA = REPO / "tests" / "data"
EXAMPLE = DATA / "example"
# Read once for all tests of a process: forty files ask the rules in force about a benefit or a date.
RULEBOOK = load(RULES)

Row = dict[str, str]
WEEKS = """SELECT cpr, uge, art, ydelsestaeller, genoptjeningstaeller
    FROM duration.borger_uge JOIN identitet.borger USING (borger_id)"""


def read_csv(path: Path) -> list[Row]:
    """The rows of one `;`-separated file as text, empty = null."""
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter=";"))


def read_root(path: Path, until_month: str) -> tuple[list[Fil], list[Row], list[Row]]:
    """What a run of `until_month` knows of a data root: raw files, residences, bases for fleksbidrag.

    Raw files up to the month, judged by nobody (all count as accepted; only the CSV form is read); the newest
    snapshot of residences; the rows of all snapshots of the basis, oldest first.
    """
    files, bopael, fleksgrundlag = [], [], []
    for csv_path in sorted((path / "raw").glob("*/*/*.csv"), key=lambda p: (p.parent.name, p.name)):
        kilde, maaned = csv_path.parent.parent.name, csv_path.parent.name
        if maaned > until_month:
            continue
        rows = read_csv(csv_path)
        if kilde == "bopael":
            bopael = rows
        elif kilde == "fleksgrundlag":
            fleksgrundlag += rows
        else:
            enhed = csv_path.name.split("-")[3]
            sha256 = hashlib.sha256(csv_path.read_bytes()).hexdigest()
            files.append(Fil(csv_path.name, kilde, enhed, maaned, sha256, rows))
    return files, bopael, fleksgrundlag


def with_reading(rules: Rulebook, navn: str, vaerdi: str) -> Rulebook:
    """The rules with one reading switched."""
    return replace(
        rules,
        laesninger=tuple(replace(entry, vaerdi=vaerdi) if entry.navn == navn else entry for entry in rules.laesninger),
    )


def plain_weeks(files: Iterable[Fil], month: str, rules: Rulebook) -> dict[tuple[str, date], Uge]:
    """Every week of everybody by the independent calculation, from their first A- or B-week; no week that is cut."""
    own: dict[str, list[Claim]] = {}
    for claim in plain_claims(plain_judge(files, rules).brugt, rules):
        own.setdefault(claim.cpr, []).append(claim)
    found = {}
    for cpr, claims in own.items():
        weeks = plain_count(claims, last_day(month_of(month)), rules)
        first = min((uge for uge, week in weeks.items() if week.kind in ("A", "B")), default=date.max)
        found |= {(cpr, uge): week for uge, week in weeks.items() if uge >= first and week.kind != "-"}
    return found


# --- a data root is written ---------------------------------------------------------------------------------


def csv_bytes(rows: Iterable[Row], names: Sequence[str]) -> bytes:
    """Rows in the form of the contract: `;`, LF, header, quotes only when needed."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, delimiter=";", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue().encode()


def write_file(root: Path, fil: Fil, names: Sequence[str] = NAMES) -> Path:
    """One raw file and its manifest under a data root; the path of the file."""
    path = root / "raw" / fil.kilde / fil.maaned / fil.filnavn
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(csv_bytes(fil.rows, names))
    return write_manifest(path, fil.rows)


def write_manifest(path: Path, rows: Sequence[Row], **lies: object) -> Path:
    """The manifest beside a file, with the truth about its bytes and rows but for `lies`; the path of the file."""
    totals = {felt: sum(read_oere(row.get(felt, "")) or 0 for row in rows) for felt in ("Felt0014", "Felt0037")}
    sender = REPORT_NAME.fullmatch(path.name)
    manifest = {
        "filnavn": path.name,
        **({"kilde": sender["kilde"], "enhed": sender["enhed"], "loebenr": int(sender["nr"])} if sender else {}),
        "modtaget_maaned": path.parent.name,
        "oprettet": f"{path.parent.name}-28T23:00:00",
        "antal_raekker": len(rows),
        "antal_T": sum(row.get("Indberetningsart") == "T" for row in rows),
        **{f"sum_{felt.lower()}": f"{'-' if oere < 0 else ''}{abs(oere) // 100}.{abs(oere) % 100:02}"
           for felt, oere in totals.items()},
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "skemaversion": "1",
    }  # fmt: skip
    path.with_suffix(".manifest.json").write_text(json.dumps(manifest | lies), encoding="utf-8")
    return path


BOPAEL = ("CPR", "Kommunekode", "Bopael_start", "Bopael_slut")
FLEKSGRUNDLAG = ("CPR", "Maaned", "Beregningsgrundlag", "Loen")


def write_register(root: Path, art: str, maaned: str, rows: Sequence[Row]) -> Path:
    """One snapshot of a supporting register and its manifest; the path of the file."""
    path = root / "raw" / art / maaned / f"{art}-{maaned.replace('-', '')}.csv"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(csv_bytes(rows, BOPAEL if art == "bopael" else FLEKSGRUNDLAG))
    return write_manifest(path, rows)


def rewrite(change: Callable[[bytes], bytes]) -> Callable[[Path], None]:
    """The file's bytes changed, with a manifest that is right about them."""

    def spoil(path: Path) -> None:
        rows = read_csv(path)
        path.write_bytes(change(path.read_bytes()))
        write_manifest(path, rows)

    return spoil


# --- the kernel in memory -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Run:
    """What the kernel made of raw files: the verdict on every line, the claims, the counters and the rows."""

    filer: list[Fil]
    cpr: list[str]
    grid: Grid
    linjer: pl.DataFrame
    krav: pl.DataFrame
    counted: Counted
    priced: Priced

    @property
    def rows(self) -> pl.DataFrame:
        """The result rows."""
        return self.priced.rows

    @property
    def state(self) -> dict[Key, Resultat]:
        """The rows in the form of the independent calculation."""
        return {
            (uge, f"{maaned:%Y-%m}", self.cpr[borger], ydelse, kommune): Resultat(*values)
            for uge, maaned, borger, ydelse, kommune, *values in self.rows.drop("hjemmel", "regelversion").iter_rows()
        }

    @property
    def karantaene(self) -> list[tuple[str, int, str, str]]:
        """File, line counted from 1, report id and rule of every quarantined row, in order."""
        bad = self.linjer.filter(pl.col("status") == "karantaene").select("fil_id", "linje", "regel")
        found = [
            (fil.filnavn, linje, fil.rows[linje - 1]["IndberetningsID"], regel)
            for number, linje, regel in bad.iter_rows()
            for fil in [self.filer[number]]
        ]
        return sorted(found)


@lru_cache(maxsize=64)
def rates_of(rules: Rulebook, through: date) -> tuple[Grid, Rates]:
    """The grid of a run and the percentages on it; made once for all runs of a month."""
    grid = make_grid(rules.optaelling.gaelder_fra, through)
    return grid, make_rates(rules, grid)


def text_lines(files: Sequence[Fil]) -> pl.DataFrame:
    """The lines of raw files as text, empty = null, with file number, line from 1, kilde and enhed."""
    return pl.DataFrame(
        [
            (number, linje, fil.kilde, fil.enhed, *(row[name] or None for name in NAMES))
            for number, fil in enumerate(files)
            for linje, row in enumerate(fil.rows, 1)
        ],
        schema={
            "fil_id": pl.Int64, "linje": pl.Int64, "kilde": pl.String, "enhed": pl.String,
            **dict.fromkeys(NAMES, pl.String),
        },
        orient="row",
    )  # fmt: skip


def judge_files(files: Sequence[Fil], rules: Rulebook) -> tuple[pl.DataFrame, list[str]]:
    """Every line of the files judged by itself (`Linje` and `fil_orden`), and the persons by number.

    What the asset does in the warehouse: second deliveries left out, files ranked, persons numbered.
    """
    lines = typed(text_lines(files))
    first = dict(lines.group_by("fil_id").agg(pl.col("Modtaget_tidspunkt").min()).iter_rows())
    place = {n: (f.maaned, first.get(n) or datetime.min, f.filnavn) for n, f in enumerate(files)}  # noqa: DTZ901
    seen: set[str] = set()
    kept = [n for n in sorted(place, key=place.__getitem__)
            if not files[n].rows or not (files[n].sha256 in seen or seen.add(files[n].sha256))]  # fmt: skip
    rank = pl.DataFrame(
        {"fil_id": kept, "fil_orden": range(len(kept))}, schema={"fil_id": pl.Int64, "fil_orden": pl.Int64}
    )
    judged = judge(lines, rules)
    cpr = sorted(judged["subjekt"].drop_nulls().unique())
    borger = pl.DataFrame(
        {"subjekt": cpr, "borger_id": range(len(cpr))}, schema={"subjekt": pl.String, "borger_id": pl.Int64}
    )
    named = {"art": "Indberetningsart", "indberetning_id": "IndberetningsID", "reference_id": "ReferenceID",
             "pligt_se": "Pligt_SE", "kommunekode_betaler": "Kommunekode", "kilde_id": "kilde"}  # fmt: skip
    linjer = judged.join(borger, on="subjekt", how="left").join(rank, on="fil_id")
    linjer = linjer.with_columns(**{new: pl.col(old) for new, old in named.items()})
    return linjer.select(*Linje.to_schema().columns, "fil_orden"), cpr


def calculate(files: Sequence[Fil], bopael: Sequence[Mapping[str, str]], month: str, rules: Rulebook) -> Run:
    """A whole run of the kernel in memory, from raw rows to result rows, each table proved by its contract."""
    known = [fil for fil in files if fil.maaned <= month]
    linjer, cpr = judge_files(known, rules)
    validate("classified.linje", linjer.drop("fil_orden"))
    result = classify(linjer)
    validate("classified.dom", not_used(result.linjer))
    validate("classified.krav", result.krav)
    grid, rates = rates_of(rules, last_day(month_of(month)))
    counted = count_weeks(result.krav, grid, rules)
    stays = pl.DataFrame(
        [tuple(row[name] or None for name in BOPAEL) for row in bopael],
        schema=dict.fromkeys(BOPAEL, pl.String),
        orient="row",
    )
    number = {person: place for place, person in enumerate(cpr)}
    home = bopael_rows(stays.filter(pl.col("CPR").is_in(cpr)), month_of(month)).with_columns(
        borger_id=pl.col("cpr").replace_strict(number, return_dtype=pl.Int64)
    )
    where = residence(home, counted.borger_id, grid, rules)
    priced = price(result.krav.filter(pl.col("beloeb_oere") > 0), counted, where, grid, rates, rules)
    validate("refusion.borger_uge_ydelse", priced.rows)
    return Run(known, cpr, grid, result.linjer, result.krav, counted, priced)


def rules_of_few(folder: Path, koder: Collection[str]) -> Path:
    """A copy of the rules that knows a few municipalities; a run writes few files."""
    rules = Path(shutil.copytree(RULES, folder))
    header, *lines = (rules / "kommuner.csv").read_text("utf-8").splitlines(keepends=True)
    (rules / "kommuner.csv").unlink()
    few = [line for line in lines if line[:3] in koder]
    (rules / "kommuner.csv").write_text("".join([header, *few]), encoding="utf-8")
    return rules
