"""What each payee was paid, and of what: the payout report.

Lives here: reading payouts in their parts, and the proof that the parts make the whole. Must not live here: the bank's
side of a payout (`recon.lineage`), pages and tables for people (`nostro.payout_page`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import CheckFailedError, Connection, translate_errors

_PAYOUTS = """
SELECT p.instruction_id, p.payee, p.payee_name, p.payee_iban, h.holder ->> 'name' AS payer_name, p.bank_account,
       p.currency, p.exponent::int, p.business_date, p.execution_date, p.msg_id, p.payment_information_id,
       p.end_to_end_id, p.state, p.reason_code, p.owed_minor, p.amount_minor, p.remainder_minor, s.gross_minor,
       s.fees_minor, s.refunds_minor, s.chargebacks_minor, s.reserve_taken_minor, s.reserve_released_minor,
       s.carried_in_minor, s.carried_out_minor, s.reopened_minor, s.adjustments_minor, s.net_minor, s.residual_minor,
       s.item_count
  FROM settlement.payout p
  JOIN settlement.payment_file f USING (file_id)
  JOIN settlement.run r ON r.run_id = f.run_id
  JOIN settlement.bank_account_version h ON h.bank_account_id = r.bank_account_id AND h.version = r.account_version
 CROSS JOIN LATERAL (SELECT * FROM settlement.payout_parts s WHERE s.instruction_id = p.instruction_id LIMIT 1) s
 WHERE p.book_id = %(book_id)s AND (%(date)s::date IS NULL OR p.business_date = %(date)s)
   AND (%(payee)s::text IS NULL OR p.payee = %(payee)s) AND (%(run_id)s::bigint IS NULL OR f.run_id = %(run_id)s)
 ORDER BY p.business_date, p.instruction_id
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Payout:
    """One sealed payment in its parts, minor units of `currency`; a part is positive when it adds to the payout.

    `net_minor` is what went to cash in transit (negative: collected from the payee); `amount_minor` is the payment's
    amount, without a sign. `carried_in_minor` comes from an earlier payout, `carried_out_minor` goes to a later one,
    `reopened_minor` is an earlier payment that came back. `item_count` counts the postings it settled.
    """

    instruction_id: int
    payee: str
    payee_name: str
    payee_iban: str
    payer_name: str
    bank_account: str
    currency: str
    exponent: int
    business_date: dt.date
    execution_date: dt.date
    msg_id: str
    payment_information_id: str
    end_to_end_id: str
    state: str
    reason_code: str | None
    owed_minor: int
    amount_minor: int
    remainder_minor: int
    gross_minor: int
    fees_minor: int
    refunds_minor: int
    chargebacks_minor: int
    reserve_taken_minor: int
    reserve_released_minor: int
    carried_in_minor: int
    carried_out_minor: int
    reopened_minor: int
    adjustments_minor: int
    net_minor: int
    residual_minor: int
    item_count: int

    @property
    def parts(self) -> dict[str, int]:
        """The parts by name, in the order people read them; they add up to `net_minor`."""
        return {
            "gross": self.gross_minor,
            "refunds": self.refunds_minor,
            "chargebacks": self.chargebacks_minor,
            "fees": self.fees_minor,
            "adjustments": self.adjustments_minor,
            "reserve_taken": self.reserve_taken_minor,
            "reserve_released": self.reserve_released_minor,
            "reopened": self.reopened_minor,
            "carried_in": self.carried_in_minor,
            "carried_out": self.carried_out_minor,
        }


def payout_report(
    conn: Connection,
    *,
    book_id: int,
    business_date: dt.date | None = None,
    payee: str | None = None,
    run_id: int | None = None,
) -> list[Payout]:
    """Every sealed payment in its parts, by date and payment; every condition given must hold.

    Raises `CheckFailedError` when the parts of a payment do not add up to what was posted for it.
    """
    wanted = {"book_id": book_id, "date": business_date, "payee": payee, "run_id": run_id}
    with translate_errors(), conn.cursor(row_factory=class_row(Payout)) as cursor:
        found = cursor.execute(_PAYOUTS, wanted).fetchall()
    for payout in found:
        if payout.residual_minor or sum(payout.parts.values()) != payout.net_minor:
            raise CheckFailedError(
                f"payment {payout.end_to_end_id}: its parts differ from its net by {payout.residual_minor} minor units;"
                " run `nostro verify`."
            )
    return found
