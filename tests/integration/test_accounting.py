"""docs/accounting.md, executed: every documented entry is what the program posts when the event happens.

The journal blocks are imported as written; for the others the event is made to happen (a payment file is sent, the
bank answers, a statement or an acquirer's report arrives, money is exchanged) and the entry in the books is compared
with the block.
"""

from __future__ import annotations

import csv
import datetime as dt
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import pytest

from ledger import (
    Connection,
    NewRate,
    add_rates,
    exchange,
    import_journal,
    parse_amount_minor,
    revalue,
    trial_balance,
    verify,
)
from nostro.database import Database
from recon import BreakCode, RunReport, ingest_files, reconcile
from recon.codes import ITEM_CODES
from recon.explain import explain
from recon.matching.items import INSTRUCTION, LINE, Item, Tolerances
from settlement import FileState, apply_setup, approve, poll, propose, release
from tests.settlement_world import pain002

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "accounting.md"
IBAN = "DE89370400440532013000"
COLUMNS = ("entry_key", "effective_date", "account", "amount", "currency", "description", "reference")
MONDAY, TUESDAY, WEDNESDAY = (dt.date(2026, 11, day) for day in (2, 3, 4))

# How each documented event comes about; a block that is not here fails the test, and so does a name without a block.
JOURNAL = ("sale", "sale-other", "refund", "chargeback", "reserve-taken", "reserve-released", "fx")
HAPPENS = (
    *("opening", "payout", "payout-line", "reject", "return-line", "return"),
    *("acquirer-expected", "acquirer-line", "fee-line", "fee", "interest-line", "interest"),
)
EXCHANGED = (
    *("exchange-buy", "exchange-sell", "exchange-rounding"),
    *("revaluation", "revaluation-taken-back"),
)

SETUP = f"""
book: {{name: Marktplatz, functional_currency: EUR}}
accounts:
  - {{code: "liabilities:payable:*", type: liability, settleable: true}}
  - {{code: "liabilities:reserve:*", type: liability}}
  - {{code: "assets:receivable:*", type: asset}}
  - {{code: "assets:treasury:*", type: asset}}
  - {{code: "equity:trading:*", type: equity}}
  - {{code: "income:*", type: income}}
banks:
  nordbank:
    bic: NORDDEFFXXX
    timezone: Europe/Berlin
    holidays: ECB
    batch_booking: false
    rails: {{SEPA: {{cutoff: "20:00", sla_days: 1}}}}
    refuses_duplicates: true
    tariff: [{{code: "PMNT/ICDT/CHRG", amount: "2.50", currency: EUR}}]
    transport: {{kind: folder, outbox: bank/nordbank/outbox, inbox: bank/nordbank/inbox}}
bank_accounts:
  - code: eur-main
    bank: nordbank
    iban: {IBAN}
    currency: EUR
    rail: SEPA
    holder: {{name: Marktplatz GmbH, country: DE, town: Berlin}}
    opening: {{date: 2026-11-01, balance: "1000.00"}}
payees:
  - {{payee_id: P000001, name: "Anna Blum", account: "liabilities:payable:P000001", currency: EUR,
     iban: NL91ABNA0417164300, country: NL, town: Amsterdam, pay_from: eur-main}}
  - {{payee_id: P000002, name: "Bert Rose", account: "liabilities:payable:P000002", currency: EUR,
     iban: FR1420041010050500013M02606, country: FR, town: Paris, pay_from: eur-main}}
acquirers:
  - {{code: cardia, name: "Cardia Acquiring", iban: DE02120300000000202051, receivable: "assets:receivable:cardia:*"}}
"""


@dataclass(frozen=True, slots=True)
class Block:
    """One documented entry; `key` may hold placeholders. Legs in minor units, debit +."""

    name: str
    date: dt.date
    key: str
    legs: tuple[tuple[str, int, str], ...]

    def amount(self, prefix: str) -> int:
        """The amount of the one leg whose account starts like this."""
        (found,) = (amount for code, amount, _ in self.legs if code.startswith(prefix))
        return found


def documented() -> dict[str, Block]:
    """Every ```entry``` block of the document, by name."""
    blocks = {}
    for name, body in re.findall(r"^```entry (\S+)\n(.*?)^```$", DOCUMENT.read_text(), re.MULTILINE | re.DOTALL):
        head, *rest = body.strip().splitlines()
        date, key = head.split()
        legs = [tuple(line.split()) for line in rest]
        assert name not in blocks, f"two blocks are called {name}"
        blocks[name] = Block(
            name,
            dt.date.fromisoformat(date),
            key,
            tuple((code, parse_amount_minor(amount, 2), currency) for code, amount, currency in legs),
        )
    return blocks


