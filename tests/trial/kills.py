"""Kills: each command is killed at a call chosen at random, given again, and held against an undisturbed one."""

import random
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from tests.trial.program import KILLS, Ended, Fault, Program
from tests.trial.root import Baseline, Bed, State, left_over

TIMES_TRIED = 20
UNKNOWN = "uventet fejl"
# A closing that was killed when it had closed: there is nothing more to do.
DONE = "er allerede lukket"


@dataclass
class Figures:
    """Of a command, or of a kind of fault: how often it was tried, and what came of it; a line for each thing wrong."""

    name: str
    tried: int = 0
    lost: int = 0
    doubled: int = 0
    differs: int = 0
    left: int = 0
    unfinished: int = 0
    unknown: int = 0
    nameless: int = 0
    seconds: float = 0.0
    wrong: list[str] = field(default_factory=list)

    def judge(self, what: str, base: Baseline, here: Bed, again: Ended) -> None:
        """Count what the command, given again after a fault, has left otherwise than undisturbed."""
        if (again.code or again.signal) and DONE not in again.err:
            self.unfinished += 1
            self.wrong.append(f"{what}: igen gav {again.code or again.signal}: {again.err.strip()[:400]}")
        if UNKNOWN in again.out + again.err:
            self.unknown += 1
        after = State.of(here)
        before, now = Counter(base.state.postings), Counter(after.postings)
        self.lost += (before - now).total()
        self.doubled += (now - before).total()
        if differences := base.state.differs(after):
            self.differs += 1
            self.wrong.append(f"{what}: {', '.join(differences[:6])}")
        if left := left_over(here, base.state, after):
            self.left += 1
            self.wrong.append(f"{what}: tilbage er {', '.join(left[:6])}")

    @property
    def good(self) -> bool:
        """True if nothing was wrong."""
        return not self.wrong and not (self.lost or self.doubled or self.unknown)


def chosen(base: Baseline, dice: random.Random) -> tuple[Fault, str]:
    """A kill at a call: half of them at any call, half first at a kind of call and a part of the root; and its name."""
    every = [number for numbers in base.kinds.values() for number in numbers]
    at = dice.choice(every if dice.random() < 0.5 else base.kinds[dice.choice(sorted(base.kinds))])
    how = dice.choice(sorted(KILLS))
    kind, path = base.calls[at - 1]
    return Fault(at=at, how=how), f"{base.command} dræbt {KILLS[how]} kald {at} ({kind} {path})"


def killed(program: Program, base: Baseline, here: Bed, dice: random.Random) -> str:
    """The command killed where it stands; what was done. A call chosen that was not reached is chosen anew."""
    for _ in range(TIMES_TRIED):
        fault, what = chosen(base, dice)
        if program.run(here.environment, here.arguments(base.command), fault).killed:
            return what
        here.again(base.bed)
    raise AssertionError(f"{base.command} bliver færdig før de valgte kald")


def trial(
    program: Program, bases: Mapping[str, Baseline], here: Bed, times: int, dice: random.Random
) -> Iterator[Figures]:
    """The figures of each command, as they are ready; every third trial kills twice in a row."""
    names = list(bases)
    shares = Counter(names[number % len(names)] for number in range(times))
    for name in names:
        base, found, began = bases[name], Figures(name), time.monotonic()
        for _ in range(shares[name]):
            here.again(base.bed)
            what = killed(program, base, here, dice)
            if dice.random() < 1 / 3:
                fault, then = chosen(base, dice)
                again = program.run(here.environment, here.arguments(name), fault)
                what += f", og så {then}" if again.killed else " (anden gang nåede den igennem)"
                found.tried += again.killed
            found.tried += 1
            found.judge(what, base, here, program.run(here.environment, here.arguments(name)))
        found.seconds = time.monotonic() - began
        yield found
