"""Several batches (PmtInf) in a file: each proposed by its terms, signed, answered, asked back, booked on its own."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from lxml import etree

from ledger import verify
from nostro.database import Database
from recon import arrived_files, ingest_files, reconcile, trace
from sandbox import Bank, BankBehaviour, BookingStyle, read_setup
from settlement import (
    FileState,
    approve_recall,
    file_content,
    payment_batches,
    payment_file,
    poll,
    recalls,
    receive,
    request_recall,
    send_recalls,
)
from settlement.business_days import Calendar
from settlement.notices import BookedLine, take_notice
from tests.settlement_world import DAY, PayeeRow, World, make_world, moment, pain002

USD = "usd-payouts"
BEARERS = {"A1": "", "A2": "", "B1": "DEBT", "B2": "DEBT", "C1": "CRED"}  # the bank's profile says SHAR
PAYEES = [PayeeRow(code=code, currency="USD", charge_bearer=bearer) for code, bearer in BEARERS.items()]
AMOUNTS = {"A1": 700, "A2": 900, "B1": 1100, "B2": 1300, "C1": 1700}
BATCHES = {1: ["C1"], 2: ["B1", "B2"], 3: ["A1", "A2"]}  # by name of the bearer, then by payee
DEBTORS = [
    PayeeRow(code="D1", negative="debit", mandate="M-1/2025-01-01/CORE/RCUR"),
    PayeeRow(code="D2", negative="debit", mandate="M-2/2025-01-01/CORE/FRST"),
    PayeeRow(code="D3", negative="debit", mandate="M-3/2025-01-01/B2B/RCUR"),
    PayeeRow(code="D4", negative="debit", mandate="M-4/2025-01-01/CORE/RCUR"),
]


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    made = make_world(db, tmp_path, PAYEES, accounts=("usd",), batches="several_batches: true")
    owe(made)
    yield made
    assert verify(made.app, book_id=made.book_id) == ()
    made.close()


def owe(world: World) -> None:
    for payee, amount in AMOUNTS.items():
        world.owe(payee, amount)


class Sent:
    """A sent file of three batches."""

    def __init__(self, world: World) -> None:
        self.world = world
        (self.file_id,) = world.pay(account=USD)
        self.msg_id = payment_file(world.app, self.file_id).msg_id
        rows = world.rows(
            "SELECT payee_code, end_to_end_id FROM settlement.instruction WHERE file_id = %s", self.file_id
        )
        self.e2e = {str(payee): str(reference) for payee, reference in rows}

    def batch(self, number: int) -> str:
        return f"{self.msg_id}-B{number}"

    def notice(self, lines: Sequence[tuple[int | None, int]]) -> int:
        """A camt.054 with these batch lines (the batch, if the line names it, and the amount); how many moved."""
        account = int(str(self.world.one("SELECT bank_account_id FROM settlement.bank_account_root")))
        told = [
            BookedLine(
                bank_account_id=account,
                end_to_end_id=None,
                uetr=None,
                payment_information_id=None if number is None else self.batch(number),
                amount_minor=amount_minor,
                message_id=self.msg_id,
            )
            for number, amount_minor in lines
        ]
        content = str(lines).encode()
        moved = take_notice(
            self.world.app, book_id=self.world.book_id, kind="camt.054", name="n.xml", content=content, lines=told
        )
        self.world.app.commit()
        return moved

    def states(self) -> dict[str, str]:
        query = "SELECT payee_code, state FROM settlement.instruction_current WHERE file_id = %s"
        return {str(payee): str(state) for payee, state in self.world.rows(query, self.file_id)}

    def hear(self, *reports: str) -> list[str]:
        """What could not be applied of these reports."""
        for report in reports:
            self.world.answer(f"r{hash(report)}.xml", report, bank="abroad")
        return [finding.message for m in poll(self.world.app, home=self.world.home).messages for finding in m.findings]


def test_payments_of_one_run_stand_in_a_batch_for_each_charge_bearer(world: World, shared: Path) -> None:
    (proposed,) = world.propose(account=USD)
    msg_id = proposed.file.msg_id
    batches = payment_batches(world.app, proposed.file_id)
    world.app.rollback()
    assert [(b.batch, b.payment_information_id, b.charge_bearer, b.instruction_count, b.total) for b in batches] == [
        (1, f"{msg_id}-B1", "CRED", 1, "17.00"),
        (2, f"{msg_id}-B2", "DEBT", 2, "24.00"),
        (3, f"{msg_id}-B3", "SHAR", 2, "16.00"),
    ]
    content = file_content(world.app, proposed.file_id)
    world.app.rollback()
    etree.XMLSchema(etree.parse(shared / "xsd" / "pain.001.001.09.xsd")).assertValid(etree.fromstring(content))
    assert re.findall(rb"<NbOfTxs>(\d)</NbOfTxs><CtrlSum>([0-9.]+)<", content) == [
        (b"5", b"57.00"), (b"1", b"17.00"), (b"2", b"24.00"), (b"2", b"16.00")
    ]  # fmt: skip
    rows = world.rows("SELECT batch, payee_code FROM settlement.instruction ORDER BY ordinal")
    assert rows == [(number, payee) for number, payees in BATCHES.items() for payee in payees]
    (again,) = world.propose(account=USD)
    assert not again.is_new
    (file_id,) = world.approve_all(account=USD)
    assert world.release(file_id).state is FileState.SENT


def test_a_bank_that_takes_one_batch_gets_a_file_for_each(db: Database, tmp_path: Path) -> None:
    made = make_world(db, tmp_path, PAYEES, accounts=("usd",))
    owe(made)
    files = made.propose(account=USD)
    assert [f.file.instruction_count for f in files] == [1, 2, 2]
    for proposed in files:
        (batch,) = payment_batches(made.app, proposed.file_id)
        assert batch.payment_information_id == proposed.file.msg_id
    made.close()


def test_debits_of_every_scheme_and_sequence_share_a_file(db: Database, tmp_path: Path, shared: Path) -> None:
    """What the simulated bank refuses of them, and books, is of one batch; the others are untouched."""
    made = make_world(db, tmp_path, DEBTORS, accounts=("eur",), collects=True, batches="several_batches: true")
    for number, payee in enumerate(DEBTORS, 1):
        made.owe(payee.code, -100 * number)
    (file_id,) = made.pay()
    content = file_content(made.app, file_id)
    made.app.rollback()
    etree.XMLSchema(etree.parse(shared / "xsd" / "pain.008.001.08.xsd")).assertValid(etree.fromstring(content))
    told = made.rows(
        "SELECT local_instrument, sequence_type, instruction_count FROM settlement.payment_batch ORDER BY batch"
    )
    assert told == [("B2B", "RCUR", 1), ("CORE", "FRST", 1), ("CORE", "RCUR", 2)]
    behaviour = BankBehaviour(batch_rejects_per_mille=500, booking=(("eur-payouts", BookingStyle.BATCH),))
    with Bank(made.home, read_setup(made.home / "setup.yaml"), seed=REFUSING_ONE, behaviour=behaviour) as bank:
        day = DAY
        for _ in range(4):
            bank.receive()
            bank.close_day(day)
            assert not [m for m in poll(made.app, home=made.home).messages if m.findings]
            paths = arrived_files(made.app, book_id=made.book_id, home=made.home)
            ingest_files(made.app, book_id=made.book_id, paths=paths)
            run = reconcile(made.app, book_id=made.book_id, business_date=day, home=made.home)
            assert run.breaks == ()
            day = Calendar("ECB", "Europe/Berlin").next_open(day)
        assert made.balance("assets:bank:eur-payouts") == bank.balance("eur-payouts")
    batches = payment_batches(made.app, file_id)
    made.app.rollback()
    refused = [b for b in batches if b.rejected_count]
    assert [b.rejected_count for b in refused] == [b.instruction_count for b in refused] and len(refused) == 1
    assert sum(b.executed_count for b in batches) == 4 - refused[0].instruction_count
    booked = made.rows("SELECT payment_information_id, batch_count FROM recon.statement_line ORDER BY 1")
    kept = [(b.payment_information_id, b.instruction_count) for b in batches if not b.rejected_count]
    assert booked == kept, "one line a batch"
    assert made.balance("assets:transit:eur-payouts") == 0
    assert payment_file(made.app, file_id).state is FileState.RECONCILED
    made.app.rollback()
    found = trace(made.app, book_id=made.book_id, key=str(kept[0][0]))
    made.app.rollback()
    assert {step.reference for step in found.steps if step.kind == "payment batch"} == {kept[0][0]}
    assert len(found.payments) == kept[0][1], "the payments of that batch alone"
    made.close()


REFUSING_ONE = 1  # a seed by which the bank refuses one of three


def test_the_bank_refuses_a_batch_and_says_something_of_each(world: World) -> None:
    sent = Sent(world)
    mixed = pain002(
        sent.msg_id,
        group="ACCP",
        statuses=[(sent.e2e["A2"], "RJCT", "AC04")],
        batches=[(sent.batch(2), "RJCT", "AG01"), (sent.batch(3), "PART", "")],
        report="M",
    )
    assert sent.hear(mixed) == []
    assert sent.states() == {"A1": "sent", "A2": "rejected", "B1": "rejected", "B2": "rejected", "C1": "accepted"}
    assert world.balance("assets:transit:usd-payouts") == -(AMOUNTS["A1"] + AMOUNTS["C1"])
    rows = world.rows("SELECT DISTINCT reason_code FROM settlement.instruction_event WHERE status_code = 'RJCT'")
    assert sorted(rows) == [("AC04",), ("AG01",)]
    assert sent.hear(pain002(sent.msg_id, batches=[("NOT-OURS", "RJCT", "AC04")], report="N")) == [
        "status RJCT names no batch of this file"
    ]
    assert sent.hear(pain002("NOTPROVIDED", batches=[(sent.batch(1), "ACSC", "")], report="O")) == []
    assert sent.states()["C1"] == "executed", "its id names the file when no message is named"
    assert payment_file(world.app, sent.file_id).state is FileState.PARTLY_REJECTED
    world.app.rollback()


RANKS = {"RCVD": 1, "ACTC": 3, "ACCP": 4, "ACSP": 5, "ACSC": 6, "RJCT": 7}
STATES = {1: "received", 3: "checked", 4: "accepted", 5: "in_process", 6: "executed", 7: "rejected"}
WHOM = [*AMOUNTS, 1, 2, 3, "all"]


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    said=st.lists(st.tuples(st.sampled_from(WHOM), st.sampled_from(sorted(RANKS))), min_size=1, max_size=5),
    data=st.data(),
)
def test_any_order_of_words_about_files_batches_and_payments_ends_alike(
    world: World, said: list[tuple[str | int, str]], data: st.DataObject
) -> None:
    if world.one("SELECT count(*) FROM settlement.instruction"):
        owe(world)
    sent = Sent(world)
    reports = []
    for n, (whom, status) in enumerate(said):
        told = {
            "group": status if whom == "all" else None,
            "batches": [(sent.batch(whom), status, "AC04")] if isinstance(whom, int) else (),
            "statuses": [(sent.e2e[whom], status, "AC04")] if whom in AMOUNTS else (),
        }
        reports.append(pain002(sent.msg_id, report=f"R{n}", **told))  # type: ignore[arg-type]
    for turn, report in enumerate(data.draw(st.permutations(reports * 2))):
        content = report if turn % 2 else report + "\n"
        receive(world.app, book_id=world.book_id, bank="abroad", name=f"{turn}.xml", content=content.encode())
    expected = {}
    for number, payees in BATCHES.items():
        for payee in payees:
            ranks = {RANKS[status] for whom, status in said if whom in (payee, number, "all")}
            expected[payee] = "disputed" if {6, 7} <= ranks else STATES[max(ranks)] if ranks else "sent"
    assert sent.states() == expected


def test_a_recall_asks_back_from_each_batch_and_is_answered_for_one(world: World, shared: Path) -> None:
    sent = Sent(world)
    with Bank(world.home, read_setup(world.home / "setup.yaml"), seed=1) as bank:
        assert [r.payments for r in bank.receive()] == [5]
    for payee in ("A1", "B1", "B2"):
        request_recall(world.alice, end_to_end_id=sent.e2e[payee], reason_code="DUPL", reason="twice")
    approve_recall(world.bob, sent.file_id, now=moment())
    assert [r.state for r in send_recalls(world.app, sent.file_id, home=world.home)] == [FileState.SENT]
    (path,) = (world.home / "bank/abroad/outbox").glob("*-R1.xml")
    root = etree.parse(path)
    etree.XMLSchema(etree.parse(shared / "xsd" / "camt.055.001.08.xsd")).assertValid(root)
    asked = {
        str(group.findtext("{*}OrgnlPmtInfId")): [str(e.text) for e in group.iterfind("{*}TxInf/{*}OrgnlEndToEndId")]
        for group in root.iter("{*}OrgnlPmtInfAndCxl")
    }
    assert asked == {sent.batch(2): [sent.e2e["B1"], sent.e2e["B2"]], sent.batch(3): [sent.e2e["A1"]]}
    with Bank(world.home, read_setup(world.home / "setup.yaml"), seed=1) as bank:
        assert [r.payments for r in bank.receive()] == [3]
    poll(world.app, home=world.home)
    said = {r.payee: r.state for r in recalls(world.app, book_id=world.book_id)}
    world.app.rollback()
    assert said == {"A1": "accepted", "B1": "accepted", "B2": "accepted"}


def test_a_bank_answers_a_recall_for_a_whole_batch(world: World) -> None:
    sent = Sent(world)
    for payee in ("A1", "B1", "B2"):
        request_recall(world.alice, end_to_end_id=sent.e2e[payee], reason_code="DUPL", reason="twice")
    approve_recall(world.bob, sent.file_id, now=moment())
    send_recalls(world.app, sent.file_id, home=world.home)
    answer = (
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.029.001.09"><RsltnOfInvstgtn>'
        "<Assgnmt><Id>A1</Id><CreDtTm>2026-11-03T09:00:00Z</CreDtTm></Assgnmt><Sts><Conf>PECR</Conf></Sts><CxlDtls>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{sent.msg_id}</OrgnlMsgId></OrgnlGrpInfAndSts>"
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{sent.batch(2)}</OrgnlPmtInfId><PmtInfCxlSts>RJCR</PmtInfCxlSts>"
        f"<TxInfAndSts><OrgnlEndToEndId>{sent.e2e['B2']}</OrgnlEndToEndId><TxCxlSts>ACCR</TxCxlSts></TxInfAndSts>"
        "</OrgnlPmtInfAndSts></CxlDtls></RsltnOfInvstgtn></Document>"
    )
    assert sent.hear(answer) == []
    said = {r.payee: r.state for r in recalls(world.app, book_id=world.book_id)}
    world.app.rollback()
    assert said == {"A1": "sent", "B1": "refused", "B2": "accepted"}


SHARED = {"A1", "A2"}
DEBTED = {"B1", "B2"}


@pytest.mark.parametrize(
    ("lines", "moved", "is_whole"),
    [
        ([(2, 2400)], DEBTED, True),
        ([(None, 2400)], DEBTED, True),  # the file alone is named: its one batch of this amount
        ([(None, 5700)], set(AMOUNTS), True),  # or all of it
        ([(None, 3300)], {"C1"} | SHARED, True),  # or the only two that come to it
        ([(None, 3300), (None, 2400)], set(AMOUNTS), True),
        ([(None, 3300), (None, 3300)], {"C1"} | SHARED, True),  # the same told twice
        ([(None, 3301)], set(), False),
        ([(None, 3300), (None, 1600)], set(), False),  # both cannot be: one batch would be in both
        ([(1, 1700), (None, 3300)], {"C1"}, False),  # a batch that is named is not among what is left
        ([(1, 1700), (None, 4000)], set(AMOUNTS), True),
    ],
)
def test_a_notice_of_batches_moves_their_payments(
    world: World, lines: list[tuple[int | None, int]], moved: set[str], is_whole: bool
) -> None:
    sent = Sent(world)
    assert sent.notice(lines) == len(moved)
    assert {payee for payee, state in sent.states().items() if state == "executed"} == moved
    said = world.one("SELECT string_agg(message, '') FROM settlement.message_finding")
    assert (said is None) == is_whole


def test_a_notice_that_two_choices_of_batches_come_to_moves_nothing(world: World) -> None:
    world.owe("C1", 700)  # its batch is as large as the second
    sent = Sent(world)
    for amount_minor in (2400, 4000):
        assert sent.notice([(None, amount_minor)]) == 0
    assert set(sent.states().values()) == {"sent"}
    why = "and more than one choice of its batches comes to that"
    assert [str(text) for (text,) in world.rows("SELECT message FROM settlement.message_finding ORDER BY 1")] == [
        f"the bank booked {amount} minor units for file {sent.msg_id}, {why}" for amount in (2400, 4000)
    ]


def test_batches_are_final_and_add_up_whoever_writes(world: World) -> None:
    (file_id,) = world.approve_all(account=USD)
    copies = (
        "INSERT INTO settlement.run (book_id, bank_account_id, profile_id, account_version, business_date, cycle,"
        " proposed_at, execution_date, cutoff_at, prepared_by) SELECT book_id, bank_account_id, profile_id,"
        " account_version, business_date, 99, proposed_at, execution_date, cutoff_at, prepared_by FROM settlement.run",
        "INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor,"
        " rest_minor, posting_ids) SELECT (SELECT max(run_id) FROM settlement.run), payee_id, payee_version_id,"
        " account_id, owed_minor, pay_minor, rest_minor, posting_ids FROM settlement.obligation WHERE payee_id = 1",
        "INSERT INTO settlement.payment_file (run_id, part, book_id, bank_account_id, rail, currency_id, msg_id,"
        " instruction_count, total_minor, content) SELECT (SELECT max(run_id) FROM settlement.run), 1, book_id,"
        " bank_account_id, rail, currency_id, 'TWIN', 1, 700, 'x'"
        " FROM settlement.payment_file",
        _BATCH.replace("TOTAL", "600"),
    )
    instruction = (
        "INSERT INTO settlement.instruction (instruction_id, file_id, batch, ordinal, payee_id, payee_code, payee_name,"
        " payee_iban, payable_account_id, amount_minor, end_to_end_id, uetr, execution_date) SELECT"
        " (SELECT max(obligation_id) FROM settlement.obligation), (SELECT max(file_id) FROM settlement.payment_file),"
        " 1, 1, payee_id, payee_code, payee_name, payee_iban, payable_account_id, 700, 'TWIN-1', NULL, execution_date"
        " FROM settlement.instruction WHERE payee_id = 1"
    )
    with world.db.owner() as owner:
        for made, wrong in (
            (copies, instruction),  # 700, where the batch says 600
            (copies[:3], instruction),  # of no batch
            ((*copies[:3], _BATCH.replace("TOTAL", "700"), instruction), _BATCH.replace("TOTAL", "1")),  # whole by then
        ):
            for statement in made:
                owner.execute(statement)
            with pytest.raises(psycopg.Error) as refused:
                owner.execute(wrong)
            assert refused.value.diag.constraint_name == "payment_batch_totals"
            owner.rollback()
        for wrong in (
            "UPDATE settlement.payment_batch SET charge_bearer = 'DEBT'",
            "DELETE FROM settlement.payment_batch",
        ):
            with pytest.raises(psycopg.Error):
                owner.execute(wrong)
            owner.rollback()
    assert file_id


_BATCH = (
    "INSERT INTO settlement.payment_batch (file_id, batch, payment_information_id, execution_date, charge_bearer,"
    " instruction_count, total_minor) SELECT file_id, (SELECT count(*) + 1 FROM settlement.payment_batch b WHERE"
    " b.file_id = f.file_id), 'TWIN-' || (SELECT count(*) FROM settlement.payment_batch), '2026-11-02', 'SHAR', 1,"
    " TOTAL FROM settlement.payment_file f ORDER BY file_id DESC LIMIT 1"
)
