"""The setup file as typed values.

Lives here: the shape of the YAML and of `payees.csv`, field by field; unknown fields are faults.
Must not live here: rules between fields (`setup_check`), the database (`setup`).

Every scalar is read as text (YAML's own guesses turn ``no`` into false and 0.10 into a binary float); amounts
stay text until their currency is known.
"""

from __future__ import annotations

import datetime as dt
from decimal import Decimal
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from ledger import AccountMode
from ledger import currency as known_currency
from ledger.errors import NostroError
from ledger.hot import DEFAULT_SHARDS
from settlement.iso20022 import (
    AddressForm,
    ChargeBearer,
    Charset,
    MessageVersion,
    Rail,
    Umlauts,
    account_fault,
    bic_fault,
    creditor_id_fault,
    creditor_reference_fault,
    lei_fault,
)
from settlement.profiles import with_profile
from settlement.schedules import Roll


def _blank_to_none(value: object) -> object:
    return None if isinstance(value, str) and value.strip().lower() in {"", "none", "null", "~"} else value


def _currency(code: str) -> str:
    try:
        return known_currency(code).code
    except NostroError as error:
        raise ValueError(str(error)) from None


def _account(text: str) -> str:
    """An IBAN, or ``SYSTEM:bank code:account number`` where accounts have none."""
    account = text.replace(" ", "")
    if fault := account_fault(account):
        what = "account" if ":" in account else "IBAN"
        raise ValueError(f"{what} {account!r} {fault}")
    return account


def _bic(text: str) -> str:
    if fault := bic_fault(text):
        raise ValueError(f"BIC {text!r} {fault}")
    return text


def _creditor_reference(text: str) -> str:
    reference = text.replace(" ", "")
    if fault := creditor_reference_fault(reference):
        raise ValueError(f"creditor reference {text!r} {fault}")
    return reference


def _amount(text: str) -> str:
    if not text.isascii() or not text.replace(".", "", 1).isdigit():
        raise ValueError(f"amount {text!r} is not a plain decimal number such as '12.50'")
    return str(Decimal(text))


def _signed_amount(text: str) -> str:
    return "-" + _amount(text[1:]) if text.startswith("-") else _amount(text)


def _code(text: str) -> str:
    if not text or not all(c.isascii() and (c.islower() or c.isdigit() or c in "-_.") for c in text):
        raise ValueError(f"code {text!r} must be lower-case letters, digits, '-', '_' or '.'")
    return text


def _relative(text: str) -> str:
    path = PurePosixPath(text)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"path {text!r} must lie inside the program's home folder")
    return text


def _clock(text: str) -> str:
    return dt.time.fromisoformat(text).strftime("%H:%M")


def _percent(text: str) -> str:
    amount = Decimal(_amount(text))
    if not 0 <= amount < 100 or amount != round(amount, 2):
        raise ValueError(f"percentage {text!r} must be from 0 to 99.99, with at most two decimals")
    return str(amount)


def _mandate_id(text: str) -> str:
    if not 1 <= len(text) <= 35 or not all(c.isascii() and (c.isalnum() or c in "+?/-:().,'") for c in text):
        raise ValueError(f"mandate {text!r} must have 1 to 35 letters, digits or + ? / - : ( ) . , '")
    return text


def _country(text: str) -> str:
    if len(text) != 2 or not text.isalpha() or not text.isupper():
        raise ValueError(f"country {text!r} must be two capitals (ISO 3166)")
    return text


def _credit_transfers(version: MessageVersion) -> MessageVersion:
    if version.family != "pain.001":
        raise ValueError(f"message {version} is not a pain.001")
    return version


def _direct_debits(version: MessageVersion) -> MessageVersion:
    if version.family != "pain.008":
        raise ValueError(f"message {version} is not a pain.008")
    return version


def _reversals(version: MessageVersion) -> MessageVersion:
    if version.family != "pain.007":
        raise ValueError(f"reversal_message {version} is not a pain.007")
    return version


def _cancellations(version: MessageVersion) -> MessageVersion:
    if version.family != "camt.055":
        raise ValueError(f"recall_message {version} is not a camt.055")
    return version


