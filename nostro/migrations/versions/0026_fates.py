"""What two people say of a file whose fate nobody could look up."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0026"
down_revision = "0024"


def upgrade() -> None:
    run_sql("settlement", "140_fates.sql")
