"""The command line: one contract for people and scripts (exit statuses, `--json`, help with examples)."""

from nostro.cli.app import main

__all__ = ["main"]
