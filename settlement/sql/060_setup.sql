-- Declaring banks, bank accounts and payees. Declaring the same again changes nothing.

CREATE FUNCTION settlement.declare_setup(p_book_id int, p_body jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM 1 FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;
    INSERT INTO settlement.book_setup (book_id, version, body)
    SELECT p_book_id, coalesce(max(s.version), 0) + 1, p_body
      FROM settlement.book_setup s WHERE s.book_id = p_book_id
    HAVING NOT EXISTS (SELECT FROM settlement.setup_current c WHERE c.book_id = p_book_id AND c.body = p_body);
    RETURN FOUND;
END $$;

CREATE FUNCTION settlement.declare_bank(p_book_id int, p_code text, p_body jsonb) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM 1 FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;
    INSERT INTO settlement.bank_profile_version (book_id, code, version, body)
    SELECT p_book_id, p_code, coalesce(max(v.version), 0) + 1, p_body
      FROM settlement.bank_profile_version v WHERE v.book_id = p_book_id AND v.code = p_code
    HAVING NOT EXISTS (SELECT FROM settlement.bank_profile b
                        WHERE b.book_id = p_book_id AND b.code = p_code AND b.body = p_body);
    RETURN FOUND;
END $$;

-- Declares one of our bank accounts, with its opening balance. Accounts N and T exist already.
CREATE FUNCTION settlement.declare_bank_account(
    p_book_id int, p_code text, p_bank text, p_iban text, p_currency text, p_rail text,
    p_holder jsonb, p_minimum_minor bigint, p_maximum_minor bigint, p_opening_date date, p_opening_minor bigint)
    RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_root     settlement.bank_account_root;
    v_new      boolean := false;
    v_currency ledger.currency;
    v_nostro   int := (SELECT a.account_id FROM ledger.account a
                        WHERE a.book_id = p_book_id AND a.code = 'assets:bank:' || p_code AND a.control = 'nostro');
    v_transit  int := (SELECT a.account_id FROM ledger.account a
                        WHERE a.book_id = p_book_id AND a.code = 'assets:transit:' || p_code
                          AND a.control = 'cash_in_transit');
    v_equity   int := (SELECT a.account_id FROM ledger.account a
                        WHERE a.book_id = p_book_id AND a.code = 'equity:opening-balances:' || lower(p_currency));
BEGIN
    PERFORM ledger.require_book(p_book_id);
    SELECT * INTO v_currency FROM ledger.currency c WHERE c.code = p_currency;
    INSERT INTO settlement.bank_account_root (book_id, code, bank, iban, currency_id, rail, nostro_account_id,
                                              transit_account_id, opening_date, opening_minor)
    SELECT p_book_id, p_code, p_bank, p_iban, v_currency.currency_id, p_rail, v_nostro, v_transit,
           p_opening_date, p_opening_minor
     WHERE NOT EXISTS (SELECT FROM settlement.bank_account_root r WHERE r.book_id = p_book_id AND r.code = p_code);
    v_new := FOUND;
    SELECT * INTO v_root FROM settlement.bank_account_root r
     WHERE r.book_id = p_book_id AND r.code = p_code FOR NO KEY UPDATE;
    IF (v_root.bank, v_root.iban, v_root.currency_id, v_root.rail, v_root.opening_date, v_root.opening_minor)
       IS DISTINCT FROM (p_bank, p_iban, v_currency.currency_id, p_rail, p_opening_date, p_opening_minor) THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'bank_account_same',
            MESSAGE = format('Bank account %s exists with another bank, IBAN, currency, rail or opening balance.', p_code),
            HINT = 'Give the new bank account a code of its own.';
    END IF;
    INSERT INTO settlement.bank_account_version (bank_account_id, version, holder, minimum_minor, maximum_minor)
    SELECT v_root.bank_account_id, coalesce(max(v.version), 0) + 1, p_holder, p_minimum_minor, p_maximum_minor
      FROM settlement.bank_account_version v WHERE v.bank_account_id = v_root.bank_account_id
    HAVING NOT EXISTS (
        SELECT FROM (SELECT * FROM settlement.bank_account_version c
                      WHERE c.bank_account_id = v_root.bank_account_id ORDER BY c.version DESC LIMIT 1) c
         WHERE (c.holder, c.minimum_minor, c.maximum_minor) = (p_holder, p_minimum_minor, p_maximum_minor));
    v_new := v_new OR FOUND;
    IF p_opening_minor <> 0 THEN
        PERFORM ledger.post_internal(p_book_id, 'setup', NULL, ARRAY['opening:' || p_code], ARRAY[p_opening_date],
            ARRAY['Opening balance of ' || p_code], ARRAY[p_iban], NULL, NULL,
            ARRAY[1, 1], ARRAY[v_nostro, v_equity], ARRAY[p_opening_minor, -p_opening_minor]);
    END IF;
    RETURN v_new;
END $$;

-- Declares payees, all at once; one JSON object each. A payee keeps its account for ever; anything else that differs is
-- a new version.
CREATE FUNCTION settlement.declare_payees(p_book_id int, p_payees jsonb, OUT new_payees int, OUT new_versions int)
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad record;
BEGIN
    PERFORM ledger.require_book(p_book_id);
    PERFORM 1 FROM ledger.book b WHERE b.book_id = p_book_id FOR NO KEY UPDATE;

    SELECT g.code, g.account INTO v_bad
      FROM jsonb_to_recordset(p_payees) AS g (code text, account text, pay_from text)
      LEFT JOIN ledger.account a ON a.book_id = p_book_id AND a.code = g.account AND a.settleable
      LEFT JOIN settlement.bank_account_root b
             ON b.book_id = p_book_id AND b.code = g.pay_from AND b.currency_id = a.currency_id
     WHERE b.bank_account_id IS NULL LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payee_payable',
            MESSAGE = format('Payee %s: account %s must be settleable, and of the currency of the bank account it is paid from.',
                             v_bad.code, v_bad.account);
    END IF;

    INSERT INTO settlement.payee (book_id, code, account_id, currency_id)
    SELECT p_book_id, g.code, a.account_id, a.currency_id
      FROM jsonb_to_recordset(p_payees) AS g (n int, code text, account text)
      JOIN ledger.account a ON a.book_id = p_book_id AND a.code = g.account
     WHERE NOT EXISTS (SELECT FROM settlement.payee p WHERE p.book_id = p_book_id AND p.code = g.code)
     ORDER BY g.n;
    GET DIAGNOSTICS new_payees = ROW_COUNT;

    SELECT g.code, g.account INTO v_bad
      FROM jsonb_to_recordset(p_payees) AS g (code text, account text)
      JOIN settlement.payee p ON p.book_id = p_book_id AND p.code = g.code
      JOIN ledger.account a ON a.account_id = p.account_id
     WHERE a.code <> g.account LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'payee_same_account',
            MESSAGE = format('Payee %s exists with another account than %s.', v_bad.code, v_bad.account),
            HINT = 'A payee keeps its account; declare a new payee for the new account.';
    END IF;

    -- A payee moves from one bank account to another when neither is netting: its cuts are made one after the other.
    IF EXISTS (SELECT FROM jsonb_to_recordset(p_payees) AS g (code text, pay_from text)
                 JOIN settlement.payee_current c ON c.book_id = p_book_id AND c.code = g.code
                 JOIN settlement.bank_account_root b ON b.bank_account_id = c.bank_account_id AND b.code <> g.pay_from) THEN
        PERFORM FROM settlement.bank_account_root b WHERE b.book_id = p_book_id ORDER BY b.bank_account_id FOR NO KEY UPDATE;
    END IF;
    INSERT INTO settlement.payee_version (payee_id, version, name, iban, bic, country, town, street, postcode,
        bank_account_id, minimum_minor, maximum_minor, delay_days, hold, schedule, reserve_bps, reserve_days,
        reserve_fixed_minor, reserve_account_id, negative, mandate_id, mandate_signed, mandate_scheme, mandate_sequence,
        intermediary_bic, purpose, creditor_reference, regulatory_country, regulatory_code, regulatory_text,
        charge_bearer)
    SELECT p.payee_id, coalesce(c.version, 0) + 1, g.name, g.iban, g.bic, g.country, g.town, g.street, g.postcode,
           b.bank_account_id, g.minimum_minor, g.maximum_minor, g.delay_days, g.hold, g.schedule, g.reserve_bps,
           g.reserve_days, g.reserve_fixed_minor, r.account_id, g.negative, g.mandate_id, g.mandate_signed,
           g.mandate_scheme, g.mandate_sequence,
           g.intermediary_bic, g.purpose, g.creditor_reference, g.regulatory_country, g.regulatory_code, g.regulatory_text,
           g.charge_bearer
      FROM jsonb_to_recordset(p_payees) AS g (
           n int, code text, name text, iban text, bic text, country text, town text, street text, postcode text,
           pay_from text, minimum_minor bigint, maximum_minor bigint, delay_days int, hold boolean, schedule text,
           reserve_bps int, reserve_days int, reserve_fixed_minor bigint, reserve_account text, negative text,
           mandate_id text, mandate_signed date, mandate_scheme text, mandate_sequence text, intermediary_bic text,
           purpose text, creditor_reference text, regulatory_country text, regulatory_code text, regulatory_text text,
           charge_bearer text)
      JOIN settlement.payee p ON p.book_id = p_book_id AND p.code = g.code
      JOIN settlement.bank_account_root b ON b.book_id = p_book_id AND b.code = g.pay_from
      LEFT JOIN ledger.account r ON r.book_id = p_book_id AND r.code = g.reserve_account AND r.control = 'reserve'
      LEFT JOIN settlement.payee_current c ON c.payee_id = p.payee_id
     WHERE (c.name, c.iban, c.bic, c.country, c.town, c.street, c.postcode, c.bank_account_id, c.minimum_minor,
            c.maximum_minor, c.delay_days, c.hold, c.schedule, c.reserve_bps, c.reserve_days, c.reserve_fixed_minor,
            c.reserve_account_id, c.negative, c.mandate_id, c.mandate_signed, c.mandate_scheme, c.mandate_sequence,
            c.intermediary_bic, c.purpose, c.creditor_reference, c.regulatory_country, c.regulatory_code, c.regulatory_text,
            c.charge_bearer)
           IS DISTINCT FROM
           (g.name, g.iban, g.bic, g.country, g.town, g.street, g.postcode, b.bank_account_id, g.minimum_minor,
            g.maximum_minor, g.delay_days, g.hold, g.schedule, g.reserve_bps, g.reserve_days, g.reserve_fixed_minor,
            r.account_id, g.negative, g.mandate_id, g.mandate_signed, g.mandate_scheme, g.mandate_sequence,
            g.intermediary_bic, g.purpose, g.creditor_reference, g.regulatory_country, g.regulatory_code, g.regulatory_text,
            g.charge_bearer)
     ORDER BY g.n;
    GET DIAGNOSTICS new_versions = ROW_COUNT;
END $$;

GRANT EXECUTE ON FUNCTION settlement.declare_setup, settlement.declare_bank, settlement.declare_bank_account,
    settlement.declare_payees TO :app;
