"""Understands how an explanation is told to a caseworker: plain Danish, week by week."""

from collections.abc import Iterator, Sequence
from datetime import date, timedelta

from refusion_assets.domain.forklar_tekst_penge import finances, money, settled
from refusion_assets.domain.forklar_tekst_regler import paragraph, rulings
from refusion_assets.domain.forklar_tekst_tillaeg import contribution, in_short
from refusion_assets.domain.forklar_udtryk import day, kroner, listed, month, plural, small, span, weekday, wrapped
from refusion_assets.domain.forklaring import Beroering, Forklaring, Indberetning, Raekke, Stykke, Uge

RULE = "-" * 78


def told(sag: Forklaring, hvem: str) -> str:
    """The whole explanation as text; `hvem` is how the person is called in the heading."""
    lines = [f"Forklaring af {month(sag.maaned)} for {hvem}", RULE, *_basis(sag), ""]
    lines += {
        "ukendt_borger": _unknown,
        "ikke_beregnet": _not_calculated,
        "ingen_uger": _no_weeks,
        "forklaret": _explained,
    }[sag.svar](sag)
    lines += rulings(sag)
    return "\n".join(part for line in lines for part in wrapped(line)) + "\n"


def _basis(sag: Forklaring) -> Iterator[str]:
    """What the explanation rests on."""
    run = (
        f"kørsel {sag.koersel} ({month(sag.viden_til)}, {sag.koersel_status})" if sag.koersel else month(sag.viden_til)
    )
    yield f"Viden fra {run}. Regelversion {sag.regelversion}."
    if sag.regler_nu != sag.regelversion:
        yield f"Reglerne er ændret siden (nu {sag.regler_nu}); den næste kørsel kan give et andet svar."


def _unknown(sag: Forklaring) -> list[str]:
    return [
        "Ingen afsender har indberettet noget om personnummeret til og med " + month(sag.viden_til) + ".",
        "Derfor er der ingen uger at tælle og ingen beløb at afregne.",
    ]


def _not_calculated(sag: Forklaring) -> list[str]:
    known = month(sag.viden_til)
    text = f"{month(sag.maaned).capitalize()} er ikke kørt endnu. Den seneste kørsel kender dage til og med {known}."
    return [text, *_history(sag)]


def _no_weeks(sag: Forklaring) -> list[str]:
    text = [f"Ingen ydelse har dage i ugerne omkring {month(sag.maaned)}, og der er ikke afregnet noget for måneden."]
    free = [uge for uge in sag.uger if uge.art == "C" and uge.genoptjening]
    if free and free[-1].genoptjening:
        text += ["", *(line[2:] for line in _counters(free[-1]))]
    elif not sag.forloeb or sag.forloeb[0].fra_uge > sag.uger[-1].uge:
        text.append("Måneden ligger før borgerens første uge med ydelse og tæller ikke.")
    return text + _history(sag)


def _explained(sag: Forklaring) -> list[str]:
    text = ["KORT FORTALT", *_summary(sag)]
    text += _history(sag)
    if sag.indberetninger:
        text += ["", "INDBERETNINGERNE", *(line for i in sag.indberetninger for line in _report(i))]
    for uge in sag.uger:
        text += ["", *_week(uge, sag)]
    return text


def _summary(sag: Forklaring) -> Iterator[str]:
    """What the month came to, per benefit, municipality and percentage."""
    groups: dict[tuple[str, str, str, int, int | None], list[Raekke]] = {}
    for uge in sag.uger:
        for r in uge.raekker:
            groups.setdefault((r.ydelse, r.finansiering.kommune, r.side, r.procent, r.trin), []).append(r)
    for (ydelse, kommune, side, procent, trin), rows in groups.items():
        paid = sum(r.beloeb_oere for r in rows)
        share = sum(r.refusion_oere + r.medfinansiering_oere for r in rows)
        yield (
            f"  {ydelse}, {kommune}: {plural(len(rows), 'uge', 'uger')} med {procent} procent "
            f"({_why_step(trin, rows)}); {kroner(paid)} giver {kroner(share)} i {side}."
        )
    bidrag = [b for uge in sag.uger for b in uge.fleksbidrag]
    yield from (in_short(b, sag.maaned) for b in bidrag)
    if not groups and not bidrag:
        yield "  Der er ingen beløb at afregne i måneden."
    if any(uge.uden_kommune for uge in sag.uger):
        yield "  Noget er ikke afregnet, fordi ingen kommune kendes; se ugerne."
    for old in sag.foraeldet:
        yield (
            f"  {old.ydelse}, {old.kommune}: Forskellen på {kroner(old.netto_oere)} er forældet efter {old.hjemmel} "
            f"(foraeldelse.toml) og afregnes ikke."
        )
    if any(uge.aendringer for uge in sag.uger):
        runs = sorted({(a.koersel, a.maaned) for uge in sag.uger for a in uge.aendringer})
        yield f"  Måneden er rettet i {listed([f'kørsel {k} ({month(m)})' for k, m in runs])}; se ugerne."


