"""Alembic's entry: runs on the connection that `nostro.database.migrate` hands over."""

from __future__ import annotations

from alembic import context

from nostro.migrations.live import lock_books, look, require_unchanged

connection = context.config.attributes["connection"]
raw = connection.connection.driver_connection
context.configure(connection=connection, version_table="schema_version", transaction_per_migration=False)
with context.begin_transaction():
    lock_books(raw, timeout=context.config.attributes["lock_timeout"])
    before = look(raw)
    context.run_migrations()
    (access,) = raw.execute("SELECT to_regprocedure('ledger.apply_access()')").fetchone()
    if access is not None:  # tables and views of this upgrade, too, are seen book by book
        raw.execute("SELECT ledger.apply_access()")
    require_unchanged(raw, before)
