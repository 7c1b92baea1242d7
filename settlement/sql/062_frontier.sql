-- How netting finds open items without reading what was settled long ago: each payee's account has a frontier, a
-- posting id below which everything is cleared but a short list. It is where the account's latest cut ended, and what that
-- cut left out: an obligation says both. Open = the list + what stands above it, less what groups have taken since.
--
-- Ids are not commit order: a batch may draw an early id and commit late, below a frontier that has passed it. So a
-- frontier only ever rises to a batch id of which a mark proves that every batch up to it has ended: a mark keeps
-- the last id drawn and then the next transaction number; a batch's transaction has its number before it draws its
-- id (ledger.post_core), so once no transaction below that number runs, no such batch can appear any more.

CREATE TABLE settlement.batch_mark (
    mark_id       bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    last_batch_id bigint NOT NULL,
    next_xid      xid8   NOT NULL,
    recorded_at   timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE settlement.batch_mark IS
    'Every batch up to last_batch_id has ended once no transaction below next_xid runs.';

SELECT ledger.make_append_only('settlement.batch_mark');
GRANT SELECT ON settlement.batch_mark TO :app;

CREATE FUNCTION settlement.mark_batches() RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    -- In this order: the id first, the transaction number by a later statement.
    v_last bigint := coalesce(pg_sequence_last_value('ledger.batch_id_seq'), 0);
BEGIN
    INSERT INTO settlement.batch_mark (last_batch_id, next_xid)
    SELECT v_last, pg_snapshot_xmax(pg_current_snapshot())
     WHERE v_last > coalesce((SELECT m.last_batch_id FROM settlement.batch_mark m ORDER BY m.mark_id DESC LIMIT 1), 0);
END $$;

-- The highest posting id that is certain to have nothing new appear at or below it, but by the caller's own transaction.
CREATE FUNCTION settlement.ended_through() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT ((m.last_batch_id + 1) << 20) - 1 FROM settlement.batch_mark m
                      WHERE NOT EXISTS (SELECT FROM pg_snapshot_xip(pg_current_snapshot()) other (xid) WHERE other.xid < m.next_xid)
                      ORDER BY m.mark_id DESC LIMIT 1), 0)
$$;

-- The same, now: when nobody else is writing, everything there is has ended; else what the marks prove. Each question is
-- a statement of its own: the last id first, the transactions that run after it.
CREATE FUNCTION settlement.cut_line() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_last bigint := coalesce(pg_sequence_last_value('ledger.batch_id_seq'), 0);
BEGIN
    PERFORM FROM pg_snapshot_xip(pg_current_snapshot()) other (xid);
    RETURN CASE WHEN FOUND THEN settlement.ended_through() ELSE ((v_last + 1) << 20) - 1 END;
END $$;

-- Payees with their frontier: the end of the cut of the latest of their cleared obligations (a bank account's cuts are made one
-- after the other, and obligations numbered in their order). What was cleared before that cut lies below and is not on its
-- list. What was cleared since has a clearing debit above, which is how those groups are found (cleared_since), the
-- obligation's own included.
-- What a cut left out is mostly what was sold in the last days (T+n) and is read in one sweep with what stands above;
-- old disputes are looked up one by one (strays). read_from_id: everything above it is read.
CREATE VIEW settlement.payee_frontier AS
SELECT y.payee_id, y.account_id, y.bank_account_id, y.payee_version_id, y.code, y.schedule, y.delay_days, y.hold, y.negative, y.minimum_minor,
       y.maximum_minor, y.reserve_bps, y.reserve_fixed_minor, m.through_posting_id, m.left_open,
       CASE WHEN d.is_dense THEN m.left_open[1] - 1 ELSE m.through_posting_id END AS read_from_id,
       CASE WHEN d.is_dense THEN '{}' ELSE m.left_open END AS strays
  FROM (SELECT * FROM settlement.payee_current c ORDER BY c.account_id) y  -- neighbours lie on the same pages
  LEFT JOIN LATERAL (SELECT g.latest_cut_id AS group_id FROM settlement.clearing_group g WHERE g.account_id = y.account_id
                      ORDER BY g.clearing_no DESC LIMIT 1) g ON true
  LEFT JOIN LATERAL (SELECT o.cut_through_id, o.left_out_ids FROM settlement.obligation o WHERE o.obligation_id = g.group_id LIMIT 1) o ON true
 CROSS JOIN LATERAL (
       SELECT coalesce(o.cut_through_id, 0) AS through_posting_id,
              CASE WHEN o.cut_through_id IS NULL OR o.left_out_ids = '{}' THEN '{}'
                   WHEN o.left_out_ids[cardinality(o.left_out_ids)] > o.cut_through_id
                        OR EXISTS (SELECT FROM settlement.clearing_group w  -- since, and may have taken something of what the cut left out
                                    WHERE w.account_id = y.account_id AND greatest(w.high_posting_id, w.clearing_posting_id) > o.cut_through_id
                                      AND w.group_id <> g.group_id
                                      AND (w.high_posting_id >= o.left_out_ids[1] OR w.clearing_posting_id = ANY (o.left_out_ids))) THEN ARRAY(
                        SELECT l.posting_id FROM unnest(o.left_out_ids) l (posting_id) WHERE l.posting_id <= o.cut_through_id
                        EXCEPT
                        SELECT t.posting_id
                          FROM (SELECT * FROM settlement.clearing_group w
                                 WHERE w.account_id = y.account_id AND greatest(w.high_posting_id, w.clearing_posting_id) > o.cut_through_id OFFSET 0) w
                         CROSS JOIN LATERAL (SELECT u.* FROM settlement.obligation u WHERE u.obligation_id = w.group_id LIMIT 1) u
                         CROSS JOIN LATERAL (SELECT x.posting_id FROM settlement.taken_postings(u.account_id, u.posting_ids, u.whole_batch_ids) x
                                             UNION ALL SELECT w.clearing_posting_id WHERE w.clearing_posting_id IS NOT NULL) t
                         ORDER BY 1)
                   ELSE o.left_out_ids END AS left_open OFFSET 0) m
 CROSS JOIN LATERAL (SELECT coalesce(m.left_open <> '{}' AND (m.through_posting_id >> 20) - (m.left_open[1] >> 20) <= 2 * cardinality(m.left_open),
                                     false) AS is_dense) d;

