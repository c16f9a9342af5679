"""Understands the explanation of a person's benefit month: it is made from the stored rows about the person."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any, Literal

import polars as pl

from refusion_assets.domain.calendar import last_day, monday, years_before
from refusion_assets.domain.elsewhere import ANDRE, NAVN
from refusion_assets.domain.forklar.cause import changes, contribution_row
from refusion_assets.domain.forklar.history import Historie, PersonFacts
from refusion_assets.domain.forklar.model import (
    Beroering,
    ForaeldetTold,
    Forklaring,
    GenoptjeningTold,
    IndberetningTold,
    PosteringTold,
    Stykke,
    Svar,
    UdenKommuneTold,
    Uge,
    entry,
)
from refusion_assets.domain.forklar.rows import (
    Linjer,
    Navne,
    Row,
    TaltUge,
    begun,
    counted_weeks,
    days_in,
    history,
    read_lines,
    restarted,
    result_row,
    spelled,
)
from refusion_assets.domain.rules.entries import Rulebook

WEEK = timedelta(days=7)
ARTER = {"A": "ydelsesuge", "B": "neutral uge", "C": "uge med selvforsørgelse"}
UDEN_ART = "uge uden for optællingen"


def weeks_of(maaned: date) -> list[date]:
    """The Monday of every week that touches a month."""
    first, last = monday(maaned), monday(last_day(maaned))
    return [first + step * WEEK for step in range((last - first).days // 7 + 1)]


def unknown(maaned: date, viden: date, regelversion: str, rules: Rulebook) -> Forklaring:
    """The explanation of a person nobody has reported about."""
    return Forklaring(
        svar="ukendt_borger",
        borger_id=None,
        maaned=maaned,
        viden_til=viden,
        koersel=None,
        koersel_status=None,
        regelversion=regelversion[:12],
        regler_nu=rules.version[:12],
        optaelling=entry(rules.optaelling, "optaelling.toml", "optaelling"),
        forfra=None,
        forloeb=[],
        indberetninger=[],
        uger=[],
        foraeldet=[],
    )


def explain(facts: PersonFacts, maaned: date, rules: Rulebook) -> Forklaring:
    """The explanation of a person's benefit month, week by week. Øre, whole per cent.

    Percentages, amounts and paragraphs are those of the rows; the rules only give the entry they come from.
    Hjemmel: § 5, § 6, § 29, stk. 3, § 30, stk. 1; output.md section 5.
    """
    through = last_day(facts.viden)
    navne = Navne.of(rules)
    linjer = read_lines(facts.linjer, facts.raa, navne, rules)
    krav = facts.krav.sort("periode_start", "periode_slut", "ydelse_id", "pligt_se").rows(named=True)
    uger = counted_weeks(facts.forloeb, through, rules)
    own = facts.linjer.with_columns(regel="egen_regel")
    past = Historie(facts.borger_id, own, facts.andre, facts.koersler, facts.regler, facts.bedoemt)
    sag = _Sag(facts, maaned, through, navne, linjer, krav, uger, past, rules)
    shown = [sag.week(uge) for uge in weeks_of(maaned) if uge <= through]
    # Amounts of the month that are too old to be settled, net to each municipality, by benefit, run and entry. Øre.
    group = ["koersel", "ydelse_id", "kommunekode", "gaelder_fra", "hjemmel"]
    net = (pl.col("refusion_oere") - pl.col("medfinansiering_oere")).sum().alias("netto_oere")
    too_old = facts.foraeldet.group_by(group).agg(net).sort(group)
    koersel = facts.koersler.filter(pl.col("maaned") == facts.viden).rows(named=True)
    pieces = history(uger, krav, weeks_of(maaned)[0], min(weeks_of(maaned)[-1], through), navne, rules)
    told = linjer.shown()
    return replace(
        unknown(maaned, facts.viden, facts.regelversion, rules),
        svar=_answer(shown, maaned, facts),
        borger_id=facts.borger_id,
        koersel=koersel[0]["koersel"] if koersel else None,
        koersel_status=koersel[0]["status"] if koersel else None,
        forfra=restarted(uger, pieces[0].taelling, rules) if pieces else None,
        forloeb=pieces,
        indberetninger=told,
        uger=shown,
        foraeldet=[navne.filled(ForaeldetTold, row) for row in too_old.iter_rows(named=True)],
        udeladt=_left_out(facts, told, shown, pieces),
    )


def _left_out(
    facts: PersonFacts, told: Sequence[IndberetningTold], uger: Sequence[Uge], forloeb: Sequence[Stykke]
) -> Literal["maaned", "optaelling"] | None:
    """The part of the answer that a package cuts for other municipalities: the month, or only the count."""
    homes = {home for u in uger for a in u.aendringer for c in a.aarsager for home in (c.kommune_foer, c.kommune_efter)}
    if facts.udeladt or NAVN in homes or any(report.kilde == ANDRE for report in told):
        return "maaned"
    return "optaelling" if any(NAVN in ydelse for piece in forloeb for ydelse in piece.ydelser) else None


def _answer(uger: Sequence[Uge], maaned: date, facts: PersonFacts) -> Svar:
    """The kind of answer: an explanation, an empty month, or a month without calculation."""
    if maaned > facts.viden:
        return "ikke_beregnet"
    anything = any(
        u.art in ("A", "B") or u.raekker or u.uden_kommune or u.posteringer or u.indberetninger for u in uger
    )
    return "forklaret" if anything else "ingen_uger"


@dataclass(frozen=True)
class _Sag:
    """One case: the stored rows, and the names and weeks made of them."""

    facts: PersonFacts
    maaned: date
    through: date
    navne: Navne
    linjer: Linjer
    krav: list[Row]
    uger: dict[date, TaltUge]
    past: Historie
    rules: Rulebook

    def week(self, uge: date) -> Uge:
        """One week of the month explained."""
        talt = self.uger.get(uge)
        if talt and talt.art == "C" and uge + timedelta(days=6) > self.through:
            talt = None
        rows = [self._row(row) for row in self._of_week(self.facts.raekker, uge)]
        ledger = self._of_week(self.facts.posteringer, uge)
        reported = self.linjer.touching(uge)
        months = dict(self.facts.koersler.select("koersel", "maaned").iter_rows())
        homeless = [self._sentence("EI-018", row) for row in self._of_week(self.facts.uden_kommune, uge)]
        return Uge(
            uge=uge,
            til=uge + timedelta(days=6),
            dage_fra=max(uge, self.maaned),
            dage_til=min(uge + timedelta(days=6), last_day(self.maaned)),
            art=talt.art if talt else None,  # type: ignore[arg-type]
            art_navn=ARTER[talt.art] if talt else UDEN_ART,
            taelling=talt.taelling if talt else None,
            ydelsestaeller=talt.n if talt else None,
            taelling_fra_uge=begun(self.uger, talt.taelling) if talt else None,
            genoptjening=self._restart(talt) if talt else None,
            beroeringer=self._touching(uge),
            indberetninger=reported,
            raekker=rows,
            fleksbidrag=[
                contribution_row(row, self.navne, self.rules) for row in self._of_week(self.facts.fleksbidrag, uge)
            ],
            uden_kommune=homeless,
            posteringer=[self.navne.filled(PosteringTold, row, maaned=months.get(row["koersel"])) for row in ledger],
            aendringer=changes(self.facts, self.past, self.linjer, uge, self.maaned, self.rules),
        )

    def _of_week(self, frame: pl.DataFrame, uge: date) -> list[Row]:
        return frame.filter((pl.col("uge") == uge) & (pl.col("maaned") == self.maaned)).rows(named=True)

    def _row(self, row: Row) -> Any:
        stays = self.facts.bopael
        if self.facts.bopael_maaned is not None:
            stays = stays.filter(pl.col("modtaget_maaned") == self.facts.bopael_maaned)
        same = [pl.col(name) == row[name] for name in ("uge", "ydelse_id", "kommunekode")]
        over = self.facts.over_loft.filter(same).rows(named=True)
        return result_row(row, over, self.krav, stays, self.navne, self.rules)

    def _touching(self, uge: date) -> list[Beroering]:
        return [
            self.navne.filled(
                Beroering,
                k,
                afsender=self.navne.afsender(k),
                kategori=self.rules.ydelse_on(k["ydelse_id"], uge).kategori,
                fra_dag=days[0],
                til_dag=days[1],
                krav_start=k["periode_start"],
                krav_slut=k["periode_slut"],
                krav_oere=0 if k["kilde_id"] == ANDRE else k["beloeb_oere"],
                indberetninger=self.linjer.nrs(self.linjer.of_claim(k)),
            )
            for k in self.krav
            if (days := days_in(k, uge, self.through, self.rules))
        ]

    def _restart(self, talt: TaltUge) -> GenoptjeningTold:
        """The free weeks of a person towards a restart, in a week. § 6, stk. 1."""
        rule = self.rules.genoptjening_on(talt.uge)
        return GenoptjeningTold(
            antal=talt.antal,
            kraevet=rule.uger,
            vindue_fra=years_before(talt.uge, rule.vindue_aar),
            foerste_uge=talt.foerste,
            naaet=talt.genoptjent,
            post=entry(rule, "optaelling.toml", "genoptjening"),
        )

    def _sentence(self, regel: str, row: Row) -> UdenKommuneTold:
        """Money that found no municipality, with the sentence of the rule."""
        values = {"beloeb_oere": row["beloeb_oere"], "ydelse_id": row["ydelse_id"]}
        tekst = spelled(regel, values | {"uge_fra": row["uge"], "uge_til": row["uge"]}, self.rules)
        return self.navne.filled(UdenKommuneTold, row, regel=regel, regel_tekst=tekst)
