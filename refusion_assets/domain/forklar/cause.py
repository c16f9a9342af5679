"""Understands why a run settled or counted a week otherwise than the run before it."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

import numpy as np
import polars as pl

from refusion_assets.domain.calendar import last_day, make_grid, monday, next_month
from refusion_assets.domain.forklar.history import Flytning, Historie, PersonFacts, counts
from refusion_assets.domain.forklar.model import Aarsag, Aendring, FleksbidragTold, Formel, SkiftetUge, entry
from refusion_assets.domain.forklar.rows import Key, Linjer, Navne, Row, reversals, spelled, touches
from refusion_assets.domain.opgoerelse.ledger import TILBAGE
from refusion_assets.domain.refusion.fleksbidrag import FACTS, FORMLER
from refusion_assets.domain.refusion.residence import NO_KOMMUNE, residence
from refusion_assets.domain.rules.entries import Fleksbidrag, Rulebook, spans

MISSING = "FB-001"


def contribution_row(row: Row, navne: Navne, rules: Rulebook) -> FleksbidragTold:
    """One fleksbidrag (`BorgerMaanedFleksbidrag`) with the numbers of its formula, and its entry. Hjemmel: § 7."""
    rule = _entry_of(row, rules)
    missing = row["beregningsgrundlag_oere"] is None
    seen = {"ydelse_id": row["ydelse_id"], "uge_fra": row["uge"], "uge_til": row["uge"]}
    numbers = {"navn": rule.formel, "tilskud": navne.ydelse(rule.ydelse_id)} if rule else {}
    return navne.filled(
        FleksbidragTold,
        row,
        formel=navne.filled(Formel, vars(rule), **numbers) if rule else None,
        regel=MISSING if missing else None,
        regel_tekst=spelled(MISSING, seen | {"vaerdi": f"{row['maaned']:%Y-%m}"}, rules) if missing else None,
        post=entry(rule, "fleksbidrag.toml", rule.id) if rule else None,
    )


def _entry_of(row: Row, rules: Rulebook) -> Fleksbidrag | None:
    """The entry in force for the month, if it gives this contribution."""
    for rule, since, until in spans(rules.fleksbidrag):
        if since <= row["maaned"] < until and (rule.id, rule.hjemmel) == (row["ydelse_id"], row["hjemmel"]):
            if row["beregningsgrundlag_oere"] is None:
                return rule
            facts = pl.DataFrame([[row[name] for name in FACTS]], schema=dict.fromkeys(FACTS, pl.Int64), orient="row")
            return rule if int(FORMLER[rule.formel](facts, rule)[0]) == row["refusion_oere"] else None
    return None


def basis_causes(grundlag: pl.DataFrame, run: date) -> list[Aarsag]:
    """The cause that a run has another newest basis of the month than the run before it. Øre.

    `grundlag`: the bases of one person and month: modtaget_maaned, raekke, beregningsgrundlag_oere, loen_oere.
    """
    by_age = grundlag.sort("modtaget_maaned", "raekke").select(
        "modtaget_maaned", "beregningsgrundlag_oere", "loen_oere"
    )
    known = [by_age.filter(when).rows()[-1:] for when in (pl.col("modtaget_maaned") < run,
                                                          pl.col("modtaget_maaned") <= run)]  # fmt: skip
    before, after = (tuple(rows[0][1:]) if rows else (None, None) for rows in known)
    if before == after:
        return []
    return [
        Aarsag(
            slags="grundlag",
            indberetninger=[],
            grundlag_foer_oere=before[0],
            grundlag_efter_oere=after[0],
            loen_foer_oere=before[1],
            loen_efter_oere=after[1],
        )
    ]


def subsidy_causes(posteringer: pl.DataFrame, koersel: int, ydelse_ids: set[str]) -> list[Aarsag]:
    """The cause that a run changed the settled benefit of a fleksbidrag; `posteringer`: the ledger of the month."""
    mine = posteringer.filter(pl.col("koersel") == koersel, pl.col("ydelse_id").is_in(ydelse_ids))
    weeks = mine["uge"].unique().sort().to_list()
    if not weeks:
        return []
    return [Aarsag(slags="tilskud", indberetninger=[], uge_fra=weeks[0], uge_til=weeks[-1], antal_uger=len(weeks))]


def _home(facts: PersonFacts, known: date, uge: date, rules: Rulebook) -> str | None:
    """The municipality of residence of a week in the data of a run month; None if unknown."""
    snapshots = [month for month in facts.bopael_maaneder if month <= known]
    if not snapshots:
        return None
    grid = make_grid(rules.optaelling.gaelder_fra, last_day(known))
    stays = facts.bopael.filter(pl.col("modtaget_maaned") == max(snapshots)).drop("modtaget_maaned")
    stays = stays.with_columns(borger_id=pl.lit(facts.borger_id, pl.Int64))
    kode = int(residence(stays, np.array([facts.borger_id]), grid, rules)[grid.week_of(uge), 0])
    return None if kode == NO_KOMMUNE else f"{kode:03}"


@dataclass(frozen=True)
class RunChange:
    """One benefit in the days of a week and month in one run: rows taken back and settled, and the rows before.

    `flytning`: why its number changed; `overgang`: why the number that gives its percentage changed.
    """

    uge: date
    maaned: date
    run: date
    koersel: int
    ydelse_id: str
    back: list[Row]
    fresh: list[Row]
    stood: list[Row]
    flytning: Flytning | None
    overgang: Flytning | None

    def of(self, rows: list[Row], name: str) -> Any:
        """A value of the rows; None where there are none."""
        return rows[0][name] if rows else None

    def moved(self, *names: str) -> bool:
        """True if the amounts by municipality differ."""
        sums: dict[tuple[str, str], int] = {}
        for row in (*self.back, *self.fresh):
            for name in names:
                place = row["kommunekode"], name
                sums[place] = sums.get(place, 0) + row[name]
        return any(sums.values())

    @property
    def settled(self) -> bool:
        """True if the run changed the settled rows."""
        return bool(self.back or self.fresh)

    @property
    def other_percentage(self) -> bool:
        """True if the percentage changed."""
        return bool(self.back and self.fresh) and self.of(self.back, "procent") != self.of(self.fresh, "procent")


def _shifts(posteringer: pl.DataFrame, historie: Historie, uge: date, maaned: date) -> Iterator[RunChange]:
    """The changes of runs in a week's days of the month, in order of run and benefit.

    A first settlement in the month's own run is no change. The numbers before and after are compared too.
    """
    own = posteringer.filter((pl.col("uge") == uge) & (pl.col("maaned") == maaned)).rows(named=True)
    standing = {_place(row): row for row in own if row["koersel"] == 0}
    for koersel, run in historie.maaneder.items():
        mine = [row for row in own if row["koersel"] == koersel]
        stood = dict(standing)
        for row in sorted(mine, key=lambda row: row["raekketype"] != TILBAGE):
            if row["raekketype"] == TILBAGE:
                standing.pop(_place(row), None)
            else:
                standing[_place(row)] = row
        for ydelse_id in sorted({name for name, _ in (*stood, *standing)}):
            back = [r for r in mine if r["ydelse_id"] == ydelse_id and r["raekketype"] == TILBAGE]
            fresh = [r for r in mine if r["ydelse_id"] == ydelse_id and r["raekketype"] != TILBAGE]
            then, now = ([r for (name, _), r in side.items() if name == ydelse_id] for side in (stood, standing))
            both = all(any(row["ydelsestaeller"] is not None for row in rows) for rows in (then, now))
            moved = _moved_numbers(historie, koersel, ydelse_id, uge) if both else (None, None)
            if any(moved) or back or (fresh and run > maaned):
                yield RunChange(uge, maaned, run, koersel, ydelse_id, back, fresh, then, *moved)


def _place(row: Row) -> tuple[str, str]:
    return row["ydelse_id"], row["kommunekode"]


def _moved_numbers(
    historie: Historie, koersel: int, ydelse_id: str, uge: date
) -> tuple[Flytning | None, Flytning | None]:
    """Why a run counted a week of a benefit otherwise, and the week of the overgang where that decides."""
    earlier = historie.before(koersel)
    if earlier is None:
        return None, None
    rules = historie.at(koersel).rules
    taeller = _counter(rules, ydelse_id, uge)
    if taeller is None or taeller != _counter(historie.at(earlier).rules, ydelse_id, uge):
        return None, None
    before = uge < monday(rules.overgang.gaelder_fra)
    return historie.moved(koersel, taeller, uge), historie.moved_overgang(koersel, taeller) if before else None


def _counter(rules: Rulebook, ydelse_id: str, uge: date) -> str | None:
    """The counter of a benefit's staircase in a week; None without a staircase."""
    on_day = max(uge, rules.overgang.gaelder_fra)
    ydelse = rules.ydelse_on(ydelse_id, on_day) if ydelse_id in rules.ydelse_ids else None
    return rules.trappe_on(ydelse.trappe, on_day).taeller if ydelse and ydelse.trappe else None