def _creditor_id(text: str) -> str:
    if fault := creditor_id_fault(text):
        raise ValueError(f"creditor_id {text!r} {fault}")
    return text


Blank = BeforeValidator(_blank_to_none)
Currency = Annotated[str, AfterValidator(_currency)]
Iban = Annotated[str, AfterValidator(_account)]
Bic = Annotated[str, AfterValidator(_bic)]
Amount = Annotated[str, AfterValidator(_amount)]
Percent = Annotated[str, AfterValidator(_percent)]
CreditorReference = Annotated[str, AfterValidator(_creditor_reference)]
MandateId = Annotated[str, AfterValidator(_mandate_id)]
SignedAmount = Annotated[str, AfterValidator(_signed_amount)]
Code = Annotated[str, AfterValidator(_code)]
Clock = Annotated[str, AfterValidator(_clock)]
Country = Annotated[str, AfterValidator(_country)]
RelativePath = Annotated[str, AfterValidator(_relative)]
Text = Annotated[str, Field(min_length=1, max_length=140)]
Handling = Literal["auto", "propose"]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


class AccountType(StrEnum):
    ASSET = "asset"
    LIABILITY = "liability"
    EQUITY = "equity"
    INCOME = "income"
    EXPENSE = "expense"


class Book(_Model):
    name: Annotated[str, Field(min_length=1, max_length=70)]  # leads every remittance text
    functional_currency: Currency


class AccountRule(_Model):
    """An account, or with a trailing ``*`` a rule for accounts that a journal may open."""

    code: str
    type: AccountType
    currency: Annotated[Currency | None, Blank] = None
    settleable: bool = False
    control: Annotated[str | None, Blank] = None
    floor: Annotated[SignedAmount | None, Blank] = None
    ceiling: Annotated[SignedAmount | None, Blank] = None
    mode: AccountMode | None = None
    shards: Annotated[int, Field(ge=2, le=64)] = DEFAULT_SHARDS

    @property
    def is_pattern(self) -> bool:
        return self.code.endswith("*")

    def covers(self, code: str) -> bool:
        if self.is_pattern:
            return code.startswith(self.code[:-1]) and len(code) >= len(self.code)
        return code == self.code


class RailTerms(_Model):
    """How a bank runs a rail. `cycles` are earlier cut-offs of the day; zone and calendar default to the bank's.

    The ISO codes default to the rail's own; `purpose` is written into every payment.
    """

    cutoff: Clock
    cycles: tuple[Clock, ...] = ()
    timezone: Annotated[str | None, Blank] = None
    holidays: Annotated[str | None, Blank] = None
    sla_days: int = Field(default=1, ge=0)
    minimum: Amount = "0.01"
    maximum: Amount = "999999999.99"
    service_level: Annotated[str | None, Blank] = None
    local_instrument: Annotated[str | None, Blank] = None
    charge_bearer: ChargeBearer | None = None
    category_purpose: Annotated[str | None, Blank] = None
    purpose: Annotated[str | None, Blank] = None


class TariffItem(_Model):
    code: str
    amount: Amount
    currency: Currency


class FolderTransport(_Model):
    kind: Literal["folder"]
    outbox: RelativePath
    inbox: RelativePath


class SftpTransport(_Model):
    """A bank's SFTP server. `inbox` is the folder of ours that what it leaves for us is copied into.

    `known_hosts` holds the server's key, `key` or `password_file` proves who we are; all are files below
    `NOSTRO_HOME`, so that no secret stands in a setup file or in the books.
    """

    kind: Literal["sftp"]
    host: Annotated[str, Field(min_length=1, max_length=253)]
    port: Annotated[int, Field(ge=1, le=65535)] = 22
    user: Annotated[str, Field(min_length=1, max_length=64)]
    known_hosts: RelativePath
    key: Annotated[RelativePath | None, Blank] = None
    password_file: Annotated[RelativePath | None, Blank] = None
    remote_outbox: Annotated[str, Field(min_length=1, max_length=255)]
    remote_inbox: Annotated[str, Field(min_length=1, max_length=255)]
    inbox: RelativePath
    timeout_s: Annotated[int, Field(ge=1, le=600)] = 30

    @model_validator(mode="after")
    def _one_proof(self) -> SftpTransport:
        if (self.key is None) == (self.password_file is None):
            raise ValueError("give either key or password_file, the file that proves who we are")
        return self


