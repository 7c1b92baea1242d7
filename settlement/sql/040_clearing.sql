-- Which postings a payment has taken, what came back, and what is held.
-- Invariant 10: a payable posting is in at most one clearing group, for ever.

-- The postings that a group takes are its obligation's (ids, and batches of which it takes all that lies on the account in
-- blocks), and its own clearing debit. The groups of an account are counted without a gap, so whoever writes one has every one before it to compare with (ADR 0011).
CREATE TABLE settlement.clearing_group (
    group_id             bigint PRIMARY KEY,
    book_id              int NOT NULL,
    account_id           int NOT NULL,
    clearing_no          int NOT NULL CHECK (clearing_no > 0),
    latest_cut_id        bigint NOT NULL,
    member_count         int NOT NULL CHECK (member_count > 0),
    low_posting_id       bigint NOT NULL,
    high_posting_id      bigint NOT NULL,
    entry_id             bigint,
    clearing_posting_id  bigint,
    transit_posting_id   bigint,
    remainder_posting_id bigint,
    CONSTRAINT clearing_group_order UNIQUE (account_id, clearing_no),
    CONSTRAINT clearing_group_transit UNIQUE (transit_posting_id),
    CONSTRAINT clearing_group_paid_or_zero
        CHECK (num_nonnulls(entry_id, clearing_posting_id, transit_posting_id) IN (0, 3)
               AND transit_posting_id = clearing_posting_id + 1  -- so no entry and no debit is of two groups, either
               AND (entry_id IS NOT NULL OR remainder_posting_id IS NULL))
);
COMMENT ON TABLE settlement.clearing_group IS
    'A payee''s postings cleared together; without an entry they cleared each other (zero net). Id = obligation.';
CREATE UNIQUE INDEX clearing_group_remainder ON settlement.clearing_group (remainder_posting_id)
    WHERE remainder_posting_id IS NOT NULL;
-- Which groups of an account can have taken a posting: those that reach as far.
CREATE INDEX clearing_group_reach ON settlement.clearing_group (account_id, greatest(high_posting_id, clearing_posting_id));
COMMENT ON CONSTRAINT clearing_group_order ON settlement.clearing_group IS
    'Who writes the next group of an account has seen every one before it; of two at once, one fails.';
COMMENT ON COLUMN settlement.clearing_group.clearing_no IS 'The order in which the groups of an account cleared: 1, 2, 3, …';
COMMENT ON COLUMN settlement.clearing_group.latest_cut_id IS
    'The greatest obligation of the account''s groups up to this one, which was cut last: where the account''s frontier is.';
COMMENT ON COLUMN settlement.clearing_group.member_count IS 'The postings of its obligation, and its clearing debit.';
COMMENT ON COLUMN settlement.clearing_group.low_posting_id IS
    'The least posting of its obligation (a batch that it takes whole counts from its beginning); high_posting_id the greatest (to its end).';

CREATE VIEW settlement.clearing_member AS
SELECT g.book_id, m.posting_id, g.group_id, g.account_id
  FROM settlement.clearing_group g
  JOIN settlement.obligation o ON o.obligation_id = g.group_id
 CROSS JOIN LATERAL (SELECT unnest(o.posting_ids) UNION ALL
                     SELECT (b.batch_id << 20) + unnest(b.posting_nos) FROM ledger.posting_block b
                      WHERE b.account_id = o.account_id AND b.batch_id = ANY (o.whole_batch_ids) UNION ALL
                     SELECT g.clearing_posting_id WHERE g.clearing_posting_id IS NOT NULL) m (posting_id);
COMMENT ON VIEW settlement.clearing_member IS
    'What each clearing group has taken, a posting a row: to read by group or in bulk. By posting: settlement.clearing_of.';

-- Which of these postings a group has taken: one look at each by its key, then at the groups of its account that lie around it.
CREATE FUNCTION settlement.clearing_of(p_posting_ids bigint[]) RETURNS TABLE (posting_id bigint, group_id bigint, book_id int)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan
SET enable_hashjoin = off SET enable_mergejoin = off SET enable_seqscan = off AS $$
    SELECT p.posting_id, g.group_id, g.book_id
      FROM ledger.posting p
     CROSS JOIN LATERAL (
           SELECT * FROM settlement.clearing_group g
            WHERE g.account_id = p.account_id AND greatest(g.high_posting_id, g.clearing_posting_id) >= p.posting_id
              AND (p.posting_id BETWEEN g.low_posting_id AND g.high_posting_id OR p.posting_id = g.clearing_posting_id) OFFSET 0) g
     CROSS JOIN LATERAL (SELECT o.posting_ids, o.whole_batch_ids FROM settlement.obligation o WHERE o.obligation_id = g.group_id LIMIT 1) o
     WHERE p.posting_id = ANY (p_posting_ids)
       AND (p.posting_id = g.clearing_posting_id OR p.posting_id = ANY (o.posting_ids) OR p.posting_id >> 20 = ANY (o.whole_batch_ids))
