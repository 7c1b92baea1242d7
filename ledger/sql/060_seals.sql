-- Seals: hashes over published entries, in knowledge order, that no one can recompute unnoticed once a root is kept
-- outside. docs/seals.md gives the bytes; nothing here touches entry, posting or batch rows.

CREATE TABLE ledger.seal (
    book_id      int    NOT NULL REFERENCES ledger.book,
    seal_no      int    NOT NULL,
    first_seq    bigint NOT NULL,
    last_seq     bigint NOT NULL,
    entry_count  int    NOT NULL CHECK (entry_count > 0),
    root         bytea  NOT NULL CHECK (octet_length(root) = 32),
    previous     bytea  NOT NULL CHECK (octet_length(previous) = 32),
    digest       bytea  NOT NULL,
    sealed_at    timestamptz NOT NULL,
    sealed_by    name   NOT NULL DEFAULT session_user,
    previous_no  int    GENERATED ALWAYS AS (nullif(seal_no - 1, 0)) STORED,
    previous_seq bigint GENERATED ALWAYS AS (nullif(first_seq - 1, 0)) STORED,
    PRIMARY KEY (book_id, seal_no),
    CONSTRAINT seal_once UNIQUE (book_id, first_seq),
    CONSTRAINT seal_link UNIQUE (book_id, seal_no, last_seq, digest),
    CONSTRAINT seal_range CHECK (last_seq >= first_seq AND last_seq - first_seq + 1 >= entry_count),
    CONSTRAINT seal_start CHECK ((seal_no = 1) = (first_seq = 1) AND (seal_no = 1) = (previous = decode(repeat('00', 32), 'hex'))),
    CONSTRAINT seal_chain FOREIGN KEY (book_id, previous_no, previous_seq, previous)
        REFERENCES ledger.seal (book_id, seal_no, last_seq, digest),
    CONSTRAINT seal_digest CHECK (digest = sha256(record_send(ROW(
        book_id, seal_no, first_seq, last_seq, entry_count, root, previous, sealed_at))))
);
COMMENT ON TABLE ledger.seal IS 'A Merkle root over the book''s entries of first_seq … last_seq, chained to the seal before (invariant 9).';
COMMENT ON COLUMN ledger.seal.digest IS 'What the next seal commits to, and what is anchored outside: it binds every column but sealed_by.';
COMMENT ON CONSTRAINT seal_chain ON ledger.seal IS 'Each seal starts right after the one before and carries its digest: no gap.';
COMMENT ON CONSTRAINT seal_once ON ledger.seal IS 'Two seals never start at one place: no overlap, no fork.';

-- The leaves under each root, packed (8 bytes an id, 32 a hash): what a changed entry is compared with, so that it can
-- be named. It proves nothing by itself; it counts only where its own root is the sealed one.
CREATE TABLE ledger.seal_leaves (
    book_id   int   NOT NULL,
    seal_no   int   NOT NULL,
    entry_ids bytea NOT NULL,
    leaves    bytea NOT NULL,
    PRIMARY KEY (book_id, seal_no),
    FOREIGN KEY (book_id, seal_no) REFERENCES ledger.seal,
    CONSTRAINT seal_leaves_pairs CHECK (octet_length(leaves) = 4 * octet_length(entry_ids))
);
ALTER TABLE ledger.seal_leaves ALTER entry_ids SET STORAGE EXTERNAL, ALTER leaves SET STORAGE EXTERNAL;

-- How far verification has come, so that the next can be incremental. A note, not a proof: --full does not read it.
CREATE TABLE ledger.seal_check (
    check_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id    int   NOT NULL,
    seal_no    int   NOT NULL,
    digest     bytea NOT NULL,
    checked_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    checked_by name  NOT NULL DEFAULT session_user,
    FOREIGN KEY (book_id, seal_no) REFERENCES ledger.seal
);
CREATE INDEX seal_check_latest ON ledger.seal_check (book_id, seal_no);
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['ledger.seal', 'ledger.seal_leaves', 'ledger.seal_check']::regclass[]) t;

