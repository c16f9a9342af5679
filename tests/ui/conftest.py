"""Understands one user interface for all journeys: a small data root, the server as a process, a browser."""

import contextlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from refusion_assets.door import users
from tests.conftest import DataRoot, Example
from tests.kit.data_root import EXAMPLE, RULES
from tests.kit.served import serving
from tests.ui.browser import Operator, operator

ANNA, BO, PASSWORD = "anna", "bo", "en lang sætning"
SHOWN = pytest.StashKey[tuple[Operator, Path]]()


@dataclass(frozen=True)
class Served:
    """A data root with its rules, and the address of its user interface."""

    root: DataRoot
    address: str
    log: Path


@pytest.fixture(scope="session")
def served(example: Example, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """`refusion ui` on the contract's example, of which the command line has run the first month."""
    folder = tmp_path_factory.mktemp("brugerflade")
    root = DataRoot(folder / "data", Path(shutil.copytree(RULES, folder / "regler")))
    shutil.copytree(EXAMPLE / "data" / "raw", root.path / "raw")
    root.run(next(iter(example.said)))
    for navn, rolle in ((ANNA, users.DRIFT), (BO, users.LAESER)):
        users.add(root.path, navn, rolle, PASSWORD)
    with serving(root.environment, folder / "brugerflade.log") as address:
        yield Served(root, address, folder / "brugerflade.log")


@pytest.fixture(scope="module")
def _browser(served: Served) -> Iterator[Operator]:
    """One browser for the journeys of a module; Dagster in this process wants no other event loop beside its own."""
    with operator(served.address, ANNA, PASSWORD) as made:
        yield made


@pytest.fixture
def clicks(_browser: Operator, served: Served, request: pytest.FixtureRequest) -> Operator:
    """The operator of a journey; if it fails, a picture of the page is left beside the server's log."""
    request.node.stash[SHOWN] = (_browser, served.log.parent)
    return _browser


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[Any]:
    """The report of a journey; a failed one leaves a picture of the page, and says where."""
    report = yield
    if report.failed and (left := item.stash.get(SHOWN, None)):
        shown, folder = left
        path = folder / f"{item.name}.png"
        with contextlib.suppress(Exception):  # the browser may be what failed
            shown.page.screenshot(path=path)
        report.sections.append(("The page and the server's log", f"{path}\n{folder}/brugerflade.log"))
    return report
