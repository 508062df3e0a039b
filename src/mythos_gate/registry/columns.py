"""How a field is read: from the text that somebody wrote to a value, or to what is wrong and how to mend it. Pure."""

import re
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from enum import StrEnum
from typing import Any

import pycountry

from mythos_gate.countries import normalise
from mythos_gate.registry.kind import LONGEST_CELL, Bad, Clock, Country, Parser

ANYWHERE = "*"  # among allowed countries
LONGEST_NAME = 128
LONGEST_LIST = 100_000

NAME = re.compile(r"[A-Za-z0-9._@+-]+")
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
REFERENCE = re.compile(rf"({SLUG.pattern}/)?{NAME.pattern}")
GATES_OWN = re.compile(r"[a-z]{3}_[0-9a-f]{32}")
FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)", re.ASCII)
DAY = re.compile(r"\d{4}-\d\d-\d\d", re.ASCII)
RELATIVE = re.compile(r"now(?:([+-])(\d{1,6})([dhm]))?", re.IGNORECASE | re.ASCII)
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
PERCENT = re.compile(r"\d{1,3}([.,]\d{1,6})?", re.ASCII)
VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})", re.ASCII)
GROUP = re.compile(r"[A-E](:[1-9])?")
COUNTRIES = frozenset(country.alpha_2 for country in pycountry.countries) | {"XK"}


def text(value: str, _: Clock) -> str:
    return value


def label(value: str, _: Clock) -> str:
    """A short text: the number of an instrument or an incident."""
    if len(value) > LONGEST_NAME:
        raise Bad(f"is longer than {LONGEST_NAME} characters", "shorten it")
    return value


def name(value: str, clock: Clock) -> str:
    """An id that somebody else gives: of a person, an agent, a capability."""
    return _no_id(_matching(NAME, label(value, clock), "use letters, digits and . _ @ + - only"))


def slug(value: str, _: Clock) -> str:
    remedy = "use 1 to 63 lower-case letters, digits and . _ -, the first a letter or digit"
    return _no_id(_matching(SLUG, value, remedy))


def reference(value: str, _: Clock) -> str:
    """A name that may say of which organization: `acme/p-17`."""
    remedy = "use a name, or ORGANIZATION/EXTERNAL_ID"
    return _matching(REFERENCE, value if len(value) <= LONGEST_NAME + 64 else "", remedy)


def _no_id(value: str) -> str:
    """What looks like an id of the gate's own would be taken for one."""
    if GATES_OWN.fullmatch(value):
        raise Bad("looks like an id of the gate's own", "give the name by which people know it")
    return value


def _matching(pattern: re.Pattern[str], value: str, remedy: str) -> str:
    if not pattern.fullmatch(value):
        raise Bad("cannot be used as a name here", remedy)
    return value


def email(value: str, _: Clock) -> str:
    if not re.fullmatch(r"[^@\s]+@[^@\s]+", value):
        raise Bad("is no e-mail address", "use name@example.com")
    return value


def flag(value: str, _: Clock) -> bool:
    if value.lower() not in FLAGS:
        raise Bad("is neither yes nor no", "use yes, no, true, false, 1 or 0")
    return FLAGS[value.lower()]


def count(value: str, _: Clock) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", value):
        raise Bad("is no whole number from 0", "use digits only, at most nine")
    return int(value)


def percent(value: str, _: Clock) -> Decimal:
    number = Decimal(value.replace(",", ".")) if PERCENT.fullmatch(value) else Decimal(0)
    if not 0 < number <= 100:
        raise Bad("is no percentage", "use a number above 0, at most 100")
    return number


def sha256(value: str, _: Clock) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", value.lower()):
        raise Bad("is no SHA-256", "use 64 hexadecimal digits")
    return value.lower()


def version(value: str, _: Clock) -> str:
    if VERSION.fullmatch(value):
        return value
    major_minor = ".".join(value.split(".")[:2])
    longer = VERSION.fullmatch(major_minor)
    remedy = f"use {major_minor}, which names every {major_minor}.x" if longer else "use MAJOR.MINOR, like 5.1"
    raise Bad("is no major.minor version", remedy)