def write_journal(path: Path, blocks: Sequence[Block]) -> Path:
    with path.open("w", newline="") as stream:
        out = csv.writer(stream)
        out.writerow(COLUMNS)
        for block in blocks:
            for code, minor, currency in block.legs:
                sign, rest = "-" if minor < 0 else "", abs(minor)
                amount = f"{sign}{rest // 100}.{rest % 100:02d}"
                out.writerow([block.key, block.date, code, amount, currency, block.name, ""])
    return path


def money(minor: int) -> str:
    return f'<Amt Ccy="EUR">{abs(minor) // 100}.{abs(minor) % 100:02d}</Amt>{sign(minor)}'


def sign(minor: int) -> str:
    return f"<CdtDbtInd>{'CRDT' if minor >= 0 else 'DBIT'}</CdtDbtInd>"


def line(ref: str, day: dt.date, minor: int, code: str, *, end_to_end: str = "", returned: str = "") -> str:
    """A booked statement line of one transaction."""
    domain, family, sub_family = code.split("/")
    details = ""
    if end_to_end:
        reason = f"<RtrInf><Rsn><Cd>{returned}</Cd></Rsn></RtrInf>" if returned else ""
        details = (
            f"<NtryDtls><TxDtls><Refs><EndToEndId>{end_to_end}</EndToEndId></Refs>"
            f"{money(minor)}{reason}</TxDtls></NtryDtls>"
        )
    return (
        f"<Ntry>{money(minor)}<Sts><Cd>BOOK</Cd></Sts><BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt>"
        f"<AcctSvcrRef>{ref}</AcctSvcrRef><BkTxCd><Domn><Cd>{domain}</Cd><Fmly><Cd>{family}</Cd>"
        f"<SubFmlyCd>{sub_family}</SubFmlyCd></Fmly></Domn></BkTxCd>{details}</Ntry>"
    )


def statement(folder: Path, number: int, day: dt.date, opening: int, closing: int, lines: Sequence[str]) -> Path:
    """An end-of-day camt.053.001.08 as the bank would send it."""
    balances = "".join(
        f"<Bal><Tp><CdOrPrtry><Cd>{kind}</Cd></CdOrPrtry></Tp>{money(minor)}<Dt><Dt>{day}</Dt></Dt></Bal>"
        for kind, minor in (("OPBD", opening), ("CLBD", closing))
    )
    path = folder / f"statement-{day}.xml"
    path.write_text(
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"><BkToCstmrStmt>'
        f"<GrpHdr><MsgId>M{number}</MsgId><CreDtTm>{day}T22:00:00Z</CreDtTm></GrpHdr>"
        f"<Stmt><Id>S{number}</Id><ElctrncSeqNb>{number}</ElctrncSeqNb><CreDtTm>{day}T22:00:00Z</CreDtTm>"
        f"<Acct><Id><IBAN>{IBAN}</IBAN></Id><Ccy>EUR</Ccy></Acct>{balances}{''.join(lines)}</Stmt>"
        "</BkToCstmrStmt></Document>"
    )
    return path


@dataclass(frozen=True, slots=True)
class Company:
    """The company of the document, with its people's connections."""

    app: Connection
    alice: Connection
    bob: Connection
    book_id: int
    home: Path

    def pay(self, day: dt.date) -> dict[str, str]:
        """Settle a day; EndToEndId by payee."""
        now = dt.datetime.combine(day, dt.time(12, 0), dt.UTC)
        files = propose(self.alice, book_id=self.book_id, business_date=day, now=now)
        for file in files:
            approve(self.bob, file.file_id)
            assert release(self.alice, file.file_id, home=self.home, now=now).state is FileState.SENT
        found = self.rows(
            "SELECT i.payee_code, i.end_to_end_id FROM settlement.instruction i WHERE i.file_id = ANY(%s)",
            [file.file_id for file in files],
        )
        return {str(payee): str(reference) for payee, reference in found}

    def prove(self, day: dt.date, *paths: Path) -> RunReport:
        """Take files in, all of them whole, and reconcile through the day."""
        taken = ingest_files(self.app, book_id=self.book_id, paths=paths)
        assert [file.outcome for file in taken.files] == ["accepted"] * len(paths), taken
        return reconcile(self.app, book_id=self.book_id, business_date=day, home=self.home)

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        found = self.app.execute(query, values).fetchall()
        self.app.rollback()
        return found

    def line_key(self, servicer_reference: str) -> str:
        """What stands for a statement line in keys, from the statement itself."""
        ((sha256, entry, detail),) = self.rows(
            "SELECT s.content_sha256, l.line_ordinal, l.detail_ordinal FROM recon.statement_line l"
            " JOIN recon.statement s USING (statement_id) WHERE l.account_servicer_ref = %s",
            servicer_reference,
        )
        return f"eur-main:{str(sha256)[:12]}:{entry}:{detail}"

    def booked(self, key: str) -> tuple[dt.date | None, tuple[tuple[str, int, str], ...]]:
        """Date and legs of the entry with this key, legs by account."""
        found = self.rows(
            "SELECT e.effective_date, a.code, p.amount_minor, c.code FROM ledger.entry e"
            " JOIN ledger.posting p USING (entry_id) JOIN ledger.account a USING (account_id)"
            " JOIN ledger.currency c ON c.currency_id = p.currency_id"
            " WHERE e.book_id = %s AND e.idempotency_key = %s ORDER BY 2, 3",
            self.book_id,
            key,
        )
        dates = {row[0] for row in found}
        assert len(dates) <= 1
        day = dates.pop() if dates else None
        assert day is None or isinstance(day, dt.date)
        return day, tuple((str(code), int(str(minor)), str(currency)) for _, code, minor, currency in found)


