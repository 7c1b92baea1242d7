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
       CASE WHEN age_days <= 1 THEN '0-1' WHEN age_days <= 5 THEN '2-5' WHEN age_days <= 10 THEN '6-10'
            WHEN age_days <= 30 THEN '11-30' ELSE 'over 30' END AS age_days,
       count(*) AS breaks, sum(amount_minor)::BIGINT AS amount_minor
FROM open_breaks GROUP BY ALL ORDER BY ALL;
COMMENT ON VIEW break_ageing IS 'How old the open breaks are, in business days, by code.';

CREATE VIEW open_suspense AS
SELECT book, account, reference, code, money(amount_minor, exponent) AS amount, currency, amount_minor, since, age_days, bucket, reason
FROM suspense_item ORDER BY book, age_days DESC, account, reference;
COMMENT ON VIEW open_suspense IS 'What waits on suspense accounts on the last reconciled day, item by item, with its age and the break it came from.';

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
    SELECT book, business_date, rule, count(DISTINCT match_set_id) AS sets, count(*) AS postings
    FROM cleared_leg GROUP BY ALL),
still_open AS (
    SELECT book, business_date, count(*) AS postings FROM open_item WHERE code <> 'TIMING' GROUP BY ALL)
SELECT book, business_date, c.rule, coalesce(c.sets, 0) AS sets, coalesce(c.postings, 0) AS postings,
       coalesce(sum(c.postings) OVER (PARTITION BY book, business_date), 0)::BIGINT AS cleared_of_day,
       coalesce(o.postings, 0) AS in_breaks_of_day
FROM cleared c FULL JOIN still_open o USING (book, business_date)
ORDER BY book, business_date, c.rule;
COMMENT ON VIEW match_rate IS 'How much each rule cleared on each day, and how much was left in breaks; a day on which nothing cleared has no rule.';

CREATE VIEW cash_position AS
SELECT c.book, c.business_date, c.bank_account, c.currency, money(c.closing_minor, a.exponent) AS at_bank,
       money(c.transit_minor, a.exponent) AS in_transit, money(c.closing_minor + c.transit_minor, a.exponent) AS after_transit,
       c.closing_minor, c.transit_minor
FROM certificate c JOIN bank_account a USING (book, bank_account)
ORDER BY c.book, c.business_date, c.bank_account;
COMMENT ON VIEW cash_position IS 'What is at the bank on each certified day, and what is still to come or to go.';

CREATE VIEW payouts AS
SELECT p.book, p.business_date, p.bank_account, p.payee, p.payee_name, p.end_to_end_id, p.payment_information_id,
       money(p.amount_minor, p.exponent) AS amount,
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

CREATE VIEW intraday AS
SELECT * FROM intraday_entry ORDER BY ALL;
COMMENT ON VIEW intraday IS 'What banks announced during the day, each entry once: announced, replaced by a booked line, or missing in the statement.';

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

CREATE VIEW knowledge AS
SELECT published_at, last_seq FROM publication ORDER BY last_seq;
COMMENT ON VIEW knowledge IS 'When the books were published, and through which number of the knowledge order.';

-- What the books said of an accounting day, as known at a point of the knowledge order.
CREATE MACRO trial_balance_as_known(day, known) AS TABLE
SELECT a.book, a.account, a.type, a.currency, money(a.normal_side * sum(p.amount_minor), a.exponent) AS balance,
       sum(p.amount_minor)::BIGINT AS posted_minor
FROM posting p JOIN entry e USING (entry_id) JOIN account a USING (account_id)
WHERE p.effective_date <= day AND e.known_seq <= known
GROUP BY a.book, a.account, a.type, a.currency, a.normal_side, a.exponent ORDER BY a.book, a.account;

