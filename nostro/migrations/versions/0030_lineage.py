"""Lineage from a posting to the bank statement and back; what payouts are made of."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0030"
down_revision = "0028"


def upgrade() -> None:
    run_sql("settlement", "135_payout_report.sql")
    run_sql("recon", "080_trace.sql")
