"""Understands contradictions in the rules: gaps, overlaps, and references to missing entries."""

import re
from collections.abc import Callable, Iterable
from datetime import date
from operator import attrgetter
from string import Formatter
from typing import Any

from refusion_assets.domain.findings.words import GRAENSER, PLADSHOLDERE, REGLER, SENERE, UNDVAERLIGE
from refusion_assets.domain.rules.change import EMNER
from refusion_assets.domain.rules.entries import LAESNINGER, LOVENS_TAELLER, Rulebook, Ydelse

MOST_YEARS, LAST_DAY_OF_ALL_MONTHS = 100, 28
FEWEST_BANK_DAYS = 16
"""No month has fewer bank days, whatever holidays it has."""
HOUR = re.compile("([01][0-9]|2[0-3]):[0-5][0-9]")
WHOLE = re.compile("0|[1-9][0-9]*")
BELOEBSFELTER = ("0014", "0037", "0038", "0046", "0048")


class RuleError(ValueError):
    """A contradiction or unreadable entry; the text names file, entry and what to do, in Danish."""


def said(value: Any) -> str:
    """A value in a lawyer's notation, not in Python's."""
    if isinstance(value, str):
        return f"'{' '.join(value.splitlines())}'"
    if value is None or isinstance(value, bool):
        return "intet" if value is None else str(value).lower()
    if isinstance(value, (list, tuple)):
        return "en liste"
    return "en post" if isinstance(value, dict) else str(value)


def _unique(items: Iterable[Any], key: Callable[[Any], Any], where: str) -> None:
    """RuleError if two entries have the same key, such as name and date."""
    seen = set()
    for item in items:
        name = key(item)
        if name in seen:
            parts = [str(part) for part in name if part not in ("", None)] if isinstance(name, tuple) else [str(name)]
            between = " fra " if isinstance(name, tuple) and len(name) == 2 else ", "
            raise RuleError(f"{where}: {between.join(parts)} står to gange; behold een post")
        seen.add(name)


def _prove_staircases(rules: Rulebook) -> None:
    """Every staircase begins at week 1, with rising weeks, 0-100 per cent and no gap before its first date."""
    for trappe in rules.trapper:
        where = f"trapper.toml, trappe {trappe.id} fra {trappe.gaelder_fra}"
        weeks = [trin.fra_uge for trin in trappe.trin]
        if not weeks or weeks[0] != 1:
            raise RuleError(f"{where}: første trin skal have fra_uge = 1")
        if weeks != sorted(set(weeks)):
            raise RuleError(f"{where}: fra_uge skal stige fra trin til trin; ret rækkefølgen")
        for trin in trappe.trin:
            if not 0 <= trin.procent <= 100:
                raise RuleError(f"{where}: procent {trin.procent} ligger ikke mellem 0 og 100")
    first = {t.id: t.gaelder_fra for t in reversed(rules.trapper)}
    for name, begins in first.items():
        used = any(y.trappe == name for y in rules.ydelser)
        if used and begins > rules.overgang.gaelder_fra and name in ("refusion", "medfinansiering"):
            raise RuleError(
                f"trapper.toml, trappe {name}: hul før {begins}; den første skal gælde fra "
                f"{rules.overgang.gaelder_fra} eller før"
            )


def _prove_rate(ydelse: Ydelse, where: str) -> None:
    kind, _, number = ydelse.sats.partition(" ")
    if kind not in ("", "trappe", "fast") or (kind == "fast" and not WHOLE.fullmatch(number)):
        raise RuleError(f"{where}: sats = {said(ydelse.sats)}; skriv trappe, trappe NAVN, fast NN eller intet")
    if ydelse.fast_procent is not None and ydelse.fast_procent > 100:
        raise RuleError(f"{where}: fast {ydelse.fast_procent} er over 100 procent")
    if (ydelse.side == "ingen") != (ydelse.sats == ""):
        raise RuleError(f"{where}: side {ydelse.side} og sats {said(ydelse.sats)} passer ikke sammen")
    if ydelse.side != "ingen" and ydelse.finansieres_fra is None:
        raise RuleError(f"{where}: mangler finansieres_fra; skriv den første dag, der afregnes")


