"""Understands findings in lines and files: the broken rule, and the column at fault."""

from datetime import date

import polars as pl

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.findings.words import found, week
from refusion_assets.domain.raw import BIT, NAMES, REQUIRED
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.wording import kroner

BETWEEN = " til "


def line_findings(lines: pl.DataFrame, rules: Rulebook) -> pl.DataFrame:
    """One finding (`FOUND`) per line and rule that it breaks. Øre; none on a reversal, as its amounts are ignored.

    `lines`, of the line: regel, fil, linje, kilde, enhed, art, borger_id, ydelse_id, konto, indberetning_id,
    reference_id, periode_start, periode_slut, beloeb_oere. Of its raw row: Kommunekode, Loenperiode_start,
    Loenperiode_slut, Indkomsttype, Indtaegtsart, Felt0098, Felt0114, Felt0115, udfyldt, ulaeselig. Optional: `mangler`,
    the columns to look at on a waiting reversal (EI-014). Only lines of municipal senders get a kommunekode here.
    Source: input.md sections 3 and 4.
    """
    municipal = pl.col("kilde").is_in([k.id for k in rules.kilder if k.art == "kommunal"])
    if "mangler" not in lines.columns:
        lines = lines.with_columns(mangler=pl.lit(None, dtype=pl.String))
    felt = vaerdi = pl.lit(None, dtype=pl.String)
    for rule_ids, (column, value) in _shown(municipal, rules).items():
        mine = pl.when(pl.col("regel").is_in(rule_ids))
        felt = felt if column is None else mine.then(column).otherwise(felt)
        vaerdi = vaerdi if value is None else mine.then(value).otherwise(vaerdi)
    return found(
        lines,
        pl.col("regel"),
        ["fil", "linje"],
        kommunekode=pl.when(municipal).then(pl.col("enhed")),
        uge_fra=week("periode_start"),
        uge_til=week("periode_slut"),
        felt=felt,
        vaerdi=vaerdi,
        beloeb_oere=pl.when(pl.col("art").fill_null("I") == "I").then(pl.col("beloeb_oere")),
    )


def _shown(municipal: pl.Expr, rules: Rulebook) -> dict[tuple[str, ...], tuple[pl.Expr | None, pl.Expr | None]]:
    """Per rule the column at fault (None: the one in `kontrol.toml`) and its value as text.

    The value is None where the column is enough, or where the value could name a person.
    """
    in_0114, in_0115 = pl.col("Felt0114").is_not_null(), pl.col("Felt0115").is_not_null()
    # Felt0114 is at fault if its account is the unknown one (YR-001), or the only one (YR-007, YR-008).
    unknown = in_0114 & ~pl.col("Felt0114").is_in([k.konto for k in rules.konti])
    account = pl.when(pl.when(pl.col("regel") == "YR-001").then(unknown).otherwise(in_0114 & ~in_0115))
    by_employer = (pl.col("art") == "I") & pl.col("konto").is_in([k.konto for k in rules.konti if k.kontoart == 2])
    pay_is_wrong = pl.when((pl.col("Loenperiode_slut") < pl.col("Loenperiode_start")).fill_null(value=False))
    pay, benefit = (
        pl.concat_str(
            [pl.col(f"{name}_{end}").cast(pl.String).fill_null("tom") for end in ("start", "slut")], separator=BETWEEN
        )
        for name in ("Loenperiode", "periode")
    )
    negative = pl.when(pl.col("Felt0098") < 0).then(kroner(pl.col("Felt0098")))
    income = pl.concat_str([pl.col("Indkomsttype"), pl.col("Indtaegtsart").fill_null("tom")], separator="/")
    return {
        ("YR-001", "YR-007", "YR-008"): (
            account.then(pl.lit("Felt0114")).otherwise(pl.lit("Felt0115")),
            account.then(pl.col("Felt0114")).otherwise(pl.col("Felt0115")),
        ),
        ("EI-001",): (pl.coalesce(_empty_or_unreadable(municipal), _too_many_units(rules)), negative),
        ("EI-002",): (
            pay_is_wrong.then(pl.lit("Loenperiode")).otherwise(pl.lit("Ydelsesperiode")),
            pay_is_wrong.then(pay).otherwise(benefit),
        ),
        ("EI-003",): (pl.when(by_employer).then(pl.lit("Felt0216")).otherwise(pl.lit("CPR")), None),
        ("EI-006",): (None, income),
        ("EI-007",): (None, benefit),
        ("EI-008",): (None, pl.col("Kommunekode")),
        ("EI-013",): (None, pl.col("indberetning_id")),
        ("EI-014",): (pl.col("mangler"), pl.col("reference_id")),
        ("EI-015",): (None, pl.col("reference_id")),
    }


