"""Understands trouble: corrections, reversals, double reports and rows that must be rejected.

Some row breaks every row rule of the input contract (input.md section 4). Corrections come by chance; the mishaps take
turns, so that even a small example has every kind.
"""

import numpy as np
import polars as pl

from refusion_assets.example.people import draw, month_start
from refusion_assets.example.reports import TO_EMPLOYER, TO_FLEKSJOB, TO_PERSON, World, chance, pick

ANY, ALONE = pl.lit(value=True), pl.col("alene")
KONTOART, KOMMUNAL, DAGE = pl.col("kontoart"), pl.col("kommunal"), pl.col("slut") - pl.col("start") + 1

WEEK = 7

FATE_OF_REPORT = ("hel rettet",) * 2 + ("hel trukket",) + (None,) * 997
FATE_OF_PERSON = (
    ("rettet",) * 5 + ("trukket",) * 2 + ("tillaeg",) * 4 + ("nedsat",) * 4 + ("nulstillet",) + (None,) * 984
)
"""Corrections of a thousand reports, and of a thousand persons' rows in a report."""

REJECTED = {
    "YR-001": ANY,
    "YR-002": ANY,
    "YR-003": ANY,
    "YR-004": KONTOART == TO_PERSON,
    "YR-005 periode": KONTOART == TO_EMPLOYER,
    "YR-005 person": KONTOART == TO_EMPLOYER,
    "YR-006": KONTOART == TO_FLEKSJOB,
    "YR-007": ANY,
    "YR-008": KONTOART == TO_PERSON,
    "EI-001 tom": ANY,
    "EI-001 beloeb": ANY,
    "EI-001 dato": KONTOART == TO_PERSON,
    "EI-001 negativ": ANY,
    "EI-002 loen": DAGE > 1,
    "EI-002 ydelse": (KONTOART == TO_PERSON) & (DAGE > 1),
    "EI-002 lang": KONTOART == TO_PERSON,
    "EI-003": KONTOART != TO_EMPLOYER,
    "EI-008 ukendt": KOMMUNAL,
    "EI-008 anden": KOMMUNAL,
}
"""Mishaps that put the row in quarantine, and the reports that can have them."""

UHELD = {
    **REJECTED,
    "EI-006": ANY,
    "EI-007": pl.col("udenfor") >= 0,
    "EI-009": (KONTOART == TO_PERSON) & KOMMUNAL & (pl.col("form") == "uge") & (DAGE <= WEEK),
    "EI-010": ALONE,
    "EI-013": ALONE,
    "EI-014": ALONE,
    "EI-015": ALONE,
    "EI-016": (KONTOART == TO_PERSON) & (DAGE >= 2 * WEEK),
    "T uden CPR": pl.col("flere"),
}
"""All mishaps, named by the broken rule; the last breaks none: it reverses a report about several people."""

MUCH_MONEY = 250_000
"""Øre a day: a full week of it is above the bound of 12,000 kr. for one benefit (EI-016)."""


def events(world: World, rows: pl.DataFrame, months: range) -> pl.DataFrame:
    """All events that are ever sent about the reports of some months: one row per raw row, reversals included.

    Columns of reports() and four more. `mrk`: first letter of the id; T and U are reversals. `ref`: first letter of the
    reversed id. `hel`: the whole report is reversed. `fejl`: the mishap, mostly null. `modtaget` is a month of receipt
    of the example; later events are left out.
    """
    marks = {"mrk": pl.lit("H"), "ref": pl.lit(None, pl.String), "hel": pl.lit(value=False)}
    rows = rows.with_columns(**marks, udenfor=_outside(world, rows, months))
    rows = rows.with_columns(_mishaps(world, rows, months)).with_columns(**_fate(world, rows))
    sent = pl.concat([*_after_mishaps(world, rows), *_corrections(world, rows)])
    received = pl.max_horizontal("modtaget", pl.lit(world.fra))
    return (
        sent.drop("skaebne", "senere", "udenfor")
        .with_columns(modtaget=received)
        .filter(pl.col("modtaget") <= world.til)
    )


def _fate(world: World, rows: pl.DataFrame) -> dict[str, pl.Expr]:
    """Per row the correction of its report, or of one person's rows in it, and the months until then."""
    whole = pick(chance(world, "hel indberetning", rows, "nummer"), FATE_OF_REPORT)
    own = pick(chance(world, "skaebne", rows, "nummer", "person"), FATE_OF_PERSON)
    return {
        "skaebne": pl.when(pl.col("fejl").is_null()).then(pl.coalesce(whole, own)),
        "senere": 1 + chance(world, "senere", rows, "nummer") % 2,
    }


def _corrections(world: World, rows: pl.DataFrame) -> list[pl.DataFrame]:
    """Reversals, most of them with the correct report, and supplements up and down."""
    fate, amount = pl.col("skaebne"), pl.col("oere") - pl.col("tilbage")
    later = rows.filter(fate.is_not_null()).with_columns(modtaget=pl.col("modtaget") + pl.col("senere"))
    own = later.filter(fate.is_in(["rettet", "trukket"]))
    added = later.filter(fate.is_in(["tillaeg", "nedsat", "nulstillet"]))
    some = amount * (5 + chance(world, "tillaeg", added, "nummer", "person") % 20) // 100
    change = pl.when(fate == "tillaeg").then(some).when(fate == "nedsat").then(-some).otherwise(-amount)
    return [
        _reversal(later.filter(fate.str.starts_with("hel")).unique("nummer", keep="first", maintain_order=True)),
        _reversal(own.unique(["nummer", "person"], keep="first", maintain_order=True), hel=False),
        _as_it_should_be(world, later.filter(fate.str.ends_with("rettet"))),
        added.with_columns(mrk=pl.lit("S"), oere=change, tilbage=pl.lit(0, pl.Int64)),
    ]


