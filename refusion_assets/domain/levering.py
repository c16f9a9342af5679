"""Understands the delivery of a run's files: who gets which, what came back, and what a file's status then is."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

import pandera.polars as pa
import polars as pl

from refusion_assets.domain.contract import Contract

Kanal = Literal["sp-simpel", "sp-rute", "mappe"]
SIMPEL, RUTE, MAPPE = "sp-simpel", "sp-rute", "mappe"
UNDER, LAGT, SENDT = "under_afsendelse", "lagt", "sendt"
LEVERET, GODKENDT, AFVIST, FEJLET = "leveret", "godkendt", "afvist", "fejlet"
STATUSER = (UNDER, LAGT, SENDT, LEVERET, GODKENDT, AFVIST, FEJLET)
ON_ITS_WAY, OUT_OF_HAND = (UNDER, LAGT, FEJLET), (SENDT, LEVERET, GODKENDT)
TEKNISK, FORRETNING = "teknisk", "forretning"
SUCCES, FEJL, ACCEPTERET, AFSLAAET = "SUCCESS", "FEJL", "ACCEPTED", "REJECTED"
OPFOELGNING = "opfoelgning"
KINDS = ("beregning", "advisering", "opgoerelse", "bogfoering", OPFOELGNING)
OURS = uuid5(NAMESPACE_URL, "https://ydelsesrefusion.dk/levering")
CVR, SYSTEM = re.compile("[0-9]{8}"), re.compile("[a-f0-9]{8}(-[a-f0-9]{4}){3}-[a-f0-9]{12}")
FILE = "levering.toml"


class Forsendelse(Contract, key=["senders_file_id"]):
    """One row per delivery of a file: where it goes, how far it has come, and why it went no further. UTC."""

    koersel: pl.Int64
    maaned: pl.Date = pa.Field(description="run month")
    kommunekode: pl.String = pa.Field(description="municipality that gets the file")
    fil: pl.String = pa.Field(description="name of the file sent")
    sha256: pl.String = pa.Field(description="hash of the bytes sent")
    stoerrelse: pl.Int64 = pa.Field(ge=0, description="bytes of the file")
    gang: pl.Int64 = pa.Field(ge=1, description="1, and one more each time the same file is sent again on purpose")
    senders_file_id: pl.String = pa.Field(description="id of the delivery: of run, file name, hash and gang")
    kanal: pl.String = pa.Field(description="the way to the receiver, as in levering.toml")
    status: pl.String = pa.Field(isin=list(STATUSER), description="how far the delivery has come")
    forsoeg: pl.Int64 = pa.Field(ge=0, description="attempts so far")
    oprettet: pl.Datetime = pa.Field(description="when the delivery was begun, UTC")
    sendt: pl.Datetime = pa.Field(nullable=True, description="when the trigger, or the file in a folder, stood, UTC")
    kvitteret: pl.Datetime = pa.Field(nullable=True, description="when the last receipt was read, UTC")
    transfer_id: pl.String = pa.Field(nullable=True, description="the platform's own id of the transfer")
    fejl: pl.String = pa.Field(nullable=True, description="one Danish sentence: why it went no further")


class Kvittering(Contract, key=["kvittering_id"]):
    """One row per receipt read: its kind and outcome, its code and text, shortened and without numbers of persons."""

    kvittering_id: pl.String = pa.Field(description="hash of the receipt's name and content")
    senders_file_id: pl.String = pa.Field(description="the delivery that it is about")
    fil: pl.String = pa.Field(description="name of the file sent")
    art: pl.String = pa.Field(isin=[TEKNISK, FORRETNING, MAPPE], description="who answers: platform, receiver, folder")
    udfald: pl.String = pa.Field(description="the answer: SUCCESS, FEJL, ACCEPTED, REJECTED or as it was written")
    kode: pl.String = pa.Field(nullable=True, description="code of the fault")
    tekst: pl.String = pa.Field(nullable=True, description="text of the answer, shortened")
    transfer_id: pl.String = pa.Field(nullable=True, description="the platform's own id of the transfer")
    laest: pl.Datetime = pa.Field(description="when it was read, UTC")


@dataclass(frozen=True, kw_only=True)
class Afsender:
    """The entry `[[afsender]]`: who sends, and what holds for every receiver that says nothing else."""

    vaert: str = ""
    port: int = 22
    bruger: str = ""
    ud: str = "OUT"
    ind: str = "IN"
    cvr: str = ""
    it_system: str = ""
    infref: str = ""
    kvittering: Literal["teknisk", "forretning"] = "teknisk"
    kvittering_timer: int = 4
    forsoeg: int = 3
    ryd_op: bool = False


@dataclass(frozen=True, kw_only=True)
class Modtager:
    """An entry `[[modtager]]`: the municipality, its way, and the kinds of files it gets."""

    kommunekode: str
    cvr: str
    kanal: Kanal
    filer: tuple[str, ...]
    vaert: str = ""
    port: int = 0
    bruger: str = ""
    ud: str = ""
    ind: str = ""
    modtager: str = ""
    it_system: str = ""
    infref: str = ""
    kvittering: Literal["", "teknisk", "forretning"] = ""


@dataclass(frozen=True)
class Levering:
    """The content of levering.toml: the sender, and each receiver with what it takes from the sender, by code."""

    afsender: Afsender
    modtagere: Mapping[str, Modtager]


def assembled(afsendere: Sequence[Afsender], modtagere: Sequence[Modtager]) -> Levering:
    """The delivery of proved entries (`faults`)."""
    afsender = afsendere[0] if afsendere else Afsender()
    return Levering(afsender, {one.kommunekode: _filled(one, afsender) for one in modtagere})


def _filled(one: Modtager, afsender: Afsender) -> Modtager:
    """A receiver with the sender's values where it has none of its own; a folder has its own only."""
    if one.kanal == MAPPE:
        return one
    names = ("vaert", "port", "bruger", "ud", "ind", "infref", "kvittering")
    return replace(one, **{name: getattr(one, name) or getattr(afsender, name) for name in names})


