"""What endpoints ask for in their signatures: the gate's parts, and a caller with a permission."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Annotated

from fastapi import Depends, Request
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from mythos_gate import db
from mythos_gate.api import idempotency
from mythos_gate.api.refusals import Refusals
from mythos_gate.api.tokens import Tokens
from mythos_gate.audit.anchors import Vouching
from mythos_gate.audit.log import Committer
from mythos_gate.audit.note import SignerKey
from mythos_gate.authn import act, api_keys, bearer, caller
from mythos_gate.authn.api_keys import Caller
from mythos_gate.authn.bearer import Credential
from mythos_gate.authn.lockout import MOST_KEYS, Lockout
from mythos_gate.authn.permissions import Permissions
from mythos_gate.decision.pdp import Clock, Pdp, SeatsNeeded
from mythos_gate.errors import GateError, Invalid, LockedOut, NotAuthenticated, NotDecided
from mythos_gate.registry.change import Registry
from mythos_gate.registry.idempotency import Attempt, Slots
from mythos_gate.settings import Settings
from mythos_gate.terms import Permission


@dataclass(slots=True)
class Gate:
    """The parts of a running service; of a request its own copy, confined to its caller."""

    settings: Settings
    pdp: Pdp
    registry: Registry
    claims: Registry
    reader: AsyncEngine
    permissions: Permissions
    log: Committer
    clock: Clock
    tokens: Tokens
    metadata: Mapping[str, str]
    receipts: SignerKey | None  # signs receipts; None if there is no such key
    vouching: Vouching
    bearer: bearer.Read  # the key or token of an Authorization header
    chain: act.Read  # for whom an agent acts, by its token
    slots: Slots  # of answers to changes
    lockout: Lockout = field(default_factory=Lockout)
    refusals: Refusals = field(default_factory=Refusals)
    simulating: asyncio.Lock = field(default_factory=asyncio.Lock)  # one at a time
    claiming: dict[SeatsNeeded, asyncio.Future[None]] = field(default_factory=dict)  # of seats, under way

    def confine(self, caller: Caller) -> None:
        """What is asked of the registry from now on is asked for this caller; `may` has it done."""
        if caller.organization_id is not None:
            self.registry.confine(caller.organization_id)
            self.reader = db.confined(self.reader, caller.organization_id)
        elif not self.permissions.has(caller, Permission.ASSESS):
            self.registry.spare_nationality()

    async def close(self) -> None:
        """End the claims that are under way: their connections go back before the pools are closed."""
        claims = list(self.claiming.values())
        for each in claims:
            each.cancel()
        await asyncio.gather(*claims, return_exceptions=True)

    def counted(self, error: GateError, authorization: str | None) -> GateError:
        """The error to tell: of failed authentication another one, after too many. What names no key is not counted."""
        if isinstance(error, NotAuthenticated):
            try:
                self.lockout.failed(api_keys.bearer(authorization).id)
            except NotAuthenticated:  # no key: nothing was looked up, or a token's signature was wrong
                return error
            except LockedOut as locked:
                return locked
        return error

    @property
    def now(self) -> datetime:
        return self.clock.wall()


async def gate(request: Request) -> Gate:  # a plain function would be run in a thread
    found: Gate = request.app.state.gate
    attempt: Attempt | None = getattr(request.state, "attempt", None)
    return replace(found, registry=attempt or replace(found.registry))


TheGate = Annotated[Gate, Depends(gate)]


async def admit(the_gate: Gate, presented: api_keys.Presented) -> None:
    """`LockedOut` if it need not be looked up."""
    lockout = the_gate.lockout
    if lockout.wants(presented.id):
        async with reading(the_gate.registry.engine) as connection:
            lockout.learn(await caller.hashes(connection, MOST_KEYS))
    lockout.admit(presented)


async def authenticate(the_gate: Gate, presented: Credential) -> Caller:
    """Who presented it; `NotDecided` if that cannot be looked up, `LockedOut` if it need not be."""
    if isinstance(presented, api_keys.Presented):
        await admit(the_gate, presented)
    async with reading(the_gate.registry.engine) as connection:
        return await caller.authenticate(connection, presented)


def read_only(the_gate: Gate) -> AbstractAsyncContextManager[AsyncConnection]:
    """A connection that may read the log and the registry, nationality apart."""
    return reading(the_gate.reader)


@asynccontextmanager
async def reading(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """A connection; `NotDecided` if it fails."""
    try:
        async with engine.connect() as connection:
            yield connection
    except (SQLAlchemyError, OSError) as error:
        raise NotDecided("the records cannot be read") from error


def may(permission: Permission) -> Callable[..., Awaitable[Caller]]:
    """A dependency: the caller, who has this permission."""

    async def permitted(request: Request, the_gate: TheGate) -> Caller:
        request.state.administrative = True
        found = await authenticate(the_gate, await the_gate.bearer(request.headers.get("authorization")))
        request.state.caller = found
        the_gate.confine(found)
        the_gate.permissions.require(found, permission)
        await begin(the_gate, request, found.id)
        return found

    permitted.permission = permission  # type: ignore[attr-defined]  # the test of all routes reads it
    return permitted


async def begin(the_gate: Gate, request: Request, caller: str) -> None:
    """What comes before an endpoint once it is known who calls. `Invalid`, or what `idempotency.begin` raises."""
    await _require_known(request)
    if isinstance(the_gate.registry, Attempt):
        await idempotency.begin(the_gate.registry, caller, request)


def may_ask(permission: Permission) -> Callable[..., Awaitable[Credential]]:
    """A dependency of the decisions' routes: what was presented by somebody who has this permission.

    The PDP knows its callers by what the decision rests on, and requires the permission again when it decides.
    """

    async def asking(request: Request, the_gate: TheGate) -> Credential:
        presented = await the_gate.bearer(request.headers.get("authorization"))
        await the_gate.pdp.require(presented, permission)
        return presented

    asking.permission = permission  # type: ignore[attr-defined]
    return asking


async def _require_known(request: Request) -> None:
    """A parameter or a body that would count for nothing is told, as is one that is there twice. `Invalid`."""
    operation = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    known = [each["name"] for each in operation.get("parameters", ()) if each["in"] == "query"]
    if unknown := sorted(each for each in request.query_params.keys() - set(known) if not _is_entras(request, each)):
        raise Invalid(f"{', '.join(unknown)}: no such parameter: use {', '.join(known) or 'none'}")
    if len(request.query_params.multi_items()) != len(request.query_params):
        raise Invalid("a parameter is there twice: send it once")
    if "requestBody" not in operation and (await request.body()).strip() not in {b"", b"{}"}:
        raise Invalid("this request takes no body: leave it out")


def _is_entras(request: Request, parameter: str) -> bool:
    """Its flags stand in the address that it is given for SCIM, and may come along with each request."""
    return request.url.path.startswith("/scim/") and parameter.lower().startswith("aadopt")


MayEvaluate = Annotated[Credential, Depends(may_ask(Permission.EVALUATE))]
MayExplain = Annotated[Credential, Depends(may_ask(Permission.EXPLAIN))]
MaySuspend = Annotated[Caller, Depends(may(Permission.SUSPEND))]
MaySuspendStaff = Annotated[Caller, Depends(may(Permission.SUSPEND_STAFF))]
MayReadDecisions = Annotated[Caller, Depends(may(Permission.READ_DECISIONS))]
MayReadRegistry = Annotated[Caller, Depends(may(Permission.READ_REGISTRY))]
MayReadStaff = Annotated[Caller, Depends(may(Permission.READ_STAFF))]
MayScreen = Annotated[Caller, Depends(may(Permission.SCREEN))]
MayEnrol = Annotated[Caller, Depends(may(Permission.ENROL))]
MayReadProgramme = Annotated[Caller, Depends(may(Permission.READ_PROGRAMME))]
MayReadAttention = Annotated[Caller, Depends(may(Permission.READ_ATTENTION))]
MayRunProgramme = Annotated[Caller, Depends(may(Permission.RUN_PROGRAMME))]
MayAssess = Annotated[Caller, Depends(may(Permission.ASSESS))]
MayProvision = Annotated[Caller, Depends(may(Permission.PROVISION))]
MayActivatePolicy = Annotated[Caller, Depends(may(Permission.ACTIVATE_POLICY))]
MayReadFacts = Annotated[Caller, Depends(may(Permission.EXPLAIN))]
MayOperate = Annotated[Caller, Depends(may(Permission.OPERATE))]
MayReview = Annotated[Caller, Depends(may(Permission.REVIEW))]
MayAdminister = Annotated[Caller, Depends(may(Permission.ADMINISTER))]
MayReadLog = Annotated[Caller, Depends(may(Permission.READ_LOG))]
