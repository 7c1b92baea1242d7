"""Canonical bytes: two contents never give the same, and three computations of them agree.

The independent verifier's encoder is read back by a decoder written here; whatever can be read back is not shared by
two contents. That the database computes the same bytes is shown on entries posted with awkward texts.
"""

from __future__ import annotations

import json
import struct
import sys
from datetime import date
from hashlib import sha256
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from ledger import NewEntry, NewPosting, Seal, list_seals, post_batch, prove, publish, seal, verify_seals
from ledger.audit import export_audit
from ledger.seals import merkle_path, merkle_root
from nostro.database import Database
from tests.ledger_books import Books, open_books


def load_verifier() -> ModuleType:
    """The single-file verifier, as a module."""
    path = Path(__file__).parents[2] / "tools" / "verify_books.py"
    spec = spec_from_file_location("verify_books", path)
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    sys.modules["verify_books"] = module
    spec.loader.exec_module(module)
    return module


VERIFIER = load_verifier()
INT2, INT4, INT8 = st.integers(-(2**15), 2**15 - 1), st.integers(-(2**31), 2**31 - 1), st.integers(-(2**63), 2**63 - 1)
TEXTS = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
DAYS = st.dates(date(1900, 1, 1), date(2200, 1, 1)).map(str)
POSTING = st.fixed_dictionaries(
    {
        "posting_id": INT8, "amount_minor": INT8, "account_id": INT4, "account": st.none() | TEXTS,
        "account_type": st.none() | TEXTS, "account_book_id": st.none() | INT4, "account_currency_id": st.none() | INT2,
        "book_id": INT4, "effective_date": DAYS, "currency_id": INT2, "currency": st.none() | TEXTS,
        "exponent": st.none() | INT2,
    }
)  # fmt: skip
ENTRY = st.fixed_dictionaries(
    {
        "entry_id": INT8, "book_id": INT4, "effective_date": DAYS, "posting_count": INT4, "first_posting_id": INT8,
        "reverses_entry_id": st.none() | INT8, "key": TEXTS, "description": st.none() | TEXTS,
        "reference": st.none() | TEXTS, "source_line": st.none() | INT4,
        "postings": st.none() | st.lists(POSTING, min_size=1, max_size=4),
    }
)  # fmt: skip


def fields_of(data: bytes) -> tuple[list[tuple[int, bytes | None]], bytes]:
    """The fields of the first record of ``data`` (type, bytes), and what follows it."""
    (count,), at, found = struct.unpack_from("!i", data), 4, []
    for _ in range(count):
        kind, length = struct.unpack_from("!Ii", data, at)
        at += 8
        found.append((kind, None if length < 0 else data[at : at + length]))
        at += max(length, 0)
    return found, data[at:]


def value_of(kind: int, body: bytes | None) -> object:
    """A field's value, in the form of the export."""
    if body is None:
        return None
    if kind in VERIFIER.WIDTH:
        return struct.unpack(VERIFIER.WIDTH[kind], body)[0]
    if kind == VERIFIER.DATE:
        return str(date.fromordinal(date(2000, 1, 1).toordinal() + struct.unpack("!i", body)[0]))
    return body.decode() if kind == VERIFIER.TEXT else body


def read_back(data: bytes) -> tuple[bytes, dict[str, object]]:
    """The batch's hash and the entry that these bytes are of."""
    fields, rest = fields_of(data)
    assert rest == b""
    entry = {name: value_of(kind, body) for (kind, body), (_, name) in zip(fields, VERIFIER.ENTRY, strict=True)}
    for name in ("key", "description", "reference"):
        text = entry[name]
        entry[name] = text.decode() if isinstance(text, bytes) else None
    postings, legs = entry["postings"], []
    while isinstance(postings, bytes) and postings:
        leg, postings = fields_of(postings)
        legs.append({name: value_of(kind, body) for (kind, body), (_, name) in zip(leg, VERIFIER.POSTING, strict=True)})
    entry["postings"] = legs or None
    batch_hash = entry.pop("batch_hash")
    assert isinstance(batch_hash, bytes)
    return batch_hash, entry


@given(entry=ENTRY, batch_hash=st.binary(min_size=32, max_size=32))
def test_bytes_can_be_read_back_so_no_two_contents_share_them(entry: dict[str, object], batch_hash: bytes) -> None:
    assert read_back(VERIFIER.entry_bytes(entry, batch_hash)) == (batch_hash, entry)


@given(first=ENTRY, second=ENTRY)
def test_other_content_other_bytes(first: dict[str, object], second: dict[str, object]) -> None:
    assume(first != second)
    assert VERIFIER.entry_bytes(first, bytes(32)) != VERIFIER.entry_bytes(second, bytes(32))


