"""The service: its parts put together."""

import asyncio
import gc
import importlib
import logging
import os
import secrets
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import asyncpg
from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from mythos_gate import db, sequencing
from mythos_gate.api import (
    access,
    assessments,
    attention,
    authorities,
    authzen,
    break_glass,
    change_requests,
    data_sets,
    document,
    edge,
    eligibility,
    evaluations,
    exports,
    forward_auth,
    front,
    health,
    holds,
    invitations,
    keys,
    log,
    metadata,
    onboarding,
    ownership,
    people,
    policies,
    policy_cases,
    policy_reports,
    problems,
    programme,
    refusals,
    resources,
    rollouts,
    scim,
    screenings,
    search,
    simulations,
    standing,
    stops,
    tlog,
    tokens,
)
from mythos_gate.api.deps import Gate
from mythos_gate.audit import tree
from mythos_gate.audit.entry import timestamp
from mythos_gate.authn import act, bearer, issuers
from mythos_gate.authn.issuers import Issuer
from mythos_gate.authn.permissions import Permissions
from mythos_gate.db import DbRole
from mythos_gate.decision.library import Library
from mythos_gate.decision.pdp import Clock, Pdp
from mythos_gate.decision.records import Pip
from mythos_gate.errors import Misconfigured, NotRecorded
from mythos_gate.registry import idempotency
from mythos_gate.registry import invitations as inviting
from mythos_gate.registry import rollouts as rolling
from mythos_gate.registry.change import Registry
from mythos_gate.revision import Known
from mythos_gate.settings import Settings, root

# Of two paths that fit, the first one counts: what is special comes before the records' own.
NOUNS = (
    authzen, evaluations, search, metadata, forward_auth, standing, attention, authorities, change_requests, stops,
    holds, people, assessments, eligibility, onboarding, invitations, ownership, break_glass, screenings, data_sets,
    programme, policies, policy_cases, policy_reports, rollouts, simulations, keys, resources, scim, log, exports, tlog,
    health,
)  # fmt: skip
# The modules' own, not included one by one: FastAPI would make each anew for every application, at its first request.
ROUTES = [route for noun in NOUNS for route in noun.router.routes]
TITLE, VERSION = "mythos-gate", "0.1.0"
SUMMARY = "Decides, per request, who may reach a restricted AI capability, and proves it afterwards."
HOT = {"/access/v1/evaluation": authzen.evaluated, "/access/v1/evaluations": evaluations.evaluated}
PDP_CONNECTIONS = 8
CLAIMS = 4  # connections
PRUNE_EVERY = 600.0  # seconds
COMPARE_EVERY, COMPARED = 1.0, 200  # seconds, answers at a time
BEHIND = timedelta(minutes=1)  # that an entry may wait for its place in the tree
YOUNG = 20_000  # objects that a search for cycles waits for: some hundred requests
OLDEST = 2  # generation

logger = logging.getLogger(__name__)


class Service(FastAPI):
    """FastAPI, behind the hot routes: its way to a route costs as much as a decision."""

    front: ASGIApp

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.front(scope, receive, send)

    async def framework(self, scope: Scope, receive: Receive, send: Send) -> None:
        await super().__call__(scope, receive, _briefly(send) if scope["type"] == "lifespan" else send)


def _briefly(send: Send) -> Send:
    """Why it could not start is told in one line by `_starting`; else the server would write the traceback as well."""

    async def brief(message: Message) -> None:
        await send({**message, "message": ""} if message["type"].endswith(".failed") else message)

    return brief


@contextmanager
def _starting() -> Iterator[None]:
    """What keeps the service from starting, in one line and without what a database or a file says of it."""
    try:
        yield
    except Misconfigured as error:
        logger.critical("the service cannot start: %s", error)
        raise
    except (SQLAlchemyError, asyncpg.PostgresError, OSError) as error:
        logger.error("the service cannot start: the database does not answer: %s", type(error).__name__)  # noqa: TRY400
        raise
    except Exception:
        logger.exception("the service cannot start")
        raise


def wall_clock() -> datetime:
    return datetime.now(UTC)


def from_environment() -> FastAPI:
    """The application of a process that does nothing but serve."""
    app = create(Settings())
    _collect_seldom()
    return app