def _prove_benefits(rules: Rulebook) -> None:
    """Every benefit has a rate that fits its side, on a staircase that begins no later than its money."""
    first = {t.id: t.gaelder_fra for t in reversed(rules.trapper)}
    own = {t.id for t in rules.trapper if t.taeller != LOVENS_TAELLER}
    for ydelse in rules.ydelser:
        where = f"ydelser.csv, ydelse {ydelse.ydelse_id} fra {ydelse.gaelder_fra}"
        _prove_rate(ydelse, where)
        if ydelse.trappe is not None:
            if ydelse.trappe not in first:
                raise RuleError(f"{where}: trappe {ydelse.trappe} findes ikke i trapper.toml")
            if ydelse.kategori != "A" and ydelse.trappe not in own:
                raise RuleError(f"{where}: en ydelse på en trappe uden egen tæller skal have kategori A")
            begins = max(ydelse.gaelder_fra, ydelse.finansieres_fra or date.max, rules.overgang.gaelder_fra)
            if first[ydelse.trappe] > begins:
                raise RuleError(f"{where}: hul; trappe {ydelse.trappe} begynder først {first[ydelse.trappe]}")
        for felt in ydelse.felter:
            if felt not in BELOEBSFELTER:
                raise RuleError(f"{where}: beloebsfelt {felt} findes ikke; vælg blandt {', '.join(BELOEBSFELTER)}")


def _prove_accounts(rules: Rulebook) -> None:
    """Every account has a known benefit, a sender of the right kind, and an end after its beginning."""
    arter = {kilde.id: kilde.art for kilde in rules.kilder}
    for konto in rules.konti:
        where = f"konti.csv, konto {konto.konto}"
        if konto.ydelse_id not in rules.ydelse_ids:
            raise RuleError(
                f"{where}: ydelse {konto.ydelse_id} findes ikke i ydelser.csv; ret den, eller tilføj ydelsen"
            )
        if konto.kilde_id not in arter:
            raise RuleError(f"{where}: kilde {konto.kilde_id} findes ikke i kilder.toml; ret den, eller tilføj kilden")
        if (arter[konto.kilde_id] == "kommunal") != (konto.felt == "0115"):
            raise RuleError(f"{where}: felt {konto.felt} passer ikke til kilden; skriv 0115 for kommunale, ellers 0114")
        if konto.gyldig_til is not None and konto.gyldig_til < konto.gyldig_fra:
            raise RuleError(
                f"{where}: gyldig_til {konto.gyldig_til} er før gyldig_fra {konto.gyldig_fra}; ret en af dem"
            )


def _prove_calendar(rules: Rulebook) -> None:
    """The restart has a rule from the first counted day, the overgang is a Monday, every month has the run day."""
    if rules.genoptjening[0].gaelder_fra > rules.optaelling.gaelder_fra:
        raise RuleError("optaelling.toml, genoptjening: hul før den første post; den skal gælde fra optællingens dato")
    for genoptjening in rules.genoptjening:
        where = f"optaelling.toml, genoptjening fra {genoptjening.gaelder_fra}"
        _prove_restart(genoptjening.uger, genoptjening.vindue_aar, where)
    if rules.overgang.gaelder_fra.weekday() != 0:
        raise RuleError(
            f"optaelling.toml, overgang: {rules.overgang.gaelder_fra} er ikke en mandag; skriv ugens mandag"
        )
    if not 1 <= rules.koersel.koerselsdag <= LAST_DAY_OF_ALL_MONTHS:
        raise RuleError(f"drift.toml, koersel: koerselsdag = {rules.koersel.koerselsdag}; skriv en dag fra 1 til 28")