def _why_step(trin: int | None, rows: Sequence[Raekke]) -> str:
    """The step, and the weeks of support that it comes from."""
    if trin is None:
        return "uden for trappen"
    numbers = sorted({r.ydelsestaeller for r in rows if r.ydelsestaeller is not None})
    if any(r.overgang for r in rows) or not numbers:
        return f"trin {trin}"
    return f"trin {trin}: uge {listed(_runs(numbers))} af støtte"


def _runs(numbers: Sequence[int]) -> list[str]:
    """Ascending numbers as runs: `5-8`."""
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return [f"{first}-{last}" if first < last else str(first) for first, last in runs]


def _history(sag: Forklaring) -> list[str]:
    """The weeks since the count began."""
    if not sag.forloeb:
        return []
    text = ["", "SÅDAN ER UGERNE TALT"]
    if sag.forfra:
        f = sag.forfra
        text.append(
            f"  Optællingen begyndte forfra med ugen {span(f.uge, f.uge + timedelta(days=6))}, da {f.kraevet} "
            f"hele uger med selvforsørgelse inden for {f.vindue_aar} år var nået ({paragraph(f.post)})."
        )
    else:
        text.append(f"  Uger tælles fra den {day(sag.optaelling.gaelder_fra)} ({paragraph(sag.optaelling)}).")
    for piece in sag.forloeb:
        text += _piece(piece)
    return text


def _piece(piece: Stykke) -> list[str]:
    """One run of weeks of the history."""
    first, last = piece.ydelsestaeller_fra, piece.ydelsestaeller_til
    number = "" if first is None else f"uge {first}" if first == last else f"uge {first}-{last}"
    what = {"A": listed(piece.ydelser), "B": f"{listed(piece.ydelser)} (neutral)", "C": "selvforsørgelse"}[piece.art]
    when = span(piece.fra_uge, piece.til_uge + timedelta(days=6))
    text = [f"  {number:<13}{when:<42}{plural(piece.antal_uger, 'uge', 'uger'):<9}{what}"]
    if piece.genoptjent:
        text.append("               Her er genoptjeningen nået: den næste ydelsesuge er uge 1.")
    return text


def _report(i: Indberetning) -> Iterator[str]:
    """One delivered line: what it says, what became of it, and where it stands."""
    period = span(i.periode_start, i.periode_slut) if i.periode_start and i.periode_slut else "uden ydelsesperiode"
    received = month(i.modtaget_maaned)
    if i.modtaget_tidspunkt:
        received = f"{day(i.modtaget_tidspunkt.date())} kl. {i.modtaget_tidspunkt:%H.%M}"
    if i.art == "tilbagefoersel":
        yield f"  [{i.nr}] Tilbageførsel fra {i.afsender} af indberetning {i.reference_id}. {_fate(i)}"
    else:
        yield f"  [{i.nr}] {i.ydelse} fra {i.afsender}, {period}: {kroner(i.beloeb_oere)} {_fate(i)}"
    yield (
        f"      {i.kilde_navn}, modtaget {received}, IndberetningsID {i.indberetning_id or 'mangler'}, "
        f"{i.fil} linje {i.linje}."
    )


def _fate(i: Indberetning) -> str:
    """What became of a line."""
    if i.status == "karantaene":
        return f"I karantæne efter {i.regel}: {i.regel_tekst or 'linjen kan ikke bruges.'} {i.handling or ''}".strip()
    if i.status == "tilbagefoert":
        return f"Taget tilbage af {listed([f'[{nr}]' for nr in i.tilbagefoert_af]) or 'en tilbageførsel'}; tæller ikke."
    return {
        "brugt": "Brugt.",
        "virket": "Har virket: indberetningen tæller ikke længere.",
        "venter": "Venter: der er ikke modtaget en indberetning, den kan tage tilbage.",
    }[i.status]


