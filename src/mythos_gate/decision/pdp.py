"""The PDP: from a request to a recorded decision."""

import asyncio
import logging
import math
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import TracebackType
from typing import Any, TypeAlias

import asyncpg

from mythos_gate.audit.entry import RANDOM, timestamp, uuid7
from mythos_gate.audit.log import Committed, Committer, Prepared
from mythos_gate.authn import bearer
from mythos_gate.authn.api_keys import Caller
from mythos_gate.authn.bearer import Credential
from mythos_gate.authn.permissions import Permissions
from mythos_gate.decision import eligibility, facts, past, search
from mythos_gate.decision.eligibility import Eligibility
from mythos_gate.decision.entry import Entries
from mythos_gate.decision.library import Connection
from mythos_gate.decision.policy import Told
from mythos_gate.decision.records import Loaded, Pip
from mythos_gate.decision.request import Request
from mythos_gate.decision.rollout import Compared
from mythos_gate.decision.search import Found, Search
from mythos_gate.errors import GateError, NotAuthenticated, NotDecided, NotPermitted, NotRecorded
from mythos_gate.revision import Known
from mythos_gate.terms import AuthorityKind, Permission

TRIES = 3
LISTS = 2  # of eligibility at once, and as many searches: decisions need connections too
# From deciding to committing. Whatever the database's clock shows later than this, no time passed: the clock was moved.
LONGEST = timedelta(seconds=5)

logger = logging.getLogger(__name__)

Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@dataclass(slots=True)
class Ask:
    """A request with who asks it, when it was received (monotonic seconds), and its context as sent.

    `entities` are those sent, with all their properties: a PDP of something else than models reads them.
    """

    key: Credential
    request: Request
    received: float
    context: Mapping[str, Any]
    request_id: str | None = None
    entities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class Answer:
    """A decision, recorded unless it is a dry run's. `explained`: this caller may see facts, rows and all codes."""

    id: str
    at: datetime
    written: str
    told: Told
    policy_revision: int
    explained: bool


@dataclass(frozen=True, slots=True)
class SeatsNeeded:
    """Allowed, once a seat is held under each of these grants: claim them and ask again."""

    person: str
    grants: tuple[str, ...]
    caller: str


@dataclass(frozen=True, slots=True)
class Clock:
    """`now` is the database's clock plus `displacement`; the wall clock is only compared with it."""

    wall: Callable[[], datetime]
    displacement: timedelta = timedelta()


@dataclass(slots=True)
class _Judged:
    """A decision before it is recorded."""

    ask: Ask
    caller: Caller
    loaded: Loaded
    derived: facts.Derived
    told: Told

    @property
    def until(self) -> datetime:
        """When a fact changes by time alone, or the caller's key or token ends."""
        ends = bearer.ends(self.ask.key, self.loaded.stored_key)
        until = min(self.derived.until, self.loaded.choice.until)
        return until if ends is None else min(until, ends)

    def seats_needed(self) -> SeatsNeeded | None:
        """The capped grants that an allow rests on and under which the person holds no seat, if there are any."""
        person = self.loaded.records.person
        if person is None or not self.told.decision.allowed:
            return None
        best, vector = self.derived.best, self.derived.vector
        needed = [AuthorityKind.VENDOR]
        if vector["presence"] != "us_domestic":
            needed.append(AuthorityKind.GOVERNMENT)
        grants = [best[kind] for kind in needed if vector[kind] == "covered"]
        capped = [grant.id for grant in grants if grant.seat_cap is not None and grant.id not in person.seats]
        return SeatsNeeded(person.id, tuple(sorted(capped)), self.caller.id) if capped else None


NOBODY = Request("person", "", "invoke", None, None, "model", "", None)


