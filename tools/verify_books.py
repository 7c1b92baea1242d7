"""Checks an export or a proof of Nostro's books with nothing but Python's standard library. Read it: it is short.

    python verify_books.py export DIR [--root FILE]     DIR holds batches.jsonl, entries.jsonl, seals.jsonl
    python verify_books.py proof FILE [--root FILE]     FILE is what `nostro proof KEY` wrote

--root is a file of seal lines that was kept where the house could not change it (an anchor). Without it this program
can only say that the documents agree with each other. Exit status: 0 they hold, 5 they do not, 2 wrong usage.

Bytes of a record: number of fields (4), then each field: Postgres type number (4), length (4; -1: null), bytes;
integers big-endian, texts UTF-8, dates as days and moments as microseconds since 2000-01-01. An entry's hash is SHA-256
of its record; inner nodes are SHA-256(01 || left || right); a last node without a partner goes up unchanged. A seal's
digest is SHA-256 of its record and holds the digest of the seal before.
"""

# ruff: noqa: T201
from __future__ import annotations

import argparse
import json
import struct
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256
from pathlib import Path

INT2, INT4, INT8, TEXT, BYTEA, DATE, MOMENT, XID = 21, 23, 20, 25, 17, 1082, 1184, 5069
WIDTH = {INT2: "!h", INT4: "!i", INT8: "!q", XID: "!Q"}
EPOCH = datetime(2000, 1, 1, tzinfo=UTC)

BATCH = (
    (INT8, "batch_id"), (INT4, "book_id"), (BYTEA, "book"), (INT2, "functional_currency_id"), (BYTEA, "module"),
    (INT8, "source_id"), (INT4, "source_book_id"), (BYTEA, "source_kind"), (BYTEA, "source_name"),
    (BYTEA, "source_sha256"), (INT4, "entry_count"), (INT4, "posting_count"), (XID, "xid"),
    (INT8, "system_identifier"), (MOMENT, "recorded_at"), (BYTEA, "recorded_by"), (INT8, "first_seq"),
    (INT8, "last_seq"), (INT8, "publication_id"), (INT8, "published_last_seq"), (MOMENT, "published_at"),
)  # fmt: skip
POSTING = (
    (INT8, "posting_id"), (INT8, "amount_minor"), (INT4, "account_id"), (TEXT, "account"), (TEXT, "account_type"),
    (INT4, "account_book_id"), (INT2, "account_currency_id"), (INT4, "book_id"), (DATE, "effective_date"),
    (INT2, "currency_id"), (TEXT, "currency"), (INT2, "exponent"),
)  # fmt: skip
ENTRY = (
    (BYTEA, "batch_hash"), (INT8, "entry_id"), (INT4, "book_id"), (DATE, "effective_date"), (INT4, "posting_count"),
    (INT8, "first_posting_id"), (INT8, "reverses_entry_id"), (BYTEA, "key"), (BYTEA, "description"),
    (BYTEA, "reference"), (INT4, "source_line"), (BYTEA, "postings"),
)  # fmt: skip
SEAL = (
    (INT4, "book_id"), (INT4, "seal_no"), (INT8, "first_seq"), (INT8, "last_seq"), (INT4, "entry_count"),
    (BYTEA, "root"), (BYTEA, "previous"), (MOMENT, "sealed_at"),
)  # fmt: skip


