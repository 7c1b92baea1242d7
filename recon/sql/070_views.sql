-- What people and the warehouse read. One view a question; the comments are the analysts' documentation.

CREATE VIEW recon.run_current AS
SELECT DISTINCT ON (r.book_id, r.business_date) r.run_id, r.book_id, r.business_date, r.input_sha256, r.rules_sha256,
       r.item_count, r.recorded_at, r.recorded_by
  FROM recon.run r ORDER BY r.book_id, r.business_date, r.run_id DESC;
COMMENT ON VIEW recon.run_current IS 'The latest run of each day.';

CREATE VIEW recon.break_current AS
SELECT r.book_id, r.business_date, r.run_id, b.break_id, b.code, b.item_ref, a.code AS bank_account, b.currency,
       b.amount_minor, b.item_count, b.first_date, b.age_days, b.explanation, b.proposal, b.proposal_legs, b.finding_id
  FROM recon.run_current r
  JOIN recon.break_run b USING (run_id)
  JOIN settlement.bank_account_root a USING (bank_account_id);
COMMENT ON VIEW recon.break_current IS 'Every break of each day''s latest run.';

CREATE VIEW recon.open_item_current AS
SELECT r.book_id, r.business_date, o.posting_id, a.code AS bank_account, c.code AS currency, o.amount_minor, o.kind,
       o.reference, o.item_date, o.age_days, o.code, o.break_id
  FROM recon.run_current r
  JOIN recon.open_item o USING (run_id)
  JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN ledger.currency c USING (currency_id);
COMMENT ON VIEW recon.open_item_current IS 'Every open T posting of each day''s latest run with its one code.';

CREATE VIEW recon.cleared_set AS
SELECT s.book_id, s.match_set_id, s.run_id, s.as_of_date, s.rule, s.rule_version, l.posting_id, l.generation, p.account_id,
       p.amount_minor, s.rule LIKE 'routine-%' AS is_routine
  FROM recon.live_leg l
  JOIN recon.match_set s USING (match_set_id)
  JOIN ledger.posting p ON p.posting_id = l.posting_id;
COMMENT ON VIEW recon.cleared_set IS 'Legs of every live cleared set.';

CREATE VIEW recon.rule_summary AS
SELECT s.run_id, s.rule, s.rule_version, count(*) AS set_count, sum(s.leg_count) AS leg_count
  FROM recon.match_set s GROUP BY s.run_id, s.rule, s.rule_version;
COMMENT ON VIEW recon.rule_summary IS 'Sets and legs that each rule cleared in each run.';

-- What policy explained: the bank line, what was posted for it, and the instruction it was about.
CREATE VIEW recon.explained_item AS
SELECT r.book_id, m.run_id, k.closing_date AS statement_date, r.rule, a.code AS bank_account, l.currency, l.booking_date,
       coalesce(l.account_servicer_ref, l.entry_ref) AS reference, l.end_to_end_id, l.amount_minor, l.return_reason, l.bank_tx_code,
       min(i.payee_code) AS payee
  FROM recon.routine_posting r
  JOIN recon.statement_line l ON l.t_posting_id = r.line_posting_id
  JOIN recon.statement_booking k USING (statement_id)
  JOIN settlement.bank_account_root a ON a.bank_account_id = k.bank_account_id
  LEFT JOIN settlement.instruction i ON i.instruction_id = r.instruction_id
  LEFT JOIN recon.live_leg m ON m.book_id = r.book_id AND m.posting_id = r.line_posting_id
 GROUP BY r.book_id, m.run_id, k.closing_date, r.rule, a.code, l.currency, l.booking_date, l.account_servicer_ref, l.entry_ref,
          l.end_to_end_id, l.amount_minor, l.return_reason, l.bank_tx_code, r.line_posting_id;
COMMENT ON VIEW recon.explained_item IS 'Bank lines that policy answered: returns, tariffed charges, interest.';

CREATE VIEW recon.statement_status AS
SELECT s.book_id, a.code AS bank_account, c.code AS currency, s.kind, s.stmt_id, s.sequence, s.closing_date, s.opening_minor,
       s.closing_minor, s.entry_count, s.row_count, s.proof, b.statement_id IS NOT NULL AS is_booked, b.booked_count,
       b.booked_minor, f.name AS file_name, f.sha256 AS file_sha256,
       (SELECT string_agg(g.code || ': ' || g.message, '; ' ORDER BY g.finding_id)
          FROM recon.statement_finding g WHERE g.statement_id = s.statement_id) AS findings,
       q.closing_minor AS previous_closing_minor, q.closing_date AS previous_closing_date
  FROM recon.statement s
  JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN ledger.currency c USING (currency_id)
  JOIN recon.source_file f USING (file_id)
  LEFT JOIN recon.statement_booking b USING (statement_id)
  LEFT JOIN recon.statement_booking q ON q.statement_id = b.previous_id
 WHERE NOT EXISTS (SELECT FROM recon.statement_page p WHERE p.page_statement_id = s.statement_id);
COMMENT ON VIEW recon.statement_status IS
    'Every statement, report and notification: proven, booked, and what is wrong with it. Pages that were joined are one.';

CREATE VIEW recon.certificate_current AS
SELECT DISTINCT ON (c.bank_account_id, c.business_date) c.book_id, a.code AS bank_account, cc.code AS currency, c.business_date,
       c.opening_minor, c.lines_minor, c.closing_minor, c.nostro_minor, c.transit_minor, c.open_minor, c.residual_minor,
       c.sha256, c.run_id
  FROM recon.certificate c
  JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN ledger.currency cc USING (currency_id)
 ORDER BY c.bank_account_id, c.business_date, c.run_id DESC;
COMMENT ON VIEW recon.certificate_current IS 'The latest certificate of each bank account and day.';

-- From a bank line to the postings it made, and to the set and instruction it cleared with.
CREATE VIEW recon.lineage AS
SELECT l.book_id, a.code AS bank_account, s.stmt_id, l.line_ordinal, l.detail_ordinal, l.booking_date, l.amount_minor, l.currency,
       l.account_servicer_ref, l.end_to_end_id, f.name AS file_name, f.sha256 AS file_sha256, l.source_line,
       l.n_posting_id, l.t_posting_id, m.match_set_id, m.rule
  FROM recon.statement_line l
  JOIN recon.statement s USING (statement_id)
  JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN recon.source_file f USING (file_id)
  LEFT JOIN recon.live_leg m ON m.book_id = l.book_id AND m.posting_id = l.t_posting_id;
COMMENT ON VIEW recon.lineage IS 'Each bank line with its file and line, its postings, and the set it cleared in.';

CREATE VIEW recon.file_status AS
SELECT f.book_id, f.file_id, f.name, f.sha256, f.byte_count, o.kind, o.outcome, o.reason, f.recorded_at
  FROM recon.source_file f
  JOIN (SELECT DISTINCT ON (file_id) * FROM recon.source_outcome ORDER BY file_id, ordinal DESC) o USING (file_id);
COMMENT ON VIEW recon.file_status IS 'Every file that came in, and what became of it.';

GRANT SELECT ON recon.run_current, recon.break_current, recon.open_item_current, recon.cleared_set, recon.rule_summary,
    recon.explained_item, recon.statement_status, recon.certificate_current, recon.lineage, recon.file_status TO :app, :analyst;