$$;

CREATE FUNCTION settlement.is_cleared(p_posting_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM settlement.clearing_of(ARRAY[p_posting_id]))
$$;

-- A group is whole: the postings of its obligation, once each, and its own clearing debit exist, lie on the payee's account,
-- are as many as the group says, and sum to zero. Batches taken whole are answered for by their blocks' totals, each batch
-- once and none of the ids in one of them. Of the ids mostly all are taken that lie on the account between the first and the last of
-- them: then reading that shows it. Else each posting is looked up by its key.
-- And invariant 10: it takes nothing that a group before it has taken. What two groups share lies within the reach of
-- both, so most pairs need no look at their postings. Groups at once cannot miss each other: both would be the next of
-- their account, and the key of clearing_no lets one through (the other waits, and then fails or is counted later).
CREATE FUNCTION settlement.check_groups() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
SET enable_mergejoin = off SET enable_memoize = off AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.*, o.posting_ids IS NOT NULL AS is_obligation, w.found + coalesce(m.found, 0) + num_nonnulls(d.amount_minor) AS found,
           coalesce(w.total, 0) + coalesce(m.total, 0) + coalesce(d.amount_minor, 0) AS total, last.is_next INTO v_bad
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT o.account_id, o.posting_ids, o.whole_batch_ids FROM settlement.obligation o
                          WHERE o.obligation_id = n.group_id LIMIT 1) o ON o.account_id = n.account_id
     CROSS JOIN LATERAL (
           SELECT count(*) FILTER (WHERE b.block_no = 0) AS batches, coalesce(sum(cardinality(b.posting_nos)), 0) AS found, sum(b.total_minor) AS total,
                  min(b.batch_id) AS low, max(b.batch_id) AS high
             FROM ledger.posting_block b WHERE b.account_id = n.account_id AND b.batch_id = ANY (o.whole_batch_ids)) w
      LEFT JOIN LATERAL (
           SELECT m.* FROM (
                  SELECT s.posting_ids = o.posting_ids OR array_sort(s.posting_ids) = o.posting_ids AS is_all, s.total
                    FROM (SELECT array_agg(s.posting_id) AS posting_ids, sum(s.amount_minor) AS total
                            FROM (SELECT p.posting_id, p.amount_minor FROM ledger.posting p
                                   WHERE p.account_id = n.account_id AND NOT p.in_block AND p.posting_id >= o.posting_ids[1]
                                     AND p.posting_id <= o.posting_ids[cardinality(o.posting_ids)]
                                   LIMIT cardinality(o.posting_ids) + 1) s OFFSET 0) s OFFSET 0) span
            CROSS JOIN LATERAL (
                  SELECT cardinality(o.posting_ids)::bigint AS found, span.total, o.posting_ids[1] AS low,
                         o.posting_ids[cardinality(o.posting_ids)] AS high, false AS is_inside
                   WHERE span.is_all
                  UNION ALL
                  SELECT count(*), sum(p.amount_minor), min(p.posting_id), max(p.posting_id),
                         coalesce(bool_or(p.posting_id >> 20 = ANY (o.whole_batch_ids)), false)
                    FROM ledger.posting p WHERE p.account_id = n.account_id AND p.posting_id = ANY (o.posting_ids)
                     AND span.is_all IS NOT TRUE
                  HAVING span.is_all IS NOT TRUE) m
            WHERE o.posting_ids <> '{}' OFFSET 0) m ON true
      LEFT JOIN LATERAL (SELECT p.amount_minor, p.book_id, p.entry_id FROM ledger.posting p
                          WHERE p.posting_id = n.clearing_posting_id AND p.account_id = n.account_id LIMIT 1) d ON true
      LEFT JOIN LATERAL (SELECT g.latest_cut_id FROM settlement.clearing_group g
                          WHERE g.account_id = n.account_id AND g.clearing_no = n.clearing_no - 1 LIMIT 1) before ON true
     CROSS JOIN LATERAL (SELECT (n.clearing_no = 1 OR before.latest_cut_id IS NOT NULL)
                                AND n.latest_cut_id = greatest(before.latest_cut_id, n.group_id) AS is_next) last
     WHERE (last.is_next AND n.book_id = CASE WHEN n.clearing_posting_id IS NULL
                                              THEN (SELECT a.book_id FROM ledger.account a WHERE a.account_id = n.account_id) ELSE d.book_id END
            AND coalesce(m.found, 0) = cardinality(o.posting_ids) AND w.batches = cardinality(o.whole_batch_ids) AND m.is_inside IS NOT TRUE
            AND w.found + coalesce(m.found, 0) + num_nonnulls(n.clearing_posting_id) = n.member_count
            AND least(m.low, w.low << 20) = n.low_posting_id AND greatest(m.high, ((w.high + 1) << 20) - 1) = n.high_posting_id
            AND (n.clearing_posting_id IS NULL
                 OR d.entry_id = n.entry_id AND (n.clearing_posting_id > n.high_posting_id
                    OR n.clearing_posting_id <> ALL (o.posting_ids) AND n.clearing_posting_id >> 20 <> ALL (o.whole_batch_ids)))
            AND coalesce(w.total, 0) + coalesce(m.total, 0) + coalesce(d.amount_minor, 0) = 0) IS NOT TRUE
     LIMIT 1;
    IF FOUND AND NOT v_bad.is_obligation THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_group_obligation',
            MESSAGE = format('Clearing group %s is not on the account of an obligation.', v_bad.group_id);
    ELSIF FOUND AND NOT v_bad.is_next THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_group_order',
            MESSAGE = format('Clearing group %s cannot be number %s of its account, with cut %s the latest: it does not follow the one before it.',
                             v_bad.group_id, v_bad.clearing_no, v_bad.latest_cut_id),
            HINT = 'Try again: another payment of the account was under way.';
    ELSIF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_group_zero',
            MESSAGE = format('Clearing group %s is not whole: of %s members %s are postings of its payee''s account, summing to %s.',
                             v_bad.group_id, v_bad.member_count, v_bad.found, coalesce(v_bad.total, 0)),
            HINT = 'Members and clearing debit must be all of the group, at once, and sum to zero.';
    END IF;
    SELECT c.posting_id, y.code INTO v_bad
      FROM new_rows n
     CROSS JOIN LATERAL (
           SELECT g.group_id, g.clearing_posting_id,
                  g.low_posting_id <= greatest(n.high_posting_id, n.clearing_posting_id)
                  AND g.high_posting_id >= least(n.low_posting_id, n.clearing_posting_id) AS is_around
             FROM settlement.clearing_group g
            WHERE g.account_id = n.account_id AND g.group_id <> n.group_id
              AND greatest(g.high_posting_id, g.clearing_posting_id) >= least(n.low_posting_id, n.clearing_posting_id) OFFSET 0) g
     CROSS JOIN LATERAL (SELECT o.posting_ids || n.clearing_posting_id AS posting_ids, o.whole_batch_ids
                           FROM settlement.obligation o WHERE o.obligation_id = n.group_id LIMIT 1) o
     CROSS JOIN LATERAL (
           SELECT m.posting_id FROM unnest(o.posting_ids) m (posting_id)
            WHERE g.is_around AND m.posting_id IN (SELECT unnest(w.posting_ids) FROM settlement.obligation w
                                                    WHERE w.obligation_id = g.group_id)
           UNION ALL
           SELECT m.posting_id FROM unnest(o.posting_ids) m (posting_id)
            WHERE g.is_around AND m.posting_id >> 20 IN (SELECT unnest(w.whole_batch_ids) FROM settlement.obligation w
                                                          WHERE w.obligation_id = g.group_id)
           UNION ALL
           SELECT (SELECT min((b.batch_id << 20) + b.posting_nos[1]) FROM ledger.posting_block b
                    WHERE b.account_id = n.account_id AND b.batch_id = m.batch_id)
             FROM unnest(o.whole_batch_ids) m (batch_id)
            WHERE g.is_around AND m.batch_id IN (SELECT unnest(w.whole_batch_ids) FROM settlement.obligation w WHERE w.obligation_id = g.group_id
                                                 UNION ALL
                                                 SELECT u.posting_id >> 20 FROM settlement.obligation w CROSS JOIN LATERAL unnest(w.posting_ids) u (posting_id)
                                                  WHERE w.obligation_id = g.group_id)
           UNION ALL
           SELECT g.clearing_posting_id WHERE g.clearing_posting_id = ANY (o.posting_ids) OR g.clearing_posting_id >> 20 = ANY (o.whole_batch_ids)) c
      LEFT JOIN settlement.payee y ON y.account_id = n.account_id
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'clearing_member_once',
            MESSAGE = format('Posting %s of payee %s was cleared by another payment.', v_bad.posting_id, v_bad.code),
            HINT = 'A posting is cleared at most once, for ever.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_groups AFTER INSERT ON settlement.clearing_group
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_groups();
ALTER TABLE settlement.clearing_group ENABLE ALWAYS TRIGGER check_groups;

