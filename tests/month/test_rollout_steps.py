"""The steps of the roll-out, one municipality at a time: who is missed, what is refused, what a beginning settles."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from unittest import mock

import dagster as dg
import pytest

from refusion_assets.assets.faelles.aabning import joined
from refusion_assets.assets.faelles.udrulning import (
    approve,
    build,
    plan_lines,
    refuse_other_plan,
    settling,
    standing,
    state_of,
)
from refusion_assets.assets.raw.reports import stops_before_reading
from refusion_assets.domain.stop import Stop
from refusion_assets.files.outgoing import BEREGNING
from refusion_assets.place import Place
from refusion_assets.runs.month import NobodyInOperation, _to_settle
from refusion_assets.store.session import Session
from tests.conftest import DataRoot, Example
from tests.kit import timeline
from tests.kit.country import Land
from tests.kit.data_root import write_file, write_register
from tests.kit.rollout import PILOTS, plan_text, planned_rules
from tests.kit.timeline import CPR
from tests.month.test_histories import few_kommuner

MARCH = date(2024, 3, 1)
TWO = {"kilder": '["ky", "ksd"]', "maaneder_mellem_kilder": "3"}
READ = """INSERT INTO faelles.konvertering BY NAME SELECT '{kode}' AS kommunekode, DATE '2020-01-01' AS fra,
    DATE '{til}' AS til, 10 AS noegler, 1 AS froe, {drawn} AS beregnet, 3 AS borgere, 10 AS raekker,
    {forskelle} AS forskelle"""


@contextmanager
def planned(tmp_path: Path, **changes: str) -> Iterator[tuple[Session, Place]]:
    """A warehouse in which the plan is in use and nothing else has happened."""
    place = Place(tmp_path / "data", planned_rules(tmp_path, MARCH, **changes))
    with place.warehouse.open() as session:
        list(plan_lines(session, place, take=True))
        yield session, place


def put(session: Session, kode: str, tilstand: str, til: str = "2024-02-01", forskelle: int = 0, **more: bool) -> None:
    """A municipality in a state, with its files read to a month."""
    session.run(f"UPDATE faelles.udrulning SET tilstand = '{tilstand}' WHERE kommunekode = '{kode}'")
    session.run(f"DELETE FROM faelles.konvertering WHERE kommunekode = '{kode}'")
    session.run(READ.format(kode=kode, til=til, forskelle=forskelle, drawn=more.get("drawn", True)))


def refused(session: Session, place: Place, kode: str, tilstand: str, why: str = "", kilde: str = "") -> str:
    with pytest.raises(Stop) as caught:
        list(approve(session, place, [kode], kilde, tilstand, why))
    return str(caught.value)


def test_without_a_plan_every_municipality_is_settled(tmp_path: Path, example: Example) -> None:
    place = Place(tmp_path, example.root.rules)
    with place.warehouse.open() as session:
        refuse_other_plan(session, place)
        assert settling(session, place, MARCH) == place.rules.koder


def test_those_join_who_are_in_a_plan_or_have_converted_files_and_the_others_begin_with_the_data_root(
    tmp_path: Path, example: Example
) -> None:
    place = Place(tmp_path / "uden", example.root.rules)
    with place.warehouse.open() as session:
        assert joined(session, ["101", "706"]) == []
        put(session, "706", "konverteret")
        assert joined(session, ["101", "706"]) == ["706"]
    with planned(tmp_path) as (session, _):
        assert joined(session, ["101", "706"]) == ["101", "706"]


def test_a_municipality_takes_its_steps_in_order_and_each_is_kept_with_its_user(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        assert settling(session, place, MARCH) == []
        assert "er forberedt, ikke konverteret" in refused(session, place, "101", "stikproeve_ok")
        put(session, "101", "konverteret")
        assert "er konverteret, ikke stikprøve godkendt" in refused(session, place, "101", "i_drift")
        list(approve(session, place, ["101"], "", "stikproeve_ok", ""))
        [said] = approve(session, place, ["101"], "", "i_drift", "")
        assert said == "101 København, ky: i drift fra kørsel 2024-03"
        assert settling(session, place, MARCH) == ["101"]
        kept = session.frame("SELECT nr, tilstand, bruger <> '' FROM faelles.godkendelse ORDER BY nr").rows()
        assert kept == [(1, "stikproeve_ok", True), (2, "i_drift", True)]


def test_a_sample_with_differences_is_approved_with_a_reason_alone(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        put(session, "101", "konverteret", forskelle=2)
        assert "har 2 forskelle i stikprøven" in refused(session, place, "101", "stikproeve_ok")
        list(approve(session, place, ["101"], "", "stikproeve_ok", "to sene indberetninger"))
        put(session, "706", "konverteret", drawn=False)
        assert "har ingen stikprøve" in refused(session, place, "706", "stikproeve_ok", "vi skal videre")


@pytest.mark.parametrize(
    ("unread", "said"),
    [
        ("INSERT INTO faelles.ubehandlet VALUES ('101', 'a', 2, 'beloeb')", "101 har 1 række, der ikke er brugt"),
        ("INSERT INTO faelles.konverteringsfil VALUES ('101', 'a', 'x', DATE '2024-01-01', 0, 0, 0, 0, 0)",
         "101 har 1 fil uden rækker"),
    ],
)  # fmt: skip
def test_a_sample_beside_rows_or_files_that_were_not_read_is_approved_with_a_reason_alone(
    tmp_path: Path, unread: str, said: str
) -> None:
    with planned(tmp_path) as (session, place):
        put(session, "101", "konverteret")
        session.run(unread)
        assert said in refused(session, place, "101", "stikproeve_ok")
        list(approve(session, place, ["101"], "", "stikproeve_ok", "kommunen har set dem"))


def test_status_names_the_files_that_a_municipality_waits_for_and_else_the_next_command(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        put(session, "101", "stikproeve_ok", til="2023-12-01")
        put(session, "706", "stikproeve_ok")
        put(session, "751", "stikproeve_ok", til="2024-01-01")
        told = {line.split()[0]: line for line in standing(session, place) if line.startswith("  ")}
        assert "fil 0049 til 0050 med refusion konverter 101" in told["101"]
        assert "--drift" not in told["101"]
        assert "fil 0050 med" in told["751"]
        assert told["706"].endswith("næste skridt: refusion udrul godkend 706 --kilde ky --drift")


def test_months_before_anybody_is_in_operation_are_calculated_one_after_the_other(
    tmp_path: Path, example: Example
) -> None:
    with planned(tmp_path) as (_, place):
        pass
    with pytest.raises(NobodyInOperation, match="2024-03: beregnet og ikke opgjort, da ingen kommune er i drift endnu"):
        _to_settle(place, MARCH, [])
    told = [NobodyInOperation("2024-02: beregnet"), NobodyInOperation("2024-03: beregnet")]
    with mock.patch("refusion_assets.runs.month.critical_week", side_effect=told):
        ran = example.root.refusion("koer", "2024-02..2024-03")
    assert (ran.code, ran.err) == (0, "")
    assert ran.out.count("beregnet") == 2


def test_the_old_access_is_closed_after_a_closed_run_and_with_a_record(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        put(session, "101", "i_drift")
        assert "skriv med --begrundelse" in refused(session, place, "101", "gammel_lukket")
        assert "ikke opgjort i nogen lukket kørsel" in refused(session, place, "101", "gammel_lukket", "lukket i dag")
        session.run("INSERT INTO opgoerelse.koersel VALUES (51, DATE '2024-03-01', 'lukket', 'x', 'x')")
        session.run("INSERT INTO opgoerelse.kommune VALUES (51, '101', 0, 0, 0, 0, 0)")
        list(approve(session, place, ["101"], "", "gammel_lukket", "Leverandøren lukkede den 2. maj"))
        [(why,)] = session.frame("SELECT begrundelse FROM faelles.godkendelse").rows()
        assert why == "Leverandøren lukkede den 2. maj"


def test_a_late_municipality_joins_after_the_last_run_and_right_after_its_last_file(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        session.run("INSERT INTO opgoerelse.koersel VALUES (52, DATE '2024-04-01', 'åben', 'x', 'x')")
        put(session, "101", "stikproeve_ok", til="2024-03-01")
        assert "kommer i drift i 2024-05, men" in refused(session, place, "101", "i_drift")
        put(session, "101", "stikproeve_ok", til="2024-04-01")
        [said] = approve(session, place, ["101"], "", "i_drift", "")
        assert said.endswith("i drift fra kørsel 2024-05 (planlagt 2024-03)")
        refuse_other_plan(session, place)


def test_a_late_source_system_moves_the_next_one_to_three_months_after(tmp_path: Path) -> None:
    with planned(tmp_path, **TWO) as (session, place):
        put(session, "101", "stikproeve_ok", til="2024-07-01")
        assert "skriv, hvilken det gælder, med --kilde (ksd, ky)" in refused(session, place, "101", "i_drift")
        session.run("INSERT INTO opgoerelse.koersel VALUES (53, DATE '2024-04-01', 'åben', 'x', 'x')")
        [first] = approve(session, place, ["101"], "ky", "i_drift", "")
        [second] = approve(session, place, ["101"], "ksd", "i_drift", "")
        assert first.endswith("i drift fra kørsel 2024-05 (planlagt 2024-03)")
        assert second.endswith("i drift fra kørsel 2024-08 (planlagt 2024-06)")
        assert [f"{row[3]:%Y-%m}" for row in state_of(session).rows() if row[0] == "101"] == ["2024-08", "2024-05"]


def test_a_month_stops_while_the_plan_on_the_disk_is_another_than_the_one_in_use(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        path = place.rules_folder / "udrulning.toml"
        path.write_text(plan_text(date(2024, 5, 1)), encoding="utf-8")
        with pytest.raises(Stop, match="er ikke den, der er i brug"):
            refuse_other_plan(session, place)
        list(plan_lines(session, place, take=True))
        refuse_other_plan(session, place)
        path.unlink()
        with pytest.raises(Stop, match="er ikke den, der er i brug"):
            refuse_other_plan(session, place)


def test_a_plan_that_would_take_a_settled_municipality_out_of_operation_is_refused(tmp_path: Path) -> None:
    place = Place(tmp_path / "data", planned_rules(tmp_path, MARCH))
    with place.warehouse.open() as session:
        session.run("INSERT INTO opgoerelse.kommune VALUES (50, '101', 0, 0, 0, 0, 0)")
        with pytest.raises(Stop, match="101 er allerede opgjort her; en kommune i drift bliver, hvor den er"):
            list(plan_lines(session, place, take=True))
        assert state_of(session).is_empty()


def test_a_sender_is_missed_only_where_its_municipality_is_in_operation(tmp_path: Path) -> None:
    """In April no file comes from 101, in operation since March, nor from 151, which is only prepared."""
    with planned(tmp_path) as (session, place):
        put(session, "101", "i_drift")
        land = Land.made(place.root)
        for sender in (("ky", "101"), ("ky", "151")):
            land.rows.pop((sender, "2024-04"))
        land.deliver()
    DataRoot(place.root, place.rules_folder).classify("2024-03")
    with place.warehouse.open() as session:
        stops = stops_before_reading(session, place, date(2024, 4, 1))
    assert [fault.genstand for fault in stops if fault.regel == "FIL-006"] == ["ky-101"]


def test_the_roll_out_is_shown_with_a_table_a_plot_and_the_samples_that_wait(tmp_path: Path) -> None:
    with planned(tmp_path) as (session, place):
        put(session, "101", "i_drift")
        put(session, "706", "konverteret", forskelle=2)
    done = dg.materialize(build(), resources={"place": place})
    [check] = done.get_asset_check_evaluations()
    assert (check.passed, check.description) == (
        False, "Stikprøver med forskelle venter på en godkendelse: 706 (2)",
    )  # fmt: skip
    [made] = done.get_asset_materialization_events()
    text = str(made.materialization.metadata["boelger"].value)
    assert "| ky | 1 | 2024-03 | 2 | 1 | 0 | 1 | 0 |" in text
    assert "data:image/svg+xml" in text


def old_file(folder: Path, kode: str, rows: str, nr: int = 50) -> Path:
    """A calculation file of the old system with some rows after the ten public columns."""
    folder.mkdir(exist_ok=True)
    path = folder / f"yr-ydelsesrefusion-beregning-{kode}-{nr:04}-2024-03-03.csv"
    path.write_text(f"{';'.join(BEREGNING[:10])}\n{rows}", encoding="utf-8")
    return path


def converted(tmp_path: Path, *arguments: str) -> str:
    """What the command says of a conversion that is refused, in a data root without deliveries."""
    (tmp_path / "data" / "raw").mkdir(parents=True, exist_ok=True)
    ran = DataRoot(tmp_path / "data").refusion("konverter", *arguments)
    assert ran.code == 1
    return ran.err


def test_a_data_root_without_deliveries_is_not_made_by_a_conversion(tmp_path: Path) -> None:
    ran = DataRoot(tmp_path / "tastefejl").refusion("konverter", "706", "--fra", str(tmp_path))
    assert (ran.code, "findes ikke, så der er ingen leverancer" in ran.err) == (1, True)
    assert list(tmp_path.iterdir()) == []


def test_files_with_a_gap_twice_the_same_number_or_another_form_are_refused(tmp_path: Path) -> None:
    old = tmp_path / "gamle"
    assert "er ingen mappe" in converted(tmp_path, "706", "--fra", str(old))
    old.mkdir()
    assert "har ingen filer yr-ydelsesrefusion-beregning-706" in converted(tmp_path, "706", "--fra", str(old))
    old_file(old, "706", "")
    old_file(old, "706", "", nr=52)
    assert "mangler filerne 0051 for 706" in converted(tmp_path, "706", "--fra", str(old))
    other = old_file(old, "706", "", nr=51)
    other.write_text("Uge;Ydelse\n", encoding="utf-8")
    assert "har ikke kolonnen CPR nummer" in converted(tmp_path, "706", "--fra", str(old))
    old_file(old / "to", "706", "", nr=50)
    assert "to filer med nummer 0050 for 706" in converted(tmp_path, "706", "--fra", str(old))
    assert "999 er ingen kommune" in converted(tmp_path, "999", "--fra", str(old))


def test_a_file_that_is_cut_off_or_has_a_stray_quote_is_refused_with_its_line(tmp_path: Path) -> None:
    good = f"2024-02-05;{CPR};Kontanthjælp;Syddjurs;1000,00;1000,00;80,00;800,00;0,00;0,00"
    old = tmp_path / "gamle"
    path = old_file(old, "706", f"{good}\n{good[:-1]}")
    assert f"{path.name}, linje 3 ender uden linjeskift" in converted(tmp_path, "706", "--fra", str(old))
    for row in (good.replace("Syddjurs", '"Syddjurs'), good.replace("Syddjurs", '"Syd"djurs')):
        path.write_text(f"{';'.join(BEREGNING[:10])}\n{good}\n{row}\n", encoding="utf-8")
        assert f"{path.name}, linje 3: et citationstegn" in converted(tmp_path, "706", "--fra", str(old))
    path.write_bytes(f"{';'.join(BEREGNING[:10])}\n{good}\n".encode("latin-1"))
    assert "er ikke skrevet i UTF-8" in converted(tmp_path, "706", "--fra", str(old))


def test_rows_cut_short_or_too_long_are_listed_and_a_file_without_rows_is_told(tmp_path: Path) -> None:
    """Also a row that is cut within the ten public columns' last one, where more columns should follow."""
    good = f"2024-02-05;{CPR};Kontanthjælp;Syddjurs;1000,00;1000,00;80,00;800,00;0,00;0,00"
    old = tmp_path / "gamle"
    (tmp_path / "data" / "raw").mkdir(parents=True)
    rows = [good + ";x", "", good.replace("02-05", "02-12")[:-3], good.replace("02-05", "02-19") + ";x;y", "2024"]
    path = old_file(old, "706", "")
    path.write_text("\r\n".join([";".join([*BEREGNING[:10], "Mere"]), *rows, ""]), encoding="utf-8")
    old_file(old, "706", "", nr=51)
    old_file(old, "706", good.replace("02-05", "02-26") + "\n", nr=52)
    root = DataRoot(tmp_path / "data")
    ran = root.refusion("konverter", "706", "--fra", str(old))
    assert (ran.code, ran.err) == (0, ""), ran.err
    assert root.rows("SELECT linje, aarsag FROM faelles.ubehandlet ORDER BY 1") == [
        (4, "felter"), (5, "felter"), (6, "felter"),
    ]  # fmt: skip
    assert root.rows("SELECT uge FROM raw.konverteret ORDER BY 1") == [(date(2024, 2, 5),), (date(2024, 2, 26),)]
    assert "2024-02: 4 rækker; 800,00 kr. i refusion, 0,00 kr. i medfinansiering" in ran.out
    assert "Heraf ikke brugt: 3 rækker; 1.600,00 kr. i refusion, 0,00 kr. i medfinansiering; 1 uden et" in ran.out
    assert "-0051-2024-03-03.csv har ingen rækker; hent den igen" in ran.out
    assert "Den første fil er 0050 (2024-02); har kommunen ældre filer" in ran.out


