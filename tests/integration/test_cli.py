"""The command line as a contract: a company's night and morning through every command, with `--json`.

The story runs once; each test looks at one promise. Exit statuses of refusals are in test_cli_refusals.py.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import duckdb
import pytest

from tests.cli_program import Outcome, Program, commands, new_program
from tests.unit.recon.camt_files import balance, details, document, entry, statement

pytestmark = pytest.mark.usefixtures("durable")

MONDAY, TUESDAY = "2026-11-02", "2026-11-03"
NOON = "2026-11-02T12:00:00+00:00"
STRANGER = "STRANGER-1"

# Commands that start servers or run for long; they have tests of their own.
# Told elsewhere: the demonstrations and benchmarks, and the ledger's own chapters in test_seals_cli.py,
# test_ledger_events.py, test_ledger_export.py, test_ledger_asof.py, test_ledger_holds.py, test_ledger_periods.py,
# test_access_cli.py, test_soak.py; payees and what stops payments in test_settlement_stops_cli.py; profiles in
# test_file_validation.py; what people say of a doubtful file in test_settlement_kill_sweep.py.
STOPS = {"settle hold", "settle hold-run", "settle release-run", "settle cancel", "settle recall"} | {
    "settle reverse",
    "settle recall-approve", "settle recall-send", "settle recalls",
}  # fmt: skip
# Need a bank that contradicts itself or doubts names: what they call is in test_settlement_answers.py.
DECISIONS = {"settle names", "settle dispute", "settle dismiss"}
ELSEWHERE = (
    DECISIONS
    | {
        "up",
        "demo",
        "berka",
        "seal",
        "proof",
        "restatement",
        "user grant-book",
        "user revoke-book",
        "bank profiles",
        "bank resolve",
        "bank lost-send",  # test_settlement_restored.py
        *STOPS,
    }
    | {
        name
        for name in commands()
        if name.startswith(
            (
                "bench ",
                "breaks a",  # people's decisions: tests/integration/test_recon_cli.py
                "breaks export",
                "breaks import",
                "breaks note",
                "breaks p",
                "breaks r",
                "breaks thresholds",
                "recon batch",  # files only, no books
                "recon diff",
                "recon identity",
                "recon late",  # files only, no books
                "recon replay",
                "recon rerun",
                "recon review",
                "recon rules",
                "recon runs",
                "recon sample",
                "recon signoff",
                "recon unmatch",
                "recon verify",
                "bank profiles",
                "currency ",
                "rates ",
                "exchange ",
                "revalue",
                "events ",
                "hold ",
                "payee ",
                "period ",
                "export audit",
                "export bean",
                "export hledger",
                "export parquet",
                "soak ",
            )
        )
    }
)


@dataclass(slots=True)
class Story:
    """Every command of the story with its outcome, by the command's name and turn."""

    program: Program
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    words: dict[str, tuple[str, ...]] = field(default_factory=dict)
    again: dict[str, Outcome] = field(default_factory=dict)
    moved: dict[str, set[str]] = field(default_factory=dict)
    between_imports: str = ""

    def tell(self, *words: str | Path | int, turn: str = "") -> Outcome:
        """Run a command with `--json`, remember what it said; run it again, remember which tables that changed."""
        outcome = self.program(*words, "--json")
        known = commands()
        command = next(name for n in (2, 1) if (name := " ".join(str(w) for w in words[:n])) in known)
        key = f"{command} {turn}".strip()
        assert key not in self.outcomes
        self.outcomes[key] = outcome
        self.words[key] = tuple(str(word) for word in words)
        before = self.program.hashes()
        again = self.program(*words, "--json")
        after = self.program.hashes()
        self.moved[key] = {name for name in after if after[name] != before.get(name)}
        self.again[key] = again
        return outcome

    def __getitem__(self, key: str) -> Outcome:
        return self.outcomes[key]


