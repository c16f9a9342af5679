"""Understands the short answer: five lines with the amounts of a month, their reason, and later changes."""

from collections.abc import Iterator, Sequence

from refusion_assets.domain.forklar.model import Aendring, Forklaring, Raekke, Uge
from refusion_assets.domain.forklar.text_money import brief
from refusion_assets.domain.forklar.words import day, few, kroner, listed, month, plural, runs, small

REST = "Uge for uge: --alt."


def short(sag: Forklaring, hvem: str) -> list[str]:
    """The answer in at most five lines; the first gives the question, the run and the rules."""
    about, known = month(sag.maaned), month(sag.viden_til)
    if sag.svar == "ukendt_borger":
        text = [
            f"Ingen afsender har indberettet noget om personnummeret til og med {known}.",
            "Derfor er der ingen uger at tælle og ingen beløb at afregne.",
        ]
    elif sag.svar == "ikke_beregnet":
        text = [f"{about} er ikke kørt endnu. Den seneste kørsel kender dage til og med {known}.", REST]
    elif sag.svar == "ingen_uger":
        text = [f"Ingen ydelse har dage i ugerne omkring {about}, og der er ikke afregnet noget for måneden."]
        free = [uge for uge in sag.uger if uge.art == "C" and uge.genoptjening]
        if free:
            text += [line.strip() for line in counters(free[-1])]
        elif not sag.forloeb or sag.forloeb[0].fra_uge > sag.uger[-1].uge:
            text.append("Måneden ligger før borgerens første uge med ydelse og tæller ikke.")
        text.append(REST)
    else:
        rows = [row for uge in sag.uger for row in uge.raekker]
        text = [f"Procent: {_percentages(rows)}.", f"Uger: {_weeks(sag)}.", f"Beløb: {_amounts(sag, rows)}."]
        text.append(f"Rettet: {_moved(sag)} {REST}")
    return [_heading(sag, hvem), *text]


def _heading(sag: Forklaring, hvem: str) -> str:
    """Person, month and municipalities; the last run, and whether the rules have changed since."""
    kommuner = sorted({r.finansiering.kommune for uge in sag.uger for r in uge.raekker})
    where = f", {few(kommuner)}" if kommuner else ""
    known = month(sag.viden_til)
    run = f"kørsel {sag.koersel} ({known}, {sag.koersel_status})" if sag.koersel else known
    changed = "" if sag.regler_nu == sag.regelversion else (
        f" Reglerne er ændret siden (nu {sag.regler_nu}); den næste kørsel kan give et andet svar."
    )  # fmt: skip
    return f"{month(sag.maaned)} for {hvem}{where}. Viden fra {run}.{changed}"


def _percentages(rows: Sequence[Raekke]) -> str:
    """Each percentage with benefit, step and paragraph, and its weeks of support."""
    groups: dict[tuple[str, int, int | None, str], list[Raekke]] = {}
    for r in rows:
        groups.setdefault((r.ydelse, r.procent, r.trin, r.hjemmel), []).append(r)
    return few(
        [
            f"{small(ydelse)} {procent} procent i {plural(len(mine), 'uge', 'uger')} ({_why(trin, mine)}{hjemmel})"
            for (ydelse, procent, trin, hjemmel), mine in groups.items()
        ]
    ) or "ingen; der er ingen beløb at afregne i måneden"  # fmt: skip


def _why(trin: int | None, rows: Sequence[Raekke]) -> str:
    if trin is None:
        return "uden for trappen, "
    numbers = sorted({r.ydelsestaeller for r in rows if r.ydelsestaeller is not None})
    if any(r.overgang for r in rows) or not numbers:
        return f"trin {trin}, "
    return f"trin {trin}, uge {runs(numbers)} af støtte, "


def _weeks(sag: Forklaring) -> str:
    """The numbers of the month's weeks, the start of the count, and the weeks towards a restart."""
    counted = [uge for uge in sag.uger if uge.art == "A" and uge.ydelsestaeller]
    parts = []
    if counted:
        since = sorted({uge.taelling_fra_uge for uge in counted if uge.taelling_fra_uge})
        numbers = runs(sorted({uge.ydelsestaeller or 0 for uge in counted}))
        parts.append(f"uge {numbers} af støtte, talt siden ugen {listed([day(uge) for uge in since])}")
    last = next((uge.genoptjening for uge in reversed(sag.uger) if uge.genoptjening), None)
    reached = next((uge for uge in sag.uger if uge.genoptjening and uge.genoptjening.naaet), None)
    if reached:
        parts.append(f"optællingen begynder forfra med ugen {day(reached.uge)}")
    if last:
        parts.append(f"{last.antal} af {last.kraevet} uger med selvforsørgelse mod at begynde forfra")
    return "; ".join(parts) or "ingen uge i måneden tælles"


