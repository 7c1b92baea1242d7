"""How fast payment files are written and checked, against pyiso20022 and xsdata rendering the same payments.

Lives here: the measurement behind `nostro bench pain001`. Must not live here: the writer, printing, defaults.

Ours and the reference render the same file in turns in one process; figures are medians over the turns. The
reference takes our payments and gives the bytes of the file, as ours does, and both results must be equal.
"""

from __future__ import annotations

import datetime as dt
import io
import resource
import statistics
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

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
    end_to_end_id,
    gate_file,
    message_id,
    payment_information_id,
    postal_address,
    render_model,
    uetr,
    write,
)

if TYPE_CHECKING:
    from typing_extensions import Buffer

REFERENCE_ROWS_MAX = 20_000  # the reference is linear; more would only take longer and need more memory
_IBAN = "DE89370400440532013000"
_KEY = FileKey(book_name="Benchmark", book_id=1, bank_account_id=1, business_date=dt.date(2026, 11, 2), cycle=1)


def run(rows: int, repeats: int = 3) -> dict[str, object]:
    """Measure `rows` payments in one file.

    Fields: `bench`, `rows`, `repeats`, `ours_per_s`, `reference`, `reference_rows`, `reference_per_s`, `ratio`,
    `file_bytes`, `peak_rss_mb`, `writer_rss_growth_mb` (of our writer, before anything else ran),
    `business_rules_per_s` and `gate_per_s` (payments a second), `others` (no further references yet).
    """
    file, limits = _file(), FileLimits(rail=Rail.SEPA, calendar=Calendar("ECB", "Europe/Berlin"))
    transfers = [_transfer(ordinal) for ordinal in range(1, rows + 1)]
    totals, some = Totals.of(transfers), transfers[:REFERENCE_ROWS_MAX]
    before_mb = _peak_rss_mb()
    size_bytes = write(_Nowhere(), file, transfers, totals).size_bytes
    writer_growth_mb = _peak_rss_mb() - before_mb
    same = io.BytesIO()
    write(same, file, some, Totals.of(some))
    content = io.BytesIO()
    write(content, file, transfers, totals)

    ours, reference, rules, gate = [], [], [], []
    for _ in range(repeats):
        ours.append(_seconds(lambda: write(_Nowhere(), file, transfers, totals)))
        reference.append(_seconds(lambda: _must(render_model(file, some) == same.getvalue())))
        rules.append(_seconds(lambda: _must(not check_business_rules(file, transfers, limits))))
        content.seek(0)
        gate.append(_seconds(lambda: _must(not gate_file(content, file, transfers, totals))))
    ours_per_s = rows / statistics.median(ours)
    reference_per_s = len(some) / statistics.median(reference)
    return {
        "bench": "pain001",
        "rows": rows,
        "repeats": repeats,
        "ours_per_s": round(ours_per_s),
        "reference": "pyiso20022 classes rendered by xsdata's XmlSerializer (lxml writer), same payments",
        "reference_rows": len(some),
        "reference_per_s": round(reference_per_s),
        "ratio": round(ours_per_s / reference_per_s, 1),
        "file_bytes": size_bytes,
        "peak_rss_mb": round(_peak_rss_mb()),
        "writer_rss_growth_mb": round(writer_growth_mb, 1),
        "business_rules_per_s": round(rows / statistics.median(rules)),
        "gate_per_s": round(rows / statistics.median(gate)),
        "others": {},
    }


class _Nowhere(io.BytesIO):
    """Takes bytes and keeps none, so that only the writer's own memory is measured."""

    def write(self, data: Buffer, /) -> int:
        return memoryview(data).nbytes


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _must(holds: bool) -> None:
    if not holds:
        raise RuntimeError("the benchmark's file is not the reference's, or does not pass its gates")


def _peak_rss_mb() -> float:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1024**2


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
        group=group,
    )


def _transfer(ordinal: int) -> CreditTransfer:
    """Payments of three shapes, so that no single template wins by luck."""
    identifier = end_to_end_id(_KEY, ordinal)
    return CreditTransfer(
        instruction_id=identifier,
        end_to_end_id=identifier,
        uetr=uetr(b"benchmark secret", identifier),
        amount_minor=100 + ordinal,
        currency="EUR",
        creditor_name=f"Payee {ordinal}",
        creditor_iban=_IBAN,
        creditor_address=PostalAddress(
            country="DE", town="Berlin", street=f"Weg {ordinal}" if ordinal % 3 else None, postcode="10115"
        ),
        remittance_unstructured=f"Payout {ordinal}" if ordinal % 2 else None,
    )
