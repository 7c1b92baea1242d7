"""Every way settlement can refuse, one class a cause.

SettlementError
├── SetupError               a setup file is wrong; `faults` lists every fault with its place
├── ProposalRefusedError     a file did not pass its gates; `findings` lists why
├── FourEyesError            the preparer cannot approve; a signature is the login's own
├── ApprovalLimitError       the file is larger than what this person may approve
├── PayeeHeldError           a payee of the file is held
├── FileStateError           the file is not in the state this step needs
├── FileTamperedError        stored bytes are not what was proposed or approved
├── DuplicateClaimError      a posting is in a clearing group already (invariant 10)
├── NotKnownError            no such file, bank account, hold
├── ResendRefusedError       sending again could pay twice
├── RestoredError            these books may have forgotten what they sent; nothing is sent before people have compared
├── SendFailedError          nothing reached the bank; may be sent again (retryable)
└── SendUnknownError         it may have reached the bank; looked up, never re-keyed
"""

from __future__ import annotations

from collections.abc import Sequence

from ledger import (
    AccessError,
    AppendOnlyError,
    NostroError,
    OutcomeUnknownError,
    RefusedError,
    UnavailableError,
    register_constraint_errors,
)
from settlement.iso20022 import Finding


class SettlementError(NostroError):
    """Base of everything settlement refuses."""


class SetupError(SettlementError, RefusedError):
    """A setup file was refused whole; `faults` lists every one with its place."""

    def __init__(self, message: str, faults: Sequence[str] = (), **context: str | None) -> None:
        super().__init__(message, **context)
        self.faults = tuple(faults)


class ProposalRefusedError(SettlementError, RefusedError):
    """A rendered file broke a rule; nothing was proposed. `findings` lists every one."""

    def __init__(self, message: str, findings: Sequence[Finding]) -> None:
        super().__init__(message)
        self.findings = tuple(findings)


class FourEyesError(SettlementError, AccessError):
    """Four eyes: the preparer does not approve, and everybody signs with their own login."""


class ApprovalLimitError(SettlementError, AccessError):
    """The file is larger than what this person may approve."""


class PayeeHeldError(SettlementError, RefusedError):
    """A payee of the file is held: by a person, new bank details, or a verdict of screening."""


class FileStateError(SettlementError, RefusedError):
    """The file is not in the state that this step needs."""


class FileTamperedError(SettlementError, RefusedError):
    """What is stored is not what was proposed or approved. Do not send it."""


class DuplicateClaimError(SettlementError, RefusedError):
    """A posting is in a clearing group already, for ever, or a group would not be whole."""


class NotKnownError(SettlementError, RefusedError):
    """There is no such payment file, bank account or hold."""


class ResendRefusedError(SettlementError, RefusedError):
    """Sending the file again could pay twice."""


class RestoredError(SettlementError, RefusedError):
    """Books, journal of sends and banks disagree about what was sent: the books were restored, or are a copy."""


class SendFailedError(SettlementError, UnavailableError):
    """Nothing reached the bank under the file's name; it may be sent again."""

    retryable = True


class SendUnknownError(SettlementError, OutcomeUnknownError):
    """The file may have reached the bank. Its answer, its outbox or its statement will tell."""


