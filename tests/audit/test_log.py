"""The committer: entries in batches, only while what they rest on holds; faults in pairs."""

import asyncio
import json
import secrets
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta

import asyncpg
import pytest

from mythos_gate import db, revision
from mythos_gate.audit.entry import PLACE, leaf_hash, template, timestamp, uuid7
from mythos_gate.audit.log import Committed, Committer, HighWater, Prepared, _Session
from mythos_gate.db import DbRole
from mythos_gate.errors import NotRecorded
from tests.changes import hear, touch
from tests.service import until

pytestmark = pytest.mark.anyio
FAR = datetime(2999, 1, 1, tzinfo=UTC)
EVER = frozenset({revision.EVERYTHING, revision.GLOBAL})


def prepared(committer, keys=(), until=FAR, **members):
    """An entry that rests on what the committer's process knows now."""
    now = datetime.now(UTC)
    identifier = uuid7(now, secrets.token_bytes(10))
    body = {"v": 1, "type": "decision", "id": identifier, **members}
    return Prepared(
        identifier,
        "decision",
        now,
        timestamp(now),
        template(body, PLACE),
        committer._known.seen,
        EVER | set(keys),
        until,
    )


async def test_an_entry_that_is_too_long_fails_alone(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        entries = [prepared(committer, note=note) for note in ("a", "x" * 70_000, "b")]
        outcomes = await asyncio.gather(*(commit(committer, each) for each in entries), return_exceptions=True)
        assert [outcomes[0], outcomes[2]] == [Committed.YES, Committed.YES]
        assert isinstance(outcomes[1], NotRecorded)
        # One of them alone writes nothing, and the chain goes on.
        with pytest.raises(NotRecorded):
            await commit(committer, prepared(committer, note="x" * 70_000))
        assert await commit(committer, prepared(committer)) is Committed.YES
        assert committer._session.n == 4


async def commit(committer, entry):
    (outcome,) = await committer.commit([entry])
    return outcome


@asynccontextmanager
async def committing(database, folder, connect=None):
    async def plain():
        return await db.connect(database, DbRole.SERVICE)

    known = revision.Known()
    await hear(database, known)
    committer = Committer(connect or plain, "test.example/log", HighWater(folder), known)
    try:
        yield committer
    finally:
        await committer.close()


async def written(database):
    owner = await asyncpg.connect(database)
    rows = await owner.fetch("SELECT writer, n, leaf, body FROM log_entries ORDER BY writer, n")
    await owner.close()
    return rows


def openings(rows):
    bodies = [json.loads(row["body"]) for row in rows]
    return [body for body in bodies if body["type"] == "session_opened"]


def decisions(rows):
    bodies = [json.loads(row["body"]) for row in rows]
    return [body for body in bodies if body["type"] == "decision"]


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


async def test_many_entries_at_once_make_one_unbroken_chain(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        outcomes = await asyncio.gather(*(commit(committer, prepared(committer, i=i)) for i in range(200)))
    assert outcomes == [Committed.YES] * 200
    rows = await written(database)
    assert len(rows) == 201  # and the session's opening
    verify(rows)
    assert json.loads(rows[0]["body"])["type"] == "session_opened"


async def test_an_entry_that_rests_on_a_touched_key_must_be_decided_again(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        stale, other = prepared(committer, keys=["person:per_1"]), prepared(committer, keys=["person:per_2"])
        await touch(database, "person:per_1")
        await hear(database, committer._known)
        fresh = prepared(committer, keys=["person:per_1"])
        outcomes = await asyncio.gather(*(commit(committer, each) for each in (stale, fresh, other)))
    assert outcomes == [Committed.STALE, Committed.YES, Committed.YES]
    assert len(decisions(await written(database))) == 2


@pytest.mark.parametrize(
    "over", [{"keys": ["person:per_2"]}, {"until": datetime(2026, 1, 1, tzinfo=UTC)}], ids=["touched", "expired"]
)
async def test_every_entry_of_a_batch_is_guarded(database, tmp_path, over):
    async with committing(database, tmp_path) as committer:
        good, bad = prepared(committer, keys=["person:per_1"]), prepared(committer, **over)
        await touch(database, "person:per_2")
        outcomes = await asyncio.gather(commit(committer, good), commit(committer, bad))
    assert list(outcomes) == [Committed.YES, Committed.STALE]
    assert len(await written(database)) == 2


async def test_an_entry_that_others_hold_up_is_refused_after_three_tries(database, tmp_path):
    """In each try its batch is shared with an entry that must be decided again."""
    others: list[asyncio.Task[Committed]] = []

    class Crowded(Failing):
        async def fetchrow(self, *arguments):
            row = await super().fetchrow(*arguments)
            if len(others) < 5:
                others.append(asyncio.create_task(commit(committer, stale())))
                await asyncio.sleep(0)
            return row

    def stale():
        return prepared(committer, until=datetime.now(UTC) - timedelta(seconds=1))

    async def connect():
        return Crowded(await db.connect(database, DbRole.SERVICE), [])

    async with committing(database, tmp_path, connect) as committer:
        await touch(database, "person:per_2")
        outcomes = await asyncio.gather(
            commit(committer, prepared(committer)), commit(committer, stale()), return_exceptions=True
        )
        assert set(await asyncio.gather(*others)) == {Committed.STALE}
    assert isinstance(outcomes[0], NotRecorded)
    assert decisions(await written(database)) == []


async def test_an_entry_from_before_the_clock_was_set_back_is_decided_again(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        entry = prepared(committer)
        entry.at += timedelta(seconds=5)
        assert await commit(committer, entry) is Committed.STALE
    assert decisions(await written(database)) == []


async def test_nobody_waits_past_their_deadline_while_the_committer_connects(database, tmp_path):
    async def hang():
        await asyncio.Event().wait()

    async with committing(database, tmp_path, hang) as committer:
        deadline = asyncio.get_running_loop().time() + 0.1
        async with asyncio.timeout(5):
            with pytest.raises(NotRecorded, match="deadline"):
                await committer.commit([prepared(committer)], deadline)


@pytest.mark.parametrize("key", [revision.GLOBAL, revision.EVERYTHING])
async def test_a_global_or_coarse_change_makes_every_entry_stale(database, tmp_path, key):
    async with committing(database, tmp_path) as committer:
        entry = prepared(committer)
        await touch(database, key)
        assert await commit(committer, entry) is Committed.STALE
    assert decisions(await written(database)) == []


async def test_an_unrelated_change_does_not_matter(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        entry = prepared(committer, keys=["person:per_1"])
        await touch(database, "person:per_9")
        assert await commit(committer, entry) is Committed.YES


async def test_an_entry_whose_time_is_over_is_not_written(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        over = prepared(committer, until=datetime.now(UTC) - timedelta(milliseconds=1))
        assert await commit(committer, over) is Committed.STALE
    assert decisions(await written(database)) == []


async def test_one_bad_entry_does_not_take_the_others_down(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        bad = prepared(committer)
        twin = Prepared(bad.id, "decision", bad.at, bad.written, bad.parts, bad.seen, EVER, FAR)
        outcomes = await asyncio.gather(
            commit(committer, bad),
            commit(committer, twin),
            *(commit(committer, prepared(committer)) for _ in range(5)),
            return_exceptions=True,
        )
    assert [Committed.YES, *[Committed.YES] * 5] == outcomes[:1] + outcomes[2:]
    assert isinstance(outcomes[1], NotRecorded)
    verify(await written(database))


async def test_a_client_that_hangs_up_does_not_cancel_the_others(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        gone = asyncio.create_task(commit(committer, prepared(committer)))
        stays = asyncio.create_task(commit(committer, prepared(committer)))
        await asyncio.sleep(0)
        gone.cancel()
        assert await stays is Committed.YES
    assert len(await written(database)) == 2  # and nothing for whom nobody waits


class Failing:
    """A connection whose statements fail as planned, one fault each: before it was sent, or after it was carried out."""

    def __init__(self, connection, faults, openings=()):
        self._connection, self._faults, self._openings = connection, faults, openings

    async def fetchrow(self, *arguments):
        return await self._done(self._faults, self._connection.fetchrow(*arguments))

    async def execute(self, *arguments):
        return await self._done(self._openings, self._connection.execute(*arguments))

    async def _done(self, faults, statement):
        after, error = faults.pop(0) if faults else (True, None)
        answer = await statement if after else statement.close()
        if error is not None:
            raise error
        return answer

    def __getattr__(self, name):
        return getattr(self._connection, name)


def failing(database, *faults, openings=()):
    """A `connect` whose connections share the plan."""
    left, opening = list(faults), list(openings)

    async def connect():
        return Failing(await db.connect(database, DbRole.SERVICE), left, opening)

    return connect


FINE = (True, None)
REFUSED = (False, asyncpg.ReadOnlySQLTransactionError("read only"))
LOST = (True, ConnectionResetError("gone"))


@pytest.mark.parametrize(
    "fault",
    [(False, ConnectionResetError("gone")), LOST, (True, asyncpg.AdminShutdownError("shut down"))],
    ids=["the write failed", "the write happened and we were told it failed", "the server shut down"],
)
async def test_an_unknown_outcome_is_no_answer_and_a_new_session_says_so(database, tmp_path, fault):
    async with committing(database, tmp_path, failing(database, fault)) as committer:
        with pytest.raises(NotRecorded):
            await commit(committer, prepared(committer, first=True))
        assert await commit(committer, prepared(committer, second=True)) is Committed.YES
    rows = await written(database)
    last = verify(rows)
    opening = next(body for body in openings(rows) if body["unknown"])
    (unknown,) = opening["unknown"]
    assert (unknown["from"], unknown["to"]) == (2, 2)
    # All or none of the unknown range is there, and its leaf tells which.
    n, leaf = last[unknown["writer"]]
    assert (n, leaf.hex() == unknown["leaf"]) == ((2, True) if fault[0] else (1, False))


@pytest.mark.parametrize("after", [False, True], ids=["it failed", "it happened and we were told it failed"])
async def test_an_opening_is_sent_again_until_it_is_confirmed(database, tmp_path, after):
    faults = [(after, ConnectionResetError("gone"))] * 3
    async with committing(database, tmp_path, failing(database, LOST, openings=[FINE, *faults])) as committer:
        for _ in range(4):
            with pytest.raises(NotRecorded):
                await commit(committer, prepared(committer))
        assert await commit(committer, prepared(committer)) is Committed.YES
    rows = await written(database)
    # Each attempt is a session of its own: of one that was lost there is the opening or nothing.
    assert sorted(n for n, _ in verify(rows).values()) == [1] * (3 * after) + [2] * 2
    assert sorted(len(opening["unknown"]) for opening in openings(rows)) == [0] + [1] * (1 + 3 * after)


async def test_an_opening_that_was_refused_is_made_anew_when_it_is_sent_again(database, tmp_path):
    """The same one, some time later, would look back-dated."""
    async with committing(database, tmp_path, failing(database, openings=[REFUSED])) as committer:
        with pytest.raises(NotRecorded):
            await committer.note("test", {})
        later = (await entry_time(committer)) + timedelta(minutes=10)
        committer._known.displacement = timedelta(minutes=10)
        await hear(database, committer._known)
        await committer.note("test", {})
    bodies = [json.loads(row["body"]) for row in await written(database)]
    assert [body["type"] for body in bodies] == ["session_opened", "test"]
    assert all(body["at"] >= timestamp(later) for body in bodies)


async def entry_time(committer):
    return committer._known.now()[0]


async def test_what_is_noted_has_the_time_of_the_database(database, tmp_path):
    """A host's clock may be wrong for hours, and what follows would look back-dated for ever."""

    async def plain():
        return await db.connect(database, DbRole.SERVICE)

    known = revision.Known(timedelta(hours=-3))  # what it hears is three hours ago
    committer = Committer(plain, "test.example/log", HighWater(tmp_path), known)
    await committer.note("test", {})
    assert known._clock
    known._clock = (known._clock[0] - timedelta(minutes=5), *known._clock[1:])  # it was halted, say
    await committer.note("test", {})
    await committer.close()
    now = datetime.now(UTC) - timedelta(hours=3)
    times = [datetime.fromisoformat(json.loads(row["body"])["at"]) for row in await written(database)]
    assert len(times) == 3
    assert all(abs(at - now) < timedelta(minutes=1) for at in times)


async def test_an_unknown_range_is_named_by_the_next_opening(database, tmp_path):
    async with committing(database, tmp_path, failing(database, LOST, LOST, FINE, LOST)) as committer:
        for recorded in (False, False, True, False, True):
            if recorded:
                assert await commit(committer, prepared(committer)) is Committed.YES
            else:
                with pytest.raises(NotRecorded):
                    await commit(committer, prepared(committer))
    opened = {body["writer"]: body for body in openings(await written(database))}
    named = {writer: [unknown["writer"] for unknown in body["unknown"]] for writer, body in opened.items()}
    first, second, third, fourth = sorted(named, key=lambda writer: opened[writer]["at"])
    assert named == {first: [], second: [first], third: [second], fourth: [third]}
    assert (opened[fourth]["unknown"][0]["from"], opened[fourth]["unknown"][0]["to"]) == (3, 3)


async def complaining(database, statement):
    """Make the server say something about each decision that is written, until told otherwise."""
    owner = await asyncpg.connect(database)
    await owner.execute(
        f"CREATE FUNCTION complain() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {statement}; RETURN NEW; END $$"
    )
    await owner.execute(
        "CREATE TRIGGER complain BEFORE INSERT ON log_entries FOR EACH ROW WHEN (NEW.type = 'decision')"
        " EXECUTE FUNCTION complain()"
    )
    return owner


@pytest.mark.parametrize("state", ["53100", "25006", "57014"], ids=["disk full", "read only", "cancelled"])
async def test_after_an_error_of_the_server_nothing_is_unknown(database, tmp_path, state):
    owner = await complaining(database, f"RAISE EXCEPTION 'no' USING ERRCODE = '{state}'")
    async with committing(database, tmp_path) as committer:
        for _ in range(3):
            with pytest.raises(NotRecorded):
                await commit(committer, prepared(committer))
        await owner.execute("DROP FUNCTION complain CASCADE")
        assert await commit(committer, prepared(committer)) is Committed.YES
    await owner.close()
    rows = await written(database)
    verify(rows)
    assert [opening["unknown"] for opening in openings(rows)] == [[]]


async def test_a_warning_of_the_server_is_no_confirmation(database, tmp_path):
    # As after a wait for a synchronous standby that was cut short: written here, and perhaps nowhere else.
    owner = await complaining(database, "RAISE WARNING 'might not have been replicated'")
    async with committing(database, tmp_path) as committer:
        with pytest.raises(NotRecorded):
            await commit(committer, prepared(committer))
        await owner.execute("DROP FUNCTION complain CASCADE")
        assert await commit(committer, prepared(committer)) is Committed.YES
    await owner.close()
    rows = await written(database)
    verify(rows)
    assert sorted(len(opening["unknown"]) for opening in openings(rows)) == [0, 1]


async def test_what_cannot_be_an_entry_stops_nobody_else(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        with pytest.raises(NotRecorded):
            await commit(committer, prepared(committer, padding="x" * 70_000))
        assert await commit(committer, prepared(committer)) is Committed.YES
    verify(await written(database))


async def test_a_high_water_file_that_cannot_be_written_stops_nobody(database, tmp_path, monkeypatch):
    def full(self, session):
        raise OSError(28, "no space left on device")

    monkeypatch.setattr(HighWater, "write", full)
    async with committing(database, tmp_path) as committer:
        for _ in range(2):
            assert await commit(committer, prepared(committer)) is Committed.YES
        assert committer.is_running
    verify(await written(database))


async def test_a_server_that_is_away_records_nothing_and_names_no_unknown_range(database, tmp_path):
    tries = []

    async def connect():
        tries.append(1)
        if len(tries) == 1:
            raise ConnectionRefusedError("away")
        return await db.connect(database, DbRole.SERVICE)

    async with committing(database, tmp_path, connect) as committer:
        with pytest.raises(NotRecorded):
            await commit(committer, prepared(committer))
        assert await commit(committer, prepared(committer)) is Committed.YES
    (opening, _) = [json.loads(row["body"]) for row in await written(database)]
    assert opening["unknown"] == []


async def test_a_new_process_takes_up_from_the_high_water_file(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        await commit(committer, prepared(committer))
    first = verify(await written(database))
    async with committing(database, tmp_path) as committer:
        await commit(committer, prepared(committer))
    confirmed = [opening["confirmed"] for opening in openings(await written(database))]
    ((writer, (n, leaf)),) = first.items()
    assert None in confirmed
    assert {"writer": writer, "n": n, "leaf": leaf.hex()} in confirmed


async def test_a_shorter_line_replaces_a_longer_one_in_the_high_water_file(tmp_path):
    water = HighWater(tmp_path)
    water.write(_Session("pdp-1", 100, b"leaf"))
    water.write(_Session("pdp-2", 1, b"leaf"))
    assert water.read() == {"writer": "pdp-2", "n": 1, "leaf": b"leaf".hex()}
    water.close()


async def test_two_processes_have_files_of_their_own(tmp_path):
    one, two = HighWater(tmp_path), HighWater(tmp_path)
    try:
        assert {"writer-0.json", "writer-1.json"} == {path.name for path in tmp_path.iterdir()}
    finally:
        one.close()
        two.close()


async def test_whoever_waits_when_it_closes_is_refused(database, tmp_path):
    under_way = asyncio.Event()

    class Hanging(Failing):
        async def fetchrow(self, *arguments):
            under_way.set()
            await asyncio.Event().wait()

    async def connect():
        return Hanging(await db.connect(database, DbRole.SERVICE), [])

    async with committing(database, tmp_path, connect) as committer:
        sent = asyncio.create_task(commit(committer, prepared(committer)))
        await under_way.wait()
        queued = asyncio.create_task(commit(committer, prepared(committer)))
        await asyncio.sleep(0)
    async with asyncio.timeout(5):
        outcomes = await asyncio.gather(sent, queued, return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [NotRecorded, NotRecorded]


async def test_a_closed_committer_refuses(database, tmp_path):
    async with committing(database, tmp_path) as committer:
        pass
    with pytest.raises(NotRecorded):
        await commit(committer, prepared(committer))
    await until(lambda: not committer.is_running)
