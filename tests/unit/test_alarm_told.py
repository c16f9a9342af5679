"""What is told: each thing once when it begins and once when it is over, to each receiver that wants its kind."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest

from refusion_assets.domain.operations.bankdays import DANISH, Window
from refusion_assets.domain.operations.board import FEJL, LEVERET, MANGLER, SEN, Afsender, Board, Plads
from refusion_assets.domain.stop import Fault
from refusion_assets.operations.receivers import EVERYTHING, Alarm, Modtager
from refusion_assets.operations.told import LONGEST_WAIT, MOST_AT_ONCE, TITLES, Ended, Memory, changes, of_run, standing
from tests.kit.data_root import RULEBOOK
from tests.kit.timeline import CPR

OCTOBER, NOW = date(2026, 10, 1), datetime(2026, 11, 3, 8, 0, tzinfo=DANISH)
WEEK = Window(*(datetime(2026, 11, day, hour, 0, tzinfo=DANISH) for day, hour in ((2, 6), (3, 6), (4, 12), (5, 6))))
ROOM, SCARCE, SHORT = Plads(10**9, 40 * 10**8, 3), Plads(10**9, 31 * 10**8, 3), Plads(10**9, 12 * 10**8, 3)
BAD = Fault("FIL-001", "eindkomst-yr-ky-161-202610-0001.csv", f"antal_raekker er 2, og {CPR} står i filen")
ROOT = "/srv/refusion/data"


def board(*states: tuple[str, str], **other: Any) -> Board:
    """The board of October with senders (`ky-161`) in their states."""
    senders = tuple(Afsender(*name.split("-"), stand, fejl=(BAD,) if stand == FEJL else ()) for name, stand in states)
    return Board(
        **{"maaned": OCTOBER, "nu": NOW, "uge": WEEK, "opgjort": False, "plads": ROOM, "afsendere": senders} | other
    )


def news(before: Board | None, now: Board) -> list[Alarm]:
    """The messages when a board has become another."""
    stood = standing(before, {}) if before else {}
    return list(changes(stood, standing(now, stood), {OCTOBER: now}, RULEBOOK, ROOT))


def told(before: Board | None, now: Board) -> list[str]:
    """Their subjects."""
    return [alarm.emne for alarm in news(before, now)]


# --- the month --------------------------------------------------------------------------------------------------


def test_senders_that_are_late_are_one_message_with_a_line_for_each_and_what_to_do() -> None:
    [alarm] = news(None, board(("ky-161", SEN), ("ksd-101", SEN), ("ky-101", MANGLER), ("ky-147", LEVERET)))
    assert alarm.emne == "MANGLER 2026-10: ky-161 har ikke leveret for 2026-10 (og 1 mere)"
    assert alarm.tekst.splitlines() == [
        "ky-161 har ikke leveret for 2026-10.",
        "ksd-101 har ikke leveret for 2026-10.",
        "",
        "Bed afsenderen om filen; en tom fil (kun overskriften) med sit manifest tæller som leveret.",
        "Eller kør uden: refusion koer 2026-10 --accepter FIL-006:AFSENDER --begrundelse ...",
        "",
        f"Datarod: {ROOT}",
    ]


def test_only_what_is_new_is_told_and_what_is_over_once() -> None:
    late = board(("ky-161", SEN), ("ksd-101", SEN))
    assert told(late, late) == []
    assert told(late, board(("ky-161", SEN), ("ksd-101", SEN), ("ky-101", SEN))) == [
        "MANGLER 2026-10: ky-101 har ikke leveret for 2026-10"
    ]
    assert told(late, board(("ky-161", LEVERET), ("ksd-101", SEN))) == [
        "I ORDEN 2026-10: ky-161 har leveret for 2026-10"
    ]
    assert told(late, board(("ky-161", SEN), ("ksd-101", SEN), opgjort=True)) == [
        "I ORDEN 2026-10: 2026-10 er opgjort uden ky-161 (og 1 mere)"
    ]


def test_a_bad_file_is_told_at_once_with_its_action_and_without_the_person_in_it() -> None:
    bad = board(("ky-161", FEJL))
    [alarm] = news(None, bad)
    assert alarm.emne.startswith(
        "FEJL I FIL 2026-10: ky-161: FIL-001 eindkomst-yr-ky-161-202610-0001.csv: antal_raekker"
    )
    assert "Gør nu (FIL-001): Driften beder afsenderen" in alarm.tekst
    assert told(bad, board(("ky-161", LEVERET))) == ["I ORDEN 2026-10: ky-161 har leveret for 2026-10"]
    assert told(bad, board(("ky-161", MANGLER))) == []
    assert CPR not in "".join([alarm.emne, alarm.tekst, str(standing(bad, {}))])


def test_a_bad_register_is_told_too() -> None:
    bad = board(registre=(("bopael", OCTOBER, (replace(BAD, genstand="bopael-202610.csv"),)),))
    assert told(None, bad)[0].startswith("FEJL I FIL 2026-10: bopael: FIL-001 bopael-202610.csv: ")


def test_the_deadline_and_the_day_it_should_be_settled_are_told_and_that_it_is() -> None:
    before, after = board(nu=WEEK.deadline - timedelta(seconds=1)), board(nu=WEEK.deadline)
    assert told(None, before) == []
    assert told(before, after) == [
        "FRIST 2026-10: fristen var onsdag 4. november 2026 kl. 12:00, og 2026-10 er ikke opgjort"
    ]
    overdue = board(nu=WEEK.overdue)
    assert told(after, overdue) == [
        "IKKE OPGJORT 2026-10: 2026-10 skulle være opgjort senest torsdag 5. november 2026 kl. 06:00"
    ]
    assert told(overdue, board(nu=WEEK.overdue, opgjort=True)) == ["I ORDEN 2026-10: 2026-10 er opgjort"] * 2
    assert told(None, board(nu=WEEK.overdue, uge=None)) == []


def test_a_disk_that_is_nearly_full_is_told_until_there_is_a_tenth_more_than_needed() -> None:
    short = board(plads=SHORT)
    assert told(None, short) == ["DISK: disken er ved at være fuld: 1,2 GB er ledig, og en kørsel bruger højst 1,0 GB"]
    assert told(None, board(plads=SCARCE)) == []
    assert told(short, board(plads=SCARCE)) == []
    assert told(short, board(plads=ROOM)) == ["I ORDEN: der er igen plads på disken"]
    assert told(None, board(plads=SHORT, opgjort=True)) != []


# --- runs -------------------------------------------------------------------------------------------------------


def test_a_stop_says_its_reason_first_and_the_action_of_each_rule_in_it() -> None:
    alarm = of_run(
        Ended("kritisk_uge", "2026-10", "afsendere_har_leveret: FIL-006 ky-161: mangler", link="http://ui/runs/1"),
        RULEBOOK,
        ROOT,
    )
    assert alarm
    assert alarm.emne == "STOPPET 2026-10: FIL-006 ky-161: mangler"
    assert alarm.tekst.splitlines() == [
        "afsendere_har_leveret: FIL-006 ky-161: mangler",
        "",
        f"Gør nu (FIL-006): {RULEBOOK.kontrol('FIL-006').handling}",
        "Ret årsagen, og kør det samme igen; docs/drift.md siger, hvad der skal gøres ved hvert stop.",
        "",
        "Kørsel: kritisk_uge 2026-10",
        "http://ui/runs/1",
        f"Datarod: {ROOT}",
    ]


def test_a_stop_is_told_under_rules_that_cannot_be_read_and_says_if_dagster_tries_again() -> None:
    alarm = of_run(Ended("kritisk_uge", "", "trapper.toml, post 1: mangler id", igen=True), None, ROOT)
    assert alarm
    assert (alarm.emne, "prøver kørslen igen" in alarm.tekst) == ("STOPPET: trapper.toml, post 1: mangler id", True)


def test_warnings_are_one_message_and_a_run_without_them_is_none() -> None:
    alarm = of_run(Ended("opgoer", "2026-10", advarsler=("EI-006 holder ikke.", "EI-016 holder ikke.")), None, ROOT)
    assert alarm
    assert alarm.emne == "ADVARSEL 2026-10: 2 kontroller advarer"
    assert alarm.tekst.splitlines()[:4] == [
        "2 kontroller advarer; måneden er ikke standset.",
        "",
        "EI-006 holder ikke.",
        "EI-016 holder ikke.",
    ]
    assert of_run(Ended("opgoer", "2026-10"), None, ROOT) is None


# --- who lacks what ---------------------------------------------------------------------------------------------

DRIFT, VAGT = (
    Modtager(name, f"json://{name}", om, "alarm.toml") for name, om in (("drift", EVERYTHING), ("vagt", ("disk",)))
)


def test_a_message_waits_for_each_receiver_of_its_kind_until_it_is_through() -> None:
    stop, disk = Alarm("stop", "a", "a"), Alarm("disk", "b", "b")
    memory = Memory().with_news([stop, disk], [DRIFT, VAGT], NOW)
    assert memory.to_send([DRIFT, VAGT]) == {DRIFT: [stop, disk], VAGT: [disk]}
    memory = Memory.read(memory.after_sending({"drift": 1, "vagt": 0}, ["drift", "vagt"], NOW).written())
    assert memory.to_send([DRIFT, VAGT]) == {DRIFT: [disk], VAGT: [disk]}
    memory = memory.after_sending({"drift": 1, "vagt": 1}, ["drift", "vagt"], NOW)
    assert (memory.to_send([DRIFT, VAGT]), memory.venter) == ({}, ())


def test_the_same_words_of_two_kinds_are_told_once_to_each_who_wants_one_of_them() -> None:
    both = [Alarm(slags, "I ORDEN 2026-10: 2026-10 er opgjort", "x", forbi=True) for slags in ("frist", "disk")]
    memory = Memory().with_news(both, [DRIFT, VAGT], NOW)
    assert memory.to_send([DRIFT, VAGT]) == {DRIFT: both[:1], VAGT: both[:1]}


def test_a_message_is_given_up_after_a_week_and_one_for_a_receiver_that_is_gone_at_once() -> None:
    memory = Memory().with_news([Alarm("stop", "a", "a")], [DRIFT], NOW)
    assert memory.after_sending({}, ["drift"], NOW + LONGEST_WAIT - timedelta(seconds=1)).venter == memory.venter
    assert memory.after_sending({}, ["drift"], NOW + LONGEST_WAIT).venter == ()
    assert memory.after_sending({}, ["vagt"], NOW).venter == ()


def test_so_many_messages_are_sent_at_once_and_the_rest_after_them() -> None:
    alarms = [Alarm("stop", str(number), "") for number in range(MOST_AT_ONCE + 1)]
    memory = Memory().with_news(alarms, [DRIFT], NOW)
    assert memory.to_send([DRIFT])[DRIFT] == alarms[:-1]
    assert memory.after_sending({"drift": MOST_AT_ONCE}, ["drift"], NOW).to_send([DRIFT])[DRIFT] == alarms[-1:]


@pytest.mark.parametrize("text", [None, ""])
def test_a_sensor_that_has_never_looked_remembers_nothing(text: str | None) -> None:
    assert Memory.read(text) == Memory()
    assert set(TITLES) == set(EVERYTHING)


@pytest.mark.parametrize("text", [None, "", "{", "[]", '{"set_til": ""}', '{"venter": [{"alarm": {"titel": "x"}}]}'])
def test_a_memory_that_another_program_wrote_is_begun_anew_and_silences_nobody(text: str | None) -> None:
    assert Memory.read(text) == Memory()
