"""The PDP: from a request to a recorded decision."""

import asyncio
import hmac
import logging
import re
import secrets
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, TypeAlias, TypeVar
from uuid import UUID

import asyncpg
import orjson

from mythos_gate.audit.entry import PLACE, VERSION, template, timestamp, uuid7
from mythos_gate.audit.log import Committed, Committer, Prepared
from mythos_gate.authn import api_keys
from mythos_gate.authn.permissions import Permissions
from mythos_gate.decision import eligibility, facts, search
from mythos_gate.decision.eligibility import Eligibility
from mythos_gate.decision.policy import BROKEN_GLASS, Decision, Policy, Reason
from mythos_gate.decision.records import GUARD, Connection, Library, Loaded, load
from mythos_gate.decision.request import Request
from mythos_gate.decision.search import Found, Search
from mythos_gate.errors import GateError, NotDecided, NotRecorded
from mythos_gate.terms import AuthorityKind, Permission

TRIES = 3
LISTS = 2  # of eligibility, at once
VERSION_NUMBER = re.compile(r"[0-9]{1,4}(\.[0-9]{1,4}){0,3}")

logger = logging.getLogger(__name__)

T = TypeVar("T")
Pool: TypeAlias = "asyncpg.Pool[asyncpg.Record]"


@dataclass(frozen=True, slots=True)
class Ask:
    """A request with who asks it, when it was received (monotonic seconds), and its context as sent.

    `entities` are those sent, with all their properties: a PDP of something else than models reads them.
    """

    key: api_keys.Presented
    request: Request
    received: float
    context: Mapping[str, Any]
    request_id: str | None = None
    entities: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Answer:
    """A decision, recorded unless it is a dry run's. `explained`: this caller may see facts, rows and all codes."""

    id: UUID
    at: datetime
    decision: Decision
    vector: facts.Vector
    policy: Policy
    policy_revision: int
    explained: bool

    @property
    def outcome(self) -> str:
        if self.decision.codes == (BROKEN_GLASS,):
            return "allow_break_glass"
        return self.decision.outcome.value.lower()

    @property
    def reason(self) -> Reason:
        return self.policy.reasons[self.decision.primary]


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


@dataclass(frozen=True, slots=True)
class _Judged:
    """A decision before it is recorded."""

    ask: Ask
    caller: api_keys.Caller
    loaded: Loaded
    derived: facts.Derived
    decision: Decision

    @property
    def seats_needed(self) -> tuple[str, ...]:
        """The capped grants that the allow rests on and under which the person holds no seat."""
        if not self.decision.allowed:
            return ()
        needed = [AuthorityKind.VENDOR]
        if self.derived.vector["presence"] != "us_domestic":
            needed.append(AuthorityKind.GOVERNMENT)
        grants = [self.derived.best[kind] for kind in needed if self.derived.vector[kind] == "covered"]
        return tuple(sorted(grant.id for grant in grants if grant.seat_cap is not None and not grant.seat_held))


NOBODY = Request("person", "", "invoke", None, None, "model", "", None)


