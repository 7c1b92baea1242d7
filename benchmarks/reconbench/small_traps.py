"""Cases of the small-business data set that must stay open: nothing fits, or what fits may be something else.

Lives here: one function a class, each writing one case; the first of them are knowable (nothing in the books is right),
the others nobody can know. Must not live here: cases that clear (`small_cases.py`), how often each occurs.
"""

from __future__ import annotations

from dataclasses import replace

from benchmarks.reconbench.small_cases import (
    claim,
    number_in,
    payout_less_refunds,
    shared_number,
    swappable,
    swapped,
    two_claims,
)
from benchmarks.reconbench.small_desk import SLA_DAYS, SURNAMES, Desk, Fields

NOBODY = "nobody can know"
OPEN = "stays open"


# Knowable: nothing in the books is what the line pays.


def never_came(desk: Desk, cls: str) -> None:
    """A receipt that the bank never booked."""
    case = desk.case(cls, before_end=SLA_DAYS + 1, evidence=OPEN)
    desk.receipt(case, desk.amount(case), desk.reference(), code="MISSING_BANK")


def in_flight(desk: Desk, cls: str) -> None:
    """A payment of the last day that the bank will book tomorrow."""
    case = replace(desk.case(cls, evidence=OPEN), day=desk.last)
    desk.instruction(case, desk.amount(case), desk.payment_reference(), code="TIMING")


def paid_for_nothing(desk: Desk, cls: str) -> None:
    """Money of a customer who owes no such amount, without a reference."""
    case = desk.case(cls, before_end=2, evidence=OPEN)
    payer = desk.known(case.party, 1.0)
    desk.line(case, -desk.amount(case, lone=True), code="MISSING_LEDGER", remittance=desk.silence(), **payer)


def stranger(desk: Desk, cls: str) -> None:
    """Money of somebody who is in no book."""
    case = desk.case(cls, before_end=2, evidence=OPEN)
    payer: Fields = {"party_account": desk.unknown_account(), "party_name": f"Nordlicht {desk.rng.choice(SURNAMES)}"}
    desk.line(case, -desk.odd_amount(), code="UNIDENTIFIED_RECEIPT", remittance=desk.silence(), **payer)


