"""Understands contradictions in what the rules say of vouchers: own accounts, forms, and what no line can ever meet."""

import re
from collections.abc import Iterator, Sequence
from itertools import product

from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import (
    AMOUNTS,
    BOOKED,
    UKENDT,
    Bilagsform,
    Kommunebilag,
    Kommunekonto,
)

FORM_ID = re.compile("[a-z0-9_]+")
# Names of files that a form would be taken for.
TAKEN = {"beregning", "opgoerelse", "advisering", "opfoelgning", "insight"}
FILE = "kontering.toml"


def said_of(entry: Kommunekonto | Kommunebilag) -> str:
    """The file and the entry of a municipality, as a refusal names them."""
    if isinstance(entry, Kommunebilag):
        return f"{FILE}, kommunebilag {entry.kommunekode} fra {entry.gaelder_fra}"
    what = [entry.side, entry.ydelse_id or entry.funktion, "" if entry.procent is None else f"{entry.procent} pct."]
    return f"{FILE}, kommunekonto {entry.kommunekode} {' '.join(filter(None, what))} fra {entry.gaelder_fra}"


def voucher_faults(rules: Rulebook) -> Iterator[str]:
    """A Danish sentence per contradiction in the municipalities' accounts, wishes and forms of vouchers."""
    for form in rules.bilagsformer:
        yield from _form_faults(form, rules)
    for wish in rules.kommunebilag:
        where = said_of(wish)
        if wish.kommunekode not in rules.koder:
            yield f"{where}: kommune {wish.kommunekode} findes ikke i kommuner.csv; skriv en kommunes kode"
        if wish.bilagsform == BOOKED:
            yield f"{where}: bilagsform {BOOKED} får alle kommuner; fjern nøglen, eller vælg en anden form"
        elif wish.bilagsform and rules.bilagsform(wish.bilagsform) is None:
            known = ", ".join(form.id for form in rules.bilagsformer if form.id != BOOKED)
            yield f"{where}: bilagsform {wish.bilagsform} findes ikke; vælg blandt {known}, eller tilføj den"
    for entry in rules.kommunekonti:
        yield from _account_faults(entry, rules)
    yield from _field_faults(rules)


def _account_faults(entry: Kommunekonto, rules: Rulebook) -> Iterator[str]:
    where = said_of(entry)
    if entry.kommunekode not in rules.koder:
        yield f"{where}: kommune {entry.kommunekode} findes ikke i kommuner.csv; skriv en kommunes kode"
    if entry.ydelse_id and entry.funktion:
        yield f"{where}: har både ydelse_id og funktion; behold den ene"
    if entry.side == "mellemregning" and (entry.ydelse_id or entry.funktion or entry.procent is not None):
        yield f"{where}: mellemregningen er een linje; fjern ydelse_id, funktion og procent"
    known = {*rules.ydelse_ids, *(fleks.id for fleks in rules.fleksbidrag)}
    if entry.ydelse_id and entry.ydelse_id not in known:
        yield f"{where}: ydelse {entry.ydelse_id} findes ikke i ydelser.csv; ret den, eller fjern nøglen"


def _field_faults(rules: Rulebook) -> Iterator[str]:
    """Fields that no form of their municipality has a column for: a slip in a name, or a form never asked for."""
    entries: list[Kommunekonto | Kommunebilag] = [*rules.kommunebilag, *rules.kommunekonti]
    for entry in entries:
        names = [wish.bilagsform for wish in rules.kommunebilag if wish.kommunekode == entry.kommunekode]
        forms = [form for name in names if (form := rules.bilagsform(name))]
        columns, ids = {felt for form in forms for felt in form.felter}, ", ".join(form.id for form in forms)
        for name in entry.felter:
            if not forms:
                yield f"{said_of(entry)}: feltet {name} bruges ikke, for kommunen har ingen bilagsform i kommunebilag"
            elif name not in columns:
                choices = ", ".join(sorted(columns)) or "ingen"
                yield f"{said_of(entry)}: feltet {name} findes ikke i bilagsform {ids}, der har {choices}"
        for form in forms:
            try:
                " ".join([*entry.felter.values(), getattr(entry, "konto", "")]).encode(form.tegnsaet)
            except UnicodeEncodeError as error:
                letter, tegnsaet = error.object[error.start], form.tegnsaet
                yield f"{said_of(entry)}: {letter} kan ikke skrives i {tegnsaet}, som bilagsform {form.id} har; ret det"


