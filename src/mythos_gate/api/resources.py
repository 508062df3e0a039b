"""The registry over REST: every kind of record read, listed, created and changed alike."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from mythos_gate.api import body
from mythos_gate.api.deps import Gate, TheGate, may, read_only, reading
from mythos_gate.api.idempotency import Once
from mythos_gate.api.paging import Limit, paged
from mythos_gate.api.text import Name, Text
from mythos_gate.authn.api_keys import Caller
from mythos_gate.errors import Invalid, NotPermitted, Unconditional
from mythos_gate.registry import change_requests, columns, resources
from mythos_gate.registry.delegation import Writer
from mythos_gate.registry.kind import Bad, Clock
from mythos_gate.registry.resources import Resource, Search
from mythos_gate.registry.shown import Shown
from mythos_gate.registry.widening import Wanted
from mythos_gate.terms import Permission, RequestedAction

router = APIRouter(prefix="/v1", route_class=Once)


def writer(gate: Gate, caller: Caller) -> Writer:
    now, patience = gate.now, timedelta(days=gate.settings.change_request_days)
    return Writer(caller, lambda permission: gate.permissions.has(caller, permission), now, now + patience)


IfMatch = Annotated[str | None, Header()]


def conditional(if_match: str | None) -> str:
    """`Unconditional` without a condition (RFC 6585 3)."""
    if if_match is None:
        raise Unconditional("send If-Match with the ETag of what you read")
    return if_match


def tagged(shown: Shown, response: Response) -> Mapping[str, Any]:
    response.headers["ETag"] = shown.etag
    return shown.members


async def requested(gate: Gate, caller: Caller, wanted: Wanted, response: Response) -> Mapping[str, Any]:
    """Accepted, and waiting for a second officer. `NotPermitted` for who is not on record."""
    async with gate.registry.change("change_requested", caller.id) as change:
        made = await change_requests.request(change, wanted, writer(gate, caller))
    response.status_code, response.headers["Location"] = 202, f"/v1/change-requests/{made['id']}"
    return made


def described(resource: Resource, *, new: bool, without: Sequence[str] = ()) -> dict[str, Any]:
    """What the OpenAPI document says of a body with members of this record."""
    settable = {name: column for name, column in resource.settable(new=new).items() if name not in without}
    schema = {
        "type": "object",
        "additionalProperties": False,
        "properties": {name: columns.schema(column.parse) for name, column in settable.items()},
        "required": [name for name in settable if new and resource.kind.must_have(name)],
    }
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def _filters(resource: Resource, request: Request, now: datetime) -> dict[str, str]:
    given = {name: request.query_params[name] for name in resource.filters if name in request.query_params}
    without = {"expiring_within": not resource.expires, "country_group": resource is not resources.PERSON}
    for name in request.query_params.keys() & {name for name, is_without in without.items() if is_without}:
        raise Invalid(f"{name}: says nothing of {resource.article} {resource.noun}: leave it out")
    clock = Clock(now)
    for name, value in given.items():
        try:
            resource.shown[name].read(value, clock)
        except Bad as bad:
            raise Invalid(f"{name}: {bad.what}: {bad.remedy}") from None
    return given


async def _page(gate: Gate, resource: Resource, caller: Caller, search: Search) -> list[Shown]:
    """Whose countries are in a group is read by compliance alone, and noted in the log."""
    if search.country_group is None:
        async with read_only(gate) as connection:
            return await resources.page(connection, resource, caller, search)
    if not gate.permissions.has(caller, Permission.ASSESS):
        what = "country_group: this key may not ask by nationality"
        raise NotPermitted(what, code="NATIONALITY_FIELD_FORBIDDEN")
    async with reading(gate.registry.engine) as connection:
        found = await resources.page(connection, resource, caller, search)
    members = {"actor": caller.id, "country_group": search.country_group, "people": len(found)}
    await gate.log.note("nationality_read", members)
    return found


Within = Annotated[int | None, Query(ge=0, le=3650, description="days; where a record of this kind can expire")]
Group = Annotated[str | None, Query(pattern="^([A-E](:[1-9])?|MO)$", description="people: of compliance alone")]


def _add_reading(resource: Resource) -> None:
    MayRead = Annotated[Caller, Depends(may(resource.may_read))]  # noqa: N806  as in api.deps

    # Named by the resource, so not in the signature.
    filters = [{"name": name, "in": "query", "schema": {"type": "string"}} for name in resource.filters]

    @router.get(
        f"/{resource.name}",
        operation_id=f"list_{resource.name}",
        tags=[resource.name],
        openapi_extra={"parameters": filters},
    )
    async def list_(
        request: Request,
        gate: TheGate,
        caller: MayRead,
        limit: Limit = 100,
        cursor: Text | None = None,
        expiring_within: Within = None,
        country_group: Group = None,
    ) -> dict[str, Any]:
        filters = _filters(resource, request, gate.now)
        expiring = None if expiring_within is None else (gate.now, gate.now + timedelta(days=expiring_within))
        search = Search(filters, cursor, limit + 1, expiring, country_group)
        found = await _page(gate, resource, caller, search)
        return paged(found, limit, lambda shown: shown.id, lambda shown: shown.members)

    @router.get(f"/{resource.name}/{{reference:path}}", operation_id=f"read_{resource.name}", tags=[resource.name])
    async def read(reference: Name, gate: TheGate, caller: MayRead, response: Response) -> Mapping[str, Any]:
        async with read_only(gate) as connection:
            return tagged(await resources.read(connection, resource, reference, caller), response)


REQUESTED: dict[int | str, dict[str, Any]] = {202: {"description": "requested: a second officer approves it"}}


def _add_writing(resource: Resource) -> None:
    MayWrite = Annotated[Caller, Depends(may(resource.may_write))]  # noqa: N806
    MayCreate = Annotated[Caller, Depends(may(resource.may_create))]  # noqa: N806

    @router.post(
        f"/{resource.name}",
        status_code=201,
        responses={} if resource.is_staff else REQUESTED,
        openapi_extra=described(resource, new=True),
        operation_id=f"create_{resource.name}",
        tags=[resource.name],
    )
    async def create(request: Request, gate: TheGate, caller: MayCreate, response: Response) -> Mapping[str, Any]:
        members = await body.parsed(request)
        if resource.comes_in_force(members):
            wanted = Wanted(RequestedAction.CREATE, resource.name, members=members)
            return await requested(gate, caller, wanted, response)
        async with gate.registry.change(f"{resource.noun}_created", caller.id) as change:
            shown = await resources.create(change, resource, members, writer(gate, caller))
        response.headers["Location"] = f"/v1/{resource.name}/{shown.id}"
        return tagged(shown, response)

    @router.patch(
        f"/{resource.name}/{{reference:path}}",
        responses=REQUESTED if resource.widens else {},
        openapi_extra=described(resource, new=False),
        operation_id=f"change_{resource.name}",
        tags=[resource.name],
    )
    async def alter(
        reference: Name,
        request: Request,
        gate: TheGate,
        caller: MayWrite,
        response: Response,
        if_match: IfMatch = None,
    ) -> Mapping[str, Any]:
        condition = conditional(if_match)
        members = await body.parsed(request)
        if resource.widens:
            async with read_only(gate) as connection:
                before = await resources.read(connection, resource, reference, caller)
                before.require(condition, resource.noun)
                alone = await resources.takes_away(connection, resource, before, members, gate.now)
            condition = before.etag  # of what it was when it was found to be narrower, or not
            if not alone:
                wanted = Wanted(RequestedAction.CHANGE, resource.name, reference, members, condition)
                return await requested(gate, caller, wanted, response)
        async with gate.registry.change(f"{resource.noun}_changed", caller.id) as change:
            shown = await resources.alter(change, resource, reference, members, condition, writer(gate, caller))
        return tagged(shown, response)


for each in resources.RESOURCES:
    _add_reading(each)
    _add_writing(each)
