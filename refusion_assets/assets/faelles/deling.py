"""Deling: the agreements on shared costs shared out, by rules and by the measured use of the instance."""

from collections.abc import Callable
from datetime import date

import dagster as dg
import polars as pl

from refusion_assets.assets.faelles.driftspris import look_ups
from refusion_assets.assets.gate import stopping
from refusion_assets.domain.calendar import month_of
from refusion_assets.domain.faelles.aftale import Aftale, Maal, Post
from refusion_assets.domain.faelles.deling import Deling, shared
from refusion_assets.domain.stop import Stop
from refusion_assets.figures import image
from refusion_assets.files.delivered import report_files
from refusion_assets.partitions import OWNER
from refusion_assets.place import Place
from refusion_assets.report.economy import heading, sharing_plot, sharing_tables, write_sharing
from refusion_assets.rulebook.load import agreements

DELING = dg.AssetKey(["faelles", "deling"])
SETTLED = """SELECT kommunekode, sum(raekker)::BIGINT AS antal FROM opgoerelse.kommune
JOIN opgoerelse.koersel USING (koersel) WHERE maaned BETWEEN $fra AND $til GROUP BY 1"""
LIVED = """SELECT kommunekode, count(*) AS antal FROM (SELECT nr, min(kommunekode) AS kommunekode
FROM refusion.tilstand JOIN opslaaet USING (borger_id, maaned) GROUP BY 1) GROUP BY 1"""
Counted = dict[str, int]


def share_out(place: Place, aftale: Aftale) -> Deling:
    """An agreement shared out; its use is measured in the data root, in the copy that no run holds up."""
    used = {
        (post.navn, kode): antal
        for post in aftale.poster
        if post.maal
        for kode, antal in MEASURED[post.maal](place, post).items()
    }
    return shared(aftale, place.rules.kommuner, used)


def _months(post: Post) -> tuple[date, date]:
    """The first and the last month that a use is measured in; all where the post names none."""
    return (post.fra or date.min).replace(day=1), (post.til or date.max).replace(day=1)


def _settled(place: Place, post: Post) -> Counted:
    """The settled rows of each municipality in the runs of some months."""
    if not place.warehouse.is_published():
        return {}
    fra, til = _months(post)
    with place.warehouse.reading() as session:
        return dict(session.frame(SETTLED, fra=fra, til=til).rows())


def _look_ups(place: Place, post: Post) -> Counted:
    """The look-ups of citizens in some calendar months, by where the citizen lived in the month looked at."""
    fra, til = _months(post)
    asked = [
        (entry["borger_id"], month_of(said))
        for begun, entry in look_ups(place)
        if entry.get("borger_id") is not None
        and (said := entry.get("maaned") or entry.get("viden_til"))
        and fra <= begun.date().replace(day=1) <= til
    ]
    if not asked or not place.warehouse.is_published():
        return {}
    looks = pl.DataFrame(asked, schema={"borger_id": pl.Int64, "maaned": pl.Date}, orient="row").with_row_index("nr")
    with place.warehouse.reading() as session, session.lending("opslaaet", looks):
        return dict(session.frame(LIVED).rows())


def _deliveries(place: Place, post: Post) -> Counted:
    """The files of reports that each municipality's own systems delivered in some months."""
    fra, til = _months(post)
    kommunale = {kilde.id for kilde in place.rules.kilder if kilde.art == "kommunal"}
    found = Counted()
    for _, name, month in report_files(place.raw, til, place.rules):
        if name["kilde"] in kommunale and month >= fra:
            found[name["enhed"]] = found.get(name["enhed"], 0) + 1
    return found


MEASURED: dict[Maal, Callable[[Place, Post], Counted]] = {
    "raekker": _settled,
    "opslag": _look_ups,
    "leverancer": _deliveries,
}


def build() -> list[dg.AssetsDefinition]:
    """The bills of every agreement; asked for, never part of a critical week."""

    @dg.asset(key=DELING, group_name="faelles", kinds={"csv"}, owners=[OWNER])
    def deling(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """Hvad hver part betaler efter aftalerne i deling.toml: en regning for hver part og post, der giver totalen.

        Regningerne og et plot pr. aftale ligger i mappen faelles i dataroden. Forbruget er målt i den udgivne kopi.
        Hverken kladden eller resultaterne røres. Se docs/faelles/deling.md.
        """
        folder = place.root / "faelles"
        metadata: dict[str, dg.MetadataValue] = {}
        with stopping():
            fresh = place.reread()
            for aftale in agreements(fresh.rules_folder, fresh.rules):
                try:
                    found = share_out(fresh, aftale)
                except Stop as reason:
                    metadata[aftale.id] = dg.MetadataValue.md(f"Kan ikke deles endnu: {reason}")
                    continue
                files = write_sharing(found, folder)
                context.log.info("%s: %s", heading(found), ", ".join(path.name for path in files))
                # The plots of hours would only make the event of this run larger.
                plot = sharing_plot(found) if aftale.enhed == "kroner" else ""
                parts = [heading(found), *(one.markdown() for one in sharing_tables(found))]
                metadata[aftale.id] = dg.MetadataValue.md(
                    "\n\n".join([*parts, *([image("plot", plot)] if plot else [])])
                )
        return dg.MaterializeResult(metadata={**metadata, "mappe": dg.MetadataValue.path(str(folder))})

    return [deling]
