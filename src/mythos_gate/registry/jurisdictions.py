"""Jurisdictions: the reviewed, versioned data set of countries and their groups."""

from collections.abc import Mapping
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

from sqlalchemy import select, text, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import tables
from mythos_gate.audit.entry import canonical, timestamp
from mythos_gate.errors import Conflict, NotFound, Outdated
from mythos_gate.registry import columns, csvfile, imports
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import group, label, one_of
from mythos_gate.registry.imports import Outcome, Summary
from mythos_gate.registry.kind import Bad, Clock, Column, Kind, Problems, Record, Row
from mythos_gate.terms import Treatment

# Without these a set cannot be right: the United States, and those under embargo.
NEEDED = ("US", "CU", "IR", "KP", "SY")


def _code(value: str, _: Clock) -> str:
    if not (value.replace("-", "").isascii() and value.replace("-", "").isalnum() and value == value.upper()):
        raise Bad("is no code", "use an ISO 3166 code in capitals")
    return value


def _groups(value: str, clock: Clock) -> list[str]:
    return sorted({group(each, clock) for each in value.split()})


JURISDICTIONS = Kind(
    name="jurisdictions",
    columns={
        "code": Column(_code, required=True),
        "alpha3": Column(_code),
        "numeric": Column(columns.text),  # ignored
        "name": Column(columns.text, required=True),
        "kind": Column(label, required=True),
        "treatment": Column(one_of(Treatment), required=True),
        "inherits": Column(_code),
        "groups": Column(_groups, default=[]),
        "note": Column(columns.text),
    },
    key=("code",),
)
SETS = tables.data_sets
STORED = [column for column in JURISDICTIONS.columns if column != "numeric"]


async def load_data_set(change: Change, data: bytes, *, version: str, reviewed_at: datetime | None) -> Summary:
    """Put a data set in force. The same content again only takes the new version and review. `InvalidFile`."""
    identifier, outcome, rows = await _stored(change, data, version)
    await _put_in_force(change, identifier, {"version": version, "reviewed_at": reviewed_at}, outcome)
    outcome.note(identifier, None)
    return imports.report(change, outcome.summary(JURISDICTIONS.name, rows))


async def prepare(change: Change, data: bytes, version: str) -> str:
    """Keep a data set that is not in force; its id, the SHA-256 of its content. `InvalidFile`, or `Conflict`."""
    identifier, outcome, rows = await _stored(change, data, version)
    if not outcome.changed:
        raise Conflict(f"this content is on record already: activate data set {identifier}")
    imports.report(change, outcome.summary(JURISDICTIONS.name, rows))
    return identifier


async def activate(change: Change, identifier: str, members: Mapping[str, Any]) -> None:
    """Put a data set in force that was reviewed at an instant; one in force only takes the new review. `NotFound`."""
    await imports.lock(change.connection)
    reviewed_at = datetime.fromisoformat(members["reviewed_at"])
    await require(change.connection, identifier)
    if members["replaces"] != await in_force(change.connection):
        raise Outdated("another data set came into force since: look at what would change now")
    await _put_in_force(change, identifier, {"reviewed_at": reviewed_at}, Outcome())
    change.details |= {"data_set": identifier}


async def require(connection: AsyncConnection, identifier: str) -> None:
    """`NotFound` if it is not on record."""
    if (await connection.execute(select(SETS.c.id).where(SETS.c.id == identifier))).one_or_none() is None:
        raise NotFound("no such data set")


async def in_force(connection: AsyncConnection) -> str | None:
    """The id of the data set in force."""
    found: str | None = (await connection.execute(select(tables.programme.c.data_set_id))).scalar_one()
    return found


async def _stored(change: Change, data: bytes, version: str) -> tuple[str, Outcome, int]:
    """The id of the content, which is on record then, and how many rows it has."""
    found = await imports.aside(records, data)
    identifier = content_id(found)
    await imports.lock(change.connection)
    outcome, connection = Outcome(), change.connection
    if (await connection.execute(select(SETS.c.id).where(SETS.c.id == identifier))).one_or_none() is None:
        await connection.execute(SETS.insert().values(id=identifier, version=version))
        listed = [{"data_set_id": identifier, **record} for record in found]
        async for _ in imports.insert(connection, tables.jurisdictions, listed):
            pass
        outcome.note(identifier, "created")
    return identifier, outcome, len(found)


def records(data: bytes) -> list[Record]:
    """The rows of a file. `InvalidFile`."""
    problems = Problems(JURISDICTIONS)
    rows = csvfile.read(data, JURISDICTIONS, Clock(datetime.now(UTC)), problems)
    _check(rows, problems)
    problems.end()
    return [{column: row.cells.get(column, JURISDICTIONS.columns[column].default) for column in STORED} for row in rows]


