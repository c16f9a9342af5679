"""Udrulning: the plan taken in use, the municipalities that a run settles, and the steps that people approve."""

import getpass
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from refusion_assets import figures
from refusion_assets.assets.raw.let_pass import refuse_number
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.contract import kinds_of
from refusion_assets.domain.faelles.udrulning import (
    FILE,
    FORBEREDT,
    GAMMEL_LUKKET,
    I_DRIFT,
    KONVERTERET,
    LEAST_GAP,
    SETTLING,
    STIKPROEVE_OK,
    TILSTANDE,
    Godkendelse,
    KommuneUdrulning,
    by_wave,
    excused,
    in_operation,
    other_plan,
    taken,
)
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.stop import Stop
from refusion_assets.domain.wording import plural
from refusion_assets.partitions import KINDS, OWNER, of_table
from refusion_assets.place import Place
from refusion_assets.rulebook.load import rollout
from refusion_assets.store.session import Session

if TYPE_CHECKING:
    from matplotlib.figure import Figure

FROM_STATE = {STIKPROEVE_OK: KONVERTERET, I_DRIFT: STIKPROEVE_OK, GAMMEL_LUKKET: I_DRIFT}
OPTION = {STIKPROEVE_OK: "--stikproeve", I_DRIFT: "--drift", GAMMEL_LUKKET: "--lukket"}
SAID = {
    FORBEREDT: "forberedt",
    KONVERTERET: "konverteret",
    STIKPROEVE_OK: "stikprøve godkendt",
    I_DRIFT: "i drift",
    GAMMEL_LUKKET: "den gamle lukket",
}
# How far the old system's files of a municipality are read, and the differences of its sample.
CONVERTED = "SELECT til, beregnet, forskelle FROM faelles.konvertering WHERE kommunekode = $kode"
# The number of their rows that are not used, and of files without a row.
UNREAD = """SELECT (SELECT count(*) FROM faelles.ubehandlet WHERE kommunekode = $kode),
    (SELECT count(*) FROM faelles.konverteringsfil WHERE kommunekode = $kode AND raekker = 0)"""
CLOSED = """SELECT count(*) FROM opgoerelse.kommune k JOIN opgoerelse.koersel r USING (koersel)
    WHERE k.kommunekode = $kode AND r.status = 'lukket'"""


def state_of(session: Session) -> pl.DataFrame:
    """The roll-out (`KommuneUdrulning`); no rows without a plan."""
    names = ", ".join(KommuneUdrulning.to_schema().columns)
    return session.frame(f"SELECT {names} FROM faelles.udrulning ORDER BY ALL")


def settling(session: Session, place: Place, month: date) -> list[str]:
    """The municipalities that run `month` settles, in the order of the rules: those in operation, all without a plan.

    Source: `udrulning.toml`, once it is taken (`take_plan`).
    """
    rows = state_of(session)
    koder = in_operation(rows, month)
    return [kode for kode in place.rules.koder if rows.is_empty() or kode in koder]


def not_yet(session: Session, place: Place, month: date) -> set[str]:
    """The municipalities that run `month` does not settle, as they are not yet in operation."""
    return set(place.rules.koder) - set(settling(session, place, month))


def not_awaited(session: Session, month: date, senders: Iterable[tuple[str, str]]) -> set[tuple[str, str]]:
    """The senders (source, unit) that are not missed in a month, as their municipality is not yet in operation."""
    rows = state_of(session)
    return set() if rows.is_empty() else excused(rows, month, senders)


def refuse_other_plan(session: Session, place: Place) -> None:
    """Stop if the plan on the disk is not the one in use. A run that is made again follows the one in use."""
    if place.kept:
        return
    if odd := other_plan(state_of(session), rollout(place.rules_folder, place.rules)):
        more = f" og {len(odd) - 3} mere" if len(odd) > 3 else ""
        raise Stop(
            f"planen i {FILE} er ikke den, der er i brug ({', '.join(odd[:3])}{more}); se den med refusion udrul plan "
            "--proev, og tag den i brug med refusion udrul plan"
        )


def repeat_plan(session: Session, rows: pl.DataFrame) -> None:
    """Put the roll-out of another data root in this one, so that its runs can be made again."""
    session.replace("faelles.udrulning", rows)


