-- One view a question. The comment of each is its line in docs/analysts.md; a test keeps both equal.

CREATE VIEW open_breaks AS
SELECT b.book, b.business_date, b.bank_account, b.code, b.item_ref, b.break_id, money(b.amount_minor, a.exponent) AS amount, b.currency,
       b.amount_minor, b.item_count, b.age_days, b.explanation, b.proposal
FROM break b JOIN bank_account a USING (book, bank_account)
WHERE b.business_date = (SELECT max(r.business_date) FROM run r WHERE r.book = b.book)
ORDER BY b.book, b.bank_account, b.code, b.item_ref, b.break_id;
COMMENT ON VIEW open_breaks IS 'What is wrong now: every break of the last reconciled day, with what would close it.';

CREATE VIEW break_ageing AS
SELECT book, bank_account, currency, code,
       CASE WHEN age_days <= 1 THEN '0-1' WHEN age_days <= 5 THEN '2-5' WHEN age_days <= 20 THEN '6-20' ELSE 'over 20' END AS age_days,
       count(*) AS breaks, sum(amount_minor)::BIGINT AS amount_minor
FROM open_breaks GROUP BY ALL ORDER BY ALL;
COMMENT ON VIEW break_ageing IS 'How old the open breaks are, in business days, by code.';

CREATE VIEW break_history AS
SELECT book, business_date, bank_account, code, count(*) AS breaks, sum(amount_minor)::BIGINT AS amount_minor
FROM break GROUP BY ALL ORDER BY ALL;
COMMENT ON VIEW break_history IS 'How many breaks of each code were open on each day.';

CREATE VIEW in_flight AS
SELECT o.book, o.business_date, o.bank_account, o.kind, count(*) AS items, sum(o.amount_minor)::BIGINT AS amount_minor, o.currency
FROM open_item o WHERE o.code = 'TIMING' GROUP BY ALL ORDER BY ALL;
COMMENT ON VIEW in_flight IS 'What is on its way and within its time, by day; not breaks.';

CREATE VIEW match_rate AS
WITH cleared AS (
    SELECT business_date, rule, count(DISTINCT match_set_id) AS sets, count(*) AS postings
    FROM cleared_leg GROUP BY ALL),
still_open AS (
    SELECT business_date, count(*) AS postings FROM open_item WHERE code <> 'TIMING' GROUP BY ALL)
SELECT c.business_date, c.rule, c.sets, c.postings,
       sum(c.postings) OVER (PARTITION BY c.business_date)::BIGINT AS cleared_of_day, coalesce(o.postings, 0) AS in_breaks_of_day
FROM cleared c LEFT JOIN still_open o USING (business_date)
ORDER BY c.business_date, c.rule;
COMMENT ON VIEW match_rate IS 'How much each rule cleared on each day, and how much was left in breaks.';

CREATE VIEW cash_position AS
SELECT c.book, c.business_date, c.bank_account, c.currency, money(c.closing_minor, a.exponent) AS at_bank,
       money(c.transit_minor, a.exponent) AS in_transit, money(c.closing_minor + c.transit_minor, a.exponent) AS after_transit,
       c.closing_minor, c.transit_minor
FROM certificate c JOIN bank_account a USING (book, bank_account)
ORDER BY c.book, c.business_date, c.bank_account;
COMMENT ON VIEW cash_position IS 'What is at the bank on each certified day, and what is still to come or to go.';

CREATE VIEW payouts AS
SELECT p.book, p.business_date, p.bank_account, p.payee, p.payee_name, p.end_to_end_id, money(p.amount_minor, p.exponent) AS amount,
       p.currency, p.amount_minor, p.execution_date, p.state, p.reason_code, c.rule AS cleared_by, c.business_date AS cleared_on
FROM payout p LEFT JOIN cleared_leg c ON c.posting_id = p.transit_posting_id
ORDER BY p.book, p.business_date, p.end_to_end_id;
COMMENT ON VIEW payouts IS 'Every payment to a payee: when, how much, where it stands, and what cleared it.';

CREATE VIEW acquirer_receipts AS
SELECT e.book, e.payout_date, e.acquirer, e.payout_id, e.bank_account, money(e.gross_minor, e.exponent) AS gross,
       money(e.fees_minor, e.exponent) AS fees, money(e.net_minor, e.exponent) AS net, e.currency, e.net_minor, c.rule AS cleared_by
FROM expected_receipt e LEFT JOIN cleared_leg c ON c.posting_id = e.t_posting_id
ORDER BY e.book, e.payout_date, e.payout_id;
COMMENT ON VIEW acquirer_receipts IS 'Payouts that acquirers reported: gross, fees, net, and whether the money came.';

CREATE VIEW statement_status AS
SELECT * FROM statement ORDER BY book, bank_account, kind, closing_date, stmt_id, file_sha256;
COMMENT ON VIEW statement_status IS 'Every statement: proven, booked, and what is wrong with it.';

CREATE VIEW trial_balance AS
SELECT a.book, a.account, a.type, a.currency, money(a.normal_side * coalesce(sum(p.amount_minor), 0), a.exponent) AS balance,
       coalesce(sum(p.amount_minor), 0)::BIGINT AS posted_minor
FROM account a LEFT JOIN posting p USING (account_id)
GROUP BY a.book, a.account, a.type, a.currency, a.normal_side, a.exponent ORDER BY a.book, a.account;
COMMENT ON VIEW trial_balance IS 'Every account with its balance (positive on its normal side); posted_minor adds up to 0 per currency.';

CREATE VIEW certificates AS
SELECT * FROM certificate ORDER BY book, bank_account, business_date;
COMMENT ON VIEW certificates IS 'The proof of each bank account and day: books, bank, open items, residual 0.';

CREATE VIEW lineage AS
SELECT p.posting_id, a.account, p.effective_date, p.amount_minor, e.entry_key, l.bank_account, l.stmt_id, l.line_ordinal,
       l.detail_ordinal, l.account_servicer_ref, l.file_name, l.source_line, c.match_set_id, c.rule
FROM statement_line l
JOIN posting p ON p.posting_id IN (l.n_posting_id, l.t_posting_id)
JOIN entry e USING (entry_id)
JOIN account a USING (account_id)
LEFT JOIN cleared_leg c ON c.posting_id = l.t_posting_id
ORDER BY p.posting_id;
COMMENT ON VIEW lineage IS 'From a cash posting to the bank line, file and line number it came from, and to its cleared set.';
