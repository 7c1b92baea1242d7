"""The books."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("ledger", "010_tables.sql", "020_rules.sql", "030_posting.sql", "040_periods.sql", "050_reports.sql")
