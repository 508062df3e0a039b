"""`make bench SIZE=tree`: what the log's tree costs a decision, how far it keeps up, and how long proofs take."""

import asyncio
import os
import shutil
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import psycopg
from sqlalchemy.ext.asyncio import AsyncConnection

from bench import contest, programme, run, tree
from bench.contest import Figures
from bench.run import Plan, Say
from mythos_gate import db
from mythos_gate.audit import entry
from mythos_gate.audit import tree as stored
from mythos_gate.audit.entry import leaf_hash, timestamp, uuid7
from mythos_gate.audit.merkle import HASH, TILE_WIDTH, Frontier
from mythos_gate.audit.verify import PIECE
from mythos_gate.db import DbRole

PAIRS = 5
RATE, SECONDS, BATCH = 20_000, 10, 400  # entries a second, for so long, so many in a transaction
MANY = 10_000_000
LEAVES = 1_000_000
ASKED, STRIDE = 2_000, 4_999_999  # proofs, of entries so far apart

COPY = "COPY log_entries (id, at, type, writer, n, leaf, body) FROM STDIN (FORMAT BINARY)"
TYPES = ["uuid", "timestamptz", "text", "text", "int8", "bytea", "bytea"]
FILL = """
INSERT INTO log_leaves (index, id, at)
SELECT number, ('00000000-0000-7000-8000-' || lpad(to_hex(number), 12, '0'))::uuid, now()
FROM generate_series(0, %s - 1) AS number
"""


@dataclass(frozen=True, slots=True)
class Report:
    """`pairs`: of each round, the part of the requests a second that the tree takes. `other`: units in the names."""

    figures: Sequence[Figures]
    pairs: Sequence[float]
    other: dict[str, float]

    def content(self) -> dict[str, Any]:
        rows = [{"who": each.who, "connections": each.connections, "rates": each.rates, "cpu_us": each.cpu}
                for each in self.figures]  # fmt: skip
        gate, treeless = (each.cpu for each in self.figures)
        ratios = {"tree_cost": statistics.median(self.pairs), "tree_cpu": gate / treeless - 1}
        return {"size": "tree", "ratios": ratios, "pairs": self.pairs, "rows": rows, "other": self.other}


async def measure(plan: Plan, state: Path, say: Say) -> Report:
    scratch = state / "scratch"
    with run.alone(state), run.postgres(state) as (owner, postmaster):
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir()
        async with AsyncExitStack() as stack:
            gate, treeless = [
                await stack.enter_async_context(run.served_by(plan, plan.size, owner, postmaster, scratch, name, say))
                for name in ("gate", "treeless")
            ]
            say(f"{PAIRS} pairs, with the tree and without")
            entrants = [gate.single(64, "gate"), treeless.single(64, "treeless")]
            figures = contest.run(entrants, plan.seconds, PAIRS)
            pairs = [1 - one / other for one, other in zip(*(each.rates for each in figures), strict=True)]
            say(f"the tree takes {', '.join(f'{each:.1%}' for each in pairs)}")
            other = await tree.caught_up(gate.gate.database)
            say(f"{RATE:,} entries a second")
            other |= await keep_up(gate.gate.database)
            say(f"{other}; a full verification of all of it")
            other |= await tree.verified(gate.gate.database, scratch / "gate", scratch / "bundle.zip")
        other["leaves_per_s"] = leaves_rate()
        say(f"proofs in a log of {MANY:,} entries")
        template = await programme.template(owner, plan.size, scratch / "generated")
        other |= await proofs(owner, template, say)
    return Report(figures, pairs, other)


# --- keeping up -----------------------------------------------------------------------------------------------


async def keep_up(database: str) -> dict[str, float]:
    """Seconds from an entry's commit to its place in the tree, at a steady rate; and entries a second of a backlog."""
    rows = list(_entries(database, RATE * SECONDS))
    with psycopg.connect(database, autocommit=True) as connection:
        base = tree.size_of(connection)
        watching = asyncio.create_task(_watch(database, base + len(rows)))
        written = await asyncio.to_thread(_feed, database, rows, base)
        seen = await watching
        late = [next(at for at, size in seen if size >= upto) - at for at, upto in written]
        backlog = list(_entries(database, RATE * SECONDS))
        base = tree.size_of(connection)
        _write(connection, backlog)
        begun = time.perf_counter()
        while tree.size_of(connection) < base + len(backlog):
            await asyncio.sleep(0.01)
        took = time.perf_counter() - begun
    took_to_write = written[-1][0] - written[0][0]
    return {
        "written_per_s": len(rows) / took_to_write,
        "integrated_after_s": statistics.median(late),
        "integrated_after_max_s": max(late),
        "backlog_per_s": len(backlog) / took,
    }


