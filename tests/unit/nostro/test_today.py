"""Which day it is for the commands: that of the company, not that of Greenwich."""

from __future__ import annotations

import datetime as dt

import pytest

from ledger import RefusedError
from nostro.cli.common import today


def test_today_is_told_where_the_company_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOSTRO_TIMEZONE", "Pacific/Niue")  # 25 hours behind the other
    west = today()
    monkeypatch.setenv("NOSTRO_TIMEZONE", "Pacific/Kiritimati")
    assert today() - west in (dt.timedelta(days=1), dt.timedelta(days=2))


def test_a_time_zone_that_is_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOSTRO_TIMEZONE", "Europe/Atlantis")
    with pytest.raises(RefusedError, match="'Europe/Atlantis' is unknown"):
        today()