CREATE VIEW cash_items AS
SELECT a.book, a.bank_account, a.currency, a.exponent, p.posting_id, p.amount_minor,
       CASE WHEN l.t_posting_id IS NOT NULL THEN 'LINE' WHEN i.transit_posting_id IS NOT NULL THEN 'INSTRUCTION'
            WHEN r.t_posting_id IS NOT NULL THEN 'RECEIPT' ELSE 'OTHER' END AS kind,
       coalesce(l.booking_date, i.execution_date, r.payout_date, p.effective_date) AS item_date,
       coalesce(l.account_servicer_ref, i.end_to_end_id, r.payout_id) AS reference, c.rule, c.match_set_id,
       c.business_date AS cleared_on
FROM posting p
JOIN bank_account a ON a.transit_account_id = p.account_id
LEFT JOIN statement_line l ON l.t_posting_id = p.posting_id
LEFT JOIN payout i ON i.transit_posting_id = p.posting_id
LEFT JOIN expected_receipt r ON r.t_posting_id = p.posting_id
LEFT JOIN cleared_leg c ON c.posting_id = p.posting_id
ORDER BY a.book, a.bank_account, item_date, p.posting_id;
COMMENT ON VIEW cash_items IS 'Everything expected of a bank and everything it did, each with its day and what cleared it.';

-- Basis points of 10,000 and whole days: scores are exact, too. An item belongs to the first reconciled day on or
-- after its own.
CREATE VIEW quality AS
WITH day AS (
    SELECT book, business_date, lead(business_date) OVER (PARTITION BY book ORDER BY business_date) AS next_date
    FROM (SELECT DISTINCT book, business_date FROM run)),
item AS (
    SELECT c.book, c.bank_account, c.cleared_on, c.cleared_on - c.item_date AS days_to_clear, d.business_date, d.next_date,
           o.posting_id IS NOT NULL AS is_in_flight
    FROM cash_items c
    ASOF JOIN day d ON d.book = c.book AND d.business_date >= c.item_date
    LEFT JOIN open_item o ON o.posting_id = c.posting_id AND o.business_date = d.business_date AND o.code = 'TIMING'),
arrived AS (
    SELECT book, bank_account, business_date, count(*) AS items,
           count(*) FILTER (WHERE cleared_on <= coalesce(next_date, business_date) OR (next_date IS NULL AND is_in_flight)) AS on_time
    FROM item GROUP BY ALL),
cleared AS (
    SELECT book, bank_account, cleared_on AS business_date, quantile_disc(days_to_clear, 0.5) AS days_to_clear_median,
           quantile_disc(days_to_clear, 0.95) AS days_to_clear_p95, max(days_to_clear) AS days_to_clear_max
    FROM item WHERE cleared_on IS NOT NULL GROUP BY ALL),
value AS (
    SELECT book, bank_account, business_date, sum(explained)::HUGEINT AS explained, sum(total)::HUGEINT AS total
    FROM (SELECT book, bank_account, cleared_on AS business_date, abs(amount_minor) AS explained, abs(amount_minor) AS total
          FROM cash_items WHERE cleared_on IS NOT NULL
          UNION ALL
          SELECT book, bank_account, business_date, CASE WHEN code = 'TIMING' THEN abs(amount_minor) ELSE 0 END, abs(amount_minor)
          FROM open_item) v
    GROUP BY ALL),
delivered AS (
    SELECT book, bank_account, closing_date AS business_date, sum(entry_count) AS lines,
           sum(CASE WHEN is_booked THEN entry_count ELSE 0 END) AS booked
    FROM statement WHERE kind IN ('camt.053', 'mt940', 'bai2') GROUP BY ALL)
