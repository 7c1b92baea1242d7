"""A small company that is about to pay, put back before every kill; an operator who recovers; and who must be right.

Lives here: the deployment, its bank (the simulator: own book, takes every file, no duplicate check), the recovery with
the program's own commands, and the verdict. Must not live here: where a sender dies (`kill_sweep`).
"""

from __future__ import annotations

import contextlib
import datetime as dt
import io
import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg import sql
from psycopg.conninfo import make_conninfo

from benchmarks.openssh import OpenSsh
from ledger import NewEntry, NewPosting, post_batch
from nostro.cli import main
from nostro.database import Connection, Database, initialise
from nostro.users import add_user
from sandbox import Bank, BankSetup, read_setup
from settlement import apply_setup, approve, propose
from settlement.send_journal import SendJournal

DAY = dt.date(2026, 11, 2)
NAME = "nostro_sweep"
_SAVED = "nostro_sweep_saved"
_BLANK = "nostro_sweep_blank"  # with its people and no company, for the next company of this server
_OWED_MINOR = {"P1": 700, "P2": 1_250, "P3": 99_999}
PEOPLE = (("alice", "preparer"), ("bob", "approver"), ("carol", "approver"))
SETUP = """
book: {name: Marktplatz, functional_currency: EUR}
accounts:
  - {code: "liabilities:payable:*", type: liability, settleable: true}
  - {code: "income:*", type: income}
banks:
  nordbank:
    bic: NORDDEFFXXX
    timezone: Europe/Berlin
    holidays: ECB
    message: pain.001.001.09
    charset: sepa
    address: structured
    max_transactions: 2
    rails: {SEPA: {cutoff: "20:00", sla_days: 1, minimum: "0.01", maximum: "999999999.99"}}
    refuses_duplicates: false
    transport: TRANSPORT
bank_accounts:
  - code: eur-payouts
    bank: nordbank
    iban: DE89370400440532013000
    currency: EUR
    rail: SEPA
    holder: {name: Marktplatz GmbH, country: DE, town: Berlin}
    opening: {date: 2026-11-01, balance: "1000000"}
    overdraft: none
payees_file: payees.csv
"""
FOLDER = "{kind: folder, outbox: bank/orders, inbox: bank/answers}"
SFTP = (
    "{{kind: sftp, host: 127.0.0.1, port: {port}, user: {user}, known_hosts: keys/known_hosts, key: keys/user,"
    " remote_outbox: {home}/bank/orders, remote_inbox: {home}/bank/answers, inbox: bank/fetched}}"
)
_PAYEES = "payee_id,name,account,currency,iban,country,town,pay_from,minimum,maximum,delay_days,hold\n" + "".join(
    f"{code},Payee {code},liabilities:payable:{code},EUR,NL91ABNA0417164300,NL,Amsterdam,eur-payouts,,,,\n"
    for code in _OWED_MINOR
)


def moment(day: dt.date) -> dt.datetime:
    return dt.datetime.combine(day, dt.time(12, 0, tzinfo=dt.UTC))


