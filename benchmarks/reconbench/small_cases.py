"""Cases of the small-business data set that clear: the books and the bank say enough for a careful reader.

Lives here: one function a class, each writing one case. Must not live here: cases that must stay open
(`small_traps.py`), how often each occurs (`small_business.py`).
"""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

from benchmarks.reconbench.small_desk import SURNAMES, Case, Desk, Fields, Party

CREDIT = "PMNT/RCDT/ESCT"


def invoice_in_narration(desk: Desk, cls: str) -> None:
    """A receipt, named as banks of a dozen countries print it."""
    case = desk.case(cls, before_end=2)
    ref = desk.reference()
    _receipt_and_line(desk, case, ref, desk.narration(ref, case.party), bank_tx_code=CREDIT)


def payment_with_reference(desk: Desk, cls: str) -> None:
    """A payment of ours; the line has the EndToEndId in its field or in its text."""
    case = desk.case(cls, before_end=2)
    amount, group, ref = desk.amount(case), desk.group(), desk.payment_reference()
    desk.instruction(case, amount, ref, group)
    named: Fields = (
        {"end_to_end_id": ref} if desk.rng.random() < 0.6 else {"remittance": desk.narration(ref, case.party)}
    )
    payee: Fields = {} if desk.rng.random() < 0.3 else desk.known(case.party, 1.0)
    desk.line(case, amount, group, day=case.day + desk.late(), **(named | payee))


def glued_to_words(desk: Desk, cls: str) -> None:
    """The number stands between letters without a blank."""
    case = desk.case(cls, before_end=2)
    ref = desk.reference("short", "creditor", "long", "structured")
    words = desk.rng.choice(["FACTUUR{}", "RG{}VOM", "FV{}", "Ref{}Danke", "INV{}", "NR.{}", "RNr{}KdNr"])
    _receipt_and_line(desk, case, ref, words.format(ref))


def no_reference(desk: Desk, cls: str) -> None:
    """The line names nothing; its amount is this customer's alone. With no party either, nobody can reach it."""
    case = desk.case(cls, before_end=2)
    amount, group = desk.amount(case, lone=True), desk.group()
    seen, evidence = desk.seen(case.party)
    case = replace(case, evidence="none" if evidence == "no party" else evidence)
    desk.receipt(case, amount, desk.reference(), group)
    desk.line(case, -amount, group, day=case.day + desk.late(), remittance=desk.silence(), **seen)


def swapped_digits(desk: Desk, cls: str) -> None:
    """Two digits of the number are swapped, and what comes out is nobody's number."""
    case = desk.case(cls, before_end=2, evidence="misspelt reference")
    ref = swappable(desk, case)
    _receipt_and_line(desk, case, ref, f"Rechnung {swapped(ref)}")


def swappable(desk: Desk, case: Case) -> str:
    """A fresh number of eight digits whose last two differ, so that swapping them makes another one."""
    ends = [f"{n:02}" for n in range(100) if n % 11]
    stem = desk.fresh(case, [str(desk.rng.randrange(700_000, 800_000)) for _ in range(20)])
    return stem + desk.rng.choice(ends)


def swapped(ref: str) -> str:
    return ref[:-2] + ref[-1] + ref[-2]


def first_digit_wrong(desk: Desk, cls: str) -> None:
    """Two invoices of one customer at one price are paid; one is named, the other with a wrong first digit."""
    case = desk.case(cls, evidence="misspelt reference")
    amount, refs = desk.amount(case, price=True), [desk.reference("short"), desk.reference("short")]
    for ref, written in zip(refs, (refs[0], "9" + refs[1][1:]), strict=True):
        group = desk.group()
        desk.receipt(case, amount, ref, group, account_known=True)
        desk.line(case, -amount, group, remittance=f"Rg {written}", **desk.known(case.party, 1.0))


