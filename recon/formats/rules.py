"""Every named rule of the statement readers: what refuses a file, quarantines an entry or is a finding.

Lives here: the rule names, one line on each, and the refusal itself. Must not live here: reading.
`docs/statement-rules.md` explains the same rules for people; a test keeps both lists equal.
"""

from __future__ import annotations

from typing import Final

from recon.errors import FileRefusedError

FILE_RULES: Final[dict[str, str]] = {
    "file-unreadable": "the file cannot be opened or read",
    "empty-file": "the file has no content",
    "not-xml": "the content is neither XML nor a text format that is read",
    "xml-not-well-formed": "the XML is cut short or damaged",
    "xml-doctype": "the document has a DOCTYPE",
    "too-deep": "elements are nested deeper than 255 levels",
    "resource-limit": "one text or name is larger than a statement can need",
    "namespace-unknown": "the Document has no namespace, or one that is not ISO 20022's",
    "not-a-camt-report": "a well-formed document that is not a camt.052, camt.053 or camt.054",
    "message-contradicts-namespace": "the report inside does not belong to the namespace",
    "foreign-namespace": "a statement or entry is in another namespace than its Document",
    "entry-misplaced": "an entry is not a direct child of a statement",
    "no-statement": "the message has no statement, report or notification",
    "archive-damaged": "a zip or gzip file that cannot be unpacked",
    "archive-unsafe": "an archive that is too large, too dense, nested or encrypted",
    "layout-unknown": "a workbook or table whose columns no layout knows",
    "not-a-table": "a file that is read without a layout, where one was to be proposed",
    "cut-short": "a BAI2 file without its last record, or a report without its trailer",
}

ENTRY_RULES: Final[dict[str, str]] = {
    "entry-amount-missing": "no amount",
    "entry-amount-garbled": "the amount is not a plain decimal number",
    "entry-amount-negative": "the amount has a minus sign; only CdtDbtInd gives the sign",
    "entry-amount-decimals": "more decimals than the currency has",
    "entry-amount-too-large": "does not fit in 64 bits of minor units",
    "entry-currency-missing": "the amount has no currency",
    "entry-currency-unknown": "the currency is not an ISO 4217 code",
    "entry-currency-differs": "not the currency of the account or of one of its balances",
    "entry-sign-missing": "no CdtDbtInd",
    "entry-sign-unknown": "CdtDbtInd is neither CRDT nor DBIT",
    "entry-status-unknown": "the status is not BOOK, PDNG, INFO or FUTR",
    "entry-date-garbled": "the booking or value date is not a date",
    "entry-garbled": "a :61: line that is not date, mark and amount",
    "entry-field-repeated": "amount, sign or status given twice",
    "balance-amount-missing": "a book balance without an amount",
    "balance-amount-garbled": "a book balance that is not a plain decimal number",
    "balance-amount-negative": "a book balance with a minus sign; only CdtDbtInd gives the sign",
    "balance-amount-decimals": "a book balance with more decimals than the currency has",
    "balance-amount-too-large": "a book balance that does not fit in 64 bits of minor units",
    "balance-currency-missing": "a book balance without a currency",
    "balance-currency-unknown": "a book balance in a currency that is not ISO 4217",
    "balance-sign-unknown": "a book balance whose CdtDbtInd is neither CRDT nor DBIT",
    "balance-field-repeated": "a book balance with amount or sign given twice",
    "balance-total-differs": "an account's control total is not the sum of its records",
    "balance-control-missing": "an account ends without its control record",
    "balance-not-original": "a BAI2 group that is marked as deletion or test",
}

FINDING_RULES: Final[dict[str, str]] = {
    "status-missing": "no Sts: read as BOOK in a camt.053, as PDNG elsewhere",
    "booking-date-missing": "no BookgDt: the closing balance's date, else the period's end",
    "reversal-unreadable": "RvslInd is not a boolean",
    "details-do-not-sum": "the transactions of an entry do not sum to it",
    "detail-amount-missing": "not every transaction of an entry has an amount",
    "detail-sign-opposite": "all transactions of an entry have the opposite sign",
    "batch-count-differs": "NbOfTxs is not the number of transactions given",
    "charges-unreadable": "charges that are not an amount in the entry's currency",
    "instructed-amount-unreadable": "an instructed amount that is not exact in its currency",
    "balance-sign-missing": "a balance without CdtDbtInd, read as credit",
    "balance-unreadable": "a balance that is not a book balance and cannot be read",
    "date-unreadable": "a date outside the entries that is not a date",
    "opening-differs-from-previous": "OPBD and PRCD differ",
    "summary-count-differs": "a stated number or sum of entries is not that of the entries given",
    "sequence-unreadable": "a sequence or page number that is not a whole number",
    "statement-id-missing": "no Id: named after its content",
    "account-missing": "no account identification",
    "header-names-other-message": "the business header names another message",
    "amounts-rounded": "amounts with more decimals than the currency has, rounded as the layout says",
    "encoding-assumed": "a text that is not UTF-8",
    "thirtieth-of-february": "a value date of 30 February, read as the month's last day",
    "field-misplaced": "a field where the message has none, passed over",
    "balance-currency-assumed": "a balance without currency, read in that of the opening balance",
    "group-status": "a BAI2 group that is marked correction, deletion or test",
    "group-total-differs": "a group's control total or number of accounts differs",
    "file-total-differs": "a file's control total or number of groups differs",
    "information-only": "a BAI2 890 record, a text that moves no money",
    "record-count-differs": "a control record counts other records than there are",
    "version-untested": "a version newer than any tested",
}


class StatementRefused(FileRefusedError):  # noqa: N818
    """The whole file is refused by a named rule of `FILE_RULES`; nothing of it is used.

    `line` is the line in the file (1 when the file has no lines). `message` says what and what to do.
    `message_version` is given when the file got far enough to name one.
    """

    def __init__(self, rule: str, line: int, message: str, *, message_version: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.line = line
        self.message = message
        self.message_version = message_version

    def __str__(self) -> str:
        return f"line {self.line}: {self.message} [{self.rule}]"
