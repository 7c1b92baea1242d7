"""Break codes: the closed list, in the order in which they are tried.

Lives here: names and the one-line meaning of each. Must not live here: how a code is found (the queries
`recon/matching/break_*.sql`) or what to do about it (`recon.explain`). docs/breaks.md is the long form.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

TAXONOMY_VERSION = 2


class BreakCode(StrEnum):
    """Why an item is open. Every open T posting has exactly one of these, or TIMING."""

    STATEMENT_IMBALANCE = "STATEMENT_IMBALANCE"
    STATEMENT_GAP = "STATEMENT_GAP"
    STATEMENT_DUP = "STATEMENT_DUP"
    STATEMENT_REVISED = "STATEMENT_REVISED"
    LATE_CHANGE = "LATE_CHANGE"
    DUP_BANK = "DUP_BANK"
    DUP_LEDGER = "DUP_LEDGER"
    DATE_OUT_OF_WINDOW = "DATE_OUT_OF_WINDOW"
    FX_DIFF = "FX_DIFF"
    FEE_DIFF = "FEE_DIFF"
    RESERVE_HELD = "RESERVE_HELD"
    CHARGEBACK = "CHARGEBACK"
    ROUNDING = "ROUNDING"
    PARTIAL = "PARTIAL"
    OVERPAYMENT = "OVERPAYMENT"
    AMOUNT_MISMATCH = "AMOUNT_MISMATCH"
    WRONG_ACCOUNT = "WRONG_ACCOUNT"
    CURRENCY_MISMATCH = "CURRENCY_MISMATCH"
    AMBIGUOUS = "AMBIGUOUS"
    BATCH_RESIDUAL = "BATCH_RESIDUAL"
    RETURN = "RETURN"
    REVERSAL = "REVERSAL"
    BANK_ORIGINATED = "BANK_ORIGINATED"
    MISSING_LEDGER = "MISSING_LEDGER"
    UNIDENTIFIED_RECEIPT = "UNIDENTIFIED_RECEIPT"
    UNAUTHORISED_DEBIT = "UNAUTHORISED_DEBIT"
    MISSING_BANK = "MISSING_BANK"
    STALE_PENDING = "STALE_PENDING"
    TIMING = "TIMING"


@dataclass(frozen=True, slots=True)
class CodeRule:
    """A code and the query that finds its groups among the items no earlier code took."""

    code: BreakCode
    query: str | None
    meaning: str
    needs: str = ""  # words of `recon.matching.stock`, one of which must be true for the query to find anything


STATEMENT_CODES: tuple[CodeRule, ...] = (
    CodeRule(BreakCode.STATEMENT_IMBALANCE, None, "opening + booked lines is not the closing balance"),
    CodeRule(BreakCode.STATEMENT_GAP, None, "the statement does not follow the one before it"),
    CodeRule(BreakCode.STATEMENT_DUP, None, "the same statement was delivered again in another file"),
    CodeRule(BreakCode.STATEMENT_REVISED, None, "the same statement came with other content"),
    CodeRule(BreakCode.LATE_CHANGE, None, "lines of a closed period posted on the first open date"),
)

ITEM_CODES: tuple[CodeRule, ...] = (
    CodeRule(BreakCode.DUP_BANK, "break_dup_bank", "the bank booked a payment twice", needs="LINE"),
    CodeRule(
        BreakCode.DUP_LEDGER,
        "break_dup_ledger",
        "we expect a payment twice that the bank booked once",
        needs="INSTRUCTION",
    ),
    CodeRule(
        BreakCode.DATE_OUT_OF_WINDOW,
        "break_date_out_of_window",
        "reference and amount agree, the date does not",
        needs="NAMED UETR BATCH",
    ),
    CodeRule(
        BreakCode.FX_DIFF,
        "break_fx_diff",
        "the bank's rate is another one than ours, within the band",
        needs="NAMED UETR STATED",
    ),
    CodeRule(
        BreakCode.FEE_DIFF,
        "break_fee_diff",
        "the difference is charges that the bank or the provider states",
        needs="NAMED UETR STATED",
    ),
    CodeRule(
        BreakCode.RESERVE_HELD,
        "break_reserve_held",
        "the difference is the provider's reserve",
        needs="NAMED UETR STATED",
    ),
    CodeRule(BreakCode.CHARGEBACK, "break_chargeback", "a disputed payment was taken back", needs="LINE"),
    CodeRule(BreakCode.ROUNDING, "break_rounding", "off by no more than the rounding tolerance", needs="NAMED UETR"),
    CodeRule(BreakCode.PARTIAL, "break_partial", "a payout came in parts that do not add up yet", needs="NAMED UETR"),
    CodeRule(BreakCode.OVERPAYMENT, "break_overpayment", "a known payer sent more than expected", needs="NAMED UETR"),
    CodeRule(
        BreakCode.AMOUNT_MISMATCH,
        "break_amount_mismatch",
        "the reference agrees, the amount does not",
        needs="NAMED UETR",
    ),
    CodeRule(BreakCode.WRONG_ACCOUNT, "break_wrong_account", "booked on another account of ours", needs="NAMED UETR"),
    CodeRule(BreakCode.CURRENCY_MISMATCH, "break_currency_mismatch", "booked in another currency", needs="NAMED UETR"),
    CodeRule(BreakCode.RETURN, "break_return", "money came back that policy did not post", needs="LINE"),
    CodeRule(BreakCode.REVERSAL, "break_reversal", "the bank reversed a booking of its own", needs="LINE"),
    CodeRule(
        BreakCode.BANK_ORIGINATED, "break_bank_originated", "a charge or interest that no policy covers", needs="LINE"
    ),
    CodeRule(BreakCode.AMBIGUOUS, "candidates", "several items fit equally well", needs="AMOUNT PARTY NAME"),
    CodeRule(
        BreakCode.BATCH_RESIDUAL,
        "break_batch_residual",
        "a batch line is not the sum of its members",
        needs="BATCH NAMED",
    ),
    CodeRule(
        BreakCode.MISSING_LEDGER,
        "break_missing_ledger",
        "money of a known payer that no report announced",
        needs="LINE",
    ),
    CodeRule(BreakCode.UNIDENTIFIED_RECEIPT, "break_unidentified_receipt", "money from somebody unknown", needs="LINE"),
    CodeRule(
        BreakCode.UNAUTHORISED_DEBIT, "break_unauthorised_debit", "money left without an instruction", needs="LINE"
    ),
    CodeRule(BreakCode.MISSING_BANK, "break_missing_bank", "expected, overdue, and not at the bank", needs="OWN"),
    CodeRule(
        BreakCode.STALE_PENDING,
        "break_stale_pending",
        "announced by the bank, overdue, and not booked",
        needs="PENDING",
    ),
)
