"""Understands `rules/`: reads the law as data and refuses unreadable entries."""

import csv
import dataclasses
import difflib
import hashlib
import io
import json
import re
import tomllib
import types
import typing
from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from enum import Enum
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, Literal, TypeVar

from refusion_assets.domain.faelles import aftale, driftspris, udrulning
from refusion_assets.domain.faelles.aftale import Aftale, agreement_faults
from refusion_assets.domain.faelles.driftspris import Driftspris, price_faults
from refusion_assets.domain.faelles.udrulning import Planned, Udrulning, plan_faults, planned
from refusion_assets.domain.levering import FILE, KINDS, Afsender, Levering, Modtager, assembled, faults
from refusion_assets.domain.operations import opbevaring
from refusion_assets.domain.operations.opbevaring import Opbevaring, retention_faults
from refusion_assets.domain.refusion.fleksbidrag import rule_faults
from refusion_assets.domain.rules.change import EMNER
from refusion_assets.domain.rules.cited import Cited
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import Bilagsform
from refusion_assets.rulebook.improbable import prove_edits
from refusion_assets.rulebook.prove import RuleError, prove, said
from refusion_assets.rulebook.vouchers import voucher_faults

__all__ = [
    "DELIVERY",
    "ECONOMY",
    "RETENTION",
    "ROLLOUT",
    "TOPICS",
    "RuleError",
    "agreements",
    "delivery",
    "load",
    "prices",
    "prove_aside",
    "read_entries",
    "retention",
    "rollout",
]
T = TypeVar("T")
NOT_UTF8 = "er ikke skrevet i UTF-8; gem filen igen som UTF-8"
FORMS = (".toml", ".csv")
# Files in the folder of rules that are no part of their version.
ASIDE = (FILE, opbevaring.FILE, aftale.FILE, driftspris.FILE, udrulning.FILE)
# The forms of vouchers that come with the program; the rules may add others.
FORMS_OF_VOUCHERS = Path(__file__).with_name("bilagsformer.toml")
YEARS, MOST_DIGITS = (1900, 2100), 12
DIGITS, DAY = re.compile("-?[0-9]+"), re.compile("[0-9]{4}-[0-9]{2}-[0-9]{2}")
TOML_REASONS = (  # signs in the message of the TOML reader, and the fault in words
    (("Cannot overwrite", "Cannot declare", "Cannot mutate", "Duplicate"), "en nøgle eller overskrift står to gange"),
    (("Invalid date",), "en dato findes ikke; skriv ÅÅÅÅ-MM-DD"),
    (("Illegal character", "invalid character"), "et citationstegn lukkes ikke, eller linjeskiftene er forkerte"),
    (("after a statement",), "efter værdien står noget mere; en dato skrives 2026-07-01, et tal kun med cifre"),
    (("Unterminated", "end of document"), "et citationstegn eller en parentes bliver ikke lukket"),
    (("Invalid value",), "en værdi mangler, eller en tekst står uden almindelige citationstegn"),
    (("key part", "after a key", "Invalid statement"), "skriv nøgle = værdi, nøglen uden æ, ø, å, tal kun med cifre"),
    (("declaration",), "skriv overskriften som [[navn]]"),
    (("array", "inline table"), "et komma eller en parentes mangler, eller efter et tal står andet end cifre"),
)  # fmt: skip
MANGLED = re.compile("\ufffd|Ã[¦¸¥†˜…\x80-\x9f]")  # æ, ø and å read in a wrong encoding and saved again


class Form(Enum):
    """The form of a value: a type of TOML, text of a CSV file, or as an earlier run's rules have it."""

    TOML = "toml"
    CSV = "csv"
    KEPT = "kept"


