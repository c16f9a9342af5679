"""Understands a few senders over months, for tests of the advice: deliver, run, and look at what is told."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import polars as pl

from refusion_assets.assets import classified, refusion
from refusion_assets.assets.findings import advise
from refusion_assets.assets.raw import registers, reports
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.findings.words import LOEST, NOBODY
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.files import outgoing as files
from refusion_assets.place import Place
from refusion_assets.store.session import Session
from tests.kit.data_root import RULES, Row, write_file, write_register
from tests.kit.timeline import SOURCES, row

OTHER = "7001662194"
BORN_1858 = "010158" + "5019"  # fails modulus 11; nobody born in 1858 has had a CPR number
MONTHS = ("2024-02", "2024-03", "2024-04", "2024-05")
WEEK = date(2024, 2, 5), date(2024, 2, 11)
HEADER = (
    "Kørsel;Regel-id;Alvor;CPR nummer;Uge fra;Uge til;Ydelse;Konto;IndberetningsID;Kilde;Felt;Værdi;Beløb;Tekst;"
    "Handling;Status"
)
# What settling everybody leaves for the next look: who was taken in by which settling of the run.
SETTLED = """
UPDATE refusion.aendret SET opgjort = (SELECT coalesce(max(opgjort), 0) + 1 FROM refusion.aendret WHERE maaned = $month)
WHERE maaned = $month AND opgjort IS NULL"""
ABOUT_FILES = pl.col("regel").str.starts_with("FIL-")


def advice_of(session: Session, place: Place, month: date, koder: Sequence[str] | None = None) -> pl.DataFrame:
    """The advice of a run, made as a run makes it, and proved against a look at everything."""
    reports.ingest(session, place, month)
    registers.ingest_registers(session, place, month)
    classified.classify_through(session, place, month)
    refusion.calculate(session, place, month, lambda _: None)
    number = run_number(month, place.rules)
    if koder is None:
        session.run(SETTLED, month=month)
    advice = advise.advise(session, place, month, number, koder)
    still_open = advice.filter(pl.col("status") != LOEST).drop("koersel", "status").sort("regel", "noegle")
    everything = advise.find(session, place, month)
    assert koder or still_open.equals(everything.select(still_open.columns))
    run = {"koersel": [number], "maaned": [month], "status": ["åben"], "regelversion": [place.rules.version]}
    session.run("DELETE FROM opgoerelse.koersel WHERE koersel = $n", n=number)
    session.insert("opgoerelse.koersel", pl.DataFrame({**run, "filsum": ["x"]}))
    return advice


@dataclass
class Senders:
    """A data root that two senders deliver to, one file each a month: kontanthjælp (K) and dagpenge (D)."""

    root: Path
    sent: int = field(default=0)

    @property
    def place(self) -> Place:
        """The place of the root."""
        return Place(self.root, RULES)

    def deliver(self, month: str, rows: Sequence[tuple[str, Row]] = (), skip: int = 0) -> None:
        """A month's files with the rows of each letter, and both persons living in 169."""
        self.sent += 1 + skip
        for letter in "KD":
            _, _, kilde, enhed, *_ = SOURCES[letter]
            name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{self.sent:04}.csv"
            write_file(self.root, Fil(name, kilde, enhed, month, "", [r for sender, r in rows if sender == letter]))

    def live(self, month: str, *stays: tuple[str, str, str, str]) -> None:
        """The residences as known in a month."""
        names = ("CPR", "Kommunekode", "Bopael_start", "Bopael_slut")
        write_register(self.root, "bopael", month, [dict(zip(names, stay, strict=True)) for stay in stays])

    def run(self, month: str, koder: Sequence[str] | None = None) -> pl.DataFrame:
        """The advice of a run; what it finds of what has changed must be all that there is to find."""
        with self.place.warehouse.open() as session:
            return advice_of(session, self.place, month_of(month), koder)

    def written(self, month: str, advice: pl.DataFrame) -> dict[str, bytes]:
        """The advice files of a run by municipality."""
        koder = self.place.rules.koder
        with self.place.warehouse.open() as session:
            rows = advise.with_names(session, self.place, advice)
        tables = {files.ADVISERING: (rows, files.advisering_table)}
        outgoing = files.Outgoing.begun(self.root / "ud" / month)
        files.stage(outgoing, tables, {files.ADVISERING: [*koder, NOBODY]}, month_of(month), self.place.rules)
        return {path.name.split("-")[3]: path.read_bytes() for path in outgoing.ready.glob("*.csv")}


def kth(nr: str, kroner: str = "1000,00", fra: date = WEEK[0], til: date = WEEK[1], **changes: str) -> tuple[str, Row]:
    """A good report of kontanthjælp for a week."""
    return "K", row("K", fra, til, 1, kroner, **{"IndberetningsID": nr, "Indtaegtsart": "0041", **changes})


def adp(nr: str, kroner: str = "1000,00", **changes: str) -> tuple[str, Row]:
    """A good report of dagpenge for the week."""
    good = {"IndberetningsID": nr, "Indkomsttype": "04", "Indtaegtsart": "0005"}
    return "D", row("D", *WEEK, 1, kroner, **(good | changes))


def back(letter: str, nr: str, of: str) -> tuple[str, Row]:
    """A reversal of a whole report."""
    _, konto, *_ = SOURCES[letter]
    made = row(letter, *WEEK, 1, "", "", IndberetningsID=nr, Indberetningsart="T", ReferenceID=of)
    return letter, made | {name: "" for name in made if made[name] == konto}


def about(advice: pl.DataFrame, regel: str) -> list[dict[str, Any]]:
    """The rows of one rule."""
    return advice.filter(regel=regel).rows(named=True)


def rules_of(advice: pl.DataFrame) -> dict[str, str]:
    """Status by rule, apart from what is said of files."""
    return dict(advice.filter(~ABOUT_FILES).select("regel", "status").rows())
