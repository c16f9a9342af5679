"""The house: its size, its words, its walls, and the picture of its assets."""

import ast
import re
import subprocess
import sys
import tomllib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from refusion_assets.definitions import build_defs
from refusion_assets.partitions import OWNER
from refusion_assets.place import Place
from tests.conftest import DataRoot
from tests.house.graph import STORED, drawn
from tests.kit.data_root import REPO, RULES

PACKAGE = REPO / "refusion_assets"
MODULES = sorted(PACKAGE.rglob("*.py"))
KERNEL = sorted((PACKAGE / "domain").rglob("*.py"))
MOST_LINES, MOST_LINES_OF_A_FUNCTION = 500, 60
MOST_FILES, LEAST_LINES_FOR_ONE = 9, 120
REAL_CPR = re.compile(r"\b(0[1-9]|[12][0-9]|3[01])(0[1-9]|1[0-2])[0-9]{6}\b", re.ASCII)

Definition = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
Within = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def definitions(path: Path) -> Iterator[tuple[str, Definition, bool]]:
    """Every function and class of a file: its dotted name, its node, and whether it lies within a function."""

    def inside(node: ast.AST, name: str, *, nested: bool) -> Iterator[tuple[str, Definition, bool]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, Definition):
                yield f"{name}.{child.name}", child, nested
                yield from inside(child, f"{name}.{child.name}", nested=nested or not isinstance(child, ast.ClassDef))
            else:
                yield from inside(child, name, nested=nested)

    yield from inside(ast.parse(path.read_text("utf-8")), f"{path.relative_to(REPO)}:", nested=False)


def python(code: str, environment: dict[str, str] | None = None) -> str:
    """What a new Python process in the repository prints."""
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=True, timeout=60)  # noqa: S603
    return done.stdout.strip()


def test_no_file_is_longer_than_500_lines() -> None:
    lines = {str(path.relative_to(REPO)): path.read_text("utf-8").count("\n") for path in MODULES}
    assert {name: count for name, count in lines.items() if count > MOST_LINES} == {}


def test_no_function_is_longer_than_60_lines() -> None:
    lengths = {
        name: (node.end_lineno or 0) - node.lineno + 1
        for path in MODULES
        for name, node, _ in definitions(path)
        if not isinstance(node, ast.ClassDef)
    }
    assert {name: lines for name, lines in lengths.items() if lines > MOST_LINES_OF_A_FUNCTION} == {}


def importers() -> dict[Path, set[Path]]:
    """Which modules of the package import each module of it, by name."""
    named = {".".join(path.relative_to(REPO).with_suffix("").parts): path for path in MODULES}
    users: dict[Path, set[Path]] = {path: set() for path in MODULES}
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Import):
                asked = [alias.name for alias in node.names]
            elif isinstance(node, ast.ImportFrom) and node.module:
                asked = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
            else:
                continue
            for name in asked:
                if name in named and named[name] != path:
                    users[named[name]].add(path)
    return users


def test_a_package_has_at_most_nine_files() -> None:
    rooms = Counter(path.parent for path in MODULES if path.stem != "__init__")
    assert {str(room.relative_to(REPO)): files for room, files in rooms.items() if files > MOST_FILES} == {}


def test_a_module_for_one_other_module_alone_is_long_enough_to_stand_apart() -> None:
    short = {
        str(path.relative_to(REPO)): str(next(iter(users)).relative_to(REPO))
        for path, users in importers().items()
        if len(users) == 1 and path.read_text("utf-8").count("\n") < LEAST_LINES_FOR_ONE and path.stem != "__init__"
    }
    assert short == {}


def test_every_module_and_every_public_function_and_class_says_what_it_is() -> None:
    silent = [
        str(path.relative_to(REPO)) for path in MODULES if not ast.get_docstring(ast.parse(path.read_text("utf-8")))
    ]
    for path in MODULES:
        for name, node, nested in definitions(path):
            private = any(part.startswith("_") for part in name.partition(":.")[2].split("."))
            if not private and not nested and not ast.get_docstring(node):
                silent.append(name)
    assert silent == []


def test_money_is_never_a_float_and_never_rounded_by_python() -> None:
    found = []
    for path in KERNEL:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            is_float = isinstance(node, ast.Constant) and isinstance(node.value, float)
            is_round = isinstance(node, ast.Call) and isinstance(node.func, ast.Name | ast.Attribute) and (
                node.func.id if isinstance(node.func, ast.Name) else node.func.attr
            ) in ("round", "round_sig_figs", "rint", "around")  # fmt: skip
            if is_float or is_round:
                found.append(f"{path.relative_to(REPO)}:{getattr(node, 'lineno', 0)}")
    assert found == []


