"""Which party a line means that gives a name and no account.

Lives here: the one account that a name stands for among the parties expected. Must not live here: what makes two names
one (`recon.matching.likeness`), pairs, points, SQL.
"""

from __future__ import annotations

from collections import defaultdict

import polars as pl

from recon.matching.likeness import are_one_name, name_marks

NAMED_SCHEMA: dict[str, pl.DataType] = {"item_id": pl.Int64(), "party_account": pl.String()}


def named_parties(names: pl.DataFrame) -> pl.DataFrame:
    """The party (`NAMED_SCHEMA`) of every line whose name is that of one party only.

    `names` has item_id (null for parties), account, party_account, party_name. A name that two accounts carry, or that
    begins two names, is nobody's.
    """
    known: dict[tuple[str, str], set[tuple[str, str]]] = defaultdict(set)
    for account, party, name in names.filter(pl.col("item_id").is_null()).drop("item_id").rows():
        for mark in name_marks(name):
            known[account, mark].add((party, name))
    found = []
    for item, account, _, name in names.filter(pl.col("item_id").is_not_null()).sort("item_id").rows():
        near = set().union(*(known.get((account, mark), set()) for mark in name_marks(name)))
        parties = {party for party, theirs in near if are_one_name(name, theirs)}
        if len(parties) == 1:
            found.append((item, parties.pop()))
    return pl.DataFrame(found, schema=NAMED_SCHEMA, orient="row")
