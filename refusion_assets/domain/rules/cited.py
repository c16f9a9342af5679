"""Understands the source of a rule: its paragraph, where it was seen, when, and how sure we are."""

from dataclasses import dataclass
from datetime import date


@dataclass(frozen=True, kw_only=True)
class Cited:
    """Where an entry comes from and how sure we are; required on every entry."""

    hjemmel: str
    kilde: str
    kontrolleret: date
    sikkerhed: str
