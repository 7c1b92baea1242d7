"""From what the books say to a payment file's values: the same inputs give the same file, byte for byte.

Lives here: reading a run and its obligations, names and addresses in the bank's character set, ids.
Must not live here: what is paid and how much (Postgres), XML (`iso20022`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from psycopg.rows import class_row, kwargs_row

from ledger import Connection
from settlement.errors import NotKnownError
from settlement.iso20022 import (
    RAIL_TERMS,
    CollectionFile,
    CreditTransfer,
    FileKey,
    FileLimits,
    Finding,
    Payment,
    PaymentFile,
    PaymentGroup,
    PostalAddress,
    Rail,
    Totals,
    Transliteration,
    account_address,
    check_business_rules,
    end_to_end_id,
    message_id,
    payment_information_id,
    postal_address,
    transliterate,
    uetr,
)
from settlement.setup_check import minor, rail_calendar
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
       o.pay_minor AS amount_minor, v.intermediary_bic, v.purpose, v.creditor_reference, v.regulatory_country,
       v.regulatory_code, v.regulatory_text
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
    def max_total_minor(self) -> int | None:
        """The largest sum of a file that the bank takes."""
        return None if self.bank.max_total is None else minor(self.bank.max_total, self.currency)

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
    intermediary_bic: str | None = None
    purpose: str | None = None
    creditor_reference: str | None = None
    regulatory_country: str | None = None
    regulatory_code: str | None = None
    regulatory_text: str | None = None


@dataclass(frozen=True, slots=True)
class KeptText:
    """A text that a file does not say as it was given: of which payment (0: the header), which field, and why."""

    ordinal: int
    field: str
    text: Transliteration


@dataclass(frozen=True, slots=True)
class ComposedFile:
    """A payment file before it is XML; transfers (or debits) in the order of the obligations it was made from."""

    file: PaymentFile | CollectionFile
    transfers: tuple[Payment, ...]
    totals: Totals
    written: tuple[KeptText, ...] = ()

    @property
    def direction(self) -> str:
        """``pay`` or ``collect``, as the database calls it."""
        return "pay" if isinstance(self.file, PaymentFile) else "collect"

    @property
    def execution_date(self) -> dt.date:
        """When the bank is asked to book it."""
        file = self.file
        return file.group.execution_date if isinstance(file, PaymentFile) else file.group.collection_date


class Scribe:
    """Writes texts in a bank's characters and keeps what it had to change."""

    def __init__(self, bank: Bank) -> None:
        self._bank = bank
        self.kept: list[KeptText] = []

    def write(self, ordinal: int, field: str, text: str) -> str:
        result = transliterate(text, self._bank.charset, self._bank.umlauts)
        if result.changes:
            self.kept.append(KeptText(ordinal, field, result))
        return result.written

    def optional(self, ordinal: int, field: str, text: str | None) -> str | None:
        return None if text is None else self.write(ordinal, field, text) or None

    def address(self, ordinal: int, of: Obligation | Holder) -> PostalAddress | None:
        """The address in the bank's form; None without a country and town."""
        if of.country is None or of.town is None:
            return None
        return postal_address(
            self._bank.address,
            country=of.country,
            town=self.write(ordinal, "town", of.town),
            street=self.optional(ordinal, "street", of.street),
            postcode=self.optional(ordinal, "postcode", of.postcode),
        )


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


def parts(frame: RunFrame, obligations: Sequence[Obligation]) -> Iterator[Sequence[Obligation]]:
    """What each file of a run pays, in order: as many as the bank takes in one file, by number and by sum.

    A payment above the bank's largest sum gets a file of its own, which the business rules then refuse.
    """
    size, most = frame.bank.max_transactions, frame.max_total_minor
    start = total_minor = 0
    for n, owed in enumerate(obligations):
        if n > start and (n - start == size or (most is not None and total_minor + owed.amount_minor > most)):
            yield obligations[start:n]
            start, total_minor = n, 0
        total_minor += owed.amount_minor
    if obligations:
        yield obligations[start:]


