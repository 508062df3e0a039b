"""Countries at intake: every spelling to one code, and never to a wrong one."""

import csv
from pathlib import Path

import pycountry
import pytest
from babel import Locale
from hypothesis import example, given
from hypothesis import strategies as st

from mythos_gate.countries import normalise, normalise_region

JURISDICTIONS = Path(__file__).parents[1] / "policies" / "jurisdictions.csv"
COLUMNS = [
    "code",
    "alpha3",
    "numeric",
    "name",
    "kind",
    "treatment",
    "inherits",
    "groups",
    "note",
]
GROUPS = {
    "A:1",
    "A:2",
    "A:3",
    "A:4",
    "A:5",
    "A:6",
    "B",
    "D:1",
    "D:2",
    "D:3",
    "D:4",
    "D:5",
    "E:1",
    "E:2",
}
LONGEST = 100
CURRENT = {country.alpha_2 for country in pycountry.countries} | {"XK"}
WITHDRAWN = {country.alpha_4 for country in pycountry.historic_countries}

CASES = [
    ("no text is no country", None, None),
    ("an empty text is no country", "", None),
    ("a blank text is no country", " \t\n", None),
    ("a long blank text is no country", " " * 500, None),
    ("an alpha-2 code stays", "DE", "DE"),
    ("an alpha-2 code in small letters", "de", "DE"),
    ("blanks around a code are dropped", "  Fr \n", "FR"),
    ("a fixed-width column is stripped before it is measured", "DE" + " " * 300, "DE"),
    ("an alpha-3 code becomes alpha-2", "deu", "DE"),
    ("Kosovo has the user-assigned code", "xk", "XK"),
    ("the United Kingdom's alias", "uk", "GB"),
    ("Greece's alias", "EL", "GR"),
    ("a territory keeps its own code", "PRI", "PR"),
    ("a four-letter code stays", "suhh", "SUHH"),
    ("a withdrawn alpha-3 code becomes four letters", "SUN", "SUHH"),
    ("a withdrawn alpha-2 code becomes four letters", "su", "SUHH"),
    ("Yugoslavia's alpha-2 code", "YU", "YUCS"),
    ("CS is the later of its two countries", "CS", "CSXX"),
    ("Czechoslovakia's alpha-3 code tells it from the later CS", "CSK", "CSHH"),
    ("East Germany's alpha-2 code", "DD", "DDDE"),
    ("the Netherlands Antilles' alpha-2 code", "AN", "ANHH"),
    ("Zaire's alpha-2 code", "ZR", "ZRCD"),
    ("Burma's alpha-2 code", "BU", "BUMM"),
    ("East Timor's alpha-2 code", "TP", "TPTL"),
    ("Democratic Yemen's alpha-2 code", "YD", "YDYE"),
    ("AI is Anguilla, not the Afars and Issas", "AI", "AI"),
    ("BQ is Bonaire, not the British Antarctic Territory", "BQ", "BQ"),
    ("BY is Belarus, not the Byelorussian SSR", "BY", "BY"),
    ("GE is Georgia, not the Gilbert and Ellice Islands", "GE", "GE"),
    ("SK is Slovakia, not Sikkim", "SK", "SK"),
    ("ATF is the French Southern Territories of today", "ATF", "TF"),
    ("a stateless person", "xxa", "XXA"),
    ("a refugee", "XXB", "XXB"),
    ("a refugee, other", "XXC", "XXC"),
    ("an unspecified nationality", "XXX", "XXX"),
    ("a British National (Overseas) is unknown", "gbn", "GBN"),
    ("a British Overseas Citizen is unknown", "GBO", "GBO"),
    ("an EU laissez-passer is unknown", "EUE", "EUE"),
    ("the Order of Malta is unknown", "XOM", "XOM"),
    ("a passport of UNMIK is unknown", "UNK", "UNK"),
    ("RKS is unknown", "RKS", "RKS"),
    ("Macau in its common spelling", "Macau", "MO"),
    ("Russia", "Russia", "RU"),
    ("South Korea", "South Korea", "KR"),
    ("North Korea", "North Korea", "KP"),
    ("Czech Republic", "Czech Republic", "CZ"),
    ("Turkey under its former English name", "Turkey", "TR"),
    ("Turkey under its present name", "Türkiye", "TR"),
    ("Burma is Myanmar today", "Burma", "MM"),
    ("East Timor is Timor-Leste today", "East Timor", "TL"),
    ("Macedonia", "Macedonia", "MK"),
    ("North Macedonia", "North Macedonia", "MK"),
    ("Swaziland", "Swaziland", "SZ"),
    ("Ivory Coast", "Ivory Coast", "CI"),
    ("the article is no part of a name", "the United States", "US"),
    ("a name of four letters", "cuba", "CU"),
    ("an abbreviation of three letters", "UAE", "AE"),
    ("an abbreviation with points", "U.S.A.", "US"),
    ("blanks within a name are one", "South \xa0 Korea", "KR"),
    ("blanks around the article are one", "The  Gambia", "GM"),
    ("the article of an abbreviation", "the UK", "GB"),
    ("an ampersand", "Trinidad & Tobago", "TT"),
    ("an ampersand without blanks", "Trinidad&Tobago", "TT"),
    ("and for an ampersand", "Antigua and Barbuda", "AG"),
    ("a saint in short", "St. Lucia", "LC"),
    ("a saint without a point", "St Kitts and Nevis", "KN"),
    ("a typographic apostrophe", "Côte d’Ivoire", "CI"),
    ("a plain apostrophe and no accent", "Cote d'Ivoire", "CI"),
    ("an accent apart from its letter", "Re\u0301union", "RE"),
    ("an accent too many", "Perú", "PE"),
    ("an accent makes no code of two letters", "ÜK", "ÜK"),
    ("an inverted name", "Korea, South", "KR"),
    ("an inverted article", "Bahamas, The", "BS"),
    ("a comma does not make Korea less ambiguous", "Korea,", "KOREA,"),
    ("a common name of CLDR", "Cape Verde", "CV"),
    ("a decorated name of CLDR", "Myanmar (Burma)", "MM"),
    ("another decorated name of CLDR", "Hong Kong SAR China", "HK"),
    ("the name without its decoration", "Hong Kong", "HK"),
    ("Kosovo has a name", "Kosovo", "XK"),
    ("South Korea's formal name", "Republic of Korea", "KR"),
    ("the Chinese mainland", "PRC", "CN"),
    ("Taiwan's own formal name", "Republic of China", "TW"),
    ("the larger Congo in short", "DRC", "CD"),
    ("the Vatican", "Vatican", "VA"),
    ("Palestine", "Palestine", "PS"),
    ("Great Britain", "Great Britain", "GB"),
    ("England is no country", "England", "ENGLAND"),
    ("Virgin Islands alone may be either and is unknown", "Virgin Islands", "VIRGIN ISLANDS"),
    ("Congo alone is ISO's Congo", "Congo", "CG"),
    ("Soviet Union", "Soviet Union", "SUHH"),
    ("USSR", "USSR", "SUHH"),
    ("Yugoslavia", "Yugoslavia", "YUCS"),
    ("Czechoslovakia", "Czechoslovakia", "CSHH"),
    ("East Germany", "East Germany", "DDDE"),
    ("Zaire is not its successor", "Zaire", "ZRCD"),
    ("Rhodesia is not its successor", "Rhodesia", "RHZW"),
    ("North Vietnam's full name is not Vietnam", "Viet-Nam, Democratic Republic of", "VDVN"),
    ("Korea alone may be either and is unknown", "Korea", "KOREA"),
    ("a point does not make Korea less ambiguous", "Korea.", "KOREA."),
    ("a British subject is no British citizen", "British subject", "BRITISH SUBJECT"),
    ("a union republic is not its successor", "Ukrainian SSR", "UKRAINIAN SSR"),
    ("Crimea is no country", "Crimea", "CRIMEA"),
    ("Scotland is no country", "Scotland", "SCOTLAND"),
    ("a region's code is no country", "UA-43", "UA-43"),
    ("a region's invented code is no country", "UA-CRI", "UA-CRI"),
    ("the European Union is no country", "European Union", "EUROPEAN UNION"),
    ("EU is no country", "EU", "EU"),
    ("ZZ is no country", "ZZ", "ZZ"),
    ("two letters are never a name", "TP.", "TP."),
    ("padding does not make a name of one letter", "Y!!!!!!", "Y!!!!!!"),
    ("an unknown three-letter code is not guessed", "DEV", "DEV"),
    ("an unknown four-letter text is not guessed", "iron", "IRON"),
    ("a near miss is not guessed", "Germny", "GERMNY"),
    ("a sentence is not searched for a country", "not Germany", "NOT GERMANY"),
    ("inner blanks of an unknown text are kept", "no  such", "NO  SUCH"),
    ("a NUL makes a text unknown", "Germany\0", "GERMANY\0"),
    ("a lone surrogate makes a text unknown", "\ud800", "\ud800"),
    ("a long text is clipped", "x" * 1_000_000, "X" * 100),
    ("a letter that grows in capitals is clipped after", "ß" * 99, "S" * 100),
    ("a long text never ends as a code", "RU" + " " * 200 + "x", "RU" + "_" * 98),
    (
        "a long text with an article never ends as a name",
        "The Germany" + "!" * 200,
        "THE GERMANY" + "!" * 89,
    ),
    ("a long text never ends as a name", "Germany" + "!" * 200, "GERMANY" + "!" * 93),
]

