"""Who the marketplace pays: payees with the awkward names and addresses that real files carry.

Lives here: the name and place material and how a seeded payee is put together. Must not live here: money,
files. Every name fits SEPA's 70 characters also after transliteration (ß → ss, ü → ue).
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from sandbox.ibans import iban

CURRENCY_WEIGHTS = {"EUR": 6, "GBP": 2, "CZK": 2}
_COUNTRIES = {"EUR": ("DE", "NL", "FR", "AT", "BE", "ES", "LT", "IE"), "GBP": ("GB",), "CZK": ("CZ",)}
_FIRST_NUMBER = 300_001


@dataclass(frozen=True, slots=True)
class Payee:
    """A seller on the marketplace. `minimum` and `delay_days` are its payout rules ("" when none)."""

    payee_id: str
    name: str
    currency: str
    iban: str
    bic: str
    country: str
    town: str
    street: str
    postcode: str
    minimum: str
    delay_days: int

    @property
    def account(self) -> str:
        """Its payable account in the books."""
        return f"liabilities:payable:{self.payee_id}"

    @property
    def reserve_account(self) -> str:
        """Its reserve account in the books."""
        return f"liabilities:reserve:{self.payee_id}"


@dataclass(frozen=True, slots=True)
class _Country:
    banks: tuple[tuple[str, str], ...]  # national bank code, BIC
    families: tuple[str, ...]
    trades: tuple[str, ...]
    forms: tuple[str, ...]
    places: tuple[tuple[str, str], ...]  # town, postcode
    streets: tuple[str, ...]


_MATERIAL = {
    "DE": _Country(
        (("99010020", "ELBEDEFFXXX"), ("99050000", "ISARDEMMXXX")),
        ("Müller", "Großmann", "Jäger", "Schröder-Weiß", "Öztürk", "Köhler", "von der Straßen", "Łukaszewski"),
        ("Söhne Fahrradwerkstatt", "Töchter Bäckerei", "Partner Möbel", "Café am Fluß", "Bürobedarf"),
        ("GmbH", "GmbH & Co. KG", "e.K.", "OHG", "UG (haftungsbeschränkt)"),
        (("Berlin", "10115"), ("München", "80331"), ("Köln", "50667"), ("Gießen", "35390")),
        ("Hauptstraße 7", "Am Brühl 12a", "Königsallee 100"),
    ),
    "NL": _Country(
        (("POLD", "POLDNL2AXXX"),),
        ("De Vries", "Van 't Hoff", "IJsselstein", "Van den Bergh", "Jansen"),
        ("Bloemen", "Kaas & Wijn", "Fietsen", "Drukwerk"),
        ("B.V.", "VOF", "en Zonen"),
        (("Amsterdam", "1012 AB"), ("'s-Hertogenbosch", "5211 AA"), ("Utrecht", "3511 CE")),
        ("Keizersgracht 221", "Oude Gracht 5-bis"),
    ),
    "FR": _Country(
        (("9900100010", "SEINFRPPXXX"),),
        ("Lefèbvre", "Brûlé", "D'Artagnan", "Çelik", "Noël", "Garçon"),
        ("Pâtisserie", "Atelier L'Étoile", "Librairie", "Crèmerie & Fils"),
        ("SARL", "SAS", "S.A."),
        (("Paris", "75002"), ("Saint-Étienne", "42000"), ("Besançon", "25000")),
        ("12 rue de l'Église", "4 bis, avenue Foch"),
    ),
    "AT": _Country(
        (("99100", "DONAATWWXXX"),),
        ("Höbinger", "Grünwald", "Weißensteiner"),
        ("Sportgeräte", "Käserei", "Buchhandlung zur schönen Aussicht"),
        ("GesmbH", "KG", "e.U."),
        (("Wien", "1010"), ("Sankt Pölten", "3100")),
        ("Währinger Straße 3", "Nußdorfer Platz 1"),
    ),
    "BE": _Country(
        (("990", "SCHEBEBBXXX"),),
        ("Peeters", "Dieu-le-Veut", "Vanderstraeten"),
        ("Chocolaterie", "Brouwerij", "Reklame"),
        ("BV", "SRL", "NV"),
        (("Liège", "4000"), ("Gent", "9000")),
        ("Grand'Place 2", "Korenmarkt 18"),
    ),
    "ES": _Country(
        (("99100001", "TAJOESMMXXX"),),
        ("Muñoz", "Ibáñez", "Peña y Hijos", "Núñez de Balboa"),
        ("Cerámica", "Aceites", "Jamones del Señorío"),
        ("S.L.", "S.A.", "S. Coop."),
        (("A Coruña", "15001"), ("Logroño", "26001"), ("Madrid", "28013")),
        ("Calle de la Peña, 4", "Plaza España 1"),
    ),
    "LT": _Country(
        (("99000", "NEMULT2XXXX"),),
        ("Žukauskas", "Šimkutė", "Jankauskaitė"),
        ("Gintaras", "Baldų dirbtuvė", "Audėja"),
        ("UAB", "MB", "IĮ"),
        (("Šiauliai", "76001"), ("Vilnius", "01100")),
        ("Gedimino pr. 9", "Vilniaus g. 20"),
    ),
    "IE": _Country(
        (("LIFF990001", "LIFFIE2DXXX"),),
        ("O'Brien", "Ní Dhomhnaill", "Mac an tSaoir"),
        ("Books", "Knitwear & Tweed", "Seafood"),
        ("Ltd", "DAC", "& Daughters"),
        (("Dún Laoghaire", "A96 E2H2"), ("Galway", "H91 T8NW")),
        ("7 St. Stephen's Green", "Quay Street 3"),
    ),
    "GB": _Country(
        (("ALBN990001", "ALBNGB2LXXX"), ("THAM990010", "THAMGB2LXXX")),
        ("O'Connor", "Smith", "Brontë", "MacDonald", "Featherstonehaugh-Cholmondeley", "Ng"),
        ("Tea & Coffee", "Antiques", "Bicycles", "Haberdashery", "Records"),
        ("Ltd", "LLP", "& Sons Ltd", "plc"),
        (("London", "EC1A 1BB"), ("Stoke-on-Trent", "ST1 1AA"), ("King's Lynn", "PE30 1AA")),
        ("1 Poultry", "22b St James's Street"),
    ),
    "CZ": _Country(
        (("9910", "VLTACZPPXXX"), ("9920", "ODRACZPPXXX")),
        ("Žluťoučký", "Dvořák", "Černý", "Příhoda", "Šťastná", "Říha"),
        ("Pekárna", "Truhlářství", "Sklárna", "Knihkupectví U Kočky"),
        ("s.r.o.", "a.s.", "v.o.s."),
        (("Praha", "110 00"), ("České Budějovice", "370 01"), ("Plzeň", "301 00")),
        ("Náměstí Míru 4", "Dlouhá třída 28/3"),
    ),
}


def make_payees(seed: int, count: int, currencies: tuple[str, ...]) -> tuple[Payee, ...]:
    """`count` payees, one currency each, in the fixed shares of `CURRENCY_WEIGHTS`. Same seed, same payees."""
    rng = random.Random(f"payees/{seed}")
    cycle = [code for code in currencies for _ in range(CURRENCY_WEIGHTS[code])]
    return tuple(_payee(rng, number, cycle[number % len(cycle)]) for number in range(count))


def _payee(rng: random.Random, number: int, currency: str) -> Payee:
    country = rng.choice(_COUNTRIES[currency])
    material = _MATERIAL[country]
    bank, bic = rng.choice(material.banks)
    town, postcode = rng.choice(material.places)
    ordinary = rng.randrange(100)
    return Payee(
        payee_id=f"P{number + 1:06d}",
        name=f"{rng.choice(material.families)} {rng.choice(material.trades)} {rng.choice(material.forms)}",
        currency=currency,
        iban=iban(country, bank, _FIRST_NUMBER + number),
        bic=bic,
        country=country,
        town=town,
        street=rng.choice(material.streets),
        postcode=postcode,
        minimum="10.00" if ordinary < 5 else "",
        delay_days=1 if ordinary in (5, 6) else 0,
    )