def faults(
    afsendere: Sequence[Afsender], modtagere: Sequence[Modtager], koder: Sequence[str], kinds: Sequence[str]
) -> Iterator[str]:
    """The faults of levering.toml, in Danish with entry and remedy; `kinds`: the kinds of files that a run has."""
    if len(afsendere) > 1:
        yield f"{FILE}, afsender: står {len(afsendere)} gange; behold een post"
    for afsender in afsendere[:1]:
        yield from (f"{FILE}, afsender: {fault}" for fault in _of_sender(afsender))
    seen = set()
    filled = assembled(afsendere, modtagere).modtagere
    for number, one in enumerate(modtagere, 1):
        where = f"{FILE}, modtager, post {number}"
        if one.kommunekode not in koder:
            yield f"{where}: kommunekode = '{one.kommunekode}': findes ikke i kommuner.csv; skriv en kommunes kode"
        if one.kommunekode in seen:
            yield f"{where}: kommunekode = '{one.kommunekode}': står to gange; en kommune har een modtager"
        seen.add(one.kommunekode)
        yield from (f"{where}: {fault}" for fault in _of_files(one, kinds))
        yield from (f"{where}: {fault}" for fault in _of_way(filled[one.kommunekode], (afsendere or [Afsender()])[0]))


def _of_sender(afsender: Afsender) -> Iterator[str]:
    if not 1 <= afsender.port <= 65535:
        yield f"port = {afsender.port}: skriv et tal fra 1 til 65535"
    if not 1 <= afsender.forsoeg <= 10:
        yield f"forsoeg = {afsender.forsoeg}: skriv et tal fra 1 til 10"
    if not 1 <= afsender.kvittering_timer <= 240:
        yield f"kvittering_timer = {afsender.kvittering_timer}: skriv et tal fra 1 til 240"
    if afsender.cvr and not CVR.fullmatch(afsender.cvr):
        yield f"cvr = '{afsender.cvr}': er ikke otte cifre"
    if afsender.it_system and not SYSTEM.fullmatch(afsender.it_system):
        yield "it_system: er ikke et UUID med små bogstaver"


def _of_files(one: Modtager, kinds: Sequence[str]) -> Iterator[str]:
    if not one.filer:
        yield "filer: er tom; nævn mindst een slags, eller fjern posten"
    for kind in dict.fromkeys(one.filer):
        if kind not in kinds:
            yield f"filer: '{kind}' er ingen slags fil; de kendte er {', '.join(kinds)}"
        if one.filer.count(kind) > 1:
            yield f"filer: '{kind}' står to gange; behold den ene"


