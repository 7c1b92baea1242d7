"""Statements, cleared sets, breaks, certificates."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql("recon")
