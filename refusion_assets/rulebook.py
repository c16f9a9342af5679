"""Understands `rules/`: reads the law as data and refuses what a lawyer would refuse."""

import csv
import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from datetime import date
from pathlib import Path
from string import Formatter
from typing import Any, Literal, TypeVar

from refusion_assets.domain.fleksbidrag import rule_faults
from refusion_assets.domain.fund import GRAENSER, PLADSHOLDERE, REGLER
from refusion_assets.domain.rules import (
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
    Trappe,
    Ydelse,
)
from refusion_assets.domain.rules_fleks import Fleksbidrag

T = TypeVar("T")


class RuleError(ValueError):
    """A rule that cannot stand; the text names file, entry and what to do, in Danish."""


def _value(text: Any, kind: Any) -> Any:
    """One value read as the type its field declares; ValueError where it cannot be."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin is types.UnionType:
        return None if text in ("", None) else _value(text, choices[0])
    if origin is Literal:
        chosen = int(text) if isinstance(choices[0], int) else text
        if chosen not in choices:
            raise ValueError(f"er ikke en af {', '.join(map(str, choices))}")
        return chosen
    if origin is tuple:
        inner = choices[0]
        return tuple(_entry(inner, part) if isinstance(inner, type) and inner is not str else part for part in text)
    if kind is date and not isinstance(text, str):
        if type(text) is not date:
            raise ValueError("er ikke en dato; skriv ÅÅÅÅ-MM-DD")
        return text
    if kind is int and type(text) not in (int, str):
        raise ValueError("er ikke et helt tal")
    if kind is bool and type(text) is not bool:
        raise ValueError("er ikke true eller false")
    return date.fromisoformat(text) if kind is date else kind(text)


def _entry(cls: type[T], record: dict[str, Any]) -> T:
    """One entry as `cls`; ValueError on unknown, missing or unreadable keys."""
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


def _read(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All records of the folder by topic: a TOML table name or the name of a CSV file."""
    topics: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in sorted(folder.glob("*.toml")):
        try:
            tables = tomllib.loads(path.read_text("utf-8"))
        except tomllib.TOMLDecodeError as error:
            raise RuleError(f"{path.name}: kan ikke læses som TOML: {error}") from error
        for topic, records in tables.items():
            topics[topic].extend(records if isinstance(records, list) else [records])
    for path in sorted(folder.glob("*.csv")):
        with path.open(encoding="utf-8", newline="") as file:
            topics[path.stem].extend(csv.DictReader(file, delimiter=";"))
    return dict(topics)


LAESNINGER = {"uge_beroert", "foerste_uge", "genoptjening_proeves", "fordeling", "beloebsgrundlag",
    "finansieringskommune_refusion", "bopael_paa"}  # fmt: skip
BELOEBSFELTER = ("0014", "0037", "0038", "0046", "0048")
TOPICS: dict[str, tuple[str, type]] = {
    "ydelser": ("ydelser.csv", Ydelse),
    "konti": ("konti.csv", Konto),
    "kommuner": ("kommuner.csv", Kommune),
    "kilde": ("kilder.toml", Kilde),
    "trappe": ("trapper.toml", Trappe),
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
}


def load(folder: Path) -> Rulebook:
    """The rules of `folder`, proved whole: RuleError on gap, overlap, unknown key or missing citation.

    Hjemmel: none, technical; the paragraphs stand on the entries.
    """
    topics = _read(folder)
    for topic in sorted(set(topics) - set(TOPICS)):
        raise RuleError(f"{topic}: ukendt emne; de kendte er {', '.join(sorted(TOPICS))}")
    parts: dict[str, tuple[Any, ...]] = {}
    for topic, (file, cls) in TOPICS.items():
        if not topics.get(topic) and topic != "fleksbidrag":
            raise RuleError(f"{file}: emnet {topic} mangler; hver regelmappe har mindst een post")
        parts[topic] = _entries(cls, topics.get(topic, []), f"{file}, {topic}")
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
        fleksbidrag=tuple(sorted(parts["fleksbidrag"], key=lambda f: f.gaelder_fra)),
        version=hashlib.sha256(canonical.encode()).hexdigest(),
    )
    _prove(rules, parts)
    if fault := next(rule_faults(rules), None):
        raise RuleError(fault)
    return rules


