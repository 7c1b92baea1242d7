"""Reading files and runs as they stand.

Lives here: queries that give `model` values. Must not live here: anything that writes.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection
from typing import Any

from psycopg.rows import class_row, kwargs_row

from ledger import Connection, Fault, translate_errors
from settlement.errors import NotKnownError
from settlement.model import (
    FileState,
    PaymentBatch,
    PaymentFileStatus,
    RunStatus,
    SettlementException,
    WrittenText,
)

_FILES = """
SELECT f.file_id, f.run_id, f.part, b.code AS bank_account, f.rail, c.code AS currency, c.exponent::int,
       r.business_date, r.cycle, f.execution_date, r.cutoff_at, f.msg_id, f.sha256, f.instruction_count,
       f.total_minor, r.prepared_by,
       (SELECT string_agg(a.approved_by, ', ' ORDER BY a.approved_at, a.approved_by) FROM settlement.approval a
         WHERE a.file_id = f.file_id) AS approved_by, f.state, f.reason
  FROM settlement.file_current f
  JOIN settlement.run r USING (run_id)
  JOIN settlement.bank_account_root b ON b.bank_account_id = f.bank_account_id
  JOIN ledger.currency c ON c.currency_id = f.currency_id
 WHERE (%(file_id)s::bigint IS NULL OR f.file_id = %(file_id)s)
   AND (%(book_id)s::int IS NULL OR f.book_id = %(book_id)s)
   AND (%(run_id)s::bigint IS NULL OR f.run_id = %(run_id)s)
   AND (%(date)s::date IS NULL OR r.business_date = %(date)s)
   AND (%(states)s::text[] IS NULL OR f.state = ANY (%(states)s))
 ORDER BY r.business_date, f.bank_account_id, r.cycle, f.part
"""


def _file_row(**values: Any) -> PaymentFileStatus:
    return PaymentFileStatus(**{**values, "state": FileState(values["state"])})


def verify_clearing(conn: Connection, *, book_id: int) -> tuple[Fault, ...]:
    """Recompute invariant 10 from the rows: no posting in two clearing groups, each whole; empty: all is well.

    And what is found by its state from the records it stands for: files, and whatever is outstanding.
    """
    with translate_errors():
        rows = conn.execute(
            "SELECT invariant, place, fault FROM settlement.verify_clearing(%(book)s) UNION ALL"
            " SELECT invariant, place, fault FROM settlement.verify_outstanding(%(book)s) ORDER BY 1, 2, 3",
            {"book": book_id},
        ).fetchall()
    return tuple(Fault(*row) for row in rows)  # type: ignore[arg-type]


def payment_files(
    conn: Connection,
    *,
    book_id: int | None = None,
    run_id: int | None = None,
    business_date: dt.date | None = None,
    states: Collection[FileState] | None = None,
) -> list[PaymentFileStatus]:
    """Payment files by date, bank account, cycle and part; every condition given must hold."""
    wanted = None if states is None else [state.value for state in states]
    return _files(conn, book_id=book_id, run_id=run_id, date=business_date, states=wanted)


def payment_file(conn: Connection, file_id: int) -> PaymentFileStatus:
    """One file. Raises `NotKnownError`."""
    found = _files(conn, file_id=file_id)
    if not found:
        raise NotKnownError(f"there is no payment file {file_id}; list them with `nostro settle show`.")
    return found[0]


def _files(
    conn: Connection,
    *,
    file_id: int | None = None,
    book_id: int | None = None,
    run_id: int | None = None,
    date: dt.date | None = None,
    states: list[str] | None = None,
) -> list[PaymentFileStatus]:
    values = {"file_id": file_id, "book_id": book_id, "run_id": run_id, "date": date, "states": states}
    with translate_errors(), conn.cursor(row_factory=kwargs_row(_file_row)) as cursor:
        return cursor.execute(_FILES, values).fetchall()


def file_content(conn: Connection, file_id: int) -> bytes:
    """The bytes of a payment file, as proposed. Raises `NotKnownError`."""
    row = conn.execute("SELECT content FROM settlement.payment_file WHERE file_id = %s", (file_id,)).fetchone()
    if row is None:
        raise NotKnownError(f"there is no payment file {file_id}; list them with `nostro settle show`.")
    return bytes(row[0])  # type: ignore[call-overload,no-any-return]


_BATCHES = """
SELECT b.batch, b.payment_information_id, b.execution_date, b.service_level, b.local_instrument, b.sequence_type,
       b.charge_bearer, c.code AS currency, c.exponent::int, b.instruction_count, b.total_minor,
       (count(*) FILTER (WHERE e.state IN ('executed', 'returned')))::int AS executed_count,
       (count(*) FILTER (WHERE e.state = 'rejected'))::int AS rejected_count
  FROM settlement.payment_batch b
  JOIN settlement.payment_file f USING (file_id)
  JOIN ledger.currency c ON c.currency_id = f.currency_id
  JOIN settlement.instruction i USING (file_id, batch)
  LEFT JOIN settlement.instruction_event_last e USING (instruction_id)
 WHERE b.file_id = %s
 GROUP BY b.file_id, b.batch, c.code, c.exponent
 ORDER BY b.batch
