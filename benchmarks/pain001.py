"""How fast payment files are written and checked, against pyiso20022 and xsdata rendering the same payments.

Lives here: the measurement behind `nostro bench pain001`. Must not live here: the writer, printing, defaults.

Ours and the reference render the same file in turns in one process; figures are medians over the turns. The
reference takes our payments and gives the bytes of the file, as ours does, and both results must be equal. *With
gates* is what a sealed file costs: business rules, writing, and one pass over the bytes for schema, read-back and
totals; each part is also timed apart. A file of more payments than `MEMORY_ROWS` is written and checked as a stream,
so that memory is the writer's and the gates' own.
"""

from __future__ import annotations

import datetime as dt
import io
import resource
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from benchmarks.pain001_reference import render_reference
from benchmarks.result import peak_rss_mb
from settlement.business_days import Calendar
from settlement.iso20022 import (
    RAIL_TERMS,
    AddressForm,
    CreditTransfer,
    FileKey,
    FileLimits,
    PaymentFile,
    PaymentGroup,
    PostalAddress,
    Rail,
    Totals,
    check_business_rules,
    gate_file,
    message_id,
    payment_information_id,
    postal_address,
    uetr,
    write,
)
from settlement.iso20022.readback import FileReader
from settlement.iso20022.schemas import StreamValidator
from settlement.iso20022.validate import BYTES_PER_PIECE

REFERENCE_ROWS_MAX = 20_000  # the reference is linear; more would only take longer and need more memory
MEMORY_ROWS = 100_000
_IBAN = "DE89370400440532013000"
_KEY = FileKey(book_name="Benchmark", book_id=1, bank_account_id=1, business_date=dt.date(2026, 11, 2), cycle=1)
_MESSAGE_ID = message_id(_KEY)
_LIMITS = FileLimits(rail=Rail.SEPA, calendar=Calendar("ECB", "Europe/Berlin"))


