"""Understands a law page: one file of the rules with its values, code, proof and doubts."""

import csv
import dataclasses
import json
import re
import tomllib
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import TypeAdapter
from pydantic.json_schema import JsonSchemaMode

from refusion_assets.domain.stop import Stop
from refusion_assets.figures import table
from refusion_assets.law_pages.markdown import Record, cited, entries, heading, side_by_side, source, value
from refusion_assets.law_pages.proof import SECOND, case_table, funktion, of_topic, proeve_link, reading_cases, users
from refusion_assets.law_pages.topics import PAGES, Emne, Emner, read_emner
from refusion_assets.place import REPOSITORY
from refusion_assets.rulebook.load import DELIVERY, ECONOMY, RETENTION, ROLLOUT, TOPICS, load

PAGE = "tests/data/laesninger.toml"
SCHEMA = "regler.json"
ASIDE_TOPICS = {
    "aftale": "Hvem der deler en udgift, og efter hvilken nøgle; ingen del af reglernes version.",
    "driftspris": "Prisen for driften, måned for måned; ingen del af reglernes version.",
    "udrulning": "Hvornår kommunerne går over på løsningen, i bølger; ingen del af reglernes version.",
}
LETTERS = {"K": "kontanthjælp", "D": "dagpenge", "U": "SU"}


@cache
def _templates() -> Environment:
    """The templates of the pages with their functions; an undefined name is an error."""
    made = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # noqa: S701  Markdown, and no text of a stranger
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=StrictUndefined,
    )
    made.filters |= {"value": value, "funktion": funktion, "reading": reading, "code": "`{}`".format}
    own = (case_table, cited, heading, proeve_link, source)
    made.globals |= {function.__name__: function for function in own}
    return made


def _rendered(template: str, **content: Any) -> str:
    """A rendered template, with at most one blank line in a row."""
    return re.sub(r"\n{3,}", "\n\n", _templates().get_template(template).render(content)).strip()


def _outcome(rows: Sequence[Record]) -> str:
    """The rows that follow from one value, as one cell."""
    lines = ["; ".join(f"{heading(name).lower()} {value(row[name])}" for name in row) for row in rows]
    return "<br>".join(lines) or "ingen rækker"


def reading(entry: Record) -> str:
    """The part of the page on one reading; Stop if no case shows the effect of its values."""
    name = entry["navn"]
    cases = [case for case in reading_cases() if case["laesning"] == name]
    if not cases:
        raise Stop(f"{PAGE}: læsningen {name} har intet eksempel; skriv et, hvor værdierne giver hver sit")

    def outcomes(case: Record) -> str:
        rows = [[f"`{choice}`", _outcome(case["ud"][choice])] for choice in entry["muligheder"]]
        return table(["Værdi", f"Rækker i kørsel {case['koersel']}"], rows)

    asking = users().get(("laesning", name), [])
    first, second = [by for by in asking if SECOND not in by], [by for by in asking if SECOND in by]
    own = {"first": first, "second": second, "outcomes": outcomes, "letters": LETTERS}
    return _rendered("laesning.md.j2", entry=entry, cases=cases, **own)


SURE = "set i lovteksten"
KEYS = ("id", "ydelse_id", "konto", "kommunekode", "navn")
NAMES = ("navn", "id", "hvad", "konto", "funktion")
MOST_NAMED = 8
SHOWN_BELOW = {"laesning": ("note", "kilde")}
MARK = "<!-- Lavet af `make regelsider`. Ret ikke her: ret reglerne, koden eller docs/regler/emner.toml. -->"
Topics = dict[str, list[Record]]


def topics_of(folder: Path, fil: str) -> Topics:
    """The entries of one file of the rules by topic, as written; none if the file may be missing."""
    path = folder / fil
    if not path.exists():
        return {}
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return {path.stem: list(csv.DictReader(file, delimiter=";"))}
    return tomllib.loads(path.read_text("utf-8"))


