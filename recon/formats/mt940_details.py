"""The information to the account owner (:86:, :NS:, second line of :61:) as named values.

Lives here: the three ways banks structure it: German subfields (``166?00…?20…``, any separator), code words
between slashes (``/EREF/…/NAME/…``), and plain text. Must not live here: amounts of entries, dates.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

from recon.formats.values import reference


@dataclass(slots=True)
class Details:
    """What a bank tells about an entry. `charges` and `instructed` are currency and amount as written."""

    text: str | None = None
    code: str | None = None
    remittance: str | None = None
    end_to_end_id: str | None = None
    payment_information_id: str | None = None
    transaction_id: str | None = None
    mandate_id: str | None = None
    structured_ref: str | None = None
    party_name: str | None = None
    party_account: str | None = None
    return_reason: str | None = None
    charges: tuple[str, str] | None = None
    instructed: tuple[str, str] | None = None


# A plus sign only behind a code and before the first subfields, because it starts international phone numbers too.
_GERMAN: Final = re.compile(r"\s*(?:([0-9]{3})?\s*([^\w\s/.,:;+-])(?=[0-9]{2})|([0-9]{3})(\+)(?=00|10|20))")
_WORDS: Final = re.compile(
    r"/(EREF|PREF|KREF|MARF|MREF|CSID|CNTP|REMI|PURP|ULTC|ULTD|ULTB|RTRN|TRTP|IBAN|BIC|NAME|BENM|ORDP|ISDT|TRCD|ACCW"
    r"|PI|SVWZ|ADDR|ADRS|ID|ISD|OCMT|CHGS|EXCH|BUSP|TRDAT|TRCD)/"
)
# Tags of the SEPA rules inside the remittance, DFÜ annex 3.
_SEPA: Final = re.compile(r"(EREF|KREF|MREF|CRED|DEBT|SVWZ|ABWA|ABWE|COAM|OAMT|IBAN|BIC|PURP)\+")
# SWIFT cuts texts at so many characters, in the middle of a word; a shorter line ends where the bank ended it.
_CUT: Final = 65
_MONEY: Final = re.compile(r"([A-Z]{3})\s*([0-9]+(?:[,.][0-9]*)?)")
# Business transaction codes (GVC) of returned direct debits and credit transfers.
_RETURN_CODES: Final = frozenset({"108", "109", "159", "183", "193", "196"})
_NS_TEXTS: Final = frozenset(f"{number:02d}" for number in range(1, 15))


def read_details(text: str) -> Details:
    """Values of a :86: field as the bank structured it; plain text becomes the remittance."""
    lines = text.split("\n")
    whole = "".join(lines)
    if found := _GERMAN.match(whole):
        return _german(whole, found)
    if len(_WORDS.findall(whole)) >= 2 or whole.startswith(
        ("/EREF/", "/REMI/", "/TRTP/", "/CNTP/", "/BENM/", "/PREF/")
    ):
        return _words(whole)
    plain = _squeezed("".join(line if len(line) == _CUT else f"{line} " for line in lines))
    if plain and _SEPA.match(plain):
        return _with_sepa(Details(), plain)
    code = re.match(r"([0-9]{3})(?=[A-Z ])", plain or "")
    return Details(text=None, remittance=plain, code=code.group(1) if code else None)


def _squeezed(text: str | None) -> str | None:
    return re.sub(r"\s+", " ", text or "").strip() or None


def _german(whole: str, found: re.Match[str]) -> Details:
    code, sign = found.group(1) or found.group(3), found.group(2) or found.group(4)
    sign = re.escape(sign)
    parts = re.split(rf"{sign}(?=[0-9]{{2}})", re.sub(rf"\s{sign}\s*$", "", whole[found.end() - 1 :]))[1:]
    fields: dict[str, str] = {}
    for part in parts:
        fields[part[:2]] = fields.get(part[:2], "") + part[2:]
    remittance = "".join(fields[key] for key in sorted(fields) if "20" <= key <= "29" or "60" <= key <= "63")
    details = Details(
        text=_squeezed(fields.get("00")),
        code="+".join(part for part in (code, _squeezed(fields.get("10"))) if part) or None,
        party_name=_squeezed(fields.get("32", "") + fields.get("33", "")),
        party_account=_account(fields.get("31") or fields.get("38")),
        return_reason="NARR" if code in _RETURN_CODES else None,
    )
    return _with_sepa(details, remittance)


def _with_sepa(details: Details, text: str) -> Details:
    """Add the remittance, taken apart by its SEPA tags where it has some."""
    tags = _sepa_tags(text)
    details.remittance = _squeezed(tags.get("SVWZ") if "SVWZ" in tags else tags.get("") if tags.keys() - {""} else text)
    details.end_to_end_id = _given(tags.get("EREF"))
    details.payment_information_id = _given(tags.get("KREF"))
    details.mandate_id = _given(tags.get("MREF"))
    details.party_account = details.party_account or _account(tags.get("IBAN"))
    if amount := _MONEY.match(tags.get("OAMT", "")):
        details.instructed = (amount.group(1), amount.group(2))
    return details


def _given(text: str | None) -> str | None:
    """A reference; NONREF is SWIFT's way to say there is none."""
    found = reference(_squeezed(text))
    return None if found == "NONREF" else found


