-- What runs decided from, and decisions that came in files: kept, so that both can be looked at and replayed.

CREATE TABLE recon.run_material (
    run_id      bigint PRIMARY KEY REFERENCES recon.run,
    content     bytea  NOT NULL,
    sha256      text   NOT NULL,
    code_sha256 text   NOT NULL,
    CONSTRAINT run_material_hash CHECK (sha256 = encode(sha256(content), 'hex'))
);
ALTER TABLE recon.run_material ALTER COLUMN content SET STORAGE EXTERNAL;
COMMENT ON TABLE recon.run_material IS 'The inputs of a run as an archive of Parquet frames: a replay decides from these bytes alone.';

CREATE TABLE recon.decision_file (
    book_id        int    NOT NULL REFERENCES ledger.book,
    sha256         text   NOT NULL,
    name           text   NOT NULL,
    decision_count int    NOT NULL CHECK (decision_count >= 0),
    imported_by    text   NOT NULL DEFAULT session_user,
    imported_at    timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT decision_file_once PRIMARY KEY (book_id, sha256)
);
COMMENT ON TABLE recon.decision_file IS 'Spreadsheets of decisions that were carried out; the same bytes again change nothing.';
SELECT ledger.make_append_only(t) FROM unnest(ARRAY['recon.run_material', 'recon.decision_file']::regclass[]) t;

CREATE FUNCTION recon.keep_material(p_run_id bigint, p_content bytea, p_code_sha256 text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book((SELECT x.book_id FROM recon.run x WHERE x.run_id = p_run_id));
    INSERT INTO recon.run_material (run_id, content, sha256, code_sha256)
    SELECT r.run_id, p_content, encode(sha256(p_content), 'hex'), p_code_sha256 FROM recon.run r
     WHERE r.run_id = p_run_id;
END $$;

CREATE FUNCTION recon.keep_decisions(p_book_id int, p_sha256 text, p_name text, p_count int) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM ledger.require_book(p_book_id);
    INSERT INTO recon.decision_file (book_id, sha256, name, decision_count) VALUES (p_book_id, p_sha256, p_name, p_count);
END $$;

GRANT SELECT ON recon.run_material, recon.decision_file TO :app;
GRANT EXECUTE ON FUNCTION recon.keep_material TO :service;
GRANT EXECUTE ON FUNCTION recon.keep_decisions TO :preparer, :approver;
