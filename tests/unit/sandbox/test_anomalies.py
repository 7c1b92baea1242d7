"""Injected anomalies: exact counts, each one visible in the files in its own way, none marked."""

from __future__ import annotations

import datetime as dt
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree
from sandbox_week import Week, simulate

from sandbox import BankBehaviour, Kind, SandboxError, Truth, plan, read_truth

DAYS = tuple(dt.date(2026, 11, day) for day in (2, 3, 4, 5, 6))


def truths(week: Week, kind: Kind) -> list[Truth]:
    found = [truth for truth in read_truth(week.home) if truth.kind_no == kind.value]
    assert found, kind
    return found


def entries(week: Week, truth: Truth) -> list[etree._Element]:
    """The entries of the account's statement of the truth's day (camt.053), repeated statements aside."""
    iban = week.setup.account(truth.bank_account).iban
    path = min(week.home.glob(f"bank/*/inbox/camt.053_{iban}_{truth.date}_*"))
    return list(etree.parse(path).getroot().iter("{*}Ntry"))


def unit(week: Week, truth: Truth) -> etree._Element:
    """The smallest element that carries the truth's reference: a detail, or else the entry."""
    for entry in entries(week, truth):
        details = list(entry.iter("{*}TxDtls"))
        for node in [*details, entry] if len(details) > 1 else [entry]:
            if node.findtext(".//{*}AcctSvcrRef") == truth.item_ref:
                return node
    raise AssertionError(f"{truth} is on no statement")


def amount(node: etree._Element) -> Decimal:
    return Decimal(str(node.findtext("{*}Amt")))


def text(node: etree._Element, name: str) -> str | None:
    return node.findtext(".//{*}" + name)


@pytest.mark.parametrize("count", [0, 12, 200])
@pytest.mark.parametrize("size", [(200, 40), (2000, 400)])
def test_exactly_as_many_as_asked(tmp_path: Path, count: int, size: tuple[int, int]) -> None:
    week = simulate(tmp_path, seed=count + size[0], payments=size[0], payees=size[1], anomalies=count)
    found = read_truth(week.home)
    assert len(found) == count
    assert len({(truth.item_ref, truth.code) for truth in found}) == count
    if count == 12:
        assert len({truth.kind_no for truth in found}) == 12
    if count == 200:
        assert len({truth.kind_no for truth in found}) == 16


def test_twelve_are_of_twelve_kinds_and_all_sixteen_occur(week: Week) -> None:
    assert {truth.kind_no for truth in read_truth(week.home)} == {kind.value for kind in Kind}
    assert len(read_truth(week.home)) == 48


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(0, 300), days=st.integers(1, 5))
def test_a_plan_has_the_count_and_respects_the_days(week: Week, seed: int, count: int, days: int) -> None:
    chosen = DAYS[:days]
    planned = plan(
        seed=seed,
        count=count,
        days=chosen,
        setup=week.setup,
        behaviour=week.business.behaviour,
        payouts=week.files.payouts,
    )
    assert len(planned.items) == count
    kinds = Counter(item.kind for item in planned.items)
    for item in planned.items:
        assert item.day in chosen
        assert item.day <= item.last_day
        if item.kind in (Kind.MISSING_BANK, Kind.DATE_OUT_OF_WINDOW):
            assert chosen.index(item.day) + 2 < len(chosen)
        if item.kind is Kind.PARTIAL:
            assert item.day == chosen[-1]
        if item.kind is Kind.STATEMENT_DUP:
            assert item.day > chosen[0]
    if count <= 10 and days == 5:
        assert set(kinds.values()) <= {1}


def test_an_impossible_plan_is_refused(week: Week) -> None:
    with pytest.raises(SandboxError, match="-1"):
        plan(seed=1, count=-1, days=DAYS, setup=week.setup, behaviour=BankBehaviour())
    with pytest.raises(SandboxError, match="0 days"):
        plan(seed=1, count=1, days=(), setup=week.setup, behaviour=BankBehaviour())


