"""Understands what a fleksbidrag rests on, why a run changed it, and which maximum took something of a row."""

from datetime import date
from typing import Any

import polars as pl

from refusion_assets.domain.fleksbidrag import FACTS, FORMLER
from refusion_assets.domain.forklar_post import entry
from refusion_assets.domain.forklar_raekke import Navne, spelled
from refusion_assets.domain.forklaring import Aarsag
from refusion_assets.domain.forklaring_tillaeg import Fleksbidrag, Formel
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.rules_fleks import Fleksbidrag as Entry

MISSING = "FB-001"


def contribution_row(row: dict[str, Any], navne: Navne, rules: Rulebook) -> Fleksbidrag:
    """One fleksbidrag (`BorgerMaanedFleksbidrag`) with the numbers of its formula, and its entry. Hjemmel: § 7."""
    rule = _entry_of(row, rules)
    missing = row["beregningsgrundlag_oere"] is None
    seen = {"ydelse_id": row["ydelse_id"], "uge_fra": row["uge"], "uge_til": row["uge"]}
    kept = ("ydelse_id", "kommunekode", "beregningsgrundlag_oere", "loen_oere", "tilskud_refusion_oere")
    more = ("dage_paa_trin", "dage", "refusion_oere", "hjemmel")
    return Fleksbidrag(
        ydelse=navne.ydelse(row["ydelse_id"]),
        kommune=navne.kommune(row["kommunekode"]),
        formel=_numbers(rule, navne) if rule else None,
        regel=MISSING if missing else None,
        regel_tekst=spelled(MISSING, seen | {"vaerdi": f"{row['maaned']:%Y-%m}"}, rules) if missing else None,
        post=entry(rule, "fleksbidrag.toml", rule.id, rule.gaelder_fra) if rule else None,
        **{name: row[name] for name in (*kept, *more)},
    )


def _entry_of(row: dict[str, Any], rules: Rulebook) -> Entry | None:
    """The entry that holds for the month, if the contribution is the one it gives."""
    for rule, since, until in rules.fleksbidrag_months():
        if since <= row["maaned"] < until and (rule.id, rule.hjemmel) == (row["ydelse_id"], row["hjemmel"]):
            if row["beregningsgrundlag_oere"] is None:
                return rule
            facts = pl.DataFrame([[row[name] for name in FACTS]], schema=dict.fromkeys(FACTS, pl.Int64), orient="row")
            return rule if int(FORMLER[rule.formel](facts, rule)[0]) == row["refusion_oere"] else None
    return None


def _numbers(rule: Entry, navne: Navne) -> Formel:
    """The numbers of an entry."""
    kept = ("trin_procent", "forskel_procent", "beregningsgrundlag_procent", "loen_procent", "afrunding_oere")
    return Formel(
        navn=rule.formel, tilskud=navne.ydelse(rule.ydelse_id), **{name: getattr(rule, name) for name in kept}
    )


def basis_causes(grundlag: pl.DataFrame, run: date) -> list[Aarsag]:
    """That the newest basis of the month is another in a run than it was before it. Øre.

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
    """That a run settled the benefit otherwise that fleksbidrag follows; `posteringer`: the ledger of the month."""
    mine = posteringer.filter(pl.col("koersel") == koersel, pl.col("ydelse_id").is_in(ydelse_ids))
    weeks = mine["uge"].unique().sort().to_list()
    if not weeks:
        return []
    return [Aarsag(slags="tilskud", indberetninger=[], uge_fra=weeks[0], uge_til=weeks[-1], antal_uger=len(weeks))]
