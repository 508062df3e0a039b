"""The log's tree: how soon it has what was written, and what it and the entries take on disk."""

import asyncio
import time

import psycopg

PATIENCE = 60.0  # seconds
STORED = """
SELECT sum(pg_total_relation_size(oid)) FILTER (WHERE relispartition),
  sum(pg_total_relation_size(oid)) FILTER (WHERE NOT relispartition)
FROM pg_class WHERE relkind = 'r'
  AND (relname ~ '^log_entries_' OR relname IN ('log_leaves', 'log_tiles', 'log_checkpoints'))
"""


async def caught_up(database: str) -> dict[str, float]:
    """Seconds until nothing is queued any more, and bytes of storage for each entry. TimeoutError after a minute."""
    begun = time.perf_counter()
    with psycopg.connect(database, autocommit=True) as connection:
        async with asyncio.timeout(PATIENCE):
            while connection.execute("SELECT count(*) FROM log_queue").fetchone() != (0,):
                await asyncio.sleep(0.05)
        waited = time.perf_counter() - begun
        size = _number(connection, "SELECT size FROM log_head")
        if _number(connection, "SELECT count(*) FROM log_entries") != size:
            raise ValueError("the tree does not have every entry")
        entries, tree = connection.execute(STORED).fetchone() or (0, 0)
    return {"tree_behind_s": waited, "entry_bytes": float(entries) / size, "tree_bytes_per_entry": float(tree) / size}


def _number(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