def _value(text: Any, kind: Any, form: Form) -> Any:
    """One value as the declared type of its field; ValueError if unreadable."""
    origin, choices = typing.get_origin(kind), typing.get_args(kind)
    if origin in (types.UnionType, typing.Union):  # the second where one of the two is a Literal
        if text == "" and form is Form.TOML:
            raise ValueError("er tom; skriv en værdi, eller fjern nøglen")
        return None if text in ("", None) else _value(text, choices[0], form)
    if origin is Literal:
        chosen = _number(text, form) if isinstance(choices[0], int) else text
        if chosen not in choices:
            raise ValueError(f"er ikke en af {', '.join(map(str, choices))}")
        return chosen
    if origin is tuple:
        return _list(text, choices[0], form)
    if kind is bool and type(text) is not bool:
        raise ValueError("er ikke true eller false")
    readers = {date: _day, int: _number, str: _text, dict[str, str]: _texts}
    return readers[kind](text, form) if kind in readers else text


def _list(values: Any, kind: Any, form: Form) -> tuple[Any, ...]:
    """A list of texts, of words to choose from, or of entries within the entry; ValueError on an unreadable part."""
    if not isinstance(values, list):
        raise ValueError("er ikke en liste; skriv [ ] om den")  # noqa: TRY004  refused as the rest
    read, plain = [], not dataclasses.is_dataclass(kind)
    for number, part in enumerate(values, 1):
        try:
            read.append(_value(part, kind, form) if plain else _entry(kind, part, form))
        except ValueError as error:
            shown = f" = {said(part)}" if plain else ""
            raise ValueError(f"nr. {number}{shown}: {error}") from error
    return tuple(read)


def _texts(values: Any, form: Form) -> dict[str, str]:
    """Texts by name; ValueError on what is none."""
    if not isinstance(values, dict):
        raise ValueError('er ikke navne med værdier; skriv { navn = "værdi" }')  # noqa: TRY004  refused as the rest
    read = {}
    for name, value in values.items():
        try:
            read[name] = _text(value, form)
        except ValueError as error:
            raise ValueError(f"{name} = {said(value)}: {error}") from error
    return read


def _text(text: Any, form: Form) -> str:
    """A text without outer blanks and invisible signs; ValueError if it has any."""
    if type(text) is not str:
        raise ValueError("er ikke en tekst; skriv den i citationstegn")
    if form is Form.KEPT:
        return text
    if form is Form.CSV and "\n" in text:
        raise ValueError("har et linjeskift; skriv teksten på een linje")
    if text != text.strip():
        raise ValueError("begynder eller slutter med blanktegn; fjern dem")
    if not text.replace("\n", " ").isprintable():
        raise ValueError("har et usynligt tegn (et hårdt mellemrum, en tabulator eller lignende); skriv teksten igen")
    if MANGLED.search(text):
        raise ValueError("har ødelagte bogstaver; skriv æ, ø og å igen, og gem filen som UTF-8")
    return text


def _day(text: Any, form: Form) -> date:
    """A date of TOML, or a text like 2026-07-01 of a CSV file; ValueError if unreadable."""
    if form is Form.TOML and type(text) is str and DAY.fullmatch(text):
        raise ValueError("er skrevet som tekst; skriv datoen uden citationstegn")
    try:
        if type(text) is str and form is not Form.KEPT and not DAY.fullmatch(text):
            raise ValueError  # noqa: TRY301  one sentence for every text that is no date
        day = text if type(text) is date else date.fromisoformat(text)
    except (ValueError, TypeError):
        raise ValueError("er ikke en dato; skriv ÅÅÅÅ-MM-DD") from None
    if form is not Form.KEPT and not YEARS[0] <= day.year <= YEARS[1]:
        raise ValueError(f"ligger uden for årene {YEARS[0]} til {YEARS[1]}; ret årstallet")
    return day


