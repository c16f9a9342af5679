"""The texts for people who read the code: short sentences, and no name in them that is not in the tree."""

import ast
import re
import subprocess
from functools import cache
from importlib import import_module
from pathlib import Path

import click
import dagster as dg
import pytest

from refusion_assets.cli import main
from refusion_assets.rulebook.load import TOPICS
from refusion_assets.store.tables import TABLES
from tests.kit.data_root import REPO

MOST_WORDS, MOST_LINES_OF_THE_README = 25, 150
TEXTS = [
    *(REPO / name for name in ("README.md", "CONTRIBUTING.md", "REVIEW.md", "rules/README.md")),
    *(REPO / "docs" / name for name in ("drift.md", "resultater.md", "ydeevne.md")),
    *sorted((REPO / "docs" / "adr").glob("*.md")),
]
DANISH = {REPO / "rules" / "README.md"}
PACKAGE = REPO / "refusion_assets"
# Modules whose docstrings are not measured.
UNMEASURED = {"checks", "runs", "cli.py", "definitions.py", "delivered.py", "partitions.py", "place.py", "progress.py"}
MODULES = [p for p in sorted(PACKAGE.rglob("*.py")) if not UNMEASURED & set(p.relative_to(PACKAGE).parts)]
ENGLISH = [*(path for path in TEXTS if path not in DANISH), *MODULES]
SUBJECTS = re.compile(r"^(What|Whatever|Who|Whom|Whose|Whoever|Whether|Which)\b")
FENCED = re.compile(r"^ *```.*?^ *```", re.DOTALL | re.MULTILINE)
NAMES = re.compile(r"`[^`]*`(?:(?:,| and| or|, and|, or) `[^`]*`)*")
LINK = re.compile(r"!?\[([^\]]*)\]\(([^)\s]+)\)")
SENTENCE = re.compile(r"(?<=[.?!:])[*)\"]*\s+(?=[*(\"]*[A-ZÆØÅ`\[§0-9])")
SHORTENED = re.compile(r"\b(stk|nr|lov nr|e\.g|i\.e|ca)\. ")
LISTED = re.compile(r"\b\w+(?:, \w+){3,}")
CITED = re.compile(r"§§? \d+(, (stk|nr)[·.] ?\d+)*")


def paragraphs(path: Path) -> list[str]:
    """The running text of a page, a paragraph or list item at a time: no code, table or heading."""
    parts: list[str] = []
    for line in FENCED.sub("\n", path.read_text("utf-8")).splitlines():
        if not line.strip() or line.startswith(("|", "#", "Status:")):
            parts.append("")
        elif re.match(r" *([-*]|\d+\.) ", line) or not parts:
            parts.append(line.strip().lstrip("-*0123456789. "))
        else:
            parts[-1] = f"{parts[-1]} {line.strip()}".strip()
    return [part for part in parts if part]


def remarks(path: Path) -> list[str]:
    """The docstrings of a module, a paragraph at a time, and its comments, a block of lines at a time."""
    text = path.read_text("utf-8")
    strings = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Expr)]
    docstrings = [str(string.value) for string in strings if isinstance(string, ast.Constant)]
    comments = [block.replace("# ", "") for block in re.findall(r"(?:^ *# .*\n)+", text, re.MULTILINE)]
    return [" ".join(part.split()) for string in [*docstrings, *comments] for part in string.split("\n\n")]


def sentences(path: Path) -> list[str]:
    """The sentences of a page or module; a run of names is one word, and so is a paragraph of the act."""
    found = []
    for part in remarks(path) if path.suffix == ".py" else paragraphs(path):
        names = LISTED.sub("x", part) if path.suffix == ".py" else part
        plain = CITED.sub("§", LINK.sub(r"\1", NAMES.sub("`x`", names)))
        found += SENTENCE.split(SHORTENED.sub(r"\1·", plain))
    return found


def words(sentence: str) -> int:
    """How many words a sentence has; signs alone are none."""
    return sum(bool(re.search(r"\w", word)) for word in sentence.split())