def changes(
    facts: PersonFacts, historie: Historie, linjer: Linjer, uge: date, maaned: date, rules: Rulebook
) -> list[Aendring]:
    """The changes of later runs in a week's days of the month, each with its concrete causes. Øre, per cent.

    A run that only counted the week otherwise is one of them: its percentage and amounts are unchanged.
    """
    found = []
    navne = linjer.navne
    for shift in _shifts(facts.posteringer, historie, uge, maaned):
        then, now = (shift.back, shift.fresh) if shift.settled else (shift.stood, shift.stood)
        sign = -1 if shift.settled else 1
        found.append(
            navne.filled(
                Aendring,
                vars(shift),
                maaned=shift.run,
                procent_foer=shift.of(then, "procent"),
                procent_efter=shift.of(now, "procent"),
                beloeb_foer_oere=sign * sum(row["beloeb_oere"] for row in then),
                beloeb_efter_oere=sum(row["beloeb_oere"] for row in now),
                refusion_foer_oere=sign * sum(row["refusion_oere"] for row in then),
                refusion_efter_oere=sum(row["refusion_oere"] for row in now),
                kommuner_foer=sorted({navne.kommune(row["kommunekode"]) for row in then}),
                kommuner_efter=sorted({navne.kommune(row["kommunekode"]) for row in now}),
                aarsager=_causes(shift, facts, historie, linjer, rules),
            )
        )
    return found


