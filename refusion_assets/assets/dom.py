"""Dom: the verdict on every line that is not used, in one pass but for the few lines that others can touch."""

from dataclasses import dataclass
from datetime import date

import polars as pl

from refusion_assets.assets.change import listed
from refusion_assets.domain.krav import CLAIM, KARANTAENE, VERDICT, judge_set, not_used
from refusion_assets.warehouse import Session

LINES_PER_BUCKET = 400_000
IDS_PER_SWEEP = 20_000_000
LINE = (
    "fil_id",
    "linje",
    "art",
    "indberetning_id",
    "reference_id",
    "pligt_se",
    "kommunekode_betaler",
    "borger_id",
    "ydelse_id",
    "konto",
    "kilde_id",
    "periode_start",
    "periode_slut",
    "beloeb_oere",
    "regel",
)
COLUMNS = ", ".join(f"l.{name}" for name in LINE)
# The id that decides a line's verdict: of a reversal the report it points at, else the line's own.
DECIDING = "CASE WHEN l.art = 'T' THEN l.reference_id ELSE l.indberetning_id END"
TO_JUDGE = f"""SELECT {COLUMNS}, m.fil_orden,
    CASE WHEN {DECIDING} IS NOT NULL THEN hash({DECIDING}) END AS noegle
    FROM {{lines}} l JOIN maalet m USING (fil_id)"""
ALL_LINES, TOUCHED_LINES = "classified.linje", "roert_linje"


@dataclass(frozen=True)
class Scope:
    """What is judged anew: everything, or what new and withdrawn lines can touch.

    `lines` is its SQL relation, and `among` the table that holds every line that can decide it.
    """

    everything: bool
    lines: str
    among: str


