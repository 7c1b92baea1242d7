"""An unknown report looked at: one topic after the other, each by evidence.

Lives here: the order of the topics, and the layout put together. Must not live here: how a topic is decided.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from recon.formats.detect import FileFormat, detect
from recon.formats.report_layout import built_in
from recon.formats.report_reader import layout_for
from recon.formats.rules import StatementRefused
from recon.formats.workbook import is_workbook
from recon.layout_finder.amounts import RowFacts
from recon.layout_finder.days import find_days, order_of
from recon.layout_finder.findings import Findings, Strength, Value
from recon.layout_finder.frame import find_ends, find_payouts, find_skips, refuse_sums, stated_ends, stated_totals
from recon.layout_finder.money import find_decimals, find_money, find_parts
from recon.layout_finder.proposal import LayoutProposal, complete
from recon.layout_finder.table import Table, table_of, without_totals
from recon.layout_finder.texts import find_account, find_currency, find_references, find_state, kind_column

_HEAD: Final = 64 * 1024
_DEFAULTS: Final[Mapping[str, Value]] = {"delimiter": ",", "decimal": ".", "encoding": None, "date_format": None}


def propose_layout(
    data: bytes, *, file_name: str, name: str | None = None, said: Mapping[str, Value] | None = None
) -> LayoutProposal:
    """A layout for a report, the evidence for each of its keys, and what it leaves open.

    `said` are keys that a person has decided (the layout's own names and values). Raises `StatementRefused` for what is
    no table of entries: empty, another format that is read without a layout, a file cut into nothing.
    """
    if not data.strip():
        raise StatementRefused("empty-file", 1, "the file is empty: fetch it again")
    _refuse_others(data)
    table = without_totals(table_of(data))
    findings = Findings(said or {})
    findings.choose("name", name or _name_of(file_name), Strength.ASSUMED, "from the file's name")
    _structure(table, findings)
    _columns(table, findings)
    known = layout_for(data)
    return complete(data, table, findings, file_name=file_name, known_as=known.name if known else None)


def _refuse_others(data: bytes) -> None:
    """What needs no layout, or no layout can help, is said before anything is looked at."""
    if is_workbook(data):
        return
    try:
        kind = detect(data[:_HEAD], built_in())
    except StatementRefused as refused:
        if refused.rule == "layout-unknown":
            return
        raise
    if kind in (FileFormat.MT940, FileFormat.BAI2) or data.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        what = "XML" if kind is FileFormat.CAMT else kind.value.upper()
        raise StatementRefused(
            "not-a-table", 1, f"this is {what}, no table: it is read without a layout (`nostro recon ingest --check`)"
        )


def _name_of(file_name: str) -> str:
    bare = re.sub(r"[^a-z0-9]+", "-", Path(file_name).stem.lower()).strip("-")
    return f"report.{bare}"[:40].rstrip("-.")


def _structure(table: Table, findings: Findings) -> None:
    count = len(table.rows)
    if not table.is_workbook:
        said = f"{count} rows have a day and a number in cells of their own, {len(table.names)} columns"
        findings.choose("delimiter", table.delimiter, Strength.SEEN, said)
    if table.encoding is not None:
        tells = len(table.encodings) == 1
        why = (
            "the names of the columns are words in it"
            if tells
            else f"not UTF-8; as well: {', '.join(table.encodings[1:4])}"
        )
        findings.choose("encoding", table.encoding, Strength.SEEN if tells else Strength.ASSUMED, why)
    if table.header_line is None:
        findings.choose("columns", list(table.names), Strength.ASSUMED, "no row names the columns: they are numbered")
    else:
        named = [name for name in dict.fromkeys(table.header) if name]
        findings.choose(
            "header", list(named), Strength.SEEN, f"row {table.header_line}, the last text before {count} entries"
        )
    if table.header_line is not None and table.header_line > 30:
        findings.ask("header", (), f"the header is row {table.header_line}; it is looked for in the first 30 rows")


def _columns(table: Table, findings: Findings) -> None:
    moves = find_state(table, table.names, findings)
    days = find_days(table, moves, findings)
    free = [name for name in table.names if name not in days]
    stated = stated_ends(table)
    rows = RowFacts(keys=_keys(table, free), moves=moves, order=order_of(table, findings))
    money = find_money(table, days, findings, rows, stated, stated_totals(table))
    amounts = list(money.movement.columns) if money else []
    if findings.value("currency") is None:
        find_currency(table, amounts, findings)
    codes = _codes(table, findings)
    texts = _left(free, findings)
    if money is not None:
        find_parts(money, findings)
        find_decimals(table, money, codes, findings)
        texts = [name for name in texts if name not in money.numbers]
    account = find_account(table, texts, findings)
    kind = kind_column(table, _left(texts, findings))
    if money is not None:
        values = rows.booked(money.movement.values)
        moved = stated.moved(str(findings.value("decimal") or "."), table, list(money.numbers)) if stated else None
        find_ends(stated, moved is not None and moved == sum(values), money.balance is not None, findings)
        if money.balance is None and findings.value("total") is None:
            find_payouts(table, kind, [name for name in free if name != account], values, codes, findings)
    find_skips(table, findings)
    refuse_sums(table, texts, findings)
    if kind is not None:
        findings.choose("type", kind, Strength.NAMED, "few texts, and its name says so")
    find_references(table, _left(texts, findings), findings)


def _keys(table: Table, free: list[str]) -> list[str]:
    """What parts the rows into running balances: currency and account, whichever there are."""
    scratch = Findings({})
    find_currency(table, [], scratch)
    find_account(table, free, scratch)
    names = [name for key in ("currency", "account") if isinstance(name := scratch.value(key), str)]
    columns = [table.column(name) for name in names]
    return ["\x1f".join(cells) for cells in zip(*columns, strict=True)] if columns else [""] * len(table.rows)


def _codes(table: Table, findings: Findings) -> list[str]:
    column, said = findings.value("currency"), findings.value("currency_is")
    if isinstance(column, str) and column in table.names:
        codes = [text.upper() for text in table.column(column)]
        return codes if any(codes) else _codes_of_others(table, column)
    return [said if isinstance(said, str) else ""] * len(table.rows)


def _codes_of_others(table: Table, column: str) -> list[str]:
    """The currency that rows with totals name for the entries."""
    place = table.names.index(column)
    stated = {cells[place].upper() for _, cells in table.others if len(cells) > place and cells[place]}
    return [stated.pop() if len(stated) == 1 else ""] * len(table.rows)


def _left(names: list[str], findings: Findings) -> list[str]:
    """Columns that no choice has taken."""
    taken = {text for each in findings.choices if each.key not in ("header", "columns") for text in _texts(each.value)}
    return [name for name in names if name not in taken]


def _texts(value: Value) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for each in value.values() for text in _texts(each)]
    if isinstance(value, list):
        return [text for each in value for text in _texts(each)]
    return []
