"""Understands the ledger: rows for the differences to earlier runs, and the sums of the files made of it."""

from datetime import date

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.calendar import next_month
from refusion_assets.domain.contract import Contract
from refusion_assets.domain.refusion.split import KEY
from refusion_assets.domain.rules.entries import Foraeldelse, Rulebook, in_force

NY, TILBAGE, KORREKTION, AABNING = "N", "T", "K", "Å"
MONEY = ["indberettet_oere", "beloeb_oere", "refusion_oere", "medfinansiering_oere"]
COUNTERS = ["ydelsestaeller", "genoptjeningstaeller", "trin"]
BASIS = ["hjemmel", "regelversion"]
STATE = [*KEY, *MONEY, "procent", *COUNTERS, *BASIS]
LEDGER = [*KEY, "raekketype", *MONEY, "procent", *COUNTERS, "koersel", "oprindelig_koersel", *BASIS]
DAYS = 1_000_000  # more than there are days up to any week


class Postering(Contract, key=[*KEY, "raekketype", "koersel"]):
    """One ledger row per key, row type and run. Amounts in øre, negative on T."""

    uge: pl.Date
    maaned: pl.Date
    borger_id: pl.Int64
    ydelse_id: pl.String
    kommunekode: pl.String
    raekketype: pl.String = pa.Field(isin=[NY, TILBAGE, KORREKTION, AABNING])
    indberettet_oere: pl.Int64
    beloeb_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    procent: pl.Int64 = pa.Field(ge=0, le=100)
    ydelsestaeller: pl.Int64 = pa.Field(nullable=True)
    genoptjeningstaeller: pl.Int64 = pa.Field(nullable=True)
    trin: pl.Int64 = pa.Field(nullable=True)
    koersel: pl.Int64 = pa.Field(ge=0)
    oprindelig_koersel: pl.Int64 = pa.Field(nullable=True, ge=0)
    hjemmel: pl.String
    regelversion: pl.String


class Foraeldet(Contract, key=[*KEY, "raekketype", "koersel"]):
    """One row per key, row type and run: a difference that is too old to be settled. Amounts in øre.

    N lists a difference. When it changes, T takes the row back and K lists the new one. T alone: the difference is
    gone, or a run settled it. Per key, the sum of the ledger and this table is the state.
    """

    uge: pl.Date
    maaned: pl.Date
    borger_id: pl.Int64
    ydelse_id: pl.String
    kommunekode: pl.String
    raekketype: pl.String = pa.Field(isin=[NY, TILBAGE, KORREKTION])
    indberettet_oere: pl.Int64
    beloeb_oere: pl.Int64
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    procent: pl.Int64 = pa.Field(ge=0, le=100, description="den, tilstanden har; er rækken væk, den afregnede")
    koersel: pl.Int64 = pa.Field(ge=1)
    oprindelig_koersel: pl.Int64 = pa.Field(nullable=True, ge=1)
    gaelder_fra: pl.Date = pa.Field(description="regelposten: kørselsmåneden, den gælder fra")
    hjemmel: pl.String


class Koersel(Contract, key=["koersel"]):
    """One row per run: its month, status, version of the rules, and hash of its files."""

    koersel: pl.Int64 = pa.Field(ge=1)
    maaned: pl.Date = pa.Field(description="run month")
    status: pl.String = pa.Field(isin=["opgjort", "åben", "lukket"], description="opgjort: settled, without files")
    regelversion: pl.String
    filsum: pl.String = pa.Field(description="sha256 of the run's SHA256SUMS")


class KommuneKoersel(Contract, key=["koersel", "kommunekode"]):
    """One row per run and municipality that is settled in it: rows, people and sums. Øre."""

    koersel: pl.Int64
    kommunekode: pl.String
    raekker: pl.Int64 = pa.Field(ge=0)
    borgere: pl.Int64 = pa.Field(ge=0)
    refusion_oere: pl.Int64
    medfinansiering_oere: pl.Int64
    rettelser_oere: pl.Int64 = pa.Field(description="net of benefit months before the run month")