"""


def payment_batches(conn: Connection, file_id: int) -> list[PaymentBatch]:
    """The blocks of a payment file, in its order. Raises `NotKnownError`."""
    payment_file(conn, file_id)
    with translate_errors(), conn.cursor(row_factory=class_row(PaymentBatch)) as cursor:
        return cursor.execute(_BATCHES, (file_id,)).fetchall()


_WRITTEN = """
SELECT w.ordinal, i.payee_code AS payee, i.end_to_end_id, w.field, w.original, w.written,
       (SELECT array_agg(format('%%s → %%s (%%s)', c ->> 'original', c ->> 'written', c ->> 'rule') ORDER BY n)
          FROM jsonb_array_elements(w.changes) WITH ORDINALITY x (c, n)) AS changes
  FROM settlement.written_text w
  LEFT JOIN settlement.instruction i ON i.file_id = w.file_id AND i.ordinal = w.ordinal
 WHERE w.file_id = %s
 ORDER BY w.ordinal, w.field
"""


def written_texts(conn: Connection, file_id: int) -> list[WrittenText]:
    """What a file does not say as it was given, header first, then payment by payment. Raises `NotKnownError`."""
    payment_file(conn, file_id)
    with translate_errors(), conn.cursor(row_factory=class_row(WrittenText)) as cursor:
        return cursor.execute(_WRITTEN, (file_id,)).fetchall()


_SUMS = ("instruction_count", "total_minor")


def run_status(conn: Connection, *, book_id: int, business_date: dt.date | None = None) -> list[RunStatus]:
    """Runs with their files, by business date, bank account and cycle."""
    with translate_errors():
        rows = conn.execute(
            "SELECT run_id, bank_account, business_date, cycle, execution_date, prepared_by, state,"
            " instruction_count, total_minor FROM settlement.run_current"
            " WHERE book_id = %s AND (%s::date IS NULL OR business_date = %s)"
            " ORDER BY business_date, bank_account_id, cycle",
            (book_id, business_date, business_date),
        ).fetchall()
    files: dict[int, list[PaymentFileStatus]] = {}
    for file in payment_files(conn, book_id=book_id, business_date=business_date):
        files.setdefault(file.run_id, []).append(file)
    names = ("run_id", "bank_account", "business_date", "cycle", "execution_date", "prepared_by", "state", *_SUMS)
    made: list[RunStatus] = []
    for row in rows:
        values: dict[str, Any] = dict(zip(names, row, strict=True))
        made.append(RunStatus(files=tuple(files.get(values["run_id"], ())), **values))
    return made


def exceptions(conn: Connection, *, book_id: int, as_of: dt.date) -> list[SettlementException]:
    """What waits for a person on a day, most pressing first."""
    with translate_errors(), conn.cursor(row_factory=class_row(SettlementException)) as cursor:
        return cursor.execute("SELECT * FROM settlement.exceptions(%s, %s)", (book_id, as_of)).fetchall()
