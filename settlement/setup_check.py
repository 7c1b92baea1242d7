"""Reading a setup file and checking it whole: every fault, with its place, before anything is applied.

Lives here: reading YAML and CSV, faults of fields and between fields. Must not live here: the database.
"""

from __future__ import annotations

import csv
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import yaml
from pydantic import ValidationError

from ledger import CURRENCIES, NostroError, parse_amount_minor
from settlement.business_days import TARGET, Calendar
from settlement.errors import SetupError
from settlement.iso20022 import (
    RAIL_TERMS,
    Finding,
    Rail,
    account_address,
    address_findings,
    iban_in_sepa,
    id_findings,
    postal_address,
    text_findings,
    transliterate,
)
from settlement.schedules import Roll, schedule_text
from settlement.setup_model import AccountRule, AccountType, Bank, BankAccount, Holder, Payee, PayeeDetails, Setup

_Item = TypeVar("_Item")
_CONTROLS = ("nostro", "cash_in_transit")


@dataclass(frozen=True, slots=True)
class CheckedSetup:
    """A setup without faults, all payees read; `payee_accounts` holds each payee's account rule, in order."""

    setup: Setup
    payees: tuple[Payee, ...]
    payee_rules: tuple[AccountRule, ...]


def read_setup(path: Path) -> CheckedSetup:
    """Read and check a setup file and the payees file it names.

    Raises `SetupError` with all faults, each one sentence that starts with its place.
    """
    document = _load(path)
    faults: list[str] = []
    setup = _validated(document, path.name, faults)
    if setup is None:
        raise _refusal(path, faults)
    payees, places = setup.payees, [f"payees[{n}]" for n in range(len(setup.payees))]
    if setup.payees_file is not None:
        from_file, lines = _read_payees(path.parent / setup.payees_file, faults)
        payees, places = payees + from_file, places + lines
    faults += _faults_between(setup)
    rules = _payee_rules(setup, payees, places, faults)
    if faults:
        raise _refusal(path, faults)
    return CheckedSetup(setup, payees, rules)


def minor(text: str, code: str) -> int:
    """Minor units of an amount in a currency. Raises `AmountError`."""
    return parse_amount_minor(text, CURRENCIES[code].exponent)


def rail_calendar(bank: Bank, rail: Rail) -> Calendar:
    """Open days and time zone of a rail of a bank: its own, else the bank's. Raises `CalendarError`."""
    terms = bank.rails[rail]
    return Calendar(terms.holidays or bank.holidays, terms.timezone or bank.timezone)


def payee_schedule(payee: Payee) -> str:
    """The one text of a payee's schedule. Raises `ValueError`."""
    return schedule_text(payee.schedule or "daily", payee.anchors, payee.roll or Roll.FOLLOWING)


def rail_limits(bank: Bank, account: BankAccount) -> tuple[int, int]:
    """Smallest and largest payment of a bank account, in minor units of its currency.

    A rail's default limits are told with two decimals; where the currency has fewer they round inwards. No payment is
    larger than the sum that the bank takes in a file or batch: the rest waits for the next one.
    """
    exponent = CURRENCIES[account.currency].exponent
    terms = bank.rails[account.rail]
    whole, _, fraction = terms.minimum.partition(".")
    minimum = int(whole + fraction[:exponent].ljust(exponent, "0")) + bool(fraction[exponent:].strip("0"))
    largest = [text for text in (terms.maximum, bank.max_total, bank.max_batch_total) if text is not None]
    return max(1, minimum), min(
        RAIL_TERMS[account.rail].amount_minor_max, *(_inwards(text, exponent) for text in largest)
    )


def _inwards(amount: str, exponent: int) -> int:
    whole, _, fraction = amount.partition(".")
    return int(whole + fraction[:exponent].ljust(exponent, "0"))


def _refusal(path: Path, faults: Sequence[str]) -> SetupError:
    count = f"{len(faults)} fault{'s' if len(faults) != 1 else ''}"
    return SetupError(f"{path.name} was refused, nothing was changed: {count}; first: {faults[0]}", faults)


class _TextLoader(yaml.CBaseLoader):  # every scalar stays text
    pass


def _unique_mapping(loader: _TextLoader, node: yaml.MappingNode) -> dict[str, object]:
    seen: dict[str, object] = {}
    for key_node, value_node in node.value:
        key = str(loader.construct_object(key_node, deep=True))
        if key in seen:
            raise yaml.constructor.ConstructorError(None, None, f"{key!r} stands there twice", key_node.start_mark)
        seen[key] = loader.construct_object(value_node, deep=True)
    return seen


