"""How fast a camt.053 is read and proven, against a bare lxml walk over the same fields and against pyiso20022.

Lives here: the measurement behind `nostro bench camt053`. Must not live here: the reader, printing, defaults.

Ours gives proven statements and a frame of lines; the reference only fetches the same texts out of the same file
and keeps them in lists. Both read the file from disk, in turns, each turn in a process of its own, so that one's
memory is not the other's; times are CPU seconds of reading, medians over the rounds. `parquet` is our reader writing
its lines to a Parquet file, once for all entries and once for a tenth of them: the same memory for both.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Final

from benchmarks.result import BenchResult, peak_rss_mb

_URN: Final = "urn:iso:std:iso:20022:tech:xsd:camt.053.001.08"
_ACCOUNT: Final = "DE89370400440532013000"
MODEL_ROWS_MAX: Final = 10_000  # the model is linear, and 100,000 entries take it minutes


def run(rows: int, repeats: int = 3) -> BenchResult:
    """Measure reading `rows` entries of one statement."""
    with tempfile.TemporaryDirectory(prefix="nostro-bench-") as folder:
        path, small = Path(folder) / "large.xml", Path(folder) / "small.xml"
        write_statement(path, rows)
        write_statement(small, min(rows, MODEL_ROWS_MAX))
        tenth = Path(folder) / "tenth.xml"
        write_statement(tenth, max(1, rows // 10))
        files = {"ours": path, "walk": path, "model": small, "parquet": path, "parquet-tenth": tenth}
        turns: dict[str, list[dict[str, float]]] = {name: [] for name in files}
        for _ in range(repeats):
            for name, found in turns.items():
                found.append(_turn(name.removesuffix("-tenth"), files[name]))
        size_bytes = path.stat().st_size
    seconds = {name: statistics.median(turn["cpu_s"] for turn in found) for name, found in turns.items()}
    growth = {name: max(turn["growth_mb"] for turn in found) for name, found in turns.items()}
    model_per_s = min(rows, MODEL_ROWS_MAX) / seconds["model"]
    return BenchResult(
        bench="camt053",
        rows=rows,
        ours="read_statement_file: lines in columns, hashes, every rule, the balance proof",
        ours_per_s=rows / seconds["ours"],
        reference="lxml iterparse and one recursive walk that keeps the same texts in lists, nothing checked",
        reference_per_s=rows / seconds["walk"],
        peak_rss_mb=max(turn["peak_mb"] for turn in turns["ours"]),
        others=(
            ("file_bytes", size_bytes),
            ("memory_growth_mb", round(growth["ours"], 1)),
            ("walk_memory_growth_mb", round(growth["walk"], 1)),
            ("to_parquet_per_s", round(rows / seconds["parquet"])),
            ("to_parquet_memory_growth_mb", round(growth["parquet"], 1)),
            ("to_parquet_memory_growth_mb_of_a_tenth", round(growth["parquet-tenth"], 1)),
            ("pyiso20022_per_s", round(model_per_s)),
            ("pyiso20022_entries", min(rows, MODEL_ROWS_MAX)),
            ("times_faster_than_pyiso20022", round(rows / seconds["ours"] / model_per_s, 1)),
        ),
    )


def write_statement(path: Path, rows: int) -> None:
    """A proven camt.053.001.08 of about 820 bytes an entry, three shapes of entries in turn."""
    with path.open("w", encoding="utf-8") as out:
        total = sum(_amount(n) for n in range(rows))
        out.write(
            f'<?xml version="1.0" encoding="UTF-8"?>\n<Document xmlns="{_URN}"><BkToCstmrStmt><GrpHdr>'
            "<MsgId>BENCH</MsgId><CreDtTm>2026-11-20T23:00:00Z</CreDtTm></GrpHdr>\n<Stmt><Id>BENCH-1</Id><ElctrncSeqNb>1</ElctrncSeqNb>"
            f"<CreDtTm>2026-11-20T23:00:00Z</CreDtTm><Acct><Id><IBAN>{_ACCOUNT}</IBAN></Id><Ccy>EUR</Ccy></Acct>\n"
            f"{_balance('OPBD', 0)}{_balance('CLBD', total)}"
        )
        out.writelines(_entries(rows))
        out.write("</Stmt></BkToCstmrStmt></Document>\n")


def _amount(n: int) -> int:
    return (100 + n * 7919 % 1_000_000) * (1 if n % 3 else -1)


def _balance(code: str, minor: int) -> str:
    side = "CRDT" if minor >= 0 else "DBIT"
    return (
        f'<Bal><Tp><CdOrPrtry><Cd>{code}</Cd></CdOrPrtry></Tp><Amt Ccy="EUR">{_text(minor)}</Amt>'
        f"<CdtDbtInd>{side}</CdtDbtInd><Dt><Dt>2026-11-20</Dt></Dt></Bal>\n"
    )


def _text(minor: int) -> str:
    return f"{abs(minor) // 100}.{abs(minor) % 100:02d}"


def _entries(rows: int) -> Iterator[str]:
    for n in range(rows):
        minor = _amount(n)
        side = "CRDT" if minor >= 0 else "DBIT"
        other = f"<Pty><Nm>Counterparty {n % 5000:05d} GmbH</Nm></Pty>"
        account = f"<Id><IBAN>DE{n % 97:02d}100100101{n % 10**9:09d}</IBAN></Id>"
        own = "<Pty><Nm>Benchmark GmbH</Nm></Pty>"
        debtor, creditor = (other, own) if minor >= 0 else (own, other)
        debtor_account, creditor_account = account, f"<Id><IBAN>{_ACCOUNT}</IBAN></Id>"
        if minor < 0:
            debtor_account, creditor_account = creditor_account, debtor_account
        remittance = f"<RmtInf><Ustrd>Invoice {n:07d} of November 2026</Ustrd></RmtInf>" if n % 4 else ""
        instruction = f"<InstrId>I{n:012d}</InstrId>" if n % 2 else ""
        yield (
            f'<Ntry><Amt Ccy="EUR">{_text(minor)}</Amt><CdtDbtInd>{side}</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>'
            "<BookgDt><Dt>2026-11-20</Dt></BookgDt><ValDt><Dt>2026-11-20</Dt></ValDt>"
            f"<AcctSvcrRef>BANK{n:012d}</AcctSvcrRef><BkTxCd><Domn><Cd>PMNT</Cd><Fmly><Cd>RCDT</Cd>"
            "<SubFmlyCd>ESCT</SubFmlyCd></Fmly></Domn></BkTxCd><NtryDtls><TxDtls><Refs>"
            f"<AcctSvcrRef>BANK{n:012d}</AcctSvcrRef>{instruction}<EndToEndId>E2E{n:015d}</EndToEndId></Refs>"
            f'<Amt Ccy="EUR">{_text(minor)}</Amt><CdtDbtInd>{side}</CdtDbtInd><RltdPties><Dbtr>{debtor}</Dbtr>'
            f"<DbtrAcct>{debtor_account}</DbtrAcct><Cdtr>{creditor}</Cdtr><CdtrAcct>{creditor_account}</CdtrAcct>"
            f"</RltdPties>{remittance}</TxDtls></NtryDtls></Ntry>\n"
        )


def _turn(name: str, path: Path) -> dict[str, float]:
    """One reading in a fresh process: CPU seconds, memory before and at the peak."""
    command = [sys.executable, "-m", "benchmarks.camt053", name, str(path)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _ours(path: Path) -> int:
    from recon.formats import read_statement_file
    from recon.model import ProofState

    file = read_statement_file(path, name=path.name)
    if file.statements[0].proof.state is not ProofState.PROVEN:
        raise RuntimeError("the benchmark's statement does not prove")
    return file.lines.height


def _parquet(path: Path) -> int:
    from recon.formats import read_statement_to_parquet
    from recon.model import ProofState

    file = read_statement_to_parquet(path, path.with_suffix(".parquet"), name=path.name)
    if file.statements[0].proof.state is not ProofState.PROVEN:
        raise RuntimeError("the benchmark's statement does not prove")
    return file.statements[0].row_count


def _walk(path: Path) -> int:
    """Texts of the places our reader keeps, an entry a list; nothing is checked or converted."""
    from lxml import etree

    from recon.formats.camt_shape import ENTRY, table_of_texts

    table = table_of_texts(_URN, ENTRY)
    kept: list[list[str | None]] = []

    def walk(element: Any, inside: dict[str, Any], out: list[str | None]) -> None:
        for child in element:
            node = inside.get(child.tag)
            if node is not None:
                if node:
                    walk(child, node, out)
                else:
                    out.append(child.text)

    for _, entry in etree.iterparse(path, tag=f"{{{_URN}}}Ntry"):
        texts: list[str | None] = []
        walk(entry, table, texts)
        kept.append(texts)
        entry.clear()
        while entry.getprevious() is not None:
            del entry.getparent()[0]
    return len(kept)


def _model(path: Path) -> int:
    from pyiso20022.camt.camt_053_001_08 import Document
    from xsdata.formats.dataclass.parsers import XmlParser
    from xsdata.formats.dataclass.parsers.handlers import XmlEventHandler

    document = XmlParser(handler=XmlEventHandler).from_path(path, Document)
    return len(document.bk_to_cstmr_stmt.stmt[0].ntry)


READERS: Final[dict[str, Callable[[Path], int]]] = {
    "ours": _ours,
    "walk": _walk,
    "model": _model,
    "parquet": _parquet,
}


def _main(name: str, path: str) -> None:
    small = Path(path).with_name("warm.xml")
    write_statement(small, 10)
    READERS[name](small)  # imports are not reading
    before_mb, start = peak_rss_mb(), time.process_time()
    READERS[name](Path(path))
    cpu_s = time.process_time() - start
    peak_mb = peak_rss_mb()
    sys.stdout.write(json.dumps({"cpu_s": cpu_s, "peak_mb": peak_mb, "growth_mb": peak_mb - before_mb}))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
