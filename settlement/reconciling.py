"""After a restore: what left for banks and the books forgot, found, signed by two people, taken into the books again.

Lives here: the comparison of books, journal of sends and the banks' folders and answers; signing it; lost sends.
Must not live here: what a lost send does to the books (Postgres), sending. Nothing here ever sends.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
import json
import re
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lxml import etree
from psycopg.rows import class_row
from psycopg.types.json import Jsonb

from ledger import Connection, committed, currency, parse_amount_minor, translate_errors
from settlement.errors import RestoredError
from settlement.iso20022.ids import file_key
from settlement.send_journal import SendJournal, SentLine
from settlement.sending import agree, books_head, prefix_of, send_state, sends_after, strangers_at
from settlement.setup_model import Bank
from settlement.transmission import carrier_of

_RECALL_PART = re.compile(r"-R(\d+)$")


@dataclass(frozen=True, slots=True, kw_only=True)
class LostSend:
    """A file that left and that the books do not know as sent.

    `state`: found (not signed yet), open, adopted, not_sent, by_hand. `source`: journal, bank (its folder has it),
    answer (only a report of the bank speaks of it). `total_minor` is of `payment_count` payments; both None when nobody
    has the bytes.
    """

    lost_send_id: int | None
    bank: str
    msg_id: str
    source: str
    sha256: str | None
    payment_count: int | None
    total_minor: int | None
    state: str
    file_id: int | None = None
    note: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SendReview:
    """What was compared. `signatures` of the two that are needed; None when nothing has to be signed."""

    books: int
    journal: int | None
    difference: str | None
    unreachable: tuple[str, ...]
    lost: tuple[LostSend, ...]
    signatures: int | None

    @property
    def may_send(self) -> bool:
        """Whether nothing keeps files from being sent."""
        return self.signatures is None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    """A lost send before it is in the books."""

    book_id: int
    bank: str
    msg_id: str
    part: int
    source: str
    content: bytes | None
    manifest: dict[str, object]

    @property
    def sha256(self) -> str | None:
        return None if self.content is None else hashlib.sha256(self.content).hexdigest()

    @property
    def described(self) -> LostSend:
        payments = self.manifest.get("payments")
        amounts = [int(str(p["amount_minor"])) for p in payments] if isinstance(payments, list) else []
        return LostSend(
            lost_send_id=None,
            bank=self.bank,
            msg_id=self.msg_id,
            source=self.source,
            sha256=self.sha256,
            payment_count=len(amounts) if self.content is not None else None,
            total_minor=sum(amounts) if self.content is not None else None,
            state="found",
        )


def review_sends(conn: Connection, *, home: Path) -> SendReview:
    """Compare books, journal of sends and every bank's folder and answers; changes nothing."""
    state = send_state(conn, home)
    found, unreachable = _forgotten(conn, home)
    must_sign = state.difference is not None or bool(found)
    return SendReview(
        books=state.books,
        journal=state.journal,
        difference=state.difference,
        unreachable=tuple(unreachable),
        lost=tuple(one.described for one in found) + tuple(lost_sends(conn)),
        signatures=_signatures(conn, _digest(conn, state.difference, home, found)) if must_sign else None,
    )


def sign_sends(conn: Connection, *, home: Path, reason: str) -> SendReview:
    """Sign as the session's login what the comparison finds; the second person's signature lets sending go on.

    Then a new journal begins, the old one is kept beside it, and what was forgotten is taken into the books again, as
    UNKNOWN, where they owe what it paid (`adopt_lost`). Nothing is sent. Raises `RestoredError` when a bank cannot be
    asked, `AccessError` for a login that may not sign.
    """
    journal = SendJournal(home)
    with journal.locked():
        state = send_state(conn, home)
        found, unreachable = _forgotten(conn, home)
        if unreachable:
            raise RestoredError(f"nothing can be signed while a bank cannot be asked ({unreachable[0]}); try again.")
        if state.difference is not None or found:
            digest, journal_id = _digest(conn, state.difference, home, found), uuid.uuid4().hex
            head = books_head(conn)
            journal.prepare(journal_id, number=head.number, digest=head.digest)
            with committed(conn):
                row = conn.execute(
                    "SELECT signatures, journal_no FROM settlement.sign_send_review(%s, %s, %s, %s, %s, %s)",
                    (
                        digest,
                        Jsonb({"difference": state.difference, "lost": [one.msg_id for one in found]}),
                        reason,
                        Jsonb([_row(one) for one in found]),
                        [one.content for one in found],
                        journal_id,
                    ),
                ).fetchone()
            assert row is not None
            if row[1] is None:
                return review_sends(conn, home=home)
            journal.promote(journal_id)
        agree(conn, journal)
    adopt_lost(conn)
    return review_sends(conn, home=home)


