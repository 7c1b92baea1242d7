"""What we owe whom, the files that pay it, and what the bank answered.

from settlement import apply_setup, propose, approve, release, poll, run_status
"""

from settlement.answers import poll, receive
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
    SendFailedError,
    SendUnknownError,
    SettlementError,
    SetupError,
)
from settlement.holds import hold_item, release_hold
from settlement.iso20022 import Finding, read_pain002
from settlement.model import (
    Approval,
    FileState,
    MessageFinding,
    NettedPayee,
    PaymentFileStatus,
    Payout,
    PollReport,
    ProposedFile,
    ReceivedMessage,
    RunStatus,
    StepResult,
)
from settlement.proposing import netting, propose
from settlement.reading import file_content, payment_file, payment_files, payout_report, run_status
from settlement.setup import SetupReport, apply_setup
from settlement.setup_check import read_setup
from settlement.setup_model import Bank, Setup
from settlement.transmission import release, resolve_interrupted
from settlement.transport import FolderTransport, NotDeliveredError, Transport

__all__ = [
    "Approval",
    "ApprovalLimitError",
    "Bank",
    "Calendar",
    "DuplicateClaimError",
    "FileState",
    "FileStateError",
    "FileTamperedError",
    "Finding",
    "FolderTransport",
    "FourEyesError",
    "MessageFinding",
    "NettedPayee",
    "NotDeliveredError",
    "NotKnownError",
    "PayeeHeldError",
    "PaymentFileStatus",
    "Payout",
    "PollReport",
    "ProposalRefusedError",
    "ProposedFile",
    "ReceivedMessage",
    "ResendRefusedError",
    "RunStatus",
    "SendFailedError",
    "SendUnknownError",
    "SettlementError",
    "Setup",
    "SetupError",
    "SetupReport",
    "StepResult",
    "Transport",
    "apply_setup",
    "approve",
    "cancel",
    "file_content",
    "hold_item",
    "netting",
    "payment_file",
    "payment_files",
    "payout_report",
    "poll",
    "propose",
    "read_pain002",
    "read_setup",
    "receive",
    "reject",
    "release",
    "release_hold",
    "resolve_interrupted",
    "run_status",
    "seal",
]
