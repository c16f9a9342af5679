"""Understands a small country of senders in which one thing at a time goes wrong, for tests of the month.

Three months: two run well, the third is spoiled. Every sender reports 10.000 kr. a person and month, for 20 people
of its own; so every sum in the tests can be worked out in the head.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path

from refusion_assets.domain.calendar import last_day, month_of
from refusion_assets.domain.efterregning.reports import Fil
from tests.conftest import DataRoot
from tests.kit.data_root import Row, write_file, write_register
from tests.kit.timeline import COLUMNS

MONTHS = ("2024-02", "2024-03", "2024-04")
SPOILED = MONTHS[-1]
PEOPLE, KRONER = 20, 10_000
MUNICIPALITIES = ("101", "147", "151", "153", "155", "157", "159", "161", "163", "165", "167", "169")
AKASSE, SU = "20100001", "34042012"
KONTI = {  # ydelse: konto, Felt, Indkomsttype, Indtaegtsart
    "KTH": ("urn:oio:kommune:konto:557731007", "Felt0115", "06", "0041"),
    "UDDH": ("urn:oio:kommune:konto:557731008", "Felt0115", "06", "0087"),
    "SYG_BORGER": ("urn:oio:kommune:konto:557711013", "Felt0115", "07", "0103"),
    "ADP": ("urn:oio:akasse:konto:adp", "Felt0114", "04", "0005"),
}
Sender = tuple[str, str]
Rows = list[Row]


def cpr(number: int) -> str:
    """A synthetic person: day + 60, born in 1950-1989."""
    return f"{61 + number % 28:02}{1 + number % 12:02}{50 + number % 40:02}{1000 + number:04}"


def person(sender: Sender, number: int) -> str:
    """The CPR number of one of a sender's people."""
    kilde, enhed = sender
    place = ("ky", "ksd", "akasse").index(kilde)
    return cpr(1_000 * place + 50 * (MUNICIPALITIES.index(enhed) if enhed in MUNICIPALITIES else 15) + number)


def report(sender: Sender, ydelse: str, month: str, number: int, **changes: str) -> Row:
    """One good report of a month's benefit to one of a sender's people, with `changes` to its columns."""
    kilde, enhed = sender
    konto, felt, indkomsttype, art = KONTI[ydelse]
    first, last = str(month_of(month)), str(last_day(month_of(month)))
    kommune = "" if kilde == "akasse" else enhed
    values = {
        "IndberetningsID": f"{kilde[:2]}{enhed[-3:]}{month[2:4]}{month[5:]}{number:04}",
        "Indberetningsart": "I",
        "Pligt_SE": f"29{kommune}000" if kommune else enhed,
        "Kommunekode": kommune,
        "CPR": person(sender, number),
        "Loenperiode_start": first,
        "Loenperiode_slut": last,
        "Dispositionsdato": last,
        "Indkomsttype": indkomsttype,
        "Indtaegtsart": art,
        "Felt0014": f"{KRONER},00",
        felt: konto,
        "Felt0214_start": first,
        "Felt0214_slut": last,
        "Modtaget_tidspunkt": f"{last}T12:00:00",
    }
    return dict.fromkeys(COLUMNS, "") | values | changes


def reversal(of: Row, month: str, own: str) -> Row:
    """The reversal of a whole report, received in a month."""
    kept = ("Pligt_SE", "Kommunekode", "Loenperiode_start", "Loenperiode_slut", "Dispositionsdato", "Indkomsttype")
    values = {name: of[name] for name in kept} | {
        "IndberetningsID": own,
        "ReferenceID": of["IndberetningsID"],
        "Indberetningsart": "T",
        "Modtaget_tidspunkt": f"{last_day(month_of(month))}T12:00:00",
    }
    return dict.fromkeys(COLUMNS, "") | values


def late(row: Row, days: int) -> Row:
    """The same report about a period that lies so many days earlier; received when it was."""
    periods = [name for name in row if name.endswith(("_start", "_slut")) and row[name]]
    return row | {name: str(date.fromisoformat(row[name]) - timedelta(days=days)) for name in periods}


@dataclass
class Land:
    """A country's deliveries: who sends what in a month; `spoil` changes what a sender sends."""

    root: Path
    rows: dict[tuple[Sender, str], Rows] = field(default_factory=dict)

    @classmethod
    def made(cls, root: Path) -> "Land":
        """A country where all is well: KTH and sygedagpenge everywhere, UDDH in two places, an a-kasse."""
        land = cls(root)
        for month in MONTHS:
            for kode in MUNICIPALITIES:
                land.rows[("ky", kode), month] = [report(("ky", kode), "KTH", month, n) for n in range(PEOPLE)]
                land.rows[("ksd", kode), month] = [report(("ksd", kode), "SYG_BORGER", month, n) for n in range(PEOPLE)]
            for kode in ("151", "153"):
                two = [report(("ky", kode), "UDDH", month, PEOPLE + n) for n in range(PEOPLE)]
                land.rows[("ky", kode), month] += two
            land.rows[("akasse", AKASSE), month] = [report(("akasse", AKASSE), "ADP", month, n) for n in range(PEOPLE)]
        return land

    def spoil(self, sender: Sender, change: Callable[[Rows], Sequence[Row]], *months: str) -> None:
        """What a sender sends in the spoiled month, or in `months`, changed."""
        for month in months or (SPOILED,):
            self.rows[sender, month] = list(change(self.rows[sender, month]))

    def path(self, sender: Sender, month: str, number: int | None = None) -> Path:
        """Where a sender's file of a month lies."""
        kilde, enhed = sender
        nr = number or 1 + MONTHS.index(month)
        name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{nr:04}.csv"
        return self.root / "raw" / kilde / month / name

    def deliver(self) -> None:
        """Every file with its manifest, and everybody's residence where their money is paid."""
        homes: dict[str, str] = {}
        for (sender, month), rows in self.rows.items():
            numbered = [row | {"Lb_nr": str(n)} for n, row in enumerate(rows, 1)]
            write_file(self.root, Fil(self.path(sender, month).name, *sender, month, "", numbered))
            homes |= {person(sender, n): sender[1] if sender[0] != "akasse" else "101" for n in range(2 * PEOPLE)}
        stays = [
            {"CPR": number, "Kommunekode": kode, "Bopael_start": "2000-01-01", "Bopael_slut": ""}
            for number, kode in homes.items()
            if number != HOMELESS
        ]
        write_register(self.root, "bopael", MONTHS[0], stays)


HOMELESS = person(("akasse", AKASSE), PEOPLE)


def ready(root: Path, land: Land) -> DataRoot:
    """The two good months run, without the UI's book-keeping; the spoiled one is delivered."""
    made = DataRoot(root)
    kept = {path: path.with_name(f"{path.name}.gemt") for path in (root / "raw").glob(f"*/{SPOILED}")}
    for path, hidden in kept.items():
        path.rename(hidden)
    for month in MONTHS[:2]:
        made.run(month)
    for path, hidden in kept.items():
        hidden.rename(path)
    assert land.root == root
    return made