def _unique(items: Iterable[Any], key: Callable[[Any], Any], where: str) -> None:
    """RuleError where two entries answer to the same key: one date, two rules."""
    seen = set()
    for item in items:
        if key(item) in seen:
            raise RuleError(f"{where}: {key(item)} står to gange; behold een post")
        seen.add(key(item))


def _prove_staircases(rules: Rulebook) -> None:
    """Every staircase begins at week 1, rises, stays within 100 and covers the weeks it is used for."""
    for trappe in rules.trapper:
        where = f"trapper.toml, trappe {trappe.id} fra {trappe.gaelder_fra}"
        weeks = [trin.fra_uge for trin in trappe.trin]
        if not weeks or weeks[0] != 1:
            raise RuleError(f"{where}: første trin skal have fra_uge = 1")
        if weeks != sorted(set(weeks)):
            raise RuleError(f"{where}: fra_uge skal stige fra trin til trin; ret rækkefølgen")
        for trin in trappe.trin:
            if not 0 <= trin.procent <= 100:
                raise RuleError(f"{where}: procent {trin.procent} ligger ikke mellem 0 og 100")
    first = {t.id: t.gaelder_fra for t in reversed(rules.trapper)}
    last = rules.overgang.gaelder_fra
    for name, begins in first.items():
        if begins > last and name in {y.trappe for y in rules.ydelser} & {"refusion", "medfinansiering"}:
            raise RuleError(
                f"trapper.toml, trappe {name}: hul før {begins}; den første skal gælde fra {last} eller før"
            )


def _prove_rate(ydelse: Ydelse, where: str) -> None:
    """The rate is one we can read, within 100, and fits the side."""
    kind, _, number = ydelse.sats.partition(" ")
    if kind not in ("", "trappe", "fast") or (kind == "fast" and not number.isdigit()):
        raise RuleError(f"{where}: sats = {ydelse.sats!r}; skriv trappe, trappe NAVN, fast NN eller intet")
    if ydelse.fast_procent is not None and ydelse.fast_procent > 100:
        raise RuleError(f"{where}: fast {ydelse.fast_procent} er over 100 procent")
    if (ydelse.side == "ingen") != (ydelse.sats == ""):
        raise RuleError(f"{where}: side {ydelse.side} og sats {ydelse.sats!r} passer ikke sammen")
    if ydelse.side != "ingen" and ydelse.finansieres_fra is None:
        raise RuleError(f"{where}: mangler finansieres_fra; skriv den første dag, der afregnes")


def _prove_benefits(rules: Rulebook) -> None:
    """Every benefit has a rate its side can carry, on a staircase that exists when its money begins."""
    first = {t.id: t.gaelder_fra for t in reversed(rules.trapper)}
    for ydelse in rules.ydelser:
        where = f"ydelser.csv, ydelse {ydelse.ydelse_id} fra {ydelse.gaelder_fra}"
        _prove_rate(ydelse, where)
        if ydelse.trappe is not None:
            if ydelse.kategori != "A":
                raise RuleError(f"{where}: en ydelse på en trappe skal have kategori A")
            if ydelse.trappe not in first:
                raise RuleError(f"{where}: trappe {ydelse.trappe} findes ikke i trapper.toml")
            begins = max(ydelse.gaelder_fra, ydelse.finansieres_fra or date.max, rules.overgang.gaelder_fra)
            if first[ydelse.trappe] > begins:
                raise RuleError(f"{where}: hul; trappe {ydelse.trappe} begynder først {first[ydelse.trappe]}")
        for felt in ydelse.felter:
            if felt not in BELOEBSFELTER:
                raise RuleError(f"{where}: beloebsfelt {felt} findes ikke; vælg blandt {', '.join(BELOEBSFELTER)}")


def _places(text: str) -> set[str]:
    """The names of the places that a text wants filled."""
    return {name for _, name, _, _ in Formatter().parse(text) if name is not None}


