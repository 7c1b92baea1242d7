"""Row-level security by book."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0009"
down_revision = "0007"


def upgrade() -> None:
    run_sql("ledger", "090_access.sql")