def _prove_critical_week(rules: Rulebook) -> None:
    """Every entry has bank days that a month has, hours of the day, an order in time, and a reason to go on."""
    for entry in rules.kritiske_uger:
        where = f"drift.toml, kritisk_uge fra {entry.gaelder_fra}"
        for name in ("aabner_bankdag", "frist_bankdag", "sen_bankdag", "opgjort_bankdag"):
            if not 1 <= getattr(entry, name) <= FEWEST_BANK_DAYS:
                raise RuleError(f"{where}: {name} = {getattr(entry, name)}; skriv et tal fra 1 til {FEWEST_BANK_DAYS}")
        for name in ("aabner_kl", "frist_kl"):
            if not HOUR.fullmatch(getattr(entry, name)):
                raise RuleError(f'{where}: {name} = {said(getattr(entry, name))}; skriv et klokkeslæt som "06:00"')
        if (entry.frist_bankdag, entry.frist_kl) <= (entry.aabner_bankdag, entry.aabner_kl):
            raise RuleError(f"{where}: fristen ligger ikke efter åbningen; ret frist_bankdag eller frist_kl")
        if entry.plads_til_koersler < 1:
            raise RuleError(f"{where}: plads_til_koersler = {entry.plads_til_koersler}; skriv 1 eller mere")
        if entry.ved_frist == "fortsaet" and not entry.begrundelse:
            raise RuleError(f"{where}: begrundelse mangler; den gemmes, når kørslen fortsætter uden en afsender")


def _prove_gains(rules: Rulebook) -> None:
    """Every gain has whole months for its baseline, in order, and a benefit, step and municipality that there are."""
    for entry in rules.gevinster:
        where = f"gevinster.toml, gevinst {entry.id}"
        for name in ("baseline_fra", "baseline_til"):
            if getattr(entry, name).day != 1:
                raise RuleError(f"{where}: {name} er en måned; skriv den første i måneden")
        if entry.baseline_til < entry.baseline_fra:
            raise RuleError(f"{where}: baseline_til {entry.baseline_til} er før baseline_fra; ret en af dem")
        if entry.ydelse_id and entry.ydelse_id not in rules.ydelse_ids:
            raise RuleError(f"{where}: ydelse {entry.ydelse_id} findes ikke i ydelser.csv; ret den, eller fjern nøglen")
        if entry.kommunekode and entry.kommunekode not in rules.koder:
            raise RuleError(f"{where}: kommune {entry.kommunekode} findes ikke i kommuner.csv; skriv en kommunes kode")
        if entry.trin is not None and entry.trin < 1:
            raise RuleError(f"{where}: trin = {entry.trin}; skriv 1 eller mere, eller fjern nøglen")


def _prove_listed(names: tuple[str, ...], rules: Rulebook, where: str) -> None:
    if not names:
        raise RuleError(f"{where}: ydelser er tom; skriv mindst een ydelse")
    _unique(names, str, f"{where}: ydelser")
    for name in names:
        if name not in rules.ydelse_ids:
            raise RuleError(f"{where}: ydelse {name} findes ikke i ydelser.csv; ret navnet, eller tilføj ydelsen der")


def _prove_counters(rules: Rulebook) -> None:
    """Every counter has a unique name, known benefits, and both parts of a restart or none."""
    known = {LOVENS_TAELLER, *(t.id for t in rules.taellere)}
    for taeller in rules.taellere:
        where = f"taellere.toml, taeller {taeller.id}"
        if taeller.id == LOVENS_TAELLER:
            raise RuleError(f"{where}: navnet er lovens egen tællers; vælg et andet")
        if taeller.gaelder_fra < rules.optaelling.gaelder_fra:
            begins = rules.optaelling.gaelder_fra
            raise RuleError(f"{where}: gaelder_fra er før optællingen begynder; skriv {begins} eller senere")
        if (taeller.genoptjening_uger is None) != (taeller.vindue_aar is None):
            raise RuleError(f"{where}: genoptjening_uger og vindue_aar hører sammen; skriv begge eller ingen af dem")
        if taeller.genoptjening_uger is not None and taeller.vindue_aar is not None:
            _prove_restart(taeller.genoptjening_uger, taeller.vindue_aar, where)
        _prove_listed(taeller.ydelser, rules, where)
    for trappe in rules.trapper:
        where = f"trapper.toml, trappe {trappe.id} fra {trappe.gaelder_fra}"
        if trappe.taeller not in known:
            raise RuleError(
                f"{where}: taeller {trappe.taeller} findes ikke i taellere.toml; ret navnet, eller tilføj den"
            )
        if trappe.taeller != (first := next(t.taeller for t in rules.trapper if t.id == trappe.id)):
            raise RuleError(f"{where}: taeller er {trappe.taeller}, men var {first}; skriv samme tæller i alle poster")