_TextLoader.add_constructor("tag:yaml.org,2002:map", _unique_mapping)


def _load(path: Path) -> object:
    if not path.is_file():
        raise SetupError(f"{path} is not a file; give the path of a setup YAML.")
    try:
        return yaml.load(path.read_text(encoding="utf-8"), Loader=_TextLoader)
    except UnicodeDecodeError:
        raise _refusal(path, [f"{path.name}: is not UTF-8 text; save it as UTF-8."]) from None
    except yaml.MarkedYAMLError as error:
        line = error.problem_mark.line + 1 if error.problem_mark else 0
        raise _refusal(path, [f"{path.name} line {line}: {error.problem}; correct the YAML there."]) from None


def _validated(document: object, name: str, faults: list[str]) -> Setup | None:
    if not isinstance(document, dict):
        faults.append(f"{name}: is not a mapping of book, accounts, banks, …; see the documentation.")
        return None
    try:
        return Setup.model_validate(document)
    except ValidationError as error:
        faults.extend(_sentences(error))
        return None


_WORDS = {
    "missing": "is missing; add it",
    "extra_forbidden": "is not a field; remove it or correct its name",
    "bool_parsing": "must be true or false",
    "int_parsing": "must be a whole number",
    "date_from_datetime_parsing": "must be a date such as 2026-11-01",
    "date_parsing": "must be a date such as 2026-11-01",
    "greater_than_equal": "must be at least {ge}",
    "less_than_equal": "must be at most {le}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "enum": "must be {expected}",
    "literal_error": "must be {expected}",
}


def _sentences(error: ValidationError, place: str = "") -> Iterator[str]:
    for fault in error.errors(include_url=False):
        where = place + ".".join(str(part) for part in fault["loc"] if part != "[key]")
        words = _WORDS.get(fault["type"], fault["msg"].removeprefix("Value error, "))
        words = words.format_map(fault["ctx"]) if "ctx" in fault and fault["type"] in _WORDS else words
        given = fault["input"]
        shown = f" (it says {given!r})" if isinstance(given, str) and fault["type"] not in _PLAIN else ""
        yield f"{where}: {words}{shown}."


_PLAIN = ("value_error", "missing", "extra_forbidden")
_COLUMNS = tuple(Payee.model_fields)
_REQUIRED = tuple(name for name, field in Payee.model_fields.items() if field.is_required())


def _read_payees(path: Path, faults: list[str]) -> tuple[tuple[Payee, ...], list[str]]:
    if not path.is_file():
        faults.append(f"payees_file: {path.name} does not exist beside the setup file.")
        return (), []
    payees: list[Payee] = []
    places: list[str] = []
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.DictReader(stream, strict=True)
        header = tuple(rows.fieldnames or ())
        faults += [f"{path.name} line 1: column {name} is missing." for name in _REQUIRED if name not in header]
        faults += [f"{path.name} line 1: column {name!r} is not known." for name in header if name not in _COLUMNS]
        if any(name not in header for name in _REQUIRED):
            return (), []
        try:
            for row in rows:
                place = f"{path.name} line {rows.line_num}"
                if None in row or None in row.values():
                    faults.append(f"{place}: has not as many fields as the header.")
                    continue
                try:
                    payees.append(Payee.model_validate({k: v for k, v in row.items() if k in _COLUMNS}))
                    places.append(place)
                except ValidationError as error:
                    faults.extend(_sentences(error, place=f"{place}, "))
        except (csv.Error, UnicodeDecodeError) as error:
            faults.append(f"{path.name} line {rows.line_num}: cannot be read as UTF-8 CSV ({error}).")
    return tuple(payees), places


