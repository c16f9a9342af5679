"""Understands readable edits that nobody can mean: names alike, restarts out of reach, days to come."""

import itertools
import re
import unicodedata
from collections.abc import Iterable, Iterator
from datetime import date

from refusion_assets.domain.findings.words import GRAENSER, REGLER
from refusion_assets.domain.rules.change import EMNER
from refusion_assets.domain.rules.entries import LAESNINGER, Rulebook, Ydelse, spans
from refusion_assets.rulebook.prove import MOST_YEARS, RuleError, said
from refusion_assets.rulebook.vouchers import never_met

FIRST_YEAR, LAST_YEAR, MOST_WEEKS = 1970, 2100, 5200
AT_LEAST_ONE = (
    "periode_dage",
    "raekkeantal_maaneder",
    "stikproeve_borgere",
    "ugebeloeb_oere",
    "linjebeloeb_oere",
    "ugestop_oere",
    "kommuneydelse_oere_pr_indbygger",
    "kommune_oere_pr_indbygger",
    "kommune_gange_middel",
)
MUNICIPALITIES, MOST_INHABITANTS = 98, 10_000_000
ALL_MUNICIPALITIES = "000"  # the code of advice to the operator
YEARS_AHEAD = 10
LETTER, THREE_DIGITS, FUNKTION, SENDER, NUMBER = (
    re.compile("[a-zæøåA-ZÆØÅ]"),
    re.compile("[0-9]{3}"),
    re.compile(r"[0-9]\.[0-9]{2}\.[0-9]{2}"),
    re.compile("[a-z0-9]+"),
    re.compile("[1-9][0-9]?( [a-zæøå])?"),
)


def folded(text: str) -> str:
    """A name as the eye sees it: without capitals, double blanks and differences in the coding of letters."""
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())


def _edit_names(rules: Rulebook) -> Iterator[str]:
    """Names that look alike: of one kind, of two benefits, of a benefit and fleksbidrag."""
    kinds: list[tuple[str, Iterable[str]]] = [
        ("ydelser.csv: ydelse_id", rules.ydelse_ids),
        ("konti.csv: konto", [k.konto for k in rules.konti]),
        ("kilder.toml: id", [k.id for k in rules.kilder]),
        ("trapper.toml: id", dict.fromkeys(t.id for t in rules.trapper)),
        ("taellere.toml: id", [t.id for t in rules.taellere]),
        ("lofter.toml: id", dict.fromkeys(m.id for m in rules.lofter)),
        ("kommuner.csv: navn", [k.navn for k in rules.kommuner]),
    ]
    for where, names in kinds:
        seen: dict[str, str] = {}
        for name in names:
            if (other := seen.setdefault(folded(name), name)) is not name:
                yield f"{where} {name} ligner {other}; to navne skal kunne skelnes, også uden store bogstaver"
    owner: dict[str, str] = {}
    for ydelse in rules.ydelser:
        where = f"ydelser.csv, ydelse {ydelse.ydelse_id} fra {ydelse.gaelder_fra}"
        other = owner.setdefault(folded(ydelse.navn), ydelse.ydelse_id)
        if other != ydelse.ydelse_id:
            yield f"{where}: navnet {ydelse.navn} har {other} allerede; skriv et andet, så linjerne kan skelnes"
        for entry in rules.fleksbidrag:
            if folded(ydelse.navn) in (folded(entry.navn), folded(entry.id)):
                yield f"{where}: navnet {ydelse.navn} er bidragets i fleksbidrag.toml; skriv et andet"
            if folded(ydelse.ydelse_id) in (folded(entry.id), folded(entry.navn)):
                yield f"{where}: ydelse_id er bidragets navn i fleksbidrag.toml; skriv et andet"


