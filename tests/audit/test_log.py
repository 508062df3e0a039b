"""The committer: entries in batches, only while what they rest on holds; faults in pairs."""

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from mythos_gate import db, revision
from mythos_gate.audit.entry import PLACE, leaf_hash, template, uuid7
from mythos_gate.audit.log import Committed, Committer, HighWater, Prepared
from mythos_gate.db import DbRole
from mythos_gate.errors import NotRecorded
from tests.service import until

pytestmark = pytest.mark.anyio
FAR = datetime(2999, 1, 1, tzinfo=UTC)
EVER = frozenset({revision.EVERYTHING, revision.GLOBAL})


def prepared(known=0, keys=(), until=FAR, **members):
    now = datetime.now(UTC)
    identifier = uuid7(now, secrets.token_bytes(10))
    body = {"v": 1, "type": "decision", "id": str(identifier), **members}
    return Prepared(identifier, "decision", now, template(body, PLACE), known, EVER | set(keys), until)


@asynccontextmanager
async def committing(database, folder, connect=None):
    async def plain():
        return await db.connect(database, DbRole.SERVICE)

    committer = Committer(connect or plain, "test.example/log", HighWater(folder))
    try:
        yield committer
    finally:
        await committer.close()


async def written(database):
    owner = await asyncpg.connect(database)
    rows = await owner.fetch("SELECT writer, n, leaf, body FROM log_entries ORDER BY writer, n")
    await owner.close()
    return rows


def verify(rows):
    """Every leaf is the hash of its bytes, every writer's n is gapless, every entry names the one before."""
    last: dict[str, tuple[int, bytes | None]] = {}
    for row in rows:
        body = json.loads(row["body"])
        n, leaf = last.get(row["writer"], (0, None))
        assert (row["writer"], row["n"]) == (body["writer"], body["n"])
        assert row["leaf"] == leaf_hash(row["body"])
        assert n + 1 == row["n"]
        assert (leaf and leaf.hex()) == body["prev"]
        last[row["writer"]] = (row["n"], row["leaf"])
    return last


async def touch(database, *keys):
    """What an administrative change of these keys leaves behind."""
    owner = await asyncpg.connect(database)
    n = await owner.fetchval("UPDATE revision SET n = n + 1 RETURNING n")
    await owner.executemany("INSERT INTO touched (xid, key, n) VALUES ('0', $1, $2)", [(key, n) for key in keys])
    await owner.close()
    return n


