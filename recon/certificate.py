"""Certificates: one for each bank account and day, or the reason why there is none.

Lives here: when a day can be certified, the certificate's text, its file. Must not live here: the numbers
(`recon.verifier` and the database compute them, each by itself), matching.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from dataclasses import dataclass
from pathlib import Path

from ledger import Connection, format_amount
from recon.accounts import BankAccount
from recon.errors import ReconCheckError
from recon.verifier import Proof, Source, prove_account

FORMAT = "nostro-certificate/1"
_BLOCKING = ("STATEMENT_IMBALANCE", "STATEMENT_GAP", "STATEMENT_REVISED")


@dataclass(frozen=True, slots=True)
class SignOff:
    """One bank account's day. `sha256` of the certificate, or `reason` why there is none (never both).

    `is_expected` is False when the bank is closed on the day and sent nothing: then nothing is missing.
    """

    account: str
    business_date: dt.date
    sha256: str | None
    reason: str | None
    is_expected: bool = True


def certify(
    conn: Connection, *, run_id: int, business_date: dt.date, account: BankAccount, full: bool = True
) -> SignOff:
    """Prove one bank account's day and record the certificate, in the caller's transaction.

    `full`: from every posting of the accounts, else from their balances (`recon.verifier.prove_account`).
    Raises `ReconCheckError` when the statement is proven and the residual is not 0.
    """
    statement_id, reason = _statement_of(conn, run_id, account, business_date)
    if statement_id is None:
        is_expected = account.calendar.is_open(business_date) and business_date >= account.opening_date
        return SignOff(account.code, business_date, None, reason, is_expected)
    proof = prove_account(
        conn,
        run_id=run_id,
        bank_account_id=account.bank_account_id,
        statement_id=statement_id,
        business_date=business_date,
        source=Source.POSTINGS if full else Source.BALANCE,
    )
    if proof.residual_minor != 0:
        raise ReconCheckError(_fault(account, business_date, proof))
    through = account.calendar.next_open(business_date) - dt.timedelta(days=1)
    body = _body(conn, run_id, account, business_date, through, statement_id, proof)
    conn.execute(
        "SELECT recon.add_certificate(%s, %s, %s, %s, %s, %s, %s, %s)",
        (
            run_id,
            account.bank_account_id,
            statement_id,
            proof.opening_minor,
            proof.lines_minor,
            proof.closing_minor,
            body,
            through,
        ),
    )
    return SignOff(account.code, business_date, hashlib.sha256(body.encode()).hexdigest(), None)


def write_certificates(conn: Connection, *, run_id: int, home: Path) -> list[Path]:
    """Write the run's certificates to `<home>/certificates/<account>/<date>.json`; the same bytes every time."""
    rows = conn.execute(
        "SELECT a.code, c.business_date, c.body FROM recon.certificate c"
        " JOIN settlement.bank_account_root a USING (bank_account_id) WHERE c.run_id = %s ORDER BY a.code",
        (run_id,),
    ).fetchall()
    written = []
    for code, business_date, body in rows:
        path = home / "certificates" / str(code) / f"{business_date}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part")
        part.write_text(str(body), encoding="utf-8", newline="\n")
        part.replace(path)
        written.append(path)
    return written


def _statement_of(
    conn: Connection, run_id: int, account: BankAccount, business_date: dt.date
) -> tuple[int | None, str | None]:
    """The booked statement that closes the day, or why the day cannot be certified."""
    blocking = conn.execute(
        "SELECT code, explanation FROM recon.break_run"
        " WHERE run_id = %s AND bank_account_id = %s AND code = ANY(%s) ORDER BY break_id LIMIT 1",
        (run_id, account.bank_account_id, list(_BLOCKING)),
    ).fetchone()
    if blocking is not None:
        return None, f"{blocking[0]}: {blocking[1]}"
    row = conn.execute(
        "SELECT b.statement_id FROM recon.statement_booking b WHERE b.bank_account_id = %s AND b.closing_date = %s"
        " AND NOT EXISTS (SELECT FROM recon.statement_booking n"
        "   WHERE n.previous_id = b.statement_id AND n.closing_date = b.closing_date)",
        (account.bank_account_id, business_date),
    ).fetchone()
    if row is None:
        return None, f"no proven statement of {account.code} closes on {business_date}"
    return int(str(row[0])), None


def _fault(account: BankAccount, business_date: dt.date, proof: Proof) -> str:
    def money(amount_minor: int) -> str:
        return format_amount(amount_minor, account.exponent)

    return (
        f"{account.code} on {business_date} does not prove: opening {money(proof.opening_minor)} + lines"
        f" {money(proof.lines_minor)} against closing {money(proof.closing_minor)}, books"
        f" {money(proof.nostro_minor)}; cash in transit {money(proof.transit_minor)}, open items"
        f" {money(proof.open_minor)} {account.currency}."
    )


