-- How netting finds open items without reading what was settled long ago: each payee's account has a frontier, a
-- posting id below which everything is cleared but a short list. Open = the list + what stands above it, less what the
-- clearing groups since have taken.
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

CREATE TABLE settlement.frontier (
    account_id          int    NOT NULL REFERENCES ledger.account,
    version             int    NOT NULL CHECK (version > 0),
    through_posting_id  bigint NOT NULL,
    through_clearing_id bigint NOT NULL,
    left_open           bigint[] NOT NULL,
    CONSTRAINT frontier_version PRIMARY KEY (account_id, version)
);
COMMENT ON TABLE settlement.frontier IS
    'On this account every posting up to through_posting_id is cleared, except left_open; the last version counts.';
COMMENT ON COLUMN settlement.frontier.through_clearing_id IS 'The last clearing group it has taken note of.';

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY['settlement.batch_mark', 'settlement.frontier']) name;
GRANT SELECT ON settlement.batch_mark, settlement.frontier TO :app;

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

-- The highest posting id that is certain to have nothing new appear at or below it.
CREATE FUNCTION settlement.ended_through() RETURNS bigint
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT ((m.last_batch_id + 1) << 20) - 1 FROM settlement.batch_mark m
                      WHERE m.next_xid <= pg_snapshot_xmin(pg_current_snapshot()) ORDER BY m.mark_id DESC LIMIT 1), 0)
$$;

-- Open items of the payees of a bank account: one row a posting that no clearing group has taken. (Were a group not what
-- its obligation says, the key of clearing_member would refuse the payment; nothing is paid on the word of this.)
CREATE FUNCTION settlement.open_postings(p_bank_account_id int)
    RETURNS TABLE (payee_id int, account_id int, posting_id bigint, amount_minor bigint, effective_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off ROWS 1000000 AS $$
    WITH party AS MATERIALIZED (
        SELECT y.payee_id, y.account_id, coalesce(f.through_posting_id, 0) AS through_posting_id,
               coalesce(f.through_clearing_id, 0) AS through_clearing_id, coalesce(f.left_open, '{}') AS left_open
          FROM settlement.payee_current y
          LEFT JOIN LATERAL (SELECT * FROM settlement.frontier f WHERE f.account_id = y.account_id
                              ORDER BY f.version DESC LIMIT 1) f ON true
         WHERE y.bank_account_id = p_bank_account_id
    ), cleared AS MATERIALIZED (
        SELECT m.posting_id
          FROM party y
         CROSS JOIN LATERAL (SELECT * FROM settlement.clearing_group g
                              WHERE g.account_id = y.account_id AND g.clearing_id > y.through_clearing_id OFFSET 0) g
         CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = g.group_id LIMIT 1) o
         CROSS JOIN LATERAL unnest(o.posting_ids || g.clearing_posting_id) m (posting_id)
    )
    SELECT y.payee_id, y.account_id, p.posting_id, p.amount_minor, p.effective_date
      FROM party y
     CROSS JOIN LATERAL (
           SELECT a.posting_id, a.amount_minor, a.effective_date FROM ledger.posting a
            WHERE a.account_id = y.account_id AND a.posting_id > y.through_posting_id
           UNION ALL
           SELECT b.posting_id, b.amount_minor, b.effective_date FROM unnest(y.left_open) l (posting_id)
            CROSS JOIN LATERAL (SELECT * FROM ledger.posting b WHERE b.posting_id = l.posting_id LIMIT 1) b
           OFFSET 0) p  -- a fence: each account by its index, never the whole table
     WHERE NOT EXISTS (SELECT FROM cleared c WHERE c.posting_id = p.posting_id)
$$;

