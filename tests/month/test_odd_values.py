"""Odd values in every column, through real files: nothing but quarantine, and both calculations say the same."""

from dataclasses import replace
from datetime import date
from hashlib import sha256

import pytest

from refusion_assets.assets.checks.asset import ask, looks
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.efterregning.reports import Fil, claims, judge
from refusion_assets.domain.raw import NAMES
from tests.conftest import DataRoot
from tests.kit import timeline
from tests.kit.data_root import RULEBOOK, judge_files, write_manifest, write_register
from tests.kit.odd import as_csv, odd_files

MONTHS = ("2024-02", "2024-03")
LINES = 2_400
KRAV = """SELECT cpr, konto, periode_start, periode_slut, coalesce(skrevet, pligt_se),
        coalesce(kommunekode_betaler, ''), beloeb_oere
    FROM classified.krav JOIN identitet.borger USING (borger_id) LEFT JOIN raw.skrevet ON kode = pligt_se
    WHERE beloeb_oere > 0"""
KARANTAENE = "SELECT filnavn, linje - 1, coalesce(indberetning_id, ''), regel FROM classified.karantaene"


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> tuple[DataRoot, list[Fil]]:
    """Two months of odd rows from every sender, run from raw files to the municipalities' files."""
    root, files = DataRoot(tmp_path_factory.mktemp("saere")), []
    for fil in odd_files(RULEBOOK, [month_of(month) for month in MONTHS], LINES, seed=994):
        path = root.path / "raw" / fil.kilde / fil.maaned / fil.filnavn
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(as_csv(fil.rows, NAMES))
        write_manifest(path, fil.rows)
        files.append(replace(fil, sha256=sha256(path.read_bytes()).hexdigest()))
    write_register(root.path, "bopael", MONTHS[0], [])
    for month in MONTHS:
        root.run(month)
    return root, files


def test_odd_values_end_in_quarantine_or_in_claims_and_both_calculations_agree(
    odd: tuple[DataRoot, list[Fil]],
) -> None:
    root, files = odd
    dom = judge(files, RULEBOOK)
    assert sorted(root.rows(KARANTAENE)) == sorted(tuple(row) for row in dom.karantaene)
    plain = [(c.cpr, c.konto, c.fra, c.til, c.pligt_se, c.kommunekode, c.beloeb) for c in claims(dom.brugt, RULEBOOK)]
    assert sorted(root.rows(KRAV)) == sorted(plain)
    assert (len(plain) > LINES // 5, len(dom.karantaene) > LINES // 5) == (True, True)


def test_every_check_answers_on_odd_values_and_the_money_is_accounted_for(odd: tuple[DataRoot, list[Fil]]) -> None:
    root, _ = odd
    every = list(looks(RULEBOOK))
    with root.place.warehouse.open() as session:
        asked = Asked(session, root.place, month_of(MONTHS[-1]))
        answers = {c.name: o for c, o in ask(asked, every, {check.name for look in every for check in look.checks})}
        blocking = {check.name for look in every for check in look.checks if check.blocks}
    assert [name for name in sorted(blocking - {"een_udbetaler"}) if not answers[name].bestaaet] == []


@pytest.mark.parametrize(
    ("changes", "regel"),
    [
        ({"CPR": "61105124７0"}, "EI-003"),
        ({"CPR": "٦١١٠٥١٢٤٧٠"}, "EI-003"),
        ({"Felt0216": "61105124７0"}, "EI-001"),
        ({"Pligt_SE": "2916900٠"}, "EI-001"),
        ({"Kommunekode": "1６9"}, "EI-001"),
        ({"IndberetningsID": "K०"}, "EI-001"),
        ({"Person_SE": "१"}, "EI-001"),
        ({"Indkomsttype": "0𝟞"}, "EI-001"),
        ({"Felt0115": "urn:oio:kommune:konto:55773100７"}, "YR-001"),
        ({"Felt0014": "100߀,00"}, "EI-001"),
        ({"Felt0214_start": "２016-01-04"}, "EI-001"),
        ({"Lb_nr": "１"}, "EI-001"),
        ({"Modtaget_tidspunkt": "2016-01-10T12:00:0٠"}, "EI-001"),
        ({"Modtaget_tidspunkt": "0000-01-10T12:00:00"}, "EI-001"),
        ({"Felt0214_start": "0000-12-31", "Felt0214_slut": "0001-01-01"}, "EI-001"),
        ({"Indkomsttype": "0²"}, None),
        ({"Felt0214_start": "9999-01-01", "Felt0214_slut": "9999-12-31"}, None),
        ({"Felt0214_start": "0001-01-01", "Felt0214_slut": "0001-01-01"}, None),
        ({"Lb_nr": "9" * 18}, None),
        ({"Lb_nr": "9" * 19}, "EI-001"),
    ],
)
def test_a_digit_is_one_of_ten(changes: dict[str, str], regel: str | None) -> None:
    day = date(2016, 1, 4)
    files = [timeline.fil("K", [timeline.row("K", day, date(2016, 1, 10), 1) | changes], "2016-01")]
    lines, _ = judge_files(files, RULEBOOK)
    plain = [row.regel for row in judge(files, RULEBOOK).karantaene]
    assert (lines["regel"].to_list(), plain) == ([regel], [regel] if regel else [])