class Tilbageholdt(Contract, key=["maaned", "kommunekode"]):
    """One row per run month and municipality that the run holds back, with the operator's reason."""

    maaned: pl.Date = pa.Field(description="run month")
    kommunekode: pl.String
    begrundelse: pl.String = pa.Field(description="empty where the operator gave none, as from chosen cells of the UI")


class Opslagshoved(Contract, key=["koersel"]):
    """One row per run: how far the log of look-ups reached when the run was settled or closed."""

    koersel: pl.Int64 = pa.Field(ge=1)
    linjer: pl.Int64 = pa.Field(ge=0, description="lines in the log of look-ups")
    hoved: pl.String = pa.Field(description="chained sha256 of the last line, zeros before the first")


class FilGrundlag(Contract, key=["kommunekode"]):
    """One row per municipality of the run whose files were made last: the basis of its ledger files."""

    koersel: pl.Int64 = pa.Field(ge=1)
    kommunekode: pl.String
    grundlag: pl.String = pa.Field(description="rules, program, and number and sum of the ledger rows")
    filsum: pl.String = pa.Field(description="sha256 of the SHA256SUMS that the files were sent with")


def run_number(run_month: date, rules: Rulebook) -> int:
    """The number of a run month: 1 for the first month a run can have, one a month; below 1 before it.

    Hjemmel: none, technical (contract: output.md section 3).
    """
    first = rules.koersel.gaelder_fra
    return (run_month.year - first.year) * 12 + run_month.month - first.month + 1


def run_day(run_month: date, rules: Rulebook) -> date:
    """The day a run is made and posted: the run day of the month after.

    Hjemmel: none, technical (contract: output.md section 3).
    """
    return next_month(run_month).replace(day=rules.koersel.koerselsdag)


# The money of a row gives its side, as the benefit may have changed side since. Fleksbidrag, though paid as refusion,
# has a side of its own.
SIDE = (
    pl.when(pl.col("side") == "fleksbidrag")
    .then(pl.col("side"))
    .when(pl.col("refusion_oere") != 0)
    .then(pl.lit("refusion"))
    .when(pl.col("medfinansiering_oere") != 0)
    .then(pl.lit("medfinansiering"))
    .otherwise(pl.col("side"))
)


def ydelse_navne(rules: Rulebook) -> pl.DataFrame:
    """One row per benefit with its latest name and side: ydelse_id, navn, side.

    Fleksbidrag has a side of its own, which is its transaction type in the statement.
    """
    latest: dict[str, tuple[str, str]] = {ydelse.ydelse_id: (ydelse.navn, ydelse.side) for ydelse in rules.ydelser}
    latest |= {entry.id: (entry.navn, "fleksbidrag") for entry in rules.fleksbidrag}
    rows = [(ydelse_id, *words) for ydelse_id, words in latest.items()]
    return pl.DataFrame(rows, schema=["ydelse_id", "navn", "side"], orient="row")


