"""Properties of payment files: the fast writer is the model; what is written reads back; nothing slips a gate."""

from __future__ import annotations

import datetime as dt
import re
from dataclasses import replace

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from ledger.money import CURRENCIES
from settlement.business_days import Calendar
from settlement.iso20022 import (
    ChargeBearer,
    Charset,
    CreditTransfer,
    PaymentFile,
    PaymentGroup,
    PaymentStatus,
    PostalAddress,
    Totals,
    advance,
    gate_file,
    outside,
    render,
    render_model,
    transliterate,
)
from settlement.iso20022.charset import LATIN_RANGES, SEPA_CHARACTERS

CHARACTERS = {
    Charset.SEPA: SEPA_CHARACTERS,
    Charset.LATIN: "".join(chr(code) for low, high in LATIN_RANGES for code in range(low, high + 1)),
}
NEED_ESCAPES = "&<>\"'%{}]]>"
IBANS = st.sampled_from(["DE89370400440532013000", "NL91ABNA0417164300", "GR1601101250000000012300695"])
BICS = st.sampled_from(["NORDDEFF", "BANKCZPPXXX"])
COUNTRIES = st.sampled_from(["DE", "NL", "GR", "JP"])
IDS = st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-", min_size=1, max_size=35)
UETRS = st.uuids(version=4).map(str)
CODES = sorted(CURRENCIES)


def texts(charset: Charset, max_size: int) -> st.SearchStrategy[str]:
    """Any text of the set that fits; in the wide set mostly what XML must escape."""
    plain = st.text(CHARACTERS[charset], min_size=1, max_size=max_size)
    if charset is Charset.SEPA:
        return plain
    return plain | st.text(NEED_ESCAPES + "aé", min_size=1, max_size=max_size)


def addresses(charset: Charset) -> st.SearchStrategy[PostalAddress | None]:
    return st.none() | st.builds(
        PostalAddress,
        country=COUNTRIES,
        town=texts(charset, 35),
        street=st.none() | texts(charset, 70),
        postcode=st.none() | texts(charset, 16),
        line_1=st.none(),
        line_2=st.none(),
    ).flatmap(
        lambda address: (
            st.just(address)
            | st.builds(
                replace,
                st.just(address),
                line_1=texts(charset, 70),
                line_2=st.none() | texts(charset, 70),
            )
        )
    )


@st.composite
def files(draw: st.DrawFn) -> tuple[PaymentFile, list[CreditTransfer]]:
    charset, currency = draw(st.sampled_from(Charset)), draw(st.sampled_from(CODES))
    group = PaymentGroup(
        payment_information_id=draw(IDS),
        execution_date=draw(st.dates(dt.date(1990, 1, 1), dt.date(2100, 12, 31))),
        currency=currency,
        debtor_name=draw(texts(charset, 70)),
        debtor_iban=draw(IBANS),
        debtor_bic=draw(BICS),
        debtor_address=draw(addresses(charset)),
        batch_booking=draw(st.booleans()),
        service_level=draw(st.none() | st.sampled_from(["SEPA", "NURG"])),
        charge_bearer=draw(st.sampled_from(ChargeBearer)),
        category_purpose=draw(st.none() | st.sampled_from(["SUPP", "SALA"])),
    )
    offset = dt.timezone(dt.timedelta(minutes=draw(st.integers(-14 * 60, 14 * 60))))
    file = PaymentFile(
        msg_id=draw(IDS),
        created_at=draw(st.datetimes(dt.datetime(1990, 1, 1), dt.datetime(2100, 1, 1))).replace(  # noqa: DTZ001
            microsecond=0, tzinfo=offset
        ),
        initiating_party_name=draw(texts(charset, 70)),
        initiating_party_id=draw(st.none() | IDS),
        group=group,
        charset=charset,
    )
    payment = st.builds(
        CreditTransfer,
        instruction_id=IDS,
        end_to_end_id=IDS,
        uetr=st.none() | UETRS,
        amount_minor=st.integers(1, 10**14),
        currency=st.just(currency),
        creditor_name=texts(charset, 140),
        creditor_iban=IBANS,
        creditor_bic=st.none() | BICS,
        creditor_address=addresses(charset),
        remittance_unstructured=st.none() | texts(charset, 140),
    )
    return file, draw(st.lists(payment, min_size=1, max_size=6))


@settings(max_examples=300, deadline=None)
@given(files())
def test_the_fast_writer_is_the_model_byte_for_byte(
    written: tuple[PaymentFile, list[CreditTransfer]],
) -> None:
    file, transfers = written
    assert render(file, transfers) == render_model(file, transfers)


@settings(max_examples=200, deadline=None)
@given(files())
def test_what_is_written_is_valid_and_reads_back(
    written: tuple[PaymentFile, list[CreditTransfer]],
) -> None:
    file, transfers = written
    assert gate_file(render(file, transfers), file, transfers, Totals.of(transfers)) == []


@settings(max_examples=200, deadline=None)
@given(files(), st.data())
def test_no_changed_character_of_a_payment_passes_the_gate(
    written: tuple[PaymentFile, list[CreditTransfer]], data: st.DataObject
) -> None:
    """One letter or digit between tags, anywhere in the file, becomes another."""
    file, transfers = written
    content = render(file, transfers)
    spots = [m.start() for m in re.finditer(rb"(?<=[>A-Za-z0-9])[A-Za-z0-9](?=[^<>&;]*<)", content)]
    spots = [spot for spot in spots if content.rfind(b">", 0, spot) > content.rfind(b"<", 0, spot)]
    assume(spots)
    spot = data.draw(st.sampled_from(spots))
    other = data.draw(st.sampled_from([c for c in b"A7z" if c != content[spot]]))
    changed = content[:spot] + bytes([other]) + content[spot + 1 :]
    assume(not _same_meaning(content, changed))
    assert gate_file(changed, file, transfers, Totals.of(transfers)) != []


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
