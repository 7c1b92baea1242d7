-- Knowledge order: the sequencer.

-- The sequencer: one at a time, numbers every committed batch below the xmin watermark, in transaction order.
-- A transaction still running keeps its number open behind the watermark, so nothing appears late below it.
-- A batch that another cluster wrote (dump and restore) is committed by the fact that it is here.
CREATE FUNCTION ledger.publish() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_watermark xid8; v_last bigint; v_publication bigint; v_count bigint;
    v_system bigint := (SELECT system_identifier FROM pg_control_system());
BEGIN
    PERFORM ledger.require_read_committed();
    LOCK TABLE ledger.publication IN SHARE ROW EXCLUSIVE MODE;
    v_watermark := pg_snapshot_xmin(pg_current_snapshot());
    SELECT coalesce(max(last_seq), 0) INTO v_last FROM ledger.publication;
    SELECT coalesce(sum(entry_count), 0) INTO v_count FROM ledger.batch b
     WHERE (b.xid < v_watermark OR b.system_identifier <> v_system)
       AND NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id);
    IF v_count = 0 THEN RETURN v_last; END IF;
    INSERT INTO ledger.publication (last_seq) VALUES (v_last + v_count) RETURNING publication_id INTO v_publication;
    INSERT INTO ledger.batch_seq (batch_id, first_seq, last_seq, publication_id)
    SELECT batch_id, v_last + 1 + running - entry_count, v_last + running, v_publication
      FROM (SELECT batch_id, entry_count, sum(entry_count) OVER (ORDER BY foreign_cluster DESC, xid, batch_id) AS running
              FROM (SELECT b.*, b.system_identifier <> v_system AS foreign_cluster FROM ledger.batch b
                     WHERE (b.xid < v_watermark OR b.system_identifier <> v_system)
                       AND NOT EXISTS (SELECT FROM ledger.batch_seq s WHERE s.batch_id = b.batch_id)) w) r;
    RETURN v_last + v_count;
END $$;

GRANT EXECUTE ON FUNCTION ledger.publish TO :app;
