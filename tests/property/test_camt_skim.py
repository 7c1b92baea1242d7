"""Cutting ordinary entries out of the stream never changes what is read: fast and careful reader compared.

The careful reader is the same program with nothing recognised as ordinary.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recon.formats import StatementRefused, camt_skim, safe_xml
from recon.formats.camt import read_camt
from tests.unit.recon.camt_files import balance, details, document, entry, statement

SAMPLES = Path(__file__).resolve().parents[3] / "shared" / "samples"
CAMT = sorted(path for kind in ("camt.052", "camt.053", "camt.054") for path in (SAMPLES / kind).glob("*"))


def outcome(data: bytes) -> object:
    """Everything a reader of the file can tell, or its refusal."""
    try:
        file = read_camt(data, name="x")
    except StatementRefused as refused:
        return refused.rule, refused.line, str(refused), refused.message_version
    return file.sha256, file.message_id, file.findings, file.statements, file.lines.schema, file.lines.rows()


def both(data: bytes) -> tuple[object, object]:
    fast = outcome(data)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(camt_skim, "_is_utf8", lambda head: False)
        return fast, outcome(data)


def cut_entries(data: bytes) -> int:
    """How many entries of a file are read the fast way."""
    skimmer = camt_skim.Skimmer()
    skimmer.feed(data, last=False)
    skimmer.feed(b"", last=True)
    return sum(run.count for run in skimmer._runs)


@pytest.mark.skipif(not CAMT, reason="the sample statements are not here")
def test_every_sample_reads_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    """In many pieces as in few."""
    cut = 0
    for path in CAMT:
        data = path.read_bytes()
        # Of a large file's many alike entries two hundred cuts meet every part.
        monkeypatch.setattr(safe_xml, "FILTERED_PIECE_BYTES", max(300, len(data) // 200))
        fast, slow = both(data)
        assert fast == slow, path.name
        monkeypatch.undo()
        assert outcome(data) == slow, path.name
        cut += cut_entries(data)
    assert cut > 300  # the comparison compares something


@pytest.mark.skipif(not CAMT, reason="the sample statements are not here")
@pytest.mark.parametrize("seed", range(4))
def test_damaged_samples_read_the_same(seed: int) -> None:
    """Bytes changed, pieces repeated, removed or taken from elsewhere, where entries are."""
    random_ = random.Random(seed)
    small = [path.read_bytes() for path in CAMT if path.stat().st_size < 40_000]
    for _ in range(250):
        data = damaged(random_.choice(small), random_)
        fast, slow = both(data)
        assert fast == slow, data


PIECES = [
    b"<!-- x -->", b"<?x y?>", b"<![CDATA[<Ntry>]]>", b"]]>", b"&amp;", b"&#0;", b"\r\n", b"\xff", b"\xef\xbf\xbe",
    b"<Ntry>", b"</Ntry>", b"<Amt Ccy=\"EUR\">1.00</Amt>", b"<CdtDbtInd>DBIT</CdtDbtInd>", b" Ccy='EUR'",
    b"NOTPROVIDED",
    b"<Nm>\xc3\xbcml\xc3\xa4ut</Nm>", b"<X xmlns=\"urn:x\"/>", b"-", b"0", b"<TxDtls></TxDtls>", b"<RtrInf>a</RtrInf>",
]  # fmt: skip


def damaged(data: bytes, random_: random.Random) -> bytes:
    for _ in range(random_.randint(1, 3)):
        first = max(data.find(b"<Ntry>"), 0)
        at = random_.randrange(first, len(data))
        upto = min(len(data), at + random_.choice([0, 1, 1, 2, 10, 200]))
        kind = random_.randrange(5)
        if kind == 0:
            data = data[:at] + random_.choice(PIECES) + data[upto:]
        elif kind == 1:
            data = data[:at] + data[upto:]
        elif kind == 2:
            data = data[:upto] + data[at:upto] + data[upto:]
        elif kind == 3:
            data = data[:at] + bytes([random_.randrange(256)]) + data[at + 1 :]
        else:
            tag = data.find(b"<", at)
            end = data.find(b">", tag) + 1
            data = data[:tag] + random_.choice(PIECES) + data[tag if random_.random() < 0.5 else end :]
    return data


TEXTS = st.sampled_from(
    [
        "",
        " ",
        "A",
        " a b ",
        "NOTPROVIDED",
        "notprovided ",
        "Not Provided",
        "ü",
        "Ä\u00a0",
        "a&amp;b",
        "\u2003x",
        "ŒUVRE",
    ]
)
MAYBE = st.one_of(st.none(), TEXTS)


def element(name: str, content: str | None) -> str:
    return "" if content is None else f"<{name}>{content}</{name}>"


@st.composite
def entries(draw: st.DrawFn) -> str:
    """Entries with and without every part, mostly ordinary."""
    amount = draw(st.sampled_from(["0", "1", "1.5", "12.34", "007.10", "12.340", "1.", "999999999999999.99", "9" * 17]))
    ccy = draw(st.sampled_from(["EUR", "EUR", "EUR", "JPY", "BHD", "XXY"]))
    own = "DE89370400440532013000"
    accounts = st.sampled_from([None, own, "DE02120300000000202051", "de89 3704 0044 0532 0130 00", "12-3/4", " "])
    parties = "".join(
        element(tag, inside)
        for tag, inside in (
            ("Dbtr", element("Nm", draw(MAYBE)) or None),
            ("DbtrAcct", (lambda a: None if a is None else f"<Id><IBAN>{a}</IBAN></Id>")(draw(accounts))),
            ("UltmtDbtr", element("Nm", draw(MAYBE)) or None),
            ("Cdtr", element("Pty", element("Nm", draw(MAYBE)))),
            ("CdtrAcct", (lambda a: None if a is None else f"<Id><Othr><Id>{a}</Id></Othr></Id>")(draw(accounts))),
        )
    )
    charge = draw(
        st.sampled_from(
            [
                "",
                f'<Chrgs><TtlChrgsAndTaxAmt Ccy="{ccy}">1</TtlChrgsAndTaxAmt></Chrgs>',
                f'<Chrgs><Rcrd><Amt Ccy="{ccy}">1</Amt><CdtDbtInd>CRDT</CdtDbtInd></Rcrd></Chrgs>',
                f'<Chrgs><Amt Ccy="{ccy}">2</Amt></Chrgs>',
                f'<Chrgs><CdtDbtInd>CRDT</CdtDbtInd><Rcrd><Amt Ccy="{ccy}">3</Amt></Rcrd></Chrgs>',
                '<Chrgs><Rcrd><Amt Ccy="USD">1</Amt></Rcrd></Chrgs>',
            ]
        )
    )
    detail = (
        "<Refs>"
        + "".join(
            element(tag, draw(MAYBE)) for tag in ("MsgId", "AcctSvcrRef", "PmtInfId", "InstrId", "EndToEndId", "UETR")
        )
        + "</Refs>"
        + draw(st.sampled_from(["", f'<Amt Ccy="{ccy}">{amount}</Amt>']))
        + draw(st.sampled_from(["", '<AmtDtls><InstdAmt><Amt Ccy="USD">5.5</Amt></InstdAmt></AmtDtls>']))
        + charge
        + f"<RltdPties>{parties}</RltdPties>"
        + element("RmtInf", element("Ustrd", draw(MAYBE)) + draw(st.sampled_from(["", "<Ustrd>two</Ustrd>"])))
        + draw(
            st.sampled_from(
                ["", "<RtrInf><Rsn><Cd>AC04</Cd></Rsn></RtrInf>", "<RtrInf><AddtlInf>x</AddtlInf></RtrInf>"]
            )
        )
        + element("AddtlTxInf", draw(MAYBE))
    )
    count = draw(st.sampled_from([None, "1", "2", "01"]))
    batch = "" if count is None else f"<PmtInfId>{draw(TEXTS)}</PmtInfId><NbOfTxs>{count}</NbOfTxs>"
    inside = draw(st.sampled_from(["", details(detail, batch=batch), details(batch=batch), details(detail, detail)]))
    code = draw(st.sampled_from(["", "<BkTxCd><Domn><Cd>PMNT</Cd></Domn><Prtry><Cd>x</Cd></Prtry></BkTxCd>"]))
    return entry(
        amount,
        draw(st.sampled_from(["CRDT", "DBIT", None, "X"])),
        ccy=ccy,
        status=draw(st.sampled_from(["<Sts><Cd>BOOK</Cd></Sts>", "<Sts>BOOK</Sts>", "<Sts><Cd>PDNG</Cd></Sts>", ""])),
        booked=draw(
            st.sampled_from(
                [
                    "<BookgDt><Dt>2026-11-20</Dt></BookgDt>",
                    "<BookgDt><DtTm>2026-11-20T10:00:00+01:00</DtTm></BookgDt>",
                    "<BookgDt><Dt>2026-02-30</Dt></BookgDt>",
                    "",
                ]
            )
        ),
        ref=draw(TEXTS),
        inside=code + inside + element("AddtlNtryInf", draw(MAYBE)),
    )


@settings(max_examples=60, deadline=None)
@given(st.lists(entries(), min_size=1, max_size=6), st.integers(1, 3), st.sampled_from(["", "\n", "\r\n", "\n<X/>\n"]))
def test_generated_entries_read_the_same(some: list[str], times: int, between: str) -> None:
    parts = [balance("OPBD", "0.00"), *[one + between for one in some] * times, balance("CLBD", "1.00")]
    fast, slow = both(document(statement(*parts)).encode())
    assert fast == slow


def test_a_comment_around_entries_hides_them() -> None:
    hidden = document(
        statement(entry(), f"<!-- {entry()} -->", entry(), f"<AddtlStmtInf><![CDATA[{entry()}]]></AddtlStmtInf>")
    )
    fast, slow = both(hidden.encode())
    assert fast == slow
    assert isinstance(fast, tuple)
    assert len(fast[-1]) == 2


def test_lines_are_counted_through_what_is_cut() -> None:
    file = read_camt(
        document(statement(*["\n" + entry(booked="\n<BookgDt><Dt>2026-11-20</Dt></BookgDt>")] * 5)).encode(), name="x"
    )
    assert file.lines["source_line"].to_list() == [2, 4, 6, 8, 10]


def test_the_fast_way_is_taken(tmp_path: Path) -> None:
    assert cut_entries(document(statement(*[entry(ref=f"R{n}") for n in range(1000)])).encode()) == 1000
