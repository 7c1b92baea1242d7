"""ReconBench: synthetic bank lines and ledger items with known truth, and what a matcher is worth on them.

Lives here: generator, truth, reachability, scores, harness, page. Must not live here: matching, and nothing of the
product may import this package (import-linter), so that no matcher can read the truth. docs/reconbench.md is the
long form.
"""
