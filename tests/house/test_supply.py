"""What the program is built of: every line of a lock has its hashes, and every package a licence we may use."""

import re
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.kit.data_root import REPO

LOCKS = [
    REPO / name
    for name in ("requirements.lock", "bench/requirements.lock", "tests/ui/requirements.lock", ".ci/requirements.lock")
]
PINNED = re.compile(
    r"(?P<name>[A-Za-z0-9._-]+)(?:\[[a-z,]+\])?==(?P<version>[A-Za-z0-9.+!]+)(?: \\\n    --hash=sha256:[0-9a-f]{64})+\n"
)
ALLOWED = {
    *("0BSD", "Apache-2.0", "BSD", "BSD-2-Clause", "BSD-3-Clause", "CC0-1.0", "EPL-2.0", "ISC", "MIT", "MIT-0"),
    *("MIT-CMU", "MPL-2.0", "PSF-2.0", "Zlib"),
}
# As packages wrote it before there was one list of short names.
WRITTEN = {
    "3-Clause BSD License": "BSD-3-Clause",
    "Apache 2.0": "Apache-2.0",
    "Apache License Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "BSD License": "BSD",
    "MIT License": "MIT",
    "MIT license": "MIT",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "Python Software Foundation License": "PSF-2.0",
}
# Its metadata has none; the LICENSE file of its source is the MIT licence.
READ_BY_HAND = {"pyrage": "MIT"}


def licence(name: str) -> str:
    """The licence that an installed package states: as an expression, else by its classifiers, else as text."""
    said = distribution(name).metadata
    if expression := said.get("License-Expression"):
        return str(expression)
    kinds = [kind.rpartition(" :: ")[2] for kind in said.get_all("Classifier") or [] if kind.startswith("License ::")]
    known = [WRITTEN[kind] for kind in kinds if kind in WRITTEN]
    text = str(said.get("License") or READ_BY_HAND.get(name, ""))
    return " AND ".join(known) or WRITTEN.get(text, text)


def may_be_used(expression: str) -> bool:
    """True if one of the alternatives of an expression, with all its parts, is allowed."""
    alternatives = re.split(r"\s+OR\s+", expression.strip("() "))
    return any(set(re.split(r"\s+AND\s+", one.strip("() "))) <= ALLOWED for one in alternatives)


@pytest.mark.parametrize("lock", LOCKS, ids=lambda path: str(path.relative_to(REPO)))
def test_a_lock_is_nothing_but_versions_with_their_hashes(lock: Path) -> None:
    assert PINNED.sub("", lock.read_text("utf-8")) == ""


def test_every_package_of_the_program_has_a_licence_that_we_may_use() -> None:
    names = [found["name"] for found in PINNED.finditer((REPO / "requirements.lock").read_text("utf-8"))]
    assert len(names) > 100
    assert {name: licence(name) for name in names if not may_be_used(licence(name))} == {}


def test_a_licence_is_judged_by_its_alternatives_and_all_their_parts() -> None:
    judged = {"MIT": True, "GPL-3.0-only": False, "EPL-2.0 OR GPL-2.0-or-later": True, "MIT AND GPL-3.0-only": False}
    assert {text: may_be_used(text) for text in [*judged, "", "(MIT OR X)"]} == judged | {"": False, "(MIT OR X)": True}


def test_the_program_is_installed_in_the_versions_of_its_lock() -> None:
    pinned = {found["name"]: found["version"] for found in PINNED.finditer((REPO / "requirements.lock").read_text())}
    assert {name: distribution(name).version for name in pinned} == pinned
