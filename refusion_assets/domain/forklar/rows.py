"""Understands one row of the result or the ledger: its names, its entry in the rules, and who finances it."""

from bisect import bisect_left
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from datetime import date, timedelta
from functools import cached_property
from typing import Any, TypeVar

import polars as pl

from refusion_assets.domain.calendar import monday, years_before
from refusion_assets.domain.classified import BRUGT, CLAIM, KARANTAENE, TILBAGEFOERT, VIRKET
from refusion_assets.domain.elsewhere import ANDRE
from refusion_assets.domain.findings.lines import line_findings
from refusion_assets.domain.findings.words import found, worded
from refusion_assets.domain.forklar.model import (
    Finansiering,
    Forfra,
    IndberetningTold,
    OverLoftTold,
    Post,
    Raekke,
    Stykke,
    entry,
)
from refusion_assets.domain.forklar.words import small
from refusion_assets.domain.rules.entries import Rulebook, Trappe, Ydelse, in_force

WEEK = timedelta(days=7)
Row = dict[str, Any]
Told = TypeVar("Told")


@dataclass(frozen=True)
class TaltUge:
    """One week of a person: kind, which count it is of, n, and the weeks of self-support in its window."""

    uge: date
    art: str
    taelling: int
    n: int
    fri: bool
    genoptjent: bool
    antal: int = 0
    foerste: date | None = None


def counted_weeks(forloeb: pl.DataFrame, through: date, rules: Rulebook) -> dict[date, TaltUge]:
    """Every week of the person from the first week of support to `through`, by Monday.

    `forloeb`: the spells of one person (`Forloeb`). The whole weeks after the last spell are self-support, and can
    reach a restart. Hjemmel: § 5, stk. 2-3; § 6, stk. 1.
    """
    reached = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    found: dict[date, TaltUge] = {}
    free: list[date] = []
    taelling, forfra = 1, 0
    for stored, own in _all_weeks(forloeb, through):
        week = replace(stored, taelling=stored.taelling + forfra)
        if week.taelling != taelling:
            free, taelling = [], week.taelling
        week = replace(week, n=0 if forfra else week.n, fri=week.fri and not forfra)
        if week.fri:
            free.append(week.uge)
        rule = rules.genoptjening_on(week.uge)
        inside = free[bisect_left(free, years_before(week.uge, rule.vindue_aar)) :]
        restart = week.genoptjent or (not own and week.fri and reached and len(inside) >= rule.uger)
        if restart:
            week, inside = replace(week, genoptjent=True, n=0), []
            forfra += not own
        found[week.uge] = replace(week, antal=len(inside), foerste=inside[0] if inside else None)
    return found


def _all_weeks(forloeb: pl.DataFrame, through: date) -> Iterator[tuple[TaltUge, bool]]:
    """The weeks of the spells, and the whole weeks after them; whether the week is of a spell."""
    after, taelling, n = None, 1, 0
    for spell in forloeb.sort("fra_uge").iter_rows(named=True):
        taelling, n = spell["taelling"], spell["n_foer"]
        for step in range(spell["antal_uger"]):
            n += spell["art"] == "A"
            last = spell["genoptjent"] and step == spell["antal_uger"] - 1
            uge = spell["fra_uge"] + step * WEEK
            yield TaltUge(uge, spell["art"], taelling, 0 if last else n, spell["taeller"], last), True
        after = spell["fra_uge"] + spell["antal_uger"] * WEEK
    while after is not None and after + WEEK - timedelta(days=1) <= through:
        yield TaltUge(after, "C", taelling, n, n > 0, genoptjent=False), False
        after += WEEK


def begun(uger: dict[date, TaltUge], taelling: int) -> date | None:
    """The first week of benefit of a count; None before it."""
    return min((uge for uge, week in uger.items() if week.taelling == taelling and week.art == "A"), default=None)


def restarted(uger: dict[date, TaltUge], taelling: int, rules: Rulebook) -> Forfra | None:
    """When a count started over from the one before it; None for the first. § 6, stk. 1."""
    before = [uge for uge, week in uger.items() if week.taelling == taelling - 1 and week.genoptjent]
    own = [uge for uge, week in uger.items() if week.taelling == taelling]
    if taelling == 1 or not own:
        return None
    uge = before[-1] if before else own[0]
    rule = rules.genoptjening_on(uge)
    post = entry(rule, "optaelling.toml", "genoptjening")
    return Forfra(uge=uge, kraevet=rule.uger, vindue_aar=rule.vindue_aar, post=post)