def discount_taken(desk: Desk, cls: str) -> None:
    """The payer keeps 2 % for paying early; the reference agrees, the amount does not."""
    case, ref = desk.case(cls, evidence=OPEN), desk.reference("prefixed")
    amount, (seen, _) = desk.amount(case), desk.seen(case.party)
    desk.receipt(case, amount, ref, code="AMOUNT_MISMATCH")
    short = amount - max(1, amount // 50)
    desk.line(case, -short, code="AMOUNT_MISMATCH", remittance=f"{ref} abz. 2% Skonto", **seen)


def instalments_missing(desk: Desk, cls: str) -> None:
    """One invoice in three instalments, of which one or two came."""
    case, ref = desk.case(cls, evidence=OPEN), desk.reference("short", "prefixed", "long")
    amount, (seen, _) = desk.amount(case), desk.seen(case.party)
    desk.receipt(case, 3 * amount, ref)
    for n in range(desk.rng.choice([1, 2])):
        desk.line(case, -amount, day=case.day + n, remittance=f"Rate {n + 1}/3 {ref}", **seen)


def fee_taken_from_payment(desk: Desk, cls: str) -> None:
    """A payment arrives less the fee that a second line names: together the amount, but the payee got less."""
    case, ref = desk.case(cls, evidence=OPEN), desk.payment_reference()
    amount, fee = desk.amount(case) + 2_000, desk.rng.choice([150, 250, 500])
    desk.instruction(case, amount, ref)
    desk.line(case, amount - fee, end_to_end_id=ref, party_account=case.party.account)
    desk.line(case, fee, remittance=f"Entgelt {ref}", bank_tx_code="PMNT/ICDT/COMM")


# Nobody can know.


def same_number_nobody_named(desk: Desk, cls: str) -> None:
    """Two parties use one number and owe one amount; the only line names the number and nobody.

    No code is the right one: several fit equally well, and the line is less than all it names.
    """
    first, second, outgoing = two_claims(desk, cls)
    number, amount = shared_number(desk, first), desk.amount(first, second.party)
    for case in (first, second):
        doubtful = replace(case, evidence=NOBODY)
        claim(desk, doubtful, amount, number, None, outgoing=outgoing)
    line = replace(first, evidence=NOBODY, day=first.day + desk.late())
    desk.line(line, amount if outgoing else -amount, None, **number_in(desk, number))


def two_of_one_name(desk: Desk, cls: str) -> None:
    """Two customers of one name owe one amount; the line gives the name alone."""
    drawn = desk.case(cls, evidence=NOBODY)
    first, second = desk.parties[drawn.place][0], desk.parties[drawn.place][-1]
    case = replace(drawn, party=first)
    amount = desk.amount(case, lone=True)
    for party in (first, second):
        desk.receipt(case, amount, desk.reference(), party=party, account_known=True, code="AMBIGUOUS")
    name = desk.bank_name(first.name)
    desk.line(case, -amount, code="AMBIGUOUS", party_name=name, remittance=desk.silence())


def names_anothers_invoice(desk: Desk, cls: str) -> None:
    """A customer names another customer's invoice; both have one of that price open."""
    case = desk.case(cls, evidence=NOBODY)
    payer = desk.other_party(case)
    amount, ref = desk.amount(case, payer, price=True), desk.reference("short")
    desk.receipt(case, amount, ref, account_known=True)
    own = desk.reference("short")
    desk.receipt(case, amount, own, party=payer, day=case.day + 1, account_known=True)
    desk.line(case, -amount, remittance=f"Rg {ref}", **desk.known(payer, 0.4))


def swapped_digits_name_anothers(desk: Desk, cls: str) -> None:
    """Two digits of the number are swapped, which makes the number of another customer's invoice of the same price."""
    case = desk.case(cls, before_end=2, evidence=NOBODY)
    ref, other = swappable(desk, case), desk.other_party(case)
    amount = desk.amount(case, other, price=True)
    desk.receipt(case, amount, ref)
    desk.receipt(case, amount, swapped(ref), party=other, day=case.day + desk.rng.randint(-1, 1))
    payer = desk.known(case.party, 0.7)
    desk.line(case, -amount, day=case.day + desk.late(), remittance=f"Rechnung {swapped(ref)}", **payer)


def own_and_anothers_invoice(desk: Desk, cls: str) -> None:
    """One payment names an invoice of the payer and one of another; the payer has a second one of the other's price."""
    case = desk.case(cls, evidence=NOBODY)
    other = desk.other_party(case)
    refs = [desk.reference("short") for _ in range(3)]
    first, second = desk.amount(case), desk.amount(case, other, price=True)
    for ref, amount, party in zip(refs, (first, second, second), (case.party, case.party, other), strict=True):
        desk.receipt(case, amount, ref, party=party, account_known=True)
    desk.line(case, -first - second, remittance=f"RG {refs[0]}, {refs[2]}", **desk.known(case.party, 0.5))


def instalment_without_suffix(desk: Desk, cls: str) -> None:
    """Three equal instalments are open, and the payer leaves out which one is meant."""
    case, base = desk.case(cls, before_end=5, evidence=NOBODY), f"INV-2026-{desk.digits(9)}"
    amount, (seen, _) = desk.amount(case), desk.seen(case.party)
    for n in (1, 2, 3):
        desk.receipt(case, amount, f"{base}-{n}", day=max(0, case.day + n - 2), code="AMBIGUOUS")
    day = case.day - 1 + desk.late()
    desk.line(case, -amount, day=day, code="AMBIGUOUS", remittance=f"Facture {base}", **seen)


def short_number_of_something_else(desk: Desk, cls: str) -> None:
    """Another payer's text has a ticket, a room or a year that is also the number of an open invoice of that amount."""
    case = desk.case(cls, evidence=NOBODY)
    number = desk.fresh(case, [*[str(n) for n in range(400, 900)], "2026"])
    payer = desk.other_party(case)
    amount = desk.amount(case, payer, lone=True, price=desk.rng.random() < 0.5)
    desk.receipt(case, amount, number, account_known=True)
    texts = [f"Ticket A-{number}", f"EUR {number}.00 Anzahlung", f"Zimmer {number}, 03.02.2026"]
    text = "Spende vom 03.02.2026" if number == "2026" else desk.rng.choice(texts)
    unknown: Fields = {"party_account": desk.unknown_account(), "party_name": f"Anna {desk.rng.choice(SURNAMES)}"}
    desk.line(case, -amount, remittance=text, **(desk.known(payer, 0.6) if desk.rng.random() < 0.7 else unknown))


def order_paid_in_advance(desk: Desk, cls: str) -> None:
    """A customer pays an order that is not in the books, naming it; an invoice of the same price lies open."""
    case = desk.case(cls, evidence=NOBODY)
    amount = desk.amount(case, price=True)
    desk.receipt(case, amount, desk.reference(), account_known=True)
    order = desk.rng.choice(
        [
            f"Anzahlung Auftrag AB{desk.digits(5)}",
            f"acompte commande CMD-{desk.digits(7)}",
            f"zaliczka ZAM {desk.digits(8)}",
            f"order {desk.reference('order')}",
        ]
    )
    desk.line(case, -amount, remittance=order, **desk.known(case.party, 1.0))


def refunds_without_payout(desk: Desk, cls: str) -> None:
    """A payout is short by refunds in the books that do not say which payout they were taken from."""
    payout_less_refunds(desk, cls, named=False)


def fees_of_the_month(desk: Desk, cls: str) -> None:
    """One charge at the end is the sum of fees accrued one by one: nothing but the sum says so."""
    drawn = desk.case(cls, evidence=NOBODY)
    fees = [desk.rng.choice([10, 20, 35, 50]) for _ in range(desk.rng.randint(3, 8))]
    for n, fee in enumerate(fees):
        day = desk.rng.randint(1, desk.last - 4)
        desk.put(drawn, "OTHER", -fee, None, day=day, reference=f"accrued fee {n}")
    charge: Fields = {"remittance": "Entgelte 02/2026", "bank_tx_code": "ACMT/MDOP/CHRG"}
    desk.line(drawn, sum(fees), day=desk.last - desk.rng.randint(0, 2), **charge)