def test_every_row_is_used_or_listed_and_no_number_of_a_person_is_said(tmp_path: Path) -> None:
    good = f"2024-02-05;{CPR};Kontanthjælp;Syddjurs;1000,00;1000,00;80,00;800,00;0,00;0,00"
    odd = (
        good.replace("2024-02-05", "2024-02-06"),
        good.replace("Syddjurs", "Odense"),
        good,
        good.replace("800,00", "800.5"),
    )
    old_file(tmp_path / "gamle", "706", "\n".join([good, *odd]) + "\n")
    later = old_file(tmp_path / "gamle", "706", "", nr=51)
    later.write_text(f"{';'.join([*BEREGNING[9::-1], 'Mere'])}\n", encoding="utf-8")  # other order, and a column more
    (tmp_path / "data" / "raw").mkdir(parents=True)
    root = DataRoot(tmp_path / "data")
    ran = root.refusion("konverter", "706", "--fra", str(tmp_path / "gamle"))
    assert (ran.code, ran.err) == (0, "")
    assert "Heraf ikke brugt: 4 rækker" in ran.out
    assert CPR not in ran.out
    assert root.rows("SELECT linje, aarsag FROM faelles.ubehandlet ORDER BY 1") == [
        (3, "uge"), (4, "kommune"), (5, "dublet"), (6, "beloeb"),
    ]  # fmt: skip
    assert root.rows("SELECT refusion_oere, procent FROM raw.konverteret") == [(80_000, 80)]
    listed = (root.path / "udrulning" / "706" / "ubehandlet.csv").read_text("utf-8").splitlines()
    assert listed[0] == "fil;linje;aarsag"
    assert len(listed) == 5