def days_in(krav: Row, uge: date, through: date, rules: Rulebook) -> tuple[date, date] | None:
    """The first and last day of a claim that count in a week; None if there is none. § 30, stk. 1."""
    first = rules.optaelling.gaelder_fra
    if rules.laesning("foerste_uge") != "taeller":
        first = monday(first + timedelta(days=6))
    fra, til = max(krav["periode_start"], uge, first), min(krav["periode_slut"], uge + timedelta(days=6), through)
    return (fra, til) if fra <= til and krav["beloeb_oere"] > 0 else None


def history(
    uger: dict[date, TaltUge], krav: Sequence[Row], fra: date, til: date, navne: "Navne", rules: Rulebook
) -> list[Stykke]:
    """The weeks from the beginning of the count that is in force in week `fra`, through week `til`, in runs.

    A run is of one kind, one count and one set of benefits; so a reader can follow the number of a week.
    """
    if fra not in uger:
        known = [uge for uge in uger if uge <= til]
        if not known:
            return []
        fra = known[-1] if fra > known[-1] else known[0]
    claims: dict[date, list[Row]] = {}
    for claim in krav:
        uge = monday(claim["periode_start"])
        while claim["beloeb_oere"] > 0 and uge <= claim["periode_slut"]:
            claims.setdefault(uge, []).append(claim)
            uge += WEEK
    runs: list[Stykke] = []
    for uge, week in uger.items():
        if week.taelling < uger[fra].taelling or uge > til:
            continue
        mine = [k for k in claims.get(uge, []) if rules.ydelse_on(k["ydelse_id"], uge).kategori == week.art]
        ydelser = sorted({f"{small(navne.ydelse(k['ydelse_id']))}, {navne.sted(k)}" for k in mine})
        n, restart = week.n if week.art == "A" else None, week.genoptjent and week.art == "C"
        last = runs[-1] if runs else None
        same = (week.art, ydelser, week.taelling, False)
        if last and (last.art, last.ydelser, last.taelling, last.genoptjent) == same:
            longer = last.antal_uger + 1
            runs[-1] = replace(last, til_uge=uge, antal_uger=longer, ydelsestaeller_til=n, genoptjent=restart)
        else:
            runs.append(
                Stykke(
                    fra_uge=uge, til_uge=uge, antal_uger=1, art=week.art, ydelser=ydelser, ydelsestaeller_fra=n,
                    ydelsestaeller_til=n, taelling=week.taelling, genoptjent=restart,
                )
            )  # fmt: skip
    return runs


UKENDT = "Ukendt ydelse"


@dataclass(frozen=True)
class Navne:
    """The names of benefits, municipalities and senders."""

    ydelser: dict[str, str]
    kommuner: dict[str, str]
    kilder: dict[str, str]

    @classmethod
    def of(cls, rules: Rulebook) -> "Navne":
        """The names in the rules, fleksbidrag among the benefits; of each the last."""
        return cls(
            {e.id: e.navn for e in rules.fleksbidrag} | {y.ydelse_id: y.navn for y in rules.ydelser},
            rules.kommunenavne,
            {k.id: k.navn for k in rules.kilder},
        )

    def ydelse(self, ydelse_id: str | None) -> str:
        """The name of a benefit."""
        return self.ydelser.get(ydelse_id or "", ydelse_id or UKENDT)

    def kommune(self, kode: str | None) -> str:
        """The name of a municipality, or its code without a name."""
        return self.kommuner.get(kode or "", f"kommune {kode}")

    def kilde(self, kilde_id: str) -> str:
        """The name of a source."""
        return self.kilder.get(kilde_id, kilde_id)

    def sted(self, row: Row) -> str:
        """The reporter of a line or claim: the municipality, or the national payer."""
        return self.kommune(row["kommunekode_betaler"]) if row["kommunekode_betaler"] else self.kilde(row["kilde_id"])

    def afsender(self, row: Row) -> str:
        """The reporter of a line or claim; the national payer with its SE number."""
        number = not row["kommunekode_betaler"] and row["pligt_se"]
        return f"{self.sted(row)} (SE-nr. {row['pligt_se']})" if number else self.sted(row)

    def filled(self, kind: type[Told], row: Mapping[str, Any], **more: Any) -> Told:
        """An object of `model`: fields from `more`, the others from `row` by name; names for codes."""
        names = [f.name for f in fields(kind) if f.name not in more]  # type: ignore[arg-type]
        called = {"ydelse": lambda: self.ydelse(row["ydelse_id"]), "kommune": lambda: self.kommune(row["kommunekode"])}
        return kind(**{name: called[name]() if name in called else row[name] for name in names}, **more)


def spelled(regel: str, values: Row, rules: Rulebook) -> str:
    """The sentence of a rule about one finding. Amounts in øre."""
    return str(worded(found(pl.DataFrame([values]), regel, []), rules)["tekst"][0])


