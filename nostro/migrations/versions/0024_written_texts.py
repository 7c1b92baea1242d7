"""Texts of payment files before they were written in the bank's characters."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0024"
down_revision = "0020"


def upgrade() -> None:
    run_sql("settlement", "130_written_texts.sql")
