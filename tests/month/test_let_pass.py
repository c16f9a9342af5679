"""What may be let pass knowingly: only what would stop this run, and nothing is touched by asking for anything else."""

import shutil
from collections.abc import Sequence
from pathlib import Path

import dagster as dg
import pytest

from refusion_assets.assets.checks import received
from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.gate import Asked
from refusion_assets.assets.raw import registers, reports
from refusion_assets.assets.raw.let_pass import Knowingly, let_passed
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.stop import Faulty, Refused
from refusion_assets.place import environment
from refusion_assets.store import events
from tests.conftest import DataRoot
from tests.kit.data_root import Row, write_file
from tests.kit.senders import MONTHS, OTHER, Senders, about, adp, back, kth
from tests.kit.timeline import CPR

FIRST, SECOND, *_ = MONTHS
REASON = "aftalt med afsenderen"
AKASSE = "akasse-20100001"
OF_SECOND = "eindkomst-yr-ky-169-202403-0002.csv"
MILLION = "1000000,00"


def knowingly(*accepter: str) -> Knowingly:
    """Some stops let pass with a reason."""
    return Knowingly(accepter=list(accepter), begrundelse=REASON)


@pytest.fixture(scope="module")
def first_run(tmp_path_factory: pytest.TempPathFactory) -> Senders:
    """The first month run, with ten people in the register; only to be copied."""
    senders = Senders(tmp_path_factory.mktemp("foerste"))
    homes(senders, FIRST, 10)
    senders.deliver(FIRST, [kth("A"), adp("B")])
    senders.run(FIRST)
    return senders


@pytest.fixture
def settled(first_run: Senders, tmp_path: Path) -> Senders:
    """A copy of that root, for the second month to be delivered to."""
    return Senders(Path(shutil.copytree(first_run.root, tmp_path / "data")), first_run.sent)


def homes(senders: Senders, month: str, people: int, name: str = "169") -> None:
    """A snapshot of so many people, the two of the senders first."""
    others = [f"6{n}01512470" for n in range(1, 10)]
    senders.live(month, *((cpr, name, "2010-01-01", "") for cpr in [CPR, OTHER, *others][:people]))


def take_in(senders: Senders, month: str, *accepter: str) -> list[tuple[str, str, str]]:
    """A month taken in with some stops let pass, and what is then kept as let pass."""
    with senders.place.warehouse.open() as session:
        reports.ingest(session, senders.place, month_of(month), knowingly=knowingly(*accepter))
        registers.ingest_registers(session, senders.place, month_of(month))
        return list(let_passed(session, month_of(month)))


def take_away(senders: Senders, pattern: str) -> dict[Path, bytes]:
    """Files under raw/ taken away, and what was in them."""
    gone = {path: path.read_bytes() for path in (senders.root / "raw").glob(pattern)}
    for path in gone:
        path.unlink()
    return gone


@pytest.mark.parametrize(
    "unneeded",
    [
        "FIL-006:ksd-999",
        "FIL-006:ky-169",
        "FIL-006:ky-0169",
        "REG-001:bopael-202402.csv",
        f"EI-017:{OF_SECOND}:2",
        f"EI-017:{OF_SECOND}:99",
        "FIL-008:eindkomst-yr-ky-169-202402-0001.csv",
    ],
)
def test_what_stops_nothing_is_refused_and_nothing_is_kept(settled: Senders, unneeded: str) -> None:
    settled.deliver(SECOND, [kth("C"), adp("D")])
    take_away(settled, "akasse/2024-03/*")
    with pytest.raises(Refused, match=f"{unneeded} standser ikke kørslen"):
        take_in(settled, SECOND, f"FIL-006:{AKASSE}", unneeded)
    with settled.place.warehouse.open() as session:
        assert list(let_passed(session, month_of(SECOND))) == []
        assert session.value("SELECT count(*) FROM raw.fil") == 2


@pytest.mark.parametrize("other", ["REG-002:bopael", "FIL-001:x.csv", "EI-009:ky-169", "FIL-006:", "FIL-006"])
def test_what_can_never_be_let_pass_is_refused(settled: Senders, other: str) -> None:
    with pytest.raises(Refused, match="kan ikke accepteres; kun FIL-006:<kilde>-<enhed>"):
        take_in(settled, FIRST, other)


def test_a_refusal_shows_no_number_that_may_be_a_persons(settled: Senders) -> None:
    with pytest.raises(Refused) as refused:
        take_in(settled, FIRST, f"FIL-006:{CPR}")
    assert CPR not in str(refused.value)


