"""People over REST, beyond what every record has: approvals, each by its approver in a call of their own."""

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Response

from mythos_gate.api.deps import MayReview, TheGate
from mythos_gate.api.resources import Name
from mythos_gate.errors import NotPermitted
from mythos_gate.registry import people, resources

router = APIRouter(prefix="/v1", tags=["people"])


@router.post("/people/{person:path}/approve")
async def approve(person: Name, gate: TheGate, caller: MayReview, response: Response) -> Mapping[str, Any]:
    """Approve access for a person, under your own name."""
    if caller.is_service:
        raise NotPermitted("an approval is a person's own: a service's key cannot give it")
    async with gate.registry.change("person_approved", caller.id) as change:
        found = await resources.read(change.connection, resources.PERSON, person, caller)
        await people.approve(change, found.id, caller.id)
        shown = await resources.read(change.connection, resources.PERSON, found.id, caller)
    response.headers["ETag"] = shown.etag
    return shown.members
