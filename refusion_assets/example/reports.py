"""Understands the regular reports of a month, some of them late."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import polars as pl

from refusion_assets.example.lives import Konti, spells
from refusion_assets.example.people import People, draw, month_start

NATIONAL = {"akasse": ("20100001", "20100002", "20100003", "20100004"), "su": ("34042012",), "udk": ("33236698",)}
"""The SE numbers of the national sources; four unemployment funds."""

TO_PERSON, TO_EMPLOYER, TO_FLEKSJOB = 1, 2, 3
"""KontoArt: the receiver of the money, which decides the fields for person and period."""

REPAID = (10,) + (0,) * 99
"""Per cent repaid, to draw among."""

LATE_WEEKS = (1,) * 12 + (2,) * 4 + (3,) * 2 + (0,) * 85
LATE_MONTHS = (1,) * 15 + (2,) * 3 + (3,) * 2 + (0,) * 980
"""Months of delay, to draw among: one in six reports on weeks is late, two in a hundred of the others."""

MOST_PARTS, ROOM = 100, 1_000_000
"""Room in the report numbers: parts of the people, and reports per call of `reports`."""


@dataclass(frozen=True)
class World:
    """The common part of all months: people, their spells, the accounts and the senders.

    `spells`: in parts, one per chunk of people. `accounts`: one row per account, with first sender, number of senders,
    and an account of another source (fremmed_konto). `fra`, `til`: first and last month of receipt. Months are year *
    12 + month - 1.
    """

    people: People
    konti: Konti
    spells: list[pl.DataFrame]
    senders: pl.DataFrame
    accounts: pl.DataFrame
    fra: int
    til: int


def world_of(people: People, konti: Konti, fra: int, til: int) -> World:
    """The world of an example with receipt in the months fra..til; spells end with til."""
    senders = senders_of(konti, people.kommuner)
    of_kilde = senders.group_by("kilde").agg(
        kommunal=pl.col("Kommunekode").first().is_not_null(),
        foerste_afsender=pl.col("afsender").min(),
        antal_afsendere=pl.len().cast(pl.Int64),
    )
    accounts = konti.frame.join(of_kilde, on="kilde", how="left", maintain_order="left")
    accounts = accounts.with_columns(fremmed_konto=_foreign(konti.frame))
    return World(people, konti, spells(people, konti, month_start(til + 1) - 1), senders, accounts, fra, til)


def senders_of(konti: Konti, kommuner: list[str]) -> pl.DataFrame:
    """One row per sender: afsender (number), kilde, enhed, Pligt_SE, Kommunekode (null for a national source).

    The municipal sources come first, each with one sender per municipality.
    """
    kilder = (
        konti.frame.select("kilde", "felt")
        .unique("kilde", keep="first", maintain_order=True)
        .sort("felt", "kilde", descending=[True, False])
    )
    felter = dict(kilder.iter_rows())
    rows: list[tuple[str, str, str, str | None]] = []
    for kilde, felt in felter.items():
        if felt == "0115":
            rows += [(kilde, kode, f"2986{kode}0", kode) for kode in kommuner]
        else:
            rows += [(kilde, se, se, None) for se in NATIONAL.get(kilde, ("20900001",))]
    frame = pl.DataFrame(rows, ["kilde", "enhed", "Pligt_SE", "Kommunekode"], orient="row")
    return frame.with_row_index("afsender").with_columns(pl.col("afsender").cast(pl.Int64))


def _foreign(accounts: pl.DataFrame) -> pl.Series:
    """Per account, the first account for persons with the same field and another source."""
    persons = accounts.filter(pl.col("kontoart") == TO_PERSON)
    found = [
        persons.filter(pl.col("felt") == felt, pl.col("kilde") != kilde)["konto"].head(1).to_list()
        for felt, kilde in accounts.select("felt", "kilde").iter_rows()
    ]
    return pl.Series([konto[0] if konto else None for konto in found], dtype=pl.String)


def reports(world: World, part: int, months: range) -> pl.DataFrame:
    """The regular reports about some months and one part of the people: one row per claim.

    Columns: maaned (of the benefit), person, ydelse (row number of the account), start, slut (days since 1970, within
    the account's validity). In øre: oere, tilbage (Felt0098). Also afsender, arbejdsgiver (SE number), modtaget (month
    of receipt), kommunal, kontoart and form of the account. Rows of one report share nummer.
    """
    active = _active(world, part, months)
    by_form = [
        _within_month(active.filter(pl.col("form") == "maaned")),
        _weeks(world, active.filter(pl.col("form") == "uge")),
        _stretches(world, _within_month(active.filter(pl.col("form") == "straek"))),
    ]
    validity = {"start": pl.max_horizontal("start", "fra"), "slut": pl.min_horizontal("slut", "til")}
    rows = pl.concat(by_form).with_columns(**validity).filter(pl.col("start") <= pl.col("slut"))
    return _numbered(world, _paid(world, _sent(world, rows)), part)


def _active(world: World, part: int, months: range) -> pl.DataFrame:
    """One row per spell and touched month, with the month's days a..b and the account in force."""
    starts = np.array([month_start(maaned) for maaned in (*months, months.stop)])
    touched = (pl.col("start") < int(starts[-1]), pl.col("slut") >= int(starts[0]))
    first = pl.max_horizontal(_month_of("start"), pl.lit(months.start))
    last = pl.min_horizontal(_month_of("slut"), pl.lit(months.stop - 1))
    spells = world.spells[part].filter(*touched).cast(pl.Int64)
    rows = spells.with_columns(maaned=pl.int_ranges(first, last + 1)).explode("maaned")
    nr = rows["maaned"].to_numpy() - months.start
    in_force = np.array([world.konti.instead(a, b - 1) for a, b in pairwise(starts.tolist())])
    rows = rows.with_columns(
        a=pl.Series(starts[nr]),
        b=pl.Series(starts[nr + 1] - 1),
        ydelse=pl.Series(in_force[nr, rows["ydelse"].to_numpy()]),
    )
    return rows.join(world.accounts, on="ydelse", maintain_order="left")


