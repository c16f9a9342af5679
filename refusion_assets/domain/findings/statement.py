"""Understands the statement of a month for its operator: right or stopped, the money, its causes, who must act."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import date
from textwrap import wrap
from typing import Any, Literal

from refusion_assets.domain.findings.outcome import MOST_NAMED
from refusion_assets.domain.wording import kroner_text, plural

WIDTH = 100
MOST_KINDS, MOST_REMARKS = 5, 3
Tone = Literal["", "rigtig", "stoppet", "bemærk"]
Line = tuple[Tone, str]
POSTER = {
    "refusion": "Refusion til kommunerne",
    "medfinansiering": "Medfinansiering fra kommunerne",
    "rettelser": "Heraf rettelser, netto",
}
# Why a run corrects an earlier month, as far as one query of the run's rows can tell (assets/findings/statement.py).
AARSAGER = {
    "sen": "Sene indberetninger",
    "aendret": "Ændrede eller tilbageførte indberetninger",
    "loft": "Andre indberetninger under samme loft",
    "taeller_egen": "Ydelsestælleren, flyttet af kommunens egne indberetninger",
    "taeller_anden": "Ydelsestælleren, flyttet af andres indberetninger",
    "bopael": "Ændret bopæl",
    "fleksbidrag": "Fleksbidrag",
    "regler": "Ændrede regler",
    "uforklaret": "Andet",
}


@dataclass(frozen=True)
class Sammenligning:
    """An amount of an earlier run: its month, the amount, the change since (øre), and that in tenths of a per cent.

    `promille` is empty where the earlier amount is nothing.
    """

    maaned: str
    oere: int
    aendring_oere: int
    promille: int | None


@dataclass(frozen=True)
class Post:
    """An amount of the run (øre), compared with that of the last month and of the same month last year.

    Of those only the municipalities that the run has settled. Empty where there is no such run.
    """

    navn: str
    oere: int
    sidste_maaned: Sammenligning | None
    sidste_aar: Sammenligning | None


@dataclass(frozen=True)
class Aarsag:
    """The corrections of a run with one cause (`AARSAGER`): net to the municipalities (øre), and their people."""

    aarsag: str
    navn: str
    oere: int
    borgere: int


@dataclass(frozen=True)
class Nyt:
    """The findings of a rule that are new in a run: how many, their money (øre), and who acts.

    `afsendere`: the senders of their files, if they have any; `kommuner`: the municipalities that are told.
    """

    regel: str
    navn: str
    antal: int
    beloeb_oere: int
    hvem: str
    handling: str
    afsendere: tuple[str, ...]
    kommuner: tuple[str, ...]

    def where(self, most: int = MOST_NAMED) -> str:
        """The senders; where there is none, the municipalities; so many of them by name."""
        if self.afsendere or not self.kommuner:
            return some_of(self.afsendere, most)
        return f"kommune{'rne' if len(self.kommuner) > 1 else ''} {some_of(self.kommuner, most)}"

    def line(self) -> str:
        """The rule in one line with its senders, three at most; what there is no room for is left out."""
        money = f" ({kroner_text(self.beloeb_oere)})" if self.beloeb_oere else ""
        for name, oere in ((f" {self.navn}", money), (f" {self.navn}", ""), ("", money)):
            for most in range(MOST_NAMED, 0, -1):
                where = self.where(most)
                said = f"    {self.regel}{name}: {self.antal}{oere}, {self.hvem}{f' ({where})' if where else ''}"
                if len(said) <= WIDTH:
                    return said
        return said


@dataclass(frozen=True)
class Oversigt:
    """The statement of run month `maaned`. Øre. `grund` says why it stopped; a stopped month has only remarks besides.

    `nyt` is sorted by how bad the rules are; `bemaerkninger` are sentences of checks and of what came after the files.
    """

    maaned: str
    tilstand: Literal["rigtig", "stoppet"]
    grund: str = ""
    kommuner: int = 0
    borgere: int = 0
    raekker: int = 0
    regelversion: str = ""
    poster: tuple[Post, ...] = ()
    aarsager: tuple[Aarsag, ...] = ()
    nyt: tuple[Nyt, ...] = ()
    aabne: int = 0
    holdt_tilbage: tuple[str, ...] = ()
    accepteret: tuple[str, ...] = ()
    karantaene: str = ""
    bemaerkninger: tuple[str, ...] = ()
    filer: str = ""

    def as_json(self) -> dict[str, Any]:
        """All of it as JSON takes it."""
        return asdict(self)

    def first(self) -> Line:
        """The line that says whether the month is right and settled, or stopped and why."""
        if self.tilstand == "stoppet":
            return "stoppet", f"Kørsel {self.maaned} er STOPPET: {self.grund}"
        counts = (
            f"{plural(self.kommuner, 'kommune', 'kommuner')}, {plural(self.borgere, 'borger', 'borgere')}, "
            f"{plural(self.raekker, 'række', 'rækker')}"
        )
        return "rigtig", f"Kørsel {self.maaned} er rigtig og opgjort: {counts}{self._held()}"

    def _held(self) -> str:
        """How many municipalities wait, at the end of the first line."""
        held = len(self.holdt_tilbage)
        return f"; {plural(held, 'kommune er', 'kommuner er')} holdt tilbage" if held else ""

    def lines(self, room: int | None = None) -> Iterator[Line]:
        """The statement, line by line; with `room`, as much of it as fits a screen with lines of so many characters."""
        yield self.first()
        if self.tilstand == "stoppet":
            yield from (("bemærk", f"  Bemærk: {line}") for line in self.bemaerkninger)
            return
        yield from (("", line) for line in self._money())
        yield from (("bemærk", f"  Holdt tilbage: {line}") for line in self.holdt_tilbage)
        yield from (("bemærk", f"  Accepteret: {line}") for line in self.accepteret)
        yield from (("", line) for line in self._new(MOST_KINDS if room else len(self.nyt)))
        said = [f"  Bemærk: {line}" for line in (self.karantaene, *self.bemaerkninger) if line]
        shown = [cut(line, room) for line in said[:MOST_REMARKS]] if room else said
        yield from (("bemærk", line) for line in shown)
        yield "", f"  Filer: {self.filer}"
        if shown != said or (room and len(self.nyt) > MOST_KINDS):
            yield "", f"  Det hele: oversigt/{self.maaned}.txt i dataroden"

    def _money(self) -> Iterator[str]:
        """The amounts beside those of earlier runs, and the three biggest causes of corrections."""
        before = [
            next((getattr(post, side).maaned for post in self.poster if getattr(post, side)), "") for side in SIDES
        ]
        heads = [f"mod {maaned}" if maaned else word for maaned, word in zip(before, SIDES.values(), strict=True)]
        yield f"{'':33}{'kr.':>17}{heads[0]:>25}{heads[1]:>25}"
        for post in self.poster:
            sides = "".join(_beside(getattr(post, side)) for side in SIDES)
            yield f"  {post.navn:<31}{_plain(post.oere):>17}{sides}"
        if self.aarsager:
            yield "  De største årsager til rettelserne:"
        yield from (f"    {line}" for line in named(self.aarsager))

    def _new(self, most: int) -> Iterator[str]:
        """The new findings to look at, the worst rules first, with who acts."""
        antal = sum(one.antal for one in self.nyt)
        still = f"{plural(self.aabne, 'er åben', 'er åbne')} i alt"
        if not antal:
            yield f"  Nyt at se på: intet; {still}" if self.aabne else "  Nyt at se på: intet"
            return
        yield f"  Nyt at se på: {plural(antal, 'nyt fund', 'nye fund')}, og hvem der handler; {still}"
        yield from (one.line() for one in self.nyt[:most])
        if more := self.nyt[most:]:
            rest = plural(sum(one.antal for one in more), "nyt fund", "nye fund")
            yield f"    {plural(len(more), 'anden regel', 'andre regler')}: {rest}"


SIDES = {"sidste_maaned": "mod sidste måned", "sidste_aar": "mod sidste år"}


def compared(maaned: date, oere: int, now: int) -> Sammenligning:
    """An amount of an earlier run month beside that of the run. Øre."""
    change, of = now - oere, abs(oere)
    # Whole numbers of any size, half away from zero.
    promille = (1 if change > 0 else -1) * ((2000 * abs(change) + of) // (2 * of)) if oere else None
    return Sammenligning(f"{maaned:%Y-%m}", oere, change, promille)


def some_of(names: Sequence[str], most: int = MOST_NAMED) -> str:
    """The first names, and how many more there are: `ky-101, ky-153 og 4 andre`."""
    more = len(names) - most
    if more > 0:
        return f"{', '.join(names[:most])} og {plural(more, 'anden', 'andre')}"
    return " og ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def named(aarsager: Sequence[Aarsag]) -> Iterator[str]:
    """The three biggest causes with their amounts and people, and one line for all the others."""
    for one in aarsager[:MOST_NAMED]:
        yield f"{one.navn}: {kroner_text(one.oere)} ({plural(one.borgere, 'borger', 'borgere')})"
    if more := aarsager[MOST_NAMED:]:
        what = plural(len(more), "anden årsag", "andre årsager")
        yield f"{what}: {kroner_text(sum(one.oere for one in more))}"


def percent(side: Sammenligning | None) -> str:
    """A change in per cent with one decimal: `+12,3 %`; empty where the earlier amount is nothing."""
    if side is None or side.promille is None:
        return ""
    whole, tenth = divmod(abs(side.promille), 10)
    sign = "-" if side.promille < 0 else "+"
    return f"{sign}{whole},{tenth} %" if whole < 1000 else f"{sign}999 % +"


def moved(side: Sammenligning | None) -> str:
    """A change in kroner with its sign; `ingen` where there is nothing to compare with."""
    return f"{'+' if side.aendring_oere >= 0 else ''}{_plain(side.aendring_oere)}" if side else "ingen"


def _beside(side: Sammenligning | None) -> str:
    return f"{moved(side):>16}{percent(side):>9}" if side else f"{moved(side):>25}"


def _plain(oere: int) -> str:
    """Øre as kroner without the unit."""
    return kroner_text(oere).removesuffix(" kr.")


def cut(line: str, room: int) -> str:
    """A line that fits in so many characters, with `...` for what is left out."""
    return line if len(line) <= room else f"{line[: room - 4].rstrip(' ,;:')} ..."


def wrapped(line: str) -> list[str]:
    """A line in several of at most `WIDTH` characters, the later ones further in; a path is never broken."""
    inward = " " * (len(line) - len(line.lstrip()))
    if len(line) <= WIDTH or line.startswith("  Filer: "):
        return [line]
    return wrap(line.strip(), WIDTH, initial_indent=inward, subsequent_indent=f"{inward}  ", break_long_words=False)
