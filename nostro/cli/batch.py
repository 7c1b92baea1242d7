"""Commands of batch reconciliation: two Parquet files in, a proven result out, verified and repeated.

Lives here: arguments, what is printed. Must not live here: matching, verification. No database is needed, but for
verifying a nightly run, which is the same question.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Annotated

import typer

from nostro.cli.common import (
    EXIT_CHECK_FAILED,
    BookOption,
    JsonOption,
    console,
    date_text,
    emit,
    parse_date,
    progress,
    session,
)
from nostro.cli.reconciliation import recon_app
from recon import Fault, verify_run
from recon.matching import (
    MAY_CLEAR,
    BatchResult,
    Tolerances,
    reconcile_parquet,
    replay_batch,
    replay_update,
    update_batch,
)
from recon.verifier_batch import Layer, verify_batch

BankArgument = Annotated[Path, typer.Argument(dir_okay=False, help="Parquet file of bank lines.")]
LedgerArgument = Annotated[Path, typer.Argument(dir_okay=False, help="Parquet file of ledger items.")]
ResultArgument = Annotated[Path, typer.Argument(file_okay=False, help="Folder of the result.")]
ThreadsOption = Annotated[int, typer.Option("--threads", min=1, help="Threads of the matching engine.")]
MemoryOption = Annotated[int, typer.Option("--memory-limit-gb", min=1, help="Bound of the matching engine's memory.")]
LateOption = Annotated[
    Path | None, typer.Option("--late", dir_okay=False, help="Parquet file of late lines; with --layer.")
]
LayerOption = Annotated[
    Path | None, typer.Option("--layer", file_okay=False, help="Folder that `nostro recon late` wrote; with --late.")
]
THREADS = os.cpu_count() or 2
SHOWN_MAX = 20


def register(app: typer.Typer) -> None:
    """The commands hang on `nostro recon`, which is registered by its own module."""


def _layer(late: Path | None, layer: Path | None) -> Layer | None:
    if (late is None) != (layer is None):
        raise typer.BadParameter("--late and --layer go together: the late lines, and what `nostro recon late` wrote.")
    return None if late is None or layer is None else Layer(late, layer)


def _permitted(codes: list[str] | None) -> list[str] | None:
    for code in codes or ():
        if code not in MAY_CLEAR:
            raise typer.BadParameter(f"{code!r} is none of {', '.join(sorted(MAY_CLEAR))}")
    return codes


@recon_app.command("batch")
def batch_command(
    bank: BankArgument,
    ledger: LedgerArgument,
    out: ResultArgument,
    as_of: Annotated[str, typer.Option("--as-of", callback=date_text, help="The day the items' ages count to.")],
    window_days: Annotated[int, typer.Option("--window-days", min=0, help="Business days a line may be off.")] = 1,
    rounding_minor: Annotated[int, typer.Option("--rounding-minor", min=0, help="Minor units an item.")] = 1,
    may_clear: Annotated[
        list[str] | None,
        typer.Option(
            "--may-clear", callback=_permitted, help="Code whose explained difference clears; again for more."
        ),
    ] = None,
    threads: ThreadsOption = THREADS,
    memory_limit_gb: MemoryOption = 4,
    as_json: JsonOption = False,
) -> None:
    """Reconcile two Parquet files into matches, proofs, breaks and a certificate. The same files: the same result.

    Example: `nostro recon batch bank.parquet ledger.parquet result --as-of 2026-11-30`
    """
    day = parse_date(as_of)
    assert isinstance(day, date)
    allowed = Tolerances(window_days=window_days, rounding_minor=rounding_minor, may_clear=frozenset(may_clear or ()))
    with progress("reconciling", quiet=as_json):
        result = reconcile_parquet(
            bank, ledger, out, tolerances=allowed, as_of=day, threads=threads, memory_limit_gb=memory_limit_gb
        )
    emit(result, lambda: _print_result(result), as_json=as_json)


def _print_result(result: BatchResult) -> None:
    console.print(
        f"{result.cleared_items:,} of {result.bank_items + result.ledger_items:,} items cleared in"
        f" {result.set_count:,} sets, {result.open_items:,} open, {result.break_count:,} breaks; residual 0"
    )
    for name, count in result.rules.items():
        console.print(f"  {name}: {count:,}")
    for name, count in result.codes.items():
        console.print(f"  {name}: {count:,}")
    for name, count in result.search_exhausted.items():
        console.print(f"  SEARCH_EXHAUSTED {name}: {count:,} searches ended at their bound; their items stay open")
    console.print(f"result {result.result_sha256}")


@recon_app.command("verify")
def verify_command(
    run: Annotated[str, typer.Argument(help="A nightly run's number; or the Parquet file of bank lines.")],
    ledger: Annotated[Path | None, typer.Argument(dir_okay=False, help="Parquet file of ledger items.")] = None,
    out: Annotated[Path | None, typer.Argument(file_okay=False, help="Folder of the batch result.")] = None,
    late: LateOption = None,
    layer: LayerOption = None,
    threads: ThreadsOption = THREADS,
    memory_limit_gb: MemoryOption = 4,
    chained: Annotated[
        bool, typer.Option("--chained", help="Of a nightly run: go on from the run before, when that one was verified.")
    ] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Check a run again, whole, by a program that knows nothing of the matcher. Status 5: a fault.

    A number is a nightly run, checked against the books and the statements; three paths are a batch result,
    and `--late late.parquet --layer layer` what `nostro recon late` laid over it.

    Example: `nostro recon verify 3`
    """
    if ledger is not None and out is not None:
        over = _layer(late, layer)
        with progress("verifying", quiet=as_json):
            faults = verify_batch(Path(run), ledger, out, layer=over, threads=threads, memory_limit_gb=memory_limit_gb)
        emit({"faults": faults}, lambda: _print_faults(faults), as_json=as_json)
    elif ledger is None and run.isdecimal():
        with session(book=book) as s, progress("verifying", quiet=as_json):
            found = verify_run(s.conn, book_id=s.book_id, run_id=int(run), threads=threads, chained=chained, keep=True)
        faults = found.faults

        def text() -> None:
            console.print(
                f"run {found.run_id} of {found.business_date}: {found.items:,} items, {found.sets:,} sets,"
                f" {found.breaks:,} breaks, {found.certificates} certificates;"
                f" {'the whole ledger' if found.is_whole else 'what changed since the run before'}"
            )
            _print_faults(faults)

        emit(found, text, as_json=as_json)
    else:
        raise typer.BadParameter("give a run's number, or the two Parquet files and the result's folder")
    if faults:
        raise typer.Exit(EXIT_CHECK_FAILED)