def result_row(
    row: Row, over: Sequence[Row], krav: Sequence[Row], stays: pl.DataFrame, navne: Navne, rules: Rulebook
) -> Raekke:
    """One result row (`BorgerUgeYdelse`) with the entry its percentage comes from and why its municipality pays.

    `over`: the øre that maxima took of it (`OverLoft` of the kernel).
    """
    on_day = max(row["uge"], rules.overgang.gaelder_fra)
    ydelse = rules.ydelse_on(row["ydelse_id"], on_day) if row["ydelse_id"] in navne.ydelser else None
    trappe = rules.trappe_on(ydelse.trappe, on_day) if ydelse and ydelse.trappe else None
    post, fra, til = _entry_of(row, ydelse, trappe)
    before = row["uge"] < rules.overgang.gaelder_fra and row["trin"] is not None
    # The amounts decide the side; if both are zero or equal, the rules do.
    side = ydelse.side if ydelse else "refusion"
    if row["refusion_oere"] != row["medfinansiering_oere"]:
        side = "refusion" if row["refusion_oere"] else "medfinansiering"
    return navne.filled(
        Raekke,
        row,
        side=side,
        trin_fra_uge=fra,
        trin_til_uge=til,
        post=post,
        overgang=entry(rules.overgang, "optaelling.toml", "overgang") if before else None,
        over_loft=[_above(taken, navne, rules) for taken in sorted(over, key=lambda taken: taken["refusion_oere"] > 0)],
        finansiering=_financed(row, krav, stays, navne, rules),
    )


def _above(taken: Row, navne: Navne, rules: Rulebook) -> OverLoftTold:
    """The øre that one maximum took of a row; the maximum itself if the rules still have it."""
    mine = [loft for loft in rules.lofter if loft.id == taken["loft_id"]]
    said = ((periode, in_force(mine, taken[periode])) for periode in ("uge", "maaned"))
    same = next((m for periode, m in said if m and (m.periode, m.hjemmel) == (periode, taken["hjemmel"])), None)
    post = entry(same, "lofter.toml", same.id) if same else None
    limit = same.beloeb_oere if same else None
    return navne.filled(OverLoftTold, taken, periode=same.periode if same else None, loft_oere=limit, post=post)


def _entry_of(row: Row, ydelse: Ydelse | None, trappe: Trappe | None) -> tuple[Post | None, int | None, int | None]:
    """The entry of a row's percentage, and the weeks of its step; none if the rules give another percentage."""
    if trappe is not None and row["trin"] is not None and row["trin"] <= len(trappe.trin):
        step = trappe.trin[row["trin"] - 1]
        if (step.procent, step.hjemmel) != (row["procent"], row["hjemmel"]):
            return None, None, None
        after = trappe.trin[row["trin"]].fra_uge - 1 if row["trin"] < len(trappe.trin) else None
        return entry(trappe, "trapper.toml", trappe.id), step.fra_uge, after
    if ydelse is not None and ydelse.fast_procent == row["procent"] and ydelse.hjemmel == row["hjemmel"]:
        return entry(ydelse, "ydelser.csv", ydelse.ydelse_id), None, None
    return None, None, None


def _financed(row: Row, krav: Sequence[Row], stays: pl.DataFrame, navne: Navne, rules: Rulebook) -> Finansiering:
    """Why a row's municipality finances it: it paid the benefit, or the person lived there. rules.md section 6."""
    kode, sunday = row["kommunekode"], row["uge"] + timedelta(days=6)
    paid = rules.laesning("finansieringskommune_refusion") == "betaler" and any(
        (k["ydelse_id"], k["kommunekode_betaler"]) == (row["ydelse_id"], kode)
        and k["periode_start"] <= sunday
        and k["periode_slut"] >= row["uge"]
        for k in krav
    )
    day = row["uge"] if rules.laesning("bopael_paa") == "mandag" else sunday
    lived = [
        stay
        for stay in stays.filter(pl.col("kommunekode") == kode).sort("bopael_start").iter_rows(named=True)
        if stay["bopael_start"] <= sunday and (stay["bopael_slut"] is None or stay["bopael_slut"] >= monday(row["uge"]))
    ]
    on_the_day = [
        s for s in lived if s["bopael_start"] <= day and (s["bopael_slut"] is None or s["bopael_slut"] >= day)
    ]
    stay = None if paid or not lived else (on_the_day or lived)[-1]
    return Finansiering(
        kommunekode=kode,
        kommune=navne.kommune(kode),
        grundlag="betaler" if paid else "bopael" if stay else "ukendt",
        dag=day if stay else None,
        bopael_start=stay["bopael_start"] if stay else None,
        bopael_slut=stay["bopael_slut"] if stay else None,
    )


Key = tuple[int, int]
ARTER = {"I": "indberetning", "T": "tilbagefoersel"}


def key(row: Row) -> Key:
    """The key of a line: its file and place."""
    return row["fil_id"], row["linje"]


