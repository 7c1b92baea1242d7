"""Sign-off by two people, the cash identity, audit samples."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0047"
down_revision = "0041"


def upgrade() -> None:
    run_sql("recon", "096_sign_off.sql", "098_audit.sql")