def _collect_seldom() -> None:
    """Nearly all that is made is let go of by its count alone, and looking for cycles cost an eighth of each decision.

    What outlived a whole search (the code, then records) is not searched again: it would stop everybody for longer
    the more records are kept. A cycle that was alive just then is never freed; searches are rare enough for that.
    """
    gc.set_threshold(YOUNG, 20, 20)
    gc.callbacks.append(_keep_old)
    gc.collect()


def _keep_old(phase: str, found: Mapping[str, int]) -> None:
    if phase == "stop" and found["generation"] == OLDEST:
        gc.freeze()


def create(settings: Settings, clock: Clock | None = None) -> FastAPI:
    """The application. Only tests give a clock of their own: no setting, header or route displaces time."""

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            with _starting():
                app.state.gate = await _start(settings, clock or Clock(wall_clock), stack)
            yield

    app = Service(
        title=TITLE,
        version=VERSION,
        summary=SUMMARY,
        lifespan=lifespan,
        routes=ROUTES,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    app.openapi = _document  # type: ignore[method-assign]
    layers, said = app.build_middleware_stack, edge.always(settings.public_url)

    def stack() -> ASGIApp:
        """Before the framework's own layers: it answers what they cannot, too."""
        return edge.Edge(layers(), settings.body_limit, settings.import_limit, said)

    app.build_middleware_stack = stack  # type: ignore[method-assign]
    app.front = front.Front(app.framework, app.state, HOT, settings.body_limit, said)
    if settings.access_log:
        app.front = access.Access(app.front, frozenset(HOT))
    return app


@cache
def _document() -> dict[str, Any]:
    """What `/openapi.json` answers."""
    return document.complete(get_openapi(title=TITLE, version=VERSION, summary=SUMMARY, routes=ROUTES))


async def _start(settings: Settings, clock: Clock, stack: AsyncExitStack) -> Gate:
    described, vouching, trusted = metadata.made(settings), sequencing.vouching(settings), trusted_by(settings)
    urls = db.role_urls(settings)
    if settings.production:
        await db.refuse_owners(urls)
    registry, claims, reader = _engines(urls, settings.deadline, stack)
    await _make_partitions(registry)
    pool = await db.pool(urls[DbRole.SERVICE], DbRole.SERVICE, PDP_CONNECTIONS)
    stack.push_async_callback(pool.close)
    known = Known(clock.displacement)
    committer = sequencing.committer(settings, urls[DbRole.SERVICE], known)
    stack.push_async_callback(committer.close)
    permissions = _permissions(root() / "policies" / "admin.csv")
    key = digest_key(settings)
    pip = Pip(known, Library(), clock.wall, settings.cache)
    pdp = Pdp(pool, committer, pip, permissions, clock, settings.origin, key, settings.deadline)
    read, chain = await _readers(trusted, key, stack)
    gate = Gate(
        settings=settings,
        pdp=pdp,
        registry=Registry(registry, settings.origin),
        claims=Registry(claims, settings.origin),
        reader=reader,
        permissions=permissions,
        log=committer,
        clock=clock,
        tokens=tokens.Tokens(key),
        metadata=described,
        receipts=sequencing.receipt_signer(settings),
        vouching=vouching,
        bearer=read,
        chain=chain,
        slots=idempotency.Slots(key),
    )
    stack.push_async_callback(gate.close)
    for upkeep in (_prune(registry), _compare(gate)):
        stack.callback(asyncio.create_task(upkeep).cancel)
    telling = asyncio.create_task(_tell(gate))
    stack.push_async_callback(_told, gate, telling)
    return gate


async def _make_partitions(registry: AsyncEngine) -> None:
    async with registry.begin() as connection:
        await connection.execute(text("SELECT make_log_partitions(:today, 13)"), {"today": wall_clock().date()})


def _engines(
    urls: Mapping[DbRole, str], deadline: float, stack: AsyncExitStack
) -> tuple[AsyncEngine, AsyncEngine, AsyncEngine]:
    """For administration, for claims and for reading."""
    registry = db.engine(urls[DbRole.COMPLIANCE], DbRole.COMPLIANCE, patience=deadline)
    # Claims wait for each other: in a pool of their own they cannot make a kill switch wait.
    claims = db.engine(urls[DbRole.COMPLIANCE], DbRole.COMPLIANCE, CLAIMS, patience=deadline / 2)
    reader = db.engine(urls[DbRole.READER], DbRole.READER, patience=deadline)
    for engine in (registry, claims, reader):
        stack.push_async_callback(engine.dispose)
    return registry, claims, reader


def trusted_by(settings: Settings) -> Sequence[Issuer]:
    """Whose tokens are taken; nobody's, unless a file names them. `Misconfigured`."""
    return () if settings.issuers is None else issuers.read(settings.issuers)


async def _readers(trusted: Sequence[Issuer], key: bytes, stack: AsyncExitStack) -> tuple[bearer.Read, act.Read]:
    """What reads who calls, and for whom an agent acts."""
    if not trusted:
        return bearer.key_alone, act.nobody
    # Whose callers have keys alone need not wait for the library at each start.
    oidc = importlib.import_module("mythos_gate.authn.oidc")
    reader = await oidc.reader(trusted, key, stack)
    return bearer.either(reader.read), reader.chain


@cache
def _permissions(path: Path) -> Permissions:
    return Permissions(path)


async def _tell(gate: Gate) -> None:
    """Record how many calls were refused beside those that the log tells of."""
    while True:
        await asyncio.sleep(refusals.EVERY)
        with suppress(NotRecorded):  # the process's log says why
            await gate.refusals.flush(gate.log)
        await _watch(gate)


async def _compare(gate: Gate) -> None:
    """Behind the answers: count where another policy would have answered otherwise, and end rollouts that are due."""
    while True:
        await asyncio.sleep(COMPARE_EVERY)
        try:
            waits = True
            while waits:
                found, waits = gate.pdp.compared.take(COMPARED)
                if found:
                    async with gate.registry.engine.begin() as connection:
                        await rolling.record(connection, found)
                await asyncio.sleep(0)  # decisions come first
            if gate.pdp.compares:
                await rolling.settle(gate.registry, gate.now)
        except (SQLAlchemyError, OSError, NotRecorded) as error:
            logger.warning("policies could not be compared: %s", type(error).__name__)


async def _watch(gate: Gate) -> None:
    """Say so if nobody takes entries into the tree: who leads the sequencers may be halted, and hold on to the lead."""
    with suppress(SQLAlchemyError, OSError):
        async with gate.reader.connect() as connection:
            waiting = (await tree.state(connection)).oldest
        if waiting is not None and gate.now - waiting > BEHIND:
            logger.error("entries wait for a sequencer since %s: is one running, and not halted?", timestamp(waiting))


async def _told(gate: Gate, telling: asyncio.Task[None]) -> None:
    """The rest, when the service stops."""
    telling.cancel()
    with suppress(NotRecorded, TimeoutError):
        async with asyncio.timeout(gate.settings.deadline):
            await gate.refusals.flush(gate.log)


async def _prune(registry: AsyncEngine) -> None:
    """Keep the list of touched keys short: processes that lag behind do not read it (`revision.GUARD`).

    And forget answers whose day is over, and whom nobody waits for any more.
    """
    while True:
        await asyncio.sleep(PRUNE_EVERY)
        try:
            async with registry.begin() as connection:
                await connection.execute(text("SELECT prune_touched()"))
                await idempotency.forget(connection)
                await inviting.forget(connection)
        except (SQLAlchemyError, OSError):
            logger.exception("touched keys, old answers and invitations could not be pruned")


def digest_key(settings: Settings) -> bytes:
    """The key of the log's digests: from the environment, or the file that `db upgrade` made."""
    if settings.digest_key is not None:
        key = settings.digest_key.get_secret_value().encode()
    else:
        path = db.state(settings) / "digest.key"
        if not path.is_file():
            raise Misconfigured(f"no digest key: set MYTHOS_GATE_DIGEST_KEY, or run `mythos-gate db upgrade` ({path})")
        key = path.read_bytes()
    if len(key) < 32:
        raise Misconfigured("the digest key has fewer than 32 bytes")
    return key


def make_digest_key(settings: Settings) -> None:
    """Make the key's file unless there is one: readable by its owner alone."""
    path = db.state(settings) / "digest.key"
    path.parent.mkdir(parents=True, exist_ok=True)
    with suppress(FileExistsError), os.fdopen(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600), "wb") as file:
        file.write(secrets.token_hex(32).encode())
