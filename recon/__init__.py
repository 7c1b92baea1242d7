"""Reconciliation: bank statements proven and booked, cleared against the books, what is open explained.

ingest_files, arrived_files     statements and acquirer reports in; proven statements book themselves
check_files                     read and prove without booking
lines_to_parquet                statement lines as Parquet, without booking
reconcile                       clear, classify, publish, certify: one business day
trace, bank_entries             from a posting to the bank statement and back
run_report, breaks_list, break_show, break_explain
build_warehouse                 nostro.duckdb for analysts
"""

from recon.breaks import Break
from recon.certificate import SignOff, write_certificates
from recon.check import CheckReport, check_files
from recon.codes import BreakCode
from recon.errors import (
    BreakUnknownError,
    ExclusiveLegError,
    FileRefusedError,
    NoRunError,
    ReconCheckError,
    ReconError,
    SetNotZeroError,
    StatementChainError,
    TraceUnknownError,
)
from recon.ingest import FileResult, IngestReport, StatementResult, arrived_files, ingest_files
from recon.lineage import BankEntry, Trace, TraceStep, bank_entries, trace
from recon.lines import WrittenLines, lines_to_parquet
from recon.report import (
    BreakDetail,
    BreakRow,
    ExplainedItem,
    InFlight,
    OpenItemRow,
    ProposedLeg,
    RuleCount,
    RunReport,
    break_explain,
    break_show,
    breaks_list,
    run_report,
)
from recon.runs import reconcile
from recon.warehouse import WarehouseReport, build_warehouse

__all__ = [
    "BankEntry",
    "Break",
    "BreakCode",
    "BreakDetail",
    "BreakRow",
    "BreakUnknownError",
    "CheckReport",
    "ExclusiveLegError",
    "ExplainedItem",
    "FileRefusedError",
    "FileResult",
    "InFlight",
    "IngestReport",
    "NoRunError",
    "OpenItemRow",
    "ProposedLeg",
    "ReconCheckError",
    "ReconError",
    "RuleCount",
    "RunReport",
    "SetNotZeroError",
    "SignOff",
    "StatementChainError",
    "StatementResult",
    "Trace",
    "TraceStep",
    "TraceUnknownError",
    "WarehouseReport",
    "WrittenLines",
    "arrived_files",
    "bank_entries",
    "break_explain",
    "break_show",
    "breaks_list",
    "build_warehouse",
    "check_files",
    "ingest_files",
    "lines_to_parquet",
    "reconcile",
    "run_report",
    "trace",
    "write_certificates",
]