def _reversal(rows: pl.DataFrame, *, hel: bool = True) -> pl.DataFrame:
    return rows.with_columns(mrk=pl.lit("T"), ref=pl.col("mrk"), hel=pl.lit(hel))


def _as_it_should_be(world: World, rows: pl.DataFrame) -> pl.DataFrame:
    """The correct report: another amount, and for one longer period in four an earlier end."""
    lot = chance(world, "rettelse", rows, "nummer", "person", "start")
    shorter = (lot % 4 == 0) & (DAGE >= WEEK)
    return rows.with_columns(
        mrk=pl.lit("K"),
        oere=pl.col("oere") * (80 + lot // 4 % 35) // 100,
        slut=pl.when(shorter).then(pl.col("slut") - 1 - lot // 200 % 5).otherwise(pl.col("slut")),
    )


def _mishaps(world: World, rows: pl.DataFrame, months: range) -> pl.Series:
    """The mishap of each row: two rows in a thousand, at least three of a month; null for the others."""
    many = max(3 * len(months), rows.height // 500)
    lot = draw(world.people.seed, "uheld", *(rows[key].to_numpy() for key in ("nummer", "person", "start")))
    order = np.argsort(lot, kind="stable")[: max(60 * many, 5_000)]
    person = pl.col("person")
    among = {"alene": pl.len() == 1, "flere": person.min() != person.max()}
    fits = rows.with_columns(**{name: is_so.over("nummer") for name, is_so in among.items()})[order].select(**UHELD)
    kind = np.zeros(rows.height, dtype=np.int64)
    for turn in range(len(UHELD)):
        nr = (months.start * many + turn) % len(UHELD)
        free = order[fits.to_series(nr).to_numpy() & (kind[order] == 0)]
        kind[free[: many // len(UHELD) + (turn < many % len(UHELD))]] = nr + 1
    return pl.Series("fejl", [None, *UHELD]).gather(kind)


def _outside(world: World, rows: pl.DataFrame, months: range) -> pl.Series:
    """Per row an account of the same source, for persons, out of force in the month and the one before; or -1."""
    konti, frame = world.konti, world.konti.frame
    kilde, person = frame["kilde"].to_numpy(), frame["kontoart"].to_numpy() == TO_PERSON
    fits = (kilde[:, None] == kilde) & person & person[:, None]
    table = []
    for maaned in months:
        gone = (konti.fra >= month_start(maaned + 1)) | (konti.til < month_start(maaned - 1))
        table.append(np.where((fits & gone).any(axis=1), (fits & gone).argmax(axis=1), -1))
    return pl.Series(np.array(table)[rows["maaned"].to_numpy() - months.start, rows["ydelse"].to_numpy()])


def _after_mishaps(world: World, rows: pl.DataFrame) -> list[pl.DataFrame]:
    """The reports as sent, and the later events of the mishaps."""
    fejl, received = pl.col("fejl"), pl.col("modtaget")
    sent = rows.with_columns(
        ydelse=pl.when(fejl == "EI-007").then("udenfor").otherwise("ydelse"),
        oere=pl.when(fejl == "EI-016").then(DAGE * MUCH_MONEY).otherwise("oere"),
        modtaget=pl.when(fejl == "EI-014").then(received + 2).otherwise(received),
    )
    struck = rows.filter(fejl.is_not_null())
    later = struck.with_columns(modtaget=received + 1)
    place = pl.col("afsender") % len(world.people.kommuner)
    neighbour = pl.col("afsender") - place + (place + 1) % len(world.people.kommuner)
    lowered = {"mrk": pl.lit("S"), "oere": -(pl.col("oere") // 4), "tilbage": pl.lit(0, pl.Int64)}
    # The first month of receipt holds all of history, so the second file with the same id must come after it.
    second_file = pl.max_horizontal(received, pl.lit(world.fra)) + 1
    return [
        sent,
        later.filter(fejl.is_in(list(REJECTED)), pl.col("nummer") % 2 == 0).with_columns(
            mrk=pl.lit("R"), fejl=pl.lit(None, pl.String)
        ),
        struck.filter(fejl == "EI-009").with_columns(mrk=pl.lit("D"), afsender=neighbour),
        struck.filter(fejl == "EI-013").with_columns(modtaget=second_file),
        _reversal(struck.filter(fejl == "EI-014")),
        _reversal(later.filter(fejl.is_in(["EI-010", "EI-015", "T uden CPR"]))),
        later.filter(fejl == "EI-010").with_columns(**lowered),
        later.filter(fejl == "EI-015").with_columns(mrk=pl.lit("U"), ref=pl.lit("T"), hel=pl.lit(value=True)),
    ]
