"""Who takes in what banks say and publishes runs: the program's own login, and no person.

Lives here: the sentence that says so before any work is done. Must not live here: the refusal itself, which is a
privilege (GRANT … TO :service in the SQL of settlement and recon).
"""

from __future__ import annotations

from ledger import AccessError, Connection

# Roles carry the database's name, and the owner of this schema is one of them.
_ASK = """
SELECT settlement.person(),
       pg_has_role(session_user, regexp_replace(pg_get_userbyid(nspowner), 'owner$', 'service'), 'USAGE')
  FROM pg_namespace WHERE nspname = 'settlement'
"""


def require_service(conn: Connection, what: str) -> None:
    """Refuse a person's login what only the program does; ``what`` begins the sentence: ``statements are taken in``.

    Raises `AccessError`.
    """
    person, may = conn.execute(_ASK).fetchone() or (None, False)
    if not may:
        raise AccessError(
            f"{what} by the program's own login, and {person} is a person's; "
            "run this without NOSTRO_USER, or as NOSTRO_USER=service."
        )


__all__ = ["require_service"]
