"""A small company with four bank accounts, for settlement tests: payees, sales, and the bank's answers.

Lives here: what several settlement test files share. Must not live here: assertions.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from ledger import Connection, NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import ProposedFile, StepResult, apply_setup, approve, propose, release
from settlement.model import FileState
from settlement.sending import begin
from tests.ledger_books import fresh_database

DAY = dt.date(2026, 11, 2)  # a Monday, open in TARGET, the UK and Japan
NOON = dt.time(12, 0, tzinfo=dt.UTC)

_ACCOUNTS = {
    "eur": ("nordbank", "DE89370400440532013000", "EUR", "SEPA", "DE", "Berlin"),
    "gbp": ("island", "GB29NWBK60161331926819", "GBP", "DOMESTIC", "GB", "London"),
    "jpy": ("island", "GB33BUKB20201555555555", "JPY", "DOMESTIC", "GB", "London"),
    "usd": ("abroad", "DE02120300000000202051", "USD", "CROSS_BORDER", "DE", "Berlin"),
    "kwd": ("island", "KW81CBKU0000000000001234560101", "KWD", "DOMESTIC", "KW", "Kuwait"),
}

_YAML = """
book: {{name: Marktplatz, functional_currency: EUR}}
accounts:
  - {{code: "liabilities:payable:*", type: liability, settleable: true}}
  - {{code: "assets:receivable:*", type: asset}}
  - {{code: "income:*", type: income}}
banks:
  nordbank:
    bic: NORDDEFFXXX
    timezone: Europe/Berlin
    holidays: ECB
    message: pain.001.001.09
    charset: sepa
    address: structured
    batch_booking: true
    uetr: true
    max_transactions: {max_transactions}
    rails: {{SEPA: {{cutoff: "20:00", sla_days: 1, minimum: "0.01", maximum: "999999999.99"}}}}
    refuses_duplicates: {refuses_duplicates}{direct_debit}{batches}
    tariff: [{{code: "PMNT/ICDT/CHRG", amount: "2.50", currency: EUR}}]
    transport: {transport}
  island:
    bic: NWBKGB2L
    timezone: Europe/London
    holidays: all
    charset: latin
    address: hybrid
    uetr: false
    max_transactions: 1000
    rails: {{DOMESTIC: {{cutoff: "17:00", sla_days: 2}}}}
    transport: {{kind: folder, outbox: bank/island/outbox, inbox: bank/island/inbox}}
  abroad:
    profile: cross-border
    bic: NORDDEFFXXX
    timezone: Europe/Berlin{batches}
    rails: {{CROSS_BORDER: {{cutoff: "16:00"}}}}
    transport: {{kind: folder, outbox: bank/abroad/outbox, inbox: bank/abroad/inbox}}
bank_accounts:
{bank_accounts}
payees_file: payees.csv
acquirers:
  - {{code: cardia, name: "Cardia Acquiring", iban: NL91ABNA0417164300, receivable: "assets:receivable:cardia:*"}}