def _name(record: Record) -> str:
    return next((value(record[key]) for key in NAMES if record.get(key)), value(record.get("gaelder_fra")))


def _in_time(records: Sequence[Record]) -> list[Record]:
    """Entries of one name together, the earliest first; without names, in the order of the file."""
    key = next((key for key in KEYS if all(record.get(key) for record in records)), None)
    if key is None:
        return list(records)
    place: dict[str, int] = {}
    for record in records:
        place.setdefault(record[key], len(place))
    return sorted(records, key=lambda record: (place[record[key]], str(record.get("gaelder_fra", ""))))


def _list(content: object) -> list[object]:
    return content if isinstance(content, list) else []


def _values(topic: str, records: list[Record]) -> Iterator[str]:
    ordered = _in_time(records)
    names = [f.name for f in dataclasses.fields(TOPICS[topic][1]) if f.name not in SHOWN_BELOW.get(topic, ())]
    nested = [n for n in names if any(isinstance(part, dict) for r in ordered for part in _list(r.get(n)))]
    if topic == "graense":
        asked = {r["id"]: users().get(("graense", r["id"].partition(":")[0]), []) for r in ordered}
        ordered = [record | {"bruges_af": [f"`{by}`" for by in asked[record["id"]]]} for record in ordered]
        names.append("bruges_af")
    for inner in nested:
        for name in dict.fromkeys(map(_name, ordered)):
            same = [record for record in ordered if _name(record) == name and record.get(inner)]
            if same:
                yield f"**{name}**\n\n{side_by_side(same, inner)}"
    yield entries(ordered, [name for name in names if name not in nested])


def _doubts(emne: Emne, topics: Topics, readings: Sequence[Record]) -> Iterator[str]:
    """The doubts of a page: unsure and unverified entries, readings, and the page's own text."""
    for topic, records in topics.items():
        which = f"{heading(topic)}: " if len(topics) > 1 else ""
        groups: dict[str, list[str]] = {}
        for record in records:
            if record.get("sikkerhed", SURE) != SURE:
                groups.setdefault(record["sikkerhed"], []).append(_name(record))
        for said, names in groups.items():
            some = "; ".join(dict.fromkeys(names))
            who = f"{len(names)} af {len(records)} poster, se tabellen" if len(names) > MOST_NAMED else some
            yield f"{which}*{value(said)}*: {who}."
        unseen = [record for record in records if record.get("verificeret") is False]
        if unseen:
            what = ", ".join(f"{r['funktion']} {r['side']} {r['gruppering']}" for r in unseen)
            yield f"{which}{len(unseen)} poster er ikke verificeret (`verificeret = false`): {value(what)}."
    known = {record["navn"]: record for record in readings}
    for name in emne.laesninger:
        entry = known[name]
        yield f"Læsning [`{name}`](laesninger.md#{name}) (valgt: `{entry['vaerdi']}`): {value(entry['note'])}"
    yield from emne.tvivl


def page(emne: Emne, emner: Emner, folder: Path) -> str:
    """One law page as Markdown; Stop if it names something missing. Hjemmel: none, technical."""
    topics = topics_of(folder, emne.fil)
    text = _rendered(
        "side.md.j2",
        mark=MARK,
        emne=emne,
        topics=topics,
        values=_values,
        examples=of_topic(emne),
        tabeller=emner.tabeller,
        doubts=list(_doubts(emne, topics, topics_of(folder, "laesninger.toml")["laesning"])),
        left_out=topics_of(folder, "ikke_modelleret.toml")["ikke_modelleret"],
    )
    return f"{text}\n"


GUIDES = REPOSITORY / "docs" / "vejledning"


