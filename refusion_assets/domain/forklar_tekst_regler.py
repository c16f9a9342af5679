"""Understands how the entries of the rules are pointed at in a text, and listed once at its end."""

from collections.abc import Iterator

from refusion_assets.domain.forklar_post import Post
from refusion_assets.domain.forklar_udtryk import day
from refusion_assets.domain.forklaring import Forklaring


def paragraph(post: Post) -> str:
    """The paragraph of an entry."""
    return post.hjemmel


def where(post: Post) -> str:
    """Where an entry stands in the rules."""
    return f"{post.fil}, {post.id} fra {day(post.gaelder_fra)}"


def rulings(sag: Forklaring) -> list[str]:
    """The entries that the explanation rests on, each once, with source and how sure we are."""
    posts = sorted(set(_posts(sag)), key=lambda p: (p.fil, p.id, p.gaelder_fra))
    if not posts:
        return []
    return ["", "REGLERNE", *(line for post in posts for line in _entry(post))]


def _posts(sag: Forklaring) -> Iterator[Post]:
    """Every entry that is pointed at."""
    if sag.svar == "ukendt_borger":
        return
    yield sag.optaelling
    if sag.forfra:
        yield sag.forfra.post
    for uge in sag.uger:
        if uge.genoptjening:
            yield uge.genoptjening.post
        for row in uge.raekker:
            yield from (post for post in (row.post, row.overgang, *(o.post for o in row.over_loft)) if post)
        yield from (bidrag.post for bidrag in uge.fleksbidrag if bidrag.post)


def _entry(post: Post) -> Iterator[str]:
    """One entry."""
    yield f"  {where(post)}: {post.hjemmel}"
    yield f"    {post.kilde}, kontrolleret {day(post.kontrolleret)}: {post.sikkerhed}."
