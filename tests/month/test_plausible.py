"""A person's week and a municipality's month that are too large stop the month until an operator lets them pass."""

import shutil
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import pytest

from refusion_assets.assets.checks import plausible
from refusion_assets.assets.raw import reports
from refusion_assets.assets.raw.let_pass import Knowingly, let_passed
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Fault, Refused
from refusion_assets.rulebook.load import load
from refusion_assets.store.session import Session
from tests.conftest import DataRoot
from tests.kit.data_root import RULEBOOK, RULES, Row
from tests.kit.rule_edits import put
from tests.kit.senders import MONTHS, OTHER, Senders, about, adp, back, kth

FIRST, SECOND, *_ = MONTHS
REASON = "set efter"
OF_FIRST = "eindkomst-yr-ky-169-202402-0001.csv"
MILLION = "1000000,00"
MARCH = {"fra": date(2024, 3, 4), "til": date(2024, 3, 10)}
Rows = Sequence[tuple[str, Row]]


def several(number: int) -> list[tuple[str, Row]]:
    """So many reports of one person's week, each at the bound of a line."""
    return [kth(f"S{n}", MILLION) for n in range(number)]


def weeks(senders: Senders, month: str = FIRST) -> list[Fault]:
    """The weeks that stop a month that has been run."""
    with senders.place.warehouse.open() as session:
        return plausible.large_weeks(session, senders.place.rules, month_of(month))


@pytest.mark.parametrize(
    ("told", "lines", "stops"),
    [
        ("twice the bound of a line", several(2), []),
        ("an øre more", [*several(2), kth("T", "0,01")], [f"{OF_FIRST}:2"]),
        ("two people", [*several(2), kth("T", "0,01", CPR=OTHER)], []),
        ("a line that EI-017 asks about", [*several(2), kth("T", "1000000,01")], []),
        ("a line that is reversed", [*several(3), back("K", "R", "S0")], []),
    ],
)
def test_a_week_above_the_bound_of_its_benefit_stops_the_month_and_names_the_largest_new_line(
    senders: Senders, told: str, lines: Rows, stops: list[str]
) -> None:
    senders.deliver(FIRST, lines)
    senders.run(FIRST)
    assert [fault.genstand for fault in weeks(senders)] == stops, told


def test_a_week_is_let_pass_by_its_line_and_a_later_run_does_not_ask_again(senders: Senders) -> None:
    senders.deliver(FIRST, [*several(2), kth("T", "0,01")])
    senders.run(FIRST)
    with senders.place.warehouse.open() as session, pytest.raises(Refused, match="standser ikke kørslen"):
        let(session, senders, f"EI-020:{OF_FIRST}:4")
    with senders.place.warehouse.open() as session:
        let(session, senders, f"EI-020:{OF_FIRST}:2")
        assert list(let_passed(session, month_of(FIRST))) == [("EI-020", f"{OF_FIRST}:2", REASON)]
    (row,) = about(senders.run(FIRST), "EI-020")
    assert (row["kommunekode"], row["alvor"], row["vaerdi"]) == ("169", "FEJL", f"{OF_FIRST}:2 (accepteret: {REASON})")
    senders.deliver(SECOND, [adp("D")])
    senders.run(SECOND)
    assert weeks(senders, SECOND) == []


# --- a municipality's month ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def low(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rules whose bounds are an øre for each of the 60458 inhabitants of 169: 604,58 kr. of a benefit."""
    rules = Path(shutil.copytree(RULES, tmp_path_factory.mktemp("lave") / "rules"))
    put(rules, "kontrol.toml", "vaerdi = 500000", "vaerdi = 1")
    put(rules, "kontrol.toml", "vaerdi = 1000000\n", "vaerdi = 2\n")
    return rules


def months(root: DataRoot, month: str) -> list[str]:
    """The months of municipalities that stop a run that has been settled."""
    with root.place.warehouse.open() as session:
        return [fault.genstand for fault in plausible.large_months(session, root.place, month_of(month))]


@pytest.mark.parametrize(
    ("lines", "stops"),
    [
        ([kth("A", "755,73")], []),
        ([kth("A", "755,74")], ["169:KTH"]),
        ([kth("A", "755,74"), kth("B", "1000000,01", CPR=OTHER)], []),  # EI-017 asks about the second
    ],
)
def test_a_first_month_above_the_bound_for_each_inhabitant_stops(
    senders: Senders, low: Path, lines: Rows, stops: list[str]
) -> None:
    senders.deliver(FIRST, lines)
    root = DataRoot(senders.root, low)
    root.run(FIRST)
    assert months(root, FIRST) == stops


