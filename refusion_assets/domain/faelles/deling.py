"""Understands how a cost is shared: exact bills that sum to the total, and the rounded prices of a printed table."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import round_half_away
from refusion_assets.domain.contract import Contract, kinds_of
from refusion_assets.domain.faelles.aftale import (
    WHOLE,
    Aftale,
    Deltager,
    Maal,
    Part,
    Post,
    agreement_faults,
    amount_of,
    of_group,
    participants,
    units,
)
from refusion_assets.domain.rules.entries import Kommune
from refusion_assets.domain.stop import Stop

Weight = int | Fraction
Used = Mapping[tuple[str, str], int]
"""The measured use, by post and municipality."""
MEASURES: dict[Maal, str] = {
    "raekker": "afregnede rækker",
    "opslag": "opslag om borgere",
    "leverancer": "leverede filer",
}


class Regning(Contract, key=["part", "post"]):
    """One row per party and post of an agreement: its part of the post, exact and as a table prints it."""

    aftale: pl.String = pa.Field(description="id of the agreement, as in deling.toml")
    part: pl.String = pa.Field(description="code of the municipality, or name of another party")
    navn: pl.String = pa.Field(description="name of the party")
    gruppe: pl.String = pa.Field(description="side of the party; empty where the agreement has none")
    indbyggertal: pl.Int64 = pa.Field(ge=1, nullable=True, description="inhabitants of the party")
    post: pl.String = pa.Field(description="part of the cost")
    andel: pl.Int64 = pa.Field(ge=0, description="exact part: øre, or whole hours")
    trykt: pl.Int64 = pa.Field(ge=0, description="part rounded alone: øre of whole kroner, or whole hours")


@dataclass(frozen=True)
class Klassepris:
    """A class of a post by size, as a table prints it: parties, inhabitants, pct., the class's part, and each one's.

    `promille`: the percentage in tenths.
    """

    navn: str
    antal: int
    indbyggere: int
    promille: int
    klassens: int
    hver: int


@dataclass(frozen=True)
class Deling:
    """An agreement shared out: its parties, the amount of each post, and each party's part of it, in that order.

    `trykte` and `i_alt_trykt`: the part of each post, and of all together, each rounded alone from the unrounded part.
    """

    aftale: Aftale
    parter: tuple[Deltager, ...]
    beloeb: tuple[int, ...]
    andele: tuple[tuple[int, ...], ...]
    trykte: tuple[tuple[int, ...], ...]
    i_alt_trykt: tuple[int, ...]

    @property
    def total(self) -> int:
        """The whole cost, in øre or hours."""
        return sum(self.beloeb)

    @property
    def priser(self) -> dict[str, int]:
        """The price of each party in all, by its id; together they are the total."""
        return {one.id: sum(post[i] for post in self.andele) for i, one in enumerate(self.parter)}

    def rows(self) -> pl.DataFrame:
        """The bills, as `Regning` has them."""
        cells = [
            (self.aftale.id, one.id, one.navn, one.gruppe, one.indbyggertal, post.navn, exact[i], printed[i])
            for i, one in enumerate(self.parter)
            for post, exact, printed in zip(self.aftale.poster, self.andele, self.trykte, strict=True)
        ]
        schema: dict[str, Any] = kinds_of(Regning)
        return Regning.validate(pl.DataFrame(cells, schema=schema, orient="row"))


def largest_remainder(total: int, weights: Sequence[Weight]) -> list[int]:
    """A total (>= 0) in whole units, shared by weights so that nothing is lost.

    Each gets its whole units; what is left goes one by one to the largest remainders, the first of equal ones. Not all
    weights may be zero.
    """
    together = Fraction(sum(weights))
    exact = [total * Fraction(weight) / together for weight in weights]
    whole = [share.numerator // share.denominator for share in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: whole[i] - exact[i])
    for i in by_rest[: total - sum(whole)]:
        whole[i] += 1
    return whole


def half_up(value: Fraction, unit: int = 1) -> int:
    """A value rounded alone to the nearest multiple of `unit`, half up, as a printed table has it."""
    share = value / unit
    # Hours times inhabitants do not fit in 64 bits.
    numbers = (np.array([number], dtype=object) for number in (share.numerator, share.denominator))
    return unit * int(round_half_away(*numbers)[0])


def shared(aftale: Aftale, kommuner: Sequence[Kommune], used: Used | None = None) -> Deling:
    """An agreement without faults shared out. Stop where nothing is measured of a use that it shares by."""
    parter = participants(aftale, kommuner)
    unit = 1 if aftale.enhed == "timer" else 100
    amounts = amounts_of(aftale)
    exact, whole = list[tuple[int, ...]](), list[list[Fraction]]()
    unrounded = zip(aftale.poster, unrounded_amounts(aftale), strict=True)
    for (post, amount), parts in zip(unrounded, _together(aftale, amounts, parter, used or {}), strict=True):
        mine = of_group(parter, post.gruppe)
        alone = dict(zip([one.id for one in mine], _fractions(post, mine, used or {}), strict=True))
        exact.append(tuple(parts.get(one.id, 0) for one in parter))
        whole.append([amount * alone.get(one.id, Fraction(0)) for one in parter])
    printed = tuple(tuple(half_up(share, unit) for share in shares) for shares in whole)
    together = tuple(half_up(Fraction(sum(shares)), unit) for shares in zip(*whole, strict=True))
    return Deling(aftale, tuple(parter), tuple(amounts), tuple(exact), printed, together)


def _together(
    aftale: Aftale, amounts: Sequence[int], parter: Sequence[Deltager], used: Used
) -> Iterator[dict[str, int]]:
    """The whole part of each party in each post, by its id; posts that are shared alike are rounded as one.

    The part of a party in all of them is rounded once, and then cut into the posts in turn.
    """
    kinds = [replace(post, navn="", beloeb="", procent=None, linjer=()) for post in aftale.poster]
    left = dict[Post, list[int]]()
    for kind, post, amount in zip(kinds, aftale.poster, amounts, strict=True):
        mine = of_group(parter, post.gruppe)
        if kind not in left:
            alike = sum(other for its, other in zip(kinds, amounts, strict=True) if its == kind)
            left[kind] = _exact(post, mine, alike, used)
        parts = largest_remainder(amount, left[kind]) if amount else [0] * len(mine)
        left[kind] = [rest - part for rest, part in zip(left[kind], parts, strict=True)]
        yield dict(zip([one.id for one in mine], parts, strict=True))


def amounts_of(aftale: Aftale) -> list[int]:
    """The amount of each post, in whole øre or hours; together they are the total."""
    return largest_remainder(units(aftale.total, aftale.enhed) or 0, unrounded_amounts(aftale))


def unrounded_amounts(aftale: Aftale) -> list[Fraction]:
    """The amount of each post, in øre or hours; a post in per cent is rarely a whole number of them."""
    total = units(aftale.total, aftale.enhed) or 0
    percents = [post.procent for post in aftale.poster]
    if None not in percents:
        return [Fraction(total * (percent or 0), WHOLE) for percent in percents]
    named = [amount_of(post, aftale.enhed) for post in aftale.poster]
    return [Fraction(total if amount is None or named == [0] else amount) for amount in named]


def class_prices(deling: Deling) -> dict[str, list[Klassepris]]:
    """The printed table of each post that is shared by size, by the name of the post."""
    unit = 1 if deling.aftale.enhed == "timer" else 100
    found = {}
    for post, amount in zip(deling.aftale.poster, unrounded_amounts(deling.aftale), strict=True):
        if post.noegle == "stoerrelse":
            mine = of_group(deling.parter, post.gruppe)
            found[post.navn] = list(_class_prices(post, mine, amount, unit))
    return found


def _class_prices(post: Post, parter: Sequence[Deltager], amount: Fraction, unit: int) -> list[Klassepris]:
    weights = _class_weights(post, parter)
    together = sum(weights)
    prices = []
    for klasse, weight in zip(post.klasser, weights, strict=True):
        inside = [one.indbyggertal or 0 for one in parter if klasse.holds(one.indbyggertal or 0)]
        part = amount * Fraction(weight, together)
        each = half_up(part / len(inside), unit) if inside else 0
        tenths = half_up(Fraction(1000 * weight, together))
        prices.append(Klassepris(klasse.navn, len(inside), sum(inside), tenths, half_up(part, unit), each))
    return prices


def _class_weights(post: Post, parter: Sequence[Deltager]) -> list[int]:
    """The weight of each class of a post: its own, or its inhabitants."""
    return [
        sum(one.indbyggertal or 0 for one in parter if klasse.holds(one.indbyggertal or 0))
        if klasse.andel is None
        else klasse.andel
        for klasse in post.klasser
    ]


def _exact(post: Post, parter: Sequence[Deltager], amount: int, used: Used) -> list[int]:
    """The whole part of each party in a post; fixed shares are whole before they are shared within a group."""
    if post.noegle != "faste_andele":
        return largest_remainder(amount, _weights(post, parter, used))
    parts = dict[str, int]()
    for one, share in zip(post.andele, largest_remainder(amount, [a.andel for a in post.andele]), strict=True):
        inside = [party for party in parter if (one.gruppe and party.gruppe == one.gruppe) or party.id == one.part]
        within = largest_remainder(share, _plain(one.noegle if one.gruppe else "lige", inside))
        parts |= dict(zip([party.id for party in inside], within, strict=True))
    return [parts[party.id] for party in parter]


def _fractions(post: Post, parter: Sequence[Deltager], used: Used) -> list[Fraction]:
    """The part of each party in a post, unrounded; together they are one."""
    weights = _weights(post, parter, used)
    together = Fraction(sum(weights))
    return [weight / together for weight in weights]


def _weights(post: Post, parter: Sequence[Deltager], used: Used) -> list[Weight]:
    """The weight of each party in a post, in order; Stop where a measured use is zero for everybody."""
    if post.noegle == "stoerrelse":
        of_class: list[Weight] = [Fraction(0)] * len(parter)
        for klasse, weight in zip(post.klasser, _class_weights(post, parter), strict=True):
            inside = [i for i, one in enumerate(parter) if klasse.holds(one.indbyggertal or 0)]
            for i in inside:
                of_class[i] = Fraction(weight, len(inside))
        return of_class
    if post.noegle == "forbrug":
        given = {use.part: use.antal for use in post.forbrug}
        said = [given.get(one.id, 0) if given else used.get((post.navn, one.id), 0) for one in parter]
        if post.maal and not any(said):
            raise Stop(
                f"posten {post.navn} deles efter {MEASURES[post.maal]}, og der er ikke målt nogen for aftalens parter; "
                "kør en måned først, ret fra og til, eller skriv forbrug i deling.toml"
            )
        return list(said)
    if post.noegle == "faste_andele":
        return [_fixed(post, one, parter) for one in parter]
    return _plain(post.noegle, parter)


def _plain(noegle: str | None, parter: Sequence[Deltager]) -> list[Weight]:
    """The weight of each party where all share alike, or by inhabitants."""
    return [1 if noegle == "lige" else one.indbyggertal or 0 for one in parter]


def _fixed(post: Post, one: Deltager, parter: Sequence[Deltager]) -> Fraction:
    """The weight of a party that has a fixed share, alone or within its group."""
    share = next(a for a in post.andele if a.part == one.id or (a.gruppe and a.gruppe == one.gruppe))
    if share.part:
        return Fraction(share.andel)
    inside = of_group(parter, share.gruppe)
    weights = _plain(share.noegle, inside)
    return share.andel * Fraction(weights[inside.index(one)]) / Fraction(sum(weights))


def with_others(aftale: Aftale, koder: Sequence[str], kommuner: Sequence[Kommune]) -> Aftale:
    """The agreement where these municipalities take part in place of its own; the other parties stay.

    Those that are out are out of its given use and fixed shares too. A new one is on the side of the municipalities.
    Stop where the agreement cannot stand then.
    """
    before = {one.id: one for one in participants(aftale, kommuner) if one.kommune}
    sides = sorted({one.gruppe for one in before.values()})
    new = [kode for kode in koder if kode not in before]
    if new and len(sides) > 1:
        raise Stop(
            f"{aftale.id}: kommunerne er i grupperne {' og '.join(map(repr, sides))}, så det er ikke sagt, hvor "
            f"{new[0]} hører til; skriv den i deling.toml"
        )
    others = tuple(part for part in aftale.parter if part.navn)
    stay = [
        Part(kommunekode=one.id, indbyggertal=one.indbyggertal, gruppe=one.gruppe)
        for one in before.values()
        if one.id in koder
    ]
    here = replace(aftale, parter=(*stay, *(Part(kommunekode=kode, gruppe="".join(sides)) for kode in new), *others))
    left = participants(here, kommuner)
    changed = replace(here, poster=tuple(_within(post, left) for post in aftale.poster))
    if fault := next(agreement_faults([changed], kommuner), None):
        raise Stop(f"med de kommuner kan aftalen ikke stå: {fault}")
    return changed


def _within(post: Post, parter: Sequence[Deltager]) -> Post:
    """A post without the use and the shares of those that take no part."""
    known, sides = {one.id for one in parter}, {one.gruppe for one in parter if one.gruppe}
    return replace(
        post,
        forbrug=tuple(one for one in post.forbrug if one.part in known),
        andele=tuple(one for one in post.andele if one.part in known or one.gruppe in sides),
    )


@dataclass(frozen=True)
class Aendring:
    """The price of a party before and after others join or leave; None where it takes no part."""

    part: Deltager
    foer: int | None
    efter: int | None

    @property
    def forskel(self) -> int:
        """After less before, with nothing for no part."""
        return (self.efter or 0) - (self.foer or 0)


def compared(before: Deling, after: Deling) -> list[Aendring]:
    """Every party of either sharing: those of the first in their order, then the new ones."""
    known = {one.id: one for one in (*before.parter, *after.parter)}
    return [Aendring(one, before.priser.get(name), after.priser.get(name)) for name, one in known.items()]