def stranger_statement(folder: Path, story: Story) -> Path:
    """Tuesday's statement of the collecting account, with money from somebody unknown."""
    opening = next(
        s
        for s in story["bank simulate"].json["day"]["statements"]
        if s["account"] == "eur-collect"  # type: ignore[index]
    )["closing_minor"]
    closing = int(str(opening)) + 12_34
    path = folder / "stranger.xml"
    path.write_text(
        document(
            statement(
                *(
                    balance(kind, f"{minor // 100}.{minor % 100:02d}", day=TUESDAY)
                    for kind, minor in (("OPBD", int(str(opening))), ("CLBD", closing))
                ),
                entry(
                    "12.34",
                    "CRDT",
                    booked=f"<BookgDt><Dt>{TUESDAY}</Dt></BookgDt>",
                    ref=STRANGER,
                    inside=details("<RltdPties><Dbtr><Pty><Nm>Nobody We Know</Nm></Pty></Dbtr></RltdPties>"),
                ),
                id_="COLLECT-TUESDAY",
                account="<IBAN>DE71990200200004711002</IBAN>",
                created="2026-11-03T22:00:00Z",
            )
        )
    )
    return path


def write_adjustment(folder: Path) -> Path:
    path = folder / "adjustment.csv"
    path.write_text(
        "entry_key,effective_date,account,amount,currency,description,reference\n"
        f"adjust-1,{TUESDAY},expenses:consulting:eur,10.00,EUR,Advice,\n"
        f"adjust-1,{TUESDAY},income:fees:eur,-10.00,EUR,Advice,\n"
    )
    return path


def write_splits(folder: Path) -> Path:
    path = folder / "splits.csv"
    path.write_text(
        "entry_key,effective_date,received,amount,currency,payee,weight,commission,commission_account\n"
        f"shared-1,{TUESDAY},assets:receivable:cardia:eur,10.00,EUR,P000001,2,10,income:fees:eur\n"
        "shared-1,,,,,P000002,1,,\n"
    )
    return path


