SELECT 'rule' AS what, rule AS name, count(*) AS items, count(DISTINCT set_ordinal) AS groups, sum(abs(amount_minor))::VARCHAR AS gross_minor
FROM (SELECT r.code AS rule, g.set_ordinal, i.amount_minor FROM leg g JOIN rule r USING (position) JOIN item i USING (item_id))
GROUP BY rule
UNION ALL
SELECT 'first', CASE WHEN is_receipt THEN 'RECEIPT' ELSE 'INSTRUCTION' END, 2 * count(*), count(*), (2 * sum(abs(line_minor)))::VARCHAR
FROM exact_pair GROUP BY is_receipt
UNION ALL
SELECT 'code', code, count(*), count(DISTINCT break_id), sum(abs(amount_minor))::VARCHAR FROM break_item GROUP BY code
ORDER BY what, name
