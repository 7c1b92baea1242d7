"""Account names of other programs: reversible for every code the books can hold."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import account_code, beancount_account

CODE = re.compile(r"[a-z]+(:[A-Za-z0-9._-]+)+")  # the check of ledger.account
LEGAL = re.compile(r"(Assets|Liabilities|Equity|Income|Expenses)(:[A-Z0-9][A-Za-z0-9-]*)+")  # beancount's own syntax
TYPES = ("asset", "liability", "equity", "income", "expense")
hard_segments = st.text(alphabet="aAxXzZdhu0-._", min_size=1, max_size=6)
codes = st.one_of(
    st.from_regex(CODE, fullmatch=True),
    st.builds(
        lambda word, rest: ":".join([word, *rest]),
        st.sampled_from(["assets", "expense", "expenses", "x"]),
        st.lists(hard_segments, min_size=1, max_size=3),
    ),
)


@pytest.mark.parametrize(
    ("code", "type_", "name"),
    [
        ("liabilities:payable:P000001", "liability", "Liabilities:Payable:P000001"),
        ("assets:bank:eur-payouts", "asset", "Assets:Bank:Eur-payouts"),
        ("expenses:acquirer-fees:eur", "expense", "Expenses:Acquirer-fees:Eur"),
        ("expense:fees", "expense", "Expenses:Z-expense:Fees"),
        ("assets:clearing:QR", "asset", "Assets:Clearing:QR"),
        ("assets:a.b_c", "asset", "Assets:X-a--db--uc"),
        ("liabilities:customer:17", "liability", "Liabilities:Customer:17"),
    ],
)
def test_names_are_what_a_reader_expects(code: str, type_: str, name: str) -> None:
    assert beancount_account(code, type_) == name


@given(code=codes, type_=st.sampled_from(TYPES))
def test_a_beancount_name_is_legal_and_gives_the_code_back(code: str, type_: str) -> None:
    name = beancount_account(code, type_)
    assert LEGAL.fullmatch(name), name
    assert account_code(name) == code


@given(first=codes, second=codes, type_=st.sampled_from(TYPES))
def test_two_codes_never_share_a_name(first: str, second: str, type_: str) -> None:
    assert (beancount_account(first, type_) == beancount_account(second, type_)) is (first == second)