-- One hash an entry. The bytes are record_send's: a count of fields, then each with its type, its length and its bytes
-- (length -1: NULL), nested; so no two contents give the same bytes. Texts are UTF-8. A record starts with 0x00 (it has
-- fewer than 2^24 fields), an inner node of the tree with 0x01.
--
-- Everything a reader of the entry relies on is inside: the batch and its place in knowledge order, the source, the
-- accounts by code and type, the currencies with their exponents. Postings or texts without their entry give a leaf of
-- their own, so they show.
--
-- Verification sends the text between the marks itself: a replaced function of the database deceives nobody.
CREATE FUNCTION ledger.entry_leaves(p_book_id int, p_first_seq bigint, p_last_seq bigint, p_low_batch bigint, p_high_batch bigint)
RETURNS TABLE (first_seq bigint, entry_id bigint, leaf bytea)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB' AS $leaves$
WITH head AS MATERIALIZED (
    SELECT b.batch_id, s.first_seq, sha256(record_send(ROW(
               b.batch_id, b.book_id, convert_to(k.name, 'UTF8'), k.functional_currency_id, convert_to(b.module, 'UTF8'),
               b.source_id, o.book_id, convert_to(o.kind, 'UTF8'), convert_to(o.name, 'UTF8'), convert_to(o.sha256, 'UTF8'),
               b.entry_count, b.posting_count, b.xid, b.system_identifier, b.recorded_at, convert_to(b.recorded_by::text, 'UTF8'),
               s.first_seq, s.last_seq, s.publication_id, p.last_seq, p.published_at))) AS facts
      FROM ledger.batch_seq s
      JOIN ledger.batch b ON b.batch_id = s.batch_id AND b.batch_id BETWEEN p_low_batch AND p_high_batch
      LEFT JOIN ledger.book k ON k.book_id = b.book_id
      LEFT JOIN ledger.source o ON o.source_id = b.source_id
      LEFT JOIN ledger.publication p ON p.publication_id = s.publication_id
     WHERE s.first_seq BETWEEN p_first_seq AND p_last_seq AND b.book_id = p_book_id),
leg AS (
    SELECT p.entry_id, string_agg(record_send(ROW(
               p.posting_id, p.amount_minor, p.account_id, a.code, a.type, a.book_id, a.currency_id, p.book_id,
               p.effective_date, p.currency_id, c.code, c.exponent)), NULL ORDER BY p.posting_id) AS postings
      FROM ledger.posting p
      LEFT JOIN ledger.account a ON a.account_id = p.account_id
      LEFT JOIN ledger.currency c ON c.currency_id = p.currency_id
     WHERE p.posting_id BETWEEN p_low_batch << 20 AND ((p_high_batch + 1) << 20) - 1
     GROUP BY p.entry_id)
SELECT h.first_seq, x.entry_id, sha256(record_send(ROW(
           h.facts, x.entry_id, x.book_id, x.effective_date, x.posting_count, x.first_posting_id, x.reverses_entry_id,
           convert_to(x.idempotency_key, 'UTF8'), convert_to(x.description, 'UTF8'), convert_to(x.reference, 'UTF8'),
           x.source_line, x.postings)))
  FROM (SELECT *
          FROM (SELECT * FROM ledger.entry e WHERE e.entry_id BETWEEN p_low_batch << 20 AND ((p_high_batch + 1) << 20) - 1) e
          FULL JOIN leg USING (entry_id)
          FULL JOIN (SELECT * FROM ledger.entry_text t
                      WHERE t.entry_id BETWEEN p_low_batch << 20 AND ((p_high_batch + 1) << 20) - 1) t USING (entry_id)) x
  JOIN head h ON h.batch_id = x.entry_id >> 20
 ORDER BY h.first_seq, x.entry_id
$leaves$;

