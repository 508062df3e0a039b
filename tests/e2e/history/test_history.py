"""No answer contradicts a change that was acknowledged before it was asked for; and each guard is needed for that."""

import asyncio
import random
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pytest

from tests import postgres
from tests.e2e.history import run
from tests.e2e.history.broken import BROKEN
from tests.e2e.history.changes import MAKERS, Changes
from tests.e2e.history.checker import LATE, STALE, UNTRUE
from tests.e2e.history.client import Process, Servers
from tests.e2e.history.run import Run

pytestmark = pytest.mark.anyio
DEADLINE = 1.5


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="module")
def servers() -> Iterator[Servers]:
    with Servers.forking() as forking:
        yield forking


async def test_no_answer_is_stale(servers, database, tmp_path):
    report = await run.history(
        servers, database, tmp_path, answers=2_500, changes=60, copies=1, stop_every=4, deadline=DEADLINE, delay=0.01
    )
    assert report.findings == [], str(report)
    assert report.unrecorded == 0
    assert len(report.history.answers) >= 2_500
    assert sum(report.kinds.values()) >= 60
    assert report.history.stops
    # By proxies and searches too.
    assert sum(answer.bare for answer in report.history.answers) > 100, str(report)
    # It was worth it: changes were seen, and all kinds of answers given.
    assert report.unseen.total() <= 3, str(report)
    assert min(sum(answer.allowed is said for answer in report.history.answers) for said in (True, False)) > 300, str(
        report
    )


async def test_while_policies_are_activated_each_answer_is_that_of_the_revision_it_names(servers, database, tmp_path):
    async with run.running(servers, database, tmp_path, copies=1) as made:
        changing, *_ = Changes(made.world).programme(0)
        await made.make([changing] * 15, 1_000)
        report = made.report(5, 0)
    assert report.findings == [], str(report)
    assert report.kinds == {"policy activated": 15, "former policy activated": 15}
    assert len({rows for answer in report.history.answers for rows in answer.rows if rows.startswith("revision")}) == 2
    assert sum("history-abroad" in answer.rows for answer in report.history.answers) > 100, str(report)


# --- one guard at a time ----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Race:
    """A change of this kind while somebody is asked about and the answer waits at a spot, some seconds more."""

    kind: str
    asked: str
    spot: str = "commit"
    longer: float = 0.0
    deadline: float = 5.0
    found: str = UNTRUE
    meanwhile: str = ""  # asked about before the answer goes on
    ahead: bool = False  # the process takes the clock for later than it is, until the answer goes on


RACES = {
    "revision": Race("person suspended", "h{}/us person"),
    "until": Race("training expires", "h{}/trainee person", longer=0.2),
    "lower bound": Race("training expires", "h{}/trainee person", found=STALE, ahead=True),
    "deadline": Race("person suspended", "h{}/us person", "answer", DEADLINE + 1, DEADLINE, LATE),
    # Read before the change, kept after another's answer told of it: from then on wrong for good.
    "fill": Race("person suspended", "h{}/us person", "read", meanwhile="h{}/abroad person"),
    "key fill": Race("owner of a key suspended", "h{} by owner", "read", meanwhile="h{}/abroad person"),
    # Known to be gone, and back: without an entry only this read tells.
    "closing read": Race("owner of a key suspended", "h{} by owner", found=STALE),
    "dropping": Race("person suspended", "h{}/us person", found=STALE),
    "sponsor": Race("person suspended", "h{}/bot agent"),
    "organization": Race("organization suspended", "h{}/us person"),
    "key": Race("key revoked", "h{} by lost"),
    "caller": Race("role ended", "h{} by demoted"),
    "owner": Race("owner of a key suspended", "h{} by owner"),
    "person": Race("screening of a person: a hit", "h{}/hit person"),
    "agent": Race("agent suspended", "h{}/bot agent"),
    "endpoint": Race("endpoint revoked", "h{}/old"),
    "global": Race("kill switch model", "h{}/us person"),
    "unknown person": Race("person registered", "h{0}/new{0} person"),
    "unknown endpoint": Race("endpoint registered", "endpoint h{0}/new{0}"),
}