def _month_of(day: str) -> pl.Expr:
    date = pl.col(day).cast(pl.Int32).cast(pl.Date)
    return date.dt.year().cast(pl.Int64) * 12 + date.dt.month() - 1


def pick(lot: pl.Expr, values: Sequence[int | str | None]) -> pl.Expr:
    """One of the values per row, each as often as it occurs in `values`; the lot is a number of chance()."""
    return pl.lit(pl.Series(values)).gather(lot % len(values))


def chance(world: World, purpose: str, rows: pl.DataFrame, *keys: str) -> pl.Expr:
    """A number from 0 to 2**62 - 1 per row, from the seed, the purpose and the key columns."""
    return pl.lit(pl.Series(purpose, draw(world.people.seed, purpose, *(rows[key].to_numpy() for key in keys))))


def _within_month(rows: pl.DataFrame) -> pl.DataFrame:
    return rows.with_columns(start=pl.max_horizontal("start", "a"), slut=pl.min_horizontal("slut", "b"))


def _weeks(world: World, rows: pl.DataFrame) -> pl.DataFrame:
    """Periods of one, two or four weeks from the Monday of the spell, in the month of their end."""
    length = pick(chance(world, "uger ad gangen", rows, "spell"), (7, 7, 7, 14, 28))
    rows = rows.with_columns(laengde=length, mandag=pl.col("start") - (pl.col("start") + 3) % 7)
    length, monday, slut, b = (pl.col(name) for name in ("laengde", "mandag", "slut", "b"))
    last = pl.when(slut <= b).then((slut - monday) // length).otherwise((b - monday + 1) // length - 1)
    first = pl.max_horizontal(pl.lit(0), (pl.col("a") - monday) // length)
    rows = rows.with_columns(nr=pl.int_ranges(first, last + 1)).explode("nr", empty_as_null=False)
    from_ = monday + pl.col("nr") * length
    period = {"start": pl.max_horizontal("start", from_), "slut": pl.min_horizontal("slut", from_ + length - 1)}
    return rows.with_columns(**period).drop("laengde", "mandag", "nr")


def _stretches(world: World, rows: pl.DataFrame) -> pl.DataFrame:
    """Months, one in seven cut in two stretches by a week without the benefit."""
    lot = chance(world, "fri uge", rows, "spell", "maaned")
    monday = pl.col("a") + 7 + (4 - pl.col("a")) % 7 + 7 * (lot // 7 % 2)
    rows = rows.with_columns(fri=pl.when(lot % 7 == 0).then(monday))
    cut = ((pl.col("start") < pl.col("fri")) & (pl.col("slut") > pl.col("fri") + 6)).fill_null(value=False)
    whole, parted = rows.filter(~cut), rows.filter(cut)
    before, after = parted.with_columns(slut=pl.col("fri") - 1), parted.with_columns(start=pl.col("fri") + 7)
    return pl.concat([whole, before, after]).drop("fri")


def _sent(world: World, rows: pl.DataFrame) -> pl.DataFrame:
    """With afsender: the paying municipality, or the person's national source; cut where the payer changes."""
    people = world.people
    for nr in (1, 2):
        rows = rows.with_columns(skifte=pl.Series(people.betaler[:, nr][rows["person"].to_numpy()]))
        cut = pl.col("kommunal") & (pl.col("start") < pl.col("skifte")) & (pl.col("skifte") <= pl.col("slut"))
        parted = rows.filter(cut)
        before = parted.with_columns(slut=pl.col("skifte") - 1)
        rows = pl.concat([rows.filter(~cut), before, parted.with_columns(start=pl.col("skifte"))])
    person = rows["person"].to_numpy()
    nr = (people.betaler[person, 1:] <= rows["start"].to_numpy()[:, None]).sum(axis=1)
    kommune = pl.Series(people.kommune[person, nr])
    fund = chance(world, "akasse", rows, "person") % pl.col("antal_afsendere")
    place = pl.when("kommunal").then(kommune).otherwise(fund)
    return rows.drop("skifte").with_columns(afsender=pl.col("foerste_afsender") + place)


def _paid(world: World, rows: pl.DataFrame) -> pl.DataFrame:
    """With tilbage and oere: the spell's level for its days, rising two per cent a year."""
    level = pl.col("lo") * 100 + chance(world, "niveau", rows, "spell") % (100 * (pl.col("hi") - pl.col("lo")))
    level = level * (100 + 2 * (pl.col("maaned") // 12 - 2020)) // 100
    days = pl.col("slut") - pl.col("start") + 1
    share = pl.when(pl.col("form") == "uge").then(7).otherwise(pl.col("b") - pl.col("a") + 1)
    repaid = pick(chance(world, "tilbagebetaling", rows, "spell", "start"), REPAID)
    rows = rows.with_columns(oere=level * days // share)
    return rows.with_columns(tilbage=pl.when(pl.col("kilde") == "ky").then(pl.col("oere") * repaid // 100).otherwise(0))


def _numbered(world: World, rows: pl.DataFrame, part: int) -> pl.DataFrame:
    """With arbejdsgiver, modtaget (some reports are late) and nummer.

    One report: a sender's rows on one spell in the month, or on all people of one employer.
    """
    people = world.people
    size = people.antal // (400 * len(people.kommuner)) + 2
    employer = 30_000_000 + pl.col("afsender") * 10_000 + chance(world, "arbejdsgiver", rows, "spell") % size
    lot = chance(world, "forsinket", rows, "spell", "start")
    late = pl.when(pl.col("form") == "uge").then(pick(lot, LATE_WEEKS)).otherwise(pick(lot, LATE_MONTHS))
    to_employer = pl.col("kontoart") == TO_EMPLOYER
    rows = rows.with_columns(
        arbejdsgiver=pl.when(to_employer).then(employer),
        modtaget=pl.col("maaned") + late,
        rapport=pl.when(to_employer).then(-employer * 64 - pl.col("ydelse")).otherwise(pl.col("spell")),
    )
    same = draw(0, "rapport", *(rows[name].to_numpy() for name in ("rapport", "maaned", "afsender", "modtaget")))
    yymm = pl.col("maaned") // 12 % 100 * 100 + pl.col("maaned") % 12 + 1
    nummer = (yymm * MOST_PARTS + part) * ROOM + pl.Series(np.unique(same, return_inverse=True)[1])
    return rows.select(
        *("maaned", "person", "ydelse", "start", "slut", "oere", "tilbage", "afsender", "arbejdsgiver", "modtaget"),
        *("kommunal", "kontoart", "form"),
        nummer=nummer,
    )
