"""Understands people in fleksjob, for tests: their claims, their bases, and both calculations of their fleksbidrag."""

from collections.abc import Sequence
from datetime import date, timedelta

import polars as pl
from hypothesis import strategies as st

from refusion_assets.domain.calendar import last_day, month_of, next_month
from refusion_assets.domain.duration.count import count_weeks
from refusion_assets.domain.efterregning.money import Key, Resultat, state
from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.raw import fleks_rows
from refusion_assets.domain.refusion.fleksbidrag import contributions, days_on_step
from refusion_assets.domain.refusion.residence import residence
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.store.tables import validate
from tests.kit.data_root import FLEKSGRUNDLAG, Row, calculate, rates_of
from tests.kit.timeline import CPR, KOMMUNER, PAYERS, PEOPLE, delivered, report, row, weeks

KONTO = "urn:oio:kommune:konto:558811020"
PERIOD = {"Felt0214_start": "", "Felt0214_slut": ""}


def flex(fra: date, til: date, number: int, kroner: str, **changes: str) -> Row:
    """One report of fleksløntilskud for a period."""
    period = {"Felt0215_start": str(fra), "Felt0215_slut": str(til)}
    return row("K", fra, til, number, kroner, Felt0115=KONTO, **PERIOD, **period, **changes)


def kth(weeks_before: int, fra: date) -> list[Row]:
    """So many weeks of kontanthjælp in a row, the last of them before the week of a day."""
    first = fra - timedelta(days=fra.weekday(), weeks=weeks_before)
    return [row("K", week, week + timedelta(days=6), 1000 + nr) for nr, (week, _) in
            enumerate(weeks(f"K{weeks_before}", first))]  # fmt: skip


def basis(month: str, grundlag: str, loen: str = "0,00", cpr: str = CPR) -> Row:
    """One row of the register."""
    return {"CPR": cpr, "Maaned": month, "Beregningsgrundlag": grundlag, "Loen": loen}


def kernel(files: Sequence[Fil], bases: Sequence[Row], month: str, rules: Rulebook) -> dict[Key, Resultat]:
    """The fleksbidrag of a run by the kernel, in the form of the independent calculation; zero is left out."""
    run = calculate(files, [], month, rules)
    grid, rates = rates_of(rules, last_day(month_of(month)))
    counted = count_weeks(run.krav, grid, rules)
    nowhere = pl.DataFrame(schema={"borger_id": pl.Int64, "kommunekode": pl.String, "bopael_start": pl.Date,
                                   "bopael_slut": pl.Date})  # fmt: skip
    home = residence(nowhere, counted.borger_id, grid, rules)
    lines = pl.DataFrame(bases, schema=dict.fromkeys(FLEKSGRUNDLAG, pl.String), orient="row").with_row_index("linje", 1)
    number = {person: place for place, person in enumerate(run.cpr)}
    known = fleks_rows(lines.with_columns(pl.col("linje").cast(pl.Int64)), month_of(month)).filter(
        pl.col("cpr").is_in(run.cpr)
    )
    newest = known.sort("raekke").unique(["cpr", "maaned"], keep="last").select(
        "maaned", "beregningsgrundlag_oere", "loen_oere",
        borger_id=pl.col("cpr").replace_strict(number, return_dtype=pl.Int64),
    )  # fmt: skip
    days = days_on_step(run.krav, counted, home, grid, rates, rules)
    rows = validate("refusion.fleksbidrag", contributions(days, run.rows, newest, rules))
    return {
        (uge, f"{maaned:%Y-%m}", run.cpr[borger], ydelse, kommune): Resultat(0, 0, 0, oere, 0, None, None, None)
        for uge, maaned, borger, ydelse, kommune, oere in rows.select(
            "uge", "maaned", "borger_id", "ydelse_id", "kommunekode", "refusion_oere"
        ).iter_rows()
        if oere
    }


def plain(files: Sequence[Fil], bases: Sequence[Row], month: str, rules: Rulebook) -> dict[Key, Resultat]:
    """The same by the independent calculation."""
    every = state(files, [], month, rules, fleksbidrag=True, fleksgrundlag=bases)
    ids = {entry.id for entry in rules.fleksbidrag}
    return {key: row for key, row in every.items() if key[3] in ids}


@st.composite
def lives(draw: st.DrawFn, rules: Rulebook, months: Sequence[str]) -> list[tuple[list[Fil], list[Row]]]:
    """What is delivered in each of some months about two people about to reach the last step: reports and bases."""
    konti = {konto.konto: konto for konto in rules.konti}
    first = month_of(months[0])
    sent: list[list[Row]] = [[] for _ in months]
    bases: list[list[Row]] = [[] for _ in months]
    for cpr in PEOPLE[:2]:
        begins = first - timedelta(weeks=draw(st.integers(48, 56)))
        until = first - timedelta(days=draw(st.integers(1, 40)))
        long = report(konti["urn:oio:kommune:konto:557731007"], "0014", cpr, begins, max(begins, until), 12_000_000)
        sent[0].append(long | {"IndberetningsID": f"L{cpr[:4]}"})
        for nr in range(draw(st.integers(1, 5))):
            fra = first + timedelta(days=draw(st.integers(-60, 80)))
            til = fra + timedelta(days=draw(st.sampled_from((0, 2, 6, 13, 27, 30, 60))))
            oere = draw(st.sampled_from((3, 50_000, 633_333, 1_200_050)))
            own = report(konti[KONTO], "0014", cpr, fra, til, oere, draw(st.sampled_from(KOMMUNER)))
            own |= {"IndberetningsID": f"F{cpr[:4]}{nr}", "Pligt_SE": draw(st.sampled_from(PAYERS))}
            sent[draw(st.integers(0, len(months) - 1))].append(own)
        for _ in range(draw(st.integers(0, 6))):
            month = f"{next_month(first, draw(st.integers(-2, 2))):%Y-%m}"
            grundlag, loen = (
                draw(st.sampled_from(("17550,00", "2345,67", "21000"))),
                draw(st.sampled_from(("0", "4999,5"))),
            )
            bases[draw(st.integers(0, len(months) - 1))].append(basis(month, grundlag, loen, cpr))
    return [(delivered(rows, month), basis) for rows, basis, month in zip(sent, bases, months, strict=True)]
