"""Nights of 2024 to 2032 for every usual profile, through the proposals that open runs: one run a business date.

A night proposes at 18:30 on its bank's wall and again a minute later, as an alarm that rings twice does. In every run
of the tests two nights of each profile, of those on which clocks and calendars are at their worst; every n-th night of
the nine years by ``NOSTRO_CALENDAR_EVERY=n``.
"""

from __future__ import annotations

import datetime as dt
import os
from collections.abc import Iterator
from itertools import cycle, islice
from pathlib import Path
from zoneinfo import ZoneInfo

import holidays
import pytest
from schwifty import IBAN

from ledger import Connection, NewEntry, NewPosting, post_batch
from nostro.database import Database
from settlement import UsualProfile, apply_setup, propose, usual_profiles
from settlement.iso20022 import RAIL_TERMS, Rail
from tests.unit.settlement.test_schedules import BANKS, FIRST, LAST, days

EVERY = int(os.environ.get("NOSTRO_CALENDAR_EVERY", "0"))
NIGHT = dt.time(18, 30)
OF_EACH = 2
# Before and on clock changes (of Europe, America), long weekends, the ends of years, leap days.
WORST = [
    dt.date.fromisoformat(day)
    for day in [
        "2024-02-29",
        "2024-03-09",
        "2024-03-10",
        "2024-03-28",
        "2024-03-29",
        "2024-03-30",
        "2024-03-31",
        "2024-10-26",
        "2024-10-27",
        "2024-11-02",
        "2024-12-31",
        "2025-04-17",
        "2025-04-18",
        "2025-12-24",
        "2026-01-01",
        "2026-11-14",
        "2027-03-27",
        "2027-03-28",
        "2028-02-29",
        "2028-12-22",
        "2029-03-29",
        "2029-10-28",
        "2030-11-03",
        "2031-04-10",
        "2031-12-25",
        "2032-02-29",
        "2032-03-26",
        "2032-10-31",
        "2032-12-30",
        "2032-12-31",
    ]
]
PROFILES = list(usual_profiles().values())

_HEAD = """
book: {name: Marktplatz, functional_currency: EUR}
accounts:
  - {code: "liabilities:payable:*", type: liability, settleable: true}
"""
_NUMBERS = {"USABA": "USABA:011000015:{}", "GBDSC": "GBDSC:200000:{}"}


def account_of(rail: str, number: int) -> str:
    form = _NUMBERS.get(RAIL_TERMS[Rail(rail)].clearing_system or "")
    return form.format(f"{number:08}") if form else str(IBAN.generate("DE", "37040044", f"{number:010}"))


def setup_text() -> str:
    """A bank, an account and a payee for every profile."""
    banks, accounts, payees = ["banks:"], ["bank_accounts:"], ["payees:"]
    for n, profile in enumerate(PROFILES, 1):
        code, (rail,), (zone, cutoff) = profile.code, profile.rails, BANKS[profile.holidays]
        lei = ", lei: 529900T8BM49AURSDO55" if rail == Rail.UK_CHAPS else ""
        ours, theirs = account_of(rail, n), account_of(rail, 1000 + n)
        banks += [
            f"  {code}:",
            f"    {{profile: {code}, bic: NORDDEFFXXX, timezone: {zone}, rails: {{{rail}: {{cutoff: '{cutoff}'}}}},",
            f"     transport: {{kind: folder, outbox: bank/{code}/outbox, inbox: bank/{code}/inbox}}}}",
        ]
        accounts += [
            f"  - {{code: {code}, bank: {code}, iban: '{ours}', currency: {profile.currency}, rail: {rail},",
            f"     holder: {{name: Marktplatz GmbH, country: DE, town: Berlin{lei}}},",
            "     opening: {date: 2023-12-31, balance: '1000'}}",
        ]
        payees += [
            f"  - {{payee_id: {code}, name: Seller One, account: 'liabilities:payable:{code}', pay_from: {code},",
            f"     currency: {profile.currency}, iban: '{theirs}', bic: BANKCZPPXXX, country: DE, town: Berlin}}",
        ]
    return _HEAD + "\n".join(banks + accounts + payees) + "\n"


