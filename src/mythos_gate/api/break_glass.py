"""Break-glass over REST: opened by one, active with two others' approval, over in 8 hours, reviewed after."""

from datetime import timedelta
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from mythos_gate.api import body
from mythos_gate.api.deps import MayAdminister, MayReadRegistry, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Name, Text
from mythos_gate.audit.entry import timestamp
from mythos_gate.registry import break_glass, callers, resources
from mythos_gate.terms import LONGEST_BREAK_GLASS

router = APIRouter(prefix="/v1/break-glass", tags=["break-glass"], route_class=Once)


class Opening(BaseModel):
    """`people` and `model` narrow it; without them it is for everybody of the organization and for every model."""

    model_config = ConfigDict(extra="forbid")
    organization: Text
    incident: Text
    people: Annotated[list[Text], Field(min_length=1)] | None = None
    model: Text | None = None
    hours: Annotated[float, Field(strict=True, gt=0, le=LONGEST_BREAK_GLASS / timedelta(hours=1))]


class Review(BaseModel):
    """What was found; it stays with the record, never in the log."""

    model_config = ConfigDict(extra="forbid")
    review: Text


@router.post("", status_code=201, openapi_extra=body.documented(Opening))
async def open_break_glass(request: Request, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Open one. It passes nothing before two others have approved it."""
    callers.require_on_record(caller)
    wanted = body.shaped(Opening, await body.parsed(request))
    now = gate.now
    members = wanted.model_dump(exclude={"hours"}) | {
        "opened_by": caller.identity_in(wanted.organization),
        "approvers": [],
        "opened": timestamp(now),
        "expires": timestamp(now + timedelta(hours=wanted.hours)),
    }
    async with gate.registry.change("break_glass_opened", caller.id) as change:
        there = "a break-glass for this incident is on record: give another incident"
        identifier = await resources.create_one(change, break_glass.OPENING, members, now, there)
        change.details |= {"break_glass": identifier}
        return await break_glass.read(change.connection, identifier)


@router.get("")
async def list_break_glasses(
    gate: TheGate,
    caller: MayReadRegistry,  # noqa: ARG001  the signature says who may call
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        found = await break_glass.page(connection, cursor, limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/{identifier}")
async def read_break_glass(
    identifier: Name,
    gate: TheGate,
    caller: MayReadRegistry,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        return await break_glass.read(connection, identifier)


@router.post("/{identifier}/approve")
async def approve(identifier: Name, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Approve it, under your own name."""
    callers.require_on_record(caller)
    async with gate.registry.change("break_glass_approved", caller.id) as change:
        await break_glass.approve(change, identifier, caller, gate.now)
        return await break_glass.read(change.connection, identifier)


@router.post("/{identifier}/close")
async def close(identifier: Name, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """End it now."""
    async with gate.registry.change("break_glass_closed", caller.id) as change:
        await break_glass.close(change, identifier, gate.now)
        return await break_glass.read(change.connection, identifier)


@router.post("/{identifier}/review", openapi_extra=body.documented(Review))
async def review(identifier: Name, request: Request, gate: TheGate, caller: MayAdminister) -> dict[str, Any]:
    """Say what was found, after it is over."""
    callers.require_on_record(caller)
    found = body.shaped(Review, await body.parsed(request)).review
    async with gate.registry.change("break_glass_reviewed", caller.id) as change:
        await break_glass.review(change, identifier, caller, found, gate.now)
        return await break_glass.read(change.connection, identifier)
