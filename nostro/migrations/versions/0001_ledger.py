"""The books."""

from __future__ import annotations

from alembic import op

from ledger.money import CURRENCIES
from nostro.migrations.run_sql import run_sql

revision = "0001"
down_revision = None


def upgrade() -> None:
    run_sql("ledger", "010_tables.sql")
    raw = op.get_bind().connection.driver_connection
    assert raw is not None
    with raw.cursor().copy("COPY ledger.currency (currency_id, code, exponent) FROM STDIN") as copy:
        for currency in CURRENCIES.values():
            copy.write_row((currency.numeric, currency.code, currency.exponent))
    run_sql(
        "ledger",
        "020_rules.sql",
        "025_access.sql",
        "030_posting.sql",
        "032_hot.sql",
        "040_periods.sql",
        "042_certified_days.sql",
        "044_knowledge_order.sql",
        "050_reports.sql",
    )
