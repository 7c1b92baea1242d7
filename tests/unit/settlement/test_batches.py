"""How payments become batches and files, and the rules of a file with several batches."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from types import SimpleNamespace
from typing import cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from iso_samples import PROFILES, credit_transfers, key, limits, payment_file

from settlement.composing import Obligation, RunFrame, parts
from settlement.iso20022 import (
    PaymentFileError,
    Totals,
    check_business_rules,
    gate_file,
    payment_information_id,
    render,
)

SEPA = PROFILES[0]
MAXIMA = st.none() | st.integers(1, 6)
OWED = st.lists(st.tuples(st.sampled_from("AABC"), st.integers(1, 100)), max_size=25)


@given(owed=OWED, several=st.booleans(), most=st.integers(1, 8), most_minor=MAXIMA, of_batch=MAXIMA, batch_minor=MAXIMA)
def test_files_and_batches_hold_what_the_bank_takes_and_lose_nothing(
    owed: list[tuple[str, int]],
    several: bool,
    most: int,
    most_minor: int | None,
    of_batch: int | None,
    batch_minor: int | None,
) -> None:
    most_minor, batch_minor = (None if m is None else 30 * m for m in (most_minor, batch_minor))
    bank = SimpleNamespace(several_batches=several, max_transactions=most, max_batch_transactions=of_batch)
    frame = cast(RunFrame, SimpleNamespace(bank=bank, max_batch_total_minor=batch_minor))
    given_payments = [obligation(n, bearer, amount) for n, (bearer, amount) in enumerate(sorted(owed), 1)]
    files = list(parts(frame, given_payments, lambda one: one.charge_bearer, max_total_minor=most_minor))
    assert [one for file in files for batch in file for one in batch] == given_payments
    for file in files:
        everything = [one for batch in file for one in batch]
        assert fits(everything, most, most_minor)
        assert several or len(file) == 1
        for batch in file:
            assert len({one.charge_bearer for one in batch}) == 1
            assert fits(batch, of_batch, batch_minor)
    # No batch or file ends before it must.
    for earlier, later in pairwise(batch for file in files for batch in file):
        more = [*earlier, later[0]]
        alike = earlier[-1].charge_bearer == later[0].charge_bearer and fits(more, of_batch, batch_minor)
        file_of_earlier = next(file for file in files if earlier in file)
        room = fits([one for batch in file_of_earlier for one in batch] + [later[0]], most, most_minor)
        assert later in file_of_earlier or not (room and (several or alike))
        assert not (alike and later in file_of_earlier)


def obligation(number: int, bearer: str, amount_minor: int) -> Obligation:
    nothing = dict.fromkeys(("bic", "country", "town", "street", "postcode"))
    return Obligation(
        obligation_id=number, name="N", iban="I", amount_minor=amount_minor, charge_bearer=bearer, **nothing
    )


def fits(payments: list[Obligation], most: int | None, most_minor: int | None) -> bool:
    total_minor = sum(one.amount_minor for one in payments)
    return len(payments) == 1 or (
        (most is None or len(payments) <= most) and (most_minor is None or total_minor <= most_minor)
    )


def test_ids_of_batches_differ_from_the_files_when_there_are_several() -> None:
    assert payment_information_id(key()) == payment_information_id(key(), 1, of=1)
    names = [payment_information_id(key(), n, of=12) for n in range(1, 13)]
    assert len({payment_information_id(key()), *names}) == 13 and all(len(name) <= 35 for name in names)
    for wrong in (0, 13):
        with pytest.raises(ValueError, match="does not fit"):
            payment_information_id(key(), wrong, of=12)


def test_rules_see_counts_sums_ids_and_maxima_of_every_group() -> None:
    payments = credit_transfers(SEPA)
    single = payment_file(SEPA)
    first = replace(single.groups[0], payment_information_id="ONE")
    file = replace(single, groups=(first, replace(first, payment_information_id="TWO")))
    totals = Totals.of_groups([payments[:2], payments[2:]])

    def broken(file: object = file, totals: Totals = totals, **bounds: int) -> list[tuple[str, str]]:
        found = check_business_rules(file, payments, replace(limits(SEPA), **bounds), totals)  # type: ignore[arg-type]
        return [(finding.rule, finding.place) for finding in found]

    assert broken() == []
    assert broken(max_groups=1) == [("group-count", "file")]
    assert broken(max_group_transactions=2) == [("payment-count", "group 2")]
    assert broken(max_group_total_minor=1000) == [("total", "group 2")]
    assert broken(replace(file, groups=(first, first))) == [("payment-information-id-unique", "group 2")]
    shifted = Totals(totals.count, totals.total_minor, (Totals(3, 5), Totals(2, 5)))
    assert broken(totals=shifted) == [("totals", "group 1"), ("totals", "group 2")]
    empty = Totals.of_groups([payments, []])
    assert broken(totals=empty) == [("payment-count", "group 2")]
    misdated = replace(
        file, groups=(first, replace(file.groups[1], execution_date=first.execution_date.replace(day=1)))
    )
    assert broken(misdated) == [("execution-date-open", "group 2")]
    with pytest.raises(ValueError, match="another number"):
        check_business_rules(file, payments, limits(SEPA))
    with pytest.raises(ValueError, match="one currency"):
        replace(file, groups=(first, replace(first, currency="USD")))


def test_the_writer_refuses_totals_that_groups_do_not_have() -> None:
    payments = credit_transfers(SEPA)
    single = payment_file(SEPA)
    file = replace(single, groups=(single.groups[0],) * 2)
    totals = Totals.of_groups([payments[:2], payments[2:]])
    content = render(file, payments, totals)
    assert gate_file(content, file, payments, totals) == []
    assert "holds 2 groups" in str(gate_file(content, single, payments, Totals.of(payments))[0])
    with pytest.raises(PaymentFileError, match="totals of 1"):
        render(file, payments)
    wrong = replace(totals, groups=(totals.groups[1], totals.groups[0]))
    with pytest.raises(PaymentFileError, match="count them again"):
        render(file, payments, wrong)
    moved = content.replace(b"</CdtTrfTxInf></PmtInf><PmtInf>", b"</CdtTrfTxInf><!-- --></PmtInf><PmtInf>", 1)
    assert gate_file(moved, file, payments, totals) != []
