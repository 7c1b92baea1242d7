"""When things run, and what finance operations see. Holds no SQL and no rules; delete it and everything still runs."""