def _week(uge: Uge, sag: Forklaring) -> list[str]:
    """One week: its kind and why, the counters, the money, and what runs settled."""
    text = [f"UGEN {span(uge.uge, uge.til).upper()} (kalenderuge {uge.uge.isocalendar().week})"]
    if (uge.dage_fra, uge.dage_til) != (uge.uge, uge.til):
        days = "dagen" if uge.dage_fra == uge.dage_til else "dagene"
        text.append(f"  Kun {days} {span(uge.dage_fra, uge.dage_til)} hører til ydelsesmåneden {month(sag.maaned)}.")
    text += _kind(uge, sag)
    text += _counters(uge)
    told_of = {nr for claim in uge.beroeringer for nr in claim.indberetninger}
    unused = [f"[{nr}]" for nr in uge.indberetninger if nr not in told_of]
    if unused:
        text.append(f"  Indberettet om ugen, men ikke brugt: {listed(unused)}.")
    for row in uge.raekker:
        text += [*money(row, uge.ydelsestaeller), finances(row)]
    text += [line for bidrag in uge.fleksbidrag for line in contribution(bidrag, sag.maaned)]
    text += [f"  {homeless.regel}: {homeless.regel_tekst}" for homeless in uge.uden_kommune]
    return text + settled(uge, {i.nr: i for i in sag.indberetninger})


def _kind(uge: Uge, sag: Forklaring) -> Iterator[str]:
    """The kind of the week, and which claims make it so."""
    if uge.art == "A":
        yield "  Ydelsesuge, fordi en ydelse, der tælles, har dage i ugen:"
    elif uge.art == "B":
        yield "  Neutral uge: den tæller hverken som ydelse eller som selvforsørgelse, fordi"
    elif uge.art == "C":
        yield "  Uge med selvforsørgelse: ingen ydelse, der tæller, har dage i ugen."
    elif uge.til > _known_to(sag):
        yield "  Ugen er ikke omme i det, kørslen kender, så dens art afgøres af en senere kørsel."
    else:
        yield "  Ugen ligger uden for optællingen: borgeren har ikke haft en uge med ydelse eller støtte endnu."
    for claim in uge.beroeringer:
        yield f"    - {_claim(claim)}"


def _known_to(sag: Forklaring) -> date:
    """The last day that is known."""
    return (sag.viden_til.replace(day=28) + timedelta(days=4)).replace(day=1) - timedelta(days=1)


def _claim(claim: Beroering) -> str:
    """One claim with days in the week."""
    whole = (claim.til_dag - claim.fra_dag).days == 6
    days = "alle ugens dage" if whole else _days(claim.fra_dag, claim.til_dag)
    says = {"A": "", "B": " (tæller ikke, men er støtte)", "-": " (siger intet om ugen)"}[claim.kategori]
    return (
        f"{small(claim.ydelse)} fra {claim.afsender}, {days}{says}; {kroner(claim.krav_oere)} for "
        f"{span(claim.krav_start, claim.krav_slut)} {_numbers(claim.indberetninger)}"
    )


def _days(fra: date, til: date) -> str:
    """Days of a week by name."""
    return weekday(fra) if fra == til else f"{weekday(fra)} til {weekday(til)}"


def _numbers(numbers: Sequence[int]) -> str:
    return "".join(f"[{nr}]" for nr in numbers)


def _counters(uge: Uge) -> Iterator[str]:
    """The two counters of a week."""
    if uge.art == "A" and uge.taelling_fra_uge:
        began = span(uge.taelling_fra_uge, uge.taelling_fra_uge + timedelta(days=6))
        yield f"  Uge {uge.ydelsestaeller} af støtte, talt siden ugen {began}."
    elif uge.art and uge.ydelsestaeller:
        yield f"  Ydelsestælleren bliver stående på {uge.ydelsestaeller}."
    g = uge.genoptjening
    if g and g.naaet:
        yield f"  Genoptjening: de {g.kraevet} uger er nået, og optællingen begynder forfra ({paragraph(g.post)})."
    elif g and g.antal and g.foerste_uge:
        yield (
            f"  Genoptjening: {g.antal} af {g.kraevet} hele uger med selvforsørgelse i vinduet fra {day(g.vindue_fra)} "
            f"(den første begyndte {day(g.foerste_uge)})."
        )
    elif g:
        yield f"  Genoptjening: ingen af {g.kraevet} uger endnu i vinduet fra {day(g.vindue_fra)}."
