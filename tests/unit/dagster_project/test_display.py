"""What people read: short tables, money as text, refusals as sentences."""

from __future__ import annotations

import dagster as dg
import pytest

from dagster_project import display
from dagster_project.rooms.answers import Table, Verdict, money
from ledger import JournalFileError, RefusedError, UnavailableError


def test_a_long_table_is_cut_and_says_so() -> None:
    shown = display.table(Table("breaks", ("n", "amount"), tuple((n, None) for n in range(50))))
    table = shown["breaks"]
    assert isinstance(table, dg.TableMetadataValue)
    assert len(table.records) == display.MAX_ROWS
    assert table.records[1].data == {"n": "1", "amount": ""}
    assert shown["breaks, in all"].value == 50


def test_an_empty_table_says_none() -> None:
    assert display.table(Table("breaks", ("n",), ()))["breaks"].value == "none"


def test_money_is_text_in_the_currency_s_own_decimals() -> None:
    assert [money(123450, "EUR"), money(123450, "JPY"), money(-5, "KWD"), money(None, "EUR")] == [
        "1234.50 EUR",
        "123450 JPY",
        "-0.005 KWD",
        "",
    ]


def test_a_verdict_that_does_not_hold_stops_the_step_for_good() -> None:
    broken = Verdict(False, "debits less credits is 1.00 EUR.", tables=(Table("faults", ("fault",), (("a",),)),))
    with pytest.raises(dg.Failure, match=r"1\.00 EUR") as stopped:
        display.require(Verdict(True, "fine."), broken)
    assert not stopped.value.allow_retries
    assert set(stopped.value.metadata) == {"faults"}


def test_a_warning_check_carries_its_sentence_and_counts() -> None:
    result = display.check_result(Verdict(False, "2 breaks are old.", {"aged": 2}), severity=dg.AssetCheckSeverity.WARN)
    assert (result.passed, result.severity, result.description) == (
        False,
        dg.AssetCheckSeverity.WARN,
        "2 breaks are old.",
    )
    assert result.metadata["aged"].value == 2


@pytest.mark.parametrize(("error", "retried"), [(RefusedError("no."), False), (UnavailableError("busy."), True)])
def test_a_refusal_becomes_the_failure_s_sentence(error: Exception, retried: bool) -> None:
    with pytest.raises(dg.Failure) as stopped, display.refusals():
        raise error
    assert (stopped.value.description, stopped.value.allow_retries) == (str(error), retried)


def test_every_fault_of_a_journal_file_is_listed() -> None:
    with pytest.raises(dg.Failure) as stopped, display.refusals():
        raise JournalFileError("j.csv was refused whole: 2 faults.", ("line 2: a", "line 3: b"))
    faults = stopped.value.metadata["faults"]
    assert isinstance(faults, dg.TableMetadataValue)
    assert [record.data["fault"] for record in faults.records] == ["line 2: a", "line 3: b"]
