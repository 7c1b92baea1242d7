"""Holds, balance rules, periods that soft-close and re-open, certified bank days."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    run_sql("ledger", "062_holds.sql", "066_periods.sql", "064_rules.sql")  # the rules ask for periods
