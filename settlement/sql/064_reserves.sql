-- Reserves of payees: taken when a payout is sealed, given back when they fall due, always by ledger postings between
-- the payable and a control account that only settlement posts to.

INSERT INTO ledger.control VALUES ('reserve', '{settlement}');

CREATE TABLE settlement.reserve_taken (
    reserve_id   bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    group_id     bigint NOT NULL REFERENCES settlement.clearing_group,
    payee_id     int    NOT NULL REFERENCES settlement.payee,
    kind         text   NOT NULL CHECK (kind IN ('rolling', 'fixed')),
    posting_id   bigint NOT NULL,
    amount_minor bigint NOT NULL CHECK (amount_minor > 0),
    release_on   date,
    CONSTRAINT reserve_taken_once UNIQUE (group_id, kind),
    CONSTRAINT reserve_taken_due CHECK ((kind = 'rolling') = (release_on IS NOT NULL))
);
CREATE INDEX reserve_taken_payee ON settlement.reserve_taken (payee_id);
COMMENT ON TABLE settlement.reserve_taken IS 'What a payout held back: rolling until release_on, fixed until the rule asks for less.';

CREATE TABLE settlement.reserve_release (
    release_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    reserve_id         bigint NOT NULL REFERENCES settlement.reserve_taken,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    left_minor         bigint NOT NULL CHECK (left_minor >= 0),
    why                text   NOT NULL CHECK (why IN ('due', 'lowered', 'offset')),
    entry_id           bigint NOT NULL,
    payable_posting_id bigint NOT NULL UNIQUE,
    recorded_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reserve_release_order UNIQUE (reserve_id, left_minor)
);
COMMENT ON TABLE settlement.reserve_release IS
    'What of a reserve went back to the payable: when due, when the fixed amount was lowered, or to cover a debt.';
COMMENT ON COLUMN settlement.reserve_release.left_minor IS 'What is still reserved after it.';

-- What is given back was taken, once.
CREATE FUNCTION settlement.check_reserve_release() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_bad bigint;
BEGIN
    SELECT t.reserve_id INTO v_bad
      FROM settlement.reserve_taken t
      JOIN settlement.reserve_release r USING (reserve_id)
     WHERE t.reserve_id IN (SELECT n.reserve_id FROM new_rows n)
     GROUP BY t.reserve_id, t.amount_minor
    HAVING sum(r.amount_minor) + min(r.left_minor) <> t.amount_minor LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'reserve_release_total',
            MESSAGE = format('Reserve %s: what was given back and what is left do not make what was taken.', v_bad);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER reserve_release_check AFTER INSERT ON settlement.reserve_release
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_reserve_release();
ALTER TABLE settlement.reserve_release ENABLE ALWAYS TRIGGER reserve_release_check;

SELECT ledger.make_append_only(name::regclass)
  FROM unnest(ARRAY['settlement.reserve_taken', 'settlement.reserve_release']) name;

SELECT settlement.keep_outstanding('settlement.reserve_taken', 'reserve', 'reserve_id'),
       settlement.keep_outstanding('settlement.reserve_release', 'reserve', 'reserve_id');

CREATE VIEW settlement.reserve_open AS
SELECT o.book_id, y.code AS payee, o.id AS reserve_id, o.payee_id, CASE WHEN o.due_on IS NULL THEN 'fixed' ELSE 'rolling' END AS kind,
       o.due_on AS release_on, (SELECT t.amount_minor FROM settlement.reserve_taken t WHERE t.reserve_id = o.id) AS taken_minor, o.left_minor
  FROM settlement.outstanding o
  JOIN settlement.payee y USING (payee_id)
 WHERE o.what = 'reserve';
COMMENT ON VIEW settlement.reserve_open IS 'Reserves that are still held, each with what is left of it.';

GRANT SELECT ON settlement.reserve_taken, settlement.reserve_release, settlement.reserve_open TO :app, :analyst;

-- Posts what reserves give back: one entry each, Dr reserve / Cr payable, on the business date. What the amounts are,
-- the caller says; that they are right, the table's rule says.
CREATE FUNCTION settlement.give_back(
    p_book_id int, p_date date, p_why text, p_reserve_ids bigint[], p_amounts bigint[]) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_count int := coalesce(cardinality(p_reserve_ids), 0);
    v_keys text[]; v_texts text[]; v_left bigint[];
    v_leg_entry int[]; v_leg_account int[]; v_leg_amount bigint[];
    v_entries bigint[]; v_firsts bigint[];
