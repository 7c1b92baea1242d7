"""Frames into stage tables and query results into frames, by COPY.

Lives here: the two bulk moves between Polars and Postgres. Must not live here: what the rows mean.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import polars as pl
from psycopg import sql

from ledger import Connection

_NULL = "\\N"


def stage(conn: Connection, table: str, frame: pl.DataFrame) -> None:
    """COPY a frame into `recon.<table>`, columns by name. Inside the caller's transaction."""
    if frame.height == 0:
        return
    columns = sql.SQL(", ").join(map(sql.Identifier, frame.columns))
    statement = sql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv, NULL '\\N')").format(
        sql.Identifier("recon", table), columns
    )
    text = frame.write_csv(include_header=False, null_value=_NULL, quote_style="non_numeric")
    with conn.cursor().copy(statement) as copy:
        copy.write(text)


def fetch(
    conn: Connection, query: sql.SQL, parameters: Sequence[object], schema: dict[str, pl.DataType]
) -> pl.DataFrame:
    """The rows of a query with exactly these columns, by binary-safe CSV."""
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT csv, NULL '\\N', FORCE_QUOTE *)").format(
        query.format(*map(sql.Literal, parameters))
    )
    received = io.BytesIO()
    with conn.cursor().copy(statement) as copy:
        for block in copy:
            received.write(block)
    received.seek(0)
    raw = (
        pl.read_csv(
            received,
            has_header=False,
            new_columns=list(schema),
            schema_overrides={name: pl.String() for name in schema},
            null_values=_NULL,
            empty_string_is_null=False,
        )
        if received.getbuffer().nbytes
        else pl.DataFrame(schema=dict.fromkeys(schema, pl.String()))
    )
    return raw.select(_cast(name, kind) for name, kind in schema.items())


def _cast(name: str, kind: pl.DataType) -> pl.Expr:
    column = pl.col(name)
    if kind == pl.Boolean():
        return column.eq("t").alias(name)
    if kind == pl.Date():
        return column.str.to_date("%Y-%m-%d").alias(name)
    return column.cast(kind)