def test_what_the_old_system_settled_otherwise_opens_as_it_did_and_is_corrected_in_the_first_run(
    tmp_path: Path, example: Example
) -> None:
    rows = Counter(row["Finansiering Kommunenavn"] for row in example.rows("beregning", "2024-02"))
    navne = {navn: kode for kode, navn in example.root.place.rules.kommunenavne.items()}
    kode = next(navne[navn] for navn, _ in rows.most_common() if navne[navn] not in PILOTS[1])
    pilots = [kode, *(one for one in PILOTS[0] if one != kode)][:4]
    root = DataRoot(tmp_path / "data", planned_rules(tmp_path, MARCH, foerste_pilot=str(pilots)))
    root.path.mkdir()
    (root.path / "raw").symlink_to(example.root.path / "raw")
    [name] = [one for one in example.files["2024-02"] if f"-beregning-{kode}-" in one]
    lines = example.files["2024-02"][name].decode().splitlines()
    place = next(
        n for n, line in enumerate(lines) if n and line.split(";")[0] >= "2024-02-05" and line.split(";")[6] != "0,00"
    )
    cells = lines[place].split(";")
    cells[7] = "1,00"
    lines[place] = ";".join(cells)
    (tmp_path / "gamle").mkdir()
    (tmp_path / "gamle" / name).write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert root.refusion("udrul", "plan").code == 0
    root.calculate("2024-02")
    ran = root.refusion("konverter", kode, "--fra", str(tmp_path / "gamle"), "--antal", "1000")
    assert (ran.code, ran.err) == (0, "")
    assert "1 forskel" in ran.out
    assert "beloeb: 1 nøgle" in ran.out
    for step in (["--stikproeve", "--begrundelse", "fejl i det gamle system"], ["--drift"]):
        assert root.refusion("udrul", "godkend", kode, *step).err == ""
    root.run("2024-03")
    key = f"kommunekode = '{kode}' AND uge = DATE '{cells[0]}' AND cpr = '{cells[1]}'"
    ledger = f"FROM opgoerelse.postering JOIN identitet.borger USING (borger_id) WHERE {key}"
    opened = root.rows(f"SELECT raekketype, koersel, refusion_oere {ledger} AND abs(refusion_oere) = 100 ORDER BY 2")
    assert opened == [("Å", 0, 100), ("T", 51, -100)]
    [(settled,)] = root.rows(f"SELECT sum(refusion_oere)::BIGINT {ledger}")
    assert (
        settled
        == root.rows(f"""SELECT sum(refusion_oere)::BIGINT FROM refusion.borger_uge_ydelse
        JOIN identitet.borger USING (borger_id) WHERE {key}""")[0][0]
    )


