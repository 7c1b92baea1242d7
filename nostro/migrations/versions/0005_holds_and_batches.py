"""Holds, and batches that say which entry breaks a rule."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("ledger", "062_holds.sql", "064_batches.sql")
