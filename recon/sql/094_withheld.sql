-- Sets taken back by people, and rules that only suggest: what a run must not clear by itself.

CREATE FUNCTION recon.request_unmatch(p_match_set_id bigint, p_reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_book int := (SELECT x.book_id FROM recon.match_set x WHERE x.match_set_id = p_match_set_id);
    v_id   bigint;
BEGIN
    PERFORM ledger.require_book(v_book);
    IF NOT EXISTS (SELECT FROM recon.live_leg l WHERE l.match_set_id = p_match_set_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'unmatch_live',
            MESSAGE = format('There is no cleared set %s, or it was taken back already.', p_match_set_id);
    END IF;
    PERFORM recon.refuse_unmatch_of_return(ARRAY[p_match_set_id]);
    INSERT INTO recon.unmatch_request (book_id, match_set_id, reason) VALUES (v_book, p_match_set_id, p_reason) RETURNING request_id INTO v_id;
    RETURN v_id;
END $$;

-- Takes a whole set back, as another person asked. Its postings are open again; the same set is not cleared by a rule any
-- more, a person may. A set that an approved proposal made takes the proposal back whole: its other sets too, and its entry
-- is reversed on the first free day.
CREATE FUNCTION recon.unmatch_set(p_match_set_id bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_book    int := (SELECT x.book_id FROM recon.match_set x WHERE x.match_set_id = p_match_set_id);
    v_request recon.unmatch_request;
    v_undo    record;
    v_entry   bigint;
    v_set     bigint;
    v_count   int := 0;
    v_more    int;
BEGIN
    PERFORM ledger.require_book(v_book);
    IF v_book IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'unmatch_live', MESSAGE = format('There is no cleared set %s.', p_match_set_id);
    END IF;
    IF NOT EXISTS (SELECT FROM recon.live_leg l WHERE l.match_set_id = p_match_set_id) THEN RETURN 0; END IF;
    SELECT * INTO v_request FROM recon.unmatch_request q WHERE q.match_set_id = p_match_set_id
     ORDER BY (q.requested_by = session_user), q.request_id DESC LIMIT 1;
    IF NOT FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'unmatch_four_eyes',
            MESSAGE = format('Nobody asked to take set %s back.', p_match_set_id),
            HINT = 'One person asks: `nostro recon unmatch SET --reason …`; another approves.';
    END IF;
    SELECT a.adjustment_id, p.entry_id, e.idempotency_key INTO v_undo
      FROM recon.adjustment a JOIN recon.adjustment_approval p USING (adjustment_id) JOIN recon.adjustment_item x USING (adjustment_id)
      JOIN recon.live_leg l ON l.book_id = a.book_id AND l.posting_id = x.posting_id AND l.match_set_id = p_match_set_id
      LEFT JOIN ledger.entry e ON e.entry_id = p.entry_id
     WHERE NOT EXISTS (SELECT FROM recon.adjustment_undo u WHERE u.adjustment_id = a.adjustment_id)
       AND l.rule IN ('adjustment', 'manual-match')
     LIMIT 1;
    FOR v_set IN
        SELECT p_match_set_id UNION
        SELECT l.match_set_id FROM recon.adjustment_item x JOIN recon.live_leg l ON l.book_id = v_book AND l.posting_id = x.posting_id
         WHERE x.adjustment_id = v_undo.adjustment_id ORDER BY 1
    LOOP
        INSERT INTO recon.unmatch (book_id, posting_id, generation, request_id)
        SELECT l.book_id, l.posting_id, l.generation, v_request.request_id FROM recon.match_leg l
         WHERE l.match_set_id = v_set ORDER BY l.posting_id ON CONFLICT DO NOTHING;
        GET DIAGNOSTICS v_more = ROW_COUNT;
        v_count := v_count + v_more;
        PERFORM recon.note_late_unmatch(v_set);
    END LOOP;
    IF v_undo.adjustment_id IS NOT NULL THEN
        IF v_undo.entry_id IS NOT NULL THEN
            v_entry := ledger.reverse_internal(v_book, 'recon', v_undo.idempotency_key, recon.first_free_day(v_book, ARRAY(
                SELECT DISTINCT p.account_id FROM recon.adjustment_item x JOIN ledger.posting p USING (posting_id)
                 WHERE x.adjustment_id = v_undo.adjustment_id)), v_request.reason);
        END IF;
        INSERT INTO recon.adjustment_undo (adjustment_id, entry_id) VALUES (v_undo.adjustment_id, v_entry);
    END IF;
    RETURN v_count;
END $$;

-- A set of people is what two of them (or a policy) approved, leg by leg, whoever stages it: the items of a proposal with the
-- legs of its entry on that account; an undone entry with its reversal.
CREATE FUNCTION recon.check_decided_legs() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_set bigint;
BEGIN
    SELECT s.match_set_id INTO v_set
      FROM recon.match_set s
     WHERE s.match_set_id IN (SELECT n.match_set_id FROM new_leg n) AND s.rule IN ('manual-match', 'adjustment', 'adjustment-undone')
       AND NOT EXISTS (
           SELECT FROM (
               SELECT x.adjustment_id FROM new_leg n JOIN recon.adjustment_item x USING (posting_id) WHERE n.match_set_id = s.match_set_id
               UNION
               SELECT p.adjustment_id FROM new_leg n JOIN ledger.posting g USING (posting_id) JOIN recon.adjustment_approval p USING (entry_id)
                WHERE n.match_set_id = s.match_set_id) c
             JOIN recon.adjustment a USING (adjustment_id) JOIN recon.adjustment_approval p USING (adjustment_id)
             LEFT JOIN recon.adjustment_undo u USING (adjustment_id)
            WHERE a.book_id = s.book_id AND (u.adjustment_id IS NOT NULL) = (s.rule = 'adjustment-undone')
              AND (a.kind = 'match') = (s.rule = 'manual-match')
              AND ARRAY(SELECT n.posting_id FROM new_leg n WHERE n.match_set_id = s.match_set_id ORDER BY 1)
                = ARRAY(SELECT m.posting_id FROM (
                            SELECT x.posting_id FROM recon.adjustment_item x WHERE x.adjustment_id = a.adjustment_id AND u.adjustment_id IS NULL
                            UNION
                            SELECT g.posting_id FROM ledger.entry e JOIN ledger.posting g
                                ON g.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
                             WHERE e.entry_id IN (p.entry_id, u.entry_id)) m
                          JOIN ledger.posting q USING (posting_id)
                         WHERE q.account_id = (SELECT min(o.account_id) FROM new_leg n JOIN ledger.posting o USING (posting_id)
                                                WHERE n.match_set_id = s.match_set_id)
                         ORDER BY 1))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'match_set_decided',
            MESSAGE = format('Set %s is called people''s, and is not what an approved proposal closes.', v_set),
            HINT = 'Propose it, and let another person approve.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER check_decided_legs AFTER INSERT ON recon.match_leg
    REFERENCING NEW TABLE AS new_leg FOR EACH STATEMENT EXECUTE FUNCTION recon.check_decided_legs();
ALTER TABLE recon.match_leg ENABLE ALWAYS TRIGGER check_decided_legs;

-- Sets that people took back of which a posting is among those that a run must look at: a rule that finds just such a set
-- again suggests it.
CREATE FUNCTION recon.denied_sets(p_book_id int, p_date date, p_run_before bigint)
RETURNS TABLE (match_set_id bigint, posting_id bigint, said_by text, reason text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT l.match_set_id, l.posting_id, settlement.person(q.requested_by), q.reason
      FROM (SELECT DISTINCT m.match_set_id FROM recon.touched(p_book_id, p_date, p_run_before) t
              JOIN recon.unmatch u ON u.book_id = p_book_id AND u.posting_id = t.posting_id
              JOIN recon.match_leg m ON (m.book_id, m.posting_id, m.generation) = (u.book_id, u.posting_id, u.generation)) s
      JOIN recon.match_leg l USING (match_set_id)
      JOIN recon.unmatch u USING (book_id, posting_id, generation) JOIN recon.unmatch_request q USING (request_id)
     ORDER BY l.match_set_id, l.posting_id
$$;

-- Whether a rule clears by itself or only suggests; the last row of a rule counts, no row: it clears.
CREATE TABLE recon.rule_status (
    book_id     int  NOT NULL REFERENCES ledger.book,
    rule        text NOT NULL,
    ordinal     int  NOT NULL CHECK (ordinal > 0),
    status      text NOT NULL CHECK (status IN ('auto', 'suggest')),
    reason      text NOT NULL CHECK (length(reason) >= 5),
    reviewed    int  CHECK (reviewed >= 0),
    wrong       int  CHECK (wrong BETWEEN 0 AND reviewed),
    lower_ppm   int,
    upper_ppm   int,
    target_ppm  int,
    decided_by  text NOT NULL DEFAULT session_user,
    decided_at  timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT rule_status_once PRIMARY KEY (book_id, rule, ordinal)
);
SELECT ledger.make_append_only('recon.rule_status');
SELECT recon.record_events('recon.rule_status', 'book');
COMMENT ON TABLE recon.rule_status IS
    'Rules that fell back to suggestions, or clear by themselves again, with the evidence: reviewed sets, wrong ones, 95 % bounds of the '
    'precision and the target, in millionths.';

CREATE FUNCTION recon.add_rule_status(
    p_book_id int, p_rule text, p_status text, p_reason text, p_reviewed int, p_wrong int, p_lower_ppm int, p_upper_ppm int, p_target_ppm int)
RETURNS boolean
LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    WITH last AS (SELECT max(r.ordinal) AS ordinal, (array_agg(r.status ORDER BY r.ordinal DESC))[1] AS status
                    FROM recon.rule_status r WHERE r.book_id = p_book_id AND r.rule = p_rule),
    added AS (
        INSERT INTO recon.rule_status (book_id, rule, ordinal, status, reason, reviewed, wrong, lower_ppm, upper_ppm, target_ppm)
        SELECT p_book_id, p_rule, coalesce(l.ordinal, 0) + 1, p_status, p_reason, p_reviewed, p_wrong, p_lower_ppm, p_upper_ppm, p_target_ppm
          FROM last l WHERE coalesce(l.status, 'auto') <> p_status RETURNING true)
    SELECT EXISTS (SELECT FROM added)
$$;
COMMENT ON FUNCTION recon.add_rule_status IS 'Internal: suggest_rule and trust_rule call it.';

-- Any login may make a rule more careful; only an approver lets it clear by itself again.
CREATE FUNCTION recon.suggest_rule(
    p_book_id int, p_rule text, p_reason text, p_reviewed int, p_wrong int, p_lower_ppm int, p_upper_ppm int, p_target_ppm int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    RETURN recon.add_rule_status(p_book_id, p_rule, 'suggest', p_reason, p_reviewed, p_wrong, p_lower_ppm, p_upper_ppm, p_target_ppm);
END $$;

CREATE FUNCTION recon.trust_rule(
    p_book_id int, p_rule text, p_reason text, p_reviewed int, p_wrong int, p_lower_ppm int, p_upper_ppm int, p_target_ppm int) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    RETURN recon.add_rule_status(p_book_id, p_rule, 'auto', p_reason, p_reviewed, p_wrong, p_lower_ppm, p_upper_ppm, p_target_ppm);
END $$;

CREATE VIEW recon.rule_status_current AS
SELECT DISTINCT ON (r.book_id, r.rule) r.* FROM recon.rule_status r ORDER BY r.book_id, r.rule, r.ordinal DESC;
COMMENT ON VIEW recon.rule_status_current IS 'What was last decided about each rule; a rule that is not here clears by itself.';

-- The sum of hashes of every approved decision by a day, and of those undone: what the run before had, those that count since
-- its day, those that came since. Internal.
CREATE FUNCTION recon.decision_digest(p_book_id int, p_date date, p_run_before bigint) RETURNS numeric
LANGUAGE plpgsql STABLE SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_before recon.run;
BEGIN
    SELECT * INTO v_before FROM recon.run r WHERE r.run_id = p_run_before;
    RETURN coalesce(v_before.decision_digest, 0) + (
        SELECT coalesce(sum(hashint8extended(x.adjustment_id, x.kind)::numeric), 0) FROM (
            SELECT a.adjustment_id, 1 AS kind FROM recon.adjustment_approval a
             WHERE a.effective_date > coalesce(v_before.business_date, '-infinity') AND a.effective_date <= p_date
            UNION
            SELECT a.adjustment_id, 1 FROM recon.events_after(p_run_before) e (event_id) JOIN recon.adjustment_approval a USING (event_id)
             WHERE a.effective_date <= p_date
            UNION
            SELECT a.adjustment_id, 2 FROM recon.adjustment_approval a JOIN recon.adjustment_undo u USING (adjustment_id)
             WHERE a.effective_date > coalesce(v_before.business_date, '-infinity') AND a.effective_date <= p_date
            UNION
            SELECT a.adjustment_id, 2 FROM recon.events_after(p_run_before) e (event_id) JOIN recon.adjustment_undo u USING (event_id)
              JOIN recon.adjustment_approval a USING (adjustment_id) WHERE a.effective_date <= p_date) x
          JOIN recon.adjustment m USING (adjustment_id)
         WHERE m.book_id = p_book_id AND m.kind <> 'accept');
END $$;

-- What a run depends on beside recon.run_input: what people decided, and rules that only suggest.
CREATE FUNCTION recon.decisions_input(p_book_id int, p_date date) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT concat_ws(E'\n',
        recon.decision_digest(p_book_id, p_date, recon.run_before(p_book_id, p_date)),
        (SELECT string_agg(s.rule, ',' ORDER BY s.rule) FROM recon.rule_status_current s WHERE s.book_id = p_book_id AND s.status = 'suggest'))
$$;

GRANT SELECT ON recon.rule_status, recon.rule_status_current TO :app;
GRANT SELECT ON recon.rule_status_current TO :analyst;
GRANT EXECUTE ON FUNCTION recon.denied_sets, recon.decisions_input, recon.suggest_rule TO :app;
GRANT EXECUTE ON FUNCTION recon.request_unmatch TO :preparer, :approver;
GRANT EXECUTE ON FUNCTION recon.unmatch_set, recon.trust_rule TO :approver;
