-- Exchange of one currency for another through trading accounts, its realised result, and revaluation.
--
-- A foreign currency of a book has three trading accounts: `position` in that currency (its balance is minus what the
-- book has taken in by exchange), `cost` in the functional currency (what that was paid with, at average cost), and
-- `revaluation`. They are control accounts: only the functions here post there, so position and cost are the sum of
-- the exchanges and nothing else.
--
-- Method: weighted average cost, in the order in which exchanges are posted. What enlarges a position adds its value
-- to the cost. What closes a part takes out that part of the cost, and the difference to its value is the realised
-- result, posted in the same entry. What closes it all takes out all, so rounding leaves nothing behind.

INSERT INTO ledger.control VALUES ('trading', '{fx}');

CREATE TABLE ledger.trading_pair (
    book_id                int      NOT NULL REFERENCES ledger.book,
    currency_id            smallint NOT NULL REFERENCES ledger.currency,
    position_account_id    int      NOT NULL REFERENCES ledger.account,
    cost_account_id        int      NOT NULL REFERENCES ledger.account,
    revaluation_account_id int      NOT NULL REFERENCES ledger.account,
    realised_account_id    int      NOT NULL REFERENCES ledger.account,
    unrealised_account_id  int      NOT NULL REFERENCES ledger.account,
    PRIMARY KEY (book_id, currency_id)
);

CREATE TABLE ledger.exchange (
    entry_id          bigint PRIMARY KEY REFERENCES ledger.entry,
    book_id           int    NOT NULL,
    idempotency_key   text   COLLATE "C" NOT NULL,
    sold_account_id   int    NOT NULL REFERENCES ledger.account,
    bought_account_id int    NOT NULL REFERENCES ledger.account,
    asked             jsonb  NOT NULL,
    sold_minor        bigint NOT NULL,
    bought_minor      bigint NOT NULL,
    rounding_minor    bigint NOT NULL,
    numerator         numeric,
    denominator       numeric,
    CONSTRAINT exchange_once UNIQUE (book_id, idempotency_key),
    CONSTRAINT exchange_amounts CHECK (sold_minor > 0 AND bought_minor > 0)
);
COMMENT ON TABLE ledger.exchange IS 'Entries that exchanged currencies, with what was asked for; amounts positive.';
COMMENT ON COLUMN ledger.exchange.rounding_minor IS 'Bought beyond sold * numerator / denominator rounded half to even; on the rounding account.';

CREATE TABLE ledger.exchange_position (
    entry_id       bigint   NOT NULL REFERENCES ledger.exchange,
    currency_id    smallint NOT NULL REFERENCES ledger.currency,
    quantity_minor bigint   NOT NULL,
    value_minor    bigint   NOT NULL,
    cost_minor     bigint   NOT NULL,
    realised_minor bigint   NOT NULL,
    PRIMARY KEY (entry_id, currency_id),
    CONSTRAINT exchange_realised CHECK (realised_minor = cost_minor - value_minor)
);
COMMENT ON TABLE ledger.exchange_position IS
    'What an exchange did to the position in a foreign currency: quantity (bought positive), its value and the change of '
    'cost in the functional currency, the realised gain (loss negative).';

CREATE TABLE ledger.entry_rate (
    entry_id bigint NOT NULL REFERENCES ledger.entry,
    rate_id  bigint NOT NULL REFERENCES ledger.rate,
    PRIMARY KEY (entry_id, rate_id)
);
COMMENT ON TABLE ledger.entry_rate IS 'The recorded rates that an entry was computed with.';

CREATE TABLE ledger.revaluation (
    entry_id          bigint   PRIMARY KEY REFERENCES ledger.entry,
    reversal_entry_id bigint   NOT NULL REFERENCES ledger.entry,
    book_id           int      NOT NULL,
    currency_id       smallint NOT NULL,
    revalued_on       date     NOT NULL,
    ordinal           int      NOT NULL,
    position_minor    bigint   NOT NULL,
    book_value_minor  bigint   NOT NULL,
    market_value_minor bigint  NOT NULL,
    change_minor      bigint   NOT NULL,
    CONSTRAINT revaluation_once UNIQUE (book_id, currency_id, revalued_on, ordinal)
);
COMMENT ON TABLE ledger.revaluation IS 'Unrealised results posted: a date and currency once, and once more for each later change of its facts.';

