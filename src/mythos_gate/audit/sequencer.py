"""The sequencer: gives every committed entry its place in the tree, and has each new head signed.

One leads among any number of processes. It takes entries from the queue that their own transactions filled, never by
"id greater than the last seen": ids are drawn before transactions commit, so one may appear behind a later one.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import asyncpg

from mythos_gate.audit.checkpoint import Checkpoint
from mythos_gate.audit.entry import is_stored, leaf_hash, timestamp
from mythos_gate.audit.merkle import (
    HASH,
    TILE_WIDTH,
    Frontier,
    Tile,
    consistency_nodes,
    proof,
    root_nodes,
    tile_hash,
    tile_of,
    tiles_for,
    width,
)
from mythos_gate.audit.signer import Signer

BATCH = 5_000  # entries of a transaction
EVERY = 1.0  # seconds from one checkpoint to the next
PATIENCE = 30.0  # seconds for a statement
ALONE = 0x6D79_7468_6F73  # the advisory lock's number

QUEUED = """
SELECT q.id, e.id AS entry_id, e.at, e.type, e.writer, e.n, e.leaf, e.body
FROM (SELECT id, entry_id, at FROM log_queue WHERE refused IS NULL ORDER BY id LIMIT $1) AS q
LEFT JOIN log_entries AS e ON e.id = q.entry_id AND e.at = q.at
ORDER BY q.id
"""
# An entry's key is (id, at), so one id may come twice; in the tree it may not.
REFUSE_DOUBLED = """
UPDATE log_queue AS q SET refused = $1
WHERE refused IS NULL AND (
  EXISTS (SELECT FROM log_leaves WHERE id = q.entry_id)
  OR EXISTS (SELECT FROM log_queue AS o WHERE o.entry_id = q.entry_id AND o.id < q.id AND o.refused IS NULL)
)
"""
REFUSE = "UPDATE log_queue SET refused = $2 WHERE id = ANY ($1::bigint[])"
PLACE = """
WITH taken AS (DELETE FROM log_queue WHERE id = ANY ($2::bigint[]) RETURNING id, entry_id, at)
INSERT INTO log_leaves (index, id, at)
SELECT $1::bigint + row_number() OVER (ORDER BY id) - 1, entry_id, at FROM taken
"""
STORE = """
INSERT INTO log_tiles (level, index, hashes) VALUES ($1, $2, $3)
ON CONFLICT (level, index) DO UPDATE SET hashes = EXCLUDED.hashes
"""
MOVE = "UPDATE log_head SET size = $1, root = $2 WHERE size = $3 AND root = $4"
TILES = """
SELECT level, index, hashes FROM log_tiles
WHERE (level, index) IN (SELECT * FROM unnest($1::smallint[], $2::bigint[]))
"""
# A plan is made while the tables are small, and kept: it must not be one that reads all entries for each batch.
BY_INDEX = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off"
LATEST = "SELECT note FROM log_checkpoints ORDER BY size DESC LIMIT 1"
SIGNED = "INSERT INTO log_checkpoints (size, note) VALUES ($1, $2) ON CONFLICT DO NOTHING"

logger = logging.getLogger(__name__)


class Overtaken(Exception):
    """Somebody else moved the head: what is known of the tree is old."""


class Tampered(Exception):
    """What is stored of the tree contradicts itself."""


@dataclass(slots=True)
class _Tree:
    """The right edge of the tree as it was committed last."""

    frontier: Frontier
    edge: dict[int, bytes]  # of each level of tiles the hashes of its last one that is not full

    @property
    def head(self) -> tuple[int, bytes]:
        return self.frontier.size, self.frontier.root()


class Sequencer:
    """`connect` gives a connection of the sequencer's role, past any pooler: the lock belongs to its session."""

    def __init__(self, connect: Callable[[], Awaitable[asyncpg.Connection]], signer: Signer, origin: str) -> None:
        self._connect = connect
        self._signer = signer
        self._origin = origin
        self._connection: asyncpg.Connection | None = None
        self._tree: _Tree | None = None
        self._stored = 0  # the size of the last checkpoint that is known to be in the database
        self.leads = False

    async def run(self) -> None:
        """For ever: lead as soon as nobody else does, and take in what is queued once in a while."""
        while True:
            started = asyncio.get_running_loop().time()
            try:
                async with asyncio.timeout(PATIENCE):
                    await self.lead()
                await self.step()
            except Exception:
                logger.exception("the log could not be sequenced")
                await self.close()
            await asyncio.sleep(max(0.0, started + EVERY - asyncio.get_running_loop().time()))

    async def lead(self) -> bool:
        """Whether this one leads now. Connects if need be."""
        if self._connection is None or self._connection.is_closed():
            self._tree, self.leads = None, False
            self._connection = await self._connect()
            await self._connection.execute(BY_INDEX)
        self.leads = self.leads or await self._connection.fetchval("SELECT pg_try_advisory_lock($1)", ALONE)
        return self.leads

    async def step(self) -> int:
        """If this one leads: take in all that is queued, and have the new head signed. The tree's size."""
        if not self.leads:
            return 0
        loop = asyncio.get_running_loop()
        due = loop.time() + EVERY
        while await self._integrate() == BATCH:
            if loop.time() >= due:  # a long queue is no reason for no head
                await self._publish()
                due = loop.time() + EVERY
        await self._publish()
        return self._known.frontier.size

    async def close(self) -> None:
        connection, self._connection, self._tree, self.leads = self._connection, None, None, False
        if connection is not None:
            connection.terminate()

    @property
    def _known(self) -> _Tree:
        assert self._tree is not None
        return self._tree

    @property
    def _session(self) -> asyncpg.Connection:
        assert self._connection is not None
        return self._connection

    async def _integrate(self) -> int:
        """One batch, in one transaction: places, tiles, head, queue. How many were queued, at most BATCH."""
        try:
            async with asyncio.timeout(PATIENCE):
                self._tree = self._tree or await self._read()
            async with asyncio.timeout(PATIENCE), self._session.transaction():
                queued = await self._session.fetch(QUEUED, BATCH)
                sound = await self._sound(queued)
                if sound:
                    await self._append(sound)
        except asyncpg.UniqueViolationError as error:
            self._tree = None
            if error.constraint_name != "uq_log_leaves_id":
                raise
            await self._refuse_doubled()
            return await self._integrate()
        except BaseException:
            self._tree = None  # whether it was committed is unknown: read it anew
            raise
        return len(queued)

    async def _sound(self, queued: Sequence[asyncpg.Record]) -> list[tuple[int, bytes]]:
        """Of what was queued (id, leaf), the leaf computed from the bytes. The rest stays queued, marked, for ever."""
        sound, refused = [], dict[str, list[int]]()
        for number, identifier, at, kind, writer, n, leaf, body in queued:
            if body is None:
                refused.setdefault("the entry is gone", []).append(number)
                continue
            if leaf_hash(body) != leaf:
                refused.setdefault("the entry is not what its leaf says", []).append(number)
                continue
            columns = {"id": str(identifier), "at": timestamp(at), "type": kind, "writer": writer, "n": n}
            if is_stored(body, columns):
                sound.append((number, leaf))
            else:
                refused.setdefault("the entry cannot be read back, or is not what its columns say", []).append(number)
        for why, numbers in refused.items():
            logger.critical("the log was tampered with: %s (queued as %s)", why, numbers)
            await self._session.execute(REFUSE, numbers, why)
        return sound

    async def _refuse_doubled(self) -> None:
        why = "the entry has the id of another one"
        async with asyncio.timeout(PATIENCE):
            refused = await self._session.execute(REFUSE_DOUBLED, why)
        if refused == "UPDATE 0":
            raise Tampered("what is queued has the id of a leaf, and no entry of that id is queued")
        logger.critical("the log was tampered with: %s (%s)", why, refused)

    async def _append(self, sound: Sequence[tuple[int, bytes]]) -> None:
        tree = self._known
        size, root = tree.head
        placed = await self._session.execute(PLACE, size, [number for number, _ in sound])
        if placed != f"INSERT 0 {len(sound)}":
            raise Overtaken(f"{placed} of {len(sound)}")
        gained = tree.frontier.append([leaf for _, leaf in sound])
        await self._session.executemany(STORE, [(*tile, hashes) for tile, hashes in _filled(tree, size, gained)])
        if await self._session.execute(MOVE, *tree.head, size, root) != "UPDATE 1":
            raise Overtaken(f"the head is no longer at {size}")

    async def _read(self) -> _Tree:
        """The tree's right edge, if the tiles and the head agree. `Tampered` if not."""
        head = await self._session.fetchrow("SELECT size, root FROM log_head")
        if head is None:
            raise Tampered("the log's head is gone")
        size, root = head
        nodes = root_nodes(size)
        # A level's last tile is not full just where the tree has a root in it.
        edges = {tile_of(node) for node in nodes}
        tiles = await self._tiles(edges)
        try:
            frontier = Frontier.of(size, [tile_hash(node, tiles[tile_of(node)]) for node in nodes])
            edge = {tile.level: tiles[tile][: width(tile, size) * HASH] for tile in edges}
        except (KeyError, ValueError) as error:
            raise Tampered(f"the tiles of a log of {size} entries are incomplete") from error
        if frontier.root() != root:
            raise Tampered(f"the tiles lead to another root than the head of {size} entries")
        return _Tree(frontier, edge)

    async def _tiles(self, wanted: Iterable[Tile]) -> dict[Tile, bytes]:
        named = sorted(set(wanted))
        rows = await self._session.fetch(TILES, [tile.level for tile in named], [tile.index for tile in named])
        return {Tile(level, index): hashes for level, index, hashes in rows}

    async def _publish(self) -> None:
        async with asyncio.timeout(PATIENCE):  # a connection may go silent
            await self._sign()

    async def _sign(self) -> None:
        """Have the head signed if it grew. `Unproven` if it does not continue what was signed last."""
        size, root = self._known.head
        if size == self._stored:
            return
        last = self._signer.last(await self._session.fetchval(LATEST))
        groups = consistency_nodes(last.size, size) if last.size <= size else []
        path = proof(groups, await self._tiles(tiles_for(groups)))
        note = self._signer.sign(Checkpoint(self._origin, size, root), last, path)
        await self._session.execute(SIGNED, size, note)
        self._stored = size


def _filled(tree: _Tree, size: int, gained: Mapping[int, Sequence[bytes]]) -> Iterable[tuple[Tile, bytes]]:
    """The tiles that a tree of this size gains or that grow, whole; and the tree's edge moves on."""
    for level, hashes in gained.items():
        data = tree.edge.get(level, b"") + b"".join(hashes)
        first = (size >> 8 * level) // TILE_WIDTH
        whole = TILE_WIDTH * HASH
        for number, start in enumerate(range(0, len(data), whole)):
            yield Tile(level, first + number), data[start : start + whole]
        tree.edge[level] = data[len(data) - len(data) % whole :]
