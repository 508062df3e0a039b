"""Suspending and revoking over REST, effective on the next decision."""

from typing import Annotated

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body
from mythos_gate.api.deps import MaySuspend, MaySuspendStaff, TheGate
from mythos_gate.api.idempotency import Once
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import standing
from mythos_gate.registry.standing import Standing

router = APIRouter(prefix="/v1", tags=["standing"], route_class=Once)


class Why(BaseModel):
    """Kept with the record, never in the log."""

    model_config = ConfigDict(extra="forbid")
    reason: Text | None = None


async def _reason(request: Request) -> str | None:
    return body.shaped(Why, await body.parsed(request)).reason if await request.body() else None


# In a signature behind the caller, who is told first if he may not.
Reason = Annotated[str | None, Depends(_reason)]
DOCUMENTED = body.documented(Why, required=False)


@router.post("/organizations/{organization}/suspend", openapi_extra=DOCUMENTED)
async def suspend_organization(organization: Name, gate: TheGate, caller: MaySuspend, reason: Reason) -> Standing:
    async with gate.registry.change("organization_suspended", caller.id) as change:
        return await standing.suspend_organization(change, organization, reason, caller)


@router.post("/organizations/{organization}/revoke", openapi_extra=DOCUMENTED)
async def revoke_organization(organization: Name, gate: TheGate, caller: MaySuspend, reason: Reason) -> Standing:
    async with gate.registry.change("organization_revoked", caller.id) as change:
        return await standing.revoke_organization(change, organization, reason, caller)


@router.post("/grants/{grant}/suspend", openapi_extra=DOCUMENTED)
async def suspend_grant(grant: Name, gate: TheGate, caller: MaySuspend, reason: Reason) -> Standing:
    async with gate.registry.change("grant_suspended", caller.id) as change:
        return await standing.suspend_grant(change, grant, reason, caller)


@router.post("/grants/{grant}/revoke", openapi_extra=DOCUMENTED)
async def revoke_grant(grant: Name, gate: TheGate, caller: MaySuspend, reason: Reason) -> Standing:
    async with gate.registry.change("grant_revoked", caller.id) as change:
        return await standing.revoke_grant(change, grant, reason, caller)


@router.post("/people/{person:path}/suspend", openapi_extra=DOCUMENTED)
async def suspend_person(person: Name, gate: TheGate, caller: MaySuspendStaff, reason: Reason) -> Standing:
    async with gate.registry.change("person_suspended", caller.id) as change:
        return await standing.suspend_person(change, person, reason, caller)


@router.post("/people/{person:path}/revoke", openapi_extra=DOCUMENTED)
async def revoke_person(person: Name, gate: TheGate, caller: MaySuspendStaff, reason: Reason) -> Standing:
    async with gate.registry.change("person_revoked", caller.id) as change:
        return await standing.revoke_person(change, person, reason, caller)


@router.post("/agents/{agent:path}/suspend", openapi_extra=DOCUMENTED)
async def suspend_agent(agent: Name, gate: TheGate, caller: MaySuspendStaff, reason: Reason) -> Standing:
    async with gate.registry.change("agent_suspended", caller.id) as change:
        return await standing.suspend_agent(change, agent, reason, caller)


@router.post("/agents/{agent:path}/revoke", openapi_extra=DOCUMENTED)
async def revoke_agent(agent: Name, gate: TheGate, caller: MaySuspendStaff, reason: Reason) -> Standing:
    async with gate.registry.change("agent_revoked", caller.id) as change:
        return await standing.revoke_agent(change, agent, reason, caller)


@router.post("/endpoints/{endpoint:path}/revoke", openapi_extra=DOCUMENTED)
async def revoke_endpoint(endpoint: Name, gate: TheGate, caller: MaySuspendStaff, reason: Reason) -> Standing:
    async with gate.registry.change("endpoint_revoked", caller.id) as change:
        return await standing.revoke_endpoint(change, endpoint, reason, caller)
