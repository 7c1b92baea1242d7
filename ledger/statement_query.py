"""The query of a whole account statement, put together with SQLAlchemy Core from what the caller asks for.

Apart from `ledger.balances`, because SQLAlchemy takes longer to load than most commands take to run.
"""

from __future__ import annotations

from datetime import date

from sqlalchemy import BigInteger, Column, Date, Integer, MetaData, String, Table, and_, select
from sqlalchemy.dialects import postgresql

_meta = MetaData(schema="ledger")
_posting = Table(
    "account_posting",
    _meta,
    Column("batch_id", BigInteger),
    Column("posting_id", BigInteger),
    Column("entry_id", BigInteger),
    Column("account_id", Integer),
    Column("amount_minor", BigInteger),
    Column("effective_date", Date),
)
_entry = Table(
    "entry",
    _meta,
    Column("entry_id", BigInteger),
    Column("idempotency_key", String),
)
_text = Table(
    "entry_text",
    _meta,
    Column("entry_id", BigInteger),
    Column("description", String),
    Column("reference", String),
)
_batch_seq = Table("batch_seq", _meta, Column("batch_id", BigInteger), Column("last_seq", BigInteger))


def statement_query(account_id: int, as_of: date | None, known_seq: int | None) -> tuple[str, dict[str, object]]:
    """Query text and parameters for psycopg: day, key, amount, description, reference of an account's postings.

    In order of day and id; up to ``as_of``; of what was known (published) up to ``known_seq``.
    """
    joined = _posting.join(_entry, _entry.c.entry_id == _posting.c.entry_id).outerjoin(
        _text, _text.c.entry_id == _posting.c.entry_id
    )
    conditions = [_posting.c.account_id == account_id]
    if as_of is not None:
        conditions.append(_posting.c.effective_date <= as_of)
    if known_seq is not None:
        joined = joined.join(
            _batch_seq, and_(_batch_seq.c.batch_id == _posting.c.batch_id, _batch_seq.c.last_seq <= known_seq)
        )
    query = (
        select(
            _posting.c.effective_date,
            _entry.c.idempotency_key,
            _posting.c.amount_minor,
            _text.c.description,
            _text.c.reference,
        )
        .select_from(joined)
        .where(and_(*conditions))
        .order_by(_posting.c.effective_date, _posting.c.posting_id)
    )
    compiled = query.compile(dialect=postgresql.psycopg.dialect())  # type: ignore[no-untyped-call]
    return str(compiled), dict(compiled.params)
