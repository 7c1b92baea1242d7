-- A sample of what cleared, for people to look at, and what it says about the value falsely cleared.
-- Monetary-unit sampling: every minor unit, weighed by the risk of its rule, has the same chance; the seed is the hash
-- of the certificate, so nobody chooses the sample, and everybody can draw it again. Intervals are powers of two and the
-- start is the seed's rest, so the sample of a smaller size is a part of a larger one's: who draws chooses how much is
-- looked at, never what is left out.

CREATE TABLE recon.audit_sample (
    sample_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id            int    NOT NULL REFERENCES ledger.book,
    bank_account_id    int    NOT NULL REFERENCES settlement.bank_account_root,
    business_date      date   NOT NULL,
    certificate_sha256 text   NOT NULL,
    wanted_count       int    NOT NULL CHECK (wanted_count > 0),
    population_count   int    NOT NULL,
    population_minor   bigint NOT NULL,
    interval_size      bigint NOT NULL CHECK (interval_size > 0),
    start_at           bigint NOT NULL CHECK (start_at > 0),
    lightest_weight    int    NOT NULL CHECK (lightest_weight > 0),
    drawn_by           text   NOT NULL DEFAULT session_user,
    drawn_at           timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_sample_once UNIQUE (bank_account_id, business_date, certificate_sha256)
);
COMMENT ON TABLE recon.audit_sample IS
    'A sample of the sets that cleared on an account and day. interval_size: every so many risk-weighed minor units one is taken, from start_at; lightest_weight: of all the sets.';

CREATE TABLE recon.audit_item (
    sample_id    bigint NOT NULL REFERENCES recon.audit_sample,
    match_set_id bigint NOT NULL REFERENCES recon.match_set,
    rule         text   NOT NULL,
    value_minor  bigint NOT NULL CHECK (value_minor > 0),
    weight       int    NOT NULL CHECK (weight > 0),
    hits         int    NOT NULL CHECK (hits > 0),
    CONSTRAINT audit_item_once PRIMARY KEY (sample_id, match_set_id)
);
COMMENT ON TABLE recon.audit_item IS 'Sets of a sample. A set of value x weight above the interval is always in it.';

CREATE TABLE recon.audit_review (
    sample_id    bigint NOT NULL REFERENCES recon.audit_sample,
    match_set_id bigint NOT NULL,
    false_minor  bigint NOT NULL CHECK (false_minor >= 0),
    note         text,
    reviewed_by  text   NOT NULL DEFAULT session_user,
    reviewed_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT audit_review_once PRIMARY KEY (sample_id, match_set_id),
    CONSTRAINT audit_review_item FOREIGN KEY (sample_id, match_set_id) REFERENCES recon.audit_item (sample_id, match_set_id),
    CONSTRAINT audit_review_says CHECK (false_minor = 0 OR length(note) >= 5)
);
COMMENT ON TABLE recon.audit_review IS 'What a person found: how much of a sampled set was cleared falsely (0: it is right).';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['recon.audit_sample', 'recon.audit_item', 'recon.audit_review']::regclass[]) t;
SELECT recon.record_events('recon.audit_review', 'sample');

