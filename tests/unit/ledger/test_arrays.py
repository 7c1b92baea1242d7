"""Binary array parameters: what Postgres reads back is what was given, and is what psycopg's own arrays give."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ledger import AmountError, Connection
from ledger.arrays import amount_array, date_array, int4_array, nullable_text_array, text_array
from nostro.database import Database
from tests.ledger_books import fresh_database

INT4 = st.integers(-(2**31), 2**31 - 1)
INT8 = st.integers(-(2**63), 2**63 - 1)
TEXT = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=30)


@pytest.fixture(scope="module")
def conn(template: Database) -> Iterator[Connection]:
    with fresh_database(template, "nostro_test_arrays") as database, database.app() as opened:
        yield opened


def back(conn: Connection, parameter: object) -> object:
    """The array as Postgres understood it."""
    row = conn.execute("SELECT %s", (parameter,)).fetchone()
    assert row is not None
    return row[0]


def test_round_trip(conn: Connection) -> None:
    @given(st.lists(INT4), st.lists(INT8), st.lists(st.dates()), st.lists(TEXT), st.lists(st.none() | TEXT))
    def check(
        numbers: list[int], amounts: list[int], days: list[date], texts: list[str], gaps: list[str | None]
    ) -> None:
        assert back(conn, int4_array(numbers)) == numbers
        assert back(conn, amount_array(amounts)) == amounts
        assert back(conn, date_array(days)) == days
        assert back(conn, text_array(texts)) == texts
        nullable = nullable_text_array(gaps)
        assert (nullable is None) == all(text is None for text in gaps)
        if nullable is not None:
            assert back(conn, nullable) == gaps

    check()


def test_an_amount_too_large_is_named() -> None:
    with pytest.raises(AmountError, match="9223372036854775808"):
        amount_array([1, 2**63])
