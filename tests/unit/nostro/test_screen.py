"""What people read on the screen is what there is: no name paints over the line beside it."""

from __future__ import annotations

import pytest

from nostro.cli.common import console, errors, table

NAME = "Shop\x1b[1A\x1b[2K\u202eevil\x9b0m\r"
SEEN = r"Shop\x1b[1A\x1b[2K\u202eevil\x9b0m\x0d"


def test_control_characters_are_seen(capsys: pytest.CaptureFixture[str]) -> None:
    console.print(f"file 3 pays {NAME}\nand Müller\t東京 🍕")
    errors.print(f"refused: {NAME}")
    table(NAME, ("payee", "amount"), [(NAME, "10.00")], right=(1,))
    out, err = capsys.readouterr()
    assert out.count(SEEN) == 3 and err.count(SEEN) == 1
    assert "Müller" in out and "東京 🍕" in out
    assert not {"\x1b", "\u202e", "\x9b", "\r"} & set(out + err)
