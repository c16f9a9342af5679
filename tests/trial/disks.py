"""Full disks: a call that writes is refused; the message names the path, and the same again is right."""

import random
import time
from collections import defaultdict
from collections.abc import Iterator, Mapping

from tests.trial.kills import UNKNOWN, Figures
from tests.trial.program import ERRORS, FROM_NOW_ON, ONCE, Ended, Fault, Program
from tests.trial.root import Baseline, Bed

STEPS = {
    "dagster": "Dagsters hukommelse",
    "lager": "lageret",
    "udgaaende": "de udgående filer",
    "oversigt": "oversigten",
    "udgivet": "analytikernes kopi",
    "konsekvens": "konsekvensen",
    "modtager": "modtagernes mapper",
}
TIMES_TRIED = 10


def steps(bases: Mapping[str, Baseline]) -> dict[str, list[tuple[Baseline, str, int]]]:
    """By part of the root, the commands that write there, the kinds of their calls, and how many there are of each."""
    found: dict[str, list[tuple[Baseline, str, int]]] = defaultdict(list)
    for base in bases.values():
        for (kind, part), numbers in sorted(base.kinds.items()):
            if part in STEPS and kind != "remove":
                found[part].append((base, kind, len(numbers)))
    return found


def trial(
    program: Program, bases: Mapping[str, Baseline], here: Bed, times: int, dice: random.Random
) -> Iterator[Figures]:
    """The figures of each kind of step, as they are ready: so many full disks of each, of every kind of error."""
    for part, places in steps(bases).items():
        found, began = Figures(STEPS[part]), time.monotonic()
        while found.tried < times:
            for _ in range(TIMES_TRIED):
                base, kind, many = dice.choice(places)
                word = dice.choice(sorted(ERRORS))
                how = dice.choice([ONCE, FROM_NOW_ON])
                fault = Fault(f"{part}/", kind, dice.randint(1, many), how, ERRORS[word])
                here.again(base.bed)
                ended = program.run(here.environment, here.arguments(base.command), fault)
                if program.reached():
                    break
            found.tried += 1
            once = "" if how == FROM_NOW_ON else " een gang"
            what = f"{base.command} med {word}{once} ved kald {fault.at} ({kind}) i {part}"
            _judge_message(found, what, ended, here)
            found.judge(what, base, here, program.run(here.environment, here.arguments(base.command)))
        found.seconds = time.monotonic() - began
        yield found


def _judge_message(found: Figures, what: str, ended: Ended, here: Bed) -> None:
    """Count a command that hung, an error nobody foresaw, a trace, and a stop that names no path."""
    said = ended.out + ended.err
    if ended.signal or UNKNOWN in said or "Traceback" in said:
        found.unknown += 1
        found.wrong.append(f"{what}: endte med signal {ended.signal}: {said.strip()[-400:]}")
    elif ended.code and str(here.root.path) not in ended.err:
        found.nameless += 1
        found.wrong.append(f"{what}: nævner ingen sti: {ended.err.strip()[-300:]}")
