"""Understands the files of an estimate: their columns, and how they appear all at once without losing others' files."""

from pathlib import Path

import polars as pl

from refusion_assets.domain.konsekvens import COUNTS, FORSLAG, GAELDENDE, MONEY
from refusion_assets.domain.rules import Rulebook
from refusion_assets.domain.skrift import kroner
from refusion_assets.domain.stop import Stop
from refusion_assets.files import Outgoing
from refusion_assets.konsekvens import NET, Konsekvens, plot, reach, step, text, ydelse_navne

EFFEKT, SKIFT, REGLER = "effekt.csv", "personer_der_skifter_trin.csv", "regler_der_aendres.csv"
PLOT, RESULTAT = "kommuner.svg", "resultat.txt"
HELE_LANDET, ALLE = "Hele landet", "alle"
TITLES = {
    "personuger": "Personuger",
    "borgere": "Borgere",
    "beloeb_oere": "Beløb",
    "refusion_oere": "Refusion",
    "medfinansiering_oere": "Medfinansiering",
}
BOOKS = {GAELDENDE: "gældende", FORSLAG: "forslag"}


def folder_of(root: Path, forslag: Rulebook) -> Path:
    """Where the files of a proposal's estimate lie, unless another place is asked for."""
    return root / "konsekvens" / forslag.version[:12]


def write(result: Konsekvens, folder: Path) -> None:
    """The files of an estimate: a reader sees all the old ones or all the new. Stop if the folder holds others.

    No row is about one person; persons are counted by month, municipality, benefit and step.
    """
    made = {EFFEKT, SKIFT, REGLER, PLOT, RESULTAT}
    others = {path.name for path in folder.iterdir()} - made if folder.is_dir() else set()
    if others or folder.is_file():
        raise Stop(f"{folder} rummer andet end et anslag; vælg en tom eller ny mappe med --til")
    outgoing = Outgoing.begun(folder)
    tables = {EFFEKT: _effekt(result), SKIFT: _skift(result), REGLER: _regler(result)}
    for name, table in tables.items():
        table.write_csv(outgoing.ready / name, separator=";", line_terminator="\n")
    (outgoing.ready / PLOT).write_text(plot(result), encoding="utf-8")
    (outgoing.ready / RESULTAT).write_text("".join(f"{line}\n" for line in text(result)), encoding="utf-8")
    outgoing.publish()


def _kommune(result: Konsekvens) -> list[pl.Expr]:
    """Code and name of a municipality; all of them where there is none."""
    names = {k.kommunekode: k.navn for k in result.gaeldende.kommuner}
    code = pl.col("kommunekode")
    return [
        code.fill_null(ALLE).alias("Kommunekode"),
        code.replace(names).fill_null(HELE_LANDET).alias("Kommune"),
    ]


def _maaned() -> pl.Expr:
    """The month as `YYYY-MM`; all of them where there is none."""
    return pl.col("maaned").dt.strftime("%Y-%m").fill_null(ALLE).alias("Måned")


def _trin(column: str, title: str) -> pl.Expr:
    """A step as one says it."""
    return pl.col(column).map_elements(step, return_dtype=pl.String).alias(title)


def _effekt(result: Konsekvens) -> pl.DataFrame:
    """One row per month, municipality, benefit, side and step: counts and kroner under both, and the difference."""
    measures = []
    for name in (*COUNTS, *MONEY):
        for book, title in BOOKS.items():
            column = pl.col(f"{name}_{book}")
            measures.append((kroner(column) if name in MONEY else column).alias(f"{TITLES[name]} {title}"))
    return result.virkning.celler.select(
        _maaned(),
        *_kommune(result),
        pl.col("ydelse_id").replace(ydelse_navne(result)).alias("Ydelse"),
        pl.col("side").alias("Side"),
        _trin("trin", "Trin"),
        *measures,
        kroner(NET[FORSLAG] - NET[GAELDENDE]).alias("Forskel netto til kommunen"),
    )


def _skift(result: Konsekvens) -> pl.DataFrame:
    """One row per month, municipality, step and new step: persons and person-weeks; and over all, each person once."""
    return result.virkning.skift.select(
        _maaned(),
        *_kommune(result),
        _trin("fra_trin", "Fra trin"),
        _trin("til_trin", "Til trin"),
        pl.col("borgere").alias("Borgere"),
        pl.col("personuger").alias("Personuger"),
    )


def _regler(result: Konsekvens) -> pl.DataFrame:
    """One row per difference of the rules: where it stands, old and new, and which of the months it can touch."""
    head = ("Fil", "Post", "Felt", "Gældende", "Forslag", "Rækkevidde")
    rows = [(f.fil, f.post, f.felt, f.gaeldende, f.forslag, reach(result, f)) for f in result.forskelle]
    return pl.DataFrame(rows, schema=dict.fromkeys(head, pl.String), orient="row")
