"""Views of the follow-up for tests: some municipalities with made-up people and money, the same every time."""

from collections.abc import Mapping
from datetime import date
from random import Random

import polars as pl

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.opfoelgning.views import AAR, ANDEN, EGEN, NATIONAL, SPANDE, VIEWS, Ugetal
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.rules.entries import Rulebook

MONTH = date(2026, 10, 1)
YDELSER = ("KTH", "SYG_BORGER", "ADP", "FOEP", "LED", "BEFORD")
OFF_STAIRS = {"BEFORD"}
PLACES = ("trin 1", "trin 2", "trin 3", "trin 4", "udenfor", "anden kommune")


def views_of(koder: list[str], rules: Rulebook, month: date = MONTH, most: int = 60) -> dict[str, pl.DataFrame]:
    """Every view and `ugetal` for some municipalities, as their contracts want them; groups of up to `most` people."""
    chance = Random(f"{month}")  # noqa: S311  made-up numbers
    key = {"koersel": run_number(month, rules)}
    rows: dict[str, list[dict[str, object]]] = {name: [] for name in (*VIEWS, "ugetal")}
    for kode in koder:
        _stairs(rows, {**key, "kommunekode": kode}, month, chance, most)
        _others(rows, {**key, "kommunekode": kode, "maaned": month}, month, chance, most)
    return {name: _frame(name, rows[name]) for name in rows}


def _frame(name: str, rows: list[dict[str, object]]) -> pl.DataFrame:
    contract = {**VIEWS, "ugetal": Ugetal}[name]
    schema = {column: spec.dtype.type for column, spec in contract.to_schema().columns.items()}
    return contract.validate(pl.DataFrame(rows, schema=schema, orient="row"))


def _money(chance: Random, people: int, percent: int, *, refunded: bool) -> dict[str, object]:
    """The money of so many people: the own share is the rest of the refusion, or the medfinansiering."""
    brutto = people * chance.randint(300_000, 1_900_000)
    state = brutto * percent // 100
    egen = brutto - state
    return {
        "brutto_oere": brutto,
        "refusion_oere": state if refunded else 0,
        "medfinansiering_oere": 0 if refunded else egen,
        "egen_oere": egen,
    }


def _stairs(
    rows: Mapping[str, list[dict[str, object]]], key: dict[str, object], month: date, chance: Random, most: int
) -> None:
    for back in range(12, -1, -1):
        for ydelse in YDELSER:
            for trin, percent in enumerate((80, 40, 30, 20), start=1):
                if ydelse in OFF_STAIRS and trin > 1:
                    continue
                people = chance.randint(0, most)
                if not people:
                    continue
                money = _money(chance, people, percent, refunded=ydelse not in ("ADP", "FOEP", "BEFORD"))
                share = None if not money["brutto_oere"] else 1000 * money["egen_oere"] // money["brutto_oere"]
                rows["trappe"].append(
                    {
                        **key,
                        "maaned": next_month(month, -back),
                        "ydelse_id": ydelse,
                        "trin": None if ydelse in OFF_STAIRS else trin,
                        "borgere": people,
                        "borgere_sidst": chance.randint(0, people),
                        "borgeruger": people * 4,
                        **money,
                        "egen_promille": share,
                    }
                )
                weeks = {name: value for name, value in money.items() if name != "egen_oere"}
                if not back:
                    at = {**key, "maaned": month, "ydelse_id": ydelse}
                    rows["ugetal"].append({**at, "uge": date(2026, 9, 7 + 7 * (trin % 4)), "antal": people, **weeks})
                    own = int(money["egen_oere"]) // (people * 4)
                    rows["potentiale"].append(
                        {
                            **at,
                            "trin": None if ydelse in OFF_STAIRS else trin,
                            "borgere": people,
                            "egen_pr_uge_oere": own,
                            "egen_13_uger_oere": 13 * own,
                            "ved_10_pct_kortere_oere": 13 * own * people // 10,
                        }
                    )


