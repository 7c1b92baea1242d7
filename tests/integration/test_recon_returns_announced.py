"""Money on its way back: announced by pacs.004, camt.054 or camt.052, booked by a statement, in whatever order."""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Iterator
from itertools import permutations
from pathlib import Path

import pytest

from ledger import AccessError, format_amount
from nostro.database import Database
from recon import ingest_files
from settlement import (
    FileState,
    NotKnownError,
    SendUnknownError,
    dismiss_message,
    exceptions,
    payment_file,
    poll,
    receive,
    release,
)
from tests.integration.test_recon_notices import Swept
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002
from tests.unit.recon.camt_files import details, document, entry, statement

TRANSIT = "assets:transit:eur-payouts"
NEXT = DAY + dt.timedelta(days=1)


Back = tuple[str, int]  # EndToEndId, and what comes back of it


def notice(*backs: Back, kind: str = "camt.054", sign: str = "CRDT") -> str:
    """A report of booked entries with the reason of a return."""

    def booked(key: str, minor: int) -> str:
        told = details(f"<Refs><EndToEndId>{key}</EndToEndId></Refs><RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>")
        return entry(format_amount(minor, 2), sign, booked=f"<BookgDt><Dt>{NEXT}</Dt></BookgDt>", inside=told)

    id_ = f"N-{kind}-{sign}-{backs[0][0]}-{backs[0][1]}"
    return document(statement(*(booked(*back) for back in backs), kind=kind, id_=id_), version=f"{kind}.001.08")


def pacs004(*backs: Back) -> str:
    told = "".join(
        f"<TxInf><OrgnlEndToEndId>{key}</OrgnlEndToEndId>"
        f'<RtrdIntrBkSttlmAmt Ccy="EUR">{format_amount(minor, 2)}</RtrdIntrBkSttlmAmt>'
        "<RtrRsnInf><Rsn><Cd>AC04</Cd></Rsn></RtrRsnInf></TxInf>"
        for key, minor in backs
    )
    return (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pacs.004.001.09"><PmtRtr>'
        f"<GrpHdr><MsgId>B-{backs[0][0]}</MsgId><CreDtTm>2026-11-03T09:00:00Z</CreDtTm></GrpHdr>{told}</PmtRtr></Document>"
    )


def ingest(world: World, text: str, name: str) -> str:
    path = world.home / name
    path.write_text(text)
    (file,) = ingest_files(world.app, book_id=world.book_id, paths=[path]).files
    return file.outcome


def payments(world: World) -> dict[str, tuple[str, int]]:
    rows = world.rows("SELECT payee_code, end_to_end_id, amount_minor FROM settlement.instruction ORDER BY ordinal")
    return {str(code): (str(key), int(str(minor))) for code, key, minor in rows}


def waiting(world: World, day: dt.date = NEXT) -> list[tuple[str, str | None, str | None, int]]:
    found = exceptions(world.app, book_id=world.book_id, as_of=day)
    world.app.rollback()
    return sorted((e.kind, e.policy, e.payee, e.amount_minor) for e in found)


def findings(world: World) -> list[str]:
    return [
        str(row[0]) for row in world.rows("SELECT message FROM settlement.message_finding ORDER BY message_id, ordinal")
    ]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")])
    made.owe("P1", 700)
    made.owe("P2", 1_250)
    yield made
    made.close()


def shown(world: World) -> dict[str, str]:
    return {str(code): str(state) for code, state in world.rows("SELECT payee, state FROM settlement.payout")}


@pytest.mark.parametrize("kind", ["camt.054", "camt.052"])
def test_an_announced_return_says_where_a_file_is_and_posts_nothing(world: World, kind: str) -> None:
    (file_id,) = world.approve_all()
    with pytest.raises(SendUnknownError):
        release(world.app, file_id, home=world.home, now=moment(), transport=Swept(world.home / "outbox"))
    (key, minor), _ = payments(world).values()
    transit = world.balance(TRANSIT)
    assert ingest(world, notice((key, minor), kind=kind), "back.xml") == "informative"
    assert payment_file(world.app, file_id).state is FileState.ACKNOWLEDGED, "nobody may send it again"
    assert shown(world)["P1"] == "returning" and world.balance(TRANSIT) == transit
    assert ("returning", "fix_data", "P1", minor) in waiting(world)
    # A second announcement, by another message, is the same return.
    receive(world.app, book_id=world.book_id, bank="nordbank", name="b.xml", content=pacs004((key, minor)).encode())
    assert [row for row in waiting(world) if row[0] == "returning"] == [("returning", "fix_data", "P1", minor)]


def test_what_no_statement_could_book_so_is_a_finding(world: World) -> None:
    world.pay()
    (key, minor), (other, _) = payments(world).values()
    ingest(world, notice((key, minor + 1)), "more.xml")
    ingest(world, notice((key, minor), sign="DBIT"), "again.xml")
    ingest(world, notice((other, 250)), "part.xml")
    ingest(world, notice(("NOT-OURS", 99)), "unknown.xml")
    assert findings(world) == [
        f"the bank announces that {minor + 1} minor units of {key} come back, which paid {minor}",
        f"the bank announces that it takes {minor} minor units that came back of {key} away again;"
        " the statement decides",
        "a return of 99 minor units names no payment of ours (AC04)",
    ]
    assert shown(world) == {"P1": "sent", "P2": "returning"}
    assert [row for row in waiting(world, DAY) if row[2]] == [("returning", "fix_data", "P2", 250)]


