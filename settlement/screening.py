"""Asking a hook about payees: sanctions lists, verification of payee.

Lives here: running the program that the setup names, and keeping what it said. Must not live here: what a verdict
means (Postgres: only clear passes; everything else holds the payee).

A hook reads one JSON object from its input, ``{"hook": …, "payees": [{"payee", "name", "iban", "bic", "country",
"town"}, …]}``, and writes one, ``{"list_version": …, "verdicts": {PAYEE: {"verdict": …, "detail": …}}}``. Verdicts:
``clear``, ``close_match``, ``match``, ``no_match``, ``not_available``. A hook that takes too long, fails or leaves a
payee out has said ``not_available``.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import class_row

from ledger import Connection, committed, translate_errors
from settlement.errors import PayeeHeldError
from settlement.setup_model import Hook, Screening

VERDICTS = frozenset({"clear", "close_match", "match", "no_match", "not_available"})
_WORDS_MAX = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Screened:
    """Somebody whom a hook is asked about."""

    payee_version_id: int
    payee: str
    name: str
    iban: str
    bic: str | None
    country: str | None
    town: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a hook said about a payee, under which list; `not_available` when it said nothing."""

    hook: str
    payee: str
    verdict: str
    list_version: str | None
    detail: str | None


_OF_FILE = """
SELECT v.payee_version_id, i.payee_code AS payee, v.name, v.iban, v.bic, v.country, v.town
  FROM settlement.instruction i
  JOIN settlement.obligation o ON o.obligation_id = i.instruction_id
  JOIN settlement.payee_version v USING (payee_version_id)
 WHERE i.file_id = %s ORDER BY i.ordinal
"""
_OF_PAYEE = """
SELECT y.payee_version_id, y.code AS payee, y.name, y.iban, y.bic, y.country, y.town
  FROM settlement.payee_current y WHERE y.book_id = %s AND y.code = %s
"""


def screen_file(conn: Connection, file_id: int, *, moment: str) -> None:
    """Ask every hook of the book about the payees of a file and keep the verdicts, committed; whoever is not clear is
    held. Does nothing in a book without hooks."""
    with translate_errors():
        row = conn.execute("SELECT book_id FROM settlement.payment_file WHERE file_id = %s", (file_id,)).fetchone()
        hooks = [] if row is None else _hooks(conn, int(str(row[0])))
        if hooks:
            with conn.cursor(row_factory=class_row(Screened)) as cursor:
                people = cursor.execute(_OF_FILE, (file_id,)).fetchall()
    for name, hook in hooks:
        _record(conn, name, moment, file_id, people, ask(name, hook, people))


def refuse_unclear(conn: Connection, file_id: int, *, moment: str) -> None:
    """Raise `PayeeHeldError` naming whom the hooks did not let pass at this moment."""
    with translate_errors():
        rows = conn.execute(
            "SELECT h.hook, n.payee, n.verdict, n.detail FROM settlement.payment_file f"
            " CROSS JOIN LATERAL unnest(settlement.required_hooks(f.book_id)) h (hook)"
            " CROSS JOIN LATERAL settlement.not_cleared(f.file_id, h.hook, %s) n WHERE f.file_id = %s",
            (moment, file_id),
        ).fetchall()
    if rows:
        hook, payee, verdict, detail = rows[0]
        why = f": {detail}" if detail else ""
        raise PayeeHeldError(
            f"file {file_id} was not approved: {hook} says {verdict or 'nothing'} of payee {payee}{why} "
            f"({len(rows)} payee{'s' if len(rows) > 1 else ''} in all); they are held. Propose again without them, or "
            "release them with `nostro payee release`."
        )


def screen_payee(conn: Connection, *, book_id: int, payee: str) -> list[Verdict]:
    """Ask every hook of the book about one payee now, and keep what they say."""
    hooks = _hooks(conn, book_id)
    with translate_errors(), conn.cursor(row_factory=class_row(Screened)) as cursor:
        people = cursor.execute(_OF_PAYEE, (book_id, payee)).fetchall()
    verdicts = []
    for name, hook in hooks:
        said = ask(name, hook, people)
        _record(conn, name, "person", None, people, said)
        verdicts += said
    return verdicts


def ask(name: str, hook: Hook, people: Sequence[Screened]) -> list[Verdict]:
    """Run a hook once for everybody; one verdict each, in their order, whatever happens to the hook."""
    fields = ("payee", "name", "iban", "bic", "country", "town")
    asked = {"hook": name, "payees": [{field: getattr(person, field) for field in fields} for person in people]}
    try:
        said = json.loads(_run(hook, json.dumps(asked)))
        version, answers = said.get("list_version"), said["verdicts"]
        return [_verdict(name, person.payee, version, answers.get(person.payee)) for person in people]
    except (OSError, subprocess.SubprocessError, ValueError, KeyError, AttributeError, TypeError) as error:
        why = f"the hook did not answer: {error}"[:_WORDS_MAX]
        return [
            Verdict(hook=name, payee=person.payee, verdict="not_available", list_version=None, detail=why)
            for person in people
        ]


def _verdict(hook: str, payee: str, version: object, answer: object) -> Verdict:
    said = answer.get("verdict") if isinstance(answer, dict) else None
    detail = answer.get("detail") if isinstance(answer, dict) else "the hook left the payee out"
    return Verdict(
        hook=hook,
        payee=payee,
        verdict=said if isinstance(said, str) and said in VERDICTS else "not_available",
        list_version=None if version is None else str(version)[:_WORDS_MAX],
        detail=None if detail is None else str(detail)[:_WORDS_MAX],
    )


_CALL_FUNCTION = (
    "import importlib, json, sys; module, name = sys.argv[1].split(':');"
    "print(json.dumps(getattr(importlib.import_module(module), name)(json.load(sys.stdin))))"
)


def _run(hook: Hook, text: str) -> str:
    """The hook's output. A function runs in a process of its own too: it can be stopped, and it cannot harm ours."""
    command = list(hook.command) or [sys.executable, "-c", _CALL_FUNCTION, str(hook.function)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as child:
        try:
            out, complaint = child.communicate(text, timeout=hook.timeout_s)
        except subprocess.TimeoutExpired:
            os.killpg(child.pid, signal.SIGKILL)
            raise TimeoutError(f"no answer within {hook.timeout_s} s") from None
    if child.returncode != 0:
        last = complaint.strip().splitlines()[-1:] or ["no words"]
        raise OSError(f"exit status {child.returncode} ({last[0]})")
    return out


def _hooks(conn: Connection, book_id: int) -> list[tuple[str, Hook]]:
    with translate_errors():
        row = conn.execute(
            "SELECT body -> 'screening' FROM settlement.setup_current WHERE book_id = %s", (book_id,)
        ).fetchone()
    terms = Screening.model_validate({} if row is None or row[0] is None else row[0])
    named = (("sanctions", terms.sanctions), ("payee_verification", terms.payee_verification))
    return [(name, hook) for name, hook in named if hook is not None]


def _record(
    conn: Connection,
    hook: str,
    moment: str,
    file_id: int | None,
    people: Sequence[Screened],
    verdicts: Sequence[Verdict],
) -> None:
    with committed(conn):
        conn.execute(
            "SELECT settlement.record_screening(%s, %s, %s, %s, %s, %s, %s)",
            (
                hook,
                moment,
                file_id,
                [person.payee_version_id for person in people],
                [verdict.verdict for verdict in verdicts],
                next((verdict.list_version for verdict in verdicts), None),
                [verdict.detail for verdict in verdicts],
            ),
        )
