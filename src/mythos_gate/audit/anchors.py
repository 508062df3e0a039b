"""Anchors: what witnesses and the timestamp authority vouched for, logged in turn, once a minute at most."""

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any

import httpx
from sqlalchemy import exists, select
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mythos_gate.audit import cosigning, timestamps
from mythos_gate.audit.cosigning import Vouched
from mythos_gate.audit.entry import timestamp
from mythos_gate.audit.exchange import Unanswered
from mythos_gate.audit.timestamps import Authority, BadTimestamp
from mythos_gate.audit.witness import Witness
from mythos_gate.tables import log_entries, log_leaves

EVERY = 60.0  # seconds
PATIENCE = 60.0  # seconds for one anchor, what is asked for it included
TYPE = "anchor"
FEW = 100  # of the newest, one of which is surely the gate's
# What an anchor brings about itself: of these alone the log does not grow further.
OWN = (TYPE, "session_opened")
# Newest entries in which a process that begins looks for the last anchor. If so many have none, one is due.
LOOKED = 100_000

ENTRIES = log_leaves.join(log_entries, (log_entries.c.id == log_leaves.c.id) & (log_entries.c.at == log_leaves.c.at))

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Vouching:
    """Who vouches for the log from outside: witnesses, how many of them make a head cosigned, an authority of time."""

    witnesses: Sequence[Witness] = ()
    quorum: int = 0
    authority: Authority | None = None


class Anchoring:
    """`note` is `Committer.note`; without it heads are timestamped alone. `leads` as in `Cosigning`."""

    def __init__(
        self,
        engine: AsyncEngine,
        client: httpx.AsyncClient,
        vouching: Vouching,
        note: Callable[[str, Mapping[str, Any]], Awaitable[None]] | None,
        leads: Callable[[], bool],
    ) -> None:
        self._engine = engine
        self._client = client
        self._vouching = vouching
        self._note = note
        self._leads = leads
        self._anchored: int | None = None  # what the last anchor covers; None: it has to be looked up

    async def run(self) -> None:
        """For ever."""
        while True:
            await asyncio.sleep(EVERY)
            try:
                async with asyncio.timeout(PATIENCE):
                    await (self.step() if self._leads() else self._follow())
            except Exception:
                logger.exception("the log could not be anchored")
                self._anchored = None

    async def _follow(self) -> None:
        self._anchored = None  # somebody else anchors

    async def step(self) -> None:
        """Have the newest cosigned head timestamped, and log it, unless that is done or nothing came since."""
        async with self._engine.connect() as connection:
            found = await cosigning.vouched(connection, self._vouching.witnesses, self._vouching.quorum)
            if found is None:
                return
            due = self._note is not None and await self._is_due(connection, found.head.size)
        token = await self._stamped(found)
        if self._note is not None and due:
            await self._note(TYPE, _members(found, token))
            self._anchored = found.head.size

    async def _is_due(self, connection: AsyncConnection, size: int) -> bool:
        """Whether a head of this size covers an entry that no anchor covers, and that is none of an anchor's own."""
        if self._anchored is None:
            self._anchored = await _last(connection)
        query = (
            select(1)
            .select_from(ENTRIES)
            .where(log_leaves.c.index >= self._anchored, log_leaves.c.index < size, log_entries.c.type.not_in(OWN))
        )
        return bool((await connection.execute(select(exists(query)))).scalar_one())

    async def _stamped(self, found: Vouched) -> bytes | None:
        """The token over this head, asked for if there is none yet; None if there is no authority or it fails."""
        authority = self._vouching.authority
        async with self._engine.connect() as connection:
            token = await timestamps.find(connection, found.head.size)
        if token is not None or authority is None:
            return token
        try:
            token = await timestamps.ask(self._client, authority, found.text)
        except (BadTimestamp, Unanswered) as error:
            logger.error("the head of %d entries has no timestamp: %s", found.head.size, error)  # noqa: TRY400  no trace
            return None
        async with self._engine.begin() as connection:
            await timestamps.store(connection, found.head.size, token)
        return token


def _members(found: Vouched, token: bytes | None) -> dict[str, Any]:
    """What docs/log.md says of an anchor."""
    return {
        "checkpoint": {
            "size": found.head.size,
            "root": found.head.root.hex(),
            "sha256": sha256(found.text).hexdigest(),
        },
        "cosigned": [
            {"name": name, "time": timestamp(datetime.fromtimestamp(at, UTC))}
            for name, at in sorted(found.times.items())
        ],
        "timestamp": None if token is None else sha256(token).hexdigest(),
    }


async def _last(connection: AsyncConnection) -> int:
    """The size that the last anchor covers; 0 if there is none among the newest LOOKED entries."""
    newest = select(log_leaves.c.index).order_by(log_leaves.c.index.desc()).limit(1)
    end = (await connection.execute(newest)).scalar_one_or_none() or 0
    query = (
        select(log_leaves.c.index, log_entries.c.body)
        .select_from(ENTRIES)
        .where(log_leaves.c.index > end - LOOKED, log_entries.c.type == TYPE)
        .order_by(log_leaves.c.index.desc())
        .limit(FEW)
    )
    covered = [_covered(index, body) for index, body in await connection.execute(query)]
    return next((size for size in covered if size is not None), 0)


def _covered(index: int, body: bytes) -> int | None:
    """The size that an anchor covers; None if it is none, as whoever has the service's login can write."""
    try:
        size = json.loads(body)["checkpoint"]["size"]
    except (ValueError, KeyError, TypeError):
        return None
    return size if type(size) is int and 0 <= size <= index else None
