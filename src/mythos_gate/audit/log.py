"""The committer: entries of one process, written in batches, each only if what it rests on still holds."""

import asyncio
import fcntl
import json
import logging
import os
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg

from mythos_gate.audit.entry import PLACE, VERSION, fill, leaf_hash, template, timestamp, uuid7
from mythos_gate.errors import NotRecorded

TRIES = 3
BATCH = 500

# One snapshot: the guard's row sees the revision and the keys of the same instant, and the clock is read once.
INSERT = """
WITH guard AS MATERIALIZED (
  SELECT r.n, clock_timestamp() + $1::interval AS at,
         ARRAY(SELECT DISTINCT t.key FROM touched t WHERE t.n > $2) AS touched
  FROM revision r
), inserted AS (
  INSERT INTO log_entries (id, at, type, writer, n, leaf, body)
  SELECT e.id, e.at, e.type, $5, e.n, e.leaf, e.body
  FROM unnest($6::uuid[], $7::timestamptz[], $8::text[], $9::bigint[], $10::bytea[], $11::bytea[])
       AS e(id, at, type, n, leaf, body), guard
  WHERE NOT guard.touched && $3::text[] AND guard.at < $4::timestamptz
  RETURNING 1
)
SELECT guard.n, guard.at, guard.touched, (SELECT count(*) FROM inserted) AS inserted FROM guard
"""
# After these the server has said that nothing was written: bad data, a broken constraint, a missing object or right.
ROLLED_BACK = ("22", "23", "40", "42")

logger = logging.getLogger(__name__)


class Committed(Enum):
    """What became of an entry. STALE: decide again, something it rests on has changed or expired."""

    YES = "yes"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Prepared:
    """An entry without its place: `known` is the revision it was composed under, `keys` what it rests on."""

    id: UUID
    type: str
    at: datetime
    parts: Sequence[str]
    known: int
    keys: frozenset[str]
    until: datetime


@dataclass(slots=True)
class _Waiting:
    entry: Prepared
    known: int
    done: asyncio.Future[Committed]
    tries: int = 0


@dataclass(slots=True)
class _Session:
    """A writer: its entries number 1, 2, 3... and each names the leaf before it."""

    writer: str = field(default_factory=lambda: f"pdp-{secrets.token_hex(8)}")
    n: int = 0
    leaf: bytes | None = None


