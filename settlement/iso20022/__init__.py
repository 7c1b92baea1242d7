"""ISO 20022 payment messages: pain.001 written and checked, pain.002 read.

A leaf: values in, bytes and findings out. It knows no database, no clock and no bank; ISO spellings stay here.
"""

from settlement.iso20022.charset import Change, Charset, Transliteration, outside, transliterate
from settlement.iso20022.ids import FileKey, book_tag, end_to_end_id, message_id, payment_information_id, uetr
from settlement.iso20022.model import (
    RAIL_TERMS,
    AddressForm,
    ChargeBearer,
    CreditTransfer,
    MessageVersion,
    PaymentFile,
    PaymentFileError,
    PaymentGroup,
    PostalAddress,
    Rail,
    RailTerms,
    Totals,
    postal_address,
)
from settlement.iso20022.pain001 import Written, chunks, render, write
from settlement.iso20022.pain001_model import render_model

__all__ = [
    "RAIL_TERMS",
    "AddressForm",
    "Change",
    "ChargeBearer",
    "Charset",
    "CreditTransfer",
    "FileKey",
    "MessageVersion",
    "PaymentFile",
    "PaymentFileError",
    "PaymentGroup",
    "PostalAddress",
    "Rail",
    "RailTerms",
    "Totals",
    "Transliteration",
    "Written",
    "book_tag",
    "chunks",
    "end_to_end_id",
    "message_id",
    "outside",
    "payment_information_id",
    "postal_address",
    "render",
    "render_model",
    "transliterate",
    "uetr",
    "write",
]
