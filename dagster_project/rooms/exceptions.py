"""What the steps ask of what waits for a person: exceptions, money asked back or given back, suspense."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import recon
import settlement
from dagster_project.resources import Session
from dagster_project.rooms.answers import Report, Table, Verdict, money

AGED_AFTER_DAYS = 5
ANSWER_AFTER_DAYS = 15  # business days that the SEPA rulebooks give the other bank for its answer to a recall
SUSPENSE_AFTER_DAYS = 30
_ASKED_BACK = frozenset({"recall", "reversal"})
# Which payments were made is not known, or must not go on: these are not work that can wait for its turn.
_STOPPED = "stop"
_UNANSWERED = "overdue"

# The command that a person answers an exception with, by its kind.
_COMMANDS = {
    "held": 'nostro settle unhold {payment} --reason "…"',
    "stopped": 'nostro settle unhold {payment} --reason "…"',
    "disputed": 'nostro settle dispute {payment} --executed|--rejected --reason "…"',
    "names": 'nostro settle names {file} --release|--recall --reason "…"',
    "noted": "nostro settle show {file}",
    "returning": "nostro payee show {payee}",
    "overdue": "nostro bank poll",
    "nobody": "nostro setup",
    "unknown": 'nostro settle dismiss {message} --reason "…"',
    "unclear": 'nostro settle dismiss {message} --reason "…"',
}
_UNKNOWN_FILE = 'nostro bank resolve {file} --sent|--not-sent --reason "…"'
_COMMANDS_BY_STATE = {
    "requested": "nostro settle recall-approve {file}",
    "approved": "nostro settle recall-send {file}",
    "failed": "nostro settle recall-send {file}",
}
_ANY_STATE = "nostro settle recalls --file {file}"


@dataclass(frozen=True, slots=True)
class Waiting:
    """An exception with its age (Mondays to Fridays) on the day asked, and the state of what was asked back."""

    told: settlement.SettlementException
    days: int
    bucket: str
    recall: settlement.Recall | None

    @property
    def amount(self) -> str:
        return money(self.told.amount_minor, self.told.currency or "")

    @property
    def place(self) -> str:
        """What it is about: the payment, the file, or the bank's message."""
        told = self.told
        if told.file_id is None and told.message_id is None:
            return f"account {told.end_to_end_id}"
        if told.file_id is None:
            return f"message {told.message_id}" + (f": {told.end_to_end_id}" if told.end_to_end_id else "")
        return told.end_to_end_id or f"file {told.file_id}"

    @property
    def command(self) -> str:
        told = self.told
        state = self.recall.state if self.recall else ""
        if told.kind in _ASKED_BACK:
            form = _COMMANDS_BY_STATE.get(state, _ANY_STATE)
        elif told.kind == _UNANSWERED and told.code == settlement.FileState.UNKNOWN:
            form = _UNKNOWN_FILE
        else:
            form = _COMMANDS[told.kind]
        return form.format(payment=told.end_to_end_id, payee=told.payee, file=told.file_id, message=told.message_id)


def waiting(session: Session, day: dt.date) -> list[Waiting]:
    """What waits for a person on a day, most pressing first."""
    found = settlement.exceptions(session.conn, book_id=session.book_id, as_of=day)
    asked = {
        (recall.end_to_end_id, recall.amount_minor): recall
        for recall in reversed(settlement.recalls(session.conn, book_id=session.book_id))
        if recall.state != "reversed"  # of parts alike the first that waits
    }
    ages = [_weekdays(each.since, day) for each in found]
    buckets = recon.age_buckets(session.conn, ages)
    return [
        Waiting(
            each,
            days,
            bucket,
            asked.get((each.end_to_end_id or "", each.amount_minor or 0)) if each.kind in _ASKED_BACK else None,
        )
        for each, days, bucket in zip(found, ages, buckets, strict=True)
    ]


def _weekdays(since: dt.date, day: dt.date) -> int:
    """Mondays to Fridays after one day up to another; 0 when it is earlier."""
    return sum((since + dt.timedelta(days=n)).weekday() < 5 for n in range(1, (day - since).days + 1))


def exceptions(session: Session, day: dt.date) -> Report:
    """What waits, how old it is and what it comes to; what was asked back or given back and is not settled."""
    found = waiting(session, day)
    back = [each for each in found if each.told.kind in _ASKED_BACK]
    return Report(
        counts={
            "waiting": len(found),
            "oldest_in_business_days": max((each.days for each in found), default=0),
            "recalls_waiting": sum(each.told.kind == "recall" for each in back),
            "reversals_waiting": sum(each.told.kind == "reversal" for each in back),
        },
        table=_exception_table(found),
        more=(
            _summed("by kind", "kind", [(each.told.kind, each) for each in found]),
            _summed("by age in business days", "age", [(each.bucket, each) for each in found], recon.BUCKETS),
            _asked_back_table(back),
        ),
    )


def _exception_table(found: Sequence[Waiting], name: str = "exceptions") -> Table:
    columns = ("kind", "policy", "payee", "of", "amount", "days", "code", "what", "command")
    rows = tuple(
        (
            *(each.told.kind, each.told.policy, each.told.payee, each.place, each.amount, each.days, each.told.code),
            *(each.told.meaning, each.command),
        )
        for each in found
    )
    return Table(name, columns, rows)


