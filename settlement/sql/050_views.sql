-- What people and the other rooms read.

CREATE VIEW settlement.instruction_current AS
SELECT i.instruction_id, i.file_id, i.ordinal, f.run_id, f.book_id, f.bank_account_id, f.rail, f.currency_id,
       f.msg_id, b.payment_information_id, i.payee_id, i.payee_code, i.payee_name, i.payee_iban,
       i.payable_account_id, i.amount_minor, i.direction, i.end_to_end_id, i.uetr, i.execution_date,
       CASE WHEN r.kind IN ('return', 'taken_back')
            THEN CASE r.back_minor WHEN 0 THEN 'executed' WHEN i.amount_minor THEN 'returned' ELSE 'partly_returned' END
            ELSE coalesce(e.state, CASE WHEN f.state IN ('acknowledged', 'partly_rejected', 'executed', 'disputed', 'reconciled')
                              THEN 'sent' ELSE f.state END) END AS state,
       e.status_code, e.reason_code, e.reason_text,
       g.entry_id AS seal_entry_id, g.transit_posting_id, g.remainder_posting_id,
       CASE WHEN r.back_minor > 0 THEN CASE r.kind WHEN 'taken_back' THEN 'return' ELSE r.kind END END AS reopened_by,
       coalesce(r.back_minor, 0) AS back_minor,
       CASE WHEN r.kind IN ('reject', 'cancel') THEN r.transit_posting_id END AS reject_posting_id,
       CASE WHEN r.kind = 'return' THEN r.transit_posting_id END AS return_posting_id
  FROM settlement.instruction i
  JOIN settlement.file_current f USING (file_id)
  LEFT JOIN settlement.payment_batch b ON b.file_id = i.file_id AND b.batch = i.batch
  LEFT JOIN settlement.clearing_group g ON g.group_id = i.instruction_id
  LEFT JOIN settlement.instruction_event_last e ON e.instruction_id = i.instruction_id
  LEFT JOIN settlement.reopening_last r ON r.instruction_id = i.instruction_id;
COMMENT ON VIEW settlement.instruction_current IS
    'Each instruction with its state, its T postings and what came back (back_minor; return_posting_id: by the last part).';

CREATE VIEW settlement.run_current AS
SELECT r.run_id, r.book_id, r.bank_account_id, b.code AS bank_account, r.business_date, r.cycle,
       r.execution_date, r.cutoff_at, r.proposed_at, r.prepared_by,
       count(f.file_id)::int AS file_count, coalesce(sum(f.instruction_count), 0)::int AS instruction_count,
       coalesce(sum(f.total_minor), 0)::bigint AS total_minor,
       CASE WHEN count(f.file_id) = 0 THEN 'closed'
            WHEN count(DISTINCT f.state) = 1 THEN min(f.state) ELSE 'mixed' END AS state
  FROM settlement.run r
  JOIN settlement.bank_account_root b USING (bank_account_id)
  LEFT JOIN settlement.file_current f USING (run_id)
 GROUP BY r.run_id, b.code;
COMMENT ON VIEW settlement.run_current IS 'Each run; its state is its files''. closed: only zero nets were cleared.';

CREATE VIEW settlement.open_item AS
SELECT p.book_id, p.posting_id, p.entry_id, a.account_id, a.code AS account, y.payee_id, y.code AS payee,
       c.code AS currency, c.exponent, -p.amount_minor AS owed_minor, p.effective_date,
       coalesce(y.hold, false) OR h.posting_id IS NOT NULL AS held,
       CASE WHEN h.posting_id IS NOT NULL THEN h.reason WHEN y.hold THEN 'payee on hold' END AS hold_reason
  FROM ledger.account a
  JOIN ledger.currency c USING (currency_id)
  CROSS JOIN LATERAL (
        SELECT q.* FROM (SELECT * FROM ledger.account_posting q WHERE q.account_id = a.account_id OFFSET 0) q
          LEFT JOIN (SELECT m.posting_id FROM settlement.clearing_member m WHERE m.account_id = a.account_id OFFSET 0) m
                 ON m.posting_id = q.posting_id
         WHERE m.posting_id IS NULL OFFSET 0) p
  LEFT JOIN settlement.payee_current y ON y.account_id = a.account_id
  LEFT JOIN (SELECT posting_id, min(reason) AS reason FROM settlement.hold_active GROUP BY posting_id) h
         ON h.posting_id = p.posting_id
 WHERE a.settleable;
COMMENT ON VIEW settlement.open_item IS
    'Every posting on a settleable account that no clearing group has taken; owed_minor is positive when we owe it.';

CREATE VIEW settlement.lineage AS
SELECT p.book_id, p.posting_id, p.entry_id, p.account_id, p.amount_minor, p.effective_date,
       CASE WHEN p.posting_id = g.clearing_posting_id THEN 'clearing debit' ELSE 'member' END AS role,
       g.group_id, i.instruction_id, i.end_to_end_id, i.amount_minor AS paid_minor, i.file_id, f.msg_id,
       b.payment_information_id,
       g.entry_id AS seal_entry_id, g.transit_posting_id, g.remainder_posting_id
  FROM settlement.clearing_group g
  JOIN settlement.obligation o ON o.obligation_id = g.group_id
  JOIN ledger.posting p ON p.account_id = g.account_id
                       AND p.posting_id = ANY (o.posting_ids || g.clearing_posting_id || ARRAY(
                               SELECT (b.batch_id << 20) + unnest(b.posting_nos) FROM ledger.posting_block b
                                WHERE b.account_id = g.account_id AND b.batch_id = ANY (o.whole_batch_ids)))
                       AND greatest(g.high_posting_id, g.clearing_posting_id) >= p.posting_id  -- by posting: the index of their reach
                       AND (p.posting_id BETWEEN g.low_posting_id AND g.high_posting_id OR p.posting_id = g.clearing_posting_id)
  LEFT JOIN settlement.instruction i ON i.instruction_id = g.group_id
  LEFT JOIN settlement.payment_file f USING (file_id)
  LEFT JOIN settlement.payment_batch b ON b.file_id = i.file_id AND b.batch = i.batch;
COMMENT ON VIEW settlement.lineage IS 'From a cleared posting to its group, instruction, batch, file and T posting.';

GRANT SELECT ON settlement.instruction_current, settlement.run_current, settlement.open_item,
    settlement.lineage TO :app, :analyst;
