"""Raw records of camt.052/053/054: the texts of one element each, exactly as the bank wrote them.

Lives here: mutable records that the walk fills; None is "not there". Must not live here: paths, meaning.
`repeated` says that a field which may stand only once stood twice; `line` is where the element starts.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True)
class RawAmount:
    """An amount that may carry its sign: charges, a batch total."""

    amount: str | None = None
    currency: str | None = None
    sign: str | None = None
    total: str | None = None
    total_currency: str | None = None
    records: list[RawAmount] | None = None
    repeated: bool = False
    line: int = 1


@dataclass(slots=True)
class RawReturn:
    """Why a payment came back."""

    code: str | None = None
    proprietary: str | None = None
    repeated: bool = False
    line: int = 1


@dataclass(slots=True)
class RawDetail:
    """One transaction (`TxDtls`) of an entry."""

    message_id: str | None = None
    servicer_ref: str | None = None
    payment_information_id: str | None = None
    instruction_id: str | None = None
    end_to_end_id: str | None = None
    uetr: str | None = None
    transaction_id: str | None = None
    mandate_id: str | None = None
    amount: str | None = None
    currency: str | None = None
    sign: str | None = None
    transaction_amount: str | None = None
    transaction_currency: str | None = None
    instructed_amount: str | None = None
    instructed_currency: str | None = None
    domain: str | None = None
    family: str | None = None
    sub_family: str | None = None
    proprietary_code: str | None = None
    debtor: str | None = None
    debtor_account: str | None = None
    ultimate_debtor: str | None = None
    creditor: str | None = None
    creditor_account: str | None = None
    ultimate_creditor: str | None = None
    additional_info: str | None = None
    charges: list[RawAmount] | None = None
    returns: list[RawReturn] | None = None
    remittance: list[str | None] | None = None
    structured_refs: list[str | None] | None = None
    structured_texts: list[str | None] | None = None
    repeated: bool = False
    line: int = 1


@dataclass(slots=True)
class RawGroup:
    """One `NtryDtls`: a batch head and transactions."""

    message_id: str | None = None
    payment_information_id: str | None = None
    count: str | None = None
    details: list[RawDetail] | None = None
    repeated: bool = False
    line: int = 1


@dataclass(slots=True)
class RawEntry:
    """One `Ntry`."""

    reference: str | None = None
    amount: str | None = None
    currency: str | None = None
    sign: str | None = None
    reversal: str | None = None
    status: str | None = None
    proprietary_status: str | None = None
    booking_day: str | None = None
    value_day: str | None = None
    servicer_ref: str | None = None
    domain: str | None = None
    family: str | None = None
    sub_family: str | None = None
    proprietary_code: str | None = None
    instructed_amount: str | None = None
    instructed_currency: str | None = None
    additional_info: str | None = None
    charges: list[RawAmount] | None = None
    groups: list[RawGroup] | None = None
    repeated: bool = False
    line: int = 1


@dataclass(slots=True)
class RawBalance:
    """One `Bal`."""

    code: str | None = None
    proprietary: str | None = None
    sub_type: str | None = None
    amount: str | None = None
    currency: str | None = None
    sign: str | None = None
    day: str | None = None
    moment: str | None = None
    repeated: bool = False
    line: int = 1


@dataclass(slots=True)
class RawStatement:
    """What stands around the entries of one `Stmt`, `Rpt` or `Ntfctn`."""

    id: str | None = None
    electronic_sequence: str | None = None
    legal_sequence: str | None = None
    page: str | None = None
    last_page: str | None = None
    created: str | None = None
    from_day: str | None = None
    to_day: str | None = None
    iban: str | None = None
    other_account_id: str | None = None
    currency: str | None = None
    owner: str | None = None
    servicer_bic: str | None = None
    entry_count: str | None = None
    entry_sum: str | None = None
    credit_sum: str | None = None
    debit_sum: str | None = None
    balances: list[RawBalance] = field(default_factory=list)
    repeated: bool = False


@dataclass(slots=True)
class RawHeader:
    """`GrpHdr`."""

    message_id: str | None = None
    created: str | None = None
    page: str | None = None
    last_page: str | None = None
    repeated: bool = False
