"""Understands an agreement on a shared cost: who shares it, what is shared, and what makes an agreement impossible."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from itertools import pairwise
from typing import Literal

from refusion_assets.domain.rules.cited import Cited
from refusion_assets.domain.rules.entries import Kommune
from refusion_assets.domain.wording import thousands

FILE, EMNE = "deling.toml", "aftale"
Enhed = Literal["kroner", "timer"]
Noegle = Literal["indbyggere", "stoerrelse", "forbrug", "faste_andele", "lige"]
Maal = Literal["raekker", "opslag", "leverancer"]
ID, CODE = re.compile("[a-z0-9]+(-[a-z0-9]+)*"), re.compile("[0-9]{3}")
AMOUNT = re.compile(r"(-?)(\d{1,3}(?:\.\d{3})+|\d+)(?:,(\d{2}))?", re.ASCII)
MOST_DIGITS, MOST_PARTIES, WHOLE = 12, 1000, 100


@dataclass(frozen=True, kw_only=True)
class Part:
    """Parties of an agreement: one municipality, those of a region, all, or others with a name.

    `antal` others are known by one name and by the inhabitants of all together. `gruppe`: the side they are on. The
    inhabitants of a municipality are those of `kommuner.csv`, if the agreement does not name those of another year.
    """

    kommunekode: str = ""
    region: str = ""
    alle: bool = False
    navn: str = ""
    indbyggertal: int | None = None
    antal: int | None = None
    gruppe: str = ""


@dataclass(frozen=True, kw_only=True)
class Klasse:
    """A class of parties by inhabitants, both bounds included. `andel`: its weight, in place of its inhabitants."""

    navn: str
    fra: int | None = None
    til: int | None = None
    andel: int | None = None

    def holds(self, indbyggertal: int) -> bool:
        """True if a party of so many inhabitants is in the class."""
        return (self.fra or 0) <= indbyggertal and (self.til is None or indbyggertal <= self.til)


@dataclass(frozen=True, kw_only=True)
class Forbrug:
    """The use of a party, in any unit."""

    part: str
    antal: int


@dataclass(frozen=True, kw_only=True)
class Andel:
    """The fixed weight of a party, or of a group that shares its part by `noegle`, else by inhabitants."""

    part: str = ""
    gruppe: str = ""
    andel: int
    noegle: Literal["indbyggere", "lige"] | None = None


@dataclass(frozen=True, kw_only=True)
class Linje:
    """A line of a budget that is shared with the others of its post."""

    navn: str
    beloeb: str


@dataclass(frozen=True, kw_only=True)
class Post:
    """A part of the cost, and the key it is shared by; by the parties of `gruppe` alone, if it is named."""

    navn: str
    noegle: Noegle
    beloeb: str = ""
    procent: int | None = None
    linjer: tuple[Linje, ...] = ()
    gruppe: str = ""
    klasser: tuple[Klasse, ...] = ()
    maal: Maal | None = None
    fra: date | None = None
    til: date | None = None
    forbrug: tuple[Forbrug, ...] = ()
    andele: tuple[Andel, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Aftale(Cited):
    """An entry `[[aftale]]`: parties that share a total, in kroner or hours, by one or more posts."""

    id: str
    navn: str
    enhed: Enhed
    total: str
    parter: tuple[Part, ...]
    poster: tuple[Post, ...]
    note: str = ""


@dataclass(frozen=True)
class Deltager:
    """One party: the code of a municipality or the name of another, its name, inhabitants, and side."""

    id: str
    navn: str
    indbyggertal: int | None
    gruppe: str = ""
    kommune: bool = False


def units(text: str, enhed: Enhed) -> int | None:
    """An amount in øre, or in whole hours; None if the text is none."""
    said = AMOUNT.fullmatch(text)
    if not said or (enhed == "timer" and said[3]):
        return None
    whole = int(said[2].replace(".", ""))
    amount = whole if enhed == "timer" else whole * 100 + int(said[3] or 0)
    return -amount if said[1] else amount


def participants(aftale: Aftale, kommuner: Sequence[Kommune]) -> list[Deltager]:
    """The parties of an agreement, one by one: each entry in turn, the municipalities of an entry by their code."""
    ordered = sorted(kommuner, key=lambda k: k.kommunekode)
    return [one for part in aftale.parter for one in _of_entry(part, ordered)]


def _of_entry(part: Part, kommuner: Sequence[Kommune]) -> Iterator[Deltager]:
    if part.navn:
        antal, alle = part.antal or 1, part.indbyggertal
        for number in range(1, antal + 1):
            # The first ones have the inhabitants that cannot be shared equally.
            mine = None if alle is None else (alle + antal - number) // antal
            yield Deltager(part.navn if antal == 1 else f"{part.navn} {number}", part.navn, mine, part.gruppe)
        return
    for one in kommuner:
        if part.alle or one.kommunekode == part.kommunekode or one.region == part.region:
            mine = part.indbyggertal or one.indbyggertal
            yield Deltager(one.kommunekode, one.navn, mine, part.gruppe, kommune=True)


def amount_of(post: Post, enhed: Enhed) -> int | None:
    """The amount that a post names, or that its lines make together; None if it names none, or one is unreadable."""
    named = [units(text, enhed) for text in ([line.beloeb for line in post.linjer] or [post.beloeb])]
    return None if None in named else sum(filter(None, named))


def of_group(parter: Iterable[Deltager], gruppe: str) -> list[Deltager]:
    """The parties on a side; all of them where no side is named."""
    return [one for one in parter if not gruppe or one.gruppe == gruppe]


def agreement_faults(aftaler: Sequence[Aftale], kommuner: Sequence[Kommune]) -> Iterator[str]:
    """A sentence in Danish, with entry and remedy, for each thing that makes an agreement of the file impossible."""
    for number, aftale in enumerate(aftaler):
        where = f"{FILE}, {aftale.id}"
        if not ID.fullmatch(aftale.id):
            yield f"{FILE}, {EMNE}, post {number + 1}: id = '{aftale.id}': skriv små bogstaver a-z, cifre og bindestreg"
        if aftale.id in {other.id for other in aftaler[:number]}:
            yield f"{where}: står to gange; giv den ene aftale et andet id"
        yield from (f"{where}: {fault}" for fault in _faults(aftale, kommuner))


def _faults(aftale: Aftale, kommuner: Sequence[Kommune]) -> Iterator[str]:
    """The faults of one agreement; what is wrong with the parties comes first, as the posts speak of them."""
    yield from _of_amounts(aftale)
    wrong = False
    for number, part in enumerate(aftale.parter, 1):
        for fault in _of_party(part, kommuner):
            wrong = True
            yield f"parter, nr. {number}: {fault}"
    if wrong:
        return
    parter = participants(aftale, kommuner)
    twice = [name for name, count in Counter(one.id.casefold() for one in parter).items() if count > 1]
    if not parter:
        yield "parter er tom; nævn mindst een"
    if len(parter) > MOST_PARTIES:
        yield f"parter: {len(parter)} er flere end {MOST_PARTIES}"
    if twice:
        known = {one.id.casefold(): one for one in parter}
        yield f"parter: {_named(known[twice[0]])} er med to gange; behold den ene"
    if len({post.navn.casefold() for post in aftale.poster}) < len(aftale.poster):
        yield "poster: to har samme navn; giv den ene et andet"
    for post in aftale.poster:
        yield from (f"posten {post.navn}: {fault}" for fault in _of_post(post, parter))


def _named(one: Deltager) -> str:
    return f"{one.id} {one.navn}" if one.kommune else one.id


def _of_amounts(aftale: Aftale) -> Iterator[str]:
    """The faults of total, posts and lines as amounts."""
    form = "hele timer som 7.150" if aftale.enhed == "timer" else "kroner som 5.191.500 eller 5.191.500,00"
    texts = [("total", aftale.total)]
    for post in aftale.poster:
        texts += [(f"posten {post.navn}, beloeb", post.beloeb)] if post.beloeb else []
        texts += [(f"posten {post.navn}, linjen {line.navn}", line.beloeb) for line in post.linjer]
    readable = True
    for name, text in texts:
        amount = units(text, aftale.enhed)
        if amount is None or len(str(abs(amount))) > MOST_DIGITS:
            readable = False
            yield f"{name} = '{text}': er ikke et beløb; skriv {form}"
        elif amount < 0:
            yield f"{name} = '{text}': er under nul; kun en udgift kan deles"
    total = units(aftale.total, aftale.enhed)
    if total == 0:
        yield "total er nul, så der er intet at dele"
    if not aftale.poster:
        yield "poster er tom; skriv mindst een post med en fordelingsnøgle"
    elif readable and total:
        yield from _of_sum(aftale, total)


def _of_sum(aftale: Aftale, total: int) -> Iterator[str]:
    """The faults of the posts beside the total: each names an amount, or each names per cent."""
    for post in aftale.poster:
        yield from (f"posten {post.navn}: {fault}" for fault in _of_size(post))
    ways = ["procent" if p.procent is not None else "beloeb" if p.beloeb or p.linjer else "" for p in aftale.poster]
    if ways == [""]:  # the only post is the total
        return
    if "" in ways:
        yield f"posten {aftale.poster[ways.index('')].navn}: mangler beløb; skriv beloeb, linjer eller procent"
    elif len(set(ways)) > 1:
        yield "poster: nogle har procent og andre beløb; skriv det ens"
    elif ways[0] == "procent":
        if (percent := sum(post.procent or 0 for post in aftale.poster)) != WHOLE:
            yield f"posternes procenter er {percent} i alt og ikke {WHOLE}; ret dem"
    elif off := sum(amount_of(post, aftale.enhed) or 0 for post in aftale.poster) - total:
        unit = "timer" if aftale.enhed == "timer" else "øre"
        less = "mindre" if off < 0 else "mere"
        yield f"posterne er {thousands(abs(off))} {unit} {less} end total i alt; ret posterne eller total"


def _of_size(post: Post) -> Iterator[str]:
    """The faults of how a post says its size."""
    if bool(post.beloeb) + bool(post.linjer) + (post.procent is not None) > 1:
        yield "skriv kun een af beloeb, linjer og procent"
    if post.procent is not None and not 0 <= post.procent <= WHOLE:
        yield f"procent = {post.procent}: skriv et tal fra 0 til {WHOLE}"
    if len({line.navn.casefold() for line in post.linjer}) < len(post.linjer):
        yield "to linjer har samme navn; giv den ene et andet"


def _of_party(part: Part, kommuner: Sequence[Kommune]) -> Iterator[str]:
    """The faults of one entry of parties."""
    ways = [name for name in ("kommunekode", "region", "alle", "navn") if getattr(part, name)]
    if len(ways) != 1:
        instead = f", ikke {' og '.join(ways)}" if ways else ""
        yield f"skriv præcis een af kommunekode, region, alle og navn{instead}"
        return
    if part.kommunekode and part.kommunekode not in {k.kommunekode for k in kommuner}:
        yield f"kommunekode = '{part.kommunekode}': findes ikke i kommuner.csv; skriv en kommunes kode"
    if part.region and part.region not in (regions := {k.region for k in kommuner}):
        yield f"region = '{part.region}': findes ikke i kommuner.csv; de kendte er {', '.join(sorted(regions))}"
    yield from _of_other(part, kommuner) if part.navn else _of_own_numbers(part)


def _of_own_numbers(part: Part) -> Iterator[str]:
    """The faults of the numbers of an entry of municipalities."""
    if part.antal is not None or (part.indbyggertal is not None and not part.kommunekode):
        yield "antal hører til navn, og indbyggertal til navn eller kommunekode; fjern det"
    if part.indbyggertal is not None and part.indbyggertal < 1:
        yield f"indbyggertal = {part.indbyggertal}: skriv mindst 1"


def _of_other(part: Part, kommuner: Sequence[Kommune]) -> Iterator[str]:
    """The faults of an entry of others than municipalities."""
    if CODE.fullmatch(part.navn):
        yield f"navn = '{part.navn}': ligner en kommunes kode; skriv kommunekode"
    if (code := {k.navn.casefold(): k.kommunekode for k in kommuner}.get(part.navn.casefold())) is not None:
        yield f"navn = '{part.navn}': er en kommune; skriv kommunekode = '{code}'"
    antal = 1 if part.antal is None else part.antal
    if not 1 <= antal <= MOST_PARTIES:
        yield f"antal = {antal}: skriv et tal fra 1 til {MOST_PARTIES}"
    elif part.indbyggertal is not None and part.indbyggertal < antal:
        yield f"indbyggertal = {part.indbyggertal}: skriv mindst een indbygger for hver"


# The keys of a post that only one way of sharing reads.
OWN_KEYS: dict[str, tuple[str, ...]] = {
    "stoerrelse": ("klasser",),
    "forbrug": ("maal", "fra", "til", "forbrug"),
    "faste_andele": ("andele",),
}


def _of_post(post: Post, parter: Sequence[Deltager]) -> Iterator[str]:
    """The faults of the sharing of one post."""
    for noegle, keys in OWN_KEYS.items():
        for key in keys if noegle != post.noegle else ():
            if getattr(post, key):
                yield f"{key} hører til noegle = '{noegle}', ikke '{post.noegle}'; fjern den ene"
    mine = of_group(parter, post.gruppe)
    if not mine:
        yield f"gruppe = '{post.gruppe}': ingen part er i den; ret navnet, eller skriv gruppe ved parterne"
    elif post.noegle == "indbyggere":
        yield from _uncounted(mine)
    elif post.noegle in FAULTS:
        yield from FAULTS[post.noegle](post, mine)


def _uncounted(parter: Iterable[Deltager]) -> Iterator[str]:
    if without := [one for one in parter if one.indbyggertal is None]:
        yield f"{without[0].id} har intet indbyggertal, og der deles efter det; skriv det ved parten"


def _of_classes(post: Post, parter: Sequence[Deltager]) -> Iterator[str]:
    """The faults of the classes by size: bounds, overlaps, parties outside, and weights."""
    if not post.klasser:
        yield "klasser mangler; skriv mindst een"
    if len({one.navn.casefold() for one in post.klasser}) < len(post.klasser):
        yield "to klasser har samme navn; giv den ene et andet"
    for one in post.klasser:
        if one.fra is not None and one.til is not None and one.til < one.fra:
            yield f"klassen {one.navn}: til = {one.til} er under fra = {one.fra}"
        if min(one.fra or 0, one.til or 0, one.andel or 0) < 0:
            yield f"klassen {one.navn}: et tal er under nul"
    for one, after in pairwise(sorted(post.klasser, key=lambda k: k.fra or 0)):
        if one.til is None or one.til >= (after.fra or 0):
            yield f"klasserne {one.navn} og {after.navn} overlapper; en grænse er med i begge ender"
        elif one.til + 1 < (after.fra or 0):
            yield f"mellem klasserne {one.navn} og {after.navn} er der et hul; lad dem mødes"
    yield from _uncounted(parter)
    yield from _of_members(post, [one for one in parter if one.indbyggertal is not None])


def _of_members(post: Post, parter: Sequence[Deltager]) -> Iterator[str]:
    """The faults of who is in the classes: a party in none, and a weight that nobody can pay."""
    outside = [p for p in parter if not any(one.holds(p.indbyggertal or 0) for one in post.klasser)]
    if outside:
        size = thousands(outside[0].indbyggertal or 0)
        yield f"{_named(outside[0])} med {size} indbyggere er i ingen klasse; ret grænserne"
    weights = [one.andel for one in post.klasser]
    if None in weights and any(weight is not None for weight in weights):
        yield "nogle klasser har andel og andre ikke; skriv den ved alle eller ingen"
    elif weights and None not in weights and not any(weights):
        yield "alle klassers andel er nul; skriv mindst een over nul"
    for one in post.klasser:
        if one.andel and not any(one.holds(party.indbyggertal or 0) for party in parter):
            yield f"klassen {one.navn} er tom og har andel = {one.andel}; ingen kan betale den"


def _of_use(post: Post, parter: Sequence[Deltager]) -> Iterator[str]:
    """The faults of sharing by use: measured or given, for every party."""
    if bool(post.maal) == bool(post.forbrug):
        yield "skriv enten maal (målt af løsningen selv) eller forbrug (et tal for hver part)"
        return
    if post.fra and post.til and post.til < post.fra:
        yield f"til = {post.til} ligger før fra = {post.fra}"
    if post.maal:
        if not any(one.kommune for one in parter):
            yield f"maal = '{post.maal}': ingen part er en kommune, så intet kan måles; skriv forbrug"
        return
    if post.fra or post.til:
        yield "fra og til hører til maal; fjern dem"
    yield from _once("forbrug", [one.part for one in post.forbrug], [one.id for one in parter])
    if missing := [one for one in parter if one.id not in {use.part for use in post.forbrug}]:
        yield f"forbrug mangler for {_named(missing[0])}; skriv antal = 0, hvis intet er brugt"
    yield from _weights("forbrug", {one.part: one.antal for one in post.forbrug}, "antal")


def _of_shares(post: Post, parter: Sequence[Deltager]) -> Iterator[str]:
    """The faults of fixed shares: every party is in exactly one of them."""
    groups = [one.gruppe for one in post.andele if one.gruppe]
    for number, one in enumerate(post.andele, 1):
        if bool(one.part) == bool(one.gruppe):
            yield f"andele, nr. {number}: skriv enten part eller gruppe"
        if one.part and one.noegle:
            yield f"andele, nr. {number}: noegle hører til gruppe"
        if one.gruppe and (one.noegle or "indbyggere") == "indbyggere":
            yield from _uncounted(of_group(parter, one.gruppe))
    yield from _once("andele", [one.part for one in post.andele if one.part], [one.id for one in parter])
    yield from _once("andele", groups, [one.gruppe for one in parter if one.gruppe], "gruppen ")
    named = {one.part for one in post.andele}
    for party in parter:
        if (party.id in named) + (party.gruppe in groups) != 1:
            twice = party.id in named
            yield f"{_named(party)} er i {'to' if twice else 'ingen'} af andelene; en, der ikke betaler, har andel = 0"
            break
    yield from _weights("andele", {one.part or one.gruppe: one.andel for one in post.andele}, "andel")


def _once(key: str, names: Sequence[str], known: Sequence[str], what: str = "") -> Iterator[str]:
    for name in dict.fromkeys(names):
        if name not in known:
            yield f"{key}: {what}'{name}' er ikke med i aftalen; ret navnet, eller skriv det ved parterne"
        if names.count(name) > 1:
            yield f"{key}: {what}'{name}' står to gange; behold den ene"


def _weights(key: str, weights: Mapping[str, int], word: str) -> Iterator[str]:
    for name, weight in weights.items():
        if weight < 0:
            yield f"{key}: '{name}' har {word} = {weight}; skriv nul eller mere"
    if not any(weights.values()):
        yield f"{key}: alle tal er nul, så intet kan deles; skriv mindst eet over nul"


FAULTS: dict[str, Callable[[Post, Sequence[Deltager]], Iterator[str]]] = {
    "stoerrelse": _of_classes,
    "forbrug": _of_use,
    "faste_andele": _of_shares,
}
