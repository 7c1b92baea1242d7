"""Properties of payment files: the fast writer is the model; what is written reads back; nothing slips a gate."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace
from itertools import islice

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from iso_files import files, grouped_files

from settlement.business_days import Calendar
from settlement.iso20022 import (
    AddressForm,
    Charset,
    FileLimits,
    MessageVersion,
    PaymentStatus,
    Rail,
    Totals,
    advance,
    gate_file,
    outside,
    render,
    render_model,
    transliterate,
)
from settlement.iso20022.transfer_rules import TransferRules

VERSIONS = pytest.mark.parametrize("version", MessageVersion)


@VERSIONS
@settings(max_examples=40, deadline=None)
@given(st.data())
def test_the_fast_writer_is_the_model_byte_for_byte_and_reads_back(
    version: MessageVersion, data: st.DataObject
) -> None:
    file, payments, totals = data.draw(grouped_files(version))
    content = render(file, payments, totals)
    assert content == render_model(file, payments, totals)
    assert gate_file(content, file, payments, totals) == []
    assert [of_group.count for of_group in totals.by_group] == [
        inside.count(PAYMENT_ENDS[version.family]) for inside in _group_texts(version, content)
    ]


@VERSIONS
@settings(max_examples=30, deadline=None)
@given(st.data())
def test_no_changed_character_of_a_file_passes_the_gate(version: MessageVersion, data: st.DataObject) -> None:
    """One letter or digit between tags, anywhere in the file, becomes another."""
    file, payments, totals = data.draw(grouped_files(version))
    content = render(file, payments, totals)
    spots = [m.start() for m in re.finditer(rb"(?<=[>A-Za-z0-9])[A-Za-z0-9](?=[^<>&;]*<)", content)]
    spots = [spot for spot in spots if content.rfind(b">", 0, spot) > content.rfind(b"<", 0, spot)]
    assume(spots)
    spot = data.draw(st.sampled_from(spots))
    other = data.draw(st.sampled_from([c for c in b"A7z" if c != content[spot]]))
    changed = content[:spot] + bytes([other]) + content[spot + 1 :]
    assume(not _same_meaning(content, changed))
    assert gate_file(changed, file, payments, totals) != []


@VERSIONS
@settings(max_examples=15, deadline=None)
@given(st.data())
def test_a_payment_that_stands_in_another_group_does_not_pass_the_gate(
    version: MessageVersion, data: st.DataObject
) -> None:
    """The same payments in the same order, and the file's own totals right: only where a group ends is another."""
    file, payments, totals = data.draw(grouped_files(version))
    sizes = [of_group.count for of_group in totals.by_group]
    assume(len(sizes) > 1 and sizes[0] > 1)
    remaining = iter(payments)
    moved = Totals.of_groups([list(islice(remaining, n)) for n in (sizes[0] - 1, sizes[1] + 1, *sizes[2:])])
    assert gate_file(render(file, payments, moved), file, payments, totals) != []


PAYMENT_ENDS = {
    "pain.001": b"</CdtTrfTxInf>",
    "pain.008": b"</DrctDbtTxInf>",
    "pain.007": b"</TxInf>",
    "camt.055": b"</TxInf>",
}


def _group_texts(version: MessageVersion, content: bytes) -> list[bytes]:
    """What stands inside each group, found without our reader."""
    name = {"pain.007": b"OrgnlPmtInfAndRvsl", "camt.055": b"OrgnlPmtInfAndCxl"}.get(version.family, b"PmtInf")
    return re.findall(b"<" + name + b">(.*?)</" + name + b">", content, re.DOTALL)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_payment_is_plain_only_when_it_breaks_no_rule(data: st.DataObject) -> None:
    file, transfers = data.draw(files(MessageVersion.PAIN_001_001_09))
    rail = data.draw(st.sampled_from(Rail))
    form, uetrs = data.draw(st.sampled_from(AddressForm)), data.draw(st.booleans())
    limits = FileLimits(rail=rail, calendar=Calendar("all", "UTC"), address_form=form, uetr=uetrs, maximum_minor=10**10)
    rules = TransferRules(file, limits)
    for transfer in transfers:
        same_id = replace(transfer, instruction_id=transfer.end_to_end_id)
        for like in (transfer, same_id):
            assert not (rules.plain(like) and list(rules.findings("payment", like)))


def _same_meaning(content: bytes, changed: bytes) -> bool:
    """Another spelling of the same moment is the only change that may pass."""
    moment = re.compile(rb"<CreDtTm>([^<]*)<")
    before, after = (moment.search(c) for c in (content, changed))
    if before is None or after is None or before.group(1) == after.group(1):
        return False
    try:
        return dt.datetime.fromisoformat(before.group(1).decode()) == dt.datetime.fromisoformat(after.group(1).decode())
    except ValueError:
        return False


@settings(deadline=None)
@given(st.text(max_size=80), st.sampled_from(Charset))
def test_transliteration_stays_inside_the_set_logs_everything_and_is_stable(text: str, charset: Charset) -> None:
    result = transliterate(text, charset)
    assert outside(result.written, charset) == ""
    assert result.written == result.written.strip()
    assert bool(result.changes) == (result.written != text)
    assert transliterate(result.written, charset).written == result.written
    rebuilt, position = "", 0
    for change in result.changes:
        assert text[change.position : change.position + len(change.original)] == change.original
        rebuilt += text[position : change.position] + change.written
        position = change.position + len(change.original)
    assert rebuilt + text[position:] == result.written


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PaymentStatus, "PDNG", "PART", "ACWC"]), max_size=8), st.randoms())
def test_the_status_does_not_depend_on_the_order_of_reports(codes: list[str], random: object) -> None:
    assume(not {"RJCT", "CANC"} <= set(codes))  # between two refusals the first stays
    shuffled = list(codes)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert _heard(codes) == _heard(shuffled)


def _heard(codes: list[str]) -> PaymentStatus | None:
    state: PaymentStatus | None = None
    for code in codes:
        state = advance(state, code)
    return state


@settings(deadline=None)
@given(
    st.dates(dt.date(2003, 1, 1), dt.date(2096, 1, 1)),
    st.integers(-800, 800),
    st.sampled_from(["ECB", "all", "DE"]),
)
def test_days_between_adds_up_over_any_day_between(start: dt.date, days: int, holidays: str) -> None:
    end = start + dt.timedelta(days=days)
    calendar = Calendar(holidays, "UTC")
    middle = start + (end - start) / 2
    whole = calendar.days_between(start, end)
    assert whole == calendar.days_between(start, middle) + calendar.days_between(middle, end)
    if start < end:
        assert calendar.add_open_days(start, whole) == (calendar.open_on_or_before(end) if whole else start)
