"""Stops over REST: kill switches and incident locks act at once; lifting one takes a second officer."""

from datetime import UTC, datetime
from typing import Any

from fastapi import APIRouter, Request
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body
from mythos_gate.api.deps import MayReadRegistry, MaySuspend, TheGate, read_only
from mythos_gate.api.text import Text
from mythos_gate.registry import resources, stops
from mythos_gate.registry.stops import STOPS
from mythos_gate.terms import StopScope

router = APIRouter(prefix="/v1", tags=["stops"])


class Stop(BaseModel):
    """`target` is the name of what is stopped, absent for everything; an incident lock names its `incident`."""

    model_config = ConfigDict(extra="forbid")
    scope: StopScope
    target: Text | None = None
    incident: Text | None = None


@router.post("/stops", status_code=201, openapi_extra=body.documented(Stop))
async def set_stop(request: Request, gate: TheGate, caller: MaySuspend) -> dict[str, Any]:
    """Stop a model, an authority or everything, or lock an organization, a person or an endpoint."""
    wanted = body.shaped(Stop, await body.parsed(request)).model_dump(mode="json")
    async with gate.registry.change("stop_set", caller.id) as change:
        there = "a stop of this target stands: nothing further is needed"
        identifier = await resources.create_one(change, STOPS, wanted, datetime.now(UTC), there)
        change.details |= {"stop": identifier, "scope": wanted["scope"]}
    return {"id": identifier, **wanted}


@router.get("/stops")
async def list_stops(
    gate: TheGate,
    caller: MayReadRegistry,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """What stands, the oldest first."""
    async with read_only(gate) as connection:
        return {"items": await stops.standing(connection), "next": None}
