"""The import of CSV files: a file is taken as a whole or not at all, and what is as it was is not touched."""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Any, TypeAlias, TypeVar, cast
from uuid import uuid4

import orjson
from sqlalchemy import ARRAY, ColumnElement, Table, Text, any_, literal, select
from sqlalchemy import text as sql
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.errors import Conflict, Invalid
from mythos_gate.registry import csvfile
from mythos_gate.registry.agents import AGENTS
from mythos_gate.registry.authorities import AUTHORITIES, MODELS
from mythos_gate.registry.break_glass import BREAK_GLASS
from mythos_gate.registry.change import Change
from mythos_gate.registry.directives import DIRECTIVES
from mythos_gate.registry.endpoints import ENDPOINTS
from mythos_gate.registry.grants import GRANTS
from mythos_gate.registry.kind import Clock, Kind, Part, Problems, Record, Row
from mythos_gate.registry.organizations import ORGANIZATIONS
from mythos_gate.registry.ownership import OWNERSHIPS
from mythos_gate.registry.people import PEOPLE
from mythos_gate.registry.screenings import SCREENINGS
from mythos_gate.registry.stops import STOPS
from mythos_gate.registry.switches import SWITCHES

# In the order in which a fresh registry takes them. Jurisdictions are a data set: `jurisdictions.load_data_set`.
KINDS = {
    kind.name: kind
    for kind in (
        AUTHORITIES, MODELS, ORGANIZATIONS, OWNERSHIPS, PEOPLE, AGENTS, ENDPOINTS, GRANTS, DIRECTIVES, SCREENINGS,
        BREAK_GLASS, STOPS, SWITCHES,
    )
}  # fmt: skip
T = TypeVar("T")
Progress: TypeAlias = Callable[[int, int], None]  # records written, of how many
NAMED = 1_000  # records that a log entry names one by one
NAMES_SIZE = 45_000  # bytes of them; an entry has at most 65,535
FEW = 100  # records that are looked up one by one
BATCH = 5_000  # records that one statement writes


def _unseen(_done: int, _total: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True)
class Summary:
    """What a file did. Counted are records: an organization's ownership is one, however many rows it has."""

    kind: str
    rows: int
    created: int
    updated: int
    unchanged: int
    ids: tuple[str, ...]


async def load(
    change: Change, kind: str, data: bytes, *, now: datetime, relative: bool = False, progress: Progress = _unseen
) -> Summary:
    """Take a CSV file into the registry. `InvalidFile` with all of its problems, `Conflict`, or `NotRecorded`.

    With `relative`, times may be given as `now+90d`. The caller commits.
    """
    return (await loaded(change, kind, data, Clock(now, relative), progress))[0]


async def loaded(
    change: Change, kind: str, data: bytes, clock: Clock, progress: Progress = _unseen
) -> "tuple[Summary, Outcome]":
    """As `load`, with what it rests on and has written."""
    if kind not in KINDS:
        raise Invalid(f"'{kind}' is no kind of file: use one of {', '.join(KINDS)}")
    problems = Problems(KINDS[kind])
    rows = await aside(csvfile.read, data, KINDS[kind], clock, problems)
    await lock(change.connection)
    outcome = await take(change, KINDS[kind], rows, problems, progress)
    return report(change, outcome.summary(kind, len(rows))), outcome


async def take(
    change: Change, kind: Kind, rows: list[Row], problems: Problems, progress: Progress = _unseen
) -> "Outcome":
    """Make the registry what the rows say. `InvalidFile` or `Conflict`; then nothing of it may be committed."""
    try:
        return await _take(change, kind, rows, problems, progress)
    except IntegrityError:
        raise Conflict("the registry was changed in the meantime: try again") from None