def test_a_decision_whose_cause_is_gone_is_not_kept(settled: Senders) -> None:
    settled.deliver(SECOND, [kth("C"), adp("D")])
    gone = take_away(settled, "akasse/2024-03/*")
    assert take_in(settled, SECOND, f"FIL-006:{AKASSE}") == [("FIL-006", AKASSE, REASON)]
    assert take_in(settled, SECOND) == [("FIL-006", AKASSE, REASON)]
    for path, data in gone.items():
        path.write_bytes(data)
    assert take_in(settled, SECOND) == []


@pytest.mark.parametrize(("people", "stops"), [(9, False), (8, True), (11, False)])
def test_a_register_with_over_ten_per_cent_fewer_people_stops_until_it_is_let_pass(
    settled: Senders, people: int, *, stops: bool
) -> None:
    settled.deliver(SECOND, [kth("C"), adp("D")])
    homes(settled, SECOND, people)
    if not stops:
        assert take_in(settled, SECOND) == []
        return
    with pytest.raises(Faulty, match=r"REG-001 bopael-202403\.csv: 8 borgere er over 10 pct\. færre end de 10 i"):
        take_in(settled, SECOND)
    kept = [("REG-001", "bopael-202403.csv", REASON)]
    assert take_in(settled, SECOND, "REG-001:bopael-202403.csv") == kept
    assert take_in(settled, SECOND) == kept
    (row,) = about(settled.run(SECOND), "REG-001")
    assert (row["kommunekode"], row["vaerdi"]) == ("000", f"bopael-202403.csv (accepteret: {REASON})")


def test_a_register_that_loses_people_between_two_attempts_of_the_first_month_stops_too(senders: Senders) -> None:
    homes(senders, FIRST, 10)
    senders.deliver(FIRST, [kth("A"), adp("B")])
    senders.run(FIRST)
    homes(senders, FIRST, 1)
    with pytest.raises(Faulty, match="REG-001"):
        senders.run(FIRST)


@pytest.mark.parametrize("how", ["no folder", "an empty folder", "a misspelt name", "a later month"])
def test_national_senders_without_a_register_of_residence_stop_the_month(senders: Senders, how: str) -> None:
    senders.deliver(FIRST, [kth("A"), adp("B")])
    folder = senders.root / "raw" / "bopael" / FIRST
    if how == "a misspelt name":
        (folder / "bopael-202402.csv").rename(folder / "bopael-2024-02.csv")
    elif how == "a later month":
        homes(senders, SECOND, 2)
    if how != "a misspelt name":
        take_away(senders, f"bopael/{FIRST}/*")
    if how == "no folder":
        folder.rmdir()
    with pytest.raises(Faulty, match="REG-002 bopael: akasse har leveret, men der er intet bopælsregister"):
        take_in(senders, FIRST)
    take_away(senders, "akasse/*/*")
    assert take_in(senders, FIRST) == []


def large(senders: Senders, month: str) -> Sequence[str]:
    """The lines that stop a month that is taken in and classified, as they are named to let them pass."""
    with senders.place.warehouse.open() as session:
        classify_through(session, senders.place, month_of(month))
        outcome = received.beloeb_er_under_graensen(Asked(session, senders.place, month_of(month)))
        found = received.large_lines_used(session, senders.place.rules, month_of(month))
        assert outcome.bestaaet == (len(found) == outcome.tal["accepteret"])
        assert all(f"--accepter EI-017:{fault.genstand}" in outcome.handling for fault in found) or outcome.bestaaet
        return [] if outcome.bestaaet else [fault.genstand for fault in found]


@pytest.mark.parametrize(
    ("told", "line", "stops"),
    [
        ("a million", kth("C", MILLION), False),
        ("an øre more", kth("C", "1000000,01"), True),
        ("less repaid help", kth("C", "1000000,01", Felt0098="0,01"), False),
        ("two fields of the benefit", kth("C", "600000,00", Felt0048="600000,00"), False),
        ("as much below zero", kth("C", "-1000000,01"), False),
        ("a quarantined line", kth("C", "9000000,00", CPR="1"), False),
    ],
)
def test_a_line_above_the_bound_of_its_benefit_stops_the_month(
    settled: Senders, told: str, line: tuple[str, Row], *, stops: bool
) -> None:
    settled.deliver(SECOND, [line, adp("D")])
    assert take_in(settled, SECOND) == []
    assert (large(settled, SECOND) == [f"{OF_SECOND}:2"]) == stops, told


def test_a_large_line_is_let_pass_by_file_and_line_and_used_as_it_is(settled: Senders) -> None:
    settled.deliver(SECOND, [kth("X"), kth("C", "2000000,00", CPR=OTHER), adp("D")])
    named = f"{OF_SECOND}:3"
    assert take_in(settled, SECOND) == []
    assert large(settled, SECOND) == [named]
    assert take_in(settled, SECOND, f"EI-017:{named}") == [("EI-017", named, REASON)]
    assert large(settled, SECOND) == []
    (row,) = about(settled.run(SECOND), "EI-017")
    assert (row["kommunekode"], row["beloeb_oere"]) == ("169", 200_000_000)
    assert row["vaerdi"] == f"{named} (accepteret: {REASON})"


