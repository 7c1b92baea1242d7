"""The simulated banks over SFTP: the product sends there and fetches the answers, host key and password checked."""

from __future__ import annotations

from pathlib import Path

from nostro.database import Database
from sandbox import Bank, read_setup, sftp_door
from settlement import FileState, payment_file, poll
from tests.settlement_world import DAY, PayeeRow, make_world, write_setup

_TRANSPORT = (
    "{{kind: sftp, host: 127.0.0.1, port: {port}, user: marktplatz, known_hosts: sandbox/known_hosts,"
    " password_file: sandbox/sftp_password, remote_outbox: /orders, remote_inbox: /answers, inbox: in}}"
)
PAYEES = [PayeeRow(code="P1"), PayeeRow(code="P2")]


def test_orders_go_in_and_answers_come_out_over_sftp(db: Database, tmp_path: Path) -> None:
    draft = tmp_path / "draft"
    draft.mkdir()
    setup = read_setup(write_setup(draft, PAYEES, accounts=("eur",), transport=_TRANSPORT.format(port=1)))
    with Bank(tmp_path, setup) as bank, sftp_door(tmp_path, setup) as door:
        world = make_world(db, tmp_path, PAYEES, accounts=("eur",), transport=_TRANSPORT.format(port=door.port))
        world.owe("P1", 12_00)
        world.owe("P2", 34_56)
        (file_id,) = world.pay()
        (received,) = bank.receive()
        assert (received.payments, received.rejected) == (2, 0)
        bank.close_day(DAY)
        assert bank.balance("eur-payouts") == 1_000_000_00 - 46_56
        report = poll(world.app, home=world.home, book_id=world.book_id)
        assert report.unreachable == () and len(report.fetched) == 4, "three reports and a statement"
        assert payment_file(world.app, file_id).state is FileState.EXECUTED
        assert poll(world.app, home=world.home, book_id=world.book_id).fetched == ()
        world.close()
