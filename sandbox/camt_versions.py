"""Statements in an older version than the one they are written in.

Lives here: camt.053.001.08 to .02, by pattern, on the texts that `sandbox.camt` writes. Must not live here: writing.
Source: the ISO 20022 schemas of both versions; .02 has no UETR, no amount beside `AmtDtls` in `TxDtls`, and parties
without `Pty`.
"""

from __future__ import annotations

import re

_DETAIL = re.compile(
    r"(<TxDtls><Refs>.*?</Refs>)(<Amt [^>]*>[^<]*</Amt>)<CdtDbtInd>[A-Z]+</CdtDbtInd>(?:<AmtDtls>(.*?)</AmtDtls>)?",
    re.DOTALL,
)
_CHANGES = (
    (re.compile(r"camt\.053\.001\.08"), "camt.053.001.02"),
    (re.compile(r"<Sts><Cd>BOOK</Cd></Sts>"), "<Sts>BOOK</Sts>"),
    (re.compile(r"<(/?)BICFI>"), r"<\1BIC>"),
    (re.compile(r"</?Pty>"), ""),
    (re.compile(r"<UETR>[^<]*</UETR>"), ""),
    (re.compile(r"<Rcrd>(.*?)<ChrgInclInd>true</ChrgInclInd></Rcrd>"), r"\1"),
)


def version_02(text: str) -> str:
    """The same statement message as camt.053.001.02."""
    text = _DETAIL.sub(lambda m: f"{m[1]}<AmtDtls>{m[3] or ''}<TxAmt>{m[2]}</TxAmt></AmtDtls>", text)
    for pattern, written in _CHANGES:
        text = pattern.sub(written, text)
    return text