def _faults_between(setup: Setup) -> Iterator[str]:
    yield from _rule_faults(setup.accounts)
    for code, bank in setup.banks.items():
        try:
            Calendar(bank.holidays, bank.timezone)
        except NostroError as error:
            yield f"banks.{code}: {error}"
        for rail, terms in bank.rails.items():
            try:
                Calendar(terms.holidays or TARGET, terms.timezone or "UTC")
            except NostroError as error:
                yield f"banks.{code}.rails.{rail}: {error}"
            allowed = RAIL_TERMS[rail].charge_bearers
            if terms.charge_bearer is not None and terms.charge_bearer not in allowed:
                yield f"banks.{code}.rails.{rail}: charge_bearer must be {' or '.join(allowed)}."
            if any(cycle >= terms.cutoff for cycle in terms.cycles):
                yield f"banks.{code}.rails.{rail}: cycles are earlier than the cut-off {terms.cutoff}."
        if bank.uetr and not bank.message.carries_uetr:
            yield f"banks.{code}: message {bank.message} has no place for a UETR; set uetr to false."
    yield from _approval_faults(setup)
    for n, account in enumerate(setup.bank_accounts):
        yield from _bank_account_faults(setup, f"bank_accounts[{n}] ({account.code})", account)
    yield from _repeats("bank_accounts", setup.bank_accounts, lambda a: a.code, "code")
    yield from _repeats("bank_accounts", setup.bank_accounts, lambda a: (a.iban, a.currency), "IBAN and currency")
    yield from _repeats("acquirers", setup.acquirers, lambda a: a.code, "code")


def _approval_faults(setup: Setup) -> Iterator[str]:
    for n, terms in enumerate(setup.approvals):
        place = f"approvals[{n}] ({terms.currency})"
        for name, text in (("limit", terms.limit), ("dual_above", terms.dual_above), *terms.approvers.items()):
            if text is not None:
                yield from _amount_faults(f"{place}.{name}", text, terms.currency)
    yield from _repeats("approvals", setup.approvals, lambda terms: terms.currency, "currency")
    for name in ("sanctions", "payee_verification"):
        hook = getattr(setup.screening, name)
        if hook is not None and bool(hook.command) == bool(hook.function):
            yield f"screening.{name}: needs a command or a function, and not both."
        if hook is not None and hook.function is not None and hook.function.count(":") != 1:
            yield f"screening.{name}.function: must be 'module:function', not {hook.function!r}."


def _rule_faults(rules: Sequence[AccountRule]) -> Iterator[str]:
    for n, rule in enumerate(rules):
        place = f"accounts[{n}] ({rule.code})"
        if "*" in rule.code[:-1]:
            yield f"{place}: '*' can only stand at the end of a code."
        if rule.control is not None and rule.control not in _CONTROLS:
            yield f"{place}: control {rule.control!r} is unknown; use {' or '.join(_CONTROLS)}."
        if rule.control is not None and (rule.is_pattern or rule.currency is None):
            yield f"{place}: a control account needs an exact code and a currency."
        if rule.mode is not None and (rule.is_pattern or rule.currency is None):
            yield f"{place}: a mode is given for one account, with its currency."
        if rule.settleable and rule.type is not AccountType.LIABILITY:
            yield f"{place}: only a liability is settleable (it is what we owe a payee)."
        if rule.floor is not None:
            yield from _amount_faults(f"{place}.floor", rule.floor, rule.currency)
        if rule.ceiling is not None:
            yield from _amount_faults(f"{place}.ceiling", rule.ceiling, rule.currency)
        if rule.floor is not None and rule.ceiling is not None and Decimal(rule.ceiling) < Decimal(rule.floor):
            yield f"{place}: the ceiling is below the floor."
        if (rule.floor is not None and Decimal(rule.floor) > 0) or (
            rule.ceiling is not None and Decimal(rule.ceiling) < 0
        ):
            yield f"{place}: an account begins at zero, so zero must lie between its floor and its ceiling."
    yield from _repeats("accounts", rules, lambda r: r.code, "code")


def _bank_account_faults(setup: Setup, place: str, account: BankAccount) -> Iterator[str]:
    bank = setup.banks.get(account.bank)
    if bank is None:
        yield f"{place}: bank {account.bank!r} is not under banks."
    elif account.rail not in bank.rails:
        yield f"{place}: bank {account.bank} has no rail {account.rail}; add it under banks.{account.bank}.rails."
    elif rail_limits(bank, account)[0] > rail_limits(bank, account)[1]:
        yield f"{place}: the rail's minimum is above its maximum."
    only = RAIL_TERMS[account.rail].currency
    if only is not None and account.currency != only:
        yield f"{place}: rail {account.rail} carries {only} only, not {account.currency}."
    if bank is not None:
        for name, most in (("max_total", bank.max_total), ("max_batch_total", bank.max_batch_total)):
            if most is not None:
                yield from _amount_faults(f"{place}: banks.{account.bank}.{name}", most, account.currency)
        yield from (f"{place}: holder {words}" for words in _written_faults(bank, account.rail, account.holder))
    if fault := _form_fault(account.iban, account.rail):
        yield f"{place}: {fault}"
    yield from _amount_faults(f"{place}.opening.balance", account.opening.balance, account.currency)
    if account.overdraft is not None:
        yield from _amount_faults(f"{place}.overdraft", account.overdraft, account.currency)


