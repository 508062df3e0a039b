"""Change requests over REST: what a second officer has to approve, and the steps that always need one."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StringConstraints

from mythos_gate.api import body
from mythos_gate.api.deps import (
    MayAdminister,
    MayReadRegistry,
    MayRunProgramme,
    TheGate,
    read_only,
)
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested, writer
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import change_requests
from mythos_gate.registry.change_requests import Decision
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction, RequestState

router = APIRouter(prefix="/v1", tags=["change requests"], route_class=Once)
Reason = Annotated[Text, Field(pattern=r"^[^\x00]*[^\x00\s][^\x00]*$")]


class Approval(BaseModel):
    """`sha256` as the request shows it: what is approved is what was read. The reason stays with the record.

    `acknowledged`: ids of people whom a policy would newly allow, where its simulation asks for them.
    """

    model_config = ConfigDict(extra="forbid")
    sha256: Annotated[str, StringConstraints(strict=True, pattern="^[0-9a-f]{64}$")]
    reason: Reason | None = None
    acknowledged: frozenset[Annotated[str, StringConstraints(strict=True, max_length=128)]] = frozenset()


class Rejection(BaseModel):
    """Why; it stays with the record, never in the log."""

    model_config = ConfigDict(extra="forbid")
    reason: Reason


@router.get("/change-requests")
async def list_change_requests(
    gate: TheGate,
    caller: MayReadRegistry,
    state: Annotated[RequestState | None, Query()] = None,
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """What was requested, and what became of it."""
    async with read_only(gate) as connection:
        found = await change_requests.page(connection, state, cursor, limit + 1, writer(gate, caller))
    return paged(found, limit, itemgetter("id"))


@router.get("/change-requests/{identifier}")
async def read_change_request(identifier: Name, gate: TheGate, caller: MayReadRegistry) -> dict[str, Any]:
    """What would change, `before` and `after`; what it says of nationality is in the person's assessment."""
    async with read_only(gate) as connection:
        return await change_requests.read(connection, identifier, writer(gate, caller))


@router.post("/change-requests/{identifier}/approve", openapi_extra=body.documented(Approval))
async def approve(
    identifier: Name, request: Request, gate: TheGate, caller: MayAdminister, response: Response
) -> dict[str, Any]:
    """Put into force what somebody else requested; 202 where others have to approve it as well."""
    given = body.shaped(Approval, await body.parsed(request))
    async with gate.registry.change("change_approved", caller.id) as change:
        decision = Decision(given.sha256, given.reason, given.acknowledged)
        done = await change_requests.approve(change, identifier, decision, writer(gate, caller))
    response.status_code = 200 if done["state"] == RequestState.APPROVED else 202
    return done


@router.post("/change-requests/{identifier}/reject", openapi_extra=body.documented(Rejection))
async def reject(identifier: Name, request: Request, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Refuse what somebody else requested, and say why."""
    reason = body.shaped(Rejection, await body.parsed(request)).reason
    async with gate.registry.change("change_rejected", caller.id) as change:
        return await change_requests.reject(change, identifier, reason, writer(gate, caller))


@router.post("/change-requests/{identifier}/withdraw")
async def withdraw(identifier: Name, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Take back what you requested."""
    async with gate.registry.change("change_withdrawn", caller.id) as change:
        return await change_requests.withdraw(change, identifier, writer(gate, caller))


@router.post("/organizations/{reference}/activate", status_code=202)
async def activate_organization(
    reference: Name, gate: TheGate, caller: MayAdminister, response: Response
) -> Mapping[str, Any]:
    """Request to put in force what is prospective or suspended; likewise below."""
    return await requested(gate, caller, Wanted(RequestedAction.ACTIVATE, "organizations", reference), response)


@router.post("/grants/{reference}/activate", status_code=202)
async def activate_grant(
    reference: Name, gate: TheGate, caller: MayAdminister, response: Response
) -> Mapping[str, Any]:
    return await requested(gate, caller, Wanted(RequestedAction.ACTIVATE, "grants", reference), response)


@router.post("/people/{reference:path}/activate", status_code=202)
async def activate_person(
    reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    return await requested(gate, caller, Wanted(RequestedAction.ACTIVATE, "people", reference), response)


@router.post("/people/{reference:path}/erasure", status_code=202)
async def erase_person(
    reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    """Request to erase what names a person, for good; `RETENTION_HOLD` with the legal basis while it must be kept."""
    return await requested(gate, caller, Wanted(RequestedAction.ERASE, "people", reference), response)


class Prune(BaseModel):
    """`before` is a month like 2016-01: what was written in the months before it is dropped."""

    model_config = ConfigDict(extra="forbid")
    before: Annotated[str, StringConstraints(strict=True, pattern="^[0-9]{4}-(0[1-9]|1[0-2])$")]


@router.post("/log/prune", status_code=202, openapi_extra=body.documented(Prune))
async def prune_log(request: Request, gate: TheGate, caller: MayRunProgramme, response: Response) -> Mapping[str, Any]:
    """Request to drop months of the log that need not be kept any more. The tree and every proof stay valid."""
    members = body.shaped(Prune, await body.parsed(request)).model_dump()
    return await requested(gate, caller, Wanted(RequestedAction.PRUNE, "log_entries", None, members), response)


@router.post("/agents/{reference:path}/activate", status_code=202)
async def activate_agent(
    reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    return await requested(gate, caller, Wanted(RequestedAction.ACTIVATE, "agents", reference), response)


@router.post("/stops/{reference}/lift", status_code=202)
async def lift_stop(reference: Name, gate: TheGate, caller: MayAdminister, response: Response) -> Mapping[str, Any]:
    """Request to lift a kill switch or an incident lock."""
    return await requested(gate, caller, Wanted(RequestedAction.LIFT, "stops", reference), response)
