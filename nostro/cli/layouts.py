"""The command that looks at an unknown report and proposes a layout for it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
import yaml

from nostro.cli.common import EXIT_CHECK_FAILED, JsonOption, console, emit
from nostro.cli.reconciliation import recon_app
from recon import FileRefusedError
from recon.formats import Layout, StatementRefused
from recon.layout_finder import LayoutProposal, Value, propose_layout


def register(app: typer.Typer) -> None:
    """The command is in `nostro recon`, which is added by itself."""


@recon_app.command("layout")
def layout_command(
    file: Annotated[Path, typer.Argument(help="A report as CSV text or XLSX workbook.", metavar="FILE")],
    say: Annotated[
        list[str] | None,
        typer.Option("--say", metavar="KEY=VALUE", help="Decide a key of the layout yourself; may be given again."),
    ] = None,
    name: Annotated[str | None, typer.Option("--name", help="Name of the layout, like bank.example.")] = None,
    write: Annotated[
        Path | None, typer.Option("--write", dir_okay=False, help="Write the layout here, with its evidence.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Propose a layout for a report the program does not know, say why, and try it on the file.

    Every key has its evidence, the strongest first: said by you, proven by sums, seen in every cell, named by the
    column, assumed. What nothing decides is asked, never guessed; `--say` answers it. Nothing is booked and no
    database is needed. Status 5 while a question is open or the file does not read with the layout.

    Example: `nostro recon layout statement.csv --say currency_is=EUR --write bank.yaml`
    """
    try:
        proposal = propose_layout(file.read_bytes(), file_name=file.name, name=name, said=_said(say or []))
    except StatementRefused as refused:
        raise FileRefusedError(f"{file.name}, line {refused.line}: {refused.message}") from None
    if write is not None:
        _write(write, proposal)

    def text() -> None:
        for line in proposal.render():
            console.print(line)
        if write is not None:
            console.print(f"wrote {write}")

    emit({**_plain(proposal), "written": write}, text, as_json=as_json)
    if not proposal.is_complete:
        raise typer.Exit(EXIT_CHECK_FAILED)  # the proposal has said what is open


def _said(pairs: list[str]) -> dict[str, Value]:
    """What a person decided: values as in a layout's YAML."""
    said: dict[str, Value] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or key not in Layout.model_fields:
            raise typer.BadParameter(f"{pair!r} is not KEY=VALUE with a key of a layout (docs/report-layouts.md)")
        try:
            said[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            said[key] = value  # a format or a mark, as people write it
    return said


def _write(path: Path, proposal: LayoutProposal) -> None:
    """Write the layout once; the same again is fine, another one's file is not overwritten."""
    if path.exists() and path.read_text(encoding="utf-8") != proposal.yaml:
        raise FileRefusedError(f"{path} has another layout; name another file, or remove it first.")
    path.write_text(proposal.yaml, encoding="utf-8")


def _plain(proposal: LayoutProposal) -> dict[str, object]:
    return {
        "file": proposal.file,
        "known_as": proposal.known_as,
        "rows": proposal.rows,
        "complete": proposal.is_complete,
        "layout": proposal.layout,
        "choices": proposal.choices,
        "questions": proposal.questions,
        "unused": proposal.unused,
        "trial": proposal.trial,
        "yaml": proposal.yaml,
    }