def _of_way(one: Modtager, afsender: Afsender) -> Iterator[str]:
    """The faults of a receiver's way, when the sender's values are filled in."""
    if not CVR.fullmatch(one.cvr):
        yield f"cvr = '{one.cvr}': er ikke otte cifre"
    if one.it_system and not SYSTEM.fullmatch(one.it_system):
        yield "it_system: er ikke et UUID med små bogstaver"
    if one.kanal != MAPPE:
        yield from _of_server(one)
    elif not one.ud.startswith("/") or ".." in one.ud.split("/"):
        yield f"ud = '{one.ud}': en mappe skrives med hele sin sti fra /, fx /mnt/kommune-630"
    if one.kanal == SIMPEL and not one.modtager:
        yield "modtager mangler; skriv modtagerens brugernavn på Serviceplatformen"
    if one.kanal == RUTE and not one.infref:
        yield "infref mangler; skriv filspecifikationens navn her eller i [[afsender]]"
    for name in ("cvr", "it_system") if one.kanal == RUTE else ():
        if not getattr(afsender, name):
            yield f"[[afsender]] {name} mangler; dynamisk rutning kræver den"


def _of_server(one: Modtager) -> Iterator[str]:
    for name in ("vaert", "bruger"):
        if not getattr(one, name):
            yield f"{name} mangler; skriv den her eller i [[afsender]]"
    if not 1 <= one.port <= 65535:
        yield f"port = {one.port}: skriv et tal fra 1 til 65535"
    if {"..", ""} & {*one.ud.removeprefix("/").split("/"), *one.ind.removeprefix("/").split("/")}:
        yield "ud, ind: skriv mappens navn på serveren, fx OUT og IN, uden .. og uden / til sidst"


@dataclass(frozen=True)
class Fil:
    """A file of a run for a municipality: its name, its hash in SHA256SUMS, and its size in bytes."""

    kommunekode: str
    fil: str
    sha256: str
    stoerrelse: int


@dataclass
class Item:
    """A delivery of a file in hand: the file, its run, id and gang, and how far it has come."""

    fil: Fil
    koersel: int
    gang: int
    senders_file_id: str
    status: str
    forsoeg: int = 0
    fejl: str | None = None
    sendt: datetime | None = None
    again: str = ""


def senders_file_id(koersel: int, fil: str, sha256: str, gang: int = 1) -> str:
    """The id of a delivery; of run, file name and hash, so that sending twice is one delivery."""
    first = uuid5(OURS, f"{koersel}/{fil}/{sha256}")
    return str(first if gang == 1 else uuid5(first, str(gang)))


def planned(fil: Fil, koersel: int, before: Sequence[Mapping[str, Any]], *, igen: bool) -> tuple[Item | None, str]:
    """The delivery of a file that is to be made, or None, and the status that stands; `before`: its rows in order.

    A file that was out of hand last is not sent again. One that was refused is sent again only with `igen`. Where
    another content was sent last, it is a new delivery, which says so.
    """
    last = before[-1] if before else None
    same = [row for row in before if row["sha256"] == fil.sha256]
    gang = 1 + max((row["gang"] for row in same), default=0)
    again = ""
    if last is not None and last["sha256"] == fil.sha256:
        if last["status"] in OUT_OF_HAND or (last["status"] == AFVIST and not igen):
            return None, str(last["status"])
        if last["status"] != AFVIST:
            # It failed before its file was laid; one that failed later is still `lagt`, as its trigger may stand.
            status = UNDER if last["status"] == FEJLET else str(last["status"])
            return Item(fil, koersel, last["gang"], last["senders_file_id"], status, last["forsoeg"]), status
        again = "sendes igen efter en afvisning"
    elif any(row["status"] not in (UNDER, FEJLET) for row in before):
        again = "en ny udgave: måneden er kørt igen, og filen er en anden end den, der er sendt"
    return Item(fil, koersel, gang, senders_file_id(koersel, fil.fil, fil.sha256, gang), UNDER, again=again), UNDER


def after(status: str, udfald: str) -> str:
    """The status of a delivery after a receipt; a business answer outweighs the platform's."""
    if udfald == ACCEPTERET:
        return GODKENDT
    if udfald != SUCCES:
        return AFVIST
    return status if status in (GODKENDT, AFVIST) else LEVERET


def done(status: str, one: Modtager | None) -> bool:
    """True if all receipts of a delivery are in: the receiver's own, where levering.toml asks for it."""
    business = one is not None and one.kvittering == FORRETNING
    return status == GODKENDT or (status == LEVERET and not business)