@dataclass(frozen=True, slots=True)
class World:
    """The company of a sweep. `folder` holds one home a point; the database is copied back before each.

    `words`: the commands of the sender that is killed. `kept`: the home as before the send, of a company that has sent
    before; then the copied database keeps its number, or the journal of sends would say that it is another's.
    """

    database: Database
    folder: Path
    keys: tuple[Path, ...] = ()
    words: tuple[tuple[str, ...], ...] = ()
    kept: Path | None = None
    number: int | None = None

    def home(self) -> Path:
        return self.folder / "home"

    def restore(self) -> None:
        """Everything as before the send: approved files that nobody sealed, a bank that has none of them."""
        if self.kept is None:
            shutil.rmtree(self.home(), ignore_errors=True)
        else:
            self._put_back(self.kept)
        for name in ("orders", "answers"):
            (self.home() / "bank" / name).mkdir(parents=True, exist_ok=True)
        for key in self.keys:
            (self.home() / "keys").mkdir(exist_ok=True)
            shutil.copy(key, self.home() / "keys" / key.name)
        self.forget()

    def _put_back(self, kept: Path) -> None:
        """Into the same folder and the same journal of sends: a copy of a journal is known as one."""
        journal = SendJournal(self.home()).path.name
        for path in self.home().iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != journal:
                path.unlink()
        shutil.copytree(kept, self.home(), dirs_exist_ok=True)

    def forget(self) -> None:
        """The books as before the send, in a home and before a bank that know of it: restored from a backup."""
        with psycopg.connect(self.database.admin_conninfo, autocommit=True) as admin:
            _copy(admin, _SAVED, NAME, self.number)

    def environment(self) -> dict[str, str]:
        """What a command of this deployment finds in its environment."""
        return {
            "NOSTRO_HOME": str(self.home()),
            "NOSTRO_DATABASE_URL": make_conninfo(self.database.admin_conninfo, dbname=NAME),
        }

    def wait_for_dead_sessions(self) -> None:
        """Until the server has noticed that the sender is gone; an operator would just ask again."""
        with self.database.admin() as admin:
            for _ in range(600):
                row = admin.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = %s", (NAME,)).fetchone()
                if row == (0,):
                    return
                time.sleep(0.05)
        raise RuntimeError("the killed sender's session is still there")


def send_words(day: dt.date = DAY) -> list[str]:
    """The command that is killed."""
    return ["bank", "send", "--as", "alice", "--now", moment(day).isoformat()]


def make_world(server: str, folder: Path, *, sftp: OpenSsh | None = None) -> World:
    """Set the company up on a server (superuser conninfo), owe, propose, approve, and keep a copy.

    With `sftp` its bank is reached over SFTP, in the same folders.
    """
    database, keys, book = found(server, folder, sftp=sftp, setup=SETUP, payees=_PAYEES)
    owe(database, book, DAY, _OWED_MINOR)
    with database.app() as conn:
        files = propose(conn, book_id=book, business_date=DAY, now=moment(DAY), bank_account="eur-payouts")
    with database.login("bob") as bob:
        for file in files:
            approve(bob, file.file_id)
    save(database)
    return World(database, folder, keys, (tuple(send_words()),))


def found(
    server: str, folder: Path, *, sftp: OpenSsh | None, setup: str, payees: str
) -> tuple[Database, tuple[Path, ...], int]:
    """A company with its people, of a setup (TRANSPORT left open) and payees.csv: database, keys to its bank, book."""
    transport = FOLDER
    keys: tuple[Path, ...] = ()
    if sftp is not None:
        transport = SFTP.format(port=sftp.port, user=sftp.user, home=folder / "home")
        keys = (sftp.known_hosts, sftp.key)
    database = Database(admin_conninfo=server, name=NAME, role_prefix=NAME)
    with psycopg.connect(server, autocommit=True) as admin:
        if admin.execute("SELECT FROM pg_database WHERE datname = %s", (_BLANK,)).fetchone():
            _copy(admin, _BLANK, NAME)
        else:
            initialise(database)
            for person, group in PEOPLE:
                add_user(database, person, group)
            _copy(admin, NAME, _BLANK)
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "setup.yaml"
    path.write_text(setup.replace("TRANSPORT", transport))
    (folder / "bank.yaml").write_text(setup.replace("TRANSPORT", FOLDER))
    (folder / "payees.csv").write_text(payees)
    with database.app() as conn:
        book = apply_setup(conn, path).book_id
        conn.execute(
            "SELECT ledger.open_accounts(%s, '{income:fees:eur}', '{income}', '{EUR}', '{f}', '{NULL}', '{NULL}')",
            (book,),
        )
        conn.commit()
    return database, keys, book


def owe(database: Database, book: int, day: dt.date, owed_minor: Mapping[str, int]) -> None:
    """Post what each payee is owed (negative: owes)."""
    entries = [
        NewEntry(
            f"sale-{day}-{code}",
            day,
            (NewPosting("income:fees:eur", owed), NewPosting(f"liabilities:payable:{code}", -owed)),
        )
        for code, owed in owed_minor.items()
    ]
    with database.app() as conn:
        post_batch(conn, book_id=book, entries=entries)
        conn.commit()


