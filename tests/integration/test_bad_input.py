"""What bad input gets: one clear sentence with the place, nothing changed, the original kept, the right exit status."""

from __future__ import annotations

import gzip
import hashlib
import zlib
from collections.abc import Iterator
from pathlib import Path

import polars as pl
import pytest

from tests.cli_program import Outcome, Program, new_program

# Refused statements are kept with their reason; nothing else may change.
KEEPS_ORIGINALS = {"recon.source_file", "recon.source_outcome"}
DOCUMENTED_RULES = Path(__file__).resolve().parents[2] / "docs" / "statement-rules.md"
KNOWN, CONTROL = "opening:20261030-000001", "assets:bank:eur-payouts"
HEADER = "entry_key,effective_date,account,amount,currency,description,reference"


@pytest.fixture(scope="module")
def program(server: str) -> Iterator[Program]:
    """A company with its first sales and October closed through the 29th."""
    with new_program(server, "nostro_bad") as program:
        program.set_up()
        program.done("import", "journal", program.files / "journal-2026-10-30.csv")
        program.done("close-period", "2026-10-29", "--request-override", "Before the first statement", "--as", "alice")
        program.done("close-period", "2026-10-29", "--as", "bob")
        yield program


def refused(program: Program, *words: str | Path, status: int = 1, may_change: set[str] | None = None) -> Outcome:
    """Run a command that must be refused without a trace in the books; the files it names stay as they are."""
    files = {word: word.read_bytes() for word in words if isinstance(word, Path) and word.is_file()}
    before = program.hashes()
    outcome = program(*words, "--json")
    after = program.hashes()
    changed = {name for name in after if after[name] != before[name]}
    assert outcome.status == status, outcome
    assert changed == (may_change or set())
    assert {word: word.read_bytes() for word in files} == files
    assert "Traceback" not in outcome.err
    return outcome


JOURNAL = {
    "unbalanced": [
        "u-1,2026-11-02,assets:receivable:cardia:eur,10.00,EUR,,",
        "u-1,2026-11-02,income:fees:eur,-9.00,EUR,,",
    ],
    "currency": [
        "c-1,2026-11-02,assets:receivable:cardia:xyz,10.00,XYZ,,",
        "c-1,2026-11-02,income:fees:xyz,-10.00,XYZ,,",
    ],
    "decimals": [
        "d-1,2026-11-02,assets:receivable:cardia:eur,10.005,EUR,,",
        "d-1,2026-11-02,income:fees:eur,-10.005,EUR,,",
    ],
    "conflict": [
        f"{KNOWN},2026-10-30,assets:receivable:cardia:czk,1.00,CZK,,",
        f"{KNOWN},2026-10-30,equity:opening:czk,-1.00,CZK,,",
    ],
    "closed": [
        "p-1,2026-10-29,assets:receivable:cardia:eur,10.00,EUR,,",
        "p-1,2026-10-29,income:fees:eur,-10.00,EUR,,",
    ],
    "control": [
        f"k-1,2026-11-02,{CONTROL},10.00,EUR,,",
        "k-1,2026-11-02,income:fees:eur,-10.00,EUR,,",
    ],
}
SAYS = {
    "unbalanced": ["line {0}: entry 'u-1' does not balance: it is off by 100 minor units of EUR."],
    "currency": [
        "line {0}: currency 'XYZ' is neither of ISO 4217 nor defined here.",
        "line {1}: currency 'XYZ' is neither of ISO 4217 nor defined here.",
    ],
    "decimals": [
        "line {0}: amount '10.005' has more decimals than EUR allows (2).",
        "line {1}: amount '-10.005' has more decimals than EUR allows (2).",
    ],
    "conflict": [
        "line {0}: key 'opening:20261030-000001' is taken by entry {entry} with other content; use a new key."
    ],
    "closed": ["line {0}: effective_date 2026-10-29 lies in a closed period (closed through 2026-10-29)."],
    "control": [
        "line {0}: account 'assets:bank:eur-payouts' is a control account (nostro); a journal cannot post there."
    ],
}


def write_journal(path: Path, lines: list[str]) -> Path:
    text = "\n".join([HEADER, *lines]) + "\n"
    if path.name.endswith(".parquet"):
        pl.read_csv(text.encode(), infer_schema=False).write_parquet(path)
    elif path.name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode(), mtime=0))
    else:
        path.write_text(text)
    return path


