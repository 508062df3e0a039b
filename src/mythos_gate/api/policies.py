"""Policies over REST: revisions of the decision table, stored once they are found sound, put in force by two."""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field, StrictStr

from mythos_gate.api import body
from mythos_gate.api.deps import MayActivatePolicy, MayReadProgramme, TheGate, read_only
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested
from mythos_gate.api.text import Name
from mythos_gate.decision.policy import FILES, OPTIONAL, Policy
from mythos_gate.errors import Invalid
from mythos_gate.registry import policies
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=Once)
After = Annotated[str | None, Query(pattern="^[0-9]{1,9}$")]


class Revision(BaseModel):
    """`files`: the text of each file of a policy's folder, by its name."""

    model_config = ConfigDict(extra="forbid")
    files: dict[str, Annotated[StrictStr, Field(pattern=r"^[^\x00]*$")]]


def require_files(files: Mapping[str, str]) -> None:
    """`Invalid` if one is missing, or is none of a revision's."""
    if not set(FILES) <= files.keys() <= {*FILES, *OPTIONAL}:
        raise Invalid(f"files: must be {', '.join(FILES)}, and may be {', '.join(OPTIONAL)}")


@router.get("")
async def list_policies(
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
    limit: Limit = 100,
    cursor: After = None,
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        found = await policies.page(connection, int(cursor or 0), limit + 1)
    return paged(found, limit, lambda row: str(row["number"]))


@router.get("/{identifier}")
async def read_policy(
    identifier: Name,
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        return await policies.read(connection, identifier)


@router.post("", status_code=201, openapi_extra=body.documented(Revision))
async def store_policy(
    request: Request, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """Keep a revision that can be built; nothing changes before it is activated."""
    files = body.shaped(Revision, await body.parsed(request)).files
    require_files(files)
    built = Policy(files)
    async with gate.registry.change("policy_stored", caller.id) as change:
        await policies.store(change, built.sha256, files)
        found = await policies.read(change.connection, built.sha256)
    response.headers["Location"] = f"/v1/policies/{built.sha256}"
    return found


@router.post("/{identifier}/activate", status_code=202)
async def activate_policy(
    identifier: Name, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> Mapping[str, Any]:
    """Request to put a revision in force."""
    return await requested(gate, caller, Wanted(RequestedAction.ACTIVATE, "policies", identifier), response)
