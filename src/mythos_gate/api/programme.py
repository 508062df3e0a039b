"""The programme over REST: what is in force."""

from typing import Any

from fastapi import APIRouter

from mythos_gate.api.deps import MayReadProgramme, TheGate, read_only
from mythos_gate.registry import policies

router = APIRouter(prefix="/v1", tags=["programme"])


@router.get("/programme")
async def read_programme(
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """The policy and the data set in force, and how many stops stand."""
    async with read_only(gate) as connection:
        return await policies.in_force(connection)
