"""The trial: kills, full disks and spoiled values with a seed, and the table of what came of them (`make trial`)."""

import argparse
import os
import random
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import date
from pathlib import Path

from refusion_assets.domain.wording import kroner_text
from tests.conftest import DataRoot
from tests.kit.data_root import REPO
from tests.trial import disks, kills, spoiled, ui
from tests.trial.kills import Figures
from tests.trial.program import Program, lacking, loaded
from tests.trial.root import COMMANDS, Bed, baseline, made
from tests.trial.spoiled import Spoiled

PAGE = REPO / "docs" / "proevet.md"
MEMORY = Path("/dev/shm")  # noqa: S108  a disk in memory: a trial writes some GB, and keeps nothing
ROOM = 4 * 2**30
HEADS = ("forsøg", "mistet", "dobbelt", "anderledes", "tilbage", "ikke i mål", "ukendte fejl", "sekunder")
TEXT = """# Prøvet

`make trial` skriver denne side. Prøven dræber programmet, fylder disken og ødelægger værdier på tilfældige steder.
Bagefter ser den efter, om den samme kommando igen giver det samme. Et andet frø giver andre steder:
`make trial REFUSION_FROE={next}`. Prøven kræver en C-compiler (`apt-get install gcc libc6-dev`) og bruger to kerner.
Her tog den {minutes} minutter.

Den {day}, frø {seed}: {verdict}
"""
KILLS = """
## Dræbt

Hver kommando dræbes ved et tilfældigt af de kald, der ændrer dataroden: før, efter eller midt i. Hvert tredje forsøg
dræbes to gange i træk. Så gives kommandoen igen, og alt sammenlignes med en kommando, som ingen forstyrrede: filernes
byte, kladdens rækker, alle tabeller, analytikernes kopi og det, modtagerne har fået. *Tilbage* tæller forsøg med en
fil, en kørsel eller en plads i køen, som ingen skal bruge mere.
"""
DISKS = """
## Fuld disk

I hvert forsøg afvises et kald, een gang eller resten af kommandoen: disken er fuld, kvoten er brugt, disken kan kun
læses, eller der mangler adgang. *Uden sti* tæller beskeder, som ikke nævner, hvad der ikke kunne skrives. Så gives
kommandoen igen.
"""
SPOILED = """
## Ødelagte værdier

Skæve værdier i hver kolonne i indberetninger, bopæl og fleksgrundlag læses ind, beregnes og opgøres. Desuden læses hele
filer af alle slags, også den faste form og manifester, hvor tilfældige byte er byttet ud.

| | |
| --- | ---: |
"""
WRONG_SHOWN = 40


def page(seed: int, parts: Mapping[str, Sequence[Figures]], odd: Spoiled | None, seconds: float) -> str:
    """The whole page of a trial."""
    every = [one for part in parts.values() for one in part]
    wrong = sum(len(one.wrong) for one in every) + (len(odd.wrong) if odd else 0)
    verdict = "alt holdt." if not wrong else f"{wrong} ting holdt ikke; de står nederst."
    said = [TEXT.format(day=f"{date.today()}", seed=seed, next=seed + 1, minutes=round(seconds / 60), verdict=verdict)]  # noqa: DTZ011
    for title, text, name in (("kills", KILLS, "kommando"), ("disks", DISKS, "sted")):
        if parts.get(title):
            said.append(text + "\n" + "\n".join(_table(name, parts[title], nameless=title == "disks")) + "\n")
    if odd:
        said.append(SPOILED + "\n".join(_of_values(odd)) + "\n")
    if wrong:
        lines = [line for one in every for line in one.wrong] + (odd.wrong if odd else [])
        said.append("\n## Holdt ikke\n\n" + "\n".join(f"- {_plain(line)}" for line in lines[:WRONG_SHOWN]) + "\n")
    return "".join(said)


def _plain(line: str) -> str:
    """A line without the place of the trial, in one line."""
    return re.sub(r"\S*refusion-proeve-\w+", "<rod>", " ".join(line.split()))


def _table(name: str, rows: Sequence[Figures], *, nameless: bool) -> Iterator[str]:
    heads = [name, *HEADS[:7], *(["uden sti"] if nameless else []), HEADS[7]]
    yield f"| {' | '.join(heads)} |"
    yield f"| --- |{' ---: |' * (len(heads) - 1)}"
    numbers = [_numbers(one, nameless=nameless) for one in rows]
    for one, row in zip(rows, numbers, strict=True):
        yield f"| {one.name} | {' | '.join(map(str, row))} |"
    yield f"| **i alt** | {' | '.join(str(sum(column)) for column in zip(*numbers, strict=True))} |"


