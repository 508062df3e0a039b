"""Proposals over REST: what a second officer has to confirm, and the steps that always need one."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, StringConstraints

from mythos_gate.api import body
from mythos_gate.api.deps import MayAdminister, MayReadRegistry, MayRunProgramme, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import proposed, writer
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import proposals
from mythos_gate.registry.proposals import Wanted
from mythos_gate.terms import ProposalState, ProposedAction

router = APIRouter(prefix="/v1", tags=["proposals"], route_class=Once)


@router.get("/proposals")
async def list_proposals(
    gate: TheGate,
    caller: MayReadRegistry,
    state: Annotated[ProposalState | None, Query()] = None,
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """What was proposed, and what became of it."""
    async with read_only(gate) as connection:
        found = await proposals.page(connection, state, cursor, limit + 1, writer(gate, caller))
    return paged(found, limit, itemgetter("id"))


@router.get("/proposals/{proposal}")
async def read_proposal(
    proposal: Name,
    gate: TheGate,
    caller: MayReadRegistry,
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        return await proposals.read(connection, proposal, writer(gate, caller))


@router.post("/proposals/{proposal}/confirm")
async def confirm(proposal: Name, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Put into force what somebody else proposed."""
    async with gate.registry.change("proposal_confirmed", caller.id) as change:
        return await proposals.confirm(change, proposal, writer(gate, caller))


@router.post("/proposals/{proposal}/withdraw")
async def withdraw(proposal: Name, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Take back what was proposed, or refuse it."""
    async with gate.registry.change("proposal_withdrawn", caller.id) as change:
        return await proposals.withdraw(change, proposal, writer(gate, caller))


@router.post("/organizations/{reference}/activate", status_code=202)
async def activate_organization(
    reference: Name, gate: TheGate, caller: MayAdminister, response: Response
) -> Mapping[str, Any]:
    """Propose to put in force what is prospective or suspended; likewise below."""
    return await proposed(gate, caller, Wanted(ProposedAction.ACTIVATE, "organizations", reference), response)


@router.post("/grants/{reference}/activate", status_code=202)
async def activate_grant(
    reference: Name, gate: TheGate, caller: MayAdminister, response: Response
) -> Mapping[str, Any]:
    return await proposed(gate, caller, Wanted(ProposedAction.ACTIVATE, "grants", reference), response)


@router.post("/people/{reference:path}/activate", status_code=202)
async def activate_person(
    reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    return await proposed(gate, caller, Wanted(ProposedAction.ACTIVATE, "people", reference), response)


@router.post("/people/{reference:path}/erasure", status_code=202)
async def erase_person(
    reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    """Propose to erase what names a person, for good; `RETENTION_HOLD` with the legal basis while it must be kept."""
    return await proposed(gate, caller, Wanted(ProposedAction.ERASE, "people", reference), response)


class Prune(BaseModel):
    """`before` is a month like 2016-01: what was written in the months before it is dropped."""

    model_config = ConfigDict(extra="forbid")
    before: Annotated[str, StringConstraints(strict=True, pattern="^[0-9]{4}-(0[1-9]|1[0-2])$")]


@router.post("/log/prune", status_code=202, openapi_extra=body.documented(Prune))
async def prune_log(request: Request, gate: TheGate, caller: MayRunProgramme, response: Response) -> Mapping[str, Any]:
    """Propose to drop months of the log that need not be kept any more. The tree and every proof stay valid."""
    members = body.shaped(Prune, await body.parsed(request)).model_dump()
    return await proposed(gate, caller, Wanted(ProposedAction.PRUNE, "log_entries", None, members), response)


@router.post("/agents/{reference:path}/activate", status_code=202)
async def activate_agent(
    reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    return await proposed(gate, caller, Wanted(ProposedAction.ACTIVATE, "agents", reference), response)


@router.post("/stops/{reference}/lift", status_code=202)
async def lift_stop(reference: Name, gate: TheGate, caller: MayAdminister, response: Response) -> Mapping[str, Any]:
    """Propose to lift a kill switch or an incident lock."""
    return await proposed(gate, caller, Wanted(ProposedAction.LIFT, "stops", reference), response)
