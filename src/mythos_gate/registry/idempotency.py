"""Idempotency keys: a change that was made is not made again. What was answered to it is answered again, for a day.

The answer is committed by the transaction that makes the change, so that neither is there without the other. It may
name people, and what it says of them must not outlive its purpose or be read by anybody else: in the database are a
digest of caller and key, a digest of the request, and the answer under AES-GCM. All three are made with the gate's
digest key, and the last with the caller's own key besides, which is kept nowhere: whoever repeats the request has it.
"""

import hmac
import secrets
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self

import orjson
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import RowMapping, delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate import revision
from mythos_gate.errors import Reused, UnderWay
from mythos_gate.registry.change import Change, Registry, written
from mythos_gate.tables import idempotency_keys as keys

# No JSON starts like this: what the log's digests are made of, under the same key, is JSON that callers choose.
PURPOSE = b"mythos-gate idempotency key 1"
NONCE = 12  # bytes
STANDS = keys.c.created_at > func.clock_timestamp() - text("interval '24 hours'")
LOCK = text("SELECT pg_try_advisory_xact_lock(:lock)")


@dataclass(frozen=True, slots=True)
class Answer:
    """As it left: the headers as the server has them."""

    status: int
    headers: Sequence[tuple[str, str]]
    body: str


@dataclass(frozen=True, slots=True)
class Slot:
    """Where an answer is kept, to which request, and what opens it; each 32 bytes."""

    id: bytes
    request: bytes
    secret: bytes

    def seal(self, answer: Answer) -> bytes:
        nonce = secrets.token_bytes(NONCE)
        content = orjson.dumps([answer.status, answer.headers, answer.body])
        return nonce + AESGCM(self.secret).encrypt(nonce, content, self.request)

    def open(self, sealed: bytes) -> Answer:
        content = AESGCM(self.secret).decrypt(sealed[:NONCE], sealed[NONCE:], self.request)
        status, headers, body = orjson.loads(content)
        return Answer(status, [(name, value) for name, value in headers], body)


class Slots:
    """`key` is the gate's digest key: every process that has it finds the same."""

    def __init__(self, key: bytes) -> None:
        self._key = hmac.digest(key, PURPOSE, "sha256")

    def of(self, caller: str, key: str, request: Sequence[str | None], body: bytes) -> Slot:
        """The slot of a caller's key; `request` is what else makes the request the same."""
        named = orjson.dumps([caller, key])
        asked = orjson.dumps(request) + b"\n" + body
        return Slot(self._digest(b"slot", named), self._digest(b"request", asked), self._digest(b"answer", named))

    def _digest(self, what: bytes, content: bytes) -> bytes:
        return hmac.digest(self._key, what + b" " + content, "sha256")


class Attempt(Registry):
    """The registry of one request with a key: its change waits for its answer, and both are committed at once."""

    def __init__(self, registry: Registry, slots: Slots) -> None:
        super().__init__(registry.engine, registry.origin)
        self.slots = slots
        self._stack = AsyncExitStack()
        self._connection: AsyncConnection
        self._slot: Slot
        self._change: Change | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._stack.__aexit__(kind, error, trace)

    async def begin(self, slot: Slot) -> Answer | None:
        """What was answered before. Or None: then nobody else makes this change until it is made or given up.

        `UnderWay` while somebody does, `Reused` if it was another request, `NotRecorded` if the database fails.
        """
        with written():
            self._connection = await self._stack.enter_async_context(self.engine.connect())
            self._slot = slot
            found = await self._found()
            if found is None:
                # Of the transaction: it ends with it, and with the connection of a process that dies.
                lock = {"lock": int.from_bytes(slot.id[:8], signed=True)}
                if not (await self._connection.execute(LOCK, lock)).scalar_one():
                    raise UnderWay("a request with this Idempotency-Key is under way: ask again when it is done")
                found = await self._found()  # it may have been done before the lock was taken
            return None if found is None else await self._told(found)

    @asynccontextmanager
    async def change(self, kind: str, actor: str, *, dry: bool = False) -> AsyncIterator[Change]:
        """The same as the registry's, but that it is committed by `keep`."""
        assert self._change is None, "a request is one unit of work"
        with written():
            change = Change(self._connection, kind, actor)
            yield change
            self._change = None if dry else change

    async def keep(self, answer: Answer) -> None:
        """Commit the change and its answer. `NotRecorded`."""
        if self._change is None:
            return
        values = {"request": self._slot.request, "answer": self._slot.seal(answer)}
        new = insert(keys).values(id=self._slot.id, **values)
        # In the place of one that is over and was not deleted yet.
        over = new.on_conflict_do_update(
            index_elements=["id"], set_=values | {"created_at": func.clock_timestamp(), "told_at": None}
        )
        with written():
            await self._connection.execute(over)
            await self.commit(self._change)

    async def _found(self) -> RowMapping | None:
        found = await self._connection.execute(select(keys).where(keys.c.id == self._slot.id, STANDS))
        return found.mappings().one_or_none()

    async def _told(self, found: RowMapping) -> Answer:
        """Behind a commit of its own: what the first one may have left unsure, such as a standby, is sure then."""
        if not hmac.compare_digest(found["request"], self._slot.request):
            raise Reused("the Idempotency-Key was sent with another request before: send a new one")
        again = update(keys).where(keys.c.id == self._slot.id).values(told_at=func.clock_timestamp())
        await self._connection.execute(again)
        await revision.confirm(self._connection)
        return self._slot.open(found["answer"])


async def forget(connection: AsyncConnection) -> None:
    """Delete what is over."""
    await connection.execute(delete(keys).where(~STANDS))
