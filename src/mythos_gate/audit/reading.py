"""Reading the log back, under the reader's role."""

import json
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import asyncpg
from sqlalchemy import ColumnElement, Select, func, or_, select
from sqlalchemy import cast as typed
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import uuid7_time
from mythos_gate.tables import log_entries, log_leaves

# An id names the millisecond in which it was made, `at` the database's time: partitions are found by both.
APART = timedelta(minutes=5)
# So many entries are looked at for one page, whether they fit or not: a rare one is found over several pages.
WINDOW = 20_000


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry at its place in the tree."""

    index: int
    leaf: bytes
    body: bytes


@dataclass(frozen=True, slots=True)
class Filters:
    """Which entries; each that is given must fit. `since` is still in, `until` no longer."""

    type: str | None = None
    since: datetime | None = None
    until: datetime | None = None
    organization: str | None = None
    subject: str | None = None
    decision: str | None = None
    reason: str | None = None
    caller: str | None = None

    @property
    def named(self) -> dict[str, str]:
        """What is asked for, as a log entry can hold it."""
        given = {name: getattr(self, name) for name in self.__slots__}
        return {name: str(value) for name, value in given.items() if value is not None}

    def conditions(self) -> list[ColumnElement[bool]]:
        kept = log_entries.c
        found: list[ColumnElement[bool]] = []
        if self.type is not None:
            found.append(kept.type == self.type)
        if self.since is not None:
            found.append(kept.at >= self.since)
        if self.until is not None:
            found.append(kept.at < self.until)
        return found

    def contents(self, body: ColumnElement[bytes]) -> list[ColumnElement[bool]]:
        """What the body must say, as against `conditions` on the row."""
        return [_holds(body, *shapes) for shapes in self._shapes()]

    def _shapes(self) -> Sequence[Sequence[dict[str, Any]]]:
        """For each member asked for, the ways in which entries name it."""
        subject = self.subject
        shapes: list[Sequence[dict[str, Any]]] = []
        if self.organization is not None:
            shapes.append([{"organization": self.organization}])
        if subject is not None:
            whole = [{"subject": {"id": subject}}, {"subject": {"person": subject}}, {"subject": {"digest": subject}}]
            shapes.append([*whole, {"person": subject}, {"agent": subject}])
        if self.decision is not None:
            shapes.append([{"outcome": self.decision}])
        if self.reason is not None:
            shapes.append([{"reasons": [self.reason]}])
        if self.caller is not None:
            shapes.append([{"caller": {"id": self.caller}}, {"actor": self.caller}])
        return shapes


def _holds(body: ColumnElement[bytes], *shapes: dict[str, Any]) -> ColumnElement[bool]:
    read = typed(func.convert_from(body, "UTF8"), JSONB)
    return or_(*(read.contains(shape) for shape in shapes))


async def find(connection: AsyncConnection, identifier: UUID, kind: str | None) -> bytes | None:
    """The body of an entry of this type, or of any; None if there is none."""
    try:
        made = uuid7_time(identifier)
        window = log_entries.c.at.between(made - APART, made + APART)
    except (ValueError, OverflowError, OSError):
        return None
    placed = (log_leaves.c.id == log_entries.c.id) & (log_leaves.c.at == log_entries.c.at)
    query = select(log_entries.c.body).select_from(log_entries.outerjoin(log_leaves, placed))
    query = query.where(log_entries.c.id == identifier, window)
    if kind is not None:
        query = query.where(log_entries.c.type == kind)
    # The service's login can write one id twice: the tree has it once.
    query = query.order_by(log_leaves.c.index.nulls_last(), log_entries.c.at).limit(1)
    return (await connection.execute(query)).scalar_one_or_none()


def members(body: bytes) -> dict[str, Any]:
    return dict(json.loads(body))


def _placed(start: int, end: int) -> Select[Any]:
    joined = log_leaves.join(log_entries, (log_entries.c.id == log_leaves.c.id) & (log_entries.c.at == log_leaves.c.at))
    return (
        select(log_leaves.c.index, log_entries.c.leaf, log_entries.c.body)
        .select_from(joined)
        .where(log_leaves.c.index >= start, log_leaves.c.index < end)
        .order_by(log_leaves.c.index)
    )


async def page(
    connection: AsyncConnection, start: int, size: int, limit: int, filters: Filters
) -> tuple[list[Leaf], int | None]:
    """Entries from leaf `start` on, in a tree of `size`, and where to go on: None at the end.

    The page may be empty before the end: at most WINDOW entries are looked at.
    """
    end = min(size, start + WINDOW)
    # OFFSET keeps the database from looking into bodies that are not in the tree: they may be anything.
    placed = _placed(start, end).where(*filters.conditions()).offset(0).subquery()
    query = select(placed).where(*filters.contents(placed.c.body)).order_by(placed.c.index).limit(limit)
    found = [Leaf(*row) for row in await connection.execute(query)]
    onward = found[-1].index + 1 if len(found) == limit else end
    return found, onward if onward < size else None


async def bodies(connection: AsyncConnection, start: int, count: int) -> list[bytes]:
    """The bodies of `count` leaves; fewer if some are no longer kept."""
    return [row.body for row in await connection.execute(_placed(start, start + count))]


BATCH = 2_000  # entries
# Ids are in the order of time, so those of a window lie side by side; `at` finds the partitions.
IN = "FROM log_entries WHERE at >= $1 AND at < $2"
NEWEST = f"SELECT id, at {IN} ORDER BY id DESC, at DESC LIMIT 1"
COUNT = f"SELECT count(*) {IN} AND (id, at) <= ($3, $4)"
STREAM = f"""
SELECT id, at, CASE WHEN type = $7 THEN body END AS body {IN} AND (id, at) <= ($3, $4) AND (id, at) > ($5, $6)
ORDER BY id, at LIMIT $8
"""
FIRST = (UUID(int=0), datetime.min.replace(tzinfo=UTC))


@dataclass(frozen=True, slots=True)
class Span:
    """Of the entries written in [since, until) those that there were at some time, up to the newest of them."""

    since: datetime
    until: datetime
    last: tuple[UUID, datetime]  # its id and time


async def span(connection: asyncpg.Connection, since: datetime, until: datetime) -> Span | None:
    """Of what there is now; None if that is nothing."""
    newest = await connection.fetchrow(NEWEST, since, until)
    return None if newest is None else Span(since, until, (newest["id"], newest["at"]))


async def count(connection: asyncpg.Connection, of: Span) -> int:
    """How many entries of any type `stream` goes through."""
    return int(await connection.fetchval(COUNT, of.since, of.until, *of.last))


async def stream(connection: asyncpg.Connection, kind: str, of: Span) -> AsyncIterator[Sequence[bytes | None]]:
    """The bodies of one type, by id; None for an entry of another type.

    Each batch is a transaction of its own: entries never change, and one for all would keep the database from
    cleaning up for as long as the whole takes.
    """
    after = FIRST
    while rows := await connection.fetch(STREAM, of.since, of.until, *of.last, *after, kind, BATCH):
        yield [row["body"] for row in rows]
        after = rows[-1]["id"], rows[-1]["at"]