"""
_HEADER = (
    "payee_id,name,account,currency,iban,bic,country,town,street,postcode,pay_from,minimum,maximum,delay_days,hold,"
    "schedule,anchors,roll,reserve_percent,reserve_days,reserve_fixed,negative,mandate_id,mandate_signed,"
    "mandate_scheme,mandate_sequence,charge_bearer,intermediary_bic,purpose,creditor_reference,regulatory_country,regulatory_code,"
    "regulatory_text"
)
_IBANS = {
    "EUR": "NL91ABNA0417164300",
    "GBP": "GB33BUKB20201555555555",
    "USD": "GB33BUKB20201555555555",
    "JPY": "GB29NWBK60161331926819",
    "KWD": "KW81CBKU0000000000001234560101",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class PayeeRow:
    """A row of payees.csv."""

    code: str
    currency: str = "EUR"
    name: str = ""
    iban: str | None = None
    minimum: str = ""
    maximum: str = ""
    delay_days: str = ""
    hold: str = ""
    schedule: str = ""
    anchors: str = ""
    roll: str = ""
    reserve_percent: str = ""
    reserve_days: str = ""
    reserve_fixed: str = ""
    negative: str = ""
    mandate: str = ""  # id/date/scheme/sequence
    charge_bearer: str = ""
    told: str = (
        ",,,,,"  # intermediary_bic,purpose,creditor_reference,regulatory_country,regulatory_code,regulatory_text
    )

    @property
    def account(self) -> str:
        return f"liabilities:payable:{self.code}"

    @property
    def line(self) -> str:
        bic = "" if self.currency == "EUR" else "BUKBGB22"
        name, iban = self.name or f"Händler {self.code}", self.iban or _IBANS[self.currency]
        where = "NL,Amsterdam,Damrak 1,1012LG" if self.currency == "EUR" else "GB,London,High Street 2,E1 6AN"
        pay_from = f"{self.currency.lower()}-payouts"
        rules = (
            f"{self.minimum},{self.maximum},{self.delay_days},{self.hold},{self.schedule},{self.anchors},{self.roll}"
        )
        rules += f",{self.reserve_percent},{self.reserve_days},{self.reserve_fixed},{self.negative},"
        rules += (self.mandate.replace("/", ",") or ",,,") + f",{self.charge_bearer}"
        return f"{self.code},{name},{self.account},{self.currency},{iban},{bic},{where},{pay_from},{rules},{self.told}"


def write_setup(
    folder: Path,
    payees: Sequence[PayeeRow],
    *,
    refuses_duplicates: bool = True,
    max_transactions: int = 10_000,
    accounts: Sequence[str] = ("eur", "gbp", "jpy", "kwd"),
    openings: dict[str, str] | None = None,
    transport: str = "{kind: folder, outbox: bank/nordbank/outbox, inbox: bank/nordbank/inbox}",
    collects: bool = False,
    debit_terms: str = "lead_days: 2",
    batches: str = "",
    more: str = "",
) -> Path:
    """Write setup.yaml and payees.csv and return the YAML's path.

    `more` stands at its end; `collects`: nordbank takes direct debits; `batches`: what nordbank and abroad say of them.
    """
    lines = []
    for name in accounts:
        bank, iban, currency, rail, country, town = _ACCOUNTS[name]
        balance = (openings or {}).get(name, "1000000")
        lines.append(
            f"  - {{code: {name}-payouts, bank: {bank}, iban: {iban}, currency: {currency}, rail: {rail},"
            f" holder: {{name: Marktplatz GmbH, country: {country}, town: {town}}},"
            f' opening: {{date: 2026-11-01, balance: "{balance}"}}, overdraft: none}}'
        )
    path = folder / "setup.yaml"
    path.write_text(
        _YAML.format(
            refuses_duplicates=str(refuses_duplicates).lower(),
            max_transactions=max_transactions,
            direct_debit=f"\n    direct_debit: {{creditor_id: DE98ZZZ09999999999, {debit_terms}}}" if collects else "",
            transport=transport,
            batches="".join(f"\n    {line}" for line in batches.splitlines()),
            bank_accounts="\n".join(lines),
        )
        + more
    )
    (folder / "payees.csv").write_text("\n".join([_HEADER, *(payee.line for payee in payees)]) + "\n")
    return path


@dataclass(slots=True)
class World:
    """A set-up company; `app`, `alice` (preparer) and `bob`, `carol` (approvers) are open connections."""

    db: Database
    home: Path
    book_id: int
    app: Connection
    alice: Connection
    bob: Connection
    payees: list[PayeeRow]
    _entries: int = field(default=0)

    def owe(self, payee: str, amount_minor: int, *, day: dt.date = DAY) -> None:
        """Post that we owe a payee (negative: the payee owes us)."""
        self._entries += 1
        row = next(row for row in self.payees if row.code == payee)
        income = f"income:fees:{row.currency.lower()}"
        self.app.execute(
            "SELECT ledger.open_accounts(%s, %s, '{income}', %s, '{f}', '{NULL}', '{NULL}')",
            (self.book_id, [income], [row.currency]),
        )
        entry = NewEntry(
            f"sale-{self._entries}", day, (NewPosting(income, amount_minor), NewPosting(row.account, -amount_minor))
        )
        post_batch(self.app, book_id=self.book_id, entries=[entry])
        self.app.commit()

    def propose(self, day: dt.date = DAY, account: str = "eur-payouts") -> list[ProposedFile]:
        return propose(self.app, book_id=self.book_id, business_date=day, now=moment(day), bank_account=account)

    def approve_all(self, day: dt.date = DAY, account: str = "eur-payouts") -> list[int]:
        """Propose and approve; the ids of the files."""
        ids = [proposed.file_id for proposed in self.propose(day, account)]
        for file_id in ids:
            approve(self.bob, file_id)
        return ids

    def pay(self, day: dt.date = DAY, account: str = "eur-payouts") -> list[int]:
        """Propose, approve and send everything owed."""
        ids = self.approve_all(day, account)
        for file_id in ids:
            assert self.release(file_id, day).state is FileState.SENT
        return ids

    def release(self, file_id: int, day: dt.date = DAY) -> StepResult:
        return release(self.app, file_id, home=self.home, now=moment(day))

    def one(self, query: str, *values: object) -> object:
        """The single value of a query, read outside any open transaction."""
        row = self.app.execute(query, values).fetchone()
        self.app.rollback()
        return None if row is None else row[0]

    def rows(self, query: str, *values: object) -> list[tuple[object, ...]]:
        found = self.app.execute(query, values).fetchall()
        self.app.rollback()
        return found

    def balance(self, account: str) -> int:
        """Debit-positive balance of an account."""
        value = self.one(
            "SELECT posted_minor FROM ledger.account_balance WHERE book_id = %s AND code = %s", self.book_id, account
        )
        return int(str(value))

    def answer(self, name: str, content: str, bank: str = "nordbank") -> None:
        """Put a file into a bank's inbox."""
        inbox = self.home / "bank" / bank / "inbox"
        inbox.mkdir(parents=True, exist_ok=True)
        (inbox / name).write_text(content)

    def close(self) -> None:
        for conn in (self.app, self.alice, self.bob):
            conn.close()


