-- Which books a login may see and post to. Without a restriction: every book (docs/security.md, ADR 0009).
--
-- A restricted login is a member of the role ":restricted". Row-level security (090_access.sql) keeps foreign rows from
-- what it reads itself; functions run as their owner, whom no policy stops, so each one that a login may call asks
-- `require_book` first.

CREATE TABLE ledger.book_grant (
    grant_id    bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    login       name    NOT NULL,
    book_id     int     REFERENCES ledger.book,
    is_granted  boolean NOT NULL DEFAULT true,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by name    NOT NULL DEFAULT session_user,
    CONSTRAINT book_grant_every CHECK (is_granted OR book_id IS NOT NULL)
);
COMMENT ON TABLE ledger.book_grant IS 'Who was given which book, or had it taken away; the last row of a login and book counts.';
COMMENT ON COLUMN ledger.book_grant.book_id IS 'NULL: every book; what was said before counts no longer.';
SELECT ledger.make_append_only('ledger.book_grant');

CREATE VIEW ledger.book_access AS
SELECT login, book_id
  FROM (SELECT DISTINCT ON (g.login, g.book_id) g.login, g.book_id, g.is_granted FROM ledger.book_grant g
         WHERE g.grant_id > coalesce((SELECT max(e.grant_id) FROM ledger.book_grant e WHERE e.login = g.login AND e.book_id IS NULL), 0)
         ORDER BY g.login, g.book_id, g.grant_id DESC) last
 WHERE is_granted;
COMMENT ON VIEW ledger.book_access IS 'The books that each restricted login has now.';

CREATE FUNCTION ledger.books_seen() RETURNS int[]
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce(array_agg(book_id), '{}') FROM ledger.book_access WHERE login = session_user
$$;

-- Superusers and the owner's members hold every role; restriction is not meant for them.
-- No fixed search_path of its own (it would cost more than the question): only functions that have one call these two.
CREATE FUNCTION ledger.is_restricted() RETURNS boolean
LANGUAGE sql STABLE AS $$
    SELECT pg_catalog.pg_has_role(session_user, ':restricted'::pg_catalog.regrole, 'USAGE')
       AND NOT pg_catalog.pg_has_role(session_user, ':owner'::pg_catalog.regrole, 'USAGE')
$$;

-- Refuses a book that this login was not given. A book that does not exist is refused in the same words.
-- NULL: something that belongs to all books at once, so only an unrestricted login may.
CREATE FUNCTION ledger.require_book(p_book_id int) RETURNS void
LANGUAGE plpgsql STABLE AS $$
BEGIN
    IF ledger.is_restricted() AND (p_book_id OPERATOR(pg_catalog.=) ANY (ledger.books_seen())) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'insufficient_privilege', CONSTRAINT = 'book_granted',
            MESSAGE = pg_catalog.format('%s may not use this book, or it does not exist', session_user),
            HINT = 'Whoever administers the deployment can grant it: nostro user grant-book.';
    END IF;
END $$;

GRANT SELECT ON ledger.book_grant, ledger.book_access TO :app;
GRANT EXECUTE ON FUNCTION ledger.books_seen TO :restricted;