-- The root of RFC 6962's tree over packed 32-byte leaves: pairs, level by level; a last one alone goes up unchanged.
CREATE FUNCTION ledger.merkle_root(p_leaves bytea) RETURNS bytea
LANGUAGE plpgsql IMMUTABLE STRICT SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_level bytea := p_leaves;
    v_count int   := octet_length(p_leaves) / 32;
BEGIN
    IF v_count = 0 THEN RETURN sha256(''::bytea); END IF;
    WHILE v_count > 1 LOOP
        v_level := (SELECT string_agg(CASE WHEN 2 * i + 1 < v_count
                                           THEN sha256('\x01'::bytea || substring(v_level FROM 64 * i + 1 FOR 64))
                                           ELSE substring(v_level FROM 64 * i + 1 FOR 32) END, NULL ORDER BY i)
                      FROM generate_series(0, (v_count - 1) / 2) i);
        v_count := (v_count + 1) / 2;
    END LOOP;
    RETURN v_level;
END $$;

-- Seals what is published and not yet sealed: whole batches, p_entries or more a seal, at most p_seals seals in this
-- transaction. Returns the number made. One at a time; nobody who posts waits for it.
CREATE FUNCTION ledger.seal(p_book_id int, p_entries int, p_seals int) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_last ledger.seal;
    v_part record; v_ids bytea; v_leaves bytea; v_root bytea;
    v_now  timestamptz := clock_timestamp();
    v_made int := 0;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.require_read_committed();
    IF p_entries < 1 OR p_seals < 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'invalid_parameter_value', CONSTRAINT = 'seal_size',
            MESSAGE = 'A seal covers at least one entry.', HINT = 'Give a number of entries above zero.';
    END IF;
    LOCK TABLE ledger.seal IN SHARE ROW EXCLUSIVE MODE;
    SELECT * INTO v_last FROM ledger.seal WHERE book_id = p_book_id ORDER BY seal_no DESC LIMIT 1;
    FOR v_part IN
        SELECT max(w.last_seq) AS last_seq, min(w.batch_id) AS low, max(w.batch_id) AS high, sum(w.entry_count) AS entries
          FROM (SELECT n.*, (sum(n.entry_count) OVER (ORDER BY n.first_seq) - n.entry_count) / p_entries AS part
                  FROM (SELECT s.batch_id, s.first_seq, s.last_seq, b.entry_count
                          FROM ledger.batch_seq s JOIN ledger.batch b USING (batch_id)
                         WHERE s.first_seq > coalesce(v_last.last_seq, 0) AND b.book_id = p_book_id
                         ORDER BY s.first_seq LIMIT p_entries::bigint * p_seals) n) w
         GROUP BY w.part ORDER BY w.part LIMIT p_seals
    LOOP
        SELECT string_agg(int8send(l.entry_id), NULL ORDER BY l.first_seq, l.entry_id),
               string_agg(l.leaf, NULL ORDER BY l.first_seq, l.entry_id)
          INTO v_ids, v_leaves
          FROM ledger.entry_leaves(p_book_id, coalesce(v_last.last_seq, 0) + 1, v_part.last_seq, v_part.low, v_part.high) l;
        IF octet_length(v_leaves) / 32 IS DISTINCT FROM v_part.entries THEN
            RAISE EXCEPTION USING ERRCODE = 'data_exception', CONSTRAINT = 'seal_complete',
                MESSAGE = format('The batches of sequence %s to %s count %s entries, the books hold %s.', coalesce(v_last.last_seq, 0) + 1,
                                 v_part.last_seq, v_part.entries, coalesce(octet_length(v_leaves) / 32, 0)),
                HINT = 'Run nostro verify; someone has changed the books.';
        END IF;
        v_root := ledger.merkle_root(v_leaves);
        INSERT INTO ledger.seal (book_id, seal_no, first_seq, last_seq, entry_count, root, previous, digest, sealed_at)
        SELECT g.book_id, g.seal_no, g.first_seq, g.last_seq, g.entry_count, g.root, g.previous, sha256(record_send(g)), g.sealed_at
          FROM (SELECT p_book_id AS book_id, coalesce(v_last.seal_no, 0) + 1 AS seal_no, coalesce(v_last.last_seq, 0) + 1 AS first_seq,
                       v_part.last_seq AS last_seq, v_part.entries::int AS entry_count, v_root AS root,
                       coalesce(v_last.digest, decode(repeat('00', 32), 'hex')) AS previous, v_now AS sealed_at) g
        RETURNING * INTO v_last;
        INSERT INTO ledger.seal_leaves (book_id, seal_no, entry_ids, leaves) VALUES (p_book_id, v_last.seal_no, v_ids, v_leaves);
        v_made := v_made + 1;
    END LOOP;
    RETURN v_made;