register_constraint_errors(
    {
        "bank_account_same": SetupError,
        "bank_account_iban": SetupError,
        "payee_payable": SetupError,
        "payee_account": SetupError,
        "payee_same_account": SetupError,
        "payee_version_schedule": SetupError,
        "payee_version_reserve": SetupError,
        "payee_version_mandate": SetupError,
        "run_cycle": FileStateError,
        "run_preparer": FourEyesError,
        "obligation_once": FileStateError,
        "obligation_amount": FileStateError,
        "obligation_postings": FileStateError,
        "payment_file_part": FileStateError,
        "payment_file_msg_id": FileStateError,
        "payment_batch_payment_information_id": FileStateError,
        "payment_batch_id_length": FileStateError,
        "payment_file_id_length": FileStateError,
        "payment_file_totals": FileTamperedError,
        "payment_batch_totals": FileTamperedError,
        "instruction_ordinal": FileTamperedError,
        "instruction_end_to_end_id": FileStateError,
        "instruction_uetr": FileStateError,
        "instruction_id_length": FileStateError,
        "approval_own_name": FourEyesError,
        "approval_four_eyes": FourEyesError,
        "approval_signs_file": FileTamperedError,
        "approval_once": FileStateError,
        "approval_count": FourEyesError,
        "approval_limit": ApprovalLimitError,
        "approval_own_limit": FourEyesError,
        "details_four_eyes": FourEyesError,
        "payee_known": NotKnownError,
        "payee_hold_screening": FileStateError,
        "screening_moment": FileStateError,
        "screening_clear": PayeeHeldError,
        "run_known": NotKnownError,
        "run_held": FileStateError,
        "run_overlaps": FileStateError,
        "instruction_not_sealed": FileStateError,
        "recall_sent": FileStateError,
        "recall_known": NotKnownError,
        "recall_own_name": FourEyesError,
        "recall_four_eyes": FourEyesError,
        "recall_whole": FileTamperedError,
        "recall_kind": FileStateError,
        "recall_in_time": FileStateError,
        "recall_file_once": FileStateError,
        "recall_file_msg_id": FileStateError,
        "recall_file_id_length": FileTamperedError,
        "recall_file_hash": FileTamperedError,
        "recall_member_once": FileStateError,
        "recall_member_alone": FileStateError,
        "recall_total": FileStateError,
        "recall_parts": FileStateError,
        "recall_event_first": FileStateError,
        "recall_event_transition": FileStateError,
        "recall_event_chain": FileStateError,
        "reserve_taken_once": DuplicateClaimError,
        "reserve_taken_due": FileStateError,
        "reserve_release_order": DuplicateClaimError,
        "reserve_release_total": DuplicateClaimError,
        "file_known": NotKnownError,
        "file_approved": FileStateError,
        "file_event_first": FileStateError,
        "file_event_transition": FileStateError,
        "file_event_chain": FileStateError,
        "file_event_once": FileStateError,
        "file_standing_event": FileStateError,
        "standing_by_event": AppendOnlyError,
        "outstanding_what": AppendOnlyError,
        "instruction_event_first": FileStateError,
        "instruction_event_transition": FileStateError,
        "message_received_once": FileStateError,
        "message_received_hash": FileTamperedError,
        "answer_note_once": FileStateError,
        "hold_release_approver": FourEyesError,
        "name_check_told": FileStateError,
        "message_finding_known": NotKnownError,
        "dispute_open": FileStateError,
        "dispute_once": FileStateError,
        "name_check_once": FileStateError,
        "dispute_reopened": FileStateError,
        "obligation_known": NotKnownError,
        "clearing_member_once": DuplicateClaimError,
        "clearing_group_zero": DuplicateClaimError,
        "clearing_group_order": UnavailableError,
        "clearing_group_obligation": DuplicateClaimError,
        "clearing_group_transit": DuplicateClaimError,
        "clearing_group_remainder": DuplicateClaimError,
        "clearing_group_paid_or_zero": DuplicateClaimError,
        "reopening_once": DuplicateClaimError,
        "reopening_line_once": DuplicateClaimError,
        "reopening_total": FileStateError,
        "reopening_sealed": FileStateError,
        "hold_known": NotKnownError,
        "resend_safe": ResendRefusedError,
        "send_own_session": AccessError,
        "fate_of_unknown": FileStateError,
        "fate_own_name": FourEyesError,
        "fate_four_eyes": FourEyesError,
        "sends_agree": RestoredError,
        "send_id_left": RestoredError,
        "send_journal_id": RestoredError,
        "send_number_digest": RestoredError,
        "send_first": RestoredError,
        "send_chain": RestoredError,
        "send_digest_right": RestoredError,
        "send_review_own_name": FourEyesError,
        "send_review_word_once": FileStateError,
        "send_review_four_eyes": FourEyesError,
        "lost_send_once": FileStateError,
        "lost_send_hash": FileTamperedError,
        "lost_send_own_name": FourEyesError,
        "lost_send_four_eyes": FourEyesError,
        "lost_send_same_bytes": FileTamperedError,
        "lost_send_adopted": FileStateError,
        "lost_send_known": NotKnownError,
        "lost_send_open": FileStateError,
        "file_event_adopted": FileStateError,
    }
)