def adopt_lost(conn: Connection) -> list[LostSend]:
    """Take every open lost send into the books that they can carry now; those that they cannot say why (`note`).

    Each is its own committed transaction. A bank has the file or not: its answer, outbox or statement will tell.
    """
    told = []
    for one in lost_sends(conn):
        if one.state == "open":
            with committed(conn):
                row = conn.execute(
                    "SELECT obstacle, file_id FROM settlement.adopt_lost_send(%s)", (one.lost_send_id,)
                ).fetchone()
            assert row is not None
            adopted = next(now for now in lost_sends(conn) if now.lost_send_id == one.lost_send_id)
            told.append(_noted(adopted, None if row[0] is None else str(row[0])))
    return told


def end_lost(conn: Connection, lost_send_id: int, *, outcome: str, reason: str) -> LostSend:
    """Say as the session's login that a lost send never left (``not_sent``) or was booked otherwise (``by_hand``).

    A second person's same word settles it, and its payees are paid again. Raises `NotKnownError`, `FileStateError`.
    """
    with committed(conn):
        conn.execute("SELECT settlement.end_lost_send(%s, %s, %s)", (lost_send_id, outcome, reason))
    return next(one for one in lost_sends(conn) if one.lost_send_id == lost_send_id)


def lost_sends(conn: Connection) -> list[LostSend]:
    """Every send that a restore made the books forget, oldest first."""
    with translate_errors(), conn.cursor(row_factory=class_row(LostSend)) as cursor:
        return cursor.execute(
            "SELECT lost_send_id, bank, msg_id, source, sha256, payment_count, total_minor, state, file_id"
            "  FROM settlement.lost_send_current ORDER BY lost_send_id"
        ).fetchall()


def _noted(one: LostSend, note: str | None) -> LostSend:
    values = {name: getattr(one, name) for name in LostSend.__slots__}
    return LostSend(**(values | {"note": note}))


def _signatures(conn: Connection, digest: str) -> int:
    with translate_errors():
        row = conn.execute(
            "SELECT count(*) FROM settlement.send_review_word WHERE review_id ="
            " (SELECT max(review_id) FROM settlement.send_review WHERE digest = %s)",
            (digest,),
        ).fetchone()
    return 0 if row is None else int(str(row[0]))


def _digest(conn: Connection, difference: str | None, home: Path, found: Sequence[_Found]) -> str:
    """What two people sign: both must have seen the same."""
    head = books_head(conn)
    try:
        state = SendJournal(home).read()
    except RestoredError:
        state = None
    said = {
        "difference": difference,
        "books": [head.journal_id, head.number, head.digest],
        "journal": None if state is None else [state.journal_id, state.number, state.digest],
        "lost": [[one.book_id, one.msg_id, one.sha256] for one in found],
    }
    return hashlib.sha256(json.dumps(said, sort_keys=True).encode()).hexdigest()


def _row(one: _Found) -> dict[str, object]:
    names = ("book_id", "bank", "msg_id", "part", "source", "manifest")
    return {name: getattr(one, name) for name in names}


# What is lost ----------------------------------------------------------------------------------------


def _forgotten(conn: Connection, home: Path) -> tuple[list[_Found], list[str]]:
    """Everything that left and that the books do not know as sent, each once; and banks that could not be asked."""
    found: dict[tuple[int, str], _Found] = {}
    for one in _in_journal(conn, home):
        found.setdefault((one.book_id, one.msg_id), one)
    unreachable: list[str] = []
    with translate_errors():
        books = conn.execute("SELECT book_id, name FROM ledger.book ORDER BY book_id").fetchall()
    for book_id, name in books:
        for one in _at_banks(conn, home, int(str(book_id)), str(name), unreachable):
            found.setdefault((one.book_id, one.msg_id), one)
    known = {(one.msg_id, one.sha256) for one in lost_sends(conn)}
    return [one for _, one in sorted(found.items()) if (one.msg_id, one.sha256) not in known], unreachable


def _in_journal(conn: Connection, home: Path) -> Iterator[_Found]:
    """Sends of the journals that the books have no line of; those that surely reached nobody aside."""
    journal = SendJournal(home)
    known = {sent.token for sent in sends_after(conn, 0)}
    for sent in journal.every_send():
        if sent.token not in known:
            copy = journal.copy_of(sent)
            manifest = copy[1] if copy is not None and isinstance(copy[1], dict) else {}
            yield _found(sent, None if copy is None else copy[0], manifest)


def _found(sent: SentLine, content: bytes | None, manifest: dict[str, object]) -> _Found:
    return _Found(
        book_id=sent.book_id,
        bank=sent.bank,
        msg_id=sent.msg_id,
        part=sent.part,
        source="journal",
        content=content,
        manifest=manifest,
    )