def remove(server: str) -> None:
    """Drop the databases of a sweep from a server that stays."""
    with psycopg.connect(server, autocommit=True) as admin:
        for name in (NAME, _SAVED):
            admin.execute(sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(sql.Identifier(name)))


def save(database: Database) -> int:
    """Keep a copy of a company's books to put back; the number of its database."""
    with psycopg.connect(database.admin_conninfo, autocommit=True) as admin:
        row = admin.execute("SELECT oid::bigint FROM pg_database WHERE datname = %s", (NAME,)).fetchone()
        _copy(admin, NAME, _SAVED)
    assert row is not None
    return int(str(row[0]))


def _copy(admin: Connection, source: str, target: str, number: int | None = None) -> None:
    names = {"target": sql.Identifier(target), "source": sql.Identifier(source)}
    same = sql.SQL("") if number is None else sql.SQL(" OID = {}").format(sql.Literal(number))
    admin.execute(sql.SQL("DROP DATABASE IF EXISTS {target} WITH (FORCE)").format(**names))
    admin.execute(sql.SQL("CREATE DATABASE {target} TEMPLATE {source}").format(**names) + same)


# The operator -----------------------------------------------------------------------------------------


def recover(world: World, *, sweeps: bool) -> Counter[str]:
    """What an operator does after a crash, with the program's commands; the states of the files before people helped.

    `sweeps`: the bank takes files out of its folder before anybody looks. Raises `AssertionError` as `judge` does.
    """
    world.wait_for_dead_sessions()
    seen: Counter[str] = Counter()
    arrived: Counter[str] = Counter()
    with environment_of(world), Bank(world.home(), bank_setup(world), seed=1) as bank:
        if sweeps:
            take(bank, world, arrived, sweeps=True)
        for _ in range(2):  # twice: nothing may happen twice
            command(send_words(), allowed=(0, 4))
            take(bank, world, arrived, sweeps=sweeps)
            command(["bank", "poll"])
        seen.update(file_states(world))
        if seen["unknown"]:
            not_sent(world, DAY)
            take(bank, world, arrived, sweeps=sweeps)
        for day in (DAY, DAY + dt.timedelta(days=1)):
            bank.close_day(day)
        command(["bank", "poll"])
        command(["recon", "ingest", "--inbox"])
    judge(world)
    once(arrived)
    return seen


def file_states(world: World) -> Counter[str]:
    """How many payment files are in each state."""
    return Counter(str(state) for (state,) in rows(world, "SELECT state FROM settlement.file_current"))


def not_sent(world: World, day: dt.date) -> None:
    """Alice and Bob have asked the bank: it has no such file. What it paid is owed again and goes out anew."""
    for (file_id,) in rows(world, "SELECT file_id FROM settlement.file_current WHERE state = 'unknown'"):
        for person in ("alice", "bob"):
            words = ["bank", "resolve", str(file_id), "--not-sent", "--reason", "the bank says no", "--as", person]
            command(words)
    for (key,) in rows(world, "SELECT end_to_end_id FROM settlement.instruction_current WHERE state = 'cancelled'"):
        command(["settle", "unhold", str(key), "--reason", "the bank says no", "--as", "bob"])
    now = moment(day).isoformat()
    command(["settle", "propose", "--date", day.isoformat(), "--now", now, "--as", "alice"])
    command(["settle", "approve", "--all", "--as", "bob"])
    command(send_words(day))


def bank_setup(world: World) -> BankSetup:
    return read_setup(world.folder / "bank.yaml")


