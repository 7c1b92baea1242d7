-- What is copied from the books into the DuckDB file: one query a table, each in a total order.
-- A line `-- table: name` starts the next one.

-- table: account
SELECT k.name AS book, a.account_id, a.code AS account, a.type, a.normal_side, c.code AS currency, c.exponent, a.control, a.settleable
  FROM ledger.account a JOIN ledger.book k USING (book_id) JOIN ledger.currency c USING (currency_id)
 ORDER BY a.account_id

-- table: entry
SELECT e.entry_id, e.effective_date, e.idempotency_key AS entry_key, e.reverses_entry_id, s.last_seq AS known_seq
  FROM ledger.entry e LEFT JOIN ledger.batch_seq s ON s.batch_id = e.entry_id >> 20 ORDER BY e.entry_id

-- table: publication
SELECT p.last_seq, p.published_at FROM ledger.publication p ORDER BY p.last_seq

-- table: posting
SELECT p.posting_id, p.entry_id, p.account_id, p.effective_date, p.amount_minor
  FROM ledger.posting p ORDER BY p.posting_id

-- table: bank_account
SELECT k.name AS book, b.code AS bank_account, b.bank, b.iban, b.currency, b.exponent, b.nostro_account_id, b.transit_account_id,
       b.opening_date, b.opening_minor
  FROM settlement.bank_account b JOIN ledger.book k USING (book_id) ORDER BY b.bank_account_id

-- table: payout
SELECT k.name AS book, p.instruction_id, p.end_to_end_id, p.payee, p.payee_name, p.payee_iban, p.bank_account, p.currency, p.exponent,
       p.business_date, p.execution_date, p.amount_minor, p.state, p.reason_code, p.msg_id, p.payment_information_id,
       i.transit_posting_id
  FROM settlement.payout p JOIN ledger.book k USING (book_id) JOIN settlement.instruction_current i USING (instruction_id)
 ORDER BY p.instruction_id

-- table: statement
SELECT k.name AS book, s.bank_account, s.currency, s.kind, s.stmt_id, s.sequence, s.closing_date, s.opening_minor, s.closing_minor,
       s.entry_count, s.proof, s.is_booked, s.booked_count, s.booked_minor, s.file_name, s.file_sha256, s.findings,
       s.previous_closing_minor, s.previous_closing_date
  FROM recon.statement_status s JOIN ledger.book k USING (book_id)
 ORDER BY s.bank_account, s.kind, s.closing_date, s.stmt_id, s.file_sha256

-- table: statement_line
SELECT l.bank_account, l.stmt_id, l.line_ordinal, l.detail_ordinal, l.booking_date, l.amount_minor, l.currency, l.account_servicer_ref,
       l.end_to_end_id, l.file_name, l.source_line, l.n_posting_id, l.t_posting_id
  FROM recon.lineage l ORDER BY l.bank_account, l.stmt_id, l.line_ordinal, l.detail_ordinal, l.t_posting_id

-- table: intraday_entry
SELECT k.name AS book, e.bank_account, e.entry_date, e.status, e.amount_minor, e.currency, e.account_servicer_ref, e.end_to_end_id,
       e.party_name, e.kind, e.report, e.state, e.replaced_by, e.replaced_by_line
  FROM recon.intraday_entry e JOIN ledger.book k USING (book_id)
 ORDER BY e.bank_account, e.entry_date, e.statement_id, e.line_ordinal, e.detail_ordinal

-- table: cleared_leg
SELECT k.name AS book, c.match_set_id, r.business_date, c.rule, c.rule_version, c.is_routine, c.posting_id, c.amount_minor
  FROM recon.cleared_set c JOIN recon.run r USING (run_id) JOIN ledger.book k ON k.book_id = r.book_id ORDER BY c.posting_id

-- table: run
SELECT k.name AS book, r.run_id, r.business_date, r.item_count, r.input_sha256
  FROM recon.run_current r JOIN ledger.book k USING (book_id) ORDER BY r.run_id

-- table: break
SELECT k.name AS book, b.business_date, b.break_id, b.code, b.item_ref, b.bank_account, b.currency, b.amount_minor, b.item_count,
       b.first_date, b.age_days, b.explanation, b.proposal
  FROM recon.break_current b JOIN ledger.book k USING (book_id) ORDER BY b.run_id, b.break_id

-- table: open_item
SELECT k.name AS book, o.business_date, o.posting_id, o.bank_account, o.currency, o.amount_minor, o.kind, o.reference, o.item_date,
       o.age_days, o.code, o.break_id
  FROM recon.open_item_current o JOIN ledger.book k USING (book_id) ORDER BY o.business_date, o.posting_id

-- table: certificate
SELECT k.name AS book, c.bank_account, c.currency, c.business_date, c.opening_minor, c.lines_minor, c.closing_minor, c.nostro_minor,
       c.transit_minor, c.open_minor, c.residual_minor, c.sha256
  FROM recon.certificate_current c JOIN ledger.book k USING (book_id) ORDER BY c.bank_account, c.business_date

-- table: expected_receipt
SELECT k.name AS book, e.payout_id, e.acquirer, b.code AS bank_account, c.code AS currency, c.exponent, e.payout_date, e.gross_minor,
       e.refunds_minor, e.chargebacks_minor, e.fees_minor, e.net_minor, e.t_posting_id
  FROM recon.expected_receipt e JOIN ledger.book k USING (book_id) JOIN ledger.currency c USING (currency_id)
  JOIN settlement.bank_account_root b USING (bank_account_id) ORDER BY e.payout_id
