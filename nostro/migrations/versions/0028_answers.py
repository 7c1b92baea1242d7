"""What to do about the reasons that banks give, and the exceptions that wait for people."""

from __future__ import annotations

import csv
from importlib.resources import files

from alembic import op

from nostro.migrations.run_sql import run_sql

revision = "0028"
down_revision = "0026"

_LISTS = {"s": "status", "r": "return", "c": "cancellation", "v": "reversal"}


def upgrade() -> None:
    run_sql("settlement", "102_policies.sql", "104_exceptions.sql")
    text = files("settlement").joinpath("sql", "reason_policies.csv").read_text(encoding="utf-8")
    rows = [
        (_LISTS[letter], row["code"], row["policy"], row["meaning"])
        for row in csv.DictReader(text.splitlines())
        for letter in row["lists"]
    ]
    raw = op.get_bind().connection.driver_connection
    assert raw is not None
    with raw.cursor() as cursor:
        cursor.executemany("INSERT INTO settlement.reason_policy VALUES (%s, %s, %s, %s)", rows)