def compose(frame: RunFrame, part: int, obligations: Sequence[Obligation]) -> ComposedFile:
    """The values of one payment file."""
    key, bank, terms = frame.key(part), frame.bank, RAIL_TERMS[frame.rail]
    scribe, rail = Scribe(bank), bank.rails[frame.rail]
    remittance = scribe.write(0, "remittance", f"{frame.book} {frame.business_date}")
    transfers = []
    for ordinal, owed in enumerate(obligations, 1):
        reference, account = end_to_end_id(key, ordinal), account_address(owed.iban)
        transfers.append(
            CreditTransfer(
                instruction_id=reference,
                end_to_end_id=reference,
                uetr=uetr(frame.uetr_secret, reference) if bank.uetr else None,
                amount_minor=owed.amount_minor,
                currency=frame.currency,
                creditor_name=scribe.write(ordinal, "name", owed.name),
                creditor_iban=account.iban,
                creditor_account=account.number,
                creditor_clearing_system=account.clearing_system,
                creditor_member_id=account.member_id,
                creditor_bic=owed.bic if terms.creditor_bic else None,
                intermediary_bic=owed.intermediary_bic,
                purpose=owed.purpose or rail.purpose,
                regulatory_country=owed.regulatory_country,
                regulatory_code=owed.regulatory_code,
                regulatory_text=owed.regulatory_text,
                creditor_address=scribe.address(ordinal, owed),
                remittance_unstructured=None if owed.creditor_reference is not None else remittance or None,
                creditor_reference=owed.creditor_reference,
            )
        )
    file = PaymentFile(
        msg_id=message_id(key),
        created_at=frame.proposed_at.astimezone(dt.UTC).replace(microsecond=0),
        initiating_party_name=transliterate(frame.holder.name, bank.charset, bank.umlauts).written,
        group=_group(frame, key, scribe),
        message_version=bank.message,
        charset=bank.charset,
    )
    return ComposedFile(file, tuple(transfers), Totals.of(transfers), tuple(scribe.kept))


def _group(frame: RunFrame, key: FileKey, scribe: Scribe) -> PaymentGroup:
    holder, terms = frame.holder, RAIL_TERMS[frame.rail]
    rail, account = frame.bank.rails[frame.rail], account_address(frame.iban)
    return PaymentGroup(
        payment_information_id=payment_information_id(key),
        execution_date=frame.execution_date,
        currency=frame.currency,
        debtor_name=scribe.write(0, "name", holder.name),
        debtor_iban=account.iban,
        debtor_account=account.number,
        debtor_clearing_system=account.clearing_system,
        debtor_member_id=account.member_id,
        debtor_bic=frame.bank.bic,
        debtor_lei=holder.lei,
        debtor_address=scribe.address(0, holder),
        batch_booking=frame.bank.batch_booking,
        service_level=rail.service_level or terms.service_level,
        local_instrument=rail.local_instrument or terms.local_instrument,
        charge_bearer=rail.charge_bearer or terms.charge_bearer,
        category_purpose=rail.category_purpose,
    )


def broken_rules(frame: RunFrame, composed: ComposedFile) -> list[Finding]:
    """Business rules of the values, under this bank's limits (its smallest and largest payment are of payouts)."""
    pays = composed.direction == "pay"
    limits = FileLimits(
        rail=frame.rail,
        calendar=rail_calendar(frame.bank, frame.rail),
        address_form=frame.bank.address,
        uetr=frame.bank.uetr and (pays or composed.file.message_version.carries_uetr),
        minimum_minor=frame.minimum_minor if pays else 1,
        maximum_minor=frame.maximum_minor if pays else None,
        max_transactions=frame.bank.max_transactions,
        max_total_minor=frame.max_total_minor if pays else None,
    )
    return check_business_rules(composed.file, composed.transfers, limits)
