"""What is open, from the records that open and end it."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0060"
down_revision = "0050"


def upgrade() -> None:
    run_sql("settlement", "230_outstanding.sql")
