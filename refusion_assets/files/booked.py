"""Understands vouchers as files: written in the form that a municipality asks for, and what its ledger booked read."""

import csv
import io
from collections.abc import Sequence
from datetime import date
from pathlib import Path

import polars as pl

from refusion_assets.domain.opgoerelse.booked import Reconciled, koder_of, of_voucher, reconciled
from refusion_assets.domain.opgoerelse.form import Posted, needed, read, recognised, shown
from refusion_assets.domain.opgoerelse.ledger import run_day, run_number, ydelse_navne
from refusion_assets.domain.opgoerelse.voucher import voucher, wished
from refusion_assets.domain.rules.entries import Rulebook
from refusion_assets.domain.rules.posting import BOOKED, Bilagsform
from refusion_assets.domain.stop import Stop
from refusion_assets.place import Place, kept
from refusion_assets.rulebook.load import load

SEPARATORS = ";\t|,"


def voucher_bytes(lines: pl.DataFrame, form: Bilagsform, rules: Rulebook) -> bytes:
    """The lines of a municipality's voucher (`Bilagslinje`) as the bytes of a file in a form."""
    text = shown(lines, form, rules).write_csv(
        separator=form.skiller,
        include_header=form.overskrift,
        line_terminator="\r\n" if form.linjeskift == "crlf" else "\n",
    )
    return text.encode(form.tegnsaet)


def lines_of(content: bytes, forms: Sequence[Bilagsform]) -> tuple[Bilagsform, list[Posted]]:
    """The form of a file, one of `forms`, and its lines; Stop that says what cannot be read, and where.

    The text can be UTF-8 or Windows-1252, with or without a byte order mark, and the separator that of a spreadsheet. A
    form without headings is only looked for as the first one.
    """
    text = _decoded(content)
    if not text.strip():
        raise Stop("er tom; hent filen i økonomisystemet igen")
    rows_by: dict[str, list[list[str]]] = {}
    for separator in dict.fromkeys([form.skiller for form in forms] + list(SEPARATORS)):
        rows_by[separator] = _rows(text, separator)
        if found := recognised(rows_by[separator], [form for form in forms if form.overskrift]):
            form, place = found
            return form, list(read(rows_by[separator], form, place))
    bare = forms[0]
    rows = rows_by[bare.skiller]
    if not bare.overskrift and len(rows[0]) == len(bare.kolonner):
        return bare, list(read(rows, bare, None))
    known = "; ".join(f"{form.id}: {', '.join(needed(form))}" for form in forms if form.overskrift)
    raise Stop(f"ligner ingen bilagsform; overskrifterne skal være med, mindst disse ({known})")


def _decoded(content: bytes) -> str:
    try:
        return content.decode("utf-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        return content.decode("cp1252", errors="replace")


def _rows(text: str, separator: str) -> list[list[str]]:
    """Every line of a text as its values; blank ones have none, so that a line keeps its number."""
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator))
    except csv.Error:
        raise Stop("kan ikke læses som CSV; hent filen i økonomisystemet igen") from None


def reconcile(place: Place, month: date, path: Path, kommune: str) -> tuple[Reconciled, str]:
    """The differences between a file of bookings and the ledger of run `month`, and the number of the voucher.

    The run is read in the copy for analysts, under the rules of the run. `kommune`: the code, or empty where the file
    names the voucher. Stop if the file cannot be read, names several municipalities, or the run is not there.
    """
    rules = _rules_of(place, month)
    try:
        content = path.read_bytes()
    except OSError as error:
        raise Stop(f"{path} kan ikke læses: {error.strerror}") from None
    own = wished([kommune] if kommune else rules.koder, run_day(month, rules), rules)
    asked = [rules.bilagsform(name) for name in [*dict.fromkeys(own.values()), BOOKED]]
    forms = list(dict.fromkeys(form.id for form in [*filter(None, asked), *rules.bilagsformer]))
    try:
        form, booked = lines_of(content, [found for name in forms if (found := rules.bilagsform(name))])
    except Stop as stop:
        raise Stop(f"{path.name}: {stop}") from None
    kode = kommune or _kode(booked, path)
    bilagsnr = f"YR-{run_number(month, rules):04d}-{kode}"
    if not of_voucher(booked, bilagsnr):
        raise Stop(f"{path.name}: ingen linje hører til {bilagsnr}; er det den rigtige fil, måned og kommune?")
    lines = voucher(_ledger(place, month, kode, rules), ydelse_navne(rules), month, rules)
    settled = _as_read(voucher_bytes(lines, form, rules), form, booked) if lines.height else []
    return reconciled(settled, booked, bilagsnr), bilagsnr


def _as_read(content: bytes, form: Bilagsform, booked: Sequence[Posted]) -> list[Posted]:
    """The lines of a file of our own as the columns of another file say them: without what that one never says."""
    said = [name for name in ("ydelse", "procent", "tekst") if any(getattr(line, name) for line in booked)]
    filled = [any(parts) for parts in zip(*(line.konto for line in booked), strict=True)]
    return [
        Posted(
            line.linje,
            tuple(part if there else "" for part, there in zip(line.konto, filled, strict=True)),
            line.oere,
            **{name: getattr(line, name) for name in said},
        )
        for line in lines_of(content, [form])[1]
    ]


def _kode(booked: Sequence[Posted], path: Path) -> str:
    koder = koder_of(booked)
    if len(koder) != 1:
        found = f"har bilag fra {', '.join(koder)}" if koder else "nævner intet bilagsnr"
        raise Stop(f"{path.name}: {found}; skriv kommunens kode med --kommune")
    return koder[0]


def _rules_of(place: Place, month: date) -> Rulebook:
    """The rules of a run; Stop if there is no run of the month."""
    with place.warehouse.reading() as session:
        versions = session.frame("SELECT regelversion FROM opgoerelse.koersel WHERE maaned = $m", m=month)
    if versions.is_empty():
        raise Stop(f"der er ingen kørsel {month:%Y-%m} i den udgivne kopi; kør måneden først")
    version = str(versions["regelversion"][0])
    return place.rules if version == place.rules.version else load(kept(place, version), kept=True)


def _ledger(place: Place, month: date, kode: str, rules: Rulebook) -> pl.DataFrame:
    """The money of one municipality in a run; Stop if it was not settled."""
    if kode not in rules.koder:
        raise Stop(f"{kode} er ingen kommune; skriv en kode som 630 med --kommune")
    number = run_number(month, rules)
    with place.warehouse.reading() as session:
        query = "SELECT count(*) FROM opgoerelse.kommune WHERE koersel = $n AND kommunekode = $kode"
        if not session.value(query, n=number, kode=kode):
            raise Stop(f"{kode} er ikke opgjort i kørsel {month:%Y-%m}")
        return session.frame(
            """SELECT kommunekode, ydelse_id, procent, refusion_oere, medfinansiering_oere FROM opgoerelse.postering
            WHERE koersel = $n AND kommunekode = $kode""",
            n=number,
            kode=kode,
        )
