"""People over REST, beyond what every record has: approvals and reviews, each a person's own word, and their seats."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body
from mythos_gate.api.deps import MayEnrol, MayReview, TheGate
from mythos_gate.api.idempotency import Once
from mythos_gate.api.resources import tagged
from mythos_gate.api.text import Instant, Name
from mythos_gate.registry import callers, people, resources

router = APIRouter(prefix="/v1", tags=["people"], route_class=Once)


class Review(BaseModel):
    """When the next one is due."""

    model_config = ConfigDict(extra="forbid")
    due: Instant


@router.post("/people/{person:path}/approve")
async def approve(person: Name, gate: TheGate, caller: MayReview, response: Response) -> Mapping[str, Any]:
    """Approve access for a person, under your own name."""
    callers.require_on_record(caller)
    async with gate.registry.change("person_approved", caller.id) as change:
        found = await resources.read(change.connection, resources.PERSON, person, caller)
        await people.approve(change, found.id, caller)
        return tagged(await resources.read(change.connection, resources.PERSON, found.id, caller), response)


@router.post("/people/{person:path}/review", openapi_extra=body.documented(Review))
async def review(
    person: Name, request: Request, gate: TheGate, caller: MayReview, response: Response
) -> Mapping[str, Any]:
    """Confirm, under your own name, that access is still needed."""
    callers.require_on_record(caller)
    due = body.shaped(Review, await body.parsed(request)).due
    async with gate.registry.change("person_reviewed", caller.id) as change:
        found = await resources.read(change.connection, resources.PERSON, person, caller)
        await people.review(change, found.id, caller, due, gate.now)
        return tagged(await resources.read(change.connection, resources.PERSON, found.id, caller), response)


@router.post("/people/{person:path}/release-seats")
async def release_seats(person: Name, gate: TheGate, caller: MayEnrol, response: Response) -> Mapping[str, Any]:
    """Free the person's seats for others."""
    async with gate.registry.change("seats_released", caller.id) as change:
        found = await resources.read(change.connection, resources.PERSON, person, caller)
        await people.release_seats(change, found.id)
    return tagged(found, response)