def _form_fault(text: str, rail: Rail) -> str | None:
    """Whether the rail takes accounts of this form: IBANs, or numbers in its own clearing system."""
    system = account_address(text).clearing_system
    if system is not None and system != RAIL_TERMS[rail].clearing_system:
        return f"account {text} is one of {system}; rail {rail} does not take it."
    return None


def _amount_faults(place: str, text: str, code: str | None) -> Iterator[str]:
    if code is None:
        if text.strip("-0."):
            yield f"{place}: amount {text} needs a currency to be exact in; add one, or use 0."
        return
    try:
        minor(text, code)
    except NostroError as error:
        yield f"{place}: {error}."


def _repeats(name: str, items: Iterable[_Item], key: Callable[[_Item], Hashable], what: str) -> Iterator[str]:
    first: dict[Hashable, int] = {}
    for n, item in enumerate(items):
        if (earlier := first.setdefault(key(item), n)) != n:
            yield f"{name}[{n}]: has the {what} of {name}[{earlier}]; each must be its own."


def _payee_rules(
    setup: Setup, payees: Sequence[Payee], places: Sequence[str], faults: list[str]
) -> tuple[AccountRule, ...]:
    """The account rule of each payee (longest match); adds what is wrong with payees to `faults`."""
    accounts = {account.code: account for account in setup.bank_accounts}
    by_length = sorted(setup.accounts, key=lambda rule: (not rule.is_pattern, len(rule.code)), reverse=True)
    seen_ids: dict[str, str] = {}
    seen_accounts: dict[str, str] = {}
    rules: list[AccountRule] = []
    for payee, place in zip(payees, places, strict=True):
        for seen, value, what in ((seen_ids, payee.payee_id, "payee_id"), (seen_accounts, payee.account, "account")):
            if (earlier := seen.setdefault(value, place)) != place:
                faults.append(f"{place}: {what} {value} is that of {earlier}; each payee has its own.")
        rule = next((rule for rule in by_length if rule.covers(payee.account)), None)
        if rule is None or not rule.settleable or rule.currency not in (None, payee.currency):
            faults.append(f"{place}: account {payee.account} is covered by no settleable rule of its currency.")
        else:
            rules.append(rule)
        faults.extend(f"{place}, {fault}" for fault in _payee_faults(setup, accounts.get(payee.pay_from), payee))
    return tuple(rules)


def _payee_faults(setup: Setup, account: BankAccount | None, payee: Payee) -> Iterator[str]:
    if account is None:
        yield f"pay_from {payee.pay_from!r} is not under bank_accounts."
        return
    if account.currency != payee.currency:
        yield f"is paid in {payee.currency} from {account.code}, which holds {account.currency}."
        return
    low, high = payee.minimum or "0", payee.maximum or "0"
    amount_faults = [
        *_amount_faults("minimum", low, payee.currency),
        *_amount_faults("maximum", high, payee.currency),
    ]
    yield from amount_faults
    if not amount_faults and payee.maximum and minor(low, payee.currency) > minor(high, payee.currency):
        yield f"minimum {low} is above maximum {high}."
    bank = setup.banks.get(account.bank)
    if not amount_faults and bank is not None and account.rail in bank.rails:
        least, most = rail_limits(bank, account)
        if payee.maximum and minor(high, payee.currency) < least:
            yield f"maximum {high} is below the least that rail {account.rail} takes; it would never be paid."
        if minor(low, payee.currency) > most:
            yield f"minimum {low} is above the most that rail {account.rail} takes; it would never be paid whole."
    yield from _payout_rule_faults(setup.banks.get(account.bank), payee)
    yield from _told_faults(setup.banks.get(account.bank), account.rail, payee)
    yield from details_faults(setup.banks.get(account.bank), account.rail, payee)