def _causes(shift: RunChange, facts: PersonFacts, historie: Historie, linjer: Linjer, rules: Rulebook) -> list[Aarsag]:
    """The concrete causes of a change, the nearest first; one that says so if none can be seen."""
    causes: list[Aarsag] = []
    earlier = historie.before(shift.koersel)
    versions = historie.version(shift.koersel if earlier is None else earlier), historie.version(shift.koersel)
    followed = {entry.ydelse_id for entry in rules.fleksbidrag if entry.id == shift.ydelse_id}
    if followed:
        causes += basis_causes(facts.grundlag, shift.run)
        causes += subsidy_causes(facts.posteringer, shift.koersel, followed)
    if shift.moved("beloeb_oere", "indberettet_oere"):
        causes += _new_lines(shift, linjer, historie)
        before, after = (_home(facts, run, shift.uge, rules) for run in (next_month(shift.run, -1), shift.run))
        if before != after:
            causes.append(
                Aarsag(
                    slags="bopael",
                    indberetninger=[],
                    uge_fra=shift.uge,
                    uge_til=shift.uge,
                    kommune_foer=linjer.navne.kommune(before) if before else None,
                    kommune_efter=linjer.navne.kommune(after) if after else None,
                )
            )
    counted = [("taeller", shift.flytning), ("overgang", shift.overgang)]
    numbers = [_moved_number(slags, one, linjer, versions) for slags, one in counted if one]
    causes += numbers
    others = not causes or (shift.other_percentage and not numbers)
    if shift.settled and others and versions[0] != versions[1]:
        causes.append(
            Aarsag(
                slags="regler",
                indberetninger=[],
                regelversion_foer=versions[0],
                regelversion_efter=versions[1],
                hjemmel_foer=shift.of(shift.back, "hjemmel"),
                hjemmel_efter=shift.of(shift.fresh, "hjemmel"),
            )
        )
    return causes or [Aarsag(slags="uforklaret", indberetninger=[])]


def _new_lines(shift: RunChange, linjer: Linjer, historie: Historie) -> list[Aarsag]:
    """Lines of the benefit in the week that the run began or ceased to count, and the reversals that took them back."""
    earlier = historie.before(shift.koersel)
    if earlier is None:
        return []
    # A whole claim that moves to another of its weeks changes this one, though not its amount.
    whole_week = not shift.moved("beloeb_oere")
    first, last = shift.uge, shift.uge + timedelta(days=6)
    days = (first, last) if whole_week else (max(first, shift.maaned), min(last, last_day(shift.maaned)))
    old, new = historie.at(earlier), historie.at(shift.koersel)
    found: dict[str, dict[Key, None]] = {"tilbagefoersel": {}, "indberetning": {}, "karantaene": {}}
    for line, row in new.linjer.items():
        was, now = counts(old, line), counts(new, line)
        if was != now and row["art"] == "I" and row["ydelse_id"] == shift.ydelse_id and touches(row, *days):
            back = [reversal for reversal in reversals(new.linjer, row) if old.status(reversal) is None] if was else []
            fresh = "indberetning" if old.status(line) is None else "karantaene"
            found["tilbagefoersel" if back else fresh] |= dict.fromkeys(back or [line])
    return [
        Aarsag(slags=slags, indberetninger=linjer.nrs(sorted(lines)))  # type: ignore[arg-type]
        for slags, lines in found.items()
        if lines
    ]


def _moved_number(slags: str, moved: Flytning, linjer: Linjer, versions: tuple[str, str]) -> Aarsag:
    """The cause that a number changed, with the weeks that moved it and the lines of each."""
    weeks = [linjer.navne.filled(SkiftetUge, vars(one), indberetninger=linjer.nrs(one.linjer)) for one in moved.uger]
    kinds = {one.art_efter for one in weeks}
    by_rules = moved.regler or any(not one.indberetninger for one in weeks)
    return Aarsag(
        slags=slags,  # type: ignore[arg-type]
        indberetninger=sorted({nr for one in weeks for nr in one.indberetninger}),
        uge_fra=weeks[0].uge if weeks else None,
        uge_til=weeks[-1].uge if weeks else None,
        antal_uger=len(weeks),
        ydelsestaeller_foer=moved.foer,
        ydelsestaeller_efter=moved.efter,
        art_efter=kinds.pop() if len(kinds) == 1 else None,
        taeller_id=moved.taeller_id,
        maalt_uge=moved.uge,
        skiftede_uger=weeks,
        forfra_foer=moved.forfra_foer,
        forfra_efter=moved.forfra_efter,
        regelversion_foer=versions[0] if by_rules else None,
        regelversion_efter=versions[1] if by_rules else None,
    )
