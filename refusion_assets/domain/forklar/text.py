"""Understands the text of an explanation for a caseworker: the answer in five lines, and on demand week by week."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

from refusion_assets.domain.calendar import last_day
from refusion_assets.domain.elsewhere import ANDRE, is_elsewhere
from refusion_assets.domain.forklar.model import Beroering, Forklaring, IndberetningTold, Stykke, Uge
from refusion_assets.domain.forklar.short import REST, counters, short
from refusion_assets.domain.forklar.text_money import contribution, finances, money, settled
from refusion_assets.domain.forklar.words import day, kroner, listed, month, plural, rulings, small, span, wrapped

RULE = "-" * 78
LEFT_OUT = "Oplysninger fra andre kommuner er udeladt."


def as_text(sag: Forklaring, hvem: str, *, alt: bool = False) -> str:
    """The answer in at most five lines, or with `alt` everything; `hvem` is the person's designation."""
    if not alt:
        told = [*short(sag, hvem), *([LEFT_OUT] if sag.udeladt == "maaned" else [])]
        return "\n".join(line.replace("kr..", "kr.") for line in told) + "\n"
    head, *answer = (line.removesuffix(REST).rstrip() for line in short(sag, hvem))
    lines = [
        head,
        RULE,
        f"Regelversion {sag.regelversion}.",
        *([LEFT_OUT] if sag.udeladt else []),
        "",
        "KORT FORTALT",
        *(f"  {line}" for line in answer if line),
    ]
    if sag.svar != "ukendt_borger":
        lines += _history(sag)
    if sag.svar == "forklaret":
        if sag.indberetninger:
            lines += ["", "INDBERETNINGERNE", *(line for i in sag.indberetninger for line in _report(i))]
        for several in _alike(sag.uger):
            lines += ["", *(_bare(several, sag) if len(several) > 1 else _week(several[0], sag))]
    lines += rulings(sag)
    return "\n".join(part for line in lines for part in wrapped(line)) + "\n"


def _alike(uger: Sequence[Uge]) -> list[list[Uge]]:
    """The weeks in order; consecutive weeks of one kind and without content are joined."""
    found: list[list[Uge]] = []
    for uge in uger:
        last = found[-1][-1] if found else None
        same = last and _is_bare(last) and _is_bare(uge) and (last.art, last.taelling) == (uge.art, uge.taelling)
        if last and same and not (last.genoptjening and last.genoptjening.naaet):
            found[-1].append(uge)
        else:
            found.append([uge])
    return found


def _is_bare(uge: Uge) -> bool:
    told_of = (uge.beroeringer, uge.indberetninger, uge.raekker, uge.fleksbidrag, uge.uden_kommune, uge.posteringer)
    return not any(told_of) and not uge.aendringer


def _history(sag: Forklaring) -> list[str]:
    if not sag.forloeb:
        return []
    text = ["", "SÅDAN ER UGERNE TALT"]
    if sag.forfra:
        f = sag.forfra
        text.append(
            f"  Optællingen begyndte forfra med ugen {day(f.uge)}, da {f.kraevet} hele uger med selvforsørgelse "
            f"inden for {f.vindue_aar} år var nået ({f.post.hjemmel})."
        )
    else:
        text.append(f"  Uger tælles fra {day(sag.optaelling.gaelder_fra)} ({sag.optaelling.hjemmel}).")
    for piece in sag.forloeb:
        text += _piece(piece)
    return text


def _piece(piece: Stykke) -> list[str]:
    first, last = piece.ydelsestaeller_fra, piece.ydelsestaeller_til
    number = "" if first is None else f"uge {first}" if first == last else f"uge {first}-{last}"
    what = {"A": listed(piece.ydelser), "B": f"{listed(piece.ydelser)} (neutral)", "C": "selvforsørgelse"}[piece.art]
    when = span(piece.fra_uge, piece.til_uge + timedelta(days=6))
    text = [f"  {number:<13}{when:<26}{plural(piece.antal_uger, 'uge', 'uger'):<9}{what}"]
    if piece.genoptjent:
        text.append("               Her er genoptjeningen nået: den næste ydelsesuge er uge 1.")
    return text


