"""What a kind of record is made of: its fields, the tables that it fills, and what can be wrong with it. Pure."""

import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from sqlalchemy import Table
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Invalid
from mythos_gate.registry.change import Change
from mythos_gate.registry.narrowing import Narrows, never
from mythos_gate.terms import Permission

MOST_PROBLEMS = 100
SHOWN = 60
LONGEST_CELL = 2_000
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")

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


@dataclass(frozen=True, slots=True)
class Country:
    """A country as normalised, and as typed."""

    code: str
    text: str


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
    by: Permission = Permission.ADMINISTER  # who may assert it over REST
    narrows: Narrows = never  # whether a change of it takes access away at most

    def read(self, text: str, clock: Clock) -> Any:
        """The value, or None for an empty cell. `Bad` if it cannot be one."""
        if CONTROL.search(text):
            raise Bad("contains a control character or a line break", "remove it")
        text = text.strip()
        longest = getattr(self.parse, "longest", LONGEST_CELL)  # of a list each entry is looked at
        if len(text) > longest:
            raise Bad(f"is longer than {longest} characters", "shorten it")
        value = self.parse(text, clock) if text else None
        if value is None or value == []:
            if self.required:
                raise Bad("must not be empty", "fill it in")
            return None
        return value

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
    before: Callable[[AsyncConnection, list[Row], Problems], Awaitable[None]] | None = None  # names are looked up
    check: Callable[[Row, Record | None, After], Findings] | None = None  # the record before, and all after
    after: Callable[[Change, Written], Awaitable[None]] | None = None
    refused: frozenset[str] = frozenset()  # columns that whoever sends this file may not assert

    @property
    def names(self) -> list[str]:
        """The columns that a file may have."""
        return [name for name in self.columns if name not in self.refused]

    def must_have(self, name: str) -> bool:
        column = self.columns[name]
        return (name in self.key or column.required) and column.default is None


def fill(line: int, texts: dict[str, str], kind: Kind, clock: Clock, problems: Problems) -> Row:
    """A row from what was written. What is wrong goes into `problems`, and the row is not `sound`."""
    row = Row(line, texts)
    for name, text in texts.items():
        column = kind.columns[name]
        try:
            value = column.read(text, clock)
        except Bad as bad:
            problems.add(line, name, bad.what, bad.remedy, bad.value or text.strip())
            row.sound = False
            continue
        if value is not None:
            row.cells[name] = value
        elif not column.keeps:
            row.cells[name] = column.default
    for name in kind.key:
        if name not in texts and kind.columns[name].default is not None:
            row.cells[name] = kind.columns[name].default
    if kind.tidy and row.sound:
        kind.tidy(row)
    return row


def unique(rows: list[Row], kind: Kind, problems: Problems) -> None:
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
