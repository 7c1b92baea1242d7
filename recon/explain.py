"""What a break means to a person: the smallest change that would close it, and the entry to propose.

Lives here: sentences and proposed legs, one small function a code. Must not live here: deciding the code
(`recon.breaks`), posting anything: proposals are posted by a second person, never by this program alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

from ledger import currency, format_amount
from recon.codes import BreakCode
from recon.matching.items import INSTRUCTION, LINE, Item, Tolerances
from recon.templates import compile_entry, templates_for

_FEW_BATCHES = 10  # of one file, as in the rule `batch-sum`


@dataclass(frozen=True, slots=True)
class Leg:
    """One leg of a proposed entry: account code, minor units, debit +."""

    account: str
    amount_minor: int


@dataclass(frozen=True, slots=True)
class Proposal:
    """What to do, in words, and the adjusting entry that would close the break (no legs: no entry)."""

    text: str
    legs: tuple[Leg, ...] = ()


@dataclass(frozen=True, slots=True)
class Case:
    """A break's items, parted: bank lines, what we expected, and the difference on T (debit +)."""

    code: BreakCode
    items: Sequence[Item]
    anchor: Item
    tolerances: Tolerances

    @property
    def lines(self) -> list[Item]:
        return [item for item in self.items if item.kind == LINE]

    @property
    def expected(self) -> list[Item]:
        return [item for item in self.items if item.kind != LINE]

    @property
    def residual_minor(self) -> int:
        return sum(item.amount_minor for item in self.items)

    @property
    def days(self) -> int:
        """Business days between the expectation and the latest line."""
        return max(line.day for line in self.lines) - min(item.day for item in self.expected)

    def money(self, amount_minor: int) -> str:
        known = currency(self.anchor.currency)
        return f"{format_amount(abs(amount_minor), known.exponent)} {known.code}"

    def closing_entry(self, text: str) -> Proposal:
        """The usual entry of the break's code: what is left on T goes to the template's account."""
        template = templates_for(self.code, self.residual_minor)[0]
        legs = compile_entry(self.items, template)
        return Proposal(text, tuple(Leg(leg.account, leg.amount_minor) for leg in legs))


def explain(code: BreakCode, items: Sequence[Item], anchor: Item, tolerances: Tolerances) -> tuple[str, Proposal]:
    """The explanation and the proposal of one break."""
    return _EXPLAIN[code](Case(code, items, anchor, tolerances))


def explain_statement(code: BreakCode, message: str) -> tuple[str, Proposal]:
    """The same for a break of a whole statement; `message` is what ingest found."""
    return message, Proposal(_STATEMENT_ACTIONS[code])


_STATEMENT_ACTIONS: dict[BreakCode, str] = {
    BreakCode.STATEMENT_IMBALANCE: "Ask the bank for a corrected statement; nothing of this one is booked.",
    BreakCode.STATEMENT_GAP: "Get the missing statement from the bank; sign-off waits for it.",
    BreakCode.STATEMENT_DUP: "No entry: it was booked once. Tell the bank if it keeps happening, then resolve.",
    BreakCode.STATEMENT_REVISED: "Ask the bank which version is right; sign-off waits until a person resolves it.",
    BreakCode.LATE_CHANGE: "No entry: the lines kept their booking date. Look at the period that was closed.",
}


def _dup_bank(case: Case) -> tuple[str, Proposal]:
    line = case.anchor
    text = (
        f"The bank booked {line.end_to_end_id or line.payment_information_id or line.reference} a second time"
        f" ({case.money(line.amount_minor)}); the first booking cleared. It closes when the bank reverses it."
    )
    return text, case.closing_entry("Claim the second booking back from the bank.")


def _date_out_of_window(case: Case) -> tuple[str, Proposal]:
    over = abs(case.days) - case.tolerances.window_days
    text = (
        f"Reference and amount agree, but the bank booked {abs(case.days)} business days"
        f" {'after' if case.days >= 0 else 'before'} the due date;"
        f" a window {over} day{'s' if over != 1 else ''} wider would clear it."
    )
    return text, Proposal("No entry: confirm the match. Accrue if the delay crosses a period's end.")


def _fee_diff(case: Case) -> tuple[str, Proposal]:
    fee = case.money(case.residual_minor)
    text = f"Short by {fee}, exactly the charges that are stated: a fee of {fee} would close it."
    return text, case.closing_entry("Book the charges as bank fees.")


