"""Commands that ask sent payments back and give collections back: request, approve, send, look."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated

import typer

from ledger import Connection, format_amount, parse_amount_minor
from nostro.cli.common import (
    AsOption,
    BookOption,
    JsonOption,
    console,
    emit,
    moment_text,
    parse_moment,
    reason_text,
    session,
    table,
)
from settlement import (
    Recall,
    approve_recall,
    payment_exponent,
    recalls,
    request_file_recall,
    request_file_reversal,
    request_recall,
    request_reversal,
    send_recalls,
)


@dataclass(frozen=True, slots=True)
class _Request:
    """One of the two things that can be asked of sent payments, and how the command line tells it."""

    noun: str
    codes: tuple[str, ...]
    of_one: Callable[..., bool]
    of_file: Callable[..., int]
    asked: str
    was_asked: str
    counted: str  # the field of the JSON answer that says how many of a file

    def ask(
        self,
        conn: Connection,
        end_to_end_id: str | None,
        file_id: int | None,
        *,
        code: str,
        reason: str,
        part: Mapping[str, int] | None = None,
    ) -> tuple[dict[str, object], str]:
        """Ask it of a payment, of a `part` of it, or of a file: the answer as a value and as a sentence."""
        if code not in self.codes:
            known = f"{', '.join(self.codes[:-1])} or {self.codes[-1]}"
            raise typer.BadParameter(f"{code!r} is not {known}", param_hint="--code")
        if (end_to_end_id is None) == (file_id is None):
            raise typer.BadParameter(f"name a {self.noun} by its EndToEndId, or a file by --file", param_hint="--file")
        if file_id is None:
            is_new = self.of_one(conn, end_to_end_id=end_to_end_id, reason_code=code, reason=reason, **(part or {}))
            said = f"{self.asked}; another person approves" if is_new else self.was_asked
            return {"end_to_end_id": end_to_end_id, "is_new": is_new}, said
        count = self.of_file(conn, file_id, reason_code=code, reason=reason)
        said = f"{count} {self.noun}s of file {file_id} are {self.asked}; another person approves"
        return {"file_id": file_id, self.counted: count}, said


_RECALL = _Request(
    noun="payment",
    codes=("DUPL", "TECH", "FRAD", "CUST", "AM09", "AC03"),
    of_one=request_recall,
    of_file=request_file_recall,
    asked="asked back",
    was_asked="was asked back before",
    counted="asked_back",
)
_REVERSAL = _Request(
    noun="collection",
    codes=("AM05", "AM09", "MD05", "MS02"),
    of_one=request_reversal,
    of_file=request_file_reversal,
    asked="to be given back",
    was_asked="was to be given back before",
    counted="to_reverse",
)

ReasonOption = Annotated[str, typer.Option("--reason", callback=reason_text, help="Why; it is kept.")]
FileArgument = Annotated[int, typer.Argument(help="The file whose payments are asked back or given back.")]


def register(settle: typer.Typer) -> None:
    """Add these commands to `nostro settle`."""
    settle.command("recall")(recall_command)
    settle.command("reverse")(reverse_command)
    settle.command("recall-approve")(approve_command)
    settle.command("recall-send")(send_command)
    settle.command("recalls")(recalls_command)


def recall_command(
    reason: ReasonOption,
    end_to_end_id: Annotated[str | None, typer.Argument(help="EndToEndId of the payment.")] = None,
    file_id: Annotated[int | None, typer.Option("--file", help="Every payment of this file instead.")] = None,
    code: Annotated[
        str, typer.Option("--code", help="DUPL, TECH, FRAD, CUST, AM09 or AC03 (ISO cancellation reasons).")
    ] = "CUST",
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Ask a payment back that was sent, or a whole file. Another person approves before the bank is asked.

    Example: `nostro settle recall E2E… --code DUPL --reason "paid by hand before" --as alice`
    """
    with session(person, book) as s:
        value, said = _RECALL.ask(s.conn, end_to_end_id, file_id, code=code, reason=reason)
    emit(value, lambda: console.print(said), as_json=as_json)


