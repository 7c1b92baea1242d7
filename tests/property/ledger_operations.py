"""Steps of the stateful test: what is asked of the model and, in the same words, of the books.

Lives here: drawing a step that is mostly sound and sometimes not. Must not live here: what should come out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

from hypothesis import strategies as st

from ledger import (
    AccountMode,
    Connection,
    EntryStatus,
    HoldPosting,
    ModeOf,
    NewEntry,
    NewHold,
    NewPosting,
    close_period,
    expire_due,
    place_holds,
    post_batch,
    post_holds,
    post_independent,
    reopen_period,
    request_close_override,
    request_reopen,
    reverse,
    set_account_modes,
    soft_close_period,
    transaction,
    void_holds,
)
from tests.ledger_books import DAY
from tests.property.ledger_model import Model, ModelAccount, ModelEntry, ModelHold

Draw = Callable[[st.SearchStrategy[Any]], Any]
Batch = list[tuple[str, ModelEntry]]

NOON = datetime(2026, 11, 2, 12, tzinfo=UTC)
DAYS = st.integers(-4, 4).map(lambda n: DAY + timedelta(days=n))
CODES = st.sampled_from([f"x:{n}" for n in range(6)])
ACCOUNTS = st.builds(
    ModelAccount,
    type=st.sampled_from(["asset", "liability", "income"]),
    currency=st.sampled_from(["EUR", "EUR", "EUR", "JPY"]),
    floor=st.sampled_from([None, None, 0, 0, -500, 10]),
    ceiling=st.sampled_from([None, None, None, 600, 0, -1]),
)
AMOUNTS = st.integers(1, 400)
TEXTS = st.sampled_from([None, None, "rent", 'with "quotes", {braces} and \\ back'])
PEOPLE = st.sampled_from(["alice", "bob"])
KINDS = [
    *["open", "post", "post", "post", "post_each", "post_each", "retry", "retry", "reverse", "place", "place"],
    *[
        "post_holds",
        "post_holds",
        "void",
        "expire",
        "ask_override",
        "close",
        "soft_close",
        "ask_reopen",
        "reopen",
        "mode",
    ],
]


@dataclass(frozen=True, slots=True)
class Operation:
    """One step. Both callables answer alike; `at`: the business time it happens; `beside`: what the model does when
    another step ran at the same time and the books answered this."""

    login: str
    model: Callable[[Model], object]
    books: Callable[[Connection], object]
    at: datetime | None = None
    beside: Callable[[Model, object], object] | None = None

    def that_answered(self, told: object) -> Operation:
        """The same step for a model that stands beside another step."""
        beside = self.beside
        return self if beside is None else replace(self, model=lambda model: beside(model, told))


class OneOf:
    """Equal to each of these names: an entry that breaks several rules is refused for one of them."""

    def __init__(self, *names: str) -> None:
        self.names = names

    def __eq__(self, other: object) -> bool:
        return other in self.names

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return "|".join(self.names)


def open_account(conn: Connection, book: int, code: str, account: ModelAccount, *, control: str | None = None) -> None:
    """Open it, with its limits."""
    with transaction(conn):
        conn.execute(
            "SELECT ledger.open_accounts(%s, %s, %s, %s, %s, %s::text[], %s::bigint[], %s::bigint[])",
            (
                *(book, [code], [account.type], [account.currency], [False]),
                *([control], [account.floor], [account.ceiling]),
            ),
        )


def new_entry(key: str, entry: ModelEntry) -> NewEntry:
    """The entry as the books take it."""
    legs = tuple(NewPosting(code, amount) for code, amount in entry.legs)
    return NewEntry(key, entry.day, legs, entry.description, entry.reference)


def draw_legs(draw: Draw, codes: Sequence[str]) -> tuple[tuple[str, int], ...]:
    """Mostly two balanced legs; sometimes more, sometimes broken."""
    legs: list[tuple[str, int]] = []
    for _ in range(draw(st.sampled_from([1, 1, 1, 2]))):
        debit, credit, amount = draw(st.sampled_from(codes)), draw(st.sampled_from(codes)), draw(AMOUNTS)
        legs += [(debit, amount), (credit, -amount)]
    damage = draw(st.sampled_from([None] * 12 + ["unbalanced", "zero", "single", "none", "unknown"]))
    if damage == "unbalanced":
        legs[0] = (legs[0][0], legs[0][1] + 1)
    elif damage == "zero":
        legs += [(legs[0][0], 0)]
    elif damage == "single":
        legs = legs[:1]
    elif damage == "none":
        legs = []
    elif damage == "unknown":
        legs[0] = ("x:never-opened", legs[0][1])
    return tuple(legs)


def draw_batch(draw: Draw, model: Model) -> Batch:
    """One to five entries with different keys; sometimes one of them twice."""
    codes = sorted(model.accounts)
    keys = draw(st.lists(st.integers(0, 40).map("k{}".format), min_size=1, max_size=5, unique=True))
    batch = [(key, ModelEntry(draw(DAYS), draw_legs(draw, codes), draw(TEXTS), draw(TEXTS))) for key in keys]
    return batch + batch[:1] if draw(st.integers(0, 9)) == 0 else batch


def _draw_retry(draw: Draw, model: Model) -> Batch:
    key = draw(st.sampled_from(sorted(model.entries)))
    entry = model.entries[key]
    change = draw(st.sampled_from(["nothing", "nothing", "date", "amount", "text", "order"]))
    if change == "date":
        entry = replace(entry, day=entry.day + timedelta(days=1))
    elif change == "amount":
        entry = replace(entry, legs=tuple((code, amount * 2) for code, amount in entry.legs))
    elif change == "text":
        entry = replace(entry, description=f"{entry.description} again")
    elif change == "order":
        entry = replace(entry, legs=entry.legs[::-1])
    return [(key, replace(entry, reverses=None))]  # only `reverse` can repeat a reversal


def _posting(batch: Batch, book: int, login: str) -> Operation:
    def books(conn: Connection) -> object:
        posted = post_batch(conn, book_id=book, entries=[new_entry(*one) for one in batch])
        return sorted((one.key, one.is_new) for one in posted)

    def model(model: Model) -> object:
        return sorted(zip([key for key, _ in batch], model.post(batch, login == "bob"), strict=True))

    return Operation(login, model, books)


def post_operation(draw: Draw, model: Model, book: int) -> Operation:
    """Post a batch whole, as the application."""
    return _posting(draw_batch(draw, model), book, "service")


def _post_each(batch: Batch, book: int, login: str) -> Operation:
    def books(conn: Connection) -> object:
        outcomes = post_independent(conn, book_id=book, entries=[new_entry(*one) for one in batch])
        return [o.constraint if o.status is EntryStatus.REFUSED else o.status.value for o in outcomes]

    def model(model: Model) -> object:
        return [OneOf(*names) for names in model.post_each(batch, login == "bob")]

    return Operation(login, model, books)


def _reversal(draw: Draw, model: Model, book: int, login: str) -> Operation:
    key = draw(st.sampled_from(["never posted", *sorted(model.entries)]))
    day, reason = draw(DAYS), draw(st.sampled_from(["typing error", "wrong payee"]))

    def books(conn: Connection) -> None:
        reverse(conn, book_id=book, key=key, effective_date=day, reason=reason)

    return Operation(login, lambda model: void(model.reverse(key, day, reason, login == "bob")), books)


def void(_: object) -> None:
    """No answer."""


def _placing(draw: Draw, model: Model, book: int, now: datetime) -> Operation:
    def hold() -> ModelHold:
        minutes = draw(st.none() | st.integers(0, 10))
        expires = None if minutes is None else now + timedelta(minutes=minutes)
        return ModelHold(draw(st.sampled_from(sorted(model.accounts))), draw(AMOUNTS), expires)

    keys = draw(st.lists(st.integers(0, 9).map("h{}".format), min_size=1, max_size=3, unique=True))
    again = draw(st.booleans())
    batch = [(key, replace(model.holds[key], ended=None) if again and key in model.holds else hold()) for key in keys]

    def books(conn: Connection) -> object:
        holds = [NewHold(key, hold.account, hold.amount, hold.expires) for key, hold in batch]
        return [placed.is_new for placed in place_holds(conn, book_id=book, holds=holds)]

    return Operation("service", lambda model: model.place(batch), books)


def _post_holds(draw: Draw, model: Model, book: int, now: datetime, login: str) -> Operation:
    """Post one or two holds of an account by one entry that (mostly) draws just what they post."""
    key = draw(st.integers(0, 12).map("k{}".format))
    names = sorted(name for name, hold in model.holds.items() if hold.ended is None) or sorted(model.holds)
    name = draw(st.sampled_from([*names, "never placed"]))
    draws: dict[str, int | None] = {name: draw(st.none() | st.none() | AMOUNTS)}
    held = model.holds.get(name, ModelHold("x:0", 5))
    if held.ended and held.ended[2] in model.entries and draw(st.booleans()):  # the same again
        key = str(held.ended[2])
        draws, entry = {name: held.ended[1]}, replace(model.entries[key], reverses=None)
    else:
        second = [other for other in names if other != name and model.holds[other].account == held.account]
        if second and draw(st.booleans()):
            draws[draw(st.sampled_from(second))] = None
        drawn = sum(amount or model.holds.get(one, held).amount for one, amount in draws.items())
        drawn += draw(st.sampled_from([0] * 9 + [1]))
        codes = sorted(model.accounts)
        other = draw(st.sampled_from([code for code in codes if code != held.account] or codes))
        side = model.accounts[held.account].side
        legs = ((held.account, -side * drawn), (other, side * drawn))
        entry = ModelEntry(draw(DAYS), legs, draw(TEXTS), None)

    def books(conn: Connection) -> object:
        one = new_entry(key, entry)
        postings = [HoldPosting(name, one, amount) for name, amount in draws.items()]
        return [posted.is_new for posted in post_holds(conn, book_id=book, postings=postings, at=now)]

    return Operation(login, lambda model: model.post_holds(draws, key, entry, now, login == "bob"), books)


def _voiding(draw: Draw, model: Model, book: int, now: datetime) -> Operation:
    known = sorted(model.holds)
    keys = draw(st.lists(st.sampled_from([*known, *known, "never placed"]), min_size=1, max_size=2, unique=True))
    return Operation(
        "service", lambda model: model.void(keys), lambda conn: void_holds(conn, book_id=book, keys=keys, at=now)
    )


def _expiry(draw: Draw, book: int, now: datetime) -> Operation:
    later = now + timedelta(minutes=draw(st.integers(0, 5)))
    return Operation(
        "service",
        lambda model: model.expire(later),
        lambda conn: set(expire_due(conn, book_id=book, now=later)),
        at=later,
        # A hold that somebody tries to resolve at this moment is left to them, even when they are refused.
        beside=lambda model, told: model.expire(later, told if isinstance(told, set) else set()),
    )


def _mode(draw: Draw, model: Model, book: int) -> Operation:
    code, mode = draw(st.sampled_from(sorted(model.accounts))), draw(st.sampled_from(list(AccountMode)))
    change = ModeOf(code, mode, 3)
    return Operation(
        "service",
        lambda model: model.set_mode(code, mode.value),
        lambda conn: set_account_modes(conn, book_id=book, modes=[change]),
    )


def _period_step(draw: Draw, book: int, kind: str) -> Operation:
    day: date = draw(DAYS) - timedelta(days=4)
    person: str = draw(PEOPLE)
    reason = "the bank is not live"
    if kind == "ask_override":
        return Operation(
            person,
            lambda model: model.request_override(day, person),
            lambda conn: request_close_override(conn, book_id=book, through=day, reason=reason),
        )
    if kind == "close":
        return Operation(
            person,
            lambda model: model.close(day, person),
            lambda conn: close_period(conn, book_id=book, through=day),
        )
    if kind == "soft_close":
        return Operation(
            person,
            lambda model: model.soft_close(day),
            lambda conn: soft_close_period(conn, book_id=book, through=day),
        )
    if kind == "ask_reopen":
        return Operation(
            person,
            lambda model: model.request_reopen(day, person),
            lambda conn: request_reopen(conn, book_id=book, from_date=day, reason=reason),
        )
    return Operation(
        person,
        lambda model: model.reopen(day, person, person == "bob"),
        lambda conn: reopen_period(conn, book_id=book, from_date=day),
    )


def draw_operation(draw: Draw, model: Model, book: int, now: datetime, kind: str) -> Operation:
    """A step of this kind; where there is nothing yet to retry, a posting."""
    login = draw(st.sampled_from(["service", "service", "bob"]))
    if kind == "open":
        code, account = draw(CODES), draw(ACCOUNTS)
        return Operation(
            "service", lambda model: model.open(code, account), lambda conn: open_account(conn, book, code, account)
        )
    if kind == "retry" and model.entries:
        return _posting(_draw_retry(draw, model), book, login)
    if kind == "post_each":
        return _post_each(draw_batch(draw, model), book, login)
    if kind == "reverse":
        return _reversal(draw, model, book, login)
    if kind == "place":
        return _placing(draw, model, book, now)
    if kind == "post_holds":
        return _post_holds(draw, model, book, now, login)
    if kind == "void":
        return _voiding(draw, model, book, now)
    if kind == "expire":
        return _expiry(draw, book, now)
    if kind == "mode":
        return _mode(draw, model, book)
    if kind in {"ask_override", "close", "soft_close", "ask_reopen", "reopen"}:
        return _period_step(draw, book, kind)
    return _posting(draw_batch(draw, model), book, login)
