"""CSV files of the registry: bytes to rows, cells to values, and what a kind of file is made of. Pure."""

import csv
import io
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from difflib import get_close_matches
from enum import StrEnum
from typing import Any, TypeAlias

import pycountry
from sqlalchemy import Table

from mythos_gate.countries import normalise
from mythos_gate.errors import Invalid
from mythos_gate.registry.change import Change

MOST_ROWS = 200_000
MOST_PROBLEMS = 100
LONGEST_CELL = 2_000
LONGEST_NAME = 128
SHOWN = 60

Record: TypeAlias = dict[str, Any]  # a row of a table, by column

# --- what can be wrong ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong where, and how to mend it. `value` is None where it must not be shown."""

    line: int | None
    column: str | None
    value: str | None
    what: str
    remedy: str

    @property
    def place(self) -> str:
        parts = [f"line {self.line}" if self.line else "", f"column {self.column}" if self.column else ""]
        return ", ".join(part for part in parts if part)

    def __str__(self) -> str:
        shown = f"'{self.value}' " if self.value else ""
        return f"{self.place}: {shown}{self.what}: {self.remedy}".removeprefix(": ")


class InvalidFile(Invalid):
    """A file of which nothing was taken, with all of its problems (at most 100)."""

    def __init__(self, kind: str, problems: Sequence[Problem]) -> None:
        self.kind = kind
        self.problems = tuple(sorted(problems, key=lambda problem: problem.line or 0))
        super().__init__("\n".join(f"{kind}.csv{' ' if each.place else ': '}{each}" for each in self.problems))


class Bad(Exception):
    """A cell that cannot be read; `value` is the entry of a list that is at fault."""

    def __init__(self, what: str, remedy: str, value: str | None = None) -> None:
        super().__init__(what)
        self.what, self.remedy, self.value = what, remedy, value


@dataclass(slots=True)
class Problems:
    """Collects what is wrong with one file; knows what must not be shown."""

    kind: "Kind"
    found: list[Problem] = field(default_factory=list)

    def add(self, line: int | None, column: str | None, what: str, remedy: str, value: str | None = None) -> None:
        known = self.kind.columns.get(column or "")
        # An e-mail address can stand in any column.
        hidden = bool(value) and ((known is not None and known.private) or "@" in (value or ""))
        shown = None if hidden or not value else _shown(value)
        self.found.append(Problem(line, column, shown, f"this value {what}" if hidden else what, remedy))
        if len(self.found) == MOST_PROBLEMS:
            self.end()

    def end(self) -> None:
        """Raise if anything was found."""
        if self.found:
            raise InvalidFile(self.kind.name, self.found)


def _shown(value: str) -> str:
    short = value if len(value) <= SHOWN else value[: SHOWN - 1] + "…"
    return "".join(letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in short)


# --- what a kind of file is made of ---------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Clock:
    """The time of the import, and whether cells may be relative to it."""

    now: datetime
    relative: bool = False


@dataclass(slots=True)
class Row:
    """One line: the cells by column, parsed (`cells`) and as typed (`texts`); `id` once its record is known."""

    line: int
    texts: dict[str, str]
    cells: dict[str, Any] = field(default_factory=dict)
    sound: bool = True
    id: str = ""

    def get(self, column: str) -> Any:
        return self.cells.get(column)


Parser: TypeAlias = Callable[[str, Clock], Any]
# What a check finds: the column, what is wrong, the remedy.
Findings: TypeAlias = Iterator[tuple[str, str, str]]


@dataclass(frozen=True, slots=True)
class Column:
    """How a cell is read and where it goes."""

    parse: Parser
    required: bool = False  # the cell must not be empty
    default: Any = None  # what an empty cell means, and a new record without this column
    into: str | None = None  # the table's column, where it has another name
    to: str | Callable[[Row], str | None] | None = None  # the table that it names a record of
    private: bool = False  # never shown in an error
    keeps: bool = False  # an empty cell leaves what is stored

    def spread(self, name: str, value: Any) -> Record:
        """The table's columns that a value fills; of a country the code and the text as typed."""
        into = self.into or name
        code, typed = (value.code, value.text) if isinstance(value, Country) else (value, None)
        return {into: code, f"{into}_text": typed}


def _always(_: Row) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Part:
    """A table that a kind fills. Without `records`, a cell goes to the column of its name, if the table has it."""

    table: Table
    key: tuple[str, ...]  # what makes two records the same; the first column is the owner
    prefix: str | None = None  # of the ids that the server makes
    records: Callable[[Row], list[Record] | None] | None = None  # None: the file says nothing about them
    whole: bool = False  # what an owner has on record and the file does not name is deleted
    among: Mapping[str, object] = field(default_factory=dict)  # the records on file that are looked at
    when: Callable[[Row], bool] = _always  # whether a row speaks of this table
    creates: Callable[[Row], bool] = _always


