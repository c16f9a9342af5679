"""Understands what stands beside a file on the platform: the trigger that sends it, and the receipts that come back."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from lxml import etree  # type: ignore[import-untyped]  # it has no types of its own

from refusion_assets.domain.levering import FEJL, FORRETNING, RUTE, SUCCES, TEKNISK, Afsender, Item, Modtager
from refusion_assets.domain.wording import without_persons

NAMESPACE = "http://serviceplatformen.dk/xml/wsdl/soap11/SFTP/1/types"
TRIGGER, RECEIPT = ".trigger", ".sftpreceipt"
ROUTED = "ROUTING_V1_0_0"
MOST_BYTES, MOST_LETTERS = 65_536, 200
UUID = re.compile("[a-fA-F0-9]{8}(-[a-fA-F0-9]{4}){3}-[a-fA-F0-9]{12}")
Element = Any  # of lxml
FORM = Path(__file__).with_name("sftp.xsd")


class Refused(Exception):
    """A file that gets no further for a reason of its own; one Danish sentence, and others go on."""


def trigger(item: Item, modtager: Modtager, afsender: Afsender, now: datetime) -> bytes:
    """The trigger of a delivery as XML, proved against our form (sftp.xsd); Refused if it cannot be right.

    Source: the facts of the transfer on Serviceplatformen, as docs/levering.md tells them.
    """
    root = etree.Element(f"{{{NAMESPACE}}}Trigger", nsmap={"sftp": NAMESPACE})
    routed = modtager.kanal == RUTE
    _put(
        root,
        "FileDescriptor",
        FileName=item.fil.fil,
        SizeInBytes=str(item.fil.stoerrelse),
        Sender=modtager.bruger,
        SendersFileId=item.senders_file_id,
        Recipients=ROUTED if routed else modtager.modtager,
    )
    content = etree.SubElement(root, "FileContentDescriptor")
    if routed:
        told = {
            "InfRef": modtager.infref,
            "SenderIt-system": afsender.it_system,
            "SenderAuthority": f"urn:oio:cvr-nr:{afsender.cvr}",
            "TransactionId": item.senders_file_id,
            "SenderTimestamp": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "RecipientIt-system": modtager.it_system,
            "RecipientAuthority": f"urn:oio:cvr-nr:{modtager.cvr}",
        }
        _put(content, "SFTPDynamicRoutingInfo", **{name: value for name, value in told.items() if value})
    if why := wrong(root):
        raise Refused(f"triggeren til {item.fil.fil} ville være forkert ({why}); ret levering.toml")
    text: bytes = etree.tostring(root, xml_declaration=True, encoding="UTF-8")
    return text


def _put(parent: Element, name: str, **values: str) -> None:
    """Put an element with one element for each value below another."""
    made = etree.SubElement(parent, name)
    for key, value in values.items():
        etree.SubElement(made, key).text = value


@cache
def _form() -> etree.XMLSchema:
    return etree.XMLSchema(etree.parse(FORM))


def wrong(root: Element) -> str:
    """The first breach of our form; empty if there is none."""
    form = _form()
    return "" if form.validate(root) else f"linje {form.error_log[0].line}: {form.error_log[0].path}"


def read(data: bytes) -> Element | None:
    """XML from outside as an element; None of what is too large or unreadable. No entity or address is followed."""
    if len(data) > MOST_BYTES:
        return None
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False, huge_tree=False)
    try:
        root = etree.fromstring(data, parser)
    except (etree.XMLSyntaxError, ValueError):
        return None
    # A document type can only be there to do harm.
    return None if root.getroottree().docinfo.doctype else root


def id_of(data: bytes) -> str:
    """The id of the delivery that a trigger on the server is of; empty if it cannot be read."""
    root = read(data)
    return next(_texts(root, "SendersFileId"), "") if root is not None else ""


@dataclass(frozen=True)
class Receipt:
    """A receipt as it was read: its kind and outcome, and the delivery by id, transfer or file, as far as it says."""

    art: str
    udfald: str
    senders_file_id: str = ""
    transfer_id: str = ""
    fil: str = ""
    kode: str | None = None
    tekst: str | None = None


def receipt(data: bytes) -> Receipt | None:
    """The answer in a receipt, whatever its root is called and in whatever namespace; None if it holds none."""
    root = read(data)
    if root is None:
        return None
    said = {name: next(_texts(root, name), "") for name in ("SendersFileId", "FileTransferUUID", "Filename")}
    ids = {
        "senders_file_id": said["SendersFileId"],
        "transfer_id": said["FileTransferUUID"] if UUID.fullmatch(said["FileTransferUUID"]) else "",
        "fil": said["Filename"] or next(_texts(root, "FileName"), ""),
    }
    if answer := next(_texts(root, "FileAcceptance"), ""):
        reason = next(_texts(root, "Reason"), "")
        return Receipt(FORRETNING, plain(answer.upper()) or FEJL, **ids, tekst=_or_none(reason))
    faults = [part for part in root.iter() if _local(part) == "ErrorMessage"]
    if faults:
        told = [_error(fault) for fault in faults]
        tekst = "; ".join(text for _, text in told if text)
        return Receipt(TEKNISK, FEJL, **ids, kode=_or_none(told[0][0]), tekst=_or_none(tekst))
    message = next(_texts(root, "Message"), "") or next(_texts(root, "ResponseMessage"), "")
    if not message:
        return None
    good = message.upper() == SUCCES
    return Receipt(TEKNISK, SUCCES if good else FEJL, **ids, tekst=None if good else _or_none(message))


def _error(fault: Element) -> tuple[str, str]:
    """The code and the text of a fault."""
    code = next(_texts(fault, "ErrorCode"), "")
    parts = [next(_texts(fault, name), "") for name in ("ErrorCodeDescription", "ErrorDescription")]
    text = ": ".join(dict.fromkeys(filter(None, parts)))
    return code, text or " ".join("".join(fault.itertext()).split())


def _local(element: Element) -> str:
    """The name of an element without its namespace; empty of a comment."""
    return etree.QName(element).localname if isinstance(element.tag, str) else ""


def _texts(root: Element, name: str) -> Iterator[str]:
    """The texts of the elements of a name."""
    for element in root.iter():
        if _local(element) == name and (element.text or "").strip():
            yield (element.text or "").strip()


def plain(text: str) -> str:
    """A text from outside on one line, short, and without numbers that could be a person's."""
    line = " ".join("".join(sign if sign.isprintable() else " " for sign in without_persons(text)).split())
    return line if len(line) <= MOST_LETTERS else f"{line[: MOST_LETTERS - 1]}…"


def _or_none(text: str) -> str | None:
    return plain(text) or None
