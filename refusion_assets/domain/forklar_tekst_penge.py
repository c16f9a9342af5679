"""Understands how the money of a week is told: the percentage and its paragraph, the municipality, and the ledger."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import numpy as np

from refusion_assets.domain.dele import round_half_away
from refusion_assets.domain.forklar_tekst_regler import paragraph, where
from refusion_assets.domain.forklar_tekst_tillaeg import OF_FLEKSBIDRAG, above, counted
from refusion_assets.domain.forklar_udtryk import day, kroner, listed, month, small, span, weekday
from refusion_assets.domain.forklaring import Aarsag, Aendring, Indberetning, Postering, Raekke, Uge

Reports = Mapping[int, Indberetning]
WHO_PAYS = {"refusion": "i refusion fra staten", "medfinansiering": "i medfinansiering til staten"}
BECAME = {
    "A": "nu tæller som ydelse",
    "B": "nu er neutral",
    "C": "ikke længere tæller som ydelse eller støtte",
    None: "nu tæller anderledes",
}
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
        then = span(row.overgang.gaelder_fra, row.overgang.gaelder_fra + timedelta(days=6))
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
        lived = f"boede der {weekday(f.dag)}" if covers else f"boede der i ugen, og ingen bopæl kendes {weekday(f.dag)}"
        return f"    {f.kommune} finansierer, fordi borgeren {lived} (bopæl fra {day(f.bopael_start)}{until})."
    return f"    Hvorfor {f.kommune} finansierer, kan ikke ses i de indberetninger og bopæle, der er kendt nu."


def settled(uge: Uge, reports: Reports) -> list[str]:
    """What each run settled for the week, and why a later one changed it."""
    if not uge.posteringer:
        return ["  Ikke afregnet i nogen kørsel endnu."] if uge.raekker else []
    return [
        "  Afregnet:",
        *(f"    {_posted(row)}" for row in uge.posteringer),
        *(line for change in uge.aendringer for line in _changed(change, reports)),
    ]


def _posted(row: Postering) -> str:
    """One ledger row."""
    when = f"kørsel {row.koersel} ({month(row.maaned)})" if row.maaned else "før den første kørsel"
    side = "medfinansiering" if row.medfinansiering_oere else "refusion"
    number = f", uge {row.ydelsestaeller}" if row.ydelsestaeller is not None else ""
    share = kroner(row.refusion_oere + row.medfinansiering_oere)
    of = f" fra kørsel {row.oprindelig_koersel}" if row.oprindelig_koersel else ""
    return (
        f"{when}: {TYPES[row.raekketype]}{of} ({row.raekketype}): {small(row.ydelse)}, {row.kommune}{number}: "
        f"{_of_amount(row)}{share} i {side}{', efter loft' if _capped(row) else ''}"
    )


def _of_amount(row: Postering) -> str:
    """The percentage and the amount it was taken of; nothing where there is none, as for fleksbidrag."""
    return f"{row.procent} procent af {kroner(row.beloeb_oere)} = " if row.procent or row.beloeb_oere else ""


def _capped(row: Postering) -> bool:
    """Whether a maximum left less than the percentage gives."""
    share = abs(row.refusion_oere + row.medfinansiering_oere)
    return share < int(round_half_away(np.array([abs(row.beloeb_oere) * row.procent]), 100)[0])


def _changed(change: Aendring, reports: Reports) -> Iterator[str]:
    """What a run changed, and the causes."""
    what = []
    if change.procent_foer != change.procent_efter and None not in (change.procent_foer, change.procent_efter):
        what.append(f"{change.procent_foer} procent blev {change.procent_efter} procent")
    if change.beloeb_foer_oere != change.beloeb_efter_oere:
        what.append(f"{kroner(change.beloeb_foer_oere)} blev {kroner(change.beloeb_efter_oere)}")
    elif not change.beloeb_foer_oere and change.refusion_foer_oere != change.refusion_efter_oere:
        what.append(f"{kroner(change.refusion_foer_oere)} blev {kroner(change.refusion_efter_oere)}")
    if change.kommuner_foer != change.kommuner_efter and change.kommuner_foer and change.kommuner_efter:
        what.append(f"{listed(change.kommuner_foer)} blev {listed(change.kommuner_efter)}")
    told = listed(what) or "rækken er gjort om"
    yield f"  Hvorfor kørsel {change.koersel} ændrede {small(change.ydelse)}: {told}, fordi"
    for cause in change.aarsager:
        yield f"    - {_cause(cause, reports)}"


def _cause(cause: Aarsag, reports: Reports) -> str:
    """One concrete cause."""
    mentioned = [reports[nr] for nr in cause.indberetninger]
    if cause.slags == "indberetning":
        return f"{_reported(mentioned)} kom til."
    if cause.slags == "tilbagefoersel":
        taken = sorted({str(i.reference_id) for i in mentioned})
        return f"indberetning {listed(taken)} blev taget tilbage: {_reported(mentioned)}."
    if cause.slags == "taeller":
        return _shifted(cause, mentioned)
    if cause.slags == "bopael":
        before, after = cause.kommune_foer or "ukendt", cause.kommune_efter or "ukendt"
        return f"bopælen i ugen er ændret fra {before} til {after} i det bopælsregister, som kørslen kendte."
    if cause.slags == "regler":
        return _other_rules(cause)
    unseen = "årsagen kan ikke ses i de indberetninger, bopæle og regler, der er kendt nu."
    return OF_FLEKSBIDRAG[cause.slags](cause) if cause.slags in OF_FLEKSBIDRAG else unseen


def _other_rules(cause: Aarsag) -> str:
    """That the rules were others, and which paragraph became which."""
    paragraphs = (
        f": {cause.hjemmel_foer} blev {cause.hjemmel_efter}" if cause.hjemmel_foer != cause.hjemmel_efter else ""
    )
    return f"reglerne var ændret fra version {cause.regelversion_foer} til {cause.regelversion_efter}{paragraphs}."


def _shifted(cause: Aarsag, mentioned: Sequence[Indberetning]) -> str:
    """That the number of the week became another, and by which weeks and reports."""
    before, after = cause.ydelsestaeller_foer, cause.ydelsestaeller_efter
    number = f"uge {before} af støtte blev uge {after}" if before != after else "optællingen blev en anden"
    weeks = ""
    if cause.uge_fra and cause.uge_til and cause.antal_uger:
        place = span(cause.uge_fra, cause.uge_til + timedelta(days=6))
        became = BECAME[cause.art_efter]
        one = cause.antal_uger == 1
        weeks = f", da ugen {place} {became}" if one else f", da {cause.antal_uger} uger ({place}) {became}"
    return f"{number}{weeks}: {_reported(mentioned) or 'indberetningerne er ikke længere kendt'}."


def _reported(mentioned: Sequence[Indberetning]) -> str:
    """Reports by number, with benefit, sender and month of receipt."""
    return listed(
        [
            f"[{i.nr}] {'tilbageførsel' if i.art == 'tilbagefoersel' else small(i.ydelse)} fra {i.afsender}, "
            f"modtaget i {month(i.modtaget_maaned)}"
            for i in mentioned
        ]
    )
