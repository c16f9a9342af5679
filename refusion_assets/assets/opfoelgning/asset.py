"""Opfoelgning as assets: the figures made from the published copy, stored with their checks, and shown to people."""

import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg
import polars as pl

from refusion_assets import figures
from refusion_assets.assets.checks.asset import Check, answer
from refusion_assets.assets.gate import FILER, POOL, run_month, stopping
from refusion_assets.assets.opfoelgning import queries
from refusion_assets.assets.opfoelgning.balances import BALANCES, ERRORS_OF, MOST_TOLD
from refusion_assets.assets.opfoelgning.settled import Basis, basis, cohorts, forget
from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.findings.outcome import ADVARSEL, Outcome
from refusion_assets.domain.opfoelgning.prognose import forecast
from refusion_assets.domain.opfoelgning.targets import NO_BUDGET, BudgetFile, read_budget
from refusion_assets.domain.opfoelgning.views import VIEWS, Ugetal
from refusion_assets.domain.opgoerelse.ledger import run_number
from refusion_assets.domain.stop import Stop, of_the_disk
from refusion_assets.domain.wording import plural
from refusion_assets.partitions import KINDS, MAANED, OWNER, kroner, of_table
from refusion_assets.place import Place
from refusion_assets.report import write as report
from refusion_assets.store.publish import publish
from refusion_assets.store.session import Session
from refusion_assets.store.tables import validate

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GROUP = JOB = "opfoelgning"
GRUNDLAG, RAPPORT = [GROUP, "grundlag"], [GROUP, "rapport"]
UGETAL, BALANCED = "ugetal", "balancer.json"
MADE: dict[str, Callable[[Basis], pl.DataFrame]] = {
    function.__name__: function
    for function in (
        queries.trappe,
        queries.bevaegelser,
        queries.naeste_trin,
        queries.genoptjening,
        queries.sammenlign,
        queries.rettelser,
        queries.sene_uger,
        queries.haengende,
        queries.potentiale,
        queries.langvarige,
        queries.andre_kommuner,
        queries.ugetal,
    )
}
# The numbers of a view that may be added over its rows, as series of its cells. The column tells the bars of its plot.
SERIES: dict[str, tuple[str, tuple[str, ...]]] = {
    "trappe": ("trin", ("egen_oere", "borgeruger")),
    "bevaegelser": ("til", ("borgere", "aendring_oere")),
    "naeste_trin": ("uger_til", ("borgere", "tab_13_uger_oere")),
    "genoptjening": ("spand", ("borgere", "uger_der_falder_ud_13")),
    "prognose": ("frem", ("egen_oere",)),
    "sammenlign": ("gruppe", ("mer_oere",)),
    "rettelser": ("aarsag", ("netto_oere", "borgeruger")),
    "sene_uger": ("maaneder_forsinket", ("borgeruger", "oere_maaneder")),
    "haengende": ("regel", ("antal", "beloeb_oere")),
    "potentiale": ("ydelse_id", ("ved_10_pct_kortere_oere",)),
    "langvarige": ("aar_paa_ydelse", ("borgere", "egen_oere")),
    "andre_kommuner": ("betaler", ("brutto_oere", "borgeruger")),
    "budget": ("konto", ("afvigelse_oere",)),
    "gevinst": ("gevinst_id", ("forskel",)),
}
MOST_BARS = 12


def figures_of(place: Place, month: date) -> tuple[dict[str, pl.DataFrame], dict[str, Outcome]]:
    """Every view of run `month` by name, each under its contract and in the order of its key, and its balance.

    Reads the published copy, so no run waits for it. Stop if the copy has no such run.
    """
    with place.warehouse.reading() as session:
        refuse_unsettled(session, month)
        run = basis(session, place.rules, month)
        views = {name: _proved(name, made(run), run) for name, made in MADE.items()}
        ahead = forecast(cohorts(run), place.rules, month)
        lines = budget_of(place, month)
        made = {
            "prognose": ahead.rows,
            "budget": queries.budget(run, lines.rows, ahead.by_percentage),
            "gevinst": queries.gevinst(run),
        }
        views |= {name: _proved(name, rows, run) for name, rows in made.items()} | {ERRORS_OF: ahead.errors}
        outcomes = {name: balanced(run, views) for name, (balanced, _) in BALANCES.items()}
    if lines.faults:
        outcomes["budget"] = unreadable(lines.faults)
    return views, outcomes


def refuse_unsettled(session: Session, month: date) -> None:
    """Stop if the published copy, which `session` reads, has no run `month`."""
    if not session.value("SELECT count(*) FROM opgoerelse.koersel WHERE maaned = $m", m=month):
        raise Stop(f"{month:%Y-%m} er ikke opgjort og udgivet; kør måneden først")


def budget_of(place: Place, month: date) -> BudgetFile:
    """The budget file of a month's year, `budget/budget-<AAAA>.csv` in the data root; no lines if there is none."""
    path = place.root / "budget" / f"budget-{month.year}.csv"
    if not path.exists():
        return BudgetFile(NO_BUDGET, ())
    try:
        raw = path.read_bytes()
    except OSError as error:
        return BudgetFile(NO_BUDGET, (f"{path.name} kan ikke læses: {of_the_disk(error) or type(error).__name__}",))
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("iso-8859-1")
    return read_budget(path.name, text.splitlines(), place.rules)


