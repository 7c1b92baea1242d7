-- What the bank says during the day (camt.052, MT942, BAI2 intraday). It posts nothing; the booked statement replaces it.

CREATE TABLE recon.intraday_line (
    statement_id           bigint NOT NULL REFERENCES recon.statement,
    line_ordinal           int    NOT NULL,
    detail_ordinal         int    NOT NULL,
    book_id                int    NOT NULL REFERENCES ledger.book,
    bank_account_id        int    NOT NULL REFERENCES settlement.bank_account_root,
    entry_date             date   NOT NULL,
    value_date             date,
    status                 text   NOT NULL,
    amount_minor           bigint NOT NULL,
    currency               text   NOT NULL,
    is_reversal            boolean NOT NULL,
    account_servicer_ref   text,
    end_to_end_id          text,
    uetr                   text,
    payment_information_id text,
    party_name             text,
    party_account          text,
    remittance             text,
    PRIMARY KEY (statement_id, line_ordinal, detail_ordinal),
    CONSTRAINT intraday_line_currency CHECK (currency ~ '^[A-Z]{3}$'),
    CONSTRAINT intraday_line_status CHECK (status IN ('BOOK', 'PDNG', 'INFO', 'FUTR'))
);
CREATE INDEX intraday_line_account ON recon.intraday_line (bank_account_id, entry_date);
COMMENT ON TABLE recon.intraday_line IS 'Lines of intraday reports, as they came. amount_minor: credit positive. They post nothing.';
SELECT ledger.make_append_only('recon.intraday_line');

-- Keeps the staged lines of an intraday report; a line without a date is of the report's day.
CREATE FUNCTION recon.keep_intraday(p_statement_id bigint) RETURNS int
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    v_statement recon.statement;
    v_count     int;
BEGIN
    SELECT * INTO STRICT v_statement FROM recon.statement s WHERE s.statement_id = p_statement_id;
    PERFORM ledger.require_book(v_statement.book_id);
    IF v_statement.kind NOT IN ('camt.052', 'mt942', 'bai2.intraday') THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'intraday_kind',
            MESSAGE = format('%s is a %s, not an intraday report.', v_statement.stmt_id, v_statement.kind);
    END IF;
    WITH staged AS (DELETE FROM recon.stage_line l WHERE l.xid = pg_current_xact_id() RETURNING l.*)
    INSERT INTO recon.intraday_line
    SELECT p_statement_id, l.line_ordinal, l.detail_ordinal, v_statement.book_id, v_statement.bank_account_id,
           coalesce(l.booking_date, v_statement.closing_date, v_statement.from_date, l.value_date), l.value_date, l.status, l.amount_minor,
           l.currency, l.is_reversal, l.account_servicer_ref, l.end_to_end_id, l.uetr, l.payment_information_id, l.party_name,
           l.party_account, l.remittance
      FROM staged l
     WHERE l.amount_minor <> 0
       AND coalesce(l.booking_date, v_statement.closing_date, v_statement.from_date, l.value_date) IS NOT NULL;
    GET DIAGNOSTICS v_count = ROW_COUNT;
    RETURN v_count;
END $$;

-- Each announced entry once, however many reports repeat it (the last one counts), and what became of it:
--   replaced   a booked statement has it: this line counts, the announcement no longer does
--   announced  no booked statement covers its day yet, or the bank calls it pending
--   missing    called booked, its day's statement is booked, and it is not in it. MT942 and BAI2 cannot tell booked from
--              pending, so theirs are missing then as well; what an MT942 marks as expected is not.
-- A line and an entry are the same when they have one amount and share the bank's reference, UETR or EndToEndId; an entry
-- without any of these, the day. Equal ones are paired in order, each line with one entry.
CREATE VIEW recon.intraday_entry AS
WITH told AS (
    SELECT i.*, row_number() OVER (PARTITION BY i.statement_id, i.amount_minor, i.currency, i.account_servicer_ref, i.uetr, i.end_to_end_id,
                                     CASE WHEN coalesce(i.account_servicer_ref, i.uetr, i.end_to_end_id) IS NULL THEN i.entry_date END
                                   ORDER BY i.line_ordinal, i.detail_ordinal) AS nth
      FROM recon.intraday_line i),
entry AS (
    SELECT DISTINCT ON (t.bank_account_id, t.amount_minor, t.currency, coalesce(t.account_servicer_ref, t.uetr, t.end_to_end_id, t.entry_date::text), t.nth) t.*
      FROM told t
     ORDER BY t.bank_account_id, t.amount_minor, t.currency, coalesce(t.account_servicer_ref, t.uetr, t.end_to_end_id, t.entry_date::text), t.nth,
              t.statement_id DESC),
entry_key AS (
    SELECT e.statement_id, e.line_ordinal, e.detail_ordinal, e.bank_account_id, e.amount_minor, k.rank, k.value,
           row_number() OVER (PARTITION BY e.bank_account_id, e.amount_minor, k.rank, k.value
                              ORDER BY e.statement_id, e.line_ordinal, e.detail_ordinal) AS n
      FROM entry e
     CROSS JOIN LATERAL (VALUES (1, e.account_servicer_ref), (2, e.uetr), (3, e.end_to_end_id),
         (4, CASE WHEN coalesce(e.account_servicer_ref, e.uetr, e.end_to_end_id) IS NULL THEN e.entry_date::text END)) k (rank, value)
     WHERE k.value IS NOT NULL),