def tell_everything(program: Program) -> Story:
    """A week in the life of every command."""
    story, files = Story(program), program.files
    tell = story.tell
    tell("init")
    tell("user", "add", "alice", "--group", "preparer")
    tell("user", "add", "bob", "--group", "approver", turn="bob")
    tell("user", "list")
    tell("access")
    tell("setup", files / "setup.yaml")
    tell("import", "journal", files / "journal-2026-10-30.csv")
    story.between_imports = dt.datetime.now(dt.UTC).isoformat()
    tell("import", "journal", files / "journal-2026-11-02.csv", write_adjustment(files), turn="second")
    tell("settle", "netting", "--date", MONDAY)
    tell("settle", "propose", "--date", MONDAY, "--now", NOON, "--as", "alice")
    tell("settle", "show")
    tell("settle", "show", 1, turn="one")
    tell("settle", "show", 1, "--xml", turn="xml")
    tell("settle", "reject", 3, "--reason", "Wrong cut-off", "--as", "bob")
    tell("settle", "approve", 1, 2, "--as", "bob")
    tell("settle", "release", 1, "--now", NOON, "--as", "alice")
    tell("bank", "send", "--now", NOON, "--as", "alice")
    tell("bank", "simulate", "--date", MONDAY, "--setup", files / "setup.yaml", "--rejects-per-mille", 200)
    tell("bank", "poll")
    tell("bank", "reconcile-sends")
    tell("bank", "lost-sends")
    tell("settle", "status", "--date", MONDAY)
    tell("settle", "payout-report", "--date", MONDAY)
    rejected = next(row for row in story["settle payout-report"].rows("payouts") if row["state"] == "rejected")
    tell("settle", "exceptions", "--date", MONDAY)
    tell("settle", "unhold", str(rejected["end_to_end_id"]), "--reason", "Payee called", "--as", "bob")
    tell("recon", "ingest", "--inbox")
    tell("recon", "run", "--date", MONDAY)
    stranger = stranger_statement(files, story)
    tell("recon", "ingest", "--check", stranger, turn="check")
    tell("recon", "ingest", stranger, turn="stranger")
    tell("recon", "lines", stranger, "--to", story.program.home / "lines")
    export = files / "export.csv"
    export.write_text("Tag;Text;Betrag;Saldo\n16.11.2026;A;1,50;2,50\n17.11.2026;B;-0,50;2,00\n", encoding="utf-8")
    tell("recon", "layout", export, "--say", "currency_is=EUR", "--write", files / "bank.yaml")
    tell("recon", "run", "--date", TUESDAY, turn="tuesday")
    tell("recon", "report")
    tell("recon", "events")
    tell("recon", "sets", "--date", MONDAY)
    paid = next(row for row in story["settle payout-report"].rows("payouts") if row["state"] == "executed")
    tell("trace", str(paid["end_to_end_id"]))
    tell("breaks", "list")
    (found,) = story["breaks list"].rows("breaks")
    tell("breaks", "show", str(found["break_id"]))
    tell("breaks", "explain", str(found["break_id"]))
    tell("breaks", "suspense")
    tell("reverse", "adjust-1", "--reason", "Not ours", "--on", TUESDAY, "--as", "alice")
    tell("balance", "assets:bank:eur-payouts")
    tell("balance", "assets:receivable", "--known-at", story.between_imports, turn="known")
    tell("balance", "assets:bank:eur-payouts", "--as-of", "2026-11-01", turn="before")
    tell("statement", "income:fees:eur", "--as-of", TUESDAY)
    tell("account", "mode", "income:fees:eur", "deferred")
    tell("account", "hot")
    tell("import", "splits", write_splits(files))
    sale = ("split", "shared-2", "--date", TUESDAY, "--received", "assets:receivable:cardia:eur", "--amount", "-0.05")
    tell(*sale, "--currency", "EUR", "--share", "P000001", "--share", "P000002")
    tell("trial-balance")
    tell("trial-balance", "--as-of", "2026-10-30", "--known-at", story.between_imports, turn="known")
    tell("close-period", MONDAY, "--as", "alice")
    tell("close-period", TUESDAY, "--request-override", "The bank is on strike", "--as", "alice", turn="request")
    tell("close-period", TUESDAY, "--as", "bob", turn="override")
    tell("export", "duckdb")
    tell("export", "days", "--to", story.program.home / "days")
    tell("recon", "intraday")
    tell("verify")
    tell("doctor")
    return story


@pytest.fixture(scope="module")
def story(server: str) -> Iterator[Story]:
    with new_program(server, "nostro_cli") as program:
        yield tell_everything(program)


def test_every_command_ends_with_0_and_says_one_json_object(story: Story) -> None:
    for key, outcome in story.outcomes.items():
        assert (outcome.status, outcome.err) == (0, ""), key
    for outcome in story.outcomes.values():
        assert outcome.json


def test_the_story_leaves_no_command_out(story: Story) -> None:
    told = {name for name in commands() if any(key == name or key.startswith(f"{name} ") for key in story.outcomes)}
    assert told | ELSEWHERE == set(commands())


def test_no_amount_in_json_is_a_float(story: Story) -> None:
    def floats(value: object) -> Iterator[float]:
        if isinstance(value, float):
            yield value
        elif isinstance(value, dict | list):
            for each in value.values() if isinstance(value, dict) else value:
                yield from floats(each)

    for key, outcome in story.outcomes.items():
        assert list(floats(outcome.json)) == [], key