def _prove_restart(uger: int, aar: int, where: str) -> None:
    """A restart takes at least one week within 1 to `MOST_YEARS` years."""
    if uger < 1:
        raise RuleError(f"{where}: så få uger kan ikke genoptjenes; skriv mindst 1")
    if not 1 <= aar <= MOST_YEARS:
        raise RuleError(f"{where}: vindue_aar = {aar}; skriv et helt tal fra 1 til {MOST_YEARS}")


def _prove_maxima(rules: Rulebook) -> None:
    settled = {y.ydelse_id for y in rules.ydelser if y.side != "ingen"}
    for loft in rules.lofter:
        where = f"lofter.toml, loft {loft.id} fra {loft.gaelder_fra}"
        if loft.beloeb_oere < 0:
            raise RuleError(f"{where}: beloeb_oere = {loft.beloeb_oere} er under 0; skriv 0 eller mere, i øre")
        _prove_listed(loft.ydelser, rules, where)
        for name in loft.ydelser:
            if name not in settled:
                raise RuleError(f"{where}: ydelse {name} afregnes aldrig (side ingen); fjern den fra ydelser")


def _prove_unit_prices(rules: Rulebook) -> None:
    """Every price is above 0, of a known benefit, and a benefit with a price has one from its first day on."""
    first = {y.ydelse_id: y.gaelder_fra for y in reversed(rules.ydelser)}
    for number, pris in enumerate(rules.enhedspriser):
        where = f"enhedspriser.toml, pris {pris.ydelse_id} fra {pris.gaelder_fra}"
        if pris.ydelse_id not in first:
            raise RuleError(
                f"{where}: ydelse {pris.ydelse_id} findes ikke i ydelser.csv; ret den, eller tilføj ydelsen"
            )
        if pris.pris_oere < 1:
            raise RuleError(f"{where}: pris_oere = {pris.pris_oere}; skriv 1 eller mere, i hele øre for een enhed")
        begins = first[pris.ydelse_id]
        earlier = number and rules.enhedspriser[number - 1].ydelse_id == pris.ydelse_id
        if not earlier and pris.gaelder_fra > begins:
            raise RuleError(
                f"{where}: hul; ydelsen gælder fra {begins}, så dens første pris skal gælde fra den dag eller før"
            )


def _prove_limits(rules: Rulebook) -> None:
    """Every limit on corrections has one length and a first run month, unique in its direction."""
    for entry in rules.foraeldelse:
        where = f"foraeldelse.toml, foraeldelse fra {entry.gaelder_fra}"
        if (entry.aar is None) == (entry.maaneder is None):
            raise RuleError(f"{where}: skriv enten aar eller maaneder, og kun den ene")
        if entry.graense < 1:
            raise RuleError(f"{where}: grænsen er under 1 måned; skriv et helt tal fra 1")
        if entry.gaelder_fra.day != 1:
            raise RuleError(f"{where}: gaelder_fra er en kørselsmåned; skriv den første i måneden")
        same = [e for e in rules.foraeldelse if e.gaelder_fra == entry.gaelder_fra]
        if len(same) > 1 and ("begge" in {e.gaelder for e in same} or len({e.gaelder for e in same}) < len(same)):
            raise RuleError(f"{where}: datoen står to gange for samme retning; behold een post")