SELECT ledger.make_append_only(t) FROM unnest(ARRAY['ledger.trading_pair', 'ledger.exchange', 'ledger.exchange_position',
                                                    'ledger.entry_rate', 'ledger.revaluation']::regclass[]) t;

-- The accounts of a foreign currency, opened when it is first traded.
CREATE FUNCTION ledger.trading_pair_internal(p_book_id int, p_currency_id smallint) RETURNS ledger.trading_pair
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_pair ledger.trading_pair; v_foreign text; v_own text; v_code text; v_ids int[];
BEGIN
    SELECT * INTO v_pair FROM ledger.trading_pair WHERE book_id = p_book_id AND currency_id = p_currency_id;
    IF FOUND THEN RETURN v_pair; END IF;
    SELECT f.code, o.code INTO v_foreign, v_own FROM ledger.book b JOIN ledger.currency o ON o.currency_id = b.functional_currency_id, ledger.currency f
     WHERE b.book_id = p_book_id AND f.currency_id = p_currency_id;
    v_code := format('equity:trading:%s-%s:', lower(v_foreign), lower(v_own));
    -- What all currencies share comes first: two that open theirs at once cannot wait for each other in a ring.
    v_ids := ledger.open_accounts(p_book_id, ARRAY['income:fx-realised:' || lower(v_own), 'income:fx-unrealised:' || lower(v_own)],
        ARRAY['income', 'income'], ARRAY[v_own, v_own], ARRAY[false, false], ARRAY[NULL, NULL]::text[], ARRAY[NULL, NULL]::bigint[]);
    v_ids := ledger.open_accounts(p_book_id, ARRAY[v_code || 'position', v_code || 'cost', v_code || 'revaluation'],
        ARRAY['equity', 'equity', 'equity'], ARRAY[v_foreign, v_own, v_own], ARRAY[false, false, false], ARRAY['trading', 'trading', 'trading'],
        ARRAY[NULL, NULL, NULL]::bigint[]) || v_ids;
    INSERT INTO ledger.trading_pair VALUES (p_book_id, p_currency_id, v_ids[1], v_ids[2], v_ids[3], v_ids[4], v_ids[5]) ON CONFLICT DO NOTHING;
    SELECT * INTO v_pair FROM ledger.trading_pair WHERE book_id = p_book_id AND currency_id = p_currency_id;
    RETURN v_pair;
END $$;

