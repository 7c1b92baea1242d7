from __future__ import annotations

import datetime as dt
import re
import uuid
from dataclasses import replace

import pytest
from iso_samples import SECRET, key

from settlement.iso20022 import book_tag, end_to_end_id, message_id, payment_information_id, uetr

XSD_UETR = re.compile(r"[a-f0-9]{8}-[a-f0-9]{4}-4[a-f0-9]{3}-[89ab][a-f0-9]{3}-[a-f0-9]{12}")


def test_ids_say_where_they_come_from() -> None:
    tag = book_tag("Marktplatz")
    assert message_id(key()) == f"{tag}-1-3-20261102-7-1"
    assert payment_information_id(key()) == message_id(key())
    assert end_to_end_id(key(), 17) == f"{tag}-1-3-20261102-7-1-000017"


def test_the_longest_ids_fit_and_one_more_is_refused() -> None:
    largest = replace(key(), book_id=36**2 - 1, bank_account_id=36**3 - 1, cycle=36**4 - 1, part=36**2 - 1)
    identifier = end_to_end_id(largest, 999_999)
    assert len(identifier) == 35
    assert re.fullmatch(r"[A-Z0-9][A-Z0-9-]*[A-Z0-9]", identifier)
    with pytest.raises(ValueError, match="does not fit"):
        end_to_end_id(largest, 1_000_000)
    for name in ("book_id", "bank_account_id", "cycle", "part"):
        for value in (getattr(largest, name) + 1, 0):
            with pytest.raises(ValueError, match=f"{name} {value} does not fit"):
                replace(largest, **{name: value})


def test_any_difference_gives_another_id() -> None:
    keys = [
        key(),
        key(part=2),
        replace(key(), book_name="Another"),
        replace(key(), book_id=2),
        replace(key(), bank_account_id=4),
        replace(key(), cycle=8),
        replace(key(), business_date=dt.date(2026, 11, 3)),
        replace(key(), bank_account_id=37, cycle=1),
        replace(key(), bank_account_id=1, cycle=37),
    ]
    identifiers = [end_to_end_id(k, n) for k in keys for n in (1, 10, 100)]
    assert len(set(identifiers)) == len(identifiers)


def test_uetr_is_a_stable_version_4_uuid_that_depends_on_the_secret() -> None:
    first = uetr(SECRET, "E-1")
    assert first == uetr(SECRET, "E-1")
    assert XSD_UETR.fullmatch(first)
    assert uuid.UUID(first).version == 4
    assert len({first, uetr(SECRET, "E-2"), uetr(b"another secret of the tests", "E-1")}) == 3
    assert all(XSD_UETR.fullmatch(uetr(SECRET, str(n))) for n in range(500))


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="at least 16"):
        uetr(b"short", "E-1")
