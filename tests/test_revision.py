"""What a process knows of the revision: which snapshots still stand, and what it lets go of."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from mythos_gate.revision import EVERYTHING, REMEMBERED, Known, Seen
from tests.changes import guard, hear, touch

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class Told:
    """The guard's rows, as a database would give them."""

    def __init__(self):
        self.known = Known()
        self.dropped: list[str] = []
        self.known.drop = self.dropped.append
        self.stamps = {n: uuid4() for n in range(100)}
        self.hear(1, EVERYTHING)
        self.dropped.clear()

    def hear(self, n, *touched, sent=None):
        answer = {"n": n, "at": NOON, "stamp": self.stamps.get(n), "touched": list(touched)}
        return self.known.hear(sent or self.known.sends(), answer)


def test_a_snapshot_stands_until_one_of_its_keys_is_touched():
    told = Told()
    seen = told.known.seen
    told.hear(2, "person:b")
    assert told.known.stands(seen, {"person:a", "global"})
    told.hear(3, "person:a")
    assert not told.known.stands(seen, {"person:a", "global"})
    assert told.known.stands(told.known.seen, {"person:a", "global"})
    assert told.dropped == ["person:b", "person:a"]


def test_an_answer_that_was_overtaken_is_of_its_own_snapshot_and_takes_nothing_back():
    told = Told()
    sent = told.known.sends()
    told.hear(3, "person:a")
    late = told.hear(2, sent=sent)
    assert told.known.seen.n == 3
    assert not told.known.stands(late, ["person:a"])  # a record read then is not kept
    assert told.known.stands(late, ["person:b"])


def test_whoever_must_forget_everything_forgets_what_is_under_way_too():
    told = Told()
    seen, sent = told.known.seen, told.known.sends()
    told.hear(5, EVERYTHING)
    assert told.dropped == [EVERYTHING]
    assert not told.known.stands(seen, ["person:b"])
    assert told.hear(4, "person:b", sent=sent) is None  # sent before: of no use
    # A database that was set back has lower numbers than what is under way.
    under_way = told.known.seen
    told.hear(2, EVERYTHING)
    assert told.known.seen.n == 2
    assert not told.known.stands(under_way, ["person:b"])


def test_what_is_older_than_the_keys_that_are_remembered_does_not_stand():
    told = Told()
    seen = told.known.seen
    told.hear(2, *(f"person:{i}" for i in range(REMEMBERED // 2)))
    between = told.known.seen
    told.hear(3, *(f"agent:{i}" for i in range(REMEMBERED // 2 + 1)))
    assert not told.known.stands(seen, ["person:none"])
    assert told.known.stands(between, ["person:none"])
    assert not told.known.stands(between, ["agent:0"])


def test_the_clock_is_that_of_the_last_answer_and_goes_on():
    told = Told()
    earliest, latest = told.known.now()
    assert NOON <= earliest <= latest <= NOON + timedelta(seconds=10)
    assert told.known.now()[0] > earliest
    with pytest.raises(LookupError):
        Known().now()


@pytest.mark.anyio
async def test_the_guard_tells_what_was_touched_since_and_everything_to_who_cannot_know(database):
    known = Known()
    assert (await guard(database, known))["touched"] == [EVERYTHING]  # nothing is known yet
    await hear(database, known)
    assert (await guard(database, known))["touched"] == []
    await touch(database, "person:a", "person:b")
    await touch(database, "person:b")
    assert sorted((await guard(database, known))["touched"]) == ["person:a", "person:b"]
    await hear(database, known)
    assert (await guard(database, known))["touched"] == []
    # Another database, in which this number was another change's.
    known._stamp = uuid4()
    assert (await guard(database, known))["touched"] == [EVERYTHING]


@pytest.mark.anyio
async def test_whoever_is_far_behind_is_told_no_list_and_the_list_is_pruned(database):
    known = Known()
    await hear(database, known)
    before = known.seen.n
    owner = await asyncpg.connect(database)
    await owner.execute(
        "INSERT INTO touched (xid, key, n) SELECT '0', 'person:' || i, $1 + i FROM generate_series(1, 5000) i", before
    )
    await owner.execute("INSERT INTO revision_stamps (n) SELECT $1 + i FROM generate_series(1, 5000) i", before)
    await owner.execute("UPDATE revision SET n = n + 4999")
    assert len((await guard(database, known))["touched"]) == 5000
    await owner.execute("UPDATE revision SET n = n + 1")
    assert (await guard(database, known))["touched"] == [EVERYTHING]
    assert await owner.fetchval("SELECT prune_touched()") == 0
    await owner.execute("UPDATE revision SET n = n + 95000 + 10")
    assert await owner.fetchval("SELECT prune_touched()") > 0
    assert await owner.fetchval("SELECT count(*) FROM touched WHERE n < (SELECT n FROM revision) - 100000") == 0
    await owner.close()


def test_a_snapshot_is_no_other_epochs():
    told = Told()
    assert not told.known.stands(Seen(told.known.seen.epoch - 1, told.known.seen.n), ["person:a"])