def conflicting_entry(program: Program) -> int:
    with program.owner() as owner:
        row = owner.execute("SELECT entry_id FROM ledger.entry WHERE idempotency_key = %s", (KNOWN,)).fetchone()
    assert row is not None
    return int(str(row[0]))


@pytest.mark.parametrize("name", JOURNAL)
def test_a_journal_with_one_fault_names_its_line(program: Program, tmp_path: Path, name: str) -> None:
    outcome = refused(program, "import", "journal", write_journal(tmp_path / "journal.csv", JOURNAL[name]))
    assert outcome.error["faults"] == [said.format(2, 3, entry=conflicting_entry(program)) for said in SAYS[name]]
    assert outcome.error["message"] == (
        f"journal.csv was refused whole: {len(SAYS[name])} fault{'s' if len(SAYS[name]) > 1 else ''}; "
        "correct the file and import it again."
    )
    assert outcome.out == ""


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz", ".parquet"])
def test_all_faults_of_a_journal_are_told_at_once(program: Program, tmp_path: Path, suffix: str) -> None:
    sound = ["s-1,2026-11-02,assets:receivable:cardia:eur,10.00,EUR,,", "s-1,2026-11-02,income:fees:eur,-10.00,EUR,,"]
    path = write_journal(tmp_path / f"journal{suffix}", [*sound, *(line for name in JOURNAL for line in JOURNAL[name])])
    expected, first = [], 4
    for name in JOURNAL:
        expected += [said.format(first, first + 1, entry=conflicting_entry(program)) for said in SAYS[name]]
        first += 2
    outcome = refused(program, "import", "journal", path)
    assert outcome.error["faults"] == expected
    text = program("import", "journal", path)
    assert text.status == 1
    assert text.sentence == f"refused: {outcome.error['message']}"
    assert [line.strip() for line in text.err.splitlines()[1:]] == expected


def test_journals_before_a_refused_one_are_imported_and_told(program: Program, tmp_path: Path) -> None:
    first, second, third = (tmp_path / f"{n}.csv" for n in (1, 2, 3))
    for path, key in ((first, "m-1"), (third, "m-3")):
        write_journal(
            path,
            [
                f"{key},2026-11-02,assets:receivable:cardia:eur,1.00,EUR,,",
                f"{key},2026-11-02,income:fees:eur,-1.00,EUR,,",
            ],
        )
    write_journal(second, JOURNAL["unbalanced"])
    outcome = program("import", "journal", first, second, third, "--json")
    assert (outcome.status, [file["file"] for file in outcome.rows("files")]) == (1, ["1.csv"])
    assert str(outcome.error["message"]).startswith("2.csv was refused whole")
    assert program.done("import", "journal", first, third, "--json").rows("files")[0]["report"]["new_entries"] == 0  # type: ignore[index]


