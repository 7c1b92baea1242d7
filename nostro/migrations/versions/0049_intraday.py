"""Intraday reports: kept line by line, replaced by the booked statement."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0049"
down_revision = "0048"


def upgrade() -> None:
    run_sql("recon", "104_intraday.sql")
