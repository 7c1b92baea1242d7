-- Certified bank days, on which cash does not change any more (invariant 7).

CREATE TABLE ledger.certified_through (
    book_id            int  NOT NULL REFERENCES ledger.book,
    account_id         int  NOT NULL REFERENCES ledger.account,
    through_date       date NOT NULL,
    certificate_sha256 text NOT NULL,
    PRIMARY KEY (book_id, account_id, through_date)
);
SELECT ledger.make_append_only('ledger.certified_through');

-- The nostro account that speaks for a cash account: itself, or for cash in transit the bank account of that name.
CREATE FUNCTION ledger.nostro_of(p_book_id int, p_account_id int) RETURNS int
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.account_id FROM ledger.account a JOIN ledger.account n ON n.book_id = a.book_id AND n.control = 'nostro'
       AND n.code = CASE a.control WHEN 'nostro' THEN a.code WHEN 'cash_in_transit' THEN regexp_replace(a.code, '^assets:transit:', 'assets:bank:') END
     WHERE a.account_id = p_account_id AND a.book_id = p_book_id
$$;

-- Cash accounts among these, with the last day certified.
CREATE FUNCTION ledger.certified_cash(p_book_id int, p_accounts int[]) RETURNS TABLE (account_id int, through_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT n.account_id, c.through_date
      FROM (SELECT a.account_id, ledger.nostro_of(p_book_id, a.account_id) AS nostro_id FROM ledger.account a
             WHERE a.account_id = ANY (ARRAY(SELECT DISTINCT unnest(p_accounts))) AND a.control IN ('nostro', 'cash_in_transit') OFFSET 0) n
     CROSS JOIN LATERAL (SELECT c.through_date FROM ledger.certified_through c
                          WHERE c.book_id = p_book_id AND c.account_id = n.nostro_id ORDER BY c.through_date DESC LIMIT 1) c
$$;

-- Whoever certifies waits for posts under way on the account and its cash in transit, and they for it.
CREATE FUNCTION ledger.record_certificate(p_book_id int, p_account_id int, p_through date, p_sha256 text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.lock_balances(ARRAY(SELECT a.account_id FROM ledger.account a
                                        WHERE a.book_id = p_book_id AND a.control IN ('nostro', 'cash_in_transit') AND ledger.nostro_of(p_book_id, a.account_id) = p_account_id));
    INSERT INTO ledger.certified_through (book_id, account_id, through_date, certificate_sha256)
    SELECT p_book_id, p_account_id, p_through, p_sha256
     WHERE NOT EXISTS (SELECT FROM ledger.certified_through
                        WHERE (book_id, account_id, through_date) = (p_book_id, p_account_id, p_through))
    ON CONFLICT DO NOTHING;
END $$;

-- Invariant 7: a certified day's cash stays as certified. Reconciliation alone is admitted: what it brings is the
-- bank's or the acquirer's evidence of that day, and it certifies the day again. Journals pay one look.
CREATE FUNCTION ledger.check_certified_days() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_bad record; v_accounts int[];
BEGIN
    IF (SELECT coalesce(b.module, 'recon') FROM ledger.batch b WHERE b.batch_id = (SELECT posting_id >> 20 FROM new_posting LIMIT 1)) = 'recon' THEN
        RETURN NULL;
    END IF;
    SELECT array_agg(a.account_id) INTO v_accounts FROM ledger.account a
     WHERE a.account_id = ANY (ARRAY(SELECT DISTINCT account_id FROM new_posting)) AND a.control IN ('nostro', 'cash_in_transit');
    IF v_accounts IS NULL THEN RETURN NULL; END IF;
    PERFORM ledger.lock_balances(v_accounts);
    SELECT e.idempotency_key, p.effective_date, a.code, c.through_date INTO v_bad
      FROM ledger.certified_cash((SELECT book_id FROM new_posting LIMIT 1), v_accounts) c
      JOIN new_posting p ON p.account_id = c.account_id AND p.effective_date <= c.through_date
      JOIN ledger.account a ON a.account_id = p.account_id
      JOIN ledger.entry e ON e.entry_id = p.entry_id ORDER BY p.posting_id LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'cash_day_certified', SCHEMA = 'ledger', TABLE = 'posting',
            MESSAGE = format('Entry %s is effective on %s, but %s is certified through %s.', v_bad.idempotency_key, v_bad.effective_date, v_bad.code, v_bad.through_date),
            HINT = 'Date it on the first day after the certificate.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_certified_days AFTER INSERT ON ledger.posting
    REFERENCING NEW TABLE AS new_posting FOR EACH STATEMENT EXECUTE FUNCTION ledger.check_certified_days();
ALTER TABLE ledger.posting ENABLE ALWAYS TRIGGER check_certified_days;

-- Settlement hears of rejects and returns, and people approve, sometimes late. What was meant for a certified day posts
-- on the first day after the certificate; entry_moved remembers the day that was meant, so that a retry is recognised.
CREATE TABLE ledger.entry_moved (
    entry_id   bigint NOT NULL PRIMARY KEY,
    book_id    int    NOT NULL,
    meant_date date   NOT NULL
);
SELECT ledger.make_append_only('ledger.entry_moved');
COMMENT ON TABLE ledger.entry_moved IS 'Entries meant for a bank day that was certified already; they are effective on the first day after it.';

CREATE FUNCTION ledger.check_moved() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM FROM ledger.entry e JOIN ledger.batch b ON b.batch_id = e.entry_id >> 20 AND b.xid = pg_current_xact_id()
      WHERE e.entry_id = NEW.entry_id AND e.book_id = NEW.book_id AND e.effective_date > NEW.meant_date;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'entry_moved_with_entry', SCHEMA = 'ledger', TABLE = 'entry_moved',
            MESSAGE = format('That entry %s was moved is written with it, or never.', NEW.entry_id);
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER check_moved BEFORE INSERT ON ledger.entry_moved FOR EACH ROW EXECUTE FUNCTION ledger.check_moved();
ALTER TABLE ledger.entry_moved ENABLE ALWAYS TRIGGER check_moved;

-- The dates of a module's entries once certificates have spoken; NULL: as given.
CREATE FUNCTION ledger.dates_after_certificates(p_book_id int, p_keys text[], p_dates date[], p_leg_entry int[], p_leg_account int[]) RETURNS date[]
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    v_accounts int[]; v_through date[]; v_last date;
BEGIN
    SELECT array_agg(c.account_id), array_agg(c.through_date), max(c.through_date) INTO v_accounts, v_through, v_last
      FROM ledger.certified_cash(p_book_id, p_leg_account) c;
    IF (v_last >= ANY (p_dates)) IS NOT TRUE THEN RETURN NULL; END IF;
    RETURN (
        SELECT array_agg(CASE WHEN e.entry_id IS NULL THEN greatest(k.date, c.through_date + 1)
                              WHEN m.meant_date = k.date THEN e.effective_date ELSE k.date END ORDER BY k.n)
          FROM unnest(p_keys, p_dates) WITH ORDINALITY AS k (key, date, n)
          LEFT JOIN (SELECT l.entry_n, max(t.through_date) AS through_date
                       FROM unnest(p_leg_entry, p_leg_account) AS l (entry_n, account)
                       JOIN unnest(v_accounts, v_through) AS t (account, through_date) USING (account) GROUP BY l.entry_n) c ON c.entry_n = k.n
          LEFT JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.book_id = p_book_id AND e.idempotency_key = k.key LIMIT 1) e ON true
          LEFT JOIN LATERAL (SELECT * FROM ledger.entry_moved m WHERE m.entry_id = e.entry_id LIMIT 1) m ON true);
END $$;

GRANT SELECT ON ledger.certified_through, ledger.entry_moved TO :app;