END $$;

CREATE FUNCTION ledger.note_seal_check(p_book_id int, p_seal_no int, p_digest bytea) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    INSERT INTO ledger.seal_check (book_id, seal_no, digest) VALUES (p_book_id, p_seal_no, p_digest)
$$;

GRANT SELECT ON ledger.seal, ledger.seal_leaves, ledger.seal_check TO :app;
GRANT EXECUTE ON FUNCTION ledger.merkle_root, ledger.seal, ledger.note_seal_check TO :app;

-- What an auditor gets: every field that the hashes cover, as JSON, batches and entries of a range of the order.
CREATE FUNCTION ledger.audit_batches(p_book_id int, p_first_seq bigint, p_last_seq bigint)
RETURNS TABLE (first_seq bigint, line json)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET timezone = 'UTC' AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT s.first_seq, json_build_object(
               'batch_id', b.batch_id, 'book_id', b.book_id, 'book', k.name, 'functional_currency_id', k.functional_currency_id,
               'module', b.module, 'source_id', b.source_id, 'source_book_id', o.book_id, 'source_kind', o.kind,
               'source_name', o.name, 'source_sha256', o.sha256, 'entry_count', b.entry_count, 'posting_count', b.posting_count,
               'xid', b.xid::text, 'system_identifier', b.system_identifier, 'recorded_at', b.recorded_at,
               'recorded_by', b.recorded_by, 'first_seq', s.first_seq, 'last_seq', s.last_seq,
               'publication_id', s.publication_id, 'published_last_seq', p.last_seq, 'published_at', p.published_at)
      FROM ledger.batch_seq s JOIN ledger.batch b USING (batch_id)
      LEFT JOIN ledger.book k ON k.book_id = b.book_id
      LEFT JOIN ledger.source o ON o.source_id = b.source_id
      LEFT JOIN ledger.publication p ON p.publication_id = s.publication_id
     WHERE s.first_seq BETWEEN p_first_seq AND p_last_seq AND b.book_id = p_book_id
     ORDER BY s.first_seq
