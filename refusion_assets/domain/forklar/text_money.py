"""Understands the text on the money of a week: the percentage and its paragraph, the municipality, and the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np

from refusion_assets.domain.calendar import last_day, round_half_away
from refusion_assets.domain.elsewhere import ANDRE
from refusion_assets.domain.forklar.model import (
    Aarsag,
    Aendring,
    FleksbidragTold,
    Formel,
    IndberetningTold,
    OverLoftTold,
    PosteringTold,
    Raekke,
    Uge,
)
from refusion_assets.domain.forklar.words import day, few, kroner, listed, month, plural, small, span, weeks, where
from refusion_assets.domain.rules.entries import LOVENS_TAELLER

OTHER_NOW = "Reglerne, som de er nu, siger andet; posten, der gjaldt ved beregningen, vises ikke."
STILL = "stadig"
PERIODS = {"uge": "om ugen", "maaned": "om måneden"}


def contribution(bidrag: FleksbidragTold, maaned: date) -> Iterator[str]:
    """A fleksbidrag with its calculation: basis, wage, refusion, days, and the steps of the formula."""
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


def _paragraf_7(bidrag: FleksbidragTold, formel: Formel, grundlag: int, loen: int) -> Iterator[str]:
    """The steps of the formula of § 7, each rounded to øre for display."""
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


def _above(over: OverLoftTold, side: str) -> str:
    of = "beløbet" if over.beloeb_oere else f"{side}en"
    most = f" (højst {kroner(over.loft_oere)} {PERIODS[over.periode]})" if over.loft_oere and over.periode else ""
    place = f"{over.hjemmel}; {where(over.post)}." if over.post else f"{over.hjemmel}. {OTHER_NOW}"
    return f"    Loftet {over.loft_id}{most}: {kroner(over.beloeb_oere + over.refusion_oere)} af {of} er over; {place}"


Reports = Mapping[int, IndberetningTold]
WHO_PAYS = {"refusion": "i refusion fra staten", "medfinansiering": "i medfinansiering til staten"}
ARTER = {"A": "ydelse", "B": "neutral", "C": "selvforsørgelse"}
EGNE_ARTER = {"A": "talt", "B": "hverken talt eller fri", "C": "fri"}
TYPES = {"N": "afregnet", "T": "taget tilbage", "K": "afregnet på ny", "Å": "regnet som afregnet"}


def money(row: Raekke, week_number: int | None) -> Iterator[str]:
    """The money of a benefit in the week and the reason for its percentage; `week_number` is the law's."""
    share = row.refusion_oere + row.medfinansiering_oere
    # The percentage applies to the amount below a maximum; a maximum on the share reduces the share.
    above_amount, above_share = (
        sum(getattr(o, name) for o in row.over_loft) for name in ("beloeb_oere", "refusion_oere")
    )
    whole = kroner(row.beloeb_oere)
    amount = f"({whole} - {kroner(above_amount)} over loft)" if above_amount else whole
    over = f" - {kroner(above_share)} over loft" if above_share else ""
    yield (
        f"  {row.ydelse}, {row.finansiering.kommune}: {amount} x {row.procent} procent{over} = "
        f"{kroner(share)} {WHO_PAYS.get(row.side, '')}".rstrip()
        + "."
    )
    if row.indberettet_oere:
        rest = "; resten ligger på andre uger eller måneder" if row.indberettet_oere != row.beloeb_oere else ""
        yield f"    Indberettet i alt {kroner(row.indberettet_oere)}{rest}."
    yield from (_above(taken, row.side) for taken in row.over_loft)
    place = f"; {where(row.post)}" if row.post else ""
    yield f"    {row.procent} procent: {_step(row)}, {row.hjemmel}{place}."
    if row.ydelsestaeller not in (None, week_number):
        yield f"    Trappen følger en anden tæller; på den er ugen uge {row.ydelsestaeller}."
    if row.overgang:
        then = day(row.overgang.gaelder_fra)
        yield f"    Ugen får den procent, som ugen {then} har eller ville have ({row.overgang.hjemmel})."
    if not row.post:
        yield "    Reglerne, som de er nu, siger en anden procent; posten, der gjaldt ved beregningen, vises ikke."


def _step(row: Raekke) -> str:
    if row.trin is None:
        return "fast procent uden for trappen"
    if row.trin_fra_uge is None:
        return f"trin {row.trin}"
    weeks = f"uge {row.trin_fra_uge}-{row.trin_til_uge}" if row.trin_til_uge else f"fra uge {row.trin_fra_uge}"
    return f"trin {row.trin} ({weeks})"