def _at_banks(conn: Connection, home: Path, book_id: int, book: str, unreachable: list[str]) -> Iterator[_Found]:
    """Files of a book in the banks' folders, and ids that banks answered, that the books never sent."""
    prefix = prefix_of(conn, book_id)
    with translate_errors():
        profiles = conn.execute(
            "SELECT code, body FROM settlement.bank_profile WHERE book_id = %s ORDER BY code", (book_id,)
        ).fetchall()
    for code, body in profiles:
        carrier = carrier_of(Bank.model_validate(body), home)
        try:
            for msg_id in strangers_at(conn, book_id, prefix, carrier):
                content = carrier.read(f"{msg_id}.xml")
                if content is not None:
                    manifest = _manifest(conn, book, book_id, msg_id, content)
                    yield _of_bank(book_id, str(code), msg_id, "bank", content, manifest)
        except OSError as error:
            unreachable.append(f"{code}: {error}")
    with translate_errors():
        answered = conn.execute(
            "SELECT bank, msg_id FROM settlement.answered_strangers(%s, %s)", (book_id, prefix)
        ).fetchall()
    for bank, named in answered:
        yield _of_bank(book_id, str(bank), str(named), "answer", None, {})


def _of_bank(
    book_id: int, bank: str, msg_id: str, source: str, content: bytes | None, manifest: dict[str, object]
) -> _Found:
    recall = _RECALL_PART.search(msg_id)
    return _Found(
        book_id=book_id,
        bank=bank,
        msg_id=msg_id,
        part=int(recall[1]) if recall else 0,
        source=source,
        content=content,
        manifest=manifest,
    )


# A file that only the bank has -----------------------------------------------------------------------

_PAYMENT = ("CdtTrfTxInf", "DrctDbtTxInf")
_OTHER_PARTY = {"CdtTrfTxInf": "CdtrAcct", "DrctDbtTxInf": "DbtrAcct"}


def _manifest(conn: Connection, book: str, book_id: int, msg_id: str, content: bytes) -> dict[str, object]:
    """What a file of ours pays, read from its bytes and its id; payees are known by their account only."""
    key = file_key(book, msg_id)
    with translate_errors():
        row = conn.execute(
            "SELECT code FROM settlement.bank_account_root WHERE book_id = %s AND bank_account_id = %s",
            (book_id, None if key is None else key.bank_account_id),
        ).fetchone()
    try:
        root = etree.parse(io.BytesIO(content), etree.XMLParser(resolve_entities=False, no_network=True)).getroot()
    except etree.XMLSyntaxError:
        return {}
    payments = [_payment(element) for element in root.iter() if _local(element) in _PAYMENT]
    if key is None or row is None or any(payment is None for payment in payments):
        return {}
    created, executed = _text(root, "CreDtTm"), _text(root, "ReqdExctnDt") or _text(root, "ReqdColltnDt")
    return {
        "bank_account": str(row[0]),
        "business_date": key.business_date.isoformat(),
        "cycle": key.cycle,
        "part": key.part,
        "proposed_at": _moment(created),
        "execution_date": (executed or key.business_date.isoformat())[:10],
        "direction": "collect" if any(_local(element) == "DrctDbtTxInf" for element in root.iter()) else "pay",
        "batches": [_batch(element) for element in root.iter() if _local(element) == "PmtInf"],
        "payments": payments,
    }


def _moment(created: str | None) -> str | None:
    """A file's moment of creation; ours are in UTC when they say nothing else."""
    if created is None:
        return None
    moment = dt.datetime.fromisoformat(created)
    return (moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)).isoformat()


def _batch(element: etree._Element) -> dict[str, object]:
    """A payment group as `settlement.record_file` takes it."""
    return {
        "payment_information_id": _text(element, "PmtInfId"),
        "execution_date": _text(element, "ReqdExctnDt") or _text(element, "ReqdColltnDt"),
        "service_level": _text(element, "PmtTpInf", "SvcLvl", "Cd"),
        "local_instrument": _text(element, "PmtTpInf", "LclInstrm", "Cd"),
        "sequence_type": _text(element, "PmtTpInf", "SeqTp"),
        "charge_bearer": _text(element, "ChrgBr"),
        "count": sum(_local(inner) in _PAYMENT for inner in element),
    }


def _payment(element: etree._Element) -> dict[str, object] | None:
    amount = next((e for e in element.iter() if _local(e) == "InstdAmt"), None)
    party = next((e for e in element.iter() if _local(e) == _OTHER_PARTY[_local(element)]), None)
    iban = None if party is None else _text(party, "IBAN") or _text(party, "Id", "Othr", "Id")
    end_to_end_id = _text(element, "EndToEndId")
    if amount is None or amount.text is None or iban is None or end_to_end_id is None:
        return None
    minor = parse_amount_minor(amount.text.strip(), currency(str(amount.get("Ccy"))).exponent)
    return {"end_to_end_id": end_to_end_id, "uetr": _text(element, "UETR"), "iban": iban, "amount_minor": minor}


def _text(element: etree._Element, *names: str) -> str | None:
    """Text of the first element of the last name below those before."""
    here: etree._Element | None = element
    for name in names:
        here = None if here is None else next((e for e in here.iter() if e is not here and _local(e) == name), None)
    if here is None:
        return None
    return (here.text or "").strip() or (_text(here, "Dt") if len(here) else None)


def _local(element: etree._Element) -> str:
    return etree.QName(element).localname if isinstance(element.tag, str) else ""
