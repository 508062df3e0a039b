"""Changes of keys alone, as an administrative transaction leaves them, and what a process hears of them."""

from typing import Any

import asyncpg

from mythos_gate.revision import HEAR, Known


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
