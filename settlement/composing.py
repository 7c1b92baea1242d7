"""From what the books say to a payment file's values: the same inputs give the same file, byte for byte.

Lives here: reading a run and its obligations, names and addresses in the bank's character set, ids.
Must not live here: what is paid and how much (Postgres), XML (`iso20022`).
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from itertools import chain, count, groupby, starmap
from operator import attrgetter
from typing import TypeVar

from psycopg.rows import class_row, kwargs_row
from psycopg.types.json import Jsonb

from ledger import Connection
from settlement.errors import NotKnownError
from settlement.iso20022 import (
    RAIL_TERMS,
    ChargeBearer,
    CollectionFile,
    CollectionGroup,
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
# LATERAL … LIMIT 1 pins each look-up to the primary key: of a run made since the last ANALYZE the planner expects one
# row, and would look through all instructions for each of many thousands.
_OBLIGATIONS = """
SELECT o.obligation_id, v.name, v.iban, v.bic, v.country, v.town, v.street, v.postcode,
       o.pay_minor AS amount_minor, i.batch, v.intermediary_bic, v.purpose, v.creditor_reference, v.regulatory_country,
       v.regulatory_code, v.regulatory_text, v.charge_bearer
  FROM settlement.obligation o
 CROSS JOIN LATERAL (SELECT * FROM settlement.payee_version v WHERE v.payee_version_id = o.payee_version_id LIMIT 1) v
  LEFT JOIN LATERAL (SELECT * FROM settlement.instruction i WHERE i.instruction_id = o.obligation_id LIMIT 1) i ON true
 WHERE o.run_id = %s AND o.pay_minor > 0 AND (%s::bigint IS NULL OR i.file_id = %s)
 ORDER BY i.ordinal, o.obligation_id
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
    def max_batch_total_minor(self) -> int | None:
        """The largest sum of a batch that the bank takes."""
        return None if self.bank.max_batch_total is None else minor(self.bank.max_batch_total, self.currency)

    @property
    def uetr_secret(self) -> bytes:
        """Keeps UETRs of different deployments apart and a repeated proposal's the same."""
        return hashlib.sha256(f"{self.book}\0{self.iban}".encode()).digest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Obligation:
    """What a run pays one payee, and where to; `batch` of its file, once there is one."""

    obligation_id: int
    name: str
    iban: str
    bic: str | None
    country: str | None
    town: str | None
    street: str | None
    postcode: str | None
    amount_minor: int
    batch: int | None = None
    intermediary_bic: str | None = None
    purpose: str | None = None
    creditor_reference: str | None = None
    regulatory_country: str | None = None
    regulatory_code: str | None = None
    regulatory_text: str | None = None
    charge_bearer: str | None = None


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
    def batches(self) -> tuple[BatchTerms, ...]:
        """The terms of every payment group, as the database keeps them."""
        return tuple(starmap(_batch_terms, zip(self.file.groups, self.totals.by_group, strict=True)))


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchTerms:
    """What all payments of a batch share. `execution_date`: when the bank is asked to book it."""

    payment_information_id: str
    execution_date: dt.date
    service_level: str | None
    local_instrument: str | None
    sequence_type: str | None
    charge_bearer: str
    count: int
    total_minor: int


def _batch_terms(group: PaymentGroup | CollectionGroup, totals: Totals) -> BatchTerms:
    if isinstance(group, PaymentGroup):
        date, level, instrument, sequence = group.execution_date, group.service_level, group.local_instrument, None
        bearer = group.charge_bearer
    else:
        date, level, instrument, sequence = group.collection_date, "SEPA", str(group.scheme), str(group.sequence_type)
        bearer = ChargeBearer.SLEV
    return BatchTerms(
        payment_information_id=group.payment_information_id,
        execution_date=date,
        service_level=level,
        local_instrument=instrument,
        sequence_type=sequence,
        charge_bearer=bearer,
        count=totals.count,
        total_minor=totals.total_minor,
    )


def batches_json(composed: ComposedFile) -> Jsonb:
    """The batches of a file as `settlement.record_file` takes them."""
    return Jsonb([asdict(batch) for batch in composed.batches], dumps=partial(json.dumps, default=str))


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


class _Room:
    """How much more the bank takes in a file or batch. A payment alone always fits; business rules refuse it then."""

    def __init__(self, most: int | None, most_minor: int | None) -> None:
        self._most, self._most_minor = most, most_minor
        self._count = self._minor = 0

    def takes(self, amount_minor: int) -> bool:
        over = self._most_minor is not None and self._minor + amount_minor > self._most_minor
        return self._count == 0 or not (self._count == self._most or over)

    def add(self, amount_minor: int) -> None:
        self._count, self._minor = self._count + 1, self._minor + amount_minor


Owed = TypeVar("Owed", bound=Obligation)


