"""Databases of a few questions: an instance serves some and gives way, and whoever still has one of it keeps it."""

from __future__ import annotations

import duckdb
import pytest

from recon import scratch_db


def test_instances_take_turns_and_an_open_database_outlives_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    opened = []
    connect = duckdb.connect

    def counted(*words: object, **more: object) -> duckdb.DuckDBPyConnection:
        opened.append(words)
        return connect(*words, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(duckdb, "connect", counted)
    with scratch_db.scratch() as kept:
        kept.execute("CREATE TABLE t AS SELECT 42 AS n")
        for _ in range(3 * scratch_db._DATABASES):
            with scratch_db.scratch() as other, pytest.raises(duckdb.CatalogException):
                other.execute("SELECT n FROM t")
        assert kept.execute("SELECT n FROM t").fetchone() == (42,)
    assert len(opened) in {3, 4}
