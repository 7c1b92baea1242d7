-- Which postings a payment has taken, what came back, and what is held.
-- Invariant 10: a payable posting is in at most one clearing group, for ever.

CREATE TABLE settlement.clearing_group (
    group_id             bigint PRIMARY KEY,
    book_id              int NOT NULL,
    account_id           int NOT NULL,
    member_count         int NOT NULL CHECK (member_count > 0),
    entry_id             bigint,
    clearing_posting_id  bigint,
    transit_posting_id   bigint,
    remainder_posting_id bigint,
    clearing_id          bigint GENERATED ALWAYS AS IDENTITY,
    CONSTRAINT clearing_group_transit UNIQUE (transit_posting_id),
    CONSTRAINT clearing_group_entry UNIQUE (entry_id),
    CONSTRAINT clearing_group_paid_or_zero
        CHECK (num_nonnulls(entry_id, clearing_posting_id, transit_posting_id) IN (0, 3)
               AND (entry_id IS NOT NULL OR remainder_posting_id IS NULL))
);
COMMENT ON TABLE settlement.clearing_group IS
    'A payee''s postings cleared together; without an entry they cleared each other (zero net). Id = obligation.';
CREATE UNIQUE INDEX clearing_group_remainder ON settlement.clearing_group (remainder_posting_id)
    WHERE remainder_posting_id IS NOT NULL;
CREATE INDEX clearing_group_account ON settlement.clearing_group (account_id, clearing_id);
COMMENT ON COLUMN settlement.clearing_group.clearing_id IS 'The order in which groups cleared; their ids are of the proposal.';

CREATE TABLE settlement.clearing_member (
    book_id    int NOT NULL,
    posting_id bigint NOT NULL,
    group_id   bigint NOT NULL,
    CONSTRAINT clearing_member_once PRIMARY KEY (book_id, posting_id)
);
COMMENT ON CONSTRAINT clearing_member_once ON settlement.clearing_member IS
    'Invariant 10: a posting is cleared at most once, for ever.';

-- A group is written, and its members with it: the postings its obligation was netted from, and its own clearing debit.
-- They exist, lie on the payee's account, are as many as the group says and sum to zero, or nothing is written. One look
-- at each posting, by the key of its account; then one insert in the order of the members' key.
CREATE FUNCTION settlement.claim_members() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET work_mem = '128MB'
SET plan_cache_mode = force_custom_plan SET enable_seqscan = off SET enable_bitmapscan = off SET enable_hashjoin = off
SET enable_mergejoin = off AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.group_id, n.member_count, o.obligation_id IS NOT NULL AS is_obligation, m.found, m.total INTO v_bad
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT o.obligation_id, o.account_id, o.posting_ids FROM settlement.obligation o
                          WHERE o.obligation_id = n.group_id LIMIT 1) o ON o.account_id = n.account_id
       AND n.book_id = (SELECT a.book_id FROM ledger.account a WHERE a.account_id = n.account_id)
     CROSS JOIN LATERAL (
           SELECT CASE WHEN n.clearing_posting_id IS NULL THEN o.posting_ids ELSE o.posting_ids || n.clearing_posting_id END
                  AS posting_ids) g
     CROSS JOIN LATERAL (
           SELECT count(*) AS found, sum(p.amount_minor) AS total FROM ledger.posting p
            WHERE p.account_id = n.account_id AND p.posting_id = ANY (g.posting_ids)) m
     WHERE m.total IS DISTINCT FROM 0 OR m.found <> n.member_count OR cardinality(g.posting_ids) IS DISTINCT FROM n.member_count
     LIMIT 1;
    IF FOUND AND NOT v_bad.is_obligation THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_group_obligation',
            MESSAGE = format('Clearing group %s is not on the account of an obligation.', v_bad.group_id);
    ELSIF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_group_zero',
            MESSAGE = format('Clearing group %s is not whole: of %s members %s are postings of its payee''s account, summing to %s.',
                             v_bad.group_id, v_bad.member_count, v_bad.found, coalesce(v_bad.total, 0)),
            HINT = 'Members and clearing debit must be all of the group, at once, and sum to zero.';
    END IF;
    INSERT INTO settlement.clearing_member (book_id, posting_id, group_id)
    SELECT n.book_id, m.posting_id, n.group_id
      FROM new_rows n
     CROSS JOIN LATERAL (SELECT o.posting_ids FROM settlement.obligation o WHERE o.obligation_id = n.group_id LIMIT 1) o
     CROSS JOIN LATERAL (SELECT unnest(o.posting_ids) UNION ALL
                         SELECT n.clearing_posting_id WHERE n.clearing_posting_id IS NOT NULL) m (posting_id)
     ORDER BY m.posting_id;
    RETURN NULL;
END $$;
CREATE TRIGGER claim_members AFTER INSERT ON settlement.clearing_group
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.claim_members();
ALTER TABLE settlement.clearing_group ENABLE ALWAYS TRIGGER claim_members;

