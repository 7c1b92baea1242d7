"""Identifiers of payment files and instructions.

Lives here: how MsgId, PmtInfId, InstrId, EndToEndId and UETR follow from the run and the instruction.
Must not live here: clocks, random numbers, the database: the same inputs give the same ids, so a proposal
made again after a crash is the same file, and the bank's duplicate check becomes a safety net.

An id is a list of numbers joined by ``-``, so two different inputs never share an id; the leading tag (four
characters hashed from the book's name) keeps apart the books of different deployments that use one bank::

    7XQ2-1-2-20261102-4-1            MsgId (PmtInfId of an only batch): tag, book, account, business date, cycle, part
    7XQ2-1-2-20261102-4-1-B2         PmtInfId of the second of several batches
    7XQ2-1-2-20261102-4-1-000017     InstrId and EndToEndId of the 17th instruction of the file

All are at most 35 characters (ISO 20022 ``Max35Text``) of ``[A-Z0-9-]``, which every bank takes.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import hmac
import uuid
from dataclasses import dataclass

MAX_ID_LENGTH = 35  # ISO 20022 Max35Text

_BASE36 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_TAG_LETTERS = "23456789ABCDEFGHJKLMNPQRSTUVWXYZ"  # no 0/O, 1/I: people read these aloud
_TAG_LENGTH = 4
_MAX_BOOK = 36**2 - 1
_MAX_ACCOUNT = 36**3 - 1
_MAX_CYCLE = 36**4 - 1
_MAX_PART = 36**2 - 1
_MAX_ORDINAL = 999_999
_MAX_BATCH = 99_999


@dataclass(frozen=True, slots=True, kw_only=True)
class FileKey:
    """What makes a payment file one of a kind.

    `cycle` is any number unique per bank account and business date (the run id will do), up to 1,679,615;
    `part` counts the files of one bank account in that cycle, from 1, when the bank's maximum splits it.
    """

    book_name: str
    book_id: int
    bank_account_id: int
    business_date: dt.date
    cycle: int
    part: int = 1

    def __post_init__(self) -> None:
        limits = (
            ("book_id", self.book_id, _MAX_BOOK),
            ("bank_account_id", self.bank_account_id, _MAX_ACCOUNT),
            ("cycle", self.cycle, _MAX_CYCLE),
            ("part", self.part, _MAX_PART),
        )
        for name, value, maximum in limits:
            if not 1 <= value <= maximum:
                raise ValueError(f"{name} {value} does not fit into an ISO 20022 id (1 to {maximum})")


def book_tag(book_name: str) -> str:
    """Four characters that tell this book's ids from those of another deployment at the same bank."""
    number = int.from_bytes(hashlib.sha256(book_name.encode()).digest()[:8])
    letters = []
    for _ in range(_TAG_LENGTH):
        number, index = divmod(number, len(_TAG_LETTERS))
        letters.append(_TAG_LETTERS[index])
    return "".join(letters)


def book_prefix(book_name: str, book_id: int) -> str:
    """What every id of a book begins with."""
    return f"{book_tag(book_name)}-{_base36(book_id)}-"


def message_id(key: FileKey) -> str:
    """MsgId of the file; at most 28 characters."""
    numbers = (_base36(key.bank_account_id), f"{key.business_date:%Y%m%d}", _base36(key.cycle), _base36(key.part))
    return book_prefix(key.book_name, key.book_id) + "-".join(numbers)


def file_key(book_name: str, msg_id: str) -> FileKey | None:
    """What a MsgId of ours was made of; None for one that is not ours."""
    numbers = msg_id.split("-")
    try:
        book, account, cycle, part = (int(numbers[at], 36) for at in (1, 2, 4, 5))
        day = dt.date.fromisoformat(numbers[3])
        key = FileKey(
            book_name=book_name, book_id=book, bank_account_id=account, business_date=day, cycle=cycle, part=part
        )
    except (IndexError, ValueError):
        return None
    return key if message_id(key) == msg_id else None


def payment_information_id(key: FileKey, batch: int = 1, *, of: int = 1) -> str:
    """PmtInfId of a file's `batch`-th payment group, from 1, of so many.

    That of an only one is the MsgId again, as SWIFT's CBPR+ demands (its rule R8); of several none is.
    """
    if not 1 <= batch <= of <= _MAX_BATCH:
        raise ValueError(f"batch {batch} of {of} does not fit into an ISO 20022 id (1 to {_MAX_BATCH})")
    return message_id(key) if of == 1 else f"{message_id(key)}-B{batch}"


def end_to_end_id(key: FileKey, ordinal: int) -> str:
    """EndToEndId of the file's `ordinal`-th instruction, from 1; the InstrId is the same text."""
    if not 1 <= ordinal <= _MAX_ORDINAL:
        raise ValueError(f"instruction {ordinal} does not fit into an ISO 20022 id (1 to {_MAX_ORDINAL})")
    return f"{message_id(key)}-{ordinal:06d}"


def uetr(secret: bytes, end_to_end_id: str) -> str:
    """The UETR of an instruction: 122 bits of HMAC-SHA256(secret, EndToEndId) in the shape of a UUIDv4.

    Banks and the XSD demand version 4 (a UUIDv5 is refused), and an instruction proposed again must carry the
    UETR it had before: a fresh random one would make the repeat of a file look like new payments. To everyone
    without the secret the bits are as good as random (RFC 9562, section 5.4), so ids of different deployments
    do not meet as long as their secrets differ.

    Raises `ValueError` for a secret shorter than 16 bytes.
    """
    if len(secret) < 16:
        raise ValueError(f"the UETR secret has {len(secret)} bytes; give it at least 16")
    digest = hmac.new(secret, b"UETR\0" + end_to_end_id.encode(), hashlib.sha256).digest()
    return str(uuid.UUID(bytes=digest[:16], version=4))


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, index = divmod(number, 36)
        digits = _BASE36[index] + digits
    return digits or "0"