def test_an_account_that_no_rule_opens(program: Program, tmp_path: Path) -> None:
    path = write_journal(tmp_path / "j.csv", ["a-1,2026-11-02,misc:x,1.00,EUR,,", "a-1,2026-11-02,misc:y,-1.00,EUR,,"])
    outcome = refused(program, "import", "journal", path)
    assert outcome.error["faults"] == [
        f"line {n}: account 'misc:{c}' does not exist and no rule of the book opens it."
        for n, c in ((2, "x"), (3, "y"))
    ]


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("empty.csv", b"", "empty.csv cannot be read"),
        ("columns.csv", b"a,b\n1,2\n", "columns.csv has the wrong columns (missing: entry_key"),
        ("ragged.csv", f"{HEADER}\n1,2,3,4,5,6,7,8\n".encode(), "line 2 has 8 fields, the header has 7"),
        ("latin.csv", f"{HEADER}\nk,2026-11-02,a:b,1.00,EUR,Käse,\n".encode("latin-1"), "it is not UTF-8 text"),
        ("half.csv.gz", gzip.compress(HEADER.encode() * 50, mtime=0)[:40], "half.csv.gz cannot be read"),
        ("no.parquet", b"PAR1 but no more", "no.parquet cannot be read"),
        ("journal.xlsx", b"x", "journal.xlsx is neither .csv, .csv.gz nor .parquet"),
    ],
)
def test_a_file_that_is_no_journal(program: Program, tmp_path: Path, name: str, content: bytes, says: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    message = str(refused(program, "import", "journal", path).error["message"])
    assert says in message and message.endswith(".") and "\n" not in message


STATEMENTS = {
    "truncated": ("camt.053-itemised.xml", lambda text: text[: len(text) // 2], "line "),
    "doctype": (
        "camt.053-itemised.xml",
        lambda text: text.replace("?>", '?>\n<!DOCTYPE Document [<!ENTITY x "y">]>', 1),
        "DOCTYPE",
    ),
    "namespace": (
        "camt.053-itemised.xml",
        lambda text: text.replace("camt.053.001.08", "camt.099.001.01"),
        "camt.099.001.01",
    ),
    "empty": ("camt.053-itemised.xml", lambda text: "", "line 1"),
    "not-ours": (
        "camt.053-itemised.xml",
        lambda text: text.replace("GB87ALBN99000220304050", "GB29NWBK60161331926819"),
        "is not one of ours",
    ),
}


@pytest.mark.parametrize("name", STATEMENTS)
def test_a_bad_statement_is_refused_whole_and_kept(program: Program, tmp_path: Path, name: str) -> None:
    fixture, spoil, says = STATEMENTS[name]
    path = tmp_path / f"{name}.xml"
    path.write_text(spoil((program.files / fixture).read_text()))
    outcome = refused(program, "recon", "ingest", path, may_change=KEEPS_ORIGINALS)
    (file,) = outcome.rows("files")
    assert (file["outcome"], file["statements"]) == ("refused", [])
    assert says in str(file["reason"]) and "\n" not in str(file["reason"])
    assert str(outcome.error["message"]) == f"1 of 1 files were refused; first: {path.name}: {file['reason']}"
    with program.owner() as owner:
        kept = owner.execute(
            "SELECT f.content_zlib, o.outcome, o.reason FROM recon.source_file f"
            " JOIN recon.source_outcome o USING (file_id) WHERE f.sha256 = %s",
            (hashlib.sha256(path.read_bytes()).hexdigest(),),
        ).fetchall()
    assert [(zlib.decompress(content), *said) for content, *said in kept] == [  # type: ignore[arg-type]
        (path.read_bytes(), "refused", file["reason"])
    ]
    # Given again, it is refused again with the same words, and not even kept twice.
    again = refused(program, "recon", "ingest", path)
    assert again.rows("files") == outcome.rows("files")


@pytest.mark.parametrize("name", ["truncated", "doctype", "namespace", "empty"])
def test_check_says_the_same_and_keeps_nothing(program: Program, tmp_path: Path, name: str) -> None:
    fixture, spoil, _ = STATEMENTS[name]
    path = tmp_path / f"check-{name}.xml"
    path.write_text(spoil((program.files / fixture).read_text()))
    outcome = refused(program, "recon", "ingest", "--check", path, status=5)
    (file,) = outcome.rows("files")
    refusal = file["refusal"]
    assert isinstance(refusal, dict) and refusal["line"] >= 1
    assert f"`{refusal['rule']}`" in DOCUMENTED_RULES.read_text()
    assert outcome.json["totals"]["files_refused"] == 1  # type: ignore[index]
    assert outcome.err == ""


def test_one_bad_file_does_not_stop_the_others(program: Program, tmp_path: Path) -> None:
    bad, good = tmp_path / "bad.xml", program.files / "psp-CARDIA-EUR-VISA-20261102.csv"
    bad.write_text("<Document")
    outcome = program("recon", "ingest", bad, good, "--json")
    assert outcome.status == 1
    assert [file["outcome"] for file in outcome.rows("files")] == ["refused", "accepted"]


@pytest.mark.parametrize(
    ("row", "says"),
    [
        ("P-1,nobody,eur-collect,EUR,2026-11-02,10.00,0.00,0.00,1.00,9.00,1", "nobody"),
        ("P-2,cardia,eur-collect,EUR,2026-11-02,10.00,0.00,0.00,1.00,8.00,1", "line 2"),
        ("P-3,cardia,eur-collect,EUR,2026-11-02,ten,0.00,0.00,1.00,9.00,1", "line 2"),
    ],
)
def test_a_bad_acquirer_report_is_refused_whole_and_kept(program: Program, tmp_path: Path, row: str, says: str) -> None:
    head = (program.files / "psp-CARDIA-EUR-VISA-20261102.csv").read_text().splitlines()[0]
    path = tmp_path / "report.csv"
    path.write_text(f"{head}\n{row}\n")
    outcome = refused(program, "recon", "ingest", path, may_change=KEEPS_ORIGINALS)
    assert says in str(outcome.error["message"])


def spoiled_setup(program: Program, folder: Path, old: str, new: str, file: str) -> Path:
    for name in ("setup.yaml", "payees.csv"):
        (folder / name).write_bytes((program.files / name).read_bytes())
    text = (folder / file).read_text()
    assert old in text
    (folder / file).write_text(text.replace(old, new, 1))
    return folder / "setup.yaml"


def first_iban(program: Program) -> str:
    head, row = (program.files / "payees.csv").read_text().splitlines()[:2]
    return row.split(",")[head.split(",").index("iban")]


def test_an_invalid_payee_iban(program: Program, tmp_path: Path) -> None:
    iban = first_iban(program)
    wrong = iban[:-1] + str((int(iban[-1]) + 1) % 10)
    outcome = refused(program, "setup", spoiled_setup(program, tmp_path, iban, wrong, "payees.csv"))
    (fault,) = outcome.error["faults"]  # type: ignore[misc]
    assert fault.startswith("payees.csv line 2") and wrong in fault


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("functional_currency: EUR", "functional_currency: EURO", "book.functional_currency"),
        ("holidays: ECB", "holidays: Atlantis", "Atlantis"),
        ("payees_file: payees.csv", "payees_file: nobody.csv", "nobody.csv"),
        ("book:", "boook:", "boook"),
        ("book:", "book: [", "line"),
    ],
)
def test_a_wrong_setup_file(program: Program, tmp_path: Path, old: str, new: str, says: str) -> None:
    outcome = refused(program, "setup", spoiled_setup(program, tmp_path, old, new, "setup.yaml"))
    assert any(says in fault for fault in outcome.error["faults"])  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "words",
    [
        ("import", "journal", "{}/none.csv"),
        ("import", "journal", "{}"),
        ("setup", "{}/none.yaml"),
        ("setup", "{}"),
        ("recon", "ingest", "{}/none.xml"),
        ("recon", "ingest", "{}"),
        ("bank", "simulate", "--date", "2026-11-02", "--setup", "{}/none.yaml"),
        ("export", "duckdb", "--to", "{}"),
    ],
)
def test_missing_and_unreadable_files(program: Program, tmp_path: Path, words: tuple[str, ...]) -> None:
    outcome = refused(program, *(word.format(tmp_path) for word in words))
    message = str(outcome.error["message"])
    assert "\n" not in message and (tmp_path.name in message or "none" in message)