def details_faults(bank: Bank | None, rail: Rail, payee: PayeeDetails) -> Iterator[str]:
    """What a bank would refuse of a payee's details, paid on a rail."""
    terms = RAIL_TERMS[rail]
    if terms.sepa_only and not iban_in_sepa(payee.iban):
        yield f"IBAN {payee.iban} is outside the SEPA zone; pay it from an account on another rail."
    elif fault := _form_fault(payee.iban, rail):
        yield fault
    if terms.creditor_bic and payee.bic is None:
        yield f"has no bic; rail {rail} needs the bank's BIC."
    if payee.town is not None and payee.country is None:
        yield "has a town but no country; an address needs both."
    if bank is not None:
        yield from _written_faults(bank, rail, payee)


def _written_faults(bank: Bank, rail: Rail, party: PayeeDetails | Holder) -> Iterator[str]:
    """What the bank would refuse of a name and address, in the characters in which they are written for it."""

    def written(text: str | None) -> str:
        return "" if text is None else transliterate(text, bank.charset, bank.umlauts).written

    def findings() -> Iterator[Finding]:
        length_max = RAIL_TERMS[rail].name_length_max
        yield from text_findings("name", "", "name", written(party.name), length_max, bank.charset)
        if party.country is not None and party.town is not None:
            address = postal_address(
                bank.address,
                country=party.country,
                town=written(party.town),
                street=written(party.street),
                postcode=written(party.postcode),
            )
            if address is not None:
                yield from address_findings("", address, bank.address, bank.charset)

    for finding in findings():
        yield f"{finding.sentence.rstrip('.')} (as it is written for its bank)."


def _told_faults(bank: Bank | None, rail: Rail, payee: Payee) -> Iterator[str]:
    """What a rail would refuse of what payments to a payee say beside who gets how much."""
    if payee.intermediary_bic is not None and not RAIL_TERMS[rail].creditor_bic:
        yield f"has an intermediary_bic; rail {rail} takes no intermediary bank."
    if payee.charge_bearer not in (None, *RAIL_TERMS[rail].charge_bearers):
        wanted = " or ".join(RAIL_TERMS[rail].charge_bearers)
        yield f"has charge_bearer {payee.charge_bearer}; rail {rail} takes {wanted}."
    told = {"regulatory_code": payee.regulatory_code, "regulatory_text": payee.regulatory_text}
    if payee.regulatory_country is not None and not any(told.values()):
        yield "has a regulatory_country and reports nothing to it; give regulatory_code or regulatory_text."
    for name, text in told.items() if bank is not None else ():
        if text is not None and bank is not None and text != transliterate(text, bank.charset, bank.umlauts).written:
            yield f"{name} {text!r} has characters that its bank does not take; write it in those of {bank.charset}."


def checked_details(bank: Bank, rail: Rail, values: Mapping[str, str | None], place: str) -> PayeeDetails:
    """New details of a payee, fit for its bank. Raises `SetupError` with every fault."""
    try:
        details = PayeeDetails.model_validate(dict(values))
        faults = [f"{place}: {fault}" for fault in details_faults(bank, rail, details)]
    except ValidationError as error:
        faults = list(_sentences(error, f"{place}, "))
    if faults:
        raise SetupError(f"nothing was changed: {faults[0]}", faults)
    return details


def _payout_rule_faults(bank: Bank | None, payee: Payee) -> Iterator[str]:
    try:
        payee_schedule(payee)
    except ValueError as error:
        yield f"{error}."
    if payee.reserve_fixed is not None:
        yield from _amount_faults("reserve_fixed", payee.reserve_fixed, payee.currency)
    if (payee.reserve_bps > 0) != (payee.reserve_days is not None):
        yield "a rolling reserve needs both reserve_percent and reserve_days."
    if payee.mandate_id is not None:
        yield from (finding.sentence for finding in id_findings("mandate-id", "", payee.mandate_id))
    mandate = (payee.mandate_id, payee.mandate_signed, payee.mandate_scheme, payee.mandate_sequence)
    if any(part is None for part in mandate) and any(part is not None for part in mandate):
        yield "a mandate needs mandate_id, mandate_signed, mandate_scheme and mandate_sequence."
    if payee.negative == "debit":
        if payee.mandate_id is None:
            yield "negative: debit needs a mandate."
        if bank is not None and bank.direct_debit is None:
            yield "negative: debit needs direct_debit (creditor_id) in the profile of its bank."
        if payee.currency != "EUR" or not iban_in_sepa(payee.iban):
            yield "negative: debit is a SEPA direct debit; it needs euro and an IBAN of the SEPA zone."
