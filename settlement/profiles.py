"""The register of usual bank profiles: what a bank on a rail usually wants of its files.

Lives here: reading `profiles.yaml`, and laying a setup file's own words over a profile. Must not live here: what a
rail fixes (`iso20022.rails`), the shape of a bank (`setup_model`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import files
from typing import Any

import yaml


@dataclass(frozen=True, slots=True, kw_only=True)
class UsualProfile:
    """One profile of the register.

    `bank` holds the fields of a setup file's bank that the profile gives, as texts; `message` to `holidays` are the
    ones that people choose by, with the setup file's defaults where it gives none.
    """

    code: str
    title: str
    currency: str
    rails: tuple[str, ...]
    message: str
    charset: str
    address: str
    uetr: bool
    batch_booking: bool
    holidays: str
    bank: Mapping[str, Any]


@lru_cache
def usual_profiles() -> dict[str, UsualProfile]:
    """The register, by code."""
    text = (files("settlement") / "profiles.yaml").read_text(encoding="utf-8")
    document: dict[str, dict[str, Any]] = yaml.load(text, Loader=yaml.CBaseLoader)
    return {code: _profile(code, **values) for code, values in document.items()}


def _profile(code: str, *, title: str, currency: str, bank: Mapping[str, Any]) -> UsualProfile:
    return UsualProfile(
        code=code,
        title=title,
        currency=currency,
        rails=tuple(bank["rails"]),
        message=bank.get("message", "pain.001.001.09"),
        charset=bank["charset"],
        address=bank["address"],
        uetr=bank.get("uetr", "true") == "true",
        batch_booking=bank.get("batch_booking", "true") == "true",
        holidays=bank["holidays"],
        bank=bank,
    )


def with_profile(given: object) -> object:
    """A bank of a setup file with its profile's values below its own. Raises `ValueError` for an unknown profile."""
    if not isinstance(given, dict) or "profile" not in given:
        return given
    own = {name: value for name, value in given.items() if name != "profile"}
    profile = usual_profiles().get(str(given["profile"]))
    if profile is None:
        raise ValueError(f"profile {given['profile']!r} is not one of `nostro bank profiles`")
    return _over(profile.bank, own)


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    merged = dict(below)
    for name, value in above.items():
        under = merged.get(name)
        merged[name] = _over(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
    return merged