class DirectDebit(_Model):
    """Leave to collect from payees whose rule says so (pain.008)."""

    creditor_id: Annotated[str, AfterValidator(_creditor_id)]
    message: Annotated[MessageVersion, AfterValidator(_direct_debits)] = MessageVersion.PAIN_008_001_08
    lead_days: Annotated[int, Field(ge=1, le=14)] = 1
    reversal_message: Annotated[MessageVersion, AfterValidator(_reversals)] = MessageVersion.PAIN_007_001_11
    reversal_days: Annotated[int, Field(ge=1, le=30)] = 5  # open days after the collection date; SEPA rulebooks: 5
    partial_reversals: bool = False  # whether it takes a reversal of less than was collected; ask the bank


class Bank(_Model):
    """A bank profile: how this bank wants its files. `profile` in a setup file starts from a usual one."""

    bic: Bic
    timezone: str
    holidays: str
    message: Annotated[MessageVersion, AfterValidator(_credit_transfers)] = MessageVersion.PAIN_001_001_09
    charset: Charset = Charset.SEPA
    umlauts: Umlauts = Umlauts.TWO_LETTERS
    address: AddressForm = AddressForm.STRUCTURED
    batch_booking: bool = True
    uetr: bool = True
    max_transactions: int = Field(default=10_000, ge=1, le=999_999)
    max_total: Annotated[Amount | None, Blank] = None
    several_batches: bool = False
    max_batch_transactions: Annotated[int | None, Field(ge=1, le=999_999)] = None
    max_batch_total: Annotated[Amount | None, Blank] = None
    rails: dict[Rail, RailTerms]
    direct_debit: DirectDebit | None = None
    recall_message: Annotated[MessageVersion, AfterValidator(_cancellations)] = MessageVersion.CAMT_055_001_08
    refuses_duplicates: bool = False
    tariff: tuple[TariffItem, ...] = ()
    transport: FolderTransport | SftpTransport = Field(discriminator="kind")

    @model_validator(mode="before")
    @classmethod
    def _from_profile(cls, given: object) -> object:
        return with_profile(given)


def _lei(text: str) -> str:
    if fault := lei_fault(text):
        raise ValueError(f"LEI {text!r} {fault}")
    return text


class Holder(_Model):
    name: Text
    lei: Annotated[Annotated[str, AfterValidator(_lei)] | None, Blank] = None
    country: Country
    town: Text
    street: Annotated[Text | None, Blank] = None
    postcode: Annotated[Text | None, Blank] = None


class Opening(_Model):
    date: dt.date
    balance: SignedAmount


class BankAccount(_Model):
    """One of our accounts at a bank."""

    code: Code
    bank: str
    iban: Iban
    currency: Currency
    rail: Rail
    holder: Holder
    opening: Opening
    overdraft: Annotated[Amount | None, Blank] = None


class PayeeDetails(_Model):
    """Where a payee's money goes, and to whom."""

    name: Text
    iban: Iban
    bic: Annotated[Bic | None, Blank] = None
    country: Annotated[Country | None, Blank] = None
    town: Annotated[Text | None, Blank] = None
    street: Annotated[Text | None, Blank] = None
    postcode: Annotated[Text | None, Blank] = None