class _Payments:
    """The payments of the benchmark: held in memory, or made again on every pass when they are many."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self._held = [_transfer(n) for n in range(1, rows + 1)] if rows <= MEMORY_ROWS else None

    def __iter__(self) -> Iterator[CreditTransfer]:
        return iter(self._held) if self._held is not None else (_transfer(n) for n in range(1, self.rows + 1))


def run(rows: int, repeats: int = 3) -> dict[str, object]:
    """Measure `rows` payments in one file.

    Fields: `ours_per_s` (writing), `reference_per_s`, `ratio`; `with_gates_per_s` and `with_gates_ratio` (business
    rules, writing, schema, read-back, totals); `others`: each gate a second, apart; `peak_growth_mb` (the
    process's most over writing and gates, less what it had when the payments were made); `file_bytes`.
    """
    payments, file = _Payments(rows), _file()
    totals = Totals(rows, sum(100 + n for n in range(1, rows + 1)))
    with tempfile.TemporaryFile() as content:
        before_mb = _rss_mb()
        _sealed(content, file, payments, totals)
        growth_mb, size_bytes = peak_rss_mb() - before_mb, content.tell()
        some = [_transfer(n) for n in range(1, min(rows, REFERENCE_ROWS_MAX) + 1)]
        _check_equal(file, some)
        seconds: dict[str, list[float]] = {}
        for _ in range(repeats):
            for name, work in _parts(content, file, payments, totals, some).items():
                seconds.setdefault(name, []).append(_seconds(work))
    median = {name: statistics.median(times) for name, times in seconds.items()}
    making = median["making"] if rows > MEMORY_ROWS else 0.0
    per_s = {name: round(rows / (median[name] - making)) for name in ("write", "rules", "read_back", "gate")}
    per_s["schema"] = round(rows / median["schema"])  # the only part that takes no payments
    with_gates = rows / (median["write"] + median["rules"] + median["gate"] - 3 * making)
    reference_per_s = len(some) / median["reference"]
    return {
        "bench": "pain001",
        "rows": rows,
        "repeats": repeats,
        "clock": "CPU seconds of the process",
        "ours": "payments to bytes by the compiled templates, SHA-256 included",
        "ours_per_s": per_s["write"],
        "reference": f"pyiso20022 objects built, rendered by xsdata's faster (native) writer, {len(some)} payments",
        "reference_rows": len(some),
        "reference_per_s": round(reference_per_s),
        "ratio": round(per_s["write"] / reference_per_s, 1),
        "with_gates_per_s": round(with_gates),
        "with_gates_ratio": round(with_gates / reference_per_s, 1),
        "byte_identical": True,
        "file_bytes": size_bytes,
        "peak_rss_mb": round(peak_rss_mb()),
        "peak_growth_mb": round(growth_mb, 1),
        "others": {
            "reference_with_its_usual_writer_per_s": round(len(some) / median["usual"]),
            "business_rules_per_s": per_s["rules"],
            "schema_alone_per_s": per_s["schema"],
            "read_back_and_totals_alone_per_s": per_s["read_back"],
            "schema_read_back_and_totals_in_one_pass_per_s": per_s["gate"],
        },
    }


def _parts(
    content: BinaryIO, file: PaymentFile, payments: Iterable[CreditTransfer], totals: Totals, some: list[CreditTransfer]
) -> dict[str, Callable[[], object]]:
    def gate() -> None:
        content.seek(0)
        _must(not gate_file(content, file, payments, totals))

    def schema() -> None:
        validator = StreamValidator(file.message_version)
        content.seek(0)
        while data := content.read(BYTES_PER_PIECE):
            validator.feed(data)
        _must(not validator.faults())

    def read_back() -> None:
        reader = FileReader(file, payments)
        content.seek(0)
        while data := content.read(BYTES_PER_PIECE):
            _must(not reader.feed(data))
        _must(not reader.end(totals))

    return {
        "write": lambda: write(_Nowhere(), file, payments, totals),
        "reference": lambda: render_reference(file, some),
        "usual": lambda: render_reference(file, some, native=False),
        "rules": lambda: _must(not check_business_rules(file, payments, _LIMITS)),
        "gate": gate,
        "schema": schema,
        "read_back": read_back,
        "making": lambda: sum(1 for _ in payments),
    }


def _sealed(content: BinaryIO, file: PaymentFile, payments: Iterable[CreditTransfer], totals: Totals) -> None:
    """Once the whole way, as a file that is about to be proposed."""
    _must(not check_business_rules(file, payments, _LIMITS))
    write(content, file, payments, totals)
    content.seek(0)
    _must(not gate_file(content, file, payments, totals))


def _check_equal(file: PaymentFile, some: list[CreditTransfer]) -> None:
    ours = io.BytesIO()
    write(ours, file, some, Totals.of(some))
    _must(ours.getvalue() == render_reference(file, some))


class _Nowhere(io.BytesIO):
    """Takes bytes and keeps none, so that only the writer's own time is measured."""

    def write(self, data: object, /) -> int:
        assert isinstance(data, bytes)
        return len(data)


def _seconds(work: Callable[[], object]) -> float:
    """CPU seconds: neither side waits for anything, and what else the machine does is not in them."""
    start = time.process_time()
    work()
    return time.process_time() - start


def _rss_mb() -> float:
    """The memory this process has now, in MiB; the most it has had where the system does not tell."""
    statm = Path("/proc/self/statm")
    if not statm.exists():
        return peak_rss_mb()
    return int(statm.read_text().split()[1]) * resource.getpagesize() / 1024**2


def _must(holds: bool) -> None:
    if not holds:
        raise RuntimeError("the benchmark's file is not the reference's, or does not pass its gates")


def _file() -> PaymentFile:
    terms = RAIL_TERMS[Rail.SEPA]
    group = PaymentGroup(
        payment_information_id=payment_information_id(_KEY),
        execution_date=_KEY.business_date,
        currency="EUR",
        debtor_name="Benchmark GmbH",
        debtor_iban=_IBAN,
        debtor_bic="NORDDEFFXXX",
        debtor_address=postal_address(AddressForm.STRUCTURED, country="DE", town="Berlin"),
        service_level=terms.service_level,
        charge_bearer=terms.charge_bearer,
    )
    return PaymentFile(
        msg_id=message_id(_KEY),
        created_at=dt.datetime(2026, 11, 2, 18, 0, tzinfo=dt.UTC),
        initiating_party_name="Benchmark GmbH",
        groups=(group,),
    )


def _transfer(ordinal: int) -> CreditTransfer:
    """Payments of three shapes to accounts of their own, so that no template or memory wins by luck."""
    identifier = f"{_MESSAGE_ID}-{ordinal:07d}"  # a digit more than files have, for a million
    bban = f"37040044{ordinal:010d}"
    return CreditTransfer(
        instruction_id=identifier,
        end_to_end_id=identifier,
        uetr=uetr(b"benchmark secret", identifier),
        amount_minor=100 + ordinal,
        currency="EUR",
        creditor_name=f"Payee {ordinal}",
        creditor_iban=f"DE{98 - int(f'{bban}131400') % 97:02d}{bban}",
        creditor_address=PostalAddress(
            country="DE", town="Berlin", street=f"Weg {ordinal}" if ordinal % 3 else None, postcode="10115"
        ),
        remittance_unstructured=f"Payout {ordinal}" if ordinal % 2 else None,
    )
