-- Knowledge order: the sequencer.

-- Committed batches without a number, below a watermark. The last step of the rollup says below which transaction all of
-- this cluster's are numbered, so only what came since is looked at; in a restored copy, until its first step, all.
CREATE FUNCTION ledger.unpublished(p_watermark xid8) RETURNS TABLE (batch_id bigint, entry_count int, xid xid8, is_foreign boolean)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET enable_hashjoin = off SET enable_mergejoin = off AS $$
#variable_conflict use_column
DECLARE
    v_system bigint := (SELECT system_identifier FROM pg_control_system());
    v_from xid8; v_cluster bigint;
BEGIN
    SELECT t.watermark, t.system_identifier INTO v_from, v_cluster FROM ledger.rollup_step t ORDER BY t.last_seq DESC LIMIT 1;
    IF v_cluster = v_system THEN
        RETURN QUERY
        SELECT b.batch_id, b.entry_count, b.xid, false FROM ledger.batch b
         WHERE b.system_identifier = v_system AND b.xid >= v_from AND b.xid < p_watermark
           AND NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id);
    ELSE
        RETURN QUERY
        SELECT b.batch_id, b.entry_count, b.xid, b.system_identifier <> v_system FROM ledger.batch b
         WHERE (b.xid < p_watermark OR b.system_identifier <> v_system)
           AND NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id);
    END IF;
END $$;

-- The sequencer: one at a time, numbers every committed batch below the xmin watermark, in transaction order.
-- A transaction still running keeps its number open behind the watermark, so nothing appears late below it.
-- A batch that another cluster wrote (dump and restore) is committed by the fact that it is here.
CREATE FUNCTION ledger.publish() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_watermark xid8; v_last bigint; v_publication bigint; v_count bigint;
BEGIN
    PERFORM ledger.require_read_committed();
    LOCK TABLE ledger.publication IN SHARE ROW EXCLUSIVE MODE;
    v_watermark := pg_snapshot_xmin(pg_current_snapshot());
    SELECT coalesce(max(last_seq), 0) INTO v_last FROM ledger.publication;
    SELECT coalesce(sum(entry_count), 0) INTO v_count FROM ledger.unpublished(v_watermark);
    IF v_count = 0 THEN RETURN v_last; END IF;
    INSERT INTO ledger.publication (last_seq) VALUES (v_last + v_count) RETURNING publication_id INTO v_publication;
    INSERT INTO ledger.batch_seq (batch_id, first_seq, last_seq, publication_id)
    SELECT batch_id, v_last + 1 + running - entry_count, v_last + running, v_publication
      FROM (SELECT batch_id, entry_count, sum(entry_count) OVER (ORDER BY is_foreign DESC, xid, batch_id) AS running
              FROM ledger.unpublished(v_watermark)) r;
    RETURN v_last + v_count;
END $$;

GRANT EXECUTE ON FUNCTION ledger.publish TO :app;