def _print_faults(faults: Sequence[Fault]) -> None:
    console.print("no fault" if not faults else f"{len(faults)} faults")
    for fault in faults[:SHOWN_MAX]:
        console.print(f"  {fault.kind} {fault.place}: {fault.message}")
    if len(faults) > SHOWN_MAX:
        console.print(f"  and {len(faults) - SHOWN_MAX} more; all of them with --json")


@recon_app.command("replay")
def replay_command(
    bank: BankArgument,
    ledger: LedgerArgument,
    out: ResultArgument,
    late: LateOption = None,
    layer: LayerOption = None,
    threads: ThreadsOption = THREADS,
    memory_limit_gb: MemoryOption = 4,
    as_json: JsonOption = False,
) -> None:
    """Run a batch result again from its input files and compare every row. Status 5: it came out otherwise.

    With `--late late.parquet --layer layer` the layer is made again over the result.

    Example: `nostro recon replay bank.parquet ledger.parquet result`
    """
    over = _layer(late, layer)
    with progress("replaying", quiet=as_json):
        if over is None:
            found = replay_batch(bank, ledger, out, threads=threads, memory_limit_gb=memory_limit_gb)
        else:
            found = replay_update(
                bank, ledger, out, over.late, over.out, threads=threads, memory_limit_gb=memory_limit_gb
            )
    emit(
        found,
        lambda: console.print("the same result" if found.is_same else f"another result: {found.difference}"),
        as_json=as_json,
    )
    if not found.is_same:
        raise typer.Exit(EXIT_CHECK_FAILED)


@recon_app.command("late")
def late_command(
    bank: BankArgument,
    ledger: LedgerArgument,
    previous: ResultArgument,
    late: Annotated[Path, typer.Argument(dir_okay=False, help="Parquet file of the late bank lines.")],
    out: Annotated[Path, typer.Argument(file_okay=False, help="Folder of the layer.")],
    threads: ThreadsOption = THREADS,
    memory_limit_gb: MemoryOption = 4,
    as_json: JsonOption = False,
) -> None:
    """Reconcile again only the accounts that late lines touch; the digest is that of a full run over all lines.

    Example: `nostro recon late bank.parquet ledger.parquet result late.parquet layer`
    """
    with progress("reconciling", quiet=as_json):
        found = update_batch(bank, ledger, previous, late, out, threads=threads, memory_limit_gb=memory_limit_gb)

    def text() -> None:
        console.print(f"{found.late_lines:,} late lines touch {', '.join(found.accounts)}")
        _print_result(found.layer)
        console.print(f"whole result {found.result_sha256}")

    emit(found, text, as_json=as_json)
