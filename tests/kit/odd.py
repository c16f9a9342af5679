"""Understands odd values: what a column of a delivered row can hold that nobody would write on purpose, for tests."""

import random
import unicodedata
from datetime import date, timedelta

from refusion_assets.domain.efterregning.reports import Fil
from refusion_assets.domain.raw import COLUMNS
from refusion_assets.domain.rules.entries import Konto, Rulebook

DIGITS = [chr(n) for n in range(128, 0x1FC00) if unicodedata.category(chr(n)) == "Nd"]
SIGNS = [
    "+",
    "-",
    "−",
    "‐",
    "'",
    '"',
    ";",
    ",",
    ".",
    " ",
    "\t",
    "\n",
    "\r",
    "\r\n",
    "\0",
    "\x1f",
    "\x7f",
    "\x85",
    "\xa0",
    "\ufeff",
    "\u200b",
    "\u202e",
    "\u2028",
    "\uffff",
    "\U000fffff",
    "²",
    "½",
    "Ⅷ",
    "①",
    "é",
    "e\u0301",
    "ß",
    "İ",
    "€",
    "😀",
    "\\",
    "/",
    "{",
    "%",
    "|",
    "_",
    "e9",
    "E",
    "x",
]
WORDS = [
    "",
    " ",
    "0",
    "-0",
    "+1",
    "-1",
    "00",
    "NULL",
    "null",
    "None",
    "nan",
    "NaN",
    "inf",
    "-inf",
    "Infinity",
    "true",
    "1e5",
    "1e999999999",
    "-1E-9",
    "0x1f",
    "1_000",
    "1.000,00",
    "1,234",
    "1,",
    ",5",
    "-,5",
    "1.5",
    "--1",
    "9" * 10,
    "9" * 11,
    "9" * 18,
    "9" * 19,
    "9" * 5000,
    "9999999999,99",
    "-9999999999,99",
    "0" * 10 + ",00",
    "0" * 11,
    "-0,00",
    "-0,01",
    "0000-01-01",
    "0001-01-01",
    "0001-12-31",
    "0999-06-01",
    "1583-01-01",
    "1899-12-31",
    "1900-02-29",
    "9999-12-31",
    "9999-01-01",
    "10000-01-01",
    "2024-13-01",
    "2024-00-10",
    "2024-02-30",
    "2023-02-29",
    "2024-02-29",
    "2024-04-31",
    "2024-1-1",
    "20240101",
    "2024-W05-1",
    "2024-032",
    "01-02-2024",
    "2024-02-01 ",
    " 2024-02-01",
    "2024-02-01T00:00:00",
    "2024-02-01T24:00:00",
    "2024-02-01T23:59:60",
    "2024-02-01T23:59:59",
    "2024-02-01t12:00:00",
    "2024-02-01T12:00:00Z",
    "2024-02-01T12:00:00+01:00",
    "2024-02-01T12:00:00.5",
    "2024-02-01T12:00",
    "2024-02-01 12:00:00",
    "2024-03-31T02:30:00",
    "0000-01-01T00:00:00",
    "0001-01-01T00:00:00",
    "9999-12-31T23:59:59",
    "2024-02-30T12:00:00",
    "2024-02-01T99:00:00",
    "2024-02-01T12:60:00",
    "I",
    "T",
    "i",
    "I ",
    "T\0",
    "169",
    "101",
    "999",
    "0169",
    "16",
    "1699",
    "6110512470",
    "0000000000",
    "6100000000",
    "9999999999",
    "3213004321",
    "6113004321",
    "9912992470",
    "611051-2470",
    " 6110512470",
    "6110512470 ",
    "+110512470",
    "6110512470\n",
    "urn:oio:kommune:konto:557731007",
    "urn:oio:akasse:konto:adp",
    "URN:OIO:AKASSE:KONTO:ADP",
    "x" * 59,
    "x" * 90_000,
    "=1+1",
    "@SUM(A1)",
    "'); DROP",
    "../..",
]
PERIODS = [
    ("0001-01-01", "0001-01-07"),
    ("0001-01-01", "0002-01-01"),
    ("9999-01-01", "9999-12-31"),
    ("9998-12-31", "9999-12-31"),
    ("9999-12-31", "9999-12-31"),
    ("1899-12-31", "1900-01-01"),
    ("2024-02-29", "2025-02-28"),
    ("2024-02-29", "2025-03-01"),
    ("2038-01-19", "2038-01-20"),
    ("1677-09-20", "1677-09-22"),
    ("2262-04-11", "2262-04-12"),
    ("2014-06-30", "2014-07-01"),
]


def odd_value(good: str, chance: random.Random) -> str:
    """A value gone wrong: another altogether, or the good one with a sign or a digit of another script in it."""
    kind = chance.random()
    if kind < 0.35 or not good:
        return chance.choice(WORDS)
    place = chance.randrange(len(good) + 1)
    if kind < 0.6:
        return good[:place] + chance.choice(SIGNS) + good[place:]
    digits = [n for n, sign in enumerate(good) if sign.isdigit()]
    if kind < 0.8 and digits:
        place = chance.choice(digits)
        return good[:place] + chance.choice(DIGITS) + good[place + 1 :]
    if kind < 0.9 and digits:
        zero = ord(chance.choice(DIGITS)) // 16 * 16
        shifted = "".join(chr(zero + int(sign)) if sign in "0123456789" else sign for sign in good)
        return shifted if chance.random() < 0.5 else good[:place] + chance.choice("0123456789") + good[place + 1 :]
    return chance.choice(
        [good.lower(), good.upper(), good[::-1], good * 2, good[1:], good[:-1], f" {good}", f"{good} "]
    )