def two_payees_one_number(desk: Desk, cls: str) -> None:
    """Two parties use one number ("INV-0001"), and both are paid; lines that name nobody make one set of all."""
    first, second, outgoing = two_claims(desk, cls)
    number = shared_number(desk, first)
    amounts = same_or_other(desk, first, second)
    parties = [_who(desk, case) for case in (first, second)]
    group = desk.group()
    whole = any(evidence == "none" for _, evidence in parties)
    for case, amount, (seen, evidence) in zip((first, second), amounts, parties, strict=True):
        said = replace(case, evidence="reference" if whole else f"reference and {evidence}")
        claim(desk, said, amount, number, group, outgoing=outgoing)
        sign = 1 if outgoing else -1
        desk.line(said, sign * amount, group, day=case.day + desk.late(), **(number_in(desk, number) | seen))
        group = group if whole else desk.group()


def two_claims(desk: Desk, cls: str) -> tuple[Case, Case, bool]:
    """Two cases of one account and about one day, and whether the money goes out."""
    first = desk.case(cls)
    day = max(0, first.day + desk.rng.choice([-1, 0, 0, 1]))
    return first, replace(first, party=desk.other_party(first), day=day), desk.rng.random() < 0.5


def claim(
    desk: Desk, case: Case, amount: int, number: str, group: int | None, *, outgoing: bool, code: str | None = None
) -> None:
    """What the books expect of the case's party."""
    if outgoing:
        desk.instruction(case, amount, number, group, code=code)
    else:
        desk.receipt(case, amount, number, group, account_known=True, code=code)


def shared_number(desk: Desk, case: Case) -> str:
    """A number that many firms give; each once an account, so that two cases do not meet."""
    stems = ("2026-001", "INV-0001", "0001", "FA2026-02", "RENT-02-2026", "1", "42", "FEB2026")
    return desk.fresh(case, [stem + end for stem in stems for end in ("", "/A", "-7", "/2026", "-B", " bis", "/02")])


def same_or_other(desk: Desk, first: Case, second: Case) -> tuple[int, int]:
    """The amounts of two claims: more often than not one and the same."""
    amount = desk.amount(first, second.party)
    return amount, amount if desk.rng.random() < 0.6 else desk.amount(second)


def _who(desk: Desk, case: Case) -> tuple[Fields, str]:
    """What the line says about the party, and that in words."""
    kind = desk.rng.random()
    if kind < 0.8:
        return desk.known(case.party, 1.0 if kind < 0.5 else 0.0), "party account" if kind < 0.5 else "party name"
    return {}, "none"


def number_in(desk: Desk, number: str) -> Fields:
    """The number in its field or in the text."""
    return {"end_to_end_id": number} if desk.rng.random() < 0.5 else {"remittance": f"Rechnung {number}"}


def one_of_two_paid(desk: Desk, cls: str) -> None:
    """Two parties use one number, one is paid, and the line says whom."""
    first, second, outgoing = two_claims(desk, cls)
    number, amounts, group = shared_number(desk, first), same_or_other(desk, first, second), desk.group()
    by_account = desk.rng.random() < 0.6
    first = replace(first, evidence=f"reference and party {'account' if by_account else 'name'}")
    claim(desk, first, amounts[0], number, group, outgoing=outgoing)
    claim(desk, second, amounts[1], number, None, outgoing=outgoing, code=desk.overdue(second.day))
    payer = desk.known(first.party, 1.0 if by_account else 0.0)
    sign = 1 if outgoing else -1
    desk.line(first, sign * amounts[0], group, day=first.day + desk.late(), **(number_in(desk, number) | payer))


def several_named(desk: Desk, cls: str) -> None:
    """One payment for two to four invoices, all named."""
    case = desk.case(cls)
    refs = [desk.reference("prefixed", "payout", "order", "short") for _ in range(desk.rng.randint(2, 4))]
    separator = desk.rng.choice([", ", "+", " / ", " & ", "; ", " und "])
    text = desk.rng.choice(["Factures ", "RG ", "", "Payouts "]) + separator.join(refs)
    _one_line_for(desk, case, refs, text=text, evidence="references")


