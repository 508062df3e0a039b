"""Legal holds over REST: one officer of compliance sets one, two lift it."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body
from mythos_gate.api.deps import MayRunProgramme, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested
from mythos_gate.api.stops import Lifted
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import holds
from mythos_gate.registry.holds import ORDERS
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import HoldScope, RequestedAction

router = APIRouter(prefix="/v1", tags=["legal holds"], route_class=Once)


class Hold(BaseModel):
    """`target` is an organization or `ORGANIZATION/EXTERNAL_ID`; `matter` the number of what it is kept for."""

    model_config = ConfigDict(extra="forbid")
    scope: HoldScope
    target: Text
    matter: Text


@router.post("/legal-holds", status_code=201, openapi_extra=body.documented(Hold))
async def set_hold(request: Request, gate: TheGate, caller: MayRunProgramme) -> dict[str, Any]:
    """Keep what is on record of a person or an organization's people, however old it becomes."""
    wanted = body.shaped(Hold, await body.parsed(request)).model_dump(mode="json")
    async with gate.registry.change("legal_hold_set", caller.id) as change:
        identifier = await holds.set_(change, wanted, gate.now, caller)
    return {"id": identifier, **wanted}


@router.get("/legal-holds")
async def list_holds(
    gate: TheGate,
    caller: MayRunProgramme,  # noqa: ARG001  the signature says who may call
    lifted: Lifted = False,  # noqa: FBT002  a query parameter
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    """What stands, or what was lifted."""
    async with read_only(gate) as connection:
        found = await ORDERS.page(connection, lifted=lifted, after=cursor, limit=limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/legal-holds/{hold}")
async def read_hold(
    hold: Name,
    gate: TheGate,
    caller: MayRunProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        return await ORDERS.read(connection, hold)


@router.post("/legal-holds/{reference}/lift", status_code=202)
async def lift_hold(reference: Name, gate: TheGate, caller: MayRunProgramme, response: Response) -> Mapping[str, Any]:
    """Request to lift a legal hold."""
    return await requested(gate, caller, Wanted(RequestedAction.LIFT, "legal_holds", reference), response)
