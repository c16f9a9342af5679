"""Receipts: every form of them is read, nothing in them is trusted, and they are never removed unasked."""

from dataclasses import replace
from datetime import datetime

import pytest
from lxml import etree

from refusion_assets.domain.levering import Afsender, Fil, Item, Modtager
from refusion_assets.domain.operations.bankdays import DANISH
from refusion_assets.levering import trigger as xml
from tests.kit.data_root import REPO
from tests.kit.sftp import NS, needs_sshd
from tests.levering.conftest import Shown

OWN = "0f0e0d0c-0b0a-4908-8706-050403020100"
TRANSFER = "123e4567-e89b-42d3-a456-426614174000"
FORMS = {
    "plain": f"<TechnicalReceipt><FileTransferUUID>{TRANSFER}</FileTransferUUID><SendersFileId>{OWN}</SendersFileId>"
    "<Receipt><Message>SUCCESS</Message></Receipt></TechnicalReceipt>",
    "qualified root": f'<a:TechnicalReceipt xmlns:a="{NS}"><FileTransferUUID>{TRANSFER}</FileTransferUUID>'
    f"<SendersFileId>{OWN}</SendersFileId><Receipt><Message>success</Message></Receipt></a:TechnicalReceipt>",
    "all qualified": f'<TechnicalReceipt xmlns="{NS}"><FileTransferUUID>{TRANSFER}</FileTransferUUID>'
    f"<SendersFileId> {OWN} </SendersFileId><Receipt><Message>SUCCESS</Message></Receipt></TechnicalReceipt>",
}


@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_a_technical_receipt_is_read_whatever_its_namespace(form: str) -> None:
    assert xml.receipt(form.encode()) == xml.Receipt("teknisk", "SUCCESS", OWN, TRANSFER)


def test_errors_are_read_with_the_code_of_the_first_and_all_texts() -> None:
    error = "<ErrorMessage><ErrorCode>{}</ErrorCode><ErrorCodeDescription>{}</ErrorCodeDescription></ErrorMessage>"
    body = error.format(17, "ukendt modtager") + error.format(18, "forkert størrelse")
    read = xml.receipt(f"<TechnicalReceipt>{body}</TechnicalReceipt>".encode())
    assert read == xml.Receipt("teknisk", "FEJL", kode="17", tekst="ukendt modtager; forkert størrelse")


@pytest.mark.parametrize("answer", ["ACCEPTED", "REJECTED", "COULD_NOT_NOTIFY_RECIPIENT"])
def test_a_business_receipt_is_read_with_its_reason(answer: str) -> None:
    body = f"<Filename>x.csv</Filename><FileAcceptance>{answer}</FileAcceptance><Reason>fordi</Reason>"
    read = xml.receipt(
        f"<BusinessReceipt><FileTransferUUID>{TRANSFER}</FileTransferUUID>{body}</BusinessReceipt>".encode()
    )
    assert read == xml.Receipt("forretning", answer, transfer_id=TRANSFER, fil="x.csv", tekst="fordi")


BOMB = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;">]><x><Message>&b;</Message></x>'
OUTSIDE = '<!DOCTYPE x [<!ENTITY a SYSTEM "file:///etc/passwd">]><x><Message>&a;</Message></x>'


@pytest.mark.parametrize("text", ["", "hej", "<x>", "<x/>", BOMB, OUTSIDE, FORMS["plain"][:-30], "\0" * 10])
def test_what_is_no_receipt_is_none(text: str) -> None:
    assert xml.receipt(text.encode()) is None


def test_a_receipt_of_64_kilobytes_is_read_and_one_byte_more_is_not() -> None:
    padded = FORMS["plain"].replace("<Receipt>", f"<!--{'x' * 65_000}--><Receipt>")
    padded = padded.replace("x-->", "x" * (xml.MOST_BYTES - len(padded.encode()) + 1) + "-->")
    assert len(padded.encode()) == xml.MOST_BYTES
    assert xml.receipt(padded.encode()) is not None
    assert xml.receipt((padded + " ").encode()) is None


