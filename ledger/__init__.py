"""The books: an append-only double-entry ledger in Postgres."""