def take(bank: Bank, world: World, arrived: Counter[str], *, sweeps: bool) -> None:
    """The bank reads its folder, and takes the files away if it `sweeps`; `arrived` counts the MsgIds."""
    arrived.update(received.message_id for received in bank.receive())
    for path in sorted((world.home() / "bank/orders").glob("*.xml")) if sweeps else ():
        (world.home() / "bank/taken").mkdir(exist_ok=True)
        path.rename(world.home() / "bank/taken" / path.name)


def once(arrived: Mapping[str, int]) -> None:
    """Nothing came to the bank twice, whatever it would have made of it. Raises `AssertionError`."""
    twice = {message: count for message, count in arrived.items() if count > 1}
    assert not twice, f"came to the bank twice: {twice}"


@contextlib.contextmanager
def environment_of(world: World) -> Iterator[None]:
    kept = {name: os.environ.get(name) for name in world.environment()}
    os.environ.update(world.environment())
    try:
        yield
    finally:
        for name, value in kept.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def command(words: Sequence[str], *, allowed: Sequence[int] = (0,)) -> str:
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = main(words)
    assert status in allowed, f"`nostro {' '.join(words)}` ended with {status}: {err.getvalue()}{out.getvalue()}"
    return out.getvalue()


# The verdict ------------------------------------------------------------------------------------------

_INSTRUCTIONS = """
SELECT i.end_to_end_id, i.payee_code, i.amount_minor, i.state, f.state, i.transit_posting_id IS NOT NULL
  FROM settlement.instruction_current i JOIN settlement.file_current f USING (file_id)
"""
_BALANCES = "SELECT code, posted_minor FROM ledger.account_balance WHERE code ~ '^(liabilities:payable|assets:transit)'"
_FILES = """
SELECT f.msg_id, encode(p.content, 'hex'), EXISTS (SELECT FROM settlement.file_event e
                                                    WHERE e.file_id = f.file_id AND e.state = 'sending')
  FROM settlement.file_current f JOIN settlement.payment_file p USING (file_id)
"""


def judge(world: World) -> None:
    """No payment executed twice, none lost: whoever was owed was paid once, and the books say so.

    Raises `AssertionError` with what is wrong.
    """
    executed = executions(world)
    twice = {key: count for key, count in Counter(key for key, _ in executed).items() if count > 1}
    assert not twice, f"executed twice: {twice}"
    amounts = dict(executed)
    paid: Counter[str] = Counter()
    for key, payee, amount, state, file_state, sealed in rows(world, _INSTRUCTIONS):
        assert sealed, f"{key} was never sealed ({file_state})"
        if str(key) in amounts:
            assert amounts[str(key)] == amount, f"{key}: {amounts[str(key)]} executed, {amount} ordered"
            assert state == "executed", f"{key} was executed and is {state}"
            paid[str(payee)] += int(str(amount))
        else:
            assert file_state == "cancelled", f"{key} was not executed and its file is {file_state}: lost"
    unordered = set(amounts) - {str(row[0]) for row in rows(world, _INSTRUCTIONS)}
    assert not unordered, f"executed and not in the books: {unordered}"
    assert paid == Counter(_OWED_MINOR), f"owed {_OWED_MINOR}, paid {paid}"
    balances = {str(code): int(str(minor)) for code, minor in rows(world, _BALANCES)}
    assert not any(balances.values()), f"still owed or in transit: {balances}"
    judge_files(world)


def judge_files(world: World) -> None:
    known = {str(msg_id): (bytes.fromhex(str(content)), sent) for msg_id, content, sent in rows(world, _FILES)}
    for folder in ("orders", "taken"):
        for path in (world.home() / "bank" / folder).glob("*.xml"):
            content, sent = known[path.stem]
            assert sent, f"{path.name} is at the bank and the books never sent it"
            assert path.read_bytes() == content, f"{path.name} at the bank is not what was approved"


def executions(world: World) -> list[tuple[str, int]]:
    path = world.home() / "sandbox/executions.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []
    return [(str(row["end_to_end_id"]), int(row["amount_minor"])) for row in rows]


def rows(world: World, query: str) -> list[tuple[object, ...]]:
    with world.database.app() as conn:
        return conn.execute(query).fetchall()
