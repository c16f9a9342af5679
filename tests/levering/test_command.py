"""The commands `lever` and `kvitteringer` on a month that was run, as an operator meets them, and their cells."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import dagster as dg
import pytest

from refusion_assets.assets.gate import LEVERING
from refusion_assets.assets.levering import shipments
from refusion_assets.assets.levering.asset import ALL_SENT, SAME
from refusion_assets.assets.levering.receipts import receipts_in
from refusion_assets.assets.levering.shipments import LOCK, deliver
from refusion_assets.domain.calendar import month_of
from refusion_assets.place import Place, alone
from refusion_assets.store import events
from tests.conftest import DataRoot, Example
from tests.kit.sftp import Server, levering_toml, needs_sshd, sftp_server
from tests.levering.conftest import rules_in

pytestmark = needs_sshd
CITED = 'hjemmel = "ingen: teknisk"\nkilde = "prøve"\nkontrolleret = 2026-11-28\nsikkerhed = "vores eget valg"\n'
MONTH, KODER = "2024-04", ["169", "730"]


def delivering(example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, server: Server) -> DataRoot:
    """The example under rules with two receivers."""
    copy = example.root.copy(tmp_path)
    root = DataRoot(copy.path, rules_in(tmp_path))
    (root.rules / "levering.toml").write_text(levering_toml(server.port, KODER), "utf-8")
    for name, value in server.environment.items():
        monkeypatch.setenv(name, value)
    return root


def cells(root: DataRoot) -> set[str]:
    """The cells of the delivery that are made."""
    with events.instance(root.path / "dagster") as instance:
        return set(instance.get_materialized_partitions(dg.AssetKey(LEVERING)))


def test_a_month_is_delivered_its_receipts_make_its_cells_green_and_a_new_run_takes_them_back(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sftp_server(tmp_path / "sp") as server:
        root = delivering(example, tmp_path, monkeypatch, server)
        before = root.files(MONTH)
        tried = root.refusion("lever", MONTH, "--proev")
        assert (tried.code, tried.err) == (0, ""), tried.err
        assert "2 filer ville blive sendt" in tried.out
        assert list(server.out.iterdir()) == []

        ran = root.refusion("lever", MONTH)
        assert (ran.code, ran.err) == (0, ""), ran.err
        assert "2024-04: 4 filer sendt." in ran.out
        assert cells(root) == set()
        server.platform.settled(4)
        ran = root.refusion("kvitteringer", MONTH)
        assert (ran.code, ran.err) == (0, ""), ran.err
        assert "Levering 2024-04: 4 af 4 filer er kvitteret." in ran.out
        assert cells(root) == {"169|2024-04", "730|2024-04"}
        assert {one.sha256 for one in server.platform.given} == {sha for (sha,) in root.rows(
            "SELECT sha256 FROM levering.forsendelse")}  # fmt: skip
        assert root.files(MONTH) == before
        assert "Levering 2024-04: 4 af 4 filer er kvitteret." in root.refusion("status").out
        assert root.refusion("regler").out.count(example.root.place.rules.version[:12]) == 1

        root.koer(MONTH)
        assert cells(root) == set()
        again = root.refusion("lever", MONTH)
        assert "0 filer sendt, 4 filer var leveret i forvejen" in again.out
        assert cells(root) == {"169|2024-04", "730|2024-04"}
        with events.instance(root.path / "dagster") as instance:
            for check in (SAME, ALL_SENT):
                key = dg.AssetCheckKey(dg.AssetKey(LEVERING), check.name)
                [record] = instance.event_log_storage.get_asset_check_execution_history(key, limit=1)
                assert record.status.value == "SUCCEEDED"


def test_a_delivery_with_a_fault_says_it_goes_on_with_the_others_and_has_exit_code_1(
    example: Example, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with sftp_server(tmp_path / "sp") as server:
        root = delivering(example, tmp_path, monkeypatch, server)
        text = levering_toml(server.port, KODER).replace('modtager = "K730"', 'modtager = "K730"\nud = "ANDEN"')
        (root.rules / "levering.toml").write_text(text, "utf-8")
        held = alone(root.place, print, LOCK)
        held.__enter__()

        def waited(place: Place, say: Callable[[str], None], lock: str) -> AbstractContextManager[None]:
            def told(line: str) -> None:
                say(line)
                held.__exit__(None, None, None)

            return alone(place, told, lock)

        monkeypatch.setattr(shipments, "alone", waited)
        ran = root.refusion("lever", MONTH)
        assert ran.code == 1
        why = "730: 2 filer kom ikke frem: mappen ANDEN findes ikke på serveren"
        assert ran.err == f"STOPPET: {why}. Ret årsagen, og lever igen.\n"
        assert "venter på en anden kommando, som er i gang ..." in ran.out
        assert "2024-04: 2 filer sendt." in ran.out
        server.platform.settled(2)
        ran = root.refusion("kvitteringer")
        assert (ran.code, ran.err.count("\n")) == (1, 1)
        assert "730: 2 filer for 2024-04 er ikke sendt (mappen ANDEN findes ikke på serveren)" in ran.out
        assert cells(root) == {"169|2024-04"}
        assert "730: 2 filer for 2024-04 er ikke sendt" in root.refusion("status").out
        for words, code, line in (
            (("lever", "2023-01"), 1, "2023-01 har ingen viste filer"),
            (("lever", MONTH, "--kommune", "101"), 1, "levering.toml nævner ingen af 101"),
            (("lever", MONTH, "--kommune", "999"), 1, "999 er ikke en kommunekode"),
            (("lever", MONTH, "--proev", "--igen"), 2, "--proev sender intet"),
        ):
            ran = root.refusion(*words)
            assert (ran.code, line in ran.err) == (code, True), ran.err


def test_a_voucher_with_a_line_without_an_account_stays_here_and_the_other_files_go(
    example: Example, tmp_path: Path
) -> None:
    root = DataRoot(example.root.copy(tmp_path).path, rules_in(tmp_path))
    (tmp_path / "ud").mkdir()
    text = levering_toml(22, ["169"]).replace("sp-simpel", "mappe").replace('"advisering"', '"bogfoering"')
    (root.rules / "levering.toml").write_text(f'{text}ud = "{tmp_path / "ud"}"\n', "utf-8")
    told = deliver(root.place, month_of(MONTH), (), lambda _: None)
    [fault] = told.faults
    assert fault.startswith("169: bilaget ")
    assert "kontering.toml" in fault
    assert [path.name.split("-")[2] for path in (tmp_path / "ud").iterdir()] == ["beregning"]
    with root.place.warehouse.open() as session:
        assert receipts_in(session, root.place, month_of(MONTH)) == {"169": False}
    with (root.rules / "kontering.toml").open("a", encoding="utf-8") as file:
        file.write(
            '\n[[kommunebilag]]\nkommunekode = "169"\ntillad_pladsholder = true\ngaelder_fra = 2020-01-01\n' + CITED
        )
    told = deliver(DataRoot(root.path, root.rules).place, month_of(MONTH), (), lambda _: None)
    assert told.faults == ()
    assert len(list((tmp_path / "ud").iterdir())) == 2


def test_without_receivers_nothing_is_said_of_deliveries(example: Example, tmp_path: Path) -> None:
    assert "evering" not in example.root.refusion("status").out.replace("everinger", "")
    ran = example.root.copy(tmp_path).refusion("lever", MONTH)
    assert (ran.code, "levering.toml nævner ingen modtager" in ran.err) == (1, True)