-- The groups that reading from the frontier may meet something of.
CREATE VIEW settlement.cleared_since AS
SELECT y.bank_account_id, y.payee_id, y.account_id, g.group_id, g.clearing_posting_id,
       -- what it settled lies below the frontier, and before the first that it left open: only its debit is met
       g.high_posting_id < coalesce(y.left_open[1], y.through_posting_id + 1) AS is_below
  FROM settlement.payee_frontier y
 CROSS JOIN LATERAL (SELECT * FROM settlement.clearing_group g
                      WHERE g.account_id = y.account_id AND greatest(g.high_posting_id, g.clearing_posting_id) > y.through_posting_id OFFSET 0) g;

-- The postings among them that reading from the frontier would meet.
CREATE FUNCTION settlement.cleared_postings(p_bank_account_id int) RETURNS TABLE (posting_id bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    SELECT s.clearing_posting_id FROM settlement.cleared_since s
     WHERE s.bank_account_id = p_bank_account_id AND s.clearing_posting_id IS NOT NULL
    UNION ALL
    SELECT m.posting_id FROM settlement.cleared_since s
     CROSS JOIN LATERAL (SELECT o.* FROM settlement.obligation o WHERE o.obligation_id = s.group_id LIMIT 1) o
     CROSS JOIN LATERAL settlement.taken_postings(o.account_id, o.posting_ids, o.whole_batch_ids) m
     WHERE s.bank_account_id = p_bank_account_id AND NOT s.is_below
$$;

-- The postings of an account that may be open, but for those in blocks: strays one by one, then those above an id by the
-- account's index. (Without a setting and without rights of its own, so that the planner writes it into the query.)
CREATE FUNCTION settlement.single_postings_above(p_account_id int, p_read_from_id bigint, p_strays bigint[])
    RETURNS TABLE (posting_id bigint, amount_minor bigint, effective_date date)
LANGUAGE sql STABLE AS $$
    SELECT b.posting_id, b.amount_minor, b.effective_date FROM pg_catalog.unnest(p_strays) l (posting_id)
     CROSS JOIN LATERAL (SELECT * FROM ledger.posting b WHERE b.account_id = p_account_id AND b.posting_id = l.posting_id LIMIT 1) b
     WHERE p_strays <> '{}'
    UNION ALL
    SELECT a.posting_id, a.amount_minor, a.effective_date FROM ledger.posting a
     WHERE a.account_id = p_account_id AND a.posting_id > p_read_from_id AND NOT a.in_block
$$;

-- Open items of the payees of a bank account: one row a posting that no clearing group has taken. (Were this wrong,
-- check_groups would refuse the payment; nothing is paid on the word of a frontier.)
CREATE FUNCTION settlement.open_postings(p_bank_account_id int)
    RETURNS TABLE (payee_id int, account_id int, posting_id bigint, amount_minor bigint, effective_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off ROWS 1000000 AS $$
    WITH party AS MATERIALIZED (
        SELECT * FROM settlement.payee_frontier y WHERE y.bank_account_id = p_bank_account_id
    ), cleared AS MATERIALIZED (
        SELECT c.posting_id FROM settlement.cleared_postings(p_bank_account_id) c
    )
    SELECT y.payee_id, y.account_id, p.posting_id, p.amount_minor, p.effective_date
      FROM party y
     CROSS JOIN LATERAL (
           SELECT * FROM settlement.single_postings_above(y.account_id, y.read_from_id, y.strays)
           UNION ALL
           SELECT * FROM (SELECT (b.batch_id << 20) + unnest(b.posting_nos) AS posting_id, unnest(b.amounts), unnest(b.dates)
                            FROM ledger.posting_block b
                           WHERE b.account_id = y.account_id AND b.batch_id >= y.read_from_id >> 20) u
            WHERE u.posting_id > y.read_from_id) p
     WHERE (p.posting_id > y.through_posting_id OR p.posting_id = ANY (y.left_open))
       AND p.posting_id NOT IN (SELECT c.posting_id FROM cleared c)
$$;
