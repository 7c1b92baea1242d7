"""Inputs of runs kept for replay; decisions that came in files."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0048"
down_revision = "0047"


def upgrade() -> None:
    run_sql("recon", "100_material.sql")
