"""Understands what the follow-up sends out of a run: pages and workbooks, the table of KMD Insight, and Parquet."""

import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from pathlib import Path

import polars as pl

from refusion_assets.domain.contract import Contract
from refusion_assets.domain.findings.words import NOBODY
from refusion_assets.domain.opfoelgning.small import leaving, municipalities, summed
from refusion_assets.domain.opfoelgning.views import VIEWS, Ugetal, smallest_group
from refusion_assets.domain.opgoerelse.ledger import run_day, run_number, ydelse_navne
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.files.outgoing import INSIGHT, OPFOELGNING, file_name, kroner, write_table
from refusion_assets.report.catalogue import LAND, visninger, words_of
from refusion_assets.report.page import Report, Row, blank_rows, grouped, page
from refusion_assets.report.workbook import workbook

UGETAL = "ugetal"
SETTLED = ("refusion_oere", "medfinansiering_oere", "rettelser_oere")
INSIGHT_COLUMNS = ("Uge", "Antal", "Total", "Refusion", "Medfinansiering", "Ydelse")
Views = Mapping[str, pl.DataFrame]
Parts = dict[str, pl.DataFrame]


def reports(
    month: date, rules: Rulebook, views: Views, koder: Sequence[str], poster: pl.DataFrame | None = None
) -> Iterator[Report]:
    """The report of each municipality of `koder`, and last that of the country with its small groups hidden.

    `views`, `poster`: as for `write`.
    """
    bound, koersel = smallest_group(rules), run_number(month, rules)
    rows: dict[str, Parts] = {}
    tables: dict[str, list[Parts]] = {}
    for visning in visninger():
        own = _of_contract(visning.id, views)
        _, sums, told = leaving(visning.id, VIEWS[visning.id], own, bound)
        both = pl.concat([own.filter(pl.col("kommunekode") != NOBODY), sums])
        rows[visning.id] = _by_municipality(both)
        # The sum of a whole month tells of no group, and is shown whole.
        exact = summed(visning.id, own).filter(pl.col("maaned").is_in(list(told)))
        exact = pl.concat([own.filter(pl.col("kommunekode") != NOBODY), exact])
        tables[visning.id] = [
            _by_municipality(grouped(tabel, exact if tabel.maaneder else both, month)) for tabel in visning.tabeller
        ]
    settled, trappe = _settled(poster), _of_contract("trappe", views)
    whole = municipalities(trappe.filter(pl.col("kommunekode") != NOBODY), month, bound).to_dicts()
    for kode in (*koder, NOBODY):
        yield Report(
            kommunekode=kode,
            navn=LAND if kode == NOBODY else f"{rules.kommunenavne.get(kode, kode)} Kommune",
            month=month,
            koersel=koersel,
            bound=bound,
            rows={view: _dicts(of, kode) for view, of in rows.items()},
            grouped={view: [_dicts(table, kode) for table in of] for view, of in tables.items()},
            settled=settled.get(kode, {}),
            kommuner=whole if kode == NOBODY else (),
        )


def _of_contract(view: str, views: Views) -> pl.DataFrame:
    """The rows of a view in the order of its contract, sorted by its key; none where the view is missing."""
    blank = blank_rows(view)
    if view not in views:
        return blank
    key = VIEWS[view].to_schema().unique or []
    return views[view].select(blank.columns).sort(key, nulls_last=True)


def _by_municipality(rows: pl.DataFrame) -> Parts:
    """The rows of each municipality, in their order."""
    parts = rows.partition_by("kommunekode", as_dict=True, maintain_order=True)
    return {str(kode): part for (kode,), part in parts.items()}


def _dicts(parts: Parts, kode: str) -> list[Row]:
    """The rows of one municipality as dicts; only one municipality's are in memory at a time."""
    return parts[kode].to_dicts() if kode in parts else []


def _settled(poster: pl.DataFrame | None) -> dict[str, dict[date, tuple[int, int, int]]]:
    """The money of the statement by municipality and run month, and its sums as the country's."""
    made: dict[str, dict[date, tuple[int, int, int]]] = {}
    if poster is None:
        return made
    whole = poster.group_by("maaned").agg(pl.col(SETTLED).sum()).with_columns(kommunekode=pl.lit(NOBODY))
    columns = ["kommunekode", "maaned", *SETTLED]
    for kode, month, refusion, medfinansiering, rettelser in pl.concat(
        [poster.select(columns), whole.select(columns)]
    ).iter_rows():
        made.setdefault(kode, {})[month] = (refusion, medfinansiering, rettelser)
    return made


