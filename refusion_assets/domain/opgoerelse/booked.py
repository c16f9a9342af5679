"""Understands what a municipality's ledger booked of a voucher, held against what was settled, line by line."""

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from refusion_assets.domain.opgoerelse.form import Posted
from refusion_assets.domain.wording import kroner_text

SETTLED_ONLY, BOOKED_ONLY = "Opgjort, ikke bogført", "Bogført, ikke opgjort"
OTHER_AMOUNT, OTHER_ACCOUNT = "Andet beløb", "Anden konto"
SHORTEST_TEXT = 10
"""A ledger cuts long texts; a shorter rest than this is no sign of the line."""
# Ten digits alone, with or without a hyphen; the first four are the day and the month of a person's number.
TEN_DIGITS = re.compile(r"(?<!\d)(\d{2})(\d{2})\d{2}[- ]?\d{4}(?!\d)")
OWN_VOUCHER = re.compile(r"YR-\d{4,}-(\d{3})")
Key = tuple[tuple[str, ...], str]


@dataclass(frozen=True)
class Difference:
    """A line of a voucher that the ledger has otherwise: what is wrong, accounts and amounts (øre, debit over 0).

    `linjer`: the numbers of the lines of the file. `hvad`: the benefit and the percentage, or the text.
    """

    slags: str
    hvad: str
    konto: str
    bogfoert_konto: str
    opgjort_oere: int
    bogfoert_oere: int
    linjer: tuple[int, ...] = ()


@dataclass(frozen=True)
class Reconciled:
    """All differences of a voucher, debit and credit as settled and as booked (øre), and how many lines were read.

    `andre`: the lines of other vouchers, which were left out.
    """

    forskelle: list[Difference]
    opgjort: tuple[int, int]
    bogfoert: tuple[int, int]
    linjer: int
    andre: int


def of_voucher(lines: Sequence[Posted], bilagsnr: str) -> list[Posted]:
    """The lines that belong to a voucher: those of it, and those that name none of ours."""
    return [line for line in lines if line.bilagsnr == bilagsnr or not OWN_VOUCHER.fullmatch(line.bilagsnr)]


def koder_of(lines: Iterable[Posted]) -> list[str]:
    """The municipalities whose vouchers the lines name, in order."""
    return sorted({found[1] for line in lines if (found := OWN_VOUCHER.fullmatch(line.bilagsnr))})


def reconciled(settled: Sequence[Posted], booked: Sequence[Posted], bilagsnr: str) -> Reconciled:
    """The differences between a voucher and what a ledger booked of it. Øre.

    Both sides have the same columns filled. A line is known by its account, its benefit and its percentage. Where the
    file has neither of the last, the text names it. Several bookings of a line are summed. Hjemmel: none, technical.
    """
    mine = of_voucher(booked, bilagsnr)
    texts = [_plain(line.tekst) for line in settled] if not any(line.ydelse or line.procent for line in settled) else []
    opgjort = _sums(settled, texts)
    bogfoert: dict[Key, list[Posted]] = defaultdict(list)
    for line in mine:
        bogfoert[_key(line, texts)].append(line)
    _by_account_alone(opgjort, bogfoert)
    found = [d for key, (line, oere) in opgjort.items() if key in bogfoert for d in _amounts(line, oere, bogfoert[key])]
    missing = {key: each for key, each in opgjort.items() if key not in bogfoert and each[1]}
    extra = {key: each for key, each in bogfoert.items() if key not in opgjort and sum(one.oere for one in each) != 0}
    _by_another_name(missing, extra)
    found += _moved(missing, extra)
    found += [_difference(SETTLED_ONLY, line, oere, ()) for line, oere in missing.values()]
    found += [_difference(BOOKED_ONLY, None, 0, lines) for lines in extra.values()]
    return Reconciled(found, _sides(settled), _sides(mine), len(mine), len(booked) - len(mine))


def _plain(text: str) -> str:
    return " ".join(text.casefold().split())


def _account(parts: Sequence[str]) -> tuple[str, ...]:
    """An account without dots, blanks and the leading zeros that a spreadsheet takes away."""
    return tuple(re.sub(r"[\W_]", "", part.casefold()).lstrip("0") for part in parts)


def _rate(text: str) -> str:
    """A percentage without its sign and its zeros: 80 for `80,00 %`."""
    bare = re.sub(r"[\s%]|pct\.?", "", text.casefold()).replace(".", ",")
    return re.sub(r",0*$", "", bare)


def _key(line: Posted, texts: Sequence[str]) -> Key:
    """The account and the name of a line; for a text that the ledger has cut, the whole one."""
    if not texts:
        return _account(line.konto), f"{_plain(line.ydelse)}|{_rate(line.procent)}"
    text = _plain(line.tekst)
    whole = {known for known in texts if known.startswith(text)} if len(text) >= SHORTEST_TEXT else set()
    return _account(line.konto), whole.pop() if len(whole) == 1 else text


def _sums(lines: Iterable[Posted], texts: Sequence[str]) -> dict[Key, tuple[Posted, int]]:
    found: dict[Key, tuple[Posted, int]] = {}
    for line in lines:
        key = _key(line, texts)
        found[key] = (line, found[key][1] + line.oere if key in found else line.oere)
    return found


def _by_account_alone(opgjort: Mapping[Key, object], bogfoert: dict[Key, list[Posted]]) -> None:
    """Give the only settled line of an account the bookings there that name it otherwise, or not at all."""
    settled: dict[tuple[str, ...], list[Key]] = defaultdict(list)
    for key in opgjort:
        settled[key[0]].append(key)
    for key in [key for key in bogfoert if key not in opgjort and len(settled.get(key[0], ())) == 1]:
        [only] = settled[key[0]]
        if key[1].strip("|") == "" or only not in bogfoert:
            bogfoert[only] = bogfoert.get(only, []) + bogfoert.pop(key)