def test_what_is_not_ours_waits_until_a_person_says_what_became_of_it(world: World) -> None:
    world.pay()
    ((key, minor), _) = payments(world).values()
    msg_id = str(world.one("SELECT msg_id FROM settlement.payment_file"))
    ingest(world, notice(("NOT-OURS", 99)), "notice.xml")
    told = {
        "return.xml": pacs004((key, minor), ("NOR-OURS", 50)),
        "answer.xml": pain002(msg_id, statuses=[("STRANGER", "RJCT", "AC04")]),
        "file.xml": pain002("NOBODY", group="ACSC"),
        "garbled.xml": pain002(msg_id, group="ACSC")[:-20],
    }
    for name, text in told.items():
        receive(world.app, book_id=world.book_id, bank="nordbank", name=name, content=text.encode())

    def open_rows() -> dict[int, tuple[str, str | None, str]]:
        found = exceptions(world.app, book_id=world.book_id, as_of=DAY)
        world.app.rollback()
        return {e.message_id: (e.kind, e.end_to_end_id, str(e.meaning)) for e in found if e.message_id is not None}

    rows = open_rows()
    assert [(kind, reference) for kind, reference, _ in rows.values()] == [
        ("unclear", None),
        ("unknown", "NOBODY"),
        ("unknown", "NOR-OURS"),
        ("unknown", "NOT-OURS"),
        ("unknown", "STRANGER"),
    ]
    assert all(any(name in text for _, _, text in rows.values()) for name in ("notice.xml", *told))
    first = next(number for number, row in rows.items() if row[1] == "NOR-OURS")
    assert rows[first][2] == (
        "return.xml of nordbank: a return of 50 minor units names no payment of ours (AC04). Ask the bank whose it is,"
        f" then say so: nostro settle dismiss {first}."
    )
    for is_new in (True, False):
        said = dismiss_message(world.alice, book_id=world.book_id, message_id=first, reason="of another customer")
        assert said is is_new
    assert set(open_rows()) == set(rows) - {first}
    with pytest.raises(NotKnownError, match="left nothing open"):
        dismiss_message(world.alice, book_id=world.book_id, message_id=99, reason="x")
    with pytest.raises(AccessError):
        dismiss_message(world.app, book_id=world.book_id, message_id=first, reason="x")


# Every order of a status report, a return of the banks' clearing, a notification of the account and its statement.
ORDERS = list(permutations(("pain.002", "pacs.004", "camt.054", "camt.053")))


def test_every_order_of_messages_posts_a_return_once(db: Database, tmp_path: Path) -> None:
    """A payee for each order; the statement comes to all at once, what follows it in a payee's order comes after."""
    codes = [f"R{n:02}" for n in range(len(ORDERS))]
    world = make_world(db, tmp_path, [PayeeRow(code=code) for code in codes])
    try:
        for n, code in enumerate(codes):
            world.owe(code, 1000 + n)
        (file_id,) = world.pay()
        msg_id, paid, bank = payment_file(world.app, file_id).msg_id, payments(world), BankBook(world)

        def tell(kind: str, backs: list[Back], name: str) -> None:
            if kind == "camt.054":
                ingest(world, notice(*backs), f"{name}.054.xml")
            else:
                statuses = [(key, "ACSC", "") for key, _ in backs]
                text = pain002(msg_id, report=name, statuses=statuses) if kind == "pain.002" else pacs004(*backs)
                receive(world.app, book_id=world.book_id, bank="nordbank", name=name, content=text.encode())

        def tell_all(*, before: bool) -> None:
            """Turn by turn; what several payees hear in a turn stands in one message."""
            for turn in range(4):
                for kind in ("pain.002", "pacs.004", "camt.054"):
                    heard = [
                        paid[code]
                        for code, order in zip(codes, ORDERS, strict=True)
                        if order[turn] == kind and (turn < order.index("camt.053")) == before
                    ]
                    if heard:
                        tell(kind, heard, f"{kind}-{turn}-{before}")

        tell_all(before=True)
        lines = [Line(amount_minor=-minor, ref=f"D{key}", end_to_end_id=key) for key, minor in paid.values()]
        lines += [Line(amount_minor=m, ref=f"C{key}", end_to_end_id=key, returned="AC04") for key, m in paid.values()]
        bank.ingest(bank.statement(lines))
        assert bank.reconcile().breaks == ()
        tell_all(before=False)
        assert bank.reconcile().breaks == ()

        parts = world.rows("SELECT kind, amount_minor FROM settlement.reopening ORDER BY amount_minor")
        assert parts == [("return", 1000 + n) for n in range(len(codes))]
        assert Counter(shown(world).values()) == {"returned": len(codes)}
        assert world.balance(TRANSIT) == 0 and world.balance("assets:bank:eur-payouts") == 100_000_000
        held = world.rows("SELECT payee, owed_minor, held FROM settlement.open_item ORDER BY payee")
        assert held == [(code, 1000 + n, True) for n, code in enumerate(codes)]
        assert {(kind, policy) for kind, policy, _, _ in waiting(world)} == {("held", "fix_data")}
        assert len(waiting(world)) == len(codes) and findings(world) == []
        assert poll(world.app, home=world.home).messages == ()
    finally:
        world.close()