def test_what_the_night_paid(story: Story) -> None:
    proposed = {str(f["file"]["bank_account"]): f["file"] for f in story["settle propose"].rows("files")}  # type: ignore[index]
    assert set(proposed) == {"eur-payouts", "gbp-main", "czk-main"}
    assert (
        hashlib.sha256(str(story["settle show xml"].json["xml"]).encode()).hexdigest()
        == proposed["eur-payouts"]["sha256"]
    )
    (run,) = {f["state"] for f in story["settle release"].rows("files")}
    assert run == "sent"
    assert [f["state"] for f in story["bank send"].rows("files")] == ["sent"]
    states = {
        str(file["bank_account"]): file["state"]
        for run in story["settle status"].rows("runs")
        for file in run["files"]  # type: ignore[attr-defined]
    }
    assert states == {"eur-payouts": "executed", "gbp-main": "executed", "czk-main": "rejected"}
    payouts = story["settle payout-report"].rows("payouts")
    assert {str(row["currency"]) for row in payouts} == {"EUR", "GBP"}
    netted = {row["payee"]: row["pay_minor"] for row in story["settle netting"].rows("payees")}
    assert all(row["amount_minor"] == netted[row["payee"]] for row in payouts)


def test_what_the_morning_proved(story: Story) -> None:
    assert {f["outcome"] for f in story["recon ingest"].rows("files")} == {"accepted"}
    assert story["recon run"].json["breaks"] == []
    assert {s["reason"] for s in story["recon run"].rows("sign_offs")} == {None}
    (found,) = story["breaks list"].rows("breaks")
    assert (found["item_ref"], found["code"], found["amount_minor"]) == (STRANGER, "UNIDENTIFIED_RECEIPT", -12_34)
    assert story["breaks show"].json["head"]["break_id"] == found["break_id"]  # type: ignore[index]
    assert "Nobody We Know" in str(story["breaks explain"].json["explanation"])
    assert story["recon report"].json["run_id"] == story["recon run tuesday"].json["run_id"]


def test_a_payment_is_traced_to_the_bank_line(story: Story) -> None:
    steps = {str(step["kind"]): step for step in story["trace"].rows("steps")}
    assert (
        steps["instruction"]["amount_minor"]
        == steps["in transit"]["amount_minor"]
        == -steps["clearing"]["amount_minor"]
    )  # type: ignore[operator]
    assert steps["statement line"]["amount_minor"] == steps["cash"]["amount_minor"]
    (payment,) = {step["chain"] for step in story["trace"].rows("steps")}
    text = story.program.done(*story.words["trace"]).out
    assert text.startswith(f"payment {payment}") and "cleared set" in text


def test_balances_as_of_a_date_and_as_known_at_a_point(story: Story) -> None:
    (now,) = story["balance"].rows("balances")
    (before,) = story["balance before"].rows("balances")
    assert before["balance_minor"] == 1_000_000_00
    report = story["settle payout-report"].rows("payouts")
    paid = sum(int(str(r["amount_minor"])) for r in report if r["currency"] == "EUR" and r["state"] != "rejected")
    assert now["balance_minor"] == 1_000_000_00 - paid
    known = story["balance known"]
    assert known.json["known"]["published_at"] <= story.between_imports  # type: ignore[index]
    was = {row["code"]: row["balance_minor"] for row in known.rows("balances")}
    assert any(was.values()) and story["trial-balance known"].json["known"] == known.json["known"]
    october = {r["code"]: r["balance_minor"] for r in story["trial-balance known"].json["trial_balance"]["rows"]}  # type: ignore[index]
    assert {code: minor for code, minor in was.items() if minor}.items() <= october.items()
    totals = story["trial-balance"].json["trial_balance"]["totals_minor"]  # type: ignore[index]
    assert set(totals.values()) == {0} and set(totals) == {"EUR", "GBP", "CZK"}


