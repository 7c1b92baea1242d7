"""From a raw statement head and what its entries left behind to a finished `Statement`.

Lives here: account, identification, balances, and the choices that need the whole statement. Must not live
here: XML, single entries.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date

from recon.formats.camt_progress import Notes, StatementInProgress
from recon.formats.camt_records import RawBalance, RawHeader, RawStatement
from recon.formats.proof import BOOK_KINDS, Bracket, bracket, prove
from recon.formats.values import (
    SIGNS,
    Fault,
    clean,
    parse_count,
    parse_day,
    parse_moment,
    parse_money,
    parse_sequence,
    shown,
)
from recon.model import Balance, Quarantined, Statement


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a statement stood: message, header, line, first row, and whether it is alone under its header."""

    message_version: str
    header: RawHeader
    source_line: int
    first_row: int
    content_sha256: str
    is_only_statement: bool

    @property
    def is_intraday(self) -> bool:
        return self.message_version.startswith("camt.052")


def finish_statement(raw: RawStatement, progress: StatementInProgress, origin: Origin) -> Statement:
    """The statement with its balances, findings and proofs."""
    notes = progress.notes
    balances = _balances(raw, progress, origin)
    account_currency = clean(raw.currency)
    iban, other = _identification(raw, notes, origin.source_line)
    page, is_last = _page(raw, origin, notes)
    main = _main_bracket(balances, account_currency, progress, intraday=origin.is_intraday)
    _note_previous(balances, notes)
    _note_summary(raw, progress, account_currency or main.currency, origin.source_line)
    id_ = clean(raw.id)
    if id_ is None:
        id_ = f"unnamed-{origin.content_sha256[:12]}"
        notes.add("statement-id-missing", f"no Id; named {id_} after its content", origin.source_line)
    return Statement(
        ordinal=progress.ordinal,
        id=id_,
        message_version=origin.message_version,
        message_id=clean(origin.header.message_id),
        electronic_sequence=_sequence(raw.electronic_sequence, "ElctrncSeqNb", notes, origin.source_line),
        legal_sequence=_sequence(raw.legal_sequence, "LglSeqNb", notes, origin.source_line),
        page=page,
        is_last_page=is_last,
        from_date=_day(raw.from_day, notes, origin.source_line),
        to_date=_day(raw.to_day, notes, origin.source_line),
        created_at=parse_moment(raw.created),
        iban=iban,
        other_account_id=other,
        currency=account_currency or main.currency,
        owner_name=clean(raw.owner),
        servicer_bic=clean(raw.servicer_bic),
        balances=balances,
        opening=main.opening,
        closing=main.closing,
        proofs=prove(
            balances,
            progress.booked_minor,
            account_currency=account_currency,
            intraday=origin.is_intraday,
            has_quarantined=bool(progress.quarantined),
            is_one_page_of_several=is_last is False or (page or 1) > 1,
        ),
        entry_count=progress.entry_count,
        first_row=origin.first_row,
        row_count=sum(progress.row_count.values()),
        quarantined=tuple(progress.quarantined),
        findings=notes.findings(),
        content_sha256=origin.content_sha256,
        source_line=origin.source_line,
    )


def accepted_currencies(raw: RawStatement) -> frozenset[str]:
    """Currencies an entry may have: the account's and those of its book balances; empty when none is stated.

    A second currency is documented only by book balances of its own.
    """
    stated = {clean(raw.currency)} | {
        clean(balance.currency) for balance in raw.balances if clean(balance.code) in BOOK_KINDS
    }
    return frozenset(code for code in stated if code is not None)


def stated_day(statement: Statement) -> date | None:
    """The day for entries without a booking date: of the closing balance, else the end of the period."""
    if statement.closing is not None and statement.closing.day is not None:
        return statement.closing.day
    return statement.to_date


def _balances(raw: RawStatement, progress: StatementInProgress, origin: Origin) -> tuple[Balance, ...]:
    read = [_balance(balance, progress) for balance in raw.balances]
    return tuple(balance for balance in read if balance is not None)


def _balance(raw: RawBalance, progress: StatementInProgress) -> Balance | None:
    kind = clean(raw.code) or clean(raw.proprietary) or ""
    currency = clean(raw.currency)
    amount = parse_money(raw.amount, currency)
    sign = 1 if clean(raw.sign) is None else SIGNS.get(clean(raw.sign) or "", 0)
    fault = _balance_fault(raw, amount, sign)
    if fault is not None or isinstance(amount, Fault) or currency is None:
        _set_aside(raw, kind, fault or Fault("currency-missing", "no currency"), progress)
        return None
    if clean(raw.sign) is None and amount != 0:
        progress.notes.add("balance-sign-missing", f"balance {kind} without CdtDbtInd, read as credit", raw.line)
    text = clean(raw.day) or clean(raw.moment)
    return Balance(
        kind=kind,
        intermediate=clean(raw.sub_type) == "INTM",
        amount_minor=sign * amount,
        currency=currency,
        day=_day(text, progress.notes, raw.line),
        moment=parse_moment(raw.moment),
        source_line=raw.line,
    )


