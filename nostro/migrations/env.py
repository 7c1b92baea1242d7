"""Alembic's entry: runs on the connection that `nostro.database.migrate` hands over."""

from __future__ import annotations

from alembic import context

connection = context.config.attributes["connection"]
context.configure(connection=connection, version_table="schema_version", transaction_per_migration=False)
with context.begin_transaction():
    context.run_migrations()
