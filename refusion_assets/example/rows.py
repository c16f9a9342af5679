"""Understands raw rows: the events of the example as text, and the damage of each mishap.

The columns are those of the input contract (input.md section 2).
"""

from functools import cache

import polars as pl

from refusion_assets.example.fixed import NO_AMOUNT
from refusion_assets.example.people import month_start
from refusion_assets.example.reports import TO_EMPLOYER, TO_PERSON, World, chance

COLUMNS = (
    "IndberetningsID", "ReferenceID", "Indberetningsart", "Pligt_SE", "Kommunekode", "CPR", "Person_SE",
    "Loenperiode_start", "Loenperiode_slut", "Dispositionsdato", "Indkomsttype", "Indtaegtsart",
    "Felt0014", "Felt0037", "Felt0038", "Felt0046", "Felt0048", "Felt0098", "Felt0114", "Felt0115",
    "Felt0214_start", "Felt0214_slut", "Felt0215_start", "Felt0215_slut", "Felt0216", "Modtaget_tidspunkt",
)  # fmt: skip
"""The columns of a report after Lb_nr, in order."""

AMOUNTS = ("0014", "0037", "0038", "0046", "0048")
"""The amount fields that a benefit may be paid in."""


@cache
def _dates() -> pl.Series:
    days = pl.int_range(0, 30_000, eager=True)
    return days.cast(pl.Int32).cast(pl.Date).cast(pl.String)


@cache
def _clock() -> pl.Series:
    seconds = pl.int_range(0, 86_400, eager=True)
    return (seconds * 1_000_000_000).cast(pl.Time).dt.to_string("T%H:%M:%S")


def kroner(oere: pl.Expr) -> pl.Expr:
    """An amount in øre as kroner with two decimals after a comma."""
    whole, rest = oere.abs() // 100, oere.abs() % 100
    sign = pl.when(oere < 0).then(pl.lit("-")).otherwise(pl.lit(""))
    return pl.concat_str(sign, whole.cast(pl.String), pl.lit(","), rest.cast(pl.String).str.zfill(2))


def date_text(days: pl.Expr) -> pl.Expr:
    """A day since 1970 as YYYY-MM-DD; null stays null."""
    return pl.lit(_dates()).gather(days)


def raw_rows(world: World, sent: pl.DataFrame, maaned: int) -> pl.DataFrame:
    """The rows received in a month as text: COLUMNS, one row per event, by sender and in random order.

    Also afsender and the sums of a manifest: er_T, sum0014, sum0037 (readable øre in those fields).
    """
    hjemme, ude = world.people.kommuner[0], world.people.kommuner[-1]
    account = world.accounts.select(
        *("ydelse", "felt", "konto", "indkomsttype", "indtaegtsart", "beloebsfelt", "fremmed_konto")
    )
    facts = (
        sent.with_columns(
            lod=chance(world, "raekkefoelge", sent, "nummer", "person", "start"),
            cpr=pl.lit(world.people.cpr).gather(pl.col("person")),
            er_T=pl.col("mrk").is_in(["T", "U"]),
        )
        .join(account, on="ydelse", how="left", maintain_order="left")
        .join(world.senders, on="afsender", how="left", maintain_order="left")
        .with_columns(
            fremmed_kommune=pl.when(pl.col("Kommunekode") == hjemme).then(pl.lit(ude)).otherwise(pl.lit(hjemme))
        )
    )
    helpers = ("afsender", "lod", "er_T", "fejl", "fremmed_konto", "fremmed_kommune")
    raw = facts.select(*helpers, "Pligt_SE", "Kommunekode", **_who(), **_money(), **_periods(maaned))
    return spoilt(raw).sort("afsender", "lod", maintain_order=True)


def _only_reports(value: pl.Expr) -> pl.Expr:
    return pl.when(~pl.col("er_T")).then(value)


def _who() -> dict[str, pl.Expr]:
    """Ids, persons and kind of income: a reversal of a whole report names no person."""
    employer, cpr = pl.col("kontoart") == TO_EMPLOYER, pl.col("cpr")
    number = pl.col("nummer").cast(pl.String)
    return {
        "IndberetningsID": pl.col("mrk") + number,
        "ReferenceID": pl.col("ref") + number,
        "Indberetningsart": pl.when("er_T").then(pl.lit("T")).otherwise(pl.lit("I")),
        "CPR": pl.when("er_T").then(pl.when(~pl.col("hel")).then(cpr)).when(~employer).then(cpr),
        "Person_SE": _only_reports(pl.when(employer).then(pl.col("arbejdsgiver").cast(pl.String))),
        "Indkomsttype": pl.col("indkomsttype"),
        "Indtaegtsart": _only_reports(pl.col("indtaegtsart")),
        "Felt0216": _only_reports(pl.when(employer).then(cpr)),
    }


