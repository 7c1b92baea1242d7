"""Every way reconciliation can refuse, one class a cause.

ReconError
├── FileRefusedError         a file was refused whole; the original is kept
├── StatementChainError      a statement does not follow the one before it
├── ExclusiveLegError        a posting is in a live set already (another run was faster; retryable)
├── SetNotZeroError          a set does not add up to zero, or is not whole
├── ReconCheckError          a proof did not hold: conservation, certificate, lines against postings
├── NoRunError               this day has not been reconciled
├── BreakUnknownError        no such break
├── BreakStateError          a break's state does not allow this, or it changed since somebody looked
├── AdjustmentError          a proposal does not balance, does not close its break, or cannot be posted
├── SignOffError             a day cannot be signed: no certificate, a gap, nothing to sample
├── DecisionFileError        a spreadsheet of decisions has faults; every one is listed, nothing was done
├── FourEyesError            a second person must do this, in their own name
└── TraceUnknownError        nothing to trace by this name
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import (
    CheckFailedError,
    NostroError,
    RefusedError,
    UnavailableError,
    register_constraint_errors,
)


class ReconError(NostroError):
    """Base of everything reconciliation refuses."""


class FileRefusedError(ReconError, RefusedError):
    """A bank's or acquirer's file was refused whole; nothing of it is booked."""


class StatementChainError(ReconError, RefusedError):
    """A statement does not start where the one before it ended, or is booked already."""


class ExclusiveLegError(ReconError, UnavailableError):
    """A posting is in a live set already: another run published first. Run again."""


class SetNotZeroError(ReconError, RefusedError):
    """A set does not add up to zero in one currency, is not whole, or has a leg that cannot clear."""


class ReconCheckError(ReconError, CheckFailedError):
    """A proof did not hold; the message says which, where and by how much."""


class NoRunError(ReconError, RefusedError):
    """This book and day have not been reconciled."""


class BreakUnknownError(ReconError, RefusedError):
    """The run has no break of this id."""


class BreakStateError(ReconError, RefusedError):
    """A break's state does not allow this step, or the break changed since somebody looked."""


class AdjustmentError(ReconError, RefusedError):
    """A proposal does not balance, does not close its break, or cannot be posted as it is."""


class SignOffError(ReconError, RefusedError):
    """A day cannot be signed or sampled: no certificate holds, or a statement is missing or unproven."""


class DecisionFileError(ReconError, RefusedError):
    """A spreadsheet of decisions has faults; `faults` lists each with its row, and nothing of it was done."""

    def __init__(self, name: str, faults: Sequence[str]) -> None:
        super().__init__(f"{name} has {len(faults)} faults; nothing of it was done.")
        self.faults = tuple(faults)


class FourEyesError(ReconError, RefusedError):
    """Another person must do this step, each in their own name."""


class TraceUnknownError(ReconError, RefusedError):
    """No posting, payment or bank line of the book has this name."""


register_constraint_errors(
    {
        "source_file_once": RefusedError,
        "statement_once": StatementChainError,
        "statement_chain": StatementChainError,
        "statement_one_successor": StatementChainError,
        "statement_one_first": StatementChainError,
        "statement_first_opening": StatementChainError,
        "statement_booking_pkey": StatementChainError,
        "statement_page_order": StatementChainError,
        "statement_proves": ReconCheckError,
        "statement_currency": FileRefusedError,
        "statement_line_postings": ReconCheckError,
        "receipt_known": FileRefusedError,
        "receipt_conflict": FileRefusedError,
        "expected_receipt_net": FileRefusedError,
        "expected_receipt_once": FileRefusedError,
        "match_leg_exclusive": ExclusiveLegError,
        "match_leg_generation": SetNotZeroError,
        "match_leg_transit": SetNotZeroError,
        "match_set_zero": SetNotZeroError,
        "match_set_equation": SetNotZeroError,
        "match_set_rivals": ReconCheckError,
        "match_set_decided": FourEyesError,
        "run_engines_agree": ReconCheckError,
        "unmatch_whole_set": SetNotZeroError,
        "unmatch_leg": SetNotZeroError,
        "unmatch_four_eyes": FourEyesError,
        "unmatch_live": RefusedError,
        "unmatch_returned_payment": RefusedError,
        "recon_own_name": FourEyesError,
        "event_own": RefusedError,
        "event_number_dense": RefusedError,
        "event_number_chain": RefusedError,
        "finding_resolution_once": BreakStateError,
        "break_known": BreakUnknownError,
        "break_event_once": BreakStateError,
        "break_event_chain": BreakStateError,
        "break_event_first": BreakStateError,
        "break_event_transition": BreakStateError,
        "break_event_words": BreakStateError,
        "break_event_owner": BreakStateError,
        "break_owner_known": RefusedError,
        "break_closed": BreakStateError,
        "break_there": BreakStateError,
        "break_unchanged": BreakStateError,
        "severity_threshold_says": RefusedError,
        "severity_threshold_currency": RefusedError,
        "policy_four_eyes": FourEyesError,
        "policy_known": RefusedError,
        "audit_sample_known": RefusedError,
        "adjustment_known": RefusedError,
        "adjustment_payment": AdjustmentError,
        "adjustment_payment_kind": AdjustmentError,
        "adjustment_payment_known": RefusedError,
        "adjustment_leg_once": AdjustmentError,
        "adjustment_own_name": FourEyesError,
        "adjustment_four_eyes": FourEyesError,
        "adjustment_policy_covers": AdjustmentError,
        "adjustment_policy_daily": AdjustmentError,
        "adjustment_policy_day": RefusedError,
        "adjustment_policy_use": AdjustmentError,
        "adjustment_stands": BreakStateError,
        "adjustment_items_open": BreakStateError,
        "adjustment_items_of_break": AdjustmentError,
        "adjustment_items_taken": BreakStateError,
        "adjustment_closes": AdjustmentError,
        "adjustment_entry": AdjustmentError,
        "adjustment_entry_once": AdjustmentError,
        "adjustment_balances": AdjustmentError,
        "adjustment_kind": AdjustmentError,
        "adjustment_account": AdjustmentError,
        "rule_status_once": RefusedError,
        "run_material_hash": ReconCheckError,
        "decision_file_once": RefusedError,
        "sign_off_once": SignOffError,
        "sign_off_certified": SignOffError,
        "sign_off_chain": SignOffError,
        "sign_off_four_eyes": FourEyesError,
        "audit_sample_once": SignOffError,
        "audit_item_once": SignOffError,
        "audit_review_once": SignOffError,
        "audit_review_item": SignOffError,
        "audit_review_says": SignOffError,
        "audit_review_value": SignOffError,
        "audit_review_independent": FourEyesError,
        "run_once": ExclusiveLegError,
        "run_conserves": ReconCheckError,
        "intraday_kind": FileRefusedError,
        "open_item_one_code": ReconCheckError,
        "certificate_residual": ReconCheckError,
        "certificate_statement": ReconCheckError,
        "certificate_hash": ReconCheckError,
        "certificate_blocked": SignOffError,
        "certificate_through": ReconCheckError,
    }
)
