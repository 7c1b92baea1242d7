-- Reconciling after a restore: what left and was forgotten becomes the books' again, or waits for two people.

-- A person signs what was found. The second signature over the same findings records the lost sends and opens the
-- journal `p_journal_id`; then sending goes on. `p_lost` is an array of objects: book_id, bank, msg_id, part, source,
-- manifest; `p_contents` has the bytes of each, in that order.
CREATE FUNCTION settlement.sign_send_review(
    p_digest text, p_findings jsonb, p_reason text, p_lost jsonb, p_contents bytea[], p_journal_id text,
    OUT review_id bigint, OUT signatures int, OUT journal_no int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(NULL);
    PERFORM 1 FROM settlement.send_journal j ORDER BY j.journal_no DESC LIMIT 1 FOR NO KEY UPDATE;
    review_id := (SELECT r.review_id FROM settlement.send_review r
                   WHERE r.digest = p_digest AND r.findings = p_findings ORDER BY r.review_id DESC LIMIT 1);
    IF review_id IS NULL THEN
        INSERT INTO settlement.send_review AS r (digest, findings) VALUES (p_digest, p_findings)
        RETURNING r.review_id INTO review_id;
    END IF;
    INSERT INTO settlement.send_review_word AS w (review_id, reason) VALUES (sign_send_review.review_id, p_reason)
        ON CONFLICT DO NOTHING;
    signatures := (SELECT count(*)::int FROM settlement.send_review_word w WHERE w.review_id = sign_send_review.review_id);
    IF signatures < 2 THEN RETURN; END IF;
    WITH given AS (
        SELECT g.n, g.lost, p_contents[g.n] AS content FROM jsonb_array_elements(p_lost) WITH ORDINALITY AS g (lost, n)
    ), kept AS (
        INSERT INTO settlement.lost_send AS l (review_id, book_id, bank, msg_id, part, source, sha256, content, manifest)
        SELECT sign_send_review.review_id, (g.lost ->> 'book_id')::int, g.lost ->> 'bank', g.lost ->> 'msg_id',
               (g.lost ->> 'part')::int, g.lost ->> 'source', encode(sha256(g.content), 'hex'), g.content, g.lost -> 'manifest'
          FROM given g ORDER BY g.n
            ON CONFLICT DO NOTHING
        RETURNING l.lost_send_id, l.manifest
    )
    INSERT INTO settlement.lost_payment (lost_send_id, ordinal, end_to_end_id, uetr, payee_code, iban, amount_minor)
    SELECT k.lost_send_id, p.n, p.one ->> 'end_to_end_id', p.one ->> 'uetr', p.one ->> 'payee', p.one ->> 'iban',
           (p.one ->> 'amount_minor')::bigint
      FROM kept k CROSS JOIN LATERAL jsonb_array_elements(coalesce(k.manifest -> 'payments', '[]')) WITH ORDINALITY AS p (one, n);
    journal_no := settlement.add_send_journal(p_journal_id);
END $$;

-- Whoever writes the row, the owner included: another journal than the first takes two signatures.
CREATE FUNCTION settlement.check_send_journal() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF (SELECT count(*) FROM (SELECT w.review_id FROM settlement.send_review_word w GROUP BY w.review_id
                              HAVING count(*) >= 2) signed) < NEW.journal_no - 1 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'send_review_four_eyes',
            MESSAGE = format('Journal of sends %s is opened when two people have signed what was found.', NEW.journal_no),
            HINT = 'Each signs with `nostro bank reconcile-sends --reason`.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER send_journal_check BEFORE INSERT ON settlement.send_journal
    FOR EACH ROW EXECUTE FUNCTION settlement.check_send_journal();
ALTER TABLE settlement.send_journal ENABLE ALWAYS TRIGGER send_journal_check;

-- The postings that a lost send paid its payees from, as far as the restored books tell: the oldest open ones that cover
-- what left. NULL posting_ids: they do not cover it.
CREATE FUNCTION settlement.lost_cover(p_lost_send_id bigint, p_bank_account_id int)
    RETURNS TABLE (ordinal int, payee_id int, payee_version_id bigint, account_id int, code text, owed_minor bigint,
                   pay_minor bigint, rolling_minor bigint, fixed_minor bigint, rest_minor bigint, posting_ids bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    WITH paid AS (
        SELECT p.ordinal, p.payee_code, p.iban, sign.is * p.amount_minor AS pay_minor,
               coalesce((m.one ->> 'rolling_minor')::bigint, 0) AS rolling_minor,
               coalesce((m.one ->> 'fixed_minor')::bigint, 0) AS fixed_minor, sign.is AS sign
          FROM settlement.lost_send l
          JOIN settlement.lost_payment p USING (lost_send_id)
         CROSS JOIN LATERAL (SELECT CASE l.manifest ->> 'direction' WHEN 'collect' THEN -1 ELSE 1 END AS is) sign
         CROSS JOIN LATERAL (SELECT l.manifest -> 'payments' -> (p.ordinal - 1) AS one) m
         WHERE l.lost_send_id = p_lost_send_id
    ), party AS (
        SELECT p.*, y.payee_id, y.payee_version_id, y.account_id, y.code
          FROM paid p
          LEFT JOIN LATERAL (
               SELECT min(y.payee_id) AS payee_id, min(y.payee_version_id) AS payee_version_id, min(y.account_id) AS account_id,
                      min(y.code) AS code
                 FROM settlement.payee_current y
                WHERE y.bank_account_id = p_bank_account_id
                  AND CASE WHEN p.payee_code IS NULL THEN y.iban = p.iban ELSE y.code = p.payee_code END
               HAVING count(*) = 1) y ON true
    ), item AS MATERIALIZED (
        SELECT i.payee_id, i.posting_id, -i.amount_minor AS minor FROM settlement.open_postings(p_bank_account_id) i
    ), running AS (
        SELECT y.ordinal, i.posting_id, i.minor, y.sign,
               sum(i.minor) OVER (PARTITION BY y.ordinal ORDER BY i.posting_id) AS so_far,
               y.pay_minor + y.rolling_minor + y.fixed_minor AS wanted
          FROM party y JOIN item i USING (payee_id)
    ), enough AS (
        SELECT r.ordinal, min(r.posting_id) AS last FROM running r WHERE r.sign * r.so_far >= r.sign * r.wanted GROUP BY r.ordinal
    ), taken AS (
        SELECT r.ordinal, array_agg(r.posting_id ORDER BY r.posting_id) AS posting_ids, sum(r.minor)::bigint AS owed_minor
          FROM running r JOIN enough e ON e.ordinal = r.ordinal AND r.posting_id <= e.last GROUP BY r.ordinal
    )
    SELECT y.ordinal, y.payee_id, y.payee_version_id, y.account_id, coalesce(y.code, y.payee_code, y.iban), t.owed_minor, y.pay_minor,
           y.rolling_minor, y.fixed_minor, coalesce((SELECT sum(i.minor)::bigint FROM item i WHERE i.payee_id = y.payee_id), 0)
                                          - coalesce(t.owed_minor, 0), t.posting_ids
      FROM party y LEFT JOIN taken t USING (ordinal) ORDER BY y.ordinal
$$;

-- Makes a lost send a file of the books again, UNKNOWN until the bank tells. It is never sent by that. NULL: done;
-- else why not yet (nothing has changed then).
CREATE FUNCTION settlement.adopt_lost_send(p_lost_send_id bigint, OUT obstacle text, OUT file_id bigint)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_lost    settlement.lost_send;
    v_account int;
    v_file    record;
    v_state   text;
    v_sha256  text;
BEGIN
    SELECT * INTO v_lost FROM settlement.lost_send l WHERE l.lost_send_id = p_lost_send_id;
    PERFORM ledger.require_book(v_lost.book_id);
    SELECT b.bank_account_id INTO v_account FROM settlement.bank_account_root b
     WHERE b.book_id = v_lost.book_id AND b.code = v_lost.manifest ->> 'bank_account';
    IF v_lost.content IS NULL OR v_account IS NULL THEN
        obstacle := 'nobody has its bytes, or its bank account is not set up';
        RETURN;
    END IF;
    PERFORM 1 FROM settlement.bank_account_root r WHERE r.bank_account_id = v_account FOR NO KEY UPDATE;
    IF EXISTS (SELECT FROM settlement.lost_send_end e WHERE e.lost_send_id = p_lost_send_id) THEN RETURN; END IF;
    IF v_lost.part > 0 THEN
        SELECT r.file_id, r.state INTO v_file FROM settlement.recall_file_current r
         WHERE r.msg_id = v_lost.msg_id AND r.sha256 = v_lost.sha256;
        IF NOT FOUND THEN
            obstacle := 'the books know nothing of this recall; ask the payments back again if that is still wanted';
            RETURN;
        END IF;
        file_id := v_file.file_id;
        IF v_file.state IN ('approved', 'failed') THEN
            PERFORM settlement.add_recall_event(file_id, v_lost.part, 'sending', 'it left before the books were restored');
            PERFORM settlement.add_recall_event(file_id, v_lost.part, 'unknown', 'it left before the books were restored');
        END IF;
        INSERT INTO settlement.lost_send_end (lost_send_id, outcome, file_id) VALUES (p_lost_send_id, 'adopted', file_id);
        RETURN;
    END IF;
    SELECT f.file_id, f.sha256 INTO file_id, v_sha256 FROM settlement.payment_file f WHERE f.msg_id = v_lost.msg_id;
    IF file_id IS NOT NULL AND v_sha256 <> v_lost.sha256 THEN
        obstacle := format('file %s of the books has its id and other content', file_id);
        file_id := NULL;
        RETURN;
    END IF;
    IF file_id IS NULL THEN
        SELECT string_agg(format('payee %s is not owed what it paid', c.code), '; ') INTO obstacle
          FROM (SELECT c.code FROM settlement.lost_cover(p_lost_send_id, v_account) c WHERE c.posting_ids IS NULL LIMIT 3) c;
        IF obstacle IS NOT NULL THEN RETURN; END IF;
        file_id := settlement.rebuild_lost_file(v_lost, v_account);
    END IF;
    v_state := settlement.lock_file(file_id);
    IF EXISTS (SELECT FROM settlement.file_event e WHERE e.file_id = adopt_lost_send.file_id AND e.state = 'cancelled') THEN
        v_state := 'cancelled';  -- and disputed, where the bank has said that it has it
    END IF;
    IF v_state IN ('cancelled', 'rejected') THEN
        obstacle := format('file %s was %s since the restore', file_id, v_state);
        file_id := NULL;
        RETURN;
    END IF;
    BEGIN
        IF v_state IN ('proposed', 'approved', 'void') THEN
            PERFORM settlement.post_payouts(file_id);
            PERFORM settlement.mark_batches();
            PERFORM settlement.add_file_event(file_id, 'unknown', 'it left before the books were restored');
        ELSIF v_state IN ('sealed', 'failed') THEN
            PERFORM settlement.add_file_event(file_id, 'sending', 'it left before the books were restored');
            PERFORM settlement.add_file_event(file_id, 'unknown', 'it left before the books were restored');
        END IF;
        INSERT INTO settlement.lost_send_end (lost_send_id, outcome, file_id) VALUES (p_lost_send_id, 'adopted', file_id);
    EXCEPTION WHEN unique_violation THEN
        obstacle := 'what it paid was cleared by another payment since the restore';
        file_id := NULL;
    END;
END $$;

-- Run, obligations, file and instructions of a send that the books forgot altogether, from its own bytes.
CREATE FUNCTION settlement.rebuild_lost_file(p_lost settlement.lost_send, p_bank_account_id int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_run bigint; v_ids bigint[];
BEGIN
    SELECT r.run_id INTO v_run FROM settlement.run r
     WHERE r.bank_account_id = p_bank_account_id AND r.business_date = (p_lost.manifest ->> 'business_date')::date
       AND r.cycle = (p_lost.manifest ->> 'cycle')::int AND r.prepared_by = session_user;
    IF v_run IS NULL THEN
        INSERT INTO settlement.run AS r (book_id, bank_account_id, profile_id, account_version, business_date, cycle, payees,
                                         proposed_at, execution_date, cutoff_at)
        SELECT p_lost.book_id, p_bank_account_id, b.profile_id, b.version, (p_lost.manifest ->> 'business_date')::date,
               (p_lost.manifest ->> 'cycle')::int, '{}', (p_lost.manifest ->> 'proposed_at')::timestamptz,
               (p_lost.manifest ->> 'execution_date')::date,
               coalesce((p_lost.manifest ->> 'cutoff_at')::timestamptz, (p_lost.manifest ->> 'proposed_at')::timestamptz)
          FROM settlement.bank_account b WHERE b.bank_account_id = p_bank_account_id
        RETURNING r.run_id INTO v_run;
    END IF;
    INSERT INTO settlement.obligation (run_id, payee_id, payee_version_id, account_id, owed_minor, pay_minor, rolling_minor,
                                       fixed_minor, rest_minor, posting_ids)
    SELECT v_run, c.payee_id, c.payee_version_id, c.account_id, c.owed_minor, c.pay_minor, c.rolling_minor, c.fixed_minor,
           c.rest_minor, c.posting_ids
      FROM settlement.lost_cover(p_lost.lost_send_id, p_bank_account_id) c;
    SELECT array_agg(o.obligation_id ORDER BY c.ordinal) INTO v_ids
      FROM settlement.lost_cover(p_lost.lost_send_id, p_bank_account_id) c
      JOIN settlement.obligation o ON o.run_id = v_run AND o.payee_id = c.payee_id;
    RETURN (SELECT settlement.record_file(v_run, (p_lost.manifest ->> 'part')::int, p_lost.manifest ->> 'direction', p_lost.msg_id,
                       p_lost.content, p_lost.manifest -> 'batches', v_ids,
                       array_agg(p.end_to_end_id ORDER BY p.ordinal), array_agg(p.uetr ORDER BY p.ordinal))
              FROM settlement.lost_payment p WHERE p.lost_send_id = p_lost.lost_send_id);
END $$;
COMMENT ON FUNCTION settlement.rebuild_lost_file IS 'Internal: the caller has compared amounts and payees.';

-- A person says what became of a lost send that cannot be adopted; two equal words settle it. Its state then.
CREATE FUNCTION settlement.end_lost_send(p_lost_send_id bigint, p_outcome text, p_reason text, OUT outcome text, OUT is_new boolean)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_book int := (SELECT l.book_id FROM settlement.lost_send l WHERE l.lost_send_id = p_lost_send_id);
BEGIN
    PERFORM ledger.require_book(v_book);
    PERFORM 1 FROM settlement.lost_send l WHERE l.lost_send_id = p_lost_send_id FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'foreign_key_violation', CONSTRAINT = 'lost_send_known',
            MESSAGE = format('There is no lost send %s.', p_lost_send_id), HINT = 'List them with `nostro bank lost-sends`.';
    END IF;
    is_new := false;
    outcome := (SELECT e.outcome FROM settlement.lost_send_end e WHERE e.lost_send_id = p_lost_send_id);
    IF outcome = p_outcome THEN RETURN; END IF;
    IF outcome IS NOT NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'lost_send_open',
            MESSAGE = format('Lost send %s is settled: %s.', p_lost_send_id, outcome);
    END IF;
    INSERT INTO settlement.lost_send_word (lost_send_id, outcome, reason)
    SELECT p_lost_send_id, p_outcome, p_reason
     WHERE (SELECT w.outcome FROM settlement.lost_send_word w WHERE w.lost_send_id = p_lost_send_id AND w.said_by = session_user
             ORDER BY w.lost_send_word_id DESC LIMIT 1) IS DISTINCT FROM p_outcome;
    is_new := FOUND;
    outcome := 'open';
    IF settlement.lost_send_voices(p_lost_send_id, p_outcome) < 2 THEN RETURN; END IF;
    INSERT INTO settlement.lost_send_end (lost_send_id, outcome) VALUES (p_lost_send_id, p_outcome);
    outcome := p_outcome;
END $$;

GRANT EXECUTE ON FUNCTION settlement.sign_send_review, settlement.adopt_lost_send, settlement.end_lost_send TO :preparer, :approver;
