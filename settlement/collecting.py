"""From what payees owe us to a direct debit file's values, as `composing` does for payouts.

Lives here: reading a run's collections with their mandates, and one file for each scheme and sequence type.
Must not live here: who is collected from and how much (Postgres), XML (`iso20022`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby

from psycopg.rows import class_row

from ledger import Connection
from settlement.composing import ComposedFile, Obligation, RunFrame, Scribe, compose, read_obligations
from settlement.iso20022 import (
    CollectionFile,
    CollectionGroup,
    DirectDebit,
    Scheme,
    SequenceType,
    Totals,
    end_to_end_id,
    message_id,
    payment_information_id,
    transliterate,
    uetr,
)
from settlement.setup_check import rail_calendar

_COLLECTIONS = """
SELECT o.obligation_id, v.name, v.iban, v.bic, v.country, v.town, v.street, v.postcode, -o.pay_minor AS amount_minor,
       v.mandate_id, v.mandate_signed, v.mandate_scheme, v.mandate_sequence
  FROM settlement.obligation o
  JOIN settlement.payee_version v USING (payee_version_id)
  LEFT JOIN settlement.instruction i ON i.instruction_id = o.obligation_id
 WHERE o.run_id = %s AND o.pay_minor < 0 AND (%s::bigint IS NULL OR i.file_id = %s)
 ORDER BY v.mandate_scheme, v.mandate_sequence, o.obligation_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection(Obligation):
    """What a run collects from one payee (a positive amount), and under which mandate."""

    mandate_id: str
    mandate_signed: dt.date
    mandate_scheme: str
    mandate_sequence: str


def read_collections(conn: Connection, run_id: int, *, file_id: int | None = None) -> list[Collection]:
    """What a run, or one file of it, collects, by scheme and sequence type; in the order in which files list it."""
    with conn.cursor(row_factory=class_row(Collection)) as cursor:
        return cursor.execute(_COLLECTIONS, (run_id, file_id, file_id)).fetchall()


def compose_again(
    conn: Connection, frame: RunFrame, *, part: int, file_id: int
) -> tuple[ComposedFile, Sequence[Obligation]]:
    """The values of a stored file, from the books, and what it pays or collects."""
    if collections := read_collections(conn, frame.run_id, file_id=file_id):
        return compose_collections(frame, part, collections), collections
    obligations = read_obligations(conn, frame.run_id, file_id=file_id)
    return compose(frame, part, obligations), obligations


def collection_parts(frame: RunFrame, collections: Sequence[Collection]) -> Iterator[Sequence[Collection]]:
    """What each file collects: one scheme and sequence type, no more than the bank takes in one file."""
    size = frame.bank.max_transactions
    for _, same in groupby(collections, lambda owed: (owed.mandate_scheme, owed.mandate_sequence)):
        share = list(same)
        yield from (share[start : start + size] for start in range(0, len(share), size))


def compose_collections(frame: RunFrame, part: int, collections: Sequence[Collection]) -> ComposedFile:
    """The values of one direct debit file; all of one scheme and sequence type.

    The debtor's account is debited `lead_days` open days after the run's execution date. Raises `ValueError` for
    a bank without leave to collect.
    """
    key, bank, terms = frame.key(part), frame.bank, frame.bank.direct_debit
    if terms is None:
        raise ValueError(f"bank account {frame.bank_account} has no direct_debit terms")
    scribe, account = Scribe(bank), frame.iban
    remittance = scribe.write(0, "remittance", f"{frame.book} {frame.business_date}")
    debits = []
    for ordinal, owed in enumerate(collections, 1):
        reference = end_to_end_id(key, ordinal)
        debits.append(
            DirectDebit(
                instruction_id=reference,
                end_to_end_id=reference,
                uetr=uetr(frame.uetr_secret, reference) if bank.uetr and terms.message.carries_uetr else None,
                amount_minor=owed.amount_minor,
                currency=frame.currency,
                mandate_id=owed.mandate_id,
                mandate_signed_on=owed.mandate_signed,
                debtor_name=scribe.write(ordinal, "name", owed.name),
                debtor_iban=owed.iban,
                debtor_bic=owed.bic,
                debtor_address=scribe.address(ordinal, owed),
                remittance_unstructured=remittance or None,
            )
        )
    group = CollectionGroup(
        payment_information_id=payment_information_id(key),
        collection_date=rail_calendar(bank, frame.rail).add_open_days(frame.execution_date, terms.lead_days),
        currency=frame.currency,
        creditor_name=scribe.write(0, "name", frame.holder.name),
        creditor_iban=account,
        creditor_id=terms.creditor_id,
        sequence_type=SequenceType(collections[0].mandate_sequence),
        scheme=Scheme(collections[0].mandate_scheme),
        creditor_bic=bank.bic,
        creditor_address=scribe.address(0, frame.holder),
        batch_booking=bank.batch_booking,
    )
    file = CollectionFile(
        msg_id=message_id(key),
        created_at=frame.proposed_at.astimezone(dt.UTC).replace(microsecond=0),
        initiating_party_name=transliterate(frame.holder.name, bank.charset, bank.umlauts).written,
        group=group,
        message_version=terms.message,
        charset=bank.charset,
    )
    return ComposedFile(file, tuple(debits), Totals.of(debits), tuple(scribe.kept))