After: TypeAlias = Mapping[str, list[Record]]  # what one row's records will be, by table
Written: TypeAlias = Mapping[str, Sequence[Record]]  # by table: what a file created, changed or removed


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of file: its columns, what names a row, and the tables that it fills, parents first."""

    name: str
    columns: Mapping[str, Column]
    key: tuple[str, ...]
    parts: tuple[Part, ...] = ()
    tidy: Callable[[Row], None] | None = None
    check: Callable[[Row, Record | None, After], Findings] | None = None  # the record before, and all after
    after: Callable[[Change, Written], Awaitable[None]] | None = None

    def must_have(self, name: str) -> bool:
        column = self.columns[name]
        return name in self.key or (column.required and column.default is None)


# --- bytes to rows --------------------------------------------------------------------------------------------


def read(data: bytes, kind: Kind, clock: Clock, problems: Problems) -> list[Row]:
    """The rows of a file. What is wrong goes into `problems`; rows with a bad cell are not `sound`."""
    text = _decode(data, problems)
    records = _records(text, _delimiter(text, kind), problems)
    names = _header(records, kind, problems)
    rows: list[Row] = []
    for line, cells in records:
        if len(rows) == MOST_ROWS:
            problems.add(line, None, f"a file has at most {MOST_ROWS} rows", "split it")
            break
        if len(cells) == len(names):
            rows.append(_row(line, dict(zip(names, cells, strict=True)), kind, clock, problems))
        else:
            what = f"this row has {len(cells)} cells, the header {len(names)}"
            problems.add(line, None, what, "put cells that contain the delimiter in quotes, or separate lists by |")
    _unique(rows, kind, problems)
    return rows


def _decode(data: bytes, problems: Problems) -> str:
    utf16 = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    encoding, name = ("utf-16", "UTF-16") if utf16 else ("utf-8-sig", "UTF-8")
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        problems.add(line, None, f"the file is not {name}, or is damaged", "save it as CSV UTF-8")
        problems.end()
    if not utf16 and b"\0" in data[:4]:
        problems.add(None, None, "the file looks like UTF-16 without a byte order mark", "save it as CSV UTF-8")
        problems.end()
    return text


def _delimiter(text: str, kind: Kind) -> str:
    """Of comma, semicolon and tab the one by which the header has most names that we know."""
    header = re.split(r"[\r\n]", text.lstrip("\r\n"), maxsplit=1)[0][:LONGEST_CELL]

    def known(delimiter: str) -> int:
        names = next(csv.reader([header], delimiter=delimiter, skipinitialspace=True), [])
        return sum(_column_name(name) in kind.columns for name in names)

    return max(",;\t", key=known)


def _column_name(text: str) -> str:
    return re.sub(r"[\s-]+", "_", text.strip().lower())


def _records(text: str, delimiter: str, problems: Problems) -> Iterator[tuple[int, list[str]]]:
    """Every row that is not blank, with the line at which it begins."""
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True, skipinitialspace=True)
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error:
            problems.add(line, None, "the quotes of this row do not match", "close every quote; double one inside")
            return
        if any(cell.strip() for cell in cells):
            yield line, cells


def _header(records: Iterator[tuple[int, list[str]]], kind: Kind, problems: Problems) -> list[str]:
    line, cells = next(records, (1, []))
    names = [_column_name(cell) for cell in cells]
    listed = ", ".join(kind.columns)
    if not set(names) & set(kind.columns):
        # Its cells may be somebody's data: none is shown.
        problems.add(line, None, "the first line does not name the columns", f"begin with a header line: {listed}")
        problems.end()
    for at, (name, cell) in enumerate(zip(names, cells, strict=True)):
        if name not in kind.columns:
            near = get_close_matches(name, kind.columns, 1, 0.5)
            remedy = f"did you mean {near[0]}?" if near else f"the columns are {listed}"
            problems.add(line, None, "is no column of this file", remedy, cell.strip() or "(empty)")
        elif name in names[:at]:
            problems.add(line, name, "this column is there twice", "remove one of the two")
    for name in kind.columns:
        if kind.must_have(name) and name not in names:
            problems.add(line, name, "this column is missing", "add it")
    problems.end()
    return names


def _row(line: int, texts: dict[str, str], kind: Kind, clock: Clock, problems: Problems) -> Row:
    row = Row(line, texts)
    for name, text in texts.items():
        column = kind.columns[name]
        try:
            value = _cell(column, text, clock)
        except Bad as bad:
            problems.add(line, name, bad.what, bad.remedy, bad.value or text.strip())
            row.sound = False
            continue
        if value is not None:
            row.cells[name] = value
        elif not column.keeps:
            row.cells[name] = column.default
    if kind.tidy and row.sound:
        kind.tidy(row)
    return row


CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


def _cell(column: Column, text: str, clock: Clock) -> Any:
    """The value, or None for an empty cell."""
    if CONTROL.search(text):
        raise Bad("contains a control character or a line break", "remove it")
    text = text.strip()
    if len(text) > LONGEST_CELL:
        raise Bad(f"is longer than {LONGEST_CELL} characters", "shorten it")
    value = column.parse(text, clock) if text else None
    if value is None or value == []:
        if column.required:
            raise Bad("must not be empty", "fill it in")
        return None
    return value


def _unique(rows: list[Row], kind: Kind, problems: Problems) -> None:
    """The same key twice is an error, whichever of the two was meant."""
    first: dict[tuple[Any, ...], int] = {}
    for row in rows:
        if not all(name in row.cells for name in kind.key):
            continue
        key = tuple(row.get(name) for name in kind.key)
        before = first.setdefault(key, row.line)
        if before != row.line:
            private = any(kind.columns[name].private for name in kind.key)
            value = None if private else "/".join(str(part) for part in key if part)
            what = f"{'' if value else 'this row '}is in line {before} already"
            problems.add(row.line, kind.key[-1], what, "keep one of the two", value)


# --- cells to values ------------------------------------------------------------------------------------------

NAME = re.compile(r"[A-Za-z0-9._@+-]+")
SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")
REFERENCE = re.compile(rf"({SLUG.pattern}/)?{NAME.pattern}")
FLAGS = {"yes": True, "true": True, "1": True, "no": False, "false": False, "0": False}
TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)")
DAY = re.compile(r"\d{4}-\d\d-\d\d")
RELATIVE = re.compile(r"now(?:([+-])(\d{1,6})([dhm]))?", re.IGNORECASE)
UNITS = {"d": timedelta(days=1), "h": timedelta(hours=1), "m": timedelta(minutes=1)}
PERCENT = re.compile(r"\d{1,3}([.,]\d{1,6})?")
VERSION = re.compile(r"(0|[1-9]\d{0,5})\.(0|[1-9]\d{0,5})")
GROUP = re.compile(r"[A-E](:[1-9])?")
COUNTRIES = frozenset(country.alpha_2 for country in pycountry.countries) | {"XK"}


@dataclass(frozen=True, slots=True)
class Country:
    """A country as normalised, and as typed."""

    code: str
    text: str


def text(value: str, _: Clock) -> str:
    return value


def label(value: str, _: Clock) -> str:
    """A short text: the number of an instrument or an incident."""
    if len(value) > LONGEST_NAME:
        raise Bad(f"is longer than {LONGEST_NAME} characters", "shorten it")
    return value


def name(value: str, clock: Clock) -> str:
    """An id that somebody else gives: of a person, an agent, a capability."""
    return _matching(NAME, label(value, clock), "use letters, digits and . _ @ + - only")


def slug(value: str, _: Clock) -> str:
    remedy = "use 1 to 63 lower-case letters, digits and . _ -, the first a letter or digit"
    return _matching(SLUG, value, remedy)


def reference(value: str, _: Clock) -> str:
    """A name that may say of which organization: `acme/p-17`."""
    remedy = "use a name, or ORGANIZATION/EXTERNAL_ID"
    return _matching(REFERENCE, value if len(value) <= LONGEST_NAME + 64 else "", remedy)


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


def one_of(vocabulary: type[StrEnum]) -> Parser:
    def parse(value: str, _: Clock) -> StrEnum:
        try:
            return vocabulary(value.lower())
        except ValueError:
            raise Bad("is not one of the values", f"use {', '.join(vocabulary)}") from None

    return parse


def many(parse: Parser) -> Parser:
    """A list, separated by `;` or `|`; what is named twice counts once."""

    def entries(value: str, clock: Clock) -> list[Any]:
        found = []
        for entry in filter(None, (part.strip() for part in re.split("[;|]", value))):
            try:
                found.append(parse(entry, clock))
            except Bad as bad:
                raise Bad(bad.what, bad.remedy, entry) from None
        return list(dict.fromkeys(found))

    return entries


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
    return value if value == "*" else country(value, clock).code