@pytest.mark.parametrize(("kroner", "stops"), [("5000,00", []), ("5000,02", ["169:KTH"])])
def test_a_later_month_stops_only_if_it_is_also_above_five_times_the_mean_of_those_before(
    senders: Senders, low: Path, kroner: str, stops: list[str]
) -> None:
    root = DataRoot(senders.root, low)
    senders.deliver(FIRST, [kth("A")])
    root.run(FIRST)
    senders.deliver(SECOND, [kth("B", kroner, **MARCH)])
    root.run(SECOND)
    assert months(root, SECOND) == stops


def test_a_month_far_below_zero_stops_too_and_a_municipality_that_is_held_back_does_not(
    senders: Senders, low: Path
) -> None:
    root = DataRoot(senders.root, low)
    senders.deliver(FIRST, [kth("A")])
    root.run(FIRST)
    senders.deliver(SECOND)
    root.run(SECOND)
    senders.deliver(MONTHS[2], [back("K", "R", "A"), kth("B", "0,01")])
    root.run(MONTHS[2])
    assert months(root, MONTHS[2]) == []
    with root.place.warehouse.open() as session:
        last = session.integer("SELECT max(koersel) FROM opgoerelse.koersel")
        session.run("UPDATE opgoerelse.postering SET refusion_oere = 10 * refusion_oere WHERE koersel = $n", n=last)
    assert months(root, MONTHS[2]) == ["169:KTH"]
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM opgoerelse.postering WHERE kommunekode = '169'")
    assert months(root, MONTHS[2]) == []


def test_the_sum_of_all_benefits_is_named_only_where_no_benefit_is_above_its_own_bound(
    senders: Senders, low: Path
) -> None:
    rules = Path(shutil.copytree(low, senders.root / "rules"))
    put(rules, "kontrol.toml", "vaerdi = 2\n", "vaerdi = 1\n")
    root = DataRoot(senders.root, rules)
    senders.deliver(FIRST, [kth("A", "700,00"), adp("D", "700,00")])
    root.run(FIRST)
    assert months(root, FIRST) == ["169:alle"]


def test_a_month_that_stops_has_no_files_and_the_line_that_stops_it_says_how_to_let_it_pass(
    senders: Senders, low: Path
) -> None:
    senders.deliver(FIRST, [kth("A")])
    root = DataRoot(senders.root, low)
    stopped = root.refusion("koer", FIRST)
    assert (stopped.code, stopped.err.count("\n"), root.files(FIRST)) == (1, 1, {})
    wanted = f'refusion koer {FIRST} --accepter OPG-001:169:KTH --begrundelse "..."'
    said = "OPG-001 169:KTH: Høje-Taastrup får 800,00 kr. KTH i måneden, over grænsen på 604,58 kr."
    assert [word for word in (wanted, said) if word not in stopped.err] == []
    other = root.refusion("koer", FIRST, "--accepter", "OPG-001:169:alle", "--begrundelse", REASON)
    assert (other.code, "OPG-001:169:alle standser ikke kørslen" in other.err) == (1, True)
    assert "det gør OPG-001:169:KTH" in other.err
    ran = root.refusion("koer", FIRST, "--accepter", "OPG-001:169:KTH", "--begrundelse", REASON)
    assert (ran.code, ran.err, f"Accepteret: OPG-001 169:KTH: {REASON}" in ran.out) == (0, "", True)
    again = root.files(FIRST)
    assert again
    assert root.refusion("koer", FIRST).code == 0
    assert root.files(FIRST) == again
    told = [name for name, data in again.items() if "OPG-001" in data.decode("utf-8", "replace")]
    assert told == ["yr-ydelsesrefusion-advisering-169-0050-2024-03-03.csv"]


def test_rules_of_before_the_bounds_stop_nothing(tmp_path: Path) -> None:
    rules = Path(shutil.copytree(RULES, tmp_path / "rules"))
    text = (rules / "kontrol.toml").read_text("utf-8").split("\n[[")
    later = ('id = "EI-020"', 'id = "OPG-001"', '"ugestop_oere"', 'id = "kommune')
    (rules / "kontrol.toml").unlink()
    (rules / "kontrol.toml").write_text("\n[[".join(p for p in text if not any(w in p for w in later)), "utf-8")
    assert not load(rules).has_bounds("ugestop_oere")
    assert RULEBOOK.has_bounds("ugestop_oere", *plausible.MONTH_BOUNDS)


def let(session: Session, senders: Senders, *accepter: str) -> None:
    """A month taken in with some stops let pass."""
    config = Knowingly(accepter=list(accepter), begrundelse=REASON)
    reports.ingest(session, senders.place, month_of(FIRST), knowingly=config)
