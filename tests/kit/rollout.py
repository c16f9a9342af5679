"""Understands a plan of the roll-out, for tests."""

import shutil
from collections.abc import Collection
from datetime import date
from pathlib import Path

from tests.kit.data_root import RULES, rules_of_few

PILOTS = (("101", "706", "751", "851"), ("147", "219", "330", "461", "561", "630"))


def plan_text(first: date, **changes: str) -> str:
    """The text of a plan with pilots of four and six, and waves of fifteen; each change is the value of a key."""
    values = {
        "kilder": '["ky"]',
        "foerste_maaned": f"{first}",
        "foerste_pilot": str(list(PILOTS[0])),
        "anden_pilot": str(list(PILOTS[1])),
        "graense": "15",
        "hjemmel": '"ingen"',
        "kilde": '"referatet"',
        "kontrolleret": "2026-01-01",
        "sikkerhed": '"besluttet"',
    }
    return "[[udrulning]]\n" + "".join(f"{key} = {value}\n" for key, value in (values | changes).items())


def planned_rules(folder: Path, first: date, koder: Collection[str] = (), **changes: str) -> Path:
    """A copy of the rules with a plan; it knows the municipalities of `koder` alone, if there are any."""
    rules = folder / "regler"
    rules_of_few(rules, koder) if koder else shutil.copytree(RULES, rules)
    path = rules / "udrulning.toml"
    path.chmod(0o644)
    path.write_text(plan_text(first, **changes), encoding="utf-8")
    return rules
