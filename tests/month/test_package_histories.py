"""What a package knows of any history: the country's counts and causes, the municipality's money, and nobody else."""

from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import Phase, given

from refusion_assets.domain.forklar.model import Forklaring, as_json
from refusion_assets.domain.forklar.text import as_text
from refusion_assets.look_up.explanation import look_up
from refusion_assets.place import Place
from refusion_assets.runs.extract import extract
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Warehouse
from tests.conftest import DataRoot
from tests.kit.data_root import RULEBOOK
from tests.kit.timeline import KOMMUNER, PEOPLE, History, examples, histories, row
from tests.month.test_forklar import deliver as send
from tests.month.test_forklar import live, root_of, run
from tests.month.test_histories import deliver, few_kommuner

GRANT = "urn:oio:kommune:konto:557711014"  # KontoArt 2: the person stands in Felt0216
MONEY = "refusion.borger_uge_ydelse", "refusion.fleksbidrag", "opgoerelse.postering", "opgoerelse.foraeldet"
OWN = " UNION ".join(f"SELECT cpr, maaned, kommunekode FROM {table} JOIN identitet.borger USING (borger_id)"
                     for table in MONEY)  # fmt: skip


def part(root: DataRoot, kode: str, folder: Path) -> Place:
    """One municipality's part of the published copy, as a place of its own under the same rules."""
    extract(root.place, kode, Warehouse(folder))
    return Place(folder, root.rules)


def counted(told: Forklaring) -> list[tuple[Any, ...]]:
    """Each week of the month: kind, which count, number, first week, and the free weeks and restart."""
    return [
        (u.uge, u.art, u.taelling, u.ydelsestaeller, u.taelling_fra_uge, u.genoptjening and (
            u.genoptjening.antal, u.genoptjening.foerste_uge, u.genoptjening.naaet)) for u in told.uger
    ]  # fmt: skip


def own_changes(told: Forklaring, kommune: str) -> list[tuple[Any, ...]]:
    """Why a run counted a week of the municipality's own rows otherwise: the numbers, and the weeks that moved them."""
    return [
        (u.uge, a.koersel, a.ydelse_id, c.slags, c.ydelsestaeller_foer, c.ydelsestaeller_efter,
         [(s.uge, s.art_foer, s.art_efter) for s in c.skiftede_uger])
        for u in told.uger for a in u.aendringer for c in a.aarsager
        if c.slags in ("taeller", "overgang") and kommune in {p.kommune for p in u.posteringer
                                                              if p.ydelse_id == a.ydelse_id}
    ]  # fmt: skip


def test_a_part_tells_of_its_own_months_what_the_country_tells() -> None:
    @examples(1, phases=[Phase.generate])
    @given(history=histories(RULEBOOK))
    def of(history: History) -> None:
        with TemporaryDirectory() as folder:
            root = few_kommuner(Path(folder))
            for month in history.months:
                deliver(root.path, history, month)
                root.run(month)
            publish(root.place.warehouse)
            for kode in KOMMUNER:
                compare(root, kode, Path(folder) / kode)

    of()


def compare(root: DataRoot, kode: str, folder: Path) -> None:
    """The part against the country, for each own month of each citizen."""
    place, kommune = part(root, kode, folder), root.place.rules.kommunenavne[kode]
    months: set[tuple[str, date]] = {row[:2] for row in root.rows(OWN) if row[2] == kode}
    others = {row[:2] for row in root.rows(OWN) if row[2] != kode}
    advised = f"SELECT cpr FROM opgoerelse.advis JOIN identitet.borger USING (borger_id) WHERE kommunekode = '{kode}'"
    citizens = {cpr for cpr, _ in months} | {cpr for (cpr,) in root.rows(advised)}
    data = place.warehouse.published.read_bytes()
    assert [cpr for cpr in PEOPLE if cpr not in citizens and cpr.encode() in data] == []
    for cpr, maaned in sorted(months):
        whole, own = look_up(root.place, cpr, maaned), look_up(place, cpr, maaned)
        assert counted(own) == counted(whole)
        assert own_changes(own, kommune) == own_changes(whole, kommune)
        assert {r.kommune for u in own.uger for r in u.posteringer} <= {kommune}
        mine = [[r for r in u.raekker if r.finansiering.kommunekode == kode] for u in whole.uger]
        assert [u.raekker for u in own.uger] == mine
        if own.udeladt is None:
            assert as_json(own) == as_json(whole)
        if (cpr, maaned) not in others and own.udeladt != "maaned":
            assert as_text(own, "hvem") == as_text(whole, "hvem")
        assert (own.udeladt == "maaned") >= ((cpr, maaned) in others)
        texts = as_text(own, "hvem", alt=True) + as_json(own)
        away = {navn for other, navn in root.place.rules.kommunenavne.items() if other != kode}
        assert not any(navn in texts for navn in away)


def test_a_number_of_somebody_else_is_hidden_wherever_a_sender_wrote_it(tmp_path: Path) -> None:
    root = root_of(tmp_path)
    own, other, *_ = PEOPLE
    days = date(2024, 2, 5), date(2024, 2, 11)
    back = {"IndberetningsID": "T1", "Indberetningsart": "T", "Felt0115": ""}
    send(root, "ky", "169", "2024-02", [
        row("K", *days, 1, cpr=own, IndberetningsID=other, Indtaegtsart="9999"),  # a finding names the id
        row("K", *days, 2, "", own, ReferenceID=f"x{other[:6]}-{other[6:]}", **back),
    ])  # fmt: skip
    grant = {"Felt0216": own, "Felt0014": "", "Felt0037": "1000,00", "Felt0214_start": "", "Felt0214_slut": ""}
    start, slut = map(str, days)
    send(root, "ksd", "169", "2024-02", [
        row("K", *days, 5, cpr=other, Felt0115=GRANT, Felt0215_start=start, Felt0215_slut=slut, **grant),
    ])  # fmt: skip
    abroad = {"Kommunekode": "101", "Pligt_SE": "29101000"}
    send(root, "ky", "101", "2024-02", [row("K", *days, 1, cpr=other, IndberetningsID="KBH1", **abroad)])
    live(root, "2024-02", (own, "169", "2010-01-01"), (other, "101", "2010-01-01"))
    run(root, "2024-02")
    place = part(root, "169", tmp_path / "169")
    data = place.warehouse.published.read_bytes()
    assert own.encode() in data
    assert other.encode() not in data
    assert f"{other[:6]}-{other[6:]}".encode() not in data
    told = look_up(place, own, date(2024, 2, 1))
    assert {i.ydelse_id for i in told.indberetninger} >= {"KTH", "SYG_VIRK"}
    assert [i.indberetning_id for i in told.indberetninger if i.ydelse_id == "KTH"] == ["udeladt-1"]
    with root.place.warehouse.reading() as session:
        assert session.value("SELECT borger_id FROM identitet.borger WHERE cpr = $cpr", cpr=other) is not None