async def _take(change: Change, kind: Kind, rows: list[Row], problems: Problems, progress: Progress) -> "Outcome":
    connection = change.connection
    if kind.before:
        await kind.before(connection, rows, problems)
    outcome = Outcome(await _resolve(connection, kind, rows, problems))
    sound = [row for row in rows if row.sound]
    plans = outcome.plans = [await _plan(connection, kind, part, sound, outcome) for part in kind.parts]
    await aside(_check, kind, sound, plans, problems)
    problems.end()
    done, total = 0, sum(plan.size for plan in plans)
    progress(done, total)
    for plan in plans:
        async for count in plan.write(connection):
            done += count
            progress(done, total)
    if kind.after:
        written: dict[str, list[Record]] = defaultdict(list)
        for plan in plans:
            written[plan.part.table.name] += plan.written
        await kind.after(change, written)
    return outcome


async def aside(work: Callable[..., T], *arguments: Any) -> T:
    """In a thread: what is made of a large file must not keep the loop from a kill switch."""
    return await asyncio.to_thread(work, *arguments)


async def lock(connection: AsyncConnection, organization: str | None = None) -> None:
    """One import at a time: what it read still holds when it writes; of organizations' own lists one for each."""
    if organization is None:
        await connection.execute(sql("SELECT pg_advisory_xact_lock(hashtext('mythos_gate import'))"))
    else:
        shared = "pg_advisory_xact_lock_shared(hashtext('mythos_gate import'))"
        own = "pg_advisory_xact_lock(hashtext('mythos_gate import'), hashtext(:organization))"
        await connection.execute(sql(f"SELECT {shared}, {own}"), {"organization": organization})
    # What is made of a large file is made between statements.
    await connection.execute(sql("SET LOCAL idle_in_transaction_session_timeout = '120s'"))


def report(change: Change, summary: Summary) -> Summary:
    """Put the summary into the change's log entry."""
    counts = {name: getattr(summary, name) for name in ("kind", "rows", "created", "updated", "unchanged")}
    listed = "\n".join(sorted(summary.ids)).encode()
    if len(summary.ids) <= NAMED and len(listed) <= NAMES_SIZE:
        change.details |= {**counts, "records": sorted(summary.ids)}
    else:
        change.details |= {**counts, "records_sha256": sha256(listed).hexdigest()}
    return summary


# --- names to ids ---------------------------------------------------------------------------------------------

_OF_ORGANIZATION = (
    "SELECT o.slug || '/' || r.external_id, r.id FROM {} r JOIN organizations o ON o.id = r.organization_id"
    " WHERE o.slug = ANY (:organizations) AND r.external_id = ANY (:locals)"
)
LOOKUPS = {
    "authorities": "SELECT slug, id FROM authorities WHERE slug = ANY (:names)",
    "models": "SELECT id, id FROM models WHERE id = ANY (:names)",
    "organizations": "SELECT slug, id FROM organizations WHERE slug = ANY (:names)",
    "people": _OF_ORGANIZATION.format("people"),
    "endpoints": _OF_ORGANIZATION.format("endpoints"),
}
ONE = {
    "authorities": "authority",
    "models": "model",
    "organizations": "organization",
    "people": "person",
    "endpoints": "endpoint",
}


async def _resolve(connection: AsyncConnection, kind: Kind, rows: list[Row], problems: Problems) -> "Names":
    """Replace every name of another record by its id."""
    references, wanted = await aside(_all_references, kind, rows)
    known = {table: await _lookup(connection, table, names) for table, names in wanted.items()}
    await aside(_replace, references, known, problems)
    return known


Names: TypeAlias = Mapping[str, Mapping[str, str]]  # ids by table and name
Named: TypeAlias = tuple[Row, str, str, list[str]]  # a column of a row, the table that it names records of, the names


def _all_references(kind: Kind, rows: list[Row]) -> tuple[list[Named], dict[str, set[str]]]:
    """Every reference, and by table the names that are to be looked up."""
    references = [(row, *reference) for row in rows for reference in _references(kind, row) if reference[-1]]
    wanted: dict[str, set[str]] = defaultdict(set)
    for _, _, table, names in references:
        wanted[table].update(names)
    return references, wanted


