"""Kontrol: the checks of the counters, the law's own and those beside it."""

import sys
from collections.abc import Iterator

from refusion_assets.assets.kontrol import calculated, none_of
from refusion_assets.assets.wiring import Asked
from refusion_assets.domain.kontrol import Outcome


def _counters(asked: Asked) -> Iterator[tuple[str, int]]:
    """SQL for the spells of each counter of people calculated in the run, and the fewest free weeks to start over."""
    yield calculated(asked, "duration.forloeb"), min(entry.uger for entry in asked.place.rules.genoptjening)
    for own in asked.place.rules.taellere:
        name = own.id.replace("'", "''")
        spells = calculated(asked, "duration.forloeb_taeller")
        yield f"(FROM {spells} WHERE taeller_id = '{name}')", own.genoptjening_uger or sys.maxsize


def uger_talt_een_gang(asked: Asked) -> Outcome:
    """No person-week counted twice, none left out between the first and the last week with support."""
    queries = [
        f"""SELECT borger_id FROM (SELECT borger_id, fra_uge,
        lag(fra_uge + CAST(7 * antal_uger AS INTEGER)) OVER (PARTITION BY borger_id ORDER BY fra_uge) AS forrige_slut
        FROM {spells}) WHERE forrige_slut IS NOT NULL AND fra_uge <> forrige_slut"""
        for spells, _ in _counters(asked)
    ]
    return none_of(asked.session, "Hver borgeruge er talt een gang", " UNION ALL ".join(queries))


def taeller_stiger_med_een(asked: Asked) -> Outcome:
    """The number n rises by one a week of benefit, and begins again only when enough free weeks are reached."""
    queries = [
        f"""SELECT borger_id FROM (
        SELECT *, lag(n_foer + CASE WHEN art = 'A' THEN antal_uger ELSE 0 END) OVER w AS ventet,
               lag(genoptjent) OVER w AS efter_genoptjening,
               sum(CASE WHEN taeller THEN antal_uger ELSE 0 END) OVER (
                   PARTITION BY borger_id, taelling ORDER BY fra_uge) AS frie
        FROM {spells} WINDOW w AS (PARTITION BY borger_id ORDER BY fra_uge))
        WHERE (genoptjent AND frie < {uger})
           OR (n_foer <> CASE WHEN efter_genoptjening THEN 0 ELSE coalesce(ventet, 0) END
               AND NOT (n_foer = 0 AND art = 'A'))"""
        for spells, uger in _counters(asked)
    ]
    return none_of(asked.session, "Ydelsestælleren stiger med een om ugen", " UNION ALL ".join(queries))