$$;
CREATE FUNCTION ledger.audit_entries(p_book_id int, p_first_seq bigint, p_last_seq bigint)
RETURNS TABLE (entry_id bigint, line json)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB' AS $$
    SELECT ledger.require_book(p_book_id);
    WITH head AS MATERIALIZED (
        SELECT s.batch_id, s.first_seq FROM ledger.batch_seq s JOIN ledger.batch b USING (batch_id)
         WHERE s.first_seq BETWEEN p_first_seq AND p_last_seq AND b.book_id = p_book_id),
    bound AS MATERIALIZED (SELECT min(batch_id) << 20 AS low, ((max(batch_id) + 1) << 20) - 1 AS high FROM head),
    leg AS (
        SELECT p.entry_id, json_agg(json_build_object(
                   'posting_id', p.posting_id, 'amount_minor', p.amount_minor, 'account_id', p.account_id, 'account', a.code,
                   'account_type', a.type, 'account_book_id', a.book_id, 'account_currency_id', a.currency_id, 'book_id', p.book_id,
                   'effective_date', p.effective_date, 'currency_id', p.currency_id, 'currency', c.code, 'exponent', c.exponent)
                   ORDER BY p.posting_id) AS postings
          FROM ledger.posting p LEFT JOIN ledger.account a ON a.account_id = p.account_id
          LEFT JOIN ledger.currency c ON c.currency_id = p.currency_id
         WHERE p.posting_id BETWEEN (SELECT low FROM bound) AND (SELECT high FROM bound) GROUP BY p.entry_id)
    SELECT e.entry_id, json_build_object(
               'batch_id', h.batch_id, 'entry_id', e.entry_id, 'book_id', e.book_id, 'effective_date', e.effective_date,
               'posting_count', e.posting_count, 'first_posting_id', e.first_posting_id, 'reverses_entry_id', e.reverses_entry_id,
               'key', e.idempotency_key, 'description', t.description, 'reference', t.reference, 'source_line', t.source_line,
               'postings', l.postings)
      FROM ledger.entry e JOIN head h ON h.batch_id = e.entry_id >> 20
      LEFT JOIN leg l ON l.entry_id = e.entry_id
      LEFT JOIN ledger.entry_text t ON t.entry_id = e.entry_id
     WHERE e.entry_id BETWEEN (SELECT low FROM bound) AND (SELECT high FROM bound)
     ORDER BY h.first_seq, e.entry_id
$$;
GRANT EXECUTE ON FUNCTION ledger.audit_batches, ledger.audit_entries TO :app;

-- Invariant 1 over what became known after a point of the order: what verify checks, proportional to what is new.
CREATE FUNCTION ledger.verify_after(p_book_id int, p_after_seq bigint)
RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH head AS MATERIALIZED (
        SELECT b.batch_id, b.entry_count FROM ledger.batch_seq s JOIN ledger.batch b USING (batch_id)
         WHERE s.first_seq > p_after_seq AND b.book_id = p_book_id),
    bound AS MATERIALIZED (SELECT min(batch_id) << 20 AS low, ((max(batch_id) + 1) << 20) - 1 AS high FROM head),
    new_entry AS MATERIALIZED (
        SELECT e.* FROM ledger.entry e WHERE e.book_id = p_book_id AND e.entry_id BETWEEN (SELECT low FROM bound) AND (SELECT high FROM bound)),
    new_posting AS MATERIALIZED (
        SELECT p.* FROM ledger.posting p WHERE p.book_id = p_book_id AND p.posting_id BETWEEN (SELECT low FROM bound) AND (SELECT high FROM bound))
    SELECT 1, 'entry ' || entry_id, format('sums to %s in currency %s', sum(amount_minor), currency_id)
      FROM new_posting GROUP BY entry_id, currency_id HAVING sum(amount_minor) <> 0
    UNION ALL
    SELECT 1, 'entry ' || e.entry_id, format('declares %s postings, has %s', e.posting_count, coalesce(p.n, 0))
      FROM new_entry e LEFT JOIN (SELECT entry_id, count(*) AS n FROM new_posting GROUP BY entry_id) p USING (entry_id)
     WHERE e.posting_count IS DISTINCT FROM p.n
    UNION ALL
    SELECT 1, 'posting ' || p.posting_id, 'has no entry, or not its entry''s date, or not its account''s currency or book'
      FROM new_posting p LEFT JOIN new_entry e USING (entry_id) LEFT JOIN ledger.account a USING (account_id)
     WHERE e.entry_id IS NULL OR a.currency_id IS DISTINCT FROM p.currency_id OR a.book_id IS DISTINCT FROM p.book_id
        OR e.effective_date <> p.effective_date
    UNION ALL
    SELECT 2, 'batch ' || h.batch_id, format('posted %s entries, has %s', h.entry_count, coalesce(e.n, 0))
      FROM head h LEFT JOIN (SELECT entry_id >> 20 AS batch_id, count(*) AS n FROM new_entry GROUP BY 1) e USING (batch_id)
     WHERE h.entry_count IS DISTINCT FROM e.n
$$;
GRANT EXECUTE ON FUNCTION ledger.verify_after TO :app;
