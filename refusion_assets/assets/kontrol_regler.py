"""Kontrol af reglerne: whether every benefit month is calculated under rules that give what those in force give."""

from refusion_assets.assets.regelgrundlag import stale
from refusion_assets.assets.wiring import Asked
from refusion_assets.domain.kontrol import Outcome
from refusion_assets.domain.regeltid import as_ranges
from refusion_assets.domain.skrift import plural


def maaneder_er_aktuelle(asked: Asked) -> Outcome:
    """The rules in force give every calculated benefit month the result it has; else which months are out of date."""
    old = stale(asked.session, asked.place).maaneder
    if not old:
        return Outcome(True, "Alle ydelsesmåneder er beregnet med det, reglerne siger nu.")
    return Outcome(
        False,
        f"{plural(len(old), 'ydelsesmåned er forældet', 'ydelsesmåneder er forældede')} "
        f"efter en ændring af reglerne: {as_ranges(old)}.",
        "Start jobbet genberegn_foraeldede, eller skriv refusion genberegn; ellers regnes de om i næste kørsel.",
        len(old),
    )
