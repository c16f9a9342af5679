"""Understands how the money of a week is told: the percentage and its paragraph, the municipality, and the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

import numpy as np

from refusion_assets.domain.dele import round_half_away
from refusion_assets.domain.forklar_tekst_regler import paragraph, where
from refusion_assets.domain.forklar_tekst_tillaeg import OF_FLEKSBIDRAG, above, counted
from refusion_assets.domain.forklar_udtryk import day, few, kroner, listed, month, plural, small, weeks
from refusion_assets.domain.forklaring import Aarsag, Aendring, Indberetning, Postering, Raekke, Uge
from refusion_assets.domain.rules import LOVENS_TAELLER

Reports = Mapping[int, Indberetning]
WHO_PAYS = {"refusion": "i refusion fra staten", "medfinansiering": "i medfinansiering til staten"}
ARTER = {"A": "ydelse", "B": "neutral", "C": "selvforsørgelse"}
EGNE_ARTER = {"A": "talt", "B": "hverken talt eller fri", "C": "fri"}
TYPES = {
    "N": "afregnet",
    "T": "taget tilbage",
    "K": "afregnet på ny",
    "Å": "regnet som afregnet",
}


def money(row: Raekke, week_number: int | None) -> Iterator[str]:
    """What a benefit gives in the week, and why that percentage; `week_number` is the law's own number of the week."""
    share = row.refusion_oere + row.medfinansiering_oere
    amount, over = counted(row)
    yield (
        f"  {row.ydelse}, {row.finansiering.kommune}: {amount} x {row.procent} procent{over} = "
        f"{kroner(share)} {WHO_PAYS.get(row.side, '')}".rstrip()
        + "."
    )
    if row.indberettet_oere:
        yield (
            f"    Indberettet i alt {kroner(row.indberettet_oere)}; resten ligger på andre uger eller måneder."
            if (row.indberettet_oere != row.beloeb_oere)
            else f"    Indberettet i alt {kroner(row.indberettet_oere)}."
        )
    yield from (above(over_loft, row.side) for over_loft in row.over_loft)
    place = f"; {where(row.post)}" if row.post else ""
    yield f"    {row.procent} procent: {_step(row)}, {row.hjemmel}{place}."
    if row.ydelsestaeller not in (None, week_number):
        yield f"    Trappen følger en anden tæller; på den er ugen uge {row.ydelsestaeller}."
    if row.overgang:
        then = day(row.overgang.gaelder_fra)
        yield f"    Ugen får den procent, som ugen {then} har eller ville have ({paragraph(row.overgang)})."
    if not row.post:
        yield "    Reglerne, som de er nu, siger en anden procent; posten, der gjaldt ved beregningen, vises ikke."


def _step(row: Raekke) -> str:
    """The step, or that there is none."""
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
    """What each run settled for the week, and why a later one changed it."""
    if not uge.posteringer:
        return ["  Ikke afregnet i nogen kørsel endnu."] if uge.raekker else []
    text = []
    for koersel in sorted({row.koersel for row in uge.posteringer} | {change.koersel for change in uge.aendringer}):
        mine = [row for row in uge.posteringer if row.koersel == koersel]
        for ydelse_id, kommune in dict.fromkeys((row.ydelse_id, row.kommune) for row in mine):
            text.append(_posted([row for row in mine if (row.ydelse_id, row.kommune) == (ydelse_id, kommune)]))
        text += _changed([change for change in uge.aendringer if change.koersel == koersel], reports)
    return text


def _posted(rows: Sequence[Postering]) -> str:
    """The ledger rows of one benefit, municipality and run: settled, or taken back and settled anew."""
    row = rows[0]
    when = f"Kørsel {row.koersel} ({month(row.maaned)})" if row.maaned else "Før den første kørsel"
    said = []
    for one in rows:
        number = f"uge {one.ydelsestaeller}, " if one.ydelsestaeller is not None else ""
        side = "medfinansiering" if one.medfinansiering_oere else "refusion"
        share = kroner(one.refusion_oere + one.medfinansiering_oere)
        of = f" fra kørsel {one.oprindelig_koersel}" if one.oprindelig_koersel else ""
        capped = ", efter loft" if _capped(one) else ""
        said.append(
            f"{TYPES[one.raekketype]}{of} ({one.raekketype}): {number}{_of_amount(one)}{share} i {side}{capped}"
        )
    return f"  {when}: {small(row.ydelse)}, {row.kommune}: {'; '.join(said)}."


def _of_amount(row: Postering) -> str:
    """The percentage and the amount it was taken of; nothing where there is none, as for fleksbidrag."""
    return f"{row.procent} procent af {kroner(row.beloeb_oere)} = " if row.procent or row.beloeb_oere else ""


def _capped(row: Postering) -> bool:
    """Whether a maximum left less than the percentage gives."""
    share = abs(row.refusion_oere + row.medfinansiering_oere)
    return share < int(round_half_away(np.array([abs(row.beloeb_oere) * row.procent]), 100)[0])


