-- What a bank's intraday reports and notifications (camt.052, camt.054) say of our payments: the account was debited.
-- That resolves a doubt and moves the payment on; cash is a statement's to prove, so nothing is posted.

-- Which payments of a bank account these booked lines are of. Amounts are of the account: what it was debited, positive.
-- A line without an EndToEndId or UETR is a batch: it is all payments of that block of the file when their total is its
-- amount.
-- `finding`: why a line that names a payment of ours is not it.
CREATE FUNCTION settlement.noticed(
    p_bank_account_id int, p_end_to_end_ids text[], p_uetrs text[], p_payment_information_ids text[], p_amounts bigint[])
    RETURNS TABLE (end_to_end_id text, finding text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book((SELECT x.book_id FROM settlement.bank_account_root x WHERE x.bank_account_id = p_bank_account_id));
    WITH line AS MATERIALIZED (
        SELECT l.n, l.end_to_end_id, l.uetr, l.batch, l.amount
          FROM unnest(p_end_to_end_ids, p_uetrs, p_payment_information_ids, p_amounts) WITH ORDINALITY
               AS l (end_to_end_id, uetr, batch, amount, n)
    ), one AS (
        SELECT DISTINCT ON (l.n) l.n, l.amount, i.end_to_end_id, i.file_id,
               CASE i.direction WHEN 'pay' THEN i.amount_minor ELSE -i.amount_minor END AS ordered_minor
          FROM line l
         CROSS JOIN LATERAL (
               SELECT e.* FROM settlement.instruction e WHERE e.end_to_end_id = l.end_to_end_id
               UNION ALL
               SELECT u.* FROM settlement.instruction u WHERE u.uetr = l.uetr) i
         ORDER BY l.n
    ), batch AS (
        SELECT l.n, l.amount, f.file_id, b.batch, b.payment_information_id, f.bank_account_id,
               CASE f.direction WHEN 'pay' THEN b.total_minor ELSE -b.total_minor END AS ordered_minor
          FROM line l
          JOIN settlement.payment_batch b ON b.payment_information_id = l.batch
          JOIN settlement.payment_file f USING (file_id)
         WHERE l.end_to_end_id IS NULL AND l.uetr IS NULL
    )
    SELECT o.end_to_end_id,
           CASE WHEN o.amount <> o.ordered_minor
                THEN format('the bank booked %s minor units for %s, which orders %s', o.amount, o.end_to_end_id, o.ordered_minor) END
      FROM one o JOIN settlement.payment_file f USING (file_id) WHERE f.bank_account_id = p_bank_account_id
    UNION ALL
    SELECT i.end_to_end_id, NULL
      FROM batch b JOIN settlement.instruction i USING (file_id, batch)
     WHERE b.bank_account_id = p_bank_account_id AND b.amount = b.ordered_minor
    UNION ALL
    SELECT NULL, format('the bank booked %s minor units for batch %s, which orders %s', b.amount, b.payment_information_id,
                        b.ordered_minor)
      FROM batch b
     WHERE b.bank_account_id = p_bank_account_id AND b.amount <> b.ordered_minor
$$;

GRANT EXECUTE ON FUNCTION settlement.noticed TO :app;
