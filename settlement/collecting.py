"""From what payees owe us to a direct debit file's values, as `composing` does for payouts.

Lives here: reading a run's collections with their mandates, one batch for each scheme and sequence type.
Must not live here: who is collected from and how much (Postgres), XML (`iso20022`).
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, count
from operator import attrgetter

from psycopg.rows import class_row

from ledger import Connection
from settlement.composing import (
    ComposedFile,
    Obligation,
    RunFrame,
    Scribe,
    compose,
    parts,
    read_obligations,
    stored_batches,
)
from settlement.iso20022 import (
    SAME_MANDATE_NEW_ACCOUNT,
    Amendment,
    CollectionFile,
    CollectionGroup,
    DirectDebit,
    FileKey,
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
from settlement.setup_model import DirectDebit as DebitTerms

# Look-ups by primary key, one by one, as in composing.
_COLLECTIONS = """
SELECT o.obligation_id, v.name, v.iban, v.bic, v.country, v.town, v.street, v.postcode, -o.pay_minor AS amount_minor,
       i.batch, v.mandate_id, v.mandate_signed, v.mandate_scheme, s.mandate_sequence,
       coalesce(last.iban <> v.iban, false) AS has_moved
  FROM settlement.obligation o
  JOIN settlement.run r ON r.run_id = o.run_id
 CROSS JOIN LATERAL (SELECT * FROM settlement.payee_version v WHERE v.payee_version_id = o.payee_version_id LIMIT 1) v
  LEFT JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = o.obligation_id LIMIT 1) i ON true
  LEFT JOIN settlement.payment_batch b ON b.file_id = i.file_id AND b.batch = i.batch
 CROSS JOIN LATERAL (  -- as it was presented, else as it is to be
    SELECT coalesce(b.sequence_type, settlement.mandate_step(v.payee_version_id, r.business_date)) AS mandate_sequence
    OFFSET 0) s
  LEFT JOIN LATERAL (  -- whose account the mandate's last collection was from
    SELECT x.payee_iban AS iban
      FROM settlement.clearing_group g
      JOIN settlement.instruction x ON x.instruction_id = g.group_id AND x.direction = 'collect'
      JOIN settlement.obligation w ON w.obligation_id = g.group_id
      JOIN settlement.payee_version m ON m.payee_version_id = w.payee_version_id AND m.mandate_id = v.mandate_id
     WHERE g.account_id = o.account_id AND g.group_id < o.obligation_id
       AND NOT EXISTS (SELECT FROM settlement.reopening b
                        WHERE b.instruction_id = g.group_id AND b.kind IN ('reject', 'cancel'))
     ORDER BY g.group_id DESC LIMIT 1) last ON true
 WHERE o.run_id = %s AND o.pay_minor < 0 AND (%s::bigint IS NULL OR i.file_id = %s)
 ORDER BY i.ordinal, v.mandate_scheme, s.mandate_sequence, o.obligation_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collection(Obligation):
    """What a run collects from one payee (a positive amount), and under which mandate.

    `has_moved`: the debtor's account is another one than at the mandate's last collection.
    """

    mandate_id: str
    mandate_signed: dt.date
    mandate_scheme: str
    mandate_sequence: str
    has_moved: bool


def read_collections(conn: Connection, run_id: int, *, file_id: int | None = None) -> list[Collection]:
    """What a run, or one file of it, collects, by scheme and sequence type; in the order in which files list it."""
    with conn.cursor(row_factory=class_row(Collection)) as cursor:
        return cursor.execute(_COLLECTIONS, (run_id, file_id, file_id)).fetchall()


def compose_again(
    conn: Connection, frame: RunFrame, *, part: int, file_id: int
) -> tuple[ComposedFile, Sequence[Obligation]]:
    """The values of a stored file, from the books, and what it pays or collects."""
    if collections := read_collections(conn, frame.run_id, file_id=file_id):
        return compose_collections(frame, part, stored_batches(collections)), collections
    obligations = read_obligations(conn, frame.run_id, file_id=file_id)
    return compose(frame, part, stored_batches(obligations)), obligations


