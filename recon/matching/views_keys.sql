-- Every text on a line that could be a reference: the fields, and the words of the narration, cut in each of the
-- ways in which banks pack references (EREF+…, /ROC/…//, REF:…;). A word counts only when it is a reference of ours.
CREATE TABLE line_key AS
WITH narration AS (
    SELECT item_id, unnest(list_concat(
               regexp_extract_all(remittance, '[A-Za-z0-9][A-Za-z0-9_./:-]*[A-Za-z0-9]'),
               CASE WHEN regexp_matches(remittance, '[./:]')
                    THEN list_concat(regexp_extract_all(remittance, '[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9]'),
                                     regexp_extract_all(remittance, '/[A-Z]{3,4}/(.+?)(?://|$)', 1),
                                     regexp_extract_all(remittance, '\b[A-Z]{2,6}:([^;, ]+)', 1)) END)) AS word
    FROM line WHERE remittance IS NOT NULL
),
text AS (
    SELECT item_id, 'field' AS source, own_key AS key FROM line WHERE own_key IS NOT NULL
    UNION ALL
    SELECT item_id, 'structured', norm(structured_ref) FROM line WHERE structured_ref IS NOT NULL
    UNION ALL
    SELECT item_id, 'text', key
    FROM (SELECT item_id, norm(word) AS key FROM narration WHERE regexp_matches(word, '[0-9]')) WHERE length(key) >= 3
)
SELECT item_id, key, min(source) AS source FROM text GROUP BY item_id, key;

CREATE TABLE expected_key AS
WITH text AS (
    SELECT item_id, unnest([own_key, norm(structured_ref)]) AS key
    FROM open_item WHERE kind IN ('INSTRUCTION', 'RECEIPT', 'OTHER')
)
SELECT DISTINCT item_id, key FROM text WHERE key IN (SELECT key FROM line_key);
