"""The day in jobs: the night proposes, an approval releases, the morning proves, and then all of it is sealed."""

from __future__ import annotations

import dagster as dg

from dagster_project.assets import analytics, bank, exceptions, ledger, recon, settlement

# Runs of a job take turns, in the order asked for (`nostro up` configures the limit for this tag).
_TURN = "nostro/turn"

nightly_settlement_job = dg.define_asset_job(
    "nightly_settlement_job",
    selection=dg.AssetSelection.assets(*ledger.ASSETS, settlement.payment_proposal),
    executor_def=dg.in_process_executor,
    tags={_TURN: "night"},
    description="Journal files into the books, due holds expired, the books sealed, then payment files proposed.",
)

sealing_job = dg.define_asset_job(
    "sealing_job",
    selection=dg.AssetSelection.assets(ledger.expired_holds, ledger.seals),
    executor_def=dg.in_process_executor,
    tags={_TURN: "sealing"},
    description="Holds that are due expire, what was booked since the night is sealed, and the seals are anchored.",
)

release_job = dg.define_asset_job(
    "release_job",
    selection=dg.AssetSelection.assets(settlement.released_files),
    executor_def=dg.in_process_executor,
    tags={_TURN: "release"},
    description="Approved payment files sealed and sent.",
)

morning_reconciliation_job = dg.define_asset_job(
    "morning_reconciliation_job",
    selection=dg.AssetSelection.assets(*bank.ASSETS, *exceptions.ASSETS, *recon.ASSETS, *analytics.ASSETS),
    executor_def=dg.in_process_executor,
    tags={_TURN: "morning"},
    description="The banks' answers and statements read, cash in transit cleared, breaks named, the day certified.",
)

JOBS = [nightly_settlement_job, release_job, morning_reconciliation_job, sealing_job]
