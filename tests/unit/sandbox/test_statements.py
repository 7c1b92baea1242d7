"""The banks' statements: valid against the schema, read by pyiso20022, balances proven, references kept."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyiso20022.camt.camt_053_001_08 as camt053
import pyiso20022.camt.camt_054_001_08 as camt054
from lxml import etree
from sandbox_week import Week
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser

from sandbox import read_truth

_CONTEXT = XmlContext()  # what xsdata learns of a class, once


def messages(week: Week, pattern: str) -> list[Path]:
    return sorted(week.home.glob(f"bank/*/inbox/{pattern}"))


def statements(week: Week, account: str = "*") -> Iterator[Any]:
    iban = "*" if account == "*" else week.setup.account(account).iban
    for path in messages(week, f"camt.053_{iban}_*"):
        document = XmlParser(context=_CONTEXT).from_bytes(path.read_bytes(), camt053.Document)
        yield from document.bk_to_cstmr_stmt.stmt


def signed(node: Any) -> Decimal:
    amount: Decimal = node.amt.value
    return amount if node.cdt_dbt_ind.value == "CRDT" else -amount


def test_statements_and_notifications_are_valid(week: Week, schema: Callable[[str], etree.XMLSchema]) -> None:
    for message in ("camt.053", "camt.054"):
        xsd = schema(f"{message}.001.08")
        paths = messages(week, f"{message}_*")
        assert len(paths) >= 15
        for path in paths:
            xsd.assertValid(etree.parse(path))


def test_opening_and_entries_make_the_closing(week: Week) -> None:
    for statement in statements(week):
        balances = {balance.tp.cd_or_prtry.cd: signed(balance) for balance in statement.bal}
        moved = sum((signed(entry) for entry in statement.ntry), Decimal(0))
        assert balances["OPBD"] + moved == balances["CLBD"]


def test_statements_follow_each_other(week: Week) -> None:
    for account in week.setup.accounts:
        by_id = {statement.id: statement for statement in statements(week, account.code)}
        chain = sorted(by_id.values(), key=lambda statement: int(statement.elctrnc_seq_nb))
        assert [int(statement.elctrnc_seq_nb) for statement in chain] == [1, 2, 3, 4, 5]
        for before, after in itertools.pairwise(chain):
            assert signed(before.bal[1]) == signed(after.bal[0])


def test_details_sum_to_their_entry_and_references_are_unique(week: Week) -> None:
    seen: Counter[tuple[str, str]] = Counter()
    for statement in statements(week):
        for entry in statement.ntry:
            details = [detail for part in entry.ntry_dtls for detail in part.tx_dtls]
            refs = {entry.acct_svcr_ref} | {detail.refs.acct_svcr_ref for detail in details}
            seen.update((statement.id, ref) for ref in refs)
            if details:
                assert sum((detail.amt.value for detail in details), Decimal(0)) == entry.amt.value
    repeats = {truth.item_ref for truth in read_truth(week.home) if truth.code == "STATEMENT_DUP"}
    assert all(count == 1 or statement in repeats for (statement, _), count in seen.items())


def test_each_account_is_booked_in_its_style(week: Week) -> None:
    styles = {}
    for account in ("eur-payouts", "gbp-main", "czk-main"):
        batches = [
            part
            for statement in statements(week, account)
            for entry in statement.ntry
            for part in entry.ntry_dtls
            if part.btch is not None
        ]
        styles[account] = (len(batches) > 0, any(part.tx_dtls for part in batches))
    assert styles == {"eur-payouts": (True, True), "gbp-main": (False, False), "czk-main": (True, False)}


def test_returns_name_the_payment_and_the_reason(week: Week) -> None:
    returned = [
        detail
        for statement in {s.id: s for s in statements(week)}.values()
        for entry in statement.ntry
        for part in entry.ntry_dtls
        for detail in part.tx_dtls
        if detail.rtr_inf is not None
    ]
    assert len(returned) == sum(report.returned for report in week.reports) > 0
    for detail in returned:
        assert detail.refs.end_to_end_id in week.sent
        assert detail.rtr_inf.rsn.cd
        assert detail.cdt_dbt_ind.value == "CRDT"


def test_notifications_repeat_the_incoming_credits(week: Week) -> None:
    for path in messages(week, "camt.054_*"):
        document = XmlParser(context=_CONTEXT).from_bytes(path.read_bytes(), camt054.Document)
        (note,) = document.bk_to_cstmr_dbt_cdt_ntfctn.ntfctn
        assert note.ntry
        assert all(entry.cdt_dbt_ind.value == "CRDT" for entry in note.ntry)


def test_noise_leaves_something_to_find_the_payment_by(week: Week) -> None:
    """Payments without their EndToEndId keep UETR or the payee's account, except ambiguous ones."""
    ambiguous = {t.item_ref for t in read_truth(week.home) if t.code == "AMBIGUOUS"}
    by_uetr = {instruction.uetr for instruction in week.sent.values()}
    by_party = {(instruction.iban, instruction.amount_minor) for instruction in week.sent.values()}
    bare = noisy = 0
    for account in ("eur-payouts", "gbp-main"):
        for statement in {s.id: s for s in statements(week, account)}.values():
            for entry in statement.ntry:
                if entry.cdt_dbt_ind.value == "CRDT" or "ICDT" not in str(entry.bk_tx_cd.domn.fmly.cd):
                    continue
                for detail in (d for part in entry.ntry_dtls for d in part.tx_dtls):
                    if detail.refs.end_to_end_id in week.sent:
                        continue
                    if detail.rltd_pties is None:
                        bare += 1
                    else:
                        noisy += 1
                        party = (detail.rltd_pties.cdtr_acct.id.iban, int(detail.amt.value * 100))
                        assert detail.refs.uetr in by_uetr or party in by_party
    assert bare == 2 * len(ambiguous)
    assert noisy > 0
