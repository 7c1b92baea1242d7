"""What a run decided from, kept with it: written as bytes, read back, decided again.

Lives here: the archive of a run's inputs, and replaying it. Must not live here: reading the books for a run
(`recon.runs`), comparing two runs (`recon.run_diff`).

An archive is a zip of Parquet frames and one JSON object; the same inputs give the same bytes.
"""

from __future__ import annotations

import dataclasses
import datetime as dt
import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

import polars as pl

from ledger import Connection, transaction
from recon.board import break_show
from recon.breaks import taxonomy_digest_parts
from recon.codes import BreakCode
from recon.deciding import DECIDED_RULES, DECIDED_VERSION, Decisions, RunInputs, decide
from recon.errors import NoRunError
from recon.knowledge import KnownAt
from recon.matching import Tolerances, rules_sha256
from recon.matching.rules import MARGIN, declared_rules
from recon.relaxation import Counterfactual, counterfactuals

_EPOCH = (1980, 1, 1, 0, 0, 0)
_FRAMES = ("items", "later", "decided", "acquirers")
_CLEARED = "cleared_before"


@dataclass(frozen=True, slots=True, eq=False)
class Material:
    """A run with what it decided from. `cleared_before`: lines of earlier sets that its open lines might repeat."""

    run_id: int
    business_date: dt.date
    rules_sha256: str
    code_sha256: str
    inputs: RunInputs
    cleared_before: pl.DataFrame

    def decide(self, inputs: RunInputs | None = None, *, threads: int = 1) -> Decisions:
        """Decide these inputs (its own by default) by the rules and the code of now."""
        return decide(inputs or self.inputs, lambda _: self.cleared_before, threads=threads)


def code_sha256() -> str:
    """Digest of the program text that decides beside the rules: the modules of matching and classification."""
    digest = hashlib.sha256()
    root = resources.files("recon")
    files = [root.joinpath(name) for name in ("breaks.py", "codes.py", "deciding.py")]
    files += [entry for entry in root.joinpath("matching").iterdir() if entry.name.endswith(".py")]
    for entry in sorted(files, key=lambda e: e.name):
        digest.update(entry.name.encode() + b"\x1f" + entry.read_bytes() + b"\x1e")
    return digest.hexdigest()


def pack(inputs: RunInputs, cleared_before: pl.DataFrame) -> bytes:
    """The archive of a run's inputs."""
    told = {
        "rules": [
            *(
                {"code": code, "version": DECIDED_VERSION, "key": None, "is_fungible": False, "by": "people"}
                for code in DECIDED_RULES
            ),
            *(rule | {"by": "rule"} for rule in declared_rules()),
        ],
        "scored_margin": MARGIN,
        "denied": [[list(members), why] for members, why in sorted(inputs.denied.items())],
        "suggested": dict(sorted(inputs.suggested.items())),
        "tolerances": {
            name: sorted(value) if isinstance(value, frozenset) else value
            for name, value in dataclasses.asdict(inputs.tolerances).items()
        },
    }
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo("inputs.json", _EPOCH), json.dumps(told, ensure_ascii=False, sort_keys=True))
        for name in (*_FRAMES, _CLEARED):
            frame = cleared_before if name == _CLEARED else getattr(inputs, name)
            written = io.BytesIO()
            frame.write_parquet(written, compression="zstd", compression_level=3, statistics=False)
            archive.writestr(zipfile.ZipInfo(f"{name}.parquet", _EPOCH), written.getvalue())
    return out.getvalue()


