"""Told: the end of a run and the wrongs of a month as messages, each told once, and who still lacks one."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import date, datetime, timedelta

from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.operations.board import LEVERET, SEN, Board, gigabytes, moment
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import without_persons
from refusion_assets.operations.receivers import Alarm, Modtager

TITLES = {
    "stop": "STOPPET",
    "advarsel": "ADVARSEL",
    "fil": "FEJL I FIL",
    "sen": "MANGLER",
    "frist": "FRIST",
    "ikke_opgjort": "IKKE OPGJORT",
    "disk": "DISK",
    "levering": "LEVERING",
}
OVER = "I ORDEN"
OF_A_MONTH = ("fil", "sen", "frist", "ikke_opgjort")
RULE = re.compile(r"\b[A-Z]{2,3}-[0-9]{3}\b")
CHECK = re.compile(r"^[a-z_]+: (?=[A-Z]{2,3}-[0-9]{3}\b)")  # a check before the rule that it speaks of
NO_ROOM = "disk||"
RUNS_REMEMBERED, MOST_AT_ONCE = 200, 10
LONGEST_WAIT = timedelta(days=7)


@dataclass(frozen=True)
class Ended:
    """A run that has ended: its job, its months, why it failed (empty if it did not), its warnings, and its link."""

    job: str
    maaneder: str
    grund: str = ""
    advarsler: tuple[str, ...] = ()
    link: str = ""
    igen: bool = False


@dataclass(frozen=True)
class Waiting:
    """A message, the names of the receivers that lack it, and since when."""

    alarm: Alarm
    mangler: tuple[str, ...]
    siden: str


@dataclass(frozen=True)
class Memory:
    """The memory of the sensor: the newest run, the runs near it, each wrong that stands, and the unsent messages."""

    set_til: str = ""
    koersler: tuple[str, ...] = ()
    staar: Mapping[str, str] = field(default_factory=dict)
    venter: tuple[Waiting, ...] = ()

    @classmethod
    def read(cls, text: str | None) -> "Memory":
        """The memory that `written` gave; an empty one of no text, or of one that another program wrote."""
        try:
            kept = json.loads(text or "{}")
            waiting = [Waiting(Alarm(**one["alarm"]), tuple(one["mangler"]), one["siden"]) for one in kept["venter"]]
            return cls(kept["set_til"], tuple(kept["koersler"]), kept["staar"], tuple(waiting))
        except (ValueError, KeyError, TypeError):
            return cls()

    def written(self) -> str:
        """The memory as a text to keep."""
        return json.dumps(asdict(self), ensure_ascii=False)

    def with_run(self, run_id: str, changed: datetime) -> "Memory":
        """The memory after a look at a run that was last changed then."""
        return replace(
            self, set_til=max(self.set_til, changed.isoformat()), koersler=(*self.koersler, run_id)[-RUNS_REMEMBERED:]
        )

    def with_news(self, news: Iterable[Alarm], everybody: Sequence[Modtager], now: datetime) -> "Memory":
        """The memory with new messages for those receivers that are told of their kind, the same words only once."""
        lacks: dict[tuple[str, str], tuple[Alarm, dict[str, None]]] = {}
        for alarm in news:
            _, names = lacks.setdefault((alarm.emne, alarm.tekst), (alarm, {}))
            names |= dict.fromkeys(one.navn for one in everybody if alarm.slags in one.om)
        fresh = (Waiting(alarm, tuple(names), now.isoformat()) for alarm, names in lacks.values() if names)
        return replace(self, venter=(*self.venter, *fresh))

    def to_send(self, everybody: Sequence[Modtager]) -> dict[Modtager, list[Alarm]]:
        """The first messages that each receiver lacks, oldest first."""
        lacks = {one: [w.alarm for w in self.venter if one.navn in w.mangler][:MOST_AT_ONCE] for one in everybody}
        return {one: alarms for one, alarms in lacks.items() if alarms}

    def after_sending(self, told: Mapping[str, int], names: Iterable[str], now: datetime) -> "Memory":
        """The memory after so many of the first messages of each receiver got through.

        A message leaves it when nobody lacks it, or after a week; a receiver that has left the file lacks none.
        """
        left, known, kept = dict(told), set(names), []
        for waiting in self.venter:
            still = []
            for name in waiting.mangler:
                if left.get(name, 0):
                    left[name] -= 1
                elif name in known:
                    still.append(name)
            if still and now - datetime.fromisoformat(waiting.siden) < LONGEST_WAIT:
                kept.append(replace(waiting, mangler=tuple(still)))
        return replace(self, venter=tuple(kept))


def of_run(run: Ended, rules: Rulebook | None, root: str) -> Alarm | None:
    """The message about a run that failed, or whose checks warn; None about one with nothing to say.

    The Danish reason stands first, then what to do, by the rules in the reason.
    """
    about = [f"Kørsel: {' '.join(filter(None, (run.job, run.maaneder)))}", *filter(None, [run.link])]
    if run.grund:
        again = ["Dagster prøver kørslen igen af sig selv."] if run.igen else []
        lines = [run.grund, "", *remedies(run.grund, rules), *again, "", *about]
        return _alarm("stop", run.maaneder, CHECK.sub("", run.grund), lines, root)
    if not run.advarsler:
        return None
    many = len(run.advarsler)
    first = f"{many} kontroller advarer" if many > 1 else run.advarsler[0]
    head = [f"{first}; måneden er ikke standset.", ""] if many > 1 else []
    return _alarm("advarsel", run.maaneder, first, [*head, *run.advarsler, "", *about], root)


def over_or_again(memory: Memory, run: Ended, rules: Rulebook | None, root: str) -> tuple[Memory, list[Alarm]]:
    """The memory after a run that has ended, and the messages about it: also that an earlier stop of it is over."""
    key, news = without_persons(f"stop|{run.maaneder}|{run.job}"), []
    stands = dict(memory.staar)
    if run.grund:
        stands[key] = without_persons(run.grund)
    elif stands.pop(key, None) and (said := over(key, None)):
        news.append(_alarm("stop", run.maaneder, said.removesuffix("."), [said, ""], root, forbi=True))
    if alarm := of_run(run, rules, root):
        news.append(alarm)
    return replace(memory, staar=stands), news


def remedies(reason: str, rules: Rulebook | None) -> Iterator[str]:
    """The actions against a reason to stop: that of each rule that it names, and the advice to run the same again."""
    known = {kontrol.id: kontrol.handling for kontrol in rules.kontroller} if rules else {}
    for regel in dict.fromkeys(RULE.findall(reason)):
        if regel in known and "{" not in known[regel]:
            yield f"Gør nu ({regel}): {known[regel]}"
    yield "Ret årsagen, og kør det samme igen; docs/drift.md siger, hvad der skal gøres ved hvert stop."


def _alarm(slags: str, month: str, what: str, lines: Iterable[str], root: str, *, forbi: bool = False) -> Alarm:
    """A message of a kind about a month: kind and month first in its subject, the data root last in its text."""
    title = " ".join(filter(None, (OVER if forbi else TITLES[slags], month)))
    text = re.sub(r"\n{3,}", "\n\n", "\n".join([*lines, f"Datarod: {root}"]).strip())
    return Alarm(slags, f"{title}: {what}", text, forbi)


def standing(board: Board, before: Mapping[str, str]) -> dict[str, str]:
    """Each wrong that stands with a month: a sentence under a key of kind, month and subject.

    Of a settled month only the disk is told.

    Room on the disk that was short stays short until there is a tenth more than there must be.
    """
    month, room, found = f"{board.maaned:%Y-%m}", board.plads, {}
    least = room.kraevet * room.mindst
    if room.knap or (NO_ROOM in before and room.ledig < least + least // 10):
        left = f"{gigabytes(room.ledig)} er ledig, og en kørsel bruger højst {gigabytes(room.kraevet)}"
        found[NO_ROOM] = f"disken er ved at være fuld: {left}."
    if board.opgjort:
        return found
    for one in board.i_stand(SEN):
        found[f"sen|{month}|{one.navn}"] = f"{one.navn} har ikke leveret for {month}."
    senders = ((one.navn, one.fejl) for one in board.afsendere)
    for name, faults in (*senders, *((art, faults) for art, _, faults in board.registre)):
        found |= {f"fil|{month}|{name} {fault.regel} {fault.genstand}": f"{name}: {fault}" for fault in faults}
    if board.uge and board.nu >= board.uge.deadline:
        found[f"frist|{month}|"] = f"fristen var {moment(board.uge.deadline)}, og {month} er ikke opgjort."
    if board.uge and board.for_sent:
        found[f"ikke_opgjort|{month}|"] = f"{month} skulle være opgjort senest {moment(board.uge.overdue)}."
    return {without_persons(key): without_persons(line) for key, line in found.items()}


def over(key: str, board: Board | None) -> str | None:
    """The sentence for a wrong that is over; None if there is nothing to say."""
    slags, month, subject = key.split("|", 2)
    if slags == "disk":
        return "der er igen plads på disken."
    if slags == "stop":
        return f"{subject} er gennemført."
    if slags == "levering":
        return f"leveringen til {subject.partition(' ')[0]} er i orden."
    sender = subject.partition(" ")[0]
    if board and slags in ("sen", "fil") and sender in [one.navn for one in board.i_stand(LEVERET)]:
        return f"{sender} har leveret for {month}."
    if board is None or not board.opgjort:
        return None
    return f"{month} er opgjort uden {sender}." if slags == "sen" else f"{month} er opgjort."


def changes(
    before: Mapping[str, str], now: Mapping[str, str], boards: Mapping[date, Board], rules: Rulebook | None, root: str
) -> Iterator[Alarm]:
    """The messages about what has begun to stand wrong, and what has ended: one for each kind and month."""
    begun, ended = defaultdict(list), defaultdict(list)
    for key, line in now.items():
        if key not in before:
            begun[tuple(key.split("|")[:2])].append(line)
    for key in before:
        month = key.split("|")[1]
        board = boards.get(month_of(month)) if key.split("|")[0] in OF_A_MONTH else None
        if key not in now and (said := over(key, board)):
            ended[tuple(key.split("|")[:2])].append(said)
    for (slags, month), lines in begun.items():
        yield _alarm(slags, month, _many(lines), [*lines, "", *_act(slags, month, lines, rules), ""], root)
    for (slags, month), found in ended.items():
        lines = list(dict.fromkeys(found))
        yield _alarm(slags, month, _many(lines), [*lines, ""], root, forbi=True)


def _many(lines: Sequence[str]) -> str:
    """The first of some sentences, and how many more there are."""
    more = f" (og {len(lines) - 1} mere)" if len(lines) > 1 else ""
    return f"{lines[0].removesuffix('.')}{more}"


def _act(slags: str, month: str, lines: Sequence[str], rules: Rulebook | None) -> list[str]:
    """The actions against a wrong of a kind."""
    if slags == "fil":
        return list(remedies(" ".join(lines), rules))[:-1] or ["Bed afsenderen om filen og manifestet igen."]
    if slags == "sen":
        return [
            "Bed afsenderen om filen; en tom fil (kun overskriften) med sit manifest tæller som leveret.",
            f"Eller kør uden: refusion koer {month} --accepter FIL-006:AFSENDER --begrundelse ...",
        ]
    if slags == "levering":
        return [f"Se, hvad der står: refusion kvitteringer {month}. docs/levering.md siger, hvad der gøres ved det."]
    if slags == "disk":
        return ["Gør plads på disken, før den næste kørsel."]
    return [f"Se, hvad der mangler: refusion status {month}. Kør den: refusion koer {month}."]
