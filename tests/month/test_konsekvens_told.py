"""The estimate of a proposal told in Danish, in files and in the UI, and nothing settled is touched."""

import hashlib
import re
import shutil
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

from refusion_assets.assets.konsekvens import Forslag
from refusion_assets.definitions import build_defs
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.stop import Stop
from refusion_assets.files.estimate import EFFEKT, PLOT, REGLER, RESULTAT, SKIFT
from refusion_assets.place import environment
from refusion_assets.rulebook.load import RuleError, load
from refusion_assets.store.publish import publish
from tests.conftest import DataRoot, Example
from tests.kit.data_root import RULEBOOK, RULES
from tests.kit.rule_edits import asked, by_estimate, in_files, oere, proposal, rows


@pytest.fixture
def root(example: Example, tmp_path: Path) -> DataRoot:
    """A copy of the example after its three runs."""
    return example.root.copy(tmp_path)


# --- nothing is touched, and nothing can be found out about a person --------------------------------------------


def everything(root: DataRoot) -> dict[str, str]:
    """The hash of every file of the warehouse, of the published copy and of what went out."""
    return {
        str(path.relative_to(root.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for folder in ("lager", "udgivet", "udgaaende")
        for path in sorted((root.path / folder).rglob("*"))
        if path.is_file()
    }


def test_ledger_results_and_files_are_the_same_bytes_afterwards(root: DataRoot, tmp_path: Path) -> None:
    before = everything(root)
    assert len(before) > 300
    ran = root.refusion("konsekvens", "--regler", str(proposal(tmp_path / "forslag")), "2024-01..2024-04")
    assert (ran.code, ran.err) == (0, "")
    assert everything(root) == before


def test_a_run_that_holds_the_warehouse_does_not_hinder_the_estimate(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        session.run("DELETE FROM refusion.borger_uge_ydelse")
        assert asked(root, RULEBOOK).virkning.celler.height > 0
        session.connection.execute("ROLLBACK")
        session.connection.execute("BEGIN")


def test_the_files_are_those_of_the_contract_and_name_no_person(root: DataRoot, tmp_path: Path) -> None:
    forslag = proposal(tmp_path / "forslag", "optaelling.toml", "uger = 52", "uger = 30")
    ran = root.refusion("konsekvens", "--regler", str(forslag), "2024-01..2024-04", "--til", str(tmp_path / "ud"))
    assert (ran.code, ran.err) == (0, "")
    found = {path.name: path.read_text("utf-8") for path in (tmp_path / "ud").iterdir()}
    assert set(found) == {EFFEKT, SKIFT, REGLER, PLOT, RESULTAT}
    assert found[EFFEKT].startswith(
        "Måned;Kommunekode;Kommune;Ydelse;Side;Trin;Personuger gældende;Personuger forslag;"
    )
    [skift, *_] = [
        row for row in rows(tmp_path / "ud" / SKIFT) if (row["Måned"], row["Kommune"]) == ("alle", "Hele landet")
    ]
    assert set(skift) == {"Måned", "Kommunekode", "Kommune", "Fra trin", "Til trin", "Borgere", "Personuger"}
    persons = {cpr for (cpr,) in root.rows("SELECT cpr FROM identitet.borger")}
    assert persons
    for text in [*found.values(), ran.out]:
        assert not persons & set(re.findall(r"\d{10}", text))
    assert found[RESULTAT] in ran.out
    assert not (root.path / "konsekvens").exists()


def test_the_same_proposal_again_gives_the_same_bytes(root: DataRoot, tmp_path: Path) -> None:
    forslag = proposal(tmp_path / "forslag")
    made = []
    for _ in range(2):
        folder = in_files(root, forslag)
        assert list((root.path / "konsekvens").iterdir()) == [folder]
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]


# --- what is said -----------------------------------------------------------------------------------------------


def test_the_command_says_what_differs_what_it_moves_and_where_the_files_are(root: DataRoot, tmp_path: Path) -> None:
    forslag = proposal(tmp_path / "forslag")
    ran = root.refusion("konsekvens", "--regler", str(forslag), "2024-01..2024-04")
    lines = ran.out.splitlines()
    [differs] = [line for line in lines if "trapper.toml" in line]
    assert "refusion fra 2016-01-04, trin: uge 1: 80 pct." in differs
    assert "-> uge 1: 75 pct." in differs
    assert differs.endswith("kan røre 2024-01..2024-04")
    for title in (
        "Netto til kommunerne, måned for måned",
        "De kommuner, der får mest mindre",
        "Netto til kommunerne for de ydelser, der flytter sig",
        "Netto til kommunerne efter trin",
    ):
        assert f"{title}:" in lines
    assert "De kommuner, der får mest mere:" not in lines
    [total] = [line for line in lines if line.startswith("  I alt")]
    told = [oere(amount.strip()) for amount in re.findall(r"-?[\d.]+,\d\d kr\.", total)]
    effekt = rows(root.path / "konsekvens" / load(forslag).version[:12] / EFFEKT)
    assert told[2] == told[1] - told[0] == sum(oere(row["Forskel netto til kommunen"]) for row in effekt) < 0
    assert lines[-1] == f"Filer: {root.path / 'konsekvens' / load(forslag).version[:12]}"


def test_an_unchanged_proposal_says_so_and_moves_nothing(root: DataRoot) -> None:
    folder = in_files(root, RULES)
    said = (folder / RESULTAT).read_text("utf-8").splitlines()
    assert "  Forslaget siger det samme som de gældende regler." in said
    assert {row["Forskel netto til kommunen"] for row in rows(folder / EFFEKT)} == {"0,00"}
    assert rows(folder / SKIFT) == []


def test_a_new_benefit_gives_no_money_and_the_command_says_why(root: DataRoot, tmp_path: Path) -> None:
    forslag = Path(shutil.copytree(RULES, tmp_path / "forslag"))
    for file, like, name in (("ydelser.csv", "KTH;", "NYH;"), ("konti.csv", "urn:oio:kommune:konto:557731007;KTH;",
                                                              "urn:oio:kommune:konto:557739999;NYH;")):  # fmt: skip
        text = (forslag / file).read_text("utf-8")
        line = next(line for line in text.splitlines() if line.startswith(like))
        (forslag / file).write_text(
            f"{text}{line.replace(like, name, 1).replace('Kontanthjælp', 'Ny hjælp')}\n", encoding="utf-8"
        )
    folder = in_files(root, forslag)
    said = (folder / RESULTAT).read_text("utf-8")
    assert "urn:oio:kommune:konto:557739999 er ny; ingen indberetning på den er regnet med" in said
    assert {row["Forskel netto til kommunen"] for row in rows(folder / EFFEKT)} == {"0,00"}


def test_other_rules_than_those_the_months_were_calculated_by_are_calculated_and_told(root: DataRoot) -> None:
    gaeldende = replace(RULEBOOK, version="andre")
    result = asked(root, RULEBOOK, gaeldende)
    assert (result.beregnet, asked(root, RULEBOOK).beregnet) == (False, True)
    assert by_estimate(result, "gaeldende") == by_estimate(result, "forslag")


def test_money_in_the_warehouse_that_the_rules_in_force_do_not_give_stops_the_estimate(root: DataRoot) -> None:
    with root.place.warehouse.open() as session:
        session.run("""UPDATE refusion.borger_uge_ydelse SET refusion_oere = refusion_oere + 1 WHERE rowid = (
            SELECT min(rowid) FROM refusion.borger_uge_ydelse WHERE refusion_oere > 0 AND maaned = '2024-01-01')""")
    publish(root.place.warehouse)
    with pytest.raises(Stop, match=r"giver 0,01 kr\. andet her end i lageret"):
        asked(root, RULEBOOK)


REFUSED = [
    (("trapper.toml", "procent = 80", "procent = 180"), "ligger ikke mellem 0 og 100"),
    (("ydelser.csv", "trappe;0014", "trappe;0048"), "kan ikke anslås uden at indlæse igen"),
    (("drift.toml", "vaerdi = 366", "vaerdi = 300"), "kan ikke anslås uden at indlæse igen"),
    (("konti.csv", ";KTH;", ";UDDH;"), "kan ikke anslås uden at indlæse igen"),
]


@pytest.mark.parametrize(("edit", "why"), REFUSED)
def test_a_proposal_that_cannot_stand_or_takes_a_new_load_is_refused_in_one_line(
    root: DataRoot, tmp_path: Path, edit: tuple[str, str, str], why: str
) -> None:
    with pytest.raises((Stop, RuleError), match=why) as said:
        in_files(root, proposal(tmp_path / "forslag", *edit))
    assert (edit[0] in str(said.value), "\n" in str(said.value)) == (True, False)
    assert not (root.path / "konsekvens").exists()


def test_what_is_asked_wrongly_is_refused_in_one_line(root: DataRoot, tmp_path: Path) -> None:
    ran = root.refusion("konsekvens", "--regler", str(RULES), "2024-04..2024-05")
    assert (ran.code, ran.err.count("\n"), "2024-05 er ikke kørt endnu" in ran.err) == (1, 1, True), ran.err
    with pytest.raises(Stop, match="er ikke en mappe"):
        in_files(root, tmp_path / "ingen")
    with pytest.raises(Stop, match="ingen udgivet kørsel"):
        in_files(DataRoot(tmp_path), RULES)


def test_a_folder_that_holds_something_else_is_left_alone(root: DataRoot, tmp_path: Path) -> None:
    (tmp_path / "mit").mkdir()
    (tmp_path / "mit" / "brev.txt").write_text("mit", encoding="utf-8")
    with pytest.raises(Stop, match="rummer andet end et anslag"):
        in_files(root, RULES, str(tmp_path / "mit"))
    assert [path.name for path in (tmp_path / "mit").iterdir()] == ["brev.txt"]


# --- from the UI ------------------------------------------------------------------------------------------------


def test_the_job_is_launched_with_a_folder_and_months_and_shows_tables_and_plot(
    root: DataRoot, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in (root.environment | environment(root.place)).items():
        monkeypatch.setenv(name, value)
    proposal(root.path / "forslag")
    job = build_defs(root.place).resolve_job_def("konsekvens")
    config = {"regler": "forslag", "fra": "2024-01", "til": "2024-04"}
    with dg.DagsterInstance.get() as instance:
        result = job.execute_in_process(
            instance=instance, run_config={"ops": {"konsekvens__virkning": {"config": config}}}
        )
    assert result.success
    [made] = result.asset_materializations_for_node("konsekvens__virkning")
    shown = {name: value.value for name, value in made.metadata.items()}
    assert {"forslag", "maaneder", "kommuner_mere", "kommuner_mindre", "ydelser", "trin", "skift", "plot"} <= set(shown)
    assert "| Måned | Gældende | Forslag | Forskel |" in str(shown["maaneder"])
    assert str(shown["plot"]).startswith("![kommuner](data:image/svg+xml;base64,")
    assert Path(str(shown["mappe"])) == root.path / "konsekvens" / load(root.path / "forslag").version[:12]


def test_the_launchpad_begins_with_an_example_and_explains_it_in_danish(tmp_path: Path) -> None:
    defs = build_defs(DataRoot(tmp_path).place)
    job = defs.resolve_job_def("konsekvens")
    example = job.run_config
    assert example is not None
    assert set(example["ops"]["konsekvens__virkning"]["config"]) == {"regler", "fra", "til"}
    field = defs.resolve_assets_def(dg.AssetKey(["konsekvens", "virkning"])).op.config_schema.as_field()
    told = {name: inner.description or "" for name, inner in field.config_type.fields.items()}
    assert set(told) == {"regler", "fra", "til", "mappe"}
    assert "kopi af rules/" in told["regler"]
    assert all("måned" in told[name] for name in ("fra", "til"))


def test_the_months_of_the_launchpad_must_be_months_in_order() -> None:
    for fra, til, why in (("2024-13", "2024-04", "er ikke måneder"), ("2024-04", "2024-03", "er ingen måneder")):
        with pytest.raises(Stop, match=why):
            Forslag(regler="forslag", fra=fra, til=til).maaneder  # noqa: B018
    assert Forslag(regler="forslag", fra="2023-12", til="2024-01").maaneder == [
        month_of("2023-12"),
        month_of("2024-01"),
    ]