class HighWater:
    """The last confirmed entry of this process, kept outside the database; one file for each process at a time."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        for slot in range(1024):
            self._file = os.open(folder / f"writer-{slot}.json", os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(self._file)
                continue
            return
        raise OSError(f"no free writer file in {folder}")

    def read(self) -> dict[str, Any] | None:
        """`{writer, n, leaf}`, or None if there is none or it was torn."""
        try:
            return dict(json.loads(os.pread(self._file, 4096, 0)))
        except ValueError:
            return None

    def write(self, session: _Session) -> None:
        # One padded write, so that a shorter line never leaves the end of a longer one.
        line = json.dumps(_confirmed(session)).ljust(255) + "\n"
        os.pwrite(self._file, line.encode(), 0)

    def close(self) -> None:
        os.close(self._file)


def _confirmed(session: _Session) -> dict[str, Any] | None:
    if session.leaf is None:
        return None
    return {"writer": session.writer, "n": session.n, "leaf": session.leaf.hex()}


class Committer:
    """Group commit over one connection: what arrives while a commit is under way shares the next one."""

    def __init__(
        self,
        connect: Callable[[], Any],
        origin: str,
        high_water: HighWater,
        displacement: timedelta = timedelta(),
    ) -> None:
        self._connect = connect
        self._origin = origin
        self._high_water = high_water
        self._displacement = displacement
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._connection: asyncpg.Connection | None = None
        self._session = _Session()
        self._confirmed = high_water.read()
        self._unknown: list[dict[str, Any]] = []
        # Its own task: a client that hangs up must not cancel the batch for the others.
        self._task = asyncio.create_task(self._run())

    @property
    def is_running(self) -> bool:
        return not self._task.done()

    async def commit(self, entry: Prepared) -> Committed:
        """Write the entry, or say that it must be decided again. `NotRecorded` if it could not be written."""
        if not self.is_running:
            raise NotRecorded("the committer has stopped")
        waiting = _Waiting(entry, entry.known, asyncio.get_running_loop().create_future())
        self._queue.append(waiting)
        self._wake.set()
        return await waiting.done

    async def close(self) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        _refuse(self._queue, "the service is stopping")
        if self._connection is not None:
            await self._connection.close()
        self._high_water.close()

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
                try:
                    await self._commit(batch)
                except BaseException:
                    _refuse(batch, "the entry could not be recorded")
                    raise

    async def _commit(self, batch: list[_Waiting]) -> None:
        session, entries = self._placed(batch)
        try:
            guard = await self._insert(batch, session.writer, entries)
        except asyncpg.PostgresError as error:
            if (error.sqlstate or "").startswith(ROLLED_BACK):
                await self._one_by_one(batch, error)
            else:
                self._lose(batch, session, error)
        except Exception as error:  # noqa: BLE001  whatever it was: nobody is answered with an allow
            self._lose(batch, session, error)
        else:
            self._settle(batch, session, guard)

    def _placed(
        self, batch: Sequence[_Waiting]
    ) -> tuple[_Session, list[tuple[UUID, datetime, str, int, bytes, bytes]]]:
        """The batch's entries at their places, and the session as it is if they are confirmed."""
        session = _Session(self._session.writer, self._session.n, self._session.leaf)
        opening = [] if session.leaf else [self._opening(batch[0].entry)]
        rows = []
        for entry in [*opening, *(waiting.entry for waiting in batch)]:
            body = fill(entry.parts, (session.n + 1, session.leaf and session.leaf.hex(), session.writer))
            session.n, session.leaf = session.n + 1, leaf_hash(body)
            rows.append((entry.id, entry.at, entry.type, session.n, session.leaf, body))
        return session, rows

    def _opening(self, first: Prepared) -> Prepared:
        identifier = uuid7(first.at, secrets.token_bytes(10))
        members = {
            "v": VERSION,
            "log": self._origin,
            "type": "session_opened",
            "id": str(identifier),
            "at": timestamp(first.at),
            "salt": secrets.token_hex(16),
            "confirmed": self._confirmed,
            "unknown": self._unknown,
        }
        return Prepared(
            identifier, "session_opened", first.at, template(members, PLACE), first.known, first.keys, first.until
        )

    async def _insert(self, batch: Sequence[_Waiting], writer: str, entries: Sequence[Sequence[Any]]) -> asyncpg.Record:
        if self._connection is not None and self._connection.is_closed():
            self._connection = None
        self._connection = self._connection or await self._connect()
        columns = [list(column) for column in zip(*entries, strict=True)]
        guard = await self._connection.fetchrow(
            INSERT,
            self._displacement,
            min(waiting.known for waiting in batch),
            list(frozenset[str]().union(*(waiting.entry.keys for waiting in batch))),
            min(waiting.entry.until for waiting in batch),
            writer,
            *columns,
        )
        assert guard is not None  # the revision's row comes back either way
        return guard

    def _settle(self, batch: Sequence[_Waiting], session: _Session, guard: asyncpg.Record) -> None:
        if guard["inserted"]:
            self._session, self._confirmed = session, _confirmed(session)
            self._unknown = []
            self._high_water.write(session)
            for waiting in batch:
                _answer(waiting, Committed.YES)
            return
        touched = frozenset(guard["touched"])
        again = []
        for waiting in batch:
            waiting.known, waiting.tries = guard["n"], waiting.tries + 1
            if waiting.entry.keys & touched or guard["at"] >= waiting.entry.until:
                _answer(waiting, Committed.STALE)
            elif waiting.tries >= TRIES:
                _refuse([waiting], "the records kept changing while the decision was being recorded")
            else:
                again.append(waiting)
        self._queue = again + self._queue

    async def _one_by_one(self, batch: Sequence[_Waiting], error: Exception) -> None:
        """Nothing of the batch was written: one bad entry must not take the others down."""
        if len(batch) == 1:
            logger.error("a log entry was refused", exc_info=error)
            _refuse(batch, "the entry could not be recorded")
            return
        for waiting in batch:
            await self._commit([waiting])

    def _lose(self, batch: Sequence[_Waiting], session: _Session, error: Exception) -> None:
        """Whether the batch was written is unknown: nobody is answered, and a new session says so."""
        logger.error("the outcome of a commit is unknown", exc_info=error)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
            leaf = session.leaf.hex() if session.leaf else None
            lost = {"writer": session.writer, "from": self._session.n + 1, "to": session.n, "leaf": leaf}
            self._unknown = [*self._unknown, lost]
            self._session = _Session()
        _refuse(batch, "the entry could not be recorded")


def _answer(waiting: _Waiting, committed: Committed) -> None:
    if not waiting.done.done():
        waiting.done.set_result(committed)


def _refuse(batch: Sequence[_Waiting], why: str) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_exception(NotRecorded(why))
