"""Understands the fixed-width form, for tests: written from the table of data_formats.md 2.2, not from the product.

A file has one 1000 as long as the moment of receipt is the same, full-width lines, and bare reversals (4101).
"""

from collections.abc import Sequence
from pathlib import Path

from refusion_assets.domain.efterregning.reports import read_oere
from tests.kit.data_root import Row, read_csv, write_manifest

AMOUNTS = ("0014", "0037", "0038", "0046", "0048", "0098")
REPORT = ("IndberetningsID", "ReferenceID", "Loenperiode_start", "Loenperiode_slut", "Dispositionsdato", "Indkomsttype")


def put(length: int, **at: str) -> str:
    """A record from position 8: texts by their first position, as `p12`, blanks between."""
    line = [" "] * (length + 1)
    for name, text in at.items():
        first = int(name[1:])
        assert first + len(text) - 1 <= length, (name, text)
        line[first : first + len(text)] = text
    return "".join(line[8:])


def amount(felt: str, written: str) -> str:
    """A record 6001; an amount that cannot be read in CSV gets a third decimal, so that it cannot be read here."""
    oere = read_oere(written)
    kroner, decimals = divmod(abs(oere or 0), 100)
    sign = "-" if written.startswith("-") else "+"
    fraction = f"{decimals:02}0000" if oere is not None else "001000"
    return put(32, p8="6001", p12=felt, p16=f"{kroner:010}", p26=fraction, p32=sign)


def packed(day: str) -> str:
    """A day without its dashes; eight blanks for none."""
    return day.replace("-", "").ljust(8)


def records(rows: Sequence[Row]) -> list[str]:
    """The records of some rows of the contract, without their line numbers and without the trailer."""
    made: list[str] = []
    moment = payer = report = None
    for row in rows:
        if row["Modtaget_tidspunkt"] != moment:
            moment, payer = row["Modtaget_tidspunkt"], None
            day, _, clock = moment.partition("T")
            made.append(
                put(142, p8="1000", p12=packed(day), p20=clock.replace(":", ""), p106="2.0", p109="P", p142="E")
            )
        if row["Pligt_SE"] != payer:
            payer, report = row["Pligt_SE"], None
            made.append(put(39, p8="2001", p28=payer, p37="DKK"))
        if row["Indberetningsart"] == "T":
            own, of, cpr = row["IndberetningsID"], row["ReferenceID"], row["CPR"]
            made.append(put(55, p8="4101", p12=own, p28=of, p45="J" if cpr else "N", p46=cpr))
            continue
        head = [row[name] for name in REPORT]
        if head != report:
            report = head
            own, of, *days, kind = head
            start, slut, paid = map(packed, days)
            made.append(put(75, p8="5000", p13=own, p29=of, p45=start, p53=slut, p61=paid, p70="B", p74=kind))
        made.append(put(95, p8="6000", p20=row["CPR"], p30=row["Person_SE"], p82=row["Indtaegtsart"]))
        made += [amount(felt, row[f"Felt{felt}"]) for felt in AMOUNTS if row[f"Felt{felt}"]]
        texts = {felt: row[f"Felt{felt}"] for felt in ("0114", "0115", "0216")}
        for felt in ("0214", "0215"):
            texts[felt] = "".join(packed(row[f"Felt{felt}_{end}"]) for end in ("start", "slut"))
        # Right-aligned, as the public builder writes a text.
        made += [put(73, p8="6004", p12=felt, p16=text.rjust(58)) for felt, text in texts.items() if text.strip()]
    return made


def numbered(posts: Sequence[str]) -> bytes:
    """A whole file of records, each with its line number, and the trailer."""
    lines = [f"{number:07}{post}" for number, post in enumerate([*posts, f"9999{len(posts) + 1:07}"], 1)]
    return "".join(f"{line}\n" for line in lines).encode("latin-1")


def fixed_width(rows: Sequence[Row]) -> bytes:
    """The rows of a file of reports in the fixed-width form."""
    head = ["100020240201000000", put(39, p8="2001", p28="29000000", p37="DKK")]
    return numbered(records(rows) or head)


def as_fixed(path: Path) -> Path:
    """A file of reports in CSV and its manifest written anew in the fixed-width form; the path of the new file."""
    rows = read_csv(path)
    made = path.with_suffix(".txt")
    made.write_bytes(fixed_width(rows))
    path.unlink()
    return write_manifest(made, rows)