def _form_faults(form: Bilagsform, rules: Rulebook) -> Iterator[str]:
    where = f"{FILE}, bilagsform {form.id}"
    if not FORM_ID.fullmatch(form.id) or form.id in TAKEN:
        yield f"{where}: id bliver en del af filens navn; skriv små bogstaver a-z, tal og _, og ikke {min(TAKEN)}"
    if form.skilletegn == form.decimaltegn:
        yield f"{where}: skilletegn og decimaltegn er ens; vælg to forskellige"
    if not form.debet or form.debet.casefold() == form.kredit.casefold():
        yield f"{where}: debet og kredit skal være to forskellige ord"
    names = [kolonne.navn for kolonne in form.kolonner]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"{where}: kolonnen {twice[0]} står to gange; giv hver kolonne sit navn"
    for kolonne in form.kolonner:
        if sum(map(bool, (kolonne.vaerdi, kolonne.felt, kolonne.tekst))) > 1:
            yield f"{where}, kolonne {kolonne.navn}: skriv kun een af vaerdi, felt og tekst"
    if sum(amounts <= form.vaerdier.keys() for amounts in AMOUNTS) != 1:
        sets = "; ".join(" og ".join(sorted(amounts)) for amounts in AMOUNTS)
        yield f"{where}: skal vise beløbet på een måde ({sets})"
    if "konto" not in form.vaerdier and not form.felter:
        yield f'{where}: viser ingen konto; tilføj en kolonne med vaerdi = "konto" eller et felt'
    try:
        texts = [*names, form.debet, form.kredit, *(k.tekst for k in form.kolonner), *(y.navn for y in rules.ydelser)]
        " ".join(texts).encode(form.tegnsaet)
    except UnicodeEncodeError as error:
        yield f"{where}: tegnet {error.object[error.start]} kan ikke skrives i {form.tegnsaet}; vælg et andet tegnsæt"


def lines_there_can_be(rules: Rulebook) -> set[tuple[str, str, str, int | None]]:
    """Side, benefit, function and per cent of every line that a voucher can have."""
    steps = {trappe.id: {trin.procent for t in rules.trapper if t.id == trappe.id for trin in t.trin} for trappe in
             rules.trapper}  # fmt: skip
    funktioner = {y.ydelse_id: y.kontering for y in rules.ydelser}
    found: set[tuple[str, str, str, int | None]] = {("mellemregning", "", "", None)}
    rates = [
        (y.side, y.ydelse_id, rate)
        for y in rules.ydelser
        if y.side != "ingen"
        for rate in (steps.get(y.trappe, set()) if y.trappe else {y.fast_procent or 0})
    ]
    for side, ydelse_id, rate in [*rates, *(("refusion", fleks.id, 0) for fleks in rules.fleksbidrag)]:
        konto = rules.kontering(ydelse_id, side, rate).konto(funktioner.get(ydelse_id) or UKENDT, rate)
        found.add((side, ydelse_id, konto.rsplit(".", 2)[0], rate))
    return found


def never_met(rules: Rulebook) -> Iterator[str]:
    """A Danish sentence per account of a municipality that no line of any voucher gets, whatever the day."""
    lines = lines_there_can_be(rules) if rules.kommunekonti else set()
    by_kode: dict[str, list[Kommunekonto]] = {}
    for entry in rules.kommunekonti:
        by_kode.setdefault(entry.kommunekode, []).append(entry)
    for kode, entries in by_kode.items():
        days = sorted({entry.gaelder_fra for entry in entries})
        used = {id(rules.own_postings.konto(kode, *line, day)) for line, day in product(lines, days)}
        for entry in entries:
            if id(entry) not in used:
                yield f"{said_of(entry)}: {_why(entry, entries, lines)}"


def _why(entry: Kommunekonto, entries: Sequence[Kommunekonto], lines: set[tuple[str, str, str, int | None]]) -> str:
    fits = [
        line
        for line in lines
        if line[0] == entry.side
        and entry.ydelse_id in ("", line[1])
        and entry.funktion in ("", line[2])
        and entry.procent in (None, line[3])
    ]
    if fits and len(entries) > 1:
        return "bruges aldrig, for mere præcise poster har alle dens linjer; fjern en af dem"
    return "bruges aldrig, for intet bilag får en linje med den side, ydelse, funktion og procent; ret den"
