"""The writer against the model of record, committed files, and four readers that are not ours."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import MISSING, fields, replace
from decimal import Decimal
from pathlib import Path
from typing import TypeVar

import pyiso20022.pain.pain_001_001_09 as iso
import pytest
from iso_samples import PROFILES, Profile, changed, credit_transfers, payment_file
from xsdata.formats.dataclass.context import XmlContext
from xsdata.formats.dataclass.parsers import XmlParser
from xsdata.formats.dataclass.parsers.config import ParserConfig

from benchmarks.pain001 import run as run_benchmark
from ledger.money import currency
from settlement.iso20022 import (
    CreditTransfer,
    PaymentFileError,
    PostalAddress,
    Totals,
    chunks,
    render,
    render_model,
    write,
)
from settlement.iso20022.writing import PAYMENTS_PER_CHUNK

GOLDEN = Path(__file__).parents[2] / "golden" / "pain001"
by_profile = pytest.mark.parametrize("profile", PROFILES, ids=str)
T = TypeVar("T")
_CONTEXT = XmlContext()  # what xsdata learns of a class, once


@by_profile
def test_the_fast_writer_writes_the_bytes_of_the_model(profile: Profile) -> None:
    file, transfers = payment_file(profile), credit_transfers(profile, 12)
    assert render(file, transfers) == render_model(file, transfers)


@by_profile
def test_files_are_the_committed_ones(profile: Profile) -> None:
    expected = (GOLDEN / f"{profile}.xml").read_bytes()
    assert render(payment_file(profile), credit_transfers(profile)) == expected


@by_profile
def test_xmllint_accepts(profile: Profile, shared: Path, tmp_path: Path) -> None:
    xmllint = shutil.which("xmllint")
    if xmllint is None:
        pytest.skip("xmllint is not installed")
    path = tmp_path / "file.xml"
    path.write_bytes(render(payment_file(profile), credit_transfers(profile, 20)))
    schema = shared / "xsd" / "pain.001.001.09.xsd"
    done = subprocess.run([xmllint, "--noout", "--schema", schema, path], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@by_profile
def test_cbpr_validate_accepts_without_exception(profile: Profile, tmp_path: Path) -> None:
    cbpr = Path(sys.executable).with_name("cbpr-validate")
    if not cbpr.exists():
        pytest.skip("cbpr-validate is not installed")
    path = tmp_path / "file.xml"
    path.write_bytes(render(payment_file(profile), credit_transfers(profile, 20)))
    command = [cbpr, path, "--year", "2026", "--format", "compact"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@by_profile
def test_pyiso20022_reads_the_same_payments(profile: Profile) -> None:
    file, transfers = payment_file(profile), credit_transfers(profile)
    config = ParserConfig(class_factory=_forgiving, fail_on_unknown_properties=True)
    document = XmlParser(config=config, context=_CONTEXT).from_bytes(render(file, transfers), iso.Document)
    message = document.cstmr_cdt_trf_initn
    (group,) = message.pmt_inf
    exponent = currency(profile.currency).exponent
    total = Decimal(sum(t.amount_minor for t in transfers)).scaleb(-exponent)
    for level in (message.grp_hdr, group):
        assert (level.nb_of_txs, level.ctrl_sum) == (str(len(transfers)), total)
        assert -level.ctrl_sum.as_tuple().exponent == exponent
    assert message.grp_hdr.msg_id == file.msg_id
    assert group.reqd_exctn_dt.dt.to_date() == file.groups[0].execution_date
    assert group.dbtr_acct.id.iban == file.groups[0].debtor_iban
    assert group.btch_bookg is profile.batch_booking
    assert [_as_ours(payment, exponent) for payment in group.cdt_trf_tx_inf] == transfers


def _forgiving(cls: type[T], params: dict[str, object]) -> T:
    """Some releases of pyiso20022 refuse a whole file for one missing element; ours must not be missing any."""
    missing = [
        f.name
        for f in fields(cls)  # type: ignore[arg-type]
        if f.name not in params and f.default is MISSING and f.default_factory is MISSING
    ]
    assert not missing, f"{cls.__name__} lacks {missing}"
    return cls(**params)


def _as_ours(payment: iso.CreditTransferTransaction34, exponent: int) -> CreditTransfer:
    amount = payment.amt.instd_amt
    address = payment.cdtr.pstl_adr
    return CreditTransfer(
        instruction_id=payment.pmt_id.instr_id,
        end_to_end_id=payment.pmt_id.end_to_end_id,
        uetr=payment.pmt_id.uetr,
        amount_minor=int(amount.value.scaleb(exponent)),
        currency=amount.ccy,
        creditor_name=payment.cdtr.nm,
        creditor_iban=payment.cdtr_acct.id.iban,
        creditor_bic=payment.cdtr_agt.fin_instn_id.bicfi if payment.cdtr_agt else None,
        creditor_address=None
        if address is None
        else PostalAddress(
            country=address.ctry,
            town=address.twn_nm,
            street=address.strt_nm,
            postcode=address.pst_cd,
            line_1=next(iter(address.adr_line), None),
            line_2=next(iter(address.adr_line[1:]), None),
        ),
        remittance_unstructured=payment.rmt_inf.ustrd[0] if payment.rmt_inf else None,
    )


def test_writing_streams_and_reports_what_it_wrote() -> None:
    file = payment_file(PROFILES[0])
    transfers = credit_transfers(PROFILES[0], 2 * PAYMENTS_PER_CHUNK + 1)
    pieces = list(chunks(file, iter(transfers), Totals.of(transfers)))
    assert len(pieces) == 5  # envelope, three batches, envelope
    out = io.BytesIO()
    written = write(out, file, iter(transfers), Totals.of(transfers))
    assert out.getvalue() == b"".join(pieces) == render(file, transfers)
    assert written.size_bytes == len(out.getvalue())
    assert write(io.BytesIO(), file, transfers, Totals.of(transfers)) == written


def test_amounts_have_exactly_the_decimals_of_their_currency() -> None:
    expected = {"EUR": b">0.05<", "JPY": b">5<", "KWD": b">0.005<"}
    for profile in PROFILES:
        if profile.currency in expected:
            transfers = changed(credit_transfers(profile), 1, amount_minor=5)
            content = render(payment_file(profile), transfers)
            assert b'Ccy="%s"%s' % (profile.currency.encode(), expected[profile.currency]) in content


_refusals: list[tuple[Callable[[list[CreditTransfer]], list[CreditTransfer]], str]] = [
    (lambda t: changed(t, 2, creditor_name="Zoë"), "outside the sepa set, 'ë'"),
    (lambda t: changed(t, 2, creditor_name="\x00"), "outside the sepa set"),
    (lambda t: changed(t, 2, remittance_unstructured="a & b"), "outside the sepa set, '&'"),
    (lambda t: changed(t, 2, creditor_name=""), "empty text"),
    (lambda t: changed(t, 2, currency="USD"), "is in USD"),
]


@pytest.mark.parametrize(("change", "message"), _refusals)
def test_what_cannot_be_written_is_refused(
    change: Callable[[list[CreditTransfer]], list[CreditTransfer]], message: str
) -> None:
    transfers = change(credit_transfers(PROFILES[0]))
    with pytest.raises(PaymentFileError, match=message):
        render(payment_file(PROFILES[0]), transfers)


def test_wrong_totals_are_refused_at_the_end() -> None:
    transfers = credit_transfers(PROFILES[0])
    with pytest.raises(PaymentFileError, match="count them again"):
        list(chunks(payment_file(PROFILES[0]), transfers, Totals(5, 1)))


def test_a_header_outside_the_character_set_is_refused() -> None:
    file = replace(payment_file(PROFILES[0]), initiating_party_name="Zoë & Co")
    with pytest.raises(PaymentFileError, match="'ë&'"):
        render(file, credit_transfers(PROFILES[0]))


def test_the_benchmark_checks_what_it_measures_and_says_all_it_must() -> None:
    result = run_benchmark(rows=300, repeats=1)
    assert result.keys() >= {"bench", "rows", "reference", "ratio", "peak_rss_mb", "others"}
    assert result["rows"] == 300
    for field in ("ours_per_s", "reference_per_s", "with_gates_per_s"):
        assert isinstance(result[field], int)
        assert result[field] > 0
