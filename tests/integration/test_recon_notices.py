"""Notifications of debits (camt.054) and intraday reports: they tell settlement what was booked, and post nothing."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ledger import format_amount
from nostro.database import Database
from recon import ingest_files
from settlement import FileState, SendUnknownError, payment_file, release
from settlement.transport import FolderTransport
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment
from tests.unit.recon.camt_files import details, document, entry, statement

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