@pytest.fixture(scope="module")
async def races(servers, server, template, tmp_path_factory) -> AsyncIterator[Run]:
    """A programme of which one organization is for the broken guards and one for those that hold."""
    folder = tmp_path_factory.mktemp("races")
    with postgres.scratch(server, postgres.name_of(template)) as database:
        async with run.running(servers, database, folder, copies=2, processes=1) as made:
            yield made


@asynccontextmanager
async def racing(
    servers: Servers, races: Run, folder: Path, deadline: float, broken: str | None = None
) -> AsyncIterator[Process]:
    process = await servers.start(races.world.service.database, folder, deadline=deadline, broken=broken)
    try:
        yield process
    finally:
        process.end()


async def found(races: Run, process: Process, raced: Race, turn: int) -> list[str]:
    """What is found when the change comes while the answer waits."""
    made = Run(races.world, [*races.processes, process], races.clock, random.Random(turn))
    episodes = chain.from_iterable(make(Changes(made.world), turn) for make in MAKERS)
    change, *back = next(each.moves for each in episodes if each.moves[0].kind == raced.kind)
    name = raced.asked.format(turn)
    # What expires is on record before it is asked about.
    expiring = await change.do() if raced.kind.endswith("expires") else None
    ahead = process.folder / "ahead"
    if raced.ahead:
        ahead.touch()
    if raced.meanwhile:  # so that the process knows of a revision: before, it keeps nothing that was read meanwhile
        await made.ask(1, raced.meanwhile.format(turn))
    async with process.holding(raced.spot):
        asked = asyncio.create_task(made.ask(1, name))
        await process.held(raced.spot)
        ahead.unlink(missing_ok=True)
        if not raced.ahead:
            await made.note(change, expiring or await change.do())
        if raced.meanwhile:
            await made.ask(1, raced.meanwhile.format(turn))
        await asyncio.sleep(raced.longer)
    await asked
    if raced.ahead:  # it expires after the answer
        await made.note(change, expiring or await change.do())
    await made.ask(1, name)
    for move in back:
        await made.move(move)
    await made.ask(1, name)
    return [finding.what for finding in made.report(raced.deadline, 0).findings]


@pytest.mark.parametrize("broken", BROKEN)
async def test_a_broken_guard_is_found(servers, races, tmp_path, broken):
    raced = RACES[broken]
    # On a busy machine what expires may have done so before it was asked about, or the answer was there too early. Each
    # time by another process: a broken one may keep what was, and then there is nothing to be found any more.
    for turn in range(8):
        async with racing(servers, races, tmp_path / str(turn), raced.deadline, broken) as process:
            wrong = await found(races, process, raced, 0)
        if raced.found in wrong:
            break
    assert raced.found in wrong


@pytest.mark.parametrize("deadline", {raced.deadline for raced in RACES.values()})
async def test_no_guard_that_holds_is_found(servers, races, tmp_path, deadline):
    for raced in RACES.values():
        if raced.deadline == deadline:
            async with racing(servers, races, tmp_path, deadline) as process:  # one that has read nothing yet
                assert await found(races, process, raced, 1) == []


@pytest.mark.parametrize("touches", [False, True], ids=["touches nobody", "touches its organization"])
async def test_a_grant_that_has_room_again_must_touch_its_organization(servers, races, tmp_path, touches):
    """Whether it is full is on record there, and kept in memory as such."""
    turn, sql = int(touches), races.world.service.sql
    (episode,) = Changes(races.world).seats(turn)
    assert episode.seat
    holder, other = episode.seat
    async with racing(servers, races, tmp_path, 5.0) as process:
        made = Run(races.world, [*races.processes, process], races.clock, random.Random(turn))
        while not await made.ask(0, holder):  # claims the only seat
            pass
        made.asked.clear()
        assert await made.ask(1, other) is False
        sql(f"ALTER TABLE seat_counts {'ENABLE ALWAYS' if touches else 'DISABLE'} TRIGGER touch_full")
        try:
            await made.move(episode.moves[0])
        finally:
            sql("ALTER TABLE seat_counts ENABLE ALWAYS TRIGGER touch_full")
        assert await made.ask(1, other) is touches
    assert [finding.what for finding in made.report(5.0, 0).findings] == ([] if touches else [STALE])
