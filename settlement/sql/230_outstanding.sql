-- What is open, from the records that open and end it. (Each is looked up by its key: of what was written in this
-- transaction the planner knows nothing.)

CREATE VIEW settlement.outstanding_by_record AS
SELECT 'hold' AS what, h.hold_id AS id, h.book_id, was.payee_id, NULL::date AS due_on, NULL::bigint AS left_minor
  FROM settlement.hold h
 CROSS JOIN LATERAL (SELECT * FROM settlement.payee_version v WHERE v.payee_version_id = h.payee_version_id LIMIT 1) was
 CROSS JOIN LATERAL (SELECT * FROM settlement.payee_version v WHERE v.payee_id = was.payee_id ORDER BY v.version DESC LIMIT 1) now
  LEFT JOIN LATERAL (SELECT true AS is_over FROM settlement.hold_release r WHERE r.hold_id = h.hold_id LIMIT 1) r ON true
 WHERE r.is_over IS NULL
   AND (NOT h.ends_by_details OR (now.name, now.iban, now.bic) IS NOT DISTINCT FROM (was.name, was.iban, was.bic))
UNION ALL
SELECT 'payee_hold', h.payee_hold_id, y.book_id, h.payee_id, NULL, NULL
  FROM settlement.payee_hold h
 CROSS JOIN LATERAL (SELECT * FROM settlement.payee y WHERE y.payee_id = h.payee_id LIMIT 1) y
  LEFT JOIN LATERAL (SELECT true AS is_over FROM settlement.payee_hold_release r WHERE r.payee_hold_id = h.payee_hold_id LIMIT 1) r ON true
 WHERE r.is_over IS NULL
UNION ALL
SELECT 'reserve', t.reserve_id, y.book_id, t.payee_id, t.release_on, coalesce(r.left_minor, t.amount_minor)
  FROM settlement.reserve_taken t
 CROSS JOIN LATERAL (SELECT * FROM settlement.payee y WHERE y.payee_id = t.payee_id LIMIT 1) y
  LEFT JOIN LATERAL (SELECT r.left_minor FROM settlement.reserve_release r WHERE r.reserve_id = t.reserve_id
                      ORDER BY r.left_minor LIMIT 1) r ON true
 WHERE coalesce(r.left_minor, 1) > 0
UNION ALL
SELECT 'lost_send', l.lost_send_id, l.book_id, NULL, NULL, NULL
  FROM settlement.lost_send l
  LEFT JOIN LATERAL (SELECT true AS is_over FROM settlement.lost_send_end e WHERE e.lost_send_id = l.lost_send_id LIMIT 1) e ON true
 WHERE e.is_over IS NULL;
COMMENT ON VIEW settlement.outstanding_by_record IS 'What settlement.outstanding must say, from all records there are.';

CREATE FUNCTION settlement.verify_outstanding(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    SELECT 10, format('%s %s', replace(what, '_', ' '), id),
           CASE WHEN o.book_id IS NULL THEN 'is open by its records, and not among what is outstanding'
                WHEN r.book_id IS NULL THEN 'is outstanding, and not open by its records'
                ELSE format('is outstanding with %s, and by its records with %s', o, r) END
      FROM (SELECT * FROM settlement.outstanding WHERE book_id = p_book_id) o
      FULL JOIN (SELECT * FROM settlement.outstanding_by_record WHERE book_id = p_book_id) r USING (what, id)
     WHERE o IS DISTINCT FROM r
$$;
GRANT EXECUTE ON FUNCTION settlement.verify_outstanding TO :app;