SELECT d.book, d.business_date, a.bank_account, a.currency, k.sha256 IS NOT NULL AS is_certified,
       CASE WHEN s.lines = 0 THEN 10000 ELSE (10000 * s.booked // s.lines)::INTEGER END AS completeness_bp,
       (10000 * r.on_time // r.items)::INTEGER AS timeliness_bp,
       c.days_to_clear_median, c.days_to_clear_p95, c.days_to_clear_max,
       (10000 * v.explained // nullif(v.total, 0))::INTEGER AS value_explained_bp, coalesce(r.items, 0) AS items
FROM day d
JOIN bank_account a USING (book)
LEFT JOIN arrived r USING (book, bank_account, business_date)
LEFT JOIN cleared c USING (book, bank_account, business_date)
LEFT JOIN value v USING (book, bank_account, business_date)
LEFT JOIN delivered s USING (book, bank_account, business_date)
LEFT JOIN certificate k USING (book, bank_account, business_date)
WHERE d.business_date >= a.opening_date
ORDER BY d.book, d.business_date, a.bank_account;
COMMENT ON VIEW quality IS 'How good the data was: complete, on time, quick to clear, explained; for each bank account and day.';

CREATE VIEW fee_leakage AS
WITH fee AS (
    SELECT book, 'acquirer' AS kind, acquirer AS party, currency, exponent, date_trunc('month', payout_date)::DATE AS month,
           gross_minor AS base_minor, fees_minor
    FROM expected_receipt
    UNION ALL
    SELECT c.book, 'bank tariff', c.bank_account, c.currency, c.exponent, date_trunc('month', c.item_date)::DATE, NULL, c.amount_minor
    FROM cash_items c WHERE c.kind = 'LINE' AND c.rule = 'routine-charge'
    UNION ALL
    SELECT b.book, 'unexplained', b.bank_account, b.currency, a.exponent, date_trunc('month', b.business_date)::DATE, NULL, abs(b.amount_minor)
    FROM open_breaks b JOIN bank_account a USING (book, bank_account) WHERE b.code IN ('FEE_DIFF', 'BANK_ORIGINATED'))
SELECT book, kind, party, currency, month, count(*) AS items, money(sum(base_minor), exponent) AS gross, money(sum(fees_minor), exponent) AS fees,
       (10000 * sum(fees_minor) // nullif(sum(base_minor), 0))::INTEGER AS fee_bp
FROM fee GROUP BY book, kind, party, currency, exponent, month ORDER BY book, kind, party, currency, month;
COMMENT ON VIEW fee_leakage IS 'What acquirers and banks keep, by month: fees of acquirers, charges of the tariff, and what nobody explained.';

CREATE VIEW statement_chain AS
SELECT s.book, s.bank_account, s.currency, s.stmt_id, s.closing_date, s.opening_minor, s.closing_minor, s.previous_closing_minor,
       s.previous_closing_date, s.opening_minor = coalesce(s.previous_closing_minor, a.opening_minor) AS follows
FROM statement s JOIN bank_account a USING (book, bank_account) WHERE s.is_booked
ORDER BY s.book, s.bank_account, s.closing_date, s.sequence, s.stmt_id;
COMMENT ON VIEW statement_chain IS 'Booked statements one after the other: each opens with what the one before closed with.';

CREATE VIEW cash_identity AS
SELECT c.book, c.business_date, c.bank_account, c.currency, c.nostro_minor AS ledger_minor, c.closing_minor AS bank_minor,
       coalesce(sum(o.amount_minor) FILTER (WHERE o.code = 'TIMING'), 0)::BIGINT AS in_flight_minor,
       coalesce(sum(o.amount_minor) FILTER (WHERE o.code <> 'TIMING'), 0)::BIGINT AS in_breaks_minor, c.transit_minor,
       (c.nostro_minor - c.closing_minor)::BIGINT AS ledger_less_bank_minor,
       (c.transit_minor - coalesce(sum(o.amount_minor), 0))::BIGINT AS unitemised_minor
FROM certificate c LEFT JOIN open_item o USING (book, business_date, bank_account)
GROUP BY c.book, c.business_date, c.bank_account, c.currency, c.nostro_minor, c.closing_minor, c.transit_minor
ORDER BY c.book, c.business_date, c.bank_account;
COMMENT ON VIEW cash_identity IS 'Ledger cash against the bank''s, and cash in transit itemised; both differences are 0 on every certified day.';
