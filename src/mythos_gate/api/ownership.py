"""Ownership over REST: who owns how much of an organization, as two officers have reviewed it."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictBool

from mythos_gate.api import body
from mythos_gate.api.deps import MayAdminister, MayReadRegistry, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.resources import IfMatch, conditional, requested, tagged
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import organizations, ownership
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction

router = APIRouter(prefix="/v1/organizations/{organization}/ownership", tags=["ownership"], route_class=Once)


class Owner(BaseModel):
    """`percent` as a decimal text: 0 to 100, at most six places."""

    model_config = ConfigDict(extra="forbid")
    owner: Text
    percent: Annotated[str, Field(strict=True, pattern=r"^[0-9]{1,3}(\.[0-9]{1,6})?$")]
    blocked: StrictBool = False
    listed: StrictBool = False


class Ownership(BaseModel):
    """Every owner: whoever is not named owns nothing."""

    model_config = ConfigDict(extra="forbid")
    owners: Annotated[list[Owner], Field(max_length=500)]


@router.get("")
async def read_ownership(
    organization: Name,
    gate: TheGate,
    caller: MayReadRegistry,
    response: Response,
) -> Mapping[str, Any]:
    """Owners may be natural persons: an officer sees those of the organizations that are theirs to decide about."""
    async with read_only(gate) as connection:
        await organizations.permit(connection, organization, caller)
        return tagged(await ownership.read(connection, organization), response)


@router.put("", status_code=202, openapi_extra=body.documented(Ownership))
async def replace_ownership(
    organization: Name,
    request: Request,
    gate: TheGate,
    caller: MayAdminister,
    response: Response,
    if_match: IfMatch = None,
) -> Mapping[str, Any]:
    """Request the owners from now on; the approval also ends the review of a reported change."""
    condition = conditional(if_match)
    members = body.shaped(Ownership, await body.parsed(request)).model_dump()
    wanted = Wanted(RequestedAction.REPLACE, "ownerships", organization, members, condition)
    return await requested(gate, caller, wanted, response)