def test_a_text_from_outside_is_short_on_one_line_and_without_a_person() -> None:
    said = xml.plain("fejl\x1b[31m hos\n610175-1234 og 6101751234 " + "x" * 300)
    assert said.startswith("fejl[31m hos (personnummer) og (personnummer) x")
    assert (len(said), said[-1]) == (200, "…")


NOW = datetime(2026, 11, 3, 6, 0, tzinfo=DANISH)


def made() -> Item:
    return Item(Fil("730", "x.csv", "0" * 64, 12), 82, 1, OWN, "under_afsendelse")


ROUTED = Modtager(kommunekode="730", cvr="29189668", kanal="sp-rute", filer=("beregning",), bruger="os", infref="YR_1")
SENDER = Afsender(cvr="12345678", it_system=TRANSFER)


def test_the_trigger_of_a_simple_transfer_names_sender_receiver_size_and_id() -> None:
    one = Modtager(kommunekode="730", cvr="29189668", kanal="sp-simpel", filer=("x",), bruger="os", modtager="K730")
    root = etree.fromstring(xml.trigger(made(), one, Afsender(), NOW))
    assert root.tag == f"{{{NS}}}Trigger"
    told = [(part.tag, part.text) for part in root[0]]
    assert told == [("FileName", "x.csv"), ("SizeInBytes", "12"), ("Sender", "os"), ("SendersFileId", OWN),
                    ("Recipients", "K730")]  # fmt: skip
    assert [part.tag for part in root] == ["FileDescriptor", "FileContentDescriptor"]


def test_the_trigger_of_a_routed_transfer_names_both_authorities() -> None:
    root = etree.fromstring(xml.trigger(made(), ROUTED, SENDER, NOW))
    assert root.findtext("FileDescriptor/Recipients") == "ROUTING_V1_0_0"
    told = [(part.tag, part.text) for part in root[1][0]]
    assert told == [
        ("InfRef", "YR_1"), ("SenderIt-system", TRANSFER), ("SenderAuthority", "urn:oio:cvr-nr:12345678"),
        ("TransactionId", OWN), ("SenderTimestamp", "2026-11-03T05:00:00Z"),
        ("RecipientAuthority", "urn:oio:cvr-nr:29189668"),
    ]  # fmt: skip


def test_a_trigger_that_breaks_the_form_is_refused_before_it_is_sent() -> None:
    for one, sender in ((replace(ROUTED, infref="x" * 256), SENDER), (ROUTED, replace(SENDER, cvr="1"))):
        with pytest.raises(xml.Refused, match="ville være forkert"):
            xml.trigger(made(), one, sender, NOW)


def test_the_form_is_part_of_the_package() -> None:
    assert '"refusion_assets.levering" = ["*.xsd"]' in (REPO / "pyproject.toml").read_text("utf-8")


@needs_sshd
def test_receipts_of_others_cut_short_or_too_large_are_told_and_left(shown: Shown) -> None:
    platform = shown.server.platform
    platform.quiet = True
    shown.deliver()
    platform.settled(4)
    names = sorted(one.fil for one in platform.given)
    good = FORMS["plain"]
    platform.lay(names[0], good[:-30].encode())
    platform.lay(names[1], good.encode())  # an id that is not ours
    platform.lay(names[2], b"x" * 100_000)
    platform.lay("fra-en-anden-6101751234.csv", good.encode())
    told = shown.receipts()
    assert [line for line in told.lines if "ladt ligge" in line] == [
        f"Kvitteringen for {names[0]} kan ikke læses; ladt ligge.",
        f"Kvitteringen for {names[1]} er til en anden forsendelse end vores; ladt ligge.",
        f"Kvitteringen for {names[2]} kan ikke læses, tom, for stor eller spærret; ladt ligge.",
        "Kvitteringer for filer, vi ikke har sendt, er ladt ligge: fra-en-anden-(personnummer).csv.",
    ]
    assert shown.statuses() == {"sendt"}
    assert len(list(shown.server.inn.iterdir())) == 4