def settle(state: pl.DataFrame, settled: pl.DataFrame, koersel: int) -> pl.DataFrame:
    """The ledger rows of a run (`LEDGER`): the differences between the state and the rows of earlier runs. Øre.

    `state`: `STATE`. `settled`: the same with `koersel`, the run that settled the key. A new key gets N; a changed
    amount or percentage gets T and K; a key that left the state gets T. Changed counters alone give no row.
    Source: output.md section 2.
    """
    compare = [*MONEY, "procent"]
    before = settled.select(*KEY, *(pl.col(c).alias(f"{c}_foer") for c in compare), "koersel")
    both = state.join(before, on=KEY, how="left")
    is_new = pl.col("koersel").is_null()
    changed = pl.any_horizontal(pl.col(c) != pl.col(f"{c}_foer") for c in compare)
    fresh = both.filter(is_new | changed).select(
        *STATE, raekketype=pl.when(pl.col("koersel").is_null()).then(pl.lit(NY)).otherwise(pl.lit(KORREKTION))
    )
    kept = both.filter(~is_new & ~changed).select(KEY)
    back = settled.join(kept, on=KEY, how="anti").with_columns(
        *(-pl.col(c) for c in MONEY), oprindelig_koersel=pl.col("koersel").cast(pl.Int64), raekketype=pl.lit(TILBAGE)
    )
    fresh = fresh.with_columns(oprindelig_koersel=pl.lit(None, dtype=pl.Int64))
    rows = pl.concat([part.with_columns(koersel=pl.lit(koersel, pl.Int64)).select(LEDGER) for part in (back, fresh)])
    return rows.sort([*KEY, "raekketype"])


def too_old(
    state: pl.DataFrame,
    settled: pl.DataFrame,
    listed: pl.DataFrame,
    run_month: date,
    received: pl.DataFrame,
    rules: Rulebook,
) -> pl.DataFrame:
    """The differences that the run does not settle: KEY, MONEY (state less settled, øre), procent, and the entry.

    `state`, `settled`: as for `settle`. `listed`: the rows of `Foraeldet` that no T row takes back. `received`:
    borger_id and `modtaget`, the month of receipt of the newest report new to the run. Other people's limits count from
    the run month. A difference that is listed and unchanged stays listed. Hjemmel: the entry's own (rules.md section
    7a).
    """
    compare = [*MONEY, "procent"]
    before = settled.select(*KEY, *(pl.col(c).alias(f"{c}_foer") for c in compare))
    both = state.select(*KEY, *compare).join(before, on=KEY, how="full", coalesce=True)
    less = [(pl.col(c).fill_null(0) - pl.col(f"{c}_foer").fill_null(0)).alias(c) for c in MONEY]
    moved = pl.any_horizontal(pl.col(c).ne_missing(pl.col(f"{c}_foer")) for c in compare)
    apart = both.filter(moved).select(*KEY, *less, pl.coalesce("procent", "procent_foer"))
    told = listed.select(*KEY, *compare, kendt_fra="gaelder_fra", kendt_hjemmel="hjemmel")
    rows = apart.join(told, on=[*KEY, *compare], how="left").join(received, on="borger_id", how="left")
    kommune, stat = limits(run_month, rules)
    net = pl.col("refusion_oere") - pl.col("medfinansiering_oere")
    old = _either(net, _passed(kommune, run_month), _passed(stat, run_month))
    # A net difference of zero is too old if both directions are; it cites the entry towards the municipality.
    old = pl.when(net == 0).then(_passed(kommune, run_month) & _passed(stat, run_month)).otherwise(old)
    fra, hjemmel = (
        _either(net, pl.lit(kommune and getattr(kommune, name)), pl.lit(stat and getattr(stat, name)))
        for name in ("gaelder_fra", "hjemmel")
    )
    return rows.filter(pl.col("kendt_fra").is_not_null() | old).select(
        *KEY, *compare,
        gaelder_fra=pl.coalesce("kendt_fra", fra).cast(pl.Date),
        hjemmel=pl.coalesce("kendt_hjemmel", hjemmel).cast(pl.String),
    )  # fmt: skip


def limits(run_month: date, rules: Rulebook) -> tuple[Foraeldelse | None, Foraeldelse | None]:
    """The entries that limit corrections to the municipality, and to the state, in a run month (or None)."""
    ways = ("til_kommunen", "til_staten")
    mine = ([entry for entry in rules.foraeldelse if entry.gaelder in ("begge", way)] for way in ways)
    kommune, stat = (in_force(entries, run_month) for entries in mine)
    return kommune, stat


def _either(net: pl.Expr, kommune: pl.Expr, stat: pl.Expr) -> pl.Expr:
    """`stat` for a net amount in the state's favour (below zero), else `kommune`."""
    return pl.when(net < 0).then(stat).otherwise(kommune)


