"""Understands a run that has been shown, made up in an instant: small files, SHA256SUMS, and the row of the run."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from refusion_assets.assets.gate import AABEN
from refusion_assets.assets.levering.receipts import read_receipts
from refusion_assets.assets.levering.shipments import Delivered, deliver
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.opgoerelse.ledger import Koersel, KommuneKoersel, run_number
from refusion_assets.levering import shipping
from tests.conftest import DataRoot
from tests.kit.data_root import RULES
from tests.kit.sftp import Server, levering_toml, sftp_server

MONTH = "2026-10"
KINDS = ("beregning", "advisering")


@dataclass
class Shown:
    """A data root with one shown run, its rules with receivers, and the server they are behind."""

    root: DataRoot
    server: Server
    said: list[str] = field(default_factory=list)

    def files(self, koder: Sequence[str], text: str = "Uge;CPR nummer\n", month: str = MONTH) -> dict[str, str]:
        """The files of a run written and shown, in place of those there: name and sha256."""
        place, first = self.root.place, month_of(month)
        number = run_number(first, place.rules)
        folder = place.outgoing / month
        folder.mkdir(parents=True, exist_ok=True)
        sums = {}
        for kode in koder:
            for kind in KINDS:
                name = f"yr-ydelsesrefusion-{kind}-{kode}-{number:04d}-2026-11-03.csv"
                (folder / name).write_text(f"{text}{kode};{kind}\n", encoding="utf-8")
                sums[name] = hashlib.sha256((folder / name).read_bytes()).hexdigest()
        listed = "".join(f"{summed}  {name}\n" for name, summed in sorted(sums.items()))
        (folder / "SHA256SUMS").write_text(listed, encoding="utf-8")
        row = {
            "koersel": number, "maaned": first, "status": AABEN, "regelversion": "0" * 64,
            "filsum": hashlib.sha256(listed.encode()).hexdigest(),
        }  # fmt: skip
        with place.warehouse.open() as session:
            session.run("DELETE FROM opgoerelse.koersel WHERE maaned = $m", m=first)
            session.insert("opgoerelse.koersel", pl.DataFrame([row], schema=kinds_of(Koersel)))
            session.run("DELETE FROM opgoerelse.kommune WHERE koersel = $n", n=number)
            none = dict.fromkeys(kinds_of(KommuneKoersel), 0) | {"koersel": number}
            settled = [none | {"kommunekode": kode} for kode in koder]
            session.insert("opgoerelse.kommune", pl.DataFrame(settled, schema=kinds_of(KommuneKoersel)))
        return sums

    def receivers(self, koder: Sequence[str], port: int = 0, **more: str) -> None:
        """A receiver for each code."""
        (self.root.rules / "levering.toml").write_text(levering_toml(port or self.server.port, koder, **more), "utf-8")

    def deliver(self, *koder: str, igen: bool = False) -> Delivered:
        """A delivery without Dagster."""
        return deliver(self.root.place, month_of(MONTH), koder, self.said.append, igen=igen)

    def receipts(self) -> Delivered:
        """The receipts read."""
        return read_receipts(self.root.place, None, self.said.append)[0]

    def rows(self, columns: str) -> list[tuple[Any, ...]]:
        """The deliveries in the warehouse."""
        return self.root.rows(f"SELECT {columns} FROM levering.forsendelse ORDER BY kommunekode, fil, gang")

    def statuses(self) -> set[str]:
        """The statuses of all deliveries."""
        return {status for (status,) in self.rows("status")}


def rules_in(folder: Path) -> Path:
    """A copy of the rules."""
    target = folder / "rules"
    target.mkdir(parents=True)
    for path in RULES.iterdir():
        if path.is_file():
            (target / path.name).write_bytes(path.read_bytes())
    return target


@pytest.fixture
def shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shown]:
    """A shown run of two municipalities, and a server; pauses between attempts are short."""
    monkeypatch.setattr(shipping, "PAUSES", (0.05,))
    with sftp_server(tmp_path / "sp") as server:
        made = Shown(DataRoot(tmp_path / "data", rules_in(tmp_path)), server)
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        made.receivers(["101", "730"])
        made.files(["101", "730"])
        yield made
