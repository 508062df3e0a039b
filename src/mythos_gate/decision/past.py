"""The records of a day gone by, read as those of today are, and judged by the policy of that day."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import datetime

import asyncpg

from mythos_gate.decision.library import Library
from mythos_gate.decision.records import Pip
from mythos_gate.revision import Known

# The views of schema `past` have the tables' names, and come first.
RETURN = """
SELECT set_config('search_path', 'past, ' || current_setting('search_path'), false),
  set_config('mythos_gate.as_of', $1, false)
"""


@asynccontextmanager
async def at(
    day: datetime, now: datetime, connect: Callable[[], Awaitable[asyncpg.Connection]], library: Library
) -> AsyncIterator[tuple[asyncpg.Connection, Pip]]:
    """A connection that reads what was on record then, and a Pip whose clock shows that time."""
    connection = await connect()
    try:
        await connection.execute("SELECT set_config('default_transaction_read_only', 'on', false)")
        await connection.fetch(RETURN, day.isoformat())
        since = day - now
        known = Known(since)
        yield connection, Pip(known, library, lambda: known.now()[0])
    finally:
        await connection.close()
