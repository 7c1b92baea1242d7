"""The synthetic marketplace: exact journals, valid identifiers, enough payouts, same seed same bytes."""

from __future__ import annotations

import csv
import datetime as dt
from collections import Counter, defaultdict
from pathlib import Path

import pytest
import schwifty
from sandbox_week import Week

from ledger import parse_amount_minor
from sandbox import Business, SandboxError


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_every_journal_entry_balances_and_has_its_own_key(week: Week) -> None:
    seen: set[str] = set()
    for journal in week.files.journals:
        sums: dict[str, int] = defaultdict(int)
        currencies: dict[str, set[str]] = defaultdict(set)
        for row in rows(journal.path):
            sums[row["entry_key"]] += parse_amount_minor(row["amount"], 2)
            currencies[row["entry_key"]].add(row["currency"])
        assert set(sums.values()) == {0}
        assert all(len(codes) == 1 for codes in currencies.values())
        assert not seen & sums.keys()
        seen |= sums.keys()


def test_a_day_has_exactly_the_sales_asked_for_and_every_kind_of_event(week: Week) -> None:
    kinds: Counter[str] = Counter()
    for journal in week.files.journals:
        keys = {row["entry_key"] for row in rows(journal.path)}
        kinds.update(key.split(":")[0] for key in keys)
        if not journal.prior:
            assert sum(key.startswith("sale:") for key in keys) == week.business.payments_per_day
    assert set(kinds) == {"opening", "sale", "refund", "chargeback", "reserve", "release"}


def test_receivables_reported_by_acquirers_equal_the_books(week: Week) -> None:
    """Σ over all payouts of net + fees = the receivables the journals built up, by acquirer and currency."""
    booked: Counter[str] = Counter()
    for journal in week.files.journals:
        for row in rows(journal.path):
            if row["account"].startswith("assets:receivable:"):
                booked[row["account"]] += parse_amount_minor(row["amount"], 2)
    reported: Counter[str] = Counter()
    for payout in week.files.payouts:
        account = f"assets:receivable:{payout.acquirer}:{payout.currency.lower()}"
        reported[account] += payout.net_minor + payout.fees_minor
    assert booked == reported


def test_enough_payouts_every_day_with_unique_ids(week: Week) -> None:
    ids = [payout.payout_id for payout in week.files.payouts]
    assert len(ids) == len(set(ids))
    assert max(map(len, ids)) <= 35
    per_day = Counter((payout.payout_date, payout.currency) for payout in week.files.payouts)
    for day in week.business.days:
        for currency in week.business.currencies:
            assert per_day[day, currency] >= 12
    assert all(payout.net_minor > 0 for payout in week.files.payouts)


def test_accounts_of_payees_banks_and_acquirers_are_valid(week: Week) -> None:
    numbers = [payee.iban for payee in week.business.payees]
    numbers += [account.iban for account in week.setup.accounts]
    numbers += [acquirer.iban for acquirer in week.setup.acquirers]
    assert len(numbers) == len(set(numbers))
    for number in numbers:
        schwifty.IBAN(number, validate_bban=True)
    for payee in week.business.payees:
        schwifty.BIC(payee.bic)
        assert len(payee.name) <= 66


def test_names_exercise_transliteration(week: Week) -> None:
    names = "".join(payee.name for payee in week.business.payees)
    assert set("üßżł'&é") & set(names) >= set("ü'&")


def test_same_arguments_same_bytes(tmp_path: Path) -> None:
    for name in ("one", "two", "other"):
        seed = 2 if name == "other" else 1
        Business(seed=seed, days=2, payments_per_day=60, payees=40).write(tmp_path / name, home=tmp_path / name)

    def content(name: str) -> dict[str, bytes]:
        folder = tmp_path / name
        return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}

    assert content("one") == content("two")
    assert content("one") != content("other")


def test_prior_journals_come_first_and_cover_the_first_payouts(week: Week) -> None:
    assert [journal.prior for journal in week.files.journals] == [True, True] + [False] * 5
    assert {payout.payout_date for payout in week.files.payouts} >= set(week.business.days)


@pytest.mark.parametrize(
    ("arguments", "word"),
    [
        ({"start": dt.date(2026, 11, 3)}, "Monday"),
        ({"currencies": ("EUR", "USD")}, "USD"),
        ({"payees": 3}, "payees"),
        ({"days": 0}, "day"),
    ],
)
def test_impossible_business_is_refused(arguments: dict[str, object], word: str) -> None:
    with pytest.raises(SandboxError, match=word):
        Business(**arguments)  # type: ignore[arg-type]
