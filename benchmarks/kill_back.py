"""A company that has paid and collected, and is about to send everything else: a recall, a reversal, a collection.

Lives here: its past, the recovery of a killed sender with the program's own commands, and the verdict, with the bank's
own book as the oracle. Must not live here: where a sender dies (`kill_sweep`), the deployment (`kill_world`).

On Monday P1 and P2 are paid (pain.001) and D1 is collected from (pain.008), all booked by Wednesday. On Thursday P1 is
asked back (camt.055), D1's collection is given back (pain.007) and D2 is collected from: three files, each of another
kind, sent by one sender.
"""

from __future__ import annotations

import datetime as dt
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

from benchmarks.kill_world import (
    DAY,
    SETUP,
    World,
    bank_setup,
    command,
    environment_of,
    executions,
    file_states,
    found,
    moment,
    not_sent,
    once,
    owe,
    rows,
    save,
    send_words,
    take,
)
from benchmarks.openssh import OpenSsh
from sandbox import Bank

THURSDAY = DAY + dt.timedelta(days=3)
_PAST = tuple(DAY + dt.timedelta(days=n) for n in range(3))
_NEXT = tuple(THURSDAY + dt.timedelta(days=n) for n in range(7))
_PAID_MINOR = {"P1": 700, "P2": 1_250, "D1": -500}
_NOW_MINOR = {"D2": -300}
_OPENING_MINOR = 100_000_000
_COLLECTS = "    direct_debit: {creditor_id: DE98ZZZ09999999999, lead_days: 2}\n    transport: TRANSPORT"
# A bank that refuses duplicates: people may send a recall again that nobody can find. It shall never have to refuse.
_SETUP = SETUP.replace("refuses_duplicates: false", "refuses_duplicates: true").replace(
    "    transport: TRANSPORT", _COLLECTS
)
_PAYEES = (
    "payee_id,name,account,currency,iban,country,town,pay_from,negative,mandate_id,mandate_signed,mandate_scheme,"
    "mandate_sequence\n"
) + "".join(
    f"{code},Payee {code},liabilities:payable:{code},EUR,NL91ABNA0417164300,NL,Amsterdam,eur-payouts,"
    + (f"debit,M-{code},2025-01-01,CORE,RCUR\n" if code.startswith("D") else ",,,,\n")
    for code in (*_PAID_MINOR, *_NOW_MINOR)
)
_PAYEES_OF = "SELECT end_to_end_id, payee_code FROM settlement.instruction"
_REFERENCES = "SELECT payee_code, end_to_end_id, file_id FROM settlement.instruction"
_BACK = "SELECT payee, kind, state FROM settlement.recall ORDER BY payee"
_BACK_FILES = "SELECT file_id, state FROM settlement.recall_file_current ORDER BY file_id"
_SENT = """
SELECT msg_id, encode(content, 'hex') FROM settlement.recall_file UNION ALL
SELECT msg_id, encode(content, 'hex') FROM settlement.payment_file
"""
_BALANCES = "SELECT code, posted_minor FROM ledger.account_balance WHERE code ~ '^(liabilities:payable|assets:)'"


def make_back_world(server: str, folder: Path, *, sftp: OpenSsh | None = None) -> World:
    """Its past until Thursday morning, everything approved and nothing of it sent; books and home are kept."""
    database, keys, book = found(server, folder, sftp=sftp, setup=_SETUP, payees=_PAYEES)
    world = World(database, folder, keys)
    for name in ("bank/orders", "bank/answers", "keys"):
        (world.home() / name).mkdir(parents=True, exist_ok=True)
    for key in keys:
        shutil.copy(key, world.home() / "keys" / key.name)
    with environment_of(world), Bank(world.home(), bank_setup(world), seed=1) as bank:
        owe(database, book, DAY, _PAID_MINOR)
        _approved(DAY)
        command(send_words(DAY))
        _days(bank, _PAST)
        owe(database, book, THURSDAY, _NOW_MINOR)
        _approved(THURSDAY)
        files = [_asked(world, "P1", "recall", "DUPL"), _asked(world, "D1", "reverse", "AM05")]
    kept = folder / "kept"
    shutil.copytree(world.home(), kept)
    words = (send_words(THURSDAY), *(["settle", "recall-send", file_id, "--as", "alice"] for file_id in files))
    return replace(world, words=tuple(tuple(each) for each in words), kept=kept, number=save(database))


