"""Authorities over REST: what is taken under their caps."""

from collections.abc import Sequence
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel

from mythos_gate.api.deps import MayReadRegistry, TheGate, read_only
from mythos_gate.api.text import Instant, Name
from mythos_gate.audit.entry import timestamp
from mythos_gate.registry import places

router = APIRouter(prefix="/v1", tags=["authorities"])


class Usage(BaseModel):
    """Places under an authority's cap at an instant, and the seats under each of its grants."""

    authority: str
    at: str
    organization_cap: int | None
    organizations: int
    grants: Sequence[places.Seats]


@router.get("/authorities/{authority}/usage")
async def read_usage(
    authority: Name,
    gate: TheGate,
    caller: MayReadRegistry,
    at: Annotated[Instant | None, Query()] = None,
) -> Usage:
    """How many organizations and seats are taken: now, or at any past instant."""
    instant = at or gate.now
    async with read_only(gate) as connection:
        found = await places.usage(connection, authority, instant, caller.authority_id)
    return Usage(
        authority=authority,
        at=timestamp(instant),
        organization_cap=found.organization_cap,
        organizations=found.organizations,
        grants=found.grants,
    )