def _replace(references: list[Named], known: Names, problems: Problems) -> None:
    for row, column, table, names in references:
        ids = [known[table].get(name) for name in names]
        for name, found in zip(names, ids, strict=True):
            if found is None:
                what = f"is no {ONE[table]} on record"
                problems.add(row.line, column, what, f"import {table} first, or correct the name", name)
                row.sound = False
        row.cells[column] = ids if isinstance(row.cells[column], list) else ids[0]


def _references(kind: Kind, row: Row) -> list[tuple[str, str, list[str]]]:
    """The columns of a row that name other records: column, table, names."""
    found = []
    for name, column in kind.columns.items():
        table = column.to(row) if callable(column.to) else column.to
        value = row.get(name)
        if table is not None and value is not None:
            names = value if isinstance(value, list) else [value]
            found.append((name, table, _full_names(row, table, names)))
    return found


def _full_names(row: Row, table: str, names: list[str]) -> list[str]:
    """With the row's organization in front, where a name is one of an organization's own."""
    organization = row.get("organization")
    if table not in {"people", "endpoints"} or any("/" in name for name in names):
        return names
    return [f"{organization}/{name}" for name in names] if organization else names


async def _lookup(connection: AsyncConnection, table: str, names: set[str]) -> Mapping[str, str]:
    split = [name.partition("/") for name in names]
    parameters = {"names": list(names)}
    if ":organizations" in LOOKUPS[table]:
        parameters = {"organizations": list({each[0] for each in split}), "locals": list({each[2] for each in split})}
    found = await connection.execute(sql(LOOKUPS[table]), parameters)
    return {row[0]: row[1] for row in found}


# --- what differs ---------------------------------------------------------------------------------------------

Groups: TypeAlias = dict[tuple[Any, ...], list[Record]]


@dataclass(slots=True)
class Outcome:
    """What becomes of the records that a file is about, and the names that it found them by."""

    names: Names = field(default_factory=dict)
    plans: "list[Plan]" = field(default_factory=list)
    seen: set[str] = field(default_factory=set)
    changed: dict[str, str] = field(default_factory=dict)

    def note(self, name: str, what: str | None) -> str:
        """What was found first holds: what is created is not updated as well."""
        self.seen.add(name)
        if what:
            self.changed.setdefault(name, what)
        return name

    def summary(self, kind: str, rows: int) -> Summary:
        outcomes = list(self.changed.values())
        unchanged = len(self.seen - self.changed.keys())
        created, updated = outcomes.count("created"), outcomes.count("updated")
        return Summary(kind, rows, created, updated, unchanged, tuple(self.changed))


@dataclass(slots=True)
class Plan:
    """What will be written to one table, and, by line, what was there before and will be after."""

    part: Part
    defaults: Record
    by_key: Groups  # what is on record
    by_owner: Groups
    inserts: list[Record] = field(default_factory=list)
    # By what differs: of a record nothing else is written, because somebody may change that in the meantime.
    updates: dict[frozenset[str], list[Record]] = field(default_factory=lambda: defaultdict(list))
    deletes: list[Record] = field(default_factory=list)
    found: list[Record] = field(default_factory=list)  # what the file speaks of, as it was
    before: dict[int, Record] = field(default_factory=dict)
    after: dict[int, list[Record]] = field(default_factory=lambda: defaultdict(list))

    @property
    def written(self) -> list[Record]:
        return [*self.inserts, *(record for records in self.updates.values() for record in records), *self.deletes]

    @property
    def size(self) -> int:
        return len(self.inserts) + len(self.deletes) + sum(len(records) for records in self.updates.values())

    async def write(self, connection: AsyncConnection) -> AsyncIterator[int]:
        """Statement by statement: how many records each has written."""
        async for written in delete(connection, self.part.table, self.deletes):
            yield written
        async for written in insert(connection, self.part.table, self.inserts):
            yield written
        for columns, records in self.updates.items():
            async for written in update(connection, self.part.table, records, columns):
                yield written

    def name(self, record: Record) -> str:
        """The id of a record, or of its owner if it has none."""
        return str(record.get("id") or record[self.part.key[0]])

    def merge(self, row: Row, values: Record, old: Record) -> tuple[Record, bool]:
        """The record as it will be; an update only if anything differs."""
        new = {**old, **values}
        if "status_reason" in old and new["status"] != old["status"]:
            new["status_reason"] = None  # it was the other status's
        for column in [each for each in new if each.endswith("_text")]:
            country = column.removesuffix("_text")
            if new[country] == old[country]:
                new[column] = old[column]  # the same country written otherwise is no change
        differing = frozenset(column for column in new if new[column] != old[column])
        if differing:
            self.updates[differing].append(new)
        self.found.append(old)
        self.before[row.line] = old
        self.after[row.line].append(new)
        return new, bool(differing)

    def create(self, row: Row, values: Record) -> Record:
        new = {**self.defaults, **values}
        if self.part.prefix:
            new["id"] = f"{self.part.prefix}{uuid4().hex}"
        self.inserts.append(new)
        self.after[row.line].append(new)
        return new


