"""Which balances count, and what the equation says."""

from __future__ import annotations

import pytest

from recon.formats import prove_pages
from recon.model import Statement
from tests.unit.recon.camt_files import balance, document, entry, read, read_one, statement


def outcome(*parts: str, version: str = "camt.053.001.08", ccy: str | None = "EUR") -> tuple[str, str, int | None]:
    proof = read_one(*parts, version=version, ccy=ccy).proof
    return proof.state.value, proof.reason.value, proof.difference_minor


OPEN, CLOSE = balance("OPBD", "100.00"), balance("CLBD", "90.00")
PAID = entry("10.00", "DBIT")
PENDING = "<Sts><Cd>PDNG</Cd></Sts>"


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([OPEN, CLOSE, PAID], ("proven", "balances-tie", 0), id="tie"),
        pytest.param([OPEN, CLOSE], ("violated", "balances-differ", -1000), id="entry missing"),
        pytest.param([OPEN, CLOSE, PAID, PAID], ("violated", "balances-differ", 1000), id="entry twice"),
        pytest.param([OPEN, CLOSE, PAID, entry("5.00", status=PENDING)], ("proven", "balances-tie", 0), id="pending"),
        pytest.param([balance("PRCD", "100.00"), CLOSE, PAID], ("proven", "balances-tie", 0), id="previous close"),
        pytest.param([balance("PRCD", "7.00"), OPEN, CLOSE, PAID], ("proven", "balances-tie", 0), id="opening wins"),
        pytest.param(
            [balance("OPBD", "5.00", sign="DBIT"), balance("CLBD", "15.00", sign="DBIT"), PAID],
            ("proven", "balances-tie", 0),
            id="overdrawn",
        ),
        pytest.param(
            [balance("OPBD", "100.00", sign=None), balance("CLBD", "90.00", sign=None), PAID],
            ("proven", "balances-tie", 0),
            id="signs missing",
        ),
        pytest.param([OPEN, PAID], ("impossible", "closing-missing", None), id="no closing"),
        pytest.param([CLOSE, PAID], ("impossible", "opening-missing", None), id="no opening"),
        pytest.param([PAID], ("impossible", "no-balances", None), id="no balances"),
        pytest.param(
            [balance("OPAV", "100.00"), balance("CLAV", "90.00"), PAID],
            ("impossible", "no-book-balances", None),
            id="available only",
        ),
        pytest.param(
            [balance("ITBD", "100.00"), balance("ITBD", "90.00"), PAID],
            ("impossible", "interim-only", None),
            id="interim in a statement",
        ),
        pytest.param(
            [
                balance("OPBD", "100.00", day="2026-11-19"),
                balance("CLBD", "95.00", day="2026-11-19"),
                balance("OPBD", "95.00", day="2026-11-20"),
                balance("CLBD", "90.00", day="2026-11-20"),
                PAID,
            ],
            ("proven", "balances-tie", 0),
            id="two days",
        ),
        pytest.param(
            [OPEN, balance("OPBD", "95.00", sub_type="INTM"), CLOSE, PAID],
            ("proven", "balances-tie", 0),
            id="page mark",
        ),
        pytest.param(
            [OPEN, balance("OPBD", "95.00"), CLOSE, PAID], ("impossible", "balances-ambiguous", None), id="ambiguous"
        ),
        pytest.param([OPEN, OPEN, CLOSE, PAID], ("proven", "balances-tie", 0), id="said twice"),
    ],
)
def test_statement(parts: list[str], expected: tuple[str, str, int | None]) -> None:
    assert outcome(*parts) == expected


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        pytest.param([OPEN, CLOSE], ("violated", "balances-differ", -1000), id="book balances bind"),
        pytest.param(
            [balance("ITBD", "100.00"), balance("ITBD", "90.00"), PAID],
            ("proven", "interim-balances-tie", 0),
            id="two interim",
        ),
        pytest.param(
            [
                balance("ITBD", "90.00", moment="2026-11-20T12:00:00+01:00"),
                balance("ITBD", "100.00", moment="2026-11-20T10:00:00+01:00"),
                PAID,
            ],
            ("proven", "interim-balances-tie", 0),
            id="in order of their moments",
        ),
        pytest.param(
            [OPEN, balance("ITBD", "90.00"), PAID], ("proven", "interim-balances-tie", 0), id="opening and interim"
        ),
        pytest.param(
            [OPEN, balance("ITBD", "70.00"), PAID], ("impossible", "interim-only", -2000), id="interim does not bind"
        ),
        pytest.param([balance("ITBD", "90.00"), PAID], ("impossible", "interim-only", None), id="one interim"),
    ],
)
def test_intraday_report(parts: list[str], expected: tuple[str, str, int | None]) -> None:
    assert outcome(*parts, version="camt.052.001.08") == expected