def unreadable(faults: Sequence[str]) -> Outcome:
    """The outcome of a budget file with lines that could not be used."""
    more = f"; og {len(faults) - MOST_TOLD} til" if len(faults) > MOST_TOLD else ""
    return Outcome(
        False,
        f"Budgettet har {plural(len(faults), 'fejl', 'fejl')}: {'; '.join(faults[:MOST_TOLD])}{more}.",
        "Ret filen, og lav opfølgningen igen; linjer uden fejl er brugt.",
        len(faults),
    )


# The money of each municipality's statement, of the run, the one before and that of a year ago.
POSTER = """SELECT k.maaned, o.kommunekode, o.refusion_oere, o.medfinansiering_oere, o.rettelser_oere
FROM opgoerelse.kommune o JOIN opgoerelse.koersel k USING (koersel) WHERE k.maaned IN ($month, $before, $year)"""


def reported(place: Place, month: date, views: Mapping[str, pl.DataFrame]) -> int:
    """The pages, workbooks and tables of the settled municipalities and of the country written; the number of files.

    Stop if the files of the month are not in sight: they may have been taken back since.
    """
    folder = place.outgoing / f"{month:%Y-%m}"
    if not folder.exists():
        raise Stop(f"filerne for {month:%Y-%m} er ikke vist; kør måneden, og lav så opfølgningen")
    with place.warehouse.reading() as session:
        poster = session.frame(POSTER, month=month, before=next_month(month, -1), year=next_month(month, -12))
    koder = sorted(poster.filter(pl.col("maaned") == month)["kommunekode"])
    written = report.write(folder, month, place.rules, views, poster=poster, koder=koder)
    return len(written) + len(report.publish(place.follow_up, month, place.rules, views))


def _proved(name: str, rows: pl.DataFrame, run: Basis) -> pl.DataFrame:
    """The rows of a view with run and month, in the order of its key; ContractError if they break its contract."""
    model = VIEWS.get(name, Ugetal)
    common = {"koersel": pl.lit(run.number, pl.Int64), "maaned": pl.lit(run.month)}
    missing = [value.alias(column) for column, value in common.items() if column not in rows.columns]
    made = rows.with_columns(missing).select(list(model.to_schema().columns))
    proved = validate(f"{GROUP}.{name}", made) if name in VIEWS else model.validate(made)
    return proved.sort(model.to_schema().unique)


def ready(place: Place, month: date) -> Path:
    """The folder of a month's figures between the steps of the follow-up."""
    return place.warehouse.path.parent / GROUP / f"{month:%Y-%m}"


def _keep(folder: Path, views: Mapping[str, pl.DataFrame], outcomes: Mapping[str, Outcome]) -> None:
    """The figures and their balances laid in a folder, in place of those there."""
    fresh = folder.with_name(f".{folder.name}")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    for name, rows in views.items():
        rows.write_parquet(fresh / f"{name}.parquet")
    said = {name: asdict(outcome) for name, outcome in outcomes.items()}
    (fresh / BALANCED).write_text(json.dumps(said), "utf-8")
    shutil.rmtree(folder, ignore_errors=True)
    os.rename(fresh, folder)


def kept(place: Place, month: date) -> dict[str, pl.DataFrame]:
    """The figures of a month, as the step before laid them; Stop if it has not."""
    folder = ready(place, month)
    if not (folder / BALANCED).exists():
        raise Stop(f"opfølgningens tal for {month:%Y-%m} er ikke lavet; start jobbet {JOB}")
    return {path.stem: pl.read_parquet(path) for path in sorted(folder.glob("*.parquet"))}


def balances_kept(place: Place, month: date) -> dict[str, Outcome]:
    """The balances of a month's figures, laid beside them."""
    said = json.loads((ready(place, month) / BALANCED).read_text("utf-8"))
    return {name: Outcome(**(one | {"eksempler": tuple(one["eksempler"])})) for name, one in said.items()}


def store(place: Place, month: date, views: Mapping[str, pl.DataFrame]) -> None:
    """The figures of a run in the warehouse, in place of earlier ones of the run, and in the copy for analysts."""
    number = run_number(month, place.rules)
    with place.warehouse.open() as session:
        forget(session, number)
        for name in VIEWS:
            session.insert(f"opfoelgning.{name}", views[name])
    publish(place.warehouse)