async def _plan(connection: AsyncConnection, kind: Kind, part: Part, rows: list[Row], outcome: Outcome) -> Plan:
    """Compare what the rows say with what is on record."""
    spoken, owners = await aside(_all_said, kind, part, rows)
    stored = await _stored(connection, part, owners, [record for _, said in spoken for record in said or ()])
    return await aside(_planned, kind, part, stored, spoken, outcome)


Spoken: TypeAlias = list[tuple[Row, list[Record] | None]]


def _all_said(kind: Kind, part: Part, rows: list[Row]) -> tuple[Spoken, set[str]]:
    """What each row says about a table's records, and whose they are."""
    columns = frozenset(part.table.c.keys())
    spoken = [(row, _said(kind, part, row, columns)) for row in rows if part.when(row)]
    return spoken, {_owner(part, row, said) for row, said in spoken} - {""}


def _planned(kind: Kind, part: Part, stored: list[Record], spoken: Spoken, outcome: Outcome) -> Plan:
    plan = Plan(part, _defaults(kind, part.table), _grouped(stored, part.key), _grouped(stored, part.key[:1]))
    _compare(plan, spoken, outcome)
    return plan


def _said(kind: Kind, part: Part, row: Row, columns: frozenset[str]) -> list[Record] | None:
    """What a row says about a table's records; None if nothing."""
    if part.records:
        return part.records(row)
    values = {part.key[0]: row.id} if row.id else {}
    for name, value in row.cells.items():
        values |= kind.columns[name].spread(name, value)
    values = {column: value for column, value in values.items() if column in columns}
    return None if row.id and values.keys() <= set(part.key) else [values]


def _owner(part: Part, row: Row, said: list[Record] | None) -> str:
    return row.id or (str(said[0][part.key[0]]) if said else "")


async def _stored(
    connection: AsyncConnection, part: Part, owners: Collection[str], said: Sequence[Record]
) -> list[Record]:
    if not owners:
        return []
    conditions = [_any(part, part.key[0], owners)]
    conditions += [part.table.c[column] == value for column, value in part.among.items()]
    if not part.whole and len(said) <= FEW:
        # Of a few records not all that their owners have: that may be a whole organization's people.
        for column in part.key[1:]:
            named = [record[column] for record in said]
            conditions += [_any(part, column, named)] if all(isinstance(each, str) for each in named) else []
    found = await connection.execute(select(part.table).where(*conditions))
    return await aside(lambda: [dict(record) for record in found.mappings()])


def _any(part: Part, column: str, values: Iterable[str]) -> ColumnElement[bool]:
    return part.table.c[column] == any_(literal(sorted(values), ARRAY(Text)))


def _defaults(kind: Kind, table: Table) -> Record:
    """What a new record has in the columns that the file lacks."""
    values: Record = {}
    for name, column in kind.columns.items():
        values |= column.spread(name, column.default)
    return {column: value for column, value in values.items() if column in table.c}