-- Lets the frontier of accounts that were cleared since follow. It moves when more was settled above it than would
-- be left open below: reading stays within twice the open items, and an old debt is not copied every night.
CREATE FUNCTION settlement.advance_frontiers(p_bank_account_id int) RETURNS int
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_nestloop = off AS $$
    WITH line AS MATERIALIZED (
        SELECT settlement.ended_through() AS ended_id
    ), moved AS MATERIALIZED (
        SELECT y.account_id, coalesce(f.version, 0) AS version, coalesce(f.through_posting_id, 0) AS through_posting_id,
               coalesce(f.through_clearing_id, 0) AS through_clearing_id, coalesce(f.left_open, '{}') AS left_open,
               g.clearing_id
          FROM settlement.payee_current y
          LEFT JOIN LATERAL (SELECT * FROM settlement.frontier f WHERE f.account_id = y.account_id
                              ORDER BY f.version DESC LIMIT 1) f ON true
         CROSS JOIN LATERAL (SELECT g.clearing_id FROM settlement.clearing_group g WHERE g.account_id = y.account_id
                              ORDER BY g.clearing_id DESC LIMIT 1) g
         WHERE y.bank_account_id = p_bank_account_id AND g.clearing_id > coalesce(f.through_clearing_id, 0)
    ), taken AS MATERIALIZED (
        SELECT y.account_id, g.clearing_id, o.posting_ids || g.clearing_posting_id AS posting_ids,
               greatest(o.posting_ids[cardinality(o.posting_ids)], g.clearing_posting_id) AS top_id
          FROM moved y
         CROSS JOIN LATERAL (SELECT * FROM settlement.clearing_group g
                              WHERE g.account_id = y.account_id AND g.clearing_id > y.through_clearing_id OFFSET 0) g
         CROSS JOIN LATERAL (SELECT * FROM settlement.obligation o WHERE o.obligation_id = g.group_id LIMIT 1) o
    ), noted AS (
        -- A group with a posting above the line is still to be subtracted, so it is not taken note of yet.
        SELECT t.account_id,
               coalesce(min(t.clearing_id) FILTER (WHERE t.top_id > line.ended_id) - 1, max(t.clearing_id)) AS clearing_id
          FROM taken t, line GROUP BY t.account_id
    ), cleared AS MATERIALIZED (
        SELECT m.posting_id FROM taken t CROSS JOIN LATERAL unnest(t.posting_ids) m (posting_id)
    ), stood AS MATERIALIZED (
        SELECT m.account_id, p.posting_id
          FROM moved m
         CROSS JOIN LATERAL (
               SELECT a.posting_id FROM ledger.posting a
                WHERE a.account_id = m.account_id AND a.posting_id > m.through_posting_id
                  AND a.posting_id <= (SELECT line.ended_id FROM line)
               UNION ALL SELECT l.posting_id FROM unnest(m.left_open) l (posting_id)
               OFFSET 0) p
    ), seen AS MATERIALIZED (
        SELECT s.account_id, s.posting_id, c.posting_id IS NOT NULL AS cleared
          FROM stood s LEFT JOIN cleared c ON c.posting_id = s.posting_id
    ), settled AS MATERIALIZED (
        SELECT s.account_id, count(*) FILTER (WHERE s.cleared) AS postings FROM seen s GROUP BY s.account_id
    ), standing AS MATERIALIZED (  -- few; so nothing is sorted but these
        SELECT s.account_id, array_agg(s.posting_id ORDER BY s.posting_id) AS left_open
          FROM seen s WHERE NOT s.cleared GROUP BY s.account_id
    ), made AS (
        INSERT INTO settlement.frontier (account_id, version, through_posting_id, through_clearing_id, left_open)
        SELECT m.account_id, m.version + 1, line.ended_id, d.clearing_id, coalesce(l.left_open, '{}')
          FROM moved m
          JOIN settled n ON n.account_id = m.account_id
          JOIN noted d ON d.account_id = m.account_id
          LEFT JOIN standing l ON l.account_id = m.account_id
         CROSS JOIN line
         WHERE n.postings > coalesce(cardinality(l.left_open), 0) AND line.ended_id > m.through_posting_id
            ON CONFLICT ON CONSTRAINT frontier_version DO NOTHING
        RETURNING account_id
    )
    SELECT count(*)::int FROM made
$$;