def _edit_restarts(rules: Rulebook) -> Iterator[str]:
    """Restarts with more weeks than their window."""
    asked = [(f"optaelling.toml, genoptjening fra {g.gaelder_fra}", g.uger, g.vindue_aar) for g in rules.genoptjening]
    asked += [(f"taellere.toml, taeller {t.id}", t.genoptjening_uger or 0, t.vindue_aar or 0) for t in rules.taellere]
    at_once = rules.laesning("genoptjening_proeves") == "ved_opnaaelse"
    for where, weeks, years in asked:
        # The window holds one week more under the reading `ved_opnaaelse`, and one day more every fourth year.
        most = (365 * years - (-years // 4)) // 7 + at_once
        if weeks > most:
            yield f"{where}: {weeks} uger kan aldrig nås inden for {years} år; skriv højst {most}"


def _steps_of(ydelse: Ydelse, since: date, until: date, rules: Rulebook) -> set[int]:
    """The percentages of a benefit's weeks between two days; none if it is not settled."""
    if ydelse.fast_procent is not None:
        return {ydelse.fast_procent}
    if ydelse.trappe is None:
        return set()
    mine = [t for t in rules.trapper if t.id == ydelse.trappe]
    held = (trappe for trappe, begins, ends in spans(mine, back=True) if begins < until and ends > since)
    return {trin.procent for trappe in held for trin in trappe.trin}


def _lost_steps(rules: Rulebook) -> Iterator[tuple[str, bool]]:
    """A sentence per step of fleksbidrag that its benefit never has; True if no staircase has it."""
    everywhere = {trin.procent for trappe in rules.trapper for trin in trappe.trin}
    for entry, since, until in spans(rules.fleksbidrag):
        mine = spans([y for y in rules.ydelser if y.ydelse_id == entry.ydelse_id])
        fits = [
            (y, max(since, begins), min(until, ends)) for y, begins, ends in mine if ends > since and begins < until
        ]
        steps = {procent for fit in fits for procent in _steps_of(*fit, rules)}
        if entry.trin_procent not in steps:
            choices = ", ".join(map(str, sorted(steps))) or "ingen"
            yield (
                (
                    f"fleksbidrag.toml, {entry.id} fra {since}: trin_procent = {entry.trin_procent} er ikke et trin "
                    f"for {entry.ydelse_id}; vælg blandt {choices}"
                ),
                entry.trin_procent not in everywhere,
            )


def _edit_steps(rules: Rulebook) -> Iterator[str]:
    """Steps of fleksbidrag on no staircase, and benefits of fleksbidrag without refusion."""
    for entry in rules.fleksbidrag:
        if "refusion" not in {y.side for y in rules.ydelser if y.ydelse_id == entry.ydelse_id}:
            yield (
                f"fleksbidrag.toml, {entry.id} fra {entry.gaelder_fra}: ydelse {entry.ydelse_id} har ingen refusion at "
                "lægge bidraget til; skriv en ydelse med side refusion"
            )
    yield from (sentence for sentence, nowhere in _lost_steps(rules) if nowhere)


def _misfits(rules: Rulebook) -> Iterator[tuple[str, bool]]:
    """A sentence per account and period whose sender does not pay that side; True if no period of the account fits."""
    arter = {kilde.id: kilde.art for kilde in rules.kilder}
    wanted = {"refusion": "kommunal", "medfinansiering": "national"}
    for konto in rules.konti:
        art = arter[konto.kilde_id]
        mine = spans([y for y in rules.ydelser if y.ydelse_id == konto.ydelse_id])
        last = konto.gyldig_til or date.max
        used = [ydelse for ydelse, begins, ends in mine if begins <= last and ends > konto.gyldig_fra]
        wrong = [ydelse for ydelse in used if wanted.get(ydelse.side, art) != art]
        for ydelse in wrong:
            yield (
                (
                    f"konti.csv, konto {konto.konto}: ydelse {ydelse.ydelse_id} har side {ydelse.side} fra "
                    f"{ydelse.gaelder_fra}, men kilde {konto.kilde_id} er {art}; side refusion har kommunale kilder, "
                    "og side medfinansiering nationale"
                ),
                len(wrong) == len(used),
            )


def _edit_senders(rules: Rulebook) -> Iterator[str]:
    """Accounts whose sender never pays the benefit; `doubts` lists those that fit in some period."""
    yield from (sentence for sentence, never in _misfits(rules) if never)


def _edit_benefits(rules: Rulebook) -> Iterator[str]:
    """Benefits with a settled day but no side, an amount field twice, or no account of the books."""
    settled = {y.ydelse_id for y in rules.ydelser if y.side != "ingen"}
    for ydelse in rules.ydelser:
        where = f"ydelser.csv, ydelse {ydelse.ydelse_id} fra {ydelse.gaelder_fra}"
        if ydelse.ydelse_id not in settled and ydelse.finansieres_fra is not None:
            yield f"{where}: finansieres_fra står ved side ingen, der aldrig afregnes; fjern datoen, eller ret siden"
        if ydelse.lov_nr and not NUMBER.fullmatch(ydelse.lov_nr):
            yield f"{where}: lov_nr = {said(ydelse.lov_nr)}; skriv nummeret i § 3, stk. 1, som 8, eller intet"
        if not LETTER.search(ydelse.navn):
            yield f"{where}: navn = {said(ydelse.navn)} har ingen bogstaver; skriv ydelsens navn"
        if len(set(ydelse.felter)) < len(ydelse.felter):
            yield f"{where}: et beloebsfelt står to gange og ville tælle dobbelt; behold det ene"
        if not FUNKTION.fullmatch(ydelse.kontering) and (ydelse.kontering or ydelse.side != "ingen"):
            yield f"{where}: kontering = {said(ydelse.kontering)}; skriv funktionen som 5.57.71"


def _edit_postings(rules: Rulebook) -> Iterator[str]:
    """Accounts of the books in another form than that of the plan of accounts."""
    for kontering in rules.konteringer:
        where = f"kontering.toml, {kontering.funktion} {kontering.side}"
        if kontering.funktion != "*" and not FUNKTION.fullmatch(kontering.funktion):
            yield f'{where}: funktion = {said(kontering.funktion)}; skriv den som 5.57.71, eller "*" for dem alle'
        if not re.fullmatch("[0-9]", kontering.dranst):
            yield f"{where}: dranst = {said(kontering.dranst)}; skriv eet ciffer"
        if kontering.verificeret and not THREE_DIGITS.fullmatch(kontering.gruppering):
            yield f"{where}: gruppering = {said(kontering.gruppering)}; en verificeret gruppering er tre cifre"


def _edit_municipalities(rules: Rulebook) -> Iterator[str]:
    """Municipalities with an impossible code, name, region, population or year."""
    for kommune in rules.kommuner:
        where = f"kommuner.csv, kommune {kommune.kommunekode}"
        if not THREE_DIGITS.fullmatch(kommune.kommunekode):
            yield f"{where}: kommunekode skal være tre cifre, som 101; ret den"
        if kommune.kommunekode == ALL_MUNICIPALITIES:
            yield f"{where}: {ALL_MUNICIPALITIES} er driftens egen kode i adviseringer; skriv kommunens"
        if not LETTER.search(kommune.navn) or not LETTER.search(kommune.region):
            yield f"{where}: navn og region skal have bogstaver; er kolonnerne byttet om?"
        if kommune.indbyggertal < 1:
            yield f"{where}: indbyggertal = {kommune.indbyggertal}; skriv mindst 1"
        if kommune.indbyggertal > MOST_INHABITANTS:
            yield f"{where}: indbyggertal = {kommune.indbyggertal}; skriv højst {MOST_INHABITANTS}"
        if not FIRST_YEAR <= kommune.aar <= LAST_YEAR:
            yield f"{where}: aar = {kommune.aar}; skriv et årstal fra {FIRST_YEAR} til {LAST_YEAR}"


def _edit_accounts(rules: Rulebook) -> Iterator[str]:
    """Senders and accounts in a form that no file name and no report can have."""
    for kilde in rules.kilder:
        if not SENDER.fullmatch(kilde.id):
            yield (
                f"kilder.toml, kilde {kilde.id}: id står i filnavnene (eindkomst-yr-{kilde.id}-...); skriv det med små "
                "bogstaver a til z og cifre"
            )
    for konto in rules.konti:
        where = f"konti.csv, konto {konto.konto}"
        if not konto.konto.isascii() or " " in konto.konto:
            yield f"{where}: en konto har hverken mellemrum eller æ, ø, å; skriv den, som den står i indberetningen"
        for name, digits in (("indkomsttype", 2), ("indtaegtsart", 4)):
            value = getattr(konto, name)
            if value and not re.fullmatch(f"[0-9]{{{digits}}}", value):
                yield f"{where}: {name} = {said(value)}; skriv {digits} cifre, også foranstillede nuller"


def _edit_bounds(rules: Rulebook) -> Iterator[str]:
    """Bounds below their least value, unknown to the program, or out of everybody's reach."""
    for graense in rules.graenser:
        where = f"drift.toml eller kontrol.toml, graense {graense.id}"
        least = 1 if graense.id in AT_LEAST_ONE else 0
        if graense.vaerdi < least:
            yield f"{where}: vaerdi = {graense.vaerdi}; skriv {least} eller mere"
        name, colon, ydelse_id = graense.id.partition(":")
        if name not in GRAENSER:
            yield f"{where}: {name} kendes ikke; vælg blandt {', '.join(sorted(GRAENSER))}"
        if colon and ydelse_id not in rules.ydelse_ids:
            yield f"{where}: ydelse {ydelse_id} findes ikke i ydelser.csv; ret navnet"
    for trappe in rules.trapper:
        where = f"trapper.toml, trappe {trappe.id} fra {trappe.gaelder_fra}"
        if trappe.trin[-1].fra_uge > MOST_WEEKS:
            yield f"{where}: fra_uge = {trappe.trin[-1].fra_uge} når ingen; skriv højst {MOST_WEEKS}"
    for entry in rules.foraeldelse:
        if entry.graense > 12 * MOST_YEARS:
            yield f"foraeldelse.toml, foraeldelse fra {entry.gaelder_fra}: grænsen er over {MOST_YEARS} år; ret den"


def _edit_beginning(rules: Rulebook) -> Iterator[str]:
    """A count that begins after the overgang."""
    begins, overgang = rules.optaelling.gaelder_fra, rules.overgang.gaelder_fra
    if begins > overgang:
        yield f"optaelling.toml, optaelling: gaelder_fra {begins} er efter overgangen {overgang}; ret den"


def _edit_unknown(rules: Rulebook) -> Iterator[str]:
    """Readings and checks without effect, as the program does not know them."""
    for reading in rules.laesninger:
        if reading.navn not in LAESNINGER:
            yield f"laesninger.toml, {reading.navn}: læsningen kendes ikke; ret navnet, eller fjern posten"
            continue
        for unknown in sorted(set(reading.muligheder) - LAESNINGER[reading.navn]):
            choices = ", ".join(sorted(LAESNINGER[reading.navn]))
            yield f"laesninger.toml, {reading.navn}: {unknown} kan programmet ikke regne med; vælg blandt {choices}"
        if len(set(reading.muligheder)) < len(reading.muligheder):
            yield f"laesninger.toml, {reading.navn}: en mulighed står to gange; behold den ene"
    for kontrol in rules.kontroller:
        if kontrol.id not in REGLER:
            yield f"kontrol.toml, {kontrol.id}: kontrollen kendes ikke; ret navnet, eller fjern posten"


def _edit_days(rules: Rulebook, today: date) -> Iterator[str]:
    for topic, entries in rules.emner.items():
        for number, entry in enumerate(entries, 1):
            if (day := entry.get("kontrolleret")) is not None and str(day) > str(today):
                where = f"{EMNER[topic].fil}, {topic}, post {number}"
                yield f"{where}: kontrolleret {day} er efter i dag ({today}); skriv den dag, det skete"


def prove_edits(rules: Rulebook, today: date | None) -> None:
    """RuleError on the first readable edit that nobody can mean; with `today`, also on a later `kontrolleret`.

    `load` does not ask it of the rules of earlier runs. Hjemmel: none, technical.
    """
    every = (
        _edit_names, _edit_restarts, _edit_steps, _edit_senders,
        _edit_benefits, _edit_postings, _edit_municipalities, _edit_accounts, _edit_bounds, _edit_beginning,
        _edit_unknown, never_met,
    )  # fmt: skip
    for faults in every:
        for fault in faults(rules):
            raise RuleError(fault)
    for fault in _edit_days(rules, today) if today else ():
        raise RuleError(fault)


def _odd_staircases(rules: Rulebook) -> Iterator[str]:
    """Staircases that both rise and fall or repeat a percentage, and benefits on the staircase of the other side."""
    for trappe in rules.trapper:
        where = f"trapper.toml, trappe {trappe.id} fra {trappe.gaelder_fra}"
        moves = {(after.procent > before.procent) - (after.procent < before.procent) for before, after in
                 itertools.pairwise(trappe.trin)}  # fmt: skip
        if 0 in moves:
            yield f"{where}: to trin efter hinanden har samme procent"
        if {1, -1} <= moves:
            yield f"{where}: procenten både stiger og falder"
    for ydelse in rules.ydelser:
        if ydelse.trappe in {"refusion", "medfinansiering"} - {ydelse.side}:
            where = f"ydelser.csv, ydelse {ydelse.ydelse_id} fra {ydelse.gaelder_fra}"
            yield f"{where}: side er {ydelse.side}, men satsen er trappen for {ydelse.trappe}"


def _unused_postings(rules: Rulebook) -> Iterator[str]:
    """Accounts of the books for a function, side or percentage that no benefit has."""
    used = {(y.kontering, y.side) for y in rules.ydelser} | {("*", y.side) for y in rules.ydelser}
    steps = {trin.procent for trappe in rules.trapper for trin in trappe.trin} | {y.fast_procent for y in rules.ydelser}
    for kontering in rules.konteringer:
        where = f"kontering.toml, {kontering.funktion} {kontering.side}"
        if kontering.side in ("refusion", "medfinansiering"):
            if not kontering.ydelse_id and (kontering.funktion, kontering.side) not in used:
                yield f"{where}: ingen ydelse i ydelser.csv har den kontering og side"
            if kontering.procent is not None and kontering.procent not in steps:
                yield f"{where}: procent = {kontering.procent} er ikke et trin i trapper.toml eller en fast sats"


def _far_ahead(rules: Rulebook, today: date) -> Iterator[str]:
    """Entries that begin more than `YEARS_AHEAD` years after `today`."""
    latest = today.year + YEARS_AHEAD
    for topic, entries in rules.emner.items():
        for number, entry in enumerate(entries, 1):
            for name in ("gaelder_fra", "gyldig_fra", "finansieres_fra"):
                day = str(entry.get(name, ""))
                if day[:4].isdigit() and int(day[:4]) > latest:
                    yield f"{EMNER[topic].fil}, {topic}, post {number}: {name} {day} ligger over {YEARS_AHEAD} år frem"


def doubts(rules: Rulebook, today: date | None = None) -> list[str]:
    """One Danish sentence per entry without effect or with an odd value; such rules can be used.

    With `today`, also per entry that begins far ahead.
    """
    paid = {konto.ydelse_id for konto in rules.konti}
    sends = {konto.kilde_id for konto in rules.konti}
    climbed = {trappe.taeller for trappe in rules.trapper}
    known = {"", *rules.ydelse_ids, *(entry.id for entry in rules.fleksbidrag)}
    lost = [k for k in rules.konteringer if k.ydelse_id not in known]
    moved = [sentence for sentence, never in _misfits(rules) if not never]
    few = len(rules.kommuner) != MUNICIPALITIES
    return [
        *([f"kommuner.csv: der står {len(rules.kommuner)} kommuner og ikke {MUNICIPALITIES}"] if few else []),
        *moved,
        *(sentence for sentence, nowhere in _lost_steps(rules) if not nowhere),
        *(f"ydelser.csv, ydelse {y}: ingen konto i konti.csv fører til den" for y in rules.ydelse_ids if y not in paid),
        *(f"kilder.toml, kilde {k.id}: ingen konto i konti.csv har den" for k in rules.kilder if k.id not in sends),
        *(f"taellere.toml, taeller {t.id}: ingen trappe følger den" for t in rules.taellere if t.id not in climbed),
        *(f"kontering.toml, {k.funktion} {k.side}: ydelse {k.ydelse_id} findes ikke" for k in lost),
        *_unused_postings(rules),
        *_odd_staircases(rules),
        *(_far_ahead(rules, today) if today else ()),
    ]