def _number(text: Any, form: Form) -> int:
    """A whole number of TOML, or a text of digits of a CSV file; ValueError if unreadable."""
    if form is Form.TOML and type(text) is str and DIGITS.fullmatch(text):
        raise ValueError("er skrevet som tekst; skriv tallet uden citationstegn")
    if type(text) is str and DIGITS.fullmatch(text) and len(text) <= MOST_DIGITS:
        text = int(text)
    if type(text) is not int:
        raise ValueError("er ikke et helt tal; skriv kun cifrene 0 til 9")
    if abs(text) >= 10**MOST_DIGITS:
        raise ValueError("er for stort et tal; ret det")
    return text


def _entry(cls: type[T], record: dict[str, Any], form: Form) -> T:
    """One entry as `cls`; ValueError on unknown, missing or unreadable keys."""
    if not isinstance(record, dict):
        raise ValueError(f"{said(record)} er ikke en post; skriv nøgler med værdier")  # noqa: TRY004  refused as the rest
    if None in record:
        raise ValueError("linjen har flere felter end overskriften; fjern det ekstra semikolon")
    fields = {field.name: field for field in dataclasses.fields(cls)}  # type: ignore[arg-type]
    unknown = sorted(set(record) - set(fields))
    if unknown:
        raise ValueError(f"ukendt nøgle {', '.join(map(str, unknown))}; ret stavningen eller fjern den")
    if form is Form.CSV and None in record.values():
        raise ValueError("linjen har færre felter end overskriften; tilføj de semikoloner, der mangler")
    values = {}
    for name, field in fields.items():
        optional = field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
        if record.get(name, "") in ("", None) and not optional:
            raise ValueError(f"mangler {name}; skriv den i posten")
        if name in record:
            if record[name] == [] and field.default == ():
                raise ValueError(f"{name}: er en tom liste; skriv noget i den, eller fjern nøglen")
            try:
                values[name] = _value(record[name], field.type, form)
            except (ValueError, TypeError) as error:
                shown = "" if isinstance(record[name], (list, dict)) else f" = {said(record[name])}"
                raise ValueError(f"{name}{shown}: {error}") from error
    return cls(**values)


def _entries(cls: type[T], records: Sequence[dict[str, Any]], where: str, form: Form) -> tuple[T, ...]:
    built = []
    for number, record in enumerate(records, 1):
        try:
            built.append(_entry(cls, record, form))
        except ValueError as error:
            raise RuleError(f"{where}, post {number}{_named(cls, record)}: {error}") from error
    return tuple(built)


def _named(cls: type[T], record: Any) -> str:
    """The id of an agreement beside its number, as nobody counts entries; empty for others."""
    name = record.get("id") if cls is Aftale and isinstance(record, dict) else None
    return f" ({' '.join(name.split())})" if isinstance(name, str) and name.strip() else ""


def _files(folder: Path) -> list[Path]:
    """The files of rules in a folder, TOML before CSV; RuleError without such a folder.

    The file of delivery is none of them: a new address of a receiver is no new law (ADR 0031).
    """
    there = "sæt REFUSION_REGLER til mappen med reglerne, eller fjern den, så bruges rules/"
    try:
        paths = sorted(folder.iterdir())
    except FileNotFoundError:
        raise RuleError(f"{folder}: mappen med regler findes ikke; {there}") from None
    except NotADirectoryError:
        raise RuleError(f"{folder}: er en fil og ikke en mappe; {there}") from None
    except OSError:
        raise RuleError(f"{folder}: mappen må ikke læses; ret dens rettigheder, eller {there}") from None
    for path in paths:
        if path.suffix not in FORMS and path.suffix.lower() in FORMS:
            raise RuleError(f"{path.name}: endelsen er {path.suffix}; skriv den med små bogstaver")
    if not {path.name for path in paths} & (known := {file for file, _ in TOPICS.values()}):
        raise RuleError(f"{folder}: i mappen ligger ingen af reglernes filer ({', '.join(sorted(known))}); {there}")
    lawful = [path for path in paths if not path.name.startswith(".") and path.name not in ASIDE]
    return [path for form in FORMS for path in lawful if path.suffix == form]


