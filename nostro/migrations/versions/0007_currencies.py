"""Currencies beyond ISO 4217, exchange rates, exchange and revaluation."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0007"
down_revision = "0006"


def upgrade() -> None:
    run_sql("ledger", "080_currencies.sql", "082_exchange.sql")