def _report(i: IndberetningTold) -> Iterator[str]:
    if i.kilde == ANDRE:
        weeks = span(i.periode_start, i.periode_slut) if i.periode_start and i.periode_slut else "ikke længere"
        what = i.ydelse if i.ydelse_id else "Uger"
        yield f"  [{i.nr}] {what} fra {i.afsender}, {weeks}, kendt fra {month(i.modtaget_maaned)}. {_fate(i)}"
        return
    period = span(i.periode_start, i.periode_slut) if i.periode_start and i.periode_slut else "uden ydelsesperiode"
    received = day(i.modtaget_tidspunkt.date()) if i.modtaget_tidspunkt else month(i.modtaget_maaned)
    what = f"{i.ydelse} fra {i.afsender}, {period}: {kroner(i.beloeb_oere)}"
    if i.art == "tilbagefoersel":
        what = f"Tilbageførsel fra {i.afsender} af indberetning {i.reference_id}"
    yield f"  [{i.nr}] {what}, modtaget {received}. {_fate(i)}"
    yield f"      IndberetningsID {i.indberetning_id or 'mangler'}, {i.fil} linje {i.linje}."


def _fate(i: IndberetningTold) -> str:
    if i.status == "karantaene":
        return f"I karantæne efter {i.regel}: {i.regel_tekst or 'linjen kan ikke bruges.'} {i.handling or ''}".strip()
    if i.status == "tilbagefoert":
        return f"Taget tilbage af {listed([f'[{nr}]' for nr in i.tilbagefoert_af]) or 'en tilbageførsel'}; tæller ikke."
    return {
        "brugt": "Brugt.",
        "virket": "Har virket: indberetningen tæller ikke længere.",
        "venter": "Venter: der er ikke modtaget en indberetning, den kan tage tilbage.",
    }[i.status]


def _bare(uger: Sequence[Uge], sag: Forklaring) -> list[str]:
    return [f"UGERNE {span(uger[0].uge, uger[-1].uge)} ({len(uger)} uger)", *_kind(uger[-1], sag), *counters(uger[-1])]


def _week(uge: Uge, sag: Forklaring) -> list[str]:
    text = [f"UGEN {day(uge.uge)} (kalenderuge {uge.uge.isocalendar().week})"]
    if (uge.dage_fra, uge.dage_til) != (uge.uge, uge.til):
        days = "dagen" if uge.dage_fra == uge.dage_til else "dagene"
        text.append(f"  Kun {days} {span(uge.dage_fra, uge.dage_til)} hører til ydelsesmåneden {month(sag.maaned)}.")
    text += _kind(uge, sag)
    text += counters(uge)
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
    if uge.art == "A":
        yield "  Ydelsesuge, fordi en ydelse, der tælles, har dage i ugen:"
    elif uge.art == "B":
        yield "  Neutral uge: den tæller hverken som ydelse eller som selvforsørgelse, fordi"
    elif uge.art == "C":
        yield "  Selvforsørgelse: ingen ydelse, der tæller, har dage i ugen."
    elif uge.til > last_day(sag.viden_til):
        yield "  Ugen er ikke omme i det, kørslen kender, så dens art afgøres af en senere kørsel."
    else:
        yield "  Ugen ligger uden for optællingen: borgeren har ikke haft en uge med ydelse eller støtte endnu."
    for claim in uge.beroeringer:
        yield f"    - {_claim(claim)}"


def _claim(claim: Beroering) -> str:
    says = {"A": "", "B": " (tæller ikke, men er støtte)", "-": " (siger intet om ugen)"}[claim.kategori]
    numbers = "".join(f"[{nr}]" for nr in claim.indberetninger)
    if is_elsewhere(claim.ydelse_id):
        return f"{small(claim.ydelse)} fra {claim.afsender}{says} {numbers}"
    whole = (claim.til_dag - claim.fra_dag).days == 6
    days = "alle ugens dage" if whole else span(claim.fra_dag, claim.til_dag)
    whole_claim = (claim.fra_dag, claim.til_dag) == (claim.krav_start, claim.krav_slut)
    period = "" if whole_claim else f" for {span(claim.krav_start, claim.krav_slut)}"
    return f"{small(claim.ydelse)} fra {claim.afsender}, {days}{says}; {kroner(claim.krav_oere)}{period} {numbers}"
