"""What we owe whom, files, approvals, the bank's answers."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    run_sql(
        "settlement",
        "010_parties.sql",
        "020_runs.sql",
        "030_events.sql",
        "035_outstanding.sql",
        "040_clearing.sql",
        "050_views.sql",
        "060_setup.sql",
        "090_send.sql",
        "100_answers.sql",
    )
