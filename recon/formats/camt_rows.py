"""Posting units of an entry: its transactions when they explain it exactly, else the entry itself.

Lives here: which transactions stand for an entry, whose references a row carries, and the row's columns.
Must not live here: what makes an entry unreadable.

An entry is split only when all its transactions' amounts are given and sum to it; otherwise it stays one
row, and carries references of a transaction only when there is exactly one that stands for the whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Final

from recon.formats.camt_progress import Entry, StatementInProgress
from recon.formats.camt_records import RawAmount, RawDetail, RawEntry, RawGroup
from recon.formats.values import SIGNS, Fault, clean, parse_count, parse_money, reference

Row = tuple[object, ...]


def posting_rows(raw: RawEntry, entry: Entry, statement: StatementInProgress) -> list[Row]:
    """Rows of an entry: one a transaction when they explain it exactly, else one."""
    groups = raw.groups or []
    pairs = [(group, detail) for group in groups for detail in group.details or ()]
    entry.batch_count = _batch_count(groups, len(pairs), raw, statement)
    if len(pairs) > 1:
        amounts = _detail_amounts([detail for _, detail in pairs], entry, raw, statement)
        if amounts is not None:
            return [
                _row(raw, entry, group, detail, ordinal, amount, statement)
                for ordinal, ((group, detail), amount) in enumerate(zip(pairs, amounts, strict=True), 1)
            ]
        return [_row(raw, entry, _common_group(groups), _common_detail(pairs), 0, entry.amount_minor, statement)]
    if not pairs:
        return [_row(raw, entry, _common_group(groups), None, 0, entry.amount_minor, statement)]
    group, detail = pairs[0]
    if (entry.batch_count or 1) > 1 and not _is_whole(detail, entry):
        # One transaction shown out of many: its references do not stand for the entry.
        return [_row(raw, entry, group, None, 0, entry.amount_minor, statement)]
    return [_row(raw, entry, group, detail, 0, entry.amount_minor, statement)]


def _batch_count(groups: Sequence[RawGroup], details: int, raw: RawEntry, statement: StatementInProgress) -> int | None:
    counts = [parse_count(group.count) for group in groups if group.count is not None]
    if not counts or None in counts:
        return None
    total = sum(count for count in counts if count is not None)
    if details and total != details:
        message = f"NbOfTxs says {total}, the entry has {details} transactions"
        statement.notes.add("batch-count-differs", message, raw.line)
    return total if total < 2**31 else None


def _detail_amount(detail: RawDetail, currency: str) -> int | None:
    """The transaction's amount in the entry's currency, unsigned: its own, else as transferred, else as instructed."""
    for text, code in (
        (detail.amount, detail.currency),
        (detail.transaction_amount, detail.transaction_currency),
        (detail.instructed_amount, detail.instructed_currency),
    ):
        if text is not None and code == currency:
            minor = parse_money(text, code)
            if not isinstance(minor, Fault):
                return minor
    return None


def _is_whole(detail: RawDetail, entry: Entry) -> bool:
    amount = _detail_amount(detail, entry.currency)
    return amount is None or amount == abs(entry.amount_minor)


def _detail_amounts(
    details: Sequence[RawDetail], entry: Entry, raw: RawEntry, statement: StatementInProgress
) -> list[int] | None:
    """Signed amounts that sum to the entry; None when they are not all given or do not."""
    own = -1 if clean(raw.sign) == "DBIT" else 1
    amounts: list[int] = []
    for detail in details:
        minor = _detail_amount(detail, entry.currency)
        if minor is None or detail.repeated:
            statement.notes.add(
                "detail-amount-missing", "not every transaction has an amount in the entry's currency", detail.line
            )
            return None
        amounts.append(minor * SIGNS.get(clean(detail.sign) or "", own))
    total = sum(amounts)
    if total == entry.amount_minor:
        return amounts
    if total == -entry.amount_minor and all(amount * own <= 0 for amount in amounts):
        message = "all transactions carry the opposite sign of their entry; the entry's sign is taken"
        statement.notes.add("detail-sign-opposite", message, raw.line)
        return [-amount for amount in amounts]
    statement.notes.add("details-do-not-sum", "the transactions do not sum to their entry", raw.line)
    return None


def _common_group(groups: Sequence[RawGroup]) -> RawGroup:
    """What all batch heads of an entry agree on."""
    return RawGroup(
        message_id=_agreed([group.message_id for group in groups]),
        payment_information_id=_agreed([group.payment_information_id for group in groups]),
    )


def _common_detail(pairs: Sequence[tuple[RawGroup, RawDetail]]) -> RawDetail:
    """What all transactions of an unsplit batch agree on: the batch they came from."""
    return RawDetail(
        message_id=_agreed([detail.message_id for _, detail in pairs]),
        payment_information_id=_agreed([detail.payment_information_id for _, detail in pairs]),
    )


def _agreed(texts: Sequence[str | None]) -> str | None:
    found = {clean(text) for text in texts}
    return found.pop() if len(found) == 1 else None


def _row(
    raw: RawEntry,
    entry: Entry,
    group: RawGroup,
    transaction: RawDetail | None,
    ordinal: int,
    amount_minor: int,
    statement: StatementInProgress,
) -> Row:
    """One row, in the order of `STATEMENT_LINES`."""
    detail = _NO_DETAIL if transaction is None else transaction
    party_name, party_account = _other_side(detail, amount_minor, statement.own_account)
    instructed_minor, instructed_currency = _instructed(raw, detail, ordinal, statement)
    if ordinal:
        servicer_ref = reference(detail.servicer_ref) or reference(raw.servicer_ref)
        info = clean(detail.additional_info) or clean(raw.additional_info)
    else:
        servicer_ref = reference(raw.servicer_ref) or reference(detail.servicer_ref)
        info = clean(raw.additional_info) or clean(detail.additional_info)
    uetr = reference(detail.uetr)
    return (
        statement.ordinal,
        entry.line_ordinal,
        ordinal,
        amount_minor,
        entry.amount_minor,
        entry.currency,
        entry.status.value,
        entry.is_reversal,
        entry.booking_date,
        entry.value_date,
        servicer_ref,
        reference(raw.reference),
        reference(detail.message_id) or reference(group.message_id),
        reference(detail.payment_information_id) or reference(group.payment_information_id),
        reference(detail.instruction_id),
        reference(detail.end_to_end_id),
        None if uetr is None else uetr.lower(),
        reference(detail.transaction_id),
        reference(detail.mandate_id),
        _first(detail.structured_refs),
        _joined(detail.remittance) or _joined(detail.structured_texts),
        party_name,
        party_account,
        _bank_code(detail) or _bank_code(raw),
        clean(detail.proprietary_code) or clean(raw.proprietary_code),
        _return_reason(detail),
        _charges(raw, detail, ordinal, entry.currency, statement),
        instructed_minor,
        instructed_currency,
        entry.batch_count,
        info,
        detail.line if ordinal else raw.line,
    )


def _other_side(detail: RawDetail, amount_minor: int, own: str | None) -> tuple[str | None, str | None]:
    """Name and account of the party that is not the account holder.

    A credit comes from the debtor, a debit goes to the creditor; but in a return or reversal the roles may
    be those of the original payment, so a side whose account is the statement's own is never the answer.
    """
    debtor_account, creditor_account = _account(detail.debtor_account), _account(detail.creditor_account)
    takes_debtor = amount_minor >= 0
    if own is not None and (debtor_account if takes_debtor else creditor_account) == own:
        takes_debtor = (not takes_debtor) if debtor_account != creditor_account else takes_debtor
    debtor = clean(detail.debtor) or clean(detail.ultimate_debtor)
    creditor = clean(detail.creditor) or clean(detail.ultimate_creditor)
    if takes_debtor and debtor is None and debtor_account is None:
        takes_debtor = own is not None and creditor_account == own
    elif not takes_debtor and creditor is None and creditor_account is None:
        takes_debtor = own is None or debtor_account != own
    return (debtor, debtor_account) if takes_debtor else (creditor, creditor_account)


def _account(text: str | None) -> str | None:
    if text is None:
        return None
    if text.isalnum() and text.isupper():
        return text
    return "".join(text.split()).upper() or None


def _bank_code(record: RawDetail | RawEntry) -> str | None:
    if record.domain is None and record.family is None:
        return None
    return _code(record.domain, record.family, record.sub_family)


@lru_cache(maxsize=1024)
def _code(*parts: str | None) -> str | None:
    return "/".join(found for part in parts if (found := clean(part))) or None


def _return_reason(detail: RawDetail) -> str | None:
    if not detail.returns:
        return None
    # NARR: "reason is given in narrative", the code list's own word for a return without a code.
    return clean(detail.returns[0].code) or clean(detail.returns[0].proprietary) or "NARR"


def _first(texts: list[str | None] | None) -> str | None:
    if not texts:
        return None
    return next((found for text in texts if (found := reference(text))), None)


def _joined(texts: list[str | None] | None) -> str | None:
    if not texts:
        return None
    if len(texts) == 1:
        return clean(texts[0])
    return " ".join(found for text in texts if (found := clean(text))) or None


def _instructed(
    raw: RawEntry, detail: RawDetail, ordinal: int, statement: StatementInProgress
) -> tuple[int | None, str | None]:
    text, code = detail.instructed_amount, clean(detail.instructed_currency)
    if text is None and not ordinal:
        text, code = raw.instructed_amount, clean(raw.instructed_currency)
    if text is None:
        return None, None
    minor = parse_money(text, code)
    if isinstance(minor, Fault):
        statement.notes.add("instructed-amount-unreadable", minor.message, raw.line)
        return None, None
    return minor, code


def _charges(
    raw: RawEntry, detail: RawDetail, ordinal: int, currency: str, statement: StatementInProgress
) -> int | None:
    """Charges of the row in the entry's currency, positive when the bank took them."""
    found = detail.charges or (None if ordinal else raw.charges)
    if not found:
        return None
    total = 0
    for charge in found:
        minor = _charge(charge, currency)
        if minor is None:
            message = "charges are not given as an amount in the entry's currency"
            statement.notes.add("charges-unreadable", message, raw.line)
            return None
        total += minor
    if abs(total) >= 2**63:
        return None
    return total


def _charge(charge: RawAmount, currency: str) -> int | None:
    if charge.records:
        parts = [_charge(record, currency) for record in charge.records]
        return None if None in parts else sum(part for part in parts if part is not None)
    text, code = charge.amount, charge.currency
    if text is None:
        text, code = charge.total, charge.total_currency
    minor = parse_money(text, clean(code))
    if isinstance(minor, Fault) or clean(code) != currency:
        return None
    return -minor if clean(charge.sign) == "CRDT" else minor


_NO_DETAIL: Final = RawDetail()