def test_duplicates_repeat_a_payment_under_a_later_reference(week: Week) -> None:
    for truth in truths(week, Kind.DUP_BANK):
        extra = unit(week, truth)
        end_to_end = text(extra, "EndToEndId")
        refs = [
            str(detail.findtext("{*}Refs/{*}AcctSvcrRef"))
            for entry in entries(week, truth)
            for detail in entry.iter("{*}TxDtls")
            if text(detail, "EndToEndId") == end_to_end
        ]
        assert end_to_end in week.sent
        assert len(refs) == 2
        assert max(refs) == truth.item_ref


def test_strangers_carry_no_reference_of_ours(week: Week) -> None:
    payouts = {payout.payout_id for payout in week.files.payouts}
    for kind in (Kind.UNAUTHORISED_DEBIT, Kind.UNIDENTIFIED_RECEIPT):
        for truth in truths(week, kind):
            node = unit(week, truth)
            assert text(node, "EndToEndId") not in week.sent.keys() | payouts
            assert text(node, "CdtDbtInd") == ("DBIT" if kind is Kind.UNAUTHORISED_DEBIT else "CRDT")


def test_mismatched_amounts_are_transpositions(week: Week) -> None:
    for truth in truths(week, Kind.AMOUNT_MISMATCH):
        node = unit(week, truth)
        ordered = week.sent[str(text(node, "EndToEndId"))].amount_minor
        booked = int(amount(node) * 100)
        assert booked != ordered
        assert sorted(str(booked)) == sorted(str(ordered))


def test_missing_payments_are_on_no_statement(week: Week) -> None:
    everything = b"".join(path.read_bytes() for path in week.home.glob("bank/*/inbox/camt.053_*"))
    for truth in truths(week, Kind.MISSING_BANK):
        assert truth.item_ref in week.sent
        assert truth.item_ref.encode() not in everything
        assert truth.date <= DAYS[2]


def test_late_payments_arrive_outside_the_window(week: Week) -> None:
    for truth in truths(week, Kind.DATE_OUT_OF_WINDOW):
        node = unit(week, truth)
        end_to_end = str(text(node, "EndToEndId"))
        paid = dt.datetime.strptime(end_to_end.split("-")[1], "%Y%m%d").replace(tzinfo=dt.UTC).date()
        assert DAYS.index(truth.date) - DAYS.index(paid) == 2
        assert int(amount(node) * 100) == week.sent[end_to_end].amount_minor


def test_residual_batches_lack_one_member(week: Week) -> None:
    for truth in truths(week, Kind.BATCH_RESIDUAL):
        line = unit(week, truth)
        assert not list(line.iter("{*}TxDtls"))
        rejected = {
            str(text(node, "OrgnlEndToEndId"))
            for path in week.home.glob("bank/*/inbox/pain.002_CZK*")
            for node in etree.parse(path).getroot().iter("{*}TxInfAndSts")
        }
        stamp = f"-{truth.date:%Y%m%d}-"
        czech = {payee.iban for payee in week.business.payees if payee.currency == "CZK"}
        members = [
            instruction.amount_minor
            for key, instruction in week.sent.items()
            if stamp in key and instruction.iban in czech and key not in rejected
        ]
        lost = sum(members) - int(amount(line) * 100)
        assert lost in members


