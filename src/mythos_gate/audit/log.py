"""The committer: entries of one process, written in batches, each only if what it rests on still holds."""

import asyncio
import fcntl
import json
import logging
import math
import os
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from enum import Enum
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, cast

import asyncpg

from mythos_gate import revision
from mythos_gate.audit.entry import PLACE, VERSION, fill, leaf_hash, template, timestamp, uuid7
from mythos_gate.errors import NotRecorded
from mythos_gate.revision import Known, Seen

T = TypeVar("T")
TRIES = 3
BATCH = 500
TICK = 0.05  # seconds
PATIENCE = 30.0  # seconds, with a connection that may be dead: then its outcome is unknown
LATEST = timedelta(minutes=1)  # from the time that a note tells to its commit
LONG_AGO = datetime.min.replace(tzinfo=UTC)
FAR = datetime.max.replace(tzinfo=UTC)

# One snapshot: the guard's row sees the revision and the keys of the same instant, and the clock is read once.
INSERT = f"""
WITH {revision.GUARD}, inserted AS (
  INSERT INTO log_entries (id, at, type, writer, n, leaf, body)
  SELECT e.id::uuid, e.at::timestamptz, e.type, $12, $13::bigint + e.place, e.leaf, e.body
  FROM unnest($7::text[], $8::text[], $9::text[], $10::bytea[], $11::bytea[])
    WITH ORDINALITY AS e (id, at, type, leaf, body, place), guard
  WHERE NOT guard.touched && $4::text[] AND guard.at >= $5::timestamptz AND guard.at < $6::timestamptz
  RETURNING 1
)
SELECT guard.*, (SELECT count(*) FROM inserted) AS inserted FROM guard
"""  # noqa: S608  no more than statements of ours
OPEN = """
INSERT INTO log_entries (id, at, type, leaf, body, writer, n)
VALUES ($1::text::uuid, $2::text::timestamptz, $3, $4, $5, $6, 1)
"""

UNKNOWN = "40003"  # statement_completion_unknown, from servers that speak Postgres's protocol

logger = logging.getLogger(__name__)


class Committed(Enum):
    """What became of an entry. STALE: decide again, something it rests on has changed or expired."""

    YES = "yes"
    STALE = "stale"


@dataclass(slots=True)
class Prepared:
    """An entry without its place: `seen` is the snapshot it was composed of, `keys` what it rests on, if on anything.

    It holds from `at` until before `until`; `id` and `written`, the time, are as they stand in it.
    """

    id: str
    type: str
    at: datetime
    written: str
    parts: Sequence[str]
    seen: Seen | None = None
    keys: frozenset[str] = frozenset()
    until: datetime = FAR

    def stands(self, known: Known) -> bool:
        """As far as is known."""
        return self.seen is None or known.stands(self.seen, self.keys)


@dataclass(slots=True)
class _Waiting:
    entry: Prepared
    done: asyncio.Future[Committed | NotRecorded]
    deadline: float
    tries: int = 0


@dataclass(slots=True)
class _Session:
    """A writer: its entries number 1, 2, 3... and each names the leaf before it."""

    writer: str = field(default_factory=lambda: f"pdp-{secrets.token_hex(8)}")
    n: int = 0
    leaf: bytes | None = None


# Texts: of anything else asyncpg asks for each element whether it is an array itself.
_Row: TypeAlias = tuple[str, str, str, bytes, bytes]  # id, at, type, leaf, body