def _numbers(one: Figures, *, nameless: bool) -> list[int]:
    counts = [one.tried, one.lost, one.doubled, one.differs, one.left, one.unfinished, one.unknown]
    return [*counts, *([one.nameless] if nameless else []), round(one.seconds)]


def _of_values(odd: Spoiled) -> Iterator[str]:
    yield f"| Ødelagte værdier | {odd.values} |"
    yield f"| Filer med ødelagte byte | {odd.files} |"
    yield f"| heraf afvist med en grund | {odd.refused} |"
    yield f"| Linjer i karantæne | {odd.quarantined} |"
    yield f"| Modtaget | {kroner_text(odd.received_oere)} |"
    yield f"| Brugt, tilbageført eller i karantæne | {kroner_text(odd.parted_oere)} |"
    yield f"| Ukendte fejl | {odd.unknown} |"
    yield f"| Personnumre i beskeder, log og hændelser | {odd.persons} |"
    yield f"| Sekunder | {odd.seconds:.0f} |"


def told(figures: Iterator[Figures]) -> list[Figures]:
    """The figures, each said as it is ready."""
    found = []
    for one in figures:
        found.append(one)
        word = "holdt" if one.good else f"{len(one.wrong)} holdt ikke"
        print(f"{one.name}: {one.tried} forsøg, {word}, {one.seconds:.0f} s", flush=True)  # noqa: T201
        for line in one.wrong:
            print(f"    {_plain(line)}", flush=True)  # noqa: T201
    return found


def carried_out(asked: argparse.Namespace, work: Path) -> tuple[dict[str, list[Figures]], Spoiled | None]:
    """The figures of the whole trial in a folder; kills on one core, full disks and spoiled values on another."""
    with ThreadPoolExecutor() as both:
        kinds = both.submit(_kills, asked, work / "drab")
        rest = both.submit(_disks_and_values, asked, work / "disk")
        return {"kills": kinds.result(), "disks": rest.result()[0]}, rest.result()[1]


def _kills(asked: argparse.Namespace, work: Path) -> list[Figures]:
    if not (asked.draebt or asked.ui):
        return []
    dice = random.Random(f"{asked.froe} dræbt")  # noqa: S311  a choice of places, not a secret
    with loaded(work / "program") as program:
        here = Bed(work / "her")
        bed = made(program, here.folder, work / "bed")
        found = told(ui.trial(program, bed, here, asked.ui, dice)) if asked.ui else []
        bases = {name: baseline(program, name, bed, here) for name in COMMANDS if asked.draebt}
        return found + told(kills.trial(program, bases, here, asked.draebt, dice))


def _disks_and_values(asked: argparse.Namespace, work: Path) -> tuple[list[Figures], Spoiled | None]:
    dice = random.Random(f"{asked.froe} disk")  # noqa: S311  the same
    with loaded(work / "program") as program:
        found: list[Figures] = []
        if asked.fuld:
            here = Bed(work / "her")
            bed = made(program, here.folder, work / "bed")
            bases = {name: baseline(program, name, bed, here) for name in COMMANDS}
            found = told(disks.trial(program, bases, here, asked.fuld, dice))
        return found, _spoiled(program, work / "skaevt", asked.vaerdier, dice) if asked.vaerdier else None


def _spoiled(program: Program, folder: Path, values: int, dice: random.Random) -> Spoiled:
    found = spoiled.trial(program, DataRoot(folder / "data"), values, values // 100, dice)
    print(f"ødelagte værdier: {found.values}, {len(found.wrong)} holdt ikke, {found.seconds:.0f} s", flush=True)  # noqa: T201
    return found


def main() -> int:
    """Make the trial, write its page, and say 1 if something did not hold."""
    asked = argparse.ArgumentParser(description=__doc__)
    for name, number in (("draebt", 200), ("fuld", 10), ("vaerdier", 100_000), ("ui", 6)):
        asked.add_argument(f"--{name}", type=int, default=number)
    asked.add_argument("--froe", type=int, default=int(os.environ.get("REFUSION_FROE", "1")))
    asked.add_argument("--side", type=Path, default=PAGE)
    chosen = asked.parse_args()
    if why := lacking():
        print(why, file=sys.stderr)  # noqa: T201
        return 1
    memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="refusion-proeve-", dir=MEMORY if memory else None) as work:
        parts, odd = carried_out(chosen, Path(work))
    chosen.side.write_text(page(chosen.froe, parts, odd, time.monotonic() - began), encoding="utf-8")
    good = all(one.good for part in parts.values() for one in part) and (odd is None or odd.good)
    print(f"{chosen.side}: {'alt holdt' if good else 'noget holdt ikke'}")  # noqa: T201
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
