"""Events, rates, balances as of a date."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    run_sql("ledger", "068_events.sql", "072_asof.sql")