def _passed(entry: Foraeldelse | None, run_month: date) -> pl.Expr:
    """True for a benefit month (`maaned`) older than the limit of `entry` in months; false without an entry."""
    if entry is None:
        return pl.lit(value=False)
    until = pl.lit(run_month)
    if entry.regnes_fra == "modtaget":
        until = pl.col("modtaget").fill_null(run_month)
    months = [day.dt.year().cast(pl.Int64) * 12 + day.dt.month() for day in (until, pl.col("maaned"))]
    return months[0] - months[1] > entry.graense


def list_too_old(found: pl.DataFrame, listed: pl.DataFrame, koersel: int) -> pl.DataFrame:
    """The rows of a run on differences that are too old (`Foraeldet`): new (N), changed (T, K), or gone (T). Øre.

    `found`: from `too_old`. `listed`: the rows of earlier runs that no T row takes back.
    Hjemmel: that of the entries (rules.md section 7a).
    """
    same = found.join(listed, on=[*KEY, *MONEY, "procent"], how="semi").select(KEY)
    fresh = found.join(same, on=KEY, how="anti").join(listed.select(*KEY, "koersel"), on=KEY, how="left")
    back = listed.join(same, on=KEY, how="anti")
    new = fresh.with_columns(
        raekketype=pl.when(pl.col("koersel").is_null()).then(pl.lit(NY)).otherwise(pl.lit(KORREKTION)),
        oprindelig_koersel=pl.lit(None, dtype=pl.Int64),
    )
    gone = back.with_columns(
        *(-pl.col(c) for c in MONEY), raekketype=pl.lit(TILBAGE), oprindelig_koersel=pl.col("koersel")
    )
    names = list(Foraeldet.to_schema().columns)
    rows = pl.concat([part.with_columns(koersel=pl.lit(koersel, pl.Int64)).select(names) for part in (gone, new)])
    return rows.sort([*KEY, "raekketype"])


def not_taken_back(ledger: pl.DataFrame) -> pl.DataFrame:
    """The ledger rows that no T row takes back, one per key.

    A T row names the run of the row it takes back (`oprindelig_koersel`).
    """
    back = ledger.filter(pl.col("raekketype") == TILBAGE).select(*KEY, koersel="oprindelig_koersel")
    settled = ledger.filter(pl.col("raekketype") != TILBAGE)
    return settled.join(back, on=[*KEY, "koersel"], how="anti")


def beregning(ledger: pl.DataFrame) -> pl.DataFrame:
    """One row per week, person, benefit, municipality and sign: the ledger added over the months of a week.

    A week cut by the end of a month has two ledger rows. Amounts are added; counters, step and basis are those of the
    later row. A positive row is K if the key has a T row, else N. Source: output.md section 3.1.
    """
    key = ["uge", "borger_id", "ydelse_id", "kommunekode"]
    # Nearly all rows are N rows of the run month, alone in their week unless an older month has the week too.
    new = (pl.col("raekketype") == NY) & (pl.col("maaned") == pl.col("maaned").max())
    others = ledger.filter(~new)
    alone = ledger.filter(new).join(others, on=key, how="anti")
    shared = pl.concat([others, ledger.filter(new).join(others, on=key, how="semi")])
    merged = _merged(shared, key)
    return pl.concat([alone.with_columns(minus=pl.lit(value=False)).select(merged.columns), merged])


def _merged(ledger: pl.DataFrame, key: list[str]) -> pl.DataFrame:
    rows = ledger.with_columns(minus=pl.col("raekketype") == TILBAGE).sort([*key, "minus", "maaned"])
    merged = rows.group_by([*key, "minus"], maintain_order=True).agg(
        *(pl.col(c).sum() for c in MONEY),
        *(pl.col(c).last() for c in ["procent", *COUNTERS, *BASIS, "koersel"]),
        pl.col("oprindelig_koersel").max(),
    )
    taken_back = pl.col("minus").any().over(key)
    kind = (
        pl.when(pl.col("minus")).then(pl.lit(TILBAGE)).when(taken_back).then(pl.lit(KORREKTION)).otherwise(pl.lit(NY))
    )
    return merged.with_columns(raekketype=kind)


