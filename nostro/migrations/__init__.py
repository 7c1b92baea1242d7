"""Numbered, forward-only migrations. Alembic counts; hand-written `.sql` in the packages holds the DDL."""
