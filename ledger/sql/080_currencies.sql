-- Currencies beyond ISO 4217, and exchange rates: dated facts with a source, corrected by newer rows.

CREATE SEQUENCE ledger.currency_id_seq AS smallint MINVALUE 1000 START 1000;

-- Defines a currency for every book of the deployment, or gives the one that is there with the same decimals.
CREATE FUNCTION ledger.define_currency(p_code text, p_exponent int) RETURNS smallint
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE v ledger.currency;
BEGIN
    PERFORM ledger.require_book(NULL);
    IF (p_exponent BETWEEN 0 AND 8) IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'currency_exponent',
            MESSAGE = format('Currency %s cannot have %s decimals: 0 to 8 are kept, so that amounts to 92 billion fit in 64 bits.', p_code, p_exponent),
            HINT = 'Define it with at most 8 and round what comes finer.';
    ELSIF (p_code ~ '^[A-Z]{3,8}$') IS NOT TRUE THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'currency_code',
            MESSAGE = format('%s is no currency code: a code is 3 to 8 capital letters, such as BTC.', coalesce(quote_literal(p_code), 'Nothing'));
    END IF;
    IF NOT EXISTS (SELECT FROM ledger.currency WHERE code = p_code) THEN
        INSERT INTO ledger.currency (currency_id, code, exponent) VALUES (nextval('ledger.currency_id_seq'), p_code, p_exponent)
        ON CONFLICT (code) DO NOTHING;
    END IF;
    SELECT * INTO v FROM ledger.currency WHERE code = p_code;
    IF v.exponent <> p_exponent THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'currency_same',
            MESSAGE = format('Currency %s has %s decimals%s, for ever.', p_code, v.exponent, CASE WHEN v.currency_id < 1000 THEN ' by ISO 4217' ELSE '' END),
            HINT = 'Amounts are written in its minor units; use another code.';
    END IF;
    RETURN v.currency_id;
END $$;

-- One unit of the base currency costs `rate` units of the quote currency: the ECB's form, base EUR.
CREATE TABLE ledger.rate (
    rate_id     bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id     int         NOT NULL REFERENCES ledger.book,
    base_id     smallint    NOT NULL REFERENCES ledger.currency,
    quote_id    smallint    NOT NULL REFERENCES ledger.currency,
    rate        numeric     NOT NULL,
    source      text        NOT NULL CHECK (source <> ''),
    rate_date   date        NOT NULL,
    as_of       timestamptz NOT NULL,
    recorded_at timestamptz NOT NULL DEFAULT clock_timestamp(),
    recorded_by name        NOT NULL DEFAULT session_user,
    CONSTRAINT rate_positive CHECK (rate > 0 AND rate < 'Infinity'),
    CONSTRAINT rate_pair CHECK (base_id <> quote_id)
);
CREATE INDEX rate_lookup ON ledger.rate (book_id, base_id, quote_id, rate_date DESC, as_of DESC, rate_id DESC);
CREATE INDEX rate_lookup_quote ON ledger.rate (book_id, quote_id, rate_date DESC);
SELECT ledger.make_append_only('ledger.rate');
COMMENT ON TABLE ledger.rate IS 'Exchange rates: a late or corrected rate is a newer row; entries cite the row they used.';
COMMENT ON COLUMN ledger.rate.rate_date IS 'The business date the rate holds for, as its source gives it.';
COMMENT ON COLUMN ledger.rate.as_of IS 'The moment it was observed or fixed; orders rates of one date.';

