"""What notifications of debits say of payments."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0041"
down_revision = "0040"


def upgrade() -> None:
    run_sql("settlement", "220_notices.sql")
