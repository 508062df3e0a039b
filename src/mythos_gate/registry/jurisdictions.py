"""Jurisdictions: the reviewed, versioned data set of countries and their groups."""

from datetime import UTC, datetime
from hashlib import sha256

from sqlalchemy import select, update

from mythos_gate import tables
from mythos_gate.audit.entry import canonical
from mythos_gate.registry import csvfile, imports
from mythos_gate.registry.change import Change
from mythos_gate.registry.columns import group, label, one_of, text
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
        "numeric": Column(text),  # ignored
        "name": Column(text, required=True),
        "kind": Column(label, required=True),
        "treatment": Column(one_of(Treatment), required=True),
        "inherits": Column(_code),
        "groups": Column(_groups, default=[]),
        "note": Column(text),
    },
    key=("code",),
)
STORED = [column for column in JURISDICTIONS.columns if column != "numeric"]


async def load_data_set(change: Change, data: bytes, *, version: str, reviewed_at: datetime | None) -> Summary:
    """Put a data set in force. The same content again only takes the new version and review. `InvalidFile`."""
    problems = Problems(JURISDICTIONS)
    rows = csvfile.read(data, JURISDICTIONS, Clock(reviewed_at or datetime.now(UTC)), problems)
    _check(rows, problems)
    problems.end()
    records = [
        {column: row.cells.get(column, JURISDICTIONS.columns[column].default) for column in STORED} for row in rows
    ]
    identifier = content_id(records)
    await imports.lock(change.connection)
    outcome = await _store(change, identifier, {"version": version, "reviewed_at": reviewed_at}, records)
    return imports.report(change, outcome.summary(JURISDICTIONS.name, len(rows)))


def content_id(records: list[Record]) -> str:
    """SHA-256 of the rows as canonical JSON, in the order of their codes."""
    ordered = sorted(records, key=lambda record: str(record["code"]))
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


async def _store(change: Change, identifier: str, review: Record, records: list[Record]) -> Outcome:
    """Write what differs."""
    sets, connection = tables.data_sets, change.connection
    found = (await connection.execute(select(sets).where(sets.c.id == identifier))).mappings().one_or_none()
    in_force = (await connection.execute(select(tables.programme.c.data_set_id))).scalar_one()
    outcome = Outcome()
    if found is None:
        await connection.execute(sets.insert().values(id=identifier, **review))
        rows = [{"data_set_id": identifier, **record} for record in records]
        await imports.insert(connection, tables.jurisdictions, rows)
        outcome.note(identifier, "created")
    elif {**found, **review} != dict(found):
        await connection.execute(update(sets).where(sets.c.id == identifier).values(**review))
        outcome.note(identifier, "updated")
    if in_force != identifier:
        await connection.execute(update(tables.programme).values(data_set_id=identifier))
        outcome.note(identifier, "updated")
    outcome.note(identifier, None)
    return outcome