def choose(session: Session, month: date, *, again: bool) -> Scope:
    """What must be judged anew, with the files of the month and the ids concerned in temporary tables."""
    session.run(
        """CREATE OR REPLACE TEMP TABLE maalet AS
        SELECT fil_id, row_number() OVER (ORDER BY modtaget_maaned, foerste_modtaget NULLS FIRST, filnavn) AS fil_orden
        FROM raw.fil WHERE NOT dublet AND modtaget_maaned <= $month""",
        month=month,
    )
    if again:
        session.run("DELETE FROM classified.grundlag")
    if session.value("SELECT count(*) = 0 FROM classified.grundlag"):
        session.run("DELETE FROM classified.dom")
        return Scope(everything=True, lines=f"({TO_JUDGE.format(lines=ALL_LINES)})", among=ALL_LINES)
    session.run("DELETE FROM classified.dom WHERE fil_id NOT IN (SELECT fil_id FROM maalet)")
    _touch(session)
    session.run(f"""CREATE OR REPLACE TEMP TABLE doemmes AS
        SELECT * FROM ({TO_JUDGE.format(lines=TOUCHED_LINES)})
        SEMI JOIN (SELECT hash(id) AS noegle FROM beroerte_id) USING (noegle)
        UNION ALL SELECT * FROM ({TO_JUDGE.format(lines="rullet")})
        WHERE noegle IS NULL AND fil_id NOT IN (SELECT fil_id FROM classified.grundlag)""")
    session.run("DELETE FROM classified.dom d USING doemmes n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
    return Scope(everything=False, lines="doemmes", among=TOUCHED_LINES)


def _touch(session: Session) -> None:
    """The ids (`beroerte_id`), lines (`roert_linje`) and claims (`beroerte_krav`) that new and gone lines touch."""
    files = session.frame("""SELECT fil_id FROM maalet ANTI JOIN classified.grundlag USING (fil_id)
        UNION ALL SELECT fil_id FROM classified.grundlag ANTI JOIN maalet USING (fil_id)""")
    session.run(f"""CREATE OR REPLACE TEMP TABLE rullet AS
        SELECT * FROM classified.linje WHERE fil_id IN ({listed(files["fil_id"])})
        UNION ALL SELECT * FROM classified.udgaaet""")
    session.run("""CREATE OR REPLACE TEMP TABLE beroerte_id AS SELECT id FROM (
            SELECT indberetning_id AS id FROM rullet UNION SELECT reference_id FROM rullet WHERE art = 'T')
        WHERE id IS NOT NULL""")
    # Found by the ids alone, and only then fetched whole: the two columns of text are read faster without the others.
    session.run(f"""CREATE OR REPLACE TEMP TABLE {TOUCHED_LINES} AS SELECT * FROM {ALL_LINES} WHERE rowid IN (
            SELECT rowid FROM {ALL_LINES} WHERE indberetning_id IN (FROM beroerte_id)
            UNION ALL SELECT rowid FROM {ALL_LINES} WHERE art = 'T' AND reference_id IN (FROM beroerte_id))""")
    key = ", ".join(CLAIM)
    session.run(f"""CREATE OR REPLACE TEMP TABLE beroerte_krav AS SELECT DISTINCT {key} FROM (
            SELECT {key} FROM {TOUCHED_LINES} l JOIN beroerte_id b ON l.indberetning_id = b.id
            WHERE l.art = 'I' AND l.regel IS NULL
            UNION ALL SELECT {key} FROM rullet WHERE art = 'I' AND regel IS NULL)""")


def judge_reports(session: Session, scope: Scope) -> None:
    """New verdicts (`classified.dom`) on those of the chosen lines that are not used, but for EI-010.

    A report that no reversal points at and that lies in one file is judged by its own row rule; only the rest
    is handed to the kernel. The rows put in here have the key of `classified.linje`, so it is proved there.
    """
    _find_doubtful(session, scope)
    session.run(f"""INSERT INTO classified.dom
        SELECT fil_id, linje, '{KARANTAENE}', regel, false, CASE WHEN art IS DISTINCT FROM 'T' THEN beloeb_oere END
        FROM {scope.lines} ANTI JOIN tvivl_id USING (noegle) WHERE regel IS NOT NULL""")
    for bucket, buckets in _doubtful_lines(session, scope):
        linjer = session.frame(f"""SELECT {COLUMNS}, l.fil_orden, bool_or(l.afgoeres) AS afgoeres
            FROM tvivl_linje l WHERE l.noegle % {buckets} = {bucket} GROUP BY ALL""")
        mine = linjer.filter("afgoeres").select("fil_id", "linje")
        session.insert("classified.dom", not_used(judge_set(linjer).join(mine, on=["fil_id", "linje"], how="semi")))


def _find_doubtful(session: Session, scope: Scope) -> None:
    """The ids (`tvivl_id`, as hashes) that a reversal points at, or that reports in several files share.

    Two ids with the same hash only send a report to the kernel that need not have been there.
    """
    session.run(f"""CREATE OR REPLACE TEMP TABLE tvivl_id AS
        SELECT noegle FROM {scope.lines} WHERE art = 'T' AND noegle IS NOT NULL""")
    lines = int(session.value(f"SELECT count(*) FROM {scope.lines}"))  # type: ignore[call-overload]
    sweeps = 1 + lines // IDS_PER_SWEEP
    for sweep in range(sweeps):
        session.run(f"""INSERT INTO tvivl_id SELECT noegle FROM {scope.lines}
            WHERE art = 'I' AND noegle % {sweeps} = {sweep} GROUP BY noegle HAVING min(fil_id) <> max(fil_id)""")


def _doubtful_lines(session: Session, scope: Scope) -> list[tuple[int, int]]:
    """The lines of doubtful ids (`tvivl_linje`), and the buckets of them: number, and how many there are.

    Reversals that bear such an id are needed to judge by, even where their own verdict is not asked for.
    """
    session.run(f"""CREATE OR REPLACE TEMP TABLE tvivl_linje AS
        SELECT *, true AS afgoeres FROM {scope.lines} SEMI JOIN tvivl_id USING (noegle)
        UNION ALL
        SELECT {COLUMNS}, m.fil_orden, hash(l.indberetning_id), false
        FROM {scope.among} l JOIN maalet m USING (fil_id)
        SEMI JOIN tvivl_id t ON hash(l.indberetning_id) = t.noegle
        WHERE l.art = 'T' AND l.indberetning_id IS NOT NULL""")
    lines = int(session.value("SELECT count(*) FROM tvivl_linje"))  # type: ignore[call-overload]
    buckets = 1 + lines // LINES_PER_BUCKET
    return [(bucket, buckets) for bucket in range(buckets)]


def quarantined(session: Session) -> pl.DataFrame:
    """One row per rule that has lines in quarantine: regel, antal, oere; by rule."""
    return session.frame(f"""SELECT regel, count(*) AS antal, coalesce(sum(beloeb_oere), 0)::BIGINT AS oere
        FROM classified.dom WHERE status = '{KARANTAENE}' GROUP BY 1 ORDER BY 1""")


def put_verdicts(session: Session, verdicts: pl.DataFrame) -> None:
    """Verdicts in place of those the same lines had."""
    with session.lending("nye_domme", verdicts.select("fil_id", "linje")):
        session.run("DELETE FROM classified.dom d USING nye_domme n WHERE d.fil_id = n.fil_id AND d.linje = n.linje")
    session.insert("classified.dom", not_used(verdicts.select(VERDICT)))