def _prove_controls(rules: Rulebook) -> None:
    """Every rule id that a run can raise has its entry, and every text says only what a finding knows."""
    known = {kontrol.id for kontrol in rules.kontroller}
    for regel in sorted(REGLER - known):
        raise RuleError(f"kontrol.toml: {regel} mangler; hver regel har en post, så intet fund bliver uden tekst")
    for kontrol in rules.kontroller:
        for part in sorted((_places(kontrol.tekst) | _places(kontrol.handling)) - PLADSHOLDERE):
            choices = ", ".join(sorted(PLADSHOLDERE))
            raise RuleError(f"kontrol.toml, {kontrol.id}: {{{part}}} kendes ikke; vælg blandt {choices}")
    for needed in sorted(GRAENSER - {graense.id for graense in rules.graenser}):
        raise RuleError(f"drift.toml eller kontrol.toml, graense: {needed} mangler; skriv den i en af dem")


def _prove_postings(rules: Rulebook) -> None:
    """Every benefit's money finds an account, and there is one account to balance against."""
    for side in ("refusion", "medfinansiering"):
        if not any(k.side == side and k.funktion == "*" and k.procent is None for k in rules.konteringer):
            raise RuleError(f'kontering.toml: side {side} mangler en post med funktion = "*" uden procent')
    if sum(k.side == "mellemregning" for k in rules.konteringer) != 1:
        raise RuleError("kontering.toml: side mellemregning skal stå præcis een gang")
    for kontering in rules.konteringer:
        where = f"kontering.toml, {kontering.funktion} {kontering.side}"
        if not 0 <= (kontering.procent or 0) <= 100:
            raise RuleError(f"{where}: procent {kontering.procent} er ikke mellem 0 og 100")
        if _places(kontering.gruppering) - {"procent"}:
            raise RuleError(f"{where}: gruppering {kontering.gruppering} må kun have pladsen {{procent}}")


def _prove(rules: Rulebook, parts: dict[str, tuple[Any, ...]]) -> None:
    """RuleError on the first gap, overlap or reference to something that is not there."""
    for topic in ("optaelling", "overgang", "koersel"):
        if len(parts[topic]) != 1:
            raise RuleError(f"{TOPICS[topic][0]}, {topic}: skal stå præcis een gang")
    _unique(rules.ydelser, lambda y: (y.ydelse_id, str(y.gaelder_fra)), "ydelser.csv")
    _unique(rules.konti, lambda k: k.konto, "konti.csv")
    _unique(rules.kommuner, lambda k: k.kommunekode, "kommuner.csv")
    _unique(rules.trapper, lambda t: (t.id, str(t.gaelder_fra)), "trapper.toml")
    _unique(rules.genoptjening, lambda g: str(g.gaelder_fra), "optaelling.toml, genoptjening")
    _unique(rules.kilder, lambda k: k.id, "kilder.toml")
    _unique(rules.laesninger, lambda r: r.navn, "laesninger.toml")
    _unique(rules.graenser, lambda g: g.id, "graense")
    _unique(rules.kontroller, lambda k: k.id, "kontrol.toml")
    _unique(rules.konteringer, lambda k: (k.ydelse_id, k.funktion, k.side, k.procent), "kontering.toml")
    known = {y.ydelse_id for y in rules.ydelser}
    for konto in rules.konti:
        if konto.ydelse_id not in known:
            raise RuleError(f"konti.csv, konto {konto.konto}: ydelse {konto.ydelse_id} findes ikke i ydelser.csv")
        if konto.kilde_id not in {k.id for k in rules.kilder}:
            raise RuleError(f"konti.csv, konto {konto.konto}: kilde {konto.kilde_id} findes ikke i kilder.toml")
    for needed in sorted(LAESNINGER - {reading.navn for reading in rules.laesninger}):
        raise RuleError(f"laesninger.toml: {needed} mangler; en læsning vælges altid")
    for reading in rules.laesninger:
        if reading.vaerdi not in reading.muligheder:
            raise RuleError(f"laesninger.toml, {reading.navn}: {reading.vaerdi} er ikke en af {reading.muligheder}")
    if rules.genoptjening[0].gaelder_fra > rules.optaelling.gaelder_fra:
        raise RuleError("optaelling.toml, genoptjening: hul før den første post; den skal gælde fra optællingens dato")
    _prove_staircases(rules)
    _prove_benefits(rules)
    _prove_controls(rules)
    _prove_postings(rules)