def nights_of(number: int) -> list[dt.date]:
    if EVERY:
        return days()[number % EVERY :: EVERY]
    return sorted(set(islice(cycle(WORST), number * OF_EACH, (number + 1) * OF_EACH)))


def expected(profile: UsualProfile, night: dt.date, now: dt.datetime) -> tuple[dt.date, dt.datetime]:
    """Execution date and cut-off, counted forward day by day from the register of holidays."""
    zone, cutoff = BANKS[profile.holidays]
    day = night
    while True:
        moment = dt.datetime.combine(day, dt.time.fromisoformat(cutoff), ZoneInfo(zone))
        if is_open(profile.holidays, day) and now.astimezone(dt.UTC) < moment.astimezone(dt.UTC):
            return day, moment.astimezone(dt.UTC)
        day += dt.timedelta(days=1)


def is_open(name: str, day: dt.date) -> bool:
    if name == "all":
        return True
    known = holidays.financial_holidays("ECB") if name == "ECB" else holidays.country_holidays(name)
    return known.is_working_day(day)  # of Hungary some Saturdays, for Fridays between holidays and a Sunday


@pytest.fixture
def shop(db: Database, tmp_path: Path) -> Iterator[tuple[Connection, int]]:
    """A company that owes every payee 10 units since before the first night."""
    path = tmp_path / "setup.yaml"
    path.write_text(setup_text())
    with db.app() as app:
        book_id = apply_setup(app, path).book_id
        for code in sorted({profile.currency for profile in PROFILES}):
            app.execute(
                "SELECT ledger.open_accounts(%s, %s, '{income}', %s, '{f}', '{NULL}', '{NULL}')",
                (book_id, [f"income:sales:{code.lower()}"], [code]),
            )
        sold = dt.date(2023, 12, 29)
        entries = [
            NewEntry(
                f"sale-{profile.code}",
                sold,
                (
                    NewPosting(f"income:sales:{profile.currency.lower()}", 1000),
                    NewPosting(f"liabilities:payable:{profile.code}", -1000),
                ),
            )
            for profile in PROFILES
        ]
        post_batch(app, book_id=book_id, entries=entries)
        app.commit()
        yield app, book_id


def test_one_run_a_business_date(shop: tuple[Connection, int]) -> None:
    app, book_id = shop
    wanted = []
    for number, profile in enumerate(PROFILES):
        zone, _ = BANKS[profile.holidays]
        for night in nights_of(number):
            assert FIRST <= night <= LAST
            now = dt.datetime.combine(night, NIGHT, ZoneInfo(zone))
            for minutes, is_new in ((0, True), (1, False)):
                (made,) = propose(
                    app,
                    book_id=book_id,
                    business_date=night,
                    now=now + dt.timedelta(minutes=minutes),
                    bank_account=profile.code,
                )
                assert made.is_new is is_new, (profile.code, night)
            app.commit()
            wanted.append((profile.code, night, 1, *expected(profile, night, now)))
    runs = app.execute(
        "SELECT b.code, r.business_date, r.cycle, r.execution_date, r.cutoff_at FROM settlement.run r"
        " JOIN settlement.bank_account_root b USING (bank_account_id) ORDER BY r.run_id"
    ).fetchall()
    assert runs == wanted, "one run a business date, of the right day and cut-off"
    dated = app.execute(
        "SELECT count(*) FROM settlement.payment_batch b JOIN settlement.payment_file f USING (file_id)"
        " JOIN settlement.run r USING (run_id) WHERE b.execution_date = r.execution_date"
        " AND position(convert_to(r.execution_date::text, 'UTF8') in f.content) > 0"
    ).fetchone()
    assert dated == (len(wanted),), "and the files ask for that day"
