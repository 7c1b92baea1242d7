"""ISO 20022 payment messages: pain.001, pain.007, pain.008 and camt.055 written and checked, pain.002 read.

A leaf: values in, bytes and findings out. It knows no database and no clock, and ISO spellings stay here.
"""

from settlement.iso20022.charset import Change, Charset, Transliteration, outside, transliterate
from settlement.iso20022.direct_debit import (
    Amendment,
    CollectionFile,
    CollectionGroup,
    DirectDebit,
    Scheme,
    SequenceType,
)
from settlement.iso20022.field_rules import FileLimits
from settlement.iso20022.findings import Finding
from settlement.iso20022.follow_ups import Cancellation, CancellationFile, OriginalGroup, Reversal, ReversalFile
from settlement.iso20022.identifiers import bic_fault, iban_fault, iban_in_sepa
from settlement.iso20022.ids import FileKey, book_tag, end_to_end_id, message_id, payment_information_id, uetr
from settlement.iso20022.model import (
    AddressForm,
    CreditTransfer,
    MessageVersion,
    PaymentFile,
    PaymentFileError,
    PaymentGroup,
    PostalAddress,
    Totals,
    postal_address,
)
from settlement.iso20022.pain002 import (
    GroupStatus,
    PaymentInformationStatus,
    PaymentStatus,
    Reason,
    StatusReport,
    StatusReportRefusedError,
    TransactionStatus,
    advance,
    contradicts,
    read_pain002,
)
from settlement.iso20022.rails import RAIL_TERMS, ChargeBearer, Rail, RailTerms
from settlement.iso20022.validate import check_business_rules, gate_file, transfers_digest
from settlement.iso20022.writing import Written, chunks, render, render_model, write

__all__ = [
    "RAIL_TERMS",
    "AddressForm",
    "Amendment",
    "Cancellation",
    "CancellationFile",
    "Change",
    "ChargeBearer",
    "Charset",
    "CollectionFile",
    "CollectionGroup",
    "CreditTransfer",
    "DirectDebit",
    "FileKey",
    "FileLimits",
    "Finding",
    "GroupStatus",
    "MessageVersion",
    "OriginalGroup",
    "PaymentFile",
    "PaymentFileError",
    "PaymentGroup",
    "PaymentInformationStatus",
    "PaymentStatus",
    "PostalAddress",
    "Rail",
    "RailTerms",
    "Reason",
    "Reversal",
    "ReversalFile",
    "Scheme",
    "SequenceType",
    "StatusReport",
    "StatusReportRefusedError",
    "Totals",
    "TransactionStatus",
    "Transliteration",
    "Written",
    "advance",
    "bic_fault",
    "book_tag",
    "check_business_rules",
    "chunks",
    "contradicts",
    "end_to_end_id",
    "gate_file",
    "iban_fault",
    "iban_in_sepa",
    "message_id",
    "outside",
    "payment_information_id",
    "postal_address",
    "read_pain002",
    "render",
    "render_model",
    "transfers_digest",
    "transliterate",
    "uetr",
    "write",
]