class Pdp:
    """Loads, derives, decides, records; then answers. Without an entry there is no answer."""

    def __init__(
        self,
        pool: Pool,
        committer: Committer,
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
        self._origin = origin
        self._digest_key = digest_key
        self._deadline = deadline
        self._library = Library()
        self._lists = asyncio.Semaphore(LISTS)

    async def require_ready(self) -> None:
        """Read all that a decision reads, about nobody; nothing is decided or recorded. `NotDecided`."""
        with _undecided():
            async with asyncio.timeout(self._deadline), _reading(self._pool) as connection:
                loaded = await load(connection, self._library, "", NOBODY, self._clock.displacement, self._clock.wall)
                loaded.policy.decide(facts.derive(loaded.records, NOBODY, loaded.now).vector)
                if await connection.fetchval("SELECT current_setting('transaction_read_only') = 'on'"):
                    raise NotDecided("the database takes no writes")
        if not self._committer.is_running:
            raise NotDecided("the committer has stopped")

    async def evaluate(self, ask: Ask) -> Answer | SeatsNeeded:
        """Decide, commit the entry, answer.

        `NotAuthenticated` or `NotPermitted` if the caller may not ask; `NotDecided` or `NotRecorded` if there is no
        answer.
        """
        return await self._in_time(ask, self._evaluate)

    async def explain(self, ask: Ask) -> Answer:
        """Decide without an entry and without a claim."""
        return await self._in_time(ask, self._explain)

    async def eligibility(self, people: Sequence[str]) -> list[Eligibility]:
        """What each of these people's standing requests would be answered. `NotDecided`; nothing is recorded."""
        with _undecided():
            # Long lists take few of the connections that decisions need.
            async with asyncio.timeout(self._deadline), self._lists, _reading(self._pool) as connection:
                return await eligibility.of(
                    connection, self._library, people, self._clock.displacement, self._clock.wall
                )

    async def search(self, asked: Search) -> Found:
        """A page of what would be allowed. `NotAuthenticated`, `NotPermitted`, `NotDecided`; nothing is recorded."""
        deadline = asked.received + self._deadline
        with _undecided():
            async with asyncio.timeout_at(deadline), self._lists, _reading(self._pool) as connection:
                for _ in range(TRIES):
                    page = await search.page(
                        connection, self._library, self._permissions, self._clock.displacement, self._clock.wall, asked
                    )
                    if not await connection.fetchval(GUARD, page.n, list(page.keys)):
                        break
                else:
                    raise NotDecided("the records kept changing while they were searched")
        if asyncio.get_running_loop().time() >= deadline:
            raise NotDecided("the deadline passed before the search could be answered")
        return page.found

    async def _in_time(self, ask: Ask, work: Callable[[Ask], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout_at(ask.received + self._deadline):
                result = await work(ask)
        except TimeoutError as error:
            raise NotRecorded("the deadline passed before the decision was recorded") from error
        # A process that was stopped in between must not answer late with what was true before.
        if asyncio.get_running_loop().time() >= ask.received + self._deadline:
            raise NotRecorded("the deadline passed before the decision could be answered")
        return result

    async def _evaluate(self, ask: Ask) -> Answer | SeatsNeeded:
        for _ in range(TRIES):
            judged = await self._judge(ask, Permission.EVALUATE)
            if judged.seats_needed:
                person = judged.loaded.records.person
                assert person is not None
                return SeatsNeeded(person.id, judged.seats_needed, judged.caller.id)
            answer = self._answer(judged)
            if await self._committer.commit(self._prepared(judged, answer)) is Committed.YES:
                return answer
        raise NotRecorded("the records kept changing while the decision was being recorded")

    async def _explain(self, ask: Ask) -> Answer:
        for _ in range(TRIES):
            judged = await self._judge(ask, Permission.EXPLAIN)
            async with _reading(self._pool) as connection:
                if not await connection.fetchval(GUARD, judged.loaded.n, list(judged.loaded.keys)):
                    return self._answer(judged)
        raise NotDecided("the records kept changing while the decision was being explained")

    async def _judge(self, ask: Ask, permission: Permission) -> _Judged:
        with _undecided():
            async with _reading(self._pool) as connection:
                loaded = await load(
                    connection, self._library, ask.key.id, ask.request, self._clock.displacement, self._clock.wall
                )
            caller = api_keys.verify(ask.key, loaded.stored_key, loaded.now)
            self._permissions.require(caller, permission)
            derived = facts.derive(loaded.records, ask.request, loaded.now)
            return _Judged(ask, caller, loaded, derived, loaded.policy.decide(derived.vector))

    def _answer(self, judged: _Judged) -> Answer:
        loaded = judged.loaded
        return Answer(
            id=uuid7(loaded.now, secrets.token_bytes(10)),
            at=loaded.now,
            decision=judged.decision,
            vector=judged.derived.vector,
            policy=loaded.policy,
            policy_revision=loaded.policy_revision,
            explained=self._permissions.has(judged.caller, Permission.EXPLAIN),
        )

    def _prepared(self, judged: _Judged, answer: Answer) -> Prepared:
        until = judged.derived.until
        expires = judged.loaded.stored_key.expires_at if judged.loaded.stored_key else None
        return Prepared(
            id=answer.id,
            type="decision",
            at=answer.at,
            parts=template(self._members(judged, answer), PLACE),
            known=judged.loaded.n,
            keys=judged.loaded.keys,
            until=until if expires is None else min(until, expires),
        )

    def _members(self, judged: _Judged, answer: Answer) -> dict[str, Any]:
        loaded, request = judged.loaded, judged.ask.request
        return {
            "v": VERSION,
            "log": self._origin,
            "type": "decision",
            "id": str(answer.id),
            "at": timestamp(answer.at),
            "salt": secrets.token_hex(16),
            "caller": {"id": judged.caller.id, "key": judged.caller.key_id},
            "subject": self._subject(request, loaded),
            "organization": loaded.organization_id,
            "action": self._action(request, loaded),
            "resource": self._resource(request, loaded),
            "context": self._digest(judged.ask.context),
            "request": judged.ask.request_id and self._digest(judged.ask.request_id),
            "facts": dict(judged.derived.vector),
            "outcome": answer.outcome,
            "rows": list(judged.decision.rows),
            "reasons": list(judged.decision.codes),
            "cause": list(judged.decision.cause),
            "bypassed": list(judged.decision.bypassed),
            "policy": {"revision": loaded.policy_revision, "sha256": loaded.policy.sha256},
            "data_set": loaded.data_set,
        }

    def _subject(self, request: Request, loaded: Loaded) -> dict[str, Any]:
        kind = request.subject_type if request.subject_type in {"person", "agent"} else "other"
        if loaded.subject_id is None:
            return {"type": kind, "digest": self._digest([request.subject_type, request.subject_id])}
        person = loaded.records.person
        return {"type": kind, "id": loaded.subject_id, "person": person and person.id}

    def _action(self, request: Request, loaded: Loaded) -> dict[str, Any]:
        grants, agent = loaded.records.grants, loaded.records.agent
        capabilities = {code for grant in grants for code in grant.capabilities} | (agent.scopes if agent else set())
        purposes = {code for grant in grants for code in grant.purposes}
        return {
            "name": self._known(request.action, {"invoke"}),
            "capability": self._known(request.capability, capabilities),
            "purpose": self._known(request.purpose, purposes),
        }

    def _resource(self, request: Request, loaded: Loaded) -> dict[str, Any]:
        version = request.version
        is_number = version is not None and VERSION_NUMBER.fullmatch(version) is not None
        return {
            "type": self._known(request.resource_type, {"model"}),
            "id": self._known(request.model, {request.model} if loaded.model_known else set()),
            "version": version if is_number else self._known(version, set()),
            "endpoint": loaded.endpoint_id,
        }

    def _known(self, text: str | None, codes: Collection[str]) -> str | dict[str, str] | None:
        """A code that is on record as it is; any other text only as its digest: it may say something of a person."""
        return text if text is None or text in codes else {"digest": self._digest(text)}

    def _digest(self, value: Any) -> str:
        return hmac.digest(self._digest_key, orjson.dumps(value, option=orjson.OPT_SORT_KEYS), "sha256").hex()


@contextmanager
def _undecided() -> Iterator[None]:
    """Whatever goes wrong while something is evaluated: there is no answer."""
    try:
        yield
    except GateError:
        raise
    except Exception as error:  # noqa: BLE001  whatever it was: there is no answer
        # Where, never the message: it may hold what is on record about a person.
        where = "".join(traceback.format_tb(error.__traceback__))
        logger.error("a request could not be evaluated: %s\n%s", type(error).__name__, where)  # noqa: TRY400
        raise NotDecided("the request could not be evaluated") from None


@asynccontextmanager
async def _reading(pool: Pool) -> AsyncIterator[Connection]:
    """A connection whose failures mean: not decided."""
    try:
        async with pool.acquire() as connection:
            yield connection
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError) as error:
        raise NotDecided("the records cannot be read") from error
