"""`StatementLines`: the schema of the rows that every reader of statements gives.

Apart from `recon.model`, because pandera takes longer to load than a statement to read.
"""

from __future__ import annotations

from typing import Final

import pandera.polars as pa

from recon.model import STATEMENT_LINES, EntryStatus

_CHECKS: Final[dict[str, pa.Check]] = {
    "statement_ordinal": pa.Check.ge(1),
    "line_ordinal": pa.Check.ge(1),
    "detail_ordinal": pa.Check.ge(0),
    "currency": pa.Check.str_matches(r"^[A-Z]{3}$"),
    "status": pa.Check.isin([status.value for status in EntryStatus]),
    "instructed_amount_minor": pa.Check.ge(0),
    "instructed_currency": pa.Check.str_matches(r"^[A-Z]{3}$"),
    "source_line": pa.Check.ge(1),
}
_REQUIRED: Final = frozenset(
    {
        "statement_ordinal",
        "line_ordinal",
        "detail_ordinal",
        "amount_minor",
        "entry_amount_minor",
        "currency",
        "status",
        "is_reversal",
        "source_line",
    }
)

StatementLines: Final = pa.DataFrameSchema(
    {
        name: pa.Column(dtype, _CHECKS.get(name), nullable=name not in _REQUIRED)
        for name, dtype in STATEMENT_LINES.items()
    },
    strict=True,
    ordered=True,
    name="StatementLines",
    description=(
        "One row a posting unit: an entry with two or more transactions whose amounts are all given and sum "
        "to it gives one row each (detail_ordinal from 1), any other entry one row (detail_ordinal 0). "
        "charges_minor is positive when the bank took it; instructed_amount_minor is as stated, unsigned."
    ),
)
