"""Statements of a small company's bank account, for reconciliation tests. No assertions here."""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger import format_amount
from recon import BreakCode, IngestReport, RunReport, approve_policy, declare_policy, ingest_files, reconcile
from tests.settlement_world import DAY, World
from tests.unit.recon.camt_files import IBAN, balance, details, document, entry, statement

ACCOUNT = "eur-payouts"
OPENING = 100_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One booked line; `amount_minor` as the bank sees it, credit +."""

    amount_minor: int
    ref: str = ""
    end_to_end_id: str = ""
    party_iban: str = ""
    code: str = ""
    returned: str = ""
    booked: dt.date | None = None

    def xml(self, day: dt.date) -> str:
        refs = f"<Refs><EndToEndId>{self.end_to_end_id}</EndToEndId></Refs>" if self.end_to_end_id else ""
        side = "Cdtr" if self.amount_minor < 0 else "Dbtr"
        party = ""
        if self.party_iban:
            party = f"<RltdPties><{side}Acct><Id><IBAN>{self.party_iban}</IBAN></Id></{side}Acct></RltdPties>"
        back = f"<RtrInf><Rsn><Cd>{self.returned}</Cd></Rsn></RtrInf>" if self.returned else ""
        bank_code = ""
        if self.code:
            domain, family, sub = self.code.split("/")
            family = f"<Fmly><Cd>{family}</Cd><SubFmlyCd>{sub}</SubFmlyCd></Fmly>"
            bank_code = f"<BkTxCd><Domn><Cd>{domain}</Cd>{family}</Domn></BkTxCd>"
        return entry(
            format_amount(abs(self.amount_minor), 2),
            "CRDT" if self.amount_minor > 0 else "DBIT",
            booked=f"<BookgDt><Dt>{self.booked or day}</Dt></BookgDt>",
            ref=self.ref,
            inside=bank_code + details(refs + party + back),
        )


@dataclass(slots=True)
class BankBook:
    """Writes one statement a day, each starting where the last one ended."""

    world: World
    balance_minor: int = OPENING
    number: int = 0
    statements: list[str] = field(default_factory=list)

    def statement(
        self,
        lines: Sequence[Line],
        *,
        day: dt.date = DAY,
        stmt_id: str | None = None,
        opening_minor: int | None = None,
        error_minor: int = 0,
        number: int | None = None,
        numbered: bool = True,
    ) -> str:
        """The Stmt element of a day; `error_minor` makes its closing balance wrong."""
        opening = self.balance_minor if opening_minor is None else opening_minor
        closing = opening + sum(line.amount_minor for line in lines)
        self.number += 1
        self.balance_minor = closing
        sequence = f"<ElctrncSeqNb>{number or self.number}</ElctrncSeqNb>" if numbered else ""
        return statement(
            _balance("OPBD", opening, day),
            _balance("CLBD", closing + error_minor, day),
            *(line.xml(day) for line in lines),
            id_=stmt_id or f"S{day:%Y%m%d}",
            head=sequence,
        )

    def ingest(self, *statements: str, name: str = "statement.xml", message_id: str = "M1") -> IngestReport:
        """Deliver statements in one file."""
        return self.ingest_text(document(*statements, message_id=message_id), name)

    def ingest_text(self, text: str, name: str) -> IngestReport:
        path = self.world.home / "in" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(text, encoding="utf-8")
        return self.ingest_path(path)

    def ingest_path(self, path: Path) -> IngestReport:
        return ingest_files(self.world.app, book_id=self.world.book_id, paths=[path])

    def reconcile(self, day: dt.date = DAY) -> RunReport:
        return reconcile(self.world.app, book_id=self.world.book_id, business_date=day, home=self.world.home)


def _balance(kind: str, amount_minor: int, day: dt.date) -> str:
    sign = "CRDT" if amount_minor >= 0 else "DBIT"
    return balance(kind, format_amount(abs(amount_minor), 2), sign=sign, day=day.isoformat())


__all__ = ["ACCOUNT", "IBAN", "OPENING", "BankBook", "Line"]


def fee_policy(world: World, maximum_minor: int, *, daily_minor: int | None = None, daily_count: int = 20) -> int:
    """The number of a policy for small fees that Bob declared and Carol approved."""
    number = declare_policy(
        world.bob,
        book_id=world.book_id,
        code=BreakCode.BANK_ORIGINATED,
        template="bank-fee",
        currency="EUR",
        maximum_minor=maximum_minor,
        reason="small fees",
        daily_minor=daily_minor,
        daily_count=daily_count,
    )
    with world.db.login("carol") as carol:
        approve_policy(carol, book_id=world.book_id, policy_id=number)
    return number
