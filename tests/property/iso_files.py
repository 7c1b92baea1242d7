"""Random files of every message and version that can be written, for the property tests.

A strategy that is made anew for every example costs more than what it draws: those without an example's own values are
made once.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from functools import cache
from typing import Any

from hypothesis import strategies as st

from ledger.money import CURRENCIES
from settlement.iso20022 import (
    Amendment,
    Cancellation,
    CancellationFile,
    ChargeBearer,
    Charset,
    CollectionFile,
    CollectionGroup,
    CreditTransfer,
    DirectDebit,
    MessageVersion,
    OriginalGroup,
    PaymentFile,
    PaymentGroup,
    PostalAddress,
    Reversal,
    ReversalFile,
    Scheme,
    SequenceType,
    Totals,
)
from settlement.iso20022.charset import LATIN_RANGES, SEPA_CHARACTERS

CHARACTERS = {
    Charset.SEPA: SEPA_CHARACTERS,
    Charset.LATIN: "".join(chr(code) for low, high in LATIN_RANGES for code in range(low, high + 1)),
}
NEED_ESCAPES = "&<>\"'%{}]]>"
IBANS = st.sampled_from(["DE89370400440532013000", "NL91ABNA0417164300", "GR1601101250000000012300695"])
BICS = st.sampled_from(["NORDDEFF", "BANKCZPPXXX"])
COUNTRIES = st.sampled_from(["DE", "NL", "GR", "JP"])
IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", min_size=1, max_size=35)
UETRS = st.uuids(version=4).map(str)
CODES = sorted(code for code, known in CURRENCIES.items() if known.exponent <= 5)  # more decimals fit in no file
CODES_OF_FOUR = st.sampled_from(["SUPP", "SALA", "MS02", "AM05"])
DATES = st.dates(dt.date(1990, 1, 1), dt.date(2100, 12, 31))
AMOUNTS = st.integers(1, 10**12)
BOOLEANS, CHARSETS, CURRENCY = st.booleans(), st.sampled_from(Charset), st.sampled_from(CODES)
EURO = st.just("EUR")  # until a file gives its payments its own
MAYBE_ID, MAYBE_BIC, MAYBE_CODE = st.none() | IDS, st.none() | BICS, st.none() | CODES_OF_FOUR
AGENTS = st.sampled_from(["bic", "member", "both", "none"])
SERVICE_LEVELS = st.none() | st.sampled_from(["SEPA", "NURG"])
INSTRUMENTS = st.none() | st.sampled_from(["INST", "CCD"])
BEARERS, SEQUENCES, SCHEMES = st.sampled_from(ChargeBearer), st.sampled_from(SequenceType), st.sampled_from(Scheme)
MOST = 4  # payments of a group: first, last, and two between
MEMBERS = st.sampled_from(["021000021", "200000"])


@cache
def texts(charset: Charset, max_size: int) -> st.SearchStrategy[str]:
    """Any text of the set that fits; in the wide set mostly what XML must escape."""
    plain = st.text(CHARACTERS[charset], min_size=1, max_size=max_size)
    if charset is Charset.SEPA:
        return plain
    return plain | st.text(NEED_ESCAPES + "aé", min_size=1, max_size=max_size)


@cache
def addresses(charset: Charset) -> st.SearchStrategy[PostalAddress | None]:
    structured = st.builds(
        PostalAddress,
        country=COUNTRIES,
        town=texts(charset, 35),
        street=st.none() | texts(charset, 70),
        postcode=st.none() | texts(charset, 16),
    )
    lines = st.tuples(texts(charset, 70), st.none() | texts(charset, 70))
    hybrid = st.builds(lambda a, b: replace(a, line_1=b[0], line_2=b[1]), structured, lines)
    return st.none() | structured | hybrid


@cache
def _moments() -> st.SearchStrategy[dt.datetime]:
    offsets = st.integers(-14 * 60, 14 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
    return st.builds(
        lambda moment, offset: moment.replace(microsecond=0, tzinfo=offset),
        st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1)),  # noqa: DTZ001
        offsets,
    )


@cache
def _uetrs(version: MessageVersion) -> st.SearchStrategy[str | None]:
    return st.none() | UETRS if version.carries_uetr else st.none()


@cache
def _made(version: MessageVersion, charset: Charset) -> st.SearchStrategy[tuple[Any, list[Any]]]:
    return _MAKERS[version.family](version, charset)


@st.composite
def files(draw: st.DrawFn, version: MessageVersion) -> tuple[Any, list[Any]]:
    """A file of this message and version, and its payments."""
    charset = draw(CHARSETS)
    return draw(_made(version, charset))


@cache
def _others(version: MessageVersion, charset: Charset) -> st.SearchStrategy[list[Any]]:
    return st.lists(_made(version, charset), max_size=2)


@st.composite
def grouped_files(draw: st.DrawFn, version: MessageVersion) -> tuple[Any, list[Any], Totals]:
    """A file of one to three groups, its payments in their order, and its totals."""
    file, payments = draw(files(version))
    first = file.groups[0]
    shared = {"currency": first.currency}
    if hasattr(first, "message_id"):
        shared |= {"message_id": first.message_id, "message_name": first.message_name}
    groups, inside = [first], [payments]
    for other, its_payments in draw(_others(version, file.charset)):
        groups.append(replace(other.groups[0], **shared))
        inside.append([replace(payment, currency=first.currency) for payment in its_payments])
    totals = Totals.of_groups(inside)
    return replace(file, groups=tuple(groups)), [payment for some in inside for payment in some], totals


@st.composite
def _transfers(draw: st.DrawFn, version: MessageVersion, charset: Charset) -> tuple[PaymentFile, list[CreditTransfer]]:
    currency = draw(CURRENCY)
    national, agent = draw(BOOLEANS), draw(AGENTS)
    group = PaymentGroup(
        payment_information_id=draw(IDS),
        execution_date=draw(DATES),
        currency=currency,
        debtor_name=draw(texts(charset, 70)),
        debtor_iban=None if national else draw(IBANS),
        debtor_account="12345678" if national else None,
        debtor_bic=draw(BICS) if agent in {"bic", "both"} else None,
        debtor_clearing_system="GBDSC" if agent in {"member", "both"} else None,
        debtor_member_id="200000" if agent in {"member", "both"} else None,
        debtor_lei=draw(_leis(version)),
        debtor_address=draw(addresses(charset)),
        batch_booking=draw(BOOLEANS),
        service_level=draw(SERVICE_LEVELS),
        local_instrument=draw(INSTRUMENTS),
        charge_bearer=draw(BEARERS),
        category_purpose=draw(MAYBE_CODE),
    )
    file = PaymentFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        initiating_party_id=draw(MAYBE_ID),
        groups=(group,),
        charset=charset,
    )
    return file, [replace(payment, currency=currency) for payment in draw(_credit_transfers(version, charset))]


@cache
def _leis(version: MessageVersion) -> st.SearchStrategy[str | None]:
    old = version is MessageVersion.PAIN_001_001_03
    return st.none() if old else st.none() | st.just("529900T8BM49AURSDO55")


@cache
def _credit_transfers(version: MessageVersion, charset: Charset) -> st.SearchStrategy[list[CreditTransfer]]:
    payment = st.builds(
        CreditTransfer,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        amount_minor=AMOUNTS,
        currency=EURO,
        creditor_name=texts(charset, 140),
        creditor_iban=IBANS,
        creditor_bic=st.none() | BICS,
        creditor_lei=_leis(version),
        creditor_address=addresses(charset),
        intermediary_bic=st.none() | BICS,
        purpose=st.none() | CODES_OF_FOUR,
    )
    changes: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [
            {},
            {"creditor_iban": None, "creditor_account": "1234567"},
            {"creditor_clearing_system": "USABA", "creditor_member_id": "021000021"},
            {"regulatory_country": "DE", "regulatory_code": "123"},
            {"regulatory_country": "SE", "regulatory_text": "goods"},
            {"creditor_reference": "RF18539007547034"},
            {"qr_reference": "210000000003139471430009017"},
            {"remittance_unstructured": "Invoice 1"},
        ]
    )
    return st.lists(st.builds(lambda p, c: replace(p, **c), payment, changes), min_size=1, max_size=MOST)


@st.composite
def _debits(draw: st.DrawFn, version: MessageVersion, charset: Charset) -> tuple[CollectionFile, list[DirectDebit]]:
    group = CollectionGroup(
        payment_information_id=draw(IDS),
        collection_date=draw(DATES),
        currency=draw(CURRENCY),
        creditor_name=draw(texts(charset, 70)),
        creditor_iban=draw(IBANS),
        creditor_id="DE98ZZZ09999999999",
        sequence_type=draw(SEQUENCES),
        scheme=draw(SCHEMES),
        creditor_bic=draw(MAYBE_BIC),
        creditor_address=draw(addresses(charset)),
        batch_booking=draw(BOOLEANS),
        category_purpose=draw(MAYBE_CODE),
    )
    file = CollectionFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        initiating_party_id=draw(MAYBE_ID),
        groups=(group,),
        charset=charset,
    )
    return file, [replace(debit, currency=group.currency) for debit in draw(_direct_debits(version, charset))]


@cache
def _direct_debits(version: MessageVersion, charset: Charset) -> st.SearchStrategy[list[DirectDebit]]:
    amendment = st.builds(
        Amendment,
        original_mandate_id=IDS,
        original_creditor_name=st.none() | texts(charset, 70),
        original_creditor_id=st.none() | st.just("DE98ZZZ09999999999"),
        original_debtor_iban=st.none() | IBANS,
    ) | st.just(Amendment(original_debtor_account="SMNDA"))
    payment = st.builds(
        DirectDebit,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        amount_minor=AMOUNTS,
        currency=EURO,
        mandate_id=IDS,
        mandate_signed_on=DATES,
        amendment=st.none() | amendment,
        debtor_name=texts(charset, 70),
        debtor_iban=IBANS,
        debtor_bic=st.none() | BICS,
        debtor_address=addresses(charset),
        purpose=st.none() | CODES_OF_FOUR,
    )
    said: st.SearchStrategy[dict[str, Any]] = st.sampled_from(
        [{}, {"creditor_reference": "RF18539007547034"}, {"remittance_unstructured": "Fee 1"}]
    )
    return st.lists(st.builds(lambda p, c: replace(p, **c), payment, said), min_size=1, max_size=MOST)


@cache
def _original(message_name: str) -> st.SearchStrategy[OriginalGroup]:
    return st.builds(
        OriginalGroup,
        message_id=IDS,
        message_name=st.just(message_name),
        payment_information_id=IDS,
        currency=CURRENCY,
    )


@st.composite
def _reversals(draw: st.DrawFn, version: MessageVersion, charset: Charset) -> tuple[ReversalFile, list[Reversal]]:
    file = ReversalFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        groups=(draw(_original("pain.008.001.08")),),
        batch_booking=draw(BOOLEANS),
        charset=charset,
    )
    currency = file.groups[0].currency
    return file, [replace(payment, currency=currency) for payment in draw(_given_back(version))]


@cache
def _given_back(version: MessageVersion) -> st.SearchStrategy[list[Reversal]]:
    payment = st.builds(
        Reversal,
        reversal_id=IDS,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        original_amount_minor=AMOUNTS,
        amount_minor=AMOUNTS,
        currency=EURO,
        reason=CODES_OF_FOUR,
    )
    return st.lists(payment, min_size=1, max_size=MOST)


@st.composite
def _cancellations(
    draw: st.DrawFn, version: MessageVersion, charset: Charset
) -> tuple[CancellationFile, list[Cancellation]]:
    file = CancellationFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        bank_bic=draw(BICS),
        groups=(draw(_original("pain.001.001.09")),),
        charset=charset,
    )
    currency = file.groups[0].currency
    return file, [replace(payment, currency=currency) for payment in draw(_asked_back(version, charset))]


@cache
def _asked_back(version: MessageVersion, charset: Charset) -> st.SearchStrategy[list[Cancellation]]:
    payment = st.builds(
        Cancellation,
        cancellation_id=IDS,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        amount_minor=AMOUNTS,
        currency=EURO,
        execution_date=DATES,
        reason=CODES_OF_FOUR,
        text=st.none() | texts(charset, 105),
    )
    return st.lists(payment, min_size=1, max_size=MOST)


_MAKERS = {"pain.001": _transfers, "pain.008": _debits, "pain.007": _reversals, "camt.055": _cancellations}
