"""Commands that prove the books: seal, anchor, verify, proof, the auditor's export."""

from __future__ import annotations

import shlex
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

import typer

from ledger import (
    Seal,
    anchor_to_file,
    export_audit,
    list_seals,
    prove,
    publish,
    read_seal_lines,
    seal,
    verify,
    verify_after,
    verify_seals,
)
from ledger.errors import CheckFailedError, RefusedError, UnavailableError
from nostro.cli.common import BookOption, JsonOption, console, emit, progress, session
from nostro.cli.reconciliation import export_app
from nostro.database import SERVICE
from settlement import verify_clearing

_COMMAND_SECONDS = 120
RootOption = Annotated[
    Path | None,
    typer.Option("--root", exists=True, dir_okay=False, help="Seal lines kept outside (an anchor file)."),
]


def register(app: typer.Typer) -> None:
    """Add these commands to the program; `export` must be there already."""
    app.command("seal")(seal_command)
    app.command("verify")(verify_command)
    app.command("proof")(proof_command)
    export_app.command("audit")(export_audit_command)


def seal_command(
    entries: Annotated[int, typer.Option("--entries", min=1, help="Entries a seal, about.")] = 8_192,
    anchor_file: Annotated[
        Path | None, typer.Option("--anchor-file", dir_okay=False, help="Append every seal it lacks to this file.")
    ] = None,
    anchor_command: Annotated[
        str | None, typer.Option("--anchor-command", help="Run this program with the latest seal's line on its input.")
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Seal what the books hold, and keep the seals where nobody who can change the books can change them.

    May run at any time and any number of times; posting does not wait for it.

    Example: `nostro seal --anchor-file /mnt/worm/seals.jsonl`
    """
    with session(book=book) as s:
        publish(s.conn)
        with progress("sealing", quiet=as_json) as report:
            made = seal(s.conn, book_id=s.book_id, entries=entries, on_progress=lambda done: report(done, done))
        anchored = None if anchor_file is None else anchor_to_file(s.conn, anchor_file, book_id=s.book_id)
        last = list_seals(s.conn, book_id=s.book_id)[-1:]
    if anchor_command is not None and last:
        _run_anchor(anchor_command, last[0])

    def text() -> None:
        covered = sum(s.entry_count for s in made)
        console.print(f"{len(made)} new seals over {covered:,} entries")
        for head in last:
            console.print(f"head: {head.place}, digest {head.digest.hex()}")
        if anchored is not None and anchor_file is not None:
            console.print(f"{anchored} seals added to {anchor_file.name}")

    emit({"new_seals": made, "head": last[0] if last else None, "anchored": anchored}, text, as_json=as_json)


def _run_anchor(command: str, head: Seal) -> None:
    """Hand the head's line to a program (a timestamping client, a signer, a mailer); no shell is involved."""
    words = shlex.split(command)
    if not words:
        raise RefusedError("--anchor-command is empty; name a program.")
    try:
        done = subprocess.run(
            words, input=head.to_line() + "\n", text=True, capture_output=True, timeout=_COMMAND_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise UnavailableError(
            f"the seals are made, but {words[0]} did not anchor them ({error}); try again."
        ) from error
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip().splitlines()[-1:] or ["no message"]
        raise UnavailableError(
            f"the seals are made, but {words[0]} ended with status {done.returncode} ({said[0]}); run it again."
        )


def verify_command(
    full: Annotated[
        bool, typer.Option("--full/--incremental", help="Everything, or only what is new since the last good check.")
    ] = True,
    root: RootOption = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Recompute every invariant of the books from their rows, and every seal from the entries under it.

    Against --root, a file of seals kept outside, no change at or below a seal goes unseen, whoever made it.

    Example: `nostro verify --incremental`
    """
    with session(book=book) as s:
        anchored = () if root is None else read_seal_lines(root, book_id=s.book_id)
        with (
            progress("verifying", quiet=as_json) as on_progress,
            s.database.login(s.settings.user or SERVICE) as beside,
            s.database.login(s.settings.user or SERVICE) as invariants,
            ThreadPoolExecutor(max_workers=1) as second,
        ):
            rest = second.submit(verify, invariants, book_id=s.book_id) if full else None  # while the seals are checked
            report = verify_seals(
                s.conn,
                book_id=s.book_id,
                anchored=anchored,
                incremental=not full,
                beside=beside,
                on_progress=on_progress,
            )
            broken = (
                verify_after(s.conn, book_id=s.book_id, after_seq=report.checked_from_seq)
                if rest is None
                else (*rest.result(), *verify_clearing(s.conn, book_id=s.book_id))
            )
        faults = (*broken, *report.faults)

    def text() -> None:
        for f in faults:
            console.print(f"invariant {f.invariant}: {f.place} {f.fault}")
        console.print("all invariants hold" if not faults else f"{len(faults)} faults")
        console.print(
            f"{report.checked_seals} of {report.seals} seals checked, {report.checked_entries:,} entries under them"
            f"{'' if root is None else f', against {root.name}'}; {report.unsealed_entries:,} entries not sealed yet"
        )

    emit({"faults": faults, "seals": report}, text, as_json=as_json)
    if faults:
        raise CheckFailedError(f"{len(faults)} invariants of the books do not hold; see the list above.")


def proof_command(
    key: Annotated[str, typer.Argument(help="The idempotency key of the entry.")],
    as_json: JsonOption = True,
    book: BookOption = None,
) -> None:
    """Print the proof that an entry is under a seal, as JSON that `tools/verify_books.py proof` checks alone.

    Example: `nostro proof sale-17`
    """
    with session(book=book) as s:
        proof = prove(s.conn, book_id=s.book_id, key=key)
    sys.stdout.write(proof.to_json() + "\n")


def export_audit_command(
    folder: Annotated[Path, typer.Argument(file_okay=False, help="Where to write.")],
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Everything under seal for an auditor, checked by `tools/verify_books.py export DIR --root FILE`.

    Example: `nostro export audit audit-2026`
    """
    with session(book=book) as s, progress("exporting", quiet=as_json) as report:
        done = export_audit(s.conn, book_id=s.book_id, folder=folder, on_progress=report)
    emit(
        done,
        lambda: console.print(
            f"{done.entries:,} entries, {done.batches:,} batches, {done.seals} seals in {done.folder}; "
            f"head {done.head.digest.hex()}"
        ),
        as_json=as_json,
    )