def _entries(database: str, count: int) -> Iterator[tuple[Any, ...]]:
    """Decisions as the gate wrote one, by a writer of their own."""
    with psycopg.connect(database) as connection:
        [(body,)] = connection.execute("SELECT body FROM log_entries WHERE type = 'decision' LIMIT 1").fetchall()
    like = orjson.loads(body)
    writer, begun, prev = f"pdp-{os.urandom(8).hex()}", datetime.now(UTC), None
    opening = {"type": "session_opened", "confirmed": None, "unknown": []}
    common = {"v": like["v"], "log": like["log"], "writer": writer}
    for n in range(1, count + 1):
        at = begun + timedelta(seconds=n / RATE)
        members = (like if n > 1 else opening) | common
        members |= {"id": uuid7(at, os.urandom(10)), "at": timestamp(at), "n": n, "prev": prev}
        body = entry.canonical(members | {"salt": os.urandom(16).hex()})
        leaf = leaf_hash(body)
        prev = leaf.hex()
        yield UUID(members["id"]), at, members["type"], writer, n, leaf, body


def _feed(database: str, rows: Sequence[tuple[Any, ...]], base: int) -> list[tuple[float, int]]:
    """Batch by batch, each at its time; when each was committed, and the log's size with it."""
    written = []
    with psycopg.connect(database, autocommit=True) as connection:
        begun = time.perf_counter()
        for at in range(0, len(rows), BATCH):
            time.sleep(max(0.0, begun + at / RATE - time.perf_counter()))
            _write(connection, rows[at : at + BATCH])
            written.append((time.perf_counter(), base + min(at + BATCH, len(rows))))
    return written


def _write(connection: psycopg.Connection[Any], rows: Sequence[tuple[Any, ...]]) -> None:
    with connection.cursor().copy(COPY) as copy:
        copy.set_types(TYPES)
        for row in rows:
            copy.write_row(row)


async def _watch(database: str, upto: int) -> list[tuple[float, int]]:
    """The tree's size, again and again until it has so many entries."""
    seen = []
    async with await psycopg.AsyncConnection.connect(database, autocommit=True) as connection:
        while not seen or seen[-1][1] < upto:
            row = await (await connection.execute("SELECT size FROM log_head")).fetchone()
            assert row is not None
            seen.append((time.perf_counter(), row[0]))
            await asyncio.sleep(0.01)
    return seen


def leaves_rate() -> float:
    """Leaf hashes a second that one core takes to a root: a verification without reading what the entries say."""
    drawn = os.urandom(LEAVES * HASH)
    leaves = [drawn[at : at + HASH] for at in range(0, len(drawn), HASH)]
    frontier, begun = Frontier(), time.perf_counter()
    for start in range(0, LEAVES, PIECE):
        frontier.append(leaves[start : start + PIECE])
    assert len(frontier.root()) == HASH
    return LEAVES / (time.perf_counter() - begun)


# --- proofs -----------------------------------------------------------------------------------------------------------


async def proofs(owner: str, template: str, say: Say) -> dict[str, float]:
    """Milliseconds to find an entry's place and prove it: the tree is real, the entries behind its leaves are not."""
    database = programme.fresh(owner, template, "large_tree")
    try:
        await asyncio.to_thread(_grow, database)
        say("asking for them")
        engine = db.engine(database, DbRole.READER, pool_size=1)
        try:
            async with engine.connect() as connection:
                times = [await _proved(connection, number * STRIDE % MANY) for number in range(ASKED)]
        finally:
            await engine.dispose()
    finally:
        programme.drop(owner, database)
    return {"proof_ms": statistics.median(times), "proof_p99_ms": statistics.quantiles(times, n=100)[-1]}


async def _proved(connection: AsyncConnection, index: int) -> float:
    identifier = UUID(f"00000000-0000-7000-8000-{index:012x}")
    begun = time.perf_counter()
    found = await stored.inclusion(connection, identifier, MANY)
    took = (time.perf_counter() - begun) * 1e3
    assert found is not None
    assert found[0] == index
    assert 0 < len(found[1]) <= MANY.bit_length()
    return took


def _grow(database: str) -> None:
    frontier, edges = Frontier(), dict[int, tuple[int, bytes]]()  # level -> number of its next tile, hashes of that
    step = TILE_WIDTH**2
    with psycopg.connect(database) as connection:
        connection.execute("TRUNCATE log_queue")
        connection.execute(FILL, (MANY,))
        with connection.cursor().copy("COPY log_tiles (level, index, hashes) FROM STDIN") as copy:
            for start in range(0, MANY, step):
                count = min(step, MANY - start)
                drawn = os.urandom(count * HASH)
                gained = frontier.append([drawn[at : at + HASH] for at in range(0, len(drawn), HASH)])
                for level, hashes in gained.items():
                    number, data = edges.get(level, (0, b""))
                    data += b"".join(hashes)
                    whole = TILE_WIDTH * HASH
                    for at in range(0, len(data) - len(data) % whole, whole):
                        copy.write_row((level, number, data[at : at + whole]))
                        number += 1
                    edges[level] = number, data[len(data) - len(data) % whole :]
            for level, (number, data) in edges.items():
                if data:
                    copy.write_row((level, number, data))
        connection.commit()
        connection.autocommit = True
        connection.execute("VACUUM ANALYZE log_leaves, log_tiles")
