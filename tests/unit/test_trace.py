"""The log of look-ups as a chain: each way to cut it is noticed, and a kill at any moment can be explained."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import pytest

from refusion_assets.domain.stop import Stop
from refusion_assets.look_up import trace


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A log of three look-ups in a data root."""
    (tmp_path / "lager").mkdir()
    for number in range(3):
        trace.log(tmp_path / trace.LOG, "forklar", borger_id=number, formaal="klage")
    return tmp_path / trace.LOG


def heads(path: Path) -> list[tuple[str, int, str]]:
    """The head as a run kept it."""
    chain = trace.verify(path)
    return [("kørsel 1", chain.linjer, chain.hoved)]


def forget_head(path: Path) -> None:
    (path.parent.parent / "lager" / trace.HEAD).unlink()


def rechain(lines: list[str]) -> str:
    """Lines with each hash worked out anew, as somebody who knows the form would do."""
    before, out = trace.BEGINNING, []
    for line in lines:
        entry = json.dumps({**json.loads(line), "foer": before}, ensure_ascii=False)
        before = trace._after(before, entry.encode())
        out.append(entry)
    return "".join(f"{line}\n" for line in out)


def test_a_log_that_nobody_touched_holds(path: Path) -> None:
    assert trace.faults(path, heads(path)) == []
    assert trace.verify(path).linjer == 3


ATTACKS: dict[str, Callable[[list[str]], str]] = {
    "last line deleted": lambda lines: "".join(f"{line}\n" for line in lines[:-1]),
    "first line deleted": lambda lines: "".join(f"{line}\n" for line in lines[1:]),
    "edited": lambda lines: "\n".join([lines[0], lines[1].replace('"borger_id": 1', '"borger_id": 7'), lines[2], ""]),
    "last edited": lambda lines: "\n".join([*lines[:2], lines[2].replace('"borger_id": 2', '"borger_id": 7'), ""]),
    "swapped": lambda lines: "\n".join([lines[1], lines[0], lines[2], ""]),
    "re-chained without one": lambda lines: rechain(lines[1:]),
    "re-chained and edited": lambda lines: rechain([line.replace("klage", "andet") for line in lines]),
    "emptied": lambda _: "",
}


@pytest.mark.parametrize("attack", ATTACKS)
@pytest.mark.parametrize("by", ["head", "run"])
def test_every_cut_is_noticed_by_the_head_and_by_what_a_run_kept(path: Path, attack: str, by: str) -> None:
    kept = heads(path) if by == "run" else []
    path.write_text(ATTACKS[attack](path.read_text("utf-8").splitlines()), encoding="utf-8")
    if by == "run":
        forget_head(path)
    assert [fault for fault in trace.faults(path, kept) if "mangler, så" not in fault]


def test_a_deleted_file_is_noticed_also_after_the_next_look_up(path: Path) -> None:
    path.unlink()
    assert trace.faults(path)
    trace.log(path, "forklar", borger_id=1)
    assert "linje 1" in trace.faults(path)[0]
    trace.log(path, "forklar", borger_id=1)
    assert "linje 1" in trace.faults(path)[0]


def test_a_deleted_head_is_told_until_the_next_look_up_keeps_a_new_one(path: Path) -> None:
    forget_head(path)
    assert "mangler" in trace.faults(path)[0]
    trace.log(path, "forklar", borger_id=1)
    assert trace.faults(path) == []


def test_the_lines_of_before_the_chain_are_taken_in_and_cannot_be_changed_after(tmp_path: Path) -> None:
    path = tmp_path / trace.LOG
    path.parent.mkdir()
    path.write_text('{"borger_id": 1}\n{"borger_id": 2}\n', encoding="utf-8")
    assert trace.faults(path) == []
    trace.log(path, "forklar", borger_id=3)
    assert (trace.faults(path), trace.verify(path).gamle) == ([], 2)
    path.write_text(path.read_text("utf-8").replace('"borger_id": 1', '"borger_id": 9'), encoding="utf-8")
    assert trace.verify(path).brudt == 3


def test_a_line_without_a_hash_after_the_chain_began_is_a_break(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write('{"borger_id": 1}\n')
    assert trace.verify(path).brudt == 4


class Killed(BaseException):
    """The process ended here."""


@pytest.mark.parametrize("name", ["write", "fsync", "replace", "open"])
@pytest.mark.parametrize("nth", range(5))
def test_a_kill_at_any_call_leaves_a_trace_or_no_look_and_never_an_alarm(path: Path, name: str, nth: int) -> None:
    true, calls = getattr(os, name), []

    def kill(*arguments: object, **named: object) -> object:
        calls.append(1)
        if len(calls) > nth:
            raise Killed
        return true(*arguments, **named)

    shown = False
    with mock.patch.object(trace.os, name, kill):
        try:
            trace.log(path, "forklar", borger_id=4)
            shown = True
        except Killed:
            pass
    there = trace.verify(path).linjer == 4
    assert there or not shown
    assert trace.faults(path) == []
    trace.log(path, "forklar", borger_id=5)
    assert trace.faults(path) == []
    assert trace.verify(path).linjer == 4 + there


def test_a_line_cut_short_is_counted_and_no_break(path: Path) -> None:
    with path.open("a", encoding="utf-8") as file:
        file.write('{"tidspunkt": "20')
    assert (trace.faults(path), trace.verify(path).afbrudte) == ([], 1)
    trace.log(path, "forklar", borger_id=5)
    assert (trace.faults(path), trace.verify(path).afbrudte, trace.verify(path).linjer) == ([], 1, 5)


def test_a_receipt_from_paper_is_read_with_its_spaces_and_holds_only_for_its_log(path: Path) -> None:
    chain = trace.verify(path)
    assert trace.faults(path, [trace.receipt(f"3:{chain.hoved}")]) == []
    assert trace.faults(path, [trace.receipt(f"3:{trace.BEGINNING}")])
    grouped = " ".join(chain.hoved[at : at + 8] for at in range(0, 64, 8))
    assert trace.receipt(f"3:{grouped}") == ("kvitteringen", 3, chain.hoved)
    with pytest.raises(Stop, match="LINJER:HOVED"):
        trace.receipt(f"3:{chain.hoved[1:]}")


def test_the_user_is_who_logged_in_and_the_account_if_it_is_another(tmp_path: Path) -> None:
    login = tmp_path / "loginuid"
    with mock.patch.object(trace, "LOGIN", login):
        assert set(trace.user()) == {"bruger"}
        login.write_text("4294967295")
        assert set(trace.user()) == {"bruger"}
        login.write_text(str(os.geteuid()))
        assert set(trace.user()) == {"bruger"}
        login.write_text("54321")
        assert trace.user() == {"bruger": "uid 54321", "konto": trace._name(os.geteuid())}
