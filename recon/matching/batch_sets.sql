-- The sets of the later passes of a batch run, one row a leg and one a set, for the files and the certificate. `leg`
-- holds them as the cascade gave them.
CREATE VIEW late_match AS
SELECT g.set_ordinal, r.code AS rule, r.version AS rule_version, g.item_id, i.amount_minor, i.row_hash, i.account
FROM leg g JOIN rule r USING (position) JOIN item i USING (item_id);

-- The equation of a set: bank_minor + ledger_minor = explained_minor (0 unless policy lets a difference clear).
CREATE TABLE late_proof AS
WITH total AS (
    SELECT g.set_ordinal, g.position, any_value(i.account) AS account, any_value(i.currency) AS currency,
           count(*)::INTEGER AS legs,
           coalesce(sum(i.amount_minor) FILTER (WHERE i.kind IN ('LINE', 'PENDING')), 0)::BIGINT AS bank_minor,
           coalesce(sum(i.amount_minor) FILTER (WHERE i.kind NOT IN ('LINE', 'PENDING')), 0)::BIGINT AS ledger_minor,
           any_value(g.explained_code) AS explained_code, any_value(g.margin)::INTEGER AS margin
    FROM leg g JOIN item i USING (item_id) GROUP BY g.set_ordinal, g.position
)
SELECT t.set_ordinal, r.code AS rule, r.version AS rule_version, t.account, t.currency, t.legs, t.bank_minor,
       t.ledger_minor, t.explained_code, coalesce(v.rivals, 0)::INTEGER AS rivals, t.margin, r.is_fungible
FROM total t JOIN rule r USING (position) LEFT JOIN rival v USING (set_ordinal);
