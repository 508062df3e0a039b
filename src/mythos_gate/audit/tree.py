"""Reading the tree: the published checkpoint, tiles, places and proofs. Nothing here is trusted by who verifies."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from sqlalchemy import BigInteger, column, func, literal, select, text
from sqlalchemy.ext.asyncio import AsyncConnection

from mythos_gate.audit import checkpoint, merkle
from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.merkle import HASH, TILE_HEIGHT, TILE_WIDTH, Node, Tile
from mythos_gate.tables import log_checkpoints, log_head, log_queue

# In one statement: the tiles on a leaf's way up and those on the right edge of a tree, which have all of its proof.
WAY = """
SELECT leaf.index, tile.level, tile.index, tile.hashes
FROM log_leaves AS leaf CROSS JOIN generate_series(0, %(top)s::integer) AS risen
JOIN log_tiles AS tile ON tile.level = risen
  AND tile.index IN (leaf.index >> 8 * (risen + 1), %(size)s::bigint >> 8 * (risen + 1))
WHERE leaf.id = %(entry)s AND leaf.index < %(size)s::bigint
"""
# As text, whose form is the same for any number of them: SQLAlchemy would write a VALUES anew for each proof.
TILES = text(
    "SELECT level, index, hashes FROM log_tiles WHERE (level, index) IN"
    " (SELECT * FROM unnest(CAST(:levels AS smallint[]), CAST(:indexes AS bigint[])))"
)


async def published(connection: AsyncConnection, size: int | None = None) -> tuple[Checkpoint, bytes] | None:
    """The newest checkpoint with its note, or the first one of at least this size; None if there is none."""
    query = select(log_checkpoints.c.note).order_by(log_checkpoints.c.size.desc()).limit(1)
    if size is not None:
        query = (
            select(log_checkpoints.c.note)
            .where(log_checkpoints.c.size >= size)
            .order_by(log_checkpoints.c.size)
            .limit(1)
        )
    note = (await connection.execute(query)).scalar_one_or_none()
    if note is None:
        return None
    return checkpoint.unverified(note), note


@dataclass(frozen=True)
class State:
    """How far the tree is: its head, the newest signed one, and the queue before it."""

    size: int
    signed: int
    signed_at: datetime | None
    waiting: int
    oldest: datetime | None  # of those that wait
    refused: int  # queued, and never to enter the tree


async def state(connection: AsyncConnection) -> State:
    """In one statement, and so of one instant."""
    queued = log_queue.c.refused.is_(None)
    newest = select(log_checkpoints).order_by(log_checkpoints.c.size.desc()).limit(1).subquery()
    query = select(
        select(log_head.c.size).scalar_subquery(),
        func.coalesce(select(newest.c.size).scalar_subquery(), 0),
        select(newest.c.at).scalar_subquery(),
        func.count().filter(queued),
        func.min(log_queue.c.at).filter(queued),
        func.count().filter(~queued),
    ).select_from(log_queue)
    return State(*(await connection.execute(query)).one())


async def checkpoints(connection: AsyncConnection, start: int, end: int, most: int) -> list[bytes]:
    """The notes of sizes above `start`, up to `end`: about `most` of them, evenly over the entries, and the last."""
    size = log_checkpoints.c.size
    step = max(1, (end - start) // most)
    bounds = (literal(number, BigInteger) for number in (end, start + 1, -step))
    stretches = func.generate_series(*bounds).table_valued(column("upto", BigInteger)).render_derived()
    upto = stretches.c.upto
    # The newest of each, by the index: a year has tens of millions.
    newest = select(func.max(size)).where(size > upto - step, size > start, size <= upto).correlate(stretches)
    sizes = select(newest.scalar_subquery()).select_from(stretches)
    query = select(log_checkpoints.c.note).where(size.in_(sizes)).order_by(size)
    return list((await connection.execute(query)).scalars())


async def inclusion(connection: AsyncConnection, entry: UUID, size: int) -> tuple[int, list[bytes]] | None:
    """The leaf index of an entry, and its inclusion proof in the tree of this size; None if that does not have it."""
    asked = {"entry": entry, "size": size, "top": (max(size, 1).bit_length() - 1) // TILE_HEIGHT}
    # By the driver, and as bytes: SQLAlchemy takes as long as all the rest, and has Postgres write them in hexadecimal.
    driver = (await connection.get_raw_connection()).driver_connection
    assert driver is not None
    async with driver.cursor(binary=True) as cursor:
        await cursor.execute(WAY, asked)
        rows = await cursor.fetchall()
    if not rows:
        return None
    index = rows[0][0]
    have = {Tile(level, number): hashes for _, level, number, hashes in rows}
    return index, merkle.proof(merkle.inclusion_nodes(index, size), have)


async def tiles(connection: AsyncConnection, wanted: Sequence[Tile]) -> dict[Tile, bytes]:
    """The stored bytes of tiles, which may be more than an older tree had."""
    if not wanted:
        return {}
    named = {"levels": [tile.level for tile in wanted], "indexes": [tile.index for tile in wanted]}
    return {Tile(level, index): hashes for level, index, hashes in await connection.execute(TILES, named)}


async def leaves(connection: AsyncConnection, start: int, end: int) -> list[bytes]:
    """The leaf hashes of a range, from the tiles."""
    first, last = start // TILE_WIDTH, (end + TILE_WIDTH - 1) // TILE_WIDTH
    stored = await tiles(connection, [Tile(0, index) for index in range(first, last)])
    joined = b"".join(stored[Tile(0, index)] for index in range(first, last))
    offset = first * TILE_WIDTH
    return [joined[(at - offset) * HASH : (at - offset + 1) * HASH] for at in range(start, end)]


async def proof(connection: AsyncConnection, groups: Sequence[Sequence[Node]]) -> list[bytes]:
    """The hashes of `merkle.inclusion_nodes` or `merkle.consistency_nodes`."""
    return merkle.proof(groups, await tiles(connection, sorted(merkle.tiles_for(groups))))


async def proofs(connection: AsyncConnection, groups: Sequence[Sequence[Sequence[Node]]]) -> list[list[bytes]]:
    """The same of many proofs, each tile read once."""
    wanted = set[Tile]().union(*(merkle.tiles_for(each) for each in groups))
    have = await tiles(connection, sorted(wanted))
    return [merkle.proof(each, have) for each in groups]
