-- What was known at a number of the knowledge order: events, proposals and cleared sets as they stood then.

-- One row for each thing that was recorded. A run's own steps on breaks are counted with the run.
CREATE VIEW recon.event_log AS
SELECT n.book_id, n.seq, n.numbered_at, e.recorded_by, w.what, w.subject
  FROM recon.event_number n
  JOIN recon.event e USING (event_id)
 CROSS JOIN LATERAL (
       SELECT 'run' AS what, format('%s of %s', r.run_id, r.business_date) AS subject FROM recon.run r WHERE r.event_id = n.event_id
       UNION ALL
       SELECT 'break ' || b.action, b.break_id FROM recon.break_event b WHERE b.event_id = n.event_id
          AND NOT EXISTS (SELECT FROM recon.run r WHERE r.event_id = n.event_id)
       UNION ALL
       SELECT 'set asked back', q.match_set_id::text FROM recon.unmatch_request q WHERE q.event_id = n.event_id
       UNION ALL
       SELECT DISTINCT 'set taken back', l.match_set_id::text
         FROM recon.unmatch u JOIN recon.match_leg l USING (book_id, posting_id, generation) WHERE u.event_id = n.event_id
       UNION ALL
       SELECT 'finding ' || CASE WHEN f.is_resolved THEN 'accepted' ELSE 'taken up' END, 'S' || f.finding_id
         FROM recon.finding_resolution f WHERE f.event_id = n.event_id
       UNION ALL
       SELECT 'rule ' || CASE s.status WHEN 'auto' THEN 'trusted' ELSE 'only suggests' END, s.rule
         FROM recon.rule_status s WHERE s.event_id = n.event_id
       UNION ALL
       SELECT DISTINCT 'thresholds', 'version ' || t.version FROM recon.severity_threshold t WHERE t.event_id = n.event_id
       UNION ALL
       SELECT 'certificate ' || o.role, format('%s %s', a.code, o.business_date)
         FROM recon.sign_off o JOIN settlement.bank_account_root a USING (bank_account_id) WHERE o.event_id = n.event_id
       UNION ALL
       SELECT 'set reviewed', v.match_set_id::text FROM recon.audit_review v WHERE v.event_id = n.event_id) w;
COMMENT ON VIEW recon.event_log IS 'What runs and people recorded, in the order in which it became known, each with its number.';

