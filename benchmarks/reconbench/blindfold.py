"""Keeps a matcher's process from looking at what it is measured against.

Lives here: the audit hook. Must not live here: anything that knows where the truth lies; its folder has another
parent than the inputs', and the matcher's process never learns its name.
"""

from __future__ import annotations

import sys


def forbid_the_truth() -> None:
    """From now on this process refuses to open a file of the truth or to import a module that makes or reads it."""

    def refuse(event: str, arguments: tuple[object, ...]) -> None:
        if event == "open" and "truth" in str(arguments[0]).rsplit("/", 1)[-1]:
            raise PermissionError(f"the matcher tried to open {arguments[0]}")
        if event == "import" and str(arguments[0]).startswith(("benchmarks.reconbench", "sandbox")):
            raise PermissionError(f"the matcher tried to import {arguments[0]}")

    sys.addaudithook(refuse)
