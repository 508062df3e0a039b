"""Screenings over REST: a provider's results for people and organizations, one or many."""

from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict, Field

from mythos_gate.api import body
from mythos_gate.api.deps import MayScreen, TheGate
from mythos_gate.registry import columns, resources
from mythos_gate.registry.screenings import SCREENINGS

router = APIRouter(prefix="/v1", tags=["screenings"])
ITEM = {name: columns.schema(column.parse) for name, column in SCREENINGS.columns.items()}


class Results(BaseModel):
    """An item without a person is the organization's own. All are taken, or none."""

    model_config = ConfigDict(extra="forbid")
    items: Annotated[
        list[dict[str, Any]],
        Field(min_length=1, max_length=1000, json_schema_extra={"items": {"type": "object", "properties": ITEM}}),
    ]


class Taken(BaseModel):
    """How many results were new, different, or as they were."""

    created: int
    updated: int
    unchanged: int


@router.post("/screenings", openapi_extra=body.documented(Results))
async def record_screenings(request: Request, gate: TheGate, caller: MayScreen) -> Taken:
    """Record what a provider found; the next decision rests on it."""
    wanted = body.shaped(Results, await body.parsed(request))
    async with gate.registry.change("screenings_recorded", caller.id) as change:
        done = await resources.take_all(change, SCREENINGS, wanted.items, datetime.now(UTC))
    return Taken(created=done.created, updated=done.updated, unchanged=done.unchanged)
