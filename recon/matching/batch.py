"""The batch entry point: two Parquet files in; matches, breaks, proofs and a certificate out.

Lives here: the order of the steps, the files written, the manifest. Must not live here: any rule; the cascade and the
taxonomy are those of the nightly run. Memory is bounded: wide rows are read only for what the first pass leaves.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import duckdb
import polars as pl

from recon.codes import BreakCode
from recon.errors import ReconCheckError
from recon.matching.cascade import declare_rules, load_sets, refuse_other_count, run_rules
from recon.matching.coding import code_groups, taxonomy_digest_parts
from recon.matching.engine import Engine
from recon.matching.items import Tolerances
from recon.matching.rules import MARGIN, RULES, declared_rules, rules_sha256

FORMAT = "nostro-batch/1"
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What a batch run found. `rules` and `codes` count items; `exact_key_count` is equal in both engines.

    `search_exhausted` (SEARCH_EXHAUSTED): by rule, the searches that a bound ended before they could say that a choice
    is the only one; what they looked at stays open.

    `result_sha256` covers every row of matches, proofs, breaks and certificate and does not depend on the order of
    input rows or on the number of threads.
    """

    bank_items: int
    ledger_items: int
    set_count: int
    cleared_items: int
    open_items: int
    break_count: int
    exact_key_count: int
    rules: dict[str, int]
    codes: dict[str, int]
    search_exhausted: dict[str, int]
    result_sha256: str