def person(number: int) -> str:
    """A synthetic number: day + 60, born 1930 to 1989."""
    birth = f"{61 + number % 28:02}{1 + number // 28 % 12:02}{30 + number // 336 % 60:02}"
    return f"{birth}{number % 4}{number // 20160 % 1000:03}"


def good_row(konto: Konto, kommunal: bool, number: int, month: date) -> dict[str, str]:
    """A good report on an account, of a fortnight that ends in the month of receipt."""
    row = dict.fromkeys((name for name, _, _ in COLUMNS), "")
    fra, til = month + timedelta(days=number % 9), month + timedelta(days=number % 9 + 13)
    felt = "Felt0214" if konto.kontoart == 1 else "Felt0215"
    money = "Felt0037" if konto.kontoart == 2 else "Felt0014"
    row |= {
        "IndberetningsID": f"F{number:09}",
        "Indberetningsart": "I",
        "Pligt_SE": f"29{number % 7:06}",
        "Kommunekode": "169" if kommunal else "",
        "CPR": person(number),
        "Loenperiode_start": f"{fra}",
        "Loenperiode_slut": f"{til}",
        "Dispositionsdato": f"{til}",
        "Indkomsttype": konto.indkomsttype,
        "Indtaegtsart": konto.indtaegtsart,
        money: f"{1000 + number % 9000},{number % 100:02}",
        "Felt0046": "12,30",
        f"Felt{konto.felt}": konto.konto,
        f"{felt}_start": f"{fra}",
        f"{felt}_slut": f"{til}",
        "Modtaget_tidspunkt": f"{til}T12:00:00",
    }
    return row | ({"Felt0216": person(number), "CPR": "", "Person_SE": "12345678"} if konto.kontoart == 2 else {})


def as_reversal(row: dict[str, str], of: dict[str, str], chance: random.Random) -> dict[str, str]:
    """The row as a reversal of another, of all of it or of its person."""
    empty = dict.fromkeys(
        (name for name in row if name.startswith(("Felt0114", "Felt0115", "Felt0214", "Felt0215"))), ""
    )
    aim = {"ReferenceID": of["IndberetningsID"], "Pligt_SE": of["Pligt_SE"], "CPR": chance.choice(["", of["CPR"]])}
    return row | empty | {"Indberetningsart": "T"} | aim


def spoiled(row: dict[str, str], name: str, chance: random.Random) -> dict[str, str]:
    """The row with an odd value in a column, or an odd period in the two of it; now and then as it was."""
    stem, _, end = name.rpartition("_")
    if end in ("start", "slut") and chance.random() < 0.3:
        first, last = chance.choice(PERIODS)
        return row | {f"{stem}_start": first, f"{stem}_slut": last}
    return row | {name: odd_value(row[name], chance)} if chance.random() < 0.95 else row


def odd_files(rules: Rulebook, months: list[date], lines: int, seed: int, lines_a_file: int = 2_000) -> list[Fil]:
    """Files of every sender in every month in which nearly each row has an odd value, in every column in turn."""
    chance = random.Random(seed)  # noqa: S311  a choice of values, not a secret
    kommunal = {kilde.id: kilde.art == "kommunal" for kilde in rules.kilder}
    konti = {kilde: [k for k in rules.konti if k.kilde_id == kilde] for kilde in kommunal}
    senders = [kilde for kilde, mine in konti.items() if mine]
    size = min(lines_a_file, lines // len(senders) // len(months))
    names = [name for name, _, _ in COLUMNS]
    files, number = list[Fil](), 0
    while number < lines:
        month = months[len(files) // len(senders) % len(months)]
        for kilde in senders:
            rows = list[dict[str, str]]()
            for lb_nr in range(1, size + 1):
                number += 1
                row = good_row(chance.choice(konti[kilde]), kommunal[kilde], number, month) | {"Lb_nr": str(lb_nr)}
                if chance.random() < 0.1 and rows:
                    row = as_reversal(row, chance.choice(rows), chance)
                rows.append(spoiled(row, names[number % len(names)], chance))
            enhed = "169" if kommunal[kilde] else "20100001"
            name = f"eindkomst-yr-{kilde}-{enhed}-{month:%Y%m}-{len(files) + 1:04}.csv"
            files.append(Fil(name, kilde, enhed, f"{month:%Y-%m}", name, rows))
    return files


def as_csv(rows: list[dict[str, str]], names: list[str]) -> bytes:
    """Rows in the form of the contract; in quotes what needs them."""
    lines = [names, *([row[name] for name in names] for row in rows)]
    quoted = (
        ('"' + text.replace('"', '""') + '"' if any(sign in text for sign in ';"\r\n') else text for text in line)
        for line in lines
    )
    return ("\n".join(";".join(line) for line in quoted) + "\n").encode()
