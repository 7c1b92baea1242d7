"""Payout rules, payees, runs: reserves, holds of payees, verdicts, approval limits, the frontier of open items."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0020"
down_revision = "0009"


def upgrade() -> None:
    run_sql(
        "settlement",
        "062_frontier.sql",
        "064_reserves.sql",
        "066_payees.sql",
        "070_propose.sql",  # after the tables it nets with
        "080_approve_seal.sql",
    )
