"""The faults of a delivery: each is one Danish line, the others go on, and nothing is lost or sent twice."""

import os
from datetime import timedelta
from pathlib import Path

import asyncssh
import pytest

from refusion_assets.assets.levering import shipments
from refusion_assets.assets.levering.shipments import now
from refusion_assets.domain.stop import Stop
from refusion_assets.levering import channel
from refusion_assets.levering.channel import Far, Keys
from tests.kit.sftp import USER, cutting, free_port, levering_toml, make_key, needs_sshd, sftp_server
from tests.levering.conftest import MONTH, Shown

pytestmark = needs_sshd


def beregning(kode: str) -> str:
    return f"yr-ydelsesrefusion-beregning-{kode}-0082-2026-11-03.csv"


def delivered(shown: Shown, files: int = 4) -> None:
    """Every file has been given to its receiver once, and all receipts are in."""
    shown.server.platform.settled(files)
    assert shown.receipts().faults == ()
    assert shown.statuses() == {"leveret"}
    names = [(one.modtager, one.fil) for one in shown.server.platform.given]
    assert len(names) == len(set(names)) == files


def test_a_receipt_with_an_error_is_kept_with_its_code_and_the_file_is_sent_again_only_on_purpose(shown: Shown) -> None:
    platform = shown.server.platform
    platform.errors[beregning("730")] = (42, "modtageren 010175-1234 er ukendt")
    shown.deliver()
    platform.settled(3)
    [fault] = shown.receipts().faults
    assert fault == (
        f"730: {beregning('730')}: platformen afviste filen (kode 42): FEJL: modtageren (personnummer) er ukendt"
    )
    del platform.errors[beregning("730")]
    assert shown.deliver().faults == (f"730: {beregning('730')} er afvist; ret årsagen, og send igen med --igen",)
    assert len(platform.given) == 3
    assert shown.deliver(igen=True).lines[0].startswith("2026-10: 1 fil sendt")
    assert f"730: {beregning('730')}: sendes igen efter en afvisning" in shown.said
    platform.settled(4)
    assert shown.receipts().faults == ()
    ids = shown.rows("fil, gang, status, senders_file_id")
    assert [(gang, status) for fil, gang, status, _ in ids if fil == beregning("730")] == [
        (1, "afvist"),
        (2, "leveret"),
    ]
    assert len({own for *_, own in ids}) == 5


def test_no_receipt_is_said_with_its_hour_and_after_the_limit_it_is_a_fault(shown: Shown) -> None:
    shown.server.platform.quiet = True
    shown.deliver()
    shown.server.platform.settled(4)
    told = shown.receipts()
    assert told.faults == ()
    assert [line.partition(" siden ")[0] for line in told.lines[1:]] == [
        "101: 2 filer for 2026-10 mangler kvittering",
        "730: 2 filer for 2026-10 mangler kvittering",
    ]
    for hours, late in ((4, 2), (3.9, 0)):
        with shown.root.place.warehouse.open() as session:
            session.run("UPDATE levering.forsendelse SET sendt = $at", at=now() - timedelta(hours=hours))
        assert len(shown.receipts().faults) == late


@pytest.mark.parametrize("after", [0, 2500, 5200])
def test_a_connection_that_is_cut_is_taken_up_again_where_it_was(shown: Shown, after: int) -> None:
    with cutting(shown.server, [after, after + 700]) as port:
        shown.receivers(["101", "730"], port)
        assert shown.deliver().faults == ()
        shown.receivers(["101", "730"])
        delivered(shown)


def test_a_connection_that_is_cut_every_time_is_told_and_the_next_delivery_makes_up_for_it(shown: Shown) -> None:
    with cutting(shown.server, [3000] * 9) as port:
        shown.receivers(["101", "730"], port)
        faults = shown.deliver().faults
        assert len(faults) == 2
        assert all(fault.endswith("forbindelsen til 127.0.0.1 blev afbrudt") for fault in faults)
    shown.receivers(["101", "730"])
    shown.deliver()
    delivered(shown)


