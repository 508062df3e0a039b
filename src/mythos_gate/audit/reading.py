"""Reading the log back, under the reader's role."""

import json
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeAlias
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, select, tuple_
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import uuid7_time
from mythos_gate.tables import log_entries

# An id names the millisecond in which it was made, `at` the database's time: partitions are found by both.
APART = timedelta(minutes=5)


async def find(connection: AsyncConnection, identifier: UUID, kind: str) -> dict[str, Any] | None:
    """The members of an entry, or None."""
    try:
        made = uuid7_time(identifier)
    except (ValueError, OverflowError, OSError):
        return None
    query = select(log_entries.c.body).where(
        log_entries.c.id == identifier,
        log_entries.c.type == kind,
        log_entries.c.at.between(made - APART, made + APART),
    )
    body = (await connection.execute(query)).scalar_one_or_none()
    return None if body is None else dict(json.loads(body))


Place: TypeAlias = tuple[datetime, str, int]


async def page(
    connection: AsyncConnection, limit: int, after: Place | None, kind: str | None
) -> Sequence[tuple[Place, bytes, bytes]]:
    """Entries as (place, leaf, body), oldest first, those of one writer in its order, behind the given place."""
    order = (log_entries.c.at, log_entries.c.writer, log_entries.c.n)
    conditions: list[ColumnElement[bool]] = []
    if after is not None:
        conditions.append(tuple_(*order) > after)
    if kind is not None:
        conditions.append(log_entries.c.type == kind)
    query = select(*order, log_entries.c.leaf, log_entries.c.body).where(*conditions).order_by(*order).limit(limit)
    return [((row.at, row.writer, row.n), row.leaf, row.body) for row in await connection.execute(query)]


BATCH = 2_000  # entries
IN = "FROM log_entries WHERE at >= $1 AND at < $2"
COUNT = f"SELECT count(*) {IN}"
STREAM = f"SELECT CASE WHEN type = $3 THEN body END AS body {IN}"


async def count(connection: asyncpg.Connection, since: datetime, until: datetime) -> int:
    """How many entries of any type `stream` goes through."""
    return int(await connection.fetchval(COUNT, since, until))


async def stream(
    connection: asyncpg.Connection, kind: str, since: datetime, until: datetime
) -> AsyncIterator[Sequence[bytes | None]]:
    """The bodies of one type of what was written in [since, until), in no order; None for an entry of another type.

    Within a transaction: what is read is never held as a whole.
    """
    cursor = await connection.cursor(STREAM, since, until, kind)
    while rows := await cursor.fetch(BATCH):
        yield [row["body"] for row in rows]