def reconcile_parquet(
    bank: Path,
    ledger: Path,
    out: Path,
    *,
    tolerances: Tolerances | None = None,
    as_of: date,
    threads: int = 2,
    memory_limit_gb: int = 4,
) -> BatchResult:
    """Reconcile two Parquet files with `ITEM_SCHEMA` as of a day (their `age_days` count to it).

    Writes `matches.parquet` (one row a leg), `proofs.parquet` (one row a set), `breaks.parquet` (one row an open
    item, TIMING included), `certificate.parquet` (one row an account and currency) and `manifest.json` under `out`.
    Raises `FileRefusedError` for files of another shape and `ReconCheckError` when the certificate's residual is
    not 0 or the engines disagree; nothing is left under `out` then. `memory_limit_gb` bounds the database; about
    1.5 GB more are used beside it.
    """
    job = Job(
        bank=bank,
        ledger=ledger,
        tolerances=tolerances or Tolerances(),
        as_of=as_of,
        threads=threads,
        memory_limit_gb=memory_limit_gb,
    )
    with written_whole(out) as part, ThreadPoolExecutor(1) as pool:
        digests = {name: pool.submit(file_sha256, path) for name, path in (("bank", bank), ("ledger", ledger))}
        result = run_job(job, part)
        inputs = {name: digest.result() for name, digest in digests.items()}
        write_manifest(part, result, inputs, job.tolerances, as_of)
    return result


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is reconciled: all of two files, or only some accounts of them, with late lines in a file of their own."""

    bank: Path
    ledger: Path
    tolerances: Tolerances
    as_of: date
    threads: int
    memory_limit_gb: int
    late: Path | None = None
    accounts: tuple[str, ...] | None = None


@contextmanager
def written_whole(out: Path) -> Iterator[Path]:
    """A folder to write to that becomes `out` at the end, or disappears when anything fails."""
    part = out.with_name(out.name + ".part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    try:
        yield part
        shutil.rmtree(out, ignore_errors=True)
        part.rename(out)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def run_job(job: Job, out: Path) -> BatchResult:
    """Reconcile a job and write its files, the manifest apart, to `out`."""
    engine = Engine.of_parquet(
        job.bank,
        job.ledger,
        tolerances=job.tolerances,
        threads=job.threads,
        memory_limit_gb=job.memory_limit_gb,
        scratch=out / "scratch",
        late=job.late,
        accounts=job.accounts,
    )
    try:
        return _run(engine, job, out)
    finally:
        engine.close()
        shutil.rmtree(out / "scratch", ignore_errors=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replay:
    """Whether a batch run came out the same again, and if not, why: other files, other rules, or another result."""

    is_same: bool
    difference: str | None
    first_sha256: str
    again_sha256: str


def replay_batch(bank: Path, ledger: Path, out: Path, *, threads: int = 2, memory_limit_gb: int = 4) -> Replay:
    """Run the batch under `out` again from its input files, with its own settings, and compare.

    Nothing under `out` is touched. Raises `OSError` when a file is missing.
    """
    manifest = json.loads((out / "manifest.json").read_text(encoding="utf-8"))
    settings = manifest["tolerances"]
    with tempfile.TemporaryDirectory(prefix="nostro-replay-", dir=out.parent) as folder:
        reconcile_parquet(
            bank,
            ledger,
            Path(folder) / "again",
            tolerances=Tolerances(**settings | {"may_clear": frozenset(settings["may_clear"])}),
            as_of=date.fromisoformat(manifest["as_of"]),
            threads=threads,
            memory_limit_gb=memory_limit_gb,
        )
        new = json.loads((Path(folder) / "again" / "manifest.json").read_text(encoding="utf-8"))
    return compared(manifest, new)


def compared(first: Mapping[str, Any], again: Mapping[str, Any]) -> Replay:
    """Two manifests of one run (or of one layer) side by side: the first reason why they differ."""
    reasons = {
        "inputs": "an input file is another one",
        "rules_sha256": "the rules are other ones",
        "row_hash": "the database engine is another version",
        "result": "the same inputs and rules gave another result",
        "layer": "the whole under the layer is another one",
    }
    difference = next((text for name, text in reasons.items() if first[name] != again[name]), None)
    return Replay(
        is_same=difference is None,
        difference=difference,
        first_sha256=_signed(first),
        again_sha256=_signed(again),
    )


def _signed(manifest: Mapping[str, Any]) -> str:
    """The digest of the whole: of the run, or of the run with its layer."""
    layer = manifest["layer"]
    signed: str = manifest["result"]["result_sha256"] if layer is None else layer["whole_result_sha256"]
    return signed


def _run(engine: Engine, job: Job, out: Path) -> BatchResult:
    """The steps. What no later step waits for goes on beside them, when there is a second thread for it."""
    from recon.matching.crosscheck import exact_keys  # loads numpy, which most commands do not need

    declare_rules(engine)
    with _beside(job.threads) as beside:
        engine.first_pass()
        first = beside(lambda: _first_digests(engine.beside()))
        counted = beside(lambda: exact_keys(job.bank, job.ledger, late=job.late, accounts=job.accounts))
        legs = run_rules(engine)
        load_sets(engine, legs)
        engine.run("batch_sets")
        sets = [beside(partial(_written, engine, name, out)) for name in ("matches", "proofs")]
        engine.run("batch_context")
        engine.keep_rest()
        engine.add_table("grouped", code_groups(engine))
        engine.run("batch_codes")
        refuse_other_count(engine, counted())
        early = first()
        engine.run("batch_results")
        _refuse_residual(engine)
        digests = merged_digests(early, engine.rows("batch_digest"))
        written = dict(each() for each in sets)
    written |= dict(_written(engine, name, out) for name in ("breaks", "certificate"))
    digests.write_parquet(out / "digests.parquet")
    engine.rows("batch_links").write_parquet(out / "links.parquet")
    return _result(engine, written, result_digest(digests))


def _first_digests(engine: Engine) -> pl.DataFrame:
    """What came in by account, the sets of the first pass as views, and their digests (`batch_first_digest.sql`)."""
    engine.run("batch_first")
    return engine.rows("batch_first_digest")


def _written(engine: Engine, name: str, out: Path) -> tuple[str, int]:
    """Write one of the files of rows. Returns its name and the number of its rows."""
    return name, engine.beside().write(f"batch_write_{name}", out / f"{name}.parquet")


@contextmanager
def _beside(threads: int) -> Iterator[Callable[[Callable[[], T]], Callable[[], T]]]:
    """Gives what starts a piece of work; its answer is asked for later. With one thread it runs at once.

    Work that was started has ended when the block ends, however it ends.
    """
    if threads == 1:

        def run_now(work: Callable[[], T]) -> Callable[[], T]:
            answer = work()
            return lambda: answer

        yield run_now
        return
    with ThreadPoolExecutor(1) as pool:
        yield lambda work: pool.submit(work).result


def _refuse_residual(engine: Engine) -> None:
    wrong = engine.rows("batch_certificate").filter(pl.col("residual_minor") != 0)
    if wrong.height:
        first = wrong.row(0, named=True)
        raise ReconCheckError(
            f"{first['account']} {first['currency']} does not add up: residual {first['residual_minor']}; nothing was"
            " written."
        )


def _result(engine: Engine, written: dict[str, int], digest: str) -> BatchResult:
    summary = engine.rows("batch_summary")
    places = {rule.wide: rule.code for rule in RULES if rule.wide is not None}
    rules = dict.fromkeys((rule.code for rule in RULES), 0)
    codes: dict[str, int] = {}
    breaks = 0
    for what, name, items, groups, _ in summary.iter_rows():
        if what == "code":
            codes[name] = items
            breaks += groups if name != BreakCode.TIMING else 0
        else:
            rules[places[name] if what == "first" else name] += items
    certificate = engine.rows("batch_certificate")
    return BatchResult(
        bank_items=int(certificate["bank_items"].sum()),
        ledger_items=int(certificate["ledger_items"].sum()),
        set_count=written["proofs"],
        cleared_items=written["matches"],
        open_items=written["breaks"],
        break_count=breaks,
        exact_key_count=engine.exact_key_count,
        rules={name: count for name, count in rules.items() if count},
        codes=codes,
        search_exhausted=dict(sorted(engine.exhausted.items())),
        result_sha256=digest,
    )


def merged_digests(*parts: pl.DataFrame) -> pl.DataFrame:
    """Digests by part and account (`batch_digest.sql`), added up."""
    found: dict[tuple[str, str], tuple[int, int, int]] = {}
    for part, account, rows, total, parity in pl.concat(parts).iter_rows():
        before = found.get((part, account), (0, 0, 0))
        found[part, account] = (before[0] + rows, before[1] + int(total), before[2] ^ int(parity))
    text = pl.String()
    return pl.DataFrame(
        [(*key, rows, str(total), str(parity)) for key, (rows, total, parity) in sorted(found.items())],
        schema={"part": text, "account": text, "rows": pl.Int64(), "total": text, "parity": text},
        orient="row",
    )


def result_digest(parts: pl.DataFrame) -> str:
    """SHA-256 of a result from its digests by part and account (`batch_digest.sql`), in any order."""
    lines = []
    for part in ("break", "certificate", "match", "proof"):
        rows = parts.filter(pl.col("part") == part)
        total = sum(int(each) for each in rows["total"])
        parity = 0
        for each in rows["parity"]:
            parity ^= int(each)
        lines.append(f"{part},{rows['rows'].sum()},{total},{parity}\n")
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def write_manifest(
    out: Path,
    result: BatchResult,
    inputs: Mapping[str, str],
    tolerances: Tolerances,
    as_of: date,
    layer: Mapping[str, object] | None = None,
) -> None:
    """What was reconciled, by which rules, and what came out. `layer`: what this result is laid over."""
    body = {
        "format": FORMAT,
        "as_of": as_of.isoformat(),
        "inputs": dict(inputs),
        "layer": None if layer is None else dict(layer),
        "tolerances": asdict(tolerances) | {"may_clear": sorted(tolerances.may_clear)},
        "rules_sha256": rules_sha256(taxonomy_digest_parts()),
        "rules": declared_rules(),
        "scored_margin": MARGIN,
        "row_hash": f"duckdb {duckdb.__version__} hash",
        "result": asdict(result),
    }
    text = json.dumps(body, indent=2, sort_keys=True) + "\n"
    (out / "manifest.json").write_text(text, encoding="utf-8")


def file_sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
