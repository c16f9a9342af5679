"""Inspects what the runs left: raw files, ledger, outgoing files, rules, look-ups, published state. Only reads."""

import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import date
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

from refusion_assets.assets.checks.closed import closed_runs, other_sums
from refusion_assets.assets.gate import LUKKET, OPGJORT, deleted
from refusion_assets.assets.outgoing import filer_er_kladden
from refusion_assets.domain.opgoerelse.chain import SAID, broken
from refusion_assets.domain.opgoerelse.ledger import run_day
from refusion_assets.domain.opgoerelse.voucher import wished
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.files.delivered import fingerprint_if_there, manifest_of, month_named
from refusion_assets.files.outgoing import SUMS, Outgoing, departures, parted, said_of
from refusion_assets.look_up import trace
from refusion_assets.place import Place, at_work_now, kept, too_open
from refusion_assets.rulebook.load import load
from refusion_assets.runs.retention import deleted_files
from refusion_assets.store.publish import LOCK as PUBLISHING
from refusion_assets.store.session import Locked, Session
from refusion_assets.store.state import ANALYSTS, BEFORE, READING, STATE, State, views_are_of

T = TypeVar("T")
# The raw files that run `month` was the first to know, and whether a later run knew another file by the name. Where a
# reload let the file pass as changed or gone (`genlaest`), the hash is the one that it read, or null.
KNOWN = """
SELECT k.sti, k.maaned < max(k.maaned) OVER (PARTITION BY k.sti) AS senere,
    a.genstand IS NOT NULL AND k.sha256 IS DISTINCT FROM l.sha256 AS genlaest,
    if(genlaest, l.sha256, k.sha256) AS sha256
FROM opgoerelse.kendt_fil k LEFT JOIN raw.laest l USING (sti)
LEFT JOIN (SELECT DISTINCT genstand FROM kontrol.accept WHERE regel = 'FIL-008') a ON a.genstand = parse_filename(k.sti)
QUALIFY k.maaned = $month AND k.sha256 IS NOT NULL ORDER BY k.sti"""
LEDGERS = """
SELECT koersel, count(*), sum(refusion_oere) FROM opgoerelse.postering
WHERE koersel IN (SELECT unnest($closed::BIGINT[])) GROUP BY 1 ORDER BY 1"""
OF_RUNS = ("opgoerelse.koersel", "opgoerelse.kaede")
MADE_AGAIN = "den næste udgivelse laver den igen"
MOVED_AWAY = "flyt den væk, så laver den næste udgivelse den igen"


@dataclass
class Report:
    """What was found of one month, or of what belongs to none (`maaned` empty): faults by name, and what is whole."""

    maaned: str
    status: str
    fejl: list[str] = field(default_factory=list)
    hele: dict[str, int | str] = field(default_factory=dict)
    bemaerk: list[str] = field(default_factory=list)

    def lines(self) -> Iterator[str]:
        """One line; one more for each further fault and each remark."""
        name = self.maaned or "Fælles "
        state = "" if self.status == LUKKET or not self.status else f"{self.status}, "
        if self.fejl:
            yield f"{name}  {state}{len(self.fejl)} FEJL: {self.fejl[0]}"
            yield from (f"         {fault}" for fault in self.fejl[1:])
        else:
            whole = ", ".join(str(v) if isinstance(v, str) else f"{v} {k}" for k, v in self.hele.items())
            yield f"{name}  {state}i orden: {whole or 'intet'}"
        yield from (f"         Bemærk: {line}" for line in self.bemaerk)


def inspect(place: Place, months: Sequence[date], hoved: str = "") -> Iterator[Report]:
    """A report per run month in order, of `months` or of all; then one of what belongs to no month.

    `hoved`: a head of the chain that somebody has written down; it must be in the chain. Stop if there is nothing to
    inspect. Source: ADR 0036.
    """
    seen = _Inspection(place)
    runs = {row["maaned"]: row for row in seen.runs}
    folders = {month for month in (month_named(path.name) for path in place.outgoing.glob("*")) if month}
    every = sorted({*runs, *folders, *(link["maaned"] for link in seen.chain)})
    if unknown := [month for month in months if month not in every]:
        raise Stop(f"der er ingen kørsel {unknown[0]:%Y-%m} at efterse")
    asked = [month for month in every if month in months or not months]
    chain = seen.chain_faults(set(asked))
    for month in asked:
        yield seen.month(month, runs.get(month), chain.get(month, []))
    yield seen.common(hoved)


