-- What the first pass cleared, one row a leg, with the hash of the whole row, and what came in at all; made beside the
-- later passes, which need neither.
CREATE TABLE first_leg AS
SELECT p.expected_id AS set_ordinal, p.is_receipt, b.item_id, b.amount_minor, b.row_hash, b.account
FROM bank b JOIN exact_pair p ON p.line_id = b.item_id
UNION ALL
SELECT p.expected_id, p.is_receipt, e.item_id, e.amount_minor, e.row_hash, e.account
FROM ledger e JOIN exact_pair p ON p.expected_id = e.item_id;

CREATE TABLE input_sum AS
SELECT account, currency, sum(amount_minor) AS bank_minor, count(*) AS bank_items, 0 AS ledger_minor, 0 AS ledger_items
FROM raw_bank GROUP BY account, currency
UNION ALL
SELECT account, currency, 0, 0, sum(amount_minor), count(*) FROM raw_ledger GROUP BY account, currency;

CREATE MACRO first_rule(is_receipt) AS
    CASE WHEN is_receipt THEN (SELECT code FROM rule WHERE wide = 'RECEIPT')
         ELSE (SELECT code FROM rule WHERE wide = 'INSTRUCTION') END;
CREATE MACRO first_version(is_receipt) AS
    CASE WHEN is_receipt THEN (SELECT version FROM rule WHERE wide = 'RECEIPT')
         ELSE (SELECT version FROM rule WHERE wide = 'INSTRUCTION') END;

CREATE VIEW first_match AS
SELECT set_ordinal, first_rule(is_receipt) AS rule, first_version(is_receipt) AS rule_version, item_id, amount_minor,
       row_hash, account
FROM first_leg;

CREATE VIEW first_proof AS
SELECT expected_id AS set_ordinal, first_rule(is_receipt) AS rule, first_version(is_receipt) AS rule_version, account,
       currency, 2::INTEGER AS legs, line_minor AS bank_minor, -line_minor AS ledger_minor,
       0::BIGINT AS explained_minor, NULL::VARCHAR AS explained_code, 0::INTEGER AS rivals, NULL::INTEGER AS margin,
       false AS is_fungible
FROM exact_pair;
