"""A synthetic business and simulated banks with their own book: for the demo, tests, benchmarks and trials.

Lives here: the world outside the product. Must not live here: anything the product needs to run. Nothing but
`nostro`, tests and benchmarks may import it.

    business = Business(seed=1)
    files = business.write(folder, home=home)
    setup = read_setup(files.setup)
    planned = plan(seed=1, count=12, days=business.days, setup=setup, behaviour=business.behaviour,
                   payouts=files.payouts)
    with Bank(home, setup, seed=1, behaviour=business.behaviour, anomalies=planned) as bank:
        bank.receive()        # evening: after the payment files are in the outboxes
        bank.close_day(day)   # night: executes, and delivers statements and reports
"""

from sandbox.anomalies import AnomalyPlan, Kind, PlannedAnomaly, Truth, plan, read_truth
from sandbox.bank import Bank, DayReport, StatementSummary, simulate_day
from sandbox.bank_behaviour import BankBehaviour, BookingStyle, StatementVersion
from sandbox.business import DEFAULT_START, Business, BusinessFiles, JournalFile
from sandbox.errors import SandboxError
from sandbox.faults import ABSORBED, Fault, FaultDone
from sandbox.reception import Received
from sandbox.setup_reader import BankSetup, read_setup
from sandbox.sftp_server import SftpDoor, sftp_door

__all__ = [
    "ABSORBED",
    "DEFAULT_START",
    "AnomalyPlan",
    "Bank",
    "BankBehaviour",
    "BankSetup",
    "BookingStyle",
    "Business",
    "BusinessFiles",
    "DayReport",
    "Fault",
    "FaultDone",
    "JournalFile",
    "Kind",
    "PlannedAnomaly",
    "Received",
    "SandboxError",
    "SftpDoor",
    "StatementSummary",
    "StatementVersion",
    "Truth",
    "plan",
    "read_setup",
    "read_truth",
    "sftp_door",
    "simulate_day",
]
