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
from mythos_gate.api.text import Instant, Name, Text
from mythos_gate.audit.entry import timestamp
from mythos_gate.decision.policy import FILES, OPTIONAL, Policy
from mythos_gate.errors import Invalid
from mythos_gate.registry import organizations, policies
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction

router = APIRouter(prefix="/v1/policies", tags=["policies"], route_class=Once)
After = Annotated[str | None, Query(pattern="^[0-9]{1,9}$")]


class Revision(BaseModel):
    """`files`: the text of each file of a policy's folder, by its name."""

    model_config = ConfigDict(extra="forbid")
    files: dict[str, Annotated[StrictStr, Field(pattern=r"^[^\x00]*$")]]
    reason: Text | None = None


class Activation(BaseModel):
    """When, and for whom at first; everybody at once if nothing is said.

    `halt_after`: so many answers that differ from the policy in force end it.
    """

    model_config = ConfigDict(extra="forbid")
    starts_at: Instant | None = None
    organizations: Annotated[list[Name], Field(min_length=1, max_length=1000)] | None = None
    percent: Annotated[int, Field(strict=True, ge=1, le=100)] | None = None
    halt_after: Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)] | None = None

    def plan(self) -> dict[str, Any]:
        """`Invalid` where a limit has nothing to halt, or a stage has none."""
        given = self.model_dump(exclude_none=True)
        is_stage = self.organizations is not None or (self.percent or 100) < 100
        if is_stage != (self.halt_after is not None):
            raise Invalid("halt_after: belongs to organizations or percent, and they to it: give both or neither")
        return given | ({"starts_at": timestamp(self.starts_at)} if self.starts_at else {})


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
    given = body.shaped(Revision, await body.parsed(request))
    files = given.files
    if not set(FILES) <= files.keys() <= {*FILES, *OPTIONAL}:
        raise Invalid(f"files: must be {', '.join(FILES)}, and may be {', '.join(OPTIONAL)}")
    built = Policy(files)
    async with gate.registry.change("policy_stored", caller.id) as change:
        await policies.store(change, built.sha256, files, given.reason)
        found = await policies.read(change.connection, built.sha256)
    response.headers["Location"] = f"/v1/policies/{built.sha256}"
    return found


@router.post("/{identifier}/activate", status_code=202, openapi_extra=body.documented(Activation, required=False))
async def activate_policy(
    identifier: Name, request: Request, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> Mapping[str, Any]:
    """Request to put a revision in force: at once or later, for all or for some first."""
    sent = await request.body()
    plan = body.shaped(Activation, await body.parsed(request)).plan() if sent else {}
    if "organizations" in plan:
        async with read_only(gate) as connection:
            plan["organizations"] = await organizations.ids(connection, plan["organizations"])
    return await requested(gate, caller, Wanted(RequestedAction.ACTIVATE, "policies", identifier, plan), response)


@router.post("/{identifier}/watch", status_code=201)
async def watch_policy(
    identifier: Name, gate: TheGate, caller: MayActivatePolicy, response: Response
) -> dict[str, Any]:
    """Have a revision judge what is asked beside the one in force: it answers nobody, and differences are counted."""
    async with gate.registry.change("policy_watched", caller.id) as change:
        made = await policies.watch(change, identifier, gate.now)
    response.headers["Location"] = f"/v1/rollouts/{made['id']}"
    return made
