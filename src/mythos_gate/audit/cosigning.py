"""Cosignatures: every witness is asked for the newest signed head, and its line is added to the stored note.

A task beside the sequencer: signing waits for no witness, and heads that were signed while they were asked are skipped.
"""

import asyncio
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import httpx
from sqlalchemy import ColumnElement, Integer, LargeBinary, Subquery, cast, func, literal, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mythos_gate.audit import checkpoint, merkle, note, tree, witness
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.exchange import Unanswered
from mythos_gate.audit.note import BadNote
from mythos_gate.audit.witness import Refused, Witness
from mythos_gate.tables import log_checkpoints, log_leaves, log_queue

EVERY = 1.0  # seconds from one round to the next
PATIENCE = 60.0  # seconds for a round
LONGEST_PAUSE = 30.0  # seconds that a witness which fails sits out
BEHIND = timedelta(seconds=60)
LATE = timedelta(seconds=10)
# Newest heads in which a cosignature is looked for: a day and more of a log that grows all the time.
LOOKED = 100_000
FEW = 100  # of one that things are proved against: at most one is signed in a second

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class State:
    """What the stored notes show of a witness: the newest head that it cosigned lately, and when by its clock.

    It is behind if a newer head was signed more than BEHIND ago.
    """

    name: str
    size: int | None
    at: datetime | None
    behind: bool


@dataclass(frozen=True)
class Vouched:
    """A head that enough witnesses cosigned, with the time of each by its own clock (seconds since 1970)."""

    head: Checkpoint
    note: bytes
    times: dict[str, int]

    @property
    def text(self) -> bytes:
        """What all signatures are over."""
        return note.parts(self.note)[0].encode()


@dataclass
class _Asked:
    """A witness, as far as this process knows it."""

    witness: Witness
    size: int | None = None  # that it has
    failures: int = 0
    due: float = 0.0  # monotonic, as the loop has it
    trouble: str | None = None
    behind: bool = False


class Cosigning:
    """`leads` says whether this process's sequencer is the one that signs: of several, one asks."""

    def __init__(
        self, engine: AsyncEngine, client: httpx.AsyncClient, witnesses: Sequence[Witness], leads: Callable[[], bool]
    ) -> None:
        self._engine = engine
        self._client = client
        self._leads = leads
        self._asked = [_Asked(each) for each in witnesses]
        self._complete = True  # the newest head has all older entries

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)
            if self._leads():
                try:
                    async with asyncio.timeout(PATIENCE):
                        await self.round()
                except Exception:
                    logger.exception("the witnesses could not be asked")

    async def round(self) -> None:
        """All that are due, side by side, for one head: so there is one that all have cosigned.

        The next round waits for the slowest, a few seconds at most; who fails sits out longer each time.
        """
        async with self._engine.connect() as connection:
            found = await tree.published(connection)
            if found is None:
                return
            head, signed = found
            for each in self._asked:
                await _learn(connection, each, head, signed)
            complete = await _is_complete(connection, head.size)
        if not complete and self._complete:
            logger.warning(
                "entries of more than %d seconds ago are under no head yet: no witness is asked", LATE.seconds
            )
        self._complete = complete
        now = asyncio.get_running_loop().time()
        due = [each for each in self._asked if complete and each.due <= now and each.witness.mark not in signed]
        await asyncio.gather(*(self._ask(each, head, signed) for each in due))
        await self._watch()

    async def _ask(self, asked: _Asked, head: Checkpoint, signed: bytes) -> None:
        """Whatever goes wrong is one witness's trouble: the others are asked, and who is behind is told."""
        try:
            old = min(asked.size or 0, head.size)
            line = await witness.cosign(
                self._client, asked.witness, signed, old, lambda size: self._proof(size, head.size)
            )
            await self._store(head.size, signed, line)
        except (Refused, Unanswered, BadNote) as error:
            self._failed(asked, error, str(error))
        except Exception as error:  # noqa: BLE001  told with its traceback
            self._failed(asked, error, f"{type(error).__name__}: {error}", error)
        else:
            asked.size, asked.failures, asked.trouble = head.size, 0, None

    async def _proof(self, old: int, new: int) -> list[bytes]:
        async with self._engine.connect() as connection:
            return await tree.proof(connection, merkle.consistency_nodes(old, new))

    async def _store(self, size: int, signed: bytes, line: str) -> None:
        """Add the line to the note, whatever others have added meanwhile."""
        text, _ = note.parts(signed)
        while True:
            grown = checkpoint.with_signatures(signed, [line])
            query = update(log_checkpoints).where(log_checkpoints.c.size == size, log_checkpoints.c.note == signed)
            async with self._engine.begin() as connection:
                if (await connection.execute(query.values(note=grown))).rowcount:
                    return
                stored = select(log_checkpoints.c.note).where(log_checkpoints.c.size == size)
                signed = (await connection.execute(stored)).scalar_one()
            if note.parts(signed)[0] != text:
                raise BadNote("another head is stored than the one that was cosigned")

    def _failed(self, asked: _Asked, error: Exception, why: str, traced: Exception | None = None) -> None:
        asked.failures += 1
        asked.due = asyncio.get_running_loop().time() + min(LONGEST_PAUSE, 2.0 ** min(asked.failures, 10) - 1)
        if asked.trouble != why:
            # No answer mends itself, or the witness gets behind; a refusal is somebody's mistake, or worse.
            level = logging.WARNING if isinstance(error, Unanswered) else logging.ERROR
            logger.log(level, "the witness %s did not cosign: %s", asked.witness.name, why, exc_info=traced)
        asked.trouble = why

    async def _watch(self) -> None:
        """Tell once that a witness has fallen behind, and once that it has caught up."""
        async with self._engine.connect() as connection:
            behind = [(each, await _is_behind(connection, each.size)) for each in self._asked]
        for asked, is_behind in behind:
            if is_behind and not asked.behind:
                why = f": {asked.trouble}" if asked.trouble else ""
                logger.error(
                    "the witness %s is behind by more than %d seconds%s", asked.witness.name, BEHIND.seconds, why
                )
            elif asked.behind and not is_behind:
                logger.error("the witness %s has caught up", asked.witness.name)
            asked.behind = is_behind


