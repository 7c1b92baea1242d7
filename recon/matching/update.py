"""Late lines: a finished batch run brought up to date by reconciling only the accounts that they touch.

Lives here: which accounts those are, the layer of files that takes the place of theirs. Must not live here: matching.

Nothing decides across accounts but what names something on another account; `links.parquet` of a run holds such pairs
of accounts. So the rest of the result stays as it is, and since digests are kept account by account and add up, the
digest of the whole is known without reading it: it is the one that a full run over all lines gives.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import dataclass, replace
from datetime import date
from pathlib import Path

import polars as pl

from recon.errors import FileRefusedError
from recon.matching.batch import (
    BatchResult,
    Job,
    Replay,
    compared,
    file_sha256,
    result_digest,
    run_job,
    write_manifest,
    written_whole,
)
from recon.matching.items import BANK_KINDS, Tolerances

_WORDS = (r"[A-Za-z0-9][A-Za-z0-9_./:-]*[A-Za-z0-9]", r"[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9]")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchUpdate:
    """What late lines changed: the accounts reconciled again, what these gave, and the digest of the whole result."""

    accounts: tuple[str, ...]
    late_lines: int
    layer: BatchResult
    result_sha256: str


def update_batch(
    bank: Path, ledger: Path, previous: Path, late: Path, out: Path, *, threads: int = 2, memory_limit_gb: int = 4
) -> BatchUpdate:
    """Reconcile again what late bank lines touch, by the settings of the run under `previous`.

    Writes a layer under `out`: the same files as a run, for the touched accounts only; they take the place of what
    `previous` has of these accounts. `bank` and `ledger` are the files of that run. Raises `FileRefusedError` when
    `late` has anything but bank lines or `previous` is a layer itself, and whatever a run raises.
    """
    manifest = json.loads((previous / "manifest.json").read_text(encoding="utf-8"))
    if manifest["layer"] is not None:
        raise FileRefusedError(f"{previous.name} is a layer over another result; reconcile all of it first.")
    lines = pl.read_parquet(late)
    if lines.is_empty() or not lines["kind"].is_in(list(BANK_KINDS)).all():
        raise FileRefusedError(f"{late.name} must have bank lines and nothing else.")
    settings = manifest["tolerances"]
    job = Job(
        bank=bank,
        ledger=ledger,
        tolerances=Tolerances(**settings | {"may_clear": frozenset(settings["may_clear"])}),
        as_of=date.fromisoformat(manifest["as_of"]),
        threads=threads,
        memory_limit_gb=memory_limit_gb,
        late=late,
    )
    links = pl.read_parquet(previous / "links.parquet")
    touched = _closed(set(lines["account"]) | _named_by(lines, ledger), links)
    with written_whole(out) as part:
        while True:
            result = run_job(replace(job, accounts=tuple(sorted(touched))), part)
            found = pl.read_parquet(part / "links.parquet")
            more = _closed(touched | _naming_opened(bank, ledger, previous, part), pl.concat([links, found]))
            if more == touched:
                break
            touched = more
        accounts = tuple(sorted(touched))
        kept = pl.read_parquet(previous / "digests.parquet").filter(~pl.col("account").is_in(list(accounts)))
        whole = pl.concat([kept, pl.read_parquet(part / "digests.parquet")])
        digest = result_digest(whole)
        layer = {
            "over_result_sha256": manifest["result"]["result_sha256"],
            "accounts": list(accounts),
            "whole_result_sha256": digest,
        }
        inputs = manifest["inputs"] | {"late": file_sha256(late)}
        write_manifest(part, result, inputs, job.tolerances, job.as_of, layer)
    return BatchUpdate(accounts=accounts, late_lines=lines.height, layer=result, result_sha256=digest)


def replay_update(
    bank: Path, ledger: Path, previous: Path, late: Path, out: Path, *, threads: int = 2, memory_limit_gb: int = 4
) -> Replay:
    """Lay the late lines over the run under `previous` again, by its settings, and compare with the layer under `out`.

    Nothing under either folder is touched. Raises what `update_batch` raises.
    """
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="nostro-replay-", dir=out.parent) as folder:
        again = Path(folder) / "again"
        update_batch(bank, ledger, previous, late, again, threads=threads, memory_limit_gb=memory_limit_gb)
        return compared(manifest, json.loads((again / "manifest.json").read_text(encoding="utf-8")))


def _closed(accounts: set[str], links: pl.DataFrame) -> set[str]:
    """These accounts and every one that a chain of links leads to."""
    pairs = links.rows()
    grown = True
    while grown:
        linked = {one for pair in pairs for one in pair if accounts.intersection(pair)}
        grown = not linked <= accounts
        accounts = accounts | linked
    return accounts


def _named_by(lines: pl.DataFrame, ledger: Path) -> set[str]:
    """Accounts of the expectations that these lines name."""
    texts = [lines["end_to_end_id"], lines["structured_ref"]]
    texts += [lines["remittance"].str.extract_all(word).explode() for word in _WORDS]
    words = pl.concat([text.cast(pl.String) for text in texts]).drop_nulls().unique()
    named = pl.col("end_to_end_id").is_in(words.implode()) | pl.col("structured_ref").is_in(words.implode())
    named |= pl.col("uetr").is_in(lines["uetr"].drop_nulls().implode())
    found = pl.scan_parquet(ledger).filter(named).select(pl.col("account").unique()).collect(engine="streaming")
    return set(found["account"])


def _naming_opened(bank: Path, ledger: Path, previous: Path, part: Path) -> set[str]:
    """Accounts of lines that name an expectation which was cleared before and is open now."""
    before = pl.read_parquet(previous / "breaks.parquet", columns=["item_id"])
    now = pl.read_parquet(part / "breaks.parquet", columns=["item_id", "kind"])
    opened = now.filter(pl.col("kind").is_in(["INSTRUCTION", "RECEIPT"])).join(before, on="item_id", how="anti")
    if opened.is_empty():
        return set()
    items = (
        pl.scan_parquet(ledger)
        .filter(pl.col("item_id").is_in(opened["item_id"].implode()))
        .select("end_to_end_id", "uetr")
        .collect(engine="streaming")
    )
    naming = pl.col("end_to_end_id").is_in(items["end_to_end_id"].drop_nulls().implode())
    naming |= pl.col("uetr").is_in(items["uetr"].drop_nulls().implode())
    found = pl.scan_parquet(bank).filter(naming).select(pl.col("account").unique()).collect(engine="streaming")
    return set(found["account"])
