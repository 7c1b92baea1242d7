"""Runs a package's `.sql` files inside the current migration, with the deployment's role names."""

from __future__ import annotations

import re
from importlib.resources import files

from alembic import context, op

_ROLE = re.compile(r"(?<!:):(app|service|owner|preparer|approver|analyst|restricted)\b")


def run_sql(package: str, *names: str) -> None:
    """Execute ``<package>/sql/<name>`` for each name (none: all, by name); `:app` and the like become roles."""
    prefix = context.config.attributes["role_prefix"]
    raw = op.get_bind().connection.driver_connection
    assert raw is not None
    folder = files(package).joinpath("sql")
    for name in names or sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".sql")):
        text = folder.joinpath(name).read_text(encoding="utf-8")
        raw.execute(_ROLE.sub(lambda found: f'"{prefix}_{found.group(1)}"', text))
