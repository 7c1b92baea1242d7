"""Reconciliation: bank statements proven, cleared against the books, open items explained."""
