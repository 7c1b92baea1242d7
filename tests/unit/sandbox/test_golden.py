"""One small day, byte for byte: the files in data/fixtures/sandbox are what the sandbox writes.

Run with NOSTRO_REWRITE_FIXTURES=1 to write them anew after a wanted change.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sandbox_week import Week, simulate

CZECH = "CZ0599100000000000016248"
FIXTURES = Path(__file__).parents[3] / "data" / "fixtures" / "sandbox"
CHOSEN = {
    "setup.yaml": "business/setup.yaml",
    "payees.csv": "business/payees.csv",
    "journal-2026-10-30.csv": "business/journal-2026-10-30.csv",
    "journal-2026-11-02.csv": "business/journal-2026-11-02.csv",
    "psp-CARDIA-EUR-VISA-20261102.csv": "home/bank/nordbank/inbox/psp-CARDIA-EUR-VISA-20261102.csv",
    "pain.001-eur-payouts.xml": "home/bank/nordbank/outbox/EUR-PAYOUTS-20261102.xml",
    "pain.002-eur-payouts.xml": "home/bank/nordbank/inbox/pain.002_EUR-PAYOUTS-20261102_0000001-2.xml",
    "camt.053-batch-with-details.xml": "home/bank/nordbank/inbox/camt.053_DE98990200200004711001_2026-11-02_000001.xml",
    "camt.053-credits.xml": "home/bank/nordbank/inbox/camt.053_DE71990200200004711002_2026-11-02_000002.xml",
    "camt.054-credits.xml": "home/bank/nordbank/inbox/camt.054_DE71990200200004711002_2026-11-02.xml",
    "camt.053-itemised.xml": "home/bank/albion/inbox/camt.053_GB87ALBN99000220304050_2026-11-02_000001.xml",
    "camt.053-batch-without-details.xml": f"home/bank/vltava/inbox/camt.053_{CZECH}_2026-11-02_000001.xml",
}


@pytest.fixture(scope="module")
def day(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Week]:
    root = tmp_path_factory.mktemp("golden")
    return root, simulate(root, seed=1, payments=40, payees=30, anomalies=0, days=1)


@pytest.mark.parametrize("name", sorted(CHOSEN))
def test_fixture_is_what_the_sandbox_writes(day: tuple[Path, Week], name: str) -> None:
    written = (day[0] / CHOSEN[name]).read_bytes()
    if os.environ.get("NOSTRO_REWRITE_FIXTURES") == "1":
        FIXTURES.mkdir(parents=True, exist_ok=True)
        (FIXTURES / name).write_bytes(written)
    assert (FIXTURES / name).read_bytes() == written


def test_every_fixture_is_described() -> None:
    described = (FIXTURES.parent / "README.md").read_text(encoding="utf-8")
    for path in FIXTURES.iterdir():
        assert path.name in CHOSEN
        assert f"`sandbox/{path.name}`" in described
