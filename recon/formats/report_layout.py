"""Layouts of tabular reports: which column means what, declared in YAML.

Lives here: the layout, its checks, the built-in ones. Must not live here: reading reports (`report_reader`).
A layout with a fault is refused whole, with every fault of it. Keys: docs/report-layouts.md.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Annotated, Final, Literal

import yaml
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from recon.errors import FileRefusedError

_BUILT_IN: Final = Path(__file__).with_name("layouts") / "builtin.yaml"
Reference = Literal[
    "account_servicer_ref",
    "additional_info",
    "end_to_end_id",
    "entry_ref",
    "instruction_id",
    "mandate_id",
    "msg_id",
    "party_account",
    "party_name",
    "payment_information_id",
    "remittance",
    "structured_ref",
    "transaction_id",
]


def _listed(stated: object) -> object:
    return (stated,) if isinstance(stated, str) else stated


# One column, or several of which the first that a row fills counts.
Columns = Annotated[tuple[str, ...], BeforeValidator(_listed)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Amount(_Part):
    """One signed amount: a column; credit and debit columns; or a column with an indicator beside it.

    `signed` says what a minus in the debit column, or beside an indicator, means: it is the sign (true), or it turns
    the sign that column or indicator give (false). `debits` and `credits` are the indicator's words where they are not
    the usual ones.
    """

    column: str | None = None
    sign: Literal[1, -1] = 1
    credit: str | None = None
    debit: str | None = None
    indicator: str | None = None
    debits: tuple[str, ...] = ()
    credits: tuple[str, ...] = ()
    signed: bool | None = None
    code: str | None = None


def _codec(stated: str | None) -> str | None:
    if stated is not None:
        try:
            "".encode(stated)
        except LookupError:
            raise ValueError(f"{stated} is no encoding of texts") from None
    return stated


class Status(_Part):
    """Values of a column by which a row moves no money."""

    column: str
    informs: tuple[str, ...]


class Reason(_Part):
    """A column with return reasons; only values with this prefix are."""

    column: str
    prefix: str = ""


class Layout(_Part):
    """A tabular report. `parts` add up to `net`; `rest` names what is left of the net when they do not say it."""

    name: Annotated[str, Field(pattern=r"^[a-z][a-z0-9.-]{1,40}$")]
    header: tuple[str, ...] = ()
    sections: Literal["plain", "paypal", "dlocal", "trustly"] = "plain"
    tag: str | None = None
    columns: tuple[str, ...] = ()
    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str | None, AfterValidator(_codec)] = None
    decimal: Literal[".", ","] = "."
    date_format: str | None = None
    statement: str | None = None
    account: str | None = None
    account_is: str | None = None
    currency: str | None = None
    other_currency: str | None = None
    currency_is: str | None = None
    minor_units: bool = False
    rounds: bool = False
    net: Amount | None = None
    rest: str | None = None
    parts: tuple[Amount, ...] = ()
    balance: str | None = None
    total: str | None = None
    opening: str | None = None
    closing: str | None = None
    skip: tuple[str, ...] = ()
    date: Columns = ()
    value_date: Columns = ()
    type: str | None = None
    payout: tuple[str, ...] = ()
    informs: tuple[str, ...] = ()
    all_inform: bool = False
    status: Status | None = None
    reason: Reason | None = None
    references: dict[Reference, str] = {}

    def fits(self, columns: tuple[str, ...]) -> bool:
        """Whether a header row is this report's."""
        return bool(self.header) and set(self.header) <= set(columns)


class LayoutRefused(FileRefusedError):  # noqa: N818
    """A layout file with a fault."""


@cache
def built_in() -> tuple[Layout, ...]:
    """The layouts the program knows."""
    return read_layouts(_BUILT_IN)


def read_layouts(path: Path) -> tuple[Layout, ...]:
    """Layouts of a YAML file (one, or a list). Raises `LayoutRefused` with every fault."""
    try:
        found = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as fault:
        raise LayoutRefused(f"{path.name} cannot be read as YAML ({fault}): correct the layout") from None
    try:
        layouts = tuple(Layout.model_validate(each) for each in (found if isinstance(found, list) else [found]))
    except ValidationError as faults:
        listed = "; ".join(f"{'.'.join(map(str, each['loc']))}: {each['msg']}" for each in faults.errors())
        raise LayoutRefused(f"{path.name}: {listed}; correct the layout") from None
    for layout in layouts:
        if layout.net is None and not layout.parts:
            raise LayoutRefused(f"{path.name}: layout {layout.name} names no amount (net or parts); add one")
        if layout.sections == "plain" and not layout.header and not (layout.columns and layout.date):
            raise LayoutRefused(
                f"{path.name}: layout {layout.name} names no header columns to know the file by,"
                " nor columns and date of a file without a header"
            )
        if (layout.opening is None) != (layout.closing is None):
            raise LayoutRefused(f"{path.name}: layout {layout.name} names one of opening and closing; name both")
    return layouts