def test_the_kernel_is_imported_without_dagster_duckdb_or_click() -> None:
    names = [".".join(path.relative_to(REPO).with_suffix("").parts) for path in KERNEL if path.stem != "__init__"]
    code = f"import sys, {', '.join(names)}; print([m for m in ('dagster', 'duckdb', 'click') if m in sys.modules])"
    assert python(code) == "[]"


def test_the_command_is_imported_without_dagster() -> None:
    assert python("import sys, refusion_assets.cli; print('dagster' in sys.modules)") == "False"


def test_no_number_in_the_tree_could_be_the_cpr_number_of_a_real_person() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=REPO, capture_output=True, text=True, check=True)  # noqa: S607
    found = []
    for name in sorted(filter(None, listed.stdout.split("\0"))):
        path = REPO / name
        if path.is_file() and path.suffix not in (".lock", ".svg", ".png"):
            text = path.read_text("utf-8", errors="ignore")
            found += [f"{name}:{text.count(chr(10), 0, hit.start()) + 1}" for hit in REAL_CPR.finditer(text)]
    assert found == []


def test_the_picture_of_the_assets_is_the_one_we_drew(tmp_path: Path) -> None:
    assert drawn(tmp_path) == STORED.read_text("utf-8")


def test_every_asset_has_a_description_and_an_owner(tmp_path: Path) -> None:
    graph = build_defs(Place(tmp_path, RULES)).resolve_asset_graph()
    for node in map(graph.get, graph.get_all_asset_keys()):
        owners = [] if node.group_name == "regler" else [OWNER]  # an observed source has no owner field
        assert (node.owners, bool(node.description)) == (owners, True), node.key


READS = """
import os, sys, traceback, importlib, pkgutil
import refusion_assets
found = set()
roots = tuple(os.path.realpath(os.environ[name]) for name in ("REFUSION_DATA", "REFUSION_REGLER"))
def look(event, args):
    if event in ("open", "os.listdir", "os.scandir") and args and str(args[0]).startswith(roots):
        names = [frame.name for frame in traceback.extract_stack() if "refusion_assets" in frame.filename]
        found.add(next((name for name in ("grids", "rules") if name in names), "elsewhere"))
sys.addaudithook(look)
for module in pkgutil.walk_packages(refusion_assets.__path__, "refusion_assets."):
    importlib.import_module(module.name)
print(sorted(found), end=" ")
from refusion_assets import definitions, place
definitions.build_defs(place.Place.from_environment())
print(sorted(found))
"""


def test_no_import_reads_the_data_root_or_the_rules_and_the_code_location_only_for_its_grids(tmp_path: Path) -> None:
    (tmp_path / "raw" / "ky" / "2024-03").mkdir(parents=True)
    assert python(READS, DataRoot(tmp_path).environment) == "[] ['grids', 'rules']"


def test_no_module_asks_for_the_time_when_it_is_imported() -> None:
    asked = []
    for path in MODULES:
        tree = ast.parse(path.read_text("utf-8"))
        inside = {id(part) for node in ast.walk(tree) if isinstance(node, Within) for part in ast.walk(node)}
        asked += [
            f"{path.relative_to(REPO)}:{node.lineno}"
            for node in ast.walk(tree)
            if isinstance(node, ast.Attribute) and node.attr in ("now", "today", "time") and id(node) not in inside
        ]
    assert asked == []


def test_the_extra_for_dg_has_the_version_of_dagster() -> None:
    project = tomllib.loads((REPO / "pyproject.toml").read_text("utf-8"))["project"]
    [dagster] = [name.partition("==")[2] for name in project["dependencies"] if name.startswith("dagster==")]
    assert project["optional-dependencies"]["dg"] == [f"dagster-dg-cli=={dagster}"]


def test_dagster_finds_the_definitions_valid(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "dagster"), "definitions", "validate", "-w", "workspace.yaml"]
    environment = DataRoot(tmp_path).environment | {"DAGSTER_DISABLE_TELEMETRY": "1", "DAGSTER_HOME": str(tmp_path)}
    done = subprocess.run(command, cwd=REPO, env=environment, capture_output=True, text=True, check=False, timeout=120)  # noqa: S603
    assert done.returncode == 0, done.stderr[-2000:]
