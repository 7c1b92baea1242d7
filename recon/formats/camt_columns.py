"""Rows of `StatementLines` from the texts of ordinary entries, a column at a time.

Lives here: what `camt_entry` and `camt_rows` do for one entry, for all entries of a shape at once. Must not live
here: which entries are ordinary (`camt_skim`), XML. The two ways give equal rows; tests compare them on every
sample and on damaged ones.
"""

from __future__ import annotations

from typing import Final

import polars as pl

from recon.formats.camt_progress import DoubtfulEntry, StatementInProgress
from recon.formats.camt_skim import Run, Shape
from recon.formats.values import NOT_PROVIDED, exponent_of
from recon.model import STATEMENT_LINES, EntryStatus

_NONE: Final = pl.lit(None, dtype=pl.String)
_NAME: Final = "name of the entry"  # as `camt_entry` names it to people; not a column of the result
_SCHEMA: Final = [(name, dtype()) for name, dtype in STATEMENT_LINES.items()]


def run_rows(run: Run, statement: StatementInProgress) -> pl.DataFrame:
    """Rows of the next `run.count` entries of a statement, in order; counts and sums go to the statement."""
    frames = [_rows(shape, texts, statement) for shape, texts in run.texts.items()]
    rows = frames[0] if len(frames) == 1 else pl.concat(frames).sort("line_ordinal")
    statement.entry_count += run.count
    booked = pl.col("status") == EntryStatus.BOOK.value
    totals = rows.group_by("currency").agg(
        pl.len().alias("rows"),
        booked.any().alias("any_booked"),
        pl.col("amount_minor").filter(booked).cast(pl.Int128).sum().alias("booked"),
    )
    amount = pl.col("amount_minor").cast(pl.Int128)
    sums = rows.group_by(booked.alias("booked")).agg(
        amount.filter(amount > 0).sum().alias("credits"), amount.filter(amount < 0).sum().alias("debits")
    )
    for is_booked, credit_minor, debit_minor in sums.rows():
        statement.moved(int(credit_minor), -int(debit_minor), is_booked=is_booked)
    for currency, count, any_booked, total in totals.rows():
        statement.row_count[currency] = statement.row_count.get(currency, 0) + count
        if any_booked:
            statement.booked_minor[currency] = statement.booked_minor.get(currency, 0) + int(total)
        if currency not in statement.stated_currencies:
            _doubt(rows.filter(pl.col("currency") == currency), statement)
    undated = rows.filter(booked & pl.col("booking_date").is_null())
    if undated.height:
        statement.notes.add(
            "booking-date-missing",
            "entry without BookgDt takes the day of the closing balance, else the period's end",
            undated["source_line"][0],
            count=undated.height,
        )
    return rows.drop(_NAME)


def _doubt(rows: pl.DataFrame, statement: StatementInProgress) -> None:
    for ordinal, currency, line, name in rows.select("line_ordinal", "currency", "source_line", _NAME).rows():
        statement.doubtful.append(DoubtfulEntry(ordinal, currency, line, name))


class _Texts:
    """Columns of a shape by place; a place the shape does not have is null."""

    def __init__(self, shape: Shape, rows: list[tuple[object, ...]]) -> None:
        place, line, *texts = zip(*rows, strict=True)
        columns = {
            name: pl.Series(name, values, dtype=pl.Binary).cast(pl.String)
            for name, values in zip(shape.places, texts, strict=True)
        }
        self._has = frozenset(columns)
        self.frame = pl.DataFrame(
            [pl.Series("place", place, dtype=pl.Int32), pl.Series("line", line, dtype=pl.Int32), *columns.values()]
        )

    def clean(self, place: str) -> pl.Expr:
        """As `values.clean`."""
        if place not in self._has:
            return _NONE
        text = pl.col(place).str.strip_chars()
        return pl.when(text != "").then(text)

    def reference(self, place: str) -> pl.Expr:
        """As `values.reference`."""
        if place not in self._has:
            return _NONE
        text = pl.col(place).str.strip_chars()
        return pl.when((text != "") & ~text.str.to_uppercase().is_in(list(NOT_PROVIDED))).then(text)

    def account(self, place: str) -> pl.Expr:
        """As `camt_rows._account`, for ASCII without line breaks."""
        if place not in self._has:
            return _NONE
        text = pl.col(place).str.replace_all(" ", "", literal=True).str.to_uppercase()
        return pl.when(text != "").then(text)

    def minor(self, place: str, currency: str) -> pl.Expr:
        """Unsigned minor units of an amount whose pattern is checked."""
        if place not in self._has:
            return pl.lit(None, dtype=pl.Int64)
        exponent = exponent_of(currency) or 0
        whole = pl.col(place).cast(pl.Int64)
        if exponent == 0:
            return whole
        fraction = pl.col(f"{place}.fraction").fill_null("").str.pad_end(exponent, "0").cast(pl.Int64)
        return whole * pl.lit(10**exponent, dtype=pl.Int64) + fraction

    def sign(self, place: str, negative: str) -> pl.Expr:
        """-1 where the indicator is `negative`, else 1."""
        if place not in self._has:
            return pl.lit(1, dtype=pl.Int64)
        return pl.when(pl.col(place) == negative).then(pl.lit(-1, dtype=pl.Int64)).otherwise(pl.lit(1, dtype=pl.Int64))

    def day(self, place: str) -> pl.Expr:
        if place not in self._has:
            return pl.lit(None, dtype=pl.Date)
        return pl.col(place).str.to_date("%Y-%m-%d", exact=True)

    def has(self, place: str) -> bool:
        return place in self._has