class Pdp:
    """Loads, derives, decides, records; then answers. Without an entry there is no answer."""

    def __init__(
        self,
        pool: Pool,
        committer: Committer,
        pip: Pip,
        permissions: Permissions,
        clock: Clock,
        origin: str,
        digest_key: bytes,
        deadline: float,
    ) -> None:
        self._pool = pool
        self._committer = committer
        self._permissions = permissions
        self._clock = clock
        self._entries = Entries(origin, digest_key)
        self._deadline = deadline
        self._pip = pip
        self._lists = asyncio.Semaphore(LISTS)
        self._searches = asyncio.Semaphore(LISTS)
        self.compared = Compared()

    async def require_ready(self) -> None:
        """Read all that a decision reads, about nobody; nothing is decided or recorded. `NotDecided`."""
        with _UNDECIDED:
            async with asyncio.timeout(self._deadline), _reading(self._pool) as connection:
                (loaded,) = await self._fresh().load(lambda: nullcontext(connection), None, [NOBODY])
                loaded.policy.decide(facts.derive(loaded.records, NOBODY, loaded.now).vector)
                if await connection.fetchval("SELECT current_setting('transaction_read_only') = 'on'"):
                    raise NotDecided("the database takes no writes")
        if not self._committer.is_running:
            raise NotDecided("the committer has stopped")

    async def require(self, key: Credential, permission: Permission) -> None:
        """`NotAuthenticated` or `NotPermitted` unless the key is good and its holder may do this; or `NotDecided`."""
        received = asyncio.get_running_loop().time()
        await self._judge([Ask(key, NOBODY, received, {})], permission, received + self._deadline)

    async def evaluate(self, asks: Sequence[Ask]) -> list[Answer | SeatsNeeded]:
        """Decide each, commit the entries, answer. All were received at one time and by one key.

        `NotAuthenticated` or `NotPermitted` if the caller may not ask; `NotDecided` or `NotRecorded` if there is no
        answer.
        """
        if not asks:
            return []
        deadline = asks[0].received + self._deadline
        answers = await self._evaluate(asks, deadline)
        _require_in_time(deadline)
        return answers

    async def explain(self, ask: Ask) -> Answer:
        """Decide without an entry and without a claim."""
        deadline = ask.received + self._deadline
        for _ in range(TRIES):
            (judged,) = await self._judge([ask], Permission.EXPLAIN, deadline)
            if await self._still_stands(judged.loaded, deadline) and self._pip.known.now()[1] < judged.until:
                _require_in_time(deadline)
                return self._answer(judged)
        raise NotDecided("the records kept changing while the decision was being explained")

    async def eligibility(self, people: Sequence[str]) -> list[Eligibility]:
        """What each of these people's standing requests would be answered. `NotDecided`; nothing is recorded."""
        with _UNDECIDED:
            # Long lists take few of the connections that decisions need.
            async with asyncio.timeout(self._deadline), self._lists, _reading(self._pool) as connection:
                return await eligibility.of(connection, self._fresh(), people)

    @property
    def compares(self) -> bool:
        """Whether there is another policy beside the one in force, as far as is known."""
        return self._pip.has_rollout

    async def eligibility_at(
        self, person: str, day: datetime, connect: Callable[[], Awaitable[asyncpg.Connection]]
    ) -> Eligibility | None:
        """The same of one person on a day gone by, as records and policy were then. None: not on record then."""
        with _UNDECIDED:
            now = self._clock.wall()
            reading = past.at(day, now, connect, self._pip.library)
            async with asyncio.timeout(self._deadline), self._lists, reading as (connection, pip):
                return next(iter(await eligibility.of(connection, pip, [person])), None)

    async def refresh(self, deadline: float) -> None:
        """Hear of all changes so far: what is decided after this rests on a later snapshot. `NotDecided`."""
        async with _reading(self._pool, deadline) as connection:
            await self._pip.refresh(connection)

    async def search(self, asked: Search) -> Found:
        """A page of what would be allowed, recorded before it is told: who asked, and how many were found.

        `NotAuthenticated`, `NotPermitted`, `NotDecided`, `NotRecorded`.
        """
        deadline = asked.received + self._deadline
        with _UNDECIDED:
            async with asyncio.timeout_at(deadline), self._searches, _reading(self._pool) as connection:
                for _ in range(TRIES):
                    pip = self._fresh()
                    page = await search.page(connection, pip, self._permissions, asked)
                    await pip.refresh(connection)
                    if pip.known.stands(page.seen, page.keys) and pip.known.now()[1] < page.until:
                        break
                else:
                    raise NotDecided("the records kept changing while they were searched")
        members = self._entries.searched(asked, page)
        await self._committer.note("searched", members, deadline)
        _require_in_time(deadline)
        return page.found

    def _fresh(self) -> Pip:
        """One that holds nothing, for what is read in a snapshot of its own."""
        return Pip(Known(self._clock.displacement), self._pip.library, self._clock.wall)

    async def _evaluate(self, asks: Sequence[Ask], deadline: float) -> list[Answer | SeatsNeeded]:
        results: dict[int, Answer | SeatsNeeded] = {}
        for _ in range(TRIES):
            places = [place for place in range(len(asks)) if place not in results]
            judged = await self._judge([asks[place] for place in places], Permission.EVALUATE, deadline)
            answers: dict[int, Answer] = {}
            entries = []
            given = dict(zip(places, judged, strict=True))
            for place, each in given.items():
                needed = each.seats_needed()
                if needed is not None:
                    results[place] = needed
                else:
                    answers[place] = self._answer(each)
                    entries.append(self._prepared(each, answers[place]))
            for place, committed in zip(answers, await self._committer.commit(entries, deadline), strict=True):
                if committed is Committed.YES:
                    results[place] = answers[place]
                    self._note(given[place], answers[place])
            if len(results) == len(asks):
                return [results[place] for place in range(len(asks))]
        raise NotRecorded("the records kept changing while the decision was being recorded")

    def _note(self, judged: _Judged, answer: Answer) -> None:
        choice = judged.loaded.choice
        if choice.other is not None:
            self.compared.note(choice, judged.derived.vector, answer.told, answer.at)

    async def _judge(self, asks: Sequence[Ask], permission: Permission, deadline: float) -> list[_Judged]:
        requests = [ask.request for ask in asks]
        with _UNDECIDED:
            for _ in range(TRIES):
                loaded = await self._pip.load(lambda: _reading(self._pool, deadline), asks[0].key.id, requests)
                try:
                    return [self._judged(*each, permission) for each in zip(asks, loaded, strict=True)]
                except (NotAuthenticated, NotPermitted):
                    # Without an entry, no statement checks what this rests on but this one.
                    if await self._still_stands(loaded[0], deadline):
                        raise
            raise NotDecided("the records kept changing while the caller was looked up")

    def _judged(self, ask: Ask, loaded: Loaded, permission: Permission) -> _Judged:
        caller = bearer.verify(ask.key, loaded.stored_key, loaded.now)
        self._permissions.require(caller, permission)
        derived = facts.derive(loaded.records, ask.request, loaded.now)
        return _Judged(ask, caller, loaded, derived, loaded.policy.told(derived.vector))

    async def _still_stands(self, loaded: Loaded, deadline: float) -> bool:
        await self.refresh(deadline)
        return self._pip.known.stands(loaded.seen, loaded.keys)

    def _answer(self, judged: _Judged) -> Answer:
        loaded = judged.loaded
        return Answer(
            id=uuid7(loaded.now, RANDOM.take(10)),
            at=loaded.now,
            written=timestamp(loaded.now),
            told=judged.told,
            policy_revision=loaded.policy_revision,
            explained=self._permissions.has(judged.caller, Permission.EXPLAIN),
        )

    def _prepared(self, judged: _Judged, answer: Answer) -> Prepared:
        ask, loaded, caller = judged.ask, judged.loaded, judged.caller
        return Prepared(
            id=answer.id,
            type="decision",
            at=answer.at,
            written=answer.written,
            parts=self._entries.parts(
                (caller.id, caller.key_id),
                ask.request,
                ask.context,
                ask.request_id,
                loaded,
                answer.told.logged,
                answer.id,
                answer.written,
            ),
            seen=loaded.seen,
            keys=loaded.keys,
            until=min(judged.until, answer.at + LONGEST),
        )


def _require_in_time(deadline: float) -> None:
    """A process that was stopped in between must not answer late with what was true before. `NotRecorded`."""
    if asyncio.get_running_loop().time() >= deadline:
        raise NotRecorded("the deadline passed before the decision could be answered")


class _Undecided:
    """Whatever goes wrong while something is evaluated: there is no answer."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        if not isinstance(error, Exception) or isinstance(error, GateError):
            return
        # Where, never the message: it may hold what is on record about a person.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("a request could not be evaluated: %s\n%s", type(error).__name__, where)
        raise NotDecided("the request could not be evaluated") from None


_UNDECIDED = _Undecided()


@asynccontextmanager
async def _reading(pool: Pool, deadline: float = math.inf) -> AsyncIterator[Connection]:
    """A connection whose failures mean: not decided."""
    try:
        async with asyncio.timeout_at(deadline), pool.acquire() as connection:
            yield connection
    except TimeoutError as error:
        raise NotRecorded("the deadline passed before the decision was recorded") from error
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise NotDecided("the records cannot be read") from error
