"""Understands one row of the result or the ledger: its names, its entry in the rules, and who finances it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import polars as pl

from refusion_assets.domain.forklar_post import Post, entry
from refusion_assets.domain.forklar_uger import Krav
from refusion_assets.domain.forklaring import Finansiering, Postering, Raekke
from refusion_assets.domain.forklaring_tillaeg import OverLoft
from refusion_assets.domain.fund import found, told
from refusion_assets.domain.rules import Rulebook, Trappe, Ydelse
from refusion_assets.domain.weeks import monday

UKENDT = "Ukendt ydelse"


@dataclass(frozen=True)
class Navne:
    """What things are called: benefits, municipalities and senders."""

    ydelser: dict[str, str]
    kommuner: dict[str, str]
    kilder: dict[str, str]

    @classmethod
    def of(cls, rules: Rulebook) -> "Navne":
        """The names that the rules know, fleksbidrag among the benefits; of each the last."""
        return cls(
            {e.id: e.navn for e in rules.fleksbidrag} | {y.ydelse_id: y.navn for y in rules.ydelser},
            {k.kommunekode: k.navn for k in rules.kommuner},
            {k.id: k.navn for k in rules.kilder},
        )

    def ydelse(self, ydelse_id: str | None) -> str:
        """The name of a benefit."""
        return self.ydelser.get(ydelse_id or "", ydelse_id or UKENDT)

    def kommune(self, kode: str | None) -> str:
        """The name of a municipality, or its code where it has none."""
        return self.kommuner.get(kode or "", f"kommune {kode}")

    def kilde(self, kilde_id: str) -> str:
        """The name of a source."""
        return self.kilder.get(kilde_id, kilde_id)

    def afsender(self, kilde_id: str, kommunekode: str | None, pligt_se: str | None) -> str:
        """Who reports: the municipality, or the national payer by name and SE number."""
        if kommunekode:
            return self.kommune(kommunekode)
        return f"{self.kilde(kilde_id)} (SE-nr. {pligt_se})" if pligt_se else self.kilde(kilde_id)


def spelled(regel: str, values: dict[str, Any], rules: Rulebook) -> str:
    """The sentence of a rule about one finding. Amounts in øre."""
    return str(told(found(pl.DataFrame([values]), regel, []), rules)["tekst"][0])


def result_row(
    row: dict[str, Any],
    over: Sequence[dict[str, Any]],
    krav: Sequence[Krav],
    stays: pl.DataFrame,
    navne: Navne,
    rules: Rulebook,
) -> Raekke:
    """One result row (`BorgerUgeYdelse`) with the entry its percentage comes from and why its municipality pays.

    `over`: what the maxima took of it (`OverLoft` of the kernel).
    """
    on_day = max(row["uge"], rules.overgang.gaelder_fra)
    ydelse = rules.ydelse_on(row["ydelse_id"], on_day) if row["ydelse_id"] in navne.ydelser else None
    trappe = rules.trappe_on(ydelse.trappe, on_day) if ydelse and ydelse.trappe else None
    post, fra, til = _entry_of(row, ydelse, trappe)
    before = row["uge"] < rules.overgang.gaelder_fra and row["trin"] is not None
    return Raekke(
        ydelse_id=row["ydelse_id"],
        ydelse=navne.ydelse(row["ydelse_id"]),
        side=_side(row, ydelse),
        indberettet_oere=row["indberettet_oere"],
        beloeb_oere=row["beloeb_oere"],
        procent=row["procent"],
        refusion_oere=row["refusion_oere"],
        medfinansiering_oere=row["medfinansiering_oere"],
        ydelsestaeller=row["ydelsestaeller"],
        trin=row["trin"],
        trin_fra_uge=fra,
        trin_til_uge=til,
        hjemmel=row["hjemmel"],
        post=post,
        overgang=entry(rules.overgang, "optaelling.toml", "overgang", on_day) if before else None,
        over_loft=[_above(taken, rules) for taken in sorted(over, key=lambda taken: taken["refusion_oere"] > 0)],
        finansiering=_financed(row, krav, stays, navne, rules),
    )


def _above(taken: dict[str, Any], rules: Rulebook) -> OverLoft:
    """What one maximum took of a row; the maximum itself where the rules still say it."""
    said = ((periode, rules.loft_on(taken["loft_id"], taken[periode])) for periode in ("uge", "maaned"))
    same = next((m for periode, m in said if m and (m.periode, m.hjemmel) == (periode, taken["hjemmel"])), None)
    return OverLoft(
        periode=same.periode if same else None,
        loft_oere=same.beloeb_oere if same else None,
        post=entry(same, "lofter.toml", same.id, same.gaelder_fra) if same else None,
        **{name: taken[name] for name in ("loft_id", "beloeb_oere", "refusion_oere", "hjemmel")},
    )


def _side(row: dict[str, Any], ydelse: Ydelse | None) -> str:
    """Who pays whom: what the amounts say, and where both are nothing, the rules."""
    if row["refusion_oere"] != row["medfinansiering_oere"]:
        return "refusion" if row["refusion_oere"] else "medfinansiering"
    return ydelse.side if ydelse else "refusion"


def _entry_of(
    row: dict[str, Any], ydelse: Ydelse | None, trappe: Trappe | None
) -> tuple[Post | None, int | None, int | None]:
    """The entry a row's percentage stands in, and the weeks of its step; none where the rules say another."""
    if trappe is not None and row["trin"] is not None and row["trin"] <= len(trappe.trin):
        step = trappe.trin[row["trin"] - 1]
        if (step.procent, step.hjemmel) != (row["procent"], row["hjemmel"]):
            return None, None, None
        after = trappe.trin[row["trin"]].fra_uge - 1 if row["trin"] < len(trappe.trin) else None
        return entry(trappe, "trapper.toml", trappe.id, trappe.gaelder_fra), step.fra_uge, after
    if ydelse is not None and ydelse.fast_procent == row["procent"] and ydelse.hjemmel == row["hjemmel"]:
        return entry(ydelse, "ydelser.csv", ydelse.ydelse_id, ydelse.gaelder_fra), None, None
    return None, None, None


def _financed(
    row: dict[str, Any], krav: Sequence[Krav], stays: pl.DataFrame, navne: Navne, rules: Rulebook
) -> Finansiering:
    """Why a row's municipality finances it: it paid the benefit, or the person lived there. rules.md section 6."""
    kode, sunday = row["kommunekode"], row["uge"] + timedelta(days=6)
    own = [k for k in krav if k.ydelse_id == row["ydelse_id"] and k.start <= sunday and k.slut >= row["uge"]]
    paid = rules.laesning("finansieringskommune_refusion") == "betaler" and any(
        k.kommunekode_betaler == kode for k in own
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


def ledger_row(row: dict[str, Any], koersler: pl.DataFrame, navne: Navne) -> Postering:
    """One ledger row with the month of its run. Øre."""
    months = dict(koersler.select("koersel", "maaned").iter_rows())
    kept = ("koersel", "raekketype", "oprindelig_koersel", "ydelse_id", "procent", "beloeb_oere", "refusion_oere")
    more = ("medfinansiering_oere", "ydelsestaeller", "regelversion")
    return Postering(
        maaned=months.get(row["koersel"]),
        ydelse=navne.ydelse(row["ydelse_id"]),
        kommune=navne.kommune(row["kommunekode"]),
        **{name: row[name] for name in (*kept, *more)},
    )