REGIONS = [
    ("no text is no region", None, None),
    ("a blank text is no region", "  ", None),
    ("a region in capitals, stripped", " ua-43\n", "UA-43"),
    ("a country is left as it is", "ua", "UA"),
]


def ids(cases: list[tuple[str, str | None, str | None]]) -> list[str]:
    return [sentence for sentence, _, _ in cases]


def rows(*kinds: str) -> list[dict[str, str]]:
    with JURISDICTIONS.open(encoding="utf-8", newline="") as file:
        found = [row for row in csv.DictReader(file) if not kinds or row["kind"] in kinds]
    assert found
    return found


@pytest.mark.parametrize(("_sentence", "text", "expected"), CASES, ids=ids(CASES))
def test_normalise(_sentence: str, text: str | None, expected: str | None) -> None:
    assert expected == normalise(text)


@pytest.mark.parametrize(("_sentence", "text", "expected"), REGIONS, ids=ids(REGIONS))
def test_normalise_region(_sentence: str, text: str | None, expected: str | None) -> None:
    assert expected == normalise_region(text)


@given(st.text(alphabet=st.characters(exclude_categories=()), max_size=250))
@example("ŉ" * 60)
@example("Germany" + " " * 50 + "!" * 60)
@example("Germany" + " " * 93 + "x")
@example("DE" + " " * 150 + "x")
def test_normalise_is_total_and_a_second_time_changes_nothing(text: str) -> None:
    once = normalise(text)
    assert once == normalise(once)
    assert once is None or 0 < len(once) <= LONGEST
    assert normalise_region(text) == normalise_region(normalise_region(text))