def _written(path: Path) -> str:
    """The text of one file without byte order mark; RuleError if unreadable."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise RuleError(f"{path.name}: er et rør, en sokkel eller en enhed; flyt det ud af mappen med regler")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise RuleError(f"{path.name}: {NOT_UTF8}") from error
    except IsADirectoryError:
        raise RuleError(f"{path.name}: er en mappe og ikke en fil; flyt den ud af mappen med regler") from None
    except FileNotFoundError:
        raise RuleError(f"{path.name}: findes ikke dér, hvor henvisningen peger hen; læg filen selv i mappen") from None
    except OSError:
        raise RuleError(f"{path.name}: må ikke læses; ret filens rettigheder") from None


def _tables(path: Path) -> dict[str, Any]:
    """The tables of one TOML file; RuleError with the line if it is not TOML."""
    text = _written(path)
    try:
        return tomllib.loads(text.replace("\r\n", "\n"))
    except (ValueError, RecursionError) as error:
        line = re.search(r"line (\d+)", str(error))
        last = f", linje {len(text.splitlines())}" if "end of document" in str(error) else ""
        where = f"{path.name}, linje {line[1]}" if line else f"{path.name}{last}"
        reason = next(
            (why for signs, why in TOML_REASONS if any(sign in str(error) for sign in signs)),
            "se efter tegn, der ikke hører til",
        )
        raise RuleError(f"{where}: kan ikke læses som TOML; {reason}") from error


def read_entries(path: Path, topic: str, cls: type[T]) -> tuple[T, ...]:
    """The entries of a TOML file that holds one topic only; RuleError as for the rules, with file and entry."""
    tables = _tables(path)
    if unknown := sorted(set(tables) - {topic}):
        raise RuleError(f"{path.name}, {unknown[0]}: ukendt emne; skriv [[{topic}]]")
    return _of_topic(path, tables, topic, cls)


def _of_topic(path: Path, tables: dict[str, Any], topic: str, cls: type[T]) -> tuple[T, ...]:
    """The entries of one topic of a TOML file."""
    records = tables.get(topic, [])
    if not isinstance(records, list):
        raise RuleError(f"{path.name}, {topic}: er skrevet som een post; skriv [[{topic}]] med to klammer")
    return _entries(cls, records, f"{path.name}, {topic}", Form.TOML)


def delivery(folder: Path, rules: Rulebook) -> Levering:
    """The receivers of files and their ways, by `levering.toml` in the folder of rules; none without the file.

    RuleError with file and entry for what is wrong. It is no part of the rules' version.
    """
    path = folder / FILE
    tables = _tables(path) if path.exists() or path.is_symlink() else {}
    if unknown := sorted(set(tables) - set(DELIVERY)):
        raise RuleError(f"{FILE}, {unknown[0]}: ukendt emne; skriv [[afsender]] eller [[modtager]]")
    afsendere = _of_topic(path, tables, "afsender", Afsender)
    modtagere = _of_topic(path, tables, "modtager", Modtager)
    kinds = [*KINDS, *(form.id for form in rules.bilagsformer)]
    _refuse(faults(afsendere, modtagere, rules.koder, kinds))
    return assembled(afsendere, modtagere)


def _aside(path: Path, emne: str, kind: type[T]) -> tuple[T, ...]:
    """The entries of a file beside the rules; none without the file."""
    return read_entries(path, emne, kind) if path.exists() else ()


def _refuse(found: Iterator[str]) -> None:
    """RuleError with the first fault, if there is one."""
    if fault := next(found, None):
        raise RuleError(fault)


def retention(folder: Path) -> tuple[Opbevaring, ...]:
    """The years that each kind of data is kept, by `opbevaring.toml`; none without the file.

    RuleError with file and entry for what is wrong. It is no part of the rules' version.
    """
    entries = _aside(folder / opbevaring.FILE, opbevaring.EMNE, Opbevaring)
    _refuse(retention_faults(entries))
    return entries


def agreements(folder: Path, rules: Rulebook) -> tuple[Aftale, ...]:
    """The agreements on shared costs, by `deling.toml`; none without the file.

    RuleError with file and entry for what is wrong. It is no part of the rules' version.
    """
    entries = _aside(folder / aftale.FILE, aftale.EMNE, Aftale)
    _refuse(agreement_faults(entries, rules.kommuner))
    return entries


def prices(folder: Path) -> tuple[Driftspris, ...]:
    """The prices of operations in order of their first day, by `driftspris.toml`; none without the file.

    RuleError with file and entry for what is wrong. It is no part of the rules' version.
    """
    entries = _aside(folder / driftspris.FILE, driftspris.EMNE, Driftspris)
    _refuse(price_faults(entries))
    return tuple(sorted(entries, key=attrgetter("gaelder_fra")))


def rollout(folder: Path, rules: Rulebook) -> list[Planned]:
    """The places of all municipalities in the roll-out, by `udrulning.toml`; none without the file or an entry in it.

    RuleError with file and entry for what is wrong. It is no part of the rules' version.
    """
    entries = _aside(folder / udrulning.FILE, udrulning.EMNE, Udrulning)
    _refuse(plan_faults(entries, rules.koder, {kilde.id: kilde.art for kilde in rules.kilder}))
    return planned(entries[0], rules.koder) if entries else []


def prove_aside(folder: Path, rules: Rulebook) -> None:
    """RuleError if a file beside the rules, which is no part of their version, cannot stand."""
    delivery(folder, rules)
    retention(folder)
    agreements(folder, rules)
    prices(folder)
    rollout(folder, rules)


def _lines(path: Path) -> list[dict[str, Any]]:
    """The lines of one CSV file by its header; RuleError if it is not CSV with semicolons."""
    reader = csv.DictReader(io.StringIO(_written(path), newline=""), delimiter=";", strict=True)
    try:
        header = list(reader.fieldnames or ())
        _refuse_header(path, header)
        return list(reader)
    except csv.Error:
        raise RuleError(
            f"{path.name}, linje {reader.line_num}: kan ikke læses som CSV; se efter et citationstegn, der mangler"
        ) from None


def _refuse_header(path: Path, header: list[str]) -> None:
    """RuleError if the first line of a CSV file is not its column names, parted by semicolons."""
    wanted = [field.name for field in dataclasses.fields(TOPICS[path.stem][1])]
    wanted.sort(key=CITATION.__contains__)
    if header and header[0].lower().startswith("sep="):
        raise RuleError(f"{path.name}, linje 1: {said(header[0])} er en linje til regneark; fjern den")
    if len(header) == 1:
        signs = {",": "komma", "\t": "tabulator", "|": "lodret streg"}
        sign = next((name for sign, name in signs.items() if sign in header[0]), "noget andet")
        raise RuleError(f"{path.name}: felterne er skilt med {sign}; gem filen igen med semikolon (;) mellem felterne")
    if not set(header) & set(wanted) and (header or path.stat().st_size):
        raise RuleError(f"{path.name}, linje 1: er ikke overskriften; dér skal stå {';'.join(wanted)}")
    if "" in header:
        raise RuleError(f"{path.name}, linje 1: en kolonne i overskriften har intet navn; fjern det ekstra semikolon")
    for name in header:
        if header.count(name) > 1:
            raise RuleError(f"{path.name}: kolonnen {said(name)} står to gange i overskriften; behold den ene")


def _refuse_unknown(path: Path, topic: str) -> None:
    """RuleError on an unknown file or topic, with the name that looks most like it."""
    if topic in TOPICS and (path.suffix == ".toml" or f"{topic}.csv" == TOPICS[topic][0]):
        return
    files = {file: Path(file).stem for file, _ in TOPICS.values() if file.endswith(".csv")}
    choices = sorted(files) if path.suffix == ".csv" else sorted(set(TOPICS) - set(files.values()))
    name = path.name if path.suffix == ".csv" else topic
    near = difflib.get_close_matches(name.casefold(), choices, 1)
    meant = f"; var {near[0]} ment?" if near else ""
    if path.suffix == ".csv":
        raise RuleError(f"{path.name}: ukendt fil; de kendte er {', '.join(choices)}{meant}")
    raise RuleError(f"{path.name}, {topic}: ukendt emne; de kendte er {', '.join(choices)}{meant}")


def read_topics(folder: Path) -> dict[str, list[dict[str, Any]]]:
    """All records of the folder by topic (TOML table name, or name of a CSV file); RuleError on an unknown topic."""
    topics: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for path in _files(folder):
        if path.suffix == ".csv":
            _refuse_unknown(path, path.stem)
            topics[path.stem].extend(_lines(path))
            continue
        for topic, records in _tables(path).items():
            _refuse_unknown(path, topic)
            topics[topic].extend(records if isinstance(records, list) else [records])
    return dict(topics)


# The topics of the file of delivery.
DELIVERY = {"afsender": Afsender, "modtager": Modtager}
RETENTION = {opbevaring.EMNE: Opbevaring}
ECONOMY: dict[str, type] = {aftale.EMNE: Aftale, driftspris.EMNE: Driftspris}
ROLLOUT = {udrulning.EMNE: Udrulning}
TOPICS = {topic: (emne.fil, emne.post) for topic, emne in EMNER.items()}
CITATION = tuple(field.name for field in dataclasses.fields(Cited))


def _refuse_missing(folder: Path, file: str, topic: str) -> None:
    """RuleError on a topic without an entry: the file is missing, has another ending, or lacks the topic."""
    if (folder / file).exists():
        raise RuleError(f"{file}: emnet {topic} mangler; hver regelmappe har mindst een post")
    other = sorted(path.name for path in folder.iterdir() if path.name.startswith(Path(file).stem + "."))
    instead = f"gem {other[0]} som {file}" if other else "læg den i mappen"
    raise RuleError(f"{file}: filen findes ikke i {folder}, så emnet {topic} mangler; {instead}")


def _parts(topics: dict[str, list[dict[str, Any]]], folder: Path, *, kept: bool) -> dict[str, Any]:
    parts: dict[str, Any] = {}
    for topic, emne in EMNER.items():
        if not topics.get(topic) and not emne.optional:
            _refuse_missing(folder, emne.fil, topic)
        if emne.once and len(topics[topic]) != 1:
            raise RuleError(f"{emne.fil}, {topic}: skal stå præcis een gang")
        form = Form.KEPT if kept else Form.CSV if emne.fil.endswith(".csv") else Form.TOML
        entries: tuple[Any, ...] = _entries(emne.post, topics.get(topic, []), f"{emne.fil}, {topic}", form)
        ordered = tuple(sorted(entries, key=attrgetter(*emne.orden))) if emne.orden else entries
        parts[emne.felt] = entries[0] if emne.once else ordered
    parts["bilagsformer"] = read_entries(FORMS_OF_VOUCHERS, "bilagsform", Bilagsform) + parts["bilagsformer"]
    return parts


def load(folder: Path, today: date | None = None, *, kept: bool = False) -> Rulebook:
    """The rules of `folder`, proved whole: RuleError on gap, overlap, unknown key or missing citation.

    With `today`, no entry may have been checked later. `kept`: the rules of an earlier run, to which later refusals do
    not apply. Hjemmel: none, technical; the entries name their paragraphs.
    """
    topics = read_topics(folder)
    parts = _parts(topics, folder, kept=kept)
    canonical = json.dumps(topics, sort_keys=True, default=str, ensure_ascii=False)
    version = hashlib.sha256(canonical.encode()).hexdigest()
    rules = Rulebook(**parts, emner=topics, version=version)
    prove(rules)
    _refuse(chain(rule_faults(rules), voucher_faults(rules)))
    if not kept:
        prove_edits(rules, today)
    return rules
