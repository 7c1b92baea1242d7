"""Statements, cleared sets, breaks, certificates."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    run_sql(
        "recon",
        "005_knowledge.sql",
        "010_tables.sql",
        "020_rules.sql",
        "030_ingest.sql",
        "038_known_cash.sql",
        "050_run.sql",
        "060_certificate.sql",
        "070_views.sql",
    )
