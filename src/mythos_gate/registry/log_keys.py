"""The public keys of the log: which ones sign, and which ones did. The private ones are files (`audit.keys`)."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import func, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Conflict
from mythos_gate.registry.change import Change
from mythos_gate.tables import log_keys


async def page(connection: AsyncConnection) -> list[dict[str, Any]]:
    """The oldest first; `retired` is null while a key signs."""
    rows = await connection.execute(select(log_keys).order_by(log_keys.c.created_at))
    return [
        {
            "verifier": row.verifier,
            "created": timestamp(row.created_at),
            "retired": None if row.retired_at is None else timestamp(row.retired_at),
        }
        for row in rows
    ]


async def unannounced(connection: AsyncConnection, verifiers: Collection[str]) -> list[str]:
    """Those of these keys that the log does not name yet."""
    known = set((await connection.execute(select(log_keys.c.verifier))).scalars())
    return [each for each in verifiers if each not in known]


async def announce(change: Change, verifier: str) -> None:
    """The log's own word of a key that signs from now on. `Conflict` if it is there."""
    if not await unannounced(change.connection, [verifier]):
        raise Conflict("this key is announced already")
    await change.connection.execute(insert(log_keys).values(verifier=verifier))
    change.details["verifier"] = verifier


async def retire(change: Change, verifier: str) -> None:
    """It signs nothing any more. `Conflict` unless it does now."""
    query = (
        update(log_keys)
        .where(log_keys.c.verifier == verifier, log_keys.c.retired_at.is_(None))
        .values(retired_at=func.clock_timestamp())
    )
    if (await change.connection.execute(query)).rowcount != 1:
        raise Conflict("this key does not sign: `mythos-gate log keys` shows those that do")
    change.details["verifier"] = verifier
