"""The `nostro` program: puts the commands together and turns outcomes into exit statuses."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Sequence
from functools import cache

import typer
import typer.core
from typer.exceptions import TyperException

from ledger.errors import NostroError
from nostro.cli import (
    bank,
    batch,
    books,
    break_rules,
    breaks,
    deployment,
    events,
    exports,
    fx,
    history,
    intraday,
    layouts,
    payees,
    recon_runs,
    reconciliation,
    runs,
    seals,
    settle,
    sign_off,
    splits,
)
from nostro.cli.common import (
    EXIT_INTERNAL,
    EXIT_REFUSED,
    EXIT_STOPPED,
    errors,
    exit_status,
    print_error,
    print_usage,
    unusable_file,
)

app = typer.Typer(
    name="nostro",
    help="Books, nightly settlement and bank reconciliation that prove each other to the cent.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
)
books.register(app)
history.register(app)
splits.register(app)
deployment.register(app)
settle.register(app)
payees.register(app)
bank.register(app)
reconciliation.register(app)
batch.register(app)
breaks.register(app)
break_rules.register(app)
sign_off.register(app)
recon_runs.register(app)
layouts.register(app)
intraday.register(app)
exports.register(app)
events.register(app)
fx.register(app)
seals.register(app)
runs.register(app)


@cache
def program() -> typer.core.TyperGroup:
    """Every command, made from its function once in a process: that takes a tenth of a second."""
    return typer.main.get_group(app)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status: 0 done, 1 refused, 2 usage, 3 not now, 4 unknown, 5 check failed."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    as_json = "--json" in words
    try:
        result = program().main(args=words, prog_name="nostro", standalone_mode=False)
    except TyperException as wrong:
        print_usage(wrong, as_json=as_json)
        return wrong.exit_code
    except typer.Abort:
        result = EXIT_STOPPED
    except NostroError as error:
        print_error(error, as_json=as_json)
        return exit_status(error)
    except (FileExistsError, FileNotFoundError, IsADirectoryError, NotADirectoryError, PermissionError) as error:
        print_error(unusable_file(error), as_json=as_json)
        return EXIT_REFUSED
    except Exception:  # the last resort: say so, with the place
        errors.print("internal error; this is a fault of the program, nothing was half-done in the books:")
        errors.print(traceback.format_exc())
        return EXIT_INTERNAL
    if result == EXIT_STOPPED:
        errors.print("stopped; what was finished is kept.")
    return result if isinstance(result, int) else 0