@pytest.mark.parametrize(
    "words",
    [
        ("import", "journal"),
        ("balance",),
        ("balance", "x", "--as-of", "yesterday"),
        ("balance", "x", "--known-at", "2026-11-02T10:00:00"),
        ("settle", "approve"),
        ("settle", "approve", "1", "--all"),
        ("settle", "propose", "--date", "02.11.2026"),
        ("settle", "reject", "1", "--reason", "  "),
        ("reverse", "x"),
        ("reverse", "x", "--reason", ""),
        ("recon", "ingest"),
        ("recon", "run"),
        ("breaks", "list", "--code", "NOPE"),
        ("nonsense",),
        ("settle", "nonsense"),
        ("verify", "--nonsense"),
        ("user", "add", "dora"),
    ],
)
def test_wrong_usage_is_status_2(program: Program, words: tuple[str, ...]) -> None:
    outcome = refused(program, *words, status=2)
    assert outcome.out == "" and outcome.error["error"] == "UsageError"
    text = program(*words)
    assert text.status == 2
    assert text.sentence.startswith("wrong usage: ") and "--help`." in text.sentence


def test_a_broken_answer_of_a_bank(program: Program, tmp_path: Path) -> None:
    inbox = program.home / "bank" / "nordbank" / "inbox"
    inbox.mkdir(parents=True, exist_ok=True)
    whole = (program.files / "pain.002-eur-payouts.xml").read_text()
    (inbox / "half.xml").write_text(whole[: len(whole) // 2])
    (inbox / "stranger.xml").write_text(whole)
    outcome = refused(program, "bank", "poll", may_change={"settlement.message_received", "settlement.message_finding"})
    said = {m["name"]: m["findings"][0]["message"] for m in outcome.rows("messages")}  # type: ignore[index]
    assert said["half.xml"].startswith("line 3: the status report is not well-formed XML")
    assert said["stranger.xml"] == "it answers a file we do not know"
    assert outcome.error["message"] == f"1 of 2 new status reports cannot be read; first: half.xml: {said['half.xml']}"
    with program.owner() as owner:
        kept = owner.execute("SELECT content FROM settlement.message_received WHERE name = 'half.xml'").fetchall()
    assert kept == [((inbox / "half.xml").read_bytes(),)]
    assert program("bank", "poll").out == "0 new status reports, 0 payments rejected\n"