def write(
    folder: Path,
    month: date,
    rules: Rulebook,
    views: Views,
    *,
    poster: pl.DataFrame | None = None,
    koder: Sequence[str] | None = None,
) -> list[str]:
    """Write a run's pages, workbooks and tables of KMD Insight in its folder; the names, sorted.

    `views`: rows of one run by the name of the view, and `ugetal`; a missing view has no rows. `poster`: maaned (run
    months), kommunekode and `SETTLED` (øre) of the run, the one before and that of last year. `koder`: municipalities
    that get files, else all; 000 always does. All are written in a hidden folder first, and then moved one by one.
    """
    ready = folder.with_name(f".{folder.name}.{OPFOELGNING}")
    shutil.rmtree(ready, ignore_errors=True)
    (ready / INSIGHT).mkdir(parents=True)
    chosen = list(rules.koder if koder is None else koder)
    words, day = words_of(rules), run_day(month, rules)
    for report in reports(month, rules, views, chosen, poster):
        name = Path(file_name(OPFOELGNING, report.kommunekode, month, rules)).stem
        (ready / f"{name}.html").write_text(page(report, words), encoding="utf-8")
        (ready / f"{name}.xlsx").write_bytes(workbook(report, words, day))
    weeks = views[UGETAL].partition_by("kommunekode", as_dict=True) if UGETAL in views else {}
    for kode in chosen:
        rows = weeks.get((kode,))
        if rows is not None:
            write_table(ready / INSIGHT / file_name(INSIGHT, kode, month, rules), insight_table(rows, rules))
    names = sorted(str(path.relative_to(ready)) for path in ready.rglob("*") if path.is_file())
    (folder / INSIGHT).mkdir(parents=True, exist_ok=True)
    for name in names:
        os.replace(ready / name, folder / name)
    shutil.rmtree(ready)
    return names


def insight_table(rows: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """A municipality's weeks as the text that its connector posts to KMD Insight, sorted by week and benefit.

    `rows`: of `Ugetal`. Kroner have a decimal comma, a week is its Monday, as in the other files.
    """
    named = rows.join(ydelse_navne(rules).select("ydelse_id", "navn"), on="ydelse_id", how="left")
    values = [
        pl.col("uge").cast(pl.String), pl.col("antal"), kroner(pl.col("brutto_oere")), kroner(pl.col("refusion_oere")),
        kroner(pl.col("medfinansiering_oere")), pl.col("navn").fill_null(pl.col("ydelse_id")),
    ]  # fmt: skip
    columns = [value.alias(name) for value, name in zip(values, INSIGHT_COLUMNS, strict=True)]
    return named.sort("uge", "navn").select(columns)


def publish(folder: Path, month: date, rules: Rulebook, views: Views) -> list[str]:
    """Write each view as `<view>/<YYYY-MM>.parquet` in a folder for other systems; the names, sorted. Øre.

    The names of municipality and benefit are columns. Numbers of small groups are null. Each file is moved into place.
    """
    bound = smallest_group(rules)
    kommuner = pl.DataFrame(
        {"kommunekode": [*rules.kommunenavne, NOBODY], "kommune": [*rules.kommunenavne.values(), "Ingen kommune"]}
    )
    ydelser = ydelse_navne(rules).select("ydelse_id", ydelse="navn")
    names = []
    contracts: dict[str, type[Contract]] = {**VIEWS, UGETAL: Ugetal}
    for view, contract in contracts.items():
        if view not in views:
            continue
        key = contract.to_schema().unique or []
        rows, _, _ = leaving(view, contract, views[view].select(list(contract.to_schema().columns)).sort(key), bound)
        rows = rows.join(kommuner, on="kommunekode", how="left", maintain_order="left")
        if "ydelse_id" in rows.columns:
            rows = rows.join(ydelser, on="ydelse_id", how="left", maintain_order="left")
        name = f"{view}/{month:%Y-%m}.parquet"
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        hidden = path.with_name(f".{path.name}.ny")
        rows.write_parquet(hidden)
        os.replace(hidden, path)
        names.append(name)
    return sorted(names)
