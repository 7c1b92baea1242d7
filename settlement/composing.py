"""From what the books say to a payment file's values: the same inputs give the same file, byte for byte.

Lives here: reading a run and its obligations, names and addresses in the bank's character set, ids.
Must not live here: what is paid and how much (Postgres), XML (`iso20022`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row, kwargs_row

from ledger import Connection
from settlement.errors import NotKnownError
from settlement.iso20022 import (
    RAIL_TERMS,
    CreditTransfer,
    FileKey,
    FileLimits,
    Finding,
    PaymentFile,
    PaymentGroup,
    Rail,
    Totals,
    check_business_rules,
    end_to_end_id,
    message_id,
    payment_information_id,
    postal_address,
    transliterate,
    uetr,
)
from settlement.setup_check import rail_calendar
from settlement.setup_model import Bank, Holder

_RUN = """
SELECT r.run_id, k.name AS book, r.book_id, r.bank_account_id, b.code AS bank_account, b.iban, b.rail,
       c.code AS currency, v.holder, v.minimum_minor, v.maximum_minor, p.body AS bank, r.business_date, r.cycle,
       r.proposed_at, r.execution_date
  FROM settlement.run r
  JOIN ledger.book k ON k.book_id = r.book_id
  JOIN settlement.bank_account_root b ON b.bank_account_id = r.bank_account_id
  JOIN settlement.bank_account_version v
    ON v.bank_account_id = r.bank_account_id AND v.version = r.account_version
  JOIN settlement.bank_profile_version p ON p.profile_id = r.profile_id
  JOIN ledger.currency c ON c.currency_id = b.currency_id
 WHERE r.run_id = %s
"""
_OBLIGATIONS = """
SELECT o.obligation_id, v.name, v.iban, v.bic, v.country, v.town, v.street, v.postcode,
       o.pay_minor AS amount_minor
  FROM settlement.obligation o
  JOIN settlement.payee_version v USING (payee_version_id)
  LEFT JOIN settlement.instruction i ON i.instruction_id = o.obligation_id
 WHERE o.run_id = %s AND o.pay_minor > 0 AND (%s::bigint IS NULL OR i.file_id = %s)
 ORDER BY o.obligation_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFrame:
    """Everything about a run that its files share."""

    run_id: int
    book: str
    book_id: int
    bank_account_id: int
    bank_account: str
    iban: str
    rail: Rail
    currency: str
    holder: Holder
    minimum_minor: int
    maximum_minor: int
    bank: Bank
    business_date: dt.date
    cycle: int
    proposed_at: dt.datetime
    execution_date: dt.date

    def key(self, part: int) -> FileKey:
        return FileKey(
            book_name=self.book,
            book_id=self.book_id,
            bank_account_id=self.bank_account_id,
            business_date=self.business_date,
            cycle=self.cycle,
            part=part,
        )

    @property
    def uetr_secret(self) -> bytes:
        """Keeps UETRs of different deployments apart and a repeated proposal's the same."""
        return hashlib.sha256(f"{self.book}\0{self.iban}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """What a run pays one payee, and where to."""

    obligation_id: int
    name: str
    iban: str
    bic: str | None
    country: str | None
    town: str | None
    street: str | None
    postcode: str | None
    amount_minor: int


@dataclass(frozen=True, slots=True)
class ComposedFile:
    """A payment file before it is XML; transfers in the order of the obligations it was made from."""

    file: PaymentFile
    transfers: tuple[CreditTransfer, ...]
    totals: Totals


def read_frame(conn: Connection, run_id: int) -> RunFrame:
    """A run as it was proposed, with the versions of profile and holder of then."""

    def frame(holder: object, bank: object, rail: str, **values: object) -> RunFrame:
        parts = {"holder": Holder.model_validate(holder), "bank": Bank.model_validate(bank), "rail": Rail(rail)}
        return RunFrame(**parts, **values)  # type: ignore[arg-type]

    with conn.cursor(row_factory=kwargs_row(frame)) as cursor:
        found = cursor.execute(_RUN, (run_id,)).fetchone()
    if found is None:
        raise NotKnownError(f"there is no settlement run {run_id}.")
    return found


def read_obligations(conn: Connection, run_id: int, *, file_id: int | None = None) -> list[Obligation]:
    """What a run, or one file of it, pays; in the order in which files list it."""
    with conn.cursor(row_factory=class_row(Obligation)) as cursor:
        return cursor.execute(_OBLIGATIONS, (run_id, file_id, file_id)).fetchall()


def compose(frame: RunFrame, part: int, obligations: Sequence[Obligation]) -> ComposedFile:
    """The values of one payment file."""
    key, bank, terms = frame.key(part), frame.bank, RAIL_TERMS[frame.rail]

    def written(text: str) -> str:
        return transliterate(text, bank.charset).written

    def optional(text: str | None) -> str | None:
        return None if text is None else written(text) or None

    remittance = written(f"{frame.book} {frame.business_date}")
    transfers = []
    for ordinal, owed in enumerate(obligations, 1):
        reference = end_to_end_id(key, ordinal)
        address = None
        if owed.country is not None and owed.town is not None:
            address = postal_address(
                bank.address,
                country=owed.country,
                town=written(owed.town),
                street=optional(owed.street),
                postcode=optional(owed.postcode),
            )
        transfers.append(
            CreditTransfer(
                instruction_id=reference,
                end_to_end_id=reference,
                uetr=uetr(frame.uetr_secret, reference) if bank.uetr else None,
                amount_minor=owed.amount_minor,
                currency=frame.currency,
                creditor_name=written(owed.name),
                creditor_iban=owed.iban,
                creditor_bic=owed.bic if terms.creditor_bic else None,
                creditor_address=address,
                remittance_unstructured=remittance or None,
            )
        )
    file = PaymentFile(
        msg_id=message_id(key),
        created_at=frame.proposed_at.astimezone(dt.UTC).replace(microsecond=0),
        initiating_party_name=written(frame.holder.name),
        group=_group(frame, key, written),
        message_version=bank.message,
        charset=bank.charset,
    )
    return ComposedFile(file, tuple(transfers), Totals.of(transfers))


def _group(frame: RunFrame, key: FileKey, written: Callable[[str], str]) -> PaymentGroup:
    holder, terms = frame.holder, RAIL_TERMS[frame.rail]
    return PaymentGroup(
        payment_information_id=payment_information_id(key),
        execution_date=frame.execution_date,
        currency=frame.currency,
        debtor_name=written(holder.name),
        debtor_iban=frame.iban,
        debtor_bic=frame.bank.bic,
        debtor_address=postal_address(
            frame.bank.address,
            country=holder.country,
            town=written(holder.town),
            street=None if holder.street is None else written(holder.street),
            postcode=None if holder.postcode is None else written(holder.postcode),
        ),
        batch_booking=frame.bank.batch_booking,
        service_level=terms.service_level,
        charge_bearer=terms.charge_bearer,
    )


def broken_rules(frame: RunFrame, composed: ComposedFile) -> list[Finding]:
    """Business rules of the values, under this bank's limits."""
    limits = FileLimits(
        rail=frame.rail,
        calendar=rail_calendar(frame.bank, frame.rail),
        address_form=frame.bank.address,
        uetr=frame.bank.uetr,
        minimum_minor=frame.minimum_minor,
        maximum_minor=frame.maximum_minor,
        max_transactions=frame.bank.max_transactions,
    )
    return check_business_rules(composed.file, composed.transfers, limits)
