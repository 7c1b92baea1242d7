"""A server that asks for passwords: the administrator's is nobody else's."""

from __future__ import annotations

from dataclasses import replace

import psycopg
import pytest
from psycopg.conninfo import conninfo_to_dict, make_conninfo

from nostro.database import Database, set_password


def test_other_logins_do_not_get_the_administrators_password(template: Database) -> None:
    with_password = replace(template, admin_conninfo=make_conninfo(template.admin_conninfo, password="owner-secret"))
    assert "password" in conninfo_to_dict(with_password.admin_conninfo)
    for login in ("service", "alice"):
        assert "password" not in conninfo_to_dict(with_password.conninfo(login))
        assert conninfo_to_dict(with_password.conninfo(login))["user"] == template.role(login)


def test_a_password_is_stored_as_a_verifier(template: Database) -> None:
    set_password(template, "carol", "correct horse battery")
    with psycopg.connect(template.admin_conninfo) as admin:
        row = admin.execute(
            "SELECT rolpassword FROM pg_authid WHERE rolname = %s", (template.role("carol"),)
        ).fetchone()
    assert row is not None and str(row[0]).startswith("SCRAM-SHA-256$")


@pytest.mark.parametrize("login", ["nobody"])
def test_a_login_that_is_not_there_gets_no_password(template: Database, login: str) -> None:
    with pytest.raises(psycopg.errors.UndefinedObject):
        set_password(template, login, "correct horse battery")
