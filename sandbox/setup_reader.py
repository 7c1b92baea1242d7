"""What a bank knows of its customer: the banks and bank accounts of a setup YAML.

Lives here: the sandbox's own small reader of the file that `nostro setup` takes. It reads only what a bank
would know and ignores the rest. Must not live here: validation for the customer's sake (that is
`settlement`'s), anything about payees or journals.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import yaml

from ledger import currency, parse_amount_minor
from sandbox.calendars import BankCalendar
from sandbox.errors import SandboxError
from settlement import usual_profiles

_Node = Mapping[str, object]
SFTP_ROOT = "sandbox/sftp"  # below home; what a simulated bank's SFTP server shows


@dataclass(frozen=True, slots=True)
class Tariff:
    """An agreed charge: ISO bank transaction code ``DOMN/FMLY/SUBFMLY`` and amount in minor units."""

    code: str
    amount_minor: int
    currency: str


@dataclass(frozen=True, slots=True)
class BankProfile:
    """One bank: identity, calendar, tariff and the two folders it exchanges files in (relative to home)."""

    code: str
    bic: str
    calendar: BankCalendar
    batch_booking: bool
    refuses_duplicates: bool
    sla_days: int
    tariff: tuple[Tariff, ...]
    outbox: str
    inbox: str


@dataclass(frozen=True, slots=True)
class BankAccount:
    """One account at a bank. `floor_minor` is the lowest balance it may reach, None without limit."""

    code: str
    bank: str
    iban: str
    currency: str
    exponent: int
    holder: str
    opening_date: dt.date
    opening_minor: int
    floor_minor: int | None


@dataclass(frozen=True, slots=True)
class Acquirer:
    """A card acquirer that pays the customer: its name and the account it pays from."""

    code: str
    name: str
    iban: str


@dataclass(frozen=True, slots=True)
class BankSetup:
    """Everything the simulated banks know of the customer."""

    banks: tuple[BankProfile, ...]
    accounts: tuple[BankAccount, ...]
    acquirers: tuple[Acquirer, ...]
    window_days: int

    def bank(self, code: str) -> BankProfile:
        """The bank with this code; KeyError when there is none."""
        return next(bank for bank in self.banks if bank.code == code)

    def account(self, code: str) -> BankAccount:
        """The bank account with this code; StopIteration never: codes come from this setup."""
        return next(account for account in self.accounts if account.code == code)

    def accounts_of(self, bank: str) -> tuple[BankAccount, ...]:
        """The accounts at one bank, in the order of the file."""
        return tuple(account for account in self.accounts if account.bank == bank)

    def acquirer(self, code: str) -> Acquirer:
        """The acquirer with this code."""
        found = next((acquirer for acquirer in self.acquirers if acquirer.code == code), None)
        if found is None:
            raise SandboxError(f"acquirer {code!r} is in payouts.csv but not in the setup YAML; add it there.")
        return found


def read_setup(path: Path) -> BankSetup:
    """Read the bank's part of a setup YAML.

    Raises `SandboxError` naming the file and the missing or wrong field.
    """
    try:
        document = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as fault:
        raise SandboxError(f"{path}: cannot be read as YAML: {fault}") from fault
    if not isinstance(document, dict):
        raise SandboxError(f"{path}: holds no mapping; give a setup YAML with 'banks' and 'bank_accounts'.")
    try:
        return _setup(cast(_Node, document))
    except (KeyError, TypeError, ValueError, AttributeError) as fault:
        raise SandboxError(f"{path}: missing or wrong field for the bank simulator: {fault!r}") from fault


def _setup(document: _Node) -> BankSetup:
    banks = cast(Mapping[str, _Node], document["banks"])
    accounts = cast(list[_Node], document["bank_accounts"])
    acquirers = cast(list[Mapping[str, str]], document.get("acquirers") or [])
    tolerances = cast(Mapping[str, int], document.get("tolerances") or {})
    profiles = tuple(_bank(code, node) for code, node in banks.items())
    known = {profile.code for profile in profiles}
    read = tuple(_account(node) for node in accounts)
    for account in read:
        if account.bank not in known:
            raise ValueError(f"bank account {account.code} is at bank {account.bank!r}, which is not described")
    return BankSetup(
        banks=profiles,
        accounts=read,
        acquirers=tuple(Acquirer(str(a["code"]), str(a["name"]), _plain(a["iban"])) for a in acquirers),
        window_days=int(tolerances.get("window_days", 1)),
    )


def _bank(code: str, node: _Node) -> BankProfile:
    if "profile" in node:  # what the bank's own words leave out
        usual = usual_profiles()[str(node["profile"])]
        node = {"holidays": usual.holidays, "batch_booking": usual.batch_booking, **node}
    rails = cast(Mapping[str, Mapping[str, object]], node.get("rails") or {})
    transport = cast(Mapping[str, str], node["transport"])
    tariff = cast(list[Mapping[str, str]], node.get("tariff") or [])
    return BankProfile(
        code=code,
        bic=str(node["bic"]),
        calendar=BankCalendar(str(node["holidays"])),
        batch_booking=bool(node.get("batch_booking", False)),
        refuses_duplicates=bool(node.get("refuses_duplicates", False)),
        sla_days=max((int(str(rail.get("sla_days", 1))) for rail in rails.values()), default=1),
        tariff=tuple(_tariff(item) for item in tariff),
        outbox=_folder(transport, "outbox"),
        inbox=_folder(transport, "inbox"),
    )


def _folder(transport: Mapping[str, str], name: str) -> str:
    """A folder below home: of a bank that is reached over SFTP, below the root that its server shows."""
    if transport.get("kind") == "sftp":
        return f"{SFTP_ROOT}/{str(transport[f'remote_{name}']).lstrip('/')}"
    return str(transport[name])


def _tariff(node: Mapping[str, str]) -> Tariff:
    code = str(node["currency"])
    return Tariff(str(node["code"]), _minor(node["amount"], code), code)


def _account(node: _Node) -> BankAccount:
    code = str(node["currency"])
    opening = cast(Mapping[str, object], node["opening"])
    day = opening["date"]
    overdraft = node.get("overdraft", "0.00")
    unlimited = overdraft is None or str(overdraft).lower() == "none"
    return BankAccount(
        code=str(node["code"]),
        bank=str(node["bank"]),
        iban=_plain(node["iban"]),
        currency=code,
        exponent=currency(code).exponent,
        holder=str(cast(_Node, node["holder"])["name"]),
        opening_date=day if isinstance(day, dt.date) else dt.date.fromisoformat(str(day)),
        opening_minor=_minor(opening["balance"], code),
        floor_minor=None if unlimited else -_minor(overdraft, code),
    )


def _minor(text: object, code: str) -> int:
    return parse_amount_minor(str(text), currency(code).exponent)


def _plain(iban: object) -> str:
    return str(iban).replace(" ", "").upper()
