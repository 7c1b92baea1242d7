"""What we owe whom, the files that pay it, and what the bank answered.

from settlement import apply_setup, propose, approve, release, poll, run_status
"""

from settlement.answers import is_answer, poll, receive
from settlement.approval import approve, cancel, reject, seal
from settlement.business_days import Calendar
from settlement.errors import (
    ApprovalLimitError,
    DuplicateClaimError,
    FileStateError,
    FileTamperedError,
    FourEyesError,
    NotKnownError,
    PayeeHeldError,
    ProposalRefusedError,
    ResendRefusedError,
    RestoredError,
    SendFailedError,
    SendUnknownError,
    SettlementError,
    SetupError,
)
from settlement.holds import (
    decide_dispute,
    decide_names,
    hold_instruction,
    hold_item,
    hold_run,
    release_hold,
    release_run,
)
from settlement.iso20022 import Finding, read_pain002
from settlement.model import (
    Approval,
    FileState,
    MessageFinding,
    NettedPayee,
    PaymentBatch,
    PaymentFileStatus,
    PollReport,
    ProposedFile,
    ReceivedMessage,
    RunStatus,
    SettlementException,
    StepResult,
    WrittenText,
)
from settlement.notices import BookedLine, take_notice
from settlement.payees import PayeeVersion, PayeeView, change_payee, hold_payee, payee_view, release_payee
from settlement.payout_report import Payout, payout_report
from settlement.profiles import UsualProfile, usual_profiles
from settlement.proposing import netting, propose
from settlement.reading import (
    exceptions,
    file_content,
    payment_batches,
    payment_file,
    payment_files,
    run_status,
    verify_clearing,
    written_texts,
)
from settlement.recalling import Recall, approve_recall, recalls, request_file_recall, request_recall, send_recalls
from settlement.reconciling import LostSend, SendReview, adopt_lost, end_lost, lost_sends, review_sends, sign_sends
from settlement.screening import Verdict, screen_payee
from settlement.sending import SendState, require_reconciled, send_state
from settlement.setup import SetupReport, apply_setup
from settlement.setup_check import read_setup
from settlement.setup_model import Bank, Setup
from settlement.splitting import Commission, Share, largest_remainder, split_entry
from settlement.transmission import release, resolve_interrupted, resolve_unknown
from settlement.transport import FolderTransport, NotDeliveredError, Transport

__all__ = [
    "Approval",
    "ApprovalLimitError",
    "Bank",
    "BookedLine",
    "Calendar",
    "Commission",
    "DuplicateClaimError",
    "FileState",
    "FileStateError",
    "FileTamperedError",
    "Finding",
    "FolderTransport",
    "FourEyesError",
    "LostSend",
    "MessageFinding",
    "NettedPayee",
    "NotDeliveredError",
    "NotKnownError",
    "PayeeHeldError",
    "PayeeVersion",
    "PayeeView",
    "PaymentBatch",
    "PaymentFileStatus",
    "Payout",
    "PollReport",
    "ProposalRefusedError",
    "ProposedFile",
    "Recall",
    "ReceivedMessage",
    "ResendRefusedError",
    "RestoredError",
    "RunStatus",
    "SendFailedError",
    "SendReview",
    "SendState",
    "SendUnknownError",
    "SettlementError",
    "SettlementException",
    "Setup",
    "SetupError",
    "SetupReport",
    "Share",
    "StepResult",
    "Transport",
    "UsualProfile",
    "Verdict",
    "WrittenText",
    "adopt_lost",
    "apply_setup",
    "approve",
    "approve_recall",
    "cancel",
    "change_payee",
    "decide_dispute",
    "decide_names",
    "end_lost",
    "exceptions",
    "file_content",
    "hold_instruction",
    "hold_item",
    "hold_payee",
    "hold_run",
    "is_answer",
    "largest_remainder",
    "lost_sends",
    "netting",
    "payee_view",
    "payment_batches",
    "payment_file",
    "payment_files",
    "payout_report",
    "poll",
    "propose",
    "read_pain002",
    "read_setup",
    "recalls",
    "receive",
    "reject",
    "release",
    "release_hold",
    "release_payee",
    "release_run",
    "request_file_recall",
    "request_recall",
    "require_reconciled",
    "resolve_interrupted",
    "resolve_unknown",
    "review_sends",
    "run_status",
    "screen_payee",
    "seal",
    "send_recalls",
    "send_state",
    "sign_sends",
    "split_entry",
    "take_notice",
    "usual_profiles",
    "verify_clearing",
    "written_texts",
]