def collection_parts(frame: RunFrame, collections: Sequence[Collection]) -> Iterator[list[list[Collection]]]:
    """The files of direct debits: a batch is of one scheme and sequence type."""
    terms = attrgetter("mandate_scheme", "mandate_sequence")
    return parts(frame, collections, terms, max_total_minor=None)


def compose_collections(frame: RunFrame, part: int, batches: Sequence[Sequence[Collection]]) -> ComposedFile:
    """The values of one direct debit file; each batch of one scheme and sequence type.

    The debtor's account is debited `lead_days` open days after the run's execution date. Raises `ValueError` for
    a bank without leave to collect.
    """
    key, bank, terms = frame.key(part), frame.bank, frame.bank.direct_debit
    if terms is None:
        raise ValueError(f"bank account {frame.bank_account} has no direct_debit terms")
    scribe, ordinals = Scribe(bank), count(1)
    remittance = scribe.write(0, "remittance", f"{frame.book} {frame.business_date}") or None
    debits = [
        [_debit(frame, terms, scribe, next(ordinals), owed, key, remittance) for owed in batch] for batch in batches
    ]
    file = CollectionFile(
        msg_id=message_id(key),
        created_at=frame.proposed_at.astimezone(dt.UTC).replace(microsecond=0),
        initiating_party_name=transliterate(frame.holder.name, bank.charset, bank.umlauts).written,
        groups=_groups(frame, terms, scribe, key, [batch[0] for batch in batches]),
        message_version=terms.message,
        charset=bank.charset,
    )
    return ComposedFile(file, tuple(chain.from_iterable(debits)), Totals.of_groups(debits), tuple(scribe.kept))


def _debit(
    frame: RunFrame,
    terms: DebitTerms,
    scribe: Scribe,
    ordinal: int,
    owed: Collection,
    key: FileKey,
    remittance: str | None,
) -> DirectDebit:
    reference, is_named = end_to_end_id(key, ordinal), frame.bank.uetr and terms.message.carries_uetr
    return DirectDebit(
        instruction_id=reference,
        end_to_end_id=reference,
        uetr=uetr(frame.uetr_secret, reference) if is_named else None,
        amount_minor=owed.amount_minor,
        currency=frame.currency,
        mandate_id=owed.mandate_id,
        mandate_signed_on=owed.mandate_signed,
        amendment=Amendment(original_debtor_account=SAME_MANDATE_NEW_ACCOUNT) if owed.has_moved else None,
        debtor_name=scribe.write(ordinal, "name", owed.name),
        debtor_iban=owed.iban,
        debtor_bic=owed.bic,
        debtor_address=scribe.address(ordinal, owed),
        remittance_unstructured=remittance,
    )


def _groups(
    frame: RunFrame, terms: DebitTerms, scribe: Scribe, key: FileKey, firsts: Sequence[Collection]
) -> tuple[CollectionGroup, ...]:
    """The payment groups, by the first debit of each."""
    bank = frame.bank
    group = CollectionGroup(
        payment_information_id="",
        collection_date=rail_calendar(bank, frame.rail).add_open_days(frame.execution_date, terms.lead_days),
        currency=frame.currency,
        creditor_name=scribe.write(0, "name", frame.holder.name),
        creditor_iban=frame.iban,
        creditor_id=terms.creditor_id,
        sequence_type=SequenceType(firsts[0].mandate_sequence),
        creditor_bic=bank.bic,
        creditor_address=scribe.address(0, frame.holder),
        batch_booking=bank.batch_booking,
    )
    return tuple(
        replace(
            group,
            payment_information_id=payment_information_id(key, n, of=len(firsts)),
            sequence_type=SequenceType(first.mandate_sequence),
            scheme=Scheme(first.mandate_scheme),
        )
        for n, first in enumerate(firsts, 1)
    )
