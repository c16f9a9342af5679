"""Understands `rules/`: reads the law as data and refuses what a lawyer would refuse."""

import csv
import dataclasses
import hashlib
import json
import re
import tomllib
import types
import typing
from collections import defaultdict
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any, Literal, TypeVar

from refusion_assets.domain.fleksbidrag import rule_faults
from refusion_assets.domain.rules import (
    Foraeldelse,
    Genoptjening,
    Graense,
    IkkeModelleret,
    Kilde,
    Koersel,
    Kommune,
    Kontering,
    Konto,
    Kontrol,
    Laesning,
    Rulebook,
    Skaering,
    Tilbagevirkning,
    Trappe,
    Ydelse,
)
from refusion_assets.domain.rules_egne import Loft, Taeller
from refusion_assets.domain.rules_fleks import Fleksbidrag
from refusion_assets.rulebook_proof import RuleError, prove

__all__ = ["TOPICS", "RuleError", "load"]
T = TypeVar("T")
NOT_UTF8 = "er ikke skrevet i UTF-8; gem filen igen som UTF-8"


def _value(text: Any, kind: Any) -> Any:
    """One value read as the type its field declares; ValueError where it cannot be."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if text in ("", None) else _value(text, choices[0])
    if origin is Literal:
        chosen = _number(text) if isinstance(choices[0], int) else text
        if chosen not in choices:
            raise ValueError(f"er ikke en af {', '.join(map(str, choices))}")
        return chosen
    if origin is tuple:
        if not isinstance(text, list):
            raise ValueError("er ikke en liste; skriv [ ] om den")
        inner = choices[0]
        return tuple(_entry(inner, part) if isinstance(inner, type) and inner is not str else part for part in text)
    if kind is date:
        return _day(text)
    if kind is int:
        return _number(text)
    if kind is bool and type(text) is not bool:
        raise ValueError("er ikke true eller false")
    if kind is str and type(text) is not str:
        raise ValueError("er ikke en tekst; skriv den i citationstegn")
    return text


def _day(text: Any) -> date:
    """A date of TOML or a text like 2026-07-01."""
    try:
        return text if type(text) is date else date.fromisoformat(text)
    except (ValueError, TypeError):
        raise ValueError("er ikke en dato; skriv ÅÅÅÅ-MM-DD") from None


def _number(text: Any) -> int:
    """A whole number of TOML or a text of digits."""
    if type(text) is int:
        return text
    if type(text) is not str or not text.removeprefix("-").isdecimal():
        raise ValueError("er ikke et helt tal")
    return int(text)


def _entry(cls: type[T], record: dict[str, Any]) -> T:
    """One entry as `cls`; ValueError on unknown, missing or unreadable keys."""
    if not isinstance(record, dict):
        raise ValueError(f"{record!r} er ikke en post; skriv nøgler med værdier")  # noqa: TRY004  refused as the rest
    if None in record:
        raise ValueError("linjen har flere felter end overskriften; fjern det ekstra semikolon")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(record) - set(fields))
    if unknown:
        raise ValueError(f"ukendt nøgle {', '.join(map(str, unknown))}; ret stavningen eller fjern den")
    values = {}
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING
        if record.get(name, "") in ("", None) and not optional:
            raise ValueError(f"mangler {name}; skriv den i posten")
        if name in record:
            try:
                values[name] = _value(record[name], field.type)
            except (ValueError, TypeError) as error:
                raise ValueError(f"{name} = {record[name]!r}: {error}") from error
    return cls(**values)


def _entries(cls: type[T], records: Sequence[dict[str, Any]], where: str) -> tuple[T, ...]:
    """All entries of one topic; RuleError names file and entry."""
    built = []
    for number, record in enumerate(records, 1):
        try:
            built.append(_entry(cls, record))
        except ValueError as error:
            raise RuleError(f"{where}, post {number}: {error}") from error
    return tuple(built)


def read_topics(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All records of the folder by topic: a TOML table name or the name of a CSV file."""
    topics: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text("utf-8"))
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"line (\d+)", str(error))
            where = f"{path.name}, linje {line[1]}" if line else path.name
            raise RuleError(
                f"{where}: kan ikke læses som TOML; se efter en nøgle, der står to gange, et manglende citationstegn "
                "eller en dato, der ikke findes"
            ) from error
        except UnicodeDecodeError as error:
            raise RuleError(f"{path.name}: {NOT_UTF8}") from error
        for topic, records in tables.items():
            topics[topic].extend(records if isinstance(records, list) else [records])
    for path in sorted(folder.glob("*.csv")):
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                topics[path.stem].extend(csv.DictReader(file, delimiter=";"))
        except UnicodeDecodeError as error:
            raise RuleError(f"{path.name}: {NOT_UTF8}") from error
    return dict(topics)


