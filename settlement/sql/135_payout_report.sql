-- What a payout is made of, from postings alone: what the payee earned and gave back, what was held, what was paid.
--
-- Amounts are the payee's: positive adds to the payout. The parts of a payout add up to its net, which is what went to
-- cash in transit; `settlement.payout_parts.residual_minor` says by how much they do not (0).

-- What kind of event a journal entry is, its key's first word says (docs/lineage.md); an entry that reverses another is
-- of the other's kind.
CREATE VIEW settlement.payout_line AS
SELECT i.instruction_id, g.book_id, part.component, m.posting_id, p.entry_id, e.idempotency_key, p.effective_date,
       part.amount_minor
  FROM settlement.instruction i
  JOIN settlement.clearing_group g ON g.group_id = i.instruction_id
  JOIN settlement.obligation o ON o.obligation_id = i.instruction_id
 CROSS JOIN LATERAL (SELECT unnest(o.posting_ids) UNION ALL
                     SELECT (b.batch_id << 20) + unnest(b.posting_nos) FROM ledger.posting_block b
                      WHERE b.account_id = o.account_id AND b.batch_id = ANY (o.whole_batch_ids)) m (posting_id)
 CROSS JOIN LATERAL (SELECT * FROM ledger.posting p WHERE p.posting_id = m.posting_id LIMIT 1) p
 CROSS JOIN LATERAL (SELECT * FROM ledger.entry e WHERE e.entry_id = p.entry_id LIMIT 1) e
  LEFT JOIN LATERAL (SELECT w.idempotency_key FROM ledger.entry w WHERE w.entry_id = e.reverses_entry_id LIMIT 1) was ON true
  LEFT JOIN LATERAL (SELECT true AS is_so FROM settlement.clearing_group c
                      WHERE c.remainder_posting_id = m.posting_id LIMIT 1) carried ON true
  LEFT JOIN LATERAL (SELECT true AS is_so FROM settlement.reserve_release c
                      WHERE c.payable_posting_id = m.posting_id LIMIT 1) freed ON true
  LEFT JOIN LATERAL (SELECT true AS is_so FROM settlement.reopening c
                      WHERE c.payable_posting_id = m.posting_id LIMIT 1) back ON true
 CROSS JOIN LATERAL (
       -- The entry's other legs in the payee's currency. A fee is the payee's own when nobody else is paid by the entry.
       SELECT CASE WHEN count(*) FILTER (WHERE a.settleable) = 1
                   THEN coalesce(-sum(l.amount_minor) FILTER (WHERE a.type = 'income'), 0) ELSE 0 END::bigint AS fee_minor,
              coalesce(bool_or(a.type <> 'income' AND l.posting_id <> p.posting_id), false) AS is_trade,
              coalesce(bool_or(a.control = 'reserve' OR a.code LIKE 'liabilities:reserve:%'), false) AS is_reserve
         FROM ledger.posting l JOIN ledger.account a USING (account_id)
        WHERE l.posting_id BETWEEN e.first_posting_id AND e.first_posting_id + e.posting_count - 1
          AND l.currency_id = p.currency_id) legs
 CROSS JOIN LATERAL (SELECT legs.fee_minor - p.amount_minor AS rest_minor,
                            CASE WHEN e.reverses_entry_id IS NULL THEN 1 ELSE -1 END AS side) sum
 CROSS JOIN LATERAL (SELECT CASE lower(substring(coalesce(was.idempotency_key, e.idempotency_key), '[A-Za-z]+'))
                                 WHEN 'refund' THEN 'refunds' WHEN 'chargeback' THEN 'chargebacks'
                                 WHEN 'dispute' THEN 'chargebacks' END AS component) kind
 CROSS JOIN LATERAL (VALUES
       (CASE WHEN carried.is_so THEN 'carried_in' WHEN freed.is_so THEN 'reserve_released' WHEN back.is_so THEN 'reopened'
             WHEN NOT legs.is_trade AND p.amount_minor > 0 THEN 'fees'
             WHEN NOT legs.is_trade THEN 'adjustments'
             WHEN legs.is_reserve THEN CASE WHEN sum.rest_minor > 0 THEN 'reserve_released' ELSE 'reserve_taken' END
             ELSE coalesce(kind.component,
                           CASE WHEN sum.side * sum.rest_minor > 0 THEN 'gross' ELSE 'adjustments' END) END,
        CASE WHEN carried.is_so OR freed.is_so OR back.is_so OR NOT legs.is_trade THEN -p.amount_minor ELSE sum.rest_minor END),
       ('fees',
        CASE WHEN carried.is_so OR freed.is_so OR back.is_so OR NOT legs.is_trade THEN 0 ELSE -legs.fee_minor END)
       ) part (component, amount_minor)
 WHERE part.amount_minor <> 0
UNION ALL
SELECT t.group_id, g.book_id, 'reserve_taken', t.posting_id, p.entry_id, e.idempotency_key, p.effective_date, p.amount_minor
  FROM settlement.reserve_taken t JOIN settlement.clearing_group g USING (group_id)
  JOIN ledger.posting p ON p.posting_id = t.posting_id JOIN ledger.entry e ON e.entry_id = p.entry_id
UNION ALL
SELECT g.group_id, g.book_id, 'carried_out', g.remainder_posting_id, p.entry_id, e.idempotency_key, p.effective_date, p.amount_minor
  FROM settlement.clearing_group g
  JOIN ledger.posting p ON p.posting_id = g.remainder_posting_id JOIN ledger.entry e ON e.entry_id = p.entry_id;
COMMENT ON VIEW settlement.payout_line IS
    'Every part of every payout with the posting it comes from; amount_minor is the payee''s: positive adds to the payout.';

CREATE VIEW settlement.payout_parts AS
SELECT g.book_id, g.group_id AS instruction_id, s.gross_minor, s.fees_minor, s.refunds_minor, s.chargebacks_minor,
       s.reserve_taken_minor, s.reserve_released_minor, s.carried_in_minor, s.carried_out_minor, s.reopened_minor,
       s.adjustments_minor, -p.amount_minor AS net_minor, (s.total_minor + p.amount_minor)::bigint AS residual_minor, s.item_count
  FROM settlement.clearing_group g
  JOIN ledger.posting p ON p.posting_id = g.transit_posting_id
 CROSS JOIN LATERAL (
       SELECT coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'gross'), 0)::bigint AS gross_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'fees'), 0)::bigint AS fees_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'refunds'), 0)::bigint AS refunds_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'chargebacks'), 0)::bigint AS chargebacks_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'reserve_taken'), 0)::bigint AS reserve_taken_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'reserve_released'), 0)::bigint AS reserve_released_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'carried_in'), 0)::bigint AS carried_in_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'carried_out'), 0)::bigint AS carried_out_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'reopened'), 0)::bigint AS reopened_minor,
              coalesce(sum(l.amount_minor) FILTER (WHERE l.component = 'adjustments'), 0)::bigint AS adjustments_minor,
              coalesce(sum(l.amount_minor), 0)::bigint AS total_minor, count(DISTINCT l.posting_id) AS item_count
         FROM settlement.payout_line l WHERE l.instruction_id = g.group_id) s;
COMMENT ON VIEW settlement.payout_parts IS
    'Each sealed payment in its parts: gross + fees + refunds + chargebacks + reserves + carried + re-opened + adjustments = net.';
GRANT SELECT ON settlement.payout_line, settlement.payout_parts TO :app, :analyst;
