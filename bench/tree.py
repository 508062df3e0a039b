"""The log's tree: how soon it has what was written, what it takes on disk, and whether it proves what is in it."""

import asyncio
import time
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from bench.gate import ORIGIN
from mythos_gate import db, sequencing
from mythos_gate.audit import exporting, keys
from mythos_gate.audit.anchors import Vouching
from mythos_gate.audit.bundle import Bundle
from mythos_gate.audit.exporting import Export
from mythos_gate.audit.reading import Filters
from mythos_gate.audit.report import Trust
from mythos_gate.audit.verify import verify
from mythos_gate.db import DbRole
from mythos_gate.log_commands import shared
from mythos_gate.settings import Settings

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
        size = size_of(connection)
        if _number(connection, "SELECT count(*) FROM log_entries") != size:
            raise ValueError("the tree does not have every entry")
        entries, tree = connection.execute(STORED).fetchone() or (0, 0)
    return {"tree_behind_s": waited, "entry_bytes": float(entries) / size, "tree_bytes_per_entry": float(tree) / size}


async def verified(database: str, state: Path, bundle: Path) -> dict[str, float]:
    """Entries a second that are exported, and that are verified offline. ValueError if there is any finding."""
    signer = sequencing.receipt_signer(Settings(state=state, origin=ORIGIN))
    assert signer is not None
    public = [keys.read(path, ORIGIN).verifier for path in (state / "log-keys").glob("*.pem")]
    reader = db.engine(database, DbRole.READER, pool_size=2)
    begun = time.perf_counter()
    try:
        async with reader.connect() as connection:
            plan = await exporting.planned(connection, Vouching(), 0, None, None, Filters(), ["ndjson"])
        with bundle.open("wb") as file:
            async for piece in Export(reader.connect, plan, signer).pieces("bench", "bench", datetime.now(UTC)):
                file.write(piece)
    finally:
        await reader.dispose()
    exported = time.perf_counter()
    with ProcessPoolExecutor() as pool:
        report = verify(Bundle(bundle), Trust(public, [signer.verifier]), mapping=shared(pool))
    took = time.perf_counter() - exported
    if report.exit_code:
        raise ValueError(f"the log does not verify: {report.findings + report.denied}")
    size = bundle.stat().st_size
    bundle.unlink()
    return {
        "exported_per_s": plan.count / (exported - begun),
        "verified_per_s": plan.count / took,
        "verified_entries": plan.count,
        "bundle_bytes_per_entry": size / plan.count,
    }


def size_of(connection: psycopg.Connection[tuple[int]]) -> int:
    """How many entries have their places."""
    return _number(connection, "SELECT size FROM log_head")


def _number(connection: psycopg.Connection[tuple[int]], query: str) -> int:
    row = connection.execute(query.encode()).fetchone()
    assert row is not None
    return row[0]
