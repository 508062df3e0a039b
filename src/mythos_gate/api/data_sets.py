"""Data sets over REST: versions of the jurisdictions, imported, compared, and put in force by two officers."""

from collections.abc import Mapping
from operator import itemgetter
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import BaseModel, ConfigDict

from mythos_gate.api import body
from mythos_gate.api.deps import MayReadProgramme, MayRunProgramme, TheGate, read_only, reading
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.resources import requested
from mythos_gate.api.text import Instant, Name, Text
from mythos_gate.audit.entry import timestamp
from mythos_gate.errors import Invalid
from mythos_gate.registry import jurisdictions
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import RequestedAction

router = APIRouter(prefix="/v1/data-sets", tags=["data sets"], route_class=Once)
Version = Annotated[str, Query(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9._-]+$")]


class Activation(BaseModel):
    """When somebody last reviewed the data set; decisions deny 90 days later."""

    model_config = ConfigDict(extra="forbid")
    reviewed_at: Instant


@router.get("")
async def list_data_sets(
    gate: TheGate,
    caller: MayReadProgramme,  # noqa: ARG001  the signature says who may call
    limit: Limit = 100,
    cursor: Text | None = None,
) -> dict[str, Any]:
    async with read_only(gate) as connection:
        found = await jurisdictions.page(connection, cursor, limit + 1)
    return paged(found, limit, itemgetter("id"))


@router.get("/{identifier}")
async def read_data_set(
    identifier: Name,
    gate: TheGate,
    caller: MayRunProgramme,  # noqa: ARG001  the signature says who may call
) -> dict[str, Any]:
    """One, with what would change if it were in force and how many people that concerns."""
    async with reading(gate.registry.engine) as connection:
        return await jurisdictions.read(connection, identifier)


@router.post("", status_code=201, openapi_extra=body.CSV)
async def import_data_set(
    request: Request, gate: TheGate, caller: MayRunProgramme, response: Response, version: Version
) -> dict[str, Any]:
    """Keep a version; nothing changes before it is activated."""
    data = await body.file(request)
    async with gate.registry.change("data_set_imported", caller.id) as change:
        identifier = await jurisdictions.prepare(change, data, version)
        found = await jurisdictions.read(change.connection, identifier)
    response.headers["Location"] = f"/v1/data-sets/{identifier}"
    return found


@router.post("/{identifier}/activate", status_code=202, openapi_extra=body.documented(Activation))
async def activate_data_set(
    identifier: Name, request: Request, gate: TheGate, caller: MayRunProgramme, response: Response
) -> Mapping[str, Any]:
    """Request to put a version in force, or to renew the review of the one that is."""
    reviewed_at = body.shaped(Activation, await body.parsed(request)).reviewed_at
    if reviewed_at > gate.now:
        raise Invalid("reviewed_at: is still to come: give the time of the review")
    members = {"reviewed_at": timestamp(reviewed_at)}
    wanted = Wanted(RequestedAction.ACTIVATE, "data_sets", identifier, members)
    return {**await requested(gate, caller, wanted, response), "code": "DATASET_UNREVIEWED"}