def test_a_large_line_that_is_reversed_in_the_same_month_stops_nothing(settled: Senders) -> None:
    settled.deliver(SECOND, [kth("C", "2000000,00"), back("K", "T", "C"), adp("D")])
    assert take_in(settled, SECOND) == []
    assert large(settled, SECOND) == []


def test_a_large_line_of_a_closed_run_is_not_asked_about_again(settled: Senders) -> None:
    settled.deliver(SECOND, [kth("C", "2000000,00"), adp("D")])
    take_in(settled, SECOND, f"EI-017:{OF_SECOND}:2")
    settled.run(SECOND)
    settled.deliver(MONTHS[2], [kth("E"), adp("F")])
    assert take_in(settled, MONTHS[2]) == []
    assert large(settled, MONTHS[2]) == []


# --- the command, and the board -----------------------------------------------------------------------------


@pytest.fixture
def paid(senders: Senders) -> Senders:
    """The first month run to its end, with ten people in the register."""
    homes(senders, FIRST, 10)
    senders.deliver(FIRST, [kth("A"), adp("B")])
    DataRoot(senders.root).run(FIRST)
    return senders


def cells(root: DataRoot, monkeypatch: pytest.MonkeyPatch) -> set[str]:
    """The green cells of the operator's board."""
    for name, value in (root.environment | environment(root.place)).items():
        monkeypatch.setenv(name, value)
    with events.instance(root.path / "dagster") as opened:
        return set(opened.get_materialized_partitions(dg.AssetKey("leverance")))


def test_a_month_with_every_acceptable_stop_runs_when_all_are_let_pass_and_the_board_shows_who_is_missing(
    paid: Senders, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = DataRoot(paid.root)
    paid.deliver(SECOND, [kth("C", "2000000,00"), adp("D")])
    for kasse in ("20100002", "20100003"):
        report = {"Pligt_SE": kasse, "IndberetningsID": f"D{kasse}"}
        name = f"eindkomst-yr-akasse-{kasse}-202403-0001.csv"
        write_file(root.path, Fil(name, "akasse", kasse, SECOND, "", [adp("D", **report)[1]]))
    take_away(paid, f"akasse/{SECOND}/*{AKASSE[7:]}*")
    homes(paid, SECOND, 5)
    named = (f"FIL-006:{AKASSE}", "REG-001:bopael-202403.csv", f"EI-017:{OF_SECOND}:2")
    stopped = root.refusion("koer", SECOND)
    assert (stopped.code, stopped.err.count("\n")) == (1, 1)
    assert f"FIL-006 {AKASSE}" in stopped.err
    accept = [word for one in named for word in ("--accepter", one)]
    refused = root.refusion("koer", SECOND, *accept, "--accepter", "FIL-006:ksd-999", "--begrundelse", REASON)
    assert (refused.code, refused.err.count("\n"), "FIL-006:ksd-999 standser ikke" in refused.err) == (1, 1, True)
    assert root.rows("SELECT count(*) FROM kontrol.accept") == [(0,)]
    ran = root.refusion("koer", SECOND, *accept, "--begrundelse", REASON)
    assert (ran.code, ran.err) == (0, "")
    assert [line.strip() for line in ran.out.splitlines() if "Accepteret" in line] == [
        f"Accepteret: {regel} {genstand}: {REASON}"
        for regel, _, genstand in sorted(one.partition(":") for one in named)
    ]
    assert cells(root, monkeypatch) == {
        f"{sender}|{SECOND}" for sender in ("akasse-20100002", "akasse-20100003", "ky-169")
    }


def test_the_command_names_the_line_and_how_to_let_it_pass(paid: Senders) -> None:
    paid.deliver(SECOND, [kth("C", "2000000,00"), adp("D")])
    root = DataRoot(paid.root)
    stopped = root.refusion("koer", SECOND)
    assert (stopped.code, stopped.err.count("\n")) == (1, 1)
    wanted = f'refusion koer 2024-03 --accepter EI-017:{OF_SECOND}:2 --begrundelse "..."'
    assert wanted in stopped.err
    assert CPR not in stopped.err
    assert root.files(SECOND) == {}


def test_a_decision_is_about_one_month(settled: Senders) -> None:
    ran = DataRoot(settled.root).refusion("koer", f"{FIRST}..{SECOND}", "--accepter", f"FIL-006:{AKASSE}")
    assert (ran.code, "een måned" in ran.err) == (1, True)