@pytest.mark.parametrize(
    "kind", [Kind.FEE_DIFF, Kind.WRONG_ACCOUNT, Kind.MISSING_LEDGER, Kind.OVERPAYMENT, Kind.ROUNDING, Kind.PARTIAL]
)
def test_bent_payouts(week: Week, kind: Kind) -> None:
    payouts = {payout.payout_id: payout for payout in week.files.payouts}
    for truth in truths(week, kind):
        node = unit(week, truth)
        payout = payouts[str(text(node, "EndToEndId"))]
        off = int(amount(node) * 100) - payout.net_minor
        reported = list(week.home.glob(f"bank/*/inbox/psp-{payout.payout_id}.csv"))
        assert bool(reported) == (kind is not Kind.MISSING_LEDGER)
        if kind is Kind.FEE_DIFF:
            assert Decimal(str(text(node, "TtlChrgsAndTaxAmt"))) * 100 == -off > 1
        elif kind is Kind.WRONG_ACCOUNT:
            assert (truth.bank_account, payout.bank_account, off) == ("eur-payouts", "eur-collect", 0)
        elif kind is Kind.OVERPAYMENT:
            assert off > 1
        elif kind is Kind.ROUNDING:
            assert abs(off) == 1
        elif kind is Kind.PARTIAL:
            parts = [e for e in entries(week, truth) if text(e, "EndToEndId") == payout.payout_id]
            assert len(parts) >= 2
            assert sum(amount(part) for part in parts) * 100 < payout.net_minor
            assert truth.date == DAYS[-1]
            assert truth.item_ref == min(str(text(part, "AcctSvcrRef")) for part in parts)


def test_fees_outside_the_tariff(week: Week) -> None:
    agreed = {(tariff.code, tariff.amount_minor) for bank in week.setup.banks for tariff in bank.tariff}
    for truth in truths(week, Kind.BANK_ORIGINATED):
        node = unit(week, truth)
        code = "/".join(str(text(node, f"Domn/{{*}}{part}")) for part in ("Cd", "Fmly/{*}Cd", "Fmly/{*}SubFmlyCd"))
        assert code == "ACMT/MDOP/CHRG"
        assert (code, int(amount(node) * 100)) not in agreed


def test_repeated_statements_come_under_another_name_and_message(week: Week) -> None:
    for truth in truths(week, Kind.STATEMENT_DUP):
        same = [
            path.read_text(encoding="utf-8")
            for path in sorted(week.home.glob("bank/*/inbox/camt.053_*"))
            if f"<Stmt><Id>{truth.item_ref}</Id>" in path.read_text(encoding="utf-8")
        ]
        assert len(same) == 2
        assert same[0][same[0].index("<Stmt>") :] == same[1][same[1].index("<Stmt>") :]
        assert same[0] != same[1]


def test_nothing_in_the_exchanged_files_names_an_anomaly(week: Week) -> None:
    words = re.compile("|".join(kind.name for kind in Kind) + "|anomal|sandbox|simul", re.IGNORECASE)
    for path in (week.home / "bank").rglob("*"):
        if path.is_file():
            assert not words.search(path.name)
            assert not words.search(path.read_text(encoding="utf-8")), path.name


def test_a_victim_has_one_anomaly_and_is_neither_rejected_nor_returned(week: Week) -> None:
    refused = {
        str(text(node, "OrgnlEndToEndId"))
        for path in week.home.glob("bank/*/inbox/pain.002_*")
        for node in etree.parse(path).getroot().iter("{*}TxInfAndSts")
    }
    returned = {
        str(text(node, "EndToEndId"))
        for path in week.home.glob("bank/*/inbox/camt.053_*")
        for node in etree.parse(path).getroot().iter("{*}TxDtls")
        if node.find("{*}RtrInf") is not None
    }
    victims = []
    for truth in read_truth(week.home):
        if truth.code == "MISSING_BANK":
            victims.append(truth.item_ref)
        elif truth.code in ("DUP_BANK", "AMOUNT_MISMATCH", "DATE_OUT_OF_WINDOW"):
            victims.append(str(text(unit(week, truth), "EndToEndId")))
    assert len(victims) == len(set(victims))
    assert not set(victims) & (refused | returned)


def test_the_product_does_not_know_where_the_truth_is() -> None:
    root = Path(__file__).parents[3]
    words = re.compile(r"truth\.jsonl|read_truth|sandbox/|^\s*(from|import) sandbox", re.MULTILINE)
    sources = [path for package in ("ledger", "settlement", "recon") for path in (root / package).rglob("*.py")]
    assert sources
    for path in sources:
        assert not words.search(path.read_text(encoding="utf-8")), path