BEGIN
    IF v_count = 0 THEN RETURN 0; END IF;
    SELECT array_agg(format('reserve-back:%s:%s', g.id, o.left_minor - g.amount) ORDER BY g.n),
           array_agg(format('Reserve of %s given back (%s)', o.payee, p_why) ORDER BY g.n),
           array_agg(o.left_minor - g.amount ORDER BY g.n)
      INTO v_keys, v_texts, v_left
      FROM unnest(p_reserve_ids, p_amounts) WITH ORDINALITY AS g (id, amount, n)
      JOIN settlement.reserve_open o ON o.reserve_id = g.id;
    SELECT array_agg(g.n::int ORDER BY g.n, leg.k), array_agg(leg.account ORDER BY g.n, leg.k),
           array_agg(leg.amount ORDER BY g.n, leg.k)
      INTO v_leg_entry, v_leg_account, v_leg_amount
      FROM unnest(p_reserve_ids, p_amounts) WITH ORDINALITY AS g (id, amount, n)
     CROSS JOIN LATERAL (SELECT * FROM settlement.reserve_taken t WHERE t.reserve_id = g.id LIMIT 1) t
     CROSS JOIN LATERAL (SELECT p.account_id FROM ledger.posting p WHERE p.posting_id = t.posting_id LIMIT 1) p
      JOIN settlement.payee y ON y.payee_id = t.payee_id
     CROSS JOIN LATERAL (VALUES (1, p.account_id, g.amount), (2, y.account_id, -g.amount)) leg (k, account, amount);
    SELECT array_agg(p.entry_id ORDER BY p.entry_ordinal), array_agg(p.first_posting_id ORDER BY p.entry_ordinal)
      INTO v_entries, v_firsts
      FROM ledger.post_internal(p_book_id, 'settlement', NULL, v_keys,
           array_fill(greatest(p_date, ledger.closed_through(p_book_id) + 1), ARRAY[v_count]),
           v_texts, NULL, NULL, NULL, v_leg_entry, v_leg_account, v_leg_amount) p;
    INSERT INTO settlement.reserve_release (reserve_id, amount_minor, left_minor, why, entry_id, payable_posting_id)
    SELECT g.id, g.amount, g.remains, p_why, g.entry, g.first + 1
      FROM unnest(p_reserve_ids, p_amounts, v_left, v_entries, v_firsts) AS g (id, amount, remains, entry, first);
    RETURN v_count;
END $$;

-- What of the open reserves of a bank account's payees goes back on a business date: rolling ones that are due, what
-- stands above a fixed amount that was lowered (oldest first), and what covers the debt of a payee whose rule says so.
CREATE FUNCTION settlement.release_reserves(p_bank_account_id int, p_business_date date) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_book int := (SELECT r.book_id FROM settlement.bank_account_root r WHERE r.bank_account_id = p_bank_account_id);
    v_ids bigint[]; v_amounts bigint[];
    v_done int := 0;
BEGIN
    SELECT array_agg(o.reserve_id ORDER BY o.reserve_id), array_agg(o.left_minor ORDER BY o.reserve_id)
      INTO v_ids, v_amounts
      FROM (SELECT o.payee_id, o.id AS reserve_id, o.left_minor FROM settlement.outstanding o
             WHERE o.book_id = v_book AND o.what = 'reserve' AND o.due_on <= p_business_date) o
      JOIN settlement.payee_current y USING (payee_id)
     WHERE y.bank_account_id = p_bank_account_id;
    v_done := v_done + settlement.give_back(v_book, p_business_date, 'due', v_ids, v_amounts);

    SELECT array_agg(t.reserve_id ORDER BY t.reserve_id), array_agg(t.amount ORDER BY t.reserve_id)
      INTO v_ids, v_amounts
      FROM (SELECT o.id AS reserve_id, least(o.left_minor, greatest(sum(o.left_minor) OVER w - y.reserve_fixed_minor, 0)
                     - coalesce(sum(o.left_minor) OVER (PARTITION BY o.payee_id ORDER BY o.id
                                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)) AS amount
              FROM settlement.outstanding o JOIN settlement.payee_current y USING (payee_id)
             WHERE y.bank_account_id = p_bank_account_id AND o.book_id = v_book AND o.what = 'reserve' AND o.due_on IS NULL
            WINDOW w AS (PARTITION BY o.payee_id)) t
     WHERE t.amount > 0;
    v_done := v_done + settlement.give_back(v_book, p_business_date, 'lowered', v_ids, v_amounts);

    -- The account's balance is what is open on it: everything cleared sums to zero.
    SELECT array_agg(t.reserve_id ORDER BY t.reserve_id), array_agg(t.amount ORDER BY t.reserve_id)
      INTO v_ids, v_amounts
      FROM (SELECT o.id AS reserve_id, least(o.left_minor, b.posted_minor
                     - coalesce(sum(o.left_minor) OVER (PARTITION BY o.payee_id ORDER BY o.due_on IS NULL, o.id
                                                        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0)) AS amount
              FROM settlement.payee_current y
              JOIN ledger.account_balance b ON b.account_id = y.account_id
             CROSS JOIN LATERAL (SELECT * FROM settlement.outstanding o WHERE o.payee_id = y.payee_id AND o.what = 'reserve' OFFSET 0) o
             WHERE y.bank_account_id = p_bank_account_id AND y.negative = 'offset' AND b.posted_minor > 0) t
     WHERE t.amount > 0;
    RETURN v_done + settlement.give_back(v_book, p_business_date, 'offset', v_ids, v_amounts);
END $$;
