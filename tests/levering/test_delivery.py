"""A delivery through a real OpenSSH server: each file once, its receipt read, and what may not be sent stays here."""

from tests.kit.sftp import needs_sshd
from tests.levering.conftest import Shown

pytestmark = needs_sshd


def test_every_file_reaches_its_receiver_once_and_its_receipt_makes_it_delivered(shown: Shown) -> None:
    done = shown.deliver()
    assert (done.lines, done.faults) == (("2026-10: 4 filer sendt.",), ())
    assert shown.statuses() == {"sendt"}
    shown.server.platform.settled(4)
    told = shown.receipts()
    assert told.lines == ("Levering 2026-10: 4 af 4 filer er kvitteret.",)
    assert shown.statuses() == {"leveret"}
    sums = {(one.modtager, one.fil): one.sha256 for one in shown.server.platform.given}
    assert sums == {(f"K{kode}", fil): sha for kode, fil, sha in shown.rows("kommunekode, fil, sha256")}
    assert list(shown.server.out.iterdir()) == []


def test_what_was_sent_is_not_sent_again(shown: Shown) -> None:
    shown.deliver()
    shown.server.platform.settled(4)
    assert shown.deliver().lines == ("2026-10: 0 filer sendt, 4 filer var sendt i forvejen.",)
    shown.receipts()
    assert shown.deliver().lines == ("2026-10: 0 filer sendt, 4 filer var leveret i forvejen.",)
    assert len(shown.server.platform.given) == 4