-- Proposals for a break with what had become of them; match_set_id is the set that its items stood in then.
CREATE FUNCTION recon.break_proposals(p_book_id int, p_break_id text, p_known_seq bigint)
RETURNS TABLE (adjustment_id bigint, kind text, template text, state text, effective_date date, reason text, proposed_by text,
               approved_by text, policy_id bigint, entry_key text, match_set_id bigint, legs text[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT a.adjustment_id, a.kind, a.template,
           CASE WHEN u.adjustment_id IS NOT NULL THEN 'undone' WHEN p.adjustment_id IS NOT NULL THEN 'approved'
                ELSE coalesce(e.outcome, 'proposed') END,
           coalesce(p.effective_date, a.effective_date), a.reason, settlement.person(a.proposed_by), settlement.person(p.approved_by),
           p.policy_id, n.idempotency_key,
           (SELECT min(l.match_set_id) FROM recon.adjustment_item x
              JOIN recon.match_leg l ON l.book_id = a.book_id AND l.posting_id = x.posting_id
              JOIN recon.match_set s USING (match_set_id) JOIN recon.run r USING (run_id)
             WHERE x.adjustment_id = a.adjustment_id AND recon.is_known(r.event_id, p_known_seq)
               AND NOT EXISTS (SELECT FROM recon.unmatch t WHERE (t.book_id, t.posting_id, t.generation) = (l.book_id, l.posting_id, l.generation)
                                  AND recon.is_known(t.event_id, p_known_seq))),
           coalesce((SELECT array_agg(l.account || ' ' || l.amount_minor ORDER BY l.leg) FROM recon.adjustment_leg l
                      WHERE l.adjustment_id = a.adjustment_id), '{}')
      FROM recon.adjustment a
      LEFT JOIN recon.adjustment_approval p ON p.adjustment_id = a.adjustment_id AND recon.is_known(p.event_id, p_known_seq)
      LEFT JOIN recon.adjustment_end e ON e.adjustment_id = a.adjustment_id AND recon.is_known(e.event_id, p_known_seq)
      LEFT JOIN recon.adjustment_undo u ON u.adjustment_id = a.adjustment_id AND recon.is_known(u.event_id, p_known_seq)
      LEFT JOIN ledger.entry n ON n.entry_id = p.entry_id
     WHERE a.book_id = p_book_id AND a.break_id = p_break_id AND recon.is_known(a.event_id, p_known_seq)
     ORDER BY a.adjustment_id
$$;

-- Cleared sets that count on a day and stood at a number: which rule or who, since which run, worth what.
CREATE FUNCTION recon.sets_at(p_book_id int, p_date date, p_known_seq bigint)
RETURNS TABLE (match_set_id bigint, run_id bigint, rule text, rule_version int, bank_account text, currency text, leg_count int,
               value_minor bigint, rivals int, margin int, decided_by text, posting_ids bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT s.match_set_id, s.run_id, s.rule, s.rule_version, min(b.code), min(c.code), s.leg_count,
           coalesce(sum(p.amount_minor) FILTER (WHERE p.amount_minor > 0), 0)::bigint, s.rivals, s.margin,
           (SELECT min(settlement.person(coalesce(v.approved_by, v.proposed_by))) FROM recon.adjustment_current v
             JOIN recon.adjustment_item x USING (adjustment_id)
            WHERE s.rule IN ('adjustment', 'manual-match') AND v.book_id = p_book_id AND x.posting_id = ANY (array_agg(l.posting_id))),
           array_agg(l.posting_id ORDER BY l.posting_id)
      FROM recon.match_set s
      JOIN recon.run r USING (run_id)
      JOIN recon.match_leg l USING (match_set_id)
      JOIN ledger.posting p ON p.posting_id = l.posting_id
      JOIN settlement.bank_account_root b ON b.transit_account_id = p.account_id
      JOIN ledger.currency c ON c.currency_id = p.currency_id
     WHERE s.book_id = p_book_id AND s.as_of_date = p_date AND recon.is_known(r.event_id, p_known_seq)
       AND NOT EXISTS (SELECT FROM recon.unmatch u WHERE (u.book_id, u.posting_id, u.generation) = (l.book_id, l.posting_id, l.generation)
                          AND recon.is_known(u.event_id, p_known_seq))
     GROUP BY s.match_set_id
     ORDER BY s.match_set_id
$$;
COMMENT ON FUNCTION recon.sets_at IS 'Cleared sets of a day as they stood at a number of the knowledge order, or stand now.';

-- Bank lines that policy answered and that cleared in a run, as far as their sets stood at a number.
CREATE FUNCTION recon.run_explained(p_book_id int, p_run_id bigint, p_known_seq bigint)
RETURNS TABLE (rule text, bank_account text, currency text, reference text, amount_minor bigint, payee text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT x.rule, a.code, l.currency, coalesce(l.account_servicer_ref, l.entry_ref), l.amount_minor, min(i.payee_code)
      FROM recon.match_set s
      JOIN recon.match_leg g USING (match_set_id)
      JOIN recon.routine_posting x ON x.line_posting_id = g.posting_id
      JOIN recon.statement_line l ON l.t_posting_id = g.posting_id
      JOIN recon.statement_booking k USING (statement_id)
      JOIN settlement.bank_account_root a ON a.bank_account_id = k.bank_account_id
      LEFT JOIN settlement.instruction i ON i.instruction_id = x.instruction_id
     WHERE s.run_id = p_run_id AND s.book_id = p_book_id
       AND NOT EXISTS (SELECT FROM recon.unmatch u WHERE (u.book_id, u.posting_id, u.generation) = (g.book_id, g.posting_id, g.generation)
                          AND recon.is_known(u.event_id, p_known_seq))
     GROUP BY x.rule, a.code, l.currency, l.account_servicer_ref, l.entry_ref, l.amount_minor, g.posting_id
     ORDER BY x.rule, a.code, coalesce(l.account_servicer_ref, l.entry_ref), l.amount_minor, g.posting_id
$$;

-- Sign-off of each certificate of a run, as it stood at a number; the words are those of recon.sign_off_current.
CREATE FUNCTION recon.run_signed(p_book_id int, p_run_id bigint, p_known_seq bigint)
RETURNS TABLE (bank_account text, state text, prepared_by text, reviewed_by text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT a.code, CASE WHEN o.reviewed_by IS NOT NULL THEN 'signed' WHEN o.prepared_by IS NOT NULL THEN 'prepared'
                        WHEN o.was_signed THEN 'changed' ELSE 'unsigned' END, settlement.person(o.prepared_by), settlement.person(o.reviewed_by)
      FROM recon.run r
      JOIN settlement.bank_account_root a ON a.book_id = r.book_id
      JOIN recon.certificate c ON (c.bank_account_id, c.business_date, c.run_id) = (a.bank_account_id, r.business_date, r.run_id)
     CROSS JOIN LATERAL (
           SELECT min(s.person) FILTER (WHERE s.certificate_sha256 = c.sha256 AND s.role = 'prepared') AS prepared_by,
                  min(s.person) FILTER (WHERE s.certificate_sha256 = c.sha256 AND s.role = 'reviewed') AS reviewed_by,
                  coalesce(bool_or(s.role = 'reviewed'), false) AS was_signed
             FROM recon.sign_off s
            WHERE s.bank_account_id = c.bank_account_id AND s.business_date = c.business_date AND recon.is_known(s.event_id, p_known_seq)) o
     WHERE r.run_id = p_run_id AND r.book_id = p_book_id
     ORDER BY a.code
$$;

GRANT SELECT ON recon.event_log TO :app, :analyst;
GRANT EXECUTE ON FUNCTION recon.break_proposals, recon.sets_at, recon.run_explained, recon.run_signed TO :app;