def _prove_declarations(rules: Rulebook) -> None:
    for entry in rules.tilbagevirkninger:
        if entry.emne not in rules.emner:
            where = f"tilbagevirkning.toml, {entry.emne} fra {entry.fra}"
            raise RuleError(f"{where}: emnet findes ikke; vælg blandt {', '.join(sorted(rules.emner))}")


def _places(text: str) -> set[str]:
    parts = list(Formatter().parse(text))
    if any(form or turned for _, _, form, turned in parts):
        raise ValueError("en plads må kun have sit navn")
    return {name for _, name, _, _ in parts if name is not None}


def _prove_places(text: str, known: Iterable[str], where: str) -> None:
    choices = ", ".join(sorted(known))
    try:
        places = _places(text)
    except ValueError:
        raise RuleError(f"{where}: en plads i teksten står ikke mellem {{ og }} alene med sit navn; ret den") from None
    for part in sorted(places - set(known)):
        raise RuleError(f"{where}: {{{part}}} kendes ikke; vælg blandt {choices}")


def _prove_controls(rules: Rulebook) -> None:
    """Every rule id of a run has an entry, and its texts have only the placeholders of a finding."""
    known = {kontrol.id for kontrol in rules.kontroller}
    bounds = {graense.id for graense in rules.graenser}
    for regel in sorted(REGLER - known - {regel for regel, bound in SENERE.items() if bound not in bounds}):
        raise RuleError(f"kontrol.toml: {regel} mangler; hver regel har en post, så intet fund bliver uden tekst")
    for kontrol in rules.kontroller:
        for text in (kontrol.tekst, kontrol.handling):
            _prove_places(text, PLADSHOLDERE, f"kontrol.toml, {kontrol.id}")
    for needed in sorted(GRAENSER - UNDVAERLIGE - bounds):
        raise RuleError(f"drift.toml eller kontrol.toml, graense: {needed} mangler; skriv den i en af dem")


def _prove_postings(rules: Rulebook) -> None:
    """Every benefit's money has an account, and there is one account to balance against."""
    for side in ("refusion", "medfinansiering"):
        if not any(k.side == side and k.funktion == "*" and k.procent is None for k in rules.konteringer):
            raise RuleError(f'kontering.toml: side {side} mangler en post med funktion = "*" uden procent')
    if sum(k.side == "mellemregning" for k in rules.konteringer) != 1:
        raise RuleError("kontering.toml: side mellemregning skal stå præcis een gang")
    for kontering in rules.konteringer:
        where = f"kontering.toml, {kontering.funktion} {kontering.side}"
        if not 0 <= (kontering.procent or 0) <= 100:
            raise RuleError(f"{where}: procent {kontering.procent} er ikke mellem 0 og 100")
        _prove_places(kontering.gruppering, ["procent"], f"{where}: gruppering {kontering.gruppering}")


def prove(rules: Rulebook) -> None:
    """RuleError on the first gap, overlap or reference to a missing entry.

    Hjemmel: none, technical.
    """
    where = {"genoptjening": "optaelling.toml, genoptjening", "graense": "graense"}
    for topic, emne in EMNER.items():
        if emne.unik:
            _unique(getattr(rules, emne.felt), attrgetter(*emne.unik), where.get(topic, emne.fil))
    _prove_accounts(rules)
    for needed in sorted(LAESNINGER.keys() - {reading.navn for reading in rules.laesninger}):
        raise RuleError(f"laesninger.toml: {needed} mangler; en læsning vælges altid")
    for reading in rules.laesninger:
        choices = ", ".join(map(str, reading.muligheder))
        if reading.vaerdi not in reading.muligheder:
            raise RuleError(f"laesninger.toml, {reading.navn}: {reading.vaerdi} er ikke en af {choices}")
    _prove_calendar(rules)
    _prove_critical_week(rules)
    _prove_gains(rules)
    _prove_counters(rules)
    _prove_maxima(rules)
    _prove_unit_prices(rules)
    _prove_staircases(rules)
    _prove_benefits(rules)
    _prove_controls(rules)
    _prove_postings(rules)
    _prove_limits(rules)
    _prove_declarations(rules)