def plan_lines(session: Session, place: Place, *, take: bool) -> Iterator[str]:
    """The waves of the plan on the disk, a line each; with `take` it is put in use.

    Stop if it cannot be: a municipality in operation is moved or gone, or would no longer be settled.
    """
    plan = rollout(place.rules_folder, place.rules)
    rows, faults = taken(state_of(session), plan)
    settled = set(session.frame("SELECT DISTINCT kommunekode FROM opgoerelse.kommune")["kommunekode"])
    if back := sorted({kode for kode, *_, tilstand in rows if kode in settled and tilstand not in SETTLING}):
        faults.append(
            f"{', '.join(back[:3])}{f' og {len(back) - 3} mere' if len(back) > 3 else ''} er allerede opgjort her"
        )
    if faults:
        raise Stop(f"{FILE}: {'; '.join(faults)}; en kommune i drift bliver, hvor den er")
    if not plan:
        yield f"{FILE} har ingen plan: alle kommuner er i drift."
    for (kilde, boelge, maaned), antal in Counter((one.kilde, one.boelge, one.maaned) for one in plan).items():
        koder = [one.kommunekode for one in plan if (one.kilde, one.boelge) == (kilde, boelge)]
        name = f"Pilot {boelge}" if boelge < 3 else f"Bølge {boelge}"
        yield f"{name} {kilde} {maaned:%Y-%m}: {plural(antal, 'kommune', 'kommuner')} ({', '.join(koder)})"
    if not take:
        return
    session.replace("faelles.udrulning", pl.DataFrame(rows, schema=kinds_of(KommuneUdrulning), orient="row"))
    yield f"Planen er i brug: {plural(len({one.kommunekode for one in plan}), 'kommune', 'kommuner')}."


def step(session: Session, kode: str, kilde: str, tilstand: str, begrundelse: str, maaned: date | None = None) -> None:
    """Store that a municipality has come to a state with a source system, who said so, and when."""
    session.run(
        """UPDATE faelles.udrulning SET tilstand = $tilstand, maaned = coalesce($maaned, maaned)
        WHERE kommunekode = $kode AND kilde = $kilde""",
        tilstand=tilstand, maaned=maaned, kode=kode, kilde=kilde,
    )  # fmt: skip
    row = {
        "nr": session.integer("SELECT count(*) + 1 FROM faelles.godkendelse"),
        "kommunekode": kode,
        "kilde": kilde,
        "tilstand": tilstand,
        "tidspunkt": datetime.now(UTC).replace(tzinfo=None, microsecond=0),
        "bruger": getpass.getuser(),
        "begrundelse": begrundelse.strip(),
    }
    session.insert("faelles.godkendelse", pl.DataFrame([row], schema=kinds_of(Godkendelse)))


def approve(
    session: Session, place: Place, koder: Sequence[str], kilde: str, tilstand: str, begrundelse: str
) -> Iterator[str]:
    """Take municipalities one step on to `tilstand`; a line each. Without `kilde`, for the only source of the plan.

    A sample with differences, rows that were not used, files without rows, and the closing of the old system need a
    reason. A municipality comes into operation in its planned month or later (`_month`). Stop at the first that cannot,
    with nothing changed.
    """
    refuse_number(begrundelse)
    rows = state_of(session)
    kilder = rows["kilde"].unique().sort().to_list()
    if rows.is_empty():
        raise Stop("ingen plan er i brug; skriv den i udrulning.toml, og tag den i brug med refusion udrul plan")
    if kilde and kilde not in kilder:
        raise Stop(f"planen har ikke kilden {kilde}; den har {', '.join(kilder)}")
    if not kilde and len(kilder) > 1 and tilstand != STIKPROEVE_OK:
        raise Stop(f"planen har flere kilder; skriv, hvilken det gælder, med --kilde ({', '.join(kilder)})")
    for kode in koder:
        mine = {row["kilde"]: row for row in rows.filter(pl.col("kommunekode") == kode).iter_rows(named=True)}
        if not mine:
            raise Stop(f"{kode} står ikke i planen")
        ready = [k for k, row in mine.items() if row["tilstand"] == FROM_STATE[tilstand] and kilde in ("", k)]
        if not ready:
            stands = ", ".join(f"{k} er {SAID[row['tilstand']]}" for k, row in mine.items() if kilde in ("", k))
            raise Stop(f"{kode} kan ikke blive {SAID[tilstand]}: {stands}, ikke {SAID[FROM_STATE[tilstand]]}")
        for one in ready:
            month = _month(session, place, kode, one, mine) if tilstand == I_DRIFT else None
            _refuse_step(session, kode, tilstand, begrundelse)
            step(session, kode, one, tilstand, begrundelse, month)
            later = f" fra kørsel {month:%Y-%m}" if month else ""
            moved = f" (planlagt {mine[one]['maaned']:%Y-%m})" if month and month != mine[one]["maaned"] else ""
            yield f"{kode} {place.rules.kommunenavne[kode]}, {one}: {SAID[tilstand]}{later}{moved}"


