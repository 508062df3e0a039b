"""Break-glass over REST: requested by one, opened by two others' approval, over in 8 hours, reviewed after."""

from collections.abc import Mapping
from datetime import timedelta
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from mythos_gate.api import body
from mythos_gate.api.deps import MayAdminister, MayReadRegistry, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import break_glass, callers
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import LONGEST_BREAK_GLASS, RequestedAction

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


@router.post("", status_code=202, openapi_extra=body.documented(Opening))
async def open_break_glass(
    request: Request, gate: TheGate, caller: MayAdminister, response: Response
) -> Mapping[str, Any]:
    """Request to open one: with the second other officer's approval it is, from then on for so many hours."""
    wanted = body.shaped(Opening, await body.parsed(request)).model_dump(exclude_none=True)
    return await requested(gate, caller, Wanted(RequestedAction.CREATE, "break_glasses", members=wanted), response)


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