def one_named_of_two(desk: Desk, cls: str) -> None:
    """One payment for two invoices: one is named, "and others"; both amounts are this customer's alone."""
    case = desk.case(cls)
    refs = [desk.reference("prefixed"), desk.reference("prefixed")]
    _one_line_for(desk, case, refs, text=f"{refs[0]} u.a.", evidence="one reference and the sum", lone=True)


def _one_line_for(desk: Desk, case: Case, refs: list[str], *, text: str, evidence: str, lone: bool = False) -> None:
    amounts, group = [desk.amount(case, lone=lone) for _ in refs], desk.group()
    case = replace(case, evidence=evidence)
    for ref, amount in zip(refs, amounts, strict=True):
        desk.receipt(case, amount, ref, group)
    seen, _ = desk.seen(case.party)
    desk.line(case, -sum(amounts), group, day=case.day + desk.late(), remittance=text, **seen)


def sum_of_invoices(desk: Desk, cls: str) -> None:
    """One payment for two to five invoices without naming one; no price among them, so one sum fits."""
    case = desk.case(cls, evidence="party account and the sum")
    amounts, group = [desk.odd_amount() for _ in range(desk.rng.randint(2, 5))], desk.group()
    for amount in amounts:
        day = case.day - desk.rng.choice([0, 0, 1])
        desk.receipt(case, amount, desk.reference(), group, day=day, account_known=True)
    desk.line(case, -sum(amounts), group, remittance="diverse Rechnungen", **desk.known(case.party, 1.0))


def paid_in_parts(desk: Desk, cls: str) -> None:
    """One invoice, two or three lines, each with its number and which part it is."""
    case, group, count = desk.case(cls), desk.group(), desk.rng.randint(2, 3)
    ref, amounts = desk.reference("prefixed", "payout", "order", "long"), [desk.odd_amount() for _ in range(count)]
    desk.receipt(case, sum(amounts), ref, group)
    seen, _ = desk.seen(case.party)
    for n, amount in enumerate(amounts, start=1):
        text = f"{ref} {desk.rng.choice(['part', 'Teil', 'rata', 'acompte'])} {n}/{count}"
        desk.line(case, -amount, group, day=case.day + desk.rng.choice([0, 0, 1]), remittance=text, **seen)


def instalment_with_suffix(desk: Desk, cls: str) -> None:
    """Three equal instalments expected about one day; the payer names the first with its suffix."""
    case, group, base = desk.case(cls, before_end=5), desk.group(), f"INV-2026-{desk.digits(9)}"
    amount = desk.amount(case)
    for n in (1, 2, 3):
        day = max(0, case.day + n - 2)
        code = None if n == 1 else desk.overdue(day)
        desk.receipt(case, amount, f"{base}-{n}", group if n == 1 else None, day=day, code=code)
    seen, _ = desk.seen(case.party)
    desk.line(case, -amount, group, day=case.day - 1 + desk.late(), remittance=f"Facture {base}-1", **seen)


def paid_twice(desk: Desk, cls: str) -> None:
    """The first of two equal instalments is paid twice; either line is the second booking."""
    case, group, base = desk.case(cls, before_end=5), desk.group(), f"INV-2026-{desk.digits(9)}"
    amount, (seen, _) = desk.amount(case), desk.seen(case.party)
    desk.receipt(case, amount, f"{base}-1", group)
    desk.receipt(case, amount, f"{base}-2", day=case.day + 1, code=desk.overdue(case.day + 1))
    shared: Fields = {"remittance": f"{base}-1", "klass": -group} | seen
    desk.line(case, -amount, group, **shared)
    desk.line(case, -amount, None, day=case.day + 1, code="DUP_BANK", **shared)


def refunds_netted(desk: Desk, cls: str) -> None:
    """A payout less refunds that say which payout they were taken from."""
    payout_less_refunds(desk, cls, named=True)