def _rows(shape: Shape, rows: list[tuple[object, ...]], statement: StatementInProgress) -> pl.DataFrame:
    """Rows of one shape's entries, as `camt_rows._row` makes them."""
    t = _Texts(shape, rows)
    amount = t.minor("entry.amount", shape.currency) * t.sign("entry.sign", "DBIT")
    instructed, instructed_currency = _instructed(t, shape)
    uetr = t.reference("detail.uetr").str.to_lowercase()
    values = {
        "statement_ordinal": pl.lit(statement.ordinal),
        "line_ordinal": pl.col("place") + (statement.entry_count + 1),
        "detail_ordinal": pl.lit(0),
        "amount_minor": amount,
        "entry_amount_minor": amount,
        "currency": pl.lit(shape.currency),
        "status": pl.col("entry.status"),
        "is_reversal": pl.col("entry.reversal").is_in(["true", "1"]) if t.has("entry.reversal") else pl.lit(False),
        "booking_date": t.day("entry.booking_day"),
        "value_date": t.day("entry.value_day"),
        "account_servicer_ref": pl.coalesce(t.reference("entry.servicer_ref"), t.reference("detail.servicer_ref")),
        "entry_ref": t.reference("entry.reference"),
        "msg_id": pl.coalesce(t.reference("detail.message_id"), t.reference("group.message_id")),
        "payment_information_id": pl.coalesce(
            t.reference("detail.payment_information_id"), t.reference("group.payment_information_id")
        ),
        "instruction_id": t.reference("detail.instruction_id"),
        "end_to_end_id": t.reference("detail.end_to_end_id"),
        "uetr": uetr,
        "transaction_id": t.reference("detail.transaction_id"),
        "mandate_id": t.reference("detail.mandate_id"),
        "structured_ref": t.reference("detail.structured_refs"),
        "remittance": pl.coalesce(t.clean("detail.remittance"), t.clean("detail.structured_texts")),
        **_other_side(t, statement.own_account),
        "bank_tx_code": pl.coalesce(_bank_code(t, "detail"), _bank_code(t, "entry")),
        "proprietary_code": pl.coalesce(t.clean("detail.proprietary_code"), t.clean("entry.proprietary_code")),
        "return_reason": _return_reason(t, shape),
        "charges_minor": _charges(t, shape.currency),
        "instructed_amount_minor": instructed,
        "instructed_currency": instructed_currency,
        "batch_count": pl.col("group.count").cast(pl.Int32) if t.has("group.count") else pl.lit(None),
        "additional_info": pl.coalesce(t.clean("entry.additional_info"), t.clean("detail.additional_info")),
        "source_line": pl.col("line"),
    }
    with_amount = t.frame.with_columns(amount.alias("amount"))
    name = pl.coalesce(t.clean("entry.servicer_ref"), t.clean("entry.reference")).alias(_NAME)
    return with_amount.select([*(values[name].cast(dtype).alias(name) for name, dtype in _SCHEMA), name])


def _other_side(t: _Texts, own: str | None) -> dict[str, pl.Expr]:
    """As `camt_rows._other_side`."""
    debtor_account, creditor_account = t.account("detail.debtor_account"), t.account("detail.creditor_account")
    debtor = pl.coalesce(t.clean("detail.debtor"), t.clean("detail.ultimate_debtor"))
    creditor = pl.coalesce(t.clean("detail.creditor"), t.clean("detail.ultimate_creditor"))
    takes = pl.col("amount") >= 0
    if own is not None:
        side = pl.when(takes).then(debtor_account).otherwise(creditor_account)
        turns = side.eq_missing(pl.lit(own)) & debtor_account.ne_missing(creditor_account)
        takes = pl.when(turns).then(~takes).otherwise(takes)
    creditor_is_own = pl.lit(False) if own is None else creditor_account.eq_missing(pl.lit(own))
    debtor_is_other = pl.lit(True) if own is None else debtor_account.ne_missing(pl.lit(own))
    takes = (
        pl.when(takes & debtor.is_null() & debtor_account.is_null())
        .then(creditor_is_own)
        .when(~takes & creditor.is_null() & creditor_account.is_null())
        .then(debtor_is_other)
        .otherwise(takes)
    )
    return {
        "party_name": pl.when(takes).then(debtor).otherwise(creditor),
        "party_account": pl.when(takes).then(debtor_account).otherwise(creditor_account),
    }


def _bank_code(t: _Texts, record: str) -> pl.Expr:
    """As `camt_rows._bank_code`."""
    if not (t.has(f"{record}.domain") or t.has(f"{record}.family")):
        return _NONE
    parts = [t.clean(f"{record}.{part}") for part in ("domain", "family", "sub_family")]
    joined = pl.concat_str(parts, separator="/", ignore_nulls=True)
    return pl.when(joined != "").then(joined)


def _return_reason(t: _Texts, shape: Shape) -> pl.Expr:
    if not shape.has_return:
        return _NONE
    return pl.coalesce(t.clean("detail.return.code"), t.clean("detail.return.proprietary"), pl.lit("NARR"))


def _charges(t: _Texts, currency: str) -> pl.Expr:
    record = "detail" if t.has("detail.charge.amount") else "entry"
    return t.minor(f"{record}.charge.amount", currency) * t.sign(f"{record}.charge.sign", "CRDT")


def _instructed(t: _Texts, shape: Shape) -> tuple[pl.Expr, pl.Expr]:
    for place in ("detail.instructed_amount", "entry.instructed_amount"):
        if t.has(place):
            currency = shape.instructed_currency[place]
            return t.minor(place, currency), pl.lit(currency)
    return pl.lit(None, dtype=pl.Int64), _NONE