-- Adds what differs from the newest row of the same pair, source and moment; gives the rows added and how many of
-- them correct one. The lock makes recorded_at the order in which rates became known.
CREATE FUNCTION ledger.add_rates(
    p_book_id int, p_source text, p_bases text[], p_quotes text[], p_rates numeric[], p_dates date[], p_moments timestamptz[],
    OUT added int, OUT corrections int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    IF NOT EXISTS (SELECT FROM ledger.book WHERE book_id = p_book_id) THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'book_known', MESSAGE = format('There is no book %s.', p_book_id);
    END IF;
    LOCK TABLE ledger.rate IN SHARE ROW EXCLUSIVE MODE;
    WITH given AS (
        SELECT DISTINCT ledger.book_currency(g.base) AS base_id, ledger.book_currency(g.quote) AS quote_id, g.rate, g.day, g.moment
          FROM unnest(p_bases, p_quotes, p_rates, p_dates, p_moments) AS g (base, quote, rate, day, moment)),
    compared AS (
        SELECT g.*, o.rate AS old FROM given g LEFT JOIN LATERAL (
               SELECT r.rate FROM ledger.rate r
                WHERE r.book_id = p_book_id AND r.base_id = g.base_id AND r.quote_id = g.quote_id AND r.rate_date = g.day
                  AND r.as_of = g.moment AND r.source = p_source ORDER BY r.rate_id DESC LIMIT 1) o ON true),
    new_rate AS (
        INSERT INTO ledger.rate (book_id, base_id, quote_id, rate, source, rate_date, as_of)
        SELECT p_book_id, c.base_id, c.quote_id, c.rate, p_source, c.day, c.moment FROM compared c
         WHERE c.rate IS DISTINCT FROM c.old ORDER BY c.day, c.moment, c.base_id, c.quote_id)
    SELECT count(*) FILTER (WHERE c.rate IS DISTINCT FROM c.old), count(c.old) FILTER (WHERE c.rate <> c.old)
      INTO added, corrections FROM compared c;
END $$;

-- How to get from one currency to another on a date, as known at a moment: amount * numerator / denominator, from the
-- newest rate up to that date: quoted so, or the other way, or both currencies against one base by the same source on
-- the same date. Of equals the direct one, the later moment, the later row. No row: there is no rate.
CREATE FUNCTION ledger.find_rate(p_book_id int, p_from smallint, p_to smallint, p_date date, p_known_at timestamptz DEFAULT NULL, p_source text DEFAULT NULL)
RETURNS TABLE (rate_ids bigint[], numerator numeric, denominator numeric, rate_date date)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.require_book(p_book_id);
    WITH usable AS NOT MATERIALIZED (
        SELECT * FROM ledger.rate r WHERE r.book_id = p_book_id AND r.rate_date <= p_date
           AND (p_known_at IS NULL OR r.recorded_at <= p_known_at) AND (p_source IS NULL OR r.source = p_source))
    SELECT c.rate_ids, c.numerator, c.denominator, c.rate_date
      FROM ((SELECT ARRAY[r.rate_id] AS rate_ids, r.rate AS numerator, 1::numeric AS denominator, r.rate_date, 1 AS way, r.as_of FROM usable r
              WHERE r.base_id = p_from AND r.quote_id = p_to ORDER BY r.rate_date DESC, r.as_of DESC, r.rate_id DESC LIMIT 1)
            UNION ALL
            (SELECT ARRAY[r.rate_id], 1, r.rate, r.rate_date, 2, r.as_of FROM usable r
              WHERE r.base_id = p_to AND r.quote_id = p_from ORDER BY r.rate_date DESC, r.as_of DESC, r.rate_id DESC LIMIT 1)
            UNION ALL
            (SELECT ARRAY[f.rate_id, t.rate_id], t.rate, f.rate, f.rate_date, 3, least(f.as_of, t.as_of)
               FROM usable f JOIN usable t ON t.base_id = f.base_id AND t.source = f.source AND t.rate_date = f.rate_date
              WHERE f.quote_id = p_from AND t.quote_id = p_to
              ORDER BY f.rate_date DESC, f.as_of DESC, t.as_of DESC, f.rate_id DESC, t.rate_id DESC LIMIT 1)) c
     ORDER BY c.rate_date DESC, c.way, c.as_of DESC LIMIT 1
$$;

-- The same, refused when there is none or the newest is older than so many days.
CREATE FUNCTION ledger.rate_on(
    p_book_id int, p_from smallint, p_to smallint, p_date date, p_max_age_days int, p_known_at timestamptz DEFAULT NULL, p_source text DEFAULT NULL,
    OUT rate_ids bigint[], OUT numerator numeric, OUT denominator numeric, OUT rate_date date)
LANGUAGE plpgsql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_pair text := (SELECT f.code || '/' || t.code FROM ledger.currency f, ledger.currency t WHERE f.currency_id = p_from AND t.currency_id = p_to);
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT f.rate_ids, f.numerator, f.denominator, f.rate_date INTO rate_ids, numerator, denominator, rate_date
      FROM ledger.find_rate(p_book_id, p_from, p_to, p_date, p_known_at, p_source) f;
    IF rate_ids IS NULL THEN
        RAISE EXCEPTION USING ERRCODE = 'no_data_found', CONSTRAINT = 'rate_known',
            MESSAGE = format('There is no rate for %s on or before %s.', v_pair, p_date), HINT = 'Import one: `nostro rates import FILE`.';
    ELSIF p_date - rate_date > p_max_age_days THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'rate_stale',
            MESSAGE = format('The newest rate for %s on %s is of %s, older than %s days.', v_pair, p_date, rate_date, p_max_age_days),
            HINT = 'Import newer rates, or allow that age.';
    END IF;
END $$;

-- The integer nearest to a fraction, half to even; exact, whatever the number of digits.
CREATE FUNCTION ledger.round_half_even(p_numerator numeric, p_denominator numeric) RETURNS numeric
LANGUAGE sql IMMUTABLE PARALLEL SAFE SET search_path = pg_catalog, pg_temp AS $$
    SELECT d.whole + CASE WHEN 2 * abs(d.rest) > abs(p_denominator) OR (2 * abs(d.rest) = abs(p_denominator) AND d.whole % 2 <> 0)
                          THEN sign(d.rest) * sign(p_denominator) ELSE 0 END
      FROM (SELECT div(p_numerator, p_denominator) AS whole, p_numerator - div(p_numerator, p_denominator) * p_denominator AS rest) d
$$;

-- Minor units of one currency in minor units of another, at a rate that is a fraction of whole units.
CREATE FUNCTION ledger.convert_minor(p_minor numeric, p_from smallint, p_to smallint, p_numerator numeric, p_denominator numeric) RETURNS numeric
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT ledger.round_half_even(p_minor * p_numerator * 10::numeric ^ t.exponent, p_denominator * 10::numeric ^ f.exponent)
      FROM ledger.currency f, ledger.currency t WHERE f.currency_id = p_from AND t.currency_id = p_to
$$;

CREATE VIEW ledger.rate_current AS
SELECT r.rate_id, r.book_id, b.code AS base, q.code AS quote, r.rate, r.source, r.rate_date, r.as_of, r.recorded_at, r.recorded_by,
       EXISTS (SELECT FROM ledger.rate n WHERE (n.book_id, n.base_id, n.quote_id, n.source, n.rate_date, n.as_of)
                                             = (r.book_id, r.base_id, r.quote_id, r.source, r.rate_date, r.as_of) AND n.rate_id > r.rate_id) AS is_corrected
  FROM ledger.rate r JOIN ledger.currency b ON b.currency_id = r.base_id JOIN ledger.currency q ON q.currency_id = r.quote_id;
COMMENT ON VIEW ledger.rate_current IS 'Every rate row in words; is_corrected: a newer row of the same source and moment says otherwise.';

GRANT SELECT ON ledger.rate TO :app;
GRANT SELECT ON ledger.rate_current TO :app, :analyst;
GRANT EXECUTE ON FUNCTION ledger.define_currency, ledger.add_rates, ledger.find_rate, ledger.rate_on TO :app;