def _fx_diff(case: Case) -> tuple[str, Proposal]:
    text = f"The instructed amount agrees; the bank's rate makes {case.money(case.residual_minor)} of difference."
    return text, case.closing_entry("Book the difference as realised exchange gain or loss.")


def _reserve_held(case: Case) -> tuple[str, Proposal]:
    held = case.money(case.residual_minor)
    text = f"Short by {held}, exactly what the provider's report keeps as a reserve."
    return text, case.closing_entry("Book it as reserve held by the provider.")


def _chargeback(case: Case) -> tuple[str, Proposal]:
    text = f"{case.money(case.residual_minor)} of disputed payments was taken back."
    return text, case.closing_entry("Book it as receivable in dispute.")


def _dup_ledger(case: Case) -> tuple[str, Proposal]:
    text = f"{case.anchor.end_to_end_id} is expected twice; the bank booked it once, and that cleared."
    return text, Proposal("Reverse the entry that is one too many.")


def _stale_pending(case: Case) -> tuple[str, Proposal]:
    item = case.anchor
    text = f"The bank announced {case.money(item.amount_minor)} on {item.date} and has not booked it since."
    return text, Proposal("No entry: ask the bank what became of it.")


def _rounding(case: Case) -> tuple[str, Proposal]:
    text = f"Off by {case.money(case.residual_minor)}, within the rounding tolerance."
    return text, case.closing_entry("Write the rounding difference off.")


def _partial(case: Case) -> tuple[str, Proposal]:
    text = (
        f"{len(case.lines)} parts have arrived; {case.money(case.residual_minor)} is still to come, and there is"
        " time for it."
    )
    return text, Proposal("No entry: wait for the rest.")


def _overpayment(case: Case) -> tuple[str, Proposal]:
    text = f"A known payer sent {case.money(case.residual_minor)} more than its report said."
    return text, case.closing_entry("Book the excess as owed to the payer.")


def _amount_mismatch(case: Case) -> tuple[str, Proposal]:
    residual = abs(case.residual_minor)
    hint = " Divisible by 9: digits may be transposed." if residual % 9 == 0 else ""
    text = f"The reference agrees; bank and books differ by {case.money(residual)}, and nothing explains it.{hint}"
    return text, case.closing_entry("Book the difference to suspense and ask the bank.")


def _wrong_account(case: Case) -> tuple[str, Proposal]:
    expected = case.expected[0]
    text = (
        f"Expected on {expected.account}, booked on {case.anchor.account}:"
        f" it clears when {case.money(case.anchor.amount_minor)} moves between the two."
    )
    return text, case.closing_entry("Carry the amount between the two transit accounts and move the money.")


def _currency_mismatch(case: Case) -> tuple[str, Proposal]:
    expected = case.expected[0]
    text = f"The line is in {case.anchor.currency}, what it names was expected in {expected.currency}."
    return text, Proposal("Reverse and rebook in the right currency, with the exchange as an entry of its own.")


def _ambiguous(case: Case) -> tuple[str, Proposal]:
    text = (
        f"{len(case.lines)} lines and {len(case.expected)} expected items of {case.money(case.anchor.amount_minor)}"
        " fit equally well, and no reference tells them apart: one reference would close it."
    )
    return text, Proposal("No entry: ask the bank for the references, then match by hand.")


def _batch_residual(case: Case) -> tuple[str, Proposal]:
    residual = case.residual_minor
    fits = [item for item in case.expected if item.amount_minor == residual]
    named = f" {fits[0].reference} is exactly that amount." if len(fits) == 1 else _left_batch(case)
    count = sum(line.batch_count or 0 for line in case.lines)
    counted = f" The bank counts {count} payments, we {len(case.expected)}." if count else ""
    side = "less" if residual < 0 else "more"
    text = f"The batch is {case.money(residual)} {side} than its open members.{counted}{named}"
    return text, case.closing_entry(
        "Clear the batch, leave the difference in suspense until the bank names the payment."
    )


def _left_batch(case: Case) -> str:
    """The choices of several batches that one line may be, where there are several; the one it may have left out."""
    totals: dict[str, int] = {}
    for item in case.expected:
        batch = item.payment_information_id or ""
        totals[batch] = totals.get(batch, 0) + item.amount_minor
    if len(case.lines) == 1 and len(totals) <= _FEW_BATCHES:
        choices = [
            " + ".join(chosen)
            for size in range(1, len(totals) + 1)
            for chosen in combinations(sorted(totals), size)
            if sum(totals[batch] for batch in chosen) == -case.lines[0].amount_minor
        ]
        if len(choices) > 1:
            return f" Batches {', or '.join(choices[:4])} come to its amount; the bank must say which."
    fits = [batch for batch, total in totals.items() if total == case.residual_minor]
    return f" Batch {fits[0]} is exactly that amount." if len(fits) == 1 < len(totals) else ""