def _grouped(records: list[Record], columns: tuple[str, ...]) -> Groups:
    groups: Groups = defaultdict(list)
    for record in records:
        groups[tuple(record[column] for column in columns)].append(record)
    return groups


def _compare(plan: Plan, spoken: Spoken, outcome: Outcome) -> None:
    kept, replaced = set(), set()
    for row, said in spoken:
        if said is None:
            plan.after[row.line] += plan.by_owner.get((row.id,), [])
            continue
        replaced.add(_owner(plan.part, row, said))
        for values in said:
            key = tuple(values[column] for column in plan.part.key)
            kept.add(key)
            _place(plan, row, values, plan.by_key.get(key, []), outcome)
    if plan.part.whole:
        for key, olds in plan.by_key.items():
            if key not in kept and key[0] in replaced:
                plan.deletes += olds
                outcome.changed.setdefault(key[0], "updated")


def _place(plan: Plan, row: Row, values: Record, olds: list[Record], outcome: Outcome) -> None:
    """Make one record what the row says: new, changed, or as it was."""
    parent = row.id
    if olds:
        for old in olds:
            new, differs = plan.merge(row, values, old)
            row.id = outcome.note(parent or plan.name(new), "updated" if differs else None)
    elif plan.part.creates(row):
        new = plan.create(row, values)
        known = parent or (plan.part.whole and plan.by_owner.get((plan.name(new),)))
        row.id = outcome.note(parent or plan.name(new), "updated" if known else "created")
    else:
        outcome.note(f"line {row.line}", None)


def _check(kind: Kind, rows: list[Row], plans: list[Plan], problems: Problems) -> None:
    if kind.check is None:
        return
    for row in rows:
        after: dict[str, list[Record]] = {part.table.name: [] for part in kind.parts}
        for plan in plans:
            after[plan.part.table.name] += plan.after.get(row.line, [])
        before = next(plan for plan in plans if plan.part.when(row)).before.get(row.line)
        for column, what, remedy in kind.check(row, before, after):
            shown = None if kind.columns[column].private else row.texts.get(column)
            problems.add(row.line, column, what, remedy, shown)


# --- writing: one statement for thousands of records, so that triggers run once -------------------------------


def insert(connection: AsyncConnection, table: Table, records: list[Record]) -> AsyncIterator[int]:
    columns = _listed(records[0] if records else ())
    return _each_batch(connection, table, records, f"INSERT INTO {table.name} ({columns}) SELECT {columns} FROM")


def update(
    connection: AsyncConnection, table: Table, records: list[Record], columns: frozenset[str]
) -> AsyncIterator[int]:
    values = ", ".join(f'"{column}" = v."{column}"' for column in sorted(columns))
    start = f"UPDATE {table.name} t SET {values} FROM"  # noqa: S608 - names of the schema only
    return _each_batch(connection, table, records, start, _same(table))


def delete(connection: AsyncConnection, table: Table, records: list[Record]) -> AsyncIterator[int]:
    start = f"DELETE FROM {table.name} t USING"  # noqa: S608 - names of the schema only
    return _each_batch(connection, table, records, start, _same(table))


def _listed(columns: Iterable[str]) -> str:
    return ", ".join(f'"{column}"' for column in columns)


def _same(table: Table) -> str:
    return "WHERE " + " AND ".join(f't."{column.name}" = v."{column.name}"' for column in table.primary_key)


async def _each_batch(
    connection: AsyncConnection, table: Table, records: list[Record], start: str, end: str = ""
) -> AsyncIterator[int]:
    statement = sql(f"{start} jsonb_populate_recordset(CAST(NULL AS {table.name}), CAST(:records AS jsonb)) v {end}")
    for first in range(0, len(records), BATCH):
        batch = records[first : first + BATCH]
        await connection.execute(statement, {"records": await aside(_json, batch)})
        yield len(batch)


def _json(records: list[Record]) -> str:
    return orjson.dumps(cast(Any, records), default=str, option=orjson.OPT_NON_STR_KEYS).decode()
