"""Recalls: payments asked back by camt.055."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0032"
down_revision = "0030"


def upgrade() -> None:
    run_sql("settlement", "140_recalls.sql", "142_recall_requests.sql")
    run_sql("recon", "040_routine.sql")  # asks which collections were given back
