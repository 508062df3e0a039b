"""Country codes and names at intake: one spelling for each country."""

import unicodedata
from collections.abc import Iterator
from functools import lru_cache

import pycountry
from babel import Locale

_LONGEST = 100

# Matched as they are: among the names an accent is dropped, and two letters with one are no code.
_OTHER_CODES = {"XK": "XK", "UK": "GB", "EL": "GR", "THE UK": "GB", "THE US": "US"}

# What ISO and CLDR lack. Nothing here that two countries share (Korea, Virgin Islands), no part of
# a country (Scotland), and no vanished country for its successor.
_ALIASES = {
    "AE": "UAE; U.A.E.; Emirates",
    "BA": "Bosnia; Bosnia-Herzegovina",
    "CD": "DRC; DR Congo; Democratic Republic of Congo; Congo-Kinshasa; Congo (Kinshasa)",
    "CG": "Republic of Congo; Congo-Brazzaville; Congo (Brazzaville)",
    "CI": "Ivory Coast",
    "CN": "PRC; P.R.C.; P.R. China; PR China; Mainland China",
    "CV": "Republic of Cape Verde",
    "CZ": "Czech Republic",
    "DE": "West Germany",
    "GB": "U.K.; Great Britain; Britain",
    "GW": "Guinea Bissau",
    "IE": "Republic of Ireland",
    "KP": "DPRK; D.P.R.K.",
    "KR": "ROK",
    "LA": "Lao PDR",
    "MK": "Macedonia; Republic of Macedonia; FYROM; Former Yugoslav Republic of Macedonia",
    "MM": "Burma",
    "MO": "Macau",
    "NL": "Holland",
    "PS": "Palestine; Palestinian Territory; Occupied Palestinian Territory",
    "SZ": "Swaziland; Kingdom of Swaziland",
    "TL": "East Timor; Timor Leste",
    "TR": "Turkey; Republic of Turkey",
    "TW": "Republic of China",
    "US": "U.S.; U.S.A.; America",
    "VA": "Vatican; Holy See; Vatican City State",
    "VI": "US Virgin Islands",
    "VN": "Viet-Nam; Socialist Republic of Vietnam",
    "XK": "Republic of Kosovo",
    "CSHH": "Czechoslovakia",
    "DDDE": "East Germany; GDR",
    "HVBF": "Upper Volta",
    "RHZW": "Rhodesia",
    "SUHH": "Soviet Union; USSR; U.S.S.R.; Union of Soviet Socialist Republics",
    "VDVN": "North Vietnam; Democratic Republic of Vietnam",
    "YDYE": "South Yemen; Democratic Yemen",
    "YUCS": "Yugoslavia; Federal Republic of Yugoslavia; Socialist Federal Republic of Yugoslavia",
    "ZRCD": "Zaire",
}


def normalise(text: str | None) -> str | None:
    """Return an alpha-2 code, a withdrawn four-letter code, or the upper-cased text.

    None for a missing or blank text. What is no country that we know stays what it is: it has no
    row in the data set, and so is unknown downstream. Idempotent; raises for no string.
    """
    code = _clean(text)
    # At the limit counts as clipped: what was cut there is as unknown the second time.
    return _resolve(code) if code and len(code) < _LONGEST else code


def normalise_region(text: str | None) -> str | None:
    """Return an ISO 3166-2 code in capitals, or None for a missing or blank text."""
    return _clean(text)


def _clean(text: str | None) -> str | None:
    """Strip, upper-case and clip, so that a second time changes nothing."""
    code = (text or "").strip()[:_LONGEST].upper()
    if len(code) < _LONGEST:
        return code or None
    # Filled to its full length, or stripping it once more could leave a real code ("RU ... x").
    return code[:_LONGEST].rstrip().ljust(_LONGEST, "_")


# Behind the clip: a cache keyed by the caller's own text could be made to hold gigabytes.
@lru_cache(maxsize=4096)
def _resolve(code: str) -> str:
    return _CODES.get(code) or _NAMES.get(_key(code)) or code


def _key(name: str) -> str:
    """Return what all spellings of one name have in common ("Korea, Republic of" too)."""
    letters = unicodedata.normalize("NFKD", name.replace("\u2019", "'").replace("&", " and "))
    plain = "".join(letter for letter in letters if not unicodedata.combining(letter))
    first, _, rest = plain.upper().partition(",")
    words = f"{rest} {first}".split()
    return " ".join("SAINT" if w in {"ST", "ST."} else w for w in words).removeprefix("THE ")


def _codes() -> Iterator[tuple[str, str]]:
    """Give every code, the more binding later: of two vanished countries the later one (CS)."""
    for past in sorted(pycountry.historic_countries, key=lambda country: country.withdrawal_date):
        yield from ((code, past.alpha_4) for code in (past.alpha_2, past.alpha_3, past.alpha_4))
    for country in pycountry.countries:
        yield from ((code, country.alpha_2) for code in (country.alpha_2, country.alpha_3))
    yield from _OTHER_CODES.items()


def _names() -> Iterator[tuple[str, str]]:
    """Give every name with its code, the more binding later."""
    yield from ((past.name, past.alpha_4) for past in pycountry.historic_countries)
    for code, name in Locale("en").territories.items():
        if _CODES.get(code) == code:  # regions and unions have codes there too (419, EU)
            yield name, code
    for country in pycountry.countries:
        for kind in ("name", "official_name", "common_name"):
            yield getattr(country, kind, country.name), country.alpha_2
    for code, names in _ALIASES.items():
        yield from ((name, code) for name in names.split("; "))


_CODES = dict(_codes())
_NAMES = {_key(name): code for name, code in _names()}
