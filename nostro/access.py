"""Who may do what, read from the catalogue: the matrix role × object × verb.

Lives here: reading privileges. Must not live here: granting them (SQL does) or people (`nostro.users`).
"""

from __future__ import annotations

from dataclasses import dataclass

from nostro.database import Connection

# One row an object, grantee and column set. What nobody granted is not there; default privileges are spelled out.
_PRIVILEGES = """
WITH schema AS (
    SELECT oid, nspname, nspowner, nspacl FROM pg_namespace WHERE nspname IN ('ledger', 'settlement', 'recon')),
acl (kind, name, owner, part, items) AS (
    SELECT 'schema', s.nspname::text, s.nspowner, '', coalesce(s.nspacl, acldefault('n', s.nspowner)) FROM schema s
    UNION ALL
    SELECT CASE c.relkind WHEN 'S' THEN 'sequence' WHEN 'v' THEN 'view' WHEN 'm' THEN 'view' ELSE 'table' END,
           s.nspname || '.' || c.relname, c.relowner, '',
           coalesce(c.relacl, acldefault(CASE c.relkind WHEN 'S' THEN 's' ELSE 'r' END::"char", c.relowner))
      FROM pg_class c JOIN schema s ON s.oid = c.relnamespace WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S')
    UNION ALL
    SELECT CASE c.relkind WHEN 'v' THEN 'view' ELSE 'table' END, s.nspname || '.' || c.relname, c.relowner,
           a.attname, a.attacl
      FROM pg_class c JOIN schema s ON s.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid
     WHERE a.attacl IS NOT NULL AND c.relkind IN ('r', 'p', 'v', 'm', 'f')
    UNION ALL
    SELECT CASE p.prokind WHEN 'p' THEN 'procedure' ELSE 'function' END,
           s.nspname || '.' || p.proname || '(' || pg_get_function_identity_arguments(p.oid) || ')', p.proowner, '',
           coalesce(p.proacl, acldefault('f', p.proowner))
      FROM pg_proc p JOIN schema s ON s.oid = p.pronamespace),
granted AS (
    SELECT a.kind, a.name, CASE x.grantee WHEN 0 THEN 'PUBLIC' ELSE r.rolname END::text AS role,
           x.privilege_type AS verb,
           string_agg(a.part, ', ' ORDER BY a.part COLLATE "C") AS columns
      FROM acl a CROSS JOIN aclexplode(a.items) x LEFT JOIN pg_roles r ON r.oid = x.grantee
     WHERE x.grantee <> a.owner OR %(with_owner)s
     GROUP BY 1, 2, 3, 4)
SELECT kind, name, role,
       array_agg(verb || CASE WHEN columns = '' THEN '' ELSE ' (' || columns || ')' END ORDER BY verb, columns)
  FROM granted GROUP BY kind, name, role
 ORDER BY array_position(ARRAY['schema', 'table', 'view', 'sequence', 'function', 'procedure'], kind),
          name COLLATE "C", role COLLATE "C"
"""


@dataclass(frozen=True, slots=True)
class Privilege:
    """What one role may do with one object; a verb may be followed by the columns it is for."""

    kind: str
    name: str
    role: str
    verbs: tuple[str, ...]


def privileges(conn: Connection, *, with_owner: bool = False) -> tuple[Privilege, ...]:
    """Every privilege in the three schemas that is not the owner's own, schemas first, by name.

    ``role`` is as Postgres knows it (`<database>_app`), or ``PUBLIC``.
    """
    rows = conn.execute(_PRIVILEGES, {"with_owner": with_owner}).fetchall()
    return tuple(
        Privilege(str(kind), str(name), str(role), tuple(verbs))  # type: ignore[arg-type]
        for kind, name, role, verbs in rows
    )


def matrix_text(found: tuple[Privilege, ...], *, role_prefix: str) -> str:
    """The matrix as text, one line an object and role, without the database's name: what the golden file holds."""
    return "".join(
        f"{p.kind} {p.name} | {p.role.removeprefix(role_prefix + '_')} | {'; '.join(p.verbs)}\n" for p in found
    )