def _balance_fault(raw: RawBalance, amount: int | Fault, sign: int) -> Fault | None:
    if raw.repeated:
        return Fault("field-repeated", "amount or sign is given twice")
    if isinstance(amount, Fault):
        return amount
    if sign == 0:
        return Fault("sign-unknown", f"CdtDbtInd {shown(clean(raw.sign) or '')} is neither CRDT nor DBIT")
    return None


def _set_aside(raw: RawBalance, kind: str, fault: Fault, progress: StatementInProgress) -> None:
    """A book balance that cannot be read makes the statement unproven; any other is only a finding."""
    if kind in BOOK_KINDS or not kind:
        progress.quarantined.append(
            Quarantined(
                line_ordinal=0,
                rule=f"balance-{fault.rule}",
                message=f"balance {kind or 'without a type'}: {fault.message}; ask the bank for a corrected statement",
                source_line=raw.line,
            )
        )
    else:
        progress.notes.add("balance-unreadable", f"balance {kind}: {fault.message}", raw.line)


def _main_bracket(
    balances: tuple[Balance, ...], account_currency: str | None, progress: StatementInProgress, *, intraday: bool
) -> Bracket:
    """Opening and closing in the account's currency, else in the only one the statement uses."""
    if account_currency is None:
        used = {b.currency for b in balances if b.kind in BOOK_KINDS} or set(progress.row_count)
        account_currency = next(iter(used)) if len(used) == 1 else None
    return bracket(balances, account_currency, intraday=intraday)


def _identification(raw: RawStatement, notes: Notes, line: int) -> tuple[str | None, str | None]:
    iban, other = clean(raw.iban), clean(raw.other_account_id)
    if iban is None and other is None:
        notes.add("account-missing", "the statement names no account", line)
    return (None if iban is None else "".join(iban.split()).upper(), other)


def _page(raw: RawStatement, origin: Origin, notes: Notes) -> tuple[int | None, bool | None]:
    """The statement's own page, else the message's when it carries this statement only."""
    page, last = raw.page, raw.last_page
    if page is None and origin.is_only_statement:
        page, last = origin.header.page, origin.header.last_page
    number = parse_count(page)
    if page is not None and number is None:
        notes.add("sequence-unreadable", f"page number {shown(page)} is not a whole number", origin.source_line)
    flag = clean(last)
    return number, None if flag is None else flag in ("true", "1")


def _sequence(text: str | None, name: str, notes: Notes, line: int) -> int | None:
    number = parse_sequence(text)
    if clean(text) is not None and number is None:
        notes.add("sequence-unreadable", f"{name} {shown(clean(text) or '')} is not a whole number", line)
    return number


def _day(text: str | None, notes: Notes, line: int) -> date | None:
    if text is None:
        return None
    day = parse_day(text)
    if day is None:
        notes.add("date-unreadable", f"{shown(text.strip())} is not a date", line)
    return day


def _note_previous(balances: tuple[Balance, ...], notes: Notes) -> None:
    """OPBD and PRCD name the same money; when each is given once in a currency they must agree."""
    for currency in {balance.currency for balance in balances}:
        mine = [balance for balance in balances if balance.currency == currency]
        opening = {balance.amount_minor for balance in mine if balance.kind == "OPBD"}
        previous = {balance.amount_minor for balance in mine if balance.kind == "PRCD"}
        if len(opening) == len(previous) == 1 and opening != previous:
            line = next(balance.source_line for balance in mine if balance.kind == "OPBD")
            notes.add("opening-differs-from-previous", f"OPBD and PRCD in {currency} differ", line)


def _note_summary(raw: RawStatement, progress: StatementInProgress, currency: str | None, line: int) -> None:
    """The number of entries and their sums, which a bank states over all entries or over the booked ones."""
    stated = parse_count(raw.entry_count)
    if stated is not None and stated != progress.entry_count:
        message = f"TxsSummry says {stated} entries, there are {progress.entry_count}"
        progress.notes.add("summary-count-differs", message, line)
    if progress.quarantined or set(progress.row_count) != {currency}:
        return
    credit_minor, debit_minor, booked_credit, booked_debit = progress.moved_minor
    for name, text, found in (
        ("sum", raw.entry_sum, (credit_minor + debit_minor, booked_credit + booked_debit)),
        ("credits", raw.credit_sum, (credit_minor, booked_credit)),
        ("debits", raw.debit_sum, (debit_minor, booked_debit)),
    ):
        total = parse_money(text, currency) if clean(text) else None
        if isinstance(total, int) and total not in found:
            message = f"TxsSummry says {name} of {total} {currency} minor units, the entries have {found[0]}"
            progress.notes.add("summary-count-differs", message, line)