def _empty_or_unreadable(municipal: pl.Expr) -> pl.Expr:
    """The names of the columns that break EI-001: empty though required, unreadable, or negative. In order."""
    reversal = pl.col("art") == "T"
    required = {name: pl.lit(value=True) for name in REQUIRED} | {"ReferenceID": reversal, "Kommunekode": municipal}
    names = []
    for name in NAMES:
        empty = (pl.col("udfyldt") & BIT[name]) == 0
        wrong = (pl.col("ulaeselig") & BIT[name]) != 0
        if name in required:
            wrong |= empty & required[name].fill_null(value=False)
        if name == "Felt0098":
            wrong |= (pl.col(name) < 0).fill_null(value=False)
        names.append(pl.when(wrong).then(pl.lit(name)))
    listed = pl.concat_str(names, separator=", ", ignore_nulls=True)
    return pl.when(listed != "").then(listed)


def _too_many_units(rules: Rulebook) -> pl.Expr:
    """The amount fields of a benefit with a price: on a line that breaks EI-001 by them, no column is unreadable."""
    priced = {pris.ydelse_id for pris in rules.enhedspriser}
    fields = {
        y.ydelse_id: ", ".join(f"Felt{felt}" for felt in y.felter) for y in rules.ydelser if y.ydelse_id in priced
    }
    return pl.col("ydelse_id").replace_strict(fields, default=None, return_dtype=pl.String)


SENDER = ["kilde", "enhed"]
DIGITS = 4


def file_findings(filer: pl.DataFrame, ventet: pl.DataFrame, month: date, rules: Rulebook) -> pl.DataFrame:
    """Findings FIL-003 to FIL-006 of run `month` (`FOUND`). Øre: the money of a repeated or missing file.

    `filer`, one row per file received through the month: kilde, enhed, modtaget_maaned, loebenr, filnavn, sha256,
    antal_raekker, dublet, beloeb_oere (of a repeated file). `ventet`, one row per sender of the month before: kilde,
    enhed, oere (of periods then recent), begrundelse (null unless an operator accepted the absence). A municipality
    gets the findings in its files.
    Source: input.md section 4.
    """
    municipal = pl.col("kilde").is_in([k.id for k in rules.kilder if k.art == "kommunal"])
    rows = filer.with_columns(kommunekode=pl.when(municipal).then(pl.col("enhed"))).sort(*SENDER, "loebenr", "filnavn")
    return pl.concat([_row_counts(rows, month, rules), _repeats(rows), _gaps(rows), _absent(rows, ventet, month)])


def _row_counts(filer: pl.DataFrame, month: date, rules: Rulebook) -> pl.DataFrame:
    """FIL-003 per sender whose row count deviates too far from its mean of the months before.

    Compares count * months with the sum, without division. A repeated file counts no rows.
    """
    own = pl.when(pl.col("dublet")).then(0).otherwise(pl.col("antal_raekker"))
    first = next_month(month, -rules.graense("raekkeantal_maaneder"))
    now, before = pl.col("modtaget_maaned") == month, pl.col("modtaget_maaned").is_between(first, month, closed="left")
    counts = filer.with_columns(own=own).group_by(*SENDER, maintain_order=True).agg(
        pl.col("kommunekode").first(),
        fil=pl.col("filnavn").filter(now).last(),
        antal=pl.col("own").filter(now).sum(),
        foer=pl.col("own").filter(before).sum(),
        maaneder=pl.col("modtaget_maaned").filter(before).n_unique().cast(pl.Int64),
    )  # fmt: skip
    off = (pl.col("antal") * pl.col("maaneder") - pl.col("foer")).abs() * 100
    odd = counts.filter(
        pl.col("fil").is_not_null()
        & (pl.col("maaneder") > 0)
        & (off > rules.graense("raekkeantal_procent") * pl.col("foer"))
    )
    rows = pl.when(pl.col("antal") == 1).then(pl.lit("række")).otherwise(pl.lit("rækker"))
    value = pl.format("{}-{}: {} {} mod {} i gennemsnit", *SENDER, "antal", rows, _mean())
    return found(odd.with_columns(maaned=pl.lit(month)), "FIL-003", [*SENDER, "maaned"], vaerdi=value)


