-- What waits on suspense accounts, item by item with its age: money whose owner, cause or debtor is not known yet.
-- An item is everything that an account has under one reference. The entry that closes a break bears the break's number,
-- so what takes the money on is booked with that number as its reference; a reversal counts with the entry it reverses.
-- What sums to zero is closed, and the open items of an account sum to its balance.

-- Accounts below these prefixes, up to an accounting day. amount_minor: debit (owed to us) positive. age_days: Mondays to
-- Fridays after the item's first day; bucket: as breaks have.
CREATE FUNCTION recon.suspense_items(p_book_id int, p_prefixes text[], p_as_of date)
RETURNS TABLE (account text, currency text, exponent int, reference text, code text, reason text, amount_minor bigint,
               posting_count int, since date, age_days int, bucket text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
    SELECT ledger.require_book(p_book_id);
    WITH posted AS (
        SELECT a.account_id, coalesce(t.reference, e.idempotency_key) AS reference, p.amount_minor, p.effective_date
          FROM ledger.account a
         CROSS JOIN LATERAL (SELECT * FROM ledger.account_posting q
                              WHERE q.account_id = a.account_id AND q.effective_date <= p_as_of OFFSET 0) p
          JOIN ledger.entry n ON n.entry_id = p.entry_id
          JOIN ledger.entry e ON e.entry_id = coalesce(n.reverses_entry_id, n.entry_id)
          LEFT JOIN ledger.entry_text t ON t.entry_id = e.entry_id
         WHERE a.book_id = p_book_id AND EXISTS (SELECT FROM unnest(p_prefixes) x (prefix) WHERE starts_with(a.code, x.prefix || ':'))
    ), item AS (
        SELECT p.account_id, p.reference, sum(p.amount_minor)::bigint AS amount_minor, count(*)::int AS posting_count,
               min(p.effective_date) AS since
          FROM posted p GROUP BY p.account_id, p.reference HAVING sum(p.amount_minor) <> 0
    ), aged AS (
        SELECT i.*, (SELECT count(*)::int FROM generate_series(i.since + 1, p_as_of, interval '1 day') d
                      WHERE date_part('isodow', d) < 6) AS age_days
          FROM item i
    )
    SELECT a.code, c.code::text, c.exponent::int, g.reference, j.code, j.reason, g.amount_minor, g.posting_count, g.since, g.age_days,
           recon.age_bucket(g.age_days)
      FROM aged g
      JOIN ledger.account a USING (account_id)
      JOIN ledger.currency c USING (currency_id)
      LEFT JOIN LATERAL (SELECT j.code, j.reason FROM recon.adjustment j JOIN recon.adjustment_approval USING (adjustment_id)
                          WHERE j.book_id = p_book_id AND j.break_id = g.reference ORDER BY j.adjustment_id LIMIT 1) j ON true
     ORDER BY g.age_days DESC, a.code, g.reference
$$;
COMMENT ON FUNCTION recon.suspense_items IS 'Open items of suspense accounts with their age; they sum to the accounts'' balances.';
GRANT EXECUTE ON FUNCTION recon.suspense_items TO :app;
