"""Rails: what each way of moving money fixes in a file, as data.

Lives here: the terms of every rail. Must not live here: what one bank wants (its profile), checks (`field_rules`).

Codes are ISO external codes (service level, local instrument, clearing system). Sources: EPC SCT and SCT Inst
customer-to-PSP guidelines 2025 for SEPA; ISO 20022 external code sets for the others. The US and UK rails are
flavours of pain.001 as banks take them from customers; nothing here is a message between banks.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Rail(StrEnum):
    """How the bank moves the money."""

    SEPA = "SEPA"
    SEPA_INST = "SEPA_INST"
    DOMESTIC = "DOMESTIC"
    CROSS_BORDER = "CROSS_BORDER"
    US_ACH = "US_ACH"
    US_WIRE = "US_WIRE"
    UK_FPS = "UK_FPS"
    UK_CHAPS = "UK_CHAPS"


class ChargeBearer(StrEnum):
    """Who pays the banks' charges [ChrgBr]: by the scheme's rules, shared, all the debtor, all the creditor."""

    SLEV = "SLEV"
    SHAR = "SHAR"
    DEBT = "DEBT"
    CRED = "CRED"


@dataclass(frozen=True, slots=True, kw_only=True)
class RailTerms:
    """What a rail fixes in every file, and what it allows.

    `charge_bearers` and `local_instruments` list what is allowed, the usual one first. `creditor_bic`: needed, or not
    allowed. `service_level`: None is whatever the bank's profile says, SEPA's apart.
    `clearing_system` [ClrSysId]: the creditor's bank is named by a member id of this system and the creditor's
    account is a national number, unless an IBAN is given. `amount_minor_max` is in minor units of `currency`
    (of any currency where that is None).
    """

    service_level: str | None = None
    local_instruments: tuple[str, ...] = ()
    charge_bearers: tuple[ChargeBearer, ...] = (ChargeBearer.SHAR,)
    creditor_bic: bool = False
    clearing_system: str | None = None
    sepa_only: bool = False
    name_length_max: int = 140
    currency: str | None = None
    amount_minor_max: int = 10**18 - 1

    @property
    def charge_bearer(self) -> ChargeBearer:
        """The usual one."""
        return self.charge_bearers[0]

    @property
    def local_instrument(self) -> str | None:
        """The usual one, if there is any."""
        return next(iter(self.local_instruments), None)


_ANY = (ChargeBearer.SHAR, ChargeBearer.DEBT, ChargeBearer.CRED)
_SEPA_MAX_MINOR = 99_999_999_999  # 999,999,999.99 EUR

RAIL_TERMS: dict[Rail, RailTerms] = {
    Rail.SEPA: RailTerms(
        service_level="SEPA",
        charge_bearers=(ChargeBearer.SLEV,),
        sepa_only=True,
        name_length_max=70,
        currency="EUR",
        amount_minor_max=_SEPA_MAX_MINOR,
    ),
    Rail.SEPA_INST: RailTerms(
        service_level="SEPA",
        local_instruments=("INST",),
        charge_bearers=(ChargeBearer.SLEV,),
        sepa_only=True,
        name_length_max=70,
        currency="EUR",
        amount_minor_max=_SEPA_MAX_MINOR,
    ),
    Rail.DOMESTIC: RailTerms(creditor_bic=True),
    Rail.CROSS_BORDER: RailTerms(charge_bearers=_ANY, creditor_bic=True),
    Rail.US_ACH: RailTerms(
        service_level="NURG", local_instruments=("CCD", "PPD", "CTX"), clearing_system="USABA", currency="USD"
    ),
    Rail.US_WIRE: RailTerms(service_level="URGP", charge_bearers=_ANY, clearing_system="USABA", currency="USD"),
    Rail.UK_FPS: RailTerms(service_level="URNS", clearing_system="GBDSC", currency="GBP"),
    Rail.UK_CHAPS: RailTerms(service_level="URGP", charge_bearers=_ANY, clearing_system="GBDSC", currency="GBP"),
}
