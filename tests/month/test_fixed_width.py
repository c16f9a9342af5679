"""Months delivered in the fixed-width form: the same claims, the same money, the same files as with CSV."""

import re
from pathlib import Path

import pytest

from refusion_assets.assets import classified
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Faulty
from refusion_assets.files import arrivals, fixed
from tests.conftest import MONTHS, DataRoot, Example
from tests.kit.data_root import EXAMPLE, write_manifest
from tests.kit.fixed_width import as_fixed
from tests.kit.senders import Senders, about, adp, back, kth

# A row of this file names a municipality that is not the sender's: the fixed-width form cannot say that.
ONLY_AS_CSV = "eindkomst-yr-ksd-169-202401-0001.csv"
QUARANTINE = (
    "SELECT regexp_replace(filnavn, '[.].*', ''), indberetning_id, regel FROM classified.karantaene ORDER BY ALL"
)
CLAIMS = (
    "SELECT cpr, k.* EXCLUDE (borger_id) FROM classified.krav k JOIN identitet.borger USING (borger_id) ORDER BY ALL"
)
LEDGER = """SELECT cpr, p.* EXCLUDE (borger_id) FROM opgoerelse.postering p
    JOIN identitet.borger USING (borger_id) ORDER BY ALL"""


def without_places(files: dict[str, bytes]) -> dict[str, bytes]:
    """The files of a run with nothing about where a row stood: a file's name without its ending, and no line."""
    place = re.compile(rb"(eindkomst-[a-z0-9-]+)\.(csv|txt)( linje [0-9]+)?")
    return {name: place.sub(rb"\1", data) for name, data in files.items() if name != "SHA256SUMS"}


def lines_of(path: Path) -> list[str]:
    """The lines of a file, the first one at place 1."""
    return ["", *path.read_text("latin-1").splitlines()]


def test_the_example_in_the_fixed_width_form_gives_the_same_claims_ledger_and_files_as_in_csv(
    tmp_path: Path, example: Example, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fixed, "BLOCK_BYTES", 20_000)
    monkeypatch.setattr(classified, "LINES_PER_JUDGEMENT", 300)
    root = DataRoot(tmp_path)
    for path in (EXAMPLE / "data" / "raw").glob("*/*/*"):
        copy = tmp_path / path.relative_to(EXAMPLE / "data")
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())
    for path in sorted(tmp_path.glob("raw/*/*/eindkomst-*.csv")):
        if path.name != ONLY_AS_CSV:
            as_fixed(path)
    for month in MONTHS:
        root.run(month)
        assert without_places(root.files(month)) == without_places(example.files[month])
    for query in (QUARANTINE, CLAIMS, LEDGER):
        assert root.rows(query) == example.root.rows(query)
    bad = root.rows("""SELECT f.sti, k.linje FROM classified.karantaene k JOIN raw.fil f USING (filnavn)
        WHERE f.filnavn LIKE '%.txt'""")
    assert len(bad) > 10
    for sti, linje in bad:
        line = lines_of(tmp_path / "raw" / sti)[linje]
        assert line[:11] in {f"{linje:07}6000", f"{linje:07}4101"}


def test_a_sender_may_change_the_form_from_month_to_month_and_a_row_is_corrected_across_the_forms(
    senders: Senders,
) -> None:
    senders.deliver("2024-02", [kth("A"), kth("B", "500,00"), adp("C")])
    advice = senders.run("2024-02")
    senders.deliver("2024-03", [back("K", "TA", "A"), kth("A2", "700,00"), adp("C2", "1,00"), back("D", "TC", "C")])
    for path in (senders.root / "raw").glob("*/2024-03/eindkomst-*.csv"):
        as_fixed(path)
    advice = senders.run("2024-03")
    assert [rule for rule in advice["regel"] if not rule.startswith("FIL-")] == []
    with senders.place.warehouse.open() as session:
        held = session.frame("SELECT sum(beloeb_oere)::BIGINT, sum(antal_raekker)::BIGINT FROM classified.krav").row(0)
    assert held == (50_000 + 70_000 + 100, 3)


def test_a_bad_row_keeps_its_rule_and_is_told_with_file_and_line_while_the_others_are_used(senders: Senders) -> None:
    rows = [kth("A"), kth("B", "1.000,00"), kth("C", Felt0214_slut=""), kth("E"), adp("D")]
    senders.deliver("2024-02", rows)
    for path in (senders.root / "raw").glob("*/2024-02/eindkomst-*.csv"):
        as_fixed(path)
    advice = senders.run("2024-02")
    [amount], [period] = about(advice, "EI-001"), about(advice, "YR-004")
    name = "eindkomst-yr-ky-169-202402-0001.txt"
    assert (amount["fil"], amount["felt"], amount["indberetning_id"]) == (name, "Felt0014", "B")
    assert (period["fil"], period["indberetning_id"]) == (name, "C")
    lines = lines_of(senders.root / "raw" / "ky" / "2024-02" / name)
    assert [lines[found["linje"]][7:11] for found in (amount, period)] == ["6000", "6000"]
    assert lines[amount["linje"] + 1][7:] == "600100140000000000001000+"


def test_one_name_in_both_forms_is_refused_with_both_named(senders: Senders) -> None:
    senders.deliver("2024-02", [kth("A"), adp("B")])
    [path] = (senders.root / "raw").glob("ky/2024-02/eindkomst-*.csv")
    data = path.read_bytes()
    as_fixed(path)
    path.write_bytes(data)
    with pytest.raises(Faulty) as stopped:
        senders.run("2024-02")
    assert [(fault.regel, fault.genstand) for fault in stopped.value.faults] == [
        ("FIL-001", path.name),
        ("FIL-001", path.with_suffix(".txt").name),
    ]
    assert "ligger ved siden af, og de har samme manifest" in str(stopped.value.faults[0])


def test_the_board_proves_a_file_in_the_form_as_one_in_csv_and_tells_the_line_of_a_bad_one(senders: Senders) -> None:
    senders.deliver("2024-02", [kth("A"), adp("B")])

    def proofs() -> dict[str, arrivals.Proof]:
        found = arrivals.prove(senders.place.raw, month_of("2024-02"), senders.place.rules, {}, seconds=60, settling=0)
        return {proof.kilde: proof for proof in found}

    before = proofs()["ky"]
    [path] = (senders.root / "raw").glob("ky/2024-02/eindkomst-*.csv")
    path = as_fixed(path)
    assert (proofs()["ky"].indhold, proofs()["ky"].fejl) == (before.indhold, ())
    path.write_bytes(path.read_bytes().replace(b"00000022001", b"00000032001"))
    write_manifest(path, [], antal_raekker=1, sum_felt0014="1000.00")
    [fault] = proofs()["ky"].fejl
    assert (fault.regel, fault.genstand) == ("FIL-002", path.name)
    assert fault.tekst.startswith("linje 2 har ikke sit eget nummer")
