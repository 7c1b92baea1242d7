"""Books restored from a backup have forgotten sends: they do not send before two people have reconciled them.

A real `pg_dump` and `pg_restore` in one test; in the others the database is copied back, which forgets as much.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks import kill_world
from ledger import Connection, verify
from nostro.cli import main
from nostro.database import Database
from settlement import (
    FileState,
    RestoredError,
    SendFailedError,
    approve,
    end_lost,
    lost_sends,
    payment_file,
    payment_files,
    poll,
    propose,
    release,
    require_reconciled,
    review_sends,
    seal,
    send_state,
    sign_sends,
)
from settlement.send_journal import SendJournal
from tests.cluster import run_tool, throw_away_cluster
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002

pytestmark = pytest.mark.usefixtures("durable")

BACKUP = "nostro_backup"
BANK = "bank/nordbank"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    """A company that owes two payees and has sent one file already: the books and the journal know one send.

    Its bank takes a batch a payment, so that what is rebuilt has several.
    """
    one_each = "several_batches: true\nmax_batch_transactions: 1"
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")], batches=one_each)
    made.owe("P1", 500)
    (file_id,) = made.pay()
    made.answer("first.xml", pain002(payment_file(made.app, file_id).msg_id, group="ACSC"))
    poll(made.app, home=made.home)
    made.owe("P1", 700)
    made.owe("P2", 1_250)
    yield made
    made.close()


@contextmanager
def forgetting(world: World) -> Iterator[None]:
    """What the books learn inside is forgotten: their database is what it was. The home is not."""
    with psycopg.connect(world.db.admin_conninfo, autocommit=True) as admin:
        _disconnect(world)
        _copy(admin, world.db.name, BACKUP)
        _connect(world)
        try:
            yield
        finally:
            _disconnect(world)
            _copy(admin, BACKUP, world.db.name)
            admin.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(BACKUP)))
            _connect(world)


def _copy(admin: psycopg.Connection, source: str, target: str) -> None:
    names = {"target": sql.Identifier(target), "source": sql.Identifier(source)}
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {target} WITH (FORCE)").format(**names))
    admin.execute(sql.SQL("CREATE DATABASE {target} TEMPLATE {source}").format(**names))


def _disconnect(world: World) -> None:
    world.close()


def _connect(world: World) -> None:
    world.app, world.alice, world.bob = world.db.app(), world.db.login("alice"), world.db.login("bob")


def at_the_bank(world: World) -> list[bytes]:
    """Every file the bank got, in its folder or swept from it."""
    return sorted(path.read_bytes() for path in (world.home / BANK).rglob("*.xml") if "inbox" not in path.parts)


def sweep(world: World) -> None:
    """The bank takes everything out of its folder."""
    (world.home / BANK / "taken").mkdir(exist_ok=True)
    for path in (world.home / BANK / "outbox").glob("*.xml"):
        path.rename(world.home / BANK / "taken" / path.name)


def refused(world: World, match: str) -> None:
    """Nothing is sent, and the sentence says why."""
    before = at_the_bank(world)
    with pytest.raises(RestoredError, match=match):
        require_reconciled(world.app, world.home)
    assert send_state(world.app, world.home).difference is not None
    waiting = payment_files(world.app, book_id=world.book_id, states={FileState.APPROVED, FileState.SEALED})
    for file in waiting:
        with pytest.raises(RestoredError):
            release(world.app, file.file_id, home=world.home, now=moment())
    assert at_the_bank(world) == before


def sign(world: World) -> None:
    """Alice and Bob sign; one of them is not enough, however often."""
    for _ in range(2):
        assert not sign_sends(world.alice, home=world.home, reason="restored from the backup").may_send
    with pytest.raises(RestoredError):
        require_reconciled(world.app, world.home)
    assert sign_sends(world.bob, home=world.home, reason="restored from the backup").may_send
    require_reconciled(world.app, world.home)


def finish(world: World) -> None:
    """The bank says that it executed everything; nothing is left owed or in transit."""
    for file in payment_files(world.app, book_id=world.book_id):
        if file.state in (FileState.UNKNOWN, FileState.SENT):
            world.answer(f"{file.msg_id}.xml", pain002(file.msg_id, group="ACSC", report=file.msg_id))
    poll(world.app, home=world.home)


def _nothing(world: World) -> None:
    pass


def _proposed(world: World) -> None:
    world.propose()


def _approved(world: World) -> None:
    world.approve_all()


def _sealed(world: World) -> None:
    (file_id,) = world.approve_all()
    seal(world.app, file_id, now=moment())


@pytest.mark.parametrize(
    ("before", "sweeps"), [(_nothing, True), (_proposed, False), (_approved, True), (_sealed, False)]
)
def test_what_left_after_the_backup_is_never_sent_again(
    world: World, before: Callable[[World], None], sweeps: bool
) -> None:
    before(world)
    with forgetting(world):
        world.propose()
        for file in payment_files(world.app, book_id=world.book_id, states={FileState.PROPOSED}):
            approve(world.bob, file.file_id)
        for file in payment_files(world.app, book_id=world.book_id, states={FileState.APPROVED, FileState.SEALED}):
            assert world.release(file.file_id).state is FileState.SENT
    if sweeps:
        sweep(world)
    assert len(at_the_bank(world)) == 2
    refused(world, "journal knows 2 sends and the books only 1")

    (found,) = (one for one in review_sends(world.app, home=world.home).lost if one.state == "found")
    assert (found.source, found.payment_count, found.total_minor) == ("journal", 2, 1_950)
    sign(world)
    (adopted,) = lost_sends(world.app)
    assert adopted.state == "adopted" and adopted.file_id is not None
    assert payment_file(world.app, adopted.file_id).state is FileState.UNKNOWN
    assert world.balance("liabilities:payable:P1") == 0 and world.balance("liabilities:payable:P2") == 0

    # Nobody is paid again, by whatever is tried, and the bank's word closes it.
    assert world.propose() == []
    poll(world.app, home=world.home)
    assert payment_file(world.app, adopted.file_id).state is (FileState.UNKNOWN if sweeps else FileState.SENT)
    finish(world)
    assert payment_file(world.app, adopted.file_id).state is FileState.EXECUTED
    assert len(at_the_bank(world)) == 2
    with world.db.app() as conn:
        assert verify(conn, book_id=world.book_id) == ()

    # The next payment has an id that no forgotten one can have had.
    world.owe("P1", 300)
    (file_id,) = world.pay()
    assert payment_file(world.app, file_id).msg_id.split("-")[4] == "RT"  # cycle 1001
    assert len(at_the_bank(world)) == 3


def test_payees_wait_until_the_books_owe_what_was_paid(world: World) -> None:
    with forgetting(world):
        world.owe("P2", 50)
        world.pay()
    sweep(world)
    sign(world)
    (lost,) = lost_sends(world.app)
    assert lost.state == "open" and lost.total_minor == 2_000
    assert world.propose() == []  # P2 is owed 50 less than it was paid: both of the file wait
    netted = "SELECT string_agg(reason, '') FROM settlement.blocked_payees(%s, now())"
    assert "left before the books were restored" in str(world.one(netted, world.book_id))

    world.owe("P2", 50)  # the journal of the forgotten sale is imported again
    review = sign_sends(world.alice, home=world.home, reason="imported again")
    assert review.may_send and lost_sends(world.app)[0].state == "adopted"
    assert world.balance("liabilities:payable:P2") == 0
    finish(world)
    assert len(at_the_bank(world)) == 2


def test_two_people_free_the_payees_of_a_lost_send(world: World) -> None:
    with forgetting(world):
        world.owe("P2", 50)
        world.pay()
    shutil.rmtree(world.home / BANK / "outbox")
    sign(world)
    (lost,) = lost_sends(world.app)
    assert lost.lost_send_id is not None
    assert end_lost(world.alice, lost.lost_send_id, outcome="not_sent", reason="the bank says no").state == "open"
    assert end_lost(world.alice, lost.lost_send_id, outcome="not_sent", reason="again").state == "open"
    with world.db.owner() as owner, pytest.raises(psycopg.Error) as kept:
        owner.execute("INSERT INTO settlement.lost_send_end VALUES (%s, 'by_hand')", (lost.lost_send_id,))
    assert kept.value.diag.constraint_name == "lost_send_four_eyes"
    assert world.propose() == []
    assert end_lost(world.bob, lost.lost_send_id, outcome="not_sent", reason="I called, too").state == "not_sent"
    world.pay()
    assert len(at_the_bank(world)) == 1


def test_a_proposal_made_since_the_restore_gives_way(world: World) -> None:
    with forgetting(world):
        world.pay()
    propose(world.app, book_id=world.book_id, business_date=DAY, now=moment().replace(hour=13))
    (again,) = payment_files(world.app, book_id=world.book_id, states={FileState.PROPOSED})
    approve(world.bob, again.file_id)
    seal(world.app, again.file_id, now=moment())
    refused(world, "restored")
    sign(world)
    (lost,) = lost_sends(world.app)
    assert lost.msg_id == again.msg_id and lost.state == "open"  # the same id, other bytes
    with pytest.raises(RestoredError, match="Another file has left"):
        world.release(again.file_id)
    assert len(at_the_bank(world)) == 2


def test_a_dump_restored_into_another_server(world: World, tmp_path: Path) -> None:
    roles, dump = tmp_path / "roles.sql", tmp_path / "nostro.dump"
    run_tool("pg_dumpall", "--roles-only", "-d", world.db.admin_conninfo, "-f", str(roles))
    run_tool("pg_dump", "-Fc", "-d", make_conninfo(world.db.admin_conninfo, dbname=world.db.name), "-f", str(dump))
    (file_id,) = world.pay()
    with throw_away_cluster("restored") as cluster:
        elsewhere = cluster.start().admin_conninfo
        run_tool("psql", "-q", "-d", elsewhere, "-f", str(roles))
        run_tool("pg_restore", "-d", elsewhere, "--create", str(dump))
        _disconnect(world)
        old, world.db = world.db, replace(world.db, admin_conninfo=elsewhere)
        _connect(world)
        refused(world, "journal knows 2 sends and the books only 1")
        sign(world)
        assert payment_file(world.app, int(str(lost_sends(world.app)[0].file_id))).state is FileState.UNKNOWN
        assert poll(world.app, home=world.home).resolved[0].state is FileState.SENT
        _disconnect(world)
        world.db = old
        _connect(world)
    # The first server is not the deployment any more: it may not send either.
    assert payment_file(world.app, file_id).state is FileState.SENT
    with pytest.raises(RestoredError, match="not the books' own"):
        require_reconciled(world.app, world.home)


def test_a_copy_of_the_books_on_another_server_does_not_send(world: World, tmp_path: Path) -> None:
    _disconnect(world)
    with psycopg.connect(world.db.admin_conninfo, autocommit=True) as admin:
        _copy(admin, world.db.name, BACKUP)
        old, world.db = world.db, replace(world.db, name=BACKUP)
        _connect(world)
        try:
            refused(world, "another server or database")
        finally:
            _disconnect(world)
            world.db = old
            _connect(world)
            admin.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(BACKUP)))
    require_reconciled(world.app, world.home)


def _lose(world: World) -> None:
    (world.home / "sends.jsonl").unlink()


def _copied(world: World) -> None:
    journal = world.home / "sends.jsonl"
    shutil.copy(journal, world.home / "kept")
    journal.unlink()
    (world.home / "other").touch()  # takes the freed number of the file, should the disk give it again
    shutil.copy(world.home / "kept", journal)


def _older(world: World) -> None:
    journal = world.home / "sends.jsonl"
    with journal.open("r+b") as stream:
        stream.truncate(journal.read_bytes().index(b"\n") + 1)


def _changed(world: World) -> None:
    journal = world.home / "sends.jsonl"
    content = journal.read_bytes()
    with journal.open("r+b") as stream:
        stream.write(content.replace(b'"file_id": 1', b'"file_id": 9'))


@pytest.mark.parametrize(
    ("harm", "why"),
    [(_lose, "is missing"), (_copied, "is a copy"), (_older, "an older one"), (_changed, "was changed at send 1")],
)
def test_a_home_that_was_lost_or_restored(world: World, harm: Callable[[World], None], why: str) -> None:
    world.pay()
    harm(world)
    world.owe("P1", 10)
    world.approve_all()
    refused(world, why)
    sign(world)
    for file in payment_files(world.app, book_id=world.book_id, states={FileState.APPROVED}):
        world.release(file.file_id)
    assert len(at_the_bank(world)) == 3
    assert lost_sends(world.app) == []


def test_a_home_that_never_was_the_senders(world: World, tmp_path: Path) -> None:
    with pytest.raises(RestoredError, match="know 1 sends and their journal"):
        require_reconciled(world.app, tmp_path / "another")


def test_a_bank_that_has_what_neither_books_nor_journal_know(world: World) -> None:
    (world.home / "kept").mkdir()
    for name in ("sends.jsonl",):
        shutil.copy2(world.home / name, world.home / "kept" / name)
    with forgetting(world):
        world.pay()
    # The journal is put back byte by byte in its own file: a machine that was reset to a snapshot looks like this.
    (world.home / "sends.jsonl").write_bytes((world.home / "kept/sends.jsonl").read_bytes())
    shutil.rmtree(world.home / "sends")
    same_database(world)
    require_reconciled(world.app, world.home)
    file_id = world.approve_all()[0]
    with pytest.raises(RestoredError, match="which the books never sent"):
        world.release(file_id)
    assert len(at_the_bank(world)) == 2
    world.db.login("bob").close()
    (found,) = (one for one in review_sends(world.app, home=world.home).lost if one.state == "found")
    assert (found.source, found.payment_count, found.total_minor) == ("bank", 2, 1_950)


def same_database(world: World) -> None:
    """The database passes for the one that was there: its number is what the journal was opened with."""
    with (
        world.db.admin() as admin,
        psycopg.connect(make_conninfo(world.db.admin_conninfo, dbname=world.db.name), autocommit=True) as owner,
    ):
        oid = admin.execute("SELECT oid::text FROM pg_database WHERE datname = %s", (world.db.name,)).fetchone()
        assert oid is not None
        owner.execute("ALTER TABLE settlement.send_journal DISABLE TRIGGER USER")
        owner.execute("UPDATE settlement.send_journal SET database = %s || '/' || split_part(database, '/', 2)", oid)


def test_an_answer_about_a_file_that_the_books_never_sent(world: World) -> None:
    (known,) = payment_files(world.app, book_id=world.book_id)
    stranger = known.msg_id[: -len("1-1")] + "9-1"
    world.answer("stranger.xml", pain002(stranger, group="ACCP", report="R9"))
    poll(world.app, home=world.home)
    file_id = world.approve_all()[0]
    with pytest.raises(RestoredError, match=f"answered {stranger}"):
        world.release(file_id)
    for conn in (world.alice, world.bob):
        review = sign_sends(conn, home=world.home, reason="the bank has mixed us up, letter of today")
    assert review.may_send
    assert [(one.source, one.state) for one in lost_sends(world.app)] == [("answer", "open")]
    assert world.release(file_id).state is FileState.SENT


def test_a_journal_that_cannot_be_written_keeps_the_file_here(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    (file_id,) = world.approve_all()

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    before = at_the_bank(world)
    with monkeypatch.context() as patch:
        patch.setattr(SendJournal, "write", full)
        with pytest.raises(SendFailedError, match="journal of sends cannot be written"):
            world.release(file_id)
    assert at_the_bank(world) == before and payment_file(world.app, file_id).state is FileState.FAILED
    assert world.release(file_id).state is FileState.SENT  # and the line that was missing stands in the journal
    assert send_state(world.app, world.home) == replace(send_state(world.app, world.home), books=3, journal=3)


def _journal_by_one(conn: Connection) -> None:
    conn.execute("SELECT settlement.add_send_journal('mine')")


def _journal_by_hand(conn: Connection) -> None:
    conn.execute("INSERT INTO settlement.send_journal VALUES (2, 'mine', '1', '1', 2)")


def _send_out_of_line(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO settlement.send (number, journal_no, book_id, file_id, part, bank, msg_id, sha256, size_bytes,"
        " previous, digest) SELECT 2, 1, book_id, file_id, 0, bank, msg_id, sha256, 1, previous, digest"
        " FROM settlement.send"
    )


def _unknown_by_hand(conn: Connection) -> None:
    conn.execute(
        "INSERT INTO settlement.file_event (file_id, ordinal, from_state, state) VALUES (2, 2, 'proposed', 'unknown')"
    )


@pytest.mark.parametrize(
    ("harm", "constraint"),
    [
        (_journal_by_one, "send_review_four_eyes"),
        (_journal_by_hand, "send_review_four_eyes"),
        (_send_out_of_line, "send_digest_right"),
        (_unknown_by_hand, "file_event_adopted"),
    ],
)
def test_the_owner_is_refused_too(world: World, harm: Callable[[Connection], None], constraint: str) -> None:
    world.propose()
    with world.db.owner() as owner, pytest.raises(psycopg.Error) as error:
        harm(owner)
    assert error.value.diag.constraint_name == constraint


def test_the_runbook(
    server: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """docs/operations.md, command by command: what each says, and how it ends."""
    company = kill_world.make_world(server, tmp_path)
    company.restore()
    for name, value in company.environment().items():
        monkeypatch.setenv(name, value)

    def nostro(*words: str) -> tuple[int, str]:
        status = main(list(words))
        said = capsys.readouterr()
        return status, said.out + said.err

    assert main(kill_world.send_words()) == 0
    files = sorted(path.name for path in (company.home() / "bank/orders").iterdir())
    company.forget()
    status, said = nostro("doctor", "--json")
    assert status == 5 and "restored from a backup" in said
    for words in (kill_world.send_words(), ["settle", "propose", "--date", "2026-11-02", "--as", "alice"]):
        status, said = nostro(*words)
        assert (status, said.count("\n")) == (
            1,
            1,
        ) and "books have no journal: they were restored from a backup" in said
    reason = ("--reason", "restored from the backup of 2 November")
    assert nostro("bank", "reconcile-sends")[0] == 1
    assert nostro("bank", "reconcile-sends", *reason, "--as", "alice")[0] == 1
    status, said = nostro("bank", "reconcile-sends", *reason, "--as", "bob")
    assert status == 0 and said.count("adopted") == 2
    assert nostro("bank", "lost-sends", "--json")[1].count('"adopted"') == 2
    assert nostro("bank", "poll")[0] == 0 and nostro("verify")[0] == 0
    assert "restored" not in nostro("doctor")[1]
    status, said = nostro("bank", "lost-send", "1", "--not-sent", "--reason", "no", "--as", "bob")
    assert status == 1 and "is settled: adopted" in said
    assert main(kill_world.send_words()) == 0
    assert sorted(path.name for path in (company.home() / "bank/orders").iterdir()) == files
    kill_world.remove(server)