@pytest.fixture
def company(db: Database, tmp_path: Path) -> Iterator[Company]:
    """The company of the document, set up, nothing sold yet."""
    path = tmp_path / "setup.yaml"
    path.write_text(SETUP)
    with db.app() as app, db.login("alice") as alice, db.login("bob") as bob:
        yield Company(app, alice, bob, apply_setup(app, path).book_id, tmp_path)


def live_through(company: Company, blocks: Mapping[str, Block]) -> tuple[dict[str, str], RunReport]:
    """Make every documented event happen, day by day; (the key of each block that happens, the last run)."""
    inbox = company.home / "bank" / "nordbank" / "inbox"
    inbox.mkdir(parents=True)
    for day in (MONDAY, TUESDAY, WEDNESDAY):
        of_day = [blocks[name] for name in JOURNAL if blocks[name].date == day]
        import_journal(company.app, book_id=company.book_id, path=write_journal(company.home / f"{day}.csv", of_day))
        if day == MONDAY:
            paid = company.pay(day)
            payout, other = blocks["payout-line"].amount("assets:bank:"), -blocks["return-line"].amount("assets:bank:")
            lines = [
                line("PAYOUT", day, payout, "PMNT/ICDT/ESCT", end_to_end=paid["P000001"]),
                line("OTHER", day, other, "PMNT/ICDT/ESCT", end_to_end=paid["P000002"]),
            ]
            balance = 1000_00 + payout + other
            company.prove(day, statement(company.home, 1, day, 1000_00, balance, lines))
        elif day == TUESDAY:
            again = company.pay(day)
            assert set(again) == {"P000001"}
            ((msg_id,),) = company.rows(
                "SELECT f.msg_id FROM settlement.file_current f WHERE f.execution_date = %s", TUESDAY
            )
            told = pain002(str(msg_id), statuses=[(again["P000001"], "RJCT", "AC04")], created=f"{TUESDAY}T18:00:00Z")
            (inbox / "answer.xml").write_text(told)
            assert [m.rejected for m in poll(company.app, home=company.home, book_id=company.book_id).messages] == [1]
            company.prove(day, statement(company.home, 2, day, balance, balance, []))
    report = company.home / "cardia.csv"
    report.write_text(
        "payout_id,acquirer,bank_account,currency,payout_date,gross,refunds,chargebacks,fees,net,line_count\n"
        f"CARDIA-EUR-20261104,cardia,eur-main,EUR,{WEDNESDAY},150.00,20.00,15.00,2.00,113.00,4\n"
    )
    returned, acquired, fee, interest = (
        blocks[f"{name}-line"].amount("assets:bank:") for name in ("return", "acquirer", "fee", "interest")
    )
    lines = [
        line("RETURN", WEDNESDAY, returned, "PMNT/RCDT/RRTN", end_to_end=paid["P000002"], returned="AC04"),
        line("ACQUIRER", WEDNESDAY, acquired, "PMNT/RCDT/ESCT", end_to_end="CARDIA-EUR-20261104"),
        line("FEE", WEDNESDAY, fee, "PMNT/ICDT/CHRG"),
        line("INTEREST", WEDNESDAY, interest, "ACMT/MCOP/INTR"),
    ]
    closing = balance + returned + acquired + fee + interest
    run = company.prove(WEDNESDAY, report, statement(company.home, 3, WEDNESDAY, balance, closing, lines))
    payments = {"payout": paid["P000001"], "reject": again["P000001"], "return": paid["P000002"]}
    return {name: _key(company, blocks[name], payments.get(name, "")) for name in HAPPENS}, run


