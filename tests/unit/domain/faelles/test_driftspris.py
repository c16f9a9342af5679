"""The price of operations: flat and critical, by function, by volume, to the øre."""

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from refusion_assets.domain.faelles.driftspris import (
    BEREDSKAB,
    UDEN,
    Brug,
    Driftspris,
    Funktion,
    Maanedspris,
    Maengdetrin,
    month_price,
    price_faults,
)
from refusion_assets.domain.operations.bankdays import DANISH, Window
from refusion_assets.rulebook.load import prices
from tests.kit.data_root import RULES

MAY = date(2026, 5, 1)
OPENS, OVERDUE = datetime(2026, 5, 1, 6, tzinfo=DANISH), datetime(2026, 5, 7, 6, tzinfo=DANISH)
WEEK = Window(OPENS, OPENS, OPENS, OVERDUE)
CITED: dict[str, Any] = {"hjemmel": "-", "kilde": "-", "kontrolleret": MAY, "sikkerhed": "-"}
ENTRY = Driftspris(
    gaelder_fra=MAY,
    maal="raekker",
    trin=(Maengdetrin(fra=0, fast="300", kritisk="100"), Maengdetrin(fra=1000, fast="400", kritisk="200")),
    funktioner=(
        Funktion(navn="Afregning", lovpligtig=True, grupper=("raw", "opgoerelse")),
        Funktion(navn="Opfølgning", lovpligtig=False, grupper=("opfoelgning",)),
        Funktion(navn="Forklar", lovpligtig=False, kommandoer=("forklar",), sekunder_pr_opslag=2),
    ),
    **CITED,
)


def used(name: str, ms: int, *, critical: bool = False) -> Brug:
    return Brug(name, OPENS if critical else OVERDUE, ms)


def told(price: Maanedspris) -> dict[str, tuple[int, int]]:
    return {row["funktion"]: (row["fast_oere"], row["kritisk_oere"]) for row in price.rows.iter_rows(named=True)}


def test_the_flat_rate_follows_the_time_outside_the_critical_week_and_the_supplement_the_time_within() -> None:
    uses = [used("raw", 1000), used("opfoelgning", 2000), used("opgoerelse", 9000, critical=True)]
    price = month_price(ENTRY, MAY, 0, uses, WEEK)
    assert told(price) == {"Afregning": (10000, 10000), "Opfølgning": (20000, 0)}
    assert (price.oere(lovpligtig=True), price.oere(lovpligtig=False)) == (20000, 20000)


@pytest.mark.parametrize(("moment", "within"), [(OPENS, 1), (OVERDUE - timedelta(microseconds=1), 1), (OVERDUE, 0)])
def test_the_critical_week_ends_as_the_month_is_overdue(moment: datetime, within: int) -> None:
    rows = month_price(ENTRY, MAY, 0, [Brug("raw", moment, 1)], WEEK).rows
    assert rows["ms_kritisk"].to_list() == [within]


@pytest.mark.parametrize(("volume", "total"), [(0, 40000), (999, 40000), (1000, 60000)])
def test_a_volume_on_a_threshold_has_reached_its_step(volume: int, total: int) -> None:
    price = month_price(ENTRY, MAY, volume, [used("raw", 1)], WEEK)
    assert price.oere(lovpligtig=True) == total


def test_where_nothing_is_measured_all_is_readiness_that_the_law_asks_for() -> None:
    price = month_price(ENTRY, MAY, 0, [], None)
    assert told(price) == {BEREDSKAB: (30000, 10000)}
    assert price.oere(lovpligtig=False) == 0


def test_where_one_part_of_the_month_is_unmeasured_the_other_shares_both() -> None:
    uses = [used("raw", 1), used("opfoelgning", 3)]
    assert told(month_price(ENTRY, MAY, 0, uses, WEEK)) == {"Afregning": (7500, 2500), "Opfølgning": (22500, 7500)}


def test_a_group_of_no_function_is_told_by_itself_and_not_charged_as_law() -> None:
    price = month_price(ENTRY, MAY, 0, [used("raw", 1), used("nyt", 1)], WEEK)
    assert told(price)[UDEN] == (15000, 5000)
    assert price.oere(lovpligtig=False) == 20000


@given(
    st.lists(
        st.builds(used, st.sampled_from(["raw", "opfoelgning", "forklar", "nyt"]), st.integers(0, 10**8),
                  critical=st.booleans())
    ),
    st.integers(0, 10**7),
)  # fmt: skip
def test_the_functions_pay_the_price_of_the_step_to_the_oere(uses: list[Brug], volume: int) -> None:
    price = month_price(ENTRY, MAY, volume, uses, WEEK)
    assert price.oere(lovpligtig=True) + price.oere(lovpligtig=False) == (60000 if volume >= 1000 else 40000)


def with_step(**more: Any) -> Driftspris:
    return replace(ENTRY, trin=(replace(ENTRY.trin[0], **more), ENTRY.trin[1]))


def with_function(**more: Any) -> Driftspris:
    return replace(ENTRY, funktioner=(*ENTRY.funktioner, Funktion(**{"navn": "Ny", "lovpligtig": True, **more})))


WRONG = {
    "no first step": (with_step(fra=1), "fra = 0"),
    "steps fall": (with_step(fra=2000), "stigende"),
    "a negative price": (with_step(fast="-1"), "er under nul"),
    "no amount": (with_step(kritisk="1,5"), "er ikke et beløb"),
    "mid month": (replace(ENTRY, gaelder_fra=date(2026, 5, 2)), "den første i en måned"),
    "no steps": (replace(ENTRY, trin=()), "fra = 0"),
    "no functions": (replace(ENTRY, funktioner=()), "funktioner er tom"),
    "an empty function": (with_function(), "skriv grupper"),
    "a group twice": (with_function(grupper=("raw",)), "'raw' står to gange"),
    "a command that is not counted": (with_function(kommandoer=("koer",), sekunder_pr_opslag=1), "bliver ikke talt"),
    "a command without a time": (with_function(kommandoer=("indsigt",)), "hører sammen"),
    "a time without a command": (with_function(grupper=("x",), sekunder_pr_opslag=1), "hører sammen"),
}


@pytest.mark.parametrize(("entry", "said"), WRONG.values(), ids=WRONG)
def test_an_impossible_price_is_refused_with_file_and_day(entry: Driftspris, said: str) -> None:
    found = list(price_faults([entry]))
    assert any(said in one for one in found), found
    assert all(one.startswith(f"driftspris.toml, {entry.gaelder_fra}: ") for one in found)


def test_two_prices_from_one_day_are_refused() -> None:
    assert list(price_faults([ENTRY, ENTRY])) == ["driftspris.toml, 2026-05-01: står to gange; behold den ene"]


def test_the_shipped_price_knows_every_group_of_assets_that_runs() -> None:
    [entry] = prices(RULES)
    groups = (
        "raw",
        "classified",
        "duration",
        "refusion",
        "opgoerelse",
        "kontrol",
        "levering",
        "opfoelgning",
        "faelles",
    )
    assert UDEN not in {entry.function_of(name) for name in groups}