def finances(row: Raekke) -> str:
    """Why a municipality finances a row."""
    f = row.finansiering
    if f.grundlag == "betaler":
        return f"    {f.kommune} finansierer, fordi kommunen har udbetalt ydelsen."
    if f.grundlag == "bopael" and f.dag and f.bopael_start:
        until = f" til {day(f.bopael_slut)}" if f.bopael_slut else ""
        covers = f.bopael_start <= f.dag and (f.bopael_slut is None or f.bopael_slut >= f.dag)
        lived = f"boede der {day(f.dag)}" if covers else f"boede der i ugen, og ingen bopæl kendes {day(f.dag)}"
        return f"    {f.kommune} finansierer, fordi borgeren {lived} (bopæl fra {day(f.bopael_start)}{until})."
    return f"    Hvorfor {f.kommune} finansierer, kan ikke ses i de indberetninger og bopæle, der er kendt nu."


def settled(uge: Uge, reports: Reports) -> list[str]:
    """The settlement of each run for the week, and the reason for later changes."""
    if not uge.posteringer:
        return ["  Ikke afregnet i nogen kørsel endnu."] if uge.raekker else []
    text = []
    for koersel in sorted({row.koersel for row in uge.posteringer} | {change.koersel for change in uge.aendringer}):
        mine = [row for row in uge.posteringer if row.koersel == koersel]
        for ydelse_id, kommune in dict.fromkeys((row.ydelse_id, row.kommune) for row in mine):
            text.append(_posted([row for row in mine if (row.ydelse_id, row.kommune) == (ydelse_id, kommune)]))
        text += _changed([change for change in uge.aendringer if change.koersel == koersel], reports)
    return text


def _posted(rows: Sequence[PosteringTold]) -> str:
    """The ledger rows of one benefit, municipality and run: settled, or taken back and settled anew."""
    row = rows[0]
    when = f"Kørsel {row.koersel} ({month(row.maaned)})" if row.maaned else "Før den første kørsel"
    said = []
    for one in rows:
        number = f"uge {one.ydelsestaeller}, " if one.ydelsestaeller is not None else ""
        side = "medfinansiering" if one.medfinansiering_oere else "refusion"
        share = one.refusion_oere + one.medfinansiering_oere
        run = f" fra kørsel {one.oprindelig_koersel}" if one.oprindelig_koersel else ""
        # Fleksbidrag is a percentage of nothing.
        of = f"{one.procent} procent af {kroner(one.beloeb_oere)} = " if one.procent or one.beloeb_oere else ""
        whole = int(round_half_away(np.array([abs(one.beloeb_oere) * one.procent]), 100)[0])
        capped = ", efter loft" if abs(share) < whole else ""
        said.append(f"{TYPES[one.raekketype]}{run} ({one.raekketype}): {number}{of}{kroner(share)} i {side}{capped}")
    return f"  {when}: {small(row.ydelse)}, {row.kommune}: {'; '.join(said)}."


def _changed(changes: Sequence[Aendring], reports: Reports) -> Iterator[str]:
    """The changes of a run, and the causes, each once for all its benefits."""
    for place, change in enumerate(changes):
        same = [other for other in changes if other.aarsager == change.aarsager]
        if change.aarsager in [earlier.aarsager for earlier in changes[:place]]:
            continue
        told = listed([f"{small(other.ydelse)}: {_what(other)}" for other in same])
        yield f"  Hvorfor kørsel {change.koersel} ({month(change.maaned)}): {told}, {_because(same)}"
        yield from (f"    - {_cause(cause, reports)}" for cause in change.aarsager)


def brief(change: Aendring, reports: Reports) -> str:
    """The change of a run for one benefit, with its causes, in one sentence."""
    causes = [_cause(cause, reports, short=True).rstrip(".") for cause in change.aarsager]
    return f"{small(change.ydelse)}: {_what(change)}, {_because([change])} {listed(causes)}."


def _because(changes: Sequence[Aendring]) -> str:
    """The word between changes and causes: causes are no reason for an unchanged percentage."""
    return "men" if all(_what(change).startswith(STILL) for change in changes) else "fordi"


def _what(change: Aendring) -> str:
    what = []
    if change.procent_foer != change.procent_efter and None not in (change.procent_foer, change.procent_efter):
        what.append(f"{change.procent_foer} procent blev {change.procent_efter} procent")
    if change.beloeb_foer_oere != change.beloeb_efter_oere:
        what.append(f"{kroner(change.beloeb_foer_oere)} blev {kroner(change.beloeb_efter_oere)}")
    elif not change.beloeb_foer_oere and change.refusion_foer_oere != change.refusion_efter_oere:
        what.append(f"{kroner(change.refusion_foer_oere)} blev {kroner(change.refusion_efter_oere)}")
    if change.kommuner_foer != change.kommuner_efter and change.kommuner_foer and change.kommuner_efter:
        what.append(f"{listed(change.kommuner_foer)} blev {listed(change.kommuner_efter)}")
    if not what and change.procent_efter is not None and change.beloeb_foer_oere:
        what.append(f"{STILL} {change.procent_efter} procent")
    return listed(what) or "rækken er gjort om"


