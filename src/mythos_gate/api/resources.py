"""The registry over REST: every kind of record read, listed, created and changed alike."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response

from mythos_gate.api import body
from mythos_gate.api.deps import Gate, TheGate, may, read_only
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Name, Text
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid, Unconditional
from mythos_gate.registry import columns, proposals, resources
from mythos_gate.registry.kind import Bad, Clock
from mythos_gate.registry.proposals import Wanted
from mythos_gate.registry.resources import Resource, Shown, Writer
from mythos_gate.terms import ProposedAction

router = APIRouter(prefix="/v1")


def writer(gate: Gate, caller: Caller) -> Writer:
    return Writer(caller, lambda permission: gate.permissions.has(caller, permission), datetime.now(UTC))


def tagged(shown: Shown, response: Response) -> Mapping[str, Any]:
    response.headers["ETag"] = shown.etag
    return shown.members


async def _proposed(gate: Gate, caller: Caller, wanted: Wanted, response: Response) -> Mapping[str, Any]:
    """Accepted, and waiting for a second officer."""
    async with gate.registry.change("proposal_made", caller.id) as change:
        made = await proposals.propose(change, wanted, writer(gate, caller))
    response.status_code, response.headers["Location"] = 202, f"/v1/proposals/{made['id']}"
    return made


def _documented(resource: Resource, *, new: bool) -> dict[str, Any]:
    settable = resource.settable(new=new)
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: columns.schema(column.parse) for name, column in settable.items()},
        "required": [name for name in settable if new and resource.kind.must_have(name)],
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _filters(resource: Resource, request: Request) -> dict[str, str]:
    given = {name: value for name, value in request.query_params.items() if name not in {"limit", "cursor"}}
    known = [name for name in resources.FILTERS if name in resource.shown]
    if unknown := given.keys() - set(known):
        raise Invalid(f"{', '.join(sorted(unknown))}: no such filter: use {', '.join(known) or 'none'}")
    if len(request.query_params.multi_items()) != len(request.query_params):
        raise Invalid("a parameter is there twice: send it once")
    clock = Clock(datetime.now(UTC))
    for name, value in given.items():
        try:
            resource.shown[name].read(value, clock)
        except Bad as bad:
            raise Invalid(f"{name}: {bad.what}: {bad.remedy}") from None
    return given


def _add_reading(resource: Resource) -> None:
    MayRead = Annotated[Caller, Depends(may(resource.may_read))]  # noqa: N806  as in api.deps

    @router.get(f"/{resource.name}", operation_id=f"list_{resource.name}", tags=[resource.name])
    async def list_(
        request: Request, gate: TheGate, caller: MayRead, limit: Limit = 100, cursor: Text | None = None
    ) -> dict[str, Any]:
        filters = _filters(resource, request)
        async with read_only(gate) as connection:
            found = await resources.page(connection, resource, caller, filters, cursor, limit + 1)
        return paged(found, limit, lambda shown: shown.id, lambda shown: shown.members)

    @router.get(f"/{resource.name}/{{reference:path}}", operation_id=f"read_{resource.name}", tags=[resource.name])
    async def read(reference: Name, gate: TheGate, caller: MayRead, response: Response) -> Mapping[str, Any]:
        async with read_only(gate) as connection:
            return tagged(await resources.read(connection, resource, reference, caller), response)


def _add_writing(resource: Resource) -> None:
    MayWrite = Annotated[Caller, Depends(may(resource.may_write))]  # noqa: N806

    @router.post(
        f"/{resource.name}",
        status_code=201,
        openapi_extra=_documented(resource, new=True),
        operation_id=f"create_{resource.name}",
        tags=[resource.name],
    )
    async def create(request: Request, gate: TheGate, caller: MayWrite, response: Response) -> Mapping[str, Any]:
        members = await body.parsed(request)
        if resource.needs_second(members, new=True):
            wanted = Wanted(ProposedAction.CREATE, resource.name, members=members)
            return await _proposed(gate, caller, wanted, response)
        async with gate.registry.change(f"{resource.noun}_created", caller.id) as change:
            shown = await resources.create(change, resource, members, writer(gate, caller))
        response.headers["Location"] = f"/v1/{resource.name}/{shown.id}"
        return tagged(shown, response)

    @router.patch(
        f"/{resource.name}/{{reference:path}}",
        openapi_extra=_documented(resource, new=False),
        operation_id=f"change_{resource.name}",
        tags=[resource.name],
    )
    async def alter(
        reference: Name,
        request: Request,
        gate: TheGate,
        caller: MayWrite,
        response: Response,
        if_match: Annotated[str | None, Header()] = None,
    ) -> Mapping[str, Any]:
        if if_match is None:
            raise Unconditional("send If-Match with the ETag of what you read")
        members = await body.parsed(request)
        if resource.needs_second(members, new=False):
            wanted = Wanted(ProposedAction.CHANGE, resource.name, reference, members, if_match)
            return await _proposed(gate, caller, wanted, response)
        async with gate.registry.change(f"{resource.noun}_changed", caller.id) as change:
            shown = await resources.alter(change, resource, reference, members, if_match, writer(gate, caller))
        return tagged(shown, response)


for each in resources.RESOURCES:
    _add_reading(each)
    _add_writing(each)
