"""The books on a real Postgres against a model of dictionaries: random operations, shrunk when the two differ.

After every step: the same answer or the same refusal, the same balances, and `verify` finds nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from itertools import count
from typing import ClassVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from ledger import (
    Connection,
    Knowledge,
    NewEntry,
    NewPosting,
    NostroError,
    close_period,
    post_batch,
    publish,
    request_close_override,
    reverse,
    translate_errors,
    trial_balance,
    verify,
)
from nostro.database import Database
from tests.ledger_books import DAY, fresh_database
from tests.property.ledger_model import Model, ModelAccount, Refusal

DAYS = st.integers(-4, 4).map(lambda n: DAY + timedelta(days=n))
CODES = st.sampled_from([f"x:{n}" for n in range(6)])
ACCOUNTS = st.builds(
    ModelAccount,
    type=st.sampled_from(["asset", "liability", "income"]),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "JPY"]),
    floor_minor=st.sampled_from([None, None, None, 0, -500, 10]),
)
AMOUNTS = st.integers(1, 400)
TEXTS = st.sampled_from([None, None, "rent", 'with "quotes", {braces} and \\ back'])
_books = count(1)


def postings(draw: Callable[..., object], codes: list[str]) -> tuple[NewPosting, ...]:
    """Mostly two balanced legs; sometimes more, sometimes broken."""
    legs: list[NewPosting] = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):  # type: ignore[call-overload]
        debit, credit = draw(st.sampled_from(codes)), draw(st.sampled_from(codes))
        amount = draw(AMOUNTS)
        legs += [NewPosting(debit, amount), NewPosting(credit, -amount)]  # type: ignore[arg-type, operator]
    damage = draw(st.sampled_from([None] * 12 + ["unbalanced", "zero", "single", "none", "unknown"]))
    if damage == "unbalanced":
        legs[0] = replace(legs[0], amount_minor=legs[0].amount_minor + 1)
    elif damage == "zero":
        legs += [NewPosting(legs[0].account, 0)]
    elif damage == "single":
        legs = legs[:1]
    elif damage == "none":
        legs = []
    elif damage == "unknown":
        legs[0] = replace(legs[0], account="x:never-opened")
    return tuple(legs)


@st.composite
def batches(draw: Callable[..., object], codes: list[str]) -> list[NewEntry]:
    """One to five entries with different keys; sometimes one of them twice."""
    keys = draw(st.lists(st.integers(0, 40).map(lambda n: f"k{n}"), min_size=1, max_size=5, unique=True))
    batch = [
        NewEntry(str(key), draw(DAYS), postings(draw, codes), draw(TEXTS), draw(TEXTS))  # type: ignore[arg-type]
        for key in keys  # type: ignore[attr-defined]
    ]
    return batch + batch[:1] if draw(st.integers(0, 9)) == 0 else batch


class BooksMachine(RuleBasedStateMachine):
    """Every rule does the same to the books and to the model."""

    database: ClassVar[Database]
    people: ClassVar[dict[str, Connection]]

    def __init__(self) -> None:
        super().__init__()
        self.model = Model()
        for conn in self.people.values():
            conn.rollback()  # whatever a failing example left
        self.conn = self.people["app"]
        row = self.conn.execute("SELECT ledger.define_book(%s, 'EUR')", (f"book {next(_books)}",)).fetchone()
        assert row is not None
        self.book = int(str(row[0]))
        # A bank account that nobody certifies: closing needs a second person.
        self._open_raw("assets:bank:main", ModelAccount("asset", "EUR", None), control="nostro")
        self.conn.commit()

    def _open_raw(self, code: str, account: ModelAccount, control: str | None = None) -> None:
        with translate_errors(), self.conn.transaction():
            self.conn.execute(
                "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[])",
                (self.book, [code], [account.type], [account.currency], [False], [control], [account.floor_minor]),
            )

    def both(self, model: Callable[[], object], books: Callable[[], object]) -> object:
        """The model's answer equals the books', or both refuse for a reason the model names."""
        before = self.model.entries
        try:
            expected = model()
        except Refusal as refusal:
            with pytest.raises(refusal.classes) as caught:
                books()
            assert isinstance(caught.value, NostroError) and not caught.value.retryable
            assert self.model.entries is before
            return None
        assert books() == expected
        return expected

    @initialize(first=ACCOUNTS, second=ACCOUNTS)
    def begin(self, first: ModelAccount, second: ModelAccount) -> None:
        self.open_account("x:0", replace(first, floor_minor=None, currency="EUR"))
        self.open_account("x:1", replace(second, currency="EUR"))

    @rule(code=CODES, account=ACCOUNTS)
    def open_account(self, code: str, account: ModelAccount) -> None:
        self.both(lambda: self.model.open(code, account), lambda: self._open_raw(code, account))

    def _post(self, batch: list[NewEntry]) -> None:
        def books() -> Counter[tuple[str, bool]]:
            posted = post_batch(self.conn, book_id=self.book, entries=batch)
            assert [one.key for one in posted] == [one.key for one in batch]
            return Counter((one.key, one.is_new) for one in posted)

        self.both(
            lambda: Counter(zip([one.key for one in batch], self.model.post(batch), strict=True)),
            books,
        )

    @rule(data=st.data())
    def post(self, data: st.DataObject) -> None:
        self._post(data.draw(batches(sorted(self.model.accounts))))

    @precondition(lambda self: self.model.entries)
    @rule(data=st.data(), change=st.sampled_from(["nothing", "nothing", "date", "amount", "text", "order"]))
    def retry(self, data: st.DataObject, change: str) -> None:
        key = data.draw(st.sampled_from(sorted(self.model.entries)))
        known = self.model.entries[key]
        if known.reverses is not None:  # only `reverse` can repeat a reversal; a plain entry with its key conflicts
            change = "nothing"
        legs = tuple(NewPosting(code, amount) for code, amount in known.legs)
        entry = NewEntry(key, known.day, legs, known.description, known.reference)
        if change == "date":
            entry = replace(entry, effective_date=known.day + timedelta(days=1))
        elif change == "amount":
            entry = replace(entry, postings=tuple(replace(leg, amount_minor=leg.amount_minor * 2) for leg in legs))
        elif change == "text":
            entry = replace(entry, description=f"{known.description} again")
        elif change == "order":
            entry = replace(entry, postings=legs[::-1])
        self._post([entry])

    @rule(data=st.data(), day=DAYS, reason=st.sampled_from(["typing error", "wrong payee"]))
    def reverse(self, data: st.DataObject, day: date, reason: str) -> None:
        key = data.draw(st.sampled_from(["never posted", *sorted(self.model.entries)]))

        def books() -> None:
            reverse(self.conn, book_id=self.book, key=key, effective_date=day, reason=reason)

        self.both(lambda: self.model.reverse(key, day, reason), books)

    @rule(through=DAYS, person=st.sampled_from(["alice", "bob"]))
    def ask_override(self, through: date, person: str) -> None:
        through -= timedelta(days=4)
        self.model.request_override(through, person)
        request_close_override(self.people[person], book_id=self.book, through=through, reason="the bank is not live")

    @rule(through=DAYS, person=st.sampled_from(["alice", "bob"]))
    def close(self, through: date, person: str) -> None:
        through -= timedelta(days=4)
        self.both(
            lambda: self.model.close(through, person, certified=False),
            lambda: close_period(self.people[person], book_id=self.book, through=through),
        )

    @rule()
    def publish(self) -> None:
        self.model.publish(publish(self.conn))

    @rule(as_of=DAYS)
    def look_at_a_date(self, as_of: date) -> None:
        self._same_trial_balance(trial_balance(self.conn, book_id=self.book, as_of=as_of).rows, as_of=as_of)

    @precondition(lambda self: self.model.published)
    @rule(data=st.data(), as_of=st.none() | DAYS)
    def look_back(self, data: st.DataObject, as_of: date | None) -> None:
        seq, known_entries = data.draw(st.sampled_from(self.model.published))
        known = Knowledge(seq, datetime.now(UTC))
        rows = trial_balance(self.conn, book_id=self.book, as_of=as_of, known=known).rows
        self._same_trial_balance(rows, as_of=as_of, first=known_entries)

    def _same_trial_balance(self, rows: object, *, as_of: date | None = None, first: int | None = None) -> None:
        self.conn.rollback()
        said = {row.code: row.posted_minor for row in rows if row.posted_minor}  # type: ignore[attr-defined]
        expected = {code: self.model.balance(code, as_of=as_of, first=first) for code in self.model.accounts}
        assert said == {code: amount for code, amount in expected.items() if amount}

    @invariant()
    def balances_agree(self) -> None:
        rows = self.conn.execute(
            "SELECT code, posted_minor, balance_minor FROM ledger.account_balance"
            " WHERE book_id = %s AND starts_with(code, 'x:')",
            (self.book,),
        ).fetchall()
        self.conn.rollback()
        expected = {
            (code, self.model.balance(code), account.side * self.model.balance(code))
            for code, account in self.model.accounts.items()
        }
        assert set(rows) == expected

    @invariant()
    def verify_finds_nothing(self) -> None:
        assert verify(self.conn, book_id=self.book) == ()
        self.conn.rollback()


@pytest.fixture(scope="module")
def database(template: Database) -> Iterator[Database]:
    """One database for all examples; each has a book of its own."""
    with fresh_database(template, "nostro_test_stateful") as opened:
        yield opened


def test_the_books_follow_the_model(database: Database) -> None:
    with database.app() as app, database.login("alice") as alice, database.login("bob") as bob:
        BooksMachine.database = database
        BooksMachine.people = {"app": app, "alice": alice, "bob": bob}
        run_state_machine_as_test(
            BooksMachine,
            settings=settings(
                max_examples=200,
                stateful_step_count=40,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