-- The same from the rows as they stand, for `nostro verify`: nothing is taken twice, every group is whole.
CREATE FUNCTION settlement.verify_clearing(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off AS $$
    SELECT ledger.require_book(p_book_id);
    WITH member AS MATERIALIZED (
        SELECT m.group_id, m.account_id, m.posting_id, p.account_id AS lies_on, p.amount_minor
          FROM settlement.clearing_member m LEFT JOIN ledger.posting p ON p.posting_id = m.posting_id
         WHERE m.book_id = p_book_id
    ), whole AS (
        SELECT m.group_id, count(*) AS found, sum(m.amount_minor) FILTER (WHERE m.lies_on = m.account_id) AS total,
               bool_and(m.lies_on IS NOT DISTINCT FROM m.account_id) AS in_place
          FROM member m GROUP BY m.group_id
    )
    SELECT 10, 'posting ' || m.posting_id, format('taken by %s clearing groups', count(*))
      FROM member m GROUP BY m.posting_id HAVING count(*) > 1
    UNION ALL
    SELECT 10, 'clearing group ' || g.group_id,
           format('of %s members %s are there, summing to %s', g.member_count, coalesce(w.found, 0), coalesce(w.total, 0))
      FROM settlement.clearing_group g LEFT JOIN whole w ON w.group_id = g.group_id
     WHERE g.book_id = p_book_id AND (w.found = g.member_count AND w.total = 0 AND w.in_place) IS NOT TRUE
    UNION ALL
    SELECT 10, 'clearing group ' || g.group_id, format('says that cut %s is the latest of its account, and %s is', g.latest_cut_id, g.latest)
      FROM (SELECT g.group_id, g.latest_cut_id, max(g.group_id) OVER (PARTITION BY g.account_id ORDER BY g.clearing_no) AS latest
              FROM settlement.clearing_group g WHERE g.book_id = p_book_id) g
     WHERE g.latest_cut_id <> g.latest
    UNION ALL
    SELECT 10, 'file ' || f.file_id, format('stands at its event %s, and has %s', coalesce(s.ordinal, 0), e.last)
      FROM settlement.payment_file f
      JOIN (SELECT e.file_id, max(e.ordinal) AS last FROM settlement.file_event e GROUP BY e.file_id) e ON e.file_id = f.file_id
      LEFT JOIN settlement.file_standing s ON s.file_id = f.file_id
     WHERE f.book_id = p_book_id AND s.ordinal IS DISTINCT FROM e.last
$$;
GRANT EXECUTE ON FUNCTION settlement.verify_clearing TO :app;

CREATE TABLE settlement.reopening (
    instruction_id     bigint NOT NULL,
    part               int NOT NULL CHECK (part > 0),
    kind               text NOT NULL CHECK (kind IN ('reject', 'return', 'cancel', 'taken_back')),
    entry_id           bigint NOT NULL,
    transit_posting_id bigint NOT NULL UNIQUE,
    payable_posting_id bigint NOT NULL UNIQUE,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    back_minor         bigint NOT NULL CHECK (back_minor >= 0),
    reason             text NOT NULL,
    message_id         bigint REFERENCES settlement.message_received,
    line_posting_id    bigint CONSTRAINT reopening_line_once UNIQUE,
    recorded_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reopening_once PRIMARY KEY (instruction_id, part),
    CONSTRAINT reopening_sealed FOREIGN KEY (instruction_id) REFERENCES settlement.clearing_group,
    CONSTRAINT reopening_whole CHECK (kind IN ('return', 'taken_back') OR (part = 1 AND back_minor = amount_minor))
);
COMMENT ON TABLE settlement.reopening IS
    'What came back of an instruction, part by part: rejected or cancelled (whole, once), returned, or a return that the bank took back.';
COMMENT ON COLUMN settlement.reopening.back_minor IS 'What is back after this part, of all parts: 0 up to the instruction''s amount.';
COMMENT ON COLUMN settlement.reopening.line_posting_id IS
    'The T posting of the statement line that proves a return; a line re-opens once.';

-- Parts are counted without a gap, each goes on from what was back before it, and never more is back than was paid.
CREATE FUNCTION settlement.check_reopenings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.instruction_id, n.part, n.back_minor, i.amount_minor INTO v_bad
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT i.amount_minor FROM settlement.instruction i WHERE i.instruction_id = n.instruction_id LIMIT 1) i ON true
      LEFT JOIN settlement.reopening was ON was.instruction_id = n.instruction_id AND was.part = n.part - 1
     WHERE (CASE WHEN n.part > 1 THEN was.kind IN ('return', 'taken_back') ELSE n.kind <> 'taken_back' END
            AND n.back_minor = coalesce(was.back_minor, 0) + CASE n.kind WHEN 'taken_back' THEN -n.amount_minor ELSE n.amount_minor END
            AND CASE WHEN n.kind IN ('return', 'taken_back') THEN n.back_minor <= i.amount_minor
                     ELSE n.back_minor = i.amount_minor END) IS NOT TRUE
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'reopening_total',
            MESSAGE = format('Of instruction %s, which paid %s minor units, part %s would bring what is back to %s.',
                             v_bad.instruction_id, coalesce(v_bad.amount_minor::text, 'no'), v_bad.part, v_bad.back_minor);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER reopening_check AFTER INSERT ON settlement.reopening
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_reopenings();
ALTER TABLE settlement.reopening ENABLE ALWAYS TRIGGER reopening_check;

