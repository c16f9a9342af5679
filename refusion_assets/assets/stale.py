"""Regelgrundlag: the rules each benefit month was calculated under, and the months and money that an edit moves."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets import figures
from refusion_assets.domain.calendar import monday, month_range, next_month
from refusion_assets.domain.rules.change import (
    OF_RUNS,
    Change,
    as_ranges,
    changes,
    emne_of,
    first_month,
    months_touched,
    run_changes,
    undeclared,
)
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import kroner_text, plural
from refusion_assets.partitions import names_of_benefits
from refusion_assets.place import Place, archive, keep_rules, topics_of
from refusion_assets.rulebook.load import TOPICS
from refusion_assets.store.session import Session, among

BASIS = "SELECT maaned, regelversion FROM refusion.regelgrundlag ORDER BY maaned"
BEFORE_THE_TABLE = "SELECT maaned, regelversion FROM refusion.beregnet"
# People with days in the weeks to do again, and people with a benefit whose entry has changed. Unsettled amounts are
# summed by person, so all the person's weeks are calculated.
PEOPLE = f"""SELECT borger_id, $since::DATE AS dag FROM classified.krav
    WHERE periode_slut >= $since::DATE OR {among("ydelse_id", "ydelser")}"""
LAST_CLOSED = """SELECT maaned, regelversion FROM opgoerelse.koersel
    WHERE status = 'lukket' OR maaned < $before ORDER BY maaned DESC LIMIT 1"""


@dataclass(frozen=True)
class Stale:
    """The months, weeks and benefits that the rules in force make out of date.

    The benefit months in order, the Monday of the first week that can differ, and the benefits with a changed entry.
    Empty if no number and no paragraph of a row can differ.
    """

    maaneder: list[date]
    fra_uge: date | None
    ydelser: list[str]


def _basis(session: Session, place: Place) -> dict[str, list[date]]:
    """The benefit months by the rules they were last calculated under."""
    rows = session.frame(BASIS).rows()
    if not rows:
        first = place.rules.optaelling.gaelder_fra.replace(day=1)
        rows = [(m, v) for last, v in session.frame(BEFORE_THE_TABLE).iter_rows() for m in month_range(first, last)]
    found: dict[str, list[date]] = {}
    for month, version in rows:
        found.setdefault(version, []).append(month)
    return found


def changed_since(place: Place, version: str) -> list[Change] | None:
    """The changes from the rules of a version to those in force; None if the older ones were not kept."""
    before = topics_of(place, version)
    return None if before is None else changes(before, place.rules.emner)


def stale(session: Session, place: Place) -> Stale:
    """The months and weeks to calculate again so that the rows are those of the rules in force.

    Rules that were not kept cannot be compared with: then all of their months, and every benefit.
    """
    months: set[date] = set()
    weeks: list[date] = []
    ydelser: set[str] = set()
    for version, mine in _basis(session, place).items():
        changed = changed_since(place, version)
        if changed is None:
            months, weeks, ydelser = months | set(mine), [*weeks, monday(mine[0])], {*place.rules.ydelse_ids}
            continue
        for change in changed:
            touched = months_touched([change], mine)
            if touched:
                months |= set(touched)
                weeks.append(max(monday(change.fra), monday(touched[0])))
                ydelser |= {change.post} if change.emne == "ydelser" else set()
    return Stale(sorted(months), min(weeks, default=None), sorted(ydelser))


def remember_basis(session: Session, place: Place, since: date | None, through: date) -> None:
    """From the month of `since` the months rest on the rules in force, which are kept; earlier ones as before."""
    keep_rules(place)
    known = {month: version for version, mine in _basis(session, place).items() for month in mine}
    months = month_range(place.rules.optaelling.gaelder_fra.replace(day=1), through)
    again = since.replace(day=1) if since else date.max
    version = place.rules.version
    rows = [(month, version if month >= again else known.get(month, version)) for month in months]
    schema = {"maaned": pl.Date, "regelversion": pl.String}
    session.replace("refusion.regelgrundlag", pl.DataFrame(rows, schema=schema, orient="row"))


def refuse_undeclared(session: Session, place: Place, before: date) -> None:
    """Stop if the rules in force change a closed run without a declaration; runs before `before` count as closed.

    Compares with the rules of the last closed run. Declared: a new entry of `tilbagevirkning` for the topic, from its
    first month or earlier. Hjemmel: none, technical; a closed run is never changed (output.md section 2).
    """
    reasons = list(_undeclared(session, place, before))
    if reasons:
        more = f" (og {plural(len(reasons) - 1, 'ændring', 'ændringer')} mere)" if len(reasons) > 1 else ""
        raise Stop(f"{reasons[0]}{more}")


def refuse_other_rules(session: Session, place: Place, month: date) -> None:
    """Stop if the result rows are not those of the rules in force."""
    old = stale(session, place).maaneder
    if old:
        raise Stop(
            f"reglerne er ændret, siden {month:%Y-%m} blev beregnet (forældet: {as_ranges(old)}); kør måneden forfra"
        )


def _undeclared(session: Session, place: Place, before: date) -> Iterator[str]:
    """The reasons against the rules in force: a sentence for each change that reaches back without a declaration."""
    for closed, version in session.frame(LAST_CLOSED, before=before).iter_rows():
        then = topics_of(place, version)
        if then is None:
            yield (
                f"reglerne er ændret siden kørsel {closed:%Y-%m}, og dens regler er ikke gemt, så det ikke kan ses, "
                f"hvad ændringen rører; læg deres filer i {archive(place).name}/{version}"
            )
            continue
        now = place.rules.emner
        every = [*changes(then, now), *run_changes(then, now)]
        found = {(c.emne, c.post): c for c in reversed(undeclared(every, closed, then, now))}
        for change in sorted(found.values(), key=lambda c: (c.emne, c.post)):
            yield _reason(change, place, closed)


def _reason(change: Change, place: Place, closed: date) -> str:
    """The entry that reaches back, the month it reaches to, and what to do."""
    first = first_month(change)
    emne = emne_of(change.emne, place.rules.emner.get(change.emne, ()))
    instead = f"lad ændringen gælde fra {next_month(closed)}" if emne.dated else "tag ændringen tilbage"
    touched = "kørsler" if change.emne in OF_RUNS else "ydelsesmåneder"
    return (
        f"{entry_of(change)} er ændret og rører {touched} fra {first:%Y-%m}, men kørsler til og med "
        f'{closed:%Y-%m} er lukket; skriv en post i tilbagevirkning.toml med emne = "{change.emne}", '
        f"fra = {first} og en begrundelse, eller {instead}"
    )


def entry_of(change: Change) -> str:
    """The file and the entry of a change."""
    file = TOPICS[change.emne][0] if change.emne in TOPICS else "reglerne"
    return f"{file}, {change.emne} {change.post}".rstrip()


def touched_in_words(place: Place) -> tuple[list[str], list[str]]:
    """The months and changes that the rules in force touch, as lines; and the reasons to refuse them, if any.

    Nothing where nothing has been calculated. The warehouse is only read.
    """
    if not place.warehouse.path.exists():
        return [], []
    with place.warehouse.watching() as session:
        if not session.has("refusion.regelgrundlag"):
            return [], []
        old = stale(session, place)
        known = [changed_since(place, version) or () for version in _basis(session, place)]
        changed = {_said(change) for some in known for change in some}
        refused = list(_undeclared(session, place, date.min))
        coming = [] if refused else list(_undeclared(session, place, date.max))
    if not old.maaneder:
        return ["Ingen beregnet ydelsesmåned rammes af reglerne, som de er nu."], refused
    wait = ["Kør den åbne måned igen under reglerne, eller erklær ændringen, før næste måned køres."] if coming else []
    return [f"Forældede ydelsesmåneder: {as_ranges(old.maaneder)}", *sorted(changed), *wait], refused


def _said(change: Change) -> str:
    """One change as a line: entry, the days it touches, and whether it moves a number."""
    until = f" til {change.til}" if change.til else ""
    return f"  {entry_of(change)}: fra {change.fra}{until}{'' if change.tal else ' (kun hjemmel)'}"


def sums(session: Session, first: date, last: date) -> pl.DataFrame:
    """The net refusion of some benefit months by municipality and benefit: kommunekode, ydelse_id, oere."""
    return session.frame(
        """SELECT kommunekode, ydelse_id, sum(refusion_oere - medfinansiering_oere)::BIGINT AS oere
        FROM refusion.tilstand WHERE maaned BETWEEN $first AND $last GROUP BY 1, 2""",
        first=first,
        last=last,
    )


def moved_money(before: pl.DataFrame, after: pl.DataFrame) -> pl.DataFrame:
    """The difference of two `sums`, net to the municipality: kommunekode, ydelse_id, oere; only those that moved."""
    both = before.join(after, on=["kommunekode", "ydelse_id"], how="full", coalesce=True, suffix="_nu").fill_null(0)
    moved = both.select("kommunekode", "ydelse_id", oere=pl.col("oere_nu") - pl.col("oere"))
    return moved.filter(pl.col("oere") != 0).sort("kommunekode", "ydelse_id")


def difference(moved: pl.DataFrame, rules: Rulebook) -> Iterator[str]:
    """A line for each municipality and each benefit that `moved_money` names, and one for all of them."""
    if moved.is_empty():
        yield "Ingen forskel."
        return
    navne = rules.kommunenavne
    by_kommune = moved.group_by("kommunekode").agg(pl.col("oere").sum()).sort("kommunekode")
    for kode, oere in by_kommune.iter_rows():
        yield f"  {kode} {navne.get(kode, kode):<24}{kroner_text(oere):>24}"
    ydelser = names_of_benefits(rules)
    by_ydelse = moved.group_by("ydelse_id").agg(pl.col("oere").sum()).sort("ydelse_id")
    width = max(map(len, by_ydelse["ydelse_id"])) + 1
    yield "Efter ydelse:"
    for ydelse, oere in by_ydelse.iter_rows():
        yield f"  {ydelse:<{width}}{ydelser.get(ydelse, ydelse)[:46]:<47}{kroner_text(oere):>24}"
    yield f"Forskel, netto til kommunerne: {kroner_text(int(moved['oere'].sum()))}"


def as_metadata(moved: pl.DataFrame, rules: Rulebook) -> dict[str, dg.MetadataValue]:
    """The difference in the UI: the lines of `difference`, and a table by municipality and benefit."""
    navne = rules.kommunenavne
    rows = [(f"{k} {navne.get(k, k)}", y, kroner_text(oere)) for k, y, oere in moved.iter_rows()]
    said = "\n".join(f"    {line}" for line in difference(moved, rules))
    return {
        "forskel": dg.MetadataValue.md(said),
        "forskel_tabel": dg.MetadataValue.md(figures.table(["Kommune", "Ydelse", "Forskel"], rows, 2)),
    }