CREATE FUNCTION recon.check_review() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF NEW.false_minor > (SELECT i.value_minor FROM recon.audit_item i WHERE (i.sample_id, i.match_set_id) = (NEW.sample_id, NEW.match_set_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_review_value',
            MESSAGE = format('Set %s is not worth %s minor units.', NEW.match_set_id, NEW.false_minor);
    END IF;
    IF EXISTS (SELECT FROM recon.match_leg l JOIN recon.match_set s USING (match_set_id) JOIN recon.adjustment_item x USING (posting_id)
                 JOIN recon.adjustment a USING (adjustment_id) JOIN recon.adjustment_approval p USING (adjustment_id)
                WHERE l.match_set_id = NEW.match_set_id AND s.rule IN ('manual-match', 'adjustment')
                  AND NEW.reviewed_by IN (a.proposed_by, p.approved_by)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'audit_review_independent',
            MESSAGE = format('Set %s was proposed or approved by %s, who cannot review it.', NEW.match_set_id, settlement.person(NEW.reviewed_by)),
            HINT = 'Somebody who had no part in it must.';
    END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER review_check BEFORE INSERT ON recon.audit_review FOR EACH ROW EXECUTE FUNCTION recon.check_review();
ALTER TABLE recon.audit_review ENABLE ALWAYS TRIGGER review_check;
CREATE TRIGGER review_name BEFORE INSERT ON recon.audit_review FOR EACH ROW EXECUTE FUNCTION recon.check_own_name('reviewed_by');
ALTER TABLE recon.audit_review ENABLE ALWAYS TRIGGER review_name;

-- How risky a rule is: exact keys and what policy posted 1, people's own decisions 2, everything that weighs evidence 3.
CREATE FUNCTION recon.rule_weight(p_rule text) RETURNS int
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p_rule ~ '^(exact-|own-|routine-|batch-sum$|receipt-reference$)' THEN 1
                WHEN p_rule ~ '^(manual-|adjustment)' THEN 2 ELSE 3 END
$$;

-- The live sets that runs of a day cleared on an account, in the order of the seed, with their weighed value up to and with each. Internal.
CREATE FUNCTION recon.audit_population(p_transit_account_id int, p_book_id int, p_date date, p_seed text)
RETURNS TABLE (match_set_id bigint, rule text, value_minor bigint, weight int, through numeric)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT v.match_set_id, v.rule, v.value_minor, recon.rule_weight(v.rule),
           sum(v.value_minor * recon.rule_weight(v.rule)::numeric)
               OVER (ORDER BY sha256(convert_to(p_seed || ' ' || v.match_set_id, 'UTF8')), v.match_set_id)
      FROM (SELECT l.match_set_id, l.rule, sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0)::bigint AS value_minor
              FROM recon.run r JOIN recon.match_set s USING (run_id) JOIN recon.live_leg l USING (match_set_id)
              JOIN ledger.posting p ON p.posting_id = l.posting_id
             WHERE r.book_id = p_book_id AND r.business_date = p_date AND p.account_id = p_transit_account_id
             GROUP BY l.match_set_id, l.rule) v
     WHERE v.value_minor > 0
$$;

-- Draws the sample of an account and day, once for each certificate; the same again afterwards. NULL: nothing cleared.
CREATE FUNCTION recon.draw_sample(p_book_id int, p_bank_account text, p_date date, p_wanted int) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_account settlement.bank_account_root;
    v_sha     text;
    v_sample  recon.audit_sample;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT * INTO v_account FROM settlement.bank_account_root a WHERE a.book_id = p_book_id AND a.code = p_bank_account;
    SELECT s.sha256 INTO v_sha FROM recon.sign_off_current s
     WHERE s.book_id = p_book_id AND s.bank_account = p_bank_account AND s.business_date = p_date;
    IF v_sha IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'sign_off_certified',
            MESSAGE = format('%s has no certificate for %s to draw a sample under.', p_bank_account, p_date);
    END IF;
    INSERT INTO recon.audit_sample (book_id, bank_account_id, business_date, certificate_sha256, wanted_count, population_count,
                                    population_minor, interval_size, start_at, lightest_weight)
    SELECT p_book_id, v_account.bank_account_id, p_date, v_sha, p_wanted, t.sets, t.value_minor, i.size,
           1 + mod(('x' || left(v_sha, 15))::bit(60)::bigint, i.size), t.lightest
      FROM (SELECT count(*) AS sets, sum(v.value_minor) AS value_minor, min(v.weight) AS lightest, max(v.through) AS through
              FROM recon.audit_population(v_account.transit_account_id, p_book_id, p_date, v_sha) v) t
     CROSS JOIN LATERAL (SELECT max(1::bigint << n) AS size FROM generate_series(0, 59) n
                          WHERE n = 0 OR (1::bigint << n)::numeric * p_wanted <= t.through) i
     WHERE t.sets > 0 ON CONFLICT DO NOTHING;
    SELECT * INTO v_sample FROM recon.audit_sample a
     WHERE (a.bank_account_id, a.business_date, a.certificate_sha256) = (v_account.bank_account_id, p_date, v_sha);
    INSERT INTO recon.audit_item (sample_id, match_set_id, rule, value_minor, weight, hits)
    SELECT v_sample.sample_id, h.match_set_id, h.rule, h.value_minor, h.weight, h.hits
      FROM (SELECT v.*, (greatest(div(v.through - v_sample.start_at, v_sample.interval_size) + CASE WHEN v.through >= v_sample.start_at THEN 1 ELSE 0 END, 0)
                       - greatest(div(b.before - v_sample.start_at, v_sample.interval_size) + CASE WHEN b.before >= v_sample.start_at THEN 1 ELSE 0 END, 0))::int AS hits
              FROM recon.audit_population(v_account.transit_account_id, p_book_id, p_date, v_sha) v
             CROSS JOIN LATERAL (SELECT v.through - v.value_minor * v.weight::numeric AS before) b) h
     WHERE h.hits > 0 AND NOT EXISTS (SELECT FROM recon.audit_item i WHERE i.sample_id = v_sample.sample_id)
     ORDER BY h.match_set_id ON CONFLICT DO NOTHING;
    RETURN v_sample.sample_id;
END $$;

CREATE FUNCTION recon.review_set(p_book_id int, p_sample_id bigint, p_match_set_id bigint, p_false_minor bigint, p_note text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO recon.audit_review (sample_id, match_set_id, false_minor, note)
    SELECT s.sample_id, p_match_set_id, p_false_minor, p_note FROM recon.audit_sample s WHERE s.sample_id = p_sample_id AND s.book_id = p_book_id;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'audit_sample_known',
            MESSAGE = format('There is no sample %s.', p_sample_id), HINT = 'Draw one: `nostro recon sample DAY --account CODE`.';
    END IF;
END $$;

-- Per rule: live sets, sets that were reviewed or taken back, and how many of those were wrong.
CREATE VIEW recon.rule_evidence AS
SELECT s.book_id, s.rule, count(*) AS sets, count(*) FILTER (WHERE v.is_reviewed OR u.is_back) AS reviewed,
       count(*) FILTER (WHERE v.is_wrong OR u.is_back) AS wrong
  FROM recon.match_set s
  LEFT JOIN (SELECT r.match_set_id, true AS is_reviewed, bool_or(r.false_minor > 0) AS is_wrong FROM recon.audit_review r GROUP BY 1) v USING (match_set_id)
  LEFT JOIN (SELECT DISTINCT l.match_set_id, true AS is_back FROM recon.unmatch u JOIN recon.match_leg l USING (book_id, posting_id, generation)) u
      USING (match_set_id)
 GROUP BY s.book_id, s.rule;
COMMENT ON VIEW recon.rule_evidence IS 'What people found about each rule''s sets: by sampled reviews, and by taking sets back.';

-- Whether people reviewed or took back anything since the last run: only then can a rule have become worse.
CREATE FUNCTION recon.has_new_evidence(p_book_id int) RETURNS boolean
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT EXISTS (SELECT FROM recon.events_after(recon.last_run(p_book_id)) e (event_id) JOIN recon.audit_review v USING (event_id))
        OR EXISTS (SELECT FROM recon.events_after(recon.last_run(p_book_id)) e (event_id) JOIN recon.unmatch u USING (event_id))
$$;
GRANT EXECUTE ON FUNCTION recon.has_new_evidence TO :app;

GRANT SELECT ON recon.audit_sample, recon.audit_item, recon.audit_review, recon.rule_evidence TO :app;
GRANT EXECUTE ON FUNCTION recon.draw_sample, recon.review_set TO :preparer, :approver;