@pytest.mark.parametrize("calculated", [True, False], ids=["the month before is calculated", "it is not"])
def test_a_move_that_a_first_run_learns_of_is_corrected_where_the_files_lie_there_from_before(
    tmp_path: Path, calculated: bool
) -> None:
    """The week lies before the converted files, which have no rows; the older residences say 169, the newer 101."""
    root = few_kommuner(tmp_path)
    week = timeline.row("D", date(2023, 11, 6), date(2023, 11, 12), 1)
    write_file(root.path, timeline.fil("D", [week], "2024-01"))
    write_file(root.path, timeline.fil("D", [], "2024-02"))
    lived = [("169", "2010-01-01", "2023-10-31"), ("101", "2023-11-01", "")]
    for month, stays in (("2024-01", [("169", "2010-01-01", "")]), ("2024-02", lived)):
        rows = [{"CPR": CPR, "Kommunekode": k, "Bopael_start": fra, "Bopael_slut": til} for k, fra, til in stays]
        write_register(root.path, "bopael", month, rows)
    if calculated:
        root.calculate("2024-01")
    with root.place.warehouse.open() as session:
        for kode in ("101", "169"):
            put(session, kode, "drift", til="2024-01-01")
        session.run("UPDATE faelles.konvertering SET fra = til")
    root.run("2024-02")
    query = "SELECT raekketype, kommunekode, sign(medfinansiering_oere) FROM opgoerelse.postering ORDER BY koersel, 1"
    assert root.rows(query) == [("Å", "169", 1), ("N", "101", 1), ("T", "169", -1)]
    ran = root.refusion("genskab", "2024-02")
    assert (ran.code, ran.err) == (0, "")