class Payee(PayeeDetails):
    """A row of `payees.csv` (or of an inline list)."""

    payee_id: Annotated[str, Field(min_length=1, max_length=64)]
    account: Annotated[str, Field(min_length=1)]
    currency: Currency
    pay_from: str
    minimum: Annotated[Amount | None, Blank] = None
    maximum: Annotated[Amount | None, Blank] = None
    delay_days: Annotated[Annotated[int, Field(ge=0, le=3660)] | None, Blank] = None
    hold: Annotated[bool | None, Blank] = None
    schedule: Annotated[Literal["daily", "weekly", "monthly", "manual"] | None, Blank] = None
    anchors: Annotated[str | None, Blank] = None
    roll: Annotated[Roll | None, Blank] = None
    reserve_percent: Annotated[Percent | None, Blank] = None
    reserve_days: Annotated[Annotated[int, Field(ge=1, le=3660)] | None, Blank] = None
    reserve_fixed: Annotated[Amount | None, Blank] = None
    negative: Annotated[Literal["carry", "offset", "debit"] | None, Blank] = None
    mandate_id: Annotated[MandateId | None, Blank] = None
    mandate_signed: Annotated[dt.date | None, Blank] = None
    mandate_scheme: Annotated[Literal["CORE", "B2B"] | None, Blank] = None
    mandate_sequence: Annotated[Literal["FRST", "RCUR", "OOFF", "FNAL"] | None, Blank] = None
    intermediary_bic: Annotated[Bic | None, Blank] = None
    purpose: Annotated[Annotated[str, Field(pattern=r"^[A-Z0-9]{1,4}$")] | None, Blank] = None
    creditor_reference: Annotated[CreditorReference | None, Blank] = None
    regulatory_country: Annotated[Country | None, Blank] = None
    regulatory_code: Annotated[Annotated[str, Field(min_length=1, max_length=10)] | None, Blank] = None
    regulatory_text: Annotated[Annotated[str, Field(min_length=1, max_length=35)] | None, Blank] = None
    charge_bearer: Annotated[ChargeBearer | None, Blank] = None

    @property
    def reserve_bps(self) -> int:
        """The rolling reserve in hundredths of a percent."""
        return int(Decimal(self.reserve_percent or "0") * 100)

    @property
    def reserves(self) -> bool:
        """Whether a reserve account is needed."""
        return self.reserve_bps > 0 or Decimal(self.reserve_fixed or "0") > 0

    @property
    def reserve_account(self) -> str:
        """Where the payee's reserve stands."""
        return "liabilities:payout-reserve:" + self.account.partition(":")[2]


class PayeeChanges(_Model):
    """What new bank details wait for; `new_payees`: those of a payee's first declaration too."""

    cooling_off_hours: Annotated[int, Field(ge=0, le=8760)] = 0
    first_payment_hold: bool = False
    new_payees: bool = False


class ApprovalTerms(_Model):
    """Who may approve how much of a currency, and from where on two must."""

    currency: Currency
    limit: Annotated[Amount | None, Blank] = None
    dual_above: Annotated[Amount | None, Blank] = None
    approvers: dict[str, Amount] = Field(default_factory=dict)


class Hook(_Model):
    """A program that is asked about payees: a command, or ``module:function`` of this installation."""

    command: tuple[str, ...] = ()
    function: Annotated[str | None, Blank] = None
    timeout_s: Annotated[int, Field(ge=1, le=600)] = 30


class Screening(_Model):
    sanctions: Hook | None = None
    payee_verification: Hook | None = None


class NamePolicies(_Model):
    """What becomes of a payment whose payee's name the bank compared with the account."""

    close_match: Literal["person", "release"] = "person"
    no_match: Literal["person", "release"] = "person"
    not_possible: Literal["person", "release"] = "person"


class Policies(_Model):
    """Which routine classes post by themselves; the others are proposed to a person."""

    returns: Handling = "auto"
    tariffed_charges: Handling = "auto"
    interest: Handling = "auto"
    acquirer_fees: Handling = "auto"
    names: NamePolicies = NamePolicies()


class Acquirer(_Model):
    code: Code
    name: Text
    iban: Iban
    receivable: str


class Tolerances(_Model):
    window_days: int = Field(default=1, ge=0)
    rounding_minor: int = Field(default=1, ge=0)


class Setup(_Model):
    """A whole setup file."""

    book: Book
    accounts: tuple[AccountRule, ...] = ()
    banks: dict[Code, Bank]
    bank_accounts: tuple[BankAccount, ...]
    payees_file: Annotated[str | None, Blank] = None
    payees: tuple[Payee, ...] = ()
    policies: Policies = Policies()
    payee_changes: PayeeChanges = PayeeChanges()
    approvals: tuple[ApprovalTerms, ...] = ()
    screening: Screening = Screening()
    acquirers: tuple[Acquirer, ...] = ()
    tolerances: Tolerances = Tolerances()