def _cause(cause: Aarsag, reports: Reports, *, short: bool = False) -> str:
    """One concrete cause; with `short` its reports by their own id, and only the first weeks."""
    mentioned = [reports[nr] for nr in cause.indberetninger]
    told = _reported(mentioned, short=short)
    back = few(sorted({str(i.reference_id) for i in mentioned}))
    before, after = cause.hjemmel_foer, cause.hjemmel_efter
    paragraphs = f": {before} blev {after}" if before and after and before != after else ""
    weeks = span(cause.uge_fra, cause.uge_til) if cause.uge_fra and cause.uge_til else ""
    when = "ugen, der begynder" if cause.uge_fra == cause.uge_til else "ugerne, der begynder"
    new_basis = f"({kroner(cause.grundlag_efter_oere or 0)}) og løn ({kroner(cause.loen_efter_oere or 0)})"
    if cause.slags in ("taeller", "overgang"):
        return _shifted(cause, mentioned, short=short)
    if cause.slags == "grundlag" and cause.grundlag_foer_oere is not None and cause.loen_foer_oere is not None:
        both = (
            ("beregningsgrundlaget", cause.grundlag_foer_oere, cause.grundlag_efter_oere or 0),
            ("lønnen", cause.loen_foer_oere, cause.loen_efter_oere or 0),
        )
        other = [f"{name} blev rettet fra {kroner(old)} til {kroner(new)}" for name, old, new in both if old != new]
        return f"{' og '.join(other)}."
    return {
        "indberetning": f"{told} kom til.",
        "tilbagefoersel": f"indberetning {back} blev taget tilbage: {told}.",
        "karantaene": f"{told} kom i karantæne eller ud af den.",
        "bopael": f"bopælen i ugen er ændret fra {cause.kommune_foer or 'ukendt'} til "
        f"{cause.kommune_efter or 'ukendt'} i det bopælsregister, som kørslen kendte.",
        "regler": f"{_other_rules(cause)}{paragraphs}.",
        "grundlag": f"beregningsgrundlag {new_basis} for måneden blev modtaget.",
        "tilskud": f"tilskuddet, bidraget regnes af, er rettet i samme kørsel{f' i {when} {weeks}' if weeks else ''}.",
    }.get(cause.slags, "årsagen kan ikke ses i de indberetninger, bopæle og regler, der er kendt nu.")


def _other_rules(cause: Aarsag) -> str:
    return f"reglerne var ændret fra version {cause.regelversion_foer} til {cause.regelversion_efter}"


def _shifted(cause: Aarsag, mentioned: Sequence[IndberetningTold], *, short: bool) -> str:
    """The change of a number: the weeks and reports that moved it, and the change of the restart before it."""
    before, after = cause.ydelsestaeller_foer, cause.ydelsestaeller_efter
    number = f"uge {before} blev uge {after}"
    if cause.slags == "overgang" and cause.maalt_uge:
        number = f"nummeret i ugen {day(cause.maalt_uge)}, der giver procenten, gik fra {before} til {after}"
    elif cause.taeller_id != LOVENS_TAELLER:
        number = f"{number} på tælleren {cause.taeller_id}"
    rules = _other_rules(cause) if cause.regelversion_efter else ""
    by = f", ved {_reported(mentioned, short=short)}" if mentioned else ""
    shifted = f"{plural(len(cause.skiftede_uger), 'uge', 'uger')} skiftede: {_weeks(cause, short=short)}{by}"
    why = " og ".join(part for part in (shifted if cause.skiftede_uger else "", rules) if part)
    restarts = ((cause.forfra_foer, "ikke længere"), (cause.forfra_efter, "nu"))
    if cause.forfra_foer != cause.forfra_efter:
        why += "".join(f"; optællingen begynder {how} forfra med ugen {day(uge)}" for uge, how in restarts if uge)
    return f"{number}, da {why}."


def _weeks(cause: Aarsag, *, short: bool) -> str:
    """The weeks that moved a number, by their Mondays, those of one kind together."""
    names = ARTER if cause.taeller_id == LOVENS_TAELLER else EGNE_ARTER
    groups: dict[tuple[str, str], list[date]] = {}
    for week in cause.skiftede_uger:
        groups.setdefault((week.art_foer, week.art_efter), []).append(week.uge)
    said = few if short else listed
    return "; ".join(
        f"{said(weeks(mine))} ({names[foer]} blev {names[efter]})" for (foer, efter), mine in groups.items()
    )


def _reported(mentioned: Sequence[IndberetningTold], *, short: bool) -> str:
    """The first reports by number, in short by id, with benefit, sender and month of receipt, and how many more."""
    return few([_one_reported(i, short=short) for i in mentioned])


def _one_reported(i: IndberetningTold, *, short: bool) -> str:
    what = "tilbageførsel" if i.art == "tilbagefoersel" else small(i.ydelse)
    if i.kilde == ANDRE:
        what = "ikke længere ydelse" if i.art == "tilbagefoersel" else what
        return f"{'' if short else f'[{i.nr}] '}{what} fra {i.afsender}, kendt fra {month(i.modtaget_maaned)}"
    number = f"indberetning {i.indberetning_id}:" if short else f"[{i.nr}]"
    return f"{number} {what} fra {i.afsender}, modtaget i {month(i.modtaget_maaned)}"