def _amounts(line: Posted, oere: int, lines: Sequence[Posted]) -> Iterator[Difference]:
    """The difference of a line that was booked on its account with another amount, if it was."""
    booked = sum(one.oere for one in lines)
    if booked != oere:
        times = booked // oere if oere and booked % oere == 0 else 0
        slags = f"Bogført {times} gange" if times > 1 and len(lines) >= times else OTHER_AMOUNT
        yield _difference(slags, line, oere, lines)


def _by_another_name(missing: dict[Key, tuple[Posted, int]], extra: dict[Key, list[Posted]]) -> None:
    """Take out of both what an account has under another name: lines of the same amount, then all, if they sum alike.

    A ledger cuts texts until two lines look alike, and a spreadsheet writes 0,2 for 20 pct.
    """
    for key in list(extra):
        parts = extra.pop(key)
        left = [one for one in parts if not _taken(missing, key[0], one.oere)]
        total = sum(one.oere for one in left)
        if total and not _taken(missing, key[0], total):
            extra[key] = left
    for konto in {key[0] for key in missing}:
        mine, theirs = ([key for key in side if key[0] == konto] for side in (missing, extra))
        booked = sum(one.oere for key in theirs for one in extra[key])
        if theirs and booked == sum(missing[key][1] for key in mine):
            for key in mine:
                del missing[key]
            for key in theirs:
                del extra[key]


def _taken(missing: dict[Key, tuple[Posted, int]], konto: tuple[str, ...], oere: int) -> bool:
    """True if a missing line of an account had this amount; it is taken out."""
    found = next((key for key, (_, settled) in missing.items() if (key[0], settled) == (konto, oere)), None)
    return found is not None and missing.pop(found) is not None


def _moved(missing: dict[Key, tuple[Posted, int]], extra: dict[Key, list[Posted]]) -> list[Difference]:
    """The lines booked on another account, which are taken out of both: of the same benefit, or of the same amount."""
    found = []
    for key, (line, oere) in list(missing.items()):
        same = [other for other, lines in extra.items() if sum(one.oere for one in lines) == oere]
        named = [other for other in extra if other[1] == key[1] and other[1].strip("|")]
        chosen = [other for other in same if other in named] or named or (same if len(same) == 1 else [])
        if len(chosen) == 1:
            found.append(_difference(OTHER_ACCOUNT, line, oere, extra.pop(chosen[0])))
            del missing[key]
    return found


def _difference(slags: str, line: Posted | None, oere: int, lines: Sequence[Posted]) -> Difference:
    """A difference in words for people; a text of the file that may hold a person's number is not shown."""
    shown = line or lines[0]
    hvad = ", ".join(filter(None, (shown.ydelse, f"{_rate(shown.procent)} pct." if shown.procent else "")))
    hvad = hvad or shown.tekst
    mine = _shown(line.konto) if line else ""
    ours = _account(line.konto) if line else ()
    accounts = {mine if _account(one.konto) == ours else _safe(_shown(one.konto)) for one in lines}
    theirs = " og ".join(sorted(accounts))
    booked = sum(one.oere for one in lines)
    return Difference(
        slags, hvad if line else _safe(hvad), mine, theirs, oere, booked, tuple(one.linje for one in lines)
    )


def _shown(konto: Sequence[str]) -> str:
    return " / ".join(part for part in konto if part)


def _safe(text: str) -> str:
    dates = [(int(hit[1]), int(hit[2])) for hit in TEN_DIGITS.finditer(text)]
    return "(vises ikke)" if any(0 < day <= 91 and 0 < month <= 12 for day, month in dates) else text


def _sides(lines: Iterable[Posted]) -> tuple[int, int]:
    """Debit and credit of some lines, both over zero. Øre."""
    amounts = [line.oere for line in lines]
    return sum(oere for oere in amounts if oere > 0), -sum(oere for oere in amounts if oere < 0)


def told(result: Reconciled, what: str, bilagsnr: str) -> Iterator[str]:
    """The result in Danish lines: one if all agrees, else the differences and the sums. `what`: the file."""
    (debet, kredit), (mine, theirs) = result.opgjort, result.bogfoert
    others = f" {result.andre} linjer hører til andre bilag og er ikke med." if result.andre else ""
    if not result.forskelle:
        yield (
            f"{bilagsnr} stemmer med {what}: {result.linjer} linjer, debet {kroner_text(debet)} og kredit "
            f"{kroner_text(kredit)}{others}"
        )
        return
    yield f"{bilagsnr} stemmer ikke med {what}; antal forskelle: {len(result.forskelle)}.{others}"
    for one in result.forskelle:
        yield f"  {one.slags}: {_told(one)}"
    yield f"  Opgjort: debet {kroner_text(debet)} og kredit {kroner_text(kredit)}"
    yield f"  Bogført: debet {kroner_text(mine)} og kredit {kroner_text(theirs)}"


def _told(one: Difference) -> str:
    konto = one.konto or one.bogfoert_konto
    if one.slags == OTHER_ACCOUNT:
        konto = f"{one.konto} og ikke {one.bogfoert_konto}"
    parts = [konto, one.hvad]
    if one.slags != BOOKED_ONLY:
        parts.append(f"opgjort {_sided(one.opgjort_oere)}")
    if one.slags != SETTLED_ONLY:
        parts.append(f"bogført {_sided(one.bogfoert_oere)}")
    lines = f" (linje {', '.join(map(str, one.linjer))})" if one.linjer else ""
    return "; ".join(filter(None, parts)) + lines


def _sided(oere: int) -> str:
    return f"{kroner_text(abs(oere))} i {'debet' if oere >= 0 else 'kredit'}"