def test_notification_has_nothing_to_prove() -> None:
    assert outcome(entry(), version="camt.054.001.08") == ("impossible", "no-balances", None)


def test_each_currency_has_its_own_proof_and_the_worst_is_the_statements() -> None:
    found = read_one(
        OPEN,
        CLOSE,
        balance("OPBD", "1.00", ccy="USD"),
        balance("CLBD", "2.00", ccy="USD"),
        PAID,
        entry("5.00", ccy="USD"),
    )
    assert [(proof.currency, proof.state.value, proof.difference_minor) for proof in found.proofs] == [
        ("EUR", "proven", 0),
        ("USD", "violated", -400),
    ]
    assert found.proof.currency == "USD"
    assert (found.opening and found.opening.amount_minor, found.closing and found.closing.amount_minor) == (10000, 9000)


def test_a_currency_with_entries_but_no_balances_is_not_proven_by_the_other() -> None:
    found = read_one(balance("OPBD", "1.00", ccy="USD"), balance("CLBD", "1.00", ccy="USD"), PAID)
    assert [proof.state.value for proof in found.proofs] == ["impossible", "proven"]


def test_sums_beyond_64_bits_are_exact() -> None:
    huge = "92233720368547758.07"
    found = read_one(balance("OPBD", huge, sign="DBIT"), balance("CLBD", huge), entry(huge), entry(huge))
    assert (found.proof.state.value, found.proof.booked_minor) == ("proven", 2 * (2**63 - 1))


def page(number: int, last: bool, *parts: str, id_: str = "S1") -> str:
    head = f"<StmtPgntn><PgNb>{number}</PgNb><LastPgInd>{str(last).lower()}</LastPgInd></StmtPgntn>"
    return statement(*parts, id_=id_, head=head)


class TestPages:
    """A page that does not tie alone says nothing; all pages together do."""

    FIRST, LAST = page(1, False, OPEN, PAID), page(2, True, CLOSE)

    def pages(self, *texts: str) -> tuple[Statement, ...]:
        return read(document(*texts)).statements

    def test_alone_is_impossible(self) -> None:
        assert [s.proof.reason.value for s in self.pages(self.FIRST, self.LAST)] == ["pages-missing"] * 2

    def test_together_they_tie(self) -> None:
        proofs = prove_pages(self.pages(self.LAST, self.FIRST))
        assert proofs is not None
        assert [(p.state.value, p.reason.value, p.difference_minor) for p in proofs] == [("proven", "pages-tie", 0)]

    def test_together_they_differ(self) -> None:
        proofs = prove_pages(self.pages(self.FIRST, page(2, True, CLOSE, PAID)))
        assert proofs is not None
        assert [(p.state.value, p.difference_minor) for p in proofs] == [("violated", 1000)]

    def test_a_gap_or_an_open_end_proves_nothing(self) -> None:
        assert prove_pages(self.pages(self.FIRST, page(3, True, CLOSE))) is None
        assert prove_pages(self.pages(self.FIRST, page(2, False, CLOSE))) is None
        assert prove_pages(self.pages(self.FIRST, page(2, True, CLOSE, entry("x")))) is None

    def test_a_page_with_balances_of_its_own_is_proven_alone(self) -> None:
        own = page(2, True, OPEN, CLOSE, PAID)
        assert self.pages(own)[0].proof.state == "proven"