def payout_less_refunds(desk: Desk, cls: str, *, named: bool) -> None:
    """A payout's line is short by one or two refunds in the books, with or without the payout's id on them."""
    case, group, ref = desk.case(cls), desk.group() if named else None, desk.reference("payout")
    gross = sum(desk.amount(case) for _ in range(desk.rng.randint(1, 4))) + 500
    refunds = [desk.rng.randint(100, 450) for _ in range(desk.rng.randint(1, 2))]
    desk.receipt(case, gross, ref, group)
    for refund in refunds:
        about: Fields = {"end_to_end_id": f"re_{desk.digits(12)}", "structured_ref": ref if named else None}
        day = case.day - desk.rng.choice([0, 1])
        desk.put(case, "OTHER", -refund, group, day=day, party_name=case.party.name, **about)
    text = desk.rng.choice(["STRIPE PAYMENTS {}", "PAYOUT {} card sales"]).format(ref)
    seen, _ = desk.seen(case.party)
    desk.line(case, sum(refunds) - gross, group, day=case.day + desk.late(), remittance=text, **seen)


def credit_note(desk: Desk, cls: str) -> None:
    """An invoice less a credit note, both named."""
    case, group = desk.case(cls, evidence="references"), desk.group()
    invoice, note = desk.reference("short"), f"GS-{desk.reference('short')}"
    gross, taken_off = desk.amount(case) + 1_000, desk.rng.randint(100, 900)
    payer: Fields = {"party_account": case.party.account, "party_name": case.party.name}
    desk.receipt(case, gross, invoice, group)
    desk.put(case, "OTHER", -taken_off, group, end_to_end_id=note, **payer)
    seen, _ = desk.seen(case.party)
    text = f"RG {invoice} ./. {note}"
    desk.line(case, taken_off - gross, group, day=case.day + desk.late(), remittance=text, **seen)


def fee_line_beside(desk: Desk, cls: str) -> None:
    """A payment booked whole, and the bank's fee for it as a line of its own, which the books do not have."""
    case, group, ref = desk.case(cls), desk.group(), desk.payment_reference()
    amount = desk.amount(case)
    desk.instruction(case, amount, ref, group)
    desk.line(case, amount, group, day=case.day + desk.late(), end_to_end_id=ref, party_account=case.party.account)
    text = f"Auslandsentgelt zu {ref}" if desk.rng.random() < 0.7 else "FRAIS SUR VIREMENT ETRANGER"
    said = desk.rng.choice(["PMNT/ICDT/CHRG", "PMNT/ICDT/FEES", None])
    code = "BANK_ORIGINATED" if said else None
    fee = desk.rng.choice([150, 250, 500, 1_200])
    desk.line(case, fee, None, day=case.day + 1, remittance=text, bank_tx_code=said, code=code)


def returned_and_sent_again(desk: Desk, cls: str) -> None:
    """A payment came back and was sent again with its reference, half of them to a new account, most booked."""
    case, groups, ref = desk.case(cls, before_end=9), (desk.group(), desk.group()), desk.payment_reference()
    amount, gap, booked = desk.amount(case), desk.rng.choice([1, 2, 4]), desk.rng.random() < 0.7
    moved = Party(f"ZZ{desk.digits(14)}", case.party.name) if desk.rng.random() < 0.5 else case.party
    again = replace(case, party=moved, day=case.day + gap)
    shown = desk.rng.random() < 0.6
    for n, (sent, group) in enumerate(zip((case, again), groups, strict=True)):
        there = n == 0 or booked
        desk.instruction(sent, amount, ref, group if there else None, uetr=f"{ref}-{n}")
        if there:
            payee: Fields = {"party_account": sent.party.account} if shown else {}
            desk.line(sent, amount, group, end_to_end_id=ref, **payee)
    named: Fields = (
        {"end_to_end_id": ref} if desk.rng.random() < 0.5 else {"remittance": f"RETOURE {ref} KONTO ERLOSCHEN"}
    )
    about: Fields = {"return_reason": desk.rng.choice(["AC01", "AC04", None]), "original_ref": ref, "code": "RETURN"}
    payer: Fields = {"party_account": case.party.account if desk.rng.random() < 0.5 else None}
    desk.line(case, -amount, None, day=case.day + max(1, gap - 1), **(named | about | payer))


