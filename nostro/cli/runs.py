"""Commands that run the whole: the demo, the Dagster deployment, benchmarks, the Berka bank."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from ledger.errors import CheckFailedError
from nostro.cli.common import JsonOption, console, plain, progress
from nostro.settings import Settings

bench_app = typer.Typer(no_args_is_help=True, help="Measure against a reference in the same run.")
soak_app = typer.Typer(no_args_is_help=True, help="Everything at once for a while, then what must hold.")
SmallOption = Annotated[bool, typer.Option("--small", help="A small version, for a quick look.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the program."""
    app.command("demo")(demo_command)
    app.command("up")(up_command)
    app.command("berka")(berka_command)
    app.add_typer(bench_app, name="bench")
    app.add_typer(soak_app, name="soak")


def demo_command(
    days: Annotated[int, typer.Option("--days", min=1, help="Business days.")] = 5,
    payments: Annotated[int, typer.Option("--payments", min=30, help="Card payments a day.")] = 20_000,
    payees: Annotated[int | None, typer.Option("--payees", help="Sellers (default: half of the payments).")] = None,
    anomalies: Annotated[int, typer.Option("--anomalies", min=0, help="How often the bank misbehaves.")] = 12,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the business and the banks.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """A business week from sales to certified books, in NOSTRO_HOME/demo (which is made anew).

    Ends with status 5 when the breaks found are not exactly the anomalies that the simulated banks caused.

    Example: `nostro demo --days 2 --payments 1000 --anomalies 5`
    """
    from nostro.demo import run_demo

    home = Settings().home_path / "demo"
    with progress("demo", quiet=as_json) as report:
        result = run_demo(
            home=home,
            days=days,
            payments=payments,
            payees=payees or max(30, payments // 2),
            anomalies=anomalies,
            seed=seed,
            say=None if as_json else lambda line: console.print(line),
            on_progress=report,
        )
    if as_json:
        sys.stdout.write(json.dumps(plain(result), ensure_ascii=False, indent=1) + "\n")
    else:
        console.print(result.page)
    if not result.proven:
        raise CheckFailedError("the week is not proven; the page says what differs.")


def up_command(
    port: Annotated[int, typer.Option("--port", help="Port of the Dagster UI.")] = 3000,
    read_only_port: Annotated[
        int | None, typer.Option("--read-only-port", help="Also a UI that can only look.")
    ] = None,
) -> None:
    """Start Postgres and Dagster (UI, daemon) and stay until Ctrl-C.

    Example: `nostro up --port 3000`
    """
    from nostro.up import up

    up(Settings(), port=port, read_only_port=read_only_port)


def berka_command(
    folder: Annotated[Path, typer.Argument(help="Folder with journal-*.csv.gz, balances-*.csv.gz, parties.csv.")],
    as_json: JsonOption = False,
) -> None:
    """A real bank's journal, from import to certificates, in NOSTRO_HOME/berka (which is made anew).

    Example: `nostro berka ../shared/real/berka`
    """
    from nostro.berka import run_berka

    with progress("berka", quiet=as_json) as report:
        result = run_berka(
            folder=folder,
            home=Settings().home_path / "berka",
            say=None if as_json else lambda line: console.print(line),
            on_progress=report,
        )
    if as_json:
        sys.stdout.write(json.dumps(plain(result), ensure_ascii=False, indent=1) + "\n")
    else:
        console.print(result.line)
    if not result.proven:
        raise CheckFailedError("not everything agreed; the line above says how much.")


def _print_result(result: dict[str, object], as_json: bool) -> None:
    if as_json:
        sys.stdout.write(json.dumps(result) + "\n")
        return
    for name, value in result.items():
        console.print(f"{name}: {value}")


@bench_app.command("posting")
def bench_posting_command(
    entries: Annotated[int, typer.Option("--entries", help="Two-leg entries a turn.")] = 800_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Turns of each shape; the median counts.")] = 3,
    growth: Annotated[
        int, typer.Option("--growth", min=0, help="Instead: fill a book up to so many entries, million by million.")
    ] = 0,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Durable two-leg entries a second against rows a second of binary COPY on the same server.

    Example: `nostro bench posting --json`
    """
    from benchmarks.posting import run, run_growth

    with progress("posting") as advance:
        if growth:
            result = run_growth(entries=growth, advance=advance)
        elif small:
            result = run(entries=20_000, repeats=3, advance=advance)
        else:
            result = run(entries=entries, repeats=repeats, advance=advance)
    _print_result(result.to_json(), as_json)


@bench_app.command("single")
def bench_single_command(
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="Of each load and round.")] = 5,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    scale: Annotated[int, typer.Option("--scale", min=1, help="Of pgbench's tables.")] = 100,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Entries a second of 64 callers that post one each, against pgbench with 64 clients on the same server.

    Example: `nostro bench single --json`
    """
    from benchmarks.single import run

    if small:
        seconds, repeats, scale = 1, 3, 10
    _print_result(run(seconds=seconds, repeats=repeats, scale=scale).to_json(), as_json)


@bench_app.command("pain001")
def bench_pain001_command(
    rows: Annotated[int, typer.Option("--rows", help="Payments in the file.")] = 100_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Payments written a second against pyiso20022 and xsdata rendering the same file.

    Example: `nostro bench pain001 --json`
    """
    from benchmarks.pain001 import run

    _print_result(run(2_000 if small else rows, repeats), as_json)


@bench_app.command("netting")
def bench_netting_command(
    items: Annotated[int, typer.Option("--items", min=1, help="New open items a round.")] = 1_000_000,
    payees: Annotated[int, typer.Option("--payees", min=1, help="Payees they are owed to.")] = 20_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    delay_days: Annotated[int, typer.Option("--delay-days", min=0, help="Pay T+n: so many days' items wait.")] = 0,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Open items netted, instructed and sealed a second against a bare GROUP BY plus COPY of the same rows.

    Example: `nostro bench netting --json`
    """
    from benchmarks.netting import run

    if small:
        items, payees = 20_000, 400
    _print_result(run(items=items, payees=payees, repeats=repeats, delay_days=delay_days).to_json(), as_json)


@bench_app.command("nightly")
def bench_nightly_command(
    nights: Annotated[int, typer.Option("--nights", min=6, help="Nights of history before the late ones.")] = 250,
    payees: Annotated[int, typer.Option("--payees", min=1, help="Payments a night.")] = 20,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Measured nights, early and late; medians.")] = 3,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """What a night reads and costs after a year of history, step by step, against the same night after a week.

    Example: `nostro bench nightly --json`
    """
    from benchmarks.nightly import run

    with progress("nights", quiet=as_json) as report:
        result = run(nights=12 if small else nights, payees=payees, repeats=repeats, advance=report)
    _print_result(result.to_json(), as_json)


@bench_app.command("camt053")
def bench_camt053_command(
    rows: Annotated[int, typer.Option("--rows", min=1, help="Entries in the statement.")] = 100_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Statement entries read and proven a second against a bare lxml walk over the same file, and pyiso20022.

    Example: `nostro bench camt053 --json`
    """
    from benchmarks.camt053 import run

    _print_result(run(2_000 if small else rows, repeats).to_json(), as_json)


@bench_app.command("recon")
def bench_recon_command(
    rows: Annotated[int, typer.Option("--rows", min=1000, help="Expectations; about as many bank lines.")] = 1_000_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    memory_limit_gb: Annotated[int, typer.Option("--memory-limit-gb", min=1, help="Bound of the database.")] = 4,
    folder: Annotated[
        Path | None, typer.Option("--folder", file_okay=False, help="Keep the inputs here for the next run.")
    ] = None,
    datacompy_python: Annotated[
        Path | None,
        typer.Option("--datacompy-python", dir_okay=False, help="Python of an environment that has datacompy."),
    ] = None,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Items reconciled a second, from two Parquet files to matches, breaks and certificate, against a bare hash join.

    Example: `nostro bench recon --rows 10000000 --json`
    """
    from benchmarks.recon import run

    result = run(
        20_000 if small else rows,
        repeats=repeats,
        memory_limit_gb=memory_limit_gb,
        folder=folder,
        datacompy_python=datacompy_python,
    )
    _print_result(result.to_json(), as_json)


@bench_app.command("asof")
def bench_asof_command(
    postings: Annotated[int, typer.Option("--postings", min=1, help="Postings to load first.")] = 20_000_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    plans: Annotated[
        Path | None,
        typer.Option("--plans", dir_okay=False, help="Keep the plans of a balance and a page in this file."),
    ] = None,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Buffers that a balance as of a date and a statement page read, and balances a second against summing postings.

    Example: `nostro bench asof --json`
    """
    from benchmarks.asof import run

    with progress("loading", quiet=as_json) as report:
        result = run(postings=200_000 if small else postings, repeats=repeats, keep_plans=plans, on_progress=report)
    _print_result(result.to_json(), as_json)


@bench_app.command("verify")
def bench_verify_command(
    entries: Annotated[int, typer.Option("--entries", help="Two-leg entries with texts.")] = 1_000_000,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Rounds; the median counts.")] = 3,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Entries a batch.")] = 10_000,
    small: SmallOption = False,
    as_json: JsonOption = False,
) -> None:
    """Entries fully verified a second against a bare COPY … TO of the same rows; sealing; incremental verification.

    Example: `nostro bench verify --json`
    """
    from benchmarks.verify import run

    _print_result(run(entries=50_000 if small else entries, repeats=repeats, batch=batch).to_json(), as_json)


@bench_app.command("reconbench")
def bench_reconbench_command(
    tier: Annotated[str, typer.Option("--tier", help="Rows a side: S 10,000, M 1 million, L 10 million.")] = "S",
    data: Annotated[
        str, typer.Option("--data", help="ordinary, or small-business: 42 classes of cases, about 9,000 rows a side.")
    ] = "ordinary",
    seeds: Annotated[int, typer.Option("--seeds", min=1, help="Data sets.")] = 5,
    first_seed: Annotated[int, typer.Option("--first-seed", min=0, help="Seed of the first one.")] = 1,
    holdout: Annotated[bool, typer.Option("--holdout", help="Other narrations, other unknown anomalies.")] = False,
    files: Annotated[
        bool, typer.Option("--files", help="Write the bank's side as camt.053, MT940 and BAI2 files and read it back.")
    ] = False,
    shuffles: Annotated[int, typer.Option("--shuffles", min=0, help="Row orders tried on the first data set.")] = 20,
    page: Annotated[Path, typer.Option("--page", file_okay=False, help="Folder for reconbench.html.")] = Path(),
    keep: Annotated[
        Path | None, typer.Option("--keep", file_okay=False, help="Keep inputs, truth and answers in this folder.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """What the matcher clears rightly, wrongly and not at all, on made-up bank lines with known truth.

    Writes reconbench.html, and ends with status 5 when a line of the acceptance does not hold. docs/reconbench.md
    says what is in the data and what the figures mean.

    Example: `nostro bench reconbench --tier S --seeds 5 --json`
    """
    from benchmarks.reconbench.harness import run
    from benchmarks.reconbench.page import write_page
    from benchmarks.reconbench.report import acceptance_lines, to_json
    from benchmarks.reconbench.spec import SMALL_BUSINESS_ROWS, Data, Tier

    if data not in set(Data):
        raise typer.BadParameter(f"{data} is no data; there are {', '.join(Data)}.", param_hint="--data")
    small = data == Data.SMALL_BUSINESS
    if small and (holdout or files or tier != Tier.S):
        raise typer.BadParameter(f"{data} has one size, no holdout and no files.", param_hint="--data")
    if tier not in set(Tier):
        raise typer.BadParameter(f"{tier} is not a tier; there are {', '.join(Tier)}.", param_hint="--tier")
    with progress("reconbench", quiet=as_json) as report:
        found = run(
            tier=data if small else tier,
            rows=SMALL_BUSINESS_ROWS if small else Tier(tier).rows,
            data=Data(data),
            seeds=range(first_seed, first_seed + seeds),
            holdout=holdout,
            shuffles=shuffles,
            keep=keep,
            through_files=files,
            on_progress=report,
        )
    path = write_page(found, page)
    if as_json:
        sys.stdout.write(json.dumps(to_json(found)) + "\n")
    else:
        for line in acceptance_lines(found):
            console.print(line)
        console.print(f"page: {path}")
    missed = [name for name, *_, held in found.acceptance() if not held]
    if missed:
        raise CheckFailedError(f"not reached: {', '.join(missed)}; {path.name} says where.")


@soak_app.command("ledger")
def soak_ledger_command(
    minutes: Annotated[float, typer.Option("--minutes", min=0.02, help="How long.")] = 10,
    threads: Annotated[int, typer.Option("--threads", min=9, max=150, help="Callers who drain one account.")] = 64,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the callers' choices.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Posts, holds, closes, seals and killed backends at once on a throw-away server, then every answer compared.

    Ends with status 5 when there was a deadlock, a floor was crossed, an acknowledged entry is lost, or the books do
    not verify.

    Example: `nostro soak ledger --minutes 1 --json`
    """
    from benchmarks.soak import run

    with progress("soak", quiet=as_json) as report:
        result = run(seconds=minutes * 60, drainers=threads, seed=seed, on_progress=report)
    _print_result(result.to_json(), as_json)
    if result.findings:
        raise CheckFailedError(f"{len(result.findings)} things did not hold; the first: {result.findings[0]}")


@soak_app.command("send")
def soak_send_command(
    every: Annotated[int, typer.Option("--every", min=1, help="Only each n-th point.")] = 1,
    only: Annotated[
        str | None,
        typer.Option("--only", help="payments, or back: a recall, a reversal and collections (default: both)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Kill `nostro bank send` and `nostro settle recall-send` wherever they move bytes or commit; recover; judge.

    At every commit, every step and every system call, to a bank's folder, and to its SFTP server at every request:
    payments, collections, recalls and reversals. The bank of the test executes whatever it gets. Ends with status 5
    when something was executed or arrived twice, or was lost. System calls need strace, without it the steps remain;
    SFTP needs an OpenSSH server.

    Example: `nostro soak send --every 40 --json`
    """
    from benchmarks.kill_sweep import COMPANIES, run

    if only is not None and only not in COMPANIES:
        raise typer.BadParameter(f"{only!r} is not {' or '.join(COMPANIES)}", param_hint="--only")
    with progress("killing senders", quiet=as_json) as report:
        results = run(every=every, companies=tuple(COMPANIES) if only is None else (only,), on_progress=report)
    points = sum(result.points.total() for result in results.values())
    _print_result({"points": points} | {name: result.to_json() for name, result in results.items()}, as_json)
    if findings := [finding for result in results.values() for finding in result.findings]:
        raise CheckFailedError(f"{len(findings)} points did not hold; the first: {findings[0]}")
