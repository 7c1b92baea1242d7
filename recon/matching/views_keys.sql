-- Every text on a line that could be a reference: the fields, and the words of the narration, cut in each of the
-- ways in which banks pack references (EREF+…, /ROC/…//, REF:…;). A word counts only when it is a reference of ours.
CREATE TABLE line_key AS
WITH narration AS (
    SELECT item_id, unnest(list_concat(
               regexp_extract_all(remittance, '\b(?:[A-Za-z0-9]{4}[ -]){2,}[A-Za-z0-9]{1,4}\b'),
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

CREATE TABLE expected_text AS
WITH text AS (
    SELECT item_id, unnest([own_key, norm(structured_ref)]) AS key
    FROM open_item WHERE kind IN ('INSTRUCTION', 'RECEIPT', 'OTHER')
)
SELECT DISTINCT item_id, key FROM text WHERE key IS NOT NULL;

-- A reference that a text spreads over several words: printed in groups, with other marks between its parts, broken at
-- the end of a line. Its parts are whole words that follow each other, so that a number inside a longer one is none; it
-- has enough figures that no sentence makes it by chance, but is no date and time; and no like group stands before or
-- after it, which would make it the middle of a longer one.
INSERT INTO line_key
WITH words AS (
    SELECT item_id, regexp_extract_all(upper(text), '[A-Z0-9]+') AS words
    FROM (SELECT item_id, unnest([CASE WHEN contains(end_to_end_id, ' ') THEN end_to_end_id END, structured_ref,
                                  remittance]) AS text FROM line)
    WHERE regexp_matches(text, '[0-9].*[^A-Za-z0-9]|[^A-Za-z0-9].*[0-9]')
),
start AS (
    SELECT item_id, words, unnest(range(1, len(words))) AS first FROM words
),
run AS (
    SELECT item_id, words, first, unnest(range(first + 1, least(first + 17, len(words) + 1))) AS last
    FROM start
    WHERE NOT coalesce(regexp_matches(words[first - 1], '[0-9]') AND length(words[first - 1]) = length(words[first]), false)
),
joined AS (
    SELECT item_id, array_to_string(list_slice(words, first, last), '') AS key
    FROM run
    WHERE NOT coalesce(regexp_matches(words[last + 1], '[0-9]') AND length(words[last + 1]) = length(words[last]), false)
),
known AS (
    SELECT DISTINCT key FROM expected_text
    WHERE length(key) >= 8 AND regexp_matches(key, '[0-9]')
      AND (length(key) >= 16 OR length(regexp_replace(key, '[^0-9]', '', 'g')) >= 5)
      AND NOT regexp_full_match(key, '(20[0-9]{2}(0[1-9]|1[0-2])[0-3][0-9]|[0-3][0-9](0[1-9]|1[0-2])20[0-9]{2})[0-9]{0,6}')
)
SELECT DISTINCT item_id, key, 'text' FROM joined
WHERE key IN (SELECT key FROM known) AND (item_id, key) NOT IN (SELECT (item_id, key) FROM line_key);

-- A number with more zeros, or fewer, before it than in the books, where only one number of ours can be meant.
INSERT INTO line_key
SELECT DISTINCT k.item_id, min(e.key), 'text'
FROM line_key k
JOIN (SELECT DISTINCT key FROM expected_text WHERE regexp_full_match(key, '0*[1-9][0-9]{4,}')) e
  ON ltrim(e.key, '0') = ltrim(k.key, '0')
WHERE regexp_full_match(k.key, '0*[1-9][0-9]{4,}')
GROUP BY k.item_id, k.key
HAVING count(*) = 1 AND min(e.key) <> k.key;

CREATE TABLE expected_key AS
SELECT item_id, key FROM expected_text WHERE key IN (SELECT key FROM line_key);

-- A reference of ours that is only a part of a longer one on the line is not named.
DELETE FROM line_key
WHERE (item_id, key) IN (
    SELECT (part.item_id, part.key)
    FROM (SELECT * FROM line_key WHERE key IN (SELECT key FROM expected_key)) part
    JOIN (SELECT * FROM line_key WHERE key IN (SELECT key FROM expected_key)) longer USING (item_id)
    JOIN line l USING (item_id)
    WHERE length(longer.key) > length(part.key) AND contains(longer.key, part.key)
      AND NOT contains(replace(norm(concat_ws(' ', l.end_to_end_id, l.structured_ref, l.remittance)), longer.key, ' '), part.key));