line AS (
    SELECT b.bank_account_id, l.statement_id, l.line_ordinal, l.detail_ordinal, l.amount_minor, l.account_servicer_ref, l.uetr,
           l.end_to_end_id, l.booking_date
      FROM recon.statement_line l JOIN recon.statement_booking b USING (statement_id)
     WHERE l.status = 'BOOK'
       AND EXISTS (SELECT FROM recon.intraday_line i WHERE i.bank_account_id = b.bank_account_id AND i.entry_date >= l.booking_date - 10
                      AND i.entry_date <= l.booking_date + 10)),
line_key AS (
    SELECT l.statement_id, l.line_ordinal, l.detail_ordinal, l.bank_account_id, l.amount_minor, k.rank, k.value,
           row_number() OVER (PARTITION BY l.bank_account_id, l.amount_minor, k.rank, k.value
                              ORDER BY l.statement_id, l.line_ordinal, l.detail_ordinal) AS n
      FROM line l
     CROSS JOIN LATERAL (VALUES (1, l.account_servicer_ref), (2, l.uetr), (3, l.end_to_end_id), (4, l.booking_date::text)) k (rank, value)
     WHERE k.value IS NOT NULL),
pair AS (
    SELECT DISTINCT ON (e.statement_id, e.line_ordinal, e.detail_ordinal) e.statement_id, e.line_ordinal, e.detail_ordinal,
           l.statement_id AS by_statement_id, l.line_ordinal AS by_line
      FROM entry_key e JOIN line_key l USING (bank_account_id, amount_minor, rank, value, n)
     ORDER BY e.statement_id, e.line_ordinal, e.detail_ordinal, e.rank)
SELECT e.book_id, a.code AS bank_account, e.entry_date, e.value_date, e.status, e.amount_minor, e.currency, e.account_servicer_ref,
       e.end_to_end_id, e.uetr, e.party_name, e.remittance, r.kind, r.stmt_id AS report,
       CASE WHEN p.by_statement_id IS NOT NULL THEN 'replaced'
            WHEN (e.status = 'BOOK' OR (e.status = 'PDNG' AND r.kind IN ('mt942', 'bai2.intraday'))) AND EXISTS (SELECT FROM recon.statement_booking b WHERE b.bank_account_id = e.bank_account_id
                                                  AND b.closing_date >= e.entry_date) THEN 'missing'
            ELSE 'announced' END AS state,
       s.stmt_id AS replaced_by, p.by_line AS replaced_by_line, e.statement_id, e.line_ordinal, e.detail_ordinal
  FROM entry e
  JOIN settlement.bank_account_root a USING (bank_account_id)
  JOIN recon.statement r USING (statement_id)
  LEFT JOIN pair p ON (p.statement_id, p.line_ordinal, p.detail_ordinal) = (e.statement_id, e.line_ordinal, e.detail_ordinal)
  LEFT JOIN recon.statement s ON s.statement_id = p.by_statement_id;
COMMENT ON VIEW recon.intraday_entry IS
    'What the bank announced during the day, each entry once: announced, replaced by the booked statement''s line, or missing in it.';

-- What stands at the bank now: the last booked balance, and what is announced and not replaced; never both.
CREATE VIEW recon.intraday_position AS
SELECT b.book_id, b.code AS bank_account, b.currency, k.closing_date, coalesce(k.closing_minor, b.opening_minor) AS booked_minor,
       coalesce(sum(e.amount_minor) FILTER (WHERE e.status = 'BOOK'), 0)::bigint AS announced_minor,
       coalesce(sum(e.amount_minor) FILTER (WHERE e.status <> 'BOOK'), 0)::bigint AS pending_minor,
       (coalesce(k.closing_minor, b.opening_minor) + coalesce(sum(e.amount_minor) FILTER (WHERE e.status = 'BOOK'), 0))::bigint AS expected_minor,
       count(e.statement_id) AS announced_entries
  FROM settlement.bank_account b
  LEFT JOIN LATERAL (SELECT c.closing_date, c.closing_minor FROM recon.statement_booking c WHERE c.bank_account_id = b.bank_account_id
                        AND NOT EXISTS (SELECT FROM recon.statement_booking n WHERE n.previous_id = c.statement_id)) k ON true
  LEFT JOIN recon.intraday_entry e ON e.book_id = b.book_id AND e.bank_account = b.code AND e.state = 'announced'
 GROUP BY b.book_id, b.code, b.currency, k.closing_date, k.closing_minor, b.opening_minor;
COMMENT ON VIEW recon.intraday_position IS
    'Each bank account now: last booked balance, and what was announced since and no booked statement has replaced.';

GRANT SELECT ON recon.intraday_line TO :app;
GRANT SELECT ON recon.intraday_entry, recon.intraday_position TO :app, :analyst;
GRANT EXECUTE ON FUNCTION recon.keep_intraday TO :service;