CREATE VIEW settlement.reopening_last AS
SELECT r.*
  FROM settlement.reopening r
  LEFT JOIN settlement.reopening later ON later.instruction_id = r.instruction_id AND later.part = r.part + 1
 WHERE later.instruction_id IS NULL;

CREATE TABLE settlement.hold (
    hold_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id          int NOT NULL REFERENCES ledger.book,
    posting_id       bigint NOT NULL,
    payee_version_id bigint NOT NULL REFERENCES settlement.payee_version,
    instruction_id   bigint,
    part             int,
    stopped_id       bigint,
    ends_by_details  boolean NOT NULL DEFAULT false,
    reason           text NOT NULL,
    held_by          text NOT NULL DEFAULT session_user,
    held_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT hold_reopening FOREIGN KEY (instruction_id, part) REFERENCES settlement.reopening,
    CONSTRAINT hold_part CHECK ((instruction_id IS NULL) = (part IS NULL))
);
CREATE INDEX hold_posting ON settlement.hold (posting_id);
CREATE INDEX hold_stopped ON settlement.hold (stopped_id) WHERE stopped_id IS NOT NULL;
CREATE INDEX hold_version ON settlement.hold (payee_version_id);
COMMENT ON TABLE settlement.hold IS
    'A posting not to be paid until a person releases it or, where it says so, the payee''s bank details change.';
