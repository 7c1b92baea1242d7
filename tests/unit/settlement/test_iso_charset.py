from __future__ import annotations

import pytest

from settlement.iso20022 import Change, Charset, Rule, Umlauts, outside, transliterate
from settlement.iso20022.charset import reference_fault

SEPA, LATIN = Charset.SEPA, Charset.LATIN


@pytest.mark.parametrize(
    ("text", "sepa", "latin"),
    [
        ("Plain Name Ltd.", "Plain Name Ltd.", "Plain Name Ltd."),
        ("Zoë Müller & Söhne", "Zoe Mueller + Soehne", "Zoë Müller & Söhne"),
        ("ÄRZTE Ärzte Straße", "AERZTE Aerzte Strasse", "ÄRZTE Ärzte Straße"),
        ("Łódź Đoković Ångström", "Lodz Dokovic Angstroem", "Łódź Đoković Ångström"),
        ("Þór Æsir Œuvre", "Thor Aesir Oeuvre", "Þór Æsir Œuvre"),
        ("Γιώργος Χατζής", "Giorgos Chatzis", "Giorgos Chatzis"),
        ("Юлия ЩУКА", "Yuliya SHTUKA", "Yuliya SHTUKA"),
        ("Đorđe Њ", "Dorde Nj", "Đorđe Nj"),
        ("Ștefan Țepeș", "Stefan Tepes", "Ștefan Țepeș"),
        ("Trần Nguyễn", "Tran Nguyen", "Tran Nguyen"),
        ("a@b_c [d] “e” – 5 €", "a(at)b-c (d) 'e' - 5 EUR", "a@b_c [d] 'e' - 5 €"),
        ("ﬁn Ａ ½", "fin A 1/2", "fin A ½"),
        ("e\u0301", "e", "é"),
        ("  two  spaces ", "two spaces", "two spaces"),
        ("tab\there\u00a0there\u00ad", "tab here there", "tab here there"),
        ("", "", ""),
        ("   ", "", ""),
    ],
)
def test_names_are_written_by_the_table(text: str, sepa: str, latin: str) -> None:
    assert transliterate(text, SEPA).written == sepa
    assert transliterate(text, LATIN).written == latin
    assert transliterate(text, SEPA).complete


def test_every_change_is_logged_with_its_place() -> None:
    result = transliterate("Jürß & Co ", SEPA)
    assert result.original == "Jürß & Co "
    assert result.written == "Juerss + Co"
    assert result.changes == (
        Change(1, "ü", "ue", Rule.LETTER),
        Change(3, "ß", "ss", Rule.LETTER),
        Change(5, "&", "+", Rule.SIGN),
        Change(9, " ", "", Rule.SPACE),
    )


def test_a_character_without_counterpart_becomes_a_full_stop_and_says_so() -> None:
    result = transliterate("山田㈱ Ltd", SEPA)
    assert result.written == "... Ltd"
    assert not result.complete
    assert [change.known for change in result.changes] == [False, False, False]


def test_outside_names_each_character_once() -> None:
    assert outside("a&b&c<é", SEPA) == "&<é"
    assert outside("a&b&c<é", LATIN) == ""
    assert outside("a\nb\x00", LATIN) == "\n\x00"


@pytest.mark.parametrize(
    ("text", "fault"),
    [("A/B", None), ("/A", "starts with '/'"), ("A/", "ends with '/'"), ("A//B", "contains '//'")],
)
def test_references_have_no_outer_or_double_slashes(text: str, fault: str | None) -> None:
    assert reference_fault(text) == fault


@pytest.mark.parametrize(
    ("text", "written"), [("ÄRZTE Ärzte Straße", "ARZTE Arzte Strasse"), ("Ångström Øre Zoë", "Angstrom Ore Zoe")]
)
def test_banks_that_want_one_letter_for_an_umlaut_get_one(text: str, written: str) -> None:
    assert transliterate(text, SEPA, Umlauts.ONE_LETTER).written == written


def test_every_change_names_its_rule() -> None:
    rules = {c.original: c.rule for c in transliterate("Zoë Łódź\t\u00adЖ山 @", SEPA).changes}
    assert rules == {
        "ë": Rule.ACCENT,
        "Ł": Rule.LETTER,
        "ó": Rule.ACCENT,
        "ź": Rule.ACCENT,
        "\t": Rule.SPACE,
        "\u00ad": Rule.INVISIBLE,
        "Ж": Rule.LETTER,
        "山": Rule.UNKNOWN,
        "@": Rule.SIGN,
    }
