"""Suspending and revoking over REST, effective on the next decision."""

from typing import Annotated

from fastapi import APIRouter, Body
from pydantic import BaseModel, ConfigDict

from mythos_gate.api.deps import MaySuspend, TheGate
from mythos_gate.api.text import Text
from mythos_gate.registry import standing

router = APIRouter(prefix="/v1", tags=["standing"])


class Why(BaseModel):
    """Kept with the record, never in the log."""

    model_config = ConfigDict(extra="forbid")
    reason: Text | None = None


Reason = Annotated[Why | None, Body()]


class Standing(BaseModel):
    id: str
    status: str


def _shown(found: standing.Standing) -> Standing:
    return Standing(id=found.id, status=found.status)


@router.post("/organizations/{organization}/suspend")
async def suspend_organization(organization: str, gate: TheGate, caller: MaySuspend, why: Reason = None) -> Standing:
    async with gate.registry.change("organization_suspended", caller.id) as change:
        found = await standing.suspend_organization(change, organization, why.reason if why else None)
    return _shown(found)


@router.post("/grants/{grant}/suspend")
async def suspend_grant(grant: str, gate: TheGate, caller: MaySuspend, why: Reason = None) -> Standing:
    async with gate.registry.change("grant_suspended", caller.id) as change:
        found = await standing.suspend_grant(change, grant, why.reason if why else None)
    return _shown(found)


@router.post("/grants/{grant}/revoke")
async def revoke_grant(grant: str, gate: TheGate, caller: MaySuspend, why: Reason = None) -> Standing:
    async with gate.registry.change("grant_revoked", caller.id) as change:
        found = await standing.revoke_grant(change, grant, why.reason if why else None)
    return _shown(found)


@router.post("/people/{person:path}/suspend")
async def suspend_person(person: str, gate: TheGate, caller: MaySuspend, why: Reason = None) -> Standing:
    async with gate.registry.change("person_suspended", caller.id) as change:
        found = await standing.suspend_person(change, person, why.reason if why else None)
    return _shown(found)


@router.post("/agents/{agent:path}/suspend")
async def suspend_agent(agent: str, gate: TheGate, caller: MaySuspend, why: Reason = None) -> Standing:
    async with gate.registry.change("agent_suspended", caller.id) as change:
        found = await standing.suspend_agent(change, agent, why.reason if why else None)
    return _shown(found)


@router.post("/agents/{agent:path}/revoke")
async def revoke_agent(agent: str, gate: TheGate, caller: MaySuspend, why: Reason = None) -> Standing:
    async with gate.registry.change("agent_revoked", caller.id) as change:
        found = await standing.revoke_agent(change, agent, why.reason if why else None)
    return _shown(found)