def exchange_and_revalue(company: Company, blocks: Mapping[str, Block]) -> None:
    """Exchange what the document exchanges, at its amounts, and value what is left."""
    eur, gbp = "assets:treasury:eur", "assets:treasury:gbp"
    for name, sold, bought in (("buy", eur, gbp), ("sell", gbp, eur), ("rounding", gbp, eur)):
        block = blocks[f"exchange-{name}"]
        exchange(
            company.app,
            book_id=company.book_id,
            key=block.key,
            effective_date=block.date,
            sold_account=sold,
            bought_account=bought,
            sold_minor=-block.amount(sold),
            bought_minor=block.amount(bought),
            rate=Decimal("1.1500") if name == "rounding" else None,
            rate_base="GBP" if name == "rounding" else None,
        )
    day = blocks["revaluation"].date
    fixed = dt.datetime.combine(day, dt.time(15), dt.UTC)
    rates = [NewRate("EUR", "GBP", Decimal("0.85"), day, fixed)]
    add_rates(company.app, book_id=company.book_id, source="ECB", rates=rates)
    assert revalue(company.app, book_id=company.book_id, on=day).entries_posted == 1


def _key(company: Company, block: Block, end_to_end_id: str) -> str:
    """The block's key with its placeholder replaced by what happened."""
    names = re.findall(r"{(\w+)}", block.key)
    stand_ins = {n: end_to_end_id if n == "EndToEndId" else company.line_key(n.upper()) for n in names}
    return block.key.format_map(stand_ins)


def test_every_documented_entry_is_what_the_program_posts(company: Company) -> None:
    blocks = documented()
    assert set(blocks) == {*JOURNAL, *HAPPENS, *EXCHANGED}, "every block of the document is executed, and nothing else"
    keys, run = live_through(company, blocks)
    exchange_and_revalue(company, blocks)
    keys |= {name: blocks[name].key for name in (*JOURNAL, *EXCHANGED)}
    expected = {name: (block.date, tuple(sorted(block.legs))) for name, block in blocks.items()}
    assert {name: company.booked(keys[name]) for name in blocks} == expected

    # The story ends as the document says it does: nothing open, everything certified, the books in balance.
    assert run.breaks == () and run.in_flight == ()
    assert [(s.account, s.sha256 is not None) for s in run.sign_offs] == [("eur-main", True)]
    assert verify(company.app, book_id=company.book_id) == ()
    rows = {row.code: row.posted_minor for row in trial_balance(company.app, book_id=company.book_id).rows}
    assert rows["assets:bank:eur-main"] == 1054_30
    assert rows.get("assets:transit:eur-main", 0) == 0
    assert rows["liabilities:payable:P000001"] == -5_00
    assert rows["liabilities:payable:P000002"] == -48_50
    assert rows.get("assets:receivable:cardia:eur", 0) == 0


def test_what_came_back_is_held_until_a_person_releases_it(company: Company) -> None:
    live_through(company, documented())
    assert company.pay(dt.date(2026, 11, 5)) == {}


def test_every_documented_block_balances_in_each_currency() -> None:
    for block in documented().values():
        totals: dict[str, int] = {}
        for _, minor, currency in block.legs:
            totals[currency] = totals.get(currency, 0) + minor
        assert set(totals.values()) == {0}, block.name


def person_decides() -> dict[str, list[str]]:
    """The table of what a person decides: accounts that the entry of a break code may use against T."""
    text = DOCUMENT.read_text().split("## What a person decides")[1].split("## ")[0]
    accounts: dict[str, list[str]] = {}
    for codes, account in re.findall(r"^\| (`.+?) \| `(.+?):<ccy>` \|$", text, re.MULTILINE):
        for code in re.findall(r"`([A-Z_]+)`", codes):
            accounts.setdefault(code, []).append(f"{account}:eur")
    return accounts


def proposed(code: BreakCode, amount_minor: int) -> list[str]:
    """Accounts other than T in the entry that `nostro breaks show` proposes for a line and its expectation."""
    line_item, expected = (
        Item(
            item_id=number,
            kind=kind,
            account=account,
            currency="EUR",
            amount_minor=minor,
            date=MONDAY,
            day=1,
            age_days=0,
            sla_days=1,
            reference=f"R{number}",
            end_to_end_id="E1",
            payment_information_id=None,
            party_name="Somebody",
            bank_tx_code="PMNT/ICDT/CHRG",
            return_reason="AC04",
            charges_minor=None,
            batch_count=None,
        )
        for number, kind, account, minor in (
            (1, LINE, "eur-main", amount_minor),
            (2, INSTRUCTION, "eur-other", -amount_minor - 9 if code is not BreakCode.BANK_ORIGINATED else 0),
        )
    )
    items = [line_item, expected] if expected.amount_minor else [line_item]
    _, proposal = explain(code, items, line_item, Tolerances())
    return [leg.account for leg in proposal.legs if not leg.account.startswith("assets:transit:")]


def test_what_a_person_decides_is_what_the_program_proposes() -> None:
    documented_accounts = person_decides()
    assert documented_accounts
    for rule in ITEM_CODES:
        found = {account for minor in (100, -100) for account in proposed(rule.code, minor)}
        assert found == set(documented_accounts.get(rule.code, ())), rule.code