-- A position with its cost takes in a quantity at a value (both signed): the change of cost. See the method above.
CREATE FUNCTION ledger.average_cost(p_position numeric, p_cost numeric, p_quantity numeric, p_value numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT CASE WHEN p_position * p_quantity > 0 THEN p_value
                WHEN p_position + p_quantity = 0 THEN -p_cost
                WHEN abs(p_quantity) < abs(p_position) THEN ledger.round_half_even(p_cost * p_quantity, p_position)
                ELSE p_value - ledger.round_half_even(p_value * -p_position, p_quantity) - p_cost END
$$;

-- Sells an amount from one account for an amount on another, by an entry that balances in each currency. Of the two
-- amounts one may be left to the rate: p_rate, what one unit of p_rate_base costs in the other currency, or the
-- recorded rate of the date (p_at_market). Both amounts and a rate: the difference goes to the rounding account of the
-- bought currency, up to p_max_rounding. Two foreign currencies are valued at the recorded rate of the sold one.
CREATE FUNCTION ledger.exchange(
    p_book_id int, p_key text, p_date date, p_description text, p_sold_account text, p_bought_account text,
    p_sold bigint, p_bought bigint, p_rate numeric, p_rate_base text, p_at_market boolean, p_max_age_days int, p_max_rounding bigint)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_own smallint := (SELECT functional_currency_id FROM ledger.book WHERE book_id = p_book_id);
    s ledger.account; b ledger.account; v_pairs ledger.trading_pair[] := '{}'; v_pair ledger.trading_pair; v_old ledger.exchange;
    v_sold numeric := p_sold; v_bought numeric := p_bought; v_traded numeric; v_value numeric; v_sign int;
    v_rate record; v_numerator numeric; v_denominator numeric; v_rates bigint[] := '{}';
    v_accounts int[]; v_amounts numeric[]; v_entry bigint; v_positions jsonb := '[]';
    v_position numeric; v_cost numeric; v_quantity numeric; v_change numeric; v_sum numeric;
    v_asked jsonb := jsonb_build_object('date', p_date, 'description', p_description, 'sold', p_sold, 'bought', p_bought,
        'rate', trim_scale(p_rate)::text, 'rate_base', p_rate_base, 'at_market', p_at_market);
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT * INTO s FROM ledger.account WHERE book_id = p_book_id AND code = p_sold_account;
    SELECT * INTO b FROM ledger.account WHERE book_id = p_book_id AND code = p_bought_account;
    IF s.account_id IS NULL OR b.account_id IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'posting_account',
            MESSAGE = format('There is no account %s.', CASE WHEN s.account_id IS NULL THEN p_sold_account ELSE p_bought_account END);
    ELSIF s.currency_id = b.currency_id THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'exchange_pair',
            MESSAGE = format('%s and %s are in one currency; nothing is exchanged.', s.code, b.code), HINT = 'Post an entry instead.';
    ELSIF p_rate IS NOT NULL AND (p_at_market OR p_rate_base IS NULL OR ledger.book_currency(p_rate_base) NOT IN (s.currency_id, b.currency_id)) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'exchange_rate',
            MESSAGE = 'A rate says what one unit of the sold or of the bought currency costs, and is given instead of the recorded one.';
    ELSIF p_rate <= 0 OR p_rate = 'NaN' OR p_rate = 'Infinity' THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'rate_positive', MESSAGE = format('A rate is a positive number, not %s.', p_rate);
    ELSIF p_sold <= 0 OR p_bought <= 0 OR (p_sold IS NULL AND p_bought IS NULL)
          OR ((p_sold IS NULL OR p_bought IS NULL) AND p_rate IS NULL AND NOT p_at_market) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'exchange_amounts',
            MESSAGE = 'An exchange takes two positive amounts, or one and a rate.';
    END IF;

    -- The rows of the trading accounts are the lock: positions move one exchange at a time, and a retry finds the first.
    FOR v_pair IN SELECT t.* FROM unnest(ARRAY[s.currency_id, b.currency_id]) AS c (id), ledger.trading_pair_internal(p_book_id, c.id) t
                   WHERE c.id <> v_own ORDER BY c.id
    LOOP v_pairs := v_pairs || v_pair; END LOOP;
    PERFORM ledger.lock_balances(ARRAY(SELECT unnest(ARRAY[t.position_account_id, t.cost_account_id]) FROM unnest(v_pairs) t));
    SELECT * INTO v_old FROM ledger.exchange WHERE book_id = p_book_id AND idempotency_key = p_key;
    IF FOUND THEN
        IF (v_old.sold_account_id, v_old.bought_account_id, v_old.asked) IS DISTINCT FROM (s.account_id, b.account_id, v_asked) THEN
            RAISE EXCEPTION USING ERRCODE = 'unique_violation', CONSTRAINT = 'exchange_conflict',
                MESSAGE = format('Key %s is taken by exchange %s with other content.', p_key, v_old.entry_id),
                HINT = 'Use a new key for a new exchange; a retry must repeat the same content.';
        END IF;
        RETURN v_old.entry_id;
    END IF;

    IF p_rate IS NOT NULL THEN
        SELECT CASE WHEN base = s.currency_id THEN p_rate ELSE 1 END, CASE WHEN base = s.currency_id THEN 1 ELSE p_rate END
          INTO v_numerator, v_denominator FROM ledger.book_currency(p_rate_base) base;
    ELSIF p_at_market THEN
        SELECT * INTO v_rate FROM ledger.rate_on(p_book_id, s.currency_id, b.currency_id, p_date, p_max_age_days);
        v_numerator := v_rate.numerator; v_denominator := v_rate.denominator; v_rates := v_rate.rate_ids;
    END IF;
    IF v_sold IS NULL THEN
        v_sold := ledger.convert_minor(v_bought, b.currency_id, s.currency_id, v_denominator, v_numerator);
        v_traded := v_bought;
    ELSIF v_numerator IS NULL THEN
        v_traded := v_bought;
    ELSE
        v_traded := ledger.convert_minor(v_sold, s.currency_id, b.currency_id, v_numerator, v_denominator);
        v_bought := coalesce(v_bought, v_traded);
    END IF;
    IF v_sold = 0 OR v_traded = 0 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'exchange_amounts',
            MESSAGE = 'At that rate the amount comes to less than the smallest unit of the other currency.', HINT = 'Exchange more at once.';
    ELSIF abs(v_bought - v_traded) > p_max_rounding THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'exchange_rounding',
            MESSAGE = format('At that rate %s minor units of %s come to %s of %s, not to %s: more than rounding.', v_sold, s.code, v_traded, b.code, v_bought),
            HINT = 'Correct the rate or an amount, or leave the rate out.';
    END IF;
    IF s.currency_id = v_own THEN v_value := v_sold;
    ELSIF b.currency_id = v_own THEN v_value := v_traded;
    ELSE
        SELECT * INTO v_rate FROM ledger.rate_on(p_book_id, s.currency_id, v_own, p_date, p_max_age_days);
        v_value := ledger.convert_minor(v_sold, s.currency_id, v_own, v_rate.numerator, v_rate.denominator);
        v_rates := v_rates || v_rate.rate_ids;
    END IF;

    v_accounts := ARRAY[s.account_id, b.account_id];
    v_amounts := ARRAY[-v_sold, v_bought];
    IF v_bought <> v_traded THEN
        v_accounts := v_accounts || ledger.rounding_account(p_book_id, b.currency_id);
        v_amounts := v_amounts || (v_traded - v_bought);
    END IF;
    FOREACH v_pair IN ARRAY v_pairs LOOP
        v_sign := CASE WHEN v_pair.currency_id = s.currency_id THEN -1 ELSE 1 END;
        v_quantity := CASE WHEN v_sign < 0 THEN -v_sold ELSE v_traded END;
        SELECT -posted_minor INTO v_position FROM ledger.balance WHERE account_id = v_pair.position_account_id;
        SELECT posted_minor INTO v_cost FROM ledger.balance WHERE account_id = v_pair.cost_account_id;
        v_change := ledger.average_cost(v_position, v_cost, v_quantity, v_sign * v_value);
        v_accounts := v_accounts || ARRAY[v_pair.position_account_id, v_pair.cost_account_id, v_pair.realised_account_id];
        v_amounts := v_amounts || ARRAY[-v_quantity, v_change, v_sign * v_value - v_change];
        v_positions := v_positions || jsonb_build_object('currency', v_pair.currency_id, 'quantity', v_quantity, 'value', v_sign * v_value, 'cost', v_change);
    END LOOP;
    SELECT array_agg(l.account ORDER BY l.n), array_agg(l.amount ORDER BY l.n) INTO v_accounts, v_amounts
      FROM (SELECT u.account, sum(u.amount) AS amount, min(u.n) AS n FROM unnest(v_accounts, v_amounts) WITH ORDINALITY AS u (account, amount, n)
             GROUP BY u.account HAVING sum(u.amount) <> 0) l;
    SELECT r.entry_id INTO v_entry
      FROM ledger.post_internal(p_book_id, 'fx', NULL, ARRAY[p_key], ARRAY[p_date], ARRAY[p_description], NULL, NULL, NULL,
                                array_fill(1, ARRAY[cardinality(v_accounts)]), v_accounts, v_amounts::bigint[]) r;
    INSERT INTO ledger.exchange VALUES (v_entry, p_book_id, p_key, s.account_id, b.account_id, v_asked, v_sold, v_bought, v_bought - v_traded, v_numerator, v_denominator);
    INSERT INTO ledger.exchange_position
    SELECT v_entry, (p ->> 'currency')::smallint, (p ->> 'quantity')::bigint, (p ->> 'value')::bigint, (p ->> 'cost')::bigint,
           (p ->> 'cost')::bigint - (p ->> 'value')::bigint FROM jsonb_array_elements(v_positions) p;
    INSERT INTO ledger.entry_rate SELECT v_entry, r FROM (SELECT DISTINCT unnest(v_rates) AS r) d;
    RETURN v_entry;
END $$;

CREATE FUNCTION ledger.rounding_account(p_book_id int, p_currency_id smallint) RETURNS int
LANGUAGE sql SET search_path = pg_catalog, pg_temp AS $$
    SELECT (ledger.open_accounts(p_book_id, ARRAY['expenses:rounding:' || lower(code)], ARRAY['expense'], ARRAY[code], ARRAY[false],
                                 ARRAY[NULL::text], ARRAY[NULL::bigint]))[1] FROM ledger.currency WHERE currency_id = p_currency_id
$$;

-- Takes an exchange back whole: position, cost and result as they were posted.
CREATE FUNCTION ledger.reverse_exchange(p_book_id int, p_key text, p_date date, p_reason text) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF NOT EXISTS (SELECT FROM ledger.exchange WHERE book_id = p_book_id AND idempotency_key = p_key) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'exchange_known', MESSAGE = format('There is no exchange with key %s.', p_key);
    END IF;
    PERFORM ledger.lock_balances(ARRAY(SELECT unnest(ARRAY[t.position_account_id, t.cost_account_id]) FROM ledger.exchange e
              JOIN ledger.exchange_position p USING (entry_id) JOIN ledger.trading_pair t ON (t.book_id, t.currency_id) = (e.book_id, p.currency_id)
             WHERE e.book_id = p_book_id AND e.idempotency_key = p_key));
    RETURN ledger.reverse_internal(p_book_id, 'fx', p_key, p_date, p_reason);
END $$;

-- Every position of a book on a date: what it cost, what it is worth, and what of the difference is posted for that
-- date already. A position of zero is worth nothing, whatever the rate.
CREATE FUNCTION ledger.positions_at(p_book_id int, p_date date, p_max_age_days int, p_known_at timestamptz, p_source text)
RETURNS TABLE (currency_id smallint, position_minor bigint, rate_ids bigint[], numerator numeric, denominator numeric, rate_date date,
               book_value_minor bigint, market_value_minor bigint, posted_minor bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH pair AS MATERIALIZED (
        SELECT t.currency_id, k.functional_currency_id AS own_id, -coalesce(ledger.balance_at(t.position_account_id, p_date, NULL), 0) AS position,
               coalesce(ledger.balance_at(t.cost_account_id, p_date, NULL), 0) AS cost,
               coalesce(ledger.balance_at(t.revaluation_account_id, p_date, NULL), 0) AS posted
          FROM ledger.trading_pair t JOIN ledger.book k USING (book_id) WHERE t.book_id = p_book_id)
    SELECT p.currency_id, p.position, coalesce(r.rate_ids, '{}'), r.numerator, r.denominator, r.rate_date, p.cost,
           CASE WHEN p.position = 0 THEN 0 ELSE ledger.convert_minor(p.position, p.currency_id, p.own_id, r.numerator, r.denominator)::bigint END, p.posted
      FROM pair p
      LEFT JOIN LATERAL (SELECT * FROM ledger.rate_on(p_book_id, p.currency_id, p.own_id, p_date, p_max_age_days, p_known_at, p_source) r
                          WHERE p.position <> 0 LIMIT 1) r ON p.position <> 0
     WHERE (p.position, p.cost, p.posted) <> (0, 0, 0) ORDER BY p.currency_id
$$;

-- Posts the unrealised result of every position on a date, and takes it back the day after: an entry says what held on
-- its date and nothing about others, so a late exchange or a corrected rate changes the dates it is about and no later
-- one. Again: nothing. After such a change: one more entry of the difference.
CREATE FUNCTION ledger.revalue(p_book_id int, p_date date, p_max_age_days int, p_known_at timestamptz, p_source text) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v record; v_ordinal int; v_key text; v_entry bigint; v_reversal bigint; v_change bigint; v_posted int := 0;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM ledger.lock_balances(ARRAY(SELECT unnest(ARRAY[position_account_id, cost_account_id, revaluation_account_id])
                                         FROM ledger.trading_pair WHERE book_id = p_book_id));
    FOR v IN SELECT p.*, t.revaluation_account_id, t.unrealised_account_id, c.code FROM ledger.positions_at(p_book_id, p_date, p_max_age_days, p_known_at, p_source) p
               JOIN ledger.trading_pair t ON t.book_id = p_book_id AND t.currency_id = p.currency_id JOIN ledger.currency c ON c.currency_id = p.currency_id
    LOOP
        v_change := v.market_value_minor - v.book_value_minor - v.posted_minor;
        CONTINUE WHEN v_change = 0;
        v_ordinal := (SELECT count(*) + 1 FROM ledger.revaluation r WHERE r.book_id = p_book_id AND r.currency_id = v.currency_id AND r.revalued_on = p_date);
        v_key := format('revalue:%s:%s%s', p_date, lower(v.code), CASE WHEN v_ordinal > 1 THEN ':' || v_ordinal ELSE '' END);
        SELECT r.entry_id INTO v_entry
          FROM ledger.post_internal(p_book_id, 'fx', NULL, ARRAY[v_key], ARRAY[p_date], ARRAY[format('Unrealised result of the position in %s', v.code)],
                                    NULL, NULL, NULL, ARRAY[1, 1], ARRAY[v.revaluation_account_id, v.unrealised_account_id], ARRAY[v_change, -v_change]) r;
        v_reversal := ledger.reverse_internal(p_book_id, 'fx', v_key, p_date + 1, 'A revaluation is for its date alone');
        INSERT INTO ledger.revaluation VALUES (v_entry, v_reversal, p_book_id, v.currency_id, p_date, v_ordinal, v.position_minor, v.book_value_minor,
                                               v.market_value_minor, v_change);
        INSERT INTO ledger.entry_rate SELECT v_entry, unnest(v.rate_ids);
        v_posted := v_posted + 1;
    END LOOP;
    RETURN v_posted;
END $$;

-- Every balance as of a date in the functional currency, at that date's rates. Every currency sums to zero, so the
-- sum of the translated balances is what rounding each of them leaves: the translation difference.
CREATE FUNCTION ledger.translated_balances(p_book_id int, p_date date, p_known_seq bigint, p_max_age_days int, p_known_at timestamptz, p_source text)
RETURNS TABLE (account_id int, posted_minor bigint, functional_minor bigint, rate_ids bigint[])
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH held AS MATERIALIZED (
        SELECT a.account_id, a.currency_id, p.posted_minor FROM ledger.balances_at(p_book_id, p_date, p_known_seq) p JOIN ledger.account a USING (account_id)),
    rate AS MATERIALIZED (
        SELECT c.currency_id, k.functional_currency_id AS own_id, r.rate_ids, coalesce(r.numerator, 1) AS numerator, coalesce(r.denominator, 1) AS denominator
          FROM ledger.book k CROSS JOIN (SELECT DISTINCT currency_id FROM held WHERE posted_minor <> 0) c
          LEFT JOIN LATERAL (SELECT * FROM ledger.rate_on(p_book_id, c.currency_id, k.functional_currency_id, p_date, p_max_age_days, p_known_at, p_source)
                              WHERE c.currency_id <> k.functional_currency_id LIMIT 1) r ON true
         WHERE k.book_id = p_book_id)
    SELECT h.account_id, h.posted_minor,
           CASE WHEN h.posted_minor = 0 THEN 0 ELSE ledger.convert_minor(h.posted_minor, h.currency_id, r.own_id, r.numerator, r.denominator)::bigint END,
           coalesce(r.rate_ids, '{}') FROM held h LEFT JOIN rate r USING (currency_id)
$$;

CREATE VIEW ledger.exchange_current AS
SELECT e.entry_id, e.book_id, e.idempotency_key, n.effective_date, s.code AS sold_account, e.sold_minor, sc.code AS sold_currency, sc.exponent AS sold_exponent,
       b.code AS bought_account, e.bought_minor, bc.code AS bought_currency, bc.exponent AS bought_exponent, e.rounding_minor,
       e.bought_minor - e.rounding_minor - round(e.sold_minor * e.numerator * 10::numeric ^ bc.exponent / (e.denominator * 10::numeric ^ sc.exponent), 18) AS residue_minor,
       (SELECT coalesce(sum(p.realised_minor), 0)::bigint FROM ledger.exchange_position p WHERE p.entry_id = e.entry_id) AS realised_minor,
       ARRAY(SELECT r.rate_id FROM ledger.entry_rate r WHERE r.entry_id = e.entry_id ORDER BY r.rate_id) AS rate_ids,
       EXISTS (SELECT FROM ledger.entry r WHERE r.reverses_entry_id = e.entry_id) AS is_reversed
  FROM ledger.exchange e JOIN ledger.entry n USING (entry_id) JOIN ledger.account s ON s.account_id = e.sold_account_id
  JOIN ledger.account b ON b.account_id = e.bought_account_id JOIN ledger.currency sc ON sc.currency_id = s.currency_id
  JOIN ledger.currency bc ON bc.currency_id = b.currency_id;
COMMENT ON VIEW ledger.exchange_current IS
    'Exchanges in words. residue_minor: what rounding to whole minor units took from or added to the exact amount at the rate.';

-- Trading accounts against the exchanges and revaluations they are the sum of (invariant 4); no row: they agree.
CREATE FUNCTION ledger.verify_trading(p_book_id int) RETURNS TABLE (invariant int, place text, fault text)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH expected AS (
        SELECT t.position_account_id, t.cost_account_id, t.revaluation_account_id, -coalesce(sum(p.quantity_minor), 0) AS position, coalesce(sum(p.cost_minor), 0) AS cost
          FROM ledger.trading_pair t
          LEFT JOIN (SELECT p.* FROM ledger.exchange_position p JOIN ledger.exchange e USING (entry_id)
                      WHERE e.book_id = p_book_id AND NOT EXISTS (SELECT FROM ledger.entry r WHERE r.reverses_entry_id = e.entry_id)) p USING (currency_id)
         WHERE t.book_id = p_book_id GROUP BY 1, 2, 3),
    wanted AS (
        SELECT u.account_id, u.minor FROM expected x
         CROSS JOIN LATERAL unnest(ARRAY[x.position_account_id, x.cost_account_id, x.revaluation_account_id], ARRAY[x.position, x.cost, 0]) AS u (account_id, minor))
    SELECT 4, 'account ' || a.code, format('balance row %s, exchanges and revaluations %s', b.posted_minor, w.minor)
      FROM wanted w JOIN ledger.account a USING (account_id) JOIN ledger.balance b USING (account_id) WHERE b.posted_minor <> w.minor
$$;

GRANT SELECT ON ledger.trading_pair, ledger.exchange, ledger.exchange_position, ledger.entry_rate, ledger.revaluation TO :app;
GRANT SELECT ON ledger.exchange_current TO :app, :analyst;
GRANT EXECUTE ON FUNCTION ledger.exchange, ledger.reverse_exchange, ledger.positions_at, ledger.revalue, ledger.translated_balances, ledger.verify_trading TO :app;