def test_what_went_before_a_connection_was_cut_is_kept_as_sent(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    real, calls = Far.send, []

    async def send(far: Far, folder: str, name: str, xml: bytes) -> None:
        calls.append(name)
        if len(calls) == 3:
            raise asyncssh.SFTPConnectionLost("afbrudt")
        await real(far, folder, name, xml)

    monkeypatch.setattr(Far, "send", send)
    assert shown.deliver().faults == ()
    assert len(calls) > 4
    assert shown.statuses() == {"sendt"}
    delivered(shown)


def test_a_server_that_stands_still_is_given_up_in_time_and_the_next_delivery_makes_up_for_it(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "SECONDS_OF_STANDSTILL", 0.8)
    shown.receivers(["101", "730"], forsoeg="1")
    pipe = shown.server.inn / f"{beregning('730')}.sftpreceipt"
    os.mkfifo(pipe)  # the server's opening of it never ends, and its host still answers
    faults = shown.deliver().faults
    cut = "forbindelsen til 127.0.0.1 blev afbrudt"
    assert [fault.partition(" kom ikke frem: ")[2] for fault in faults] == [cut, cut]
    pipe.unlink()
    assert shown.deliver().faults == ()
    delivered(shown)


def test_a_clock_set_back_between_two_editions_sends_neither_again(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    shown.deliver()
    delivered(shown)
    shown.files(["101", "730"], "en anden udgave\n")
    monkeypatch.setattr(shipments, "now", lambda: now() - timedelta(hours=1))
    assert shown.deliver().lines == ("2026-10: 4 filer sendt.",)
    shown.server.platform.settled(8)
    assert shown.deliver().lines == ("2026-10: 0 filer sendt, 4 filer var sendt i forvejen.",)
    assert len(shown.server.platform.given) == 8


def test_a_full_disk_stops_the_file_that_is_too_large_and_no_other(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sftp_server(tmp_path / "lille", most_bytes=20_000) as small:
        for name, value in small.environment.items():
            monkeypatch.setenv(name, value)
        shown.server = small
        shown.receivers(["101", "730"])
        shown.files(["101"], "x" * 30_000)
        sums = (shown.root.place.outgoing / MONTH / "SHA256SUMS").read_text()
        shown.files(["730"])
        path = shown.root.place.outgoing / MONTH / "SHA256SUMS"
        both = sums + path.read_text()
        path.write_text(both)
        _resummed(shown)
        [fault] = shown.deliver().faults
        assert fault.startswith("101: 2 filer kom ikke frem: ")
        assert "disk" in fault
        small.platform.settled(2)
        assert list(small.out.iterdir()) == []


def _resummed(shown: Shown) -> None:
    """The run's sum of SHA256SUMS as it is now."""
    from refusion_assets.files.delivered import fingerprint  # noqa: PLC0415  only here

    with shown.root.place.warehouse.open() as session:
        summed = fingerprint(shown.root.place.outgoing / MONTH / "SHA256SUMS")
        session.run("UPDATE opgoerelse.koersel SET filsum = $s", s=summed)


@pytest.mark.parametrize("same", [True, False])
def test_a_file_that_lies_there_already_is_left_or_replaced(shown: Shown, *, same: bool) -> None:
    source = shown.root.place.outgoing / MONTH / beregning("101")
    (shown.server.out / source.name).write_bytes(source.read_bytes() if same else b"x" * source.stat().st_size)
    before = (shown.server.out / source.name).stat().st_ino
    shown.server.platform.holding = True
    shown.deliver()
    after = shown.server.out / source.name
    assert after.read_bytes() == source.read_bytes()
    assert (after.stat().st_ino == before) is same
    shown.server.platform.holding = False
    delivered(shown)


def test_a_new_edition_waits_until_the_platform_has_taken_the_one_before(shown: Shown) -> None:
    platform = shown.server.platform
    platform.holding = True
    shown.deliver()
    shown.files(["101", "730"], "en anden udgave\n")
    faults = shown.deliver().faults
    assert len(faults) == 4
    assert all("ikke hentet af platformen endnu" in fault for fault in faults)
    platform.holding = False
    platform.settled(4)
    assert shown.deliver().faults == ()
    assert (
        f"101: {beregning('101')}: en ny udgave: måneden er kørt igen, og filen er en anden end den, der er sendt"
        in (shown.said)
    )
    platform.settled(8)
    newest = {one.fil: one.sha256 for one in platform.given}
    assert newest == {path.name: _sum(path) for path in (shown.root.place.outgoing / MONTH).glob("*.csv")}


def _sum(path: Path) -> str:
    from refusion_assets.files.delivered import fingerprint  # noqa: PLC0415  only here

    return fingerprint(path)


def test_the_first_edition_is_sent_again_if_it_is_the_one_that_holds_again(shown: Shown) -> None:
    for text, files in (("Uge;CPR nummer\n", 4), ("anden\n", 8), ("Uge;CPR nummer\n", 12)):
        shown.files(["101", "730"], text)
        assert shown.deliver().faults == ()
        shown.server.platform.settled(files)
        shown.receipts()
    assert sorted(gang for (gang,) in shown.rows("gang")) == [1] * 8 + [2] * 4


def test_a_trigger_whose_file_is_gone_is_refused_by_the_platform_and_told(shown: Shown) -> None:
    platform = shown.server.platform
    platform.holding = True
    shown.deliver()
    (shown.server.out / beregning("101")).unlink()
    platform.holding = False
    platform.settled(3)
    [fault] = shown.receipts().faults
    assert fault == f"101: {beregning('101')}: platformen afviste filen (kode 3): FEJL: filen er der ikke"


def test_a_server_that_lets_nothing_be_renamed_gets_the_files_all_the_same(
    shown: Shown, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sftp_server(tmp_path / "stiv", renames=False) as stiff:
        for name, value in stiff.environment.items():
            monkeypatch.setenv(name, value)
        shown.server = stiff
        shown.receivers(["101", "730"])
        assert shown.deliver().faults == ()
        delivered(shown)
        assert list(stiff.out.iterdir()) == []


def wrong_host_key(shown: Shown, _: pytest.MonkeyPatch) -> str:
    other = make_key(shown.server.base / "anden").with_suffix(".pub").read_text().split()[:2]
    shown.server.known.write_text(f"[127.0.0.1]:{shown.server.port} {' '.join(other)}\n")
    return "værtsnøglen fra 127.0.0.1 er ikke den, vi kender; spørg serverens drift, før REFUSION_SFTP_KENDTE rettes"


def unknown_host_key(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> str:
    said = wrong_host_key(shown, monkeypatch)
    shown.server.known.write_text("")
    return said


def refused_key(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("REFUSION_SFTP_NOEGLE", str(make_key(shown.server.base / "fremmed")))
    return f"127.0.0.1 tager ikke imod vores nøgle for brugeren {USER}; er den offentlige nøgle lagt ind?"


def no_folder(shown: Shown, _: pytest.MonkeyPatch) -> str:
    shown.receivers(["101", "730"], ud='"UD"')
    return "mappen UD findes ikke på serveren"


def no_server(shown: Shown, _: pytest.MonkeyPatch) -> str:
    port = free_port()
    shown.receivers(["101", "730"], port)
    return f"der er ingen SFTP-server på 127.0.0.1, port {port}"


def no_such_host(shown: Shown, _: pytest.MonkeyPatch) -> str:
    text = levering_toml(22, ["101", "730"]).replace('"127.0.0.1"', '"findes-ikke.invalid"')
    (shown.root.rules / "levering.toml").write_text(text)
    return "serverens navn findes-ikke.invalid kendes ikke; ret vaert i levering.toml"


WAYS = [wrong_host_key, unknown_host_key, refused_key, no_folder, no_server, no_such_host]


@pytest.mark.parametrize("fault", WAYS, ids=lambda fault: fault.__name__)
def test_each_fault_of_a_server_is_one_line_for_each_municipality(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, fault: object
) -> None:
    said = fault(shown, monkeypatch)  # type: ignore[operator]
    assert shown.deliver().faults == tuple(f"{kode}: 2 filer kom ikke frem: {said}" for kode in ("101", "730"))
    assert shown.statuses() == {"fejlet"}
    assert shown.server.platform.given == []


KEYS = {
    "others may read it": ("chmod 600", lambda key, _: key.chmod(0o644)),
    "it lies in the data root": ("ligger i dataroden", lambda key, data: key.rename(data / "noegle")),
    "it is not there": ("findes ikke", lambda key, _: key.unlink()),
    "it is no key": ("er ingen privat nøgle", lambda key, _: key.write_text("hej")),
    "it has a passphrase": ("REFUSION_SFTP_NOEGLE_KODE", lambda key, _: _with_code(key)),
}


def _with_code(key: Path) -> None:
    key.unlink()
    make_key(key, "hemmelig")


@pytest.mark.parametrize(("said", "spoil"), KEYS.values(), ids=KEYS)
def test_a_key_that_is_not_safe_or_not_there_stops_before_anything_is_begun(
    shown: Shown, monkeypatch: pytest.MonkeyPatch, said: str, spoil: object
) -> None:
    spoil(shown.server.key, shown.root.path)  # type: ignore[operator]
    if "dataroden" in said:
        monkeypatch.setenv("REFUSION_SFTP_NOEGLE", str(shown.root.path / "noegle"))
    with pytest.raises(Stop, match=said):
        shown.deliver()
    assert shown.rows("status") == []


def test_a_key_with_a_passphrase_is_opened_by_the_one_of_the_environment(
    shown: Shown, monkeypatch: pytest.MonkeyPatch
) -> None:
    _with_code(shown.server.key)
    monkeypatch.setenv("REFUSION_SFTP_NOEGLE_KODE", "en anden")
    with pytest.raises(Stop, match="er ikke dens kode"):
        Keys.from_environment(shown.root.path)
    monkeypatch.setenv("REFUSION_SFTP_NOEGLE_KODE", "hemmelig")
    assert Keys.from_environment(shown.root.path).known == shown.server.known


def test_a_file_of_known_hosts_that_others_may_change_is_not_used(shown: Shown) -> None:
    shown.server.known.chmod(0o664)
    with pytest.raises(Stop, match="kan ændres af andre"):
        shown.deliver()
    shown.server.known.chmod(0o644)
    assert shown.deliver().faults == ()


def test_without_known_hosts_nobody_is_trusted(shown: Shown, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REFUSION_SFTP_KENDTE")
    with pytest.raises(Stop, match="REFUSION_SFTP_KENDTE er ikke sat"):
        shown.deliver()
