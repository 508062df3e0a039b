"""Changes of keys alone, as an administrative transaction leaves them, and what a process hears of them."""

import secrets
from datetime import UTC, datetime
from typing import Any

import asyncpg

from mythos_gate.audit.entry import REGISTRY_PLACE, template, uuid7
from mythos_gate.revision import HEAR, Known


def bump(kind: str = "test") -> tuple[str, list[Any]]:
    """The statement that ends a change, with an entry of its own."""
    identifier = uuid7(datetime.now(UTC), secrets.token_bytes(10))
    said = {"v": 1, "type": kind, "id": identifier, "writer": "registry", "salt": "aa"}
    return "SELECT bump_revision(%s, %s, %s)", [identifier, kind, list(template(said, REGISTRY_PLACE))]


async def touch(database: str, *keys: str) -> None:
    owner = await asyncpg.connect(database)
    n = await owner.fetchval("UPDATE revision SET n = n + 1 RETURNING n")
    await owner.execute("INSERT INTO revision_stamps (n) VALUES ($1)", n)
    await owner.executemany("INSERT INTO touched (xid, key, n) VALUES ('0', $1, $2)", [(key, n) for key in keys])
    await owner.close()


async def guard(database: str, known: Known) -> Any:
    """What the database tells the process."""
    owner = await asyncpg.connect(database)
    row = await owner.fetchrow(HEAR, *known.asks())
    await owner.close()
    return row


async def hear(database: str, known: Known) -> None:
    """Let the process hear of all changes so far."""
    known.hear(known.sends(), await guard(database, known))
