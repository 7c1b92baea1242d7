"""A nightly run verifies whatever came after it, and each way below of tampering with it is found for what it is."""

from __future__ import annotations

import dataclasses
import datetime as dt
import zlib
from collections.abc import Callable, Iterator

import polars as pl
import psycopg
import pytest

from nostro.database import Connection, Database
from recon import NoRunError, verify_run
from recon.material import pack, unpack
from tests.ledger_books import fresh_database
from tests.recon_world import BankBook, Line
from tests.settlement_world import DAY, PayeeRow, World, make_world

TUESDAY = DAY + dt.timedelta(days=1)
TABLES = (
    "recon.run", "recon.run_material", "recon.match_set", "recon.match_leg", "recon.open_item", "recon.break_run",
    "recon.certificate", "recon.source_file", "recon.statement_line", "ledger.posting", "ledger.posting_block",
)  # fmt: skip


@pytest.fixture(scope="module")
def world(template: Database, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """Monday: two exact sets, one by party with a rival, a break of two items, money of nobody, one in flight."""
    payees = [PayeeRow(code=f"P{n}", iban=iban) for n, iban in enumerate(IBANS, 1)]
    with fresh_database(template, "nostro_test_verify") as db:
        made = make_world(db, tmp_path_factory.mktemp("verify"), payees, accounts=("eur",))
        for payee, amount in (("P1", 10_000), ("P2", 25_000), ("P3", 7_700), ("P4", 7_700), ("P5", 5_000)):
            made.owe(payee, amount)
        made.pay()
        e2e = dict(made.rows("SELECT payee_code, end_to_end_id FROM settlement.instruction"))
        bank = BankBook(made)
        lines = [
            Line(amount_minor=-10_000, ref="B1", end_to_end_id=str(e2e["P1"])),
            Line(amount_minor=-25_000, ref="B2", end_to_end_id=str(e2e["P2"])),
            Line(amount_minor=-7_700, ref="B3", party_iban=IBANS[2]),
            Line(amount_minor=-5_010, ref="B4", end_to_end_id=str(e2e["P5"])),
            Line(amount_minor=1_234, ref="B5"),
        ]
        bank.ingest(bank.statement(lines))
        bank.reconcile()
        made.owe("P1", 300)
        bank.ingest(
            bank.statement([Line(amount_minor=-7_700, ref="B6", party_iban=IBANS[3])], day=TUESDAY), name="2.xml"
        )
        bank.reconcile(TUESDAY)
        yield made
        made.close()


IBANS = ("DE89370400440532013000", "NL91ABNA0417164300", "FR1420041010050500013M02606", "BE68539007547034",
         "AT611904300234573201")  # fmt: skip
BY_PARTY = "(SELECT match_set_id FROM recon.match_set WHERE run_id = 1 AND rule = 'amount-party')"
EXACT = "(SELECT min(match_set_id) FROM recon.match_set WHERE run_id = 1 AND rule = 'exact-end-to-end')"
BROKEN = "(SELECT break_id FROM recon.break_run WHERE run_id = 1 AND code = 'AMOUNT_MISMATCH')"
NOBODY = "(SELECT posting_id FROM recon.open_item WHERE run_id = 1 AND code = 'UNIDENTIFIED_RECEIPT')"


def test_runs_hold_whatever_came_since(world: World) -> None:
    first, second = (verify_run(world.app, book_id=1, run_id=run) for run in (1, 2))
    assert (first.faults, second.faults) == ((), ())
    assert (first.items, first.sets, first.breaks, first.certificates) == (10, 3, 2, 1)
    assert (second.items, second.sets, second.certificates) == (5, 1, 1)
    rivals = dict(world.rows("SELECT rule, max(rivals) FROM recon.match_set WHERE run_id = 1 GROUP BY rule"))
    assert rivals == {"exact-end-to-end": 0, "amount-party": 1}
    assert world.rows("SELECT exact_keys, exact_keys_again FROM recon.run ORDER BY run_id") == [(2, 2), (0, 0)]
    with pytest.raises(NoRunError):
        verify_run(world.app, book_id=1, run_id=99)


def rewrite(edit: Callable[[pl.DataFrame], pl.DataFrame]) -> Callable[[Connection], None]:
    """The kept items changed, with a hash that fits."""

    def change(conn: Connection) -> None:
        row = conn.execute("SELECT content FROM recon.run_material WHERE run_id = 1", binary=True).fetchone()
        assert row is not None and isinstance(row[0], bytes)
        inputs, cleared = unpack(row[0])
        content = pack(dataclasses.replace(inputs, items=edit(inputs.items)), cleared)
        conn.execute(
            "UPDATE recon.run_material SET content = %b, sha256 = encode(sha256(%b), 'hex') WHERE run_id = 1",
            (content, content),
        )

    return change


def other_statement(conn: Connection) -> None:
    row = conn.execute("SELECT file_id, content_zlib FROM recon.source_file ORDER BY 1 LIMIT 1", binary=True).fetchone()
    assert row is not None and isinstance(row[1], bytes)
    text = zlib.decompress(row[1]).replace(b"12.34", b"12.35")
    conn.execute("UPDATE recon.source_file SET content_zlib = %b WHERE file_id = %s", (zlib.compress(text), row[0]))


def without(reference: str) -> Callable[[Connection], None]:
    """An item that the run never saw: neither kept nor open."""

    def change(conn: Connection) -> None:
        rewrite(lambda items: items.filter(pl.col("reference") != reference))(conn)
        conn.execute("DELETE FROM recon.open_item WHERE run_id = 1 AND reference = %s", (reference,))

    return change


CORRUPTIONS: dict[str, tuple[str | Callable[[Connection], None], str]] = {
    "a set dropped": (
        f"WITH l AS (DELETE FROM recon.match_leg WHERE match_set_id = {EXACT})"
        f" DELETE FROM recon.match_set WHERE match_set_id = {EXACT}",
        "item-nowhere",
    ),
    "a match twice": (
        "INSERT INTO recon.match_leg (book_id, posting_id, generation, match_set_id, row_sha256)"
        f" SELECT book_id, posting_id, 1, {BY_PARTY}, row_sha256 FROM recon.match_leg WHERE match_set_id = {EXACT}",
        "item-in-two-places",
    ),
    "a match of a later run too": (
        "INSERT INTO recon.match_leg (book_id, posting_id, generation, match_set_id, row_sha256)"
        " SELECT book_id, posting_id, 1, (SELECT max(match_set_id) FROM recon.match_set), row_sha256"
        f" FROM recon.match_leg WHERE match_set_id = {EXACT}",
        "leg-not-exclusive",
    ),
    "legs exchanged": (
        "UPDATE recon.match_leg SET match_set_id = CASE match_set_id WHEN 1 THEN 2 ELSE 1 END WHERE posting_id IN"
        " (SELECT min(posting_id) FROM recon.match_leg WHERE match_set_id IN (1, 2) GROUP BY match_set_id)",
        "equation",
    ),
    "a leg's row hash changed": (
        f"UPDATE recon.match_leg SET row_sha256 = sha256('x') WHERE match_set_id = {EXACT}",
        "row-hash",
    ),
    "an open item's row hash changed": (
        f"UPDATE recon.open_item SET row_sha256 = sha256('x') WHERE run_id = 1 AND posting_id = {NOBODY}",
        "row-hash",
    ),
    "a rule changed": (f"UPDATE recon.match_set SET rule = 'all-fine' WHERE match_set_id = {EXACT}", "rule"),
    "a rule's version changed": (
        f"UPDATE recon.match_set SET rule_version = 9 WHERE match_set_id = {EXACT}",
        "rule",
    ),
    "a set given to people": (
        f"UPDATE recon.match_set SET rule = 'manual-match', rule_version = 1 WHERE match_set_id = {EXACT}",
        "decision",
    ),
    "an equation off by one": (
        "UPDATE recon.match_set SET bank_minor = bank_minor + 1, books_minor = books_minor - 1"
        f" WHERE match_set_id = {EXACT}",
        "equation",
    ),
    "a rival hidden": (f"UPDATE recon.match_set SET rivals = 0 WHERE match_set_id = {BY_PARTY}", "rivals"),
    "a rival invented": (f"UPDATE recon.match_set SET rivals = 3 WHERE match_set_id = {EXACT}", "rivals"),
    "rivals that nobody counted": (f"UPDATE recon.match_set SET rivals = NULL WHERE match_set_id = {EXACT}", "rivals"),
    "a margin too small": (f"UPDATE recon.match_set SET margin = 1 WHERE match_set_id = {BY_PARTY}", "margin"),
    "a set that says fungible": (f"UPDATE recon.match_set SET is_fungible = true WHERE match_set_id = {EXACT}", "rule"),
    "a leg too many declared": (f"UPDATE recon.match_set SET leg_count = 3 WHERE match_set_id = {EXACT}", "leg-count"),
    "a break dropped": (
        f"WITH o AS (DELETE FROM recon.open_item WHERE run_id = 1 AND break_id = {BROKEN})"
        f" DELETE FROM recon.break_run WHERE run_id = 1 AND break_id = {BROKEN}",
        "item-nowhere",
    ),
    "a break called in flight": (
        f"UPDATE recon.open_item SET code = 'TIMING', break_id = NULL WHERE run_id = 1 AND posting_id = {NOBODY}",
        "break-code",
    ),
    "a code made up": (
        f"UPDATE recon.open_item SET code = 'ALL_FINE' WHERE run_id = 1 AND posting_id = {NOBODY}",
        "break-code",
    ),
    "a break with another code than its items": (
        f"UPDATE recon.break_run SET code = 'FEE_DIFF' WHERE run_id = 1 AND break_id = {BROKEN}",
        "break-code",
    ),
    "a break's amount changed": (
        f"UPDATE recon.break_run SET amount_minor = 11 WHERE run_id = 1 AND break_id = {BROKEN}",
        "break-sum",
    ),
    "an item of a break less": (
        f"UPDATE recon.break_run SET item_count = 1 WHERE run_id = 1 AND break_id = {BROKEN}",
        "break-sum",
    ),
    "a break of nothing": (
        "INSERT INTO recon.break_run SELECT run_id, 'B0', code, item_ref, bank_account_id, currency, amount_minor,"
        " item_count, first_date, age_days, explanation, proposal, proposal_legs"
        f" FROM recon.break_run WHERE run_id = 1 AND break_id = {BROKEN}",
        "break-empty",
    ),
    "an open item's amount changed": (
        f"UPDATE recon.open_item SET amount_minor = amount_minor + 1 WHERE run_id = 1 AND posting_id = {NOBODY}",
        "break-code",
    ),
    "a certificate dropped": ("DELETE FROM recon.certificate WHERE run_id = 1", "certificate-missing"),
    "a certificate's text changed": (
        "UPDATE recon.certificate SET body = replace(body, 'B5', 'B7') WHERE run_id = 1",
        "certificate-hash",
    ),
    "a certificate's amounts changed in the text": (
        "UPDATE recon.certificate SET body = b, sha256 = encode(sha256(convert_to(b, 'UTF8')), 'hex') FROM (SELECT"
        " run_id AS r, regexp_replace(body, '\"nostro_minor\": ', '\"nostro_minor\": 1') AS b FROM recon.certificate) x"
        " WHERE run_id = 1 AND r = 1",
        "certificate-text",
    ),
    "a certificate's open items off": (
        "UPDATE recon.certificate SET open_minor = open_minor + 1, transit_minor = transit_minor + 1 WHERE run_id = 1",
        "certificate",
    ),
    "the original statement changed": (other_statement, "certificate"),
    "the number of items changed": ("UPDATE recon.run SET item_count = 9 WHERE run_id = 1", "run-count"),
    "exact keys miscounted": (
        "UPDATE recon.run SET exact_keys = 1, exact_keys_again = 1 WHERE run_id = 1",
        "exact-keys",
    ),
    "the kept inputs' hash changed": ("UPDATE recon.run_material SET sha256 = 'x' WHERE run_id = 1", "material-hash"),
    "a kept text changed": (rewrite(lambda items: items.with_columns(party_name=pl.lit("Eve"))), "row-hash"),
    "a kept amount changed": (rewrite(lambda items: items.with_columns(pl.col("amount_minor") * 2)), "input-ledger"),
    "an item never looked at": (without("B5"), "input-missing"),
    "a posting's amount changed": (
        f"UPDATE ledger.posting SET amount_minor = amount_minor + 1 WHERE posting_id = {NOBODY}",
        "input-ledger",
    ),
    "a line's reference changed": (
        f"UPDATE recon.statement_line SET end_to_end_id = 'X' WHERE t_posting_id = {NOBODY}",
        "input-line",
    ),
}


@pytest.fixture(scope="module")
def tamperer(world: World) -> Iterator[Connection]:
    """A superuser who has taken the locks off, for as long as no transaction ends."""
    with psycopg.connect(world.db.admin_conninfo, dbname=world.db.name) as conn:
        for table in TABLES:
            conn.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")  # type: ignore[arg-type]
        conn.execute(
            "DO $$ DECLARE c record; BEGIN FOR c IN SELECT conrelid::regclass AS t, conname FROM pg_constraint"
            " WHERE contype = 'c' AND connamespace = 'recon'::regnamespace LOOP"
            " EXECUTE format('ALTER TABLE %s DROP CONSTRAINT %I', c.t, c.conname); END LOOP; END $$"
        )
        yield conn
        conn.rollback()


@pytest.mark.parametrize("name", CORRUPTIONS)
def test_tampering_is_found(tamperer: Connection, name: str) -> None:
    corrupt, kind = CORRUPTIONS[name]
    with tamperer.transaction() as all_of_it:
        if isinstance(corrupt, str):
            tamperer.execute(corrupt)  # type: ignore[arg-type]
        else:
            corrupt(tamperer)
        faults = verify_run(tamperer, book_id=1, run_id=1).faults
        assert kind in {fault.kind for fault in faults}
        raise psycopg.Rollback(all_of_it)