def _asked_back_table(found: Iterable[Waiting], name: str = "asked back and given back") -> Table:
    columns = ("kind", "payee", "payment", "amount", "asked", "days", "state", "answer", "command")
    rows = tuple(
        (
            *(each.told.kind, each.told.payee, each.told.end_to_end_id, each.amount, each.told.since, each.days),
            *(each.recall.state if each.recall else "", each.recall.answer if each.recall else "", each.command),
        )
        for each in found
    )
    return Table(name, columns, rows)


def _summed(name: str, what: str, found: Sequence[tuple[str, Waiting]], order: Sequence[str] = ()) -> Table:
    """Number, oldest and sums (one a currency) by a word, in this order or by name."""
    rows = []
    for word in order or sorted({word for word, _ in found}):
        inside = [each for of, each in found if of == word]
        if inside:
            sums: dict[str, int] = {}
            for each in inside:
                if each.told.currency is not None:
                    sums[each.told.currency] = sums.get(each.told.currency, 0) + (each.told.amount_minor or 0)
            shown = ", ".join(money(total, code) for code, total in sorted(sums.items()))
            rows.append((word, len(inside), max(each.days for each in inside), shown))
    return Table(name, (what, "number", "oldest in days", "sum"), tuple(rows))


def nothing_stopped(session: Session, day: dt.date) -> Verdict:
    """Whether no payment is disputed or blocked, and no file has been without an answer for longer than it may."""
    found = [each for each in waiting(session, day) if each.told.policy == _STOPPED or each.told.kind == _UNANSWERED]
    counts = {"stopped": len(found)}
    if not found:
        return Verdict(True, f"no payment is disputed or blocked, and every file due by {day} is answered.", counts)
    first = found[0]
    sentence = f"{len(found)} payments or files must not wait; first: {first.told.kind} {first.place}: {first.command}."
    return Verdict(False, sentence, counts, (_exception_table(found, "must not wait"),))


def aged_exceptions(session: Session, day: dt.date) -> Verdict:
    """Whether nothing has waited for a person for longer than a business week."""
    old = [each for each in waiting(session, day) if each.days > AGED_AFTER_DAYS and each.told.kind not in _ASKED_BACK]
    counts = {"exceptions_too_old": len(old)}
    if not old:
        return Verdict(True, f"nothing has waited for longer than {AGED_AFTER_DAYS} business days.", counts)
    oldest = max(each.days for each in old)
    sentence = f"{len(old)} exceptions have waited for more than {AGED_AFTER_DAYS} business days, the oldest {oldest}."
    return Verdict(False, sentence, counts, (_exception_table(old, "aged exceptions"),))


def recalls_answered(session: Session, day: dt.date) -> Verdict:
    """Whether what was asked back or given back is with the bank, and not without an answer for too long."""
    back = [each for each in waiting(session, day) if each.recall is not None]
    late = [
        each
        for each in back
        if each.days > (0 if each.recall and each.recall.state in _COMMANDS_BY_STATE else ANSWER_AFTER_DAYS)
    ]
    counts = {"waiting": len(back), "late": len(late)}
    if not late:
        return Verdict(True, f"{len(back)} recalls and reversals wait for their banks, none for too long.", counts)
    first = late[0]
    state = first.recall.state if first.recall else ""
    sentence = (
        f"{len(late)} recalls or reversals have waited too long; first: {first.place} is {state}: {first.command}."
    )
    return Verdict(False, sentence, counts, (_asked_back_table(late, "late"),))


def suspense_tables(session: Session, day: dt.date) -> tuple[Table, Table]:
    """What waits on suspense accounts on a day, the oldest first, and its sums by account and age."""
    items = recon.suspense_items(session.conn, book_id=session.book_id, as_of=day)
    sums = tuple(
        (each.account, each.bucket, each.item_count, money(each.amount_minor, each.currency))
        for each in recon.suspense_buckets(items)
    )
    return (
        _suspense_table(items, "suspense"),
        Table("suspense by age in business days", ("account", "age", "number", "sum"), sums),
    )


def _suspense_table(items: Iterable[recon.SuspenseItem], name: str) -> Table:
    columns = ("account", "reference", "code", "reason", "amount", "since", "days")
    rows = tuple(
        (item.account, item.reference, item.code, item.reason, money(item.amount_minor, item.currency), item.since,
         item.age_days)
        for item in items
    )  # fmt: skip
    return Table(name, columns, rows)


def aged_suspense(session: Session, day: dt.date) -> Verdict:
    """Whether nothing has waited on a suspense account for longer than six business weeks."""
    items = recon.suspense_items(session.conn, book_id=session.book_id, as_of=day)
    old = [item for item in items if item.age_days > SUSPENSE_AFTER_DAYS]
    counts = {"items": len(items), "items_too_old": len(old)}
    if not old:
        return Verdict(True, f"nothing is on suspense for more than {SUSPENSE_AFTER_DAYS} business days.", counts)
    first = old[0]
    sentence = (
        f"{len(old)} items are on suspense for more than {SUSPENSE_AFTER_DAYS} business days, first {first.reference}"
        f" on {first.account}, {first.age_days} days; take them on: nostro breaks suspense --date {day}."
    )
    return Verdict(False, sentence, counts, (_suspense_table(old, "aged suspense"),))
