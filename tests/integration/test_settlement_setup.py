"""Applying a setup file: what is opened, what changes make versions, what never changes, and how fast."""

from __future__ import annotations

from pathlib import Path

import pytest

from ledger import CeilingError, NostroError, import_journal, verify
from nostro.database import Database
from settlement import SetupError, apply_setup
from tests.settlement_world import PayeeRow, make_world, write_setup
from tests.support import table_hashes


def hashes(db: Database) -> dict[str, str]:
    with db.owner() as owner:
        return table_hashes(owner)


def test_bank_accounts_have_n_and_t_and_their_opening_balance(db: Database, tmp_path: Path) -> None:
    world = make_world(db, tmp_path, [PayeeRow(code="P1")])
    rows = world.rows(
        "SELECT code, control, posted_minor FROM ledger.account_balance WHERE control IS NOT NULL ORDER BY 1"
    )
    assert ("assets:bank:kwd-payouts", "nostro", 1_000_000_000) in rows
    assert ("assets:transit:kwd-payouts", "cash_in_transit", 0) in rows
    assert world.balance("equity:opening-balances:jpy") == -1_000_000
    assert verify(world.app, book_id=world.book_id) == ()
    view = world.rows("SELECT code, holidays, timezone, opening_minor FROM settlement.bank_account ORDER BY 1")
    assert view[0] == ("eur-payouts", "ECB", "Europe/Berlin", 100_000_000)
    assert world.rows("SELECT code, receivable FROM settlement.acquirer") == [("cardia", "assets:receivable:cardia:*")]
    world.close()


def test_a_wrong_file_changes_nothing(db: Database, tmp_path: Path) -> None:
    path = write_setup(tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2", iban="NL00")])
    before = hashes(db)
    with db.app() as conn, pytest.raises(SetupError, match="nothing was changed"):
        apply_setup(conn, path)
    assert hashes(db) == before


def test_new_details_are_a_new_version(db: Database, tmp_path: Path) -> None:
    world = make_world(db, tmp_path, [PayeeRow(code="P1"), PayeeRow(code="P2")])
    report = apply_setup(world.app, write_setup(tmp_path, [PayeeRow(code="P1", name="New Name"), PayeeRow(code="P2")]))
    assert (report.new_payees, report.changed_payees, report.changed) == (0, 1, True)
    assert world.rows("SELECT version, name FROM settlement.payee_current WHERE code = 'P1'") == [(2, "New Name")]
    assert world.one("SELECT count(*) FROM settlement.payee_version") == 3
    world.close()


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("DE89370400440532013000", "DE75512108001245126199", "exists with another bank, IBAN"),
        ("functional_currency: EUR", "functional_currency: GBP", "exists with another functional currency"),
        ("2026-11-01", "2026-11-02", "exists with another bank, IBAN"),
        ('overdraft: none', 'overdraft: "5"', "exists with another type"),
    ],
)  # fmt: skip
def test_what_never_changes_is_refused(db: Database, tmp_path: Path, old: str, new: str, sentence: str) -> None:
    world = make_world(db, tmp_path, [PayeeRow(code="P1")])
    before = hashes(db)
    path = tmp_path / "setup.yaml"
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(NostroError, match=sentence):
        apply_setup(world.app, path)
    world.close()
    assert hashes(db) == before


def test_an_overdraft_is_a_floor(db: Database, tmp_path: Path) -> None:
    path = write_setup(tmp_path, [], accounts=("eur",), openings={"eur": "0.00"})
    path.write_text(path.read_text().replace("overdraft: none", 'overdraft: "250.00"'))
    with db.app() as conn:
        apply_setup(conn, path)
        row = conn.execute("SELECT floor_minor FROM ledger.account WHERE code = 'assets:bank:eur-payouts'").fetchone()
    assert row == (-25_000,)


def test_limits_of_rules_and_accounts(db: Database, tmp_path: Path) -> None:
    """A rule's limits are those of each account a journal opens by it; they never change."""
    wallets = '  - {code: "liabilities:wallet:*", type: liability, currency: EUR, floor: "0", ceiling: "10.00"}\n'
    till = '  - {code: "assets:till", type: asset, currency: EUR, floor: "-5", ceiling: "7.50", mode: strict}\n'
    path = write_setup(tmp_path, [], accounts=("eur",))
    path.write_text(path.read_text().replace("accounts:\n", f"accounts:\n{wallets}{till}", 1))
    journal = tmp_path / "journal.csv"

    def write(wallet: str, euros: str) -> Path:
        head = "entry_key,effective_date,account,amount,currency,description,reference"
        rows = (
            f"{wallet},2026-11-02,{code},{sign}{euros},EUR,,"
            for code, sign in ((f"liabilities:wallet:{wallet}", "-"), ("assets:receivable:x:eur", ""))
        )
        journal.write_text("\n".join((head, *rows, "")))
        return journal

    with db.app() as conn:
        book = apply_setup(conn, path).book_id
        import_journal(conn, book_id=book, path=write("W1", "10.00"))
        with pytest.raises(CeilingError, match=r"wallet:W2 would rise above its ceiling of 1000 minor units"):
            import_journal(conn, book_id=book, path=write("W2", "10.01"))
        rows = conn.execute(
            "SELECT code, floor_minor, ceiling_minor FROM ledger.account WHERE ceiling_minor IS NOT NULL ORDER BY 1"
        ).fetchall()
        assert rows == [("assets:till", -500, 750), ("liabilities:wallet:W1", 0, 1000)]
        assert not apply_setup(conn, path).changed
        path.write_text(path.read_text().replace('ceiling: "10.00"', 'ceiling: "11.00"'))
        with pytest.raises(NostroError, match="exists with other properties"):
            apply_setup(conn, path)


def test_four_thousand_payees_are_declared_once(db: Database, tmp_path: Path) -> None:
    path = write_setup(tmp_path, [PayeeRow(code=f"P{n:06d}") for n in range(4000)], accounts=("eur",))
    with db.app() as conn:
        assert apply_setup(conn, path).new_payees == 4000
        assert not apply_setup(conn, path).changed
