"""The balance equation of a statement: opening + Σ booked entries = closing, per currency.

Lives here: which balances count and what the equation says, from values alone. Must not live here:
reading, the continuity from one statement to the next.

Which balances count. Opening is OPBD, else PRCD (the closing balance of the statement before). Closing is
CLBD. In a camt.052 an interim booked balance (ITBD) may stand in for a missing one of either; it ties or
says nothing, because an intraday report need not carry every entry since its first balance. Available,
forward and informational balances (OPAV, CLAV, ITAV, FWAV, INFO, XPCD, the bank's own) never count.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from recon.model import Balance, Proof, ProofReason, ProofState, Statement

OPENING: Final = ("OPBD", "PRCD")
CLOSING: Final = ("CLBD",)
INTERIM: Final = "ITBD"
_NEEDS_OTHER_PAGES: Final = frozenset(
    {ProofReason.BALANCES_DIFFER, ProofReason.OPENING_MISSING, ProofReason.CLOSING_MISSING}
)
BOOK_KINDS: Final = frozenset({*OPENING, *CLOSING, INTERIM})


@dataclass(frozen=True, slots=True, kw_only=True)
class Bracket:
    """The two balances around the entries of one currency; `reason` says why one is missing."""

    currency: str | None
    opening: Balance | None
    closing: Balance | None
    reason: ProofReason | None
    interim: bool


def bracket(balances: Sequence[Balance], currency: str | None, *, intraday: bool) -> Bracket:
    """Opening and closing balance of one currency."""
    mine = [balance for balance in balances if balance.currency == currency]
    book = [balance for balance in mine if balance.kind in BOOK_KINDS]
    opening, unclear_opening = _first_of(book, OPENING)
    closing, unclear_closing = _last_of(book, CLOSING)
    interim = False
    if intraday and not (unclear_opening or unclear_closing):
        opening, closing, interim = _with_interim(book, opening, closing)
    reason = _why_incomplete(mine, book, opening, closing, ambiguous=unclear_opening or unclear_closing)
    return Bracket(currency=currency, opening=opening, closing=closing, reason=reason, interim=interim)


def prove(
    balances: Sequence[Balance],
    booked_minor: Mapping[str, int],
    *,
    account_currency: str | None,
    intraday: bool,
    has_quarantined: bool,
    is_one_page_of_several: bool,
) -> tuple[Proof, ...]:
    """One proof a currency that has book balances or booked entries; at least one."""
    book = {balance.currency for balance in balances if balance.kind in BOOK_KINDS}
    currencies: list[str | None] = [*sorted(book | set(booked_minor))]
    if not currencies:
        currencies = [account_currency or _only({balance.currency for balance in balances})]
    proofs = tuple(
        _equation(
            bracket(balances, currency, intraday=intraday),
            booked_minor.get(currency, 0) if currency else 0,
            has_quarantined=has_quarantined,
        )
        for currency in currencies
    )
    return tuple(_page_alone(proof) for proof in proofs) if is_one_page_of_several else proofs


def prove_pages(pages: Sequence[Statement]) -> tuple[Proof, ...] | None:
    """Joint proofs of all pages of one statement; None when a page is missing or one cannot be read.

    `pages` are statements of one account with one id. Pages must run from 1 to the one marked last.
    """
    ordered = sorted(pages, key=lambda page: page.page or 0)
    numbers = [page.page for page in ordered]
    if numbers != list(range(1, len(ordered) + 1)) or len(ordered) < 2 or not ordered[-1].is_last_page:
        return None
    if any(page.quarantined for page in ordered):
        return None
    currencies = sorted({proof.currency for page in ordered for proof in page.proofs if proof.currency})
    joint = [_joint(ordered, currency) for currency in currencies]
    return tuple(proof for proof in joint if proof is not None) or None


def _page_alone(proof: Proof) -> Proof:
    """A page that does not tie alone proves nothing against its statement."""
    if proof.reason not in _NEEDS_OTHER_PAGES:
        return proof
    return replace(proof, state=ProofState.IMPOSSIBLE, reason=ProofReason.PAGES_MISSING)


def _joint(ordered: Sequence[Statement], currency: str) -> Proof | None:
    opening, _ = _first_of([b for b in ordered[0].balances if b.currency == currency], OPENING)
    closing, _ = _last_of([b for b in ordered[-1].balances if b.currency == currency], CLOSING)
    if opening is None or closing is None:
        return None
    booked = sum(proof.booked_minor for page in ordered for proof in page.proofs if proof.currency == currency)
    difference = closing.amount_minor - opening.amount_minor - booked
    return Proof(
        state=ProofState.VIOLATED if difference else ProofState.PROVEN,
        reason=ProofReason.BALANCES_DIFFER if difference else ProofReason.PAGES_TIE,
        currency=currency,
        opening_minor=opening.amount_minor,
        booked_minor=booked,
        closing_minor=closing.amount_minor,
        difference_minor=difference,
    )


def _equation(found: Bracket, booked: int, *, has_quarantined: bool) -> Proof:
    opening = found.opening.amount_minor if found.opening else None
    closing = found.closing.amount_minor if found.closing else None
    difference: int | None = None
    if has_quarantined:
        state, reason = ProofState.UNPROVEN, ProofReason.QUARANTINED
    elif found.reason is not None or opening is None or closing is None:
        state, reason = ProofState.IMPOSSIBLE, found.reason or ProofReason.NO_BALANCES
    else:
        difference = closing - opening - booked
        state, reason = _verdict(difference, interim=found.interim)
    return Proof(
        state=state,
        reason=reason,
        currency=found.currency,
        opening_minor=opening,
        booked_minor=booked,
        closing_minor=closing,
        difference_minor=difference,
    )


def _verdict(difference: int, *, interim: bool) -> tuple[ProofState, ProofReason]:
    if difference == 0:
        return ProofState.PROVEN, ProofReason.INTERIM_BALANCES_TIE if interim else ProofReason.BALANCES_TIE
    if interim:
        return ProofState.IMPOSSIBLE, ProofReason.INTERIM_ONLY
    return ProofState.VIOLATED, ProofReason.BALANCES_DIFFER


def _with_interim(
    book: Sequence[Balance], opening: Balance | None, closing: Balance | None
) -> tuple[Balance | None, Balance | None, bool]:
    """Fill a missing opening or closing of an intraday report from its interim balances."""
    interim = _in_time([balance for balance in book if balance.kind == INTERIM])
    if not interim or (opening and closing):
        return opening, closing, False
    if opening is None and closing is None and len(interim) < 2:
        return None, None, False
    return opening or interim[0], closing or interim[-1], True


def _in_time(balances: list[Balance]) -> list[Balance]:
    """In order of their moments when all are given and comparable, else as they stand in the document."""
    moments = [balance.moment for balance in balances]
    if None in moments or len({moment.tzinfo is None for moment in moments if moment}) != 1:
        return balances
    return sorted(balances, key=lambda balance: balance.moment.timestamp() if balance.moment else 0)


def _first_of(balances: Sequence[Balance], kinds: Sequence[str]) -> tuple[Balance | None, bool]:
    """The earliest balance of the first kind that is given, and whether it is ambiguous."""
    return _extreme(balances, kinds, latest=False)


def _last_of(balances: Sequence[Balance], kinds: Sequence[str]) -> tuple[Balance | None, bool]:
    return _extreme(balances, kinds, latest=True)


def _extreme(balances: Sequence[Balance], kinds: Sequence[str], *, latest: bool) -> tuple[Balance | None, bool]:
    for kind in kinds:
        given = [balance for balance in balances if balance.kind == kind]
        if not given:
            continue
        days = [balance.day for balance in given if balance.day is not None]
        if len(days) == len(given):
            wanted = max(days) if latest else min(days)
            given = [balance for balance in given if balance.day == wanted]
        if len({balance.amount_minor for balance in given}) > 1:
            given = [balance for balance in given if not balance.intermediate] or given
        if len({balance.amount_minor for balance in given}) > 1:
            return None, True
        return given[0], False
    return None, False


def _why_incomplete(
    mine: Sequence[Balance],
    book: Sequence[Balance],
    opening: Balance | None,
    closing: Balance | None,
    *,
    ambiguous: bool,
) -> ProofReason | None:
    if ambiguous:
        return ProofReason.AMBIGUOUS
    if opening is not None and closing is not None:
        return None
    if not mine:
        return ProofReason.NO_BALANCES
    if not book:
        return ProofReason.NO_BOOK_BALANCES
    if all(balance.kind == INTERIM for balance in book):
        return ProofReason.INTERIM_ONLY
    return ProofReason.OPENING_MISSING if opening is None else ProofReason.CLOSING_MISSING


def _only(codes: set[str]) -> str | None:
    return next(iter(codes)) if len(codes) == 1 else None
