"""Understands why a person's benefit month came out as it did: what is known of the person, made an explanation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, timedelta
from typing import Any

import polars as pl

from refusion_assets.domain.calendar import last_day, monday, years_before
from refusion_assets.domain.forklar.cause import Foer, changes, contribution_row
from refusion_assets.domain.forklar.history import Historie
from refusion_assets.domain.forklar.model import (
    Beroering,
    ForaeldetTold,
    Forklaring,
    GenoptjeningTold,
    PosteringTold,
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


@dataclass(frozen=True)
class Kendt:
    """All that the warehouse holds of one person around a month, as the last calculation knows it.

    `viden` and `regelversion`: the run month and the rules of that calculation. `koersler`: koersel, maaned, status,
    regelversion. `forloeb`: `Forloeb`. `krav`: `Krav` of the classification. `raekker` and `uden_kommune`: the result
    of the benefit month, `over_loft` what maxima took of it, `fleksbidrag` what it has of that, `grundlag` the bases
    delivered for it; `posteringer` its ledger, `foraeldet` the differences in it that are too old to be settled.
    `linjer`: every line of the person and every reversal that points at one (`Linje` with verdict and file; `regel` is
    the verdict's, `egen_regel` the line's own). `andre`, `regler` and `bedoemt`: as in `Historie`. `raa`: the raw
    columns of the lines that are shown. `bopael`: stays by snapshot (`modtaget_maaned`), `bopael_maaned` the one in
    use, `bopael_maaneder` all there are.
    """

    borger_id: int
    viden: date
    regelversion: str
    bopael_maaned: date | None
    koersler: pl.DataFrame
    forloeb: pl.DataFrame
    krav: pl.DataFrame
    raekker: pl.DataFrame
    over_loft: pl.DataFrame
    fleksbidrag: pl.DataFrame
    grundlag: pl.DataFrame
    uden_kommune: pl.DataFrame
    posteringer: pl.DataFrame
    foraeldet: pl.DataFrame
    linjer: pl.DataFrame
    andre: pl.DataFrame
    regler: Mapping[str, Rulebook]
    bedoemt: Mapping[str, pl.DataFrame]
    raa: pl.DataFrame
    bopael: pl.DataFrame
    bopael_maaneder: list[date]


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


def explain(kendt: Kendt, maaned: date, rules: Rulebook) -> Forklaring:
    """The explanation of a person's benefit month, week by week. Øre, whole per cent.

    Percentages, amounts and paragraphs are those of the rows; the rules only tell which entry they come from.
    Hjemmel: § 5, § 6, § 29, stk. 3, § 30, stk. 1; output.md section 5.
    """
    through = last_day(kendt.viden)
    navne = Navne.of(rules)
    linjer = read_lines(kendt.linjer, kendt.raa, navne, rules)
    krav = kendt.krav.sort("periode_start", "periode_slut", "ydelse_id", "pligt_se").rows(named=True)
    uger = counted_weeks(kendt.forloeb, through, rules)
    own = kendt.linjer.with_columns(regel="egen_regel")
    past = Historie(kendt.borger_id, own, kendt.andre, kendt.koersler, kendt.regler, kendt.bedoemt)
    foer = Foer(past, kendt.bopael, kendt.bopael_maaneder, kendt.grundlag, rules)
    sag = _Sag(kendt, maaned, through, navne, linjer, krav, uger, foer, rules)
    shown = [sag.week(uge) for uge in weeks_of(maaned) if uge <= through]
    # What of the month is too old to be settled, net to each municipality, by benefit, run and entry. Øre.
    group = ["koersel", "ydelse_id", "kommunekode", "gaelder_fra", "hjemmel"]
    net = (pl.col("refusion_oere") - pl.col("medfinansiering_oere")).sum().alias("netto_oere")
    too_old = kendt.foraeldet.group_by(group).agg(net).sort(group)
    koersel = kendt.koersler.filter(pl.col("maaned") == kendt.viden).rows(named=True)
    pieces = history(uger, krav, weeks_of(maaned)[0], min(weeks_of(maaned)[-1], through), navne, rules)
    return replace(
        unknown(maaned, kendt.viden, kendt.regelversion, rules),
        svar=_answer(shown, maaned, kendt),
        borger_id=kendt.borger_id,
        koersel=koersel[0]["koersel"] if koersel else None,
        koersel_status=koersel[0]["status"] if koersel else None,
        forfra=restarted(uger, pieces[0].taelling, rules) if pieces else None,
        forloeb=pieces,
        indberetninger=linjer.shown(),
        uger=shown,
        foraeldet=[navne.filled(ForaeldetTold, row) for row in too_old.iter_rows(named=True)],
    )


def _answer(uger: Sequence[Uge], maaned: date, kendt: Kendt) -> Svar:
    """Which text is fit: an explanation, or that there is nothing in the month, or no calculation of it."""
    if maaned > kendt.viden:
        return "ikke_beregnet"
    anything = any(
        u.art in ("A", "B") or u.raekker or u.uden_kommune or u.posteringer or u.indberetninger for u in uger
    )
    return "forklaret" if anything else "ingen_uger"


@dataclass(frozen=True)
class _Sag:
    """One case: what is known, and the names and weeks made of it."""

    kendt: Kendt
    maaned: date
    through: date
    navne: Navne
    linjer: Linjer
    krav: list[Row]
    uger: dict[date, TaltUge]
    foer: Foer
    rules: Rulebook

    def week(self, uge: date) -> Uge:
        """One week of the month explained."""
        talt = self.uger.get(uge)
        if talt and talt.art == "C" and uge + timedelta(days=6) > self.through:
            talt = None
        rows = [self._row(row) for row in self._of_week(self.kendt.raekker, uge)]
        ledger = self._of_week(self.kendt.posteringer, uge)
        reported = self.linjer.touching(uge)
        months = dict(self.kendt.koersler.select("koersel", "maaned").iter_rows())
        homeless = [self._sentence("EI-018", row) for row in self._of_week(self.kendt.uden_kommune, uge)]
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
                contribution_row(row, self.navne, self.rules) for row in self._of_week(self.kendt.fleksbidrag, uge)
            ],
            uden_kommune=homeless,
            posteringer=[self.navne.filled(PosteringTold, row, maaned=months.get(row["koersel"])) for row in ledger],
            aendringer=changes(self.kendt.posteringer, self.linjer, self.foer, uge, self.maaned, self.navne),
        )

    def _of_week(self, frame: pl.DataFrame, uge: date) -> list[Row]:
        """The rows of a week in the month, in the order they came."""
        return frame.filter((pl.col("uge") == uge) & (pl.col("maaned") == self.maaned)).rows(named=True)

    def _row(self, row: Row) -> Any:
        """One result row with its entry and why its municipality finances it."""
        stays = self.kendt.bopael
        if self.kendt.bopael_maaned is not None:
            stays = stays.filter(pl.col("modtaget_maaned") == self.kendt.bopael_maaned)
        same = [pl.col(name) == row[name] for name in ("uge", "ydelse_id", "kommunekode")]
        over = self.kendt.over_loft.filter(same).rows(named=True)
        return result_row(row, over, self.krav, stays, self.navne, self.rules)

    def _touching(self, uge: date) -> list[Beroering]:
        """The claims that have days in the week."""
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
                krav_oere=k["beloeb_oere"],
                indberetninger=self.linjer.nrs(self.linjer.of_claim(k)),
            )
            for k in self.krav
            if (days := days_in(k, uge, self.through, self.rules))
        ]

    def _restart(self, talt: TaltUge) -> GenoptjeningTold:
        """How far the person is towards starting over in a week. § 6, stk. 1."""
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