TOPICS: dict[str, tuple[str, type]] = {
    "ydelser": ("ydelser.csv", Ydelse),
    "konti": ("konti.csv", Konto),
    "kommuner": ("kommuner.csv", Kommune),
    "kilde": ("kilder.toml", Kilde),
    "trappe": ("trapper.toml", Trappe),
    "taeller": ("taellere.toml", Taeller),
    "loft": ("lofter.toml", Loft),
    "optaelling": ("optaelling.toml", Skaering),
    "overgang": ("optaelling.toml", Skaering),
    "genoptjening": ("optaelling.toml", Genoptjening),
    "laesning": ("laesninger.toml", Laesning),
    "koersel": ("drift.toml", Koersel),
    "graense": ("drift.toml", Graense),
    "kontrol": ("kontrol.toml", Kontrol),
    "kontering": ("kontering.toml", Kontering),
    "ikke_modelleret": ("ikke_modelleret.toml", IkkeModelleret),
    "fleksbidrag": ("fleksbidrag.toml", Fleksbidrag),
    "tilbagevirkning": ("tilbagevirkning.toml", Tilbagevirkning),
    "foraeldelse": ("foraeldelse.toml", Foraeldelse),
}
OPTIONAL = ("taeller", "loft", "fleksbidrag", "tilbagevirkning", "foraeldelse")
ONCE = ("optaelling", "overgang", "koersel")


def _parts(topics: dict[str, list[dict[str, Any]]]) -> dict[str, tuple[Any, ...]]:
    """The entries of each topic; RuleError on a topic that is unknown, missing, or said more often than once."""
    for topic in sorted(set(topics) - set(TOPICS)):
        raise RuleError(f"{topic}: ukendt emne; de kendte er {', '.join(sorted(TOPICS))}")
    parts: dict[str, tuple[Any, ...]] = {}
    for topic, (file, cls) in TOPICS.items():
        if not topics.get(topic) and topic not in OPTIONAL:
            raise RuleError(f"{file}: emnet {topic} mangler; hver regelmappe har mindst een post")
        if topic in ONCE and len(topics[topic]) != 1:
            raise RuleError(f"{file}, {topic}: skal stå præcis een gang")
        parts[topic] = _entries(cls, topics.get(topic, []), f"{file}, {topic}")
    return parts


def load(folder: Path) -> Rulebook:
    """The rules of `folder`, proved whole: RuleError on gap, overlap, unknown key or missing citation.

    Hjemmel: none, technical; the paragraphs stand on the entries.
    """
    topics = read_topics(folder)
    parts = _parts(topics)
    canonical = json.dumps(topics, sort_keys=True, default=str, ensure_ascii=False)
    rules = Rulebook(
        ydelser=tuple(sorted(parts["ydelser"], key=lambda y: (y.ydelse_id, y.gaelder_fra))),
        konti=parts["konti"],
        kilder=parts["kilde"],
        trapper=tuple(sorted(parts["trappe"], key=lambda t: (t.id, t.gaelder_fra))),
        optaelling=parts["optaelling"][0],
        overgang=parts["overgang"][0],
        genoptjening=tuple(sorted(parts["genoptjening"], key=lambda g: g.gaelder_fra)),
        laesninger=parts["laesning"],
        koersel=parts["koersel"][0],
        graenser=parts["graense"],
        kontroller=tuple(sorted(parts["kontrol"], key=lambda k: k.id)),
        konteringer=parts["kontering"],
        ikke_modelleret=parts["ikke_modelleret"],
        kommuner=parts["kommuner"],
        taellere=tuple(sorted(parts["taeller"], key=lambda t: t.id)),
        lofter=tuple(sorted(parts["loft"], key=lambda m: (m.id, m.gaelder_fra))),
        fleksbidrag=tuple(sorted(parts["fleksbidrag"], key=lambda f: f.gaelder_fra)),
        tilbagevirkninger=parts["tilbagevirkning"],
        foraeldelse=tuple(sorted(parts["foraeldelse"], key=lambda e: e.gaelder_fra)),
        emner=topics,
        version=hashlib.sha256(canonical.encode()).hexdigest(),
    )
    prove(rules)
    if fault := next(rule_faults(rules), None):
        raise RuleError(fault)
    return rules
