"""Invitations over REST: whoever may enrol asks somebody in, who accepts by a word of their own."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from operator import itemgetter
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body, deps
from mythos_gate.api.deps import Gate, MayEnrol, MayReadStaff, TheGate, read_only, reading
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import described, writer
from mythos_gate.api.text import Name, Text
from mythos_gate.authn import tokens
from mythos_gate.authn.tokens import Token
from mythos_gate.errors import NotAuthenticated
from mythos_gate.registry import invitations, resources
from mythos_gate.registry.invitations import Invited

router = APIRouter(prefix="/v1/invitations", tags=["invitations"], route_class=Once)
NEW = described(resources.PERSON, new=True, without=invitations.AGREEMENTS)


class Acceptance(BaseModel):
    """The token of the invitation, and both agreements, which whoever accepts gives for themselves."""

    model_config = ConfigDict(extra="forbid")
    token: Text
    acceptable_use: Literal[True]
    technology_control_plan: Literal[True]


@dataclass(frozen=True, slots=True)
class Accepting:
    """Somebody who is not on record yet: by their issuer's word, where tokens of issuers are taken."""

    invited: Invited
    actor: str


async def accepting(request: Request, the_gate: TheGate) -> Accepting:
    """A dependency: who accepts. From here on nothing is there but what is of the organization that invited them."""
    request.state.administrative = True
    token = body.shaped(Acceptance, await body.parsed(request)).token
    invited = await _invited(the_gate, token)
    actor = invited.id
    if the_gate.settings.issuers is not None:
        presented = await the_gate.bearer(request.headers.get("authorization"))
        if not isinstance(presented, Token):
            raise tokens.refused("an invitation is accepted with a token, not with a key")
        actor = tokens.holder(presented, invited.person, invited.now)
    the_gate.registry.confine(invited.organization_id)
    await deps.begin(the_gate, request, invited.id)
    return Accepting(invited, actor)


async def _invited(the_gate: Gate, token: str) -> Invited:
    """`NotAuthenticated`, counted as a wrong key is, and `LockedOut` after too many."""
    presented = invitations.parse(token)
    await deps.admit(the_gate, presented)
    try:
        async with reading(the_gate.registry.engine) as connection:
            return await invitations.verify(connection, presented)
    except NotAuthenticated:
        the_gate.lockout.failed(presented.id)
        raise


@router.post("", status_code=201, openapi_extra=NEW)
async def invite(request: Request, gate: TheGate, caller: MayEnrol, response: Response) -> Mapping[str, Any]:
    """Invite a future employee. `token` is shown this once: hand it to them, and to nobody else."""
    members = await body.parsed(request)
    until = gate.now + timedelta(days=gate.settings.invitation_days)
    async with gate.registry.change("person_invited", caller.id) as change:
        made = await invitations.invite(change, members, writer(gate, caller), until)
    response.headers["Location"] = f"/v1/invitations/{made['id']}"
    return made


@router.get("")
async def list_invitations(
    gate: TheGate, caller: MayReadStaff, limit: Limit = 100, cursor: Text | None = None
) -> dict[str, Any]:
    """All of them, with what became of each; never a token."""
    async with read_only(gate) as connection:
        found = await invitations.page(connection, caller, cursor, limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/{invitation}")
async def read_invitation(invitation: Name, gate: TheGate, caller: MayReadStaff) -> Mapping[str, Any]:
    """What it says of somebody, until it is over."""
    async with read_only(gate) as connection:
        return await invitations.read(connection, invitation, caller)


@router.post("/{invitation}/withdraw")
async def withdraw(invitation: Name, gate: TheGate, caller: MayEnrol) -> Mapping[str, Any]:
    """From the next request on nobody accepts it."""
    async with gate.registry.change("invitation_withdrawn", caller.id) as change:
        return await invitations.withdraw(change, invitation, caller)


@router.post("/accept", status_code=201, openapi_extra=body.documented(Acceptance))
async def accept(gate: TheGate, by: Annotated[Accepting, Depends(accepting)]) -> Mapping[str, Any]:
    """Accept your own invitation: you are on record, with both agreements. Access takes what it takes of anybody."""
    async with gate.registry.change("invitation_accepted", by.actor) as change:
        return await invitations.accept(change, by.invited, gate.now)
