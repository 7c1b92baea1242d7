-- Periods, certificates, and knowledge order.

CREATE FUNCTION ledger.record_certificate(p_book_id int, p_account_id int, p_through date, p_sha256 text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ledger.certified_through (book_id, account_id, through_date, certificate_sha256)
    SELECT p_book_id, p_account_id, p_through, p_sha256
     WHERE NOT EXISTS (SELECT FROM ledger.certified_through
                        WHERE (book_id, account_id, through_date) = (p_book_id, p_account_id, p_through))
    ON CONFLICT DO NOTHING
$$;

CREATE FUNCTION ledger.request_close_override(p_book_id int, p_through date, p_reason text) RETURNS void
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    INSERT INTO ledger.period_override (book_id, through_date, reason) VALUES (p_book_id, p_through, p_reason) ON CONFLICT DO NOTHING
$$;

-- Closes the books through a day. Each bank account must be certified through it, or a second person has asked
-- for an override with a reason (ledger.check_close refuses). Closing the same day again is harmless.
CREATE FUNCTION ledger.close_period(p_book_id int, p_through date) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_certified boolean;
BEGIN
    PERFORM FROM ledger.book WHERE book_id = p_book_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'book_known', MESSAGE = format('There is no book %s.', p_book_id);
    END IF;
    IF EXISTS (SELECT FROM ledger.period_close WHERE book_id = p_book_id AND through_date = p_through
                  AND through_date = (SELECT max(through_date) FROM ledger.period_close WHERE book_id = p_book_id)) THEN
        RETURN;
    END IF;
    v_certified := NOT EXISTS (
        SELECT FROM ledger.account a WHERE a.book_id = p_book_id AND a.control = 'nostro' AND NOT EXISTS (
               SELECT FROM ledger.certified_through c
                WHERE c.book_id = a.book_id AND c.account_id = a.account_id AND c.through_date >= p_through));
    INSERT INTO ledger.period_close (book_id, through_date, override_reason, override_by)
    SELECT p_book_id, p_through, o.reason, o.requested_by
      FROM (VALUES (1)) AS one LEFT JOIN ledger.period_override o
        ON NOT v_certified AND (o.book_id, o.through_date) = (p_book_id, p_through);
END $$;

CREATE FUNCTION ledger.closed_through(p_book_id int) RETURNS date
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT max(through_date) FROM ledger.period_close WHERE book_id = p_book_id
$$;

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

GRANT EXECUTE ON FUNCTION ledger.request_close_override, ledger.close_period, ledger.closed_through, ledger.publish TO :app;