def _returned(case: Case) -> tuple[str, Proposal]:
    text = (
        f"{case.money(case.anchor.amount_minor)} came back (reason {case.anchor.return_reason or 'not given'})"
        " for a payment we do not know as open to return."
    )
    return text, case.closing_entry(
        "Book it as owed again once the payee is known: `nostro breaks propose` with --payment END_TO_END_ID."
    )


def _reversal(case: Case) -> tuple[str, Proposal]:
    text = f"The bank reversed a booking of {case.money(case.anchor.amount_minor)}."
    return text, Proposal("Match it with the booking it reverses; un-match that one first if it cleared.")


def _bank_originated(case: Case) -> tuple[str, Proposal]:
    earned = case.anchor.amount_minor < 0
    what = "credited" if earned else "charged"
    text = (
        f"The bank {what} {case.money(case.anchor.amount_minor)} ({case.anchor.bank_tx_code}), which the tariff does"
        " not have: adding it there would close it from now on."
    )
    return text, case.closing_entry("Book it if it is right; claim it back if not.")


def _missing_ledger(case: Case) -> tuple[str, Proposal]:
    text = (
        f"{case.anchor.party_name or 'A known payer'} paid {case.money(case.anchor.amount_minor)}"
        " and no report announced it: the report of this payout would close it."
    )
    return text, case.closing_entry("Get the report; book the payout against the receivable.")


def _unidentified_receipt(case: Case) -> tuple[str, Proposal]:
    payer = case.anchor.party_name or "an unnamed payer"
    text = f"{case.money(case.anchor.amount_minor)} from {payer}, whom we do not know."
    return text, case.closing_entry("Book as unallocated receipt until the payer is known.")


def _unauthorised_debit(case: Case) -> tuple[str, Proposal]:
    text = (
        f"{case.money(case.anchor.amount_minor)} left the account and we gave no such instruction"
        f" ({case.anchor.end_to_end_id or 'no reference'}). Escalate today."
    )
    return text, case.closing_entry("Claim it back from the bank.")


def _missing_bank(case: Case) -> tuple[str, Proposal]:
    item = case.anchor
    late = item.age_days - item.sla_days
    text = f"Due {item.date}, {item.age_days} business days ago, {late} more than agreed; the bank has not booked it."
    if item.kind == INSTRUCTION:
        return text, Proposal("Ask the bank. If it failed: reverse the payout, so that the payee is owed again.")
    return text, Proposal("Ask the payer or the bank where the money is.")


_EXPLAIN: dict[BreakCode, Callable[[Case], tuple[str, Proposal]]] = {
    BreakCode.DUP_BANK: _dup_bank,
    BreakCode.DUP_LEDGER: _dup_ledger,
    BreakCode.FX_DIFF: _fx_diff,
    BreakCode.RESERVE_HELD: _reserve_held,
    BreakCode.CHARGEBACK: _chargeback,
    BreakCode.STALE_PENDING: _stale_pending,
    BreakCode.DATE_OUT_OF_WINDOW: _date_out_of_window,
    BreakCode.FEE_DIFF: _fee_diff,
    BreakCode.ROUNDING: _rounding,
    BreakCode.PARTIAL: _partial,
    BreakCode.OVERPAYMENT: _overpayment,
    BreakCode.AMOUNT_MISMATCH: _amount_mismatch,
    BreakCode.WRONG_ACCOUNT: _wrong_account,
    BreakCode.CURRENCY_MISMATCH: _currency_mismatch,
    BreakCode.AMBIGUOUS: _ambiguous,
    BreakCode.BATCH_RESIDUAL: _batch_residual,
    BreakCode.RETURN: _returned,
    BreakCode.REVERSAL: _reversal,
    BreakCode.BANK_ORIGINATED: _bank_originated,
    BreakCode.MISSING_LEDGER: _missing_ledger,
    BreakCode.UNIDENTIFIED_RECEIPT: _unidentified_receipt,
    BreakCode.UNAUTHORISED_DEBIT: _unauthorised_debit,
    BreakCode.MISSING_BANK: _missing_bank,
}
