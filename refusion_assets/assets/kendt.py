"""Kendt: which raw files each run knew, as they were then, so that the run can be made again."""

from datetime import date

from refusion_assets.warehouse import Session

# The files a run rests on, as it read them, less those that an earlier run knew the same way.
NEW_TO_THE_RUN = """
INSERT INTO opgoerelse.kendt_fil (maaned, sti, sha256)
SELECT $month, sti, nu.sha256 FROM (
    SELECT sti, sha256 FROM raw.fil WHERE modtaget_maaned <= $month
    UNION ALL SELECT sti, sha256 FROM raw.register WHERE modtaget_maaned <= $month) nu
FULL JOIN (FROM opgoerelse.kendt_fil WHERE maaned < $month
    QUALIFY row_number() OVER (PARTITION BY sti ORDER BY maaned DESC) = 1) foer USING (sti)
WHERE nu.sha256 IS DISTINCT FROM foer.sha256"""
KNOWN = """
SELECT sti, sha256 FROM (FROM opgoerelse.kendt_fil WHERE maaned <= $month
    QUALIFY row_number() OVER (PARTITION BY sti ORDER BY maaned DESC) = 1)
WHERE sha256 IS NOT NULL ORDER BY sti"""


def record_known(session: Session, month: date) -> None:
    """What run `month` knows otherwise than the runs before it (`opgoerelse.kendt_fil`), in place of an earlier try."""
    session.run("DELETE FROM opgoerelse.kendt_fil WHERE maaned = $month", month=month)
    session.run(NEW_TO_THE_RUN, month=month)


def known_files(session: Session, month: date) -> dict[str, str]:
    """The raw files that run `month` knew: path under `raw/`, and sha256."""
    return dict(session.frame(KNOWN, month=month).iter_rows())
