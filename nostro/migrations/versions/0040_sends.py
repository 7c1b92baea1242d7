"""The count of sends, compared with the journal beside the books, and what a restore forgot."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0040"
down_revision = "0046"


def upgrade() -> None:
    run_sql("settlement", "200_sends.sql", "210_send_reviews.sql")
