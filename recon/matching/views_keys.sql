-- Every text on a line that could be a reference: the fields, and the words of the narration, cut in each of the
-- ways in which banks pack references (EREF+…, /ROC/…//, REF:…;). A word counts only when it is a reference of ours.
CREATE TABLE line_key AS
WITH text AS (
    SELECT item_id, 'field' AS source, end_to_end_id AS word FROM line WHERE end_to_end_id IS NOT NULL
    UNION ALL
    SELECT item_id, 'structured', structured_ref FROM line WHERE structured_ref IS NOT NULL
    UNION ALL
    SELECT item_id, 'text', unnest(list_concat(
               regexp_extract_all(remittance, '[A-Za-z0-9][A-Za-z0-9_./:-]*[A-Za-z0-9]'),
               regexp_extract_all(remittance, '[A-Za-z0-9][A-Za-z0-9_-]*[A-Za-z0-9]'),
               regexp_extract_all(remittance, '/[A-Z]{3,4}/(.+?)(?://|$)', 1),
               regexp_extract_all(remittance, '\b[A-Z]{2,6}:([^;, ]+)', 1)))
    FROM line WHERE remittance IS NOT NULL
)
SELECT item_id, norm(word) AS key, min(source) AS source
FROM text
WHERE source <> 'text' OR (regexp_matches(word, '[0-9]') AND length(norm(word)) >= 3)
GROUP BY item_id, norm(word);

CREATE TABLE expected_key AS
SELECT DISTINCT item_id, norm(word) AS key
FROM (SELECT item_id, end_to_end_id AS word FROM open_item WHERE kind IN ('INSTRUCTION', 'RECEIPT', 'OTHER')
      UNION ALL
      SELECT item_id, structured_ref FROM open_item WHERE kind IN ('INSTRUCTION', 'RECEIPT', 'OTHER'))
WHERE norm(word) IN (SELECT key FROM line_key);