def _approved(day: dt.date) -> None:
    command(["settle", "propose", "--date", day.isoformat(), "--now", moment(day).isoformat(), "--as", "alice"])
    command(["settle", "approve", "--all", "--as", "bob"])


def _asked(world: World, payee: str, verb: str, code: str) -> str:
    """Alice asks, Bob approves; the file that is asked about."""
    ((key, file_id),) = (found[1:] for found in rows(world, _REFERENCES) if found[0] == payee)
    command(["settle", verb, str(key), "--code", code, "--reason", "by mistake", "--as", "alice"])
    command(["settle", "recall-approve", str(file_id), "--now", moment(THURSDAY).isoformat(), "--as", "bob"])
    return str(file_id)


def _days(bank: Bank, days: tuple[dt.date, ...]) -> None:
    """The bank closes these days; the company reads what it says and clears what it explains."""
    for day in days:
        bank.receive()
        bank.close_day(day)
    for words in (["bank", "poll"], ["recon", "ingest", "--inbox"], ["recon", "run", "--date", days[-1].isoformat()]):
        command(words)


def recover_back(world: World, *, sweeps: bool) -> Counter[str]:
    """What an operator does after a crash; the states of the three files before people helped.

    `sweeps`: the bank takes files out of its folder before anybody looks. Raises `AssertionError` with what is wrong.
    """
    world.wait_for_dead_sessions()
    arrived: Counter[str] = Counter()
    with environment_of(world), Bank(world.home(), bank_setup(world), seed=1) as bank:
        if sweeps:
            take(bank, world, arrived, sweeps=True)
        for _ in range(2):  # twice: nothing may happen twice
            for words in world.words:
                command(words, allowed=(0, 4))
            take(bank, world, arrived, sweeps=sweeps)
            command(["bank", "poll"])
        seen = file_states(world) + Counter(str(state) for _, state in rows(world, _BACK_FILES))
        _people_help(world)
        take(bank, world, arrived, sweeps=sweeps)
        _days(bank, _NEXT)
        balance = bank.balance("eur-payouts")
    once(arrived)
    _judge(world, arrived, balance)
    return seen


def _people_help(world: World) -> None:
    """The bank says on the telephone that it has no such file: what is unknown now never came."""
    if file_states(world)["unknown"]:
        not_sent(world, THURSDAY)
    for file_id, state in rows(world, _BACK_FILES):
        if state == "unknown":
            command(["settle", "recall-send", str(file_id), "--resend", "--as", "alice"])


def _judge(world: World, arrived: Counter[str], balance: int) -> None:
    """Each came to the bank once, as approved; the money moved once, there and in the books."""
    known = {str(msg_id): bytes.fromhex(str(content)) for msg_id, content in rows(world, _SENT)}
    assert len(arrived) == 3 and set(arrived) <= set(known), f"the bank has {sorted(arrived)}"
    at_bank = [path for name in ("orders", "taken") for path in (world.home() / "bank" / name).glob("*.xml")]
    changed = [path.name for path in at_bank if path.read_bytes() != known[path.stem]]
    assert not changed, f"{changed} at the bank are not what was approved"
    back = rows(world, _BACK)
    assert back == [("D1", "reversal", "reversed"), ("P1", "recall", "returned")], f"asked back: {back}"
    payees = {str(key): str(payee) for key, payee in rows(world, _PAYEES_OF)}
    counts = Counter(payees[key] for key, _ in executions(world))
    assert counts == Counter((*_PAID_MINOR, *_NOW_MINOR)), f"executed: {dict(counts)}"
    balances = {str(code): int(str(minor)) for code, minor in rows(world, _BALANCES)}
    held = _OPENING_MINOR - _PAID_MINOR["P2"] - _NOW_MINOR["D2"]
    assert balance == held, f"the bank holds {balance}, not {held}"
    owed = {"liabilities:payable:P1": -_PAID_MINOR["P1"], "liabilities:payable:D1": -_PAID_MINOR["D1"]}
    wrong = {
        code: minor
        for code, minor in balances.items()
        if minor != (held if code.startswith("assets:bank") else owed.get(code, 0))
    }
    assert not wrong, f"the books hold {wrong}"
