"""Reconciliation: bank statements proven and booked, cleared against the books, what is open explained.

ingest_files, arrived_files     statements and acquirer reports in; proven statements book themselves
check_files                     read and prove without booking
lines_to_parquet                statement lines as Parquet, without booking
reconcile                       clear, classify, publish, certify: one business day
trace, bank_entries             from a posting to the bank statement and back
intraday_report                 what banks announced during the day, and what the booked statement has replaced
run_report, breaks_list, break_show, break_explain
assign_break, note_break, resolve_break, reopen_break          the life of a break
propose, approve_proposal, end_proposal, post_routine_breaks    what closes it, with a second person or by policy
request_unmatch, unmatch_set    a cleared set taken back
suspense_items, suspense_buckets what waits on suspense accounts, with its age
build_warehouse, quality_scores nostro.duckdb for analysts, and how good the data of a day was
export_days                     the same tables as Parquet, one file a bank account and day
list_runs, replay, run_diff, break_counterfactuals                runs again, side by side, and what would change them
cleared_sets                    what cleared on a day, by which rule or whose word
known_point, recorded_events    the knowledge order: numbers that `known_at` takes, and what was recorded under each
verify_run                      a finished run checked whole, by a program that knows nothing of the matcher
export_breaks, import_decisions breaks to a spreadsheet, decisions back
sign_off, sign_offs, cash_identity, draw_sample, review_set, rule_precision     sign-off and what it rests on
build_warehouse                 nostro.duckdb for analysts
"""

from recon.adjustments import (
    DAILY_COUNT,
    DryRun,
    Plan,
    Policy,
    Proposed,
    Wish,
    approve_policy,
    approve_proposal,
    declare_policy,
    dry_run,
    end_policy,
    end_proposal,
    open_proposal,
    policies,
    post_routine_breaks,
    propose,
)
from recon.audit import (
    AuditSample,
    RulePrecision,
    demote_rules,
    draw_sample,
    review_set,
    rule_precision,
    set_rule_status,
)
from recon.board import (
    BUCKETS,
    BoardRow,
    BreakDetail,
    BreakEvent,
    Filters,
    OpenItemRow,
    ProposalRow,
    ProposedLeg,
    Severity,
    age_buckets,
    break_explain,
    break_show,
    breaks_list,
)
from recon.breaks import Break
from recon.certificate import SignOff, write_certificates
from recon.check import CheckReport, check_files
from recon.codes import BreakCode
from recon.day_files import DayFilesReport, export_days
from recon.decisions import ImportedDecisions, export_breaks, import_decisions
from recon.errors import (
    AdjustmentError,
    BreakStateError,
    BreakUnknownError,
    DecisionFileError,
    ExclusiveLegError,
    FileRefusedError,
    FourEyesError,
    NoRunError,
    ReconCheckError,
    ReconError,
    SetNotZeroError,
    SignOffError,
    StatementChainError,
    TraceUnknownError,
)
from recon.ingest import FileResult, IngestReport, StatementResult, arrived_files, ingest_files
from recon.intraday import Announced, Intraday, IntradayEntry, IntradayPosition, intraday_report
from recon.knowledge import KnownAt, KnownPoint, RecordedEvent, known_point, recorded_events
from recon.lineage import BankEntry, Trace, TraceStep, bank_entries, trace
from recon.lines import WrittenLines, lines_to_parquet
from recon.material import Replay, RunRow, break_counterfactuals, list_runs, replay
from recon.relaxation import Counterfactual, Relaxed
from recon.report import (
    AgeBucket,
    BreakRow,
    CarriedForward,
    ExplainedItem,
    InFlight,
    RuleCount,
    RunReport,
    run_report,
)
from recon.run_diff import Cause, Change, RunDiff, run_diff
from recon.runs import reconcile
from recon.sets import ClearedSet, cleared_sets
from recon.signing import CashIdentity, DaySignOff, IdentityLine, Signature, cash_identity, sign_off, sign_offs
from recon.suspense import SuspenseBucket, SuspenseItem, suspense_buckets, suspense_items
from recon.templates import TEMPLATES, EntryLeg, Template, templates_for
from recon.verifier_rules import Fault
from recon.verifier_run import RunVerdict, unverified_runs, verify_run
from recon.warehouse import QualityScore, WarehouseReport, build_warehouse, quality_scores
from recon.workflow import (
    Threshold,
    assign_break,
    note_break,
    reopen_break,
    request_unmatch,
    resolve_break,
    set_severity,
    severity_thresholds,
    unmatch_set,
)

__all__ = [
    "BUCKETS",
    "DAILY_COUNT",
    "TEMPLATES",
    "AdjustmentError",
    "AgeBucket",
    "Announced",
    "AuditSample",
    "BankEntry",
    "BoardRow",
    "Break",
    "BreakCode",
    "BreakDetail",
    "BreakEvent",
    "BreakRow",
    "BreakStateError",
    "BreakUnknownError",
    "CarriedForward",
    "CashIdentity",
    "Cause",
    "Change",
    "CheckReport",
    "ClearedSet",
    "Counterfactual",
    "DayFilesReport",
    "DaySignOff",
    "DecisionFileError",
    "DryRun",
    "EntryLeg",
    "ExclusiveLegError",
    "ExplainedItem",
    "Fault",
    "FileRefusedError",
    "FileResult",
    "Filters",
    "FourEyesError",
    "IdentityLine",
    "ImportedDecisions",
    "InFlight",
    "IngestReport",
    "Intraday",
    "IntradayEntry",
    "IntradayPosition",
    "KnownAt",
    "KnownPoint",
    "NoRunError",
    "OpenItemRow",
    "Plan",
    "Policy",
    "ProposalRow",
    "Proposed",
    "ProposedLeg",
    "QualityScore",
    "ReconCheckError",
    "ReconError",
    "RecordedEvent",
    "Relaxed",
    "Replay",
    "RuleCount",
    "RulePrecision",
    "RunDiff",
    "RunReport",
    "RunRow",
    "RunVerdict",
    "SetNotZeroError",
    "Severity",
    "SignOff",
    "SignOffError",
    "Signature",
    "StatementChainError",
    "StatementResult",
    "SuspenseBucket",
    "SuspenseItem",
    "Template",
    "Threshold",
    "Trace",
    "TraceStep",
    "TraceUnknownError",
    "WarehouseReport",
    "Wish",
    "WrittenLines",
    "age_buckets",
    "approve_policy",
    "approve_proposal",
    "arrived_files",
    "assign_break",
    "bank_entries",
    "break_counterfactuals",
    "break_explain",
    "break_show",
    "breaks_list",
    "build_warehouse",
    "cash_identity",
    "check_files",
    "cleared_sets",
    "declare_policy",
    "demote_rules",
    "draw_sample",
    "dry_run",
    "end_policy",
    "end_proposal",
    "export_breaks",
    "export_days",
    "import_decisions",
    "ingest_files",
    "intraday_report",
    "known_point",
    "lines_to_parquet",
    "list_runs",
    "note_break",
    "open_proposal",
    "policies",
    "post_routine_breaks",
    "propose",
    "quality_scores",
    "reconcile",
    "recorded_events",
    "reopen_break",
    "replay",
    "request_unmatch",
    "resolve_break",
    "review_set",
    "rule_precision",
    "run_diff",
    "run_report",
    "set_rule_status",
    "set_severity",
    "severity_thresholds",
    "sign_off",
    "sign_offs",
    "suspense_buckets",
    "suspense_items",
    "templates_for",
    "trace",
    "unmatch_set",
    "unverified_runs",
    "verify_run",
    "write_certificates",
]