def _mean() -> pl.Expr:
    """The mean row count of the months before as text, with one decimal unless it is whole."""
    tenths = (20 * pl.col("foer") + pl.col("maaneder")) // (2 * pl.col("maaneder"))
    whole, rest = (tenths // 10).cast(pl.String), (tenths % 10).cast(pl.String)
    even = pl.col("foer") % pl.col("maaneder") == 0
    return pl.when(even).then(whole).when(tenths == 0).then(pl.lit("under 0,1")).otherwise(whole + "," + rest)


def _repeats(filer: pl.DataFrame) -> pl.DataFrame:
    """FIL-004 per file whose content was delivered before."""
    first = filer.filter(~pl.col("dublet")).select("sha256", original="filnavn").unique("sha256", keep="first")
    again = filer.filter(pl.col("dublet")).join(first, on="sha256", how="left")
    return found(again, "FIL-004", ["filnavn"], fil=pl.col("filnavn"), vaerdi=pl.col("original"))


def _gaps(filer: pl.DataFrame) -> pl.DataFrame:
    """FIL-005 per unbroken run of missing file numbers of a sender; numbers begin at 1."""
    before = pl.col("loebenr").shift(1).over(SENDER).fill_null(0)
    rows = filer.drop("beloeb_oere").with_columns(foerste=before + 1, sidste=pl.col("loebenr") - 1)
    gaps = rows.filter(pl.col("foerste") <= pl.col("sidste"))
    ends = [pl.col(name).cast(pl.String).str.zfill(DIGITS) for name in ("foerste", "sidste")]
    value = pl.when(pl.col("foerste") == pl.col("sidste")).then(ends[0]).otherwise(pl.concat_str(ends, separator="-"))
    return found(gaps, "FIL-005", [*SENDER, "foerste"], fil=pl.col("filnavn"), vaerdi=value)


def _absent(filer: pl.DataFrame, ventet: pl.DataFrame, month: date) -> pl.DataFrame:
    """FIL-006 per sender with files the month before and none this month, with the reason if accepted."""
    senders = filer.select(*SENDER, "kommunekode", "modtaget_maaned").unique(maintain_order=True)
    now = senders.filter(pl.col("modtaget_maaned") == month)
    gone = senders.filter(pl.col("modtaget_maaned") == next_month(month, -1)).join(now, on=SENDER, how="anti")
    known = gone.join(ventet, on=SENDER, how="left", maintain_order="left")
    reason = pl.when(pl.col("begrundelse").is_not_null()).then(pl.format(" (accepteret: {})", "begrundelse"))
    name = pl.concat_str(pl.concat_str(SENDER, separator="-"), reason.otherwise(pl.lit("")))
    return found(
        known.with_columns(maaned=pl.lit(month)),
        "FIL-006",
        [*SENDER, "maaned"],
        vaerdi=name,
        beloeb_oere=pl.col("oere"),
    )


def folder_findings(rows: pl.DataFrame) -> pl.DataFrame:
    """Findings FIL-007 (unread file under raw/) and FIL-008 (file changed since it was read), to nobody (`FOUND`).

    `rows`: regel, hvad (the path), kilde and vaerdi. Source: input.md section 4.
    """
    read = pl.col("regel") == "FIL-008"
    name = pl.when(read).then(pl.col("hvad").str.split("/").list.last())
    return found(rows, pl.col("regel"), ["hvad"], fil=name)


def passed_findings(rows: pl.DataFrame, month: date, rules: Rulebook) -> pl.DataFrame:
    """Findings EI-017, EI-020, OPG-001 and REG-001 that an operator let pass, with the reason (`FOUND`). Øre.

    `rows`: regel, genstand, begrundelse, and for a line kilde, enhed, beloeb_oere. The municipal sender of a line gets
    its finding, and the municipality of a month gets that. Source: input.md section 4.
    """
    of_month = pl.col("regel") == "OPG-001"
    municipal = pl.col("kilde").is_in([k.id for k in rules.kilder if k.art == "kommunal"])
    return found(
        rows.with_columns(maaned=pl.lit(month)),
        pl.col("regel"),
        ["genstand", "maaned"],
        vaerdi=pl.format("{} (accepteret: {})", "genstand", "begrundelse"),
        kommunekode=pl.when(of_month).then(pl.col("genstand").str.head(3)).when(municipal).then(pl.col("enhed")),
    )