def _shown(name: str, rows: pl.DataFrame, month: date) -> dict[str, Any]:
    """The metadata of a view's cell: rows, its series as numbers, and a plot of the first by a column."""
    by, numbers = SERIES[name]
    mine = rows.filter(pl.col("maaned") == month)
    sums = {number: int(mine[number].sum()) for number in numbers}
    said = {n.replace("_oere", "_kr"): kroner(value) if n.endswith("_oere") else value for n, value in sums.items()}
    shown: dict[str, Any] = {"dagster/partition_row_count": rows.height, **said}
    if mine.height:
        bars = mine.group_by(by).agg(pl.col(numbers[0]).sum()).sort(by, nulls_last=True)
        most = bars.sort(pl.col(numbers[0]).abs(), descending=True).head(MOST_BARS)[by]
        shown["plot"] = dg.MetadataValue.md(
            figures.image(name, _bars(bars.filter(pl.col(by).is_in(most.implode(), nulls_equal=True)), by, numbers[0]))
        )
    return shown


def _bars(rows: pl.DataFrame, by: str, number: str) -> str:
    """A bar a row, as SVG: amounts in whole kroner."""
    heights = [kroner(value) if number.endswith("_oere") else value for value in rows[number]]
    names = ["uden trin" if value is None else str(value) for value in rows[by]]

    def draw(figure: "Figure") -> None:
        axes = figure.add_axes((0.2, 0.15, 0.75, 0.75))
        axes.barh(names, heights, color="#4477aa")
        axes.invert_yaxis()
        axes.set_title(f"{number.replace('_oere', ', kr.')} efter {by}")
        axes.grid(visible=False, axis="y")

    return figures.plot(draw, 7, 0.8 + 0.3 * len(names))


def _tables(months: dg.StaticPartitionsDefinition) -> dg.AssetsDefinition:
    """A table for each view, stored in one step with its balance."""
    checks = {name: Check(f.__name__, f"{GROUP}.{name}", ADVARSEL, False, text) for name, (f, text) in BALANCES.items()}

    @dg.multi_asset(
        name="opfoelgning_tabeller",
        specs=[
            dg.AssetSpec(
                [GROUP, name],
                deps=[GRUNDLAG],
                description=model.__doc__,
                metadata=of_table(f"{GROUP}.{name}"),
                kinds=KINDS,
                group_name=GROUP,
                owners=[OWNER],
                partitions_def=months,
            )
            for name, model in VIEWS.items()
        ],
        check_specs=[
            dg.AssetCheckSpec(check.name, asset=[GROUP, name], description=check.text) for name, check in checks.items()
        ],
        pool=POOL,
    )
    def tabeller(
        context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]
    ) -> Iterator[dg.MaterializeResult[None] | dg.AssetCheckResult]:
        month = run_month(context)
        with stopping():
            views, outcomes = kept(place, month), balances_kept(place, month)
            store(place, month, views)
        for name in VIEWS:
            yield dg.MaterializeResult([GROUP, name], metadata=_shown(name, views[name], month))
        yield from (answer(checks[name], outcome) for name, outcome in outcomes.items())

    return tabeller


def build(months: dg.StaticPartitionsDefinition) -> list[dg.AssetsDefinition]:
    """The follow-up, cut by run month: the figures, a table each with its balance, and the pages."""
    by_month = dg.MultiToSingleDimensionPartitionMapping(MAANED)

    @dg.asset(key=GRUNDLAG, kinds=KINDS, deps=[dg.AssetDep(FILER, partition_mapping=by_month)],
        group_name=GROUP, owners=[OWNER], partitions_def=months,
    )  # fmt: skip
    def grundlag(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """Opfølgningens tal for en kørsel, regnet af den udgivne kopi og lagt klar; intet i måneden venter på dem."""
        month = run_month(context)
        with stopping():
            views, outcomes = figures_of(place, month)
            _keep(ready(place, month), views, outcomes)
        return dg.MaterializeResult(metadata={name: rows.height for name, rows in views.items()})

    tabeller = _tables(months)

    @dg.asset(
        key=RAPPORT,
        kinds={"html", "excel"},
        deps=[[GROUP, name] for name in VIEWS],
        group_name=GROUP, owners=[OWNER], partitions_def=months,
    )  # fmt: skip
    def rapport(context: dg.AssetExecutionContext, place: dg.ResourceParam[Place]) -> dg.MaterializeResult[None]:
        """En side og et regneark til hver opgjort kommune og til hele landet, tabellen til KMD Insight, og Parquet.

        Ligger i udgaaende/<måned>/ og udgivet/opfoelgning/. Små grupper vises kun i kommunens egen rapport.
        """
        month = run_month(context)
        with stopping():
            views = kept(place, month)
            files = reported(place, month, {name: views[name] for name in (*VIEWS, UGETAL)})
        folder = place.outgoing / f"{month:%Y-%m}"
        return dg.MaterializeResult(metadata={"filer": files, "mappe": dg.MetadataValue.path(str(folder))})

    return [grundlag, tabeller, rapport]


def job() -> Any:
    """The job that makes the follow-up of a month; it waits for nobody and nobody for it."""
    return dg.define_asset_job(
        JOB,
        selection=dg.AssetSelection.groups(GROUP),
        description="Opfølgningen for en opgjort måned: tabellerne i skemaet opfoelgning, og en side og et regneark "
        "til hver kommune. Sensoren opfoelgning_efter_filer starter det; brug det selv for en måned, der mangler.",
        tags={"dagster/priority": "-10"},
    )