def test_sales_of_several_payees_are_owed_to_each(story: Story) -> None:
    (file,) = story["import splits"].rows("files")
    assert file["report"]["new_entries"] == 1 and file["report"]["postings"] == 4  # type: ignore[index]
    legs = [(leg["account"], leg["amount_minor"]) for leg in story["split"].rows("postings")]
    payable = "liabilities:payable:P00000"
    assert legs == [("assets:receivable:cardia:eur", -5), (f"{payable}1", 3), (f"{payable}2", 2)]
    with story.program.owner() as owner:
        rows = owner.execute(
            "SELECT a.code, p.amount_minor FROM ledger.entry e JOIN ledger.posting p USING (entry_id)"
            " JOIN ledger.account a USING (account_id) WHERE e.idempotency_key = 'shared-1' ORDER BY p.posting_id"
        ).fetchall()
    owed = [("assets:receivable:cardia:eur", 1000), (f"{payable}1", -600), (f"{payable}2", -300)]
    assert rows == [*owed, ("income:fees:eur", -100)]


def test_statement_runs_to_the_balance(story: Story) -> None:
    rows = story["statement"].rows("rows")
    running = 0
    for row in rows:
        running += int(str(row["amount_minor"]))
        assert row["balance_minor"] == running
    assert {"adjust-1", "reverse:adjust-1"} <= {str(row["key"]) for row in rows}


def test_doctor_is_not_a_superuser_and_durability_is_on(story: Story) -> None:
    facts = story["doctor"].json
    assert (facts["superuser"], facts["login"]) == ("off", "nostro_cli_service")
    assert (facts["fsync"], facts["synchronous_commit"], facts["users"]) == ("on", "on", "2")


def test_text_says_the_same_without_wrapping_or_pictures(story: Story) -> None:
    said = story.program.done("balance", "assets:bank:eur-payouts").out
    assert said.splitlines()[1].split()[0] == "assets:bank:eur-payouts"
    report = story.program.done("settle", "payout-report").out.splitlines()
    assert len(report) == 1 + len(story["settle payout-report"].rows("payouts"))
    assert all(line.startswith(MONDAY) for line in report[1:])
    for words in (("verify",), ("settle", "status"), ("breaks", "list"), ("recon", "report"), ("user", "list")):
        text = story.program.done(*words).out
        assert text.strip() and "{" not in text


def test_every_command_a_second_time_at_once_changes_nothing(story: Story) -> None:
    assert {key: tables for key, tables in story.moved.items() if tables} == {}
    for key, again in story.again.items():
        assert (again.status, again.err) == (0, ""), (key, again)


# The same after the whole story. (Not `propose`: what was rejected or released since is owed again, and a new
# proposal is right to take it.)
AGAIN = (
    *("init", "user add", "setup", "import journal", "import journal second", "settle approve", "settle release"),
    *("bank send", "bank simulate", "bank poll", "recon ingest", "recon run", "recon ingest stranger"),
    *("recon run tuesday", "close-period override", "export duckdb", "verify"),
)


def test_the_whole_story_a_second_time_changes_nothing(story: Story) -> None:
    program = story.program
    before, files = program.hashes(), program.kept_bytes()
    assert any("certificates" in name for name in files) and any("outbox" in name for name in files)
    for key in AGAIN:
        outcome = program(*story.words[key], "--json")
        assert (outcome.status, outcome.err) == (0, ""), (key, outcome)
    after = program.hashes()
    assert {name for name in after if after[name] != before[name]} == set()
    assert program.kept_bytes() == files


def test_an_export_a_second_time_is_equal_view_by_view(story: Story, tmp_path: Path) -> None:
    contents = []
    for name in ("first.duckdb", "second.duckdb"):
        story.program.done("export", "duckdb", "--to", tmp_path / name)
        with duckdb.connect(str(tmp_path / name), read_only=True) as warehouse:
            views = warehouse.execute("SELECT view_name FROM duckdb_views() WHERE NOT internal").fetchall()
            contents.append({v: sorted(map(str, warehouse.table(str(v)).fetchall())) for (v,) in views})
    assert contents[0] == contents[1]
    assert any(contents[0].values())


def test_output_can_be_piped_as_json_lines(story: Story) -> None:
    """`--json` works wherever it stands among the words."""
    first = story.program.done("balance", "--json", "assets:bank:eur-payouts")
    assert json.loads(first.out) == story["balance"].json
