"""Fixtures of the sandbox's tests."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from lxml import etree
from sandbox_week import Week, simulate

SHARED = Path(os.environ.get("NOSTRO_SHARED", Path(__file__).parents[4] / "shared"))


@pytest.fixture(scope="session")
def week(tmp_path_factory: pytest.TempPathFactory) -> Week:
    """A small week with every kind of anomaly."""
    return simulate(tmp_path_factory.mktemp("week"), seed=7, payments=1000, payees=200, anomalies=48)


@pytest.fixture(scope="session")
def schema() -> Callable[[str], etree.XMLSchema]:
    """The XSD of a message, e.g. ``camt.053.001.08``; skips clearly when the schemas are not there."""

    def load(message: str) -> etree.XMLSchema:
        path = SHARED / "xsd" / f"{message}.xsd"
        if not path.exists():
            pytest.skip(f"no schema {path}; set NOSTRO_SHARED to the folder that holds xsd/")
        return etree.XMLSchema(etree.parse(path))

    return load
