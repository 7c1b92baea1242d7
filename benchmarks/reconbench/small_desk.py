"""A small firm's books for the small-business data set: accounts, customers, numbers, and how banks print them.

Lives here: drawing and writing items. Must not live here: what makes a class of cases (`small_cases.py`,
`small_traps.py`).
"""

from __future__ import annotations

import datetime as dt
import random
import string
import unicodedata
from dataclasses import dataclass
from typing import Final

from recon.matching import ITEM_SCHEMA

CURRENCIES: Final = ("EUR", "EUR", "CHF", "PLN", "SEK", "NOK", "GBP", "USD")  # one account each
FIRST_DAY: Final = dt.date(2026, 2, 2)
DAYS: Final = 24
SLA_DAYS: Final = 2
CUSTOMERS: Final = 45  # of each account
NARRATION_MAX: Final = 140
ATTEMPTS: Final = 50  # to find a price that is free
PRICES: Final = (
    990, 1490, 1990, 2490, 2990, 4900, 4990, 9900, 9990, 12900, 14900, 19900, 24900, 25000, 50000, 100000,
)  # fmt: skip
SURNAMES: Final = (
    "Van den Berg", "Łukasz Wiśniewski", "Çağlar", "Søndergaard", "Ramírez", "D'Angelo", "Nguyễn Văn", "Papadopoulos",
    "Kovačević", "Rousseau", "Østergård", "Hämäläinen", "Mac Giolla", "Brâncuși", "Grünwald", "Peeters", "Nieminen",
    "Haugen", "Lindqvist", "Fernandes",
)  # fmt: skip
_TRADES: Final = (
    "Bakkerij", "Stolarnia", "Fırın", "Byg", "Talleres", "Officina", "Ferramenta", "Boulangerie", "Rakennus",
    "Trykkeri", "Elektryk", "Autoscuola", "Apteka", "Kliniek", "Brasserie", "Taxi", "Vinařství", "Autodíly", "Optika",
    "Studio",
)  # fmt: skip
_FORMS: Final = ("BV", "Sp. z o.o.", "A/S", "S.r.l.", "SARL", "Oy", "AS", "AB", "Ltd", "GmbH", "SA", "NV", "", "")
_NARRATIONS: Final = (
    "VIR SEPA RECU /DE {name} /MOTIF FACTURE {ref} DU {day}/02 /REF NOTPROVIDED",
    "SEPA OVERBOEKING NAAM: {name} OMSCHRIJVING: FACTUUR {ref} KLANTNR {customer}",
    "PRZELEW ZEWNETRZNY FV {ref} Z DN {day}.02.2026",
    "TRANSFERENCIA DE {name}, CONCEPTO FRA {ref}.",
    "BON.DA {name} SALDO FATT.N.{ref} DEL {day}.02.2026",
    "BG 5050-{short} OCR {ref}",
    "Viite {ref} Maksaja {name}",
    "ORIG:{name} DATE:2602{day} DESCR:PAYMENT ID:{ref} TRN:{long}TC",
    "Platba faktury c. {ref} VS KS0308",
    "fatura no {ref} odemesi tesekkurler",
    "Betr.: Rg.-Nr. {ref}, Kd.-Nr. {customer}",
    "{ref}",
    "payment {ref} from {name} tel 0{customer}555",
    "Rech. {ref} ohne Abzug, Danke!",
    "振込 {ref} {name}",
)
_SILENT: Final = (
    "merci", "loyer fevrier", "przelew", "dziekujemy", "bedankt", "gracias", "grazie", "tak for sidst", "kiitos", None,
    "thanks", "pago", "zaplata", "Miete Februar", "abonnement",
)  # fmt: skip
_BARE: Final = str.maketrans("łŁøØıđ", "lLoOid")

Fields = dict[str, object]


@dataclass(frozen=True, slots=True)
class Party:
    """A customer or payee: account number and name."""

    account: str
    name: str


@dataclass(frozen=True, slots=True)
class Case:
    """Where, with whom and when (`day` counts the business days from 0); `cls` are the words of the class."""

    cls: str
    place: int
    party: Party
    day: int
    evidence: str = "reference"