def reverse_command(
    reason: ReasonOption,
    end_to_end_id: Annotated[str | None, typer.Argument(help="EndToEndId of the collection.")] = None,
    file_id: Annotated[
        int | None, typer.Option("--file", help="Every settled collection of this file instead.")
    ] = None,
    code: Annotated[
        str,
        typer.Option(
            "--code",
            help="AM05 (collected twice), AM09 (wrong amount), MD05 (not to be collected) or MS02 (no reason given).",
        ),
    ] = "MS02",
    amount: Annotated[
        str | None,
        typer.Option("--amount", help="A part of it, where its bank takes that (default: all that is left)."),
    ] = None,
    part: Annotated[
        int, typer.Option("--part", min=1, max=9, help="Which part it is: 2 after the first is approved, and so on.")
    ] = 1,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Give a collected direct debit back, a part of it, or a whole file. Another person approves before the bank is
    told.

    Then as with recalls: `recall-approve` writes the reversal (pain.007), `recall-send` sends it, `recalls` shows it.
    A part that was asked before is known by its number, so the same command again changes nothing.

    Example: `nostro settle reverse E2E… --amount 12.50 --code AM09 --reason "37.50 was agreed" --as alice`
    """
    if file_id is not None and (amount is not None or part != 1):
        raise typer.BadParameter("a file is given back whole; name a collection", param_hint="--file")
    with session(person, book) as s:
        wanted = {"number": part}
        if amount is not None and end_to_end_id is not None:
            exponent = payment_exponent(s.conn, end_to_end_id=end_to_end_id)
            wanted["amount_minor"] = parse_amount_minor(amount, exponent)
        value, said = _REVERSAL.ask(s.conn, end_to_end_id, file_id, code=code, reason=reason, part=wanted)
    emit(value, lambda: console.print(said), as_json=as_json)


def approve_command(
    file_id: FileArgument,
    end_to_end_ids: Annotated[
        list[str] | None, typer.Argument(help="Only these payments of it.", metavar="[E2E…]")
    ] = None,
    now: Annotated[
        str | None,
        typer.Option("--now", callback=moment_text, help="The moment to act at, with time zone (default: the clock)."),
    ] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Approve what another person asked back of a file, and write it for the bank (camt.055; of collections pain.007).

    Example: `nostro settle recall-approve 3 --as bob`
    """
    with session(person, book) as s:
        approved = approve_recall(
            s.conn, file_id, now=parse_moment(now) or datetime.now(UTC), end_to_end_ids=end_to_end_ids or None
        )
    emit({"recalls": approved}, lambda: _print(approved), as_json=as_json)


def send_command(
    file_id: FileArgument,
    resend: Annotated[
        bool,
        typer.Option("--resend", help="Send the identical bytes of an unknown recall again (bank refuses duplicates)."),
    ] = False,
    as_json: JsonOption = False,
    book: BookOption = None,
    person: AsOption = None,
) -> None:
    """Send the approved recalls (or reversals) of a file to its bank. Again: nothing is sent twice.

    Example: `nostro settle recall-send 3 --as alice`
    """
    with session(person, book) as s:
        sent = send_recalls(s.conn, file_id, home=s.home, resend=resend)

    def text() -> None:
        for number, result in enumerate(sent, 1):
            console.print(
                f"recall {number} of file {file_id}: {result.state}{'' if result.is_new else ' (was already)'}"
            )

    emit({"recalls": sent}, text, as_json=as_json)


def recalls_command(
    file_id: Annotated[int | None, typer.Option("--file", help="Only payments of this file.")] = None,
    as_json: JsonOption = False,
    book: BookOption = None,
) -> None:
    """Payments asked back and collections given back, and what became of each: requested, approved, sent, and so on.

    Example: `nostro settle recalls --file 3`
    """
    with session(book=book) as s:
        found = recalls(s.conn, book_id=s.book_id, file_id=file_id)
    emit({"recalls": found}, lambda: _print(found), as_json=as_json)


def _amount(recall: Recall) -> str:
    """What is asked; of a part also of how much."""
    asked, paid = (format_amount(minor, recall.exponent) for minor in (recall.amount_minor, recall.paid_minor))
    return f"{asked if asked == paid else f'{asked} of {paid}'} {recall.currency}"


def _print(found: list[Recall]) -> None:
    if not found:
        console.print("nothing is asked back or given back")
        return
    table(
        None,
        ("kind", "file", "payment", "payee", "amount", "code", "by", "approved by", "state", "answer"),
        [
            (
                recall.kind,
                str(recall.file_id),
                recall.end_to_end_id,
                recall.payee,
                _amount(recall),
                recall.reason_code,
                recall.requested_by,
                recall.approved_by or "",
                recall.state,
                recall.answer or "",
            )
            for recall in found
        ],
        right=(4,),
    )
