"""Seals over published entries."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    run_sql("ledger", "060_seals.sql")