def by_kommune(ledger: pl.DataFrame, koder: list[str], koersel: int, run_month: date) -> pl.DataFrame:
    """One row per municipality of `koder` (`KommuneKoersel`), also those without ledger rows. Øre."""
    money = pl.col("refusion_oere") - pl.col("medfinansiering_oere")
    sums = ledger.group_by("kommunekode").agg(
        raekker=pl.len().cast(pl.Int64),
        borgere=pl.col("borger_id").n_unique().cast(pl.Int64),
        refusion_oere=pl.col("refusion_oere").sum(),
        medfinansiering_oere=pl.col("medfinansiering_oere").sum(),
        rettelser_oere=money.filter(pl.col("maaned") != run_month).sum(),
    )
    every = pl.DataFrame({"kommunekode": koder}).join(sums, on="kommunekode", how="left").fill_null(0)
    return every.with_columns(koersel=pl.lit(koersel, pl.Int64)).select(list(KommuneKoersel.to_schema().columns))


def statement(ledger: pl.DataFrame, run_month: date, navne: pl.DataFrame) -> pl.DataFrame:
    """One row per municipality, transaction type, benefit and percentage: the month's statement. Øre.

    `navne`: ydelse_id, navn, side. Money of the run month is `loebende`; all other is a correction, by the year of its
    benefit month. A person-week counts once. Source: output.md section 3.3.
    """
    rows = ledger.join(navne, on="ydelse_id").with_columns(
        transaktionstype=SIDE.str.to_uppercase(), oere=pl.col("refusion_oere") + pl.col("medfinansiering_oere")
    )
    return _by_percentage(rows, pl.col("maaned") == run_month, run_month)


def too_old_lines(listed: pl.DataFrame, run_month: date, navne: pl.DataFrame) -> pl.DataFrame:
    """The lines of type FORÆLDET in the statement, by municipality, benefit and percentage. Øre.

    Columns as `statement`. The corrections are the unsettled net amounts to the municipality, by the year of their
    benefit month. Nobody pays them, so `i_alt` is 0.
    """
    rows = listed.join(navne, on="ydelse_id").with_columns(
        transaktionstype=pl.lit("FORÆLDET"), oere=pl.col("refusion_oere") - pl.col("medfinansiering_oere")
    )
    none = pl.col("maaned").is_null()
    return _by_percentage(rows, none, run_month).with_columns(i_alt=pl.lit(0, dtype=pl.Int64))


def _by_percentage(rows: pl.DataFrame, now: pl.Expr, run_month: date) -> pl.DataFrame:
    """The lines of a statement: people, weeks, the money of the month itself (`now`) and of earlier months. Øre."""
    # One number for person and week: Polars compares pairs many times slower.
    numbered = rows.with_columns(borger_uge=pl.col("borger_id") * DAYS + pl.col("uge").to_physical())
    this_year = pl.col("maaned").dt.year() == run_month.year
    group = ["kommunekode", "transaktionstype", "navn", "procent"]
    return (
        numbered.group_by(group)
        .agg(
            antal_borgere=pl.col("borger_id").n_unique().cast(pl.Int64),
            antal_uger=pl.col("borger_uge").n_unique().cast(pl.Int64),
            loebende=pl.col("oere").filter(now).sum(),
            indevaerende_aar=pl.col("oere").filter(~now & this_year).sum(),
            tidligere_aar=pl.col("oere").filter(~now & ~this_year).sum(),
            i_alt=pl.col("oere").sum(),
        )
        .sort(group)
    )