def _money() -> dict[str, pl.Expr]:
    """The amount and the account in their fields, and the readable øre that a manifest sums."""
    oere, field, felt = pl.col("oere"), pl.col("beloebsfelt"), pl.col("felt")
    readable = pl.when(pl.col("fejl").ne_missing("EI-001 beloeb")).then(oere)
    amounts = {f"Felt{name}": _only_reports(pl.when(field == name).then(kroner(oere))) for name in AMOUNTS}
    accounts = {f"Felt{name}": _only_reports(pl.when(felt == name).then("konto")) for name in ("0114", "0115")}
    sums = {f"sum{name}": _only_reports(pl.when(field == name).then(readable)) for name in ("0014", "0037")}
    repaid = _only_reports(pl.when(pl.col("tilbage") > 0).then(kroner(pl.col("tilbage"))))
    return {**amounts, **accounts, **sums, "Felt0098": repaid}


def _periods(maaned: int) -> dict[str, pl.Expr]:
    """The pay period, equal to the benefit period, and the moment of receipt (the 1st to the 26th)."""
    first, last, person = date_text(pl.col("start")), date_text(pl.col("slut")), pl.col("kontoart") == TO_PERSON
    on_day, at = date_text(month_start(maaned) + pl.col("lod") % 26), pl.lit(_clock()).gather(pl.col("lod") % 86_399)
    return {
        "Loenperiode_start": first,
        "Loenperiode_slut": last,
        "Dispositionsdato": last,
        "Felt0214_start": _only_reports(pl.when(person).then(first)),
        "Felt0214_slut": _only_reports(pl.when(person).then(last)),
        "Felt0215_start": _only_reports(pl.when(~person).then(first)),
        "Felt0215_slut": _only_reports(pl.when(~person).then(last)),
        "Modtaget_tidspunkt": on_day + at,
    }


KONTI = ("Felt0114", "Felt0115")
BELOEB = tuple(f"Felt{name}" for name in AMOUNTS)
NOTHING = pl.lit(None, pl.String)


def _where_filled(columns: tuple[str, ...], value: pl.Expr) -> dict[str, pl.Expr]:
    return {column: pl.when(pl.col(column).is_not_null()).then(value) for column in columns}


SPOILT = {
    "YR-001": _where_filled(KONTI, pl.lit("urn:oio:kommune:konto:000000000")),
    "YR-002": dict.fromkeys(KONTI, pl.coalesce(KONTI)),
    "YR-003": dict.fromkeys(KONTI, NOTHING),
    "YR-004": {"Felt0214_slut": NOTHING},
    "YR-005 periode": {"Felt0215_start": NOTHING},
    "YR-005 person": {"Felt0216": NOTHING},
    "YR-006": {"Felt0215_slut": NOTHING},
    "YR-007": {"Felt0114": pl.col("Felt0115"), "Felt0115": pl.col("Felt0114")},
    "YR-008": _where_filled(KONTI, pl.col("fremmed_konto")),
    "EI-001 tom": {"Dispositionsdato": NOTHING},
    "EI-001 beloeb": _where_filled(BELOEB, pl.lit(NO_AMOUNT)),
    "EI-001 dato": {"Felt0214_start": pl.col("Felt0214_start").str.head(4) + "-02-30"},
    "EI-001 negativ": {"Felt0098": pl.lit("-100,00")},
    "EI-002 loen": {"Loenperiode_start": pl.col("Loenperiode_slut"), "Loenperiode_slut": pl.col("Loenperiode_start")},
    "EI-002 ydelse": {"Felt0214_start": pl.col("Felt0214_slut"), "Felt0214_slut": pl.col("Felt0214_start")},
    "EI-002 lang": {"Felt0214_start": pl.lit("2012-07-01")},
    "EI-003": {"CPR": "99" + pl.col("CPR").str.slice(2)},
    "EI-006": {"Indtaegtsart": pl.lit("0099")},
    "EI-008 ukendt": {"Kommunekode": pl.lit("999")},
    "EI-008 anden": {"Kommunekode": pl.col("fremmed_kommune")},
}
"""The changed text of a row, by mishap."""


def spoilt(raw: pl.DataFrame) -> pl.DataFrame:
    """The raw rows (columns of input.md section 2 as text, and fejl) with the damage of each mishap, in another order.

    Needs fremmed_konto and fremmed_kommune: values that are wrong for the row.
    """
    bad = raw.filter(pl.col("fejl").is_in(list(SPOILT))).partition_by("fejl", as_dict=True, maintain_order=True)
    whole = raw.filter(pl.col("fejl").is_in(list(SPOILT)).fill_null(value=False).not_())
    return pl.concat([whole, *(part.with_columns(**SPOILT[str(fejl[0])]) for fejl, part in bad.items())])
