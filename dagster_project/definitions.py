"""Everything Dagster runs, listed by name: an autoloader can drop objects without a word, a list cannot."""

from __future__ import annotations

import dagster as dg

from dagster_project.assets import analytics, bank, exceptions, ledger, recon, settlement
from dagster_project.jobs import JOBS
from dagster_project.resources import books_from_environment
from dagster_project.schedules import SCHEDULES
from dagster_project.sensors import SENSORS

defs = dg.Definitions(
    assets=[
        *ledger.ASSETS,
        *settlement.ASSETS,
        *bank.ASSETS,
        *exceptions.ASSETS,
        *recon.ASSETS,
        *analytics.ASSETS,
    ],
    asset_checks=[
        *ledger.CHECKS,
        *settlement.CHECKS,
        *bank.CHECKS,
        *exceptions.CHECKS,
        *recon.CHECKS,
        *analytics.CHECKS,
    ],
    jobs=JOBS,
    schedules=SCHEDULES,
    sensors=SENSORS,
    resources={"books": books_from_environment()},
    executor=dg.in_process_executor,
)