def _others(  # noqa: C901, PLR0912  one view after another
    rows: Mapping[str, list[dict[str, object]]], key: dict[str, object], month: date, chance: Random, most: int
) -> None:
    def oere(top: int = 9_000_000) -> int:
        return chance.randint(-top // 3, top)

    def people() -> int:
        return chance.randint(1, most)

    for fra in PLACES:
        for til in PLACES:
            if {fra, til} != {"anden kommune"} and chance.random() < 0.6:
                rows["bevaegelser"].append(
                    {**key, "fra": fra, "til": til, "borgere": people(), "aendring_oere": oere()}
                )
    for ydelse in YDELSER[:5]:
        for fra in (1, 2, 3):
            for week in range(1, 14):
                if chance.random() < 0.5:
                    loss = chance.randint(1, 900_000)
                    rows["naeste_trin"].append(
                        {
                            **key,
                            "ydelse_id": ydelse,
                            "fra": fra,
                            "til": fra + 1,
                            "uger_til": week,
                            "borgere": people(),
                            "tab_pr_uge_oere": loss,
                            "tab_13_uger_oere": loss * (13 - week),
                        }
                    )
        for ahead in range(1, 13):
            money = _money(chance, people(), 40, refunded=True)
            own = int(str(money["egen_oere"]))
            band = {"lav_oere": own * 9 // 10, "hoej_oere": own * 11 // 10, "fejl_promille": 43}
            rows["prognose"].append({**key, "ydelse_id": ydelse, "frem": ahead, "borgere": people(), **money, **band})
    for spand in SPANDE:
        fields = {
            "borgere": people(),
            "paa_ydelse": 1,
            "uger_der_falder_ud_13": people(),
            "vaerdi_13_uger_oere": oere(),
        }
        rows["genoptjening"].append({**key, "spand": spand, **fields})
    for years in AAR:
        fields = {"borgere": people(), "egen_oere": oere(), "laengste_tiendedel_oere": oere()}
        rows["langvarige"].append({**key, "aar_paa_ydelse": years, **fields})
    rows["sammenlign"].append(
        {
            **key, "gruppe": "Region Syddanmark, stor", "kommuner": 8, "egen_promille": 689, "trin4_promille": 706,
            "egen_pr_indbygger_oere": 65_889, "median_promille": 671, "median_trin4_promille": 690,
            "median_pr_indbygger_oere": 64_120, "plads": 5, "mer_oere": oere(),
        }
    )  # fmt: skip
    for aarsag in ("sen", "aendret", "taeller_egen", "fleksbidrag"):
        fields = {"borgere": people(), "borgeruger": people() * 3, "alder_maaneder": 2, "netto_oere": oere()}
        rows["rettelser"].append({**key, "aarsag": aarsag, **fields})
    for kilde in ("ky", "ksd"):
        for late in (1, 2, 7):
            money = {"beloeb_oere": oere(), "netto_oere": oere(), "oere_maaneder": oere() * late}
            late_ones = {"borgere": people(), "borgeruger": people() * 3}
            rows["sene_uger"].append({**key, "kilde": kilde, "maaneder_forsinket": late, **late_ones, **money})
    for regel in ("EI-001", "EI-010", "FIL-003"):
        for kilde in ("ky", "ksd"):
            fields = {"alvor": "FEJL", "antal": people(), "beloeb_oere": oere(), "aeldste_koersel": 80}
            sender = f"{kilde}-{key['kommunekode']}"
            rows["haengende"].append(
                {**key, "regel": regel, "afsender": sender, "handling": "Afsenderen retter.", **fields}
            )
    for betaler in (EGEN, ANDEN, NATIONAL):
        fields = {"borgere": people(), "borgeruger": people() * 4, "brutto_oere": oere(), "egen_oere": oere()}
        rows["andre_kommuner"].append({**key, "betaler": betaler, **fields})
    for konto, rest in (("5.57.73.1.001", 800_000_00), ("5.57.71.1.001", None)):
        money = {"budget_oere": 4_000_000_00, "forbrug_oere": 3_100_000_00, "prognose_rest_oere": rest}
        whole = None if rest is None else 3_100_000_00 + rest
        after = {"helaar_oere": whole, "afvigelse_oere": None if whole is None else whole - 4_000_000_00}
        rows["budget"].append({**key, "konto": konto, **money, **after})
    for gevinst, unit in (("sygedagpenge", "oere"), ("andel", "promille")):
        rows["gevinst"].append(
            {
                **key, "gevinst_id": gevinst, "maal": "trappe.egen_oere", "ejer": "Jobcenterchefen", "enhed": unit,
                "baseline_fra": next_month(month, -24), "baseline_til": next_month(month, -13), "baseline": 700,
                "nu": 650, "forskel": -50, "maalsaetning": None, "faldet_tilbage": False,
            }
        )  # fmt: skip


def statement_of(koder: list[str], month: date = MONTH) -> pl.DataFrame:
    """The money of the statement of the run, the one before and that of last year."""
    rows = [
        {
            "maaned": next_month(month, back),
            "kommunekode": kode,
            "refusion_oere": 1_000_000_00 + 100 * back,
            "medfinansiering_oere": 2_000_000_00,
            "rettelser_oere": -12_345,
        }
        for kode in koder
        for back in (0, -1, -12)
    ]
    return pl.DataFrame(rows)