def _sepa_tags(text: str) -> dict[str, str]:
    pieces = _SEPA.split(text)
    tags = {"": pieces[0]}
    for name, value in zip(pieces[1::2], pieces[2::2], strict=True):
        tags.setdefault(name, value)
    return tags


def _words(whole: str) -> Details:
    """Code words: ``/CNTP/account/bic/name/…``, ``/BENM//NAME/…``, ``/REMI/USTD//text/``, ``/REMI/STRD/CUR/ref/``."""
    pieces = _WORDS.split(whole)
    values: dict[str, str] = {}
    for name, value in zip(pieces[1::2], pieces[2::2], strict=True):
        values.setdefault(name, value.strip())
    counterparty = [part.strip() for part in values.get("CNTP", "").split("/")]
    remittance = values.get("REMI") or values.get("SVWZ") or ""
    structured: str | None = None
    if remittance.startswith("STRD/"):
        structured = remittance.strip("/").rpartition("/")[2] or None
        remittance = ""
    remittance = re.sub(r"^USTD//?", "", remittance).strip("/")
    named = values.get("TRTP") or pieces[0]
    return Details(
        # What no word of ours names must not be lost.
        text=_squeezed(named if remittance or structured else whole),
        remittance=_squeezed(remittance),
        structured_ref=structured,
        end_to_end_id=_given(values.get("EREF", "").strip("/")),
        payment_information_id=_given((values.get("PREF") or values.get("KREF") or "").strip("/")),
        mandate_id=_given((values.get("MARF") or values.get("MREF") or "").strip("/")),
        party_name=_squeezed(values.get("NAME", "").strip("/") or (counterparty[2] if len(counterparty) > 2 else None)),
        party_account=_account(values.get("IBAN", "").strip("/") or (counterparty[0] if counterparty else None)),
        return_reason=reference(values.get("RTRN", "").strip("/")[:4]),
    )


def _account(text: str | None) -> str | None:
    return re.sub(r"\s+", "", text or "").upper() or None


def read_ns(text: str) -> Details:
    """Values of a :NS: field: two digits and a text a line (01–14 remittance, 15–16 name, 17 text, 19/34 account)."""
    fields = {line[:2]: line[2:].strip() for line in text.split("\n") if line[:2].isdigit()}
    return Details(
        text=fields.get("17") or None,
        remittance=_squeezed(" ".join(fields[key] for key in sorted(fields) if key in _NS_TEXTS)),
        party_name=_squeezed(fields.get("15", "") + fields.get("16", "")),
        party_account=_account(fields.get("34") or fields.get("19")),
    )


def read_supplement(details: Details, text: str) -> Details:
    """Add the second line of :61:: original amount and charges where given, else a text or an account."""
    text = text.strip()
    if not text:
        return details
    for word, amount in re.findall(r"/(OCMT|CHGS)/([A-Z]{3}[0-9]+(?:[,.][0-9]*)?)", text):
        value = (amount[:3], amount[3:])
        if word == "OCMT":
            details.instructed = value
        else:
            details.charges = value
    if details.party_account is None and re.fullmatch(r"[A-Z]{2}[0-9]{2}[A-Z0-9]{11,30}", text):
        details.party_account = text
    elif not text.startswith("/"):
        details.text = _squeezed(f"{details.text or ''} {text}")
    return details