def unpack(content: bytes) -> tuple[RunInputs, pl.DataFrame]:
    """The inputs in an archive, and the lines that had cleared before."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        told = json.loads(archive.read("inputs.json"))
        frames = {name: pl.read_parquet(io.BytesIO(archive.read(f"{name}.parquet"))) for name in (*_FRAMES, _CLEARED)}
    cleared = frames.pop(_CLEARED)
    inputs = RunInputs(
        denied={tuple(members): why for members, why in told["denied"]},
        suggested=told["suggested"],
        tolerances=_tolerances(told["tolerances"]),
        **frames,
    )
    return inputs, cleared


def _tolerances(told: Mapping[str, int | list[str]]) -> Tolerances:
    terms = {name: frozenset(value) if isinstance(value, list) else value for name, value in told.items()}
    return dataclasses.replace(Tolerances(), **terms)  # type: ignore[arg-type]


def keep(conn: Connection, *, run_id: int, inputs: RunInputs, cleared_before: pl.DataFrame) -> None:
    """Keep a run's inputs with it, in the caller's transaction."""
    content = pack(inputs, cleared_before)
    conn.execute("SELECT recon.keep_material(%s, %b, %s)", (run_id, content, code_sha256()))


def material(conn: Connection, *, book_id: int, run_id: int) -> Material:
    """A run with its inputs. Raises `NoRunError` when there is no such run."""
    with transaction(conn):
        row = conn.execute(
            "SELECT r.business_date, r.rules_sha256, m.code_sha256, m.content FROM recon.run r"
            " JOIN recon.run_material m USING (run_id) WHERE r.book_id = %s AND r.run_id = %s",
            (book_id, run_id),
        ).fetchone()
    if row is None:
        raise NoRunError(f"there is no run {run_id}; list them with `nostro recon runs`.")
    day, rules, code, content = row
    assert isinstance(day, dt.date) and isinstance(content, bytes)
    inputs, cleared = unpack(content)
    return Material(run_id, day, str(rules), str(code), inputs, cleared)


def current_rules() -> str:
    """Digest of the rules and codes of now, as runs keep it."""
    return rules_sha256(taxonomy_digest_parts())


def decision_keys(decisions: Decisions) -> dict[int, str]:
    """What was decided about each item, in words that are equal when the decisions are."""
    keys: dict[int, str] = {}
    grouped = decisions.sets.group_by("set_ordinal").agg(pl.col("rule").first(), pl.col("item_id").sort())
    for rule, members in grouped.select("rule", "item_id").rows():
        for item in members:
            keys[item] = cleared_key(rule, members)
    for item, code, break_id in decisions.open_rows.select("item_id", "code", "break_id").rows():
        keys[item] = open_key(code, break_id)
    return keys


def cleared_key(rule: str, members: list[int]) -> str:
    """The key of an item that cleared in a set of these members."""
    shown = " ".join(str(member) for member in members[:20])
    more = "" if len(members) <= 20 else hashlib.sha256(" ".join(map(str, members)).encode()).hexdigest()[:12]
    return f"cleared by {rule}: {shown} {more}".rstrip()


def open_key(code: str, break_id: str | None) -> str:
    """The key of an item that stayed open."""
    return "in flight" if break_id is None else f"open as {code} in {break_id}"


def stored_keys(conn: Connection, *, run_id: int) -> dict[int, str]:
    """What the run published about each item, as `decision_keys` says it."""
    with transaction(conn):
        sets = conn.execute(
            "SELECT s.rule, array_agg(l.posting_id ORDER BY l.posting_id) FROM recon.match_set s"
            " JOIN recon.match_leg l USING (match_set_id) WHERE s.run_id = %s GROUP BY s.match_set_id, s.rule",
            (run_id,),
        ).fetchall()
        rows = conn.execute(
            "SELECT posting_id, code, break_id FROM recon.open_item WHERE run_id = %s", (run_id,)
        ).fetchall()
    keys: dict[int, str] = {}
    for rule, members in sets:
        assert isinstance(members, list)
        for item in members:
            keys[item] = cleared_key(str(rule), members)
    for posting, code, break_id in rows:
        keys[int(str(posting))] = open_key(str(code), None if break_id is None else str(break_id))
    return keys


@dataclass(frozen=True, slots=True)
class RunRow:
    """One run: its day, when and by whom it was recorded, and how much it decided."""

    run_id: int
    business_date: dt.date
    recorded_at: dt.datetime
    recorded_by: str
    items: int
    sets: int
    breaks: int
    rules_sha256: str


def list_runs(conn: Connection, *, book_id: int, business_date: dt.date | None = None) -> list[RunRow]:
    """The book's runs, of one day when given, newest first."""
    with transaction(conn):
        rows = conn.execute(
            "SELECT r.run_id, r.business_date, r.recorded_at, settlement.person(r.recorded_by), r.item_count,"
            " (SELECT count(*)::int FROM recon.match_set s WHERE s.run_id = r.run_id),"
            " (SELECT count(*)::int FROM recon.break_run b WHERE b.run_id = r.run_id), r.rules_sha256"
            " FROM recon.run r WHERE r.book_id = %(book)s AND (%(day)s::date IS NULL OR r.business_date = %(day)s)"
            " ORDER BY r.run_id DESC",
            {"book": book_id, "day": business_date},
        ).fetchall()
    return [RunRow(*row) for row in rows]  # type: ignore[arg-type]


def break_counterfactuals(
    conn: Connection,
    *,
    book_id: int,
    break_id: str,
    business_date: dt.date | None = None,
    known_at: KnownAt | None = None,
) -> tuple[Counterfactual, ...]:
    """Every single change that would have closed a break in its run, proved on what the run kept.

    Empty for breaks of whole statements. Raises `BreakUnknownError`, `NoRunError`.
    """
    with transaction(conn):
        detail = break_show(conn, book_id=book_id, break_id=break_id, business_date=business_date, known_at=known_at)
        # The run that has the break: a later one of the same day may have closed it.
        kept = material(conn, book_id=book_id, run_id=detail.run_id)
        still_open = conn.execute("SELECT posting_id FROM recon.open_item WHERE run_id = %s", (kept.run_id,)).fetchall()
    context = kept.inputs.items.filter(pl.col("item_id").is_in([int(str(row[0])) for row in still_open]))
    ids = [item.posting_id for item in detail.items]
    return counterfactuals(BreakCode(detail.head.code), ids, context, kept.inputs.tolerances)


@dataclass(frozen=True, slots=True)
class Replay:
    """A run decided again from what it kept: postings whose decision differs now, as (posting, then, now)."""

    run_id: int
    business_date: dt.date
    items: int
    is_same_rules: bool
    is_same_code: bool
    differences: tuple[tuple[int, str, str], ...]


def replay(conn: Connection, *, book_id: int, run_id: int, threads: int = 1) -> Replay:
    """Decide a run again from its kept inputs, by the rules and code of now, and compare item by item."""
    kept = material(conn, book_id=book_id, run_id=run_id)
    then, now = stored_keys(conn, run_id=run_id), decision_keys(kept.decide(threads=threads))
    return Replay(
        run_id=run_id,
        business_date=kept.business_date,
        items=len(then),
        is_same_rules=kept.rules_sha256 == current_rules(),
        is_same_code=kept.code_sha256 == code_sha256(),
        differences=differences(then, now),
    )


def differences(before: Mapping[int, str], after: Mapping[int, str]) -> tuple[tuple[int, str, str], ...]:
    """Items decided differently, as (item, before, after); an item that is not there is `not there`."""
    return tuple(
        (item, before.get(item, "not there"), after.get(item, "not there"))
        for item in sorted({*before, *after})
        if before.get(item) != after.get(item)
    )