@given(left=TEXTS, right=TEXTS, cut=st.integers(0, 24))
def test_a_text_moved_over_a_field_border_is_other_content(left: str, right: str, cut: int) -> None:
    both = left + right
    shape = ((VERIFIER.BYTEA, "a"), (VERIFIER.BYTEA, "b"))
    moved = {"a": both[:cut], "b": both[cut:]}
    same = moved == {"a": left, "b": right}
    assert (VERIFIER.record(shape, moved) == VERIFIER.record(shape, {"a": left, "b": right})) is same


@given(entry=ENTRY)
def test_a_leaf_is_never_an_inner_node(entry: dict[str, object]) -> None:
    """A record starts with its count of fields, below 2^24: first byte 0. Inner nodes start with 1."""
    assert VERIFIER.entry_bytes(entry, bytes(32))[0] == 0


def naive_root(leaves: list[bytes]) -> bytes:
    """RFC 6962 section 2.1 word for word: split at the largest power of two below the count."""
    if not leaves:
        return sha256(b"").digest()
    if len(leaves) == 1:
        return leaves[0]
    split = 1 << ((len(leaves) - 1).bit_length() - 1)
    return sha256(b"\x01" + naive_root(leaves[:split]) + naive_root(leaves[split:])).digest()


@given(st.lists(st.binary(min_size=32, max_size=32), max_size=70), st.data())
def test_the_tree_is_rfc_6962s_and_every_path_leads_to_its_root(leaves: list[bytes], data: st.DataObject) -> None:
    root = naive_root(leaves)
    assert merkle_root(leaves) == VERIFIER.merkle_root(list(leaves)) == root
    if leaves:
        index = data.draw(st.integers(0, len(leaves) - 1))
        node = leaves[index]
        for side, other in merkle_path(leaves, index):
            node = sha256(b"\x01" + (other + node if side == "left" else node + other)).digest()
        assert node == root


def test_the_database_builds_the_same_tree(db: Database) -> None:
    with db.app() as conn:
        for count in (*range(1, 40), 255, 256, 257, 1000):
            leaves = [sha256(bytes([count % 256, i % 256, i // 256])).digest() for i in range(count)]
            row = conn.execute("SELECT ledger.merkle_root(%s)", (b"".join(leaves),)).fetchone()
            assert row == (merkle_root(leaves),)


def entries(books: Books, texts: list[tuple[str, str | None, str | None, int]]) -> list[NewEntry]:
    """Entries with these keys and texts, of two to four postings."""
    found = []
    for key, description, reference, amount in texts:
        legs = [NewPosting("assets:cash", amount), NewPosting("income:sales", -amount)]
        if amount % 3 == 0:
            legs += [NewPosting("assets:cash-usd", amount), NewPosting("income:sales-usd", -amount)]
        found.append(NewEntry(key, date(2026, 11, 2), tuple(legs), description=description, reference=reference))
    return found


ROWS = st.lists(
    st.tuples(TEXTS.filter(bool), st.none() | TEXTS, st.none() | TEXTS, st.integers(1, 10**12)),
    min_size=1,
    max_size=12,
    unique_by=lambda row: row[0],
)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(rows=ROWS, size=st.integers(1, 5), each=st.integers(1, 4))
def test_database_export_and_verifier_agree(
    db: Database, tmp_path: Path, rows: list[tuple[str, str | None, str | None, int]], size: int, each: int
) -> None:
    """Whatever was posted: the verifier's own hashing of the export gives the roots that the database made."""
    books = open_books(db)
    with db.app() as conn:
        new = entries(books, rows)
        for start in range(0, len(new), each):
            post_batch(conn, book_id=books.book, entries=new[start : start + each])
        publish(conn)
        made = seal(conn, book_id=books.book, entries=size)
        assert sum(s.entry_count for s in made) == len(new)
        assert made == list_seals(conn, book_id=books.book)
        assert [Seal.from_line(s.to_line()) for s in made] == list(made)
        assert verify_seals(conn, book_id=books.book).faults == ()
        folder = tmp_path / str(books.book)
        done = export_audit(conn, book_id=books.book, folder=folder)
        assert (done.entries, done.seals) == (len(new), len(made))
        proof = prove(conn, book_id=books.book, key=rows[-1][0])
    (folder / "proof.json").write_text(proof.to_json(), encoding="utf-8")
    assert json.loads(proof.to_json())["entry"]["key"] == rows[-1][0]
    assert VERIFIER.check_export(folder, folder / "seals.jsonl") == []
    assert VERIFIER.check_proof(folder / "proof.json", folder / "seals.jsonl") == []