-- Members come from inside that trigger alone, at trigger depth 2 (depth 1 is a direct INSERT's own): so what a group
-- took is what was checked, and nothing comes later.
CREATE FUNCTION settlement.guard_members() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF pg_trigger_depth() < 2 THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'clearing_member_by_group',
            MESSAGE = 'A posting is cleared by its group and with it, never by itself.',
            HINT = 'Propose and seal a payment instead.';
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER clearing_member_by_group BEFORE INSERT ON settlement.clearing_member
    FOR EACH STATEMENT EXECUTE FUNCTION settlement.guard_members();
ALTER TABLE settlement.clearing_member ENABLE ALWAYS TRIGGER clearing_member_by_group;

CREATE TABLE settlement.reopening (
    instruction_id     bigint NOT NULL,
    part               int NOT NULL CHECK (part > 0),
    kind               text NOT NULL CHECK (kind IN ('reject', 'return', 'cancel', 'taken_back')),
    entry_id           bigint NOT NULL,
    transit_posting_id bigint NOT NULL UNIQUE,
    payable_posting_id bigint NOT NULL UNIQUE,
    amount_minor       bigint NOT NULL CHECK (amount_minor > 0),
    back_minor         bigint NOT NULL CHECK (back_minor >= 0),
    reason             text NOT NULL,
    message_id         bigint REFERENCES settlement.message_received,
    line_posting_id    bigint CONSTRAINT reopening_line_once UNIQUE,
    recorded_at        timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT reopening_once PRIMARY KEY (instruction_id, part),
    CONSTRAINT reopening_sealed FOREIGN KEY (instruction_id) REFERENCES settlement.clearing_group,
    CONSTRAINT reopening_whole CHECK (kind IN ('return', 'taken_back') OR (part = 1 AND back_minor = amount_minor))
);
COMMENT ON TABLE settlement.reopening IS
    'What came back of an instruction, part by part: rejected or cancelled (whole, once), returned, or a return that the bank took back.';
COMMENT ON COLUMN settlement.reopening.back_minor IS 'What is back after this part, of all parts: 0 up to the instruction''s amount.';
COMMENT ON COLUMN settlement.reopening.line_posting_id IS
    'The T posting of the statement line that proves a return; a line re-opens once.';

-- Parts are counted without a gap, each goes on from what was back before it, and never more is back than was paid.
CREATE FUNCTION settlement.check_reopenings() RETURNS trigger
LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp SET plan_cache_mode = force_custom_plan AS $$
DECLARE
    v_bad record;
BEGIN
    SELECT n.instruction_id, n.part, n.back_minor, i.amount_minor INTO v_bad
      FROM new_rows n
      LEFT JOIN LATERAL (SELECT i.amount_minor FROM settlement.instruction i WHERE i.instruction_id = n.instruction_id LIMIT 1) i ON true
      LEFT JOIN settlement.reopening was ON was.instruction_id = n.instruction_id AND was.part = n.part - 1
     WHERE (CASE WHEN n.part > 1 THEN was.kind IN ('return', 'taken_back') ELSE n.kind <> 'taken_back' END
            AND n.back_minor = coalesce(was.back_minor, 0) + CASE n.kind WHEN 'taken_back' THEN -n.amount_minor ELSE n.amount_minor END
            AND CASE WHEN n.kind IN ('return', 'taken_back') THEN n.back_minor <= i.amount_minor
                     ELSE n.back_minor = i.amount_minor END) IS NOT TRUE
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION USING ERRCODE = 'check_violation', CONSTRAINT = 'reopening_total',
            MESSAGE = format('Of instruction %s, which paid %s minor units, part %s would bring what is back to %s.',
                             v_bad.instruction_id, coalesce(v_bad.amount_minor::text, 'no'), v_bad.part, v_bad.back_minor);
    END IF;
    RETURN NULL;
END $$;
CREATE TRIGGER reopening_check AFTER INSERT ON settlement.reopening
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION settlement.check_reopenings();
ALTER TABLE settlement.reopening ENABLE ALWAYS TRIGGER reopening_check;

CREATE VIEW settlement.reopening_last AS
SELECT r.*
  FROM settlement.reopening r
  LEFT JOIN settlement.reopening later ON later.instruction_id = r.instruction_id AND later.part = r.part + 1
 WHERE later.instruction_id IS NULL;

CREATE TABLE settlement.hold (
    hold_id          bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    book_id          int NOT NULL REFERENCES ledger.book,
    posting_id       bigint NOT NULL,
    payee_version_id bigint NOT NULL REFERENCES settlement.payee_version,
    instruction_id   bigint,
    part             int,
    reason           text NOT NULL,
    held_by          text NOT NULL DEFAULT session_user,
    held_at          timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT hold_reopening FOREIGN KEY (instruction_id, part) REFERENCES settlement.reopening,
    CONSTRAINT hold_part CHECK ((instruction_id IS NULL) = (part IS NULL))
);
CREATE INDEX hold_posting ON settlement.hold (posting_id);
COMMENT ON TABLE settlement.hold IS
    'A posting not to be paid until a person releases it or the payee''s bank details change.';

CREATE TABLE settlement.hold_release (
    hold_id     bigint PRIMARY KEY REFERENCES settlement.hold,
    reason      text NOT NULL CHECK (reason <> ''),
    released_by text NOT NULL DEFAULT session_user,
    released_at timestamptz NOT NULL DEFAULT now()
);

SELECT ledger.make_append_only(name::regclass) FROM unnest(ARRAY[
    'settlement.clearing_group', 'settlement.clearing_member', 'settlement.reopening', 'settlement.hold',
    'settlement.hold_release']) name;

CREATE VIEW settlement.hold_active AS
SELECT h.*
  FROM settlement.hold h
  JOIN settlement.payee_version was ON was.payee_version_id = h.payee_version_id
  JOIN settlement.payee_current now ON now.payee_id = was.payee_id
 WHERE (now.name, now.iban, now.bic) IS NOT DISTINCT FROM (was.name, was.iban, was.bic)
   AND NOT EXISTS (SELECT FROM settlement.hold_release r WHERE r.hold_id = h.hold_id);

GRANT SELECT ON settlement.clearing_group, settlement.clearing_member, settlement.reopening, settlement.reopening_last,
    settlement.hold, settlement.hold_release, settlement.hold_active TO :app;