@given(st.text(alphabet="ABCDEFGHIJKLMNOPQRSTUVWXYZ", min_size=2, max_size=2))
def test_two_letters_are_a_code_or_stay(text: str) -> None:
    known = {"UK": "GB", "EL": "GR", "CS": "CSXX"}
    past = {country.alpha_2: country.alpha_4 for country in pycountry.historic_countries}
    assert normalise(text) == (text if text in CURRENT else (past | known).get(text, text))


@pytest.mark.parametrize("name", ["name", "official_name", "common_name"])
def test_every_name_of_a_current_country_is_known(name: str) -> None:
    for country in pycountry.countries:
        assert country.alpha_2 == normalise(getattr(country, name, country.name))


def test_every_withdrawn_country_has_its_codes_and_its_name() -> None:
    taken = CURRENT | {country.alpha_3 for country in pycountry.countries} | {"CS"}
    for country in pycountry.historic_countries:
        codes = {country.alpha_2, country.alpha_3, country.alpha_4} - taken
        assert {country.alpha_4} == {normalise(code) for code in codes}
        assert normalise(country.name) == ("TL" if country.alpha_4 == "TPTL" else country.alpha_4)


def test_every_common_english_name_is_known() -> None:
    for code, name in Locale("en").territories.items():
        if code in CURRENT:
            assert code == normalise(name)


def test_every_code_and_country_name_of_the_data_set_is_known() -> None:
    for row in rows("country", "travel_document", "withdrawn"):
        assert row["code"] == normalise(row["code"])
    for row in rows("country"):
        assert row["code"] == normalise(row["name"])
        assert normalise(row["alpha3"]) == (row["code"] if row["alpha3"] else None)
    for row in rows("region"):
        assert row["code"] == normalise_region(row["code"])


def test_the_data_set_has_a_row_for_every_country_and_for_none_twice() -> None:
    codes = [row["code"] for row in rows()]
    assert list(rows()[0]) == COLUMNS
    assert len(codes) == len(set(codes))
    assert {row["code"] for row in rows("country")} == CURRENT
    assert {row["code"] for row in rows("withdrawn")} == WITHDRAWN
    assert {row["code"] for row in rows("travel_document")} == {"XXA", "XXB", "XXC", "XXX"}
    assert {row["code"] for row in rows("region")} == {"UA-43", "UA-40", "UA-14", "UA-09"}


def test_only_a_listed_country_has_groups_and_they_are_known_ones() -> None:
    for row in rows():
        assert bool(row["groups"]) == (row["treatment"] == "listed")
        assert set(row["groups"].split()) <= GROUPS


def test_a_country_inherits_from_a_listed_one() -> None:
    listed = {row["code"] for row in rows() if row["treatment"] == "listed"}
    heirs = {row["code"]: row["inherits"] for row in rows() if row["inherits"]}
    territories = dict.fromkeys(["PR", "GU", "AS", "VI", "MP", "UM"], "US")
    assert heirs == {"HK": "CN", "KY": "GB", "LI": "CH"} | territories
    assert set(heirs.values()) <= listed
    assert set(heirs) == {row["code"] for row in rows() if row["treatment"] == "inherits"}
