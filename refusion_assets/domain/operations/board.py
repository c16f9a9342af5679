"""Board: who has delivered for a run month, what is wrong with it, and whether there is time and room for the run."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from functools import cached_property
from typing import Any

from refusion_assets.domain.operations.bankdays import DANISH, Window, bank_days_left
from refusion_assets.domain.stop import Fault
from refusion_assets.domain.wording import kroner_text, plural, thousands

LEVERET, UNDERVEJS, MANGLER, SEN, FEJL = "leveret", "undervejs", "mangler", "sen", "fejl"
ORDER = (FEJL, SEN, MANGLER, UNDERVEJS, LEVERET)
WEEKDAYS = ("mandag", "tirsdag", "onsdag", "torsdag", "fredag", "lørdag", "søndag")
MONTHS = (
    *("januar", "februar", "marts", "april", "maj", "juni", "juli"),
    *("august", "september", "oktober", "november", "december"),
)
GIGABYTE = 10**9


@dataclass(frozen=True)
class Indhold:
    """The lines and the øre of a sender's files of one month."""

    linjer: int
    oere: int


@dataclass(frozen=True)
class Afsender:
    """An expected sender (source and unit) of a month: its state, files, content and faults.

    `stand`: leveret, undervejs (its files are still being written), mangler, sen (missing after its bank day) or fejl.
    `foer`: the content of the months before, the latest first, as their manifests say; None where nothing lies there.
    """

    kilde: str
    enhed: str
    stand: str
    filer: int = 0
    nu: Indhold | None = None
    fejl: tuple[Fault, ...] = ()
    foer: tuple[Indhold | None, ...] = ()

    @property
    def navn(self) -> str:
        """The sender as acceptances and cells name it: `ky-101`."""
        return f"{self.kilde}-{self.enhed}"

    @property
    def plejer(self) -> Indhold | None:
        """The mean of the months before in whole lines and øre; None if there are none."""
        there = [month for month in self.foer if month]
        if not there:
            return None
        return Indhold(sum(m.linjer for m in there) // len(there), sum(m.oere for m in there) // len(there))

    def afviger(self, procent: int) -> bool:
        """True if lines or amount differ by more than so many per cent from the mean of the months before."""
        if self.nu is None or self.plejer is None:
            return False
        pairs = ((self.nu.linjer, self.plejer.linjer), (self.nu.oere, self.plejer.oere))
        return any(100 * abs(now - usual) > procent * abs(usual) for now, usual in pairs)


@dataclass(frozen=True)
class Plads:
    """Bytes on the disk: what the run needs at most, what is free, and the runs that there must be room for."""

    kraevet: int
    ledig: int
    mindst: int

    @property
    def koersler(self) -> int:
        """The number of runs like the coming one that there is room for."""
        return self.ledig // max(self.kraevet, 1)

    @property
    def knap(self) -> bool:
        """True if there is room for fewer runs than there must be."""
        return self.koersler < self.mindst


@dataclass(frozen=True)
class Board:
    """The board of run month `maaned` at the moment `nu`.

    `uge`: the hours of the critical week, None where the rules have none. `opgjort`: the month has its files.
    `registre`: the newest month of each supporting register, and the faults of a file of this month.
    `ulaeste`: paths under raw/ that no run reads. `accepteret`: rule, thing and reason of the month's acceptances.
    """

    maaned: date
    nu: datetime
    afsendere: tuple[Afsender, ...]
    uge: Window | None
    opgjort: bool
    plads: Plads
    registre: tuple[tuple[str, date | None, tuple[Fault, ...]], ...] = ()
    ulaeste: tuple[str, ...] = ()
    accepteret: tuple[tuple[str, str, str], ...] = ()
    afviger_procent: int = 50

    @cached_property
    def antal(self) -> dict[str, int]:
        """The number of senders in each state."""
        return {stand: sum(a.stand == stand for a in self.afsendere) for stand in ORDER}

    def i_stand(self, *stande: str) -> list[Afsender]:
        """The senders in one of these states, in order of name."""
        return [a for a in self.afsendere if a.stand in stande]

    @property
    def fejl(self) -> list[Fault]:
        """The faults of the month's files: of the senders, and of the registers."""
        return [f for a in self.afsendere for f in a.fejl] + [f for *_, faults in self.registre for f in faults]

    @property
    def for_sent(self) -> bool:
        """True if the month has no files on the bank day that they are due."""
        return self.uge is not None and self.nu >= self.uge.overdue and not self.opgjort


def moment(at: datetime) -> str:
    """A moment for people, in Danish time: `torsdag 3. december 2026 kl. 12:00`."""
    here = at.astimezone(DANISH)
    return f"{WEEKDAYS[here.weekday()]} {here.day}. {MONTHS[here.month - 1]} {here.year} kl. {here:%H:%M}"


def gigabytes(size: int) -> str:
    """A size for people, rounded up to tenths: `1,3 GB`."""
    tenths = -(-size * 10 // GIGABYTE)
    return f"{tenths // 10},{tenths % 10} GB"


def summary(board: Board) -> str:
    """The state of a month's deliveries in one sentence."""
    antal = board.antal
    said = f"{antal[LEVERET]} af {plural(len(board.afsendere), 'afsender', 'afsendere')} har leveret"
    missing, late = antal[MANGLER], antal[SEN]
    parts = [
        f"{plural(antal[FEJL], 'afsender har', 'afsendere har')} en dårlig fil" if antal[FEJL] else "",
        f"{missing + late} mangler{' stadig' if late else ''}" if missing + late else "",
        f"{antal[UNDERVEJS]} er undervejs" if antal[UNDERVEJS] else "",
    ]
    return f"Leverancer for {board.maaned:%Y-%m}: {', '.join([said, *filter(None, parts)])}."


def deadline(board: Board) -> str:
    """When all must have delivered, and how many bank days there are to it; empty where the rules do not say."""
    if board.uge is None:
        return ""
    left = bank_days_left(board.nu, board.uge.deadline)
    when = "i dag" if left == 0 else f"om {plural(left, 'bankdag', 'bankdage')}"
    if board.nu > board.uge.deadline:
        when = "den er passeret" if left == 0 else f"for {plural(-left, 'bankdag', 'bankdage')} siden"
    return f"Frist: {moment(board.uge.deadline)} ({when})."


def room(plads: Plads) -> str:
    """The room on the disk in one sentence, marked where it is short."""
    said = f"Plads: kørslen bruger højst {gigabytes(plads.kraevet)}, og {gigabytes(plads.ledig)} er ledig"
    return f"{said}; disken er ved at være fuld, gør plads." if plads.knap else f"{said}."


def sender_line(sender: Afsender, procent: int) -> str:
    """A sender in one line: its state and files, its content against the months before, and its faults."""
    said = f"{sender.stand:<9}{sender.navn}"
    usual = f"plejer {_content(sender.plejer)}" if sender.plejer else ""
    if sender.stand == FEJL:
        return f"{said}: {' | '.join(map(str, sender.fejl))}"
    if not sender.filer:
        return f"{said}: {usual}" if usual else said
    now = f", {_content(sender.nu)}" if sender.nu else ""
    apart = f" (afviger mere end {procent} pct.: {usual})" if sender.afviger(procent) else ""
    return f"{said}: {plural(sender.filer, 'fil', 'filer')}{now}{apart}"


def _content(indhold: Indhold) -> str:
    return f"{thousands(indhold.linjer)} {'linje' if indhold.linjer == 1 else 'linjer'}, {kroner_text(indhold.oere)}"


def board_lines(board: Board) -> Iterator[str]:
    """The whole board as lines: what is wrong first, each sender on its own line."""
    yield summary(board)
    if not board.opgjort and (said := deadline(board)):
        yield said
    ordered = sorted(
        board.afsendere, key=lambda a: (ORDER.index(a.stand), not a.afviger(board.afviger_procent), a.navn)
    )
    for sender in ordered:
        yield f"  {sender_line(sender, board.afviger_procent)}"
    for art, newest, faults in board.registre:
        yield f"  {art}: " + (f"seneste er {newest:%Y-%m}" if newest else "intet leveret")
        yield from (f"  fejl     {art}: {fault}" for fault in faults)
    for path in board.ulaeste:
        yield f"  Læses af ingen: {path} (FIL-007)"
    for regel, genstand, why in board.accepteret:
        yield f"  Accepteret: {regel} {genstand}: {why}"
    yield room(board.plads)


def as_json(board: Board) -> dict[str, Any]:
    """The board as names and values for a program; amounts in whole øre."""
    return {
        "maaned": f"{board.maaned:%Y-%m}",
        "nu": board.nu.isoformat(timespec="seconds"),
        "frist": board.uge.deadline.isoformat() if board.uge else None,
        "opgjort": board.opgjort,
        "antal": board.antal,
        "afsendere": [
            {
                "afsender": a.navn,
                "stand": a.stand,
                "filer": a.filer,
                "nu": vars(a.nu) if a.nu else None,
                "foer": [vars(m) if m else None for m in a.foer],
                "afviger": a.afviger(board.afviger_procent),
                "fejl": [str(fault) for fault in a.fejl],
            }
            for a in board.afsendere
        ],
        "registre": {art: f"{newest:%Y-%m}" if newest else None for art, newest, _ in board.registre},
        "fejl": [str(fault) for fault in board.fejl],
        "ulaeste": list(board.ulaeste),
        "accepteret": [list(said) for said in board.accepteret],
        "plads": {"kraevet": board.plads.kraevet, "ledig": board.plads.ledig, "knap": board.plads.knap},
    }