def _refuse_step(session: Session, kode: str, tilstand: str, begrundelse: str) -> None:
    """Stop if a step lacks what it rests on: a sample drawn, a reason, or a closed run of the municipality."""
    if tilstand == STIKPROEVE_OK:
        [(_, drawn, forskelle)] = session.frame(CONVERTED, kode=kode).rows() or [(None, False, 0)]
        if not drawn:
            raise Stop(f"{kode} har ingen stikprøve; træk den med refusion konverter {kode}")
        [(rows, files)] = session.frame(UNREAD, kode=kode).rows()
        counted = {("forskel i stikprøven", "forskelle i stikprøven"): forskelle,
                   ("række, der ikke er brugt", "rækker, der ikke er brugt"): rows,
                   ("fil uden rækker", "filer uden rækker"): files}  # fmt: skip
        if (found := [plural(n, *words) for words, n in counted.items() if n]) and not begrundelse.strip():
            raise Stop(
                f"{kode} har {', '.join(found)}; se dem i udrulning/{kode}, og skriv med --begrundelse, hvorfor det "
                "kan godkendes"
            )
    if tilstand == GAMMEL_LUKKET:
        if not begrundelse.strip():
            raise Stop(f"skriv med --begrundelse, hvem der har lukket adgangen til {kode}s gamle system, og hvornår")
        if not session.integer(CLOSED, kode=kode):
            raise Stop(f"{kode} er ikke opgjort i nogen lukket kørsel endnu; den gamle adgang lukkes til sidst")


def _month(session: Session, place: Place, kode: str, kilde: str, mine: Mapping[str, dict[str, Any]]) -> date:
    """The first month in operation with a source system; Stop if files are not converted.

    It lies after the last run, `LEAST_GAP` months after another source system, and right after the last file.
    """
    last = session.day("SELECT max(maaned) FROM opgoerelse.koersel")
    others = [row for name, row in mine.items() if name != kilde]
    earliest: list[date] = [
        mine[kilde]["maaned"],
        *(next_month(row["maaned"], LEAST_GAP) for row in others if _on(row)),
    ]
    if last:
        earliest.append(next_month(last))
    if not all(map(_on, others)):
        return max(earliest)
    [(til, *_)] = session.frame(CONVERTED, kode=kode).rows()
    month: date = max(*earliest, next_month(til))
    if next_month(til) != month:
        numbers = run_number(next_month(til), place.rules), run_number(month, place.rules) - 1
        missing = " til ".join(f"{nr:04d}" for nr in sorted({*numbers}))
        raise Stop(
            f"{kode} kommer i drift i {month:%Y-%m}, men det gamle systems filer er kun læst til og med {til:%Y-%m}; "
            f"læs fil {missing} med refusion konverter {kode}, og få stikprøven godkendt"
        )
    return month


def _on(row: dict[str, Any]) -> bool:
    return row["tilstand"] in SETTLING


# Municipalities that wait for a sample to be approved though it has differences.
WAITING = """SELECT DISTINCT u.kommunekode, k.forskelle FROM faelles.udrulning u JOIN faelles.konvertering k
    USING (kommunekode) WHERE u.tilstand = 'konverteret' AND k.forskelle > 0 ORDER BY 1"""