def group(value: str, _: Clock) -> str:
    """A BIS country group."""
    if not GROUP.fullmatch(value.upper()):
        raise Bad("is no country group", "use a group like D:5 or E:1")
    return value.upper()


def time(value: str, clock: Clock) -> datetime:
    """RFC 3339 with an offset, a date (midnight UTC), or relative to now where that is allowed."""
    relative = RELATIVE.fullmatch(value)
    if relative and not clock.relative:
        raise Bad("is a relative time", "use a date like 2026-01-31")
    try:
        if relative:
            sign, number, unit = relative.groups(default="")
            return clock.now + (UNITS[unit.lower()] * int(sign + number) if unit else timedelta())
        if DAY.fullmatch(value):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        if TIME.fullmatch(value):
            return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise Bad("is no time", "use a date like 2026-01-31, or 2026-01-31T18:00:00Z with an offset")


def day(value: str, _: Clock) -> date:
    try:
        if DAY.fullmatch(value):
            return date.fromisoformat(value)
    except ValueError:
        pass
    raise Bad("is no date", "use a date like 2026-01-31")


@dataclass(frozen=True, slots=True)
class one_of:  # noqa: N801  read like the other parsers
    """One of a closed vocabulary, in any case."""

    vocabulary: type[StrEnum]

    def __call__(self, value: str, _: Clock) -> StrEnum:
        try:
            return self.vocabulary(value.lower())
        except ValueError:
            raise Bad("is not one of the values", f"use {', '.join(self.vocabulary)}") from None


@dataclass(frozen=True, slots=True)
class many:  # noqa: N801
    """A list, separated by `;` or `|`; what is named twice counts once."""

    parse: Parser

    @property
    def longest(self) -> int:
        """Characters of the whole list; hundreds of organizations may be exempt."""
        return LONGEST_LIST

    def __call__(self, value: str, clock: Clock) -> list[Any]:
        found = []
        for entry in filter(None, (part.strip() for part in re.split("[;|]", value))):
            if len(entry) > LONGEST_CELL:
                raise Bad(f"has an entry of more than {LONGEST_CELL} characters", "shorten it")
            try:
                found.append(self.parse(entry, clock))
            except Bad as bad:
                raise Bad(bad.what, bad.remedy, entry) from None
        return list(dict.fromkeys(found))


def country(value: str, _: Clock) -> Country:
    """A country of today."""
    code = normalise(value)
    if code not in COUNTRIES:
        raise Bad("is no country", "use an ISO 3166 code or an English name")
    return Country(str(code), value)


def any_country(value: str, _: Clock) -> Country:
    """Whatever was written: what is no country that we know denies later."""
    return Country(normalise(value) or value, value)


def allowed_country(value: str, clock: Clock) -> str:
    return value if value == ANYWHERE else country(value, clock).code


# --- the same fields in JSON ----------------------------------------------------------------------------------

SCHEMAS: dict[Any, dict[str, Any]] = {
    flag: {"type": "boolean"},
    count: {"type": "integer", "minimum": 0},
    time: {"type": "string", "format": "date-time"},
}


def schema(parse: Parser) -> dict[str, Any]:
    """The JSON schema of a field."""
    match parse:
        case one_of(vocabulary):
            return {"type": "string", "enum": [value.value for value in vocabulary]}
        case many(entry):
            return {"type": "array", "items": schema(entry)}
        case _:
            return SCHEMAS.get(parse, {"type": "string"})


def as_text(parse: Parser, value: Any) -> str:
    """A JSON value as the text that the field is read from; null is the empty text."""
    match value, schema(parse)["type"]:
        case None, _:
            return ""
        case ((True | False), "boolean"):
            return "yes" if value else "no"
        case int(), "integer" if not isinstance(value, bool):
            return str(value)
        case str(), "string":
            return value
        case list(), "array" if all(isinstance(each, str) and not re.search("[;|]", each) for each in value):
            return ";".join(value)
        case _, kind:
            raise Bad("is of another type", f"send {'an' if kind in {'array', 'integer'} else 'a'} {kind}")
