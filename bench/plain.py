"""The second calculation for the people of the month's sample: seconds per person, printed as JSON."""

import json
import sys
import time
from pathlib import Path

from refusion_assets.assets.checks.sample import efterregning_enig
from refusion_assets.assets.gate import Asked
from refusion_assets.domain.calendar import month_of
from refusion_assets.place import REPOSITORY, Place


def main(root: Path, month: str) -> None:
    """Seconds per person, and how many people the month's calculation looked at."""
    place = Place(root, REPOSITORY / "rules")
    with place.warehouse.open() as session:
        begin = time.perf_counter()
        outcome = efterregning_enig(Asked(session, place, month_of(month)))
        seconds = time.perf_counter() - begin
        people = session.value(
            "SELECT count(DISTINCT borger_id) FROM refusion.aendret WHERE maaned = $m", m=month_of(month)
        )
    assert outcome.bestaaet, outcome.tekst
    print(json.dumps({"sekunder_pr_borger": seconds / outcome.tal["borgere"], "borgere": people}))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