def _changed(changes: Sequence[Aendring], reports: Reports) -> Iterator[str]:
    """What a run changed, and the causes, each told once though several benefits have it."""
    for place, change in enumerate(changes):
        same = [other for other in changes if other.aarsager == change.aarsager]
        if change.aarsager in [earlier.aarsager for earlier in changes[:place]]:
            continue
        told = listed([f"{small(other.ydelse)}: {_what(other)}" for other in same])
        yield f"  Hvorfor kørsel {change.koersel} ({month(change.maaned)}): {told}, fordi"
        yield from (f"    - {_cause(cause, reports)}" for cause in change.aarsager)


def brief(change: Aendring, reports: Reports) -> str:
    """What a run changed for one benefit, with its causes, in one sentence."""
    causes = [_cause(cause, reports, short=True).rstrip(".") for cause in change.aarsager]
    return f"{small(change.ydelse)}: {_what(change)}, fordi {listed(causes)}."


def _what(change: Aendring) -> str:
    """What became what."""
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
        what.append(f"stadig {change.procent_efter} procent")
    return listed(what) or "rækken er gjort om"


def _cause(cause: Aarsag, reports: Reports, *, short: bool = False) -> str:
    """One concrete cause; in short its reports by their own id, and no more than a few weeks."""
    mentioned = [reports[nr] for nr in cause.indberetninger]
    if cause.slags in ("taeller", "overgang"):
        return _shifted(cause, mentioned, short=short)
    if cause.slags in OF_FLEKSBIDRAG:
        return OF_FLEKSBIDRAG[cause.slags](cause)
    if cause.slags == "regler":
        return _other_rules(cause)
    said = {
        "indberetning": f"{_reported(mentioned, short=short)} kom til.",
        "tilbagefoersel": f"indberetning {few(sorted({str(i.reference_id) for i in mentioned}))} blev taget tilbage: "
        f"{_reported(mentioned, short=short)}.",
        "karantaene": f"{_reported(mentioned, short=short)} kom i karantæne eller ud af den.",
        "bopael": f"bopælen i ugen er ændret fra {cause.kommune_foer or 'ukendt'} til "
        f"{cause.kommune_efter or 'ukendt'} i det bopælsregister, som kørslen kendte.",
    }
    return said.get(cause.slags, "årsagen kan ikke ses i de indberetninger, bopæle og regler, der er kendt nu.")


def _other_rules(cause: Aarsag) -> str:
    """That the rules were others, and which paragraph became which."""
    paragraphs = (
        f": {cause.hjemmel_foer} blev {cause.hjemmel_efter}"
        if cause.hjemmel_foer and cause.hjemmel_efter and cause.hjemmel_foer != cause.hjemmel_efter
        else ""
    )
    return f"reglerne var ændret fra version {cause.regelversion_foer} til {cause.regelversion_efter}{paragraphs}."


def _shifted(cause: Aarsag, mentioned: Sequence[Indberetning], *, short: bool) -> str:
    """That a number became another, by which weeks and reports, and what became of the restart before it."""
    before, after = cause.ydelsestaeller_foer, cause.ydelsestaeller_efter
    number = f"uge {before} blev uge {after}"
    if cause.slags == "overgang" and cause.maalt_uge:
        number = f"nummeret i ugen {day(cause.maalt_uge)}, der giver procenten, gik fra {before} til {after}"
    elif cause.taeller_id != LOVENS_TAELLER:
        number = f"{number} på tælleren {cause.taeller_id}"
    rules = ""
    if cause.regelversion_efter:
        rules = f"reglerne var ændret fra version {cause.regelversion_foer} til {cause.regelversion_efter}"
    by = f", ved {_reported(mentioned, short=short)}" if mentioned else ""
    shifted = f"{plural(len(cause.skiftede_uger), 'uge', 'uger')} skiftede: {_weeks(cause, short=short)}{by}"
    why = " og ".join(part for part in (shifted if cause.skiftede_uger else "", rules) if part)
    return f"{number}, da {why}{_restart(cause)}."


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


def _restart(cause: Aarsag) -> str:
    """That the count no longer starts over where it did, or does where it did not."""
    if cause.forfra_foer == cause.forfra_efter:
        return ""
    old = f"; optællingen begynder ikke længere forfra med ugen {day(cause.forfra_foer)}" if cause.forfra_foer else ""
    new = f"; optællingen begynder nu forfra med ugen {day(cause.forfra_efter)}" if cause.forfra_efter else ""
    return old + new


def _reported(mentioned: Sequence[Indberetning], *, short: bool) -> str:
    """The first reports by number, in short by id, with benefit, sender and month of receipt, and how many more."""
    return few(
        [
            f"{f'indberetning {i.indberetning_id}:' if short else f'[{i.nr}]'} "
            f"{'tilbageførsel' if i.art == 'tilbagefoersel' else small(i.ydelse)} fra {i.afsender}, "
            f"modtaget i {month(i.modtaget_maaned)}"
            for i in mentioned
        ]
    )