@dataclass
class Linjer:
    """The lines of a person by key; a line gets its number (`nr`) when it is first mentioned."""

    rows: dict[Key, Row]
    texts: dict[Key, tuple[str, str]]
    navne: Navne
    mentioned: list[Key] = field(default_factory=list)

    def nr(self, line: Key) -> int:
        """The number of a line."""
        if line not in self.mentioned:
            self.mentioned.append(line)
        return self.mentioned.index(line) + 1

    def nrs(self, lines: Iterable[Key]) -> list[int]:
        """The numbers of some lines, ascending."""
        return sorted({self.nr(line) for line in lines})

    def of_claim(self, krav: Row) -> tuple[Key, ...]:
        """The standing lines that make a claim."""
        return self._of_claims.get(tuple(krav[name] for name in CLAIM), ())

    @cached_property
    def _of_claims(self) -> dict[tuple[Any, ...], tuple[Key, ...]]:
        found: dict[tuple[Any, ...], tuple[Key, ...]] = {}
        for line, row in self.rows.items():
            if row["status"] == BRUGT:
                claim = tuple(row[name] for name in CLAIM)
                found[claim] = (*found.get(claim, ()), line)
        return found

    def touching(self, uge: date) -> list[int]:
        """The lines about days of a week, in order: reports, and reversals that have had no effect."""
        return [
            self.nr(line)
            for line, row in self.rows.items()
            if touches(row, uge, uge + timedelta(days=6)) and (row["art"] != "T" or row["status"] != VIRKET)
        ]

    def shown(self) -> list[IndberetningTold]:
        """The mentioned lines, and the reversals that took some of them back, by number."""
        told_of, place = [], 0
        while place < len(self.mentioned):
            told_of.append(self._told(self.mentioned[place]))
            place += 1
        return told_of

    def _told(self, line: Key) -> IndberetningTold:
        row, (tekst, handling) = self.rows[line], self.texts.get(line, ("", ""))
        told_of = row["art"] == "I" and row["trukket"] and row["status"] == TILBAGEFOERT
        return self.navne.filled(
            IndberetningTold,
            row,
            nr=self.nr(line),
            art=ARTER.get(row["art"], "ukendt"),
            kilde=row["kilde_id"],
            kilde_navn=self.navne.kilde(row["kilde_id"]),
            afsender=self.navne.afsender(row),
            beloeb_oere=0 if row["art"] == "T" or row["kilde_id"] == ANDRE else row["beloeb_oere"],
            fil=row["filnavn"],
            modtaget_tidspunkt=row["Modtaget_tidspunkt"],
            regel=row["regel"] if row["status"] == KARANTAENE else None,
            regel_tekst=tekst or None,
            handling=handling or None,
            tilbagefoert_af=self.nrs(reversals(self.rows, row)) if told_of else [],
        )


def reversals(lines: Mapping[Key, Row], row: Row) -> list[Key]:
    """The reversals among some lines that took a report back."""
    return [
        line
        for line, other in lines.items()
        if other["status"] == VIRKET
        and (other["reference_id"], other["pligt_se"]) == (row["indberetning_id"], row["pligt_se"])
        and other["borger_id"] in (None, row["borger_id"])
    ]


def touches(row: Row, fra: date, til: date) -> bool:
    """True if a line is about some of the days; without a benefit period its pay period counts."""
    start, end = row["periode_start"], row["periode_slut"]
    if start is None or end is None:
        start, end = row["Loenperiode_start"], row["Loenperiode_slut"]
    return start is not None and end is not None and bool(start <= til and end >= fra)


def read_lines(linjer: pl.DataFrame, raa: pl.DataFrame, navne: Navne, rules: Rulebook) -> Linjer:
    """The lines of a person with their raw columns, in order of period and receipt, and the reason of quarantine.

    `linjer`: `Linje` with status, trukket and the regel of the verdict, filnavn, enhed, modtaget_maaned; `raa`: the
    raw columns of those that are shown.
    """
    order = ["periode_start", "periode_slut", "modtaget_maaned", "filnavn", "linje"]
    both = linjer.join(raa, on=["fil_id", "linje"], how="left").sort(order, nulls_last=True)
    bad = both.filter((pl.col("status") == KARANTAENE) & pl.col("udfyldt").is_not_null())
    found = worded(line_findings(bad.rename({"kilde_id": "kilde", "filnavn": "fil"}), rules), rules)
    place = {(row["filnavn"], row["linje"]): key(row) for row in bad.iter_rows(named=True)}
    texts = {place[row["fil"], row["linje"]]: (row["tekst"], row["handling"]) for row in found.iter_rows(named=True)}
    return Linjer({key(row): row for row in both.iter_rows(named=True)}, texts, navne)
