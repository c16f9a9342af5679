"""The tables: each is written by its owner alone, and a temporary one is no name that two functions agree on."""

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from refusion_assets.domain.contract import COLUMNS
from refusion_assets.partitions import table_schema
from refusion_assets.store.tables import OWNERS, TABLES
from tests.kit.data_root import REPO

PACKAGE = REPO / "refusion_assets"
DOOR = [PACKAGE / "store" / name for name in ("session.py", "state.py")]
MODULES = [path for path in sorted(PACKAGE.rglob("*.py")) if path not in DOOR]
OWNER = {table: owner for owner, tables in OWNERS.items() for table in tables}
TABLE = r"(?P<name>[A-Za-z_.{}\[\]]+)"
WRITES = re.compile(
    rf"\b(?:INSERT\s+INTO|DELETE\s+FROM|UPDATE|TRUNCATE|DROP\s+TABLE|ALTER\s+TABLE|MERGE\s+INTO)\s+{TABLE}"
)
MADE = re.compile(r"\bCREATE\s+(?:OR\s+REPLACE\s+)?(?:TEMP|TEMPORARY|TABLE|VIEW)\b")
READ = re.compile(rf"(?<!DISTINCT )\b(?:FROM|JOIN|INTO|UPDATE)\s+{TABLE}(?P<call>\()?")
NAMED = re.compile(r"(?:\bWITH|,)\s+(\w+) AS \(")
PUT = re.compile(r"(?:\w+\.)*session\.(?:insert|replace)")
LENT = ("lending", "with_frame")


@dataclass(frozen=True)
class Module:
    """A module as SQL is found in it: its tree, each node's parent, and the constants of the module by name."""

    path: Path
    text: str

    @property
    def name(self) -> str:
        return ".".join(self.path.relative_to(PACKAGE).with_suffix("").parts)

    @property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)


def module(path: Path) -> Module:
    return Module(path, path.read_text("utf-8"))


def shown(node: ast.expr) -> str:
    """A string as it is written, what is filled in in braces; empty if it is no string."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(
            "{" + ast.unparse(part.value) + "}" if isinstance(part, ast.FormattedValue) else shown(part)
            for part in node.values
        )
    return ""


def strings(tree: ast.AST) -> Iterator[tuple[str, ast.AST]]:
    """Every string of a module but its docstrings, with the function or module it stands in."""

    def inside(node: ast.AST, around: ast.AST) -> Iterator[tuple[str, ast.AST]]:
        for child in ast.iter_child_nodes(node):
            if isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant):
                continue
            if isinstance(child, ast.Constant | ast.JoinedStr) and shown(child):
                yield shown(child), around
            if not isinstance(child, ast.JoinedStr):
                yield from inside(child, child if isinstance(child, ast.FunctionDef) else around)

    yield from inside(tree, tree)


def filled(name: str, around: ast.AST, tree: ast.Module, seen: frozenset[str] = frozenset()) -> set[str]:
    """The tables that a name stands for where SQL is filled in: what a loop or an assignment gives it."""
    given: list[ast.expr] = []
    for scope in (around, tree):
        for node in ast.walk(scope) if scope is around else scope.body:
            if isinstance(node, ast.For | ast.comprehension) and name in ast.unparse(node.target).split(", "):
                given.append(node.iter)
            if isinstance(node, ast.Assign) and name in {ast.unparse(target) for target in node.targets}:
                given.append(node.value)
    found: set[str] = set()
    for node in (part for expression in given for part in ast.walk(expression)):
        if isinstance(node, ast.Subscript) and ast.unparse(node.value) == "OWNERS":
            found |= set(OWNERS[ast.literal_eval(node.slice)])
        elif isinstance(node, ast.Name) and node.id not in seen | {name}:
            found |= filled(node.id, tree, tree, seen | {name})
        elif shown(node) in TABLES:  # type: ignore[arg-type]
            found.add(shown(node))  # type: ignore[arg-type]
    return found


def tables_of(said: str, around: ast.AST, tree: ast.Module) -> set[str]:
    """The tables that SQL writes under a name: itself, those filled in, or those of a schema; `?` if none is known."""
    if "{" not in said:
        return {said}
    if said.startswith("{"):
        return filled(said.strip("{}"), around, tree) or {"?"}
    return {table for table in TABLES if table.startswith(said.partition("{")[0])} or {"?"}


def written(found: Module) -> Iterator[str]:
    """The tables that a module writes, in SQL and by the calls that take a table's name."""
    tree = found.tree
    for text, around in strings(tree):
        for hit in WRITES.finditer(text):
            yield from tables_of(hit["name"], around, tree)
    for around in [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]:
        for node in ast.walk(around):
            if isinstance(node, ast.Call) and PUT.fullmatch(ast.unparse(node.func)) and node.args:
                said = shown(node.args[0]) or "{" + ast.unparse(node.args[0]) + "}"
                yield from tables_of(said, around, tree)


