"""How a fault bends a file: which files it fits, what arrives at once, what arrives later.

Lives here: text to bytes. Must not live here: when a fault strikes (`sandbox.faults`).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal

ABSORBED = "absorbed"
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'
_ENTITY = '<!DOCTYPE Document [<!ENTITY x SYSTEM "file:///etc/hostname">]>\n'
_LAUGHS = (
    '<!DOCTYPE Document [<!ENTITY a "haha">'
    + "".join(f'<!ENTITY {chr(98 + n)} "{f"&{chr(97 + n)};" * 10}">' for n in range(8))
    + "]>\n"
)
_ZERO = (
    '<Ntry><Amt Ccy="{ccy}">0.00</Amt><CdtDbtInd>CRDT</CdtDbtInd><Sts><Cd>BOOK</Cd></Sts>'
    "<BookgDt><Dt>{day}</Dt></BookgDt><ValDt><Dt>{day}</Dt></ValDt><AcctSvcrRef>ZERO{day}</AcctSvcrRef><BkTxCd><Domn><Cd>ACMT</Cd><Fmly><Cd>MDOP</Cd>"
    "<SubFmlyCd>COMM</SubFmlyCd></Fmly></Domn></BkTxCd></Ntry>"
)
Files = list[tuple[str, bytes]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bend:
    """What a fault does. `later`: the name under which the file itself still comes, with the next day's; None: never.

    `joins`: instead, the file comes inside the next one of its account.
    """

    outcome: str
    fits: Callable[[str, str], bool]
    arrive: Callable[[str, str], Files]
    later: Callable[[str], str] | None = None
    joins: bool = False


def join_statements(text: str, earlier: str) -> str:
    """One message with the statements of both."""
    found = re.search(r"<Stmt>.*</Stmt>\n?", earlier, re.DOTALL)
    assert found is not None
    return text.replace("<Stmt>", found.group() + "<Stmt>", 1)


def _report(*statuses: str) -> Callable[[str, str], bool]:
    def fits(name: str, text: str) -> bool:
        return name.startswith("pain.002_") and any(f"<GrpSts>{status}<" in text for status in statuses)

    return fits


def _statement(name: str, _text: str) -> bool:
    return name.startswith("camt.053_")


def _busy_statement(name: str, text: str) -> bool:
    return _statement(name, text) and "<Ntry>" in text


def _again(name: str) -> str:
    return name.removesuffix(".xml") + "_again.xml"  # read after the first, by name


def _sooner(name: str) -> str:
    return name.removesuffix(".xml") + "-0.xml"  # read before it


def _renumbered(text: str) -> str:
    return re.sub(r"<MsgId>([^<]{1,33})[^<]*</MsgId>", r"<MsgId>\1-A</MsgId>", text, count=1)


def _starts(kind: str) -> Callable[[str, str], bool]:
    return lambda name, _text: name.startswith(f"{kind}_")


def _told_again(text: str) -> str:
    """The same words in a message of its own id (a camt.029 has an `Id` where others have a `MsgId`)."""
    return re.sub(r"<(MsgId|Id)>([^<]{1,33})[^<]*</", r"<\1>\2-A</", text, count=1)


def _nothing(_name: str, _text: str) -> Files:
    return []


def _bent(change: Callable[[str], str]) -> Callable[[str, str], Files]:
    """The file arrives changed."""
    return lambda name, text: [(name, change(text).encode())]


def _beside(change: Callable[[str], str]) -> Callable[[str, str], Files]:
    """The file arrives, and a changed copy of it."""
    return lambda name, text: [(name, text.encode()), (_again(name), change(text).encode())]


def _unknown_file(text: str) -> str:
    return re.sub(r"<OrgnlMsgId>[^<]*<", "<OrgnlMsgId>NEVER-SENT<", _renumbered(text))


def _rejected(text: str) -> str:
    text = re.sub(r"<(GrpSts|PmtInfSts|DtldSts)>ACSC<", r"<\1>RJCT<", _renumbered(text))
    return text.replace("</GrpSts>", "</GrpSts><StsRsnInf><Rsn><Cd>MS03</Cd></Rsn></StsRsnInf>", 1)


def _date_changed(text: str) -> str:
    return re.sub(r"<(GrpSts|PmtInfSts|DtldSts)>ACCP<", r"<\1>ACWC<", text)


def _wrong_opening(text: str) -> str:
    def more(found: re.Match[str]) -> str:
        whole, dot, rest = found.group(2).partition(".")
        return f"{found.group(1)}{int(whole) + 1}{dot}{rest}"

    return re.sub(r'(<Cd>OPBD</Cd></CdOrPrtry></Tp><Amt Ccy="[A-Z]{3}">)([0-9.]+)', more, text, count=1)


def _missing_side(text: str) -> str:
    return re.sub(r"(<Ntry><Amt [^>]*>[^<]*</Amt>)<CdtDbtInd>[A-Z]+</CdtDbtInd>", r"\1", text, count=1)


def _wrong_count(text: str) -> str:
    return re.sub(r"<OrgnlNbOfTxs>(\d+)<", lambda found: f"<OrgnlNbOfTxs>{int(found[1]) + 1}<", text, count=1)


_CREDIT = re.compile(r'<Ntry><Amt Ccy="[A-Z]{3}">([0-9.]+)</Amt><CdtDbtInd>CRDT</CdtDbtInd>.*?</Ntry>\n?', re.DOTALL)
_DEBIT = re.compile(r"(<Ntry><Amt [^>]*>[^<]*</Amt><CdtDbtInd>DBIT</CdtDbtInd>)(<Sts>.*?</Ntry>)", re.DOTALL)
_DETAILS = re.compile(r"<NtryDtls>.*</NtryDtls>", re.DOTALL)


def _return_and_credit(text: str) -> tuple[re.Match[str], re.Match[str]] | None:
    """A return and another credit of the statement, each of one transaction."""
    single = [found for found in _CREDIT.finditer(text) if found[0].count("<TxDtls>") == 1]
    back = next((found for found in single if "<RtrInf>" in found[0]), None)
    other = next((found for found in single if found is not back), None)
    return None if back is None or other is None else (back, other)


def _return_beside_a_credit(name: str, text: str) -> bool:
    return _statement(name, text) and _return_and_credit(text) is not None


def _in_batch(text: str) -> str:
    """The two as one entry with two transactions."""
    pair = _return_and_credit(text)
    assert pair is not None
    inside = ""
    for found in pair:
        details = _DETAILS.search(found[0])
        assert details is not None
        inside += re.sub(r"<Btch>.*?</Btch>|</?NtryDtls>", "", details[0], flags=re.DOTALL)
    back, other = pair
    joined = other[0].replace(f">{other[1]}<", f">{Decimal(back[1]) + Decimal(other[1])}<", 1)
    both = f"<NtryDtls><Btch><NbOfTxs>2</NbOfTxs></Btch>{inside}</NtryDtls>"
    return text.replace(other[0], _DETAILS.sub(lambda _: both, joined), 1).replace(back[0], "", 1)


def _paying_statement(name: str, text: str) -> bool:
    return _statement(name, text) and any("<EndToEndId>" in found[0] for found in _DEBIT.finditer(text))


def _reversal_mark(text: str) -> str:
    """The first debit of a payment says that it is a reversal; its side stays."""
    found = next(found for found in _DEBIT.finditer(text) if "<EndToEndId>" in found[0])
    return text.replace(found[0], f"{found[1]}<RvslInd>true</RvslInd>{found[2]}", 1)


def _zero_entry(text: str) -> str:
    ccy = re.search(r"<Ccy>([A-Z]{3})</Ccy>", text)
    day = re.search(r"<Dt><Dt>([0-9-]{10})</Dt></Dt>", text)
    assert ccy is not None and day is not None
    return text.replace("</Stmt>", _ZERO.format(ccy=ccy.group(1), day=day.group(1)) + "</Stmt>", 1)


def _prefixed(text: str) -> str:
    return re.sub(r"<(/?)([A-Z])", r"<\1b:\2", text).replace('xmlns="', 'xmlns:b="', 1)


def _latin_1(name: str, text: str) -> Files:
    return [(name, text.replace('"UTF-8"', '"ISO-8859-1"', 1).encode("latin-1", "xmlcharrefreplace"))]


def _with_doctype(doctype: str) -> Callable[[str], str]:
    return lambda text: text.replace(_HEAD, _HEAD + doctype, 1).replace("</MsgId>", "&x;</MsgId>", 1)


_KEEP: Callable[[str], str] = str
_ANY_REPORT = _report("ACTC", "ACCP", "ACSC", "PART")

BENDS: dict[str, Bend] = {
    "report-lost": Bend(outcome=ABSORBED, fits=_ANY_REPORT, arrive=_nothing),
    "report-late": Bend(outcome=ABSORBED, fits=_ANY_REPORT, arrive=_nothing, later=_KEEP),
    "report-twice": Bend(outcome=ABSORBED, fits=_ANY_REPORT, arrive=_beside(_KEEP)),
    "report-out-of-order": Bend(outcome=ABSORBED, fits=_report("ACTC"), arrive=_nothing, later=_again),
    "report-truncated": Bend(outcome="reader", fits=_ANY_REPORT, arrive=_bent(lambda text: text[: len(text) // 2])),
    "report-of-unknown-file": Bend(outcome="file", fits=_ANY_REPORT, arrive=_beside(_unknown_file)),
    "reject-after-execution": Bend(outcome="conflict", fits=_report("ACSC"), arrive=_beside(_rejected)),
    "execution-after-reject": Bend(
        outcome="conflict",
        fits=_report("ACSC"),
        arrive=lambda name, text: [(_sooner(name), _rejected(text).encode()), (name, text.encode())],
    ),
    "report-wrong-count": Bend(outcome="reader", fits=_ANY_REPORT, arrive=_bent(_wrong_count)),
    "date-changed": Bend(outcome=ABSORBED, fits=_report("ACCP"), arrive=_bent(_date_changed)),
    "return-notice-twice": Bend(outcome=ABSORBED, fits=_starts("pacs.004"), arrive=_beside(_told_again)),
    "return-notice-late": Bend(outcome=ABSORBED, fits=_starts("pacs.004"), arrive=_nothing, later=_KEEP),
    "recall-answer-twice": Bend(outcome=ABSORBED, fits=_starts("camt.029"), arrive=_beside(_told_again)),
    "recall-answer-late": Bend(outcome=ABSORBED, fits=_starts("camt.029"), arrive=_nothing, later=_KEEP),
    "statement-late": Bend(outcome=ABSORBED, fits=_statement, arrive=_nothing, later=_KEEP),
    "statement-lost": Bend(outcome="STATEMENT_GAP", fits=_statement, arrive=_nothing),
    "statement-twice": Bend(outcome="STATEMENT_DUP", fits=_statement, arrive=_beside(_renumbered)),
    "two-days-in-one": Bend(outcome=ABSORBED, fits=_statement, arrive=_nothing, later=_KEEP, joins=True),
    "wrong-opening": Bend(outcome="STATEMENT_IMBALANCE", fits=_statement, arrive=_bent(_wrong_opening), later=_again),
    "missing-side": Bend(
        outcome="STATEMENT_IMBALANCE", fits=_busy_statement, arrive=_bent(_missing_side), later=_again
    ),
    "return-in-batch": Bend(outcome=ABSORBED, fits=_return_beside_a_credit, arrive=_bent(_in_batch)),
    "reversal-mark": Bend(outcome="REVERSAL", fits=_paying_statement, arrive=_bent(_reversal_mark)),
    "zero-entry": Bend(outcome=ABSORBED, fits=_statement, arrive=_bent(_zero_entry)),
    "namespace-prefix": Bend(outcome=ABSORBED, fits=_statement, arrive=_bent(_prefixed)),
    "byte-order-mark": Bend(outcome=ABSORBED, fits=_statement, arrive=_bent(lambda text: "\ufeff" + text)),
    "latin-1": Bend(outcome=ABSORBED, fits=_statement, arrive=_latin_1),
    "statement-truncated": Bend(
        outcome="refused", fits=_statement, arrive=_bent(lambda text: text[: len(text) // 2]), later=_again
    ),
    "external-entity": Bend(outcome="refused", fits=_statement, arrive=_bent(_with_doctype(_ENTITY)), later=_again),
    "billion-laughs": Bend(
        outcome="refused",
        fits=_statement,
        arrive=_bent(lambda text: _with_doctype(_LAUGHS)(text).replace("&x;", "&i;")),
        later=_again,
    ),
}
