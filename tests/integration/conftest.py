"""What most files about reconciliation start with; a file with another company has a `world` of its own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from nostro.database import Database
from tests.recon_world import BankBook
from tests.settlement_world import PayeeRow, World, make_world


@pytest.fixture
def world(db: Database, tmp_path: Path) -> Iterator[World]:
    """Two payees and one account in euro."""
    made = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")], accounts=("eur",))
    yield made
    made.close()


@pytest.fixture
def bank(world: World) -> BankBook:
    """The statements of its account."""
    return BankBook(world)