def _body(
    conn: Connection,
    run_id: int,
    account: BankAccount,
    business_date: dt.date,
    through: dt.date,
    statement_id: int,
    proof: Proof,
) -> str:
    """The certificate as JSON: sorted keys, integers in minor units, every break itemised."""
    amounts = {
        name: format_amount(value, account.exponent)
        for name, value in (("closing", proof.closing_minor), ("cash_in_transit", proof.transit_minor))
    }
    body = {
        "format": FORMAT,
        "bank_account": account.code,
        "iban": account.iban,
        "currency": account.currency,
        "business_date": business_date.isoformat(),
        "through": through.isoformat(),
        "statement": _statement(conn, statement_id),
        "opening_minor": proof.opening_minor,
        "lines_minor": proof.lines_minor,
        "closing_minor": proof.closing_minor,
        "nostro_minor": proof.nostro_minor,
        "transit_minor": proof.transit_minor,
        "open_items_minor": proof.open_minor,
        "residual_minor": proof.residual_minor,
        "amounts": amounts,
        "cleared": _cleared(conn, run_id, account),
        "breaks": _breaks(conn, run_id, account),
        "in_flight": _in_flight(conn, run_id, account),
    }
    return json.dumps(body, ensure_ascii=False, indent=2, sort_keys=True) + "\n"


def _statement(conn: Connection, statement_id: int) -> dict[str, str | int | None]:
    row = conn.execute(
        "SELECT s.stmt_id, s.sequence, s.content_sha256, f.name, f.sha256, s.entry_count"
        " FROM recon.statement s JOIN recon.source_file f USING (file_id) WHERE s.statement_id = %s",
        (statement_id,),
    ).fetchone()
    assert row is not None
    return {
        "id": str(row[0]),
        "sequence": None if row[1] is None else int(str(row[1])),
        "content_sha256": str(row[2]),
        "file": str(row[3]),
        "file_sha256": str(row[4]),
        "entries": int(str(row[5])),
    }


def _cleared(conn: Connection, run_id: int, account: BankAccount) -> list[dict[str, str | int]]:
    """What runs of the day cleared and nobody took back, by rule: a day that is run again is certified whole."""
    rows = conn.execute(
        "SELECT s.rule, s.rule_version, count(DISTINCT s.match_set_id), count(*)"
        " FROM recon.run r JOIN recon.run d ON (d.book_id, d.business_date) = (r.book_id, r.business_date)"
        " JOIN recon.match_set s ON s.run_id = d.run_id JOIN recon.live_leg l USING (match_set_id)"
        " JOIN ledger.posting p ON p.posting_id = l.posting_id"
        " WHERE r.run_id = %s AND p.account_id = %s GROUP BY 1, 2 ORDER BY 1, 2",
        (run_id, account.transit_account_id),
    ).fetchall()
    return [
        {"rule": str(rule), "rule_version": int(str(version)), "sets": int(str(sets)), "legs": int(str(legs))}
        for rule, version, sets, legs in rows
    ]


def _breaks(conn: Connection, run_id: int, account: BankAccount) -> list[dict[str, str | int]]:
    """Breaks with items on this account (their amount here), and breaks of its statements."""
    rows = conn.execute(_BREAKS, {"run": run_id, "account": account.bank_account_id}).fetchall()
    return [
        {
            "code": str(code),
            "item": str(ref),
            "items": int(str(items)),
            "amount_minor": int(str(amount)),
            "age_days": int(str(age)),
            "explanation": str(explanation),
        }
        for code, ref, items, amount, age, explanation in rows
    ]


_BREAKS = """
SELECT b.code, b.item_ref, coalesce(o.items, 0), coalesce(o.amount_minor, 0), b.age_days, b.explanation
  FROM recon.break_run b
  LEFT JOIN (SELECT break_id, count(*) AS items, sum(amount_minor)::bigint AS amount_minor
               FROM recon.open_item WHERE run_id = %(run)s AND bank_account_id = %(account)s
              GROUP BY break_id) o USING (break_id)
 WHERE b.run_id = %(run)s
   AND (o.break_id IS NOT NULL OR b.finding_id IS NOT NULL AND b.bank_account_id = %(account)s)
 ORDER BY b.code, b.item_ref, b.break_id
"""


def _in_flight(conn: Connection, run_id: int, account: BankAccount) -> dict[str, str | int]:
    row = conn.execute(
        "SELECT count(*), coalesce(sum(amount_minor), 0)::bigint,"
        " encode(sha256(convert_to(coalesce(string_agg(concat_ws(' ', reference, amount_minor), E'\\n'"
        "   ORDER BY reference COLLATE \"C\", amount_minor), ''), 'UTF8')), 'hex')"
        " FROM recon.open_item WHERE run_id = %s AND bank_account_id = %s AND code = 'TIMING'",
        (run_id, account.bank_account_id),
    ).fetchone()
    assert row is not None
    return {"items": int(str(row[0])), "amount_minor": int(str(row[1])), "sha256": str(row[2])}