def identify(data: bytes) -> str:
    """The id that a file's data set has on record. `InvalidFile`."""
    return content_id(records(data))


async def _put_in_force(change: Change, identifier: str, review: Record, outcome: Outcome) -> None:
    """Write what differs."""
    connection = change.connection
    found = (await connection.execute(select(SETS).where(SETS.c.id == identifier))).mappings().one()
    if {**found, **review} != dict(found):
        await connection.execute(update(SETS).where(SETS.c.id == identifier).values(**review))
        outcome.note(identifier, "updated")
    if (await connection.execute(select(tables.programme.c.data_set_id))).scalar_one() != identifier:
        await connection.execute(update(tables.programme).values(data_set_id=identifier))
        outcome.note(identifier, "updated")


def content_id(rows: list[Record]) -> str:
    """SHA-256 of the rows as canonical JSON, in the order of their codes."""
    ordered = sorted(rows, key=lambda record: str(record["code"]))
    return sha256(canonical([[record[column] for column in STORED] for record in ordered])).hexdigest()


def _check(rows: list[Row], problems: Problems) -> None:
    by_code = {row.get("code"): row for row in rows}
    for code in NEEDED:
        if code not in by_code:
            problems.add(None, "code", f"no row for {code}", "add it")
    for row in rows:
        target = row.get("inherits")
        if row.sound and (row.get("treatment") == Treatment.INHERITS) != (target is not None):
            problems.add(
                row.line, "inherits", "does not fit the treatment", "name a code if, and only if, it inherits", target
            )
        elif target is not None and target not in by_code:
            problems.add(row.line, "inherits", "is no row of this file", "add its row", target)
        elif target is not None and by_code[target].get("inherits") is not None:
            problems.add(row.line, "inherits", "has no groups of its own", "name the code that has them", target)


# --- reading --------------------------------------------------------------------------------------------------

LISTED = text(
    "SELECT d.id, d.version, d.reviewed_at, d.created_at, (d.id = p.data_set_id) IS TRUE AS in_force,"
    " (SELECT count(*) FROM jurisdictions j WHERE j.data_set_id = d.id) AS rows"
    " FROM data_sets d CROSS JOIN programme p WHERE (CAST(:only AS text) IS NULL OR d.id = :only) AND d.id > :after"
    " ORDER BY d.id LIMIT :limit"
)
# Of two sets the codes whose rows differ; what stands in one alone was added or removed.
CHANGES = text(
    "SELECT coalesce(n.code, o.code) AS code,"
    " CASE WHEN o.code IS NULL THEN 'added' WHEN n.code IS NULL THEN 'removed' ELSE 'changed' END AS what,"
    " o.treatment AS treatment_before, n.treatment AS treatment, o.groups AS groups_before, n.groups AS groups"
    " FROM (SELECT * FROM jurisdictions WHERE data_set_id = :new) n FULL JOIN (SELECT j.* FROM jurisdictions j"
    " JOIN programme p ON p.data_set_id = j.data_set_id) o ON o.code = n.code"
    " WHERE (n.alpha3, n.name, n.kind, n.treatment, n.inherits, n.groups, n.note) IS DISTINCT FROM"
    " (o.alpha3, o.name, o.kind, o.treatment, o.inherits, o.groups, o.note) ORDER BY 1"
)
# Codes that inherit from one that changes are read anew as well.
CONCERNED = text(
    "SELECT count(DISTINCT person_id) FROM nationality_records WHERE country = ANY (:codes) OR country IN"
    " (SELECT code FROM jurisdictions j JOIN programme p ON p.data_set_id = j.data_set_id"
    " WHERE j.inherits = ANY (:codes))"
)


async def page(
    connection: AsyncConnection, after: str | None = None, limit: int = 1, only: str | None = None
) -> list[dict[str, Any]]:
    """Data sets in the order of their ids."""
    found = await connection.execute(LISTED, {"after": after or "", "limit": limit, "only": only})
    times = ("reviewed_at", "created_at")
    return [{**row, **{name: row[name] and timestamp(row[name]) for name in times}} for row in found.mappings()]


async def read(connection: AsyncConnection, identifier: str) -> dict[str, Any]:
    """One, with what would change if it were in force, and how many people hold a nationality that is concerned.

    `NotFound`. The connection is compliance's: only it may count nationalities.
    """
    found = await page(connection, only=identifier)
    if not found:
        raise NotFound("no such data set")
    changes = [dict(row) for row in (await connection.execute(CHANGES, {"new": identifier})).mappings()]
    people = await connection.execute(CONCERNED, {"codes": [change["code"] for change in changes]})
    return {**found[0], "changes": changes, "people_concerned": people.scalar_one()}
