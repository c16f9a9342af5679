"""Ninety-eight municipalities through one server, with faults thrown in: none lost, none twice, all receipts in."""

from tests.kit.sftp import cutting, needs_sshd
from tests.levering.conftest import Shown

pytestmark = needs_sshd


def test_98_municipalities_get_every_file_once_through_cuts_and_refusals(shown: Shown) -> None:
    koder = shown.root.place.rules.koder
    assert len(koder) == 98
    platform = shown.server.platform
    shown.files(koder)
    wrong = {f"yr-ydelsesrefusion-{kind}-{kode}-0082-2026-11-03.csv" for kind in ("beregning", "advisering")
             for kode in koder[::10]}  # fmt: skip
    platform.errors |= dict.fromkeys(wrong, (7, "prøv igen"))
    with cutting(shown.server, [9_000, 40_000, 20_000, 60_000]) as port:
        shown.receivers(koder, port, forsoeg="3")
        first = shown.deliver()
        assert first.faults, "every attempt of the first delivery was cut"
        platform.errors.clear()
        shown.deliver()
    shown.receivers(koder)
    assert shown.deliver().faults == ()
    shown.receipts()
    shown.deliver(igen=True)
    platform.settled(196)
    assert shown.receipts().faults == ()
    names = [(one.modtager, one.fil) for one in platform.given]
    assert len(names) == len(set(names)) == 196
    last = {(kode, fil): status for kode, fil, status in shown.rows("kommunekode, fil, status")}
    assert set(last.values()) == {"leveret"}
    assert {name for name, _ in platform.refused} <= wrong
