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


@st.composite
def files(draw: st.DrawFn, version: MessageVersion) -> tuple[Any, list[Any]]:
    """A file of this message and version, and its payments."""
    charset = draw(st.sampled_from(Charset))
    return draw(_MAKERS[version.family](version, charset))


@st.composite
def grouped_files(draw: st.DrawFn, version: MessageVersion) -> tuple[Any, list[Any], Totals]:
    """A file of one to three groups, its payments in their order, and its totals."""
    file, payments = draw(files(version))
    first = file.groups[0]
    shared = {"currency": first.currency}
    if hasattr(first, "message_id"):
        shared |= {"message_id": first.message_id, "message_name": first.message_name}
    groups, inside = [first], [payments]
    for other, its_payments in draw(st.lists(_MAKERS[version.family](version, file.charset), max_size=2)):
        groups.append(replace(other.groups[0], **shared))
        inside.append([replace(payment, currency=first.currency) for payment in its_payments])
    totals = Totals.of_groups(inside)
    return replace(file, groups=tuple(groups)), [payment for some in inside for payment in some], totals


@st.composite
def _transfers(draw: st.DrawFn, version: MessageVersion, charset: Charset) -> tuple[PaymentFile, list[CreditTransfer]]:
    currency = draw(st.sampled_from(CODES))
    old = version is MessageVersion.PAIN_001_001_03
    leis = st.none() if old else st.none() | st.just("529900T8BM49AURSDO55")
    national, agent = draw(st.booleans()), draw(st.sampled_from(["bic", "member", "both", "none"]))
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
        debtor_lei=draw(leis),
        debtor_address=draw(addresses(charset)),
        batch_booking=draw(st.booleans()),
        service_level=draw(st.none() | st.sampled_from(["SEPA", "NURG"])),
        local_instrument=draw(st.none() | st.sampled_from(["INST", "CCD"])),
        charge_bearer=draw(st.sampled_from(ChargeBearer)),
        category_purpose=draw(st.none() | CODES_OF_FOUR),
    )
    file = PaymentFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        initiating_party_id=draw(st.none() | IDS),
        groups=(group,),
        charset=charset,
    )
    payment = st.builds(
        CreditTransfer,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        amount_minor=AMOUNTS,
        currency=st.just(currency),
        creditor_name=texts(charset, 140),
        creditor_iban=IBANS,
        creditor_bic=st.none() | BICS,
        creditor_lei=leis,
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
    some = draw(st.lists(st.builds(lambda p, c: replace(p, **c), payment, changes), min_size=1, max_size=MOST))
    return file, some


@st.composite
def _debits(draw: st.DrawFn, version: MessageVersion, charset: Charset) -> tuple[CollectionFile, list[DirectDebit]]:
    group = CollectionGroup(
        payment_information_id=draw(IDS),
        collection_date=draw(DATES),
        currency=draw(st.sampled_from(CODES)),
        creditor_name=draw(texts(charset, 70)),
        creditor_iban=draw(IBANS),
        creditor_id="DE98ZZZ09999999999",
        sequence_type=draw(st.sampled_from(SequenceType)),
        scheme=draw(st.sampled_from(Scheme)),
        creditor_bic=draw(st.none() | BICS),
        creditor_address=draw(addresses(charset)),
        batch_booking=draw(st.booleans()),
        category_purpose=draw(st.none() | CODES_OF_FOUR),
    )
    file = CollectionFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        initiating_party_id=draw(st.none() | IDS),
        groups=(group,),
        charset=charset,
    )
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
        currency=st.just(group.currency),
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
    return file, draw(st.lists(st.builds(lambda p, c: replace(p, **c), payment, said), min_size=1, max_size=MOST))


@cache
def _original(message_name: str) -> st.SearchStrategy[OriginalGroup]:
    return st.builds(
        OriginalGroup,
        message_id=IDS,
        message_name=st.just(message_name),
        payment_information_id=IDS,
        currency=st.sampled_from(CODES),
    )


@st.composite
def _reversals(draw: st.DrawFn, version: MessageVersion, charset: Charset) -> tuple[ReversalFile, list[Reversal]]:
    file = ReversalFile(
        message_version=version,
        msg_id=draw(IDS),
        created_at=draw(_moments()),
        initiating_party_name=draw(texts(charset, 70)),
        groups=(draw(_original("pain.008.001.08")),),
        batch_booking=draw(st.booleans()),
        charset=charset,
    )
    payment = st.builds(
        Reversal,
        reversal_id=IDS,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        original_amount_minor=AMOUNTS,
        amount_minor=AMOUNTS,
        currency=st.just(file.groups[0].currency),
        reason=CODES_OF_FOUR,
    )
    return file, draw(st.lists(payment, min_size=1, max_size=MOST))


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
    payment = st.builds(
        Cancellation,
        cancellation_id=IDS,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=_uetrs(version),
        amount_minor=AMOUNTS,
        currency=st.just(file.groups[0].currency),
        execution_date=DATES,
        reason=CODES_OF_FOUR,
        text=st.none() | texts(charset, 105),
    )
    return file, draw(st.lists(payment, min_size=1, max_size=MOST))


_MAKERS = {"pain.001": _transfers, "pain.008": _debits, "pain.007": _reversals, "camt.055": _cancellations}