async def _learn(connection: AsyncConnection, asked: _Asked, head: Checkpoint, signed: bytes) -> None:
    """What the witness has, if its line shows that, or nothing is known of it yet."""
    if asked.witness.mark in signed:
        asked.size = head.size
    elif asked.size is None:
        asked.size = (await _last(connection, asked.witness))[0] or 0


async def _is_complete(connection: AsyncConnection, size: int) -> bool:
    """Whether the tree of this size has all entries of more than LATE ago, those apart that it refuses.

    Else nobody may cosign it now: what follows would be older than a time at which the log was seen without it, which
    a verifier has to take for back-dated.
    """
    before = func.clock_timestamp() - LATE
    queued = select(log_queue.c.id).where(log_queue.c.refused.is_(None), log_queue.c.at < before)
    placed = select(log_leaves.c.index).where(log_leaves.c.index >= size, log_leaves.c.at < before)
    return not (await connection.execute(select(or_(queued.exists(), placed.exists())))).scalar_one()


# --- what the stored notes show -------------------------------------------------------------------------------


async def states(connection: AsyncConnection, witnesses: Sequence[Witness]) -> list[State]:
    """Of each witness, from the notes: whoever may read them can ask, not only the process that asks witnesses."""
    found = []
    for each in witnesses:
        size, at = await _last(connection, each)
        found.append(State(each.name, size, at, await _is_behind(connection, size)))
    return found


async def published(
    connection: AsyncConnection, witnesses: Sequence[Witness], quorum: int, size: int | None = None
) -> tuple[Checkpoint, bytes] | None:
    """The head to prove things against: the newest that is vouched for, or the first such one of at least this size.

    If there is none within a minute, one that the log alone has signed; None if there is no such either.
    """
    found = await vouched(connection, witnesses, quorum, size, FEW) if witnesses else None
    if found is None or (size is None and await _is_behind(connection, found.head.size)):
        return await tree.published(connection, size)
    return found.head, found.note


async def vouched(
    connection: AsyncConnection,
    witnesses: Sequence[Witness],
    quorum: int,
    size: int | None = None,
    looked: int = LOOKED,
) -> Vouched | None:
    """The newest head that so many of these witnesses cosigned, or the first such one of at least this size.

    It is looked for among as many. `BadNote` if a line of theirs does not hold.
    """
    columns = _heads(looked, size).c
    cosigned = sum((cast(_has(columns.note, each), Integer) for each in witnesses), start=literal(0))
    query = select(columns.note).where(cosigned >= quorum).order_by(_nearest(columns.size, size)).limit(1)
    signed = (await connection.execute(query)).scalar_one_or_none()
    if signed is None:
        return None
    times = checkpoint.cosigned(signed, [each.key for each in witnesses])
    return Vouched(Checkpoint.parse(note.parts(signed)[0]), signed, times) if len(times) >= quorum else None


async def _last(connection: AsyncConnection, of: Witness) -> tuple[int | None, datetime | None]:
    """The newest head that the witness cosigned, of the newest LOOKED, and when; nothing if its line does not hold."""
    columns = _heads(LOOKED)
    query = select(columns).where(_has(columns.c.note, of)).order_by(columns.c.size.desc()).limit(1)
    row = (await connection.execute(query)).one_or_none()
    if row is None:
        return None, None
    try:
        return row.size, datetime.fromtimestamp(checkpoint.cosigned(row.note, [of.key])[of.name], UTC)
    except (BadNote, KeyError, ValueError, OverflowError, OSError):
        return None, None


async def _is_behind(connection: AsyncConnection, size: int | None) -> bool:
    """Whether the first head after this size was signed longer than BEHIND ago, by the database's clock."""
    waited = func.clock_timestamp() - log_checkpoints.c.at > BEHIND
    query = select(waited).order_by(log_checkpoints.c.size).limit(1)
    if size is not None:
        query = query.where(log_checkpoints.c.size > size)
    return bool((await connection.execute(query)).scalar_one_or_none())


def _heads(looked: int, size: int | None = None) -> Subquery:
    """So many heads: the newest, or the first of at least this size."""
    columns = log_checkpoints.c
    query = select(columns.size, columns.note).order_by(_nearest(columns.size, size)).limit(looked)
    return (query if size is None else query.where(columns.size >= size)).subquery()


def _nearest(sizes: ColumnElement[int], size: int | None) -> ColumnElement[int]:
    """The order in which the head that is wanted comes first."""
    return sizes.desc() if size is None else sizes.asc()


def _has(column: ColumnElement[bytes], of: Witness) -> ColumnElement[bool]:
    return func.position(literal(of.mark, LargeBinary).op("IN")(column)) > 0
