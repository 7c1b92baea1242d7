-- What a bank's intraday reports and notifications (camt.052, camt.054) say of our payments: the account was debited,
-- or the money is on its way back. That resolves a doubt and moves the payment on; cash is a statement's to prove, so
-- nothing is posted.

-- Which payments of a bank account these booked lines are of, and what they say of them: ACSC, or RTRN with the reason and
-- what comes back. Amounts are of the account: what it was debited, positive.
-- A line without an EndToEndId or UETR is a batch: all payments of that block of the file when their total is its amount.
-- Does it name the file alone (MsgId), then it is the only choice of the file's blocks that comes to its amount: one, some or
-- all, as of a statement's line (recon, pass_batch.sql). A block that a line names itself is not to be had this way, and two
-- lines that could share a block move neither. Of more than ten blocks the choices are one or all.
-- `finding`: why a line that names a payment of ours is not it, or what it says that only a statement settles.
CREATE FUNCTION settlement.noticed(
    p_bank_account_id int, p_end_to_end_ids text[], p_uetrs text[], p_payment_information_ids text[], p_amounts bigint[],
    p_return_reasons text[], p_message_ids text[])
    RETURNS TABLE (end_to_end_id text, status text, reason text, amount_minor bigint, finding text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.bank_account_root x WHERE x.bank_account_id = p_bank_account_id));
    WITH RECURSIVE line AS MATERIALIZED (
        SELECT l.n, l.end_to_end_id, l.uetr, l.batch, l.amount, l.return_reason, l.message
          FROM unnest(p_end_to_end_ids, p_uetrs, p_payment_information_ids, p_amounts, p_return_reasons, p_message_ids) WITH ORDINALITY
               AS l (end_to_end_id, uetr, batch, amount, return_reason, message, n)
    ), one AS (
        SELECT DISTINCT ON (l.n) l.n, l.return_reason, i.end_to_end_id, i.file_id, i.amount_minor AS ordered,
               CASE i.direction WHEN 'pay' THEN l.amount ELSE -l.amount END AS moved  -- the way the order goes, positive
          FROM line l
         CROSS JOIN LATERAL (
               SELECT e.* FROM settlement.instruction e WHERE e.end_to_end_id = l.end_to_end_id
               UNION ALL
               SELECT u.* FROM settlement.instruction u WHERE u.uetr = l.uetr) i
         ORDER BY l.n
    ), said AS (
        SELECT o.*, CASE WHEN o.return_reason IS NULL AND o.moved = o.ordered THEN 'ACSC'
                         WHEN o.return_reason IS NOT NULL AND -o.moved BETWEEN 1 AND o.ordered THEN 'RTRN' END AS status
          FROM one o JOIN settlement.payment_file f USING (file_id) WHERE f.bank_account_id = p_bank_account_id
    ), batch AS (
        SELECT l.n, l.amount, f.file_id, b.batch, b.payment_information_id, f.bank_account_id,
               CASE f.direction WHEN 'pay' THEN b.total_minor ELSE -b.total_minor END AS ordered_minor
          FROM line l
          JOIN settlement.payment_batch b ON b.payment_information_id = l.batch
          JOIN settlement.payment_file f USING (file_id)
         WHERE l.end_to_end_id IS NULL AND l.uetr IS NULL AND l.return_reason IS NULL
    ), of_file AS (
        SELECT l.n, l.amount, f.file_id, f.msg_id, CASE f.direction WHEN 'pay' THEN l.amount ELSE -l.amount END AS moved
          FROM line l JOIN settlement.payment_file f ON f.msg_id = l.message
         WHERE l.end_to_end_id IS NULL AND l.uetr IS NULL AND l.return_reason IS NULL AND l.batch IS NULL
           AND f.bank_account_id = p_bank_account_id
    ), free AS MATERIALIZED (
        SELECT b.file_id, b.batch, b.total_minor, count(*) OVER (PARTITION BY b.file_id) AS batches FROM settlement.payment_batch b
         WHERE b.file_id IN (SELECT o.file_id FROM of_file o)
           AND NOT EXISTS (SELECT FROM line l WHERE l.batch = b.payment_information_id)
    ), choice AS (
        SELECT o.n, o.file_id, o.moved, b.batch AS last, b.total_minor AS total, ARRAY[b.batch] AS batches
          FROM of_file o JOIN free b USING (file_id)
        UNION ALL
        SELECT c.n, c.file_id, c.moved, b.batch, c.total + b.total_minor, c.batches || b.batch
          FROM choice c JOIN free b ON b.file_id = c.file_id AND b.batch > c.last AND b.batches <= 10
         WHERE c.total + b.total_minor <= c.moved
    ), fit AS (
        SELECT c.n, c.file_id, c.batches FROM choice c WHERE c.total = c.moved
        UNION
        SELECT o.n, o.file_id, array_agg(b.batch ORDER BY b.batch) FROM of_file o JOIN free b USING (file_id)
         GROUP BY o.n, o.file_id, o.moved HAVING sum(b.total_minor) = o.moved
    ), fits AS (
        SELECT f.n, f.file_id, f.batches,
               count(*) OVER (PARTITION BY f.n) = 1
               AND NOT EXISTS (SELECT FROM fit g WHERE g.file_id = f.file_id AND g.n <> f.n AND g.batches <> f.batches AND g.batches && f.batches)
                   AS is_only
          FROM fit f
    )
    SELECT s.end_to_end_id, s.status, CASE s.status WHEN 'RTRN' THEN min(s.return_reason) END,
           CASE s.status WHEN 'RTRN' THEN -sum(s.moved)::bigint END, NULL
      FROM said s WHERE s.status IS NOT NULL GROUP BY s.end_to_end_id, s.status
    UNION ALL
    SELECT s.end_to_end_id, NULL, NULL, NULL,
           CASE WHEN s.return_reason IS NULL
                THEN format('the bank booked %s minor units for %s, which orders %s', s.moved, s.end_to_end_id, s.ordered)
                WHEN s.moved < 0
                THEN format('the bank announces that %s minor units of %s come back, which paid %s', -s.moved, s.end_to_end_id, s.ordered)
                ELSE format('the bank announces that it takes %s minor units that came back of %s away again; the statement decides',
                            s.moved, s.end_to_end_id) END
      FROM said s WHERE s.status IS NULL
    UNION ALL
    SELECT coalesce(l.end_to_end_id, l.uetr), 'RTRN', min(l.return_reason), sum(abs(l.amount))::bigint, NULL  -- nobody's; a finding
      FROM line l
     WHERE l.return_reason IS NOT NULL AND coalesce(l.end_to_end_id, l.uetr) IS NOT NULL AND NOT EXISTS (SELECT FROM one o WHERE o.n = l.n)
     GROUP BY coalesce(l.end_to_end_id, l.uetr)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL, format('the bank announces that %s minor units come back of a payment it does not name', abs(l.amount))
      FROM line l WHERE l.return_reason IS NOT NULL AND l.end_to_end_id IS NULL AND l.uetr IS NULL
    UNION ALL
    SELECT i.end_to_end_id, 'ACSC', NULL, NULL, NULL
      FROM batch b JOIN settlement.instruction i USING (file_id, batch)
     WHERE b.bank_account_id = p_bank_account_id AND b.amount = b.ordered_minor
    UNION ALL
    SELECT i.end_to_end_id, 'ACSC', NULL, NULL, NULL
      FROM fits f JOIN settlement.instruction i ON i.file_id = f.file_id AND i.batch = ANY (f.batches) WHERE f.is_only
    UNION ALL
    SELECT NULL, NULL, NULL, NULL,
           format('the bank booked %s minor units for file %s, and %s of its batches comes to that', o.moved, o.msg_id,
                  CASE WHEN EXISTS (SELECT FROM fits f WHERE f.n = o.n) THEN 'more than one choice' ELSE 'no choice' END)
      FROM of_file o WHERE NOT EXISTS (SELECT FROM fits f WHERE f.n = o.n AND f.is_only)
    UNION ALL
    SELECT NULL, NULL, NULL, NULL,
           format('the bank booked %s minor units for batch %s, which orders %s', b.amount, b.payment_information_id, b.ordered_minor)
      FROM batch b
     WHERE b.bank_account_id = p_bank_account_id AND b.amount <> b.ordered_minor
$$;

GRANT EXECUTE ON FUNCTION settlement.noticed TO :service;
