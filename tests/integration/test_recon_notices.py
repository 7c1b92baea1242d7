"""Notifications of debits (camt.054) and intraday reports: they tell settlement what was booked, and post nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import format_amount
from nostro.database import Database
from recon import ingest_files
from settlement import (
    FileState,
    FourEyesError,
    SendUnknownError,
    approve,
    cancel,
    exceptions,
    payment_file,
    poll,
    release,
    release_hold,
    seal,
)
from settlement.transport import FolderTransport
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002
from tests.unit.recon.camt_files import balance, details, document, entry, statement

TRANSIT = "assets:transit:eur-payouts"


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")])
    made.owe("P1", 700)
    made.owe("P2", 1_250)
    yield made
    made.close()


class Swept(FolderTransport):
    """The line dies after the rename, and the bank takes the file: nobody can look it up."""

    def rename(self, part: Path, final: Path) -> None:
        part.unlink()
        raise OSError("connection lost")


def unknown(world: World) -> int:
    (file_id,) = world.approve_all()
    with pytest.raises(SendUnknownError):
        release(world.app, file_id, home=world.home, now=moment(), transport=Swept(world.home / "outbox"))
    return file_id


def payments(world: World) -> list[tuple[str, int]]:
    rows = world.rows("SELECT end_to_end_id, amount_minor FROM settlement.instruction ORDER BY ordinal")
    return [(str(key), int(str(minor))) for key, minor in rows]


def booked(amount_minor: int, inside: str, *, sign: str = "DBIT", status: str = "BOOK") -> str:
    return entry(
        format_amount(amount_minor, 2),
        sign,
        status=f"<Sts><Cd>{status}</Cd></Sts>",
        booked=f"<BookgDt><Dt>{DAY}</Dt></BookgDt>",
        inside=inside,
    )


def of(key: str) -> str:
    return details(f"<Refs><EndToEndId>{key}</EndToEndId></Refs>")


def notify(world: World, *entries: str, kind: str = "camt.054", name: str = "notice.xml") -> str:
    path = world.home / name
    path.write_text(document(statement(*entries, kind=kind, id_=name), version=f"{kind}.001.08"))
    (file,) = ingest_files(world.app, book_id=world.book_id, paths=[path]).files
    return file.outcome


def state(world: World, opening_minor: int, *debits: tuple[int, str]) -> None:
    """A statement of the day that books these."""
    closing = format_amount(opening_minor - sum(minor for minor, _ in debits), 2)
    ends = [balance("OPBD", format_amount(opening_minor, 2), day=str(DAY)), balance("CLBD", closing, day=str(DAY))]
    entries = [booked(minor, inside) for minor, inside in debits]
    assert notify(world, *ends, *entries, kind="camt.053", name=f"at-{closing}.xml") == "accepted"


def states(world: World) -> list[object]:
    return [row[0] for row in world.rows("SELECT state FROM settlement.instruction_current ORDER BY instruction_id")]


@pytest.mark.parametrize("kind", ["camt.054", "camt.052"])
def test_a_debit_that_names_our_payments_resolves_the_doubt_and_posts_nothing(world: World, kind: str) -> None:
    file_id = unknown(world)
    transit, cash = world.balance(TRANSIT), world.balance("assets:bank:eur-payouts")
    (first, first_minor), (second, second_minor) = payments(world)
    assert notify(world, booked(first_minor, of(first)), kind=kind, name="one.xml") == "informative"
    assert payment_file(world.app, file_id).state is FileState.ACKNOWLEDGED
    assert states(world) == ["executed", "unknown" if states(world)[1] == "unknown" else states(world)[1]]
    notify(world, booked(second_minor, of(second)), kind=kind, name="two.xml")
    assert payment_file(world.app, file_id).state is FileState.EXECUTED
    assert (world.balance(TRANSIT), world.balance("assets:bank:eur-payouts")) == (transit, cash)
    assert notify(world, booked(second_minor, of(second)), kind=kind, name="two.xml") == "duplicate"


def test_a_batch_booking_is_all_payments_of_the_file(world: World) -> None:
    file_id = unknown(world)
    total = sum(minor for _, minor in payments(world))
    batch = f"<PmtInfId>{payment_file(world.app, file_id).msg_id}</PmtInfId><NbOfTxs>2</NbOfTxs>"
    notify(world, booked(total, details(batch=batch)))
    assert payment_file(world.app, file_id).state is FileState.EXECUTED


@pytest.mark.parametrize(
    ("change", "more"),
    [(1, {}), (0, {"sign": "CRDT"}), (0, {"status": "PDNG"})],
    ids=["another amount", "a credit", "pending"],
)
def test_what_is_no_debit_of_the_payment_moves_nothing(world: World, change: int, more: dict[str, str]) -> None:
    file_id = unknown(world)
    (first, minor), _ = payments(world)
    notify(world, booked(minor + change, of(first), **more))
    assert payment_file(world.app, file_id).state is FileState.UNKNOWN
    found = world.one("SELECT string_agg(message, '') FROM settlement.message_finding")
    assert (found is None) == (more.get("status") == "PDNG")


def test_a_strangers_reference_is_nothing_of_ours(world: World) -> None:
    unknown(world)
    assert notify(world, booked(700, of("SOMEBODY-ELSE"))) == "informative"
    assert world.one("SELECT count(*) FROM settlement.message_received") == 0


@pytest.mark.parametrize("told", ["pain.002", "camt.054", "camt.053", "camt.053 of a batch"])
def test_what_we_cancelled_and_the_bank_has_paid_is_not_paid_again(world: World, told: str) -> None:
    """It never left, as far as we know: what it paid is open, and proposed again, when the bank shows the debit."""
    (file_id,) = world.approve_all()
    assert seal(world.app, file_id, now=moment()).is_new
    assert cancel(world.bob, file_id, reason="wrong account").is_new
    (first, minor), (second, other) = payments(world)
    (again,) = world.propose()
    approve(world.bob, again.file_id)
    msg_id, is_batch = payment_file(world.app, file_id).msg_id, told.endswith("batch")
    if told == "pain.002":
        world.answer("late.xml", pain002(msg_id, statuses=[(first, "ACSC", ""), (second, "RJCT", "AC04")]))
        poll(world.app, home=world.home)
    elif told == "camt.054":
        notify(world, booked(minor, of(first)))
    else:
        batch = details(batch=f"<PmtInfId>{msg_id}</PmtInfId><NbOfTxs>2</NbOfTxs>")
        state(world, 100_000_000, *([(minor + other, batch)] if is_batch else [(minor, of(first))]))
    paid = [("P1", minor), ("P2", other)][: 2 if is_batch else 1]
    found = exceptions(world.app, book_id=world.book_id, as_of=DAY)
    waits = [(e.kind, e.policy, e.payee, e.amount_minor) for e in found if e.policy == "stop"]
    assert sorted(waits) == sorted((kind, "stop", *one) for kind in ("disputed", "held") for one in paid)
    assert all("nostro settle dispute" in str(e.meaning) for e in found if e.kind == "disputed")
    sealed = seal(world.app, again.file_id, now=moment())
    assert (sealed.state, "is held: disputed" in str(sealed.reason)) == (FileState.VOID, True)
    assert [made.file.total_minor for made in world.propose()] == ([] if is_batch else [other])
    with pytest.raises(FourEyesError):
        release_hold(world.alice, end_to_end_id=first, reason="pay it")
    assert release_hold(world.bob, end_to_end_id=first, reason="the bank gave it back")
    assert [made.file.total_minor for made in world.propose()] == [minor if is_batch else minor + other]
    if told == "camt.053":  # the next day it shows the other one, and charges for it
        with world.db.owner() as owner:
            assert owner.execute("SELECT settlement.mark_reconciled(%s)", ([file_id],)).fetchone() == (0,)
        state(world, 100_000_000 - minor, (other + 25, of(second)))
        assert [made.file.total_minor for made in world.propose()] == [minor]
