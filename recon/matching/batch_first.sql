-- What came in by place (account and currency), and the sets of the first pass as the files show them; made beside the
-- later passes, which need neither. A place is named by its hash, which nobody else may have.
CREATE TABLE place (place UBIGINT PRIMARY KEY, account VARCHAR NOT NULL, currency VARCHAR NOT NULL, bank_minor HUGEINT,
                    bank_items BIGINT, ledger_minor HUGEINT, ledger_items BIGINT);
INSERT INTO place
SELECT hash(account, currency), account, currency, sum(bank_minor), sum(bank_items), sum(ledger_minor), sum(ledger_items)
FROM (SELECT account, currency, sum(amount_minor) AS bank_minor, count(*) AS bank_items, 0 AS ledger_minor,
             0 AS ledger_items
      FROM raw_bank GROUP BY account, currency
      UNION ALL
      SELECT account, currency, 0, 0, sum(amount_minor), count(*) FROM raw_ledger GROUP BY account, currency)
GROUP BY account, currency;

-- Words that repeat in every row are written by number, and read as the words they are.
CREATE TYPE rule_word AS ENUM (SELECT DISTINCT code FROM rule ORDER BY code);
CREATE TYPE account_word AS ENUM (SELECT DISTINCT account FROM place ORDER BY account);
CREATE TYPE currency_word AS ENUM (SELECT DISTINCT currency FROM place ORDER BY currency);
CREATE TABLE place_word AS
SELECT place, account::account_word AS account, currency::currency_word AS currency FROM place;

CREATE TABLE first_rule AS
SELECT wide = 'RECEIPT' AS is_receipt, code::rule_word AS rule, version::INTEGER AS rule_version
FROM rule WHERE wide IS NOT NULL;

CREATE VIEW first_match AS
SELECT p.expected_id AS set_ordinal, r.rule, r.rule_version, p.line_id AS item_id, p.line_minor AS amount_minor,
       p.line_hash AS row_hash, p.place
FROM exact_pair p JOIN first_rule r USING (is_receipt)
UNION ALL
SELECT p.expected_id, r.rule, r.rule_version, p.expected_id, -p.line_minor, p.expected_hash, p.place
FROM exact_pair p JOIN first_rule r USING (is_receipt);

CREATE VIEW first_proof AS
SELECT p.expected_id AS set_ordinal, r.rule, r.rule_version, w.account, w.currency, 2::INTEGER AS legs,
       p.line_minor AS bank_minor, -p.line_minor AS ledger_minor, 0::BIGINT AS explained_minor,
       NULL::VARCHAR AS explained_code, 0::INTEGER AS rivals, NULL::INTEGER AS margin, false AS is_fungible, p.place
FROM exact_pair p JOIN first_rule r USING (is_receipt) JOIN place_word w USING (place);