class Unconfirmed(Exception):
    """The server wrote, and warned that it may not last: a wait for a synchronous standby was cut short."""


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
        except (ValueError, TypeError):
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
        known: Known,
    ) -> None:
        self._connect = connect
        self._origin = origin
        self._high_water = high_water
        self._known = known
        self._queue: list[_Waiting] = []
        self._wake = asyncio.Event()
        self._connection: asyncpg.Connection | None = None
        self._session = _Session()
        self._confirmed = high_water.read()
        # At most one range: no batch is sent before the opening that names it is confirmed.
        self._unknown: list[dict[str, Any]] = []
        self._warned = False
        # Its own task: a client that hangs up must not cancel the batch for the others.
        self._task = asyncio.create_task(self._run())
        self._under_way: Sequence[_Waiting] = ()
        self._watch = asyncio.create_task(self._keep_time())

    @property
    def is_running(self) -> bool:
        return not self._task.done()

    async def commit(self, entries: Sequence[Prepared], deadline: float = math.inf) -> list[Committed]:
        """Write each entry, or say that it must be decided again. `NotRecorded` if one could not be written in time.

        `deadline`: monotonic, in seconds, as the loop has it. What is under way then is written all the same.
        """
        if not self.is_running:
            raise NotRecorded("the committer has stopped")
        loop = asyncio.get_running_loop()
        waiting = [_Waiting(entry, loop.create_future(), deadline) for entry in entries]
        self._queue += waiting
        self._wake.set()
        outcomes = [await each.done for each in waiting]
        for outcome in outcomes:
            if isinstance(outcome, NotRecorded):
                raise outcome
        return cast("list[Committed]", outcomes)

    async def note(self, kind: str, members: Mapping[str, Any], deadline: float = math.inf) -> None:
        """Record what changes nothing that decisions read, such as a read of nationality. `NotRecorded`."""
        for _ in range(TRIES):
            at = await self._now()
            identifier = uuid7(at, secrets.token_bytes(10))
            common = {"log": self._origin, "type": kind, "id": identifier, "at": timestamp(at)}
            parts = template({**common, "v": VERSION, "salt": secrets.token_hex(16), **members}, PLACE)
            noted = Prepared(identifier, kind, at, common["at"], parts, until=at + LATEST)
            if await self.commit([noted], deadline) == [Committed.YES]:
                return
        raise NotRecorded("the clock kept changing while something was being recorded")

    async def _now(self) -> datetime:
        """By the database's clock: a host's own may be wrong, and an entry that is not in order looks back-dated."""
        if not self._known.has_heard:
            try:
                async with asyncio.timeout(PATIENCE):
                    connection = await self._connect()
                    try:
                        sent = self._known.sends()
                        self._known.hear(sent, await connection.fetchrow(revision.HEAR, *self._known.asks()))
                    finally:
                        await connection.close()
            except (OSError, TimeoutError, asyncpg.PostgresError, asyncpg.InterfaceError) as error:
                raise NotRecorded("the entry could not be recorded") from error
        return self._known.now()[0]

    async def close(self) -> None:
        for task in (self._task, self._watch):
            task.cancel()
        await asyncio.gather(self._task, self._watch, return_exceptions=True)
        _refuse(self._queue, "the service is stopping")
        if self._connection is not None:
            await self._connection.close()
        self._high_water.close()

    async def _keep_time(self) -> None:
        """Nobody waits past their deadline. One timer for all: one for each entry costs more than writing it."""
        while True:
            await asyncio.sleep(TICK)
            now = asyncio.get_running_loop().time()
            late = [waiting for waiting in (*self._under_way, *self._queue) if now >= waiting.deadline]
            _refuse(late, "the deadline passed before the decision was recorded")

    async def _run(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._queue:
                batch, self._queue = self._queue[:BATCH], self._queue[BATCH:]
                self._under_way = batch
                try:
                    await self._commit(batch)
                except Exception:
                    logger.exception("a batch could not be recorded")
                    _refuse(batch, "the entry could not be recorded")
                except BaseException:
                    _refuse(batch, "the entry could not be recorded")
                    raise

    async def _commit(self, batch: list[_Waiting]) -> None:
        await self._open(batch[0].entry.at)
        batch = self._standing(batch)
        if not batch:
            return
        session, batch, rows = self._placed(batch)
        if not batch:
            return
        sent = self._known.sends()
        try:
            guard = await self._insert(batch, rows)
        except asyncpg.PostgresError as error:
            # The statement is a transaction of its own: after an ERROR nothing of it is there. FATAL cuts it anywhere.
            if error.severity_en == "ERROR" and error.sqlstate != UNKNOWN:
                await self._one_by_one(batch, error)
            else:
                self._lose(batch, session, error)
        except Exception as error:  # noqa: BLE001  whatever it was: nobody is answered with an allow
            self._lose(batch, session, error)
        else:
            self._known.hear(sent, guard)
            self._settle(batch, session, guard)

    def _standing(self, batch: list[_Waiting]) -> list[_Waiting]:
        """Those that rest on nothing that was touched, as far as is known: as of that the batch is sent."""
        for waiting in batch:
            if not waiting.entry.stands(self._known):
                _answer(waiting, Committed.STALE)
        return [waiting for waiting in batch if not waiting.done.done()]

    async def _open(self, at: datetime) -> None:
        """Connect, and see the session's opening confirmed."""
        if self._connection is None or self._connection.is_closed():
            async with asyncio.timeout(PATIENCE):
                self._connection = await self._connect()
            self._connection.add_log_listener(self._hear)
        if self._session.n:
            return
        # A session of its own for each attempt: the same one again, some time later, would look back-dated. Of one
        # whose outcome is unknown there is the opening or nothing.
        session = self._session = _Session()
        opening = self._opening(at)
        await self._sent(self._connection.execute(OPEN, *opening, session.writer))
        session.n, session.leaf = 1, opening[3]
        self._confirm(session)

    def _opening(self, at: datetime) -> _Row:
        identifier = uuid7(at, secrets.token_bytes(10))
        members = {
            "v": VERSION,
            "log": self._origin,
            "type": "session_opened",
            "id": identifier,
            "at": timestamp(at),
            "salt": secrets.token_hex(16),
            "confirmed": self._confirmed,
            "unknown": self._unknown,
        }
        body = fill(template(members, PLACE), (1, None, self._session.writer))
        return identifier, timestamp(at), "session_opened", leaf_hash(body), body

    def _placed(self, batch: Sequence[_Waiting]) -> tuple[_Session, list[_Waiting], list[_Row]]:
        """The batch's entries at their places, and the session as it is if they are confirmed.

        One that has no place, being too long, is refused alone.
        """
        session = _Session(self._session.writer, self._session.n, self._session.leaf)
        placed, rows = [], []
        for waiting in batch:
            entry = waiting.entry
            try:
                body = fill(entry.parts, (session.n + 1, session.leaf.hex() if session.leaf else None, session.writer))
            except ValueError:
                logger.exception("a log entry cannot be written")
                _refuse([waiting], "the entry could not be recorded")
                continue
            session.n, session.leaf = session.n + 1, leaf_hash(body)
            placed.append(waiting)
            rows.append((entry.id, entry.written, entry.type, session.leaf, body))
        return session, placed, rows

    async def _insert(self, batch: Sequence[_Waiting], rows: Sequence[_Row]) -> asyncpg.Record:
        assert self._connection is not None
        guard = await self._sent(
            self._connection.fetchrow(
                INSERT,
                *self._known.asks(),
                list(frozenset[str]().union(*(waiting.entry.keys for waiting in batch))),
                max((waiting.entry.at for waiting in batch if waiting.entry.seen), default=LONG_AGO),
                min(waiting.entry.until for waiting in batch),
                *(list(column) for column in zip(*rows, strict=True)),
                self._session.writer,
                self._session.n,
            )
        )
        assert guard is not None  # the revision's row comes back either way
        return guard

    async def _sent(self, statement: Awaitable[T]) -> T:
        """What the server answers. `Unconfirmed` if it warned."""
        self._warned = False
        async with asyncio.timeout(PATIENCE):
            answer = await statement
        if self._warned:
            raise Unconfirmed
        return answer

    def _hear(self, _connection: object, message: asyncpg.PostgresLogMessage) -> None:
        self._warned = self._warned or message.severity_en == "WARNING"

    def _confirm(self, session: _Session) -> None:
        self._session, self._confirmed, self._unknown = session, _confirmed(session), []
        try:
            self._high_water.write(session)
        except OSError:
            # The entries are committed: the next start then knows a little less of them.
            logger.exception("the high-water file cannot be written")

    def _settle(self, batch: Sequence[_Waiting], session: _Session, guard: asyncpg.Record) -> None:
        if guard["inserted"]:
            self._confirm(session)
            for waiting in batch:
                _answer(waiting, Committed.YES)
            return
        again = []
        for waiting in batch:
            entry, waiting.tries = waiting.entry, waiting.tries + 1
            in_time = (entry.seen is None or entry.at <= guard["at"]) and guard["at"] < entry.until
            if not in_time or not entry.stands(self._known):
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
        leaf = session.leaf.hex() if session.leaf else None
        self._unknown = [{"writer": session.writer, "from": self._session.n + 1, "to": session.n, "leaf": leaf}]
        self._session = _Session()
        _refuse(batch, "the entry could not be recorded")


def _answer(waiting: _Waiting, committed: Committed) -> None:
    if not waiting.done.done():
        waiting.done.set_result(committed)


def _refuse(batch: Sequence[_Waiting], why: str) -> None:
    for waiting in batch:
        if not waiting.done.done():
            waiting.done.set_result(NotRecorded(why))