async def test_many_entries_at_once_make_one_unbroken_chain(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        outcomes = await asyncio.gather(*(committer.commit(prepared(i=i)) for i in range(200)))
    assert outcomes == [Committed.YES] * 200
    rows = await written(database)
    assert len(rows) == 201  # and the session's opening
    verify(rows)
    assert json.loads(rows[0]["body"])["type"] == "session_opened"


async def test_an_entry_that_rests_on_a_touched_key_must_be_decided_again(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        n = await touch(database, "person:per_1")
        stale, fresh, other = await asyncio.gather(
            committer.commit(prepared(known=n - 1, keys=["person:per_1"])),
            committer.commit(prepared(known=n, keys=["person:per_1"])),
            committer.commit(prepared(known=n - 1, keys=["person:per_2"])),
        )
    # Composed under n it was right; sharing a batch with an older one may cost it a second look, never an error.
    assert (stale, other) == (Committed.STALE, Committed.YES)
    assert fresh in Committed
    assert all(json.loads(row["body"])["type"] != "decision" or row for row in await written(database))


@pytest.mark.parametrize("key", [revision.GLOBAL, revision.EVERYTHING])
async def test_a_global_or_coarse_change_makes_every_entry_stale(database, tmp_path, key):
    async with committing(database, tmp_path) as committer:
        await touch(database, key)
        assert await committer.commit(prepared(known=0)) is Committed.STALE
    assert await written(database) == []


async def test_an_unrelated_change_does_not_matter(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        await touch(database, "person:per_9")
        assert await committer.commit(prepared(known=0, keys=["person:per_1"])) is Committed.YES


async def test_an_entry_whose_time_is_over_is_not_written(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        over = prepared(until=datetime.now(UTC) - timedelta(milliseconds=1))
        assert await committer.commit(over) is Committed.STALE
    assert await written(database) == []


async def test_one_bad_entry_does_not_take_the_others_down(database, tmp_path):
    bad = prepared()
    twin = Prepared(bad.id, "decision", bad.at, bad.parts, 0, EVER, FAR)
    async with committing(database, tmp_path) as committer:
        outcomes = await asyncio.gather(
            committer.commit(bad),
            committer.commit(twin),
            *(committer.commit(prepared()) for _ in range(5)),
            return_exceptions=True,
        )
    assert [Committed.YES, *[Committed.YES] * 5] == outcomes[:1] + outcomes[2:]
    assert isinstance(outcomes[1], NotRecorded)
    verify(await written(database))


async def test_a_client_that_hangs_up_does_not_cancel_the_others(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        gone = asyncio.create_task(committer.commit(prepared()))
        stays = asyncio.create_task(committer.commit(prepared()))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays is Committed.YES
    assert len(await written(database)) == 3


class Failing:
    """A connection whose fetchrow fails once: before the statement was sent, or after it was carried out."""

    def __init__(self, connection, after):
        self._connection, self._after = connection, after
        self.failed = False

    async def fetchrow(self, *arguments):
        if not self.failed:
            self.failed = True
            if self._after:
                await self._connection.fetchrow(*arguments)
            raise ConnectionResetError("gone")
        return await self._connection.fetchrow(*arguments)

    def __getattr__(self, name):
        return getattr(self._connection, name)


@pytest.mark.parametrize(
    "after", [False, True], ids=["the write failed", "the write happened and we were told it failed"]
)
async def test_an_unknown_outcome_is_no_answer_and_a_new_session_says_so(database, tmp_path, after):
    broken: list[Failing] = []

    async def connect():
        connection = await db.connect(database, DbRole.SERVICE)
        if not broken:
            broken.append(Failing(connection, after))
            return broken[0]
        return connection

    async with committing(database, tmp_path, connect) as committer:
        with pytest.raises(NotRecorded):
            await committer.commit(prepared(first=True))
        assert await committer.commit(prepared(second=True)) is Committed.YES
    rows = await written(database)
    last = verify(rows)
    opening = next(
        body
        for body in (json.loads(row["body"]) for row in rows)
        if body["type"] == "session_opened" and body["unknown"]
    )
    (unknown,) = opening["unknown"]
    assert (unknown["from"], unknown["to"]) == (1, 2)
    # All or none of the unknown range is there, and its leaf tells which.
    found = last.get(unknown["writer"])
    assert found == ((2, bytes.fromhex(unknown["leaf"])) if after else None)


async def test_a_server_that_is_away_records_nothing_and_names_no_unknown_range(database, tmp_path):
    tries = []

    async def connect():
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionRefusedError("away")
        return await db.connect(database, DbRole.SERVICE)

    async with committing(database, tmp_path, connect) as committer:
        with pytest.raises(NotRecorded):
            await committer.commit(prepared())
        assert await committer.commit(prepared()) is Committed.YES
    (opening, _) = [json.loads(row["body"]) for row in await written(database)]
    assert opening["unknown"] == []


async def test_a_new_process_takes_up_from_the_high_water_file(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        await committer.commit(prepared())
    first = verify(await written(database))
    async with committing(database, tmp_path) as committer:
        await committer.commit(prepared())
    openings = [
        body
        for body in (json.loads(row["body"]) for row in await written(database))
        if body["type"] == "session_opened"
    ]
    confirmed = [opening["confirmed"] for opening in openings]
    ((writer, (n, leaf)),) = first.items()
    assert None in confirmed
    assert {"writer": writer, "n": n, "leaf": leaf.hex()} in confirmed


async def test_two_processes_have_files_of_their_own(tmp_path):
    one, two = HighWater(tmp_path), HighWater(tmp_path)
    try:
        assert {"writer-0.json", "writer-1.json"} == {path.name for path in tmp_path.iterdir()}
    finally:
        one.close()
        two.close()


async def test_a_closed_committer_refuses(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        pass
    with pytest.raises(NotRecorded):
        await committer.commit(prepared())
    await until(lambda: not committer.is_running)
