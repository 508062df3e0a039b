"""Stops over REST: kill switches and incident locks act at once; lifting one takes a second officer."""

from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body
from mythos_gate.api.deps import MayReadRegistry, MaySuspend, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import resources, stops
from mythos_gate.registry.stops import ORDERS, SETTING
from mythos_gate.terms import StopScope

router = APIRouter(prefix="/v1", tags=["stops"], route_class=Once)


Lifted = Annotated[bool, Query(description="those that were lifted instead of those that stand")]


class Stop(BaseModel):
    """`target` is the name of what is stopped, absent for everything; an incident lock names its `incident`."""

    model_config = ConfigDict(extra="forbid")
    scope: StopScope
    target: Text | None = None
    incident: Text | None = None


@router.post("/stops", status_code=201, openapi_extra=body.documented(Stop))
async def set_stop(request: Request, gate: TheGate, caller: MaySuspend) -> dict[str, Any]:
    """Stop a model, an authority or everything, or lock an organization, a person or an endpoint.

    One that stands and is requested to be lifted goes on standing.
    """
    wanted = body.shaped(Stop, await body.parsed(request)).model_dump(mode="json")
    async with gate.registry.change("stop_set", caller.id) as change:
        await stops.permit(change.connection, wanted["scope"], wanted["target"], caller)
        there = "a stop of this target stands: nothing further is needed"
        identifier = await ORDERS.withdraw_lifts(change, wanted, caller)
        if identifier is None:
            identifier = await resources.create_one(change, SETTING, wanted, gate.now, there)
        change.details |= {"stop": identifier, "scope": wanted["scope"]}
    return {"id": identifier, **wanted}


@router.get("/stops")
async def list_stops(
    gate: TheGate,
    caller: MayReadRegistry,  # noqa: ARG001  the signature says who may call
    lifted: Lifted = False,  # noqa: FBT002  a query parameter
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """What stands, or what was lifted."""
    async with read_only(gate) as connection:
        found = await ORDERS.page(connection, lifted=lifted, after=cursor, limit=limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/stops/{stop}")
async def read_stop(
    stop: Name,
    gate: TheGate,
    caller: MayReadRegistry,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        return await ORDERS.read(connection, stop)
