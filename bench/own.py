"""Our month without Dagster: what the assets and the checks do, one after the other, in one process."""

import json
import sys
import time
from pathlib import Path

from refusion_assets.assets.checks import asset
from refusion_assets.assets.checks.quality import quality
from refusion_assets.assets.classified import classify_through
from refusion_assets.assets.gate import Asked, gate
from refusion_assets.assets.opgoerelse import settle_month
from refusion_assets.assets.outgoing import filer_er_kladden, show, write_files
from refusion_assets.assets.raw.registers import ingest_registers
from refusion_assets.assets.raw.reports import ingest
from refusion_assets.assets.refusion import calculate
from refusion_assets.domain.calendar import month_of
from refusion_assets.place import REPOSITORY, Place
from refusion_assets.store.publish import publish


def main(root: Path, month: str) -> None:
    """The month run in `root`; prints the seconds of each step as JSON."""
    place, first = Place(root, REPOSITORY / "rules"), month_of(month)
    koder = place.rules.koder
    took: dict[str, float] = {}

    def clocked(name: str, begin: float) -> None:
        took[name] = took.get(name, 0) + time.perf_counter() - begin

    def step(name: str, work: object, *arguments: object) -> object:
        begin = time.perf_counter()
        with place.warehouse.open() as session:
            result = work(session, place, first, *arguments)  # type: ignore[operator]
        clocked(name, begin)
        return result

    def ask(*after: str) -> None:
        begin = time.perf_counter()
        mine = [look for look in asset.looks(place.rules) if look.after in after]
        names = {check.name for look in mine for check in look.checks}
        with place.warehouse.open() as session:
            asset.keep_evidence(session, first, list(asset.ask(Asked(session, place, first), mine, names)))
        clocked("kontrol", begin)

    step("gate", gate)
    step("indlæs", ingest)
    step("indlæs", ingest_registers)
    step("klassificér", classify_through)
    step("kontrol", quality)
    ask("raw.register", "classified.krav")
    step("tæl og beregn", calculate, lambda _: None)
    ask("duration.forloeb", "refusion.borger_uge_ydelse")
    step("opgør", settle_month, koder)
    ask("opgoerelse.postering")
    outgoing = step("filer", write_files)
    begin = time.perf_counter()
    with place.warehouse.open() as session:
        filer_er_kladden(session, outgoing, gate(session, place, first), place.rules)  # type: ignore[arg-type]
    clocked("kontrol", begin)
    begin = time.perf_counter()
    show(place, first, outgoing)  # type: ignore[arg-type]
    clocked("filer", begin)
    begin = time.perf_counter()
    publish(place.warehouse)
    clocked("udgiv", begin)
    print(json.dumps(took))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
