-- What to do about the reason a bank gives. The rows are in reason_policies.csv: our own table, one sentence a code.
-- A code that is not there, or is the bank's own, is for a person.

CREATE TABLE settlement.reason_policy (
    list    text NOT NULL CHECK (list IN ('status', 'return', 'cancellation', 'reversal')),
    code    text NOT NULL CHECK (code <> ''),
    policy  text NOT NULL CHECK (policy IN ('none', 'fix_data', 're_date', 'retry', 'human', 'stop')),
    meaning text NOT NULL CHECK (meaning <> ''),
    PRIMARY KEY (list, code)
);
COMMENT ON TABLE settlement.reason_policy IS 'ISO 20022 reason codes, by external code list, and what is done about each.';
COMMENT ON COLUMN settlement.reason_policy.policy IS
    'none: it only informs. fix_data: correct what we sent. re_date: pay on another day. retry: pay again as it was.
     human: an approver looks first. stop: paying again may pay twice or break a law; an approver looks first.';
SELECT ledger.make_append_only('settlement.reason_policy');

CREATE FUNCTION settlement.policy_of(p_list text, p_code text) RETURNS text
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
    SELECT coalesce((SELECT r.policy FROM settlement.reason_policy r WHERE r.list = p_list AND r.code = p_code), 'human')
$$;
COMMENT ON FUNCTION settlement.policy_of IS 'The policy of a reason code; human where the code is not known.';

-- What a camt.029 says of a payment that was asked back, and a pain.002 of a collection that is to be given back.
CREATE TABLE settlement.recall_outcome (
    code    text PRIMARY KEY,
    outcome text NOT NULL CHECK (outcome IN ('agreed', 'refused', 'pending', 'person')),
    meaning text NOT NULL CHECK (meaning <> '')
);
COMMENT ON TABLE settlement.recall_outcome IS 'Answers to a recall or reversal; agreed says that money will come, and only a statement that it came.';
INSERT INTO settlement.recall_outcome VALUES
    ('CNCL', 'agreed', 'Cancelled as asked.'),
    ('ACCR', 'agreed', 'The cancellation is accepted.'),
    ('PACR', 'person', 'Some payments are cancelled and some are not; see each.'),
    ('IPAY', 'agreed', 'A payment back to us was started.'),
    ('PDCR', 'pending', 'The bank is still asking.'),
    ('RJCR', 'refused', 'The cancellation is refused.'),
    ('PECR', 'person', 'Cancelled in part; see what comes back.'),
    ('UWFW', 'pending', 'The bank waits for another one.'),
    ('CWFW', 'agreed', 'Cancelled, and another bank was told.'),
    ('INFO', 'person', 'The bank wants to know more.'),
    ('MODI', 'person', 'The payment was changed and not cancelled.'),
    ('ICOV', 'person', 'A cover was started.'),
    ('MCOV', 'person', 'A cover is missing.'),
    ('CONF', 'person', 'The bank confirms; read what.'),
    ('RCVD', 'pending', 'The bank has it.'),
    ('PDNG', 'pending', 'The bank is still checking.'),
    ('ACTC', 'pending', 'Its form is right.'),
    ('ACCP', 'pending', 'It is accepted; the statement will show it.'),
    ('ACWC', 'pending', 'It is accepted with a change, such as another date.'),
    ('ACSP', 'pending', 'It is being settled; the statement will show it.'),
    ('ACSC', 'agreed', 'It is settled; the statement will show it.'),
    ('ACCC', 'agreed', 'It is settled and credited; the statement will show it.'),
    ('PART', 'person', 'Some are given back and some are not; see each.'),
    ('RJCT', 'refused', 'The reversal is refused; the reason says why.'),
    ('CANC', 'refused', 'The reversal is cancelled.');
SELECT ledger.make_append_only('settlement.recall_outcome');
GRANT SELECT ON settlement.reason_policy, settlement.recall_outcome TO :app;

-- What answers say that moves no state, once a message. Without an instruction it is of the whole file.
CREATE TABLE settlement.answer_note (
    note_id        bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id     bigint NOT NULL REFERENCES settlement.message_received,
    file_id        bigint NOT NULL REFERENCES settlement.payment_file,
    instruction_id bigint REFERENCES settlement.instruction,
    kind           text NOT NULL CHECK (kind IN ('status', 'return', 'recall')),
    code           text NOT NULL,
    reason_code    text,
    reason_text    text,
    execution_date date,
    amount_minor   bigint,
    recall_part    int,
    CONSTRAINT answer_note_once UNIQUE NULLS NOT DISTINCT (message_id, file_id, instruction_id, kind, code)
);
COMMENT ON TABLE settlement.answer_note IS
    'What a bank said of a payment or file that moves no state: dates, names that do not match, returns and recalls.';
COMMENT ON COLUMN settlement.answer_note.recall_part IS 'The recall or reversal of the file that it answers; NULL: it names the payment file, so it is of all of them.';
CREATE INDEX answer_note_instruction ON settlement.answer_note (instruction_id) WHERE instruction_id IS NOT NULL;
CREATE INDEX answer_note_file ON settlement.answer_note (file_id);
-- What moves no payment and may need a person. (Of names that match a bank may say so payment by payment.)
CREATE INDEX answer_note_doubt ON settlement.answer_note (file_id) WHERE code IN ('RVCM', 'RVMC', 'RVNM', 'RVNA');
CREATE INDEX answer_note_return ON settlement.answer_note (instruction_id) WHERE kind = 'return';
SELECT ledger.make_append_only('settlement.answer_note');

-- The latest date wins, so the order of reports does not matter.
CREATE VIEW settlement.promised_date AS
SELECT n.instruction_id, max(n.execution_date) AS execution_date
  FROM settlement.answer_note n
 WHERE n.kind = 'status' AND n.code = 'ACWC' AND n.execution_date IS NOT NULL
 GROUP BY n.instruction_id;
COMMENT ON VIEW settlement.promised_date IS 'On which day a bank says it will execute a payment, where it changed our date.';
GRANT SELECT ON settlement.answer_note, settlement.promised_date TO :app;
