"""Understands a how-to page for its test: the diff of the rules, the reports, and the rows that they must give."""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path

from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.rules.entries import Rulebook
from tests.conftest import DataRoot
from tests.kit.data_root import REPO, Row, write_file, write_register
from tests.kit.timeline import PEOPLE, delivered, report

PAGES = REPO / "docs" / "vejledning"
REPORTS = ["Borger", "Konto", "Fra", "Til", "Udbetalt", "Modtaget"]
ROWS = ["Borger", "Uge", "Ydelse", "Uge nr.", "Fri", "Trin", "Udbetalt", "Procent", "Refusion"]
STATE = """SELECT cpr, uge, ydelse_id, ydelsestaeller, genoptjeningstaeller, trin, beloeb_oere, procent, refusion_oere
    FROM refusion.borger_uge_ydelse JOIN identitet.borger USING (borger_id)"""


@dataclass(frozen=True)
class Page:
    """One page as its reader sees it."""

    text: str

    @classmethod
    def read(cls, name: str) -> "Page":
        """The page of a file name without its ending."""
        return cls((PAGES / f"{name}.md").read_text("utf-8"))

    def fenced(self, kind: str) -> list[str]:
        """The blocks of a kind, as they are printed."""
        return re.findall(rf"^```{kind}\n(.*?)^```$", self.text, re.MULTILINE | re.DOTALL)

    def table(self, header: Sequence[str]) -> list[list[str]]:
        """The cells of the one table with this header."""
        lines = self.text.splitlines()
        [start] = [n for n, line in enumerate(lines) if cells(line) == list(header)]
        body = lines[start + 2 :]
        end = next((n for n, line in enumerate(body) if not line.startswith("|")), len(body))
        return [cells(line) for line in body[:end]]

    @property
    def months(self) -> list[str]:
        """The months of receipt in order: the runs of the page."""
        return sorted({row[-1] for row in self.table(REPORTS)})

    @property
    def expected(self) -> list[tuple[object, ...]]:
        """The rows that the page has worked out by hand, in øre."""
        return sorted(
            (PEOPLE[int(borger) - 1], date.fromisoformat(uge), ydelse, int(nr), int(fri), int(trin), oere(udbetalt),
             int(procent), oere(refusion))
            for borger, uge, ydelse, nr, fri, trin, udbetalt, procent, refusion in self.table(ROWS)
        )  # fmt: skip

    def apply(self, folder: Path) -> None:
        """The diffs of the page put into the rules of a folder; every line around a change must be as the page says."""
        for diff in self.fenced("diff"):
            before = {path.name: path.read_bytes() for path in (folder / "rules").iterdir()}
            for path in (folder / "rules").iterdir():
                path.chmod(0o644)
            subprocess.run(
                ["git", "apply", "--whitespace=error", "-"],  # noqa: S607
                cwd=folder, input=diff, text=True, check=True, env={"GIT_CEILING_DIRECTORIES": str(folder.parent)},
            )  # fmt: skip
            assert before != {path.name: path.read_bytes() for path in (folder / "rules").iterdir()}

    def deliver(self, root: DataRoot, rules: Rulebook) -> None:
        """The reports of the page as raw files, every sender a file a month; all live where they are paid."""
        konti = {konto.konto: konto for konto in rules.konti}
        rows: dict[str, list[Row]] = {month: [] for month in self.months}
        for number, (borger, konto, fra, til, udbetalt, month) in enumerate(self.table(REPORTS), 1):
            days = date.fromisoformat(fra), date.fromisoformat(til)
            made = report(konti[konto], "0014", PEOPLE[int(borger) - 1], *days, oere(udbetalt))
            rows[month].append(made | {"IndberetningsID": f"I{number}"})
        senders = {(row["kilde"], row["enhed"]) for month in rows.values() for row in month}
        for month, lines in rows.items():
            files = delivered(lines, month)
            quiet = senders - {(fil.kilde, fil.enhed) for fil in files}
            for kilde, enhed in sorted(quiet):
                name = f"eindkomst-yr-{kilde}-{enhed}-{month.replace('-', '')}-{int(month[5:]):04}.csv"
                write_file(root.path, Fil(name, kilde, enhed, month, "", []))
            for fil in files:
                write_file(root.path, fil)
            homes = [(cpr, "169", "2000-01-01", "") for cpr in PEOPLE]
            names = ("CPR", "Kommunekode", "Bopael_start", "Bopael_slut")
            write_register(root.path, "bopael", month, [dict(zip(names, home, strict=True)) for home in homes])


def cells(line: str) -> list[str]:
    """The cells of a line of a table."""
    return [cell.strip().strip("`") for cell in line.strip().strip("|").split("|")]


def oere(kroner: str) -> int:
    """An amount as the page prints it (1.750,00) in øre."""
    return int(kroner.replace(".", "").replace(",", ""))


def squeezed(text: str) -> str:
    """A text with one blank where it has more."""
    return re.sub(r" +", " ", text)
