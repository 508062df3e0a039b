"""The revision: which keys a decision rests on, what a process knows of it, and the bump that ends a change."""

import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from uuid import UUID

import psycopg
from psycopg import AsyncConnection
from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncConnection as SqlConnection

from mythos_gate.errors import NotRecorded
from mythos_gate.tables import revision_stamps

GLOBAL = "global"  # models, authorities, stops, directives, policy, data sets, switches
EVERYTHING = "*"  # what a transaction that touched more than 1,000 keys counts as
# Of the keys touched last a process remembers so many: what is under way longer than they last is done again.
REMEMBERED = 20_000

# The first part of every statement of the PDP: the revision, the time, and the keys touched since what the process
# knows ($2 with its stamp $3), all of one snapshot, and the clock read once. Who is far behind, or knows of a change
# that is not in this database (restored, or failed over to a standby without it), knows nothing.
GUARD = """
guard AS MATERIALIZED (
  SELECT r.n, clock_timestamp() + $1::interval AS at,
    (SELECT s.stamp FROM revision_stamps s WHERE s.n = r.n) AS stamp,
    CASE WHEN r.n = $2::bigint AND known.stands THEN '{}'
         WHEN r.n - $2::bigint < 5000 AND known.stands THEN ARRAY(SELECT DISTINCT t.key FROM touched t WHERE t.n > $2)
         ELSE ARRAY['*'] END AS touched
  FROM revision r,
    (SELECT EXISTS (SELECT FROM revision_stamps s WHERE s.n = $2 AND s.stamp = $3::uuid) AS stands) AS known
)"""

HEAR = f"WITH {GUARD} SELECT * FROM guard"  # noqa: S608  the guard alone


class Seen(NamedTuple):
    """A snapshot: the revision's number, and how often this process has had to forget everything before."""

    epoch: int
    n: int


class Sent(NamedTuple):
    """What a process knew when it sent a statement, and when that was (monotonic, in seconds)."""

    seen: Seen
    at: float


class Known:
    """What this process knows of the revision and of the database's clock, from the last answers that it had.

    `drop` is told of every touched key, `*` for all: whoever holds a record under that key lets go of it. Nothing in
    here waits, so that what is composed without waiting either is of one snapshot.
    """

    def __init__(self, displacement: timedelta = timedelta()) -> None:
        self.displacement = displacement
        self.seen = Seen(0, -1)
        self.drop: Callable[[str], None] = lambda _key: None
        self._stamp: UUID | None = None
        self._touched: OrderedDict[str, int] = OrderedDict()
        self._floor = -1  # of what was touched up to here, not all is remembered
        self._clock: tuple[datetime, float, float] | None = None

    def asks(self) -> tuple[timedelta, int, UUID | None]:
        """The first three values of a statement that begins with GUARD."""
        return self.displacement, self.seen.n, self._stamp

    def sends(self) -> Sent:
        return Sent(self.seen, time.monotonic())

    def hear(self, sent: Sent, answer: Any) -> Seen | None:
        """Take in a guard's row. What it snapped, or None if that is of no use any more: then ask again."""
        if sent.seen.epoch != self.seen.epoch:
            return None
        self._clock = (answer["at"], sent.at, time.monotonic())
        if EVERYTHING in answer["touched"]:
            self._forget(answer)
        elif answer["n"] > self.seen.n:
            self._advance(answer)
        return Seen(self.seen.epoch, answer["n"])

    def stands(self, seen: Seen, keys: Collection[str]) -> bool:
        """Whether none of the keys was touched between that snapshot and what is known now."""
        if seen == self.seen:
            return True
        if seen.epoch != self.seen.epoch or seen.n < self._floor:
            return False
        touched = self._touched
        return not any(touched.get(key, -1) > seen.n for key in keys)

    @property
    def has_heard(self) -> bool:
        return self._clock is not None

    def now(self) -> tuple[datetime, datetime]:
        """The earliest and the latest that the database's clock can show now."""
        if self._clock is None:
            raise LookupError("nothing was heard of the database yet")
        at, sent, heard = self._clock
        now = time.monotonic()
        return at + timedelta(seconds=now - heard), at + timedelta(seconds=now - sent)

    def _forget(self, answer: Any) -> None:
        self.seen = Seen(self.seen.epoch + 1, answer["n"])
        self._stamp = answer["stamp"]
        self._touched.clear()
        self._floor = answer["n"]
        self.drop(EVERYTHING)

    def _advance(self, answer: Any) -> None:
        self.seen = Seen(self.seen.epoch, answer["n"])
        self._stamp = answer["stamp"]
        for key in answer["touched"]:
            self._touched[key] = answer["n"]
            self._touched.move_to_end(key)
            self.drop(key)
        while len(self._touched) > REMEMBERED:
            self._floor = self._touched.popitem(last=False)[1]


def key(noun: str, identifier: str) -> str:
    """The key of a record: `person:per_...`."""
    return f"{noun}:{identifier}"


def name_key(noun: str, organization: str, external_id: str) -> str:
    """The key of a name that was looked up, found or not."""
    return f"{noun}-name:{organization}/{external_id}"


async def stamp(connection: SqlConnection, n: int | None = None) -> str | None:
    """`N STAMP` of the change of this number, or of the last: the stamp is random, so no other database has it."""
    column = revision_stamps.c
    query = select(column.n, column.stamp).order_by(column.n.desc()).limit(1)
    found = (await connection.execute(query if n is None else query.where(column.n == n))).one_or_none()
    return None if found is None else f"{found.n} {found.stamp}"


async def commit(connection: SqlConnection, kind: str, entries: Sequence[tuple[UUID, Sequence[str]]]) -> None:
    """Bump the revision with each log entry, and commit. `NotRecorded` if the outcome is not a clear success.

    COMMIT is pipelined behind the bump, so that a process stopped in between cannot hold the revision's lock.
    """
    async with _acknowledged(connection) as driver:
        await driver.execute("SET LOCAL idle_in_transaction_session_timeout = '500ms'")
        async with driver.pipeline():
            for identifier, parts in entries:
                await driver.execute("SELECT bump_revision(%s, %s, %s)", (identifier, kind, list(parts)))
            await driver.commit()


async def confirm(connection: SqlConnection) -> None:
    """Commit what changes nothing that decisions read. `NotRecorded` if the outcome is not a clear success."""
    async with _acknowledged(connection) as driver:
        await driver.commit()


@asynccontextmanager
async def _acknowledged(connection: SqlConnection) -> AsyncIterator[AsyncConnection[object]]:
    raw = await connection.get_raw_connection()
    driver: AsyncConnection[object] = raw.driver_connection  # type: ignore[assignment]
    severities: list[str | None] = []

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        severities.append(notice.severity_nonlocalized)

    driver.add_notice_handler(hear)
    try:
        yield driver
    except psycopg.errors.IntegrityError as error:
        raise NotRecorded(f"the change was refused: {error.diag.message_primary}") from error
    except (psycopg.Error, OSError) as error:
        raise NotRecorded("the change could not be recorded") from error
    finally:
        driver.remove_notice_handler(hear)
    # Such as a wait for a synchronous standby that was cut short: the change may not last.
    if "WARNING" in severities:
        raise NotRecorded("the change was written, but may not last: look it up in the log before you repeat it")