def standing(session: Session, place: Place) -> Iterator[str]:
    """How far the roll-out has come: a line per wave and source system, and one per municipality that waits for us."""
    rows = state_of(session)
    if rows.is_empty():
        yield "Ingen plan er i brug: alle kommuner er i drift."
    for kilde, boelge, first, counts in by_wave(rows):
        told = ", ".join(f"{counts[one]} {SAID[one]}" for one in TILSTANDE if counts[one])
        yield f"{kilde} bølge {boelge}, {first:%Y-%m}: {plural(counts.total(), 'kommune', 'kommuner')}: {told}"
    navne, after = place.rules.kommunenavne, {KONVERTERET: STIKPROEVE_OK, STIKPROEVE_OK: I_DRIFT}
    for kode, kilde, _, maaned, tilstand in rows.filter(pl.col("tilstand").is_in(list(after))).iter_rows():
        mine = {row["kilde"]: row for row in rows.filter(pl.col("kommunekode") == kode).iter_rows(named=True)}
        after_this = f"næste skridt: refusion udrul godkend {kode} --kilde {kilde} {OPTION[after[tilstand]]}"
        try:
            if tilstand == STIKPROEVE_OK:
                _month(session, place, kode, kilde, mine)
        except Stop as reason:
            after_this = f"den venter: {reason}"
        yield f"  {kode} {navne.get(kode, kode)}, {kilde}, {maaned:%Y-%m} er {SAID[tilstand]}; {after_this}"


def table_of(rows: pl.DataFrame) -> str:
    """The roll-out as a table in Markdown: a line per source system and wave, with the number in each state."""
    lines = [
        [kilde, boelge, f"{first:%Y-%m}", *(counts[one] for one in TILSTANDE)]
        for kilde, boelge, first, counts in by_wave(rows)
    ]
    return figures.table(["Kilde", "Bølge", "Første måned", *(SAID[one].capitalize() for one in TILSTANDE)], lines, 3)


def plot_of(rows: pl.DataFrame) -> str:
    """The municipalities in operation over time (SVG): by the plan as it stands, and those that have begun."""
    last = rows.group_by("kommunekode").agg(pl.col("maaned").max(), pl.col("tilstand").is_in(SETTLING).all())
    months = sorted(set(last["maaned"].to_list()))

    def draw(figure: "Figure") -> None:
        axes = figure.subplots(gridspec_kw={"left": 0.08, "right": 0.98, "bottom": 0.3, "top": 0.88})
        for name, part in (("planlagt", last), ("i drift", last.filter(pl.col("tilstand")))):
            heights = [part.filter(pl.col("maaned") <= month).height for month in months]
            axes.step(range(len(months)), heights, where="post", label=name)
        axes.set_xticks(range(len(months)), [f"{month:%Y-%m}" for month in months], rotation=60)
        axes.set(title="Kommuner, der opgøres her", ylim=(0, last.height + 1))
        axes.legend(frameon=False)

    return figures.plot(draw, 7, 3)


def build() -> list[dg.AssetsDefinition]:
    """The roll-out as it stands, for people to look at; it changes nothing."""
    from refusion_assets.assets.gate import POOL, stopping  # noqa: PLC0415  the gate asks this module

    @dg.asset(
        key=["faelles", "udrulning"],
        group_name="faelles",
        owners=[OWNER],
        kinds=KINDS,
        metadata=of_table("faelles.udrulning"),
        pool=POOL,
        check_specs=[
            dg.AssetCheckSpec(
                "stikproeve_enig",
                asset=["faelles", "udrulning"],
                description="Ingen konverteret kommune har forskelle i sin stikprøve, som ingen har godkendt.",
            )
        ],
    )
    def udrulning(place: dg.ResourceParam[Place]) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        """One row per municipality and source system of the plan: wave, month and state; a table and a plot of them.

        The commands `refusion udrul` and `refusion konverter` write it. Without a plan there is no row.
        """
        with stopping(), place.warehouse.open() as session:
            rows, waiting = state_of(session), session.frame(WAITING).rows()
        shown: dict[str, Any] = {"dagster/row_count": rows.height}
        if rows.height:
            text = f"{table_of(rows)}\n\n{figures.image('Kommuner, der opgøres her', plot_of(rows))}"
            shown["boelger"] = dg.MetadataValue.md(text)
        yield dg.MaterializeResult(metadata=shown)
        said = ", ".join(f"{kode} ({forskelle})" for kode, forskelle in waiting)
        yield dg.AssetCheckResult(
            check_name="stikproeve_enig",
            passed=not waiting,
            severity=dg.AssetCheckSeverity.WARN,
            description=f"Stikprøver med forskelle venter på en godkendelse: {said}" if waiting else "Ingen venter.",
        )

    return [udrulning]