def _amounts(sag: Forklaring, rows: Sequence[Raekke]) -> str:
    """The sums of each side, fleksbidrag, and the unsettled amounts."""
    parts = []
    for side in sorted({r.side for r in rows}, reverse=True):
        mine = [r for r in rows if r.side == side]
        share = sum(r.refusion_oere + r.medfinansiering_oere for r in mine)
        parts.append(f"{kroner(sum(r.beloeb_oere for r in mine))} giver {kroner(share)} i {side}")
    for bidrag in (b for uge in sag.uger for b in uge.fleksbidrag):
        name, what = f"{small(bidrag.ydelse)}, {bidrag.kommune}", kroner(bidrag.refusion_oere)
        missing = bidrag.beregningsgrundlag_oere is None
        why = f", fordi grundlaget ikke er modtaget ({bidrag.regel})" if missing else ""
        parts.append(f"{name}: {'intet' if missing else what} for {month(sag.maaned)}{why}")
    if any(uge.uden_kommune for uge in sag.uger):
        parts.append("noget er ikke afregnet, fordi ingen kommune kendes (EI-018)")
    parts += [
        f"{small(old.ydelse)}, {old.kommune}: forskellen på {kroner(old.netto_oere)} er forældet efter {old.hjemmel} "
        "(foraeldelse.toml) og afregnes ikke"
        for old in sag.foraeldet
    ]
    return "; ".join(parts) or "0,00 kr."


def _moved(sag: Forklaring) -> str:
    """The runs that changed the month after its first settlement, and the first correction of the last of them.

    A run that only counts weeks otherwise corrects nothing; it is shown if no other run changed the month.
    """
    found = [(uge, change) for uge in sag.uger for change in uge.aendringer]
    if not found:
        return "nej."
    paid = [both for both in found if _paid_otherwise(both[1])]
    names = dict(sorted((change.koersel, f"kørsel {change.koersel} ({month(change.maaned)})") for _, change in found))
    last = max(change.koersel for _, change in paid or found)
    of_last = [both for both in paid or found if both[1].koersel == last]
    uge, change = of_last[0]
    when = "sidst" if last == max(names) else "beløbet sidst"
    others = f"i {few(list(names.values()))}; {when} " if len(names) > 1 else ""
    first = f"{len(of_last)} rettelser, den første i ugen" if paid and len(of_last) > 1 else "ugen"
    told = brief(change, {i.nr: i for i in sag.indberetninger})
    return (
        f"{'' if paid else 'nej, men uger er talt anderledes '}{others}i {names[last]}, {first} {day(uge.uge)}: {told}"
    )


def _paid_otherwise(change: Aendring) -> bool:
    """True if a run changed the payment, and not only the count of the week."""
    paid = ("procent_{}", "beloeb_{}_oere", "refusion_{}_oere", "kommuner_{}")
    return any(getattr(change, name.format("foer")) != getattr(change, name.format("efter")) for name in paid)


def counters(uge: Uge) -> Iterator[str]:
    """The two counters of a week."""
    if uge.art == "A" and uge.taelling_fra_uge:
        yield f"  Uge {uge.ydelsestaeller} af støtte, talt siden ugen {day(uge.taelling_fra_uge)}."
    elif uge.art and uge.ydelsestaeller:
        yield f"  Ydelsestælleren bliver stående på {uge.ydelsestaeller}."
    g = uge.genoptjening
    if g and g.naaet:
        yield f"  Genoptjening: de {g.kraevet} uger er nået, og optællingen begynder forfra ({g.post.hjemmel})."
    elif g and g.antal and g.foerste_uge:
        yield (
            f"  Genoptjening: {g.antal} af {g.kraevet} hele uger med selvforsørgelse i vinduet fra {day(g.vindue_fra)} "
            f"(den første er ugen {day(g.foerste_uge)})."
        )
    elif g:
        yield f"  Genoptjening: ingen af {g.kraevet} uger endnu i vinduet fra {day(g.vindue_fra)}."