@contextmanager
def _session(place: Place) -> Iterator[Session]:
    """The live warehouse, only read; the published copy while a run has it open. Tables that are missing are empty."""
    try:
        with place.warehouse.watching() as session:
            session.fill_in()
            yield session
    except Locked:
        with place.warehouse.reading() as session:
            session.fill_in()
            yield session


def _known(session: Session) -> tuple[Any, Any, dict[int, tuple[int, str]], dict[date, date]]:
    """The runs, the links of the chain, the heads of the log by run, and the day that a month's files were deleted."""
    runs, chain = (session.frame(f"FROM {table} ORDER BY 1").rows(named=True) for table in OF_RUNS)
    heads = session.frame("SELECT koersel, linjer, hoved FROM opgoerelse.opslagshoved ORDER BY 1").rows()
    return runs, chain, {row[0]: row[1:] for row in heads}, deleted_files(session)


class _Inspection:
    """One inspection of a place. Each large question has a session of its own, so that no run waits long for it."""

    def __init__(self, place: Place) -> None:
        if not place.warehouse.path.exists():
            raise Stop(f"der er intet lager i {place.root}; er REFUSION_DATA rigtig?")
        self.place = place
        self.rules: dict[str, str] = {}
        # They are as many as there are runs, so one session answers all of these.
        self.runs, self.chain, self.heads, self.deleted = self._ask(_known)

    def _ask(self, question: Callable[[Session], T]) -> T:
        with _session(self.place) as session:
            return question(session)

    @cached_property
    def manifests(self) -> Mapping[str, str]:
        """The hash of each raw file's manifest as it was read, by the path of the file."""
        found: dict[str, str] = self._ask(lambda session: session.pairs("SELECT sti, manifest_sha256 FROM raw.laest"))
        return found

    def chain_faults(self, months: set[date]) -> dict[date, list[str]]:
        """The faults of the chain by month. The ledger of months that are not asked about is not read."""
        said = {link["koersel"]: link for link in self.chain}
        now: dict[int, Mapping[str, Any]] = {}
        for run in (row for row in self.runs if row["status"] == LUKKET):
            number = run["koersel"]
            if run["maaned"] in months:
                now[number] = self._ask(lambda s, n=number: closed_runs(s, n - 1, n))[0]  # type: ignore[misc]
            elif number in said:
                now[number] = {**{name: said[number][name] for name in SAID}, **run}
        found: dict[date, list[str]] = {}
        named = {row["koersel"]: row["maaned"] for row in (*self.runs, *self.chain)}
        # The next closing links runs that an earlier version of the program closed; until then there is no chain.
        for number, fault in broken(self.chain, now) if self.chain else []:
            found.setdefault(named[number], []).append(fault)
        numbers = sorted(row["koersel"] for row in self.runs)
        for before, after in pairwise(numbers):
            if after != before + 1:
                found.setdefault(named[after], []).append("kørslen før mangler i lageret")
        return found

    def month(self, month: date, run: Mapping[str, Any] | None, chain: list[str]) -> Report:
        """The report of one run month."""
        name = f"{month:%Y-%m}"
        if run is None:
            lost = f"{self.place.outgoing.name}/{name} er der, men lageret kender ingen kørsel {name}"
            return Report(name, "", [*chain, *([lost] if (self.place.outgoing / name).exists() else [])])
        if run["status"] == OPGJORT:
            return Report(name, "ikke færdig", chain, {"": "efterses, når den er kørt færdig"})
        found = Report(name, run["status"], list(chain))
        if run["status"] != LUKKET and not (self.place.outgoing / name).exists():
            return Report(name, run["status"], chain, {"": "uden filer; køres igen, før den næste kan køres"})
        self._raw(month, found)
        self._outgoing(month, run, found)
        self._rules(run["regelversion"], found)
        link = next((link for link in self.chain if link["maaned"] == month), None)
        if link:
            found.hele["led"] = f"led {link['aftryk'][:12]}"
        if run["status"] == LUKKET and (link is None or link["eftertid"]):
            # This program has linked each run that it closed, and has stored a head of the log with each.
            if run["koersel"] in self.heads:
                found.fejl.append("led i kæden er slettet, siden kørslen blev lukket")
            else:
                found.bemaerk.append("lukket af en tidligere udgave; en senere lukning skriver leddet i kæden")
        return found

    def _raw(self, month: date, found: Report) -> None:
        """The raw files that the run was the first to know, and their manifests."""
        rows = self._ask(lambda session: session.frame(KNOWN, month=month)).rows(named=True)
        mine = [row for row in rows if not row["senere"] and row["sha256"]]
        if changed := sum(row["senere"] or row["genlaest"] for row in rows):
            found.bemaerk.append(f"{plural(changed, 'råfil', 'råfiler')} er siden læst som en anden eller som væk")
        raw = self.place.raw
        paths = [raw / row["sti"] for row in mine]
        for row, path, summed, manifest in zip(
            mine, paths, _hashes(paths), _hashes([manifest_of(path) for path in paths]), strict=True
        ):
            name = f"{raw.name}/{row['sti']}"
            if summed != row["sha256"]:
                found.fejl.append(f"{name} {_wrong(path)}, siden kørslen læste den")
            beside = manifest_of(path)
            if manifest is None or manifest != self.manifests.get(row["sti"], manifest):
                found.fejl.append(f"{raw.name}/{beside.relative_to(raw)} {_wrong(beside)}, siden kørslen læste den")
        found.hele["råfiler"] = len(mine)

    def _outgoing(self, month: date, run: Mapping[str, Any], found: Report) -> None:
        """The outgoing files by hash, and their sums against the ledger, which must have those of the settling."""
        folder = self.place.outgoing / f"{month:%Y-%m}"
        gone = self.deleted.get(month)
        wrong = departures(folder, run["filsum"], deleted=gone is not None)
        found.fejl += [f"{folder.parent.name}/{folder.name}/{one}" for one in wrong]
        said = said_of(folder / SUMS) if (folder / SUMS).is_file() else {}
        found.hele["filer"] = len(said)
        found.hele["kommuner"] = len({parted(name)[1] for name in said} - {"000"})

        if gone:
            found.bemaerk.append(f"filerne er slettet efter reglerne {gone}; {SUMS} og kladden står")

        def against_the_ledger(session: Session) -> list[str]:
            rules = load(kept(self.place, run["regelversion"]), kept=True)
            settled = session.frame("SELECT kommunekode FROM opgoerelse.kommune WHERE koersel = $n", n=run["koersel"])
            forms = wished(settled["kommunekode"].to_list(), run_day(month, rules), rules)
            other = other_sums(session, run["koersel"])
            faults = [f"kladden for {', '.join(other)} har andre rækker eller beløb, end kørslen opgjorde"]
            if gone:
                return faults if other else []
            outcome = filer_er_kladden(session, Outgoing(folder, folder, {}, forms), run["koersel"], rules)
            return [*([] if outcome.bestaaet else [outcome.tekst]), *(faults if other else [])]

        try:
            found.fejl += self._ask(against_the_ledger)
        except Stop as reason:
            found.fejl += [] if self.rules.get(run["regelversion"]) == str(reason) else [str(reason)]
        except Exception as error:  # noqa: BLE001  a file with other bytes can be anything
            found.fejl.append(f"filerne i {folder.name} kan ikke læses ({type(error).__name__})")

    def _rules(self, version: str, found: Report) -> None:
        """The kept rules of the run, read anew so that their hash is that of the bytes there."""
        if version not in self.rules:
            try:
                kept(self.place, version)
                self.rules[version] = ""
            except Stop as reason:
                self.rules[version] = str(reason)
        if self.rules[version] and self.rules[version] not in found.fejl:
            found.fejl.append(self.rules[version])
        found.hele["regler"] = f"regler {version[:12]}"

    def common(self, hoved: str) -> Report:
        """The report of what belongs to no month: the chain's head, the log of look-ups, the published state."""
        found = Report("", "")
        last = self.chain[-1] if self.chain else None
        if hoved and hoved not in {link["aftryk"] for link in self.chain}:
            found.fejl.append(f"hovedet {hoved[:12]} står ikke i kæden; kæden er en anden end den, det blev skrevet af")
        if last:
            found.hele["hoved"] = f"kædens hoved efter {last['maaned']:%Y-%m} er {last['aftryk']}"
        self._log(found)
        for link in (one for one in self.chain if one["slettet"]):
            number = int(link["slettet"].split()[0])
            if link["slettet"] != self._ask(lambda session, n=number: deleted(session, n)):  # type: ignore[misc]
                found.fejl.append(f"listen over sletninger er ændret siden lukningen af {link['maaned']:%Y-%m}")
                break
        self._published(found)
        return found

    def _published(self, found: Report) -> None:
        """The published state: its files by hash and rows, none beside them, and the ledger that the warehouse has."""
        root, lager = self.place.root, self.place.warehouse
        try:
            state, before = State.read(root), State.read(root, BEFORE)
        except Stop as reason:
            found.fejl.append(str(reason))
            return
        if state is None:
            lost = (root / READING).exists() and any(run["status"] == LUKKET for run in self.runs)
            (found.fejl if lost else found.bemaerk).append(f"{READING / STATE} mangler; {MADE_AGAIN}")
            return
        paths = [root / part.path for part in state.dele]
        # Readers may still have the files of the state before open; the next publishing removes them.
        kept = [part for part in (before.dele if before else ()) if (root / part.path).exists()]
        said = {root / part.path: part.sha256 for part in (*kept, *state.dele)}
        wrong = [path for path, now in zip(said, _hashes([*said]), strict=True) if now != said[path]]
        if State.read(root) != state:  # a publishing came between
            self._published(found)
            return
        for path in wrong:
            remedy = MOVED_AWAY if path.exists() else MADE_AGAIN
            found.fejl.append(f"{path.relative_to(root)} {_wrong(path)}; {remedy}")
        if not at_work_now(self.place, PUBLISHING):
            named = {*paths, *(root / part.path for part in (before.dele if before else ()))}
            named |= {root / READING / STATE, root / READING / BEFORE}
            every = sorted(path for base in (READING, ANALYSTS) for path in (root / base).rglob("*"))
            strange = [path for path in every if path not in named and not path.is_dir()]
            found.fejl += [f"{path.relative_to(root)} er ikke en af dem, programmet udgav" for path in strange]
            if not views_are_of(lager.published, state):
                found.fejl.append(f"{lager.published.relative_to(root)} er ikke tilstandens; {MADE_AGAIN}")
        found.hele["udgivne filer"] = len(paths)
        if not {*paths} & {*wrong}:
            self._rows(state, found)

    def _rows(self, state: State, found: Report) -> None:
        """The rows of the published state's files, and its ledger of the closed runs, which is the warehouse's."""
        closed = [run["koersel"] for run in self.runs if run["status"] == LUKKET]
        try:
            with self.place.warehouse.reading(state) as session:
                for table in state.kolonner:
                    said = sum(part.raekker for part in state.of(table, analysts=False))
                    if session.count(table) != said:
                        found.fejl.append(f"{table} i den udgivne tilstand har ikke de {said} rækker, {STATE} siger")
                published = session.frame(LEDGERS, closed=closed).rows()
        except Stop as reason:
            found.fejl.append(str(reason))
            return
        if published != self._ask(lambda session: session.frame(LEDGERS, closed=closed).rows()):
            found.fejl.append("kladden i den udgivne tilstand er ikke lagerets")

    def _log(self, found: Report) -> None:
        """The log of look-ups holds the heads that runs and closings stored."""
        path = self.place.root / trace.LOG
        recorded = [(f"kørsel {number}", lines, head) for number, (lines, head) in self.heads.items()]
        for link in self.chain:
            lines, _, head = link["opslag"].partition(":")
            recorded.append((f"lukningen af {link['maaned']:%Y-%m}", int(lines), head))
        log = trace.verify(path)
        found.fejl += trace.faults(path, recorded, chain=log)
        if log.afbrudte:
            found.bemaerk.append(f"{plural(log.afbrudte, 'linje', 'linjer')} i {trace.LOG} er ikke hel")
        found.hele["opslag"] = log.linjer
        if opened := too_open(self.place.root):
            found.bemaerk.append(f"{plural(len(opened), 'sti', 'stier')} kan læses af andre, fx {opened[0]}")


def _hashes(paths: Sequence[Path]) -> list[str | None]:
    """The sha256 of each file; None where it is not there or cannot be opened."""
    with ThreadPoolExecutor(os.cpu_count()) as readers:
        return list(readers.map(fingerprint_if_there, paths))


def _wrong(path: Path) -> str:
    """What is wrong with a file that has not the hash it had."""
    return "mangler" if not os.path.lexists(path) else "er ændret" if os.access(path, os.R_OK) else "kan ikke læses"


def as_json(reports: Sequence[Report]) -> str:
    """The reports as one JSON object."""
    told = [
        {"maaned": one.maaned or None, "status": one.status, "fejl": one.fejl, "hele": one.hele, "bemaerk": one.bemaerk}
        for one in reports
    ]
    whole = {"i_orden": not any(one.fejl for one in reports), "efterset": told}
    return json.dumps(whole, ensure_ascii=False, indent=2)