def front(emner: Emner) -> str:
    """The front page: from question to page to guide, and every page with its paragraphs."""
    ways = []
    for vej in emner.veje:
        if vej.vejledning and not (GUIDES / vej.vejledning).exists():
            raise Stop(f"docs/regler/emner.toml: vejledningen {vej.vejledning} findes ikke i docs/vejledning")
        guide = f"[vejledning](../vejledning/{vej.vejledning})"
        emne = next((emne for emne in emner.sider if emne.side == vej.side), None)
        if emne is None:
            raise Stop(f"docs/regler/emner.toml, vej: siden {vej.side} findes ikke")
        ways.append([vej.spoergsmaal, f"[{emne.titel}]({emne.side}.md)", f"`rules/{emne.fil}`", guide])
    pages = [[f"[{emne.titel}]({emne.side}.md)", "; ".join(emne.paragraffer) or "teknisk"] for emne in emner.sider]
    return (
        "\n\n".join(
            [
                MARK,
                emner.forside.format(
                    veje=table(["Jeg vil", "Læs siden", "Ret filen", "Følg"], ways),
                    sider=table(["Side", "Paragraffer"], pages),
                ),
            ]
        )
        + "\n"
    )


def pages(folder: Path) -> dict[str, str]:
    """Every law page by file name, from the rules of `folder`; the same bytes for the same rules, code and tests.

    Stop if a file of the rules has no page, or a page names something missing. Hjemmel: none, technical.
    """
    load(folder)
    emner = read_emner()
    for fil in dict.fromkeys(file for file, _ in TOPICS.values()):
        emner.of_file(fil)
    made = {f"{emne.side}.md": page(emne, emner, folder) for emne in emner.sider}
    return {"README.md": front(emner)} | made


def write(folder: Path, target: Path = PAGES) -> list[str]:
    """Write the law pages of the rules of `folder` to `target` and delete others there; the names of the files."""
    made = pages(folder)
    target.mkdir(parents=True, exist_ok=True)
    for stale in sorted(path for path in target.glob("*.md") if path.name not in made):
        stale.unlink()
    for name, text in made.items():
        (target / name).write_text(text, encoding="utf-8")
    return sorted(made)


def schema() -> str:
    """The JSON schema of every TOML file of the rules, by which an editor completes and checks entries.

    It allows any topic in any file, as `load` does; only `load` proves conditions across entries.
    Hjemmel: none, technical.
    """
    kinds = {topic: kind for topic, (file, kind) in TOPICS.items() if file.endswith(".toml")}
    kinds |= DELIVERY | RETENTION | ECONOMY | ROLLOUT
    asked: list[tuple[str, JsonSchemaMode, TypeAdapter[Any]]] = [
        (topic, "validation", TypeAdapter(kind)) for topic, kind in kinds.items()
    ]
    entry, forms = TypeAdapter.json_schemas(asked)
    emner = read_emner()
    for form in forms["$defs"].values():
        form["additionalProperties"] = False
        form.pop("description", None)  # the docstring is English
        for name, field in form["properties"].items():
            field["title"] = heading(name)
            if "anyOf" in field:  # an optional number; TOML has no null
                field.update(field.pop("anyOf")[0])
                del field["default"]
            elif name in form.get("required", ()) and field.get("type") == "string":
                field["minLength"] = 1
    topics = {
        topic: {
            "type": "array",
            "description": " ".join(emner.of_file(TOPICS[topic][0]).regulerer.split())
            if topic in TOPICS
            else ASIDE_TOPICS.get(
                topic, "Hvem der får filerne fra en kørsel, og hvordan; ingen del af reglernes version."
            ),
            "items": entry[topic, "validation"],
        }
        for topic in kinds
    }
    head = {"$schema": "http://json-schema.org/draft-07/schema#", "title": "Reglernes TOML-filer", "type": "object"}
    whole = {**head, "additionalProperties": False, "properties": topics, **forms}
    return json.dumps(whole, ensure_ascii=False, indent=2) + "\n"


def write_schema(target: Path) -> Path:
    """Write the schema of the rules to a folder; the path of the file."""
    target.mkdir(parents=True, exist_ok=True)
    (target / SCHEMA).write_text(schema(), encoding="utf-8")
    return target / SCHEMA
