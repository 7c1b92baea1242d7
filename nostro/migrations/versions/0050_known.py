"""Breaks, proposals and cleared sets as known at a number of the knowledge order."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0050"
down_revision = "0049"


def upgrade() -> None:
    run_sql("recon", "106_known.sql")
