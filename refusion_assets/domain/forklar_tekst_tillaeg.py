"""Understands how a fleksbidrag is told, with how it came about, and how what lies above a maximum is."""

from collections.abc import Iterator
from datetime import date

import numpy as np

from refusion_assets.domain.dele import round_half_away
from refusion_assets.domain.forklar_tekst_regler import where
from refusion_assets.domain.forklar_udtryk import kroner, month, small, span
from refusion_assets.domain.forklaring import Aarsag, Raekke
from refusion_assets.domain.forklaring_tillaeg import Fleksbidrag, Formel, OverLoft
from refusion_assets.domain.weeks import last_day

OTHER_NOW = "Reglerne, som de er nu, siger andet; posten, der gjaldt ved beregningen, vises ikke."
PERIODS = {"uge": "om ugen", "maaned": "om måneden"}


def in_short(bidrag: Fleksbidrag, maaned: date) -> str:
    """What the month's fleksbidrag came to."""
    name = f"{small(bidrag.ydelse)}, {bidrag.kommune}"
    if bidrag.beregningsgrundlag_oere is None:
        return f"{name}: intet for {month(maaned)}, fordi grundlaget ikke er modtaget ({bidrag.regel})"
    return f"{name}: {kroner(bidrag.refusion_oere)} for {month(maaned)}"


def contribution(bidrag: Fleksbidrag, maaned: date) -> Iterator[str]:
    """A fleksbidrag and how it came about: basis, wage, refusion, days, and the steps of the formula."""
    subsidy = small(bidrag.formel.tilskud) if bidrag.formel else "tilskuddet"
    step = f"{bidrag.formel.trin_procent} procent" if bidrag.formel else "trinnet"
    if bidrag.beregningsgrundlag_oere is None or bidrag.loen_oere is None:
        yield f"  {bidrag.ydelse}, {bidrag.kommune}: intet. {bidrag.regel}: {bidrag.regel_tekst}"
    else:
        yield f"  {bidrag.ydelse}, {bidrag.kommune}: {kroner(bidrag.refusion_oere)} for {month(maaned)}."
        yield (
            f"    Beregningsgrundlag {kroner(bidrag.beregningsgrundlag_oere)}, løn {kroner(bidrag.loen_oere)} og "
            f"refusion af månedens {subsidy} {kroner(bidrag.tilskud_refusion_oere)}."
        )
    if bidrag.dage == last_day(maaned).day:
        yield f"    {bidrag.dage_paa_trin} af månedens {bidrag.dage} dage er dage med {subsidy} på {step}."
    else:
        yield f"    {bidrag.dage_paa_trin} af månedens {bidrag.dage} dage med {subsidy} ligger på {step}."
    if bidrag.formel and bidrag.formel.navn == "paragraf_7" and bidrag.beregningsgrundlag_oere is not None:
        yield from _paragraf_7(bidrag, bidrag.formel, bidrag.beregningsgrundlag_oere, bidrag.loen_oere or 0)
    yield f"    {bidrag.hjemmel}; {where(bidrag.post)}." if bidrag.post else f"    {bidrag.hjemmel}. {OTHER_NOW}"


def _paragraf_7(bidrag: Fleksbidrag, formel: Formel, grundlag: int, loen: int) -> Iterator[str]:
    """The steps of the formula of § 7, each rounded to øre as it is shown."""
    beyond = formel.forskel_procent * (grundlag - bidrag.tilskud_refusion_oere)
    ceiling = formel.beregningsgrundlag_procent * grundlag
    wage = formel.loen_procent * loen
    yield (
        f"    {formel.forskel_procent} procent af ({kroner(grundlag)} - {kroner(bidrag.tilskud_refusion_oere)}) = "
        f"{_oere(beyond, 100)}; {formel.beregningsgrundlag_procent} procent af {kroner(grundlag)} = "
        f"{_oere(ceiling, 100)}. Det mindste af de to regnes der videre med."
    )
    left = min(beyond, ceiling) - wage
    line = f"    {_oere(min(beyond, ceiling), 100)} - {formel.loen_procent} procent af lønnen ({_oere(wage, 100)}) = "
    if left <= 0:
        yield f"{line}{_oere(left, 100)}, så der er intet bidrag."
        return
    share = bidrag.dage_paa_trin, bidrag.dage
    exact = _oere(left * share[0], 100 * share[1])
    yield (
        f"{line}{_oere(left, 100)}; x {share[0]}/{share[1]} = {exact}, afrundet til {kroner(bidrag.refusion_oere)} "
        f"(nærmeste {kroner(formel.afrunding_oere)})."
    )


def _oere(numerator: int, denominator: int) -> str:
    """A fraction of øre as kroner, rounded to øre."""
    return kroner(int(round_half_away(np.array([numerator]), denominator)[0]))


def counted(row: Raekke) -> tuple[str, str]:
    """The amount that the percentage is taken of, less what is above a maximum; and what one on the share took."""
    amount = sum(over.beloeb_oere for over in row.over_loft)
    share = sum(over.refusion_oere for over in row.over_loft)
    whole = kroner(row.beloeb_oere)
    return (
        f"({whole} - {kroner(amount)} over loft)" if amount else whole,
        f" - {kroner(share)} over loft" if share else "",
    )


def above(over: OverLoft, side: str) -> str:
    """One maximum that took something of a row."""
    of = "beløbet" if over.beloeb_oere else f"{side}en"
    most = f" (højst {kroner(over.loft_oere)} {PERIODS[over.periode]})" if over.loft_oere and over.periode else ""
    place = f"{over.hjemmel}; {where(over.post)}." if over.post else f"{over.hjemmel}. {OTHER_NOW}"
    return f"    Loftet {over.loft_id}{most}: {kroner(over.beloeb_oere + over.refusion_oere)} af {of} er over; {place}"


def _other_basis(cause: Aarsag) -> str:
    """That a basis came, or became another."""
    if cause.grundlag_foer_oere is None or cause.loen_foer_oere is None:
        new = [kroner(oere or 0) for oere in (cause.grundlag_efter_oere, cause.loen_efter_oere)]
        return f"beregningsgrundlag ({new[0]}) og løn ({new[1]}) for måneden blev modtaget."
    both = (
        ("beregningsgrundlaget", cause.grundlag_foer_oere, cause.grundlag_efter_oere or 0),
        ("lønnen", cause.loen_foer_oere, cause.loen_efter_oere or 0),
    )
    told = [f"{name} blev rettet fra {kroner(foer)} til {kroner(efter)}" for name, foer, efter in both if foer != efter]
    return f"{' og '.join(told)}."


def _other_subsidy(cause: Aarsag) -> str:
    """That the benefit that fleksbidrag follows was settled otherwise by the same run."""
    if cause.uge_fra is None or cause.uge_til is None:
        return "tilskuddet, bidraget regnes af, er rettet i samme kørsel."
    when = "ugen, der begynder" if cause.uge_fra == cause.uge_til else "ugerne, der begynder"
    return f"tilskuddet, bidraget regnes af, er rettet i samme kørsel i {when} {span(cause.uge_fra, cause.uge_til)}."


OF_FLEKSBIDRAG = {"grundlag": _other_basis, "tilskud": _other_subsidy}