def owns(module: str, table: str) -> bool:
    """Whether a table is a module's own, or its package's."""
    owner = OWNER.get(table, "nobody")
    return module == owner or module.startswith(f"{owner}.")


def unknown_names(found: Module) -> Iterator[str]:
    """The names that SQL reads or writes and that are no table, no value filled in, and nothing named beside it."""
    tree = found.tree
    lent = {
        shown(arg)
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in LENT
        for arg in node.args
    }
    for text, _ in strings(tree):
        here = {*NAMED.findall(text), *lent}
        for hit in READ.finditer(text):
            name = hit["name"]
            if not hit["call"] and name != "DATABASE" and "{" not in name and "." not in name and name not in here:
                yield name


def test_every_table_is_written_by_its_owner_alone() -> None:
    climbing = {
        f"{found.name} writes {table}"
        for found in map(module, MODULES)
        for table in written(found)
        if not owns(found.name, table)
    }
    assert climbing == set()


def asks_and_changes(found: Module) -> list[str]:
    """The statements that change rows, given to a function of a session that only asks: `publish` would not know."""
    calls = [
        node for node in ast.walk(found.tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
    ]
    asking = ("frame", "value", "integer", "pairs", "day", "count")
    return [
        shown(call.args[0]) for call in calls
        if call.func.attr in asking and call.args and WRITES.match(shown(call.args[0]).strip())  # type: ignore[attr-defined]
    ]  # fmt: skip


def test_rows_are_changed_where_publishing_hears_of_it() -> None:
    assert [text for path in MODULES for text in asks_and_changes(module(path))] == []
    code = 'def f(session):\n    session.value("DELETE FROM raw.fil RETURNING fil_id")\n'
    assert asks_and_changes(Module(PACKAGE / "assets" / "new.py", code)) != []


def test_every_owner_writes_its_tables() -> None:
    writing = {(found.name, table) for found in map(module, MODULES) for table in written(found)}
    idle = {table for table in TABLES if not any(said == table and owns(name, table) for name, said in writing)}
    assert idle == set()


@pytest.mark.parametrize(
    ("code", "table"),
    [
        ('session.run("DELETE FROM classified.krav")', "classified.krav"),
        ('session.run(f"INSERT INTO classified.krav SELECT {columns} FROM x")', "classified.krav"),
        ('session.insert("classified.krav", frame)', "classified.krav"),
        ('session.replace("classified.krav", frame)', "classified.krav"),
        ('for t in ("classified.krav",):\n        session.run(f"DELETE FROM {t} WHERE true")', "classified.krav"),
        ('for t in THEIRS:\n        session.run(f"UPDATE {t} SET a = 1")', "classified.krav"),
        ('session.run(f"DELETE FROM raw.{art}")', "raw.fil"),
        ('session.run(f"DELETE FROM {given}")', "?"),
    ],
)
def test_a_write_is_seen_however_its_table_is_named(code: str, table: str) -> None:
    text = f'THEIRS = ("classified.krav",)\n\n\ndef f(session, given, frame):\n    """Deletes."""\n    {code}\n'
    assert table in set(written(Module(PACKAGE / "assets" / "new.py", text)))


def test_temporary_tables_are_made_in_one_place() -> None:
    makers = {found.name for found in map(module, MODULES) for text, _ in strings(found.tree) if MADE.search(text)}
    # `layout` makes the tables of the contracts.
    assert makers == {"store.tables"}
    assert sum(len(re.findall(r"CREATE (?:OR REPLACE )?TEMP", path.read_text("utf-8"))) for path in DOOR) == 1


def test_no_sql_reads_a_temporary_table_by_a_name_agreed_on() -> None:
    assert {f"{found.name} reads {name}" for found in map(module, MODULES) for name in unknown_names(found)} == set()


def test_a_name_agreed_on_is_seen() -> None:
    text = 'QUERY = "SELECT * FROM classified.krav SEMI JOIN beroerte USING (borger_id)"\n'
    assert list(unknown_names(Module(PACKAGE / "assets" / "new.py", text))) == ["beroerte"]


@pytest.mark.parametrize("table", TABLES)
def test_every_column_of_every_table_says_what_it_is(table: str) -> None:
    assert {column.name for column in table_schema(TABLES[table]).columns if not column.description} == set()


def test_every_common_meaning_of_a_column_is_that_of_a_table() -> None:
    own = {
        name
        for model in TABLES.values()
        for name, column in model.to_schema().columns.items()
        if not column.description
    }
    assert own == set(COLUMNS)
