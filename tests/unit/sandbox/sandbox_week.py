"""A customer of the simulated banks, made of pyiso20022's model alone: it pays what the journals owe.

Lives here: what the sandbox's tests share. Must not live here: the product's own writer or reader.
"""

from __future__ import annotations

import csv
import datetime as dt
import uuid
from collections import defaultdict
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyiso20022.pain.pain_001_001_09 as pain
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.serializers import XmlSerializer
from xsdata.models.datatype import XmlDate, XmlDateTime

from ledger import format_amount, parse_amount_minor
from sandbox import Bank, Business, BusinessFiles, DayReport, plan, read_setup
from sandbox.setup_reader import BankAccount, BankProfile, BankSetup

_CONTEXT = XmlContext()  # what xsdata learns of a class, once
NAMESPACE = "urn:iso:std:iso:20022:tech:xsd:pain.001.001.09"


@dataclass(frozen=True)
class Instruction:
    end_to_end_id: str
    amount_minor: int
    name: str
    iban: str
    uetr: str | None


def pain001(
    message_id: str,
    account: BankAccount,
    bic: str,
    day: dt.date,
    instructions: list[Instruction],
    *,
    count: int | None = None,
    total: Decimal | None = None,
    iban: str | None = None,
) -> str:
    """A pain.001.001.09 rendered by xsdata from pyiso20022's model."""
    real = sum((Decimal(format_amount(i.amount_minor, account.exponent)) for i in instructions), Decimal(0))
    total = real if total is None else total
    number = str(len(instructions) if count is None else count)
    document = pain.Document(
        cstmr_cdt_trf_initn=pain.CustomerCreditTransferInitiationV09(
            grp_hdr=pain.GroupHeader85(
                msg_id=message_id,
                cre_dt_tm=XmlDateTime(day.year, day.month, day.day, 18, 0, 0, offset=0),
                nb_of_txs=number,
                ctrl_sum=total,
                initg_pty=pain.PartyIdentification135(nm=account.holder),
            ),
            pmt_inf=[
                pain.PaymentInstruction30(
                    pmt_inf_id=f"{message_id}-1",
                    pmt_mtd=pain.PaymentMethod3Code.TRF,
                    nb_of_txs=number,
                    ctrl_sum=total,
                    reqd_exctn_dt=pain.DateAndDateTime2Choice(dt=XmlDate(day.year, day.month, day.day)),
                    dbtr=pain.PartyIdentification135(nm=account.holder),
                    dbtr_acct=_account(iban or account.iban),
                    dbtr_agt=pain.BranchAndFinancialInstitutionIdentification6(
                        fin_instn_id=pain.FinancialInstitutionIdentification18(bicfi=bic)
                    ),
                    cdt_trf_tx_inf=[_transfer(i, account) for i in instructions],
                )
            ],
        )
    )
    return XmlSerializer(context=_CONTEXT).render(document, ns_map={None: NAMESPACE})


def _account(iban: str) -> Any:
    return pain.CashAccount38(id=pain.AccountIdentification4Choice(iban=iban))


def _transfer(instruction: Instruction, account: BankAccount) -> Any:
    return pain.CreditTransferTransaction34(
        pmt_id=pain.PaymentIdentification6(
            instr_id=instruction.end_to_end_id,
            end_to_end_id=instruction.end_to_end_id,
            uetr=instruction.uetr,
        ),
        amt=pain.AmountType4Choice(
            instd_amt=pain.ActiveOrHistoricCurrencyAndAmount(
                value=Decimal(format_amount(instruction.amount_minor, account.exponent)),
                ccy=account.currency,
            )
        ),
        cdtr=pain.PartyIdentification135(nm=instruction.name),
        cdtr_acct=_account(instruction.iban),
        rmt_inf=pain.RemittanceInformation16(ustrd=[f"Payout {instruction.end_to_end_id}"]),
    )


class Customer:
    """Pays every payee what the journals so far owe it, one file an account and day."""

    def __init__(self, home: Path, files: BusinessFiles) -> None:
        self.home = home
        self.setup: BankSetup = read_setup(files.setup)
        with (files.setup.parent / "payees.csv").open(encoding="utf-8", newline="") as file:
            self._payees = {row["account"]: row for row in csv.DictReader(file)}
        self._journals = {journal.date: journal.path for journal in files.journals}
        self._owed: dict[str, int] = defaultdict(int)
        self.sent: dict[str, Instruction] = {}

    def pay(self, day: dt.date) -> None:
        with self._journals[day].open(encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                if row["account"] in self._payees:
                    self._owed[row["account"]] -= parse_amount_minor(row["amount"], 2)
        per_account: dict[str, list[Instruction]] = defaultdict(list)
        for code, owed in self._owed.items():
            payee = self._payees[code]
            account = self.setup.account(payee["pay_from"])
            if owed > 0 and self.setup.bank(account.bank).calendar.is_open(day):
                key = f"{payee['payee_id']}-{day:%Y%m%d}-000001"
                uetr = str(uuid.UUID(int=uuid.uuid5(uuid.NAMESPACE_OID, key).int, version=4))
                self._owed[code] = 0
                per_account[account.code].append(Instruction(key, owed, payee["name"], payee["iban"], uetr))
        for account_code, instructions in per_account.items():
            self.send(account_code, day, instructions)

    def send(self, account_code: str, day: dt.date, instructions: list[Instruction]) -> Path:
        account = self.setup.account(account_code)
        bank = self.setup.bank(account.bank)
        message_id = f"{account_code}-{day:%Y%m%d}".upper()
        self.sent.update({instruction.end_to_end_id: instruction for instruction in instructions})
        return self.drop(bank, f"{message_id}.xml", pain001(message_id, account, bank.bic, day, instructions))

    def drop(self, bank: BankProfile, name: str, text: str) -> Path:
        outbox = self.home / bank.outbox
        outbox.mkdir(parents=True, exist_ok=True)
        path = outbox / name
        path.write_text(text, encoding="utf-8")
        return path


@dataclass(frozen=True)
class Week:
    """A whole simulated period."""

    home: Path
    business: Business
    files: BusinessFiles
    setup: BankSetup
    reports: tuple[DayReport, ...]
    sent: dict[str, Instruction]


def simulate(root: Path, *, seed: int, payments: int, payees: int, anomalies: int, days: int = 5) -> Week:
    """Run a business and its banks for a week; the bank is opened anew every day, as a program would."""
    home = root / "home"
    business = Business(seed=seed, days=days, payments_per_day=payments, payees=payees)
    files = business.write(root / "business", home=home)
    customer = Customer(home, files)
    planned = plan(
        seed=seed,
        count=anomalies,
        days=business.days,
        setup=customer.setup,
        behaviour=business.behaviour,
        payouts=files.payouts,
    )
    reports = []
    for day in business.days:
        customer.pay(day)
        with Bank(home, customer.setup, seed=seed, behaviour=business.behaviour, anomalies=planned) as bank:
            bank.receive()
            reports.append(bank.close_day(day))
    return Week(home, business, files, customer.setup, tuple(reports), customer.sent)