def customer_number_is_an_invoice(desk: Desk, cls: str) -> None:
    """The payer's customer number on the line is another customer's invoice of the same price; its own is there too."""
    case, group = desk.case(cls), desk.group()
    other, number, own = desk.other_party(case), desk.reference("short"), desk.reference("short")
    amount = desk.amount(case, other, price=True)
    desk.receipt(case, amount, own, group)
    desk.receipt(case, amount, number, party=other, account_known=True, code=desk.overdue(case.day))
    text = f"KD {number} RG {own}"
    desk.line(case, -amount, group, day=case.day + desk.late(), remittance=text, **desk.known(case.party, 0.6))


def short_number(desk: Desk, cls: str) -> None:
    """A number of three digits, or one that reads like a year, beside a date."""
    case, group = desk.case(cls, evidence="short reference and party account"), desk.group()
    number = desk.fresh(case, [str(n) for n in (*range(100, 400), *range(2020, 2026), *range(2027, 2030))])
    amount = desk.amount(case, price=True)
    desk.receipt(case, amount, number, group, account_known=True)
    text = f"Rechnung {number} vom {desk.rng.randint(1, 28):02}.02.2026"
    desk.line(case, -amount, group, remittance=text, **desk.known(case.party, 1.0))


def unknown_payer_names_it(desk: Desk, cls: str) -> None:
    """An account that nobody knows pays and names the invoice plainly: a parent company."""
    case, group = desk.case(cls), desk.group()
    ref, amount = desk.reference("prefixed", "creditor", "slip", "long", "order"), desk.amount(case)
    desk.receipt(case, amount, ref, group)
    payer: Fields = {
        "party_account": desk.unknown_account(),
        "party_name": f"Holding {desk.rng.choice(SURNAMES).upper()}",
    }
    desk.line(case, -amount, group, day=case.day + desk.late(), remittance=ref, **payer)


def beginning_of_number(desk: Desk, cls: str) -> None:
    """The end of a long number is cut off."""
    case = desk.case(cls, evidence="beginning of a reference")
    ref = desk.reference("slip", "payout", "creditor")
    _receipt_and_line(desk, case, ref, f"PAIEMENT {ref[: desk.rng.choice([14, 18, 20])]}")


def end_of_number(desk: Desk, cls: str) -> None:
    """The front of a long number is cut off."""
    case = desk.case(cls, evidence="end of a reference")
    ref = desk.reference("slip", "payout")
    _receipt_and_line(desk, case, ref, ref[-desk.rng.choice([14, 16, 18]) :])


def broken_by_line_width(desk: Desk, cls: str) -> None:
    """The statement's line width puts a blank inside the number."""
    case = desk.case(cls)
    ref = desk.reference("slip", "payout", "long", "order", "creditor")
    at = desk.rng.randint(3, len(ref) - 3)
    _receipt_and_line(desk, case, ref, f"FACTURE NUMERO {ref[:at]} {ref[at:]}")


def valued_at_a_weekend(desk: Desk, cls: str) -> None:
    """Booked a day later, with a value date before or after it, on whatever day of the week."""
    case, ref = desk.case(cls, before_end=4), desk.reference()
    booked = case.day + 1
    value = desk.days[booked] + dt.timedelta(days=desk.rng.choice([-2, -1, 1, 2]))
    _receipt_and_line(desk, case, ref, desk.narration(ref, case.party), day=booked, value_date=value)


def _receipt_and_line(desk: Desk, case: Case, ref: str, text: str, **fields: object) -> None:
    """A receipt and the line that pays it, on its day or the next unless the fields say which."""
    amount, group, (seen, _) = desk.amount(case), desk.group(), desk.seen(case.party)
    desk.receipt(case, amount, ref, group)
    about: Fields = {"day": case.day + desk.late(), "remittance": text} | seen | fields
    desk.line(case, -amount, group, **about)