def field(kind: int, value: object) -> bytes:
    """One field of a record."""
    if value is None:
        return struct.pack("!Ii", kind, -1)
    if kind in WIDTH:
        body = struct.pack(WIDTH[kind], int(str(value)))
    elif kind == DATE:
        body = struct.pack("!i", (date.fromisoformat(str(value)) - EPOCH.date()).days)
    elif kind == MOMENT:
        body = struct.pack("!q", (datetime.fromisoformat(str(value)) - EPOCH) // timedelta(microseconds=1))
    else:
        body = value if isinstance(value, bytes) else str(value).encode()
    return struct.pack("!Ii", kind, len(body)) + body


def record(shape: Iterable[tuple[int, str]], values: dict[str, object]) -> bytes:
    """The bytes of a record; every named field must be there (null is said, not left out)."""
    fields = [field(kind, values[name]) for kind, name in shape]
    return struct.pack("!i", len(fields)) + b"".join(fields)


def entry_bytes(entry: dict[str, object], batch_hash: bytes) -> bytes:
    """The canonical bytes of an entry with its postings."""
    postings = entry["postings"]
    legs = None if postings is None else b"".join(record(POSTING, leg) for leg in postings)  # type: ignore[attr-defined]
    return record(ENTRY, {**entry, "batch_hash": batch_hash, "postings": legs})


def digest(data: bytes) -> bytes:
    """SHA-256."""
    return sha256(data).digest()


def merkle_root(level: list[bytes]) -> bytes:
    """The root over leaf hashes."""
    if not level:
        return digest(b"")
    while len(level) > 1:
        above = [digest(b"\x01" + level[i] + level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = above + ([level[-1]] if len(level) % 2 else [])
    return level[0]


def lines(path: Path) -> Iterator[dict[str, object]]:
    """The objects of a file of JSON lines."""
    with path.open(encoding="utf-8") as stream:
        for line in stream:
            if line.strip():
                yield json.loads(line)


def seal_digest(seal: dict[str, object]) -> str:
    """What the digest of a seal must be."""
    raw = {**seal, "root": bytes.fromhex(str(seal["root"])), "previous": bytes.fromhex(str(seal["previous"]))}
    return digest(record(SEAL, raw)).hex()


def chain_faults(seals: list[dict[str, object]]) -> list[str]:
    """What is wrong with a chain of seals."""
    faults, number, seq, previous = [], 1, 1, "00" * 32
    for seal in seals:
        name = f"seal {seal['seal_no']}"
        if seal_digest(seal) != seal["digest"]:
            faults.append(f"{name}: the digest does not cover what the seal says")
        if (seal["seal_no"], seal["first_seq"], seal["previous"]) != (number, seq, previous):
            faults.append(f"{name}: does not continue the seal before it")
        number, seq, previous = int(str(seal["seal_no"])) + 1, int(str(seal["last_seq"])) + 1, str(seal["digest"])
    return faults


def anchor_faults(seals: list[dict[str, object]], root: Path | None, book_id: object) -> list[str]:
    """Which seals are not the ones that were kept outside."""
    if root is None:
        return []
    kept = [seal for seal in lines(root) if seal["book_id"] == book_id]
    here = {seal["seal_no"]: seal["digest"] for seal in seals}
    faults = [f"{root.name} holds no seal of this book"] if not kept else []
    for seal in kept:
        if seal_digest(seal) != seal["digest"]:
            faults.append(f"seal {seal['seal_no']} in {root.name}: the digest does not cover what the seal says")
        if here.get(seal["seal_no"]) != seal["digest"]:
            faults.append(f"seal {seal['seal_no']}: is not the one in {root.name}")
    return faults


def balance_faults(entry: dict[str, object], totals: dict[tuple[str, str], int]) -> list[str]:
    """Whether an entry sums to zero in each currency and has the postings it declares; adds to the totals."""
    sums: dict[str, int] = defaultdict(int)
    postings: list[dict[str, object]] = entry["postings"] or []  # type: ignore[assignment]
    for leg in postings:
        currency, amount = str(leg["currency"]), int(str(leg["amount_minor"]))
        sums[currency] += amount
        totals[str(leg["account"]), currency] += amount
    faults = [f"entry {entry['key']}: is off by {total} in {name}" for name, total in sums.items() if total]
    if len(postings) != entry["posting_count"]:
        faults.append(f"entry {entry['key']}: declares {entry['posting_count']} postings, has {len(postings)}")
    return faults


def check_export(folder: Path, root: Path | None) -> list[str]:
    """Every fault of an export."""
    seals = list(lines(folder / "seals.jsonl"))
    faults = chain_faults(seals) + anchor_faults(seals, root, seals[0]["book_id"] if seals else None)
    batches = {
        b["batch_id"]: (int(str(b["first_seq"])), digest(record(BATCH, b))) for b in lines(folder / "batches.jsonl")
    }
    totals: dict[tuple[str, str], int] = defaultdict(int)
    found: list[list[bytes]] = [[] for _ in seals]
    current = 0
    for entry in lines(folder / "entries.jsonl"):
        if entry["batch_id"] not in batches:
            faults.append(f"entry {entry['key']}: its batch is not in batches.jsonl")
            continue
        seq, batch_hash = batches[entry["batch_id"]]
        while current < len(seals) and seq > int(str(seals[current]["last_seq"])):
            current += 1
        if current == len(seals) or seq < int(str(seals[current]["first_seq"])):
            faults.append(f"entry {entry['key']}: stands where no seal covers it")
            continue
        found[current].append(digest(entry_bytes(entry, batch_hash)))
        faults += balance_faults(entry, totals)
    for seal, leaves in zip(seals, found, strict=True):
        if merkle_root(leaves) != bytes.fromhex(str(seal["root"])) or len(leaves) != seal["entry_count"]:
            faults.append(
                f"seal {seal['seal_no']} (sequence {seal['first_seq']} to {seal['last_seq']}): "
                f"the {len(leaves)} entries here are not the {seal['entry_count']} sealed"
            )
    print(f"{sum(map(len, found))} entries, {len(seals)} seals, {len(totals)} accounts with postings")
    if seals:
        print(f"head: {seals[-1]['digest']}")
    return faults


def check_proof(path: Path, root: Path | None) -> list[str]:
    """Every fault of a proof."""
    told = json.loads(path.read_text(encoding="utf-8"))
    seal, node = told["seal"], digest(entry_bytes(told["entry"], digest(record(BATCH, told["batch"]))))
    faults = [] if node.hex() == told["leaf"] else ["the entry's bytes do not give the leaf"]
    for step in told["path"]:
        other = bytes.fromhex(step["hash"])
        node = digest(b"\x01" + (other + node if step["side"] == "left" else node + other))
    if node.hex() != seal["root"]:
        faults.append("the path does not lead to the seal's root")
    if seal_digest(seal) != seal["digest"]:
        faults.append("the seal's digest does not cover what it says")
    if told["key"] != told["entry"]["key"]:
        faults.append("the key named is not the entry's")
    kept = [s for s in lines(root) if s["book_id"] == seal["book_id"]] if root else []
    if root and not any(s["digest"] == seal["digest"] == seal_digest(s) for s in kept):
        faults.append(f"the seal is not in {root.name}")
    print(f"entry {told['entry']['key']}: seal {seal['seal_no']}, digest {seal['digest']}")
    return faults


def main(arguments: list[str] | None = None) -> int:
    """Check what is named; print every fault."""
    parser = argparse.ArgumentParser(description="Check an export or a proof of Nostro's books.")
    parser.add_argument("what", choices=("export", "proof"))
    parser.add_argument("path", type=Path)
    parser.add_argument("--root", type=Path, help="seal lines that were kept outside")
    options = parser.parse_args(arguments)
    check = check_export if options.what == "export" else check_proof
    try:
        faults = check(options.path, options.root)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, struct.error) as error:
        faults = [f"cannot be read as what it should be: {type(error).__name__} {error}"]
    for fault in faults:
        print(f"FAULT {fault}")
    if not faults:
        print("holds" if options.root else "consistent in itself; give --root to prove that it is what was sealed")
    return 5 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
