"""The life of breaks: owners, notes, proposals, approvals, sets taken back."""

from __future__ import annotations

from nostro.migrations.run_sql import run_sql

revision = "0046"
down_revision = "0032"


def upgrade() -> None:
    run_sql(
        "recon", "090_breaks.sql", "092_adjustments.sql", "093_policies.sql", "094_withheld.sql", "095_suspense.sql"
    )