def moment(day: dt.date = DAY) -> dt.datetime:
    return dt.datetime.combine(day, NOON)


def make_world(db: Database, folder: Path, payees: Sequence[PayeeRow], **options: object) -> World:
    """Set a company up in a fresh database."""
    path = write_setup(folder, payees, **options)  # type: ignore[arg-type]
    app = db.app()
    report = apply_setup(app, path)
    return World(
        db=db,
        home=folder,
        book_id=report.book_id,
        app=app,
        alice=db.login("alice"),
        bob=db.login("bob"),
        payees=list(payees),
    )


@contextmanager
def copied(world: World, name: str, folder: Path) -> Iterator[World]:
    """A company as another one stands that nobody is connected to: its database and its files, for one test."""
    shutil.copytree(world.home, folder, dirs_exist_ok=True)
    with fresh_database(world.db, name) as db:
        made = replace(world, db=db, home=folder, app=db.app(), alice=db.login("alice"), bob=db.login("bob"))
        yield made
        made.close()


def begin_sending(world: World, conn: Connection, file_id: int, part: int | None = None) -> None:
    """Commit SENDING of a file (or of a recall of it) in a session of the caller's, as a sender does first."""
    row = conn.execute("SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchone()
    assert row is not None

    def count(head: tuple[str, int, str]) -> int:
        what = "begin_sending(%s" if part is None else "begin_sending_recall(%s, %s"
        given = (file_id,) if part is None else (file_id, part)
        query = f"SELECT settlement.{what}, %s, %s, %s, %s)"
        found = conn.execute(query, (*given, row[0], *head)).fetchone()
        assert found is not None
        return int(str(found[0]))

    begin(conn, world.home, content=b"", count=count)


Status = tuple[str, str, str]  # EndToEndId, status, reason code


def pain002(
    msg_id: str,
    *,
    group: str | None = None,
    group_reason: str | None = None,
    statuses: Sequence[Status] = (),
    batches: Sequence[Status] = (),
    report: str = "R1",
    created: str = "2026-11-02T18:00:00Z",
) -> str:
    """A pain.002.001.10 as a bank would write it; `batches` are of whole payment groups, by PmtInfId."""

    def reason(code: str | None) -> str:
        return f"<StsRsnInf><Rsn><Cd>{code}</Cd></Rsn></StsRsnInf>" if code else ""

    told = "".join(
        f"<TxInfAndSts><OrgnlEndToEndId>{e2e}</OrgnlEndToEndId><TxSts>{status}</TxSts>{reason(code)}</TxInfAndSts>"
        for e2e, status, code in statuses
    )
    grouped = f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{msg_id}-G</OrgnlPmtInfId>{told}</OrgnlPmtInfAndSts>" if told else ""
    grouped += "".join(
        f"<OrgnlPmtInfAndSts><OrgnlPmtInfId>{batch}</OrgnlPmtInfId><PmtInfSts>{of_batch}</PmtInfSts>{reason(code)}"
        "</OrgnlPmtInfAndSts>"
        for batch, of_batch, code in batches
    )
    status = f"<GrpSts>{group}</GrpSts>" if group else ""
    return (
        '<?xml version="1.0" encoding="UTF-8"?>'
        '<Document xmlns="urn:iso:std:iso:20022:tech:xsd:pain.002.001.10"><CstmrPmtStsRpt>'
        f"<GrpHdr><MsgId>{report}</MsgId><CreDtTm>{created}</CreDtTm></GrpHdr>"
        f"<OrgnlGrpInfAndSts><OrgnlMsgId>{msg_id}</OrgnlMsgId><OrgnlMsgNmId>pain.001.001.09</OrgnlMsgNmId>"
        f"{status}{reason(group_reason)}</OrgnlGrpInfAndSts>{grouped}</CstmrPmtStsRpt></Document>"
    )


WorldMaker = Callable[..., World]