class Desk:
    """Draws cases and writes their items; `rows` are dicts of `ITEM_SCHEMA` and of the truth."""

    def __init__(self, rng: random.Random) -> None:
        self.rng = rng
        self.rows: list[Fields] = []
        self.days = _business_days()
        self.last = len(self.days) - 1
        self.parties = [self._parties(currency) for currency in CURRENCIES]
        self._groups = 0
        self._invoice = 100_000 + rng.randrange(1_000)
        self._structured = 0
        self._used: set[tuple[int, str]] = set()
        self._owed: set[tuple[int, str, int]] = set()
        self._lone: set[tuple[int, str, int]] = set()

    # Who, when, how much.

    def _parties(self, currency: str) -> list[Party]:
        """The customers of one account, whose names differ by more than a legal form, and another of the first name."""
        names: dict[tuple[str, str], str] = {}
        while len(names) < CUSTOMERS:
            first, trade = self.rng.choice(SURNAMES), self.rng.choice(_TRADES)
            turned = self.rng.random() < 0.3
            name = f"{trade} {first}" if turned else f"{first} {trade} {self.rng.choice(_FORMS)}".strip()
            names.setdefault((first, trade), name)
        names_of_all = [*names.values(), next(iter(names.values()))]
        return [Party(f"{currency[:2]}{10 + n}{self.digits(15)}", name) for n, name in enumerate(names_of_all)]

    def case(self, cls: str, *, before_end: int = 3, evidence: str = "reference") -> Case:
        """A case with any customer, at least so many business days before the last."""
        place = self.rng.randrange(len(CURRENCIES))
        party = self.rng.choice(self.parties[place][:CUSTOMERS])
        return Case(cls, place, party, self.rng.randint(1, self.last - before_end), evidence)

    def other_party(self, case: Case) -> Party:
        """Another customer of the same account."""
        return self.rng.choice([party for party in self.parties[case.place][:CUSTOMERS] if party != case.party])

    def amount(self, case: Case, *others: Party, price: bool = False, lone: bool = False) -> int:
        """Minor units that the case's party (and others) owe: half of them, or all, prices that many pay.

        `lone`: no other case has this amount with this party, so that an amount without a reference says which one.
        Parties whose prices are all taken owe an amount that is no price.
        """
        attempts = 0
        while True:
            attempts += 1
            if attempts > ATTEMPTS:
                amount = self.odd_amount()
            else:
                amount = self.rng.choice(PRICES) if price else self._any_amount()
            keys = {(case.place, party.name, amount) for party in (case.party, *others)}
            if keys & self._lone or (lone and keys & self._owed):
                continue
            self._owed |= keys
            self._lone |= keys if lone else set()
            return amount

    def _any_amount(self) -> int:
        kind = self.rng.random()
        if kind < 0.5:
            return self.rng.choice(PRICES)
        if kind < 0.6:
            return self.rng.choice(PRICES) * self.rng.randint(2, 6)
        return self.odd_amount()

    def odd_amount(self) -> int:
        """Minor units that are no price."""
        return max(100, int(self.rng.lognormvariate(9.2, 1.1)))

    def group(self) -> int:
        """The number of a new set that clears."""
        self._groups += 1
        return self._groups

    def late(self) -> int:
        """Days that a line comes after its expectation."""
        return self.rng.choice([0, 0, 0, 0, 1])

    # Numbers and texts.

    def digits(self, count: int) -> str:
        return "".join(self.rng.choice(string.digits) for _ in range(count))

    def fresh(self, case: Case, choices: list[str]) -> str:
        """One of the choices that no other case of this account has."""
        free = [text for text in choices if (case.place, text) not in self._used]
        chosen = self.rng.choice(free)
        self._used.add((case.place, chosen))
        return chosen

    def reference(self, *kinds: str) -> str:
        """A number of ours of one of these kinds (default: any)."""
        self._invoice += self.rng.choice([1, 1, 1, 2, 3, 10])
        kind, n = self.rng.choice(kinds or _KINDS), self._invoice
        match kind:
            case "short":
                return str(n)
            case "prefixed":
                return f"RE-2026-{n}"
            case "slashed":
                return f"FA/2026/02/{n - 100_000:04}"
            case "creditor":
                return f"RF{self.rng.randrange(10, 99)}{self.digits(12)}"
            case "slip":
                return f"21{n:010}{self.digits(15)}"
            case "structured":
                self._structured += 1
                return f"{90 + self._structured % 900:03}{n:07}{self._structured % 97:02}"
            case "long":
                return f"{n}{self.digits(9)}"
            case "order":
                return f"{self.rng.choice([302, 408, 171])}-{self.digits(7)}-{self.digits(7)}"
            case "payout":
                return "po_1N" + "".join(self.rng.choice(string.ascii_letters + string.digits) for _ in range(22))
        return f"SO{n}-{self.rng.randint(1, 3)}"

    def payment_reference(self) -> str:
        return f"PAY{self.digits(14)}"

    def printed(self, reference: str) -> str:
        """A number as a bank or a person writes it: in blocks, with marks, with zeros, without its beginning."""
        kind = self.rng.random()
        if reference.startswith("RF"):
            return _blocks(reference, 4) if kind < 0.6 else reference
        if reference.startswith("RE-"):
            return reference.replace("-", " ") if kind < 0.2 else reference[3:] if kind < 0.3 else reference
        if not reference.isdigit() or kind >= 0.6:
            return reference
        match len(reference):
            case 27:
                return f"{reference[:2]} {_blocks(reference[2:], 5)}"
            case 12:
                return f"+++{reference[:3]}/{reference[3:7]}/{reference[7:]}+++"
            case 15:
                return _blocks(reference, 5) if kind < 0.3 else f"00000{reference}" if kind < 0.5 else reference
        return reference

    def narration(self, reference: str, party: Party) -> str:
        """A bank's or a payer's text with the number as printed, in one of many languages."""
        text = self.rng.choice(_NARRATIONS).format(
            ref=self.printed(reference),
            name=self.bank_name(party.name),
            day=f"{self.rng.randint(1, 28):02}",
            customer=self.rng.randrange(10_000, 99_999),
            short=self.rng.randrange(1_000, 9_999),
            long=self.digits(10),
        )
        return text[:NARRATION_MAX]

    def silence(self) -> str | None:
        """A text that names nothing."""
        return self.rng.choice(_SILENT)

    def bank_name(self, name: str) -> str:
        """The name as one of five banks writes it."""
        bare = unicodedata.normalize("NFKD", name.translate(_BARE)).encode("ascii", "ignore").decode()
        return self.rng.choice([name, name.upper(), bare.upper(), bare.upper()[:27].rstrip(), bare])

    def unknown_account(self) -> str:
        return f"XX{self.digits(16)}"

    def known(self, party: Party, share: float) -> Fields:
        """Account and name of a party with this share, else the name alone."""
        name: Fields = {"party_name": self.bank_name(party.name)}
        return {"party_account": party.account} | name if self.rng.random() < share else name

    def seen(self, party: Party) -> tuple[Fields, str]:
        """What a line says about its payer, and that in words."""
        kind = self.rng.random()
        name: Fields = {"party_name": self.bank_name(party.name)}
        if kind < 0.55:
            return {"party_account": party.account} | name, "party account"
        if kind < 0.80:
            return name, "party name"
        if kind < 0.90:
            return {"party_account": self.unknown_account()} | name, "party name, unknown account"
        return {}, "no party"

    # Items.

    def receipt(self, case: Case, amount: int, reference: str, group: int | None = None, /, **fields: object) -> None:
        """Money expected of the case's customer (or `party`); with `account_known` the books have its account."""
        party = fields.pop("party", case.party)
        assert isinstance(party, Party)
        known = fields.pop("account_known", None)
        has_account = self.rng.random() < 0.8 if known is None else known
        about: Fields = {"party_account": party.account if has_account else None, "party_name": party.name}
        self.put(case, "RECEIPT", amount, group, **({"end_to_end_id": reference} | about | fields))

    def instruction(
        self, case: Case, amount: int, reference: str, group: int | None = None, /, **fields: object
    ) -> None:
        """A payment of ours to the case's party."""
        about: Fields = {"party_account": case.party.account, "party_name": case.party.name}
        self.put(case, "INSTRUCTION", -amount, group, **({"end_to_end_id": reference} | about | fields))

    def line(self, case: Case, amount: int, group: int | None = None, /, **fields: object) -> None:
        """A bank line, in the sign of T: what we received is negative."""
        self.put(case, "LINE", amount, group, **fields)

    def put(self, case: Case, kind: str, amount: int, group: int | None, /, **fields: object) -> None:
        """Write one item; `day`, `code` and `klass` are the case's own, or those in the fields."""
        at = fields.pop("day", case.day)
        assert isinstance(at, int)
        at = min(at, self.last)
        is_line = kind == "LINE"
        servicer_ref = f"Z{self.digits(12)}" if is_line else None
        row: Fields = dict.fromkeys(ITEM_SCHEMA)
        row |= {
            "kind": kind, "currency": CURRENCIES[case.place], "amount_minor": amount,
            "account": f"{case.place}-{CURRENCIES[case.place].lower()}", "date": self.days[at], "day": at - self.last,
            "value_date": self.days[at], "age_days": self.last - at, "sla_days": 0 if is_line else SLA_DAYS,
            "is_reversal": False, "servicer_ref": servicer_ref,
            "reference": servicer_ref or fields.get("end_to_end_id"),
        }  # fmt: skip
        truth = {"is_line": is_line, "group_id": group, "cls": case.cls, "evidence": case.evidence, "klass": None}
        self.rows.append(row | truth | {"code": None} | fields)

    def overdue(self, day: int) -> str:
        """The code of an expectation of that day that nothing at the bank answers."""
        return "MISSING_BANK" if self.last - min(day, self.last) > SLA_DAYS else "TIMING"


_KINDS: Final = (
    "short", "prefixed", "slashed", "creditor", "slip", "structured", "long", "order", "payout", "sales",
)  # fmt: skip


def _business_days() -> list[dt.date]:
    days = (FIRST_DAY + dt.timedelta(days=n) for n in range(2 * DAYS))
    return [day for day in days if day.weekday() < 5][:DAYS]


def _blocks(text: str, size: int) -> str:
    return " ".join(text[at : at + size] for at in range(0, len(text), size))