@needs_sshd
@pytest.mark.parametrize("ryd_op", [False, True])
def test_reading_twice_keeps_a_receipt_once_and_removes_it_only_where_the_rules_say_so(
    shown: Shown, *, ryd_op: bool
) -> None:
    shown.receivers(["101", "730"], ryd_op=str(ryd_op).lower())
    shown.deliver()
    shown.server.platform.settled(4)
    shown.receipts()
    shown.receipts()
    assert shown.root.rows("SELECT count(*), min(art), max(udfald) FROM levering.kvittering") == [
        (4, "teknisk", "SUCCESS")
    ]
    assert len(list(shown.server.inn.iterdir())) == (0 if ryd_op else 4)


@needs_sshd
def test_a_receiver_that_answers_for_itself_is_waited_for(shown: Shown) -> None:
    platform = shown.server.platform
    shown.receivers(["101", "730"], kvittering='"forretning"')
    shown.deliver()
    platform.settled(4)
    assert shown.receipts().lines[0] == "Levering 2026-10: 0 af 4 filer er kvitteret."
    transfers = dict(shown.rows("fil, transfer_id"))
    answers = dict(
        zip(sorted(transfers), ("ACCEPTED", "REJECTED", "COULD_NOT_NOTIFY_RECIPIENT", "ACCEPTED"), strict=True)
    )
    for fil, answer in answers.items():
        body = f"<Filename>{fil}</Filename><Recipient>K</Recipient><FileAcceptance>{answer}</FileAcceptance>"
        xml_of = f"<BusinessReceipt><FileTransferUUID>{transfers[fil]}</FileTransferUUID>{body}<Reason>nej</Reason>"
        platform.lay(fil, f"{xml_of}</BusinessReceipt>".encode())
    told = shown.receipts()
    assert told.lines == ("Levering 2026-10: 2 af 4 filer er kvitteret.",)
    refused = [fil for fil, answer in answers.items() if answer != "ACCEPTED"]
    whys = {"REJECTED": "modtageren afviste filen: nej",
            "COULD_NOT_NOTIFY_RECIPIENT": "platformen kunne ikke give modtageren besked: nej"}  # fmt: skip
    assert sorted(fault.partition(": ")[2] for fault in told.faults) == sorted(
        f"{fil}: {whys[answers[fil]]}" for fil in refused
    )


def test_a_receipt_that_the_server_does_not_let_us_read_holds_up_no_other_and_no_delivery(shown: Shown) -> None:
    blocked = shown.server.inn / "yr-ydelsesrefusion-beregning-730-0082-2026-11-03.csv.sftpreceipt"
    blocked.mkdir()
    shown.server.platform.quiet = True
    assert shown.deliver().faults == ()
    shown.server.platform.settled(4)
    shown.server.platform.quiet = False
    for fil, own in shown.rows("fil, senders_file_id"):
        if "beregning-730" not in fil:
            shown.server.platform.answer(fil, own, "<Receipt><Message>SUCCESS</Message></Receipt>")
    told = shown.receipts()
    assert told.faults == ()
    assert any("beregning-730" in line and "kan ikke læses" in line for line in told.lines)
    assert "Levering 2026-10: 3 af 4 filer er kvitteret." in told.lines


@needs_sshd
def test_what_was_never_sent_is_told_beside_what_is_receipted(shown: Shown) -> None:
    path = shown.root.rules / "levering.toml"
    path.write_text(path.read_text("utf-8").replace('"advisering"]', '"advisering", "opgoerelse"]'), "utf-8")
    shown.deliver("101")
    shown.server.platform.settled(2)
    told = shown.receipts()
    why = "for 2026-10 er ikke sendt; refusion lever 2026-10 --proev siger hvorfor"
    assert told.lines == (
        "Levering 2026-10: 2 af 6 filer er kvitteret.",
        f"101: opgoerelse {why}",
        f"730: beregning, advisering, opgoerelse {why}",
    )
    shown.files(["101"])
    assert shown.receipts().lines == ("Levering 2026-10: 2 af 3 filer er kvitteret.", f"101: opgoerelse {why}")