@cache
def tree() -> tuple[set[str], str]:
    """Every path of the repository with its folders, and the text of its program, rules and tests."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=REPO, capture_output=True, text=True, check=True)  # noqa: S603
    names = {name for name in listed.stdout.split("\0") if name and (REPO / name).exists()}
    text = [
        (REPO / name).read_text("utf-8")
        for name in sorted(names)
        if name.endswith((".py", ".sql", ".toml", ".csv", ".yaml", "Makefile"))
    ]
    return names | {str(parent) for name in names for parent in Path(name).parents}, "\n".join(text)


def stored(name: str) -> bool:
    """Whether a path, or a file name alone, is of the repository; `*` stands for anything."""
    paths, _ = tree()
    wanted = re.compile(r"(?:.*/)?" + re.escape(name.rstrip("/")).replace(r"\*", ".*") + r"(?:\.py)?")
    return any(wanted.fullmatch(path) for path in paths)


def resolved(dotted: str) -> bool:
    """Whether a dotted name is a module of the package, or something in one."""
    parts = dotted.removeprefix("refusion_assets.").split(".")
    for cut in range(len(parts), 0, -1):
        try:
            found = import_module(".".join(["refusion_assets", *parts[:cut]]))
        except ModuleNotFoundError:
            continue
        for part in parts[cut:]:
            found = getattr(found, part, None)
        return found is not None
    return False


def commanded(text: str) -> list[str]:
    """What a line that begins with `refusion` or `make` names and there is not."""
    program, _, rest = text.partition(" ")
    first = (rest.split() or [""])[0]
    if program == "make":
        return [] if re.search(rf"^{first}:", (REPO / "Makefile").read_text("utf-8"), re.MULTILINE) else [text]
    command = main.commands.get(first)
    if command is None:
        return [text]
    within = [command, *(command.commands.values() if isinstance(command, click.Group) else ())]
    options = {
        option
        for one in within
        for parameter in one.params
        if isinstance(parameter, click.Option)
        for option in parameter.opts
    }
    return [option for option in re.findall(r"--[a-z]+", rest) if option not in options]


def missing(token: str) -> bool:
    """Whether a text in code marks names a path, module, table, command or word that is not in the tree."""
    token = re.sub(r"^([A-Z]{2,3})_([0-9]{3})$", r"\1-\2", token)  # a check of a rule is named by its id
    if re.match(r"(\.venv/bin/)?(refusion|make) ", token):
        return bool(commanded(token.removeprefix(".venv/bin/")))
    if re.fullmatch(
        r"(refusion_assets|domain|assets|files|store|rulebook|runs|law_pages|example|tests|docs|rules|bench)/[\w./*-]*",
        token,
    ):
        return not stored(token)
    if re.fullmatch(r"[\w*-]+\.(py|toml|csv|md|sql|yaml|lock)", token):
        return not stored(token) and token not in {file for file, _ in TOPICS.values()}
    if re.fullmatch(r"[a-z_]\w*(\.\w+)+", token):
        return not (
            token in TABLES or f"VIEW {token} " in tree()[1] or resolved(token) or stored(f"{token.replace('.', '/')}")
        )
    if re.fullmatch(r"[A-Za-zÆØÅæøå][\w-]{2,}", token):
        return not (re.search(rf"\b{re.escape(token)}\b", tree()[1]) or hasattr(dg, token))
    return False


def test_the_readme_is_shorter_than_150_lines() -> None:
    assert (REPO / "README.md").read_text("utf-8").count("\n") < MOST_LINES_OF_THE_README


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: str(path.relative_to(REPO)))
def test_no_sentence_has_more_than_25_words(path: Path) -> None:
    assert [f"{words(text)}: {text}" for text in sentences(path) if words(text) > MOST_WORDS] == []


@pytest.mark.parametrize("path", ENGLISH, ids=lambda path: str(path.relative_to(REPO)))
def test_no_sentence_has_a_clause_as_its_subject(path: Path) -> None:
    assert [text for text in sentences(path) if SUBJECTS.match(text) and not text.rstrip("*").endswith("?")] == []


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: str(path.relative_to(REPO)))
def test_every_name_in_a_text_is_in_the_tree(path: Path) -> None:
    text = path.read_text("utf-8")
    links = [target.partition("#")[0] for _, target in LINK.findall(text) if not re.match("https?:|#", target)]
    tokens = re.findall(r"`([^`\n]+)`", FENCED.sub("", text))
    shown = [line.strip() for block in FENCED.findall(text) for line in block.splitlines()]
    lines = [line for line in shown if re.match(r"(\.venv/bin/)?(refusion|make) [a-z]", line)]
    assert [target for target in links if not (path.parent / target).exists()] == []
    assert [token for token in [*tokens, *lines] if missing(token)] == []
