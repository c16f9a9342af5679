"""A few of the trial's kills and full disks: the command given again leaves what an undisturbed one leaves."""

import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kit.timeline import TIMES_AS_MANY
from tests.trial import disks, kills, spoiled
from tests.trial.program import Program, lacking, loaded
from tests.trial.root import Baseline, Bed, baseline, made

pytestmark = pytest.mark.skipif(bool(lacking()), reason=lacking() or "cc")
SEED = int(os.environ.get("REFUSION_FROE", "1"))
# The others cost minutes; a killed koer has a test of its own too.
COMMANDS = ("lever", "luk", *(("koer", "konsekvens") if TIMES_AS_MANY > 1 else ()))
PEOPLE = 6


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """The program loaded with the library of faults."""
    with loaded(tmp_path_factory.mktemp("program")) as ready:
        yield ready


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Bed:
    """The place where every trial is made."""
    return Bed(tmp_path_factory.mktemp("proeve") / "her")


@pytest.fixture(scope="module")
def bases(program: Program, here: Bed, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Baseline]:
    """The commands undisturbed."""
    bed = made(None, here.folder, tmp_path_factory.mktemp("bed") / "bed", PEOPLE)
    return {name: baseline(program, name, bed, here) for name in COMMANDS}


@pytest.fixture
def dice() -> random.Random:
    """The choices of a seed."""
    return random.Random(SEED)  # noqa: S311  a choice of places, not a secret


def test_a_command_killed_anywhere_and_given_again_leaves_what_it_leaves_undisturbed(
    program: Program, here: Bed, bases: dict[str, Baseline], dice: random.Random
) -> None:
    found = list(kills.trial(program, bases, here, 2 * TIMES_AS_MANY, dice))
    assert [line for one in found for line in one.wrong] == []
    assert sum(one.tried for one in found) >= 2


@pytest.mark.skipif(TIMES_AS_MANY == 1, reason="dyr; REFUSION_FLERE, og tests/month/test_disk_full.py har hvert trin")
def test_a_command_on_a_full_disk_says_what_is_full_and_leaves_the_same_when_given_again(
    program: Program, here: Bed, bases: dict[str, Baseline], dice: random.Random
) -> None:
    lever = {"lever": bases["lever"]}
    one = next(disks.trial(program, lever, here, TIMES_AS_MANY, dice))
    assert one.wrong == []


def test_torn_files_of_every_kind_are_read_or_refused_with_a_reason(tmp_path: Path, dice: random.Random) -> None:
    found = spoiled.Spoiled()
    spoiled.read_torn(found, tmp_path, 12 * TIMES_AS_MANY, dice)
    assert (found.wrong, found.refused > 0) == ([], True)