def parts(
    frame: RunFrame, owed: Iterable[Owed], terms: Callable[[Owed], object], *, max_total_minor: int | None
) -> Iterator[list[list[Owed]]]:
    """The files of a run, in order, each as its batches: what is owed on the same terms, next to each other.

    A batch and a file hold as many as the bank takes, by number and by sum. A bank that takes no several batches gets
    a file for each.
    """
    bank = frame.bank

    def file_room() -> _Room:
        return _Room(bank.max_transactions, max_total_minor)

    def batch_room() -> _Room:
        return _Room(bank.max_batch_transactions, frame.max_batch_total_minor)

    batches: list[list[Owed]] = []
    file, batch = file_room(), batch_room()
    for one in owed:
        alike = bool(batches) and terms(batches[-1][-1]) == terms(one) and batch.takes(one.amount_minor)
        if batches and not (file.takes(one.amount_minor) and (alike or bank.several_batches)):
            yield batches
            batches, file, alike = [], file_room(), False
        if not alike:
            batches.append([])
            batch = batch_room()
        batches[-1].append(one)
        file.add(one.amount_minor)
        batch.add(one.amount_minor)
    if batches:
        yield batches


def payout_parts(frame: RunFrame, obligations: Sequence[Obligation]) -> Iterator[list[list[Obligation]]]:
    """The files of payouts: a batch is of one charge bearer (date, rail and currency are the run's)."""

    def bearer(owed: Obligation) -> str:
        return _charge_bearer(frame, owed)

    return parts(frame, sorted(obligations, key=bearer), bearer, max_total_minor=frame.max_total_minor)


def stored_batches(owed: Iterable[Owed]) -> list[list[Owed]]:
    """What a stored file pays, by its batches."""
    return [list(batch) for _, batch in groupby(owed, attrgetter("batch"))]


def compose(frame: RunFrame, part: int, batches: Sequence[Sequence[Obligation]]) -> ComposedFile:
    """The values of one payment file; each batch of one charge bearer."""
    key, bank = frame.key(part), frame.bank
    scribe, ordinals = Scribe(bank), count(1)
    remittance = scribe.write(0, "remittance", f"{frame.book} {frame.business_date}") or None
    transfers = [
        [_transfer(frame, key, scribe, next(ordinals), owed, remittance) for owed in batch] for batch in batches
    ]
    file = PaymentFile(
        msg_id=message_id(key),
        created_at=frame.proposed_at.astimezone(dt.UTC).replace(microsecond=0),
        initiating_party_name=transliterate(frame.holder.name, bank.charset, bank.umlauts).written,
        groups=_groups(frame, key, scribe, [_charge_bearer(frame, batch[0]) for batch in batches]),
        message_version=bank.message,
        charset=bank.charset,
    )
    every = tuple(chain.from_iterable(transfers))
    return ComposedFile(file, every, Totals.of_groups(transfers), tuple(scribe.kept))


def _transfer(
    frame: RunFrame, key: FileKey, scribe: Scribe, ordinal: int, owed: Obligation, remittance: str | None
) -> CreditTransfer:
    reference, account = end_to_end_id(key, ordinal), account_address(owed.iban)
    return CreditTransfer(
        instruction_id=reference,
        end_to_end_id=reference,
        uetr=uetr(frame.uetr_secret, reference) if frame.bank.uetr else None,
        amount_minor=owed.amount_minor,
        currency=frame.currency,
        creditor_name=scribe.write(ordinal, "name", owed.name),
        creditor_iban=account.iban,
        creditor_account=account.number,
        creditor_clearing_system=account.clearing_system,
        creditor_member_id=account.member_id,
        creditor_bic=owed.bic if RAIL_TERMS[frame.rail].creditor_bic else None,
        intermediary_bic=owed.intermediary_bic,
        purpose=owed.purpose or frame.bank.rails[frame.rail].purpose,
        regulatory_country=owed.regulatory_country,
        regulatory_code=owed.regulatory_code,
        regulatory_text=owed.regulatory_text,
        creditor_address=scribe.address(ordinal, owed),
        remittance_unstructured=None if owed.creditor_reference is not None else remittance,
        creditor_reference=owed.creditor_reference,
    )


def _charge_bearer(frame: RunFrame, owed: Obligation) -> ChargeBearer:
    """Who pays the banks for a payment: as agreed with the payee, else as the bank's profile or the rail says."""
    return ChargeBearer(
        owed.charge_bearer or frame.bank.rails[frame.rail].charge_bearer or RAIL_TERMS[frame.rail].charge_bearer
    )


def _groups(frame: RunFrame, key: FileKey, scribe: Scribe, bearers: Sequence[ChargeBearer]) -> tuple[PaymentGroup, ...]:
    holder, terms = frame.holder, RAIL_TERMS[frame.rail]
    rail, account = frame.bank.rails[frame.rail], account_address(frame.iban)
    group = PaymentGroup(
        payment_information_id="",
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
        category_purpose=rail.category_purpose,
    )
    return tuple(
        replace(group, payment_information_id=payment_information_id(key, n, of=len(bearers)), charge_bearer=bearer)
        for n, bearer in enumerate(bearers, 1)
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
        max_groups=None if frame.bank.several_batches else 1,
        max_group_transactions=frame.bank.max_batch_transactions,
        max_group_total_minor=frame.max_batch_total_minor,
    )
    return check_business_rules(composed.file, composed.transfers, limits, composed.totals)
