"""Rollouts over REST: the policy that is watched or put in force by stages, and what it answers otherwise."""

from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query

from mythos_gate.api.deps import MayActivatePolicy, MayReadFacts, MayReadProgramme, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Name, Text
from mythos_gate.registry import rollouts

router = APIRouter(prefix="/v1/rollouts", tags=["policies"], route_class=Once)


@router.get("")
async def list_rollouts(
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        found = await rollouts.page(connection, cursor, limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/{identifier}")
async def read_rollout(
    identifier: Name,
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """`differing`: answers that came out otherwise than by the policy in force."""
    async with read_only(gate) as connection:
        return await rollouts.read(connection, identifier)


@router.get("/{identifier}/differences")
async def list_differences(
    identifier: Name,
    gate: TheGate,
    caller: MayReadFacts,  # noqa: ARG001  the signature says who may call
    limit: Annotated[int, Query(ge=1, le=1000)] = 100,
) -> dict[str, Any]:
    """Facts with both outcomes, the most frequent first."""
    async with read_only(gate) as connection:
        await rollouts.read(connection, identifier)
        return {"items": await rollouts.differences(connection, identifier, limit)}


@router.post("/{identifier}/end")
async def end_rollout(identifier: Name, gate: TheGate, caller: MayActivatePolicy) -> dict[str, Any]:
    """The policy in force decides for everybody again, at once."""
    async with gate.registry.change("rollout_ended", caller.id) as change:
        return await rollouts.end(change, identifier)