COMMENT ON COLUMN settlement.hold.stopped_id IS 'The payment (not sealed) that a person stopped, of which this posting was a part.';
COMMENT ON COLUMN settlement.hold.ends_by_details IS
    'Whether other bank details than those of payee_version_id end it: what came back, unless its policy is stop. They prove nothing of a dispute, or of what a person had stopped.';

CREATE TABLE settlement.hold_release (
    hold_id     bigint PRIMARY KEY REFERENCES settlement.hold,
    reason      text NOT NULL CHECK (reason <> ''),
    released_by text NOT NULL DEFAULT session_user,
    released_at timestamptz NOT NULL DEFAULT now()
);

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.clearing_group', 'settlement.reopening', 'settlement.hold',
    'settlement.hold_release']) name;

SELECT settlement.keep_outstanding('settlement.hold', 'hold', 'hold_id'),
       settlement.keep_outstanding('settlement.hold_release', 'hold', 'hold_id');

CREATE VIEW settlement.hold_active AS
SELECT h.*
  FROM settlement.outstanding o
 CROSS JOIN LATERAL (SELECT * FROM settlement.hold h WHERE h.hold_id = o.id LIMIT 1) h
 WHERE o.what = 'hold';
COMMENT ON VIEW settlement.hold_active IS 'Holds that nobody released and that no new bank details have ended.';

CREATE FUNCTION settlement.is_held(p_posting_id bigint) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT EXISTS (SELECT FROM settlement.hold h
                    CROSS JOIN LATERAL (SELECT FROM settlement.outstanding o WHERE o.what = 'hold' AND o.id = h.hold_id LIMIT 1) o
                    WHERE h.posting_id = p_posting_id)
$$;

GRANT SELECT ON settlement.clearing_group, settlement.clearing_member, settlement.reopening, settlement.reopening_last,
    settlement.hold, settlement.hold_release, settlement.hold_active TO :app;
