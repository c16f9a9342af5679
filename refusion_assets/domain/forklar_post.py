"""Understands which entry of `rules/` something rests on, as it is shown."""

from dataclasses import dataclass
from datetime import date

from refusion_assets.domain.rules import Genoptjening
from refusion_assets.domain.rules_cited import Cited


@dataclass(frozen=True, kw_only=True)
class Post:
    """The entry of `rules/` that something rests on."""

    fil: str
    id: str
    gaelder_fra: date
    hjemmel: str
    kilde: str
    kontrolleret: date
    sikkerhed: str


def entry(cited: Cited, fil: str, name: str, gaelder_fra: date) -> Post:
    """An entry of the rules with file, name and source."""
    return Post(
        fil=fil,
        id=name,
        gaelder_fra=gaelder_fra,
        hjemmel=cited.hjemmel,
        kilde=cited.kilde,
        kontrolleret=cited.kontrolleret,
        sikkerhed=cited.sikkerhed,
    )


def restart_entry(rule: Genoptjening) -> Post:
    """The entry that says what starting over takes. § 6, stk. 1."""
    return entry(rule, "optaelling.toml", "genoptjening", rule.gaelder_fra)
